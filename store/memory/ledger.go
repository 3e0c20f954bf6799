package memory

import (
	"cmp"
	"context"
	"time"
	"unique"

	"github.com/userkit/userkit"
)

// transactions holds the indexes of the transactions of all users.
type transactions struct {
	byID   set[transaction, byTransactionID]
	byTime set[transaction, byTransactionTime]
	byKey  map[entryKey]*transaction
	// naming are, by the users that they name, transactions of others.
	naming map[userkit.UserID]*set[transaction, byTransactionID]
}

// ledger holds the transactions of one user.
type ledger struct {
	bySequence set[transaction, bySequence]
	byTime     set[transaction, byTransactionTime]
}

// entryKey is an idempotency key in the ledger of one user.
type entryKey struct {
	ledger *ledger
	key    string
}

// transaction is a userkit.Transaction as it is kept.
type transaction struct {
	id        userkit.TransactionID
	sequence  int64
	at        micros
	key       string
	user      userkit.UserID
	kind      word
	amount    int64
	balance   int64
	currency  word // of the amount
	held      word // the currency of the balance
	note      string
	reference string
	actor     unique.Handle[userkit.Actor]
	previous  userkit.TransactionID
	cancelled *cancellation // nil: it counts
}

type cancellation struct {
	at micros
	by unique.Handle[userkit.Actor]
}

type byTransactionID struct{}

func (byTransactionID) compare(a, b *transaction) int { return compareIDs(&a.id, &b.id) }

type byTransactionTime struct{}

func (byTransactionTime) compare(a, b *transaction) int {
	if c := cmp.Compare(a.at, b.at); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

type bySequence struct{}

func (bySequence) compare(a, b *transaction) int {
	if c := cmp.Compare(a.sequence, b.sequence); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

var wordCharge = wordOf(userkit.TransactionCharge)

func transactionOf(user userkit.UserID, from *userkit.Transaction) *transaction {
	t := &transaction{
		id:        from.ID,
		user:      user,
		sequence:  from.Sequence,
		kind:      wordOf(from.Kind),
		amount:    from.Amount.Amount,
		balance:   from.Balance.Amount,
		currency:  wordOf(from.Amount.Currency),
		key:       from.Key,
		note:      from.Note,
		reference: from.Reference,
		actor:     unique.Make(from.Actor),
		at:        microsOf(from.At),
		previous:  from.Previous,
	}
	t.held = t.currency
	if from.Balance.Currency != from.Amount.Currency {
		t.held = wordOf(from.Balance.Currency)
	}
	if from.Cancelled() || from.CancelledBy != (userkit.Actor{}) {
		t.cancelled = &cancellation{microsOf(from.CancelledAt), unique.Make(from.CancelledBy)}
	}
	return t
}

func (t *transaction) fill(to *userkit.Transaction) {
	*to = userkit.Transaction{
		ID:        t.id,
		UserID:    t.user,
		Sequence:  t.sequence,
		Kind:      userkit.TransactionKind(t.kind.Value()),
		Amount:    userkit.Money{Amount: t.amount, Currency: t.currency.Value()},
		Balance:   userkit.Money{Amount: t.balance, Currency: t.held.Value()},
		Key:       t.key,
		Note:      t.note,
		Reference: t.reference,
		Actor:     t.actor.Value(),
		At:        t.at.time(),
		Previous:  t.previous,
	}
	if t.cancelled != nil {
		to.CancelledAt, to.CancelledBy = t.cancelled.at.time(), t.cancelled.by.Value()
	}
}

func (t *transaction) out() (to userkit.Transaction) {
	t.fill(&to)
	return to
}

// named yields the users other than its own that a transaction names.
func (t *transaction) named(yield func(userkit.UserID) bool) {
	for id := range namedBy(t.user, t.actor) {
		if !yield(id) {
			return
		}
	}
	if t.cancelled == nil {
		return
	}
	for id := range namedBy(t.user, t.cancelled.by) {
		if !yield(id) {
			return
		}
	}
}

// without returns the transaction without the name of a user.
func (t *transaction) without(user userkit.UserID) *transaction {
	next := *t
	next.actor = unique.Make(t.actor.Value().Without(user))
	if t.cancelled != nil {
		next.cancelled = &cancellation{t.cancelled.at, unique.Make(t.cancelled.by.Value().Without(user))}
	}
	return &next
}

func (t *transaction) counts() bool { return t.cancelled == nil || t.cancelled.at == none }

func (t *transaction) delta() int64 {
	if t.kind == wordCharge {
		return -t.amount
	}
	return t.amount
}

// get returns the transaction with an id, or nil.
func (t *transactions) get(id userkit.TransactionID) *transaction {
	// A new id comes after all others: that takes no search.
	if last := t.byID.last(); last == nil || compareIDs(&last.id, &id) < 0 {
		return nil
	}
	return t.byID.get(&transaction{id: id})
}

// put adds a transaction, or puts it in the place of the one before, whose key is
// released.
func (t *transactions) put(own *belongings, next, before *transaction) {
	if own.ledger == nil {
		own.ledger = &ledger{}
	}
	if before != nil {
		if before.at != next.at {
			t.byTime.remove(before)
			own.ledger.byTime.remove(before)
		}
		if before.sequence != next.sequence {
			own.ledger.bySequence.remove(before)
		}
		for user := range before.named {
			dropNamed(t.naming, user, before)
		}
	}
	for user := range next.named {
		addNamed(t.naming, user, next)
	}
	t.byID.put(next)
	t.byTime.put(next)
	own.ledger.bySequence.put(next)
	own.ledger.byTime.put(next)
	t.byKey[entryKey{own.ledger, next.key}] = next
}

// remove takes a transaction out of the indexes of the project.
func (t *transactions) remove(own *ledger, gone *transaction) {
	t.byID.remove(gone)
	t.byTime.remove(gone)
	delete(t.byKey, entryKey{own, gone.key})
	for user := range gone.named {
		dropNamed(t.naming, user, gone)
	}
}

var transactionFields = fieldsByName(userkit.TransactionFields())

// Transactions lists transactions by a field of userkit.TransactionFields. Within
// a user both orders have an index, for the project the order at has one.
func (s *Store) Transactions(ctx context.Context, filter userkit.TransactionFilter, list userkit.ListRange) ([]userkit.Transaction, error) {
	return transactionQuery.page(ctx, s, list, s.openTransactions(filter, list))
}

// CountTransactions counts the transactions of a filter.
func (s *Store) CountTransactions(ctx context.Context, filter userkit.TransactionFilter) (int64, error) {
	return count(ctx, s, s.openTransactions(filter, userkit.ListRange{}))
}

var transactionQuery = query[transaction, userkit.Transaction]{
	fields: transactionFields,
	id:     func(t *transaction) [16]byte { return t.id },
	fill:   (*transaction).fill,
	out:    (*transaction).out,
}

// openTransactions returns what opens the transactions of a filter for a list.
func (s *Store) openTransactions(filter userkit.TransactionFilter, list userkit.ListRange) func(snapshot bool) source[transaction] {
	from, to := micros(0), micros(0)
	var part span[transaction]
	if !filter.From.IsZero() {
		from = microsOf(filter.From)
		part.low = &transaction{at: from}
	}
	if !filter.To.IsZero() {
		to = microsOf(filter.To)
		part.high = &transaction{at: to}
	}
	match := func(t *transaction) bool {
		return (filter.IncludeCancelled || t.counts()) &&
			(part.low == nil || t.at >= from) && (part.high == nil || t.at < to)
	}
	return func(snapshot bool) source[transaction] {
		found := source[transaction]{match: match}
		mine := &ledger{}
		ofUser := !filter.UserID.IsZero()
		if ofUser {
			if own := s.users.belongings(filter.UserID); own != nil && own.ledger != nil {
				mine = own.ledger
			}
		}
		if list.Order.Field == "sequence" && ofUser {
			var part span[transaction]
			if list.After != nil {
				part.after = &transaction{sequence: list.After.Key.(int64), id: list.After.ID}
			}
			found.rows = mine.bySequence.view(snapshot).cursor(part, list.Order.Descending).next
			return found
		}
		byTime := &s.transactions.byTime
		if ofUser {
			byTime = &mine.byTime
		}
		view := byTime.view(snapshot)
		if list.Order.Field != "at" {
			found.all = drain(view.cursor(part, false).next)
			return found
		}
		part := part
		if list.After != nil {
			part.after = &transaction{at: microsOf(list.After.Key.(time.Time)), id: list.After.ID}
		}
		found.rows = view.cursor(part, list.Order.Descending).next
		return found
	}
}

// ledgersAtOnce is how many ledgers are taken in one step under the lock.
const ledgersAtOnce = 64

// Ledgers sums up, in order of user id, the ledgers of users after the given id.
func (s *Store) Ledgers(ctx context.Context, after userkit.UserID, limit int) ([]userkit.Ledger, error) {
	sums := []userkit.Ledger{}
	for len(sums) < limit {
		if err := s.ready(ctx); err != nil {
			return nil, err
		}
		users, ledgers := s.someLedgers(after, min(limit-len(sums), ledgersAtOnce))
		if len(users) == 0 {
			break
		}
		for i, user := range users {
			sum := userkit.Ledger{UserID: user.profile.id}
			user.account.fill(&sum.Account)
			sumUp(&sum, ledgers[i])
			sums = append(sums, sum)
		}
		after = users[len(users)-1].profile.id
	}
	return sums, nil
}

// someLedgers returns users after an id and their transactions, all of one
// moment.
func (s *Store) someLedgers(after userkit.UserID, limit int) (users []*user, ledgers []set[transaction, bySequence]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	walk := s.users.byID.cursor(span[profile]{after: &profile{id: after}}, false)
	for len(users) < limit {
		next := walk.next()
		if next == nil {
			break
		}
		user := s.users.table.get(next.number)
		users = append(users, user)
		var lines set[transaction, bySequence]
		if user.own != nil && user.own.ledger != nil {
			lines = user.own.ledger.bySequence.snapshot()
		}
		ledgers = append(ledgers, lines)
	}
	return users, ledgers
}

// sumUp adds up transactions in the order of their sequence.
func sumUp(sum *userkit.Ledger, lines set[transaction, bySequence]) {
	balance := int64(0)
	for line := range lines.each {
		sum.Count++
		sum.MaxSequence = line.sequence
		if !line.counts() {
			continue
		}
		sum.Sum += line.delta()
		sum.LastSequence, sum.Last = line.sequence, line.id
		if line.balance != balance+line.delta() && sum.Broken == 0 {
			sum.Broken = line.sequence
		}
		balance = line.balance
	}
}
