package userkit

import (
	"context"
	"net/netip"
	"time"
)

// EndReason says why a session ended.
type EndReason string

// The reasons for which sessions end.
const (
	EndedByClient      EndReason = "ended"         // EndSession
	EndedStale         EndReason = "stale"         // no report for the time of WithStaleAfter
	EndedTrafficLimit  EndReason = "traffic_limit" // the traffic limit was reached
	EndedUserExpired   EndReason = "user_expired"  // the user's time was over
	EndedUserDisabled  EndReason = "user_disabled" // DeactivateUser
	EndedDeviceDeleted EndReason = "device_deleted"
	EndedReplaced      EndReason = "replaced" // a newer session took its place
)

// Counter is a pair of cumulative byte counters as a node reports them.
type Counter struct {
	Received int64     `json:"received"`    // bytes since the counter began
	Sent     int64     `json:"sent"`        // bytes since the counter began
	At       time.Time `json:"at,omitzero"` // when the node read it
}

// Session is one connection of a user, usually of one of its devices, to a
// server of the host (a node).
type Session struct {
	ID     SessionID `json:"id"`
	UserID UserID    `json:"user_id"`

	DeviceID   DeviceID `json:"device_id,omitzero"`    // zero: without a device; stays after the device was deleted
	DeviceName string   `json:"device_name,omitempty"` // as it was when the session started

	Node         string     `json:"node"`
	NodeLocation string     `json:"node_location,omitempty"`
	InternalIP   netip.Addr `json:"internal_ip,omitzero"`

	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"` // zero while active
	EndReason EndReason `json:"end_reason,omitempty"`

	Received int64 `json:"received"` // bytes that counted
	Sent     int64 `json:"sent"`     // bytes that counted

	// Counter is the newest reading that counted. ReportedAt is when the last
	// sign of life came, by the manager's clock.
	Counter    Counter   `json:"counter"`
	ReportedAt time.Time `json:"reported_at"`
}

// Active reports whether the session has not ended.
func (s Session) Active() bool { return s.EndedAt.IsZero() }

// NewSession is what a session is started from.
type NewSession struct {
	ID           SessionID  `json:"id,omitzero"` // zero: a new one
	UserID       UserID     `json:"user_id"`
	DeviceID     DeviceID   `json:"device_id,omitzero"`
	Node         string     `json:"node"` // required, at most MaxLine characters
	NodeLocation string     `json:"node_location,omitempty"`
	InternalIP   netip.Addr `json:"internal_ip,omitzero"`
}

// UsageReport is a node's reading of a session's counters.
type UsageReport struct {
	SessionID SessionID `json:"session_id"`
	Received  int64     `json:"received"` // bytes since the counter began, not since the last report
	Sent      int64     `json:"sent"`     // bytes since the counter began

	// At is when the node read the counters. Reports are put in order by it, so
	// a node must use one clock for one session. Zero: now, and then a counter
	// that restarted cannot be told from a report that comes late. A time in the
	// future counts as now.
	At time.Time `json:"at,omitzero"`
}

// UsageOutcome says what became of a report.
type UsageOutcome string

// The outcomes of a report.
const (
	UsageCounted   UsageOutcome = "counted"   // its bytes beyond the last reading count
	UsageRepeated  UsageOutcome = "repeated"  // this reading is known; nothing counts
	UsageLate      UsageOutcome = "late"      // a newer reading has counted; nothing counts
	UsageRestarted UsageOutcome = "restarted" // the counter began anew; all its bytes count
	UsageRejected  UsageOutcome = "rejected"  // see UsageResult.Err
)

// UsageResult is the outcome of one report.
type UsageResult struct {
	SessionID SessionID    `json:"session_id"`
	Outcome   UsageOutcome `json:"outcome"`
	Received  int64        `json:"received"` // bytes that counted now
	Sent      int64        `json:"sent"`     // bytes that counted now

	// Ended means that the session is over, by this report or before it, and
	// the node must drop the connection; EndReason says why.
	Ended     bool      `json:"ended"`
	EndReason EndReason `json:"end_reason,omitempty"`
	NextReset time.Time `json:"next_reset,omitzero"` // with EndedTrafficLimit: when traffic is free again

	// Err is set when the report was rejected: ErrNotFound with
	// CodeSessionNotFound, ErrInvalid, or ErrUnavailable (report again).
	Err error `json:"-"`
}

// SessionPolicy says what happens when a session is started and too many run.
type SessionPolicy string

// The session policies.
const (
	SessionRefuse    SessionPolicy = "refuse"
	SessionEndOldest SessionPolicy = "end_oldest"
)

// SessionLimits bounds how many sessions run at the same time.
type SessionLimits struct {
	PerUser   int           // 0: unlimited
	PerDevice int           // 0: unlimited
	Policy    SessionPolicy // empty: SessionRefuse
}

// SessionState says which sessions a filter takes.
type SessionState string

// The session states of a filter.
const (
	SessionsAny    SessionState = ""
	SessionsActive SessionState = "active"
	SessionsEnded  SessionState = "ended"
)

// MaxSessionSpan is the longest time span of a SessionQuery.
const MaxSessionSpan = 30 * 24 * time.Hour

// SessionQuery asks for a page of sessions.
type SessionQuery struct {
	SessionFilter
	// Mixed sorts active sessions among the others; by default they come first.
	Mixed bool
	// PageQuery: the default order is by started_at, newest first; any field of
	// SessionFields.
	PageQuery
}

// SessionFilter says which sessions; the zero filter means all of the project.
type SessionFilter struct {
	UserID   UserID   // zero: of all users
	DeviceID DeviceID // zero: of all devices
	State    SessionState

	// From and To take the sessions that started in [From, To), at most
	// MaxSessionSpan. Where one is zero it is taken at that distance from the
	// other; where both are, all times count.
	From, To time.Time
}

// SessionManager starts and ends sessions and counts their traffic.
type SessionManager interface {
	// StartSession starts a session. It returns ErrRefused with the reason when
	// the user may not use anything now (see Access; CodeTrafficLimit names the
	// next reset in Error.Until), when the device has no slot
	// (CodeNoDeviceSlot), or when too many sessions run and the policy is to
	// refuse (CodeSessionLimit). It returns ErrNotFound with CodeUserNotFound,
	// or with CodeDeviceNotFound when the device is not one of the user's, and
	// ErrExists with CodeIDTaken.
	StartSession(ctx context.Context, session NewSession) (Session, error)

	// ReportUsage takes readings of many sessions, each with an outcome of its
	// own in the order of the reports. A report that is repeated, late or out of
	// order never counts twice. Bytes count to the days between the last reading
	// and this one, in proportion to the time. Reaching the traffic limit ends
	// all the user's sessions in the same commit. A report for a session that
	// has ended still counts, and its result says that it has ended; one that
	// was closed as stale then ends at the time of the report. The error is only
	// for a call that did nothing at all; ErrInvalid with CodeTooLong beyond
	// MaxReports.
	ReportUsage(ctx context.Context, reports []UsageReport) ([]UsageResult, error)

	// EndSession counts a last reading and ends the session. The zero report
	// ends it without one. To end a session that has ended is no error: the
	// reading counts and the end stays.
	EndSession(ctx context.Context, id SessionID, last UsageReport) (Session, error)

	// CloseStaleSessions ends the sessions that gave no sign of life for the
	// time of WithStaleAfter, each at its last one, and returns how many. Run
	// does this; many processes may do it at once.
	CloseStaleSessions(ctx context.Context) (int, error)

	// Session returns one session, or ErrNotFound with CodeSessionNotFound.
	Session(ctx context.Context, id SessionID) (Session, error)

	// Sessions returns a page of sessions. It returns ErrInvalid with
	// CodeSpanTooLong when the time span is over MaxSessionSpan.
	Sessions(ctx context.Context, query SessionQuery) (Page[Session], error)

	// SetTrafficLimit sets a user's limit; resetUsage lets the current period's
	// use count from zero. What was really used stays in the days' figures. When
	// the new limit is already reached, the user's sessions end.
	SetTrafficLimit(ctx context.Context, user UserID, limit TrafficLimit, resetUsage bool) (User, error)

	// Traffic returns the use per day from one day to another, both included,
	// days without use left out; at most MaxTrafficDays days, else ErrInvalid
	// with CodeSpanTooLong.
	Traffic(ctx context.Context, user UserID, from, to Day) ([]DayUsage, error)
}

// MaxReports is the most reports that one call of ReportUsage takes.
const MaxReports = 100_000

// MaxTrafficDays is the most days that one call of Traffic returns.
const MaxTrafficDays = 3660
