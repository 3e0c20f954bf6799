package main

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// lint runs the linters of the project's .golangci.yml that know the house's own rules
// in a sample house. It returns their findings as "path: text", sorted.
func lint(t *testing.T, directory string) []string {
	t.Helper()
	config, err := os.ReadFile("../../.golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(directory, ".golangci.yml"), config, 0o666); err != nil {
		t.Fatal(err)
	}
	linter, err := exec.CommandContext(t.Context(), "go", "tool", "-n", "golangci-lint").Output()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), strings.TrimSpace(string(linter)), "run", "--enable-only=depguard,revive",
		"--output.text.path=stderr", "--output.json.path=stdout", "--show-stats=false", "./...")
	command.Dir = directory
	command.Env = append(os.Environ(), "GOLANGCI_LINT_CACHE="+t.TempDir())
	var stderr strings.Builder
	command.Stderr = &stderr
	output, err := command.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != 1) { // 1: there are findings
		t.Fatal(err, stderr.String())
	}
	var report struct {
		Issues []struct {
			Text string
			Pos  struct{ Filename string }
		}
	}
	if err := json.Unmarshal(output, &report); err != nil {
		t.Fatal(err, string(output), stderr.String())
	}
	var findings []string
	for _, issue := range report.Issues {
		findings = append(findings, filepath.ToSlash(issue.Pos.Filename)+": "+issue.Text)
	}
	slices.Sort(findings)
	return findings
}

func TestLintFindsForbiddenImportsAndMissingComments(t *testing.T) {
	files := maps.Clone(goodFiles)
	maps.Copy(files, map[string]string{
		"x.go":                        source("userkit", "database/sql", "net/http", "github.com/uptrace/bun", testify+"/require", "example.org/other", root+"/internal/shared2"),
		"internal/shared2/x.go":       source("shared2", testify+"/require"),
		"store/memory/x.go":           source("memory", root+"/store/postgres", root+"/userio"),
		"store/memory/assert_test.go": source("memory_test", testify+"/assert"),
		"userio/x.go":                 source("userio", root+"/store/storetest"),
		"console/x.go":                source("console", root+"/mail"),
		"mail/x.go": source("mail") + "\nfunc Send() {}\n\n// A Box is a box.\ntype Box interface {\n\tOpen()\n}\n" +
			"\n// Sends sends.\nfunc Receive() {}\n",
		"silent/x.go":                "package silent\n",
		"verify/google/x.go":         source("google", root+"/verify/apple"),
		"verify/apple/x.go":          source("apple"),
		"verify/internal/wrong/x.go": source("wrong", root+"/verify/apple"),
	})
	got := lint(t, house(t, files))
	want := []string{
		"console/x.go: import '" + root + "/mail' is not allowed",
		"internal/shared2/x.go: import '" + testify + "/require' is not allowed",
		"mail/x.go: exported: comment on exported function Receive should be of the form",
		"mail/x.go: exported: exported function Send should have comment",
		"mail/x.go: exported: public interface method Box.Open should be commented",
		"silent/x.go: package-comments: should have a package comment",
		"store/memory/assert_test.go: import '" + testify + "/assert' is not allowed",
		"store/memory/x.go: import '" + root + "/store/postgres' is not allowed",
		"store/memory/x.go: import '" + root + "/userio' is not allowed",
		"userio/x.go: import '" + root + "/store/storetest' is not allowed",
		"verify/google/x.go: import '" + root + "/verify/apple' is not allowed",
		"verify/internal/wrong/x.go: import '" + root + "/verify/apple' is not allowed",
		"x.go: import 'database/sql' is not allowed",
		"x.go: import 'example.org/other' is not allowed",
		"x.go: import 'github.com/stretchr/testify/require' is not allowed",
		"x.go: import 'github.com/uptrace/bun' is not allowed",
		"x.go: import '" + root + "/internal/shared2' is not allowed",
		"x.go: import 'net/http' is not allowed",
	}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
