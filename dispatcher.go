package userkit

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/userkit/userkit/internal/hostcall"
)

// dispatcher does work that processes share by leases and that services outside are asked
// for: purchases to verify, messages to deliver. The work of each service is leased and done apart
// from the others': one that hangs keeps its own workers busy, and nobody else's, and a backlog of
// one keeps no work of another waiting.
type dispatcher[T any] struct {
	clock    func(ctx context.Context) (dutyClock, error)
	services []string        // those that there are
	lease    time.Duration   // of work that is taken
	timeout  time.Duration   // what one piece of work takes at most
	workers  int             // for each service
	interval time.Duration   // how often a service is looked at that had nothing to do, while others have
	woken    <-chan struct{} // has an element when there is new work; nil: never

	// take leases some work of each of the services.
	take    func(ctx context.Context, services []string, now, until time.Time) ([]T, error)
	service func(work *T) string
	// do does one piece of work, by the clock that it was leased by. patience is how long it may
	// wait before it begins, so that it ends within its lease. late reports that the service took all
	// of its time; an error ends the run.
	do func(ctx context.Context, clock dutyClock, work T, patience time.Duration) (late bool, err error)
	// panicked is called with panics of the host's code. The work is done again when its lease is
	// over.
	panicked func(ctx context.Context, work T, reason error)

	mu     sync.Mutex
	lines  map[string]*line[T]
	moved  chan struct{} // holds one where work is done or a worker has ended
	failed error
	group  sync.WaitGroup
}

// line is the leased work of one service, on its way through a few workers.
type line[T any] struct {
	waiting []leased[T]
	workers int
	late    int  // pieces of work in a row that took all of their time
	empty   bool // nothing more was due when it was looked for last
}

// leased is a piece of work with the time until which nobody else takes it.
type leased[T any] struct {
	work  T
	until time.Time
	clock dutyClock // by which it was leased
}

// mostLate is after how many late pieces of work in a row a service is not asked again in this run.
const mostLate = 8

// run takes what is due and has it done, until nothing is due and all is done.
func (d *dispatcher[T]) run(ctx context.Context) error {
	d.lines, d.moved = map[string]*line[T]{}, make(chan struct{}, 1)
	for _, service := range d.services {
		d.lines[service] = &line[T]{}
	}
	defer d.group.Wait() // also when the store panics
	err := d.dispatch(ctx)
	d.group.Wait()
	return cmp.Or(ctx.Err(), err)
}

func (d *dispatcher[T]) dispatch(ctx context.Context) error {
	again := time.NewTicker(d.interval)
	defer again.Stop()
	for {
		services, busy, err := d.idle()
		switch {
		case err != nil:
			return err
		case len(services) > 0:
			clock, err := d.clock(ctx)
			if err != nil {
				return err
			}
			now := clock.now()
			until := now.Add(d.lease)
			taken, err := d.take(ctx, services, now, until)
			if err != nil {
				return err
			}
			d.add(ctx, services, taken, until, clock)
			continue
		case !busy:
			return nil
		}
		select {
		case <-d.moved:
		case <-d.woken:
			d.lookAgain()
		case <-again.C:
			d.lookAgain()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// idle returns the services for which more should be leased: nothing of them waits, and something
// may be due. busy reports whether any worker is at work, and err is what has gone wrong so far.
func (d *dispatcher[T]) idle() (services []string, busy bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, service := range d.services {
		l := d.lines[service]
		busy = busy || l.workers > 0
		if len(l.waiting) == 0 && !l.empty && l.late < mostLate {
			services = append(services, service)
		}
	}
	return services, busy, d.failed
}

// add puts leased work into the lines of its services, for which it was leased.
func (d *dispatcher[T]) add(ctx context.Context, services []string, taken []T, until time.Time, clock dutyClock) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, service := range services {
		d.lines[service].empty = true
	}
	for _, work := range taken {
		l := d.lines[d.service(&work)]
		l.empty = false
		l.waiting = append(l.waiting, leased[T]{work, until, clock})
		if l.workers < d.workers {
			l.workers++
			d.group.Go(func() { d.work(ctx, l) })
		}
	}
}

// lookAgain has work looked for of services that had none.
func (d *dispatcher[T]) lookAgain() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lines {
		l.empty = false
	}
}

var errGoroutineEnded error = NewError(CodeStoreUnavailable, "", "the host's code ended a goroutine of userkit")

// next takes a piece of work out of a line; ok is false when the worker has to end.
func (d *dispatcher[T]) next(l *line[T]) (next leased[T], ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.late >= mostLate || d.failed != nil {
		l.waiting = nil
	}
	if len(l.waiting) == 0 {
		if l.workers--; l.workers == 0 {
			for _, l := range d.lines { // what was done may have made something due
				l.empty = false
			}
		}
		return leased[T]{}, false
	}
	next, l.waiting = l.waiting[0], l.waiting[1:]
	return next, true
}

func (d *dispatcher[T]) work(ctx context.Context, l *line[T]) {
	working := true
	moved := func() {
		select {
		case d.moved <- struct{}{}:
		default:
		}
	}
	defer func() {
		if working { // code of the host's has ended the goroutine
			d.mu.Lock()
			l.workers--
			d.failed = cmp.Or(d.failed, errGoroutineEnded)
			d.mu.Unlock()
			moved()
		}
	}()
	for {
		next, ok := d.next(l)
		if ok {
			d.doOne(ctx, l, next)
		}
		working = ok
		moved()
		if !ok {
			return
		}
	}
}

// doOne does one piece of work, unless its lease could end meanwhile.
func (d *dispatcher[T]) doOne(ctx context.Context, l *line[T], next leased[T]) {
	defer func() {
		if reason := recover(); reason != nil {
			d.panicked(ctx, next.work, hostcall.Panicked(reason))
		}
	}()
	patience := next.until.Sub(next.clock.now()) - d.timeout
	if patience <= 0 {
		return
	}
	late, err := d.do(ctx, next.clock, next.work, patience)
	d.mu.Lock()
	defer d.mu.Unlock()
	if late {
		l.late++
	} else {
		l.late = 0
	}
	if err != nil {
		d.failed = err
	}
}

// witness remembers what a service said recently about things that it knew before.
type witness struct {
	mu      sync.Mutex
	said    map[[16]byte]answer
	alarmed time.Time // when the log was told last that the service knows nothing
}

// answer is what a service said last.
type answer struct {
	at      time.Time
	unknown bool
}

// The rule by which a service counts as misconfigured.
const (
	fewestUnknown = 3              // of what it has known
	answersFor    = 24 * time.Hour // for so long they count
	maxAnswers    = 1000
	alarmEvery    = time.Hour
)

// note keeps what a service said about something that it knew before.
func (w *witness) note(id [16]byte, unknown bool, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.said == nil {
		w.said = map[[16]byte]answer{}
	}
	if _, known := w.said[id]; !known && len(w.said) >= maxAnswers {
		var oldest [16]byte
		for id, said := range w.said {
			if oldest == [16]byte{} || said.at.Before(w.said[oldest].at) {
				oldest = id
			}
		}
		delete(w.said, oldest)
	}
	w.said[id] = answer{at: now, unknown: unknown}
}

// heard reports whether the service has said anything about something.
func (w *witness) heard(id [16]byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, heard := w.said[id]
	return heard
}

// misconfigured reports whether a service no longer knows most of what it knew before: then its
// credentials or its application have probably changed, and its answers prove nothing. alarm is
// true once an hour.
func (w *witness) misconfigured(now time.Time) (is, alarm bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	unknown, all := 0, 0
	for _, said := range w.said {
		if now.Sub(said.at) > answersFor {
			continue
		}
		if all++; said.unknown {
			unknown++
		}
	}
	if unknown < fewestUnknown || 2*unknown <= all {
		return false, false
	}
	if alarm = w.alarmed.IsZero() || now.Sub(w.alarmed) >= alarmEvery; alarm {
		w.alarmed = now
	}
	return true, alarm
}
