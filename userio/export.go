package userio

import (
	"context"
	"io"
	"strings"

	"github.com/userkit/userkit"
)

// ExportOptions are the options of Export. The zero value exports all stored fields of all users as
// CSV.
type ExportOptions struct {
	Format Format // empty: CSV

	// Query selects the users and their order. Without Sort, they are in the order of their ids,
	// which costs a store the least. Limit is the number of users read at a time; 0 means the size
	// of the largest page. Moment is the moment for which the columns access and traffic_used are
	// computed; zero: now, by the manager's clock and in its zone.
	Query userkit.UserQuery

	// Columns are names of userkit.UserFields and userkit.DerivedUserFields, and
	// attributes.<name> for single attributes, in the order of the file; nil: all
	// of UserFields.
	Columns []string

	Comma rune // CSV: separates values, such as ';'; 0: a comma
	BOM   bool // CSV: begin with a byte-order mark, which old versions of Excel need

	// Progress, unless nil, is called after each page and at the end.
	Progress func(Progress)
}

// ExportReport is the result of an export.
type ExportReport struct {
	Rows    int64    `json:"rows"`  // users
	Bytes   int64    `json:"bytes"` // written
	Columns []string `json:"columns"`

	// Cut counts the texts of a workbook that are longer than the limit of a cell, 32,767 UTF-16
	// units, and CutCells lists the first MaxCutCells of them. They are truncated and end with a
	// mark, by which Import recognizes them and leaves the field unchanged. CSV and NDJSON have no
	// such limit.
	Cut      int64     `json:"cut,omitempty"`
	CutCells []CutCell `json:"cut_cells,omitempty"`
}

// CutCell is a cell of a workbook whose text was cut.
type CutCell struct {
	Sheet  string `json:"sheet"`
	Row    int64  `json:"row"` // as in a spreadsheet: the row of headings is 1
	Column string `json:"column"`
}

// MaxCutCells is the maximum number of cells that an ExportReport lists; it counts all of them.
const MaxCutCells = 100

// Export writes the users of a query as a table with a row of headings, which
// are the names of the columns. It needs memory for three pages, whatever the number of users, and
// reads one page while it writes the one before.
//
// Values are formatted by FieldKind.Format: times in RFC 3339 and UTC, money such as 12.50 EUR,
// spans such as 720h, attributes as JSON. A workbook contains numbers, dates and truth values as
// such, and NDJSON contains JSON values.
//
// No cell runs as a formula: in CSV, a text that a spreadsheet might run as a formula is prefixed
// with an apostrophe, which Import removes. A sign followed only by digits, as in +375291234567, is
// harmless and gets no apostrophe.
//
// It returns ErrInvalid with CodeUnknownField for an unknown column, with CodeRequired for an empty
// list of columns, with CodeBadFormat for a column that is named twice, an invalid name of an
// attribute or an invalid separator, and with CodeUnknownValue for an unknown format. It also
// returns the errors of Users for the query and of writes, after which the file is incomplete.
func Export(ctx context.Context, users userkit.UserManager, to io.Writer, options ExportOptions) (ExportReport, error) {
	query := options.Query
	if query.Limit == 0 {
		query.Limit = userkit.MaxPageLimit
	}
	if query.Sort == "" && query.Cursor == "" {
		query.Sort = "id"
	}
	if query.Moment.At.IsZero() {
		query.Moment.At = users.Project().Now
	}
	if query.Moment.Zone == nil {
		query.Moment.Zone = users.Project().Zone
	}
	query.Moment.Business = users.Project().Kind == userkit.ProjectBusiness
	names, columns, err := exportColumns(options.Columns, query.Moment)
	if err != nil {
		return ExportReport{}, err
	}
	report := ExportReport{Columns: names}
	counted := &countingWriter{to: to}
	writer, err := newTableWriter(counted, names, options, func(cell CutCell) {
		report.Cut++
		if len(report.CutCells) < MaxCutCells {
			report.CutCells = append(report.CutCells, cell)
		}
	})
	if err != nil {
		return report, err
	}
	defer writer.discard()

	progress := func() {
		report.Bytes = counted.count.Load()
		if options.Progress != nil {
			options.Progress(Progress{Rows: report.Rows, Bytes: report.Bytes})
		}
	}
	stop := make(chan struct{})
	defer close(stop)
	values := make([]any, len(columns))
	for page := range readPages(ctx, users, query, stop) {
		if page.err != nil {
			return report, page.err
		}
		for i := range page.users {
			for j, column := range columns {
				values[j] = column(&page.users[i])
			}
			if err := writer.row(values); err != nil {
				return report, err
			}
			report.Rows++
		}
		progress()
	}
	if err := writer.finish(); err != nil {
		return report, err
	}
	progress()
	return report, nil
}

func newTableWriter(to io.Writer, names []string, options ExportOptions, cut func(CutCell)) (tableWriter, error) {
	if err := checkComma(options.Comma); err != nil {
		return nil, err
	}
	switch options.Format {
	case CSV, "":
		comma := byte(',')
		if options.Comma != 0 {
			comma = byte(options.Comma)
		}
		return newCSVWriter(to, names, comma, options.BOM), nil
	case XLSX:
		return newXLSXWriter(to, names, cut)
	case NDJSON:
		return newNDJSONWriter(to, names), nil
	}
	return nil, errFormat(options.Format)
}

// exportColumns returns the names of the columns and the functions that read their values.
func exportColumns(names []string, moment userkit.Moment) ([]string, []func(*userkit.User) any, error) {
	if names == nil {
		for _, field := range userkit.UserFields() {
			names = append(names, field.Name)
		}
	}
	if len(names) == 0 {
		return nil, nil, userkit.NewError(userkit.CodeRequired, "columns", "no column to export")
	}
	if len(names) > MaxColumns {
		return nil, nil, errTooManyColumns()
	}
	columns := make([]func(*userkit.User) any, 0, len(names))
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		column, err := exportColumn(name, moment)
		if err != nil {
			return nil, nil, err
		}
		if seen[name] {
			return nil, nil, userkit.NewError(userkit.CodeBadFormat, "columns", "%q is named twice", clip(name))
		}
		seen[name] = true
		columns = append(columns, column)
	}
	return names, columns, nil
}

func exportColumn(name string, moment userkit.Moment) (func(*userkit.User) any, error) {
	if attribute, ok := strings.CutPrefix(name, attributePrefix); ok {
		if err := new(userkit.UserDraft).Set(name, nil); err != nil {
			return nil, err
		}
		return func(user *userkit.User) any { return user.Attributes[attribute] }, nil
	}
	if field, ok := userkit.UserField(name); ok {
		return field.Get, nil
	}
	for _, field := range userkit.DerivedUserFields() {
		if field.Name == name {
			return func(user *userkit.User) any { return field.Get(user, moment) }, nil
		}
	}
	return nil, userkit.NewError(userkit.CodeUnknownField, "columns", "%q is not a field of a user", clip(name))
}

// userPage is a page of users, or the error that reading it returned.
type userPage struct {
	users []userkit.User
	err   error
}

// readPages reads the pages of a query until the last one, an error, or the closing of stop. It is
// one page ahead of whoever takes them.
func readPages(ctx context.Context, users userkit.UserManager, query userkit.UserQuery, stop <-chan struct{}) <-chan userPage {
	pages := make(chan userPage)
	go func() {
		var err error
		defer func() { // also when the goroutine ends in Users
			if err != nil {
				select {
				case pages <- userPage{err: err}:
				case <-stop:
				}
			}
			close(pages)
		}()
		for {
			var page userkit.Page[userkit.User]
			err = guarded(&err, func() (err error) {
				page, err = users.Users(ctx, query)
				return err
			})
			if err != nil {
				return
			}
			select {
			case pages <- userPage{users: page.Items}:
			case <-stop:
				return
			}
			if page.Next == "" {
				return
			}
			query.Cursor = page.Next
		}
	}()
	return pages
}
