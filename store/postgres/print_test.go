package postgres

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun/driver/pgdriver"
)

type lines []string

func (l *lines) Printf(_ context.Context, format string, args ...any) {
	*l = append(*l, fmt.Sprintf(format, args...))
}

func TestFailedWritesAreNotPrinted(t *testing.T) {
	require.IsType(t, printer{}, pgdriver.Logger)
	var printed lines
	p := printer{&printed}
	p.Printf(t.Context(), "pgdriver: Conn.Write failed (zero-length): %s", context.Canceled)
	p.Printf(t.Context(), "pgdriver: Listener buffer is full (message is dropped)")
	require.Equal(t, lines{"pgdriver: Listener buffer is full (message is dropped)"}, printed)
}
