package postgres

import (
	"context"
	"time"

	"github.com/userkit/userkit"
)

var purchaseReads = purchaseColumns.reads("p")

// selectPurchases adds a statement over the purchases of the project; a condition
// may follow.
func (s *Store) selectPurchases(q *statement) {
	q.add("SELECT "+purchaseReads+"\nFROM ? AS p\nWHERE p.project = ?", s.table("purchases"), quoted(s.project))
}

// Purchase implements userkit.Store.
func (s *Store) Purchase(ctx context.Context, id userkit.PurchaseID) (userkit.Purchase, error) {
	q := &statement{}
	s.selectPurchases(q)
	q.add(" AND p.id = ?", quotedID(id))
	return selectOne(ctx, s, q, userkit.CodePurchaseNotFound, purchaseColumns.targets)
}

// FindPurchases implements userkit.Store.
func (s *Store) FindPurchases(ctx context.Context, store, stableID string) ([]userkit.Purchase, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if !storable(store) || !storable(stableID) {
		return []userkit.Purchase{}, nil
	}
	q := &statement{}
	s.selectPurchases(q)
	q.add(" AND p.store = ? AND p.stable_id = ?", quoted(store), quoted(stableID))
	return selectRecords(ctx, s, q, purchaseColumns.targets)
}

// Purchases implements userkit.Store.
func (s *Store) Purchases(ctx context.Context, filter userkit.PurchaseFilter, list userkit.ListRange) ([]userkit.Purchase, error) {
	return readList(ctx, s, s.purchases, filter, list, purchaseColumns.targets)
}

// CountPurchases implements userkit.Store.
func (s *Store) CountPurchases(ctx context.Context, filter userkit.PurchaseFilter) (int64, error) {
	return countList(ctx, s, s.purchases, filter)
}

// purchases is the listing of Purchases.
func (s *Store) purchases(filter userkit.PurchaseFilter, list userkit.ListRange) (*statement, error) {
	if !storable(filter.Store) {
		return nil, nil
	}
	q := &statement{}
	s.selectPurchases(q)
	q.within("p", filter.UserID, purchaseSortings, list, "purchased_at")
	if filter.Store != "" {
		q.add(" AND p.store = ?", quoted(filter.Store))
	}
	if filter.OnlyActive {
		q.add(" AND p.active")
	}
	return q, q.page(list, purchaseSortings, "p.id")
}

// LeasePurchases implements userkit.Store.
func (s *Store) LeasePurchases(ctx context.Context, stores []string, now, until time.Time, limit int) ([]userkit.Purchase, error) {
	return lease(ctx, s, userkit.RowsPurchases, purchaseColumns, "store", stores, now, until, limit)
}

// lease leases records that are due, of each of the services that a column names. It goes along them
// in the order in which they are due, past those that are leased, and past those whose rows another
// transaction has locked: it waits for nobody. A row that changed since the statement began is
// looked at as it is now, so no two callers lease one.
func lease[R any, S ~string](ctx context.Context, s *Store, table string, columns columns[R], column string, services []S, now, until time.Time, limit int) ([]R, error) {
	if err := s.ready(ctx); err != nil || len(services) == 0 {
		return nil, err
	}
	var names array
	for _, service := range services {
		if storable(string(service)) {
			names.text(string(service))
		}
	}
	q := &statement{}
	q.add("WITH due AS MATERIALIZED (\nSELECT t.id FROM unnest(?) AS n(service)\nCROSS JOIN LATERAL (SELECT t.id FROM ? AS t\nWHERE t.project = ? AND t."+column+
		" = n.service AND t.due_at <= (SELECT ?) AND coalesce(t.leased_until, "+noTime+") <= ?\nORDER BY t.due_at, t.id",
		names.of("text"), s.table(table), quoted(s.project), quotedTime(now), quotedTime(now))
	q.limit(limit)
	q.expected = min(limit*len(services), userkit.MaxPageLimit+1)
	order := "\nORDER BY t." + column + ", t.due_at, t.id"
	q.add("\nFOR UPDATE SKIP LOCKED) AS t),\nleased AS (\nUPDATE ? AS t SET leased_until = ? FROM due WHERE t.project = ? AND "+keyed("t.id", "due.id")+"\nRETURNING t.*)\nSELECT "+
		columns.reads("t")+"\nFROM leased AS t"+order,
		s.table(table), quotedTime(until), quoted(s.project))
	var leased []R
	err := s.atomically(ctx, func(s *Store) (err error) {
		leased, err = selectOnce(ctx, s, q, columns.targets)
		return err
	})
	if err != nil {
		return nil, err
	}
	return leased, nil
}
