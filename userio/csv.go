package userio

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/userkit/userkit"
)

const byteOrderMark = "\xEF\xBB\xBF"

// flushBytes is how many bytes a writer collects before it writes them.
const flushBytes = 64 << 10

// csvWriter writes RFC 4180: rows end in CRLF, and values are quoted only where they have to be.
type csvWriter struct {
	to        io.Writer
	comma     byte
	attribute []bool // by column: a single attribute
	verbatim  bool   // texts are those of another file, and stay as they are
	buffer    []byte
}

func newCSVWriter(to io.Writer, columns []string, comma byte, mark bool) *csvWriter {
	w := &csvWriter{to: to, comma: comma, attribute: attributeColumns(columns)}
	if mark {
		w.buffer = append(w.buffer, byteOrderMark...)
	}
	for i, column := range columns {
		w.separate(i)
		w.text(column)
	}
	w.buffer = append(w.buffer, '\r', '\n')
	return w
}

// attributeColumns reports which columns are single attributes.
func attributeColumns(columns []string) []bool {
	attribute := make([]bool, len(columns))
	for i, column := range columns {
		attribute[i] = strings.HasPrefix(column, attributePrefix)
	}
	return attribute
}

func (w *csvWriter) separate(column int) {
	if column > 0 {
		w.buffer = append(w.buffer, w.comma)
	}
}

func (w *csvWriter) row(values []any) error {
	for i, value := range values {
		w.separate(i)
		switch value := value.(type) {
		case int64:
			w.buffer = strconv.AppendInt(w.buffer, value, 10)
		case bool:
			w.buffer = strconv.AppendBool(w.buffer, value)
		case time.Time:
			if !value.IsZero() {
				w.buffer = value.UTC().AppendFormat(w.buffer, time.RFC3339Nano)
			}
		case string:
			if w.verbatim {
				w.text(value)
				continue
			}
			if w.attribute[i] {
				value = userkit.FormatAttribute(value)
			}
			w.text(markWord(value))
		default:
			w.text(formatValue(value))
		}
	}
	if len(values) == 1 && w.buffer[len(w.buffer)-1] == '\n' {
		w.buffer = append(w.buffer, '"', '"') // else the row would be an empty line, which readers skip
	}
	w.buffer = append(w.buffer, '\r', '\n')
	if len(w.buffer) >= flushBytes {
		return w.finish()
	}
	return nil
}

// text writes one value, in quotes if it needs them, and with an apostrophe before it if a
// spreadsheet would run it as a formula.
func (w *csvWriter) text(text string) {
	if text == "" {
		return
	}
	formula := runsAsFormula(text)
	quoted := text[0] == ' ' || text[len(text)-1] == ' '
	for i := 0; i < len(text) && !quoted; i++ {
		c := text[i]
		quoted = c == w.comma || c == '"' || c == '\r' || c == '\n'
	}
	if quoted {
		w.buffer = append(w.buffer, '"')
	}
	if formula {
		w.buffer = append(w.buffer, '\'')
	}
	for quoted {
		at := strings.IndexByte(text, '"')
		if at < 0 {
			break
		}
		w.buffer = append(w.buffer, text[:at]...)
		w.buffer = append(w.buffer, '"', '"')
		text = text[at+1:]
	}
	w.buffer = append(w.buffer, text...)
	if quoted {
		w.buffer = append(w.buffer, '"')
	}
}

func (w *csvWriter) finish() error {
	_, err := w.to.Write(w.buffer)
	w.buffer = w.buffer[:0]
	return err
}

func (w *csvWriter) discard() {}

// csvReader reads RFC 4180 and the variants that programs write: other separators, rows that end in
// LF or CR alone, and quotes inside unquoted values. Package encoding/csv cannot be used, since it
// does not bound rows and changes the line breaks inside values.
type csvReader struct {
	from     *bufio.Reader
	comma    byte
	headings []string
	number   int64

	record  []byte // the values of the row, one after another
	ends    []int  // where in record each value ends
	size    int    // bytes of the row as it stands in the file
	lines   int64  // line breaks of the file before the row
	inside  int64  // line breaks in quotes of the row
	lenient bool   // a row with a quote out of place is one row, and reading goes on
}

// newCSVReader reads the headings. A comma of 0 means the separator that is most frequent in the
// first row. lenient continues after a misplaced quote.
func newCSVReader(from *bufio.Reader, comma byte, lenient bool) (*csvReader, error) {
	r := &csvReader{from: from, comma: comma, lenient: lenient}
	start, err := from.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(start) == byteOrderMark {
		_, _ = from.Discard(len(byteOrderMark)) // peeked
	}
	if err := r.separator(); err != nil {
		return nil, err
	}
	for blank := true; blank; blank = r.blank() {
		broken, err := r.read()
		if errors.Is(err, io.EOF) {
			return nil, errEmptyFile()
		}
		if err != nil {
			return nil, err
		}
		if broken != nil {
			return nil, broken
		}
	}
	if len(r.ends) > MaxColumns {
		return nil, errTooManyColumns()
	}
	text := string(r.record)
	if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
		return nil, userkit.NewError(userkit.CodeBadText, "", "the headings are not in UTF-8; name the encoding of the file, or save it as UTF-8")
	}
	begin := 0
	for _, end := range r.ends {
		r.headings = append(r.headings, text[begin:end])
		begin = end
	}
	return r, nil
}

// separator returns the character that separates values: the one of the caller, or of a first line
// such as "sep=;", or the one that is most frequent in the first row.
func (r *csvReader) separator() error {
	ahead, err := r.from.Peek(r.from.Size())
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return err
	}
	line := ahead
	if end := bytes.IndexAny(ahead, "\r\n"); end >= 0 {
		line = ahead[:end]
	}
	if said, ok := bytes.CutPrefix(line, []byte("sep=")); ok && len(said) == 1 {
		if r.comma == 0 {
			r.comma = said[0]
		}
		r.number++
		skip := len(line)
		if bytes.HasPrefix(ahead[skip:], []byte("\r\n")) {
			skip++
		}
		_, _ = r.from.Discard(min(skip+1, len(ahead))) // peeked
	}
	if r.comma != 0 {
		return nil
	}
	r.comma = ','
	var count [256]int
	quoted, begun := false, false
	for _, c := range ahead {
		if c == '"' {
			quoted = !quoted
		}
		if !quoted && (c == '\r' || c == '\n') {
			if begun {
				break
			}
			continue
		}
		begun = true
		if !quoted {
			count[c]++
		}
	}
	for _, c := range []byte(";\t|") {
		if count[c] > count[r.comma] {
			r.comma = c
		}
	}
	return nil
}

// blank reports whether all values of the row are empty.
func (r *csvReader) blank() bool { return len(r.record) == 0 }

func (r *csvReader) columns() []string { return r.headings }

func (r *csvReader) close() error { return nil }

func (r *csvReader) next(row *tableRow) error {
	row.cells = row.cells[:0]
	for {
		broken, err := r.read()
		row.number = r.number
		if err != nil {
			return err
		}
		if broken != nil && r.inside > 0 {
			broken = userkit.NewError(broken.Code, "", "%s: lines %d to %d are one row by their quotes, and cannot be read", broken.Message, r.lines-r.inside, r.lines)
			if !r.lenient {
				return broken
			}
		}
		if broken != nil {
			return &rowError{err: broken}
		}
		if !r.blank() {
			break
		}
	}
	text := string(r.record)
	valid := utf8.ValidString(text)
	begin := 0
	if strings.HasPrefix(text, byteOrderMark) && r.ends[0] >= len(byteOrderMark) { // of a file that was appended to another
		begin = len(byteOrderMark)
	}
	var broken *rowError
	values := len(r.headings)
	if count := len(r.ends); count > values && r.ends[values-1] < len(text) {
		broken = &rowError{err: userkit.NewError(userkit.CodeBadFormat, "", "%s values for %d columns", countUpTo(count), values)}
		values = count
	}
	for i := range values {
		if i >= len(r.ends) { // a short row says nothing about the columns that it has not
			row.cells = append(row.cells, cell{absent: true})
			continue
		}
		value := text[begin:r.ends[i]]
		begin = r.ends[i]
		if !valid && !utf8.ValidString(value) {
			value = ""
			if broken == nil {
				broken = &rowError{column: r.headings[i], err: userkit.NewError(userkit.CodeBadText, "", "not a text of the encoding of the file; name its encoding, or save it as UTF-8")}
			}
		}
		row.cells = append(row.cells, restoreWord(restoreFormula(value)))
	}
	if broken != nil { // else it would be an error
		return broken
	}
	return nil
}

// countUpTo describes a number of values, which are counted only up to MaxColumns and one more.
func countUpTo(count int) string {
	if count > MaxColumns {
		return "more than " + strconv.Itoa(MaxColumns)
	}
	return strconv.Itoa(count)
}

// read reads one row into record and ends. broken describes a row that is wrong, after which
// reading may continue. err is io.EOF at the end, or the reason why reading cannot continue.
func (r *csvReader) read() (broken *userkit.Error, err error) {
	r.record, r.ends, r.size, r.inside = r.record[:0], r.ends[:0], 0, 0
	r.number++
	r.lines++
	defer func() { r.lines += r.inside }()
	const (
		fieldBegin = iota // nothing of the value was read
		plain             // inside of a value without quotes
		quoted            // inside of quotes
		quoteEnd          // behind the second quote
	)
	state := fieldBegin
	for {
		chunk, err := r.ahead()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				return nil, err
			}
			if r.size == 0 {
				return nil, io.EOF
			}
			if state == quoted {
				if bytes.HasSuffix(r.record, []byte("\n")) { // no line begins behind the last break
					r.inside--
				}
				return userkit.NewError(userkit.CodeBadFormat, "", "a quote is not closed"), nil
			}
			r.end()
			return broken, nil
		}
		used := 0
		for used < len(chunk) {
			c := chunk[used]
			switch {
			case state == quoted:
				if length := bytes.IndexByte(chunk[used:], '"'); length >= 0 {
					r.record = append(r.record, chunk[used:used+length]...)
					r.inside += int64(bytes.Count(chunk[used:used+length], []byte("\n")))
					used += length + 1
					state = quoteEnd
				} else {
					r.record = append(r.record, chunk[used:]...)
					r.inside += int64(bytes.Count(chunk[used:], []byte("\n")))
					used = len(chunk)
				}
				continue
			case c == '"' && state == fieldBegin:
				state = quoted
			case c == '"' && state == quoteEnd:
				r.record = append(r.record, '"')
				state = quoted
			case c == r.comma:
				r.end()
				state = fieldBegin
			case c == '\n':
				r.end()
				return broken, r.discard(used + 1)
			case c == '\r':
				r.end()
				if err := r.discard(used + 1); err != nil {
					return nil, err
				}
				if next, _ := r.from.Peek(1); len(next) == 1 && next[0] == '\n' {
					_, _ = r.from.Discard(1) // peeked
				}
				return broken, nil
			case state == quoteEnd:
				if c != ' ' {
					broken = userkit.NewError(userkit.CodeBadFormat, "", "text behind a closing quote")
					state = plain // a quote that follows opens nothing
				}
			default:
				state = plain
				length := 1
				for used+length < len(chunk) {
					if c := chunk[used+length]; c == r.comma || c == '\n' || c == '\r' {
						break
					}
					length++
				}
				r.record = append(r.record, chunk[used:used+length]...)
				used += length
				continue
			}
			used++
		}
		if err := r.discard(used); err != nil {
			return nil, err
		}
	}
}

// ahead returns the bytes that come next: at least one, and at most one more than the row may still
// have.
func (r *csvReader) ahead() ([]byte, error) {
	if r.from.Buffered() == 0 {
		if _, err := r.from.Peek(1); err != nil {
			return nil, err
		}
	}
	return r.from.Peek(min(r.from.Buffered(), MaxRowBytes-r.size+1))
}

// discard notes that bytes of the row were read.
func (r *csvReader) discard(count int) error {
	r.size += count
	if r.size > MaxRowBytes {
		return errRowTooLong(r.number)
	}
	_, err := r.from.Discard(count)
	return err
}

// end ends a value.
func (r *csvReader) end() {
	if len(r.ends) <= MaxColumns {
		r.ends = append(r.ends, len(r.record))
	}
}
