package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// house writes a module with the project's path into a temporary folder and
// returns the folder. files are Go files by their path. The modules that the
// samples import are replaced by empty ones, so nothing is downloaded.
func house(t *testing.T, files map[string]string) string {
	t.Helper()
	directory := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(directory, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	gomod := "module " + root + "\n\ngo 1.26.0\n"
	for _, module := range []struct{ path, version, pkg string }{
		{testify, "v1.0.0", "require"},
		{"github.com/uptrace/bun", "v1.0.0", ""},
		{"github.com/jackc/pgx/v5", "v5.0.0", "stdlib"},
		{"github.com/google/uuid", "v1.0.0", ""},
		{"golang.org/x/text", "v1.0.0", "currency"},
		{"example.org/other", "v1.0.0", ""},
	} {
		folder := filepath.Join("replaced", filepath.FromSlash(module.path))
		gomod += "\nrequire " + module.path + " " + module.version + "\nreplace " + module.path + " => ./" + filepath.ToSlash(folder) + "\n"
		write(filepath.Join(folder, "go.mod"), "module "+module.path+"\n\ngo 1.26.0\n")
		write(filepath.Join(folder, module.pkg, "x.go"), "package x\n")
	}
	write("go.mod", gomod)
	for path, text := range files {
		write(path, text)
	}
	return directory
}

// source is a documented Go file with the given imports.
func source(pkg string, imports ...string) string {
	text := "// Package " + pkg + " is a sample.\npackage " + pkg + "\n"
	for _, path := range imports {
		text += "\nimport _ \"" + path + "\"\n"
	}
	return text
}

func TestCheckFindsWhatComesThroughOthers(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  []string // each a part of one finding, in their order
	}{
		{"SQL in the root", map[string]string{"x.go": source("userkit", "database/sql")},
			[]string{root + ": the root package depends on database/sql"}},
		{"HTTP in the root", map[string]string{"x.go": source("userkit", "net/http")},
			[]string{"the root package depends on net/http"}},
		{"bun in the root", map[string]string{"x.go": source("userkit", "github.com/uptrace/bun")},
			[]string{"the root package depends on github.com/uptrace/bun"}},
		{"pgx in the root", map[string]string{"x.go": source("userkit", "github.com/jackc/pgx/v5/stdlib")},
			[]string{"the root package depends on github.com/jackc/pgx/v5/stdlib"}},
		{"testify in the root", map[string]string{"x.go": source("userkit", testify+"/require")},
			[]string{"the root package depends on " + testify}},
		{"HTTP in the root through a package of its own", map[string]string{
			"x.go":            source("userkit", root+"/internal/y"),
			"internal/y/y.go": source("y", "net/http"),
		}, []string{"depends on net/http (through " + root + "/internal/y)"}},
		{"testify through the conformance suite", map[string]string{
			"store/memory/x.go":    source("memory", root+"/store/storetest"),
			"store/storetest/x.go": source("storetest", testify+"/require"),
		}, []string{"store/memory: depends on " + testify + "/require (through " + root + "/store/storetest) outside of a test"}},
		{"testify in an internal package", map[string]string{"internal/y/y.go": source("y", testify+"/require")},
			[]string{"internal/y: depends on " + testify + "/require outside of a test"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := check(house(t, test.files))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(got, test.want, strings.Contains) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestCheckAcceptsAGoodHouse(t *testing.T) {
	findings, err := check(house(t, goodFiles))
	if err != nil {
		t.Fatal(err)
	}
	if len(findings) > 0 {
		t.Errorf("findings in a good house: %q", findings)
	}
}

// goodFiles keep all the rules.
var goodFiles = map[string]string{
	"good.go":                     source("userkit", "database/sql/driver", "log/slog", "github.com/google/uuid", "golang.org/x/text/currency"),
	"good_test.go":                source("userkit_test", "net/http", testify+"/require", root+"/store/memory"),
	"store/memory/good.go":        source("memory", root, "example.org/other", root+"/internal/shared"),
	"store/memory/x_test.go":      source("memory_test", testify+"/require", root+"/store/storetest"),
	"store/postgres/good.go":      source("postgres", root, "github.com/uptrace/bun", "database/sql"),
	"store/storetest/good.go":     source("storetest", root, testify+"/require"),
	"verify/google/good.go":       source("google", root, root+"/verify/internal/shared"),
	"verify/internal/shared/x.go": source("shared", root, "net/http"),
	"examples/x_test.go":          source("examples_test"),
	"internal/shared/x.go":        source("shared", root),
	"internal/pgtest/x.go":        source("pgtest", root, "github.com/jackc/pgx/v5/stdlib", testify+"/require"),
	"examples/program/main.go":    "// Program is a sample.\npackage main\n\nimport (\n\t_ \"" + root + "/store/memory\"\n\t_ \"" + root + "/store/postgres\"\n)\n\nfunc main() {}\n",
}

func TestCheckHasNoRulesForOtherModules(t *testing.T) {
	findings := checkImports([]goPackage{module("example.org/other", "example.org/other", "net/http", testify)})
	if len(findings) > 0 {
		t.Errorf("findings: %q", findings)
	}
	findings = checkImports([]goPackage{module(root+"/bench", root+"/bench", "net/http", testify)})
	if len(findings) > 0 {
		t.Errorf("findings: %q", findings)
	}
}

// module is the only package of a main module.
func module(path, importPath string, imports ...string) goPackage {
	pkg := goPackage{ImportPath: importPath, Imports: imports, Deps: imports}
	pkg.Module.Path, pkg.Module.Main = path, true
	return pkg
}

func TestCheckSaysWhenItCannotLook(t *testing.T) {
	if _, err := check(t.TempDir()); err == nil {
		t.Error("no error in a folder without a module")
	}
	broken := house(t, map[string]string{"x.go": "package userkit\n\nimport {\n"})
	if _, err := check(broken); err == nil {
		t.Error("no error for a file that does not parse")
	}
}
