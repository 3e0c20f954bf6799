package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// dueFrom is when the first purchase of newPurchase is due.
var dueFrom = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// newPurchase makes the n-th purchase of a test. Each is due a second after the one
// before.
func newPurchase(user userkit.UserID, n int) userkit.Purchase {
	at := dueFrom.Add(time.Duration(n) * time.Second)
	return userkit.Purchase{
		ID: userkit.NewID[userkit.Purchase](), UserID: user, Store: "apple", StableID: strconv.Itoa(n), TransactionID: "t" + strconv.Itoa(n),
		ProductID: "pro", Environment: userkit.Production, PurchasedAt: at.AddDate(0, -1, 0), ExpiresAt: at.AddDate(0, 1, 0), Active: true,
		Raw: []byte(`{"a": 1}`), CreatedAt: at.AddDate(0, -1, 0), UpdatedAt: at, FactsAt: at, VerifiedAt: at.AddDate(0, 0, -1), DueAt: at, Token: "secret",
	}
}

// give is a change that gives purchases to a user.
func give(user *userkit.User, purchases ...userkit.Purchase) userkit.Change {
	change := touch(user)
	change.Purchases.Insert = purchases
	return change
}

// move is the changes that take a purchase from one user and give it to another.
func move(from, to *userkit.User, purchase userkit.Purchase) (changes []userkit.Change, moved userkit.Purchase) {
	taken := touch(from)
	taken.Purchases.Delete = []userkit.PurchaseID{purchase.ID}
	purchase.ID, purchase.UserID = userkit.NewID[userkit.Purchase](), to.ID
	return []userkit.Change{taken, give(to, purchase)}, purchase
}

// requireOwned demands that a user, as it is stored, has a version and purchases.
func requireOwned(t *testing.T, store userkit.Store, user userkit.User, purchases ...userkit.Purchase) {
	t.Helper()
	states, err := store.Load(t.Context(), []userkit.Want{{User: user.ID, Purchases: true, RowCounts: true}})
	require.NoError(t, err)
	require.Equal(t, user.Version, states[0].User.Version)
	require.ElementsMatch(t, purchases, states[0].Purchases)
	require.Equal(t, len(purchases), states[0].RowCounts[userkit.RowsPurchases])
	require.EqualValues(t, user.Version, states[0].RowCounts[userkit.RowsEvents], "an event with each change")
}

// A purchase that is leased while a change of it waits for its row is changed all
// the same, alone and among others.
func TestLeasesAndChangesOfAPurchase(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	store, db := openStore(t, dsn), openDB(t, dsn)
	for name, alter := range map[string]func(change *userkit.Change, purchase userkit.Purchase){
		"an update": func(change *userkit.Change, purchase userkit.Purchase) {
			purchase.Reason = "changed"
			change.Purchases.Update = []userkit.Purchase{purchase}
		},
		"a deletion": func(change *userkit.Change, purchase userkit.Purchase) {
			change.Purchases.Delete = []userkit.PurchaseID{purchase.ID}
		},
		"a deletion of the user": func(change *userkit.Change, _ userkit.Purchase) { change.Delete = true },
	} {
		for _, others := range []int{0, 1, 10} {
			t.Run(fmt.Sprint(name, " among ", others), func(t *testing.T) {
				user := createUser(t, store, t.Name())
				purchase := newPurchase(user.ID, 0)
				require.NoError(t, commitOne(t, store, give(&user, purchase)))
				change := touch(&user)
				alter(&change, purchase)
				changes := []userkit.Change{change}
				for n := range others {
					other := createUser(t, store, fmt.Sprint(t.Name(), " ", n))
					bought := newPurchase(other.ID, n+1)
					bought.DueAt = time.Time{}
					bought.StableID = other.ID.String()
					require.NoError(t, commitOne(t, store, give(&other, bought)))
					change := touch(&other)
					if n%2 == 0 {
						change.Purchases.Update = []userkit.Purchase{bought}
					} else {
						change.Delete = true
					}
					changes = append(changes, change)
				}
				tx, err := db.BeginTx(ctx, nil)
				require.NoError(t, err)
				leased, err := store.WithTx(tx).LeasePurchases(ctx, []string{"apple"}, purchase.DueAt, purchase.DueAt.Add(time.Minute), 10)
				require.NoError(t, err)
				require.Len(t, leased, 1)
				outcome := make(chan error, 1)
				go func() {
					if others == 1 {
						outcome <- store.CommitTogether(ctx, changes)
						return
					}
					outcomes, err := store.Commit(ctx, changes)
					outcome <- errors.Join(append(outcomes, err)...)
				}()
				waitForBlocked(t, db)
				require.NoError(t, tx.Commit())
				require.NoError(t, <-outcome)
				found, err := store.FindPurchases(ctx, purchase.Store, purchase.StableID)
				require.NoError(t, err)
				if len(change.Purchases.Update) == 0 {
					require.Empty(t, found)
					return
				}
				require.Equal(t, change.Purchases.Update, found)
				last := touch(&user)
				last.Purchases.Delete = []userkit.PurchaseID{purchase.ID}
				require.NoError(t, commitOne(t, store, last))
			})
		}
	}
}

// Many callers in two processes lease every purchase that is due once, whatever the
// isolation of transactions is by default.
func TestPurchasesAreLeasedOnce(t *testing.T) {
	for _, isolation := range []string{"read committed", "serializable"} {
		t.Run(isolation, func(t *testing.T) {
			ctx := context.Background()
			dsn := migrated.Create(t)
			_, err := openDB(t, dsn).Exec("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation TO ' || quote_literal('" + isolation + "'), current_database()); END $$")
			require.NoError(t, err)
			stores := []*postgres.Store{openStore(t, dsn), openStore(t, dsn)}
			const users = 300
			crowd(t, stores[0], users)
			now := dueFrom.AddDate(0, 0, 1)
			var mu sync.Mutex
			leases := map[userkit.PurchaseID]int{}
			var group sync.WaitGroup
			for caller := range 8 {
				group.Go(func() {
					for {
						leased, err := stores[caller%2].LeasePurchases(ctx, []string{"apple"}, now, now.Add(time.Minute), 20)
						if err != nil && !errors.Is(err, userkit.ErrConflict) {
							t.Error(err)
						}
						if err == nil && len(leased) == 0 || t.Failed() {
							return
						}
						mu.Lock()
						for _, purchase := range leased {
							leases[purchase.ID]++
						}
						mu.Unlock()
					}
				})
			}
			group.Wait()
			require.Len(t, leases, 3*users)
			for _, times := range leases {
				require.Equal(t, 1, times)
			}
		})
	}
}

// A lease waits for no transaction: what one is changing now is left to the next call.
func TestLeasesPassLockedRows(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	store, db := openStore(t, dsn), openDB(t, dsn)
	ada := createUser(t, store, "ada")
	first, second := newPurchase(ada.ID, 1), newPurchase(ada.ID, 2)
	require.NoError(t, commitOne(t, store, give(&ada, first, second)))
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	change := touch(&ada)
	change.Purchases.Update = []userkit.Purchase{first}
	require.NoError(t, commitOne(t, store.WithTx(tx), change))
	until := second.DueAt.Add(time.Minute)
	leased, err := store.LeasePurchases(ctx, []string{"apple"}, second.DueAt, until, 10)
	require.NoError(t, err)
	second.LeasedUntil = until
	require.Equal(t, []userkit.Purchase{second}, leased)
	require.NoError(t, tx.Commit())
	leased, err = store.LeasePurchases(ctx, []string{"apple"}, second.DueAt, until, 10)
	require.NoError(t, err)
	first.LeasedUntil = until
	require.Equal(t, []userkit.Purchase{first}, leased)
}

func TestCommitTogether(t *testing.T) {
	overBothDrivers(t, func(t *testing.T, db *bun.DB, store *postgres.Store) {
		ctx := context.Background()
		ada, bob, eve := createUser(t, store, "ada"), createUser(t, store, "bob"), createUser(t, store, "eve")
		purchase, hers := newPurchase(ada.ID, 1), newPurchase(eve.ID, 2)
		require.NoError(t, commitOne(t, store, give(&ada, purchase)))
		require.NoError(t, commitOne(t, store, give(&eve, hers)))
		unchanged := func(t *testing.T) {
			t.Helper()
			requireOwned(t, store, ada, purchase)
			requireOwned(t, store, bob)
			requireOwned(t, store, eve, hers)
		}

		t.Run("makes nothing when one change cannot be made", func(t *testing.T) {
			for name, one := range map[string]struct {
				spoil func(changes []userkit.Change)
				check func(err error)
			}{
				"the first is of another version": {
					func(changes []userkit.Change) { changes[0].Version-- },
					func(err error) { require.Equal(t, userkit.ErrConflict, err) },
				},
				"the last is of another version": {
					func(changes []userkit.Change) { changes[1].Version++ },
					func(err error) { require.Equal(t, userkit.ErrConflict, err) },
				},
				"the user is gone": {
					func(changes []userkit.Change) { changes[1].User = userkit.NewID[userkit.User]() },
					func(err error) { require.Equal(t, userkit.ErrConflict, err) },
				},
				"the user exists already": {
					func(changes []userkit.Change) {
						changes[1] = userkit.Change{User: bob.ID, Profile: &bob, Account: userkit.Account{Version: 1}}
					},
					func(err error) { require.Equal(t, userkit.ErrConflict, err) },
				},
				"the stable id is taken": {
					func(changes []userkit.Change) { changes[1].Purchases.Insert[0].StableID = hers.StableID },
					func(err error) { requireCode(t, userkit.CodePurchaseTaken, err) },
				},
				"a text cannot be kept": {
					func(changes []userkit.Change) { changes[1].Purchases.Insert[0].ProductID = "\x00" },
					func(err error) { requireCode(t, userkit.CodeBadText, err) },
				},
			} {
				t.Run(name, func(t *testing.T) {
					from, to := ada, bob
					changes, _ := move(&from, &to, purchase)
					one.spoil(changes)
					one.check(store.CommitTogether(ctx, changes))
					unchanged(t)
					slices.Reverse(changes)
					one.check(store.CommitTogether(ctx, changes))
					unchanged(t)
					require.NoError(t, db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
						bound := store.WithTx(tx)
						one.check(bound.CommitTogether(ctx, changes))
						requireOwned(t, bound, ada, purchase) // the transaction is in use
						return nil
					}))
					unchanged(t)
				})
			}
		})

		t.Run("makes nothing of no changes", func(t *testing.T) {
			require.NoError(t, store.CommitTogether(ctx, nil))
			unchanged(t)
		})

		t.Run("is part of the host's transaction", func(t *testing.T) {
			from, to := ada, bob
			changes, moved := move(&from, &to, purchase)
			tx, err := db.BeginTx(ctx, nil)
			require.NoError(t, err)
			bound := store.WithTx(tx)
			require.NoError(t, bound.CommitTogether(ctx, changes))
			requireOwned(t, bound, from)
			requireOwned(t, bound, to, moved)
			unchanged(t)
			require.NoError(t, tx.Rollback())
			unchanged(t)
			requireCode(t, userkit.CodeClosed, bound.CommitTogether(ctx, changes))

			require.NoError(t, db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
				return store.WithTx(tx).CommitTogether(ctx, changes)
			}))
			ada, bob, purchase = to, from, moved // their names do not matter below
			requireOwned(t, store, from)
			requireOwned(t, store, to, moved)
		})

		t.Run("makes all at once", func(t *testing.T) {
			changes, moved := move(&ada, &bob, purchase)
			require.NoError(t, store.CommitTogether(ctx, changes))
			requireOwned(t, store, ada)
			requireOwned(t, store, bob, moved)
			requireOwned(t, store, eve, hers)
		})

		t.Run("gives what needs a new transaction to the host", func(t *testing.T) {
			tx, err := db.BeginTx(ctx, serializable)
			require.NoError(t, err)
			defer tx.Rollback()
			bound := store.WithTx(tx)
			_, err = bound.User(ctx, eve.ID) // takes the snapshot
			require.NoError(t, err)
			late, other := eve, ada
			require.NoError(t, commitOne(t, store, touch(&eve)))
			err = bound.CommitTogether(ctx, []userkit.Change{touch(&late), touch(&other)})
			requireCode(t, userkit.CodeTooManyConflicts, err)
		})
	})
}

// What transactions that get into its way break off is made anew.
func TestCommitTogetherIsRetried(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	db := openDB(t, dsn)
	store := openStore(t, dsn)
	ada, bob := createUser(t, store, "ada"), createUser(t, store, "bob") // locked in this order
	purchase := newPurchase(ada.ID, 1)
	require.NoError(t, commitOne(t, store, give(&ada, purchase)))
	tx, err := db.Begin()
	require.NoError(t, err)
	// The host's transaction looks for deadlocks late, so the store's is the victim.
	_, err = tx.Exec("SET LOCAL deadlock_timeout = '1h'; SELECT FROM userkit.accounts WHERE user_id = ? FOR UPDATE", bob.ID.String())
	require.NoError(t, err)
	changes, moved := move(&ada, &bob, purchase)
	outcome := make(chan error, 1)
	go func() { outcome <- store.CommitTogether(ctx, changes) }()
	waitForBlocked(t, db)
	_, err = tx.Exec("SELECT FROM userkit.accounts WHERE user_id = ? FOR UPDATE", ada.ID.String())
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	require.NoError(t, <-outcome)
	requireOwned(t, store, ada)
	requireOwned(t, store, bob, moved)
}

// Of many who move one purchase to different users, as it was at the beginning, one
// does; and whichever way purchases are moved, none is lost or doubled.
func TestPurchasesMoveWhole(t *testing.T) {
	ctx := context.Background()
	store := openStore(t, migrated.Create(t))
	ada := createUser(t, store, "ada")
	purchase := newPurchase(ada.ID, 1)
	require.NoError(t, commitOne(t, store, give(&ada, purchase)))
	const callers = 6
	outcomes := make([]error, callers)
	var group sync.WaitGroup
	for caller := range callers {
		from, to := ada, createUser(t, store, fmt.Sprint("user ", caller))
		changes, _ := move(&from, &to, purchase)
		if caller%2 == 0 {
			slices.Reverse(changes)
		}
		group.Go(func() { outcomes[caller] = store.CommitTogether(ctx, changes) })
	}
	group.Wait()
	made := 0
	for _, outcome := range outcomes {
		if outcome == nil {
			made++
		} else {
			require.Equal(t, userkit.ErrConflict, outcome)
		}
	}
	require.Equal(t, 1, made)
	found, err := store.FindPurchases(ctx, purchase.Store, purchase.StableID)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.NotEqual(t, ada.ID, found[0].UserID)
}

// Who is subscribed, by the filter, is who Account.Subscribed says, at the moment of
// the end as well.
func TestSubscribedUsers(t *testing.T) {
	ctx := context.Background()
	store := openStore(t, migrated.Create(t))
	var users []userkit.User
	for _, active := range []int{0, 1, 2} {
		for _, end := range []time.Time{{}, dueFrom.Add(-time.Microsecond), dueFrom, dueFrom.Add(time.Microsecond)} {
			user := createUser(t, store, fmt.Sprint(active, " until ", end))
			user.ActivePurchases, user.PurchasesEndAt = active, end
			require.NoError(t, commitOne(t, store, touch(&user)))
			users = append(users, user)
		}
	}
	subscribed := func(u userkit.User) bool { return u.Subscribed(dueFrom) }
	for text, meets := range map[string]func(u userkit.User) bool{
		"subscribed eq true":                         subscribed,
		"subscribed eq false":                        func(u userkit.User) bool { return !subscribed(u) },
		"subscribed ne true":                         func(u userkit.User) bool { return !subscribed(u) },
		"not (subscribed eq false)":                  subscribed,
		"purchases_end_at pr":                        func(u userkit.User) bool { return !u.PurchasesEndAt.IsZero() },
		`purchases_end_at gt "2026-01-02T03:04:05Z"`: func(u userkit.User) bool { return u.PurchasesEndAt.After(dueFrom) },
	} {
		filter, err := userkit.ParseFilter(text)
		require.NoError(t, err)
		listed, err := store.Users(ctx, userkit.UserSelection{Filter: filter, Moment: userkit.Moment{At: dueFrom}},
			userkit.ListRange{Order: userkit.Order{Field: "purchases_end_at"}, Limit: 100})
		require.NoError(t, err)
		for _, user := range users {
			found := slices.ContainsFunc(listed, func(u userkit.User) bool { return u.ID == user.ID })
			require.Equal(t, meets(user), found, "%s: %d until %s", text, user.ActivePurchases, user.PurchasesEndAt)
		}
		require.True(t, slices.IsSortedFunc(listed, func(a, b userkit.User) int { return a.PurchasesEndAt.Compare(b.PurchasesEndAt) }))
	}
}
