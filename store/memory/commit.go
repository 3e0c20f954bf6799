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
	change       *userkit.Change
	user         *user    // as it becomes; its profile and belongings are filled in under the lock
	before       *user    // as it was when it was admitted
	profile      *profile // nil: stays
	devices      records[device]
	sessions     records[session]
	purchases    records[purchase]
	transactions records[transaction]
	events       []*event
}

type records[T any] struct {
	insert, update []*T
}

func recordsOf[P any, I comparable, T any](user userkit.UserID, from *userkit.Records[P, I], made func(userkit.UserID, *P) *T) records[T] {
	return records[T]{
		insert: madeOf(user, from.Insert, made),
		update: madeOf(user, from.Update, made),
	}
}

func madeOf[P, T any](user userkit.UserID, from []P, made func(userkit.UserID, *P) *T) []*T {
	if len(from) == 0 {
		return nil
	}
	all := make([]*T, len(from))
	for i := range from {
		all[i] = made(user, &from[i])
	}
	return all
}

// prepare makes the records of a change: everything that needs no lock.
func prepare(change *userkit.Change) step {
	made := step{change: change, events: madeOf(change.User, change.Events, eventOf)}
	if change.Delete {
		return made
	}
	made.user = &user{account: accountOf(&change.Account)}
	if change.Profile != nil {
		made.profile = profileOf(change.User, change.Profile)
	} else if change.Version == 0 {
		made.profile = profileOf(change.User, &userkit.User{})
	}
	made.devices = recordsOf(change.User, &change.Devices, deviceOf)
	made.sessions = recordsOf(change.User, &change.Sessions, sessionOf)
	made.purchases = recordsOf(change.User, &change.Purchases, purchaseOf)
	made.transactions = recordsOf(change.User, &change.Transactions, transactionOf)
	return made
}

// Commit makes changes, each whole or not at all, and returns an outcome for
// each.
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
			outcomes = append(outcomes, s.commit(&steps[i]))
		}
		s.mu.Unlock()
	}
	return outcomes, nil
}

// CommitTogether makes changes of several users, all of them or none: it looks at
// everything that could speak against any of them before it writes anything, in
// one hold of the lock.
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
	for i := range steps {
		if err := s.admit(&steps[i]); err != nil {
			return err
		}
	}
	if err := s.checkPurchases(steps...); err != nil {
		return err
	}
	if err := checkAmong(steps); err != nil {
		return err
	}
	for i := range steps {
		s.apply(&steps[i])
	}
	return nil
}

// commit makes one change: it looks at everything that could speak against it
// before it writes anything.
func (s *Store) commit(next *step) error {
	if err := s.admit(next); err != nil {
		return err
	}
	if len(next.purchases.insert)+len(next.purchases.update) > 0 {
		if err := s.checkPurchases(*next); err != nil {
			return err
		}
	}
	s.apply(next)
	return nil
}

// admit says what speaks against a change, but for its purchases, which one change
// may take from one user and give to another together with a second.
func (s *Store) admit(next *step) error {
	change := next.change
	next.before = s.users.get(change.User)
	switch {
	case next.before == nil && change.Version == 0 && !change.Delete:
		next.before = &user{own: s.users.erased[change.User]}
	case next.before == nil || next.before.account.version != change.Version || change.Version == 0:
		return userkit.ErrConflict
	}
	if change.Delete {
		return s.checkEvents(next, change.User)
	}
	return s.check(next, next.before)
}

// apply makes a change that nothing speaks against.
func (s *Store) apply(next *step) {
	change, before := next.change, next.before
	s.events.commits++
	if change.Delete {
		s.erase(before)
		s.record(next)
		return
	}
	next.user.profile, next.user.own = before.profile, before.own
	if next.user.own == nil && next.needsBelongings() {
		next.user.own = &belongings{}
	}
	s.putProfile(next, before)
	s.users.table.put(next.user.profile.number, next.user)
	s.putRecords(next)
	s.segments.put(next.user.profile.number, change)
}

// check says whether the unique values of a change are free.
func (s *Store) check(next *step, before *user) error {
	if next.profile != nil {
		if err := s.users.check(next.profile, before.profile); err != nil {
			return err
		}
	}
	if err := s.checkDevices(next); err != nil {
		return err
	}
	if err := s.segments.check(next.change); err != nil {
		return err
	}
	for _, session := range next.sessions.insert {
		if s.sessions.byID[session.id] != nil {
			return idTaken("session")
		}
	}
	if err := s.checkTransactions(next, before.own); err != nil {
		return err
	}
	return s.checkEvents(next, userkit.UserID{})
}

func (s *Store) checkDevices(next *step) error {
	for _, device := range next.devices.insert {
		if s.devices.byID[device.id] != nil {
			return idTaken("device")
		}
	}
	all := slices.Concat(next.devices.insert, next.devices.update)
	if len(all) == 0 {
		return nil
	}
	if len(all) == 1 { // the common case, such as a device that was seen
		if holder := s.devices.byToken[all[0].digest]; holder == nil || holder.id == all[0].id {
			return nil
		}
	}
	// A change may give the token of a device that it deletes or gives another
	// token to a device, as long as each token ends up in one place.
	digests := make(map[userkit.TokenDigest]bool)
	leaves := make(map[userkit.DeviceID]bool)
	for _, id := range next.change.Devices.Delete {
		leaves[id] = true
	}
	for _, device := range next.devices.update {
		leaves[device.id] = true
	}
	for _, device := range all {
		holder := s.devices.byToken[device.digest]
		if digests[device.digest] || holder != nil && !(leaves[holder.id] && holder.user == device.user) {
			return tokenTaken()
		}
		digests[device.digest] = true
	}
	return nil
}

func (s *Store) checkTransactions(next *step, own *belongings) error {
	for _, transaction := range next.transactions.insert {
		if s.transactions.get(transaction.id) != nil {
			return idTaken("transaction")
		}
	}
	all := next.transactions.insert
	if next.transactions.update != nil {
		all = slices.Concat(all, next.transactions.update)
	}
	if repeated(all, func(t *transaction) string { return t.key }) {
		return keyTaken()
	}
	if own == nil || own.ledger == nil {
		return nil
	}
	for _, transaction := range all {
		holder := s.transactions.byKey[entryKey{own.ledger, transaction.key}]
		if holder != nil && holder.id != transaction.id && !slices.Contains(next.change.Transactions.Delete, holder.id) {
			return keyTaken()
		}
	}
	return nil
}

// checkEvents says whether the ids of the events are free. Those of the user
// erased are about to become so.
func (s *Store) checkEvents(next *step, erased userkit.UserID) error {
	for _, event := range next.events {
		if holder := s.events.get(event.id); holder != nil && holder.user != erased {
			return idTaken("event")
		}
	}
	if repeated(next.events, func(e *event) userkit.EventID { return e.id }) {
		return idTaken("event")
	}
	return nil
}

// checkAmong says whether steps that are made together want one unique value
// twice. Their purchases are looked at by checkPurchases.
func checkAmong(steps []step) error {
	var profiles []*profile
	var all step
	var digests []*device
	for i := range steps {
		next := &steps[i]
		if next.profile != nil {
			profiles = append(profiles, next.profile)
		}
		all.devices.insert = append(all.devices.insert, next.devices.insert...)
		digests = slices.Concat(digests, next.devices.insert, next.devices.update)
		all.sessions.insert = append(all.sessions.insert, next.sessions.insert...)
		all.transactions.insert = append(all.transactions.insert, next.transactions.insert...)
		all.events = append(all.events, next.events...)
	}
	sameText := func(key func(*profile) string) bool {
		without := slices.DeleteFunc(slices.Clone(profiles), func(p *profile) bool { return key(p) == "" })
		return repeated(without, key)
	}
	switch {
	case sameText(func(p *profile) string { return p.loginKey }):
		return loginTaken()
	case sameText(func(p *profile) string { return p.emailKey }):
		return emailTaken()
	case sameText(func(p *profile) string { return p.text(p.extRef) }):
		return extRefTaken()
	case repeated(digests, func(d *device) userkit.TokenDigest { return d.digest }):
		return tokenTaken()
	case repeated(all.devices.insert, func(d *device) userkit.DeviceID { return d.id }):
		return idTaken("device")
	case repeated(all.sessions.insert, func(s *session) userkit.SessionID { return s.id }):
		return idTaken("session")
	case repeated(all.transactions.insert, func(t *transaction) userkit.TransactionID { return t.id }):
		return idTaken("transaction")
	case repeated(all.events, func(e *event) userkit.EventID { return e.id }):
		return idTaken("event")
	}
	return nil
}

func tokenTaken() error {
	return userkit.NewError(userkit.CodeTokenTaken, "access_token", "another device has this access token")
}

func idTaken(kind string) error {
	return userkit.NewError(userkit.CodeIDTaken, "id", "another %s has this id", kind)
}

func keyTaken() error {
	return userkit.NewError(userkit.CodeIDTaken, "key", "another transaction of the user has this key")
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

func (s *step) needsBelongings() bool {
	return s.events != nil || s.devices.insert != nil || s.sessions.insert != nil ||
		s.purchases.insert != nil || s.transactions.insert != nil || len(s.change.Usage) > 0
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

// putRecords writes the records of a change: what is deleted first, so that
// keys are free for what comes. A record to replace or to delete that is not
// there, or not the user's, is left out.
func (s *Store) putRecords(next *step) {
	own := next.user.own
	if own == nil {
		return
	}
	change := next.change
	for _, id := range change.Devices.Delete {
		if gone := s.devices.byID[id]; gone != nil && gone.user == change.User {
			s.devices.remove(gone)
			own.devices.remove(gone)
		}
	}
	// The tokens of all devices to replace are taken back before any is given,
	// since two devices may swap theirs.
	for _, device := range next.devices.update {
		if before := s.devices.byID[device.id]; before != nil && before.user == change.User && before.digest != device.digest {
			delete(s.devices.byToken, before.digest)
		}
	}
	for _, device := range next.devices.update {
		if before := s.devices.byID[device.id]; before != nil && before.user == change.User {
			device.owner = next.user.profile.number
			s.devices.put(own, device)
		}
	}
	for _, device := range next.devices.insert {
		device.owner = next.user.profile.number
		s.devices.put(own, device)
	}

	for _, id := range change.Sessions.Delete {
		if gone := s.sessions.byID[id]; gone != nil && gone.user == change.User {
			s.sessions.remove(gone)
			own.sessions.of(gone.active()).remove(gone)
		}
	}
	for _, session := range next.sessions.update {
		if before := s.sessions.byID[session.id]; before != nil && before.user == change.User {
			s.sessions.put(own, session)
		}
	}
	for _, session := range next.sessions.insert {
		s.sessions.put(own, session)
	}
	if len(change.Usage) > 0 && own.sessions == nil {
		own.sessions = &history{}
	}
	for _, day := range change.Usage {
		own.sessions.use(dayUsage{dateOf(day.Day), day.Received, day.Sent, day.Forgiven})
	}

	for _, id := range change.Purchases.Delete {
		if gone := s.purchases.byID[id]; gone != nil && gone.user == change.User {
			s.purchases.remove(gone)
			own.purchases.remove(gone)
		}
	}
	for _, purchase := range next.purchases.update {
		if before := s.purchases.byID[purchase.id]; before != nil && before.user == change.User {
			s.purchases.put(own, purchase)
		}
	}
	for _, purchase := range next.purchases.insert {
		s.purchases.put(own, purchase)
	}

	for _, id := range change.Transactions.Delete {
		if gone := s.transactions.get(id); gone != nil && gone.user == change.User {
			s.transactions.remove(own.ledger, gone)
			own.ledger.bySequence.remove(gone)
			own.ledger.byTime.remove(gone)
		}
	}
	for _, transaction := range next.transactions.update {
		if before := s.transactions.get(transaction.id); before != nil && before.user == change.User {
			s.transactions.put(own, transaction, before)
		}
	}
	for _, transaction := range next.transactions.insert {
		s.transactions.put(own, transaction, nil)
	}

	for _, event := range next.events {
		s.events.put(own, event)
	}
}

// erase takes a user and everything that belongs to it out of every index.
func (s *Store) erase(gone *user) {
	s.users.remove(gone.profile)
	s.segments.remove(gone.profile.number)
	own := gone.own
	if own == nil {
		return
	}
	for device := range own.devices.each {
		s.devices.remove(device)
	}
	for event := range own.events.each {
		s.events.remove(event)
	}
	if own.sessions != nil {
		for session := range own.sessions.open.each {
			s.sessions.remove(session)
		}
		for session := range own.sessions.ended.each {
			s.sessions.remove(session)
		}
	}
	if own.purchases != nil {
		for purchase := range own.purchases.each {
			s.purchases.remove(purchase)
		}
	}
	if own.ledger != nil {
		for transaction := range own.ledger.bySequence.each {
			s.transactions.remove(own.ledger, transaction)
		}
	}
}

// record writes the events of a deletion, which outlive the user.
func (s *Store) record(next *step) {
	if next.events == nil {
		return
	}
	own := &belongings{}
	for _, event := range next.events {
		s.events.put(own, event)
	}
	s.users.erased[next.change.User] = own
}
