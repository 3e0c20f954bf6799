package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// Rows whose texts an earlier version folded are folded anew, in several batches and
// whatever the project, and nothing else of them changes.
func TestMigrateFoldsAnew(t *testing.T) {
	dsn := migrated.Create(t)
	db := openDB(t, dsn)
	store := openStore(t, dsn)
	template := createUser(t, store, "template")
	multiply(t, db, template, 2500)
	user := createUser(t, store, "łukasz")
	change := touch(&user)
	user.Name, user.Attributes, user.ExtRef, user.Description, user.Account = "Đức 小明", userkit.Attributes{"city": "Łódź"}, "Øre", "Æsir", change.Account
	change.Profile = &user
	require.NoError(t, commitOne(t, store, change))
	segment := userkit.Segment{ID: userkit.NewID[userkit.Segment](), Name: "Søren", Revision: 1}
	segment.CreatedAt, segment.UpdatedAt = segment.ID.Time(), segment.ID.Time()
	_, err := store.CommitSegment(t.Context(), userkit.SegmentChange{ID: segment.ID, Segment: segment, Event: newEvent(userkit.UserID{})})
	require.NoError(t, err)
	row := func(table string) (all string) {
		require.NoError(t, db.DB.QueryRow("SELECT (to_jsonb(t) - 'project')::text FROM userkit."+table+" AS t WHERE t.id = $1",
			map[string]string{"users": user.ID.String(), "segments": segment.ID.String()}[table]).Scan(&all))
		return all
	}
	users, segments := row("users"), row("segments")
	for _, statement := range []string{
		`UPDATE userkit.users SET fold = 1, search_parts = '', name_key = 'đuc', folded_attributes = NULL, folded = NULL, extref_key = 'x'`,
		`UPDATE userkit.users SET login_key = 'łukasz', search = 'łukasz' WHERE login = 'łukasz'`,
		`UPDATE userkit.segments SET name_key = 'søren', fold = DEFAULT`,
		`UPDATE userkit.users SET project = 'another' WHERE login = 'łukasz'`,
	} {
		_, err := db.Exec(statement)
		require.NoError(t, err)
	}
	requireCode(t, userkit.CodeSchemaOutdated, store.CheckSchema(t.Context()))
	for range 2 {
		require.NoError(t, store.Migrate(t.Context()))
		require.NoError(t, store.CheckSchema(t.Context()))
	}
	require.JSONEq(t, users, row("users"))
	require.JSONEq(t, segments, row("segments"))
	found, err := store.CountUsers(t.Context(), userkit.UserSelection{Search: userkit.ParseSearch("щю")})
	require.NoError(t, err)
	require.EqualValues(t, 25, found)
}
