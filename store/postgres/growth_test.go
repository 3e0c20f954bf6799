package postgres_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// BenchmarkGrowth measures what one record of each kind that grows with time takes, with
// its index entries, after ordinary use by many callers at once; see "What grows" in
// docs/operations.md.
func BenchmarkGrowth(b *testing.B) {
	const users, rounds, callers = 2000, 10, 16
	ctx := context.Background()
	for b.Loop() {
		dsn := migrated.Create(b)
		store, db := openStore(b, dsn), openDB(b, dsn)
		now := time.Date(2026, time.January, 2, 12, 0, 0, 0, time.UTC)
		var clock sync.RWMutex
		manager, err := userkit.New(store, userkit.WithClock(func() time.Time {
			clock.RLock()
			defer clock.RUnlock()
			return now
		}))
		require.NoError(b, err)
		ids := make([]userkit.UserID, users)
		devices := make([]userkit.DeviceID, users)
		eachUser := func(do func(i int) error) {
			var all sync.WaitGroup
			for caller := range callers {
				all.Go(func() {
					for i := caller; i < users; i += callers {
						if err := do(i); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
		}
		eachUser(func(i int) error {
			user, err := manager.CreateUser(ctx, userkit.NewUser{Login: fmt.Sprint("user", i), Email: fmt.Sprintf("user%d@example.org", i)})
			if err != nil {
				return err
			}
			ids[i] = user.ID
			device, err := manager.RegisterDevice(ctx, user.ID, userkit.NewDevice{Name: "a phone", Type: userkit.DeviceAndroid})
			devices[i] = device.ID
			return err
		})
		actor := userkit.WithActor(ctx, userkit.Actor{Kind: userkit.ActorAdministrator, ID: "admin-17", Name: "Grace Hopper"})
		for range rounds {
			clock.Lock()
			now = now.AddDate(0, 0, 1)
			clock.Unlock()
			eachUser(func(i int) error {
				session, err := manager.StartSession(ctx, userkit.NewSession{
					UserID: ids[i], DeviceID: devices[i], Node: "berlin-3", NodeLocation: "Berlin", InternalIP: netip.MustParseAddr("10.8.0.2"),
				})
				if err != nil {
					return err
				}
				if _, err := manager.EndSession(ctx, session.ID, userkit.UsageReport{UserID: ids[i], Received: 1e6, Sent: 1e5}); err != nil {
					return err
				}
				_, err = manager.Refill(actor, ids[i], userkit.Entry{Amount: userkit.Money{Amount: 500, Currency: "EUR"}, Key: session.ID.String(), Note: "monthly"})
				return err
			})
		}
		for _, table := range []string{userkit.RowsEvents, userkit.RowsDays, userkit.RowsSessions, userkit.RowsTransactions} {
			var bytes, count int64
			require.NoError(b, db.DB.QueryRow("SELECT pg_total_relation_size('userkit."+table+"'), (SELECT count(*) FROM userkit."+table+")").Scan(&bytes, &count))
			b.ReportMetric(float64(bytes)/float64(count), "B/"+table)
		}
		require.NoError(b, manager.Close(ctx))
	}
}
