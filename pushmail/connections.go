package pushmail

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/userkit/userkit/internal/ratelimit"
)

// The bounds of one connection.
const (
	// maxCommands is how many commands it has at most, parts of a mail that come by BDAT included.
	maxCommands = 1000
	// maxRefused is how many senders and recipients of it are refused before it is closed, in SMTP.
	maxRefused = 20
	// lifetimes is how long it lasts at most, in multiples of Config.Timeout.
	lifetimes = 10
)

// busy is what a client hears that has, or that have all together, too many connections.
const busy = "421 4.7.0 Too many connections, try again later\r\n"

// network returns the name of the network of a client, for which connections and mails are
// counted.
func network(client net.Addr) string {
	return ratelimit.Network(ratelimit.Address(client.String()))
}

// crowd counts the connections of a server.
type crowd struct {
	most, perNetwork int // perNetwork is 0 where all come from a mail server of the host's

	mutex    sync.Mutex
	all      int
	networks map[string]int
}

// enter counts a connection, unless there are too many.
func (c *crowd) enter(network string) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.all >= c.most || c.perNetwork > 0 && c.networks[network] >= c.perNetwork {
		return false
	}
	c.all++
	c.networks[network]++
	return true
}

func (c *crowd) leave(network string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.all--
	if c.networks[network]--; c.networks[network] == 0 {
		delete(c.networks, network)
	}
}

// guardedListener accepts the connections of a server, within its bounds.
type guardedListener struct {
	net.Listener
	server *Server
}

func (l guardedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if _, encrypted := conn.(*tls.Conn); encrypted {
			l.server.config.Logger.Error("pushmail: a listener with TLS of its own is not served, see Config.TLS")
			_ = conn.Close()
			continue
		}
		from := network(conn.RemoteAddr())
		if l.server.crowd.enter(from) {
			life := lifetimes * l.server.config.Timeout
			return &guardedConn{Conn: conn, ends: time.Now().Add(life), left: sync.OnceFunc(func() { l.server.crowd.leave(from) })}, nil
		}
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second)) // nothing was written before, so that nothing has to be waited for
		_, _ = io.WriteString(conn, busy)
		_ = conn.Close()
	}
}

// guardedConn is a connection that ends in time, and after so many commands.
type guardedConn struct {
	net.Conn
	ends     time.Time
	commands int // that were waited for
	left     func()
}

// SetReadDeadline is called by the SMTP server before it reads a command, and at no other time.
func (c *guardedConn) SetReadDeadline(until time.Time) error {
	if c.commands++; c.commands > maxCommands {
		return os.ErrDeadlineExceeded // which the client is told in the words for a client that was silent
	}
	if until.IsZero() || until.After(c.ends) {
		until = c.ends
	}
	return c.Conn.SetReadDeadline(until)
}

func (c *guardedConn) Close() error {
	c.left()
	return c.Conn.Close()
}

// refuse counts what is refused in a connection, and ends the connection of a client that goes on.
func (s *session) refuse(answer *smtp.SMTPError) error {
	if s.refused++; s.refused >= maxRefused && !s.server.config.LMTP {
		s.conn.Reject()
		return errors.New("pushmail: too much was refused")
	}
	return answer
}
