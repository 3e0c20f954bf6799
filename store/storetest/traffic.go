package storetest

import (
	"testing"
	"time"
	_ "time/tzdata" // the cases name zones that a machine need not have

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// requireRefusedUntil demands that the user's traffic is used up until the next
// reset, which is the zero time when there is none.
func (d *desk) requireRefusedUntil(t *testing.T, user userkit.UserID, reset time.Time) {
	t.Helper()
	_, err := d.StartSession(t.Context(), userkit.NewSession{UserID: user, Node: "node"})
	requireCode(t, err, userkit.ErrRefused, userkit.CodeTrafficLimit)
	require.Equal(t, reset, detail(t, err).Until)
	access, err := d.Access(t.Context(), user)
	require.NoError(t, err)
	require.Equal(t, userkit.Access{Reasons: []userkit.AccessReason{userkit.CodeTrafficLimit}, Until: reset, NextReset: reset}, access)
}

// days lists the use of a user on every day.
func (d *desk) days(t *testing.T, user userkit.UserID) []userkit.DayUsage {
	t.Helper()
	return d.picture(t, user).Usage
}

// setLimit sets a user's traffic limit.
func (d *desk) setLimit(t *testing.T, user userkit.UserID, limit userkit.TrafficLimit, resetUsage bool) userkit.User {
	t.Helper()
	changed, err := d.SetTrafficLimit(t.Context(), user, limit, resetUsage)
	require.NoError(t, err)
	requireUser(t, changed, d.user(t, user))
	return changed
}

func date(year int, month time.Month, day int) userkit.Day {
	return userkit.Day{Year: year, Month: month, Day: day}
}

// moment reads a time in RFC 3339.
func moment(text string) time.Time {
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return parsed
}

func trafficGroups() []group {
	return []group{
		{"TrafficLimit", trafficLimitCases()},
		{"SetTrafficLimit", setTrafficLimitCases()},
		{"TrafficReset", trafficResetCases()},
		{"Traffic", trafficDayCases()},
	}
}

func trafficLimitCases() []testCase {
	midnight := moment("2026-03-15T00:00:00Z")
	return []testCase{
		{"reaching it ends all the user's sessions and refuses new ones until the next reset", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			user, other := d.signUp(t, withLimit(1000, userkit.ResetDaily, 0)), d.signUp(t, withLimit(1000, userkit.ResetDaily, 0))
			device := d.register(t, user.ID, userkit.NewDevice{})
			sessions := []userkit.Session{d.connect(t, user.ID, userkit.DeviceID{}), d.connect(t, user.ID, device.ID), d.connect(t, user.ID, device.ID)}
			stranger := d.connect(t, other.ID, userkit.DeviceID{})
			d.report(t, stranger.ID, 999, 0)
			beside := d.picture(t, other.ID)
			d.clock.Advance(time.Minute)
			require.False(t, d.report(t, sessions[0].ID, 600, 399).Ended)
			d.clock.Advance(time.Minute)
			require.Equal(t, userkit.UsageResult{
				SessionID: sessions[1].ID, Outcome: userkit.UsageCounted, Received: 0, Sent: 1,
				Ended: true, EndReason: userkit.EndedTrafficLimit, NextReset: midnight,
			}, d.report(t, sessions[1].ID, 0, 1))
			for _, session := range sessions {
				ended := d.session(t, session.ID)
				require.Equal(t, at(120), ended.EndedAt)
				require.Equal(t, userkit.EndedTrafficLimit, ended.EndReason)
			}
			require.Zero(t, d.user(t, user.ID).OpenSessions)
			require.Equal(t, beside, d.picture(t, other.ID))

			d.requireRefusedUntil(t, user.ID, midnight)
			d.clock.Set(midnight.Add(-time.Microsecond))
			d.requireRefusedUntil(t, user.ID, midnight)
			d.clock.Set(midnight)
			access, err := d.Access(t.Context(), user.ID)
			require.NoError(t, err)
			require.Equal(t, userkit.Access{Allowed: true, NextReset: midnight.Add(24 * time.Hour)}, access)
			session := d.connect(t, user.ID, device.ID)
			require.False(t, d.report(t, session.ID, 999, 0).Ended)
		}},
		{"what was used beyond it counts, and readings that come after it", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, withLimit(1000, userkit.ResetDaily, 0))
			one, two := d.connect(t, user.ID, userkit.DeviceID{}), d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Advance(time.Minute)
			results := d.reports(t,
				userkit.UsageReport{SessionID: one.ID, Received: 5000, At: d.clock.Now()},
				userkit.UsageReport{SessionID: two.ID, Received: 300, Sent: 20, At: d.clock.Now()},
				userkit.UsageReport{SessionID: one.ID, Received: 5000, At: d.clock.Now()},
			)
			require.Equal(t, userkit.UsageCounted, results[1].Outcome)
			require.Equal(t, userkit.UsageRepeated, results[2].Outcome)
			for _, result := range results {
				require.True(t, result.Ended)
				require.Equal(t, userkit.EndedTrafficLimit, result.EndReason)
				require.Equal(t, midnight, result.NextReset)
			}
			require.EqualValues(t, 5320, d.user(t, user.ID).Traffic.Used)
			d.requireBytes(t, two.ID, 300, 20)
			require.Zero(t, d.user(t, user.ID).OpenSessions)
		}},
		{"a last reading can reach it too", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, withLimit(1000, userkit.ResetDaily, 0))
			one, two := d.connect(t, user.ID, userkit.DeviceID{}), d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Advance(time.Minute)
			_, err := d.EndSession(t.Context(), one.ID, userkit.UsageReport{Received: 1000, At: d.clock.Now()})
			require.NoError(t, err)
			require.Equal(t, userkit.EndedTrafficLimit, d.session(t, two.ID).EndReason)
			require.False(t, d.session(t, one.ID).Active())
			require.Zero(t, d.user(t, user.ID).OpenSessions)
			d.requireRefusedUntil(t, user.ID, midnight)
		}},
		{"use adds up over the days of a period", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			d.clock.Set(moment("2026-03-16T12:00:00Z")) // a Monday
			user := d.signUp(t, withLimit(1000, userkit.ResetWeekly, 0))
			for day := range 3 {
				session := d.connect(t, user.ID, userkit.DeviceID{})
				require.Equal(t, day == 2, d.report(t, session.ID, 400, 0).Ended)
				d.clock.Advance(24 * time.Hour)
			}
			require.EqualValues(t, 1200, d.user(t, user.ID).Traffic.UsedIn(d.clock.Now(), time.UTC))
			d.requireRefusedUntil(t, user.ID, moment("2026-03-23T00:00:00Z"))
		}},
		{"an unlimited user's use is counted, and never refused", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Advance(time.Minute)
			require.False(t, d.report(t, session.ID, 1<<60, 0).Ended)
			require.EqualValues(t, 1<<60, d.user(t, user.ID).Traffic.Used)
			access, err := d.Access(t.Context(), user.ID)
			require.NoError(t, err)
			require.Equal(t, userkit.Access{Allowed: true}, access)
		}},
	}
}

func setTrafficLimitCases() []testCase {
	daily := func(bytes int64) userkit.TrafficLimit {
		return userkit.TrafficLimit{Bytes: bytes, Reset: userkit.ResetDaily}
	}
	// usedUp makes a user that has used its 1000 bytes of today.
	usedUp := func(t *testing.T, d *desk) userkit.User {
		t.Helper()
		user := d.signUp(t, withLimit(1000, userkit.ResetDaily, 0))
		session := d.connect(t, user.ID, userkit.DeviceID{})
		d.clock.Advance(time.Minute)
		require.True(t, d.report(t, session.ID, 900, 100).Ended)
		return user
	}
	return []testCase{
		{"sets the limit, fills in its defaults, and touches nothing else", func(t *testing.T, env env) {
			d := env.desk(t)
			user, other := d.household(t), d.household(t)
			beside := d.picture(t, other.ID)
			for given, want := range map[userkit.TrafficLimit]userkit.TrafficLimit{
				{Bytes: 1 << 40}: daily(1 << 40),
				{Bytes: 1 << 40, Reset: userkit.ResetMonthly}:                {Bytes: 1 << 40, Reset: userkit.ResetMonthly, AnchorDay: 1},
				{Bytes: 1 << 40, Reset: userkit.ResetMonthly, AnchorDay: 31}: {Bytes: 1 << 40, Reset: userkit.ResetMonthly, AnchorDay: 31},
				{Bytes: 1 << 40, Reset: userkit.ResetNever}:                  {Bytes: 1 << 40, Reset: userkit.ResetNever},
				{}: daily(0),
			} {
				before := d.user(t, user.ID)
				changed := d.setLimit(t, user.ID, given, false)
				require.Equal(t, want, changed.Traffic.Limit)
				before.Traffic, before.Version = changed.Traffic, changed.Version
				before.Revision, before.UpdatedAt = changed.Revision, changed.UpdatedAt
				requireUser(t, before, changed)
				require.Equal(t, 1, changed.OpenSessions)
			}
			require.Equal(t, beside, d.picture(t, other.ID))
		}},
		{"a higher limit frees the user at once", func(t *testing.T, env env) {
			d := env.desk(t)
			user := usedUp(t, d)
			d.setLimit(t, user.ID, daily(1001), false)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			require.True(t, d.report(t, session.ID, 1, 0).Ended, "what was used before still counts")
			d.setLimit(t, user.ID, daily(0), false)
			d.connect(t, user.ID, userkit.DeviceID{})
		}},
		{"a limit that is reached already ends the sessions", func(t *testing.T, env env) {
			d := env.desk(t)
			user, other := d.signUp(t), d.household(t)
			session, sibling := d.connect(t, user.ID, userkit.DeviceID{}), d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Advance(time.Minute)
			d.report(t, session.ID, 700, 0)
			beside := d.picture(t, other.ID)
			changed := d.setLimit(t, user.ID, daily(701), false)
			require.Equal(t, 2, changed.OpenSessions)
			changed = d.setLimit(t, user.ID, daily(700), false)
			require.Zero(t, changed.OpenSessions)
			for _, session := range []userkit.Session{session, sibling} {
				ended := d.session(t, session.ID)
				require.Equal(t, at(60), ended.EndedAt)
				require.Equal(t, userkit.EndedTrafficLimit, ended.EndReason)
			}
			d.requireRefusedUntil(t, user.ID, moment("2026-03-15T00:00:00Z"))
			require.Equal(t, beside, d.picture(t, other.ID))
		}},
		{"a reset lets use count from zero and keeps what was really used", func(t *testing.T, env env) {
			d := env.desk(t)
			user := usedUp(t, d)
			changed := d.setLimit(t, user.ID, daily(1000), true)
			require.Zero(t, changed.Traffic.UsedIn(d.clock.Now(), time.UTC))
			require.Equal(t, []userkit.DayUsage{{Day: date(2026, time.March, 14), Received: 900, Sent: 100, Forgiven: 1000}}, d.days(t, user.ID))

			session := d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Advance(time.Minute)
			require.False(t, d.report(t, session.ID, 999, 0).Ended)
			require.True(t, d.report(t, session.ID, 1000, 0).Ended)
			days := d.days(t, user.ID)
			require.Len(t, days, 1)
			require.Equal(t, [2]int64{1900, 100}, [2]int64{days[0].Received, days[0].Sent})
		}},
		{"a reset of nothing forgives nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			changed := d.setLimit(t, user.ID, daily(1000), true)
			require.Zero(t, changed.Traffic.Used)
			require.Empty(t, d.days(t, user.ID))
		}},
		{"another reset strategy counts what its period has used already", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			d.clock.Set(moment("2026-03-15T12:00:00Z")) // a Sunday
			user := d.signUp(t)
			for _, bytes := range []int64{1, 20, 300, 4000} { // Sunday to Wednesday
				session := d.connect(t, user.ID, userkit.DeviceID{})
				d.report(t, session.ID, bytes, 0)
				d.clock.Advance(24 * time.Hour)
			}
			d.clock.Set(moment("2026-03-18T18:00:00Z"))
			for _, strategy := range []struct {
				limit userkit.TrafficLimit
				used  int64
			}{
				{userkit.TrafficLimit{Bytes: 1 << 40, Reset: userkit.ResetWeekly}, 4320},
				{userkit.TrafficLimit{Bytes: 1 << 40, Reset: userkit.ResetMonthly}, 4321},
				{userkit.TrafficLimit{Bytes: 1 << 40, Reset: userkit.ResetMonthly, AnchorDay: 17}, 4300},
				{userkit.TrafficLimit{Bytes: 1 << 40, Reset: userkit.ResetNever}, 4321},
				{userkit.TrafficLimit{Bytes: 1 << 40, Reset: userkit.ResetDaily}, 4000},
			} {
				changed := d.setLimit(t, user.ID, strategy.limit, false)
				require.Equal(t, strategy.used, changed.Traffic.UsedIn(d.clock.Now(), time.UTC), "%+v", strategy.limit)
			}
			changed := d.setLimit(t, user.ID, daily(1<<40), true)
			require.Zero(t, changed.Traffic.UsedIn(d.clock.Now(), time.UTC))
			changed = d.setLimit(t, user.ID, userkit.TrafficLimit{Bytes: 1 << 40, Reset: userkit.ResetWeekly}, false)
			require.EqualValues(t, 320, changed.Traffic.UsedIn(d.clock.Now(), time.UTC), "what was forgiven today stays forgiven")

			session := d.connect(t, user.ID, userkit.DeviceID{})
			d.setLimit(t, user.ID, userkit.TrafficLimit{Bytes: 320, Reset: userkit.ResetWeekly}, false)
			require.Equal(t, userkit.EndedTrafficLimit, d.session(t, session.ID).EndReason)
		}},
		{"a limit that is set again without a reset keeps what was used since the reset", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			d.clock.Set(moment("2026-03-16T12:00:00Z")) // a Monday
			user := d.signUp(t, withLimit(1<<40, userkit.ResetWeekly, 0))
			use := func(bytes int64) {
				t.Helper()
				session := d.connect(t, user.ID, userkit.DeviceID{})
				d.report(t, session.ID, bytes, 0)
				d.end(t, session.ID)
			}
			use(100)
			d.clock.Advance(24 * time.Hour)
			use(50)
			weekly := userkit.TrafficLimit{Bytes: 1 << 40, Reset: userkit.ResetWeekly}
			d.setLimit(t, user.ID, weekly, true)
			use(30)
			changed := d.setLimit(t, user.ID, weekly, false)
			require.EqualValues(t, 30, changed.Traffic.UsedIn(d.clock.Now(), time.UTC))

			changed = d.setLimit(t, user.ID, daily(1<<40), true)
			require.Zero(t, changed.Traffic.UsedIn(d.clock.Now(), time.UTC))
			use(7)
			for bytes := int64(1 << 40); bytes < 1<<43; bytes *= 2 {
				changed = d.setLimit(t, user.ID, daily(bytes), false)
				require.EqualValues(t, 7, changed.Traffic.UsedIn(d.clock.Now(), time.UTC))
			}
		}},
		{"refuses wrong limits and writes nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.household(t)
			before := d.picture(t, user.ID)
			for name, wrong := range wrongLimits() {
				t.Run(name, func(t *testing.T) {
					_, err := d.SetTrafficLimit(t.Context(), user.ID, wrong.limit, true)
					requireField(t, err, userkit.ErrInvalid, wrong.code, wrong.field)
				})
			}
			require.Equal(t, before, d.picture(t, user.ID))
		}},
	}
}

func trafficResetCases() []testCase {
	// frees uses up the traffic at the start and again after every reset, and
	// demands that each reset comes when it must.
	frees := func(zone, start string, limit userkit.TrafficLimit, resets ...string) func(t *testing.T, env env) {
		return func(t *testing.T, env env) {
			d := env.desk(t, patient, userkit.WithTimeZone(location(zone)))
			d.clock.Set(moment(start))
			limit.Bytes = 10
			user := d.signUp(t, withLimit(limit.Bytes, limit.Reset, limit.AnchorDay))
			for _, text := range resets {
				reset := moment(text)
				session := d.connect(t, user.ID, userkit.DeviceID{})
				result := d.report(t, session.ID, 10, 0)
				require.True(t, result.Ended, "the use of an earlier period still counts, or this one does not")
				require.Equal(t, reset, result.NextReset)
				d.requireRefusedUntil(t, user.ID, reset)
				require.Equal(t, reset, d.user(t, user.ID).Traffic.NextReset(d.clock.Now(), location(zone)))
				d.clock.Set(reset.Add(-time.Microsecond))
				d.requireRefusedUntil(t, user.ID, reset)
				d.clock.Set(reset)
			}
			d.connect(t, user.ID, userkit.DeviceID{})
		}
	}
	daily := userkit.TrafficLimit{Reset: userkit.ResetDaily}
	weekly := userkit.TrafficLimit{Reset: userkit.ResetWeekly}
	monthly := func(day int) userkit.TrafficLimit {
		return userkit.TrafficLimit{Reset: userkit.ResetMonthly, AnchorDay: day}
	}
	return []testCase{
		{"daily: at midnight", frees("UTC", "2026-02-28T23:59:59Z", daily, "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z")},
		{"daily: a day of 23 hours", frees("Europe/Berlin", "2026-03-28T12:00:00Z", daily, "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z")},
		{"daily: a day of 25 hours", frees("Europe/Berlin", "2026-10-24T12:00:00Z", daily, "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z")},
		{"daily: a day without midnight, in Havana", frees("America/Havana", "2026-03-07T12:00:00Z", daily, "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z")},
		{"daily: a day with two midnights, in Havana", frees("America/Havana", "2026-10-31T12:00:00Z", daily, "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z")},
		{"daily: a day without midnight, in Cairo", frees("Africa/Cairo", "2026-04-23T12:00:00Z", daily, "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z")},
		{"daily: a day that goes back before midnight, in Cairo", frees("Africa/Cairo", "2026-10-28T22:00:00Z", daily, "2026-10-29T22:00:00Z", "2026-10-30T22:00:00Z")},
		{"daily: a day without midnight, in Asunción", frees("America/Asuncion", "2023-09-30T12:00:00Z", daily, "2023-10-01T04:00:00Z", "2023-10-02T03:00:00Z")},
		{"daily: a day that goes back before midnight, in Asunción", frees("America/Asuncion", "2024-03-23T12:00:00Z", daily, "2024-03-24T04:00:00Z", "2024-03-25T04:00:00Z")},
		{"daily: a day that was left out, in Apia", frees("Pacific/Apia", "2011-12-29T12:00:00Z", daily, "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z")},
		{"weekly: on Monday", frees("UTC", "2026-03-14T12:00:00Z", weekly, "2026-03-16T00:00:00Z", "2026-03-23T00:00:00Z", "2026-03-30T00:00:00Z")},
		{"weekly: from the last instant of Sunday", frees("UTC", "2026-03-15T23:59:59Z", weekly, "2026-03-16T00:00:00Z")},
		{"weekly: over a change of clocks", frees("Europe/Berlin", "2026-03-25T12:00:00Z", weekly, "2026-03-29T22:00:00Z", "2026-04-05T22:00:00Z")},
		{"weekly: over the turn of the year", frees("UTC", "2026-12-31T12:00:00Z", weekly, "2027-01-04T00:00:00Z")},
		{"monthly: on the first by default", frees("UTC", "2026-11-14T12:00:00Z", monthly(0), "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z")},
		{"monthly: on the anchor day", frees("UTC", "2026-03-14T12:00:00Z", monthly(15), "2026-03-15T00:00:00Z", "2026-04-15T00:00:00Z")},
		{"monthly: on the last day of months without a 31st", frees("UTC", "2026-01-31T12:00:00Z", monthly(31), "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z", "2026-04-30T00:00:00Z", "2026-05-31T00:00:00Z")},
		{"monthly: from the day before a clamped anchor", frees("UTC", "2026-02-27T12:00:00Z", monthly(31), "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z")},
		{"monthly: on the leap day", frees("UTC", "2028-01-31T12:00:00Z", monthly(31), "2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z")},
		{"monthly: on the 29th, in a year without a leap day and in one with it", frees("UTC", "2027-02-01T12:00:00Z", monthly(29), "2027-02-28T00:00:00Z", "2027-03-29T00:00:00Z")},
		{"monthly: on the 30th of a leap year", frees("UTC", "2028-02-01T12:00:00Z", monthly(30), "2028-02-29T00:00:00Z", "2028-03-30T00:00:00Z")},
		{"monthly: over a change of clocks", frees("Europe/Berlin", "2026-03-14T12:00:00Z", monthly(29), "2026-03-28T23:00:00Z", "2026-04-28T22:00:00Z")},
		{"monthly: over the turn of the year", frees("UTC", "2026-12-31T12:00:00Z", monthly(31), "2027-01-31T00:00:00Z", "2027-02-28T00:00:00Z")},
		{"never: a limit that is used up stays so, and names no reset", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, withLimit(10, userkit.ResetNever, 0))
			session := d.connect(t, user.ID, userkit.DeviceID{})
			result := d.report(t, session.ID, 10, 0)
			require.True(t, result.Ended)
			require.Zero(t, result.NextReset)
			for range 4 {
				d.requireRefusedUntil(t, user.ID, time.Time{})
				d.clock.Advance(400 * 24 * time.Hour)
			}
			d.setLimit(t, user.ID, userkit.TrafficLimit{Bytes: 10, Reset: userkit.ResetNever}, true)
			d.connect(t, user.ID, userkit.DeviceID{})
		}},
	}
}

func trafficDayCases() []testCase {
	type use struct {
		day            userkit.Day
		received, sent int64
	}
	// splits starts a session, reports readings (bytes received; ten times as
	// much sent), and demands the use of each day.
	splits := func(zone, start string, readings map[string]int64, order []string, want ...use) func(t *testing.T, env env) {
		return func(t *testing.T, env env) {
			d := env.desk(t, patient, userkit.WithTimeZone(location(zone)))
			d.clock.Set(moment(start))
			user, other := d.signUp(t), d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			for _, text := range order {
				d.clock.Set(moment(text))
				d.report(t, session.ID, readings[text], 10*readings[text])
			}
			days := []userkit.DayUsage{}
			for _, use := range want {
				days = append(days, userkit.DayUsage{Day: use.day, Received: use.received, Sent: use.sent})
			}
			require.Equal(t, days, d.days(t, user.ID))
			listed, err := d.Traffic(t.Context(), user.ID, want[0].day.AddDays(-30), want[0].day.AddDays(30))
			require.NoError(t, err)
			requireUsage(t, days, listed)
			require.Empty(t, d.days(t, other.ID))
		}
	}
	return []testCase{
		{"bytes are split over midnight in proportion to the time", splits("UTC", "2026-03-14T22:00:00Z",
			map[string]int64{"2026-03-15T02:00:00Z": 400}, []string{"2026-03-15T02:00:00Z"},
			use{date(2026, time.March, 14), 200, 2000}, use{date(2026, time.March, 15), 200, 2000})},
		{"bytes are split over several days", splits("UTC", "2026-03-14T12:00:00Z",
			map[string]int64{"2026-03-17T12:00:00Z": 7200}, []string{"2026-03-17T12:00:00Z"},
			use{date(2026, time.March, 14), 1200, 12_000}, use{date(2026, time.March, 15), 2400, 24_000},
			use{date(2026, time.March, 16), 2400, 24_000}, use{date(2026, time.March, 17), 1200, 12_000})},
		{"bytes count from the last reading, not from the start", splits("UTC", "2026-03-14T10:00:00Z",
			map[string]int64{"2026-03-14T23:00:00Z": 100, "2026-03-15T01:00:00Z": 300}, []string{"2026-03-14T23:00:00Z", "2026-03-15T01:00:00Z"},
			use{date(2026, time.March, 14), 200, 2000}, use{date(2026, time.March, 15), 100, 1000})},
		{"a reading at midnight belongs to the day that ends", splits("UTC", "2026-03-14T23:00:00Z",
			map[string]int64{"2026-03-15T00:00:00Z": 100}, []string{"2026-03-15T00:00:00Z"},
			use{date(2026, time.March, 14), 100, 1000})},
		{"a day of 25 hours has 25 hours' share", splits("Europe/Berlin", "2026-10-24T22:00:00Z",
			map[string]int64{"2026-10-26T04:00:00Z": 300}, []string{"2026-10-26T04:00:00Z"},
			use{date(2026, time.October, 25), 250, 2500}, use{date(2026, time.October, 26), 50, 500})},
		{"a day of 23 hours has 23 hours' share", splits("Europe/Berlin", "2026-03-28T23:00:00Z",
			map[string]int64{"2026-03-30T05:00:00Z": 300}, []string{"2026-03-30T05:00:00Z"},
			use{date(2026, time.March, 29), 230, 2300}, use{date(2026, time.March, 30), 70, 700})},
		{"a day without midnight has its hours' share", splits("America/Havana", "2026-03-07T05:00:00Z",
			map[string]int64{"2026-03-09T04:00:00Z": 470}, []string{"2026-03-09T04:00:00Z"},
			use{date(2026, time.March, 7), 240, 2400}, use{date(2026, time.March, 8), 230, 2300})},
		{"a day with two midnights has its hours' share", splits("America/Havana", "2026-11-01T04:00:00Z",
			map[string]int64{"2026-11-02T10:00:00Z": 300}, []string{"2026-11-02T10:00:00Z"},
			use{date(2026, time.November, 1), 250, 2500}, use{date(2026, time.November, 2), 50, 500})},
		{"the second of two midnights is on the same day", splits("America/Havana", "2026-11-01T04:30:00Z",
			map[string]int64{"2026-11-01T05:30:00Z": 100}, []string{"2026-11-01T05:30:00Z"},
			use{date(2026, time.November, 1), 100, 1000})},
		{"a day that goes back before midnight has its hours' share", splits("Africa/Cairo", "2026-10-28T21:00:00Z",
			map[string]int64{"2026-10-30T03:00:00Z": 300}, []string{"2026-10-30T03:00:00Z"},
			use{date(2026, time.October, 29), 250, 2500}, use{date(2026, time.October, 30), 50, 500})},
		{"a day that was left out has no share", splits("Pacific/Apia", "2011-12-30T04:00:00Z",
			map[string]int64{"2011-12-30T16:00:00Z": 400}, []string{"2011-12-30T16:00:00Z"},
			use{date(2011, time.December, 29), 200, 2000}, use{date(2011, time.December, 31), 200, 2000})},
		{"no byte is lost or made by rounding", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			user := d.signUp(t)
			session := d.connect(t, user.ID, userkit.DeviceID{})
			var received, sent int64
			for i := range 20 {
				d.clock.Advance(time.Duration(7+i*13) * time.Hour)
				received, sent = received+int64(i%5), sent+int64(1+i*i*i)
				d.report(t, session.ID, received, sent)
			}
			var sum [2]int64
			for _, day := range d.days(t, user.ID) {
				require.GreaterOrEqual(t, day.Received, int64(0))
				require.GreaterOrEqual(t, day.Sent, int64(0))
				require.Positive(t, day.Received+day.Sent, "a day without use is left out")
				sum[0], sum[1] = sum[0]+day.Received, sum[1]+day.Sent
			}
			require.Equal(t, [2]int64{received, sent}, sum)
		}},
		{"only the share of the current period counts to the limit", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			d.clock.Set(moment("2026-03-14T22:00:00Z"))
			user := d.signUp(t, withLimit(300, userkit.ResetDaily, 0))
			session := d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Set(moment("2026-03-15T02:00:00Z"))
			require.False(t, d.report(t, session.ID, 400, 0).Ended)
			require.EqualValues(t, 200, d.user(t, user.ID).Traffic.UsedIn(d.clock.Now(), time.UTC))
			require.True(t, d.report(t, session.ID, 500, 0).Ended)
		}},
		{"a reading of yesterday that comes today counts to yesterday", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			d.clock.Set(moment("2026-03-14T23:00:00Z"))
			user := d.signUp(t, withLimit(300, userkit.ResetDaily, 0))
			session := d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Set(moment("2026-03-15T00:10:00Z"))
			require.False(t, d.reportAt(t, session.ID, 1000, 0, moment("2026-03-14T23:50:00Z")).Ended)
			require.Equal(t, []userkit.DayUsage{{Day: date(2026, time.March, 14), Received: 1000}}, d.days(t, user.ID))
			require.Zero(t, d.user(t, user.ID).Traffic.UsedIn(d.clock.Now(), time.UTC))
			require.False(t, d.report(t, session.ID, 1100, 0).Ended)
		}},
		{"a reading of yesterday does not take away what was used today", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			d.clock.Set(moment("2026-03-14T23:00:00Z"))
			user := d.signUp(t, withLimit(300, userkit.ResetDaily, 0))
			old, fresh := d.connect(t, user.ID, userkit.DeviceID{}), d.connect(t, user.ID, userkit.DeviceID{})
			d.clock.Set(moment("2026-03-15T00:00:00Z"))
			d.report(t, fresh.ID, 0, 0)
			d.clock.Set(moment("2026-03-15T00:10:00Z"))
			d.report(t, fresh.ID, 250, 0)
			d.reportAt(t, old.ID, 1000, 0, moment("2026-03-14T23:50:00Z"))
			require.EqualValues(t, 250, d.user(t, user.ID).Traffic.UsedIn(d.clock.Now(), time.UTC))
			d.clock.Advance(time.Minute)
			require.True(t, d.report(t, fresh.ID, 300, 0).Ended)
		}},
		{"a manager whose clock is behind takes nothing of a new day away", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			d.clock.Set(moment("2026-03-14T23:00:00Z"))
			user := d.signUp(t, withLimit(300, userkit.ResetDaily, 0))
			session := d.connect(t, user.ID, userkit.DeviceID{})
			behind := openDesk(t, env.second(t), &manualClock{now: moment("2026-03-14T23:59:59Z")}, d.names, patient)
			d.clock.Set(moment("2026-03-15T00:00:00Z"))
			d.report(t, session.ID, 0, 0)
			d.clock.Set(moment("2026-03-15T00:00:01Z"))
			d.report(t, session.ID, 200, 0)
			late := behind.connect(t, user.ID, userkit.DeviceID{})
			behind.report(t, late.ID, 40, 0)
			require.EqualValues(t, 200, d.user(t, user.ID).Traffic.UsedIn(d.clock.Now(), time.UTC))
			require.True(t, d.report(t, session.ID, 300, 0).Ended)
		}},
		{"a list has both its days, in order, and leaves out days without use", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			user := d.signUp(t)
			want := map[int]userkit.DayUsage{}
			for _, days := range []int{0, 1, 3, 6} {
				d.clock.Set(base.Add(time.Duration(days) * 24 * time.Hour))
				session := d.connect(t, user.ID, userkit.DeviceID{})
				d.report(t, session.ID, int64(100+days), int64(10+days))
				d.end(t, session.ID)
				want[days] = userkit.DayUsage{Day: date(2026, time.March, 14+days), Received: int64(100 + days), Sent: int64(10 + days)}
			}
			for _, span := range []struct {
				from, to int
				days     []int
			}{{14, 20, []int{0, 1, 3, 6}}, {14, 14, []int{0}}, {15, 17, []int{1, 3}}, {16, 16, nil}, {17, 19, []int{3}}, {1, 31, []int{0, 1, 3, 6}}} {
				var days []userkit.DayUsage
				for _, day := range span.days {
					days = append(days, want[day])
				}
				usage, err := d.Traffic(t.Context(), user.ID, date(2026, time.March, span.from), date(2026, time.March, span.to))
				require.NoError(t, err)
				requireUsage(t, days, usage)
			}
		}},
		{"a list of all users adds up what each used", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			before, err := d.Traffic(t.Context(), userkit.UserID{}, date(2026, time.March, 1), date(2026, time.March, 31))
			require.NoError(t, err)
			require.Empty(t, before)
			ada, grace, gone := d.signUp(t), d.signUp(t), d.signUp(t)
			for i, user := range []userkit.User{ada, grace, gone} {
				for _, days := range []int{0, i, 3} { // one of two sessions on a day
					d.clock.Set(base.Add(time.Duration(days) * 24 * time.Hour))
					session := d.connect(t, user.ID, userkit.DeviceID{})
					d.report(t, session.ID, int64(100*(i+1)), int64(i+1))
					d.end(t, session.ID)
				}
			}
			_, err = d.SetTrafficLimit(t.Context(), grace.ID, userkit.TrafficLimit{Reset: userkit.ResetDaily}, true)
			require.NoError(t, err)
			_, err = d.DeleteUser(t.Context(), gone.ID, gone.ID.String())
			require.NoError(t, err)
			want := map[userkit.Day]userkit.DayUsage{}
			for _, user := range []userkit.User{ada, grace} {
				days, err := d.Traffic(t.Context(), user.ID, date(2026, time.March, 1), date(2026, time.March, 31))
				require.NoError(t, err)
				require.NotEmpty(t, days)
				for _, day := range days {
					sum := want[day.Day]
					want[day.Day] = userkit.DayUsage{Day: day.Day, Received: sum.Received + day.Received, Sent: sum.Sent + day.Sent, Forgiven: sum.Forgiven + day.Forgiven}
				}
			}
			for _, span := range []struct {
				from, to int
				days     []int
			}{{14, 20, []int{14, 15, 17}}, {15, 15, []int{15}}, {16, 16, nil}, {15, 17, []int{15, 17}}} {
				var days []userkit.DayUsage
				for _, day := range span.days {
					days = append(days, want[date(2026, time.March, day)])
				}
				usage, err := d.Traffic(t.Context(), userkit.UserID{}, date(2026, time.March, span.from), date(2026, time.March, span.to))
				require.NoError(t, err)
				requireUsage(t, days, usage)
			}
			from := date(2026, time.March, 14)
			_, err = d.Traffic(t.Context(), userkit.UserID{}, from, from.AddDays(userkit.MaxProjectTrafficDays))
			requireCode(t, err, userkit.ErrInvalid, userkit.CodeSpanTooLong)
			_, err = d.Traffic(t.Context(), userkit.UserID{}, from, from.AddDays(userkit.MaxProjectTrafficDays-1))
			require.NoError(t, err)
			begin := date(1, time.January, 1)
			require.Equal(t, begin, userkit.UsageBefore)
			kept, err := d.Traffic(t.Context(), userkit.UserID{}, begin, begin.AddDays(10))
			require.NoError(t, err)
			require.Empty(t, kept)
		}},
		{"a list of too many days, or that ends before it begins, is refused", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			from := date(2026, time.March, 14)
			for _, to := range []userkit.Day{from.AddDays(userkit.MaxTrafficDays), from.AddDays(-1), date(9999, time.December, 31)} {
				_, err := d.Traffic(t.Context(), user.ID, from, to)
				requireCode(t, err, userkit.ErrInvalid, userkit.CodeSpanTooLong)
			}
			usage, err := d.Traffic(t.Context(), user.ID, from, from.AddDays(userkit.MaxTrafficDays-1))
			require.NoError(t, err)
			require.Empty(t, usage)
		}},
	}
}
