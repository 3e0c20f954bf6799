package memory

import (
	"context"
	"strings"
	"sync"

	"github.com/tidwall/btree"

	"github.com/userkit/userkit"
)

// segments holds the segments and who is in them. The members of a segment are a
// set of the numbers of users, four bytes each, which a snapshot shares; which
// segments a user is in is asked of each of them.
type segments struct {
	// changing is held while a segment is changed, so that the store's lock need
	// not be held while its members are found.
	changing sync.Mutex

	byID   map[userkit.SegmentID]*segment
	byName map[string]*segment // by userkit.SegmentNameKey
	byKey  set[segment, bySegmentKey]
}

// segment is a userkit.Segment at one revision.
type segment struct {
	id                   userkit.SegmentID
	name, folded         string
	identity             string // by which it is told apart
	key                  string // of its name, to sort by
	rule                 userkit.Filter
	createdAt, updatedAt micros
	revision             int64
	members              *members // the same at every revision
}

// members are users by their numbers.
type members = btree.Set[uint32]

type bySegmentKey struct{}

func (bySegmentKey) compare(a, b *segment) int {
	if c := strings.Compare(a.key, b.key); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

func segmentOf(id userkit.SegmentID, from *userkit.Segment) *segment {
	return &segment{
		id:        id,
		name:      from.Name,
		folded:    userkit.Fold(from.Name),
		identity:  userkit.SegmentNameKey(from.Name),
		key:       userkit.SortKey(from.Name),
		rule:      from.Rule,
		createdAt: microsOf(from.CreatedAt),
		updatedAt: microsOf(from.UpdatedAt),
		revision:  from.Revision,
		members:   &members{},
	}
}

func (s *segment) fill(to *userkit.Segment) {
	*to = userkit.Segment{
		ID:        s.id,
		Name:      s.name,
		Rule:      s.rule,
		CreatedAt: s.createdAt.time(),
		UpdatedAt: s.updatedAt.time(),
		Revision:  s.revision,
	}
}

func (s *segment) out() (to userkit.Segment) {
	s.fill(&to)
	return to
}

var noMembers members

// membersOf returns the members of a segment; none for one that is not there.
func (s *segments) membersOf(id userkit.SegmentID) *members {
	if found := s.byID[id]; found != nil {
		return found.members
	}
	return &noMembers
}

// with returns the segments that the user with a number is in.
func (s *segments) with(number uint32) (ids []userkit.SegmentID) {
	for id, segment := range s.byID {
		if segment.members.Contains(number) {
			ids = append(ids, id)
		}
	}
	return ids
}

// check says whether the segments to which a change adds the user are there.
func (s *segments) check(change *userkit.Change) error {
	for _, id := range change.AddSegments {
		if s.byID[id] == nil {
			return userkit.NewError(userkit.CodeSegmentNotFound, "", "no segment %s", id)
		}
	}
	return nil
}

// put makes and deletes the memberships of a change.
func (s *segments) put(number uint32, change *userkit.Change) {
	for _, id := range change.AddSegments {
		s.byID[id].members.Insert(number)
	}
	for _, id := range change.RemoveSegments {
		s.byID[id].remove(number)
	}
}

// remove takes a user out of all segments.
func (s *segments) remove(number uint32) {
	for _, segment := range s.byID {
		segment.remove(number)
	}
}

// remove takes out a user, if there is such a segment and the user is in it.
func (s *segment) remove(number uint32) {
	// Delete copies what a snapshot shares even when it finds nothing.
	if s != nil && s.members.Contains(number) {
		s.members.Delete(number)
	}
}

var segmentFields = fieldsByName(userkit.SegmentFields())

// Segments lists segments by any sortable field of userkit.SegmentFields. The
// order name has an index.
func (s *Store) Segments(ctx context.Context, filter userkit.SegmentFilter, list userkit.ListRange) ([]userkit.Segment, error) {
	return segmentQuery.page(ctx, s, list, s.openSegments(filter, list))
}

// CountSegments counts the segments of a filter.
func (s *Store) CountSegments(ctx context.Context, filter userkit.SegmentFilter) (int64, error) {
	return count(ctx, s, s.openSegments(filter, userkit.ListRange{}))
}

var segmentQuery = query[segment, userkit.Segment]{
	fields: segmentFields,
	id:     func(s *segment) [16]byte { return s.id },
	fill:   (*segment).fill,
	out:    (*segment).out,
}

// openSegments returns what opens the segments of a filter for a list.
func (s *Store) openSegments(filter userkit.SegmentFilter, list userkit.ListRange) func(snapshot bool) source[segment] {
	part := userkit.Fold(filter.Search)
	match := func(s *segment) bool {
		return (filter.Kind == "" || s.rule.IsZero() == (filter.Kind == userkit.SegmentList)) && strings.Contains(s.folded, part)
	}
	return func(snapshot bool) source[segment] {
		from := source[segment]{match: match}
		segments := s.segments.byKey.view(snapshot)
		if list.Order.Field != "name" {
			from.all = segments.each
			return from
		}
		var part span[segment]
		if list.After != nil {
			part.after = &segment{key: list.After.Key.(string), id: list.After.ID}
		}
		from.rows = segments.cursor(part, list.Order.Descending).next
		return from
	}
}

// FindSegments returns the segments that have one of the ids or one of the
// folded names, in no order, each once.
func (s *Store) FindSegments(ctx context.Context, ids []userkit.SegmentID, names []string) ([]userkit.Segment, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	var found []*segment
	s.mu.RLock()
	for _, id := range ids {
		if segment := s.segments.byID[id]; segment != nil {
			found = append(found, segment)
		}
	}
	for _, name := range names {
		if segment := s.segments.byName[name]; segment != nil {
			found = append(found, segment)
		}
	}
	s.mu.RUnlock()
	return convert(distinct(found), (*segment).out), nil
}

// CommitSegment makes a change atomically, and returns the number of memberships that it made or
// deleted. The users who become members are found on a snapshot; only those who have changed since
// are checked again in the step that makes the change.
func (s *Store) CommitSegment(ctx context.Context, change userkit.SegmentChange) (int64, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	s.segments.changing.Lock()
	defer s.segments.changing.Unlock()
	next := segmentOf(change.ID, &change.Segment)
	event := eventOf(userkit.UserID{}, &change.Event)
	s.mu.RLock()
	err := s.checkSegment(&change, next, event)
	s.mu.RUnlock()
	if err != nil {
		return 0, err
	}
	var joining *joining
	if filter, ok := change.Members.Get(); ok && !change.Delete {
		if joining, err = s.joining(ctx, filter); err != nil {
			return 0, err
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(context.Background()); err != nil {
		return 0, err
	}
	if err := s.checkSegment(&change, next, event); err != nil {
		return 0, err
	}
	s.events.commits++
	s.events.put(nil, event)
	before := s.segments.byID[change.ID]
	if before != nil {
		next.members = before.members
		delete(s.segments.byName, before.identity)
		s.segments.byKey.remove(before)
	}
	if change.Delete {
		delete(s.segments.byID, change.ID)
		return int64(before.members.Len()), nil
	}
	s.segments.byID[change.ID] = next
	s.segments.byName[next.identity] = next
	s.segments.byKey.put(next)
	if joining == nil {
		return 0, nil
	}
	return s.join(next, joining), nil
}

// checkSegment says what speaks against a change.
func (s *Store) checkSegment(change *userkit.SegmentChange, next *segment, event *event) error {
	before := s.segments.byID[change.ID]
	if change.Was == 0 && before != nil {
		return userkit.Taken("segment", "id")
	}
	if change.Was != 0 && (before == nil || before.revision != change.Was) || change.Was == 0 && change.Delete {
		return userkit.ErrConflict
	}
	if holder := s.segments.byName[next.identity]; holder != nil && holder != before && !change.Delete {
		return userkit.Taken("segment", "name")
	}
	if s.events.get(event.id) != nil {
		return userkit.Taken("event", "id")
	}
	return nil
}

// joining are the users who are to become members of a segment.
type joining struct {
	wanted *audience
	users  *members
	moment view[user] // the users among whom they were found
}

func (s *Store) joining(ctx context.Context, selection userkit.UserSelection) (*joining, error) {
	j := &joining{wanted: s.audience(selection), users: &members{}}
	var err error
	j.moment, err = s.eachUser(ctx, j.wanted, func(u *user) { j.users.Load(u.profile.number) })
	return j, err
}

// join makes members of those who meet the filter now, and returns how many were
// none before. The store's lock is held.
func (s *Store) join(to *segment, j *joining) int64 {
	j.wanted.open(false)
	for number, user := range s.users.table.changed(j.moment) {
		if user != nil && (j.wanted.match == nil || j.wanted.match(user)) {
			j.users.Insert(number)
		} else {
			j.users.Delete(number)
		}
	}
	before := to.members.Len()
	if before == 0 {
		to.members = j.users
	} else {
		for number := range j.users.Scan {
			to.members.Insert(number)
		}
	}
	return int64(to.members.Len() - before)
}
