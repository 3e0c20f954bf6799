package postgres

import (
	"context"
	"time"

	"github.com/userkit/userkit"
)

var sessionReads = sessionColumns.reads("s")

// slotLength is the precision of the index that finds stale sessions.
const slotLength = 10 * time.Minute

// reportedSlot gives the slot of a time. It never decreases as time goes on.
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
func (s *Store) Sessions(ctx context.Context, filter userkit.SessionFilter, list userkit.List) ([]userkit.Session, error) {
	q := s.selectSessions()
	byClose := filter.UserID.IsZero() && !filter.InternalIP.IsValid() && !filter.ClosedAfter.IsZero()
	if byClose {
		q.add(" AND s.closed_at > ? AND s.closed_at > '-infinity'::timestamptz", quotedTime(filter.ClosedAfter)) // the index sessions_by_close
	} else if filter.UserID.IsZero() && (filter.Node != "" || filter.InternalIP.IsValid()) {
		// The indexes sessions_by_node, sessions_open_by_node and sessions_by_internal_ip.
	} else {
		q.within("s", filter.UserID, sessionSortings, list, "started_at")
	}
	if !filter.ClosedAfter.IsZero() && !byClose {
		q.add(" AND s.closed_at > ?", quotedTime(filter.ClosedAfter))
	}
	if filter.Node != "" {
		q.add(" AND s.node = ?", quoted(filter.Node))
	}
	if filter.InternalIP.IsValid() {
		q.add(" AND s.internal_ip = ?", quotedAddress(filter.InternalIP))
	}
	if !filter.ClosedUntil.IsZero() {
		// Of those that ended before the column was there it says nothing.
		q.add(" AND coalesce(s.closed_at, s.ended_at) <= ?", quotedTime(filter.ClosedUntil))
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
	q.between("s.started_at", filter.From, filter.To)
	if err := q.page(list, sessionSortings, "s.id"); err != nil {
		return nil, err
	}
	return selectRecords(ctx, s, q, sessionColumns.targets)
}

// StaleSessions implements userkit.Store.
func (s *Store) StaleSessions(ctx context.Context, before time.Time, limit int) ([]userkit.Session, error) {
	q := s.selectSessions()
	// The last condition is that of the index sessions_open_by_report.
	q.add(" AND s.ended_at IS NULL AND s.reported_slot <= ? AND s.reported_at < ? AND s.reported_slot > -9223372036854775808\nLIMIT ?",
		reportedSlot(before), quotedTime(before), limit)
	return selectRecords(ctx, s, q, sessionColumns.targets)
}

// Usage implements userkit.Store.
func (s *Store) Usage(ctx context.Context, user userkit.UserID, from, to userkit.Day) ([]userkit.DayUsage, error) {
	q := &statement{}
	q.add("SELECT "+usageColumns.reads("d")+"\nFROM ? AS d\nWHERE d.project = ? AND d.user_id = ? AND d.day >= ? AND d.day <= ?\nORDER BY d.day",
		s.table("usage_days"), quoted(s.project), quotedID(user), quotedDay(from), quotedDay(to))
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
