package postgres_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/pgtest"
	"github.com/userkit/userkit/store/postgres"
)

// followTo reads the feed until it has given so many events. Whatever else runs in
// the cluster, such as the server's own upkeep, may hold the feed back, for however
// long it takes.
func followTo(t *testing.T, store *postgres.Store, after *userkit.FeedPosition, count int) []userkit.EventID {
	t.Helper()
	ids := follow(t, store, after)
	for len(ids) < count {
		time.Sleep(time.Millisecond)
		ids = append(ids, follow(t, store, after)...)
	}
	require.Len(t, ids, count)
	return ids
}

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
	followTo(t, store, &cursor, 2)

	db := openDB(t, dsn)
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	early := touch(&ada)
	require.NoError(t, commitOne(t, store.WithTx(tx), early))
	late := touch(&bob)
	require.NoError(t, commitOne(t, store, late))
	require.Empty(t, follow(t, store, &cursor), "the event of a transaction that may be overtaken")
	require.NoError(t, tx.Commit())
	require.Equal(t, []userkit.EventID{early.Events[0].ID, late.Events[0].ID}, followTo(t, store, &cursor, 2))

	// A transaction that is given up holds nothing back and leaves nothing.
	tx, err = db.BeginTx(ctx, nil)
	require.NoError(t, err)
	lost := ada
	require.NoError(t, commitOne(t, store.WithTx(tx), touch(&lost)))
	late = touch(&bob)
	require.NoError(t, commitOne(t, store, late))
	require.Empty(t, follow(t, store, &cursor))
	require.NoError(t, tx.Rollback())
	require.Equal(t, []userkit.EventID{late.Events[0].ID}, followTo(t, store, &cursor, 1))
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
	followTo(t, store, &cursor, 1)
	for range 3 {
		change := touch(&ada)
		require.NoError(t, commitOne(t, store, change))
		require.Equal(t, []userkit.EventID{change.Events[0].ID}, followTo(t, store, &cursor, 1))
		require.NoError(t, store.Migrate(ctx)) // changes nothing any more
	}

	var other userkit.FeedPosition
	followTo(t, second, &other, 1)
	change := touch(&eve)
	require.NoError(t, commitOne(t, second, change))
	require.Equal(t, []userkit.EventID{change.Events[0].ID}, followTo(t, second, &other, 1))
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
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	early := touch(&ada)
	require.NoError(t, commitOne(t, store.WithTx(tx), early))
	_, err = db.Exec("UPDATE userkit.events SET position = position + 1000000000000")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- store.Migrate(ctx) }()
	waitForBlocked(t, db)
	require.NoError(t, tx.Commit())
	require.NoError(t, <-done)
	var cursor userkit.FeedPosition
	followTo(t, store, &cursor, 2)
	late := touch(&ada)
	require.NoError(t, commitOne(t, store, late))
	require.Equal(t, []userkit.EventID{late.Events[0].ID}, followTo(t, store, &cursor, 1))
}

// A project that moves to another node takes its feed along, if Migrate is called
// after each move and before the first change.
func TestFeedAfterAMove(t *testing.T) {
	ctx := context.Background()
	servers := []string{pgtest.Start(t).DSN(), pgtest.Start(t).DSN()}
	// The first node is a busy one, far ahead of the other in its transactions.
	_, err := openDB(t, servers[0]).DB.Exec("DO $$ BEGIN FOR i IN 1..20000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$")
	require.NoError(t, err)

	t.Run("a follower gets every event once, in the order of the commits, whichever way the project moves", func(t *testing.T) {
		nodes := []string{migrated.CreateOn(t, servers[0]), migrated.CreateOn(t, servers[1])}
		stores := []*postgres.Store{openStore(t, nodes[0]), openStore(t, nodes[1])}
		ada := createUser(t, stores[0], "ada")
		var cursor userkit.FeedPosition
		created := followTo(t, stores[0], &cursor, 1)
		var written, followed []userkit.EventID
		write := func(store *postgres.Store, count int) {
			for range count {
				change := touch(&ada)
				require.NoError(t, commitOne(t, store, change))
				written = append(written, change.Events[0].ID)
			}
		}
		catchUp := func(store *postgres.Store) {
			followed = append(followed, followTo(t, store, &cursor, len(written)-len(followed))...)
			require.Equal(t, written, followed)
		}
		for move := range 5 {
			from, to := move%2, (move+1)%2
			write(stores[from], 2)
			if move%3 == 0 { // else the follower is behind when the project moves
				catchUp(stores[from])
			}
			moveProject(t, nodes[from], nodes[to])
			require.NoError(t, stores[to].Migrate(ctx))
			if move%2 == 0 { // else the follower looks before anything new is written
				write(stores[to], 1)
			}
			catchUp(stores[to])
			write(stores[to], 3)
		}
		catchUp(stores[1])
		cursor = userkit.FeedPosition{}
		require.Equal(t, append(created, written...), followTo(t, stores[1], &cursor, 1+len(written)), "the order for those who begin anew")
	})

	// Nobody calls Migrate. What is written would stand in front of what followers have
	// seen; the first change sees to the feed, whichever of several processes makes it.
	t.Run("a follower misses nothing when nobody calls Migrate", func(t *testing.T) {
		nodes := []string{migrated.CreateOn(t, servers[0]), migrated.CreateOn(t, servers[1])}
		store := openStore(t, nodes[0])
		ada := createUser(t, store, "ada")
		var cursor userkit.FeedPosition
		followTo(t, store, &cursor, 1)
		moveProject(t, nodes[0], nodes[1])
		store = openStore(t, nodes[1])
		requireCode(t, userkit.CodeSchemaOutdated, store.CheckSchema(ctx))
		status, err := store.FeedStatus(ctx)
		require.NoError(t, err)
		require.True(t, status.Restored)
		host := openDB(t, nodes[1])
		tx, err := host.BeginTx(ctx, nil)
		require.NoError(t, err)
		refused := ada
		_, err = store.WithTx(tx).Commit(ctx, []userkit.Change{touch(&refused)})
		requireCode(t, userkit.CodeSchemaOutdated, err)
		require.NoError(t, tx.Rollback())

		change := touch(&ada)
		require.NoError(t, commitOne(t, store, change))
		require.Equal(t, []userkit.EventID{change.Events[0].ID}, followTo(t, store, &cursor, 1))
		require.NoError(t, store.CheckSchema(ctx))
		// Several events of one transaction, at any isolation, are no sign of another cluster.
		for _, options := range []*sql.TxOptions{nil, {Isolation: sql.LevelRepeatableRead}, serializable} {
			tx, err := host.BeginTx(ctx, options)
			require.NoError(t, err)
			var ids []userkit.EventID
			for range 3 {
				change := touch(&ada)
				require.NoError(t, commitOne(t, store.WithTx(tx), change))
				ids = append(ids, change.Events[0].ID)
			}
			require.NoError(t, store.WithTx(tx).CheckSchema(ctx))
			require.NoError(t, tx.Commit())
			require.ElementsMatch(t, ids, followTo(t, store, &cursor, 3))
		}
	})

	t.Run("many first changes at once, of users, of two users and of a segment", func(t *testing.T) {
		nodes := []string{migrated.CreateOn(t, servers[0]), migrated.CreateOn(t, servers[1])}
		store := openStore(t, nodes[0])
		users := make([]userkit.User, 12)
		for i := range users {
			users[i] = createUser(t, store, fmt.Sprint("user", i))
		}
		var cursor userkit.FeedPosition
		followTo(t, store, &cursor, len(users))
		moveProject(t, nodes[0], nodes[1])
		var work sync.WaitGroup
		for i := 0; i < len(users); i += 2 {
			store := openStore(t, nodes[1])
			work.Go(func() {
				change := func() userkit.Change { return touch(&users[i]) }
				for range 5 {
					if err := commitOne(t, store, change()); err != nil {
						t.Errorf("a change: %v", err)
					}
				}
				if err := store.CommitTogether(ctx, []userkit.Change{change(), touch(&users[i+1])}); err != nil {
					t.Errorf("two changes: %v", err)
				}
				segment := userkit.Segment{ID: userkit.NewID[userkit.Segment](), Name: fmt.Sprint(i), Revision: 1}
				if _, err := store.CommitSegment(ctx, userkit.SegmentChange{ID: segment.ID, Segment: segment, Event: newEvent(userkit.UserID{})}); err != nil {
					t.Errorf("a segment: %v", err)
				}
			})
		}
		work.Wait()
		followTo(t, openStore(t, nodes[1]), &cursor, len(users)/2*8)
	})
}

// The feed says that it waits, since when, and for whom.
func TestFeedStatus(t *testing.T) {
	ctx := context.Background()
	server := pgtest.Start(t)
	dsn, elsewhere := migrated.CreateOn(t, server.DSN()), empty.CreateOn(t, server.DSN())
	store := openStore(t, dsn)
	ada := createUser(t, store, "ada")
	var cursor userkit.FeedPosition
	followTo(t, store, &cursor, 1)
	status, err := store.FeedStatus(ctx)
	require.NoError(t, err)
	require.Zero(t, status)

	culprit, err := pgx.Connect(ctx, elsewhere+"&application_name=nightly")
	require.NoError(t, err)
	defer func() { _ = culprit.Close(ctx) }()
	tx, err := culprit.Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, "CREATE TABLE something ()")
	require.NoError(t, err)
	changes := []userkit.Change{touch(&ada), touch(&ada)}
	for _, change := range changes {
		require.NoError(t, commitOne(t, store, change))
	}
	require.Empty(t, follow(t, store, &cursor))
	status, err = store.FeedStatus(ctx)
	require.NoError(t, err)
	require.Equal(t, 2, status.Waiting)
	require.Equal(t, changes[0].Events[0].At, status.Since)
	require.NotEmpty(t, status.For)
	first := status.For[0]
	require.False(t, first.Since.IsZero())
	first.Since = time.Time{}
	require.Equal(t, postgres.FeedBlocker{
		ProcessID: int(culprit.PgConn().PID()), Database: culprit.Config().Database, User: culprit.Config().User, Application: "nightly", State: "idle in transaction",
	}, first)

	require.NoError(t, tx.Rollback(ctx))
	followTo(t, store, &cursor, 2)
	for status.Waiting > 0 || len(status.For) > 0 { // the server's own upkeep may hold it back for a moment
		status, err = store.FeedStatus(ctx)
		require.NoError(t, err)
	}
	nobody := openStore(t, dsn, postgres.WithProject("nobody"))
	_, err = nobody.FeedStatus(ctx)
	requireCode(t, userkit.CodeSchemaOutdated, err)
}

// moveProject moves the rows of the default project from one database to another,
// as they are.
func moveProject(t *testing.T, from, to string) {
	t.Helper()
	ctx := context.Background()
	var ends []*pgx.Conn
	for _, dsn := range []string{from, to} {
		end, err := pgx.Connect(ctx, dsn)
		require.NoError(t, err)
		defer func() { _ = end.Close(ctx) }()
		// Foreign keys are sound at the end, whatever the order of the tables.
		_, err = end.Exec(ctx, "SET session_replication_role = replica")
		require.NoError(t, err)
		ends = append(ends, end)
	}
	rows, err := ends[0].Query(ctx, `SELECT table_name, string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)
FROM information_schema.columns
WHERE table_schema = 'userkit' AND table_name <> 'migrations' AND is_generated = 'NEVER'
GROUP BY table_name`)
	require.NoError(t, err)
	tables := map[string]string{}
	for rows.Next() {
		var name, columns string
		require.NoError(t, rows.Scan(&name, &columns))
		tables[name] = columns
	}
	require.NoError(t, rows.Err())
	require.Contains(t, tables, "projects")
	require.Contains(t, tables, "events")
	for name, columns := range tables {
		_, err := ends[1].Exec(ctx, "DELETE FROM userkit."+name+" WHERE project = 'default'")
		require.NoError(t, err)
		var data bytes.Buffer
		_, err = ends[0].PgConn().CopyTo(ctx, &data, "COPY (SELECT "+columns+" FROM userkit."+name+" WHERE project = 'default') TO STDOUT")
		require.NoError(t, err)
		_, err = ends[1].PgConn().CopyFrom(ctx, &data, "COPY userkit."+name+" ("+columns+") FROM STDIN")
		require.NoError(t, err)
		_, err = ends[0].Exec(ctx, "DELETE FROM userkit."+name+" WHERE project = 'default'")
		require.NoError(t, err)
	}
}
