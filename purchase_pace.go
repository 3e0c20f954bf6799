package userkit

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// share says on whose behalf a store is asked. Each has its own share of the rate, so that none can
// keep the others from asking.
type share int

const (
	submissions share = iota
	notifications
	dueWork
	shares // how many there are
)

// turn is on whose behalf a store is asked, and how long to wait for that at most; 0: as long as the
// context says.
type turn struct {
	share
	patience time.Duration
}

// errPatience is the error of a turn that did not come in time.
var errPatience = errors.New("userkit: the turn to ask the store did not come in time")

// pace spaces the questions to each store, and remembers what the stores answered. Each share has a
// quarter of the rate, and the last quarter is for whoever comes first.
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
	witness witness               // of purchases that the store has known
	until   time.Time             // the store does not want to be asked anything before this time
}

// longestBusy is for how long, at most, a store that calls itself busy is asked about
// nothing: what one answer says must not stop everything for long.
const longestBusy = time.Hour

// errBusy is why a store was not asked.
var errBusy = errors.New("userkit: the store asked to be left alone for a while")

// busy returns the verdict on whatever would be asked now of a store that is busy.
func (c *counter) busy(now time.Time) (verdict Verdict, busy bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !now.Before(c.until) {
		return Verdict{}, false
	}
	return Undecided(errBusy, c.until), true
}

// heed takes note of a store that calls itself busy.
func (c *counter) heed(verdict Verdict, now time.Time) {
	if verdict.Outcome != VerdictUndecided || !verdict.Busy {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = verdict.RetryAt
	if latest := now.Add(longestBusy); c.until.After(latest) {
		c.until = latest
	}
}

// turnstile is a queue of callers. Only the first of them has a reservation, so that a caller who
// gives up returns all of it, whoever waits behind.
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

// at returns the counter of a store.
func (p *pace) at(store string) *counter {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counters[store]
	if c == nil {
		part := rate.Limit(p.perSecond / float64(shares+1))
		c = &counter{
			common: rate.NewLimiter(part, 1), perUser: rate.Limit(p.perSecond / userPart),
			users: map[UserID]*turnstile{},
		}
		for i := range c.shares {
			c.shares[i] = newTurnstile(part, 1)
		}
		p.counters[store] = c
	}
	return c
}

// wait waits until a store may be asked. A user who submits often waits for its own share first.
func (p *pace) wait(ctx context.Context, store string, by turn, user UserID) error {
	if by.patience > 0 {
		patient, cancel := context.WithTimeoutCause(ctx, by.patience, errPatience)
		defer cancel()
		if err := p.wait(patient, store, turn{share: by.share}, user); err != nil {
			return context.Cause(patient)
		}
		return nil
	}
	c := p.at(store)
	if by.share == submissions {
		if err := c.user(user).wait(ctx, nil); err != nil {
			return err
		}
	}
	return c.shares[by.share].wait(ctx, c.common)
}

// user returns the turnstile of a user, and forgets those who have not asked for long.
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
