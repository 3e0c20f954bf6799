package pushmail

import (
	"bytes"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// cleanText replaces what no text may have: bytes that are not UTF-8, and NUL. Lines end in
// "\n", and a mark of the byte order at the beginning is left out.
func cleanText(text string) string {
	text = strings.ToValidUTF8(text, "�")
	text = strings.TrimPrefix(text, "\ufeff")
	if strings.ContainsAny(text, "\x00\r") {
		text = strings.NewReplacer("\x00", "�", "\r\n", "\n", "\r", "\n").Replace(text)
	}
	return text
}

// cutText returns the beginning of a text of at most so many bytes, whole characters of it.
func cutText(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// decodeBase64 decodes what is base64 in a body and steps over the rest, such as white space
// and what some programs write below. It reports whether the last group is whole. Several
// texts one after the other, each with its padding, are one.
func decodeBase64(body []byte) (decoded []byte, whole bool) {
	decoded = make([]byte, 0, len(body)/4*3+3)
	var group uint32
	sextets, lineEnds, padded := 0, 0, false
	flush := func() {
		switch sextets {
		case 2:
			decoded = append(decoded, byte(group>>4))
		case 3:
			decoded = append(decoded, byte(group>>10), byte(group>>2))
		}
		group, sextets = 0, 0
	}
	for _, b := range body {
		value := base64Values[b]
		switch {
		case value < 64:
			if padded && lineEnds > 1 {
				return decoded, true
			}
			lineEnds, padded = 0, false
			group = group<<6 | uint32(value)
			if sextets++; sextets == 4 {
				decoded = append(decoded, byte(group>>16), byte(group>>8), byte(group))
				group, sextets = 0, 0
			}
		case b == '\n':
			lineEnds++
		case b == '=':
			flush()
			lineEnds, padded = 0, true
		}
	}
	whole = sextets == 0
	flush()
	return decoded, whole
}

// base64Values has the value of each byte of the alphabet, and 255 for the others.
var base64Values = func() (values [256]byte) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range values {
		values[i] = 255
	}
	for i := range len(alphabet) {
		values[alphabet[i]] = byte(i)
	}
	return values
}()

// decodeQuotedPrintable decodes a body and keeps what is not quoted-printable as it is.
func decodeQuotedPrintable(body []byte) []byte {
	decoded := make([]byte, 0, len(body))
	for len(body) > 0 {
		line := body
		end := bytes.IndexByte(body, '\n')
		newline := ""
		if end >= 0 {
			line, body, newline = body[:end], body[end+1:], "\n"
		} else {
			body = nil
		}
		line = bytes.TrimRight(line, " \t\r") // white space at an end is of the way
		if n := len(line); n > 0 && line[n-1] == '=' {
			line, newline = line[:n-1], ""
		}
		for i := 0; i < len(line); i++ {
			if line[i] == '=' && i+2 < len(line) {
				high, low := hexValue(line[i+1]), hexValue(line[i+2])
				if high < 16 && low < 16 {
					decoded = append(decoded, high<<4|low)
					i += 2
					continue
				}
			}
			decoded = append(decoded, line[i])
		}
		decoded = append(decoded, newline...)
	}
	return decoded
}

func hexValue(b byte) byte {
	switch {
	case '0' <= b && b <= '9':
		return b - '0'
	case 'A' <= b && b <= 'F':
		return b - 'A' + 10
	case 'a' <= b && b <= 'f':
		return b - 'a' + 10
	}
	return 255
}

// decodeUTF7 decodes UTF-7 (RFC 2152). What is not UTF-7 is kept as it is.
func decodeUTF7(raw []byte) string {
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] != '+' {
			b.WriteByte(raw[i])
			continue
		}
		end := i + 1
		for end < len(raw) && base64Values[raw[end]] < 64 {
			end++
		}
		switch run := string(raw[i+1 : end]); {
		case run == "" && end < len(raw) && raw[end] == '-':
			b.WriteByte('+')
		case run == "":
			b.WriteByte('+')
			end = i + 1
		default:
			decoded, _ := decodeBase64(raw[i+1 : end])
			units := make([]uint16, len(decoded)/2)
			for j := range units {
				units[j] = uint16(decoded[2*j])<<8 | uint16(decoded[2*j+1])
			}
			b.WriteString(string(utf16.Decode(units)))
		}
		if end < len(raw) && raw[end] == '-' {
			end++
		}
		i = end - 1
	}
	return b.String()
}

// unflow puts the paragraphs of a flowed text together again (RFC 3676).
func unflow(text string, deleteSpace bool) string {
	var b strings.Builder
	open, depth := false, 0
	for line := range strings.SplitSeq(text, "\n") {
		quotes := 0
		for quotes < len(line) && line[quotes] == '>' {
			quotes++
		}
		content := strings.TrimPrefix(line[quotes:], " ") // stuffed
		flows := strings.HasSuffix(content, " ") && content != "-- "
		if !open || quotes != depth || content == "-- " {
			if b.Len() > 0 {
				b.WriteByte('\n')
			}
			if quotes > 0 {
				b.WriteString(strings.Repeat(">", quotes) + " ")
			}
		}
		if flows && deleteSpace {
			content = content[:len(content)-1]
		}
		b.WriteString(content)
		open, depth = flows, quotes
		if !flows && content == "" && quotes == 0 && b.Len() == 0 {
			b.WriteByte('\n')
		}
	}
	return b.String()
}
