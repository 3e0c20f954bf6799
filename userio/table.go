package userio

import (
	"time"

	"github.com/userkit/userkit"
)

// The bounds of a file that is read. A file beyond them is refused, so that no file makes an import
// use more memory than a few rows of this size need.
const (
	MaxRowBytes = 1 << 20 // of one row, all its cells together
	MaxColumns  = 1000
)

// tableWriter writes a table: the names of the columns, which its constructor
// gets, then rows.
type tableWriter interface {
	// row writes one row, a value for each column: what userkit.Field.Get returns
	// (string, bool, int64, userkit.Money, time.Time, userkit.Duration,
	// userkit.Attributes, []string), or what a single attribute can be (nil, bool,
	// int64, float64, string, []any, map[string]any). The writer keeps neither the
	// slice nor what is in it.
	row(values []any) error
	// finish writes what has been buffered. It closes nothing of the caller's.
	finish() error
	// discard releases what the writer holds, such as temporary files. It is called once, after
	// finish or instead of it.
	discard()
}

// tableReader reads a table row by row.
type tableReader interface {
	// columns returns the headings, as the file has them, in their order. Headings
	// come before the first row; a format without a header row (NDJSON) may add
	// some with each row, at the end. The caller does not change the slice.
	columns() []string
	// next reads the next row that is not empty into row, whose cells it reuses.
	// It returns io.EOF at the end, a *rowError when this row is wrong and the next
	// one can be read, and any other error when reading cannot go on. The number of
	// the row is set in either case.
	next(row *tableRow) error
	// close releases what the reader holds, such as temporary files.
	close() error
}

// tableRow is one row of a table.
type tableRow struct {
	sheet  string // of a workbook; empty: the first one, or there are none
	number int64  // as a spreadsheet shows it: the first row of the file is 1
	cells  []cell // one for each of columns, no more; missing ones are absent
	cut    int    // how many cells an export had cut, which are absent
}

// cell is one value of a row.
type cell struct {
	// text is the value as a text: of a number all its digits, without exponent
	// or grouping; of a time, RFC 3339. An empty text with no value is an empty
	// cell.
	text string
	// value is what the format knows beside the text: bool, int64, float64,
	// time.Time (UTC), or of NDJSON also []any and map[string]any. It is nil for a
	// text and for an empty cell.
	value any
	// absent means that the row has no value for the column, not even an empty one, as when an
	// object of NDJSON lacks the key.
	absent bool
	// exact means that the text is the value itself, whatever it looks like: a
	// text of NDJSON, where numbers come as numbers. Other texts of an attribute
	// are read as userkit.FormatAttribute writes them.
	exact bool
}

// empty reports whether the cell is empty.
func (c *cell) empty() bool { return c.text == "" && c.value == nil }

// rowError says that a row, or one column of it, is wrong, and that the rows
// behind it can still be read.
type rowError struct {
	column string // the heading; empty: the row as a whole
	err    *userkit.Error
}

func (e *rowError) Error() string { return e.err.Error() }
func (e *rowError) Unwrap() error { return e.err }

// errEmptyFile is the error about a file without any heading.
func errEmptyFile() error {
	return userkit.NewError(userkit.CodeRequired, "", "the file is empty: a row of headings is needed")
}

// errTooManyColumns is the error about a table that is wider than MaxColumns.
func errTooManyColumns() *userkit.Error {
	return userkit.NewError(userkit.CodeTooLong, "", "more than %d columns", MaxColumns)
}

// errRowTooLong is the error about a row that is longer than MaxRowBytes.
func errRowTooLong(number int64) *userkit.Error {
	return userkit.NewError(userkit.CodeTooLong, "", "row %d is longer than %d bytes", number, MaxRowBytes)
}

// formatTime returns a time as cells show it, and "" for the zero time.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
