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

// Mail is a mail that a user is to get. What it says is up to the mailer.
type Mail struct {
	Kind     MailKind
	Address  string // where it goes, an email address
	Name     string // of the user; may be empty
	Language string // in BCP 47, such as "de" or "pt-BR"; empty: the mailer's own

	// Link is what the user has to open. It is a secret: it appears in no error, event or
	// log.
	Link string

	ExpiresAt time.Time // when the link ends
}

// Mailer sends mails. The package mail is a mailer, by SMTP; a host may have its own. It is
// called by many goroutines at once, never inside of a change, and gives up when the context
// ends.
type Mailer interface {
	// SendMail returns nil when the mail is on its way. It returns ErrRefused with
	// CodeMailRefused when there will never be mail for this address, and ErrUnavailable with
	// CodeMailNotSent when it may work another time. Another error is taken for the latter.
	SendMail(ctx context.Context, mail Mail) error
}
