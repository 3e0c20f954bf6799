package memory

import (
	"cmp"
	"context"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"time"

	"github.com/userkit/userkit"
)

// sessions holds the sessions of all users and their indexes. The sessions that
// run are few and change all the time; those that ended are many and stay: so
// they are kept apart, and a list of both is merged.
type sessions struct {
	byID   map[userkit.SessionID]*session
	open   set[session, byStart]
	ended  set[session, byStart]
	silent set[session, byReport] // the open ones, those that were silent longest first
	closed set[session, byClose]  // the ended ones, those whose end was recorded first come first

	byLength  set[session, byLength] // the ended ones, by how long they ran about
	byNode    map[word]*runs
	byAddress map[netip.Addr]*set[session, byStart] // those with an internal address
}

// runs are sessions by whether they run.
type runs struct {
	open  set[session, byStart]
	ended set[session, byStart]
}

func (r *runs) of(active bool) *set[session, byStart] {
	if active {
		return &r.open
	}
	return &r.ended
}

// history is what a user used: its sessions and its use per day.
type history struct {
	runs
	days []dayUsage // in order
}

// session is a userkit.Session as it is kept.
type session struct {
	id                    userkit.SessionID
	startedAt, reportedAt micros
	endedAt, closedAt     micros
	user                  userkit.UserID
	device                userkit.DeviceID
	deviceName            word
	node, nodeLocation    word
	internalIP            netip.Addr
	endReason             word
	received, sent        int64
	counterReceived       int64
	counterSent           int64
	counterAt             micros
	asideReceived         int64
	asideSent             int64
	asideAt               micros
	other                 *otherNode // nil: none
}

// otherNode is what few sessions have.
type otherNode struct {
	name           word
	received, sent int64
	at             micros
}

type dayUsage struct {
	day                      date
	received, sent, forgiven int64
}

type byStart struct{}

func (byStart) compare(a, b *session) int {
	if c := cmp.Compare(a.startedAt, b.startedAt); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

type byReport struct{}

func (byReport) compare(a, b *session) int {
	if c := cmp.Compare(a.reportedAt, b.reportedAt); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

type byClose struct{}

func (byClose) compare(a, b *session) int {
	if c := cmp.Compare(a.closedAt, b.closedAt); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

// byLength orders sessions by the class of their length, then by their end.
type byLength struct{}

func (byLength) compare(a, b *session) int {
	if c := cmp.Or(cmp.Compare(a.lengthClass(), b.lengthClass()), cmp.Compare(a.endedAt, b.endedAt)); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

// lengthClass returns the class of the length of a session that has ended: one of class n
// ran for less than 2^n microseconds.
func (s *session) lengthClass() int {
	return bits.Len64(uint64(max(s.endedAt-s.startedAt, 0)))
}

// spanning yields the sessions that ended at a moment or after it, and started before.
func (s *sessions) spanning(snapshot bool, moment micros) func(yield func(*session) bool) {
	ended := s.byLength.view(snapshot)
	return func(yield func(*session) bool) {
		for class := 1; class < 60; class++ { // what lies between any two times is shorter
			// The bounds are of the class: their own length is in it.
			longest := micros(1)<<class - 1
			bound := func(end micros) *session { return &session{startedAt: end - longest, endedAt: end} }
			part := span[session]{low: bound(moment), high: bound(moment + longest + 1)}
			for one := range drain(ended.cursor(part, false).next) {
				if one.startedAt < moment && !yield(one) {
					return
				}
			}
		}
	}
}

func sessionOf(user userkit.UserID, from *userkit.Session) *session {
	var other *otherNode
	if from.OtherNode != "" || from.OtherCounter != (userkit.Counter{}) {
		other = &otherNode{wordOf(from.OtherNode), from.OtherCounter.Received, from.OtherCounter.Sent, microsOf(from.OtherCounter.At)}
	}
	return &session{
		other:           other,
		id:              from.ID,
		user:            user,
		device:          from.DeviceID,
		deviceName:      wordOf(from.DeviceName),
		node:            wordOf(from.Node),
		nodeLocation:    wordOf(from.NodeLocation),
		internalIP:      from.InternalIP,
		startedAt:       microsOf(from.StartedAt),
		endedAt:         microsOf(from.EndedAt),
		closedAt:        microsOf(from.ClosedAt),
		endReason:       wordOf(from.EndReason),
		received:        from.Received,
		sent:            from.Sent,
		counterReceived: from.Counter.Received,
		counterSent:     from.Counter.Sent,
		counterAt:       microsOf(from.Counter.At),
		asideReceived:   from.Aside.Received,
		asideSent:       from.Aside.Sent,
		asideAt:         microsOf(from.Aside.At),
		reportedAt:      microsOf(from.ReportedAt),
	}
}

func (s *session) fill(to *userkit.Session) {
	*to = userkit.Session{
		ID:           s.id,
		UserID:       s.user,
		DeviceID:     s.device,
		DeviceName:   s.deviceName.Value(),
		Node:         s.node.Value(),
		NodeLocation: s.nodeLocation.Value(),
		InternalIP:   s.internalIP,
		StartedAt:    s.startedAt.time(),
		EndedAt:      s.endedAt.time(),
		ClosedAt:     s.closedAt.time(),
		EndReason:    userkit.EndReason(s.endReason.Value()),
		Received:     s.received,
		Sent:         s.sent,
		Counter: userkit.Counter{
			Received: s.counterReceived,
			Sent:     s.counterSent,
			At:       s.counterAt.time(),
		},
		Aside: userkit.Counter{
			Received: s.asideReceived,
			Sent:     s.asideSent,
			At:       s.asideAt.time(),
		},
		ReportedAt: s.reportedAt.time(),
	}
	if other := s.other; other != nil {
		to.OtherNode = other.name.Value()
		to.OtherCounter = userkit.Counter{Received: other.received, Sent: other.sent, At: other.at.time()}
	}
}

func (s *session) out() (to userkit.Session) {
	s.fill(&to)
	return to
}

func (s *session) active() bool { return s.endedAt == none }

func (s *sessions) of(active bool) *set[session, byStart] {
	if active {
		return &s.open
	}
	return &s.ended
}

// put adds a session, or puts it in the place of the one with its id.
func (s *sessions) put(own *belongings, next *session) {
	if own.sessions == nil {
		own.sessions = &history{}
	}
	if before := s.byID[next.id]; before != nil {
		if before.active() != next.active() || before.startedAt != next.startedAt {
			s.of(before.active()).remove(before)
			own.sessions.of(before.active()).remove(before)
		}
		if before.active() && (!next.active() || before.reportedAt != next.reportedAt) {
			s.silent.remove(before)
		}
		if !before.active() {
			s.closed.remove(before)
			s.byLength.remove(before)
		}
		if before.active() != next.active() || before.startedAt != next.startedAt || before.node != next.node || before.internalIP != next.internalIP {
			s.leave(before)
		}
	}
	s.join(next)
	s.byID[next.id] = next
	s.of(next.active()).put(next)
	own.sessions.of(next.active()).put(next)
	if next.active() {
		s.silent.put(next)
	} else {
		s.closed.put(next)
		s.byLength.put(next)
	}
}

// join adds a session to the indexes of nodes and addresses, and leave takes it out.
func (s *sessions) join(next *session) {
	if s.byNode[next.node] == nil {
		s.byNode[next.node] = &runs{}
	}
	s.byNode[next.node].of(next.active()).put(next)
	if next.internalIP.IsValid() {
		if s.byAddress[next.internalIP] == nil {
			s.byAddress[next.internalIP] = &set[session, byStart]{}
		}
		s.byAddress[next.internalIP].put(next)
	}
}

func (s *sessions) leave(gone *session) {
	on := s.byNode[gone.node]
	if on.of(gone.active()).remove(gone); on.open.len()+on.ended.len() == 0 {
		delete(s.byNode, gone.node)
	}
	if with := s.byAddress[gone.internalIP]; with != nil {
		if with.remove(gone); with.len() == 0 {
			delete(s.byAddress, gone.internalIP)
		}
	}
}

// remove takes a session out of the indexes of the project.
func (s *sessions) remove(gone *session) {
	delete(s.byID, gone.id)
	s.leave(gone)
	s.of(gone.active()).remove(gone)
	if gone.active() {
		s.silent.remove(gone)
	} else {
		s.closed.remove(gone)
		s.byLength.remove(gone)
	}
}

// use adds to the figures of a day.
func (h *history) use(more dayUsage) {
	at, found := slices.BinarySearchFunc(h.days, more.day, func(d dayUsage, day date) int { return cmp.Compare(d.day, day) })
	if !found {
		h.days = slices.Insert(h.days, at, more)
		return
	}
	day := &h.days[at]
	day.received = addBytes(day.received, more.received)
	day.sent = addBytes(day.sent, more.sent)
	day.forgiven = addBytes(day.forgiven, more.forgiven)
}

// addBytes adds and stops at the largest int64. Counts of bytes are not negative.
func addBytes(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// in returns the days from one to another, both included.
func (h *history) in(from, to date) []dayUsage {
	at, _ := slices.BinarySearchFunc(h.days, from, func(d dayUsage, day date) int { return cmp.Compare(d.day, day) })
	end := at
	for end < len(h.days) && h.days[end].day <= to {
		end++
	}
	return h.days[at:end]
}

// between returns the figures of the days from one to another, both included.
func (h *history) between(from, to date) []userkit.DayUsage {
	found := []userkit.DayUsage{}
	for _, d := range h.in(from, to) {
		found = append(found, userkit.DayUsage{Day: d.day.day(), Received: d.received, Sent: d.sent, Forgiven: d.forgiven})
	}
	return found
}

// Session returns one session.
func (s *Store) Session(ctx context.Context, id userkit.SessionID) (userkit.Session, error) {
	if err := s.ready(ctx); err != nil {
		return userkit.Session{}, err
	}
	s.mu.RLock()
	found := s.sessions.byID[id]
	s.mu.RUnlock()
	if found == nil {
		return userkit.Session{}, userkit.NewError(userkit.CodeSessionNotFound, "", "no session %s", id)
	}
	return found.out(), nil
}

// SessionOwners returns the users of sessions; unknown sessions are left out.
func (s *Store) SessionOwners(ctx context.Context, ids []userkit.SessionID) (map[userkit.SessionID]userkit.UserID, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	owners := make(map[userkit.SessionID]userkit.UserID, len(ids))
	for some := range slices.Chunk(ids, breath) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.mu.RLock()
		for _, id := range some {
			if found := s.sessions.byID[id]; found != nil {
				owners[id] = found.user
			}
		}
		s.mu.RUnlock()
	}
	return owners, nil
}

var sessionFields = fieldsByName(userkit.SessionFields())

// Sessions lists sessions by any sortable field of userkit.SessionFields. The
// order started_at has an index.
func (s *Store) Sessions(ctx context.Context, filter userkit.SessionFilter, list userkit.ListRange) ([]userkit.Session, error) {
	return sessionQuery.page(ctx, s, list, s.openSessions(filter, list))
}

// CountSessions counts the sessions of a filter.
func (s *Store) CountSessions(ctx context.Context, filter userkit.SessionFilter) (int64, error) {
	return count(ctx, s, s.openSessions(filter, userkit.ListRange{}))
}

var sessionQuery = query[session, userkit.Session]{
	fields: sessionFields,
	id:     func(s *session) [16]byte { return s.id },
	fill:   (*session).fill,
	out:    (*session).out,
}

// openSessions returns what opens the sessions of a filter for a list.
func (s *Store) openSessions(filter userkit.SessionFilter, list userkit.ListRange) func(snapshot bool) source[session] {
	return func(snapshot bool) source[session] {
		from := source[session]{}
		from.match = matchSession(filter)
		var open, ended set[session, byStart]
		of := s.sessions.of
		switch {
		case !filter.UserID.IsZero():
			of = new(runs).of
			if own := s.users.belongings(filter.UserID); own != nil && own.sessions != nil {
				of = own.sessions.of
			}
		case filter.InternalIP.IsValid():
			mixed := s.sessions.byAddress[filter.InternalIP]
			of = func(active bool) *set[session, byStart] {
				if mixed == nil || active != (filter.State != userkit.SessionsEnded) {
					return &set[session, byStart]{} // once is enough
				}
				return mixed
			}
		case filter.Node != "":
			of = new(runs).of
			if on := s.sessions.byNode[wordOf(filter.Node)]; on != nil {
				of = on.of
			}
		}
		if filter.State != userkit.SessionsEnded {
			open = of(true).view(snapshot)
		}
		if filter.State != userkit.SessionsActive {
			ended = of(false).view(snapshot)
		}

		if !filter.ClosedAfter.IsZero() && filter.UserID.IsZero() {
			// Few, as a rule: those that ended while somebody goes through the pages.
			after := &session{closedAt: microsOf(filter.ClosedAfter) + 1}
			from.all = drain(s.sessions.closed.view(snapshot).cursor(span[session]{low: after}, false).next)
			return from
		}
		if filter.Overlaps && !filter.From.IsZero() && filter.UserID.IsZero() && !filter.InternalIP.IsValid() {
			begin := microsOf(filter.From)
			since, before := span[session]{low: &session{startedAt: begin}}, span[session]{high: &session{startedAt: begin}}
			if !filter.To.IsZero() {
				since.high = &session{startedAt: microsOf(filter.To) + 1}
			}
			started := merge(open.cursor(since, false), ended.cursor(since, false), false)
			running := open.cursor(before, false)
			spanning := s.sessions.spanning(snapshot, begin)
			from.all = func(yield func(*session) bool) {
				for _, rows := range []func(func(*session) bool){drain(started.next), drain(running.next), spanning} {
					for one := range rows {
						if !yield(one) {
							return
						}
					}
				}
			}
			return from
		}
		var part span[session]
		switch {
		case filter.Overlaps && !filter.To.IsZero():
			part.high = &session{startedAt: microsOf(filter.To) + 1}
		case filter.Overlaps: // matched
		default:
			if !filter.From.IsZero() {
				part.low = &session{startedAt: microsOf(filter.From)}
			}
			if !filter.To.IsZero() {
				part.high = &session{startedAt: microsOf(filter.To)}
			}
		}
		indexed := list.Order.Field == "started_at"
		if indexed && list.After != nil {
			part.after = &session{startedAt: microsOf(list.After.Key.(time.Time)), id: list.After.ID}
		}
		descending := indexed && list.Order.Descending
		rows := merge(open.cursor(part, descending), ended.cursor(part, descending), descending).next
		if indexed {
			from.rows = rows
		} else {
			from.all = drain(rows)
		}
		return from
	}
}

// matchSession returns what a filter asks of a session beyond its user and its state.
func matchSession(filter userkit.SessionFilter) func(*session) bool {
	var parts []func(*session) bool
	if filter.InternalIP.IsValid() {
		parts = append(parts, func(s *session) bool { return s.internalIP == filter.InternalIP })
	}
	if filter.State != userkit.SessionsAny { // beside those of a source that has others
		active := filter.State == userkit.SessionsActive
		parts = append(parts, func(s *session) bool { return s.active() == active })
	}
	if filter.Node != "" {
		node := wordOf(filter.Node)
		parts = append(parts, func(s *session) bool { return s.node == node })
	}
	if !filter.DeviceID.IsZero() {
		parts = append(parts, func(s *session) bool { return s.device == filter.DeviceID })
	}
	if filter.Overlaps {
		from, to := microsOf(filter.From), microsOf(filter.To)
		parts = append(parts, func(s *session) bool {
			return (from == none || s.active() || s.endedAt >= from) && (to == none || s.startedAt <= to)
		})
		filter.From, filter.To = time.Time{}, time.Time{}
	}
	if after := microsOf(filter.ClosedAfter); !filter.ClosedAfter.IsZero() {
		// Those of one user, or of all, are found by this alone as well.
		from, to := microsOf(filter.From), microsOf(filter.To)
		parts = append(parts, func(s *session) bool {
			return !s.active() && s.closedAt > after && filter.State != userkit.SessionsActive &&
				(filter.From.IsZero() || s.startedAt >= from) && (filter.To.IsZero() || s.startedAt < to)
		})
	}
	if until := microsOf(filter.ClosedUntil); !filter.ClosedUntil.IsZero() {
		parts = append(parts, func(s *session) bool { return !s.active() && s.closedAt <= until })
	}
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return parts[0]
	}
	return func(s *session) bool {
		return !slices.ContainsFunc(parts, func(part func(*session) bool) bool { return !part(s) })
	}
}

// StaleSessions returns at most limit active sessions whose ReportedAt is before
// the given time, those that were silent longest first.
func (s *Store) StaleSessions(ctx context.Context, before time.Time, limit int) ([]userkit.Session, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	silent := s.sessions.silent.snapshot()
	s.mu.Unlock()
	found := []userkit.Session{}
	walk := silent.cursor(span[session]{high: &session{reportedAt: microsOf(before)}}, false)
	for len(found) < limit {
		next := walk.next()
		if next == nil {
			break
		}
		found = append(found, next.out())
	}
	return found, nil
}

// Usage lists the use of a user, or of all users together, per day, in order, from and to
// included.
func (s *Store) Usage(ctx context.Context, user userkit.UserID, from, to userkit.Day) ([]userkit.DayUsage, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if user.IsZero() {
		return s.usageOfAll(ctx, max(dateOf(from), usageBefore+1), dateOf(to))
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if own := s.users.belongings(user); own != nil && own.sessions != nil {
		return own.sessions.between(dateOf(from), dateOf(to)), nil
	}
	return []userkit.DayUsage{}, nil
}

// usageOfAll adds up the use of all users.
func (s *Store) usageOfAll(ctx context.Context, from, to date) ([]userkit.DayUsage, error) {
	var sums history
	seen := 0
	for range withUsers(s, func(own *belongings) bool {
		if own.sessions != nil {
			for _, day := range own.sessions.in(from, to) {
				sums.use(day)
			}
		}
		seen++
		return seen%breath == 0
	}) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return sums.between(from, to), nil
}
