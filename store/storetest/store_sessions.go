package storetest

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func storeSessionGroups() []group {
	return []group{
		{"Session", []testCase{
			{"gives a session with every field", sessionEveryField},
			{"does not find an unknown session", sessionUnknown},
			{"stays with its device's id and name after the device is deleted", sessionWithoutDevice},
			{"may name a device that never was", sessionOfUnknownDevice},
		}},
		{"SessionOwners", []testCase{
			{"gives the users of sessions and leaves out unknown ones", sessionOwners},
		}},
		{"Sessions", []testCase{
			{"of an empty store is empty", sessionsEmpty},
			{"sorts by every field, both ways", sessionsOrder},
			{"pages by every field, both ways", sessionsPages},
			{"takes the sessions that every part of the filter takes", sessionsFilters},
			{"takes sessions that ran at a moment, however long they ran", sessionsOverlap},
			{"takes sessions that started from From on and before To", sessionsSpan},
		}},
		{"StaleSessions", []testCase{
			{"gives active sessions reported before a time", staleSessions},
			{"gives at most as many as asked for", staleSessionsLimit},
			{"follows reports and ends", staleSessionsAfterChange},
		}},
		{"Usage", []testCase{
			{"gives the days from one to another, both included, in order", usageSpan},
			{"of an unknown user is empty", usageUnknown},
		}},
	}
}

func sessionEveryField(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	for _, want := range slices.Concat(d.sessions, other.sessions) {
		session, err := env.store.Session(t.Context(), want.ID)
		require.NoError(t, err)
		require.Equal(t, want, session)
	}
}

func sessionUnknown(t *testing.T, env env) {
	_, err := env.store.Session(t.Context(), sessionID(1))
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeSessionNotFound)
	createAll(t, env.store, newDossier(1))
	for _, id := range []userkit.SessionID{sessionID(1), {}, userkit.SessionID(userID(1)), userkit.SessionID(deviceID(2))} {
		_, err := env.store.Session(t.Context(), id)
		requireCode(t, err, userkit.ErrNotFound, userkit.CodeSessionNotFound)
	}
}

func sessionWithoutDevice(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	require.Equal(t, d.devices[1].ID, d.sessions[1].DeviceID)
	createAll(t, env.store, d, other)
	change := step(&d.user)
	change.Devices.Delete = []userkit.DeviceID{d.devices[0].ID, d.devices[1].ID}
	commit(t, env.store, change)
	d.devices = nil
	requireDossier(t, env.store, d)
	requireDossier(t, env.store, other)
	sessions, err := env.store.Sessions(t.Context(), userkit.SessionFilter{DeviceID: d.sessions[1].DeviceID}, userkit.ListRange{Order: userkit.Order{Field: "id"}, Limit: 10})
	require.NoError(t, err)
	require.Equal(t, d.sessions[1:], sessions)
}

func sessionOfUnknownDevice(t *testing.T, env env) {
	d := newDossier(1)
	d.sessions[0].DeviceID, d.events[0].DeviceID = deviceID(800), deviceID(801)
	d.sessions[1].DeviceID, d.events[1].DeviceID = userkit.DeviceID{}, userkit.DeviceID{}
	createAll(t, env.store, d)
	requireDossier(t, env.store, d)
}

func sessionOwners(t *testing.T, env env) {
	first, second := newDossier(1), newDossier(2)
	createAll(t, env.store, first, second)
	owners, err := env.store.SessionOwners(t.Context(), []userkit.SessionID{
		second.sessions[1].ID, first.sessions[0].ID, sessionID(900), {}, first.sessions[1].ID, first.sessions[0].ID,
	})
	require.NoError(t, err)
	require.Equal(t, map[userkit.SessionID]userkit.UserID{
		first.sessions[0].ID: first.user.ID, first.sessions[1].ID: first.user.ID, second.sessions[1].ID: second.user.ID,
	}, owners)
	for _, ids := range [][]userkit.SessionID{nil, {}, {sessionID(900)}} {
		owners, err := env.store.SessionOwners(t.Context(), ids)
		require.NoError(t, err)
		require.Empty(t, owners)
	}
}

func sessionOwnersOfMany(t *testing.T, env env) {
	const sessions, unknown = 5000, 95_000
	first, second := newUser(1), newUser(2)
	changes := []userkit.Change{creation(first), creation(second)}
	want := map[userkit.SessionID]userkit.UserID{}
	var ids []userkit.SessionID
	for n := range sessions {
		change := &changes[n%2]
		session := newOpenSession(change.User, n)
		change.Sessions.Insert = append(change.Sessions.Insert, session)
		want[session.ID] = change.User
		ids = append(ids, session.ID)
	}
	for n := range unknown {
		ids = append(ids, sessionID(sessions+n))
	}
	commit(t, env.store, changes...)
	owners, err := env.store.SessionOwners(t.Context(), ids)
	require.NoError(t, err)
	require.Equal(t, want, owners)
}

// hardNodes are names of nodes that are hard to sort.
var hardNodes = func() (nodes []string) {
	for n, code := range hardCodes {
		nodes = append(nodes, hardCodes[1+n%2]+code)
	}
	return nodes
}()

// hardSession makes a session for lists: with fields that are hard to sort,
// many of them equal. variant gives the same session other values.
func hardSession(owner userkit.UserID, n, variant int) userkit.Session {
	v := n + 5*variant
	times := []time.Time{at(0), at(1), at(-1), at(0), time.Unix(0, 0).UTC(), base.Add(time.Microsecond), at(40_000_000)}
	addresses := []netip.Addr{
		{}, netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("10.0.0.10"), netip.MustParseAddr("::1"),
		netip.MustParseAddr("2001:db8::ff00:42:8329"), netip.MustParseAddr("10.0.0.10"), netip.MustParseAddr("255.255.255.255"),
		netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), netip.MustParseAddr("9.255.0.1"), {}, netip.MustParseAddr("::"),
		netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("::ffff:10.0.0.9"),
	}
	reasons := []userkit.EndReason{userkit.EndedByClient, userkit.EndedStale, userkit.EndedReplaced}
	session := newSession(owner, n)
	session.DeviceID = pick([]userkit.DeviceID{{}, deviceID(7), deviceID(3), deviceID(7), deviceID(900)}, v, 2)
	session.DeviceName = pick(hardTexts, v, 5)
	session.Node = pick(hardNodes, v, 3)
	session.NodeLocation = pick(hardTexts, v, 7)
	session.InternalIP = pick(addresses, v, 5)
	session.StartedAt = pick(times, v, 3)
	session.EndedAt, session.EndReason = pick(times, v, 4), pick(reasons, v, 2)
	session.ClosedAt = session.EndedAt.Add(time.Duration(v%2) * time.Second)
	if v%3 == 0 {
		session.EndedAt, session.EndReason, session.ClosedAt = time.Time{}, "", time.Time{}
	}
	session.Received = pick([]int64{0, 1, 1 << 62, 1, 10, 9}, v, 5)
	session.Sent = pick([]int64{5, 0, 5, 1<<63 - 1}, v, 3)
	session.ReportedAt = pick(times, v, 2)
	return session
}

// sessionRecords creates sessions that are hard to sort, of several users.
func sessionRecords(t *testing.T, store userkit.Store, owners []userkit.User) []userkit.Session {
	t.Helper()
	records := make([]userkit.Session, listRecords)
	for _, n := range shuffled(listRecords) {
		owner := &owners[n%listOwners]
		records[n] = hardSession(owner.ID, n, 0)
		change := step(owner)
		change.Sessions.Insert = records[n : n+1]
		commit(t, store, change)
	}
	return records
}

func listingOfSessions(t *testing.T, store userkit.Store, filter userkit.SessionFilter, records []userkit.Session) listing[userkit.Session] {
	return listing[userkit.Session]{
		fields:  userkit.SessionFields(),
		id:      sessionRecordID,
		records: records,
		list: func(list userkit.ListRange) ([]userkit.Session, error) {
			return store.Sessions(t.Context(), filter, list)
		},
		equal: func(t *testing.T, want, got []userkit.Session) {
			t.Helper()
			requireList(t, want, got, sessionRecordID)
		},
	}
}

func sessionsEmpty(t *testing.T, env env) {
	listingOfSessions(t, env.store, userkit.SessionFilter{}, nil).requireOrder(t)
	create(t, env.store, newUser(1))
	for _, filter := range []userkit.SessionFilter{
		{}, {UserID: userID(1)}, {UserID: userID(2)}, {DeviceID: deviceID(1)}, {State: userkit.SessionsActive}, {State: userkit.SessionsEnded},
		{UserID: userID(1), From: at(0), To: at(1)},
	} {
		listingOfSessions(t, env.store, filter, nil).requireOrder(t)
	}
}

func sessionsOrder(t *testing.T, env env) {
	records := sessionRecords(t, env.store, ownersOfLists(t, env.store))
	listingOfSessions(t, env.store, userkit.SessionFilter{}, records).requireOrder(t)
}

func sessionsPages(t *testing.T, env env) {
	records := sessionRecords(t, env.store, ownersOfLists(t, env.store))
	listingOfSessions(t, env.store, userkit.SessionFilter{}, records).requirePages(t)
}

func sessionsOrderAfterChange(t *testing.T, env env) {
	owners := ownersOfLists(t, env.store)
	records := sessionRecords(t, env.store, owners)
	var left []userkit.Session
	for _, n := range shuffled(listRecords) {
		change := step(&owners[n%listOwners])
		if n%5 == 0 {
			change.Sessions.Delete = []userkit.SessionID{records[n].ID}
		} else {
			change.Sessions.Update = []userkit.Session{hardSession(records[n].UserID, n, 1)}
			left = append(left, change.Sessions.Update...)
		}
		commit(t, env.store, change)
	}
	for _, filter := range sessionFilters() {
		listingOfSessions(t, env.store, filter, belonging(left, takesSession(filter))).requireOrder(t)
	}
}

// takesSession is the meaning of a filter.
func takesSession(filter userkit.SessionFilter) func(session userkit.Session) bool {
	return func(session userkit.Session) bool {
		return (filter.UserID.IsZero() || session.UserID == filter.UserID) &&
			(filter.DeviceID.IsZero() || session.DeviceID == filter.DeviceID) &&
			(filter.Node == "" || session.Node == filter.Node) &&
			(!filter.InternalIP.IsValid() || session.InternalIP == filter.InternalIP) &&
			(filter.State != userkit.SessionsActive || session.Active()) &&
			(filter.State != userkit.SessionsEnded || !session.Active()) &&
			(filter.ClosedAfter.IsZero() || !session.Active() && session.ClosedAt.After(filter.ClosedAfter)) &&
			(filter.ClosedUntil.IsZero() || !session.Active() && !session.ClosedAt.After(filter.ClosedUntil)) &&
			takesTimes(filter, session)
	}
}

// takesTimes is the meaning of the span of a filter.
func takesTimes(filter userkit.SessionFilter, session userkit.Session) bool {
	if filter.Overlaps {
		return (filter.From.IsZero() || session.Active() || !session.EndedAt.Before(filter.From)) &&
			(filter.To.IsZero() || !session.StartedAt.After(filter.To))
	}
	return (filter.From.IsZero() || !session.StartedAt.Before(filter.From)) &&
		(filter.To.IsZero() || session.StartedAt.Before(filter.To))
}

// sessionFilters returns every combination of the parts of a filter.
func sessionFilters() []userkit.SessionFilter {
	var filters []userkit.SessionFilter
	for _, user := range []userkit.UserID{{}, userID(1), userID(listOwners - 1)} {
		for _, device := range []userkit.DeviceID{{}, deviceID(7)} {
			for _, state := range []userkit.SessionState{userkit.SessionsAny, userkit.SessionsActive, userkit.SessionsEnded} {
				for _, span := range [][2]time.Time{{}, {at(0), {}}, {{}, at(1)}, {at(-1), at(1)}, {time.Unix(0, 0).UTC(), at(0)}} {
					filters = append(filters, userkit.SessionFilter{UserID: user, DeviceID: device, State: state, From: span[0], To: span[1]})
				}
				if device.IsZero() {
					for _, place := range []userkit.SessionFilter{
						{Node: hardNodes[0]}, {Node: hardNodes[1]}, {InternalIP: netip.MustParseAddr("10.0.0.10")}, {InternalIP: netip.MustParseAddr("::ffff:10.0.0.9")},
						{Node: hardNodes[0], InternalIP: netip.MustParseAddr("10.0.0.10")}, {Node: hardNodes[2], To: at(1), ClosedAfter: at(-1)}, {Node: "nowhere"},
						{Overlaps: true, From: at(0), To: at(1)}, {Overlaps: true, From: at(-1), To: at(-1)}, {Overlaps: true, From: base.Add(time.Microsecond)},
						{Overlaps: true, To: at(0)}, {Overlaps: true}, {Overlaps: true, From: at(39_000_000), Node: hardNodes[1]},
						{Overlaps: true, From: at(-1), To: at(0), InternalIP: netip.MustParseAddr("10.0.0.10")}, {Overlaps: true, From: at(0), ClosedUntil: at(1)},
						{Overlaps: true, From: at(0), To: at(2), ClosedAfter: at(-1)},
					} {
						place.UserID, place.State = user, state
						filters = append(filters, place)
					}
				}
				for _, closed := range [][2]time.Time{{at(0), {}}, {{}, at(0)}, {at(-1), at(1)}} {
					filters = append(filters, userkit.SessionFilter{UserID: user, DeviceID: device, State: state, ClosedAfter: closed[0], ClosedUntil: closed[1]},
						userkit.SessionFilter{UserID: user, State: state, From: at(0), To: at(2), ClosedAfter: closed[0], ClosedUntil: closed[1]})
				}
			}
		}
	}
	return filters
}

func sessionsFilters(t *testing.T, env env) {
	records := sessionRecords(t, env.store, ownersOfLists(t, env.store))
	for _, filter := range sessionFilters() {
		listing := listingOfSessions(t, env.store, filter, belonging(records, takesSession(filter)))
		listing.fields = slices.DeleteFunc(listing.fields, func(field userkit.Field[userkit.Session]) bool {
			return field.Name != "started_at" && field.Name != "device_name"
		})
		listing.requireOrder(t)
	}
}

func sessionsFilteredPages(t *testing.T, env env) {
	records := sessionRecords(t, env.store, ownersOfLists(t, env.store))
	for _, filter := range []userkit.SessionFilter{
		{State: userkit.SessionsActive}, {State: userkit.SessionsEnded}, {UserID: userID(1)}, {DeviceID: deviceID(7)},
		{UserID: userID(1), State: userkit.SessionsEnded}, {From: at(-1), To: at(2)}, {Node: hardNodes[1]}, {InternalIP: netip.MustParseAddr("10.0.0.10")},
		{Overlaps: true, From: at(1), To: at(2)},
	} {
		listing := listingOfSessions(t, env.store, filter, belonging(records, takesSession(filter)))
		require.NotEmpty(t, listing.records)
		require.Less(t, len(listing.records), len(records))
		listing.requirePages(t)
	}
}

func sessionsOverlap(t *testing.T, env env) {
	d := dossier{user: newUser(1)}
	n := 0
	for _, length := range []time.Duration{
		2 * time.Microsecond, time.Second, time.Minute - 2*time.Microsecond, time.Minute, 4 * time.Minute, time.Hour, 10 * 24 * time.Hour, 9 * 365 * 24 * time.Hour,
		40 * 365 * 24 * time.Hour,
	} {
		for _, place := range []time.Duration{0, 1, 2, 3} { // ends before, at, after the moment; starts at it
			session := newSession(d.user.ID, n)
			session.EndedAt = at(0).Add(length * place / 2)
			if place == 0 {
				session.EndedAt = at(0).Add(-time.Microsecond)
			}
			session.StartedAt = session.EndedAt.Add(-length)
			n++
			d.sessions = append(d.sessions, session)
		}
	}
	open, future := newOpenSession(d.user.ID, n), newOpenSession(d.user.ID, n+1)
	open.StartedAt, future.StartedAt = at(-864_000), at(0).Add(time.Microsecond)
	d.sessions = append(d.sessions, open, future)
	createAll(t, env.store, d)
	for _, filter := range []userkit.SessionFilter{
		{From: at(0), To: at(0)}, {From: at(0)}, {From: at(-1), To: at(1)}, {From: at(0), To: at(0), State: userkit.SessionsEnded},
		{From: at(0), To: at(0), State: userkit.SessionsActive}, {From: at(0), To: at(0), UserID: d.user.ID}, {From: at(0), To: at(0), InternalIP: d.sessions[9].InternalIP},
		{From: at(0), To: at(0), Node: d.sessions[9].Node}, {From: at(0).AddDate(30, 0, 0), To: at(0).AddDate(30, 0, 0)},
	} {
		filter.Overlaps = true
		want := belonging(d.sessions, takesSession(filter))
		require.NotEmpty(t, want, "%+v", filter)
		listing := listingOfSessions(t, env.store, filter, want)
		listing.fields = slices.DeleteFunc(listing.fields, func(field userkit.Field[userkit.Session]) bool {
			return field.Name != "started_at" && field.Name != "node" && field.Name != "ended_at"
		})
		listing.requireOrder(t)
	}
}

func sessionsSpan(t *testing.T, env env) {
	d := dossier{user: newUser(1)}
	var inOrder []userkit.Session
	for n, started := range []time.Time{
		time.Unix(0, 0).UTC(), at(0).Add(-time.Microsecond), at(0), at(0).Add(time.Microsecond), at(100 * 24 * 3600),
	} {
		session := newSession(d.user.ID, n)
		session.StartedAt = started
		inOrder = append(inOrder, session)
	}
	d.sessions = inOrder
	createAll(t, env.store, d)
	for _, span := range []struct {
		from, to time.Time
		want     []userkit.Session
	}{
		{time.Time{}, time.Time{}, inOrder},
		{at(0), time.Time{}, inOrder[2:]},
		{time.Time{}, at(0), inOrder[:2]},
		{at(0), at(0).Add(time.Microsecond), inOrder[2:3]},
		{at(0).Add(-time.Microsecond), at(0), inOrder[1:2]},
		{at(0), at(0), nil},
		{at(1), at(-1), nil},
		// No bound on the length of a span: that is the manager's.
		{time.Unix(0, 0).UTC(), at(100*24*3600 + 1), inOrder},
	} {
		listingOfSessions(t, env.store, userkit.SessionFilter{From: span.from, To: span.to}, span.want).requireOrder(t)
	}
}

func staleSessions(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	d.sessions = nil
	for n, reported := range []time.Time{at(0).Add(-time.Microsecond), at(0), at(0).Add(time.Microsecond), at(-100), time.Unix(0, 0).UTC()} {
		session := newOpenSession(d.user.ID, 10+n)
		session.ReportedAt = reported
		d.sessions = append(d.sessions, session)
	}
	ended := newSession(d.user.ID, 20)
	ended.ReportedAt = at(-100)
	d.sessions = append(d.sessions, ended)
	other.sessions[0].ReportedAt = at(-50)
	createAll(t, env.store, d, other)

	requireStale(t, env.store, at(0), d.sessions[0], d.sessions[3], d.sessions[4], other.sessions[0])
	requireStale(t, env.store, at(1), d.sessions[0], d.sessions[1], d.sessions[2], d.sessions[3], d.sessions[4], other.sessions[0])
	requireStale(t, env.store, at(-60), d.sessions[3], d.sessions[4])
	requireStale(t, env.store, time.Unix(0, 0).UTC())
}

// requireStale demands the stale sessions, in whatever order.
func requireStale(t *testing.T, store userkit.Store, before time.Time, want ...userkit.Session) {
	t.Helper()
	got, err := store.StaleSessions(t.Context(), before, whole)
	require.NoError(t, err)
	requireRecords(t, want, got, sessionRecordID)
}

func staleSessionsLimit(t *testing.T, env env) {
	user := newUser(1)
	change := creation(user)
	for n := range 10 {
		change.Sessions.Insert = append(change.Sessions.Insert, newOpenSession(user.ID, n))
	}
	commit(t, env.store, change)
	for _, limit := range []int{1, 3, 9, 10, 11} {
		got, err := env.store.StaleSessions(t.Context(), at(1_000_000), limit)
		require.NoError(t, err)
		require.Len(t, got, min(limit, 10))
		ids := idsOf(got, sessionRecordID)
		slices.Sort(ids)
		require.Len(t, slices.Compact(ids), len(got), "a session comes twice")
	}
}

func staleSessionsAfterChange(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	d.sessions = []userkit.Session{newOpenSession(d.user.ID, 10), newOpenSession(d.user.ID, 11), newOpenSession(d.user.ID, 12)}
	for i := range d.sessions {
		d.sessions[i].ReportedAt = at(i)
	}
	createAll(t, env.store, d, other)
	requireStale(t, env.store, at(10), d.sessions...)

	change := step(&d.user)
	d.sessions[0].ReportedAt = at(20)
	d.sessions[1].EndedAt, d.sessions[1].EndReason = at(5), userkit.EndedByClient
	change.Sessions.Update = d.sessions[:2]
	commit(t, env.store, change)
	requireStale(t, env.store, at(10), d.sessions[2])
	requireStale(t, env.store, at(21), d.sessions[0], d.sessions[2])

	change = step(&d.user)
	d.sessions[1].EndedAt, d.sessions[1].EndReason = time.Time{}, ""
	change.Sessions.Update = d.sessions[1:2]
	change.Sessions.Delete = []userkit.SessionID{d.sessions[2].ID}
	commit(t, env.store, change)
	requireStale(t, env.store, at(10), d.sessions[1])
}

func usageSpan(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	d.usage = nil
	for _, n := range []int{300, 2, -30, 3, 1} {
		d.usage = append(d.usage, newDayUsage(n))
	}
	createAll(t, env.store, d, other)
	sorted := []userkit.DayUsage{newDayUsage(-30), newDayUsage(1), newDayUsage(2), newDayUsage(3), newDayUsage(300)}
	for _, span := range []struct {
		from, to int
		want     []userkit.DayUsage
	}{
		{-1000, 1000, sorted}, {-30, 300, sorted}, {-29, 299, sorted[1:4]}, {2, 2, sorted[2:3]}, {4, 299, nil}, {3, 1, nil}, {301, 400, nil},
	} {
		got, err := env.store.Usage(t.Context(), d.user.ID, newDayUsage(span.from).Day, newDayUsage(span.to).Day)
		require.NoError(t, err)
		requireUsage(t, span.want, got)
	}
}

func usageUnknown(t *testing.T, env env) {
	createAll(t, env.store, newDossier(1))
	usage, err := env.store.Usage(t.Context(), userID(2), newDayUsage(-1000).Day, newDayUsage(1000).Day)
	require.NoError(t, err)
	require.Empty(t, usage)
}
