package storetest

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// writeFaults has, for each method of Store that writes and is no commit of a change, what
// becomes of a call whose answer is lost, or that did not come through. faulty makes the calls,
// sound is beside it, and neither forgets what has happened. TestEveryWriteHasFaults demands a
// row for each.
var writeFaults = map[string]func(t *testing.T, faulty *desk, store *faultyStore, sound *desk, planned fault){
	"CommitEvent":     refusalThroughFaults,
	"DeleteExpired":   retentionThroughFaults,
	"LeaseDuty":       dutyThroughFaults,
	"LeasePurchases":  purchasesThroughFaults,
	"LeaseDeliveries": deliveriesThroughFaults,
}

// changeFaults are the groups of cases of the methods that commit changes.
var changeFaults = map[string]string{"Commit": "LostAnswer", "CommitTogether": "Subjects", "CommitSegment": "Subjects"}

func writeCases() []testCase {
	options := []userkit.Option{
		userkit.WithRetention(userkit.RetentionRule{Kind: userkit.RowsSessions, Keep: userkit.Duration(24 * time.Hour)}),
		userkit.WithVerifiers(till{}), userkit.WithVerificationRate(10_000),
		userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{"": &pushService{}}),
		// Retention leaves to its next hour what is being changed, and so the session that is still
		// open must not be closed beside it.
		userkit.WithStaleAfter(1000 * time.Hour),
	}
	var cases []testCase
	for _, method := range slices.Sorted(maps.Keys(writeFaults)) {
		for name, planned := range map[string]fault{"did not come through": failBefore, "lost its answer": failAfter} {
			cases = append(cases, testCase{method + ": a call that " + name + " counts once", func(t *testing.T, env env) {
				broken, store, sound := env.faulty(t, options...)
				writeFaults[method](t, broken, store, sound.beside(t, env.second(t), options...), planned)
				require.Equal(t, method, receive(t, store.failed, "the fault came to pass"))
			}})
		}
	}
	return cases
}

// refusalThroughFaults: the event of a refusal is recorded, once.
func refusalThroughFaults(t *testing.T, _ *desk, store *faultyStore, sound *desk, planned fault) {
	refusing := sound.beside(t, store, userkit.WithAuthorizer(userkit.AuthorizerFunc(
		func(context.Context, userkit.AuthorizationRequest) (userkit.Authorization, error) {
			return userkit.Authorization{}, nil
		})))
	store.failing("CommitEvent", planned)
	_, err := refusing.Segments(userkit.WithActor(t.Context(), administrator), userkit.SegmentQuery{})
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeNotAllowed)
	page, err := sound.Events(t.Context(), userkit.EventQuery{EventFilter: userkit.EventFilter{Name: userkit.EventAccessRefused}})
	require.NoError(t, err)
	require.Len(t, page.Items, 1)
}

// oldSessions makes sessions of a user that are over, and one that is not, and lets time pass.
func oldSessions(t *testing.T, d *desk) (userkit.User, userkit.Session) {
	t.Helper()
	user := d.signUp(t)
	for range 3 {
		d.end(t, d.connect(t, user.ID, userkit.DeviceID{}).ID)
	}
	d.clock.Advance(48 * time.Hour)
	return user, d.connect(t, user.ID, userkit.DeviceID{})
}

// retentionThroughFaults: the call says that it failed, and the next one does what is left.
func retentionThroughFaults(t *testing.T, broken *desk, store *faultyStore, sound *desk, planned fault) {
	user, young := oldSessions(t, sound)
	store.failing("DeleteExpired", planned)
	_, err := broken.ApplyRetention(t.Context())
	requireCode(t, err, userkit.ErrUnavailable, userkit.CodeStoreUnavailable)
	if planned == failBefore {
		require.Len(t, sound.sessions(t, user.ID), 4)
	}
	_, err = broken.ApplyRetention(t.Context())
	require.NoError(t, err)
	left := sound.sessions(t, user.ID)
	require.Len(t, left, 1)
	require.Equal(t, young.ID, left[0].ID)
}

// dutyThroughFaults: a process that does not know whether it has the duty does not do it, and
// the next to ask does, when the lease that nobody knows of is over.
func dutyThroughFaults(t *testing.T, broken *desk, store *faultyStore, sound *desk, planned fault) {
	user, young := oldSessions(t, sound)
	store.failing("LeaseDuty", planned)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = broken.Run(ctx) }) // ends with the context
	name := receive(t, store.failed, "the fault came to pass")
	store.failed <- name
	require.Len(t, sound.sessions(t, user.ID), 4)
	sound.clock.Advance(2 * time.Hour)
	running.Go(func() { _ = sound.Run(ctx) })
	for len(sound.sessions(t, user.ID)) > 1 {
		time.Sleep(time.Millisecond)
	}
	require.Equal(t, young.ID, sound.sessions(t, user.ID)[0].ID)
}

// purchasesThroughFaults: purchases whose lease nobody knows of are verified when it is over.
func purchasesThroughFaults(t *testing.T, broken *desk, store *faultyStore, sound *desk, planned fault) {
	user := sound.signUp(t)
	purchase, err := sound.SubmitPurchase(t.Context(), user.ID, userkit.Receipt{Store: tillName, Token: "1000"})
	require.NoError(t, err)
	sound.clock.Set(purchase.DueAt.Add(time.Second))
	store.failing("LeasePurchases", planned)
	_, err = broken.VerifyDuePurchases(t.Context())
	requireCode(t, err, userkit.ErrUnavailable, userkit.CodeStoreUnavailable)
	sound.clock.Advance(10 * time.Minute)
	report, err := sound.VerifyDuePurchases(t.Context())
	require.NoError(t, err)
	require.Equal(t, userkit.VerificationReport{Verified: 1}, report)
}

// deliveriesThroughFaults: deliveries whose lease nobody knows of are made when it is over.
func deliveriesThroughFaults(t *testing.T, broken *desk, store *faultyStore, sound *desk, planned fault) {
	user := sound.signUp(t)
	sound.register(t, user.ID, userkit.NewDevice{PushToken: "token"})
	sound.send(t, user.ID, userkit.NewMessage{Body: "Hello"})
	store.failing("LeaseDeliveries", planned)
	_, err := broken.DeliverDueMessages(t.Context())
	requireCode(t, err, userkit.ErrUnavailable, userkit.CodeStoreUnavailable)
	sound.clock.Advance(3 * time.Minute)
	sound.deliver(t, userkit.DeliveryReport{Delivered: 1})
}
