package userio_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/userkit/userkit"
	"github.com/userkit/userkit/userio"
	"github.com/xuri/excelize/v2"
)

// spreadsheet returns a workbook as a person makes it, cell by cell.
func spreadsheet(t *testing.T, fill func(book *excelize.File)) string {
	t.Helper()
	book := excelize.NewFile()
	fill(book)
	var file bytes.Buffer
	require.NoError(t, book.Write(&file))
	require.NoError(t, book.Close())
	return file.String()
}

func TestImportTakesCellsOfASpreadsheetAsWhatTheyAre(t *testing.T) {
	manager := newManager(t)
	expires := time.Date(2030, 5, 6, 7, 8, 9, 0, time.UTC)
	report := importText(t, manager, spreadsheet(t, func(book *excelize.File) {
		for _, row := range []struct {
			cell   string
			values []any
		}{
			{"A1", []any{"E-mail", "login", "extref", "expires_at", "email_verified", "traffic_limit", "description", "attributes.seats"}},
			{"A2", []any{"ada@example.com", "ada", 375291234567, expires, true, 1 << 40, "=1+1", 5}},
		} {
			require.NoError(t, book.SetSheetRow("Sheet1", row.cell, &row.values))
		}
	}), userio.ImportOptions{})
	require.Empty(t, report.Rejections)
	require.EqualValues(t, 1, report.Created)
	user := login(t, manager, "ada")
	require.Equal(t, "375291234567", user.ExtRef)
	require.Equal(t, "=1+1", user.Description)
	require.Equal(t, expires, user.ExpiresAt)
	require.True(t, user.EmailVerified)
	require.EqualValues(t, 1<<40, user.Traffic.Limit.Bytes)
	require.Equal(t, userkit.Attributes{"seats": int64(5)}, user.Attributes)
}

func TestImportRejectsFormulasAndErrorsByRowAndColumn(t *testing.T) {
	manager := newManager(t)
	report := importText(t, manager, spreadsheet(t, func(book *excelize.File) {
		for cell, text := range map[string]string{"A1": "login", "B1": "name", "A2": "ada", "B2": "Ada", "A3": "ben", "A4": "cyd", "A5": "dee", "B5": "Dee"} {
			require.NoError(t, book.SetCellStr("Sheet1", cell, text))
		}
		require.NoError(t, book.SetCellFormula("Sheet1", "B3", `HYPERLINK("http://evil")`))
		require.NoError(t, book.SetCellFormula("Sheet1", "B4", "NA()"))
		_, err := book.NewSheet("Sheet2")
		require.NoError(t, err)
		require.NoError(t, book.SetSheetRow("Sheet2", "A1", &[]any{"login", "name"}))
		require.NoError(t, book.SetSheetRow("Sheet2", "A2", &[]any{"eve", "Eve"}))
		require.NoError(t, book.SetCellFormula("Sheet2", "A3", "A2"))
	}), userio.ImportOptions{})
	require.EqualValues(t, 3, report.Created, "the good rows go in")
	var places []string
	for _, rejection := range report.Rejections {
		require.Equal(t, userkit.CodeBadFormat, userkit.ErrorCode(rejection.Err))
		require.ErrorContains(t, rejection.Err, "holds a formula")
		rejection.Err = userkit.ErrInvalid
		places = append(places, rejection.String())
	}
	require.Equal(t, []string{"row 3, name: " + userkit.ErrInvalid.Error(), "row 4, name: " + userkit.ErrInvalid.Error(), "Sheet2, row 3, login: " + userkit.ErrInvalid.Error()}, places)
}

func TestImportKeepsTheZerosThatANumberFormatShows(t *testing.T) {
	manager := newManager(t)
	report := importText(t, manager, spreadsheet(t, func(book *excelize.File) {
		for i, row := range [][]any{
			{"login", "extref", "attributes.zip", "attributes.floor", "attributes.depth", "attributes.price"},
			{"ada", 123, 1067, 7, -5, 2},
		} {
			require.NoError(t, book.SetSheetRow("Sheet1", fmt.Sprintf("A%d", i+1), &row))
		}
		for cell, code := range map[string]string{"B2": "00000", "C2": "[$-407]00000;@", "D2": "0", "E2": "000", "F2": "00.00"} {
			style, err := book.NewStyle(&excelize.Style{CustomNumFmt: &code})
			require.NoError(t, err)
			require.NoError(t, book.SetCellStyle("Sheet1", cell, cell, style))
		}
	}), userio.ImportOptions{})
	require.Empty(t, report.Rejections)
	user := login(t, manager, "ada")
	require.Equal(t, "00123", user.ExtRef)
	require.Equal(t, userkit.Attributes{"zip": "01067", "floor": int64(7), "depth": int64(-5), "price": int64(2)}, user.Attributes)
}
