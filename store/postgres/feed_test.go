package postgres_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// follow reads the feed to its end and gives the ids of its events.
func follow(t *testing.T, store *postgres.Store, after *userkit.FeedPosition) []userkit.EventID {
	t.Helper()
	var ids []userkit.EventID
	for {
		events, err := store.Feed(context.Background(), *after, 2)
		require.NoError(t, err)
		if len(events) == 0 {
			return ids
		}
		for _, event := range events {
			ids = append(ids, event.Event.ID)
			*after = event.Position
		}
	}
}

// Transactions commit out of order: the one that began first commits last. The
// feed waits for it and then has its event in front of the later one.
func TestFeedWaitsForOlderTransactions(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	store := openStore(t, dsn)
	ada, bob := createUser(t, store, "ada"), createUser(t, store, "bob")
	var cursor userkit.FeedPosition
	require.Len(t, follow(t, store, &cursor), 2)

	db := openDB(t, dsn)
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	early := touch(&ada)
	require.NoError(t, commitOne(t, store.WithTx(tx), early))
	late := touch(&bob)
	require.NoError(t, commitOne(t, store, late))
	require.Empty(t, follow(t, store, &cursor), "the event of a transaction that may be overtaken")
	require.NoError(t, tx.Commit())
	require.Equal(t, []userkit.EventID{early.Events[0].ID, late.Events[0].ID}, follow(t, store, &cursor))

	// A transaction that is given up holds nothing back and leaves nothing.
	tx, err = db.BeginTx(ctx, nil)
	require.NoError(t, err)
	lost := ada
	require.NoError(t, commitOne(t, store.WithTx(tx), touch(&lost)))
	late = touch(&bob)
	require.NoError(t, commitOne(t, store, late))
	require.Empty(t, follow(t, store, &cursor))
	require.NoError(t, tx.Rollback())
	require.Equal(t, []userkit.EventID{late.Events[0].ID}, follow(t, store, &cursor))
}

// A database that was restored into a cluster whose transactions count lower
// goes on counting from where it was, once Migrate has been called: a cursor
// from before sees all that comes after.
func TestFeedAfterARestore(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	store, second := openStore(t, dsn), openStore(t, dsn, postgres.WithProject("second"))
	require.NoError(t, second.Migrate(ctx))
	ada := createUser(t, store, "ada")
	eve := createUser(t, second, "eve")

	// What the restored rows look like from a younger cluster.
	_, err := openDB(t, dsn).Exec("UPDATE userkit.events SET position = position + 1000000000000 WHERE project = 'default'")
	require.NoError(t, err)
	var cursor userkit.FeedPosition
	require.Empty(t, follow(t, store, &cursor), "they seem to be of transactions yet to come")

	require.NoError(t, store.Migrate(ctx))
	require.Len(t, follow(t, store, &cursor), 1)
	for range 3 {
		change := touch(&ada)
		require.NoError(t, commitOne(t, store, change))
		require.Equal(t, []userkit.EventID{change.Events[0].ID}, follow(t, store, &cursor))
		require.NoError(t, store.Migrate(ctx)) // changes nothing any more
	}

	var other userkit.FeedPosition
	require.Len(t, follow(t, second, &other), 1)
	change := touch(&eve)
	require.NoError(t, commitOne(t, second, change))
	require.Equal(t, []userkit.EventID{change.Events[0].ID}, follow(t, second, &other))
	require.Less(t, other.Commit, cursor.Commit)
}

// While transactions are under way that write by the old offset, a restored
// project waits for them before it changes the offset.
func TestFeedOffsetWaitsForWriters(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	store := openStore(t, dsn)
	ada := createUser(t, store, "ada")
	db := openDB(t, dsn)
	_, err := db.Exec("UPDATE userkit.events SET position = position + 1000000000000")
	require.NoError(t, err)
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	early := touch(&ada)
	require.NoError(t, commitOne(t, store.WithTx(tx), early))
	done := make(chan error, 1)
	go func() { done <- store.Migrate(ctx) }()
	waitForBlocked(t, db)
	require.NoError(t, tx.Commit())
	require.NoError(t, <-done)
	var cursor userkit.FeedPosition
	require.Len(t, follow(t, store, &cursor), 2)
	late := touch(&ada)
	require.NoError(t, commitOne(t, store, late))
	require.Equal(t, []userkit.EventID{late.Events[0].ID}, follow(t, store, &cursor))
}
