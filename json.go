package userkit

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"github.com/userkit/userkit/internal/jsonvalue"
)

// maxJSONDepth is how deep free-form values may nest.
const maxJSONDepth = 32

// normalJSON returns a value as JSON would read it back: nil, bool, string, int64
// for whole numbers that fit, float64 for the others, []any and map[string]any.
func normalJSON(field string, value any, most int) (any, error) {
	read, err := decodeJSON(field, value, most)
	if err == nil {
		err = checkJSON(field, read, maxJSONDepth, true)
	}
	if err != nil {
		return nil, err
	}
	return jsonvalue.Numbers(read), nil
}

// readJSON writes a value as JSON and reads it back, with numbers as
// json.Number. It refuses what some store could not keep: more than so many
// bytes, deep nesting, control characters, invalid UTF-8, numbers beyond float64.
func readJSON(field string, value any, most int) (any, error) {
	read, err := decodeJSON(field, value, most)
	if err != nil {
		return nil, err
	}
	return read, checkJSON(field, read, maxJSONDepth, false)
}

// decodeJSON is readJSON without a check of the value.
func decodeJSON(field string, value any, most int) (any, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, NewError(CodeBadFormat, field, "the text is not valid JSON").Because(err)
	}
	if len(text) > most {
		return nil, NewError(CodeTooLong, field, "%d bytes of JSON exceed the limit of %d", len(text), most)
	}
	if !utf8.Valid(text) || replacedUTF8(text) {
		return nil, NewError(CodeBadText, field, "the text is not valid UTF-8")
	}
	read, err := jsonvalue.Decode(text)
	if err != nil {
		return nil, jsonFault(field, "the text is not valid JSON", err)
	}
	return read, nil
}

// jsonFault returns an error that says why a text is not valid.
func jsonFault(field, instead string, err error) error {
	if errors.Is(err, jsonvalue.ErrHalfCharacter) {
		return NewError(CodeBadText, field, "%s", err)
	}
	return NewError(CodeBadFormat, field, "%s", instead).Because(err)
}

// replacedUTF8 reports whether encoding/json replaced invalid UTF-8 in what it
// wrote: it writes the escape of U+FFFD only then, and the character itself as
// it is.
func replacedUTF8(text []byte) bool {
	escape := []byte(`\ufffd`)
	for {
		at := bytes.Index(text, escape)
		if at < 0 {
			return false
		}
		backslashes := 1
		for at-backslashes >= 0 && text[at-backslashes] == '\\' {
			backslashes++
		}
		if backslashes%2 == 1 {
			return true
		}
		text = text[at+len(escape):]
	}
}

// checkJSON refuses what readJSON says. Where the numbers are to be kept as int64 or
// float64, it refuses whole numbers that would lose digits as well.
func checkJSON(field string, value any, depth int, numbers bool) error {
	if depth < 0 {
		return NewError(CodeTooLong, field, "nested more than %d levels deep", maxJSONDepth)
	}
	switch value := value.(type) {
	case json.Number:
		if number, err := value.Float64(); err != nil || numbers && !jsonvalue.KeepsDigits(value.String(), number) {
			return NewError(CodeOutOfRange, field, "%s does not fit into 64 bits: send it as a text", clip(value.String()))
		}
	case string:
		return checkLines(field, value, len(value))
	case []any:
		for _, item := range value {
			if err := checkJSON(field, item, depth-1, numbers); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, item := range value {
			if err := firstError(checkInput(field, key), checkJSON(field, item, depth-1, numbers)); err != nil {
				return err
			}
		}
	}
	return nil
}
