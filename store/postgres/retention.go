package postgres

import (
	"context"
	"database/sql"
	"strconv"
	"time"

	"github.com/userkit/userkit"
)

// expiring is how the records of a kind that are kept no longer are found: those of t that
// meet a condition, whose places are all for the time of the expiry. first is when they are
// oldest first, in an order that has an index whose condition is that first is set. key is
// what they are deleted by.
type expiring struct {
	first, condition, key string
}

// expirings are the kinds of userkit.RetainableKinds, but for days and events.
var expirings = map[string]expiring{
	userkit.RowsSessions:   {"t.closed_at", "t.closed_at < ? AND t.ended_at IS NOT NULL", "t.id"},
	userkit.RowsMessages:   {"t.sent_at", "t.sent_at < ?", "t.id"},
	userkit.RowsDeliveries: {"t.created_at", "t.created_at < ? AND t.state <> '" + string(userkit.DeliveryWaiting) + "'", "t.id"},
	// One that is over began before.
	userkit.RowsConnections: {"t.started_at", "t.started_at < ? AND (t.ended_at < ? OR t.expires_at < ?)", "t.id"},
	userkit.RowsActivations: {"t.expires_at", "t.expires_at < ?", "t.user_id"},
}

// retainable is the condition of the index of events by name: those that are
// userkit.EventName.Retainable.
const retainable = "(e.name < 'balance.' OR e.name >= 'balance/') AND (e.name < 'purchase.' OR e.name >= 'purchase/')"

// oldDays is the condition of the index of days.
const oldDays = "t.day > '0001-01-01'::date"

// expired adds where the records of an expiry are, as t or, of events, as e. It returns the
// order in which the oldest come first, and whether there is such a kind.
func (q *statement) expired(s *Store, e userkit.Expiry) (order string, known bool) {
	switch e.Kind {
	case userkit.RowsDays:
		q.add(" FROM ? AS t WHERE t.project = ? AND "+oldDays+" AND t.day < ?", s.table(e.Kind), quoted(s.project), quotedDay(e.BeforeDay))
		return "t.day, t.user_id", true
	case userkit.RowsEvents:
		q.add(" FROM ? AS e WHERE e.project = ? AND e.name = ? AND "+retainable+" AND e.at < ?",
			s.table(e.Kind), quoted(s.project), quoted(string(e.Event)), quotedTime(e.Before))
		return "e.at, e.id", true
	}
	kind, known := expirings[e.Kind]
	if known {
		q.add(" FROM ? AS t WHERE t.project = ? AND "+kind.first+" > "+noTime, s.table(e.Kind), quoted(s.project))
		q.meets(kind, e)
	}
	return kind.first + ", " + kind.key, known
}

// meets adds the condition of an expiry.
func (q *statement) meets(kind expiring, e userkit.Expiry) {
	q.add(" AND " + kind.condition)
	for range countPlaces(kind.condition) {
		q.args = append(q.args, quotedTime(e.Before))
	}
}

func countPlaces(text string) (count int) {
	for _, sign := range text {
		if sign == '?' {
			count++
		}
	}
	return count
}

func unknownExpiry(e userkit.Expiry) error {
	return userkit.NewError(userkit.CodeUnknownValue, "kind", "retention deletes no records of the kind %q", e.Kind)
}

// CountExpired implements userkit.Store.
func (s *Store) CountExpired(ctx context.Context, e userkit.Expiry) (int64, error) {
	q := &statement{}
	q.add("SELECT count(*)")
	if _, known := q.expired(s, e); !known {
		return 0, unknownExpiry(e)
	}
	return s.count(ctx, q)
}

// DeleteExpired implements userkit.Store. It finds the oldest records, locks the accounts of their
// users as a commit does, skipping those that are already locked, and deletes the records that are
// unchanged, which it finds by key: it does not state the condition of the other index.
func (s *Store) DeleteExpired(ctx context.Context, e userkit.Expiry, limit int) (int64, error) {
	q := &statement{}
	key := expirings[e.Kind].key
	switch e.Kind {
	case userkit.RowsDays:
		q.add("WITH old AS MATERIALIZED (SELECT t.user_id, t.day")
	case userkit.RowsEvents:
		q.add("WITH old AS MATERIALIZED (SELECT e.id")
	default:
		q.add("WITH old AS MATERIALIZED (SELECT t.user_id, " + key + " AS key")
	}
	order, known := q.expired(s, e)
	if !known {
		return 0, unknownExpiry(e)
	}
	q.add("\nORDER BY " + order + "\nLIMIT " + strconv.Itoa(limit))
	if e.Kind == userkit.RowsEvents {
		s.deleteEvents(q)
	} else {
		q.add("),\nowners AS MATERIALIZED (SELECT a.user_id FROM ? AS a WHERE a.project = ? AND a.user_id = ANY (ARRAY(SELECT o.user_id FROM old AS o))\n"+
			"ORDER BY a.user_id FOR UPDATE SKIP LOCKED),\n", s.table("accounts"), quoted(s.project))
	}
	switch e.Kind {
	case userkit.RowsDays:
		s.deleteDays(q)
	case userkit.RowsEvents:
	default:
		q.add("gone AS (DELETE FROM ? AS t USING old AS o WHERE t.project = ? AND "+keyed(key, "o.key")+
			" AND o.user_id IN (SELECT w.user_id FROM owners AS w)", s.table(e.Kind), quoted(s.project))
		q.meets(expirings[e.Kind], e)
		q.add(" RETURNING t.user_id),\n"+
			"raised AS (UPDATE ? AS a SET version = a.version + 1 WHERE a.project = ? AND a.user_id = ANY (ARRAY(SELECT DISTINCT g.user_id FROM gone AS g)))",
			s.table("accounts"), quoted(s.project))
	}
	q.add("\nSELECT count(*) FROM gone")
	var deleted integer
	err := s.atomically(ctx, func(s *Store) error {
		return s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&deleted) })
	})
	return int64(deleted), err
}

// deleteDays adds what deletes days and adds them to the sum of those before.
func (s *Store) deleteDays(q *statement) {
	q.add("gone AS (DELETE FROM ? AS t USING old AS o WHERE t.project = ? AND "+keyed("t.user_id", "o.user_id")+
		" AND "+keyed("t.day", "o.day")+" AND o.user_id IN (SELECT w.user_id FROM owners AS w)\nRETURNING t.user_id, t.received, t.sent, t.forgiven),\n"+
		"summed AS (INSERT INTO ? AS t (project, user_id, day, received, sent, forgiven)\nSELECT ?, g.user_id, ?",
		s.table(userkit.RowsDays), quoted(s.project), s.table(userkit.RowsDays), quoted(s.project), quotedDay(userkit.UsageBefore))
	for _, column := range []string{"received", "sent", "forgiven"} {
		q.add(", least(sum(g." + column + "), 9223372036854775807)::bigint")
	}
	q.add(" FROM gone AS g GROUP BY g.user_id\nON CONFLICT (user_id, project, day) DO UPDATE SET ")
	for i, column := range []string{"received", "sent", "forgiven"} {
		if i > 0 {
			q.add(", ")
		}
		q.add(column + " = least(t." + column + "::numeric + excluded." + column + ", 9223372036854775807)::bigint")
	}
	q.add(")")
}

// deleteEvents adds what deletes events, and notes the last place in the feed that is gone.
func (s *Store) deleteEvents(q *statement) {
	q.add(" FOR UPDATE SKIP LOCKED),\ngone AS (DELETE FROM ? AS e USING old AS o WHERE e.project = ? AND "+keyed("e.id", "o.id")+"\n"+
		"RETURNING e.position, e.id),\nlast AS (SELECT g.position, g.id FROM gone AS g ORDER BY g.position DESC, g.id DESC LIMIT 1),\n"+
		"floor AS (UPDATE ? AS p SET feed_floor = l.position, feed_floor_event = l.id FROM last AS l\n"+
		"WHERE p.project = ? AND (p.feed_floor IS NULL OR (p.feed_floor, p.feed_floor_event) < (l.position, l.id)))",
		s.table(userkit.RowsEvents), quoted(s.project), s.table("projects"), quoted(s.project))
}

// EventNames implements userkit.Store. It skips from one name to the next, whatever the number of
// events with each name.
func (s *Store) EventNames(ctx context.Context) ([]userkit.EventName, error) {
	q := &statement{}
	next := func(condition string) {
		q.add("(SELECT e.name FROM ? AS e WHERE e.project = ? AND "+retainable+condition+"\nORDER BY e.name LIMIT 1)", s.table("events"), quoted(s.project))
	}
	q.add("WITH RECURSIVE names AS (\n")
	next("")
	q.add("\nUNION ALL SELECT ")
	next(" AND e.name > n.name")
	q.add(" FROM names AS n WHERE n.name IS NOT NULL)\nSELECT n.name FROM names AS n WHERE n.name IS NOT NULL ORDER BY n.name")
	return selectRecords(ctx, s, q, func(to []any, name *userkit.EventName) []any { return append(to, (*text)(name)) })
}

// Now implements userkit.Store.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	q := &statement{}
	q.add("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
	var now time.Time
	err := s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan((*instant)(&now)) })
	return now, err
}

// LeaseDuty implements userkit.Store.
func (s *Store) LeaseDuty(ctx context.Context, duty string, now, until time.Time) (bool, error) {
	q := &statement{}
	q.add("INSERT INTO ? AS d (project, name, leased_until) VALUES (?, ?, ?)\n"+
		"ON CONFLICT (name, project) DO UPDATE SET leased_until = excluded.leased_until WHERE d.leased_until <= ?\nRETURNING true",
		s.table("duties"), quoted(s.project), quoted(duty), quotedTime(until), quotedTime(now))
	var ours flag
	err := s.atomically(ctx, func(s *Store) error {
		ours = false
		return s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&ours) })
	})
	return bool(ours), err
}

// passed reports whether an event after a position was deleted for its age.
func (s *Store) expiredCursor(ctx context.Context, after userkit.FeedPosition) (bool, error) {
	q := &statement{}
	q.add("SELECT true FROM ? AS p WHERE p.project = ? AND (p.feed_floor, p.feed_floor_event) > (?, ?)",
		s.table("projects"), quoted(s.project), after.Commit, quotedID(after.Event))
	var passed flag
	err := s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&passed) })
	return bool(passed), err
}
