package main

import (
	"fmt"
	"slices"
	"strings"
)

// root is the import path of the module and of the package at its top.
const root = "github.com/userkit/userkit"

// neverInRoot are modules that the root package must not depend on.
var neverInRoot = []string{
	"github.com/uptrace/bun",
	"github.com/jackc/pgx",
	testify,
}

// neverInRootStandard are packages of the standard library that the root package must
// not depend on. Packages below them are allowed: database/sql/driver is an interface
// that value types may implement.
var neverInRootStandard = []string{"database/sql", "net/http"}

// testify must stay in tests and in the helpers of tests.
const testify = "github.com/stretchr/testify"

// checkImports applies the rules to the packages of the project's main module; its
// other modules have none.
func checkImports(packages []goPackage) []string {
	var findings []string
	for _, pkg := range packages {
		if !pkg.Module.Main || pkg.Module.Path != root {
			continue
		}
		for _, dependency := range pkg.Deps {
			switch {
			case pkg.ImportPath == root && (slices.Contains(neverInRootStandard, dependency) || withinAny(dependency, neverInRoot)):
				findings = append(findings, fmt.Sprintf("%s: the root package depends on %s%s",
					pkg.ImportPath, dependency, chain(packages, pkg, dependency)))
			case within(dependency, testify) && !helpsTests(pkg.ImportPath):
				findings = append(findings, fmt.Sprintf("%s: depends on %s%s outside of a test",
					pkg.ImportPath, dependency, chain(packages, pkg, dependency)))
			}
		}
	}
	return findings
}

// helpsTests reports whether a package exists for tests only: the conformance suite, and
// internal packages whose name ends in "test".
func helpsTests(importPath string) bool {
	return within(importPath, root+"/store/storetest") ||
		strings.Contains(importPath, "/internal/") && strings.HasSuffix(importPath, "test")
}

// within reports whether an import path is parent or below it.
func within(importPath, parent string) bool {
	return importPath == parent || strings.HasPrefix(importPath, parent+"/")
}

// withinAny reports whether an import path is one of parents or below one of them.
func withinAny(importPath string, parents []string) bool {
	return slices.ContainsFunc(parents, func(parent string) bool { return within(importPath, parent) })
}

// chain names the import that brings a dependency along. It returns "" when the package
// imports the dependency itself.
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
