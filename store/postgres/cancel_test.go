package postgres

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit/internal/pgtest"
)

// A server that takes no TLS, or none of ours, costs the request to cancel, and
// nothing else.
func TestCancelRequestsMayFail(t *testing.T) {
	for name, answer := range map[string]string{"without TLS": "N", "with something else": "Shello", "closed": ""} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer func() { _ = listener.Close() }()
			go func() {
				connection, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = connection.Read(make([]byte, 8))
				_, _ = connection.Write([]byte(answer))
				_ = connection.Close()
			}()
			settings, err := parseDSN("postgres://" + listener.Addr().String())
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			dial := func(ctx context.Context) (net.Conn, error) { return settings.dial(ctx, settings.servers[0], true) }
			require.Error(t, cancelStatement(ctx, dial, backendKey{1, 2}))
		})
	}
}

// A statement may be done at the very moment at which its context ends. The connection is
// closed by then, not a moment later, when it may be at somebody else's statement.
func TestConnectionIsClosedBeforeItIsGivenBack(t *testing.T) {
	connector, err := newConnector(pgtest.NewTemplate(nil).Create(t))
	require.NoError(t, err)
	for range 20 {
		made, err := connector.Connect(t.Context())
		require.NoError(t, err)
		opened, ok := made.(*connection)
		require.True(t, ok)
		ctx, cancel := context.WithCancel(t.Context())
		stop := opened.watch(ctx)
		cancel()
		stop(nil)
		require.False(t, opened.IsValid())
		require.NoError(t, opened.Close())
	}
}
