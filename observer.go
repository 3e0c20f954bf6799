package userkit

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Observation contains the events that are passed to an observer. At least the events of one user
// are in the order in which they were committed.
type Observation struct {
	Events []Event
	// Missed is the number of events before these that the observer missed because more than
	// MaxObserved were waiting for it.
	Missed int
}

// MaxObserved is the maximum number of events that wait for an observer. If there are more, the
// observer misses the oldest.
const MaxObserved = 10_000

// WithObserver adds a function that is called with events after they have been committed, for
// example to invalidate a cache or to count. It is called in its own goroutine, never concurrently
// with itself, so that no call waits for it; further events wait until it returns.
//
// It receives only the events that this manager commits: not those of other processes, of changes
// in a transaction of the host (WithStore), or of a commit whose acknowledgement was lost. To
// receive all events, read the feed; see Follow.
func WithObserver(observer func(Observation)) Option {
	return func(o *options) error {
		if observer == nil {
			return invalidOption("WithObserver", "nil")
		}
		o.observers = append(slices.Clip(o.observers), observer)
		return nil
	}
}

// observed is a store that reports its commits to observers and to those who wait for the feed.
type observed struct {
	Store
	observers []*observer
	committed *signal
}

// observe returns a store that reports its commits to observers.
func observe(store Store, functions []func(Observation), logger *slog.Logger) *observed {
	s := &observed{Store: store, committed: &signal{}}
	for _, function := range functions {
		s.observers = append(s.observers, &observer{function: function, logger: logger})
	}
	return s
}

func (s *observed) Commit(ctx context.Context, changes []Change) ([]error, error) {
	outcomes, err := s.Store.Commit(ctx, changes)
	if err == nil {
		for i := range changes {
			if i >= len(outcomes) || outcomes[i] == nil {
				s.tell(changes[i].Events)
			}
		}
	}
	return outcomes, err
}

func (s *observed) CommitTogether(ctx context.Context, changes []Change) error {
	err := s.Store.CommitTogether(ctx, changes)
	if err == nil {
		for i := range changes {
			s.tell(changes[i].Events)
		}
	}
	return err
}

func (s *observed) CommitSegment(ctx context.Context, change SegmentChange) (int64, error) {
	count, err := s.Store.CommitSegment(ctx, change)
	if err == nil {
		s.tell([]Event{change.Event})
	}
	return count, err
}

func (s *observed) CommitEvent(ctx context.Context, event Event) error {
	err := s.Store.CommitEvent(ctx, event)
	if err == nil {
		s.tell([]Event{event})
	}
	return err
}

func (s *observed) tell(events []Event) {
	if len(events) == 0 {
		return
	}
	for _, o := range s.observers {
		o.offer(events)
	}
	s.committed.fire()
}

// observer tells one function.
type observer struct {
	function func(Observation)
	logger   *slog.Logger

	mutex   sync.Mutex
	waiting Observation
	running bool // a goroutine tells
}

// offer puts copies of events in the queue, so that the function may change them.
func (o *observer) offer(events []Event) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	for _, event := range events {
		if len(o.waiting.Events) >= MaxObserved { // the oldest is missed: what is told is then the latest
			o.waiting.Events[0] = Event{}
			o.waiting.Events = o.waiting.Events[1:]
			o.waiting.Missed++
		}
		event.Data, event.Mentions = bytes.Clone(event.Data), slices.Clone(event.Mentions)
		o.waiting.Events = append(o.waiting.Events, event)
	}
	if !o.running {
		o.running = true
		go o.run()
	}
}

// run calls the function until nothing waits. The function may panic, or end the goroutine.
func (o *observer) run() {
	next := Observation{}
	defer func() {
		if reason := recover(); reason != nil {
			o.logger.Error("userkit: an observer panicked", "error", fmt.Sprint(reason), "events", len(next.Events))
		}
		o.mutex.Lock()
		defer o.mutex.Unlock()
		if o.running = len(o.waiting.Events) > 0; o.running {
			go o.run()
		}
	}()
	for {
		o.mutex.Lock()
		next, o.waiting = o.waiting, Observation{}
		o.mutex.Unlock()
		if len(next.Events) == 0 {
			return
		}
		o.function(next)
	}
}

// signal wakes those who wait.
type signal struct {
	mutex sync.Mutex
	fired chan struct{} // nil: nobody waits
}

// wait returns a channel that is closed with the next fire.
func (s *signal) wait() <-chan struct{} {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.fired == nil {
		s.fired = make(chan struct{})
	}
	return s.fired
}

func (s *signal) fire() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.fired != nil {
		close(s.fired)
		s.fired = nil
	}
}

// The pace of Follow.
const (
	// followInterval is how often the feed is looked at for events of other processes, and
	// for those that waited for an open transaction.
	followInterval = time.Second
	// followPause is how long the feed is left alone at least.
	followPause = 10 * time.Millisecond
)

func (m *manager) Follow(ctx context.Context, after FeedCursor) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			// Whatever is committed while the feed is read wakes at once.
			committed := m.committed()
			for event, err := range m.Feed(ctx, after) {
				if !yield(event, err) || err != nil {
					return
				}
				after = event.Cursor
			}
			if err := m.rest(ctx, committed); err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

// rest waits until the feed may have something new.
func (m *manager) rest(ctx context.Context, committed <-chan struct{}) error {
	pause := time.NewTimer(followPause)
	defer pause.Stop()
	interval := time.NewTimer(followInterval)
	defer interval.Stop()
	for _, wake := range []<-chan struct{}{nil, committed} {
		slow := interval.C
		if wake == nil {
			slow = pause.C
		}
		select {
		case <-wake:
		case <-slow:
		case <-ctx.Done():
			return ctx.Err()
		case <-m.pipeline.closing:
			return errClosed()
		}
	}
	return nil
}

// committed returns a channel that is closed with the next commit of this manager; nil:
// one in a transaction of the host's tells of none.
func (m *manager) committed() <-chan struct{} {
	if store, ok := m.store.(*observed); ok {
		return store.committed.wait()
	}
	return nil
}
