package userkit

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAttributeNames(t *testing.T) {
	for _, name := range []string{
		"plan", "Plan-2_b", "Größe", "должность", "職業", "कुंजी", "الاسم", "имя２", strings.Repeat("я", MaxAttributeName),
	} {
		require.True(t, attributeName(name), name)
	}
	for _, name := range []string{
		"", "2plan", "-plan", "_plan", "a b", "a.b", `a"b`, "a'b", "a,b", "a\x00b", "a\xffb", "имя!", "имя\u00a0", "\u0301a", "٣a",
		"Gro\u0308\u00dfe",               // not in form C
		"a\u200bb", "a\u200db", "\u3164", // invisible
		strings.Repeat("я", MaxAttributeName+1),
	} {
		require.False(t, attributeName(name), "%q", name)
	}
}
