package memory

import (
	"context"
	"time"
)

// leases are the records of a kind whose work processes share: those with a due time, and
// until when one of them has it.
type leases[T any, O order[T]] struct {
	due   *set[T, O]
	dueAt func(at micros) *T // a record that is due then, to compare with
	until func(record *T) *micros
	put   func(record *T)
}

// take returns, in the order of their due times, records that are due and not leased, and
// leases them. It passes over those that are leased, which are as many as all processes
// have in work.
func (l leases[T, O]) take(ctx context.Context, s *Store, now, until time.Time, limit int) ([]*T, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	latest := microsOf(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(context.Background()); err != nil {
		return nil, err
	}
	var leased []*T
	walk := l.due.cursor(span[T]{high: l.dueAt(latest + 1)}, false)
	for len(leased) < limit {
		next := walk.next()
		if next == nil {
			break
		}
		if *l.until(next) <= latest {
			leased = append(leased, next)
		}
	}
	for i, before := range leased {
		next := *before
		*l.until(&next) = microsOf(until)
		leased[i] = &next
		l.put(&next)
	}
	return leased, nil
}
