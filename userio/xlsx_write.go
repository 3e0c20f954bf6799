package userio

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/userkit/userkit"
	"github.com/xuri/excelize/v2"
)

// The limits of a sheet and a cell. They are those of the format, except xlsxSheetBytes: a part of
// 4 GiB or more needs extensions of ZIP that spreadsheets do not open.
const (
	xlsxSheetRows  = 1_048_576
	xlsxCellChars  = 32_767 // UTF-16 units
	xlsxSheetBytes = 3 << 30
	xlsxExactBelow = 1e15 // a spreadsheet shows 15 digits of a number
)

// xlsxPieceBytes is how many bytes of a sheet excelize is given at a time.
const xlsxPieceBytes = 1 << 20

// xlsxWriter streams a workbook, in bounded memory and without temporary files. excelize can do
// neither: its stream writer collects a sheet in memory and then in a file, and it builds the whole
// archive in memory before it writes any of it. So it is given one piece of a sheet at a time, each
// in a workbook of its own, and the pieces are joined here, in the archive.
type xlsxWriter struct {
	out      *zip.Writer
	columns  []string
	report   func(CutCell) // is told of a text that was cut
	rowLimit int           // of a sheet

	sheets     int       // begun
	part       io.Writer // of the sheet, in the archive
	rows       int       // in the sheet
	sheetBytes int64     // in the sheet, about
	end        []byte    // of the sheet, as the last piece has it

	piece      *xlsxBook // nil: none is begun
	rowsOf     *excelize.StreamWriter
	pieceBytes int64 // in the piece, about
	cells      []any
}

// xlsxBook is a workbook of excelize with the styles of the cells.
type xlsxBook struct {
	*excelize.File
	headingStyle, timeStyle int
}

func newXLSXBook() (*xlsxBook, error) {
	book := &xlsxBook{File: excelize.NewFile()}
	format := "yyyy-mm-dd hh:mm:ss"
	var err error
	if book.headingStyle, err = book.NewStyle(&excelize.Style{Font: &excelize.Font{Bold: true}}); err != nil {
		return nil, err
	}
	if book.timeStyle, err = book.NewStyle(&excelize.Style{CustomNumFmt: &format}); err != nil {
		return nil, err
	}
	return book, nil
}

// newXLSXWriter begins a workbook with the sheet "Users"; when that is full, "Users 2" and so on
// follow.
func newXLSXWriter(to io.Writer, columns []string, cut func(CutCell)) (tableWriter, error) {
	w, err := newXLSXSheets(to, columns, xlsxSheetRows, cut)
	if err != nil {
		return nil, err
	}
	return w, nil
}

func newXLSXSheets(to io.Writer, columns []string, rowLimit int, cut func(CutCell)) (*xlsxWriter, error) {
	if len(columns) > MaxColumns {
		return nil, errTooManyColumns()
	}
	w := &xlsxWriter{
		out:      zip.NewWriter(to),
		columns:  append([]string(nil), columns...),
		report:   cut,
		rowLimit: rowLimit,
		cells:    make([]any, len(columns)),
	}
	if err := w.beginSheet(); err != nil {
		w.discard()
		return nil, err
	}
	return w, nil
}

func xlsxSheetName(number int) string {
	if number == 1 {
		return "Users"
	}
	return "Users " + strconv.Itoa(number)
}

// beginSheet begins a sheet with its headings.
func (w *xlsxWriter) beginSheet() (err error) {
	w.sheets++
	w.rows, w.sheetBytes = 0, 0
	if w.part, err = w.out.Create("xl/worksheets/sheet" + strconv.Itoa(w.sheets) + ".xml"); err != nil {
		return err
	}
	if err := w.beginPiece(); err != nil {
		return err
	}
	for i, column := range w.columns {
		if err := w.rowsOf.SetColWidth(i+1, i+1, xlsxColumnWidth(column)); err != nil {
			return err
		}
	}
	if err := w.rowsOf.SetPanes(&excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}); err != nil {
		return err
	}
	for i, column := range w.columns {
		text, err := w.text(column, column)
		if err != nil {
			return err
		}
		w.cells[i] = excelize.Cell{StyleID: w.piece.headingStyle, Value: text}
	}
	return w.setRow()
}

func (w *xlsxWriter) beginPiece() (err error) {
	if w.piece, err = newXLSXBook(); err != nil {
		return err
	}
	w.pieceBytes = 0
	w.rowsOf, err = w.piece.NewStreamWriter("Sheet1")
	return err
}

// xlsxColumnWidth returns the width of a column in characters.
func xlsxColumnWidth(column string) float64 {
	width := 20.0
	if field, ok := userkit.UserField(column); ok {
		switch field.Kind {
		case userkit.KindID:
			width = 38
		case userkit.KindText:
			width = 26
		case userkit.KindJSON:
			width = 40
		case userkit.KindBool, userkit.KindCode, userkit.KindInteger, userkit.KindSpan:
			width = 14
		}
	}
	return max(width, float64(min(len(column)+2, 40)))
}

func (w *xlsxWriter) row(values []any) error {
	if w.rows == w.rowLimit || w.sheetBytes > xlsxSheetBytes {
		if err := w.endSheet(); err != nil {
			return err
		}
		if err := w.beginSheet(); err != nil {
			return err
		}
	}
	if w.pieceBytes > xlsxPieceBytes {
		if err := w.endPiece(); err != nil {
			return err
		}
		if err := w.beginPiece(); err != nil {
			return err
		}
	}
	for i, value := range values {
		cell, err := w.cell(w.columns[i], value)
		if err != nil {
			return err
		}
		w.cells[i] = cell
	}
	return w.setRow()
}

// cell returns a value in the form that excelize takes. A value that a spreadsheet would change is
// a text: a whole number of more than 15 digits, and a time that a number of days cannot express.
func (w *xlsxWriter) cell(column string, value any) (any, error) {
	w.pieceBytes += 80
	switch value := value.(type) {
	case nil:
		return nil, nil
	case bool:
		return value, nil
	case float64:
		return value, nil
	case int64:
		if -xlsxExactBelow < value && value < xlsxExactBelow {
			return value, nil
		}
	case time.Time:
		if serial, ok := xlsxSerial(value); ok {
			return excelize.Cell{StyleID: w.piece.timeStyle, Value: serial}, nil
		}
	case string:
		if strings.HasPrefix(column, attributePrefix) {
			value = userkit.FormatAttribute(value)
		}
		return w.text(column, markWord(value))
	}
	return w.text(column, formatValue(value))
}

// text returns a text in a form that excelize writes unchanged; it would silently cut other texts
// or put U+FFFD into them.
func (w *xlsxWriter) text(column, text string) (any, error) {
	if text == "" {
		return nil, nil
	}
	if strings.ContainsFunc(text, xlsxMarked) {
		text = xlsxMark(text)
	}
	units := 0
	for _, r := range text {
		units++
		switch {
		case r > 0xFFFF:
			units++
		case r < ' ' || r == '"' || r == '&' || r == '\'' || r == '<' || r == '>':
			w.pieceBytes += 5
		}
	}
	if !utf8.ValidString(text) {
		return nil, userkit.NewError(userkit.CodeBadText, column, "row %d of sheet %q is not valid UTF-8", w.rows+1, xlsxSheetName(w.sheets))
	}
	if units > xlsxCellChars {
		text = w.cut(column, text)
	}
	w.pieceBytes += int64(len(text))
	return text, nil
}

// cut cuts a text that a cell cannot hold, and reports it.
func (w *xlsxWriter) cut(column, text string) string {
	w.report(CutCell{Sheet: xlsxSheetName(w.sheets), Row: int64(w.rows) + 1, Column: column})
	units := xlsxCellChars - len(utf16.Encode([]rune(xlsxCutMark)))
	for at, r := range text {
		if units -= utf16.RuneLen(r); units < 0 {
			return text[:at] + xlsxCutMark
		}
	}
	return text
}

// xlsxCutMark ends a text that was cut.
const xlsxCutMark = "… [cut: a cell holds no more]"

// cutByExport reports whether a text was cut by cut: it ends with the mark and fills its cell,
// except for half of a character.
func cutByExport(text string) bool {
	return strings.HasSuffix(text, xlsxCutMark) && len(utf16.Encode([]rune(text))) >= xlsxCellChars-1
}

func (w *xlsxWriter) setRow() error {
	w.rows++
	return w.rowsOf.SetRow("A"+strconv.Itoa(w.rows), w.cells)
}

// endPiece writes the rows of the piece into the sheet, preceded for the first piece by what stands
// before the rows.
func (w *xlsxWriter) endPiece() error {
	if err := w.rowsOf.Flush(); err != nil {
		return err
	}
	w.sheetBytes += w.pieceBytes
	var sheet bytes.Buffer
	err := w.piece.writeParts(func(name string) (io.Writer, error) {
		if name == "xl/worksheets/sheet1.xml" {
			return &sheet, nil
		}
		return io.Discard, nil
	})
	if err = errors.Join(err, w.close()); err != nil {
		return err
	}
	const begin = "<sheetData>"
	data := sheet.Bytes()
	first, last := bytes.Index(data, []byte(begin)), bytes.LastIndex(data, []byte("</sheetData>"))
	if first < 0 || last < first {
		return errors.New("userio: a sheet without rows from excelize")
	}
	from := 0
	if w.end != nil {
		from = first + len(begin)
	}
	w.end = append(w.end[:0], data[last:]...)
	return xlsxUnmark(w.part, data[from:last])
}

// endSheet ends the sheet and its last piece.
func (w *xlsxWriter) endSheet() error {
	if err := w.endPiece(); err != nil {
		return err
	}
	_, err := w.part.Write(w.end)
	w.end = nil
	return err
}

// finish writes the rest of the last sheet, and the parts that are not sheets.
func (w *xlsxWriter) finish() error {
	if err := w.endSheet(); err != nil {
		return err
	}
	book, err := newXLSXBook()
	if err != nil {
		return err
	}
	w.piece = book
	if err := book.SetDocProps(&excelize.DocProperties{Creator: "userkit"}); err != nil {
		return err
	}
	if err := book.SetSheetName("Sheet1", xlsxSheetName(1)); err != nil {
		return err
	}
	for number := 2; number <= w.sheets; number++ {
		if _, err := book.NewSheet(xlsxSheetName(number)); err != nil {
			return err
		}
	}
	err = book.writeParts(func(name string) (io.Writer, error) {
		if strings.HasPrefix(name, "xl/worksheets/") {
			return io.Discard, nil
		}
		return w.out.Create(name)
	})
	if err = errors.Join(err, w.close()); err != nil {
		return err
	}
	return w.out.Close()
}

func (w *xlsxWriter) discard() { _ = w.close() }

// close releases what excelize holds.
func (w *xlsxWriter) close() error {
	if w.piece == nil {
		return nil
	}
	book := w.piece
	w.piece = nil
	return book.Close()
}

// writeParts writes the parts of a workbook to the writers that create returns.
func (b *xlsxBook) writeParts(create func(name string) (io.Writer, error)) error {
	b.SetZipWriter(func(io.Writer) excelize.ZipWriter { return xlsxParts(create) })
	return b.Write(io.Discard)
}

// xlsxParts takes the place of the ZIP that excelize would write.
type xlsxParts func(name string) (io.Writer, error)

// Create begins a part.
func (p xlsxParts) Create(name string) (io.Writer, error) { return p(name) }

// AddFS is a call that excelize does not make.
func (xlsxParts) AddFS(fs.FS) error { return errors.ErrUnsupported }

// Close has nothing to close.
func (xlsxParts) Close() error { return nil }

// Characters that are not allowed in XML are written in XLSX as _xHHHH_, a UTF-16 unit in
// hexadecimal digits, and the first character of a text that looks like this is escaped in the same
// way. excelize does the latter for every text, so the former are passed through it as xlsxEscape
// and the four digits, and are corrected afterwards.
const xlsxEscape = '\U0010FFFD'

// xlsxMarked reports whether a character is not allowed in XML or is the mark.
func xlsxMarked(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF || r == xlsxEscape
}

// xlsxMark replaces the characters that xlsxMarked reports with marks.
func xlsxMark(text string) string {
	var marked strings.Builder
	for _, r := range text {
		switch {
		case r == xlsxEscape:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&marked, "%c%04X%c%04X", xlsxEscape, high, xlsxEscape, low)
		case xlsxMarked(r):
			fmt.Fprintf(&marked, "%c%04X", xlsxEscape, r)
		default:
			marked.WriteRune(r)
		}
	}
	return marked.String()
}

// xlsxUnmark writes a piece of XML with escapes in place of the marks.
func xlsxUnmark(to io.Writer, data []byte) error {
	const mark = string(xlsxEscape)
	for {
		at := bytes.Index(data, []byte(mark))
		if at < 0 {
			_, err := to.Write(data)
			return err
		}
		digits := at + len(mark)
		if _, err := fmt.Fprintf(to, "%s_x%s_", data[:at], data[digits:digits+4]); err != nil {
			return err
		}
		data = data[digits+4:]
	}
}
