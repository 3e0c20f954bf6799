package postgres

import (
	"context"

	"github.com/userkit/userkit"
)

var connectionReads = connectionColumns.reads("c")

// selectConnections adds a statement over the connections of the project; a condition may
// follow.
func (s *Store) selectConnections(q *statement) {
	q.add("SELECT "+connectionReads+"\nFROM ? AS c\nWHERE c.project = ?", s.table("connections"), quoted(s.project))
}

// Connection implements userkit.Store.
func (s *Store) Connection(ctx context.Context, id userkit.ConnectionID) (userkit.Connection, error) {
	q := &statement{}
	s.selectConnections(q)
	q.add(" AND c.id = ?", quotedID(id))
	return selectOne(ctx, s, q, userkit.CodeConnectionNotFound, connectionColumns.targets)
}

// Connections implements userkit.Store.
func (s *Store) Connections(ctx context.Context, filter userkit.ConnectionFilter, list userkit.ListRange) ([]userkit.Connection, error) {
	return readList(ctx, s, s.connections, filter, list, connectionColumns.targets)
}

// CountConnections implements userkit.Store.
func (s *Store) CountConnections(ctx context.Context, filter userkit.ConnectionFilter) (int64, error) {
	return countList(ctx, s, s.connections, filter)
}

// connections is the listing of Connections.
func (s *Store) connections(filter userkit.ConnectionFilter, list userkit.ListRange) (*statement, error) {
	if !storable(filter.ActorID) {
		return nil, nil
	}
	q := &statement{}
	s.selectConnections(q)
	q.within("c", filter.UserID, connectionSortings, list, "started_at")
	if filter.ActorID != "" {
		q.add(" AND c.actor_id = ?", quoted(filter.ActorID))
	}
	if !filter.OpenAt.IsZero() {
		q.add(" AND c.ended_at IS NULL AND c.expires_at > ?", quotedTime(filter.OpenAt))
	}
	return q, q.page(list, connectionSortings, "c.id")
}
