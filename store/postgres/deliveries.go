package postgres

import (
	"context"
	"time"

	"github.com/userkit/userkit"
)

var deliveryReads = deliveryColumns.reads("d")

// hasFailed is the condition that a delivery has failed, as its index has it. alsoFailed is
// the same where another index leads to the deliveries.
const (
	hasFailed  = " AND d.state IN" + failedStates
	alsoFailed = " AND (d.state || '') IN" + failedStates

	failedStates = " ('gone', 'refused', 'expired')"
)

// Deliveries implements userkit.Store.
func (s *Store) Deliveries(ctx context.Context, filter userkit.DeliveryFilter, list userkit.ListRange) ([]userkit.Delivery, error) {
	return readList(ctx, s, s.deliveries, filter, list, deliveryColumns.targets)
}

// CountDeliveries implements userkit.Store.
func (s *Store) CountDeliveries(ctx context.Context, filter userkit.DeliveryFilter) (int64, error) {
	return countList(ctx, s, s.deliveries, filter)
}

// deliveries is the listing of Deliveries.
func (s *Store) deliveries(filter userkit.DeliveryFilter, list userkit.ListRange) (*statement, error) {
	q := &statement{}
	q.add("SELECT "+deliveryReads+"\nFROM ? AS d\nWHERE d.project = ?", s.table("deliveries"), quoted(s.project))
	if !filter.MessageID.IsZero() {
		q.add(" AND d.message_id = ?", quotedID(filter.MessageID))
	}
	switch {
	case !filter.UserID.IsZero():
		q.add(" AND d.user_id = ?", quotedID(filter.UserID))
	case filter.MessageID.IsZero() && !filter.OnlyFailed:
		q.through(deliverySortings, list, "created_at")
	}
	switch {
	case !filter.OnlyFailed:
	case filter.UserID.IsZero() && filter.MessageID.IsZero():
		q.add(hasFailed)
	default:
		q.add(alsoFailed)
	}
	return q, q.page(list, deliverySortings, "d.id")
}

// LeaseDeliveries implements userkit.Store.
func (s *Store) LeaseDeliveries(ctx context.Context, devices []userkit.DeviceType, now, until time.Time, limit int) ([]userkit.Delivery, error) {
	return lease(ctx, s, userkit.RowsDeliveries, deliveryColumns, "device_type", devices, now, until, limit)
}
