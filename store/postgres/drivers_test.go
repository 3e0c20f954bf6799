//go:build !race

package postgres_test

import (
	"testing"

	"github.com/userkit/userkit/store/postgres"
	"github.com/userkit/userkit/store/storetest"
)

// The race detector watches the store over pgx, in conformance_race_test.go, and the manager on
// the store in memory. Here it would watch the same code again, so "make test" runs the whole
// suite without it, and the store's half briefly with prepared statements: what takes long there
// is the same on the server. With -short, as on the other versions of PostgreSQL, the first is
// brief too.

func TestConformanceOverPgdriver(t *testing.T) {
	db := sharedHandle(t, migrated.Create(t))
	conform(t, storetest.RunStore, storetest.Options{Brief: testing.Short()}, func(t *testing.T, project postgres.Option) *postgres.Store {
		return newStore(t, db, project)
	})
}

func TestManagerConformanceOverPgdriver(t *testing.T) {
	dsn := migrated.Create(t)
	db := sharedHandle(t, dsn)
	conform(t, storetest.RunManager, storetest.Options{}, func(t *testing.T, project postgres.Option) *postgres.Store {
		return newStore(t, db, project)
	})
}

func TestConformancePrepared(t *testing.T) {
	dsn := migrated.Create(t)
	db := sharedHandle(t, dsn)
	conform(t, storetest.RunStore, storetest.Options{Brief: true}, func(t *testing.T, project postgres.Option) *postgres.Store {
		return newStore(t, db, project, postgres.WithPreparedStatements())
	})
}
