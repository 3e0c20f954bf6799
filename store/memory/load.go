package memory

import (
	"context"
	"slices"

	"github.com/userkit/userkit"
)

// loadsAtOnce is how many states are read in one hold of the lock.
const loadsAtOnce = 64

// Load returns a state for every want. Each is of one moment.
func (s *Store) Load(ctx context.Context, wants []userkit.Want) ([]userkit.State, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	states := make([]userkit.State, len(wants))
	for first := 0; first < len(wants); first += loadsAtOnce {
		s.mu.RLock()
		for i := first; i < min(first+loadsAtOnce, len(wants)); i++ {
			s.load(&wants[i], &states[i])
		}
		s.mu.RUnlock()
	}
	return states, nil
}

func (s *Store) load(want *userkit.Want, state *userkit.State) {
	// A user who was deleted has left an event.
	for _, id := range distinct(want.Events) {
		if event := s.events.get(id); event != nil && event.user == want.User {
			state.Events = append(state.Events, id)
		}
	}
	found := s.users.get(want.User)
	if found == nil {
		return
	}
	state.Exists = true
	if want.Profile {
		state.User = found.out()
	} else {
		state.User.ID = want.User
		found.account.fill(&state.User.Account)
	}
	own := found.own
	if own == nil {
		own = &belongings{}
	}
	memberships := []userkit.SegmentID(nil)
	if want.Segments || want.RowCounts {
		memberships = s.segments.with(found.profile.number)
	}
	if want.Segments {
		state.Segments = memberships
	}
	if want.RowCounts {
		state.RowCounts = own.counts()
		state.RowCounts[userkit.RowsMemberships] = len(memberships)
	}
	state.Devices = s.loadDevices(want, own)
	state.Sessions = s.loadSessions(want, own)
	state.Transactions = s.loadTransactions(want, own)
	if want.Purchases && own.purchases != nil {
		state.Purchases = convertAny(slices.Collect(own.purchases.each), (*purchase).out)
	}
	if from, ok := want.UsageFrom.Get(); ok && own.sessions != nil {
		state.Usage = own.sessions.between(dateOf(from), lastDate)
	}
}

// lastDate is after every day.
const lastDate = date(1<<31 - 1)

func (b *belongings) counts() map[string]int {
	counts := map[string]int{
		userkit.RowsDevices:      b.devices.len(),
		userkit.RowsSessions:     0,
		userkit.RowsDays:         0,
		userkit.RowsPurchases:    0,
		userkit.RowsTransactions: 0,
		userkit.RowsEvents:       b.events.len(),
	}
	if b.sessions != nil {
		counts[userkit.RowsSessions] = b.sessions.open.len() + b.sessions.ended.len()
		counts[userkit.RowsDays] = len(b.sessions.days)
	}
	if b.purchases != nil {
		counts[userkit.RowsPurchases] = b.purchases.len()
	}
	if b.ledger != nil {
		counts[userkit.RowsTransactions] = b.ledger.bySequence.len()
	}
	return counts
}

func (s *Store) loadDevices(want *userkit.Want, own *belongings) []userkit.DeviceRecord {
	var found []*device
	switch {
	case want.AllDevices:
		found = slices.Collect(own.devices.each)
	case len(want.HardwareIDs) > 0:
		wanted := make(map[string]bool, len(want.HardwareIDs))
		for _, id := range want.HardwareIDs {
			wanted[id] = id != ""
		}
		for device := range own.devices.each {
			if wanted[device.hardwareID] {
				found = append(found, device)
			}
		}
		fallthrough
	default:
		for _, id := range want.Devices {
			if device := s.devices.byID[id]; device != nil && device.user == want.User {
				found = append(found, device)
			}
		}
		found = distinct(found)
	}
	return convertAny(found, (*device).record)
}

func (s *Store) loadSessions(want *userkit.Want, own *belongings) []userkit.Session {
	if own.sessions == nil {
		return nil
	}
	var found []*session
	if want.OpenSessions {
		found = slices.Collect(own.sessions.open.each)
	}
	for _, id := range distinct(want.Sessions) {
		session := s.sessions.byID[id]
		if session == nil || session.user != want.User || want.OpenSessions && session.active() {
			continue
		}
		found = append(found, session)
	}
	return convertAny(found, (*session).out)
}

func (s *Store) loadTransactions(want *userkit.Want, own *belongings) []userkit.Transaction {
	if own.ledger == nil || len(want.Transactions) == 0 && len(want.TransactionKeys) == 0 {
		return nil
	}
	var found []*transaction
	for _, id := range want.Transactions {
		if transaction := s.transactions.get(id); transaction != nil && transaction.user == want.User {
			found = append(found, transaction)
		}
	}
	for _, key := range want.TransactionKeys {
		if transaction := s.transactions.byKey[entryKey{own.ledger, key}]; transaction != nil {
			found = append(found, transaction)
		}
	}
	return convertAny(distinct(found), (*transaction).out)
}

// convertAny is convert, with nil for no records.
func convertAny[T, P any](rows []*T, out func(*T) P) []P {
	if len(rows) == 0 {
		return nil
	}
	return convert(rows, out)
}
