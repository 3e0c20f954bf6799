package userkit

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// PhoneParser reads a telephone number as people write it and returns it in the form of
// ITU-T E.164, such as +375291234567. Its error says why the text is not a valid number, and does
// not contain the text. It is called for every number that people enter, by many goroutines at
// once, and must not block.
//
// The package phone has a parser that knows the numbering plans of all countries.
type PhoneParser func(text string) (number string, err error)

// maxPhoneText is how many bytes a parser is asked to read at most.
const maxPhoneText = 250

// ParsePhone is the PhoneParser of a manager without WithPhoneParser. It knows how numbers are
// written but no numbering plans: a number must begin with + or 00 and its country code. Spaces,
// brackets, dashes, dots and slashes are ignored, as is a "tel:" prefix. A (0) after the country
// code, which is not dialled from abroad, is removed: +44 (0)20 7946 0000 is +442079460000.
func ParsePhone(text string) (string, error) {
	term := strings.TrimPrefix(strings.TrimSpace(Fold(text)), "tel:")
	digits := phoneDigits(term)
	if rest, ok := strings.CutPrefix(digits, "00"); ok {
		digits = "+" + strings.TrimPrefix(rest, "+")
	}
	if !isE164(digits) {
		return "", NewError(CodeBadFormat, "phone", "not a number with its country code, such as +375 29 123-45-67")
	}
	return digits, nil
}

// phoneDigits returns the digits of a folded text that is written like a telephone number,
// with the + before them, and without the (0) of one that has a country code; empty: it
// is not.
func phoneDigits(term string) string {
	if open := strings.TrimLeft(term, " ("); strings.HasPrefix(open, "+") || strings.HasPrefix(open, "00") {
		for _, trunk := range []string{"(0)", "( 0 )", "[0]"} {
			term = strings.Replace(term, trunk, " ", 1)
		}
	}
	var digits []byte
	for i := range len(term) {
		switch c := term[i]; {
		case '0' <= c && c <= '9', c == '+' && len(digits) == 0:
			digits = append(digits, c)
		case !strings.ContainsRune(" ()-./\t", rune(c)):
			return ""
		}
	}
	return string(digits)
}

// isE164 reports whether a text is a number by ITU-T E.164: '+', then at most 15 digits
// of which the first, of the country code, is not 0.
func isE164(text string) bool {
	digits, plus := strings.CutPrefix(text, "+")
	return plus && 7 <= len(digits) && len(digits) <= 15 && digits[0] != '0' && isDigits(digits)
}

// parsePhone reads a number by the parser of the manager. Its error quotes what was written. The
// parser is the host's: it may panic, and return what is not a number.
func (o *options) parsePhone(text string) (number string, err error) {
	if strings.TrimSpace(text) == "" {
		return "", nil
	}
	const maxReason = 200
	bad := func(cause error) (string, error) {
		reason := "not a possible telephone number"
		if cause != nil {
			reason += ": " + cause.Error()
			if e, ok := cause.(*Error); ok { //nolint:errorlint // only what the parser itself returned
				reason = e.Message
			}
		}
		reason = strings.ToValidUTF8(reason, "\uFFFD")
		if len(reason) > maxReason {
			reason = clip(reason)
		}
		return "", NewError(CodeBadFormat, "phone", "%q is %s", clip(text), reason)
	}
	if len(text) > maxPhoneText || !utf8.ValidString(text) {
		return bad(nil)
	}
	defer func() {
		if reason := recover(); reason != nil {
			number, err = bad(errors.New("the parser panicked"))
		}
	}()
	number, err = o.phones(text)
	if err != nil {
		return bad(err)
	}
	if !isE164(number) {
		return bad(nil)
	}
	return number, nil
}

// phoneValue returns the value of a comparison with a phone: in E.164 where it is compared as a
// whole, and its digits where it is a part. A text that is not written like a phone number stays
// unchanged.
func (o *options) phoneValue(c Comparison) any {
	text, _ := c.Value.(string)
	if c.Operator != OpContains && c.Operator != OpStartsWith && c.Operator != OpEndsWith {
		if number, err := o.parsePhone(text); err == nil {
			return number
		}
		return text
	}
	if digits := phoneDigits(Fold(text)); digits != "" {
		return digits
	}
	return text
}
