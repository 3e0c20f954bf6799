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

// UnknownColumns says what an import does with columns that are no field.
type UnknownColumns string

// What can be done with columns that are no field.
const (
	UnknownKeep   UnknownColumns = "keep"   // as attributes, under names made fit; a text stays one, as all of CSV is
	UnknownIgnore UnknownColumns = "ignore" // and say so in the report
	UnknownRefuse UnknownColumns = "refuse" // the file, or of NDJSON the row: ErrInvalid with CodeUnknownField
)

// MaxRejections is how many rejected rows an ImportReport lists; it counts all.
const MaxRejections = 100

// ImportOptions say what a file is and how it is imported. The zero value finds
// out the format, creates and updates users, and keeps columns that it does not
// know as attributes.
type ImportOptions struct {
	Format Format             // empty: found out by how the file begins
	Mode   userkit.ImportMode // empty: userkit.ImportUpsert
	DryRun bool               // find out what would happen and write nothing

	// Key is the field that says which user a row is about: id, extref, login or
	// email. Empty: in each row, the first of these that it has.
	Key string

	// Columns says which field a column is, by its heading, where the heading does
	// not say it: a settable field of userkit.UserFields, attributes.<name>, or "-"
	// to ignore the column; also name.first, name.middle and name.last, which make a
	// name, and enabled, disabled, disabled.until, disabled.bits and status.words, which
	// are the status. Of JSON, a heading may be
	// a path into an object, such as profile.email or emails.0.value.
	Columns map[string]string

	// Preset is the system that wrote the file, one of Presets: what its columns are.
	// Columns goes before it.
	Preset string
	preset map[string]string

	UnknownColumns UnknownColumns // empty: UnknownKeep

	// ClearEmpty means that an empty cell empties the field: text, times, spans
	// and attributes, not what always has a value, such as a status. Without it,
	// an empty cell leaves the field as it is.
	ClearEmpty bool

	// ReadOn goes on behind rows of CSV that one quote out of place has made of
	// several lines: each is then one rejection, which names the lines. Without it the
	// import ends there, since a quote that is not closed takes the rest of the file.
	ReadOn bool

	Comma rune // CSV: separates values; 0: found out from the first row

	// Encoding is the encoding of the text of CSV and NDJSON, by a name of the WHATWG
	// Encoding Standard, such as windows-1251, shift_jis or utf-16le. Empty: UTF-8. A
	// byte-order mark, of UTF-8 or UTF-16, at the beginning of the file goes before it. A
	// value with a character that the encoding has not is refused.
	Encoding string

	Zone *time.Location // of times that say none, such as 2026-01-02 or a date of a workbook; nil: UTC

	// Phones says how telephone numbers are written, to tell which columns hold some. The
	// manager reads them. nil: userkit.Project.Phones of the users of Import, where they
	// have a Project, or userkit.ParsePhone.
	Phones userkit.PhoneParser

	// Rejected, unless nil, is called for each row that is rejected, in the order
	// of the file. An error of it ends the import and is returned.
	Rejected func(Rejection) error

	// RejectedRows, unless nil, gets each row that is rejected as it stood in the file,
	// with the reason in a last column, ReasonHeading: as CSV, and of NDJSON as NDJSON.
	// Mend the rows there and import them. Columns of passwords are left out, and of a
	// row that could not be read to its end, there is what could be read. Values of CSV
	// beyond the last column stand behind the reason; of such a row nothing is written from
	// the first column of passwords on, since a password may stand in any of them. Nothing
	// is written where no row is rejected. An error of it ends the import and is returned.
	RejectedRows io.Writer

	// Progress, unless nil, is called now and then and at the end. Bytes against
	// the size of the file tell how far the import is. A workbook that does not
	// come from a file (io.ReaderAt and io.Seeker) is read whole before its first
	// row.
	Progress func(Progress)
}

// Rejection is a row that was not imported, and why.
type Rejection struct {
	Sheet  string `json:"sheet,omitempty"`  // of a workbook; empty: the first, or there are none
	Row    int64  `json:"row"`              // as a spreadsheet shows it: the first row of the file is 1; of NDJSON, the line
	Column string `json:"column,omitempty"` // the heading of the column at fault; empty: not one column
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

// String says it in one line, such as "row 12, E-mail: …".
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

// ColumnUse is what an import made of a column.
type ColumnUse struct {
	Heading string `json:"heading"`
	Field   string `json:"field,omitempty"`   // the field, or attributes.<name>; empty: ignored
	Ignored string `json:"ignored,omitempty"` // why it was ignored: one of the constants below

	Numbers   bool   `json:"numbers,omitempty"`   // CSV: every value of the file is a number, and is kept as one
	Guessed   bool   `json:"guessed,omitempty"`   // the field follows from what other programs call it, which nobody has confirmed
	Suggested string `json:"suggested,omitempty"` // a field that it may be, if the caller says so: extref for the ids of another system
	Note      string `json:"note,omitempty"`      // why it is not the field that its heading names: none of its first values can be read as it
}

// Why columns are ignored.
const (
	IgnoredReadOnly = "read-only"  // a field that only use changes, such as balance
	IgnoredUnknown  = "unknown"    // no field, and UnknownIgnore
	IgnoredByOption = "by option"  // ImportOptions.Columns says so
	IgnoredUnnamed  = "no heading" // a column without a heading
	IgnoredReason   = "reason"     // ReasonHeading: why the row was rejected when it was imported before
	IgnoredSecret   = "secret"     // passwords, and what they are checked with: kept only where ImportOptions.Columns says so
)

// ImportReport is what an import did; of a dry run, what it would do.
type ImportReport struct {
	Rows       int64       `json:"rows"` // read and done: the sum of the next four
	Created    int64       `json:"created"`
	Updated    int64       `json:"updated"`
	Unchanged  int64       `json:"unchanged"`
	Rejected   int64       `json:"rejected"`
	Rejections []Rejection `json:"rejections,omitempty"` // the first MaxRejections
	Columns    []ColumnUse `json:"columns"`

	Format Format `json:"format,omitempty"` // of the file; empty: it is not a table that can be read

	// Cut counts the cells of a workbook that an export had cut, see ExportReport.Cut:
	// they leave their fields as they are.
	Cut int64 `json:"cut,omitempty"`
}

// importCalls is how many calls of ImportUsers are under way at the same time,
// while the rows of another one are read.
const importCalls = 3

// Import reads a table of users, whose first row has the headings, and creates
// and updates users by it. What Export writes, Import reads, and importing an
// export changes nothing. Rows that are wrong stay out, with their number, column
// and reason, and the others go in. An import that was cut short may be repeated:
// rows that went in already change nothing.
//
// Headings are names of fields and what other programs call them, such as E-mail
// or Phone number; case, spaces, '_', '-' and '.' do not matter. Values are read
// leniently: yes and 1 are true, 2026-01-02 is a time, "+375 (29) 123-45-67" is a
// telephone number. CSV may have a byte-order mark, any separator of , ; tab and
// |, and any line breaks; it is UTF-8, or see ImportOptions.Encoding. A row is at most MaxRowBytes long, and
// a table has at most MaxColumns. Memory is needed for a few thousand rows,
// however many there are, and some 12 bytes for each key of the file, since it finds
// those that stand twice: that is each id, extref, login and email, or with Key
// only one of them. A dry run needs 40 bytes more for each.
//
// Users are found by Key. Only a column that has the name of the field, or of which
// ImportOptions.Columns says that it is the field, says which user a row is about:
// what other programs call it never does. Of several rows about one user the first
// counts, and the others are rejected. Rows are done in any order, so of two rows
// that want one login either may be rejected.
//
// Columns such as enabled, blocked, accountEnabled, "Active?" or gesperrt are the status,
// the strictest of several, and a row of which such a column cannot be read stays out, as
// does one of which the expiration cannot; first and last name make a name where there is none. Passwords are
// not kept, by their headings or by the look of their hashes. Columns of CSV that are no field are kept as numbers where every value is one,
// such as 42 or 1.5 but not 007, and the file can be read twice (io.Seeker); else as
// texts. A column of whose first values none can be read as its field is a column
// like any other, and ColumnUse.Note says so; for a status in unknown words the
// rows are rejected instead.
//
// It returns ErrInvalid, having imported nothing, when the options are wrong or
// the file is no table that it can read:
//
//   - CodeBadFormat: another format, two columns of one field, a Comma that
//     cannot separate values,
//   - CodeBadText: headings in another encoding than UTF-8 or that of Encoding,
//   - CodeRequired: an empty file, or no column that says which user a row is
//     about,
//   - CodeTooLong: more than MaxColumns,
//   - CodeUnknownField: ImportOptions.Columns has a heading that the file has
//     not, or a field that cannot be set; or an unknown column and UnknownRefuse,
//   - CodeUnknownValue: an option with an unknown value.
//
// A row of more than MaxRowBytes (CodeTooLong), and without ReadOn a quote out of
// place that spans lines (CodeBadFormat), ends the import behind the rows
// before it, as do an error of the reader, of the store, of Rejected, of RejectedRows and of the
// context. Then the report counts the rows that are known to be done; a few
// thousand more may be.
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

// place is where in a file a row stands, and which row of its batch it is.
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
		return err
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

// check checks what can be wrong in options, whatever the file is.
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

// take makes a record of a row and adds it to a batch, or says what is wrong.
func (im *importer) take(row *tableRow, b *batch) *rowError {
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

// repeated refuses a row about a user whom a row before it is about.
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

// overlaps reports whether a unique value stands in both batches.
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

// start starts the call of a batch, once there is room and no call under way is
// about one of its users.
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

// flush does the last batch and waits for all.
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

// settle waits for the oldest call and counts what it did.
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
		case userkit.ImportUpdated:
			im.report.Updated++
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

// rehearse corrects the outcome of a dry run by what earlier rows would have
// written.
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

// guarded does something of the host's on a goroutine that is not the host's: a panic
// there becomes the error, and so does that it ends the goroutine, which leaves it in
// failed.
func guarded(failed *error, do func() error) (err error) {
	*failed = errors.New("userio: the goroutine was ended")
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("userio: panic: %v\n%s", reason, debug.Stack())
		}
	}()
	return do()
}
