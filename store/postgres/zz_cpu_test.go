package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

func cpuOf(pid int) time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	rest := string(text[strings.LastIndexByte(string(text), ')')+2:])
	f := strings.Fields(rest)
	var u, s int64
	fmt.Sscan(f[11], &u)
	fmt.Sscan(f[12], &s)
	return time.Duration(u+s) * 10 * time.Millisecond
}

func ownCPU() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func TestScratchCPU(t *testing.T) {
	dsn := migrated.Create(t)
	setup := openStore(t, dsn)
	db := openDB(t, dsn)
	db.SetMaxOpenConns(1)
	store, err := postgres.New(db)
	require.NoError(t, err)
	ids := scratchUsers(t, setup, 50_000)
	admin := openDB(t, dsn)
	_, err = admin.Exec("VACUUM ANALYZE")
	require.NoError(t, err)
	var pid int
	require.NoError(t, db.DB.QueryRow("select pg_backend_pid()").Scan(&pid))
	run := func(name string, size, batches int) {
		var loadCPU, commitCPU time.Duration
		own := ownCPU()
		start := time.Now()
		for b := range batches {
			var wants []userkit.Want
			var keys []string
			off := rand.IntN(len(ids))
			for i := range size {
				key := fmt.Sprintf("key-%d-%d", b, rand.Int64())
				keys = append(keys, key)
				wants = append(wants, userkit.Want{User: ids[(off+i*37)%len(ids)], TransactionKeys: []string{key}})
			}
			c0 := cpuOf(pid)
			states, err := store.Load(t.Context(), wants)
			require.NoError(t, err)
			changes := make([]userkit.Change, size)
			for i, state := range states {
				changes[i] = refillChange(state, keys[i])
			}
			c1 := cpuOf(pid)
			out, err := store.Commit(t.Context(), changes)
			require.NoError(t, err)
			for _, e := range out {
				require.NoError(t, e)
			}
			c2 := cpuOf(pid)
			loadCPU += c1 - c0
			commitCPU += c2 - c1
		}
		n := time.Duration(size * batches)
		fmt.Printf("%-20s size=%d: server load=%v commit=%v  own=%v wall=%v per refill\n", name, size, loadCPU/n, commitCPU/n, (ownCPU()-own)/n, time.Since(start)/n)
	}
	exec := func(sql string) {
		_, err := admin.DB.Exec("set search_path to userkit; " + sql)
		require.NoError(t, err)
	}
	run("base", 64, 300)
	run("base", 64, 300)
	run("base", 1, 2000)
	exec("alter table transactions drop constraint transactions_user_fkey")
	run("no fk transactions", 64, 300)
	exec("drop index events_by_at; drop index events_by_user; drop index events_by_position; drop index transactions_by_at")
	run("few indexes", 64, 300)
	_ = bun.Ident("")
}
