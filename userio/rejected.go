package userio

import (
	"io"
	"slices"

	"github.com/userkit/userkit/internal/jsonvalue"
)

// ReasonHeading is the heading of the column in which ImportOptions.RejectedRows contains the
// reason why a row was rejected. Import ignores the column, so that rows can be corrected in that
// file and imported again.
const ReasonHeading = "rejected_because"

// rejectedRows writes the rejected rows as they are in the file.
type rejectedRows struct {
	to   io.Writer
	json bool // of NDJSON; else CSV
	csv  *csvWriter
	line []byte
}

func newRejectedRows(to io.Writer, from tableReader, columns []column) *rejectedRows {
	r := &rejectedRows{to: to}
	comma := byte(',')
	switch from := from.(type) {
	case *ndjsonReader:
		r.json = true
		return r
	case *csvReader:
		comma = from.comma
	}
	headings := []string{}
	for i := range columns {
		if columns[i].returned() {
			headings = append(headings, columns[i].Heading)
		}
	}
	r.csv = newCSVWriter(to, append(headings, ReasonHeading), comma, true)
	r.csv.verbatim = true
	return r
}

// returned reports whether a column is written with rejected rows: columns of passwords and of
// earlier reasons are not.
func (c *column) returned() bool { return c.Ignored != IgnoredSecret && c.Ignored != IgnoredReason }

// add writes a row; cells is the part of it that could be read.
func (r *rejectedRows) add(columns []column, cells []cell, reason string) error {
	if r.json {
		return r.addObject(columns, cells, reason)
	}
	if len(cells) > len(columns) { // it is not known which value is which column's
		secret := slices.IndexFunc(columns, func(c column) bool { return c.Ignored == IgnoredSecret })
		if secret >= 0 {
			cells = cells[:secret]
		}
	}
	var values []any
	for at := range columns {
		switch {
		case !columns[at].returned():
		case at < len(cells) && cells[at].exact:
			values = append(values, markWord(cells[at].text))
		case at < len(cells):
			values = append(values, cells[at].text)
		default:
			values = append(values, "")
		}
	}
	values = append(values, reason)
	for at := len(columns); at < len(cells); at++ {
		values = append(values, cells[at].text)
	}
	return r.csv.row(values)
}

func (r *rejectedRows) addObject(columns []column, cells []cell, reason string) error {
	r.line = append(r.line[:0], '{')
	for at := range cells {
		c := &cells[at]
		if c.absent || at >= len(columns) || !columns[at].returned() {
			continue
		}
		r.line = append(appendJSONText(r.line, columns[at].Heading), ':')
		switch {
		case c.value != nil:
			value, _ := withoutSecrets(c.value)
			r.line = jsonvalue.Append(r.line, value)
		case c.exact:
			r.line = appendJSONText(r.line, c.text)
		default:
			r.line = append(r.line, "null"...)
		}
		r.line = append(r.line, ',')
	}
	r.line = append(appendJSONText(r.line, ReasonHeading), ':')
	r.line = append(appendJSONText(r.line, reason), '}', '\n')
	_, err := r.to.Write(r.line)
	return err
}

// finish writes what is held back.
func (r *rejectedRows) finish() error {
	if r.csv == nil {
		return nil
	}
	return r.csv.finish()
}

// keepCells returns the cells of a row, to be kept until its outcome is known, or nil if rejected
// rows are not written.
func (im *importer) keepCells(row *tableRow) []cell {
	if im.options.RejectedRows == nil {
		return nil
	}
	return slices.Clone(row.cells)
}
