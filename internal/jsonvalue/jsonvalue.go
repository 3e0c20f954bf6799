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

// Numbers gives a decoded value, whose parts it changes, with its numbers as int64 where
// they are whole and fit, else as float64. A number that loses digits so, or is beyond
// float64, stays a json.Number.
func Numbers(value any) any {
	return numbers(value, KeepsDigits, func(number json.Number) any { return number })
}

// Plain gives a decoded value as Numbers does, for files and what people type: a whole
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
// gives in the place of the rest.
func numbers(value any, keeps func(string, float64) bool, other func(json.Number) any) any {
	switch value := value.(type) {
	case json.Number:
		if whole, err := value.Int64(); err == nil {
			return whole
		}
		number, err := value.Float64()
		if err != nil || !keeps(value.String(), number) {
			return other(value)
		}
		if whole, ok := Whole(number); ok {
			return whole
		}
		return number
	case []any:
		for i := range value {
			value[i] = numbers(value[i], keeps, other)
		}
	case map[string]any:
		for key := range value {
			value[key] = numbers(value[key], keeps, other)
		}
	}
	return value
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

// Whole gives a number as int64 where it is whole and fits.
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
