package userio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"runtime/debug"
	"slices"
	"time"

	"github.com/userkit/userkit"
)

// UnknownColumns says what an import does with columns that are not fields.
type UnknownColumns string

// The ways to handle columns that are not fields.
const (
	UnknownKeep   UnknownColumns = "keep"   // keep as attributes, under adapted names; texts, such as most of CSV, remain texts
	UnknownIgnore UnknownColumns = "ignore" // ignore, and list in the report
	UnknownRefuse UnknownColumns = "refuse" // refuse the file, or in NDJSON the row: ErrInvalid with CodeUnknownField
)

// MaxRejections is the maximum number of rejected rows that an ImportReport lists; it counts all of
// them.
const MaxRejections = 100

// ImportOptions are the options of Import. The zero value detects the format, creates and updates
// users, and keeps unknown columns as attributes.
type ImportOptions struct {
	Format Format             // empty: detected from the beginning of the file
	Mode   userkit.ImportMode // empty: userkit.ImportUpsert
	DryRun bool               // report what would happen and write nothing

	// Key is the field that identifies the user of a row: id, extref, login or email. Empty: for
	// each row, the first of these that it contains.
	Key string

	// Columns maps headings to fields, for columns whose heading does not name the field: a
	// settable field of userkit.UserFields, attributes.<name>, or "-" to ignore the column. It may
	// also be name.first, name.middle or name.last, which are joined to a name, or enabled,
	// disabled, disabled.until, disabled.bits or status.words, which determine the status. In JSON,
	// a heading may be a path into an object, such as profile.email or emails.0.value.
	Columns map[string]string

	// Preset is the system that wrote the file, one of Presets. It determines the fields of the
	// columns. Columns takes precedence over it.
	Preset string
	preset map[string]string

	UnknownColumns UnknownColumns // empty: UnknownKeep

	// ClearEmpty means that an empty cell clears the field if it is a text, a time, a span or an
	// attribute, but not if it always has a value, such as a status. Without it, an empty cell
	// leaves the field unchanged.
	ClearEmpty bool

	// ReadOn continues after rows of CSV that span several lines because of a misplaced quote: each
	// of them is then one rejection, which names the lines. Without it the import ends at such a
	// row, since an unclosed quote takes in the rest of the file.
	ReadOn bool

	Comma rune // CSV: separates values; 0: detected from the first row

	// Encoding is the encoding of the text of CSV and NDJSON, by a name of the WHATWG
	// Encoding Standard, such as windows-1251, shift_jis or utf-16le. Empty: UTF-8. A byte-order
	// mark, of UTF-8 or UTF-16, at the beginning of the file takes precedence over it. A value with
	// a byte sequence that is invalid in the encoding is refused.
	Encoding string

	Zone *time.Location // of times without a zone, such as 2026-01-02 or a date of a workbook; nil: UTC

	// Phones is used to detect which columns contain telephone numbers; the manager itself reads
	// the numbers. nil: userkit.Project.Phones of the users passed to Import, if they have a
	// Project, or else userkit.ParsePhone.
	Phones userkit.PhoneParser

	// Rejected, unless nil, is called for each row that is rejected, in the order of the file. If
	// it returns an error, the import ends and returns that error.
	Rejected func(Rejection) error

	// RejectedRows, unless nil, receives each rejected row as it was in the file, with the reason
	// in an additional last column, ReasonHeading. It is written as NDJSON if the file is NDJSON,
	// and otherwise as CSV. Correct the rows there and import them. Columns of passwords are
	// omitted, and of a row that could not be read to its end, only the part that could be read is
	// written. Values of CSV beyond the last column follow the reason; of such a row nothing is
	// written from the first column of passwords on, since a password may be in any of these
	// columns. Nothing is written if no row is rejected. If a write fails, the import ends and
	// returns the error.
	RejectedRows io.Writer

	// Progress, unless nil, is called from time to time and at the end. The ratio of Bytes to the
	// size of the file shows how far the import is. A workbook that is not read from a file
	// (io.ReaderAt and io.Seeker) is read completely before its first row.
	Progress func(Progress)
}

// Rejection describes a row that was not imported, and the reason.
type Rejection struct {
	Sheet  string `json:"sheet,omitempty"`  // of a workbook; empty: the first sheet, or not a workbook
	Row    int64  `json:"row"`              // as in a spreadsheet, where the first row of the file is 1; in NDJSON, the line
	Column string `json:"column,omitempty"` // the heading of the column at fault; empty: not a single column
	Err    error  `json:"-"`                // a userkit.Error; in JSON, "error"
}

// rejectionFields are a Rejection without its methods.
type rejectionFields Rejection

// MarshalJSON writes the rejection with its error, see userkit.Error.
func (r Rejection) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		rejectionFields
		Err *userkit.Error `json:"error,omitempty"`
	}{rejectionFields(r), userkit.AsError(r.Err)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Rejection) UnmarshalJSON(data []byte) error {
	var read struct {
		rejectionFields
		Err *userkit.Error `json:"error"`
	}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	*r = Rejection(read.rejectionFields)
	if read.Err != nil {
		r.Err = read.Err
	}
	return nil
}

// String returns the rejection in one line, such as "row 12, E-mail: …".
func (r Rejection) String() string {
	text := fmt.Sprintf("row %d", r.Row)
	if r.Sheet != "" {
		text = r.Sheet + ", " + text
	}
	if r.Column != "" {
		text += ", "
	} else {
		text += ": "
	}
	return text + r.reason()
}

// reason says why, without where the row stands, such as "E-mail: …".
func (r Rejection) reason() string {
	if r.Column != "" {
		return r.Column + ": " + r.Err.Error()
	}
	return r.Err.Error()
}

// ColumnUse says how an import uses a column.
type ColumnUse struct {
	Heading string `json:"heading"`
	Field   string `json:"field,omitempty"`   // the field, or attributes.<name>; empty: ignored
	Ignored string `json:"ignored,omitempty"` // why it was ignored: one of the constants below

	Numbers   bool   `json:"numbers,omitempty"`   // CSV: every value in the file is a number, and is imported as one
	Guessed   bool   `json:"guessed,omitempty"`   // the field was guessed from the names that other programs use, and is not confirmed
	Suggested string `json:"suggested,omitempty"` // a field that the caller may choose: extref for the ids of another system
	Note      string `json:"note,omitempty"`      // why it is not the field that its heading names: none of its first values can be read as that field; or how to keep a column that was ignored as secret
}

// The reasons why columns are ignored.
const (
	IgnoredReadOnly = "read-only"  // a field that changes only through usage, such as balance
	IgnoredUnknown  = "unknown"    // not a field, with UnknownIgnore
	IgnoredByOption = "by option"  // ignored by ImportOptions.Columns
	IgnoredUnnamed  = "no heading" // a column without a heading
	IgnoredReason   = "reason"     // ReasonHeading: why the row was rejected when it was imported before
	IgnoredSecret   = "secret"     // passwords and their hashes or salts; imported only if ImportOptions.Columns names them
)

// ImportReport is the result of an import; for a dry run, what the result would be.
type ImportReport struct {
	Rows       int64       `json:"rows"` // read and processed: the sum of the next four
	Created    int64       `json:"created"`
	Updated    int64       `json:"updated"`
	Unchanged  int64       `json:"unchanged"`
	Rejected   int64       `json:"rejected"`
	Rejections []Rejection `json:"rejections,omitempty"` // the first MaxRejections
	Changes    []RowChange `json:"changes,omitempty"`    // of a dry run: the first MaxChanges rows that would create or update a user
	Columns    []ColumnUse `json:"columns"`

	Format Format `json:"format,omitempty"` // of the file; empty: it is not a readable table

	// Cut counts the cells of a workbook that an export had truncated (see ExportReport.Cut). Their
	// fields are left unchanged.
	Cut int64 `json:"cut,omitempty"`
}

// importCalls is how many calls of ImportUsers are under way at the same time,
// while the rows of another one are read.
const importCalls = 3

// Import reads a table of users, whose first row contains the headings, and creates and updates
// users accordingly. Import reads what Export writes, and importing an unchanged export changes
// nothing. Invalid rows are rejected and reported with their number, column and reason, and the
// others are imported. An import that was interrupted may be repeated: rows that were imported
// already change nothing.
//
// Headings are the names of fields or the names that other programs use, such as E-mail or Phone number;
// case, spaces, '_', '-' and '.' are ignored. Values are read leniently: yes and 1 are true, 2026-01-02 is a
// time, "+375 (29) 123-45-67" is a telephone number. CSV may have a byte-order mark, any separator of , ;
// tab and |, and any line breaks; it is UTF-8, or see ImportOptions.Encoding. A row is at most MaxRowBytes
// long, and a table has at most MaxColumns. Import needs memory for a few thousand rows, whatever their
// number, and about 12 bytes for each key in the file, to find duplicates: each id, extref, login and
// email is a key, or only one of them with ImportOptions.Key. A dry run needs 40 bytes more for each key.
//
// Users are found by ImportOptions.Key. Only a column that has the name of the key field, or that
// ImportOptions.Columns maps to it, identifies users; a column with a name that other programs use
// never does. If several rows are about one user, the first counts and the others are rejected.
// Rows are imported in no defined order, so if two rows have the same login, either may be
// rejected.
//
// Columns such as enabled, blocked, accountEnabled, "Active?" or gesperrt determine the status; of several the
// strictest counts. A row is rejected if such a column, or the expiration, cannot be read. The first and the last name
// are joined to a name if there is none. Passwords, which are recognized by their headings or by the form of their
// hashes, are not imported. Columns of CSV that are not fields are imported as numbers if every value is a number, such
// as 42 or 1.5 but not 007, and the file can be read twice (io.Seeker), and otherwise as texts. A column of which none
// of the first values can be read as its field is treated as one that is not a field, and ColumnUse.Note says so; rows
// whose status is in unknown words are rejected instead.
//
// Words for no value, such as NULL, are taken for empty cells. Rows that are about no user, as far as that can be
// seen, are rejected: the headings once more, totals under a label, and in CSV and XLSX a line of text that stands alone
// behind an empty row.
//
// It returns ErrInvalid without importing anything if the options are invalid or the file is not a
// readable table:
//
//   - CodeBadFormat: another format, two columns of one field, a Comma that
//     cannot separate values,
//   - CodeBadText: headings in another encoding than UTF-8 or that of Encoding,
//   - CodeRequired: an empty file, or no column that identifies the users,
//   - CodeTooLong: more than MaxColumns,
//   - CodeUnknownField: ImportOptions.Columns contains a heading that is not in the file or a field
//     that cannot be set, or there is an unknown column with UnknownRefuse,
//   - CodeUnknownValue: an option with an unknown value.
//
// A row of more than MaxRowBytes (CodeTooLong), and without ReadOn a misplaced quote that spans
// lines (CodeBadFormat), ends the import after the rows before it, as do errors of the reader, of
// the store, of Rejected, of RejectedRows and of the context. The report then counts the rows that
// are known to be imported; a few thousand more may have been.
func Import(ctx context.Context, users userkit.ImportManager, from io.Reader, options ImportOptions) (ImportReport, error) {
	ctx, cancel := context.WithCancel(ctx)
	if project, ok := users.(userkit.ProjectManager); ok && options.Phones == nil {
		options.Phones = project.Project().Phones
	}
	im := &importer{users: users, options: options, from: &countingReader{from: from}}
	err := im.run(ctx)
	cancel()
	for _, b := range im.flying {
		<-b.done
	}
	if im.plan != nil {
		for _, c := range im.columns {
			im.report.Columns = append(im.report.Columns, c.ColumnUse)
		}
	}
	return im.report, err
}

// importer is one import.
type importer struct {
	users   userkit.ImportManager
	options ImportOptions
	from    *countingReader
	reader  tableReader
	report  ImportReport

	*plan
	rejects *rejectedRows // nil: no row was rejected yet, or nobody asks for them
	flying  []*batch      // calls under way, the oldest first
	idle    []*batch
	seen    map[uint64]uint64 // dry run: by the hash of a unique value, the user that has it
	keys    hashSet           // of the rows so far
}

// batch is the rows of one call of ImportUsers.
type batch struct {
	records    []userkit.UserImport
	places     []place             // by record
	keys       []rowKeys           // by record
	cells      [][]cell            // by record; nil where nobody asks for rejected rows
	values     map[uint64]struct{} // all of keys
	rejections []rejected          // of rows that became no record

	done     chan struct{} // closed when the call has returned
	outcomes []userkit.ImportOutcome
	err      error
}

// place is the position of a row in its file and in its batch.
type place struct {
	sheet  string
	number int64
	order  int
}

// rejected is a row that is rejected.
type rejected struct {
	place
	column string
	err    error
	cells  []cell
}

// rowKeys are the hashes of the unique values of a row, in the order of
// keyFields; 0: none.
type rowKeys [len(keyFields)]uint64

// keyFields are the fields that can say which user a row is about, in the order
// in which they are tried.
var keyFields = [...]string{"id", "extref", "login", "email"}

var keySeed = maphash.MakeSeed()

// hashKey returns the hash of a unique value: never 0, and different for the same
// value of different fields.
func hashKey(key userkit.UserKey) uint64 {
	var hash maphash.Hash
	hash.SetSeed(keySeed)
	_ = hash.WriteByte(key.Field()[0]) // never fails; the fields begin differently
	_, _ = hash.WriteString(key.Value())
	return max(hash.Sum64(), 1)
}

func (im *importer) run(ctx context.Context) (err error) {
	if err := im.options.apply(); err != nil {
		return err
	}
	if err := im.options.check(); err != nil {
		return err
	}
	start := int64(-1) // where the file cannot be read twice
	if file, ok := im.from.from.(io.Seeker); ok {
		if at, err := file.Seek(0, io.SeekCurrent); err == nil {
			start = at
		}
	}
	reader, err := openTable(im.from, &im.options)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := reader.close(); err == nil {
			err = closeErr
		}
	}()
	im.reader, im.report.Format = reader, formatOf(reader)
	_, open := reader.(*ndjsonReader)
	sampled := sample(reader)
	reader = sampled
	if im.plan, err = newPlan(im.options, open, reader.columns(), sampled.good()); err != nil {
		return sampled.explain(err)
	}
	if _, isCSV := im.reader.(*csvReader); isCSV {
		if err := im.numberColumns(ctx, start); err != nil {
			return err
		}
	}
	if im.options.DryRun {
		im.seen = map[uint64]uint64{}
	}

	next := im.batch()
	var row tableRow
	for {
		err := reader.next(&row)
		broken, isRow := errors.AsType[*rowError](err) // which may have the end of its line as its cause
		if errors.Is(err, io.EOF) && !isRow {
			break
		}
		if err == nil {
			err = im.extend(reader.columns())
		}
		if err != nil && !isRow { // the rows before it are good
			if flushErr := im.flush(ctx, next); flushErr != nil {
				return flushErr
			}
			return err
		}
		im.report.Cut += int64(row.cut)
		if broken == nil {
			broken = im.take(&row, next)
		} else {
			im.follow(&row)
		}
		if broken != nil {
			next.rejections = append(next.rejections, rejected{next.place(&row), broken.column, broken.err, im.keepCells(&row)})
		}
		if len(next.records) == userkit.MaxImport || len(next.rejections) == userkit.MaxImport {
			if err := im.start(ctx, next); err != nil {
				return err
			}
			next = im.batch()
		}
	}
	return im.flush(ctx, next)
}

// check checks those options whose validity does not depend on the file.
func (o ImportOptions) check() error {
	if o.Key != "" && !slices.Contains(keyFields[:], o.Key) {
		return userkit.NewError(userkit.CodeUnknownValue, "key", "%q is not id, extref, login or email", clip(o.Key))
	}
	switch o.Mode {
	case "", userkit.ImportUpsert, userkit.ImportCreate, userkit.ImportUpdate:
	default:
		return userkit.NewError(userkit.CodeUnknownValue, "mode", "%q is not upsert, create or update", clip(string(o.Mode)))
	}
	switch o.UnknownColumns {
	case "", UnknownKeep, UnknownIgnore, UnknownRefuse:
	default:
		return userkit.NewError(userkit.CodeUnknownValue, "unknown_columns", "%q is not keep, ignore or refuse", clip(string(o.UnknownColumns)))
	}
	return nil
}

// batch returns an empty batch.
func (im *importer) batch() *batch {
	if last := len(im.idle) - 1; last >= 0 {
		b := im.idle[last]
		im.idle = im.idle[:last]
		return b
	}
	return &batch{values: map[uint64]struct{}{}}
}

// place returns the place of the next row of a batch.
func (b *batch) place(row *tableRow) place {
	return place{row.sheet, row.number, len(b.places) + len(b.rejections)}
}

// take makes a record of a row and adds it to a batch, or returns what is wrong with the row.
func (im *importer) take(row *tableRow, b *batch) *rowError {
	if broken := im.noUser(row); broken != nil {
		return broken
	}
	// The record is made in its place, since it is large.
	last := len(b.records)
	b.records = append(b.records, userkit.UserImport{})
	keys, broken := im.draft(row, &b.records[last])
	if broken == nil {
		broken = im.repeated(&b.records[last], keys)
	}
	if broken != nil {
		b.records[last] = userkit.UserImport{}
		b.records = b.records[:last]
		return broken
	}
	b.places = append(b.places, b.place(row))
	b.keys = append(b.keys, keys)
	b.cells = append(b.cells, im.keepCells(row))
	for _, key := range keys {
		if key != 0 {
			b.values[key] = struct{}{}
		}
	}
	return nil
}

// repeated refuses a row about a user whom an earlier row is about.
func (im *importer) repeated(record *userkit.UserImport, keys rowKeys) *rowError {
	field := record.Key.Field()
	if !im.keys.add(keys[slices.Index(keyFields[:], field)]) {
		return &rowError{column: im.headingOf(field), err: userkit.NewError(userkit.Taken("user", field).Code, field, "a row before it has the same %s, %q", field, clip(record.Key.Value()))}
	}
	if im.options.Key == "" { // the next row may name the same user by another key
		for _, key := range keys {
			im.keys.add(key)
		}
	}
	return nil
}

// overlaps reports whether two batches have a unique value in common.
func (b *batch) overlaps(other *batch) bool {
	if len(other.values) < len(b.values) {
		b, other = other, b
	}
	for value := range b.values {
		if _, both := other.values[value]; both {
			return true
		}
	}
	return false
}

// start starts the call of a batch as soon as there is room for it and no call under way is about
// one of its users.
func (im *importer) start(ctx context.Context, b *batch) error {
	wait := max(0, len(im.flying)-importCalls+1)
	for i := wait; i < len(im.flying); i++ {
		if im.flying[i].overlaps(b) {
			wait = i + 1
		}
	}
	for range wait {
		if err := im.settle(); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b.done = make(chan struct{})
	im.flying = append(im.flying, b)
	go func() {
		defer close(b.done)
		b.err = guarded(&b.err, func() (err error) {
			if len(b.records) > 0 {
				b.outcomes, err = im.users.ImportUsers(ctx, userkit.ImportOptions{Mode: im.options.Mode, DryRun: im.options.DryRun}, b.records)
			}
			return err
		})
	}()
	return nil
}

// flush starts the call of the last batch and waits for all calls.
func (im *importer) flush(ctx context.Context, last *batch) error {
	if err := im.start(ctx, last); err != nil {
		return err
	}
	for len(im.flying) > 0 {
		if err := im.settle(); err != nil {
			return err
		}
	}
	return nil
}

// settle waits for the oldest call and counts its outcomes.
func (im *importer) settle() error {
	b := im.flying[0]
	<-b.done
	if b.err != nil {
		return b.err
	}
	im.flying = slices.Delete(im.flying, 0, 1)
	rejections := b.rejections
	for i, outcome := range b.outcomes {
		if im.seen != nil {
			outcome = im.rehearse(&b.records[i], b.keys[i], outcome)
		}
		switch outcome.Action {
		case userkit.ImportCreated:
			im.report.Created++
			im.change(b.places[i], &b.records[i], outcome)
		case userkit.ImportUpdated:
			im.report.Updated++
			im.change(b.places[i], &b.records[i], outcome)
		case userkit.ImportUnchanged:
			im.report.Unchanged++
		default:
			rejections = append(rejections, rejected{b.places[i], im.heading(outcome.Err), outcome.Err, b.cells[i]})
		}
	}
	slices.SortFunc(rejections, func(a, b rejected) int { return a.order - b.order })
	im.report.Rows += int64(len(b.records) + len(b.rejections))
	for _, r := range rejections {
		rejection := Rejection{Sheet: r.sheet, Row: r.number, Column: r.column, Err: r.err}
		im.report.Rejected++
		if len(im.report.Rejections) < MaxRejections {
			im.report.Rejections = append(im.report.Rejections, rejection)
		}
		if im.options.Rejected != nil {
			if err := im.options.Rejected(rejection); err != nil {
				return err
			}
		}
		if im.options.RejectedRows != nil {
			if im.rejects == nil {
				im.rejects = newRejectedRows(im.options.RejectedRows, im.reader, im.columns)
			}
			if err := im.rejects.add(im.columns, r.cells, rejection.reason()); err != nil {
				return err
			}
		}
	}
	if im.options.Progress != nil {
		im.options.Progress(Progress{Rows: im.report.Rows, Bytes: im.from.count.Load()})
	}
	if im.rejects != nil {
		if err := im.rejects.finish(); err != nil {
			return err
		}
	}
	clear(b.records)
	clear(b.values)
	clear(b.cells)
	*b = batch{records: b.records[:0], places: b.places[:0], keys: b.keys[:0], cells: b.cells[:0], values: b.values, rejections: b.rejections[:0]}
	im.idle = append(im.idle, b)
	return nil
}

// rehearse corrects the outcome of a dry run by what earlier rows would have written.
func (im *importer) rehearse(record *userkit.UserImport, keys rowKeys, outcome userkit.ImportOutcome) userkit.ImportOutcome {
	if outcome.Action == userkit.ImportFailed {
		return outcome
	}
	key := hashKey(record.Key)
	user, repeated := im.seen[key]
	switch {
	case repeated && outcome.Action == userkit.ImportCreated && im.options.Mode == userkit.ImportCreate:
		return failed(outcome, userkit.Taken("user", record.Key.Field()).Code, record.Key.Field())
	case repeated && outcome.Action == userkit.ImportCreated:
		outcome.Action = userkit.ImportUpdated
	case !repeated && outcome.UserID.IsZero():
		// A row that says the same user and is rejected here may have made the
		// call believe that the user is there.
		user, outcome.Action = key, userkit.ImportCreated
		for name, change := range outcome.Changes {
			outcome.Changes[name] = userkit.FieldChange{New: change.New}
		}
	case !repeated:
		user = hashKey(userkit.ByID(outcome.UserID))
	}
	for i, value := range keys {
		if owner, has := im.seen[value]; value != 0 && has && owner != user {
			return failed(outcome, userkit.Taken("user", keyFields[i]).Code, keyFields[i])
		}
	}
	im.seen[key] = user
	for _, value := range keys {
		if value != 0 {
			im.seen[value] = user
		}
	}
	return outcome
}

func failed(outcome userkit.ImportOutcome, code userkit.Code, field string) userkit.ImportOutcome {
	outcome.Action = userkit.ImportFailed
	outcome.Err = userkit.NewError(code, field, "another row of the file has it")
	return outcome
}

// guarded calls do on a goroutine of this package, where it may run code of the host. A panic
// becomes the returned error. Until do returns, *failed says that the goroutine was ended, which is
// what remains if do ends it.
func guarded(failed *error, do func() error) (err error) {
	*failed = errors.New("userio: the goroutine was ended")
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("userio: panic: %v\n%s", reason, debug.Stack())
		}
	}()
	return do()
}
