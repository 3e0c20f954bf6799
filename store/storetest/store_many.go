package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// storeManyGroup repeats what short lists show on lists that are longer than a
// store may hold in one piece or read in one step.
func storeManyGroup() group {
	return group{"Many", []testCase{
		{"users are listed in order and counted", manyUsers},
		{"devices are listed in order and ranked", manyDevices},
		{"sessions are listed in order, and few are found among them", manySessions},
		{"transactions are listed in order and summed up", manyTransactions},
		{"events are listed in order, and few are found among them", manyEvents},
		{"events of a feed are given in one page and in many", manyFeedEvents},
		{"days are kept in order", manyDays},
		{"records are deleted with their user", manyDeleted},
	}}
}

const (
	many    = 1200 // more than fit into one batch or one page
	oneIn   = 200  // of many records, so many are the few that a filter takes
	perPage = 280
)

// spread returns a number that is not in the order of n, and equal for few n.
func spread(n int) int { return n * 7919 % (many - 1) }

// hasMany creates a user with many records and another with one of each kind.
func hasMany(t *testing.T, store userkit.Store, add func(change *userkit.Change, n int)) (userkit.User, dossier) {
	t.Helper()
	user, other := newUser(1), newDossier(20_000)
	change := creation(user)
	for n := range many {
		add(&change, n)
	}
	commit(t, store, other.creation(), change)
	return user, other
}

func manyUsers(t *testing.T, env env) {
	var users, active []userkit.User
	var changes []userkit.Change
	for n := range many {
		user := newUser(n)
		user.Login = fmt.Sprintf("%05d", spread(n)) + strings.Repeat("!", n/(many-1))
		user.Name = fmt.Sprintf("Name %d", spread(n)/7)
		user.RegisteredAt = at(spread(n) / 3)
		user.Balance.Amount = int64(spread(n) % 100)
		user.Status = userkit.StatusDisabled
		if n%oneIn == 7 {
			user.Status = userkit.StatusActive
			active = append(active, user)
		}
		users = append(users, user)
		changes = append(changes, creation(user))
	}
	commit(t, env.store, changes[:many/2]...)
	commit(t, env.store, changes[many/2:]...)

	fields := []string{"login", "name", "registered_at", "balance", "id"}
	listingOfUsers(t, env.store, userkit.UserSelection{}, users).requireWalks(t, perPage, fields...)
	listingOfUsers(t, env.store, userkit.UserSelection{}, users).requireWalks(t, many, "login", "description")
	listingOfUsers(t, env.store, userkit.UserSelection{WithoutDisabled: true}, active).requireWalks(t, 2, fields...)
	requireUserCount(t, env.store, userkit.UserSelection{}, many)
	requireUserCount(t, env.store, userkit.UserSelection{WithoutDisabled: true}, len(active))
	for n := 0; n < many; n += oneIn {
		requireFound(t, env.store, userkit.ByLogin(users[n].Login), users[n])
		requireFound(t, env.store, userkit.ByExtRef(users[n].ExtRef), users[n])
	}
}

func manyDevices(t *testing.T, env env) {
	var records []userkit.DeviceRecord
	user, other := hasMany(t, env.store, func(change *userkit.Change, n int) {
		device := newDevice(change.User, n)
		device.RegisteredAt, device.Name = at(spread(n)/3), fmt.Sprint("Name ", spread(n)/7)
		change.Devices.Insert = append(change.Devices.Insert, device)
		records = append(records, device)
	})
	all := append(append([]userkit.DeviceRecord{}, records...), other.devices...)
	fields := []string{"registered_at", "name"}
	listingOfDevices(t, env.store, userkit.DeviceFilter{UserID: user.ID}, records).requireWalks(t, perPage, fields...)
	listingOfDevices(t, env.store, userkit.DeviceFilter{}, all).requireWalks(t, perPage, fields...)
	requireSealed(t, env.store, belonging(all, func(device userkit.DeviceRecord) bool { return true }))

	sorted := listingOfDevices(t, env.store, userkit.DeviceFilter{}, records)
	inOrder := sorted.sorted(sorted.fields[5], false)
	require.Equal(t, "registered_at", sorted.fields[5].Name)
	digests := map[userkit.DeviceID]userkit.TokenDigest{}
	for _, record := range records {
		digests[record.ID] = record.TokenDigest
	}
	for rank := 0; rank < many; rank += oneIn {
		device, _, got, err := env.store.DeviceByToken(t.Context(), digests[inOrder[rank].ID])
		require.NoError(t, err)
		require.Equal(t, inOrder[rank], device)
		require.Equal(t, rank, got)
	}

	// Nearly all devices belong to a user who is disabled.
	commit(t, env.store, edit(&user, func(user *userkit.User) { user.Status = userkit.StatusDisabled }))
	listingOfDevices(t, env.store, userkit.DeviceFilter{WithoutDisabled: true}, other.devices).requireWalks(t, 1, fields...)
	listingOfDevices(t, env.store, userkit.DeviceFilter{UserID: user.ID}, records).requireWalks(t, perPage, "registered_at")
}

func manySessions(t *testing.T, env env) {
	var sessions []userkit.Session
	user, other := hasMany(t, env.store, func(change *userkit.Change, n int) {
		session := newSession(change.User, n)
		if n%3 == 0 {
			session = newOpenSession(change.User, n)
		}
		session.StartedAt, session.ReportedAt = at(spread(n)/3), at(spread(n)/3)
		session.DeviceID, session.Node = deviceID(n%7), fmt.Sprint("node ", spread(n)/7)
		if n%oneIn == 7 {
			session.DeviceID = deviceID(9)
		}
		change.Sessions.Insert = append(change.Sessions.Insert, session)
		sessions = append(sessions, session)
	})
	all := append(append([]userkit.Session{}, sessions...), other.sessions...)
	for _, filter := range []userkit.SessionFilter{
		{}, {UserID: user.ID}, {UserID: other.user.ID}, {State: userkit.SessionsActive}, {UserID: user.ID, State: userkit.SessionsEnded},
		{From: at(50), To: at(300)}, {UserID: user.ID, From: at(50), To: at(300)}, {From: at(100)}, {To: at(100), State: userkit.SessionsActive},
		{From: at(100), To: at(102)},
	} {
		listingOfSessions(t, env.store, filter, belonging(all, takesSession(filter))).requireWalks(t, perPage, "started_at", "node")
	}
	for _, filter := range []userkit.SessionFilter{
		{DeviceID: deviceID(9)}, {DeviceID: deviceID(9), UserID: user.ID, State: userkit.SessionsEnded}, {DeviceID: deviceID(9), From: at(50), To: at(300)},
	} {
		few := belonging(all, takesSession(filter))
		require.NotEmpty(t, few)
		listingOfSessions(t, env.store, filter, few).requireWalks(t, 2, "started_at", "node")
	}
	requireStale(t, env.store, at(300), belonging(all, func(session userkit.Session) bool {
		return session.Active() && session.ReportedAt.Before(at(300))
	})...)
	open := loadOne(t, env.store, userkit.Want{User: user.ID, OpenSessions: true}).Sessions
	requireRecords(t, belonging(sessions, userkit.Session.Active), open, sessionRecordID)
}

func manyTransactions(t *testing.T, env env) {
	var transactions []userkit.Transaction
	var balance int64
	user, other := hasMany(t, env.store, func(change *userkit.Change, n int) {
		transaction := newCountingTransaction(change.User, n)
		transaction.Sequence, transaction.At = int64(n+1), at(spread(n)/3)
		transaction.Kind = userkit.TransactionRefill
		if n%oneIn == 7 {
			transaction = newTransaction(change.User, n)
			transaction.Sequence = int64(n + 1)
		} else {
			balance += transaction.Amount.Amount
		}
		transaction.Balance.Amount = balance
		change.Transactions.Insert = append(change.Transactions.Insert, transaction)
		transactions = append(transactions, transaction)
	})
	all := append(append([]userkit.Transaction{}, transactions...), other.transactions...)
	for _, filter := range []userkit.TransactionFilter{
		{}, {IncludeCancelled: true}, {UserID: user.ID}, {UserID: user.ID, IncludeCancelled: true}, {UserID: user.ID, From: at(50), To: at(300)},
		{From: at(50), To: at(300)}, {From: at(100), IncludeCancelled: true},
	} {
		listingOfTransactions(t, env.store, filter, belonging(all, takesTransaction(filter))).requireWalks(t, perPage, "at", "sequence")
	}
	requireLedger(t, env.store, userkit.Ledger{
		UserID: user.ID, Account: user.Account, Count: many, MaxSequence: many, Sum: balance, LastSequence: many, Last: transactions[many-1].ID,
	})
	state := loadOne(t, env.store, userkit.Want{User: user.ID, TransactionKeys: []string{transactions[many/2].Key}})
	requireRecords(t, transactions[many/2:many/2+1], state.Transactions, transactionRecordID)
}

func manyEvents(t *testing.T, env env) {
	var events []userkit.Event
	user, other := hasMany(t, env.store, func(change *userkit.Change, n int) {
		event := newEvent(change.User, n)
		event.At, event.Name, event.DeviceID = at(spread(n)/3), "host.often", deviceID(n%7)
		if n%oneIn == 7 {
			event.Name = "host.seldom"
		}
		change.Events = append(change.Events, event)
		events = append(events, event)
	})
	all := append(append([]userkit.Event{}, events...), other.events...)
	for _, filter := range []userkit.EventFilter{
		{}, {UserID: user.ID}, {UserID: other.user.ID}, {Name: "host.often"}, {DeviceID: deviceID(3)}, {From: at(50), To: at(300)},
		{UserID: user.ID, From: at(50), To: at(300), DeviceID: deviceID(3)}, {To: at(100)},
	} {
		listingOfEvents(t, env.store, filter, belonging(all, takesEvent(filter))).requireWalks(t, perPage, "at")
	}
	for _, filter := range []userkit.EventFilter{
		{Name: "host.seldom"}, {UserID: user.ID, Name: "host.seldom"}, {Name: "host.seldom", From: at(50), To: at(300)}, {Name: "host.never"},
	} {
		listingOfEvents(t, env.store, filter, belonging(all, takesEvent(filter))).requireWalks(t, 2, "at")
	}
}

func manyFeedEvents(t *testing.T, env env) {
	var events []userkit.Event
	user, other := hasMany(t, env.store, func(change *userkit.Change, n int) {
		events = append(events, newEvent(change.User, spread(n)+many*(n/(many-1))))
	})
	changes := 0
	for first := 0; first < many; first += oneIn {
		change := step(&user)
		change.Events = events[first : first+oneIn]
		commit(t, env.store, change)
		changes++
	}
	total := many + len(other.events)
	inOrder := feedOf(t, env.store, userkit.FeedPosition{}, whole, total)
	requireFeed(t, inOrder, feedOf(t, env.store, userkit.FeedPosition{}, perPage, total))
	want := sortedByID(other.events, eventRecordID)
	for n := range changes {
		want = append(want, sortedByID(events[n*oneIn:(n+1)*oneIn], eventRecordID)...)
	}
	requireEvents(t, want, withoutPositions(inOrder))
}

func manyDays(t *testing.T, env env) {
	user, _ := hasMany(t, env.store, func(change *userkit.Change, n int) {
		change.Usage = append(change.Usage, newDayUsage((n*7919)%many))
	})
	change := step(&user)
	var want []userkit.DayUsage
	for n := range many {
		day := newDayUsage(n)
		if n%oneIn == 7 {
			change.Usage = append(change.Usage, day)
			day = doubled(day)
		}
		want = append(want, day)
	}
	commit(t, env.store, change)
	got, err := env.store.Usage(t.Context(), user.ID, newDayUsage(0).Day, newDayUsage(many).Day)
	require.NoError(t, err)
	requireUsage(t, want, got)
	got, err = env.store.Usage(t.Context(), user.ID, newDayUsage(400).Day, newDayUsage(799).Day)
	require.NoError(t, err)
	requireUsage(t, want[400:800], got)
	requireUsage(t, want[many-10:], loadOne(t, env.store, userkit.Want{User: user.ID, UsageFrom: userkit.Set(newDayUsage(many - 10).Day)}).Usage)
}

func manyDeleted(t *testing.T, env env) {
	gone := dossier{}
	user, other := hasMany(t, env.store, func(change *userkit.Change, n int) {
		change.Devices.Insert = append(change.Devices.Insert, newDevice(change.User, n))
		change.Transactions.Insert = append(change.Transactions.Insert, newTransaction(change.User, n+1))
		change.Usage = append(change.Usage, newDayUsage(n))
		change.Purchases.Insert = append(change.Purchases.Insert, newOwnPurchase(change.User, n))
		change.Events = append(change.Events, newEvent(change.User, n))
		session := newSession(change.User, n)
		if n%2 == 0 {
			session = newOpenSession(change.User, n)
		}
		change.Sessions.Insert = append(change.Sessions.Insert, session)
		if n%oneIn == 7 {
			gone.devices = append(gone.devices, newDevice(change.User, n))
			gone.sessions = append(gone.sessions, session)
			gone.purchases = append(gone.purchases, newOwnPurchase(change.User, n))
		}
	})
	gone.user = user
	state := loadOne(t, env.store, userkit.Want{User: user.ID, RowCounts: true})
	for _, kind := range []string{
		userkit.RowsDevices, userkit.RowsSessions, userkit.RowsDays, userkit.RowsPurchases, userkit.RowsTransactions, userkit.RowsEvents,
	} {
		require.Equal(t, many, state.RowCounts[kind], kind)
	}
	change := step(&user)
	change.Delete = true
	change.Events = []userkit.Event{newEvent(user.ID, many)}
	commit(t, env.store, change)
	requireGone(t, env.store, gone, change.Events...)
	requireDossier(t, env.store, other)
	requireStale(t, env.store, at(1_000_000).Add(1000*time.Hour), other.sessions[0])
	feed := feedOf(t, env.store, userkit.FeedPosition{}, whole, len(other.events)+1)
	requireEvents(t, append(append([]userkit.Event{}, other.events...), change.Events...), withoutPositions(feed))
}
