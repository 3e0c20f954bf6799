package postgres_test

import (
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// migrateBefore makes a schema as it was before a migration.
func migrateBefore(t *testing.T, name string) (dsn string) {
	t.Helper()
	dsn = empty.Create(t)
	db := openDB(t, dsn)
	names, err := fs.Glob(postgres.Migrations(), "*.sql")
	require.NoError(t, err)
	at := slices.Index(names, name)
	require.Positive(t, at)
	_, err = db.Exec("CREATE SCHEMA userkit")
	require.NoError(t, err)
	for _, name := range names[:at] {
		sql, err := fs.ReadFile(postgres.Migrations(), name)
		require.NoError(t, err)
		_, err = db.Exec("BEGIN; SET LOCAL search_path TO userkit;" + string(sql) + "; COMMIT")
		require.NoError(t, err)
	}
	_, err = db.Exec("INSERT INTO userkit.projects (project) VALUES ('default')")
	require.NoError(t, err)
	return dsn
}

// insertBareUser inserts a user into a schema of any migration, with an account of version 5.
func insertBareUser(t *testing.T, db *bun.DB) userkit.UserID {
	t.Helper()
	id := userkit.NewID[userkit.User]()
	_, err := db.Exec(`INSERT INTO userkit.users SELECT (jsonb_populate_record(NULL::userkit.users, (
SELECT jsonb_object_agg(a.attname, '') FROM pg_attribute AS a WHERE a.attrelid = 'userkit.users'::regclass AND a.attnum > 0 AND a.atttypid = 'text'::regtype)
|| jsonb_build_object('project', 'default', 'id', ?, 'registered_at', now(), 'updated_at', now(), 'revision', 1, 'email_verified', false, 'fold', 1000, 'login_identity', ?, 'extref', ''))).*`, id.String(), id.String())
	require.NoError(t, err)
	_, err = db.Exec(`INSERT INTO userkit.accounts SELECT (jsonb_populate_record(NULL::userkit.accounts, (
SELECT jsonb_object_agg(a.attname, 0) FROM pg_attribute AS a WHERE a.attrelid = 'userkit.accounts'::regclass AND a.attnum > 0 AND a.atttypid = 'bigint'::regtype)
|| jsonb_build_object('project', 'default', 'user_id', ?, 'version', 5, 'traffic_reset', '', 'currency', 'EUR'))).*`, id.String())
	require.NoError(t, err)
	return id
}

// Several users had one stable id. One of them keeps it, nobody loses the row, and the
// accounts tell what is left.
func TestMigrationLeavesAStableIDToOneUser(t *testing.T) {
	dsn := migrateBefore(t, "0007_families.sql")
	db := openDB(t, dsn)
	db.SetMaxOpenConns(1)
	var users [4]userkit.UserID
	for i := range users {
		users[i] = insertBareUser(t, db)
		_, err := db.Exec("UPDATE userkit.accounts SET active_purchases = ?, purchases_end_at = '2030-01-02T00:00:00Z' WHERE user_id = ?", []int{1, 2, 0, 1}[i], users[i].String())
		require.NoError(t, err)
	}
	for i, p := range []struct {
		user           int
		stable, expiry string
		active, family bool
	}{
		{2, "family", "2030-01-01", false, true},
		{0, "family", "2030-01-01", true, false},
		{1, "family", "2030-01-01", true, true},
		{1, "own", "2029-01-01", true, false},
		{3, "family", "2030-01-01", true, true},
	} {
		_, err := db.Exec(`INSERT INTO userkit.purchases SELECT (jsonb_populate_record(NULL::userkit.purchases, jsonb_build_object(
'project', 'default', 'id', ?, 'user_id', ?, 'store', 'apple', 'stable_id', ?, 'transaction_id', '1', 'product_id', 'p', 'environment', 'production',
'purchased_at', now(), 'expires_at', ? || 'T00:00:00Z', 'trial', false, 'family_shared', ?, 'active', ?, 'reason', CASE WHEN ? THEN '' ELSE 'expired' END,
'created_at', '2026-01-01T00:00:00Z'::timestamptz + ? * interval '1 second', 'updated_at', '2026-01-01T00:00:00Z', 'due_at', now(), 'token', 't',
'undecided', 0, 'acknowledged', false))).*`, userkit.NewID[userkit.Purchase]().String(), users[p.user].String(), p.stable, p.expiry, p.family, p.active, p.active, i)
		require.NoError(t, err)
	}

	store := openStore(t, dsn)
	require.NoError(t, store.Migrate(t.Context()))
	kept, err := store.FindPurchases(t.Context(), "apple", "family")
	require.NoError(t, err)
	require.Len(t, kept, 1)
	require.Equal(t, users[0], kept[0].UserID, "the first of those that are active")
	require.True(t, kept[0].Active)
	for i, want := range []struct {
		version, active int64
		end             time.Time
		reasons         []userkit.PurchaseReason
	}{
		{5, 1, time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC), []userkit.PurchaseReason{""}},
		{6, 1, time.Date(2029, 1, 2, 0, 0, 0, 0, time.UTC), []userkit.PurchaseReason{"", userkit.ReasonTaken}},
		{6, 0, time.Time{}, []userkit.PurchaseReason{userkit.ReasonTaken}},
		{6, 0, time.Time{}, []userkit.PurchaseReason{userkit.ReasonTaken}},
	} {
		states, err := store.Load(t.Context(), []userkit.Want{{User: users[i], Purchases: true}})
		require.NoError(t, err)
		account := states[0].User.Account
		require.Equal(t, want.version, account.Version, i)
		require.EqualValues(t, want.active, account.ActivePurchases, i)
		require.Equal(t, want.end, account.PurchasesEndAt, i)
		var reasons []userkit.PurchaseReason
		for _, purchase := range states[0].Purchases {
			reasons = append(reasons, purchase.Reason)
			require.Equal(t, purchase.Reason == userkit.ReasonTaken, purchase.DueAt.IsZero())
		}
		slices.Sort(reasons)
		require.Equal(t, want.reasons, reasons, i)
	}
	var cursor userkit.FeedPosition
	followTo(t, store, &cursor, 2)
	var told int
	require.NoError(t, db.QueryRow("SELECT count(*) FROM userkit.events WHERE name = 'purchase.deactivated' AND data->>'reason' = 'taken'").Scan(&told))
	require.Equal(t, 2, told)
}
