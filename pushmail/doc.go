// Package pushmail receives mails by SMTP and LMTP and delivers them as private messages.
//
// A user has a private mail address (userkit.Manager.GeneratePushMail). [Server] takes the
// mails to these addresses and to no others, and hands each one to a function of the host's,
// [Deliver], as what a person would read of it; [ToMessages] is one that sends messages. The sender is told that a mail was taken only
// after that function has kept it; who was not told sends again, and [Mail.Key] makes that
// one message.
//
// The MX record of the domain names either this server or a mail server of the host that forwards
// the mails by LMTP. Nothing is ever sent, neither replies nor reports. The state of an address is
// not disclosed: an address that is unknown, was revoked, or belongs to a disabled user takes one
// look-up and gets the same answer.
//
// [Parse] reads any mail, however damaged, within fixed bounds of bytes, depth and parts, in
// a time that is in proportion to its size: the text that a person would read, the names of
// what is attached, and the marks of mails that programs write.
package pushmail
