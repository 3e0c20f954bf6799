// Package pgxtx lends a transaction of pgx to code that works on database/sql, such as
// the PostgreSQL store of userkit:
//
//	tx, err := pool.Begin(ctx)
//	…
//	defer tx.Rollback(ctx)
//	joined, release, err := pgxtx.Join(ctx, tx)
//	…
//	defer release()
//	bound := manager.WithStore(store.WithSQLTx(joined))
//	… // statements of the host on tx, calls of bound
//	err = tx.Commit(ctx)
package pgxtx

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Join returns a *sql.Tx whose statements run in tx. Its Commit and Rollback end the
// *sql.Tx alone: whoever has begun tx ends it. release ends the *sql.Tx as well and frees
// what it holds; it is called once tx is ended, or before.
//
// A transaction serves one goroutine at a time, whichever of the two it goes through, and
// rows that one of them reads are closed before the next statement of either.
//
// Statements have no arguments of their own: the store writes values into their text.
func Join(ctx context.Context, tx pgx.Tx) (joined *sql.Tx, release func(), err error) {
	db := sql.OpenDB(connector{&connection{tx: tx}})
	// The end of tx is the host's to choose, and not that of the context.
	joined, err = db.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		_ = db.Close()
		return nil, nil, err
	}
	return joined, func() {
		_ = joined.Rollback() // ErrTxDone where the caller has ended it
		_ = db.Close()
	}, nil
}

// errArguments is returned for a statement that has arguments of its own.
var errArguments = errors.New("pgxtx: a statement has arguments")

// connector gives the one connection there is.
type connector struct{ only *connection }

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.only, nil }
func (c connector) Driver() driver.Driver                        { return sqlDriver{} }

// sqlDriver cannot open anything: transactions are joined, not opened.
type sqlDriver struct{}

func (sqlDriver) Open(string) (driver.Conn, error) {
	return nil, errors.New("pgxtx: transactions are joined by Join")
}

// connection is a connection of database/sql that is inside of a transaction.
type connection struct{ tx pgx.Tx }

func (c *connection) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	return transaction{}, nil
}

func (c *connection) Begin() (driver.Tx, error) { return transaction{}, nil }
func (c *connection) Close() error              { return nil }

func (c *connection) Prepare(string) (driver.Stmt, error) {
	return nil, errors.New("pgxtx: statements are not prepared")
}

// QueryContext sends a statement. The simple protocol takes any text and prepares
// nothing, and all of its results are texts.
func (c *connection) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if len(args) > 0 {
		return nil, errArguments
	}
	read, err := c.tx.Query(ctx, query, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, sqlError(err)
	}
	// The names of the columns are known, and most faults are, when the first row has come.
	first := read.Next()
	if err := read.Err(); !first && err != nil {
		read.Close()
		return nil, sqlError(err)
	}
	return &rows{from: read, waiting: first}, nil
}

// ExecContext sends a statement that returns no rows.
func (c *connection) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) > 0 {
		return nil, errArguments
	}
	tag, err := c.tx.Exec(ctx, query, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, sqlError(err)
	}
	return driver.RowsAffected(tag.RowsAffected()), nil
}

// sqlError returns the error by which database/sql says the same.
func sqlError(err error) error {
	if errors.Is(err, pgx.ErrTxClosed) {
		return sql.ErrTxDone
	}
	return err
}

// transaction ends nothing: see Join.
type transaction struct{}

func (transaction) Commit() error   { return nil }
func (transaction) Rollback() error { return nil }

// rows are rows of pgx for database/sql.
type rows struct {
	from    pgx.Rows
	waiting bool // whether a row is read that Next has not returned
}

func (r *rows) Columns() []string {
	fields := r.from.FieldDescriptions()
	names := make([]string, len(fields))
	for i, field := range fields {
		names[i] = field.Name
	}
	return names
}

func (r *rows) Close() error {
	r.from.Close()
	return nil
}

func (r *rows) Next(values []driver.Value) error {
	if !r.waiting && !r.from.Next() {
		if err := r.from.Err(); err != nil {
			return sqlError(err)
		}
		return io.EOF
	}
	r.waiting = false
	fields := r.from.FieldDescriptions()
	for i, raw := range r.from.RawValues() {
		value, err := readValue(fields[i].DataTypeOID, raw)
		if err != nil {
			return err
		}
		values[i] = value
	}
	return nil
}

// readValue reads a value from its text, as the other drivers for PostgreSQL return it;
// what is neither a number, a truth value nor bytes stays a text.
func readValue(oid uint32, text []byte) (driver.Value, error) {
	if text == nil {
		return nil, nil
	}
	switch oid {
	case pgtype.BoolOID:
		return string(text) == "t", nil
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID:
		return strconv.ParseInt(string(text), 10, 64)
	case pgtype.Float4OID, pgtype.Float8OID:
		return strconv.ParseFloat(string(text), 64)
	case pgtype.ByteaOID:
		if digits, isHex := strings.CutPrefix(string(text), `\x`); isHex {
			return hex.DecodeString(digits)
		}
	}
	return string(text), nil
}
