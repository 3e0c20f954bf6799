package console

import (
	"io"
	"sync"

	"github.com/userkit/userkit/internal/tempfile"
)

// sharedFile is a temporary file that several requests and jobs read at once. It is gone as
// soon as it has been dropped and the last of them is done.
type sharedFile struct {
	content *tempfile.File
	size    int64

	mutex   sync.Mutex
	readers int
	dropped bool
}

// shareFile keeps what a reader has in a temporary file.
func shareFile(from io.Reader) (*sharedFile, error) {
	content, err := tempfile.Create()
	if err != nil {
		return nil, err
	}
	f := &sharedFile{content: content}
	if f.size, err = io.Copy(content, from); err != nil {
		f.drop()
		return nil, err
	}
	return f, nil
}

// open returns a reader of the whole file, and reports whether there still is a file. The caller
// says when it is done.
func (f *sharedFile) open() (*io.SectionReader, bool) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.dropped {
		return nil, false
	}
	f.readers++
	return io.NewSectionReader(f.content, 0, f.size), true
}

// done says that a reader which open returned is no longer needed.
func (f *sharedFile) done() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.readers--
	f.close()
}

// drop says that nobody opens the file any more. It may be called again.
func (f *sharedFile) drop() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if !f.dropped {
		f.dropped = true
		f.close()
	}
}

// close closes the file if nobody needs it any more. The lock is held.
func (f *sharedFile) close() {
	if f.dropped && f.readers == 0 {
		_ = f.content.Close() // nothing of it is needed
	}
}
