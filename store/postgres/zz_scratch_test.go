package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/pgtest"
	"github.com/userkit/userkit/store/postgres"
)

func scratchUsers(t testing.TB, store *postgres.Store, n int) []userkit.UserID {
	ids := make([]userkit.UserID, n)
	now := time.Now().UTC().Truncate(time.Microsecond)
	for from := 0; from < n; from += 1000 {
		var changes []userkit.Change
		for i := from; i < min(from+1000, n); i++ {
			ids[i] = userkit.NewID[userkit.User]()
			u := &userkit.User{ID: ids[i], Login: fmt.Sprintf("user%d", i), Email: fmt.Sprintf("user%d@example.org", i), Name: "Ada", Status: userkit.StatusActive, Kind: userkit.UserIndividual, RegisteredAt: now, UpdatedAt: now, Revision: 1}
			changes = append(changes, userkit.Change{User: ids[i], Profile: u, Account: userkit.Account{Version: 1, Balance: userkit.Money{Currency: "EUR"}, Traffic: userkit.Traffic{Limit: userkit.TrafficLimit{Reset: userkit.ResetDaily}}}})
		}
		out, err := store.Commit(t.Context(), changes)
		require.NoError(t, err)
		for _, e := range out {
			require.NoError(t, e)
		}
	}
	return ids
}

func envInt(name string, def int) int {
	if v, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return v
	}
	return def
}

func TestScratchRefill(t *testing.T) {
	server := pgtest.Start(t)
	dsn := migrated.CreateOn(t, server.DSN())
	store := openStore(t, dsn)
	ids := scratchUsers(t, store, 100_000)
	db := openDB(t, dsn)
	_, err := db.Exec("VACUUM ANALYZE")
	require.NoError(t, err)
	if os.Getenv("NOFK") != "" {
		_, err = db.Exec("alter table userkit.transactions drop constraint transactions_user_fkey")
		require.NoError(t, err)
	}
	_, err = db.Exec("create table ids as select row_number() over () as n, user_id from userkit.accounts; alter table ids add primary key (n); analyze ids")
	require.NoError(t, err)
	bench := func(clients int) {
		u, _ := url.Parse(dsn)
		out, err := exec.Command(filepath.Join(server.Binaries(), "pgbench"), "-h", "127.0.0.1", "-p", u.Port(), "-U", "postgres", "-n", "-M", "prepared", "-f", "/tmp/pgw/refill.sql", "-c", fmt.Sprint(clients), "-j", "4", "-T", os.Getenv("SECS"), strings.TrimPrefix(u.Path, "/")).CombinedOutput()
		require.NoError(t, err, string(out))
		for _, l := range strings.Split(string(out), "\n") {
			if strings.HasPrefix(l, "tps") {
				fmt.Println("pgbench", clients, l)
			}
		}
	}
	bench(1)
	bench(8)
	bench(64)
	for _, shape := range [][2]int{{1, 1}, {2, 4}, {4, 16}, {2, 32}, {1, 64}, {4, 128}} {
		lanes, size := shape[0], shape[1]
		var done atomic.Int64
		var loadTime, commitTime atomic.Int64
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(envInt("SECS", 4))*time.Second)
		var wg sync.WaitGroup
		start := time.Now()
		for lane := range lanes {
			wg.Go(func() {
				part := ids[lane*len(ids)/lanes : (lane+1)*len(ids)/lanes]
				for ctx.Err() == nil {
					seen := map[int]bool{}
					var wants []userkit.Want
					var keys []string
					for len(wants) < size {
						i := rand.IntN(len(part))
						if seen[i] {
							continue
						}
						seen[i] = true
						key := fmt.Sprintf("key-%d", rand.Int64())
						keys = append(keys, key)
						wants = append(wants, userkit.Want{User: part[i], TransactionKeys: []string{key}})
					}
					a := time.Now()
					states, err := store.Load(context.Background(), wants)
					if err != nil {
						t.Error(err)
						return
					}
					b := time.Now()
					changes := make([]userkit.Change, size)
					now := b.UTC().Truncate(time.Microsecond)
					for i, state := range states {
						acc := state.User.Account
						tr := userkit.Transaction{ID: userkit.NewID[userkit.Transaction](), UserID: wants[i].User, Sequence: acc.TransactionSequence + 1, Kind: userkit.TransactionRefill, Amount: userkit.Money{Amount: 5, Currency: "EUR"}, Balance: userkit.Money{Amount: acc.Balance.Amount + 5, Currency: "EUR"}, Key: keys[i], Actor: userkit.Actor{Kind: "system"}, At: now, Previous: acc.LastTransaction}
						acc.Version++
						acc.TransactionSequence++
						acc.Balance.Amount += 5
						acc.LastTransaction = tr.ID
						changes[i] = userkit.Change{User: wants[i].User, Version: acc.Version - 1, Account: acc, Transactions: userkit.Records[userkit.Transaction, userkit.TransactionID]{Insert: []userkit.Transaction{tr}},
							Events: []userkit.Event{{ID: userkit.NewID[userkit.Event](), UserID: wants[i].User, Name: userkit.EventBalanceRefilled, Actor: userkit.Actor{Kind: "system"}, At: now, Data: []byte(`{"amount":5,"currency":"EUR","transaction":"` + tr.ID.String() + `"}`)}}}
					}
					out, err := store.Commit(context.Background(), changes)
					if err != nil {
						t.Error(err)
						return
					}
					for _, e := range out {
						if e != nil {
							t.Error(e)
						}
					}
					c := time.Now()
					loadTime.Add(int64(b.Sub(a)))
					commitTime.Add(int64(c.Sub(b)))
					done.Add(int64(size))
				}
			})
		}
		wg.Wait()
		cancel()
		took := time.Since(start)
		batches := done.Load() / int64(size)
		fmt.Printf("lanes=%d size=%d: %.0f/s load=%v commit=%v\n", lanes, size, float64(done.Load())/took.Seconds(), time.Duration(loadTime.Load()/batches), time.Duration(commitTime.Load()/batches))
	}
}
