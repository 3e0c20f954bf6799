package pushmail

import (
	"bufio"
	"bytes"
	"io"
	"mime"
	"net/mail"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/charset"
	"github.com/emersion/go-message/textproto"
)

// maxHeader is how many bytes of a header are read, maxField how many of a field are decoded.
const (
	maxHeader = 256 << 10
	maxField  = 16 << 10
)

// readHeader parts a mail into its header and its body. A line that is no field ends the
// header, and belongs to the body: what is not understood is kept where a person sees it.
// cut reports whether the header is longer than what is read of it.
func readHeader(raw []byte) (header message.Header, body []byte, cut bool) {
	// A line of a mailbox file is no field.
	if bytes.HasPrefix(raw, []byte("From ")) || bytes.HasPrefix(raw, []byte(">From ")) {
		_, raw, _ = bytes.Cut(raw, []byte("\n"))
	}
	end := 0
	for end < len(raw) {
		line := raw[end:]
		if at := bytes.IndexByte(line, '\n'); at >= 0 {
			line = line[:at+1]
		}
		text := bytes.TrimRight(line, "\r\n")
		if len(text) == 0 {
			body = raw[end+len(line):]
			break
		}
		continued := (text[0] == ' ' || text[0] == '\t') && end > 0
		if !continued && !isField(text) {
			body = raw[end:]
			break
		}
		end += len(line)
	}
	fields := raw[:end]
	if len(fields) > maxHeader {
		cut = true
		fields = fields[:bytes.LastIndexByte(fields[:maxHeader], '\n')+1]
	}
	// The lines are fields, so that nothing can be wrong with them any more.
	read, _ := textproto.ReadHeader(bufio.NewReader(io.MultiReader(bytes.NewReader(fields), strings.NewReader("\r\n\r\n"))))
	return message.Header{Header: read}, body, cut
}

// isField reports whether a line begins with the name of a field and a colon.
func isField(line []byte) bool {
	name, _, found := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	return found && len(name) > 0 && !slices.ContainsFunc(name, func(b byte) bool { return b <= ' ' || b >= 0x7f })
}

// mediaType parses a Content-Type or a Content-Disposition as well as it can be done:
// parameters that are broken, or there twice, cost themselves alone. Names of parameters are
// lower case, and continuations and encodings of RFC 2231 are undone, as are encoded words in
// values, which the rules forbid and mailers write.
func mediaType(value, otherwise string) (kind string, parameters map[string]string) {
	value = value[:min(len(value), maxField)]
	kind, rest, _ := strings.Cut(value, ";")
	kind = strings.ToLower(strings.TrimSpace(stripComments(kind)))
	if main, sub, found := strings.Cut(kind, "/"); kind == "" || strings.ContainsFunc(kind, noToken) || found && (main == "" || sub == "") {
		kind = otherwise
	} else if otherwise != "" && !found { // such as "text" of the mailers of another age
		kind = otherwise
	}
	plain := map[string]string{}
	pieces := map[string][]piece{}
	for len(rest) > 0 {
		var name, value string
		name, value, rest = nextParameter(rest)
		if name == "" {
			continue
		}
		base, section, isPiece := strings.Cut(name, "*")
		if !isPiece {
			if _, twice := plain[name]; !twice {
				plain[name] = value
			}
			continue
		}
		encoded := section == "" || strings.HasSuffix(section, "*")
		number, err := strconv.Atoi(strings.TrimSuffix(section, "*"))
		if section != "" && err != nil || number < 0 || len(pieces[base]) >= maxPieces {
			continue
		}
		pieces[base] = append(pieces[base], piece{number, encoded, value})
	}
	parameters = make(map[string]string, len(plain)+len(pieces))
	for name, value := range plain {
		parameters[name] = decodeWords(value)
	}
	for name, list := range pieces {
		if value := joinPieces(list); value != "" {
			parameters[name] = value
		}
	}
	return kind, parameters
}

// noToken reports whether a rune is none of a media type (RFC 2045 section 5.1).
func noToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("()<>@,;:\\\"[]?=", r)
}

// maxPieces is how many pieces of one parameter are put together.
const maxPieces = 200

// piece is one of the pieces that RFC 2231 lets a parameter be in.
type piece struct {
	number  int
	encoded bool
	value   string
}

func joinPieces(list []piece) string {
	slices.SortStableFunc(list, func(a, b piece) int { return a.number - b.number })
	name := ""
	var raw []byte
	for i, piece := range list {
		value := piece.value
		if !piece.encoded {
			raw = append(raw, value...)
			continue
		}
		if i == 0 {
			if encoding, rest, found := strings.Cut(value, "'"); found {
				if _, text, found := strings.Cut(rest, "'"); found {
					name, value = encoding, text
				}
			}
		}
		if unescaped, err := url.PathUnescape(value); err == nil {
			value = unescaped
		}
		raw = append(raw, value...)
	}
	return decodeCharset(raw, name)
}

// nextParameter reads "name=value" up to the next semicolon outside of quotes.
func nextParameter(text string) (name, value, rest string) {
	text = strings.TrimLeft(text, " \t\r\n;")
	equals := strings.IndexAny(text, "=;")
	if equals < 0 {
		return "", "", ""
	}
	if text[equals] == ';' {
		return "", "", text[equals+1:]
	}
	name = strings.ToLower(strings.TrimSpace(text[:equals]))
	text = strings.TrimLeft(text[equals+1:], " \t\r\n")
	if !strings.HasPrefix(text, `"`) {
		value, rest, _ = strings.Cut(text, ";")
		return name, strings.TrimSpace(stripComments(value)), rest
	}
	var b strings.Builder
	at := 1
	for ; at < len(text) && text[at] != '"'; at++ {
		if text[at] == '\\' && at+1 < len(text) {
			// A path of Windows that nobody escaped keeps its backslashes; a quote does not.
			if next := text[at+1]; next == '"' || next == '\\' {
				at++
			}
		}
		b.WriteByte(text[at])
	}
	_, rest, _ = strings.Cut(text[min(at+1, len(text)):], ";")
	return name, b.String(), rest
}

// stripComments takes out "(comments)" of a value without quotes.
func stripComments(value string) string {
	before, rest, found := strings.Cut(value, "(")
	if !found {
		return value
	}
	_, after, _ := strings.Cut(rest, ")")
	return before + " " + after
}

// decodeWords decodes the encoded words of RFC 2047. A word that cannot be decoded stays as
// it is, alone.
func decodeWords(value string) string {
	value = strings.ToValidUTF8(value[:min(len(value), maxField)], "�")
	decoder := mime.WordDecoder{CharsetReader: wordCharset}
	if decoded, err := decoder.DecodeHeader(value); err == nil {
		return cleanText(decoded)
	}
	words := strings.Split(value, " ")
	for i, word := range words {
		if decoded, err := decoder.DecodeHeader(word); err == nil {
			words[i] = decoded
		}
	}
	return cleanText(strings.Join(words, " "))
}

func wordCharset(name string, input io.Reader) (io.Reader, error) {
	raw, err := io.ReadAll(input)
	if err != nil {
		return nil, err
	}
	name, _, _ = strings.Cut(name, "*") // a language may follow (RFC 2231 section 5)
	return strings.NewReader(decodeCharset(raw, name)), nil
}

// firstAddress reads the first address of a field such as From.
func firstAddress(value string) (Address, bool) {
	value = value[:min(len(value), maxField)]
	parser := mail.AddressParser{WordDecoder: &mime.WordDecoder{CharsetReader: wordCharset}}
	if list, err := parser.ParseList(value); err == nil && len(list) > 0 {
		return Address{Name: oneLine(cutText(cleanText(list[0].Name), maxName)), Email: address(list[0].Address)}, true
	}
	// Not by the rules: what stands in the first angle brackets, and what stands before.
	name, rest, found := strings.Cut(value, "<")
	email, _, _ := strings.Cut(rest, ">")
	if !found {
		name, email = "", value
	}
	email = address(strings.TrimSpace(email))
	if email == "" {
		name = value
	}
	result := Address{Name: oneLine(cutText(decodeWords(strings.Trim(name, ` "'`)), maxName)), Email: email}
	return result, email != ""
}

// maxName is how many bytes of a name are kept.
const maxName = 256

// address returns what can be the email address of a sender, or nothing.
func address(email string) string {
	at := strings.LastIndexByte(email, '@')
	if at <= 0 || at == len(email)-1 || len(email) > 320 || !utf8.ValidString(email) ||
		strings.ContainsFunc(email, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == '<' || r == '>' }) {
		return ""
	}
	return email
}

// messageID takes the id out of its brackets, and nothing of what cannot be one.
func messageID(value string) string {
	value = strings.TrimSpace(value)
	if _, rest, found := strings.Cut(value, "<"); found {
		value, _, _ = strings.Cut(rest, ">")
	}
	if len(value) < 3 || len(value) > 998 || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return ""
	}
	return value
}

func date(header message.Header) time.Time {
	value := header.Get("Date")
	at, err := mail.ParseDate(value[:min(len(value), 200)])
	if err != nil || at.Year() < 1970 || at.Year() > 9999 {
		return time.Time{}
	}
	return at.UTC()
}

// fileName is a name that may be shown, and be used for a file: no folders, and nothing that
// hides what it is.
func fileName(name string) string {
	name = oneLine(cleanText(name))
	name = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) { // turns the direction of what follows, or cannot be seen
			return utf8.RuneError
		}
		return r
	}, name)
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	if name == "." || name == "/" || name == ".." {
		return ""
	}
	return cutText(name, 255)
}

// oneLine makes a text one line, without control characters.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsControl(r) || r == ' ' || r == '\u2028' || r == '\u2029' }), " ")
}

// decodeCharset makes UTF-8 of a text. A text that names no charset, or one that nobody knows,
// is UTF-8 if it can be, and else what most such texts are.
func decodeCharset(raw []byte, name string) string {
	name = strings.ToLower(strings.Trim(name, " \t\"'"))
	switch name {
	case "utf-7", "unicode-1-1-utf-7", "x-unicode-2-0-utf-7", "csunicode11utf7":
		return cleanText(decodeUTF7(raw))
	case "", "utf-8", "utf8", "us-ascii", "ascii", "unknown-8bit", "x-unknown", "default", "unknown":
		if name == "utf-8" || name == "utf8" || utf8.Valid(raw) {
			return cleanText(string(raw))
		}
		name = "windows-1252"
	case "iso-8859-1", "latin1": // written by mailers that mean the larger one
		name = "windows-1252"
	case "gb2312", "gb_2312-80", "gbk", "x-gbk": // as browsers do: the larger ones hold them
		name = "gb18030"
	case "ks_c_5601-1987", "ks_c_5601":
		name = "euc-kr"
	}
	reader, err := charset.Reader(name, bytes.NewReader(raw))
	if err == nil {
		if decoded, err := io.ReadAll(reader); err == nil {
			return cleanText(string(decoded))
		}
	}
	if utf8.Valid(raw) {
		return cleanText(string(raw))
	}
	return decodeCharset(raw, "windows-1252")
}
