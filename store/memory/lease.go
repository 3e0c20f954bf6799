package memory

import (
	"context"
	"slices"
	"time"
)

// leases are the records of a kind whose work processes share: those with a due time, and
// until when one of them has it.
type leases[T any, O order[T]] struct {
	due   *set[T, O]                       // by service and due time
	dueAt func(service word, at micros) *T // a record that is due then, to compare with
	until func(record *T) *micros
	put   func(record *T)
}

// take returns, in the order of the services and their due times, records that are due and not
// leased, of each service at most limit, and leases them. It passes over those that are leased,
// which are as many as all processes have in work.
func (l leases[T, O]) take(ctx context.Context, s *Store, services []word, now, until time.Time, limit int) ([]*T, error) {
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
	for _, service := range services {
		walk := l.due.cursor(span[T]{low: l.dueAt(service, none), high: l.dueAt(service, latest+1)}, false)
		for most := len(leased) + limit; len(leased) < most; {
			next := walk.next()
			if next == nil {
				break
			}
			if *l.until(next) <= latest {
				leased = append(leased, next)
			}
		}
	}
	var o O
	slices.SortFunc(leased, o.compare)
	for i, before := range leased {
		next := *before
		*l.until(&next) = microsOf(until)
		leased[i] = &next
		l.put(&next)
	}
	return leased, nil
}
