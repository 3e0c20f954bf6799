package storetest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// requireBalance demands a user's balance in euro cents.
func (d *desk) requireBalance(t *testing.T, user userkit.UserID, cents int64) {
	t.Helper()
	require.Equal(t, euro(cents), d.user(t, user).Balance)
}

// mismatches lists what VerifyBalances finds.
func (d *desk) mismatches(t *testing.T) []userkit.BalanceMismatch {
	t.Helper()
	var found []userkit.BalanceMismatch
	for mismatch, err := range d.VerifyBalances(t.Context()) {
		require.NoError(t, err)
		found = append(found, mismatch)
	}
	return found
}

// requireLedger demands that a user's transactions are numbered without gaps,
// that each that counts carries the balance that it led to, and that the last of
// them is the one that the account names.
func (d *desk) requireLedger(t *testing.T, id userkit.UserID) {
	t.Helper()
	user := d.user(t, id)
	var balance int64
	var last userkit.TransactionID
	transactions := d.transactions(t, id)
	for i, transaction := range transactions {
		require.EqualValues(t, i+1, transaction.Sequence, "the sequence has a gap")
		if transaction.Cancelled() {
			continue
		}
		balance += transaction.Delta()
		require.Equal(t, balance, transaction.Balance.Amount, "the balance after transaction %d", i+1)
		require.Equal(t, last, transaction.Previous, "the one before transaction %d", i+1)
		last = transaction.ID
	}
	require.Equal(t, balance, user.Balance.Amount)
	require.Equal(t, last, user.LastTransaction)
	require.EqualValues(t, len(transactions), user.TransactionSequence)
}

func balanceGroups() []group {
	return []group{
		{"Refill", entryCases(userkit.TransactionRefill)},
		{"Charge", append(entryCases(userkit.TransactionCharge), chargeCases()...)},
		{"Balance", balanceEdgeCases()},
		{"CancelLast", cancelCases()},
		{"Transactions", transactionListCases()},
		{"VerifyBalances", verifyBalancesCases()},
	}
}

// entryCases holds for refills and for charges.
func entryCases(kind userkit.TransactionKind) []testCase {
	book := func(t *testing.T, d *desk, user userkit.UserID, entry userkit.Entry) (userkit.Transaction, error) {
		if kind == userkit.TransactionRefill {
			return d.Refill(t.Context(), user, entry)
		}
		return d.Charge(t.Context(), user, entry)
	}
	// A floor far down lets charges pass.
	floor := userkit.WithBalanceFloor(-1_000_000)
	return []testCase{
		{"writes a transaction with every field, and moves the balance", func(t *testing.T, env env) {
			d := env.desk(t, floor)
			user, other := d.signUp(t), d.household(t)
			beside := d.picture(t, other.ID)
			ctx := userkit.WithActor(t.Context(), administrator)
			entry := userkit.Entry{Amount: euro(250), Key: "order 1/2", Note: "Thanks,\nAda 😀", Reference: "INV-1"}
			var first userkit.Transaction
			var err error
			if kind == userkit.TransactionRefill {
				first, err = d.Refill(ctx, user.ID, entry)
			} else {
				first, err = d.Charge(ctx, user.ID, entry)
			}
			require.NoError(t, err)
			want := userkit.Transaction{
				ID: first.ID, UserID: user.ID, Sequence: 1, Kind: kind, Amount: euro(250),
				Key: entry.Key, Note: entry.Note, Reference: entry.Reference, Actor: administrator, At: base,
			}
			require.False(t, first.ID.IsZero())
			want.Balance = euro(want.Delta())
			require.Equal(t, want, first)

			d.clock.Advance(time.Minute)
			second, err := book(t, d, user.ID, userkit.Entry{Amount: euro(1), Key: "2"})
			require.NoError(t, err)
			next := userkit.Transaction{
				ID: second.ID, UserID: user.ID, Sequence: 2, Kind: kind, Amount: euro(1), Key: "2",
				Actor: userkit.Actor{Kind: userkit.ActorSystem}, At: at(60), Previous: first.ID,
			}
			next.Balance = euro(want.Delta() + next.Delta())
			require.Equal(t, next, second)
			require.Equal(t, []userkit.Transaction{first, second}, d.transactions(t, user.ID))
			require.Equal(t, next.Balance, d.user(t, user.ID).Balance)
			d.requireLedger(t, user.ID)
			require.Equal(t, beside, d.picture(t, other.ID))
		}},
		{"the same key with the same content returns the first transaction, for ever", func(t *testing.T, env env) {
			d := env.desk(t, floor)
			user := d.signUp(t)
			entry := userkit.Entry{Amount: euro(250), Key: "key", Note: "note", Reference: "reference"}
			first, err := book(t, d, user.ID, entry)
			require.NoError(t, err)
			for i := range 5 {
				_, err := book(t, d, user.ID, userkit.Entry{Amount: euro(1), Key: fmt.Sprint("other ", i)})
				require.NoError(t, err)
			}
			d.clock.Advance(10 * 365 * 24 * time.Hour)
			before := d.picture(t, user.ID)
			again, err := book(t, d, user.ID, entry)
			require.NoError(t, err)
			require.Equal(t, first, again)
			require.Equal(t, before, d.picture(t, user.ID), "nothing is written, no event either")
		}},
		{"the same key with other content is refused", func(t *testing.T, env env) {
			d := env.desk(t, floor)
			user := d.signUp(t)
			entry := userkit.Entry{Amount: euro(250), Key: "key", Note: "note", Reference: "reference"}
			_, err := book(t, d, user.ID, entry)
			require.NoError(t, err)
			before := d.picture(t, user.ID)
			for name, change := range map[string]func(entry *userkit.Entry){
				"amount":    func(entry *userkit.Entry) { entry.Amount = euro(251) },
				"note":      func(entry *userkit.Entry) { entry.Note = "Note" },
				"no note":   func(entry *userkit.Entry) { entry.Note = "" },
				"reference": func(entry *userkit.Entry) { entry.Reference = "other" },
			} {
				t.Run(name, func(t *testing.T) {
					other := entry
					change(&other)
					_, err := book(t, d, user.ID, other)
					requireField(t, err, userkit.ErrInvalid, userkit.CodeKeyReused, "key")
				})
			}
			if kind == userkit.TransactionRefill {
				_, err = d.Charge(t.Context(), user.ID, entry)
			} else {
				_, err = d.Refill(t.Context(), user.ID, entry)
			}
			requireField(t, err, userkit.ErrInvalid, userkit.CodeKeyReused, "key")
			require.Equal(t, before, d.picture(t, user.ID))
		}},
		{"the same key after a cancel returns the cancelled transaction, and books nothing", func(t *testing.T, env env) {
			d := env.desk(t, floor)
			user := d.signUp(t)
			entry := userkit.Entry{Amount: euro(250), Key: "key"}
			first, err := book(t, d, user.ID, entry)
			require.NoError(t, err)
			cancelled, err := d.CancelLast(t.Context(), user.ID, first.ID)
			require.NoError(t, err)
			before := d.picture(t, user.ID)
			again, err := book(t, d, user.ID, entry)
			require.NoError(t, err)
			require.Equal(t, cancelled, again)
			require.True(t, again.Cancelled())
			require.Equal(t, before, d.picture(t, user.ID))
			entry.Amount = euro(251)
			_, err = book(t, d, user.ID, entry)
			requireCode(t, err, userkit.ErrInvalid, userkit.CodeKeyReused)
		}},
		{"a key is one of the user's own, byte by byte", func(t *testing.T, env env) {
			d := env.desk(t, floor)
			one, two := d.signUp(t), d.signUp(t)
			seen := map[userkit.TransactionID]bool{}
			for _, user := range []userkit.User{one, two} {
				for i, key := range []string{"key", "KEY", "kéy", "key ", " key"} {
					transaction, err := book(t, d, user.ID, userkit.Entry{Amount: euro(int64(i) + 1), Key: key})
					require.NoError(t, err)
					require.False(t, seen[transaction.ID])
					seen[transaction.ID] = true
				}
				d.requireLedger(t, user.ID)
			}
		}},
		{"refuses every wrong value with its code and field, and writes nothing", func(t *testing.T, env env) {
			d := env.desk(t, floor)
			user := d.household(t)
			before := d.picture(t, user.ID)
			good := userkit.Entry{Amount: euro(1), Key: "key"}
			for name, wrong := range map[string]struct {
				change func(entry *userkit.Entry)
				code   userkit.Code
				field  string
			}{
				"no key":                     {func(e *userkit.Entry) { e.Key = "" }, userkit.CodeRequired, "key"},
				"a long key":                 {func(e *userkit.Entry) { e.Key = strings.Repeat("é", userkit.MaxLine+1) }, userkit.CodeTooLong, "key"},
				"a key with a NUL":           {func(e *userkit.Entry) { e.Key = "a\x00" }, userkit.CodeBadText, "key"},
				"a key of invalid UTF-8":     {func(e *userkit.Entry) { e.Key = "a\xff" }, userkit.CodeBadText, "key"},
				"a long note":                {func(e *userkit.Entry) { e.Note = strings.Repeat("é", userkit.MaxNote+1) }, userkit.CodeTooLong, "note"},
				"a note with a NUL":          {func(e *userkit.Entry) { e.Note = "a\x00" }, userkit.CodeBadText, "note"},
				"a long reference":           {func(e *userkit.Entry) { e.Reference = strings.Repeat("é", userkit.MaxLine+1) }, userkit.CodeTooLong, "reference"},
				"a reference with a NUL":     {func(e *userkit.Entry) { e.Reference = "a\x00" }, userkit.CodeBadText, "reference"},
				"no amount":                  {func(e *userkit.Entry) { e.Amount.Amount = 0 }, userkit.CodeOutOfRange, "amount"},
				"a negative amount":          {func(e *userkit.Entry) { e.Amount.Amount = -1 }, userkit.CodeOutOfRange, "amount"},
				"the smallest amount":        {func(e *userkit.Entry) { e.Amount.Amount = math.MinInt64 }, userkit.CodeOutOfRange, "amount"},
				"another currency":           {func(e *userkit.Entry) { e.Amount.Currency = "USD" }, userkit.CodeCurrencyMismatch, ""},
				"the currency in lower case": {func(e *userkit.Entry) { e.Amount.Currency = "eur" }, userkit.CodeCurrencyMismatch, ""},
				"no currency":                {func(e *userkit.Entry) { e.Amount.Currency = "" }, userkit.CodeRequired, "currency"},
			} {
				t.Run(name, func(t *testing.T) {
					entry := good
					wrong.change(&entry)
					_, err := book(t, d, user.ID, entry)
					if wrong.field == "" {
						requireCode(t, err, userkit.ErrInvalid, wrong.code)
					} else {
						requireField(t, err, userkit.ErrInvalid, wrong.code, wrong.field)
					}
				})
			}
			require.Equal(t, before, d.picture(t, user.ID))
			longest := userkit.Entry{Amount: euro(1), Key: strings.Repeat("😀", userkit.MaxLine), Note: strings.Repeat("😀", userkit.MaxNote), Reference: strings.Repeat("😀", userkit.MaxLine)}
			transaction, err := book(t, d, user.ID, longest)
			require.NoError(t, err)
			require.Equal(t, longest, userkit.Entry{Amount: transaction.Amount, Key: transaction.Key, Note: transaction.Note, Reference: transaction.Reference})
		}},
		{"works in currencies of every number of decimal places, each user in its own", func(t *testing.T, env env) {
			d := env.desk(t, floor)
			for _, currency := range []string{"JPY", "BHD", "USD"} {
				user := d.signUp(t, func(user *userkit.NewUser) { user.Currency = currency })
				transaction, err := book(t, d, user.ID, userkit.Entry{Amount: userkit.Money{Amount: 12_345, Currency: currency}, Key: "key"})
				require.NoError(t, err)
				require.Equal(t, userkit.Money{Amount: transaction.Delta(), Currency: currency}, transaction.Balance)
				require.Equal(t, transaction.Balance, d.user(t, user.ID).Balance)
				_, err = book(t, d, user.ID, userkit.Entry{Amount: euro(1), Key: "euro"})
				requireCode(t, err, userkit.ErrInvalid, userkit.CodeCurrencyMismatch)
			}
		}},
	}
}

func chargeCases() []testCase {
	return []testCase{
		{"takes the last cent and not one more", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			_, err := d.Charge(t.Context(), user.ID, userkit.Entry{Amount: euro(1), Key: "too early"})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeInsufficientBalance)
			d.refill(t, user.ID, 100, "refill")
			_, err = d.Charge(t.Context(), user.ID, userkit.Entry{Amount: euro(101), Key: "one more"})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeInsufficientBalance)
			d.charge(t, user.ID, 100, "all")
			before := d.picture(t, user.ID)
			for _, cents := range []int64{1, math.MaxInt64} {
				_, err = d.Charge(t.Context(), user.ID, userkit.Entry{Amount: euro(cents), Key: fmt.Sprint("after all ", cents)})
				requireCode(t, err, userkit.ErrRefused, userkit.CodeInsufficientBalance)
			}
			require.Equal(t, before, d.picture(t, user.ID))
			d.requireBalance(t, user.ID, 0)
		}},
		{"a key of a charge that was refused is free", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			_, err := d.Charge(t.Context(), user.ID, userkit.Entry{Amount: euro(10), Key: "key"})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeInsufficientBalance)
			d.refill(t, user.ID, 10, "refill")
			d.charge(t, user.ID, 10, "key")
		}},
		{"a repeated charge returns the first, though the balance has no more", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			d.refill(t, user.ID, 10, "refill")
			first := d.charge(t, user.ID, 10, "charge")
			require.Equal(t, first, d.charge(t, user.ID, 10, "charge"))
			d.requireBalance(t, user.ID, 0)
		}},
		{"goes down to a floor below zero", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithBalanceFloor(-500))
			user := d.signUp(t)
			d.charge(t, user.ID, 500, "all")
			_, err := d.Charge(t.Context(), user.ID, userkit.Entry{Amount: euro(1), Key: "one more"})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeInsufficientBalance)
			d.requireBalance(t, user.ID, -500)

			stricter := d.beside(t, env.store, userkit.WithBalanceFloor(0))
			stricter.refill(t, user.ID, 100, "below the floor a refill is welcome")
			_, err = stricter.Charge(t.Context(), user.ID, userkit.Entry{Amount: euro(1), Key: "below the floor"})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeInsufficientBalance)
		}},
		{"stays above a floor over zero", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithBalanceFloor(50))
			user := d.signUp(t)
			d.refill(t, user.ID, 60, "refill")
			d.charge(t, user.ID, 10, "to the floor")
			_, err := d.Charge(t.Context(), user.ID, userkit.Entry{Amount: euro(1), Key: "over it"})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeInsufficientBalance)
		}},
	}
}

func balanceEdgeCases() []testCase {
	return []testCase{
		{"does not leave the range of int64 upwards", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			d.refill(t, user.ID, math.MaxInt64, "all")
			before := d.picture(t, user.ID)
			for _, cents := range []int64{1, math.MaxInt64} {
				_, err := d.Refill(t.Context(), user.ID, userkit.Entry{Amount: euro(cents), Key: fmt.Sprint(cents)})
				requireCode(t, err, userkit.ErrRefused, userkit.CodeBalanceOverflow)
			}
			require.Equal(t, before, d.picture(t, user.ID))
			d.charge(t, user.ID, math.MaxInt64, "all of it")
			d.requireBalance(t, user.ID, 0)
			require.Empty(t, d.mismatches(t))
		}},
		{"does not leave the range of int64 downwards", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithBalanceFloor(math.MinInt64))
			user := d.signUp(t)
			d.charge(t, user.ID, math.MaxInt64, "nearly all")
			d.charge(t, user.ID, 1, "all")
			d.requireBalance(t, user.ID, math.MinInt64)
			before := d.picture(t, user.ID)
			for _, cents := range []int64{1, math.MaxInt64} {
				_, err := d.Charge(t.Context(), user.ID, userkit.Entry{Amount: euro(cents), Key: fmt.Sprint("beyond ", cents)})
				require.ErrorIs(t, err, userkit.ErrRefused)
				require.Contains(t, []userkit.Code{userkit.CodeBalanceOverflow, userkit.CodeInsufficientBalance}, userkit.ErrorCode(err))
			}
			require.Equal(t, before, d.picture(t, user.ID))
			d.refill(t, user.ID, math.MaxInt64, "back")
			d.requireBalance(t, user.ID, -1)
			require.Empty(t, d.mismatches(t))
		}},
		{"is counted exactly beyond the digits of a float", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			d.refill(t, user.ID, 1<<53, "much")
			d.refill(t, user.ID, 1, "little")
			d.requireBalance(t, user.ID, 1<<53+1)
			require.EqualValues(t, 1<<53+1, d.transactions(t, user.ID)[1].Balance.Amount)
		}},
		{"a key is known after the data was opened again", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			first := d.refill(t, user.ID, 10, "key")
			again := d.beside(t, env.second(t))
			require.Equal(t, first, again.refill(t, user.ID, 10, "key"))
			again.requireBalance(t, user.ID, 10)
			again.requireLedger(t, user.ID)
		}},
	}
}

func cancelCases() []testCase {
	return []testCase{
		{"takes back the last transaction, which stays in the books, marked", func(t *testing.T, env env) {
			d := env.desk(t)
			user, other := d.signUp(t), d.household(t)
			beside := d.picture(t, other.ID)
			first := d.refill(t, user.ID, 100, "one")
			last := d.charge(t, user.ID, 30, "two")
			d.clock.Advance(time.Minute)
			cancelled, err := d.CancelLast(userkit.WithActor(t.Context(), administrator), user.ID, last.ID)
			require.NoError(t, err)
			want := last
			want.CancelledAt, want.CancelledBy = at(60), administrator
			require.Equal(t, want, cancelled)
			d.requireBalance(t, user.ID, 100)
			require.Equal(t, first.ID, d.user(t, user.ID).LastTransaction)
			require.Equal(t, []userkit.Transaction{first, want}, d.transactions(t, user.ID))
			listed, err := d.Transactions(t.Context(), userkit.TransactionQuery{TransactionFilter: userkit.TransactionFilter{UserID: user.ID}})
			require.NoError(t, err)
			require.Equal(t, []userkit.Transaction{first}, listed.Items)
			require.Equal(t, beside, d.picture(t, other.ID))
		}},
		{"goes back step by step to nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			var balances []int64
			for i := range 10 {
				balances = append(balances, d.user(t, user.ID).Balance.Amount)
				if i%3 == 2 {
					d.charge(t, user.ID, 1+int64(i), fmt.Sprint("charge ", i))
				} else {
					d.refill(t, user.ID, 100*int64(i+1), fmt.Sprint("refill ", i))
				}
			}
			transactions := d.transactions(t, user.ID)
			for i, transaction := range slices.Backward(transactions) {
				_, err := d.CancelLast(t.Context(), user.ID, transaction.ID)
				require.NoError(t, err)
				d.requireBalance(t, user.ID, balances[i])
				d.requireLedger(t, user.ID)
			}
			require.True(t, d.user(t, user.ID).LastTransaction.IsZero())
			require.Empty(t, d.mismatches(t))
		}},
		{"leaves the number of the cancelled one taken", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			first := d.refill(t, user.ID, 1, "one")
			second := d.refill(t, user.ID, 2, "two")
			_, err := d.CancelLast(t.Context(), user.ID, second.ID)
			require.NoError(t, err)
			third := d.refill(t, user.ID, 4, "three")
			require.EqualValues(t, 3, third.Sequence)
			require.Equal(t, first.ID, third.Previous)
			require.Equal(t, euro(5), third.Balance)
			d.requireLedger(t, user.ID)
			for _, id := range []userkit.TransactionID{third.ID, first.ID} {
				_, err = d.CancelLast(t.Context(), user.ID, id)
				require.NoError(t, err)
			}
			d.requireBalance(t, user.ID, 0)
			d.requireLedger(t, user.ID)
		}},
		{"refuses a transaction that is not the last, or cancelled, or unknown, or another user's", func(t *testing.T, env env) {
			d := env.desk(t)
			user, other := d.signUp(t), d.signUp(t)
			first := d.refill(t, user.ID, 1, "one")
			second := d.refill(t, user.ID, 2, "two")
			third := d.refill(t, user.ID, 4, "three")
			stranger := d.refill(t, other.ID, 8, "four")
			_, err := d.CancelLast(t.Context(), user.ID, third.ID)
			require.NoError(t, err)
			before, beside := d.picture(t, user.ID), d.picture(t, other.ID)
			_, err = d.CancelLast(t.Context(), user.ID, first.ID)
			requireCode(t, err, userkit.ErrRefused, userkit.CodeNotLastTransaction)
			_, err = d.CancelLast(t.Context(), user.ID, third.ID)
			requireCode(t, err, userkit.ErrRefused, userkit.CodeAlreadyCancelled)
			for _, unknown := range []userkit.TransactionID{stranger.ID, userkit.NewID[userkit.Transaction](), {}} {
				_, err = d.CancelLast(t.Context(), user.ID, unknown)
				requireCode(t, err, userkit.ErrNotFound, userkit.CodeTransactionNotFound)
			}
			require.Equal(t, before, d.picture(t, user.ID))
			require.Equal(t, beside, d.picture(t, other.ID))
			_, err = d.CancelLast(t.Context(), user.ID, second.ID)
			require.NoError(t, err)
		}},
		{"can take a balance below the floor: what was before, was", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithBalanceFloor(-100))
			user := d.signUp(t)
			d.charge(t, user.ID, 100, "charge")
			refill := d.refill(t, user.ID, 100, "refill")
			stricter := d.beside(t, env.store)
			_, err := stricter.CancelLast(t.Context(), user.ID, refill.ID)
			require.NoError(t, err)
			d.requireBalance(t, user.ID, -100)
		}},
	}
}

func transactionListCases() []testCase {
	list := func(t *testing.T, d *desk, limit int, filter userkit.TransactionFilter) []userkit.Transaction {
		t.Helper()
		return everyItem(t, userkit.PageQuery{Limit: limit}, func(page userkit.PageQuery) (userkit.Page[userkit.Transaction], error) {
			return d.Transactions(t.Context(), userkit.TransactionQuery{TransactionFilter: filter, PageQuery: page})
		})
	}
	return []testCase{
		{"newest first, of a user, of the project, of a time, with the cancelled ones or without", func(t *testing.T, env env) {
			d := env.desk(t)
			users := []userkit.User{d.signUp(t), d.signUp(t)}
			var all []userkit.Transaction
			for i := range 12 {
				user := users[i%2].ID
				transaction := d.refill(t, user, int64(i)+1, fmt.Sprint("key ", i))
				if i%3 == 0 {
					var err error
					transaction, err = d.CancelLast(t.Context(), user, transaction.ID)
					require.NoError(t, err)
				}
				all = append(all, transaction)
				if i%4 != 1 { // some are of one moment
					d.clock.Advance(time.Minute)
				}
			}
			slices.SortFunc(all, func(a, b userkit.Transaction) int {
				if order := b.At.Compare(a.At); order != 0 {
					return order
				}
				return b.ID.Compare(a.ID)
			})
			from, to := all[9].At, all[2].At
			for _, user := range []userkit.UserID{{}, users[0].ID, users[1].ID, userkit.NewID[userkit.User]()} {
				for _, cancelled := range []bool{false, true} {
					for _, span := range [][2]time.Time{{}, {from, to}, {from, time.Time{}}, {time.Time{}, to}} {
						want := []userkit.Transaction{}
						for _, transaction := range all {
							if (user.IsZero() || transaction.UserID == user) && (cancelled || !transaction.Cancelled()) &&
								(span[0].IsZero() || !transaction.At.Before(span[0])) && (span[1].IsZero() || transaction.At.Before(span[1])) {
								want = append(want, transaction)
							}
						}
						for limit := 1; limit <= 13; limit += 3 {
							got := list(t, d, limit, userkit.TransactionFilter{UserID: user, IncludeCancelled: cancelled, From: span[0], To: span[1]})
							require.Equal(t, want, got, "pages of %d", limit)
						}
					}
				}
			}
		}},
		{"a user's are in the order of their numbers, though the clock ran backwards", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			for i := range 6 {
				d.clock.Set(at(-60 * i))
				d.refill(t, user.ID, 1, fmt.Sprint("key ", i))
			}
			var sequences []int64
			for _, transaction := range list(t, d, 2, userkit.TransactionFilter{UserID: user.ID}) {
				sequences = append(sequences, transaction.Sequence)
			}
			require.Equal(t, []int64{6, 5, 4, 3, 2, 1}, sequences)
		}},
	}
}

func verifyBalancesCases() []testCase {
	// books makes a user with some transactions, among others like it.
	books := func(t *testing.T, d *desk) userkit.User {
		t.Helper()
		for range 3 {
			d.household(t)
		}
		user := d.household(t)
		d.refill(t, user.ID, 1000, "more")
		d.charge(t, user.ID, 10, "less")
		d.household(t)
		require.Empty(t, d.mismatches(t))
		return d.user(t, user.ID)
	}
	tamper := func(change func(account *userkit.Account, transactions []userkit.Transaction)) func(t *testing.T, env env) {
		return func(t *testing.T, env env) {
			d := env.desk(t)
			user := books(t, d)
			transactions := d.transactions(t, user.ID)
			edit := step(&user)
			tampered := slices.Clone(transactions)
			change(&edit.Account, tampered)
			for i := range tampered {
				if tampered[i] != transactions[i] {
					edit.Transactions.Update = append(edit.Transactions.Update, tampered[i])
				}
			}
			commit(t, env.store, edit)
			before := d.picture(t, user.ID)
			found := d.mismatches(t)
			require.Len(t, found, 1)
			require.Equal(t, user.ID, found[0].UserID)
			require.NotEmpty(t, found[0].Reason)
			require.Equal(t, edit.Account.Balance, found[0].Stored)
			sum := int64(0)
			for _, transaction := range tampered {
				if !transaction.Cancelled() {
					sum += transaction.Delta()
				}
			}
			require.Equal(t, euro(sum), found[0].Computed)
			require.Equal(t, before, d.picture(t, user.ID), "it reads only")
			require.Equal(t, found, d.mismatches(t))
		}
	}
	return []testCase{
		{"finds nothing in books that add up, those of users without money among them", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithBalanceFloor(-1000))
			books(t, d)
			d.signUp(t)
			debtor := d.signUp(t)
			d.charge(t, debtor.ID, 1000, "debt")
			require.Empty(t, d.mismatches(t))
		}},
		{"finds a balance that its transactions do not explain", tamper(func(account *userkit.Account, _ []userkit.Transaction) {
			account.Balance.Amount++
		})},
		{"finds an amount that was changed", tamper(func(_ *userkit.Account, transactions []userkit.Transaction) {
			transactions[0].Amount.Amount += 5
		})},
		{"finds a balance after a transaction that was changed", tamper(func(_ *userkit.Account, transactions []userkit.Transaction) {
			transactions[1].Balance.Amount--
		})},
		{"finds a change that was made to fit the sum", tamper(func(account *userkit.Account, transactions []userkit.Transaction) {
			transactions[0].Amount.Amount += 5
			account.Balance.Amount += 5
		})},
		{"finds a charge that was made a refill", tamper(func(_ *userkit.Account, transactions []userkit.Transaction) {
			transactions[1].Kind = userkit.TransactionRefill
		})},
		{"finds a cancelled transaction that counts again", tamper(func(_ *userkit.Account, transactions []userkit.Transaction) {
			transactions[2].CancelledAt, transactions[2].CancelledBy = time.Time{}, userkit.Actor{}
		})},
		{"finds a transaction that is missing", func(t *testing.T, env env) {
			d := env.desk(t)
			user := books(t, d)
			transactions := d.transactions(t, user.ID)
			edit := step(&user)
			edit.Transactions.Delete = []userkit.TransactionID{transactions[2].ID} // the cancelled one: the sum stays
			commit(t, env.store, edit)
			found := d.mismatches(t)
			require.Len(t, found, 1)
			require.Equal(t, user.ID, found[0].UserID)
		}},
		{"finds an account that names another last transaction", func(t *testing.T, env env) {
			d := env.desk(t)
			user := books(t, d)
			edit := step(&user)
			edit.Account.LastTransaction = d.transactions(t, user.ID)[0].ID
			commit(t, env.store, edit)
			found := d.mismatches(t)
			require.Len(t, found, 1)
			require.Equal(t, user.ID, found[0].UserID)
		}},
		{"can be left in the middle", func(t *testing.T, env env) {
			d := env.desk(t)
			var users []userkit.User
			for range 3 {
				users = append(users, d.household(t))
			}
			for _, user := range users {
				edit := step(&user)
				edit.Account.Balance.Amount++
				commit(t, env.store, edit)
			}
			require.Len(t, d.mismatches(t), 3)
			seen := 0
			for _, err := range d.VerifyBalances(t.Context()) {
				require.NoError(t, err)
				seen++
				break
			}
			require.Equal(t, 1, seen)
		}},
	}
}
