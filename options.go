package userkit

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/userkit/userkit/internal/hostcall"
	"github.com/userkit/userkit/internal/ratelimit"
)

// Option sets a property of a manager. All processes that work on one project should use the same
// options.
type Option func(*options) error

// options are the properties of a manager with their defaults filled in.
type options struct {
	observers        []func(Observation)
	clock            func() time.Time
	zone             *time.Location
	logger           *slog.Logger
	currency         string
	floor            int64
	licenses         []License
	defaultLicense   string
	devicePolicy     DevicePolicy
	sessionLimits    SessionLimits
	retention        []RetentionRule // in the order of RecordKinds, then of names
	staleAfter       time.Duration
	nodePolicy       NodePolicy
	trafficLimit     TrafficLimit
	lastSeenInterval time.Duration
	sealer           *sealer
	accountCache     int
	changeTimeout    time.Duration
	usageEvents      bool
	projectKind      ProjectKind
	optionalPayer    bool
	verifiers        []Verifier
	purchasePolicy   PurchasePolicy
	purchaseGrace    time.Duration
	sandboxPurchases bool
	pace             *pace
	activation       ActivationPolicy
	pushMail         PushMailPolicy
	mailsTo          *ratelimit.Limiter // by address
	connections      ConnectionPolicy
	notifiers        notifiers
	undelivered      chan struct{} // has an element when this process has sent a message
	authorizer       Authorizer    // nil: everything is allowed
	authorizing      chan struct{} // has an element for every question that is open
	refusals         *refusalPace
	phones           PhoneParser
	skeleton         func(string) string // nil: logins that look alike are allowed
}

func defaultOptions() options {
	connections, err := ConnectionPolicy{}.normalise()
	if err != nil {
		panic(err)
	}
	return options{
		connections:      connections,
		clock:            time.Now,
		zone:             time.UTC,
		logger:           slog.New(slog.DiscardHandler),
		currency:         "EUR",
		phones:           ParsePhone,
		devicePolicy:     DeviceRefuse,
		sessionLimits:    SessionLimits{Policy: SessionRefuse},
		staleAfter:       15 * time.Minute,
		nodePolicy:       NodeRefuse,
		trafficLimit:     TrafficLimit{Reset: ResetDaily},
		lastSeenInterval: time.Minute,
		accountCache:     10_000,
		changeTimeout:    defaultChangeTimeout,
		projectKind:      ProjectPublic,
		purchasePolicy:   PurchaseRefuse,
		purchaseGrace:    24 * time.Hour,
		pace:             newPace(20),
		authorizing:      make(chan struct{}, maxAuthorizing),
		refusals:         &refusalPace{},
		undelivered:      make(chan struct{}, 1),
	}
}

func invalidOption(name, format string, args ...any) *Error {
	return NewError(CodeInvalidOption, name, format, args...)
}

// WithClock sets the function that returns the current time. The default is time.Now. It is called
// by many goroutines at once.
//
// The duties of Run and the verification of purchases do not rely on the clock of the process alone:
// if that is more than two seconds ahead of the clock of the store (of the database server, with
// PostgreSQL), they take off as much from the time that now returns. So a process whose clock is ahead
// neither ends sessions and purchases, expires deliveries and deletes records early, nor keeps work
// from other processes.
func WithClock(now func() time.Time) Option {
	return func(o *options) error {
		if now == nil {
			return invalidOption("WithClock", "nil")
		}
		o.clock = now
		return nil
	}
}

// WithTimeZone sets the zone in which days, weeks and months begin. The default
// is UTC.
func WithTimeZone(zone *time.Location) Option {
	return func(o *options) error {
		if zone == nil {
			return invalidOption("WithTimeZone", "nil")
		}
		o.zone = zone
		return nil
	}
}

// WithLogger sets the logger for faults that no call returns. By default nothing is logged. Secrets
// are never logged.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) error {
		if logger == nil {
			return invalidOption("WithLogger", "nil")
		}
		o.logger = slog.New(guardedHandler{logger.Handler()})
		return nil
	}
}

// guardedHandler is a handler of the host's: a panic there loses the record, but does not end the
// goroutine of userkit's that logs.
type guardedHandler struct{ handler slog.Handler }

func (h guardedHandler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer func() { _ = recover() }()
	return h.handler.Enabled(ctx, level)
}

func (h guardedHandler) Handle(ctx context.Context, record slog.Record) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = hostcall.Panicked(reason)
		}
	}()
	return h.handler.Handle(ctx, record)
}

func (h guardedHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return guardedHandler{h.handler.WithAttrs(attributes)}
}

func (h guardedHandler) WithGroup(name string) slog.Handler {
	return guardedHandler{h.handler.WithGroup(name)}
}

// WithCurrency sets the currency (ISO 4217) of the balances of new users that
// name none. The default is EUR.
func WithCurrency(code string) Option {
	return func(o *options) error {
		if _, err := CurrencyDigits(code); err != nil {
			return invalidOption("WithCurrency", "%q is not a currency of ISO 4217", clip(code))
		}
		o.currency = code
		return nil
	}
}

// WithBalanceFloor sets the balance, in minor units, below which no charge may
// take it. The default is 0; a negative floor is a credit line.
func WithBalanceFloor(minorUnits int64) Option {
	return func(o *options) error {
		o.floor = minorUnits
		return nil
	}
}

// WithLicenses sets the project's licenses. Their names must be unique in folded form, but are
// compared byte by byte when they are used.
func WithLicenses(licenses ...License) Option {
	return func(o *options) error {
		seen := map[string]bool{}
		for _, license := range licenses {
			if license.Name == "" || checkLine("name", license.Name, MaxLine) != nil {
				return invalidOption("WithLicenses", "%q cannot be the name of a license", clip(license.Name))
			}
			if license.Devices < 0 {
				return invalidOption("WithLicenses", "license %q cannot allow %d devices", clip(license.Name), license.Devices)
			}
			if seen[Fold(license.Name)] {
				return invalidOption("WithLicenses", "two licenses have the name %q", clip(license.Name))
			}
			seen[Fold(license.Name)] = true
		}
		o.licenses = append([]License(nil), licenses...)
		return nil
	}
}

// WithDefaultLicense sets the license of new users that name none. It must be
// one of WithLicenses. The default is none, which means no limits.
func WithDefaultLicense(name string) Option {
	return func(o *options) error {
		o.defaultLicense = name
		return nil
	}
}

// WithDevicePolicy sets what happens when a user without a free slot registers
// a device. The default is DeviceRefuse.
func WithDevicePolicy(policy DevicePolicy) Option {
	return func(o *options) error {
		switch policy {
		case DeviceRefuse, DeviceReplaceOldest, DeviceReplaceIdlest:
			o.devicePolicy = policy
			return nil
		}
		return invalidOption("WithDevicePolicy", "unknown device policy %q", clip(string(policy)))
	}
}

// WithSessionLimits limits the number of concurrent sessions. The
// default is unlimited.
func WithSessionLimits(limits SessionLimits) Option {
	return func(o *options) error {
		if limits.Policy == "" {
			limits.Policy = SessionRefuse
		}
		if limits.PerUser < 0 || limits.PerDevice < 0 {
			return invalidOption("WithSessionLimits", "a limit is negative; 0 means unlimited")
		}
		if limits.Policy != SessionRefuse && limits.Policy != SessionEndOldest {
			return invalidOption("WithSessionLimits", "unknown session policy %q", clip(string(limits.Policy)))
		}
		o.sessionLimits = limits
		return nil
	}
}

// WithStaleAfter sets how long a session may go without a sign of life before
// it counts as ended. The default is 15 minutes.
func WithStaleAfter(silence time.Duration) Option {
	return func(o *options) error {
		if silence <= 0 {
			return invalidOption("WithStaleAfter", "%s is not positive", silence)
		}
		o.staleAfter = silence
		return nil
	}
}

// WithNodePolicy sets what happens when a node reports on a session of another node. The
// default is NodeRefuse.
func WithNodePolicy(policy NodePolicy) Option {
	return func(o *options) error {
		if policy != NodeRefuse && policy != NodeMove {
			return invalidOption("WithNodePolicy", "unknown node policy %q", clip(string(policy)))
		}
		o.nodePolicy = policy
		return nil
	}
}

// WithUsageEvents writes an event (EventTrafficReported) for each user of each call of
// ReportUsage that counted bytes. By default only readings that reach the traffic limit or end
// sessions write an event: it takes about 500 bytes with its index entries, and a thousand sessions
// that report each minute would write 0.7 GB a day.
func WithUsageEvents() Option {
	return func(o *options) error {
		o.usageEvents = true
		return nil
	}
}

// WithChangeTimeout sets how long one attempt to make a change may take in the store, whatever the
// contexts of the callers allow; after a few attempts the change returns ErrUnavailable. The
// default is 30 seconds. Changes are committed in batches, so one that hangs, for example because
// the network drops packets, delays others for that long.
func WithChangeTimeout(timeout time.Duration) Option {
	return func(o *options) error {
		if timeout <= 0 {
			return invalidOption("WithChangeTimeout", "%s is not positive", timeout)
		}
		o.changeTimeout = timeout
		return nil
	}
}

// WithDefaultTrafficLimit sets the traffic limit of new users that name none.
// The default is unlimited.
func WithDefaultTrafficLimit(limit TrafficLimit) Option {
	return func(o *options) error {
		normal, err := limit.normalise()
		if err != nil {
			return invalidOption("WithDefaultTrafficLimit", "the limit is invalid").Because(err)
		}
		o.trafficLimit = normal
		return nil
	}
}

// WithLastSeenInterval sets how often, at most, Authenticate records when a
// device was last seen. The default is one minute; 0 records every time.
func WithLastSeenInterval(interval time.Duration) Option {
	return func(o *options) error {
		if interval < 0 {
			return invalidOption("WithLastSeenInterval", "%s is negative", interval)
		}
		o.lastSeenInterval = interval
		return nil
	}
}

// WithSealingKeys sets the keys, of 32 random bytes each, that access tokens are sealed with
// (AES-256-GCM), so that RevealToken can return them. The first key seals; the others only open
// tokens that were sealed with them before. By default there are no keys, and only digests are
// kept.
func WithSealingKeys(keys ...[]byte) Option {
	return func(o *options) error {
		made, err := newSealer(keys)
		if err != nil {
			return err
		}
		o.sealer = made
		return nil
	}
}

// WithAccountCache sets how many accounts the manager caches (about 400 bytes each), so that
// refills and charges of recently changed users take one round trip to the store instead of two. A
// cached account is never trusted: a change commits only if the account is still current, and a
// refusal is decided on what the store returns. The default is 10,000; 0 disables the cache.
func WithAccountCache(accounts int) Option {
	return func(o *options) error {
		if accounts < 0 {
			return invalidOption("WithAccountCache", "the number of accounts, %d, is negative", accounts)
		}
		o.accountCache = accounts
		return nil
	}
}

// WithProjectKind sets the kind of the project. The default is ProjectPublic; a
// business project has no purchases.
func WithProjectKind(kind ProjectKind) Option {
	return func(o *options) error {
		if kind != ProjectPublic && kind != ProjectBusiness {
			return invalidOption("WithProjectKind", "unknown kind of project %q", clip(string(kind)))
		}
		o.projectKind = kind
		return nil
	}
}

// WithPhoneParser sets how telephone numbers are read where people write them: in new and
// changed users, imports, filters and the search box. Records contain them in the form of ITU-T
// E.164, such as +375291234567. A number that the parser refuses is an error with CodeBadFormat,
// which contains the text. The package phone has a parser that knows the numbering plans of all
// countries and has a default region. The default is ParsePhone, which accepts numbers with their
// country codes.
func WithPhoneParser(parser PhoneParser) Option {
	return func(o *options) error {
		if parser == nil {
			return invalidOption("WithPhoneParser", "nil")
		}
		o.phones = parser
		return nil
	}
}

// WithConfusableCheck refuses a login that looks like the login of another user, such as раураl in
// Cyrillic letters beside paypal, with ErrExists and CodeLoginConfusable. skeleton returns the same
// text for texts that look the same; it is called with a login as it is written, and again with
// what it returned, the case folded, until that changes nothing. It is called by many goroutines
// at once, and must not block. The package confusable has one by the data of Unicode (UTS 39).
// By default logins that look alike are allowed.
//
// Logins that exist already stay as they are, and are compared with new ones once
// UserManager.CheckLogins has looked at them.
func WithConfusableCheck(skeleton func(login string) string) Option {
	return func(o *options) error {
		if skeleton == nil {
			return invalidOption("WithConfusableCheck", "nil")
		}
		o.skeleton = skeleton
		return nil
	}
}

// WithVerifiers sets the stores whose purchases the project accepts, one verifier for each. The
// default is none.
func WithVerifiers(verifiers ...Verifier) Option {
	return func(o *options) error {
		names := map[string]bool{}
		for _, verifier := range verifiers {
			if verifier == nil {
				return invalidOption("WithVerifiers", "nil")
			}
			name := verifier.Store()
			if len(name) == 0 || len(name) > 32 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
				return invalidOption("WithVerifiers", "%q cannot be the name of a store", clip(name))
			}
			if names[name] {
				return invalidOption("WithVerifiers", "there are two verifiers for the store %q", name)
			}
			names[name] = true
		}
		o.verifiers = slices.Clone(verifiers)
		return nil
	}
}

// WithPurchasePolicy sets what happens when a user submits the purchase of another user.
// The default is PurchaseRefuse.
func WithPurchasePolicy(policy PurchasePolicy) Option {
	return func(o *options) error {
		if policy != PurchaseRefuse && policy != PurchaseTransfer {
			return invalidOption("WithPurchasePolicy", "unknown purchase policy %q", clip(string(policy)))
		}
		o.purchasePolicy = policy
		return nil
	}
}

// maxPurchaseGrace bounds how long a purchase counts beyond its end.
const maxPurchaseGrace = 7 * 24 * time.Hour

// WithPurchaseGrace sets how long an active purchase counts after its expiration while its store
// has not reported whether it was renewed, from 0 to 7 days. The default is 24 hours. If the store
// can be reached, it reports that within a minute or two.
func WithPurchaseGrace(grace time.Duration) Option {
	return func(o *options) error {
		if grace < 0 || grace > maxPurchaseGrace {
			return invalidOption("WithPurchaseGrace", "%s is outside the range 0 to %s", grace, maxPurchaseGrace)
		}
		o.purchaseGrace = grace
		return nil
	}
}

// WithActivation sets how the email addresses of users are confirmed. Without it
// SendActivation returns ErrInvalid with CodeNoMailer.
func WithActivation(policy ActivationPolicy) Option {
	return func(o *options) error {
		normal, err := policy.normalise()
		if err != nil {
			return err
		}
		o.activation = normal
		return nil
	}
}

// WithPushMail sets how the push mail addresses of users are generated. Without it GeneratePushMail
// returns ErrInvalid with CodeNoPushMail.
func WithPushMail(policy PushMailPolicy) Option {
	return func(o *options) error {
		normal, err := policy.normalise()
		if err != nil {
			return err
		}
		o.pushMail = normal
		return nil
	}
}

// WithNotifiers sets the push services through which devices are notified of messages: a notifier
// for each type of device, and under the empty type the notifier for all other types. The default
// is none, so that messages only wait in their lists. A device that has no push token, or whose
// type has no notifier, is not notified.
func WithNotifiers(notifiers map[DeviceType]Notifier) Option {
	return func(o *options) error {
		o.notifiers = map[DeviceType]*notifying{}
		for kind, notifier := range notifiers {
			if notifier == nil {
				return invalidOption("WithNotifiers", "nil")
			}
			if kind != "" && checkDeviceType(kind) != nil {
				return invalidOption("WithNotifiers", "unknown type of device %q", clip(string(kind)))
			}
			o.notifiers[kind] = &notifying{Notifier: notifier}
		}
		return nil
	}
}

// WithOptionalPayer allows legal entities without a payer. By default a user can become a legal
// entity only with a payer, and a legal entity cannot lose its payer; a call that would do so
// returns ErrInvalid with CodeRequired. A legal entity that has no payer already stays unchanged.
func WithOptionalPayer() Option {
	return func(o *options) error {
		o.optionalPayer = true
		return nil
	}
}

// WithSandboxPurchases accepts sandbox purchases, which nobody paid for, on test systems. By
// default they are refused.
func WithSandboxPurchases() Option {
	return func(o *options) error {
		o.sandboxPurchases = true
		return nil
	}
}

// WithVerificationRate sets how many requests per second this process makes to each store, at most:
// from 0.01 to 10,000. The default is 20. Submissions, notifications and due purchases have a
// quarter of the rate each, and share the last quarter; the submissions of one user have at most a
// tenth of the rate. A receipt that its verifier refuses without a request to the store (see
// ReceiptChecker) does not count. With a low rate, due purchases wait: those whose turn does not come
// within their lease are left to whichever process leases them next.
func WithVerificationRate(perSecond float64) Option {
	return func(o *options) error {
		if !(perSecond >= 0.01 && perSecond <= 10_000) {
			return invalidOption("WithVerificationRate", "%g is outside the range 0.01 to 10,000 a second", perSecond)
		}
		o.pace = newPace(perSecond)
		return nil
	}
}
