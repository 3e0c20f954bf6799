package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/pgtest"
	"github.com/userkit/userkit/internal/storytest"
	"github.com/userkit/userkit/store/memory"
	"github.com/userkit/userkit/store/postgres"
)

// databases are empty: the program migrates by itself.
var databases = pgtest.NewTemplate(nil)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestStoryInMemory(t *testing.T) {
	requireStory(t, memory.New())
}

// The same story comes of PostgreSQL, though the program is built without it.
func TestStoryOnPostgreSQL(t *testing.T) {
	dsn := databases.Create(t)
	for _, project := range []string{"first", "second"} { // in one database, one beside the other
		requireStory(t, open(t, dsn, project))
	}
	require.ErrorIs(t, run(t.Context(), io.Discard, open(t, dsn, "first")), userkit.ErrExists, "a project that has an Ada already")
}

// open returns the store of a project.
func open(t *testing.T, dsn, project string) userkit.Store {
	t.Helper()
	store, err := postgres.Open(t.Context(), dsn, postgres.WithProject(project))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	require.NoError(t, store.Migrate(t.Context()))
	return store
}

// requireStory tells the story on a store and compares it with the one in testdata.
func requireStory(t *testing.T, store userkit.Store) {
	t.Helper()
	storytest.Require(t, func(ctx context.Context, out io.Writer) error { return run(ctx, out, store) })
}

// The quick start is built from what userkit and its store in memory need and from the
// standard library: no database and no spreadsheet has to be compiled for it.
func TestQuickStartIsBuiltFromLittle(t *testing.T) {
	const root = "github.com/userkit/userkit"
	needed := dependencies(t, root, root+"/store/memory")
	require.Contains(t, needed, root+"/store/memory")
	for _, dependency := range dependencies(t, root+"/examples/quickstart") {
		if dependency != root+"/examples/quickstart" {
			require.Contains(t, needed, dependency)
		}
	}
}

// dependencies lists the packages outside the standard library that some are built from,
// they included.
func dependencies(t *testing.T, packages ...string) []string {
	t.Helper()
	arguments := append([]string{"list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}"}, packages...)
	output, err := exec.CommandContext(t.Context(), "go", arguments...).Output()
	require.NoError(t, err)
	return strings.Fields(string(output))
}

func TestFailuresAreTold(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(cancelled, &bytes.Buffer{}, memory.New()), context.Canceled)

	require.ErrorIs(t, run(t.Context(), fullDisk{}, memory.New()), errDiskFull)
}

var errDiskFull = errors.New("disk full")

// fullDisk is a writer that takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errDiskFull }

func TestOnlyTheExpectedRefusalGoesThrough(t *testing.T) {
	s := &story{out: bufio.NewWriter(&bytes.Buffer{})}
	refusal := userkit.NewError(userkit.CodeDeviceLimit, "", "full")
	require.NoError(t, s.refused("tablet", userkit.CodeDeviceLimit, refusal))
	require.ErrorIs(t, s.refused("tablet", userkit.CodeTrafficLimit, refusal), refusal)
	require.ErrorIs(t, s.refused("tablet", userkit.CodeDeviceLimit, errDiskFull), errDiskFull)
	require.Error(t, s.refused("tablet", userkit.CodeDeviceLimit, nil))
}
