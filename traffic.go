package userkit

import (
	"context"
	"encoding/json"
	"math/bits"
	"time"
)

// TrafficReset says when the usage is reset to zero.
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

// TrafficLimitPatch says which parts of a limit to set; the others stay unchanged, except that the
// anchor day is cleared when the reset is no longer monthly.
type TrafficLimitPatch struct {
	Bytes     Optional[int64]        `json:"bytes,omitzero"`
	Reset     Optional[TrafficReset] `json:"reset,omitzero"`
	AnchorDay Optional[int]          `json:"anchor_day,omitzero"`
}

// trafficLimitPatchFields is a TrafficLimitPatch without its methods.
type trafficLimitPatchFields TrafficLimitPatch

// UnmarshalJSON reads the parts to set; null clears the limit, which means unlimited and reset
// daily.
func (p *TrafficLimitPatch) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*p = TrafficLimitPatch{Bytes: Set[int64](0), Reset: Set(ResetDaily), AnchorDay: Set(0)}
		return nil
	}
	return json.Unmarshal(data, (*trafficLimitPatchFields)(p))
}

// Traffic is a user's limit and its usage in one period. Used belongs to the period that began on
// Period; once another period has begun, the usage is zero whatever is stored, so no job has to
// reset it.
type Traffic struct {
	Limit  TrafficLimit `json:"limit"`
	Used   int64        `json:"used"`   // bytes, received and sent
	Period Day          `json:"period"` // the first day of the period that Used counts; zero for ResetNever and before first use
}

// DayUsage is the usage of a user on one day.
type DayUsage struct {
	Day      Day   `json:"day"`
	Received int64 `json:"received"` // bytes
	Sent     int64 `json:"sent"`     // bytes
	// Forgiven is the number of this day's bytes that a manual reset subtracted from the usage of
	// the limit. Received and Sent remain the real usage.
	Forgiven int64 `json:"forgiven,omitempty"`
}

// UsedIn returns the usage in the period of the given moment.
func (t Traffic) UsedIn(now time.Time, zone *time.Location) int64 {
	if t.over(now, zone) {
		return 0
	}
	return t.Used
}

// over reports whether a later period than the one that Used counts has begun. A moment before that
// period, by a clock that is behind, counts as part of it.
func (t Traffic) over(now time.Time, zone *time.Location) bool {
	return t.Limit.PeriodStart(DayOf(now, zone)).Compare(t.Period) > 0
}

// NextReset returns the instant at which the period of the given moment ends, in
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

// PeriodStart returns the first day of the period that holds the day; zero for ResetNever.
func (l TrafficLimit) PeriodStart(day Day) Day {
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

// nextPeriod returns the first day of the period after the one that contains the day, or zero for
// ResetNever.
func (l TrafficLimit) nextPeriod(day Day) Day {
	start := l.PeriodStart(day)
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
		return l, NewError(CodeUnknownValue, "traffic_limit.reset", "unknown reset strategy %q", clip(string(l.Reset)))
	}
	return l, nil
}

// addAllUsage adds the figures of some days to those of others.
func addAllUsage(days, more []DayUsage) []DayUsage {
	for _, day := range more {
		days = addUsage(days, day)
	}
	return days
}

// addUsage adds a day's figures to those of several days.
func addUsage(days []DayUsage, more DayUsage) []DayUsage {
	for i := range days {
		if days[i].Day == more.Day {
			days[i].Received = addClamped(days[i].Received, more.Received)
			days[i].Sent = addClamped(days[i].Sent, more.Sent)
			days[i].Forgiven = addClamped(days[i].Forgiven, more.Forgiven)
			return days
		}
	}
	return append(days, more)
}

// usage says when and in which zone bytes are counted.
type usage struct {
	zone   *time.Location
	now    time.Time
	events bool // each reading writes one

	nodes NodePolicy
	moved origin // of the event of reports by nodes that are not their sessions'
}

// add counts bytes that were used between two moments. They belong to the days
// in between in proportion to the time; the limit counts those of its current
// period.
func (u usage) add(c *Change, received, sent int64, from, to time.Time) {
	traffic := &c.Account.Traffic
	traffic.roll(u.now, u.zone)
	for _, day := range u.split(received, sent, from, to) {
		c.Usage = addUsage(c.Usage, day)
		if day.Day.Compare(traffic.Period) >= 0 { // the zero Day, of ResetNever, is before all
			traffic.Used = addClamped(traffic.Used, addClamped(day.Received, day.Sent))
		}
	}
}

// split divides bytes among the days between two moments.
func (u usage) split(received, sent int64, from, to time.Time) []DayUsage {
	last := DayOf(to, u.zone)
	total := to.Sub(from)
	var days []DayUsage
	if total > 0 && DayOf(from, u.zone) != last {
		restReceived, restSent := received, sent
		for day := DayOf(from, u.zone); day.Compare(last) < 0; day = day.AddDays(1) {
			begin := day.Start(u.zone)
			if begin.Before(from) {
				begin = from
			}
			part := DayUsage{Day: day}
			share := day.AddDays(1).Start(u.zone).Sub(begin)
			part.Received, part.Sent = portion(received, share, total), portion(sent, share, total)
			restReceived -= part.Received
			restSent -= part.Sent
			if part.Received != 0 || part.Sent != 0 {
				days = append(days, part)
			}
		}
		received, sent = restReceived, restSent
	}
	if received != 0 || sent != 0 {
		days = append(days, DayUsage{Day: last, Received: received, Sent: sent})
	}
	return days
}

// portion returns amount * share / total, rounded down.
func portion(amount int64, share, total time.Duration) int64 {
	high, low := bits.Mul64(uint64(amount), uint64(share))
	quotient, _ := bits.Div64(high, low, uint64(total))
	return int64(quotient)
}

// roll begins the period of the given moment, if it has not begun.
func (t *Traffic) roll(now time.Time, zone *time.Location) {
	if t.over(now, zone) {
		t.Period, t.Used = t.Limit.PeriodStart(DayOf(now, zone)), 0
	}
}

// setLimit decides a new traffic limit. The days' figures since the beginning of
// the new limit's period must be loaded.
func (u usage) setLimit(state *State, o origin, limit TrafficLimit, reset bool) (User, Change, error) {
	c := state.change()
	today := DayOf(u.now, u.zone)
	traffic := Traffic{Limit: limit, Period: limit.PeriodStart(today)}
	for _, day := range state.Usage {
		if day.Day.Compare(traffic.Period) < 0 {
			continue
		}
		counts := max(addClamped(day.Received, day.Sent)-day.Forgiven, 0)
		if !reset {
			traffic.Used = addClamped(traffic.Used, counts)
		} else if counts > 0 {
			c.Usage = addUsage(c.Usage, DayUsage{Day: day.Day, Forgiven: counts})
		}
	}
	c.Account.Traffic = traffic
	var ended []SessionID
	if traffic.usedUp(u.now, u.zone) {
		ended = state.endSessions(&c, u.now, EndedTrafficLimit, anySession)
	}
	user := state.User
	user.Account = c.Account
	o.record(&c, EventTrafficLimitSet, DeviceID{}, "limit", limit, "usage_reset", reset, "ended_sessions", ended)
	return user, c, nil
}

// apply returns the limit after the patch.
func (p TrafficLimitPatch) apply(state *State, o origin, u usage) (User, Change, error) {
	limit := state.User.Traffic.Limit
	put(p.Bytes, &limit.Bytes)
	if put(p.Reset, &limit.Reset); limit.Reset != ResetMonthly {
		limit.AnchorDay = 0
	}
	put(p.AnchorDay, &limit.AnchorDay)
	limit, err := limit.normalise()
	if err != nil {
		return User{}, Change{}, err
	}
	if limit == state.User.Traffic.Limit {
		return state.User, Change{}, nil
	}
	since := limit.PeriodStart(DayOf(u.now, u.zone))
	loaded, known := state.complete.usageFrom.Get()
	if !known || since.Compare(loaded) < 0 || !state.complete.openSessions {
		return User{}, Change{}, needMore{Want{UsageFrom: Set(since), OpenSessions: true}}
	}
	return u.setLimit(state, o, limit, false)
}

// resetUsage decides that the current period counts from zero.
func (u usage) resetUsage(state *State, o origin) (Change, error) {
	traffic := state.User.Traffic
	if traffic.UsedIn(u.now, u.zone) == 0 {
		return Change{}, nil
	}
	since := traffic.Limit.PeriodStart(DayOf(u.now, u.zone))
	loaded, known := state.complete.usageFrom.Get()
	if !known || since.Compare(loaded) < 0 || !state.complete.openSessions {
		return Change{}, needMore{Want{UsageFrom: Set(since), OpenSessions: true}}
	}
	_, change, err := u.setLimit(state, o, traffic.Limit, true)
	return change, err
}

func (m *manager) SetTrafficLimit(ctx context.Context, user UserID, limit TrafficLimit, resetUsage bool) (_ User, err error) {
	ctx, call, err := enter(ctx, m, opSetTrafficLimit, user)
	if err != nil {
		return User{}, err
	}
	defer call.leave(ctx, &err)
	if limit, err = limit.normalise(); err != nil {
		return User{}, err
	}
	u := usage{zone: m.zone, now: call.now}
	want := Want{User: user, Profile: true, OpenSessions: true, UsageFrom: Set(limit.PeriodStart(DayOf(call.now, m.zone)))}
	return changeUser(ctx, m, command{want: want}, func(state *State) (User, Change, error) {
		return u.setLimit(state, call.origin, limit, resetUsage)
	})
}

func (m *manager) Traffic(ctx context.Context, user UserID, from, to Day) (_ []DayUsage, err error) {
	ctx, call, err := enterOf(ctx, m, opTraffic, &user)
	if err != nil {
		return nil, err
	}
	defer call.leave(ctx, &err)
	if err := firstError(from.check("from"), to.check("to")); err != nil {
		return nil, err
	}
	most := MaxTrafficDays
	if user.IsZero() {
		most = MaxProjectTrafficDays
	}
	if to.Compare(from) < 0 || from.AddDays(most).Compare(to) <= 0 {
		return nil, NewError(CodeSpanTooLong, "to", "the span from %s to %s does not have 1 to %d days", from, to, most)
	}
	days, err := m.store.Usage(ctx, user, from, to)
	if err == nil && len(days) == 0 && !user.IsZero() {
		_, err = m.store.User(ctx, user) // a user who used nothing, or who does not exist
	}
	return days, err
}
