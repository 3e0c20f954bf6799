package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// fault says what goes wrong in a call to a store.
type fault int

const (
	noFault    fault = iota
	failBefore       // nothing happens, and the call fails
	failAfter        // it happens, and the call fails: the answer is lost
	conflict         // every change is answered with ErrConflict, and nothing happens
)

// faultyStore is a store that fails as a case plans it.
type faultyStore struct {
	userkit.Store

	mutex   sync.Mutex
	commits int                                         // how many calls of the three commits there were
	commit  func(call int, change userkit.Change) fault // nil: none fails; change is the first of the call, zero for a segment
	after   func(call int)                              // runs when a commit has happened, before its answer; may be nil
	load    func() fault                                // nil: none fails
	held    chan struct{}                               // Load waits until it is closed; nil: it does not wait
	waiting chan struct{}                               // gets a value for every Load that begins to wait

	writes map[string][]fault // of the calls that write and are no commit of a change, by their names, those that come
	failed chan string        // gets the name of each of them that has failed
}

func newFaultyStore(store userkit.Store) *faultyStore {
	return &faultyStore{Store: store, waiting: make(chan struct{}, 1000), failed: make(chan string, 1000)}
}

func errCut() error {
	return userkit.NewError(userkit.CodeStoreUnavailable, "", "the connection was cut").Because(errors.New("a planned fault"))
}

// plan sets how commits and loads fail from now on, and counts commits anew.
func (f *faultyStore) plan(commit func(call int, change userkit.Change) fault, load func() fault) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.commit, f.load, f.commits = commit, load, 0
}

// first makes the first commits fail in the given ways, one after another.
func (f *faultyStore) first(faults ...fault) {
	f.plan(func(call int, _ userkit.Change) fault {
		if call < len(faults) {
			return faults[call]
		}
		return noFault
	}, nil)
}

// heal lets everything work again.
func (f *faultyStore) heal() { f.plan(nil, nil) }

// count returns how many commits there were since the last plan.
func (f *faultyStore) count() int {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.commits
}

// hold makes every Load wait until release is called.
func (f *faultyStore) hold() (release func()) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	held := make(chan struct{})
	f.held = held
	return sync.OnceFunc(func() {
		f.mutex.Lock()
		f.held = nil
		f.mutex.Unlock()
		close(held)
	})
}

func (f *faultyStore) Load(ctx context.Context, wants []userkit.Want) ([]userkit.State, error) {
	f.mutex.Lock()
	plan, held := f.load, f.held
	f.mutex.Unlock()
	if held != nil {
		f.waiting <- struct{}{}
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if plan != nil && plan() != noFault {
		return nil, errCut()
	}
	return f.Store.Load(ctx, wants)
}

// The reads that a manager makes before a command goes on its way do not look at
// the caller's end, so that a watchedContext hears of the wait in the corridor
// alone.

func (f *faultyStore) Device(ctx context.Context, id userkit.DeviceID) (userkit.Device, error) {
	return f.Store.Device(context.WithoutCancel(ctx), id)
}

func (f *faultyStore) Session(ctx context.Context, id userkit.SessionID) (userkit.Session, error) {
	return f.Store.Session(context.WithoutCancel(ctx), id)
}

func (f *faultyStore) SessionOwners(ctx context.Context, ids []userkit.SessionID) (map[userkit.SessionID]userkit.UserID, error) {
	return f.Store.SessionOwners(context.WithoutCancel(ctx), ids)
}

// planned counts a commit and says how it is to fail. done is to be called when it
// has happened.
func (f *faultyStore) planned(first userkit.Change) (planned fault, done func()) {
	f.mutex.Lock()
	call, plan, after := f.commits, f.commit, f.after
	f.commits++
	f.mutex.Unlock()
	if plan != nil {
		planned = plan(call, first)
	}
	return planned, func() {
		if after != nil {
			after(call)
		}
	}
}

// one makes a commit of one outcome, or fails as planned.
func (f *faultyStore) one(first userkit.Change, commit func() error) error {
	planned, done := f.planned(first)
	switch planned {
	case failBefore:
		return errCut()
	case conflict:
		return userkit.ErrConflict
	}
	err := commit()
	done()
	if planned == failAfter {
		return errCut()
	}
	return err
}

func (f *faultyStore) CommitTogether(ctx context.Context, changes []userkit.Change) error {
	return f.one(changes[0], func() error { return f.Store.CommitTogether(ctx, changes) })
}

func (f *faultyStore) CommitSegment(ctx context.Context, change userkit.SegmentChange) (count int64, err error) {
	err = f.one(userkit.Change{}, func() (err error) {
		count, err = f.Store.CommitSegment(ctx, change)
		return err
	})
	if err != nil {
		count = 0 // the answer is lost as a whole
	}
	return count, err
}

func (f *faultyStore) Commit(ctx context.Context, changes []userkit.Change) ([]error, error) {
	planned, done := f.planned(changes[0])
	switch planned {
	case failBefore:
		return nil, errCut()
	case conflict:
		outcomes := make([]error, len(changes))
		for i := range outcomes {
			outcomes[i] = userkit.ErrConflict
		}
		return outcomes, nil
	}
	outcomes, err := f.Store.Commit(ctx, changes)
	done()
	if planned == failAfter {
		return nil, errCut()
	}
	return outcomes, err
}

// failing sets how the next calls of a method that writes fail, one after another.
func (f *faultyStore) failing(method string, faults ...fault) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.writes = map[string][]fault{method: faults}
}

// write makes a call that writes and is no commit of a change, or fails as planned. The
// results of one that fails are lost.
func write[T any](f *faultyStore, method string, call func() (T, error)) (T, error) {
	f.mutex.Lock()
	planned := noFault
	if coming := f.writes[method]; len(coming) > 0 {
		planned, f.writes[method] = coming[0], coming[1:]
	}
	f.mutex.Unlock()
	var nothing T
	if planned == failBefore {
		f.failed <- method
		return nothing, errCut()
	}
	result, err := call()
	if planned == failAfter {
		f.failed <- method
		return nothing, errCut()
	}
	return result, err
}

func (f *faultyStore) CommitEvent(ctx context.Context, event userkit.Event) error {
	_, err := write(f, "CommitEvent", func() (struct{}, error) { return struct{}{}, f.Store.CommitEvent(ctx, event) })
	return err
}

func (f *faultyStore) DeleteExpired(ctx context.Context, expiry userkit.Expiry, limit int) (int64, error) {
	return write(f, "DeleteExpired", func() (int64, error) { return f.Store.DeleteExpired(ctx, expiry, limit) })
}

func (f *faultyStore) LeaseDuty(ctx context.Context, duty string, now, until time.Time) (bool, error) {
	return write(f, "LeaseDuty", func() (bool, error) { return f.Store.LeaseDuty(ctx, duty, now, until) })
}

func (f *faultyStore) LeasePurchases(ctx context.Context, stores []string, now, until time.Time, limit int) ([]userkit.Purchase, error) {
	return write(f, "LeasePurchases", func() ([]userkit.Purchase, error) { return f.Store.LeasePurchases(ctx, stores, now, until, limit) })
}

func (f *faultyStore) LeaseDeliveries(ctx context.Context, devices []userkit.DeviceType, now, until time.Time, limit int) ([]userkit.Delivery, error) {
	return write(f, "LeaseDeliveries", func() ([]userkit.Delivery, error) { return f.Store.LeaseDeliveries(ctx, devices, now, until, limit) })
}

// faulty returns a manager on a store that fails as planned, and one beside it on
// the store itself, which never fails.
func (e env) faulty(t *testing.T, options ...userkit.Option) (broken *desk, faults *faultyStore, sound *desk) {
	t.Helper()
	options = append([]userkit.Option{userkit.WithUsageEvents()}, options...)
	sound = e.desk(t, options...)
	faults = newFaultyStore(e.store)
	return sound.beside(t, faults, options...), faults, sound
}

// receive waits for what a goroutine sends.
func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(deadline):
		require.Fail(t, "nothing came", what)
		panic("unreachable")
	}
}

// watchedContext tells when a caller looks at its end, which a caller does that
// begins to wait.
type watchedContext struct {
	context.Context
	waits func()
}

func (c watchedContext) Done() <-chan struct{} {
	c.waits()
	return c.Context.Done()
}

// queued makes a call in a goroutine, and returns once the call waits in the
// corridor: calls that are queued one after another stand there in this order.
func queued[T any](t *testing.T, call func(ctx context.Context) (T, error)) <-chan answer[T] {
	t.Helper()
	waits := make(chan struct{})
	ctx := watchedContext{t.Context(), sync.OnceFunc(func() { close(waits) })}
	done := make(chan answer[T], 1)
	go func() {
		defer ctx.waits()
		value, err := call(ctx)
		done <- answer[T]{value, err}
	}()
	receive(t, waits, "the call waits")
	return done
}

func faultGroups() []group {
	return []group{
		{"LostAnswer", lostAnswerCases()},
		{"Subjects", subjectCases()},
		{"Outage", outageCases()},
		{"Conflict", conflictCases()},
		{"Corridor", corridorCases()},
		{"Writes", writeCases()},
	}
}

// faultyCall is a change that is made on a store that fails, and a check of what
// became of it.
type faultyCall struct {
	name   string
	events []userkit.EventName
	make   func(t *testing.T, d *desk, s faultScene) (check func(t *testing.T, sound *desk), err error)
}

// faultScene is a user to make faulty calls on.
type faultScene struct {
	user    userkit.User
	device  userkit.Device
	session userkit.Session
	last    userkit.Transaction
}

func newFaultScene(t *testing.T, sound *desk) faultScene {
	t.Helper()
	var s faultScene
	s.user = sound.signUp(t, withLicense(fiveDevices))
	s.device = sound.register(t, s.user.ID, userkit.NewDevice{Name: "first"})
	s.session = sound.connect(t, s.user.ID, s.device.ID)
	s.last = sound.refill(t, s.user.ID, 100, "scene")
	sound.clock.Advance(time.Minute)
	return s
}

func faultyCalls() []faultyCall {
	type check = func(t *testing.T, sound *desk)
	user := func(s faultScene, got userkit.User) check {
		return func(t *testing.T, sound *desk) { requireUser(t, got, sound.user(t, s.user.ID)) }
	}
	transaction := func(s faultScene, got userkit.Transaction, balance int64) check {
		return func(t *testing.T, sound *desk) {
			require.Contains(t, sound.transactions(t, s.user.ID), got)
			sound.requireBalance(t, s.user.ID, balance)
			sound.requireLedger(t, s.user.ID)
		}
	}
	return []faultyCall{
		{"Refill", []userkit.EventName{userkit.EventBalanceRefilled}, func(t *testing.T, d *desk, s faultScene) (check, error) {
			got, err := d.Refill(t.Context(), s.user.ID, userkit.Entry{Amount: euro(7), Key: "key"})
			return transaction(s, got, 107), err
		}},
		{"Charge", []userkit.EventName{userkit.EventBalanceCharged}, func(t *testing.T, d *desk, s faultScene) (check, error) {
			got, err := d.Charge(t.Context(), s.user.ID, userkit.Entry{Amount: euro(100), Key: "key"})
			return transaction(s, got, 0), err
		}},
		{"CancelLast", []userkit.EventName{userkit.EventBalanceCancelled}, func(t *testing.T, d *desk, s faultScene) (check, error) {
			got, err := d.CancelLast(t.Context(), s.user.ID, s.last.ID)
			return transaction(s, got, 0), err
		}},
		{"UpdateUser", []userkit.EventName{userkit.EventUserUpdated}, func(t *testing.T, d *desk, s faultScene) (check, error) {
			got, err := d.UpdateUser(t.Context(), s.user.ID, userkit.UserPatch{Revision: s.user.Revision, Login: userkit.Set("login of " + s.user.ID.String())})
			require.Equal(t, s.user.Revision+1, got.Revision)
			return user(s, got), err
		}},
		{"DeactivateUser", []userkit.EventName{userkit.EventUserDeactivated}, func(t *testing.T, d *desk, s faultScene) (check, error) {
			got, err := d.DeactivateUser(t.Context(), s.user.ID)
			return user(s, got), err
		}},
		{"RecordLogin", []userkit.EventName{userkit.EventUserLoggedIn}, func(t *testing.T, d *desk, s faultScene) (check, error) {
			got, err := d.RecordLogin(t.Context(), s.user.ID, "oidc")
			return user(s, got), err
		}},
		{"SetLicense", []userkit.EventName{userkit.EventLicenseSet}, func(t *testing.T, d *desk, s faultScene) (check, error) {
			got, err := d.SetLicense(t.Context(), s.user.ID, oneDevice)
			return user(s, got), err
		}},
		{"SetTrafficLimit", []userkit.EventName{userkit.EventTrafficLimitSet}, func(t *testing.T, d *desk, s faultScene) (check, error) {
			got, err := d.SetTrafficLimit(t.Context(), s.user.ID, userkit.TrafficLimit{Bytes: 1 << 40}, true)
			return user(s, got), err
		}},
		{"RegisterDevice", []userkit.EventName{userkit.EventDeviceRegistered}, func(t *testing.T, d *desk, s faultScene) (check, error) {
			got, err := d.RegisterDevice(t.Context(), s.user.ID, userkit.NewDevice{Name: "second"})
			return func(t *testing.T, sound *desk) {
				require.Len(t, sound.devices(t, s.user.ID), 2)
				require.Equal(t, 2, sound.user(t, s.user.ID).Devices)
				require.Equal(t, got.ID, sound.authenticate(t, got.AccessToken).Device.ID, "the token that was shown is the one that was kept")
			}, err
		}},
		{"RotateToken", []userkit.EventName{userkit.EventTokenRotated}, func(t *testing.T, d *desk, s faultScene) (check, error) {
			got, err := d.RotateToken(t.Context(), s.device.ID)
			return func(t *testing.T, sound *desk) {
				require.Equal(t, s.device.ID, sound.authenticate(t, got.AccessToken).Device.ID)
				sound.requireInvalidToken(t, s.device.AccessToken)
			}, err
		}},
		{"UpdateDevice", []userkit.EventName{userkit.EventDeviceUpdated}, func(t *testing.T, d *desk, s faultScene) (check, error) {
			got, err := d.UpdateDevice(t.Context(), s.device.ID, userkit.DevicePatch{Name: userkit.Set("renamed")})
			return func(t *testing.T, sound *desk) {
				require.Equal(t, []userkit.Device{got}, sound.devices(t, s.user.ID))
				require.Equal(t, "renamed", got.Name)
			}, err
		}},
		{"StartSession", []userkit.EventName{userkit.EventSessionStarted}, func(t *testing.T, d *desk, s faultScene) (check, error) {
			got, err := d.StartSession(t.Context(), userkit.NewSession{ID: userkit.NewID[userkit.Session](), UserID: s.user.ID, Node: "node"})
			return func(t *testing.T, sound *desk) {
				require.Equal(t, got, sound.session(t, got.ID))
				require.Len(t, sound.sessions(t, s.user.ID), 2)
				require.Equal(t, 2, sound.user(t, s.user.ID).OpenSessions)
			}, err
		}},
		{"EndSession", []userkit.EventName{userkit.EventSessionEnded}, func(t *testing.T, d *desk, s faultScene) (check, error) {
			got, err := d.EndSession(t.Context(), s.session.ID, userkit.UsageReport{})
			return func(t *testing.T, sound *desk) {
				require.Equal(t, got, sound.session(t, got.ID))
				require.Zero(t, sound.user(t, s.user.ID).OpenSessions)
			}, err
		}},
		{"ReportUsage", []userkit.EventName{userkit.EventTrafficReported}, func(t *testing.T, d *desk, s faultScene) (check, error) {
			results, err := d.ReportUsage(t.Context(), []userkit.UsageReport{{SessionID: s.session.ID, Received: 50, Sent: 5, At: d.clock.Now()}})
			if err == nil {
				err = results[0].Err
			}
			return func(t *testing.T, sound *desk) {
				require.Equal(t, userkit.UsageResult{SessionID: s.session.ID, Outcome: userkit.UsageCounted, Received: 50, Sent: 5}, results[0])
				sound.requireBytes(t, s.session.ID, 50, 5)
				require.EqualValues(t, 55, sound.user(t, s.user.ID).Traffic.Used)
				require.EqualValues(t, 55, sound.days(t, s.user.ID)[0].Received+sound.days(t, s.user.ID)[0].Sent)
			}, err
		}},
		{"RecordEvent", []userkit.EventName{"host.event"}, func(t *testing.T, d *desk, s faultScene) (check, error) {
			got, err := d.RecordEvent(t.Context(), s.user.ID, userkit.NewEvent{Name: "host.event", Data: 1})
			return func(t *testing.T, sound *desk) {
				events := sound.events(t, s.user.ID)
				requireEvents(t, []userkit.Event{got}, events[len(events)-1:])
			}, err
		}},
		{"DeleteDevice", []userkit.EventName{userkit.EventDeviceDeleted}, func(t *testing.T, d *desk, s faultScene) (check, error) {
			got, err := d.DeleteDevice(t.Context(), s.device.ID)
			return func(t *testing.T, sound *desk) {
				require.Equal(t, s.device.ID, got.ID)
				require.Empty(t, sound.devices(t, s.user.ID))
				require.Zero(t, sound.user(t, s.user.ID).Devices)
			}, err
		}},
	}
}

// requireOnce makes a faulty call and demands that it was made, and made once.
func (c faultyCall) requireOnce(t *testing.T, broken, sound *desk) {
	t.Helper()
	scene, beside := newFaultScene(t, sound), newFaultScene(t, sound)
	other := sound.picture(t, beside.user.ID)
	before := sound.user(t, scene.user.ID).Version
	var check func(t *testing.T, sound *desk)
	events := sound.eventsDuring(t, scene.user.ID, func() {
		var err error
		check, err = c.make(t, broken, scene)
		require.NoError(t, err)
	})
	found := 0
	for _, event := range events {
		if event.Name == c.events[0] {
			found++
		}
	}
	require.Equal(t, 1, found, "events: %v", eventNames(events))
	require.Equal(t, before+1, sound.user(t, scene.user.ID).Version)
	check(t, sound)
	require.Equal(t, other, sound.picture(t, beside.user.ID))
}

func lostAnswerCases() []testCase {
	// each makes every faulty call under a plan of faults.
	each := func(faults ...fault) func(t *testing.T, env env) {
		return func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t, userkit.WithSealingKeys(sealingKey(1)))
			for _, call := range faultyCalls() {
				t.Run(call.name, func(t *testing.T) {
					scene := func() { store.first(faults...) }
					store.heal()
					scene()
					call.requireOnce(t, broken, sound)
					require.Positive(t, store.count())
				})
			}
		}
	}
	return []testCase{
		{"a commit that failed is made again, once", each(failBefore)},
		{"a commit whose answer was lost is not made again, and its caller gets its result", each(failAfter)},
		{"a commit that failed and one whose answer was lost count once together", each(failBefore, failAfter)},
		{"an answer that is lost after a conflict counts once", each(conflict, failAfter)},
		{"a load that fails while the manager looks for its change is tried again", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			for _, call := range faultyCalls() {
				t.Run(call.name, func(t *testing.T) {
					var mutex sync.Mutex
					lost, cuts := false, 0
					store.plan(func(n int, _ userkit.Change) fault {
						mutex.Lock()
						defer mutex.Unlock()
						if n == 0 {
							lost = true
							return failAfter
						}
						return noFault
					}, func() fault {
						mutex.Lock()
						defer mutex.Unlock()
						if lost && cuts < 1 {
							cuts++
							return failBefore
						}
						return noFault
					})
					call.requireOnce(t, broken, sound)
				})
			}
		}},
		{"a change is found though others changed the user since", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			scene := newFaultScene(t, sound)
			store.first(failAfter)
			ctx := t.Context()
			var between error
			store.after = func(call int) {
				if call == 0 {
					_, between = sound.Refill(ctx, scene.user.ID, userkit.Entry{Amount: euro(1000), Key: "between"})
				}
			}
			got := broken.refill(t, scene.user.ID, 7, "key")
			require.NoError(t, between)
			require.Contains(t, sound.transactions(t, scene.user.ID), got)
			sound.requireBalance(t, scene.user.ID, 1107)
			sound.requireLedger(t, scene.user.ID)
			require.Len(t, sound.transactions(t, scene.user.ID), 3)
		}},
		{"a reading that writes no event counts once, whatever was lost", func(t *testing.T, env env) {
			sound := env.desk(t)
			store := newFaultyStore(env.store)
			broken := sound.beside(t, store)
			for _, faults := range [][]fault{{failAfter}, {failBefore}, {failBefore, failAfter}, {conflict, failAfter}} {
				store.heal()
				scene := newFaultScene(t, sound)
				before := len(sound.events(t, scene.user.ID))
				store.first(faults...)
				report := userkit.UsageReport{SessionID: scene.session.ID, Received: 50, Sent: 5, At: sound.clock.Now()}
				results, err := broken.ReportUsage(t.Context(), []userkit.UsageReport{report})
				require.NoError(t, err)
				require.NoError(t, results[0].Err)
				require.Positive(t, store.count())
				store.heal()
				_, err = sound.ReportUsage(t.Context(), []userkit.UsageReport{report}) // as a node does that got no answer
				require.NoError(t, err)
				sound.requireBytes(t, scene.session.ID, 50, 5)
				require.EqualValues(t, 55, sound.user(t, scene.user.ID).Traffic.Used)
				days := sound.days(t, scene.user.ID)
				require.Len(t, days, 1)
				require.EqualValues(t, 55, days[0].Received+days[0].Sent)
				require.Len(t, sound.events(t, scene.user.ID), before)
			}
		}},
		{"creating a user is found, and is no clash with itself", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			for i, faults := range [][]fault{{failAfter}, {failBefore}, {failBefore, failAfter}} {
				store.first(faults...)
				given := newcomer(fmt.Sprint("ada-", i))
				user, err := broken.CreateUser(t.Context(), given)
				require.NoError(t, err)
				requireUser(t, user, sound.user(t, given.ID))
				require.EqualValues(t, i+1, sound.countUsers(t))
				require.Equal(t, []userkit.EventName{userkit.EventUserCreated}, eventNames(sound.events(t, user.ID)))
			}
			for i, faults := range [][]fault{{failAfter}, {failBefore}, {failBefore, failAfter}} {
				store.first(faults...)
				user, err := broken.CreateUser(t.Context(), userkit.NewUser{Login: fmt.Sprint("eve-", i)})
				require.NoError(t, err)
				requireUser(t, user, sound.user(t, user.ID))
				require.EqualValues(t, 4+i, sound.countUsers(t))
			}
		}},
		{"deleting a user is found, and its caller gets the receipt", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			for _, faults := range [][]fault{{failAfter}, {failBefore}, {failBefore, failAfter}} {
				scene := newFaultScene(t, sound)
				events := len(sound.events(t, scene.user.ID))
				store.first(faults...)
				receipt, err := broken.DeleteUser(t.Context(), scene.user.ID, scene.user.ID.String())
				require.NoError(t, err)
				require.Equal(t, scene.user.ID, receipt.UserID)
				requireRowCounts(t, map[string]int{userkit.RowsDevices: 1, userkit.RowsSessions: 1, userkit.RowsTransactions: 1, userkit.RowsEvents: events}, receipt.Rows)
				_, err = sound.User(t.Context(), scene.user.ID)
				requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
				require.Equal(t, []userkit.EventName{userkit.EventUserDeleted}, eventNames(sound.events(t, scene.user.ID)))
			}
		}},
		{"of many callers, each counts once", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			var users []userkit.User
			for range 10 {
				users = append(users, sound.signUp(t))
			}
			store.plan(func(call int, _ userkit.Change) fault {
				return []fault{failAfter, noFault, failBefore, conflict, noFault}[call%5]
			}, nil)
			answers := together(100, func(i int) (userkit.Transaction, error) {
				for {
					transaction, err := broken.Refill(t.Context(), users[i%10].ID, userkit.Entry{Amount: euro(5), Key: fmt.Sprint("key ", i)})
					if !errors.Is(err, userkit.ErrUnavailable) && !errors.Is(err, userkit.ErrConflict) {
						return transaction, err
					}
				}
			})
			values(t, answers)
			for _, user := range users {
				sound.requireBalance(t, user.ID, 50)
				sound.requireLedger(t, user.ID)
			}
			require.Empty(t, sound.mismatches(t))
		}},
	}
}

func outageCases() []testCase {
	always := func(planned fault) func(int, userkit.Change) fault {
		return func(int, userkit.Change) fault { return planned }
	}
	// blind loses every answer, and lets no load tell what became of it.
	blind := func(store *faultyStore) {
		var mutex sync.Mutex
		committed := false
		store.plan(func(int, userkit.Change) fault {
			mutex.Lock()
			defer mutex.Unlock()
			committed = true
			return failAfter
		}, func() fault {
			mutex.Lock()
			defer mutex.Unlock()
			if committed {
				return failBefore
			}
			return noFault
		})
	}
	return []testCase{
		{"that lasts is told after a bounded number of tries, and the manager goes on afterwards", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			scene := newFaultScene(t, sound)
			before := sound.picture(t, scene.user.ID)
			store.plan(always(failBefore), nil)
			for _, call := range faultyCalls() {
				t.Run(call.name, func(t *testing.T) {
					if call.name == "UpdateUser" {
						_, err := broken.UpdateUser(t.Context(), scene.user.ID, userkit.UserPatch{Name: userkit.Set("X")})
						requireCode(t, err, userkit.ErrUnavailable, userkit.CodeStoreUnavailable)
						return
					}
					_, err := call.make(t, broken, scene)
					requireCode(t, err, userkit.ErrUnavailable, userkit.CodeStoreUnavailable)
				})
			}
			require.Less(t, store.count(), 100*len(faultyCalls()))
			require.Equal(t, before, sound.picture(t, scene.user.ID))
			store.heal()
			broken.refill(t, scene.user.ID, 7, "key")
			sound.requireBalance(t, scene.user.ID, 107)
		}},
		{"of loads alone changes nothing", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			scene := newFaultScene(t, sound)
			before := sound.picture(t, scene.user.ID)
			store.plan(nil, func() fault { return failBefore })
			_, err := broken.Refill(t.Context(), scene.user.ID, userkit.Entry{Amount: euro(1), Key: "key"})
			requireCode(t, err, userkit.ErrUnavailable, userkit.CodeStoreUnavailable)
			require.Zero(t, store.count())
			require.Equal(t, before, sound.picture(t, scene.user.ID))
		}},
		{"after which a caller repeats a refill with its key counts it once", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			scene := newFaultScene(t, sound)
			blind(store)
			_, err := broken.Refill(t.Context(), scene.user.ID, userkit.Entry{Amount: euro(7), Key: "key"})
			requireCode(t, err, userkit.ErrUnavailable, userkit.CodeStoreUnavailable)
			store.heal()
			again := broken.refill(t, scene.user.ID, 7, "key")
			require.EqualValues(t, 2, again.Sequence)
			sound.requireBalance(t, scene.user.ID, 107)
			sound.requireLedger(t, scene.user.ID)
		}},
		{"after which a caller repeats a registration with its hardware id leaves one device", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			user := sound.signUp(t, withLicense(oneDevice))
			blind(store)
			_, err := broken.RegisterDevice(t.Context(), user.ID, userkit.NewDevice{HardwareID: "hw"})
			requireCode(t, err, userkit.ErrUnavailable, userkit.CodeStoreUnavailable)
			require.Len(t, sound.devices(t, user.ID), 1)
			store.heal()
			device := broken.register(t, user.ID, userkit.NewDevice{HardwareID: "hw"})
			require.Len(t, sound.devices(t, user.ID), 1)
			require.Equal(t, 1, sound.user(t, user.ID).Devices)
			sound.authenticate(t, device.AccessToken)
		}},
		{"after which a caller repeats a start with its id is told that it happened", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			user := sound.signUp(t)
			given := userkit.NewSession{ID: userkit.NewID[userkit.Session](), UserID: user.ID, Node: "node"}
			blind(store)
			_, err := broken.StartSession(t.Context(), given)
			requireCode(t, err, userkit.ErrUnavailable, userkit.CodeStoreUnavailable)
			store.heal()
			_, err = broken.StartSession(t.Context(), given)
			requireExists(t, err, userkit.CodeIDTaken, "id")
			require.Equal(t, 1, sound.user(t, user.ID).OpenSessions)
			require.True(t, sound.session(t, given.ID).Active())
		}},
		{"after which a node reports again counts once", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			scene := newFaultScene(t, sound)
			report := []userkit.UsageReport{{SessionID: scene.session.ID, Received: 50, Sent: 5, At: sound.clock.Now()}}
			blind(store)
			results, err := broken.ReportUsage(t.Context(), report)
			if err == nil {
				require.Equal(t, userkit.UsageRejected, results[0].Outcome)
				err = results[0].Err
			}
			require.ErrorIs(t, err, userkit.ErrUnavailable)
			store.heal()
			require.Zero(t, broken.reports(t, report...)[0].Received)
			sound.requireBytes(t, scene.session.ID, 50, 5)
			require.EqualValues(t, 55, sound.user(t, scene.user.ID).Traffic.Used)
		}},
		{"does not keep a device out that is known: when it was seen is best effort", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t, userkit.WithLastSeenInterval(0))
			scene := newFaultScene(t, sound)
			store.plan(always(failBefore), nil)
			require.Equal(t, scene.device.ID, broken.authenticate(t, scene.device.AccessToken).Device.ID)
		}},
		{"of a store that was closed is told as such", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			require.NoError(t, env.store.Close())
			_, err := d.Refill(t.Context(), user.ID, userkit.Entry{Amount: euro(1), Key: "key"})
			requireCode(t, err, userkit.ErrUnavailable, userkit.CodeClosed)
			_, err = d.User(t.Context(), user.ID)
			requireCode(t, err, userkit.ErrUnavailable, userkit.CodeClosed)
		}},
		{"of one change's unique value does not hinder the other changes", func(t *testing.T, env env) {
			d := env.desk(t)
			d.signUp(t, func(user *userkit.NewUser) { user.Login = "taken" })
			answers := together(40, func(i int) (userkit.User, error) {
				login := fmt.Sprint("free-", i)
				if i%4 == 0 {
					login = "taken"
				}
				return d.CreateUser(t.Context(), userkit.NewUser{Login: login})
			})
			require.Len(t, succeeded(t, answers, userkit.ErrExists, userkit.CodeLoginTaken), 30)
			require.EqualValues(t, 31, d.countUsers(t))
		}},
	}
}

func conflictCases() []testCase {
	return []testCase{
		{"a few end in success", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			for _, call := range faultyCalls() {
				t.Run(call.name, func(t *testing.T) {
					store.first(conflict, conflict, conflict)
					call.requireOnce(t, broken, sound)
				})
			}
		}},
		{"without end are told after a bounded number of tries, and nothing is written", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			scene := newFaultScene(t, sound)
			before := sound.picture(t, scene.user.ID)
			store.plan(func(int, userkit.Change) fault { return conflict }, nil)
			_, err := broken.Refill(t.Context(), scene.user.ID, userkit.Entry{Amount: euro(1), Key: "key"})
			requireCode(t, err, userkit.ErrConflict, userkit.CodeTooManyConflicts)
			require.Less(t, store.count(), 1000)
			require.Equal(t, before, sound.picture(t, scene.user.ID))
			store.heal()
			broken.refill(t, scene.user.ID, 1, "key")
			sound.requireBalance(t, scene.user.ID, 101)
		}},
		{"that are real lose no change of either side", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			scene := newFaultScene(t, sound)
			ctx := t.Context()
			var between []error
			store.plan(func(call int, change userkit.Change) fault {
				if call < 3 {
					_, err := sound.Refill(ctx, scene.user.ID, userkit.Entry{Amount: euro(1000), Key: fmt.Sprint("between ", call)})
					between = append(between, err)
				}
				return noFault
			}, nil)
			got := broken.refill(t, scene.user.ID, 7, "key")
			require.NoError(t, errors.Join(between...))
			require.Len(t, between, 3)
			require.EqualValues(t, 3107, got.Balance.Amount)
			require.EqualValues(t, 5, got.Sequence)
			sound.requireBalance(t, scene.user.ID, 3107)
			sound.requireLedger(t, scene.user.ID)
		}},
		{"that are real are decided anew: the money may be gone", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			scene := newFaultScene(t, sound)
			ctx := t.Context()
			store.plan(func(call int, change userkit.Change) fault {
				if call == 0 {
					if _, err := sound.Charge(ctx, scene.user.ID, userkit.Entry{Amount: euro(50), Key: "between"}); err != nil {
						return failBefore
					}
				}
				return noFault
			}, nil)
			_, err := broken.Charge(t.Context(), scene.user.ID, userkit.Entry{Amount: euro(100), Key: "key"})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeInsufficientBalance)
			sound.requireBalance(t, scene.user.ID, 50)
		}},
		{"with a deletion end in not-found", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			scene := newFaultScene(t, sound)
			ctx := t.Context()
			store.plan(func(call int, change userkit.Change) fault {
				if call == 0 {
					if _, err := sound.DeleteUser(ctx, scene.user.ID, scene.user.ID.String()); err != nil {
						return failBefore
					}
				}
				return noFault
			}, nil)
			_, err := broken.Refill(t.Context(), scene.user.ID, userkit.Entry{Amount: euro(1), Key: "key"})
			requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
			require.Equal(t, []userkit.EventName{userkit.EventUserDeleted}, eventNames(sound.events(t, scene.user.ID)))
		}},
	}
}

func corridorCases() []testCase {
	type outcome = answer[userkit.Transaction]
	// call refills in a goroutine.
	call := func(ctx context.Context, d *desk, user userkit.UserID, key string) <-chan outcome {
		done := make(chan outcome, 1)
		go func() {
			transaction, err := d.Refill(ctx, user, userkit.Entry{Amount: euro(10), Key: key})
			done <- outcome{transaction, err}
		}()
		return done
	}
	return []testCase{
		{"a caller that waits behind another returns at once when its context ends, and the manager goes on", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			user := sound.signUp(t)
			release := store.hold()
			defer release()
			first := call(t.Context(), broken, user.ID, "first")
			receive(t, store.waiting, "the first caller loads")
			ctx, cancel := context.WithCancel(t.Context())
			second := call(ctx, broken, user.ID, "second")
			third := call(t.Context(), broken, user.ID, "third")
			cancel()
			require.ErrorIs(t, receive(t, second, "the second caller gives up").err, context.Canceled)
			release()
			require.NoError(t, receive(t, first, "the first caller").err)
			require.NoError(t, receive(t, third, "the third caller").err)

			broken.refill(t, user.ID, 10, "second")
			sound.requireBalance(t, user.ID, 30)
			sound.requireLedger(t, user.ID)
		}},
		{"a caller whose change is under way returns at once when its context ends, and harms no one behind it", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			user := sound.signUp(t)
			release := store.hold()
			defer release()
			ctx, cancel := context.WithCancel(t.Context())
			first := call(ctx, broken, user.ID, "first")
			receive(t, store.waiting, "the first caller loads")
			second := call(t.Context(), broken, user.ID, "second")
			cancel()
			require.ErrorIs(t, receive(t, first, "the first caller gives up").err, context.Canceled)
			release()
			require.NoError(t, receive(t, second, "the second caller").err)
			broken.refill(t, user.ID, 10, "first")
			sound.requireBalance(t, user.ID, 20)
			sound.requireLedger(t, user.ID)
		}},
		{"a deadline counts like a cancellation", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			user := sound.signUp(t)
			release := store.hold()
			defer release()
			ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
			defer cancel()
			_, err := broken.Refill(ctx, user.ID, userkit.Entry{Amount: euro(1), Key: "key"})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			release()
			sound.requireBalance(t, user.ID, 0)
		}},
		{"many callers give up and try again with their keys: each counts once", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			users := []userkit.User{sound.signUp(t), sound.signUp(t), sound.signUp(t)}
			store.plan(func(call int, _ userkit.Change) fault { return []fault{noFault, failAfter}[call%2] }, nil)
			values(t, together(crowd, func(i int) (int, error) {
				for n := 0; ; n++ {
					ctx, cancel := context.WithCancel(t.Context())
					if n < 3 {
						go cancel()
					}
					_, err := broken.Refill(ctx, users[i%3].ID, userkit.Entry{Amount: euro(10), Key: fmt.Sprint("key ", i)})
					cancel()
					if !errors.Is(err, context.Canceled) && !errors.Is(err, userkit.ErrUnavailable) && !errors.Is(err, userkit.ErrConflict) {
						return n, err
					}
				}
			}))
			total := int64(0)
			for _, user := range users {
				sound.requireLedger(t, user.ID)
				total += sound.user(t, user.ID).Balance.Amount
			}
			require.EqualValues(t, 10*crowd, total)
		}},
		{"is not waited for by a manager on another store", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			user := sound.signUp(t)
			release := store.hold()
			defer release()
			first := call(t.Context(), broken, user.ID, "first")
			receive(t, store.waiting, "the first caller loads")
			bound := broken.WithStore(env.store)
			_, err := bound.Refill(t.Context(), user.ID, userkit.Entry{Amount: euro(10), Key: "bound"})
			require.NoError(t, err)
			release()
			require.NoError(t, receive(t, first, "the first caller").err)
			sound.requireBalance(t, user.ID, 20)
		}},
		{"what many do to one user in one batch is what they would do one after another", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t, patient)
			for _, faults := range [][]fault{nil, {failAfter}, {failBefore}, {conflict, failAfter}} {
				scene := newFaultScene(t, sound)
				user := scene.user.ID
				store.first(faults...)
				release := store.hold()
				defer release()
				first := call(t.Context(), broken, user, "first")
				receive(t, store.waiting, "the first caller loads")
				before := len(sound.events(t, user))
				var crowd []<-chan answer[userkit.EventName]
				for i := range 40 {
					crowd = append(crowd, queued(t, func(ctx context.Context) (name userkit.EventName, err error) {
						switch i % 8 {
						case 0:
							name = userkit.EventBalanceRefilled
							_, err = broken.Refill(ctx, user, userkit.Entry{Amount: euro(int64(i) + 1), Key: fmt.Sprint("key ", i)})
						case 1:
							name = userkit.EventBalanceCharged
							_, err = broken.Charge(ctx, user, userkit.Entry{Amount: euro(30), Key: fmt.Sprint("key ", i)})
						case 2:
							name = userkit.EventDeviceRegistered
							_, err = broken.RegisterDevice(ctx, user, userkit.NewDevice{HardwareID: fmt.Sprint("hw-", i)})
						case 3:
							name = userkit.EventSessionStarted
							_, err = broken.StartSession(ctx, userkit.NewSession{UserID: user, DeviceID: scene.device.ID, Node: "node"})
						case 4:
							name = userkit.EventTrafficReported
							var results []userkit.UsageResult
							results, err = broken.ReportUsage(ctx, []userkit.UsageReport{{SessionID: scene.session.ID, Received: int64(i), At: at(i)}})
							if err == nil && results[0].Received == 0 {
								name = "" // nothing counted
							}
						case 5:
							name = userkit.EventUserUpdated
							_, err = broken.UpdateUser(ctx, user, userkit.UserPatch{SetAttributes: userkit.Attributes{fmt.Sprint("a", i): i}})
						case 6:
							if i == 6 { // the others repeat it
								name = userkit.EventBalanceRefilled
							}
							_, err = broken.Refill(ctx, user, userkit.Entry{Amount: euro(3), Key: "shared"})
						case 7:
							name = "host.event"
							_, err = broken.RecordEvent(ctx, user, userkit.NewEvent{Name: name})
						}
						if errors.Is(err, userkit.ErrRefused) {
							return "", nil
						}
						return name, err
					}))
				}
				release()
				require.NoError(t, receive(t, first, "the first caller").err)
				want := map[userkit.EventName]int{userkit.EventBalanceRefilled: 1}
				for _, caller := range crowd {
					got := receive(t, caller, "one of the crowd")
					require.NoError(t, got.err)
					if got.value != "" {
						want[got.value]++
					}
				}
				got := map[userkit.EventName]int{}
				for _, event := range sound.events(t, user)[before:] {
					got[event.Name]++
				}
				require.Equal(t, want, got)
				require.Equal(t, 6, got[userkit.EventBalanceRefilled]-1)
				sound.requireCounters(t, user)
				require.Len(t, sound.user(t, user).Attributes, 5)
				require.Len(t, sound.devices(t, user), 5)
			}
		}},
		{"one key several times in one batch counts once", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			user := sound.signUp(t)
			release := store.hold()
			defer release()
			first := call(t.Context(), broken, user.ID, "first")
			receive(t, store.waiting, "the first caller loads")
			var refills []<-chan outcome
			for _, cents := range []int64{7, 7, 8, 7} {
				refills = append(refills, queued(t, func(ctx context.Context) (userkit.Transaction, error) {
					return broken.Refill(ctx, user.ID, userkit.Entry{Amount: euro(cents), Key: "key"})
				}))
			}
			charge := queued(t, func(ctx context.Context) (userkit.Transaction, error) {
				return broken.Charge(ctx, user.ID, userkit.Entry{Amount: euro(17), Key: "all"})
			})
			beyond := queued(t, func(ctx context.Context) (userkit.Transaction, error) {
				return broken.Charge(ctx, user.ID, userkit.Entry{Amount: euro(1), Key: "beyond"})
			})
			release()
			require.NoError(t, receive(t, first, "the first caller").err)
			made := receive(t, refills[0], "a refill")
			require.NoError(t, made.err)
			require.Equal(t, made, receive(t, refills[1], "its repetition"))
			requireCode(t, receive(t, refills[2], "other content").err, userkit.ErrInvalid, userkit.CodeKeyReused)
			require.Equal(t, made, receive(t, refills[3], "its repetition"))
			require.NoError(t, receive(t, charge, "the charge").err)
			requireCode(t, receive(t, beyond, "one more charge").err, userkit.ErrRefused, userkit.CodeInsufficientBalance)
			sound.requireBalance(t, user.ID, 0)
			sound.requireLedger(t, user.ID)
		}},
		{"a value that is taken fails its own change, not those of the user's batch", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			sound.signUp(t, func(user *userkit.NewUser) { user.Login = "taken" })
			user := sound.signUp(t)
			release := store.hold()
			defer release()
			first := call(t.Context(), broken, user.ID, "first")
			receive(t, store.waiting, "the first caller loads")
			var refills []<-chan outcome
			var edits []<-chan answer[userkit.User]
			for i := range 9 {
				refills = append(refills, queued(t, func(ctx context.Context) (userkit.Transaction, error) {
					return broken.Refill(ctx, user.ID, userkit.Entry{Amount: euro(10), Key: fmt.Sprint("key ", i)})
				}))
				login := "taken"
				if i == 4 {
					login = "free"
				}
				edits = append(edits, queued(t, func(ctx context.Context) (userkit.User, error) {
					return broken.UpdateUser(ctx, user.ID, userkit.UserPatch{Login: userkit.Set(login)})
				}))
			}
			release()
			require.NoError(t, receive(t, first, "the first caller").err)
			for i := range 9 {
				require.NoError(t, receive(t, refills[i], "a refill").err)
				edit := receive(t, edits[i], "an edit")
				if i == 4 {
					require.NoError(t, edit.err)
				} else {
					requireExists(t, edit.err, userkit.CodeLoginTaken, "login")
				}
			}
			require.Equal(t, "free", sound.user(t, user.ID).Login)
			sound.requireBalance(t, user.ID, 100)
			sound.requireLedger(t, user.ID)
		}},
		{"a user can be created and deleted in one batch, in this order and in the other", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			for _, createFirst := range []bool{true, false} {
				release := store.hold()
				defer release()
				id := userkit.NewID[userkit.User]()
				first := call(t.Context(), broken, id, "first")
				receive(t, store.waiting, "the first caller loads")
				var created <-chan answer[userkit.User]
				var deleted <-chan answer[userkit.Erasure]
				create := func() {
					created = queued(t, func(ctx context.Context) (userkit.User, error) {
						return broken.CreateUser(ctx, userkit.NewUser{ID: id})
					})
				}
				remove := func() {
					deleted = queued(t, func(ctx context.Context) (userkit.Erasure, error) {
						return broken.DeleteUser(ctx, id, id.String())
					})
				}
				if createFirst {
					create()
					remove()
				} else {
					remove()
					create()
				}
				release()
				requireCode(t, receive(t, first, "the first caller").err, userkit.ErrNotFound, userkit.CodeUserNotFound)
				require.NoError(t, receive(t, created, "the creation").err)
				if err := receive(t, deleted, "the deletion").err; createFirst {
					require.NoError(t, err)
					require.Zero(t, sound.countUsers(t))
					require.Equal(t, []userkit.EventName{userkit.EventUserDeleted}, eventNames(sound.events(t, id)))
				} else {
					requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
					require.EqualValues(t, 1, sound.countUsers(t))
				}
			}
		}},
		{"a device can be replaced by another of its hardware id in one batch", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			user := sound.signUp(t, withLicense(oneDevice))
			device := sound.register(t, user.ID, userkit.NewDevice{HardwareID: "hw"})
			release := store.hold()
			defer release()
			first := call(t.Context(), broken, user.ID, "first")
			receive(t, store.waiting, "the first caller loads")
			deleted := queued(t, func(ctx context.Context) (userkit.Device, error) { return broken.DeleteDevice(ctx, device.ID) })
			registered := queued(t, func(ctx context.Context) (userkit.Device, error) {
				return broken.RegisterDevice(ctx, user.ID, userkit.NewDevice{HardwareID: "hw"})
			})
			release()
			require.NoError(t, receive(t, first, "the first caller").err)
			require.NoError(t, receive(t, deleted, "the deletion").err)
			next := receive(t, registered, "the registration")
			require.NoError(t, next.err)
			require.NotEqual(t, device.ID, next.value.ID)
			require.Equal(t, next.value.ID, sound.authenticate(t, next.value.AccessToken).Device.ID)
			sound.requireInvalidToken(t, device.AccessToken)
			sound.requireCounters(t, user.ID)
		}},
		{"a deletion's receipt counts what came before it, in its own batch too", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			user := sound.signUp(t)
			release := store.hold()
			defer release()
			first := call(t.Context(), broken, user.ID, "first")
			receive(t, store.waiting, "the first caller loads")
			var refills []<-chan outcome
			var deleted <-chan answer[userkit.Erasure]
			for i := range 6 {
				if i == 3 {
					deleted = queued(t, func(ctx context.Context) (userkit.Erasure, error) {
						return broken.DeleteUser(ctx, user.ID, user.ID.String())
					})
				}
				refills = append(refills, queued(t, func(ctx context.Context) (userkit.Transaction, error) {
					return broken.Refill(ctx, user.ID, userkit.Entry{Amount: euro(10), Key: fmt.Sprint("key ", i)})
				}))
			}
			release()
			require.NoError(t, receive(t, first, "the first caller").err)
			receipt := receive(t, deleted, "the deletion")
			require.NoError(t, receipt.err)
			for i, refill := range refills {
				if err := receive(t, refill, "a refill").err; i < 3 {
					require.NoError(t, err)
				} else {
					requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
				}
			}
			requireRowCounts(t, map[string]int{userkit.RowsTransactions: 4, userkit.RowsEvents: 5}, receipt.value.Rows)
			require.Equal(t, []userkit.EventName{userkit.EventUserDeleted}, eventNames(sound.events(t, user.ID)))
		}},
		{"is emptied by Close, which refuses who comes later", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t)
			user := sound.signUp(t)
			release := store.hold()
			defer release()
			first := call(t.Context(), broken, user.ID, "first")
			receive(t, store.waiting, "the first caller loads")
			closed := make(chan error, 1)
			go func() { closed <- broken.Close(context.Background()) }()
			for until := time.Now().Add(deadline); ; {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				_, err := broken.RecordEvent(ctx, user.ID, userkit.NewEvent{Name: "host.late"})
				cancel()
				if userkit.ErrorCode(err) == userkit.CodeClosed {
					break
				}
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.True(t, time.Now().Before(until), "Close does not refuse callers while it waits")
			}
			select {
			case err := <-closed:
				require.Fail(t, "Close did not wait for the change under way", "%v", err)
			default:
			}
			release()
			require.NoError(t, receive(t, closed, "Close"))
			sound.requireBalance(t, user.ID, 10)
			require.NoError(t, receive(t, first, "the first caller").err)
			_, err := broken.Refill(t.Context(), user.ID, userkit.Entry{Amount: euro(1), Key: "late"})
			requireCode(t, err, userkit.ErrUnavailable, userkit.CodeClosed)
		}},
	}
}
