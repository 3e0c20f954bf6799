//go:build database

// The conformance suite in a database that is there already: one behind a pooler, or one
// of a Citus coordinator, where the tables are distributed first. "make test-database
// DSN=…" runs it. The schema userkit of the database must be missing, and is left there.

package postgres_test

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
	"github.com/userkit/userkit/store/storetest"
)

// databaseVariable names the environment variable with the DSN.
const databaseVariable = "USERKIT_TEST_DATABASE"

func TestConformanceInDatabase(t *testing.T) {
	dsn := os.Getenv(databaseVariable)
	require.NotEmpty(t, dsn, "%s names a database", databaseVariable)
	first := openStore(t, dsn)
	db := postgres.DatabaseOf(first)
	require.NoError(t, db.DB.QueryRowContext(t.Context(), "SELECT 1 / (count(*) = 0)::int FROM pg_namespace WHERE nspname = 'userkit'").Scan(new(int)),
		"the database has no schema userkit")
	require.NoError(t, first.Migrate(t.Context()))
	var citus bool
	require.NoError(t, db.DB.QueryRowContext(t.Context(), "SELECT count(*) > 0 FROM pg_extension WHERE extname = 'citus'").Scan(&citus))
	if citus {
		distribute(t, db)
		moveToAnotherWorker(t, dsn)
	}
	db = sharedHandle(t, dsn)
	conform(t, storetest.RunWith, storetest.Options{}, func(t *testing.T, project postgres.Option) *postgres.Store {
		return newStore(t, db, project)
	})
}

// distribute distributes the tables by the statements of docs/operations.md.
func distribute(t *testing.T, db *bun.DB) {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	found := regexp.MustCompile("(?s)```sql\n([^`]*create_distributed_table[^`]*)```").FindSubmatch(text)
	require.NotNil(t, found, "operations.md shows how to distribute the tables")
	for statement := range strings.SplitSeq(string(found[1]), ";\n") {
		if strings.TrimSpace(statement) != "" {
			_, err := db.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
	}
	var missed string
	require.NoError(t, db.DB.QueryRowContext(t.Context(), `SELECT coalesce(string_agg(tablename, ' '), '') FROM pg_tables
		WHERE schemaname = 'userkit' AND tablename <> 'migrations'
		AND NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = format('userkit.%I', tablename)::regclass)`).Scan(&missed))
	require.Empty(t, missed, "tables that are not distributed")
}

// moveToAnotherWorker moves a project to a worker whose transactions count lower, and finds every
// event in the feed all the same.
func moveToAnotherWorker(t *testing.T, dsn string) {
	t.Helper()
	store := openStore(t, dsn, postgres.WithProject("moving"))
	require.NoError(t, store.Migrate(t.Context()))
	db := postgres.DatabaseOf(store).DB
	users, err := userkit.New(store)
	require.NoError(t, err)
	var cursor userkit.FeedCursor
	create := func(logins ...string) {
		t.Helper()
		for _, login := range logins {
			_, err := users.CreateUser(t.Context(), userkit.NewUser{Login: login})
			require.NoError(t, err)
		}
		seen := 0
		for event, err := range users.Feed(t.Context(), cursor) {
			require.NoError(t, err)
			cursor = event.Cursor
			seen++
		}
		require.Equal(t, len(logins), seen, "events of %s", logins)
	}
	create("ada", "bob")

	var shard, from, to int64
	var nodes [2]string
	require.NoError(t, db.QueryRow(`SELECT p.shardid, p.nodeport, p.nodename, n.nodeport, n.nodename
		FROM pg_dist_shard_placement AS p, pg_dist_node AS n
		WHERE p.shardid = get_shard_id_for_distribution_column('userkit.events', 'moving')
		AND n.shouldhaveshards AND (n.nodename, n.nodeport) <> (p.nodename, p.nodeport) LIMIT 1`).Scan(&shard, &from, &nodes[0], &to, &nodes[1]))
	there, err := url.Parse(dsn)
	require.NoError(t, err)
	there.Host = fmt.Sprint(nodes[0], ":", from)
	worker := openDB(t, there.String())
	for range 5000 { // the other worker is left far behind
		_, err := worker.DB.Exec("SELECT pg_current_xact_id()")
		require.NoError(t, err)
	}
	create("cyd")
	_, err = db.Exec("SELECT citus_move_shard_placement($1, $2, $3, $4, $5, 'block_writes')", shard, nodes[0], from, nodes[1], to)
	require.NoError(t, err)
	create("dan", "eva", "fay", "gus")
	create("hal")
}
