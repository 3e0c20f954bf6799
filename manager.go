package userkit

import (
	"context"
	"sync"
	"time"
)

// Manager is all of userkit behind one interface. New returns it.
//
// Methods may be added in a minor version. A host that fakes a part of it in its
// tests depends on the role that it uses (UserManager, DeviceManager, …).
//
// Every method may be called by many goroutines at once, and many processes may
// work on one project. A method whose context ends returns the context's error
// at once; a change that was under way has then happened whole or not at all,
// and the same call repeated with the same key or id tells.
type Manager interface {
	UserManager
	DeviceManager
	SessionManager
	PurchaseManager
	BalanceManager
	SegmentManager
	BulkManager
	ImportManager
	ActivityManager

	// WithStore returns a manager with the same options that works on another
	// store, without waiting for a batch. With a store that is bound to the
	// host's own transaction, every change becomes part of that transaction. It
	// needs no Close.
	WithStore(store Store) Manager

	// Run does the standing duties (closing stale sessions, verifying purchases that
	// are due) until the context
	// ends, and returns its error. Many processes may run it.
	Run(ctx context.Context) error

	// Close waits for the changes under way and refuses further ones with
	// ErrUnavailable and CodeClosed. It does not close the store. It is safe to
	// call more than once.
	Close() error
}

// manager implements Manager. The methods of each role stand in its entity's file.
type manager struct {
	options
	store    Store
	pipeline *pipeline
}

var _ Manager = (*manager)(nil)

// New returns a manager of the project that the store keeps. It returns
// ErrInvalid with CodeInvalidOption, the option's name in Error.Field, when an
// option is wrong.
func New(store Store, opts ...Option) (Manager, error) {
	if store == nil {
		return nil, invalidOption("New", "no store")
	}
	m := &manager{options: defaultOptions(), store: store}
	for _, opt := range opts {
		if err := opt(&m.options); err != nil {
			return nil, err
		}
	}
	if m.defaultLicense != "" {
		if _, err := m.license(m.defaultLicense); err != nil {
			return nil, invalidOption("WithDefaultLicense", "%q is not one of WithLicenses", clip(m.defaultLicense))
		}
	}
	m.pipeline = newPipeline(store, lanes, m.accountCache)
	return m, nil
}

// lanes is how many batches are under way at the same time: while one waits for
// the store, another is decided, and the next gathers. More lanes make smaller
// batches, which cost more each; three were the best with both stores on four
// cores.
const lanes = 3

func (m *manager) WithStore(store Store) Manager {
	return &manager{options: m.options, store: store, pipeline: newPipeline(store, 0, 0)}
}

func (m *manager) Close() error {
	m.pipeline.close()
	return nil
}

func (m *manager) Run(ctx context.Context) error {
	// Each duty has its own pace: stores that answer slowly keep no session open.
	var duties sync.WaitGroup
	duties.Go(func() {
		m.repeat(ctx, min(max(m.staleAfter/4, time.Second), time.Minute), "closing stale sessions", func() error {
			_, err := m.CloseStaleSessions(ctx)
			return err
		})
	})
	if m.projectKind == ProjectPublic && len(m.verifiers) > 0 {
		duties.Go(func() {
			m.repeat(ctx, verifyInterval, "verifying purchases", func() error {
				_, err := m.VerifyDuePurchases(ctx)
				return err
			})
		})
	}
	duties.Wait()
	return ctx.Err()
}

// verifyInterval is how often Run looks for purchases that are due.
const verifyInterval = 15 * time.Second

// repeat does a duty now and at every interval until the context ends.
func (m *manager) repeat(ctx context.Context, interval time.Duration, what string, duty func() error) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if err := duty(); err != nil && ctx.Err() == nil {
			m.logger.WarnContext(ctx, "userkit: "+what+" failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// now is the time of the manager's clock in the form in which it is stored.
func (m *manager) now() time.Time { return storedTime(m.clock()) }

// storedTime gives t in UTC at the precision that stores keep.
func storedTime(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// origin is what a command knows before it is decided: when, by whom, and the
// id of its event.
type origin struct {
	now   time.Time
	actor Actor
	event EventID
}

// origin gathers what a command of this context knows.
func (m *manager) origin(ctx context.Context) (origin, error) {
	actor := ActorFrom(ctx)
	if err := actor.validate(); err != nil {
		return origin{}, err
	}
	return origin{now: m.now(), actor: actor, event: NewID[Event]()}, nil
}

// again is the origin of a further event of the same command.
func (o origin) again() origin {
	o.event = NewID[Event]()
	return o
}

// record adds the command's event to a change. data is key, value, key, value …
func (o origin) record(c *Change, name EventName, device DeviceID, data ...any) {
	c.Events = append(c.Events, Event{
		ID: o.event, UserID: c.User, DeviceID: device, Name: name, Actor: o.actor, At: o.now, Data: eventData(data),
	})
}

// change moves one command through the corridor and returns what its decision
// returned.
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
