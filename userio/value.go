package userio

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/userkit/userkit"
)

// attributePrefix begins the name of a column that is a single attribute.
const attributePrefix = "attributes."

// formatValue gives a value of a column as cells show it: as FieldKind.Format
// does, and what attributes hold as JSON. The value nil is an empty cell.
func formatValue(value any) string {
	switch value := value.(type) {
	case nil:
		return ""
	case string:
		return value
	case int64:
		return strconv.FormatInt(value, 10)
	case bool:
		return strconv.FormatBool(value)
	case time.Time:
		return formatTime(value)
	case userkit.Money:
		return value.String()
	case userkit.Duration:
		return value.String()
	case []string:
		return strings.Join(value, " ")
	case userkit.Attributes:
		if len(value) == 0 {
			return ""
		}
		return string(appendJSON(nil, value))
	default:
		return string(appendJSON(nil, value))
	}
}

// formatAttribute gives the value of a single attribute as cells show it. A text
// stands as it is, unless parseAttribute would take it for something else: then
// it stands in quotes, as JSON writes it.
func formatAttribute(value any) string {
	text, ok := value.(string)
	if !ok {
		return formatValue(value)
	}
	if parsed, same := parseAttribute(text).(string); text != "" && same && parsed == text {
		return text
	}
	return string(appendJSONText(nil, text))
}

// parseAttribute reads what formatAttribute writes. A text is a number or a
// truth value only in the very form that JSON writes it in, so 007, 1.50 and
// +375291234567 stay texts.
func parseAttribute(text string) any {
	if text == "" {
		return ""
	}
	switch c := text[0]; {
	case c == '{' || c == '[' || c == '"':
		if value, err := decodeJSON([]byte(text)); err == nil {
			return value
		}
	case text == "true":
		return true
	case text == "false":
		return false
	case c == '-' || '0' <= c && c <= '9':
		if number, err := strconv.ParseInt(text, 10, 64); err == nil {
			if strconv.FormatInt(number, 10) == text {
				return number
			}
		} else if number, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(number, 0) && !math.IsNaN(number) {
			if string(appendJSON(nil, number)) == text {
				return number
			}
		}
	}
	return text
}

// decodeJSON reads one JSON value; numbers become int64 where they are whole and
// fit, texts of their digits where they are whole and do not, else float64 or,
// beyond it, json.Number.
func decodeJSON(data []byte) (any, error) {
	if loneSurrogate(data) {
		return nil, errLoneSurrogate()
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return plainNumbers(value), nil
}

func plainNumbers(value any) any {
	switch value := value.(type) {
	case json.Number:
		if whole, err := value.Int64(); err == nil {
			return whole
		}
		if strings.Trim(value.String(), "-0123456789") == "" { // a whole number keeps its digits
			return value.String()
		}
		if number, err := value.Float64(); err == nil {
			return number
		}
	case []any:
		for i := range value {
			value[i] = plainNumbers(value[i])
		}
	case map[string]any:
		for key := range value {
			value[key] = plainNumbers(value[key])
		}
	}
	return value
}

// appendJSON appends a value as JSON, without the escapes that only HTML needs.
func appendJSON(to []byte, value any) []byte {
	buffer := bytes.NewBuffer(to)
	encoder := json.NewEncoder(buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic("userio: a value that JSON cannot write: " + err.Error())
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))
}

// appendJSONText appends a text as a JSON string.
func appendJSONText(to []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendJSON(to, text)
		}
	}
	to = append(to, '"')
	to = append(to, text...)
	return append(to, '"')
}

// runsAsFormula reports whether a spreadsheet that opens a CSV file might take
// the text for a formula, by its first character. A sign before nothing but
// digits is no more than a number, so telephone numbers stay as they are. What
// neutralise made of such a text counts too, so that it gets one more apostrophe
// and undoing it is exact.
func runsAsFormula(text string) bool {
	if text == "" || 'a' <= text[0] && text[0] <= 'z' || 'A' <= text[0] && text[0] <= 'Z' {
		return false
	}
	text = strings.TrimLeft(text, "'")
	first, size := utf8.DecodeRuneInString(text)
	switch first {
	case '=', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠':
		return true
	case '+', '-':
		return strings.Trim(text[size:], "0123456789") != ""
	}
	return false
}

// restoreFormula undoes the apostrophe that the CSV writer puts before a text
// that would run as a formula.
func restoreFormula(text string) string {
	if text != "" && text[0] == '\'' && runsAsFormula(text) {
		return text[1:]
	}
	return text
}

// clip shortens a value that goes into an error message.
func clip(text string) string {
	const most = 60
	if len(text) <= most {
		return strings.ToValidUTF8(text, "\ufffd")
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
