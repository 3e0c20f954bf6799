package userkit

import (
	"context"
	"time"
)

// dutyClock tells the time that a duty may rely on: that of the manager's clock, less what the clock
// of the process is ahead of that of the store. A process whose clock is ahead, perhaps by years, must
// neither do what cannot be undone, such as ending, expiring and deleting what is young, nor put off
// what is due, by a lease or by when it is due next. A process whose clock is behind finds nothing to
// do, which does no harm. A clock that the host gives with WithClock, such as that of a test, may tell
// any time: only the clock of the process is compared.
type dutyClock struct {
	own   func() time.Time
	ahead time.Duration // the clock of the process, when the two were compared
}

// maxClockSkew is by how much the clock of a process may be ahead and be relied on nevertheless.
// Without it, what a process has just made would be due only after a moment.
const maxClockSkew = 2 * time.Second

// dutyClock compares the clock of the process with that of the store.
func (m *manager) dutyClock(ctx context.Context) (dutyClock, error) {
	clock := dutyClock{own: m.now}
	process := time.Now() // before the store is asked, since the answer may take long
	stored, err := m.store.Now(ctx)
	if err != nil {
		return clock, err
	}
	if ahead := process.Sub(stored); ahead > maxClockSkew {
		clock.ahead = ahead
	}
	return clock, nil
}

func (c dutyClock) now() time.Time { return storedTime(c.own().Add(-c.ahead)) }
