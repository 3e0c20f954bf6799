package pushmail

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// deadlines remembers the last deadline for reading.
type deadlines struct {
	net.Conn
	last time.Time
}

func (d *deadlines) SetReadDeadline(until time.Time) error {
	d.last = until
	return nil
}

func TestAConnectionEnds(t *testing.T) {
	now := time.Now()
	under := &deadlines{}
	conn := &guardedConn{Conn: under, ends: now.Add(10 * time.Minute)}
	for _, test := range []struct{ asked, want time.Time }{
		{now.Add(time.Minute), now.Add(time.Minute)},
		{now.Add(11 * time.Minute), conn.ends},
		{time.Time{}, conn.ends},
	} {
		require.NoError(t, conn.SetReadDeadline(test.asked))
		require.Equal(t, test.want, under.last)
	}
}

func TestNetworkOfAClient(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1:25": "192.0.2.1", "[2001:db8:1:2:3::4]:25": "2001:db8:1:2::/64", "[::ffff:192.0.2.1]:25": "::ffff:192.0.2.1",
	} {
		client, err := net.ResolveTCPAddr("tcp", address)
		require.NoError(t, err)
		if client.IP.To4() != nil {
			want = client.IP.String()
		}
		require.Equal(t, want, network(client), address)
	}
	require.Equal(t, "other", network(&net.UnixAddr{Name: "/run/lmtp", Net: "unix"}))
}

// stuckUsers do not come back.
type stuckUsers struct{ release chan struct{} }

func (u stuckUsers) FindUser(context.Context, userkit.UserKey) (userkit.User, error) {
	<-u.release
	return userkit.User{}, nil
}

// Nobody waits for the host's code for longer than Config.Timeout, even if it has no regard for
// its context: the sender is told to come again.
func TestTheHostsCodeMayHang(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	server, err := NewServer(Config{
		Users: stuckUsers{release}, Hostname: "push.example.org", LMTP: true, Timeout: time.Nanosecond,
		Deliver: func(context.Context, Delivery) error {
			<-release
			return nil
		},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	require.NoError(t, err)
	s := &session{server: server}
	require.Equal(t, errLater, s.Rcpt("ada@push.example.org", &smtp.RcptOptions{}))
	require.Equal(t, errLater, s.deliver(recipient{address: "ada@push.example.org"}, Delivery{}, []byte("\r\n")))
}
