//go:build !race

package postgres_test

// How the server plans a statement is nothing that the race detector looks at, so
// "make test" runs the tests of this file without it.

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// planOf asks the server how it would run a statement; options are those of EXPLAIN,
// such as "ANALYZE, TIMING OFF", which runs it as well. What the text form of a plan
// looks like is another in each version of PostgreSQL; that in JSON only gains fields.
func planOf(t *testing.T, db queryer, options, statement string) (root planNode, text string) {
	t.Helper()
	if options != "" {
		options = ", " + options
	}
	require.NoError(t, db.QueryRow("EXPLAIN (FORMAT JSON"+options+") "+statement).Scan(&text), statement)
	var plans []struct{ Plan planNode }
	require.NoError(t, json.Unmarshal([]byte(text), &plans))
	require.Len(t, plans, 1)
	return plans[0].Plan, text
}

// queryer is a database or a transaction.
type queryer interface {
	QueryRow(query string, args ...any) *sql.Row
}

// planNode is a node of a plan, as EXPLAIN (ANALYZE, FORMAT JSON) has it.
type planNode struct {
	Type       string     `json:"Node Type"`
	Relation   string     `json:"Relation Name"`
	Index      string     `json:"Index Name"`
	Condition  string     `json:"Index Cond"`
	Loops      float64    `json:"Actual Loops"`
	Rows       float64    `json:"Actual Rows"`
	Filtered   float64    `json:"Rows Removed by Filter"`
	Unjoined   float64    `json:"Rows Removed by Join Filter"`
	Rechecked  float64    `json:"Rows Removed by Index Recheck"`
	Underneath []planNode `json:"Plans"`
}

// visited is how many rows the node looked at.
func (n *planNode) visited() float64 {
	return n.Loops * (n.Rows + n.Filtered + n.Unjoined + n.Rechecked)
}

// find returns the nodes that meet a condition, this one and those underneath.
func (n *planNode) find(meets func(*planNode) bool) (found []*planNode) {
	n.each(func(node *planNode) {
		if meets(node) {
			found = append(found, node)
		}
	})
	return found
}

// each calls do for the node and all nodes underneath.
func (n *planNode) each(do func(*planNode)) {
	do(n)
	for i := range n.Underneath {
		n.Underneath[i].each(do)
	}
}

// explainer is a query hook that runs each statement beforehand, on a connection of
// its own and in a transaction that it rolls back, and keeps the plans: once for each
// plan that the server makes of it under the settings, since the same plan looks at
// the same rows.
type explainer struct {
	t        *testing.T
	db       *bun.DB
	settings []string
	plans    []explained
}

type explained struct {
	statement, setting, text string
	root                     planNode
}

func (e *explainer) BeforeQuery(ctx context.Context, event *bun.QueryEvent) context.Context {
	switch event.Operation() {
	case "BEGIN", "COMMIT", "ROLLBACK":
		return ctx
	}
	made := map[string]bool{}
	for _, setting := range e.settings {
		tx, err := e.db.DB.Begin()
		require.NoError(e.t, err)
		if setting != "" {
			_, err = tx.Exec("SET LOCAL " + setting + " = off")
			require.NoError(e.t, err)
		}
		var plan string
		if len(e.settings) > 1 {
			_, plan = planOf(e.t, tx, "COSTS OFF", event.Query)
		}
		if !made[plan] {
			made[plan] = true
			root, text := planOf(e.t, tx, "ANALYZE, TIMING OFF", event.Query)
			e.plans = append(e.plans, explained{event.Query, setting, text, root})
		}
		require.NoError(e.t, tx.Rollback())
	}
	return ctx
}

func (e *explainer) AfterQuery(context.Context, *bun.QueryEvent) {}

// Every statement of everyday use finds its rows by key: it looks at a few times as
// many rows as it was asked for, and at none of another project, whatever the
// statistics say, and whatever settings of the planner a role or a database has.
func TestStatementsFindTheirRowsByKey(t *testing.T) {
	const count = 1200
	// Those that the rule below makes exceptions for come last, so that a plan is judged without
	// one wherever another setting leads to it as well.
	everySetting := []string{
		"", "enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_nestloop", "enable_material", "enable_hashagg",
		"enable_sort", "enable_tidscan", "enable_indexonlyscan", "enable_bitmapscan", "enable_indexscan",
	}
	// others fills other projects of the database.
	others := func(t *testing.T, db *bun.DB, projects, users int) {
		for i := range projects {
			store, err := postgres.New(db, postgres.WithProject(fmt.Sprint("other", i)))
			require.NoError(t, err)
			require.NoError(t, store.Migrate(t.Context()))
			crowd(t, store, users)
		}
	}
	analyze := func(t *testing.T, db *bun.DB) {
		_, err := db.Exec("ANALYZE")
		require.NoError(t, err)
	}
	for name, world := range map[string]struct {
		prepare  func(t *testing.T, db *bun.DB) // before the project grows
		analyzed bool                           // after it has grown
		sizes    []int
		settings []string
	}{
		"without statistics":              {func(*testing.T, *bun.DB) {}, false, []int{1, 5, 340, 1000}, []string{""}},
		"with statistics of empty tables": {analyze, false, []int{1, 5, 340, 1000}, []string{""}},
		"with statistics of other projects": {func(t *testing.T, db *bun.DB) {
			others(t, db, 60, 2)
			analyze(t, db)
		}, false, []int{1, 5, 340, 1000}, []string{""}},
		"with statistics of one large other project": {func(t *testing.T, db *bun.DB) {
			others(t, db, 1, count)
			analyze(t, db)
		}, false, []int{1, 5, 340}, everySetting},
		"with statistics": {func(t *testing.T, db *bun.DB) { others(t, db, 1, count) }, true, []int{1, 5, 340, 1000}, []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := migrated.Create(t)
			plain := openDB(t, dsn)
			_, err := plain.Exec("ALTER DATABASE " + databaseOf(t, plain) + " SET jit = off")
			require.NoError(t, err)
			for _, table := range largeTables {
				_, err := plain.Exec("ALTER TABLE userkit." + table + " SET (autovacuum_enabled = off)")
				require.NoError(t, err)
			}
			world.prepare(t, plain)
			quiet, err := postgres.New(plain)
			require.NoError(t, err)
			users := crowd(t, quiet, count)
			if world.analyzed {
				analyze(t, plain)
			}
			leading := leadingColumns(t, plain)
			hook := &explainer{t: t, db: plain, settings: world.settings}
			store, err := postgres.New(openDB(t, dsn).WithQueryHook(hook))
			require.NoError(t, err)
			everydayStatements(t, store, quiet, users, world.sizes, func(name string, asked int, work func() error) {
				t.Helper()
				hook.plans = nil
				require.NoError(t, work(), name)
				require.NotEmpty(t, hook.plans, name)
				for _, plan := range hook.plans {
					// Whom an event mentions is in an index of sets, which serves bitmaps only:
					// without them, the events of the project are looked through.
					mentions := plan.setting == "enable_bitmapscan" && strings.Contains(plan.statement, "string_to_array(e.mentions")
					plan.root.each(func(node *planNode) {
						if mentions && node.Index == "events_pkey" && !strings.Contains(node.Condition, "(id = ") {
							return
						}
						// Entries of an index that are passed over are in no count of rows.
						// An order by id may be that of the primary key, past the ids of other
						// projects.
						// A count or a sum of much of a table may read it as a whole, or an index, where the
						// server knows how much; it is still held to how many rows it looks at.
						counts := (strings.HasPrefix(name, "Count") || strings.HasPrefix(name, "Sum")) && asked > aPage && world.analyzed
						first, known := leading[node.Index]
						byID := node.Index == "users_pkey" && (name == "Users by id" || name == "Ledgers")
						if known && !byID && !counts && !strings.Contains(node.Condition, "("+first+" = ") && !strings.Contains(node.Condition, "("+first+" @> ") {
							t.Errorf("%s, without %q: goes through all of %s\n%s\n%.3000s", name, plan.setting, node.Index, plan.text, plan.statement)
						}
						// What a bitmap finds in an index may be dead; the heap is counted.
						if node.Type == "Bitmap Index Scan" {
							return
						}
						// Without an idea of the project, or without index scans, a page
						// of it may be found by sorting the project.
						if asked == aPage && strings.HasPrefix(node.Type, "Bitmap") && (!world.analyzed || plan.setting == "enable_indexscan") {
							return
						}
						large := slices.Contains(largeTables, node.Relation)
						if large && node.Type == "Seq Scan" && plan.setting != "enable_indexscan" && !counts ||
							node.Type == "Materialize" ||
							node.visited() > float64(10*asked+300) {
							t.Errorf("%s, without %q: %s on %s looks at %.0f rows\n%s\n%.3000s", name, plan.setting, node.Type, node.Relation, node.visited(), plan.text, plan.statement)
						}
					})
				}
			})
		})
	}
}

// counting is a count, and the same one whose statements are not checked.
type counting struct{ call, quiet func() (int64, error) }

func counted[F any](ctx context.Context, call, quiet func(context.Context, F) (int64, error), filter F) counting {
	return counting{func() (int64, error) { return call(ctx, filter) }, func() (int64, error) { return quiet(ctx, filter) }}
}

// aPage is how many records of the project the lists of everydayStatements ask for.
const aPage = 20

// leadingColumns returns the first column of each index of the large tables.
func leadingColumns(t *testing.T, db *bun.DB) map[string]string {
	t.Helper()
	rows, err := db.Query(`SELECT c.relname, pg_get_indexdef(i.indexrelid, 1, true)
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_class AS t ON t.oid = i.indrelid
WHERE c.relnamespace = 'userkit'::regnamespace AND t.relname IN ?`, bun.Tuple(largeTables))
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	columns := map[string]string{}
	for rows.Next() {
		var index, column string
		require.NoError(t, rows.Scan(&index, &column))
		columns[index] = column
	}
	require.NoError(t, rows.Err())
	return columns
}

// everydayStatements makes the store send every statement of everyday use, the
// batches in each of the sizes, and has each call checked; asked is for how many
// records a call asks. Statements of quiet are not checked.
func everydayStatements(t *testing.T, store, quiet *postgres.Store, users []userkit.User, sizes []int, check func(name string, asked int, work func() error)) {
	t.Helper()
	ctx := t.Context()
	day := userkit.Day{Year: 2026, Month: 1, Day: 2}
	now := time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) // of the first session of the crowd; one begins every minute
	for _, size := range sizes {
		var wants []userkit.Want
		for i := range size {
			user := users[i]
			wants = append(wants, userkit.Want{
				User: user.ID, Profile: i%2 == 0, AllDevices: i%2 == 0, Devices: []userkit.DeviceID{userkit.NewID[userkit.Device]()}, HardwareIDs: []string{"1"},
				OpenSessions: i%3 == 0, Sessions: []userkit.SessionID{userkit.NewID[userkit.Session]()},
				Messages: []userkit.MessageID{userkit.NewID[userkit.Message]()}, MessageKeys: []string{"key 0", "key 1"},
				Deliveries:      []userkit.DeliveryID{userkit.NewID[userkit.Delivery]()},
				TransactionKeys: []string{"key 1"}, UsageFrom: userkit.Set(day), Purchases: true, Events: []userkit.EventID{userkit.NewID[userkit.Event]()}, RowCounts: i == 0,
			})
		}
		var states []userkit.State
		check(fmt.Sprint("Load ", size), size, func() error {
			loaded, err := store.Load(ctx, wants)
			states = loaded
			return err
		})
		var changes []userkit.Change
		for i := range states {
			change := touch(&states[i].User)
			change.Sessions.Update = states[i].Sessions
			change.Devices.Update = states[i].Devices[:1]
			change.Purchases.Update = states[i].Purchases[:2]
			change.Purchases.Delete = []userkit.PurchaseID{states[i].Purchases[2].ID}
			change.Purchases.Insert = states[i].Purchases[2:]
			change.Purchases.Insert[0].ID = userkit.NewID[userkit.Purchase]()
			change.Messages.Update = states[i].Messages[:1]
			change.Messages.Delete = []userkit.MessageID{states[i].Messages[1].ID}
			change.Messages.Insert = states[i].Messages[1:]
			change.Messages.Insert[0].ID = userkit.NewID[userkit.Message]()
			delivery := userkit.Delivery{UserID: states[i].User.ID, MessageID: states[i].Messages[0].ID, State: userkit.DeliveryWaiting, CreatedAt: now, DueAt: now}
			// Nothing is found of the first two, by id.
			change.Deliveries.Update, change.Deliveries.Delete = []userkit.Delivery{delivery}, []userkit.DeliveryID{userkit.NewID[userkit.Delivery]()}
			change.Deliveries.Update[0].ID, delivery.ID = userkit.NewID[userkit.Delivery](), userkit.NewID[userkit.Delivery]()
			change.Deliveries.Insert = []userkit.Delivery{delivery}
			change.Transactions.Update = states[i].Transactions
			change.Transactions.Insert = []userkit.Transaction{{
				ID: userkit.NewID[userkit.Transaction](), UserID: states[i].User.ID, Sequence: states[i].User.Version + 10, Key: userkit.NewID[userkit.User]().String(), At: now,
			}}
			change.Usage = []userkit.DayUsage{{Day: day, Received: 1}}
			if states[i].User.Login != "" {
				if i != 700 { // who is looked for by the address below
					states[i].User.Email = fmt.Sprintf("%s of %s@example.org", states[i].User.Login, userkit.NewID[userkit.User]())
				}
				change.Profile = &states[i].User
			}
			changes = append(changes, change)
		}
		check(fmt.Sprint("Commit ", size), size, func() error {
			outcomes, err := store.Commit(ctx, changes)
			for _, outcome := range outcomes {
				require.NoError(t, outcome)
			}
			return err
		})
	}
	page := func(field string, descending bool, key userkit.OrderKey) userkit.ListRange {
		return userkit.ListRange{Order: userkit.Order{Field: field, Descending: descending}, Limit: aPage, After: &userkit.ListPosition{Key: key, ID: users[100].ID}}
	}
	one := users[700]
	found, err := store.FindPurchases(ctx, "apple", "700")
	require.NoError(t, err)
	require.Len(t, found, 1)
	bought := found[0].ID
	mail, err := store.Messages(ctx, userkit.MessageFilter{UserID: one.ID}, userkit.ListRange{Order: userkit.Order{Field: "sent_at"}, Limit: 1})
	require.NoError(t, err)
	require.Len(t, mail, 1)
	var digest userkit.TokenDigest
	copy(digest[:], "700 1")
	for name, work := range map[string]func() error{
		"User":              func() error { _, err := store.User(ctx, one.ID); return err },
		"FindUser by login": func() error { _, err := store.FindUser(ctx, userkit.ByLogin(one.Login)); return err },
		"FindUser by email": func() error { _, err := store.FindUser(ctx, userkit.ByEmail(one.Email)); return err },
		"FindUsers by email holder": func() error {
			_, err := store.FindUsers(ctx, "email_holder", []string{one.Email, "b"})
			return err
		},
		"FindUsers by skeleton": func() error { _, err := store.FindUsers(ctx, "login_skeleton", []string{"a", "b"}); return err },
		"DeviceByToken":         func() error { _, _, _, err := store.DeviceByToken(ctx, digest); return err },
		"DeviceByPushToken": func() error {
			_, err := store.DeviceByPushToken(ctx, "a push token")
			if userkit.ErrorCode(err) == userkit.CodeDeviceNotFound {
				return nil
			}
			return err
		},
		"Users by login": func() error {
			_, err := store.Users(ctx, userkit.UserSelection{WithoutDisabled: true}, page("login", false, "login5"))
			return err
		},
		"Users by name": func() error {
			_, err := store.Users(ctx, userkit.UserSelection{}, page("name", true, "name 5"))
			return err
		},
		"Users by email": func() error {
			_, err := store.Users(ctx, userkit.UserSelection{}, page("email", false, "user5"))
			return err
		},
		"Users by id": func() error { _, err := store.Users(ctx, userkit.UserSelection{}, page("id", false, "")); return err },
		"Users by registration": func() error {
			_, err := store.Users(ctx, userkit.UserSelection{}, page("registered_at", true, users[1000].RegisteredAt))
			return err
		},
		"Devices of a user": func() error {
			_, err := store.Devices(ctx, userkit.DeviceFilter{UserID: one.ID}, page("registered_at", false, now.AddDate(-1, 0, 0)))
			return err
		},
		"Devices of enabled users": func() error {
			_, err := store.Devices(ctx, userkit.DeviceFilter{WithoutDisabled: true}, page("registered_at", false, now.AddDate(-1, 0, 0)))
			return err
		},
		"Sessions of a user": func() error {
			_, err := store.Sessions(ctx, userkit.SessionFilter{UserID: one.ID}, page("started_at", true, now))
			return err
		},
		"open Sessions of a user": func() error {
			_, err := store.Sessions(ctx, userkit.SessionFilter{UserID: one.ID, State: userkit.SessionsActive}, page("started_at", true, now))
			return err
		},
		"Sessions of a day": func() error {
			_, err := store.Sessions(ctx, userkit.SessionFilter{From: now, To: now.Add(time.Hour)}, page("started_at", true, now.Add(time.Minute)))
			return err
		},
		"open Sessions": func() error {
			_, err := store.Sessions(ctx, userkit.SessionFilter{State: userkit.SessionsActive}, page("started_at", true, now))
			return err
		},
		"Sessions of a node": func() error {
			_, err := store.Sessions(ctx, userkit.SessionFilter{Node: "node 7"}, page("started_at", true, now))
			return err
		},
		"open Sessions of a node": func() error {
			_, err := store.Sessions(ctx, userkit.SessionFilter{Node: "node 7", State: userkit.SessionsActive, To: now}, page("started_at", false, now.AddDate(-1, 0, 0)))
			return err
		},
		"Sessions of an address": func() error {
			_, err := store.Sessions(ctx, userkit.SessionFilter{InternalIP: netip.MustParseAddr("10.0.2.188")}, page("started_at", true, now))
			return err
		},
		"Sessions that ran at a moment": func() error {
			_, err := store.Sessions(ctx, userkit.SessionFilter{Overlaps: true, From: begin.Add(20 * time.Hour), To: begin.Add(20 * time.Hour)}, page("started_at", true, now))
			return err
		},
		"ended Sessions of a node that ran at a moment": func() error {
			_, err := store.Sessions(ctx, userkit.SessionFilter{Overlaps: true, Node: "node 7", State: userkit.SessionsEnded, From: begin.Add(20 * time.Hour), To: begin.Add(20 * time.Hour)}, page("ended_at", true, now))
			return err
		},
		"Sessions of an address at a moment": func() error {
			_, err := store.Sessions(ctx, userkit.SessionFilter{Overlaps: true, InternalIP: netip.MustParseAddr("10.0.2.188"), From: begin, To: begin}, page("started_at", true, now))
			return err
		},
		"StaleSessions": func() error {
			_, err := store.StaleSessions(ctx, now.AddDate(0, 0, -1).Add(4*time.Hour), 10)
			return err
		},
		"Ledgers": func() error { _, err := store.Ledgers(ctx, userkit.UserID{}, aPage); return err },
		"SealedDevices": func() error {
			_, err := store.SealedDevices(ctx, userkit.DeviceID{}, aPage)
			return err
		},
		"Locations of a user": func() error {
			_, err := store.Locations(ctx, userkit.LocationFilter{UserID: one.ID}, page("place", false, int64(1)))
			return err
		},
		"Locations": func() error {
			_, err := store.Locations(ctx, userkit.LocationFilter{}, page("place", false, int64(1)))
			return err
		},
		"Locations in a box": func() error {
			box := userkit.BoundingBox{West: 170, South: -40, East: -170, North: 40}
			_, err := store.Locations(ctx, userkit.LocationFilter{Box: userkit.Set(box)}, page("place", false, int64(1)))
			return err
		},
		"SessionOwners": func() error {
			_, err := store.SessionOwners(ctx, []userkit.SessionID{userkit.NewID[userkit.Session]()})
			return err
		},
		"Usage":         func() error { _, err := store.Usage(ctx, one.ID, day, day); return err },
		"Purchase":      func() error { _, err := store.Purchase(ctx, bought); return err },
		"FindPurchases": func() error { _, err := store.FindPurchases(ctx, "apple", "700"); return err },
		"Purchases of a user": func() error {
			_, err := store.Purchases(ctx, userkit.PurchaseFilter{UserID: one.ID, OnlyActive: true}, page("purchased_at", true, now))
			return err
		},
		"Purchases": func() error {
			_, err := store.Purchases(ctx, userkit.PurchaseFilter{}, page("purchased_at", true, now))
			return err
		},
		"active Purchases": func() error {
			_, err := store.Purchases(ctx, userkit.PurchaseFilter{OnlyActive: true, Store: "apple"}, page("purchased_at", false, now.AddDate(-1, 0, 0)))
			return err
		},
		"Message": func() error { _, err := store.Message(ctx, mail[0].ID); return err },
		"Messages of a user": func() error {
			_, err := store.Messages(ctx, userkit.MessageFilter{UserID: one.ID}, page("sent_at", true, now))
			return err
		},
		"unread Messages of a user": func() error {
			_, err := store.Messages(ctx, userkit.MessageFilter{UserID: one.ID, OnlyUnread: true, Now: now}, page("sent_at", true, now))
			return err
		},
		"Messages": func() error {
			_, err := store.Messages(ctx, userkit.MessageFilter{}, page("sent_at", true, now))
			return err
		},
		"Deliveries of a message": func() error {
			_, err := store.Deliveries(ctx, userkit.DeliveryFilter{MessageID: mail[0].ID}, page("created_at", true, now))
			return err
		},
		"failed Deliveries of a message": func() error {
			_, err := store.Deliveries(ctx, userkit.DeliveryFilter{MessageID: mail[0].ID, OnlyFailed: true}, page("due_at", false, now.AddDate(-1, 0, 0)))
			return err
		},
		"Deliveries of a user": func() error {
			_, err := store.Deliveries(ctx, userkit.DeliveryFilter{UserID: one.ID}, page("created_at", true, now))
			return err
		},
		"failed Deliveries of a user": func() error {
			_, err := store.Deliveries(ctx, userkit.DeliveryFilter{UserID: one.ID, OnlyFailed: true}, page("created_at", false, now.AddDate(-1, 0, 0)))
			return err
		},
		"Deliveries": func() error {
			_, err := store.Deliveries(ctx, userkit.DeliveryFilter{}, page("created_at", true, now))
			return err
		},
		"failed Deliveries": func() error {
			_, err := store.Deliveries(ctx, userkit.DeliveryFilter{OnlyFailed: true}, page("created_at", true, now))
			return err
		},
		"LeaseDeliveries": func() error {
			leased, err := store.LeaseDeliveries(ctx, []userkit.DeviceType{userkit.DeviceIOS, userkit.DeviceWeb}, now, now.Add(time.Minute), 50)
			require.Len(t, leased, 50)
			return err
		},
		"LeasePurchases": func() error {
			leased, err := store.LeasePurchases(ctx, []string{"apple", "google"}, now, now.Add(time.Minute), 50)
			require.Len(t, leased, 50)
			return err
		},
		"Transactions of a user": func() error {
			_, err := store.Transactions(ctx, userkit.TransactionFilter{UserID: one.ID}, page("sequence", true, int64(9)))
			return err
		},
		"Transactions": func() error {
			_, err := store.Transactions(ctx, userkit.TransactionFilter{}, page("at", true, now))
			return err
		},
		"Events of a user": func() error {
			_, err := store.Events(ctx, userkit.EventFilter{UserID: one.ID}, page("at", true, now))
			return err
		},
		"Events that name a user": func() error {
			_, err := store.Events(ctx, userkit.EventFilter{Naming: one.ID}, page("at", true, now))
			return err
		},
		"Events":     func() error { _, err := store.Events(ctx, userkit.EventFilter{}, page("at", true, now)); return err },
		"EventNames": func() error { _, err := store.EventNames(ctx); return err },
		"Now":        func() error { _, err := store.Now(ctx); return err },
		"LeaseDuty":  func() error { _, err := store.LeaseDuty(ctx, "duty", now, now); return err },
		"CountExpired": func() error {
			_, err := store.CountExpired(ctx, userkit.Expiry{Kind: userkit.RowsSessions, Before: now.AddDate(-1, 0, 0)})
			return err
		},
		"Feed": func() error {
			_, err := store.Feed(ctx, userkit.FeedPosition{Commit: 1 << 40}, 20)
			return err
		},
	} {
		check(name, aPage, work)
	}
	// A count may look at a few times as many rows as it counts.
	ran := userkit.SessionFilter{Overlaps: true, From: begin.Add(20 * time.Hour), To: begin.Add(20 * time.Hour)}
	ranOnNode := ran
	ranOnNode.Node, ranOnNode.State = "node 7", userkit.SessionsEnded
	address := netip.MustParseAddr("10.0.2.188")
	for name, made := range map[string]counting{
		"CountDevices of a user":         counted(ctx, store.CountDevices, quiet.CountDevices, userkit.DeviceFilter{UserID: one.ID}),
		"CountDevices":                   counted(ctx, store.CountDevices, quiet.CountDevices, userkit.DeviceFilter{}),
		"CountDevices of enabled users":  counted(ctx, store.CountDevices, quiet.CountDevices, userkit.DeviceFilter{WithoutDisabled: true}),
		"CountSessions of a user":        counted(ctx, store.CountSessions, quiet.CountSessions, userkit.SessionFilter{UserID: one.ID}),
		"CountSessions open, of a user":  counted(ctx, store.CountSessions, quiet.CountSessions, userkit.SessionFilter{UserID: one.ID, State: userkit.SessionsActive}),
		"CountSessions":                  counted(ctx, store.CountSessions, quiet.CountSessions, userkit.SessionFilter{}),
		"CountSessions open":             counted(ctx, store.CountSessions, quiet.CountSessions, userkit.SessionFilter{State: userkit.SessionsActive}),
		"CountSessions of an hour":       counted(ctx, store.CountSessions, quiet.CountSessions, userkit.SessionFilter{From: begin, To: begin.Add(time.Hour)}),
		"CountSessions of a node":        counted(ctx, store.CountSessions, quiet.CountSessions, userkit.SessionFilter{Node: "node 7"}),
		"CountSessions open, of a node":  counted(ctx, store.CountSessions, quiet.CountSessions, userkit.SessionFilter{Node: "node 7", State: userkit.SessionsActive, To: now}),
		"CountSessions of an address":    counted(ctx, store.CountSessions, quiet.CountSessions, userkit.SessionFilter{InternalIP: address}),
		"CountSessions at a moment":      counted(ctx, store.CountSessions, quiet.CountSessions, ran),
		"CountSessions of a node, ended": counted(ctx, store.CountSessions, quiet.CountSessions, ranOnNode),
		"CountPurchases of a user":       counted(ctx, store.CountPurchases, quiet.CountPurchases, userkit.PurchaseFilter{UserID: one.ID, OnlyActive: true}),
		"CountPurchases":                 counted(ctx, store.CountPurchases, quiet.CountPurchases, userkit.PurchaseFilter{}),
		"CountPurchases active":          counted(ctx, store.CountPurchases, quiet.CountPurchases, userkit.PurchaseFilter{OnlyActive: true, Store: "apple"}),
		"CountMessages of a user":        counted(ctx, store.CountMessages, quiet.CountMessages, userkit.MessageFilter{UserID: one.ID}),
		"CountMessages unread":           counted(ctx, store.CountMessages, quiet.CountMessages, userkit.MessageFilter{UserID: one.ID, OnlyUnread: true, Now: now}),
		"CountMessages":                  counted(ctx, store.CountMessages, quiet.CountMessages, userkit.MessageFilter{}),
		"CountDeliveries of a message":   counted(ctx, store.CountDeliveries, quiet.CountDeliveries, userkit.DeliveryFilter{MessageID: mail[0].ID}),
		"CountDeliveries failed, of it":  counted(ctx, store.CountDeliveries, quiet.CountDeliveries, userkit.DeliveryFilter{MessageID: mail[0].ID, OnlyFailed: true}),
		"CountDeliveries of a user":      counted(ctx, store.CountDeliveries, quiet.CountDeliveries, userkit.DeliveryFilter{UserID: one.ID}),
		"CountDeliveries failed, of one": counted(ctx, store.CountDeliveries, quiet.CountDeliveries, userkit.DeliveryFilter{UserID: one.ID, OnlyFailed: true}),
		"CountDeliveries":                counted(ctx, store.CountDeliveries, quiet.CountDeliveries, userkit.DeliveryFilter{}),
		"CountDeliveries failed":         counted(ctx, store.CountDeliveries, quiet.CountDeliveries, userkit.DeliveryFilter{OnlyFailed: true}),
		"CountTransactions of a user":    counted(ctx, store.CountTransactions, quiet.CountTransactions, userkit.TransactionFilter{UserID: one.ID}),
		"CountTransactions":              counted(ctx, store.CountTransactions, quiet.CountTransactions, userkit.TransactionFilter{}),
		"CountTransactions of a time":    counted(ctx, store.CountTransactions, quiet.CountTransactions, userkit.TransactionFilter{From: now.AddDate(0, 0, -1), To: now}),
		"CountSegments":                  counted(ctx, store.CountSegments, quiet.CountSegments, userkit.SegmentFilter{Kind: userkit.SegmentRule}),
		"CountConnections of a user":     counted(ctx, store.CountConnections, quiet.CountConnections, userkit.ConnectionFilter{UserID: one.ID}),
		"CountConnections":               counted(ctx, store.CountConnections, quiet.CountConnections, userkit.ConnectionFilter{}),
		"CountEvents of a user":          counted(ctx, store.CountEvents, quiet.CountEvents, userkit.EventFilter{UserID: one.ID}),
		"CountEvents of an actor":        counted(ctx, store.CountEvents, quiet.CountEvents, userkit.EventFilter{ActorID: one.ID.String()}),
		"CountEvents that name a user":   counted(ctx, store.CountEvents, quiet.CountEvents, userkit.EventFilter{Naming: one.ID}),
		"CountEvents":                    counted(ctx, store.CountEvents, quiet.CountEvents, userkit.EventFilter{}),
		"CountEvents of a time":          counted(ctx, store.CountEvents, quiet.CountEvents, userkit.EventFilter{From: now, To: now.Add(time.Hour)}),
	} {
		counted, err := made.quiet()
		require.NoError(t, err, name)
		check(name, int(counted), func() error { _, err := made.call(); return err })
	}
	check("Sum of the usage of all users", len(users), func() error {
		_, err := store.Usage(ctx, userkit.UserID{}, day, day)
		return err
	})
	for _, kind := range userkit.RetainableKinds() {
		expiry := userkit.Expiry{Kind: kind, Before: now.AddDate(1, 0, 0), BeforeDay: userkit.DayOf(now.AddDate(1, 0, 0), time.UTC), Event: "host.tested"}
		check("DeleteExpired "+kind, aPage, func() error {
			_, err := store.DeleteExpired(ctx, expiry, aPage)
			return err
		})
	}
	var deletions []userkit.Change
	for _, user := range users[1100:1105] {
		found, err := store.User(ctx, user.ID)
		require.NoError(t, err)
		deletions = append(deletions, userkit.Change{User: user.ID, Version: found.Version, Delete: true, Events: []userkit.Event{newEvent(user.ID)}})
	}
	check("Commit 5 deletions", 5, func() error {
		outcomes, err := store.Commit(ctx, deletions)
		require.Equal(t, make([]error, len(deletions)), outcomes)
		return err
	})
}

// However many purchases are due, a lease reads as many as it takes, and those before
// them that are leased, whatever the server last knew of the table.
func TestLeasesAreShort(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	plain := openDB(t, dsn)
	hook := &recorder{}
	store, err := postgres.New(openDB(t, dsn).WithQueryHook(hook))
	require.NoError(t, err)
	ada := createUser(t, store, "ada")
	template := newPurchase(ada.ID, 0)
	template.DueAt = time.Time{}
	require.NoError(t, commitOne(t, store, give(&ada, template)))
	const due, later = 5_000, 15_000
	multiplyPurchases := func(from, to int) {
		_, err = plain.Exec(`INSERT INTO userkit.purchases SELECT (jsonb_populate_record(p, jsonb_build_object(
	'id', md5('id' || i)::uuid, 'stable_id', i, 'due_at', p.purchased_at + i * interval '1 second'))).*
FROM userkit.purchases AS p CROSS JOIN generate_series(?, ?) AS i WHERE p.due_at IS NULL`, from, to)
		require.NoError(t, err)
	}
	now := template.PurchasedAt.Add(due * time.Second)
	until := now.Add(time.Minute)
	total := 0
	// along means that the lease has to go along the index and to stop in time; without
	// statistics, it may gather what is due and sort it.
	lease := func(t *testing.T, along bool) {
		t.Helper()
		hook.take()
		leased, err := store.LeasePurchases(ctx, []string{"apple"}, now, until, 50)
		require.NoError(t, err)
		require.Len(t, leased, 50)
		statements := hook.take()
		require.Len(t, statements, 1)
		root, text := planOf(t, plain.DB, "ANALYZE, TIMING OFF", statements[0]) // leases the next 50
		require.Empty(t, root.find(func(node *planNode) bool { return node.Type == "Seq Scan" && node.Relation == "purchases" }), text)
		require.NotEmpty(t, root.find(func(node *planNode) bool { return node.Index == "purchases_by_due_at" }), text)
		if along {
			locks := root.find(func(node *planNode) bool { return node.Type == "LockRows" })
			require.Len(t, locks, 1, text)
			require.Len(t, locks[0].Underneath, 1, text)
			scan := &locks[0].Underneath[0]
			require.Equal(t, "Index Scan", scan.Type, text)
			require.Equal(t, "purchases_by_due_at", scan.Index, text)
			require.EqualValues(t, 50, locks[0].visited(), text)
			// Those that are leased already are passed over. Nothing else is looked at.
			require.EqualValues(t, total+100, scan.visited(), text)
			require.EqualValues(t, 50, scan.Rows, text)
		}
		total += 100
	}
	multiplyPurchases(due+1, due+later)
	_, err = plain.Exec("ANALYZE")
	require.NoError(t, err)
	multiplyPurchases(1, due)
	t.Run("with statistics from before", func(t *testing.T) { lease(t, true) })
	t.Run("with statistics", func(t *testing.T) {
		_, err := plain.Exec("ANALYZE")
		require.NoError(t, err)
		lease(t, true)
	})
	t.Run("without statistics", func(t *testing.T) {
		_, err := plain.Exec("DELETE FROM pg_statistic WHERE starelid = 'userkit.purchases'::regclass")
		require.NoError(t, err)
		lease(t, false)
	})
	t.Run("until none is due", func(t *testing.T) {
		last := time.Time{}
		for {
			leased, err := store.LeasePurchases(ctx, []string{"apple"}, now, until, 700)
			require.NoError(t, err)
			if len(leased) == 0 {
				break
			}
			for _, purchase := range leased {
				require.True(t, purchase.DueAt.After(last))
				last = purchase.DueAt
			}
			total += len(leased)
		}
		require.Equal(t, due, total)
		require.Equal(t, now, last)
	})
}

// A lease changes no index: the rows stay on their pages, which have room for some.
func TestLeasesAreHeapOnly(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	store := openStore(t, dsn, postgres.WithPoolSize(1))
	ada := createUser(t, store, "ada")
	const count, oneIn = 600, 10
	purchases := make([]userkit.Purchase, count)
	for i := range purchases {
		purchases[i] = newPurchase(ada.ID, i*7919%(count+1)) // those that are due are not neighbours
	}
	require.NoError(t, commitOne(t, store, give(&ada, purchases...)))
	now := dueFrom.AddDate(0, 0, 1)
	leased, err := store.LeasePurchases(ctx, []string{"apple"}, now, now.Add(time.Minute), count/oneIn)
	require.NoError(t, err)
	require.Len(t, leased, count/oneIn)
	requireHeapOnly(t, store, dsn, "purchases", len(leased))
}

// Updates of accounts stay on their page and touch no index.
func TestAccountUpdatesAreHeapOnly(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	store := openStore(t, dsn, postgres.WithPoolSize(1))
	users := crowd(t, store, 200)
	const rounds = 5
	for range rounds {
		var changes []userkit.Change
		for i := range users {
			changes = append(changes, touch(&users[i]))
		}
		outcomes, err := store.Commit(ctx, changes)
		require.NoError(t, err)
		for _, outcome := range outcomes {
			require.NoError(t, outcome)
		}
	}
	requireHeapOnly(t, store, dsn, "accounts", rounds*len(users))
}

// requireHeapOnly closes a store of one connection and demands that so many rows of
// a table were updated, nearly all of them on their page.
func requireHeapOnly(t *testing.T, store *postgres.Store, dsn, table string, count int) {
	t.Helper()
	require.NoError(t, store.Close()) // the session hands in its figures
	db := openDB(t, dsn)
	var updates, hot int
	require.Eventually(t, func() bool {
		err := db.DB.QueryRow("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = $1", table).Scan(&updates, &hot)
		return err == nil && updates >= count
	}, time.Minute, 10*time.Millisecond)
	require.Equal(t, count, updates)
	require.Greater(t, hot, updates*9/10)
}

// The search box, filters that an index serves, segments and pages read no table as
// a whole, neither with statistics nor before the server has gathered any. With
// statistics, each uses the index that was made for it.
func TestAudienceStatementsUseIndexes(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	plain := openDB(t, dsn)
	hook := &recorder{}
	store, err := postgres.New(openDB(t, dsn).WithQueryHook(hook))
	require.NoError(t, err)
	const count = 20_000
	template := createUser(t, store, "template")
	multiply(t, plain, template, count)
	moment := userkit.Moment{At: time.Now()}
	rare := userkit.UserSelection{Search: userkit.ParseSearch("vwxy"), Moment: moment}
	filtered := func(filter userkit.Filter) userkit.UserSelection {
		return userkit.UserSelection{Filter: filter, Moment: moment}
	}
	fill := func(name string, members userkit.UserSelection) userkit.SegmentID {
		segment := userkit.Segment{ID: userkit.NewID[userkit.Segment](), Name: name, Revision: 1}
		_, err := store.CommitSegment(ctx, userkit.SegmentChange{ID: segment.ID, Segment: segment, Members: userkit.Set(members), Event: newEvent(userkit.UserID{})})
		require.NoError(t, err)
		return segment.ID
	}
	small, large := fill("small", rare), fill("large", userkit.UserSelection{Moment: moment})

	statistics := false
	check := func(t *testing.T, name string, indexes []string, work func() error) {
		t.Helper()
		hook.take()
		require.NoError(t, work(), name)
		statements := hook.take()
		require.NotEmpty(t, statements, name)
		for _, statement := range statements {
			root, text := planOf(t, plain.DB, "", statement)
			require.Empty(t, root.find(func(node *planNode) bool {
				return node.Type == "Seq Scan" && (node.Relation == "users" || node.Relation == "accounts")
			}), "%s:\n%s\n%.2000s", name, text, statement)
			for _, index := range indexes {
				if !statistics {
					break
				}
				require.NotEmpty(t, root.find(func(node *planNode) bool { return strings.HasPrefix(node.Index, index) }),
					"%s: without %s\n%s\n%.2000s", name, index, text, statement)
			}
		}
	}
	orders := map[string]userkit.OrderKey{
		"id": template.ID.String(), "login": "8", "name": "name 8", "email": "8", "registered_at": template.RegisteredAt.Add(time.Hour),
	}
	users := func(t *testing.T, name string, filter userkit.UserSelection, field string, least int, indexes ...string) {
		t.Helper()
		check(t, name+" by "+field, indexes, func() error {
			found, err := store.Users(ctx, filter, userkit.ListRange{Order: userkit.Order{Field: field}, Limit: 51})
			require.GreaterOrEqual(t, len(found), least, name)
			return err
		})
	}
	everything := func(t *testing.T) {
		for field, key := range orders {
			for _, active := range []bool{false, true} {
				for _, descending := range []bool{false, true} {
					for _, after := range []*userkit.ListPosition{nil, {Key: key, ID: template.ID}} {
						list := userkit.ListRange{Order: userkit.Order{Field: field, Descending: descending}, After: after, Limit: 51}
						check(t, "page by "+field, nil, func() error {
							_, err := store.Users(ctx, userkit.UserSelection{WithoutDisabled: active, Moment: moment}, list)
							return err
						})
					}
				}
			}
		}
		for _, field := range []string{"login", "registered_at", "country"} {
			users(t, "search", rare, field, 51, "users_by_search")
			users(t, "search of active users", userkit.UserSelection{Search: userkit.ParseSearch("vwxy"), WithoutDisabled: true, Moment: moment}, field, 0, "users_by_search")
			users(t, "search in another script", userkit.UserSelection{Search: userkit.ParseSearch("ЗШЩЮ"), Moment: moment}, field, 51, "users_by_search")
			users(t, "search of nobody", userkit.UserSelection{Search: userkit.ParseSearch("qqqq"), Moment: moment}, field, 0, "users_by_search")
			users(t, "a short term", userkit.UserSelection{Search: userkit.ParseSearch("qu"), Moment: moment}, field, 51, "users_by_search_part")
			users(t, "a short term of several parts", userkit.UserSelection{Search: userkit.ParseSearch("9-qu-v"), Moment: moment}, field, 0, "users_by_search_part")
			users(t, "a short term in another script", userkit.UserSelection{Search: userkit.ParseSearch("ШЩ"), Moment: moment}, field, 51, "users_by_search_part")
			users(t, "a character", userkit.UserSelection{Search: userkit.ParseSearch("☃"), Moment: moment}, field, 0, "users_by_search_part")
			users(t, "a phone as it is written", userkit.UserSelection{Search: userkit.ParseSearch("(49) 1-99-99"), Moment: moment}, field, 1, "users_by_search")
			users(t, "a short part of a name", filtered(userkit.Contains("name", "Qu")), field, 51, "users_by_search_part")
			users(t, "a short phone", filtered(userkit.Equal("phone", "+9")), field, 0, "users_by_search_part")
			users(t, "a small segment", userkit.UserSelection{Segment: small, Moment: moment}, field, 51, "memberships_")
			users(t, "an attribute", filtered(userkit.Equal("attributes.plan", "GOLD")), field, 51, "users_by_attribute")
			users(t, "an object of a list", filtered(userkit.AnyElement("attributes.addr",
				userkit.AllOf(userkit.StartsWith("zip", "1"), userkit.Equal("type", "work")))), field, 0, "users_by_attribute")
			users(t, "a part of a name", filtered(userkit.Contains("name", "VWXY")), field, 51, "users_by_search")
			users(t, "a reference", filtered(userkit.Equal("extref", "REF777")), field, 1, "users_by_search")
			users(t, "an address", filtered(userkit.Equal("email", template.Email+"none@example.org")), field, 0)
			users(t, "one of two", filtered(userkit.AnyOf(userkit.Contains("name", "VWXY"), userkit.Equal("attributes.plan", "gold"))), field, 51, "users_by_search", "users_by_attribute")
		}
		users(t, "some ids", filtered(userkit.AnyOf(userkit.Equal("id", userkit.UserID{1}), userkit.Equal("id", userkit.UserID{2}), userkit.Equal("id", userkit.UserID{3}))), "login", 0, "users_pkey")
		users(t, "a large segment", userkit.UserSelection{Segment: large, Moment: moment}, "login", 51)
		inSmall := userkit.Equal("segment", small.String())
		users(t, "a small segment as a filter", filtered(inSmall), "country", 51, "memberships_")
		users(t, "a small segment and what no index serves", filtered(userkit.AllOf(inSmall, userkit.Equal("email_verified", false))), "login", 51, "memberships_by_segment")
		for name, filter := range map[string]userkit.UserSelection{"everybody": {Moment: moment}, "a search": rare, "a segment": {Segment: small, Moment: moment}} {
			check(t, "UserIDs of "+name, nil, func() error {
				_, err := store.UserIDs(ctx, filter, userkit.UserID{8}, 100)
				return err
			})
		}
		for name, selection := range map[string]userkit.UserSelection{"everybody": {Moment: moment}, "a search": rare, "a segment": {Segment: small, Moment: moment}} {
			for _, size := range []int{1, 1000} {
				ids := []userkit.UserID{template.ID}
				for i := 1; i < size; i++ {
					ids = append(ids, userkit.NewID[userkit.User]())
				}
				check(t, fmt.Sprintf("%d UserNames of %s", size, name), nil, func() error { _, err := store.UserNames(ctx, selection, ids); return err })
			}
		}
		for field, value := range map[string]string{"id": template.ID.String(), "login": "template", "email": "nobody", "extref": "ref7"} {
			for _, size := range []int{1, 1000} {
				values := []string{value}
				for i := 1; i < size; i++ {
					values = append(values, userkit.NewID[userkit.User]().String())
				}
				check(t, "FindUsers by "+field, nil, func() error { _, err := store.FindUsers(ctx, field, values); return err })
			}
		}
		check(t, "Load", nil, func() error {
			_, err := store.Load(ctx, []userkit.Want{{User: template.ID, Segments: true}})
			return err
		})
		for range 2 { // out of a list and back into it
			change := touch(&template)
			change.AddSegments, change.RemoveSegments = []userkit.SegmentID{small}, []userkit.SegmentID{large}
			small, large = large, small
			check(t, "Commit", nil, func() error { return commitOne(t, store, change) })
		}
	}
	t.Run("without statistics", everything)
	t.Run("with statistics", func(t *testing.T) {
		_, err := plain.Exec("VACUUM ANALYZE")
		require.NoError(t, err)
		statistics = true
		everything(t)
	})
	t.Run("the index of the search knows all scripts where the database does", func(t *testing.T) {
		var letters string
		require.NoError(t, plain.DB.QueryRow("SELECT datctype FROM pg_database WHERE datname = current_database()").Scan(&letters))
		if letters == "C" || letters == "POSIX" {
			return
		}
		root, text := planOf(t, plain.DB, "ANALYZE, TIMING OFF", "SELECT FROM userkit.users WHERE search LIKE '%шщюя%'")
		require.EqualValues(t, count/100, root.Rows, text)
		require.EqualValues(t, count/100, root.visited(), text)
	})
}
