//go:build !race

package userio

// Large files are read and written without the race detector, which would take ten
// times as long and uses memory of its own: no test of this file has goroutines that
// share anything. "make test" runs them by the name TestLarge.

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func TestLargeXLSXThatIsMadeToBurstIsRefused(t *testing.T) {
	// burst gives a workbook whose part of the name begins with head and then has a
	// unit so many times: one compressed chunk, again and again.
	burst := func(t *testing.T, name, head, unit string, count int) []byte {
		chunk := strings.Repeat(unit, 1+(64<<10)/len(unit))
		count = 1 + count*len(unit)/len(chunk)
		var data bytes.Buffer
		deflate, err := flate.NewWriter(&data, flate.BestCompression)
		require.NoError(t, err)
		begin := 0
		for _, text := range []string{head, chunk, chunk} {
			begin = data.Len()
			_, err := io.WriteString(deflate, text)
			require.NoError(t, err)
			require.NoError(t, deflate.Flush())
		}
		again := bytes.Clone(data.Bytes()[begin:])
		for range count {
			data.Write(again)
		}
		parts := workbookParts(inline("a"))
		delete(parts, name)
		var file bytes.Buffer
		archive := zip.NewWriter(&file)
		for name, content := range parts {
			part, err := archive.Create(name)
			require.NoError(t, err)
			_, err = io.WriteString(part, content)
			require.NoError(t, err)
		}
		part, err := archive.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Deflate, CompressedSize64: uint64(data.Len()), UncompressedSize64: uint64(len(head) + (count+2)*len(chunk))})
		require.NoError(t, err)
		_, err = part.Write(data.Bytes())
		require.NoError(t, err)
		require.NoError(t, archive.Close())
		return file.Bytes()
	}
	const sheet = "xl/worksheets/sheet1.xml"
	mega := strings.Repeat("a", 1<<20)
	for name, test := range map[string]struct {
		file    []byte
		code    userkit.Code
		message string
	}{
		"a cell of a gigabyte":              {burst(t, sheet, `<worksheet><sheetData><row><c t="str"><v>`, "a", 1<<30), userkit.CodeTooLong, "longer than"},
		"a cell of many pieces":             {burst(t, sheet, `<worksheet><sheetData><row><c t="inlineStr"><is>`, "<r><t>"+mega[:1<<10]+"</t></r>", 1<<11), userkit.CodeTooLong, "longer than"},
		"an attribute of a gigabyte":        {burst(t, sheet, `<worksheet a="`, "a", 1<<30), userkit.CodeTooLong, "longer than"},
		"a comment of a gigabyte":           {burst(t, sheet, `<worksheet><!--`, "a", 1<<30), userkit.CodeTooLong, "longer than"},
		"a million attributes":              {burst(t, sheet, `<worksheet`, ` a="b"`, 1<<20), userkit.CodeTooLong, "longer than"},
		"a shared text of a gigabyte":       {burst(t, "xl/sharedStrings.xml", `<sst><si><t>`, "a", 1<<30), userkit.CodeTooLong, "longer than"},
		"200,000 columns":                   {burst(t, sheet, `<worksheet><sheetData><row>`, `<c><v>1</v></c>`, 200_000), userkit.CodeTooLong, "more than 1000 columns"},
		"200,000 columns that are empty":    {burst(t, sheet, `<worksheet><sheetData><row>`, `<c/>`, 200_000), userkit.CodeTooLong, "more than 1000 columns"},
		"rows that hold nothing":            {burst(t, sheet, `<worksheet><sheetData>`, `<row/>`, 1<<30/6), userkit.CodeBadFormat, "more than 1048576 rows"},
		"cells that hold nothing":           {burst(t, sheet, `<worksheet><sheetData>`, `<row>`+strings.Repeat(`<c/>`, 10_000)+`</row>`, 1_000), userkit.CodeBadFormat, "times its size"},
		"shared texts that hold nothing":    {burst(t, "xl/sharedStrings.xml", `<sst>`, `<si/>`, 1<<25/5), userkit.CodeBadFormat, "times its size"},
		"a value in the last column of all": {workbook(t, `<row><c r="XFD1"><v>1</v></c></row>`), userkit.CodeTooLong, "more than 1000 columns"},
	} {
		t.Run(name, func(t *testing.T) {
			growth := heapGrowth(func() { refused(t, test.file, test.code, test.message) })
			require.Less(t, growth, uint64(48<<20))
		})
	}
	t.Run("a row of a thousand long texts fails alone", func(t *testing.T) {
		names := make([]string, MaxColumns)
		for i := range names {
			names[i] = "h" + strconv.Itoa(i)
		}
		parts := workbookParts(inline(names...) + "<row>" + strings.Repeat(`<c t="s"><v>0</v></c>`, MaxColumns) + "</row>" + inline("next"))
		parts["xl/sharedStrings.xml"] = `<sst><si><t>` + mega[:32_767] + `</t></si></sst>`
		_, rows, err := readAll(t, zipParts(t, parts))
		require.NoError(t, err)
		require.Len(t, rows, 2)
		require.Equal(t, fmt.Sprintf("2: ! row 2 is longer than %d bytes", MaxRowBytes), rows[0])
	})
	t.Run("looks far out to the right are no columns", func(t *testing.T) {
		headings, _, err := readAll(t, workbook(t, `<row><c t="str"><v>a</v></c><c r="XFD1" s="1"/></row>`))
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, headings)
	})
	t.Run("a directory that says it has millions of entries", func(t *testing.T) {
		file := workbook(t, inline("a"))
		end := bytes.LastIndex(file, []byte("PK\x05\x06"))
		end64 := make([]byte, 56+20)
		copy(end64, "PK\x06\x06")
		binary.LittleEndian.PutUint64(end64[4:], 44)
		binary.LittleEndian.PutUint64(end64[32:], 1<<40)
		copy(end64[56:], "PK\x06\x07")
		binary.LittleEndian.PutUint64(end64[56+8:], uint64(end))
		hostile := append(append(append([]byte(nil), file[:end]...), end64...), file[end:]...)
		refused(t, hostile, userkit.CodeBadFormat, "parts")
	})
	t.Run("a directory of more entries than it says", func(t *testing.T) {
		var file bytes.Buffer
		archive := zip.NewWriter(&file)
		name := strings.Repeat("n", 60_000)
		for i := range 400 {
			_, err := archive.Create(name + strconv.Itoa(i))
			require.NoError(t, err)
		}
		require.NoError(t, archive.Close())
		refused(t, file.Bytes(), userkit.CodeBadFormat, "damaged")
	})
}

// heapGrowth returns by how many bytes what a run holds grows at most. It looks at what the garbage
// collector found alive, not at the heap in use: on a busy machine the collector comes late, and much
// of the heap is garbage.
func heapGrowth(run func()) uint64 {
	alive := func() uint64 {
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	defer debug.SetGCPercent(debug.SetGCPercent(50)) // so that it is looked at often
	runtime.GC()
	before, most := alive(), uint64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			most = max(most, alive())
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	run()
	close(stop)
	<-stopped
	return max(most, alive(), before) - before // the last run of the collector counts, whenever it was
}

func TestLargeXLSXTakesBoundedMemory(t *testing.T) {
	const rows = 200_000
	t.Setenv("TMPDIR", t.TempDir())
	file, err := os.CreateTemp("", "")
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	growth := heapGrowth(func() {
		writer, err := newXLSXWriter(file, xlsxUserColumns, nil)
		require.NoError(t, err)
		defer writer.discard()
		values := make([]any, len(xlsxUserColumns))
		for i := range rows {
			xlsxUser(values, i)
			if err := writer.row(values); err != nil {
				require.NoError(t, err)
			}
		}
		require.NoError(t, writer.finish())
	})
	require.Less(t, growth, uint64(48<<20), "writing")

	_, err = file.Seek(0, io.SeekStart)
	require.NoError(t, err)
	growth = heapGrowth(func() {
		reader, err := newXLSXReader(file)
		require.NoError(t, err)
		var row tableRow
		values := make([]any, len(xlsxUserColumns))
		for i := range rows {
			if err := reader.next(&row); err != nil {
				require.NoError(t, err)
			}
			if xlsxUser(values, i); row.cells[1].text != values[1] || row.cells[3].text != formatTime(values[3].(time.Time)) {
				require.Equal(t, values, row.cells)
			}
		}
		require.ErrorIs(t, reader.next(&row), io.EOF)
		require.NoError(t, reader.close())
	})
	require.Less(t, growth, uint64(32<<20), "reading")
}

func TestLargeXLSXKeepsSharedTextsOnDisk(t *testing.T) {
	const count = 600_000
	t.Setenv("TMPDIR", t.TempDir())
	parts := workbookParts(inline("h"))
	var shared strings.Builder
	shared.WriteString("<sst>")
	for i := range count {
		fmt.Fprintf(&shared, "<si><t>text number %d of a workbook that has very many of them</t></si>", i)
	}
	shared.WriteString("</sst>")
	parts["xl/sharedStrings.xml"] = shared.String()
	file := zipParts(t, parts)
	shared.Reset()
	delete(parts, "xl/sharedStrings.xml")
	growth := heapGrowth(func() {
		reader, err := newXLSXReader(bytes.NewReader(file))
		require.NoError(t, err)
		texts := reader.(*xlsxReader).texts
		require.NotNil(t, texts.file)
		for i := 0; i < count; i += 37 {
			text, ok, err := texts.text(i)
			if want := fmt.Sprintf("text number %d of a workbook that has very many of them", i); err != nil || !ok || text != want {
				require.Equal(t, want, text, "%v", err)
			}
		}
		require.NoError(t, reader.close())
	})
	require.Less(t, growth, uint64(40<<20), "all texts would take 48 MB")
	requireNoTemporaryFile(t)
}

var xlsxUserColumns = []string{"id", "email", "email_verified", "registered_at", "traffic_limit"}

// xlsxUser gives a row like those of an export.
func xlsxUser(values []any, i int) {
	number := strconv.Itoa(i)
	copy(values, []any{"0198c7d4-0000-7000-8000-" + fmt.Sprintf("%012x", i), "user" + number + "@example.com", i%2 == 0,
		time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(i) * 1234567 * time.Microsecond), int64(i) << 20})
}

func TestLargeXLSXThatPacksTightlyIsRead(t *testing.T) {
	var file bytes.Buffer
	writer, err := newXLSXWriter(&file, []string{"login", "additional_info"}, nil)
	require.NoError(t, err)
	const rows = 3000
	long := strings.Repeat("the same for all ", 1800)
	for i := range rows {
		require.NoError(t, writer.row([]any{"user" + strconv.Itoa(i), long}))
	}
	require.NoError(t, writer.finish())
	require.Greater(t, rows*len(long), xlsxFreeBytes+xlsxMaxRatio*file.Len())
	_, read, err := readAll(t, file.Bytes())
	require.NoError(t, err)
	require.Len(t, read, rows)
}

// TestLargeHeapGrowthSeesWhatIsHeld holds 32 MB in pieces, and then makes as much garbage.
func TestLargeHeapGrowthSeesWhatIsHeld(t *testing.T) {
	piece := func() []byte { return make([]byte, 1024) }
	held := heapGrowth(func() {
		var pieces [][]byte
		for range 32 << 10 {
			pieces = append(pieces, piece())
		}
		runtime.GC()
		runtime.KeepAlive(pieces)
	})
	require.Greater(t, held, uint64(31<<20))
	garbage := heapGrowth(func() {
		for range 256 << 10 {
			last = piece()
		}
	})
	require.Less(t, garbage, uint64(16<<20), "256 MB, of which one piece is held")
}

var last []byte // so that what it points to is made
