package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/pgtest"
	"github.com/userkit/userkit/store/postgres"
)

// settings returns those of a small server, which keeps what it acknowledges if it is to
// be durable. Both sides work on the same server. WAL is not compressed, checkpoints come
// only between measurements, and autovacuum runs as it does by default.
func settings(durable bool) []string {
	return []string{
		fmt.Sprintf("fsync = %t", durable),
		"synchronous_commit = on",
		"full_page_writes = on",
		"shared_buffers = '512MB'",
		"max_wal_size = '4GB'",
		"checkpoint_timeout = '30min'",
		"max_connections = 200",
	}
}

// Each side has its own copy of the same schema, so that neither pays for the
// dead rows, the index sizes or the statistics of the other.
const (
	ourSchema   = "userkit"
	theirSchema = "theirs"
	project     = "bench"
)

// The license of all users, which always has a free slot.
const (
	roomyLicense = "roomy"
	roomyDevices = 1_000_000
)

// server is a server with a pool for the hand-written side.
type server struct {
	description string
	dsn         string
	binaries    string // the directory of its programs
	pool        *pgxpool.Pool

	closers []func() error
}

// start starts a server in place of the one that runs, if one does: what other
// measurements made neither takes up its memory nor keeps it busy.
func (b *bench) start(ctx context.Context) (*server, error) {
	if err := b.close(); err != nil {
		return nil, err
	}
	launched, err := launch(ctx, b.durable)
	if err != nil {
		return nil, err
	}
	s := &server{dsn: launched.DSN(), binaries: launched.Binaries()}
	b.server = s
	s.closers = append(s.closers, func() error { launched.Close(); return nil })

	pooled, err := pgxpool.ParseConfig(s.dsn)
	if err != nil {
		return nil, err
	}
	pooled.MaxConns = mostClients
	if s.pool, err = pgxpool.NewWithConfig(ctx, pooled); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func() error { s.pool.Close(); return nil })
	return s, s.describe(ctx, b.durable)
}

// database is a server with what both sides refill, report on and register
// devices in.
type database struct {
	*server
	manager  userkit.Manager
	pgbench  pgbench
	sessions []userkit.Session
	tokens   []string     // the access tokens of the devices
	keys     atomic.Int64 // the idempotency keys that were used
	readings atomic.Int64 // the calls of usage reports, for counters grow
}

// seenAgain is how long a device that was seen is not noted as seen again: longer than
// a run takes.
const seenAgain = 24 * time.Hour

// database makes users and sessions, once.
func (b *bench) database(ctx context.Context) (*database, error) {
	if b.db != nil {
		return b.db, nil
	}
	server, err := b.start(ctx)
	if err != nil {
		return nil, err
	}
	db := &database{server: server}
	db.pgbench = pgbench{program: filepath.Join(server.binaries, "pgbench"), dsn: server.dsn, threads: b.threads, clients: b.clients}
	ours, err := db.store(ctx, ourSchema)
	if err != nil {
		return nil, err
	}
	if _, err := db.store(ctx, theirSchema); err != nil {
		return nil, err
	}
	db.manager, err = db.manage(ours, userkit.WithAccountCache(b.users), userkit.WithLastSeenInterval(seenAgain),
		userkit.WithLicenses(userkit.License{Name: roomyLicense, Devices: roomyDevices}), userkit.WithDefaultLicense(roomyLicense))
	if err != nil {
		return nil, err
	}
	if err := db.fill(ctx, b.users, b.sessions); err != nil {
		return nil, err
	}
	db.description += fmt.Sprintf("; %d users, %d open sessions", b.users, b.sessions)
	b.db = db
	return db, nil
}

// launch starts a server with the settings. Some of them count from a start on,
// so the server, which is still empty, is started twice.
func launch(ctx context.Context, durable bool) (_ *pgtest.Server, err error) {
	server, err := pgtest.Launch()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			server.Close()
		}
	}()
	connection, err := pgx.Connect(ctx, server.DSN())
	if err != nil {
		return nil, err
	}
	for _, setting := range settings(durable) {
		if _, err := connection.Exec(ctx, "ALTER SYSTEM SET "+setting); err != nil {
			return nil, errors.Join(err, connection.Close(ctx))
		}
	}
	if err := connection.Close(ctx); err != nil {
		return nil, err
	}
	if err := server.Kill(); err != nil {
		return nil, err
	}
	return server, server.Restart()
}

// store opens a store on a schema of its own and makes its tables.
func (s *server) store(ctx context.Context, schema string) (userkit.Store, error) {
	store, err := postgres.Open(ctx, s.dsn, postgres.WithSchema(schema), postgres.WithProject(project), postgres.WithPreparedStatements())
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, store.Close)
	return store, store.Migrate(ctx)
}

// manage makes a manager on a store.
func (s *server) manage(store userkit.Store, options ...userkit.Option) (userkit.Manager, error) {
	manager, err := userkit.New(store, options...)
	if err == nil {
		s.closers = append(s.closers, func() error { return manager.Close(context.Background()) })
	}
	return manager, err
}

// fill makes users with a history on our side and copies all of it to the other.
func (db *database) fill(ctx context.Context, users, sessions int) error {
	if err := createUsers(ctx, db.manager, users, plainUser); err != nil {
		return err
	}
	db.tokens = make([]string, users)
	err := each(ctx, users, func(number int) error {
		if _, err := db.manager.Refill(ctx, userID(number), entry(db.keys.Add(1))); err != nil {
			return err
		}
		registered, err := db.manager.RegisterDevice(ctx, userID(number), userkit.NewDevice{Name: "Laptop", Type: userkit.DeviceLinux})
		if err != nil {
			return err
		}
		db.tokens[number] = registered.AccessToken
		_, err = db.manager.Authenticate(ctx, registered.AccessToken) // from now on it was seen
		return err
	})
	if err != nil {
		return err
	}
	db.sessions = make([]userkit.Session, sessions)
	err = each(ctx, sessions, func(number int) error {
		session, err := db.manager.StartSession(ctx, userkit.NewSession{UserID: userID(number), Node: "node-1", NodeLocation: "Frankfurt"})
		db.sessions[number] = session
		return err
	})
	if err != nil {
		return err
	}
	for _, table := range []string{"users", "accounts", "devices", "sessions", "transactions", "events"} {
		if err := db.execute(ctx, fmt.Sprintf("INSERT INTO %s.%s SELECT * FROM %s.%[2]s", theirSchema, table, ourSchema)); err != nil {
			return err
		}
	}
	return errors.Join(
		db.execute(ctx, fmt.Sprintf("CREATE SEQUENCE %s.ids", theirSchema)),
		db.execute(ctx, "VACUUM ANALYZE"),
	)
}

// describe notes the server's version and the settings that it really has.
func (s *server) describe(ctx context.Context, durable bool) error {
	parts := []string{""}
	if err := s.pool.QueryRow(ctx, "SELECT 'PostgreSQL ' || current_setting('server_version')").Scan(&parts[0]); err != nil {
		return err
	}
	for _, setting := range settings(durable) {
		name, _, _ := strings.Cut(setting, " =")
		var value string
		if err := s.pool.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&value); err != nil {
			return err
		}
		parts = append(parts, name+"="+value)
	}
	s.description = strings.Join(parts, " ")
	return nil
}

// checkpoint writes out what earlier measurements left, so that this one does
// not pay for it.
func (s *server) checkpoint(ctx context.Context) error { return s.execute(ctx, "CHECKPOINT") }

func (s *server) execute(ctx context.Context, statement string) error {
	_, err := s.pool.Exec(ctx, statement)
	return err
}

// close closes what was opened, the newest first.
func (s *server) close() error {
	var errs []error
	for _, closer := range slices.Backward(s.closers) {
		errs = append(errs, closer())
	}
	return errors.Join(errs...)
}
