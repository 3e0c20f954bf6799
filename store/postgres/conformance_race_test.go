//go:build race

package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/userkit/userkit/store/postgres"
	"github.com/userkit/userkit/store/storetest"
)

// All projects share the handle of a host. The store's half is brief, since what takes long there
// is the same on the server, and drivers_test.go runs all of it. Of the manager's half, what leases
// work, loads it and settles it while others do the same is run as well.
func TestConformanceOverPgx(t *testing.T) {
	dsn := migrated.Create(t)
	db := openPgx(t, dsn, pgx.QueryExecModeExec)
	db.SetMaxOpenConns(64)
	db.SetMaxIdleConns(64)
	open := func(t *testing.T, project postgres.Option) *postgres.Store { return newStore(t, db, project) }
	conform(t, storetest.RunStore, storetest.Options{Brief: true}, open)
	conform(t, storetest.RunManager, storetest.Options{Groups: []string{"Deliveries"}}, open)
}
