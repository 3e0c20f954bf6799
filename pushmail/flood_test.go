package pushmail_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/textproto"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/pushmail"
)

// dial connects to the server, reads its greeting and says hello.
func (s *stand) dial(t *testing.T, hello string) *textproto.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.at)
	require.NoError(t, err)
	text := textproto.NewConn(conn)
	t.Cleanup(func() { _ = text.Close() })
	_, _, err = text.ReadResponse(220)
	require.NoError(t, err)
	answer(t, text, 250, "%s client.example.com", hello)
	return text
}

// answer says a command and reads its answer.
func answer(t *testing.T, text *textproto.Conn, code int, format string, args ...any) {
	t.Helper()
	require.NoError(t, text.PrintfLine(format, args...))
	_, _, err := text.ReadResponse(code)
	require.NoError(t, err)
}

// refusedAtOnce connects, and reports whether there were too many connections.
func (s *stand) refusedAtOnce(t *testing.T) bool {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.at)
	require.NoError(t, err)
	text := textproto.NewConn(conn)
	defer func() { _ = text.Close() }()
	code, _, err := text.ReadResponse(0)
	require.NoError(t, err)
	return code == 421
}

func TestConnectionsAreBounded(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*pushmail.Config)
		hello  string
		most   int
	}{
		"of a network": {func(c *pushmail.Config) { c.PerNetwork = 2 }, "EHLO", 2},
		"of all":       {func(c *pushmail.Config) { c.Connections, c.PerNetwork = 3, 100 }, "EHLO", 3},
		"LMTP":         {func(c *pushmail.Config) { c.LMTP, c.Connections, c.PerNetwork = true, 3, 1 }, "LHLO", 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, test.change)
			var first *textproto.Conn
			for range test.most {
				text := s.dial(t, test.hello)
				if first == nil {
					first = text
				}
			}
			require.True(t, s.refusedAtOnce(t))
			// One that ends makes room. The client hears of the end before the server has counted it.
			answer(t, first, 221, "QUIT")
			_, err := first.ReadLine()
			require.ErrorIs(t, err, io.EOF)
			for s.refusedAtOnce(t) {
			}
		})
	}
}

func TestWhoIsRefusedManyTimesIsCutOff(t *testing.T) {
	s := start(t, nil)
	text := s.dial(t, "EHLO")
	answer(t, text, 250, "MAIL FROM:<bob@example.com>")
	for range 19 {
		answer(t, text, 550, "RCPT TO:<nobody@push.example.org>")
	}
	answer(t, text, 421, "RCPT TO:<nobody@push.example.org>")
	_, err := text.ReadLine()
	require.Error(t, err)

	// A mail server of the host's asks on behalf of many.
	s = start(t, func(c *pushmail.Config) { c.LMTP = true })
	text = s.dial(t, "LHLO")
	answer(t, text, 250, "MAIL FROM:<bob@example.com>")
	for range 25 {
		answer(t, text, 550, "RCPT TO:<nobody@push.example.org>")
	}
	answer(t, text, 250, "RCPT TO:<%s>", s.address)
}

// Commands that cost little, and mails in the smallest parts, come to an end.
func TestCommandsAreBounded(t *testing.T) {
	for name, command := range map[string]string{"nothing": "NOOP\r\n", "empty parts": "BDAT 0\r\n", "small parts": "BDAT 1\r\nx", "rather say": "RSET\r\n"} {
		t.Run(name, func(t *testing.T) {
			s := start(t, nil)
			text := s.dial(t, "EHLO")
			answer(t, text, 250, "MAIL FROM:<bob@example.com>")
			answer(t, text, 250, "RCPT TO:<%s>", s.address)
			done := make(chan struct{})
			go func() { // the server does not read them all
				defer close(done)
				_, _ = io.WriteString(text.W, strings.Repeat(command, 1100))
				_ = text.W.Flush()
			}()
			answers := 3
			for { // the last answers may get lost with what was not read
				code, _, err := text.ReadResponse(0)
				if err != nil {
					break
				}
				require.Contains(t, []int{250, 421}, code)
				answers++
			}
			<-done
			require.LessOrEqual(t, answers, 1001)
			require.Zero(t, s.keeper.count())
			require.NoError(t, s.send(t, "bob@example.com", letter, s.address), "others are served")
		})
	}
}

// failingUsers look nobody up.
type failingUsers struct{ panics bool }

func (f failingUsers) FindUser(context.Context, userkit.UserKey) (userkit.User, error) {
	if f.panics {
		panic("no users")
	}
	return userkit.User{}, errors.New("an error that says nothing of the address")
}

func TestUsersMayFail(t *testing.T) {
	for name, panics := range map[string]bool{"panics": true, "fails": false} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(c *pushmail.Config) { c.Users = failingUsers{panics} })
			require.Equal(t, 451, code(s.send(t, "bob@example.com", letter, s.address)))
		})
	}
}

func TestAListenerWithTLSIsNotServed(t *testing.T) {
	config, trusted := certificate(t)
	s := start(t, nil)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.server.Serve(listener) }()
	conn, err := tls.Dial("tcp", listener.Addr().String(), trusted)
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
		_ = conn.Close()
	}
	require.Error(t, err)
	require.NoError(t, s.server.Close())
	require.NoError(t, <-done)
}

// A line without an end is cut off, whatever it is a part of.
func TestLinesAreBounded(t *testing.T) {
	endless := strings.Repeat("x", 1<<20)
	s := start(t, nil)
	text := s.dial(t, "EHLO")
	_ = text.PrintfLine("%s", endless)
	for { // the answer may get lost with what was not read
		code, _, err := text.ReadResponse(0)
		if err != nil {
			break
		}
		require.Equal(t, 500, code)
	}
	require.Error(t, s.send(t, "bob@example.com", letter+endless+"\r\n", s.address))
	require.Zero(t, s.keeper.count())
	require.NoError(t, s.send(t, "bob@example.com", letter, s.address))
}
