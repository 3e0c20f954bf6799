package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/pgtest"
	"github.com/userkit/userkit/store/memory"
)

var update = flag.Bool("update", false, "write what the story prints to testdata")

// databases are empty: the program migrates by itself.
var databases = pgtest.NewTemplate(nil)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestStoryInMemory(t *testing.T) {
	requireStory(t, "", "")
}

func TestStoryOnPostgreSQL(t *testing.T) {
	dsn := databases.Create(t)
	requireStory(t, dsn, "first")
	requireStory(t, dsn, "second") // in the same database, beside the first

	err := tell(t.Context(), &bytes.Buffer{}, dsn, "first")
	require.ErrorIs(t, err, userkit.ErrExists, "a project that has an Ada already")
}

// requireStory tells the story and compares it with the one in testdata.
func requireStory(t *testing.T, dsn, project string) {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, tell(t.Context(), &out, dsn, project))
	golden := filepath.Join("testdata", "story.txt")
	if *update {
		require.NoError(t, os.WriteFile(golden, out.Bytes(), 0o666))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String())
}

func TestFailuresAreTold(t *testing.T) {
	require.Error(t, tell(t.Context(), &bytes.Buffer{}, "postgres://127.0.0.1:1/none?sslmode=disable", "x"), "no server")

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
