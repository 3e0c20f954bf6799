//go:build database

// The conformance suite in a database that is there already: one behind a pooler, or one
// of a Citus coordinator, where the tables are distributed first. "make test-database
// DSN=…" runs it. The schema userkit of the database must be missing, and is left there.

package postgres_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

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
	}
	db = sharedHandle(t, dsn)
	conform(t, storetest.RunWith, func(t *testing.T, project postgres.Option) *postgres.Store {
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
