package userio_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit/userio"
)

// sample gives a file of testdata, which another program wrote.
func sample(t *testing.T, name string) string {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return string(file)
}

func TestImportReadsAWorkbookThatLibreOfficeSaved(t *testing.T) {
	manager := newManager(t)
	report := importText(t, manager, sample(t, "libreoffice.xlsx"), userio.ImportOptions{})
	require.Empty(t, report.Rejections)
	require.EqualValues(t, 2, report.Created)
}
