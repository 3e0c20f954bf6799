package memory

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// purchases holds the purchases of all users and their indexes. The purchases of
// one user are among its belongings.
type purchases struct {
	byID     map[userkit.PurchaseID]*purchase
	byStable set[purchase, byStableID]
	byTime   set[purchase, byPurchaseTime]
	due      set[purchase, byDueTime] // those with a due time
}

// purchase is a userkit.Purchase as it is kept.
type purchase struct {
	id                      userkit.PurchaseID
	purchasedAt, dueAt      micros
	user                    userkit.UserID
	store                   word
	stableID, transactionID string
	product, environment    word
	reason                  word
	expiresAt               micros
	createdAt, updatedAt    micros
	factsAt, verifiedAt     micros
	leasedUntil             micros
	undecided               int32
	trial, family           bool
	active, acknowledged    bool
	token                   string
	raw                     []byte
	items                   []userkit.PurchaseItem
	supersedes              []string
}

type byPurchaseTime struct{}

func (byPurchaseTime) compare(a, b *purchase) int {
	if c := cmp.Compare(a.purchasedAt, b.purchasedAt); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

type byDueTime struct{}

func (byDueTime) compare(a, b *purchase) int {
	if a.store != b.store {
		return strings.Compare(a.store.Value(), b.store.Value())
	}
	if c := cmp.Compare(a.dueAt, b.dueAt); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

type byStableID struct{}

func (byStableID) compare(a, b *purchase) int {
	if c := strings.Compare(a.stableID, b.stableID); c != 0 {
		return c
	}
	if a.store != b.store {
		return strings.Compare(a.store.Value(), b.store.Value())
	}
	return compareIDs(&a.id, &b.id)
}

func purchaseOf(user userkit.UserID, from *userkit.Purchase) *purchase {
	p := &purchase{
		id:            from.ID,
		user:          user,
		store:         wordOf(from.Store),
		stableID:      from.StableID,
		transactionID: from.TransactionID,
		product:       wordOf(from.ProductID),
		environment:   wordOf(from.Environment),
		purchasedAt:   microsOf(from.PurchasedAt),
		expiresAt:     microsOf(from.ExpiresAt),
		trial:         from.Trial,
		family:        from.FamilyShared,
		active:        from.Active,
		reason:        wordOf(from.Reason),
		createdAt:     microsOf(from.CreatedAt),
		updatedAt:     microsOf(from.UpdatedAt),
		factsAt:       microsOf(from.FactsAt),
		verifiedAt:    microsOf(from.VerifiedAt),
		dueAt:         microsOf(from.DueAt),
		token:         from.Token,
		leasedUntil:   microsOf(from.LeasedUntil),
		undecided:     int32(from.Undecided),
		acknowledged:  from.Acknowledged,
	}
	if len(from.Raw) > 0 {
		p.raw = slices.Clone(from.Raw)
	}
	if len(from.Items) > 0 {
		p.items = slices.Clone(from.Items)
	}
	if len(from.Supersedes) > 0 {
		p.supersedes = slices.Clone(from.Supersedes)
	}
	return p
}

// fill writes everything but the raw data and the lists, which no list sorts by.
func (p *purchase) fill(to *userkit.Purchase) {
	*to = userkit.Purchase{
		ID:            p.id,
		UserID:        p.user,
		Store:         p.store.Value(),
		StableID:      p.stableID,
		TransactionID: p.transactionID,
		ProductID:     p.product.Value(),
		Environment:   userkit.Environment(p.environment.Value()),
		PurchasedAt:   p.purchasedAt.time(),
		ExpiresAt:     p.expiresAt.time(),
		Trial:         p.trial,
		FamilyShared:  p.family,
		Active:        p.active,
		Reason:        userkit.PurchaseReason(p.reason.Value()),
		CreatedAt:     p.createdAt.time(),
		UpdatedAt:     p.updatedAt.time(),
		FactsAt:       p.factsAt.time(),
		VerifiedAt:    p.verifiedAt.time(),
		DueAt:         p.dueAt.time(),
		Token:         p.token,
		LeasedUntil:   p.leasedUntil.time(),
		Undecided:     int(p.undecided),
		Acknowledged:  p.acknowledged,
	}
}

func (p *purchase) out() (to userkit.Purchase) {
	p.fill(&to)
	to.Raw = slices.Clone(json.RawMessage(p.raw))
	to.Items, to.Supersedes = slices.Clone(p.items), slices.Clone(p.supersedes)
	return to
}

// put adds a purchase, or puts it in the place of the one with its id.
func (p *purchases) put(own *belongings, next *purchase) {
	if before := p.byID[next.id]; before != nil {
		if before.purchasedAt != next.purchasedAt {
			p.byTime.remove(before)
			own.purchases.remove(before)
		}
		if before.stableID != next.stableID || before.store != next.store {
			p.byStable.remove(before)
		}
		if before.dueAt != none && (before.dueAt != next.dueAt || before.store != next.store) {
			p.due.remove(before)
		}
	}
	if own.purchases == nil {
		own.purchases = &set[purchase, byPurchaseTime]{}
	}
	own.purchases.put(next)
	p.byID[next.id] = next
	p.byTime.put(next)
	p.byStable.put(next)
	if next.dueAt != none {
		p.due.put(next)
	}
}

// remove takes a purchase out of the indexes of the project.
func (p *purchases) remove(gone *purchase) {
	delete(p.byID, gone.id)
	p.byTime.remove(gone)
	p.byStable.remove(gone)
	if gone.dueAt != none {
		p.due.remove(gone)
	}
}

// with yields the purchases that have a stable id.
func (p *purchases) with(store word, stableID string) func(yield func(*purchase) bool) {
	walk := p.byStable.cursor(span[purchase]{low: &purchase{store: store, stableID: stableID}}, false)
	return func(yield func(*purchase) bool) {
		for next := walk.next(); next != nil && next.store == store && next.stableID == stableID; next = walk.next() {
			if !yield(next) {
				return
			}
		}
	}
}

// Purchase returns one purchase.
func (s *Store) Purchase(ctx context.Context, id userkit.PurchaseID) (userkit.Purchase, error) {
	if err := s.ready(ctx); err != nil {
		return userkit.Purchase{}, err
	}
	s.mu.RLock()
	found := s.purchases.byID[id]
	s.mu.RUnlock()
	if found == nil {
		return userkit.Purchase{}, userkit.NewError(userkit.CodePurchaseNotFound, "", "no purchase %s", id)
	}
	return found.out(), nil
}

// FindPurchases returns the purchases with a stable id, in no order.
func (s *Store) FindPurchases(ctx context.Context, store, stableID string) ([]userkit.Purchase, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	found := slices.Collect(s.purchases.with(wordOf(store), stableID))
	s.mu.RUnlock()
	return convert(found, (*purchase).out), nil
}

var purchaseFields = fieldsByName(userkit.PurchaseFields())

// Purchases lists purchases by any sortable field of userkit.PurchaseFields. The
// order purchased_at has an index.
func (s *Store) Purchases(ctx context.Context, filter userkit.PurchaseFilter, list userkit.ListRange) ([]userkit.Purchase, error) {
	return purchaseQuery.page(ctx, s, list, s.openPurchases(filter, list))
}

// CountPurchases counts the purchases of a filter.
func (s *Store) CountPurchases(ctx context.Context, filter userkit.PurchaseFilter) (int64, error) {
	return count(ctx, s, s.openPurchases(filter, userkit.ListRange{}))
}

var purchaseQuery = query[purchase, userkit.Purchase]{
	fields: purchaseFields,
	id:     func(p *purchase) [16]byte { return p.id },
	fill:   (*purchase).fill,
	out:    (*purchase).out,
}

// openPurchases returns what opens the purchases of a filter for a list.
func (s *Store) openPurchases(filter userkit.PurchaseFilter, list userkit.ListRange) func(snapshot bool) source[purchase] {
	var match func(*purchase) bool
	if filter.Store != "" || filter.OnlyActive {
		store := wordOf(filter.Store)
		match = func(p *purchase) bool {
			return (filter.Store == "" || p.store == store) && (!filter.OnlyActive || p.active)
		}
	}
	return func(snapshot bool) source[purchase] {
		from := source[purchase]{match: match}
		purchases := &s.purchases.byTime
		if !filter.UserID.IsZero() {
			purchases = &set[purchase, byPurchaseTime]{}
			if own := s.users.belongings(filter.UserID); own != nil && own.purchases != nil {
				purchases = own.purchases
			}
		}
		view := purchases.view(snapshot)
		if list.Order.Field != "purchased_at" {
			from.all = view.each
			return from
		}
		var part span[purchase]
		if list.After != nil {
			part.after = &purchase{purchasedAt: microsOf(list.After.Key.(time.Time)), id: list.After.ID}
		}
		from.rows = view.cursor(part, list.Order.Descending).next
		return from
	}
}

// LeasePurchases returns purchases of some stores that are due and not leased, in the order of the
// stores and of their due times, and leases them.
func (s *Store) LeasePurchases(ctx context.Context, stores []string, now, until time.Time, limit int) ([]userkit.Purchase, error) {
	leased, err := leases[purchase, byDueTime]{
		due:   &s.purchases.due,
		dueAt: func(store word, at micros) *purchase { return &purchase{store: store, dueAt: at} },
		until: func(record *purchase) *micros { return &record.leasedUntil },
		put:   func(record *purchase) { s.purchases.put(s.users.belongings(record.user), record) },
	}.take(ctx, s, words(stores), now, until, limit)
	if err != nil {
		return nil, err
	}
	return convert(leased, (*purchase).out), nil
}
