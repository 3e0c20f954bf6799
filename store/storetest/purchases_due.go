package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// goesOnDue sets the clock to the moment at which a purchase is due, and verifies
// what is due then.
func (d *desk) goesOnDue(t *testing.T, id userkit.PurchaseID) userkit.VerificationReport {
	t.Helper()
	due := d.purchase(t, id).DueAt
	require.True(t, due.After(d.clock.Now()), "due at %s, not after %s", due, d.clock.Now())
	d.clock.Set(due.Add(-time.Microsecond))
	require.Zero(t, d.verifyDue(t), "nothing is due a moment before")
	d.clock.Set(due)
	return d.verifyDue(t)
}

// pausedUntil is the verdict on a purchase that its customer has paused.
func pausedUntil(facts userkit.PurchaseFacts) userkit.Verdict {
	return userkit.Invalid(userkit.ReasonPaused, facts)
}

// expiredFor is the verdict on a purchase that is over by itself for a while.
func expiredFor(facts userkit.PurchaseFacts) userkit.Verdict {
	return userkit.Invalid(userkit.ReasonExpired, facts)
}

func purchaseClockCases() []testCase {
	return []testCase{
		{"count until their expiration and the grace, while the store cannot be asked", func(t *testing.T, env env) {
			for name, grace := range map[string]time.Duration{"none": 0, "an hour": time.Hour, "a week": 7 * 24 * time.Hour} {
				s := newShop()
				d := openDesk(t, env.store, &manualClock{now: base}, nil, userkit.WithVerifiers(s), atOnce, userkit.WithPurchaseGrace(grace))
				user, err := d.CreateUser(t.Context(), userkit.NewUser{Login: name})
				require.NoError(t, err)
				bought := d.buy(t, s, user.ID, name)
				s.closes(time.Time{})
				end := bought.ExpiresAt.Add(grace)
				require.Equal(t, end, bought.EndsAt(grace))
				for _, moment := range []time.Time{bought.ExpiresAt.Add(-time.Microsecond), bought.ExpiresAt, end.Add(-time.Microsecond), end, end.Add(month)} {
					if moment.Before(d.clock.Now()) {
						continue
					}
					d.clock.Set(moment)
					d.verifyDue(t)
					purchase := d.purchase(t, bought.ID)
					require.True(t, purchase.Active, "only the store's word ends a purchase")
					require.Equal(t, moment.Before(end), purchase.ActiveAt(moment, grace))
					d.requireSubscribed(t, user.ID, moment.Before(end))
				}
				s.opens()
				d.clock.Advance(24 * time.Hour)
				s.says(name, userkit.Valid(d.monthly(name)))
				d.verifyDue(t)
				d.requireSubscribed(t, user.ID, true)
			}
		}},
		{"count as long as the last of them", func(t *testing.T, env env) {
			d, s := env.withShop(t, userkit.WithPurchaseGrace(0))
			user := d.signUp(t)
			buy := func(stableID string, lasts time.Duration) userkit.Purchase {
				facts := d.monthly(stableID)
				if facts.ExpiresAt = d.clock.Now().Add(lasts); lasts == 0 {
					facts.ExpiresAt = time.Time{}
				}
				s.says(stableID, userkit.Valid(facts))
				return d.submit(t, user.ID, stableID)
			}
			buy("long", 10*time.Hour)
			buy("short", time.Hour)
			require.Equal(t, at(36_000), d.user(t, user.ID).PurchasesEndAt)
			endless := buy("endless", 0)
			require.True(t, d.user(t, user.ID).PurchasesEndAt.IsZero())
			require.Equal(t, 3, d.user(t, user.ID).ActivePurchases)
			_, err := d.DeactivatePurchase(t.Context(), endless.ID)
			require.NoError(t, err)
			require.Equal(t, at(36_000), d.user(t, user.ID).PurchasesEndAt)
			d.clock.Advance(5 * time.Hour)
			d.requireSubscribed(t, user.ID, true)
			d.clock.Advance(5 * time.Hour)
			d.requireSubscribed(t, user.ID, false)
		}},
		{"are not ended by a store that is down for a day", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			var users []userkit.User
			for n := range 5 {
				user := d.signUp(t)
				users = append(users, user)
				facts := d.monthly(fmt.Sprint(n))
				facts.ExpiresAt = d.clock.Now().Add(time.Duration(20+5*n) * time.Hour)
				s.says(fmt.Sprint(n), userkit.Valid(facts))
				d.submit(t, user.ID, fmt.Sprint(n))
			}
			d.clock.Advance(19 * time.Hour)
			s.closes(time.Time{})
			for range 24 {
				d.clock.Advance(time.Hour)
				report := d.verifyDue(t)
				require.Zero(t, report.Ended)
				require.Zero(t, report.Verified)
				for n, user := range users {
					before := d.clock.Now().Before(base.Add(time.Duration(20+5*n+24) * time.Hour))
					d.requireSubscribed(t, user.ID, before)
					require.True(t, d.purchases(t, user.ID)[0].Active)
				}
			}
			require.NotZero(t, s.allAsked())
			s.opens()
			for n := range users {
				facts := d.monthly(fmt.Sprint(n))
				facts.TransactionID = "renewed"
				s.says(fmt.Sprint(n), userkit.Valid(facts))
			}
			d.clock.Advance(6 * time.Hour) // the longest that anything waits
			require.Equal(t, userkit.VerificationReport{Verified: len(users)}, d.verifyDue(t))
			for _, user := range users {
				d.requireSubscribed(t, user.ID, true)
				require.Equal(t, "renewed", d.purchases(t, user.ID)[0].TransactionID)
			}
		}},
	}
}

func verifyDueCases() []testCase {
	return []testCase{
		{"verifies an active purchase within a day of the last verification", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			for n := range 5 {
				before := d.clock.Now()
				events := d.eventsDuring(t, user.ID, func() {
					require.Equal(t, userkit.VerificationReport{Verified: 1}, d.goesOnDue(t, bought.ID))
				})
				require.Empty(t, events)
				between(t, d.clock.Now(), before.Add(21*time.Hour+36*time.Minute), before.Add(24*time.Hour))
				asked, _ := s.counts("1000")
				require.Equal(t, n+2, asked)
				require.Zero(t, d.verifyDue(t))
				require.Equal(t, d.clock.Now(), d.purchase(t, bought.ID).VerifiedAt)
			}
		}},
		{"verifies shortly after the expiration, and keeps the renewal", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			facts := d.monthly("1000")
			facts.ExpiresAt = base.Add(10 * time.Hour)
			s.says("1000", userkit.Valid(facts))
			bought := d.submit(t, user.ID, "1000")
			between(t, bought.DueAt, facts.ExpiresAt.Add(time.Minute), facts.ExpiresAt.Add(2*time.Minute))
			s.says("1000", userkit.Valid(func() userkit.PurchaseFacts {
				renewed := facts
				renewed.TransactionID, renewed.At = "1000-2", facts.ExpiresAt
				renewed.ExpiresAt = facts.ExpiresAt.Add(month)
				return renewed
			}()))
			events := d.eventsDuring(t, user.ID, func() {
				require.Equal(t, userkit.VerificationReport{Verified: 1}, d.goesOnDue(t, bought.ID))
			})
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseUpdated}, eventNames(events))
			renewed := d.purchase(t, bought.ID)
			require.Equal(t, "1000-2", renewed.TransactionID)
			require.True(t, renewed.Active)
			require.Equal(t, renewed.ExpiresAt.Add(24*time.Hour), d.user(t, user.ID).PurchasesEndAt)
		}},
		{"verifies soon again what the store calls good after its end", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			facts := d.monthly("1000")
			facts.ExpiresAt = base.Add(-time.Hour)
			s.says("1000", userkit.Valid(facts))
			bought := d.submit(t, user.ID, "1000")
			between(t, bought.DueAt, base.Add(time.Minute), base.Add(time.Hour))
			require.Equal(t, userkit.VerificationReport{Verified: 1}, d.goesOnDue(t, bought.ID))
			d.requireSubscribed(t, user.ID, true)
		}},
		{"ends what the store says is not good, and does not ask again", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			reasons := []userkit.PurchaseReason{
				userkit.ReasonExpired, userkit.ReasonRevoked, userkit.ReasonSuperseded, userkit.ReasonAccount, "sold out",
			}
			var bought []userkit.Purchase
			for _, reason := range reasons {
				bought = append(bought, d.buy(t, s, user.ID, string(reason)))
				s.says(string(reason), userkit.Invalid(reason, userkit.PurchaseFacts{}))
			}
			d.clock.Advance(24 * time.Hour)
			events := d.eventsDuring(t, user.ID, func() {
				require.Equal(t, userkit.VerificationReport{Ended: len(reasons)}, d.verifyDue(t))
			})
			require.Equal(t, slices.Repeat([]userkit.EventName{userkit.EventPurchaseDeactivated}, len(reasons)), eventNames(events))
			d.requireSubscribed(t, user.ID, false)
			for n, purchase := range bought {
				ended := d.purchase(t, purchase.ID)
				require.False(t, ended.Active)
				require.Equal(t, reasons[n], ended.Reason)
				require.True(t, ended.DueAt.IsZero())
			}
			asked := s.allAsked()
			for range 5 {
				d.clock.Advance(30 * 24 * time.Hour)
				require.Zero(t, d.verifyDue(t))
			}
			require.Equal(t, asked, s.allAsked())
		}},
		{"ends nothing that its store does not know before its time is over", func(t *testing.T, env env) {
			for _, reason := range []userkit.PurchaseReason{userkit.ReasonNotFound, userkit.ReasonForged, userkit.ReasonWrongApp} {
				s := newShop()
				d := openDesk(t, env.store, &manualClock{now: base}, nil, userkit.WithVerifiers(s), atOnce)
				user, err := d.CreateUser(t.Context(), userkit.NewUser{Login: "buyer of " + string(reason)})
				require.NoError(t, err)
				name := string(reason)
				bought := d.buy(t, s, user.ID, name)
				s.says(name, userkit.Invalid(reason, userkit.PurchaseFacts{}))
				for range 20 {
					require.Equal(t, userkit.VerificationReport{Undecided: 1}, d.goesOnDue(t, bought.ID))
					require.True(t, d.purchase(t, bought.ID).Active)
				}
				between(t, d.clock.Now(), base.Add(2*24*time.Hour), base.Add(10*24*time.Hour))
				require.True(t, d.submit(t, user.ID, name).Active)
				d.requireSubscribed(t, user.ID, true)

				// The right key is back: nobody has noticed.
				facts := d.monthly(name)
				facts.At = d.clock.Now()
				s.says(name, userkit.Valid(facts))
				require.Equal(t, userkit.VerificationReport{Verified: 1}, d.goesOnDue(t, bought.ID))

				s.says(name, userkit.Invalid(reason, userkit.PurchaseFacts{}))
				d.clock.Set(facts.ExpiresAt.Add(24 * time.Hour))
				d.requireSubscribed(t, user.ID, false)
				require.Equal(t, userkit.VerificationReport{Undecided: 1}, d.verifyDue(t))
				require.Equal(t, reason, d.purchase(t, bought.ID).Reason)
				require.False(t, d.purchase(t, bought.ID).DueAt.IsZero(), "it may be found again")
				_, err = d.DeactivatePurchase(t.Context(), bought.ID) // the next has the store for itself
				require.NoError(t, err)
			}
		}},
		{"takes a store that knows nothing any more for misconfigured, and changes nothing", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user, other := d.signUp(t), d.signUp(t)
			for n := range 5 {
				d.buy(t, s, user.ID, fmt.Sprint("known ", n))
				s.says(fmt.Sprint("known ", n), userkit.Invalid(userkit.ReasonNotFound, userkit.PurchaseFacts{}))
			}
			_, err := d.SubmitPurchase(t.Context(), other.ID, receiptOf("never heard of"))
			requireInvalid(t, err, userkit.ReasonNotFound)
			d.clock.Advance(24 * time.Hour)
			require.Equal(t, userkit.VerificationReport{Undecided: 5}, d.verifyDue(t))
			d.requireSubscribed(t, user.ID, true)
			waiting := d.submit(t, other.ID, "just bought")
			require.Equal(t, userkit.ReasonUndecided, waiting.Reason, "the receipt is kept until the key is right")
		}},
		{"is not held up by another store that hangs", func(t *testing.T, env env) {
			good := newShop()
			hanging := &hangingShop{shop: newShop(), asked: make(chan struct{}, 1000)}
			hanging.name = "hanging-shop"
			d := env.desk(t, userkit.WithVerifiers(hanging, good), atOnce)
			const backlog = 300 // more than are leased at once, and due before the other
			var user userkit.User
			for n := range backlog {
				if n%10 == 0 { // a change loads all purchases of its user
					user = d.signUp(t)
				}
				name := fmt.Sprint("hangs ", n)
				hanging.says(name, userkit.Valid(d.monthly(name)))
				_, err := d.SubmitPurchase(t.Context(), user.ID, userkit.Receipt{Store: hanging.name, Token: name})
				require.NoError(t, err)
			}
			d.clock.Advance(time.Hour)
			bought := d.buy(t, good, d.signUp(t).ID, "1000")
			d.clock.Set(bought.DueAt.Add(24 * time.Hour))
			hanging.hangs.Store(true)
			ctx, cancel := context.WithCancel(t.Context())
			verified := make(chan struct{})
			good.ending = func() { close(verified) }
			done := make(chan error, 1)
			go func() { _, err := d.VerifyDuePurchases(ctx); done <- err }()
			<-hanging.asked // and has not answered
			<-verified
			left, err := env.store.LeasePurchases(t.Context(), []string{hanging.name}, d.clock.Now(), d.clock.Now().Add(time.Minute), backlog)
			require.NoError(t, err)
			require.Greater(t, len(left), backlog/2, "what is not asked about now is left to others")
			cancel()
			require.ErrorIs(t, <-done, context.Canceled)
		}},
		{"survives a verifier that panics, counts it and asks again later", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			s.ending = func() { panic("the shop is on fire") }
			require.Equal(t, userkit.VerificationReport{Undecided: 1, Panicked: 1}, d.goesOnDue(t, bought.ID))
			after := d.purchase(t, bought.ID)
			require.True(t, after.Active)
			require.True(t, after.DueAt.After(d.clock.Now()))
			s.ending = nil
			require.Equal(t, userkit.VerificationReport{Verified: 1}, d.goesOnDue(t, bought.ID))
		}},
		{"asks about what may come back once a day for sixty days, and a hundred of a pause", func(t *testing.T, env env) {
			for reason, days := range map[userkit.PurchaseReason]int{userkit.ReasonPending: 60, userkit.ReasonPaused: 100, userkit.ReasonUnpaid: 60} {
				s := newShop()
				d := openDesk(t, env.store, &manualClock{now: base}, nil, userkit.WithVerifiers(s), atOnce)
				user, err := d.CreateUser(t.Context(), userkit.NewUser{Login: string(reason)})
				require.NoError(t, err)
				name := string(reason)
				bought := d.buy(t, s, user.ID, name)
				lost := d.monthly(name)
				lost.At, lost.ExpiresAt = base.Add(time.Hour), base.Add(2*time.Hour)
				s.says(name, userkit.Invalid(reason, lost))
				d.clock.Set(bought.DueAt)
				require.Equal(t, userkit.VerificationReport{Ended: 1}, d.verifyDue(t))
				require.Equal(t, reason, d.purchase(t, bought.ID).Reason)
				d.requireSubscribed(t, user.ID, false)
				asked := 0
				for ; !d.purchase(t, bought.ID).DueAt.IsZero(); asked++ {
					require.LessOrEqual(t, asked, 2*days)
					before := d.clock.Now()
					require.Equal(t, userkit.VerificationReport{Ended: 1}, d.goesOnDue(t, bought.ID))
					between(t, d.clock.Now(), before.Add(21*time.Hour+36*time.Minute), before.Add(24*time.Hour))
				}
				require.GreaterOrEqual(t, asked, days-1)
				require.LessOrEqual(t, asked, days*24/21+1)
				between(t, d.clock.Now(), lost.ExpiresAt.AddDate(0, 0, days), lost.ExpiresAt.AddDate(0, 0, days+1))
				d.clock.Advance(365 * 24 * time.Hour)
				require.Zero(t, d.verifyDue(t))
			}
		}},
		{"asks when the store has said that something changes", func(t *testing.T, env env) {
			for name, test := range map[string]struct {
				verdict  func(facts userkit.PurchaseFacts) userkit.Verdict
				ask      time.Duration // from now
				from, to time.Duration
			}{
				"paused for ninety days":   {pausedUntil, 90 * 24 * time.Hour, 90*24*time.Hour + time.Minute, 90*24*time.Hour + 2*time.Minute},
				"paused for a year":        {pausedUntil, 365 * 24 * time.Hour, 100 * 24 * time.Hour, 100 * 24 * time.Hour},
				"paused, and just over":    {pausedUntil, -time.Second, time.Minute - time.Second, 2 * time.Minute},
				"paused, and long over":    {pausedUntil, -10 * 24 * time.Hour, 21 * time.Hour, 24 * time.Hour},
				"good, for ninety days":    {userkit.Valid, 90 * 24 * time.Hour, 21 * time.Hour, 24 * time.Hour},
				"good, for an hour":        {userkit.Valid, time.Hour, time.Hour + time.Minute, time.Hour + 2*time.Minute},
				"good, since an hour ago":  {userkit.Valid, -time.Hour, 21 * time.Hour, 24 * time.Hour},
				"not at all, for the best": {expiredFor, 24 * time.Hour, 24*time.Hour + time.Minute, 24*time.Hour + 2*time.Minute},
			} {
				s := newShop()
				d := openDesk(t, env.store, &manualClock{now: base}, nil, userkit.WithVerifiers(s), atOnce)
				user, err := d.CreateUser(t.Context(), userkit.NewUser{Login: name})
				require.NoError(t, err)
				bought := d.buy(t, s, user.ID, name)
				d.clock.Set(bought.DueAt)
				facts := d.monthly(name)
				if strings.HasPrefix(name, "paused") {
					facts.ExpiresAt = d.clock.Now().Add(-time.Hour)
				}
				verdict := test.verdict(facts)
				verdict.AskAt = d.clock.Now().Add(test.ask)
				s.says(name, verdict)
				d.verifyDue(t)
				due := d.purchase(t, bought.ID).DueAt
				between(t, due, d.clock.Now().Add(test.from), d.clock.Now().Add(test.to))
				s.says(name, userkit.Valid(d.monthly(name)))
				d.clock.Set(due)
				require.Equal(t, userkit.VerificationReport{Verified: 1}, d.verifyDue(t), name)
				_, err = d.DeactivatePurchase(t.Context(), bought.ID)
				require.NoError(t, err)
			}
		}},
		{"asks a store that is busy about nothing else until it wants to be asked, nor for more than an hour", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			first := d.buy(t, s, user.ID, "1000")
			d.buy(t, s, user.ID, "2000")
			for asks, wait := range map[time.Duration]time.Duration{10 * time.Minute: 10 * time.Minute, 240 * time.Hour: time.Hour} {
				s.says("1000", userkit.Busy(errors.New("429"), d.clock.Now().Add(asks)))
				_, err := d.ActivatePurchase(t.Context(), first.ID)
				requireCode(t, err, userkit.ErrUnavailable, userkit.CodePurchaseUndecided)
				before, _ := s.counts("3000")
				require.Equal(t, userkit.ReasonUndecided, d.submit(t, user.ID, "3000").Reason)
				after, _ := s.counts("3000")
				require.Equal(t, before, after, "it is kept, and asked about later")

				d.clock.Advance(wait)
				s.says("1000", userkit.Valid(d.monthly("1000")))
				_, err = d.ActivatePurchase(t.Context(), first.ID)
				require.NoError(t, err)
			}
		}},
		{"asks no more about what its store says is over for good", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			verdict := userkit.Invalid(userkit.ReasonUnpaid, d.monthly("1000"))
			verdict.Final = true
			s.says("1000", verdict)
			require.Equal(t, userkit.VerificationReport{Ended: 1}, d.goesOnDue(t, bought.ID))
			after := d.purchase(t, bought.ID)
			require.Equal(t, userkit.ReasonUnpaid, after.Reason)
			require.Zero(t, after.DueAt)
			d.clock.Advance(365 * 24 * time.Hour)
			require.Zero(t, d.verifyDue(t))
		}},
		{"brings back what was paid for after all", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			s.says("1000", userkit.Invalid(userkit.ReasonUnpaid, userkit.PurchaseFacts{}))
			require.Equal(t, userkit.VerificationReport{Ended: 1}, d.goesOnDue(t, bought.ID))
			d.requireSubscribed(t, user.ID, false)
			d.clock.Advance(time.Hour)
			facts := d.monthly("1000")
			facts.At = d.clock.Now().Add(time.Hour)
			s.says("1000", userkit.Valid(facts))
			events := d.eventsDuring(t, user.ID, func() {
				require.Equal(t, userkit.VerificationReport{Verified: 1}, d.goesOnDue(t, bought.ID))
			})
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseActivated}, eventNames(events))
			d.requireSubscribed(t, user.ID, true)
		}},
		{"backs off from a store that does not say, up to six hours", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			d.clock.Set(bought.DueAt)
			s.closes(time.Time{})
			wait := time.Minute
			before := d.picture(t, user.ID)
			require.Equal(t, userkit.VerificationReport{Undecided: 1}, d.verifyDue(t))
			for range 12 {
				due := d.purchase(t, bought.ID).DueAt
				between(t, due, d.clock.Now().Add(wait*3/4), d.clock.Now().Add(wait))
				require.Equal(t, userkit.VerificationReport{Undecided: 1}, d.goesOnDue(t, bought.ID))
				wait = min(2*wait, 6*time.Hour)
			}
			after := d.picture(t, user.ID)
			require.Equal(t, before.Events, after.Events)
			require.True(t, after.Purchases[0].Active)
			require.Equal(t, bought.VerifiedAt, after.Purchases[0].VerifiedAt)

			// The store's word ends the waiting, and the next silence begins anew.
			s.opens()
			require.Equal(t, userkit.VerificationReport{Verified: 1}, d.goesOnDue(t, bought.ID))
			require.Zero(t, d.purchase(t, bought.ID).Undecided)
			s.closes(time.Time{})
			require.Equal(t, userkit.VerificationReport{Undecided: 1}, d.goesOnDue(t, bought.ID))
			between(t, d.purchase(t, bought.ID).DueAt, d.clock.Now().Add(45*time.Second), d.clock.Now().Add(time.Minute))
		}},
		{"asks when the store said, unless that is sooner than the back-off or later than a day", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			d.clock.Set(bought.DueAt)
			for n, asked := range []struct{ retry, from, to time.Duration }{
				{time.Second, 45 * time.Second, time.Minute},
				{3 * time.Hour, 3 * time.Hour, 3 * time.Hour},
				{-time.Hour, 3 * time.Minute, 4 * time.Minute},
				{24 * time.Hour, 24 * time.Hour, 24 * time.Hour},
				{1000 * time.Hour, 24 * time.Hour, 24 * time.Hour},
			} {
				s.closes(d.clock.Now().Add(asked.retry))
				require.Equal(t, userkit.VerificationReport{Undecided: 1}, d.verifyDue(t))
				due := d.purchase(t, bought.ID).DueAt
				between(t, due, d.clock.Now().Add(asked.from), d.clock.Now().Add(asked.to))
				require.Equal(t, n+1, d.purchase(t, bought.ID).Undecided)
				d.clock.Set(due)
			}
		}},
		{"reports what it did, and does it once", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user, other := d.signUp(t), d.signUp(t)
			for n, verdict := range []userkit.Verdict{
				{}, {}, {}, userkit.Invalid(userkit.ReasonExpired, userkit.PurchaseFacts{}), userkit.Invalid(userkit.ReasonUnpaid, userkit.PurchaseFacts{}),
				userkit.Undecided(errors.New("busy"), time.Time{}),
			} {
				name := fmt.Sprint(n)
				d.buy(t, s, []userkit.UserID{user.ID, other.ID}[n%2], name)
				if verdict.Outcome != "" {
					s.says(name, verdict)
				}
			}
			d.clock.Advance(24 * time.Hour)
			require.Equal(t, userkit.VerificationReport{Verified: 3, Ended: 2, Undecided: 1}, d.verifyDue(t))
			require.Zero(t, d.verifyDue(t))
		}},
		{"leaves purchases that it has no verifier for", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			other := newShop()
			other.name = "other-shop"
			foreign := d.beside(t, env.second(t), userkit.WithVerifiers(other), atOnce)
			nobody := d.beside(t, env.second(t))
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			d.clock.Advance(24 * time.Hour)
			require.Zero(t, nobody.verifyDue(t))
			requirePurchases(t, []userkit.Purchase{bought}, d.purchases(t, user.ID))
			require.Zero(t, foreign.verifyDue(t))
			requirePurchases(t, []userkit.Purchase{bought}, d.purchases(t, user.ID))
			require.Equal(t, userkit.VerificationReport{Verified: 1}, d.verifyDue(t))
		}},
		{"ends with the error of its context", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			d.clock.Advance(24 * time.Hour)
			ctx, cancel := context.WithCancel(t.Context())
			s.ending = cancel
			_, err := d.VerifyDuePurchases(ctx)
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, bought.VerifiedAt, d.purchase(t, bought.ID).VerifiedAt)
			_, err = d.VerifyDuePurchases(ctx)
			require.ErrorIs(t, err, context.Canceled)
		}},
		{"is done by Run", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			d.clock.Advance(24 * time.Hour)
			ctx, cancel := context.WithCancel(t.Context())
			var run sync.WaitGroup
			run.Go(func() { _ = d.Run(ctx) })
			require.Eventually(t, func() bool {
				purchase, err := d.Purchase(t.Context(), bought.ID)
				return err == nil && purchase.VerifiedAt.Equal(d.clock.Now())
			}, deadline, time.Millisecond)
			cancel()
			run.Wait()
		}},
	}
}

// stock creates users with purchases that are due, as a shop sold them: so many
// that one process does not lease them at once. Each has a receipt of its own.
func (d *desk) stock(t *testing.T, s *shop, users, each int) []userkit.Purchase {
	t.Helper()
	var all []userkit.Purchase
	for u := range users {
		user := newUser(u)
		user.ActivePurchases, user.PurchasesEndAt = each, base.Add(month+24*time.Hour)
		change := creation(user)
		for n := range each {
			token := fmt.Sprint("receipt-", u, "-", n)
			facts := d.monthly(token)
			purchase := duePurchase(user.ID, u*each+n, -n)
			purchase.Store, purchase.StableID, purchase.Token = shopName, token, token
			purchase.Active, purchase.ExpiresAt, purchase.FactsAt, purchase.VerifiedAt = true, facts.ExpiresAt, at(-1), at(-100_000)
			purchase.Acknowledged = true
			change.Purchases.Insert = append(change.Purchases.Insert, purchase)
			s.says(token, userkit.Valid(facts))
		}
		commit(t, d.store, change)
		all = append(all, change.Purchases.Insert...)
	}
	return all
}

func verifyManyCases() []testCase {
	return []testCase{
		{"verify each purchase exactly once", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			e := d.beside(t, env.second(t), userkit.WithVerifiers(s), atOnce)
			all := d.stock(t, s, 30, 10)
			reports := values(t, together(4, func(i int) (userkit.VerificationReport, error) {
				return []*desk{d, e}[i%2].VerifyDuePurchases(t.Context())
			}))
			total := userkit.VerificationReport{}
			for _, report := range reports {
				total.Verified += report.Verified
				total.Ended += report.Ended
				total.Undecided += report.Undecided
			}
			require.Equal(t, userkit.VerificationReport{Verified: len(all)}, total)
			for _, purchase := range all {
				asked, _ := s.counts(purchase.Token)
				require.Equal(t, 1, asked, purchase.Token)
				after := d.purchase(t, purchase.ID)
				require.Equal(t, d.clock.Now(), after.VerifiedAt)
				require.True(t, after.LeasedUntil.IsZero())
			}
			require.Zero(t, d.verifyDue(t))
			require.Zero(t, e.verifyDue(t))
		}},
		{"finish after the lease what a process that ended had taken", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			e := d.beside(t, env.second(t), userkit.WithVerifiers(s), atOnce)
			all := d.stock(t, s, 8, 10)
			taken, err := env.store.LeasePurchases(t.Context(), []string{shopName}, d.clock.Now(), d.clock.Now().Add(2*time.Minute), 30)
			require.NoError(t, err)
			require.Len(t, taken, 30)
			require.Equal(t, userkit.VerificationReport{Verified: len(all) - 30}, e.verifyDue(t))
			for _, purchase := range taken {
				asked, _ := s.counts(purchase.Token)
				require.Zero(t, asked)
			}
			d.clock.Advance(2*time.Minute - time.Microsecond)
			require.Zero(t, e.verifyDue(t))
			d.clock.Advance(time.Microsecond)
			require.Equal(t, userkit.VerificationReport{Verified: 30}, e.verifyDue(t))
			require.Equal(t, len(all), s.allAsked())
		}},
		{"finish what a process left that was stopped half-way", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			e := d.beside(t, env.second(t), userkit.WithVerifiers(s), atOnce)
			all := d.stock(t, s, 12, 10)
			ctx, cancel := context.WithCancel(t.Context())
			asked := 0
			s.ending = func() {
				if asked++; asked == 70 {
					cancel()
				}
			}
			first, err := d.VerifyDuePurchases(ctx)
			require.ErrorIs(t, err, context.Canceled)
			require.Less(t, first.Verified, len(all))
			verified := e.verifyDue(t).Verified
			d.clock.Advance(2 * time.Minute)
			verified += e.verifyDue(t).Verified
			for _, purchase := range all {
				require.True(t, d.purchase(t, purchase.ID).VerifiedAt.After(purchase.VerifiedAt))
				again, _ := s.counts(purchase.Token)
				require.LessOrEqual(t, again, 2)
			}
			require.LessOrEqual(t, first.Verified+verified, len(all))
			require.GreaterOrEqual(t, s.allAsked(), len(all))
		}},
		{"go on while users submit, cancel and are deleted", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			e := d.beside(t, env.second(t), userkit.WithVerifiers(s), atOnce)
			all := d.stock(t, s, 12, 5)
			together(4, func(i int) (struct{}, error) {
				switch i {
				case 0, 1:
					for range 3 {
						if _, err := []*desk{d, e}[i].VerifyDuePurchases(t.Context()); err != nil {
							t.Errorf("verifying: %v", err)
						}
					}
				case 2:
					for n := range 4 {
						if _, err := d.DeleteUser(t.Context(), userID(n), userID(n).String()); err != nil {
							t.Errorf("deleting: %v", err)
						}
					}
				case 3:
					for n := 4; n < 8; n++ {
						for _, purchase := range all[n*5 : n*5+2] {
							if _, err := e.DeactivatePurchase(t.Context(), purchase.ID); err != nil {
								t.Errorf("deactivating: %v", err)
							}
							if _, err := e.SubmitPurchase(t.Context(), userID(n), receiptOf(all[n*5+4].Token)); err != nil {
								t.Errorf("submitting: %v", err)
							}
						}
					}
				}
				return struct{}{}, nil
			})
			for n := 4; n < 12; n++ {
				purchases := d.purchases(t, userID(n))
				require.Len(t, purchases, 5)
				away := 0
				for _, purchase := range purchases {
					if purchase.Reason == userkit.ReasonDeactivated {
						away++
						require.True(t, purchase.DueAt.IsZero())
						continue
					}
					require.Equal(t, d.clock.Now(), purchase.VerifiedAt)
				}
				if n < 8 {
					require.Equal(t, 2, away)
				}
				d.requireSubscribed(t, userID(n), true)
			}
			left, err := env.store.Purchases(t.Context(), userkit.PurchaseFilter{}, userkit.ListRange{Order: userkit.Order{Field: "id"}, Limit: whole})
			require.NoError(t, err)
			require.Len(t, left, 40)
		}},
	}
}

// anyPurchaseCall makes one call about purchases, chosen by random, which may well
// be refused.
func (d *desk) anyPurchaseCall(t *testing.T, s *shop, random *rand.Rand, users []userkit.User) error {
	pickPurchase := func() userkit.PurchaseID {
		page, err := d.Purchases(t.Context(), userkit.PurchaseQuery{})
		if err != nil || len(page.Items) == 0 {
			return userkit.PurchaseID{}
		}
		return page.Items[random.IntN(len(page.Items))].ID
	}
	user, name := users[random.IntN(len(users))].ID, fmt.Sprint(random.IntN(6))
	token := name + pick([]string{"", " renewed", " renewed again"}, random.IntN(3), 1)
	var err error
	switch random.IntN(9) {
	case 0, 1, 2:
		facts := d.monthly(name)
		if random.IntN(5) == 0 {
			facts.At = facts.At.Add(-time.Duration(random.IntN(100)) * time.Hour)
		}
		if random.IntN(8) == 0 {
			facts.AccountToken = users[0].ID.String()
		}
		if random.IntN(3) == 0 {
			facts.Token = name + " renewed"
		}
		facts.ExpiresAt = facts.ExpiresAt.Add(-time.Duration(random.IntN(60)) * 24 * time.Hour)
		facts.FamilyShared = random.IntN(6) == 0
		if random.IntN(4) == 0 {
			facts.Supersedes = []string{fmt.Sprint(random.IntN(6))}
		}
		verdict := userkit.Valid(facts)
		switch random.IntN(6) {
		case 0:
			verdict = userkit.Invalid(pick([]userkit.PurchaseReason{userkit.ReasonExpired, userkit.ReasonPaused}, random.IntN(2), 1), facts)
		case 1:
			verdict = userkit.Undecided(errors.New("busy"), time.Time{})
		}
		s.says(token, verdict)
		_, err = d.SubmitPurchase(t.Context(), user, receiptOf(token))
	case 3:
		d.clock.Advance(time.Duration(random.IntN(20)) * time.Hour)
		_, err = d.VerifyDuePurchases(t.Context())
	case 4:
		_, err = d.DeactivatePurchase(t.Context(), pickPurchase())
	case 5:
		_, err = d.ActivatePurchase(t.Context(), pickPurchase())
	case 6:
		s.sends(name, userkit.NotificationContent{ID: fmt.Sprint(random.IntN(20)), StableID: name, Receipt: receiptOf(token)}, nil)
		err = d.HandleStoreNotification(t.Context(), shopName, userkit.StoreNotification{Body: []byte(name)})
	case 7:
		_, err = d.SubmitPurchase(t.Context(), user, receiptOf(token))
	case 8:
		_, err = d.Refill(t.Context(), user, userkit.Entry{Amount: euro(1), Key: userkit.NewID[userkit.Transaction]().String()})
	}
	switch {
	case errors.Is(err, userkit.ErrRefused), errors.Is(err, userkit.ErrNotFound),
		userkit.ErrorCode(err) == userkit.CodePurchaseTaken, userkit.ErrorCode(err) == userkit.CodePurchaseUndecided:
		return nil
	}
	return err
}

// requireSound demands what holds of all purchases, whatever was done.
func (d *desk) requireSound(t *testing.T, users []userkit.User) {
	t.Helper()
	owners := map[string]userkit.UserID{}
	for _, user := range users {
		d.requireSubscribed(t, user.ID, d.user(t, user.ID).Subscribed(d.clock.Now()))
		end, endless, mine := time.Time{}, false, map[string]bool{}
		for _, purchase := range d.purchases(t, user.ID) {
			require.Equal(t, user.ID, purchase.UserID)
			require.False(t, mine[purchase.StableID], "a user has %s twice", purchase.StableID)
			mine[purchase.StableID] = true
			_, taken := owners[purchase.StableID]
			require.False(t, taken, "%s has two owners", purchase.StableID)
			owners[purchase.StableID] = user.ID
			require.Equal(t, purchase.Active, purchase.Reason == "", "%s", purchase.Reason)
			if purchase.Active {
				require.False(t, purchase.DueAt.IsZero(), "an active purchase is verified again")
				ends := purchase.EndsAt(24 * time.Hour)
				if endless = endless || ends.IsZero(); ends.After(end) {
					end = ends
				}
			}
		}
		if endless {
			end = time.Time{}
		}
		require.Equal(t, end, d.user(t, user.ID).PurchasesEndAt)
		d.requireLedger(t, user.ID)
	}
}

func anyOrderCases() []testCase {
	play := func(t *testing.T, env env, policy userkit.PurchasePolicy, callers, calls int) {
		d, s := env.withShop(t, userkit.WithPurchasePolicy(policy))
		desks := []*desk{d, d.beside(t, env.second(t), userkit.WithVerifiers(s), atOnce, userkit.WithPurchasePolicy(policy))}
		var users []userkit.User
		for range 4 {
			users = append(users, d.signUp(t))
		}
		for round := range 4 {
			for _, err := range race(callers, func(caller int) error {
				random := rand.New(rand.NewPCG(uint64(round), uint64(caller)))
				for range calls {
					if err := desks[caller%2].anyPurchaseCall(t, s, random, users); err != nil {
						return err
					}
				}
				return nil
			}) {
				require.NoError(t, err)
			}
			d.requireSound(t, users)
		}
	}
	return []testCase{
		{"one after another, keep accounts and owners right", func(t *testing.T, env env) {
			play(t, env, userkit.PurchaseRefuse, 1, 60)
		}},
		{"one after another, with transfers, keep accounts and owners right", func(t *testing.T, env env) {
			play(t, env, userkit.PurchaseTransfer, 1, 60)
		}},
		{"at once keep accounts and owners right", func(t *testing.T, env env) { play(t, env, userkit.PurchaseRefuse, 4, 25) }},
		{"at once, with transfers, keep accounts and owners right", func(t *testing.T, env env) {
			play(t, env, userkit.PurchaseTransfer, 4, 25)
		}},
	}
}

func activatePurchaseCases() []testCase {
	return []testCase{
		{"an administrator takes a purchase away, once", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought, kept := d.buy(t, s, user.ID, "1000"), d.buy(t, s, user.ID, "2000")
			d.clock.Advance(time.Minute)
			var after userkit.Purchase
			events := d.eventsDuring(t, user.ID, func() {
				for range 2 {
					var err error
					after, err = d.DeactivatePurchase(userkit.WithActor(t.Context(), administrator), bought.ID)
					require.NoError(t, err)
				}
			})
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseDeactivated}, eventNames(events))
			require.Equal(t, administrator, events[0].Actor)
			want := bought
			want.Active, want.Reason, want.DueAt, want.UpdatedAt = false, userkit.ReasonDeactivated, time.Time{}, d.clock.Now()
			requirePurchases(t, []userkit.Purchase{want}, []userkit.Purchase{after})
			requirePurchases(t, []userkit.Purchase{want, kept}, d.purchases(t, user.ID))
			require.Equal(t, 1, d.user(t, user.ID).ActivePurchases)
			_, err := d.DeactivatePurchase(t.Context(), kept.ID)
			require.NoError(t, err)
			d.requireSubscribed(t, user.ID, false)
			require.True(t, d.user(t, user.ID).PurchasesEndAt.IsZero())
		}},
		{"what was taken away does not come back with another user", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			gone := func(user userkit.User, bulk bool) {
				if bulk {
					request := userkit.BulkRequest{Action: userkit.BulkDelete, Users: userkit.UserFilter{Filter: userkit.Equal("login", user.Login)}}
					require.EqualValues(t, 1, d.execute(t, request).Changed)
					return
				}
				_, err := d.DeleteUser(t.Context(), user.ID, user.ID.String())
				require.NoError(t, err)
			}
			user := d.signUp(t)
			bought, kept := d.buy(t, s, user.ID, "1000"), d.buy(t, s, user.ID, "2000")
			s.closes(time.Time{})
			waiting := d.submit(t, user.ID, "waits")
			s.opens()
			for _, purchase := range []userkit.Purchase{bought, waiting} {
				_, err := d.DeactivatePurchase(t.Context(), purchase.ID)
				require.NoError(t, err)
			}
			gone(user, false)
			s.says("waits", userkit.Valid(d.monthly("3000")))

			var again userkit.Purchase
			for round := range 2 { // what is withheld stays so
				user = d.signUp(t)
				for _, token := range []string{"1000", "waits", "1000"} {
					_, err := d.SubmitPurchase(t.Context(), user.ID, receiptOf(token))
					requireCode(t, err, userkit.ErrRefused, userkit.CodePurchaseDeactivated)
				}
				d.requireSubscribed(t, user.ID, false)
				require.True(t, d.submit(t, user.ID, kept.StableID).Active, "it was not taken away")
				rows := d.purchases(t, user.ID)
				require.Len(t, rows, 3)
				again = rows[slices.IndexFunc(rows, func(p userkit.Purchase) bool { return p.StableID == "1000" })]
				require.Equal(t, userkit.ReasonDeactivated, again.Reason)
				require.True(t, again.DueAt.IsZero())
				if round == 0 {
					gone(user, true)
				}
			}

			// An administrator gives it back, and then it is anybody's who has bought it.
			_, err := d.ActivatePurchase(t.Context(), again.ID)
			require.NoError(t, err)
			d.requireSubscribed(t, user.ID, true)
			gone(user, false)
			user = d.signUp(t)
			d.submit(t, user.ID, "1000")
			d.requireSubscribed(t, user.ID, true)
		}},
		{"what was taken away while it waited stays so when its store says what it is", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			_, err := d.DeactivatePurchase(t.Context(), bought.ID)
			require.NoError(t, err)
			_, err = d.DeleteUser(t.Context(), user.ID, user.ID.String())
			require.NoError(t, err)
			user = d.signUp(t)
			s.closes(time.Time{})
			waiting := d.submit(t, user.ID, "1000 in another form")
			s.opens()
			s.says("1000 in another form", userkit.Valid(d.monthly("1000")))
			d.clock.Advance(time.Hour)
			d.verifyDue(t)
			require.Equal(t, userkit.ReasonDeactivated, d.purchase(t, waiting.ID).Reason)
			d.requireSubscribed(t, user.ID, false)
		}},
		{"does not step back with the clock in what it tells of changes", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			d.clock.Advance(-time.Hour)
			after, err := d.DeactivatePurchase(t.Context(), bought.ID)
			require.NoError(t, err)
			require.Equal(t, bought.UpdatedAt, after.UpdatedAt)
			after, err = d.ActivatePurchase(t.Context(), bought.ID)
			require.NoError(t, err)
			require.Equal(t, bought.UpdatedAt, after.UpdatedAt)
		}},
		{"what was taken away comes back by no verification, notification or submission", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			_, err := d.DeactivatePurchase(t.Context(), bought.ID)
			require.NoError(t, err)
			asked := s.allAsked()
			d.clock.Advance(25 * time.Hour)
			require.Zero(t, d.verifyDue(t))
			s.sends("renewed", userkit.NotificationContent{ID: "n-1", StableID: "1000", Receipt: receiptOf("1000")}, nil)
			d.notify(t, "renewed")
			require.Equal(t, asked, s.allAsked())

			renewed := d.monthly("1000")
			renewed.TransactionID = "1000-2"
			s.says("renewal", userkit.Valid(renewed))
			for _, token := range []string{"1000", "renewal"} {
				before := d.picture(t, user.ID)
				_, err := d.SubmitPurchase(t.Context(), user.ID, receiptOf(token))
				requireCode(t, err, userkit.ErrRefused, userkit.CodePurchaseDeactivated)
				require.Equal(t, before, d.picture(t, user.ID))
			}
			s.says("renewal", userkit.Invalid(userkit.ReasonExpired, renewed))
			_, err = d.SubmitPurchase(t.Context(), user.ID, receiptOf("renewal"))
			requireInvalid(t, err, userkit.ReasonExpired)
			s.closes(time.Time{})
			_, _ = d.SubmitPurchase(t.Context(), user.ID, receiptOf("1000"))
			s.opens()
			d.clock.Advance(25 * time.Hour)
			d.verifyDue(t)
			require.Equal(t, userkit.ReasonDeactivated, d.purchase(t, bought.ID).Reason)
			d.requireSubscribed(t, user.ID, false)
		}},
		{"what is verified while it is taken away stays away", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			d.clock.Advance(24 * time.Hour)
			s.ending = func() {
				_, err := d.DeactivatePurchase(context.Background(), bought.ID)
				if err != nil {
					t.Errorf("deactivating: %v", err)
				}
			}
			d.verifyDue(t)
			after := d.purchase(t, bought.ID)
			require.Equal(t, userkit.ReasonDeactivated, after.Reason)
			require.False(t, after.Active)
			require.True(t, after.DueAt.IsZero())
			d.requireSubscribed(t, user.ID, false)
		}},
		{"to activate verifies first, and brings back what is good", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			_, err := d.DeactivatePurchase(t.Context(), bought.ID)
			require.NoError(t, err)
			d.clock.Advance(48 * time.Hour)
			renewed := d.monthly("1000")
			renewed.TransactionID = "1000-2"
			s.says("1000", userkit.Valid(renewed))
			asked := s.allAsked()
			var after userkit.Purchase
			events := d.eventsDuring(t, user.ID, func() {
				after, err = d.ActivatePurchase(userkit.WithActor(t.Context(), administrator), bought.ID)
				require.NoError(t, err)
			})
			require.Equal(t, asked+1, s.allAsked())
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseActivated}, eventNames(events))
			require.Equal(t, administrator, events[0].Actor)
			require.True(t, after.Active)
			require.Empty(t, after.Reason)
			require.Equal(t, "1000-2", after.TransactionID)
			requirePurchases(t, []userkit.Purchase{after}, d.purchases(t, user.ID))
			d.requireSubscribed(t, user.ID, true)
			// From then on it is verified like any other.
			require.Equal(t, userkit.VerificationReport{Verified: 1}, d.goesOnDue(t, bought.ID))
			require.Equal(t, bought.ID, d.submit(t, user.ID, "1000").ID)
		}},
		{"to activate what is not good is refused with the store's reason", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user, other := d.signUp(t), d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			_, err := d.DeactivatePurchase(t.Context(), bought.ID)
			require.NoError(t, err)
			d.clock.Advance(time.Hour)
			sandbox, theirs := d.monthly("1000"), d.monthly("1000")
			sandbox.Environment, theirs.AccountToken = userkit.Sandbox, other.ID.String()
			for reason, verdict := range map[userkit.PurchaseReason]userkit.Verdict{
				userkit.ReasonExpired:     userkit.Invalid(userkit.ReasonExpired, d.monthly("1000")),
				userkit.ReasonUnpaid:      userkit.Invalid(userkit.ReasonUnpaid, userkit.PurchaseFacts{}),
				userkit.ReasonEnvironment: userkit.Valid(sandbox),
				userkit.ReasonAccount:     userkit.Valid(theirs),
			} {
				s.says("1000", verdict)
				_, err := d.ActivatePurchase(t.Context(), bought.ID)
				requireInvalid(t, err, reason)
				after := d.purchase(t, bought.ID)
				require.False(t, after.Active)
				require.Equal(t, userkit.ReasonDeactivated, after.Reason)
				require.True(t, after.DueAt.IsZero())
			}
			d.requireSubscribed(t, user.ID, false)
		}},
		{"to activate what the store does not say anything about changes nothing", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			away, ended, active := d.buy(t, s, user.ID, "1000"), d.buy(t, s, user.ID, "2000"), d.buy(t, s, user.ID, "3000")
			_, err := d.DeactivatePurchase(t.Context(), away.ID)
			require.NoError(t, err)
			d.clock.Advance(time.Hour)
			s.says("2000", userkit.Invalid(userkit.ReasonExpired, d.monthly("2000")))
			_, err = d.ActivatePurchase(t.Context(), ended.ID)
			requireInvalid(t, err, userkit.ReasonExpired)
			s.closes(time.Time{})
			before := d.picture(t, user.ID)
			for _, id := range []userkit.PurchaseID{away.ID, ended.ID, active.ID} {
				_, err := d.ActivatePurchase(t.Context(), id)
				requireCode(t, err, userkit.ErrUnavailable, userkit.CodePurchaseUndecided)
			}
			after := d.picture(t, user.ID)
			require.Equal(t, before.Events, after.Events)
			for n := range after.Purchases {
				was := before.Purchases[n]
				require.Equal(t, was.Active, after.Purchases[n].Active)
				require.Equal(t, was.Reason, after.Purchases[n].Reason)
				require.Equal(t, was.DueAt.IsZero(), after.Purchases[n].DueAt.IsZero())
			}
			asked, _ := s.counts("1000")
			d.clock.Advance(30 * 24 * time.Hour)
			d.verifyDue(t)
			again, _ := s.counts("1000")
			require.Equal(t, asked, again, "what an administrator took away is not asked about")
		}},
		{"to activate an ended purchase brings it back when it is good again", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			d.clock.Advance(time.Hour)
			s.says("1000", userkit.Invalid(userkit.ReasonRevoked, userkit.PurchaseFacts{}))
			_, err := d.ActivatePurchase(t.Context(), bought.ID)
			requireInvalid(t, err, userkit.ReasonRevoked)
			d.requireSubscribed(t, user.ID, false)
			require.Equal(t, userkit.ReasonRevoked, d.purchase(t, bought.ID).Reason)
			d.clock.Advance(time.Hour)
			s.says("1000", userkit.Valid(d.monthly("1000")))
			after, err := d.ActivatePurchase(t.Context(), bought.ID)
			require.NoError(t, err)
			require.True(t, after.Active)
			d.requireSubscribed(t, user.ID, true)
		}},
		{"to activate what turned out to be another's is refused", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			owner, user := d.signUp(t), d.signUp(t)
			d.buy(t, s, owner.ID, "1000")
			s.closes(time.Time{})
			waiting := d.submit(t, user.ID, "renewal")
			s.opens()
			s.says("renewal", userkit.Valid(d.monthly("1000")))
			d.clock.Advance(time.Minute)
			d.verifyDue(t)
			before := d.picture(t, owner.ID)
			for range 2 {
				_, err := d.ActivatePurchase(t.Context(), waiting.ID)
				requirePurchaseTaken(t, err)
				require.Equal(t, userkit.ReasonTaken, d.purchase(t, waiting.ID).Reason)
			}
			require.Equal(t, before, d.picture(t, owner.ID))
			d.requireSubscribed(t, user.ID, false)
		}},
		{"are told of unknown purchases", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			unknown := userkit.NewID[userkit.Purchase]()
			_, err := d.ActivatePurchase(t.Context(), unknown)
			requireCode(t, err, userkit.ErrNotFound, userkit.CodePurchaseNotFound)
			_, err = d.DeactivatePurchase(t.Context(), unknown)
			requireCode(t, err, userkit.ErrNotFound, userkit.CodePurchaseNotFound)
			require.Zero(t, s.allAsked())
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			_, err = d.beside(t, env.store).ActivatePurchase(t.Context(), bought.ID)
			requireField(t, err, userkit.ErrInvalid, userkit.CodeUnknownStore, "store")
		}},
	}
}

func acknowledgeCases() []testCase {
	return []testCase{
		{"tells the store once that a purchase was granted", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			require.True(t, bought.Acknowledged)
			require.True(t, d.purchase(t, bought.ID).Acknowledged)
			d.submit(t, user.ID, "1000")
			require.Equal(t, userkit.VerificationReport{Verified: 1}, d.goesOnDue(t, bought.ID))
			_, err := d.ActivatePurchase(t.Context(), bought.ID)
			require.NoError(t, err)
			_, granted := s.counts("1000")
			require.Equal(t, 1, granted)
		}},
		{"is repeated by the next verification until the store has heard", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			s.hears(errors.New("deaf"))
			bought := d.buy(t, s, user.ID, "1000")
			require.False(t, bought.Acknowledged)
			d.requireSubscribed(t, user.ID, true)
			for n := range 3 {
				require.Equal(t, userkit.VerificationReport{Verified: 1}, d.goesOnDue(t, bought.ID))
				_, granted := s.counts("1000")
				require.Equal(t, n+2, granted)
				require.False(t, d.purchase(t, bought.ID).Acknowledged)
			}
			s.hears(nil)
			require.Equal(t, userkit.VerificationReport{Verified: 1}, d.goesOnDue(t, bought.ID))
			require.True(t, d.purchase(t, bought.ID).Acknowledged)
			require.Equal(t, userkit.VerificationReport{Verified: 1}, d.goesOnDue(t, bought.ID))
			_, granted := s.counts("1000")
			require.Equal(t, 5, granted)
			d.requireSubscribed(t, user.ID, true)
		}},
		{"is repeated within minutes at first, then by and by, and in the end once a day", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			s.hears(errors.New("deaf"))
			bought := d.buy(t, s, user.ID, "1000")
			began, told := d.clock.Now(), map[time.Duration]int{}
			for d.clock.Now().Before(began.Add(96 * time.Hour)) {
				d.goesOnDue(t, bought.ID)
				for _, within := range []time.Duration{5 * time.Minute, 12 * time.Hour, 72 * time.Hour, 96 * time.Hour} {
					if !d.clock.Now().After(began.Add(within)) {
						told[within]++
					}
				}
			}
			require.GreaterOrEqual(t, told[5*time.Minute], 4, "a test purchase is taken back after that")
			require.GreaterOrEqual(t, told[12*time.Hour], 40, "and a prepaid plan of a day")
			require.GreaterOrEqual(t, told[72*time.Hour]-told[12*time.Hour], 50, "and everything else")
			require.LessOrEqual(t, told[96*time.Hour]-told[72*time.Hour], 3)
			s.hears(nil)
			d.goesOnDue(t, bought.ID)
			after := d.purchase(t, bought.ID)
			require.True(t, after.Acknowledged)
			require.True(t, after.DueAt.After(d.clock.Now().Add(20*time.Hour)))
		}},
		{"is not told of what was not granted", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user, other := d.signUp(t), d.signUp(t)
			s.says("bad", userkit.Invalid(userkit.ReasonExpired, d.monthly("1000")))
			_, err := d.SubmitPurchase(t.Context(), user.ID, receiptOf("bad"))
			requireInvalid(t, err, userkit.ReasonExpired)
			s.closes(time.Time{})
			d.submit(t, user.ID, "waiting")
			s.opens()
			s.hears(errors.New("deaf"))
			bought := d.buy(t, s, user.ID, "2000")
			_, err = d.SubmitPurchase(t.Context(), other.ID, receiptOf("2000"))
			requirePurchaseTaken(t, err)
			_, err = d.DeactivatePurchase(t.Context(), bought.ID)
			require.NoError(t, err)
			_, err = d.SubmitPurchase(t.Context(), user.ID, receiptOf("2000"))
			requireCode(t, err, userkit.ErrRefused, userkit.CodePurchaseDeactivated)
			for token, times := range map[string]int{"bad": 0, "waiting": 0, "2000": 1} {
				_, granted := s.counts(token)
				require.Equal(t, times, granted, token)
			}
		}},
		{"is told only of what is kept", func(t *testing.T, env env) {
			s := newShop()
			broken, faults, sound := env.faulty(t, userkit.WithVerifiers(s), atOnce)
			user := sound.signUp(t)
			s.says("1000", userkit.Valid(sound.monthly("1000")))
			faults.plan(func(int, userkit.Change) fault { return failBefore }, nil)
			_, err := broken.SubmitPurchase(t.Context(), user.ID, receiptOf("1000"))
			requireCode(t, err, userkit.ErrUnavailable, userkit.CodeStoreUnavailable)
			_, granted := s.counts("1000")
			require.Zero(t, granted)
			require.Empty(t, sound.purchases(t, user.ID))

			// Where only the answer is lost, the purchase is kept, once.
			faults.first(failAfter)
			purchase, err := broken.SubmitPurchase(t.Context(), user.ID, receiptOf("1000"))
			require.NoError(t, err)
			requirePurchases(t, []userkit.Purchase{purchase}, sound.purchases(t, user.ID))
			_, granted = s.counts("1000")
			require.Equal(t, 1, granted)
			sound.requireSubscribed(t, user.ID, true)
		}},
		{"is nothing to a store that wants to hear nothing", func(t *testing.T, env env) {
			s := newShop()
			d := env.desk(t, userkit.WithVerifiers(verifierOnly{s}), atOnce)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			require.False(t, bought.Acknowledged)
			_, granted := s.counts("1000")
			require.Zero(t, granted)
			err := d.HandleStoreNotification(t.Context(), shopName, userkit.StoreNotification{Body: []byte("renewed")})
			requireField(t, err, userkit.ErrInvalid, userkit.CodeUnknownStore, "store")
		}},
		{"is told the receipt that the purchase is verified with", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			facts := d.monthly("1000")
			facts.Token = "later"
			s.says("first", userkit.Valid(facts))
			d.submit(t, user.ID, "first")
			_, granted := s.counts("later")
			require.Equal(t, 1, granted)
		}},
	}
}

func notificationCases() []testCase {
	about := func(id, stableID string) userkit.NotificationContent {
		return userkit.NotificationContent{ID: id, StableID: stableID, Receipt: receiptOf(stableID)}
	}
	return []testCase{
		{"tells the host, once, that the store asks before it refunds", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			asked := about("n-1", "1000")
			asked.RefundRequest = &userkit.RefundRequest{}
			s.sends("asked", asked, nil)
			events := d.eventsDuring(t, user.ID, func() { d.notify(t, "asked"); d.notify(t, "asked") })
			var requests []userkit.Event
			for _, event := range events {
				if event.Name == userkit.EventPurchaseRefundRequested {
					requests = append(requests, event)
				}
			}
			require.Len(t, requests, 1)
			require.JSONEq(t, `{"purchase_id":"`+bought.ID.String()+`","store":"`+shopName+`"}`, string(requests[0].Data))
			require.True(t, d.purchase(t, bought.ID).Active, "nothing is decided yet")

			// Without a receipt, it is of the user whom the store names, or else of none.
			d.clock.Advance(time.Minute)
			for name, token := range map[string]string{"of the user": user.ID.String(), "of nobody": userkit.NewID[userkit.User]().String()} {
				s.sends(name, userkit.NotificationContent{ID: name, RefundRequest: &userkit.RefundRequest{TransactionID: "order", AccountToken: token, Reply: "secret"}}, nil)
				d.notify(t, name)
				d.notify(t, name)
			}
			page, err := d.Events(t.Context(), userkit.EventQuery{EventFilter: userkit.EventFilter{Name: userkit.EventPurchaseRefundRequested}})
			require.NoError(t, err)
			require.Len(t, page.Items, 3)
			var owners []userkit.UserID
			for _, event := range page.Items[:2] {
				owners = append(owners, event.UserID)
				require.JSONEq(t, `{"store":"`+shopName+`","transaction_id":"order","reply":"secret"}`, string(event.Data))
			}
			require.ElementsMatch(t, []userkit.UserID{user.ID, {}}, owners)
		}},
		{"verifies the purchase now that it is about", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought, other := d.buy(t, s, user.ID, "1000"), d.buy(t, s, user.ID, "2000")
			d.clock.Advance(time.Hour)
			renewed := d.monthly("1000")
			renewed.TransactionID = "1000-2"
			s.says("1000", userkit.Valid(renewed))
			s.sends("renewed", about("n-1", "1000"), nil)
			events := d.eventsDuring(t, user.ID, func() { d.notify(t, "renewed") })
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseUpdated}, eventNames(events))
			require.Equal(t, "1000-2", d.purchase(t, bought.ID).TransactionID)
			require.Equal(t, d.clock.Now(), d.purchase(t, bought.ID).VerifiedAt)
			requirePurchases(t, []userkit.Purchase{other}, []userkit.Purchase{d.purchase(t, other.ID)})

			d.clock.Advance(time.Hour)
			s.says("1000", userkit.Invalid(userkit.ReasonRevoked, renewed))
			s.sends("refunded", about("n-2", "1000"), nil)
			events = d.eventsDuring(t, user.ID, func() { d.notify(t, "refunded") })
			require.Equal(t, userkit.ReasonRevoked, d.purchase(t, bought.ID).Reason,
				"facts of the same moment are no older ones")
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseDeactivated}, eventNames(events))
			d.requireSubscribed(t, user.ID, true) // by the other
		}},
		{"does nothing when it is repeated", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user, other := d.signUp(t), d.signUp(t)
			d.buy(t, s, user.ID, "1000")
			d.buy(t, s, other.ID, "2000")
			s.sends("first", about("n-1", "1000"), nil)
			s.sends("other", about("n-1", "2000"), nil) // the same id about another purchase
			s.sends("second", about("n-2", "1000"), nil)
			for _, body := range []string{"first", "other", "second"} {
				asked := s.allAsked()
				d.notify(t, body)
				require.Equal(t, asked+1, s.allAsked(), body)
				before, beside := d.picture(t, user.ID), d.picture(t, other.ID)
				for range 3 {
					d.clock.Advance(time.Minute)
					d.notify(t, body)
					d.notify(t, "first")
				}
				require.Equal(t, asked+1, s.allAsked(), body)
				require.Equal(t, before, d.picture(t, user.ID))
				require.Equal(t, beside, d.picture(t, other.ID))
			}
		}},
		{"writes one event however often it comes at once", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			e := d.beside(t, env.second(t), userkit.WithVerifiers(s), atOnce)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			d.clock.Advance(time.Hour)
			s.says("1000", userkit.Invalid(userkit.ReasonRevoked, userkit.PurchaseFacts{}))
			s.sends("refunded", about("n-1", "1000"), nil)
			events := d.eventsDuring(t, user.ID, func() {
				for _, answer := range together(8, func(i int) (struct{}, error) {
					return struct{}{}, []*desk{d, e}[i%2].HandleStoreNotification(t.Context(), shopName, userkit.StoreNotification{Body: []byte("refunded")})
				}) {
					require.NoError(t, answer.err)
				}
			})
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseDeactivated}, eventNames(events))
			require.Equal(t, userkit.ReasonRevoked, d.purchase(t, bought.ID).Reason)
			d.requireSubscribed(t, user.ID, false)
		}},
		{"counts every time when the store gives it no id", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			d.buy(t, s, user.ID, "1000")
			s.sends("changed", about("", "1000"), nil)
			asked := s.allAsked()
			events := d.eventsDuring(t, user.ID, func() {
				for n := range 3 {
					d.notify(t, "changed")
					require.Equal(t, asked+n+1, s.allAsked())
				}
			})
			require.Empty(t, events)
		}},
		{"does nothing about purchases that nobody has submitted, and about none", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			d.buy(t, s, user.ID, "1000")
			s.sends("unknown", about("n-1", "2000"), nil)
			s.sends("unknown receipt", userkit.NotificationContent{ID: "n-2", Receipt: receiptOf("2000")}, nil)
			s.sends("test", userkit.NotificationContent{ID: "n-3"}, nil)
			before, asked := d.picture(t, user.ID), s.allAsked()
			for _, body := range []string{"unknown", "unknown receipt", "test"} {
				d.notify(t, body)
			}
			require.Equal(t, before, d.picture(t, user.ID))
			require.Equal(t, asked, s.allAsked())
		}},
		{"verifies a receipt that waits", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			s.closes(time.Time{})
			waiting := d.submit(t, user.ID, "receipt")
			s.opens()
			s.says("receipt", userkit.Valid(d.monthly("1000")))
			s.sends("bought", userkit.NotificationContent{ID: "n-1", StableID: "1000", Receipt: receiptOf("receipt")}, nil)
			d.notify(t, "bought")
			purchase := d.purchase(t, waiting.ID)
			require.True(t, purchase.Active)
			require.Equal(t, "1000", purchase.StableID)
			d.requireSubscribed(t, user.ID, true)
		}},
		{"verifies the purchases of a family", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			var family []userkit.User
			for n := range 2 {
				shared := d.monthly(fmt.Sprint(1000 + n))
				shared.FamilyShared = true
				s.says(fmt.Sprint("shared ", n), userkit.Valid(shared))
				user := d.signUp(t)
				family = append(family, user)
				d.submit(t, user.ID, fmt.Sprint("shared ", n))
			}
			d.clock.Advance(time.Hour)
			s.says("shared 1", userkit.Invalid(userkit.ReasonRevoked, userkit.PurchaseFacts{}))
			s.sends("revoked", userkit.NotificationContent{ID: "n-1", StableID: "1001", Receipt: receiptOf("shared 1")}, nil)
			d.notify(t, "revoked")
			d.requireSubscribed(t, family[0].ID, true)
			d.requireSubscribed(t, family[1].ID, false)
			require.Equal(t, userkit.ReasonRevoked, d.purchases(t, family[1].ID)[0].Reason)
			asked := s.allAsked()
			d.notify(t, "revoked")
			require.Equal(t, asked, s.allAsked())
		}},
		{"brings an ended purchase back", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			d.clock.Advance(time.Hour)
			s.says("1000", userkit.Invalid(userkit.ReasonExpired, userkit.PurchaseFacts{}))
			s.sends("expired", about("n-1", "1000"), nil)
			d.notify(t, "expired")
			d.requireSubscribed(t, user.ID, false)
			d.clock.Advance(time.Hour)
			s.says("1000", userkit.Valid(d.monthly("1000")))
			s.sends("renewed", about("n-2", "1000"), nil)
			events := d.eventsDuring(t, user.ID, func() { d.notify(t, "renewed") })
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseActivated}, eventNames(events))
			require.False(t, d.purchase(t, bought.ID).DueAt.IsZero())
			d.requireSubscribed(t, user.ID, true)
		}},
		{"leads to another verification when the store does not say now", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			d.clock.Advance(time.Hour)
			s.closes(time.Time{})
			s.sends("renewed", about("n-1", "1000"), nil)
			d.notify(t, "renewed")
			require.True(t, d.purchase(t, bought.ID).Active)
			between(t, d.purchase(t, bought.ID).DueAt, d.clock.Now(), d.clock.Now().Add(time.Minute))
			s.opens()
			require.Equal(t, userkit.VerificationReport{Verified: 1}, d.goesOnDue(t, bought.ID))
		}},
		{"that cannot be read is refused with the reader's error", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			d.buy(t, s, user.ID, "1000")
			before, asked := d.picture(t, user.ID), s.allAsked()
			for _, damaged := range []struct {
				err  error
				kind error
				code userkit.Code
			}{
				{userkit.NewError(userkit.CodeInvalidSignature, "", "forged"), userkit.ErrForbidden, userkit.CodeInvalidSignature},
				{userkit.NewError(userkit.CodeBadFormat, "body", "no JSON"), userkit.ErrInvalid, userkit.CodeBadFormat},
				{userkit.NewError(userkit.CodeStoreUnavailable, "", "no keys now"), userkit.ErrUnavailable, userkit.CodeStoreUnavailable},
				{errors.New("a plain error"), userkit.ErrUnavailable, userkit.CodeStoreUnavailable},
			} {
				s.sends("damaged", about("n-1", "1000"), damaged.err)
				err := d.HandleStoreNotification(t.Context(), shopName, userkit.StoreNotification{Body: []byte("damaged")})
				requireCode(t, err, damaged.kind, damaged.code)
			}
			err := d.HandleStoreNotification(t.Context(), shopName, userkit.StoreNotification{Body: []byte(strings.Repeat("x", userkit.MaxStoreNotification+1))})
			requireField(t, err, userkit.ErrInvalid, userkit.CodeTooLong, "body")
			for _, store := range []string{"", "apple", strings.Repeat("x", 1000)} {
				err := d.HandleStoreNotification(t.Context(), store, userkit.StoreNotification{Body: []byte("damaged")})
				requireField(t, err, userkit.ErrInvalid, userkit.CodeUnknownStore, "store")
			}
			require.Equal(t, before, d.picture(t, user.ID))
			require.Equal(t, asked, s.allAsked())
			// What could not be read has not been handled.
			s.sends("damaged", about("n-1", "1000"), nil)
			d.notify(t, "damaged")
			require.Equal(t, asked+1, s.allAsked())
		}},
		{"is to be sent again when it could not be kept, and once more when its answer was lost", func(t *testing.T, env env) {
			s := newShop()
			broken, faults, sound := env.faulty(t, userkit.WithVerifiers(s), atOnce)
			user := sound.signUp(t)
			bought := sound.buy(t, s, user.ID, "1000")
			sound.clock.Advance(time.Hour)
			s.says("1000", userkit.Invalid(userkit.ReasonRevoked, userkit.PurchaseFacts{}))
			s.sends("refunded", about("n-1", "1000"), nil)
			notify := func() error {
				return broken.HandleStoreNotification(t.Context(), shopName, userkit.StoreNotification{Body: []byte("refunded")})
			}
			faults.plan(func(int, userkit.Change) fault { return failBefore }, nil)
			requireCode(t, notify(), userkit.ErrUnavailable, userkit.CodeStoreUnavailable)
			require.True(t, sound.purchase(t, bought.ID).Active)
			events := sound.eventsDuring(t, user.ID, func() {
				faults.first(failAfter)
				require.NoError(t, notify())
				require.NoError(t, notify())
			})
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseDeactivated}, eventNames(events))
			sound.requireSubscribed(t, user.ID, false)
		}},
	}
}

// hangingShop is a shop that does not answer while hangs is set.
type hangingShop struct {
	*shop
	hangs atomic.Bool
	asked chan struct{} // has one for each question that is not answered
}

func (s *hangingShop) Verify(ctx context.Context, receipt userkit.Receipt) userkit.Verdict {
	if s.hangs.Load() {
		s.asked <- struct{}{}
		<-ctx.Done()
		return userkit.Undecided(ctx.Err(), time.Time{})
	}
	return s.shop.Verify(ctx, receipt)
}

// pickyShop is a shop that refuses receipts by their form.
type pickyShop struct{ *shop }

func (s pickyShop) CheckReceipt(_ context.Context, receipt userkit.Receipt) (userkit.Verdict, bool) {
	return userkit.Invalid(userkit.ReasonForged, userkit.PurchaseFacts{}), strings.HasPrefix(receipt.Token, "malformed")
}
