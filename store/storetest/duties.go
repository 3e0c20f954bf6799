package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func dutyGroups() []group {
	return []group{{"Duties", []testCase{{"lose and put off nothing where a clock is ahead", dutiesClockAhead}}}}
}

// A process whose clock is a year ahead does what is due by the clocks of the others, and leaves
// everything else to them as it is.
func dutiesClockAhead(t *testing.T, env env) {
	s, push := newShop(), &pushService{}
	push.answer = func(userkit.Notification) userkit.NotificationResult {
		return userkit.Later(errors.New("nobody is there"), time.Time{})
	}
	options := []userkit.Option{
		userkit.WithVerifiers(s), userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{"": push}), userkit.WithStaleAfter(time.Hour),
	}
	d := env.desk(t, options...)
	now, err := env.store.Now(t.Context())
	require.NoError(t, err)
	d.clock.Set(now.Add(-24 * time.Hour)) // so that what is bought is due again by now
	const year = 365 * 24 * time.Hour
	ahead := d.beside(t, slowStore{env.store, year}, append(options, userkit.WithClock(func() time.Time { return now.Add(year + time.Second) }))...)
	user := d.signUp(t)
	s.says("t", userkit.Valid(userkit.PurchaseFacts{StableID: "t", TransactionID: "t", ProductID: "p", ExpiresAt: now.AddDate(0, 1, 0)}))
	purchase, err := d.SubmitPurchase(t.Context(), user.ID, userkit.Receipt{Store: shopName, Token: "t", ProductID: "p"})
	require.NoError(t, err)
	d.clock.Set(now)
	device := d.register(t, user.ID, userkit.NewDevice{PushToken: "p"})
	session := d.connect(t, user.ID, device.ID)
	message := d.send(t, user.ID, userkit.NewMessage{Subject: "Hello"})

	closed, err := ahead.CloseStaleSessions(t.Context())
	require.NoError(t, err)
	require.Zero(t, closed)
	report, err := ahead.DeliverDueMessages(t.Context())
	require.NoError(t, err)
	require.Equal(t, userkit.DeliveryReport{Later: 1}, report)
	require.True(t, d.delivery(t, message.ID).DueAt.Before(now.Add(time.Hour)))
	verified, err := ahead.VerifyDuePurchases(t.Context())
	require.NoError(t, err)
	after, err := d.Purchase(t.Context(), purchase.ID)
	require.NoError(t, err)
	require.True(t, after.Active)
	require.True(t, after.DueAt.Before(now.AddDate(0, 1, 0)), "%s", after.DueAt)
	if !purchase.DueAt.After(now) {
		require.Equal(t, userkit.VerificationReport{Verified: 1}, verified)
		require.False(t, after.VerifiedAt.Before(now))
	}
	running, err := d.Session(t.Context(), session.ID)
	require.NoError(t, err)
	require.Zero(t, running.EndedAt)

	push.answer = nil
	d.clock.Advance(time.Hour)
	ours, err := env.store.LeaseDeliveries(t.Context(), []userkit.DeviceType{device.Type}, d.clock.Now(), d.clock.Now(), 10)
	require.NoError(t, err)
	require.Len(t, ours, 1, "nobody keeps the delivery")
	due, err := env.store.LeasePurchases(t.Context(), []string{shopName}, after.DueAt, after.DueAt, 10)
	require.NoError(t, err)
	require.Len(t, due, 1, "nobody keeps the purchase")
}
