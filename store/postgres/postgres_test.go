package postgres_test

import (
	"context"
	"database/sql"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/pgtest"
	"github.com/userkit/userkit/store/postgres"
	"github.com/userkit/userkit/store/storetest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// migrated are databases with the schema and the default project.
var migrated = pgtest.NewTemplate(func(ctx context.Context, dsn string) error {
	store, err := postgres.Open(ctx, dsn)
	if err != nil {
		return err
	}
	defer store.Close()
	return store.Migrate(ctx)
})

// empty are databases without anything.
var empty = pgtest.NewTemplate(nil)

// serializable asks for the strictest isolation.
var serializable = &sql.TxOptions{Isolation: sql.LevelSerializable}

// openStore opens a store that ends with the test.
func openStore(t testing.TB, dsn string, opts ...postgres.Option) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(t.Context(), dsn, append([]postgres.Option{postgres.WithPoolSize(8)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// openDB opens a database handle as a host would, over pgdriver.
func openDB(t testing.TB, dsn string) *bun.DB {
	t.Helper()
	db := bun.NewDB(sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(dsn))), pgdialect.New())
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// openPgx opens a database handle as a host would, over pgx.
func openPgx(t testing.TB, dsn string, mode pgx.QueryExecMode) *bun.DB {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	config.DefaultQueryExecMode = mode
	db := bun.NewDB(stdlib.OpenDB(*config), pgdialect.New())
	db.SetMaxOpenConns(8)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// addresses remembers where the stores of the conformance suite are, so that it
// can open a second handle.
type addresses struct {
	mu     sync.Mutex
	stores map[userkit.Store]string
}

func (a *addresses) note(store userkit.Store, dsn string) userkit.Store {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stores == nil {
		a.stores = map[userkit.Store]string{}
	}
	a.stores[store] = dsn
	return store
}

func (a *addresses) of(store userkit.Store) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stores[store]
}

// conform runs the conformance suite on stores that open makes.
func conform(t *testing.T, open func(t *testing.T, dsn string) userkit.Store) {
	var known addresses
	storetest.RunWith(t,
		func(t *testing.T) userkit.Store {
			dsn := migrated.Create(t)
			return known.note(open(t, dsn), dsn)
		},
		storetest.Options{Reopen: func(t *testing.T, store userkit.Store) userkit.Store {
			dsn := known.of(store)
			return known.note(open(t, dsn), dsn)
		}})
}

func TestConformanceOverPgdriver(t *testing.T) {
	conform(t, func(t *testing.T, dsn string) userkit.Store { return openStore(t, dsn) })
}

func TestConformanceOverPgx(t *testing.T) {
	conform(t, func(t *testing.T, dsn string) userkit.Store {
		store, err := postgres.New(openPgx(t, dsn, pgx.QueryExecModeExec))
		require.NoError(t, err)
		t.Cleanup(func() { _ = store.Close() })
		return store
	})
}
