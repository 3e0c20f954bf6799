package userkit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// TestADryRunTellsWhatWouldChange compares what a dry run tells with what the run then does,
// also where the run has to know the sessions and the traffic of the user.
func TestADryRunTellsWhatWouldChange(t *testing.T) {
	c := connect(t, userkit.WithLicenses(userkit.License{Name: "Solo", Devices: 1}))
	_, err := c.ActivateUser(t.Context(), c.ada.ID)
	require.NoError(t, err)
	_, err = c.UpdateUser(t.Context(), c.ada.ID, userkit.UserPatch{Attributes: userkit.Set(userkit.Attributes{"gone": "a", "stays": true})})
	require.NoError(t, err)
	session, err := c.StartSession(t.Context(), userkit.NewSession{UserID: c.ada.ID, Node: "n"})
	require.NoError(t, err)
	records := make([]userkit.UserImport, 5)
	set := func(at int, key userkit.UserKey, values map[string]any) {
		records[at].Key = key
		for field, value := range values {
			require.NoError(t, records[at].Draft.Set(field, value), field)
		}
	}
	expires := time.Date(2031, 1, 2, 0, 0, 0, 0, time.UTC)
	set(0, userkit.ByLogin("ada"), map[string]any{
		"name": "Ada", "email": "ada@example.org", "status": "disabled", "traffic_limit": int64(5), "license": "Solo", "expires_at": expires,
		"attributes.gone": nil, "attributes.stays": true, "attributes.new": int64(1),
	})
	set(1, userkit.ByLogin("new"), map[string]any{"name": "נועה", "attributes.plan": "gold"})
	set(2, userkit.ByLogin("NEW"), map[string]any{"name": "Noa"})
	set(3, userkit.ByLogin("emmy"), map[string]any{"login": "emmy"})
	set(4, userkit.ByLogin("bad"), map[string]any{"email": "no address"})
	outcomes, err := c.ImportUsers(t.Context(), userkit.ImportOptions{DryRun: true}, records)
	require.NoError(t, err)
	require.Equal(t, map[string]userkit.FieldChange{
		"name": {New: "Ada"}, "status": {Old: "active", New: "disabled"}, "traffic_limit": {Old: int64(0), New: int64(5)}, "license": {New: "Solo"},
		"expires_at": {New: expires}, "attributes.gone": {Old: "a"}, "attributes.new": {New: int64(1)},
	}, outcomes[0].Changes)
	require.Equal(t, userkit.ImportCreated, outcomes[1].Action)
	require.Equal(t, userkit.FieldChange{New: "new"}, outcomes[1].Changes["login"])
	require.Equal(t, userkit.FieldChange{New: "נועה"}, outcomes[1].Changes["name"])
	require.Equal(t, userkit.FieldChange{New: "gold"}, outcomes[1].Changes["attributes.plan"])
	for name, change := range outcomes[1].Changes {
		require.Nil(t, change.Old, name)
		require.NotEqual(t, "id", name)
	}
	require.Equal(t, map[string]userkit.FieldChange{"name": {Old: "נועה", New: "Noa"}}, outcomes[2].Changes)
	require.Equal(t, []any{userkit.ImportUnchanged, userkit.ImportFailed}, []any{outcomes[3].Action, outcomes[4].Action})
	require.Empty(t, outcomes[3].Changes)
	require.Empty(t, outcomes[4].Changes)

	found, err := c.Session(t.Context(), session.ID)
	require.NoError(t, err)
	require.True(t, found.Active(), "a dry run ends nothing")
	real, err := c.ImportUsers(t.Context(), userkit.ImportOptions{}, records)
	require.NoError(t, err)
	for at := range real {
		require.Equal(t, outcomes[at].Action, real[at].Action)
		require.Empty(t, real[at].Changes)
	}
	ada, err := c.User(t.Context(), c.ada.ID)
	require.NoError(t, err)
	for name, change := range outcomes[0].Changes {
		if field, ok := userkit.UserField(name); ok {
			require.Equal(t, field.Kind.Format(change.New), field.Kind.Format(field.Get(&ada)), name)
		}
	}
	require.Equal(t, userkit.Attributes{"stays": true, "new": int64(1)}, ada.Attributes)
}
