package postgres

import (
	"context"
	"database/sql"

	"github.com/userkit/userkit"
)

// userTargets is where the columns of selectUsers are read to.
func userTargets(to []any, u *userkit.User) []any {
	return userAccountColumns.targets(userColumns.targets(to, u), u)
}

var userReads = userColumns.reads("u") + ", " + accountColumns.reads("a")

// selectUsers begins a statement over the users of the project; a condition may
// follow.
func (s *Store) selectUsers() *statement {
	q := &statement{}
	q.add("SELECT "+userReads+"\nFROM ? AS u JOIN ? AS a ON a.project = u.project AND a.user_id = u.id\nWHERE u.project = ?",
		s.table("users"), s.table("accounts"), quoted(s.project))
	return q
}

// User implements userkit.Store.
func (s *Store) User(ctx context.Context, id userkit.UserID) (userkit.User, error) {
	q := s.selectUsers()
	q.add(" AND u.id = ?", quotedID(id))
	return selectOne(ctx, s, q, userkit.CodeUserNotFound, userTargets)
}

// FindUser implements userkit.Store.
func (s *Store) FindUser(ctx context.Context, key userkit.UserKey) (userkit.User, error) {
	// The condition on an empty value is that of the unique index.
	conditions := map[string]string{
		"login":  " AND u.login_key = ? AND u.login_key <> ''",
		"email":  " AND u.email_key = ? AND u.email_key <> ''",
		"extref": " AND u.extref = ? AND u.extref <> ''",
	}
	condition, ok := conditions[key.Field()]
	if !ok {
		return userkit.User{}, userkit.NewError(userkit.CodeUnknownField, "key", "no user can be found by %q", key.Field())
	}
	if err := s.ready(ctx); err != nil {
		return userkit.User{}, err
	}
	if !storable(key.Value()) {
		return userkit.User{}, userkit.NewError(userkit.CodeUserNotFound, key.Field(), "not in project %q", s.project)
	}
	q := s.selectUsers()
	q.add(condition, quoted(key.Value()))
	return selectOne(ctx, s, q, userkit.CodeUserNotFound, userTargets)
}

// users adds the condition of a filter.
func (q *statement) users(filter userkit.UserFilter) {
	if filter.OnlyActive {
		q.add(" AND u.status <> ?", quoted(string(userkit.StatusDisabled)))
	}
}

// Users implements userkit.Store.
func (s *Store) Users(ctx context.Context, filter userkit.UserFilter, list userkit.List) ([]userkit.User, error) {
	q := s.selectUsers()
	q.users(filter)
	if err := q.page(list, userSortings, "u.id"); err != nil {
		return nil, err
	}
	return selectRecords(ctx, s, q, userTargets)
}

// CountUsers implements userkit.Store.
func (s *Store) CountUsers(ctx context.Context, filter userkit.UserFilter) (int64, error) {
	q := &statement{}
	q.add("SELECT count(*) FROM ? AS u WHERE u.project = ?", s.table("users"), quoted(s.project))
	q.users(filter)
	var total integer
	err := s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&total) })
	return int64(total), err
}
