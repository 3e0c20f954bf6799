//go:build unix

package pgtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBinariesCanBeChosen(t *testing.T) {
	root := t.TempDir()
	binaries, libraries := filepath.Join(root, "bin"), filepath.Join(root, "lib")
	require.NoError(t, os.Mkdir(binaries, 0o755))
	_, _, err := findBinaries(binaries)
	require.ErrorContains(t, err, BinariesEnvironment, "an empty directory is refused, not passed over")
	_, _, err = findBinaries("bin")
	require.ErrorContains(t, err, "absolute")
	for _, name := range []string{"initdb", "postgres"} {
		require.NoError(t, os.WriteFile(filepath.Join(binaries, name), nil, 0o755))
	}
	chosen, beside, err := findBinaries(binaries)
	require.NoError(t, err)
	require.Equal(t, binaries, chosen)
	require.Empty(t, beside)
	require.NoError(t, os.Mkdir(libraries, 0o755))
	_, beside, err = findBinaries(binaries + "/")
	require.NoError(t, err)
	require.Equal(t, libraries, beside)
}

func TestTheChosenServerRuns(t *testing.T) {
	chosen := os.Getenv(BinariesEnvironment)
	server := Start(t)
	require.NoError(t, execute(server.DSN(), "SELECT 1"))
	if chosen != "" {
		require.Equal(t, chosen, server.Binaries())
	}
}
