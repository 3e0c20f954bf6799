package pgxtx_test

import (
	"context"
	"log"

	"github.com/jackc/pgx/v5"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
	"github.com/userkit/userkit/store/postgres/pgxtx"
)

// beginner is a *pgxpool.Pool or a *pgx.Conn.
type beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// buy writes an order of the host's and charges the user for it: both, or neither.
func buy(ctx context.Context, db beginner, store *postgres.Store, users userkit.Manager, user userkit.UserID, order string, price userkit.Money) error {
	tx, err := db.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }() // after Commit it does nothing
	if _, err := tx.Exec(ctx, "INSERT INTO orders (id, user_id, price) VALUES ($1, $2, $3)", order, user, price); err != nil {
		return err
	}
	joined, release, err := pgxtx.Join(ctx, tx)
	if err != nil {
		return err
	}
	defer release()
	bound := users.WithStore(store.WithSQLTx(joined))
	if _, err := bound.Charge(ctx, user, userkit.Entry{Amount: price, Key: order}); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// A host on pgx lets changes of userkit be part of its transaction.
func ExampleJoin() {
	ctx := context.Background()
	const dsn = "postgres://shop@localhost:5432/shop?sslmode=disable"
	db, err := pgx.Connect(ctx, dsn)
	if err != nil {
		log.Fatal(err)
	}
	store, err := postgres.Open(ctx, dsn)
	if err != nil {
		log.Fatal(err)
	}
	users, err := userkit.New(store, userkit.WithCurrency("EUR"))
	if err != nil {
		log.Fatal(err)
	}

	ada, err := users.FindUser(ctx, userkit.ByLogin("ada"))
	if err != nil {
		log.Fatal(err)
	}
	if err := buy(ctx, db, store, users, ada.ID, "order-1001", userkit.Money{Amount: 850, Currency: "EUR"}); err != nil {
		log.Fatal(err)
	}
}
