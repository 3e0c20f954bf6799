package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// onOneConnection returns a manager with prepared statements whose only connection
// the test can look into.
func onOneConnection(t *testing.T) (userkit.Manager, *postgres.Store, *bun.DB) {
	t.Helper()
	db := openDB(t, migrated.Create(t))
	db.SetMaxOpenConns(1)
	store, err := postgres.New(db, postgres.WithPreparedStatements())
	require.NoError(t, err)
	manager, err := userkit.New(store, userkit.WithAccountCache(0))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, manager.Close(context.Background())) })
	return manager, store, db
}

func refill(t *testing.T, manager userkit.Manager, user userkit.UserID, number int) {
	t.Helper()
	_, err := manager.Refill(t.Context(), user, userkit.Entry{Amount: userkit.Money{Amount: 1, Currency: "EUR"}, Key: fmt.Sprint("refill ", number)})
	require.NoError(t, err)
}

func TestPreparedStatementsAreUsedAndRenewed(t *testing.T) {
	manager, store, db := onOneConnection(t)
	user, err := manager.CreateUser(t.Context(), userkit.NewUser{})
	require.NoError(t, err)
	uses := func() (most int) {
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT coalesce(max(generic_plans + custom_plans), 0) FROM pg_prepared_statements").Scan(&most))
		return most
	}
	// The most uses of a statement grow, and fall whenever the one that has the most
	// is prepared anew, after twice as many uses each time.
	renewals, before, most := 0, 0, 0
	for i := range 200 {
		refill(t, manager, user.ID, i)
		now := uses()
		if now < before {
			renewals++
		}
		before, most = now, max(most, now)
	}
	require.GreaterOrEqual(t, renewals, 3, "prepared anew for the size that the tables have now")
	require.GreaterOrEqual(t, most, 64)

	require.NoError(t, store.Close())
	require.Zero(t, uses(), "given back with the store")
}

func TestLostPreparedStatementGoesUnprepared(t *testing.T) {
	manager, _, db := onOneConnection(t)
	user, err := manager.CreateUser(t.Context(), userkit.NewUser{})
	require.NoError(t, err)
	refill(t, manager, user.ID, 1)
	_, err = db.ExecContext(t.Context(), "DEALLOCATE ALL") // as a pooler that hands out another session
	require.NoError(t, err)
	refill(t, manager, user.ID, 2)
	after, err := manager.User(t.Context(), user.ID)
	require.NoError(t, err)
	require.EqualValues(t, 2, after.Balance.Amount)
}

func TestContextEndsAPreparedStatement(t *testing.T) {
	dsn := migrated.Create(t)
	store := openStore(t, dsn, postgres.WithPreparedStatements())
	manager, err := userkit.New(store)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, manager.Close(context.Background())) })
	user, err := manager.CreateUser(t.Context(), userkit.NewUser{})
	require.NoError(t, err)

	host := openDB(t, dsn)
	tx, err := host.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), "SELECT FROM userkit.accounts FOR UPDATE")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	change := userkit.Change{User: user.ID, Version: user.Version, Account: user.Account}
	change.Account.Version++
	_, err = store.Commit(ctx, []userkit.Change{change})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, tx.Rollback())
	refill(t, manager, user.ID, 1)
}
