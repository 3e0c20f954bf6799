package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/userio"
)

// exportUsers writes the users of a filter to a file.
func exportUsers(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c connection
	var options userio.ExportOptions
	flags := newFlags("export", stderr)
	c.register(flags)
	formatFlags(flags, &options.Format, &options.Comma, "else by the ending of FILE")
	flags.BoolVar(&options.BOM, "bom", false, "CSV: begin with a byte-order mark, which old versions of Excel need")
	flags.TextVar(&options.Query.Filter, "filter", userkit.Filter{}, "only users who meet the `filter`, such as 'country eq \"GB\" and devices gt 0'")
	flags.StringVar(&options.Query.Search, "search", "", "only users with this `text` in their id, login, name, email, phone or external reference")
	flags.Func("sort", "order by a `field`; with '-' in front, from the last to the first (default login)", func(field string) error {
		options.Query.Sort, options.Query.Descending = strings.CutPrefix(field, "-")
		return nil
	})
	flags.Func("columns", "the columns, as a `list` such as login,email,attributes.plan,access (default all stored fields)", func(list string) error {
		options.Columns = strings.Split(list, ",")
		return nil
	})
	path, err := parse(flags, args)
	if err != nil {
		return err
	}
	if options.Format == "" {
		switch format := userio.Format(strings.TrimPrefix(strings.ToLower(filepath.Ext(path)), ".")); format {
		case userio.CSV, userio.XLSX, userio.NDJSON:
			options.Format = format
		default:
			return wrongUsage(flags, "the ending of %q names no format: set -format", path)
		}
	}
	options.Query.Moment.Zone = c.zone

	var report userio.ExportReport
	err = c.use(ctx, func(ctx context.Context, users userkit.Manager) error {
		bar, err := exportBar(ctx, users, options.Query.UserFilter, stderr)
		if err != nil {
			return err
		}
		defer bar.end()
		options.Progress = func(progress userio.Progress) { bar.show(progress.Rows) }
		write := func(to io.Writer) (err error) {
			report, err = userio.Export(ctx, users, to, options)
			return err
		}
		if path == "-" {
			return write(stdout)
		}
		return writeWhole(path, write)
	})
	switch {
	case err == nil:
		fmt.Fprintf(stderr, "%s: %d users, %d bytes\n", path, report.Rows, report.Bytes)
	case ctx.Err() != nil && path == "-":
		fmt.Fprintf(stderr, "cut short after %d users; to go on, run the same command again\n", report.Rows)
	case ctx.Err() != nil:
		fmt.Fprintf(stderr, "%s is as it was before; to go on, run the same command again\n", path)
	}
	return err
}

// writeWhole writes a file that appears, or replaces an older one, only when it
// is whole. Only its owner can read it, since it tells about people.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	if err := write(file); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
