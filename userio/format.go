package userio

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync/atomic"

	"github.com/userkit/userkit"
)

// Format is a format of files.
type Format string

// The formats, named by the extensions of their files.
const (
	CSV    Format = "csv"    // RFC 4180, UTF-8
	XLSX   Format = "xlsx"   // a workbook of Office Open XML (ECMA-376)
	NDJSON Format = "ndjson" // one JSON object per line; Import also reads a JSON array, and objects over several lines
)

// ContentType returns the media type of the format, for an HTTP response. It is empty for an
// unknown format.
func (f Format) ContentType() string {
	switch f {
	case CSV:
		return "text/csv; charset=utf-8; header=present"
	case XLSX:
		return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	case NDJSON:
		return "application/x-ndjson"
	}
	return ""
}

func errFormat(format Format) error {
	return userkit.NewError(userkit.CodeUnknownValue, "format", "%q is not csv, xlsx or ndjson", clip(string(format)))
}

// Progress is the progress of an export or an import.
type Progress struct {
	Rows  int64 `json:"rows"`  // processed, without the headings
	Bytes int64 `json:"bytes"` // of the file, written or read
}

// checkComma checks a separator of values; 0 leaves it to the caller's default.
func checkComma(comma rune) error {
	if comma != 0 && comma != '\t' && (comma < ' ' || comma > '~' || comma == '"') {
		return userkit.NewError(userkit.CodeBadFormat, "comma", "%q cannot separate values", comma)
	}
	return nil
}

// The bytes with which workbooks begin.
const (
	zipStart         = "PK\x03\x04"
	oldWorkbookStart = "\xD0\xCF\x11\xE0" // and what is encrypted
)

// startsWorkbook reports whether a file begins as a workbook, for which the encoding of a text does
// not matter.
func startsWorkbook(from *bufio.Reader) bool {
	start, _ := from.Peek(len(zipStart)) // an error shows again when the file is read
	return string(start) == zipStart || string(start) == oldWorkbookStart
}

// detect returns the format of a file, which it recognizes by the beginning.
func detect(from *bufio.Reader) (Format, error) {
	start, err := from.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	switch {
	case bytes.HasPrefix(start, []byte(zipStart)):
		return XLSX, nil
	case bytes.HasPrefix(start, []byte(oldWorkbookStart)):
		return "", userkit.NewError(userkit.CodeBadFormat, "format", "a workbook of the old kind (.xls) or an encrypted one; save it as .xlsx")
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(start, []byte(byteOrderMark)), " \t\r\n")
	if bytes.HasPrefix(text, []byte("{")) || startsList(text) {
		return NDJSON, nil
	}
	return CSV, nil
}

// openTable opens a table to read it.
func openTable(from *countingReader, options *ImportOptions) (tableReader, error) {
	if err := checkComma(options.Comma); err != nil {
		return nil, err
	}
	named, err := encodingOf(options.Encoding)
	if err != nil {
		return nil, err
	}
	file, isFile := from.from.(file)
	var start int64
	if isFile {
		var err error
		start, err = file.Seek(0, io.SeekCurrent)
		isFile = err == nil // a pipe is a file that has no places
	}
	buffered := bufio.NewReaderSize(from, 64<<10)
	format := options.Format
	if format != XLSX && (format != "" || !startsWorkbook(buffered)) {
		if buffered, err = decoded(buffered, named); err != nil {
			return nil, err
		}
	}
	if format == "" {
		if format, err = detect(buffered); err != nil {
			return nil, err
		}
	}
	switch format {
	case CSV:
		return newCSVReader(buffered, byte(options.Comma), options.ReadOn)
	case XLSX:
		if !isFile {
			return newXLSXReader(buffered)
		}
		if _, err := file.Seek(start, io.SeekStart); err != nil {
			return nil, err
		}
		from.count.Store(0)
		return newXLSXReader(countingFile{from, file})
	case NDJSON:
		return newNDJSONReader(buffered, options.paths())
	}
	return nil, errFormat(format)
}

// formatOf returns the format that a table is read from.
func formatOf(reader tableReader) Format {
	switch reader.(type) {
	case *csvReader:
		return CSV
	case *ndjsonReader:
		return NDJSON
	}
	return XLSX
}

// countingReader counts the bytes that are read through it.
type countingReader struct {
	from  io.Reader
	count atomic.Int64
}

func (r *countingReader) Read(to []byte) (int, error) {
	count, err := r.from.Read(to)
	r.count.Add(int64(count))
	return count, err
}

// file is a file from which a workbook is read in place; other readers are copied first.
type file interface {
	io.ReaderAt
	io.Seeker
}

// countingFile counts the bytes that are read from a file, also by ReadAt.
type countingFile struct {
	*countingReader
	file
}

func (f countingFile) ReadAt(to []byte, offset int64) (int, error) {
	count, err := f.file.ReadAt(to, offset)
	f.count.Add(int64(count))
	return count, err
}

// countingWriter counts the bytes that are written through it.
type countingWriter struct {
	to    io.Writer
	count atomic.Int64
}

func (w *countingWriter) Write(data []byte) (int, error) {
	count, err := w.to.Write(data)
	w.count.Add(int64(count))
	return count, err
}
