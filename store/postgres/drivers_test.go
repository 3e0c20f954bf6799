//go:build !race

package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/userkit/userkit/store/postgres"
	"github.com/userkit/userkit/store/storetest"
)

// The race detector watches the store in the brief run of conformance_race_test.go, and the
// manager on the store in memory. Here it would watch the same code again, so "make test" runs
// the whole suite without it, and the store's half briefly over the other ways to send
// statements: what takes long there is the same on the server. With -short, as on the other
// versions of PostgreSQL, the first is brief too.

func TestConformanceOverPgdriver(t *testing.T) {
	conformOverPgdriver(t, storetest.Options{Brief: testing.Short()})
}

func TestManagerConformanceOverPgdriver(t *testing.T) {
	dsn := migrated.Create(t)
	db := sharedHandle(t, dsn)
	conform(t, storetest.RunManager, storetest.Options{}, func(t *testing.T, project postgres.Option) *postgres.Store {
		return newStore(t, db, project)
	})
}

// All projects share the handle of a host. Of the manager's half, what leases work, loads it and
// settles it while others do the same is run as well.
func TestConformanceOverPgx(t *testing.T) {
	dsn := migrated.Create(t)
	db := openPgx(t, dsn, pgx.QueryExecModeExec)
	db.SetMaxOpenConns(64)
	db.SetMaxIdleConns(64)
	open := func(t *testing.T, project postgres.Option) *postgres.Store { return newStore(t, db, project) }
	conform(t, storetest.RunStore, storetest.Options{Brief: true}, open)
	conform(t, storetest.RunManager, storetest.Options{Groups: []string{"Deliveries"}}, open)
}

func TestConformancePrepared(t *testing.T) {
	dsn := migrated.Create(t)
	db := sharedHandle(t, dsn)
	conform(t, storetest.RunStore, storetest.Options{Brief: true}, func(t *testing.T, project postgres.Option) *postgres.Store {
		return newStore(t, db, project, postgres.WithPreparedStatements())
	})
}
