package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// sourcePackage is a package with its parsed files, tests left out.
type sourcePackage struct {
	ImportPath string
	Name       string
	Files      []*ast.File
	Position   func(token.Pos) token.Position
}

// checkDocs finds exported names whose doc comment is missing or does not begin
// with the name, and a package without a package comment. Struct fields are
// left to their authors; package main exports nothing.
func checkDocs(pkg sourcePackage) []string {
	docs := docChecker{position: pkg.Position}
	documented := slices.ContainsFunc(pkg.Files, func(file *ast.File) bool { return file.Doc.Text() != "" })
	if !documented {
		docs.findings = append(docs.findings, pkg.ImportPath+": package "+pkg.Name+" has no package comment")
	}
	if pkg.Name == "main" {
		return docs.findings
	}
	for _, file := range pkg.Files {
		if text := file.Doc.Text(); text != "" && !strings.HasPrefix(text, "Package "+pkg.Name+" ") {
			docs.report(file.Doc, "the package comment should begin with \"Package %s\"", pkg.Name)
		}
		for _, declaration := range file.Decls {
			switch declaration := declaration.(type) {
			case *ast.FuncDecl:
				docs.function(declaration)
			case *ast.GenDecl:
				docs.general(declaration)
			}
		}
	}
	return docs.findings
}

type docChecker struct {
	position func(token.Pos) token.Position
	findings []string
}

func (c *docChecker) report(at ast.Node, format string, args ...any) {
	c.findings = append(c.findings, c.position(at.Pos()).String()+": "+fmt.Sprintf(format, args...))
}

// name checks the comment of one exported name.
func (c *docChecker) name(what string, name *ast.Ident, doc *ast.CommentGroup) {
	switch {
	case doc.Text() == "":
		c.report(name, "%s %s has no doc comment", what, name.Name)
	case !beginsWith(doc.Text(), name.Name):
		c.report(name, "the doc comment of %s %s should begin with its name", what, name.Name)
	}
}

func (c *docChecker) function(function *ast.FuncDecl) {
	if !function.Name.IsExported() {
		return
	}
	if function.Recv == nil {
		c.name("function", function.Name, function.Doc)
	} else if receiver := receiverName(function.Recv); token.IsExported(receiver) {
		c.name("method", function.Name, function.Doc)
	}
}

// general checks a declaration of types, constants or variables. A comment on a
// group in parentheses speaks for its members.
func (c *docChecker) general(declaration *ast.GenDecl) {
	group := declaration.Lparen.IsValid()
	groupDocumented := group && declaration.Doc.Text() != ""
	docOf := func(own *ast.CommentGroup) *ast.CommentGroup {
		if !group && own == nil {
			return declaration.Doc
		}
		return own
	}
	for _, spec := range declaration.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if !spec.Name.IsExported() {
				continue
			}
			if !groupDocumented {
				c.name("type", spec.Name, docOf(spec.Doc))
			}
			if contract, ok := spec.Type.(*ast.InterfaceType); ok {
				c.methods(spec.Name.Name, contract)
			}
		case *ast.ValueSpec:
			exported := slices.IndexFunc(spec.Names, func(name *ast.Ident) bool { return name.IsExported() })
			if exported >= 0 && !groupDocumented {
				c.name(declaration.Tok.String(), spec.Names[exported], docOf(spec.Doc))
			}
		}
	}
}

// methods checks the methods of an exported interface: its contract.
func (c *docChecker) methods(contract string, body *ast.InterfaceType) {
	for _, field := range body.Methods.List {
		if _, ok := field.Type.(*ast.FuncType); !ok {
			continue // embedded: documented where it is declared
		}
		for _, name := range field.Names {
			if name.IsExported() {
				c.name("method of "+contract+",", name, field.Doc)
			}
		}
	}
}

// receiverName gives the name of the type that a method belongs to.
func receiverName(receiver *ast.FieldList) string {
	expression := receiver.List[0].Type
	for {
		switch e := expression.(type) {
		case *ast.ParenExpr:
			expression = e.X
		case *ast.StarExpr:
			expression = e.X
		case *ast.IndexExpr:
			expression = e.X
		case *ast.IndexListExpr:
			expression = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

// beginsWith reports whether a comment's first word is the name; an article may
// come before it.
func beginsWith(comment, name string) bool {
	for _, article := range []string{"A ", "An ", "The "} {
		if rest, ok := strings.CutPrefix(comment, article); ok && name != strings.TrimSpace(article) {
			comment = rest
			break
		}
	}
	rest, ok := strings.CutPrefix(comment, name)
	if !ok {
		return false
	}
	next, _ := utf8.DecodeRuneInString(rest)
	return next != '_' && !unicode.IsLetter(next) && !unicode.IsDigit(next)
}
