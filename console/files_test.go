package console

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// temporaryFiles gives the test a directory for temporary files, and returns what is in it.
func temporaryFiles(t *testing.T) func() []string {
	directory := t.TempDir()
	t.Setenv("TMPDIR", directory)
	t.Setenv("TMP", directory) // of Windows
	return func() []string {
		t.Helper()
		entries, err := os.ReadDir(directory)
		require.NoError(t, err)
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		return names
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(to []byte) (int, error) { return f(to) }

// watchedImports is a store that looks for temporary files whenever an import asks it for users.
type watchedImports struct {
	userkit.Store
	left func() []string
	seen [][]string
}

func (w *watchedImports) FindUsers(ctx context.Context, field string, values []string) ([]userkit.User, error) {
	w.seen = append(w.seen, w.left())
	return w.Store.FindUsers(ctx, field, values)
}

// TestNoFileIsSeenOnDisk sends files to import, and looks after every step for files that
// would stay if the process ended there.
func TestNoFileIsSeenOnDisk(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the names of open files stay on Windows, until they are closed")
	}
	left := temporaryFiles(t)
	store := &watchedImports{Store: memory.New(), left: left}
	s := newSiteOn(t, store, nil)

	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	require.NoError(t, form.WriteField("encoding", "windows-1252"))
	part, err := form.CreateFormFile("file", "users.csv")
	require.NoError(t, err)
	_, err = io.WriteString(part, "login,email,\r\n")
	require.NoError(t, err)
	for i := range 100 { // more than what a form may have in memory
		_, err = fmt.Fprintf(part, "user%d,not an address,%s\r\n", i, strings.Repeat("-", 12_000))
		require.NoError(t, err)
	}
	_, err = io.WriteString(part, "kim,kim@example.org,\r\n")
	require.NoError(t, err)
	require.NoError(t, form.Close())
	all := body.Bytes()
	looked := false
	r := httptest.NewRequest(http.MethodPost, "/admin/import", io.MultiReader(bytes.NewReader(all[:len(all)-10]), readerFunc(func([]byte) (int, error) {
		looked = true
		require.Empty(t, left(), "while the file comes")
		return 0, io.EOF
	}), bytes.NewReader(all[len(all)-10:])))
	r.Header.Set("Content-Type", form.FormDataContentType())
	a := s.do(r)
	require.True(t, looked)
	require.Equal(t, http.StatusSeeOther, a.status, alert(a.body))
	require.Empty(t, left(), "while it is mapped")
	path, query, _ := strings.Cut(strings.TrimPrefix(a.header.Get("Location"), "/admin"), "?")
	require.Equal(t, "encoding=windows-1252", query)
	s.get(path).says(200, "user0", "users.csv")

	job := strings.TrimPrefix(s.post(path, "mode", "upsert", "field-0", "login", "field-1", "email").header.Get("Location"), "/admin")
	require.Contains(t, s.ended(job), "Rejected rows, to mend and import again")
	require.NotEmpty(t, store.seen)
	for _, names := range store.seen {
		require.Empty(t, names, "while it is imported")
	}
	require.Empty(t, left(), "while rejected rows are kept")
	require.Equal(t, 101, strings.Count(s.get(job+"/rejected.csv").ok(), "\n"))
	require.Equal(t, http.StatusNotFound, s.get("/jobs/unknown/rejected.csv").status)
	for _, address := range []string{"/import", "/preferences"} { // one file too many, and one where none is asked for
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		for range 2 {
			part, err := form.CreateFormFile("file", "users.csv")
			require.NoError(t, err)
			_, err = io.WriteString(part, "login\r\n")
			require.NoError(t, err)
		}
		require.NoError(t, form.Close())
		r := httptest.NewRequest(http.MethodPost, "/admin"+address, &body)
		r.Header.Set("Content-Type", form.FormDataContentType())
		require.Equal(t, http.StatusBadRequest, s.do(r).status, address)
	}
	require.Empty(t, left())
}

// TestFilesEndByTheClockOfTheHost moves the clock, and nobody sends another file.
func TestFilesEndByTheClockOfTheHost(t *testing.T) {
	left := temporaryFiles(t)
	s := newSite(t)
	path := strings.TrimPrefix(s.upload("users.csv", "login,email\r\nbad,not an address\r\n").header.Get("Location"), "/admin")
	job := strings.TrimPrefix(s.post(path, "mode", "upsert", "field-0", "login", "field-1", "email").header.Get("Location"), "/admin")
	s.ended(job)
	s.now = s.now.Add(keptJobs - time.Second)
	s.get(path).ok()
	s.get(job + "/rejected.csv").ok()
	s.now = s.now.Add(time.Second)
	require.Equal(t, http.StatusNotFound, s.get(path).status)
	require.Equal(t, http.StatusNotFound, s.post(path).status)
	require.Equal(t, http.StatusNotFound, s.get(job+"/rejected.csv").status)
	require.Equal(t, http.StatusNotFound, s.get(job).status)
	require.Empty(t, left(), "on every system")
}

// TestFilesEndByThemselves lets an hour pass in which nobody does anything.
func TestFilesEndByThemselves(t *testing.T) {
	left := temporaryFiles(t)
	synctest.Test(t, func(t *testing.T) {
		uploads := newUploads(time.Now)
		file, err := shareFile(strings.NewReader("login\r\nada\r\n"))
		require.NoError(t, err)
		kept := uploads.keep(administrator, "users.csv", file)
		reader, ok := kept.open()
		require.True(t, ok)
		_, ok = kept.open() // and one more, at once
		require.True(t, ok)

		all := newJobs(time.Now, slog.New(slog.DiscardHandler))
		ended := &job{Kind: "import", Actor: administrator}
		require.NoError(t, all.start(t.Context(), ended, func(_ context.Context, j *job) error {
			j.mutex.Lock()
			defer j.mutex.Unlock()
			j.rejects, err = shareFile(strings.NewReader("ada\r\n"))
			return err
		}))
		synctest.Wait()
		require.NoError(t, ended.State().Err)
		require.True(t, ended.State().HasRejects)

		time.Sleep(keptJobs)
		synctest.Wait()
		require.Empty(t, uploads.all)
		_, ok = kept.open()
		require.False(t, ok)
		content, err := io.ReadAll(reader)
		require.NoError(t, err, "who has begun to read goes on")
		require.Equal(t, "login\r\nada\r\n", string(content))
		kept.done()
		_, err = file.content.Stat()
		require.NoError(t, err)
		kept.done()
		_, err = file.content.Stat()
		require.ErrorIs(t, err, os.ErrClosed)
		require.Empty(t, all.all)
		_, err = ended.rejects.content.Stat()
		require.ErrorIs(t, err, os.ErrClosed)
		require.Empty(t, left())
	})
}

// TestTheOldestFileMakesRoom sends more files than are kept of one person.
func TestTheOldestFileMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		uploads := newUploads(time.Now)
		keep := func(actor userkit.Actor) *upload {
			file, err := shareFile(strings.NewReader("login\r\n"))
			require.NoError(t, err)
			time.Sleep(time.Second)
			return uploads.keep(actor, "users.csv", file)
		}
		other := keep(userkit.Actor{Kind: userkit.ActorAdministrator, ID: "other"})
		first := keep(administrator)
		for range maxUploads {
			keep(administrator)
		}
		_, err := uploads.find(administrator, first.id)
		require.ErrorIs(t, err, errNoUpload)
		_, err = first.content.Stat()
		require.ErrorIs(t, err, os.ErrClosed)
		_, err = uploads.find(other.actor, other.id)
		require.NoError(t, err)
		uploads.mutex.Lock()
		require.Len(t, uploads.all, maxUploads+1)
		uploads.mutex.Unlock()
		time.Sleep(keptJobs)
		synctest.Wait()
		require.Empty(t, uploads.all)
	})
}
