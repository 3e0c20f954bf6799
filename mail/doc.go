// Package mail sends mails to users by SMTP. Its Mailer is a userkit.Mailer.
//
// # How it sends
//
// Mails are sent to one server, the host's own or that of a provider, with STARTTLS (port 587)
// unless Config.TLS says otherwise. TLS is never omitted, except for a server on this machine. With
// Config.DKIM mails are signed (RFC 6376). Each mail is sent over a new connection, which is closed
// when the context ends, and after Config.Timeout at the latest.
//
// Mails have the header Auto-Submitted: auto-generated (RFC 3834), so that no program replies to
// them.
//
// # Templates
//
// A mail has a subject, a text and an HTML part, made from a Template. There are templates in
// English and German; Config.Templates can replace them and add languages. The template that
// matches Mail.Language best is used, by the rules of golang.org/x/text/language.
//
// # Errors
//
// ErrRefused with CodeMailRefused means that the server refused the address, or the mail, for
// good (a status of 5xx). Every other error is ErrUnavailable with CodeMailNotSent. Errors contain
// statuses, but never addresses, links or credentials.
package mail
