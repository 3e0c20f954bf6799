package postgres_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// largeTables are those that grow with the users of a project.
var largeTables = []string{
	"users", "email_holders", "accounts", "devices", "sessions", "usage_days", "purchases", "messages", "deliveries", "transactions", "events", "connections", "activations",
}

// crowd fills a store: users with two devices, three sessions (one open), three
// purchases and three transactions each, and two messages, with a delivery that waits and
// one that has failed.
func crowd(t *testing.T, store *postgres.Store, count int) []userkit.User {
	t.Helper()
	users := make([]userkit.User, count)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for from := 0; from < count; from += 500 {
		var changes []userkit.Change
		for i := from; i < min(from+500, count); i++ {
			user := userkit.User{
				ID: userkit.NewID[userkit.User](), Login: fmt.Sprintf("login%d", i), Name: fmt.Sprintf("Name %d", i),
				Email: fmt.Sprintf("user%d@example.org", i), Status: userkit.StatusActive, RegisteredAt: start.Add(time.Duration(i) * time.Second),
				Account: userkit.Account{Version: 1, TransactionSequence: 3, Devices: 2, OpenSessions: 1},
			}
			users[i] = user
			change := userkit.Change{User: user.ID, Profile: &users[i], Account: user.Account}
			for n := range 3 {
				at := start.Add(time.Duration(3*i+n) * time.Minute)
				session := userkit.Session{ID: userkit.NewID[userkit.Session](), UserID: user.ID, Node: fmt.Sprint("node ", i%60), StartedAt: at, ReportedAt: at}
				session.InternalIP = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
				if n > 0 {
					session.EndedAt, session.ClosedAt = at.Add(time.Hour), at.Add(time.Hour)
				}
				change.Sessions.Insert = append(change.Sessions.Insert, session)
				change.Purchases.Insert = append(change.Purchases.Insert, newPurchase(user.ID, 3*i+n))
				change.Transactions.Insert = append(change.Transactions.Insert, userkit.Transaction{
					ID: userkit.NewID[userkit.Transaction](), UserID: user.ID, Sequence: int64(n + 1), Key: fmt.Sprintf("key %d", n), At: at,
				})
				event := newEvent(user.ID)
				event.At = at
				change.Events = append(change.Events, event)
			}
			for n := range 2 {
				device := userkit.DeviceRecord{Device: userkit.Device{ID: userkit.NewID[userkit.Device](), UserID: user.ID, RegisteredAt: start, HardwareID: fmt.Sprint(n)}}
				copy(device.TokenDigest[:], fmt.Sprintf("%d %d", i, n))
				if n == 0 {
					device.Location = userkit.Location{Latitude: float64(i%170 - 85), Longitude: float64(i*7%360 - 180), At: start}
				}
				change.Devices.Insert = append(change.Devices.Insert, device)
				message := userkit.Message{
					ID: userkit.NewID[userkit.Message](), UserID: user.ID, Body: "Hello", Format: userkit.MessagePlain, Key: fmt.Sprintf("key %d", n),
					SentAt: start.Add(time.Duration(2*i+n) * time.Minute), Origin: userkit.MessageOrigin{Source: userkit.MessageFromActor},
				}
				delivery := userkit.Delivery{
					ID: userkit.NewID[userkit.Delivery](), UserID: user.ID, MessageID: message.ID, DeviceID: device.ID, State: userkit.DeliveryWaiting,
					DeviceType: []userkit.DeviceType{userkit.DeviceAndroid, userkit.DeviceIOS}[i%2], CreatedAt: message.SentAt, DueAt: message.SentAt,
				}
				if n > 0 {
					message.ReadAt, delivery.State, delivery.DueAt = message.SentAt, userkit.DeliveryExpired, time.Time{}
				}
				change.Messages.Insert = append(change.Messages.Insert, message)
				change.Deliveries.Insert = append(change.Deliveries.Insert, delivery)
			}
			change.Connections.Insert = []userkit.Connection{{
				ID: userkit.NewID[userkit.Connection](), UserID: user.ID, StartedAt: start.Add(time.Duration(i) * time.Minute), ExpiresAt: start.Add(time.Duration(i+30) * time.Minute),
			}}
			change.Activation = userkit.Set(userkit.Activation{Email: user.Email, TokenDigest: sha256.Sum256([]byte(user.Email)), ExpiresAt: start.Add(time.Duration(i) * time.Minute)})
			change.Usage = []userkit.DayUsage{{Day: userkit.DayOf(start, time.UTC), Received: 1}}
			changes = append(changes, change)
		}
		outcomes, err := store.Commit(t.Context(), changes)
		require.NoError(t, err)
		for _, outcome := range outcomes {
			require.NoError(t, outcome)
		}
	}
	return users
}

// recorder is a query hook that keeps the statements.
type recorder struct {
	mu         sync.Mutex
	statements []string
}

func (r *recorder) BeforeQuery(ctx context.Context, event *bun.QueryEvent) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statements = append(r.statements, event.Query)
	return ctx
}

func (r *recorder) AfterQuery(context.Context, *bun.QueryEvent) {}

// take returns the statements since it was last called.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.statements
	r.statements = nil
	return taken
}

// multiply copies a user of a store many times, past the store: what makes a
// project large. Every hundredth copy has rare values, and every tenth is disabled.
func multiply(t *testing.T, db *bun.DB, user userkit.User, count int) {
	t.Helper()
	_, err := db.Exec(`
INSERT INTO userkit.users SELECT r.*
FROM (SELECT i AS number, i % 100 = 0 AS rare, md5(i::text) AS word FROM generate_series(1, ?) AS i) AS n
CROSS JOIN LATERAL (SELECT md5('id' || number)::uuid AS id, word AS login,
	CASE WHEN rare THEN 'quvwxy' || number WHEN number % 100 = 50 THEN 'жзшщюя' || number ELSE 'name ' || word END AS name,
	word || '@example.org' AS email, '+49' || number AS phone, 'ref' || number AS extref,
	CASE WHEN number % 10 = 0 THEN 'disabled' ELSE 'active' END AS status,
	jsonb_build_object('plan', CASE WHEN rare THEN 'gold' ELSE 'silver' || number END) AS attributes,
	timestamptz '2026-01-02 00:00:00+00' + number * interval '1 second' AS registered_at) AS c
CROSS JOIN userkit.users AS u
CROSS JOIN LATERAL jsonb_populate_record(u, to_jsonb(c) || jsonb_build_object(
	'login_key', c.login, 'name_key', c.name, 'email_key', c.email, 'login_identity', c.login, 'email_identity', c.email, 'extref_key', c.extref,
	'search', concat_ws(chr(10), c.id, c.login, c.name, c.email, c.phone, c.extref),
	'search_parts', (SELECT string_agg(DISTINCT substr(f.line, i, 2), chr(10)) FROM (VALUES (c.name), ('+49' || number)) AS f(line), generate_series(1, length(f.line) - 1) AS i))) AS r
WHERE u.id = ?`, count, user.ID.String())
	require.NoError(t, err)
	_, err = db.Exec(`
INSERT INTO userkit.accounts SELECT r.*
FROM userkit.accounts AS a CROSS JOIN userkit.users AS u
CROSS JOIN LATERAL jsonb_populate_record(a, jsonb_build_object('user_id', u.id)) AS r
WHERE a.user_id = ? AND u.id <> a.user_id`, user.ID.String())
	require.NoError(t, err)
}
