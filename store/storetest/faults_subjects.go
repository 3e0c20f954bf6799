package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// till is a verifier that finds every receipt good. The token is the stable id.
type till struct{}

const tillName = "till"

func (till) Store() string { return tillName }

func (till) Verify(_ context.Context, receipt userkit.Receipt) userkit.Verdict {
	return userkit.Valid(userkit.PurchaseFacts{
		StableID: receipt.Token, TransactionID: receipt.Token, ProductID: "pro", Environment: userkit.Production,
		PurchasedAt: base, ExpiresAt: base.Add(30 * 24 * time.Hour), At: base,
	})
}

// subjectCall is a change of something else than one user, on a store that fails, and
// a check of what became of it: it was made, and made once.
type subjectCall struct {
	name string
	make func(t *testing.T, broken, sound *desk, begin func()) // begin begins the faults
}

func subjectCalls() []subjectCall {
	segment := func(t *testing.T, sound *desk, id userkit.SegmentID) userkit.Segment {
		t.Helper()
		segment, err := sound.Segment(t.Context(), id)
		require.NoError(t, err)
		return segment
	}
	// told demands that exactly one event of no user tells of a change of a segment.
	// It asks for the list of events: the feed may have to wait for others.
	told := func(t *testing.T, sound *desk, name userkit.EventName, id userkit.SegmentID) {
		t.Helper()
		page, err := sound.Events(t.Context(), userkit.EventQuery{EventFilter: userkit.EventFilter{Name: name}})
		require.NoError(t, err)
		require.Len(t, page.Items, 1)
		require.Contains(t, string(page.Items[0].Data), id.String())
	}
	return []subjectCall{
		{"a transfer of a purchase", func(t *testing.T, broken, sound *desk, begin func()) {
			old, next, other := sound.signUp(t), sound.signUp(t), sound.signUp(t)
			receipt := userkit.Receipt{Store: tillName, Token: "1000"}
			bought, err := sound.SubmitPurchase(t.Context(), old.ID, receipt)
			require.NoError(t, err)
			beside := sound.picture(t, other.ID)
			begin()
			var moved userkit.Purchase
			var lost []userkit.Event
			given := sound.eventsDuring(t, next.ID, func() {
				lost = sound.eventsDuring(t, old.ID, func() {
					moved, err = broken.SubmitPurchase(t.Context(), next.ID, receipt)
				})
			})
			require.NoError(t, err)
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseSubmitted}, eventNames(given))
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseTransferred}, eventNames(lost))
			require.NotEqual(t, bought.ID, moved.ID)
			requirePurchasesOf(t, sound.store, tillName, "1000", moved)
			require.Zero(t, sound.user(t, old.ID).ActivePurchases)
			require.Equal(t, 1, sound.user(t, next.ID).ActivePurchases)
			require.Equal(t, beside, sound.picture(t, other.ID))
		}},
		{"CreateSegment", func(t *testing.T, broken, sound *desk, begin func()) {
			begin()
			created, err := broken.CreateSegment(t.Context(), userkit.NewSegment{Name: "drivers"})
			require.NoError(t, err)
			require.Equal(t, created, segment(t, sound, created.ID))
			told(t, sound, userkit.EventSegmentCreated, created.ID)
		}},
		{"CreateSegment with an id of the host", func(t *testing.T, broken, sound *desk, begin func()) {
			begin()
			id := userkit.NewID[userkit.Segment]()
			created, err := broken.CreateSegment(t.Context(), userkit.NewSegment{ID: id, Name: "drivers"})
			require.NoError(t, err)
			require.Equal(t, id, created.ID)
			require.Equal(t, created, segment(t, sound, id))
			told(t, sound, userkit.EventSegmentCreated, id)
		}},
		{"UpdateSegment", func(t *testing.T, broken, sound *desk, begin func()) {
			made, err := sound.CreateSegment(t.Context(), userkit.NewSegment{Name: "drivers"})
			require.NoError(t, err)
			begin()
			updated, err := broken.UpdateSegment(t.Context(), made.ID, userkit.SegmentPatch{Name: userkit.Set("pilots"), Revision: made.Revision})
			require.NoError(t, err)
			require.Equal(t, made.Revision+1, updated.Revision)
			require.Equal(t, updated, segment(t, sound, made.ID))
			told(t, sound, userkit.EventSegmentUpdated, made.ID)
		}},
		{"FreezeSegment", func(t *testing.T, broken, sound *desk, begin func()) {
			for range 3 {
				sound.signUp(t)
			}
			rule, err := userkit.ParseFilter(`status eq "active"`)
			require.NoError(t, err)
			made, err := sound.CreateSegment(t.Context(), userkit.NewSegment{Name: "drivers", Rule: rule})
			require.NoError(t, err)
			members, err := sound.CountUsers(t.Context(), userkit.UserFilter{Segment: made.ID})
			require.NoError(t, err)
			require.Positive(t, members)
			begin()
			frozen, count, err := broken.FreezeSegment(t.Context(), made.ID)
			require.NoError(t, err)
			require.Equal(t, members, count)
			require.False(t, frozen.IsRule())
			require.Equal(t, frozen, segment(t, sound, made.ID))
			told(t, sound, userkit.EventSegmentFrozen, made.ID)
		}},
		{"DeleteSegment", func(t *testing.T, broken, sound *desk, begin func()) {
			made, err := sound.CreateSegment(t.Context(), userkit.NewSegment{Name: "drivers"})
			require.NoError(t, err)
			begin()
			require.NoError(t, broken.DeleteSegment(t.Context(), made.ID))
			_, err = sound.Segment(t.Context(), made.ID)
			requireCode(t, err, userkit.ErrNotFound, userkit.CodeSegmentNotFound)
			told(t, sound, userkit.EventSegmentDeleted, made.ID)
		}},
	}
}

// subjectCases say that what changes several users, or a segment, goes through
// faults and conflicts as what changes one user does.
func subjectCases() []testCase {
	options := []userkit.Option{
		userkit.WithVerifiers(till{}), userkit.WithVerificationRate(10_000), userkit.WithPurchasePolicy(userkit.PurchaseTransfer),
	}
	// each makes a call under a plan of faults, with what is read afterwards read
	// through another handle, as another process would.
	each := func(call subjectCall, faults ...fault) func(t *testing.T, env env) {
		return func(t *testing.T, env env) {
			broken, store, _ := env.faulty(t, options...)
			sound := broken.beside(t, env.second(t), options...)
			call.make(t, broken, sound, func() { store.first(faults...) })
			require.GreaterOrEqual(t, store.count(), len(faults), "the faults came to pass")
		}
	}
	var cases []testCase
	for _, call := range subjectCalls() {
		cases = append(cases,
			testCase{call.name + ": a commit that failed is made again, once", each(call, failBefore)},
			testCase{call.name + ": a commit whose answer was lost is not made again, and its caller gets its result", each(call, failAfter)},
			testCase{call.name + ": a commit that failed and one whose answer was lost count once together", each(call, failBefore, failAfter)},
			testCase{call.name + ": an answer that is lost after a conflict counts once", each(call, conflict, failAfter)},
		)
	}
	return append(cases,
		testCase{"an outage is told after a bounded number of tries", func(t *testing.T, env env) {
			broken, store, sound := env.faulty(t, options...)
			store.plan(func(int, userkit.Change) fault { return failBefore }, nil)
			_, err := broken.CreateSegment(t.Context(), userkit.NewSegment{Name: "drivers"})
			requireCode(t, err, userkit.ErrUnavailable, userkit.CodeStoreUnavailable)
			require.Less(t, store.count(), 100)
			store.heal()
			page, err := sound.Segments(t.Context(), userkit.SegmentQuery{})
			require.NoError(t, err)
			require.Empty(t, page.Items)
		}},
		testCase{"many processes that change one segment lose no change", func(t *testing.T, env env) {
			first := env.desk(t)
			second := first.beside(t, env.second(t))
			made, err := first.CreateSegment(t.Context(), userkit.NewSegment{Name: "drivers"})
			require.NoError(t, err)
			answers := together(20, func(i int) (userkit.Segment, error) {
				return []*desk{first, second}[i%2].UpdateSegment(t.Context(), made.ID, userkit.SegmentPatch{Name: userkit.Set(string(rune('a' + i)))})
			})
			values(t, answers)
			last, err := second.Segment(t.Context(), made.ID)
			require.NoError(t, err)
			require.Equal(t, made.Revision+20, last.Revision)
		}},
	)
}
