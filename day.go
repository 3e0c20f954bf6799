package userkit

import (
	"cmp"
	"fmt"
	"time"
)

// Day is a date in the project's time zone. The zero Day means "none".
type Day struct {
	Year  int
	Month time.Month
	Day   int
}

// DayOf returns the day on which t falls in the zone.
func DayOf(t time.Time, zone *time.Location) Day {
	year, month, day := t.In(zone).Date()
	return Day{Year: year, Month: month, Day: day}
}

// ParseDay reads a day in the form 2006-01-02. It returns ErrInvalid with CodeBadFormat for any
// other text.
func ParseDay(text string) (Day, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return Day{}, NewError(CodeBadFormat, "day", "%q is not a day of the form 2006-01-02", clip(text))
	}
	return DayOf(t, time.UTC), nil
}

// IsZero reports whether d is the zero Day.
func (d Day) IsZero() bool { return d == Day{} }

// String returns the form 2006-01-02, and "" for the zero Day.
func (d Day) String() string {
	if d.IsZero() {
		return ""
	}
	return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day)
}

// MarshalText returns the form of String.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the form of String.
func (d *Day) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Day{}
		return nil
	}
	parsed, err := ParseDay(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// Compare orders days by the calendar.
func (d Day) Compare(other Day) int {
	return cmp.Or(cmp.Compare(d.Year, other.Year), cmp.Compare(d.Month, other.Month), cmp.Compare(d.Day, other.Day))
}

// AddDays returns the day that many days later, or earlier for a negative number.
func (d Day) AddDays(days int) Day {
	return DayOf(time.Date(d.Year, d.Month, d.Day+days, 12, 0, 0, 0, time.UTC), time.UTC)
}

// Start returns the first instant of the day in the zone, in UTC. A day need not
// begin at midnight: where the clocks jump over midnight it begins after the
// jump, and where midnight comes twice on one day it begins at the first.
func (d Day) Start(zone *time.Location) time.Time {
	t := time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, zone)
	if DayOf(t, zone).Compare(d) < 0 {
		_, transition := t.ZoneBounds()
		return transition.UTC()
	}
	for {
		start, _ := t.ZoneBounds()
		if start.IsZero() || DayOf(start.Add(-1), zone).Compare(d) < 0 {
			break
		}
		// The clocks went back on this very day, and t is after that.
		_, before := start.Add(-1).Zone()
		earlier := time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.FixedZone("", before))
		if !earlier.Before(t) {
			break
		}
		t = earlier.In(zone)
	}
	if start, _ := t.ZoneBounds(); !start.IsZero() && start.Before(t) && DayOf(start, zone) == d {
		return start.UTC() // the clocks jumped over midnight and time.Date landed after the jump
	}
	return t.UTC()
}

// clampedDay returns the given day of the month, or the last day if the month is shorter.
func clampedDay(year int, month time.Month, day int) Day {
	first := time.Date(year, month, 1, 12, 0, 0, 0, time.UTC)
	last := time.Date(year, month+1, 0, 12, 0, 0, 0, time.UTC).Day()
	return Day{Year: first.Year(), Month: first.Month(), Day: min(day, last)}
}

// check checks a day that a caller gave.
func (d Day) check(field string) error {
	if d.Year < 1 || d.Year > 9999 || d.AddDays(0) != d {
		return NewError(CodeOutOfRange, field, "%04d-%02d-%02d is not a day", d.Year, d.Month, d.Day)
	}
	return nil
}
