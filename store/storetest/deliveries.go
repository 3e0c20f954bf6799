package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func deliveryGroups() []group {
	return []group{{"Deliveries", []testCase{
		{"go to each device that has a push token and a notifier", deliveredToDevices},
		{"are tried again by a back-off, as long as it makes sense", deliveredLater},
		{"clear push tokens that are gone, unless set since", deliveredToNobody},
		{"survive notifiers that panic and lie", deliveredByLiars},
		{"doubt a notifier that calls gone what it has reached", deliveredInDoubt},
		{"are not held up by the backlog of another service", deliveredBesideBacklog},
		{"go to the service of the type that a device has now", deliveredToNewType},
		{"are left to processes that have a notifier for them", deliveredByAnother},
		{"are shared by processes", deliveredByMany},
		{"tell each device at least once, whatever fails", deliveredThroughFaults},
	}}}
}

func storeDeliveryGroups() []group {
	return []group{{"Deliveries", []testCase{
		{"are listed by message, user, failure and any field", deliveriesListed},
		{"are leased in order, each to one caller at a time", deliveriesLeased},
		{"are leased of each type of device apart", deliveriesLeasedApart},
	}}}
}

// pushService is a push service, as one of its notifiers sees it.
type pushService struct {
	mu     sync.Mutex
	told   []userkit.Notification
	answer func(userkit.Notification) userkit.NotificationResult // nil: delivered
}

func (p *pushService) Notify(_ context.Context, notification userkit.Notification) userkit.NotificationResult {
	p.mu.Lock()
	p.told = append(p.told, notification)
	answer := p.answer
	p.mu.Unlock()
	if answer == nil {
		return userkit.Delivered()
	}
	return answer(notification)
}

// take returns the notifications since it was last called, by push token.
func (p *pushService) take() []userkit.Notification {
	p.mu.Lock()
	defer p.mu.Unlock()
	told := p.told
	p.told = nil
	slices.SortFunc(told, func(a, b userkit.Notification) int { return cmp.Compare(a.PushToken, b.PushToken) })
	return told
}

// withPush opens a manager whose messages go through a push service.
func (e env) withPush(t *testing.T) (*desk, *pushService) {
	t.Helper()
	p := &pushService{}
	return e.desk(t, userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{"": p})), p
}

// send sends a message.
func (d *desk) send(t *testing.T, user userkit.UserID, message userkit.NewMessage) userkit.Message {
	t.Helper()
	sent, err := d.SendMessage(t.Context(), user, message)
	require.NoError(t, err)
	return sent
}

// deliver delivers what is due, and demands what becomes of it.
func (d *desk) deliver(t *testing.T, want userkit.DeliveryReport) {
	t.Helper()
	got, err := d.DeliverDueMessages(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// deliveries reads all deliveries of a filter, by device.
func (d *desk) deliveries(t *testing.T, filter userkit.DeliveryFilter) []userkit.Delivery {
	t.Helper()
	page, err := d.Deliveries(t.Context(), userkit.DeliveryQuery{DeliveryFilter: filter, PageQuery: userkit.PageQuery{Sort: "device_id"}})
	require.NoError(t, err)
	return page.Items
}

// delivery reads the one delivery of a message.
func (d *desk) delivery(t *testing.T, message userkit.MessageID) userkit.Delivery {
	t.Helper()
	all := d.deliveries(t, userkit.DeliveryFilter{MessageID: message})
	require.Len(t, all, 1)
	return all[0]
}

func deliveredToDevices(t *testing.T, env env) {
	apple, web := &pushService{}, &pushService{}
	d := env.desk(t, userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{userkit.DeviceIOS: apple, userkit.DeviceWeb: web}))
	user, other := d.signUp(t), d.signUp(t)
	phone := d.register(t, user.ID, userkit.NewDevice{Type: userkit.DeviceIOS, PushToken: "phone"})
	tablet := d.register(t, user.ID, userkit.NewDevice{Type: userkit.DeviceIOS, PushToken: "tablet"})
	browser := d.register(t, user.ID, userkit.NewDevice{Type: userkit.DeviceWeb, PushToken: "browser"})
	d.register(t, user.ID, userkit.NewDevice{Type: userkit.DeviceIOS})
	d.register(t, user.ID, userkit.NewDevice{Type: userkit.DeviceAndroid, PushToken: "android"}) // which has no notifier
	d.register(t, other.ID, userkit.NewDevice{Type: userkit.DeviceIOS, PushToken: "other"})
	d.clock.Advance(time.Minute)
	news := userkit.NewMessage{
		Subject: "Maintenance", Body: "On *Sunday* " + longest(userkit.MaxNotificationBody, "é"), Format: userkit.MessageMarkdown,
		Data: map[string]string{"page": "status"}, ExpiresAt: d.clock.Now().Add(time.Hour), Key: "k",
	}
	message := d.send(t, user.ID, news)
	require.Equal(t, message, d.send(t, user.ID, news)) // which makes no further deliveries

	waiting := d.deliveries(t, userkit.DeliveryFilter{MessageID: message.ID})
	require.Len(t, waiting, 3)
	for i, device := range []userkit.Device{phone, tablet, browser} {
		delivery := waiting[i]
		require.Equal(t, userkit.Delivery{
			ID: delivery.ID, UserID: user.ID, MessageID: message.ID, DeviceID: device.ID, DeviceType: device.Type,
			State: userkit.DeliveryWaiting, CreatedAt: message.SentAt, DueAt: message.SentAt,
		}, delivery)
	}
	d.clock.Advance(time.Second)
	d.deliver(t, userkit.DeliveryReport{Delivered: 3})
	told := slices.Concat(apple.take(), web.take())
	require.Len(t, told, 3)
	for i, token := range []string{"phone", "tablet", "browser"} {
		require.NoError(t, told[i].Check())
		require.Equal(t, userkit.Notification{
			PushToken: token, Title: "Maintenance", Body: string([]rune(message.Body)[:userkit.MaxNotificationBody-1]) + "…",
			Data: map[string]string{"page": "status", "message_id": message.ID.String()}, CollapseID: strings.ReplaceAll(message.ID.String(), "-", ""),
			ExpiresAt: message.ExpiresAt,
		}, told[i])
	}
	for i, delivery := range d.deliveries(t, userkit.DeliveryFilter{UserID: user.ID}) {
		want := waiting[i]
		want.State, want.Attempts, want.AttemptedAt, want.DueAt = userkit.DeliveryDelivered, 1, d.clock.Now(), time.Time{}
		require.Equal(t, want, delivery)
	}
	d.clock.Advance(24 * time.Hour)
	d.deliver(t, userkit.DeliveryReport{})
	require.Empty(t, d.deliveries(t, userkit.DeliveryFilter{OnlyFailed: true}))
	require.Empty(t, d.deliveries(t, userkit.DeliveryFilter{UserID: other.ID}))

	// A manager without notifiers makes no deliveries, and leaves those that there are.
	plain := d.beside(t, env.store)
	require.Empty(t, plain.deliveries(t, userkit.DeliveryFilter{MessageID: plain.send(t, user.ID, userkit.NewMessage{Body: "x"}).ID}))
	left := d.send(t, user.ID, userkit.NewMessage{Body: "x"})
	plain.deliver(t, userkit.DeliveryReport{})
	require.Len(t, plain.deliveries(t, userkit.DeliveryFilter{MessageID: left.ID}), 3)
}

func deliveredLater(t *testing.T, env env) {
	d, push := env.withPush(t)
	user := d.signUp(t)
	d.register(t, user.ID, userkit.NewDevice{PushToken: "phone"})
	later := func(retryAt time.Time) {
		push.answer = func(userkit.Notification) userkit.NotificationResult {
			return userkit.Later(errors.New("busy"), retryAt)
		}
	}
	later(time.Time{})
	message := d.send(t, user.ID, userkit.NewMessage{Body: "Hello"})
	last := time.Duration(0)
	for attempt := range 9 {
		d.deliver(t, userkit.DeliveryReport{Later: 1})
		d.deliver(t, userkit.DeliveryReport{})
		delivery := d.delivery(t, message.ID)
		require.Equal(t, userkit.DeliveryWaiting, delivery.State)
		require.Equal(t, attempt+1, delivery.Attempts)
		require.Equal(t, "busy", delivery.Detail)
		wait := delivery.DueAt.Sub(d.clock.Now())
		require.Greater(t, wait, min(last, 45*time.Minute-1))
		require.LessOrEqual(t, wait, time.Hour)
		last = wait
		d.clock.Advance(wait)
	}
	later(d.clock.Now().Add(5 * time.Hour)) // as the service asks
	d.deliver(t, userkit.DeliveryReport{Later: 1})
	require.Equal(t, d.clock.Now().Add(5*time.Hour), d.delivery(t, message.ID).DueAt)
	d.clock.Advance(5 * time.Hour)
	later(d.clock.Now().AddDate(100, 0, 0)) // but not for ever
	d.deliver(t, userkit.DeliveryReport{Later: 1})
	require.Equal(t, d.clock.Now().Add(24*time.Hour), d.delivery(t, message.ID).DueAt)
	push.answer = nil
	d.clock.Advance(24 * time.Hour)
	d.deliver(t, userkit.DeliveryReport{Delivered: 1})
	require.Empty(t, d.delivery(t, message.ID).Detail)

	// Until the message expires, or it is old.
	later(time.Time{})
	brief := d.send(t, user.ID, userkit.NewMessage{Body: "now", ExpiresAt: d.clock.Now().Add(time.Minute)})
	lasting := d.send(t, user.ID, userkit.NewMessage{Body: "any time"})
	d.deliver(t, userkit.DeliveryReport{Later: 2})
	d.clock.Advance(time.Minute)
	push.take()
	d.deliver(t, userkit.DeliveryReport{Later: 1, Expired: 1})
	require.Len(t, push.take(), 1)
	delivery := d.delivery(t, brief.ID)
	require.Equal(t, userkit.DeliveryExpired, delivery.State)
	require.Zero(t, delivery.DueAt)
	require.Equal(t, "busy", delivery.Detail, "why it was late")
	for d.delivery(t, lasting.ID).State == userkit.DeliveryWaiting {
		require.LessOrEqual(t, d.clock.Now().Sub(lasting.SentAt), userkit.MaxDeliveryAge)
		d.clock.Advance(d.delivery(t, lasting.ID).DueAt.Sub(d.clock.Now()))
		_, err := d.DeliverDueMessages(t.Context())
		require.NoError(t, err)
	}
	require.Greater(t, d.clock.Now().Sub(lasting.SentAt), userkit.MaxDeliveryAge-2*time.Hour)

	push.answer = func(userkit.Notification) userkit.NotificationResult { return userkit.Refused(errors.New("too big")) }
	refused := d.send(t, user.ID, userkit.NewMessage{Body: "big"})
	d.deliver(t, userkit.DeliveryReport{Refused: 1})
	require.Equal(t, userkit.DeliveryRefused, d.delivery(t, refused.ID).State)
	d.deliver(t, userkit.DeliveryReport{})
	var failed []userkit.MessageID
	page, err := d.Deliveries(t.Context(), userkit.DeliveryQuery{DeliveryFilter: userkit.DeliveryFilter{OnlyFailed: true}})
	require.NoError(t, err)
	for _, delivery := range page.Items {
		failed = append(failed, delivery.MessageID)
	}
	require.Equal(t, refused.ID, failed[0])
	require.ElementsMatch(t, []userkit.MessageID{refused.ID, brief.ID, lasting.ID}, failed)
}

func deliveredToNobody(t *testing.T, env env) {
	d, push := env.withPush(t)
	user := d.signUp(t)
	device := d.register(t, user.ID, userkit.NewDevice{PushToken: "first"})
	now := d.clock.Now
	require.Equal(t, now(), device.PushTokenSetAt)
	token := func() string {
		read, err := d.Device(t.Context(), device.ID)
		require.NoError(t, err)
		require.Equal(t, read.PushToken == "", read.PushTokenSetAt.IsZero())
		return read.PushToken
	}
	set := func(token string) {
		_, err := d.UpdateDevice(t.Context(), device.ID, userkit.DevicePatch{PushToken: userkit.Set(token)})
		require.NoError(t, err)
	}
	gone := func(since time.Time) func(userkit.Notification) userkit.NotificationResult {
		return func(userkit.Notification) userkit.NotificationResult {
			return userkit.Gone(since, errors.New("uninstalled"))
		}
	}
	events := len(d.events(t, user.ID))

	// The device has set the token since the service knows it to be gone, be it the same.
	d.clock.Advance(time.Hour)
	since := now()
	d.clock.Advance(time.Hour)
	set("first")
	require.Len(t, d.events(t, user.ID), events, "that a token is still good is no news")
	push.answer = gone(since)
	message := d.send(t, user.ID, userkit.NewMessage{Body: "Hello"})
	d.deliver(t, userkit.DeliveryReport{Later: 1})
	require.Equal(t, "first", token())

	// It sets another one while the notifier is at work, and is told again at once.
	d.clock.Advance(time.Hour)
	push.answer = func(n userkit.Notification) userkit.NotificationResult {
		if n.PushToken == "first" {
			set("second")
			return gone(time.Time{})(n)
		}
		return userkit.Delivered()
	}
	push.take()
	report, err := d.DeliverDueMessages(t.Context())
	require.NoError(t, err)
	require.Equal(t, userkit.DeliveryReport{Later: 1, Delivered: 1}, report)
	require.Len(t, push.take(), 2)
	require.Equal(t, "second", token())
	require.Equal(t, 3, d.delivery(t, message.ID).Attempts)

	// Otherwise the token is cleared, whatever the service says of the time to come.
	for _, since := range []time.Time{{}, now().Add(-time.Minute), now().AddDate(1, 0, 0)} {
		set("third")
		d.clock.Advance(time.Hour)
		push.answer = gone(since)
		if since.Before(now()) && !since.IsZero() {
			push.answer = gone(now().Add(-time.Minute))
		}
		message := d.send(t, user.ID, userkit.NewMessage{Body: "Hello"})
		d.deliver(t, userkit.DeliveryReport{Gone: 1})
		require.Empty(t, token())
		require.Equal(t, userkit.DeliveryGone, d.delivery(t, message.ID).State)
		all := d.events(t, user.ID)
		last := all[len(all)-1]
		require.Equal(t, userkit.EventPushTokenGone, last.Name)
		require.Equal(t, device.ID, last.DeviceID)
	}

	// What waits for a device that is deleted, or has no token any more, has nobody to go to.
	other := d.register(t, user.ID, userkit.NewDevice{PushToken: "other"})
	set("fourth")
	message = d.send(t, user.ID, userkit.NewMessage{Body: "Hello"})
	_, err = d.DeleteDevice(t.Context(), other.ID)
	require.NoError(t, err)
	set("")
	push.take()
	d.deliver(t, userkit.DeliveryReport{Gone: 2})
	require.Empty(t, push.take())
	require.Len(t, d.deliveries(t, userkit.DeliveryFilter{MessageID: message.ID, OnlyFailed: true}), 2)

	// So has what waits for a user who is deleted.
	set("fifth")
	d.send(t, user.ID, userkit.NewMessage{Body: "Hello"})
	_, err = d.DeleteUser(t.Context(), user.ID, user.ID.String())
	require.NoError(t, err)
	d.deliver(t, userkit.DeliveryReport{})
	require.Empty(t, d.deliveries(t, userkit.DeliveryFilter{}))
}

func deliveredByLiars(t *testing.T, env env) {
	d, push := env.withPush(t)
	user := d.signUp(t)
	d.register(t, user.ID, userkit.NewDevice{PushToken: "phone"})
	for name, c := range map[string]struct {
		answer func(userkit.Notification) userkit.NotificationResult
		report userkit.DeliveryReport
	}{
		"panics": {func(n userkit.Notification) userkit.NotificationResult { panic(n.PushToken) }, userkit.DeliveryReport{Later: 1, Panicked: 1}},
		"ends the goroutine": {func(userkit.Notification) userkit.NotificationResult {
			runtime.Goexit()
			return userkit.Delivered()
		}, userkit.DeliveryReport{Later: 1, Panicked: 1}},
		"has an error that panics": {func(userkit.Notification) userkit.NotificationResult {
			return userkit.Later(panickingError{}, time.Time{})
		}, userkit.DeliveryReport{Later: 1, Panicked: 1}},
		"knows another outcome": {func(userkit.Notification) userkit.NotificationResult {
			return userkit.NotificationResult{Outcome: "done"}
		}, userkit.DeliveryReport{Later: 1}},
		"says nothing": {func(userkit.Notification) userkit.NotificationResult { return userkit.NotificationResult{} }, userkit.DeliveryReport{Later: 1}},
		"asks for the past": {func(userkit.Notification) userkit.NotificationResult {
			return userkit.Later(nil, base.AddDate(-1, 0, 0))
		}, userkit.DeliveryReport{Later: 1}},
		"says a lot": {func(userkit.Notification) userkit.NotificationResult {
			return userkit.Later(errors.New(strings.Repeat("wörter\x00\xff\r\n", 100)), time.Time{})
		}, userkit.DeliveryReport{Later: 1}},
		"scribbles": {func(n userkit.Notification) userkit.NotificationResult {
			n.Data["message_id"] = "another"
			return userkit.Later(nil, time.Time{})
		}, userkit.DeliveryReport{Later: 1}},
	} {
		push.answer = c.answer
		message := d.send(t, user.ID, userkit.NewMessage{Body: name})
		got, err := d.DeliverDueMessages(t.Context())
		require.NoError(t, err, name)
		require.Equal(t, c.report, got, name)
		d.deliver(t, userkit.DeliveryReport{})
		delivery := d.delivery(t, message.ID)
		require.Equal(t, userkit.DeliveryWaiting, delivery.State, name)
		require.Equal(t, 1, delivery.Attempts, name)
		require.True(t, delivery.DueAt.After(d.clock.Now()), name)
		require.LessOrEqual(t, utf8.RuneCountInString(delivery.Detail), userkit.MaxDeliveryDetail, name)
		require.Equal(t, c.report.Panicked == 1, delivery.Detail == "the notifier panicked", name)
		push.answer = nil
		push.take()
		d.clock.Advance(time.Minute)
		d.deliver(t, userkit.DeliveryReport{Delivered: 1})
		require.Empty(t, d.delivery(t, message.ID).Detail, name)
		require.Equal(t, message.ID.String(), push.take()[0].Data["message_id"], name)
	}

	// Who gives up leaves what a notifier does not answer to the next.
	begun, hold := make(chan struct{}), make(chan struct{})
	defer close(hold)
	push.answer = func(userkit.Notification) userkit.NotificationResult {
		close(begun)
		<-hold
		return userkit.Delivered()
	}
	message := d.send(t, user.ID, userkit.NewMessage{Body: "hangs"})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := d.DeliverDueMessages(ctx); done <- err }()
	<-begun
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	push.answer = nil
	d.deliver(t, userkit.DeliveryReport{}) // it is leased
	d.clock.Advance(3 * time.Minute)
	d.deliver(t, userkit.DeliveryReport{Delivered: 1})
	require.Equal(t, userkit.DeliveryDelivered, d.delivery(t, message.ID).State)
}

// panickingError is an error of a careless host.
type panickingError struct{}

func (panickingError) Error() string { panic("no text") }

func deliveredInDoubt(t *testing.T, env env) {
	d, push := env.withPush(t)
	user := d.signUp(t)
	const devices = 4
	for i := range devices {
		d.register(t, user.ID, userkit.NewDevice{PushToken: fmt.Sprint("device ", i)})
	}
	d.send(t, user.ID, userkit.NewMessage{Body: "reaches all"})
	d.deliver(t, userkit.DeliveryReport{Delivered: devices})
	push.answer = func(userkit.Notification) userkit.NotificationResult { return userkit.Gone(time.Time{}, nil) }
	for range 3 {
		d.send(t, user.ID, userkit.NewMessage{Body: "reaches nobody"})
		_, err := d.DeliverDueMessages(t.Context())
		require.NoError(t, err)
		d.clock.Advance(time.Minute)
	}
	page, err := d.Devices(t.Context(), userkit.DeviceQuery{DeviceFilter: userkit.DeviceFilter{UserID: user.ID}})
	require.NoError(t, err)
	cleared := 0
	for _, device := range page.Items {
		if device.PushToken == "" {
			cleared++
		}
	}
	require.Equal(t, 2, cleared, "one is gone, and another; the third is too many")
}

// notifierFunc is a notifier.
type notifierFunc func(ctx context.Context, notification userkit.Notification) userkit.NotificationResult

func (f notifierFunc) Notify(ctx context.Context, notification userkit.Notification) userkit.NotificationResult {
	return f(ctx, notification)
}

func deliveredBesideBacklog(t *testing.T, env env) {
	const backlog = 3000
	told := make(chan userkit.Notification, 10)
	begun := make(chan struct{}, backlog)
	d := env.desk(t, userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{
		userkit.DeviceIOS: notifierFunc(func(ctx context.Context, _ userkit.Notification) userkit.NotificationResult { // hangs
			begun <- struct{}{}
			<-ctx.Done()
			return userkit.Later(ctx.Err(), time.Time{})
		}),
		"": notifierFunc(func(_ context.Context, notification userkit.Notification) userkit.NotificationResult {
			told <- notification
			return userkit.Delivered()
		}),
	}))
	crowd, user := d.signUp(t), d.signUp(t)
	phone := d.register(t, crowd.ID, userkit.NewDevice{Type: userkit.DeviceIOS, PushToken: "phone"})
	d.register(t, user.ID, userkit.NewDevice{Type: userkit.DeviceAndroid, PushToken: "tablet"})
	message := d.send(t, crowd.ID, userkit.NewMessage{Body: "to all"})
	first := d.delivery(t, message.ID)
	owner := d.user(t, crowd.ID)
	change := step(&owner)
	for n := range backlog - 1 {
		delivery := first
		delivery.ID, delivery.DeviceID = deliveryID(n), phone.ID
		change.Deliveries.Insert = append(change.Deliveries.Insert, delivery)
	}
	commit(t, env.store, change)
	d.clock.Advance(time.Second)
	d.send(t, user.ID, userkit.NewMessage{Body: "due after all of them"})

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := d.DeliverDueMessages(ctx); done <- err }()
	require.Equal(t, "tablet", (<-told).PushToken)
	<-begun // and does not answer
	all, err := env.store.Deliveries(t.Context(), userkit.DeliveryFilter{MessageID: message.ID},
		userkit.ListRange{Order: userkit.Order{Field: "created_at"}, Limit: whole})
	require.NoError(t, err)
	require.Len(t, all, backlog)
	leased := 0
	for _, delivery := range all {
		if !delivery.LeasedUntil.IsZero() {
			leased++
		}
	}
	require.Positive(t, leased)
	require.Less(t, leased, backlog/4, "what nobody is told of now is left to others")

	// Nor does it hold up what is sent meanwhile.
	d.send(t, user.ID, userkit.NewMessage{Body: "sent later"})
	require.Equal(t, "sent later", (<-told).Body)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}

func deliveredToNewType(t *testing.T, env env) {
	apple, other := &pushService{}, &pushService{}
	d := env.desk(t, userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{userkit.DeviceIOS: apple, "": other}))
	user := d.signUp(t)
	device := d.register(t, user.ID, userkit.NewDevice{PushToken: "phone"})
	message := d.send(t, user.ID, userkit.NewMessage{Body: "Hello"})
	_, err := d.UpdateDevice(t.Context(), device.ID, userkit.DevicePatch{Type: userkit.Set(userkit.DeviceIOS)})
	require.NoError(t, err)
	d.deliver(t, userkit.DeliveryReport{Later: 1, Delivered: 1})
	require.Empty(t, other.take())
	require.Len(t, apple.take(), 1)
	delivery := d.delivery(t, message.ID)
	require.Equal(t, userkit.DeviceIOS, delivery.DeviceType)
	require.Equal(t, 1, delivery.Attempts)
}

func deliveredByAnother(t *testing.T, env env) {
	apple, web := &pushService{}, &pushService{}
	d := env.desk(t, userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{userkit.DeviceIOS: apple}))
	e := d.beside(t, env.second(t), userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{userkit.DeviceWeb: web}))
	user := d.signUp(t)
	d.register(t, user.ID, userkit.NewDevice{Type: userkit.DeviceIOS, PushToken: "phone"})
	message := d.send(t, user.ID, userkit.NewMessage{Body: "Hello"})
	e.deliver(t, userkit.DeliveryReport{})
	require.Zero(t, d.delivery(t, message.ID).LeasedUntil)
	d.deliver(t, userkit.DeliveryReport{Delivered: 1})
	require.Len(t, apple.take(), 1)

	// What nobody has a notifier for any more expires in the end.
	message = d.send(t, user.ID, userkit.NewMessage{Body: "Hello"})
	d.clock.Advance(userkit.MaxDeliveryAge / 2)
	e.deliver(t, userkit.DeliveryReport{Later: 1})
	require.Equal(t, userkit.DeliveryWaiting, d.delivery(t, message.ID).State)
	d.clock.Advance(userkit.MaxDeliveryAge)
	e.deliver(t, userkit.DeliveryReport{Expired: 1})
	require.Equal(t, userkit.DeliveryExpired, d.delivery(t, message.ID).State)
	require.Zero(t, d.delivery(t, message.ID).Attempts)
	require.Empty(t, web.take())
}

func deliveredByMany(t *testing.T, env env) {
	const users, devices, processes = 15, 3, 3
	d, push := env.withPush(t)
	var desks []*desk
	for i := range processes {
		store := env.store
		if i > 0 {
			store = env.second(t)
		}
		desks = append(desks, d.beside(t, store, userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{"": push})))
	}
	for range users {
		user := d.signUp(t)
		for i := range devices {
			d.register(t, user.ID, userkit.NewDevice{PushToken: fmt.Sprint(user.Login, " ", i)})
		}
		d.send(t, user.ID, userkit.NewMessage{Body: "Hello"})
	}
	// A process dies with what it has leased.
	lost, err := env.store.LeaseDeliveries(t.Context(), []userkit.DeviceType{userkit.DeviceOther}, d.clock.Now(), d.clock.Now().Add(2*time.Minute), 5)
	require.NoError(t, err)
	require.Len(t, lost, 5)
	told := map[string]int{}
	var mutex sync.Mutex
	round := func() (sum int) {
		for _, err := range race(processes, func(process int) error {
			report, err := desks[process].DeliverDueMessages(t.Context())
			mutex.Lock()
			sum += report.Delivered
			mutex.Unlock()
			return err
		}) {
			require.NoError(t, err)
		}
		for _, notification := range push.take() {
			told[notification.PushToken]++
		}
		return sum
	}
	require.Equal(t, users*devices-5, round())
	require.Zero(t, round())
	d.clock.Advance(2 * time.Minute)
	require.Equal(t, 5, round())
	require.Len(t, told, users*devices)
	for token, times := range told {
		require.Equal(t, 1, times, token)
	}
}

func deliveredThroughFaults(t *testing.T, env env) {
	push := &pushService{}
	broken, faults, sound := env.faulty(t, userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{"": push}))
	const users = 6
	told := map[string]int{} // by collapse id: the device shows each once
	send := func() {
		for range users {
			user := sound.signUp(t)
			sound.register(t, user.ID, userkit.NewDevice{PushToken: user.Login})
			sound.send(t, user.ID, userkit.NewMessage{Body: "Hello"})
		}
	}
	tell := func() {
		for _, notification := range push.take() {
			told[notification.CollapseID]++
		}
	}
	settled := func(all int) {
		t.Helper()
		tell()
		require.Len(t, told, all)
		deliveries := sound.deliveries(t, userkit.DeliveryFilter{})
		require.Len(t, deliveries, all)
		for _, delivery := range deliveries {
			require.Equal(t, userkit.DeliveryDelivered, delivery.State)
			require.Positive(t, told[strings.ReplaceAll(delivery.MessageID.String(), "-", "")])
		}
	}

	// Answers are lost on the way, and commits do not come through.
	send()
	faults.plan(func(call int, _ userkit.Change) fault {
		return []fault{failAfter, failBefore, conflict, noFault}[call%4]
	}, nil)
	broken.deliver(t, userkit.DeliveryReport{Delivered: users})
	settled(users)
	for id, times := range told {
		require.Equal(t, 1, times, id)
	}

	// The store fails for good once the devices are told: whoever comes next tells them again.
	send()
	faults.plan(func(int, userkit.Change) fault { return failBefore }, nil)
	_, err := broken.DeliverDueMessages(t.Context())
	require.ErrorIs(t, err, userkit.ErrUnavailable)
	tell()
	require.Greater(t, len(told), users)
	faults.heal()
	sound.deliver(t, userkit.DeliveryReport{}) // they are leased
	sound.clock.Advance(3 * time.Minute)
	sound.deliver(t, userkit.DeliveryReport{Delivered: users})
	settled(2 * users)
}

func deliveriesListed(t *testing.T, env env) {
	a, b := dossier{user: newUser(1)}, dossier{user: newUser(2)}
	for n := range 12 {
		d := &a
		if n%3 == 0 {
			d = &b
		}
		delivery := newDelivery(d.user.ID, n*7%12)
		delivery.MessageID, delivery.CreatedAt = messageID(n%4), at(n/2)
		delivery.State = []userkit.DeliveryState{
			userkit.DeliveryWaiting, userkit.DeliveryDelivered, userkit.DeliveryGone, userkit.DeliveryRefused, userkit.DeliveryExpired,
		}[n%5]
		if n%2 == 0 {
			delivery.DueAt, delivery.AttemptedAt, delivery.LeasedUntil = time.Time{}, time.Time{}, time.Time{}
		}
		d.deliveries = append(d.deliveries, delivery)
	}
	createAll(t, env.store, a, b)
	all := slices.Concat(a.deliveries, b.deliveries)
	for _, filter := range []userkit.DeliveryFilter{
		{}, {OnlyFailed: true}, {UserID: a.user.ID}, {UserID: b.user.ID, OnlyFailed: true}, {MessageID: messageID(2)},
		{MessageID: messageID(1), UserID: a.user.ID}, {MessageID: messageID(3), OnlyFailed: true}, {UserID: userID(9)}, {MessageID: messageID(9)},
	} {
		var want []userkit.Delivery
		for _, delivery := range all {
			if (filter.UserID.IsZero() || delivery.UserID == filter.UserID) && (filter.MessageID.IsZero() || delivery.MessageID == filter.MessageID) &&
				(!filter.OnlyFailed || delivery.State.Failed()) {
				want = append(want, delivery)
			}
		}
		for _, field := range userkit.DeliveryFields() {
			for _, descending := range []bool{false, true} {
				list := userkit.ListRange{Order: userkit.Order{Field: field.Name, Descending: descending}, Limit: 5}
				position := func(d *userkit.Delivery) userkit.ListPosition {
					return userkit.ListPosition{Key: field.Key(d), ID: d.ID}
				}
				slices.SortFunc(want, func(x, y userkit.Delivery) int {
					if descending {
						x, y = y, x
					}
					return userkit.CompareListPositions(position(&x), position(&y))
				})
				var got []userkit.Delivery
				for {
					page, err := env.store.Deliveries(t.Context(), filter, list)
					require.NoError(t, err)
					got = append(got, page...)
					if len(page) < list.Limit {
						break
					}
					after := position(&page[len(page)-1])
					list.After = &after
				}
				requireList(t, want, got, deliveryRecordID, fmt.Sprintf("%+v by %s", filter, field.Name))
			}
		}
	}
	_, err := env.store.Deliveries(t.Context(), userkit.DeliveryFilter{}, userkit.ListRange{Order: userkit.Order{Field: "leased_until"}, Limit: 1})
	requireCode(t, err, userkit.ErrInvalid, userkit.CodeUnknownField)
}

func deliveriesLeased(t *testing.T, env env) {
	toWeb := []userkit.DeviceType{userkit.DeviceWeb}
	d, other := dossier{user: newUser(1)}, newDossier(50)
	for n := range 6 {
		delivery := newDelivery(d.user.ID, n)
		delivery.DueAt, delivery.LeasedUntil = at(-(n * 5 % 6)), time.Time{}
		d.deliveries = append(d.deliveries, delivery)
	}
	late, done := newDelivery(d.user.ID, 10), newFailedDelivery(d.user.ID, 11)
	late.DueAt, late.LeasedUntil = at(0).Add(time.Microsecond), time.Time{}
	d.deliveries = append(d.deliveries, late, done)
	createAll(t, env.store, d, other)
	inOrder := slices.Clone(d.deliveries[:6])
	slices.SortFunc(inOrder, func(a, b userkit.Delivery) int { return a.DueAt.Compare(b.DueAt) })
	lease := func(seconds, limit int, want ...userkit.Delivery) {
		t.Helper()
		got, err := env.store.LeaseDeliveries(t.Context(), toWeb, at(seconds), at(seconds+60), limit)
		require.NoError(t, err)
		for i := range want {
			want[i].LeasedUntil = at(seconds + 60)
		}
		requireList(t, want, got, deliveryRecordID)
	}
	lease(0, 2, inOrder[:2]...)
	lease(0, 10, inOrder[2:]...)
	lease(1, 10, late)
	lease(59, 10)
	lease(60, 1, inOrder[0])
	requireDossier(t, env.store, other)

	// A change that was decided before the lease may be made; a deletion ends all.
	change := step(&d.user)
	inOrder[1].DueAt, inOrder[1].LeasedUntil = time.Time{}, time.Time{}
	change.Deliveries.Update = []userkit.Delivery{inOrder[1]}
	commit(t, env.store, change)
	leased, err := env.store.LeaseDeliveries(t.Context(), toWeb, at(1000), at(2000), 100)
	require.NoError(t, err)
	require.Len(t, leased, 6)
	deletion := step(&d.user)
	deletion.Delete = true
	commit(t, env.store, deletion)
	leased, err = env.store.LeaseDeliveries(t.Context(), toWeb, at(3000), at(4000), 100)
	require.NoError(t, err)
	require.Empty(t, leased)
	requireDossier(t, env.store, other)
}

func deliveriesLeasedApart(t *testing.T, env env) {
	d := dossier{user: newUser(1)}
	types := []userkit.DeviceType{userkit.DeviceAndroid, userkit.DeviceIOS, userkit.DeviceWeb}
	for n := range 9 {
		delivery := newDelivery(d.user.ID, n)
		delivery.DeviceType, delivery.DueAt, delivery.LeasedUntil = types[n/3], at(-n), time.Time{}
		d.deliveries = append(d.deliveries, delivery)
	}
	createAll(t, env.store, d)
	lease := func(limit int, types []userkit.DeviceType, want ...int) {
		t.Helper()
		got, err := env.store.LeaseDeliveries(t.Context(), types, at(0), at(60), limit)
		require.NoError(t, err)
		var expected []userkit.Delivery
		for _, n := range want {
			delivery := d.deliveries[n]
			delivery.LeasedUntil = at(60)
			expected = append(expected, delivery)
		}
		requireList(t, expected, got, deliveryRecordID)
	}
	lease(5, nil)
	lease(5, []userkit.DeviceType{userkit.DeviceOther, "", "a\x00b", "\xff"})
	lease(2, []userkit.DeviceType{userkit.DeviceWeb, userkit.DeviceAndroid}, 2, 1, 8, 7)
	lease(2, []userkit.DeviceType{userkit.DeviceWeb, userkit.DeviceIOS}, 5, 4, 6)
	lease(9, types, 0, 3)
	lease(9, types)

	// A delivery that is of another type now is found by it.
	change := step(&d.user)
	d.deliveries[3].DeviceType = userkit.DeviceWeb
	change.Deliveries.Update = []userkit.Delivery{d.deliveries[3]}
	commit(t, env.store, change)
	lease(9, []userkit.DeviceType{userkit.DeviceIOS})
	lease(9, []userkit.DeviceType{userkit.DeviceWeb}, 3)
}
