package userio

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/jsonvalue"
)

// attributePrefix is the beginning of the name of a column that is a single attribute.
const attributePrefix = "attributes."

// formatValue returns a value of a column as cells show it: as FieldKind.Format does, and values of
// attributes as JSON. A nil value is an empty cell.
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
		return string(jsonvalue.Append(nil, value))
	default:
		return string(jsonvalue.Append(nil, value))
	}
}

// appendJSONText appends a text as a JSON string.
func appendJSONText(to []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return jsonvalue.Append(to, text)
		}
	}
	to = append(to, '"')
	to = append(to, text...)
	return append(to, '"')
}

// runsAsFormula reports whether a spreadsheet that opens a CSV file might take the text for a
// formula, by its first character. A sign followed only by digits is just a number, so telephone
// numbers stay as they are. A text that neutralise has already prefixed counts too: it gets one
// more apostrophe, so that undoing it is exact.
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

// restoreFormula removes the apostrophe that the CSV writer puts before a text that would run as a
// formula, and what other programs write for the same purpose.
func restoreFormula(text string) string {
	if text != "" && text[0] == '\'' && runsAsFormula(text) {
		return text[1:]
	}
	// Programs write ="007" so that a spreadsheet does not take the text for a number.
	if inner, ok := strings.CutPrefix(text, `="`); ok && strings.Count(inner, `"`) == 1 && strings.HasSuffix(inner, `"`) {
		return inner[:len(inner)-1]
	}
	return text
}

// clip shortens a value for an error message.
func clip(text string) string {
	const most = 60
	if len(text) <= most {
		return strings.ToValidUTF8(text, "\ufffd")
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
