package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/userio"
)

// importUsers creates and updates users by a file.
func importUsers(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c connection
	options := userio.ImportOptions{Columns: map[string]string{}}
	flags := newFlags("import", stderr)
	c.register(flags)
	formatFlags(flags, &options.Format, &options.Comma, "else found out by how it begins")
	choice(flags, &options.Mode, "mode", "what is done with users who exist and who do not (default upsert)",
		userkit.ImportUpsert, userkit.ImportCreate, userkit.ImportUpdate)
	choice(flags, &options.Key, "key", "the field that says which user a row is about (default the first of these that the row has)",
		"id", "extref", "login", "email")
	choice(flags, &options.UnknownColumns, "unknown", "what is done with columns that are no field: keep them as attributes, ignore or refuse them (default keep)",
		userio.UnknownKeep, userio.UnknownIgnore, userio.UnknownRefuse)
	flags.Func("column", "`heading=field`: which field a column is, such as 'Tariff=attributes.plan'; with '-' as the field it is ignored; may be repeated", func(text string) error {
		heading, field, ok := strings.Cut(text, "=")
		if !ok {
			return errors.New("it is not a heading, '=' and a field")
		}
		options.Columns[heading] = field
		return nil
	})
	flags.StringVar(&options.Preset, "preset", "", "the `system` that wrote the file, which says what its columns are: one of "+strings.Join(userio.Presets(), ", "))
	inspect := flags.Bool("inspect", false, "say what the file is and what its columns would be, as JSON, and do nothing else; no database is needed")
	flags.BoolVar(&options.ReadOn, "read-on", false, "CSV: go on behind rows that a quote out of place has made of several lines")
	flags.BoolVar(&options.ClearEmpty, "clear-empty", false, "an empty cell empties the field, instead of leaving it")
	flags.BoolVar(&options.DryRun, "dry-run", false, "say what would happen and write nothing")
	rejected := flags.String("rejected", "", "a `file` for the rows that are rejected, as they stand, each with its reason, to be mended there and imported again; else the first 100 reasons are shown")
	flags.StringVar(&options.Encoding, "encoding", "", "CSV, NDJSON: the `encoding` of the text, such as windows-1251 or utf-16le (default UTF-8, or UTF-16 where the file says so)")
	flags.Func("license", "`name=devices`: a license that the file may name, such as Duo=2; may be repeated", func(text string) error {
		license, err := parseLicense(text)
		c.licenses = append(c.licenses, license)
		return err
	})
	flags.BoolVar(&c.migrate, "migrate", false, "first bring the tables up to date and add the project")
	flags.StringVar(&c.administrator, "as", "", "the `administrator` who does it, for the record; new users whose status the file does not say are then inactive, else invited")
	path, err := parse(flags, args)
	if err != nil {
		return err
	}
	options.Zone = c.zone

	file := os.Stdin
	if path != "-" {
		if file, err = os.Open(path); err != nil {
			return err
		}
	}
	shut := func() { _ = file.Close() } // nothing was written
	defer shut()
	// An interrupt ends a read that waits, such as one of a pipe.
	defer context.AfterFunc(ctx, shut)()

	if *inspect {
		found, err := userio.Inspect(file, options)
		if err != nil {
			return err
		}
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(found)
	}

	var report userio.ImportReport
	err = c.use(ctx, func(ctx context.Context, users userkit.Manager) (err error) {
		bar, err := importBar(file, options.Format, stderr)
		if err != nil {
			return err
		}
		defer bar.end()
		options.Progress = bar.showImport
		return withList(*rejected, func(list io.Writer) (err error) {
			options.RejectedRows = list
			report, err = userio.Import(ctx, users, file, options)
			return err
		})
	})
	if report.Columns != nil { // the file is a table
		tell(stderr, path, *rejected, options.DryRun, report)
		if ctx.Err() != nil || errors.Is(err, userkit.ErrUnavailable) {
			fmt.Fprintln(stderr, goOn(options))
		}
	}
	if err != nil {
		return err
	}
	if report.Rejected > 0 {
		return fmt.Errorf("%d of %d rows were rejected", report.Rejected, report.Rows)
	}
	return nil
}

// withList does the work with a file for the rejected rows, if one is named.
func withList(path string, work func(io.Writer) error) error {
	if path == "" {
		return work(nil)
	}
	// Only its owner can read it, since it tells about people.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	buffer := bufio.NewWriter(file)
	return errors.Join(work(buffer), buffer.Flush(), file.Close())
}

// tell prints what an import did.
func tell(to io.Writer, path, rejected string, dryRun bool, report userio.ImportReport) {
	for _, column := range report.Columns {
		heading := oneLine(column.Heading)
		switch {
		case column.Ignored != "":
			fmt.Fprintf(to, "column %q is ignored: %s\n", heading, column.Ignored)
		case column.Field != column.Heading:
			fmt.Fprintf(to, "column %q is %s\n", heading, column.Field)
		}
		if column.Note != "" {
			fmt.Fprintf(to, "column %q is %s\n", heading, oneLine(column.Note))
		}
		if column.Suggested != "" {
			fmt.Fprintf(to, "column %q may be %[2]s: -column '%[1]s=%[2]s' makes it that\n", heading, column.Suggested)
		}
	}
	if rejected == "" {
		for _, rejection := range report.Rejections {
			fmt.Fprintln(to, oneLine(rejection.String()))
		}
		if more := report.Rejected - int64(len(report.Rejections)); more > 0 {
			fmt.Fprintf(to, "and %d rows more; -rejected writes all of them to a file\n", more)
		}
	}
	done := "%d created, %d updated, %d unchanged, %d rejected\n"
	if dryRun {
		done = "%d would be created, %d updated, %d unchanged, %d rejected; nothing was written\n"
	}
	fmt.Fprintf(to, "%s: %d rows: "+done, filepath.Base(path), report.Rows, report.Created, report.Updated, report.Unchanged, report.Rejected)
}

// goOn says how to go on with an import that was cut short. More rows may be in
// than its report counts.
func goOn(options userio.ImportOptions) string {
	const again = "cut short; to go on, run the same command again"
	switch {
	case options.DryRun:
		return again
	case options.Mode == userkit.ImportCreate:
		return again + ": rows that are in already are rejected then, and stay as they are"
	}
	return again + ": rows that are in already are unchanged then"
}

// oneLine makes a text from a file fit for a line of a terminal.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}
