package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/pgtest"
	"github.com/userkit/userkit/store/postgres"
)

// A server that is killed under load and started again has every refill that was
// acknowledged, once, and the managers go on by themselves.
func TestServerKilledUnderLoad(t *testing.T) {
	ctx := context.Background()
	server := pgtest.Start(t)
	dsn := migrated.CreateOn(t, server.DSN())
	var managers []userkit.Manager
	for range 2 { // two processes
		store, err := postgres.Open(ctx, dsn)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		m, err := userkit.New(store)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, m.Close(context.Background())) })
		managers = append(managers, m)
	}
	users := make([]userkit.UserID, 10)
	acknowledged := make([]atomic.Int64, len(users))
	for i := range users {
		user, err := managers[0].CreateUser(ctx, userkit.NewUser{})
		require.NoError(t, err)
		users[i] = user.ID
	}

	var total, failed atomic.Int64
	var stop atomic.Bool
	var group sync.WaitGroup
	for caller := range 32 {
		group.Go(func() {
			for i := 0; !stop.Load(); i++ {
				entry := userkit.Entry{Amount: userkit.Money{Amount: 1, Currency: "EUR"}, Key: fmt.Sprintf("caller %d, refill %d", caller, i)}
				number := (caller + i) % len(users)
				for {
					_, err := managers[caller%2].Refill(ctx, users[number], entry)
					if err == nil {
						break
					}
					if !errors.Is(err, userkit.ErrUnavailable) {
						t.Errorf("a fault of the server came out as %v", err)
						return
					}
					failed.Add(1)
					time.Sleep(20 * time.Millisecond) // a caller's own pause; nothing is decided by it
				}
				acknowledged[number].Add(1)
				total.Add(1)
			}
		})
	}
	reach := func(count *atomic.Int64, more int64) {
		goal := count.Load() + more
		require.Eventually(t, func() bool { return count.Load() >= goal || t.Failed() }, 2*time.Minute, 5*time.Millisecond)
	}
	for range 3 {
		reach(&total, 200)
		require.NoError(t, server.Kill())
		reach(&failed, 32)
		require.NoError(t, server.Restart())
		reach(&total, 200)
	}
	stop.Store(true)
	group.Wait()

	for i, id := range users {
		user, err := managers[0].User(ctx, id)
		require.NoError(t, err)
		require.Equal(t, acknowledged[i].Load(), user.Balance.Amount, "user %d: acknowledged, and there", i)
		require.Equal(t, acknowledged[i].Load(), user.TransactionSequence)
	}
	for mismatch, err := range managers[0].VerifyBalances(ctx) {
		require.NoError(t, err)
		t.Errorf("the ledger does not add up: %+v", mismatch)
	}
}

// interrupter is a query hook that does something once, before or after the first
// statement that is chosen.
type interrupter struct {
	chosen        func(statement string) bool
	before, after func()
}

func (i *interrupter) BeforeQuery(ctx context.Context, event *bun.QueryEvent) context.Context {
	i.interrupt(event, &i.before)
	return ctx
}

func (i *interrupter) AfterQuery(_ context.Context, event *bun.QueryEvent) {
	i.interrupt(event, &i.after)
}

func (i *interrupter) interrupt(event *bun.QueryEvent, work *func()) {
	if *work != nil && i.chosen(event.Query) {
		(*work)()
		*work = nil
	}
}

// A server that is killed at any point of a transfer has made all of it or nothing,
// and all once it was acknowledged.
func TestServerKilledDuringATransfer(t *testing.T) {
	ctx := context.Background()
	server := pgtest.Start(t)
	dsn := migrated.CreateOn(t, server.DSN())
	store := openStore(t, dsn)
	ada, bob := createUser(t, store, "ada"), createUser(t, store, "bob")
	purchase := newPurchase(ada.ID, 1)
	require.NoError(t, commitOne(t, store, give(&ada, purchase)))
	kill := func() { require.NoError(t, server.Kill()) }
	isWork := func(statement string) bool { return strings.Contains(statement, "purchases") }
	isCommit := func(statement string) bool { return statement == "COMMIT" }
	for _, point := range []struct {
		name string
		hook *interrupter
		made bool
	}{
		{"before the statement", &interrupter{chosen: isWork, before: kill}, false},
		{"after the statement", &interrupter{chosen: isWork, after: kill}, false},
		{"before the end of the transaction", &interrupter{chosen: isCommit, before: kill}, false},
		{"after the end of the transaction", &interrupter{chosen: isCommit, after: kill}, true},
	} {
		t.Run(point.name, func(t *testing.T) {
			interrupted, err := postgres.New(openDB(t, dsn).WithQueryHook(point.hook))
			require.NoError(t, err)
			from, to := ada, bob
			changes, moved := move(&from, &to, purchase)
			err = interrupted.CommitTogether(ctx, changes)
			require.NoError(t, server.Restart())
			if point.made {
				require.NoError(t, err)
				requireOwned(t, store, from)
				requireOwned(t, store, to, moved)
				return
			}
			requireCode(t, userkit.CodeStoreUnavailable, err)
			requireOwned(t, store, ada, purchase)
			requireOwned(t, store, bob)
		})
	}
}

// A server that is killed while purchases are leased hands out none twice before its
// lease is over, and then all of them.
func TestServerKilledDuringLeases(t *testing.T) {
	ctx := context.Background()
	server := pgtest.Start(t)
	dsn := migrated.CreateOn(t, server.DSN())
	stores := []*postgres.Store{openStore(t, dsn), openStore(t, dsn)}
	const users = 300
	crowd(t, stores[0], users)
	now := dueFrom.AddDate(0, 0, 1)
	until := now.Add(time.Minute)
	var mu sync.Mutex
	leases := map[userkit.PurchaseID]int{}
	var killing sync.Once
	var group sync.WaitGroup
	for caller := range 4 {
		group.Go(func() {
			for !t.Failed() {
				leased, err := stores[caller%2].LeasePurchases(ctx, []string{"apple"}, now, until, 10)
				mu.Lock()
				for _, purchase := range leased {
					leases[purchase.ID]++
				}
				half := len(leases) >= users
				mu.Unlock()
				switch {
				case errors.Is(err, userkit.ErrUnavailable):
					time.Sleep(20 * time.Millisecond) // a caller's own pause; nothing is decided by it
				case err != nil:
					t.Error(err)
				case len(leased) == 0:
					return
				}
				if half {
					killing.Do(func() {
						if err := errors.Join(server.Kill(), server.Restart()); err != nil {
							t.Error(err)
						}
					})
				}
			}
		})
	}
	group.Wait()
	require.GreaterOrEqual(t, len(leases), users)
	for _, times := range leases {
		require.Equal(t, 1, times)
	}
	leased, err := stores[0].LeasePurchases(ctx, []string{"apple"}, until, until.Add(time.Minute), 3*users+1)
	require.NoError(t, err)
	require.Len(t, leased, 3*users)
}
