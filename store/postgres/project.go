package postgres

import (
	"context"
	"database/sql"
)

// How much DropProject deletes in a statement.
const (
	dropUsers  = 500
	dropEvents = 10_000
)

// DropProject deletes the project: its users, all that belongs to them, its segments
// and its events. This cannot be undone. Other projects of the database and the schema are
// unchanged.
//
// It first removes the project from the list of projects. From then on no process can change it:
// changes and CheckSchema return ErrUnavailable with CodeSchemaOutdated. Then it deletes the
// records in small transactions, so that other projects are not blocked. If that is interrupted,
// call DropProject again to continue. Once DropProject has returned nil, Migrate creates an empty
// project with the name again.
//
// On a store that is bound to a transaction, DropProject is part of that transaction.
func (s *Store) DropProject(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.closeProject(ctx); err != nil {
		return err
	}
	for _, remove := range []func(*statement){s.dropSomeUsers, s.dropSomeEvents} {
		for {
			q := &statement{}
			remove(q)
			var some flag
			err := s.atomically(ctx, func(s *Store) error {
				return s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&some) })
			})
			if err != nil {
				return err
			}
			if !some {
				break
			}
		}
	}
	tables := []string{"segments", "users", "email_holders", "accounts", "duties"}
	for _, kind := range kinds {
		tables = append(tables, kind.table)
	}
	for _, table := range tables {
		if err := s.execute(ctx, "DELETE FROM ? WHERE project = ?", s.table(table), quoted(s.project)); err != nil {
			return s.fault(ctx, err)
		}
	}
	return nil
}

// closeProject takes the project off the list of projects, once everybody who is writing
// to it has done so: what comes later finds no place in the feed for its event, and is
// refused.
func (s *Store) closeProject(ctx context.Context) error {
	err := s.inTransaction(ctx, func(bound *Store) error {
		if err := bound.execute(ctx, "LOCK TABLE ? IN SHARE ROW EXCLUSIVE MODE", s.table("events")); err != nil {
			return err
		}
		return bound.execute(ctx, "DELETE FROM ? WHERE project = ?", s.table("projects"), quoted(s.project))
	})
	if err != nil {
		return s.fault(ctx, err)
	}
	return nil
}

// dropSomeUsers deletes some users with all that is theirs, and selects whether there
// were any.
func (s *Store) dropSomeUsers(q *statement) {
	w := &work{store: s, q: q}
	w.cte("deleted")
	q.add("SELECT u.id AS user_id FROM ? AS u WHERE u.project = ? AND "+userSortings["id"].through+" ORDER BY u.id", s.table("users"), quoted(s.project))
	q.limit(dropUsers)
	w.deleteUsers()
	w.cte("deleted_accounts")
	q.add("DELETE FROM ? AS t USING deleted AS l WHERE t.project = ? AND "+keyed("t.user_id", "l.user_id"), s.table("accounts"), quoted(s.project))
	q.add(")\nSELECT EXISTS (SELECT FROM deleted)")
}

// dropSomeEvents deletes some events, and selects whether there were any.
func (s *Store) dropSomeEvents(q *statement) {
	w := &work{store: s, q: q}
	w.cte("deleted")
	q.add("SELECT e.id FROM ? AS e WHERE e.project = ? AND "+alongPositions+" ORDER BY e.position, e.id", s.table("events"), quoted(s.project))
	q.limit(dropEvents)
	w.cte("deleted_events")
	q.add("DELETE FROM ? AS t USING deleted AS l WHERE t.project = ? AND "+keyed("t.id", "l.id"), s.table("events"), quoted(s.project))
	q.add(")\nSELECT EXISTS (SELECT FROM deleted)")
}
