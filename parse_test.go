package userkit_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

func TestDraftsReadTexts(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 0, 0, time.UTC)
	for _, test := range []struct {
		field, text string
		value       any
	}{
		{"login", " ada ", "ada"}, {"email", " ada@example.org\n", "ada@example.org"}, {"name", " Ada ", " Ada "},
		{"phone", "'+1 650.253.0000 ", "+1 650.253.0000"},
		{"country", " by ", "BY"}, {"currency", "eur", "EUR"}, {"status", "Active", "active"}, {"traffic_reset", " Weekly", "weekly"}, {"kind", "Legal Entity", "legal_entity"},
		{"expires_at", "2026-01-02 15:04", at}, {"expires_at", "1767366240", at}, {"expires_at", "1767366240000", at}, {"expires_at", "2026-01-02T18:04:00+03:00", at},
		{"expires_at", "1/2/2026 3:04 PM", at}, {"expires_at", "", time.Time{}},
		{"valid_for", "720h", userkit.Duration(720 * time.Hour)}, {"email_verified", "Yes", true}, {"email_verified", "0", false}, {"traffic_limit", " 5000 ", int64(5000)},
		{"attributes", `{"plan":"gold","n":9007199254740993}`, userkit.Attributes{"plan": "gold", "n": int64(9007199254740993)}},
	} {
		field, ok := userkit.UserField(test.field)
		require.True(t, ok)
		value, err := field.Parse(test.text, nil)
		require.NoError(t, err, test)
		if want, ok := test.value.(time.Time); ok {
			require.True(t, want.Equal(value.(time.Time)), test)
		} else {
			require.Equal(t, test.value, value, test)
		}
		var parsed, set userkit.UserDraft
		require.NoError(t, parsed.Parse(test.field, test.text))
		require.NoError(t, set.Set(test.field, value))
		require.Equal(t, set, parsed, test)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	field, _ := userkit.UserField("expires_at")
	value, err := field.Parse("2026-01-02T16:04", berlin)
	require.NoError(t, err)
	require.True(t, at.Equal(value.(time.Time)))

	for text, want := range map[string]any{
		"gold": "gold", "5": int64(5), "007": "007", "1.50": "1.50", "1.5": 1.5, "+375": "+375", "true": true, "null": "null", `"5"`: "5", `["a",1]`: []any{"a", int64(1)},
		"{": "{", "": "", `{"a":{"b":2}}`: map[string]any{"a": map[string]any{"b": int64(2)}}, "9007199254740993": int64(9007199254740993), "1e999": "1e999",
		"18446744073709551615": "18446744073709551615", "[18446744073709551615,-9223372036854775809]": []any{"18446744073709551615", "-9223372036854775809"},
		"[9223372036854775808]": []any{"9223372036854775808"}, "9223372036854776000": 9223372036854775808.0, "[9223372036854776000]": []any{9223372036854775808.0}, // what JSON writes for a float64
		"1000000000000000000000": "1000000000000000000000", "[1000000000000000000000]": []any{"1000000000000000000000"}, "[18446744073709551616]": []any{"18446744073709551616"}, `{"n":1e3}`: map[string]any{"n": int64(1000)},
		`"\ud800"`: `"\ud800"`, `["\udc00\ud800"]`: `["\udc00\ud800"]`, `"\ud83d\ude00"`: "😀", `"\ufffd"`: "\ufffd", `"\\ud800"`: `\ud800`, "[1] 2": "[1] 2",
	} {
		var draft userkit.UserDraft
		require.NoError(t, draft.Parse("attributes.x", text))
		require.Equal(t, userkit.Attributes{"x": want}, draft.Create.Attributes, text)
		require.Equal(t, want, userkit.ParseAttribute(userkit.FormatAttribute(want)), text)
	}
	require.Empty(t, userkit.FormatAttribute(nil))
	require.Equal(t, `"5"`, userkit.FormatAttribute("5"))
	require.Equal(t, `["<a>"]`, userkit.FormatAttribute([]any{"<a>"}))

	for field, text := range map[string]string{"expires_at": "soon", "email_verified": "perhaps", "traffic_limit": "much", "valid_for": "30", "attributes": "[]", "id": "x"} {
		var draft userkit.UserDraft
		err := draft.Parse(field, text)
		require.ErrorIs(t, err, userkit.ErrInvalid, field)
		require.Equal(t, field, userkit.AsError(err).Field)
		require.Equal(t, userkit.UserDraft{}, draft)
	}
	for _, field := range []string{"balance", "nothing", "attributes.b c"} {
		var draft userkit.UserDraft
		require.ErrorIs(t, draft.Parse(field, "1"), userkit.ErrInvalid, field)
	}
}

// Half of a character in JSON is refused wherever attributes come in, and not replaced.
func TestHalfOfACharacterIsRefused(t *testing.T) {
	const text = `{"x":"\ud800"}`
	_, err := userkit.KindJSON.Parse(text)
	require.Equal(t, userkit.CodeBadText, userkit.ErrorCode(err))
	var user userkit.NewUser
	require.Equal(t, userkit.CodeBadText, userkit.ErrorCode(json.Unmarshal([]byte(`{"attributes":`+text+`}`), &user)))
	var patch userkit.UserPatch
	require.Equal(t, userkit.CodeBadText, userkit.ErrorCode(json.Unmarshal([]byte(`{"set_attributes":`+text+`}`), &patch)))

	users, err := userkit.New(memory.New())
	require.NoError(t, err)
	defer users.Close(context.Background())
	ada, err := users.CreateUser(t.Context(), userkit.NewUser{Login: "ada"})
	require.NoError(t, err)
	_, err = users.RecordEvent(t.Context(), ada.ID, userkit.NewEvent{Name: "host.seen", Data: userkit.Attributes{"x": json.RawMessage(`"\ud800"`)}})
	require.Equal(t, userkit.CodeBadText, userkit.ErrorCode(err))
}

func TestEveryFieldHasALabel(t *testing.T) {
	seen := map[string]string{}
	for _, field := range userkit.UserFields() {
		require.Regexp(t, `^[A-Z][A-Za-z’ -]+$`, field.Label())
		require.Empty(t, seen[field.Label()], "%s and %s have one label", field.Name, seen[field.Label()])
		seen[field.Label()] = field.Name
	}
	for _, field := range userkit.DerivedUserFields() {
		require.Regexp(t, `^[A-Z][a-z ]+$`, field.Label())
	}
	field, _ := userkit.UserField("auth_method")
	require.Equal(t, "Sign-in method", field.Label())
}
