package postgres_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// set sets parameters of the database that a DSN names, for new connections.
func set(t *testing.T, dsn string, settings ...string) {
	t.Helper()
	db := openDB(t, dsn)
	name := databaseOf(t, db)
	for _, setting := range settings {
		_, err := db.Exec("ALTER DATABASE " + name + " SET " + setting)
		require.NoError(t, err)
	}
}

// What is written is read back as it was, however the database spells values.
func TestSettingsChangeNothingThatIsRead(t *testing.T) {
	dsn := migrated.Create(t)
	set(t, dsn, "DateStyle = 'SQL, DMY'", "IntervalStyle = 'sql_standard'", "bytea_output = 'escape'", "extra_float_digits = -15",
		"TimeZone = 'Pacific/Auckland'", "default_transaction_isolation = 'repeatable read'")
	ways := waysToOpen(dsn)
	ways["pgdriver"] = func(t *testing.T) *postgres.Store { return newStore(t, openDB(t, dsn)) }
	for name, open := range ways {
		t.Run(name, func(t *testing.T) {
			store := open(t)
			user := createUser(t, store, name)
			at := time.Date(2026, 3, 4, 5, 6, 7, 891011000, time.UTC)
			change := touch(&user)
			device := userkit.DeviceRecord{
				Device: userkit.Device{ID: userkit.NewID[userkit.Device](), UserID: user.ID, RegisteredAt: at, LastSeenAt: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
					Location: userkit.Location{At: at, Latitude: 53.902284123456789, Longitude: -27.56183, Accuracy: 1e-9}},
				SealedToken: []byte{0, 1, '\\', 'x', 0xff},
			}
			copy(device.TokenDigest[:], name+"\x00\\\xff")
			session := userkit.Session{ID: userkit.NewID[userkit.Session](), UserID: user.ID, StartedAt: at, ReportedAt: at, InternalIP: netip.MustParseAddr("10.0.0.7")}
			purchase := newPurchase(user.ID, len(name))
			purchase.Store = name
			change.Devices.Insert = []userkit.DeviceRecord{device}
			change.Sessions.Insert = []userkit.Session{session}
			change.Purchases.Insert = []userkit.Purchase{purchase}
			change.Usage = []userkit.DayUsage{{Day: userkit.Day{Year: 2026, Month: 3, Day: 4}, Received: 5}}
			require.NoError(t, commitOne(t, store, change))
			states, err := store.Load(t.Context(), []userkit.Want{{
				User: user.ID, Profile: true, AllDevices: true, OpenSessions: true, Purchases: true, UsageFrom: userkit.Set(userkit.Day{Year: 2026, Month: 1, Day: 1}),
			}})
			require.NoError(t, err)
			require.Equal(t, user, states[0].User)
			require.Equal(t, []userkit.DeviceRecord{device}, states[0].Devices)
			require.Equal(t, []userkit.Session{session}, states[0].Sessions)
			require.Equal(t, []userkit.Purchase{purchase}, states[0].Purchases)
			require.Equal(t, change.Usage, states[0].Usage)
		})
	}
}

// A connection that may not write is not used again, so that the pool heals when the
// server may be written to again; until then the refusal says what it is.
func TestReadOnlyConnectionsAreDropped(t *testing.T) {
	dsn := migrated.Create(t)
	set(t, dsn, "default_transaction_read_only = on")
	store := openStore(t, dsn)
	user := userkit.User{ID: userkit.NewID[userkit.User](), Login: "ada", Status: userkit.StatusActive, Account: userkit.Account{Version: 1}}
	create := userkit.Change{User: user.ID, Profile: &user, Account: user.Account}
	for range 3 * postgres.DefaultPoolSize {
		_, err := store.Commit(t.Context(), []userkit.Change{create})
		requireCode(t, userkit.CodeStoreRefused, err)
		require.ErrorIs(t, err, userkit.ErrUnavailable)
	}
	admin := openDB(t, dsn)
	admin.SetMaxOpenConns(1)
	_, err := admin.Exec("SET default_transaction_read_only = off")
	require.NoError(t, err)
	_, err = admin.Exec("ALTER DATABASE " + databaseOf(t, admin) + " RESET default_transaction_read_only")
	require.NoError(t, err)
	require.NoError(t, commitOne(t, store, create))
}

// A role without rights is told so, and that nothing happened.
func TestMissingRightsAreTold(t *testing.T) {
	dsn := migrated.Create(t)
	db := openDB(t, dsn)
	db.SetMaxOpenConns(1)
	store := newStore(t, db)
	_, err := db.Exec("CREATE ROLE powerless_" + fmt.Sprint(time.Now().UnixNano()))
	require.NoError(t, err)
	var role string
	require.NoError(t, db.QueryRow("SELECT rolname FROM pg_roles WHERE rolname LIKE 'powerless%' ORDER BY rolname DESC LIMIT 1").Scan(&role))
	_, err = db.Exec("SET ROLE " + role)
	require.NoError(t, err)
	_, err = store.User(t.Context(), userkit.NewID[userkit.User]())
	requireCode(t, userkit.CodeStoreRefused, err)
	_, err = db.Exec("RESET ROLE; DROP ROLE " + role)
	require.NoError(t, err)
}

// Where the database asks for strict isolation, changes and lists go through all
// the same.
func TestStrictIsolationFailsNobody(t *testing.T) {
	dsn := migrated.Create(t)
	set(t, dsn, "default_transaction_isolation = serializable")
	ways := waysToOpen(dsn)
	for _, name := range []string{"Open", "pgx"} {
		t.Run(name, func(t *testing.T) { testStrictIsolation(t, ways[name](t), name) })
	}
}

func testStrictIsolation(t *testing.T, store *postgres.Store, name string) {
	manager, err := userkit.New(store)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, manager.Close(context.Background())) })
	users, sessions := make([]userkit.UserID, 8), make([]userkit.SessionID, 8)
	for i := range users {
		user, err := manager.CreateUser(t.Context(), userkit.NewUser{Login: fmt.Sprint(name, i)})
		require.NoError(t, err)
		users[i] = user.ID
		session, err := manager.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, Node: "node"})
		require.NoError(t, err)
		sessions[i] = session.ID
	}
	var work sync.WaitGroup
	for i, user := range users {
		work.Go(func() {
			for n := range 15 {
				_, err := manager.Refill(context.Background(), user, userkit.Entry{Amount: userkit.Money{Amount: 1, Currency: "EUR"}, Key: fmt.Sprint(i, " ", n)})
				if err != nil {
					t.Errorf("refill: %v", err)
				}
			}
		})
		work.Go(func() {
			for n := range 15 {
				if _, err := manager.Users(context.Background(), userkit.UserQuery{}); err != nil {
					t.Errorf("list: %v", err)
				}
				if _, err := manager.Events(context.Background(), userkit.EventQuery{}); err != nil {
					t.Errorf("list: %v", err)
				}
				filter := userkit.UserFilter{Filter: userkit.Contains("login", name)} // which an index serves
				if _, err := manager.Users(context.Background(), userkit.UserQuery{UserFilter: filter}); err != nil {
					t.Errorf("list of a filter: %v", err)
				}
				if _, err := manager.CountUsers(context.Background(), userkit.UserFilter{}); err != nil {
					t.Errorf("count: %v", err)
				}
				results, err := manager.ReportUsage(context.Background(), []userkit.UsageReport{{SessionID: sessions[i], Received: int64(n), At: time.Now()}})
				if err != nil || results[0].Err != nil {
					t.Errorf("report: %v %v", err, results)
				}
			}
		})
	}
	work.Wait()
	for _, user := range users {
		after, err := manager.User(t.Context(), user)
		require.NoError(t, err)
		require.EqualValues(t, 15, after.Balance.Amount)
	}
}
