package userio

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/jsonvalue"
)

// ndjsonWriter writes one JSON object for each row, with the columns as keys in
// their order.
type ndjsonWriter struct {
	to     io.Writer
	keys   []string // with what stands before the value
	buffer []byte
}

func newNDJSONWriter(to io.Writer, columns []string) *ndjsonWriter {
	w := &ndjsonWriter{to: to}
	for i, column := range columns {
		key := append(appendJSONText([]byte(","), column), ':')
		if i == 0 {
			key[0] = '{'
		}
		w.keys = append(w.keys, string(key))
	}
	return w
}

func (w *ndjsonWriter) row(values []any) error {
	for i, value := range values {
		w.buffer = append(w.buffer, w.keys[i]...)
		switch value := value.(type) {
		case string:
			w.buffer = appendJSONText(w.buffer, value)
		case int64:
			w.buffer = strconv.AppendInt(w.buffer, value, 10)
		case bool:
			w.buffer = strconv.AppendBool(w.buffer, value)
		case time.Time:
			if value.IsZero() {
				w.buffer = append(w.buffer, "null"...)
				break
			}
			w.buffer = append(w.buffer, '"')
			w.buffer = value.UTC().AppendFormat(w.buffer, time.RFC3339Nano)
			w.buffer = append(w.buffer, '"')
		case userkit.Duration:
			w.buffer = appendJSONText(w.buffer, value.String())
		default:
			w.buffer = jsonvalue.Append(w.buffer, value)
		}
	}
	w.buffer = append(w.buffer, '}', '\n')
	if len(w.buffer) >= flushBytes {
		return w.finish()
	}
	return nil
}

func (w *ndjsonWriter) finish() error {
	_, err := w.to.Write(w.buffer)
	w.buffer = w.buffer[:0]
	return err
}

func (w *ndjsonWriter) discard() {}

// maxKey is the maximum length of a key, which stays in memory until the end of the file.
const maxKey = 1024

// ndjsonReader reads one JSON object per line, or objects in a list or in a sequence that span any
// number of lines.
type ndjsonReader struct {
	from     *bufio.Reader
	headings []string
	index    map[string]int // of headings
	number   int64
	line     []byte
	free     bool                // objects stand anywhere, not one in each line
	lines    int64               // read, when free
	paths    map[string][]string // headings that are paths, by their first key
}

// newNDJSONReader reads objects. columns may be paths to members of nested objects.
func newNDJSONReader(from *bufio.Reader, columns map[string]string) (*ndjsonReader, error) {
	start, err := from.Peek(len(byteOrderMark))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(start) == byteOrderMark {
		_, _ = from.Discard(len(byteOrderMark)) // peeked
	}
	r := &ndjsonReader{from: from, index: map[string]int{}, paths: pathsOf(columns)}
	if err := r.layout(); err != nil {
		return nil, err
	}
	r.lines = r.number + 1
	return r, nil
}

func (r *ndjsonReader) columns() []string { return r.headings }

func (r *ndjsonReader) close() error { return nil }

func (r *ndjsonReader) next(row *tableRow) error {
	row.cells = row.cells[:0]
	line, err := r.read()
	row.number = r.number
	if err != nil {
		return err
	}
	if !utf8.Valid(line) {
		return &rowError{err: userkit.NewError(userkit.CodeBadText, "", "not a text of the encoding of the file; name its encoding, or save it as UTF-8")}
	}
	if jsonvalue.HalfCharacter(line) {
		return &rowError{err: userkit.NewError(userkit.CodeBadText, "", "%s", jsonvalue.ErrHalfCharacter)}
	}
	for range r.headings {
		row.cells = append(row.cells, cell{absent: true})
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return notObject(err)
	}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return notObject(err)
		}
		var value any
		if err := decoder.Decode(&value); err != nil {
			return notObject(err)
		}
		key := token.(string) // of an object, or Token had failed
		for _, path := range r.paths[key] {
			rest, member, ok := takePath(value, strings.Split(path, ".")[1:])
			if value = rest; !ok {
				continue
			}
			if err := r.put(row, path, member); err != nil {
				return err
			}
		}
		if object, ok := value.(map[string]any); ok && len(object) == 0 && r.paths[key] != nil {
			continue
		}
		if err := r.put(row, key, value); err != nil {
			return err
		}
	}
	if _, err := decoder.Token(); err != nil {
		return notObject(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return notObject(err)
	}
	return nil
}

// put puts the value of a key into a row.
func (r *ndjsonReader) put(row *tableRow, key string, value any) error {
	at, known := r.index[key]
	if !known {
		if len(r.headings) == MaxColumns {
			return errTooManyColumns()
		}
		if len(key) > maxKey {
			return &rowError{err: userkit.NewError(userkit.CodeTooLong, "", "a key of more than %d bytes", maxKey)}
		}
		at = len(r.headings)
		r.headings = append(r.headings, key)
		r.index[key] = at
		row.cells = append(row.cells, cell{absent: true})
	}
	if !row.cells[at].absent {
		return &rowError{column: key, err: userkit.NewError(userkit.CodeBadFormat, "", "the key stands twice in the object")}
	}
	row.cells[at] = jsonCell(value)
	return nil
}

// notObject returns the error about a line that is not one JSON object; cause may be nil.
func notObject(cause error) *rowError {
	return &rowError{err: userkit.NewError(userkit.CodeBadFormat, "", "the line is not one JSON object").Because(cause)}
}

// jsonCell makes a cell of a decoded value.
func jsonCell(value any) cell {
	switch value := jsonvalue.Plain(value).(type) {
	case nil:
		return cell{}
	case string:
		return cell{text: value, exact: true}
	case bool:
		return cell{text: strconv.FormatBool(value), value: value}
	case int64:
		return cell{text: strconv.FormatInt(value, 10), value: value}
	case float64:
		return cell{text: strconv.FormatFloat(value, 'f', -1, 64), value: value}
	case json.Number: // beyond float64
		return cell{text: value.String(), value: value}
	default:
		return cell{text: string(jsonvalue.Append(nil, value)), value: value}
	}
}

// read reads the next line that is not blank.
func (r *ndjsonReader) read() ([]byte, error) {
	if r.free {
		return r.readFree()
	}
	for {
		r.line = r.line[:0]
		r.number++
		var err error
		for {
			var part []byte
			part, err = r.from.ReadSlice('\n')
			if len(r.line)+len(part) > MaxRowBytes+1 { // and the line break
				return nil, errRowTooLong(r.number)
			}
			r.line = append(r.line, part...)
			if !errors.Is(err, bufio.ErrBufferFull) {
				break
			}
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if line := bytes.TrimSpace(r.line); len(line) > 0 {
			return line, nil
		}
		if err != nil {
			return nil, io.EOF
		}
	}
}
