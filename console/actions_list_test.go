package console

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryActionInTheListHasItsTest reads ACTIONS.md: each row of its table names a test,
// and whatever it names is there.
func TestEveryActionInTheListHasItsTest(t *testing.T) {
	tests := map[string]bool{}
	for _, pattern := range []string{"*_test.go", "browsertest/*_test.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		for _, name := range files {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			for _, declaration := range file.Decls {
				if function, ok := declaration.(*ast.FuncDecl); ok && function.Recv == nil {
					tests[function.Name.Name] = true
				}
			}
		}
	}
	list, err := os.ReadFile("ACTIONS.md")
	require.NoError(t, err)
	test, source := regexp.MustCompile(`\bTest\w+`), regexp.MustCompile(`\b\w+_test\.go`)
	for _, name := range test.FindAllString(string(list), -1) {
		require.True(t, tests[name], "ACTIONS.md names %s, which is no test", name)
	}
	for _, name := range source.FindAllString(string(list), -1) {
		require.FileExists(t, name)
	}
	_, table, found := strings.Cut(string(list), "\n|---|---|---|\n")
	require.True(t, found)
	rows := 0
	for row := range strings.Lines(table) {
		if !strings.HasPrefix(row, "|") {
			break
		}
		cells := strings.Split(strings.TrimSpace(row), "|")
		require.Len(t, cells, 5, row)
		require.Regexp(t, test, cells[3], row)
		rows++
	}
	require.Greater(t, rows, 20)
}
