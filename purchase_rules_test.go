package userkit

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPurchaseIsVerifiedAgainOnTime(t *testing.T) {
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		purchase Purchase
		due      time.Duration // from noon; 0: not by itself
	}{
		"active without an end":       {Purchase{Active: true}, day},
		"active with an end far away": {Purchase{Active: true, ExpiresAt: noon.Add(30 * day)}, day},
		"active and soon over":        {Purchase{Active: true, ExpiresAt: noon.Add(time.Hour)}, time.Hour + time.Minute},
		"good beyond its end":         {Purchase{Active: true, ExpiresAt: noon.Add(-time.Hour)}, time.Minute},
		"expired":                     {Purchase{Reason: ReasonExpired, ExpiresAt: noon}, 0},
		"revoked":                     {Purchase{Reason: ReasonRevoked, ExpiresAt: noon}, 0},
		"taken away":                  {Purchase{Reason: ReasonDeactivated, ExpiresAt: noon}, 0},
		"unpaid":                      {Purchase{Reason: ReasonUnpaid, ExpiresAt: noon.Add(-time.Hour)}, day},
		"paused for three months":     {Purchase{Reason: ReasonPaused, ExpiresAt: noon.Add(-93 * day)}, day},
		"paused for too long":         {Purchase{Reason: ReasonPaused, ExpiresAt: noon.Add(-101 * day)}, 0},
		"unpaid for too long":         {Purchase{Reason: ReasonUnpaid, ExpiresAt: noon.Add(-61 * day)}, 0},
		"pending":                     {Purchase{Reason: ReasonPending, CreatedAt: noon}, day},
		"pending for ever":            {Purchase{Reason: ReasonPending, CreatedAt: noon.Add(-61 * day)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			due := c.purchase.nextDue(noon, 0)
			if c.due == 0 {
				require.Zero(t, due)
				return
			}
			require.Equal(t, noon.Add(c.due), due)
			early := c.purchase.nextDue(noon, 1)
			require.False(t, early.Before(noon.Add(time.Minute)))
			require.WithinDuration(t, due, early, day/10)
		})
	}
}

func TestUndecidedBacksOff(t *testing.T) {
	v := verification{verdict: Undecided(errors.New("down"), time.Time{})}
	before := time.Duration(0)
	for tries := 1; tries < 100; tries++ {
		wait := v.retryAt(tries, noon).Sub(noon)
		require.GreaterOrEqual(t, wait, before)
		require.LessOrEqual(t, wait, longestBackOff)
		before = wait
	}
	require.Equal(t, longestBackOff, before)
	require.Equal(t, noon.Add(time.Minute), v.retryAt(1, noon))
	v.verdict.RetryAt = noon.Add(time.Hour)
	require.Equal(t, noon.Add(time.Hour), v.retryAt(1, noon))
	v.verdict.RetryAt = noon.AddDate(1, 0, 0)
	require.Equal(t, noon.Add(longestRetryAt), v.retryAt(1, noon))
}

func TestUndecidedChangesNothingButWhenItIsAskedAgain(t *testing.T) {
	before := Purchase{
		ID: PurchaseID{15: 1}, Store: "shop", StableID: "s", Active: true, ExpiresAt: noon.Add(-time.Hour), FactsAt: noon, VerifiedAt: noon,
		LeasedUntil: noon.Add(time.Minute),
	}
	after := verification{verdict: Undecided(nil, time.Time{})}.become(before, noon, false)
	require.Equal(t, 1, after.Undecided)
	require.Equal(t, noon.Add(time.Minute), after.DueAt)
	after.Undecided, after.DueAt, after.LeasedUntil = 0, time.Time{}, before.LeasedUntil
	require.Equal(t, before, after)
}

func TestOlderFactsOverwriteNothing(t *testing.T) {
	before := Purchase{Store: "shop", StableID: "s", TransactionID: "new", Active: true, FactsAt: noon, ExpiresAt: noon.Add(time.Hour)}
	old := PurchaseFacts{StableID: "s", TransactionID: "old", At: noon.Add(-time.Second), ExpiresAt: noon}
	for _, verdict := range []Verdict{Valid(old), Invalid(ReasonExpired, old)} {
		after := verification{verdict: verdict}.become(before, noon.Add(time.Minute), false)
		require.Equal(t, "new", after.TransactionID)
		require.True(t, after.Active)
		require.Equal(t, noon, after.FactsAt)
		require.Equal(t, noon.Add(time.Minute), after.VerifiedAt)
	}
}

func TestPurchaseOfAnotherUserIsRefused(t *testing.T) {
	for stranger, outcome := range map[bool]VerdictOutcome{false: VerdictValid, true: VerdictInvalid} {
		v := verification{verdict: Valid(PurchaseFacts{StableID: "s", Environment: Production})}.judge(false, stranger)
		require.Equal(t, outcome, v.verdict.Outcome)
		if stranger {
			require.Equal(t, ReasonAccount, v.verdict.Reason)
		}
	}
	sandbox := verification{verdict: Valid(PurchaseFacts{StableID: "s", Environment: Sandbox})}
	require.Equal(t, ReasonEnvironment, sandbox.judge(false, false).verdict.Reason)
	require.Equal(t, VerdictValid, sandbox.judge(true, false).verdict.Outcome)
}

func TestWhatAVerifierMustNotReturnIsUndecided(t *testing.T) {
	good := PurchaseFacts{StableID: "s"}
	with := func(change func(*PurchaseFacts)) PurchaseFacts {
		facts := good
		change(&facts)
		return facts
	}
	for name, verdict := range map[string]Verdict{
		"nothing":           {},
		"no stable id":      Valid(PurchaseFacts{}),
		"no reason":         Invalid("", good),
		"a long id":         Valid(with(func(f *PurchaseFacts) { f.StableID = strings.Repeat("x", MaxPurchaseID+1) })),
		"a control sign":    Valid(with(func(f *PurchaseFacts) { f.ProductID = "a\x00" })),
		"a far time":        Valid(with(func(f *PurchaseFacts) { f.ExpiresAt = time.Date(20_000, 1, 1, 0, 0, 0, 0, time.UTC) })),
		"no JSON":           Valid(with(func(f *PurchaseFacts) { f.Raw = []byte("{") })),
		"much JSON":         Valid(with(func(f *PurchaseFacts) { f.Raw = []byte(`"` + strings.Repeat("x", MaxPurchaseRaw) + `"`) })),
		"an environment":    Valid(with(func(f *PurchaseFacts) { f.Environment = "moon" })),
		"a very long token": Valid(with(func(f *PurchaseFacts) { f.Token = strings.Repeat("x", MaxReceipt+1) })),
	} {
		checked := verdict.check()
		require.Equal(t, VerdictUndecided, checked.Outcome, name)
		require.Error(t, checked.Err, name)
	}
	checked := Valid(with(func(f *PurchaseFacts) { f.Raw = []byte(`{ "a": 1.50 }`) })).check()
	require.Equal(t, VerdictValid, checked.Outcome)
	require.Equal(t, Production, checked.Facts.Environment)
	require.JSONEq(t, `{"a":1.50}`, string(checked.Facts.Raw))
}

func TestAccountTellsWhenTheLastPurchaseEnds(t *testing.T) {
	state := &State{Purchases: []Purchase{
		{ID: PurchaseID{15: 1}, Active: true, ExpiresAt: noon},
		{ID: PurchaseID{15: 2}, Active: true, ExpiresAt: noon.Add(time.Hour)},
		{ID: PurchaseID{15: 3}, ExpiresAt: noon.Add(2 * time.Hour)},
	}}
	var c Change
	c.countPurchases(state, time.Minute)
	require.Equal(t, 2, c.Account.ActivePurchases)
	require.Equal(t, noon.Add(time.Hour+time.Minute), c.Account.PurchasesEndAt)
	require.True(t, c.Account.Subscribed(noon.Add(time.Hour)))
	require.False(t, c.Account.Subscribed(c.Account.PurchasesEndAt))

	c.Purchases.Insert = []Purchase{{ID: PurchaseID{15: 4}, Active: true}}
	c.countPurchases(state, time.Minute)
	require.Equal(t, 3, c.Account.ActivePurchases)
	require.Zero(t, c.Account.PurchasesEndAt)
	require.True(t, c.Account.Subscribed(noon.AddDate(100, 0, 0)))
	require.False(t, Account{}.Subscribed(noon))
}

func TestNotificationIsKnownByItsEvent(t *testing.T) {
	one := notificationEvent("shop", "1", PurchaseID{15: 1})
	require.Equal(t, one, notificationEvent("shop", "1", PurchaseID{15: 1}))
	require.NotEqual(t, one, notificationEvent("shop", "2", PurchaseID{15: 1}))
	require.NotEqual(t, one, notificationEvent("other", "1", PurchaseID{15: 1}))
	require.NotEqual(t, one, notificationEvent("shop", "1", PurchaseID{15: 2}))
	require.EqualValues(t, 8, one[6]>>4)
}

func TestReceiptsThatWaitAreBounded(t *testing.T) {
	state := &State{Exists: true, User: User{ID: UserID{15: 1}}}
	for i := range MaxWaitingReceipts + 1 {
		v := verification{receipt: Receipt{Store: "shop", Token: string(rune('a' + i))}, verdict: Undecided(nil, noon)}
		purchase, c, err := v.apply(state, testOrigin(noon), PurchaseID{}, NewID[Purchase](), false)
		if i == MaxWaitingReceipts {
			require.Equal(t, CodePurchaseUndecided, ErrorCode(err))
			return
		}
		require.NoError(t, err)
		require.Equal(t, ReasonUndecided, purchase.Reason)
		state.apply(c)
	}
}

func TestReceiptThatNobodyEverKnewIsGivenUp(t *testing.T) {
	waits := Purchase{Reason: ReasonUndecided, CreatedAt: noon}
	v := verification{verdict: Undecided(nil, time.Time{})}
	require.NotZero(t, v.become(waits, noon.Add(verifyLostFor), false).DueAt)
	require.Zero(t, v.become(waits, noon.Add(verifyLostFor+time.Second), false).DueAt)
	known := Purchase{Active: true, CreatedAt: noon}
	require.NotZero(t, v.become(known, noon.AddDate(1, 0, 0), false).DueAt)
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
