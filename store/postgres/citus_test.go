//go:build citus

// The conformance suite on Citus needs a cluster, which no package of a distribution
// has. "make test-citus DSN=…" runs it: DSN names a database of the coordinator that
// has the extension and the workers, and no schema userkit.

package postgres_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit/store/postgres"
	"github.com/userkit/userkit/store/storetest"
)

// citusVariable names the environment variable with the DSN.
const citusVariable = "USERKIT_TEST_CITUS"

// distribution returns the statement of docs/operations.md that distributes the tables.
func distribution(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	found := regexp.MustCompile("(?s)```sql\n([^`]*create_distributed_table[^`]*)```").FindSubmatch(text)
	require.NotNil(t, found, "operations.md shows how to distribute the tables")
	return string(found[1])
}

func TestConformanceOnCitus(t *testing.T) {
	dsn := os.Getenv(citusVariable)
	require.NotEmpty(t, dsn, "%s names a database of a coordinator", citusVariable)
	first := openStore(t, dsn)
	require.NoError(t, first.Migrate(t.Context()))
	db := postgres.DatabaseOf(first)
	for statement := range strings.SplitSeq(distribution(t), ";\n") {
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
	conform(t, storetest.RunWith, func(t *testing.T, project postgres.Option) *postgres.Store {
		return newStore(t, db, project)
	})
}
