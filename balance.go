package userkit

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// TransactionKind is the direction of a transaction.
type TransactionKind string

// The kinds of transaction.
const (
	TransactionRefill TransactionKind = "refill" // adds to the balance
	TransactionCharge TransactionKind = "charge" // takes from the balance
)

// MaxNote is the length of a note, in characters.
const MaxNote = 2000

// Transaction is a line in a user's ledger.
type Transaction struct {
	ID       TransactionID   `json:"id"`
	UserID   UserID          `json:"user_id"`
	Sequence int64           `json:"sequence"` // counts from 1 per user, without gaps
	Kind     TransactionKind `json:"kind"`
	Amount   Money           `json:"amount"`  // always positive; Kind is its direction
	Balance  Money           `json:"balance"` // after this transaction

	Key       string    `json:"key"` // the idempotency key; unique per user, for ever
	Note      string    `json:"note,omitempty"`
	Reference string    `json:"reference,omitempty"`
	Actor     Actor     `json:"actor"`
	At        time.Time `json:"at"`

	// Previous is the transaction that was the last one before this; cancelling this one makes it
	// the last again. Zero: none.
	Previous TransactionID `json:"previous,omitzero"`

	// CancelledAt and CancelledBy are set when the transaction is cancelled; it then no longer
	// counts, and stays in the ledger.
	CancelledAt time.Time `json:"cancelled_at,omitzero"`
	CancelledBy Actor     `json:"cancelled_by,omitzero"`
}

// Cancelled reports whether the transaction no longer counts.
func (t Transaction) Cancelled() bool { return !t.CancelledAt.IsZero() }

// Delta returns the change of the balance, in minor units: the amount, negative for a charge.
func (t Transaction) Delta() int64 {
	if t.Kind == TransactionCharge {
		return -t.Amount.Amount
	}
	return t.Amount.Amount
}

// Entry is what a transaction is made from.
type Entry struct {
	// Amount must be positive and in the currency of the balance.
	Amount Money `json:"amount"`

	// Key makes the call safe to repeat: a call with the same key, amount, note and reference
	// returns the transaction that the first call made, even after it was cancelled. It is
	// required, has at most MaxLine characters, and never expires. One key serves one transaction
	// of a user.
	Key string `json:"key"`

	Note      string `json:"note,omitempty"`      // at most MaxNote characters
	Reference string `json:"reference,omitempty"` // chosen by the host, such as an order number; at most MaxLine characters
}

// TransactionQuery asks for a page of transactions, newest first.
type TransactionQuery struct {
	TransactionFilter
	PageQuery // the only order is by sequence within a user, by at for the project
}

// TransactionFilter says which transactions; the zero filter means all of the
// project that are not cancelled.
type TransactionFilter struct {
	UserID           UserID    `json:"user_id,omitzero"` // zero: of all users
	IncludeCancelled bool      `json:"include_cancelled,omitempty"`
	From             time.Time `json:"from,omitzero"` // made in [From, To); zero: no bound
	To               time.Time `json:"to,omitzero"`
}

// BalanceMismatch describes a ledger that does not add up to the balance.
type BalanceMismatch struct {
	UserID   UserID `json:"user_id"`
	Stored   Money  `json:"stored"`   // the balance that the account has
	Computed Money  `json:"computed"` // the sum of the transactions that count
	Reason   string `json:"reason"`   // what is wrong, for a person to read
}

// Ledger contains a user's account and the sums of its transactions, as of one moment.
//
// For writers of stores.
type Ledger struct {
	UserID  UserID
	Account Account

	Count        int64 // transactions, the cancelled ones included
	MaxSequence  int64 // the highest sequence; 0 without transactions
	Sum          int64 // of Delta, without the cancelled ones; wrong only if a sum in between leaves int64
	LastSequence int64 // the highest sequence that is not cancelled; 0: none
	Last         TransactionID
	// Broken is the first sequence, in order, of a transaction that counts and
	// whose balance is not the balance of the counting one before it plus its
	// own delta; 0: none.
	Broken int64
}

// BalanceManager keeps the balance of every user in a ledger.
type BalanceManager interface {
	// Refill adds to the balance. It returns ErrInvalid with CodeRequired
	// (key), CodeOutOfRange (amount), CodeCurrencyMismatch, or CodeKeyReused
	// when the key made another transaction; and ErrRefused with
	// CodeBalanceOverflow.
	Refill(ctx context.Context, user UserID, entry Entry) (Transaction, error)

	// Charge takes from the balance. It returns the errors of Refill, and
	// ErrRefused with CodeInsufficientBalance when the balance would fall below
	// the project's floor.
	Charge(ctx context.Context, user UserID, entry Entry) (Transaction, error)

	// CancelLast cancels the user's last transaction, which the caller names so
	// that a newer one is not cancelled by mistake. The balance returns to what
	// it was before, and the transaction before it becomes the last. It returns
	// the cancelled transaction, ErrRefused with CodeNotLastTransaction or
	// CodeAlreadyCancelled, and ErrNotFound with CodeTransactionNotFound.
	CancelLast(ctx context.Context, user UserID, transaction TransactionID) (Transaction, error)

	// Transactions returns a page of transactions, newest first.
	Transactions(ctx context.Context, query TransactionQuery) (Page[Transaction], error)

	// CountTransactions returns how many transactions a query has on all of its pages together, as they are now.
	// The PageQuery of the query does not matter.
	CountTransactions(ctx context.Context, query TransactionQuery) (int64, error)

	// VerifyBalances recomputes every user's balance from its transactions and
	// reports those that differ. It reads only.
	VerifyBalances(ctx context.Context) iter.Seq2[BalanceMismatch, error]
}

// book decides a refill or a charge under the given id.
func (e Entry) book(state *State, o origin, id TransactionID, kind TransactionKind, floor int64) (Transaction, Change, error) {
	for _, made := range state.Transactions {
		if made.Key == e.Key {
			if made.Kind != kind || made.Amount != e.Amount || made.Note != e.Note || made.Reference != e.Reference {
				return Transaction{}, Change{}, NewError(CodeKeyReused, "key", "the key belongs to transaction %s, which has other content", made.ID)
			}
			return made, Change{}, nil
		}
	}
	c := state.change()
	account := &c.Account
	if e.Amount.Currency != account.Balance.Currency {
		return Transaction{}, Change{}, NewError(CodeCurrencyMismatch, "amount", "the amount is in %s, and the balance is in %s", e.Amount.Currency, account.Balance.Currency)
	}
	made := Transaction{
		ID: id, UserID: state.User.ID, Sequence: account.TransactionSequence + 1, Kind: kind, Amount: e.Amount,
		Key: e.Key, Note: e.Note, Reference: e.Reference, Actor: o.actor, At: o.now, Previous: account.LastTransaction,
	}
	balance, ok := addInt64(account.Balance.Amount, made.Delta())
	if !ok {
		return Transaction{}, Change{}, NewError(CodeBalanceOverflow, "amount", "the balance of %s would no longer fit into 64 bits", account.Balance)
	}
	if kind == TransactionCharge && balance < floor {
		return Transaction{}, Change{}, NewError(CodeInsufficientBalance, "amount", "the balance is %s", account.Balance)
	}
	account.Balance.Amount = balance
	account.TransactionSequence = made.Sequence
	account.LastTransaction = made.ID
	made.Balance = account.Balance
	c.Transactions.Insert = append(c.Transactions.Insert, made)
	name := EventBalanceRefilled
	if kind == TransactionCharge {
		name = EventBalanceCharged
	}
	o.record(&c, name, DeviceID{}, "transaction", made.ID, "amount", made.Amount.Amount, "balance", balance, "currency", made.Amount.Currency)
	return made, c, nil
}

// cancelLast decides the cancellation of the last transaction.
func cancelLast(state *State, o origin, id TransactionID) (Transaction, Change, error) {
	at := indexID(state.Transactions, id, transactionID)
	if at < 0 {
		return Transaction{}, Change{}, NewError(CodeTransactionNotFound, "", "no transaction %s", id)
	}
	cancelled := state.Transactions[at]
	if cancelled.Cancelled() {
		return Transaction{}, Change{}, NewError(CodeAlreadyCancelled, "", "transaction %s is already cancelled", id)
	}
	c := state.change()
	if c.Account.LastTransaction != id {
		return Transaction{}, Change{}, NewError(CodeNotLastTransaction, "", "another transaction came after %s", id)
	}
	// The sum is a balance that the account has had, so it cannot overflow.
	c.Account.Balance.Amount = cancelled.Balance.Amount - cancelled.Delta()
	c.Account.LastTransaction = cancelled.Previous
	cancelled.CancelledAt, cancelled.CancelledBy = latest(o.now, cancelled.At), o.actor
	c.Transactions.Update = append(c.Transactions.Update, cancelled)
	o.record(&c, EventBalanceCancelled, DeviceID{}, "transaction", id, "balance", c.Account.Balance.Amount, "currency", c.Account.Balance.Currency)
	return cancelled, c, nil
}

// check returns what is wrong with a ledger, or "" if it is consistent.
func (l Ledger) check() string {
	switch {
	case l.Account.Balance.Amount != l.Sum:
		return "the balance is not the sum of the transactions"
	case l.Broken != 0:
		return fmt.Sprintf("transaction %d does not follow from the one before it", l.Broken)
	case l.Count != l.MaxSequence || l.MaxSequence != l.Account.TransactionSequence:
		return fmt.Sprintf("there are %d transactions up to number %d, but the account counts %d", l.Count, l.MaxSequence, l.Account.TransactionSequence)
	case l.Last != l.Account.LastTransaction:
		return "the account's last transaction is not the last that counts"
	}
	return ""
}

func (e Entry) check() error {
	if e.Key == "" {
		return NewError(CodeRequired, "key", "an idempotency key is required")
	}
	if e.Amount.Currency == "" {
		return NewError(CodeRequired, "currency", "the amount has no currency")
	}
	if e.Amount.Amount <= 0 {
		return NewError(CodeOutOfRange, "amount", "%d is not positive", e.Amount.Amount)
	}
	return firstError(
		checkLine("key", e.Key, MaxLine), checkLines("note", e.Note, MaxNote), checkLine("reference", e.Reference, MaxLine),
	)
}

func (m *manager) Refill(ctx context.Context, user UserID, entry Entry) (_ Transaction, err error) {
	ctx, call, err := enter(ctx, m, opRefill, user)
	if err != nil {
		return Transaction{}, err
	}
	defer call.leave(ctx, &err)
	return m.book(ctx, call, user, entry, TransactionRefill)
}

func (m *manager) Charge(ctx context.Context, user UserID, entry Entry) (_ Transaction, err error) {
	ctx, call, err := enter(ctx, m, opCharge, user)
	if err != nil {
		return Transaction{}, err
	}
	defer call.leave(ctx, &err)
	return m.book(ctx, call, user, entry, TransactionCharge)
}

// book moves an entry of either kind through the corridor.
func (m *manager) book(ctx context.Context, call call, user UserID, entry Entry, kind TransactionKind) (Transaction, error) {
	if err := entry.check(); err != nil {
		return Transaction{}, err
	}
	id := NewID[Transaction]()
	want := Want{User: user, TransactionKeys: []string{entry.Key}}
	return change(ctx, m, command{want: want}, func(state *State) (Transaction, Change, error) {
		return entry.book(state, call.origin, id, kind, m.floor)
	})
}

func (m *manager) CancelLast(ctx context.Context, user UserID, transaction TransactionID) (_ Transaction, err error) {
	ctx, call, err := enter(ctx, m, opCancelLast, user)
	if err != nil {
		return Transaction{}, err
	}
	defer call.leave(ctx, &err)
	want := Want{User: user, Transactions: []TransactionID{transaction}}
	return change(ctx, m, command{want: want}, func(state *State) (Transaction, Change, error) {
		return cancelLast(state, call.origin, transaction)
	})
}

func (m *manager) Transactions(ctx context.Context, query TransactionQuery) (_ Page[Transaction], err error) {
	ctx, call, err := enterOf(ctx, m, opTransactions, &query.UserID)
	if err != nil {
		return Page[Transaction]{}, err
	}
	defer call.leave(ctx, &err)
	if query.Sort != "" {
		return Page[Transaction]{}, NewError(CodeUnknownField, "sort", "transactions have only one order")
	}
	filter := query.TransactionFilter.normalise()
	if !query.UserID.IsZero() {
		query.Sort, query.Descending = "sequence", true
	}
	return readPage(query.PageQuery, transactionFields, "transactions", filter, func(list ListRange) ([]Transaction, error) {
		return m.store.Transactions(ctx, filter, list)
	})
}

func (m *manager) CountTransactions(ctx context.Context, query TransactionQuery) (_ int64, err error) {
	ctx, call, err := enterOf(ctx, m, opCountTransactions, &query.UserID)
	if err != nil {
		return 0, err
	}
	defer call.leave(ctx, &err)
	return m.store.CountTransactions(ctx, query.TransactionFilter.normalise())
}

func (f TransactionFilter) normalise() TransactionFilter {
	f.From, f.To = storedTime(f.From), storedTime(f.To)
	return f
}

func (m *manager) VerifyBalances(ctx context.Context) iter.Seq2[BalanceMismatch, error] {
	return sequence(ctx, m, opVerifyBalances, noTarget, func(ctx context.Context, _ call) iter.Seq2[BalanceMismatch, error] {
		return m.verifyBalances(ctx)
	})
}

func (m *manager) verifyBalances(ctx context.Context) iter.Seq2[BalanceMismatch, error] {
	const pageSize = 500
	return func(yield func(BalanceMismatch, error) bool) {
		var after UserID
		for {
			ledgers, err := m.store.Ledgers(ctx, after, pageSize)
			if err != nil {
				yield(BalanceMismatch{}, err)
				return
			}
			for _, ledger := range ledgers {
				after = ledger.UserID
				reason := ledger.check()
				if reason == "" {
					continue
				}
				stored := ledger.Account.Balance
				mismatch := BalanceMismatch{UserID: ledger.UserID, Stored: stored, Computed: Money{ledger.Sum, stored.Currency}, Reason: reason}
				if !yield(mismatch, nil) {
					return
				}
			}
			if len(ledgers) < pageSize {
				return
			}
		}
	}
}
