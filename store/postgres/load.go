package postgres

import (
	"context"
	"database/sql"

	"github.com/userkit/userkit"
)

// Load implements userkit.Store. The accounts come first, with the profiles that
// are wanted, in one statement. It also tells which idempotency keys are in use;
// as a rule none is, so that all of a refill is known after one round trip. Then
// comes one statement for each further kind of record that is wanted.
func (s *Store) Load(ctx context.Context, wants []userkit.Want) ([]userkit.State, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	l := &loading{store: s, wants: wants, states: make([]userkit.State, len(wants)), places: make(map[userkit.UserID]int, len(wants))}
	if len(wants) == 0 {
		return l.states, nil
	}
	for _, step := range []func(context.Context) error{
		l.accounts, l.devices, l.sessions, l.transactions, l.usage, l.events, l.rowCounts,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return l.states, nil
}

// loading is a call of Load on its way.
type loading struct {
	store  *Store
	wants  []userkit.Want
	states []userkit.State
	places map[userkit.UserID]int // of the users that exist, in wants and states
	found  []ownedID              // the transactions of the keys that are in use
}

// pairs are the rows of a table n(user_id, value) that a search joins with.
type pairs struct {
	users, values array
	count         int
}

// add begins a row; the caller adds its value.
func (p *pairs) add(user userkit.UserID) *array {
	p.count++
	p.users.id(user)
	return &p.values
}

// pairs gathers what the wants of the users who exist search for.
func (l *loading) pairs(of func(want *userkit.Want, p *pairs)) *pairs {
	p := &pairs{}
	for i := range l.wants {
		if l.states[i].Exists {
			of(&l.wants[i], p)
		}
	}
	return p
}

// ofUser and withID are the conditions of searches: for the records of n.user_id,
// and for the one with the id n.value if it is of n.user_id. The second compares
// users in a way that no index serves, so that it is found by its id, also where
// a user has very many records.
const (
	ofUser = "t.user_id = n.user_id AND "
	withID = "t.id = n.value AND t.user_id IS NOT DISTINCT FROM n.user_id"
)

// search adds a search of a table t to a statement: for each row of n, the
// records that meet a condition on t and n. A record that several searches find
// comes several times. OFFSET 0 holds the planner to look into an index for each
// row of n, whatever it knows of the table.
func (l *loading) search(q *statement, table, reads string, p *pairs, kind, condition string) {
	if p.count == 0 {
		return
	}
	if q.text.Len() > 0 {
		q.add("\nUNION ALL\n")
	}
	q.add("SELECT "+reads+"\nFROM unnest(?, ?) AS n(user_id, value)\nCROSS JOIN LATERAL (SELECT * FROM ? AS t WHERE t.project = ? AND "+condition+" OFFSET 0) AS t",
		p.users.of("uuid"), p.values.of(kind), l.store.table(table), quoted(l.store.project))
}

// accounts loads accounts and profiles, and finds the transactions of keys.
func (l *loading) accounts(ctx context.Context) error {
	var places, users, profiles, keys array
	profile, keyed := false, false
	for i, want := range l.wants {
		row := func() {
			places.integer(int64(i))
			users.id(want.User)
			profiles.flag(want.Profile)
		}
		profile = profile || want.Profile
		asked := false
		for _, key := range want.TransactionKeys {
			if storable(key) {
				row()
				keys.text(key)
				asked = true
			}
		}
		keyed = keyed || asked
		if !asked {
			row()
			keys.null()
		}
	}
	q := &statement{}
	q.add("SELECT n.place, " + accountColumns.reads("a"))
	if profile {
		q.add(", " + userColumns.reads("u"))
	}
	if keyed {
		q.add(", (SELECT t.id FROM ? AS t WHERE t.project = ? AND t.user_id = n.user_id AND t.key = n.key)", l.store.table("transactions"), quoted(l.store.project))
	}
	q.add("\nFROM unnest(?, ?, ?, ?) AS n(place, user_id, profile, key)\nCROSS JOIN LATERAL (SELECT * FROM ? AS a WHERE a.project = ? AND a.user_id = n.user_id OFFSET 0) AS a",
		places.of("bigint"), users.of("uuid"), profiles.of("boolean"), keys.of("text"), l.store.table("accounts"), quoted(l.store.project))
	if profile {
		q.add("\nLEFT JOIN LATERAL (SELECT * FROM ? AS u WHERE u.project = ? AND u.id = n.user_id AND n.profile OFFSET 0) AS u ON true", l.store.table("users"), quoted(l.store.project))
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
		l.places[want.User] = int(place)
		if transaction != (identifier{}) {
			l.found = append(l.found, ownedID{transaction, want.User})
		}
		return nil
	})
}

// loadRecords runs the searches of a statement and gives each record once to the
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

func (l *loading) devices(ctx context.Context) error {
	reads := deviceColumns.reads("t")
	q := &statement{}
	l.search(q, "devices", reads, l.pairs(func(want *userkit.Want, p *pairs) {
		if want.AllDevices {
			p.add(want.User).null()
		}
	}), "boolean", ofUser+"true")
	l.search(q, "devices", reads, l.pairs(func(want *userkit.Want, p *pairs) {
		for _, id := range want.Devices {
			p.add(want.User).id(id)
		}
	}), "uuid", withID)
	l.search(q, "devices", reads, l.pairs(func(want *userkit.Want, p *pairs) {
		for _, hardware := range want.HardwareIDs {
			if storable(hardware) {
				p.add(want.User).text(hardware)
			}
		}
	}), "text", ofUser+"t.hardware_id = n.value AND t.hardware_id <> ''")
	return loadRecords(ctx, l, q, deviceTargets,
		func(device *userkit.DeviceRecord) (userkit.UserID, [16]byte) { return device.UserID, device.ID },
		func(state *userkit.State, device userkit.DeviceRecord) { state.Devices = append(state.Devices, device) })
}

func (l *loading) sessions(ctx context.Context) error {
	reads := sessionColumns.reads("t")
	q := &statement{}
	l.search(q, "sessions", reads, l.pairs(func(want *userkit.Want, p *pairs) {
		for _, id := range want.Sessions {
			p.add(want.User).id(id)
		}
	}), "uuid", withID)
	l.search(q, "sessions", reads, l.pairs(func(want *userkit.Want, p *pairs) {
		if want.OpenSessions {
			p.add(want.User).null()
		}
	}), "boolean", ofUser+"t.ended_at IS NULL")
	return loadRecords(ctx, l, q, sessionTargets,
		func(session *userkit.Session) (userkit.UserID, [16]byte) { return session.UserID, session.ID },
		func(state *userkit.State, session userkit.Session) { state.Sessions = append(state.Sessions, session) })
}

// transactions loads those that are wanted by their ids, and those that the keys
// have found.
func (l *loading) transactions(ctx context.Context) error {
	p := l.pairs(func(want *userkit.Want, p *pairs) {
		for _, id := range want.Transactions {
			p.add(want.User).id(id)
		}
	})
	for _, found := range l.found {
		p.add(found.user).id(found.id)
	}
	q := &statement{}
	l.search(q, "transactions", transactionColumns.reads("t"), p, "uuid", withID)
	return loadRecords(ctx, l, q, transactionTargets,
		func(transaction *userkit.Transaction) (userkit.UserID, [16]byte) {
			return transaction.UserID, transaction.ID
		},
		func(state *userkit.State, transaction userkit.Transaction) {
			state.Transactions = append(state.Transactions, transaction)
		})
}

func (l *loading) usage(ctx context.Context) error {
	q := &statement{}
	l.search(q, "usage_days", usageColumns.reads("t"), l.pairs(func(want *userkit.Want, p *pairs) {
		if from, ok := want.UsageFrom.Get(); ok {
			p.add(want.User).day(from)
		}
	}), "date", ofUser+"t.day >= n.value")
	if q.text.Len() == 0 {
		return nil
	}
	q.add("\nORDER BY t.user_id, t.day")
	var day userDay
	to := usageColumns.targets(nil, &day)
	return l.store.query(ctx, q, func(rows *sql.Rows) error {
		if err := rows.Scan(to...); err != nil {
			return err
		}
		state := &l.states[l.places[day.user]]
		state.Usage = append(state.Usage, day.DayUsage)
		return nil
	})
}

func (l *loading) events(ctx context.Context) error {
	q := &statement{}
	l.search(q, "events", "t.user_id, t.id", l.pairs(func(want *userkit.Want, p *pairs) {
		for _, id := range want.Events {
			p.add(want.User).id(id)
		}
	}), "uuid", withID)
	return loadRecords(ctx, l, q,
		func(to []any, found *ownedID) []any {
			return append(to, (*identifier)(&found.user), (*identifier)(&found.id))
		},
		func(found *ownedID) (userkit.UserID, [16]byte) { return found.user, found.id },
		func(state *userkit.State, found ownedID) { state.Events = append(state.Events, found.id) })
}

// countedTables are the tables of State.RowCounts.
var countedTables = []string{
	userkit.RowsDevices, userkit.RowsSessions, userkit.RowsDays, userkit.RowsTransactions, userkit.RowsEvents,
}

func (l *loading) rowCounts(ctx context.Context) error {
	var users array
	for i, want := range l.wants {
		if want.RowCounts && l.states[i].Exists {
			users.id(want.User)
		}
	}
	if users.elements == nil {
		return nil
	}
	q := &statement{}
	q.add("SELECT n.user_id")
	for _, table := range countedTables {
		q.add(", (SELECT count(*) FROM ? AS t WHERE t.project = ? AND t.user_id = n.user_id)", l.store.table(table), quoted(l.store.project))
	}
	q.add("\nFROM unnest(?) AS n(user_id)", users.of("uuid"))
	var user identifier
	counts := make([]count, len(countedTables))
	to := []any{&user}
	for i := range counts {
		to = append(to, &counts[i])
	}
	return l.store.query(ctx, q, func(rows *sql.Rows) error {
		if err := rows.Scan(to...); err != nil {
			return err
		}
		byTable := make(map[string]int, len(counts))
		for i, table := range countedTables {
			byTable[table] = int(counts[i])
		}
		l.states[l.places[userkit.UserID(user)]].RowCounts = byTable
		return nil
	})
}
