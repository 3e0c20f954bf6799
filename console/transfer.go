package console

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/tempfile"
	"github.com/userkit/userkit/userio"
)

// exportUsers serves the list as a file, with the filter, the order and the columns of the page.
func (c *console) exportUsers(v *view, w http.ResponseWriter, r *http.Request) error {
	if err := v.costly(); err != nil {
		return err
	}
	format := userio.Format(v.Query("format"))
	if format.ContentType() == "" {
		return &refusal{http.StatusUnprocessableEntity, "There is no such format."}
	}
	filter, fault := v.readUserFilter(r.URL.Query())
	if fault != nil {
		return &refusal{http.StatusUnprocessableEntity, "This is not a filter."}
	}
	l := v.newList("registered_at", true)
	columns := []string{"id", "login", "name", "email"}
	for _, column := range v.chosenColumns() {
		if !slices.Contains(columns, column.Name) {
			columns = append(columns, column.Name)
		}
	}
	out := &download{w: w, kind: format.ContentType(), name: "users-" + v.Now.UTC().Format("20060102-150405") + "." + string(format)}
	_, err := userio.Export(r.Context(), c.users, out, userio.ExportOptions{
		Format: format, Columns: columns,
		Query: userkit.UserQuery{UserFilter: filter, PageQuery: userkit.PageQuery{Sort: l.Sort, Descending: l.Descending}},
	})
	return out.end(err)
}

// archiveUser serves a ZIP file with everything about a user.
func (c *console) archiveUser(v *view, w http.ResponseWriter, r *http.Request) error {
	if err := v.costly(); err != nil {
		return err
	}
	id, err := userkit.ParseID[userkit.User](r.PathValue("user"))
	if err != nil {
		return userkit.NewError(userkit.CodeUserNotFound, "user", "no id")
	}
	out := &download{w: w, kind: "application/zip", name: "user-" + id.String() + ".zip"}
	return out.end(userio.Archive(r.Context(), c.users, id, out))
}

// download writes a file that is made while it is sent. Until its first byte an error can
// still be an answer of its own; after it, the connection is cut, so that nobody takes
// what has come for the whole file.
type download struct {
	w          http.ResponseWriter
	kind, name string
	begun      bool
}

func (d *download) Write(part []byte) (int, error) {
	if !d.begun {
		d.begun = true
		attachment(d.w, d.kind, d.name)
	}
	return d.w.Write(part)
}

func (d *download) end(err error) error {
	if err != nil && d.begun {
		panic(http.ErrAbortHandler)
	}
	return err
}

// uploads are the files that were sent for an import, on disk for an hour.
type uploads struct {
	now   func() time.Time
	mutex sync.Mutex
	all   map[string]*upload
}

// upload is a file that was sent.
type upload struct {
	*sharedFile
	id, name string
	actor    userkit.Actor
	at       time.Time
	expiry   *time.Timer
}

const maxUploads = 5 // of one person

func newUploads(now func() time.Time) *uploads { return &uploads{now: now, all: map[string]*upload{}} }

// keep keeps a file. The oldest of the person makes room for it.
func (u *uploads) keep(actor userkit.Actor, name string, file *sharedFile) *upload {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	var mine []*upload
	for _, old := range u.all {
		if old.actor == actor {
			mine = append(mine, old)
		}
	}
	slices.SortFunc(mine, func(a, b *upload) int { return a.at.Compare(b.at) })
	for _, old := range mine[:max(0, len(mine)-maxUploads+1)] {
		u.forget(old)
	}
	kept := &upload{sharedFile: file, id: rand.Text(), name: name, actor: actor, at: u.now()}
	kept.expiry = time.AfterFunc(keptJobs, func() {
		u.mutex.Lock()
		defer u.mutex.Unlock()
		u.forget(kept)
	})
	u.all[kept.id] = kept
	return kept
}

// forget drops a file. The lock is held.
func (u *uploads) forget(old *upload) {
	old.expiry.Stop()
	old.drop()
	delete(u.all, old.id)
}

// find returns a file of a person. It does not find a file of somebody else.
func (u *uploads) find(actor userkit.Actor, id string) (*upload, error) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	found, ok := u.all[id]
	if ok && u.now().Sub(found.at) >= keptJobs { // by the host's clock, which may be another one than the timer's
		u.forget(found)
		ok = false
	}
	if ok && found.actor == actor {
		return found, nil
	}
	return nil, errNoUpload
}

var errNoUpload = &refusal{http.StatusNotFound, "The file is no longer here. Please upload it again."}

// importPage is the first step of an import, in which a person chooses a file.
type importPage struct {
	*view
	Form      *form
	Presets   []choice
	Encodings []choice
	Maximum   int64
}

func (c *console) chooseFile(v *view, w http.ResponseWriter, r *http.Request) error {
	return c.showChooseFile(v, w, r, http.StatusOK, nil)
}

func (c *console) showChooseFile(v *view, w http.ResponseWriter, _ *http.Request, status int, refused *form) error {
	v.Title = v.T("Import users")
	p := importPage{view: v, Form: refused, Maximum: c.maxUpload, Encodings: v.encodings(refused.Value("encoding", ""))}
	for _, preset := range userio.Presets() {
		p.Presets = append(p.Presets, choice{Value: preset, Text: preset, Selected: refused.Value("preset", "") == preset})
	}
	return v.render(w, status, "import", p)
}

// uploadFile takes the file and goes on to the mapping.
func (c *console) uploadFile(v *view, w http.ResponseWriter, r *http.Request) error {
	if err := v.costly(); err != nil {
		return err
	}
	if v.Sent == nil {
		f := &form{Values: r.PostForm, Errors: map[string]string{"file": v.T("Choose a file first.")}}
		return c.showChooseFile(v, w, r, http.StatusUnprocessableEntity, f)
	}
	name := v.SentName
	if !utf8.ValidString(name) || len(name) > 200 {
		name = "file"
	}
	kept := c.uploads.keep(v.Actor, name, v.Sent)
	v.Sent = nil
	query := url.Values{}
	for _, name := range []string{"preset", "encoding"} {
		if value := r.PostForm.Get(name); value != "" {
			query.Set(name, value)
		}
	}
	address := "/import/" + kept.id
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	if _, err := c.inspect(kept, userio.ImportOptions{Preset: query.Get("preset"), Encoding: query.Get("encoding")}); err != nil {
		if !shown(err) {
			return err
		}
		f := &form{Values: r.PostForm, Errors: map[string]string{"file": v.ErrorText(err)}}
		return c.showChooseFile(v, w, r, statusOf(err), f)
	}
	return v.done(w, address, "")
}

func (c *console) inspect(kept *upload, options userio.ImportOptions) (userio.Inspection, error) {
	file, ok := kept.open()
	if !ok {
		return userio.Inspection{}, errNoUpload
	}
	defer kept.done()
	options.Phones = c.users.Project().Phones
	return userio.Inspect(file, options)
}

// mappingPage is the second step of an import, in which a person says which column is which field.
type mappingPage struct {
	*view
	Form       *form
	ID, File   string
	Preset     string
	Encoding   string
	Encodings  []choice
	Size       int64
	Inspection userio.Inspection
	Columns    []mappedColumn
	Modes      []choice
	Keys       []choice
}

type mappedColumn struct {
	Index   int
	Heading string
	Samples []string
	Note    string
	Choices []choice
	Unsure  bool
}

func (c *console) mapFile(v *view, w http.ResponseWriter, r *http.Request) error {
	return c.showMapping(v, w, r, http.StatusOK, nil)
}

func (c *console) showMapping(v *view, w http.ResponseWriter, r *http.Request, status int, refused *form) error {
	kept, err := c.uploads.find(v.Actor, r.PathValue("file"))
	if err != nil {
		return err
	}
	found, err := c.inspect(kept, userio.ImportOptions{Preset: r.FormValue("preset"), Encoding: r.FormValue("encoding")})
	if err != nil {
		return err
	}
	v.Title = v.T("Import users")
	p := mappingPage{view: v, Preset: r.FormValue("preset"), Encoding: r.FormValue("encoding"), Encodings: v.encodings(r.FormValue("encoding")), Form: refused, ID: kept.id, File: kept.name, Size: kept.size, Inspection: found}
	for i, use := range found.Columns {
		chosen := found.Mapping[use.Heading]
		if refused != nil {
			chosen = refused.Values.Get("field-" + strconv.Itoa(i))
		}
		column := mappedColumn{Index: i, Heading: use.Heading, Choices: v.mappingChoices(use, chosen)}
		for _, row := range found.Samples {
			if i < len(row) && row[i] != "" {
				column.Samples = append(column.Samples, row[i])
			}
		}
		switch {
		case use.Ignored == userio.IgnoredSecret:
			column.Note = v.T("Passwords are not kept.")
		case use.Note != "":
			column.Note, column.Unsure = v.T("None of the first values can be read as this field."), true
		case use.Guessed:
			column.Note, column.Unsure = v.T("Guessed from the name that other programs use."), true
		case use.Suggested != "":
			column.Note, column.Unsure = v.T("It may be: %s", v.Label(use.Suggested)), true
		case use.Ignored == userio.IgnoredReadOnly:
			column.Note = v.T("This field changes through use only.")
		}
		p.Columns = append(p.Columns, column)
	}
	for _, mode := range []struct{ value, text string }{
		{"upsert", "Create and update"}, {"create", "Only create"}, {"update", "Only update"},
	} {
		p.Modes = append(p.Modes, choice{mode.value, v.T(mode.text), refused.Value("mode", "upsert") == mode.value})
	}
	p.Keys = append(p.Keys, choice{"", v.T("the first of these that has a value"), refused.Value("key", "") == ""})
	for _, key := range []string{"id", "extref", "login", "email"} {
		p.Keys = append(p.Keys, choice{key, v.Label(key), refused.Value("key", "") == key})
	}
	return v.render(w, status, "mapping", p)
}

// encodings returns the encodings that a file without a byte-order mark may have.
func (v *view) encodings(chosen string) []choice {
	all := []choice{{"", "UTF-8", chosen == ""}}
	for _, name := range []string{
		"windows-1250", "windows-1251", "windows-1252", "windows-1253", "windows-1254", "windows-1255", "windows-1256",
		"iso-8859-2", "koi8-r", "koi8-u", "shift_jis", "euc-jp", "gb18030", "big5", "euc-kr", "windows-874", "utf-16le", "utf-16be",
	} {
		all = append(all, choice{name, name, chosen == name})
	}
	return all
}

// mappingChoices returns the fields that a column can be mapped to.
func (v *view) mappingChoices(use userio.ColumnUse, chosen string) []choice {
	all := []choice{{"-", v.T("Leave out"), chosen == "-"}}
	add := func(value, text string) {
		all = append(all, choice{value, text, value == chosen})
	}
	for _, field := range userkit.UserFields() {
		if field.Settable() {
			add(field.Name, v.Label(field.Name))
		}
	}
	add("name.first", v.T("Name: first"))
	add("name.middle", v.T("Name: middle"))
	add("name.last", v.T("Name: last"))
	add("enabled", v.T("Status: enabled"))
	add("disabled", v.T("Status: disabled"))
	add("disabled.until", v.T("Status: disabled until"))
	add("disabled.bits", v.T("Status: bits of userAccountControl"))
	add("status.words", v.T("Status: in words"))
	attribute := chosen
	if !strings.HasPrefix(attribute, "attributes.") {
		attribute = use.Field
	}
	if name, ok := strings.CutPrefix(attribute, "attributes."); ok {
		add(attribute, v.T("Attribute %s", name))
	}
	if !slices.ContainsFunc(all, func(c choice) bool { return c.Selected }) && chosen != "" {
		all = append(all, choice{chosen, chosen, true})
	}
	return all
}

// importOptions reads the mapping from the form.
func (v *view) importOptions(r *http.Request, found userio.Inspection) userio.ImportOptions {
	form := r.PostForm
	options := userio.ImportOptions{
		Format: found.Format, Mode: userkit.ImportMode(form.Get("mode")), Key: form.Get("key"),
		DryRun: form.Get("run") == "", ClearEmpty: form.Get("clear") != "", ReadOn: true, Zone: v.Zone,
		Columns: map[string]string{}, Encoding: form.Get("encoding"),
	}
	for i, use := range found.Columns {
		if field := form.Get("field-" + strconv.Itoa(i)); field != "" && use.Heading != "" && field != found.Mapping[use.Heading] || use.Guessed {
			if field != "" {
				options.Columns[use.Heading] = field
			}
		}
	}
	return options
}

// runImport starts a job that is the import or its dry run.
func (c *console) runImport(v *view, w http.ResponseWriter, r *http.Request) error {
	if err := v.costly(); err != nil {
		return err
	}
	kept, err := c.uploads.find(v.Actor, r.PathValue("file"))
	if err != nil {
		return err
	}
	preset := r.PostForm.Get("preset")
	found, err := c.inspect(kept, userio.ImportOptions{Preset: preset, Encoding: r.PostForm.Get("encoding")})
	if err != nil {
		return err
	}
	options := v.importOptions(r, found)
	options.Preset = preset
	checked, err := c.inspect(kept, options)
	if err == nil && checked.Problem != "" {
		err = &refusal{http.StatusUnprocessableEntity, "No column identifies the user. Map one to the id, external reference, login or email."}
	}
	if err != nil {
		if !shown(err) {
			return err
		}
		return c.showMapping(v, w, r, statusOf(err), v.rejected(r, err))
	}
	title := v.T("Import of %s", kept.name)
	if options.DryRun {
		title = v.T("Dry run of %s", kept.name)
	}
	file, ok := kept.open()
	if !ok {
		return errNoUpload
	}
	started := &job{Kind: "import", Title: title, Actor: v.Actor}
	started.state.DryRun, started.state.Upload, started.state.Total = options.DryRun, kept.id, kept.size
	err = c.jobs.start(r.Context(), started, func(ctx context.Context, j *job) error {
		defer kept.done()
		return c.importFile(ctx, j, file, options)
	})
	if err != nil {
		kept.done()
		return err
	}
	return v.done(w, "/jobs/"+started.ID, "")
}

// importFile imports a file as a job.
func (c *console) importFile(ctx context.Context, j *job, file *io.SectionReader, options userio.ImportOptions) error {
	content, err := tempfile.Create()
	if err != nil {
		return err
	}
	rejects := &sharedFile{content: content}
	defer func() {
		if rejects != nil {
			rejects.drop()
		}
	}()
	rows := bufio.NewWriter(content)
	options.RejectedRows = rows
	options.Progress = func(p userio.Progress) { j.progress(p.Bytes, file.Size()) }
	report, err := userio.Import(ctx, c.users, file, options)
	err = errors.Join(err, rows.Flush())
	size, sizeErr := content.Seek(0, io.SeekCurrent)
	rejects.size, err = size, errors.Join(err, sizeErr)
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.state.Import = report
	if report.Rejected > 0 {
		j.rejects, rejects = rejects, nil
	}
	return err
}
