package userkit

import (
	"time"
)

// TrafficReset says when use begins to count from zero again.
type TrafficReset string

// The reset strategies. Days, weeks and months are those of the project's time
// zone; weeks begin on Monday (ISO 8601).
const (
	ResetDaily   TrafficReset = "daily"
	ResetWeekly  TrafficReset = "weekly"
	ResetMonthly TrafficReset = "monthly" // on TrafficLimit.AnchorDay
	ResetNever   TrafficReset = "never"
)

// TrafficLimit bounds the bytes that a user may receive and send together in
// one period.
type TrafficLimit struct {
	Bytes int64        `json:"bytes"`           // 0: unlimited
	Reset TrafficReset `json:"reset,omitempty"` // empty: ResetDaily

	// AnchorDay is the day of the month on which a monthly period begins, 1 to
	// 31; a shorter month begins it on its last day. 0 means 1. Only for
	// ResetMonthly.
	AnchorDay int `json:"anchor_day,omitempty"`
}

// Traffic is a user's limit and its use in one period. Used belongs to the
// period that began on Period; once another period has begun, use is zero
// whatever is stored, so no job has to reset it.
type Traffic struct {
	Limit  TrafficLimit `json:"limit"`
	Used   int64        `json:"used"`   // bytes, received and sent
	Period Day          `json:"period"` // the first day of the period that Used counts; zero for ResetNever and before first use
}

// DayUsage is what a user used on one day.
type DayUsage struct {
	Day      Day   `json:"day"`
	Received int64 `json:"received"` // bytes
	Sent     int64 `json:"sent"`     // bytes
	// Forgiven is what resets by hand took off the limit's count on this day, in
	// bytes. Received and Sent stay what was really used.
	Forgiven int64 `json:"forgiven,omitempty"`
}

// UsedIn gives the use in the period of the given moment.
func (t Traffic) UsedIn(now time.Time, zone *time.Location) int64 {
	if t.Limit.periodStart(DayOf(now, zone)) != t.Period {
		return 0
	}
	return t.Used
}

// NextReset gives the instant at which the period of the given moment ends, in
// UTC; zero for ResetNever.
func (t Traffic) NextReset(now time.Time, zone *time.Location) time.Time {
	next := t.Limit.nextPeriod(DayOf(now, zone))
	if next.IsZero() {
		return time.Time{}
	}
	return next.Start(zone)
}

// usedUp reports whether the limit is reached at the given moment.
func (t Traffic) usedUp(now time.Time, zone *time.Location) bool {
	return t.Limit.Bytes > 0 && t.UsedIn(now, zone) >= t.Limit.Bytes
}

// periodStart gives the first day of the period that holds the day; zero for ResetNever.
func (l TrafficLimit) periodStart(day Day) Day {
	switch l.Reset {
	case ResetWeekly:
		weekday := time.Date(day.Year, day.Month, day.Day, 12, 0, 0, 0, time.UTC).Weekday()
		return day.AddDays(-(int(weekday) + 6) % 7)
	case ResetMonthly:
		anchor := max(l.AnchorDay, 1)
		start := clampedDay(day.Year, day.Month, anchor)
		if day.Compare(start) < 0 {
			start = clampedDay(day.Year, day.Month-1, anchor)
		}
		return start
	case ResetNever:
		return Day{}
	default:
		return day
	}
}

// nextPeriod gives the first day of the period after the one that holds the day; zero for ResetNever.
func (l TrafficLimit) nextPeriod(day Day) Day {
	start := l.periodStart(day)
	switch l.Reset {
	case ResetWeekly:
		return start.AddDays(7)
	case ResetMonthly:
		return clampedDay(start.Year, start.Month+1, max(l.AnchorDay, 1))
	case ResetNever:
		return Day{}
	default:
		return start.AddDays(1)
	}
}

// normalise checks a limit and writes out its defaults.
func (l TrafficLimit) normalise() (TrafficLimit, error) {
	if l.Reset == "" {
		l.Reset = ResetDaily
	}
	if l.Bytes < 0 {
		return l, NewError(CodeOutOfRange, "traffic_limit.bytes", "%d is negative; 0 means unlimited", l.Bytes)
	}
	switch l.Reset {
	case ResetMonthly:
		if l.AnchorDay == 0 {
			l.AnchorDay = 1
		}
		if l.AnchorDay < 1 || l.AnchorDay > 31 {
			return l, NewError(CodeOutOfRange, "traffic_limit.anchor_day", "%d is not a day of a month", l.AnchorDay)
		}
	case ResetDaily, ResetWeekly, ResetNever:
		if l.AnchorDay != 0 {
			return l, NewError(CodeOutOfRange, "traffic_limit.anchor_day", "only a monthly limit has an anchor day")
		}
	default:
		return l, NewError(CodeUnknownValue, "traffic_limit.reset", "%q is no reset strategy", clip(string(l.Reset)))
	}
	return l, nil
}
