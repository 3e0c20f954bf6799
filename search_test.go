package userkit

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestParseSearch(t *testing.T) {
	for text, wanted := range map[string]Search{
		"": {}, "  ": {}, " Ada ": {Term: "ada"}, "Zoë": {Term: "zoe"}, "\u202eada\u200b": {Term: "ada"}, "a\u00adda": {Term: "ada"},
		"+49 30 1": {Term: "+49 30 1", Digits: "+49301"}, "+4930": {Term: "+4930"}, "(0 30) 55.5-5": {Term: "(0 30) 55.5-5", Digits: "0305555"},
		"1 2 3": {Term: "1 2 3"}, "49 30 x": {Term: "49 30 x"}, "1+2 345": {Term: "1+2 345"}, "４２ 42": {Term: "42 42", Digits: "4242"},
	} {
		require.Equal(t, wanted, ParseSearch(text), text)
	}
	for term, short := range map[string]bool{"": true, "ab": true, "a-b-c": true, "ดีกร": true, "a-bc": true, "abc": false, "яна": false, "x-1-ada": false} {
		require.Equal(t, short, Search{Term: term}.Short(), term)
	}
}

func TestSearchParts(t *testing.T) {
	user := User{Login: "Ann", Name: "Xu 小明", ExtRef: "X-1"}
	require.Equal(t, []string{" 小", "-1", "1", "a", "an", "nn", "u ", "x", "x-", "xu", "小", "小明", "明"}, SearchParts(&user))
	require.Empty(t, SearchParts(&User{}))
	require.Equal(t, []string{"小明"}, Search{Term: "小明"}.Parts())
	require.Equal(t, []string{"明"}, Search{Term: "明"}.Parts())
	require.Equal(t, []string{"-1", "x-"}, Search{Term: "x-1"}.Parts())
	require.Empty(t, Search{}.Parts())
}

// Whoever a short term is found in has all of its parts, and has it when the term is one
// of them.
func TestPartsServeEveryShortTerm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.RuneFrom([]rune("ab1- 小明김ไดี'"))).Draw(t, "text")
		user := User{Name: text}
		has, folded := SearchParts(&user), Fold(text)
		search := ParseSearch(rapid.StringOfN(rapid.RuneFrom([]rune("ab1- 小明김ไดี'")), 1, 4, -1).Draw(t, "term"))
		if search.Term == "" {
			return
		}
		all := true
		for _, part := range search.Parts() {
			all = all && slices.Contains(has, part)
		}
		if search.In(folded) {
			require.True(t, all)
		} else if utf8.RuneCountInString(search.Term) <= 2 {
			require.False(t, all)
		}
	})
}

func TestFoldHasPlainForms(t *testing.T) {
	for form, texts := range map[string][]string{
		"lukasz": {"Łukasz", "ŁUKASZ"}, "duc": {"Đức", "Ðuc"}, "soren": {"Søren", "SØREN", "Sǿren"}, "aesir": {"Æsir", "Ǣsir"}, "oeuvre": {"Œuvre"}, "thor": {"Þór"},
		"isik": {"Işık", "IŞIK"}, "strasse": {"Straße"}, "o'brien": {"O’Brien", "O‘Brien", "OʼBrien", "O´Brien", "O'Brien", "O＇Brien"}, `"a" - b`: {"“a” – b", "„a‟ — b"},
		"ngugi": {"Ngũgĩ"}, "balla": {"Bałła"},
	} {
		for _, text := range texts {
			require.Equal(t, form, Fold(text), text)
		}
	}
	for r, form := range plainForms {
		require.Equal(t, form, Fold(string(r)))
		require.Equal(t, form, Fold(strings.ToUpper(string(r))), "%c", r)
		require.Equal(t, form, Fold(form))
	}
}
