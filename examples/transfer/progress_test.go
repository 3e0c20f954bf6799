package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/schollz/progressbar/v3"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit/userio"
)

func TestOnlyATerminalGetsABar(t *testing.T) {
	require.False(t, isTerminal(&bytes.Buffer{}))
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	require.False(t, isTerminal(file))

	none, err := importBar(file, userio.CSV, file)
	require.NoError(t, err)
	require.Nil(t, none)
	none.show(1)
	none.showImport(userio.Progress{Rows: 1, Bytes: 1})
	none.end()
}

func TestABarTellsCountRateAndRest(t *testing.T) {
	var shown bytes.Buffer
	always := progressbar.OptionThrottle(0)
	b := newBar(&shown, 200, always, progressbar.OptionShowIts(), progressbar.OptionSetItsString("users"))
	b.show(50)
	require.Regexp(t, `25% \|.*\| \(50/200, \d+ users/\w+\) \[\d+s:\d+s\]`, shown.String())
	b.show(1000) // more than there were at first

	shown.Reset()
	b = newBar(&shown, 2_000_000, always, progressbar.OptionShowBytes(true))
	b.showImport(userio.Progress{Rows: 70, Bytes: 1_000_000})
	require.Contains(t, shown.String(), "70 rows")

	shown.Reset()
	b = newBar(&shown, unknown, always, progressbar.OptionShowIts(), progressbar.OptionSetItsString("rows"))
	b.showImport(userio.Progress{Rows: 70, Bytes: 1_000_000})
	require.Regexp(t, `\(70/-, \d+ rows/\w+\) \[\d+s\]`, shown.String())
	b.end()
}
