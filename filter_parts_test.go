package userkit

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPartsOfAFilterMakeItAgain(t *testing.T) {
	for text, want := range map[string][]string{
		``:                                    nil,
		`login pr`:                            {`login pr`},
		`login pr and (email pr or phone pr)`: {`login pr`, `email pr or phone pr`},
		`login pr or email pr`:                {`login pr or email pr`},
		`not (login pr and email pr)`:         {`not (login pr and email pr)`},
	} {
		filter, err := ParseFilter(text)
		require.NoError(t, err)
		var parts []string
		for _, part := range filter.Parts() {
			parts = append(parts, part.String())
		}
		require.Equal(t, want, parts, text)
		require.Equal(t, filter, AllOf(filter.Parts()...), text)
	}
}
