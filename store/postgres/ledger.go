package postgres

import (
	"context"

	"github.com/userkit/userkit"
)

var transactionReads = transactionColumns.reads("t")

// Transactions implements userkit.Store.
func (s *Store) Transactions(ctx context.Context, filter userkit.TransactionFilter, list userkit.ListRange) ([]userkit.Transaction, error) {
	return readList(ctx, s, s.transactions, filter, list, transactionColumns.targets)
}

// CountTransactions implements userkit.Store.
func (s *Store) CountTransactions(ctx context.Context, filter userkit.TransactionFilter) (int64, error) {
	return countList(ctx, s, s.transactions, filter)
}

// transactions is the listing of Transactions.
func (s *Store) transactions(filter userkit.TransactionFilter, list userkit.ListRange) (*statement, error) {
	q := &statement{}
	q.add("SELECT "+transactionReads+"\nFROM ? AS t\nWHERE t.project = ?", s.table("transactions"), quoted(s.project))
	q.within("t", filter.UserID, transactionSortings, list, "at")
	if !filter.UserID.IsZero() {
		q.add(" AND t.sequence > 0") // as transactions_sequence_key has it
	}
	if !filter.IncludeCancelled {
		q.add(" AND t.cancelled_at IS NULL")
	}
	q.between("t.at", filter.From, filter.To)
	return q, q.page(list, transactionSortings, "t.id")
}

// Ledgers implements userkit.Store. Sums are computed as numeric, which does not overflow, and
// clamped to an int64.
func (s *Store) Ledgers(ctx context.Context, after userkit.UserID, limit int) ([]userkit.Ledger, error) {
	q := &statement{}
	q.add("SELECT a.user_id, "+accountColumns.reads("a")+`,
l.count, l.max_sequence, l.sum, l.last_sequence, last.id, l.broken
FROM (SELECT u.id FROM ? AS u WHERE u.project = ? AND `+userSortings["id"].through+` AND u.id > ? ORDER BY u.id LIMIT ?) AS u`,
		s.table("users"), quoted(s.project), quotedID(after), limit)
	q.lookUp(s, "accounts", "a", "a.user_id = u.id")
	q.add(`
CROSS JOIN LATERAL (
    SELECT count(*) AS count,
        coalesce(max(t.sequence), 0) AS max_sequence,
        greatest(least(coalesce(sum(t.delta) FILTER (WHERE t.counts), 0), 9223372036854775807), -9223372036854775808)::bigint AS sum,
        coalesce(max(t.sequence) FILTER (WHERE t.counts), 0) AS last_sequence,
        coalesce(min(t.sequence) FILTER (WHERE t.counts AND t.balance <> t.before + t.delta), 0) AS broken
    FROM (
        SELECT t.sequence, t.balance, t.cancelled_at IS NULL AS counts,
            CASE t.kind WHEN ? THEN -t.amount::numeric ELSE t.amount::numeric END AS delta,
            coalesce(lag(t.balance) OVER (PARTITION BY t.cancelled_at IS NULL ORDER BY t.sequence), 0) AS before
        FROM ? AS t
        WHERE t.project = ? AND t.user_id = a.user_id AND t.sequence > 0
    ) AS t
) AS l
LEFT JOIN LATERAL (
    SELECT t.id FROM ? AS t WHERE t.project = ? AND t.user_id = a.user_id AND t.sequence > 0 AND t.sequence = l.last_sequence OFFSET 0
) AS last ON true
ORDER BY a.user_id`,
		quoted(string(userkit.TransactionCharge)), s.table("transactions"), quoted(s.project),
		s.table("transactions"), quoted(s.project))
	return selectRecords(ctx, s, q, func(to []any, ledger *userkit.Ledger) []any {
		to = accountColumns.targets(append(to, (*identifier)(&ledger.UserID)), &ledger.Account)
		return append(to, (*integer)(&ledger.Count), (*integer)(&ledger.MaxSequence), (*integer)(&ledger.Sum),
			(*integer)(&ledger.LastSequence), (*identifier)(&ledger.Last), (*integer)(&ledger.Broken))
	})
}
