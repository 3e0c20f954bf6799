package userio_test

import (
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/userio"
)

func TestImportReadsOtherEncodings(t *testing.T) {
	const file = "login;name\nada;Ада Лавлейс\nbob;Боб 😀\n"
	encoded := func(t *testing.T, text string, order unicode.Endianness, mark unicode.BOMPolicy) string {
		t.Helper()
		text, err := unicode.UTF16(order, mark).NewEncoder().String(text)
		require.NoError(t, err)
		return text
	}
	cyrillic, err := charmap.Windows1251.NewEncoder().String(strings.ReplaceAll(file, " 😀", " Ё"))
	require.NoError(t, err)
	for name, test := range map[string]struct {
		file, encoding string
		bob            string
	}{
		"UTF-16, little end first, with a mark":  {encoded(t, file, unicode.LittleEndian, unicode.UseBOM), "", "Боб 😀"},
		"UTF-16, big end first, with a mark":     {encoded(t, file, unicode.BigEndian, unicode.UseBOM), "", "Боб 😀"},
		"the mark goes before what is named":     {encoded(t, file, unicode.BigEndian, unicode.UseBOM), "windows-1251", "Боб 😀"},
		"UTF-16 without a mark, that is named":   {encoded(t, file, unicode.LittleEndian, unicode.IgnoreBOM), "utf-16le", "Боб 😀"},
		"Windows-1251, by its name":              {cyrillic, "windows-1251", "Боб Ё"},
		"Windows-1251, by another name":          {cyrillic, "cp1251", "Боб Ё"},
		"UTF-8, by its name":                     {file, "UTF-8", "Боб 😀"},
		"UTF-8 with a mark, by its name":         {"\xEF\xBB\xBF" + file, "utf8", "Боб 😀"},
		"its mark goes before what is named":     {"\xEF\xBB\xBF" + file, "windows-1251", "Боб 😀"},
		"NDJSON in UTF-16":                       {encoded(t, `{"login":"bob","name":"Боб 😀"}`, unicode.LittleEndian, unicode.UseBOM), "", "Боб 😀"},
		"many rows, so that characters are torn": {encoded(t, file+strings.Repeat("bob;Боб 😀\n", 5000), unicode.LittleEndian, unicode.UseBOM), "", "Боб 😀"},
	} {
		t.Run(name, func(t *testing.T) {
			manager := newManager(t)
			_, err := userio.Import(t.Context(), manager, iotest.HalfReader(strings.NewReader(test.file)), userio.ImportOptions{Encoding: test.encoding})
			require.NoError(t, err)
			require.Equal(t, test.bob, login(t, manager, "bob").Name)
		})
	}
	t.Run("a character that the encoding has not costs the row", func(t *testing.T) {
		manager := newManager(t)
		report := importText(t, manager, "login,name\nann,A\x98\nbob,B\n", userio.ImportOptions{Encoding: "windows-1251"})
		require.Equal(t, []string{"2 name bad_text"}, lines(report))
		require.Equal(t, "B", login(t, manager, "bob").Name)
	})
	t.Run("half of a character of UTF-16 costs the row", func(t *testing.T) {
		manager := newManager(t)
		report := importText(t, manager, "\xFF\xFE"+"l\x00o\x00g\x00i\x00n\x00\n\x00a\x00\x00\xD8\n\x00b\x00\n\x00", userio.ImportOptions{})
		require.Len(t, report.Rejections, 1)
		require.Equal(t, userkit.CodeBadText, userkit.ErrorCode(report.Rejections[0].Err))
		require.Equal(t, "b", login(t, manager, "b").Login)
	})
	t.Run("a workbook has no encoding to ask about", func(t *testing.T) {
		manager := newManager(t)
		report := importText(t, manager, sample(t, "libreoffice.xlsx"), userio.ImportOptions{Encoding: "windows-1251"})
		require.Positive(t, report.Created)
	})
	for _, unknown := range []string{"klingon", "iso-2022-cn"} {
		t.Run("unknown: "+unknown, func(t *testing.T) {
			refused(t, file, userio.ImportOptions{Encoding: unknown}, userkit.CodeUnknownValue, unknown)
		})
	}
}
