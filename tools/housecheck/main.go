// Housecheck checks the rules of this project that no general tool knows: who
// may import whom, and that every exported name has a doc comment.
//
// Usage:
//
//	housecheck [module directory]...
//
// It prints a line per finding, as "file:line:column: what", and exits with
// status 1 when there are any. Status 2 means that it could not look.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	directories := os.Args[1:]
	if len(directories) == 0 {
		directories = []string{"."}
	}
	clean := true
	for _, directory := range directories {
		findings, err := check(directory)
		if err != nil {
			fmt.Fprintln(os.Stderr, "housecheck:", err)
			os.Exit(2)
		}
		for _, finding := range findings {
			clean = false
			fmt.Println(finding)
		}
	}
	if !clean {
		os.Exit(1)
	}
}

// goPackage is what the checks need of a row of "go list -json".
type goPackage struct {
	ImportPath string
	Name       string
	Dir        string
	Standard   bool
	DepOnly    bool     // not named on the command line, only imported
	Module     struct { // empty for the standard library
		Path string
		Main bool
	}
	GoFiles  []string // without tests
	CgoFiles []string
	Imports  []string // of the files above
	Deps     []string // of the files above, direct and indirect
}

// check applies every rule to the module in a directory.
func check(directory string) ([]string, error) {
	packages, err := list(directory)
	if err != nil {
		return nil, err
	}
	findings := checkImports(packages)
	for _, pkg := range packages {
		if pkg.DepOnly || len(pkg.GoFiles)+len(pkg.CgoFiles) == 0 {
			continue
		}
		files := token.NewFileSet()
		source := sourcePackage{ImportPath: pkg.ImportPath, Name: pkg.Name, Position: files.Position}
		for _, name := range slices.Concat(pkg.GoFiles, pkg.CgoFiles) {
			path := filepath.Join(pkg.Dir, name)
			file, err := parser.ParseFile(files, path, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			source.Files = append(source.Files, file)
		}
		findings = append(findings, checkDocs(source)...)
	}
	return findings, nil
}

// list returns the packages of a module and everything that they import.
func list(directory string) ([]goPackage, error) {
	command := exec.Command("go", "list", "-deps", "-json=ImportPath,Name,Dir,Standard,DepOnly,Module,GoFiles,CgoFiles,Imports,Deps", "./...")
	command.Dir = directory
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go list in %s: %w\n%s", directory, err, strings.TrimSpace(stderr.String()))
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var pkg goPackage
		switch err := decoder.Decode(&pkg); {
		case errors.Is(err, io.EOF):
			return packages, nil
		case err != nil:
			return nil, fmt.Errorf("go list in %s: %w", directory, err)
		}
		packages = append(packages, pkg)
	}
}
