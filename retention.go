package userkit

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// RetentionRule says how long records of a kind are kept.
type RetentionRule struct {
	Kind string `json:"kind"` // one of RetainableKinds

	// Event is the name of the events that the rule applies to, if Kind is RowsEvents; empty: all
	// names without a rule of their own.
	Event EventName `json:"event,omitempty"`

	// Keep is how long the records are kept; the oldest are deleted first. RetainableKinds
	// documents from when the age of a record counts, and the minimum of Keep.
	Keep Duration `json:"keep"`
}

// The minimum times for which records are kept.
const (
	MinRetention     = 24 * time.Hour
	MinDaysRetention = 62 * 24 * time.Hour // of RowsDays: what the limit of a month counts
)

// RetainableKinds returns the kinds of record that WithRetention accepts, in the order of
// RecordKinds, with the time from which the age of a record counts:
//
//   - RowsSessions: sessions that have ended, from when their end was recorded (ClosedAt),
//   - RowsDays: the usage per day, from the end of the day. The usage of deleted days is added to
//     the day 0001-01-01, so that limits that never reset stay correct,
//   - RowsMessages: messages, read or not, from when they were sent,
//   - RowsDeliveries: deliveries that are no longer waiting, from when their message was sent,
//   - RowsActivations: activations that have expired, from their expiration,
//   - RowsConnections: connections that are over, from their end,
//   - RowsEvents: events with a name that is EventName.Retainable, from when they happened (At).
//
// They are kept for at least MinRetention, and RowsDays for at least MinDaysRetention. Records of
// other kinds, which are those of money and those that rules depend on, are kept as long as their
// user exists.
func RetainableKinds() []string {
	var kinds []string
	for _, kind := range recordKinds {
		if kind.expires != "" {
			kinds = append(kinds, kind.name)
		}
	}
	return kinds
}

// Retainable reports whether retention may delete events of the name. It never deletes those
// of money and of purchases, which are the names that begin with "balance." and "purchase.".
func (n EventName) Retainable() bool {
	return !strings.HasPrefix(string(n), "balance.") && !strings.HasPrefix(string(n), "purchase.")
}

// RetentionCount is the number of records that a rule applies to.
type RetentionCount struct {
	Kind    string    `json:"kind"`
	Event   EventName `json:"event,omitempty"` // of RowsEvents: the name
	Before  time.Time `json:"before"`          // the records are those that were over before then
	Records int64     `json:"records"`
}

// RetentionManager deletes records that are no longer kept; see WithRetention.
type RetentionManager interface {
	// PreviewRetention returns what ApplyRetention would delete now, in the order of
	// RecordKinds, then of the names of events. The list contains rules that apply to no records,
	// and is empty without WithRetention.
	PreviewRetention(ctx context.Context) ([]RetentionCount, error)

	// ApplyRetention deletes the records that are no longer kept, in small steps, and returns what
	// it deleted, even if it returns an error as well. It records what it deleted in one event,
	// EventRetentionApplied. Run calls it once an hour, in one of the processes. Several processes
	// may call it at once.
	//
	// A feed whose cursor is before events that were deleted yields ErrConflict with
	// CodeCursorExpired.
	ApplyRetention(ctx context.Context) ([]RetentionCount, error)
}

// Expiry says which records of a kind are no longer kept.
//
// For writers of stores.
type Expiry struct {
	Kind      string    // one of RetainableKinds, from which it counts
	Before    time.Time // those that are over since before then; not used for RowsDays
	BeforeDay Day       // of RowsDays: the days before this one, but for UsageBefore
	Event     EventName // of RowsEvents: those of this name
}

// UsageBefore is the day that holds the sum of the days that retention deleted. For writers
// of stores.
var UsageBefore = Day{Year: 1, Month: time.January, Day: 1}

// retentionChunk is how many records are deleted in one step.
const retentionChunk = 1000

// retentionInterval is how often records are deleted, in one of the processes.
const retentionInterval = time.Hour

// dutyRetention names the lease of the duty.
const dutyRetention = "retention"

// WithRetention sets how long records are kept; records without a rule are kept as long as their
// user. Each kind, and each name of events, has at most one rule. See RetentionManager.
//
// A process whose clock is ahead deletes nothing early; see WithClock.
func WithRetention(rules ...RetentionRule) Option {
	return func(o *options) error {
		for i, rule := range rules {
			if err := rule.check(); err != nil {
				return err
			}
			if slices.ContainsFunc(rules[:i], func(other RetentionRule) bool { return other.Kind == rule.Kind && other.Event == rule.Event }) {
				return invalidOption("WithRetention", "there are two rules for %q %q", clip(rule.Kind), clip(string(rule.Event)))
			}
		}
		o.retention = slices.Clone(rules)
		place := func(rule RetentionRule) int {
			return slices.IndexFunc(recordKinds, func(kind recordKind) bool { return kind.name == rule.Kind })
		}
		slices.SortStableFunc(o.retention, func(a, b RetentionRule) int {
			return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a.Event, b.Event))
		})
		return nil
	}
}

func (r RetentionRule) check() error {
	at := slices.IndexFunc(recordKinds, func(kind recordKind) bool { return kind.name == r.Kind })
	switch {
	case at < 0:
		return invalidOption("WithRetention", "unknown kind of record %q", clip(r.Kind))
	case recordKinds[at].expires == "":
		return invalidOption("WithRetention", "%s are always kept: %s", r.Kind, recordKinds[at].kept)
	case r.Event != "" && r.Kind != RowsEvents:
		return invalidOption("WithRetention", "only events have names")
	case !r.Event.Retainable():
		return invalidOption("WithRetention", "events %q are always kept", clip(string(r.Event)))
	}
	least := MinRetention
	if r.Kind == RowsDays {
		least = MinDaysRetention
	}
	if time.Duration(r.Keep) < least {
		return invalidOption("WithRetention", "%s of %s is less than %s", r.Keep, r.Kind, Duration(least))
	}
	return nil
}

// expiries returns what the rules delete at a moment, of events by name.
func (m *manager) expiries(ctx context.Context, now time.Time) ([]Expiry, error) {
	if len(m.retention) == 0 {
		return nil, nil
	}
	var expiries []Expiry
	for _, rule := range m.retention {
		before := storedTime(now.Add(-time.Duration(rule.Keep)))
		expiry := Expiry{Kind: rule.Kind, Before: before, Event: rule.Event}
		if rule.Kind == RowsDays {
			expiry.BeforeDay = DayOf(before, m.zone)
		}
		if rule.Kind != RowsEvents || rule.Event != "" {
			expiries = append(expiries, expiry)
			continue
		}
		names, err := m.store.EventNames(ctx)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			named := slices.ContainsFunc(m.retention, func(other RetentionRule) bool { return other.Kind == RowsEvents && other.Event == name })
			if !named && name.Retainable() {
				expiry.Event = name
				expiries = append(expiries, expiry)
			}
		}
	}
	slices.SortStableFunc(expiries, func(a, b Expiry) int {
		if a.Kind != b.Kind {
			return 0 // the rules are in the order of kinds
		}
		return cmp.Compare(a.Event, b.Event)
	})
	return expiries, nil
}

func (m *manager) PreviewRetention(ctx context.Context) (_ []RetentionCount, err error) {
	ctx, call, err := enter(ctx, m, opPreviewRetention, noTarget)
	if err != nil {
		return nil, err
	}
	defer call.leave(ctx, &err)
	clock, err := m.dutyClock(ctx)
	if err != nil {
		return nil, err
	}
	expiries, err := m.expiries(ctx, clock.now())
	if err != nil {
		return nil, err
	}
	counts := []RetentionCount{}
	for _, expiry := range expiries {
		records, err := m.store.CountExpired(ctx, expiry)
		if err != nil {
			return nil, err
		}
		counts = append(counts, expiry.count(records))
	}
	return counts, nil
}

func (e Expiry) count(records int64) RetentionCount {
	return RetentionCount{Kind: e.Kind, Event: e.Event, Before: e.Before, Records: records}
}

func (m *manager) ApplyRetention(ctx context.Context) (_ []RetentionCount, err error) {
	ctx, call, err := enter(ctx, m, opApplyRetention, noTarget)
	if err != nil {
		return nil, err
	}
	defer call.leave(ctx, &err)
	clock, err := m.dutyClock(ctx)
	if err != nil {
		return []RetentionCount{}, err
	}
	o := call.origin
	o.now = clock.now()
	return m.applyRetention(ctx, o, func() bool { return false })
}

// applyRetention deletes what is no longer kept, until it is done or its time is over.
func (m *manager) applyRetention(ctx context.Context, o origin, over func() bool) ([]RetentionCount, error) {
	counts := []RetentionCount{}
	expiries, err := m.expiries(ctx, o.now)
	if err != nil {
		return counts, err
	}
	for _, expiry := range expiries {
		count := expiry.count(0)
		for err == nil && !over() {
			var deleted int64
			if deleted, err = m.store.DeleteExpired(ctx, expiry, retentionChunk); deleted == 0 {
				break // none is left, or the remaining ones are being changed
			}
			count.Records += deleted
		}
		if count.Records > 0 {
			counts = append(counts, count)
		}
	}
	if len(counts) == 0 {
		return counts, err
	}
	told := Event{ID: o.event, Name: EventRetentionApplied, Actor: o.actor, At: o.now, Data: eventData([]any{"deleted", counts})}
	return counts, errors.Join(err, m.tell(context.WithoutCancel(ctx), told))
}

// tell records an event of no user. If the store fails, it is asked again, since it may
// nevertheless have recorded the event.
func (m *manager) tell(ctx context.Context, event Event) error {
	err := m.store.CommitEvent(ctx, event)
	if errors.Is(err, ErrUnavailable) {
		err = m.store.CommitEvent(ctx, event)
	}
	if ErrorCode(err) == CodeIDTaken {
		return nil
	}
	return err
}

// retain is the duty: it deletes in the one process that has the lease, for as long as it
// has it.
func (m *manager) retain(ctx context.Context) error {
	clock, err := m.dutyClock(ctx)
	if err != nil {
		return err
	}
	now := clock.now()
	until := now.Add(retentionInterval)
	ours, err := m.store.LeaseDuty(ctx, dutyRetention, now, until)
	if err != nil || !ours {
		return err
	}
	o := origin{now: now, actor: ActorFrom(ctx), event: NewID[Event]()}
	_, err = m.applyRetention(ctx, o, func() bool { return !clock.now().Before(until) })
	return err
}
