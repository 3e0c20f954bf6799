package userkit

import (
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/require"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	location, err := time.LoadLocation(name)
	require.NoError(t, err)
	return location
}

func TestDayStart(t *testing.T) {
	cases := []struct {
		name, zone, day, start string
		hours                  float64 // of the day
	}{
		{"a plain day in UTC", "UTC", "2026-05-01", "2026-05-01T00:00:00Z", 24},
		{"a day of 23 hours", "Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z", 23},
		{"a day of 25 hours", "Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00Z", 25},
		{"a day whose midnight is skipped", "America/Havana", "2026-03-08", "2026-03-08T05:00:00Z", 23},
		{"the day before a skipped midnight", "America/Havana", "2026-03-07", "2026-03-07T05:00:00Z", 24},
		{"a day that has midnight twice", "America/Havana", "2026-11-01", "2026-11-01T04:00:00Z", 25},
		{"a skipped midnight south of the equator", "America/Asuncion", "2023-10-01", "2023-10-01T04:00:00Z", 23},
		{"a day that ends at 23:00 and has that hour again", "America/Asuncion", "2023-03-25", "2023-03-25T03:00:00Z", 25},
		{"the day after it", "America/Asuncion", "2023-03-26", "2023-03-26T04:00:00Z", 24},
		{"an offset of a quarter of an hour", "Asia/Kathmandu", "2026-01-01", "2025-12-31T18:15:00Z", 24},
		{"a skipped midnight in Cairo", "Africa/Cairo", "2024-04-26", "2024-04-25T22:00:00Z", 23},
		{"the day after one that was left out of the calendar", "Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z", 24},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			location := zone(t, c.zone)
			day, err := ParseDay(c.day)
			require.NoError(t, err)
			start := day.Start(location)
			require.Equal(t, c.start, start.Format(time.RFC3339))
			require.Equal(t, day, DayOf(start, location), "the first instant is on the day")
			require.NotEqual(t, day, DayOf(start.Add(-time.Nanosecond), location), "the instant before is not")
			require.Equal(t, c.hours, day.AddDays(1).Start(location).Sub(start).Hours())
		})
	}
}

func TestEveryDayOfManyZonesBeginsWhereTheDayBeforeEnds(t *testing.T) {
	for _, name := range []string{"Europe/Berlin", "America/Havana", "America/Asuncion", "Africa/Cairo", "Asia/Beirut", "Asia/Tehran", "Australia/Lord_Howe", "America/Sao_Paulo"} {
		location := zone(t, name)
		for day := (Day{2015, 1, 1}); day.Year < 2026; day = day.AddDays(1) {
			start := day.Start(location)
			require.Equal(t, day, DayOf(start, location), "%s %s", name, day)
			require.Equal(t, day.AddDays(-1), DayOf(start.Add(-time.Nanosecond), location), "%s %s", name, day)
		}
	}
}

func TestDayText(t *testing.T) {
	day, err := ParseDay("2024-02-29")
	require.NoError(t, err)
	require.Equal(t, Day{2024, time.February, 29}, day)
	require.Equal(t, "2024-02-29", day.String())
	require.Equal(t, "2024-03-01", day.AddDays(1).String())
	require.Empty(t, Day{}.String())
	for _, bad := range []string{"", "2023-02-29", "2024-2-9", "29.02.2024", "2024-02-29T00:00:00Z"} {
		_, err := ParseDay(bad)
		require.Equal(t, CodeBadFormat, ErrorCode(err), bad)
	}
}
