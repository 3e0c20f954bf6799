package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

var sessionReads = sessionColumns.reads("s")

// slotLength is the precision of the index that finds stale sessions.
const slotLength = 10 * time.Minute

// reportedSlot returns the slot of a time. It never decreases as time goes on.
func reportedSlot(t time.Time) int64 {
	seconds, length := t.Unix(), int64(slotLength/time.Second)
	slot := seconds / length
	if seconds%length < 0 {
		slot--
	}
	return slot
}

// selectSessions begins a statement over the sessions of the project; a
// condition may follow.
func (s *Store) selectSessions() *statement {
	q := &statement{}
	q.add("SELECT "+sessionReads+"\nFROM ? AS s\nWHERE s.project = ?", s.table("sessions"), quoted(s.project))
	return q
}

// Session implements userkit.Store.
func (s *Store) Session(ctx context.Context, id userkit.SessionID) (userkit.Session, error) {
	q := s.selectSessions()
	q.add(" AND s.id = ?", quotedID(id))
	return selectOne(ctx, s, q, userkit.CodeSessionNotFound, sessionColumns.targets)
}

// SessionOwners implements userkit.Store.
func (s *Store) SessionOwners(ctx context.Context, ids []userkit.SessionID) (map[userkit.SessionID]userkit.UserID, error) {
	if len(ids) == 0 {
		return map[userkit.SessionID]userkit.UserID{}, s.ready(ctx)
	}
	rows := make([]*wanted, len(ids))
	for i, id := range ids {
		rows[i] = &wanted{id: id}
	}
	q := &statement{hot: true}
	q.add("SELECT s.id, s.user_id\nFROM ")
	unnest(q, wantedIDs[:1], rows)
	q.lookUp(s, "sessions", "s", "s.id = n.id")
	type ownedSession struct{ id, owner identifier }
	found, err := selectRecords(ctx, s, q, func(to []any, session *ownedSession) []any {
		return append(to, &session.id, &session.owner)
	})
	if err != nil {
		return nil, err
	}
	owners := make(map[userkit.SessionID]userkit.UserID, len(found))
	for _, session := range found {
		owners[userkit.SessionID(session.id)] = userkit.UserID(session.owner)
	}
	return owners, nil
}

// Sessions implements userkit.Store.
func (s *Store) Sessions(ctx context.Context, filter userkit.SessionFilter, list userkit.ListRange) ([]userkit.Session, error) {
	return readList(ctx, s, s.sessions, filter, list, sessionColumns.targets)
}

// CountSessions implements userkit.Store.
func (s *Store) CountSessions(ctx context.Context, filter userkit.SessionFilter) (int64, error) {
	return countList(ctx, s, s.sessions, filter)
}

// sessions is the listing of Sessions.
func (s *Store) sessions(filter userkit.SessionFilter, list userkit.ListRange) (*statement, error) {
	spans := filter.Overlaps && !filter.From.IsZero() && filter.State != userkit.SessionsActive
	if spans && filter.UserID.IsZero() && !filter.InternalIP.IsValid() && filter.ClosedAfter.IsZero() {
		return s.sessionsOverSpan(filter, list)
	}
	q := s.selectSessions()
	switch {
	case filter.UserID.IsZero() && !filter.InternalIP.IsValid() && !filter.ClosedAfter.IsZero():
		q.add(" AND s.closed_at > '-infinity'::timestamptz") // the index sessions_by_close
	case filter.UserID.IsZero() && (filter.Node != "" || filter.InternalIP.IsValid()):
		// The indexes sessions_by_node, sessions_open_by_node and sessions_by_internal_ip.
	default:
		q.within("s", filter.UserID, sessionSortings, list, "started_at")
	}
	q.sessionsOf(filter)
	if filter.Overlaps {
		if !filter.To.IsZero() {
			q.add(" AND s.started_at <= ?", quotedTime(filter.To))
		}
		if spans {
			q.add(" AND (s.ended_at IS NULL OR s.ended_at >= ?)", quotedTime(filter.From))
		}
	} else {
		q.between("s.started_at", filter.From, filter.To)
	}
	return q, q.page(list, sessionSortings, "s.id")
}

// sessionsOf adds what a filter asks for beside the user and the span.
func (q *statement) sessionsOf(filter userkit.SessionFilter) {
	if !filter.ClosedAfter.IsZero() {
		q.add(" AND s.closed_at > ?", quotedTime(filter.ClosedAfter))
	}
	if !filter.ClosedUntil.IsZero() {
		// Of those that ended before the column was there it says nothing.
		q.add(" AND coalesce(s.closed_at, s.ended_at) <= ?", quotedTime(filter.ClosedUntil))
	}
	if filter.Node != "" {
		q.add(" AND s.node = ?", quoted(filter.Node))
	}
	if filter.InternalIP.IsValid() {
		q.add(" AND s.internal_ip = ?", quotedAddress(filter.InternalIP))
	}
	if !filter.DeviceID.IsZero() {
		q.add(" AND s.device_id = ?", quotedID(filter.DeviceID))
	}
	switch filter.State {
	case userkit.SessionsActive:
		q.add(" AND s.ended_at IS NULL")
	case userkit.SessionsEnded:
		q.add(" AND s.ended_at IS NOT NULL")
	}
}

// lengths are the classes of sessions by how long they ran, in the index
// sessions_by_length: under a minute, under four, and so on. Those that ran at a
// moment, and ended in a class, ended within its length from then on.
var lengths = func() (lengths []time.Duration) {
	for length := time.Minute; len(lengths) < 13; length *= 4 {
		lengths = append(lengths, length)
	}
	return lengths
}()

// lengthClass gives the class of a session, as the index has it.
var lengthClass = func() string {
	var bounds []string
	for _, length := range lengths {
		bounds = append(bounds, fmt.Sprintf("'%d minutes'", int(length.Minutes())))
	}
	return "width_bucket(s.ended_at - s.started_at, ARRAY[" + strings.Join(bounds, ", ") + "]::interval[])"
}()

// sessionsOverSpan is the listing of sessions of the project, or of a node, that ran in a span: those
// that started in it, those that run since before it, and those that ended after it had
// begun. Each of the three has an index; no index has them all.
func (s *Store) sessionsOverSpan(filter userkit.SessionFilter, list userkit.ListRange) (*statement, error) {
	q := &statement{}
	q.add("SELECT " + sessionReads + "\nFROM (")
	begin := func() {
		q.add("(SELECT s.*\nFROM ? AS s\nWHERE s.project = ?", s.table("sessions"), quoted(s.project))
		if filter.Node == "" {
			q.through(sessionSortings, userkit.ListRange{Order: userkit.Order{Field: "started_at"}}, "")
		}
	}
	end := func() error {
		q.sessionsOf(filter)
		q.add(" AND (s.ended_at IS NULL OR s.ended_at >= ?)", quotedTime(filter.From))
		if !filter.To.IsZero() {
			q.add(" AND s.started_at <= ?", quotedTime(filter.To))
		}
		err := q.page(list, sessionSortings, "s.id")
		q.add(")")
		return err
	}
	begin()
	q.add(" AND s.started_at >= ?", quotedTime(filter.From))
	if err := end(); err != nil {
		return nil, err
	}
	if filter.State != userkit.SessionsEnded {
		q.add("\nUNION ALL\n")
		begin()
		q.add(" AND s.ended_at IS NULL AND s.started_at < ?", quotedTime(filter.From))
		if err := end(); err != nil {
			return nil, err
		}
	}
	q.add("\nUNION ALL\n(SELECT s.*\nFROM (VALUES ")
	for class := range len(lengths) + 1 {
		until := filter.From.AddDate(1000, 0, 0)
		if class < len(lengths) {
			until = filter.From.Add(lengths[class])
		}
		if class > 0 {
			q.add(", ")
		}
		q.add("(?, ?)", class, quotedTime(until))
	}
	q.add(") AS c (class, until)\nCROSS JOIN LATERAL (SELECT s.* FROM ? AS s WHERE s.project = ? AND "+lengthClass+" = c.class"+
		" AND s.ended_at >= ? AND s.ended_at <= c.until AND s.ended_at > "+noTime+" AND s.started_at < ? OFFSET 0) AS s\nWHERE true",
		s.table("sessions"), quoted(s.project), quotedTime(filter.From), quotedTime(filter.From))
	if err := end(); err != nil {
		return nil, err
	}
	q.add(") AS s")
	if list == uncut {
		return q, nil
	}
	q.order(list, sessionSortings[list.Order.Field].expression, "s.id")
	return q, nil
}

// StaleSessions implements userkit.Store.
func (s *Store) StaleSessions(ctx context.Context, before time.Time, limit int) ([]userkit.Session, error) {
	q := s.selectSessions()
	// The last condition is that of the index sessions_open_by_report.
	q.add(" AND s.ended_at IS NULL AND s.reported_slot <= ? AND s.reported_at < ? AND s.reported_slot > -9223372036854775808\nLIMIT ?",
		reportedSlot(before), quotedTime(before), limit)
	return selectRecords(ctx, s, q, sessionColumns.targets)
}

// total adds up a figure of a day, and stops at the largest int64.
func total(column string) string {
	return "least(sum(u." + column + "), 9223372036854775807)::bigint AS " + column
}

// Usage implements userkit.Store.
func (s *Store) Usage(ctx context.Context, user userkit.UserID, from, to userkit.Day) ([]userkit.DayUsage, error) {
	q := &statement{}
	q.add("SELECT " + usageColumns.reads("d") + "\nFROM ")
	if user.IsZero() {
		// The last condition is that of the index usage_days_by_day.
		q.add("(SELECT ?::uuid AS user_id, u.day, "+total("received")+", "+total("sent")+", "+total("forgiven")+
			"\nFROM ? AS u\nWHERE u.project = ? AND u.day >= ? AND u.day <= ? AND u.day > '0001-01-01'::date\nGROUP BY u.day) AS d",
			quotedID(user), s.table("usage_days"), quoted(s.project), quotedDay(from), quotedDay(to))
	} else {
		q.add("? AS d\nWHERE d.project = ? AND d.user_id = ? AND d.day >= ? AND d.day <= ?",
			s.table("usage_days"), quoted(s.project), quotedID(user), quotedDay(from), quotedDay(to))
	}
	q.add("\nORDER BY d.day")
	days, err := selectRecords(ctx, s, q, func(to []any, day *userDay) []any { return usageColumns.targets(to, day) })
	if err != nil {
		return nil, err
	}
	usage := make([]userkit.DayUsage, len(days))
	for i, day := range days {
		usage[i] = day.DayUsage
	}
	return usage, nil
}
