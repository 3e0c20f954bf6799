package examples_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/pgtest"
	"github.com/userkit/userkit/store/postgres"
)

var databases = pgtest.NewTemplate(nil)

func TestMain(m *testing.M) { pgtest.Main(m) }

// withPostgres shows how a host opens PostgreSQL.
func withPostgres(ctx context.Context, dsn string, use func(*postgres.Store, userkit.Manager) error) error {
	store, err := postgres.Open(ctx, dsn, postgres.WithProject("acme"))
	if err != nil {
		return err
	}
	defer store.Close()
	if err := store.Migrate(ctx); err != nil {
		return err
	}
	users, err := userkit.New(store)
	if err != nil {
		return err
	}
	return errors.Join(use(store, users), users.Close(context.Background()))
}

// payOrder shows how a change becomes part of the host's own transaction.
func payOrder(ctx context.Context, db *bun.DB, store *postgres.Store, users userkit.Manager, ada userkit.User, twenty userkit.Money) error {
	err := db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO orders (id, euros) VALUES (?, ?)", "order-1001", 20); err != nil {
			return err
		}
		_, err := users.WithStore(store.WithTx(tx)).Refill(ctx, ada.ID, userkit.Entry{Amount: twenty, Key: "order-1001"})
		return err
	})
	return err
}

func TestRefillInTheHostsTransaction(t *testing.T) {
	ctx := t.Context()
	dsn := databases.Create(t)
	db := bun.NewDB(sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(dsn))), pgdialect.New())
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err := db.ExecContext(ctx, "CREATE TABLE orders (id text, euros int)")
	require.NoError(t, err)

	err = withPostgres(ctx, dsn, func(store *postgres.Store, users userkit.Manager) error {
		ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada", Currency: "EUR"})
		require.NoError(t, err)
		requireBoth := func(orders int, balance int64) {
			t.Helper()
			var count int
			require.NoError(t, db.QueryRowContext(ctx, "SELECT count(*) FROM orders").Scan(&count))
			require.Equal(t, orders, count)
			ada, err := users.User(ctx, ada.ID)
			require.NoError(t, err)
			require.Equal(t, balance, ada.Balance.Amount)
		}

		// userkit refuses the refill, so the order is not there either.
		err = payOrder(ctx, db, store, users, ada, userkit.Money{Amount: 2000, Currency: "USD"})
		require.ErrorIs(t, err, userkit.ErrInvalid)
		requireBoth(0, 0)

		require.NoError(t, payOrder(ctx, db, store, users, ada, userkit.Money{Amount: 2000, Currency: "EUR"}))
		requireBoth(1, 2000)

		// The host rolls back, so the charge is gone with it.
		changed := errors.New("the host changed its mind")
		err = db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			_, err := users.WithStore(store.WithTx(tx)).Charge(ctx, ada.ID, userkit.Entry{Amount: userkit.Money{Amount: 500, Currency: "EUR"}, Key: "c"})
			require.NoError(t, err)
			return changed
		})
		require.ErrorIs(t, err, changed)
		requireBoth(1, 2000)
		return nil
	})
	require.NoError(t, err)
}
