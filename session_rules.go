package userkit

import (
	"cmp"
	"slices"
	"time"
)

// start decides the start of a session.
func (n NewSession) start(state *State, o origin, m *manager) (Session, Change, error) {
	if indexID(state.Sessions, n.ID, sessionID) >= 0 {
		return Session{}, Change{}, Taken("session", "id")
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
			return NewError(CodeSessionLimit, "", "%d sessions are open, and the limit is %d", len(open), limit)
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

// endSessions ends the active sessions that which reports true of, as far as they are
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

// end ends a session. Clocks step back, and those of two processes differ, but a session never ends
// before it started.
func (s *Session) end(at, closed time.Time, reason EndReason) {
	s.EndedAt, s.ClosedAt, s.EndReason = latest(at, s.StartedAt), closed, reason
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

// advance is how far one counter has advanced.
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

// advances judges both counters. They restart together, but wrap independently: so one has not
// wrapped if the other restarted and, if the width is unknown, has wrapped only if the other stayed
// the same or went on.
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

// maxJump is how far ahead of the manager's clock the first reading of a restarted counter may be,
// unless the reading before was as far ahead.
const maxJump = 5 * time.Minute

// follows reports whether a reading that comes now was made after the one that came
// with the report before: between the two, the node's clock went on as the manager's
// did. Readings that waited for each other, or that are sent again, do not follow.
func follows(before, at, reported, now time.Time) bool {
	passed := now.Sub(reported)
	return !before.IsZero() && passed > 0 && (at.Sub(before)-passed).Abs() <= min(passed/2, maxDelay+passed/10)
}

// maxDelay is by how much one report may take longer to arrive than the next, beside a
// share of the time between them.
const maxDelay = 5 * time.Second

// count decides what a reading adds to a session.
//
// Readings are put in order by the node's clock. One that is behind the newest may be late, or the
// clock was set back, and by itself it does not tell which. It counts only what it proves: a
// counter that is higher than everything counted so far has counted that much. It is also put
// aside: if the next report has a reading that follows it, the clock was set back, and the order
// begins there.
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
		switch {
		case anew:
			session.Aside = last // by this, a repetition of it is recognised
		case aside.At.Before(at):
			session.Aside = Counter{} // the next one that is late does not come right after it
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
	if !newer || at.Before(session.StartedAt) { // the time of such a clock is not used for the session
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

// countFrom decides what a reading adds to a session, and whether the session moves to the
// reporting node. A session that stays does not move back to where it was. The move has a From when
// there is something to record.
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

// sessionIn returns a copy of a loaded session as the change leaves it, and its
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

// ending is the outcome for a session that was to end: refused says why it goes on, in which case
// its last reading may nevertheless have counted.
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

// normalise checks a new session and makes an id for one that has none.
func (n NewSession) normalise() (NewSession, error) {
	if n.ID.IsZero() {
		n.ID = NewID[Session]()
	}
	if n.Node == "" {
		return n, NewError(CodeRequired, "node", "the server that the session runs on is required")
	}
	if n.InternalIP.Zone() != "" {
		return n, NewError(CodeBadFormat, "internal_ip", "an address cannot have a zone")
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
		return r, NewError(CodeRequired, "node", "a location needs the node that it belongs to")
	}
	return r, firstError(checkLine("node", r.Node, MaxLine), checkLine("node_location", r.NodeLocation, MaxLine), checkTime("at", r.At))
}

// normalise checks a restart and fills in its defaults.
func (r NodeRestart) normalise(now time.Time) (NodeRestart, error) {
	if r.At = storedTime(r.At); r.At.IsZero() || r.At.After(now) {
		r.At = now
	}
	if r.Node == "" {
		return r, NewError(CodeRequired, "node", "the server that restarted is required")
	}
	if r.Limit == 0 {
		r.Limit = MaxReports
	}
	if r.Limit < 1 || r.Limit > MaxReports {
		return r, NewError(CodeOutOfRange, "limit", "%d is outside the range 1 to %d", r.Limit, MaxReports)
	}
	return r, firstError(checkLine("node", r.Node, MaxLine), checkTime("at", r.At))
}

// normalise checks a filter and completes its time span.
func (f SessionFilter) normalise() (SessionFilter, error) {
	switch f.State {
	case SessionsAny, SessionsActive, SessionsEnded:
	default:
		return f, NewError(CodeUnknownValue, "state", "unknown session state %q", clip(string(f.State)))
	}
	f.From, f.To = storedTime(f.From), storedTime(f.To)
	f.ClosedAfter, f.ClosedUntil = storedTime(f.ClosedAfter), storedTime(f.ClosedUntil)
	if err := checkLine("node", f.Node, MaxLine); err != nil {
		return f, err
	}
	if f.InternalIP.Zone() != "" {
		return f, NewError(CodeBadFormat, "internal_ip", "an address cannot have a zone")
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
		return f, NewError(CodeSpanTooLong, "to", "the span of %s exceeds the limit of %s", span, MaxSessionSpan)
	}
	return f, nil
}
