package memory

import (
	"cmp"
	"context"
	"encoding/json"
	"iter"
	"slices"
	"time"
	"unique"

	"github.com/userkit/userkit"
)

// events holds the events of all users and their indexes.
type events struct {
	commits int64 // how many changes were committed
	byID    set[event, byEventID]
	byTime  set[event, byTime]
	feed    set[event, byCommit]
	floor   userkit.FeedPosition // of the last event in the feed that retention deleted
	// naming are, by the users that they name, events of others.
	naming map[userkit.UserID]*set[event, byTime]
}

// event is a userkit.Event as it is kept. What it is ordered by comes first, in
// one line of the processor's cache; so it is in the other records.
type event struct {
	id     userkit.EventID
	at     micros
	commit int64 // the number of the commit that wrote it
	user   userkit.UserID
	device userkit.DeviceID
	name   word
	actor  unique.Handle[userkit.Actor]
	data   []byte

	mentions []userkit.UserID
}

// named yields the users other than its own that an event names.
func (e *event) named(yield func(userkit.UserID) bool) {
	for id := range namedBy(e.user, e.actor) {
		if !yield(id) {
			return
		}
	}
	for _, id := range e.mentions {
		if !yield(id) {
			return
		}
	}
}

// namedBy yields the users that an actor names, but for the owner of the record.
func namedBy(owner userkit.UserID, actor unique.Handle[userkit.Actor]) iter.Seq[userkit.UserID] {
	return func(yield func(userkit.UserID) bool) {
		a := actor.Value()
		if len(a.ID) == 36 {
			if id, err := userkit.ParseID[userkit.User](a.ID); err == nil && id != owner && id.String() == a.ID && !yield(id) {
				return
			}
		}
		if id := a.OnBehalfOf; !id.IsZero() && id != owner {
			yield(id)
		}
	}
}

// without returns the event without the name of a user.
func (e *event) without(user userkit.UserID) *event {
	next := *e
	next.actor = unique.Make(e.actor.Value().Without(user))
	if slices.Contains(e.mentions, user) {
		next.mentions = slices.DeleteFunc(slices.Clone(e.mentions), func(id userkit.UserID) bool { return id == user })
		next.data = nil
	}
	return &next
}

type byEventID struct{}

func (byEventID) compare(a, b *event) int { return compareIDs(&a.id, &b.id) }

type byTime struct{}

func (byTime) compare(a, b *event) int {
	if c := cmp.Compare(a.at, b.at); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

type byCommit struct{}

func (byCommit) compare(a, b *event) int {
	if c := cmp.Compare(a.commit, b.commit); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

func eventOf(user userkit.UserID, from *userkit.Event) *event {
	e := &event{
		id:     from.ID,
		user:   user,
		device: from.DeviceID,
		name:   wordOf(from.Name),
		actor:  unique.Make(from.Actor),
		at:     microsOf(from.At),
	}
	if len(from.Data) > 0 {
		e.data = slices.Clone(from.Data)
	}
	if len(from.Mentions) > 0 {
		e.mentions = slices.Clone(from.Mentions)
	}
	return e
}

func (e *event) fill(to *userkit.Event) {
	*to = userkit.Event{
		ID:       e.id,
		UserID:   e.user,
		DeviceID: e.device,
		Name:     userkit.EventName(e.name.Value()),
		Actor:    e.actor.Value(),
		At:       e.at.time(),
		Data:     slices.Clone(json.RawMessage(e.data)),
		Mentions: slices.Clone(e.mentions),
	}
}

func (e *event) out() (to userkit.Event) {
	e.fill(&to)
	return to
}

// get returns the event with an id, or nil.
func (e *events) get(id userkit.EventID) *event {
	// A new id comes after all others: that takes no search.
	if last := e.byID.last(); last == nil || compareIDs(&last.id, &id) < 0 {
		return nil
	}
	return e.byID.get(&event{id: id})
}

// put adds an event of the current commit. own is nil for an event of no user.
func (e *events) put(own *belongings, next *event) {
	next.commit = e.commits
	e.place(own, next)
}

// place puts an event into all indexes, or in the place of the one with its id.
func (e *events) place(own *belongings, next *event) {
	e.byID.put(next)
	e.byTime.put(next)
	e.feed.put(next)
	if own != nil {
		own.events.put(next)
	}
	for user := range next.named {
		addNamed(e.naming, user, next)
	}
}

// addNamed adds a record to those that name a user.
func addNamed[T any, O order[T]](naming map[userkit.UserID]*set[T, O], user userkit.UserID, record *T) {
	all := naming[user]
	if all == nil {
		all = &set[T, O]{}
		naming[user] = all
	}
	all.put(record)
}

// dropNamed takes a record from those that name a user.
func dropNamed[T any, O order[T]](naming map[userkit.UserID]*set[T, O], user userkit.UserID, record *T) {
	if all := naming[user]; all != nil {
		if all.remove(record); all.len() == 0 {
			delete(naming, user)
		}
	}
}

// eraseName takes the name of a user who is deleted from the records of others.
func (s *Store) eraseName(user userkit.UserID) {
	if all := s.events.naming[user]; all != nil {
		delete(s.events.naming, user)
		for record := range all.each {
			s.events.place(s.users.belongings(record.user), record.without(user))
		}
	}
	if all := s.transactions.naming[user]; all != nil {
		delete(s.transactions.naming, user)
		for record := range all.each {
			owner := *s.users.get(record.user)
			s.transactions.put(owner.own, record.without(user), record)
			owner.account.version++
			s.users.table.put(owner.profile.number, &owner)
		}
	}
}

// remove takes an event out of the indexes of the project.
func (e *events) remove(gone *event) {
	e.byID.remove(gone)
	e.byTime.remove(gone)
	e.feed.remove(gone)
	for user := range gone.named {
		dropNamed(e.naming, user, gone)
	}
}

var eventFields = fieldsByName(userkit.EventFields())

// Events lists events by a field of userkit.EventFields, all of which have an
// index.
func (s *Store) Events(ctx context.Context, filter userkit.EventFilter, list userkit.ListRange) ([]userkit.Event, error) {
	return eventQuery.page(ctx, s, list, s.openEvents(filter, list))
}

// CountEvents counts the events of a filter.
func (s *Store) CountEvents(ctx context.Context, filter userkit.EventFilter) (int64, error) {
	return count(ctx, s, s.openEvents(filter, userkit.ListRange{}))
}

var eventQuery = query[event, userkit.Event]{
	fields: eventFields,
	id:     func(e *event) [16]byte { return e.id },
	fill:   (*event).fill,
	out:    (*event).out,
}

// openEvents returns what opens the events of a filter for a list.
func (s *Store) openEvents(filter userkit.EventFilter, list userkit.ListRange) func(snapshot bool) source[event] {
	var match func(*event) bool
	if !filter.DeviceID.IsZero() || filter.Name != "" || filter.ActorKind != "" || filter.ActorID != "" || !filter.Naming.IsZero() {
		name := wordOf(filter.Name)
		match = func(e *event) bool {
			return (filter.DeviceID.IsZero() || e.device == filter.DeviceID) &&
				(filter.Name == "" || e.name == name) &&
				(filter.ActorKind == "" || e.actor.Value().Kind == filter.ActorKind) &&
				(filter.ActorID == "" || e.actor.Value().ID == filter.ActorID) &&
				(filter.Naming.IsZero() || slices.Contains(slices.Collect(e.named), filter.Naming))
		}
	}
	return func(snapshot bool) source[event] {
		from := source[event]{match: match}
		events := &s.events.byTime
		if !filter.UserID.IsZero() {
			events = &set[event, byTime]{}
			if own := s.users.belongings(filter.UserID); own != nil {
				events = &own.events
			}
		} else if !filter.Naming.IsZero() {
			if events = s.events.naming[filter.Naming]; events == nil {
				events = &set[event, byTime]{}
			}
		}
		var part span[event]
		if !filter.From.IsZero() {
			part.low = &event{at: microsOf(filter.From)}
		}
		if !filter.To.IsZero() {
			part.high = &event{at: microsOf(filter.To)}
		}
		view := events.view(snapshot)
		if list.Order.Field != "at" {
			from.all = drain(view.cursor(part, false).next)
			return from
		}
		if list.After != nil {
			part.after = &event{at: microsOf(list.After.Key.(time.Time)), id: list.After.ID}
		}
		from.rows = view.cursor(part, list.Order.Descending).next
		return from
	}
}

// Feed lists events after a position in the order of their commits, which the
// store makes one after another: nothing can appear before what it lists.
func (s *Store) Feed(ctx context.Context, after userkit.FeedPosition, limit int) ([]userkit.FeedEvent, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if after.Feed != ([16]byte{}) && after.Feed != s.feed {
		return nil, userkit.NewError(userkit.CodeCursorMismatch, "cursor", "the cursor belongs to the feed of another store")
	}
	found := []userkit.FeedEvent{}
	from := &event{commit: after.Commit, id: after.Event}
	place := from
	for len(found) < limit {
		rows := s.someOfFeed(place, min(limit-len(found), breath))
		if len(rows) == 0 {
			break
		}
		for _, row := range rows {
			position := userkit.FeedPosition{Feed: s.feed, Commit: row.commit, Event: row.id}
			found = append(found, userkit.FeedEvent{Event: row.out(), Position: position})
		}
		place = rows[len(rows)-1]
		if err := s.ready(ctx); err != nil {
			return nil, err
		}
	}
	// What was deleted before the events were read is known by now.
	s.mu.RLock()
	defer s.mu.RUnlock()
	if last := (&event{commit: s.events.floor.Commit, id: s.events.floor.Event}); (from.commit != 0 || !from.id.IsZero()) && (byCommit{}).compare(from, last) < 0 {
		return nil, userkit.NewError(userkit.CodeCursorExpired, "cursor", "events after the cursor are kept no longer")
	}
	return found, nil
}

func (s *Store) someOfFeed(after *event, limit int) []*event {
	s.mu.RLock()
	defer s.mu.RUnlock()
	walk := s.events.feed.cursor(span[event]{after: after}, false)
	rows := make([]*event, 0, min(limit, s.events.feed.len()))
	for len(rows) < limit {
		next := walk.next()
		if next == nil {
			break
		}
		rows = append(rows, next)
	}
	return rows
}

// CommitEvent records an event of no user.
func (s *Store) CommitEvent(ctx context.Context, event userkit.Event) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	next := eventOf(userkit.UserID{}, &event)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(context.Background()); err != nil {
		return err
	}
	if s.events.get(next.id) != nil {
		return userkit.Taken("event", "id")
	}
	s.events.commits++
	s.events.put(nil, next)
	return nil
}
