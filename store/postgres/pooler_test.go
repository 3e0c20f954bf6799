package postgres_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// pooler stands between clients and a server, as PgBouncer does. Each client brings a
// session of the server along; whenever the client waits for nothing, the pooler may
// hand it that of another.
type pooler struct {
	listener net.Listener
	server   string
	knows    string // the parameters of start-up messages that it takes

	mu       sync.Mutex
	starts   []map[string]string // what start-up messages said
	sessions []net.Conn
	shift    int // each client has the session of the client so many places after it
}

func startPooler(t *testing.T, dsn, network, address, knows string) *pooler {
	t.Helper()
	at, err := url.Parse(dsn)
	require.NoError(t, err)
	listener, err := net.Listen(network, address)
	require.NoError(t, err)
	p := &pooler{listener: listener, server: at.Host, knows: knows}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			work.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		for _, session := range p.sessions {
			_ = session.Close()
		}
		p.mu.Unlock()
		work.Wait()
	})
	return p
}

// readMessage reads a message, without a kind where it begins a connection.
func readMessage(from io.Reader, kind bool) ([]byte, error) {
	head := make([]byte, 4)
	if kind {
		head = make([]byte, 5)
	}
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(head[len(head)-4:])) - 4
	message := append(head, make([]byte, size)...)
	_, err := io.ReadFull(from, message[len(head):])
	return message, err
}

func (p *pooler) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	start, err := readMessage(client, false)
	if err != nil {
		return
	}
	session, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer func() { _ = session.Close() }()
	if binary.BigEndian.Uint32(start[4:]) == 80877102 { // a request to cancel
		_, _ = session.Write(start)
		return
	}
	said := map[string]string{}
	parts := bytes.Split(start[8:], []byte{0})
	for i := 0; i+1 < len(parts) && len(parts[i]) > 0; i += 2 {
		said[string(parts[i])] = string(parts[i+1])
	}
	p.mu.Lock()
	p.starts = append(p.starts, said)
	p.sessions = append(p.sessions, session)
	place := len(p.sessions) - 1
	p.mu.Unlock()
	for name := range said {
		if !strings.Contains(" user database application_name "+p.knows+" ", " "+name+" ") {
			fields := "SFATAL\x00C08P01\x00Munsupported startup parameter: " + name + "\x00\x00"
			_, _ = client.Write(append(binary.BigEndian.AppendUint32([]byte{'E'}, uint32(4+len(fields))), fields...))
			return
		}
	}
	if _, err := session.Write(start); err != nil || answer(client, session, 'Z') != nil {
		return
	}
	for {
		var messages []byte
		for {
			message, err := readMessage(client, true)
			if err != nil {
				return
			}
			messages = append(messages, message...)
			if strings.IndexByte("QSHX", message[0]) >= 0 {
				break
			}
		}
		p.mu.Lock()
		chosen := p.sessions[(place+p.shift)%len(p.sessions)]
		p.mu.Unlock()
		// A statement is closed without a request to be ready: the client waits for an
		// answer to that alone.
		last := byte('Z')
		if messages[len(messages)-5] == 'H' {
			last = '3'
		}
		if _, err := chosen.Write(messages); err != nil || answer(client, chosen, last) != nil {
			return
		}
	}
}

// answer passes on what a session says until a message of the kind that ends it.
func answer(client io.Writer, session io.Reader, last byte) error {
	for {
		message, err := readMessage(session, true)
		if err != nil {
			return err
		}
		if _, err := client.Write(message); err != nil {
			return err
		}
		if message[0] == last {
			return nil
		}
	}
}

func (p *pooler) mix(places int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shift = places
}

// through returns the DSN of the pooler.
func (p *pooler) through(dsn, more string) string {
	at, _ := url.Parse(dsn)
	at.Host = p.listener.Addr().String()
	return at.String() + more
}

// What a DSN says of the session is in the start-up message, and no statement sets it: a
// pooler would hand a session with it to others. What the pooler does not take, the store
// does without, and what the DSN asks for is refused with what the pooler says.
func TestSettingsOfASessionAreInTheStartUpMessage(t *testing.T) {
	dsn := migrated.Create(t)
	strict := startPooler(t, dsn, "tcp", "127.0.0.1:0", "")
	store := openStore(t, strict.through(dsn, "&application_name=shop"), postgres.WithPoolSize(2))
	createUser(t, store, "ada")
	require.Len(t, strict.starts, 2)
	require.Equal(t, "read committed", strict.starts[0]["default_transaction_isolation"])
	require.NotEmpty(t, strict.starts[0]["client_connection_check_interval"])
	require.Equal(t, "shop", strict.starts[1]["application_name"])
	require.Len(t, strict.starts[1], 3)
	_, err := postgres.Open(t.Context(), strict.through(dsn, "&statement_timeout=7000"))
	require.ErrorContains(t, err, "unsupported startup parameter: statement_timeout")

	lenient := startPooler(t, dsn, "tcp", "127.0.0.1:0", "statement_timeout search_path default_transaction_isolation client_connection_check_interval options")
	for _, more := range []string{"&statement_timeout=7000&search_path=nowhere", "&options=-c%20statement_timeout%3D7000%20-c%20search_path%3Dnowhere"} {
		store := openStore(t, lenient.through(dsn, more), postgres.WithPoolSize(1))
		for name, want := range map[string]string{
			"statement_timeout": "7s", "search_path": "nowhere", "default_transaction_isolation": "read committed", "client_connection_check_interval": "10s",
		} {
			var is string
			require.NoError(t, postgres.DatabaseOf(store).QueryRow("SELECT current_setting(?)", name).Scan(&is))
			require.Equal(t, want, is, more)
		}
	}
}

// A pooler that mixes sessions never makes a prepared statement run another, however
// many have prepared theirs: it runs, unprepared if need be, or nothing has happened.
func TestPreparedStatementsOverAPoolerThatMixesSessions(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	mixing := startPooler(t, dsn, "tcp", "127.0.0.1:0", "default_transaction_isolation client_connection_check_interval")
	stores := make([]*postgres.Store, 3)
	users := make([]userkit.User, len(stores))
	for i := range stores {
		stores[i] = openStore(t, mixing.through(dsn, ""), postgres.WithPoolSize(1), postgres.WithPreparedStatements())
		users[i] = createUser(t, openStore(t, dsn), fmt.Sprint("user", i))
	}
	// Each store prepares its statements in an order of its own, so that a mere count
	// would give one name to several.
	work := func(store *postgres.Store, user *userkit.User, first int) {
		steps := []func(){
			func() { require.NoError(t, commitOne(t, store, touch(user))) },
			func() {
				states, err := store.Load(ctx, []userkit.Want{{User: user.ID}})
				require.NoError(t, err)
				require.Equal(t, user.Version, states[0].User.Version)
			},
			func() {
				states, err := store.Load(ctx, []userkit.Want{{User: user.ID, Profile: true, AllDevices: true, OpenSessions: true}})
				require.NoError(t, err)
				require.Equal(t, user.Login, states[0].User.Login)
			},
		}
		for i := range steps {
			steps[(first+i)%len(steps)]()
		}
	}
	for shift := range 30 {
		mixing.mix(shift)
		for i, store := range stores {
			work(store, &users[i], i)
		}
	}
	for _, user := range users {
		after, err := openStore(t, dsn).User(ctx, user.ID)
		require.NoError(t, err)
		require.Equal(t, user.Version, after.Version)
	}
}

// Of several servers the first that answers and is of the kind that is wanted is taken.
func TestSeveralServers(t *testing.T) {
	dsn := migrated.Create(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	at, err := url.Parse(dsn)
	require.NoError(t, err)
	alive := at.Host
	with := func(hosts, more string) string {
		return "postgres://" + at.User.String() + "@" + hosts + at.Path + "?sslmode=disable&connect_timeout=1" + more
	}
	all := gone.Addr().String() + "," + silent.Addr().String() + "," + alive
	for _, wanted := range []string{"any", "read-write", "primary", "prefer-standby"} {
		store := openStore(t, with(all, "&target_session_attrs="+wanted), postgres.WithPoolSize(1))
		require.NoError(t, store.CheckSchema(t.Context()))
	}
	for _, wanted := range []string{"read-only", "standby"} {
		_, err := postgres.Open(t.Context(), with(alive, "&target_session_attrs="+wanted))
		requireCode(t, userkit.CodeStoreUnavailable, err)
		require.ErrorContains(t, err, "no server is "+wanted)
	}
	readOnly := migrated.Create(t)
	set(t, readOnly, "default_transaction_read_only = on")
	_, err = postgres.Open(t.Context(), strings.Replace(readOnly, "?", "?target_session_attrs=read-write&", 1))
	require.ErrorContains(t, err, "no server is read-write")

	// TLS is asked for and done without, where the server has none.
	for mode, taken := range map[string]bool{"prefer": true, "allow": true, "require": false} {
		_, err := postgres.Open(t.Context(), strings.Replace(with(alive, ""), "sslmode=disable", "sslmode="+mode, 1))
		require.Equal(t, taken, err == nil, "%s: %v", mode, err)
	}

	// The directory of a socket.
	directory := t.TempDir()
	startPooler(t, dsn, "unix", filepath.Join(directory, ".s.PGSQL.6432"), "default_transaction_isolation client_connection_check_interval")
	store := openStore(t, "postgres://"+at.User.String()+"@"+at.Path+"?port=6432&host="+directory, postgres.WithPoolSize(1))
	require.NoError(t, store.CheckSchema(t.Context()))
}

// A server that answers nothing holds nobody up for longer than the DSN says.
func TestBlackHoles(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()
	for _, mode := range []string{"disable", "require", "prefer", "allow"} {
		_, err := postgres.Open(context.Background(), "postgres://ada@"+silent.Addr().String()+"/shop?connect_timeout=50ms&sslmode="+mode)
		require.ErrorIs(t, err, userkit.ErrUnavailable, mode)
	}
	for name, option := range map[string]postgres.Option{
		"lifetime": postgres.WithConnectionLifetime(0), "idle": postgres.WithConnectionIdleTime(-time.Second),
	} {
		_, err := postgres.Open(t.Context(), migrated.Create(t), option)
		requireCode(t, userkit.CodeInvalidOption, err)
		_, err = postgres.New(openDB(t, migrated.Create(t)), map[string]postgres.Option{
			"lifetime": postgres.WithConnectionLifetime(time.Minute), "idle": postgres.WithConnectionIdleTime(time.Minute),
		}[name])
		requireCode(t, userkit.CodeInvalidOption, err)
	}
}
