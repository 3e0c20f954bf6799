package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/userkit/userkit/userio"
)

// An export of ours is userio.Export to a file, with all fields. Against it
// stands \copy of psql, with the same columns in the same order of users: that of
// ids, in which they lie in the table, and that of logins, in which every user is
// somewhere else.
//
// An import of ours is userio.Import from a file into empty tables: it reads
// values leniently, looks for users who exist, checks every rule, folds texts
// and writes events. Against it stands COPY of the very rows that this makes
// into empty tables with the same indexes. Both sides' rows are durable at the
// end, and both begin after a checkpoint.

// exportedPeople returns the people that are exported.
func (b *bench) exportedPeople(ctx context.Context) (*crowd, error) {
	return b.people(ctx, b.config.people[1])
}

// csvExports exports as CSV, ordered by a field and so by columns.
func csvExports(order, columns string) func(context.Context, *bench) (sides, error) {
	return func(ctx context.Context, b *bench) (sides, error) {
		crowd, err := b.exportedPeople(ctx)
		if err != nil {
			return sides{}, err
		}
		return sides{ours: crowd.exports(userio.CSV, order), theirs: crowd.copies(columns)}, nil
	}
}

// xlsxExports exports as a workbook, which nobody writes by hand.
func xlsxExports(ctx context.Context, b *bench) (sides, error) {
	crowd, err := b.exportedPeople(ctx)
	if err != nil {
		return sides{}, err
	}
	return sides{ours: crowd.exports(userio.XLSX, "id")}, nil
}

// exports returns a side that exports all people once.
func (c *crowd) exports(format userio.Format, order string) side {
	options := userio.ExportOptions{Format: format}
	options.Query.Sort = order
	return func(ctx context.Context, _ time.Duration) (rate float64, err error) {
		file, err := os.CreateTemp("", "userkit-export-")
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
		return timed(c.people, func() error {
			report, err := userio.Export(ctx, c.manager, file, options)
			if err == nil && report.Rows != int64(c.people) {
				err = fmt.Errorf("%d of %d people were exported", report.Rows, c.people)
			}
			return err
		})
	}
}

// copies returns a side that copies all people into a file with psql.
func (c *crowd) copies(order string) side {
	return func(ctx context.Context, _ time.Duration) (rate float64, err error) {
		folder, err := os.MkdirTemp("", "userkit-copy-")
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
		query := fmt.Sprintf(`SELECT %s FROM %s.users AS u JOIN %[2]s.accounts AS a ON a.project = u.project AND a.user_id = u.id `+
			`WHERE u.project = '%s' ORDER BY %s`, strings.ReplaceAll(exportedColumns, "\n", " "), c.schema, project, order)
		command := fmt.Sprintf(`\copy (%s) TO '%s' CSV HEADER`, query, filepath.Join(folder, "users.csv"))
		return timed(c.people, func() error {
			output, err := exec.CommandContext(ctx, filepath.Join(c.audience.binaries, "psql"),
				"--no-psqlrc", "--set=ON_ERROR_STOP=1", "--command="+command, c.audience.dsn).CombinedOutput()
			if err == nil && strings.TrimSpace(string(output)) != fmt.Sprintf("COPY %d", c.people) {
				err = errors.New("not all people were copied")
			}
			if err != nil {
				err = fmt.Errorf("psql: %w: %s", err, output)
			}
			return err
		})
	}
}

// exportedColumns are those of an export of all fields.
const exportedColumns = `u.id, u.login, u.name, u.email, u.email_verified, u.phone, u.status, u.license, u.auth_method, u.extref,
u.description, u.country, u.registered_at, u.updated_at, a.last_seen_at, a.expires_at, a.valid_for, a.balance, a.currency,
a.devices, a.open_sessions, a.active_purchases, a.traffic_limit, a.traffic_reset, a.traffic_anchor_day, u.preferred_map,
u.additional_info, u.kind, u.payer_account_number, u.legal_address, u.postal_address, u.bank, u.bank_account, u.attributes,
u.revision`

// timed returns how many of so many things were done per second.
func timed(count int, do func() error) (float64, error) {
	began := time.Now()
	err := do()
	return float64(count) / time.Since(began).Seconds(), err
}

// The schemas that people are imported into.
const (
	importSchema     = "imported"
	copiedIntoSchema = "copied"
)

// csvImports imports people from CSV.
func csvImports(ctx context.Context, b *bench) (sides, error) {
	// A server of its own: what is left to do about other tables, such as
	// vacuuming them, would count here.
	server, err := b.start(ctx)
	if err != nil {
		return sides{}, err
	}
	folder, err := os.MkdirTemp("", "userkit-import-")
	if err != nil {
		return sides{}, err
	}
	server.closers = append(server.closers, func() error { return os.RemoveAll(folder) })
	store, err := server.store(ctx, importSchema)
	if err != nil {
		return sides{}, err
	}
	if _, err := server.store(ctx, copiedIntoSchema); err != nil {
		return sides{}, err
	}
	manager, err := server.manage(store)
	if err != nil {
		return sides{}, err
	}
	file := filepath.Join(folder, "people.csv")
	if err := writeFile(file, func(to io.Writer) error { return writePeople(to, b.imported) }); err != nil {
		return sides{}, err
	}

	ours := func(ctx context.Context, _ time.Duration) (float64, error) {
		if err := server.empty(ctx); err != nil {
			return 0, err
		}
		return timed(b.imported, func() error {
			return readFile(file, func(from io.Reader) error { return importPeople(ctx, manager, from, b.imported) })
		})
	}
	theirs := func(ctx context.Context, _ time.Duration) (float64, error) {
		if err := server.empty(ctx); err != nil {
			return 0, err
		}
		return timed(b.imported, func() error {
			for _, table := range peopleTables {
				if err := server.copyIn(ctx, filepath.Join(folder, table), copiedIntoSchema+"."+table); err != nil {
					return err
				}
			}
			return nil
		})
	}
	// The rows that our side makes are what the other one copies.
	if _, err := ours(ctx, 0); err != nil {
		return sides{}, err
	}
	for _, table := range peopleTables {
		if err := server.copyOut(ctx, importSchema+"."+table, filepath.Join(folder, table)); err != nil {
			return sides{}, err
		}
	}
	return sides{ours: ours, theirs: theirs}, nil
}

// empty empties the tables of both sides.
func (s *server) empty(ctx context.Context) error {
	for _, schema := range []string{importSchema, copiedIntoSchema} {
		tables := schema + ".memberships" // which refer to accounts
		for _, table := range peopleTables {
			tables += ", " + schema + "." + table
		}
		if err := s.execute(ctx, "TRUNCATE "+tables); err != nil {
			return err
		}
	}
	return s.checkpoint(ctx)
}

// copyOut writes a table into a file, as CSV.
func (s *server) copyOut(ctx context.Context, table, file string) error {
	return writeFile(file, func(to io.Writer) error {
		return s.pool.AcquireFunc(ctx, func(connection *pgxpool.Conn) error {
			_, err := connection.Conn().PgConn().CopyTo(ctx, to, "COPY "+table+" TO STDOUT CSV")
			return err
		})
	})
}

// copyIn writes a file into a table.
func (s *server) copyIn(ctx context.Context, file, table string) error {
	return readFile(file, func(from io.Reader) error {
		return s.pool.AcquireFunc(ctx, func(connection *pgxpool.Conn) error {
			_, err := connection.Conn().PgConn().CopyFrom(ctx, from, "COPY "+table+" FROM STDIN CSV")
			return err
		})
	})
}

// writeFile makes a file.
func writeFile(path string, write func(to io.Writer) error) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	buffered := bufio.NewWriter(file)
	return errors.Join(write(buffered), buffered.Flush())
}

// readFile reads a file.
func readFile(path string, read func(from io.Reader) error) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return read(file)
}
