package postgres_test

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/pgtest"
	"github.com/userkit/userkit/store/postgres"
)

// createUser creates a user by a store and gives it as it is stored.
func createUser(t *testing.T, store userkit.Store, login string) userkit.User {
	t.Helper()
	user := userkit.User{
		ID: userkit.NewID[userkit.User](), Login: login, Status: userkit.StatusActive, Kind: userkit.UserIndividual,
		Revision: 1, Account: userkit.Account{Version: 1, Balance: userkit.Money{Currency: "EUR"}},
	}
	user.RegisteredAt = user.ID.Time()
	user.UpdatedAt = user.RegisteredAt
	require.NoError(t, commitOne(t, store, userkit.Change{
		User: user.ID, Profile: &user, Account: user.Account, Events: []userkit.Event{newEvent(user.ID)},
	}))
	return user
}

// newEvent makes an event of a user.
func newEvent(user userkit.UserID) userkit.Event {
	id := userkit.NewID[userkit.Event]()
	return userkit.Event{ID: id, UserID: user, Name: "host.tested", At: id.Time(), Actor: userkit.Actor{Kind: userkit.ActorSystem}}
}

// touch is a change of the account alone, with an event.
func touch(user *userkit.User) userkit.Change {
	change := userkit.Change{User: user.ID, Version: user.Version}
	user.Version++
	user.Balance.Amount++
	change.Account = user.Account
	change.Events = []userkit.Event{newEvent(user.ID)}
	return change
}

// commitOne makes one change and gives its outcome.
func commitOne(t *testing.T, store userkit.Store, change userkit.Change) error {
	t.Helper()
	outcomes, err := store.Commit(t.Context(), []userkit.Change{change})
	require.NoError(t, err)
	require.Len(t, outcomes, 1)
	return outcomes[0]
}

func requireCode(t *testing.T, code userkit.Code, err error) {
	t.Helper()
	require.Equal(t, code, userkit.ErrorCode(err), "%v", err)
}

func TestMigrate(t *testing.T) {
	ctx := context.Background()

	t.Run("can be repeated and makes the schema current", func(t *testing.T) {
		store := openStore(t, empty.Create(t))
		requireCode(t, userkit.CodeSchemaOutdated, store.CheckSchema(ctx))
		_, err := store.CountUsers(ctx, userkit.UserSelection{})
		requireCode(t, userkit.CodeSchemaOutdated, err)
		for range 2 {
			require.NoError(t, store.Migrate(ctx))
			require.NoError(t, store.CheckSchema(ctx))
		}
		createUser(t, store, "ada")
		require.NoError(t, store.Migrate(ctx))
		count, err := store.CountUsers(ctx, userkit.UserSelection{})
		require.NoError(t, err)
		require.EqualValues(t, 1, count)
	})

	t.Run("runs in many processes at once", func(t *testing.T) {
		dsn := empty.Create(t)
		var group sync.WaitGroup
		for range 6 {
			store := openStore(t, dsn)
			group.Go(func() {
				if err := store.Migrate(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		require.NoError(t, openStore(t, dsn).CheckSchema(ctx))
	})

	t.Run("keeps schemas apart", func(t *testing.T) {
		dsn := empty.Create(t)
		first, second := openStore(t, dsn), openStore(t, dsn, postgres.WithSchema("other_one"))
		require.NoError(t, first.Migrate(ctx))
		requireCode(t, userkit.CodeSchemaOutdated, second.CheckSchema(ctx))
		require.NoError(t, second.Migrate(ctx))
		createUser(t, first, "ada")
		createUser(t, second, "ada")
		for _, store := range []*postgres.Store{first, second} {
			count, err := store.CountUsers(ctx, userkit.UserSelection{})
			require.NoError(t, err)
			require.EqualValues(t, 1, count)
		}
	})

	t.Run("finds its extension in whatever schema it is", func(t *testing.T) {
		dsn := empty.Create(t)
		_, err := openDB(t, dsn).Exec(`CREATE SCHEMA "An odd.name"; CREATE EXTENSION pg_trgm SCHEMA "An odd.name"`)
		require.NoError(t, err)
		store := openStore(t, dsn)
		require.NoError(t, store.Migrate(ctx))
		require.NoError(t, store.CheckSchema(ctx))
	})

	t.Run("runs for many schemas at once", func(t *testing.T) {
		dsn := empty.Create(t)
		var group sync.WaitGroup
		for _, schema := range []string{"one", "two", "three"} {
			store := openStore(t, dsn, postgres.WithSchema(schema))
			group.Go(func() {
				if err := store.Migrate(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	})

	t.Run("knows a schema of a newer version", func(t *testing.T) {
		dsn := migrated.Create(t)
		_, err := openDB(t, dsn).Exec("INSERT INTO userkit.migrations (name) VALUES ('9999_future')")
		require.NoError(t, err)
		store := openStore(t, dsn)
		requireCode(t, userkit.CodeSchemaOutdated, store.CheckSchema(ctx))
		requireCode(t, userkit.CodeSchemaOutdated, store.Migrate(ctx))
	})

	t.Run("writes nothing when a file fails", func(t *testing.T) {
		dsn := empty.Create(t)
		// A table of the first file is in the way.
		_, err := openDB(t, dsn).Exec("CREATE SCHEMA userkit; CREATE TABLE userkit.events (id int)")
		require.NoError(t, err)
		store := openStore(t, dsn)
		require.ErrorIs(t, store.Migrate(ctx), userkit.ErrUnavailable)
		var tables int
		require.NoError(t, openDB(t, dsn).DB.QueryRow("SELECT count(*) FROM pg_tables WHERE schemaname = 'userkit'").Scan(&tables))
		require.Equal(t, 1, tables)
	})

	t.Run("leaves the migrations of others alone, and says so", func(t *testing.T) {
		for name, table := range map[string]string{
			"other columns":   "CREATE TABLE userkit.migrations (id serial, migration text, batch int)",
			"its names too":   "CREATE TABLE userkit.migrations (id serial, name text, run_on timestamptz)",
			"the very same":   "CREATE TABLE userkit.migrations (name text, applied_at timestamptz); INSERT INTO userkit.migrations VALUES ('0001_shop', now())",
			"without records": "CREATE TABLE userkit.migrations (name text, applied_at timestamptz)",
		} {
			dsn := empty.Create(t)
			_, err := openDB(t, dsn).Exec("CREATE SCHEMA userkit; " + table)
			require.NoError(t, err)
			store := openStore(t, dsn)
			for _, err := range []error{store.Migrate(ctx), store.CheckSchema(ctx)} {
				requireCode(t, userkit.CodeInvalidOption, err)
				require.ErrorContains(t, err, "table migrations that is not of userkit", name)
			}
		}
	})

	t.Run("says when it may not use the schema of its extension", func(t *testing.T) {
		dsn := empty.Create(t)
		db := openDB(t, dsn)
		role := "userkit_role_" + strings.ToLower(userkit.NewID[userkit.User]().String()[24:])
		_, err := db.Exec("CREATE SCHEMA locked; CREATE EXTENSION pg_trgm SCHEMA locked; CREATE ROLE " + role + "; GRANT CREATE ON DATABASE " + databaseOf(t, db) + " TO " + role)
		require.NoError(t, err)
		t.Cleanup(func() { _, _ = db.Exec("DROP OWNED BY " + role + "; DROP ROLE " + role) })
		db.SetMaxOpenConns(1)
		_, err = db.Exec("SET ROLE " + role)
		require.NoError(t, err)
		store := newStore(t, db)
		err = store.Migrate(ctx)
		requireCode(t, userkit.CodeStoreRefused, err)
		require.ErrorContains(t, err, "GRANT USAGE ON SCHEMA locked")
		_, err = db.Exec("RESET ROLE; GRANT USAGE ON SCHEMA locked TO " + role + "; SET ROLE " + role)
		require.NoError(t, err)
		require.NoError(t, store.Migrate(ctx))
		_, err = db.Exec("RESET ROLE")
		require.NoError(t, err)
	})

	t.Run("is whole after the server was killed in the middle of it", func(t *testing.T) {
		server := pgtest.Start(t)
		dsn := empty.CreateOn(t, server.DSN())
		db := openDB(t, dsn)
		names, err := fs.Glob(postgres.Migrations(), "*.sql")
		require.NoError(t, err)
		const before = 3 // the fourth file changes every table
		_, err = db.Exec("CREATE SCHEMA userkit")
		require.NoError(t, err)
		for _, name := range names[:before] {
			sql, err := fs.ReadFile(postgres.Migrations(), name)
			require.NoError(t, err)
			_, err = db.Exec("BEGIN; SET LOCAL search_path TO userkit;" + string(sql) + "; COMMIT")
			require.NoError(t, err)
		}
		holding, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = holding.Exec("LOCK TABLE userkit.purchases IN ACCESS SHARE MODE") // which it comes to late
		require.NoError(t, err)
		store := openStore(t, dsn)
		broken := make(chan error, 1)
		go func() { broken <- store.Migrate(ctx) }()
		waitForBlocked(t, db)
		require.NoError(t, server.Kill())
		require.ErrorIs(t, <-broken, userkit.ErrUnavailable)
		_ = holding.Rollback()
		require.NoError(t, server.Restart())
		store = openStore(t, dsn)
		requireCode(t, userkit.CodeSchemaOutdated, store.CheckSchema(ctx))
		var done int
		require.NoError(t, openDB(t, dsn).DB.QueryRow("SELECT count(*) FROM userkit.migrations").Scan(&done))
		require.Equal(t, before, done)
		require.NoError(t, store.Migrate(ctx))
		require.NoError(t, store.CheckSchema(ctx))
		createUser(t, store, "ada")
	})

	t.Run("needs no rights where there is nothing to create", func(t *testing.T) {
		dsn := migrated.Create(t)
		db := openDB(t, dsn)
		role := "userkit_role_" + strings.ToLower(userkit.NewID[userkit.User]().String()[24:])
		_, err := db.Exec("CREATE ROLE " + role + "; GRANT USAGE ON SCHEMA userkit TO " + role +
			"; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA userkit TO " + role)
		require.NoError(t, err)
		t.Cleanup(func() { _, _ = db.Exec("DROP OWNED BY " + role + "; DROP ROLE " + role) })
		db.SetMaxOpenConns(1)
		_, err = db.Exec("SET ROLE " + role)
		require.NoError(t, err)
		store, err := postgres.New(db, postgres.WithProject("second"))
		require.NoError(t, err)
		require.NoError(t, store.Migrate(ctx))
		require.NoError(t, store.CheckSchema(ctx))
		createUser(t, store, "ada")
		_, err = db.Exec("RESET ROLE")
		require.NoError(t, err)
	})
}

// Hosts may run the files with a tool of their own, and drivers misread question
// marks and apostrophes.
func TestMigrationFilesStandAlone(t *testing.T) {
	dsn := empty.Create(t)
	db := openDB(t, dsn)
	db.SetMaxOpenConns(1)
	_, err := db.Exec("CREATE SCHEMA elsewhere")
	require.NoError(t, err)
	names, err := fs.Glob(postgres.Migrations(), "*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		sql, err := fs.ReadFile(postgres.Migrations(), name)
		require.NoError(t, err)
		require.NotContains(t, string(sql), "?", name)
		for line := range strings.Lines(string(sql)) {
			code, comment, _ := strings.Cut(line, "--")
			require.NotContains(t, comment, "'", name)
			require.Zero(t, strings.Count(code, "'")%2, "%s: %s", name, line)
			// A statement ends where its line does, and is sent by itself.
			require.NotContains(t, strings.TrimSuffix(strings.TrimSpace(code), ";"), ";", "%s: %s", name, line)
			require.NotContains(t, code, "$", "%s: %s", name, line)
		}
		_, err = db.Exec("BEGIN; SET LOCAL search_path TO elsewhere;" + string(sql) + "; COMMIT")
		require.NoError(t, err, name)
	}
	store := openStore(t, dsn, postgres.WithSchema("elsewhere"))
	requireCode(t, userkit.CodeSchemaOutdated, store.CheckSchema(t.Context())) // the project
	require.NoError(t, store.Migrate(t.Context()))
	require.NoError(t, store.CheckSchema(t.Context()))
}

// Every key and every index holds the project, but for the list of migrations, which
// belongs to the schema, and the three that find parts of values. One that begins with
// the project has a condition, so that it serves only statements that state it: a
// look-up by key is never tempted to read the project instead. The projects
// themselves are found by name.
func TestIndexesThatBeginWithTheProjectHaveACondition(t *testing.T) {
	rows, err := openDB(t, migrated.Create(t)).Query(`SELECT c.relname, pg_get_indexdef(i.indexrelid, 1, true), i.indpred IS NOT NULL,
EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = i.indexrelid AND a.attname = 'project')
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS s ON s.oid = c.relnamespace
WHERE s.nspname = 'userkit'`)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	count := 0
	for rows.Next() {
		var index, first string
		var conditional, holds bool
		require.NoError(t, rows.Scan(&index, &first, &conditional, &holds))
		if slices.Contains([]string{"migrations_pkey", "projects_pkey", "users_by_search", "users_by_search_part", "users_by_attribute", "events_by_mention"}, index) {
			continue
		}
		require.True(t, holds, index)
		if first == "project" {
			require.True(t, conditional, index)
		}
		count++
	}
	require.NoError(t, rows.Err())
	require.Greater(t, count, 20)
}

func TestProjectsAreApart(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	first, second := openStore(t, dsn), openStore(t, dsn, postgres.WithProject("second"))

	nobody := userkit.User{ID: userkit.NewID[userkit.User]()}
	unregistered := touch(&nobody)
	unregistered.Version, unregistered.Account.Version, unregistered.Profile = 0, 1, &nobody
	_, err := second.Commit(ctx, []userkit.Change{unregistered})
	requireCode(t, userkit.CodeSchemaOutdated, err)
	require.NoError(t, second.Migrate(ctx))

	ada := createUser(t, first, "ada")
	other := createUser(t, second, "ada") // no clash
	_, err = second.User(ctx, ada.ID)
	requireCode(t, userkit.CodeUserNotFound, err)
	require.ErrorIs(t, commitOne(t, second, touch(&ada)), userkit.ErrConflict)
	found, err := second.FindUser(ctx, userkit.ByLogin("ADA"))
	require.NoError(t, err)
	require.Equal(t, other.ID, found.ID)

	// The same id may exist in both, and deleting one leaves the other.
	twin := other
	require.NoError(t, commitOne(t, first, userkit.Change{User: twin.ID, Profile: &userkit.User{ID: twin.ID}, Account: userkit.Account{Version: 1}}))
	require.NoError(t, commitOne(t, first, userkit.Change{User: twin.ID, Version: 1, Delete: true}))
	_, err = second.User(ctx, twin.ID)
	require.NoError(t, err)
	var cursor userkit.FeedPosition
	followTo(t, second, &cursor, 1)
}

func TestOptions(t *testing.T) {
	ctx := context.Background()
	for name, option := range map[string]postgres.Option{
		"no project":      postgres.WithProject(""),
		"long project":    postgres.WithProject(strings.Repeat("p", 129)),
		"spaced project":  postgres.WithProject("a b"),
		"no schema":       postgres.WithSchema(""),
		"quoted schema":   postgres.WithSchema(`a"b`),
		"capital schema":  postgres.WithSchema("Userkit"),
		"long schema":     postgres.WithSchema(strings.Repeat("s", 64)),
		"reserved schema": postgres.WithSchema("pg_userkit"),
		"no connections":  postgres.WithPoolSize(0),
	} {
		_, err := postgres.Open(ctx, "postgres://127.0.0.1:1/none?sslmode=disable", option)
		requireCode(t, userkit.CodeInvalidOption, err)
		require.NotEmpty(t, name)
	}
	_, err := postgres.New(nil)
	requireCode(t, userkit.CodeInvalidOption, err)
	_, err = postgres.New(openDB(t, empty.Create(t)), postgres.WithPoolSize(2))
	requireCode(t, userkit.CodeInvalidOption, err)
	for _, dsn := range []string{"mysql://host/database", "postgres://user:secret@host:port:port/x", "%zz"} {
		_, err = postgres.Open(ctx, dsn)
		requireCode(t, userkit.CodeInvalidOption, err)
		require.NotContains(t, err.Error(), "secret")
	}
	_, err = postgres.Open(ctx, "postgres://127.0.0.1:1/none?sslmode=disable")
	requireCode(t, userkit.CodeStoreUnavailable, err)
}

// Migrations are applied in the order of their numbers, so no two have the same.
func TestMigrationsAreNumbered(t *testing.T) {
	names, err := fs.Glob(postgres.Migrations(), "*.sql")
	require.NoError(t, err)
	for i, name := range names {
		require.True(t, strings.HasPrefix(name, fmt.Sprintf("%04d_", i+1)), name)
		sql, err := fs.ReadFile(postgres.Migrations(), name)
		require.NoError(t, err)
		require.Contains(t, string(sql), "VALUES ('"+strings.TrimSuffix(name, ".sql")+"')")
	}
}
