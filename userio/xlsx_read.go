package userio

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/userkit/userkit"
)

const (
	xlsxSheetColumns = 16_384
	xlsxMaxSheets    = 1000
	xlsxMaxStyles    = 65_536
)

// xlsxReader streams the rows of a workbook: whatever the size of a sheet, one row is in memory.
// (excelize, which writes workbooks here, keeps all small parts in memory, takes a damaged sheet
// for a complete one, and does not report whether a formula has a cached result.)
//
// The headings are the first row that is not empty, of the first sheet that has one. Later sheets
// with the same headings continue it, as in exports of more users than fit on a sheet. For a sheet
// with other headings the first row is a *rowError and the rest is skipped. Hidden sheets, which
// contain what people are not meant to edit, are skipped silently.
//
// In merged cells, the first one has the value and the others are empty. The value of a formula is
// the one that the program that saved the workbook has stored with it; nothing is calculated here.
// LibreOffice writes each truth value as a formula.
type xlsxReader struct {
	archive *xlsxArchive
	texts   *xlsxTexts
	styles  []xlsxFormat
	epoch   time.Time

	sheets   []xlsxSheet // still to be read
	first    string      // the name of the sheet of the headings
	name     string      // of the sheet that is being read
	part     *xlsxPart   // of that sheet; nil between two sheets
	number   int64       // of the row that was read last
	headings []string
}

type xlsxSheet struct{ name, part string }

// newXLSXReader opens a workbook and reads its headings.
func newXLSXReader(from io.Reader) (tableReader, error) {
	archive, err := openXLSXArchive(from)
	if err != nil {
		return nil, err
	}
	r := &xlsxReader{archive: archive, texts: &xlsxTexts{}, epoch: xlsxEpoch1900}
	if err := r.open(); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *xlsxReader) open() error {
	if err := r.workbook(); err != nil {
		return err
	}
	for {
		cells, err := r.firstRow()
		if wrong, ok := errors.AsType[*rowError](err); ok {
			return wrong.err
		}
		if err != nil {
			return err
		}
		if len(cells) > 0 {
			r.first, r.headings = r.name, cells
			return nil
		}
	}
}

// workbook reads everything but the sheets.
func (r *xlsxReader) workbook() error {
	name := "xl/workbook.xml"
	roots, err := r.archive.relations("")
	if err != nil {
		return err
	}
	for _, root := range roots {
		if root.kind == "officeDocument" {
			name = root.target
		}
	}
	if strings.HasSuffix(strings.ToLower(name), ".bin") {
		return errNotXLSX("a binary workbook (.xlsb): save it as .xlsx")
	}
	if r.archive.parts[strings.ToLower(name)] == nil {
		return errNotXLSX("the file is not an XLSX workbook: it has no part %q", clip(name))
	}
	relations, err := r.archive.relations(name)
	if err != nil {
		return err
	}
	err = r.archive.visit(name, func(element xml.StartElement) error {
		switch element.Name.Local {
		case "workbookPr":
			if date1904 := attribute(element, "date1904"); date1904 == "1" || date1904 == "true" {
				r.epoch = xlsxEpoch1904
			}
		case "sheet":
			relation := relations[attribute(element, "id")]
			if state := attribute(element, "state"); relation.kind != "worksheet" || state != "" && state != "visible" {
				return nil
			}
			if len(r.sheets) == xlsxMaxSheets {
				return errNotXLSX("the workbook has more than %d sheets", xlsxMaxSheets)
			}
			r.sheets = append(r.sheets, xlsxSheet{name: attribute(element, "name"), part: relation.target})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, relation := range relations {
		switch relation.kind {
		case "styles":
			err = r.readStyles(relation.target)
		case "sharedStrings":
			var texts *xlsxTexts
			if texts, err = readXLSXTexts(r.archive, relation.target); err == nil {
				err = errors.Join(r.texts.close())
				r.texts = texts
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readStyles reads the meaning of the cells' number formats.
func (r *xlsxReader) readStyles(name string) error {
	custom := map[int]xlsxFormat{}
	inside := false // of cellXfs, which the cells count into
	return r.archive.visit(name, func(element xml.StartElement) error {
		id, _ := strconv.Atoi(attribute(element, "numFmtId"))
		switch element.Name.Local {
		case "numFmt":
			custom[id] = xlsxFormatOf(attribute(element, "formatCode"))
		case "cellXfs":
			inside = true
		case "cellStyles", "cellStyleXfs", "dxfs":
			inside = false
		case "xf":
			if !inside {
				return nil
			}
			format, ok := custom[id]
			if !ok {
				format = xlsxFormat{kind: xlsxBuiltinKind(id)}
			}
			r.styles = append(r.styles, format)
		}
		if len(r.styles) > xlsxMaxStyles || len(custom) > xlsxMaxStyles {
			return errNotXLSX("the workbook has more than %d cell formats", xlsxMaxStyles)
		}
		return nil
	})
}

func (r *xlsxReader) columns() []string { return r.headings }

// firstRow opens the next sheet and returns the texts of its first row that is not empty, or nil
// for an empty sheet. If there is no further sheet, it returns errEmptyFile.
func (r *xlsxReader) firstRow() ([]string, error) {
	if len(r.sheets) == 0 {
		return nil, errEmptyFile()
	}
	sheet := r.sheets[0]
	r.sheets = r.sheets[1:]
	part, err := r.archive.open(sheet.part)
	if err != nil {
		return nil, err
	}
	if part == nil {
		return nil, errNotXLSX("sheet %q of the workbook is missing", clip(sheet.name))
	}
	r.part, r.name, r.number = part, sheet.name, 0
	var row tableRow
	err = r.sheetRow(&row, MaxColumns)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(row.cells))
	for i, cell := range row.cells {
		texts[i] = cell.text
	}
	return texts, nil
}

func (r *xlsxReader) next(row *tableRow) error {
	for {
		if r.part != nil {
			err := r.sheetRow(row, len(r.headings))
			if !errors.Is(err, io.EOF) {
				return err
			}
		}
		if len(r.sheets) == 0 {
			return io.EOF
		}
		headings, err := r.firstRow()
		if err != nil && !isRowError(err) {
			return err
		}
		if err == nil && (headings == nil || slices.Equal(headings, r.headings)) {
			continue
		}
		row.sheet, row.number, row.cells, row.cut = r.name, r.number, row.cells[:0], 0
		if err := r.closeSheet(); err != nil {
			return err
		}
		return &rowError{err: errNotXLSX("sheet %q has other headings than sheet %q and is not read", clip(r.name), clip(r.first))}
	}
}

func isRowError(err error) bool {
	_, ok := errors.AsType[*rowError](err)
	return ok
}

func (r *xlsxReader) closeSheet() error {
	if r.part == nil {
		return nil
	}
	part := r.part
	r.part = nil
	return part.close()
}

func (r *xlsxReader) close() error {
	return errors.Join(r.closeSheet(), r.texts.close(), r.archive.close())
}

// sheetRow reads the next row of the sheet that is not empty, of at most the given number of
// columns, and pads it to len(r.headings). At the end of a complete sheet, it closes the sheet and
// returns io.EOF.
func (r *xlsxReader) sheetRow(row *tableRow, columns int) error {
	for {
		token, err := r.part.token()
		if errors.Is(err, io.EOF) {
			return errors.Join(r.closeSheet(), io.EOF)
		}
		if err != nil {
			return err
		}
		element, ok := token.(xml.StartElement)
		// <worksheet><sheetData><row>
		if !ok || r.part.depth != 3 || element.Name.Local != "row" {
			continue
		}
		row.cells, row.cut = row.cells[:0], 0
		budget := r.archive.budget
		err = r.cells(row, element, columns)
		if err != nil && !isRowError(err) {
			return err
		}
		if err == nil && len(row.cells) == 0 {
			continue
		}
		r.archive.budget = max(r.archive.budget, budget-xlsxRowBytes)
		for len(row.cells) < len(r.headings) {
			row.cells = append(row.cells, cell{})
		}
		return err
	}
}

// cells reads the cells of a row, up to the last one that is not empty.
func (r *xlsxReader) cells(row *tableRow, element xml.StartElement, columns int) error {
	number := r.number + 1
	if text := attribute(element, "r"); text != "" {
		var err error
		if number, err = strconv.ParseInt(text, 10, 64); err != nil || number <= r.number {
			return errNotXLSX("row %q follows row %d of sheet %q", clip(text), r.number, clip(r.name))
		}
	}
	if number > xlsxSheetRows {
		return errNotXLSX("sheet %q has more than %d rows", clip(r.name), xlsxSheetRows)
	}
	r.number, row.number, row.sheet = number, number, ""
	if r.name != r.first {
		row.sheet = r.name
	}

	var wrong *rowError // the first one
	fault := func(column int, err *userkit.Error) {
		if wrong == nil {
			wrong = &rowError{err: err}
			if column < len(r.headings) {
				wrong.column = r.headings[column]
			}
		}
	}
	column, size := -1, 0
	for {
		element, ok, err := r.part.child(3)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if element.Name.Local != "c" {
			continue
		}
		at := column + 1
		if reference := attribute(element, "r"); reference != "" {
			if at, ok = xlsxColumn(reference); !ok || at <= column {
				return errNotXLSX("cell %q in row %d of sheet %q is out of place", clip(reference), number, clip(r.name))
			}
		}
		if column = at; column >= xlsxSheetColumns {
			return errTooManyColumns()
		}
		value, problem, err := r.cell(element)
		if err != nil {
			return err
		}
		where := func() string {
			return fmt.Sprintf("cell %s%d of sheet %q", xlsxColumnName(column), number, clip(r.name))
		}
		switch {
		case problem != "":
			fault(column, userkit.NewError(userkit.CodeBadFormat, "", "%s %s", where(), problem))
			continue
		case value.empty():
			continue
		case column >= MaxColumns:
			return errTooManyColumns()
		case column >= columns:
			fault(column, userkit.NewError(userkit.CodeBadFormat, "", "%s has no heading", where()))
			continue
		}
		if size += len(value.text); size > MaxRowBytes {
			fault(len(r.headings), errRowTooLong(number))
			continue
		}
		if cutByExport(value.text) {
			value = cell{absent: true} // what is left of it must not replace the whole
			row.cut++
		}
		for len(row.cells) < column {
			row.cells = append(row.cells, cell{})
		}
		row.cells = append(row.cells, value)
	}
	if wrong != nil {
		return wrong
	}
	return nil
}

// cell reads a cell. problem describes what is wrong with it.
func (r *xlsxReader) cell(element xml.StartElement) (value cell, problem string, err error) {
	kind, style := attribute(element, "t"), attribute(element, "s")
	formula, cached := false, false
	var text, inline string
	for {
		child, ok, err := r.part.child(4)
		if err != nil {
			return cell{}, "", err
		}
		if !ok {
			break
		}
		switch child.Name.Local {
		case "f":
			formula = true
		case "v":
			cached = true
			text, err = r.part.text()
		case "is":
			inline, err = r.part.richText()
		}
		if err != nil {
			return cell{}, "", err
		}
	}
	switch {
	case formula && (!cached || kind != "str" && strings.TrimSpace(text) == ""):
		return cell{}, "holds a formula without the value that it had: put its value in its place", nil
	case kind == "inlineStr":
		return restoreWord(inline), "", nil
	case kind == "str":
		return cell{text: xlsxUnescape(text)}, "", nil
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return cell{}, "", nil
	}
	switch kind {
	case "s":
		number, err := strconv.Atoi(text)
		shared, ok, readErr := r.texts.text(number)
		if readErr != nil {
			return cell{}, "", readErr
		}
		if err != nil || !ok {
			return cell{}, "refers to a text that the workbook does not have", nil
		}
		return restoreWord(shared), "", nil
	case "b":
		switch text {
		case "1", "true":
			return cell{text: "true", value: true}, "", nil
		case "0", "false":
			return cell{text: "false", value: false}, "", nil
		}
		return cell{}, "is neither true nor false", nil
	case "e":
		return cell{}, "holds the error " + clip(text), nil
	case "d":
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02"} {
			if t, err := time.Parse(layout, text); err == nil {
				return timeCell(t.UTC()), "", nil
			}
		}
		return cell{}, "holds an invalid date", nil
	case "", "n":
		return r.numberCell(text, style)
	}
	return cell{}, fmt.Sprintf("is of the unknown type %q", clip(kind)), nil
}

// numberCell reads a number, whose style may say that it is a time.
func (r *xlsxReader) numberCell(text, style string) (cell, string, error) {
	var format xlsxFormat
	if i, err := strconv.Atoi(style); err == nil && 0 <= i && i < len(r.styles) {
		format = r.styles[i]
	}
	if whole, err := strconv.ParseInt(text, 10, 64); err == nil && format.kind == xlsxPlain {
		return format.wholeCell(whole), "", nil
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.ContainsAny(text, "xXpP_iInN") {
		return cell{}, "holds an invalid number", nil
	}
	switch format.kind {
	case xlsxTime:
		t, ok := parseXLSXSerial(text, r.epoch)
		if !ok {
			return cell{}, "holds a time without a date, or a date before March 1900 or behind the year 9999", nil
		}
		return timeCell(t), "", nil
	case xlsxSpan:
		span := math.Round(number * 86400e3)
		if math.Abs(span) >= math.MaxInt64/1e6 {
			return cell{}, "holds a span of time of more than 292 years", nil
		}
		return cell{text: userkit.Duration(time.Duration(span) * time.Millisecond).String()}, "", nil
	}
	if number == math.Trunc(number) && math.Abs(number) < 1<<63 {
		return format.wholeCell(int64(number)), "", nil
	}
	return cell{text: strconv.FormatFloat(number, 'f', -1, 64), value: number}, "", nil
}

// wholeCell returns the cell of a whole number, as a text if the format pads it with zeros.
func (f xlsxFormat) wholeCell(whole int64) cell {
	if f.digits > 0 && whole >= 0 {
		return cell{text: fmt.Sprintf("%0*d", f.digits, whole)}
	}
	return cell{text: strconv.FormatInt(whole, 10), value: whole}
}

func timeCell(t time.Time) cell { return cell{text: formatTime(t), value: t} }

// text reads the text of the open element up to its end.
func (p *xlsxPart) text() (string, error) {
	var text []byte
	for depth := p.depth; p.depth >= depth; {
		token, err := p.token()
		if err != nil {
			return "", err
		}
		if data, ok := token.(xml.CharData); ok && p.depth == depth {
			if text = append(text, data...); len(text) > MaxRowBytes {
				return "", p.tooLong()
			}
		}
	}
	return string(text), nil
}

// richText reads the text of the open element up to its end: one text, or several runs with
// different formats. Phonetic hints are not a part of it.
func (p *xlsxPart) richText() (string, error) {
	text, err := p.appendRichText(nil)
	return string(text), err
}

func (p *xlsxPart) appendRichText(text []byte) ([]byte, error) {
	depth := p.depth
	for {
		element, ok, err := p.child(depth)
		if err != nil || !ok {
			return text, err
		}
		switch element.Name.Local {
		case "t":
			var piece string
			piece, err = p.text()
			text = append(text, xlsxUnescape(piece)...)
		case "r":
			text, err = p.appendRichText(text)
		}
		if err != nil {
			return nil, err
		}
		if len(text) > MaxRowBytes {
			return nil, p.tooLong()
		}
	}
}

// xlsxUnescape reads the escapes _xHHHH_ of characters that XML cannot hold; see
// xlsxEscape.
func xlsxUnescape(text string) string {
	if !strings.Contains(text, "_x") {
		return text
	}
	var plain strings.Builder
	var units []uint16 // of escapes side by side, which may be a pair
	for {
		unit, ok := uint64(0), false
		if len(text) >= 7 && text[0] == '_' && text[1] == 'x' && text[6] == '_' {
			var err error
			unit, err = strconv.ParseUint(text[2:6], 16, 16)
			ok = err == nil
		}
		if ok {
			units, text = append(units, uint16(unit)), text[7:]
			continue
		}
		plain.WriteString(string(utf16.Decode(units)))
		units = units[:0]
		if text == "" {
			return plain.String()
		}
		end := strings.IndexByte(text[1:], '_') + 1
		if end == 0 {
			end = len(text)
		}
		plain.WriteString(text[:end])
		text = text[end:]
	}
}

// xlsxColumn returns the number from 0 of the column of a cell such as B7 or $B$7.
func xlsxColumn(reference string) (int, bool) {
	letters := strings.TrimRight(strings.ReplaceAll(reference, "$", ""), "0123456789")
	column := 0
	for _, c := range []byte(letters) {
		if c |= 0x20; c < 'a' || c > 'z' || column > xlsxSheetColumns {
			return 0, false
		}
		column = column*26 + int(c-'a') + 1
	}
	return column - 1, column > 0
}

// xlsxColumnName returns the letters of a column by its number from 0.
func xlsxColumnName(column int) string {
	name := ""
	for column++; column > 0; column = (column - 1) / 26 {
		name = string(rune('A'+(column-1)%26)) + name
	}
	return name
}
