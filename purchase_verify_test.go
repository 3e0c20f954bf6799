package userkit

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStoresAreAskedAtTheirPace(t *testing.T) {
	p := newPace(1.0 / 3600)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	user := UserID{15: 1}
	require.NoError(t, p.wait(t.Context(), "shop", submissions, user))
	require.NoError(t, p.wait(t.Context(), "shop", submissions, user))
	require.NoError(t, p.wait(t.Context(), "another shop", submissions, user))
	require.ErrorIs(t, p.wait(ended, "shop", submissions, user), context.Canceled)
	// The other shares are not used up.
	require.NoError(t, p.wait(t.Context(), "shop", dueWork, user))
	require.NoError(t, p.wait(t.Context(), "shop", notifications, user))
}

func TestWhoGivesUpKeepsNoTurn(t *testing.T) {
	s := newTurnstile(1.0/3600, 1)
	require.NoError(t, s.wait(t.Context(), nil))
	for range 500 {
		impatient, cancel := context.WithCancel(t.Context())
		time.AfterFunc(0, cancel)
		require.ErrorIs(t, s.wait(impatient, nil), context.Canceled)
	}
	require.Greater(t, s.limiter.Tokens(), -0.5, "the next turn is as near as before")
}

func TestOneUserHasAShareOfTheTurns(t *testing.T) {
	c := newPace(1.0 / 3600).at("shop")
	one := c.user(UserID{15: 1})
	for range userBurst {
		require.NoError(t, one.wait(t.Context(), nil))
	}
	require.Less(t, one.limiter.Tokens(), 1.0)
	require.Same(t, one, c.user(UserID{15: 1}))
	require.InDelta(t, userBurst, c.user(UserID{15: 2}).limiter.Tokens(), 0.01)
	for n := range 2 * maxUsers {
		c.user(UserID{14: byte(n), 13: byte(n >> 8), 12: 1})
	}
	require.LessOrEqual(t, len(c.users), maxUsers+1)
	require.Same(t, one, c.user(UserID{15: 1}), "who has used up a share is not forgotten")
}

func TestStoreThatKnowsNothingAnyMoreIsMisconfigured(t *testing.T) {
	c := &witness{}
	says := func(n byte, unknown bool) { c.note(PurchaseID{15: n}, unknown, noon) }
	for n := range byte(4) {
		says(n, false)
	}
	for n := range byte(2) {
		says(n, true)
	}
	is, _ := c.misconfigured(noon)
	require.False(t, is, "half")
	says(2, true)
	is, alarm := c.misconfigured(noon)
	require.True(t, is)
	require.True(t, alarm)
	is, alarm = c.misconfigured(noon.Add(time.Minute))
	require.True(t, is)
	require.False(t, alarm, "once an hour")
	is, _ = c.misconfigured(noon.Add(answersFor + time.Second))
	require.False(t, is, "a day later nothing of it counts")
	for n := range byte(3) {
		says(n, false)
	}
	is, _ = c.misconfigured(noon)
	require.False(t, is, "the key is right again")
	for n := range 2 * maxAnswers {
		c.note(PurchaseID{14: byte(n), 13: byte(n >> 8)}, false, noon.Add(time.Duration(n)))
	}
	require.LessOrEqual(t, len(c.said), maxAnswers)
}

func TestUnknownPurchaseIsAskedAboutAgain(t *testing.T) {
	v := verification{verdict: Invalid(ReasonNotFound, PurchaseFacts{}), grace: time.Hour}
	for name, c := range map[string]struct {
		before Purchase
		active bool
		reason PurchaseReason
		due    bool
	}{
		"active":                     {Purchase{Active: true, ExpiresAt: noon.Add(time.Hour)}, true, "", true},
		"active for ever":            {Purchase{Active: true, CreatedAt: noon.AddDate(-1, 0, 0)}, true, "", true},
		"in its grace":               {Purchase{Active: true, ExpiresAt: noon.Add(-time.Minute)}, true, "", true},
		"over":                       {Purchase{Active: true, ExpiresAt: noon.Add(-2 * time.Hour)}, false, ReasonNotFound, true},
		"over for long":              {Purchase{Active: true, ExpiresAt: noon.Add(-unknownFor)}, false, ReasonNotFound, false},
		"a receipt that waits":       {Purchase{Reason: ReasonUndecided, CreatedAt: noon}, false, ReasonNotFound, true},
		"a receipt from long ago":    {Purchase{Reason: ReasonUndecided, CreatedAt: noon.Add(-unknownFor)}, false, ReasonNotFound, false},
		"paused":                     {Purchase{Reason: ReasonPaused, ExpiresAt: noon}, false, ReasonPaused, true},
		"refunded":                   {Purchase{Reason: ReasonRevoked, ExpiresAt: noon}, false, ReasonRevoked, false},
		"taken away by somebody":     {Purchase{Reason: ReasonDeactivated, ExpiresAt: noon}, false, ReasonDeactivated, false},
		"unknown before, and asked":  {Purchase{Reason: ReasonNotFound, ExpiresAt: noon}, false, ReasonNotFound, true},
		"unknown before, for longer": {Purchase{Reason: ReasonNotFound, ExpiresAt: noon.Add(-unknownFor)}, false, ReasonNotFound, false},
	} {
		t.Run(name, func(t *testing.T) {
			after := v.become(c.before, noon, false)
			require.Equal(t, c.active, after.Active)
			require.Equal(t, c.reason, after.Reason)
			require.Equal(t, c.due, !after.DueAt.IsZero())
			require.Zero(t, after.VerifiedAt, "nothing was confirmed")
		})
	}
}

func TestFactsFromTheFutureKeepNothingOut(t *testing.T) {
	ahead := PurchaseFacts{StableID: "s", TransactionID: "1", At: noon.AddDate(0, 0, 1)}
	p := verification{verdict: Valid(ahead)}.become(Purchase{StableID: "s"}, noon, false)
	require.Equal(t, noon, p.FactsAt)
	later := PurchaseFacts{StableID: "s", TransactionID: "2", At: noon.Add(time.Minute)}
	require.Equal(t, "2", verification{verdict: Valid(later)}.become(p, noon.Add(time.Minute), false).TransactionID)
	p.FactsAt = noon.AddDate(1, 0, 0) // kept by an earlier version
	require.Equal(t, "2", verification{verdict: Valid(later)}.become(p, noon.Add(time.Minute), false).TransactionID)
}

func TestSpellingsOfAToken(t *testing.T) {
	require.Equal(t, []string{"customer 7"}, spellings("customer 7"))
	require.Equal(t, []string{
		"550E8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000", "550E8400-E29B-41D4-A716-446655440000",
		"550e8400e29b41d4a716446655440000", "550E8400E29B41D4A716446655440000",
	}, spellings("550E8400-e29b-41d4-a716-446655440000"))
}

type endingVerifier struct{ Verifier }

func (endingVerifier) Verify(context.Context, Receipt) Verdict { runtime.Goexit(); return Verdict{} }

// A verifier that ends its goroutine has not said anything, and nobody waits for it.
func TestVerifiersMayEndTheirGoroutine(t *testing.T) {
	verdict := ask(t.Context(), endingVerifier{}, Receipt{})
	require.Equal(t, VerdictUndecided, verdict.Outcome)
}
