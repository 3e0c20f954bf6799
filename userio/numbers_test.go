package userio_test

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/userio"
)

func TestColumnsOfNumbersAreKeptAsNumbers(t *testing.T) {
	var file strings.Builder
	file.WriteString("login,Age,Zip,Mixed,Score,Nothing\n")
	for range 300 { // more than is looked at before the first row goes in
		file.WriteString("ada,36,01234,7,-1.5,\n")
	}
	file.WriteString("bob,,01235,seven,2,\n\"torn\n")
	imported := func(t *testing.T, from io.Reader) (userkit.Manager, userio.ImportReport) {
		t.Helper()
		manager := newManager(t)
		report, err := userio.Import(t.Context(), manager, from, userio.ImportOptions{ReadOn: true})
		require.NoError(t, err)
		return manager, report
	}
	manager, report := imported(t, strings.NewReader(file.String()))
	var numbers []string
	for _, column := range report.Columns {
		if column.Numbers {
			numbers = append(numbers, column.Heading)
		}
	}
	require.Equal(t, []string{"Age", "Score"}, numbers)
	require.Equal(t, userkit.Attributes{"Age": int64(36), "Zip": "01234", "Mixed": "7", "Score": -1.5}, login(t, manager, "ada").Attributes)
	require.Equal(t, userkit.Attributes{"Zip": "01235", "Mixed": "seven", "Score": int64(2)}, login(t, manager, "bob").Attributes)
	filter, err := userkit.ParseFilter("attributes.Age gt 9")
	require.NoError(t, err)
	count, err := manager.CountUsers(t.Context(), userkit.UserFilter{Filter: filter})
	require.NoError(t, err)
	require.EqualValues(t, 1, count)

	piped, _ := imported(t, struct{ io.Reader }{strings.NewReader(file.String())})
	require.Equal(t, "36", login(t, piped, "ada").Attributes["Age"])

	behind := strings.NewReader("something else\n" + file.String())
	_, err = behind.Seek(int64(len("something else\n")), io.SeekStart)
	require.NoError(t, err)
	skipped, _ := imported(t, behind)
	require.EqualValues(t, 36, login(t, skipped, "ada").Attributes["Age"])
}
