package userkit

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNormalJSON(t *testing.T) {
	normal, err := normalJSON("attributes", map[string]any{
		"whole": 5.0, "large": 1e20, "power": uint64(1 << 63), "fraction": 1.5, "edge": int64(math.MinInt64), "text": "\ufffd and \\ufffd", "list": []string{"a"}, "nothing": nil,
	}, 1000)
	require.NoError(t, err)
	require.Equal(t, map[string]any{
		"whole": int64(5), "large": 1e20, "power": float64(1 << 63), "fraction": 1.5, "edge": int64(math.MinInt64), "text": "\ufffd and \\ufffd", "list": []any{"a"}, "nothing": nil,
	}, normal)
	again, err := normalJSON("attributes", normal, 1000)
	require.NoError(t, err)
	require.Equal(t, normal, again, "normal JSON stays as it is")

	deep := json.RawMessage(strings.Repeat("[", 40) + strings.Repeat("]", 40))
	for name, c := range map[string]struct {
		value any
		code  Code
	}{
		"a number that float64 has not": {uint64(math.MaxUint64), CodeOutOfRange},
		"invalid UTF-8":                 {"b\xff", CodeBadText},
		"invalid UTF-8 in a name":       {map[string]any{"b\xff": 1}, CodeBadText},
		"invalid UTF-8, raw":            {json.RawMessage("\"\xff\""), CodeBadText},
		"a NUL":                         {"a\x00b", CodeBadText},
		"a NUL, escaped":                {json.RawMessage(`"a\u0000b"`), CodeBadText},
		"a channel":                     {make(chan int), CodeBadFormat},
		"not a number":                  {math.NaN(), CodeBadFormat},
		"a number beyond 64 bits":       {json.RawMessage("1e999"), CodeOutOfRange},
		"too deep":                      {deep, CodeTooLong},
		"too long":                      {strings.Repeat("a", 1000), CodeTooLong},
		"raw text that is no JSON":      {json.RawMessage("{"), CodeBadFormat},
	} {
		_, err := normalJSON("data", c.value, 1000)
		require.Equal(t, c.code, ErrorCode(err), name)
	}
}
