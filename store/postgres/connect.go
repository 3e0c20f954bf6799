package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"net"
	"net/url"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/userkit/userkit"
)

// connector is pgdriver's with two things added that a host can rely on: a
// context that is cancelled ends the statement at once, where pgdriver heeds
// deadlines only, and a connection that the server has closed is noticed before
// a statement is sent on it.
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
	return &connection{Conn: inner}, nil
}

// connection is a connection of pgdriver's that heeds its contexts.
type connection struct {
	*pgdriver.Conn
}

// watch closes the connection when the context ends before stop is called: the
// protocol has no other way to take back a statement. The pool then drops it.
func (c *connection) watch(ctx context.Context) (stop func() bool) {
	if ctx.Done() == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(ctx, func() { _ = c.Conn.Close() })
}

// QueryContext runs a statement that gives rows.
func (c *connection) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	stop := c.watch(ctx)
	rows, err := c.Conn.QueryContext(ctx, query, args)
	if err != nil {
		stop()
		return nil, err
	}
	return &watchedRows{Rows: rows, stop: stop}, nil
}

// ExecContext runs a statement without rows.
func (c *connection) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	defer c.watch(ctx)()
	return c.Conn.ExecContext(ctx, query, args)
}

// BeginTx begins a transaction.
func (c *connection) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	defer c.watch(ctx)()
	return c.Conn.BeginTx(ctx, opts)
}

// Ping asks the server for a sign of life.
func (c *connection) Ping(ctx context.Context) error {
	defer c.watch(ctx)()
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
	defer c.watch(ctx)()
	made, err := c.Conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, c.checked(err)
	}
	inner, ok := made.(queryStmt)
	if !ok {
		return nil, errors.New("postgres: pgdriver gives a statement of another kind")
	}
	return &statementOn{queryStmt: inner, connection: c}, nil
}

// checked closes the connection after an error that is not the server's: it may
// have stopped in the middle of an answer.
func (c *connection) checked(err error) error {
	if _, ok := errors.AsType[pgdriver.Error](err); !ok {
		_ = c.Conn.Close()
	}
	return err
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
		stop()
		return nil, s.connection.checked(err)
	}
	return &watchedRows{Rows: rows, stop: stop}, nil
}

// watchedRows ends the watch over the context when the rows are closed.
type watchedRows struct {
	driver.Rows
	stop func() bool
}

// Close closes the rows.
func (r *watchedRows) Close() error {
	defer r.stop()
	return r.Rows.Close()
}
