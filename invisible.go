package userkit

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// hidden returns the first invisible character of a text that the text does not need, and reports
// whether there is one: code points that Unicode says to ignore by default (direction marks,
// fillers, soft hyphens, joiners, selectors, tags), and separators of lines. Two texts that differ
// in these alone look the same.
//
// What scripts need stays: joiners between letters of scripts that join or stack,
// selectors after the characters that they select among, and the parts of emoji.
func hidden(text string) (rune, bool) {
	before, base := rune(-1), rune(-1) // base: the last one that can be seen
	for i, r := range text {
		if r < 0xAD {
			before, base = r, r
			continue
		}
		if r == '\u2028' || r == '\u2029' {
			return r, true
		}
		if !ignorable(r) {
			before, base = r, r
			continue
		}
		after, _ := utf8.DecodeRuneInString(text[i+utf8.RuneLen(r):])
		if !needed(r, before, base, after) {
			return r, true
		}
		before = r
	}
	return 0, false
}

// withoutHidden returns a text with every character replaced that hidden finds.
func withoutHidden(text, by string) string {
	for {
		r, found := hidden(text)
		if !found {
			return text
		}
		text = strings.ReplaceAll(text, string(r), by)
	}
}

// ignorable reports whether a character has the property Default_Ignorable_Code_Point.
func ignorable(r rune) bool {
	switch {
	case 0xFFF9 <= r && r <= 0xFFFB, 0x13430 <= r && r <= 0x1343F, unicode.Is(unicode.Prepended_Concatenation_Mark, r):
		return false
	}
	return unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// joining are the scripts whose letters join or stack, so that a joiner between
// them changes what is seen (RFC 5892, appendices A.1 and A.2).
var joining = []*unicode.RangeTable{
	unicode.Adlam, unicode.Arabic, unicode.Hanifi_Rohingya, unicode.Mandaic, unicode.Manichaean, unicode.Mongolian,
	unicode.Nko, unicode.Phags_Pa, unicode.Sogdian, unicode.Syriac,
	unicode.Balinese, unicode.Bengali, unicode.Devanagari, unicode.Grantha, unicode.Gujarati, unicode.Gurmukhi,
	unicode.Javanese, unicode.Kannada, unicode.Khmer, unicode.Malayalam, unicode.Myanmar, unicode.Newa, unicode.Oriya,
	unicode.Sharada, unicode.Sinhala, unicode.Sundanese, unicode.Tamil, unicode.Telugu, unicode.Tibetan, unicode.Tirhuta,
}

const (
	zeroWidthNonJoiner = '\u200C'
	zeroWidthJoiner    = '\u200D'
	emojiSelector      = '\uFE0F'
)

// needed reports whether a character that is ignored by default changes what is
// seen where it is.
func needed(r, before, base, after rune) bool {
	switch {
	case r == zeroWidthJoiner && (pictorial(before) || before == emojiSelector && pictorial(base)):
		return pictorial(after)
	case r == zeroWidthJoiner || r == zeroWidthNonJoiner:
		return before == base && joins(before, after) || r == zeroWidthJoiner && before == base && isVirama(before)
	case r == emojiSelector || r == '\uFE0E':
		return before == base && (pictorial(base) || '0' <= base && base <= '9' || base == '#' || base == '*')
	case 0xFE00 <= r && r <= 0xFE0D, 0xE0100 <= r && r <= 0xE01EF:
		return before == base && unicode.In(base, unicode.Han, unicode.Myanmar, unicode.Phags_Pa, unicode.Sm)
	case 0x180B <= r && r <= 0x180F:
		return before == base && unicode.Is(unicode.Mongolian, base)
	case 0xE0020 <= r && r <= 0xE007F: // the flag of a part of a country
		return base == '\U0001F3F4' && (before == base || 0xE0020 <= before && before < 0xE007F)
	case r == '\u115F': // the place of a consonant of Hangul that is not there
		return 0x1160 < after && after <= 0x11A7
	case r == '\u1160':
		return 0x1100 <= before && before < 0x115F && 0x11A8 <= after && after <= 0x11FF
	}
	return false
}

// pictorial reports whether a character can be a part of an emoji.
func pictorial(r rune) bool {
	return r >= 0xA9 && (unicode.Is(unicode.So, r) || unicode.Is(unicode.Sm, r) || 0x1F3FB <= r && r <= 0x1F3FF ||
		r == '\u203C' || r == '\u2049' || r == '\u3030' || r == '\u303D')
}

// joins reports whether two characters are of one script whose letters join.
func joins(a, b rune) bool {
	for _, script := range joining {
		if unicode.Is(script, a) {
			return unicode.Is(script, b)
		}
	}
	return false
}

// isVirama reports whether a character is a mark that kills the vowel of a letter,
// after which a joiner may end a word in Sinhala and Malayalam.
func isVirama(r rune) bool {
	switch r {
	case 0x094D, 0x09CD, 0x0A4D, 0x0ACD, 0x0B4D, 0x0BCD, 0x0C4D, 0x0CCD, 0x0D4D, 0x0DCA:
		return true
	}
	return false
}
