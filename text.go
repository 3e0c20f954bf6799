package userkit

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold returns the form in which userkit compares, sorts and searches text: case
// folded, compatibility-normalised (NFKC), without the accents that Unicode
// calls combining diacritical marks, with Latin letters that have a stroke, a hook or
// a ligature as plain ones (Łukasz as lukasz, Æsir as aesir), without the points of Hebrew
// and Arabic, which most texts leave out, and with one kind of apostrophe, quotation mark
// and dash. Vowel signs and tone marks that other scripts always write (Devanagari, Thai,
// …) stay, since they tell words apart. Fold of a folded text is the same text.
func Fold(text string) string {
	if folded, ok := foldASCII(text); ok {
		return folded
	}
	// Folding can bring up characters that decompose further, so the steps are
	// repeated until nothing changes; two rounds are enough for all of Unicode,
	// and the bound keeps a future table from looping.
	for range 4 {
		next := norm.NFKC.String(plain(cases.Fold().String(plain(text))))
		if next == text {
			break
		}
		text = next
	}
	return text
}

// SortKeyBytes is the maximum length of what SortKey returns.
const SortKeyBytes = 512

// SortKey returns the folded form of text, cut at a rune boundary to at most
// SortKeyBytes bytes, so that it fits every index. Stores sort by it, byte by byte.
//
// For writers of stores.
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

// FoldVersion is incremented when Fold returns another form for some texts. For writers of stores:
// a store that keeps folded texts keeps the version with them, and refolds texts that were folded
// by an earlier version.
const FoldVersion = 3

// plain decomposes text, drops the combining diacritical marks and replaces what has a
// plain form.
func plain(text string) string {
	text = norm.NFKD.String(strings.ReplaceAll(text, "\u00b4", "'")) // which decomposes to a space and an accent
	b := make([]byte, 0, len(text))
	for _, r := range text {
		if r < 0xE6 {
			b = utf8.AppendRune(b, r)
		} else if form, ok := plainForms[r]; ok {
			b = append(b, form...)
		} else if !isAccent(r) {
			b = utf8.AppendRune(b, r)
		}
	}
	return string(b)
}

// plainForms are the plain forms of lower-case characters that no normalisation decomposes: the
// Latin letters with strokes, hooks and ligatures that languages are written in, as the transform
// Latin-ASCII of CLDR has them, and signs that people write for one another.
var plainForms = func() map[rune]string {
	forms := map[rune]string{
		'æ': "ae", 'œ': "oe", 'þ': "th", 'ƕ': "hv", 'ƣ': "oi", 'ȸ': "db", 'ȹ': "qp", 'ꜳ': "aa", 'ꜵ': "ao", 'ꜷ': "au",
		'ꜹ': "av", 'ꜻ': "av", 'ꜽ': "ay", 'ꝏ': "oo", 'ꝡ': "vy", 'ꝥ': "th", 'ꝧ': "th", 'ỻ': "ll",
	}
	for form, letters := range map[string]string{
		"a": "ⱥ", "b": "ƀƃɓ", "c": "ƈȼꞓ", "d": "ðđɖɗƌȡ", "e": "ɇɛ", "f": "ƒ", "g": "ǥɠꞡ", "h": "ħɦⱨ", "i": "ıɨɩ", "j": "ȷɉ",
		"k": "ƙⱪꝁꝃꝅꞣ", "l": "łƚȴⱡɫꝇꝉ", "m": "ɱ", "n": "ŋɲƞȵꞑꞥ", "o": "øꝋꝍ", "p": "ƥᵽꝑꝓꝕ", "q": "ĸꝗꝙ", "r": "ɍɽꞧ",
		"s": "ȿꞩ", "t": "ŧƫƭʈȶⱦ", "u": "ʉ", "v": "ʋꝟỽ", "w": "ⱳ", "y": "ƴɏỿ", "z": "ƶȥɀⱬ",
		"'": "‘’‚‛′ʹʻʼʽ՚׳", `"`: "“”„‟ʺ״", "-": "‐‑‒–—―−",
	} {
		for _, letter := range letters {
			forms[letter] = form
		}
	}
	return forms
}()

// isAccent reports whether r is in one of the Unicode blocks of combining
// diacritical marks (the block, extended, supplement, for symbols, half marks), or is a
// point, a vowel or a cantillation mark of Hebrew or Arabic, or the stroke that
// lengthens Arabic words.
func isAccent(r rune) bool {
	switch {
	case r < 0x0300:
		return false
	case r <= 0x036F,
		0x0591 <= r && r <= 0x05BD, r == 0x05BF, r == 0x05C1, r == 0x05C2, r == 0x05C4, r == 0x05C5, r == 0x05C7,
		0x0610 <= r && r <= 0x061A, r == 0x0640, 0x064B <= r && r <= 0x065F, r == 0x0670,
		0x06D6 <= r && r <= 0x06DC, 0x06DF <= r && r <= 0x06E4, r == 0x06E7, r == 0x06E8, 0x06EA <= r && r <= 0x06ED,
		0x1AB0 <= r && r <= 0x1AFF,
		0x1DC0 <= r && r <= 0x1DFF,
		0x20D0 <= r && r <= 0x20FF,
		0xFE20 <= r && r <= 0xFE2F:
		return true
	}
	return false
}

// checkLine checks a text of one line: valid UTF-8, no control characters, no invisible characters
// (see hidden), and at most max characters.
func checkLine(field, text string, max int) error {
	if err := checkText(field, text, max, false); err != nil {
		return err
	}
	if r, found := hidden(text); found {
		return NewError(CodeBadText, field, "invisible character %U", r)
	}
	return nil
}

// checkInput is checkLine with at most MaxLine characters, for texts that do not identify anything,
// such as a search text, where invisible characters do no harm.
func checkInput(field, text string) error {
	return checkText(field, text, MaxLine, false)
}

// checkLines is checkLine for texts that may hold line breaks and tabs.
func checkLines(field, text string, max int) error {
	return checkText(field, text, max, true)
}

func checkText(field, text string, max int, lines bool) error {
	if !utf8.ValidString(text) {
		return NewError(CodeBadText, field, "the text is not valid UTF-8")
	}
	count := 0
	for _, r := range text {
		count++
		if unicode.IsControl(r) && !(lines && (r == '\n' || r == '\r' || r == '\t')) {
			return NewError(CodeBadText, field, "control character %U", r)
		}
	}
	if count > max {
		return NewError(CodeTooLong, field, "%d characters exceed the limit of %d", count, max)
	}
	return nil
}

// firstError returns the first error that is not nil, with the others in its Error.Fields.
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
