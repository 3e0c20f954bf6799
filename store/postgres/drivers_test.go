//go:build !race

package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/userkit/userkit/store/postgres"
	"github.com/userkit/userkit/store/storetest"
)

// The manager's half of the suite, and the store's half over other drivers and modes. The
// race detector watches the store in TestConformanceOverPgdriver, and the manager on the
// store in memory; here it would watch the same code again, so "make test" runs these
// without it.

func TestManagerConformanceOverPgdriver(t *testing.T) {
	dsn := migrated.Create(t)
	db := sharedHandle(t, dsn)
	conform(t, storetest.RunManager, func(t *testing.T, project postgres.Option) *postgres.Store {
		return newStore(t, db, project)
	})
}

// All projects share the handle of a host.
func TestConformanceOverPgx(t *testing.T) {
	dsn := migrated.Create(t)
	db := openPgx(t, dsn, pgx.QueryExecModeExec)
	db.SetMaxOpenConns(64)
	db.SetMaxIdleConns(64)
	conform(t, storetest.RunStore, func(t *testing.T, project postgres.Option) *postgres.Store {
		return newStore(t, db, project)
	})
}

func TestConformancePrepared(t *testing.T) {
	dsn := migrated.Create(t)
	db := sharedHandle(t, dsn)
	conform(t, storetest.RunStore, func(t *testing.T, project postgres.Option) *postgres.Store {
		return newStore(t, db, project, postgres.WithPreparedStatements())
	})
}
