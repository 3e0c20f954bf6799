package userio

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/xuri/excelize/v2"
	"pgregory.net/rapid"

	"github.com/userkit/userkit"
)

const (
	mainNamespace   = `xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"`
	officeNamespace = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
)

// workbookParts returns the parts of a workbook of the sheets Sheet1, Sheet2, … whose
// sheetData holds what is given.
func workbookParts(sheets ...string) map[string]string {
	parts := map[string]string{
		"_rels/.rels": `<Relationships><Relationship Id="rId1" Type="` + officeNamespace + `/officeDocument" Target="xl/workbook.xml"/></Relationships>`,
		"xl/styles.xml": `<styleSheet ` + mainNamespace + `>
			<numFmts><numFmt numFmtId="164" formatCode="dd\.mm\.yyyy&quot; um &quot;hh:mm"/><numFmt numFmtId="165" formatCode="&quot;day&quot; 0.00 [$EUR-407];[Red]-0.00"/></numFmts>
			<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>
			<cellXfs><xf numFmtId="0"/><xf numFmtId="14"><alignment/></xf><xf numFmtId="164"/><xf numFmtId="165"/><xf numFmtId="46"/></cellXfs>
			<cellStyles><cellStyle name="Normal"/></cellStyles></styleSheet>`,
	}
	book := `<workbook ` + mainNamespace + ` xmlns:r="` + officeNamespace + `"><workbookPr/><sheets>`
	relations := `<Relationships>`
	for i, sheet := range sheets {
		number := strconv.Itoa(i + 1)
		parts["xl/worksheets/sheet"+number+".xml"] = `<?xml version="1.0" encoding="UTF-8"?><worksheet ` + mainNamespace + `><sheetData>` + sheet + `</sheetData></worksheet>`
		book += `<sheet name="Sheet` + number + `" sheetId="` + number + `" r:id="rId` + number + `"/>`
		relations += `<Relationship Id="rId` + number + `" Type="` + officeNamespace + `/worksheet" Target="worksheets/sheet` + number + `.xml"/>`
	}
	parts["xl/workbook.xml"] = book + `</sheets></workbook>`
	parts["xl/_rels/workbook.xml.rels"] = relations +
		`<Relationship Id="s1" Type="` + officeNamespace + `/styles" Target="/xl/styles.xml"/>` +
		`<Relationship Id="s2" Type="` + officeNamespace + `/sharedStrings" Target="sharedStrings.xml"/></Relationships>`
	return parts
}

func zipParts(t testing.TB, parts map[string]string) []byte {
	var file bytes.Buffer
	archive := zip.NewWriter(&file)
	for name, content := range parts {
		part, err := archive.Create(name)
		require.NoError(t, err)
		_, err = io.WriteString(part, content)
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	return file.Bytes()
}

func workbook(t testing.TB, sheets ...string) []byte { return zipParts(t, workbookParts(sheets...)) }

// inline returns a row of texts.
func inline(texts ...string) string {
	row := "<row>"
	for _, text := range texts {
		row += `<c t="inlineStr"><is><t>` + text + `</t></is></c>`
	}
	return row + "</row>"
}

// readAll reads a workbook; what went wrong with single rows stands where the
// row would.
func readAll(t testing.TB, file []byte) (headings []string, rows []string, err error) {
	t.Setenv("TMPDIR", t.TempDir())
	reader, err := newXLSXReader(bytes.NewReader(file))
	if err != nil {
		requireUserkitError(t, err)
		return nil, nil, err
	}
	headings = reader.columns()
	var row tableRow
	for {
		err = reader.next(&row)
		if errors.Is(err, io.EOF) {
			err = nil
			break
		}
		text := row.sheet + strconv.FormatInt(row.number, 10) + ":"
		if wrong, ok := errors.AsType[*rowError](err); ok {
			text += fmt.Sprintf(" %s! %s", wrong.column, wrong.err.Message)
		} else if err != nil {
			requireUserkitError(t, err)
			break
		} else {
			require.Len(t, row.cells, len(headings))
			for _, cell := range row.cells {
				text += fmt.Sprintf(" %s", cell.text)
				if cell.value != nil {
					text += fmt.Sprintf("(%T)", cell.value)
				}
			}
		}
		rows = append(rows, text)
	}
	require.NoError(t, reader.close())
	requireNoTemporaryFile(t)
	return headings, rows, err
}

func requireUserkitError(t testing.TB, err error) {
	require.NotEmpty(t, userkit.ErrorCode(err), "%v", err)
	require.ErrorIs(t, err, userkit.ErrInvalid)
	require.Less(t, len(err.Error()), 1000)
}

func requireNoTemporaryFile(t testing.TB) {
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func refused(t *testing.T, file []byte, code userkit.Code, message string) {
	t.Helper()
	_, _, err := readAll(t, file)
	require.ErrorContains(t, err, message)
	require.Equal(t, code, userkit.ErrorCode(err))
}

func TestXLSXReadsCellsAsWhatTheyAre(t *testing.T) {
	for name, test := range map[string]struct{ cell, want string }{
		"a text":                                 {`<c t="inlineStr"><is><t>a &amp; b</t></is></c>`, "a & b"},
		"spaces stay":                            {`<c t="inlineStr"><is><t xml:space="preserve"> a  b </t></is></c>`, " a  b "},
		"a text of many looks":                   {`<c t="inlineStr"><is><r><rPr><b/></rPr><t>A</t></r><r><t>da</t></r><rPh sb="0" eb="1"><t>no</t></rPh></is></c>`, "Ada"},
		"characters that XML cannot hold":        {`<c t="inlineStr"><is><t>a_x0001_b_xFFFE__x005F_x0041_ _x00_ _x</t></is></c>`, "a\x01b\uFFFE_x0041_ _x00_ _x"},
		"a pair of escaped surrogates":           {`<c t="inlineStr"><is><t>_xDBFF__xDFFD_</t></is></c>`, "\U0010FFFD"},
		"CDATA":                                  {`<c t="inlineStr"><is><t>a<![CDATA[<b>]]>c</t></is></c>`, "a<b>c"},
		"a text that looks like a formula":       {`<c t="inlineStr"><is><t>=1+1</t></is></c>`, "=1+1"},
		"a formula with its number":              {`<c><f>1+1</f><v>2</v></c>`, "2(int64)"},
		"a formula with its truth value":         {`<c t="b"><f aca="false">FALSE()</f><v>0</v></c>`, "false(bool)"},
		"a formula with its text":                {`<c t="str"><f>A1</f><v>x</v></c>`, "x"},
		"a shared text":                          {`<c t="s"><v>1</v></c>`, "two"},
		"a telephone number":                     {`<c><v>375291234567</v></c>`, "375291234567(int64)"},
		"a telephone number with an exponent":    {`<c t="n"><v>3.75291234567E11</v></c>`, "375291234567(int64)"},
		"whole numbers to the last digit":        {`<c><v>9007199254740993</v></c>`, "9007199254740993(int64)"},
		"a number beyond 64 bits":                {`<c><v>1E+20</v></c>`, "100000000000000000000(float64)"},
		"a fraction":                             {`<c><v>-1.25E-2</v></c>`, "-0.0125(float64)"},
		"a fraction of 17 digits":                {`<c><v>0.30000000000000004</v></c>`, "0.30000000000000004(float64)"},
		"true":                                   {`<c t="b"><v>1</v></c>`, "true(bool)"},
		"false":                                  {`<c t="b"><v>0</v></c>`, "false(bool)"},
		"a date":                                 {`<c s="1"><v>46024</v></c>`, "2026-01-02T00:00:00Z(time.Time)"},
		"a time of a format of its own":          {`<c s="2"><v>46024.75</v></c>`, "2026-01-02T18:00:00Z(time.Time)"},
		"a time of 15 digits":                    {`<c s="2"><v>46024.5242592593</v></c>`, "2026-01-02T12:34:56Z(time.Time)"},
		"a time to the microsecond":              {`<c s="2"><v>46024.524259260673</v></c>`, "2026-01-02T12:34:56.000122Z(time.Time)"},
		"a number whose format is no date":       {`<c s="3"><v>12.5</v></c>`, "12.5(float64)"},
		"a span":                                 {`<c s="4"><v>1.5</v></c>`, "36h"},
		"a style that is not there":              {`<c s="77"><v>46024</v></c>`, "46024(int64)"},
		"a date of ISO 8601":                     {`<c t="d"><v>2026-01-02T03:04:05</v></c>`, "2026-01-02T03:04:05Z(time.Time)"},
		"an absolute reference":                  {`<c r="$A$2"><v>1</v></c>`, "1(int64)"},
		"elements that nobody knows":             {`<c><v>1</v><extLst><ext><v>9</v></ext></extLst></c>`, "1(int64)"},
		"a formula without a result":             {`<c><f t="shared" si="0"/></c>`, `h! cell A2 of sheet "Sheet1" holds a formula without the value that it had: put its value in its place`},
		"a formula with an empty number":         {`<c><f>A1</f><v></v></c>`, `h! cell A2 of sheet "Sheet1" holds a formula without the value that it had: put its value in its place`},
		"a formula with an error":                {`<c t="e"><f>NA()</f><v>#N/A</v></c>`, `h! cell A2 of sheet "Sheet1" holds the error #N/A`},
		"an error":                               {`<c t="e"><v>#N/A</v></c>`, `h! cell A2 of sheet "Sheet1" holds the error #N/A`},
		"a truth value that is none":             {`<c t="b"><v>2</v></c>`, `h! cell A2 of sheet "Sheet1" is neither true nor false`},
		"a number that is none":                  {`<c><v>0x10</v></c>`, `h! cell A2 of sheet "Sheet1" holds an invalid number`},
		"infinity":                               {`<c><v>Infinity</v></c>`, `h! cell A2 of sheet "Sheet1" holds an invalid number`},
		"a number beyond 64-bit floats":          {`<c><v>1E999</v></c>`, `h! cell A2 of sheet "Sheet1" holds an invalid number`},
		"a date that is none":                    {`<c s="1"><v>-1</v></c>`, `h! cell A2 of sheet "Sheet1" holds a time without a date, or a date before March 1900 or behind the year 9999`},
		"a time of the day":                      {`<c s="2"><v>0.5</v></c>`, `h! cell A2 of sheet "Sheet1" holds a time without a date, or a date before March 1900 or behind the year 9999`},
		"a shared text that is not there":        {`<c t="s"><v>2</v></c>`, `h! cell A2 of sheet "Sheet1" refers to a text that the workbook does not have`},
		"a shared text of a number that is none": {`<c t="s"><v>-1</v></c>`, `h! cell A2 of sheet "Sheet1" refers to a text that the workbook does not have`},
		"a type that is none":                    {`<c t="zz"><v>1</v></c>`, `h! cell A2 of sheet "Sheet1" is of the unknown type "zz"`},
	} {
		t.Run(name, func(t *testing.T) {
			parts := workbookParts(inline("h") + "<row>" + test.cell + "</row>" + inline("next"))
			parts["xl/sharedStrings.xml"] = `<sst ` + mainNamespace + `><si><t>one</t></si><si><r><t>tw</t></r><r><t>o</t></r><phoneticPr/></si></sst>`
			headings, rows, err := readAll(t, zipParts(t, parts))
			require.NoError(t, err)
			require.Equal(t, []string{"h"}, headings)
			require.Equal(t, []string{"2: " + test.want, "3: next"}, rows, "the row behind it is read, whatever the cell is")
		})
	}
}

func TestXLSXReadsDatesInTheSystemOf1904(t *testing.T) {
	parts := workbookParts(inline("h") + `<row><c s="1"><v>44562</v></c></row>`)
	parts["xl/workbook.xml"] = strings.Replace(parts["xl/workbook.xml"], "<workbookPr/>", `<workbookPr date1904="1"/>`, 1)
	_, rows, err := readAll(t, zipParts(t, parts))
	require.NoError(t, err)
	require.Equal(t, []string{"2: 2026-01-02T00:00:00Z(time.Time)"}, rows)
}

func TestXLSXTellsFormatsOfTimes(t *testing.T) {
	for code, want := range map[string]xlsxNumberKind{
		"General": xlsxPlain, "0.00": xlsxPlain, "#,##0 [$USD]": xlsxPlain, `0 "days"`: xlsxPlain, `0\d`: xlsxPlain, "[Red]0": xlsxPlain, "0.00E+00": xlsxPlain, "@": xlsxPlain, `"`: xlsxPlain, "[": xlsxPlain, `\`: xlsxPlain, "[]": xlsxPlain, "[Magenta]0": xlsxPlain, "0;d": xlsxPlain,
		"yyyy-mm-dd": xlsxTime, "[$-409]D MMM": xlsxTime, "hh:mm AM/PM": xlsxTime, "[Red]ss.000": xlsxTime, `"h" d`: xlsxTime,
		"[h]:mm:ss": xlsxSpan, "[mm]:ss": xlsxSpan, "[SS]": xlsxSpan,
	} {
		require.Equal(t, want, xlsxFormatKind(code), "%q", code)
	}
}

func TestXLSXReadsWhatOtherProgramsWrite(t *testing.T) {
	t.Run("rows and cells without references, empty rows and cells, rows that only have a look", func(t *testing.T) {
		_, rows, err := readAll(t, workbook(t, `<row/><row r="3"><c s="1"/></row>`+inline("a", "b")+`<row/><row r="9"><c/><c><v>1</v></c></row><row><c t="inlineStr"><is><t></t></is></c></row>`))
		require.NoError(t, err)
		require.Equal(t, []string{"9:  1(int64)"}, rows)
	})
	t.Run("prefixes of namespaces, strict namespaces, backslashes, other names of parts", func(t *testing.T) {
		parts := workbookParts()
		parts[`_rels\.RELS`] = `<p:Relationships xmlns:p="u"><p:Relationship Id="a" Type="http://purl.oclc.org/ooxml/officeDocument/relationships/officeDocument" Target="/Book/Main.xml"/></p:Relationships>`
		delete(parts, "_rels/.rels")
		parts["book/main.XML"] = `<x:workbook xmlns:x="m" xmlns:r="r"><x:sheets><x:sheet name="Лист 用户" sheetId="1" r:id="q"/></x:sheets></x:workbook>`
		parts["book/_rels/main.xml.rels"] = `<Relationships><Relationship Id="q" Type="http://purl.oclc.org/ooxml/officeDocument/relationships/worksheet" Target="..\sheets\a.xml"/></Relationships>`
		parts["sheets/a.xml"] = `<x:worksheet xmlns:x="m"><x:sheetData><x:row r="1"><x:c r="A1" t="str"><x:v>h</x:v></x:c></x:row><x:row r="2"><x:c r="A2"><x:v>7</x:v></x:c></x:row></x:sheetData></x:worksheet>`
		_, rows, err := readAll(t, zipParts(t, parts))
		require.NoError(t, err)
		require.Equal(t, []string{"2: 7(int64)"}, rows)
	})
	t.Run("merged cells: the value is that of the first", func(t *testing.T) {
		parts := workbookParts(inline("a") + inline("x") + `<row><c/></row>` + inline("y"))
		name := "xl/worksheets/sheet1.xml"
		parts[name] = strings.Replace(parts[name], "</sheetData>", `</sheetData><mergeCells><mergeCell ref="A2:A3"/></mergeCells>`, 1)
		_, rows, err := readAll(t, zipParts(t, parts))
		require.NoError(t, err)
		require.Equal(t, []string{"2: x", "4: y"}, rows)
	})
	t.Run("what excelize writes cell by cell, with shared texts", func(t *testing.T) {
		book := excelize.NewFile()
		require.NoError(t, book.SetSheetRow("Sheet1", "A1", &[]any{"name", "seen", "ok"}))
		require.NoError(t, book.SetSheetRow("Sheet1", "A2", &[]any{"Ада", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), true}))
		var file bytes.Buffer
		require.NoError(t, book.Write(&file))
		require.NoError(t, book.Close())
		_, rows, err := readAll(t, file.Bytes())
		require.NoError(t, err)
		require.Equal(t, []string{"2: Ада 2026-01-02T03:04:05Z(time.Time) true(bool)"}, rows)
	})
	t.Run("a cell without a heading fails its row", func(t *testing.T) {
		_, rows, err := readAll(t, workbook(t, inline("a", "", "c", "")+inline("1", "2", "3", "")+inline("1", "2", "3", "4")))
		require.NoError(t, err)
		require.Equal(t, []string{"2: 1 2 3", `3: ! cell D3 of sheet "Sheet1" has no heading`}, rows)
	})
	t.Run("a reader that cannot seek", func(t *testing.T) {
		t.Setenv("TMPDIR", t.TempDir())
		reader, err := newXLSXReader(iotest.OneByteReader(bytes.NewReader(workbook(t, inline("a")+inline("1")))))
		require.NoError(t, err)
		var row tableRow
		require.NoError(t, reader.next(&row))
		require.Equal(t, "1", row.cells[0].text)
		require.ErrorIs(t, reader.next(&row), io.EOF)
		require.ErrorIs(t, reader.next(&row), io.EOF, "the end stays the end")
		require.NoError(t, reader.close())
		requireNoTemporaryFile(t)
	})
	t.Run("a reader that fails", func(t *testing.T) {
		t.Setenv("TMPDIR", t.TempDir())
		broken := errors.New("broken")
		_, err := newXLSXReader(iotest.ErrReader(broken))
		require.ErrorIs(t, err, broken)
		requireNoTemporaryFile(t)
	})
	t.Run("a reader that has moved on: what is left of it is the workbook", func(t *testing.T) {
		from := strings.NewReader("before" + string(workbook(t, inline("a")+inline("1"))))
		_, err := from.Seek(6, io.SeekStart)
		require.NoError(t, err)
		reader, err := newXLSXReader(from)
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, reader.columns())
		require.NoError(t, reader.close())
	})
}

func TestXLSXReadsSheetsThatGoOn(t *testing.T) {
	head := inline("a", "b")
	t.Run("all with the headings of the first", func(t *testing.T) {
		_, rows, err := readAll(t, workbook(t, "", head+inline("1", "2"), "", head+inline("3", "4"), head))
		require.NoError(t, err)
		require.Equal(t, []string{"2: 1 2", "Sheet42: 3 4"}, rows)
	})
	t.Run("a sheet with other headings is reported, once", func(t *testing.T) {
		_, rows, err := readAll(t, workbook(t, head+inline("1", "2"), inline("note")+inline("x"), inline("a", "b", "c"), head+inline("3", "4")))
		require.NoError(t, err)
		require.Equal(t, []string{"2: 1 2",
			`Sheet21: ! sheet "Sheet2" has other headings than sheet "Sheet1" and is not read`,
			`Sheet31: ! sheet "Sheet3" has other headings than sheet "Sheet1" and is not read`, "Sheet42: 3 4"}, rows)
	})
	t.Run("not hidden ones, not charts", func(t *testing.T) {
		parts := workbookParts(inline("lists"), inline("chart"), head+inline("1", "2"))
		parts["xl/workbook.xml"] = strings.Replace(parts["xl/workbook.xml"], `sheetId="1"`, `sheetId="1" state="hidden"`, 1)
		parts["xl/_rels/workbook.xml.rels"] = strings.Replace(parts["xl/_rels/workbook.xml.rels"], `Id="rId2" Type="`+officeNamespace+`/worksheet"`, `Id="rId2" Type="`+officeNamespace+`/chartsheet"`, 1)
		_, rows, err := readAll(t, zipParts(t, parts))
		require.NoError(t, err)
		require.Equal(t, []string{"2: 1 2"}, rows)
	})
	t.Run("a heading that is a formula without a value is refused", func(t *testing.T) {
		refused(t, workbook(t, `<row><c><f>A2</f></c></row>`), userkit.CodeBadFormat, `cell A1 of sheet "Sheet1" holds a formula`)
	})
}

// xlsxRoundTrip writes rows and gives the reader of the workbook.
func xlsxRoundTrip(t testing.TB, rowLimit int, columns []string, rows ...[]any) tableReader {
	var file bytes.Buffer
	writer, err := newXLSXSheets(&file, columns, rowLimit, nil)
	require.NoError(t, err)
	defer writer.discard()
	for _, row := range rows {
		require.NoError(t, writer.row(row))
	}
	require.NoError(t, writer.finish())
	reader, err := newXLSXReader(bytes.NewReader(file.Bytes()))
	require.NoError(t, err)
	require.Equal(t, columns, reader.columns())
	return reader
}

func TestXLSXTimesReadBackToTheMicrosecond(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		micros := rapid.Int64Range(time.Date(1900, 3, 1, 0, 0, 0, 0, time.UTC).UnixMicro(), time.Date(2079, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()).Draw(t, "microseconds")
		at := time.UnixMicro(micros).UTC()
		if serial, ok := xlsxSerial(at); ok {
			back, ok := parseXLSXSerial(strconv.FormatFloat(serial, 'f', -1, 64), xlsxEpoch1900)
			require.True(t, ok)
			require.Equal(t, at, back)
		} else {
			require.NotZero(t, at.Nanosecond()%1e6, "whole milliseconds are always dates")
		}
		// Another program saves 15 digits; whole seconds survive that.
		second := at.Truncate(time.Second)
		back, ok := parseXLSXSerial(strconv.FormatFloat(xlsxDays(second, xlsxEpoch1900), 'g', 15, 64), xlsxEpoch1900)
		require.True(t, ok)
		require.Equal(t, second, back)
	})
}

func TestXLSXWriterGoesOnInAnotherSheet(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var file bytes.Buffer
	writer, err := newXLSXSheets(&file, []string{"id", "login"}, 3, nil)
	require.NoError(t, err)
	for i := range 5 {
		require.NoError(t, writer.row([]any{int64(i), "user " + strconv.Itoa(i)}))
	}
	require.NoError(t, writer.finish())
	writer.discard()
	requireNoTemporaryFile(t)

	_, rows, err := readAll(t, file.Bytes())
	require.NoError(t, err)
	require.Equal(t, []string{"2: 0(int64) user 0", "3: 1(int64) user 1", "Users 22: 2(int64) user 2", "Users 23: 3(int64) user 3", "Users 32: 4(int64) user 4"}, rows)

	book, err := excelize.OpenReader(&file)
	require.NoError(t, err)
	defer func() { require.NoError(t, book.Close()) }()
	require.Equal(t, []string{"Users", "Users 2", "Users 3"}, book.GetSheetList())
	for _, sheet := range book.GetSheetList() {
		panes, err := book.GetPanes(sheet)
		require.NoError(t, err)
		require.True(t, panes.Freeze)
		require.Equal(t, 1, panes.YSplit)
		style, err := book.GetCellStyle(sheet, "A1")
		require.NoError(t, err)
		look, err := book.GetStyle(style)
		require.NoError(t, err)
		require.True(t, look.Font.Bold)
		width, err := book.GetColWidth(sheet, "A")
		require.NoError(t, err)
		require.InDelta(t, 38, width, 0.1)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func FuzzXLSX(f *testing.F) {
	f.Add(workbook(f, inline("login", "name")+inline("ada", "Ada")))
	f.Add(workbook(f, inline("a")+`<row><c s="2"><v>46024.5</v></c></row><row><c><f>1</f></c></row>`, inline("a")+inline("b")))
	parts := workbookParts(inline("a") + `<row><c t="s"><v>0</v></c><c t="s"><v>9</v></c></row>`)
	parts["xl/sharedStrings.xml"] = `<sst><si><r><t>_x0041_</t></r></si></sst>`
	f.Add(zipParts(f, parts))
	f.Add([]byte("\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) > 1<<20 {
			return
		}
		headings, rows, err := readAll(t, file)
		if err == nil && len(headings) == 0 {
			t.Fatal("no headings and no error")
		}
		_ = rows
	})
}

// FuzzXLSXSheet puts the input where the rows are, past the compression that
// hides them from FuzzXLSX.
func FuzzXLSXSheet(f *testing.F) {
	f.Add(inline("a")+inline("b"), "<si><t>x</t></si>")
	f.Add(inline("a")+`<row r="7"><c r="$A$7" t="s" s="1"><v>0</v></c></row>`, "<si><r><t>_xDBFF__xDFFD_</t></r></si>")
	f.Add(inline("a")+`<row><c s="2"><v>46024.5</v></c></row><row><c s="4"><v>1e9</v></c></row><row><c t="d"><v>2026-01-02</v></c></row>`, "")
	f.Fuzz(func(t *testing.T, sheet, shared string) {
		parts := workbookParts(sheet)
		parts["xl/sharedStrings.xml"] = "<sst>" + shared + "</sst>"
		_, _, _ = readAll(t, zipParts(t, parts))
	})
}
