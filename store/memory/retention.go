package memory

import (
	"context"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/userkit/userkit"
)

// expiring deletes the records of a kind that are kept no longer.
type expiring interface {
	count(ctx context.Context, s *Store, e userkit.Expiry) (int64, error)
	delete(ctx context.Context, s *Store, e userkit.Expiry, limit int) (int64, error)
}

// old are the records of an expiry: those that come before a bound in an ordered set of the
// project, or what is found with each user.
type old[T any] struct {
	// each yields candidates, the oldest first. It holds the lock at most for a moment.
	each func(s *Store, e userkit.Expiry) iter.Seq[*T]
	// drop deletes what a candidate stands for, at most so many records, if it still is what
	// it was, and returns how many, and whose version that raises; with check alone it only
	// counts. The lock is held.
	drop func(s *Store, e userkit.Expiry, candidate *T, most int, check bool) (int, userkit.UserID)
}

func (o old[T]) count(ctx context.Context, s *Store, e userkit.Expiry) (count int64, err error) {
	seen := 0
	for candidate := range o.each(s, e) {
		if seen++; seen%breath == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		s.mu.RLock()
		some, _ := o.drop(s, e, candidate, math.MaxInt, true)
		s.mu.RUnlock()
		count += int64(some)
	}
	return count, nil
}

func (o old[T]) delete(ctx context.Context, s *Store, e userkit.Expiry, limit int) (int64, error) {
	for {
		var candidates []*T
		for candidate := range o.each(s, e) {
			if candidates = append(candidates, candidate); len(candidates) == limit {
				break
			}
		}
		deleted, err := o.deleteAll(ctx, s, e, candidates, limit)
		if deleted > 0 || err != nil || len(candidates) == 0 {
			return int64(deleted), err
		}
		// All of them changed meanwhile: there may be others.
	}
}

func (o old[T]) deleteAll(ctx context.Context, s *Store, e userkit.Expiry, candidates []*T, limit int) (deleted int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	raised := map[userkit.UserID]bool{}
	for _, candidate := range candidates {
		some, user := o.drop(s, e, candidate, limit-deleted, false)
		if deleted += some; some > 0 && !user.IsZero() {
			raised[user] = true
		}
		if deleted == limit {
			break
		}
	}
	for id := range raised {
		owner := *s.users.get(id)
		owner.account.version++
		s.users.table.put(owner.profile.number, &owner)
	}
	return deleted, nil
}

// before yields the records of an ordered set before a bound, as they are now.
func before[T any, O order[T]](s *Store, all *set[T, O], bound *T, match func(*T) bool) iter.Seq[*T] {
	s.mu.Lock()
	walk := all.snapshot().cursor(span[T]{high: bound}, false)
	s.mu.Unlock()
	return func(yield func(*T) bool) {
		for row := walk.next(); row != nil; row = walk.next() {
			if match(row) && !yield(row) {
				return
			}
		}
	}
}

// withUsers yields the belongings of users that meet a condition, which is asked under the
// lock.
func withUsers(s *Store, match func(own *belongings) bool) iter.Seq[*userkit.UserID] {
	s.mu.Lock()
	users := s.users.table.snapshot()
	s.mu.Unlock()
	return func(yield func(*userkit.UserID) bool) {
		for row := range users.each {
			if row.own == nil {
				continue
			}
			s.mu.RLock()
			met := match(row.own)
			s.mu.RUnlock()
			if met && !yield(&row.profile.id) {
				return
			}
		}
	}
}

// one is the drop of a record that is its own candidate: remove takes it away if the store
// still has it, and returns whose version that raises.
func one[T any](still func(s *Store, e userkit.Expiry, row *T) bool, remove func(s *Store, row *T) userkit.UserID) func(*Store, userkit.Expiry, *T, int, bool) (int, userkit.UserID) {
	return func(s *Store, e userkit.Expiry, row *T, most int, check bool) (int, userkit.UserID) {
		if most == 0 || !still(s, e, row) {
			return 0, userkit.UserID{}
		}
		if check {
			return 1, userkit.UserID{}
		}
		return 1, remove(s, row)
	}
}

// expirings are the kinds of userkit.RetainableKinds.
var expirings = map[string]expiring{
	userkit.RowsSessions: old[session]{
		each: func(s *Store, e userkit.Expiry) iter.Seq[*session] {
			return before(s, &s.sessions.closed, &session{closedAt: microsOf(e.Before)}, func(row *session) bool { return row.closedAt != none })
		},
		drop: one(func(s *Store, _ userkit.Expiry, row *session) bool { return s.sessions.byID[row.id] == row }, func(s *Store, row *session) userkit.UserID {
			s.sessions.remove(row)
			s.users.belongings(row.user).sessions.ended.remove(row)
			return row.user
		}),
	},
	userkit.RowsDays: old[userkit.UserID]{
		each: func(s *Store, e userkit.Expiry) iter.Seq[*userkit.UserID] {
			return withUsers(s, func(own *belongings) bool { return own.oldDays(e) > 0 })
		},
		drop: func(s *Store, e userkit.Expiry, id *userkit.UserID, most int, check bool) (int, userkit.UserID) {
			own := s.users.belongings(*id)
			if own == nil {
				return 0, userkit.UserID{}
			}
			count := min(own.oldDays(e), most)
			if check || count == 0 {
				return count, userkit.UserID{}
			}
			days := own.sessions
			first := 0
			if days.days[0].day == usageBefore {
				first = 1
			}
			gone := slices.Clone(days.days[first : first+count])
			days.days = slices.Delete(days.days, first, first+count)
			for _, day := range gone {
				day.day = usageBefore
				days.use(day)
			}
			return count, userkit.UserID{}
		},
	},
	userkit.RowsMessages: old[message]{
		each: func(s *Store, e userkit.Expiry) iter.Seq[*message] {
			return before(s, &s.messages.byTime, &message{sentAt: microsOf(e.Before)}, func(*message) bool { return true })
		},
		drop: one(func(s *Store, _ userkit.Expiry, row *message) bool { return s.messages.byID[row.ID] == row }, func(s *Store, row *message) userkit.UserID {
			s.messages.remove(row)
			s.users.belongings(row.UserID).mailbox.remove(row)
			return row.UserID
		}),
	},
	userkit.RowsDeliveries: old[delivery]{
		each: func(s *Store, e userkit.Expiry) iter.Seq[*delivery] {
			waiting := wordOf(userkit.DeliveryWaiting)
			return before(s, &s.deliveries.byTime, &delivery{createdAt: microsOf(e.Before)}, func(row *delivery) bool { return row.state != waiting })
		},
		drop: one(func(s *Store, _ userkit.Expiry, row *delivery) bool { return s.deliveries.byID[row.id] == row }, func(s *Store, row *delivery) userkit.UserID {
			s.deliveries.remove(row)
			s.users.belongings(row.user).deliveries.remove(row)
			return row.user
		}),
	},
	userkit.RowsActivations: old[userkit.UserID]{
		each: func(s *Store, e userkit.Expiry) iter.Seq[*userkit.UserID] {
			return withUsers(s, func(own *belongings) bool { return own.oldActivation(e) })
		},
		drop: one(func(s *Store, e userkit.Expiry, id *userkit.UserID) bool {
			own := s.users.belongings(*id)
			return own != nil && own.oldActivation(e)
		}, func(s *Store, id *userkit.UserID) userkit.UserID {
			s.users.belongings(*id).activation = nil
			return *id
		}),
	},
	userkit.RowsConnections: old[connection]{
		each: func(s *Store, e userkit.Expiry) iter.Seq[*connection] {
			// One that is over began before.
			return before(s, &s.connections.byTime, &connection{startedAt: microsOf(e.Before)}, func(row *connection) bool {
				return row.endedAt != none && row.endedAt < microsOf(e.Before) || row.expiresAt < microsOf(e.Before)
			})
		},
		drop: one(func(s *Store, _ userkit.Expiry, row *connection) bool { return s.connections.byID[row.id] == row }, func(s *Store, row *connection) userkit.UserID {
			s.connections.remove(row)
			s.users.belongings(row.user).connections.remove(row)
			return row.user
		}),
	},
	userkit.RowsEvents: old[event]{
		each: func(s *Store, e userkit.Expiry) iter.Seq[*event] {
			name := wordOf(e.Event)
			return before(s, &s.events.byTime, &event{at: microsOf(e.Before)}, func(row *event) bool { return row.name == name })
		},
		drop: one(func(s *Store, _ userkit.Expiry, row *event) bool { return s.events.byID.get(row) == row }, func(s *Store, row *event) userkit.UserID {
			s.events.remove(row)
			if own := s.users.belongings(row.user); own != nil {
				own.events.remove(row)
			}
			if last := (&event{commit: s.events.floor.Commit, id: s.events.floor.Event}); (byCommit{}).compare(last, row) < 0 {
				s.events.floor = userkit.FeedPosition{Commit: row.commit, Event: row.id}
			}
			return userkit.UserID{}
		}),
	},
}

var usageBefore = dateOf(userkit.UsageBefore)

// oldDays returns how many days of use an expiry is about.
func (b *belongings) oldDays(e userkit.Expiry) (count int) {
	if b.sessions == nil {
		return 0
	}
	for _, day := range b.sessions.days {
		if day.day >= dateOf(e.BeforeDay) {
			break
		}
		if day.day != usageBefore {
			count++
		}
	}
	return count
}

func (b *belongings) oldActivation(e userkit.Expiry) bool {
	return b.activation != nil && b.activation.ExpiresAt.Before(e.Before)
}

// expiring returns what deletes the records of an expiry.
func (s *Store) expiring(ctx context.Context, e userkit.Expiry) (expiring, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	kind, ok := expirings[e.Kind]
	if !ok {
		return nil, userkit.NewError(userkit.CodeUnknownValue, "kind", "retention deletes no records of the kind %q", e.Kind)
	}
	return kind, nil
}

// CountExpired counts the records of an expiry.
func (s *Store) CountExpired(ctx context.Context, e userkit.Expiry) (int64, error) {
	kind, err := s.expiring(ctx, e)
	if err != nil {
		return 0, err
	}
	return kind.count(ctx, s, e)
}

// DeleteExpired deletes at most limit of the records of an expiry.
func (s *Store) DeleteExpired(ctx context.Context, e userkit.Expiry, limit int) (int64, error) {
	kind, err := s.expiring(ctx, e)
	if err != nil {
		return 0, err
	}
	return kind.delete(ctx, s, e, limit)
}

// EventNames returns the Retainable names of the events that are recorded. It examines all events.
func (s *Store) EventNames(ctx context.Context) ([]userkit.EventName, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	known := map[word]bool{}
	seen := 0
	for row := range before(s, &s.events.byTime, nil, func(*event) bool { return true }) {
		if seen++; seen%breath == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		known[row.name] = true
	}
	names := []userkit.EventName{}
	for name := range known {
		if name := userkit.EventName(name.Value()); name.Retainable() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Now returns the time of the process.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	return microsOf(time.Now()).time(), s.ready(ctx)
}

// LeaseDuty takes a lease on a duty.
func (s *Store) LeaseDuty(ctx context.Context, duty string, now, until time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	if s.duties[duty] > microsOf(now) {
		return false, nil
	}
	s.duties[duty] = microsOf(until)
	return true, nil
}
