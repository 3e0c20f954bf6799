package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"hash/fnv"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/userkit/userkit"
)

//go:embed migrations/*.sql
var embedded embed.FS

// Migrations returns the SQL files that Migrate runs, in the order of their
// names, for hosts that have their own migration tool. Each file must be run once, in a transaction, with the schema of
// the store first in search_path (SET LOCAL search_path); it records itself in the table migrations. The files create
// the extension pg_trgm in that schema unless the database has it; in that case its schema must be second in
// search_path. A project also needs its row in the table projects. Migrate adds that row and fills in missing keys of
// identity; if all files have been run, it does nothing else.
func Migrations() fs.FS {
	files, err := fs.Sub(embedded, "migrations")
	if err != nil {
		panic(err) // the name is a constant
	}
	return files
}

// migration is one of the embedded files.
type migration struct {
	name string // without .sql
	sql  string
}

// statements returns the statements of a migration. Each ends with a line that ends with a
// semicolon, and none has a line like that in its middle.
func (m migration) statements() iter.Seq[string] {
	return func(yield func(string) bool) {
		var statement strings.Builder
		for line := range strings.Lines(m.sql) {
			code, _, _ := strings.Cut(line, "--")
			statement.WriteString(line)
			if strings.HasSuffix(strings.TrimSpace(code), ";") {
				if !yield(statement.String()) {
					return
				}
				statement.Reset()
			}
		}
		if strings.TrimSpace(statement.String()) != "" {
			yield(statement.String())
		}
	}
}

// migrations are the embedded files in the order of their names.
var migrations = func() []migration {
	names, err := fs.Glob(Migrations(), "*.sql") // sorted
	if err != nil {
		panic(err) // the pattern is a constant
	}
	var files []migration
	for _, name := range names {
		text, err := fs.ReadFile(Migrations(), name)
		if err != nil {
			panic(err) // the file is part of the program
		}
		files = append(files, migration{strings.TrimSuffix(name, ".sql"), string(text)})
	}
	return files
}()

// Migrate brings the schema up to date and adds the project to it. Each file runs in its own
// transaction and counts as applied only when that commits. Many processes may call Migrate at
// once: one does the work, and the others wait. It needs the right to create objects only if there
// is something to create. It does not change a schema of a later version, and returns
// ErrUnavailable with CodeSchemaOutdated.
//
// Migrate creates the extension pg_trgm in the schema of the store, unless the database has it
// already. The extension comes with PostgreSQL, and the right to create objects in the database
// suffices to create it; if the role does not have that right, create the extension beforehand, in
// any schema. The search box is fast for the letters that LC_CTYPE of the database knows: it should
// be a UTF-8 one, such as C.UTF-8, and not C, which knows only ASCII.
//
// Migrate also corrects the positions of the feed: if the database was restored into a cluster with
// a lower transaction counter, the feed continues from its last position. The first change to a
// project does the same. Until then CheckSchema reports the condition, and the feed returns no new
// events.
//
// After an update from a version without them, the keys that identify users and segments are
// computed in Go for all rows that have none, in batches with a transaction each. If two users have
// the same key, both remain unchanged, the one who registered first gets the key, and Conflicts
// lists the other. The texts for sorting and searching are recomputed in the same way if an earlier
// version folded them differently.
func (s *Store) Migrate(ctx context.Context) error {
	taken := 0
	for {
		done, err := s.migrateOnce(ctx)
		// A user may have taken a key between the look and the batch that gives it.
		if taken++; errors.Is(err, userkit.ErrExists) && taken < maxContentions {
			continue
		}
		if err != nil || done {
			return err
		}
		taken = 0
	}
}

// migrateOnce does the first thing that is left to do, in one transaction.
func (s *Store) migrateOnce(ctx context.Context) (done bool, err error) {
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	// Whoever waited for the lock has to see what the one before did.
	err = s.inTransaction(ctx, func(bound *Store) error {
		if err := bound.execute(ctx, "SELECT pg_advisory_xact_lock(?)", lockKey); err != nil {
			return err
		}
		applied, err := bound.applied(ctx)
		if err != nil {
			return err
		}
		for _, file := range migrations {
			if !slices.Contains(applied, file.name) {
				return bound.apply(ctx, file)
			}
		}
		if err := bound.known(applied); err != nil {
			return err
		}
		for _, table := range identityTables {
			if some, err := bound.identify(ctx, table); err != nil || some {
				return err
			}
		}
		if some, err := refold(ctx, bound, "users", userColumns); err != nil || some {
			return err
		}
		if some, err := refold(ctx, bound, "segments", segmentColumns); err != nil || some {
			return err
		}
		done = true
		return bound.register(ctx)
	})
	if err != nil {
		return false, s.fault(ctx, err)
	}
	return done, nil
}

// lockKey is the key of the advisory lock of all schemas of userkit in the
// database, which share its extensions.
var lockKey = func() int64 {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte("userkit migrations")) // never fails
	return int64(hash.Sum64())
}()

// execute runs a statement whose rows, if any, are of no interest.
func (s *Store) execute(ctx context.Context, text string, args ...any) error {
	_, err := s.db.ExecContext(ctx, text, args...)
	return err
}

// applied lists the migrations that the schema records; none when it is missing. A
// table migrations that is not of userkit is an error.
func (s *Store) applied(ctx context.Context) ([]string, error) {
	var exists, known flag
	q := &statement{}
	q.add(`SELECT c.oid IS NOT NULL, coalesce((SELECT array_agg(format('%s %s', a.attname, format_type(a.atttypid, a.atttypmod)) ORDER BY a.attname::text)
FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) = ARRAY['applied_at timestamp with time zone', 'name text'], false)
FROM (SELECT to_regclass(?) AS oid) AS c`, quoted(s.schema+".migrations"))
	err := s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&exists, &known) })
	if err != nil || !exists {
		return nil, err
	}
	if !known {
		return nil, s.foreign()
	}
	q = &statement{}
	q.add("SELECT name FROM ? ORDER BY name", s.table("migrations"))
	var names []string
	err = s.query(ctx, q, func(rows *sql.Rows) error {
		var name text
		err := rows.Scan(&name)
		names = append(names, string(name))
		return err
	})
	if err == nil && !slices.Contains(names, migrations[0].name) {
		return nil, s.foreign() // the first file makes the table and records itself in it
	}
	return names, err
}

// foreign is the error for a schema in which others keep their migrations.
func (s *Store) foreign() error {
	return invalidOption("WithSchema", "schema %q has a table migrations that is not of userkit; give userkit a schema of its own", s.schema)
}

// apply runs a migration in the transaction that the store is bound to.
func (s *Store) apply(ctx context.Context, file migration) error {
	var exists flag
	q := &statement{}
	q.add("SELECT to_regnamespace(?) IS NOT NULL", quoted(s.schema))
	if err := s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&exists) }); err != nil {
		return err
	}
	if !exists {
		if err := s.execute(ctx, "CREATE SCHEMA ?", bun.Ident(s.schema)); err != nil {
			return err
		}
	}
	path := []string{s.schema} // which needs no quotation marks
	q = &statement{}
	q.add("SELECT quote_ident(n.nspname), has_schema_privilege(n.oid, 'USAGE') FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm'")
	var trigrams text
	var usable flag
	err := s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&trigrams, &usable) })
	if err != nil {
		return err
	}
	if trigrams != "" {
		path = append(path, string(trigrams))
		if !bool(usable) && strings.Contains(file.sql, "gin_trgm_ops") {
			return userkit.NewError(userkit.CodeStoreRefused, "",
				"the extension pg_trgm is in schema %s, which the role may not use: GRANT USAGE ON SCHEMA %s to it", trigrams, trigrams)
		}
	}
	if err := s.execute(ctx, "SET LOCAL search_path TO ?", literal(strings.Join(path, ", "))); err != nil {
		return err
	}
	// One after another, since Citus sends each to its workers as it stands. Past bun's
	// formatting: a file has no arguments.
	for statement := range file.statements() {
		if _, err = s.tx.ExecContext(ctx, statement); err != nil {
			break
		}
	}
	if server, ok := readServerError(err); ok {
		switch server.state {
		case "42P07", "42710", "42723": // duplicate table or index, object, function
			return userkit.NewError(userkit.CodeStoreRefused, "",
				"schema %q has an object that migration %s makes; give userkit a schema of its own", s.schema, file.name).Because(err)
		}
	}
	return err
}

// register adds the project and looks after its feed, in the transaction that
// the store is bound to.
func (s *Store) register(ctx context.Context) error {
	err := s.execute(ctx, "INSERT INTO ? (project) VALUES (?) ON CONFLICT DO NOTHING", s.table("projects"), quoted(s.project))
	if err != nil {
		return err
	}
	err = s.execute(ctx, "UPDATE ? AS p SET feed_id = ? WHERE p.project = ? AND p.feed_id IS NULL",
		s.table("projects"), quotedID(userkit.NewID[Store]()), quoted(s.project))
	if err != nil {
		return err
	}
	return s.moveFeed(ctx)
}

// placeFeed looks after the feed in a transaction of its own. It reports whether that
// was needed, or the events have a place by now.
func (s *Store) placeFeed(ctx context.Context) (placed bool, err error) {
	err = s.inTransaction(ctx, func(bound *Store) error {
		if err := bound.execute(ctx, "SELECT pg_advisory_xact_lock(?)", lockKey); err != nil {
			return err
		}
		if err := bound.moveFeed(ctx); err != nil {
			return err
		}
		placed, err = bound.registered(ctx)
		return err
	})
	if err != nil {
		return false, s.fault(ctx, err)
	}
	return placed, nil
}

// moveFeed raises the offset of the project where its events came from another cluster,
// in the transaction that the store is bound to.
func (s *Store) moveFeed(ctx context.Context) error {
	restored, err := s.restored(ctx)
	if err != nil || !restored {
		return err
	}
	// Nothing may be writing events by the old offset while it changes: the lock
	// waits for the transactions that are, and those that come wait for it
	// before they read the offset.
	if err := s.execute(ctx, "LOCK TABLE ? IN SHARE ROW EXCLUSIVE MODE", s.table("events")); err != nil {
		return err
	}
	// From here on every event is written by a transaction that is not older than
	// the oldest one that runs now. The offset is read before it is written: on a
	// distributed PostgreSQL a query runs where the project is, and knows the
	// transactions of that node, as the feed does, while the coordinator works out
	// what an UPDATE sets.
	q := &statement{}
	q.add(`SELECT (SELECT max(e.position) FROM ? AS e WHERE e.project = ? AND `+alongPositions+`) + 1 - pg_snapshot_xmin(pg_current_snapshot())::text::bigint
FROM ? AS p WHERE p.project = ?`, s.table("events"), quoted(s.project), s.table("projects"), quoted(s.project))
	var offset integer
	if err := s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&offset) }); err != nil {
		return err
	}
	return s.execute(ctx, "UPDATE ? AS p SET feed_offset = ? WHERE p.project = ?", s.table("projects"), int64(offset), quoted(s.project))
}

// restored reports whether events have positions that the cluster has not
// counted to: the database came here from another cluster.
func (s *Store) restored(ctx context.Context) (bool, error) {
	q := &statement{}
	q.add("SELECT "+cameFromElsewhere+" FROM ? AS p WHERE p.project = ?", s.table("events"), quoted(s.project), s.table("projects"), quoted(s.project))
	var found flag
	err := s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&found) })
	return bool(found), err
}

// cameFromElsewhere is the condition on a project p that its events have positions that
// the cluster has not counted to. What a statement sees was written by transactions
// before its snapshot or by its own. It looks at the end of an index, where nothing is:
// the order keeps the planner, which takes a third of all rows to be there, from reading
// the table until it meets one.
const cameFromElsewhere = `EXISTS (SELECT FROM ? AS e WHERE e.project = ? AND ` + alongPositions + ` AND e.position >= p.feed_offset +
greatest(pg_snapshot_xmax(pg_current_snapshot())::text::bigint, coalesce(pg_current_xact_id_if_assigned()::text::bigint + 1, 0)) ORDER BY e.position DESC OFFSET 0)`

// registered reports whether the project is in the database.
func (s *Store) registered(ctx context.Context) (bool, error) {
	q := &statement{}
	q.add("SELECT EXISTS (SELECT FROM ? AS p WHERE p.project = ?)", s.table("projects"), quoted(s.project))
	var found flag
	err := s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&found) })
	return bool(found), err
}

// known returns an error when a migration is applied that this version does not know.
func (s *Store) known(applied []string) error {
	for _, name := range applied {
		if !slices.ContainsFunc(migrations, func(file migration) bool { return file.name == name }) {
			return s.outdated("has migration %s, which this version does not know", name)
		}
	}
	return nil
}

// outdated is the error for a schema that has or lacks something.
func (s *Store) outdated(format string, args ...any) error {
	return userkit.NewError(userkit.CodeSchemaOutdated, "", "schema %q "+format, append([]any{s.schema}, args...)...)
}

// CheckSchema returns nil if the schema is the one that this version of userkit needs and contains
// the project, and otherwise ErrUnavailable with CodeSchemaOutdated. It changes nothing.
func (s *Store) CheckSchema(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	applied, err := s.applied(ctx)
	if err != nil {
		return err
	}
	for _, file := range migrations {
		if !slices.Contains(applied, file.name) {
			return s.outdated("lacks migration %s", file.name)
		}
	}
	if err := s.known(applied); err != nil {
		return err
	}
	registered, err := s.registered(ctx)
	if err == nil && !registered {
		err = s.outdated("lacks project %q", s.project)
	}
	if err != nil {
		return err
	}
	restored, err := s.restored(ctx)
	if err == nil && restored {
		err = s.outdated("has project %q from another cluster, and its feed waits until Migrate is called or the project is changed", s.project)
	}
	if err != nil || restored {
		return err
	}
	if err := s.identified(ctx); err != nil {
		return err
	}
	return s.folded(ctx)
}
