package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// A host meets statistics that are wrong right after an import into a new project:
// what PostgreSQL knows of the tables was gathered when they were small. Each side
// has tables that held many small projects when they were analyzed, and one project
// that grew by thousands since. Against ours, on these statistics, stands the same
// work on the same rows after another ANALYZE. Ours must keep up by half at least: no
// statement may live on statistics. Autovacuum is off for the tables, since it would
// analyze them.

// The schemas whose statistics are old and new.
const (
	staleSchema = "stale"
	freshSchema = "fresh"
)

// What the tables held when they were analyzed, and how far one project has grown
// since, at most.
const (
	smallUsers = 2
	mostGrown  = 10_000
)

// editors is how many callers edit profiles at the same time.
const editors = 64

// grown is a project that has grown since its tables were analyzed.
type grown struct {
	manager  userkit.Manager
	users    int
	sessions []userkit.Session
	readings int64        // the calls of usage reports, for counters grow
	edits    atomic.Int64 // the profiles that were edited, for each edit is another
}

// growing returns two projects that have grown, and analyzes the tables of the second.
func growing(side func(g *grown) side) func(context.Context, *bench) (sides, error) {
	return func(ctx context.Context, b *bench) (sides, error) {
		server, err := b.start(ctx)
		if err != nil {
			return sides{}, err
		}
		users := min(b.users, mostGrown)
		stale, err := b.grow(ctx, server, staleSchema, users)
		if err != nil {
			return sides{}, err
		}
		fresh, err := b.grow(ctx, server, freshSchema, users)
		if err != nil {
			return sides{}, err
		}
		if err := server.analyze(ctx, freshSchema); err != nil {
			return sides{}, err
		}
		return sides{ours: side(stale), theirs: side(fresh)}, nil
	}
}

// grow makes the tables of a schema, lets PostgreSQL analyze them while they hold small
// projects, and then lets one project grow.
func (b *bench) grow(ctx context.Context, s *server, schema string, users int) (*grown, error) {
	store, err := s.store(ctx, schema)
	if err != nil {
		return nil, err
	}
	tables, err := s.tables(ctx, schema)
	if err != nil {
		return nil, err
	}
	for _, table := range tables {
		if err := s.execute(ctx, fmt.Sprintf("ALTER TABLE %s.%s SET (autovacuum_enabled = off)", schema, table)); err != nil {
			return nil, err
		}
	}
	for number := range b.projects {
		if err := s.smallProject(ctx, schema, "small-"+strconv.Itoa(number)); err != nil {
			return nil, err
		}
	}
	if err := s.analyze(ctx, schema); err != nil {
		return nil, err
	}
	manager, err := s.manage(store)
	if err != nil {
		return nil, err
	}
	if err := createUsers(ctx, manager, users, plainUser); err != nil {
		return nil, err
	}
	g := &grown{manager: manager, users: users, sessions: make([]userkit.Session, b.reports)}
	return g, each(ctx, len(g.sessions), func(number int) error {
		session, err := manager.StartSession(ctx, userkit.NewSession{UserID: userID(number), Node: "node-1"})
		g.sessions[number] = session
		return err
	})
}

// smallProject makes a project with a few users and a session of each.
func (s *server) smallProject(ctx context.Context, schema, name string) (err error) {
	store, err := postgres.Open(ctx, s.dsn, postgres.WithSchema(schema), postgres.WithProject(name), postgres.WithPoolSize(1))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := store.Migrate(ctx); err != nil {
		return err
	}
	manager, err := userkit.New(store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, manager.Close(ctx)) }()
	for number := range smallUsers {
		user := plainUser(number)
		if _, err := manager.CreateUser(ctx, user); err != nil {
			return err
		}
		if _, err := manager.StartSession(ctx, userkit.NewSession{UserID: user.ID, Node: "node-1"}); err != nil {
			return err
		}
	}
	return nil
}

// tables returns the tables of a schema.
func (s *server) tables(ctx context.Context, schema string) (names []string, err error) {
	err = s.pool.QueryRow(ctx, "SELECT array_agg(tablename::text ORDER BY tablename) FROM pg_tables WHERE schemaname = $1", schema).Scan(&names)
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("the schema %s has no tables", schema)
	}
	return names, err
}

// analyze gathers the statistics of a schema's tables.
func (s *server) analyze(ctx context.Context, schema string) error {
	tables, err := s.tables(ctx, schema)
	for _, table := range tables {
		err = errors.Join(err, s.execute(ctx, fmt.Sprintf("ANALYZE %s.%s", schema, table)))
	}
	return err
}

// grownReports reports the use of all sessions, call after call.
func grownReports(g *grown) side {
	return func(ctx context.Context, span time.Duration) (float64, error) {
		return drive(ctx, 1, span, 0, func(int) job {
			return func(*rand.Rand) (int, error) {
				g.readings++
				r := readings{sessions: g.sessions, at: time.Now(), received: g.readings * 1000, sent: g.readings * 100}
				return len(r.sessions), reportUsage(ctx, g.manager, r)
			}
		})
	}
}

// grownEdits edits profiles, many at the same time.
func grownEdits(g *grown) side {
	return func(ctx context.Context, span time.Duration) (float64, error) {
		return drive(ctx, editors, span, 0, func(int) job {
			return func(*rand.Rand) (int, error) {
				edit := g.edits.Add(1)
				_, err := g.manager.UpdateUser(ctx, userID(int(edit)%g.users),
					userkit.UserPatch{Name: userkit.Set("Edit " + strconv.FormatInt(edit, 10))})
				return 1, err
			}
		})
	}
}
