// Command housecheck checks what no linter can: what the packages of this project depend
// on through others. The rules about their own imports are in .golangci.yml.
//
// Usage:
//
//	housecheck [module directory]...
//
// It prints a line for each finding and exits with status 1 when there are any. Status 2
// means that it could not look.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
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

// goPackage holds the fields of a package in the output of "go list -json" that the
// checks need. They leave tests out.
type goPackage struct {
	ImportPath string
	Module     struct { // empty for the standard library
		Path string
		Main bool
	}
	Imports []string
	Deps    []string // direct and indirect
}

// check returns the findings in the module in a directory.
func check(directory string) ([]string, error) {
	packages, err := list(directory)
	if err != nil {
		return nil, err
	}
	return checkImports(packages), nil
}

// list returns the packages of a module and everything that they import.
func list(directory string) ([]goPackage, error) {
	command := exec.CommandContext(context.Background(), "go", "list", "-deps", "-json=ImportPath,Module,Imports,Deps", "./...")
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
