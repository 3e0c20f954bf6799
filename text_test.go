package userkit

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestFold(t *testing.T) {
	same := [][]string{
		{"ada", "ADA", "Ada", "Àdà", "ａｄａ"},
		{"strasse", "Straße", "STRASSE", "STRAẞE"},
		{"ofﬁce", "office", "OFFICE"},
		{"σοφος", "Σοφός", "ΣΟΦΌΣ"},
		{"елка", "Ёлка", "ЁЛКА"},
		{"istanbul", "İstanbul"},
		{"cafe\u0301", "café", "CAFE"},
		{"בראשית", "בְּרֵאשִׁית", "בְּרֵאשִׁ֖ית"},
		{"محمد", "مُحَمَّد", "محـمد"},
		{"احمد", "أحمد", "أَحْمَد"},
	}
	for _, group := range same {
		for _, text := range group {
			require.Equal(t, Fold(group[0]), Fold(text), "%q", text)
		}
	}
	require.NotEqual(t, Fold("กิ"), Fold("กี"), "Thai vowel signs tell words apart")
	require.NotEqual(t, Fold("कि"), Fold("की"), "Devanagari vowel signs tell words apart")
	require.NotEqual(t, Fold("か"), Fold("が"), "the Japanese voicing mark tells syllables apart")
	require.Equal(t, "한국", Fold("한국"))
}

func TestSortKeyIsCutAtARune(t *testing.T) {
	key := SortKey(strings.Repeat("я", 400))
	require.Len(t, key, SortKeyBytes)
	require.True(t, utf8.ValidString(key))
	odd := SortKey("a" + strings.Repeat("я", 400))
	require.Len(t, odd, SortKeyBytes-1)
	require.True(t, utf8.ValidString(odd))
}

func FuzzFold(f *testing.F) {
	for _, seed := range []string{"", "Ada", "Straße", "ΣΟΦΌΣ", "\u0345\u0399", "ﷺ", "\u1E9B\u0323", "ᾳ", "İ", "\u0130\u0307"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return // userkit takes valid UTF-8 only
		}
		folded := Fold(text)
		if again := Fold(folded); again != folded {
			t.Fatalf("Fold(%q) = %+q, and folded again %+q", text, folded, again)
		}
	})
}
