package console

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// actionTests returns the source of every test of the console, by its name.
func actionTests(t *testing.T) map[string]string {
	t.Helper()
	tests := map[string]string{}
	for _, pattern := range []string{"*_test.go", "browsertest/*_test.go"} {
		names, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, names, pattern)
		for _, name := range names {
			source, err := os.ReadFile(name)
			require.NoError(t, err)
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
			require.NoError(t, err)
			for _, declaration := range file.Decls {
				if function, ok := declaration.(*ast.FuncDecl); ok && function.Recv == nil {
					tests[function.Name.Name] = string(source[files.Position(function.Pos()).Offset:files.Position(function.End()).Offset])
				}
			}
		}
	}
	return tests
}

// tablesOf returns the rows of the tables of a text, without their heads, each as its cells.
func tablesOf(text string) (tables [][][]string) {
	for at, before := range regexp.MustCompile(`\n\|(?:---\|)+\n`).Split(text, -1) {
		if at == 0 {
			continue
		}
		var table [][]string
		for row := range strings.Lines(before) {
			if !strings.HasPrefix(row, "|") {
				break
			}
			cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), "|")
			for i, cell := range cells {
				cells[i] = strings.TrimSpace(cell)
			}
			table = append(table, cells)
		}
		tables = append(tables, table)
	}
	return tables
}

// TestEveryActionInTheListHasItsTest reads ACTIONS.md. Each row of its first table names tests
// that are there and that ask for the addresses of the row. Nothing is missing: no address
// that changes something, no feature in README's table, and no operation.
func TestEveryActionInTheListHasItsTest(t *testing.T) {
	tests := actionTests(t)
	text, err := os.ReadFile("ACTIONS.md")
	require.NoError(t, err)
	list := string(text)
	test := regexp.MustCompile(`\bTest\w+`)
	for _, name := range test.FindAllString(list, -1) {
		require.Contains(t, tests, name, "ACTIONS.md names a test that is not there")
	}
	for _, name := range regexp.MustCompile(`\b\w+_test\.go`).FindAllString(list, -1) {
		require.FileExists(t, name)
	}
	tables := tablesOf(list)
	require.Len(t, tables, 2)

	listed := map[string]bool{}
	for _, row := range tables[0] {
		require.Len(t, row, 4, row)
		require.Regexp(t, test, row[3], row)
		var sources strings.Builder
		for _, name := range test.FindAllString(row[3], -1) {
			sources.WriteString(tests[name])
		}
		for address := range strings.SplitSeq(row[2], ", ") {
			if address == "" {
				continue
			}
			listed[address] = true
			static := strings.TrimRight(regexp.MustCompile(`\{\w+\}`).ReplaceAllString(address, ""), "/")
			require.Contains(t, sources.String(), static[strings.LastIndexByte(static, '/'):], "no test of the row asks for %s", address)
		}
	}
	addresses := newConsole(newSite(t).users).operations
	for address := range addresses {
		if strings.HasPrefix(address, http.MethodPost) {
			require.True(t, listed[address], "no row of ACTIONS.md has %s", address)
		}
	}
	for address := range listed {
		require.Contains(t, addresses, address, "ACTIONS.md has an address that is not there")
	}

	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	features := 0
	for _, found := range regexp.MustCompile(`(?m)^\| ([A-GI-Z][0-9]+) \|`).FindAllStringSubmatch(string(readme), -1) { // those of H are for the host
		require.Regexp(t, `\b`+found[1]+`\b`, list, "no row of ACTIONS.md has the feature")
		features++
	}
	require.Greater(t, features, 50)

	left := map[string]bool{}
	for _, row := range tables[1] {
		for name := range strings.SplitSeq(row[0], ", ") {
			left[name] = true
		}
	}
	used := usedOperations(t)
	for _, operation := range addresses { // that which userio does for the console as well
		used[operation] = true
	}
	for _, operation := range userkit.Operations() {
		require.NotEqual(t, used[operation.Name], left[operation.Name], "%s: does the console use it, or does it leave it to the host?", operation.Name)
		delete(left, operation.Name)
	}
	require.Empty(t, slices.Sorted(maps.Keys(left)), "these are no operations")
}

// usedOperations are the operations whose methods the console calls.
func usedOperations(t *testing.T) map[string]bool {
	t.Helper()
	find := func(folder, pattern string, found func(groups []string)) {
		names, err := filepath.Glob(filepath.Join(folder, "*.go"))
		require.NoError(t, err)
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			source, err := os.ReadFile(name)
			require.NoError(t, err)
			for _, groups := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(source), -1) {
				found(groups)
			}
		}
	}
	called, used := map[string]bool{}, map[string]bool{}
	find(".", `\.users\.([A-Z]\w+)`, func(groups []string) { called[groups[1]] = true })
	find("..", `\("([a-z]+\.[a-z_]+)", "([A-Z]\w+)", Target`, func(groups []string) { used[groups[1]] = called[groups[2]] })
	require.Len(t, used, len(userkit.Operations()))
	return used
}
