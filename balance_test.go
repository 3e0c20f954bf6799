package userkit

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func balanceState(amount int64) *State {
	return &State{Exists: true, base: 3, User: User{ID: NewID[User](), Account: Account{Version: 3, Balance: Money{amount, "EUR"}}}}
}

func TestBookAtTheEdges(t *testing.T) {
	cases := []struct {
		name    string
		balance int64
		kind    TransactionKind
		amount  int64
		floor   int64
		code    Code
		after   int64
	}{
		{"a refill up to the largest balance", math.MaxInt64 - 5, TransactionRefill, 5, 0, "", math.MaxInt64},
		{"a refill beyond it", math.MaxInt64 - 5, TransactionRefill, 6, 0, CodeBalanceOverflow, 0},
		{"the largest refill", 0, TransactionRefill, math.MaxInt64, 0, "", math.MaxInt64},
		{"a charge down to the floor", 10, TransactionCharge, 10, 0, "", 0},
		{"a charge below the floor", 10, TransactionCharge, 11, 0, CodeInsufficientBalance, 0},
		{"a charge down to a credit line", 10, TransactionCharge, 15, -5, "", -5},
		{"a charge below a credit line", 10, TransactionCharge, 16, -5, CodeInsufficientBalance, 0},
		{"a charge below the smallest balance", -10, TransactionCharge, math.MaxInt64, math.MinInt64, CodeBalanceOverflow, 0},
		{"a charge down to the smallest balance", -1, TransactionCharge, math.MaxInt64, math.MinInt64, "", math.MinInt64},
		{"a refill below the floor", -10, TransactionRefill, 3, 0, "", -7},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			state := balanceState(c.balance)
			made, change, err := euros(c.amount, "key").book(state, testOrigin(noon), NewID[Transaction](), c.kind, c.floor)
			require.Equal(t, c.code, ErrorCode(err))
			if c.code != "" {
				require.False(t, change.writes())
				return
			}
			require.Equal(t, c.after, made.Balance.Amount)
			require.Equal(t, c.after, change.Account.Balance.Amount)
			require.EqualValues(t, 1, made.Sequence)
			state.apply(change)
			_, back, err := cancelLast(state, testOrigin(noon), made.ID)
			require.NoError(t, err)
			require.Equal(t, c.balance, back.Account.Balance.Amount, "cancelled, the balance is what it was")
			require.Zero(t, back.Account.LastTransaction)
		})
	}
}

func TestCancelWalksBack(t *testing.T) {
	state := balanceState(0)
	var made []Transaction
	for i, amount := range []int64{100, 30, 7} {
		kind := TransactionRefill
		if i == 1 {
			kind = TransactionCharge
		}
		transaction, change, err := euros(amount, string(rune('a'+i))).book(state, testOrigin(noon), NewID[Transaction](), kind, 0)
		require.NoError(t, err)
		state.apply(change)
		made = append(made, transaction)
	}
	require.EqualValues(t, 77, state.User.Balance.Amount)
	for _, early := range made[:2] {
		_, _, err := cancelLast(state, testOrigin(noon), early.ID)
		require.Equal(t, CodeNotLastTransaction, ErrorCode(err))
	}
	for i, want := range []int64{70, 100, 0} {
		transaction := made[len(made)-1-i]
		cancelled, change, err := cancelLast(state, testOrigin(noon), transaction.ID)
		require.NoError(t, err)
		require.True(t, cancelled.Cancelled())
		state.apply(change)
		require.Equal(t, want, state.User.Balance.Amount)
		_, _, err = cancelLast(state, testOrigin(noon), transaction.ID)
		require.Equal(t, CodeAlreadyCancelled, ErrorCode(err))
	}
	next, change, err := euros(5, "d").book(state, testOrigin(noon), NewID[Transaction](), TransactionRefill, 0)
	require.NoError(t, err)
	require.EqualValues(t, 4, next.Sequence, "numbers of cancelled transactions are not used again")
	require.Zero(t, next.Previous)
	state.apply(change)
	_, _, err = cancelLast(state, testOrigin(noon), NewID[Transaction]())
	require.Equal(t, CodeTransactionNotFound, ErrorCode(err))
}

func TestKeyMakesOneTransaction(t *testing.T) {
	state := balanceState(0)
	entry := Entry{Amount: Money{5, "EUR"}, Key: "k", Note: "note", Reference: "ref"}
	made, change, err := entry.book(state, testOrigin(noon), NewID[Transaction](), TransactionRefill, 0)
	require.NoError(t, err)
	state.apply(change)
	again, change, err := entry.book(state, testOrigin(noon), NewID[Transaction](), TransactionRefill, 0)
	require.NoError(t, err)
	require.Equal(t, made, again)
	require.False(t, change.writes())
	others := []Entry{entry, entry, entry}
	others[0].Amount.Amount++
	others[1].Note = "other"
	others[2].Reference = "other"
	for _, other := range others {
		_, _, err := other.book(state, testOrigin(noon), NewID[Transaction](), TransactionRefill, 0)
		require.Equal(t, CodeKeyReused, ErrorCode(err))
	}
	_, _, err = entry.book(state, testOrigin(noon), NewID[Transaction](), TransactionCharge, 0)
	require.Equal(t, CodeKeyReused, ErrorCode(err), "a charge is not a refill")
}

func TestLedgerCheck(t *testing.T) {
	last := NewID[Transaction]()
	sound := Ledger{Account: Account{Balance: Money{10, "EUR"}, TransactionSequence: 2, LastTransaction: last}, Count: 2, MaxSequence: 2, Sum: 10, LastSequence: 2, Last: last}
	require.Empty(t, sound.check())
	for name, spoil := range map[string]func(*Ledger){
		"balance":     func(l *Ledger) { l.Account.Balance.Amount++ },
		"broken":      func(l *Ledger) { l.Broken = 1 },
		"gap":         func(l *Ledger) { l.Count-- },
		"sequence":    func(l *Ledger) { l.Account.TransactionSequence++ },
		"last":        func(l *Ledger) { l.Last = NewID[Transaction]() },
		"no last one": func(l *Ledger) { l.Account.LastTransaction = TransactionID{} },
	} {
		ledger := sound
		spoil(&ledger)
		require.NotEmpty(t, ledger.check(), name)
	}
}
