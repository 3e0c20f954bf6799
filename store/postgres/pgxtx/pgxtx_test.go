package pgxtx_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/pgtest"
	"github.com/userkit/userkit/store/postgres"
)

var databases = pgtest.NewTemplate(nil)

func TestMain(m *testing.M) { pgtest.Main(m) }

// What the example does is done as a whole or not at all.
func TestExample(t *testing.T) {
	ctx := t.Context()
	dsn := databases.Create(t)
	store, err := postgres.Open(ctx, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	require.NoError(t, store.Migrate(ctx))
	users, err := userkit.New(store, userkit.WithCurrency("EUR"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, users.Close(context.Background())) })
	db, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close(context.Background()) })
	_, err = db.Exec(ctx, "CREATE TABLE orders (id text PRIMARY KEY, user_id uuid NOT NULL, price text NOT NULL)")
	require.NoError(t, err)
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	require.NoError(t, err)
	price := userkit.Money{Amount: 850, Currency: "EUR"}
	_, err = users.Refill(ctx, ada.ID, userkit.Entry{Amount: userkit.Money{Amount: 1000, Currency: "EUR"}, Key: "payment"})
	require.NoError(t, err)

	require.NoError(t, buy(ctx, db, store, users, ada.ID, "order-1", price))
	err = buy(ctx, db, store, users, ada.ID, "order-2", price)
	require.Equal(t, userkit.CodeInsufficientBalance, userkit.ErrorCode(err), "%v", err)
	require.Error(t, buy(ctx, db, store, users, ada.ID, "order-1", userkit.Money{Amount: 1, Currency: "EUR"}), "an order that is there")

	var (
		orders int
		order  string
		buyer  userkit.UserID
		paid   userkit.Money
	)
	row := db.QueryRow(ctx, "SELECT count(*) OVER (), id, user_id, price FROM orders")
	require.NoError(t, row.Scan(&orders, &order, &buyer, &paid))
	require.Equal(t, 1, orders)
	require.Equal(t, "order-1", order)
	require.Equal(t, ada.ID, buyer)
	require.Equal(t, price, paid)
	ada, err = users.User(ctx, ada.ID)
	require.NoError(t, err)
	require.EqualValues(t, 150, ada.Balance.Amount)
}
