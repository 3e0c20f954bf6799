package postgres

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAttributesAreReadAsPostgreSQLWritesThem(t *testing.T) {
	for spelled, value := range map[string]any{
		`{}`:                                     map[string]any{},
		`{"a": 1, "b": -2.50}`:                   map[string]any{"a": int64(1), "b": -2.5},
		`{"a": [], "b": {}}`:                     map[string]any{"a": []any{}, "b": map[string]any{}},
		`{"a": [1, [true], null]}`:               map[string]any{"a": []any{int64(1), []any{true}, nil}},
		`{"a": "q\"\\\n, ]}", "ü": "ü"}`:         map[string]any{"a": "q\"\\\n, ]}", "ü": "ü"},
		`{"a": 9223372036854775808, "b": false}`: map[string]any{"a": float64(1 << 63), "b": false},
	} {
		var read attributes
		require.NoError(t, read.Scan([]byte(spelled)), spelled)
		require.Equal(t, value, map[string]any(read), spelled)
	}
	var none attributes
	require.NoError(t, none.Scan(nil))
	require.Nil(t, none)
}

func FuzzAttributes(f *testing.F) {
	f.Add(`{"a": [1, "b", {"c": null}], "d": 1.5}`)
	f.Add(`{"a": "\\" `)
	f.Fuzz(func(t *testing.T, spelled string) {
		var read attributes
		if read.Scan(spelled) == nil && spelled != "" {
			_, err := json.Marshal(withFractions(map[string]any(read)))
			if err != nil {
				require.ErrorContains(t, err, "Inf") // a number beyond the range
			}
		}
	})
}
