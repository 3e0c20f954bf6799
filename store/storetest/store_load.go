package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func storeLoadGroup() group {
	return group{"Load", []testCase{
		{"of no wants gives no states", loadNothing},
		{"gives a state without anything for an unknown user", loadUnknownUser},
		{"without a profile gives the id and the account only", loadAccountOnly},
		{"with a profile gives the whole user", loadProfile},
		{"gives what was asked for and nothing else", loadOnlyWhatWasAsked},
		{"gives the devices that are named", loadDevices},
		{"gives the devices with the hardware ids that are named", loadHardwareIDs},
		{"gives all devices", loadAllDevices},
		{"gives the sessions that are named, active or not", loadSessions},
		{"gives the sessions that have not ended", loadOpenSessions},
		{"gives the transactions that are named, cancelled or not", loadTransactions},
		{"gives the transactions with the keys that are named", loadTransactionKeys},
		{"gives all purchases", loadPurchases},
		{"gives the activation that is open", loadActivation},
		{"gives the use per day from a day on, in order", loadUsage},
		{"tells which events are recorded", loadEvents},
		{"tells which events are recorded of a user who was deleted", loadEventsOfDeleted},
		{"counts the records of each kind", loadRowCounts},
		{"gives each record once, however often it is named", loadDuplicates},
		{"gives no record of another user, by whatever name", loadOfAnotherUser},
		{"ignores what is not there", loadMissingRecords},
		{"gives the states of many users in the order of the wants", loadManyUsers},
		{"gives different users what each was asked for", loadMixedWants},
		{"sees the version and the records of one moment", loadOneMoment},
	}}
}

func loadNothing(t *testing.T, env env) {
	states, err := env.store.Load(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, states)
	states, err = env.store.Load(t.Context(), []userkit.Want{})
	require.NoError(t, err)
	require.Empty(t, states)
}

func loadUnknownUser(t *testing.T, env env) {
	createAll(t, env.store, newDossier(1))
	want := newDossier(1).everything()
	want.User = userID(2)
	want.HardwareIDs = []string{newDossier(1).devices[0].HardwareID}
	want.TransactionKeys = []string{newDossier(1).transactions[0].Key}
	state := loadOne(t, env.store, want)
	require.False(t, state.Exists)
	for kind, count := range state.RowCounts {
		require.Zero(t, count, kind)
	}
	state.RowCounts = nil
	require.Equal(t, userkit.State{}, withoutEmpty(state))
}

func loadAccountOnly(t *testing.T, env env) {
	createAll(t, env.store, newDossier(1), newDossier(2))
	state := loadOne(t, env.store, userkit.Want{User: userID(1)})
	require.Equal(t, userkit.State{
		Exists: true, User: userkit.User{ID: userID(1), Account: newAccount(1)},
	}, withoutEmpty(state))
}

func loadProfile(t *testing.T, env env) {
	createAll(t, env.store, newDossier(1), newDossier(2))
	state := loadOne(t, env.store, userkit.Want{User: userID(1), Profile: true})
	require.Equal(t, userkit.State{Exists: true, User: newUser(1)}, withoutEmpty(state))
}

func loadOnlyWhatWasAsked(t *testing.T, env env) {
	d := newDossier(1)
	createAll(t, env.store, d, newDossier(2))
	narrow := userkit.State{Exists: true, User: userkit.User{ID: userID(1), Account: newAccount(1)}}
	for name, ask := range map[string]func(want *userkit.Want, state *userkit.State){
		"Profile": func(want *userkit.Want, state *userkit.State) {
			want.Profile, state.User = true, d.user
		},
		"Devices": func(want *userkit.Want, state *userkit.State) {
			want.Devices, state.Devices = []userkit.DeviceID{d.devices[0].ID}, d.devices[:1]
		},
		"HardwareIDs": func(want *userkit.Want, state *userkit.State) {
			want.HardwareIDs, state.Devices = []string{d.devices[1].HardwareID}, d.devices[1:]
		},
		"Sessions": func(want *userkit.Want, state *userkit.State) {
			want.Sessions, state.Sessions = []userkit.SessionID{d.sessions[1].ID}, d.sessions[1:]
		},
		"OpenSessions": func(want *userkit.Want, state *userkit.State) {
			want.OpenSessions, state.Sessions = true, d.sessions[:1]
		},
		"Transactions": func(want *userkit.Want, state *userkit.State) {
			want.Transactions, state.Transactions = []userkit.TransactionID{d.transactions[0].ID}, d.transactions[:1]
		},
		"TransactionKeys": func(want *userkit.Want, state *userkit.State) {
			want.TransactionKeys, state.Transactions = []string{d.transactions[1].Key}, d.transactions[1:]
		},
		"Connections": func(want *userkit.Want, state *userkit.State) {
			want.Connections, state.Connections = []userkit.ConnectionID{d.connections[1].ID}, d.connections[1:]
		},
		"PushMail": func(want *userkit.Want, state *userkit.State) {
			want.PushMail, state.PushMail = true, d.pushMail
		},
		"Activation": func(want *userkit.Want, state *userkit.State) {
			want.Activation, state.Activation = true, d.activation
		},
		"Messages": func(want *userkit.Want, state *userkit.State) {
			want.Messages, state.Messages = []userkit.MessageID{d.messages[0].ID}, d.messages[:1]
		},
		"MessageKeys": func(want *userkit.Want, state *userkit.State) {
			want.MessageKeys, state.Messages = []string{d.messages[0].Key}, d.messages[:1]
		},
		"Deliveries": func(want *userkit.Want, state *userkit.State) {
			want.Deliveries, state.Deliveries = []userkit.DeliveryID{d.deliveries[1].ID}, d.deliveries[1:]
		},
		"Purchases": func(want *userkit.Want, state *userkit.State) {
			want.Purchases, state.Purchases = true, d.purchases
		},
		"UsageFrom": func(want *userkit.Want, state *userkit.State) {
			want.UsageFrom, state.Usage = userkit.Set(d.usage[1].Day), d.usage[1:]
		},
		"Events": func(want *userkit.Want, state *userkit.State) {
			want.Events, state.Events = []userkit.EventID{d.events[1].ID}, []userkit.EventID{d.events[1].ID}
		},
		"Marks": func(want *userkit.Want, state *userkit.State) {
			want.Marks, state.Marks = []userkit.EventID{d.events[1].ID}, []userkit.EventID{d.events[1].ID}
		},
	} {
		want, expected := userkit.Want{User: userID(1)}, narrow
		ask(&want, &expected)
		got := withoutEmpty(loadOne(t, env.store, want))
		if want.Purchases {
			requirePurchases(t, expected.Purchases, got.Purchases)
			expected.Purchases, got.Purchases = nil, nil
		}
		require.Equal(t, expected, got, name)
	}
}

func loadDevices(t *testing.T, env env) {
	d := newDossier(1)
	d.devices = append(d.devices, newDevice(d.user.ID, 50))
	createAll(t, env.store, d, newDossier(2))
	state := loadOne(t, env.store, userkit.Want{User: d.user.ID, Devices: []userkit.DeviceID{d.devices[2].ID, d.devices[0].ID}})
	requireRecords(t, []userkit.DeviceRecord{d.devices[0], d.devices[2]}, state.Devices, recordID)
}

func loadHardwareIDs(t *testing.T, env env) {
	d := newDossier(1)
	d.devices[0].HardwareID = "Serial-ä"
	upper, blank, same := newDevice(d.user.ID, 50), newDevice(d.user.ID, 51), newDossier(2)
	upper.HardwareID, blank.HardwareID = "SERIAL-Ä", ""
	same.devices[0].HardwareID = "Serial-ä"
	d.devices = append(d.devices, upper, blank)
	createAll(t, env.store, d, same)

	state := loadOne(t, env.store, userkit.Want{User: d.user.ID, HardwareIDs: []string{"Serial-ä", "no such"}})
	requireRecords(t, d.devices[:1], state.Devices, recordID)
	state = loadOne(t, env.store, userkit.Want{User: d.user.ID, HardwareIDs: []string{"SERIAL-Ä", d.devices[1].HardwareID}})
	requireRecords(t, []userkit.DeviceRecord{d.devices[1], upper}, state.Devices, recordID)
}

func loadAllDevices(t *testing.T, env env) {
	d, none := newDossier(1), newDossier(3)
	none.devices = nil
	createAll(t, env.store, d, newDossier(2), none)
	states := load(t, env.store,
		userkit.Want{User: none.user.ID, AllDevices: true},
		userkit.Want{User: d.user.ID, AllDevices: true})
	require.Empty(t, states[0].Devices)
	requireRecords(t, d.devices, states[1].Devices, recordID)
}

func loadSessions(t *testing.T, env env) {
	d := newDossier(1)
	d.sessions = append(d.sessions, newOpenSession(d.user.ID, 50))
	createAll(t, env.store, d, newDossier(2))
	state := loadOne(t, env.store, userkit.Want{User: d.user.ID, Sessions: []userkit.SessionID{d.sessions[1].ID, d.sessions[0].ID}})
	requireRecords(t, d.sessions[:2], state.Sessions, sessionRecordID)
}

func loadOpenSessions(t *testing.T, env env) {
	d, none := newDossier(1), newDossier(3)
	d.sessions = append(d.sessions, newOpenSession(d.user.ID, 50))
	none.sessions = none.sessions[1:]
	createAll(t, env.store, d, newDossier(2), none)
	states := load(t, env.store,
		userkit.Want{User: d.user.ID, OpenSessions: true},
		userkit.Want{User: none.user.ID, OpenSessions: true})
	requireRecords(t, []userkit.Session{d.sessions[0], d.sessions[2]}, states[0].Sessions, sessionRecordID)
	require.Empty(t, states[1].Sessions)

	// A session that ends is open no more.
	change := step(&d.user)
	d.sessions[0].EndedAt, d.sessions[0].EndReason = at(1), userkit.EndedByClient
	change.Sessions.Update = d.sessions[:1]
	commit(t, env.store, change)
	state := loadOne(t, env.store, userkit.Want{User: d.user.ID, OpenSessions: true})
	requireRecords(t, d.sessions[2:], state.Sessions, sessionRecordID)
}

func loadTransactions(t *testing.T, env env) {
	d := newDossier(1)
	d.transactions = append(d.transactions, newTransaction(d.user.ID, 50))
	createAll(t, env.store, d, newDossier(2))
	state := loadOne(t, env.store, userkit.Want{User: d.user.ID, Transactions: []userkit.TransactionID{d.transactions[2].ID, d.transactions[1].ID}})
	requireRecords(t, d.transactions[1:], state.Transactions, transactionRecordID)
}

func loadTransactionKeys(t *testing.T, env env) {
	d, same := newDossier(1), newDossier(2)
	d.transactions[0].Key, d.transactions[1].Key, same.transactions[0].Key = "order-ä", "ORDER-Ä", "order-ä"
	createAll(t, env.store, d, same)
	state := loadOne(t, env.store, userkit.Want{User: d.user.ID, TransactionKeys: []string{"order-ä", "no such", ""}})
	requireRecords(t, d.transactions[:1], state.Transactions, transactionRecordID)
	state = loadOne(t, env.store, userkit.Want{User: d.user.ID, TransactionKeys: []string{"ORDER-Ä", "order-ä"}})
	requireRecords(t, d.transactions, state.Transactions, transactionRecordID)
}

func loadActivation(t *testing.T, env env) {
	d, none := newDossier(1), newDossier(2)
	none.activation = userkit.Activation{}
	createAll(t, env.store, d, none)
	states := load(t, env.store, userkit.Want{User: none.user.ID, Activation: true}, userkit.Want{User: d.user.ID, Activation: true})
	require.Zero(t, states[0].Activation)
	require.Equal(t, d.activation, states[1].Activation)
	require.Zero(t, loadOne(t, env.store, userkit.Want{User: d.user.ID}).Activation)
}

func loadPurchases(t *testing.T, env env) {
	d, none := newDossier(1), newDossier(3)
	d.purchases = append(d.purchases, newPurchase(d.user.ID, 50))
	none.purchases = nil
	createAll(t, env.store, d, newDossier(2), none)
	states := load(t, env.store,
		userkit.Want{User: none.user.ID, Purchases: true},
		userkit.Want{User: d.user.ID, Purchases: true},
		userkit.Want{User: userID(2)})
	require.Empty(t, states[0].Purchases)
	requirePurchases(t, d.purchases, states[1].Purchases)
	require.Empty(t, states[2].Purchases)
}

func loadUsage(t *testing.T, env env) {
	d := newDossier(1)
	d.usage = nil
	for _, n := range []int{4, -40, 2, 400, 3} {
		d.usage = append(d.usage, newDayUsage(n))
	}
	createAll(t, env.store, d, newDossier(2))
	sorted := []userkit.DayUsage{newDayUsage(-40), newDayUsage(2), newDayUsage(3), newDayUsage(4), newDayUsage(400)}

	from := func(n int) []userkit.DayUsage {
		return loadOne(t, env.store, userkit.Want{User: d.user.ID, UsageFrom: userkit.Set(newDayUsage(n).Day)}).Usage
	}
	requireUsage(t, sorted, from(-41))
	requireUsage(t, sorted, from(-40))
	requireUsage(t, sorted[1:], from(-39))
	requireUsage(t, sorted[2:], from(3))
	requireUsage(t, sorted[4:], from(5))
	requireUsage(t, nil, from(401))
}

func loadEvents(t *testing.T, env env) {
	d := newDossier(1)
	createAll(t, env.store, d, newDossier(2))
	state := loadOne(t, env.store, userkit.Want{User: d.user.ID, Events: []userkit.EventID{eventID(777), d.events[1].ID}})
	require.Equal(t, []userkit.EventID{d.events[1].ID}, state.Events)
	state = loadOne(t, env.store, userkit.Want{User: d.user.ID, Events: []userkit.EventID{eventID(777), eventID(778)}})
	require.Empty(t, state.Events)
}

func loadEventsOfDeleted(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	want := d.everything()
	deletion := step(&d.user)
	deletion.Delete = true
	deletion.Events = []userkit.Event{newEvent(d.user.ID, 60), newEvent(d.user.ID, 61)}
	commit(t, env.store, deletion)

	want.RowCounts = false
	want.Events = append(want.Events, eventID(61), eventID(900), other.events[0].ID, eventID(61))
	theirs := userkit.Want{User: other.user.ID, Events: []userkit.EventID{eventID(61), other.events[0].ID}}
	theirs.Marks = []userkit.EventID{eventID(61), eventID(61), eventID(900)} // whoever's they are
	never := userkit.Want{User: userID(3), Events: want.Events, Marks: theirs.Marks}
	states := load(t, env.store, want, theirs, never)
	require.Equal(t, userkit.State{Events: []userkit.EventID{eventID(61)}}, withoutEmpty(states[0]))
	require.Equal(t, []userkit.EventID{other.events[0].ID}, states[1].Events)
	require.Equal(t, []userkit.EventID{eventID(61)}, states[1].Marks)
	require.Equal(t, userkit.State{Marks: []userkit.EventID{eventID(61)}}, withoutEmpty(states[2]))
}

func loadRowCounts(t *testing.T, env env) {
	d, empty := newDossier(1), dossier{user: newUser(3)}
	// Different numbers, so that no count can stand in for another.
	d.devices = nil
	d.sessions = d.sessions[:1]
	d.transactions = append(d.transactions, newTransaction(d.user.ID, 50))
	d.usage = append(d.usage, newDayUsage(50), newDayUsage(51))
	for n := range 4 {
		d.purchases = append(d.purchases, newOwnPurchase(d.user.ID, 50+n))
	}
	for n := range 3 {
		d.events = append(d.events, newEvent(d.user.ID, 50+n))
	}
	createAll(t, env.store, d, newDossier(2), empty)
	states := load(t, env.store,
		userkit.Want{User: d.user.ID, RowCounts: true},
		userkit.Want{User: userID(2), RowCounts: true},
		userkit.Want{User: empty.user.ID, RowCounts: true})
	requireRowCounts(t, d.rowCounts(), states[0].RowCounts)
	requireRowCounts(t, newDossier(2).rowCounts(), states[1].RowCounts)
	requireRowCounts(t, empty.rowCounts(), states[2].RowCounts)

	change := step(&d.user)
	change.Sessions.Delete = []userkit.SessionID{d.sessions[0].ID}
	change.Devices.Insert = []userkit.DeviceRecord{newDevice(d.user.ID, 60), newDevice(d.user.ID, 61)}
	change.Usage = []userkit.DayUsage{newDayUsage(50), newDayUsage(60)}
	change.Purchases.Delete = []userkit.PurchaseID{d.purchases[0].ID}
	commit(t, env.store, change)
	d.sessions, d.devices, d.usage = nil, change.Devices.Insert, append(d.usage, newDayUsage(60))
	d.purchases = d.purchases[1:]
	requireRowCounts(t, d.rowCounts(), loadOne(t, env.store, userkit.Want{User: d.user.ID, RowCounts: true}).RowCounts)
}

func loadDuplicates(t *testing.T, env env) {
	d := newDossier(1)
	createAll(t, env.store, d, newDossier(2))
	want := d.everything()
	for _, device := range d.devices {
		want.Devices = append(want.Devices, device.ID, device.ID)
		want.HardwareIDs = append(want.HardwareIDs, device.HardwareID, device.HardwareID)
	}
	for _, transaction := range d.transactions {
		want.TransactionKeys = append(want.TransactionKeys, transaction.Key, transaction.Key)
	}
	want.Sessions = append(want.Sessions, want.Sessions...)
	want.Transactions = append(want.Transactions, want.Transactions...)
	want.Events = append(want.Events, want.Events...)
	check := func(state userkit.State) {
		t.Helper()
		requireRecords(t, d.devices, state.Devices, recordID)
		requireRecords(t, d.sessions, state.Sessions, sessionRecordID)
		requirePurchases(t, d.purchases, state.Purchases)
		requireRecords(t, d.transactions, state.Transactions, transactionRecordID)
		requireUsage(t, d.usage, state.Usage)
		slices.SortFunc(state.Events, userkit.EventID.Compare)
		require.Equal(t, []userkit.EventID{d.events[0].ID, d.events[1].ID}, state.Events)
	}
	check(loadOne(t, env.store, want))
	want.AllDevices = false
	check(loadOne(t, env.store, want))
}

func loadOfAnotherUser(t *testing.T, env env) {
	mine, other := newDossier(1), newDossier(2)
	createAll(t, env.store, mine, other)
	want := other.everything() // by its ids
	want.User = mine.user.ID
	want.AllDevices, want.OpenSessions, want.UsageFrom = false, false, userkit.Optional[userkit.Day]{}
	for _, device := range other.devices {
		want.Devices = append(want.Devices, device.ID)
		want.HardwareIDs = append(want.HardwareIDs, device.HardwareID)
	}
	for _, transaction := range other.transactions {
		want.TransactionKeys = append(want.TransactionKeys, transaction.Key)
	}
	state := loadOne(t, env.store, want)
	require.True(t, state.Exists)
	requireUser(t, mine.user, state.User)
	requireRowCounts(t, mine.rowCounts(), state.RowCounts)
	require.Empty(t, state.Devices)
	require.Empty(t, state.Sessions)
	require.Empty(t, state.Transactions)
	require.Empty(t, state.Usage)
	require.Empty(t, state.Events)

	// The same names in one call, asked for by both: each gets its own.
	want.Devices = append(want.Devices, mine.devices[0].ID)
	want.HardwareIDs = append(want.HardwareIDs, mine.devices[1].HardwareID)
	theirs := want
	theirs.User = other.user.ID
	states := load(t, env.store, want, theirs)
	requireRecords(t, mine.devices, states[0].Devices, recordID)
	require.Empty(t, states[0].Sessions)
	require.Empty(t, states[0].Transactions)
	require.Empty(t, states[0].Events)
	requireRecords(t, other.devices, states[1].Devices, recordID)
	requireRecords(t, other.sessions, states[1].Sessions, sessionRecordID)
	requireRecords(t, other.transactions, states[1].Transactions, transactionRecordID)
	require.Len(t, states[1].Events, 2)
}

func loadMissingRecords(t *testing.T, env env) {
	d := newDossier(1)
	createAll(t, env.store, d)
	state := loadOne(t, env.store, userkit.Want{
		User:            d.user.ID,
		Devices:         []userkit.DeviceID{deviceID(900), {}},
		HardwareIDs:     []string{"no such"},
		Sessions:        []userkit.SessionID{sessionID(900), {}},
		Transactions:    []userkit.TransactionID{transactionID(900), {}},
		TransactionKeys: []string{"no such"},
		Events:          []userkit.EventID{eventID(900), {}},
	})
	require.Equal(t, userkit.State{
		Exists: true, User: userkit.User{ID: d.user.ID, Account: d.user.Account},
	}, withoutEmpty(state))
}

func loadManyUsers(t *testing.T, env env) {
	const users = 60
	var dossiers []dossier
	for n := range users {
		dossiers = append(dossiers, newDossier(n))
	}
	createAll(t, env.store, dossiers...)
	var wants []userkit.Want
	order := make([]int, 0, 2*users)
	for i := range 2 * users { // every second one is unknown
		n := i * 37 % (2 * users)
		order = append(order, n)
		if n < users {
			wants = append(wants, dossiers[n].everything())
		} else {
			want := dossiers[n-users].everything()
			want.User = userID(n)
			wants = append(wants, want)
		}
	}
	for i, state := range load(t, env.store, wants...) {
		n := order[i]
		if n >= users {
			require.False(t, state.Exists)
			require.Equal(t, userkit.User{}, state.User)
			require.Empty(t, state.Devices)
			require.Empty(t, state.Sessions)
			require.Empty(t, state.Transactions)
			require.Empty(t, state.Usage)
			require.Empty(t, state.Events)
			continue
		}
		require.True(t, state.Exists)
		requireUser(t, dossiers[n].user, state.User)
		requireRecords(t, dossiers[n].devices, state.Devices, recordID)
		requireRecords(t, dossiers[n].sessions, state.Sessions, sessionRecordID)
		requireRecords(t, dossiers[n].transactions, state.Transactions, transactionRecordID)
		requireUsage(t, dossiers[n].usage, state.Usage)
		require.Len(t, state.Events, 2)
		requireRowCounts(t, dossiers[n].rowCounts(), state.RowCounts)
	}
}

func loadMixedWants(t *testing.T, env env) {
	a, b, c := newDossier(1), newDossier(2), newDossier(3)
	a.usage = []userkit.DayUsage{newDayUsage(1), newDayUsage(9)}
	b.usage = a.usage
	createAll(t, env.store, a, b, c)
	states := load(t, env.store,
		userkit.Want{User: a.user.ID, Devices: []userkit.DeviceID{a.devices[1].ID}, UsageFrom: userkit.Set(newDayUsage(9).Day), RowCounts: true},
		userkit.Want{User: b.user.ID, AllDevices: true, OpenSessions: true, UsageFrom: userkit.Set(newDayUsage(1).Day)},
		userkit.Want{User: c.user.ID, Profile: true, Sessions: []userkit.SessionID{c.sessions[1].ID}, Transactions: []userkit.TransactionID{c.transactions[0].ID}})

	narrow := func(d dossier) userkit.User { return userkit.User{ID: d.user.ID, Account: d.user.Account} }
	requireRowCounts(t, a.rowCounts(), states[0].RowCounts)
	states[0].RowCounts = nil
	require.Equal(t, userkit.State{Exists: true, User: narrow(a), Devices: a.devices[1:], Usage: a.usage[1:]}, withoutEmpty(states[0]))
	states[1].Devices = sortedByID(states[1].Devices, recordID)
	require.Equal(t, userkit.State{Exists: true, User: narrow(b), Devices: b.devices, Sessions: b.sessions[:1], Usage: b.usage}, withoutEmpty(states[1]))
	require.Equal(t, userkit.State{Exists: true, User: c.user, Sessions: c.sessions[1:], Transactions: c.transactions[:1]}, withoutEmpty(states[2]))
}

// loadOneMoment: a state whose records are newer than its account may be, since
// a change that is decided from it conflicts; one whose account is newer than
// its records must never be. So the writer makes every record of a version
// carry it, and no state may hold a record older than its account.
func loadOneMoment(t *testing.T, env env) {
	const versions = 150
	d := newDossier(1)
	createAll(t, env.store, d)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range versions {
			change := step(&d.user)
			d.devices[0].RegisteredAt = at(int(d.user.Version))
			d.sessions[0].Received = d.user.Version
			d.transactions[1].Sequence = 1000 + d.user.Version
			change.Devices.Update, change.Sessions.Update, change.Transactions.Update = d.devices[:1], d.sessions[:1], d.transactions[1:]
			change.Usage = []userkit.DayUsage{{Day: newDayUsage(900).Day, Received: 1}}
			if errs, err := env.store.Commit(t.Context(), []userkit.Change{change}); err != nil || errs[0] != nil {
				t.Errorf("commit of version %d: %v, %v", d.user.Version, errs, err)
				return
			}
		}
	}()
	t.Cleanup(func() { <-done })
	reader := env.second(t)
	want := userkit.Want{
		User: d.user.ID, Profile: true, AllDevices: true, OpenSessions: true,
		Transactions: []userkit.TransactionID{d.transactions[1].ID}, UsageFrom: userkit.Set(newDayUsage(900).Day),
	}
	last := int64(1)
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		state := loadOne(t, reader, want)
		version := state.User.Version
		require.GreaterOrEqual(t, version, last, "the version went back")
		last = version
		if version == 1 {
			continue
		}
		for _, device := range state.Devices {
			if device.ID == d.devices[0].ID {
				seen := int64(device.RegisteredAt.Sub(base) / time.Second)
				require.GreaterOrEqual(t, seen, version, "a device older than the account")
			}
		}
		require.GreaterOrEqual(t, state.Sessions[0].Received, version, "a session older than the account")
		require.GreaterOrEqual(t, state.Transactions[0].Sequence-1000, version, "a transaction older than the account")
		require.GreaterOrEqual(t, state.Usage[0].Received+1, version, "usage older than the account")
	}
	require.EqualValues(t, 1+versions, last)
}
