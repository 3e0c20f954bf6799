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
	for _, id := range distinct(want.Marks) {
		if s.events.get(id) != nil {
			state.Marks = append(state.Marks, id)
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
	for i := range kinds {
		kinds[i].load(s, want, found, own, state)
	}
	if want.RowCounts {
		state.RowCounts = make(map[string]int, len(kinds))
		for i := range kinds {
			state.RowCounts[kinds[i].name] = kinds[i].count(s, found, own)
		}
	}
}

// lastDate is after every day.
const lastDate = date(1<<31 - 1)

func loadDevices(s *Store, want *userkit.Want, own *belongings, state *userkit.State) {
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
	state.Devices = convertAny(found, (*device).record)
}

func loadSessions(s *Store, want *userkit.Want, own *belongings, state *userkit.State) {
	if own.sessions == nil {
		return
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
	state.Sessions = convertAny(found, (*session).out)
}

func loadTransactions(s *Store, want *userkit.Want, own *belongings, state *userkit.State) {
	if own.ledger == nil || len(want.Transactions) == 0 && len(want.TransactionKeys) == 0 {
		return
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
	state.Transactions = convertAny(distinct(found), (*transaction).out)
}

// convertAny is convert, with nil for no records.
func convertAny[T, P any](rows []*T, out func(*T) P) []P {
	if len(rows) == 0 {
		return nil
	}
	return convert(rows, out)
}
