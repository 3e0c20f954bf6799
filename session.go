package userkit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"sync"
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
	EndedReplaced      EndReason = "replaced"       // a newer session took its place, or its device registered again
	EndedTokenRotated  EndReason = "token_rotated"  // RotateToken
	EndedNodeRestarted EndReason = "node_restarted" // EndSessions
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
	// ClosedAt is when the end was recorded, by the manager's clock: for a stale
	// session some time after EndedAt. Zero while active.
	ClosedAt time.Time `json:"closed_at,omitzero"`

	Received int64 `json:"received"` // bytes that counted
	Sent     int64 `json:"sent"`     // bytes that counted

	// OtherNode is the last node other than Node that reported on the session, and
	// OtherCounter its newest reading: the one that the session moved from, or one whose
	// reports are refused, see NodePolicy.
	OtherNode    string  `json:"other_node,omitempty"`
	OtherCounter Counter `json:"other_counter,omitzero"`

	// Counter is the newest reading that counted. Aside is one that was out of
	// order, by which the next is judged, see UsageReport. ReportedAt is when the
	// last sign of life came, by the manager's clock.
	Counter    Counter   `json:"counter"`
	Aside      Counter   `json:"aside,omitzero"`
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

	// UserID is the user of the session, where the node knows it: that saves a
	// look-up. With another user, the session is not found. Zero: looked up.
	UserID UserID `json:"user_id,omitzero"`

	// Node is the server that read the counters, at most MaxLine characters. Where it is
	// not the node of the session, the NodePolicy says what happens. Empty: not told, and
	// taken for the session's.
	Node         string `json:"node,omitempty"`
	NodeLocation string `json:"node_location,omitempty"` // only with Node: where it stands, for a session that moves

	Received int64 `json:"received"` // bytes since the counter began, not since the last report
	Sent     int64 `json:"sent"`     // bytes since the counter began

	// CounterBits is the width of the node's counters: 32 or 64. A counter of 32 bits
	// that is lower than before by more than half of its range has wrapped, and goes
	// on. 0: not known. Then a counter is taken for one of 32 bits that wrapped where
	// it alone is lower, as both begin anew when a node restarts.
	CounterBits int `json:"counter_bits,omitempty"`

	// At is when the node read the counters. Reports are put in order by it. Zero:
	// now, and then a counter that restarted cannot be told from a report that comes
	// late.
	//
	// A node's clock may be ahead by a day; bytes of the future count to now. It may
	// also be set: a reading behind the newest counts as far as its counters are
	// beyond all that the session has counted, and two such readings in a row, between
	// which the node's clock went on as the manager's did, begin the order anew.
	At time.Time `json:"at,omitzero"`
}

// NodePolicy says what happens when a node reports on a session of another node.
type NodePolicy string

// The node policies.
const (
	// NodeRefuse rejects the report with CodeOtherNode, and nothing counts. The first one
	// of each such node writes EventNodeRefused.
	NodeRefuse NodePolicy = "refuse"

	// NodeMove moves the session to the node and writes EventSessionMoved. Each node has
	// counters of its own: those of the new one count from zero, and those of the one that
	// the session moved from last go on where they were, so that nothing counts twice
	// when it comes back. A reading of that one from before the newest of the session
	// counts and moves nothing.
	NodeMove NodePolicy = "move"
)

// UsageOutcome says what became of a report.
type UsageOutcome string

// The outcomes of a report.
const (
	UsageCounted   UsageOutcome = "counted"   // its bytes beyond the last reading count
	UsageRepeated  UsageOutcome = "repeated"  // this reading is known, also from an attempt whose answer was lost; nothing counts
	UsageLate      UsageOutcome = "late"      // a newer reading has counted; nothing counts
	UsageRestarted UsageOutcome = "restarted" // a counter began anew; all its bytes count
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
	// CodeSessionNotFound, ErrRefused with CodeOtherNode, ErrInvalid, or ErrUnavailable
	// (report again).
	Err error `json:"-"` // in JSON, "error"
}

// usageResultFields are a UsageResult without its methods.
type usageResultFields UsageResult

// MarshalJSON writes the result with its error, see Error.
func (r UsageResult) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		usageResultFields
		Err *Error `json:"error,omitempty"`
	}{usageResultFields(r), AsError(r.Err)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *UsageResult) UnmarshalJSON(data []byte) error {
	var read struct {
		usageResultFields
		Err *Error `json:"error"`
	}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	*r = UsageResult(read.usageResultFields)
	r.Err = read.Err.orNil()
	return nil
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
	PerUser   int           `json:"per_user,omitempty"`   // 0: unlimited
	PerDevice int           `json:"per_device,omitempty"` // 0: unlimited
	Policy    SessionPolicy `json:"policy,omitempty"`     // empty: SessionRefuse
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
	Mixed bool `json:"mixed,omitempty"`
	// PageQuery: the default order is by started_at, newest first; any field of
	// SessionFields.
	PageQuery
}

// SessionFilter says which sessions; the zero filter means all of the project.
type SessionFilter struct {
	UserID   UserID   `json:"user_id,omitzero"`   // zero: of all users
	DeviceID DeviceID `json:"device_id,omitzero"` // zero: of all devices
	Node     string   `json:"node,omitempty"`     // empty: on all nodes; compared exactly
	// InternalIP takes the sessions with this address; zero: with any or none.
	InternalIP netip.Addr   `json:"internal_ip,omitzero"`
	State      SessionState `json:"state,omitempty"`

	// From and To take the sessions that started in [From, To), at most
	// MaxSessionSpan. Where one is zero it is taken at that distance from the
	// other; where both are, all times count.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`

	// Overlaps takes the sessions that ran at some moment of the span instead, both ends
	// included: those that started at To or before, and have not ended before From. From
	// and To may be the same moment. Without From and To it says nothing.
	Overlaps bool `json:"overlaps,omitempty"`

	// ClosedAfter and ClosedUntil take the sessions that have ended and whose end was
	// recorded after the one and not after the other; zero: no bound.
	ClosedAfter time.Time `json:"closed_after,omitzero"`
	ClosedUntil time.Time `json:"closed_until,omitzero"`
}

// NodeRestart is a node that began anew, so that none of its sessions runs any more.
type NodeRestart struct {
	Node string `json:"node"` // required, at most MaxLine characters

	// At is when the node restarted: the sessions that started before are ended. Zero:
	// now. A host that repeats the call gives the same moment, so that sessions which
	// started since go on, and with NodeMove those that another node reported on at that
	// moment or later, and which have moved here since.
	At time.Time `json:"at,omitzero"`

	// Limit is how many sessions one call ends, about: 1 to MaxReports, 0: MaxReports.
	Limit int `json:"limit,omitempty"`
}

// EndedSessions is what EndSessions did.
type EndedSessions struct {
	Ended int  `json:"ended"` // how many sessions
	More  bool `json:"more"`  // the limit was reached; the same call ends the rest
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
	// all the user's sessions in the same commit, and so does the end of the
	// user's time. A reading is no news: it is in the session and in the figures of
	// the day, and writes an event (EventTrafficReported) only where it reaches the
	// traffic limit or ends sessions; see WithUsageEvents. A report for a session that
	// has ended still counts, and its result says that it has ended; one that
	// was closed as stale then ends at the time of the report. The error is only
	// for a call that did nothing at all; ErrInvalid with CodeTooLong beyond
	// MaxReports.
	ReportUsage(ctx context.Context, reports []UsageReport) ([]UsageResult, error)

	// EndSession counts a last reading and ends the session. The zero report
	// ends it without one. To end a session that has ended is no error: the
	// reading counts and the end stays. It returns ErrRefused with CodeOtherNode, and
	// the session goes on, when the report names a node that NodeRefuse refuses, or the
	// node that the session moved from; a reading of that one counts.
	EndSession(ctx context.Context, id SessionID, last UsageReport) (Session, error)

	// EndSessions ends the active sessions of a node that restarted, each at the moment
	// of the restart, with EndedNodeRestarted and one event for each user. It works in
	// chunks: when the context ends or the store fails, what is ended stays ended and is
	// in the result, and the same call ends the rest. Readings that the node still sends
	// count.
	EndSessions(ctx context.Context, restart NodeRestart) (EndedSessions, error)

	// CloseStaleSessions ends the sessions that gave no sign of life for the
	// time of WithStaleAfter, each at its last one, and returns how many. Run
	// does this; many processes may do it at once.
	CloseStaleSessions(ctx context.Context) (int, error)

	// Session returns one session, or ErrNotFound with CodeSessionNotFound.
	Session(ctx context.Context, id SessionID) (Session, error)

	// Sessions returns a page of sessions. Page by page, a session that ends meanwhile
	// is listed once. It returns ErrInvalid with
	// CodeSpanTooLong when the time span is over MaxSessionSpan.
	Sessions(ctx context.Context, query SessionQuery) (Page[Session], error)

	// SetTrafficLimit sets a user's limit; resetUsage lets the current period's
	// use count from zero. What was really used stays in the days' figures. A
	// limit with another reset strategy counts what was used in its own current
	// period, less what resets forgave. When the new limit is already reached,
	// the user's sessions end.
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

// start decides the start of a session.
func (n NewSession) start(state *State, o origin, m *manager) (Session, Change, error) {
	if indexID(state.Sessions, n.ID, sessionID) >= 0 {
		return Session{}, Change{}, NewError(CodeIDTaken, "id", "another session has this id")
	}
	if err := state.User.Access(o.now, m.zone).refusal(); err != nil {
		return Session{}, Change{}, err
	}
	c := state.change()
	session := Session{
		ID: n.ID, UserID: n.UserID, Node: n.Node, NodeLocation: n.NodeLocation, InternalIP: n.InternalIP,
		StartedAt: o.now, ReportedAt: o.now,
	}
	if !n.DeviceID.IsZero() {
		device, err := state.device(n.DeviceID)
		if err != nil {
			return Session{}, Change{}, err
		}
		slots := m.slots(state.User)
		if slots > 0 && c.Account.Devices > slots && !state.complete.devices {
			return Session{}, Change{}, needMore{Want{AllDevices: true}}
		}
		if !state.hasSlot(n.DeviceID, slots) {
			return Session{}, Change{}, NewError(CodeNoDeviceSlot, "device_id", "the license allows %d devices", slots)
		}
		session.DeviceID, session.DeviceName = device.ID, device.Name
		device.LastSeenAt = latest(device.LastSeenAt, o.now)
		c.Devices.Update = append(c.Devices.Update, device)
	}

	ended := state.endStale(&c, o.now.Add(-m.staleAfter), o.now)
	replaced, err := state.makeRoom(&c, o.now, n.DeviceID, m.sessionLimits)
	if err != nil {
		return Session{}, Change{}, err
	}
	c.Account.use(o.now)
	c.Account.LastSeenAt = latest(c.Account.LastSeenAt, o.now)
	c.Account.OpenSessions++
	c.Sessions.Insert = append(c.Sessions.Insert, session)
	o.record(&c, EventSessionStarted, n.DeviceID, "session", session.ID, "node", session.Node, "ended_sessions", append(ended, replaced...))
	return session, c, nil
}

// use begins the time for which an account is valid from its first use on.
func (a *Account) use(now time.Time) {
	if a.ValidFor > 0 {
		a.ExpiresAt, a.ValidFor = now.Add(time.Duration(a.ValidFor)), 0
	}
}

// makeRoom ends the oldest sessions until one more may run, or refuses. All open
// sessions must be loaded.
func (s *State) makeRoom(c *Change, now time.Time, device DeviceID, limits SessionLimits) (ended []SessionID, err error) {
	over := func(limit int, among func(Session) bool) error {
		var open []Session
		for _, session := range s.Sessions {
			if session.Active() && among(session) && indexID(c.Sessions.Update, session.ID, sessionID) < 0 {
				open = append(open, session)
			}
		}
		excess := len(open) - limit + 1
		if limit == 0 || excess <= 0 {
			return nil
		}
		if limits.Policy == SessionRefuse {
			return NewError(CodeSessionLimit, "", "%d sessions run, and %d may", len(open), limit)
		}
		slices.SortFunc(open, func(a, b Session) int { return cmp.Or(a.StartedAt.Compare(b.StartedAt), a.ID.Compare(b.ID)) })
		for _, session := range open[:excess] {
			ended = append(ended, session.ID)
		}
		s.endSessions(c, now, EndedReplaced, func(session Session) bool { return slices.Contains(ended, session.ID) })
		return nil
	}
	if !device.IsZero() {
		if err := over(limits.PerDevice, func(session Session) bool { return session.DeviceID == device }); err != nil {
			return nil, err
		}
	}
	if err := over(limits.PerUser, anySession); err != nil {
		return nil, err
	}
	return ended, nil
}

func anySession(Session) bool { return true }

// endSessions ends the active sessions for which which holds, as far as they are
// loaded and the change has not ended them.
func (s *State) endSessions(c *Change, now time.Time, reason EndReason, which func(Session) bool) (ended []SessionID) {
	return s.closeSessions(c, now, now, reason, which)
}

// closeSessions is endSessions at a moment that may be before the one at which the end
// is recorded.
func (s *State) closeSessions(c *Change, at, closed time.Time, reason EndReason, which func(Session) bool) (ended []SessionID) {
	for _, session := range s.Sessions {
		place := indexID(c.Sessions.Update, session.ID, sessionID)
		if place >= 0 {
			session = c.Sessions.Update[place]
		}
		if !session.Active() || !which(session) {
			continue
		}
		session.end(at, closed, reason)
		if place >= 0 {
			c.Sessions.Update[place] = session
		} else {
			c.Sessions.Update = append(c.Sessions.Update, session)
		}
		c.Account.OpenSessions--
		ended = append(ended, session.ID)
	}
	return ended
}

// end ends a session. Clocks step back, and those of two processes differ: it does not
// end before it started all the same.
func (s *Session) end(at, closed time.Time, reason EndReason) {
	s.EndedAt, s.ClosedAt, s.EndReason = latest(at, s.StartedAt), closed, reason
}

// latest returns the later of two moments.
func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// endStale ends the active sessions whose last sign of life is before a moment,
// each at that sign.
func (s *State) endStale(c *Change, before, now time.Time) (ended []SessionID) {
	for _, session := range s.Sessions {
		if session.Active() && session.ReportedAt.Before(before) {
			ended = append(ended, s.closeSessions(c, session.ReportedAt, now, EndedStale, func(other Session) bool { return other.ID == session.ID })...)
		}
	}
	return ended
}

// advance is how far one counter has come.
type advance struct {
	bytes     int64
	wrapped   bool // it went through the largest number of 32 bits
	restarted bool // it began anew
}

// advance judges one counter by itself.
func (r UsageReport) advance(last, now int64) advance {
	const counters = int64(1) << 32
	switch {
	case now >= last:
		return advance{bytes: now - last}
	case r.CounterBits != 64 && last < counters && last-now > counters/2:
		return advance{bytes: now + counters - last, wrapped: true}
	}
	return advance{bytes: now, restarted: true}
}

// advances judges both counters. They begin anew together, and wrap each at its own
// time: so one has not wrapped where the other began anew, nor, where the width is
// not known, unless the other stands or goes on.
func (r UsageReport) advances(last Counter) (received, sent advance) {
	received, sent = r.advance(last.Received, r.Received), r.advance(last.Sent, r.Sent)
	wrapped := func(one, other advance, otherLast int64) bool {
		return one.wrapped && !other.restarted && (r.CounterBits == 32 || !other.wrapped && otherLast > 0)
	}
	receivedWrapped, sentWrapped := wrapped(received, sent, last.Sent), wrapped(sent, received, last.Received)
	if received.wrapped && !receivedWrapped {
		received = advance{bytes: r.Received, restarted: true}
	}
	if sent.wrapped && !sentWrapped {
		sent = advance{bytes: r.Sent, restarted: true}
	}
	return received, sent
}

// maxJump is how far ahead of the manager's clock a reading may be that is the first
// of a counter that began anew, unless the reading before was as far ahead.
const maxJump = 5 * time.Minute

// follows reports whether a reading that comes now was made after the one that came
// with the report before: between the two, the node's clock went on as the manager's
// did. Readings that waited for each other, or that are sent again, do not follow.
func follows(before, at, reported, now time.Time) bool {
	passed := now.Sub(reported)
	return !before.IsZero() && passed > 0 && (at.Sub(before)-passed).Abs() <= passed/2
}

// count decides what a reading adds to a session.
//
// Readings are put in order by the node's clock. One that is behind the newest may be
// late, or the clock was set back, and by itself it does not tell which. It counts as
// far as it proves: a counter that is higher than all that has counted has counted
// that much. And it is put aside: when the next report brings one that follows it, the
// clock was set back, and the order begins there.
func (r UsageReport) count(session *Session, c *Change, u usage) UsageResult {
	result := UsageResult{SessionID: r.SessionID, Outcome: UsageCounted}
	at, last, aside, reported := r.At, session.Counter, session.Aside, session.ReportedAt
	inOrder := !at.IsZero()
	if !inOrder {
		at = u.now
	}
	session.ReportedAt = latest(reported, u.now) // every report is a sign of life

	received, sent := r.advances(last)
	restarted := received.restarted || sent.restarted
	grows := received.bytes > 0 || sent.bytes > 0
	newer := !at.Before(last.At)
	if restarted {
		newer = at.After(last.At) && (at.Sub(u.now) <= maxJump || follows(last.At, at, reported, u.now))
	}
	anew := inOrder && !newer && !at.Equal(last.At) && r.Received >= aside.Received && r.Sent >= aside.Sent &&
		follows(aside.At, at, reported, u.now)

	reading := Counter{Received: r.Received, Sent: r.Sent, At: at}
	// Bytes belong to the time between the readings, as far as the session ran then.
	within := func(t time.Time) time.Time {
		if t.After(u.now) {
			t = u.now
		}
		return latest(t, session.StartedAt)
	}
	from, to := within(last.At), within(at)
	if last.At.IsZero() { // the first of its node
		from = within(reported)
	}
	switch {
	case inOrder && reading == last, inOrder && reading == aside, !inOrder && !restarted && !grows:
		result.Outcome = UsageRepeated
		return result
	case inOrder && (newer || anew):
		if restarted {
			result.Outcome = UsageRestarted
		}
		result.Received, result.Sent = received.bytes, sent.bytes
		session.Counter = reading
		if anew {
			session.Aside = last // that it comes again is told by this
		}
	case !inOrder && !restarted:
		result.Received, result.Sent = received.bytes, sent.bytes
		session.Counter = Counter{Received: r.Received, Sent: r.Sent, At: latest(at, last.At)}
	case !inOrder:
		result.Outcome = UsageLate
		return result
	default:
		result.Received, result.Sent = max(r.Received-session.Received, 0), max(r.Sent-session.Sent, 0)
		if result.Received > 0 {
			session.Counter.Received = r.Received
		}
		if result.Sent > 0 {
			session.Counter.Sent = r.Sent
		}
		session.Aside = reading
		if result.Received == 0 && result.Sent == 0 {
			result.Outcome = UsageLate
			return result
		}
	}
	if !newer || at.Before(session.StartedAt) { // what such a clock says is no time of the session's
		from, to = within(reported), within(u.now)
	}
	if result.Received > 0 || result.Sent > 0 {
		u.add(c, result.Received, result.Sent, from, to)
	}
	session.Received = addClamped(session.Received, result.Received)
	session.Sent = addClamped(session.Sent, result.Sent)
	if session.EndReason == EndedStale && session.EndedAt.Before(to) {
		session.EndedAt = to
	}
	return result
}

// reportUsage decides the readings of one user's sessions.
func reportUsage(state *State, o origin, u usage, reports []UsageReport) ([]UsageResult, Change, error) {
	c := state.change()
	was := c.Account.Traffic.usedUp(u.now, u.zone)
	results := make([]UsageResult, len(reports))
	var received, sent int64
	var moves []sessionMove
	for i, report := range reports {
		session, at := state.sessionIn(&c, report.SessionID)
		if session == nil {
			results[i] = rejected(report.SessionID, NewError(CodeSessionNotFound, "session_id", "no session %s", report.SessionID))
			continue
		}
		before := *session
		var move sessionMove
		results[i], move = report.countFrom(session, &c, u, false)
		moves = append(moves, move)
		if results[i].Outcome != UsageRejected && session.Active() || results[i].Received > 0 || results[i].Sent > 0 {
			c.Account.use(u.now)
		}
		received, sent = addClamped(received, results[i].Received), addClamped(sent, results[i].Sent)
		if at >= 0 {
			c.Sessions.Update[at] = *session
		} else if *session != before {
			c.Sessions.Update = append(c.Sessions.Update, *session)
		}
	}
	ended, err := state.endWithoutAccess(&c, u)
	if err != nil {
		return nil, Change{}, err
	}
	for i := range results {
		results[i].finish(state, &c, u)
	}
	u.recordMoves(&c, moves...)
	crossed := !was && c.Account.Traffic.usedUp(u.now, u.zone)
	switch {
	case crossed || len(ended) > 0 || u.events && (received > 0 || sent > 0):
		o.record(&c, EventTrafficReported, DeviceID{}, "received", received, "sent", sent, "sessions", int64(len(c.Sessions.Update)), "ended_sessions", ended)
	case c.Sessions.Empty() && c.Account == state.User.Account:
		return results, Change{}, nil
	}
	return results, c, nil
}

// sessionMove is a report of a node that is not the session's: in an event.
type sessionMove struct {
	Session SessionID `json:"session"`
	From    string    `json:"from"` // the node of the session before
	To      string    `json:"to"`   // the node that reported
}

// countFrom decides what a reading adds to a session, and whether the session moves to
// the node that reports. A session that stays does not move back to where it was. The
// move has a From when there is something to record.
func (r UsageReport) countFrom(session *Session, c *Change, u usage, stays bool) (UsageResult, sessionMove) {
	if r.Node == "" || r.Node == session.Node {
		return r.count(session, c, u), sessionMove{}
	}
	move := sessionMove{Session: session.ID, From: session.Node, To: r.Node}
	if u.nodes != NodeMove {
		if session.OtherNode == r.Node {
			move = sessionMove{}
		} else {
			session.OtherNode, session.OtherCounter = r.Node, Counter{Received: r.Received, Sent: r.Sent, At: r.At}
		}
		return rejected(session.ID, NewError(CodeOtherNode, "node", "the session runs on another node than %q", clip(r.Node))), move
	}
	before := *session
	trails := session.OtherNode == r.Node && (stays || !r.At.IsZero() && r.At.Before(session.Counter.At))
	session.move(r.Node, r.NodeLocation)
	result := r.count(session, c, u)
	if trails {
		session.move(before.Node, before.NodeLocation)
		session.Aside = before.Aside
		move = sessionMove{}
	}
	return result, move
}

// move puts a session on another node, whose counters are its own.
func (s *Session) move(node, location string) {
	var counter Counter
	if s.OtherNode == node {
		counter = s.OtherCounter
	}
	s.OtherNode, s.OtherCounter = s.Node, s.Counter
	s.Node, s.NodeLocation, s.Counter, s.Aside = node, location, counter, Counter{}
}

// recordMoves adds the event of reports by nodes that are not their sessions'.
func (u usage) recordMoves(c *Change, moves ...sessionMove) {
	if moves = slices.DeleteFunc(moves, func(move sessionMove) bool { return move.From == "" }); len(moves) == 0 {
		return
	}
	name := EventNodeRefused
	if u.nodes == NodeMove {
		name = EventSessionMoved
	}
	u.moved.record(c, name, DeviceID{}, "sessions", moves)
}

// sessionIn gives a copy of a loaded session as the change leaves it, and its
// place in the change; nil when it is not loaded, -1 when the change has not
// touched it.
func (s *State) sessionIn(c *Change, id SessionID) (*Session, int) {
	if at := indexID(c.Sessions.Update, id, sessionID); at >= 0 {
		session := c.Sessions.Update[at]
		return &session, at
	}
	if at := indexID(s.Sessions, id, sessionID); at >= 0 {
		session := s.Sessions[at]
		return &session, -1
	}
	return nil, -1
}

// endWithoutAccess ends all the user's sessions when the traffic that the change
// counts reaches the limit, or when the user's time is over.
func (s *State) endWithoutAccess(c *Change, u usage) ([]SessionID, error) {
	reason := EndedTrafficLimit
	switch {
	case c.Account.expired(u.now):
		reason = EndedUserExpired
	case c.Account.Traffic.usedUp(u.now, u.zone):
	default:
		return nil, nil
	}
	if c.Account.OpenSessions == 0 {
		return nil, nil
	}
	if !s.complete.openSessions {
		return nil, needMore{Want{OpenSessions: true}}
	}
	return s.endSessions(c, u.now, reason, anySession), nil
}

// finish adds to a result whether the session is over.
func (r *UsageResult) finish(state *State, c *Change, u usage) {
	if r.Outcome == UsageRejected {
		return
	}
	session, _ := state.sessionIn(c, r.SessionID)
	r.Ended, r.EndReason = !session.Active(), session.EndReason
	if r.EndReason == EndedTrafficLimit {
		r.NextReset = c.Account.Traffic.NextReset(u.now, u.zone)
	}
}

func rejected(id SessionID, err error) UsageResult {
	return UsageResult{SessionID: id, Outcome: UsageRejected, Err: err}
}

// ending is what became of a session that was to end: refused says why it goes on,
// though its last reading may have counted.
type ending struct {
	session Session
	refused error
}

// endSession decides the end of a session, after a last reading if there is one.
func endSession(state *State, o origin, u usage, id SessionID, last UsageReport) (ending, Change, error) {
	c := state.change()
	session, _ := state.sessionIn(&c, id)
	if session == nil {
		return ending{}, Change{}, NewError(CodeSessionNotFound, "", "no session %s", id)
	}
	before := *session
	var counted UsageResult
	var refused error
	if last != (UsageReport{SessionID: id, Node: before.Node, NodeLocation: last.NodeLocation}) && last != (UsageReport{SessionID: id}) {
		var move sessionMove
		counted, move = last.countFrom(session, &c, u, true)
		u.recordMoves(&c, move)
		refused = counted.Err
		if refused == nil && last.Node != "" && last.Node != session.Node {
			refused = NewError(CodeOtherNode, "node", "the session has moved to another node than %q", clip(last.Node))
		}
	}
	if before.Active() && refused == nil || counted.Received > 0 || counted.Sent > 0 {
		c.Account.use(u.now)
	}
	if session.Active() && refused == nil {
		session.end(u.now, u.now, EndedByClient)
		c.Account.OpenSessions--
	}
	if *session == before {
		return ending{before, refused}, Change{}, nil
	}
	c.Sessions.Update = append(c.Sessions.Update, *session)
	ended, err := state.endWithoutAccess(&c, u)
	if err != nil {
		return ending{}, Change{}, err
	}
	if refused == nil {
		o.record(&c, EventSessionEnded, session.DeviceID, "session", id, "received", counted.Received, "sent", counted.Sent, "ended_sessions", ended)
	} else if counted.Received > 0 || counted.Sent > 0 {
		o.record(&c, EventTrafficReported, DeviceID{}, "received", counted.Received, "sent", counted.Sent, "sessions", int64(1), "ended_sessions", ended)
	}
	return ending{*session, refused}, c, nil
}

// normalise checks a new session and gives it an id.
func (n NewSession) normalise() (NewSession, error) {
	if n.ID.IsZero() {
		n.ID = NewID[Session]()
	}
	if n.Node == "" {
		return n, NewError(CodeRequired, "node", "the server that the session runs on")
	}
	if n.InternalIP.Zone() != "" {
		return n, NewError(CodeBadFormat, "internal_ip", "an address with a zone")
	}
	n.InternalIP = n.InternalIP.Unmap()
	return n, firstError(checkLine("node", n.Node, MaxLine), checkLine("node_location", n.NodeLocation, MaxLine))
}

// maxAhead is how far a node's clock may be ahead of the manager's.
const maxAhead = 24 * time.Hour

// normalise checks a reading.
func (r UsageReport) normalise(now time.Time) (UsageReport, error) {
	r.At = storedTime(r.At)
	if r.Received < 0 || r.Sent < 0 {
		return r, NewError(CodeOutOfRange, "received", "a counter is negative: %d, %d", r.Received, r.Sent)
	}
	if r.CounterBits != 0 && r.CounterBits != 32 && r.CounterBits != 64 {
		return r, NewError(CodeOutOfRange, "counter_bits", "%d is not 32 or 64", r.CounterBits)
	}
	if r.At.Sub(now) > maxAhead {
		return r, NewError(CodeOutOfRange, "at", "%s is more than %s in the future", r.At.Format(time.RFC3339), maxAhead)
	}
	if r.NodeLocation != "" && r.Node == "" {
		return r, NewError(CodeRequired, "node", "the location of a node without the node")
	}
	return r, firstError(checkLine("node", r.Node, MaxLine), checkLine("node_location", r.NodeLocation, MaxLine), checkTime("at", r.At))
}

func (m *manager) StartSession(ctx context.Context, session NewSession) (_ Session, err error) {
	ctx, call, err := enter(ctx, m, opStartSession, session.UserID)
	if err != nil {
		return Session{}, err
	}
	defer call.leave(ctx, &err)
	if session, err = session.normalise(); err != nil {
		return Session{}, err
	}
	want := Want{User: session.UserID, Profile: true, Sessions: []SessionID{session.ID}, OpenSessions: true}
	if !session.DeviceID.IsZero() {
		want.Devices = []DeviceID{session.DeviceID}
	}
	return change(ctx, m, command{want: want}, func(state *State) (Session, Change, error) {
		return session.start(state, call.origin, m)
	})
}

func (m *manager) ReportUsage(ctx context.Context, reports []UsageReport) (_ []UsageResult, err error) {
	ctx, call, err := enter(ctx, m, opReportUsage, noTarget)
	if err != nil {
		return nil, err
	}
	defer call.leave(ctx, &err)
	if len(reports) > MaxReports {
		return nil, NewError(CodeTooLong, "reports", "%d reports, at most %d", len(reports), MaxReports)
	}
	reports = slices.Clone(reports)
	results := make([]UsageResult, len(reports))
	ids := make([]SessionID, 0, len(reports))
	for i, report := range reports {
		if reports[i], err = report.normalise(call.now); err != nil {
			results[i] = rejected(report.SessionID, err)
			continue
		}
		if report.UserID.IsZero() {
			ids = append(ids, report.SessionID)
		}
	}
	var owners map[SessionID]UserID
	if len(ids) > 0 {
		if owners, err = m.store.SessionOwners(ctx, ids); err != nil {
			return nil, err
		}
	}
	byUser := map[UserID]*userReports{}
	var ordered []*userReports
	for i, report := range reports {
		if results[i].Err != nil {
			continue
		}
		owner, found := report.UserID, true
		if owner.IsZero() {
			owner, found = owners[report.SessionID]
		}
		if !found {
			results[i] = rejected(report.SessionID, NewError(CodeSessionNotFound, "session_id", "no session %s", report.SessionID))
			continue
		}
		group := byUser[owner]
		if group == nil {
			group = &userReports{command: command{want: Want{User: owner}}}
			byUser[owner] = group
			ordered = append(ordered, group)
		}
		group.reports = append(group.reports, report)
		group.places = append(group.places, i)
		group.command.want.Sessions = append(group.command.want.Sessions, report.SessionID)
	}
	commands := make([]*command, len(ordered))
	for i, group := range ordered {
		commands[i] = &group.command
		u := usage{zone: m.zone, now: call.now, events: m.usageEvents, nodes: m.nodePolicy}
		if slices.ContainsFunc(group.reports, func(report UsageReport) bool { return report.Node != "" }) {
			u.moved = call.again()
		}
		group.decide(call.again(), u)
	}
	if err := m.pipeline.do(ctx, commands...); err != nil {
		return nil, err
	}
	for _, group := range ordered {
		for i, place := range group.places {
			if err := group.command.err; err != nil {
				if ErrorCode(err) == CodeUserNotFound { // deleted meanwhile, its sessions with it
					err = NewError(CodeSessionNotFound, "session_id", "no session %s", reports[place].SessionID)
				}
				results[place] = rejected(reports[place].SessionID, err)
			} else {
				results[place] = group.results[i]
			}
		}
	}
	return results, nil
}

// userReports are the readings of one call that belong to one user.
type userReports struct {
	command command
	reports []UsageReport
	places  []int // in the call
	results []UsageResult
}

func (g *userReports) decide(o origin, u usage) {
	g.command.decide = func(state *State) (c Change, err error) {
		g.results, c, err = reportUsage(state, o, u, g.reports)
		return c, err
	}
}

func (m *manager) EndSession(ctx context.Context, id SessionID, last UsageReport) (_ Session, err error) {
	ctx, call, err := enter(ctx, m, opEndSession, id)
	if err != nil {
		return Session{}, err
	}
	defer call.leave(ctx, &err)
	if !last.SessionID.IsZero() && last.SessionID != id {
		return Session{}, NewError(CodeBadFormat, "session_id", "the report is of another session")
	}
	user := last.UserID
	last.SessionID, last.UserID = id, UserID{}
	if last, err = last.normalise(call.now); err != nil {
		return Session{}, err
	}
	session, err := m.store.Session(ctx, id)
	if err != nil {
		return Session{}, err
	}
	if !user.IsZero() && user != session.UserID {
		return Session{}, NewError(CodeSessionNotFound, "user_id", "session %s is not of user %s", id, user)
	}
	u := usage{zone: m.zone, now: call.now, nodes: m.nodePolicy, moved: call.again()}
	want := Want{User: session.UserID, Sessions: []SessionID{id}}
	end, err := change(ctx, m, command{want: want}, func(state *State) (ending, Change, error) {
		return endSession(state, call.origin, u, id, last)
	})
	if err == nil && end.refused != nil {
		return Session{}, end.refused
	}
	if ErrorCode(err) == CodeUserNotFound { // deleted meanwhile, the session with it
		err = NewError(CodeSessionNotFound, "", "no session %s", id)
	}
	return end.session, err
}

func (m *manager) CloseStaleSessions(ctx context.Context) (_ int, err error) {
	ctx, call, err := enter(ctx, m, opCloseStaleSessions, noTarget)
	if err != nil {
		return 0, err
	}
	defer call.leave(ctx, &err)
	const pageSize = 1000
	closed := 0
	for {
		before := call.now.Add(-m.staleAfter)
		stale, err := m.store.StaleSessions(ctx, before, pageSize)
		if err != nil {
			return closed, err
		}
		ended, err := m.closeStale(ctx, call, before, stale)
		closed += ended
		if err != nil || len(stale) < pageSize || ended == 0 {
			return closed, err
		}
	}
}

// closeStale ends those of the sessions that are still stale.
func (m *manager) closeStale(ctx context.Context, call call, before time.Time, stale []Session) (int, error) {
	return m.endOfUsers(ctx, call, stale, EndedStale, func(state *State, c *Change) []SessionID {
		return state.endStale(c, before, call.now)
	})
}

// endOfUsers ends open sessions of the users of some sessions, those that end ends, and
// returns how many.
func (m *manager) endOfUsers(ctx context.Context, call call, sessions []Session, reason EndReason, end func(*State, *Change) []SessionID) (int, error) {
	users := map[UserID]int{} // of each user, how many were ended
	var commands []*command
	var mu sync.Mutex
	for _, session := range sessions {
		user := session.UserID
		if _, seen := users[user]; seen {
			continue
		}
		users[user] = 0
		o := call.again()
		commands = append(commands, &command{want: Want{User: user, OpenSessions: true}, decide: func(state *State) (Change, error) {
			c := state.change()
			ended := end(state, &c)
			mu.Lock()
			users[user] = len(ended)
			mu.Unlock()
			if len(ended) == 0 {
				return Change{}, nil
			}
			o.record(&c, EventSessionEnded, DeviceID{}, "reason", string(reason), "ended_sessions", ended)
			return c, nil
		}})
	}
	if err := m.pipeline.do(ctx, commands...); err != nil {
		return 0, err
	}
	closed := 0
	var failed error
	for _, c := range commands {
		switch {
		case c.err == nil:
			closed += users[c.want.User]
		case !errors.Is(c.err, ErrNotFound) && failed == nil:
			failed = c.err
		}
	}
	return closed, failed
}

func (m *manager) EndSessions(ctx context.Context, restart NodeRestart) (_ EndedSessions, err error) {
	ctx, call, err := enter(ctx, m, opEndSessions, noTarget)
	if err != nil {
		return EndedSessions{}, err
	}
	defer call.leave(ctx, &err)
	if restart, err = restart.normalise(call.now); err != nil {
		return EndedSessions{}, err
	}
	const pageSize = 1000
	filter := SessionFilter{Node: restart.Node, State: SessionsActive, To: restart.At}
	list := List{Order: Order{Field: "started_at"}}
	var result EndedSessions
	for result.Ended < restart.Limit {
		list.Limit = min(pageSize, restart.Limit-result.Ended)
		open, err := m.store.Sessions(ctx, filter, list)
		if err != nil {
			return result, err
		}
		ended, err := m.endOnNode(ctx, call, restart, open)
		result.Ended += ended
		if err != nil || len(open) < list.Limit {
			return result, err
		}
		last := &open[len(open)-1] // goes on behind those that were, also where one did not end
		list.After = &Position{Key: last.StartedAt, ID: last.ID}
	}
	result.More = true
	return result, nil
}

// endOnNode ends the sessions on a node of the users of some sessions.
func (m *manager) endOnNode(ctx context.Context, call call, restart NodeRestart, sessions []Session) (int, error) {
	return m.endOfUsers(ctx, call, sessions, EndedNodeRestarted, func(state *State, c *Change) []SessionID {
		return state.closeSessions(c, restart.At, call.now, EndedNodeRestarted, func(session Session) bool {
			// The node that it moved from had it still when this one had restarted.
			since := m.nodePolicy == NodeMove && session.OtherNode != "" && !session.OtherCounter.At.Before(restart.At)
			return session.Node == restart.Node && session.StartedAt.Before(restart.At) && !since
		})
	})
}

// normalise checks a restart and fills in its defaults.
func (r NodeRestart) normalise(now time.Time) (NodeRestart, error) {
	if r.At = storedTime(r.At); r.At.IsZero() || r.At.After(now) {
		r.At = now
	}
	if r.Node == "" {
		return r, NewError(CodeRequired, "node", "the server that restarted")
	}
	if r.Limit == 0 {
		r.Limit = MaxReports
	}
	if r.Limit < 1 || r.Limit > MaxReports {
		return r, NewError(CodeOutOfRange, "limit", "%d is not from 1 to %d", r.Limit, MaxReports)
	}
	return r, firstError(checkLine("node", r.Node, MaxLine), checkTime("at", r.At))
}

func (m *manager) Session(ctx context.Context, id SessionID) (_ Session, err error) {
	ctx, call, err := enter(ctx, m, opSession, id)
	if err != nil {
		return Session{}, err
	}
	defer call.leave(ctx, &err)
	return m.store.Session(ctx, id)
}

func (m *manager) Sessions(ctx context.Context, query SessionQuery) (_ Page[Session], err error) {
	ctx, call, err := enterOf(ctx, m, opSessions, &query.UserID)
	if err != nil {
		return Page[Session]{}, err
	}
	defer call.leave(ctx, &err)
	filter, err := query.SessionFilter.normalise()
	if err != nil {
		return Page[Session]{}, err
	}
	order, err := sessionFields.orderOf(query.PageQuery)
	if err != nil {
		return Page[Session]{}, err
	}
	bound := []any{filter, query.Mixed}
	byEnd := order.Field == "ended_at" || order.Field == "end_reason" // the end itself is the key
	if filter.State != SessionsAny || query.Mixed && !byEnd || !filter.ClosedAfter.IsZero() || !filter.ClosedUntil.IsZero() {
		return readPage(query.PageQuery, sessionFields, "sessions", bound, func(list List) ([]Session, error) {
			return m.store.Sessions(ctx, filter, list)
		})
	}
	// What ends while somebody goes through the pages is listed where it was when they
	// began: among the active ones, and not again among those that have ended.
	active := func(list List, began time.Time) ([]Session, error) {
		filter := filter
		filter.State = SessionsActive
		if byEnd { // their keys were all the same, so that the ids say where the list is
			list.Order.Field = "id"
			if list.After != nil {
				list.After = &Position{Key: SessionID(list.After.ID).String(), ID: list.After.ID}
			}
		}
		open, err := m.store.Sessions(ctx, filter, list)
		if err != nil || began.Equal(call.now) {
			return open, err
		}
		filter.State, filter.ClosedAfter = SessionsEnded, began
		since, err := m.store.Sessions(ctx, filter, list)
		if err != nil || len(since) == 0 {
			return open, err
		}
		return mergeLists(sessionFields, list, open, since), nil
	}
	ended := func(list List, began time.Time) ([]Session, error) {
		filter := filter
		filter.State, filter.ClosedUntil = SessionsEnded, began
		return m.store.Sessions(ctx, filter, list)
	}
	parts := []part[Session]{active, ended}
	if query.Mixed && order.Descending { // who has not ended comes before all others
		parts = []part[Session]{ended, active}
	}
	return readParts(query.PageQuery, sessionFields, "sessions", bound, call.now, parts...)
}

// normalise checks a filter and completes its time span.
func (f SessionFilter) normalise() (SessionFilter, error) {
	switch f.State {
	case SessionsAny, SessionsActive, SessionsEnded:
	default:
		return f, NewError(CodeUnknownValue, "state", "%q is no session state", clip(string(f.State)))
	}
	f.From, f.To = storedTime(f.From), storedTime(f.To)
	f.ClosedAfter, f.ClosedUntil = storedTime(f.ClosedAfter), storedTime(f.ClosedUntil)
	if err := checkLine("node", f.Node, MaxLine); err != nil {
		return f, err
	}
	if f.InternalIP.Zone() != "" {
		return f, NewError(CodeBadFormat, "internal_ip", "an address with a zone")
	}
	f.InternalIP = f.InternalIP.Unmap()
	switch {
	case f.From.IsZero() && f.To.IsZero():
		return f, nil
	case f.From.IsZero():
		f.From = f.To.Add(-MaxSessionSpan)
	case f.To.IsZero():
		f.To = f.From.Add(MaxSessionSpan)
	}
	if span := f.To.Sub(f.From); span < 0 || span > MaxSessionSpan {
		return f, NewError(CodeSpanTooLong, "to", "the span is %s, and at most %s", span, MaxSessionSpan)
	}
	return f, nil
}
