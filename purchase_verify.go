package userkit

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// share is who wants to ask a store. Each has a share of the pace of its own, so that
// none can keep the others from asking.
type share int

const (
	submissions share = iota
	notifications
	dueWork
	shares // how many there are
)

// pace spaces the questions to each store, and remembers what the stores answered. Of
// the rate, every share has a quarter, and the last quarter is for whoever comes first.
type pace struct {
	perSecond float64
	mu        sync.Mutex
	counters  map[string]*counter
}

func newPace(perSecond float64) *pace {
	return &pace{perSecond: perSecond, counters: map[string]*counter{}}
}

// counter is where one store is asked.
type counter struct {
	common *rate.Limiter
	shares [shares]*turnstile

	perUser rate.Limit
	mu      sync.Mutex
	users   map[UserID]*turnstile // of those who submitted lately
	said    map[PurchaseID]answer // of purchases that the store has known
	alarmed time.Time             // when the log was told last that the store knows nothing
}

// turnstile is a line of callers. Only the first of them has a reservation, so that the
// reservation of one who gives up is given back whole, whoever waits behind.
type turnstile struct {
	first   chan struct{}
	limiter *rate.Limiter
}

func newTurnstile(limit rate.Limit, burst int) *turnstile {
	return &turnstile{first: make(chan struct{}, 1), limiter: rate.NewLimiter(limit, burst)}
}

// wait waits for the caller's turn. Where common has one to spare, that is at once.
func (t *turnstile) wait(ctx context.Context, common *rate.Limiter) error {
	select {
	case t.first <- struct{}{}:
		defer func() { <-t.first }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if common != nil && common.Allow() {
		return nil
	}
	reservation := t.limiter.Reserve()
	timer := time.NewTimer(reservation.Delay())
	defer timer.Stop()
	select {
	case <-ctx.Done():
		reservation.Cancel()
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// The share of one user in the submissions to a store.
const (
	userPart  = 10 // of the rate
	userBurst = 5
	maxUsers  = 4096 // that are remembered, beside those who have used up a share
)

// at gives the counter of a store.
func (p *pace) at(store string) *counter {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counters[store]
	if c == nil {
		part := rate.Limit(p.perSecond / float64(shares+1))
		c = &counter{
			common: rate.NewLimiter(part, 1), perUser: rate.Limit(p.perSecond / userPart),
			users: map[UserID]*turnstile{}, said: map[PurchaseID]answer{},
		}
		for i := range c.shares {
			c.shares[i] = newTurnstile(part, 1)
		}
		p.counters[store] = c
	}
	return c
}

// wait waits until a store may be asked. A user who submits much waits for itself first.
func (p *pace) wait(ctx context.Context, store string, by share, user UserID) error {
	c := p.at(store)
	if by == submissions {
		if err := c.user(user).wait(ctx, nil); err != nil {
			return err
		}
	}
	return c.shares[by].wait(ctx, c.common)
}

// user gives the turnstile of a user, and forgets those who have not asked for long.
func (c *counter) user(id UserID) *turnstile {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.users[id]
	if t == nil {
		if len(c.users) >= maxUsers {
			for other, idle := range c.users {
				if len(idle.first) == 0 && idle.limiter.Tokens() >= userBurst {
					delete(c.users, other)
				}
			}
		}
		t = newTurnstile(c.perUser, userBurst)
		c.users[id] = t
	}
	return t
}

// answer is what a store said last of a purchase that it has known.
type answer struct {
	at      time.Time
	unknown bool
}

// The rule by which a store counts as misconfigured.
const (
	fewestUnknown = 3              // purchases
	answersFor    = 24 * time.Hour // for so long they count
	maxAnswers    = 1000
	alarmEvery    = time.Hour
)

// note keeps what a store said of a purchase that it has confirmed before.
func (c *counter) note(purchase PurchaseID, unknown bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.said[purchase]; !known && len(c.said) >= maxAnswers {
		var oldest PurchaseID
		for id, said := range c.said {
			if oldest.IsZero() || said.at.Before(c.said[oldest].at) {
				oldest = id
			}
		}
		delete(c.said, oldest)
	}
	c.said[purchase] = answer{at: now, unknown: unknown}
}

// misconfigured reports whether a store does not know most of the purchases that it has
// confirmed: then the credentials or the application are not the ones that they were,
// and its answers say nothing of a purchase. alarm is true once an hour.
func (c *counter) misconfigured(now time.Time) (is, alarm bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	unknown, all := 0, 0
	for _, said := range c.said {
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
	if alarm = c.alarmed.IsZero() || now.Sub(c.alarmed) >= alarmEvery; alarm {
		c.alarmed = now
	}
	return true, alarm
}

// line is the leased purchases of one store, on their way through a few workers.
type line struct {
	waiting []Purchase
	workers int
	late    int // verifications in a row that took all of their time
}

// dispatcher verifies leased purchases, each store's apart from the others': a store
// that hangs keeps its own workers busy, and nobody else's.
type dispatcher struct {
	m      *manager
	origin origin
	report *VerificationReport

	mu     sync.Mutex
	lines  map[string]*line
	moved  chan struct{} // holds one where a purchase is done or a worker has ended
	failed error
	group  sync.WaitGroup
}

// The bounds of a dispatcher.
const (
	longestLine = 500 // purchases of one store that are leased and not done
	mostLate    = verifiersAtWork
)

// run leases what is due and has it verified, until nothing is due and all is done.
func (d *dispatcher) run(ctx context.Context) error {
	for {
		if err := d.failure(); err != nil {
			return err
		}
		if d.wants() {
			now := d.m.now()
			until := now.Add(purchaseLease)
			leased, err := d.m.store.LeasePurchases(ctx, now, until, purchasesLeased)
			if err != nil {
				return err
			}
			if len(leased) > 0 {
				d.add(ctx, leased, until)
				continue
			}
			if d.idle() {
				return d.failure()
			}
		}
		select {
		case <-d.moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// failure is what has gone wrong so far; nil: nothing.
func (d *dispatcher) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// add puts leased purchases into the lines of their stores. What is too much for a line
// is left: it is free again when its lease is over.
func (d *dispatcher) add(ctx context.Context, leased []Purchase, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, purchase := range leased {
		l := d.lines[purchase.Store]
		if l == nil {
			l = &line{}
			d.lines[purchase.Store] = l
		}
		if len(l.waiting) >= longestLine || l.late >= mostLate {
			continue
		}
		purchase.LeasedUntil = until
		l.waiting = append(l.waiting, purchase)
		if l.workers < verifiersAtWork {
			l.workers++
			d.group.Go(func() { d.work(ctx, l) })
		}
	}
}

// wants reports whether more should be leased: nothing waits, or a store of the project
// has nothing to do while another keeps its workers.
func (d *dispatcher) wants() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting := 0
	for _, l := range d.lines {
		waiting += len(l.waiting)
	}
	return waiting == 0 || slices.ContainsFunc(d.m.verifiers, func(v Verifier) bool {
		l := d.lines[v.Store()]
		return l == nil || len(l.waiting) == 0 && l.workers == 0
	})
}

// idle reports whether all that was leased is done.
func (d *dispatcher) idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lines {
		if l.workers > 0 {
			return false
		}
	}
	return true
}

var errGoroutineEnded error = NewError(CodeStoreUnavailable, "", "a goroutine was ended while it verified a purchase")

// next takes a purchase out of a line; ok is false when the worker has to end.
func (d *dispatcher) next(l *line) (purchase Purchase, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.late >= mostLate || d.failed != nil {
		l.waiting = nil
	}
	if len(l.waiting) == 0 {
		l.workers--
		return Purchase{}, false
	}
	purchase, l.waiting = l.waiting[0], l.waiting[1:]
	return purchase, true
}

func (d *dispatcher) work(ctx context.Context, l *line) {
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
		purchase, ok := d.next(l)
		if ok {
			d.do(ctx, l, purchase)
		}
		working = ok
		moved()
		if !ok {
			return
		}
	}
}

// do verifies one purchase, unless its lease could end meanwhile. What panics on the
// way, in code of the host's, is counted and logged, and the purchase comes again when
// its lease is over.
func (d *dispatcher) do(ctx context.Context, l *line, purchase Purchase) {
	defer func() {
		if reason := recover(); reason != nil {
			d.mu.Lock()
			d.report.Undecided++
			d.report.Panicked++
			d.mu.Unlock()
			d.m.logger.ErrorContext(ctx, "userkit: verifying a purchase failed", "store", purchase.Store, "purchase", purchase.ID, "error", panicked(reason))
		}
	}()
	if d.m.now().Add(verifyTimeout).After(purchase.LeasedUntil) {
		return
	}
	after, v, err := d.m.verifyAgain(ctx, d.origin.again(), purchase, EventID{}, false, dueWork)
	if ErrorCode(err) == CodeUnknownStore {
		err = d.m.postpone(ctx, purchase)
	}
	d.count(l, after, v, err)
}

// count adds to the report what a verification found.
func (d *dispatcher) count(l *line, after Purchase, v verification, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v.late {
		l.late++
	} else {
		l.late = 0
	}
	if v.panicked {
		d.report.Panicked++
	}
	switch {
	case errors.Is(err, ErrNotFound): // deleted meanwhile
	case err != nil:
		d.failed = err
	case v.verdict.Outcome == VerdictValid:
		d.report.Verified++
	case v.verdict.Outcome == VerdictInvalid && !(v.verdict.Reason.weak() && !after.DueAt.IsZero()):
		d.report.Ended++
	default: // also for want of a verifier
		d.report.Undecided++
	}
}
