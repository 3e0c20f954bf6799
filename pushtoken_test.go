package userkit_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// A push token names one installation of an app, so it belongs to the device that got it
// last, of whichever user.
func TestAPushTokenBelongsToOneDevice(t *testing.T) {
	ctx := t.Context()
	users, err := userkit.New(memory.New(), userkit.WithClock(tickingClock()),
		userkit.WithLicenses(userkit.License{Name: "one", Devices: 1}))
	require.NoError(t, err)
	create := func(user userkit.NewUser) userkit.UserID {
		created, err := users.CreateUser(ctx, user)
		require.NoError(t, err)
		return created.ID
	}
	register := func(user userkit.UserID, token string) userkit.DeviceID {
		device, err := users.RegisterDevice(ctx, user, userkit.NewDevice{PushToken: token})
		require.NoError(t, err)
		require.Equal(t, token, device.PushToken)
		return device.ID
	}
	tokens := func(devices ...userkit.DeviceID) (tokens []string) {
		for _, id := range devices {
			device, err := users.Device(ctx, id)
			require.NoError(t, err)
			require.Equal(t, device.PushToken == "", device.PushTokenSetAt.IsZero())
			tokens = append(tokens, device.PushToken)
		}
		return tokens
	}
	ada, bob := create(userkit.NewUser{Login: "ada"}), create(userkit.NewUser{Login: "bob"})
	phone, tablet := register(ada, "app"), register(ada, "other")
	bobs := register(bob, "app")
	require.Equal(t, []string{"", "other", "app"}, tokens(phone, tablet, bobs))
	events, err := users.Events(ctx, userkit.EventQuery{EventFilter: userkit.EventFilter{UserID: ada, Name: userkit.EventPushTokenMoved}})
	require.NoError(t, err)
	require.Len(t, events.Items, 1)
	require.Equal(t, phone, events.Items[0].DeviceID)
	require.Empty(t, events.Items[0].Data, "whose device has it now is nobody's business")

	_, err = users.UpdateDevice(ctx, tablet, userkit.DevicePatch{PushToken: userkit.Set("app")})
	require.NoError(t, err)
	require.Equal(t, []string{"", "app", ""}, tokens(phone, tablet, bobs))
	again := register(ada, "app")
	require.Equal(t, []string{"", "", "app"}, tokens(phone, tablet, again))

	// A call that is refused takes nothing.
	full := create(userkit.NewUser{Login: "full", License: "one"})
	register(full, "")
	_, err = users.RegisterDevice(ctx, full, userkit.NewDevice{PushToken: "app"})
	require.Equal(t, userkit.CodeDeviceLimit, userkit.ErrorCode(err))
	_, err = users.UpdateDevice(ctx, userkit.NewID[userkit.Device](), userkit.DevicePatch{PushToken: userkit.Set("app")})
	require.Equal(t, userkit.CodeDeviceNotFound, userkit.ErrorCode(err))
	require.Equal(t, []string{"app"}, tokens(again))
}

// holderRead is a store that does something when the holder of a push token is read.
type holderRead struct {
	userkit.Store
	then func() error
}

func (s *holderRead) DeviceByPushToken(ctx context.Context, token string) (userkit.Device, error) {
	found, err := s.Store.DeviceByPushToken(ctx, token)
	if err == nil && s.then != nil {
		err = s.then()
	}
	return found, err
}

// A device that gets a push token while another one takes it from the device before leaves it to
// that one, which is the last; and when others get it all the time, the call ends.
func TestAPushTokenIsTakenByTwoDevices(t *testing.T) {
	ctx := t.Context()
	store := &holderRead{Store: memory.New()}
	users, err := userkit.New(store)
	require.NoError(t, err)
	user, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	require.NoError(t, err)
	var devices []userkit.DeviceID
	for range 3 {
		device, err := users.RegisterDevice(ctx, user.ID, userkit.NewDevice{})
		require.NoError(t, err)
		devices = append(devices, device.ID)
	}
	set := func(device userkit.DeviceID, token string) error {
		_, err := users.UpdateDevice(ctx, device, userkit.DevicePatch{PushToken: userkit.Set(token)})
		return err
	}
	requireHolder := func(holder userkit.DeviceID) {
		for _, id := range devices {
			device, err := users.Device(ctx, id)
			require.NoError(t, err)
			require.Equal(t, id == holder, device.PushToken == "app")
		}
	}
	move := func(between func() error) error {
		require.NoError(t, set(devices[0], "app"))
		store.then = func() error {
			then := store.then
			store.then = nil
			defer func() { store.then = then }()
			return between()
		}
		defer func() { store.then = nil }()
		return set(devices[1], "app")
	}
	times := 0
	require.NoError(t, move(func() error {
		if times++; times > 1 {
			return nil
		}
		return set(devices[2], "app")
	}))
	require.Equal(t, 2, times)
	requireHolder(devices[1])

	// Whoever had it gives it up, by getting another one, before it is taken from it.
	require.NoError(t, move(func() error { return set(devices[0], "other") }))
	requireHolder(devices[1])
	other, err := users.Device(ctx, devices[0])
	require.NoError(t, err)
	require.Equal(t, "other", other.PushToken)

	require.NoError(t, move(func() error {
		_, err := users.DeleteDevice(ctx, devices[0])
		return err
	}))
	devices = devices[1:]
	requireHolder(devices[0])

	// The store cannot be read: the token stays where it is.
	devices = append(devices, other.ID)[:2]
	store.then = func() error { return userkit.NewError(userkit.CodeStoreUnavailable, "", "away") }
	require.Equal(t, userkit.CodeStoreUnavailable, userkit.ErrorCode(set(devices[1], "app")))
	requireHolder(devices[0])

	others := 0
	store.then = func() error {
		then := store.then
		store.then = nil
		defer func() { store.then = then }()
		others++
		_, err := users.RegisterDevice(ctx, user.ID, userkit.NewDevice{PushToken: "app"})
		return err
	}
	require.Equal(t, userkit.CodeTooManyConflicts, userkit.ErrorCode(set(devices[1], "app")))
	require.Less(t, others, 30)
}

// A device that registers again without its consent withdraws it, and the event says so.
func TestRegisteringAgainRecordsConsent(t *testing.T) {
	ctx := t.Context()
	users, err := userkit.New(memory.New())
	require.NoError(t, err)
	user, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	require.NoError(t, err)
	for _, agrees := range []bool{true, false, false} {
		device, err := users.RegisterDevice(ctx, user.ID, userkit.NewDevice{HardwareID: "phone", LocationConsent: agrees})
		require.NoError(t, err)
		require.Equal(t, agrees, !device.LocationConsentAt.IsZero())
	}
	events, err := users.Events(ctx, userkit.EventQuery{EventFilter: userkit.EventFilter{UserID: user.ID, Name: userkit.EventDeviceRegistered}})
	require.NoError(t, err)
	var said []any
	for _, event := range events.Items { // the newest first
		var data map[string]any
		require.NoError(t, json.Unmarshal(event.Data, &data))
		said = append(said, data["location_consent"])
	}
	require.Equal(t, []any{nil, false, true}, said)
}

// tickingClock returns a clock that is a second later each time.
func tickingClock() func() time.Time {
	var seconds atomic.Int64
	return func() time.Time {
		return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds.Add(1)) * time.Second)
	}
}

// pushClocks opens two processes on one store: the clock of the second is an hour behind.
func pushClocks(t *testing.T, notifier userkit.Notifier) (right, slow userkit.Manager, now func() time.Time) {
	store := memory.New()
	now = tickingClock()
	open := func(clock func() time.Time) userkit.Manager {
		manager, err := userkit.New(store, userkit.WithClock(clock), userkit.WithLogger(slog.New(slog.DiscardHandler)),
			userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{"": notifier}))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, manager.Close(context.Background())) })
		return manager
	}
	return open(now), open(func() time.Time { return now().Add(-time.Hour) }), now
}

// pushAnswer is a notifier.
type pushAnswer func() userkit.NotificationResult

func (answer pushAnswer) Notify(context.Context, userkit.Notification) userkit.NotificationResult {
	return answer()
}

// What a service says of a push token is held against when it was set, which a process whose
// clock is behind must not set back.
func TestASlowClockDoesNotLoseAPushToken(t *testing.T) {
	var answer pushAnswer
	right, slow, now := pushClocks(t, pushAnswer(func() userkit.NotificationResult { return answer() }))
	ctx := t.Context()
	user, err := right.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	require.NoError(t, err)
	newcomer := userkit.NewDevice{HardwareID: "phone", PushToken: "app"}
	device, err := right.RegisterDevice(ctx, user.ID, newcomer)
	require.NoError(t, err)
	token := func() string {
		read, err := right.Device(ctx, device.ID)
		require.NoError(t, err)
		return read.PushToken
	}
	again := func() {
		read, err := right.Device(ctx, device.ID)
		require.NoError(t, err)
		set, err := slow.RegisterDevice(ctx, user.ID, newcomer)
		require.NoError(t, err)
		require.True(t, set.PushTokenSetAt.After(read.PushTokenSetAt), "it was set since")
		read = set
		set, err = slow.UpdateDevice(ctx, device.ID, userkit.DevicePatch{PushToken: userkit.Set("app")})
		require.NoError(t, err)
		require.True(t, set.PushTokenSetAt.After(read.PushTokenSetAt), "it was set since")
	}
	send := func() {
		_, err := right.SendMessage(ctx, user.ID, userkit.NewMessage{Body: "Hello"})
		require.NoError(t, err)
	}

	since := now().Add(-time.Minute) // before it was registered, and after what the slow clock says
	again()
	send()
	answer = func() userkit.NotificationResult { return userkit.Gone(since, nil) }
	report, err := right.DeliverDueMessages(ctx)
	require.NoError(t, err)
	require.Equal(t, userkit.DeliveryReport{Later: 1}, report)
	require.Equal(t, "app", token())

	// It is set again while the notifier is at work.
	send()
	answer = func() userkit.NotificationResult { again(); return userkit.Gone(time.Time{}, nil) }
	report, err = right.DeliverDueMessages(ctx)
	require.NoError(t, err)
	require.Equal(t, userkit.DeliveryReport{Later: 1}, report)
	require.Equal(t, "app", token())

	// A slow process clears what is gone.
	answer = func() userkit.NotificationResult { return userkit.Gone(time.Time{}, nil) }
	_, err = slow.SendMessage(ctx, user.ID, userkit.NewMessage{Body: "Hello"})
	require.NoError(t, err)
	report, err = slow.DeliverDueMessages(ctx)
	require.NoError(t, err)
	require.Equal(t, userkit.DeliveryReport{Gone: 1}, report)
	require.Empty(t, token())
}

// A device that gets a push token through a process whose clock is behind has it, and not the one
// that had it before.
func TestASlowClockMovesAPushToken(t *testing.T) {
	right, slow, _ := pushClocks(t, pushAnswer(userkit.Delivered))
	ctx := t.Context()
	user, err := right.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	require.NoError(t, err)
	first, err := right.RegisterDevice(ctx, user.ID, userkit.NewDevice{PushToken: "app"})
	require.NoError(t, err)
	second, err := slow.RegisterDevice(ctx, user.ID, userkit.NewDevice{PushToken: "app"})
	require.NoError(t, err)
	third, err := right.RegisterDevice(ctx, user.ID, userkit.NewDevice{})
	require.NoError(t, err)
	tokens := func() (tokens []string) {
		for _, id := range []userkit.DeviceID{first.ID, second.ID, third.ID} {
			device, err := right.Device(ctx, id)
			require.NoError(t, err)
			tokens = append(tokens, device.PushToken)
		}
		return tokens
	}
	require.Equal(t, []string{"", "app", ""}, tokens())
	_, err = slow.UpdateDevice(ctx, third.ID, userkit.DevicePatch{PushToken: userkit.Set("app")})
	require.NoError(t, err)
	require.Equal(t, []string{"", "", "app"}, tokens())
}

// Of two devices that get a push token at one moment of a coarse clock, the last one has it.
func TestAStandingClockMovesAPushToken(t *testing.T) {
	ctx := t.Context()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	users, err := userkit.New(memory.New(), userkit.WithClock(func() time.Time { return now }))
	require.NoError(t, err)
	user, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	require.NoError(t, err)
	first, err := users.RegisterDevice(ctx, user.ID, userkit.NewDevice{PushToken: "app"})
	require.NoError(t, err)
	second, err := users.RegisterDevice(ctx, user.ID, userkit.NewDevice{})
	require.NoError(t, err)
	for _, taker := range []userkit.DeviceID{first.ID, second.ID, first.ID} {
		set, err := users.UpdateDevice(ctx, taker, userkit.DevicePatch{PushToken: userkit.Set("app")})
		require.NoError(t, err)
		for _, id := range []userkit.DeviceID{first.ID, second.ID} {
			device, err := users.Device(ctx, id)
			require.NoError(t, err)
			require.Equal(t, id == taker, device.PushToken != "")
		}
		again, err := users.UpdateDevice(ctx, taker, userkit.DevicePatch{PushToken: userkit.Set("app")})
		require.NoError(t, err)
		require.True(t, again.PushTokenSetAt.After(set.PushTokenSetAt), "each time is later")
	}
}

// A push token that was set by a clock that was years ahead can be cleared all the same.
func TestAClockFarAheadKeepsNoPushToken(t *testing.T) {
	ctx := t.Context()
	store := memory.New()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	open := func(ahead time.Duration) userkit.Manager {
		gone := pushAnswer(func() userkit.NotificationResult { return userkit.Gone(now.Add(-time.Minute), nil) })
		users, err := userkit.New(store, userkit.WithClock(func() time.Time { return now.Add(ahead) }),
			userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{"": gone}))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, users.Close(context.Background())) })
		return users
	}
	right, ahead := open(0), open(3*365*24*time.Hour)
	user, err := right.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	require.NoError(t, err)
	device, err := ahead.RegisterDevice(ctx, user.ID, userkit.NewDevice{PushToken: "app"})
	require.NoError(t, err)
	_, err = right.SendMessage(ctx, user.ID, userkit.NewMessage{Body: "Hello"})
	require.NoError(t, err)
	report, err := right.DeliverDueMessages(ctx)
	require.NoError(t, err)
	require.Equal(t, userkit.DeliveryReport{Gone: 1}, report)
	device, err = right.Device(ctx, device.ID)
	require.NoError(t, err)
	require.Empty(t, device.PushToken)
}
