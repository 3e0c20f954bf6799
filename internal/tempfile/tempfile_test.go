package tempfile

import (
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNothingIsLeft(t *testing.T) {
	directory := t.TempDir()
	t.Setenv("TMPDIR", directory)
	t.Setenv("TMP", directory) // of Windows
	left := func() []os.DirEntry {
		t.Helper()
		entries, err := os.ReadDir(directory)
		require.NoError(t, err)
		return entries
	}
	file, err := Create()
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		require.Empty(t, left(), "the file has no name even while it is open")
	}
	_, err = file.WriteString("somebody's")
	require.NoError(t, err)
	content := make([]byte, 10)
	_, err = file.ReadAt(content, 0)
	require.NoError(t, err)
	require.Equal(t, "somebody's", string(content))
	require.NoError(t, file.Close())
	require.Empty(t, left())

	// As on a system that keeps the names of open files.
	named, err := os.CreateTemp("", "")
	require.NoError(t, err)
	require.Len(t, left(), 1)
	require.NoError(t, (&File{File: named, named: true}).Close())
	require.Empty(t, left())

	t.Setenv("TMPDIR", directory+"/none")
	t.Setenv("TMP", directory+"/none")
	_, err = Create()
	require.Error(t, err)
}
