package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// feed reads the feed from a cursor until so many events have come, and demands
// that there are no more. A store may hold an event back while anything that began
// before it is under way, so this asks again until the tests' own time is up.
func (d *desk) feed(t *testing.T, after userkit.FeedCursor, count int) []userkit.Event {
	t.Helper()
	var events []userkit.Event
	for {
		more, err := d.feedOnce(t, after)
		require.NoError(t, err)
		if len(more) > 0 {
			after = more[len(more)-1].Cursor
			events = append(events, more...)
			continue
		}
		if len(events) >= count {
			break
		}
		require.False(t, outOfTime(t), "the feed has %d events, not %d", len(events), count)
		time.Sleep(time.Millisecond)
	}
	require.Len(t, events, count)
	return canonicalEvents(t, events)
}

// feedOnce reads the feed to where it ends for now.
func (d *desk) feedOnce(t *testing.T, after userkit.FeedCursor) ([]userkit.Event, error) {
	var events []userkit.Event
	for event, err := range d.Feed(t.Context(), after) {
		if err != nil {
			return nil, err
		}
		events = append(events, event)
	}
	return events, nil
}

func activityGroups() []group {
	return []group{
		{"EveryChange", everyChangeCases()},
		{"RecordEvent", recordEventCases()},
		{"Events", eventListCases()},
		{"Feed", feedCases()},
	}
}

func everyChangeCases() []testCase {
	// scene is a user on which every change can be made once.
	type scene struct {
		user    userkit.User
		device  userkit.Device
		session userkit.Session
		last    userkit.Transaction
	}
	set := func(t *testing.T, d *desk) scene {
		t.Helper()
		var s scene
		s.user = d.signUp(t, withStatus(userkit.StatusInvited))
		s.device = d.register(t, s.user.ID, userkit.NewDevice{Name: "name", HardwareID: "hw"})
		s.session = d.connect(t, s.user.ID, userkit.DeviceID{})
		s.last = d.refill(t, s.user.ID, 100, "scene")
		d.clock.Advance(time.Minute)
		return s
	}
	changes := []struct {
		name     string
		event    userkit.EventName
		ofDevice bool
		make     func(t *testing.T, d *desk, s scene, actor userkit.Actor) error
	}{
		{"UpdateUser", userkit.EventUserUpdated, false, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			_, err := d.UpdateUser(userkit.WithActor(t.Context(), actor), s.user.ID, userkit.UserPatch{Name: userkit.Set("Edited")})
			return err
		}},
		{"ActivateUser", userkit.EventUserActivated, false, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			_, err := d.ActivateUser(userkit.WithActor(t.Context(), actor), s.user.ID)
			return err
		}},
		{"RecordLogin", userkit.EventUserLoggedIn, false, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			_, err := d.RecordLogin(userkit.WithActor(t.Context(), actor), s.user.ID, "oidc")
			return err
		}},
		{"SetLicense", userkit.EventLicenseSet, false, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			_, err := d.SetLicense(userkit.WithActor(t.Context(), actor), s.user.ID, fiveDevices)
			return err
		}},
		{"RegisterDevice", userkit.EventDeviceRegistered, false, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			_, err := d.RegisterDevice(userkit.WithActor(t.Context(), actor), s.user.ID, userkit.NewDevice{})
			return err
		}},
		{"RegisterDevice again", userkit.EventDeviceRegistered, true, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			_, err := d.RegisterDevice(userkit.WithActor(t.Context(), actor), s.user.ID, userkit.NewDevice{HardwareID: "hw"})
			return err
		}},
		{"UpdateDevice", userkit.EventDeviceUpdated, true, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			_, err := d.UpdateDevice(userkit.WithActor(t.Context(), actor), s.device.ID, userkit.DevicePatch{Name: userkit.Set("Edited")})
			return err
		}},
		{"DeleteDevice", userkit.EventDeviceDeleted, true, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			_, err := d.DeleteDevice(userkit.WithActor(t.Context(), actor), s.device.ID)
			return err
		}},
		{"RotateToken", userkit.EventTokenRotated, true, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			_, err := d.RotateToken(userkit.WithActor(t.Context(), actor), s.device.ID)
			return err
		}},
		{"RevealToken", userkit.EventTokenRevealed, true, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			_, err := d.RevealToken(userkit.WithActor(t.Context(), actor), s.device.ID)
			return err
		}},
		{"StartSession", userkit.EventSessionStarted, true, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			_, err := d.StartSession(userkit.WithActor(t.Context(), actor), userkit.NewSession{UserID: s.user.ID, DeviceID: s.device.ID, Node: "node"})
			return err
		}},
		{"EndSession", userkit.EventSessionEnded, false, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			_, err := d.EndSession(userkit.WithActor(t.Context(), actor), s.session.ID, userkit.UsageReport{})
			return err
		}},
		{"ReportUsage", userkit.EventTrafficReported, false, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			results, err := d.ReportUsage(userkit.WithActor(t.Context(), actor), []userkit.UsageReport{{SessionID: s.session.ID, Received: 5}})
			require.NoError(t, results[0].Err)
			return err
		}},
		{"SetTrafficLimit", userkit.EventTrafficLimitSet, false, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			_, err := d.SetTrafficLimit(userkit.WithActor(t.Context(), actor), s.user.ID, userkit.TrafficLimit{Bytes: 1 << 40}, true)
			return err
		}},
		{"Refill", userkit.EventBalanceRefilled, false, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			_, err := d.Refill(userkit.WithActor(t.Context(), actor), s.user.ID, userkit.Entry{Amount: euro(1), Key: "key"})
			return err
		}},
		{"Charge", userkit.EventBalanceCharged, false, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			_, err := d.Charge(userkit.WithActor(t.Context(), actor), s.user.ID, userkit.Entry{Amount: euro(1), Key: "key"})
			return err
		}},
		{"CancelLast", userkit.EventBalanceCancelled, false, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			_, err := d.CancelLast(userkit.WithActor(t.Context(), actor), s.user.ID, s.last.ID)
			return err
		}},
		{"RecordEvent", "host.event", false, func(t *testing.T, d *desk, s scene, actor userkit.Actor) error {
			_, err := d.RecordEvent(userkit.WithActor(t.Context(), actor), s.user.ID, userkit.NewEvent{Name: "host.event"})
			return err
		}},
	}
	return []testCase{
		{"writes one event that says who, what and when, and none for another user", func(t *testing.T, env env) {
			d := env.desk(t, patient, userkit.WithUsageEvents(), userkit.WithSealingKeys(sealingKey(1)))
			for _, change := range changes {
				t.Run(change.name, func(t *testing.T) {
					scene, beside := set(t, d), set(t, d)
					actor := administrator
					before := d.events(t, beside.user.ID)
					events := d.eventsDuring(t, scene.user.ID, func() { require.NoError(t, change.make(t, d, scene, actor)) })
					require.Equal(t, []userkit.EventName{change.event}, eventNames(events))
					event := events[0]
					require.Equal(t, actor, event.Actor)
					require.Equal(t, d.clock.Now(), event.At)
					require.Equal(t, scene.user.ID, event.UserID)
					if change.ofDevice {
						require.Equal(t, scene.device.ID, event.DeviceID)
					}
					require.Equal(t, before, d.events(t, beside.user.ID))
				})
			}
		}},
		{"of a deleted user stays in no record of others", nameErased},
		{"creating, disabling and deleting a user write theirs", func(t *testing.T, env env) {
			d := env.desk(t)
			ctx := userkit.WithActor(t.Context(), administrator)
			user, err := d.CreateUser(ctx, userkit.NewUser{})
			require.NoError(t, err)
			_, err = d.DeactivateUser(ctx, user.ID)
			require.NoError(t, err)
			events := d.events(t, user.ID)
			require.Equal(t, []userkit.EventName{userkit.EventUserCreated, userkit.EventUserDeactivated}, eventNames(events))
			_, err = d.DeleteUser(ctx, user.ID, user.ID.String())
			require.NoError(t, err)
			events = append(events, d.events(t, user.ID)...)
			require.Equal(t, []userkit.EventName{userkit.EventUserCreated, userkit.EventUserDeactivated, userkit.EventUserDeleted}, eventNames(events))
			for _, event := range events {
				require.Equal(t, administrator, event.Actor)
			}
		}},
		{"is the system's when nobody is named", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			require.Equal(t, userkit.Actor{Kind: userkit.ActorSystem}, d.events(t, user.ID)[0].Actor)
			ctx := userkit.WithActor(t.Context(), userkit.Actor{ID: "job-1"})
			_, err := d.RecordEvent(ctx, user.ID, userkit.NewEvent{Name: "host.event"})
			require.NoError(t, err)
			require.Equal(t, userkit.Actor{Kind: userkit.ActorSystem, ID: "job-1"}, d.events(t, user.ID)[1].Actor)
		}},
		{"of many callers keeps each with its own actor", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			answers := together(30, func(i int) (userkit.Transaction, error) {
				ctx := userkit.WithActor(t.Context(), userkit.Actor{Kind: userkit.ActorAdministrator, ID: fmt.Sprint("staff-", i)})
				return d.Refill(ctx, user.ID, userkit.Entry{Amount: euro(1), Key: fmt.Sprint("key of staff-", i)})
			})
			for _, transaction := range values(t, answers) {
				require.Equal(t, "key of "+transaction.Actor.ID, transaction.Key)
			}
			seen := map[string]int{}
			for _, event := range d.events(t, user.ID)[1:] {
				seen[event.Actor.ID]++
			}
			require.Len(t, seen, 30)
		}},
		{"that is refused writes none", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, withStatus(userkit.StatusInactive))
			events := d.eventsDuring(t, user.ID, func() {
				_, err := d.RecordLogin(t.Context(), user.ID, "")
				requireCode(t, err, userkit.ErrRefused, userkit.CodeUserInactive)
				_, err = d.RegisterDevice(t.Context(), user.ID, userkit.NewDevice{})
				requireCode(t, err, userkit.ErrRefused, userkit.CodeUserInactive)
				_, err = d.Charge(t.Context(), user.ID, userkit.Entry{Amount: euro(1), Key: "key"})
				requireCode(t, err, userkit.ErrRefused, userkit.CodeInsufficientBalance)
			})
			require.Empty(t, events)
		}},
		{"is refused when its actor is no text that can be kept", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.household(t)
			before := d.picture(t, user.ID)
			for name, actor := range map[string]userkit.Actor{
				"an id with a NUL":       {ID: "a\x00"},
				"a name of invalid text": {Name: "a\xff"},
				"a long id":              {ID: strings.Repeat("é", userkit.MaxLine+1)},
				"a long name":            {Name: strings.Repeat("é", userkit.MaxLine+1)},
			} {
				t.Run(name, func(t *testing.T) {
					_, err := d.Refill(userkit.WithActor(t.Context(), actor), user.ID, userkit.Entry{Amount: euro(1), Key: "key"})
					require.ErrorIs(t, err, userkit.ErrInvalid)
				})
			}
			require.Equal(t, before, d.picture(t, user.ID))
		}},
	}
}

func recordEventCases() []testCase {
	return []testCase{
		{"keeps every field that it is given", func(t *testing.T, env env) {
			d := env.desk(t)
			user, other := d.signUp(t), d.household(t)
			device := d.register(t, user.ID, userkit.NewDevice{})
			beside := d.picture(t, other.ID)
			given := userkit.NewEvent{
				Name: "shop.visited-2_times", DeviceID: device.ID, At: at(-3600),
				Data: map[string]any{"page": "prices", "items": []int{1, 2}, "big": int64(9_007_199_254_740_993), "text": "it's \"so\" & <so> 😀"},
			}
			event, err := d.RecordEvent(userkit.WithActor(t.Context(), administrator), user.ID, given)
			require.NoError(t, err)
			data, err := json.Marshal(given.Data)
			require.NoError(t, err)
			want := userkit.Event{ID: event.ID, UserID: user.ID, DeviceID: device.ID, Name: given.Name, Actor: administrator, At: at(-3600), Data: data}
			require.False(t, event.ID.IsZero())
			requireEvents(t, []userkit.Event{want}, []userkit.Event{event})
			stored := slices.DeleteFunc(d.events(t, user.ID), func(event userkit.Event) bool { return event.Name != given.Name })
			requireEvents(t, []userkit.Event{want}, stored)
			require.Equal(t, beside, d.picture(t, other.ID))
		}},
		{"happens now, with no data, unless told", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			event, err := d.RecordEvent(t.Context(), user.ID, userkit.NewEvent{Name: "x"})
			require.NoError(t, err)
			require.Equal(t, userkit.Event{ID: event.ID, UserID: user.ID, Name: "x", Actor: userkit.Actor{Kind: userkit.ActorSystem}, At: base}, event)
			requireEvents(t, []userkit.Event{event}, d.events(t, user.ID)[1:])
		}},
		{"keeps data of every kind of JSON", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			for _, data := range []any{true, 0, "text", []any{}, map[string]any{}, []any{nil, 1.5, "é"}, json.RawMessage(` {"raw" : [1, 2] } `), struct{ A int }{7}} {
				event, err := d.RecordEvent(t.Context(), user.ID, userkit.NewEvent{Name: "host.data", Data: data})
				require.NoError(t, err)
				want, err := json.Marshal(data)
				require.NoError(t, err)
				events := d.events(t, user.ID)
				require.JSONEq(t, string(want), string(event.Data))
				require.JSONEq(t, string(want), string(events[len(events)-1].Data))
			}
		}},
		{"keeps every digit of a number", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			for _, number := range []string{"18446744073709551615", "-9223372036854775808", "9007199254740993", "0.1", "1.5"} {
				event, err := d.RecordEvent(t.Context(), user.ID, userkit.NewEvent{Name: "host.data", Data: map[string]any{"n": json.Number(number)}})
				require.NoError(t, err)
				events := d.events(t, user.ID)
				for _, event := range canonicalEvents(t, []userkit.Event{event, events[len(events)-1]}) {
					require.Equal(t, `{"n":`+number+`}`, string(event.Data))
				}
			}
		}},
		{"refuses names that are userkit's own", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			for _, name := range []userkit.EventName{
				userkit.EventUserCreated, userkit.EventUserDeleted, userkit.EventDeviceRegistered, userkit.EventTokenRevealed,
				userkit.EventSessionStarted, userkit.EventTrafficReported, userkit.EventBalanceRefilled, userkit.EventBalanceCancelled, userkit.EventLicenseSet,
			} {
				_, err := d.RecordEvent(t.Context(), user.ID, userkit.NewEvent{Name: name})
				requireField(t, err, userkit.ErrInvalid, userkit.CodeReservedName, "name")
			}
			require.Len(t, d.events(t, user.ID), 1)
		}},
		{"refuses every wrong value with its code and field, and writes nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			for name, wrong := range map[string]struct {
				event userkit.NewEvent
				codes []userkit.Code
				field string
			}{
				"no name":               {userkit.NewEvent{}, []userkit.Code{userkit.CodeRequired, userkit.CodeBadFormat}, "name"},
				"a long name":           {userkit.NewEvent{Name: userkit.EventName(strings.Repeat("x", 65))}, []userkit.Code{userkit.CodeTooLong, userkit.CodeBadFormat}, "name"},
				"a name in capitals":    {userkit.NewEvent{Name: "Host"}, []userkit.Code{userkit.CodeBadFormat}, "name"},
				"a name with a space":   {userkit.NewEvent{Name: "a b"}, []userkit.Code{userkit.CodeBadFormat}, "name"},
				"a name with a NUL":     {userkit.NewEvent{Name: "a\x00"}, []userkit.Code{userkit.CodeBadFormat, userkit.CodeBadText}, "name"},
				"a name with an accent": {userkit.NewEvent{Name: "é"}, []userkit.Code{userkit.CodeBadFormat}, "name"},
				"data too large":        {userkit.NewEvent{Name: "x", Data: strings.Repeat("x", userkit.MaxEventData)}, []userkit.Code{userkit.CodeTooLong}, "data"},
				"data of a channel":     {userkit.NewEvent{Name: "x", Data: make(chan int)}, []userkit.Code{userkit.CodeBadFormat}, "data"},
				"data that is no JSON":  {userkit.NewEvent{Name: "x", Data: json.RawMessage(`{"a":`)}, []userkit.Code{userkit.CodeBadFormat}, "data"},
			} {
				t.Run(name, func(t *testing.T) {
					_, err := d.RecordEvent(t.Context(), user.ID, wrong.event)
					require.ErrorIs(t, err, userkit.ErrInvalid)
					require.Contains(t, wrong.codes, userkit.ErrorCode(err), "%v", err)
					require.Equal(t, wrong.field, detail(t, err).Field)
				})
			}
			require.Len(t, d.events(t, user.ID), 1)
			longest := userkit.NewEvent{Name: userkit.EventName(strings.Repeat("x", 64)), Data: strings.Repeat("x", userkit.MaxEventData-2)}
			_, err := d.RecordEvent(t.Context(), user.ID, longest)
			require.NoError(t, err)
		}},
		{"data with a NUL is kept or refused, and the store stays well", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			for _, data := range []any{"a\x00b", map[string]any{"a\x00": 1}, json.RawMessage(`"\u0000"`), json.RawMessage(`"\ud800"`), json.RawMessage("1e400000"), json.RawMessage(`{"a":1,"a":2}`)} {
				event, err := d.RecordEvent(t.Context(), user.ID, userkit.NewEvent{Name: "host.data", Data: data})
				if err != nil {
					require.ErrorIs(t, err, userkit.ErrInvalid)
					continue
				}
				events := d.events(t, user.ID)
				requireEvents(t, []userkit.Event{event}, events[len(events)-1:])
			}
			d.refill(t, user.ID, 1, "goes on")
		}},
	}
}

func eventListCases() []testCase {
	return []testCase{
		{"newest first, of a user, of a device, of a name, of a time", func(t *testing.T, env env) {
			d := env.desk(t)
			users := []userkit.User{d.signUp(t), d.signUp(t)}
			devices := []userkit.Device{d.register(t, users[0].ID, userkit.NewDevice{}), d.register(t, users[1].ID, userkit.NewDevice{})}
			var all []userkit.Event
			for i := range 24 {
				given := userkit.NewEvent{Name: userkit.EventName(fmt.Sprint("host.", i%3)), At: at(60 * ((i * 7) % 24 / 2)), Data: i}
				if i%4 != 0 {
					given.DeviceID = devices[i%2].ID
				}
				event, err := d.RecordEvent(t.Context(), users[i%2].ID, given)
				require.NoError(t, err)
				all = append(all, event)
			}
			slices.SortFunc(all, func(a, b userkit.Event) int {
				if order := b.At.Compare(a.At); order != 0 {
					return order
				}
				return b.ID.Compare(a.ID)
			})
			for _, user := range []userkit.UserID{{}, users[0].ID, userkit.NewID[userkit.User]()} {
				for _, device := range []userkit.DeviceID{{}, devices[0].ID, devices[1].ID} {
					for _, name := range []userkit.EventName{"host.0", "host.1", "host.none"} {
						for _, span := range [][2]time.Time{{}, {at(120), at(480)}, {at(120), time.Time{}}, {time.Time{}, at(480)}} {
							want := []userkit.Event{}
							for _, event := range all {
								if (user.IsZero() || event.UserID == user) && (device.IsZero() || event.DeviceID == device) && event.Name == name &&
									(span[0].IsZero() || !event.At.Before(span[0])) && (span[1].IsZero() || event.At.Before(span[1])) {
									want = append(want, event)
								}
							}
							filter := userkit.EventFilter{UserID: user, DeviceID: device, Name: name, From: span[0], To: span[1]}
							for _, limit := range []int{1, 2, 5, 100} {
								got := everyItem(t, userkit.PageQuery{Limit: limit}, func(page userkit.PageQuery) (userkit.Page[userkit.Event], error) {
									return d.Events(t.Context(), userkit.EventQuery{EventFilter: filter, PageQuery: page})
								})
								requireEvents(t, want, got)
							}
						}
					}
				}
			}
		}},
		{"has no cursors of the feed, and no filter takes all", func(t *testing.T, env env) {
			d := env.desk(t)
			one, two := d.household(t), d.household(t)
			page, err := d.Events(t.Context(), userkit.EventQuery{PageQuery: userkit.PageQuery{Limit: 1000}})
			require.NoError(t, err)
			require.Len(t, page.Items, len(d.events(t, one.ID))+len(d.events(t, two.ID)))
			for _, event := range page.Items {
				require.Empty(t, event.Cursor)
			}
		}},
	}
}

func feedCases() []testCase {
	return []testCase{
		{"has every event of the project once, in an order that never changes", func(t *testing.T, env env) {
			d := env.desk(t)
			one, two := d.household(t), d.household(t)
			want := append(d.events(t, one.ID), d.events(t, two.ID)...)
			events := d.feed(t, "", len(want))
			again := d.feed(t, "", len(want))
			require.Equal(t, events, again)
			for i := range events {
				require.NotEmpty(t, events[i].Cursor)
				events[i].Cursor = ""
			}
			requireRecords(t, want, events, eventRecordID)
		}},
		{"goes on from every cursor with exactly the rest, in the same order", func(t *testing.T, env env) {
			d := env.desk(t)
			one, two := d.household(t), d.household(t)
			count := len(d.events(t, one.ID)) + len(d.events(t, two.ID))
			events := d.feed(t, "", count)
			second := d.beside(t, env.second(t))
			for i, event := range events {
				require.Equal(t, events[i+1:], append([]userkit.Event{}, second.feed(t, event.Cursor, count-i-1)...))
			}
		}},
		{"keeps the order of a user's changes", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			for i := range 20 {
				d.clock.Set(at(-i)) // the clock says nothing about the order
				_, err := d.RecordEvent(t.Context(), user.ID, userkit.NewEvent{Name: "host.step", Data: i})
				require.NoError(t, err)
			}
			for i, event := range d.feed(t, "", 21)[1:] {
				require.JSONEq(t, fmt.Sprint(i), string(event.Data))
			}
		}},
		{"is empty for a project without events, and after the last one", func(t *testing.T, env env) {
			d := env.desk(t)
			require.Empty(t, d.feed(t, "", 0))
			d.signUp(t)
			last := d.feed(t, "", 1)[0]
			require.Empty(t, d.feed(t, last.Cursor, 0))
			user := d.signUp(t)
			next := d.feed(t, last.Cursor, 1)
			require.Equal(t, user.ID, next[0].UserID)
		}},
		{"skips nothing and repeats nothing while many write", func(t *testing.T, env env) {
			d := env.desk(t)
			e := d.beside(t, env.second(t))
			const users, writers, each = 4, 8, 25
			var owners []userkit.User
			for range users {
				owners = append(owners, d.signUp(t))
			}
			written := make(chan []answer[userkit.Event], 1)
			go func() {
				written <- together(writers, func(i int) (userkit.Event, error) {
					manager := userkit.ActivityManager(d)
					if i%2 == 1 {
						manager = e
					}
					var last userkit.Event
					for n := range each {
						var err error
						last, err = manager.RecordEvent(t.Context(), owners[(i+n)%users].ID, userkit.NewEvent{Name: "host.step", Data: []int{i, n}})
						if err != nil {
							return last, err
						}
					}
					return last, nil
				})
			}()
			follower := d.beside(t, env.second(t))
			followed := follower.feed(t, "", users+writers*each)
			values(t, <-written)
			require.Equal(t, followed, d.feed(t, "", users+writers*each), "the order that the follower saw is the order")
			seen := map[userkit.EventID]bool{}
			next := map[string]int{}
			for _, event := range followed {
				require.False(t, seen[event.ID], "an event came twice")
				seen[event.ID] = true
				if event.Name != "host.step" {
					continue
				}
				var data [2]int
				require.NoError(t, json.Unmarshal(event.Data, &data))
				writer := fmt.Sprint(data[0])
				require.Equal(t, next[writer], data[1], "the events of writer %s are in the order of its calls", writer)
				next[writer]++
			}
		}},
		{"ends when the reader stops", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.household(t)
			d.feed(t, "", len(d.events(t, user.ID)))
			seen := 0
			for _, err := range d.Feed(t.Context(), "") {
				require.NoError(t, err)
				seen++
				if seen == 2 {
					break
				}
			}
			require.Equal(t, 2, seen)
		}},
		{"refuses a damaged cursor", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.household(t)
			cursor := d.feed(t, "", len(d.events(t, user.ID)))[3].Cursor
			for _, damaged := range damage(string(cursor)) {
				_, err := d.feedOnce(t, userkit.FeedCursor(damaged))
				requireCode(t, err, userkit.ErrInvalid, userkit.CodeInvalidCursor)
			}
			page, err := d.Events(t.Context(), userkit.EventQuery{PageQuery: userkit.PageQuery{Limit: 1}})
			require.NoError(t, err)
			_, err = d.feedOnce(t, userkit.FeedCursor(page.Next))
			requireCode(t, err, userkit.ErrInvalid, userkit.CodeInvalidCursor)
		}},
	}
}

// nameErased deletes a user who acted, for whom somebody acted and whom an event
// mentions, and looks for it in everything that is left.
func nameErased(t *testing.T, env env) {
	d := env.desk(t)
	gone, other, third := d.signUp(t), d.signUp(t), d.signUp(t)
	id := gone.ID.String()
	self := userkit.WithActor(t.Context(), userkit.Actor{Kind: userkit.ActorUser, ID: id, Name: "Ada Lovelace"})
	behalf := userkit.WithActor(t.Context(), userkit.Actor{Kind: userkit.ActorAdministrator, ID: third.ID.String(), Name: "Staff"})
	_, err := d.Refill(self, other.ID, userkit.Entry{Amount: euro(1), Key: "1"})
	require.NoError(t, err)
	second, err := d.Refill(behalf, other.ID, userkit.Entry{Amount: euro(1), Key: "2"})
	require.NoError(t, err)
	_, err = d.CancelLast(self, other.ID, second.ID)
	require.NoError(t, err)
	_, err = d.CreateSegment(self, userkit.NewSegment{Name: "made by the user"})
	require.NoError(t, err)
	_, err = d.RecordEvent(t.Context(), other.ID, userkit.NewEvent{
		Name: "host.gift", Data: map[string]any{"to": id, "name": "Ada Lovelace"}, Mentions: []userkit.UserID{gone.ID, third.ID, other.ID},
	})
	require.NoError(t, err)

	// everything is what records and the feed say, in JSON.
	everything := func() string {
		var records []any
		for _, user := range []userkit.User{other, third} {
			for record, err := range d.UserRecords(t.Context(), user.ID) {
				require.NoError(t, err)
				records = append(records, record.Value)
			}
		}
		for event, err := range d.Feed(t.Context(), "") {
			require.NoError(t, err)
			if event.UserID != gone.ID { // the receipt
				records = append(records, event)
			}
		}
		text, err := json.Marshal(records)
		require.NoError(t, err)
		return string(text)
	}
	require.Contains(t, everything(), id)
	var archived []userkit.EventName
	var last userkit.Event
	for record, err := range d.UserRecords(t.Context(), gone.ID) {
		require.NoError(t, err)
		if event, is := record.Value.(userkit.Event); is {
			require.False(t, event.At.Before(last.At))
			last, archived = event, append(archived, event.Name)
		}
	}
	require.ElementsMatch(t, []userkit.EventName{
		userkit.EventUserCreated, userkit.EventBalanceRefilled, userkit.EventBalanceCancelled,
		userkit.EventSegmentCreated, "host.gift",
	}, archived)

	_, err = d.DeleteUser(self, gone.ID, id)
	require.NoError(t, err)
	after := everything()
	require.NotContains(t, after, id)
	require.NotContains(t, after, "Lovelace")
	require.Contains(t, after, "Staff")
	page, err := d.Events(t.Context(), userkit.EventQuery{EventFilter: userkit.EventFilter{Naming: third.ID, Name: "host.gift"}})
	require.NoError(t, err)
	require.Len(t, page.Items, 1)
	require.Equal(t, []userkit.UserID{third.ID}, page.Items[0].Mentions)
	require.Empty(t, page.Items[0].Data)
	_, err = d.Refill(t.Context(), other.ID, userkit.Entry{Amount: euro(1), Key: "3"}) // on the version that was raised
	require.NoError(t, err)
}
