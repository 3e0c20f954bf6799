package userkit

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxSegmentName is the maximum length of the name of a segment, in characters.
const MaxSegmentName = 128

// MaxSegmentsPerCall is the maximum number of segments that one call adds a user to.
const MaxSegmentsPerCall = 100

// Segment is a named set of users: a list, to which users are added and from
// which they are removed one by one, or a rule, whose members are the users who match its filter at
// the moment of the query. Deleting a segment does not change its users.
type Segment struct {
	ID   SegmentID `json:"id"`
	Name string    `json:"name"` // unique in the project by SegmentNameKey

	// Rule is the filter of a rule; zero: the segment is a list. It refers to other segments by
	// their ids, so that they may be renamed.
	Rule Filter `json:"rule,omitzero"`

	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Revision  int64     `json:"revision"` // counts from 1; adding and removing members does not change it
}

// IsRule reports whether the segment is a rule.
func (s Segment) IsRule() bool { return !s.Rule.IsZero() }

// NewSegment describes a segment to create.
type NewSegment struct {
	ID   SegmentID `json:"id,omitzero"`   // zero: a new one
	Name string    `json:"name"`          // required; 1 to MaxSegmentName characters
	Rule Filter    `json:"rule,omitzero"` // zero: a list
}

// SegmentPatch says which fields of a segment to set; the others stay unchanged.
type SegmentPatch struct {
	// Revision, if not zero, must be that of the segment; otherwise the edit is refused with
	// ErrConflict and CodeRevisionMismatch.
	Revision int64 `json:"revision,omitzero"`

	Name Optional[string] `json:"name,omitzero"`
	// Rule sets another rule. A list cannot become a rule, and a rule becomes a list only by
	// FreezeSegment.
	Rule Optional[Filter] `json:"rule,omitzero"`
}

// SegmentKind says which segments a filter selects.
type SegmentKind string

// The kinds of segment; empty means all.
const (
	SegmentList SegmentKind = "list"
	SegmentRule SegmentKind = "rule"
)

// SegmentFilter says which segments; the zero filter means all.
type SegmentFilter struct {
	Search string      `json:"search,omitempty"` // a part of the name, compared in folded form; empty: any name
	Kind   SegmentKind `json:"kind,omitempty"`   // empty: all
}

// SegmentQuery asks for a page of segments.
type SegmentQuery struct {
	SegmentFilter
	RefersTo  SegmentID `json:"refers_to,omitzero"` // only rules that refer directly to this segment; zero: all segments
	PageQuery           // default order: by name; any field of SegmentFields
}

// SegmentManager keeps segments and their members. Use UserFilter.Segment to list, count and walk
// the users of a segment.
//
// Calls that name a segment return ErrNotFound with CodeSegmentNotFound when
// there is none.
type SegmentManager interface {
	// CreateSegment creates a segment. It returns ErrExists with
	// CodeSegmentNameTaken or CodeIDTaken, and ErrInvalid for an invalid name or rule: with
	// CodeUnknownSegment if the rule refers to a segment that does not exist, and with
	// CodeSegmentCycle if the rule refers to itself, directly or through others.
	CreateSegment(ctx context.Context, segment NewSegment) (Segment, error)

	// Segment returns one segment.
	Segment(ctx context.Context, id SegmentID) (Segment, error)

	// UpdateSegment renames a segment or sets another rule. It returns the errors of CreateSegment,
	// ErrConflict with CodeRevisionMismatch, and ErrInvalid with CodeSegmentIsList for the rule of
	// a list. It returns ErrRefused with CodeSegmentInUse for a rule with which other rules that
	// refer to the segment, directly or indirectly, could no longer be evaluated; the error names
	// these rules. A patch that changes nothing writes nothing.
	UpdateSegment(ctx context.Context, id SegmentID, patch SegmentPatch) (Segment, error)

	// DeleteSegment deletes a segment, but not its users. It returns ErrRefused with
	// CodeSegmentInUse while rules refer to the segment (see SegmentQuery.RefersTo); the error
	// names these rules. Other filters that refer to the segment are refused from then on with
	// ErrInvalid and CodeUnknownSegment.
	DeleteSegment(ctx context.Context, id SegmentID) error

	// Segments returns a page of segments.
	Segments(ctx context.Context, query SegmentQuery) (Page[Segment], error)

	// CountSegments returns how many segments a query has on all of its pages together, as they are now.
	// The PageQuery of the query does not matter.
	CountSegments(ctx context.Context, query SegmentQuery) (int64, error)

	// UserSegments returns the segments that a user is in now, both lists and rules, sorted by
	// name.
	UserSegments(ctx context.Context, user UserID) ([]Segment, error)

	// AddToSegments adds a user to lists, at most MaxSegmentsPerCall; lists that the user is
	// already in are left unchanged. It returns ErrInvalid with CodeSegmentIsRule for a rule.
	AddToSegments(ctx context.Context, user UserID, segments ...SegmentID) error

	// RemoveFromSegment removes a user from a list. It does nothing if the user is not in it. It
	// returns ErrInvalid with CodeSegmentIsRule for a rule.
	RemoveFromSegment(ctx context.Context, user UserID, segment SegmentID) error

	// FreezeSegment turns a rule atomically into a list of the users who match it now. It returns
	// the segment and the number of its members, and ErrInvalid with CodeSegmentIsList for a list.
	FreezeSegment(ctx context.Context, id SegmentID) (Segment, int64, error)
}

// refersTo reports whether a filter names a segment by its id.
func (f Filter) refersTo(id SegmentID) (refers bool) {
	_, _ = mapComparisons(f.root, func(c Comparison) (Expression, error) {
		if text, ok := c.Value.(string); ok && c.Field == segmentField && text == id.String() {
			refers = true
		}
		return c, nil
	})
	return refers
}

// allRules returns the rules of a store.
func allRules(ctx context.Context, store Store) (rules []Segment, err error) {
	walk := walkList(segmentFields, "id", func(list ListRange) ([]Segment, error) {
		return store.Segments(ctx, SegmentFilter{Kind: SegmentRule}, list)
	})
	for rule, err := range walk {
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule.(Segment))
	}
	return rules, nil
}

// refuseInUse returns the error that names the rules that prevent a change of a segment, or nil if
// there are none.
func refuseInUse(what string, rules []Segment) error {
	if len(rules) == 0 {
		return nil
	}
	var names []string
	for i, rule := range rules {
		if i == 10 {
			names = append(names, fmt.Sprintf("and %d others", len(rules)-i))
			break
		}
		names = append(names, strconv.Quote(clip(rule.Name)))
	}
	return NewError(CodeSegmentInUse, "", "%s: %s", what, strings.Join(names, ", "))
}

// dependents refuses a new rule for a segment if other rules that depend on the segment, and can be
// resolved now, could then no longer be resolved.
func (m *manager) dependents(ctx context.Context, segment Segment, rule Filter) error {
	rules, err := allRules(ctx, m.store)
	if err != nil {
		return err
	}
	depends := map[SegmentID]bool{segment.ID: true}
	for grows := true; grows; {
		grows = false
		for _, other := range rules {
			for id := range depends {
				if !depends[other.ID] && other.Rule.refersTo(id) {
					depends[other.ID], grows = true, true
				}
			}
		}
	}
	// follow reports whether a rule can be resolved with the segment as it would become.
	follow := func(other, segment Segment) (bool, error) {
		r := m.newResolver(ctx)
		for _, known := range rules {
			r.known[known.ID] = known
		}
		r.known[segment.ID] = segment
		_, err := r.resolve(other.Rule, other.ID)
		if ErrorCode(err) == CodeStoreUnavailable || err != nil && ErrorCode(err) == "" {
			return false, err
		}
		return err == nil, nil
	}
	var broken []Segment
	next := segment
	next.Rule = rule
	for _, other := range rules {
		if other.ID == segment.ID || !depends[other.ID] {
			continue
		}
		after, err := follow(other, next)
		if err != nil {
			return err
		}
		if after {
			continue
		}
		before, err := follow(other, segment)
		if err != nil {
			return err
		}
		if before {
			broken = append(broken, other)
		}
	}
	return refuseInUse("with this rule, the rules that name the segment could not be resolved", broken)
}

// checkSegmentName checks the name of a segment.
func checkSegmentName(name string) error {
	if name == "" {
		return NewError(CodeRequired, "name", "a segment needs a name")
	}
	if err := checkLine("name", name, MaxSegmentName); err != nil {
		return err
	}
	if strings.TrimSpace(name) != name {
		return NewError(CodeBadFormat, "name", "the name begins or ends with a space")
	}
	if _, err := ParseID[Segment](name); err == nil {
		return NewError(CodeBadFormat, "name", "a filter would take the name for an id")
	}
	if Fold(name) == "" {
		return NewError(CodeBadFormat, "name", "the name consists of nothing but accents")
	}
	return checkKey("name", SegmentNameKey(name))
}

// rule prepares the rule of a segment for being kept: it checks that the rule is valid and does not
// lead back to the segment.
func (m *manager) rule(ctx context.Context, id SegmentID, rule Filter) (Filter, error) {
	checked, err := rule.check()
	if err != nil {
		return Filter{}, err
	}
	r := m.newResolver(ctx)
	// The segment as it becomes, so that a rule that leads back to it is found.
	r.known[id] = Segment{ID: id, Rule: checked}
	if rule, err = r.name(checked); err != nil {
		return Filter{}, err
	}
	r.known[id] = Segment{ID: id, Rule: rule}
	_, err = r.resolve(rule, id)
	return rule, err
}

func (m *manager) CreateSegment(ctx context.Context, segment NewSegment) (_ Segment, err error) {
	ctx, call, err := enter(ctx, m, opCreateSegment, segment.ID)
	if err != nil {
		return Segment{}, err
	}
	defer call.leave(ctx, &err)
	if segment.ID.IsZero() {
		segment.ID = NewID[Segment]()
	}
	if err := checkSegmentName(segment.Name); err != nil {
		return Segment{}, err
	}
	rule, err := m.rule(ctx, segment.ID, segment.Rule)
	if err != nil {
		return Segment{}, err
	}
	created := Segment{ID: segment.ID, Name: segment.Name, Rule: rule, CreatedAt: call.now, UpdatedAt: call.now, Revision: 1}
	s := &segmentSubject{id: created.ID, creates: true, choose: func(Segment) (SegmentChange, error) {
		return SegmentChange{Segment: created, Event: call.segmentEvent(EventSegmentCreated, created)}, nil
	}}
	if err := changeSegment(ctx, m, s); err != nil {
		return Segment{}, err
	}
	return created, nil
}

// segmentEvent returns the event of a change of a segment.
func (o origin) segmentEvent(name EventName, segment Segment, data ...any) Event {
	pairs := append([]any{"segment_id", segment.ID.String(), "name", segment.Name}, data...)
	if segment.IsRule() {
		pairs = append(pairs, "rule", segment.Rule.String())
	}
	return Event{ID: o.event, Name: name, Actor: o.actor, At: o.now, Data: eventData(pairs)}
}

// segmentSubject is the subject of a command that changes a segment, whose guard is
// its revision.
type segmentSubject struct {
	id      SegmentID
	creates bool // there is no such segment yet

	// prepare, where set, reads what the decision rests on beside the segment.
	prepare func(ctx context.Context, segment Segment) error
	// choose decides on the segment, as command.decide does on a user. A zero SegmentChange writes
	// nothing. ID, Was and the new revision are filled in.
	choose func(segment Segment) (SegmentChange, error)

	segment Segment // as it was loaded and, in the end, as it became
	change  SegmentChange
	members int64 // how many memberships the commit made or deleted
}

// changeSegment moves a command about a segment through the corridor.
func changeSegment(ctx context.Context, m *manager, s *segmentSubject) error {
	c := command{subject: s}
	if err := m.pipeline.do(ctx, &c); err != nil {
		return err
	}
	return c.err
}

func (s *segmentSubject) load(ctx context.Context, store Store, events []EventID) (recorded bool, err error) {
	if len(events) > 0 {
		states, err := store.Load(ctx, []Want{{Events: events}}) // events of no user
		if err != nil || len(states[0].Events) > 0 {
			return err == nil, err
		}
	}
	if s.creates {
		s.segment = Segment{}
		return false, nil
	}
	if s.segment, err = findSegment(ctx, store, s.id); err != nil || s.prepare == nil {
		return false, err
	}
	return false, s.prepare(ctx, s.segment)
}

func (s *segmentSubject) decide() ([]EventID, error) {
	change, err := s.choose(s.segment)
	if err != nil || change.Event.ID.IsZero() {
		return nil, err
	}
	change.ID, change.Was = s.id, s.segment.Revision
	change.Segment.Revision, change.Segment.UpdatedAt = s.segment.Revision+1, latest(change.Event.At, s.segment.UpdatedAt)
	s.change = change
	return []EventID{change.Event.ID}, nil
}

func (s *segmentSubject) commit(ctx context.Context, store Store) error {
	// The segment is what becomes of it before the outcome is known: should the
	// acknowledgement be lost, nothing decides again.
	s.segment = s.change.Segment
	count, err := store.CommitSegment(ctx, s.change)
	s.members = count
	return err
}

func (*segmentSubject) users() []UserID { return nil }

// findSegment returns one segment of a store.
func findSegment(ctx context.Context, store Store, id SegmentID) (Segment, error) {
	found, err := store.FindSegments(ctx, []SegmentID{id}, nil)
	if err != nil {
		return Segment{}, err
	}
	if len(found) == 0 {
		return Segment{}, NewError(CodeSegmentNotFound, "", "no segment %s", id)
	}
	return found[0], nil
}

func (m *manager) Segment(ctx context.Context, id SegmentID) (_ Segment, err error) {
	ctx, call, err := enter(ctx, m, opSegment, id)
	if err != nil {
		return Segment{}, err
	}
	defer call.leave(ctx, &err)
	return findSegment(ctx, m.store, id)
}

func (m *manager) UpdateSegment(ctx context.Context, id SegmentID, patch SegmentPatch) (_ Segment, err error) {
	ctx, call, err := enter(ctx, m, opUpdateSegment, id)
	if err != nil {
		return Segment{}, err
	}
	defer call.leave(ctx, &err)
	if name, set := patch.Name.Get(); set {
		if err := checkSegmentName(name); err != nil {
			return Segment{}, err
		}
	}
	rule, newRule := patch.Rule.Get()
	if newRule {
		var err error
		if rule, err = m.rule(ctx, id, rule); err != nil {
			return Segment{}, err
		}
	}
	prepare := func(ctx context.Context, segment Segment) error {
		if !newRule || !segment.IsRule() || segment.Rule.String() == rule.String() {
			return nil
		}
		return m.dependents(ctx, segment, rule)
	}
	s := &segmentSubject{id: id, prepare: prepare, choose: func(segment Segment) (SegmentChange, error) {
		before := segment
		if patch.Revision != 0 && patch.Revision != segment.Revision {
			return SegmentChange{}, NewError(CodeRevisionMismatch, "revision", "the segment is at revision %d, not %d", segment.Revision, patch.Revision)
		}
		put(patch.Name, &segment.Name)
		if newRule && segment.IsRule() == rule.IsZero() {
			return SegmentChange{}, NewError(CodeSegmentIsList, "rule", "a list has no rule; freeze a rule to turn it into a list")
		}
		if newRule {
			segment.Rule = rule
		}
		if segment.Name == before.Name && segment.Rule.String() == before.Rule.String() {
			return SegmentChange{}, nil
		}
		return SegmentChange{Segment: segment, Event: call.segmentEvent(EventSegmentUpdated, segment, "before", before.Name)}, nil
	}}
	if err := changeSegment(ctx, m, s); err != nil {
		return Segment{}, err
	}
	return s.segment, nil
}

func (m *manager) DeleteSegment(ctx context.Context, id SegmentID) (err error) {
	ctx, call, err := enter(ctx, m, opDeleteSegment, id)
	if err != nil {
		return err
	}
	defer call.leave(ctx, &err)
	unused := func(ctx context.Context, segment Segment) error {
		rules, err := allRules(ctx, m.store)
		if err != nil {
			return err
		}
		rules = slices.DeleteFunc(rules, func(rule Segment) bool { return rule.ID == id || !rule.Rule.refersTo(id) })
		return refuseInUse("rules name segment "+strconv.Quote(clip(segment.Name)), rules)
	}
	return changeSegment(ctx, m, &segmentSubject{id: id, prepare: unused, choose: func(segment Segment) (SegmentChange, error) {
		return SegmentChange{Delete: true, Event: call.segmentEvent(EventSegmentDeleted, segment)}, nil
	}})
}

func (m *manager) FreezeSegment(ctx context.Context, id SegmentID) (_ Segment, _ int64, err error) {
	ctx, call, err := enter(ctx, m, opFreezeSegment, id)
	if err != nil {
		return Segment{}, 0, err
	}
	defer call.leave(ctx, &err)
	var members UserSelection
	s := &segmentSubject{
		id: id,
		prepare: func(ctx context.Context, segment Segment) (err error) {
			members, err = m.selectUsers(ctx, UserFilter{Filter: segment.Rule, Moment: Moment{At: call.now}})
			return err
		},
		choose: func(segment Segment) (SegmentChange, error) {
			if !segment.IsRule() {
				return SegmentChange{}, NewError(CodeSegmentIsList, "", "segment %q has no rule", clip(segment.Name))
			}
			event := call.segmentEvent(EventSegmentFrozen, segment)
			segment.Rule = Filter{}
			return SegmentChange{Segment: segment, Members: Set(members), Event: event}, nil
		},
	}
	if err := changeSegment(ctx, m, s); err != nil {
		return Segment{}, 0, err
	}
	if s.members == 0 { // none, or the commit was not acknowledged
		if s.members, err = m.store.CountUsers(ctx, UserSelection{Segment: id, Moment: m.moment(call.now)}); err != nil {
			return Segment{}, 0, err
		}
	}
	return s.segment, s.members, nil
}

func (m *manager) Segments(ctx context.Context, query SegmentQuery) (_ Page[Segment], err error) {
	ctx, call, err := enter(ctx, m, opSegments, noTarget)
	if err != nil {
		return Page[Segment]{}, err
	}
	defer call.leave(ctx, &err)
	return m.listSegments(ctx, query)
}

func (m *manager) listSegments(ctx context.Context, query SegmentQuery) (Page[Segment], error) {
	filter, err := query.SegmentFilter.normalise()
	if err != nil {
		return Page[Segment]{}, err
	}
	query.SegmentFilter = filter
	if query.RefersTo.IsZero() {
		return readPage(query.PageQuery, segmentFields, "segments", query.SegmentFilter, func(list ListRange) ([]Segment, error) {
			return m.store.Segments(ctx, query.SegmentFilter, list)
		})
	}
	bound := []any{query.SegmentFilter, query.RefersTo}
	return readPage(query.PageQuery, segmentFields, "segments", bound, func(list ListRange) ([]Segment, error) {
		return m.referring(ctx, query, list)
	})
}

func (m *manager) CountSegments(ctx context.Context, query SegmentQuery) (_ int64, err error) {
	ctx, call, err := enter(ctx, m, opCountSegments, noTarget)
	if err != nil {
		return 0, err
	}
	defer call.leave(ctx, &err)
	filter, err := query.SegmentFilter.normalise()
	if err != nil {
		return 0, err
	}
	if query.RefersTo.IsZero() {
		return m.store.CountSegments(ctx, filter)
	}
	query.SegmentFilter = filter
	found, err := m.referring(ctx, query, ListRange{Order: segmentFields.order, Limit: math.MaxInt})
	return int64(len(found)), err
}

func (f SegmentFilter) normalise() (SegmentFilter, error) {
	switch f.Kind {
	case "", SegmentList, SegmentRule:
	default:
		return f, NewError(CodeUnknownValue, "kind", "unknown kind of segment %q", clip(string(f.Kind)))
	}
	err := checkInput("search", f.Search)
	f.Search = Fold(strings.TrimSpace(f.Search))
	return f, err
}

// referring lists the rules that name a segment. Rules are few, and are looked at one by
// one.
func (m *manager) referring(ctx context.Context, query SegmentQuery, list ListRange) (found []Segment, err error) {
	if query.Kind == SegmentList { // which has no rule
		return nil, nil
	}
	query.Kind = SegmentRule
	field := segmentFields.byName[list.Order.Field]
	part := list
	part.Limit = MaxPageLimit
	for {
		rules, err := m.store.Segments(ctx, query.SegmentFilter, part)
		if err != nil {
			return nil, err
		}
		for _, rule := range rules {
			if rule.Rule.refersTo(query.RefersTo) {
				found = append(found, rule)
			}
			if len(found) == list.Limit {
				return found, nil
			}
		}
		if len(rules) < part.Limit {
			return found, nil
		}
		last := &rules[len(rules)-1]
		part.After = &ListPosition{Key: field.Key(last), ID: last.ID}
	}
}

func (m *manager) UserSegments(ctx context.Context, user UserID) (_ []Segment, err error) {
	ctx, call, err := enter(ctx, m, opUserSegments, user)
	if err != nil {
		return nil, err
	}
	defer call.leave(ctx, &err)
	states, err := m.store.Load(ctx, []Want{{User: user, Profile: true, Segments: true}})
	if err != nil {
		return nil, err
	}
	if !states[0].Exists {
		return nil, NewError(CodeUserNotFound, "", "no user %s", user)
	}
	lists := states[0].Segments
	moment := m.moment(call.now)
	r := m.newResolver(ctx)
	in := []Segment{}
	if len(lists) > 0 {
		if in, err = m.store.FindSegments(ctx, lists, nil); err != nil {
			return nil, err
		}
	}
	rules := SegmentQuery{SegmentFilter: SegmentFilter{Kind: SegmentRule}}
	read := func(page PageQuery) (Page[Segment], error) {
		rules.PageQuery = page
		return m.listSegments(ctx, rules)
	}
	for segment, err := range walk(PageQuery{}, read) {
		if err != nil {
			return nil, err
		}
		r.comparisons = 0
		rule, err := r.resolve(segment.Rule, segment.ID)
		switch ErrorCode(err) {
		case CodeUnknownSegment, CodeSegmentCycle, CodeTooLong:
			continue // a rule that cannot be resolved has no members
		}
		if err != nil {
			return nil, err
		}
		if rule.Meets(&states[0].User, moment, func(id SegmentID) bool { return slices.Contains(lists, id) }) {
			in = append(in, segment)
		}
	}
	slices.SortFunc(in, func(a, b Segment) int {
		return cmp.Or(strings.Compare(SortKey(a.Name), SortKey(b.Name)), a.ID.Compare(b.ID))
	})
	return in, nil
}

// lists checks that segments are there and are lists.
func (m *manager) lists(ctx context.Context, segments []SegmentID) error {
	if len(segments) > MaxSegmentsPerCall {
		return NewError(CodeTooLong, "segments", "%d segments exceed the limit of %d", len(segments), MaxSegmentsPerCall)
	}
	found, err := m.store.FindSegments(ctx, segments, nil)
	if err != nil {
		return err
	}
	for _, id := range segments {
		at := indexID(found, id, segmentID)
		if at < 0 {
			return NewError(CodeSegmentNotFound, "segments", "no segment %s", id)
		}
		if found[at].IsRule() {
			return NewError(CodeSegmentIsRule, "segments", "the members of segment %q follow from its rule", clip(found[at].Name))
		}
	}
	return nil
}

func segmentID(s *Segment) SegmentID { return s.ID }

func (m *manager) AddToSegments(ctx context.Context, user UserID, segments ...SegmentID) (err error) {
	ctx, call, err := enter(ctx, m, opAddToSegments, user)
	if err != nil {
		return err
	}
	defer call.leave(ctx, &err)
	if err := m.lists(ctx, segments); err != nil {
		return err
	}
	return m.changeMemberships(ctx, user, func(state *State) Change { return addToSegments(state, call.origin, segments) })
}

func (m *manager) RemoveFromSegment(ctx context.Context, user UserID, segment SegmentID) (err error) {
	ctx, call, err := enter(ctx, m, opRemoveFromSegment, user)
	if err != nil {
		return err
	}
	defer call.leave(ctx, &err)
	if err := m.lists(ctx, []SegmentID{segment}); err != nil {
		return err
	}
	return m.changeMemberships(ctx, user, func(state *State) Change { return removeFromSegment(state, call.origin, segment) })
}

func (m *manager) changeMemberships(ctx context.Context, user UserID, decide func(*State) Change) error {
	_, err := change(ctx, m, command{want: Want{User: user, Segments: true}}, func(state *State) (struct{}, Change, error) {
		return struct{}{}, decide(state), nil
	})
	return err
}

// addToSegments decides that a user is in lists.
func addToSegments(state *State, o origin, segments []SegmentID) Change {
	var fresh []SegmentID
	for _, id := range segments {
		if !slices.Contains(state.Segments, id) && !slices.Contains(fresh, id) {
			fresh = append(fresh, id)
		}
	}
	if len(fresh) == 0 {
		return Change{}
	}
	c := state.change()
	c.AddSegments = fresh
	o.record(&c, EventSegmentsAdded, DeviceID{}, "segments", fresh)
	return c
}

// removeFromSegment decides that a user is not in a list.
func removeFromSegment(state *State, o origin, segment SegmentID) Change {
	if !slices.Contains(state.Segments, segment) {
		return Change{}
	}
	c := state.change()
	c.RemoveSegments = []SegmentID{segment}
	o.record(&c, EventSegmentRemoved, DeviceID{}, "segment", segment)
	return c
}
