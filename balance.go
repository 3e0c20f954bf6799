package userkit

import (
	"context"
	"iter"
	"time"
)

// TransactionKind says which way the money went.
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
	Amount   Money           `json:"amount"`  // always positive; Kind says which way
	Balance  Money           `json:"balance"` // after this transaction

	Key       string    `json:"key"` // the idempotency key; unique per user, for ever
	Note      string    `json:"note,omitempty"`
	Reference string    `json:"reference,omitempty"`
	Actor     Actor     `json:"actor"`
	At        time.Time `json:"at"`

	// Previous is the transaction that was the last one before this; cancelling
	// this makes that the last again. Zero: none.
	Previous TransactionID `json:"previous,omitzero"`

	// CancelledAt and CancelledBy are set once the transaction was cancelled; it
	// then no longer counts, and stays in the books.
	CancelledAt time.Time `json:"cancelled_at,omitzero"`
	CancelledBy Actor     `json:"cancelled_by,omitzero"`
}

// Cancelled reports whether the transaction no longer counts.
func (t Transaction) Cancelled() bool { return !t.CancelledAt.IsZero() }

// Delta is what the transaction does to the balance, in minor units: the
// amount, negative for a charge.
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

	// Key makes the call safe to repeat: the same key with the same amount,
	// note and reference returns the transaction that the first call made, also
	// after it was cancelled. It is required, has at most MaxLine characters,
	// and never expires. One key serves one transaction of a user.
	Key string `json:"key"`

	Note      string `json:"note,omitempty"`      // at most MaxNote characters
	Reference string `json:"reference,omitempty"` // of the host's own, such as an order number; at most MaxLine characters
}

// TransactionQuery asks for a page of transactions, newest first.
type TransactionQuery struct {
	TransactionFilter
	PageQuery // the only order is by sequence within a user, by at for the project
}

// TransactionFilter says which transactions; the zero filter means all of the
// project that are not cancelled.
type TransactionFilter struct {
	UserID           UserID // zero: of all users
	IncludeCancelled bool
	From, To         time.Time // made in [From, To); zero: no bound
}

// BalanceMismatch is a ledger that does not add up.
type BalanceMismatch struct {
	UserID   UserID
	Stored   Money  // the balance that the account has
	Computed Money  // the sum of the transactions that count
	Reason   string // what is wrong, for a person to read
}

// Ledger sums up a user's transactions beside its account, all of one moment.
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

// BalanceManager keeps every user's money in a ledger that adds up.
type BalanceManager interface {
	// Refill adds to the balance. It returns ErrInvalid with CodeRequired
	// (key), CodeOutOfRange (amount), CodeCurrencyMismatch, or CodeKeyReused
	// when the key made another transaction; and ErrRefused with
	// CodeBalanceOverflow.
	Refill(ctx context.Context, user UserID, entry Entry) (Transaction, error)

	// Charge takes from the balance. It returns what Refill returns, and
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

	// VerifyBalances recomputes every user's balance from its transactions and
	// reports those that differ. It reads only.
	VerifyBalances(ctx context.Context) iter.Seq2[BalanceMismatch, error]
}
