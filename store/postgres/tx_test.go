package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// overBothDrivers runs a test on a handle over pgdriver and on one over pgx.
func overBothDrivers(t *testing.T, test func(t *testing.T, db *bun.DB, store *postgres.Store)) {
	for name, open := range map[string]func(t *testing.T, dsn string) *bun.DB{
		"pgdriver": func(t *testing.T, dsn string) *bun.DB { return openDB(t, dsn) },
		"pgx":      func(t *testing.T, dsn string) *bun.DB { return openPgx(t, dsn, pgx.QueryExecModeExec) },
		"pgx simple protocol": func(t *testing.T, dsn string) *bun.DB {
			return openPgx(t, dsn, pgx.QueryExecModeSimpleProtocol)
		},
		"pgx cached statements": func(t *testing.T, dsn string) *bun.DB {
			return openPgx(t, dsn, pgx.QueryExecModeCacheStatement)
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t, migrated.Create(t))
			store, err := postgres.New(db)
			require.NoError(t, err)
			test(t, db, store)
		})
	}
}

func TestWithTx(t *testing.T) {
	overBothDrivers(t, func(t *testing.T, db *bun.DB, store *postgres.Store) {
		ctx := context.Background()
		ada, bob := createUser(t, store, "ada"), createUser(t, store, "bob")
		_, err := db.Exec("CREATE TABLE orders (id int PRIMARY KEY)")
		require.NoError(t, err)

		t.Run("commits with the host", func(t *testing.T) {
			tx, err := db.Begin()
			require.NoError(t, err)
			_, err = tx.Exec("INSERT INTO orders VALUES (1)")
			require.NoError(t, err)
			bound := store.WithTx(tx)
			require.NoError(t, commitOne(t, bound, touch(&ada)))
			inside, err := bound.User(ctx, ada.ID)
			require.NoError(t, err)
			require.Equal(t, ada.Version, inside.Version)
			outside, err := store.User(ctx, ada.ID)
			require.NoError(t, err)
			require.Less(t, outside.Version, ada.Version)
			require.NoError(t, bound.Close())
			require.NoError(t, tx.Commit())

			outside, err = store.User(ctx, ada.ID)
			require.NoError(t, err)
			require.Equal(t, ada.Version, outside.Version)
			_, err = bound.User(ctx, ada.ID)
			requireCode(t, userkit.CodeClosed, err)
			_, err = bound.Commit(ctx, []userkit.Change{touch(&ada)})
			requireCode(t, userkit.CodeClosed, err)
			ada.Version--
			ada.Balance.Amount--
		})

		t.Run("rolls back with the host", func(t *testing.T) {
			before, err := store.User(ctx, ada.ID)
			require.NoError(t, err)
			lost := ada
			rollback := errors.New("the host changed its mind")
			err = db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
				require.NoError(t, commitOne(t, store.WithTx(tx), touch(&lost)))
				createUser(t, store.WithTx(tx), "eve")
				return rollback
			})
			require.ErrorIs(t, err, rollback)
			after, err := store.User(ctx, ada.ID)
			require.NoError(t, err)
			require.Equal(t, before, after)
			_, err = store.FindUser(ctx, userkit.ByLogin("eve"))
			requireCode(t, userkit.CodeUserNotFound, err)
		})

		t.Run("leaves the transaction in use when a change fails", func(t *testing.T) {
			require.NoError(t, db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
				bound := store.WithTx(tx)
				_, err := tx.Exec("INSERT INTO orders VALUES (2)")
				require.NoError(t, err)
				taken := bob
				taken.Login = "Ada"
				change := touch(&taken)
				change.Profile = &taken
				fine := touch(&ada)
				outcomes, err := bound.Commit(ctx, []userkit.Change{change, fine})
				require.NoError(t, err)
				requireCode(t, userkit.CodeLoginTaken, outcomes[0])
				require.NoError(t, outcomes[1])
				stale := ada
				stale.Version = 1
				require.ErrorIs(t, commitOne(t, bound, touch(&stale)), userkit.ErrConflict)
				return nil
			}))
			var orders int
			require.NoError(t, db.DB.QueryRow("SELECT count(*) FROM orders").Scan(&orders))
			require.Equal(t, 2, orders)
			after, err := store.User(ctx, ada.ID)
			require.NoError(t, err)
			require.Equal(t, ada.Version, after.Version)
			after, err = store.User(ctx, bob.ID)
			require.NoError(t, err)
			require.Equal(t, bob, after)
		})

		t.Run("gives what needs a new transaction to the host", func(t *testing.T) {
			tx, err := db.BeginTx(ctx, serializable)
			require.NoError(t, err)
			defer tx.Rollback()
			bound := store.WithTx(tx)
			_, err = bound.User(ctx, ada.ID) // takes the snapshot
			require.NoError(t, err)
			mine := ada
			require.NoError(t, commitOne(t, store, touch(&ada)))
			_, err = bound.Commit(ctx, []userkit.Change{touch(&mine)})
			requireCode(t, userkit.CodeTooManyConflicts, err)
			require.ErrorIs(t, err, userkit.ErrConflict)
		})
	})
}

// A manager on a bound store is part of the host's transaction.
func TestManagerInTheHostsTransaction(t *testing.T) {
	overBothDrivers(t, func(t *testing.T, db *bun.DB, store *postgres.Store) {
		ctx := context.Background()
		m, err := userkit.New(store)
		require.NoError(t, err)
		t.Cleanup(func() { _ = m.Close(context.Background()) })
		user, err := m.CreateUser(ctx, userkit.NewUser{Login: "ada", Status: userkit.StatusActive})
		require.NoError(t, err)
		entry := userkit.Entry{Amount: userkit.Money{Amount: 500, Currency: "EUR"}, Key: "order 1"}
		require.Error(t, db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			_, err := m.WithStore(store.WithTx(tx)).Refill(ctx, user.ID, entry)
			require.NoError(t, err)
			return errors.New("no")
		}))
		require.NoError(t, db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			_, err := m.WithStore(store.WithTx(tx)).Refill(ctx, user.ID, entry)
			return err
		}))
		after, err := m.User(ctx, user.ID)
		require.NoError(t, err)
		require.EqualValues(t, 500, after.Balance.Amount)
	})
}

// A deadlock between the store and a transaction of the host is broken by the
// server; the store's statement, if it is the victim, is sent anew.
func TestDeadlocksAreRetried(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	store := openStore(t, dsn)
	ada, bob := createUser(t, store, "ada"), createUser(t, store, "bob") // locked in this order
	db := openDB(t, dsn)
	tx, err := db.Begin()
	require.NoError(t, err)
	// The host's transaction waits for long before it looks for deadlocks, so
	// the store's is the victim.
	_, err = tx.Exec("SET LOCAL deadlock_timeout = '1h'; SELECT FROM userkit.accounts WHERE user_id = ? FOR UPDATE", bob.ID.String())
	require.NoError(t, err)
	outcomes := make(chan []error, 1)
	go func() {
		made, err := store.Commit(ctx, []userkit.Change{touch(&ada), touch(&bob)})
		if err != nil {
			t.Error(err)
		}
		outcomes <- made
	}()
	waitForBlocked(t, db)
	_, err = tx.Exec("SELECT FROM userkit.accounts WHERE user_id = ? FOR UPDATE", ada.ID.String())
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	require.Equal(t, []error{nil, nil}, <-outcomes)
}

// waitForBlocked waits until a statement of the database waits for a lock.
func waitForBlocked(t *testing.T, db *bun.DB) {
	t.Helper()
	require.Eventually(t, func() bool {
		blocked, err := blockedStatements(db)
		return err == nil && blocked > 0
	}, time.Minute, time.Millisecond)
}

// blockedStatements counts the statements in the database that wait for a lock.
func blockedStatements(db *bun.DB) (blocked int, err error) {
	err = db.DB.QueryRow("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&blocked)
	return blocked, err
}

// A statement that its caller gives up goes on nowhere: the server cancels it, and
// what it would have changed stays as it is.
func TestWhatACallerGivesUpIsCancelledOnTheServer(t *testing.T) {
	dsn := migrated.Create(t)
	host := openDB(t, dsn)
	for name, open := range waysToOpen(dsn) {
		for ending, end := range map[string]func(blocked func()) (context.Context, context.CancelFunc){
			"cancelled": func(blocked func()) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(context.Background())
				go func() {
					blocked()
					cancel()
				}()
				return ctx, cancel
			},
			"past its deadline": func(func()) (context.Context, context.CancelFunc) {
				return context.WithTimeout(context.Background(), 300*time.Millisecond)
			},
		} {
			t.Run(name+" "+ending, func(t *testing.T) {
				store := open(t)
				user := createUser(t, store, name+" "+ending)
				tx, err := host.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				defer func() { _ = tx.Rollback() }()
				_, err = tx.Exec("SELECT FROM userkit.accounts WHERE user_id = ? FOR UPDATE", user.ID.String())
				require.NoError(t, err)
				ctx, cancel := end(func() { waitForBlocked(t, host) })
				defer cancel()
				change := user
				_, err = store.Commit(ctx, []userkit.Change{touch(&change)})
				require.True(t, errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded), "%v", err)
				waitForNobodyBlocked(t, host)
				require.NoError(t, tx.Rollback())
				after, err := store.User(t.Context(), user.ID)
				require.NoError(t, err)
				require.Equal(t, user.Version, after.Version)
			})
		}
	}
}

// A statement whose context has no deadline is bounded all the same.
func TestReadsAreBounded(t *testing.T) {
	dsn := migrated.Create(t)
	host := openDB(t, dsn)
	store := openStore(t, dsn, postgres.WithReadTimeout(200*time.Millisecond))
	tx, err := host.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.Exec("LOCK TABLE userkit.users IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	_, err = store.Users(context.Background(), userkit.UserSelection{}, userkit.ListRange{Order: userkit.Order{Field: "id"}, Limit: 1})
	requireCode(t, userkit.CodeStoreUnavailable, err)
	require.ErrorIs(t, err, userkit.ErrUnavailable)
	waitForNobodyBlocked(t, host)
	require.NoError(t, tx.Rollback())
	_, err = postgres.New(host, postgres.WithReadTimeout(-1))
	requireCode(t, userkit.CodeInvalidOption, err)
}

// waitForNobodyBlocked waits until no statement waits for a lock. That a statement
// is cancelled takes as long as it takes; without a lock it would wait for ever.
func waitForNobodyBlocked(t *testing.T, db *bun.DB) {
	t.Helper()
	for {
		blocked, err := blockedStatements(db)
		require.NoError(t, err)
		if blocked == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// Two stores never both commit on one version, however their statements meet:
// one waits for the row of the other and then finds another version, or no row.
func TestOneVersionIsCommittedOnce(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	store := openStore(t, dsn)
	db := openDB(t, dsn)
	for name, first := range map[string]func(user userkit.User) userkit.Change{
		"a change": func(user userkit.User) userkit.Change { return touch(&user) },
		"a deletion": func(user userkit.User) userkit.Change {
			return userkit.Change{User: user.ID, Version: user.Version, Delete: true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			user, other := createUser(t, store, "ada "+name), createUser(t, store, "bob "+name)
			tx, err := db.BeginTx(ctx, nil)
			require.NoError(t, err)
			require.NoError(t, commitOne(t, store.WithTx(tx), first(user)))
			outcomes := make(chan []error, 1)
			go func() {
				late := user
				change := touch(&late)
				change.Profile = &late
				change.Usage = []userkit.DayUsage{{Day: userkit.Day{Year: 2026, Month: 1, Day: 2}, Received: 1}}
				made, err := store.Commit(ctx, []userkit.Change{change, touch(&other)})
				if err != nil {
					t.Error(err)
				}
				outcomes <- made
			}()
			waitForBlocked(t, db)
			require.NoError(t, tx.Commit())
			made := <-outcomes
			require.ErrorIs(t, made[0], userkit.ErrConflict)
			require.NoError(t, made[1])
			usage, err := store.Usage(ctx, user.ID, userkit.Day{}, userkit.Day{Year: 9999, Month: 12, Day: 31})
			require.NoError(t, err)
			require.Empty(t, usage)
		})
	}
}

// A cancelled context ends a statement that waits, at once, over both drivers.
func TestCancelledContextEndsAStatement(t *testing.T) {
	dsn := migrated.Create(t)
	overPgx, err := postgres.New(openPgx(t, dsn, pgx.QueryExecModeExec))
	require.NoError(t, err)
	db := openDB(t, dsn)
	for name, store := range map[string]*postgres.Store{"pgdriver": openStore(t, dsn), "pgx": overPgx} {
		t.Run(name, func(t *testing.T) {
			user := createUser(t, store, name)
			tx, err := db.Begin()
			require.NoError(t, err)
			defer tx.Rollback()
			_, err = tx.Exec("SELECT FROM userkit.accounts WHERE user_id = ? FOR UPDATE", user.ID.String())
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(context.Background())
			failed := make(chan error, 1)
			go func() {
				change := user
				_, err := store.Commit(ctx, []userkit.Change{touch(&change)})
				failed <- err
			}()
			waitForBlocked(t, db)
			cancel()
			require.ErrorIs(t, <-failed, context.Canceled)
			ended, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			change := user
			_, err = store.Commit(ended, []userkit.Change{touch(&change)})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NoError(t, tx.Rollback())
			_, err = store.User(context.Background(), user.ID)
			require.NoError(t, err)
		})
	}
}
