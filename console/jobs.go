package console

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"html/template"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/hostcall"
	"github.com/userkit/userkit/userio"
)

// job is a bulk action, an import or a check of the balances that goes on while the person
// does something else.
type job struct {
	ID      string
	Kind    string // bulk, import or balances
	Title   string
	Actor   userkit.Actor
	Began   time.Time
	cancel  context.CancelFunc
	mutex   sync.Mutex
	state   jobState
	expiry  *time.Timer // of a job that has ended
	rejects *sharedFile // the rejected rows; nil: none
}

// jobState is the progress of a job, and what came of it.
type jobState struct {
	Done, Total int64 // Total 0: not known
	Ended       time.Time
	Err         error
	Bulk        userkit.BulkResult
	Import      userio.ImportReport
	Mismatches  []userkit.BalanceMismatch // the first maxMismatches
	Mismatched  int64                     // how many balances are wrong
	DryRun      bool
	Upload      string // the file that a dry run has looked at
	HasRejects  bool
}

// State returns the progress of the job, and what came of it.
func (j *job) State() jobState {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	state := j.state
	state.HasRejects = j.rejects != nil
	return state
}

func (j *job) progress(done, total int64) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.state.Done, j.state.Total = done, total
}

// Percent returns which part of the job is done, in percent from 0 to 100.
func (s jobState) Percent() int {
	if s.Total <= 0 {
		return 0
	}
	return int(min(100, s.Done*100/s.Total))
}

// Running reports whether the job has not ended yet.
func (s jobState) Running() bool { return s.Ended.IsZero() }

// jobs are the jobs of this process. Those that have ended are kept for an hour.
type jobs struct {
	now    func() time.Time
	logger *slog.Logger
	mutex  sync.Mutex
	all    map[string]*job
}

const (
	keptJobs    = time.Hour
	maxRunning  = 4 // of one person
	maxKeptJobs = 500
)

func newJobs(now func() time.Time, logger *slog.Logger) *jobs {
	return &jobs{now: now, logger: logger, all: map[string]*job{}}
}

// start runs a job on a goroutine of its own. The job ends when it is done or stopped, and not
// with the request that started it.
func (j *jobs) start(ctx context.Context, started *job, run func(ctx context.Context, j *job) error) error {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.sweep()
	running := 0
	for _, other := range j.all {
		if other.Actor == started.Actor && other.State().Running() {
			running++
		}
	}
	if running >= maxRunning || len(j.all) >= maxKeptJobs {
		return &refusal{http.StatusTooManyRequests, "You have started many large jobs in a short time. Please wait a minute."}
	}
	ctx, started.cancel = context.WithCancel(context.WithoutCancel(ctx))
	started.ID, started.Began = rand.Text(), j.now()
	j.all[started.ID] = started
	go func() {
		lasting := context.WithoutCancel(ctx)
		err := hostcall.Ask(lasting, func() error { return run(ctx, started) }, func(err error) error { return err })
		at := hostcall.Ask(lasting, func() time.Time {
			if err != nil && ctx.Err() == nil && statusOf(err) == http.StatusInternalServerError {
				j.logger.ErrorContext(ctx, "console: a job failed", "job", started.Title, "error", err)
			}
			return j.now()
		}, func(error) time.Time { return time.Now() }) // the host's logger and clock may panic as well
		j.end(started, at, err)
	}()
	return nil
}

// end notes when and how a job has ended.
func (j *jobs) end(ended *job, at time.Time, err error) {
	ended.cancel()
	ended.mutex.Lock()
	defer ended.mutex.Unlock()
	ended.state.Ended, ended.state.Err = at, err
	ended.expiry = time.AfterFunc(keptJobs, func() {
		j.mutex.Lock()
		defer j.mutex.Unlock()
		j.forget(ended)
	})
}

// sweep forgets the jobs that ended long ago by the host's clock, which may be another one than
// that of their timers. The lock is held.
func (j *jobs) sweep() {
	for _, old := range j.all {
		if state := old.State(); !state.Running() && j.now().Sub(state.Ended) >= keptJobs {
			j.forget(old)
		}
	}
}

// forget drops a job that has ended, with its rejected rows. The lock is held.
func (j *jobs) forget(old *job) {
	old.mutex.Lock()
	defer old.mutex.Unlock()
	old.expiry.Stop()
	if old.rejects != nil {
		old.rejects.drop()
	}
	delete(j.all, old.ID)
}

// of returns the jobs of a person, newest first.
func (j *jobs) of(actor userkit.Actor) []*job {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.sweep()
	var all []*job
	for _, one := range j.all {
		if one.Actor == actor {
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b *job) int { return cmp.Or(b.Began.Compare(a.Began), cmp.Compare(a.ID, b.ID)) })
	return all
}

// find returns a job of a person. It does not find a job of somebody else.
func (j *jobs) find(actor userkit.Actor, id string) (*job, error) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.sweep()
	if found, ok := j.all[id]; ok && found.Actor == actor {
		return found, nil
	}
	return nil, &refusal{http.StatusNotFound, "There is no such job. Jobs are kept for an hour."}
}

func (c *console) showJobs(v *view, w http.ResponseWriter, _ *http.Request) error {
	v.Title = v.T("Jobs")
	return v.render(w, http.StatusOK, "jobs", struct {
		*view
		Jobs []*job
	}{v, c.jobs.of(v.Actor)})
}

func (c *console) showJob(v *view, w http.ResponseWriter, r *http.Request) error {
	found, err := c.jobs.find(v.Actor, r.PathValue("job"))
	if err != nil {
		return err
	}
	v.Title = found.Title
	return v.render(w, http.StatusOK, "job", struct {
		*view
		Job   *job
		State jobState
	}{v, found, found.State()})
}

// difference is what a row of a dry run would make of its user.
type difference struct {
	userio.RowChange
	Created bool
	Hidden  bool // the person may not see the user
	Fields  []fieldDifference
	Secrets []string // labels of fields whose values are not shown
}

type fieldDifference struct {
	Label    string
	Old, New template.HTML
}

// Differences returns what the rows of a dry run would change. A person who may not see a user is
// not told what is known about the user.
func (v *view) Differences(changes []userio.RowChange) []difference {
	columns := map[string]column{}
	for _, c := range v.columnsOf() {
		columns[c.Name] = c
	}
	named := func(name string) column {
		if c, known := columns[name]; known {
			return c
		}
		return column{Name: name, Label: v.Label(name)} // an attribute
	}
	var all []difference
	for _, change := range changes {
		d := difference{RowChange: change, Created: change.Action == userkit.ImportCreated}
		d.Hidden = !change.UserID.IsZero() && !v.May("users.get", change.UserID)
		for _, name := range slices.Sorted(maps.Keys(change.Fields)) {
			if d.Hidden {
				break
			}
			field := change.Fields[name]
			c := named(name)
			d.Fields = append(d.Fields, fieldDifference{c.Label, v.differing(c, field.Old), v.differing(c, field.New)})
		}
		for _, name := range change.Secret {
			d.Secrets = append(d.Secrets, named(name).Label)
		}
		all = append(all, d)
	}
	return all
}

// maxDiffering is how many characters of a value a difference shows.
const maxDiffering = 500

// differing returns a value in a form that can be told from another value: unlike in a table, it is
// not rounded.
func (v *view) differing(c column, value any) template.HTML {
	text := ""
	switch value := value.(type) {
	case time.Time:
		text = v.Exact(value)
	case userkit.Duration:
		text = value.String()
	case string:
		if c.Name == "status" {
			return v.Badge(value)
		}
		text = v.textOf(c, value)
	default:
		text = v.textOf(c, value)
	}
	if runes := []rune(text); len(runes) > maxDiffering {
		text = string(runes[:maxDiffering]) + "…"
	}
	if text == "" {
		return v.None()
	}
	return isolated(text)
}

// Unlisted returns how many rows that would change a user are not listed.
func (s jobState) Unlisted() int64 {
	return s.Import.Created + s.Import.Updated - int64(len(s.Import.Changes))
}

// JobError returns a text that says to a person why a job ended early.
func (v *view) JobError(err error) string {
	if errors.Is(err, context.Canceled) {
		return v.T("The job was stopped. What was done stays done.")
	}
	return v.ErrorText(err)
}

func (c *console) stopJob(v *view, w http.ResponseWriter, r *http.Request) error {
	found, err := c.jobs.find(v.Actor, r.PathValue("job"))
	if err != nil {
		return err
	}
	found.cancel()
	return v.done(w, "/jobs/"+found.ID, "")
}

// downloadRejects serves the rows that an import has rejected, to be mended and imported again.
func (c *console) downloadRejects(v *view, w http.ResponseWriter, r *http.Request) error {
	found, err := c.jobs.find(v.Actor, r.PathValue("job"))
	if err != nil {
		return err
	}
	state := found.State()
	if state.Running() || !state.HasRejects {
		return errNoRejects
	}
	content, ok := found.rejects.open()
	if !ok {
		return errNoRejects
	}
	defer found.rejects.done()
	format := userio.CSV // of a workbook too
	if state.Import.Format == userio.NDJSON {
		format = userio.NDJSON
	}
	attachment(w, format.ContentType(), "rejected-rows."+string(format))
	http.ServeContent(w, r, "", time.Time{}, content)
	return nil
}

var errNoRejects = &refusal{http.StatusNotFound, "There are no rejected rows."}

// attachment sets the headers of an answer that a browser saves as a file. The name must be ASCII.
func attachment(w http.ResponseWriter, kind, name string) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
}
