//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// The file is a pipe that brings some rows and then nothing, so that the import is
// under way, and waits, when the interrupt comes.
func TestAnInterruptedImportGoesOnWhenItIsRunAgain(t *testing.T) {
	const rows = 5000
	var table strings.Builder
	table.WriteString("login,name\n")
	for i := range rows {
		fmt.Fprintf(&table, "user-%04d,User %d\n", i, i)
	}
	dsn := databases.Create(t)
	path := filepath.Join(t.TempDir(), "users.csv")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	pipe, err := os.OpenFile(path, os.O_RDWR, 0) // both, so that it does not wait for a reader
	require.NoError(t, err)
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = io.WriteString(pipe, table.String()) // fails when the pipe is closed first
	}()

	withUsers(t, dsn, postgres.DefaultProject, func(users userkit.Manager) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var messages bytes.Buffer
		status := make(chan int, 1)
		go func() { status <- run(ctx, []string{"import", "-dsn", dsn, path}, io.Discard, &messages) }()
		require.Eventually(t, func() bool {
			count, err := users.CountUsers(t.Context(), userkit.UserFilter{})
			return err == nil && count >= 1000
		}, time.Minute, 10*time.Millisecond)
		cancel()
		require.Equal(t, statusInterrupted, <-status)
		require.Contains(t, messages.String(), "cut short; to go on, run the same command again: rows that are in already are unchanged then\ntransfer: interrupted\n")
		require.NoError(t, pipe.Close())
		<-written

		require.NoError(t, os.Remove(path))
		require.NoError(t, os.WriteFile(path, []byte(table.String()), 0o600))
		before, err := users.CountUsers(t.Context(), userkit.UserFilter{})
		require.NoError(t, err)
		_, again := command(t, statusDone, "import", "-dsn", dsn, path)
		require.Contains(t, again, fmt.Sprintf("%d rows: %d created, 0 updated, %d unchanged, 0 rejected\n", rows, rows-before, before))
	})
}
