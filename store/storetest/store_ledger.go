package storetest

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func storeLedgerGroups() []group {
	return []group{
		{"Transactions", []testCase{
			{"of an empty store is empty", transactionsEmpty},
			{"gives transactions with every field", transactionsEveryField},
			{"sorts by every field, both ways", transactionsOrder},
			{"pages by every field, both ways", transactionsPages},
			{"leaves out cancelled ones unless they are asked for", transactionsCancelled},
			{"takes the transactions that every part of the filter takes", transactionsFilters},
			{"takes transactions made from From on and before To", transactionsSpan},
			{"follows a cancellation", transactionsAfterCancel},
			{"follows changes of every field", transactionsOrderAfterChange},
		}},
		{"Ledgers", []testCase{
			{"of an empty store is empty", ledgersEmpty},
			{"sums up a ledger without transactions", ledgerWithoutTransactions},
			{"sums up a ledger that adds up", ledgerThatAddsUp},
			{"leaves cancelled transactions out of the sum", ledgerWithCancelled},
			{"of cancelled transactions only has no last one", ledgerOnlyCancelled},
			{"names the first transaction whose balance does not follow", ledgerBroken},
			{"tells what is there and not what the account says", ledgerAgainstAccount},
			{"copes with numbers at the edge of int64", ledgerExtremes},
			{"gives ledgers in order of user id, page by page", ledgerPages},
			{"are each of one moment", ledgerOneMoment},
		}},
	}
}

// hardTransaction makes a transaction for lists, with times and sequences many
// of which are equal.
func hardTransaction(owner userkit.UserID, n int) userkit.Transaction {
	times := []time.Time{at(0), at(1), at(-1), at(0), time.Unix(0, 0).UTC(), base.Add(time.Microsecond), at(40_000_000)}
	transaction := newCountingTransaction(owner, n)
	if n%3 == 1 {
		transaction = newTransaction(owner, n)
	}
	transaction.At = pick(times, n, 3)
	transaction.Sequence = int64(1 + n/listOwners)
	return transaction
}

// transactionRecords creates transactions of several users.
func transactionRecords(t *testing.T, store userkit.Store, owners []userkit.User) []userkit.Transaction {
	t.Helper()
	records := make([]userkit.Transaction, listRecords)
	for _, n := range shuffled(listRecords) {
		owner := &owners[n%listOwners]
		records[n] = hardTransaction(owner.ID, n)
		change := step(owner)
		change.Transactions.Insert = records[n : n+1]
		commit(t, store, change)
	}
	return records
}

func listingOfTransactions(t *testing.T, store userkit.Store, filter userkit.TransactionFilter, records []userkit.Transaction) listing[userkit.Transaction] {
	return listing[userkit.Transaction]{
		fields:  userkit.TransactionFields(),
		id:      transactionRecordID,
		records: records,
		list: func(list userkit.ListRange) ([]userkit.Transaction, error) {
			return store.Transactions(t.Context(), filter, list)
		},
		equal: func(t *testing.T, want, got []userkit.Transaction) {
			t.Helper()
			requireList(t, want, got, transactionRecordID)
		},
	}
}

func transactionsEmpty(t *testing.T, env env) {
	create(t, env.store, newUser(1))
	for _, filter := range transactionFilters() {
		listingOfTransactions(t, env.store, filter, nil).requireOrder(t)
	}
}

func transactionsEveryField(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	listingOfTransactions(t, env.store, userkit.TransactionFilter{IncludeCancelled: true}, slices.Concat(d.transactions, other.transactions)).requireOrder(t)
}

func transactionsOrder(t *testing.T, env env) {
	records := transactionRecords(t, env.store, ownersOfLists(t, env.store))
	listingOfTransactions(t, env.store, userkit.TransactionFilter{IncludeCancelled: true}, records).requireOrder(t)
}

func transactionsPages(t *testing.T, env env) {
	records := transactionRecords(t, env.store, ownersOfLists(t, env.store))
	for _, filter := range []userkit.TransactionFilter{{}, {IncludeCancelled: true}, {UserID: userID(1), IncludeCancelled: true}, {UserID: userID(2)}, {From: at(-1), To: at(1)}} {
		listingOfTransactions(t, env.store, filter, belonging(records, takesTransaction(filter))).requirePages(t)
	}
}

// takesTransaction is the meaning of a filter.
func takesTransaction(filter userkit.TransactionFilter) func(transaction userkit.Transaction) bool {
	return func(transaction userkit.Transaction) bool {
		return (filter.UserID.IsZero() || transaction.UserID == filter.UserID) &&
			(filter.IncludeCancelled || !transaction.Cancelled()) &&
			(filter.From.IsZero() || !transaction.At.Before(filter.From)) &&
			(filter.To.IsZero() || transaction.At.Before(filter.To))
	}
}

// transactionFilters returns every combination of the parts of a filter.
func transactionFilters() []userkit.TransactionFilter {
	var filters []userkit.TransactionFilter
	for _, user := range []userkit.UserID{{}, userID(1), userID(listOwners - 1), userID(900)} {
		for _, cancelled := range []bool{false, true} {
			for _, span := range [][2]time.Time{{}, {at(0), {}}, {{}, at(1)}, {at(-1), at(1)}, {time.Unix(0, 0).UTC(), at(0)}} {
				filters = append(filters, userkit.TransactionFilter{UserID: user, IncludeCancelled: cancelled, From: span[0], To: span[1]})
			}
		}
	}
	return filters
}

func transactionsCancelled(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	listingOfTransactions(t, env.store, userkit.TransactionFilter{}, []userkit.Transaction{d.transactions[1], other.transactions[1]}).requireOrder(t)
	listingOfTransactions(t, env.store, userkit.TransactionFilter{UserID: d.user.ID}, d.transactions[1:]).requireOrder(t)
	listingOfTransactions(t, env.store, userkit.TransactionFilter{UserID: d.user.ID, IncludeCancelled: true}, d.transactions).requireOrder(t)
}

func transactionsFilters(t *testing.T, env env) {
	records := transactionRecords(t, env.store, ownersOfLists(t, env.store))
	for _, filter := range transactionFilters() {
		listingOfTransactions(t, env.store, filter, belonging(records, takesTransaction(filter))).requireOrder(t)
	}
}

func transactionsSpan(t *testing.T, env env) {
	d := dossier{user: newUser(1)}
	for n, made := range []time.Time{at(0).Add(-time.Microsecond), at(0), at(0).Add(time.Microsecond)} {
		transaction := newCountingTransaction(d.user.ID, n)
		transaction.At = made
		d.transactions = append(d.transactions, transaction)
	}
	createAll(t, env.store, d)
	for _, span := range []struct {
		from, to time.Time
		want     []userkit.Transaction
	}{
		{at(0), time.Time{}, d.transactions[1:]},
		{time.Time{}, at(0), d.transactions[:1]},
		{at(0), at(0).Add(time.Microsecond), d.transactions[1:2]},
		{at(0), at(0), nil},
		{at(1), at(-1), nil},
		{at(-1), at(1), d.transactions},
	} {
		for _, user := range []userkit.UserID{{}, d.user.ID} {
			listingOfTransactions(t, env.store, userkit.TransactionFilter{UserID: user, From: span.from, To: span.to}, span.want).requireOrder(t)
		}
	}
}

func transactionsAfterCancel(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	change := step(&d.user)
	d.transactions[1].CancelledAt, d.transactions[1].CancelledBy = at(99), newActor(99)
	change.Transactions.Update = d.transactions[1:]
	commit(t, env.store, change)
	listingOfTransactions(t, env.store, userkit.TransactionFilter{}, other.transactions[1:]).requireOrder(t)
	listingOfTransactions(t, env.store, userkit.TransactionFilter{UserID: d.user.ID, IncludeCancelled: true}, d.transactions).requireOrder(t)
	requireDossier(t, env.store, d)
	requireDossier(t, env.store, other)
}

func transactionsOrderAfterChange(t *testing.T, env env) {
	owners := ownersOfLists(t, env.store)
	records := transactionRecords(t, env.store, owners)
	var left []userkit.Transaction
	for _, n := range shuffled(listRecords) {
		change := step(&owners[n%listOwners])
		if n%5 == 0 {
			change.Transactions.Delete = []userkit.TransactionID{records[n].ID}
		} else {
			changed := hardTransaction(records[n].UserID, n+5)
			changed.ID, changed.Sequence, changed.Key = records[n].ID, records[n].Sequence+100, fmt.Sprint("another ", n)
			change.Transactions.Update = []userkit.Transaction{changed}
			left = append(left, changed)
		}
		commit(t, env.store, change)
	}
	for _, filter := range transactionFilters() {
		listingOfTransactions(t, env.store, filter, belonging(left, takesTransaction(filter))).requireOrder(t)
	}
	for _, transaction := range left {
		state := loadOne(t, env.store, userkit.Want{User: transaction.UserID, TransactionKeys: []string{transaction.Key}})
		require.Equal(t, []userkit.Transaction{transaction}, state.Transactions)
	}
	for _, transaction := range records {
		state := loadOne(t, env.store, userkit.Want{User: transaction.UserID, TransactionKeys: []string{transaction.Key}})
		require.Empty(t, state.Transactions)
	}
}

// line is a transaction of a test ledger: what it does to the balance, the
// balance that it states, and whether it is cancelled.
type line struct {
	delta, balance int64
	cancelled      bool
}

// newLedger makes a user whose transactions have the sequences from 1 on.
// Transaction ids are those from 1000 times the user's number on, in an order
// that is not that of the sequences.
func newLedger(n int, lines ...line) dossier {
	d := dossier{user: newUser(n)}
	for i, line := range lines {
		transaction := newCountingTransaction(d.user.ID, 1000*n+(i*7+3)%11+11*(i/11))
		if line.cancelled {
			transaction.CancelledAt, transaction.CancelledBy = at(1), newActor(1)
		}
		transaction.Kind, transaction.Amount.Amount = userkit.TransactionRefill, line.delta
		if line.delta < 0 {
			transaction.Kind, transaction.Amount.Amount = userkit.TransactionCharge, -line.delta
		}
		transaction.Sequence = int64(i + 1)
		transaction.At = at(100 - i) // the order is that of the sequences
		transaction.Balance.Amount = line.balance
		transaction.Key = fmt.Sprintf("key %d", i)
		d.transactions = append(d.transactions, transaction)
	}
	return d
}

// requireLedger demands the ledger of one user.
func requireLedger(t *testing.T, store userkit.Store, want userkit.Ledger) {
	t.Helper()
	ledgers, err := store.Ledgers(t.Context(), userkit.UserID{}, whole)
	require.NoError(t, err)
	index := slices.IndexFunc(ledgers, func(ledger userkit.Ledger) bool { return ledger.UserID == want.UserID })
	require.NotEqual(t, -1, index, "the user has no ledger")
	require.Equal(t, want, ledgers[index])
}

func ledgersEmpty(t *testing.T, env env) {
	ledgers, err := env.store.Ledgers(t.Context(), userkit.UserID{}, 10)
	require.NoError(t, err)
	require.Empty(t, ledgers)
}

func ledgerWithoutTransactions(t *testing.T, env env) {
	createAll(t, env.store, newLedger(1), newLedger(2, line{delta: 5, balance: 5}))
	requireLedger(t, env.store, userkit.Ledger{UserID: userID(1), Account: newAccount(1)})
}

func ledgerThatAddsUp(t *testing.T, env env) {
	var lines []line
	var balance int64
	for i := range 25 {
		delta := int64(100 + i)
		if i%3 == 2 {
			delta = -delta
		}
		balance += delta
		lines = append(lines, line{delta: delta, balance: balance})
	}
	d := newLedger(1, lines...)
	createAll(t, env.store, d, newLedger(2, line{delta: 1, balance: 9}))
	requireLedger(t, env.store, userkit.Ledger{
		UserID: d.user.ID, Account: d.user.Account, Count: 25, MaxSequence: 25, Sum: balance,
		LastSequence: 25, Last: d.transactions[24].ID,
	})
}

func ledgerWithCancelled(t *testing.T, env env) {
	between := newLedger(1,
		line{delta: 100, balance: 100}, line{delta: -30, balance: 70, cancelled: true},
		line{delta: 50, balance: 150, cancelled: true}, line{delta: -20, balance: 80})
	last := newLedger(2,
		line{delta: 100, balance: 100}, line{delta: -30, balance: 70}, line{delta: 5, balance: 75, cancelled: true})
	first := newLedger(3, line{delta: 7, balance: 7, cancelled: true}, line{delta: 8, balance: 8})
	createAll(t, env.store, between, last, first)
	requireLedger(t, env.store, userkit.Ledger{
		UserID: between.user.ID, Account: between.user.Account, Count: 4, MaxSequence: 4, Sum: 80,
		LastSequence: 4, Last: between.transactions[3].ID,
	})
	requireLedger(t, env.store, userkit.Ledger{
		UserID: last.user.ID, Account: last.user.Account, Count: 3, MaxSequence: 3, Sum: 70,
		LastSequence: 2, Last: last.transactions[1].ID,
	})
	requireLedger(t, env.store, userkit.Ledger{
		UserID: first.user.ID, Account: first.user.Account, Count: 2, MaxSequence: 2, Sum: 8,
		LastSequence: 2, Last: first.transactions[1].ID,
	})
}

func ledgerOnlyCancelled(t *testing.T, env env) {
	d := newLedger(1, line{delta: 7, balance: 7, cancelled: true}, line{delta: -2, balance: 1234, cancelled: true})
	createAll(t, env.store, d)
	requireLedger(t, env.store, userkit.Ledger{UserID: d.user.ID, Account: d.user.Account, Count: 2, MaxSequence: 2})
}

func ledgerBroken(t *testing.T, env env) {
	good := newLedger(1, line{delta: 10, balance: 10}, line{delta: 10, balance: 20})
	tampered := []struct {
		broken int64
		lines  []line
	}{
		{1, []line{{delta: 10, balance: 11}, {delta: 10, balance: 21}}},
		{2, []line{{delta: 10, balance: 10}, {delta: 10, balance: 21}, {delta: 10, balance: 31}}},
		{2, []line{{delta: 10, balance: 10}, {delta: 10, balance: 21}, {delta: 10, balance: 30}}},
		{3, []line{{delta: 10, balance: 10}, {delta: 10, balance: 20}, {delta: -10, balance: 30}}},
		// The cancelled one is passed over, and what follows it is looked at.
		{3, []line{{delta: 10, balance: 10}, {delta: 10, balance: 20, cancelled: true}, {delta: 5, balance: 25}}},
		{0, []line{{delta: 10, balance: 10}, {delta: 10, balance: 999, cancelled: true}, {delta: 5, balance: 15}}},
	}
	dossiers := []dossier{good}
	for i, ledger := range tampered {
		dossiers = append(dossiers, newLedger(2+i, ledger.lines...))
	}
	createAll(t, env.store, dossiers...)
	ledgers, err := env.store.Ledgers(t.Context(), userkit.UserID{}, whole)
	require.NoError(t, err)
	require.Len(t, ledgers, len(dossiers))
	require.Zero(t, ledgers[0].Broken)
	for i, ledger := range tampered {
		require.Equal(t, ledger.broken, ledgers[1+i].Broken, "ledger %d: %v", i, ledger.lines)
	}

	// One that is tampered with later.
	change := step(&good.user)
	good.transactions[1].Balance.Amount++
	change.Transactions.Update = good.transactions[1:]
	commit(t, env.store, change)
	requireLedger(t, env.store, userkit.Ledger{
		UserID: good.user.ID, Account: good.user.Account, Count: 2, MaxSequence: 2, Sum: 20,
		LastSequence: 2, Last: good.transactions[1].ID, Broken: 2,
	})
}

func ledgerAgainstAccount(t *testing.T, env env) {
	// A line is missing in the middle, and the account tells another story.
	d := newLedger(1, line{delta: 10, balance: 10}, line{delta: 5, balance: 15}, line{delta: -3, balance: 12})
	d.user.Balance.Amount, d.user.TransactionSequence, d.user.LastTransaction = 999, 77, transactionID(3)
	d.transactions = slices.Delete(d.transactions, 1, 2)
	createAll(t, env.store, d)
	requireLedger(t, env.store, userkit.Ledger{
		UserID: d.user.ID, Account: d.user.Account, Count: 2, MaxSequence: 3, Sum: 7,
		LastSequence: 3, Last: d.transactions[1].ID, Broken: 3,
	})
}

func ledgerExtremes(t *testing.T, env env) {
	top := newLedger(1, line{delta: math.MaxInt64, balance: math.MaxInt64})
	down := newLedger(2, line{delta: -math.MaxInt64, balance: -math.MaxInt64}, line{delta: -1, balance: math.MinInt64}, line{delta: math.MaxInt64, balance: -1})
	// A balance beyond int64 is broken, whatever is stated, and is no error.
	over := newLedger(3, line{delta: math.MaxInt64, balance: math.MaxInt64}, line{delta: 10, balance: 5}, line{delta: -math.MaxInt64, balance: 5 - math.MaxInt64})
	createAll(t, env.store, top, down, over)
	requireLedger(t, env.store, userkit.Ledger{
		UserID: top.user.ID, Account: top.user.Account, Count: 1, MaxSequence: 1, Sum: math.MaxInt64, LastSequence: 1, Last: top.transactions[0].ID,
	})
	requireLedger(t, env.store, userkit.Ledger{
		UserID: down.user.ID, Account: down.user.Account, Count: 3, MaxSequence: 3, Sum: -1, LastSequence: 3, Last: down.transactions[2].ID,
	})
	ledgers, err := env.store.Ledgers(t.Context(), userID(2), whole)
	require.NoError(t, err)
	require.Len(t, ledgers, 1)
	require.EqualValues(t, 2, ledgers[0].Broken)
}

func ledgerPages(t *testing.T, env env) {
	const users = 7
	var want []userkit.Ledger
	dossiers := make([]dossier, users)
	for n := range users {
		if n%2 == 0 {
			dossiers[n] = newLedger(2 * n)
			want = append(want, userkit.Ledger{UserID: userID(2 * n), Account: newAccount(2 * n)})
			continue
		}
		dossiers[n] = newLedger(2*n, line{delta: 3, balance: 3}, line{delta: int64(n), balance: 3 + int64(n)})
		want = append(want, userkit.Ledger{
			UserID: userID(2 * n), Account: newAccount(2 * n), Count: 2, MaxSequence: 2, Sum: 3 + int64(n), LastSequence: 2, Last: dossiers[n].transactions[1].ID,
		})
	}
	for _, n := range []int{3, 0, 6, 1, 5, 4, 2} {
		createAll(t, env.store, dossiers[n])
	}
	for _, limit := range []int{1, 2, 3, users, users + 1} {
		walked := []userkit.Ledger{}
		var after userkit.UserID
		for {
			page, err := env.store.Ledgers(t.Context(), after, limit)
			require.NoError(t, err)
			require.LessOrEqual(t, len(page), limit)
			walked = append(walked, page...)
			require.LessOrEqual(t, len(walked), users, "ledgers come twice")
			if len(page) < limit {
				break
			}
			after = page[len(page)-1].UserID
		}
		require.Equal(t, want, walked, "%d a page", limit)
	}
	// After ids that no user has.
	for n := -1; n < 2*users; n += 2 {
		ledgers, err := env.store.Ledgers(t.Context(), userID(n), whole)
		require.NoError(t, err)
		require.Equal(t, want[(n+1)/2:], append([]userkit.Ledger{}, ledgers...))
	}
}

// ledgerOneMoment: while transactions come in, no ledger may show an account
// and transactions that never stood together.
func ledgerOneMoment(t *testing.T, env env) {
	const transactions = 400
	d := newLedger(1)
	d.user.Balance.Amount, d.user.TransactionSequence, d.user.LastTransaction = 0, 0, userkit.TransactionID{}
	createAll(t, env.store, d, newLedger(2))
	done := make(chan struct{})
	user := d.user
	go func() {
		defer close(done)
		for n := 1; n <= transactions; n++ {
			transaction := newCountingTransaction(user.ID, n)
			transaction.Kind, transaction.Sequence = userkit.TransactionRefill, int64(n)
			user.Balance.Amount += transaction.Amount.Amount
			transaction.Balance.Amount = user.Balance.Amount
			user.TransactionSequence, user.LastTransaction = transaction.Sequence, transaction.ID
			change := step(&user)
			change.Transactions.Insert = []userkit.Transaction{transaction}
			if errs, err := env.store.Commit(t.Context(), []userkit.Change{change}); err != nil || errs[0] != nil {
				t.Errorf("transaction %d: %v, %v", n, errs, err)
				return
			}
		}
	}()
	t.Cleanup(func() { <-done })
	reader := env.second(t)
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		ledgers, err := reader.Ledgers(t.Context(), userkit.UserID{}, 1)
		require.NoError(t, err)
		require.Len(t, ledgers, 1)
		ledger := ledgers[0]
		require.Equal(t, userkit.Ledger{
			UserID: d.user.ID, Account: ledger.Account,
			Count: ledger.Account.TransactionSequence, MaxSequence: ledger.Account.TransactionSequence, Sum: ledger.Account.Balance.Amount,
			LastSequence: ledger.Account.TransactionSequence, Last: ledger.Account.LastTransaction,
		}, ledger)
	}
}
