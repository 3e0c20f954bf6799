package userkit_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// forStores stands in the doc comment of every exported name that only writers of stores
// need, as a paragraph of its own, so that a host sees at a glance what is not for it.
const forStores = "\n\nFor writers of stores."

// exported is what the root package exports, as its source says.
type exported struct {
	docs      map[string]string   // of types and functions, by name
	uses      map[string][]string // the exported names in the declaration of a type or function, and in its methods
	functions map[string]bool
	constants map[string]bool
	used      map[string]bool // whatever is named but in a declaration of constants, and in the table of codes
	page      string          // the comment of the package
}

func parseRoot(t *testing.T) exported {
	t.Helper()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	e := exported{docs: map[string]string{}, uses: map[string][]string{}, functions: map[string]bool{}, constants: map[string]bool{}, used: map[string]bool{}}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		require.NoError(t, err)
		e.page += file.Doc.Text()
		for _, declaration := range file.Decls {
			e.add(declaration)
		}
	}
	return e
}

func (e *exported) add(declaration ast.Decl) {
	if d, ok := declaration.(*ast.GenDecl); ok && d.Tok == token.CONST {
		for _, spec := range d.Specs {
			for _, name := range spec.(*ast.ValueSpec).Names {
				e.constants[name.Name] = true
			}
		}
		return
	}
	ast.Inspect(declaration, func(n ast.Node) bool {
		if value, ok := n.(*ast.ValueSpec); ok && value.Names[0].Name == "codeTable" {
			return false
		}
		if identifier, ok := n.(*ast.Ident); ok {
			e.used[identifier.Name] = true
		}
		return true
	})
	switch d := declaration.(type) {
	case *ast.FuncDecl:
		if !d.Name.IsExported() {
			return
		}
		name := d.Name.Name
		if d.Recv != nil {
			name = receiver(d.Recv.List[0].Type)
		} else {
			e.docs[name], e.functions[name] = d.Doc.Text(), true
		}
		e.uses[name] = append(e.uses[name], exportedNames(d.Type)...)
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			typed, ok := spec.(*ast.TypeSpec)
			if !ok || !typed.Name.IsExported() {
				continue
			}
			doc := typed.Doc.Text()
			if doc == "" {
				doc = d.Doc.Text()
			}
			e.docs[typed.Name.Name] = doc
			e.uses[typed.Name.Name] = append(e.uses[typed.Name.Name], exportedNames(typed.Type)...)
		}
	}
}

func receiver(expression ast.Expr) string {
	switch e := expression.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// exportedNames returns the exported names that a type is made of; of a struct those of
// its exported fields.
func exportedNames(node ast.Node) (names []string) {
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			return false // of another package
		case *ast.Field:
			if len(n.Names) > 0 && !slices.ContainsFunc(n.Names, (*ast.Ident).IsExported) {
				if _, parameter := node.(*ast.FuncType); !parameter {
					names = append(names, exportedNames(n.Type)...)
					return false
				}
			}
			names = append(names, exportedNames(n.Type)...)
			return false
		case *ast.Ident:
			if n.IsExported() {
				names = append(names, n.Name)
			}
		}
		return true
	})
	return names
}

// reach returns all names that the given ones lead to, themselves included, on no way
// through the names that end one.
func (e *exported) reach(ends []string, from ...string) map[string]bool {
	reached := map[string]bool{}
	for len(from) > 0 {
		name := from[0]
		from = from[1:]
		if _, known := e.docs[name]; !known || reached[name] || slices.Contains(ends, name) {
			continue
		}
		reached[name] = true
		from = append(from, e.uses[name]...)
	}
	return reached
}

// usedBy returns the names of the root package that the packages below some folders use.
func usedBy(t *testing.T, folders ...string) map[string]bool {
	t.Helper()
	used := map[string]bool{}
	for _, folder := range folders {
		require.NoError(t, filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if selector, ok := n.(*ast.SelectorExpr); ok {
					if of, ok := selector.X.(*ast.Ident); ok && of.Name == "userkit" {
						used[selector.Sel.Name] = true
					}
				}
				return true
			})
			return nil
		}))
	}
	return used
}

// What hosts meet is what Manager, the options and the tables of fields lead to, and what
// the packages use that stand on the public interface. The rest of what the interface Store
// leads to, and of what the stores use, has to say that it is for stores.
func TestNamesForStoresSayThatTheyAre(t *testing.T) {
	e := parseRoot(t)
	host := []string{"Manager", "Activation"} // an Activation is the value of a UserRecord
	for name := range e.functions {
		if strings.HasPrefix(name, "With") || strings.HasPrefix(name, "New") || strings.HasSuffix(name, "Fields") {
			host = append(host, name)
		}
	}
	forHosts := e.reach([]string{"Store"}, host...)
	byHosts := usedBy(t, "userio", "userhttp", "console", "verify", "push", "mail", "pushmail", "phone", "examples")
	byStores := usedBy(t, "store/memory", "store/postgres")
	ofStore := e.reach(nil, "Store")
	marked := 0
	for name, doc := range e.docs {
		if forHosts[name] || byHosts[name] || !ofStore[name] && !byStores[name] {
			continue
		}
		require.Contains(t, doc, forStores, "the comment of %s", name)
		require.Regexp(t, `\b`+name+`\b`, e.page, "the page of the package")
		marked++
	}
	require.Positive(t, marked)
}
