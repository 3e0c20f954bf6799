package postgres_test

import (
	"context"
	"database/sql"
	"log"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// buy writes an order of the host's and charges the user for it: both, or neither. The
// values of userkit are values of SQL.
func buy(ctx context.Context, db *sql.DB, store *postgres.Store, users userkit.Manager, user userkit.UserID, order string, price userkit.Money) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "INSERT INTO orders (id, user_id, price) VALUES ($1, $2, $3)", order, user, price); err != nil {
		return err
	}
	bound := users.WithStore(store.WithSQLTx(tx))
	if _, err := bound.Charge(ctx, user, userkit.Entry{Amount: price, Key: order}); err != nil {
		return err
	}
	return tx.Commit()
}

// A host on database/sql lets changes of userkit be part of its transaction.
func ExampleStore_WithSQLTx() {
	ctx := context.Background()
	const dsn = "postgres://shop@localhost:5432/shop?sslmode=disable"
	db := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(dsn)))
	defer db.Close()
	store, err := postgres.Open(ctx, dsn)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	users, err := userkit.New(store, userkit.WithCurrency("EUR"))
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(ctx)

	ada, err := users.FindUser(ctx, userkit.ByLogin("ada"))
	if err != nil {
		log.Fatal(err)
	}
	if err := buy(ctx, db, store, users, ada.ID, "order-1001", userkit.Money{Amount: 850, Currency: "EUR"}); err != nil {
		log.Fatal(err)
	}
}
