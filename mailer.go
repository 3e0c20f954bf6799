package userkit

import (
	"context"
	"time"
)

// MailKind says what a mail is about.
type MailKind string

// The kinds of mail.
const (
	MailActivation MailKind = "activation" // a link by which users confirm their address
)

// Mail is a mail to a user. The mailer chooses its text.
type Mail struct {
	Kind     MailKind
	Address  string // the email address it is sent to
	Name     string // of the user; may be empty
	Language string // in BCP 47, such as "de" or "pt-BR"; empty: the mailer's own

	// Link is the link that the user has to open. It is a secret: it appears in no error, event or
	// log.
	Link string

	ExpiresAt time.Time // when the link expires
}

// Mailer sends mails. The package mail implements one that uses SMTP; a host may implement its own.
// It is called by many goroutines at once, never inside a change, and must return when the context
// ends, which it does after a minute at most. A mailer that returns later, or panics, has not sent
// the mail.
type Mailer interface {
	// SendMail returns nil when the mail has been accepted for delivery. It returns ErrRefused with
	// CodeMailRefused if the address will never accept a mail, and ErrUnavailable with
	// CodeMailNotSent if sending may succeed later. Any other error is taken for the latter.
	SendMail(ctx context.Context, mail Mail) error
}
