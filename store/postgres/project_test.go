package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// rowsOf counts the rows that a project has in each table.
func rowsOf(t *testing.T, dsn, project string) map[string]int {
	t.Helper()
	db := openDB(t, dsn)
	counts := map[string]int{}
	for _, table := range append([]string{"projects", "segments", "memberships", "duties"}, largeTables...) {
		var count int
		require.NoError(t, db.DB.QueryRow("SELECT count(*) FROM userkit."+table+" WHERE project = $1", project).Scan(&count))
		if count > 0 {
			counts[table] = count
		}
	}
	return counts
}

// A project that is dropped leaves nothing, however it is large and whoever writes to
// it at the time; others stay as they are; and its name can be used anew.
func TestDropProject(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	doomed, other := openStore(t, dsn, postgres.WithProject("doomed")), openStore(t, dsn)
	require.NoError(t, doomed.Migrate(ctx))
	users := crowd(t, doomed, 1100)
	ada := createUser(t, other, "ada")
	segment := userkit.Segment{ID: userkit.NewID[userkit.Segment](), Name: "all", Revision: 1}
	for _, store := range []*postgres.Store{doomed, other} {
		_, err := store.CommitSegment(ctx, userkit.SegmentChange{
			ID: segment.ID, Segment: segment, Members: userkit.Set(userkit.UserSelection{}), Event: newEvent(userkit.UserID{}),
		})
		require.NoError(t, err)
	}
	beside := rowsOf(t, dsn, postgres.DefaultProject)
	_, err := doomed.LeaseDuty(ctx, "duty", time.Now(), time.Now())
	require.NoError(t, err)
	require.Len(t, rowsOf(t, dsn, "doomed"), 4+len(largeTables))

	// Given up before it has begun to delete, it can be gone on with; meanwhile the
	// project is none.
	db := openDB(t, dsn)
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	early := touch(&users[0])
	require.NoError(t, commitOne(t, doomed.WithTx(tx), early))
	within, cancel := context.WithCancel(ctx)
	dropped := make(chan error, 1)
	go func() { dropped <- doomed.DropProject(within) }()
	waitForBlocked(t, db) // for the transaction that is writing an event
	cancel()
	require.ErrorIs(t, <-dropped, context.Canceled)
	go func() { dropped <- doomed.DropProject(ctx) }()
	waitForBlocked(t, db)
	require.NoError(t, tx.Commit())
	for i := 0; ; i++ { // somebody goes on to write until he may not
		user := userkit.User{ID: userkit.NewID[userkit.User](), Login: fmt.Sprint("late", i), Account: userkit.Account{Version: 1}}
		_, err := doomed.Commit(ctx, []userkit.Change{{User: user.ID, Profile: &user, Account: user.Account, Events: []userkit.Event{newEvent(user.ID)}}})
		if err != nil {
			requireCode(t, userkit.CodeSchemaOutdated, err)
			break
		}
	}
	require.NoError(t, <-dropped)
	require.Empty(t, rowsOf(t, dsn, "doomed"))
	require.NoError(t, doomed.DropProject(ctx))
	requireCode(t, userkit.CodeSchemaOutdated, doomed.CheckSchema(ctx))
	require.Equal(t, beside, rowsOf(t, dsn, postgres.DefaultProject))
	require.NoError(t, commitOne(t, other, touch(&ada)))

	require.NoError(t, doomed.Migrate(ctx))
	require.NoError(t, doomed.CheckSchema(ctx))
	createUser(t, doomed, "ada")
	require.NoError(t, other.CheckSchema(ctx))

	t.Run("in a transaction of the host", func(t *testing.T) {
		before := fmt.Sprint(rowsOf(t, dsn, "doomed"))
		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, doomed.WithTx(tx).DropProject(ctx))
		require.NoError(t, tx.Rollback())
		require.Equal(t, before, fmt.Sprint(rowsOf(t, dsn, "doomed")))
	})
}
