// Package console is a web console for the people who look after the users of a host:
// an http.Handler that shows and changes what a userkit.Manager keeps. A host mounts it on a path
// of its own and names the actor of each request:
//
//	mux.Handle("/admin/", console.New(users, console.WithActor(func(r *http.Request) (userkit.Actor, error) {
//		return staff.FromSession(r) // an error refuses the request
//	})))
//
// The authorizer of the manager (userkit.WithAuthorizer) decides what a person may do. What it
// refuses is neither shown nor offered; an attempt to do it anyway is recorded.
//
// All assets are embedded in the program: no request goes to another host, unless an option names one
// for pictures. Pages work without JavaScript and are faster with it. They contain no secrets except
// those that a person asks for, which are shown once.
//
// Jobs (bulk actions, imports) and uploaded files are kept for an hour by the process that received
// them. If several processes serve one console, all requests of one person must go to the same
// process.
package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/hostcall"
	"github.com/userkit/userkit/internal/ratelimit"
	"github.com/userkit/userkit/userhttp"
)

// Option sets a property of a console.
type Option func(*console)

// WithActor sets the function that returns the actor of a request: an administrator of the host,
// who has signed in by the host's own means. An error refuses the request with the status 403; its
// text is not shown. Without this option the console refuses every request.
func WithActor(actor func(r *http.Request) (userkit.Actor, error)) Option {
	return func(c *console) { c.actor = actor }
}

// WithPath sets the path on which the console is mounted, such as "/admin". It is needed for
// routers other than http.ServeMux, from whose pattern the console knows the path.
func WithPath(path string) Option {
	return func(c *console) {
		path = "/" + strings.Trim(path, "/")
		if path == "/" {
			path = ""
		}
		c.path = &path
	}
}

// WithTitle sets the name that is shown in the corner of the console. The default is userkit.
func WithTitle(title string) Option {
	return func(c *console) { c.title = title }
}

// WithGravatar shows the pictures of users from gravatar.com, which the browser of the person then
// requests from that host. By default initials are shown.
func WithGravatar() Option {
	return func(c *console) { c.gravatar = true }
}

// WithMaxUpload sets the maximum size of a file to import, in bytes. The default is 64 MiB.
func WithMaxUpload(bytes int64) Option {
	return func(c *console) { c.maxUpload = bytes }
}

// WithLogger sets the logger for faults of the console. By default nothing is logged.
func WithLogger(logger *slog.Logger) Option {
	return func(c *console) { c.logger = logger }
}

// WithSignOut sets the URL of the host's page that ends a person's session; the console then shows
// a link to it.
func WithSignOut(address string) Option {
	return func(c *console) { c.signOut = address }
}

// console is the handler that New returns.
type console struct {
	users     userkit.Manager
	actor     func(*http.Request) (userkit.Actor, error)
	path      *string // nil: from the pattern
	title     string
	zone      *time.Location
	gravatar  bool
	tiles     *mapTiles // nil: maps are drawn by the console
	maxUpload int64
	logger    *slog.Logger
	signOut   string

	policy string
	cross  *http.CrossOriginProtection
	mux    *http.ServeMux
	// operations of Manager, by the patterns of mux.
	operations map[string]string
	limits     *ratelimit.Limiter
	jobs       *jobs
	uploads    *uploads

	overviews overviews
}

// New returns a console for the users of a manager. The caller runs and closes the manager.
func New(users userkit.Manager, options ...Option) http.Handler {
	c := newConsole(users, options...)
	return c.cross.Handler(http.HandlerFunc(c.serve))
}

func newConsole(users userkit.Manager, options ...Option) *console {
	c := &console{
		users: users, title: "userkit", zone: users.Project().Zone, maxUpload: 64 << 20,
		logger: slog.New(slog.DiscardHandler),
	}
	for _, option := range options {
		option(c)
	}
	var images []string
	if c.gravatar {
		images = append(images, "https://gravatar.com", "https://www.gravatar.com", "https://secure.gravatar.com")
	}
	if c.tiles != nil && c.tiles.origin != "" {
		images = append(images, c.tiles.origin)
	}
	c.policy = contentPolicy(images)
	c.cross = http.NewCrossOriginProtection()
	c.cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "This request came from another site.", http.StatusForbidden)
	}))
	now := func() time.Time { return users.Project().Now }
	c.limits = newCostlyLimits(now)
	c.jobs = newJobs(now, c.logger)
	c.uploads = newUploads(now)
	c.mux = http.NewServeMux()
	c.operations = map[string]string{}
	c.routes()
	return c
}

// page handles one of the console's addresses. An error that it returns is shown on a page of its
// own.
type page func(v *view, w http.ResponseWriter, r *http.Request) error

// handle registers a page that carries out or shows an operation of Manager. A person who may not
// do it is refused. If the operation is about a user or a segment, the question whether it may be
// done is about the one in the path.
func (c *console) handle(pattern, operation string, serve page) {
	kind := operationTargets()[operation]
	c.operations[pattern] = operation
	c.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v := viewOf(r)
		var err error
		if operation != "" {
			err = c.users.Authorize(r.Context(), operation, targetOf(r, kind))
		}
		defer func() {
			if v.Sent != nil {
				v.Sent.drop()
			}
		}()
		if err == nil {
			err = v.parseForm(r)
		}
		if err == nil && r.Method == http.MethodPost {
			err = v.sameConnection(r)
		}
		if err == nil {
			err = serve(v, w, r)
		}
		if err != nil {
			v.fail(w, err)
		}
	})
}

// parseForm reads the form of a request, and the file that was sent with it into v.Sent.
// http.Request.ParseMultipartForm would keep a large file under a name, in which it stays if the
// process ends before the answer.
func (v *view) parseForm(r *http.Request) error {
	err := r.ParseForm()
	if r.Method != http.MethodPost {
		return nil // what the query says wrongly, it does not say
	}
	if err == nil {
		var parts *multipart.Reader
		if parts, err = r.MultipartReader(); err == nil {
			err = v.parseParts(r, parts)
		} else if errors.Is(err, http.ErrNotMultipart) {
			err = nil
		}
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &refusal{http.StatusRequestEntityTooLarge, "This is too large."}
	}
	if err != nil {
		return &refusal{http.StatusBadRequest, "The form could not be read."}
	}
	return nil
}

// parseParts reads the parts of a form with at most one file.
func (v *view) parseParts(r *http.Request, parts *multipart.Reader) error {
	left := int64(maxForm)
	for range maxParts {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if name := part.FileName(); name != "" {
			if v.Sent != nil {
				return errors.New("more than one file")
			}
			if v.Sent, err = shareFile(part); err != nil {
				return err
			}
			v.SentName = name
			continue
		}
		value, err := io.ReadAll(io.LimitReader(part, left+1))
		if left -= int64(len(value)); err == nil && left < 0 {
			err = &http.MaxBytesError{Limit: maxForm}
		}
		if err != nil {
			return err
		}
		r.Form.Add(part.FormName(), string(value))
		r.PostForm.Add(part.FormName(), string(value))
	}
	return errors.New("too many parts")
}

// maxParts bounds the parts of a form.
const maxParts = 1000

// maxForm bounds every request body but an upload.
const maxForm = 1 << 20

// userOf returns the id of the user that an address names. It is zero if there is none.
func userOf(r *http.Request) userkit.UserID {
	id, _ := userkit.ParseID[userkit.User](r.PathValue("user"))
	return id
}

// operationTargets returns what each operation is about, by its name.
var operationTargets = sync.OnceValue(func() map[string]userkit.TargetKind {
	targets := map[string]userkit.TargetKind{}
	for _, operation := range userkit.Operations() {
		targets[operation.Name] = operation.Target
	}
	return targets
})

// targetOf returns the id in an address of what an operation is about. It is empty if there is none,
// or if it is no id; the page then finds nothing.
func targetOf(r *http.Request, kind userkit.TargetKind) string {
	if kind != userkit.TargetUser && kind != userkit.TargetSegment {
		return ""
	}
	id, err := userkit.ParseID[userkit.User](r.PathValue(string(kind)))
	if err != nil || id.IsZero() {
		return ""
	}
	return id.String()
}

// serve does what holds for every request, before its page.
func (c *console) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", c.policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	base, path := c.locate(r)
	if name, ok := strings.CutPrefix(path, "/assets/"); ok {
		serveAsset(w, r, name)
		return
	}
	header.Set("Cache-Control", "no-store")
	if c.actor == nil {
		http.Error(w, "This console is not set up: the program that mounts it has to say who is looking (console.WithActor).", http.StatusForbidden)
		return
	}
	actor, err := c.actor(r)
	if err != nil || actor == (userkit.Actor{}) {
		http.Error(w, "You are not signed in, or you may not use this console.", http.StatusForbidden)
		return
	}
	if path == "" { // the mount point without its slash
		http.Redirect(w, r, base+"/", http.StatusMovedPermanently)
		return
	}
	limit := int64(maxForm)
	if path == "/import" {
		limit = c.maxUpload + maxForm
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)

	v := c.newView(r, actor, base)
	ctx := userkit.WithActor(r.Context(), actor)
	v.within(ctx, path)
	defer func() {
		if reason := recover(); reason != nil {
			if reason == http.ErrAbortHandler { //nolint:errorlint // it is compared as net/http does
				panic(reason)
			}
			c.logger.ErrorContext(r.Context(), "console: a page failed", "path", path, "reason", fmt.Sprint(reason))
			v.fail(w, errors.New("panic"))
		}
	}()
	if ctx, err = v.resume(ctx); err != nil {
		v.over(w, err)
		return
	}
	v.within(ctx, path)
	if _, pattern := c.mux.Handler(v.request); pattern == "" {
		v.fail(w, c.noSuchPage(v.request))
		return
	}
	c.mux.ServeHTTP(w, v.request)
}

// within replaces the request of a view by one with a context and with a path below the base.
func (v *view) within(ctx context.Context, path string) {
	address := *v.request.URL
	address.Path, address.RawPath = path, ""
	v.request = v.request.WithContext(context.WithValue(ctx, viewKey{}, v))
	v.request.URL = &address
}

// noSuchPage returns the error for an address that no page has. An address to which only forms are
// sent leads back to the page of the form.
func (c *console) noSuchPage(r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		post := r.Clone(r.Context())
		post.Method = http.MethodPost
		if _, pattern := c.mux.Handler(post); pattern != "" {
			if parent := r.URL.Path[:strings.LastIndexByte(strings.TrimSuffix(r.URL.Path, "/"), '/')]; parent != "" {
				return &redirect{parent}
			}
		}
	}
	return &refusal{http.StatusNotFound, "There is no such page."}
}

// locate returns the path on which the console is mounted, without a slash at its end, and
// the path below it.
func (c *console) locate(r *http.Request) (base, path string) {
	switch {
	case c.path != nil:
		base = *c.path
	case r.Pattern != "":
		pattern := r.Pattern[max(0, strings.IndexByte(r.Pattern, '/')):]
		segments := strings.Split(r.URL.Path, "/")
		for i, segment := range strings.Split(strings.TrimSuffix(pattern, "/"), "/") {
			if segment == "{$}" || strings.HasSuffix(segment, "...}") || i >= len(segments) {
				break
			}
			if i > 0 && !strings.HasPrefix(segment, "{") && segment != segments[i] {
				return strings.TrimSuffix(pattern, "/"), r.URL.Path // behind http.StripPrefix
			}
			if i > 0 {
				base += "/" + segments[i]
			}
		}
	}
	if path, ok := strings.CutPrefix(r.URL.Path, base); ok {
		return base, path
	}
	return base, r.URL.Path
}

// pageBuffers are the buffers in which pages are made, one after another.
var pageBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// render writes a page as HTML. It executes the template before it writes anything, so that a
// fault in the template leads to an error page and not to half of a page.
func (v *view) render(w http.ResponseWriter, status int, name string, data any) error {
	template, ok := templates[name]
	if !ok {
		return fmt.Errorf("no template %s", name)
	}
	buffer := pageBuffers.Get().(*bytes.Buffer)
	defer pageBuffers.Put(buffer)
	buffer.Reset()
	if err := template.ExecuteTemplate(buffer, "layout", data); err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	if v.request.Method != http.MethodGet && v.request.Method != http.MethodHead {
		header.Set("HX-Push-Url", "false") // its address has no page of its own
	}
	v.clearNotice(w)
	writeCompressed(w, v.request, status, v.bind(buffer.Bytes()), v.secret)
	return nil
}

// refusal is an error with a status and a text of the catalogue for the person.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// redirect is an answer in the place of an error: the person goes on at another address below the
// base.
type redirect struct{ path string }

func (r *redirect) Error() string { return "see " + r.path }

// statusOf returns the status of an error's answer.
func statusOf(err error) int {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.status
	}
	if errors.Is(err, userkit.ErrInvalid) || errors.Is(err, userkit.ErrExists) {
		return http.StatusUnprocessableEntity // of a form that is shown again with what is wrong
	}
	return userhttp.Status(err)
}

// fail answers with an error on a page of its own.
func (v *view) fail(w http.ResponseWriter, err error) {
	if to, ok := errors.AsType[*redirect](err); ok {
		http.Redirect(w, v.request, v.Base+to.path, http.StatusSeeOther)
		return
	}
	status := statusOf(err)
	if status == http.StatusInternalServerError && v.request.Context().Err() == nil { // the person is still there
		v.console.logger.ErrorContext(v.request.Context(), "console: a page failed", "path", v.request.URL.Path, "error", err)
	}
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "60")
	}
	v.Title = v.T("This did not work")
	data := struct {
		*view
		Status int
		Text   string
	}{v, status, v.ErrorText(err)}
	if renderErr := v.render(w, status, "failure", data); renderErr != nil {
		http.Error(w, "This page could not be made.", http.StatusInternalServerError)
	}
}

// meanwhile calls a function in a goroutine of its own, and returns a function that waits for its
// results. A panic in it is an error, so that it ends the page alone.
func meanwhile[T any](ctx context.Context, work func() (T, error)) (wait func() (T, error)) {
	type outcome struct {
		result T
		err    error
	}
	finished := hostcall.Start(ctx, func() (o outcome) {
		o.result, o.err = work()
		return o
	}, func(err error) outcome { return outcome{err: err} })
	return func() (T, error) {
		o := finished()
		return o.result, o.err
	}
}
