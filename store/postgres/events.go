package postgres

import (
	"context"
	"database/sql"

	"github.com/userkit/userkit"
)

var eventReads = eventColumns.reads("e")

// Events implements userkit.Store.
func (s *Store) Events(ctx context.Context, filter userkit.EventFilter, list userkit.ListRange) ([]userkit.Event, error) {
	return readList(ctx, s, s.events, filter, list, eventColumns.targets)
}

// CountEvents implements userkit.Store.
func (s *Store) CountEvents(ctx context.Context, filter userkit.EventFilter) (int64, error) {
	return countList(ctx, s, s.events, filter)
}

// events is the listing of Events.
func (s *Store) events(filter userkit.EventFilter, list userkit.ListRange) (*statement, error) {
	if !storable(string(filter.Name)) || !storable(string(filter.ActorKind)) || !storable(filter.ActorID) {
		return nil, nil
	}
	q := &statement{}
	q.add("SELECT "+eventReads+"\nFROM ? AS e\nWHERE e.project = ?", s.table("events"), quoted(s.project))
	if filter.UserID.IsZero() && filter.ActorID != "" {
		q.add(" AND e.actor_id = ? AND e.actor_id <> ''", quoted(filter.ActorID)) // the index events_by_actor
	} else if !filter.UserID.IsZero() || filter.Naming.IsZero() {
		q.within("e", filter.UserID, eventSortings, list, "at")
		if filter.ActorID != "" {
			q.add(" AND e.actor_id = ?", quoted(filter.ActorID))
		}
	}
	// The events that name a user are gathered and sorted.
	if !filter.Naming.IsZero() {
		user := &wanted{user: filter.Naming}
		q.add(" AND e.user_id <> ? AND e.id = ANY (ARRAY(", quotedID(filter.Naming))
		q.naming(s, "(SELECT n.user_id, n.user_id::text AS id FROM ", func() { unnest(q, wantedUsers, []*wanted{user}) })
		q.add("))")
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
	return q, q.page(list, eventSortings, "e.id")
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
// An event's position is made from the id of the transaction that wrote it, so positions follow the
// order in which transactions begin to write, not the order in which they commit. An event is
// therefore listed only when every transaction that could still write an earlier position has
// ended. A transaction that stays open, of any program and in any database of the cluster, holds
// the feed back until it ends, but never makes it skip an event.
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
		return eventColumns.targets(append(to, (*integer)(&event.Position.Commit)), &event.Event)
	})
	for i := range events {
		events[i].Position.Feed, events[i].Position.Event = feed, events[i].Event.ID
	}
	if err != nil || after.Commit == 0 && after.Event.IsZero() {
		return events, err
	}
	// What was deleted before the events were read is known by now.
	if expired, err := s.expiredCursor(ctx, after); err != nil || !expired {
		return events, err
	}
	return nil, userkit.NewError(userkit.CodeCursorExpired, "cursor", "events after the cursor are kept no longer")
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

// naming adds what selects the ids of the events that name one of the users n.
func (q *statement) naming(s *Store, begin string, users func()) {
	separator := ""
	for _, condition := range []string{
		"e.actor_id = g.id AND e.actor_id <> ''",
		"e.on_behalf_of = g.user_id AND e.on_behalf_of IS NOT NULL",
		"string_to_array(e.mentions, ' ') @> ARRAY[g.id] AND e.mentions <> ''",
	} {
		q.add(separator + "SELECT e.id FROM " + begin)
		users()
		q.add(") AS g")
		q.lookUp(s, "events", "e", condition)
		separator = "\nUNION ALL "
	}
}

// eraseNames takes the names of users who were deleted from the records of others.
func (s *Store) eraseNames(ctx context.Context, users []*wanted) error {
	const gone, texts = "(SELECT user_id, id FROM gone", "(SELECT id FROM gone)"
	w := &work{store: s, q: &statement{hot: true}}
	w.cte("gone")
	w.q.add("SELECT n.user_id, n.user_id::text AS id FROM ")
	from(w, wantedUsers, users)
	// actor assigns the columns of an actor, of which the name in the middle ends with the id.
	actor := func(id, name, behalf string) string {
		named := "t." + id + " IN " + texts
		return id + " = CASE WHEN " + named + " THEN '' ELSE t." + id + " END, " +
			name + " = CASE WHEN " + named + " THEN '' ELSE t." + name + " END, " +
			behalf + " = CASE WHEN t." + behalf + " IN (SELECT user_id FROM gone) THEN NULL ELSE t." + behalf + " END"
	}
	mentioned := "string_to_array(t.mentions, ' ') && ARRAY" + texts
	w.cte("erased_events")
	w.q.add("UPDATE ? AS t SET "+actor("actor_id", "actor_name", "on_behalf_of")+
		",\ndata = CASE WHEN "+mentioned+" THEN NULL ELSE t.data END"+
		",\nmentions = CASE WHEN "+mentioned+" THEN (SELECT coalesce(string_agg(m, ' ' ORDER BY place), '') FROM unnest(string_to_array(t.mentions, ' ')) WITH ORDINALITY AS o(m, place) WHERE m NOT IN "+texts+") ELSE t.mentions END"+
		"\nWHERE t.project = ? AND t.id = ANY (ARRAY(", s.table("events"), quoted(s.project))
	w.q.naming(s, gone, func() {})
	w.q.add("))")
	w.cte("erased_transactions")
	w.q.add("UPDATE ? AS t SET "+actor("actor_id", "actor_name", "on_behalf_of")+",\n"+actor("cancelled_by_id", "cancelled_by_name", "cancelled_by_behalf")+
		"\nWHERE t.project = ? AND t.id = ANY (ARRAY(", s.table("transactions"), quoted(s.project))
	separator := ""
	for _, column := range []string{"actor_id", "cancelled_by_id"} {
		w.q.add(separator + "SELECT e.id FROM " + gone + ") AS g")
		w.q.lookUp(s, "transactions", "e", "e."+column+" = g.id AND e."+column+" <> ''")
		separator = "\nUNION ALL "
	}
	for _, column := range []string{"on_behalf_of", "cancelled_by_behalf"} {
		w.q.add(separator + "SELECT e.id FROM " + gone + ") AS g")
		w.q.lookUp(s, "transactions", "e", "e."+column+" = g.user_id AND e."+column+" IS NOT NULL")
	}
	// A change that was decided from what these transactions were must not bring the
	// names back.
	w.q.add("))\nRETURNING t.user_id),\nraised AS (UPDATE ? AS t SET version = t.version + 1 WHERE t.project = ? AND t.user_id = ANY (ARRAY(SELECT user_id FROM erased_transactions)))\nSELECT true",
		s.table("accounts"), quoted(s.project))
	if w.err != nil {
		return w.err
	}
	var done flag
	return s.query(ctx, w.q, func(rows *sql.Rows) error { return rows.Scan(&done) })
}
