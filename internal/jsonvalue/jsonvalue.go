// Package jsonvalue reads and writes values of JSON as userkit keeps them: with every digit
// of their whole numbers, and no text that the decoder has changed without a word.
package jsonvalue

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// ErrHalfCharacter is what JSON with half of a character is refused with.
var ErrHalfCharacter = errors.New("half of a character: an escaped surrogate without its other half")

// Decode reads one value, with numbers as json.Number. It refuses more than one value and,
// with ErrHalfCharacter, what HalfCharacter finds.
func Decode(data []byte) (any, error) {
	if HalfCharacter(data) {
		return nil, ErrHalfCharacter
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
	return value, nil
}

// HalfCharacter reports whether JSON has an escaped surrogate without its other half, for
// which the decoder would put U+FFFD without a word.
func HalfCharacter(data []byte) bool {
	high := false // the escape before was a high surrogate
	for at := 0; at < len(data); {
		if data[at] != '\\' || at+1 >= len(data) {
			if high {
				return true
			}
			at++
			continue
		}
		if data[at+1] != 'u' || at+6 > len(data) {
			if high {
				return true
			}
			at += 2
			continue
		}
		unit, err := strconv.ParseUint(string(data[at+2:at+6]), 16, 16)
		low := err == nil && 0xDC00 <= unit && unit < 0xE000
		if high != low {
			return true
		}
		high = err == nil && 0xD800 <= unit && unit < 0xDC00
		at += 6
	}
	return high
}

// Numbers returns a copy of a decoded value with its numbers as int64 where
// they are whole and fit, else as float64. A number that loses digits so, or is beyond
// float64, stays a json.Number.
func Numbers(value any) any {
	return numbers(value, KeepsDigits, func(number json.Number) any { return number })
}

// Plain returns a copy of a decoded value as Numbers does, for files and what people type: a whole
// number that is not, digit by digit, what JSON writes for the float64 becomes the text of
// its digits.
func Plain(value any) any {
	written := func(text string, number float64) bool {
		return !isWhole(text) || string(Append(nil, number)) == text
	}
	return numbers(value, written, func(number json.Number) any {
		if isWhole(number.String()) {
			return number.String()
		}
		return number
	})
}

// numbers puts a float64 in the place of numbers that keep what they say so, and what other
// returns in the place of the rest.
func numbers(value any, keeps func(string, float64) bool, other func(json.Number) any) any {
	return Map(value, func(value any) any {
		text, ok := value.(json.Number)
		if !ok {
			return value
		}
		if whole, err := text.Int64(); err == nil {
			return whole
		}
		number, err := text.Float64()
		if err != nil || !keeps(text.String(), number) {
			return other(text)
		}
		if whole, ok := Whole(number); ok {
			return whole
		}
		return number
	})
}

// Map returns a copy of a value, whose lists are []any and whose objects are map[string]any,
// with f(value) in the place of each value that is neither. The copy shares no list and no
// object with the value.
func Map(value any, f func(value any) any) any {
	switch value := value.(type) {
	case []any:
		if value == nil {
			return value
		}
		mapped := make([]any, len(value))
		for i, item := range value {
			mapped[i] = Map(item, f)
		}
		return mapped
	case map[string]any:
		if value == nil {
			return value
		}
		mapped := make(map[string]any, len(value))
		for name, item := range value {
			mapped[name] = Map(item, f)
		}
		return mapped
	}
	return f(value)
}

// Clone returns a copy of a value that shares nothing with it.
func Clone(value any) any {
	return Map(value, func(value any) any { return value })
}

// isWhole reports whether a number of JSON is written without fraction and exponent.
func isWhole(text string) bool { return strings.Trim(text, "-0123456789") == "" }

// KeepsDigits reports whether a number of JSON, as it is written, is told from its
// neighbours as an int64 or a float64. A fraction may be rounded, a whole number not.
func KeepsDigits(text string, number float64) bool {
	if !isWhole(text) {
		return true
	}
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		return true
	}
	if math.IsInf(number, 0) {
		return false
	}
	if strconv.FormatFloat(number, 'f', -1, 64) == text {
		return true
	}
	whole, _ := new(big.Int).SetString(text, 10)
	exact, _ := big.NewFloat(number).Int(nil)
	return whole != nil && whole.Cmp(exact) == 0
}

// Whole returns a number as int64 where it is whole and fits.
func Whole(number float64) (int64, bool) {
	if math.Trunc(number) == number && number >= -(1<<63) && number < 1<<63 {
		return int64(number), true
	}
	return 0, false
}

// Append appends a value as JSON, without the escapes that only HTML needs. It panics on
// what JSON cannot write.
func Append(to []byte, value any) []byte {
	buffer := bytes.NewBuffer(to)
	encoder := json.NewEncoder(buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic("userkit: a value that JSON cannot write: " + err.Error())
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))
}
