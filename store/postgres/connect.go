package postgres

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/userkit/userkit"
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

// connector is pgdriver's with three things added that a host can rely on: a
// context that is cancelled ends the statement at once, where pgdriver heeds
// deadlines only; a statement that is given up is cancelled on the server as well;
// and a connection that the server has closed is noticed before a statement is sent
// on it.
type connector struct {
	*pgdriver.Connector
}

// newConnector reads a DSN.
func newConnector(dsn string) (driver.Connector, error) {
	made, err := pgdriver.NewDriver().OpenConnector(dsn)
	if err != nil {
		if broken, ok := errors.AsType[*url.Error](err); ok {
			err = broken.Err // without the text, which may hold a password
		}
		return nil, userkit.NewError(userkit.CodeInvalidOption, "dsn", "unusable").Because(err)
	}
	inner, ok := made.(*pgdriver.Connector)
	if !ok {
		return nil, userkit.NewError(userkit.CodeInvalidOption, "dsn", "pgdriver gives a connector of another kind")
	}
	config := inner.Config()
	config.BufferSize = 32 * 1024
	defaults := pgdriver.NewConnector().Config()
	if config.ReadTimeout == defaults.ReadTimeout {
		// How long a statement may take is the context's to say. A server that
		// has vanished is found by the keep-alive probes.
		config.ReadTimeout = 0
	}
	config.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialer := net.Dialer{
			Timeout:         config.DialTimeout,
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
		}
		return dialer.DialContext(ctx, network, address)
	}
	return connector{inner}, nil
}

// Connect opens a connection.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	made, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	inner, ok := made.(*pgdriver.Conn)
	if !ok {
		return nil, errors.New("postgres: pgdriver gives a connection of another kind")
	}
	opened := &connection{Conn: inner, config: c.Config()}
	if err := opened.readCommitted(ctx); err != nil {
		_ = opened.Close()
		return nil, err
	}
	return opened, nil
}

// readCommitted sees to it that statements run at the isolation that the store is
// made for, also where the role or the database asks for a stricter one: each
// statement of the store is right at read committed, and at a stricter level it
// would fail whenever two of them meet.
func (c *connection) readCommitted(ctx context.Context) error {
	rows, err := c.QueryContext(ctx, "SELECT current_setting('default_transaction_isolation') = 'read committed'", nil)
	if err != nil {
		return err
	}
	is := []driver.Value{nil}
	err = rows.Next(is)
	if err := cmp.Or(err, rows.Close()); err != nil {
		return err
	}
	if is[0] == true {
		return nil
	}
	_, err = c.ExecContext(ctx, "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED", nil)
	return err
}

// readOnlyTransaction is the SQLSTATE of a write in a transaction that may not write.
const readOnlyTransaction = "25006"

// connection is a connection of pgdriver's that heeds its contexts.
type connection struct {
	*pgdriver.Conn
	config    *pgdriver.Config
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
			_ = cancelStatement(ctx, c.config, key) // a server that cannot be reached runs nothing for long
		}()
	})
}

// watch abandons the connection when the context ends before stop is called, or
// when stop is called with an error that is not the server's, such as a deadline
// that pgdriver has noticed itself.
func (c *connection) watch(ctx context.Context) (stop func(error)) {
	unwatch := func() bool { return true }
	if ctx.Done() != nil {
		unwatch = context.AfterFunc(ctx, c.abandon)
	}
	return func(err error) {
		unwatch()
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
