package postgres

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun/driver/pgdriver"
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
			config := &pgdriver.Config{
				Network: "tcp", Addr: listener.Addr().String(), TLSConfig: &tls.Config{ServerName: "localhost"},
				Dialer: new(net.Dialer).DialContext,
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			require.Error(t, cancelStatement(ctx, config, backendKey{1, 2}))
		})
	}
}
