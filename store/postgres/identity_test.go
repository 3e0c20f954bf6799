package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// Rows of a version that had no keys of identity get theirs, in several batches, and
// whose key is that of an older user stays whole and is named.
func TestMigrateWorksOutKeys(t *testing.T) {
	dsn := migrated.Create(t)
	db := openDB(t, dsn)
	store := openStore(t, dsn)
	template := createUser(t, store, "template")
	multiply(t, db, template, 2500)
	withEmail := func(login, email string) userkit.User {
		user := createUser(t, store, login)
		change := touch(&user)
		user.Email, user.Account = email, change.Account
		change.Profile = &user
		require.NoError(t, commitOne(t, store, change))
		return user
	}
	first, second := withEmail("Сергей", "u@bücher.de"), withEmail("Сергеи", "other@example.org")
	createUser(t, store, "first")
	segment := userkit.Segment{ID: userkit.NewID[userkit.Segment](), Name: "суп", Revision: 1}
	segment.CreatedAt, segment.UpdatedAt = segment.ID.Time(), segment.ID.Time()
	_, err := store.CommitSegment(t.Context(), userkit.SegmentChange{ID: segment.ID, Segment: segment, Event: newEvent(userkit.UserID{})})
	require.NoError(t, err)
	for _, statement := range []string{
		"UPDATE userkit.users SET email = 'U@xn--bcher-kva.de' WHERE email = 'other@example.org'",
		"UPDATE userkit.users SET login_identity = NULL, email_identity = NULL, login_email = NULL",
		"DELETE FROM userkit.email_holders",
		"UPDATE userkit.segments SET name_identity = NULL",
	} {
		_, err := db.Exec(statement)
		require.NoError(t, err)
	}
	requireCode(t, userkit.CodeSchemaOutdated, store.CheckSchema(t.Context()))
	for range 2 {
		require.NoError(t, store.Migrate(t.Context()))
		require.NoError(t, store.CheckSchema(t.Context()))
	}

	// Nobody else has the login of an earlier version that no login may be any more.
	_, err = store.FindUser(t.Context(), userkit.ByLogin("ﬁrst"))
	requireCode(t, userkit.CodeUserNotFound, err)

	conflicts, err := store.Conflicts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []postgres.Conflict{{UserID: second.ID, Field: "email", Value: "U@xn--bcher-kva.de", Holder: first.ID}}, conflicts)
	for key, wanted := range map[userkit.UserKey]userkit.UserID{
		userkit.ByEmail("U@BÜCHER.DE"): first.ID, userkit.ByLogin("сергей"): first.ID, userkit.ByLogin("сергеи"): second.ID, userkit.ByLogin("template"): template.ID,
	} {
		found, err := store.FindUser(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, wanted, found.ID)
	}
	_, err = store.FindUser(t.Context(), userkit.ByEmail("u@bucher.de"))
	requireCode(t, userkit.CodeUserNotFound, err)
	segments, err := store.FindSegments(t.Context(), nil, []string{"суп"})
	require.NoError(t, err)
	require.Len(t, segments, 1)

	// The other one can be changed, and has the key once its address is another.
	loaded, err := store.User(t.Context(), second.ID)
	require.NoError(t, err)
	require.Equal(t, "U@xn--bcher-kva.de", loaded.Email)
	for _, email := range []string{loaded.Email, "u@bucher.de"} {
		change := touch(&loaded)
		loaded.Name, loaded.Email, loaded.Account = "Sergei", email, change.Account
		change.Profile = &loaded
		require.NoError(t, commitOne(t, store, change))
	}
	conflicts, err = store.Conflicts(t.Context())
	require.NoError(t, err)
	require.Empty(t, conflicts)
	found, err := store.FindUser(t.Context(), userkit.ByEmail("u@bucher.de"))
	require.NoError(t, err)
	require.Equal(t, second.ID, found.ID)
}
