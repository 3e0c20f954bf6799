// Package mail sends mails to users by SMTP. Its Mailer is a userkit.Mailer.
//
// # How it sends
//
// To one server, the host's own or that of a provider, by STARTTLS (port 587) unless
// Config.TLS says otherwise; never without TLS, but for a server on this machine. With
// Config.DKIM mails are signed (RFC 6376). Each mail has a connection of its own, which ends
// with the context, and after Config.Timeout at the latest.
//
// Mails carry Auto-Submitted: auto-generated (RFC 3834), so that no machine answers them.
//
// # What it says
//
// A mail has a subject, a text and an HTML part, made from a Template. There are templates in
// English and German; Config.Templates replaces them and adds languages. The one that suits
// Mail.Language best is taken, by the rules of golang.org/x/text/language.
//
// # What comes of it
//
// ErrRefused with CodeMailRefused means that the server refused the address, or the mail, for
// good (a status of 5xx). Everything else is ErrUnavailable with CodeMailNotSent. Errors hold
// statuses, never addresses, links or credentials.
package mail
