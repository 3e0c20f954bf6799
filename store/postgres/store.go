// Package postgres keeps a userkit project in PostgreSQL, version 14 or later.
//
//	store, err := postgres.Open(ctx, "postgres://user:password@host/database")
//	…
//	err = store.Migrate(ctx)
//	…
//	m, err := userkit.New(store)
//
// Open connects with pgdriver. New takes a *bun.DB of the host, on pgdriver or on the database/sql
// driver of pgx. bun writes the values into the text of a statement, so every text is different and
// a cache of prepared statements is of no use. With pgx, set
//
//	config.DefaultQueryExecMode = pgx.QueryExecModeExec // or QueryExecModeSimpleProtocol
//
// Several projects can share a database, each with its own Store (see WithProject), without
// affecting one another. The store does not depend on the state of sessions, so a connection pooler
// such as PgBouncer may assign connections per transaction.
package postgres

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/schema"

	"github.com/userkit/userkit"
)

// The defaults of the options.
const (
	DefaultProject  = "default"
	DefaultSchema   = "userkit"
	DefaultPoolSize = 16

	// DefaultReadTimeout is the timeout of a statement whose context has no deadline.
	DefaultReadTimeout = time.Minute
)

// DefaultConnectionLifetime is how long a pool that Open makes uses a connection, so that changed
// settings of a role or database, and changed DNS records, eventually take effect.
const DefaultConnectionLifetime = 30 * time.Minute

// maxProject and maxSchema bound the names, in bytes; the latter is PostgreSQL's.
const (
	maxProject = 128
	maxSchema  = 63
)

// Store keeps one project in PostgreSQL. It implements userkit.Store, whose documentation describes
// the methods.
type Store struct {
	db     runner                   // what statements run on
	pool   *bun.DB                  // nil in a store that is bound to a transaction
	tx     *sql.Tx                  // the host's transaction, or nil
	owned  bool                     // Open made the pool
	closed atomic.Bool              // not used in a bound store
	feed   atomic.Pointer[[16]byte] // see feedID

	project  string
	schema   string
	timeout  time.Duration       // of a statement whose context has no deadline; 0: none
	prepared *preparedStatements // nil: none are used
}

var _ userkit.Store = (*Store)(nil)

// Option sets a property of a Store.
type Option func(*options) error

type options struct {
	project  string
	schema   string
	poolSize int
	lifetime time.Duration // 0: the default
	idle     time.Duration // 0: none
	timeout  time.Duration
	prepared bool
}

// WithProject sets the project that the store keeps. The default is "default".
// A name has 1 to 128 bytes of printable ASCII without spaces.
func WithProject(name string) Option {
	return func(o *options) error {
		if len(name) < 1 || len(name) > maxProject || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return invalidOption("WithProject", "%q is not 1 to %d bytes of printable ASCII without spaces", name, maxProject)
		}
		o.project = name
		return nil
	}
}

// WithSchema sets the schema that the tables are in. The default is "userkit".
// A name begins with a letter or '_' and has at most 63 lower-case letters,
// digits and '_' (ASCII); names that begin with "pg_" belong to PostgreSQL.
func WithSchema(name string) Option {
	return func(o *options) error {
		if !isIdentifier(name) || strings.HasPrefix(name, "pg_") {
			return invalidOption("WithSchema", "%q cannot be the name of a schema", name)
		}
		o.schema = name
		return nil
	}
}

// WithPoolSize sets the maximum number of connections of the pool of Open. The default is 16. A
// manager uses a few for its changes, whatever the number of callers; the rest are used for reads.
// It is an error with New, whose pool is the host's.
func WithPoolSize(connections int) Option {
	return func(o *options) error {
		if connections < 1 {
			return invalidOption("WithPoolSize", "%d connections", connections)
		}
		o.poolSize = connections
		return nil
	}
}

// WithConnectionLifetime sets how long the pool of Open uses a connection before it replaces it.
// The default is DefaultConnectionLifetime. It is an error with New.
func WithConnectionLifetime(lifetime time.Duration) Option {
	return func(o *options) error {
		if lifetime <= 0 {
			return invalidOption("WithConnectionLifetime", "%v is not positive", lifetime)
		}
		o.lifetime = lifetime
		return nil
	}
}

// WithConnectionIdleTime sets after how long without use the pool of Open closes a connection. By
// default it keeps idle connections, up to WithPoolSize. It is an error with New.
func WithConnectionIdleTime(idle time.Duration) Option {
	return func(o *options) error {
		if idle <= 0 {
			return invalidOption("WithConnectionIdleTime", "%v is not positive", idle)
		}
		o.idle = idle
		return nil
	}
}

// WithPreparedStatements lets the server keep the statements of the hot paths
// parsed and planned, which about halves its work for single changes and small
// batches. It is off by default, because prepared statements are state of a
// session: it needs direct connections, or a pooler that keeps track of prepared
// statements, such as PgBouncer 1.21 or later with max_prepared_statements set to
// more than 0. Behind another pooler it has no benefit, but does no harm: the name
// of a statement is derived from its text, and if a session does not know it, the
// statement is sent unprepared. With New, this option requires pgx, in any mode for
// executing queries; pgdriver by itself numbers its statements.
func WithPreparedStatements() Option {
	return func(o *options) error {
		o.prepared = true
		return nil
	}
}

// WithReadTimeout sets the timeout of a statement whose context has no deadline, so that a network
// that drops packets blocks no caller for ever. The default is DefaultReadTimeout; 0 means no
// timeout. A statement that takes longer returns ErrUnavailable with CodeStoreUnavailable. The
// manager sets the timeout of changes.
func WithReadTimeout(timeout time.Duration) Option {
	return func(o *options) error {
		if timeout < 0 {
			return invalidOption("WithReadTimeout", "%v is negative", timeout)
		}
		o.timeout = timeout
		return nil
	}
}

func invalidOption(name, format string, args ...any) *userkit.Error {
	return userkit.NewError(userkit.CodeInvalidOption, name, format, args...)
}

func isIdentifier(name string) bool {
	if name == "" || len(name) > maxSchema || '0' <= name[0] && name[0] <= '9' {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
}

func readOptions(opts []Option) (options, error) {
	read := options{project: DefaultProject, schema: DefaultSchema, timeout: DefaultReadTimeout}
	for i, opt := range opts {
		if opt == nil {
			return options{}, invalidOption("options", "option %d of %d is nil", i+1, len(opts))
		}
		if err := opt(&read); err != nil {
			return options{}, err
		}
	}
	return read, nil
}

// Open connects to the database that dsn names, as in
// postgres://user:password@host:5432/database?sslmode=verify-full.
//
// A DSN has the same meaning as for libpq (PostgreSQL documentation, "Connection Strings"),
// including keyword=value pairs, several hosts, target_session_attrs, the directory of a socket,
// options, and environment variables. Without an sslmode, TLS is used, without verification of the
// certificate. Service and password files and a few other parameters are refused with an error that
// says what to do instead. read_timeout and write_timeout are timeouts of the network. Any other
// parameter is a setting of the session, such as statement_timeout: it is part of the start-up
// message, and no statement is sent for it. PgBouncer refuses settings that it does not track, and
// Open then returns an error.
//
// Open requests the isolation level read committed and, if the server supports it, that statements
// of disconnected clients are ended (client_connection_check_interval).
//
// It returns ErrInvalid with CodeInvalidOption for an invalid option or DSN, and ErrUnavailable
// with CodeStoreUnavailable if the server does not answer. It neither checks nor changes the
// schema; see Migrate and CheckSchema.
func Open(ctx context.Context, dsn string, opts ...Option) (*Store, error) {
	read, err := readOptions(opts)
	if err != nil {
		return nil, err
	}
	if read.poolSize == 0 {
		read.poolSize = DefaultPoolSize
	}
	made, err := newConnector(dsn)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(made)
	db.SetMaxOpenConns(read.poolSize)
	db.SetMaxIdleConns(read.poolSize)
	db.SetConnMaxLifetime(cmp.Or(read.lifetime, DefaultConnectionLifetime))
	db.SetConnMaxIdleTime(read.idle)
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, translate(ctx, err)
	}
	store := newStore(bun.NewDB(db, pgdialect.New()), read)
	store.owned = true
	return store, nil
}

// New returns a store on the host's own database handle, which the host closes when the store is no
// longer in use. It returns ErrInvalid with CodeInvalidOption if db is not for PostgreSQL or an
// option is invalid.
func New(db *bun.DB, opts ...Option) (*Store, error) {
	if db == nil {
		return nil, invalidOption("New", "no database")
	}
	if _, ok := db.Dialect().(*pgdialect.Dialect); !ok {
		return nil, invalidOption("New", "the dialect is %s, not pgdialect", db.Dialect().Name())
	}
	read, err := readOptions(opts)
	if err != nil {
		return nil, err
	}
	for option, set := range map[string]bool{
		"WithPoolSize": read.poolSize != 0, "WithConnectionLifetime": read.lifetime != 0, "WithConnectionIdleTime": read.idle != 0,
	} {
		if set {
			return nil, invalidOption(option, "the pool belongs to the host")
		}
	}
	return newStore(db, read), nil
}

func newStore(db *bun.DB, read options) *Store {
	store := &Store{db: db, pool: db, project: read.project, schema: read.schema, timeout: read.timeout}
	if read.prepared {
		store.prepared = &preparedStatements{pool: db.DB, byText: map[string]*preparedStatement{}}
	}
	return store
}

// runner runs statements with the values of arguments in place of question marks.
type runner interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// sqlTx is a runner on a transaction that bun knows nothing of.
type sqlTx struct{ tx *sql.Tx }

var queryGen = schema.NewQueryGen(pgdialect.New())

func (t sqlTx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.tx.QueryContext(ctx, queryGen.FormatQuery(query, args...))
}

func (t sqlTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return t.tx.ExecContext(ctx, queryGen.FormatQuery(query, args...))
}

// inTransaction runs a function on a store that is bound to a new transaction, at the
// isolation that statements of the store are made for, or to a savepoint of the
// transaction that this store is bound to.
func (s *Store) inTransaction(ctx context.Context, run func(bound *Store) error) error {
	if s.tx != nil {
		return s.savepoint(ctx, run)
	}
	isolation := &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	return s.pool.RunInTx(ctx, isolation, func(_ context.Context, tx bun.Tx) error { return run(s.WithTx(tx)) })
}

// savepoint runs a function in the transaction that the store is bound to, and undoes
// what it did, and that alone, when it fails.
func (s *Store) savepoint(ctx context.Context, run func(bound *Store) error) error {
	if _, err := s.db.ExecContext(ctx, "SAVEPOINT userkit"); err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			// Also when the context has ended; when the connection is gone, so is what was done.
			anyway := context.WithoutCancel(ctx)
			if _, err := s.db.ExecContext(anyway, "ROLLBACK TO SAVEPOINT userkit"); err == nil {
				_, _ = s.db.ExecContext(anyway, "RELEASE SAVEPOINT userkit")
			}
		}
	}()
	if err := run(s); err != nil {
		return err
	}
	_, err := s.db.ExecContext(ctx, "RELEASE SAVEPOINT userkit")
	done = err == nil
	return err
}

// WithTx returns a store that is bound to a transaction of the host on the same database: all reads
// and writes are part of the transaction, and no change takes effect before the host commits. It
// does not correct the positions of the feed: in a project that was restored (see Migrate), a
// change returns ErrUnavailable with CodeSchemaOutdated until Migrate has been called or a change
// has been made outside of a transaction of the host.
//
// Every write sets a savepoint, so the transaction remains usable after a conflict or a unique
// value that is taken. A change locks its user until the transaction ends; other managers that
// change this user wait for it. A failure that requires a new transaction is not retried: a
// deadlock or a serialization failure is returned as ErrConflict with CodeTooManyConflicts, and the
// host must roll back and start again. A transaction serves one goroutine at a time, and so does
// the store. Close does nothing; after the end of the transaction every method returns
// ErrUnavailable with CodeClosed.
func (s *Store) WithTx(tx bun.Tx) *Store {
	return s.bind(tx, tx.Tx)
}

// WithSQLTx returns a store that is bound to a transaction of the host, as WithTx does, for hosts
// that have a *sql.Tx: those that use database/sql or sqlc, sqlx (the Tx of a *sqlx.Tx) or gorm
// (Statement.ConnPool in a transaction). The database must be the same; the driver may be any. The
// package pgxtx converts a transaction of pgx itself to a *sql.Tx.
func (s *Store) WithSQLTx(tx *sql.Tx) *Store { return s.bind(sqlTx{tx}, tx) }

func (s *Store) bind(db runner, tx *sql.Tx) *Store {
	return &Store{db: db, tx: tx, project: s.project, schema: s.schema, timeout: s.timeout}
}

// Close closes the store, and the database handle if Open made it.
func (s *Store) Close() error {
	if s.tx != nil || s.closed.Swap(true) {
		return nil
	}
	s.prepared.close()
	if !s.owned {
		return nil
	}
	if err := s.pool.Close(); err != nil {
		return userkit.NewError(userkit.CodeStoreUnavailable, "", "closing the connections").Because(err)
	}
	return nil
}

// ready returns an error when the store is closed or the context has ended.
func (s *Store) ready(ctx context.Context) error {
	if s.closed.Load() {
		return errClosed()
	}
	return ctx.Err()
}

func errClosed() error {
	return userkit.NewError(userkit.CodeClosed, "", "the store is closed")
}

// table returns the qualified name of a table.
func (s *Store) table(name string) bun.Ident { return bun.Ident(s.schema + "." + name) }

// statement is SQL with bun's placeholders, and their arguments.
type statement struct {
	text strings.Builder
	args []any
	// hot means that the same text comes again and again, with other parameters:
	// it is worth being prepared.
	hot bool
	// expected is for how many rows to make room.
	expected int
}

// add appends SQL with its arguments.
func (q *statement) add(text string, args ...any) {
	q.text.WriteString(text)
	q.args = append(q.args, args...)
}

// query runs a statement and calls row for each of its rows, once they can be
// scanned. It bounds the time where the context does not.
func (s *Store) query(ctx context.Context, q *statement, row func(rows *sql.Rows) error) error {
	if _, bounded := ctx.Deadline(); bounded || s.timeout == 0 {
		return s.queryUntil(ctx, q, row)
	}
	within, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := s.queryUntil(within, q, row)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return unavailable("the server did not answer in time", err)
	}
	return err
}

// queryUntil is query within the time that the context gives.
func (s *Store) queryUntil(ctx context.Context, q *statement, row func(rows *sql.Rows) error) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	rows, err := s.start(ctx, q)
	if err != nil {
		return s.fault(ctx, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return s.fault(ctx, err)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return s.fault(ctx, err)
	}
	return nil
}

// start sends a statement, prepared if that is wanted and possible.
func (s *Store) start(ctx context.Context, q *statement) (*sql.Rows, error) {
	if q.hot && s.prepared != nil {
		if rows, err := s.prepared.query(ctx, q); !errors.Is(err, errNotPrepared) {
			return rows, err
		}
	}
	return s.db.QueryContext(ctx, q.text.String(), q.args...)
}

// fault translates the error of a statement.
func (s *Store) fault(ctx context.Context, err error) error {
	if s.closed.Load() {
		return errClosed()
	}
	return translate(ctx, err)
}

// selectRecords runs a statement whose rows are records, read by targets.
func selectRecords[R any](ctx context.Context, s *Store, q *statement, targets func(to []any, record *R) []any) (records []R, err error) {
	err = s.steadily(ctx, func() (err error) {
		records, err = selectOnce(ctx, s, q, targets)
		return err
	})
	return records, err
}

// steadily does a read that it can do again. Open sees to it that its statements run at
// read committed; the host's own handle may ask for a stricter level, at which the
// server refuses a read now and then. Outside a host's transaction it is done anew.
func (s *Store) steadily(ctx context.Context, read func() error) error {
	if s.tx != nil {
		return read()
	}
	return retryContended(ctx, read)
}

// selectOnce is selectRecords without another try.
func selectOnce[R any](ctx context.Context, s *Store, q *statement, targets func(to []any, record *R) []any) ([]R, error) {
	records := make([]R, 0, q.expected)
	var record, zero R
	to := targets(nil, &record)
	err := s.query(ctx, q, func(rows *sql.Rows) error {
		record = zero
		if err := rows.Scan(to...); err != nil {
			return err
		}
		records = append(records, record)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return records, nil
}

// selectOne is selectRecords for at most one row; missing is the error for none.
func selectOne[R any](ctx context.Context, s *Store, q *statement, missing userkit.Code, targets func(to []any, record *R) []any) (R, error) {
	q.hot = true // the text follows from what the key is
	records, err := selectRecords(ctx, s, q, targets)
	if err == nil && len(records) == 0 {
		err = userkit.NewError(missing, "", "not in project %q", s.project)
	}
	if err != nil {
		var none R
		return none, err
	}
	return records[0], nil
}
