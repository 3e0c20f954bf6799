package main

import (
	"fmt"
	"slices"
	"strings"
)

// root is the import path of the module and of the package at its top.
const root = "github.com/userkit/userkit"

// neverInRoot are modules that the root package must not depend on, directly or
// through others.
var neverInRoot = []string{
	"github.com/uptrace/bun",
	"github.com/jackc/pgx",
	testify,
}

// neverInRootStandard are packages of the standard library that it must not
// depend on. Those below them are not meant: database/sql/driver is an interface
// that value types may implement.
var neverInRootStandard = []string{"database/sql", "net/http"}

// rootImports are the modules that the root package may import beside the
// standard library.
var rootImports = []string{"github.com/google/uuid", "golang.org/x/text"}

// testify must stay in tests and in the helpers of tests.
const testify = "github.com/stretchr/testify"

// checkImports applies the import rules to the packages of the project's main
// module; other modules have none.
func checkImports(packages []goPackage) []string {
	standard := map[string]bool{}
	for _, pkg := range packages {
		standard[pkg.ImportPath] = pkg.Standard
	}
	var findings []string
	report := func(pkg goPackage, format string, args ...any) {
		findings = append(findings, pkg.ImportPath+": "+fmt.Sprintf(format, args...))
	}
	for _, pkg := range packages {
		if !pkg.Module.Main || pkg.Module.Path != root {
			continue
		}
		if pkg.ImportPath == root {
			for _, dependency := range pkg.Deps {
				banned := slices.Contains(neverInRootStandard, dependency) ||
					slices.ContainsFunc(neverInRoot, func(path string) bool { return within(dependency, path) })
				if banned {
					report(pkg, "the root package depends on %s%s", dependency, chain(packages, pkg, dependency))
				}
			}
			for _, imported := range pkg.Imports {
				allowed := standard[imported] ||
					slices.ContainsFunc(rootImports, func(path string) bool { return within(imported, path) })
				if !allowed {
					report(pkg, "the root package imports %s; it may import the standard library, %s", imported, strings.Join(rootImports, " and "))
				}
			}
		}
		if own := part(pkg.ImportPath); own != "" {
			for _, dependency := range pkg.Deps {
				if other := part(dependency); other != "" && other != own {
					report(pkg, "%s depends on %s%s; the parts of the house never import one another", own, other, chain(packages, pkg, dependency))
				}
			}
		}
		if !helpsTests(pkg.ImportPath) {
			for _, dependency := range pkg.Deps {
				if within(dependency, testify) {
					report(pkg, "depends on %s%s outside of a test", dependency, chain(packages, pkg, dependency))
				}
			}
		}
	}
	return findings
}

// part names the part of the house that a package belongs to, such as
// store/memory or mail; "" for packages that belong to none.
func part(importPath string) string {
	below, ok := strings.CutPrefix(importPath, root+"/")
	if !ok {
		return ""
	}
	first, rest, _ := strings.Cut(below, "/")
	switch first {
	case "store", "verify":
		if rest == "" {
			return ""
		}
		second, _, _ := strings.Cut(rest, "/")
		if second == "internal" { // what the parts beside it share
			return ""
		}
		return first + "/" + second
	case "mail", "pushmail", "userio", "console":
		return first
	}
	return ""
}

// helpsTests reports whether a package is there for tests only: the conformance
// suite, and internal packages whose name ends in "test".
func helpsTests(importPath string) bool {
	return within(importPath, root+"/store/storetest") ||
		strings.Contains(importPath, "/internal/") && strings.HasSuffix(importPath, "test")
}

// within reports whether an import path is the given one or below it.
func within(importPath, parent string) bool {
	return importPath == parent || strings.HasPrefix(importPath, parent+"/")
}

// chain tells through which direct import a dependency comes; "" when it is
// imported directly.
func chain(packages []goPackage, pkg goPackage, dependency string) string {
	if slices.Contains(pkg.Imports, dependency) {
		return ""
	}
	for _, other := range packages {
		if slices.Contains(pkg.Imports, other.ImportPath) && slices.Contains(other.Deps, dependency) {
			return " (through " + other.ImportPath + ")"
		}
	}
	return ""
}
