package userkit_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// TestAnEditTellsOldAndNewValues edits every field that can be set, and undoes the edit by
// what its event tells.
func TestAnEditTellsOldAndNewValues(t *testing.T) {
	c := connect(t)
	other := map[string]any{
		"email_verified": true, "phone": "+16502530000", "country": "BY", "kind": "legal_entity", "valid_for": userkit.Duration(720 * time.Hour),
		"email": "countess@example.org", "preferred_map": "osm",
	}
	draft := userkit.UserDraft{}
	edited := map[string]bool{}
	for _, field := range userkit.UserFields() {
		if !field.Settable() || slices.Contains([]string{"id", "registered_at", "currency", "status", "license", "traffic_limit", "traffic_reset", "traffic_anchor_day", "attributes", "expires_at"}, field.Name) {
			continue // some cannot be edited, and some have an event of their own
		}
		value := other[field.Name]
		if value == nil {
			value = "new " + field.Name
		}
		require.NoError(t, draft.Set(field.Name, value), field.Name)
		edited[field.Name] = true
	}
	before, err := c.UpdateUser(t.Context(), c.ada.ID, userkit.UserPatch{Attributes: userkit.Set(userkit.Attributes{"gone": "a", "stays": true, "turns": int64(1)})})
	require.NoError(t, err)
	draft.Update.Attributes = userkit.Set(userkit.Attributes{"stays": true, "turns": []any{"x"}, "new": 1.5})
	_, err = c.UpdateUser(t.Context(), c.ada.ID, draft.Update)
	require.NoError(t, err)
	events, err := c.Events(t.Context(), userkit.EventQuery{EventFilter: userkit.EventFilter{UserID: c.ada.ID, Name: userkit.EventUserUpdated}})
	require.NoError(t, err)
	var data struct {
		Changes map[string]userkit.FieldChange `json:"changes"`
	}
	require.NoError(t, json.Unmarshal(events.Items[0].Data, &data))
	require.Equal(t, userkit.FieldChange{Old: "ada", New: "new login"}, data.Changes["login"])
	require.Equal(t, userkit.FieldChange{Old: false, New: true}, data.Changes["email_verified"])
	require.Equal(t, userkit.FieldChange{Old: nil, New: "720h"}, data.Changes["valid_for"])
	require.Equal(t, userkit.FieldChange{Old: "a", New: nil}, data.Changes["attributes.gone"])
	require.Equal(t, userkit.FieldChange{Old: 1.0, New: []any{"x"}}, data.Changes["attributes.turns"])
	require.NotContains(t, data.Changes, "attributes.stays")
	require.NotContains(t, data.Changes, "expires_at")
	undo := userkit.UserDraft{}
	for name, change := range data.Changes {
		if !edited[name] {
			require.Contains(t, name, "attributes.")
			require.NoError(t, undo.Set(name, change.Old))
			continue
		}
		delete(edited, name)
		field, _ := userkit.UserField(name)
		text, _ := change.Old.(string)
		if was, ok := change.Old.(bool); ok {
			text = field.Kind.Format(was)
		}
		require.NoError(t, undo.Parse(name, text), name)
	}
	require.Empty(t, edited, "fields of which the event says nothing")
	after, err := c.UpdateUser(t.Context(), c.ada.ID, undo.Update)
	require.NoError(t, err)
	after.Revision, after.UpdatedAt, after.Version = before.Revision, before.UpdatedAt, before.Version
	require.Equal(t, before, after)

	status := userkit.StatusInvited
	if c.ada.Status == status {
		status = userkit.StatusInactive
	}
	_, err = c.UpdateUser(t.Context(), c.ada.ID, userkit.UserPatch{Status: userkit.Set(status)})
	require.NoError(t, err)
	events, err = c.Events(t.Context(), userkit.EventQuery{EventFilter: userkit.EventFilter{UserID: c.ada.ID, Name: userkit.EventUserUpdated}})
	require.NoError(t, err)
	require.JSONEq(t, `{"fields":["status"],"changes":{"status":{"old":"`+string(c.ada.Status)+`","new":"`+string(status)+`"}}}`, string(events.Items[0].Data))
}
