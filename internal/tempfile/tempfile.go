// Package tempfile makes temporary files that nothing is left of, however the process ends.
package tempfile

import (
	"errors"
	"fmt"
	"os"
)

// File is a temporary file without a name: only the process that made it can read it, and the
// system removes it as soon as it is closed, be it because the process ends. Where the system does
// not let go of the name of an open file (Windows), Close removes it.
type File struct {
	*os.File
	named bool
}

// Create makes a file in the directory of the system for temporary files. The caller closes it.
func Create() (*File, error) {
	file, err := os.CreateTemp("", "userkit-")
	if err != nil {
		return nil, fmt.Errorf("temporary file: %w", err)
	}
	return &File{File: file, named: os.Remove(file.Name()) != nil}, nil
}

// Close closes and removes the file.
func (f *File) Close() error {
	err := f.File.Close()
	if f.named {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}
