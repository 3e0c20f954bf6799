// Package examples_test checks that what README.md shows is what the code does.
package examples_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// block is a fenced block of a Markdown file.
type block struct {
	language string
	text     string
}

// blocks returns the fenced blocks of a document in their order.
func blocks(t *testing.T, document string) []block {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", document))
	require.NoError(t, err)
	var found []block
	for i, part := range strings.Split(string(text), "```") {
		if i%2 == 1 {
			language, body, _ := strings.Cut(part, "\n")
			found = append(found, block{language: language, text: body})
		}
	}
	return found
}

// A whole program in README runs and prints the block that follows it.
func TestProgramsOfReadmeRun(t *testing.T) {
	programs := 0
	all := blocks(t, "README.md")
	for i, shown := range all {
		if shown.language != "go" || !strings.HasPrefix(shown.text, "package main\n") {
			continue
		}
		programs++
		path := filepath.Join(t.TempDir(), "main.go")
		require.NoError(t, os.WriteFile(path, []byte(shown.text), 0o666))
		output, err := exec.CommandContext(t.Context(), "go", "run", path).CombinedOutput()
		require.NoError(t, err, "%s", output)
		require.Less(t, i+1, len(all), "the program is followed by its output")
		require.Equal(t, block{language: "text", text: string(output)}, all[i+1])
	}
	require.Equal(t, 1, programs, "programs in README")
}

// Every other piece of Go in README and docs stands, word for word, in a program or test
// that is compiled and run.
func TestPiecesOfDocumentsAreTested(t *testing.T) {
	tested := textOf(t, "../example_*_test.go", "../*/example_test.go", "*_test.go", "*/*.go")
	documents, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	withPieces := 0
	for _, document := range append(documents, "../README.md") {
		pieces := 0
		document = strings.TrimPrefix(document, "../")
		for _, shown := range blocks(t, document) {
			if shown.language != "go" || strings.HasPrefix(shown.text, "package main\n") {
				continue
			}
			pieces++
			require.Contains(t, tested, withoutIndent(shown.text), document)
		}
		if pieces > 0 {
			withPieces++
		}
	}
	require.GreaterOrEqual(t, withPieces, 2)
}

// What docs say that the examples print is what they print.
func TestOutputInDocumentsIsWhatExamplesPrint(t *testing.T) {
	printed := textOf(t, "*/testdata/*.txt")
	outputs := 0
	for _, shown := range blocks(t, "docs/reach.md") {
		if shown.language == "text" {
			outputs++
			require.Contains(t, printed, withoutIndent(shown.text))
		}
	}
	require.NotZero(t, outputs)
}

// textOf returns the files of some patterns, one after another.
func textOf(t *testing.T, patterns ...string) string {
	t.Helper()
	all := ""
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, paths, pattern)
		for _, path := range paths {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			all += withoutIndent(string(text))
		}
	}
	return all
}

// withoutIndent takes the indentation off every line.
func withoutIndent(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimLeft(line, "\t ")
	}
	return strings.Join(lines, "\n")
}

// What README says of speed is what ARCHITECTURE.md has measured, word for word.
func TestFiguresOfReadmeAreMeasured(t *testing.T) {
	figures := func(path string) [][]string {
		text, err := os.ReadFile(filepath.Join("..", path))
		require.NoError(t, err)
		var rows [][]string
		inTable := false
		for line := range strings.Lines(string(text)) {
			inTable = strings.HasPrefix(line, "| | ours | theirs | ratio |") || inTable && strings.HasPrefix(line, "|")
			if cells := strings.Split(line, " | "); inTable && len(cells) >= 4 && !strings.Contains(line, "theirs") {
				rows = append(rows, []string{cells[0], cells[1], cells[2], strings.TrimRight(cells[3], " |\n")})
			}
		}
		return rows
	}
	measured, shown := figures("ARCHITECTURE.md"), figures("README.md")
	require.Len(t, shown, 4)
	for _, row := range shown {
		require.Contains(t, measured, row)
	}
}

// docs/dependencies.md names each module that go.mod requires for the library's own
// code, with the packages that import it, tests aside.
func TestDependenciesAreDocumented(t *testing.T) {
	const root = "github.com/userkit/userkit"
	list := func(arguments ...string) []string {
		command := exec.CommandContext(t.Context(), "go", append([]string{"list"}, arguments...)...)
		command.Dir = ".."
		output, err := command.Output()
		require.NoError(t, err)
		return strings.Split(strings.TrimSpace(string(output)), "\n")
	}
	modules := map[string][]string{} // the packages that import each
	for _, module := range list("-m", "-f", "{{if not (or .Main .Indirect)}}{{.Path}}{{end}}", "all") {
		modules[module] = nil
	}
	delete(modules, "")
	for _, line := range list("-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...") {
		words := strings.Fields(line)
		name := strings.TrimPrefix(strings.TrimPrefix(words[0], root), "/")
		if name == "" {
			name = "userkit"
		}
		for module, users := range modules {
			imports := func(path string) bool { return path == module || strings.HasPrefix(path, module+"/") }
			if slices.ContainsFunc(words[1:], imports) {
				modules[module] = append(users, name)
			}
		}
	}
	var rows []string
	for _, module := range slices.Sorted(maps.Keys(modules)) {
		isExample := func(user string) bool { return strings.HasPrefix(user, "examples/") }
		inLibrary := slices.DeleteFunc(slices.Clone(modules[module]), isExample)
		require.False(t, len(inLibrary) == 0 && len(modules[module]) > 0,
			"%s is what %v need alone: such examples are modules of their own", module, modules[module])
		users := cmp.Or(strings.Join(inLibrary, ", "), "tests only")
		rows = append(rows, fmt.Sprintf("| %s | %s |", module, users))
	}
	text, err := os.ReadFile("../docs/dependencies.md")
	require.NoError(t, err)
	_, table, _ := strings.Cut(string(text), "|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	require.Equal(t, strings.Join(rows, "\n"), table)
}

// The table of features names every row of the feature list once.
func TestFeatureTableIsWhole(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "README.md"))
	require.NoError(t, err)
	rows := map[string]int{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) == 5 {
			rows[strings.TrimSpace(cells[1])]++
		}
	}
	for group, count := range map[string]int{"U": 10, "L": 7, "D": 7, "S": 8, "P": 7, "B": 6, "G": 3, "M": 3, "A": 4, "C": 3, "H": 6} {
		for number := 1; number <= count; number++ {
			id := fmt.Sprintf("%s%d", group, number)
			require.Equal(t, 1, rows[id], "rows for %s", id)
		}
	}
}

// README names every option of a manager, and every interface that a manager is the sum of.
func TestReadmeNamesEveryOptionAndManager(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	sources, err := filepath.Glob("../*.go")
	require.NoError(t, err)
	var names []string
	for _, path := range sources {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.FuncDecl:
				if results := node.Type.Results; node.Recv == nil && results != nil && len(results.List) == 1 {
					if result, ok := results.List[0].Type.(*ast.Ident); ok && result.Name == "Option" {
						names = append(names, node.Name.Name)
					}
				}
			case *ast.TypeSpec:
				if sum, ok := node.Type.(*ast.InterfaceType); ok && node.Name.Name == "Manager" {
					for _, method := range sum.Methods.List {
						if embedded, ok := method.Type.(*ast.Ident); ok {
							names = append(names, embedded.Name)
						}
					}
				}
			}
			return true
		})
	}
	require.Greater(t, len(names), 40)
	for _, name := range names {
		require.Contains(t, string(readme), "`"+name+"`")
	}
}
