// Package example runs examples/console, for pictures and measurements of the console.
package example

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Start builds examples/console of the repository at root into a directory and starts it with its
// 5,000 users in memory. When its data is complete, Start returns the link for a sign-in, and a
// function that ends the example.
func Start(ctx context.Context, root, directory string) (link string, end func() error, err error) {
	program := filepath.Join(directory, "console")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./examples/console")
	build.Dir, build.Stderr = root, os.Stderr
	if err := build.Run(); err != nil {
		return "", nil, err
	}
	example := exec.CommandContext(ctx, program, "-listen", "127.0.0.1:0")
	example.Stderr = os.Stderr
	out, err := example.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := example.Start(); err != nil {
		return "", nil, err
	}
	end = func() error { return errors.Join(example.Process.Signal(os.Interrupt), example.Wait()) }
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if found := regexp.MustCompile(`http://\S+/sign-in\S+`).FindString(lines.Text()); found != "" {
			link = found
		}
		if link != "" && strings.Contains(lines.Text(), "data is complete") {
			go func() { _, _ = io.Copy(io.Discard, out) }() // so that the example never waits to write
			return link, end, nil
		}
	}
	return "", nil, errors.Join(errors.New("the example does not begin"), lines.Err(), end())
}
