// Package pushmail receives mails by SMTP and LMTP and makes private messages of them.
//
// [Parse] reads any mail, however damaged, within fixed bounds of bytes, depth and parts, in
// a time that is in proportion to its size: the text that a person would read, the names of
// what is attached, and the marks of mails that programs write.
package pushmail
