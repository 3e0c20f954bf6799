// Package pushmail receives mails by SMTP and LMTP and hands them over as private messages.
//
// A user has a private mail address (userkit.Manager.GeneratePushMail). [Server] takes the
// mails to these addresses and to no others, and hands each one to a function of the host's,
// [Deliver], as what a person would read of it; [ToMessages] is one that sends messages. The sender is told that a mail was taken only
// after that function has kept it; who was not told sends again, and [Mail.Key] makes that
// one message.
//
// The server behind the MX record of the domain is either this one, or one of the host's that
// passes the mails on by LMTP. Nothing is ever sent: neither answers nor reports. What an
// address is good for is told to nobody: one that is unknown, revoked or of a disabled user
// costs one search and gets one answer.
//
// [Parse] reads any mail, however damaged, within fixed bounds of bytes, depth and parts, in
// a time that is in proportion to its size: the text that a person would read, the names of
// what is attached, and the marks of mails that programs write.
package pushmail
