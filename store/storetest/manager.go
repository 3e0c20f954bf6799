package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// runManager checks what a manager promises, on the store.
func runManager(t *testing.T, open Open, options Options) {
	groups := slices.Concat(
		managerGroups(),
		userGroups(),
		activationGroups(),
		pushMailGroups(),
		messageGroups(),
		deliveryGroups(),
		dutyGroups(),
		deviceGroups(),
		locationGroups(),
		sessionGroups(),
		nodeGroups(),
		trafficGroups(),
		balanceGroups(),
		activityGroups(),
		retentionGroups(),
		authorizerGroups(),
		connectionGroups(),
		segmentGroups(),
		bulkGroups(),
		importGroups(),
		pageGroups(),
		countGroups(),
		concurrencyGroups(),
		purchaseGroups(),
		faultGroups(),
	)
	if !options.Brief {
		groups = append(groups, managerLongGroups()...)
	}
	runGroups(t, open, options, groups...)
}

// manualClock is a clock that stands still until a case sets it.
type manualClock struct {
	mutex sync.Mutex
	now   time.Time
}

func (c *manualClock) Now() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.now
}

func (c *manualClock) Set(now time.Time) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.now = now
}

func (c *manualClock) Advance(by time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.now = c.now.Add(by)
}

// The licenses of every desk.
const (
	oneDevice   = "One device"
	twoDevices  = "Two devices"
	fiveDevices = "Five devices"
	noLimit     = "No limit"
)

func testLicenses() []userkit.License {
	return []userkit.License{
		{Name: twoDevices, Devices: 2},
		{Name: oneDevice, Devices: 1},
		{Name: fiveDevices, Devices: 5},
		{Name: noLimit},
	}
}

var (
	administrator = userkit.Actor{Kind: userkit.ActorAdministrator, ID: "staff-7", Name: "Grace of Example Inc."}
	germany       = location("Europe/Berlin")
)

func location(name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return zone
}

// desk is a manager on a store, with the clock that it goes by.
type desk struct {
	userkit.Manager
	store userkit.Store
	clock *manualClock
	names *atomic.Int64 // how many users have been made up
}

// desk opens a manager on the store of the case. Its clock stands at base.
func (e env) desk(t *testing.T, options ...userkit.Option) *desk {
	t.Helper()
	return openDesk(t, e.store, &manualClock{now: base}, new(atomic.Int64), options...)
}

// beside opens another manager, on a handle of the same data, by the same clock.
func (d *desk) beside(t *testing.T, store userkit.Store, options ...userkit.Option) *desk {
	t.Helper()
	return openDesk(t, store, d.clock, d.names, options...)
}

func openDesk(t *testing.T, store userkit.Store, clock *manualClock, names *atomic.Int64, options ...userkit.Option) *desk {
	t.Helper()
	manager, err := userkit.New(store, slices.Concat([]userkit.Option{
		userkit.WithClock(clock.Now),
		userkit.WithLicenses(testLicenses()...),
	}, options)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, manager.Close(context.Background())) })
	return &desk{Manager: manager, store: store, clock: clock, names: names}
}

// signUp creates an active user with a login, a name and an email address of its own.
func (d *desk) signUp(t *testing.T, changes ...func(user *userkit.NewUser)) userkit.User {
	t.Helper()
	login := fmt.Sprintf("user-%04d", d.names.Add(1))
	newcomer := userkit.NewUser{
		Login: login, Name: "Name of " + login, Email: login + "@example.com", Status: userkit.StatusActive,
	}
	for _, change := range changes {
		change(&newcomer)
	}
	user, err := d.CreateUser(t.Context(), newcomer)
	require.NoError(t, err)
	return user
}

func withLicense(name string) func(*userkit.NewUser) {
	return func(user *userkit.NewUser) { user.License = name }
}

func withStatus(status userkit.Status) func(*userkit.NewUser) {
	return func(user *userkit.NewUser) { user.Status = status }
}

func withLimit(bytes int64, reset userkit.TrafficReset, anchorDay int) func(*userkit.NewUser) {
	return func(user *userkit.NewUser) {
		user.TrafficLimit = userkit.Set(userkit.TrafficLimit{Bytes: bytes, Reset: reset, AnchorDay: anchorDay})
	}
}

// register registers a device that is as given.
func (d *desk) register(t *testing.T, user userkit.UserID, device userkit.NewDevice) userkit.Device {
	t.Helper()
	registered, err := d.RegisterDevice(t.Context(), user, device)
	require.NoError(t, err)
	return registered
}

// connect starts a session on a node; without a device when that is zero.
func (d *desk) connect(t *testing.T, user userkit.UserID, device userkit.DeviceID) userkit.Session {
	t.Helper()
	session, err := d.StartSession(t.Context(), userkit.NewSession{UserID: user, DeviceID: device, Node: "node-1.example.com"})
	require.NoError(t, err)
	return session
}

// report reports one reading, taken now, which must not be rejected.
func (d *desk) report(t *testing.T, session userkit.SessionID, received, sent int64) userkit.UsageResult {
	t.Helper()
	return d.reportAt(t, session, received, sent, d.clock.Now())
}

// reportAt reports one reading, which must not be rejected.
func (d *desk) reportAt(t *testing.T, session userkit.SessionID, received, sent int64, when time.Time) userkit.UsageResult {
	t.Helper()
	results, err := d.ReportUsage(t.Context(), []userkit.UsageReport{{SessionID: session, Received: received, Sent: sent, At: when}})
	require.NoError(t, err)
	require.Len(t, results, 1)
	require.NoError(t, results[0].Err)
	require.Equal(t, session, results[0].SessionID)
	return results[0]
}

// refill adds to a balance in euro cents.
func (d *desk) refill(t *testing.T, user userkit.UserID, cents int64, key string) userkit.Transaction {
	t.Helper()
	transaction, err := d.Refill(t.Context(), user, userkit.Entry{Amount: euro(cents), Key: key})
	require.NoError(t, err)
	return transaction
}

// charge takes from a balance in euro cents.
func (d *desk) charge(t *testing.T, user userkit.UserID, cents int64, key string) userkit.Transaction {
	t.Helper()
	transaction, err := d.Charge(t.Context(), user, userkit.Entry{Amount: euro(cents), Key: key})
	require.NoError(t, err)
	return transaction
}

func euro(cents int64) userkit.Money { return userkit.Money{Amount: cents, Currency: "EUR"} }

// user reads a user.
func (d *desk) user(t *testing.T, id userkit.UserID) userkit.User {
	t.Helper()
	user, err := d.User(t.Context(), id)
	require.NoError(t, err)
	return user
}

// session reads a session.
func (d *desk) session(t *testing.T, id userkit.SessionID) userkit.Session {
	t.Helper()
	session, err := d.Session(t.Context(), id)
	require.NoError(t, err)
	return session
}

// devices lists a user's devices in the order of registration.
func (d *desk) devices(t *testing.T, user userkit.UserID) []userkit.Device {
	t.Helper()
	return everyItem(t, userkit.PageQuery{Limit: userkit.MaxPageLimit}, func(page userkit.PageQuery) (userkit.Page[userkit.Device], error) {
		return d.Devices(t.Context(), userkit.DeviceQuery{DeviceFilter: userkit.DeviceFilter{UserID: user}, PageQuery: page})
	})
}

// sessions lists a user's sessions, the oldest first.
func (d *desk) sessions(t *testing.T, user userkit.UserID) []userkit.Session {
	t.Helper()
	return everyItem(t, userkit.PageQuery{Sort: "started_at", Limit: userkit.MaxPageLimit}, func(page userkit.PageQuery) (userkit.Page[userkit.Session], error) {
		return d.Sessions(t.Context(), userkit.SessionQuery{SessionFilter: userkit.SessionFilter{UserID: user}, Mixed: true, PageQuery: page})
	})
}

// purchases lists a user's purchases in the order of their creation, with their
// raw data in one form.
func (d *desk) purchases(t *testing.T, user userkit.UserID) []userkit.Purchase {
	t.Helper()
	order := userkit.Order{Field: "created_at"}
	purchases, err := d.store.Purchases(t.Context(), userkit.PurchaseFilter{UserID: user}, userkit.ListRange{Order: order, Limit: whole})
	require.NoError(t, err)
	return canonicalPurchases(t, purchases)
}

// transactions lists all of a user's transactions, the oldest first.
func (d *desk) transactions(t *testing.T, user userkit.UserID) []userkit.Transaction {
	t.Helper()
	transactions := everyItem(t, userkit.PageQuery{Limit: userkit.MaxPageLimit}, func(page userkit.PageQuery) (userkit.Page[userkit.Transaction], error) {
		return d.Transactions(t.Context(), userkit.TransactionQuery{
			TransactionFilter: userkit.TransactionFilter{UserID: user, IncludeCancelled: true}, PageQuery: page,
		})
	})
	slices.Reverse(transactions)
	return transactions
}

// events lists a user's events, the oldest first, with their data in one form.
func (d *desk) events(t *testing.T, user userkit.UserID) []userkit.Event {
	t.Helper()
	events := everyItem(t, userkit.PageQuery{Limit: userkit.MaxPageLimit}, func(page userkit.PageQuery) (userkit.Page[userkit.Event], error) {
		return d.Events(t.Context(), userkit.EventQuery{EventFilter: userkit.EventFilter{UserID: user}, PageQuery: page})
	})
	slices.Reverse(events)
	return canonicalEvents(t, events)
}

// eventsDuring returns the events that a user got while act ran.
func (d *desk) eventsDuring(t *testing.T, user userkit.UserID, act func()) []userkit.Event {
	t.Helper()
	before := map[userkit.EventID]bool{}
	for _, event := range d.events(t, user) {
		before[event.ID] = true
	}
	act()
	return slices.DeleteFunc(d.events(t, user), func(event userkit.Event) bool { return before[event.ID] })
}

// eventNames returns the names of events, which a failure shows readably.
func eventNames(events []userkit.Event) []userkit.EventName {
	names := []userkit.EventName{}
	for _, event := range events {
		names = append(names, event.Name)
	}
	return names
}

// everyItem reads a list to its end, page by page.
func everyItem[T any](t *testing.T, query userkit.PageQuery, read func(userkit.PageQuery) (userkit.Page[T], error)) []T {
	t.Helper()
	items, before := []T{}, []T{}
	for first := true; ; first = false {
		page, err := read(query)
		require.NoError(t, err)
		require.Equal(t, first, page.Previous == "", "the first page alone has none before")
		items = append(items, page.Items...)
		if page.Next == "" {
			if !first {
				query.Cursor = page.Previous
				back, err := read(query)
				require.NoError(t, err)
				require.Equal(t, before, back.Items, "the page before the last")
			}
			return items
		}
		require.NotEmpty(t, page.Items, "a page that is not the last has items")
		before, query.Cursor = page.Items, page.Next
	}
}

// picture is all that can be read of one user.
type picture struct {
	User         userkit.User
	Devices      []userkit.Device
	Sessions     []userkit.Session
	Purchases    []userkit.Purchase
	Transactions []userkit.Transaction
	Usage        []userkit.DayUsage
	Events       []userkit.Event
	Segments     []userkit.Segment
}

// picture reads all of one user. Two pictures are equal when nothing of the
// user changed between them.
func (d *desk) picture(t *testing.T, user userkit.UserID) picture {
	t.Helper()
	usage, err := d.store.Usage(t.Context(), user,
		userkit.Day{Year: 1970, Month: time.January, Day: 1}, userkit.Day{Year: 2100, Month: time.January, Day: 1})
	require.NoError(t, err)
	segments, err := d.UserSegments(t.Context(), user)
	require.NoError(t, err)
	return picture{
		User:         d.user(t, user),
		Devices:      d.devices(t, user),
		Sessions:     d.sessions(t, user),
		Purchases:    d.purchases(t, user),
		Transactions: d.transactions(t, user),
		Usage:        append([]userkit.DayUsage{}, usage...),
		Events:       d.events(t, user),
		Segments:     segments,
	}
}

// household makes a user that has records of every kind: two devices, an ended
// and an open session with use, three transactions of which the last is
// cancelled, and an event of the host's own.
func (d *desk) household(t *testing.T) userkit.User {
	t.Helper()
	user := d.signUp(t)
	first := d.register(t, user.ID, userkit.NewDevice{Name: "Phone of " + user.Login, HardwareID: "hardware-1"})
	d.register(t, user.ID, userkit.NewDevice{Name: "Router of " + user.Login, Type: userkit.DeviceRouter})
	ended := d.connect(t, user.ID, first.ID)
	d.report(t, ended.ID, 1000, 100)
	_, err := d.EndSession(t.Context(), ended.ID, userkit.UsageReport{})
	require.NoError(t, err)
	open := d.connect(t, user.ID, first.ID)
	d.report(t, open.ID, 2000, 200)
	d.refill(t, user.ID, 500, "household-1")
	d.charge(t, user.ID, 100, "household-2")
	cancelled := d.refill(t, user.ID, 7, "household-3")
	_, err = d.CancelLast(t.Context(), user.ID, cancelled.ID)
	require.NoError(t, err)
	_, err = d.RecordEvent(t.Context(), user.ID, userkit.NewEvent{Name: "shop.visited", Data: map[string]any{"page": "prices"}})
	require.NoError(t, err)
	return d.user(t, user.ID)
}

// requireField demands an error of this kind and code that names this field.
func requireField(t *testing.T, err error, kind error, code userkit.Code, field string) {
	t.Helper()
	requireCode(t, err, kind, code)
	require.Equal(t, field, detail(t, err).Field, "%v", err)
}

// detail returns the error of userkit that err is.
func detail(t *testing.T, err error) *userkit.Error {
	t.Helper()
	found, ok := errors.AsType[*userkit.Error](err)
	require.True(t, ok, "%v", err)
	return found
}

// answer is what one of several calls gave.
type answer[T any] struct {
	value T
	err   error
}

// together makes n calls that all begin at one moment, and gives the answer of each.
func together[T any](n int, call func(i int) (T, error)) []answer[T] {
	answers := make([]answer[T], n)
	begin := make(chan struct{})
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() {
			<-begin
			answers[i].value, answers[i].err = call(i)
		})
	}
	close(begin)
	calls.Wait()
	return answers
}

// values returns the values of calls that must all have succeeded.
func values[T any](t *testing.T, answers []answer[T]) []T {
	t.Helper()
	var values []T
	for _, answer := range answers {
		require.NoError(t, answer.err)
		values = append(values, answer.value)
	}
	return values
}

// succeeded returns the values of the calls without an error. Every other call
// must have failed with the code.
func succeeded[T any](t *testing.T, answers []answer[T], kind error, code userkit.Code) []T {
	t.Helper()
	var values []T
	for _, answer := range answers {
		if answer.err == nil {
			values = append(values, answer.value)
			continue
		}
		requireCode(t, answer.err, kind, code)
	}
	return values
}

func managerGroups() []group {
	return []group{
		{"New", []testCase{
			{"refuses wrong options and says which", func(t *testing.T, env env) {
				for name, option := range map[string]userkit.Option{
					"WithClock":               userkit.WithClock(nil),
					"WithTimeZone":            userkit.WithTimeZone(nil),
					"WithLogger":              userkit.WithLogger(nil),
					"WithCurrency":            userkit.WithCurrency("EURO"),
					"WithDefaultLicense":      userkit.WithDefaultLicense("no such license"),
					"WithLicenses":            userkit.WithLicenses(userkit.License{Name: "Familie"}, userkit.License{Name: "FAMILIE"}),
					"WithDevicePolicy":        userkit.WithDevicePolicy("toss a coin"),
					"WithSessionLimits":       userkit.WithSessionLimits(userkit.SessionLimits{PerUser: -1}),
					"WithStaleAfter":          userkit.WithStaleAfter(0),
					"WithDefaultTrafficLimit": userkit.WithDefaultTrafficLimit(userkit.TrafficLimit{Bytes: -1}),
					"WithLastSeenInterval":    userkit.WithLastSeenInterval(-time.Second),
					"WithSealingKeys":         userkit.WithSealingKeys(make([]byte, 31)),
					"WithProjectKind":         userkit.WithProjectKind("private"),
					"WithPurchasePolicy":      userkit.WithPurchasePolicy("share"),
					"WithPurchaseGrace":       userkit.WithPurchaseGrace(-time.Second),
					"WithVerificationRate":    userkit.WithVerificationRate(0),
				} {
					_, err := userkit.New(env.store, option)
					requireField(t, err, userkit.ErrInvalid, userkit.CodeInvalidOption, name)
				}
			}},
			{"refuses verifiers that cannot be told apart", func(t *testing.T, env env) {
				named := func(name string) userkit.Verifier {
					s := newShop()
					s.name = name
					return s
				}
				for _, option := range []userkit.Option{
					userkit.WithVerifiers(userkit.Verifier(nil)),
					userkit.WithVerifiers(named("")),
					userkit.WithVerifiers(named("Apple")),
					userkit.WithVerifiers(named("the shop")),
					userkit.WithVerifiers(named(strings.Repeat("a", 33))),
					userkit.WithVerifiers(named("apple"), named("google"), named("apple")),
				} {
					_, err := userkit.New(env.store, option)
					requireField(t, err, userkit.ErrInvalid, userkit.CodeInvalidOption, "WithVerifiers")
				}
				manager, err := userkit.New(env.store, userkit.WithVerifiers(named("apple"), named(strings.Repeat("a", 32)), named("a_1-b")))
				require.NoError(t, err)
				require.NoError(t, manager.Close(context.Background()))
			}},
			{"takes the default license from licenses that are given after it", func(t *testing.T, env env) {
				manager, err := userkit.New(env.store, userkit.WithDefaultLicense("Family"), userkit.WithLicenses(userkit.License{Name: "Family", Devices: 5}))
				require.NoError(t, err)
				require.NoError(t, manager.Close(context.Background()))
			}},
		}},
		{"Clock", []testCase{
			{"times come out in UTC to the microsecond, whatever the clock gives", func(t *testing.T, env env) {
				d := env.desk(t)
				d.clock.Set(time.Date(2026, time.July, 1, 23, 30, 15, 123_456_789, germany))
				want := time.Date(2026, time.July, 1, 21, 30, 15, 123_456_000, time.UTC)

				user := d.signUp(t, func(user *userkit.NewUser) { user.ExpiresAt = d.clock.Now().Add(time.Hour) })
				require.Equal(t, want, user.RegisteredAt)
				require.Equal(t, want, user.UpdatedAt)
				require.Equal(t, want.Add(time.Hour), user.ExpiresAt)
				requireUser(t, user, d.user(t, user.ID))

				device := d.register(t, user.ID, userkit.NewDevice{})
				require.Equal(t, want, device.RegisteredAt)
				session := d.connect(t, user.ID, device.ID)
				require.Equal(t, want, session.StartedAt)
				require.Equal(t, session, d.session(t, session.ID))
				transaction := d.refill(t, user.ID, 1, "key")
				require.Equal(t, want, transaction.At)
				require.Equal(t, []userkit.Transaction{transaction}, d.transactions(t, user.ID))
				event, err := d.RecordEvent(t.Context(), user.ID, userkit.NewEvent{Name: "host.event", At: d.clock.Now().Add(time.Minute)})
				require.NoError(t, err)
				require.Equal(t, want.Add(time.Minute), event.At)
			}},
		}},
		{"WithStore", []testCase{
			{"keeps the options and works beside the manager that it came from", func(t *testing.T, env env) {
				d := env.desk(t, userkit.WithCurrency("JPY"), userkit.WithDefaultLicense(oneDevice))
				bound := d.WithStore(env.second(t))
				user, err := bound.CreateUser(t.Context(), userkit.NewUser{Login: "ada"})
				require.NoError(t, err)
				require.Equal(t, userkit.Money{Currency: "JPY"}, user.Balance)
				require.Equal(t, oneDevice, user.License)
				require.Equal(t, base, user.RegisteredAt)

				yen := userkit.Money{Amount: 300, Currency: "JPY"}
				_, err = bound.Refill(t.Context(), user.ID, userkit.Entry{Amount: yen, Key: "one"})
				require.NoError(t, err)
				_, err = d.Refill(t.Context(), user.ID, userkit.Entry{Amount: yen, Key: "two"})
				require.NoError(t, err)
				require.EqualValues(t, 600, d.user(t, user.ID).Balance.Amount)

				licenses, err := bound.Licenses(t.Context())
				require.NoError(t, err)
				require.Equal(t, testLicenses(), licenses)
			}},
			{"works for many callers at once", func(t *testing.T, env env) {
				d := env.desk(t)
				bound := d.WithStore(env.store)
				user := d.signUp(t)
				answers := together(8, func(i int) (userkit.Transaction, error) {
					return bound.Refill(t.Context(), user.ID, userkit.Entry{Amount: euro(10), Key: fmt.Sprint("key-", i)})
				})
				done := succeeded(t, answers, userkit.ErrConflict, userkit.CodeTooManyConflicts)
				require.NotEmpty(t, done)
				require.EqualValues(t, 10*len(done), d.user(t, user.ID).Balance.Amount)
				require.Len(t, d.transactions(t, user.ID), len(done))
			}},
		}},
		{"Run", []testCase{
			{"ends with the error of its context", func(t *testing.T, env env) {
				d := env.desk(t)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- d.Run(ctx) }()
				cancel()
				select {
				case err := <-ended:
					require.ErrorIs(t, err, context.Canceled)
				case <-time.After(deadline):
					require.Fail(t, "Run did not end")
				}
			}},
			{"closes stale sessions, also when several run", func(t *testing.T, env env) {
				d := env.desk(t)
				e := d.beside(t, env.second(t))
				user := d.signUp(t)
				stale := d.connect(t, user.ID, userkit.DeviceID{})
				d.clock.Advance(time.Hour)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var runs sync.WaitGroup
				for _, m := range []*desk{d, e} {
					runs.Go(func() { _ = m.Run(ctx) })
				}
				require.Eventually(t, func() bool {
					session, err := d.Session(t.Context(), stale.ID)
					return err == nil && session.EndReason == userkit.EndedStale
				}, deadline, time.Millisecond)
				cancel()
				runs.Wait()
				require.Equal(t, base, d.session(t, stale.ID).EndedAt)
				require.Zero(t, d.user(t, user.ID).OpenSessions)
			}},
		}},
		{"Close", []testCase{
			{"refuses changes from then on and leaves the store open", func(t *testing.T, env env) {
				d := env.desk(t)
				user := d.household(t)
				device := d.devices(t, user.ID)[0]
				session := d.sessions(t, user.ID)[1]
				list, empty, rule := d.list(t, "list", user), d.list(t, "empty"), d.rule(t, "rule", `name pr`)
				bulk := userkit.BulkRequest{Action: userkit.BulkDelete}
				token := d.preview(t, bulk).Token
				require.NoError(t, d.Close(context.Background()))
				require.NoError(t, d.Close(context.Background()), "Close is safe to call again")

				other := d.beside(t, env.store)
				before := other.picture(t, user.ID)
				ctx := t.Context()
				for name, change := range map[string]func() error{
					"CreateUser": func() error { _, err := d.CreateUser(ctx, userkit.NewUser{}); return err },
					"UpdateUser": func() error {
						_, err := d.UpdateUser(ctx, user.ID, userkit.UserPatch{Name: userkit.Set("X")})
						return err
					},
					"ActivateUser":   func() error { _, err := d.ActivateUser(ctx, user.ID); return err },
					"DeactivateUser": func() error { _, err := d.DeactivateUser(ctx, user.ID); return err },
					"RecordLogin":    func() error { _, err := d.RecordLogin(ctx, user.ID, ""); return err },
					"DeleteUser":     func() error { _, err := d.DeleteUser(ctx, user.ID, user.ID.String()); return err },
					"RegisterDevice": func() error { _, err := d.RegisterDevice(ctx, user.ID, userkit.NewDevice{}); return err },
					"DeleteDevice":   func() error { _, err := d.DeleteDevice(ctx, device.ID); return err },
					"RotateToken":    func() error { _, err := d.RotateToken(ctx, device.ID); return err },
					"SetLicense":     func() error { _, err := d.SetLicense(ctx, user.ID, oneDevice); return err },
					"StartSession": func() error {
						_, err := d.StartSession(ctx, userkit.NewSession{UserID: user.ID, Node: "node"})
						return err
					},
					"EndSession": func() error { _, err := d.EndSession(ctx, session.ID, userkit.UsageReport{}); return err },
					"SetTrafficLimit": func() error {
						_, err := d.SetTrafficLimit(ctx, user.ID, userkit.TrafficLimit{Bytes: 1}, true)
						return err
					},
					"Refill": func() error {
						_, err := d.Refill(ctx, user.ID, userkit.Entry{Amount: euro(1), Key: "late"})
						return err
					},
					"Charge": func() error {
						_, err := d.Charge(ctx, user.ID, userkit.Entry{Amount: euro(1), Key: "late"})
						return err
					},
					"CancelLast": func() error {
						_, err := d.CancelLast(ctx, user.ID, user.LastTransaction)
						return err
					},
					"RecordEvent": func() error { _, err := d.RecordEvent(ctx, user.ID, userkit.NewEvent{Name: "late"}); return err },
					"CreateSegment": func() error {
						_, err := d.CreateSegment(ctx, userkit.NewSegment{Name: "late"})
						return err
					},
					"UpdateSegment": func() error {
						_, err := d.UpdateSegment(ctx, rule.ID, userkit.SegmentPatch{Name: userkit.Set("late")})
						return err
					},
					"DeleteSegment":     func() error { return d.DeleteSegment(ctx, list.ID) },
					"FreezeSegment":     func() error { _, _, err := d.FreezeSegment(ctx, rule.ID); return err },
					"AddToSegments":     func() error { return d.AddToSegments(ctx, user.ID, empty.ID) },
					"RemoveFromSegment": func() error { return d.RemoveFromSegment(ctx, user.ID, list.ID) },
					"ExecuteBulk":       func() error { _, err := d.ExecuteBulk(ctx, bulk, token, nil); return err },
					"ImportUsers": func() error {
						_, err := d.ImportUsers(ctx, userkit.ImportOptions{}, []userkit.UserImport{record(t, userkit.ByLogin("late"))})
						return err
					},
				} {
					t.Run(name, func(t *testing.T) { requireCode(t, change(), userkit.ErrUnavailable, userkit.CodeClosed) })
				}
				require.Equal(t, before, other.picture(t, user.ID))
			}},
		}},
		{"Context", []testCase{
			{"one that has ended is answered with its error and changes nothing", func(t *testing.T, env env) {
				d := env.desk(t)
				user := d.household(t)
				list := d.list(t, "list")
				bulk := userkit.BulkRequest{Action: userkit.BulkDelete}
				token := d.preview(t, bulk).Token
				before := d.picture(t, user.ID)
				ended, cancel := context.WithCancel(t.Context())
				cancel()
				for name, call := range map[string]func() error{
					"Refill": func() error {
						_, err := d.Refill(ended, user.ID, userkit.Entry{Amount: euro(1), Key: "never"})
						return err
					},
					"UpdateUser": func() error {
						_, err := d.UpdateUser(ended, user.ID, userkit.UserPatch{Name: userkit.Set("X")})
						return err
					},
					"DeleteUser": func() error { _, err := d.DeleteUser(ended, user.ID, user.ID.String()); return err },
					"ReportUsage": func() error {
						_, err := d.ReportUsage(ended, []userkit.UsageReport{{SessionID: before.Sessions[1].ID, Received: 9_000_000}})
						return err
					},
					"User":  func() error { _, err := d.User(ended, user.ID); return err },
					"Users": func() error { _, err := d.Users(ended, userkit.UserQuery{}); return err },
					"AllUsers": func() error {
						for _, err := range d.AllUsers(ended, userkit.UserQuery{}) {
							return err
						}
						return nil
					},
					"Feed": func() error {
						for _, err := range d.Feed(ended, "") {
							return err
						}
						return nil
					},
					"VerifyBalances": func() error {
						for _, err := range d.VerifyBalances(ended) {
							return err
						}
						return nil
					},
					"CreateSegment": func() error {
						_, err := d.CreateSegment(ended, userkit.NewSegment{Name: "never"})
						return err
					},
					"DeleteSegment": func() error { return d.DeleteSegment(ended, list.ID) },
					"Segments":      func() error { _, err := d.Segments(ended, userkit.SegmentQuery{}); return err },
					"UserSegments":  func() error { _, err := d.UserSegments(ended, user.ID); return err },
					"AddToSegments": func() error { return d.AddToSegments(ended, user.ID, list.ID) },
					"PreviewBulk":   func() error { _, err := d.PreviewBulk(ended, bulk); return err },
					"ExecuteBulk":   func() error { _, err := d.ExecuteBulk(ended, bulk, token, nil); return err },
					"ImportUsers": func() error {
						_, err := d.ImportUsers(ended, userkit.ImportOptions{}, []userkit.UserImport{record(t, userkit.ByLogin("never"))})
						return err
					},
					"UserRecords": func() error {
						for _, err := range d.UserRecords(ended, user.ID) {
							return err
						}
						return nil
					},
				} {
					t.Run(name, func(t *testing.T) { require.ErrorIs(t, call(), context.Canceled) })
				}
				require.Equal(t, before, d.picture(t, user.ID))
			}},
		}},
	}
}
