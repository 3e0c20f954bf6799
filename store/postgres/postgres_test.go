package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
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

func TestMain(m *testing.M) {
	if order := os.Getenv(orderVariable); order != "" {
		os.Exit(obey(order))
	}
	pgtest.Main(m)
}

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

// openDB opens a database handle as a host would, over pgdriver, but for the bound that
// pgdriver sets to reads: how fast the machine is decides no test.
func openDB(t testing.TB, dsn string) *bun.DB {
	t.Helper()
	db := bun.NewDB(sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(dsn), pgdriver.WithReadTimeout(0))), pgdialect.New())
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

// newStore returns a store on a host's handle.
func newStore(t *testing.T, db *bun.DB, opts ...postgres.Option) *postgres.Store {
	t.Helper()
	store, err := postgres.New(db, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// sharedHandle returns the handle of a store that Open has made, for many stores at
// once: most of what a small case costs is connections that the server has to get ready.
func sharedHandle(t *testing.T, dsn string) *bun.DB {
	t.Helper()
	return postgres.DatabaseOf(openStore(t, dsn, postgres.WithPoolSize(32)))
}

// databaseOf returns the name of the database of a handle, quoted where it has to be.
func databaseOf(t *testing.T, db *bun.DB) (name string) {
	t.Helper()
	require.NoError(t, db.DB.QueryRow("SELECT quote_ident(current_database())").Scan(&name))
	return name
}

// waysToOpen are the ways to open a store of a database, by their names.
func waysToOpen(dsn string) map[string]func(t *testing.T) *postgres.Store {
	overPgx := func(mode pgx.QueryExecMode) func(t *testing.T) *postgres.Store {
		return func(t *testing.T) *postgres.Store { return newStore(t, openPgx(t, dsn, mode)) }
	}
	return map[string]func(t *testing.T) *postgres.Store{
		"Open":                  func(t *testing.T) *postgres.Store { return openStore(t, dsn) },
		"prepared":              func(t *testing.T) *postgres.Store { return openStore(t, dsn, postgres.WithPreparedStatements()) },
		"pgx":                   overPgx(pgx.QueryExecModeExec),
		"pgx simple protocol":   overPgx(pgx.QueryExecModeSimpleProtocol),
		"pgx cached statements": overPgx(pgx.QueryExecModeCacheStatement),
	}
}

// projects remembers which project a store of the conformance suite works on, so
// that it can open a second handle.
type projects struct {
	mu    sync.Mutex
	names map[userkit.Store]string
}

func (p *projects) note(store userkit.Store, name string) userkit.Store {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.names == nil {
		p.names = map[userkit.Store]string{}
	}
	p.names[store] = name
	return store
}

func (p *projects) of(store userkit.Store) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.names[store]
}

// conformed counts the cases, so that each has a project of its own.
var conformed atomic.Int64

// conform runs the conformance suite, or its half, on stores that open makes. All
// cases share one database, each with a project of its own: that is quick, and
// whatever crosses from one project into another makes a case fail.
func conform(t *testing.T, run func(*testing.T, func(*testing.T) userkit.Store, storetest.Options), options storetest.Options,
	open func(t *testing.T, project postgres.Option) *postgres.Store) {
	var known projects
	options.Rows = true
	options.Reopen = func(t *testing.T, store userkit.Store) userkit.Store {
		name := known.of(store)
		return known.note(open(t, postgres.WithProject(name)), name)
	}
	run(t,
		func(t *testing.T) userkit.Store {
			name := fmt.Sprint("case-", conformed.Add(1))
			store := open(t, postgres.WithProject(name))
			require.NoError(t, store.Migrate(t.Context()))
			return known.note(store, name)
		},
		options)
}
