package pushmail

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// lines joins the lines of a mail as SMTP has them.
func lines(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }

// difficult are mails that break rules, or use more of them than most do.
var difficult = []struct {
	name        string
	mail        string
	subject     string
	text        string
	from        Address
	attachments []Attachment
	marks       []Mark
	id          string
}{
	// What a mail is made of.
	{name: "plain", mail: lines("From: Ada <ada@example.org>", "Subject: Hello", "Message-ID: <1@example.org>", "", "How are you?"),
		subject: "Hello", text: "How are you?", from: Address{"Ada", "ada@example.org"}, id: "1@example.org"},
	{name: "nothing", mail: ""},
	{name: "an empty header", mail: "\r\nThe body.\r\n", text: "The body."},
	{name: "no header at all", mail: lines("Only text here", "and more"), text: "Only text here\nand more"},
	{name: "a header without a body", mail: "Subject: All is said", subject: "All is said"},
	{name: "no empty line before the body", mail: lines("Subject: Hi", "This is the body already", "and more"),
		subject: "Hi", text: "This is the body already\nand more"},
	{name: "a line of a mailbox file", mail: lines("From ada@example.org Thu Jan  1 00:00:00 1970", "Subject: Hi", "", "Text"),
		subject: "Hi", text: "Text"},
	{name: "bare line feeds", mail: "Subject: Hi\nContent-Type: multipart/mixed; boundary=a\n\n--a\n\nOne\n--a\n\nTwo\n--a--\n",
		subject: "Hi", text: "One\n\nTwo"},
	{name: "a line end in a boundary's way", mail: "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\n\nOne\n--a\r\n\r\nTwo\r\n--a--\n", text: "One\n\nTwo"},
	{name: "lone carriage returns", mail: "Subject: Hi\r\n\r\nOne\rTwo\r\n", subject: "Hi", text: "One\nTwo"},
	{name: "folded subject", mail: lines("Subject: one", "  two", "\tthree", "", "x"), subject: "one two three", text: "x"},
	{name: "a field with spaces before its colon", mail: lines("Subject : Hi", "", "x"), subject: "Hi", text: "x"},
	{name: "a subject twice", mail: lines("Subject: first", "Subject: second", "", "x"), subject: "first", text: "x"},
	{name: "NUL in header and body", mail: lines("Subject: a\x00b", "", "c\x00d"), subject: "a�b", text: "c�d"},
	{name: "invalid UTF-8", mail: lines("Subject: caf\xe9", "Content-Type: text/plain; charset=utf-8", "", "caf\xe9"), subject: "caf�", text: "caf�"},
	{name: "control characters in a subject", mail: lines("Subject: =?utf-8?q?a=0D=0ABcc:_x=1Bb?=", "", "x"), subject: "a Bcc: x b", text: "x"},
	{name: "a mark of the byte order", mail: lines("Content-Type: text/plain; charset=utf-8", "", "\ufeffHi"), text: "Hi"},

	// Words and charsets.
	{name: "encoded words", mail: lines("Subject: =?utf-8?B?0J/RgNC40LLQtdGC?= =?UTF-8?Q?,_=D0=BC=D0=B8=D1=80?=", "", "x"), subject: "Привет, мир", text: "x"},
	{name: "an encoded word in KOI8-R", mail: lines("Subject: =?koi8-r?B?8NLJ18XU?=", "", "x"), subject: "Привет", text: "x"},
	{name: "an encoded word with a language", mail: lines("Subject: =?us-ascii*en?Q?Hi_there?=", "", "x"), subject: "Hi there", text: "x"},
	{name: "an encoded word in a charset of nobody", mail: lines("Subject: =?x-klingon?Q?Qapla?= =?utf-8?Q?=C3=A9?=", "", "x"), subject: "Qaplaé", text: "x"},
	{name: "an encoded word that is broken", mail: lines("Subject: =?utf-8?B?0J!!?= and =?utf-8?Q?=C3=A9?=", "", "x"), subject: "=?utf-8?B?0J!!?= and é", text: "x"},
	{name: "a name in ISO-2022-JP", mail: lines("From: =?ISO-2022-JP?B?GyRCJCIbKEI=?= <a@example.org>", "", "x"), from: Address{"あ", "a@example.org"}, text: "x"},
	{name: "windows-1251", mail: lines("Content-Type: text/plain; charset=windows-1251", "", "\xcf\xf0\xe8\xe2\xe5\xf2"), text: "Привет"},
	{name: "Shift_JIS", mail: lines("Content-Type: text/plain; charset=Shift_JIS", "", "\x93\xfa\x96\x7b"), text: "日本"},
	{name: "ISO-2022-JP", mail: lines("Content-Type: text/plain; charset=iso-2022-jp", "", "\x1b$B$\"\x1b(B"), text: "あ"},
	{name: "GB2312 that is GB18030", mail: lines("Content-Type: text/plain; charset=gb2312", "", "\xc4\xe3\xba\xc3\x81\x30\x81\x30"), text: "你好\u0080"},
	{name: "Big5", mail: lines("Content-Type: text/plain; charset=big5", "", "\xa7\x41\xa6\x6e"), text: "你好"},
	{name: "EUC-KR by its old name", mail: lines("Content-Type: text/plain; charset=ks_c_5601-1987", "", "\xbe\xc8\xb3\xe7"), text: "안녕"},
	{name: "UTF-16", mail: lines("Content-Type: text/plain; charset=utf-16le", "Content-Transfer-Encoding: base64", "", "SABpAA=="), text: "Hi"},
	{name: "UTF-7", mail: lines("Content-Type: text/plain; charset=utf-7", "", "Hi +ADw-script+AD4- +- caf+AOk +2D3cSQ-"), text: "Hi <script> + café 👉"},
	{name: "UTF-7 that ends within", mail: lines("Content-Type: text/plain; charset=UTF-7", "", "a+A"), text: "a"},
	{name: "latin1 that is windows-1252", mail: lines("Content-Type: text/plain; charset=iso-8859-1", "", "\x93quoted\x94 \x80"), text: "“quoted” €"},
	{name: "no charset, and not UTF-8", mail: lines("", "caf\xe9"), text: "café"},
	{name: "a charset of nobody", mail: lines("Content-Type: text/plain; charset=klingon", "", "caf\xc3\xa9"), text: "café"},
	{name: "a charset in single quotes", mail: lines("Content-Type: text/plain; charset='utf-8'", "", "\xc3\xa9"), text: "é"},

	// Transfer encodings.
	{name: "quoted-printable", mail: lines("Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: Quoted-Printable", "", "caf=C3=A9 and =", "more   ", "a=3Db = c =ZZ"),
		text: "café and more\na=b = c =ZZ"},
	{name: "base64 with other lines around", mail: lines("Content-Transfer-Encoding: base64", "", "SGVs bG8s\tIHdv", " cmx*kIQ==", "", "Checked by a scanner"), text: "Hello, world!"},
	{name: "base64 cut short", mail: lines("Content-Transfer-Encoding: base64", "", "SGVsbG8sIHdvcmx"), text: "Hello, worl", marks: []Mark{MarkIncomplete}},
	{name: "two base64 texts in one", mail: lines("Content-Transfer-Encoding: base64", "", "T25lCg==", "VHdv"), text: "One\nTwo"},
	{name: "an encoding of nobody", mail: lines("Content-Transfer-Encoding: x-rot13", "", "Uryyb"), attachments: []Attachment{{"", "text/plain", 7, false}}},
	{name: "flowed", mail: lines("Content-Type: text/plain; format=flowed", "", "This is one ", "paragraph.", "> quoted ", "> too", "-- ", "Ada"),
		text: "This is one paragraph.\n> quoted too\n-- \nAda"},
	{name: "flowed without its spaces", mail: lines("Content-Type: text/plain; format=Flowed; DelSp=Yes", "", "日 ", "本"), text: "日本"},

	// Types.
	{name: "a type without a subtype", mail: lines("Content-Type: text", "", "x"), text: "x"},
	{name: "a type of nonsense", mail: lines("Content-Type: ; charset==;;\"", "", "x"), text: "x"},
	{name: "a parameter twice", mail: lines("Content-Type: text/plain; charset=koi8-r; charset=utf-8", "", "\xf0"), text: "П"},
	{name: "comments in the type", mail: lines("Content-Type: text/plain (a text); charset=koi8-r (Russian)", "", "\xf0"), text: "П"},
	{name: "HTML only", mail: lines("Content-Type: text/html; charset=utf-8", "", "<html><head><title>T</title><style>p{}</style></head><body><h1>Hello</h1><p>One<br>two &amp; three",
		"<script>alert(1)</script><ul><li>a<li>b</ul><a href='https://example.org/x'>a link</a> <img alt='A cat' src=x></body></html>"),
		text: "Hello\n\nOne\ntwo & three\n\n- a\n- b\n\na link <https://example.org/x> [A cat]"},
	{name: "HTML that nobody closed", mail: lines("Content-Type: text/html", "", "<head><body><div><div><b>Hi<div>you"), text: "Hi\nyou"},
	{name: "HTML with a link that is a script", mail: lines("Content-Type: text/html", "", "<a href='javascript:alert(1)'>go</a>"), text: "go"},
	{name: "HTML in a charset", mail: lines("Content-Type: text/html; charset=koi8-r", "", "<p>\xf0</p>"), text: "П"},
	{name: "an invitation only", mail: lines("Content-Type: text/calendar; method=REQUEST; charset=utf-8", "", "BEGIN:VCALENDAR", "BEGIN:VEVENT", "SUMMARY:Tea\\, and", "  cake", "DTSTART;TZID=Europe/London:20260102T150000", "LOCATION:Kitchen", "END:VEVENT", "END:VCALENDAR"),
		text:        "Tea, and cake\nStart: 20260102T150000 europe/london\nLocation: Kitchen",
		attachments: []Attachment{{"", "text/calendar", 147, true}}},

	// Parts.
	{name: "alternatives", mail: lines("Content-Type: multipart/alternative; boundary=\"a b\"", "", "To be ignored", "--a b", "Content-Type: text/plain", "", "Plain", "--a b", "Content-Type: text/html", "", "<p>HTML</p>", "--a b--", "Epilogue"), text: "Plain"},
	{name: "alternatives of which the plain one is empty", mail: lines("Content-Type: multipart/alternative; boundary=a", "", "--a", "Content-Type: text/plain", "", "  ", "--a", "Content-Type: text/html", "", "<p>HTML</p>", "--a--"), text: "HTML"},
	{name: "alternatives with an invitation", mail: lines("Content-Type: multipart/alternative; boundary=a", "", "--a", "", "Please come", "--a", "Content-Type: text/calendar; name=invite.ics", "", "BEGIN:VEVENT", "SUMMARY:Tea", "END:VEVENT", "--a--"),
		text: "Please come", attachments: []Attachment{{"invite.ics", "text/calendar", 37, true}}},
	{name: "related within alternatives", mail: lines("Content-Type: multipart/alternative; boundary=o", "", "--o", "", "Plain", "--o", "Content-Type: multipart/related; boundary=i", "", "--i", "Content-Type: text/html", "", "<img src=cid:1>HTML", "--i", "Content-Type: image/png; name=cat.png", "Content-Disposition: inline", "Content-Transfer-Encoding: base64", "", "AAAA", "--i--", "--o--"),
		text: "Plain", attachments: []Attachment{{"cat.png", "image/png", 3, true}}},
	{name: "parts without a type", mail: lines("Content-Type: multipart/mixed; boundary=a", "", "--a", "", "One", "--a", "X-Other: 1", "", "Two", "--a--"), text: "One\n\nTwo"},
	{name: "a part without its empty line", mail: lines("Content-Type: multipart/mixed; boundary=a", "", "--a", "Just text", "--a--"), text: "Just text"},
	{name: "an empty boundary", mail: lines("Content-Type: multipart/mixed; boundary=\"\"", "", "--real", "", "One", "--real", "", "Two", "--real--"), text: "One\n\nTwo"},
	{name: "no boundary, and no part", mail: lines("Content-Type: multipart/mixed", "", "Just text"), text: "Just text", marks: []Mark{MarkIncomplete}},
	{name: "a boundary that no line has", mail: lines("Content-Type: multipart/mixed; boundary=a", "", "--b", "", "Text", "--b--"), text: "--b\n\nText\n--b--", marks: []Mark{MarkIncomplete}},
	{name: "a boundary that begins another", mail: lines("Content-Type: multipart/mixed; boundary=a", "", "--a", "Content-Type: multipart/alternative; boundary=ab", "", "--ab", "", "Inner", "--ab", "Content-Type: text/html", "", "<p>Inner", "--ab--", "", "--a", "", "Outer", "--a--"), text: "Inner\n\nOuter"},
	{name: "a boundary with a dash after it", mail: lines("Content-Type: multipart/mixed; boundary=a", "", "--a", "", "One", "--a-b", "--a", "", "Two", "--a--"), text: "One\n--a-b\n\nTwo"},
	{name: "the same boundary inside", mail: lines("Content-Type: multipart/mixed; boundary=a", "", "--a", "Content-Type: multipart/mixed; boundary=a", "", "--a", "", "One", "--a--", "--a", "", "Two", "--a--"),
		text: "One", marks: []Mark{MarkIncomplete}},
	{name: "white space after boundaries", mail: lines("Content-Type: multipart/mixed; boundary=\"a  \"", "", "--a \t", "", "One", "--a--  "), text: "One"},
	{name: "cut short in a part", mail: "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nOne\r\n--a\r\n\r\nTw", text: "One\n\nTw", marks: []Mark{MarkIncomplete}},
	{name: "cut short in a header", mail: "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nOne\r\n--a\r\nContent-Ty", text: "One\n\nContent-Ty", marks: []Mark{MarkIncomplete}},
	{name: "unclosed inner parts", mail: lines("Content-Type: multipart/mixed; boundary=a", "", "--a", "Content-Type: multipart/mixed; boundary=b", "", "--b", "", "Inner", "--a", "", "Outer", "--a--"), text: "Inner\n\nOuter", marks: []Mark{MarkIncomplete}},
	{name: "a multipart with a transfer encoding", mail: lines("Content-Type: multipart/mixed; boundary=a", "Content-Transfer-Encoding: base64", "", "--a", "", "One", "--a--"), text: "One"},
	{name: "only a boundary that ends", mail: lines("Content-Type: multipart/mixed; boundary=a", "", "--a--"), text: ""},
	{name: "signed", mail: lines("Content-Type: multipart/signed; boundary=a; protocol=\"application/pgp-signature\"", "", "--a", "", "Signed text", "--a", "Content-Type: application/pgp-signature; name=signature.asc", "", "x", "--a--"),
		text: "Signed text", attachments: []Attachment{{"signature.asc", "application/pgp-signature", 1, false}}},

	// Attachments.
	{name: "an attachment", mail: lines("Content-Type: multipart/mixed; boundary=a", "", "--a", "", "See", "--a", "Content-Type: application/pdf", "Content-Disposition: attachment; filename=\"report.pdf\"", "Content-Transfer-Encoding: base64", "", "JVBERi0=", "--a--"),
		text: "See", attachments: []Attachment{{"report.pdf", "application/pdf", 5, false}}},
	{name: "a name by RFC 2231", mail: lines("Content-Type: application/pdf", "Content-Disposition: attachment; filename*=UTF-8''%D0%9E%D1%82%D1%87%D1%91%D1%82.pdf; filename=\"x.pdf\"", "", "x"),
		attachments: []Attachment{{"Отчёт.pdf", "application/pdf", 3, false}}},
	{name: "a name in pieces, out of order", mail: lines("Content-Type: application/pdf", "Content-Disposition: attachment; filename*1*=%82%D1%87.pdf;", " filename*0*=utf-8''%D0%9E%D1", "", "x"),
		attachments: []Attachment{{"Отч.pdf", "application/pdf", 3, false}}},
	{name: "a name in pieces of another charset", mail: lines("Content-Type: application/pdf; name*0*=koi8-r'ru'%F0%D2; name*1=\"x.pdf\"", "", "x"), attachments: []Attachment{{"Прx.pdf", "application/pdf", 3, false}}},
	{name: "a name in encoded words", mail: lines("Content-Type: application/pdf; name=\"=?utf-8?B?0J7RgtGH0ZHRgi5wZGY=?=\"", "", "x"), attachments: []Attachment{{"Отчёт.pdf", "application/pdf", 3, false}}},
	{name: "a name that is a path", mail: lines("Content-Type: text/plain", "Content-Disposition: attachment; filename=\"..\\..\\etc/passwd\"", "", "x"), attachments: []Attachment{{"passwd", "text/plain", 3, false}}},
	{name: "a name that turns around", mail: lines("Content-Type: application/octet-stream", "Content-Disposition: attachment; filename*=utf-8''a%E2%80%AEfdp.exe", "", "x"), attachments: []Attachment{{"a�fdp.exe", "application/octet-stream", 3, false}}},
	{name: "a text that is attached", mail: lines("Content-Type: multipart/mixed; boundary=a", "", "--a", "", "See", "--a", "Content-Type: text/plain; name=log.txt", "", "log", "--a--"), text: "See", attachments: []Attachment{{"log.txt", "text/plain", 3, false}}},
	{name: "a text with a name that is all there is", mail: lines("Content-Type: text/plain; name=body.txt", "", "The text"), text: "The text"},
	{name: "a mail within a mail", mail: lines("Content-Type: multipart/mixed; boundary=a", "", "--a", "", "See", "--a", "Content-Type: message/rfc822", "", "Subject: Inner", "", "Inner text", "--a--"), text: "See", attachments: []Attachment{{"Inner", "message/rfc822", 28, false}}},
	{name: "nothing but a mail within a mail", mail: lines("Subject: Fwd", "Content-Type: message/rfc822", "", "Subject: Inner", "", "Inner text"), subject: "Fwd", text: "Inner text", attachments: []Attachment{{"Inner", "message/rfc822", 30, false}}},
	{name: "a digest", mail: lines("Content-Type: multipart/digest; boundary=a", "", "--a", "", "Subject: First", "", "One", "--a", "", "Subject: Second", "", "Two", "--a--"), text: "One",
		attachments: []Attachment{{"First", "message/rfc822", 21, false}, {"Second", "message/rfc822", 22, false}}},

	// Senders and ids.
	{name: "no sender", mail: lines("From: <>", "", "x"), text: "x", from: Address{Name: "<>"}},
	{name: "several senders", mail: lines("From: a@example.org, B <b@example.org>", "", "x"), text: "x", from: Address{"", "a@example.org"}},
	{name: "a sender that breaks the rules", mail: lines("From: Ada, Countess <ada@example.org>", "", "x"), text: "x", from: Address{"Ada, Countess", "ada@example.org"}},
	{name: "a sender who is a group", mail: lines("From: Undisclosed:;", "", "x"), text: "x", from: Address{Name: "Undisclosed:;"}},
	{name: "an id without brackets", mail: lines("Message-ID: abc@example.org", "", "x"), text: "x", id: "abc@example.org"},
	{name: "an id of two words", mail: lines("Message-ID: <a b@example.org>", "", "x"), text: "x"},

	// Machines.
	{name: "an alert", mail: lines("Auto-Submitted: auto-generated; owner=cron", "", "x"), text: "x", marks: []Mark{MarkAutomatic}},
	{name: "a person who says so", mail: lines("Auto-Submitted: no", "X-Auto-Response-Suppress: None", "", "x"), text: "x"},
	{name: "an absence", mail: lines("Auto-Submitted: auto-replied (vacation)", "", "x"), text: "x", marks: []Mark{MarkAutomatic, MarkReply}},
	{name: "an absence of another age", mail: lines("Precedence: auto_reply", "", "x"), text: "x", marks: []Mark{MarkReply}},
	{name: "a newsletter", mail: lines("Precedence: Bulk", "List-Id: News <news.example.org>", "", "x"), text: "x", marks: []Mark{MarkBulk, MarkList}},
	{name: "a mail of an office", mail: lines("X-Auto-Response-Suppress: OOF, AutoReply", "", "x"), text: "x", marks: []Mark{MarkAutomatic}},
	{name: "a delivery report", mail: lines("Return-Path: <>", "Content-Type: multipart/report; report-type=Delivery-Status; boundary=a", "", "--a", "", "It failed.", "--a", "Content-Type: message/delivery-status", "", "Action: failed", "--a", "Content-Type: text/rfc822-headers", "", "Subject: x", "--a--"),
		text: "It failed.", attachments: []Attachment{{"", "text/rfc822-headers", 10, false}}, marks: []Mark{MarkReport, MarkBounce}},
	{name: "a receipt", mail: lines("Content-Type: multipart/mixed; boundary=a", "", "--a", "", "Read", "--a", "Content-Type: message/disposition-notification", "", "x", "--a--"), text: "Read", marks: []Mark{MarkReport}},
	{name: "too many hands", mail: strings.Repeat("Received: by example.org\r\n", maxHops+1) + "\r\nx", text: "x", marks: []Mark{MarkLoop}},
}

func TestDifficultMails(t *testing.T) {
	require.GreaterOrEqual(t, len(difficult), 60)
	for _, test := range difficult {
		t.Run(test.name, func(t *testing.T) {
			mail, err := Parse([]byte(test.mail), Limits{})
			require.NoError(t, err)
			require.Equal(t, test.subject, mail.Subject)
			require.Equal(t, test.text, mail.Text)
			require.Equal(t, test.from, mail.From)
			require.Equal(t, test.attachments, mail.Attachments)
			require.Equal(t, test.marks, mail.Marks)
			require.Equal(t, test.id, mail.MessageID)
		})
	}
}

// TestBounds has the mails that cost other readers their time or their memory.
func TestBounds(t *testing.T) {
	nested := func(levels int, closed bool) string {
		var b strings.Builder
		for level := range levels {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", level, level)
		}
		b.WriteString("\r\nDeep\r\n")
		for level := levels - 1; closed && level >= 0; level-- {
			fmt.Fprintf(&b, "--b%d--\r\n", level)
		}
		return b.String()
	}
	read := func(text string, limits Limits) Mail {
		mail, err := Parse([]byte(text), limits)
		require.NoError(t, err)
		return mail
	}
	require.Equal(t, "Deep", read(nested(20, true), Limits{}).Text)
	require.Empty(t, read(nested(20, true), Limits{}).Marks)
	require.Equal(t, []Mark{MarkIncomplete}, read(nested(21, true), Limits{}).Marks)
	require.Equal(t, []Mark{MarkIncomplete}, read(nested(8000, true), Limits{}).Marks)
	require.Equal(t, []Mark{MarkIncomplete}, read(nested(22, false), Limits{}).Marks)
	require.Equal(t, []Mark{MarkIncomplete}, read(nested(3, true), Limits{Depth: 2}).Marks)
	// Mails within mails are as deep as parts within parts.
	require.Equal(t, []Mark{MarkIncomplete}, read(strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 5000), Limits{}).Marks)

	parts := "Content-Type: multipart/mixed; boundary=a\r\n\r\n" + strings.Repeat("--a\r\nContent-Type: image/png\r\n\r\n\r\n", 5000) + "--a--\r\n"
	many := read(parts, Limits{})
	require.Len(t, many.Attachments, 999)
	require.Equal(t, []Mark{MarkIncomplete}, many.Marks)
	require.Len(t, read(parts, Limits{Parts: 10}).Attachments, 9)

	long := read("Subject: "+strings.Repeat("é", 2000)+"\r\n\r\n"+strings.Repeat("é", 50), Limits{Text: 9})
	require.Equal(t, strings.Repeat("é", 499), long.Subject)
	require.Equal(t, "éééé", long.Text)
	require.Equal(t, []Mark{MarkIncomplete}, long.Marks)

	header := read(strings.Repeat("X-Much: "+strings.Repeat("a", 990)+"\r\n", 400)+"Subject: late\r\n\r\nText", Limits{})
	require.Empty(t, header.Subject)
	require.Equal(t, "Text", header.Text)
	require.Equal(t, []Mark{MarkIncomplete}, header.Marks)

	_, err := Parse(make([]byte, 11), Limits{Bytes: 10})
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = Parse(make([]byte, 10<<20+1), Limits{})
	require.ErrorIs(t, err, ErrTooLarge)

	for name, text := range map[string]string{
		"lines that begin as a boundary": "Content-Type: multipart/mixed; boundary=a\r\n\r\n" + strings.Repeat("--a-\r\n", 100_000),
		"tags":                           "Content-Type: text/html\r\n\r\n" + strings.Repeat("<div><a href=x>", 50_000),
		"words":                          "Subject: " + strings.Repeat("=?utf-8?q?a?= ", 20_000) + "\r\n\r\nx",
		"addresses":                      "From: " + strings.Repeat("(", 100_000) + "\r\n\r\nx",
		"parameters":                     "Content-Type: text/plain" + strings.Repeat("; a*1=x", 50_000) + "\r\n\r\nx",
		"one line":                       "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("=", 1_000_000),
	} {
		t.Run(name, func(t *testing.T) {
			allocations := testing.AllocsPerRun(1, func() { read(text, Limits{}) })
			require.Less(t, allocations, 500_000.0)
		})
	}
}

func TestDigestIgnoresTheWay(t *testing.T) {
	mail := func(text string) Mail {
		mail, err := Parse([]byte(text), Limits{})
		require.NoError(t, err)
		return mail
	}
	one := mail("Received: by a\r\nSubject: Hi\r\n\r\nText\r\n")
	two := mail("Received: by b\r\nReceived: by a\nSubject: Hi\n\nText")
	other := mail("Subject: Hi\r\n\r\nText!\r\n")
	require.Equal(t, one.Key(), two.Key())
	require.NotEqual(t, one.Key(), other.Key())
	with := mail("Message-ID: <a@b>\r\n\r\nText")
	require.Equal(t, "id:a@b", with.Key())
	require.Equal(t, time.Date(2026, 1, 2, 14, 4, 5, 0, time.UTC), mail("Date: Fri, 2 Jan 2026 15:04:05 +0100\r\n\r\n").Date)
	require.Zero(t, mail("Date: yesterday\r\n\r\n").Date)
}

// FuzzParse holds what is promised of any mail.
func FuzzParse(f *testing.F) {
	for _, test := range difficult {
		f.Add([]byte(test.mail))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		mail, err := Parse(raw, Limits{Bytes: 1 << 20, Text: 1000, Subject: 100, Parts: 50, Depth: 5})
		if err != nil {
			require.ErrorIs(t, err, ErrTooLarge)
			return
		}
		texts := []string{mail.Subject, mail.Text, mail.From.Name, mail.From.Email, mail.MessageID}
		for _, attachment := range mail.Attachments {
			texts = append(texts, attachment.Name, attachment.Type)
			require.NotContains(t, attachment.Name, "/")
		}
		for _, text := range texts {
			require.True(t, utf8.ValidString(text), "%q", text)
			require.NotContains(t, text, "\x00")
		}
		require.LessOrEqual(t, len(mail.Text), 1000)
		require.LessOrEqual(t, len(mail.Subject), 100)
		require.NotContains(t, mail.Subject, "\n")
		require.NotContains(t, mail.Text, "\r")
		require.LessOrEqual(t, len(mail.Attachments), 50)
		again, err := Parse(raw, Limits{Bytes: 1 << 20, Text: 1000, Subject: 100, Parts: 50, Depth: 5})
		require.NoError(t, err)
		require.Equal(t, mail, again)
	})
}

// FuzzDecode holds the decoders to those of the standard library where both can read a text.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("SGVsbG8="))
	f.Add([]byte("+AOk- a+"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		encoded := base64.StdEncoding.EncodeToString(raw)
		decoded, whole := decodeBase64([]byte(encoded))
		require.True(t, whole)
		require.True(t, bytes.Equal(raw, decoded))
		decodeBase64(raw)
		decodeQuotedPrintable(raw)
		decodeUTF7(raw)
		unflow(string(raw), true)
		calendarText(string(raw))
		mediaType(string(raw), "text/plain")
	})
}

// FuzzAddress holds what is promised of senders.
func FuzzAddress(f *testing.F) {
	for _, text := range []string{"Ada <ada@example.org>", "a@b", "=?utf-8?q?=C3=A9?= <a@b>", "(((", "a@b, c@d", "<>"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		found, ok := firstAddress(text)
		require.Equal(t, ok, found.Email != "")
		require.True(t, utf8.ValidString(found.Name) && utf8.ValidString(found.Email))
		require.NotContains(t, found.Name+found.Email, "\n")
		require.NotContains(t, found.Name+found.Email, "\x00")
	})
}
