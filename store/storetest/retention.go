package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func storeRetentionGroups() []group {
	return []group{
		{"DeleteExpired", []testCase{
			{"deletes the oldest of each kind, and nothing else", expiredGo},
			{"makes a change that was decided before conflict", expiredConflict},
			{"adds days up, to the largest number at most", expiredDaysAddUp},
			{"refuses a kind that is kept", expiredKept},
		}},
		{"Now", []testCase{{"goes on", storeNow}}},
		{"EventNames", []testCase{{"gives the names that retention may delete, in order", storeEventNames}}},
		{"LeaseDuty", []testCase{{"gives a duty to one at a time", dutyLeased}}},
		{"Feed after DeleteExpired", []testCase{{"refuses positions in front of events that are gone", feedExpires}}},
	}
}

// oldRow makes records of a kind of which count are over before cutoff, the oldest first, and
// others that are not.
type oldRow struct {
	count  int
	make   func(d *dossier)
	remove func(d *dossier) // takes the oldest of those that are left
	raises bool             // the version of the user
}

var cutoff = at(1_000_000)

const oldName userkit.EventName = "host.old"

// oldRows has a row for each of userkit.RetainableKinds.
var oldRows = map[string]oldRow{
	userkit.RowsSessions: {2, func(d *dossier) {
		d.sessions = nil
		for n := range 4 {
			session := newSession(d.user.ID, 10+n)
			session.ClosedAt = cutoff.Add(time.Duration(n-2) * time.Microsecond)
			d.sessions = append(d.sessions, session)
		}
		d.sessions = append(d.sessions, newOpenSession(d.user.ID, 14))
	}, func(d *dossier) { d.sessions = d.sessions[1:] }, true},
	userkit.RowsDays: {2, func(d *dossier) {
		d.usage = nil
		for n := range 4 {
			day := newDayUsage(n)
			day.Day = userkit.DayOf(cutoff, time.UTC).AddDays(n - 2)
			d.usage = append(d.usage, day)
		}
	}, func(d *dossier) {
		sum := userkit.DayUsage{Day: userkit.UsageBefore}
		if d.usage[0].Day == userkit.UsageBefore {
			sum, d.usage = d.usage[0], d.usage[1:]
		}
		gone := d.usage[0]
		sum.Received, sum.Sent, sum.Forgiven = sum.Received+gone.Received, sum.Sent+gone.Sent, sum.Forgiven+gone.Forgiven
		d.usage = append([]userkit.DayUsage{sum}, d.usage[1:]...)
	}, false},
	userkit.RowsMessages: {2, func(d *dossier) {
		d.messages = nil
		for n := range 4 {
			message := newMessage(d.user.ID, 10+n)
			message.SentAt = cutoff.Add(time.Duration(n-2) * time.Microsecond)
			if n%2 == 0 {
				message.ReadAt = time.Time{}
			}
			d.messages = append(d.messages, message)
		}
	}, func(d *dossier) { d.messages = d.messages[1:] }, true},
	userkit.RowsDeliveries: {2, func(d *dossier) {
		d.deliveries = nil
		for n := range 4 {
			delivery := newDelivery(d.user.ID, 10+n)
			delivery.CreatedAt = cutoff.Add(time.Duration(n-3) * time.Microsecond)
			if delivery.State = userkit.DeliveryDelivered; n == 2 {
				delivery.State = userkit.DeliveryWaiting
			}
			d.deliveries = append(d.deliveries, delivery)
		}
	}, func(d *dossier) { d.deliveries = d.deliveries[1:] }, true},
	userkit.RowsActivations: {1, func(d *dossier) { d.activation.ExpiresAt = cutoff.Add(-time.Microsecond) },
		func(d *dossier) { d.activation = userkit.Activation{} }, true},
	userkit.RowsConnections: {2, func(d *dossier) {
		d.connections = nil
		for n, over := range []struct{ ended, expires time.Duration }{{-5, 5}, {0, -1}, {0, 5}, {1, 5}} {
			connection := newConnection(d.user.ID, 10+n)
			connection.StartedAt = cutoff.Add(time.Duration(n-60) * time.Minute)
			connection.ExpiresAt, connection.EndedAt = cutoff.Add(over.expires*time.Minute), time.Time{}
			if over.ended != 0 {
				connection.EndedAt = cutoff.Add(over.ended * time.Minute)
			}
			d.connections = append(d.connections, connection)
		}
	}, func(d *dossier) { d.connections = d.connections[1:] }, true},
	userkit.RowsEvents: {2, func(d *dossier) {
		d.events = []userkit.Event{newEvent(d.user.ID, 10)} // of another name
		for n := range 4 {
			event := newEvent(d.user.ID, 11+n)
			event.Name, event.At = oldName, cutoff.Add(time.Duration(n-2)*time.Microsecond)
			d.events = append(d.events, event)
		}
	}, func(d *dossier) { d.events = append(d.events[:1:1], d.events[2:]...) }, false},
}

func expiryOf(kind string) userkit.Expiry {
	return userkit.Expiry{Kind: kind, Before: cutoff, BeforeDay: userkit.DayOf(cutoff, time.UTC), Event: oldName}
}

func expiredGo(t *testing.T, env env) {
	for n, kind := range userkit.RetainableKinds() {
		row, ok := oldRows[kind]
		require.True(t, ok, "%s has no row in oldRows", kind)
		d, other := newDossier(100+2*n), newDossier(101+2*n)
		// What the clock of the fixtures has made is younger.
		for _, each := range []*dossier{&d, &other} {
			each.activation.ExpiresAt = cutoff
			for i := range each.sessions {
				if !each.sessions[i].Active() {
					each.sessions[i].ClosedAt = cutoff
				}
			}
			for i := range each.messages {
				each.messages[i].SentAt = cutoff
			}
			for i := range each.deliveries {
				each.deliveries[i].CreatedAt = cutoff
			}
			for i := range each.connections {
				each.connections[i].StartedAt, each.connections[i].EndedAt, each.connections[i].ExpiresAt = cutoff, cutoff, cutoff
			}
			for i := range each.usage {
				each.usage[i].Day = userkit.DayOf(cutoff, time.UTC).AddDays(i)
			}
		}
		row.make(&d)
		createAll(t, env.store, d, other)
		expiry := expiryOf(kind)
		count, err := env.store.CountExpired(t.Context(), expiry)
		require.NoError(t, err)
		require.EqualValues(t, row.count, count, kind)
		for left := row.count; left > 0; {
			limit := min(left, 1+row.count-left) // 1, then more
			deleted, err := env.store.DeleteExpired(t.Context(), expiry, limit)
			require.NoError(t, err)
			require.EqualValues(t, limit, deleted, kind)
			for range limit {
				row.remove(&d)
			}
			if left -= limit; row.raises {
				d.user.Version++
			}
			requireDossier(t, env.store, d)
			requireDossier(t, env.store, other)
		}
		deleted, err := env.store.DeleteExpired(t.Context(), expiry, 10)
		require.NoError(t, err)
		require.Zero(t, deleted, kind)
		count, err = env.store.CountExpired(t.Context(), expiry)
		require.NoError(t, err)
		require.Zero(t, count, kind)
	}
}

func expiredConflict(t *testing.T, env env) {
	d := newDossier(1)
	oldRows[userkit.RowsSessions].make(&d)
	createAll(t, env.store, d)
	change := step(&d.user)
	change.Sessions.Update = d.sessions[:1]
	_, err := env.store.DeleteExpired(t.Context(), expiryOf(userkit.RowsSessions), 10)
	require.NoError(t, err)
	require.ErrorIs(t, outcomes(t, env.store, change)[0], userkit.ErrConflict)
	d.sessions = d.sessions[2:]
	requireDossier(t, env.store, d)
}

func expiredDaysAddUp(t *testing.T, env env) {
	d := newDossier(1)
	const largest = int64(1<<63 - 1)
	d.usage = nil
	for n := range 4 {
		d.usage = append(d.usage, userkit.DayUsage{Day: userkit.DayOf(cutoff, time.UTC).AddDays(n - 10), Received: largest - 1, Sent: int64(n), Forgiven: largest / 2})
	}
	createAll(t, env.store, d)
	for _, limit := range []int{2, 1, 1} {
		deleted, err := env.store.DeleteExpired(t.Context(), expiryOf(userkit.RowsDays), limit)
		require.NoError(t, err)
		require.EqualValues(t, limit, deleted)
	}
	d.usage = []userkit.DayUsage{{Day: userkit.UsageBefore, Received: largest, Sent: 6, Forgiven: largest}}
	requireDossier(t, env.store, d)
	all, err := env.store.Usage(t.Context(), userkit.UserID{}, userkit.UsageBefore, userkit.Day{Year: 9999, Month: time.December, Day: 31})
	require.NoError(t, err)
	require.Empty(t, all, "the usage of all users is that of days")
	// The sum is one that later days are added to as well.
	change := step(&d.user)
	change.Usage = []userkit.DayUsage{{Day: userkit.UsageBefore, Sent: 4}}
	commit(t, env.store, change)
	d.usage[0].Sent = 10
	requireDossier(t, env.store, d)
}

func expiredKept(t *testing.T, env env) {
	for _, kind := range []string{userkit.RowsTransactions, userkit.RowsPurchases, userkit.RowsDevices, userkit.RecordUser, ""} {
		_, err := env.store.DeleteExpired(t.Context(), userkit.Expiry{Kind: kind, Before: cutoff}, 1)
		requireCode(t, err, userkit.ErrInvalid, userkit.CodeUnknownValue)
		_, err = env.store.CountExpired(t.Context(), userkit.Expiry{Kind: kind, Before: cutoff})
		requireCode(t, err, userkit.ErrInvalid, userkit.CodeUnknownValue)
	}
}

func storeNow(t *testing.T, env env) {
	before, err := env.store.Now(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, before.UTC().Truncate(time.Microsecond))
	require.True(t, before.After(time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)))
	after, err := env.second(t).Now(t.Context())
	require.NoError(t, err)
	require.False(t, after.Before(before))
}

func storeEventNames(t *testing.T, env env) {
	names, err := env.store.EventNames(t.Context())
	require.NoError(t, err)
	require.Empty(t, names)
	d := newDossier(1)
	d.events = nil
	for n, name := range []userkit.EventName{"z.last", userkit.EventUserCreated, userkit.EventBalanceCharged, "balance", "balanced", "purchases.seen", userkit.EventPurchaseWithheld, "z.last"} {
		event := newEvent(d.user.ID, n)
		event.Name = name
		d.events = append(d.events, event)
	}
	createAll(t, env.store, d)
	names, err = env.store.EventNames(t.Context())
	require.NoError(t, err)
	require.Equal(t, []userkit.EventName{"balance", "balanced", "purchases.seen", userkit.EventUserCreated, "z.last"}, names)
	for _, kept := range []userkit.EventName{userkit.EventBalanceCharged, userkit.EventPurchaseWithheld} {
		require.False(t, kept.Retainable())
	}
}

func dutyLeased(t *testing.T, env env) {
	second := env.second(t)
	lease := func(store userkit.Store, duty string, now, until int) bool {
		t.Helper()
		ours, err := store.LeaseDuty(t.Context(), duty, at(now), at(until))
		require.NoError(t, err)
		return ours
	}
	require.True(t, lease(env.store, "one", 0, 10))
	require.True(t, lease(second, "other", 0, 10))
	require.False(t, lease(second, "one", 9, 20))
	require.True(t, lease(second, "one", 10, 20))
	require.False(t, lease(env.store, "one", 19, 30))
	var group sync.WaitGroup
	won := make(chan bool, 20)
	for n := range cap(won) {
		group.Go(func() {
			ours, err := []userkit.Store{env.store, second}[n%2].LeaseDuty(context.WithoutCancel(t.Context()), "one", at(20), at(30))
			won <- ours && err == nil
		})
	}
	group.Wait()
	close(won)
	count := 0
	for ours := range won {
		if ours {
			count++
		}
	}
	require.Equal(t, 1, count)
}

func feedExpires(t *testing.T, env env) {
	d := newDossier(1)
	d.events = nil
	createAll(t, env.store, d)
	var names []userkit.EventName
	for n, name := range []userkit.EventName{"host.kept", oldName, "host.kept", oldName, "host.kept"} {
		change := step(&d.user)
		event := newEvent(d.user.ID, n)
		event.Name = name
		change.Events = []userkit.Event{event}
		commit(t, env.store, change)
		names = append(names, name)
	}
	read := func(after userkit.FeedPosition) ([]userkit.FeedEvent, error) {
		return env.store.Feed(t.Context(), after, 10)
	}
	var all []userkit.FeedEvent
	for len(all) < len(names) { // other transactions may hold the feed back
		var err error
		all, err = read(userkit.FeedPosition{})
		require.NoError(t, err)
		time.Sleep(time.Millisecond)
	}
	for n, want := range []struct{ expired, left int }{{1, 4}, {3, 3}} {
		deleted, err := env.store.DeleteExpired(t.Context(), expiryOf(userkit.RowsEvents), 1)
		require.NoError(t, err)
		require.EqualValues(t, 1, deleted)
		for i, event := range all {
			_, err := read(event.Position)
			if i < want.expired {
				requireCode(t, err, userkit.ErrConflict, userkit.CodeCursorExpired)
			} else {
				require.NoError(t, err, "after %d, with %d gone", i, n+1)
			}
		}
		left, err := read(userkit.FeedPosition{})
		require.NoError(t, err)
		require.Len(t, left, want.left)
	}
}

func retentionGroups() []group {
	return []group{{"Retention", []testCase{
		{"deletes what its rules say, tells of it, and never money", retentionApplies},
		{"keeps the limits that count what is gone", retentionKeepsLimits},
		{"is done in one process at a time", retentionShared},
		{"goes on beside changes of the same users", retentionBesideChanges},
		{"deletes nothing early where a clock is ahead", retentionClockAhead},
	}}}
}

// slowStore is a store as a process sees it whose clock is ahead.
type slowStore struct {
	userkit.Store
	ahead time.Duration
}

func (s slowStore) Now(ctx context.Context) (time.Time, error) {
	now, err := s.Store.Now(ctx)
	return now.Add(-s.ahead), err
}

// A process whose clock is years ahead deletes nothing that is young.
func retentionClockAhead(t *testing.T, env env) {
	rule := userkit.WithRetention(
		userkit.RetentionRule{Kind: userkit.RowsSessions, Keep: userkit.Duration(24 * time.Hour)},
		userkit.RetentionRule{Kind: userkit.RowsEvents, Keep: userkit.Duration(24 * time.Hour)},
		userkit.RetentionRule{Kind: userkit.RowsDays, Keep: userkit.Duration(userkit.MinDaysRetention)},
	)
	d := env.desk(t, rule)
	now, err := env.store.Now(t.Context())
	require.NoError(t, err)
	d.clock.Set(now)
	user := d.signUp(t)
	session := d.connect(t, user.ID, userkit.DeviceID{})
	d.report(t, session.ID, 700, 0)
	d.end(t, session.ID)
	before := d.picture(t, user.ID)
	const years = 10 * 365 * 24 * time.Hour
	ahead := d.beside(t, slowStore{env.store, years}, rule)
	d.clock.Advance(years + time.Second)
	preview, err := ahead.PreviewRetention(t.Context())
	require.NoError(t, err)
	for _, count := range preview {
		require.Zero(t, count.Records, "%s %s", count.Kind, count.Event)
		require.True(t, count.Before.Before(now))
	}
	applied, err := ahead.ApplyRetention(t.Context())
	require.NoError(t, err)
	require.Empty(t, applied)
	require.Equal(t, before.Sessions, d.picture(t, user.ID).Sessions)
	require.Equal(t, before.Events, d.picture(t, user.ID).Events)
	require.Len(t, d.days(t, user.ID), 1)

	// Nor does it keep the duty from the others for longer than they would.
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = ahead.Run(ctx) })
	lease := func(at time.Time) bool {
		ours, err := env.store.LeaseDuty(t.Context(), "retention", at, at)
		require.NoError(t, err)
		return ours
	}
	for lease(now) {
		time.Sleep(time.Millisecond)
	}
	now, err = env.store.Now(t.Context())
	require.NoError(t, err)
	require.True(t, lease(now.Add(2*time.Hour)))
}

func retentionApplies(t *testing.T, env env) {
	day := userkit.Duration(24 * time.Hour)
	d := env.desk(t, userkit.WithRetention(
		userkit.RetentionRule{Kind: userkit.RowsEvents, Keep: 3 * day},
		userkit.RetentionRule{Kind: userkit.RowsEvents, Event: userkit.EventSessionStarted, Keep: day},
		userkit.RetentionRule{Kind: userkit.RowsMessages, Keep: 2 * day},
		userkit.RetentionRule{Kind: userkit.RowsSessions, Keep: day},
	))
	user := d.signUp(t)
	session, open := d.connect(t, user.ID, userkit.DeviceID{}), d.connect(t, user.ID, userkit.DeviceID{})
	d.end(t, session.ID)
	d.refill(t, user.ID, 100, "key")
	_, err := d.SendMessage(t.Context(), user.ID, userkit.NewMessage{Body: "Hello"})
	require.NoError(t, err)
	events := d.feed(t, "", len(d.events(t, user.ID)))
	before := d.picture(t, user.ID)

	applied, err := d.ApplyRetention(t.Context())
	require.NoError(t, err)
	require.Empty(t, applied)
	require.Equal(t, before, d.picture(t, user.ID))

	d.clock.Advance(25 * time.Hour)
	preview, err := d.PreviewRetention(t.Context())
	require.NoError(t, err)
	now := d.clock.Now()
	counts := map[string]int64{}
	for _, count := range preview {
		counts[count.Kind+" "+string(count.Event)] = count.Records
	}
	require.Equal(t, map[string]int64{
		"sessions ": 1, "messages ": 0, "events session.started": 2, "events session.ended": 0, "events message.sent": 0, "events user.created": 0,
	}, counts)
	require.Equal(t, userkit.RowsSessions, preview[0].Kind)
	require.Equal(t, before, d.picture(t, user.ID), "a preview deletes nothing")

	applied, err = d.ApplyRetention(t.Context())
	require.NoError(t, err)
	require.Equal(t, []userkit.RetentionCount{
		{Kind: userkit.RowsSessions, Before: now.Add(-24 * time.Hour), Records: 1},
		{Kind: userkit.RowsEvents, Event: userkit.EventSessionStarted, Before: now.Add(-24 * time.Hour), Records: 2},
	}, applied)
	left := d.picture(t, user.ID)
	require.Len(t, left.Sessions, 1)
	require.Equal(t, open.ID, left.Sessions[0].ID)
	require.NotContains(t, eventNames(left.Events), userkit.EventSessionStarted)
	require.Len(t, left.Events, len(before.Events)-2)
	told, err := d.Events(t.Context(), userkit.EventQuery{EventFilter: userkit.EventFilter{Name: userkit.EventRetentionApplied}})
	require.NoError(t, err)
	require.Len(t, told.Items, 1)
	require.Contains(t, string(told.Items[0].Data), `session.started`)

	_, err = d.feedOnce(t, events[0].Cursor)
	requireCode(t, err, userkit.ErrConflict, userkit.CodeCursorExpired)
	stock := d.feed(t, "", len(left.Events)+1)
	require.Equal(t, userkit.EventRetentionApplied, stock[len(stock)-1].Name)

	d.clock.Advance(100 * time.Hour)
	_, err = d.ApplyRetention(t.Context())
	require.NoError(t, err)
	last := d.picture(t, user.ID)
	require.Equal(t, []userkit.EventName{userkit.EventBalanceRefilled}, eventNames(last.Events))
	require.Equal(t, before.Transactions, last.Transactions)
	require.Equal(t, before.User.Balance, last.User.Balance)
	messages, err := d.Messages(t.Context(), userkit.MessageQuery{MessageFilter: userkit.MessageFilter{UserID: user.ID}})
	require.NoError(t, err)
	require.Empty(t, messages.Items)
	again := d.refill(t, user.ID, 100, "key")
	require.Equal(t, before.Transactions[0].ID, again.ID, "a key counts once for ever")
}

func retentionKeepsLimits(t *testing.T, env env) {
	d := env.desk(t, userkit.WithRetention(userkit.RetentionRule{Kind: userkit.RowsDays, Keep: userkit.Duration(userkit.MinDaysRetention)}))
	user := d.signUp(t)
	session := d.connect(t, user.ID, userkit.DeviceID{})
	d.report(t, session.ID, 700, 0)
	d.clock.Advance(100 * 24 * time.Hour)
	d.report(t, session.ID, 800, 0)
	applied, err := d.ApplyRetention(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, applied)
	var shown int64
	for _, day := range d.days(t, user.ID) {
		shown += day.Received
	}
	require.NotZero(t, shown)
	require.Less(t, shown, int64(100), "only what is young is shown by day")
	limited := d.setLimit(t, user.ID, userkit.TrafficLimit{Bytes: 1000, Reset: userkit.ResetNever}, false)
	require.EqualValues(t, 800, limited.Traffic.Used, "what is gone still counts")
}

func retentionShared(t *testing.T, env env) {
	rule := userkit.WithRetention(userkit.RetentionRule{Kind: userkit.RowsSessions, Keep: userkit.Duration(24 * time.Hour)})
	d := env.desk(t, rule)
	user := d.signUp(t)
	for range 3 {
		d.end(t, d.connect(t, user.ID, userkit.DeviceID{}).ID)
	}
	d.clock.Advance(48 * time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, each := range []*desk{d, d.beside(t, env.second(t), rule), d.beside(t, env.second(t), rule)} {
		running.Go(func() { _ = each.Run(ctx) })
	}
	applied := func() int {
		page, err := d.Events(t.Context(), userkit.EventQuery{EventFilter: userkit.EventFilter{Name: userkit.EventRetentionApplied}})
		require.NoError(t, err)
		return len(page.Items)
	}
	for applied() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	running.Wait()
	require.Equal(t, 1, applied())
	require.Empty(t, d.sessions(t, user.ID))
}

func retentionBesideChanges(t *testing.T, env env) {
	rule := userkit.WithRetention(
		userkit.RetentionRule{Kind: userkit.RowsSessions, Keep: userkit.Duration(24 * time.Hour)},
		userkit.RetentionRule{Kind: userkit.RowsEvents, Keep: userkit.Duration(24 * time.Hour)},
	)
	d := env.desk(t, rule)
	users := []userkit.User{d.signUp(t), d.signUp(t)}
	const each = 10
	for _, user := range users {
		for range each {
			d.end(t, d.connect(t, user.ID, userkit.DeviceID{}).ID)
		}
	}
	d.clock.Advance(48 * time.Hour)
	var running sync.WaitGroup
	ctx := context.WithoutCancel(t.Context())
	faults := make(chan error, 100)
	try := func(_ any, err error) { faults <- err }
	for _, user := range users {
		running.Go(func() {
			for range each {
				session, err := d.StartSession(ctx, userkit.NewSession{UserID: user.ID, Node: "node"})
				faults <- err
				try(d.EndSession(ctx, session.ID, userkit.UsageReport{Received: 1}))
			}
		})
	}
	for _, beside := range []*desk{d, d.beside(t, env.second(t), rule)} {
		running.Go(func() {
			for range 3 {
				try(beside.ApplyRetention(ctx))
			}
		})
	}
	running.Wait()
	close(faults)
	for err := range faults {
		require.NoError(t, err)
	}
	_, err := d.ApplyRetention(ctx) // what was being changed
	require.NoError(t, err)
	for _, user := range users {
		require.Len(t, d.sessions(t, user.ID), each)
		d.requireCounters(t, user.ID)
	}
}
