package postgres

import (
	"context"

	"github.com/userkit/userkit"
)

var eventReads = eventColumns.reads("e")

func eventTargets(to []any, event *userkit.Event) []any { return eventColumns.targets(to, event) }

// Events implements userkit.Store.
func (s *Store) Events(ctx context.Context, filter userkit.EventFilter, list userkit.List) ([]userkit.Event, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if !storable(string(filter.Name)) {
		return []userkit.Event{}, nil
	}
	q := &statement{}
	q.add("SELECT "+eventReads+"\nFROM ? AS e\nWHERE e.project = ?", s.table("events"), quoted(s.project))
	q.within("e", filter.UserID, eventSortings, list, "at")
	if !filter.DeviceID.IsZero() {
		q.add(" AND e.device_id = ?", quotedID(filter.DeviceID))
	}
	if filter.Name != "" {
		q.add(" AND e.name = ?", quoted(string(filter.Name)))
	}
	q.between("e.at", filter.From, filter.To)
	if err := q.page(list, eventSortings, "e.id"); err != nil {
		return nil, err
	}
	return selectRecords(ctx, s, q, eventTargets)
}

// alongPositions is the condition of events_by_position, which holds for every event.
const alongPositions = "e.position > -9223372036854775808"

// Feed implements userkit.Store.
//
// An event's position is made from the id of the transaction that wrote it, so
// positions grow with the order in which transactions begin to write, not with
// that in which they commit. An event is therefore listed only once every
// transaction that could still write an earlier position has ended. So a
// transaction that stays open, of whatever program and in whatever database of
// the cluster, holds the feed back while it lasts; it never makes it skip.
func (s *Store) Feed(ctx context.Context, after userkit.FeedPosition, limit int) ([]userkit.FeedEvent, error) {
	q := &statement{}
	q.add("SELECT e.position, "+eventReads+`
FROM ? AS e
WHERE e.project = ? AND `+alongPositions+` AND (e.position, e.id) > (?, ?)
AND e.position < (SELECT p.feed_offset + pg_snapshot_xmin(pg_current_snapshot())::text::bigint FROM ? AS p WHERE p.project = ?)
ORDER BY e.position, e.id
LIMIT ?`,
		s.table("events"), quoted(s.project), after.Commit, quotedID(after.Event), s.table("projects"), quoted(s.project), limit)
	events, err := selectRecords(ctx, s, q, func(to []any, event *userkit.FeedEvent) []any {
		return eventTargets(append(to, (*integer)(&event.Position.Commit)), &event.Event)
	})
	for i := range events {
		events[i].Position.Event = events[i].Event.ID
	}
	return events, err
}
