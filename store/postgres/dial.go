package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// dial opens a connection to a server, secured as the settings say it.
func (s *connectionSettings) dial(ctx context.Context, to server, encrypted bool) (net.Conn, error) {
	dialer := net.Dialer{KeepAliveConfig: s.keepAlive}
	opened, err := dialer.DialContext(ctx, to.network, to.address)
	if err != nil {
		return nil, err
	}
	if !encrypted {
		return opened, nil
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := opened.SetDeadline(deadline); err != nil {
			_ = opened.Close()
			return nil, err
		}
	}
	config := s.tls.Clone()
	config.ServerName = to.name
	secure, err := secured(ctx, opened, config)
	if err != nil {
		_ = opened.Close()
		return nil, err
	}
	return secure, secure.SetDeadline(time.Time{})
}

// encryptions are the ways to try, in their order: with TLS, or without.
func (s *connectionSettings) encryptions(to server) []bool {
	switch {
	case to.network == "unix" || s.sslMode == "disable":
		return []bool{false}
	case s.sslMode == "prefer":
		return []bool{true, false}
	case s.sslMode == "allow":
		return []bool{false, true}
	}
	return []bool{true}
}

// errNoTLS means that the server takes no TLS.
var errNoTLS = errors.New("postgres: the server refuses TLS")

// secured begins TLS on a new connection to the server.
func secured(ctx context.Context, connection net.Conn, config *tls.Config) (net.Conn, error) {
	request := binary.BigEndian.AppendUint32(nil, 8)
	request = binary.BigEndian.AppendUint32(request, sslRequestCode)
	if _, err := connection.Write(request); err != nil {
		return nil, err
	}
	answer := make([]byte, 1)
	if _, err := io.ReadFull(connection, answer); err != nil {
		return nil, err
	}
	if answer[0] != 'S' {
		return nil, errNoTLS
	}
	client := tls.Client(connection, config)
	return client, client.HandshakeContext(ctx)
}

// session is a connection to a server underneath pgdriver. It adds to what that writes:
// the parameters of the session to the start-up message, where pgdriver would send a
// SET that a pooler passes on to sessions of others; and to the name of each prepared
// statement a digest of its text. Where a pooler mixes sessions, a name may lead to what
// somebody else has prepared, and then it is the same text; any other name leads nowhere.
type session struct {
	net.Conn
	parameters map[string]string
	started    bool
	digests    map[string]string // of the statements, by the name that pgdriver gives
}

// NetConn returns the connection underneath.
func (s *session) NetConn() net.Conn { return s.Conn }

// errUnreadable means that pgdriver writes something else than it did.
var errUnreadable = errors.New("postgres: pgdriver writes messages of another form")

// Write writes messages. pgdriver writes whole ones.
func (s *session) Write(messages []byte) (int, error) {
	sent := messages
	var err error
	switch {
	case !s.started:
		s.started = true
		sent, err = s.startUp(messages)
	case len(messages) > 0 && strings.IndexByte("PBDC", messages[0]) >= 0:
		sent, err = s.named(messages)
	}
	if err != nil {
		return 0, err
	}
	if count, err := s.Conn.Write(sent); err != nil {
		return min(count, len(messages)), err
	}
	return len(messages), nil
}

// startUp adds the parameters to the start-up message.
func (s *session) startUp(message []byte) ([]byte, error) {
	if len(message) < 9 || int(binary.BigEndian.Uint32(message)) != len(message) || message[len(message)-1] != 0 {
		return nil, errUnreadable
	}
	added := bytes.Clone(message[:len(message)-1])
	for name, value := range s.parameters {
		added = append(append(append(append(added, name...), 0), value...), 0)
	}
	added = append(added, 0)
	binary.BigEndian.PutUint32(added, uint32(len(added)))
	return added, nil
}

// named adds digests to the names of statements in Parse, Bind, Describe and Close.
func (s *session) named(messages []byte) ([]byte, error) {
	changed := make([]byte, 0, len(messages)+80)
	for len(messages) > 0 {
		if len(messages) < 5 {
			return nil, errUnreadable
		}
		size := 1 + int(binary.BigEndian.Uint32(messages[1:]))
		if size < 5 || size > len(messages) {
			return nil, errUnreadable
		}
		kind, body := messages[0], messages[5:size]
		messages = messages[size:]
		before := 0 // how much of the body stands in front of the name
		switch kind {
		case 'B': // the name of the portal
			before = bytes.IndexByte(body, 0) + 1
		case 'D', 'C':
			before = 1
			if len(body) == 0 || body[0] != 'S' {
				before = -1 // a portal
			}
		case 'P':
		default:
			before = -1
		}
		name, rest, found := []byte(nil), []byte(nil), false
		if before >= 0 {
			name, rest, found = bytes.Cut(body[before:], []byte{0})
		}
		if len(name) == 0 || !found {
			changed = append(changed, kind)
			changed = binary.BigEndian.AppendUint32(changed, uint32(4+len(body)))
			changed = append(changed, body...)
			continue
		}
		if kind == 'P' {
			text, _, _ := bytes.Cut(rest, []byte{0})
			digest := sha256.Sum256(text)
			if s.digests == nil {
				s.digests = map[string]string{}
			}
			s.digests[string(name)] = "-" + hex.EncodeToString(digest[:16])
		}
		digest := s.digests[string(name)]
		if kind == 'C' {
			delete(s.digests, string(name))
		}
		changed = append(changed, kind)
		changed = binary.BigEndian.AppendUint32(changed, uint32(4+len(body)+len(digest)))
		changed = append(changed, body[:before]...)
		changed = append(append(append(changed, name...), digest...), 0)
		changed = append(changed, rest...)
	}
	return changed, nil
}
