// Transfer moves users between a file and a userkit project in PostgreSQL.
//
// Usage:
//
//	transfer export [flags] FILE    # users to CSV, XLSX or NDJSON; "-" is the standard output
//	transfer import [flags] FILE    # users from CSV, XLSX or NDJSON; "-" is the standard input
//
// The flag -h after the word lists the flags. The database is named by -dsn or,
// so that no password shows in the list of processes, by DATABASE_URL.
//
// On a terminal a bar shows how far it is. An interrupt, or a failure half-way,
// harms nothing: an export replaces its file only when it is whole, and an import
// that is run again leaves what is in already as it is.
//
// The exit status is 0 when all is done, 1 when it failed or rows were rejected,
// 2 when the command line is wrong, and 130 after an interrupt.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
	"github.com/userkit/userkit/userio"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so that a second interrupt ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// The exit statuses.
const (
	statusDone        = 0
	statusFailed      = 1
	statusUsage       = 2
	statusInterrupted = 130 // what shells say of a program that an interrupt ended
)

const usage = `usage:
  transfer export [flags] FILE    users to CSV, XLSX or NDJSON; "-" is the standard output
  transfer import [flags] FILE    users from CSV, XLSX or NDJSON; "-" is the standard input

"transfer export -h" and "transfer import -h" list the flags.
`

// run is the program: it gives its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var err error
	switch {
	case len(args) > 0 && args[0] == "export":
		err = exportUsers(ctx, args[1:], stdout, stderr)
	case len(args) > 0 && args[0] == "import":
		err = importUsers(ctx, args[1:], stdout, stderr)
	case len(args) > 0 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help"):
		err = flag.ErrHelp
		fmt.Fprint(stderr, usage)
	default:
		err = errUsage
		if len(args) == 0 {
			fmt.Fprintln(stderr, "transfer: export or import has to be said")
		} else {
			fmt.Fprintf(stderr, "transfer: %q is not export or import\n", args[0])
		}
		fmt.Fprint(stderr, usage)
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return statusDone
	case errors.Is(err, errUsage): // what is wrong was said
		return statusUsage
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "transfer: interrupted")
		return statusInterrupted
	default:
		fmt.Fprintln(stderr, "transfer:", err)
		return statusFailed
	}
}

// errUsage ends the program when the command line is wrong.
var errUsage = errors.New("wrong usage")

// newFlags begins the flags of a command.
func newFlags(command string, stderr io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintf(stderr, "usage: transfer %s [flags] FILE\n", command)
		flags.PrintDefaults()
	}
	return flags
}

// parse reads the command line and gives the name of the file.
func parse(flags *flag.FlagSet, args []string) (path string, err error) {
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return "", err
		}
		return "", errUsage
	}
	if flags.NArg() != 1 {
		return "", wrongUsage(flags, "one FILE is needed, after the flags; there are %d", flags.NArg())
	}
	return flags.Arg(0), nil
}

// wrongUsage says what is wrong with a command line.
func wrongUsage(flags *flag.FlagSet, format string, args ...any) error {
	fmt.Fprintf(flags.Output(), format+"\n", args...)
	flags.Usage()
	return errUsage
}

// choice adds a flag that has one of a few values.
func choice[T ~string](flags *flag.FlagSet, to *T, name, usage string, values ...T) {
	names := make([]string, len(values))
	for i, value := range values {
		names[i] = string(value)
	}
	list := strings.Join(names, ", ")
	flags.Func(name, usage+": `one` of "+list, func(text string) error {
		if !slices.Contains(values, T(text)) {
			return errors.New("it is not one of " + list)
		}
		*to = T(text)
		return nil
	})
}

// formatFlags adds the flags that both commands have about the file.
func formatFlags(flags *flag.FlagSet, format *userio.Format, comma *rune, otherwise string) {
	choice(flags, format, "format", "the format of the file, "+otherwise, userio.CSV, userio.XLSX, userio.NDJSON)
	flags.Func("comma", "CSV: the `character` between two values, such as ';'", func(text string) error {
		characters := []rune(text)
		if len(characters) != 1 {
			return errors.New("it is not one character")
		}
		*comma = characters[0]
		return nil
	})
}

// connection says in which project the users are, and what it is like. A service
// that embeds userkit has a tool of its own, which takes these options from where
// the service takes them.
type connection struct {
	dsn, project, schema string
	licenses             []userkit.License
	zone                 *time.Location
	migrate              bool
	administrator        string
}

// register adds the flags that both commands have about the project.
func (c *connection) register(flags *flag.FlagSet) {
	c.zone = time.UTC
	flags.StringVar(&c.dsn, "dsn", "", "the database, as in `postgres://user:password@host/database`; empty: DATABASE_URL in the environment")
	flags.StringVar(&c.project, "project", postgres.DefaultProject, "the `name` of the project in the database")
	flags.StringVar(&c.schema, "schema", postgres.DefaultSchema, "the `name` of the schema that the tables are in")
	flags.Func("zone", "the project's time `zone`, such as Europe/Berlin: where days begin (default UTC)", func(name string) (err error) {
		c.zone, err = time.LoadLocation(name)
		return err
	})
}

// use opens the project and does the work on it.
func (c *connection) use(ctx context.Context, work func(context.Context, userkit.Manager) error) (err error) {
	dsn := c.dsn
	if dsn == "" {
		dsn = os.Getenv("DATABASE_URL")
	}
	if dsn == "" {
		return errors.New("no database: set -dsn or DATABASE_URL")
	}
	store, err := postgres.Open(ctx, dsn, postgres.WithProject(c.project), postgres.WithSchema(c.schema))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if c.migrate {
		err = store.Migrate(ctx)
	} else {
		err = store.CheckSchema(ctx)
	}
	if err != nil {
		return err
	}
	users, err := userkit.New(store, userkit.WithLicenses(c.licenses...), userkit.WithTimeZone(c.zone))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, users.Close(context.Background())) }()
	if c.administrator != "" {
		ctx = userkit.WithActor(ctx, userkit.Actor{Kind: userkit.ActorAdministrator, ID: c.administrator})
	}
	return work(ctx, users)
}

// parseLicense reads a license such as Duo=2.
func parseLicense(text string) (userkit.License, error) {
	name, number, ok := strings.Cut(text, "=")
	devices, err := strconv.Atoi(number)
	if !ok || err != nil {
		return userkit.License{}, errors.New("it is not a name, '=' and a number of devices")
	}
	return userkit.License{Name: name, Devices: devices}, nil
}
