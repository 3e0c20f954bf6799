package pushmail

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/emersion/go-message"
)

// Mail is the content of a mail in plain text. All texts are valid UTF-8 without NUL, their lines
// end in "\n", and their length is within Limits.
type Mail struct {
	From        Address // of the header; the first of several
	Subject     string
	Text        string // the text to read, derived from HTML if there is nothing else
	Date        time.Time
	MessageID   string // without its angle brackets; empty if the mail has no usable one
	Digest      string // of the parts that do not change in transit; used in place of a missing MessageID
	Attachments []Attachment
	Marks       []Mark // in the order of the constants
}

// Address is a name and an email address, each of which may be missing.
type Address struct {
	Name  string
	Email string
}

// Attachment describes a part of a mail that is not its text. The content is not kept.
type Attachment struct {
	Name   string // the base name, without any folder; may be empty
	Type   string // the media type that the mail claims, such as "image/png"
	Size   int    // in bytes, decoded
	Inline bool   // shown within the text rather than beside it
}

// Limits are the bounds for reading a mail. Parts of the mail beyond them are left out, and the
// mail is marked with MarkIncomplete; a mail larger than Bytes is not read at all. The zero value
// of a field is its default, and values beyond the bounds of a field are clamped.
type Limits struct {
	Bytes   int // of the whole mail, up to 64 MiB; default: 10 MiB
	Depth   int // of parts within parts, up to 20; default: 20
	Parts   int // in all, up to 1,000; default: 1,000
	Text    int // bytes of the text, up to 1 MiB; default: 64 KiB
	Subject int // bytes of the subject, up to 4 KiB; default: 998
}

func (l Limits) normalise() Limits {
	set := func(value *int, otherwise, most int) {
		if *value <= 0 {
			*value = otherwise
		}
		*value = min(*value, most)
	}
	set(&l.Bytes, 10<<20, 64<<20)
	set(&l.Depth, 20, 20)
	set(&l.Parts, 1000, 1000)
	set(&l.Text, 64<<10, 1<<20)
	set(&l.Subject, 998, 4<<10)
	return l
}

// ErrTooLarge is what Parse returns for a mail of more bytes than Limits allow.
var ErrTooLarge = errors.New("pushmail: the mail is too large")

// Parse reads a mail. Of a mail that is damaged, truncated or malformed it returns the parts that
// can be read. It returns ErrTooLarge for a mail larger than limits allow, and no other error. The
// time that it takes is proportional to the size of the mail.
func Parse(raw []byte, limits Limits) (Mail, error) {
	limits = limits.normalise()
	if len(raw) > limits.Bytes {
		return Mail{}, ErrTooLarge
	}
	w := walker{limits: limits, parts: limits.Parts}
	header, body, cut := readHeader(raw)
	w.incomplete = cut
	text := w.walk(header, body, 0, "text/plain").best()
	for i := 0; text == "" && i < len(w.embedded); i++ {
		if i == maxEmbedded {
			w.incomplete = true
			break
		}
		// A mail that is nothing but another one, forwarded as it came.
		inner, body, cut := readHeader(w.embedded[i].body)
		w.incomplete = w.incomplete || cut
		text = w.walk(inner, body, w.embedded[i].depth+1, "text/plain").best()
	}
	mail := Mail{
		Subject:     w.bound(oneLine(decodeWords(header.Get("Subject"))), limits.Subject),
		Text:        w.bound(strings.Trim(text, "\n"), limits.Text),
		Date:        date(header),
		MessageID:   messageID(header.Get("Message-Id")),
		Digest:      digest(header, body),
		Attachments: w.attachments,
	}
	mail.From, _ = firstAddress(header.Get("From"))
	mail.Marks = marks(header, w.reports)
	if w.incomplete {
		mail.Marks = append(mail.Marks, MarkIncomplete)
	}
	return mail, nil
}

// Key returns the value that distinguishes two mails to one recipient: the MessageID, or the Digest
// if there is none.
func (m *Mail) Key() string {
	if m.MessageID != "" {
		return "id:" + m.MessageID
	}
	return "digest:" + m.Digest
}

// digest sums up what a mail keeps on its way, so that the same mail over another path, with
// other trace fields, is the same.
func digest(header message.Header, body []byte) string {
	sum := sha256.New()
	for _, key := range []string{"From", "To", "Date", "Subject"} {
		sum.Write([]byte(header.Get(key)))
		sum.Write([]byte{0})
	}
	for line := range bytes.Lines(bytes.TrimRight(body, "\r\n")) {
		sum.Write(bytes.TrimRight(line, "\r\n"))
		sum.Write([]byte{'\n'})
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// maxEmbedded is how many mails within a mail are searched for a text.
const maxEmbedded = 3

// walker goes through the parts of one mail.
type walker struct {
	limits      Limits
	parts       int // how many more may be read
	attachments []Attachment
	embedded    []embedded
	reports     []string // the types of the reports in it, such as "delivery-status"
	incomplete  bool
	textBytes   int // collected so far
}

// embedded is a mail within a mail.
type embedded struct {
	body  []byte
	depth int
}

// content is the text of a part, by how good a text it is.
type content struct {
	plain    string
	html     string // a text derived from HTML
	calendar string // a text derived from an invitation
}

// best is the text of the part alone.
func (c content) best() string {
	for _, text := range []string{c.plain, c.html, c.calendar} {
		if strings.TrimSpace(text) != "" {
			return text
		}
	}
	return ""
}

// take notes that a part is read, and reports whether it may be.
func (w *walker) take() bool {
	if w.parts <= 0 {
		w.incomplete = true
		return false
	}
	w.parts--
	return true
}

// bound cuts a text where it is too long.
func (w *walker) bound(text string, most int) string {
	cut := cutText(text, most)
	if len(cut) < len(text) {
		w.incomplete = true
	}
	return cut
}

// walk reads a part and what is in it. otherwise is its type where it names none.
func (w *walker) walk(header message.Header, body []byte, depth int, otherwise string) content {
	if !w.take() {
		return content{}
	}
	kind, parameters := mediaType(header.Get("Content-Type"), otherwise)
	if strings.HasPrefix(kind, "multipart/") {
		return w.multipart(kind, parameters, body, depth)
	}
	disposition, more := mediaType(header.Get("Content-Disposition"), "")
	name := more["filename"]
	if name == "" {
		name = parameters["name"]
	}
	decoded, encoding := w.decode(header.Get("Content-Transfer-Encoding"), body)
	isText := strings.HasPrefix(kind, "text/") && encoding && disposition != "attachment" && (name == "" || w.textBytes == 0)
	switch {
	case kind == "message/rfc822" || kind == "message/global":
		w.embedded = append(w.embedded, embedded{decoded, depth})
		if name == "" {
			inner, _, _ := readHeader(decoded)
			name = decodeWords(inner.Get("Subject"))
		}
	case kind == "message/delivery-status" || kind == "message/disposition-notification" ||
		kind == "message/global-delivery-status" || kind == "message/global-disposition-notification":
		w.reports = append(w.reports, strings.TrimPrefix(strings.TrimPrefix(kind, "message/"), "global-"))
		return content{}
	case !isText || kind == "text/rfc822-headers":
	case kind == "text/html":
		return content{html: w.collect(htmlText(decodeCharset(decoded, parameters["charset"])))}
	case kind == "text/calendar":
		w.attach(name, kind, len(decoded), true)
		return content{calendar: w.collect(calendarText(decodeCharset(decoded, parameters["charset"])))}
	default:
		text := decodeCharset(decoded, parameters["charset"])
		if kind == "text/plain" && strings.EqualFold(parameters["format"], "flowed") {
			text = unflow(text, strings.EqualFold(parameters["delsp"], "yes"))
		}
		return content{plain: w.collect(text)}
	}
	w.attach(name, kind, len(decoded), disposition == "inline")
	return content{}
}

// collect bounds the texts of all parts together.
func (w *walker) collect(text string) string {
	text = w.bound(text, max(0, 4*w.limits.Text-w.textBytes))
	w.textBytes += len(strings.TrimSpace(text))
	return text
}

func (w *walker) attach(name, kind string, size int, inline bool) {
	w.attachments = append(w.attachments, Attachment{fileName(name), kind, size, inline})
}

// decode undoes the transfer encoding and reports whether it is one that is known.
func (w *walker) decode(encoding string, body []byte) (decoded []byte, known bool) {
	encoding, _, _ = strings.Cut(strings.ToLower(encoding), ";")
	switch strings.Trim(encoding, " \t\"") {
	case "base64":
		decoded, whole := decodeBase64(body)
		w.incomplete = w.incomplete || !whole
		return decoded, true
	case "quoted-printable":
		return decodeQuotedPrintable(body), true
	case "", "7bit", "8bit", "binary", "7-bit", "8-bit", "utf-8", "us-ascii":
		return body, true
	}
	return body, false
}

// multipart reads the parts of a part.
func (w *walker) multipart(kind string, parameters map[string]string, body []byte, depth int) content {
	if depth >= w.limits.Depth {
		w.incomplete = true
		return content{}
	}
	// A multipart has no transfer encoding but the identity (RFC 2045 section 6.4); those that
	// name another do not mean it.
	parts, closed := split(body, parameters["boundary"], w.parts+1)
	w.incomplete = w.incomplete || !closed
	if parts == nil { // nothing stands where it should: what there is may be read
		return content{plain: w.collect(decodeCharset(body, parameters["charset"]))}
	}
	otherwise := "text/plain" // RFC 2046 section 5.1
	if kind == "multipart/digest" {
		otherwise = "message/rfc822"
	}
	if kind == "multipart/report" && parameters["report-type"] != "" {
		w.reports = append(w.reports, strings.ToLower(parameters["report-type"]))
	}
	var all content
	var mixed []string
	before := w.textBytes
	for _, part := range parts {
		if w.parts <= 0 {
			w.incomplete = true
			break
		}
		header, body, cut := readHeader(part)
		w.incomplete = w.incomplete || cut
		if kind == "multipart/alternative" {
			w.textBytes = before // another form of the same text comes beside no text
		}
		this := w.walk(header, body, depth+1, otherwise)
		switch kind {
		case "multipart/alternative":
			if strings.TrimSpace(all.plain) == "" {
				all.plain = this.plain
			}
			if strings.TrimSpace(all.html) == "" {
				all.html = this.html
			}
			if strings.TrimSpace(all.calendar) == "" {
				all.calendar = this.calendar
			}
		case "multipart/related":
			if all.best() == "" { // its root is the first, unless that is not a text
				all = this
			}
		default:
			if text := strings.Trim(this.best(), "\n"); text != "" {
				mixed = append(mixed, text)
			}
		}
	}
	if len(mixed) > 0 {
		all.plain = strings.Join(mixed, "\n\n")
	}
	return all
}

// split cuts a body at its boundary lines. A boundary line is one from its first byte to its
// end, so that "--a" does not end at "--ab". closed reports whether the last of them is
// there. Where the boundary is empty, the first line that looks like one tells it.
//
// It returns nil parts for a body without any boundary line, and at most the given number.
func split(body []byte, boundary string, most int) (parts [][]byte, closed bool) {
	boundary = strings.TrimRight(boundary, " \t\r\n")
	if boundary == "" {
		if boundary = guessBoundary(body); boundary == "" {
			return nil, false
		}
	}
	delimiter := []byte("--" + boundary)
	start := -1 // of the part that is open
	for at := 0; at < len(body) && len(parts) < most; {
		found := bytes.Index(body[at:], delimiter)
		if found < 0 {
			break
		}
		line := at + found
		rest := body[line+len(delimiter):]
		end := bytes.IndexByte(rest, '\n')
		next := len(body)
		if end >= 0 {
			next = line + len(delimiter) + end + 1
			rest = rest[:end]
		}
		at = line + len(delimiter)
		if line > 0 && body[line-1] != '\n' {
			continue
		}
		tail := strings.TrimRight(string(rest[:min(len(rest), maxBoundaryTail)]), " \t\r")
		last := tail == "--"
		if tail != "" && !last || len(rest) > maxBoundaryTail {
			continue
		}
		if start >= 0 {
			parts = append(parts, withoutLineEnd(body[start:line]))
		}
		if last {
			if parts == nil {
				parts = [][]byte{}
			}
			return parts, true
		}
		start, at = next, next
	}
	if start >= 0 && len(parts) < most {
		parts = append(parts, body[start:])
	}
	return parts, false
}

// maxBoundaryTail is how much white space may follow a boundary.
const maxBoundaryTail = 256

// guessBoundary returns what follows "--" in the first line of a body that begins so.
func guessBoundary(body []byte) string {
	for line := range bytes.Lines(body) {
		if found, ok := bytes.CutPrefix(line, []byte("--")); ok {
			if boundary := strings.TrimRight(string(found[:min(len(found), maxBoundaryTail)]), " \t\r\n"); boundary != "" && boundary != "--" {
				return boundary
			}
		}
	}
	return ""
}

// withoutLineEnd takes off the line end that belongs to the boundary after it.
func withoutLineEnd(part []byte) []byte {
	part = bytes.TrimSuffix(part, []byte("\n"))
	return bytes.TrimSuffix(part, []byte("\r"))
}
