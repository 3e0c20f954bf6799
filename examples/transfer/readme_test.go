package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What README runs of this program does what it is shown for.
func TestCommandsOfReadmeRun(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	require.NoError(t, err)
	customers, err := filepath.Abs("testdata")
	require.NoError(t, err)
	t.Setenv("DATABASE_URL", databases.Create(t))
	t.Chdir(t.TempDir())
	require.NoError(t, os.Symlink(customers, "testdata"))

	var messages []string
	for line := range strings.Lines(string(readme)) {
		if arguments, ok := strings.CutPrefix(line, "go run . "); ok {
			_, message := command(t, statusDone, words(t, arguments)...)
			messages = append(messages, message)
		}
	}
	require.Len(t, messages, 2)
	require.Contains(t, messages[0], "4 rows: 4 created, 0 updated, 0 unchanged, 0 rejected\n")
	require.Contains(t, messages[1], "team.xlsx: 2 users, ")
	require.FileExists(t, "team.xlsx")
}

// words returns the words of a command line as a shell takes it apart.
func words(t *testing.T, line string) []string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "sh", "-c", `printf '%s\n' `+line).Output()
	require.NoError(t, err)
	return strings.Split(strings.TrimSuffix(string(output), "\n"), "\n")
}
