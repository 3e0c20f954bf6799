package userkit

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/userkit/userkit/internal/hostcall"
	"github.com/userkit/userkit/internal/ratelimit"
)

// Manager is all of userkit behind one interface. New returns it.
//
// Methods may be added in a minor version. A host that fakes a part of it in its
// tests depends on the role that it uses (UserManager, DeviceManager, …).
//
// Every method may be called by many goroutines at once, and many processes may
// work on one project. A method whose context ends returns the context's error
// at once; a change that was under way has then been made completely or not at all, and repeating
// the call with the same key or id shows which.
type Manager interface {
	UserManager
	ActivationManager
	PushMailManager
	DeviceManager
	LocationManager
	SessionManager
	PurchaseManager
	BalanceManager
	MessageManager
	SegmentManager
	BulkManager
	ImportManager
	ActivityManager
	RetentionManager
	ConnectionManager
	AuthorizationManager

	// WithStore returns a manager with the same options that works on another
	// store, without waiting for a batch. With a store that is bound to the
	// host's own transaction, every change becomes part of that transaction. It
	// needs no Close.
	WithStore(store Store) Manager

	// Run performs the background duties (closing stale sessions, verifying purchases that are due, delivering messages
	// to devices, deleting records that retention no longer keeps) until the context ends, and returns the context's
	// error. After Close it returns ErrUnavailable with CodeClosed. A duty that fails or panics is logged and tried
	// again later. Many processes may run it.
	Run(ctx context.Context) error

	// Close refuses further changes with ErrUnavailable and CodeClosed, ends Run,
	// and waits for the changes under way. If the context ends first, it returns the context's
	// error, and the changes complete on their own. It does not close the store. It is safe to call
	// more than once.
	Close(ctx context.Context) error
}

// Project describes the project of a manager.
type Project struct {
	Kind           ProjectKind      `json:"kind"`
	Zone           *time.Location   `json:"-"`        // in which days, weeks and months begin; never nil
	Now            time.Time        `json:"now"`      // by the manager's clock, in UTC
	Currency       string           `json:"currency"` // of the balances of new users that name none
	Licenses       []License        `json:"licenses,omitempty"`
	DefaultLicense string           `json:"default_license,omitempty"`
	Connections    ConnectionLimits `json:"connections"`     // of administrators to users
	ActivationMail bool             `json:"activation_mail"` // whether SendActivation can send mails (WithActivation)
	PushMail       bool             `json:"push_mail"`       // whether users can have addresses for push mail (WithPushMail)
	Phones         PhoneParser      `json:"-"`               // reads telephone numbers as the manager does; never nil
}

// Moment returns the current moment, for which derived facts are computed.
func (p Project) Moment() Moment {
	return Moment{At: p.Now, Zone: p.Zone, Business: p.Kind == ProjectBusiness}
}

// moment returns the moment of a call.
func (m *manager) moment(now time.Time) Moment {
	return Moment{At: now, Zone: m.zone, Business: m.projectKind == ProjectBusiness}
}

// ProjectManager describes the project. Several roles include it.
type ProjectManager interface {
	// Project returns the configuration of the project and the time of the manager's clock. It
	// makes no request to the store and never fails.
	Project() Project
}

func (m *manager) Project() Project {
	return Project{
		Kind: m.projectKind, Zone: m.zone, Now: m.now(), Currency: m.currency,
		Licenses: slices.Clone(m.licenses), DefaultLicense: m.defaultLicense, Connections: m.connections.limits(), Phones: m.parsePhone,
		ActivationMail: m.activation.Mailer != nil, PushMail: m.pushMail.Domain != "",
	}
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
	for i, opt := range opts {
		if opt == nil {
			return nil, invalidOption("New", "option %d of %d is nil", i+1, len(opts))
		}
		if err := opt(&m.options); err != nil {
			return nil, err
		}
	}
	if m.defaultLicense != "" {
		if _, err := m.license(m.defaultLicense); err != nil {
			return nil, invalidOption("WithDefaultLicense", "%q is not among the licenses given to WithLicenses", clip(m.defaultLicense))
		}
	}
	if m.activation.Mailer != nil {
		m.mailsTo = ratelimit.New(m.activation.MailsPerHour, mailWindow, maxMailAddresses, m.now)
	}
	store = observe(store, m.observers, m.logger)
	m.store = store
	m.pipeline = newPipeline(store, lanes, m.accountCache)
	m.pipeline.timeout, m.pipeline.logger = m.changeTimeout, m.logger
	return m, nil
}

// lanes is how many batches are under way at the same time: while one waits for
// the store, another is decided, and the next gathers. More lanes make smaller
// batches, which cost more each; three were the best with both stores on four
// cores.
const lanes = 3

func (m *manager) WithStore(store Store) Manager {
	bound := newPipeline(store, 0, 0)
	bound.timeout, bound.logger = m.changeTimeout, m.logger
	return &manager{options: m.options, store: store, pipeline: bound}
}

func (m *manager) Close(ctx context.Context) error { return m.pipeline.close(ctx) }

// duty is something that has to be done again and again, by whichever process has the
// time for it.
type duty struct {
	name     string // as it completes "… failed"
	applies  func(m *manager) bool
	interval func(m *manager) time.Duration
	do       func(m *manager, ctx context.Context) error
	wake     func(m *manager) <-chan struct{} // has an element when there is something to do at once; nil means never
}

// duties are the standing duties of Run. Each has its own pace, so that a store that
// answers slowly keeps no session open.
var duties = []duty{
	{
		name:     "closing stale sessions",
		applies:  func(*manager) bool { return true },
		interval: func(m *manager) time.Duration { return min(max(m.staleAfter/4, time.Second), time.Minute) },
		do: func(m *manager, ctx context.Context) error {
			_, err := m.CloseStaleSessions(ctx)
			return err
		},
	},
	{
		name:     "verifying purchases",
		applies:  func(m *manager) bool { return m.projectKind == ProjectPublic && len(m.verifiers) > 0 },
		interval: func(*manager) time.Duration { return verifyInterval },
		do: func(m *manager, ctx context.Context) error {
			_, err := m.VerifyDuePurchases(ctx)
			return err
		},
	},
	{
		name:     "delivering messages",
		applies:  func(m *manager) bool { return len(m.notifiers) > 0 },
		interval: func(*manager) time.Duration { return deliveryInterval },
		do: func(m *manager, ctx context.Context) error {
			_, err := m.DeliverDueMessages(ctx)
			return err
		},
		wake: func(m *manager) <-chan struct{} { return m.undelivered },
	},
	{
		name:     "deleting what is kept no longer",
		applies:  func(m *manager) bool { return len(m.retention) > 0 },
		interval: func(*manager) time.Duration { return retentionInterval / 4 },
		do:       (*manager).retain,
	},
}

func (m *manager) Run(ctx context.Context) error {
	if err := m.pipeline.begin(1); err != nil {
		return err
	}
	defer m.pipeline.end(1)
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() {
		select {
		case <-m.pipeline.closing:
			cancel()
		case <-within.Done():
		}
	})
	for _, duty := range duties {
		if duty.applies(m) {
			running.Go(func() { m.repeat(within, duty) })
		}
	}
	running.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	return errClosed()
}

// longestPause is how long a duty that keeps failing waits at most.
const longestPause = 15 * time.Minute

// repeat does a duty now and at every interval until the context ends. After failures
// in a row it waits longer each time.
func (m *manager) repeat(ctx context.Context, duty duty) {
	interval := duty.interval(m)
	pause := interval
	for {
		if err := m.attempt(ctx, duty); err == nil {
			pause = interval
		} else if ctx.Err() == nil {
			m.logger.WarnContext(ctx, "userkit: "+duty.name+" failed", "error", err)
			pause = max(interval, min(2*pause, longestPause))
		}
		var wake <-chan struct{}
		if duty.wake != nil && pause == interval {
			wake = duty.wake(m)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// attempt does a duty once. A duty calls what the host has plugged in: a panic there, or the end of
// the goroutine, becomes an error, and the duty is done again.
func (m *manager) attempt(ctx context.Context, duty duty) error {
	from := callerOf(ctx)
	from.trusted, from.connection, from.actor.OnBehalfOf = true, nil, UserID{}
	do := func() error { return duty.do(m, withCaller(ctx, from)) }
	return hostcall.Ask(context.WithoutCancel(ctx), do, func(err error) error { return err })
}

// now returns the time of the manager's clock in the form in which it is stored.
func (m *manager) now() time.Time { return storedTime(m.clock()) }
