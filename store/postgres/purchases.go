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
func (s *Store) Purchases(ctx context.Context, filter userkit.PurchaseFilter, list userkit.List) ([]userkit.Purchase, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if !storable(filter.Store) {
		return []userkit.Purchase{}, nil
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
	if err := q.page(list, purchaseSortings, "p.id"); err != nil {
		return nil, err
	}
	return selectRecords(ctx, s, q, purchaseColumns.targets)
}

// LeasePurchases implements userkit.Store. It goes along the purchases in the order
// in which they are due, past those that are leased, and past those whose rows
// another transaction has locked: it waits for nobody. A row that changed since the
// statement began is looked at as it is now, so no two callers lease one.
func (s *Store) LeasePurchases(ctx context.Context, now, until time.Time, limit int) ([]userkit.Purchase, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	q := &statement{}
	q.add("WITH due AS MATERIALIZED (\nSELECT p.id FROM ? AS p\nWHERE p.project = ? AND p.due_at <= (SELECT ?) AND coalesce(p.leased_until, "+noTime+") <= ?\nORDER BY p.due_at, p.id",
		s.table("purchases"), quoted(s.project), quotedTime(now), quotedTime(now))
	q.limit(limit)
	q.add("\nFOR UPDATE SKIP LOCKED),\nleased AS (\nUPDATE ? AS p SET leased_until = ? FROM due WHERE p.project = ? AND "+keyed("p.id", "due.id")+"\nRETURNING p.*)\nSELECT "+
		purchaseReads+"\nFROM leased AS p\nORDER BY p.due_at, p.id",
		s.table("purchases"), quotedTime(until), quoted(s.project))
	var leased []userkit.Purchase
	err := s.atomically(ctx, func(s *Store) (err error) {
		leased, err = selectOnce(ctx, s, q, purchaseColumns.targets)
		return err
	})
	if err != nil {
		return nil, err
	}
	return leased, nil
}
