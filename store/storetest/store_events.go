package storetest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func storeEventGroups() []group {
	return []group{
		{"Events", []testCase{
			{"of an empty store is empty", eventsEmpty},
			{"gives events with every field", eventsEveryField},
			{"keeps every kind of data", eventsData},
			{"sorts by time, both ways", eventsOrder},
			{"pages by time, both ways", eventsPages},
			{"takes the events that every part of the filter takes", eventsFilters},
			{"takes events that happened from From on and before To", eventsSpan},
		}},
		{"CommitEvent", []testCase{{"records an event of no user, once", commitEvent}}},
		{"Feed", []testCase{
			{"of an empty store is empty", feedEmpty},
			{"gives every event in the order of the commits", feedOrder},
			{"orders the events of one commit by their ids", feedOrderInCommit},
			{"goes on after any position, at every page limit", feedPages},
			{"refuses a position of another store", feedOfAnotherStore},
			{"keeps the positions of events for ever", feedStable},
			{"goes on with later events only after the last one", feedContinues},
			{"loses the events of a deleted user and keeps the one that says so", feedAfterDelete},
			{"has nothing of a change that was refused", feedWithoutRefused},
			{"skips and repeats nothing while many callers commit", feedWhileCommitting},
		}},
	}
}

// hardEvent makes an event for lists, with times, names and devices many of
// which are equal.
func hardEvent(owner userkit.UserID, n int) userkit.Event {
	times := []time.Time{at(0), at(1), at(-1), at(0), time.Unix(0, 0).UTC(), base.Add(time.Microsecond), at(40_000_000)}
	event := newEvent(owner, n)
	event.At = pick(times, n, 3)
	event.Name = pick([]userkit.EventName{"host.a", "host.b", "host.A", userkit.EventUserUpdated, "host.a"}, n, 2)
	event.Actor.Kind = pick([]userkit.ActorKind{userkit.ActorAdministrator, userkit.ActorNode, userkit.ActorAdministrator}, n, 2)
	event.Actor.ID = pick([]string{"", "a", "A", "ä", "a"}, n, 3)
	event.DeviceID = pick([]userkit.DeviceID{{}, deviceID(7), deviceID(3), deviceID(7)}, n, 3)
	return event
}

// eventRecords creates events of several users.
func eventRecords(t *testing.T, store userkit.Store, owners []userkit.User) []userkit.Event {
	t.Helper()
	records := make([]userkit.Event, listRecords)
	for _, n := range shuffled(listRecords) {
		owner := &owners[n%listOwners]
		records[n] = hardEvent(owner.ID, n)
		change := step(owner)
		change.Events = records[n : n+1]
		commit(t, store, change)
	}
	return records
}

func listingOfEvents(t *testing.T, store userkit.Store, filter userkit.EventFilter, records []userkit.Event) listing[userkit.Event] {
	return listing[userkit.Event]{
		fields:  userkit.EventFields(),
		id:      eventRecordID,
		records: records,
		list: func(list userkit.ListRange) ([]userkit.Event, error) {
			return store.Events(t.Context(), filter, list)
		},
		equal: func(t *testing.T, want, got []userkit.Event) {
			t.Helper()
			requireEvents(t, want, got)
		},
	}
}

func eventsEmpty(t *testing.T, env env) {
	create(t, env.store, newUser(1))
	for _, filter := range eventFilters() {
		listingOfEvents(t, env.store, filter, nil).requireOrder(t)
	}
}

func eventsEveryField(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	listingOfEvents(t, env.store, userkit.EventFilter{}, slices.Concat(d.events, other.events)).requireOrder(t)
	for _, event := range eventsOf(t, env.store, d.user.ID) {
		require.Empty(t, event.Cursor)
	}
}

func eventsData(t *testing.T, env env) {
	d, other := dossier{user: newUser(1)}, newDossier(2)
	for n, data := range []string{
		"", "null", "true", "false", "0", "-1", "1.5", "9223372036854775807", "-9223372036854775808", `""`, `"text"`, "[]", "{}",
		`[null,[[]],{"a":{}}]`, `{"b":1,"a":2,"":3}`, `"it's \"said\" \\ & <b> ? $1 :x %s"`, `"🙂 Löwe \u00e9 日本"`, ` { "spaced" : [ 1 , 2 ] } `,
		`"` + string(bytes.Repeat([]byte("x"), userkit.MaxEventData-2)) + `"`,
	} {
		event := newEvent(d.user.ID, 100+n)
		event.Data = json.RawMessage(data)
		d.events = append(d.events, event)
	}
	createAll(t, env.store, d, other)
	requireDossier(t, env.store, d)
	requireDossier(t, env.store, other)
	stored := eventsOf(t, env.store, d.user.ID)
	require.Empty(t, stored[0].Data, "an event without data")
	require.Equal(t, "null", string(stored[1].Data), "the JSON value null is not the same as no data")
}

func eventsOrder(t *testing.T, env env) {
	records := eventRecords(t, env.store, ownersOfLists(t, env.store))
	listingOfEvents(t, env.store, userkit.EventFilter{}, records).requireOrder(t)
}

func eventsPages(t *testing.T, env env) {
	records := eventRecords(t, env.store, ownersOfLists(t, env.store))
	for _, filter := range []userkit.EventFilter{
		{}, {UserID: userID(1)}, {DeviceID: deviceID(7)}, {Name: "host.a"}, {From: at(-1), To: at(1)}, {UserID: userID(2), Name: "host.a"},
	} {
		listingOfEvents(t, env.store, filter, belonging(records, takesEvent(filter))).requirePages(t)
	}
}

// takesEvent is the meaning of a filter.
func takesEvent(filter userkit.EventFilter) func(event userkit.Event) bool {
	return func(event userkit.Event) bool {
		return (filter.UserID.IsZero() || event.UserID == filter.UserID) &&
			(filter.DeviceID.IsZero() || event.DeviceID == filter.DeviceID) &&
			(filter.Name == "" || event.Name == filter.Name) &&
			(filter.ActorKind == "" || event.Actor.Kind == filter.ActorKind) &&
			(filter.ActorID == "" || event.Actor.ID == filter.ActorID) &&
			(filter.From.IsZero() || !event.At.Before(filter.From)) &&
			(filter.To.IsZero() || event.At.Before(filter.To))
	}
}

// eventFilters returns every combination of the parts of a filter.
func eventFilters() []userkit.EventFilter {
	var filters []userkit.EventFilter
	for _, user := range []userkit.UserID{{}, userID(1), userID(listOwners - 1), userID(900)} {
		for _, device := range []userkit.DeviceID{{}, deviceID(7), deviceID(900)} {
			for _, name := range []userkit.EventName{"", "host.a", "host.A", userkit.EventUserUpdated, "host"} {
				for _, span := range [][2]time.Time{{}, {at(0), {}}, {{}, at(1)}, {at(-1), at(1)}} {
					filters = append(filters, userkit.EventFilter{UserID: user, DeviceID: device, Name: name, From: span[0], To: span[1]})
				}
			}
		}
		for _, kind := range []userkit.ActorKind{"", userkit.ActorNode, userkit.ActorUser} {
			for _, id := range []string{"", "a", "A", "ä", "b"} {
				filters = append(filters, userkit.EventFilter{UserID: user, ActorKind: kind, ActorID: id},
					userkit.EventFilter{UserID: user, ActorKind: kind, ActorID: id, Name: "host.a", From: at(-1), To: at(1)})
			}
		}
	}
	return filters
}

func eventsFilters(t *testing.T, env env) {
	records := eventRecords(t, env.store, ownersOfLists(t, env.store))
	for _, filter := range eventFilters() {
		listingOfEvents(t, env.store, filter, belonging(records, takesEvent(filter))).requireOrder(t)
	}
}

func eventsSpan(t *testing.T, env env) {
	d := dossier{user: newUser(1)}
	for n, happened := range []time.Time{at(0).Add(-time.Microsecond), at(0), at(0).Add(time.Microsecond)} {
		event := newEvent(d.user.ID, n)
		event.At = happened
		d.events = append(d.events, event)
	}
	createAll(t, env.store, d)
	for _, span := range []struct {
		from, to time.Time
		want     []userkit.Event
	}{
		{at(0), time.Time{}, d.events[1:]},
		{time.Time{}, at(0), d.events[:1]},
		{at(0), at(0).Add(time.Microsecond), d.events[1:2]},
		{at(0), at(0), nil},
		{at(1), at(-1), nil},
	} {
		for _, user := range []userkit.UserID{{}, d.user.ID} {
			listingOfEvents(t, env.store, userkit.EventFilter{UserID: user, From: span.from, To: span.to}, span.want).requireOrder(t)
		}
	}
}

// comparePositions is the order of the feed.
func comparePositions(a, b userkit.FeedPosition) int {
	return cmp.Or(cmp.Compare(a.Commit, b.Commit), a.Event.Compare(b.Event))
}

// feed reads one page of the feed and demands that it is in order, after the
// position, and within its limit.
func feed(t *testing.T, store userkit.Store, after userkit.FeedPosition, limit int) []userkit.FeedEvent {
	t.Helper()
	events, err := store.Feed(t.Context(), after, limit)
	require.NoError(t, err)
	require.LessOrEqual(t, len(events), limit)
	for _, event := range events {
		require.Positive(t, comparePositions(event.Position, after), "positions do not increase")
		require.Equal(t, event.Event.ID, event.Position.Event)
		require.Empty(t, event.Event.Cursor)
		after = event.Position
	}
	return events
}

// feedOf reads the feed after a position until it has given so many events. A
// store may hold an event back while anything that began before it is under
// way, for however long that is and whoever began it, so this asks again until
// the tests' own time is up.
func feedOf(t *testing.T, store userkit.Store, after userkit.FeedPosition, limit, count int) []userkit.FeedEvent {
	t.Helper()
	events := []userkit.FeedEvent{}
	pause := time.NewTicker(2 * time.Millisecond)
	defer pause.Stop()
	for len(events) < count {
		page := feed(t, store, after, limit)
		events = append(events, page...)
		if len(page) > 0 {
			after = page[len(page)-1].Position
			continue
		}
		require.False(t, outOfTime(t), "the feed gave %d of %d events", len(events), count)
		<-pause.C
	}
	require.Len(t, events, count)
	require.Empty(t, feed(t, store, after, whole), "more than was committed")
	return events
}

// requireFeed demands that two parts of the feed are equal, positions included.
func requireFeed(t *testing.T, want, got []userkit.FeedEvent, message ...any) {
	t.Helper()
	requireList(t, want, got, func(event *userkit.FeedEvent) [16]byte { return event.Position.Event }, message...)
}

// withoutPositions returns the events of a part of the feed.
func withoutPositions(feed []userkit.FeedEvent) []userkit.Event {
	var events []userkit.Event
	for _, event := range feed {
		events = append(events, event.Event)
	}
	return events
}

// feedFixture commits events one commit after another and gives them in the
// order of the feed. Neither ids nor times are in that order.
func feedFixture(t *testing.T, store userkit.Store) []userkit.Event {
	t.Helper()
	first, second := newUser(1), newUser(2)
	create(t, store, first, second)
	var events []userkit.Event
	for n := range 6 {
		user := &first
		if n%3 == 1 {
			user = &second
		}
		change := step(user)
		change.Events = []userkit.Event{newEvent(user.ID, 50-n), newEvent(user.ID, 100+n)}
		commit(t, store, change)
		events = append(events, change.Events...)
	}
	return events
}

func feedEmpty(t *testing.T, env env) {
	require.Empty(t, feed(t, env.store, userkit.FeedPosition{}, 10))
	create(t, env.store, newUser(1))
	require.Empty(t, feed(t, env.store, userkit.FeedPosition{}, 10))
	require.Empty(t, feed(t, env.store, userkit.FeedPosition{Commit: math.MaxInt64, Event: eventID(1)}, 10))
}

func feedOrder(t *testing.T, env env) {
	want := feedFixture(t, env.store)
	got := feedOf(t, env.store, userkit.FeedPosition{}, whole, len(want))
	requireEvents(t, want, withoutPositions(got))
	for _, event := range got {
		require.Positive(t, event.Position.Commit)
	}
}

func feedOrderInCommit(t *testing.T, env env) {
	d := dossier{user: newUser(1)}
	for _, n := range shuffled(20) {
		d.events = append(d.events, newEvent(d.user.ID, n))
	}
	createAll(t, env.store, d)
	got := feedOf(t, env.store, userkit.FeedPosition{}, whole, 20)
	requireEvents(t, sortedByID(d.events, eventRecordID), withoutPositions(got))
}

func feedPages(t *testing.T, env env) {
	count := len(feedFixture(t, env.store))
	all := feedOf(t, env.store, userkit.FeedPosition{}, whole, count)
	for _, limit := range []int{1, 2, 3, count, count + 1} {
		requireFeed(t, all, feedOf(t, env.store, userkit.FeedPosition{}, limit, count), "%d a page", limit)
	}
	for i, event := range all {
		rest := all[i+1:]
		requireFeed(t, rest, feed(t, env.store, event.Position, whole))
		// Positions that no event has, just before and just after.
		before, after := event.Position, event.Position
		before.Event[15]--
		after.Event[15]++
		requireFeed(t, all[i:], feed(t, env.store, before, whole))
		requireFeed(t, rest, feed(t, env.store, after, whole))
	}
	last := all[count-1].Position
	last.Commit, last.Event = last.Commit+1, userkit.EventID{}
	require.Empty(t, feed(t, env.store, last, whole))
}

func feedStable(t *testing.T, env env) {
	count := len(feedFixture(t, env.store))
	all := feedOf(t, env.store, userkit.FeedPosition{}, whole, count)
	change := edit(&userkit.User{ID: userID(1), Account: userkit.Account{Version: 5}}, func(user *userkit.User) {
		version := user.Version
		*user = newUser(1)
		user.Version, user.Name = version, "edited"
	})
	change.Events = []userkit.Event{newEvent(userID(1), 1)} // an id before all others
	commit(t, env.store, change)
	more := feedOf(t, env.second(t), userkit.FeedPosition{}, whole, count+1)
	requireFeed(t, all, more[:count])
	requireEvents(t, change.Events, withoutPositions(more[count:]))
}

func feedContinues(t *testing.T, env env) {
	user := newUser(1)
	create(t, env.store, user)
	var after userkit.FeedPosition
	for n := range 10 {
		change := step(&user)
		change.Events = []userkit.Event{newEvent(user.ID, 100-2*n), newEvent(user.ID, 101-2*n)}
		commit(t, env.store, change)
		got := feedOf(t, env.store, after, 1, 2)
		requireEvents(t, change.Events, withoutPositions(got))
		after = got[1].Position
	}
}

func feedAfterDelete(t *testing.T, env env) {
	want := feedFixture(t, env.store)
	all := feedOf(t, env.store, userkit.FeedPosition{}, whole, len(want))
	gone := newUser(1)
	gone.Version = 5
	change := step(&gone)
	change.Delete = true
	change.Events = []userkit.Event{newEvent(gone.ID, 0)}
	commit(t, env.store, change)
	left := slices.DeleteFunc(slices.Clone(all), func(event userkit.FeedEvent) bool { return event.Event.UserID == gone.ID })
	got := feedOf(t, env.store, userkit.FeedPosition{}, 2, len(left)+1)
	requireFeed(t, left, got[:len(left)])
	requireEvents(t, change.Events, withoutPositions(got[len(left):]))
	// A reader whose last event is gone goes on where it was.
	requireFeed(t, got[1:], feed(t, env.store, all[slices.IndexFunc(all, func(event userkit.FeedEvent) bool {
		return event.Event.ID == left[0].Event.ID
	})].Position, whole))
	requireFeed(t, got, feed(t, env.store, all[0].Position, whole))
}

func feedWithoutRefused(t *testing.T, env env) {
	want := feedFixture(t, env.store)
	late := userkit.Change{User: userID(1), Version: 1, Account: newAccount(1), Events: []userkit.Event{newEvent(userID(1), 200)}}
	taken := creation(newUser(3))
	taken.Profile.Login = newUser(2).Login
	taken.Events = []userkit.Event{newEvent(userID(3), 201)}
	for _, err := range outcomes(t, env.store, late, taken) {
		require.Error(t, err)
	}
	feedOf(t, env.store, userkit.FeedPosition{}, whole, len(want))
}

// feedWhileCommitting: readers that follow the feed while callers commit on
// handles of their own see every event once, all in the same order.
func feedWhileCommitting(t *testing.T, env env) {
	const writers, rounds, readers = 4, 40, 2
	handles := []userkit.Store{env.store, env.second(t)}
	create(t, env.store, newUser(0), newUser(1), newUser(2), newUser(3))
	done := make(chan struct{})
	go func() {
		defer close(done)
		race(writers, func(writer int) error {
			user := newUser(writer)
			for round := range rounds {
				change := step(&user)
				// Ids fall as time goes by, so a reader that goes by ids alone would skip.
				n := 1000*(writer+1) - 3*round
				change.Events = []userkit.Event{newEvent(user.ID, n), newEvent(user.ID, n-1), newEvent(user.ID, n-2)}
				if err := commitAlone(t, handles[writer%len(handles)], change); err != nil {
					t.Errorf("round %d of writer %d: %v", round, writer, err)
				}
			}
			return nil
		})
	}()
	t.Cleanup(func() { <-done })

	const total = writers * rounds * 3
	seen := make([][]userkit.FeedEvent, readers)
	for _, err := range race(readers, func(reader int) error {
		store := handles[reader%len(handles)]
		var after userkit.FeedPosition
		for len(seen[reader]) < total && !outOfTime(t) {
			page, err := store.Feed(t.Context(), after, 1+7*reader)
			if err != nil {
				return err
			}
			seen[reader] = append(seen[reader], page...)
			if len(page) > 0 {
				after = page[len(page)-1].Position
			}
		}
		return nil
	}) {
		require.NoError(t, err)
	}
	<-done
	all := feedOf(t, env.store, userkit.FeedPosition{}, whole, total)
	ids := idsOf(withoutPositions(all), eventRecordID)
	slices.Sort(ids)
	require.Len(t, slices.Compact(ids), total)
	for reader := range readers {
		requireFeed(t, all, seen[reader], "reader %d", reader)
	}
}

func feedOfAnotherStore(t *testing.T, env env) {
	createAll(t, env.store, newDossier(1))
	events := feed(t, env.store, userkit.FeedPosition{}, 2)
	require.Len(t, events, 2)
	own := events[0].Position
	require.NotZero(t, own.Feed)
	require.Equal(t, own.Feed, events[1].Position.Feed)
	other := own
	other.Feed[3]++
	_, err := env.store.Feed(t.Context(), other, 10)
	requireCode(t, err, userkit.ErrInvalid, userkit.CodeCursorMismatch)
	own.Feed = [16]byte{}
	require.Equal(t, events[1].Event.ID, feed(t, env.store, own, 1)[0].Event.ID, "a position that says nothing of its feed")
}

func commitEvent(t *testing.T, env env) {
	event := newSegmentEvent(1)
	event.UserID = userkit.UserID{}
	require.NoError(t, env.store.CommitEvent(t.Context(), event))
	requireCode(t, env.store.CommitEvent(t.Context(), event), userkit.ErrExists, userkit.CodeIDTaken)
	events, err := env.store.Events(t.Context(), userkit.EventFilter{}, userkit.ListRange{Order: userkit.Order{Field: "at"}, Limit: 10})
	require.NoError(t, err)
	require.Equal(t, canonicalEvents(t, []userkit.Event{event}), canonicalEvents(t, events))
}
