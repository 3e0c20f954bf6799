// Package pgtest gives tests real PostgreSQL databases.
//
// It uses the server that the environment variable USERKIT_TEST_DSN names, else
// it starts a throw-away cluster from the binaries on the machine: one per test
// binary, on the loopback interface and a free port, in a temporary directory.
// Each test gets a database of its own, copied from a template that is migrated
// once. A machine without a server fails the test; nothing is ever skipped.
//
// The environment variable USERKIT_TEST_POSTGRESQL names the directory with the
// programs of the version that the clusters are to have, such as the one that
// tools/postgresql prints.
//
//	var databases = pgtest.NewTemplate(migrate)
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		dsn := databases.Create(t) // two handles on one database: use it twice
//		…
//	}
//
// Tests that have to kill a server start one of their own with Start.
package pgtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"
)

// Environment names the variable with the DSN of a server to use instead of a
// throw-away cluster. Its user must be allowed to create databases.
const Environment = "USERKIT_TEST_DSN"

// BinariesEnvironment names the variable with the directory of initdb and
// postgres to use instead of those that are found on the machine. Their shared
// libraries may stand in the directory lib beside it.
const BinariesEnvironment = "USERKIT_TEST_POSTGRESQL"

// patience bounds how long anything external may take. It is long, because only
// a machine in trouble uses it up.
const patience = 2 * time.Minute

// Main runs the tests of a package, a *testing.M, and then ends what they started. A
// package that uses this package calls it from its TestMain.
func Main(m interface{ Run() int }) {
	code := m.Run()
	shared.end()
	pristine.remove()
	os.Exit(code)
}

// Template is a database that is prepared once and copied for each test.
type Template struct {
	prepare func(ctx context.Context, dsn string) error

	mu    sync.Mutex
	names map[string]string // by the DSN of the server
}

// NewTemplate returns a template that prepare makes out of an empty database,
// when the first test needs it. prepare must close what it opens. Nil leaves
// the database empty.
func NewTemplate(prepare func(ctx context.Context, dsn string) error) *Template {
	return &Template{prepare: prepare, names: map[string]string{}}
}

// Create makes a database for a test on the server that all tests share, and
// returns its DSN. The database is dropped when the test ends, with whatever is
// still connected to it.
func (template *Template) Create(t testing.TB) string {
	t.Helper()
	dsn, err := shared.address()
	if err != nil {
		t.Fatalf("pgtest: no PostgreSQL server: %v", err)
	}
	return template.CreateOn(t, dsn)
}

// CreateOn is Create on the server with the given DSN.
func (template *Template) CreateOn(t testing.TB, server string) string {
	t.Helper()
	source, err := template.on(server)
	if err != nil {
		t.Fatalf("pgtest: preparing the template: %v", err)
	}
	name := newName()
	if err := execute(server, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, source)); err != nil {
		t.Fatalf("pgtest: creating a database: %v", err)
	}
	t.Cleanup(func() {
		// A server that the test has killed takes the database with it.
		_ = execute(server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	})
	return withDatabase(server, name)
}

// on returns the name of the template's database on a server.
func (template *Template) on(server string) (string, error) {
	template.mu.Lock()
	defer template.mu.Unlock()
	if name, made := template.names[server]; made {
		return name, nil
	}
	name := newName()
	if err := execute(server, "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		return "", err
	}
	shared.leftover(server, name)
	if template.prepare != nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := template.prepare(ctx, withDatabase(server, name)); err != nil {
			return "", err
		}
	}
	template.names[server] = name
	return name, nil
}

// shared is the server that the tests of this binary share.
var shared sharedServer

type sharedServer struct {
	mu        sync.Mutex
	dsn       string
	own       *cluster // nil when the environment names a server
	err       error
	leftovers [][2]string // server, database
}

// address starts the server if need be and gives its DSN.
func (s *sharedServer) address() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dsn != "" || s.err != nil {
		return s.dsn, s.err
	}
	if dsn := os.Getenv(Environment); dsn != "" {
		s.dsn = dsn
		return s.dsn, nil
	}
	s.own, s.err = newCluster(false)
	if s.err == nil {
		s.dsn = s.own.dsn()
	}
	return s.dsn, s.err
}

// leftover notes a database that no test drops.
func (s *sharedServer) leftover(server, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leftovers = append(s.leftovers, [2]string{server, name})
}

func (s *sharedServer) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own != nil {
		s.own.remove()
		return
	}
	for _, database := range s.leftovers {
		if database[0] == s.dsn {
			_ = execute(database[0], "DROP DATABASE IF EXISTS "+database[1]+" WITH (FORCE)")
		}
	}
}

// Server is a PostgreSQL server of its own, with the settings of a real one:
// what it acknowledges is on the disk. It may be killed.
type Server struct {
	cluster *cluster
}

// Start starts a server for one test. It ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	server, err := Launch()
	if err != nil {
		t.Fatalf("pgtest: no PostgreSQL server: %v", err)
	}
	t.Cleanup(server.Close)
	return server
}

// Launch starts a server for a program that is no test, which must close it.
func Launch() (*Server, error) {
	made, err := newCluster(true)
	if err != nil {
		return nil, err
	}
	return &Server{cluster: made}, nil
}

// DSN is the address of the server; it stays the same through all restarts.
// Databases for tests come from Template.CreateOn.
func (s *Server) DSN() string { return s.cluster.dsn() }

// Binaries is the directory of the server's programs, such as pgbench.
func (s *Server) Binaries() string { return s.cluster.binaries }

// Kill ends the server as a power failure does: SIGKILL to all its processes, no
// farewell. It returns when they are gone.
func (s *Server) Kill() error { return s.cluster.kill() }

// Restart starts the server again on the same port and data, and returns when it
// takes connections.
func (s *Server) Restart() error { return s.cluster.start() }

// Close ends the server and removes its files. It is called once.
func (s *Server) Close() { s.cluster.remove() }

func newName() string { return "userkit_test_" + strings.ToLower(rand.Text()) }

// withDatabase returns the DSN of another database of the same server.
func withDatabase(server, name string) string {
	address, err := url.Parse(server)
	if err != nil {
		panic("pgtest: " + Environment + " is not a URL")
	}
	address.Path = "/" + name
	return address.String()
}

// execute runs one statement on a connection of its own.
func execute(dsn, statement string) error {
	connector, err := pgdriver.NewDriver().OpenConnector(dsn)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = db.ExecContext(ctx, statement)
	return err
}
