package pushtext_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit/internal/pushtext"
)

// size is the length of a text in JSON, as services count it.
func size(body string) int {
	text, _ := json.Marshal(body)
	return len(text)
}

func TestFit(t *testing.T) {
	for _, test := range []struct {
		body string
		most int
		want string
	}{
		{"", 2, ""},
		{"short", 7, "short"},
		{"shorter", 8, "sho…"},
		{"shorter", 5, ""},
		{"ää", 6, "ää"},
		{"äää", 7, "ä…"},
		{"\n\n\n\n", 9, "\n\n…"},
		{"", 2, ""},
		{strings.Repeat("a", 10_000), 4096, strings.Repeat("a", 4091) + "…"},
	} {
		got, ok := pushtext.Fit(test.body, test.most, size)
		require.True(t, ok)
		require.Equal(t, test.want, got)
		require.LessOrEqual(t, size(got), test.most)
	}
	_, ok := pushtext.Fit("a", 1, size)
	require.False(t, ok)
}
