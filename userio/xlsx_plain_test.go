//go:build !race

package userio

import (
	"bytes"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/userkit/userkit"
)

// The writer and the reader of a workbook are of one goroutine each. Other tests show the race
// detector what reads and writes at the same time.

func TestXLSXWriterRefusesWhatWouldBeLost(t *testing.T) {
	write := func(value any) error {
		writer, err := newXLSXWriter(io.Discard, []string{"login", "attributes"}, nil)
		require.NoError(t, err)
		defer writer.discard()
		require.NoError(t, writer.row([]any{"ada", nil}))
		return writer.row([]any{"ben", value})
	}
	t.Run("a text that is no UTF-8", func(t *testing.T) {
		require.Equal(t, userkit.CodeBadText, userkit.ErrorCode(write("a\xFF")))
	})
	t.Run("more columns than are read back", func(t *testing.T) {
		_, err := newXLSXWriter(io.Discard, make([]string, MaxColumns+1), nil)
		require.Equal(t, userkit.CodeTooLong, userkit.ErrorCode(err))
	})
	t.Run("a target that fails", func(t *testing.T) {
		t.Setenv("TMPDIR", t.TempDir())
		broken := errors.New("broken")
		writer, err := newXLSXWriter(failingWriter{broken}, []string{"login"}, nil)
		require.NoError(t, err)
		require.ErrorIs(t, writer.finish(), broken)
		writer.discard()
		requireNoTemporaryFile(t)
	})
	t.Run("not a sheet of any size for want of a temporary file", func(t *testing.T) {
		t.Setenv("TMPDIR", path.Join(t.TempDir(), "missing"))
		writer, err := newXLSXWriter(io.Discard, []string{"name"}, nil)
		require.NoError(t, err)
		for range 40_000 {
			require.NoError(t, writer.row([]any{strings.Repeat("a", 1000)}))
		}
		require.NoError(t, writer.finish())
		writer.discard()
	})
}

func TestXLSXTextsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var texts []any
		for _, text := range rapid.SliceOfN(rapid.OneOf(
			rapid.String(), rapid.StringMatching(`([_x0-9A-F\x00-\x20\x{FFFE}\x{10FFFD}]|_x00[0-9]{2}_)*`)), 1, 20).Draw(t, "texts") {
			texts = append(texts, text+".")
		}
		columns := make([]string, len(texts))
		for i := range columns {
			columns[i] = "c" + strconv.Itoa(i)
		}
		var file bytes.Buffer
		writer, err := newXLSXWriter(&file, columns, nil)
		require.NoError(t, err)
		require.NoError(t, writer.row(texts))
		require.NoError(t, writer.finish())
		reader, err := newXLSXReader(&file)
		require.NoError(t, err)
		var row tableRow
		require.NoError(t, reader.next(&row))
		for i, text := range texts {
			require.Equal(t, text, row.cells[i].text)
		}
		require.NoError(t, reader.close())
	})
}

func TestXLSXWritesValuesThatReadBack(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_901_000, time.UTC)
	for name, test := range map[string]struct{ value, want any }{
		"a text":                        {"Ада <&> \"x\"", "Ада <&> \"x\""},
		"a text like a formula":         {"=HYPERLINK(\"http://x\")", "=HYPERLINK(\"http://x\")"},
		"an apostrophe":                 {"'=1", "'=1"},
		"white space":                   {" a\tb\r\nc\n", " a\tb\r\nc\n"},
		"a text of digits":              {"+375291234567", "+375291234567"},
		"a text like an escape":         {"_x0041_ _x005F_x0041_ _x005F__x005f_", "_x0041_ _x005F_x0041_ _x005F__x005f_"},
		"what XML cannot hold":          {"\x00\x01_\uFFFEx\uFFFF\x1F", "\x00\x01_\uFFFEx\uFFFF\x1F"},
		"the mark of the writer itself": {"\U0010FFFD0041 \U0010FFFD", "\U0010FFFD0041 \U0010FFFD"},
		"the longest text":              {strings.Repeat("ж", xlsxCellChars), strings.Repeat("ж", xlsxCellChars)},
		"a number":                      {int64(-42), int64(-42)},
		"the largest number cell":       {int64(1e15 - 1), int64(1e15 - 1)},
		"a number of 16 digits":         {int64(1e15), "1000000000000000"},
		"the largest number":            {int64(9223372036854775807), "9223372036854775807"},
		"a fraction":                    {0.1 + 0.2, 0.1 + 0.2},
		"true":                          {true, true},
		"false":                         {false, false},
		"a time":                        {at, at},
		"a time of today's second":      {at.Truncate(time.Second), at.Truncate(time.Second)},
		"a time in another zone":        {at.In(time.FixedZone("", 3600)), at},
		"a time before 1900":            {time.Date(1815, 12, 10, 0, 0, 0, 0, time.UTC), "1815-12-10T00:00:00Z"},
		"the last second":               {time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		"no time":                       {time.Time{}, nil},
		"money":                         {userkit.Money{Amount: 1250, Currency: "EUR"}, "12.50 EUR"},
		"a span":                        {userkit.Duration(90 * time.Minute), "1h30m"},
		"codes":                         {[]string{"a", "b"}, "a b"},
		"attributes":                    {userkit.Attributes{"plan": "pro"}, `{"plan":"pro"}`},
		"no attributes":                 {userkit.Attributes(nil), nil},
		"nothing":                       {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			reader := xlsxRoundTrip(t, 10, []string{"value", "after"}, []any{test.value, "x"})
			var row tableRow
			require.NoError(t, reader.next(&row))
			require.Equal(t, "x", row.cells[1].text)
			switch want := test.want.(type) {
			case nil:
				require.True(t, row.cells[0].empty())
			case string:
				require.Equal(t, cell{text: want}, row.cells[0])
			case time.Time:
				require.Equal(t, cell{text: formatTime(want), value: want}, row.cells[0])
			default:
				require.Equal(t, cell{text: formatValue(want), value: want}, row.cells[0])
			}
			require.ErrorIs(t, reader.next(&row), io.EOF)
			require.NoError(t, reader.close())
		})
	}
	t.Run("a single attribute reads back as its type", func(t *testing.T) {
		reader := xlsxRoundTrip(t, 10, []string{"attributes.a"}, []any{"12"}, []any{int64(12)}, []any{"plain"}, []any{[]any{true}})
		var row tableRow
		for _, want := range []string{`"12"`, "12", "plain", "[true]"} {
			require.NoError(t, reader.next(&row))
			require.Equal(t, want, row.cells[0].text)
		}
	})
}

func TestXLSXRefusesWhatIsNoWorkbook(t *testing.T) {
	whole := workbook(t, inline("a")+inline("1"))
	without := func(name string) []byte {
		parts := workbookParts(inline("a"))
		delete(parts, name)
		return zipParts(t, parts)
	}
	with := func(name, content string) []byte {
		parts := workbookParts(inline("a"))
		parts[name] = content
		return zipParts(t, parts)
	}
	for name, test := range map[string]struct {
		file    []byte
		code    userkit.Code
		message string
	}{
		"an empty file":                     {nil, userkit.CodeRequired, "empty"},
		"a workbook without a row":          {workbook(t, "", "<row/>"), userkit.CodeRequired, "empty"},
		"a workbook without a sheet":        {workbook(t), userkit.CodeRequired, "empty"},
		"a text":                            {[]byte("login,name\r\n"), userkit.CodeBadFormat, "not an XLSX workbook"},
		"an old or encrypted workbook":      {[]byte("\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1 and so on"), userkit.CodeBadFormat, "password"},
		"a binary workbook":                 {with("_rels/.rels", `<Relationships><Relationship Type="x/officeDocument" Target="xl/workbook.bin"/></Relationships>`), userkit.CodeBadFormat, ".xlsb"},
		"another archive":                   {zipParts(t, map[string]string{"mimetype": "application/vnd.oasis.opendocument.spreadsheet"}), userkit.CodeBadFormat, "not an XLSX workbook"},
		"half of a workbook":                {whole[:len(whole)/2], userkit.CodeBadFormat, "cut short"},
		"a workbook whose sheet is missing": {without("xl/worksheets/sheet1.xml"), userkit.CodeBadFormat, `sheet "Sheet1" of the workbook is missing`},
		"a sheet that ends in the middle":   {with("xl/worksheets/sheet1.xml", `<worksheet><sheetData>`+inline("a")+inline("b")), userkit.CodeBadFormat, "damaged"},
		"elements that do not fit":          {with("xl/worksheets/sheet1.xml", `<worksheet><sheetData><row></c></row></sheetData></worksheet>`), userkit.CodeBadFormat, "damaged"},
		"another encoding":                  {with("xl/worksheets/sheet1.xml", `<?xml version="1.0" encoding="windows-1251"?><worksheet/>`), userkit.CodeBadFormat, "damaged"},
		"bytes that are no UTF-8":           {with("xl/worksheets/sheet1.xml", "<worksheet>\xFF</worksheet>"), userkit.CodeBadFormat, "damaged"},
		"a document type definition":        {with("xl/worksheets/sheet1.xml", `<!DOCTYPE w [<!ENTITY a "aaaa">]><worksheet/>`), userkit.CodeBadFormat, "document type"},
		"an entity":                         {with("xl/worksheets/sheet1.xml", `<worksheet><sheetData><row><c t="str"><v>&a;</v></c></row></sheetData></worksheet>`), userkit.CodeBadFormat, "damaged"},
		"rows that go back":                 {workbook(t, `<row r="2"/><row r="2"/>`), userkit.CodeBadFormat, `row "2" follows row 2`},
		"a row beyond the last":             {workbook(t, `<row r="1048577"/>`), userkit.CodeBadFormat, "more than 1048576 rows"},
		"cells that go back":                {workbook(t, `<row><c r="B1"/><c r="A1"/></row>`), userkit.CodeBadFormat, "out of place"},
		"a cell that is nowhere":            {workbook(t, `<row><c r="1A"/></row>`), userkit.CodeBadFormat, "out of place"},
		"a cell in a column beyond all":     {workbook(t, `<row><c r="ZZZZZZZZZZZZZZZZZZ1"/></row>`), userkit.CodeBadFormat, "out of place"},
		"elements in elements in elements":  {with("xl/worksheets/sheet1.xml", strings.Repeat("<a>", 100_000)), userkit.CodeBadFormat, "nests deeper"},
		"two parts of one name":             {with("XL/Workbook.xml", "<workbook/>"), userkit.CodeBadFormat, "two parts"},
		"more sheets than anybody has":      {workbook(t, make([]string, xlsxMaxSheets+1)...), userkit.CodeBadFormat, "more than 1000 sheets"},
		"styles beyond number":              {with("xl/styles.xml", "<styleSheet><cellXfs>"+strings.Repeat("<xf/>", xlsxMaxStyles+1)+"</cellXfs></styleSheet>"), userkit.CodeBadFormat, "cell formats"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, test.file, test.code, test.message) })
	}
}
