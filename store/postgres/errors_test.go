package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// Every unique index of the schema stands for a code and a field, over both
// drivers, and only the change that violates it fails.
func TestViolationsByConstraint(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	overPgx, err := postgres.New(openPgx(t, dsn, pgx.QueryExecModeExec))
	require.NoError(t, err)
	for name, store := range map[string]*postgres.Store{"pgdriver": openStore(t, dsn), "pgx": overPgx} {
		t.Run(name, func(t *testing.T) {
			ada, bob := createUser(t, store, "ada "+name), createUser(t, store, "bob "+name)
			ada.Email, ada.ExtRef = name+"@example.org", name
			device := userkit.DeviceRecord{Device: userkit.Device{ID: userkit.NewID[userkit.Device](), UserID: ada.ID, HardwareID: "h", PushToken: name}}
			device.TokenDigest[0] = name[2]
			session := userkit.Session{ID: userkit.NewID[userkit.Session](), UserID: ada.ID}
			purchase := userkit.Purchase{ID: userkit.NewID[userkit.Purchase](), UserID: ada.ID, StableID: name}
			transaction := userkit.Transaction{ID: userkit.NewID[userkit.Transaction](), UserID: ada.ID, Sequence: 1, Key: "key"}
			change := touch(&ada)
			change.Profile = &ada
			change.Devices.Insert = []userkit.DeviceRecord{device}
			change.Sessions.Insert = []userkit.Session{session}
			change.Purchases.Insert = []userkit.Purchase{purchase}
			change.Transactions.Insert = []userkit.Transaction{transaction}
			event := change.Events[0]
			require.NoError(t, commitOne(t, store, change))

			for _, one := range []struct {
				code  userkit.Code
				field string
				user  *userkit.User
				alter func(change *userkit.Change)
			}{
				{userkit.CodeLoginTaken, "login", &bob, func(c *userkit.Change) { c.Profile.Login = strings.ToUpper(ada.Login) }},
				{userkit.CodeEmailTaken, "email", &bob, func(c *userkit.Change) { c.Profile.Email = strings.ToUpper(ada.Email) }},
				{userkit.CodeExtRefTaken, "extref", &bob, func(c *userkit.Change) { c.Profile.ExtRef = ada.ExtRef }},
				{userkit.CodeIDTaken, "id", &bob, func(c *userkit.Change) {
					c.Devices.Insert = []userkit.DeviceRecord{{Device: userkit.Device{ID: device.ID, UserID: bob.ID}}}
				}},
				{userkit.CodeTokenTaken, "access_token", &bob, func(c *userkit.Change) {
					c.Devices.Insert = []userkit.DeviceRecord{{Device: userkit.Device{ID: userkit.NewID[userkit.Device](), UserID: bob.ID}, TokenDigest: device.TokenDigest}}
				}},
				{userkit.CodePushTokenTaken, "push_token", &bob, func(c *userkit.Change) {
					c.Devices.Insert = []userkit.DeviceRecord{{Device: userkit.Device{ID: userkit.NewID[userkit.Device](), UserID: bob.ID, PushToken: name}, TokenDigest: userkit.TokenDigest{1}}}
				}},
				{userkit.CodeIDTaken, "hardware_id", &ada, func(c *userkit.Change) {
					c.Devices.Insert = []userkit.DeviceRecord{{Device: userkit.Device{ID: userkit.NewID[userkit.Device](), UserID: ada.ID, HardwareID: "h"}}}
				}},
				{userkit.CodeIDTaken, "id", &bob, func(c *userkit.Change) {
					c.Purchases.Insert = []userkit.Purchase{{ID: purchase.ID, UserID: bob.ID, StableID: "other " + name}}
				}},
				{userkit.CodePurchaseTaken, "stable_id", &bob, func(c *userkit.Change) {
					c.Purchases.Insert = []userkit.Purchase{{ID: userkit.NewID[userkit.Purchase](), UserID: bob.ID, StableID: name}}
				}},
				{userkit.CodePurchaseTaken, "stable_id", &ada, func(c *userkit.Change) {
					c.Purchases.Insert = []userkit.Purchase{{ID: userkit.NewID[userkit.Purchase](), UserID: ada.ID, StableID: name, FamilyShared: true}}
				}},
				{userkit.CodeIDTaken, "id", &bob, func(c *userkit.Change) {
					c.Sessions.Insert = []userkit.Session{{ID: session.ID, UserID: bob.ID}}
				}},
				{userkit.CodeIDTaken, "id", &bob, func(c *userkit.Change) {
					c.Transactions.Insert = []userkit.Transaction{{ID: transaction.ID, UserID: bob.ID, Sequence: 1}}
				}},
				{userkit.CodeIDTaken, "sequence", &ada, func(c *userkit.Change) {
					c.Transactions.Insert = []userkit.Transaction{{ID: userkit.NewID[userkit.Transaction](), UserID: ada.ID, Sequence: 1, Key: "other"}}
				}},
				{userkit.CodeIDTaken, "key", &ada, func(c *userkit.Change) {
					c.Transactions.Insert = []userkit.Transaction{{ID: userkit.NewID[userkit.Transaction](), UserID: ada.ID, Sequence: 2, Key: "key"}}
				}},
				{userkit.CodeIDTaken, "id", &bob, func(c *userkit.Change) {
					c.Events = []userkit.Event{event}
					c.Events[0].UserID = bob.ID
				}},
				{userkit.CodeSegmentNotFound, "", &bob, func(c *userkit.Change) {
					c.AddSegments = []userkit.SegmentID{userkit.NewID[userkit.Segment]()}
				}},
				{userkit.CodeBadText, "", &bob, func(c *userkit.Change) { c.Profile.Name = "a\x00b" }},
				{userkit.CodeBadText, "", &bob, func(c *userkit.Change) { c.Profile.Name = "a\xffb" }},
				{userkit.CodeBadText, "", &bob, func(c *userkit.Change) { c.Events[0].Data = []byte(`{"a":"\u0000"}`) }},
			} {
				t.Run(fmt.Sprint(one.code, " ", one.field), func(t *testing.T) {
					user, profile := *one.user, *one.user
					change := touch(&user)
					change.Profile = &profile
					one.alter(&change)
					bystander := createUser(t, store, userkit.NewID[userkit.User]().String())
					outcomes, err := store.Commit(ctx, []userkit.Change{change, touch(&bystander)})
					require.NoError(t, err)
					require.NoError(t, outcomes[1])
					requireCode(t, one.code, outcomes[0])
					found, ok := errors.AsType[*userkit.Error](outcomes[0])
					require.True(t, ok)
					require.Equal(t, one.field, found.Field)
					require.NotContains(t, found.Error(), "SQLSTATE", "what the server says is no message")
					require.NotContains(t, found.Error(), "constraint")
					after, err := store.User(ctx, one.user.ID)
					require.NoError(t, err)
					require.Equal(t, one.user.Version, after.Version)
				})
			}
		})
	}
}

// Every unique index of the schema has a meaning, or is one that no insert violates: its
// rows are written with ON CONFLICT, or by Migrate.
func TestEveryUniqueIndexHasAMeaning(t *testing.T) {
	rows, err := openDB(t, migrated.Create(t)).Query(`SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indisunique AND c.relnamespace = 'userkit'::regnamespace`)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	never := []string{"migrations_pkey", "projects_pkey", "usage_days_pkey", "memberships_pkey", "activations_pkey", "push_mails_pkey", "duties_pkey"}
	for rows.Next() {
		var index string
		require.NoError(t, rows.Scan(&index))
		record, known := postgres.RecordOfConstraint(index)
		switch {
		case slices.Contains(never, index):
			require.False(t, known, index)
		case index == "users_pkey" || index == "accounts_pkey": // the user exists
			require.True(t, known, index)
		default:
			require.True(t, known, "%s has no meaning", index)
			require.NotEmpty(t, record, index)
		}
	}
	require.NoError(t, rows.Err())
}

// A server checks the unique indexes of a table in the order in which they were made,
// which an operator changes who rebuilds one, and which is another one on the shards of
// Citus. A user who exists is a conflict all the same, and not a login that is taken, so
// that a creation whose answer was lost is recognised.
func TestCreationOfAUserWhoExistsAfterReindexing(t *testing.T) {
	dsn := migrated.Create(t)
	store := openStore(t, dsn)
	for _, index := range []string{"users_pkey", "accounts_pkey"} {
		_, err := openDB(t, dsn).ExecContext(t.Context(), "REINDEX INDEX CONCURRENTLY userkit."+index)
		require.NoError(t, err)
	}
	ada := createUser(t, store, "ada")
	again := userkit.Change{User: ada.ID, Profile: &ada, Account: ada.Account, Events: []userkit.Event{newEvent(ada.ID)}}
	require.ErrorIs(t, commitOne(t, store, again), userkit.ErrConflict)
}

// What the server says when it goes away is not an error of the arguments.
func TestFaultsOfTheServer(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	overPgx, err := postgres.New(openPgx(t, dsn, pgx.QueryExecModeExec))
	require.NoError(t, err)
	for name, store := range map[string]*postgres.Store{"pgdriver": openStore(t, dsn), "pgx": overPgx} {
		t.Run(name, func(t *testing.T) {
			user := createUser(t, store, name)
			db := openDB(t, dsn)
			tx, err := db.Begin()
			require.NoError(t, err)
			defer tx.Rollback()
			_, err = tx.Exec("SELECT FROM userkit.accounts WHERE user_id = ? FOR UPDATE", user.ID.String())
			require.NoError(t, err)
			failed := make(chan error, 1)
			go func() {
				change := user
				_, err := store.Commit(ctx, []userkit.Change{touch(&change)})
				failed <- err
			}()
			waitForBlocked(t, db)
			_, err = db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
			require.NoError(t, err)
			requireCode(t, userkit.CodeStoreUnavailable, <-failed)

			// Connections that were closed while they idled are noticed before
			// they are used.
			_, err = db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle'")
			require.NoError(t, err)
			if name == "pgdriver" {
				_, err = store.User(ctx, user.ID)
				require.NoError(t, err)
			}
		})
	}
}

func TestClosedStore(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	opened := openStore(t, dsn)
	db := openDB(t, dsn)
	given, err := postgres.New(db)
	require.NoError(t, err)
	for _, store := range []*postgres.Store{opened, given} {
		require.NoError(t, store.Close())
		require.NoError(t, store.Close())
		requireCode(t, userkit.CodeClosed, store.Migrate(ctx))
		requireCode(t, userkit.CodeClosed, store.CheckSchema(ctx))
		_, err := store.User(ctx, userkit.UserID{})
		requireCode(t, userkit.CodeClosed, err)
	}
	require.NoError(t, db.Ping(), "the handle is the host's")
}
