package pushmail_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/textproto"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit/pushmail"
)

// Only a line of one dot ends a mail, between line ends of both characters. Where a server takes
// less for the end, and the one in front of it does not, what a mail says becomes commands.
func TestNothingElseEndsAMail(t *testing.T) {
	for _, end := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\n.\r", "\r.\r\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\r\n.\r\r\n"} {
		s := start(t, nil)
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.at)
		require.NoError(t, err)
		text := textproto.NewConn(conn)
		answer := func(code int) {
			t.Helper()
			_, _, err := text.ReadResponse(code)
			require.NoError(t, err, "%q", end)
		}
		answer(220)
		for _, line := range []string{"EHLO client.example.com", "MAIL FROM:<bob@example.com>", "RCPT TO:<" + s.address + ">"} {
			require.NoError(t, text.PrintfLine("%s", line))
			answer(250)
		}
		require.NoError(t, text.PrintfLine("DATA"))
		answer(354)
		_, err = io.WriteString(conn, letter+"x"+end+
			"MAIL FROM:<boss@example.com>\r\nRCPT TO:<"+s.address+">\r\nDATA\r\nSubject: Smuggled\r\n\r\nPay me.\r\n.\r\n")
		require.NoError(t, err)
		answer(250)
		require.NoError(t, text.PrintfLine("QUIT"))
		answer(221)
		_, err = text.ReadLine()
		require.ErrorIs(t, err, io.EOF, "%q", end)
		require.NoError(t, text.Close())
		require.Equal(t, 1, s.keeper.count(), "%q", end)
		for _, kept := range s.keeper.kept {
			require.Equal(t, "bob@example.com", kept.EnvelopeFrom)
			require.Contains(t, kept.Mail.Text, "Pay me.", "%q", end)
		}
	}
}

// What is sent with STARTTLS, before there is TLS, is no part of what comes through TLS.
func TestNothingIsCarriedIntoTLS(t *testing.T) {
	config, trusted := certificate(t)
	s := start(t, func(c *pushmail.Config) { c.TLS = config })
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.at)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	plain := textproto.NewReader(bufio.NewReader(conn))
	_, _, err = plain.ReadResponse(220)
	require.NoError(t, err)
	_, err = io.WriteString(conn, "EHLO client.example.com\r\n")
	require.NoError(t, err)
	_, _, err = plain.ReadResponse(250)
	require.NoError(t, err)
	_, err = io.WriteString(conn, "STARTTLS\r\nEHLO injected.example.com\r\nMAIL FROM:<eve@example.com>\r\n")
	require.NoError(t, err)
	_, _, err = plain.ReadResponse(220)
	require.NoError(t, err)
	secure := tls.Client(conn, trusted)
	if secure.HandshakeContext(t.Context()) != nil {
		return // what came before was taken for a part of the handshake, and ended it
	}
	text := textproto.NewConn(secure)
	require.NoError(t, text.PrintfLine("RCPT TO:<%s>", s.address))
	_, _, err = text.ReadResponse(250)
	require.Error(t, err, "nobody has said EHLO or MAIL through TLS")
}
