package userkit

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold gives the form in which userkit compares, sorts and searches text: case
// folded, compatibility-normalised (NFKC), and without the accents that Unicode
// calls combining diacritical marks. Vowel signs and tone marks that belong to a
// script (Devanagari, Thai, …) stay, since they tell words apart. Fold of a
// folded text is the same text.
func Fold(text string) string {
	if folded, ok := foldASCII(text); ok {
		return folded
	}
	// Folding can bring up characters that decompose further, so the steps are
	// repeated until nothing changes; two rounds are enough for all of Unicode,
	// and the bound keeps a future table from looping.
	for range 4 {
		next := norm.NFKC.String(stripAccents(cases.Fold().String(stripAccents(text))))
		if next == text {
			break
		}
		text = next
	}
	return text
}

// SortKeyBytes is the length at which SortKey cuts.
const SortKeyBytes = 512

// SortKey gives the folded form of text, cut at a rune boundary to at most
// SortKeyBytes bytes, so that it fits every index. Both stores sort by it, byte
// by byte.
func SortKey(text string) string {
	folded := Fold(text)
	if len(folded) <= SortKeyBytes {
		return folded
	}
	end := SortKeyBytes
	for end > 0 && !utf8.RuneStart(folded[end]) {
		end--
	}
	return folded[:end]
}

// foldASCII folds text that is ASCII only, without allocating when it is in lower case.
func foldASCII(text string) (string, bool) {
	upper := false
	for i := range len(text) {
		c := text[i]
		if c >= utf8.RuneSelf {
			return "", false
		}
		upper = upper || 'A' <= c && c <= 'Z'
	}
	if upper {
		text = strings.ToLower(text)
	}
	return text, true
}

// stripAccents decomposes text and drops the combining diacritical marks.
func stripAccents(text string) string {
	return strings.Map(func(r rune) rune {
		if isAccent(r) {
			return -1
		}
		return r
	}, norm.NFKD.String(text))
}

// isAccent reports whether r is in one of the Unicode blocks of combining
// diacritical marks (the block, extended, supplement, for symbols, half marks).
func isAccent(r rune) bool {
	switch {
	case r < 0x0300:
		return false
	case r <= 0x036F,
		0x1AB0 <= r && r <= 0x1AFF,
		0x1DC0 <= r && r <= 0x1DFF,
		0x20D0 <= r && r <= 0x20FF,
		0xFE20 <= r && r <= 0xFE2F:
		return true
	}
	return false
}

// checkLine checks a text of one line: valid UTF-8, no control characters, none that
// nobody sees (see hidden), at most max characters.
func checkLine(field, text string, max int) error {
	if err := checkText(field, text, max, false); err != nil {
		return err
	}
	if r, found := hidden(text); found {
		return NewError(CodeBadText, field, "invisible character %U", r)
	}
	return nil
}

// checkInput is checkLine, at most MaxLine characters, for what nobody is told apart by, such as a text to look
// for, where characters that nobody sees do no harm.
func checkInput(field, text string) error {
	return checkText(field, text, MaxLine, false)
}

// checkLines is checkLine for texts that may hold line breaks and tabs.
func checkLines(field, text string, max int) error {
	return checkText(field, text, max, true)
}

func checkText(field, text string, max int, lines bool) error {
	if !utf8.ValidString(text) {
		return NewError(CodeBadText, field, "not valid UTF-8")
	}
	count := 0
	for _, r := range text {
		count++
		if unicode.IsControl(r) && !(lines && (r == '\n' || r == '\r' || r == '\t')) {
			return NewError(CodeBadText, field, "control character %U", r)
		}
	}
	if count > max {
		return NewError(CodeTooLong, field, "%d characters, at most %d", count, max)
	}
	return nil
}

// firstError returns the first error that is not nil. It says of all others in
// Error.Fields.
func firstError(errs ...error) error {
	var first error
	var fields []FieldError
	for _, err := range errs {
		if err == nil {
			continue
		}
		if first == nil {
			first = err
		}
		if e, ok := errors.AsType[*Error](err); !ok {
			continue
		} else if len(e.Fields) > 0 {
			fields = append(fields, e.Fields...)
		} else {
			fields = append(fields, FieldError{Field: e.Field, Code: e.Code, Message: e.Message})
		}
	}
	if e, ok := first.(*Error); ok && len(fields) > 1 { //nolint:errorlint // what is wrapped belongs to somebody else
		e.Fields = fields
	}
	return first
}
