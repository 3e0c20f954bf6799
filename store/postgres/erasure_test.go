package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/userkit/userkit"
)

// traces counts, by table, the rows that hold the id of a user in any column, of
// whatever type, but for the receipt of its deletion.
func traces(t *testing.T, db *bun.DB, user userkit.UserID) map[string]int {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = 'userkit'")
	require.NoError(t, err)
	columns := map[string][]string{}
	for rows.Next() {
		var table, column string
		require.NoError(t, rows.Scan(&table, &column))
		columns[table] = append(columns[table], column)
	}
	require.NoError(t, rows.Err())
	found := map[string]int{}
	for table, names := range columns {
		condition := "false"
		for _, name := range names {
			condition += fmt.Sprintf(" OR t.%s::text LIKE '%%%s%%'", name, user)
		}
		if table == "events" {
			condition = "(" + condition + ") AND t.name <> 'user.deleted'"
		}
		var count int
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM userkit."+table+" AS t WHERE "+condition).Scan(&count))
		if count > 0 {
			found[table] = count
		}
	}
	return found
}

// Whoever is deleted, alone or with others, leaves nothing in any table of the
// schema but the receipt, and nobody else loses anything.
func TestDeletedUsersLeaveNothing(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	store, db := openStore(t, dsn), openDB(t, dsn)
	users := crowd(t, store, 6)
	segment := userkit.Segment{ID: userkit.NewID[userkit.Segment](), Name: "all", Revision: 1}
	members, err := store.CommitSegment(ctx, userkit.SegmentChange{
		ID: segment.ID, Segment: segment, Members: userkit.Set(userkit.UserSelection{Moment: userkit.Moment{At: time.Now()}}), Event: newEvent(userkit.UserID{}),
	})
	require.NoError(t, err)
	require.EqualValues(t, len(users), members)
	manager, err := userkit.New(store)
	require.NoError(t, err)
	t.Cleanup(func() { _ = manager.Close(context.Background()) })

	before := traces(t, db, users[0].ID)
	for _, table := range []string{"users", "accounts", "devices", "sessions", "usage_days", "purchases", "transactions", "memberships", "events"} {
		require.NotZero(t, before[table], table)
	}

	// What the first user did and what is said of it stands in records of others too.
	by := userkit.Actor{Kind: userkit.ActorUser, ID: users[0].ID.String(), Name: "Zuse, Konrad"}
	_, err = manager.RecordEvent(userkit.WithActor(ctx, by), users[4].ID, userkit.NewEvent{Name: "host.event", Data: by, Mentions: []userkit.UserID{users[0].ID}})
	require.NoError(t, err)
	named := func() int {
		count := 0
		for _, table := range []string{"accounts", "users", "events", "transactions", "devices", "purchases"} {
			var rows int
			require.NoError(t, db.QueryRowContext(ctx, "SELECT count(*) FROM userkit."+table+" AS t WHERE t::text LIKE '%Zuse%'").Scan(&rows))
			count += rows
		}
		return count
	}
	require.NotZero(t, named())

	receipt, err := manager.DeleteUser(ctx, users[0].ID, users[0].ID.String())
	require.NoError(t, err)
	require.Equal(t, 1, receipt.Rows[userkit.RowsMemberships])
	require.Equal(t, 3, receipt.Rows[userkit.RowsPurchases])
	require.Empty(t, traces(t, db, users[0].ID))
	require.Zero(t, named(), "the name of the deleted user in a column of a table")

	request := userkit.BulkRequest{Action: userkit.BulkDelete, Users: userkit.UserFilter{Filter: userkit.NotEqual("login", users[5].Login)}}
	preview, err := manager.PreviewBulk(ctx, request)
	require.NoError(t, err)
	result, err := manager.ExecuteBulk(ctx, request, preview.Token, nil)
	require.NoError(t, err)
	require.EqualValues(t, 4, result.Changed)
	for _, user := range users[:5] {
		require.Empty(t, traces(t, db, user.ID))
	}
	require.Equal(t, before, traces(t, db, users[5].ID))
}
