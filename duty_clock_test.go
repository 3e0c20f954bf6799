package userkit_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// timedStore is a store as a process sees it whose clock is off.
type timedStore struct {
	userkit.Store
	off time.Duration
}

func (s timedStore) Now(context.Context) (time.Time, error) { return time.Now().Add(-s.off), nil }

// shopAndPush is a store of purchases and a push service.
type shopAndPush struct {
	expires time.Time
	asked   int
	away    bool // the push service does not take anything now
	told    int
}

func (s *shopAndPush) Store() string { return "shop" }

func (s *shopAndPush) Verify(_ context.Context, receipt userkit.Receipt) userkit.Verdict {
	s.asked++
	return userkit.Valid(userkit.PurchaseFacts{StableID: receipt.Token, TransactionID: receipt.Token, ProductID: "p", ExpiresAt: s.expires})
}

func (s *shopAndPush) Notify(context.Context, userkit.Notification) userkit.NotificationResult {
	if s.away {
		return userkit.Later(errors.New("away"), time.Time{})
	}
	s.told++
	return userkit.Delivered()
}

// dutyWorld is what a duty is done in: by one process whose clock is right, and another one whose
// clock is wrong.
type dutyWorld struct {
	*testing.T
	*shopAndPush
	now          time.Time // the right time
	right, wrong userkit.Manager
	user         userkit.User
}

func newDutyWorld(t *testing.T, off time.Duration) *dutyWorld {
	w := &dutyWorld{T: t, shopAndPush: &shopAndPush{}, now: time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)}
	w.expires = w.now.AddDate(0, 1, 0)
	store := memory.New()
	manager := func(off time.Duration) userkit.Manager {
		m, err := userkit.New(timedStore{store, off},
			userkit.WithClock(func() time.Time { return w.now.Add(off) }),
			userkit.WithStaleAfter(time.Hour),
			userkit.WithVerifiers(w.shopAndPush),
			userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{"": w.shopAndPush}),
			userkit.WithRetention(userkit.RetentionRule{Kind: userkit.RowsMessages, Keep: userkit.Duration(30 * 24 * time.Hour)}))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, m.Close(context.Background())) })
		return m
	}
	w.right, w.wrong = manager(0), manager(off)
	var err error
	w.user, err = w.right.CreateUser(t.Context(), userkit.NewUser{Login: "ada"})
	require.NoError(t, err)
	return w
}

func (w *dutyWorld) send() {
	_, err := w.right.SendMessage(w.Context(), w.user.ID, userkit.NewMessage{Subject: "Hello"})
	require.NoError(w, err)
}

func (w *dutyWorld) messages() int {
	page, err := w.right.Messages(w.Context(), userkit.MessageQuery{MessageFilter: userkit.MessageFilter{UserID: w.user.ID}})
	require.NoError(w, err)
	return len(page.Items)
}

func (w *dutyWorld) delivery() userkit.Delivery {
	page, err := w.right.Deliveries(w.Context(), userkit.DeliveryQuery{})
	require.NoError(w, err)
	require.Len(w, page.Items, 1)
	return page.Items[0]
}

// requireNow requires that a process took a time for now. How far its clock is ahead is known to the
// time that the store takes to answer.
func (w *dutyWorld) requireNow(at time.Time) {
	w.Helper()
	require.WithinDuration(w, w.now, at, time.Hour)
}

// A process whose clock is wrong by a year does its duties beside one whose clock is right. Whatever
// it does, nothing is lost, and nothing has to wait for it.
func TestDutiesUnderAWrongClock(t *testing.T) {
	type world = *dutyWorld
	for _, name := range userkit.Duties() {
		scenario := map[string]func(w world, wrong, right func()){
			"closing stale sessions": func(w world, wrong, right func()) {
				session, err := w.right.StartSession(w.Context(), userkit.NewSession{UserID: w.user.ID, Node: "n"})
				require.NoError(w, err)
				wrong()
				w.now = w.now.Add(30 * time.Minute)
				wrong()
				got, err := w.right.Session(w.Context(), session.ID)
				require.NoError(w, err)
				require.Zero(w, got.EndedAt)
				w.now = w.now.Add(time.Hour)
				right()
				got, err = w.right.Session(w.Context(), session.ID)
				require.NoError(w, err)
				require.Equal(w, userkit.EndedStale, got.EndReason)
				require.Equal(w, w.now, got.ClosedAt)
			},
			"verifying purchases": func(w world, wrong, right func()) {
				purchase, err := w.right.SubmitPurchase(w.Context(), w.user.ID, userkit.Receipt{Store: "shop", Token: "t", ProductID: "p"})
				require.NoError(w, err)
				for range 5 {
					asked := w.asked
					wrong()
					require.Equal(w, asked, w.asked, "nothing is due")
					w.now = purchase.DueAt
					wrong() // the process whose clock is ahead knows that it is due
					right()
					require.Equal(w, asked+1, w.asked)
					purchase, err = w.right.Purchase(w.Context(), purchase.ID)
					require.NoError(w, err)
					require.True(w, purchase.Active)
					w.requireNow(purchase.VerifiedAt)
					require.True(w, purchase.DueAt.After(w.now) && purchase.DueAt.Before(w.now.AddDate(0, 1, 0)), purchase.DueAt)
				}
			},
			"delivering messages": func(w world, wrong, right func()) {
				_, err := w.right.RegisterDevice(w.Context(), w.user.ID, userkit.NewDevice{PushToken: "p"})
				require.NoError(w, err)
				w.away = true
				w.send()
				wrong()
				right()
				waiting := w.delivery()
				require.Equal(w, userkit.DeliveryWaiting, waiting.State)
				require.Equal(w, 1, waiting.Attempts)
				require.True(w, waiting.DueAt.Before(w.now.Add(time.Hour)))
				wrong()
				w.away = false
				w.now = waiting.DueAt
				right()
				require.Equal(w, userkit.DeliveryDelivered, w.delivery().State)
				require.Equal(w, 1, w.told)
			},
			"deleting what is kept no longer": func(w world, wrong, right func()) {
				w.send()
				wrong()
				require.Equal(w, 1, w.messages())
				w.now = w.now.AddDate(0, 0, 31)
				w.send()
				right()
				require.Equal(w, 1, w.messages(), "the older one is deleted, although the other process may have had the duty")
			},
		}[name]
		require.NotNil(t, scenario, "a scenario for %q", name)
		for which, off := range map[string]time.Duration{"ahead": 366 * 24 * time.Hour, "behind": -366 * 24 * time.Hour} {
			t.Run(name+", "+which, func(t *testing.T) {
				w := newDutyWorld(t, off)
				do := func(m userkit.Manager) func() {
					return func() { require.NoError(t, userkit.DoDuty(t.Context(), m, name)) }
				}
				scenario(w, do(w.wrong), do(w.right))
			})
		}
	}
}

// What a process whose clock is ahead learns about a purchase, from whomever it is asked by, holds
// as long as if its clock were right.
func TestPurchasesSubmittedUnderAFastClock(t *testing.T) {
	w := newDutyWorld(t, 366*24*time.Hour)
	purchase, err := w.wrong.SubmitPurchase(t.Context(), w.user.ID, userkit.Receipt{Store: "shop", Token: "t", ProductID: "p"})
	require.NoError(t, err)
	require.True(t, purchase.Active)
	w.requireNow(purchase.VerifiedAt)
	require.True(t, purchase.DueAt.Before(w.now.AddDate(0, 1, 0)), purchase.DueAt)
	again, err := w.wrong.ActivatePurchase(t.Context(), purchase.ID)
	require.NoError(t, err)
	w.requireNow(again.VerifiedAt)
}

// A clock that is a little ahead is relied on, so that what a process has just made is due at once.
func TestClocksThatAreALittleAhead(t *testing.T) {
	w := newDutyWorld(t, time.Second)
	_, err := w.wrong.RegisterDevice(t.Context(), w.user.ID, userkit.NewDevice{PushToken: "p"})
	require.NoError(t, err)
	_, err = w.wrong.SendMessage(t.Context(), w.user.ID, userkit.NewMessage{Subject: "Hello"})
	require.NoError(t, err)
	report, err := w.wrong.DeliverDueMessages(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, report.Delivered)
}

// The clock that a host gives may be far from that of the store, as in a test of the host that lets a
// month pass.
func TestDutiesGoByTheClockOfTheHost(t *testing.T) {
	w := newDutyWorld(t, 0)
	w.now = time.Now().AddDate(10, 0, 0)
	w.expires = w.now.AddDate(0, 1, 0)
	purchase, err := w.right.SubmitPurchase(t.Context(), w.user.ID, userkit.Receipt{Store: "shop", Token: "t", ProductID: "p"})
	require.NoError(t, err)
	w.now = purchase.DueAt
	report, err := w.right.VerifyDuePurchases(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, report.Verified)
}
