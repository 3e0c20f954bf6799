package postgres

import (
	"context"
	"database/sql"

	"github.com/userkit/userkit"
)

// Load implements userkit.Store. One statement loads the accounts, the profiles that are wanted,
// and the idempotency keys that are in use; usually none is, so that a refill needs one round trip.
// It is followed by one statement for each further kind of record that is wanted.
func (s *Store) Load(ctx context.Context, wants []userkit.Want) ([]userkit.State, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if len(wants) == 0 {
		return []userkit.State{}, nil
	}
	places := make(map[userkit.UserID]int, len(wants))
	for i, want := range wants {
		places[want.User] = i
	}
	var states []userkit.State
	err := s.steadily(ctx, func() (err error) {
		l := &loading{store: s, wants: wants, states: make([]userkit.State, len(wants)), places: places}
		states, err = l.load(ctx)
		return err
	})
	return states, err
}

// load reads all that is wanted.
func (l *loading) load(ctx context.Context) ([]userkit.State, error) {
	if err := l.accounts(ctx); err != nil {
		return nil, err
	}
	for _, kind := range kinds {
		if err := kind.load(l, ctx); err != nil {
			return nil, err
		}
	}
	if err := l.rowCounts(ctx); err != nil {
		return nil, err
	}
	return l.states, nil
}

// loading is a call of Load on its way.
type loading struct {
	store  *Store
	wants  []userkit.Want
	states []userkit.State
	places map[userkit.UserID]int // in wants and states
	found  []*wanted              // the transactions of the keys that are in use
}

// wanted is a row of what a search looks for.
type wanted struct {
	place   int64
	user    userkit.UserID
	profile bool
	id      [16]byte
	text    string
	keyed   bool // text is an idempotency key
	day     userkit.Day
}

// The tables n of searches: for accounts, for all of a user's records, and for
// those with a value.
var (
	wantedUsers = columns[wanted]{
		idColumn("user_id", func(w *wanted) *[16]byte { return (*[16]byte)(&w.user) }),
	}
	wantedAccounts = append(columns[wanted]{
		integerColumn("place", func(w *wanted) *int64 { return &w.place }),
		flagColumn("profile", func(w *wanted) *bool { return &w.profile }),
		{name: "key", kind: "text", put: func(values *array, w *wanted) { optional(values, w.keyed, values.text, w.text) }},
	}, wantedUsers...)
	wantedIDs   = append(columns[wanted]{idColumn("id", func(w *wanted) *[16]byte { return &w.id })}, wantedUsers...)
	wantedTexts = append(columns[wanted]{textColumn("value", func(w *wanted) *string { return &w.text })}, wantedUsers...)
	wantedDays  = append(columns[wanted]{
		{name: "value", kind: "date", put: func(values *array, w *wanted) { values.day(w.day) }},
	}, wantedUsers...)
)

// gather lists what the wants of the users who exist search for.
func (l *loading) gather(of func(want *userkit.Want, add func(wanted))) []*wanted {
	return l.gatherAll(func(want *userkit.Want, add func(wanted)) {
		if l.states[l.places[want.User]].Exists {
			of(want, add)
		}
	})
}

// gatherAll lists what the wants search for, those about users who do not exist included: whoever
// tries secrets must not learn from the work that an answer takes which users there are.
func (l *loading) gatherAll(of func(want *userkit.Want, add func(wanted))) []*wanted {
	var all []*wanted
	for i := range l.wants {
		of(&l.wants[i], func(w wanted) {
			w.user = l.wants[i].User
			all = append(all, &w)
		})
	}
	return all
}

// ofUser and hasID are the conditions of searches: for the records of n.user_id,
// and for the one with the id n.id if it is of n.user_id. The second compares
// users in a way that no index serves, so that the record is found by its id,
// also where a user has very many of them.
const (
	ofUser     = "t.user_id = n.user_id"
	hasID      = "t.id = n.id AND " + ofSameUser
	ofSameUser = "t.user_id IS NOT DISTINCT FROM n.user_id"
)

// search adds a search of a table t to a statement: for each row of n, the
// records that meet a condition on t and n. A record that several searches find
// comes several times.
func (l *loading) search(q *statement, table, reads string, n columns[wanted], rows []*wanted, condition string) {
	if len(rows) == 0 {
		return
	}
	if q.text.Len() > 0 {
		q.add("\nUNION ALL\n")
	}
	q.add("SELECT " + reads + "\nFROM ")
	unnest(q, n, rows) // the texts are storable
	q.lookUp(l.store, table, "t", condition)
}

// accounts loads accounts and profiles, and finds the transactions of keys.
func (l *loading) accounts(ctx context.Context) error {
	var rows []*wanted
	profile, keyed := false, false
	for i, want := range l.wants {
		row := wanted{place: int64(i), user: want.User, profile: want.Profile}
		profile = profile || want.Profile
		for _, key := range want.TransactionKeys {
			if storable(key) {
				withKey := row
				withKey.text, withKey.keyed = key, true
				rows = append(rows, &withKey)
				keyed = true
			}
		}
		if len(rows) == 0 || rows[len(rows)-1].place != row.place {
			rows = append(rows, &row)
		}
	}
	q := &statement{hot: true}
	q.add("SELECT n.place, " + accountColumns.reads("a"))
	if profile {
		q.add(", " + userColumns.reads("u"))
	}
	if keyed {
		q.add(", (SELECT t.id FROM ? AS t WHERE t.project = ? AND t.user_id = n.user_id AND t.key = n.key)",
			l.store.table("transactions"), quoted(l.store.project))
	}
	q.add("\nFROM ")
	unnest(q, wantedAccounts, rows)
	q.lookUp(l.store, "accounts", "a", "a.user_id = n.user_id")
	if profile {
		q.add("\nLEFT JOIN LATERAL (SELECT * FROM ? AS u WHERE u.project = ? AND u.id = n.user_id AND n.profile OFFSET 0) AS u ON true",
			l.store.table("users"), quoted(l.store.project))
	}

	var place count
	var user, none userkit.User
	var transaction identifier
	to := accountColumns.targets([]any{&place}, &user.Account)
	if profile {
		to = userColumns.targets(to, &user)
	}
	if keyed {
		to = append(to, &transaction)
	}
	return l.store.query(ctx, q, func(rows *sql.Rows) error {
		user = none
		if err := rows.Scan(to...); err != nil {
			return err
		}
		want, state := &l.wants[place], &l.states[place]
		user.ID = want.User
		state.Exists, state.User = true, user
		if transaction != (identifier{}) {
			l.found = append(l.found, &wanted{user: want.User, id: transaction})
		}
		return nil
	})
}

// loadRecords runs the searches of a statement and passes each record once to the
// state of its user.
func loadRecords[R any](ctx context.Context, l *loading, q *statement, targets func(to []any, record *R) []any,
	keys func(record *R) (user userkit.UserID, id [16]byte), give func(state *userkit.State, record R)) error {
	if q.text.Len() == 0 {
		return nil
	}
	var record, none R
	to := targets(nil, &record)
	seen := map[[16]byte]bool{}
	return l.store.query(ctx, q, func(rows *sql.Rows) error {
		record = none
		if err := rows.Scan(to...); err != nil {
			return err
		}
		user, id := keys(&record)
		if !seen[id] {
			seen[id] = true
			give(&l.states[l.places[user]], record)
		}
		return nil
	})
}

func (l *loading) rowCounts(ctx context.Context) error {
	rows := l.gather(func(want *userkit.Want, add func(wanted)) {
		if want.RowCounts {
			add(wanted{})
		}
	})
	if len(rows) == 0 {
		return nil
	}
	q := &statement{hot: true}
	q.add("SELECT n.user_id")
	for _, kind := range kinds {
		q.add(", (SELECT count(*) FROM ? AS t WHERE t.project = ? AND t.user_id = n.user_id)", l.store.table(kind.table), quoted(l.store.project))
	}
	q.add("\nFROM ")
	unnest(q, wantedUsers, rows)
	var user identifier
	counts := make([]count, len(kinds))
	to := []any{&user}
	for i := range counts {
		to = append(to, &counts[i])
	}
	return l.store.query(ctx, q, func(rows *sql.Rows) error {
		if err := rows.Scan(to...); err != nil {
			return err
		}
		byTable := make(map[string]int, len(counts))
		for i, kind := range kinds {
			byTable[kind.table] = int(counts[i])
		}
		l.states[l.places[userkit.UserID(user)]].RowCounts = byTable
		return nil
	})
}
