package userkit

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxJSONDepth is how deep free-form values may nest.
const maxJSONDepth = 32

// normalJSON gives a value as JSON would read it back: nil, bool, string, int64
// for whole numbers that fit, float64 for the others, []any and map[string]any.
func normalJSON(field string, value any, most int) (any, error) {
	read, err := decodeJSON(field, value, most)
	if err == nil {
		err = checkJSON(field, read, maxJSONDepth, true)
	}
	if err != nil {
		return nil, err
	}
	return normalNumbers(read), nil
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

// decodeJSON is readJSON without a look at what is in the value.
func decodeJSON(field string, value any, most int) (any, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, NewError(CodeBadFormat, field, "not JSON").Because(err)
	}
	if len(text) > most {
		return nil, NewError(CodeTooLong, field, "%d bytes of JSON, at most %d", len(text), most)
	}
	if !utf8.Valid(text) || replacedUTF8(text) {
		return nil, NewError(CodeBadText, field, "not valid UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var read any
	if err := decoder.Decode(&read); err != nil {
		return nil, NewError(CodeBadFormat, field, "not JSON").Because(err)
	}
	return read, nil
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
		return NewError(CodeTooLong, field, "nested deeper than %d", maxJSONDepth)
	}
	switch value := value.(type) {
	case json.Number:
		if number, err := value.Float64(); err != nil || numbers && !keepsDigits(value.String(), number) {
			return NewError(CodeOutOfRange, field, "%s is beyond 64 bits: send it as a text", clip(value.String()))
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

// keepsDigits reports whether a number of JSON, as it is written, is told from its
// neighbours as an int64 or a float64. A fraction may be rounded, a whole number not.
func keepsDigits(text string, number float64) bool {
	if strings.Trim(text, "-0123456789") != "" {
		return true
	}
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		return true
	}
	if strconv.FormatFloat(number, 'f', -1, 64) == text {
		return true
	}
	whole, _ := new(big.Int).SetString(text, 10)
	exact, _ := big.NewFloat(number).Int(nil)
	return whole != nil && whole.Cmp(exact) == 0
}

// normalNumbers gives a checked value with its numbers as int64 or float64.
func normalNumbers(value any) any {
	switch value := value.(type) {
	case json.Number:
		if whole, err := value.Int64(); err == nil {
			return whole
		}
		number, err := value.Float64()
		if err != nil || !keepsDigits(value.String(), number) {
			return value // for checkJSON to refuse
		}
		if whole, ok := wholeNumber(number); ok {
			return whole
		}
		return number
	case []any:
		for i := range value {
			value[i] = normalNumbers(value[i])
		}
	case map[string]any:
		for key := range value {
			value[key] = normalNumbers(value[key])
		}
	}
	return value
}

// wholeNumber gives a number as int64 where it is whole and fits.
func wholeNumber(number float64) (int64, bool) {
	if math.Trunc(number) == number && number >= -(1<<63) && number < 1<<63 {
		return int64(number), true
	}
	return 0, false
}
