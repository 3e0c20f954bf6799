package postgres

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"
)

// pgdriver prints a write that failed on standard error, beside the error that it
// returns. What a host hears of faults it hears by its own logger, so that line is left
// out, in the whole process; other lines pass.
func init() { pgdriver.Logger = printer{pgdriver.Logger} }

// printer is what pgdriver prints with.
type printer struct {
	to interface {
		Printf(ctx context.Context, format string, args ...any)
	}
}

// Printf prints all but failed writes, whose error is returned as well.
func (p printer) Printf(ctx context.Context, format string, args ...any) {
	if !strings.HasPrefix(format, "pgdriver: Conn.Write failed") {
		p.to.Printf(ctx, format, args...)
	}
}

// connector makes connections of pgdriver's that a host can rely on: a context that is
// cancelled ends the statement at once, where pgdriver heeds deadlines only; a statement
// that is given up is cancelled on the server as well; a connection that the server has
// closed is noticed before a statement is sent on it; and all that is to be set of a
// session is in its start-up message, so that it is nobody else's behind a pooler.
type connector struct {
	settings *connectionSettings
	plain    atomic.Bool // the server, a pooler, takes no helpful parameters
}

// helpful are parameters that every session is to have, where the server takes them.
//
// Each statement of the store is right at read committed; at a stricter level, which a
// role or a database may ask for, it would fail whenever two of them meet. And a server
// that looks after its clients ends the statement of a process that was killed.
var helpful = map[string]string{
	"default_transaction_isolation":    "read committed",
	"client_connection_check_interval": "10s",
}

// newConnector reads a DSN.
func newConnector(dsn string) (*connector, error) {
	settings, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	return &connector{settings: settings}, nil
}

// Driver returns the driver underneath.
func (c *connector) Driver() driver.Driver { return pgdriver.NewDriver() }

// Connect opens a connection to the first of the servers that answers and is of the
// kind that is wanted.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	servers := slices.Clone(c.settings.servers)
	if c.settings.random {
		rand.Shuffle(len(servers), func(i, j int) { servers[i], servers[j] = servers[j], servers[i] })
	}
	wants := []string{c.settings.wanted}
	if c.settings.wanted == "prefer-standby" {
		wants = []string{"standby", "any"}
	}
	var errs []error
	for _, wanted := range wants {
		for _, to := range servers {
			opened, err := c.connectTo(ctx, to)
			if err == nil {
				err = opened.check(ctx, wanted)
			}
			if err == nil {
				return opened, nil
			}
			if opened != nil {
				_ = opened.Close()
			}
			if ctx.Err() != nil {
				return nil, err
			}
			if errs = append(errs, err); !goesOn(err) {
				return nil, err
			}
		}
	}
	if len(errs) == 1 {
		return nil, errs[0]
	}
	return nil, errors.Join(errs...)
}

// goesOn reports whether the next server is to be tried. One that refuses the user or
// the database is as good as the last, as in libpq.
func goesOn(err error) bool {
	server, ok := readServerError(err)
	return !ok || !strings.HasPrefix(server.state, "28") && !strings.HasPrefix(server.state, "3D")
}

// connectTo opens a connection to a server, within the time that the settings give.
func (c *connector) connectTo(ctx context.Context, to server) (*connection, error) {
	if c.settings.connectTimeout == 0 {
		return c.connectAnyWay(ctx, to)
	}
	within, cancel := context.WithTimeout(ctx, c.settings.connectTimeout)
	defer cancel()
	opened, err := c.connectAnyWay(within, to)
	var timeout net.Error
	if err != nil && (within.Err() != nil || errors.As(err, &timeout) && timeout.Timeout()) && !ended(ctx) {
		// Not an end of the caller's context, for which the cause would be taken.
		err = fmt.Errorf("postgres: %s did not answer within %v", to.address, c.settings.connectTimeout)
	}
	return opened, err
}

// connectAnyWay opens a connection to a server, with TLS or without, as the settings
// have it, and with the helpful parameters if it takes them.
func (c *connector) connectAnyWay(ctx context.Context, to server) (*connection, error) {
	var last error
	for _, encrypted := range c.settings.encryptions(to) {
		if !c.plain.Load() {
			opened, err := c.open(ctx, to, encrypted, helpful)
			if err == nil {
				return opened, nil
			}
			if last = err; !refusesParameter(err) {
				continue
			}
		}
		opened, err := c.open(ctx, to, encrypted, nil)
		if err == nil {
			c.plain.Store(true)
			return opened, nil
		}
		last = err
	}
	return nil, last
}

// refusesParameter reports whether a server refuses a parameter of the start-up message:
// PgBouncer those that it does not keep track of, PostgreSQL those that it does not know
// or cannot serve on its platform.
func refusesParameter(err error) bool {
	server, ok := readServerError(err)
	if !ok {
		return false
	}
	switch server.state {
	case "42704", "22023", "0A000": // undefined_object, invalid_parameter_value, feature_not_supported
		return true
	}
	return strings.Contains(server.message, "startup parameter")
}

// open opens a connection to a server, one way.
func (c *connector) open(ctx context.Context, to server, encrypted bool, more map[string]string) (*connection, error) {
	s := c.settings
	var raw net.Conn
	config := pgdriver.NewConnector().Config()
	config.User, config.Password, config.Database, config.AppName, config.TLSConfig = s.user, s.password, s.database, "", nil
	config.DialTimeout, config.ReadTimeout, config.WriteTimeout = s.connectTimeout, s.readTimeout, s.writeTimeout
	config.BufferSize = 32 * 1024
	config.Dialer = func(ctx context.Context, _, _ string) (net.Conn, error) {
		opened, err := s.dial(ctx, to, encrypted)
		if err != nil {
			return nil, err
		}
		parameters := maps.Clone(s.parameters)
		maps.Copy(parameters, more)
		raw = &session{Conn: opened, parameters: parameters}
		return raw, nil
	}
	made, err := pgdriver.NewConnector(pgdriver.WithConfig(config)).Connect(ctx)
	if err != nil {
		if raw != nil {
			_ = raw.Close() // pgdriver leaves it open
		}
		return nil, err
	}
	inner, ok := made.(*pgdriver.Conn)
	if !ok {
		_ = raw.Close()
		return nil, errors.New("postgres: pgdriver gives a connection of another kind")
	}
	again := func(ctx context.Context) (net.Conn, error) { return s.dial(ctx, to, encrypted) }
	return &connection{Conn: inner, dial: again}, nil
}

// check returns an error when the server is not of the kind that is wanted, as
// target_session_attrs of libpq has it.
func (c *connection) check(ctx context.Context, wanted string) error {
	if wanted == "any" {
		return nil
	}
	rows, err := c.QueryContext(ctx, "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'", nil)
	if err != nil {
		return err
	}
	is := []driver.Value{nil, nil}
	err = rows.Next(is)
	if err := cmp.Or(err, rows.Close()); err != nil {
		return err
	}
	standby, readOnly := is[0] == true, is[1] == true
	fits := map[string]bool{"read-write": !readOnly, "read-only": readOnly, "primary": !standby, "standby": standby}
	if !fits[wanted] {
		return fmt.Errorf("postgres: no server is %s", wanted)
	}
	return nil
}

// readOnlyTransaction is the SQLSTATE of a write in a transaction that may not write.
const readOnlyTransaction = "25006"

// connection is a connection of pgdriver's that heeds its contexts.
type connection struct {
	*pgdriver.Conn
	dial      func(context.Context) (net.Conn, error) // to the same server
	abandoned sync.Once
}

// abandon closes the connection, which the pool then drops, and cancels on the
// server what it may still be running: the server looks at a connection again only
// when it has an answer to send, and until then the statement goes on, waits for
// locks and holds its own. It returns at once.
func (c *connection) abandon() {
	c.abandoned.Do(func() {
		_ = c.Conn.Close()
		key, ok := backendKeyOf(c.Conn)
		if !ok {
			return
		}
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
			defer cancel()
			_ = cancelStatement(ctx, c.dial, key) // a server that cannot be reached runs nothing for long
		}()
	})
}

// watch abandons the connection when the context ends before stop is called, or
// when stop is called with an error that is not the server's, such as a deadline
// that pgdriver has noticed itself. Once stop has returned, which is called once, the
// context closes the connection no more.
func (c *connection) watch(ctx context.Context) (stop func(error)) {
	unwatch := func() bool { return true }
	if ctx.Done() != nil {
		unwatch = context.AfterFunc(ctx, c.abandon)
	}
	return func(err error) {
		if !unwatch() {
			// The context has ended, even if the statement was done first. The connection
			// is about to be closed, and must not go back to the pool before it is.
			c.abandon()
		}
		if err == nil || errors.Is(err, io.EOF) {
			return
		}
		switch server, ok := errors.AsType[pgdriver.Error](err); {
		case !ok:
			c.abandon()
		case server.Field('C') == readOnlyTransaction:
			// The connection was made while the server was a standby, or the role
			// read-only, and stays so. The next one may be to the primary.
			_ = c.Conn.Close()
		}
	}
}

// QueryContext runs a statement that gives rows.
func (c *connection) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	stop := c.watch(ctx)
	rows, err := c.Conn.QueryContext(ctx, query, args)
	if err != nil {
		stop(err)
		return nil, err
	}
	return &watchedRows{Rows: rows, stop: stop}, nil
}

// ExecContext runs a statement without rows.
func (c *connection) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (result driver.Result, err error) {
	stop := c.watch(ctx)
	defer func() { stop(err) }()
	return c.Conn.ExecContext(ctx, query, args)
}

// BeginTx begins a transaction.
func (c *connection) BeginTx(ctx context.Context, opts driver.TxOptions) (tx driver.Tx, err error) {
	stop := c.watch(ctx)
	defer func() { stop(err) }()
	return c.Conn.BeginTx(ctx, opts)
}

// Ping asks the server for a sign of life.
func (c *connection) Ping(ctx context.Context) (err error) {
	stop := c.watch(ctx)
	defer func() { stop(err) }()
	return c.Conn.Ping(ctx)
}

// ResetSession is called before a connection of the pool is used again.
func (c *connection) ResetSession(ctx context.Context) error {
	if err := c.Conn.ResetSession(ctx); err != nil {
		return err
	}
	if closedByPeer(c.Conn.Conn()) {
		_ = c.Conn.Close()
		return driver.ErrBadConn
	}
	return nil
}

// PrepareContext prepares a statement on this connection.
func (c *connection) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	stop := c.watch(ctx)
	made, err := c.Conn.PrepareContext(ctx, query)
	stop(err)
	if err != nil {
		return nil, err
	}
	inner, ok := made.(queryStmt)
	if !ok {
		return nil, errors.New("postgres: pgdriver gives a statement of another kind")
	}
	return &statementOn{queryStmt: inner, connection: c}, nil
}

// queryStmt is what pgdriver's statements can do.
type queryStmt interface {
	driver.Stmt
	driver.StmtQueryContext
}

// statementOn is a prepared statement on a connection, heeding its contexts.
type statementOn struct {
	queryStmt
	connection *connection
}

// QueryContext runs the statement.
func (s *statementOn) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if !s.connection.IsValid() {
		return nil, driver.ErrBadConn
	}
	stop := s.connection.watch(ctx)
	rows, err := s.queryStmt.QueryContext(ctx, args)
	if err != nil {
		stop(err)
		return nil, err
	}
	return &watchedRows{Rows: rows, stop: stop}, nil
}

// watchedRows ends the watch over the context when the rows are closed.
type watchedRows struct {
	driver.Rows
	stop func(error)
	err  error // of the last row
}

// Next reads a row.
func (r *watchedRows) Next(to []driver.Value) error {
	r.err = r.Rows.Next(to)
	return r.err
}

// Close closes the rows.
func (r *watchedRows) Close() error {
	err := r.Rows.Close()
	r.stop(cmp.Or(r.err, err))
	return err
}

// ended reports whether a context has ended, or is about to be told so.
func ended(ctx context.Context) bool {
	deadline, bounded := ctx.Deadline()
	return ctx.Err() != nil || bounded && !time.Now().Before(deadline)
}
