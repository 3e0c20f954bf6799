package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

// docFindings checks a package that consists of one file.
func docFindings(t *testing.T, source string) []string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "x.go", source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return checkDocs(sourcePackage{
		ImportPath: "example.org/x", Name: file.Name.Name, Files: []*ast.File{file}, Position: files.Position,
	})
}

func TestCheckDocsFindsEveryKindOfExportedName(t *testing.T) {
	const doc = "// Package x is a sample.\npackage x\n\n"
	tests := []struct {
		name   string
		source string
		want   []string
	}{
		{"package without a comment", "package x\n", []string{"example.org/x: package x has no package comment"}},
		{"package comment that begins otherwise", "// About x.\npackage x\n",
			[]string{`x.go:1:1: the package comment should begin with "Package x"`}},
		{"main without a comment", "package main\n", []string{"example.org/x: package main has no package comment"}},
		{"function", doc + "func Open() {}\n", []string{"x.go:4:6: function Open has no doc comment"}},
		{"function whose comment begins with another name", doc + "// Opener opens.\nfunc Open() {}\n",
			[]string{"x.go:5:6: the doc comment of function Open should begin with its name"}},
		{"function with a directive only", doc + "//go:noinline\nfunc Open() {}\n",
			[]string{"x.go:5:6: function Open has no doc comment"}},
		{"comment apart from its function", doc + "// Open opens.\n\nfunc Open() {}\n",
			[]string{"x.go:6:6: function Open has no doc comment"}},
		{"type", doc + "type Door struct{}\n", []string{"x.go:4:6: type Door has no doc comment"}},
		{"type in a group", doc + "type (\n\tDoor struct{}\n)\n", []string{"x.go:5:2: type Door has no doc comment"}},
		{"method", doc + "// Door is a door.\ntype Door struct{}\n\nfunc (d *Door) Open() {}\n",
			[]string{"x.go:7:16: method Open has no doc comment"}},
		{"method of a generic type", doc + "// Pair is a pair.\ntype Pair[A, B any] struct{}\n\nfunc (p *Pair[A, B]) Swap() {}\n",
			[]string{"x.go:7:22: method Swap has no doc comment"}},
		{"interface method", doc + "// Opener opens.\ntype Opener interface {\n\tOpen()\n\t// Close closes.\n\tClose()\n}\n",
			[]string{"x.go:6:2: method of Opener, Open has no doc comment"}},
		{"interface method in a group of types", doc + "// The contracts.\ntype (\n\tOpener interface{ Open() }\n)\n",
			[]string{"x.go:6:20: method of Opener, Open has no doc comment"}},
		{"constant", doc + "const Width = 2\n", []string{"x.go:4:7: const Width has no doc comment"}},
		{"constant in a group without a comment", doc + "const (\n\t// Width is in metres.\n\tWidth = 2\n\tHeight = 3 // metres\n)\n",
			[]string{"x.go:7:2: const Height has no doc comment"}},
		{"variable", doc + "var Default = 1\n", []string{"x.go:4:5: var Default has no doc comment"}},
		{"second variable of one line", doc + "var first, Second = 1, 2\n", []string{"x.go:4:12: var Second has no doc comment"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := docFindings(t, test.source); !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestCheckDocsIsContentWithGoodComments(t *testing.T) {
	source := `// Package x is a sample.
package x

// The measures of a door, in metres.
const (
	Width  = 1
	Height = 2
)

// ErrLocked means that the door is locked.
var ErrLocked error

var (
	// ErrStuck: the door does not move.
	ErrStuck error
	hidden   int
)

// A Door opens.
type Door struct{ Color string }

// Open opens the door.
func (d Door) Open() {}

func (d Door) creak() {}

// The ids of this package.
type (
	DoorID = int
	WallID = int
)

type wall struct{}

func (wall) Open() {}

// Opener is what opens.
type Opener interface {
	Closer
	// Open opens it.
	Open()
	creak()
}

// Closer is what closes.
type Closer interface {
	// Close closes it.
	Close()
}
`
	if got := docFindings(t, source); len(got) > 0 {
		t.Errorf("findings in good source: %q", got)
	}
	if got := docFindings(t, "// Door opens doors.\npackage main\n\nfunc Open() {}\n"); len(got) > 0 {
		t.Errorf("findings in a good command: %q", got)
	}
}
