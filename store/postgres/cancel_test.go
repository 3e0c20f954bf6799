package postgres

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
