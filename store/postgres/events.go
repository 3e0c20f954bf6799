package postgres

import (
	"context"
	"database/sql"

	"github.com/userkit/userkit"
)

var eventReads = eventColumns.reads("e")

func eventTargets(to []any, event *userkit.Event) []any { return eventColumns.targets(to, event) }

// Events implements userkit.Store.
func (s *Store) Events(ctx context.Context, filter userkit.EventFilter, list userkit.List) ([]userkit.Event, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if !storable(string(filter.Name)) || !storable(string(filter.ActorKind)) || !storable(filter.ActorID) {
		return []userkit.Event{}, nil
	}
	q := &statement{}
	q.add("SELECT "+eventReads+"\nFROM ? AS e\nWHERE e.project = ?", s.table("events"), quoted(s.project))
	if filter.UserID.IsZero() && filter.ActorID != "" {
		q.add(" AND e.actor_id = ? AND e.actor_id <> ''", quoted(filter.ActorID)) // the index events_by_actor
	} else {
		q.within("e", filter.UserID, eventSortings, list, "at")
		if filter.ActorID != "" {
			q.add(" AND e.actor_id = ?", quoted(filter.ActorID))
		}
	}
	if filter.ActorKind != "" {
		q.add(" AND e.actor_kind = ?", quoted(string(filter.ActorKind)))
	}
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

// CommitEvent implements userkit.Store.
func (s *Store) CommitEvent(ctx context.Context, event userkit.Event) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	event.UserID = userkit.UserID{}
	w := &work{store: s, q: &statement{}}
	w.insertEvents([]*userkit.Event{&event})
	w.q.add(")\nSELECT true")
	if w.err != nil {
		return w.err
	}
	var made flag
	return s.atomically(ctx, func(s *Store) error {
		return s.query(ctx, w.q, func(rows *sql.Rows) error { return rows.Scan(&made) })
	})
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
	feed, err := s.feedID(ctx)
	if err != nil {
		return nil, err
	}
	if after.Feed != ([16]byte{}) && after.Feed != feed {
		return nil, userkit.NewError(userkit.CodeCursorMismatch, "cursor", "the cursor belongs to the feed of another store")
	}
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
		events[i].Position.Feed, events[i].Position.Event = feed, events[i].Event.ID
	}
	return events, err
}

// feedID returns what tells the feed of this project in this database from others. It
// is read once; Migrate has made it. It is zero where there is no such project.
func (s *Store) feedID(ctx context.Context) ([16]byte, error) {
	if known := s.feed.Load(); known != nil {
		return *known, nil
	}
	q := &statement{}
	q.add("SELECT p.feed_id FROM ? AS p WHERE p.project = ?", s.table("projects"), quoted(s.project))
	var id identifier
	if err := s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&id) }); err != nil {
		return [16]byte{}, err
	}
	known := [16]byte(id)
	if known != ([16]byte{}) {
		s.feed.Store(&known)
	}
	return known, nil
}
