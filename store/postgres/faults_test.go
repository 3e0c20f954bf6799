package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
		t.Cleanup(func() { require.NoError(t, m.Close()) })
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
					time.Sleep(time.Millisecond) // a caller's own pause; nothing is decided by it
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
		reach(&total, 500)
		require.NoError(t, server.Kill())
		reach(&failed, 32)
		require.NoError(t, server.Restart())
		reach(&total, 500)
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
