package memory

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// deliveries holds the deliveries of all users and their indexes. The deliveries of one
// user are among its belongings.
type deliveries struct {
	byID      map[userkit.DeliveryID]*delivery
	byMessage map[userkit.MessageID]*set[delivery, byDeliveryTime]
	byTime    set[delivery, byDeliveryTime]
	failed    set[delivery, byDeliveryTime]
	due       set[delivery, byDeliveryDue] // those with a due time
}

// delivery is a userkit.Delivery as it is kept. It is never changed.
type delivery struct {
	id               userkit.DeliveryID
	message          userkit.MessageID
	device           userkit.DeviceID
	deviceType       word
	user             userkit.UserID
	createdAt, dueAt micros
	attemptedAt      micros
	leasedUntil      micros
	state            word
	attempts         int
	detail           word
	failed           bool
}

type byDeliveryTime struct{}

func (byDeliveryTime) compare(a, b *delivery) int {
	if c := cmp.Compare(a.createdAt, b.createdAt); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

type byDeliveryDue struct{}

func (byDeliveryDue) compare(a, b *delivery) int {
	if a.deviceType != b.deviceType {
		return strings.Compare(a.deviceType.Value(), b.deviceType.Value())
	}
	if c := cmp.Compare(a.dueAt, b.dueAt); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

func deliveryOf(user userkit.UserID, from *userkit.Delivery) *delivery {
	return &delivery{
		id: from.ID, user: user, message: from.MessageID, device: from.DeviceID, deviceType: wordOf(from.DeviceType),
		state: wordOf(from.State), failed: from.State.Failed(), attempts: from.Attempts, detail: wordOf(from.Detail),
		createdAt: microsOf(from.CreatedAt), attemptedAt: microsOf(from.AttemptedAt),
		dueAt: microsOf(from.DueAt), leasedUntil: microsOf(from.LeasedUntil),
	}
}

func (d *delivery) fill(to *userkit.Delivery) {
	*to = userkit.Delivery{
		ID: d.id, UserID: d.user, MessageID: d.message, DeviceID: d.device, DeviceType: userkit.DeviceType(d.deviceType.Value()),
		State: userkit.DeliveryState(d.state.Value()), Attempts: d.attempts, Detail: d.detail.Value(),
		CreatedAt: d.createdAt.time(), AttemptedAt: d.attemptedAt.time(),
		DueAt: d.dueAt.time(), LeasedUntil: d.leasedUntil.time(),
	}
}

func (d *delivery) out() (to userkit.Delivery) {
	d.fill(&to)
	return to
}

// put adds a delivery, or puts it in the place of the one with its id.
func (d *deliveries) put(own *belongings, next *delivery) {
	if before := d.byID[next.id]; before != nil {
		d.remove(before)
		own.deliveries.remove(before)
	}
	if own.deliveries == nil {
		own.deliveries = &set[delivery, byDeliveryTime]{}
	}
	own.deliveries.put(next)
	d.byID[next.id] = next
	d.byTime.put(next)
	of := d.byMessage[next.message]
	if of == nil {
		of = &set[delivery, byDeliveryTime]{}
		d.byMessage[next.message] = of
	}
	of.put(next)
	if next.failed {
		d.failed.put(next)
	}
	if next.dueAt != none {
		d.due.put(next)
	}
}

// remove takes a delivery out of the indexes of the project.
func (d *deliveries) remove(gone *delivery) {
	delete(d.byID, gone.id)
	d.byTime.remove(gone)
	of := d.byMessage[gone.message]
	if of.remove(gone); of.len() == 0 {
		delete(d.byMessage, gone.message)
	}
	if gone.failed {
		d.failed.remove(gone)
	}
	if gone.dueAt != none {
		d.due.remove(gone)
	}
}

var deliveryFields = fieldsByName(userkit.DeliveryFields())

// Deliveries lists deliveries by any sortable field of userkit.DeliveryFields. The order
// created_at has an index.
func (s *Store) Deliveries(ctx context.Context, filter userkit.DeliveryFilter, list userkit.ListRange) ([]userkit.Delivery, error) {
	return deliveryQuery.page(ctx, s, list, s.openDeliveries(filter, list))
}

// CountDeliveries counts the deliveries of a filter.
func (s *Store) CountDeliveries(ctx context.Context, filter userkit.DeliveryFilter) (int64, error) {
	return count(ctx, s, s.openDeliveries(filter, userkit.ListRange{}))
}

var deliveryQuery = query[delivery, userkit.Delivery]{
	fields: deliveryFields,
	id:     func(d *delivery) [16]byte { return d.id },
	fill:   (*delivery).fill,
	out:    (*delivery).out,
}

// openDeliveries returns what opens the deliveries of a filter for a list.
func (s *Store) openDeliveries(filter userkit.DeliveryFilter, list userkit.ListRange) func(snapshot bool) source[delivery] {
	return func(snapshot bool) source[delivery] {
		from := source[delivery]{match: func(d *delivery) bool {
			return (filter.UserID.IsZero() || d.user == filter.UserID) && (!filter.OnlyFailed || d.failed)
		}}
		found := &s.deliveries.byTime
		switch {
		case !filter.MessageID.IsZero():
			found = s.deliveries.byMessage[filter.MessageID]
		case !filter.UserID.IsZero():
			found = nil
			if own := s.users.belongings(filter.UserID); own != nil {
				found = own.deliveries
			}
		case filter.OnlyFailed:
			found = &s.deliveries.failed
		}
		if found == nil {
			found = &set[delivery, byDeliveryTime]{}
		}
		view := found.view(snapshot)
		if list.Order.Field != "created_at" {
			from.all = view.each
			return from
		}
		var part span[delivery]
		if list.After != nil {
			part.after = &delivery{id: list.After.ID, createdAt: microsOf(list.After.Key.(time.Time))}
		}
		from.rows = view.cursor(part, list.Order.Descending).next
		return from
	}
}

// LeaseDeliveries returns deliveries to some types of devices that are due and not leased, in the
// order of the types and of their due times, and leases them.
func (s *Store) LeaseDeliveries(ctx context.Context, devices []userkit.DeviceType, now, until time.Time, limit int) ([]userkit.Delivery, error) {
	leased, err := leases[delivery, byDeliveryDue]{
		due:   &s.deliveries.due,
		dueAt: func(device word, at micros) *delivery { return &delivery{deviceType: device, dueAt: at} },
		until: func(record *delivery) *micros { return &record.leasedUntil },
		put:   func(record *delivery) { s.deliveries.put(s.users.belongings(record.user), record) },
	}.take(ctx, s, words(devices), now, until, limit)
	if err != nil {
		return nil, err
	}
	return convert(leased, (*delivery).out), nil
}

func loadDeliveries(s *Store, want *userkit.Want, _ *belongings, state *userkit.State) {
	var found []*delivery
	for _, id := range want.Deliveries {
		if d := s.deliveries.byID[id]; d != nil && d.user == want.User {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b *delivery) int { return compareIDs(&a.id, &b.id) })
	state.Deliveries = convertAny(slices.Compact(found), (*delivery).out)
}
