package memory

import (
	"context"
	"slices"

	"github.com/userkit/userkit"
)

// changesAtOnce is how many changes are made in one hold of the lock: enough to
// make taking it cheap, few enough that nobody waits long.
const changesAtOnce = 16

// step is a change whose records are made, ready to be put in under the lock.
type step struct {
	change  *userkit.Change
	user    *user    // as it becomes; its profile and belongings are filled in under the lock
	before  *user    // as it was when it was admitted
	profile *profile // nil: stays
	edits   []edit   // in the order of kinds; nil: nothing of the kind changes
}

// prepare makes the records of a change: everything that needs no lock.
func prepare(change *userkit.Change) step {
	made := step{change: change, edits: make([]edit, len(kinds))}
	for i := range kinds {
		if !change.Delete || kinds[i].outlive {
			made.edits[i] = kinds[i].edit(change)
		}
	}
	if change.Delete {
		return made
	}
	made.user = &user{account: accountOf(&change.Account)}
	if change.Profile != nil {
		made.profile = profileOf(change.User, change.Profile)
	} else if change.Version == 0 {
		made.profile = profileOf(change.User, &userkit.User{})
	}
	return made
}

// Commit makes changes, each atomically, and returns an outcome for each.
func (s *Store) Commit(ctx context.Context, changes []userkit.Change) ([]error, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	outcomes := make([]error, 0, len(changes))
	var steps [changesAtOnce]step
	for some := range slices.Chunk(changes, changesAtOnce) {
		for i := range some {
			steps[i] = prepare(&some[i])
		}
		s.mu.Lock()
		if err := s.ready(context.Background()); err != nil {
			s.mu.Unlock()
			return nil, err
		}
		for i := range some {
			outcomes = append(outcomes, s.commit(steps[i:i+1]))
		}
		s.mu.Unlock()
	}
	return outcomes, nil
}

// CommitTogether makes changes of several users, all of them or none: it checks all conditions of
// all changes before it writes anything, while it holds the lock once.
func (s *Store) CommitTogether(ctx context.Context, changes []userkit.Change) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	steps := make([]step, len(changes))
	for i := range changes {
		steps[i] = prepare(&changes[i])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(context.Background()); err != nil {
		return err
	}
	return s.commit(steps)
}

// commit makes all steps or none: it looks at everything that could speak against any
// of them before it writes anything. The store's lock is held.
func (s *Store) commit(steps []step) error {
	for i := range steps {
		if err := s.admit(&steps[i]); err != nil {
			return err
		}
	}
	if err := s.checkProfiles(steps); err != nil {
		return err
	}
	for at := range kinds {
		if err := kinds[at].check(s, steps, at); err != nil {
			return err
		}
	}
	for i := range steps {
		s.apply(&steps[i])
	}
	return nil
}

// admit says whether a step was decided from the version that the user has.
func (s *Store) admit(next *step) error {
	change := next.change
	next.before = s.users.get(change.User)
	switch {
	case next.before == nil && change.Version == 0 && !change.Delete:
		next.before = &user{own: s.users.erased[change.User]}
	case next.before == nil || next.before.account.version != change.Version || change.Version == 0:
		return userkit.ErrConflict
	}
	return nil
}

// apply makes a change that nothing speaks against.
func (s *Store) apply(next *step) {
	change, before := next.change, next.before
	s.events.commits++
	own := before.own
	if change.Delete {
		s.erase(before)
		own = nil
	}
	if own == nil && slices.ContainsFunc(next.edits, func(e edit) bool { return e != nil && e.adds() }) {
		own = &belongings{}
	}
	switch {
	case !change.Delete:
		next.user.profile, next.user.own = before.profile, own
		s.putProfile(next, before)
		s.users.table.put(next.user.profile.number, next.user)
	case own != nil:
		s.users.erased[change.User] = own // what outlives the user
	}
	for _, edit := range next.edits {
		if edit != nil {
			edit.put(s, next.user, own)
		}
	}
}

// checkProfiles says whether the unique values of users are free, and wanted once.
func (s *Store) checkProfiles(steps []step) error {
	wanted := map[userkit.UniqueValue]userkit.UserID{}
	for i := range steps {
		user := steps[i].change.Profile
		if user == nil {
			continue
		}
		for _, unique := range user.UniqueValues() {
			holder := s.users.find(unique.Field, unique.Value)
			if holder != nil && holder.profile.id != user.ID {
				return userkit.Taken("user", unique.Taken)
			}
			of := userkit.UniqueValue{Field: unique.Field, Value: unique.Value}
			if wants, found := wanted[of]; found && wants != user.ID {
				return userkit.Taken("user", unique.Taken)
			}
			wanted[of] = user.ID
		}
	}
	return nil
}

// repeated reports whether two records have the same key.
func repeated[T any, K comparable](all []*T, key func(*T) K) bool {
	if len(all) < 2 {
		return false
	}
	seen := make(map[K]struct{}, len(all))
	for _, record := range all {
		seen[key(record)] = struct{}{}
	}
	return len(seen) < len(all)
}

// putProfile gives the user its profile, and a new user its number.
func (s *Store) putProfile(next *step, before *user) {
	if next.profile == nil {
		return
	}
	if before.profile == nil {
		next.profile.number = s.users.table.add()
		s.users.numbers[next.change.User] = next.profile.number
		delete(s.users.erased, next.change.User)
	} else {
		next.profile.number = before.profile.number
	}
	s.users.put(next.profile, before.profile)
	next.user.profile = next.profile
}

// erase takes a user and everything that belongs to it out of every index.
func (s *Store) erase(gone *user) {
	own := gone.own
	if own == nil {
		own = &belongings{}
	}
	for i := range kinds {
		kinds[i].erase(s, gone, own)
	}
	s.users.remove(gone.profile)
	s.eraseName(gone.profile.id)
}
