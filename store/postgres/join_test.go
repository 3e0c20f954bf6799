package postgres_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
	"github.com/userkit/userkit/store/postgres/pgxtx"
)

// hostTransaction is a transaction of a host, whatever library it is of.
type hostTransaction struct {
	bound  *postgres.Store
	exec   func(text string) error
	commit func() error
	undo   func()
}

// TestStoreJoinsTransactionsOfTheHost goes through the ways in which hosts have
// transactions.
func TestStoreJoinsTransactionsOfTheHost(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	store, err := postgres.New(openDB(t, dsn))
	require.NoError(t, err)
	manager, err := userkit.New(store)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, manager.Close(ctx)) })

	beginSQL := func(db *sql.DB) func(t *testing.T) hostTransaction {
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return func(t *testing.T) hostTransaction {
			tx, err := db.BeginTx(ctx, nil)
			require.NoError(t, err)
			return hostTransaction{
				store.WithSQLTx(tx), func(text string) error { _, err := tx.ExecContext(ctx, text); return err },
				tx.Commit, func() { _ = tx.Rollback() },
			}
		}
	}
	overStdlib := func(mode pgx.QueryExecMode) *sql.DB {
		config, err := pgx.ParseConfig(dsn)
		require.NoError(t, err)
		config.DefaultQueryExecMode = mode
		return stdlib.OpenDB(*config)
	}
	config, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	direct, err := pgx.ConnectConfig(ctx, config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, direct.Close(ctx)) })

	for name, begin := range map[string]func(t *testing.T) hostTransaction{
		"database/sql over pgx":                        beginSQL(overStdlib(pgx.QueryExecModeExec)),
		"database/sql over pgx with cached statements": beginSQL(overStdlib(pgx.QueryExecModeCacheStatement)),
		"database/sql over pgdriver":                   beginSQL(openDB(t, dsn).DB),
		"pgx": func(t *testing.T) hostTransaction {
			tx, err := direct.Begin(ctx)
			require.NoError(t, err)
			joined, release, err := pgxtx.Join(ctx, tx)
			require.NoError(t, err)
			t.Cleanup(release)
			return hostTransaction{
				store.WithSQLTx(joined), func(text string) error { _, err := tx.Exec(ctx, text); return err },
				func() error { return tx.Commit(ctx) }, func() { _ = tx.Rollback(ctx) },
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			owner, err := manager.CreateUser(ctx, userkit.NewUser{Login: "owner of " + name})
			require.NoError(t, err)
			login := "guest of " + name

			tx := begin(t)
			joined := manager.WithStore(tx.bound)
			require.NoError(t, tx.exec("CREATE TABLE host_orders (id int PRIMARY KEY)"))
			guest, err := joined.CreateUser(ctx, userkit.NewUser{
				Login: login, Attributes: userkit.Attributes{"n": 9007199254740993, "text": `a ? and a ' and a \ "`},
			})
			require.NoError(t, err)
			_, err = joined.CreateUser(ctx, userkit.NewUser{Login: owner.Login})
			require.Equal(t, userkit.CodeLoginTaken, userkit.ErrorCode(err), "%v", err)
			_, err = joined.Refill(ctx, guest.ID, userkit.Entry{Amount: userkit.Money{Amount: 500, Currency: "EUR"}, Key: "one"})
			require.NoError(t, err)
			device, err := joined.RegisterDevice(ctx, guest.ID, userkit.NewDevice{Name: "phone"})
			require.NoError(t, err)
			_, err = joined.Authenticate(ctx, device.AccessToken)
			require.NoError(t, err)
			inside, err := joined.User(ctx, guest.ID)
			require.NoError(t, err)
			require.Equal(t, guest.Attributes, inside.Attributes)
			require.Equal(t, int64(500), inside.Balance.Amount)
			events, err := joined.Events(ctx, userkit.EventQuery{EventFilter: userkit.EventFilter{UserID: guest.ID}})
			require.NoError(t, err)
			require.Len(t, events.Items, 3)

			_, err = manager.User(ctx, guest.ID)
			require.ErrorIs(t, err, userkit.ErrNotFound, "nothing is done before the host commits")
			require.NoError(t, tx.exec("INSERT INTO host_orders VALUES (1)"), "a login that is taken leaves the transaction in use")
			require.NoError(t, tx.commit())
			after, err := manager.User(ctx, guest.ID)
			require.NoError(t, err)
			require.Equal(t, inside, after)
			_, err = joined.User(ctx, guest.ID)
			require.Equal(t, userkit.CodeClosed, userkit.ErrorCode(err), "%v", err)
			_, err = joined.CreateUser(ctx, userkit.NewUser{})
			require.Equal(t, userkit.CodeClosed, userkit.ErrorCode(err), "%v", err)

			tx = begin(t)
			joined = manager.WithStore(tx.bound)
			require.NoError(t, tx.exec("DROP TABLE host_orders"))
			_, err = joined.DeleteUser(ctx, guest.ID, guest.ID.String())
			require.NoError(t, err)
			tx.undo()
			still, err := manager.User(ctx, guest.ID)
			require.NoError(t, err)
			require.Equal(t, after, still)
			tx = begin(t)
			require.NoError(t, tx.exec("DROP TABLE host_orders"))
			require.NoError(t, tx.commit())
		})
	}
}

// TestExampleOfSQLTx shows that what the example does is done as a whole or not at all.
func TestExampleOfSQLTx(t *testing.T) {
	ctx := t.Context()
	dsn := migrated.Create(t)
	store := openStore(t, dsn)
	users, err := userkit.New(store, userkit.WithCurrency("EUR"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, users.Close(context.Background())) })
	db := openDB(t, dsn).DB
	_, err = db.ExecContext(ctx, "CREATE TABLE orders (id text PRIMARY KEY, user_id uuid NOT NULL, price text NOT NULL)")
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
	row := db.QueryRowContext(ctx, "SELECT count(*) OVER (), id, user_id, price FROM orders")
	require.NoError(t, row.Scan(&orders, &order, &buyer, &paid))
	require.Equal(t, 1, orders)
	require.Equal(t, "order-1", order)
	require.Equal(t, ada.ID, buyer)
	require.Equal(t, price, paid)
	ada, err = users.User(ctx, ada.ID)
	require.NoError(t, err)
	require.EqualValues(t, 150, ada.Balance.Amount)
}
