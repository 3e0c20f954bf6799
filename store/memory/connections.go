package memory

import (
	"cmp"
	"context"
	"time"

	"github.com/userkit/userkit"
)

// connections holds the connections to all users and their indexes. Those to one user are
// among its belongings.
type connections struct {
	byID   map[userkit.ConnectionID]*connection
	byTime set[connection, byConnectionStart]
}

// connection is a userkit.Connection as it is kept.
type connection struct {
	id                 userkit.ConnectionID
	startedAt          micros
	user               userkit.UserID
	actor, endedBy     userkit.Actor
	reason             string
	expiresAt, endedAt micros
}

type byConnectionStart struct{}

func (byConnectionStart) compare(a, b *connection) int {
	if c := cmp.Compare(a.startedAt, b.startedAt); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

func connectionOf(user userkit.UserID, from *userkit.Connection) *connection {
	return &connection{
		id: from.ID, user: user, actor: from.Actor, endedBy: from.EndedBy, reason: from.Reason,
		startedAt: microsOf(from.StartedAt), expiresAt: microsOf(from.ExpiresAt), endedAt: microsOf(from.EndedAt),
	}
}

func (c *connection) fill(to *userkit.Connection) {
	*to = userkit.Connection{
		ID: c.id, UserID: c.user, Actor: c.actor, EndedBy: c.endedBy, Reason: c.reason,
		StartedAt: c.startedAt.time(), ExpiresAt: c.expiresAt.time(), EndedAt: c.endedAt.time(),
	}
}

func (c *connection) out() (to userkit.Connection) {
	c.fill(&to)
	return to
}

// put adds a connection, or puts it in the place of the one with its id.
func (c *connections) put(own *belongings, next *connection) {
	if before := c.byID[next.id]; before != nil && before.startedAt != next.startedAt {
		c.byTime.remove(before)
		own.connections.remove(before)
	}
	if own.connections == nil {
		own.connections = &set[connection, byConnectionStart]{}
	}
	own.connections.put(next)
	c.byID[next.id] = next
	c.byTime.put(next)
}

// remove takes a connection out of the indexes of the project.
func (c *connections) remove(gone *connection) {
	delete(c.byID, gone.id)
	c.byTime.remove(gone)
}

// Connection returns one connection.
func (s *Store) Connection(ctx context.Context, id userkit.ConnectionID) (userkit.Connection, error) {
	if err := s.ready(ctx); err != nil {
		return userkit.Connection{}, err
	}
	s.mu.RLock()
	found := s.connections.byID[id]
	s.mu.RUnlock()
	if found == nil {
		return userkit.Connection{}, userkit.NewError(userkit.CodeConnectionNotFound, "", "no connection %s", id)
	}
	return found.out(), nil
}

var connectionFields = fieldsByName(userkit.ConnectionFields())

// Connections lists connections by started_at, which has an index.
func (s *Store) Connections(ctx context.Context, filter userkit.ConnectionFilter, list userkit.ListRange) ([]userkit.Connection, error) {
	return connectionQuery.page(ctx, s, list, s.openConnections(filter, list))
}

// CountConnections counts the connections of a filter.
func (s *Store) CountConnections(ctx context.Context, filter userkit.ConnectionFilter) (int64, error) {
	return count(ctx, s, s.openConnections(filter, userkit.ListRange{}))
}

var connectionQuery = query[connection, userkit.Connection]{
	fields: connectionFields,
	id:     func(c *connection) [16]byte { return c.id },
	fill:   (*connection).fill,
	out:    (*connection).out,
}

// openConnections returns what opens the connections of a filter for a list.
func (s *Store) openConnections(filter userkit.ConnectionFilter, list userkit.ListRange) func(snapshot bool) source[connection] {
	openAt := microsOf(filter.OpenAt)
	match := func(c *connection) bool {
		return (filter.ActorID == "" || c.actor.ID == filter.ActorID) &&
			(filter.OpenAt.IsZero() || c.endedAt == none && c.expiresAt > openAt)
	}
	return func(snapshot bool) source[connection] {
		connections := &s.connections.byTime
		if !filter.UserID.IsZero() {
			connections = &set[connection, byConnectionStart]{}
			if own := s.users.belongings(filter.UserID); own != nil && own.connections != nil {
				connections = own.connections
			}
		}
		var part span[connection]
		if list.After != nil {
			part.after = &connection{startedAt: microsOf(list.After.Key.(time.Time)), id: list.After.ID}
		}
		return source[connection]{match: match, rows: connections.view(snapshot).cursor(part, list.Order.Descending).next}
	}
}
