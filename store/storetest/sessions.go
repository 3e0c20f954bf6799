package storetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// patient lets no session become stale in cases that are about something else.
var patient = userkit.WithStaleAfter(10_000 * time.Hour)

// end ends a session without a last reading.
func (d *desk) end(t *testing.T, id userkit.SessionID) userkit.Session {
	t.Helper()
	session, err := d.EndSession(t.Context(), id, userkit.UsageReport{})
	require.NoError(t, err)
	return session
}

// reports makes one call with several reports.
func (d *desk) reports(t *testing.T, reports ...userkit.UsageReport) []userkit.UsageResult {
	t.Helper()
	results, err := d.ReportUsage(t.Context(), reports)
	require.NoError(t, err)
	require.Len(t, results, len(reports))
	for i, result := range results {
		require.Equal(t, reports[i].SessionID, result.SessionID, "results are in the order of the reports")
		if result.Outcome == userkit.UsageRejected {
			require.Error(t, result.Err)
			require.Zero(t, result.Received+result.Sent)
		} else {
			require.NoError(t, result.Err)
		}
	}
	return results
}

// requireBytes demands what a session has counted.
func (d *desk) requireBytes(t *testing.T, id userkit.SessionID, received, sent int64) {
	t.Helper()
	session := d.session(t, id)
	require.Equal(t, [2]int64{received, sent}, [2]int64{session.Received, session.Sent}, "received and sent")
}

func sessionGroups() []group {
	return []group{
		{"StartSession", startSessionCases()},
		{"EndSession", endSessionCases()},
		{"ReportUsage", reportUsageCases()},
		{"StaleSessions", staleSessionCases()},
		{"SessionLimits", sessionLimitCases()},
		{"Sessions", sessionListCases()},
	}
}

func startSessionCases() []testCase {
	return []testCase{
		{"keeps every field that it is given", func(t *testing.T, env env) {
			d := env.desk(t)
			user, other := d.signUp(t), d.household(t)
			device := d.register(t, user.ID, userkit.NewDevice{Name: "Ada's phone"})
			beside := d.picture(t, other.ID)
			d.clock.Advance(time.Minute)
			for _, ip := range []string{"10.8.0.2", "2001:db8::2", "::ffff:192.0.2.1"} {
				given := userkit.NewSession{
					ID: userkit.NewID[userkit.Session](), UserID: user.ID, DeviceID: device.ID,
					Node: "node-1.example.com", NodeLocation: "Zürich", InternalIP: netip.MustParseAddr(ip),
				}
				session, err := d.StartSession(t.Context(), given)
				require.NoError(t, err)
				want := userkit.Session{
					ID: given.ID, UserID: user.ID, DeviceID: device.ID, DeviceName: "Ada's phone",
					Node: given.Node, NodeLocation: given.NodeLocation, InternalIP: session.InternalIP,
					StartedAt: d.clock.Now(), Counter: session.Counter, ReportedAt: d.clock.Now(),
				}
				require.Equal(t, given.InternalIP.Unmap(), session.InternalIP.Unmap())
				require.Equal(t, want, session)
				require.Zero(t, session.Counter.Received+session.Counter.Sent)
				require.True(t, session.Active())
				require.Equal(t, session, d.session(t, given.ID))
			}
			require.Equal(t, 3, d.user(t, user.ID).OpenSessions)
			require.Equal(t, beside, d.picture(t, other.ID))
		}},
		{"makes an id, and needs neither device nor address", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			session, err := d.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, Node: "node"})
			require.NoError(t, err)
			require.False(t, session.ID.IsZero())
			require.True(t, session.DeviceID.IsZero())
			require.Empty(t, session.DeviceName)
			require.False(t, session.InternalIP.IsValid())
			require.Equal(t, session, d.session(t, session.ID))
		}},
		{"refuses an id that is taken, by an active or an ended session of anyone", func(t *testing.T, env env) {
			d := env.desk(t)
			user, other := d.signUp(t), d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			for range 2 {
				for _, owner := range []userkit.UserID{user.ID, other.ID} {
					_, err := d.StartSession(t.Context(), userkit.NewSession{ID: session.ID, UserID: owner, Node: "node"})
					requireExists(t, err, userkit.CodeIDTaken, "id")
				}
				d.end(t, session.ID)
			}
			require.Zero(t, d.user(t, other.ID).OpenSessions)
			require.Len(t, d.sessions(t, user.ID), 1)
		}},
		{"refuses users that may use nothing, with the reason, and writes nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			for code, change := range map[userkit.Code]func(*userkit.NewUser){
				userkit.CodeUserDisabled: withStatus(userkit.StatusDisabled),
				userkit.CodeUserInactive: withStatus(userkit.StatusInactive),
				userkit.CodeUserExpired:  func(user *userkit.NewUser) { user.ExpiresAt = at(-1) },
			} {
				user := d.signUp(t, change)
				before := d.picture(t, user.ID)
				_, err := d.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, Node: "node"})
				requireCode(t, err, userkit.ErrRefused, code)
				require.Equal(t, before, d.picture(t, user.ID))
			}
		}},
		{"refuses a device that is not one of the user's", func(t *testing.T, env env) {
			d := env.desk(t)
			user, other := d.signUp(t), d.signUp(t)
			stranger := d.register(t, other.ID, userkit.NewDevice{})
			deleted := d.register(t, user.ID, userkit.NewDevice{})
			_, err := d.DeleteDevice(t.Context(), deleted.ID)
			require.NoError(t, err)
			for _, device := range []userkit.DeviceID{stranger.ID, deleted.ID, userkit.NewID[userkit.Device]()} {
				_, err := d.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, DeviceID: device, Node: "node"})
				requireCode(t, err, userkit.ErrNotFound, userkit.CodeDeviceNotFound)
			}
			require.Empty(t, d.sessions(t, user.ID))
			require.Empty(t, d.sessions(t, other.ID))
		}},
		{"refuses every wrong value with its code and field, and writes nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			before := d.picture(t, user.ID)
			for name, wrong := range map[string]struct {
				session userkit.NewSession
				code    userkit.Code
				field   string
			}{
				"no node":                  {userkit.NewSession{}, userkit.CodeRequired, "node"},
				"a long node":              {userkit.NewSession{Node: strings.Repeat("é", userkit.MaxLine+1)}, userkit.CodeTooLong, "node"},
				"a node with a NUL":        {userkit.NewSession{Node: "a\x00"}, userkit.CodeBadText, "node"},
				"a node of invalid UTF-8":  {userkit.NewSession{Node: "a\xff"}, userkit.CodeBadText, "node"},
				"a long node location":     {userkit.NewSession{Node: "node", NodeLocation: strings.Repeat("é", userkit.MaxLine+1)}, userkit.CodeTooLong, "node_location"},
				"a node location with NUL": {userkit.NewSession{Node: "node", NodeLocation: "a\x00"}, userkit.CodeBadText, "node_location"},
			} {
				t.Run(name, func(t *testing.T) {
					wrong.session.UserID = user.ID
					_, err := d.StartSession(t.Context(), wrong.session)
					requireField(t, err, userkit.ErrInvalid, wrong.code, wrong.field)
				})
			}
			require.Equal(t, before, d.picture(t, user.ID))
		}},
		{"an address with a zone is kept whole or refused", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			zoned := netip.MustParseAddr("fe80::1%eth0")
			session, err := d.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, Node: "node", InternalIP: zoned})
			if err != nil {
				require.ErrorIs(t, err, userkit.ErrInvalid)
				require.Equal(t, "internal_ip", detail(t, err).Field)
				return
			}
			require.Equal(t, zoned, d.session(t, session.ID).InternalIP)
		}},
	}
}

func endSessionCases() []testCase {
	return []testCase{
		{"ends a session, once; to end it again is no error and moves nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			user, other := d.signUp(t), d.household(t)
			session, sibling := d.connect(t, user.ID, userkit.DeviceID{}), d.connect(t, user.ID, userkit.DeviceID{})
			beside := d.picture(t, other.ID)
			d.clock.Advance(time.Minute)
			ended := d.end(t, session.ID)
			require.Equal(t, at(60), ended.EndedAt)
			require.Equal(t, userkit.EndedByClient, ended.EndReason)
			require.Equal(t, ended, d.session(t, session.ID))
			require.Equal(t, 1, d.user(t, user.ID).OpenSessions)

			d.clock.Advance(time.Minute)
			again := d.end(t, session.ID)
			require.Equal(t, at(60), again.EndedAt)
			require.Equal(t, userkit.EndedByClient, again.EndReason)
			require.Equal(t, 1, d.user(t, user.ID).OpenSessions)
			require.Equal(t, sibling, d.session(t, sibling.ID))
			require.Equal(t, beside, d.picture(t, other.ID))
		}},
		{"counts the last reading, also of a session that has ended", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Advance(time.Minute)
			d.report(t, session.ID, 100, 10)
			d.clock.Advance(time.Minute)
			ended, err := d.EndSession(t.Context(), session.ID, userkit.UsageReport{SessionID: session.ID, Received: 150, Sent: 15, At: d.clock.Now()})
			require.NoError(t, err)
			require.Equal(t, [2]int64{150, 15}, [2]int64{ended.Received, ended.Sent})
			require.Equal(t, at(120), ended.EndedAt)
			d.clock.Advance(time.Minute)
			again, err := d.EndSession(t.Context(), session.ID, userkit.UsageReport{Received: 170, Sent: 15, At: d.clock.Now()})
			require.NoError(t, err)
			require.Equal(t, [2]int64{170, 15}, [2]int64{again.Received, again.Sent})
			require.Equal(t, at(120), again.EndedAt, "the end stays")
			require.EqualValues(t, 185, d.user(t, user.ID).Traffic.Used)
		}},
		{"refuses a reading that is none, and an unknown session", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			before := d.picture(t, user.ID)
			_, err := d.EndSession(t.Context(), session.ID, userkit.UsageReport{Received: -1})
			require.ErrorIs(t, err, userkit.ErrInvalid)
			_, err = d.EndSession(t.Context(), session.ID, userkit.UsageReport{Sent: -1})
			require.ErrorIs(t, err, userkit.ErrInvalid)
			require.Equal(t, before, d.picture(t, user.ID))
			_, err = d.EndSession(t.Context(), userkit.NewID[userkit.Session](), userkit.UsageReport{})
			requireCode(t, err, userkit.ErrNotFound, userkit.CodeSessionNotFound)
			_, err = d.EndSession(t.Context(), session.ID, userkit.UsageReport{UserID: d.signUp(t).ID, Received: 5})
			requireCode(t, err, userkit.ErrNotFound, userkit.CodeSessionNotFound)
			require.Equal(t, before, d.picture(t, user.ID))
			_, err = d.Session(t.Context(), userkit.NewID[userkit.Session]())
			requireCode(t, err, userkit.ErrNotFound, userkit.CodeSessionNotFound)
		}},
	}
}

// reportsWithUsers is about reports that name the user of their session.
func reportsWithUsers(t *testing.T, env env) {
	d := env.desk(t)
	user, other := d.signUp(t), d.signUp(t)
	session := d.connect(t, user.ID, userkit.DeviceID{})
	d.clock.Advance(time.Minute)
	report := userkit.UsageReport{SessionID: session.ID, Received: 100, Sent: 10, At: d.clock.Now()}
	right, wrong, nobody := report, report, report
	right.UserID, wrong.UserID, nobody.UserID = user.ID, other.ID, userkit.NewID[userkit.User]()
	results, err := d.ReportUsage(t.Context(), []userkit.UsageReport{wrong, right, nobody, report})
	require.NoError(t, err)
	for _, i := range []int{0, 2} {
		require.Equal(t, userkit.UsageRejected, results[i].Outcome)
		requireCode(t, results[i].Err, userkit.ErrNotFound, userkit.CodeSessionNotFound)
	}
	require.Equal(t, userkit.UsageCounted, results[1].Outcome)
	require.Equal(t, userkit.UsageRepeated, results[3].Outcome)
	d.requireBytes(t, session.ID, 100, 10)
	require.Zero(t, d.user(t, other.ID).Traffic.Used)
}

func reportUsageCases() []testCase {
	// ahead reports readings of a node whose clock is ahead of the manager's.
	ahead := func(by time.Duration) func(t *testing.T, env env) {
		return func(t *testing.T, env env) {
			d := env.desk(t, patient)
			d.clock.Set(moment("2026-03-14T23:50:00Z"))
			user := d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			for i, reading := range []struct {
				bytes   int64
				outcome userkit.UsageOutcome
			}{{100, userkit.UsageCounted}, {200, userkit.UsageCounted}, {50, userkit.UsageRestarted}, {60, userkit.UsageCounted}} {
				d.clock.Advance(time.Minute)
				result := d.reportAt(t, session.ID, reading.bytes, 2*reading.bytes, d.clock.Now().Add(by))
				require.Equal(t, reading.outcome, result.Outcome, "reading %d", i)
			}
			d.requireBytes(t, session.ID, 260, 520)
			require.Equal(t, []userkit.DayUsage{{Day: date(2026, time.March, 14), Received: 260, Sent: 520}}, d.days(t, user.ID),
				"no byte is counted to a day to come")
		}
	}
	return []testCase{
		{"finds the session by the user that the report names, or not at all", reportsWithUsers},
		{"counts what is beyond the last reading", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			user, other := d.signUp(t), d.household(t)
			session, sibling := d.connect(t, user.ID, userkit.DeviceID{}), d.connect(t, user.ID, userkit.DeviceID{})
			beside := d.picture(t, other.ID)
			d.clock.Advance(time.Minute)
			require.Equal(t, userkit.UsageResult{SessionID: session.ID, Outcome: userkit.UsageCounted, Received: 100, Sent: 10}, d.report(t, session.ID, 100, 10))
			d.clock.Advance(time.Minute)
			require.Equal(t, userkit.UsageResult{SessionID: session.ID, Outcome: userkit.UsageCounted, Received: 50, Sent: 7}, d.report(t, session.ID, 150, 17))

			after := d.session(t, session.ID)
			want := session
			want.Received, want.Sent = 150, 17
			want.Counter = userkit.Counter{Received: 150, Sent: 17, At: at(120)}
			want.ReportedAt = at(120)
			require.Equal(t, want, after)
			require.EqualValues(t, 167, d.user(t, user.ID).Traffic.Used)
			require.Equal(t, sibling, d.session(t, sibling.ID))
			require.Equal(t, beside, d.picture(t, other.ID))
		}},
		{"a repeated reading counts once", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			user := d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Advance(time.Minute)
			reading := d.clock.Now()
			d.report(t, session.ID, 100, 10)
			for range 3 {
				d.clock.Advance(time.Minute)
				require.Equal(t, userkit.UsageResult{SessionID: session.ID, Outcome: userkit.UsageRepeated}, d.reportAt(t, session.ID, 100, 10, reading))
			}
			results := d.reports(t,
				userkit.UsageReport{SessionID: session.ID, Received: 120, Sent: 10, At: d.clock.Now()},
				userkit.UsageReport{SessionID: session.ID, Received: 120, Sent: 10, At: d.clock.Now()},
			)
			require.Equal(t, []userkit.UsageOutcome{userkit.UsageCounted, userkit.UsageRepeated}, []userkit.UsageOutcome{results[0].Outcome, results[1].Outcome})
			d.requireBytes(t, session.ID, 120, 10)
			require.EqualValues(t, 130, d.user(t, user.ID).Traffic.Used)
		}},
		{"a late reading does not count", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			user := d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Advance(time.Hour)
			d.reportAt(t, session.ID, 300, 30, at(1800))
			require.Equal(t, userkit.UsageResult{SessionID: session.ID, Outcome: userkit.UsageLate}, d.reportAt(t, session.ID, 200, 20, at(1200)))
			require.Equal(t, userkit.UsageResult{SessionID: session.ID, Outcome: userkit.UsageLate}, d.reportAt(t, session.ID, 100, 30, at(600)))
			d.requireBytes(t, session.ID, 300, 30)
			require.Equal(t, userkit.Counter{Received: 300, Sent: 30, At: at(1800)}, d.session(t, session.ID).Counter)
		}},
		{"a counter that began anew counts whole", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			user := d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Advance(time.Hour)
			d.reportAt(t, session.ID, 300, 30, at(600))
			require.Equal(t, userkit.UsageResult{SessionID: session.ID, Outcome: userkit.UsageRestarted, Received: 50, Sent: 5}, d.reportAt(t, session.ID, 50, 5, at(1200)))
			require.Equal(t, userkit.UsageResult{SessionID: session.ID, Outcome: userkit.UsageCounted, Received: 10, Sent: 1}, d.reportAt(t, session.ID, 60, 6, at(1800)))
			require.Equal(t, userkit.UsageResult{SessionID: session.ID, Outcome: userkit.UsageRestarted, Received: 20, Sent: 394}, d.reportAt(t, session.ID, 20, 400, at(2400)), "each counter is judged by itself")
			require.Equal(t, userkit.UsageResult{SessionID: session.ID, Outcome: userkit.UsageRestarted}, d.reportAt(t, session.ID, 0, 0, at(3000)))
			d.requireBytes(t, session.ID, 380, 430)
			require.EqualValues(t, 810, d.user(t, user.ID).Traffic.Used)
		}},
		{"a clock that is wrong once, or set back, neither loses bytes nor ends the session", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithStaleAfter(10*time.Minute))
			user := d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			d.reportAt(t, session.ID, 5000, 0, at(3*3600))
			for i := range 4 {
				d.clock.Advance(5 * time.Minute)
				d.reportAt(t, session.ID, int64(i+1)*100, 0, d.clock.Now())
				closed, err := d.CloseStaleSessions(t.Context())
				require.NoError(t, err)
				require.Zero(t, closed)
			}
			d.requireBytes(t, session.ID, 5400, 0)
			after := d.session(t, session.ID)
			require.Equal(t, d.clock.Now(), after.ReportedAt)
			require.Equal(t, userkit.Counter{Received: 400, At: d.clock.Now()}, after.Counter)
			require.Equal(t, userkit.Counter{Received: 5000, At: at(3 * 3600)}, after.Aside)
		}},
		{"without a time of reading, counters that run backwards count as late", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			user := d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			for i, reading := range []struct {
				received, sent int64
				outcome        userkit.UsageOutcome
			}{
				{100, 10, userkit.UsageCounted},
				{200, 20, userkit.UsageCounted},
				{100, 10, userkit.UsageLate},
				{300, 30, userkit.UsageCounted},
			} {
				d.clock.Advance(time.Minute)
				result := d.reportAt(t, session.ID, reading.received, reading.sent, time.Time{})
				require.Equal(t, reading.outcome, result.Outcome, "reading %d", i)
			}
			d.requireBytes(t, session.ID, 300, 30)
		}},
		{"bytes of a node whose clock is an hour ahead count to now", ahead(time.Hour)},
		{"bytes of a node whose clock is a day ahead count to now", ahead(24 * time.Hour)},
		{"a reading that is more than a day ahead is rejected", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			user := d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			before := d.picture(t, user.ID)
			result := d.reports(t, userkit.UsageReport{SessionID: session.ID, Received: 1, At: d.clock.Now().Add(24*time.Hour + time.Second)})[0]
			requireField(t, result.Err, userkit.ErrInvalid, userkit.CodeOutOfRange, "at")
			require.Equal(t, before, d.picture(t, user.ID))
		}},
		{"random orders with repeats give the same totals as the order of reading", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			random := rand.New(rand.NewPCG(1, 2))
			for round := range 20 {
				d.clock.Set(at(round * 10_000))
				user := d.signUp(t)
				session := d.connect(t, user.ID, userkit.DeviceID{})
				var readings []userkit.UsageReport
				var received, sent int64
				for i := range 12 {
					received, sent = received+random.Int64N(1000), sent+random.Int64N(1000)
					readings = append(readings, userkit.UsageReport{SessionID: session.ID, Received: received, Sent: sent, At: d.clock.Now().Add(time.Duration(i+1) * time.Minute)})
				}
				d.clock.Advance(time.Hour)
				shuffled := append(slices.Clone(readings), readings[:6]...)
				shuffled = append(shuffled, readings[9:]...)
				random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
				if round%2 == 0 {
					d.reports(t, shuffled...)
				} else {
					for _, report := range shuffled {
						d.reports(t, report)
					}
				}
				d.requireBytes(t, session.ID, received, sent)
				require.Equal(t, readings[11].At, d.session(t, session.ID).Counter.At)
				total := int64(0)
				for _, day := range d.picture(t, user.ID).Usage {
					total += day.Received + day.Sent
				}
				require.Equal(t, received+sent, total)
			}
		}},
		{"restarts out of order never count more than there was", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			random := rand.New(rand.NewPCG(3, 4))
			for range 20 {
				user := d.signUp(t)
				session := d.connect(t, user.ID, userkit.DeviceID{})
				var readings []userkit.UsageReport
				var counter, total int64
				for i := range 10 {
					if random.IntN(3) == 0 {
						counter = 0
					}
					more := 1 + random.Int64N(100)
					counter, total = counter+more, total+more
					readings = append(readings, userkit.UsageReport{SessionID: session.ID, Received: counter, Sent: counter, At: d.clock.Now().Add(time.Duration(i+1) * time.Minute)})
				}
				d.clock.Advance(time.Hour)
				shuffled := append(slices.Clone(readings), readings[:5]...)
				random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
				d.reports(t, shuffled...)
				require.LessOrEqual(t, d.session(t, session.ID).Received, total)
				require.LessOrEqual(t, d.user(t, user.ID).Traffic.Used, 2*total)
			}
		}},
		{"a report of a session that has ended still counts, and says so", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			user := d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Advance(time.Minute)
			ended := d.end(t, session.ID)
			d.clock.Advance(time.Minute)
			result := d.report(t, session.ID, 100, 10)
			require.Equal(t, userkit.UsageResult{
				SessionID: session.ID, Outcome: userkit.UsageCounted, Received: 100, Sent: 10, Ended: true, EndReason: userkit.EndedByClient,
			}, result)
			d.requireBytes(t, session.ID, 100, 10)
			require.Equal(t, ended.EndedAt, d.session(t, session.ID).EndedAt)
			require.EqualValues(t, 110, d.user(t, user.ID).Traffic.Used)
			require.Zero(t, d.user(t, user.ID).OpenSessions)
		}},
		{"counters at the edge of int64 neither overflow nor run backwards", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			user := d.signUp(t)
			first, second := d.connect(t, user.ID, userkit.DeviceID{}), d.connect(t, user.ID, userkit.DeviceID{})
			for _, session := range []userkit.Session{first, second} {
				d.clock.Advance(time.Minute)
				d.report(t, session.ID, math.MaxInt64, math.MaxInt64)
				d.clock.Advance(time.Minute)
				d.report(t, session.ID, 5, 5)
				after := d.session(t, session.ID)
				require.EqualValues(t, math.MaxInt64, after.Received)
				require.EqualValues(t, math.MaxInt64, after.Sent)
			}
			require.EqualValues(t, math.MaxInt64, d.user(t, user.ID).Traffic.Used)
			for _, day := range d.picture(t, user.ID).Usage {
				require.Positive(t, day.Received)
				require.Positive(t, day.Sent)
			}
			_, err := d.SetTrafficLimit(t.Context(), user.ID, userkit.TrafficLimit{Bytes: math.MaxInt64}, true)
			require.NoError(t, err)
			require.Zero(t, d.user(t, user.ID).Traffic.UsedIn(d.clock.Now(), time.UTC))
		}},
		{"rejects what is wrong, each for itself, and counts the rest", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			user := d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			unknown := userkit.NewID[userkit.Session]()
			d.clock.Advance(time.Minute)
			results := d.reports(t,
				userkit.UsageReport{SessionID: unknown, Received: 1},
				userkit.UsageReport{SessionID: session.ID, Received: -1},
				userkit.UsageReport{SessionID: session.ID, Sent: math.MinInt64},
				userkit.UsageReport{Received: 1},
				userkit.UsageReport{SessionID: session.ID, Received: 10, Sent: 1},
			)
			requireCode(t, results[0].Err, userkit.ErrNotFound, userkit.CodeSessionNotFound)
			requireCode(t, results[1].Err, userkit.ErrInvalid, userkit.CodeOutOfRange)
			requireCode(t, results[2].Err, userkit.ErrInvalid, userkit.CodeOutOfRange)
			require.Equal(t, userkit.UsageRejected, results[3].Outcome)
			require.Equal(t, userkit.UsageCounted, results[4].Outcome)
			d.requireBytes(t, session.ID, 10, 1)
		}},
		{"takes no report, and refuses more than it may take", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			user := d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			results, err := d.ReportUsage(t.Context(), nil)
			require.NoError(t, err)
			require.Empty(t, results)

			before := d.picture(t, user.ID)
			d.clock.Advance(time.Minute)
			many := make([]userkit.UsageReport, userkit.MaxReports+1)
			for i := range many {
				many[i] = userkit.UsageReport{SessionID: session.ID, Received: 10}
			}
			_, err = d.ReportUsage(t.Context(), many)
			requireCode(t, err, userkit.ErrInvalid, userkit.CodeTooLong)
			require.Equal(t, before, d.picture(t, user.ID))
		}},
		{"takes thousands of sessions of many users in one call", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			const users, perUser = 40, 25
			owners := make([]userkit.User, users)
			for i := range owners {
				owners[i] = d.signUp(t)
			}
			started := together(users*perUser, func(i int) (userkit.Session, error) {
				return d.StartSession(t.Context(), userkit.NewSession{UserID: owners[i%users].ID, Node: "node"})
			})
			d.clock.Advance(time.Hour)
			var reports []userkit.UsageReport
			var outcomes []userkit.UsageOutcome
			add := func(id userkit.SessionID, bytes int64, minute int, outcome userkit.UsageOutcome) {
				reports = append(reports, userkit.UsageReport{SessionID: id, Received: bytes, Sent: 2 * bytes, At: base.Add(time.Duration(minute) * time.Minute)})
				outcomes = append(outcomes, outcome)
			}
			for i, start := range started {
				require.NoError(t, start.err)
				id, n := start.value.ID, int64(i)
				add(id, 100+n, 10, userkit.UsageCounted)
				switch i % 4 {
				case 0:
					add(id, 100+n, 10, userkit.UsageRepeated)
				case 1:
					add(id, 50, 5, userkit.UsageLate)
				case 2:
					add(id, 7, 20, userkit.UsageRestarted)
				case 3:
					add(userkit.NewID[userkit.Session](), 1, 10, userkit.UsageRejected)
				}
				add(id, 1000+n, 30, userkit.UsageCounted)
			}
			results := d.reports(t, reports...)
			for i := range results {
				require.Equal(t, outcomes[i], results[i].Outcome, "report %d", i)
			}
			again := d.reports(t, reports...)
			for i := range again {
				require.Zero(t, again[i].Received+again[i].Sent, "report %d counts twice", i)
			}
			used := map[userkit.UserID]int64{}
			for i, start := range started {
				bytes := 1000 + int64(i)
				if i%4 == 2 {
					bytes += 100 + int64(i)
				}
				used[start.value.UserID] += 3 * bytes
			}
			for _, owner := range owners {
				user := d.user(t, owner.ID)
				require.Equal(t, used[owner.ID], user.Traffic.Used)
				require.Equal(t, perUser, user.OpenSessions)
			}
		}},
	}
}

func staleSessionCases() []testCase {
	return []testCase{
		{"end at their last sign of life, and the others go on", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithStaleAfter(10*time.Minute))
			user, other := d.signUp(t), d.signUp(t)
			silent := d.connect(t, user.ID, userkit.DeviceID{})
			spoke := d.connect(t, user.ID, userkit.DeviceID{})
			alive := d.connect(t, other.ID, userkit.DeviceID{})
			d.clock.Set(at(300))
			d.report(t, spoke.ID, 10, 1)
			d.clock.Set(at(599))
			closed, err := d.CloseStaleSessions(t.Context())
			require.NoError(t, err)
			require.Zero(t, closed)

			d.clock.Set(at(700))
			d.report(t, alive.ID, 10, 1)
			d.clock.Set(at(901))
			beside := d.picture(t, other.ID)
			closed, err = d.CloseStaleSessions(t.Context())
			require.NoError(t, err)
			require.Equal(t, 2, closed)
			silent.EndedAt, silent.ClosedAt, silent.EndReason = at(0), d.clock.Now(), userkit.EndedStale
			require.Equal(t, silent, d.session(t, silent.ID))
			ended := d.session(t, spoke.ID)
			require.Equal(t, at(300), ended.EndedAt)
			require.Equal(t, userkit.EndedStale, ended.EndReason)
			require.Zero(t, d.user(t, user.ID).OpenSessions)
			require.Equal(t, beside, d.picture(t, other.ID))

			closed, err = d.CloseStaleSessions(t.Context())
			require.NoError(t, err)
			require.Zero(t, closed)
		}},
		{"a late report merges in and moves the end", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Set(at(60))
			d.report(t, session.ID, 100, 10)
			d.clock.Set(at(7200))
			closed, err := d.CloseStaleSessions(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, closed)
			require.Equal(t, at(60), d.session(t, session.ID).EndedAt)

			result := d.reportAt(t, session.ID, 400, 40, at(7000))
			require.Equal(t, userkit.UsageResult{
				SessionID: session.ID, Outcome: userkit.UsageCounted, Received: 300, Sent: 30, Ended: true, EndReason: userkit.EndedStale,
			}, result)
			after := d.session(t, session.ID)
			require.Equal(t, at(7000), after.EndedAt)
			require.Equal(t, userkit.EndedStale, after.EndReason)
			require.Equal(t, [2]int64{400, 40}, [2]int64{after.Received, after.Sent})
			require.Zero(t, d.user(t, user.ID).OpenSessions)
			require.EqualValues(t, 440, d.user(t, user.ID).Traffic.Used)

			require.Equal(t, userkit.UsageLate, d.reportAt(t, session.ID, 200, 20, at(3000)).Outcome)
			require.Equal(t, at(7000), d.session(t, session.ID).EndedAt, "a reading that is older moves nothing")
		}},
		{"one that ended for another reason keeps its end when a report comes late", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			_, err := d.DeactivateUser(t.Context(), user.ID)
			require.NoError(t, err)
			d.clock.Set(at(7200))
			closed, err := d.CloseStaleSessions(t.Context())
			require.NoError(t, err)
			require.Zero(t, closed)
			d.report(t, session.ID, 100, 10)
			after := d.session(t, session.ID)
			require.Equal(t, at(0), after.EndedAt)
			require.Equal(t, userkit.EndedUserDisabled, after.EndReason)
		}},
		{"count as ended before a job has closed them: they hold no place", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithSessionLimits(userkit.SessionLimits{PerUser: 1}))
			user := d.signUp(t)
			stale := d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Advance(15*time.Minute + time.Second)
			next := d.connect(t, user.ID, userkit.DeviceID{})
			require.True(t, d.session(t, next.ID).Active())
			ended := d.session(t, stale.ID)
			require.Equal(t, at(0), ended.EndedAt)
			require.Equal(t, userkit.EndedStale, ended.EndReason)
			require.Equal(t, 1, d.user(t, user.ID).OpenSessions)
		}},
		{"many are closed, each once, though several managers do it", func(t *testing.T, env env) {
			d := env.desk(t)
			e := d.beside(t, env.second(t))
			var owners []userkit.User
			for range 10 {
				owners = append(owners, d.signUp(t))
			}
			for i := range 60 {
				d.connect(t, owners[i%10].ID, userkit.DeviceID{})
			}
			d.clock.Advance(time.Hour)
			total := 0
			for _, answer := range together(6, func(i int) (int, error) {
				if i%2 == 0 {
					return d.CloseStaleSessions(t.Context())
				}
				return e.CloseStaleSessions(t.Context())
			}) {
				require.NoError(t, answer.err)
				total += answer.value
			}
			require.Equal(t, 60, total)
			for _, owner := range owners {
				require.Zero(t, d.user(t, owner.ID).OpenSessions)
				for _, session := range d.sessions(t, owner.ID) {
					require.Equal(t, userkit.EndedStale, session.EndReason)
				}
			}
		}},
	}
}

func sessionLimitCases() []testCase {
	return []testCase{
		{"refuses one too many of a user, and takes it once another has ended", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithSessionLimits(userkit.SessionLimits{PerUser: 2}))
			user, other := d.signUp(t), d.signUp(t)
			first := d.connect(t, user.ID, userkit.DeviceID{})
			d.connect(t, user.ID, d.register(t, user.ID, userkit.NewDevice{}).ID)
			before := d.picture(t, user.ID)
			_, err := d.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, Node: "node"})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeSessionLimit)
			require.Equal(t, before, d.picture(t, user.ID))
			d.connect(t, other.ID, userkit.DeviceID{})
			d.end(t, first.ID)
			d.connect(t, user.ID, userkit.DeviceID{})
		}},
		{"refuses one too many of a device, and takes another device", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithSessionLimits(userkit.SessionLimits{PerDevice: 1, PerUser: 3}))
			user := d.signUp(t)
			phone, router := d.register(t, user.ID, userkit.NewDevice{}), d.register(t, user.ID, userkit.NewDevice{})
			d.connect(t, user.ID, phone.ID)
			_, err := d.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, DeviceID: phone.ID, Node: "node"})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeSessionLimit)
			d.connect(t, user.ID, router.ID)
			d.connect(t, user.ID, userkit.DeviceID{})
			require.Equal(t, 3, d.user(t, user.ID).OpenSessions)
		}},
		{"sessions without a device are no device's", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithSessionLimits(userkit.SessionLimits{PerDevice: 1}))
			user := d.signUp(t)
			for range 3 {
				d.connect(t, user.ID, userkit.DeviceID{})
			}
		}},
		{"end-oldest ends the user's oldest session", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithSessionLimits(userkit.SessionLimits{PerUser: 2, Policy: userkit.SessionEndOldest}))
			user, other := d.signUp(t), d.household(t)
			beside := d.picture(t, other.ID)
			oldest := d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Advance(time.Minute)
			older := d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Advance(time.Minute)
			d.report(t, oldest.ID, 10, 0)
			newest := d.connect(t, user.ID, userkit.DeviceID{})
			ended := d.session(t, oldest.ID)
			require.Equal(t, at(120), ended.EndedAt)
			require.Equal(t, userkit.EndedReplaced, ended.EndReason)
			require.True(t, d.session(t, older.ID).Active())
			require.True(t, d.session(t, newest.ID).Active())
			require.Equal(t, 2, d.user(t, user.ID).OpenSessions)
			result := d.report(t, oldest.ID, 20, 0)
			require.True(t, result.Ended)
			require.Equal(t, userkit.EndedReplaced, result.EndReason)
			require.Equal(t, beside, d.picture(t, other.ID))
		}},
		{"end-oldest ends the device's oldest session, not another device's", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithSessionLimits(userkit.SessionLimits{PerDevice: 1, Policy: userkit.SessionEndOldest}))
			user := d.signUp(t)
			phone, router := d.register(t, user.ID, userkit.NewDevice{}), d.register(t, user.ID, userkit.NewDevice{})
			first := d.connect(t, user.ID, router.ID)
			d.clock.Advance(time.Minute)
			second := d.connect(t, user.ID, phone.ID)
			d.clock.Advance(time.Minute)
			third := d.connect(t, user.ID, phone.ID)
			require.Equal(t, userkit.EndedReplaced, d.session(t, second.ID).EndReason)
			require.True(t, d.session(t, first.ID).Active())
			require.True(t, d.session(t, third.ID).Active())
		}},
		{"end-oldest brings a user that has more than the limit down to it", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			for range 5 {
				d.connect(t, user.ID, userkit.DeviceID{})
				d.clock.Advance(time.Second)
			}
			stricter := d.beside(t, env.store, userkit.WithSessionLimits(userkit.SessionLimits{PerUser: 2, Policy: userkit.SessionEndOldest}))
			newest := stricter.connect(t, user.ID, userkit.DeviceID{})
			require.Equal(t, 2, d.user(t, user.ID).OpenSessions)
			require.True(t, d.session(t, newest.ID).Active())
		}},
		{"a session that is refused for another reason ends no other", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithSessionLimits(userkit.SessionLimits{PerUser: 1, Policy: userkit.SessionEndOldest}))
			user := d.signUp(t)
			open := d.connect(t, user.ID, userkit.DeviceID{})
			_, err := d.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, DeviceID: userkit.NewID[userkit.Device](), Node: "node"})
			requireCode(t, err, userkit.ErrNotFound, userkit.CodeDeviceNotFound)
			_, err = d.StartSession(t.Context(), userkit.NewSession{ID: open.ID, UserID: user.ID, Node: "node"})
			requireExists(t, err, userkit.CodeIDTaken, "id")
			require.True(t, d.session(t, open.ID).Active())
		}},
	}
}

func sessionListCases() []testCase {
	// history makes two users with sessions on every second hour, some of them ended.
	history := func(t *testing.T, d *desk) (users []userkit.User, devices []userkit.Device, sessions []userkit.Session) {
		t.Helper()
		for range 2 {
			user := d.signUp(t)
			users = append(users, user)
			devices = append(devices, d.register(t, user.ID, userkit.NewDevice{Name: "device of " + user.Login}))
		}
		for i := range 12 {
			device := devices[i%2].ID
			if i%3 == 0 {
				device = userkit.DeviceID{}
			}
			session := d.connect(t, users[i%2].ID, device)
			d.clock.Advance(time.Hour)
			if i%4 != 0 {
				session = d.end(t, session.ID)
			}
			sessions = append(sessions, session)
			d.clock.Advance(time.Hour)
		}
		return users, devices, sessions
	}
	list := func(t *testing.T, d *desk, query userkit.SessionQuery) []userkit.Session {
		t.Helper()
		return everyItem(t, query.PageQuery, func(page userkit.PageQuery) (userkit.Page[userkit.Session], error) {
			query.PageQuery = page
			return d.Sessions(t.Context(), query)
		})
	}
	newestFirst := func(a, b userkit.Session) int {
		if order := b.StartedAt.Compare(a.StartedAt); order != 0 {
			return order
		}
		return b.ID.Compare(a.ID)
	}
	activeFirst := func(a, b userkit.Session) int {
		if a.Active() != b.Active() {
			if a.Active() {
				return -1
			}
			return 1
		}
		return newestFirst(a, b)
	}
	return []testCase{
		{"that end while somebody goes through the pages are listed once", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithStaleAfter(time.Minute))
			for _, ofUser := range []bool{false, true} {
				for _, limit := range []int{1, 2, 3} {
					user := d.signUp(t)
					query := userkit.SessionQuery{PageQuery: userkit.PageQuery{Limit: limit}}
					query.From = d.clock.Now()
					if ofUser {
						query.UserID = user.ID
					}
					var sessions []userkit.Session
					var listed, want []string
					for range 6 {
						sessions = append(sessions, d.connect(t, user.ID, userkit.DeviceID{}))
						d.clock.Advance(time.Second)
					}
					d.end(t, sessions[0].ID)
					for page := 0; page == 0 || query.Cursor != ""; page++ {
						got, err := d.Sessions(t.Context(), query)
						require.NoError(t, err)
						listed = append(listed, idsOf(got.Items, sessionRecordID)...)
						query.Cursor = got.Next
						d.clock.Advance(time.Second)
						switch page {
						case 0: // the one that was listed, and one that was not
							d.end(t, sessions[5].ID)
							d.end(t, sessions[2].ID)
						case 1: // the others, at a time before the first page
							d.clock.Advance(time.Hour)
							_, err := d.CloseStaleSessions(t.Context())
							require.NoError(t, err)
						}
					}
					want = idsOf(sessions, sessionRecordID)
					require.ElementsMatch(t, want, listed, "of a user: %v, %d on a page", ofUser, limit)
				}
			}
		}},
		{"of the last day are also those that began before it and run", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			user := d.signUp(t)
			long, gone := d.startOn(t, user.ID, "fra-1"), d.startOn(t, user.ID, "fra-1")
			d.clock.Advance(24 * time.Hour)
			gone = d.end(t, gone.ID)
			d.clock.Advance(9 * 24 * time.Hour)
			fresh := d.connect(t, user.ID, userkit.DeviceID{})
			query := userkit.SessionQuery{SessionFilter: userkit.SessionFilter{Overlaps: true, From: d.clock.Now().AddDate(0, 0, -1), To: d.clock.Now()}}
			require.Equal(t, []userkit.Session{fresh, long}, list(t, d, query))
			// Who had the address at a moment.
			query.SessionFilter = userkit.SessionFilter{Overlaps: true, InternalIP: netip.MustParseAddr("::ffff:10.0.0.7"), From: base.Add(time.Hour), To: base.Add(time.Hour)}
			require.ElementsMatch(t, []userkit.Session{gone, long}, list(t, d, query))
			query.From, query.To = gone.EndedAt.Add(time.Hour), gone.EndedAt.Add(time.Hour)
			require.Equal(t, []userkit.Session{long}, list(t, d, query))
			query.To = query.From.Add(userkit.MaxSessionSpan + time.Second)
			_, err := d.Sessions(t.Context(), query)
			requireCode(t, err, userkit.ErrInvalid, userkit.CodeSpanTooLong)
		}},
		{"that end while somebody goes through the pages by their end are listed once", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			for _, sort := range []string{"ended_at", "end_reason"} {
				for _, mixed := range []bool{false, true} {
					for _, descending := range []bool{false, true} {
						user := d.signUp(t)
						query := userkit.SessionQuery{Mixed: mixed, PageQuery: userkit.PageQuery{Sort: sort, Descending: descending, Limit: 2}}
						query.UserID = user.ID
						var sessions []userkit.Session
						for range 9 {
							sessions = append(sessions, d.connect(t, user.ID, userkit.DeviceID{}))
						}
						for _, session := range sessions[6:] {
							d.clock.Advance(time.Second)
							d.end(t, session.ID)
						}
						var listed []string
						for page := 0; page == 0 || query.Cursor != ""; page++ {
							got, err := d.Sessions(t.Context(), query)
							require.NoError(t, err)
							require.Less(t, page, 9)
							listed = append(listed, idsOf(got.Items, sessionRecordID)...)
							query.Cursor = got.Next
							d.clock.Advance(time.Second)
							if page < 3 { // one of each end of the list
								d.end(t, sessions[page].ID)
								d.end(t, sessions[5-page].ID)
							}
						}
						require.ElementsMatch(t, idsOf(sessions, sessionRecordID), listed, "by %s, mixed: %v, descending: %v", sort, mixed, descending)
					}
				}
			}
		}},
		{"active ones come first, then the newest; mixed, the newest alone", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			_, _, sessions := history(t, d)
			slices.SortFunc(sessions, activeFirst)
			require.Equal(t, sessions, list(t, d, userkit.SessionQuery{}))
			slices.SortFunc(sessions, newestFirst)
			require.Equal(t, sessions, list(t, d, userkit.SessionQuery{Mixed: true}))
		}},
		{"filters by user, by device, by state, and by all together", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			users, devices, sessions := history(t, d)
			for _, user := range []userkit.UserID{{}, users[0].ID, users[1].ID, userkit.NewID[userkit.User]()} {
				for _, device := range []userkit.DeviceID{{}, devices[0].ID, devices[1].ID, userkit.NewID[userkit.Device]()} {
					for _, state := range []userkit.SessionState{userkit.SessionsAny, userkit.SessionsActive, userkit.SessionsEnded} {
						for _, span := range [][2]time.Time{{}, {base.Add(4 * time.Hour), base.Add(16 * time.Hour)}} {
							filter := userkit.SessionFilter{UserID: user, DeviceID: device, State: state, From: span[0], To: span[1]}
							want := []userkit.Session{}
							for _, session := range sessions {
								if (user.IsZero() || session.UserID == user) && (device.IsZero() || session.DeviceID == device) &&
									(state == userkit.SessionsAny || session.Active() == (state == userkit.SessionsActive)) &&
									(span[0].IsZero() || !session.StartedAt.Before(span[0]) && session.StartedAt.Before(span[1])) {
									want = append(want, session)
								}
							}
							slices.SortFunc(want, activeFirst)
							require.Equal(t, want, list(t, d, userkit.SessionQuery{SessionFilter: filter}), "%+v", filter)
							slices.SortFunc(want, newestFirst)
							require.Equal(t, want, list(t, d, userkit.SessionQuery{SessionFilter: filter, Mixed: true}), "%+v", filter)
						}
					}
				}
			}
			_, err := d.Sessions(t.Context(), userkit.SessionQuery{SessionFilter: userkit.SessionFilter{State: "sleeping"}})
			requireCode(t, err, userkit.ErrInvalid, userkit.CodeUnknownValue)
		}},
		{"a span is at most 30 days, and an open end is at that distance", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			user := d.signUp(t)
			const day = 24 * time.Hour
			started := map[int]userkit.SessionID{}
			for _, days := range []int{0, 1, 29, 30, 31, 60, 61} {
				d.clock.Set(base.Add(time.Duration(days) * day))
				started[days] = d.connect(t, user.ID, userkit.DeviceID{}).ID
			}
			for _, span := range []struct {
				from, to time.Time
				want     []int
			}{
				{base, base.Add(30 * day), []int{0, 1, 29}},
				{base, time.Time{}, []int{0, 1, 29}},
				{base.Add(1 * day), time.Time{}, []int{1, 29, 30}},
				{time.Time{}, base.Add(60 * day), []int{30, 31}},
				{time.Time{}, base.Add(61 * day), []int{31, 60}},
				{time.Time{}, time.Time{}, []int{0, 1, 29, 30, 31, 60, 61}},
				{base, base.Add(day), []int{0}},
				{base, base.Add(day + time.Microsecond), []int{0, 1}},
				{base.Add(time.Microsecond), base.Add(day), nil},
				{base, base, nil},
			} {
				var want []userkit.SessionID
				for _, days := range span.want {
					want = append(want, started[days])
				}
				query := userkit.SessionQuery{SessionFilter: userkit.SessionFilter{From: span.from, To: span.to}, Mixed: true, PageQuery: userkit.PageQuery{Sort: "started_at"}}
				var got []userkit.SessionID
				for _, session := range list(t, d, query) {
					got = append(got, session.ID)
				}
				require.Equal(t, want, got, "from %s to %s", span.from, span.to)
			}
			for _, span := range [][2]time.Time{{base, base.Add(30*day + time.Microsecond)}, {base, base.Add(-time.Microsecond)}, {base, base.AddDate(400, 0, 0)}} {
				_, err := d.Sessions(t.Context(), userkit.SessionQuery{SessionFilter: userkit.SessionFilter{From: span[0], To: span[1]}})
				requireCode(t, err, userkit.ErrInvalid, userkit.CodeSpanTooLong)
			}
		}},
		{"pages over the boundary of active and ended are the same at every limit and in every order", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			_, _, sessions := history(t, d)
			for _, field := range userkit.SessionFields() {
				if !field.Sortable() {
					continue
				}
				for _, descending := range []bool{false, true} {
					for _, mixed := range []bool{false, true} {
						want := slices.Clone(sessions)
						slices.SortFunc(want, func(a, b userkit.Session) int {
							if !mixed && a.Active() != b.Active() {
								return activeFirst(a, b)
							}
							order := userkit.CompareListPositions(
								userkit.ListPosition{Key: field.Key(&a), ID: a.ID}, userkit.ListPosition{Key: field.Key(&b), ID: b.ID})
							if descending {
								return -order
							}
							return order
						})
						for limit := 1; limit <= len(sessions)+1; limit++ {
							query := userkit.SessionQuery{Mixed: mixed, PageQuery: userkit.PageQuery{Sort: field.Name, Descending: descending, Limit: limit}}
							require.Equal(t, want, list(t, d, query), "by %s, descending %t, mixed %t, pages of %d", field.Name, descending, mixed, limit)
						}
					}
				}
			}
		}},
		{"a list that is sorted otherwise does not take the cursor", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			history(t, d)
			page, err := d.Sessions(t.Context(), userkit.SessionQuery{PageQuery: userkit.PageQuery{Limit: 2}})
			require.NoError(t, err)
			for name, query := range map[string]userkit.SessionQuery{
				"mixed":     {Mixed: true},
				"of a user": {SessionFilter: userkit.SessionFilter{UserID: userkit.NewID[userkit.User]()}},
				"active":    {SessionFilter: userkit.SessionFilter{State: userkit.SessionsActive}},
				"of a span": {SessionFilter: userkit.SessionFilter{From: base}},
			} {
				t.Run(name, func(t *testing.T) {
					query.Cursor = page.Next
					_, err := d.Sessions(t.Context(), query)
					requireCode(t, err, userkit.ErrInvalid, userkit.CodeCursorMismatch)
				})
			}
		}},
		{"a span that is given in another zone is the same query", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			_, _, sessions := history(t, d)
			slices.SortFunc(sessions, activeFirst)
			from, to := base, base.Add(100*time.Hour)
			page, err := d.Sessions(t.Context(), userkit.SessionQuery{SessionFilter: userkit.SessionFilter{From: from, To: to}, PageQuery: userkit.PageQuery{Limit: 5}})
			require.NoError(t, err)
			require.Equal(t, sessions[:5], page.Items)
			page, err = d.Sessions(t.Context(), userkit.SessionQuery{
				SessionFilter: userkit.SessionFilter{From: from.In(germany), To: to.In(germany)}, PageQuery: userkit.PageQuery{Cursor: page.Next},
			})
			require.NoError(t, err)
			require.Equal(t, sessions[5:], page.Items)
		}},
		{"a project's active sessions can be listed", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			_, _, sessions := history(t, d)
			want := slices.DeleteFunc(slices.Clone(sessions), func(session userkit.Session) bool { return !session.Active() })
			slices.SortFunc(want, newestFirst)
			require.NotEmpty(t, want)
			require.Equal(t, want, list(t, d, userkit.SessionQuery{SessionFilter: userkit.SessionFilter{State: userkit.SessionsActive}}), fmt.Sprint(len(want)))
		}},
	}
}
