package userkit

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Search is a prepared search term.
//
// For writers of stores.
//
// A user is found by a part of the id, login, name, email, phone or extref. A term of one character
// is found only at the beginning of a word; each character of Chinese, Japanese and Korean counts
// as a word. A Short term is not searched for in ids. A term that is written like a telephone
// number, such as (29) 123-45, also finds phones by its digits.
//
// A text has two kinds of parts that an index can use: sequences of three letters or digits, for
// every term that is not Short, and those of SearchParts for all other terms.
type Search struct {
	Term string // folded; empty: everything matches

	// Digits are the digits of a term that is written like a telephone number, with a leading + if
	// there is one; empty: the term is not, or it equals its digits.
	Digits string

	// Number is the telephone number, in the form of E.164, that the manager's parser reads from
	// the whole term; empty: none. See WithPhoneParser.
	Number string
}

// minDigits is how many digits a term needs to be looked for as a part of a phone
// number however it is written.
const minDigits = 4

// ParseSearch returns the search for a text from a search box. Surrounding spaces and invisible
// characters are ignored.
//
// For writers of stores.
func ParseSearch(text string) Search {
	text = withoutHidden(text, "")
	search := Search{Term: Fold(strings.TrimSpace(text))}
	if digits := phoneDigits(search.Term); digits != search.Term && len(strings.TrimPrefix(digits, "+")) >= minDigits {
		search.Digits = digits
	}
	return search
}

// Short reports whether the term has fewer than three letters or digits in a row.
func (s Search) Short() bool {
	longest, run := 0, 0
	for _, r := range s.Term {
		if run++; !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest < 3
}

// In reports whether a folded text contains the term.
func (s Search) In(text string) bool {
	if r, size := utf8.DecodeRuneInString(s.Term); size > 0 && size == len(s.Term) {
		before := rune(-1)
		for _, next := range text {
			if next == r && beginsWord(before, r) {
				return true
			}
			before = next
		}
		return false
	}
	return strings.Contains(text, s.Term)
}

// InPhone reports whether a phone contains the Digits or is the Number.
func (s Search) InPhone(phone string) bool {
	return s.Digits != "" && strings.Contains(phone, s.Digits) || s.Number != "" && phone == s.Number
}

// Parts returns parts of SearchParts, all of which every user has who has the term in a field other
// than the id. For a term of one or two characters it returns the term itself, and every user who
// has that part has the term.
func (s Search) Parts() []string {
	if utf8.RuneCountInString(s.Term) == 1 {
		return []string{s.Term}
	}
	return unique(appendPairs(nil, s.Term))
}

// SearchText returns the text of one user that a search looks through: the id and the folded
// fields, separated by line breaks, which no term contains. A store may index it.
//
// For writers of stores.
func SearchText(user *User) string {
	fields := searchFields(user)
	return user.ID.String() + "\n" + strings.Join(fields[:], "\n")
}

// searchFields are the folded texts, besides the id, that a search looks at.
func searchFields(user *User) [5]string {
	return [...]string{Fold(user.Login), Fold(user.Name), Fold(user.Email), user.Phone, Fold(user.ExtRef)}
}

// SearchParts returns the short parts of one user, sorted and without duplicates: all pairs of
// neighbouring characters of the folded fields except the id, and each character that begins a
// word. A store may index them to find terms of every script; see Search.Parts. No part contains a
// line break.
//
// For writers of stores.
func SearchParts(user *User) []string {
	var parts []string
	for _, text := range searchFields(user) {
		parts = appendPairs(parts, text)
		before := rune(-1)
		for i, r := range text {
			if beginsWord(before, r) && (before == -1 || r != ' ') && r != '\n' {
				_, size := utf8.DecodeRuneInString(text[i:])
				parts = append(parts, text[i:i+size])
			}
			before = r
		}
	}
	return unique(parts)
}

// appendPairs appends the pairs of neighbouring characters of a text.
func appendPairs(parts []string, text string) []string {
	before, middle := 0, 0 // where the pair begins, and its second character
	for i := range text {
		if before < middle && !strings.Contains(text[before:i], "\n") {
			parts = append(parts, text[before:i])
		}
		before, middle = middle, i
	}
	if before < middle {
		parts = append(parts, text[before:])
	}
	return parts
}

func unique(parts []string) []string {
	slices.Sort(parts)
	return slices.Compact(parts)
}

// beginsWord reports whether a character begins a word after another one; -1: it is the
// first.
func beginsWord(before, r rune) bool {
	if before == -1 || unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul) {
		return true
	}
	return !unicode.IsLetter(before) && !unicode.IsDigit(before) && !unicode.IsMark(before)
}
