package userkit

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// sessionState is a user with one active session that started an hour before noon.
func sessionState() (*State, SessionID) {
	user := User{ID: NewID[User](), Status: StatusActive, Account: Account{Version: 7, OpenSessions: 1, Traffic: Traffic{Limit: TrafficLimit{Reset: ResetDaily}}}}
	session := Session{ID: NewID[Session](), UserID: user.ID, Node: "node-1", StartedAt: noon.Add(-time.Hour), ReportedAt: noon.Add(-time.Hour)}
	return &State{Exists: true, User: user, Sessions: []Session{session}, base: 7}, session.ID
}

func testOrigin(now time.Time) origin {
	return origin{now: now, actor: Actor{Kind: ActorNode, ID: "node-1"}, event: NewID[Event]()}
}

// report decides one report at a time of arrival and makes the state what it becomes.
func report(t *testing.T, state *State, arrival time.Time, r UsageReport) UsageResult {
	t.Helper()
	results, c, err := reportUsage(state, testOrigin(arrival), usage{zone: time.UTC, now: arrival}, []UsageReport{r})
	require.NoError(t, err)
	if c.writes() {
		state.apply(c)
	}
	return results[0]
}

func TestReportOutcomes(t *testing.T) {
	state, id := sessionState()
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	arrival := at(100)
	steps := []struct {
		name           string
		received, sent int64
		at             time.Time
		outcome        UsageOutcome
		counts, total  int64 // received
	}{
		{"the first", 100, 10, at(1), UsageCounted, 100, 100},
		{"the same again", 100, 10, at(1), UsageRepeated, 0, 100},
		{"a later one", 250, 20, at(3), UsageCounted, 150, 250},
		{"one from in between", 180, 15, at(2), UsageLate, 0, 250},
		{"an old one that proves more than has counted", 300, 15, at(2), UsageCounted, 50, 300},
		{"no traffic since", 300, 20, at(4), UsageCounted, 0, 300},
		{"a counter that began anew", 30, 5, at(5), UsageRestarted, 30, 330},
		{"and goes on", 50, 6, at(6), UsageCounted, 20, 350},
		{"one from before it began anew", 310, 21, at(4), UsageLate, 0, 350},
		{"without a time, more", 60, 6, time.Time{}, UsageCounted, 10, 360},
		{"without a time, the same", 60, 6, time.Time{}, UsageRepeated, 0, 360},
		{"without a time, less", 1, 1, time.Time{}, UsageLate, 0, 360},
		{"one counter less, the other more", 70, 5, at(101), UsageRestarted, 10, 370},
		{"less at the same time", 60, 5, at(101), UsageLate, 0, 370},
	}
	for _, step := range steps {
		result := report(t, state, arrival, UsageReport{SessionID: id, Received: step.received, Sent: step.sent, At: step.at})
		require.Equal(t, step.outcome, result.Outcome, step.name)
		require.Equal(t, step.counts, result.Received, step.name)
		require.Equal(t, step.total, state.Sessions[0].Received, step.name)
		require.False(t, result.Ended, step.name)
	}
	require.Equal(t, 370+state.Sessions[0].Sent, state.User.Traffic.Used)
}

func TestReportsInAnyOrderWithRepeatsCountOnce(t *testing.T) {
	for range 200 {
		state, id := sessionState()
		var reports []UsageReport
		var received, sent int64
		for minute := range 20 {
			received += rand.Int64N(1000)
			sent += rand.Int64N(1000)
			r := UsageReport{SessionID: id, Received: received, Sent: sent, At: noon.Add(time.Duration(minute) * time.Minute)}
			for range 1 + rand.IntN(3) {
				reports = append(reports, r)
			}
		}
		rand.Shuffle(len(reports), func(i, j int) { reports[i], reports[j] = reports[j], reports[i] })
		results, c, err := reportUsage(state, testOrigin(noon.Add(time.Hour)), usage{zone: time.UTC, now: noon.Add(time.Hour)}, reports)
		require.NoError(t, err)
		state.apply(c)
		var counted int64
		for _, result := range results {
			counted += result.Received
		}
		require.Equal(t, received, counted)
		require.Equal(t, received, state.Sessions[0].Received)
		require.Equal(t, sent, state.Sessions[0].Sent)
		require.Equal(t, received+sent, state.User.Traffic.Used)
	}
}

func TestNodeClockAheadDoesNotTurnLateIntoRestarted(t *testing.T) {
	state, id := sessionState()
	ahead := noon.Add(5 * time.Minute)
	require.Equal(t, UsageCounted, report(t, state, noon, UsageReport{SessionID: id, Received: 100, At: ahead.Add(time.Minute)}).Outcome)
	require.Equal(t, UsageLate, report(t, state, noon.Add(time.Second), UsageReport{SessionID: id, Received: 50, At: ahead}).Outcome)
	require.EqualValues(t, 100, state.Sessions[0].Received)
}

func TestCountersAtTheEdgeOfInt64(t *testing.T) {
	state, id := sessionState()
	result := report(t, state, noon, UsageReport{SessionID: id, Received: math.MaxInt64, Sent: math.MaxInt64, At: noon})
	require.Equal(t, UsageCounted, result.Outcome)
	require.EqualValues(t, math.MaxInt64, state.User.Traffic.Used, "stops at the edge instead of going round")
	result = report(t, state, noon, UsageReport{SessionID: id, Received: 5, Sent: 5, At: noon.Add(time.Second)})
	require.Equal(t, UsageRestarted, result.Outcome)
	require.EqualValues(t, math.MaxInt64, state.Sessions[0].Received)
}

func TestBytesOfYesterdayDoNotUseUpToday(t *testing.T) {
	state, id := sessionState()
	state.User.Traffic.Limit.Bytes = 100
	state.Sessions[0].StartedAt = noon.Add(-24 * time.Hour)
	result := report(t, state, noon, UsageReport{SessionID: id, Received: 1000, At: noon.Add(-20 * time.Hour)})
	require.False(t, result.Ended)
	require.Zero(t, state.User.Traffic.Used)
	require.Equal(t, []DayUsage{{Day: Day{2026, 5, 3}, Received: 1000}}, state.Usage)
}

// Readings are no news: they write an event only where the host asks for it, where they
// reach the limit, be it once, or where they end sessions.
func TestReadingsWriteNoEvents(t *testing.T) {
	for _, events := range []bool{false, true} {
		state, id := sessionState()
		u := usage{zone: time.UTC, now: noon, events: events}
		_, c, err := reportUsage(state, testOrigin(noon), u, []UsageReport{{SessionID: id, Received: 5, At: noon}})
		require.NoError(t, err)
		require.True(t, c.writes())
		require.Len(t, c.Events, map[bool]int{true: 1}[events])
		require.EqualValues(t, 5, c.Usage[0].Received)
	}
	state, id := sessionState()
	state.User.Account.OpenSessions = 0
	state.Sessions[0].EndedAt, state.Sessions[0].EndReason = noon, EndedByClient
	state.User.Traffic.Limit.Bytes = 100
	for i, want := range []int{0, 1, 0} {
		u := usage{zone: time.UTC, now: noon}
		_, c, err := reportUsage(state, testOrigin(noon), u, []UsageReport{{SessionID: id, Received: int64(i+1) * 60, At: noon}})
		require.NoError(t, err)
		require.Len(t, c.Events, want, "reading %d", i)
		state.apply(c)
	}
}

func TestReachingTheLimitAsksForAllSessionsAndEndsThem(t *testing.T) {
	state, id := sessionState()
	state.User.Traffic.Limit.Bytes = 100
	state.User.OpenSessions = 2
	r := []UsageReport{{SessionID: id, Received: 100, At: noon}}
	u := usage{zone: time.UTC, now: noon}
	_, _, err := reportUsage(state, testOrigin(noon), u, r)
	require.ErrorAs(t, err, new(needMore))
	other := Session{ID: NewID[Session](), UserID: state.User.ID, Node: "node-2", StartedAt: noon}
	state.Sessions = append(state.Sessions, other)
	state.complete.openSessions = true
	results, c, err := reportUsage(state, testOrigin(noon), u, r)
	require.NoError(t, err)
	require.True(t, results[0].Ended)
	require.Equal(t, EndedTrafficLimit, results[0].EndReason)
	require.Equal(t, time.Date(2026, 5, 5, 0, 0, 0, 0, time.UTC), results[0].NextReset)
	require.Zero(t, c.Account.OpenSessions)
	require.Len(t, c.Sessions.Update, 2)
	for _, session := range c.Sessions.Update {
		require.Equal(t, noon, session.EndedAt)
	}
	require.Len(t, c.Events, 1)
}

func TestLateReportMergesIntoAStaleSession(t *testing.T) {
	state, id := sessionState()
	state.Sessions[0].EndedAt, state.Sessions[0].EndReason = noon.Add(-time.Hour), EndedStale
	state.User.OpenSessions = 0
	result := report(t, state, noon, UsageReport{SessionID: id, Received: 100, At: noon.Add(-time.Minute)})
	require.Equal(t, UsageCounted, result.Outcome)
	require.True(t, result.Ended)
	require.Equal(t, EndedStale, result.EndReason)
	require.Equal(t, noon.Add(-time.Minute), state.Sessions[0].EndedAt)
	require.EqualValues(t, 100, state.User.Traffic.Used)
	require.Zero(t, state.User.OpenSessions)
}

func TestDecidingTwiceGivesTheSame(t *testing.T) {
	state, id := sessionState()
	before := *state
	before.Sessions = append([]Session(nil), state.Sessions...)
	o := testOrigin(noon)
	decide := func() ([]UsageResult, Change) {
		results, c, err := reportUsage(state, o, usage{zone: time.UTC, now: noon}, []UsageReport{{SessionID: id, Received: 5, At: noon}})
		require.NoError(t, err)
		return results, c
	}
	results, c := decide()
	require.Equal(t, before, *state, "deciding alters nothing")
	again, c2 := decide()
	require.Equal(t, results, again)
	require.Equal(t, c, c2)
}

// A session does not end before it started, and is not heard of before that either,
// when the clock of the process steps back or is behind that of another.
func TestNoSessionEndsBeforeItStarted(t *testing.T) {
	started := noon.Add(-time.Hour)
	behind := started.Add(-10 * time.Minute)
	u := usage{zone: time.UTC, now: behind}
	for name, end := range map[string]func(state *State, id SessionID) (Session, error){
		"EndSession": func(state *State, id SessionID) (Session, error) {
			end, _, err := endSession(state, testOrigin(behind), u, id, UsageReport{SessionID: id})
			return end.session, err
		},
		"EndSession with a reading": func(state *State, id SessionID) (Session, error) {
			end, c, err := endSession(state, testOrigin(behind), u, id, UsageReport{SessionID: id, Received: 5, At: behind})
			require.EqualValues(t, 5, c.Usage[0].Received)
			return end.session, err
		},
		"the user's other calls": func(state *State, _ SessionID) (Session, error) {
			c := state.change()
			state.endSessions(&c, behind, EndedUserDisabled, anySession)
			return c.Sessions.Update[0], nil
		},
		"staleness": func(state *State, id SessionID) (Session, error) {
			report(t, state, behind, UsageReport{SessionID: id, Received: 5, At: behind})
			c := state.change()
			state.endStale(&c, noon, noon)
			return c.Sessions.Update[0], nil
		},
		"a late reading after staleness": func(state *State, id SessionID) (Session, error) {
			state.Sessions[0].EndReason, state.Sessions[0].EndedAt = EndedStale, started
			report(t, state, behind, UsageReport{SessionID: id, Received: 5, At: behind})
			return state.Sessions[0], nil
		},
	} {
		state, id := sessionState()
		session, err := end(state, id)
		require.NoError(t, err, name)
		require.Equal(t, started, session.EndedAt, name)
		require.Equal(t, started, session.ReportedAt, name)
	}
}

// What was seen last does not become earlier when the clock does.
func TestWhatWasSeenLastStays(t *testing.T) {
	state, _ := sessionState()
	device := DeviceRecord{Device: Device{ID: NewID[Device](), UserID: state.User.ID, LastSeenAt: noon}}
	state.Devices, state.User.LastSeenAt, state.User.Devices = []DeviceRecord{device}, noon, 1
	earlier := noon.Add(-time.Minute)
	m := &manager{}
	m.zone = time.UTC
	_, c, err := NewSession{ID: NewID[Session](), UserID: state.User.ID, DeviceID: device.ID, Node: "node"}.start(state, testOrigin(earlier), m)
	require.NoError(t, err)
	require.Equal(t, noon, c.Account.LastSeenAt)
	require.Equal(t, noon, c.Devices.Update[0].LastSeenAt)
	user, _, err := recordLogin(state, testOrigin(earlier), "password")
	require.NoError(t, err)
	require.Equal(t, noon, user.LastSeenAt)
}
