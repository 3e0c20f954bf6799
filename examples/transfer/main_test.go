package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/pgtest"
	"github.com/userkit/userkit/store/postgres"
)

// databases are empty: the program migrates when it is told to.
var databases = pgtest.NewTemplate(nil)

func TestMain(m *testing.M) { pgtest.Main(m) }

// withUsers does something with the users of a project.
func withUsers(t *testing.T, dsn, project string, use func(userkit.Manager)) {
	t.Helper()
	store, err := postgres.Open(t.Context(), dsn, postgres.WithProject(project))
	require.NoError(t, err)
	defer store.Close()
	require.NoError(t, store.Migrate(t.Context()))
	users, err := userkit.New(store, userkit.WithLicenses(userkit.License{Name: "Duo", Devices: 2}))
	require.NoError(t, err)
	defer users.Close(context.Background())
	use(users)
}

// command runs the program and gives what it prints.
func command(t *testing.T, wantStatus int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, messages bytes.Buffer
	status := run(t.Context(), args, &out, &messages)
	require.Equal(t, wantStatus, status, "%s", messages.String())
	return out.String(), messages.String()
}

// settable lists the columns that an import takes.
func settable() string {
	var names []string
	for _, field := range userkit.UserFields() {
		if field.Settable() {
			names = append(names, field.Name)
		}
	}
	return strings.Join(names, ",")
}

func TestUsersMoveToAnotherProject(t *testing.T) {
	dsn := databases.Create(t)
	withUsers(t, dsn, "first", func(users userkit.Manager) {
		for _, user := range []userkit.NewUser{
			{
				Login: "ada", Name: "Ada \"Countess\" Lovelace", Description: "first line\n\"second line\"", Email: "ada@example.org", EmailVerified: true, Country: "GB", License: "Duo",
				Attributes:   userkit.Attributes{"plan": "pro", "seats": 3, "tags": []any{"a", "b"}},
				TrafficLimit: userkit.Set(userkit.TrafficLimit{Bytes: 1 << 40, Reset: userkit.ResetMonthly, AnchorDay: 7}),
			},
			{Login: "zoë", Name: "=Ζωή, 佐藤", ExtRef: "007", Phone: "+375291234567", Status: userkit.StatusDisabled, ExpiresAt: time.Date(2030, 1, 2, 3, 4, 5, 678_000, time.UTC)},
			{Kind: userkit.UserLegalEntity, Payer: userkit.Payer{Bank: "Bank; of Minsk"}, ValidFor: userkit.Duration(720 * time.Hour), Currency: "USD"},
		} {
			_, err := users.CreateUser(t.Context(), user)
			require.NoError(t, err)
		}
	})
	exported := func(project string) string {
		table, _ := command(t, statusDone, "export", "-dsn", dsn, "-project", project, "-format", "ndjson", "-sort", "id", "-columns", settable(), "-")
		return table
	}
	want := exported("first")
	require.Equal(t, 3, strings.Count(want, "\n"))

	for _, ending := range []string{"csv", "xlsx", "ndjson"} {
		t.Run("as "+ending, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "users."+ending)
			_, messages := command(t, statusDone, "export", "-dsn", dsn, "-project", "first", path)
			require.Contains(t, messages, "users."+ending+": 3 users, ")

			load := []string{"import", "-dsn", dsn, "-project", "from-" + ending, "-license", "Duo=2", path}
			_, messages = command(t, statusFailed, load...)
			require.Contains(t, messages, "schema_outdated", "a project that is not there is not made by chance")

			_, messages = command(t, statusDone, append([]string{"import", "-migrate"}, load[1:]...)...)
			require.Contains(t, messages, "3 rows: 3 created, 0 updated, 0 unchanged, 0 rejected\n")
			require.Contains(t, messages, "column \"balance\" is ignored: read-only\n")
			require.Equal(t, want, exported("from-"+ending))

			_, messages = command(t, statusDone, load...)
			require.Contains(t, messages, "3 rows: 0 created, 0 updated, 3 unchanged, 0 rejected\n")
		})
	}
}

func TestAnExportIsFilteredAndSorted(t *testing.T) {
	dsn := databases.Create(t)
	withUsers(t, dsn, postgres.DefaultProject, func(users userkit.Manager) {
		for _, login := range []string{"ada", "ben", "adam", "nevada"} {
			_, err := users.CreateUser(t.Context(), userkit.NewUser{Login: login, Attributes: userkit.Attributes{"length": len(login)}})
			require.NoError(t, err)
		}
	})
	t.Setenv("DATABASE_URL", dsn)
	table, _ := command(t, statusDone, "export", "-format", "csv", "-comma", ";", "-search", "ADA",
		"-filter", "attributes.length lt 6", "-sort", "-login", "-columns", "login,attributes.length,access", "-")
	require.Equal(t, "login;attributes.length;access\r\nadam;4;allowed\r\nada;3;allowed\r\n", table)
}

const badTable = "Login,E-mail,Shoe size\r\n" +
	"ada,ada@example.org,37\r\n" +
	"ben,nowhere,\r\n" +
	"eva,ada@example.org,\r\n" +
	"\"zoë\",,\r\n"

func TestRowsThatAreWrongAreReported(t *testing.T) {
	dsn := databases.Create(t)
	directory := t.TempDir()
	path, list := filepath.Join(directory, "bad.csv"), filepath.Join(directory, "rejected.csv")
	require.NoError(t, os.WriteFile(path, []byte(badTable), 0o600))
	arguments := func(more ...string) []string {
		return append(append([]string{"import", "-dsn", dsn, "-migrate", "-key", "login"}, more...), path)
	}
	logins := func() string {
		table, _ := command(t, statusDone, "export", "-dsn", dsn, "-format", "csv", "-columns", "login,attributes", "-")
		return table
	}

	_, messages := command(t, statusFailed, arguments("-dry-run", "-unknown", "ignore")...)
	require.Contains(t, messages, "column \"Shoe size\" is ignored: unknown\n")
	require.Contains(t, messages, "column \"E-mail\" is email\n")
	require.Contains(t, messages, "row 3, E-mail: userkit: bad_format (email)")
	require.Contains(t, messages, "row 4, E-mail: userkit: email_taken (email)")
	require.Contains(t, messages, "4 rows: 2 would be created, 0 updated, 0 unchanged, 2 rejected; nothing was written\n")
	require.Contains(t, messages, "transfer: 2 of 4 rows were rejected\n")
	require.Equal(t, "login,attributes\r\n", logins())

	_, messages = command(t, statusFailed, arguments("-unknown", "refuse")...)
	require.Contains(t, messages, "unknown_field")
	require.Equal(t, "login,attributes\r\n", logins())

	_, messages = command(t, statusFailed, arguments("-rejected", list, "-as", "olga", "-column", "Shoe size=attributes.shoe")...)
	require.NotContains(t, messages, "row 3")
	require.Contains(t, messages, "2 created, 0 updated, 0 unchanged, 2 rejected\n")
	text, err := os.ReadFile(list)
	require.NoError(t, err)
	lines := strings.Split(string(text), "\r\n")
	require.Len(t, lines, 4)
	require.Equal(t, "\uFEFFLogin,E-mail,Shoe size,rejected_because", lines[0])
	require.Contains(t, lines[1], "E-mail: userkit: bad_format (email)")
	require.Contains(t, lines[2], "eva,ada@example.org,,E-mail: userkit: email_taken (email)")
	require.Equal(t, "login,attributes\r\nada,\"{\"\"shoe\"\":37}\"\r\nzoë,\r\n", logins())

	withUsers(t, dsn, postgres.DefaultProject, func(users userkit.Manager) {
		ada, err := users.FindUser(t.Context(), userkit.ByLogin("ada"))
		require.NoError(t, err)
		events, err := users.Events(t.Context(), userkit.EventQuery{EventFilter: userkit.EventFilter{UserID: ada.ID}})
		require.NoError(t, err)
		require.Len(t, events.Items, 1)
		require.Equal(t, userkit.Actor{Kind: userkit.ActorAdministrator, ID: "olga"}, events.Items[0].Actor)
	})

	_, messages = command(t, statusFailed, arguments("-mode", "create")...)
	require.Contains(t, messages, "0 created, 0 updated, 0 unchanged, 4 rejected\n")
}

func TestWhatIsWrongWithTheCommandLineIsSaid(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"", "usage:"},
		{"move users.csv", "\"move\" is not export or import\nusage:"},
		{"export", "one FILE is needed"},
		{"export a.csv b.csv", "one FILE is needed"},
		{"export users.txt", "names no format"},
		{"export -format pdf users.csv", "it is not one of csv, xlsx, ndjson"},
		{"export -filter plan users.csv", "at character"},
		{"export -comma ;; users.csv", "it is not one character"},
		{"export -zone Nowhere/Town users.csv", "unknown time zone"},
		{"export -key login users.csv", "not defined: -key"},
		{"import -mode replace users.csv", "it is not one of upsert, create, update"},
		{"import -key name users.csv", "it is not one of id, extref, login, email"},
		{"import -unknown attributes users.csv", "it is not one of keep, ignore, refuse"},
		{"import -column Tariff users.csv", "it is not a heading"},
		{"import -license Duo users.csv", "it is not a name"},
	} {
		t.Run(test.args, func(t *testing.T) {
			_, messages := command(t, statusUsage, strings.Fields(test.args)...)
			require.Contains(t, messages, test.want)
			require.Contains(t, messages, "usage:")
		})
	}
	for _, args := range []string{"-h", "export -h", "import -h"} {
		_, messages := command(t, statusDone, strings.Fields(args)...)
		require.Contains(t, messages, "usage:")
	}
}

func TestAFileIsInspectedWithoutADatabase(t *testing.T) {
	t.Setenv("DATABASE_URL", "")
	path := filepath.Join(t.TempDir(), "users.csv")
	require.NoError(t, os.WriteFile(path, []byte("ID,user_login,user_pass\n1,ada,secret\n"), 0o600))
	found, _ := command(t, statusDone, "import", "-inspect", "-preset", "wordpress", path)
	require.Contains(t, found, `"user_login": "login"`)
	require.NotContains(t, found, `"secret"`)
}

func TestWhatCannotBeDoneIsSaid(t *testing.T) {
	t.Setenv("DATABASE_URL", "")
	directory := t.TempDir()
	path := filepath.Join(directory, "users.csv")
	_, messages := command(t, statusFailed, "export", path)
	require.Contains(t, messages, "no database")
	_, messages = command(t, statusFailed, "import", path)
	require.Contains(t, messages, "no such file")
	_, messages = command(t, statusFailed, "export", "-dsn", "postgres://127.0.0.1:1/none?sslmode=disable", path)
	require.Contains(t, messages, "store_unavailable")

	dsn := databases.Create(t)
	withUsers(t, dsn, postgres.DefaultProject, func(userkit.Manager) {})
	_, messages = command(t, statusFailed, "export", "-dsn", dsn, "-columns", "login,shoe", path)
	require.Contains(t, messages, "unknown_field")
	_, messages = command(t, statusFailed, "export", "-dsn", dsn, filepath.Join(directory, "none", "users.csv"))
	require.Contains(t, messages, "no such file")
	require.NoError(t, os.WriteFile(path, []byte("name\nAda\n"), 0o600))
	_, messages = command(t, statusFailed, "import", "-dsn", dsn, "-key", "login", path)
	require.Contains(t, messages, "required")
	_, messages = command(t, statusFailed, "import", "-dsn", dsn, "-rejected", filepath.Join(directory, "none", "list"), path)
	require.Contains(t, messages, "no such file")
}

func TestAnInterruptedExportLeavesTheFileAsItWas(t *testing.T) {
	dsn := databases.Create(t)
	withUsers(t, dsn, postgres.DefaultProject, func(users userkit.Manager) {
		_, err := users.CreateUser(t.Context(), userkit.NewUser{Login: "ada"})
		require.NoError(t, err)
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	interrupted := writer(func(data []byte) (int, error) {
		cancel()
		return 0, ctx.Err()
	})
	var messages bytes.Buffer
	require.Equal(t, statusInterrupted, run(ctx, []string{"export", "-dsn", dsn, "-format", "csv", "-"}, interrupted, &messages))
	require.Contains(t, messages.String(), "to go on, run the same command again\ntransfer: interrupted\n")

	path := filepath.Join(t.TempDir(), "users.csv")
	require.NoError(t, os.WriteFile(path, []byte("older"), 0o600))
	messages.Reset()
	require.Equal(t, statusInterrupted, run(ctx, []string{"export", "-dsn", dsn, path}, io.Discard, &messages))
	require.Contains(t, messages.String(), path+" is as it was before")

	broken := errors.New("broken")
	require.ErrorIs(t, writeWhole(path, func(to io.Writer) error {
		_, err := io.WriteString(to, "a part")
		return errors.Join(err, broken)
	}), broken)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "older", string(text))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing else is left")
}

// writer is an io.Writer made of a function.
type writer func([]byte) (int, error)

func (w writer) Write(data []byte) (int, error) { return w(data) }
