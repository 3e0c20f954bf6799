package pushmail

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/userkit/userkit"
)

// Messages sends messages to users. A userkit.Manager implements it.
type Messages interface {
	// SendMessage returns when the message has been stored. For a mail that was received before, it
	// returns the message of that mail.
	SendMessage(ctx context.Context, user userkit.UserID, message userkit.NewMessage) (userkit.Message, error)
}

// ToMessages returns a Deliver that sends each mail as a private message. A mail with the
// Message-ID of an earlier mail to the same user, or without one the same mail again, makes no
// further message.
func ToMessages(messages Messages) Deliver {
	return func(ctx context.Context, delivery Delivery) error {
		_, err := messages.SendMessage(ctx, delivery.User.ID, messageOf(delivery))
		return err
	}
}

// noText is the body of a message of a mail that says nothing.
const noText = "(no text)"

func messageOf(delivery Delivery) userkit.NewMessage {
	mail := delivery.Mail
	origin := userkit.MailOrigin{
		MessageID: mail.Key(), From: line(mail.From.Email), FromName: line(mail.From.Name), EnvelopeFrom: line(delivery.EnvelopeFrom),
		DMARC: userkit.DMARCResult(delivery.DMARC), Truncated: slices.Contains(mail.Marks, MarkIncomplete),
	}
	if len(origin.MessageID) > userkit.MaxLine {
		digest := sha256.Sum256([]byte(origin.MessageID))
		origin.MessageID = "digest-of-id:" + hex.EncodeToString(digest[:])
	}
	for _, mark := range mail.Marks {
		if known, found := mailMarks[mark]; found && !slices.Contains(origin.Marks, known) {
			origin.Marks = append(origin.Marks, known)
		}
	}
	message := userkit.NewMessage{Subject: line(mail.Subject), Body: cutText(printable(mail.Text), userkit.MaxMessageBody), Mail: origin}
	if message.Subject == "" && message.Body == "" {
		message.Body = noText
	}
	return message
}

// mailMarks are the marks by the names that messages have for them.
var mailMarks = map[Mark]userkit.MailMark{
	MarkAutomatic: userkit.MailAutoSubmitted, MarkReply: userkit.MailAutoSubmitted, MarkReport: userkit.MailDeliveryReport,
	MarkBulk: userkit.MailBulk, MarkList: userkit.MailList, MarkBounce: userkit.MailNullSender, MarkLoop: userkit.MailLoop,
}

// line makes a text one that a field of one line takes.
func line(text string) string { return cutText(oneLine(text), userkit.MaxLine) }

// printable leaves line ends and tabs of the control characters.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return utf8.RuneError
		}
		return r
	}, text)
}
