package userkit

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/userkit/userkit/internal/hostcall"
)

// The bounds of the corridor.
const (
	// maxBatch is how many commands go in one batch. What a store gains by larger
	// ones is little, and so the thousand reports of one call are spread over
	// all lanes.
	maxBatch = 340
	// maxConflicts is how often a command is decided again because its user changed between load
	// and commit. One contender wins every round, so only a user whom very many processes change at
	// once comes near it.
	maxConflicts = 200
	// maxFaults is how often a command is tried again because the store failed.
	maxFaults = 4
	// maxNeeds is how often a command may ask to know more.
	maxNeeds = 4
	// defaultChangeTimeout is that of WithChangeTimeout.
	defaultChangeTimeout = 30 * time.Second
)

// command is one step on its way through the corridor: the change of one user or,
// where subject is set, of something else.
type command struct {
	want    Want // want.User is the user
	creates bool // the user need not exist
	fresh   bool // the id was made for this command: there is nothing to load

	// decide returns the change of the state. It is pure: it may run several times, and only the
	// last run that was committed counts. A zero Change writes nothing. To know more, it returns
	// needMore.
	decide func(state *State) (Change, error)

	// subject is what the command is about when that is not one user. Such a
	// command goes alone, on its caller's goroutine, and want and decide are not
	// used.
	subject subject

	done chan struct{} // closed when err is final
	err  error

	// These belong to the lane that has the command, or to the queue.
	events    []EventID // what the last commit that was tried would have recorded
	conflicts int
	faults    int
	needs     int
	alone     bool // goes in a batch without other commands of its user
	mustLoad  bool // the cached account must not be used
	abandoned bool // the caller has left; guarded by pipeline.mu
}

// subject is what a command is about if that is not one user: several users whose changes belong
// together, or a segment. It has a guard like a user, and takes the same path: load, decide and
// commit, repeated after a conflict, and after a fault once it is known whether the commit has
// happened.
type subject interface {
	// load reads what the decision rests on, and reports whether one of the events
	// is recorded.
	load(ctx context.Context, store Store, events []EventID) (recorded bool, err error)
	// decide decides on what was loaded, without I/O, and returns the events that the commit will
	// record; none means that there is nothing to commit. errMoved means that it has to be loaded
	// again.
	decide() ([]EventID, error)
	// commit commits what was decided. Its error is an outcome, as one of
	// Store.Commit, or a fault of the store.
	commit(ctx context.Context, store Store) error
	// users returns the users whose accounts the commit changes.
	users() []UserID
}

// errMoved means that the command is no longer about the records that were loaded.
var errMoved = errors.New("userkit: the command is about something else by now")

// needMore is returned by decide when it has to know more than it asked for.
type needMore struct{ Want }

func (needMore) Error() string { return "userkit: the command needs to know more" }

// pipeline is the corridor: it takes commands, gathers those that wait into
// batches, and moves each batch through load, decide and commit.
//
// A command that finds a free lane runs at once. Those that arrive while all lanes are busy wait,
// and the next free lane takes all of them. One user is in one batch at a time.
type pipeline struct {
	store Store
	lanes int // 0: every command goes alone, on its caller's goroutine
	cache *accountCache
	// timeout bounds the time that a batch takes to be loaded and committed once.
	timeout time.Duration
	logger  *slog.Logger
	panics  atomic.Int64 // of the store, since the pipeline was made

	mu      sync.Mutex
	queues  map[UserID]*queue
	ready   []*queue // queues with commands that no lane has
	running int      // lanes under way
	pending int      // commands that are not done, and what else close waits for
	closed  bool
	closing chan struct{} // closed with the first close
	drained chan struct{} // closed when, after that, pending is 0
}

// queue holds the commands of one user.
type queue struct {
	user    UserID
	waiting []*command
	busy    bool // a lane has the user, or its retry waits for a timer
}

func newPipeline(store Store, lanes, cached int) *pipeline {
	return &pipeline{
		store: store, lanes: lanes, cache: newAccountCache(cached), timeout: defaultChangeTimeout,
		logger: slog.New(slog.DiscardHandler), queues: map[UserID]*queue{},
		closing: make(chan struct{}), drained: make(chan struct{}),
	}
}

// do moves commands, all of one user each or all of other subjects, through the
// corridor and returns when all are done or the context has ended. Each command's
// own error is in its err, which may be read only when do returned nil.
func (p *pipeline) do(ctx context.Context, commands ...*command) error {
	if err := ctx.Err(); err != nil || len(commands) == 0 {
		return err
	}
	if own := callerOf(ctx).connection; own != nil {
		for _, c := range commands {
			if err := own.guard(c); err != nil {
				return err
			}
		}
	}
	if p.lanes == 0 || commands[0].subject != nil {
		return p.doDirectly(ctx, commands)
	}
	for _, c := range commands {
		c.done = make(chan struct{})
	}
	if err := p.submit(commands); err != nil {
		return err
	}
	for _, c := range commands {
		select {
		case <-c.done:
		case <-ctx.Done():
			p.abandon(commands)
			return ctx.Err()
		}
	}
	return nil
}

func (p *pipeline) submit(commands []*command) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return errClosed()
	}
	for _, c := range commands {
		q := p.queues[c.want.User]
		if q == nil {
			q = &queue{user: c.want.User}
			p.queues[q.user] = q
		}
		q.waiting = append(q.waiting, c)
		if !q.busy && len(q.waiting) == 1 {
			p.ready = append(p.ready, q)
		}
	}
	p.pending += len(commands)
	p.startLanes()
	p.mu.Unlock()
	return nil
}

// startLanes starts as many lanes as there are batches ready, as far as there
// are free ones; the caller holds the lock.
func (p *pipeline) startLanes() {
	for batches := (len(p.ready) + maxBatch - 1) / maxBatch; batches > 0 && p.running < p.lanes; batches-- {
		p.running++
		go p.lane()
	}
}

// abandon marks commands whose caller has left, so that those no lane has are dropped.
func (p *pipeline) abandon(commands []*command) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range commands {
		c.abandoned = true
	}
}

// lane takes batches until nothing waits. A batch that does not finish, because something panicked
// or ended the goroutine, fails, and another lane goes on, so that no caller waits for ever and the
// queues are emptied.
func (p *pipeline) lane() {
	var batch []*task
	defer func() {
		if batch == nil {
			return
		}
		done := p.broken(batch, p.panicked("a change", recover()))
		for _, c := range done {
			close(c.done)
		}
		p.release(batch, len(done))
		go p.lane()
	}()
	for {
		if batch = p.take(); batch == nil {
			return
		}
		done := p.process(context.Background(), batch)
		for _, c := range done {
			close(c.done)
		}
		p.release(batch, len(done))
		// The callers who were just answered go first: what they ask next joins
		// the next batch, instead of missing it by a microsecond.
		runtime.Gosched()
	}
}

// panicked counts and logs a panic on a goroutine of userkit's own, and returns the
// error that stands for it.
func (p *pipeline) panicked(what string, reason any) error {
	err := hostcall.Panicked(reason)
	p.logger.Error("userkit: "+what+" panicked", "panics", p.panics.Add(1), "error", err)
	return NewError(CodeStoreUnavailable, "", "%s panicked", what).Because(err)
}

// broken fails all commands of a batch, whatever it has come to.
func (p *pipeline) broken(batch []*task, err error) (done []*command) {
	for _, t := range batch {
		p.cache.forget(t.user)
		for _, c := range t.taken {
			if c != nil {
				c.err = err
				done = append(done, c)
			}
		}
		t.commands, t.later, t.delay = nil, nil, 0
	}
	return done
}

// guarded calls the store, which may be code of the host's. After a panic it is unknown what has
// happened, as after a broken connection.
func (p *pipeline) guarded(call func() error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = p.panicked("the store", reason)
		}
	}()
	return call()
}

// loadStates calls Store.Load.
func (p *pipeline) loadStates(ctx context.Context, wants []Want) (states []State, err error) {
	err = p.guarded(func() error {
		states, err = p.store.Load(ctx, wants)
		return err
	})
	if err == nil && len(states) != len(wants) {
		return nil, NewError(CodeStoreUnavailable, "", "the store loaded %d states for %d wants", len(states), len(wants))
	}
	return states, err
}

// commit calls Store.Commit.
func (p *pipeline) commit(ctx context.Context, changes []Change) (outcomes []error, err error) {
	err = p.guarded(func() error {
		outcomes, err = p.store.Commit(ctx, changes)
		return err
	})
	if err == nil && len(outcomes) != len(changes) {
		return nil, NewError(CodeStoreUnavailable, "", "the store returned %d outcomes for %d changes", len(outcomes), len(changes))
	}
	return outcomes, err
}

// task is the commands of one user in a batch.
type task struct {
	queue    *queue // nil outside the lanes
	user     UserID
	commands []*command    // in: to do; out of process: to do again
	taken    []*command    // as they were when the round began
	later    []*command    // those that could not be decided in this round
	cached   bool          // what they are decided from is from the cache
	delay    time.Duration // before they are done again
}

// take gathers the next batch, or ends the lane.
func (p *pipeline) take() []*task {
	p.mu.Lock()
	defer p.mu.Unlock()
	var batch []*task
	room := maxBatch
	for room > 0 && len(p.ready) > 0 {
		q := p.ready[0]
		p.ready[0] = nil
		p.ready = p.ready[1:]
		commands := q.next(room)
		commands = slices.DeleteFunc(commands, func(c *command) bool {
			if c.abandoned {
				p.finished(1)
			}
			return c.abandoned
		})
		if len(commands) == 0 {
			p.settle(q)
			continue
		}
		q.busy = true
		room -= len(commands)
		batch = append(batch, &task{queue: q, user: q.user, commands: commands})
	}
	if batch == nil {
		p.running--
	}
	return batch
}

// next removes up to so many commands from the queue that may go together.
func (q *queue) next(most int) []*command {
	count := min(most, len(q.waiting))
	if at := slices.IndexFunc(q.waiting[:count], func(c *command) bool { return c.alone }); at >= 0 {
		count = max(at, 1)
	}
	if count == len(q.waiting) {
		commands := q.waiting
		q.waiting = nil
		return commands
	}
	commands := slices.Clone(q.waiting[:count])
	q.waiting = slices.Delete(q.waiting, 0, count)
	return commands
}

// release releases the users of a batch, queues what has to be done again, and counts the commands
// that are done.
func (p *pipeline) release(batch []*task, done int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished(done)
	for _, t := range batch {
		q := t.queue
		if len(t.commands) > 0 {
			q.waiting = append(t.commands, q.waiting...)
		}
		if t.delay == 0 {
			q.busy = false
			p.settle(q)
			continue
		}
		time.AfterFunc(t.delay, func() {
			p.mu.Lock()
			q.busy = false
			p.settle(q)
			p.startLanes()
			p.mu.Unlock()
		})
	}
}

// settle adds a queue that is not busy to the ready ones, or drops it if it is empty.
func (p *pipeline) settle(q *queue) {
	if len(q.waiting) > 0 {
		p.ready = append(p.ready, q)
	} else {
		delete(p.queues, q.user)
	}
}

// finished counts commands as done; the caller holds the lock.
func (p *pipeline) finished(count int) {
	p.pending -= count
	if p.closed && p.pending == 0 && count > 0 { // which happens only once, since nothing is added
		close(p.drained)
	}
}

// begin counts what goes without a queue (commands that go directly, a run of the
// duties) as under way, unless the pipeline is closed; end counts it as done.
func (p *pipeline) begin(count int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed()
	}
	p.pending += count
	return nil
}

func (p *pipeline) end(count int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished(count)
}

// close refuses further commands and waits for what is under way, as long as the
// context lasts.
func (p *pipeline) close(ctx context.Context) error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.closing)
		if p.pending == 0 {
			close(p.drained)
		}
	}
	p.mu.Unlock()
	select {
	case <-p.drained:
		return nil
	default:
	}
	select {
	case <-p.drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// doDirectly does commands one after another on the caller's goroutine.
func (p *pipeline) doDirectly(ctx context.Context, commands []*command) error {
	if err := p.begin(len(commands)); err != nil {
		return err
	}
	defer p.end(len(commands))
	for _, c := range commands {
		t := &task{user: c.want.User, commands: []*command{c}}
		for {
			p.process(ctx, []*task{t})
			if len(t.commands) == 0 {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(t.delay):
			}
		}
	}
	return nil
}

// process moves a batch through load, decide and commit once, and returns the
// commands that are done. The others stay in their task, to be done again after
// its delay.
func (p *pipeline) process(ctx context.Context, batch []*task) (done []*command) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	for _, t := range batch {
		t.delay, t.later, t.cached = 0, nil, false
		t.taken = t.commands
	}
	if t := batch[0]; t.commands[0].subject != nil {
		return p.processSubject(ctx, t)
	}

	states, err := p.load(ctx, batch)
	if err != nil {
		for _, t := range batch {
			done = append(done, t.fault(err)...)
		}
		return done
	}

	changes := make([]Change, 0, len(batch))
	changed := make([]*task, 0, len(batch))
	for i, t := range batch {
		change, finished := t.decide(&states[i])
		done = append(done, finished...)
		if change.writes() {
			changes = append(changes, change)
			changed = append(changed, t)
		}
	}
	if len(changes) > 0 {
		outcomes, err := p.commit(ctx, changes)
		for i, t := range changed {
			switch {
			case err != nil:
				p.cache.forget(t.user)
				done = append(done, t.fault(err)...)
			case outcomes[i] == nil:
				p.cache.put(&changes[i])
				done = append(done, t.finish()...)
			case errors.Is(outcomes[i], ErrConflict):
				p.cache.forget(t.user)
				done = append(done, t.conflict()...)
			case t.cached: // a key is in use, which a load reports better
				p.cache.mistrust()
				for _, c := range t.commands {
					c.mustLoad = true
				}
			default:
				done = append(done, t.refused(outcomes[i])...)
			}
		}
	}
	for _, t := range batch {
		t.commands = append(t.commands, t.later...)
	}
	return done
}

// processSubject moves the one command of a task, whose subject is not one user,
// through load, decide and commit once, as process does with a batch.
func (p *pipeline) processSubject(ctx context.Context, t *task) (done []*command) {
	c := t.commands[0]
	var recorded bool
	err := p.guarded(func() (err error) {
		recorded, err = c.subject.load(ctx, p.store, c.events)
		return err
	})
	switch {
	case err != nil:
		return t.fault(err)
	case recorded: // the commit whose acknowledgement was lost has happened
		return t.finish()
	}
	c.events, err = c.subject.decide()
	switch {
	case errors.Is(err, errMoved):
		return t.conflict()
	case err != nil || len(c.events) == 0:
		c.err = err
		return t.finish()
	}
	err = p.guarded(func() error { return c.subject.commit(ctx, p.store) })
	for _, user := range c.subject.users() {
		p.cache.forget(user)
	}
	switch {
	case err == nil:
		return t.finish()
	case errors.Is(err, ErrConflict):
		return t.conflict()
	default: // an outcome is final, a fault may not be
		return t.fault(err)
	}
}

// finish ends all commands of a task, each with the error that it has.
func (t *task) finish() (done []*command) {
	done, t.commands = t.commands, nil
	return done
}

// load gets the states that a batch needs, in the order of its tasks.
func (p *pipeline) load(ctx context.Context, batch []*task) ([]State, error) {
	var wants []Want
	var states []State // nil as long as all come from the store
	known := func(at int, state State) {
		if states == nil {
			states = make([]State, len(batch))
		}
		states[at] = state
	}
	for i, t := range batch {
		if t.fresh() {
			known(i, State{})
			continue
		}
		var account Account
		if account, t.cached = p.cache.get(t); t.cached {
			known(i, State{Exists: true, User: User{Account: account}})
			continue
		}
		if wants == nil {
			wants = make([]Want, 0, len(batch)-i)
		}
		wants = append(wants, t.want())
	}
	if len(wants) == 0 {
		return states, nil
	}
	loaded, err := p.loadStates(ctx, wants)
	if err != nil {
		return nil, err
	}
	for i := range loaded {
		loaded[i].loadedBy(&wants[i])
	}
	if states == nil {
		return loaded, nil
	}
	for i, t := range batch {
		if !t.fresh() && !t.cached {
			states[i], loaded = loaded[0], loaded[1:]
		}
	}
	return states, nil
}

// fresh reports whether there is nothing to load for a task: it is the first try
// to create a user whose id was made for it.
func (t *task) fresh() bool {
	c := t.commands[0]
	return len(t.commands) == 1 && c.fresh && c.faults+c.conflicts == 0
}

// want returns all that the commands of a task ask for.
func (t *task) want() Want {
	want := t.commands[0].want
	want.Events = slices.Clip(append(want.Events, t.commands[0].events...))
	for _, c := range t.commands[1:] {
		want = want.merge(c.want)
		want.Events = append(want.Events, c.events...)
	}
	return want
}

// decide decides the commands of a task one after another, each on what the ones before made of the
// state, and sums up the change. The commands that remain in t.commands depend on the commit: those
// that write, and those whose answer depends on what earlier ones wrote.
func (t *task) decide(state *State) (total Change, done []*command) {
	state.of(t.user)
	commands := t.commands
	t.commands = make([]*command, 0, len(commands))
	for i, c := range commands {
		if slices.ContainsFunc(c.events, func(id EventID) bool { return slices.Contains(state.Events, id) }) {
			// The commit whose acknowledgement was lost has happened.
			done = append(done, c)
			continue
		}
		var change Change
		if state.Exists || c.creates {
			change, c.err = c.decide(state)
		} else {
			change, c.err = Change{}, NewError(CodeUserNotFound, "", "no user %s", t.user)
		}
		if need, ok := errors.AsType[needMore](c.err); ok {
			if c.needs++; c.needs > maxNeeds {
				panic("userkit: a command never knows enough")
			}
			c.want = c.want.merge(need.Want)
			t.later = commands[i:]
			break
		}
		if t.cached && !total.writes() && (c.err != nil || !change.writes()) {
			// No commit will prove that the account was right.
			c.mustLoad = true
			t.later = commands[i:]
			break
		}
		if total.Profile != nil && change.Profile != nil || total.writes() && change.Delete {
			// Only the store can judge a unique value: each command that sets one gets that
			// judgement itself, and no later command hides it.
			t.later = commands[i:]
			break
		}
		c.events = c.events[:0]
		if c.err == nil && change.writes() {
			for _, event := range change.Events {
				c.events = append(c.events, event.ID)
			}
			if i+1 < len(commands) {
				state.apply(change)
			}
			total.merge(change)
		} else if !total.writes() {
			done = append(done, c)
			continue
		}
		t.commands = append(t.commands, c)
		if change.Delete {
			t.later = commands[i+1:]
			break
		}
	}
	total.Version = state.base
	return total, done
}

// fault deals with a store that failed: the commands are tried again a few
// times, each checking first whether the commit has happened after all.
func (t *task) fault(err error) (done []*command) {
	// Other errors than these are about the call, and trying again cannot help.
	final := !errors.Is(err, ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) || ErrorCode(err) == CodeClosed
	t.commands = slices.DeleteFunc(t.commands, func(c *command) bool {
		c.faults++
		if final || c.faults > maxFaults {
			c.err = unavailable(err)
			done = append(done, c)
			return true
		}
		t.delay = max(t.delay, jitter(10*time.Millisecond<<c.faults))
		return false
	})
	return done
}

// conflict deals with a user that changed between load and commit.
func (t *task) conflict() (done []*command) {
	t.commands = slices.DeleteFunc(t.commands, func(c *command) bool {
		c.conflicts++
		if c.conflicts > maxConflicts {
			c.err = NewError(CodeTooManyConflicts, "", "the records of the call changed %d times while it was decided", c.conflicts)
			done = append(done, c)
			return true
		}
		if c.conflicts > 1 { // the first time goes again at once
			t.delay = max(t.delay, jitter(time.Millisecond<<min(c.conflicts, 4)))
		}
		return false
	})
	return done
}

// refused deals with a change that a unique value stopped. With several commands it is unknown
// which of them set the value, so they are repeated one by one.
func (t *task) refused(err error) (done []*command) {
	if len(t.commands) > 1 {
		for _, c := range t.commands {
			c.alone = true
		}
		return nil
	}
	t.commands[0].err = err
	return t.finish()
}

// unavailable makes sure that a fault of the store is one of userkit's errors.
func unavailable(err error) error {
	if _, ok := errors.AsType[*Error](err); ok || errors.Is(err, context.Canceled) {
		return err
	}
	return NewError(CodeStoreUnavailable, "", "the store failed").Because(err)
}

func errClosed() error { return NewError(CodeClosed, "", "the manager is closed") }

// jitter returns a random time between half of d and d, so that contenders spread out.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2) }

// change moves one command of one user through the corridor and returns what its
// decision returned.
func change[R any](ctx context.Context, m *manager, c command, decide func(*State) (R, Change, error)) (R, error) {
	var result, none R
	c.decide = func(state *State) (Change, error) {
		decided, change, err := decide(state)
		result = decided
		return change, err
	}
	if err := m.pipeline.do(ctx, &c); err != nil {
		return none, err // the corridor may still write result
	}
	if c.err != nil {
		return none, c.err
	}
	return result, nil
}

// together is the subject of a command that changes either all of several users or none.
type together struct {
	// wants returns what to load, which may depend on the current state of the store.
	wants func(ctx context.Context) ([]Want, error)
	// choose decides, as command.decide does, on the states of these users, of whom
	// some may not exist.
	choose func(states []State) ([]Change, error)
	// moved reports whether an outcome means that other users have to be loaded.
	moved func(outcome error) bool

	connected *connected // the connection that the command is done in; nil: none

	states  []State
	changes []Change
}

func (t *together) load(ctx context.Context, store Store, events []EventID) (recorded bool, err error) {
	wants, err := t.wants(ctx)
	if err != nil {
		return false, err
	}
	for i := range wants {
		wants[i].Events = events
		if t.connected != nil && wants[i].User == t.connected.UserID {
			wants[i].Connections = []ConnectionID{t.connected.ID}
		}
	}
	if t.states, err = store.Load(ctx, wants); err != nil {
		return false, err
	}
	for i := range t.states {
		t.states[i].loadedBy(&wants[i])
		t.states[i].of(wants[i].User)
		recorded = recorded || len(t.states[i].Events) > 0
	}
	return recorded, nil
}

func (t *together) decide() (events []EventID, err error) {
	if t.connected != nil {
		at := slices.IndexFunc(t.states, func(s State) bool { return s.User.ID == t.connected.UserID })
		if at < 0 {
			return nil, errOtherUser()
		}
		if err := t.connected.check(&t.states[at]); err != nil {
			return nil, err
		}
	}
	if t.changes, err = t.choose(t.states); err != nil {
		return nil, err
	}
	for i := range t.changes {
		if t.connected != nil && t.changes[i].User != t.connected.UserID {
			return nil, errOtherUser()
		}
		for _, event := range t.changes[i].Events {
			events = append(events, event.ID)
		}
	}
	return events, nil
}

func (t *together) commit(ctx context.Context, store Store) error {
	err := store.CommitTogether(ctx, t.changes)
	if err != nil && t.moved(err) {
		return ErrConflict
	}
	return err
}

func (t *together) users() []UserID {
	users := make([]UserID, len(t.changes))
	for i := range t.changes {
		users[i] = t.changes[i].User
	}
	return users
}
