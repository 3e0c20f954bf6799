package postgres

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"

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
	q.add("SELECT "+userReads+"\nFROM ? AS u", s.table("users"))
	q.lookUp(s, "accounts", "a", "a.user_id = u.id")
	q.add("\nWHERE u.project = ?", quoted(s.project))
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
	condition, err := keyCondition(key.Field())
	if err != nil {
		return userkit.User{}, err
	}
	if err := s.ready(ctx); err != nil {
		return userkit.User{}, err
	}
	if !storable(key.Value()) {
		return userkit.User{}, userkit.NewError(userkit.CodeUserNotFound, key.Field(), "not in project %q", s.project)
	}
	q := s.selectUsers()
	q.add(" AND "+condition, quoted(key.Value()))
	return selectOne(ctx, s, q, userkit.CodeUserNotFound, userTargets)
}

// keyCondition is the condition that a user has the value of a key. That on an
// empty value is of the unique index.
func keyCondition(field string) (string, error) {
	switch field {
	case "login", "email":
		return "u." + field + "_identity = ? AND u." + field + "_identity <> ''", nil
	case "extref", "login_skeleton":
		return "u." + field + " = ? AND u." + field + " <> ''", nil
	case "email_holder":
		return "u.id = h.user_id", nil
	}
	return "", userkit.NewError(userkit.CodeUnknownField, "key", "no user can be found by %q", field)
}

// FindUsers implements userkit.Store.
func (s *Store) FindUsers(ctx context.Context, field string, values []string) ([]userkit.User, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	values = slices.Clone(values)
	slices.Sort(values)
	n, rows, condition := wantedTexts, []*wanted{}, ""
	if field == "id" {
		n, condition = wantedUsers, "u.id = n.user_id"
	} else {
		found, err := keyCondition(field)
		if err != nil {
			return nil, err
		}
		condition = strings.Replace(found, "?", "n.value", 1)
	}
	for _, value := range slices.Compact(values) {
		id, err := userkit.ParseID[userkit.User](value)
		if storable(value) && (err == nil || field != "id") {
			rows = append(rows, &wanted{user: id, text: value})
		}
	}
	if len(rows) == 0 {
		return []userkit.User{}, nil
	}
	q := &statement{hot: true}
	q.add("SELECT " + userReads + "\nFROM ")
	unnest(q, n, rows) // the texts are storable
	if field == "email_holder" {
		q.lookUp(s, "email_holders", "h", "h.key = n.value")
	}
	q.lookUp(s, "users", "u", condition)
	q.lookUp(s, "accounts", "a", "a.user_id = u.id")
	return selectRecords(ctx, s, q, userTargets)
}

// Users implements userkit.Store.
func (s *Store) Users(ctx context.Context, selection userkit.UserSelection, list userkit.ListRange) ([]userkit.User, error) {
	return listUsers(ctx, s, selection, list, userRead)
}

// UserIDs implements userkit.Store.
func (s *Store) UserIDs(ctx context.Context, selection userkit.UserSelection, after userkit.UserID, limit int) ([]userkit.UserID, error) {
	list := userkit.ListRange{Order: userkit.Order{Field: "id"}, After: &userkit.ListPosition{Key: after.String(), ID: after}, Limit: limit}
	return listUsers(ctx, s, selection, list, userIDRead)
}

// nameColumns are what userkit.User.DisplayName needs.
var nameColumns = userColumns.only("id", "name", "login", "email", "phone", "extref")

// UserNames implements userkit.Store.
func (s *Store) UserNames(ctx context.Context, selection userkit.UserSelection, ids []userkit.UserID) (map[userkit.UserID]string, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	selected, err := s.selection(selection)
	if err != nil {
		return nil, err
	}
	rows := make([]*wanted, len(ids))
	for i, id := range ids {
		rows[i] = &wanted{user: id}
	}
	q := &statement{hot: selected.plain, expected: len(ids)}
	q.add("SELECT " + nameColumns.reads("u") + "\nFROM ")
	unnest(q, wantedUsers, rows)
	q.lookUp(s, "users", "u", "u.id = n.user_id")
	if selected.accounts {
		q.lookUp(s, "accounts", "a", "a.user_id = n.user_id")
	}
	q.add("\nWHERE "+selected.where.text.String(), selected.where.args...)
	users, err := selectRecords(ctx, s, q, nameColumns.targets)
	names := make(map[userkit.UserID]string, len(users))
	for _, user := range users {
		names[user.ID] = user.DisplayName()
	}
	return names, err
}

// CountUsers implements userkit.Store.
func (s *Store) CountUsers(ctx context.Context, selection userkit.UserSelection) (int64, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	selected, err := s.selection(selection)
	if err != nil {
		return 0, err
	}
	q := &statement{}
	q.add("SELECT count(*)")
	selected.from(q, selected.accounts, userSortings["id"])
	return s.count(ctx, q)
}

// from adds the tables, the accounts where they are needed, and the condition.
// along is the order whose index goes through the project.
func (c *selection) from(q *statement, accounts bool, along sorting) {
	if c.byList {
		c.fromList(q, accounts)
		return
	}
	q.add("\nFROM ? AS u", c.store.table("users"))
	c.join(q, accounts)
	q.add(" AND " + along.through)
}

// fromList is from for the members of a list: it goes through the list, and looks
// each member up.
func (c *selection) fromList(q *statement, accounts bool) {
	q.add("\nFROM ? AS m", c.store.table("memberships"))
	q.lookUp(c.store, "users", "u", "u.id = m.user_id")
	if accounts {
		q.lookUp(c.store, "accounts", "a", "a.user_id = m.user_id")
	}
	q.add("\nWHERE m.project = ? AND m.segment_id = ? AND ", quoted(c.store.project), quotedID(c.list))
	q.add(c.where.text.String(), c.where.args...)
}

// join adds to users what from adds.
func (c *selection) join(q *statement, accounts bool) {
	if accounts {
		q.add(" JOIN ? AS a ON a.project = u.project AND a.user_id = u.id", c.store.table("accounts"))
	}
	q.add("\nWHERE "+c.where.text.String(), c.where.args...)
}

// userReading is what is read of each user of a list.
type userReading[R any] struct {
	reads   string // over the aliases u and a
	targets func(to []any, record *R) []any
	onlyID  bool
}

var (
	userRead   = userReading[userkit.User]{reads: userReads, targets: userTargets}
	userIDRead = userReading[userkit.UserID]{reads: "u.id", onlyID: true, targets: func(to []any, id *userkit.UserID) []any {
		return append(to, (*identifier)(id))
	}}
)

const (
	// fewUsers is up to how many users of a filter are gathered and sorted before
	// they are looked for along the order of the list.
	fewUsers = 5000
	// nearUsers is how many users of the project that search passes for each one
	// that is wanted.
	nearUsers = 300
)

// listUsers lists users.
//
// How a filter and an order are best brought together depends on how many users
// meet the filter, and where in the order they are. The planner can only guess;
// when it takes the way along the order and guessed wrong, it goes through the
// whole project, user by user. So what it is asked is bounded. Where an index
// serves the filter, the list begins with the filter, and gives up beyond a few
// users. Then it goes along the order, where so many users ought soon to fill the
// page, and gives up when they do not. Then it gathers all of them.
func listUsers[R any](ctx context.Context, s *Store, selection userkit.UserSelection, list userkit.ListRange, reading userReading[R]) ([]R, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	field, err := sortingOf(list, userSortings)
	if err != nil {
		return nil, err
	}
	selected, err := s.selection(selection)
	if err != nil {
		return nil, err
	}
	l := &userList[R]{selected, list, field, reading}
	if !field.indexed() {
		return l.read(ctx, l.gathered)
	}
	if selected.plain {
		return l.read(ctx, l.along)
	}
	if selected.served {
		if users, complete, err := l.few(ctx); err != nil || complete {
			return users, err
		}
	}
	users, err := l.read(ctx, l.near)
	if err != nil || len(users) == list.Limit {
		return users, err
	}
	return l.read(ctx, l.gathered)
}

// userList is a list of users in the making.
type userList[R any] struct {
	*selection
	list    userkit.ListRange
	field   sorting
	reading userReading[R]
}

// read runs the statement that one of the ways makes.
func (l *userList[R]) read(ctx context.Context, way func(*statement) error) ([]R, error) {
	q := &statement{}
	if err := way(q); err != nil {
		return nil, err
	}
	return selectRecords(ctx, l.store, q, l.reading.targets)
}

// along reads the users in the order of an index as they come. The page is cut
// before the accounts come in, which the planner is held to look up one by one.
func (l *userList[R]) along(q *statement) error {
	q.hot = true
	if !l.reading.onlyID {
		q.add("SELECT " + l.reading.reads + "\nFROM (")
	}
	q.add("SELECT u." + map[bool]string{true: "id", false: "*"}[l.reading.onlyID])
	l.from(q, false, l.field)
	if err := q.after(l.list, l.field, l.field.expression, "u.id"); err != nil {
		return err
	}
	q.order(l.list, l.field.expression, "u.id")
	if !l.reading.onlyID {
		q.add(") AS u")
		q.lookUp(l.store, "accounts", "a", "a.user_id = u.id")
		q.sort(l.list, l.field.expression, "u.id")
	}
	return nil
}

// gathered finds the users of the filter and sorts them, and then reads those of
// the page whole.
func (l *userList[R]) gathered(q *statement) error {
	q.add("SELECT " + l.reads() + "\nFROM (SELECT f.id, f.key FROM (")
	l.keys(q)
	if l.field.indexed() {
		q.add("\nOFFSET 0") // keeps the planner from going along the order
	}
	q.add(") AS f WHERE true")
	return l.page(q, "f", "")
}

// near goes a bounded way along the order, and then reads those users of the
// filter whole that it met.
func (l *userList[R]) near(q *statement) error {
	q.add("SELECT "+l.reads()+"\nFROM (SELECT u.id, u.key\nFROM (SELECT u.*, "+l.field.expression+" AS key FROM ? AS u WHERE u.project = ? AND "+l.field.through,
		l.store.table("users"), quoted(l.store.project))
	if err := q.after(l.list, l.field, l.field.expression, "u.id"); err != nil {
		return err
	}
	q.sort(l.list, l.field.expression, "u.id")
	q.limit(nearUsers * l.list.Limit)
	q.add(") AS u")
	l.join(q, l.accounts)
	return l.page(q, "u", "")
}

// few returns the page when only a few users meet the filter, and reports whether
// that is so.
func (l *userList[R]) few(ctx context.Context) (users []R, complete bool, err error) {
	begin, end := "(", ")" // around a join
	if l.reading.onlyID {
		begin, end = "", ""
	}
	q := &statement{}
	q.add("WITH few AS MATERIALIZED (")
	l.keys(q)
	q.limit(fewUsers + 1)
	q.add(")\nSELECT c.found, p.id, " + l.reads() + "\nFROM (SELECT count(*) AS found FROM few) AS c LEFT JOIN " + begin +
		"(SELECT f.id, f.key FROM few AS f WHERE (SELECT count(*) FROM few) <= " + strconv.Itoa(fewUsers))
	if err := l.page(q, "f", end+" ON true"); err != nil {
		return nil, false, err
	}
	var found count
	var id identifier
	var user, none R
	to := l.reading.targets([]any{&found, &id}, &user)
	err = l.store.steadily(ctx, func() error {
		users = make([]R, 0, q.expected)
		return l.store.query(ctx, q, func(rows *sql.Rows) error {
			user = none
			if err := rows.Scan(to...); err != nil {
				return err
			}
			if id != (identifier{}) {
				users = append(users, user)
			}
			return nil
		})
	})
	return users, found <= fewUsers, err
}

// keys begins a statement that gives the ids and the sort keys of the users of the
// filter.
func (l *userList[R]) keys(q *statement) {
	q.add("SELECT u.id, " + l.field.expression + " AS key")
	l.from(q, l.accounts || ofAccounts.MatchString(l.field.expression), userSortings["id"])
}

// reads is what is read beside the page p.
func (l *userList[R]) reads() string {
	if l.reading.onlyID {
		return "p.id"
	}
	return l.reading.reads
}

// page ends the part of a statement that gives the ids and keys of the page, from
// a table of those of more users, and reads what is wanted of its users. end goes
// before the order.
func (l *userList[R]) page(q *statement, table, end string) error {
	if err := q.after(l.list, l.field, table+".key", table+".id"); err != nil {
		return err
	}
	q.order(l.list, table+".key", table+".id")
	q.add(") AS p")
	if !l.reading.onlyID {
		q.lookUp(l.store, "users", "u", "u.id = p.id")
		q.lookUp(l.store, "accounts", "a", "a.user_id = p.id")
	}
	q.add(end)
	q.sort(l.list, "p.key", "p.id")
	return nil
}
