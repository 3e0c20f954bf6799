package userkit

import (
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
	EndedStale         EndReason = "stale"         // no report within the time of WithStaleAfter
	EndedTrafficLimit  EndReason = "traffic_limit" // the traffic limit was reached
	EndedUserExpired   EndReason = "user_expired"  // the user expired
	EndedUserDisabled  EndReason = "user_disabled" // DeactivateUser
	EndedDeviceDeleted EndReason = "device_deleted"
	EndedReplaced      EndReason = "replaced"       // a newer session replaced it, or its device registered again
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

	DeviceID   DeviceID `json:"device_id,omitzero"`    // zero: without a device; kept after the device is deleted
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

	// OtherNode is the last node other than Node that reported on the session: the node that the
	// session moved from, or one whose reports are refused; see NodePolicy. OtherCounter is the
	// newest reading of that node.
	OtherNode    string  `json:"other_node,omitempty"`
	OtherCounter Counter `json:"other_counter,omitzero"`

	// Counter is the newest reading that was counted. Aside is a reading that was out of order,
	// against which the next one is checked; see UsageReport. ReportedAt is when the last sign of
	// life arrived, by the manager's clock.
	Counter    Counter   `json:"counter"`
	Aside      Counter   `json:"aside,omitzero"`
	ReportedAt time.Time `json:"reported_at"`
}

// Active reports whether the session has not ended.
func (s Session) Active() bool { return s.EndedAt.IsZero() }

// NewSession describes a session to start.
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

	// UserID is the user of the session, if the node knows it, which saves a look-up. If the
	// session belongs to another user, it is not found. Zero: the user is looked up.
	UserID UserID `json:"user_id,omitzero"`

	// Node is the server that read the counters, at most MaxLine characters. If it is not the node
	// of the session, the NodePolicy decides what happens. Empty: the node of the session.
	Node         string `json:"node,omitempty"`
	NodeLocation string `json:"node_location,omitempty"` // only with Node: its location, for a session that moves

	Received int64 `json:"received"` // bytes since the counter began, not since the last report
	Sent     int64 `json:"sent"`     // bytes since the counter began

	// CounterBits is the width of the node's counters: 32 or 64. A counter of 32 bits that is lower
	// than before by more than half of its range has wrapped around, and counting continues. 0: not
	// known. In that case a counter is taken for one of 32 bits that has wrapped if it alone is
	// lower, because both counters restart when a node restarts.
	CounterBits int `json:"counter_bits,omitempty"`

	// At is when the node read the counters. It determines the order of reports. Zero: now, in
	// which case a counter that restarted cannot be distinguished from a late report.
	//
	// A node's clock may be ahead by a day; bytes of the future are attributed to now. The clock
	// may also be set back: a reading older than the newest is counted as far as its counters
	// exceed all that the session has counted, and two such readings in a row, between which the
	// node's clock advanced as the manager's did, restart the order.
	At time.Time `json:"at,omitzero"`
}

// NodePolicy says what happens when a node reports on a session of another node.
type NodePolicy string

// The node policies.
const (
	// NodeRefuse rejects the report with CodeOtherNode, and counts nothing. The first such report
	// of each node writes EventNodeRefused.
	NodeRefuse NodePolicy = "refuse"

	// NodeMove moves the session to the node and writes EventSessionMoved. Each node has its own
	// counters: those of the new node count from zero, and those of the node that the session last
	// moved from continue where they were, so that nothing is counted twice if the session returns.
	// A reading of that node that is older than the newest reading of the session is counted and
	// does not move the session.
	NodeMove NodePolicy = "move"
)

// UsageOutcome is the outcome of a report.
type UsageOutcome string

// The outcomes of a report.
const (
	UsageCounted   UsageOutcome = "counted"   // its bytes beyond the last reading are counted
	UsageRepeated  UsageOutcome = "repeated"  // this reading is known, perhaps from an attempt whose answer was lost; nothing is counted
	UsageLate      UsageOutcome = "late"      // a newer reading was counted; nothing is counted
	UsageRestarted UsageOutcome = "restarted" // a counter restarted; all its bytes are counted
	UsageRejected  UsageOutcome = "rejected"  // see UsageResult.Err
)

// UsageResult is the outcome of one report.
type UsageResult struct {
	SessionID SessionID    `json:"session_id"`
	Outcome   UsageOutcome `json:"outcome"`
	Received  int64        `json:"received"` // bytes that counted now
	Sent      int64        `json:"sent"`     // bytes that counted now

	// Ended means that the session has ended, by this report or before it, and that the node must
	// drop the connection; EndReason says why.
	Ended     bool      `json:"ended"`
	EndReason EndReason `json:"end_reason,omitempty"`
	NextReset time.Time `json:"next_reset,omitzero"` // with EndedTrafficLimit: when the traffic limit is reset

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

// SessionPolicy says what happens when a session is started while too many are running.
type SessionPolicy string

// The session policies.
const (
	SessionRefuse    SessionPolicy = "refuse"
	SessionEndOldest SessionPolicy = "end_oldest"
)

// SessionLimits limits the number of concurrent sessions.
type SessionLimits struct {
	PerUser   int           `json:"per_user,omitempty"`   // 0: unlimited
	PerDevice int           `json:"per_device,omitempty"` // 0: unlimited
	Policy    SessionPolicy `json:"policy,omitempty"`     // empty: SessionRefuse
}

// SessionState says which sessions a filter selects.
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

	// From and To select the sessions that started in [From, To), a span of at most MaxSessionSpan.
	// If one of them is zero, it is set at that distance from the other; if both are zero, all
	// sessions are selected.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`

	// Overlaps selects instead the sessions that were running at any moment of the span, including
	// both ends: those that started at or before To and did not end before From. From and To may be
	// the same moment. Without From and To it has no effect.
	Overlaps bool `json:"overlaps,omitempty"`

	// ClosedAfter and ClosedUntil select the ended sessions whose end was recorded after
	// ClosedAfter and not after ClosedUntil; zero: no bound.
	ClosedAfter time.Time `json:"closed_after,omitzero"`
	ClosedUntil time.Time `json:"closed_until,omitzero"`
}

// NodeRestart describes the restart of a node, after which none of its earlier sessions is running.
type NodeRestart struct {
	Node string `json:"node"` // required, at most MaxLine characters

	// At is when the node restarted: the sessions that started before are ended. Zero: now. A host
	// that repeats the call passes the same time, so that it does not end sessions that have
	// started since, nor, with NodeMove, sessions that another node reported on at that time or
	// later and that have moved to this node since.
	At time.Time `json:"at,omitzero"`

	// Limit is about how many sessions one call ends, from 1 to MaxReports; 0 means MaxReports.
	Limit int `json:"limit,omitempty"`
}

// EndedSessions is the result of EndSessions.
type EndedSessions struct {
	Ended int  `json:"ended"` // how many sessions
	More  bool `json:"more"`  // the limit was reached; the same call ends the rest
}

// SessionManager starts and ends sessions and counts their traffic.
type SessionManager interface {
	// StartSession starts a session. It returns ErrRefused with the reason if the user has no
	// access now (see Access; with CodeTrafficLimit, Error.Until is the next reset), with
	// CodeNoDeviceSlot if the device has no slot, and with CodeSessionLimit if too many sessions
	// are running and the policy is to refuse. It returns ErrNotFound with CodeUserNotFound, or
	// with CodeDeviceNotFound when the device is not one of the user's, and ErrExists with
	// CodeIDTaken.
	StartSession(ctx context.Context, session NewSession) (Session, error)

	// ReportUsage counts readings of many sessions, and returns a result for each report, in the
	// order of the reports. A report that is repeated, late or out of order is never counted twice.
	// Bytes are attributed to the days between the last reading and this one in proportion to the
	// time. Reaching the traffic limit ends all sessions of the user in the same commit, and so
	// does the expiration of the user. Readings are kept in the session and in the usage of the
	// day, and write an event (EventTrafficReported) only if they reach the traffic limit or end
	// sessions; see WithUsageEvents. A report for a session that has ended is still counted, and
	// its result says that the session has ended; a session that was closed as stale then ends at
	// the time of the report. An error is returned only if nothing was done: ErrInvalid with
	// CodeTooLong for more than MaxReports.
	ReportUsage(ctx context.Context, reports []UsageReport) ([]UsageResult, error)

	// EndSession counts a last reading and ends the session. The zero report ends it without a
	// reading. Ending a session that has already ended is not an error: the reading is counted, and
	// the end is unchanged. It returns ErrRefused with CodeOtherNode, and the session continues, if
	// the report is from a node that NodeRefuse refuses, or from the node that the session moved
	// from; a reading of the latter is counted.
	EndSession(ctx context.Context, id SessionID, last UsageReport) (Session, error)

	// EndSessions ends the active sessions of a node that restarted, each at the moment
	// of the restart, with EndedNodeRestarted and one event for each user. It works in chunks: if
	// the context ends or the store fails, the sessions that have ended remain ended and are
	// counted in the result, and the same call ends the rest. Readings that the node sends
	// afterwards are still counted.
	EndSessions(ctx context.Context, restart NodeRestart) (EndedSessions, error)

	// CloseStaleSessions ends the sessions without a sign of life for the time of WithStaleAfter,
	// each at its last sign of life, and returns their number. Run calls this method; many
	// processes may call it at once.
	CloseStaleSessions(ctx context.Context) (int, error)

	// Session returns one session, or ErrNotFound with CodeSessionNotFound.
	Session(ctx context.Context, id SessionID) (Session, error)

	// Sessions returns a page of sessions. A session that ends while pages are read is listed once.
	// It returns ErrInvalid with CodeSpanTooLong when the time span is over MaxSessionSpan.
	Sessions(ctx context.Context, query SessionQuery) (Page[Session], error)

	// CountSessions returns how many sessions a query has on all of its pages together, as they are now.
	// The PageQuery of the query does not matter.
	CountSessions(ctx context.Context, query SessionQuery) (int64, error)

	// SetTrafficLimit sets a user's limit; resetUsage resets the usage of the current period to
	// zero. The real usage remains in the usage of the days. A limit with another reset strategy
	// counts the usage in its own current period, less the bytes that resets have forgiven. If the
	// new limit is already reached, the user's sessions end.
	SetTrafficLimit(ctx context.Context, user UserID, limit TrafficLimit, resetUsage bool) (User, error)

	// Traffic returns the usage of a user per day from one day to another, both included, without
	// the days that have no usage. The zero id stands for all users together: the usage of deleted
	// users is not in the sums, and neither is UsageBefore. It returns ErrInvalid with
	// CodeSpanTooLong for more than MaxTrafficDays days, or MaxProjectTrafficDays of all users,
	// whose usage of each day is added up.
	Traffic(ctx context.Context, user UserID, from, to Day) ([]DayUsage, error)
}

// MaxReports is the maximum number of reports that one call of ReportUsage accepts.
const MaxReports = 100_000

// MaxTrafficDays is the maximum number of days that one call of Traffic returns.
const MaxTrafficDays = 3660

// MaxProjectTrafficDays is the maximum number of days that one call of Traffic returns for all
// users.
const MaxProjectTrafficDays = 92

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
		return nil, NewError(CodeTooLong, "reports", "%d reports exceed the limit of %d", len(reports), MaxReports)
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
		return Session{}, NewError(CodeBadFormat, "session_id", "the report is about another session")
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
		return Session{}, NewError(CodeSessionNotFound, "user_id", "session %s does not belong to user %s", id, user)
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
		clock, err := m.dutyClock(ctx)
		if err != nil {
			return closed, err
		}
		call.now = clock.now()
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

// endOfUsers ends, with the function end, open sessions of the users of some sessions, and returns
// how many it ended.
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
	list := ListRange{Order: Order{Field: "started_at"}}
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
		last := &open[len(open)-1] // continues after those sessions, even if one of them did not end
		list.After = &ListPosition{Key: last.StartedAt, ID: last.ID}
	}
	result.More = true
	return result, nil
}

// endOnNode ends the sessions on a node of the users of some sessions.
func (m *manager) endOnNode(ctx context.Context, call call, restart NodeRestart, sessions []Session) (int, error) {
	return m.endOfUsers(ctx, call, sessions, EndedNodeRestarted, func(state *State, c *Change) []SessionID {
		return state.closeSessions(c, restart.At, call.now, EndedNodeRestarted, func(session Session) bool {
			// The session was still on the node that it moved from when this node restarted.
			since := m.nodePolicy == NodeMove && session.OtherNode != "" && !session.OtherCounter.At.Before(restart.At)
			return session.Node == restart.Node && session.StartedAt.Before(restart.At) && !since
		})
	})
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
		return readPage(query.PageQuery, sessionFields, "sessions", bound, func(list ListRange) ([]Session, error) {
			return m.store.Sessions(ctx, filter, list)
		})
	}
	// What ends while somebody goes through the pages is listed where it was when they
	// began: among the active ones, and not again among those that have ended.
	active := func(list ListRange, began time.Time) ([]Session, error) {
		filter := filter
		filter.State = SessionsActive
		if byEnd { // their keys were all the same, so the ids determine the place in the list
			list.Order.Field = "id"
			if list.After != nil {
				list.After = &ListPosition{Key: SessionID(list.After.ID).String(), ID: list.After.ID}
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
	ended := func(list ListRange, began time.Time) ([]Session, error) {
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

func (m *manager) CountSessions(ctx context.Context, query SessionQuery) (_ int64, err error) {
	ctx, call, err := enterOf(ctx, m, opCountSessions, &query.UserID)
	if err != nil {
		return 0, err
	}
	defer call.leave(ctx, &err)
	filter, err := query.SessionFilter.normalise()
	if err != nil {
		return 0, err
	}
	return m.store.CountSessions(ctx, filter)
}
