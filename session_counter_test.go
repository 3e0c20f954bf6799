package userkit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// metered reports readings to one session, each a minute after the one before, and
// returns the session and what was counted of it.
func metered(t *testing.T, reports ...UsageReport) (Session, []UsageResult) {
	t.Helper()
	session := Session{ID: NewID[Session](), StartedAt: noon, ReportedAt: noon}
	var results []UsageResult
	for i, report := range reports {
		report.SessionID = session.ID
		now := noon.Add(time.Duration(i+1) * time.Minute)
		report, err := report.normalise(now)
		require.NoError(t, err)
		results = append(results, report.count(&session, &Change{}, usage{zone: time.UTC, now: now}))
		require.Equal(t, now, session.ReportedAt, "every report is a sign of life")
	}
	return session, results
}

func TestOneReadingOfAFastClockSilencesNothing(t *testing.T) {
	reports := []UsageReport{{Received: 100, At: noon.Add(3 * time.Hour)}}
	for i := range 16 {
		reports = append(reports, UsageReport{Received: int64(i+1)*1000 + 100, At: noon.Add(time.Duration(i+2) * time.Minute)})
	}
	session, results := metered(t, reports...)
	require.EqualValues(t, 16_100, session.Received)
	for _, result := range results {
		require.Equal(t, UsageCounted, result.Outcome)
	}

	// The same, and the counter begins anew behind the fast reading: one reading does
	// not tell that from a late one, two in a row do. The fast one does not count again.
	fast := UsageReport{Received: 5000, At: noon.Add(3 * time.Hour)}
	session, results = metered(t, fast,
		UsageReport{Received: 100, At: noon.Add(2 * time.Minute)}, UsageReport{Received: 200, At: noon.Add(3 * time.Minute)},
		fast, UsageReport{Received: 300, At: noon.Add(5 * time.Minute)})
	require.Equal(t, []UsageOutcome{UsageCounted, UsageLate, UsageRestarted, UsageRepeated, UsageCounted}, outcomes(results))
	require.EqualValues(t, 5300, session.Received)
}

func outcomes(results []UsageResult) (all []UsageOutcome) {
	for _, result := range results {
		all = append(all, result.Outcome)
	}
	return all
}

func TestAClockThatIsSetBackGoesOn(t *testing.T) {
	reading := func(received int64, after time.Duration) UsageReport {
		return UsageReport{Received: received, At: noon.Add(after)}
	}
	for _, c := range []struct {
		name    string
		reports []UsageReport
		want    int64
	}{
		{"the counter goes on", []UsageReport{reading(1000, time.Minute), reading(2000, -time.Hour), reading(3000, time.Minute-time.Hour), reading(4000, 2*time.Minute-time.Hour)}, 4000},
		{"only one more reading comes", []UsageReport{reading(1000, time.Minute), reading(2000, -1000*time.Hour)}, 2000},
		{"the counter begins anew with the clock", []UsageReport{reading(1000, time.Minute), reading(10, -1000*time.Hour), reading(20, time.Minute-1000*time.Hour), reading(30, 2*time.Minute-1000*time.Hour)}, 1030},
		{"after the counter began anew", []UsageReport{reading(1000, time.Minute), reading(10, 2*time.Minute), reading(20, -time.Hour), reading(30, time.Minute-time.Hour), reading(40, 2*time.Minute-time.Hour)}, 1040},
		// Late readings from before the counter began anew are not taken for growth.
		{"readings come late", []UsageReport{reading(1000, 10*time.Second), reading(50, 90*time.Second), reading(700, 5*time.Second), reading(800, 6*time.Second), reading(900, 7*time.Second), reading(60, 6*time.Minute)}, 1060},
		{"and again", []UsageReport{reading(1000, 10*time.Second), reading(50, 90*time.Second), reading(900, 7*time.Second), reading(900, 7*time.Second), reading(900, 7*time.Second)}, 1050},
		{"one proves more than has counted", []UsageReport{reading(50, 90*time.Second), reading(1000, 10*time.Second), reading(1000, 10*time.Second), reading(60, 4*time.Minute)}, 1060},
		{"the first after the counter began anew is of a fast clock", []UsageReport{reading(1000, time.Minute), reading(10, 5*time.Hour), reading(1100, 3*time.Minute), reading(1200, 4*time.Minute)}, 1200},
	} {
		session, _ := metered(t, c.reports...)
		require.Equal(t, c.want, session.Received, c.name)
	}
}

func TestCountersWrapOneByOne(t *testing.T) {
	const g = int64(1) << 30
	for bits, want := range map[int][2]int64{
		0:  {45 * g / 10, 11 * g / 10},
		32: {45 * g / 10, 11 * g / 10},
		64: {4 * g, 11 * g / 10},
	} {
		session, _ := metered(t,
			UsageReport{Received: 35 * g / 10, Sent: g, At: noon.Add(time.Minute), CounterBits: bits},
			UsageReport{Received: g / 2, Sent: 11 * g / 10, At: noon.Add(2 * time.Minute), CounterBits: bits})
		require.Equal(t, want, [2]int64{session.Received, session.Sent}, "%d bits", bits)
	}
	// A node that began anew: both counters did, whatever it looks like.
	for _, bits := range []int{0, 32, 64} {
		session, _ := metered(t,
			UsageReport{Received: 35 * g / 10, Sent: 1000, At: noon.Add(time.Minute), CounterBits: bits},
			UsageReport{Received: g / 2, Sent: 10, At: noon.Add(2 * time.Minute), CounterBits: bits})
		require.Equal(t, [2]int64{4 * g, 1010}, [2]int64{session.Received, session.Sent}, "%d bits", bits)
	}
	// Both at once: a restart, unless the width says that it is a wrap.
	for bits, want := range map[int]int64{0: 35*g/10 + 1, 32: 4*g + 1, 64: 35*g/10 + 1} {
		session, _ := metered(t,
			UsageReport{Received: 35 * g / 10, Sent: 35 * g / 10, At: noon.Add(time.Minute), CounterBits: bits},
			UsageReport{Received: 1, Sent: 1, At: noon.Add(2 * time.Minute), CounterBits: bits})
		require.Equal(t, [2]int64{want, want}, [2]int64{session.Received, session.Sent}, "%d bits", bits)
	}
	_, err := UsageReport{CounterBits: 16}.normalise(noon)
	require.Equal(t, CodeOutOfRange, ErrorCode(err))
}

func TestAnyUseBeginsTheValidity(t *testing.T) {
	session := Session{ID: NewID[Session](), UserID: NewID[User](), StartedAt: noon, ReportedAt: noon}
	state := &State{Exists: true, Sessions: []Session{session}}
	state.User.ID, state.User.ValidFor, state.User.OpenSessions = session.UserID, Duration(30*24*time.Hour), 1
	u := usage{zone: time.UTC, now: noon.Add(time.Minute)}
	for name, report := range map[string]UsageReport{
		"bytes":    {SessionID: session.ID, Received: 1, At: u.now},
		"no bytes": {SessionID: session.ID, At: u.now},
		"the same moment as the last sign of life": {SessionID: session.ID},
	} {
		_, c, err := reportUsage(state, testOrigin(u.now), u, []UsageReport{report})
		require.NoError(t, err)
		require.True(t, c.writes(), name)
		require.Zero(t, c.Account.ValidFor, name)
		require.Equal(t, u.now.Add(30*24*time.Hour), c.Account.ExpiresAt, name)
		state.Sessions[0].ReportedAt = u.now
	}
	_, c, err := endSession(state, testOrigin(u.now), u, session.ID, UsageReport{SessionID: session.ID})
	require.NoError(t, err)
	require.Equal(t, u.now.Add(30*24*time.Hour), c.Account.ExpiresAt)

	// What comes when all is over and adds nothing is no use.
	state.Sessions[0].EndedAt = u.now
	_, c, err = reportUsage(state, testOrigin(u.now), u, []UsageReport{{SessionID: session.ID}})
	require.NoError(t, err)
	require.Zero(t, c.Account.ExpiresAt)
}

// Readings that are late, and come at about the pace at which they were made, are not those
// of a node that began anew under a clock that was set back.
func TestLateReadingsCountOnce(t *testing.T) {
	at := func(minutes float64) time.Time { return noon.Add(time.Duration(minutes * float64(time.Minute))) }
	for name, reports := range map[string][]UsageReport{
		"with one in order between them": {
			{Received: 1000, At: at(1)}, {Received: 2000, At: at(2)}, {Received: 3000, At: at(3)},
			{Received: 1000, At: at(0.5)}, {Received: 4000, At: at(5)}, {Received: 1500, At: at(1.5)}, {Received: 5000, At: at(7)},
		},
		"one right after the other": {
			{Received: 1000, At: at(1)}, {Received: 2000, At: at(2)}, {Received: 3000, At: at(3)},
			{Received: 1000, At: at(0.5)}, {Received: 1500, At: at(1.2)}, {Received: 5000, At: at(6)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			session, _ := metered(t, reports...)
			require.EqualValues(t, 5000, session.Received)
		})
	}
}
