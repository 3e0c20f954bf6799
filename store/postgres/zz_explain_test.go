package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

type capture struct {
	mu         sync.Mutex
	statements []string
}

func (c *capture) BeforeQuery(ctx context.Context, event *bun.QueryEvent) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statements = append(c.statements, event.Query)
	return ctx
}
func (c *capture) AfterQuery(context.Context, *bun.QueryEvent) {}
func (c *capture) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.statements
	c.statements = nil
	return s
}

func explain(t *testing.T, db *bun.DB, statement string) {
	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	rows, err := tx.Tx.Query("EXPLAIN (ANALYZE, BUFFERS OFF) " + statement)
	require.NoError(t, err)
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		if len(line) > 200 {
			line = line[:200]
		}
		fmt.Println(line)
	}
	require.NoError(t, rows.Err())
}

func TestScratchExplain(t *testing.T) {
	dsn := migrated.Create(t)
	db := openDB(t, dsn)
	hook := &capture{}
	db = db.WithQueryHook(hook)
	store, err := postgres.New(db)
	require.NoError(t, err)
	plain := openDB(t, dsn)
	ids := scratchUsers(t, store, 50_000)
	_, err = plain.Exec("VACUUM ANALYZE")
	require.NoError(t, err)
	refill := func(size, from int) {
		var wants []userkit.Want
		for i := range size {
			wants = append(wants, userkit.Want{User: ids[(from+i*7)%len(ids)], TransactionKeys: []string{fmt.Sprintf("key-%d-%d-%d", size, from, i)}})
		}
		states, err := store.Load(t.Context(), wants)
		require.NoError(t, err)
		changes := make([]userkit.Change, size)
		for i, state := range states {
			changes[i] = refillChange(state, fmt.Sprintf("key-%d-%d-%d", size, from, i))
		}
		out, err := store.Commit(t.Context(), changes)
		require.NoError(t, err)
		for _, e := range out {
			require.NoError(t, e)
		}
	}
	for i := range 30 {
		refill(1000, i*1000)
	}
	for _, size := range []int{64, 1000} {
		hook.take()
		refill(size, 77777)
		for _, st := range hook.take() {
			fmt.Println("==== size", size, len(st))
			explain(t, plain, st)
		}
	}
}

func refillChange(state userkit.State, key string) userkit.Change {
	acc := state.User.Account
	now := state.User.ID.Time()
	tr := userkit.Transaction{ID: userkit.NewID[userkit.Transaction](), UserID: state.User.ID, Sequence: acc.TransactionSequence + 1, Kind: userkit.TransactionRefill, Amount: userkit.Money{Amount: 5, Currency: "EUR"}, Balance: userkit.Money{Amount: acc.Balance.Amount + 5, Currency: "EUR"}, Key: key, Actor: userkit.Actor{Kind: "system"}, At: now, Previous: acc.LastTransaction}
	acc.Version++
	acc.TransactionSequence++
	acc.Balance.Amount += 5
	acc.LastTransaction = tr.ID
	return userkit.Change{User: state.User.ID, Version: acc.Version - 1, Account: acc, Transactions: userkit.Records[userkit.Transaction, userkit.TransactionID]{Insert: []userkit.Transaction{tr}},
		Events: []userkit.Event{{ID: userkit.NewID[userkit.Event](), UserID: state.User.ID, Name: userkit.EventBalanceRefilled, Actor: userkit.Actor{Kind: "system"}, At: now, Data: []byte(`{"amount":5,"currency":"EUR","transaction":"` + tr.ID.String() + `"}`)}}}
}
