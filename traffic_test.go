package userkit

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTrafficPeriods(t *testing.T) {
	day := func(text string) Day {
		if text == "" {
			return Day{}
		}
		parsed, err := ParseDay(text)
		require.NoError(t, err)
		return parsed
	}
	cases := []struct {
		name            string
		limit           TrafficLimit
		on, start, next string
	}{
		{"daily", TrafficLimit{Reset: ResetDaily}, "2026-12-31", "2026-12-31", "2027-01-01"},
		{"a week on its Monday", TrafficLimit{Reset: ResetWeekly}, "2026-11-16", "2026-11-16", "2026-11-23"},
		{"a week on its Sunday", TrafficLimit{Reset: ResetWeekly}, "2026-11-22", "2026-11-16", "2026-11-23"},
		{"a week over new year", TrafficLimit{Reset: ResetWeekly}, "2027-01-01", "2026-12-28", "2027-01-04"},
		{"a calendar month", TrafficLimit{Reset: ResetMonthly, AnchorDay: 1}, "2026-02-28", "2026-02-01", "2026-03-01"},
		{"the anchor day itself", TrafficLimit{Reset: ResetMonthly, AnchorDay: 15}, "2026-01-15", "2026-01-15", "2026-02-15"},
		{"before the anchor day, over new year", TrafficLimit{Reset: ResetMonthly, AnchorDay: 15}, "2026-01-14", "2025-12-15", "2026-01-15"},
		{"the 31st in a month of 30 days", TrafficLimit{Reset: ResetMonthly, AnchorDay: 31}, "2026-04-30", "2026-04-30", "2026-05-31"},
		{"before the 31st in a month of 30 days", TrafficLimit{Reset: ResetMonthly, AnchorDay: 31}, "2026-04-29", "2026-03-31", "2026-04-30"},
		{"the 31st in February", TrafficLimit{Reset: ResetMonthly, AnchorDay: 31}, "2026-02-28", "2026-02-28", "2026-03-31"},
		{"the 31st before a leap day", TrafficLimit{Reset: ResetMonthly, AnchorDay: 31}, "2028-02-28", "2028-01-31", "2028-02-29"},
		{"the 30th on a leap day", TrafficLimit{Reset: ResetMonthly, AnchorDay: 30}, "2028-02-29", "2028-02-29", "2028-03-30"},
		{"never", TrafficLimit{Reset: ResetNever}, "2026-04-30", "", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, day(c.start), c.limit.PeriodStart(day(c.on)))
			require.Equal(t, day(c.next), c.limit.nextPeriod(day(c.on)))
		})
	}
}

func TestPeriodsFollowOneAnotherWithoutGap(t *testing.T) {
	limits := []TrafficLimit{{Reset: ResetDaily}, {Reset: ResetWeekly}}
	for anchor := 1; anchor <= 31; anchor++ {
		limits = append(limits, TrafficLimit{Reset: ResetMonthly, AnchorDay: anchor})
	}
	for _, limit := range limits {
		for day := (Day{2027, 1, 1}); day.Year < 2029; day = day.AddDays(1) {
			start, next := limit.PeriodStart(day), limit.nextPeriod(day)
			require.LessOrEqual(t, start.Compare(day), 0, "%v %s", limit, day)
			require.Positive(t, next.Compare(day), "%v %s", limit, day)
			require.Equal(t, start, limit.PeriodStart(next.AddDays(-1)), "%v %s", limit, day)
			require.Equal(t, next, limit.PeriodStart(next), "%v %s", limit, day)
		}
	}
}

func TestUseOfAnEarlierPeriodDoesNotCount(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	now := time.Date(2026, 10, 24, 23, 59, 59, 0, berlin)
	traffic := Traffic{Limit: TrafficLimit{Bytes: 100, Reset: ResetDaily}, Used: 100, Period: Day{2026, 10, 24}}
	require.True(t, traffic.usedUp(now, berlin))
	require.Equal(t, time.Date(2026, 10, 25, 0, 0, 0, 0, berlin).UTC(), traffic.NextReset(now, berlin))
	now = now.Add(time.Second)
	require.False(t, traffic.usedUp(now, berlin))
	require.Zero(t, traffic.UsedIn(now, berlin))
	require.Equal(t, 25*time.Hour, traffic.NextReset(now, berlin).Sub(now), "the day has 25 hours")
}

func TestBytesAreSplitAmongDays(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	at := func(day, hour, minute int) time.Time { return time.Date(2026, 10, day, hour, minute, 0, 0, berlin) }
	u := usage{zone: berlin, now: at(27, 12, 0)}
	cases := []struct {
		name     string
		from, to time.Time
		received int64
		want     []DayUsage
	}{
		{"one day", at(24, 1, 0), at(24, 2, 0), 100, []DayUsage{{Day: Day{2026, 10, 24}, Received: 100}}},
		{"a moment", at(24, 1, 0), at(24, 1, 0), 100, []DayUsage{{Day: Day{2026, 10, 24}, Received: 100}}},
		{"back in time", at(25, 1, 0), at(24, 1, 0), 100, []DayUsage{{Day: Day{2026, 10, 24}, Received: 100}}},
		{"half an hour each", at(23, 23, 30), at(24, 0, 30), 101, []DayUsage{{Day: Day{2026, 10, 23}, Received: 50}, {Day: Day{2026, 10, 24}, Received: 51}}},
		{"up to midnight", at(23, 23, 0), at(24, 0, 0), 60, []DayUsage{{Day: Day{2026, 10, 23}, Received: 60}}},
		{"over a day of 25 hours", at(24, 23, 0), at(26, 0, 0), 26, []DayUsage{{Day: Day{2026, 10, 24}, Received: 1}, {Day: Day{2026, 10, 25}, Received: 25}}},
		{"the largest number", at(23, 12, 0), at(24, 12, 0), math.MaxInt64, []DayUsage{{Day: Day{2026, 10, 23}, Received: math.MaxInt64 / 2}, {Day: Day{2026, 10, 24}, Received: math.MaxInt64/2 + 1}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, u.split(c.received, 0, c.from, c.to))
		})
	}
}

func TestLimitIsChecked(t *testing.T) {
	good, err := TrafficLimit{Bytes: 5}.normalise()
	require.NoError(t, err)
	require.Equal(t, TrafficLimit{Bytes: 5, Reset: ResetDaily}, good)
	good, err = TrafficLimit{Reset: ResetMonthly}.normalise()
	require.NoError(t, err)
	require.Equal(t, 1, good.AnchorDay)
	bad := map[Code]TrafficLimit{CodeUnknownValue: {Reset: "yearly"}}
	for code, limit := range bad {
		_, err := limit.normalise()
		require.Equal(t, code, ErrorCode(err))
	}
	for _, limit := range []TrafficLimit{{Bytes: -1}, {Reset: ResetMonthly, AnchorDay: 32}, {Reset: ResetMonthly, AnchorDay: -1}, {AnchorDay: 3}} {
		_, err := limit.normalise()
		require.Equal(t, CodeOutOfRange, ErrorCode(err))
	}
}

func TestClockThatIsBehindDoesNotBeginAnEarlierPeriod(t *testing.T) {
	midnight := time.Date(2026, 5, 5, 0, 0, 0, 0, time.UTC)
	traffic := Traffic{Limit: TrafficLimit{Bytes: 100, Reset: ResetDaily}, Used: 60, Period: Day{2026, 5, 5}}
	behind := midnight.Add(-time.Second)
	require.EqualValues(t, 60, traffic.UsedIn(behind, time.UTC))
	traffic.roll(behind, time.UTC)
	require.EqualValues(t, 60, traffic.Used)
	require.Equal(t, Day{2026, 5, 5}, traffic.Period)
}

func TestForgivenBytesStayForgivenUnderEveryStrategy(t *testing.T) {
	// Use on Monday and Tuesday, forgiven on Tuesday; then use on Wednesday.
	state := &State{Exists: true, User: User{ID: NewID[User](), Account: Account{Version: 1}}, base: 1}
	monday := Day{2026, 5, 4}
	state.Usage = []DayUsage{{Day: monday, Received: 100}, {Day: monday.AddDays(1), Received: 50}}
	set := func(on Day, limit TrafficLimit, reset bool) int64 {
		now := on.Start(time.UTC).Add(time.Hour)
		all := state.Usage
		_, c, err := usage{zone: time.UTC, now: now}.setLimit(state, testOrigin(now), limit, reset)
		require.NoError(t, err)
		state.Usage = all
		state.apply(c)
		return c.Account.Traffic.Used
	}
	weekly, daily, never := TrafficLimit{Reset: ResetWeekly}, TrafficLimit{Reset: ResetDaily}, TrafficLimit{Reset: ResetNever}
	require.EqualValues(t, 150, set(monday.AddDays(1), weekly, false))
	require.EqualValues(t, 0, set(monday.AddDays(1), weekly, true))
	require.EqualValues(t, 0, set(monday.AddDays(1), daily, false))
	require.EqualValues(t, 0, set(monday.AddDays(1), never, false))
	state.Usage = addUsage(state.Usage, DayUsage{Day: monday.AddDays(1), Sent: 7})
	state.Usage = addUsage(state.Usage, DayUsage{Day: monday.AddDays(2), Sent: 30})
	require.EqualValues(t, 30, set(monday.AddDays(2), daily, false))
	require.EqualValues(t, 37, set(monday.AddDays(2), weekly, false))
	require.EqualValues(t, 37, set(monday.AddDays(2), never, false), "the same again, whatever was set before")
	require.EqualValues(t, 100, state.Usage[0].Received, "what was really used stays")
}
