// Package storytest compares what an example prints with what is kept of it.
package storytest

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write what the example prints to testdata")

// Require tells a story, and fails the test if that returns an error or prints anything
// else than testdata/story.txt in the folder of the test. With -update, it writes the file
// first.
func Require(t testing.TB, tell func(ctx context.Context, out io.Writer) error) {
	t.Helper()
	var out bytes.Buffer
	if err := tell(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join("testdata", "story.txt")
	if *update {
		if err := os.WriteFile(kept, out.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Fatalf("the story is\n%s\nand not, as %s has it,\n%s", &out, kept, want)
	}
}
