package storetest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func storeCommitGroup() group {
	return group{"Commit", []testCase{
		{"of no changes has no outcomes", commitNothing},
		{"creates a user with everything that belongs to it", commitCreates},
		{"creates a user with everything empty that may be", commitCreatesEmpty},
		{"sets the whole account and leaves the profile when there is none", commitSetsAccount},
		{"sets the whole profile and the account", commitSetsProfile},
		{"writes empty values over full ones", commitClears},
		{"replaces records whole", commitUpdates},
		{"deletes records", commitDeletes},
		{"inserts, replaces and deletes in one change", commitMixed},
		{"adds usage up", commitAddsUsage},
		{"stops at the largest int64 when it adds usage up", commitAddsUsageToTheTop},
		{"deletes a user with everything but the new events", commitDeletesUser},
		{"uses nothing else of a change that deletes", commitDeleteUsesNothingElse},
		{"lets a deleted user be created again", commitCreatesAgain},
		{"refuses an older and a newer version", commitRefusesVersions},
		{"refuses a change of a user that is gone or never was", commitRefusesGoneUsers},
		{"refuses to create a user that exists", commitRefusesCreation},
		{"refuses to delete a user of another version", commitRefusesDeletion},
		{"gives each change of a call its own outcome, in order", commitOutcomesInOrder},
		{"keeps logins unique by their keys", commitUniqueLogin},
		{"keeps email addresses unique by their keys", commitUniqueEmail},
		{"keeps logins apart from the email addresses of others", commitUniqueLoginEmail},
		{"frees an email address that was somebody's login, and keeps one that is both", commitFreesLoginEmail},
		{"keeps external references unique byte by byte", commitUniqueExtRef},
		{"keeps what logins look like unique", commitUniqueSkeleton},
		{"names the login, then the email address, then the external reference, then a login that looks the same, of several that are taken", commitUniqueSeveral},
		{"lets many users have no login, email address and external reference", commitUniqueEmpty},
		{"lets one field have the value of another", commitUniquePerField},
		{"keeps token digests unique", commitUniqueToken},
		{"keeps ids unique in each kind of record", commitUniqueIDs},
		{"gives a value that several changes of a call want to one of them", commitWantedBySeveral},
		{"gives a device, session, purchase, transaction or event id that two changes of a call want to one of them", commitIDWantedByTwo},
		{"frees a value when the user changes it", commitFreesOnChange},
		{"frees a value when the user is deleted", commitFreesOnDelete},
		{"frees a token when it is rotated and when the device is deleted", commitFreesToken},
		{"lets a user keep its own values", commitKeepsOwnValues},
		{"makes a thousand changes in one call", commitThousand},
		{"lets exactly one of several callers commit on a version", commitRace},
		{"lets exactly one of several callers create a user", commitCreationRace},
		{"lets exactly one of several callers have a login", commitLoginRace},
		{"lets no caller have a login that another gives up for its own", commitLoginSwap},
		{"gives many logins, wanted in different orders, to one caller each", commitLoginsRace},
		{"lets exactly one of a change and a deletion have a version", commitDeletionRace},
		{"creates a user before or after a deletion, and mixes no records of both", commitCreationDeletionRace},
		{"loses nothing of many callers on many users", commitManyCallers},
		{"makes batches that change and delete in opposite orders", commitOppositeBatches},
	}}
}

func commitNothing(t *testing.T, env env) {
	errs, err := env.store.Commit(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, errs)
	errs, err = env.store.Commit(t.Context(), []userkit.Change{})
	require.NoError(t, err)
	require.Empty(t, errs)
}

func commitCreates(t *testing.T, env env) {
	first, second := newDossier(1), newDossier(2)
	createAll(t, env.store, first)
	requireDossier(t, env.store, first)
	requireGone(t, env.store, second)
	createAll(t, env.store, second)
	requireDossier(t, env.store, first)
	requireDossier(t, env.store, second)
}

// emptyDossier is a user whose fields are all empty that a manager may leave empty.
func emptyDossier(n int) dossier {
	user := userkit.User{
		ID: userID(n), Status: userkit.StatusInvited, Kind: userkit.UserIndividual,
		RegisteredAt: at(n), UpdatedAt: at(n), Revision: 1,
		Account: userkit.Account{
			Version: 1, Balance: userkit.Money{Currency: "JPY"},
			Traffic: userkit.Traffic{Limit: userkit.TrafficLimit{Reset: userkit.ResetDaily}},
		},
	}
	return dossier{
		user: user,
		devices: []userkit.DeviceRecord{{
			Device:      userkit.Device{ID: deviceID(n), UserID: user.ID, TokenHint: "hint", Type: userkit.DeviceOther, RegisteredAt: at(n)},
			TokenDigest: newDevice(user.ID, n).TokenDigest,
		}},
		sessions: []userkit.Session{{ID: sessionID(n), UserID: user.ID, Node: "n", StartedAt: at(n), ReportedAt: at(n)}},
		purchases: []userkit.Purchase{{
			ID: purchaseID(n), UserID: user.ID, Store: "s", StableID: fmt.Sprint(n), CreatedAt: at(n), UpdatedAt: at(n), Token: "t",
		}},
		messages: []userkit.Message{{
			ID: messageID(n), UserID: user.ID, Format: "f", SentAt: at(n),
			Origin: userkit.MessageOrigin{Source: "s", Actor: userkit.Actor{Kind: userkit.ActorSystem}},
		}},
		deliveries: []userkit.Delivery{{ID: deliveryID(n), UserID: user.ID, MessageID: messageID(n), DeviceID: deviceID(n), State: "s", CreatedAt: at(n)}},
		transactions: []userkit.Transaction{{
			ID: transactionID(n), UserID: user.ID, Sequence: 1, Kind: userkit.TransactionRefill,
			Amount: userkit.Money{Amount: 1, Currency: "JPY"}, Balance: userkit.Money{Amount: 1, Currency: "JPY"},
			Key: "k", Actor: userkit.Actor{Kind: userkit.ActorSystem}, At: at(n),
		}},
		connections: []userkit.Connection{{
			ID: connectionID(n), UserID: user.ID, Actor: userkit.Actor{Kind: userkit.ActorAdministrator, ID: "a"}, Reason: "r", StartedAt: at(n), ExpiresAt: at(n + 1),
		}},
		usage:  []userkit.DayUsage{{Day: newDayUsage(n).Day}},
		events: []userkit.Event{{ID: eventID(n), UserID: user.ID, Name: "e", Actor: userkit.Actor{Kind: userkit.ActorSystem}, At: at(n)}},
	}
}

func commitCreatesEmpty(t *testing.T, env env) {
	first, second, other := emptyDossier(1), emptyDossier(2), newDossier(3)
	createAll(t, env.store, first, other, second)
	requireDossier(t, env.store, first)
	requireDossier(t, env.store, second)
	requireDossier(t, env.store, other)
}

func commitSetsAccount(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	d.user.Account = newAccount(100)
	commit(t, env.store, step(&d.user))
	requireDossier(t, env.store, d)
	requireDossier(t, env.store, other)
}

func commitSetsProfile(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	before := d.user
	d.user = newUser(100)
	d.user.ID = before.ID
	d.user.EmailVerified, d.user.Status, d.user.Kind, d.user.Country = false, userkit.StatusInactive, userkit.UserIndividual, "DE"
	change := step(&d.user)
	change.Profile = creation(d.user).Profile // its account says nothing
	commit(t, env.store, change)
	requireDossier(t, env.store, d)
	requireDossier(t, env.store, other)
	for _, key := range []userkit.UserKey{
		userkit.ByLogin(before.Login), userkit.ByEmail(before.Email), userkit.ByExtRef(before.ExtRef),
	} {
		_, err := env.store.FindUser(t.Context(), key)
		requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
	}
}

func commitClears(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	empty := emptyDossier(1)
	empty.user.Version = d.user.Version
	d.user = empty.user
	change := step(&d.user)
	change.Profile = &empty.user
	commit(t, env.store, change)
	requireDossier(t, env.store, d)
	requireDossier(t, env.store, other)
}

func commitUpdates(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	replacedDevice, replacedSession, replacedTransaction := newDevice(d.user.ID, 60), newOpenSession(d.user.ID, 60), newCountingTransaction(d.user.ID, 60)
	replacedDevice.Type, replacedSession.EndReason, replacedTransaction.Kind = userkit.DeviceRouter, "", userkit.TransactionRefill
	replacedDevice.ID, replacedSession.ID, replacedTransaction.ID = d.devices[1].ID, d.sessions[1].ID, d.transactions[0].ID
	replacedPurchase := newOwnPurchase(d.user.ID, 60)
	replacedPurchase.ID, replacedPurchase.Active = d.purchases[0].ID, false
	oldDigest := d.devices[1].TokenDigest
	for name, update := range map[string]func(change *userkit.Change){
		"a device": func(change *userkit.Change) {
			d.devices[1] = replacedDevice
			change.Devices.Update = []userkit.DeviceRecord{replacedDevice}
		},
		"a session": func(change *userkit.Change) {
			d.sessions[1] = replacedSession
			change.Sessions.Update = []userkit.Session{replacedSession}
		},
		"a purchase": func(change *userkit.Change) {
			d.purchases[0] = replacedPurchase
			change.Purchases.Update = []userkit.Purchase{replacedPurchase}
		},
		"a transaction": func(change *userkit.Change) {
			d.transactions[0] = replacedTransaction
			change.Transactions.Update = []userkit.Transaction{replacedTransaction}
		},
		"an activation": func(change *userkit.Change) {
			d.activation = newActivation(60)
			change.Activation = userkit.Set(d.activation)
		},
	} {
		t.Log(name)
		change := step(&d.user)
		update(&change)
		commit(t, env.store, change)
		requireDossier(t, env.store, d)
		requireDossier(t, env.store, other)
	}
	_, _, _, err := env.store.DeviceByToken(t.Context(), oldDigest)
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeDeviceNotFound)
}

func commitDeletes(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	gone := dossier{
		user: d.user, devices: d.devices[:1], sessions: d.sessions[1:], purchases: d.purchases[:1], transactions: d.transactions[:1],
	}
	for name, remove := range map[string]func(change *userkit.Change){
		"a device": func(change *userkit.Change) {
			change.Devices.Delete = []userkit.DeviceID{d.devices[0].ID}
			d.devices = d.devices[1:]
		},
		"a session": func(change *userkit.Change) {
			change.Sessions.Delete = []userkit.SessionID{d.sessions[1].ID}
			d.sessions = d.sessions[:1]
		},
		"a purchase": func(change *userkit.Change) {
			change.Purchases.Delete = []userkit.PurchaseID{d.purchases[0].ID}
			d.purchases = d.purchases[1:]
		},
		"a transaction": func(change *userkit.Change) {
			change.Transactions.Delete = []userkit.TransactionID{d.transactions[0].ID}
			d.transactions = d.transactions[1:]
		},
		"an activation": func(change *userkit.Change) {
			d.activation = userkit.Activation{}
			change.Activation = userkit.Set(d.activation)
		},
	} {
		t.Log(name)
		change := step(&d.user)
		remove(&change)
		commit(t, env.store, change)
		requireDossier(t, env.store, d)
		requireDossier(t, env.store, other)
	}
	ctx := t.Context()
	_, err := env.store.Device(ctx, gone.devices[0].ID)
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeDeviceNotFound)
	_, _, _, err = env.store.DeviceByToken(ctx, gone.devices[0].TokenDigest)
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeDeviceNotFound)
	_, err = env.store.Session(ctx, gone.sessions[0].ID)
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeSessionNotFound)
	_, err = env.store.Purchase(ctx, gone.purchases[0].ID)
	requireCode(t, err, userkit.ErrNotFound, userkit.CodePurchaseNotFound)
	found, err := env.store.FindPurchases(ctx, gone.purchases[0].Store, gone.purchases[0].StableID)
	require.NoError(t, err)
	require.Empty(t, found)
	state := loadOne(t, env.store, userkit.Want{
		User: d.user.ID, Devices: []userkit.DeviceID{gone.devices[0].ID}, HardwareIDs: []string{gone.devices[0].HardwareID},
		Sessions: []userkit.SessionID{gone.sessions[0].ID}, Transactions: []userkit.TransactionID{gone.transactions[0].ID},
		TransactionKeys: []string{gone.transactions[0].Key},
	})
	require.Empty(t, state.Devices)
	require.Empty(t, state.Sessions)
	require.Empty(t, state.Transactions)
}

func commitMixed(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	profile := newUser(100)
	profile.ID, profile.Account = d.user.ID, newAccount(100)
	d.user = profile
	change := step(&d.user)
	change.Profile = &profile

	device, session, transaction := newDevice(d.user.ID, 60), newSession(d.user.ID, 60), newTransaction(d.user.ID, 60)
	device.ID, session.ID, transaction.ID = d.devices[0].ID, d.sessions[0].ID, d.transactions[0].ID
	change.Devices = userkit.Records[userkit.DeviceRecord, userkit.DeviceID]{
		Insert: []userkit.DeviceRecord{newDevice(d.user.ID, 70), newDevice(d.user.ID, 71)},
		Update: []userkit.DeviceRecord{device},
		Delete: []userkit.DeviceID{d.devices[1].ID},
	}
	change.Sessions = userkit.Records[userkit.Session, userkit.SessionID]{
		Insert: []userkit.Session{newSession(d.user.ID, 70), newOpenSession(d.user.ID, 71)},
		Update: []userkit.Session{session},
		Delete: []userkit.SessionID{d.sessions[1].ID},
	}
	purchase := newPurchase(d.user.ID, 60)
	purchase.ID = d.purchases[0].ID
	change.Purchases = userkit.Records[userkit.Purchase, userkit.PurchaseID]{
		Insert: []userkit.Purchase{newPurchase(d.user.ID, 70), newOwnPurchase(d.user.ID, 71)},
		Update: []userkit.Purchase{purchase},
		Delete: []userkit.PurchaseID{d.purchases[1].ID},
	}
	change.Transactions = userkit.Records[userkit.Transaction, userkit.TransactionID]{
		Insert: []userkit.Transaction{newTransaction(d.user.ID, 70), newCountingTransaction(d.user.ID, 71)},
		Update: []userkit.Transaction{transaction},
		Delete: []userkit.TransactionID{d.transactions[1].ID},
	}
	change.Usage = []userkit.DayUsage{d.usage[1], newDayUsage(70)}
	change.Events = []userkit.Event{newEvent(d.user.ID, 70)}
	commit(t, env.store, change)

	d.devices = append([]userkit.DeviceRecord{device}, change.Devices.Insert...)
	d.sessions = append([]userkit.Session{session}, change.Sessions.Insert...)
	d.purchases = append([]userkit.Purchase{purchase}, change.Purchases.Insert...)
	d.transactions = append([]userkit.Transaction{transaction}, change.Transactions.Insert...)
	d.usage = []userkit.DayUsage{d.usage[0], doubled(d.usage[1]), newDayUsage(70)}
	d.events = append(d.events, change.Events...)
	requireDossier(t, env.store, d)
	requireDossier(t, env.store, other)
}

// doubled is the use of a day that was committed twice.
func doubled(day userkit.DayUsage) userkit.DayUsage {
	day.Received, day.Sent, day.Forgiven = 2*day.Received, 2*day.Sent, 2*day.Forgiven
	return day
}

func commitAddsUsage(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	d.usage, other.usage = nil, nil
	createAll(t, env.store, d, other)
	first, second := newDayUsage(1).Day, newDayUsage(2).Day
	for _, usage := range [][]userkit.DayUsage{
		{{Day: first, Received: 1, Sent: 10, Forgiven: 100}},
		{{Day: first, Received: 2}, {Day: second, Sent: 5}},
		{{Day: second, Forgiven: 7}, {Day: first, Sent: 20}},
		{{Day: first, Received: 1 << 40, Sent: 1 << 41, Forgiven: 1 << 42}},
		{{Day: first}},
	} {
		change, same := step(&d.user), step(&other.user)
		change.Usage = usage
		same.Usage = []userkit.DayUsage{{Day: first, Received: 1000}}
		commit(t, env.store, change, same)
	}
	d.usage = []userkit.DayUsage{
		{Day: first, Received: 1<<40 + 3, Sent: 1<<41 + 30, Forgiven: 1<<42 + 100},
		{Day: second, Sent: 5, Forgiven: 7},
	}
	other.usage = []userkit.DayUsage{{Day: first, Received: 5000}}
	requireDossier(t, env.store, d)
	requireDossier(t, env.store, other)
}

func commitAddsUsageToTheTop(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	d.usage = []userkit.DayUsage{{Day: newDayUsage(1).Day, Received: math.MaxInt64 - 1, Sent: math.MaxInt64, Forgiven: 1}}
	createAll(t, env.store, d, other)
	for _, more := range []userkit.DayUsage{
		{Received: 1, Sent: 1, Forgiven: math.MaxInt64 - 1}, {Received: math.MaxInt64, Sent: math.MaxInt64, Forgiven: math.MaxInt64},
	} {
		change := step(&d.user)
		more.Day = d.usage[0].Day
		change.Usage = []userkit.DayUsage{more}
		commit(t, env.store, change)
		d.usage[0].Received, d.usage[0].Sent, d.usage[0].Forgiven = math.MaxInt64, math.MaxInt64, math.MaxInt64
		requireDossier(t, env.store, d)
		requireDossier(t, env.store, other)
	}
}

func commitDeletesUser(t *testing.T, env env) {
	d, other, third := newDossier(1), newDossier(2), newDossier(3)
	createAll(t, env.store, d, other, third)
	// Events of others that speak of the same device must stay.
	change := step(&other.user)
	shared := newEvent(other.user.ID, 60)
	shared.DeviceID = d.events[0].DeviceID
	change.Events = []userkit.Event{shared}
	other.events = append(other.events, shared)
	commit(t, env.store, change)

	deletion := step(&d.user)
	deletion.Delete = true
	deletion.Events = []userkit.Event{newEvent(d.user.ID, 61), newEvent(d.user.ID, 62)}
	commit(t, env.store, deletion)
	requireGone(t, env.store, d, deletion.Events...)
	requireDossier(t, env.store, other)
	requireDossier(t, env.store, third)

	count, err := env.store.CountUsers(t.Context(), userkit.UserSelection{})
	require.NoError(t, err)
	require.EqualValues(t, 2, count)
}

func commitDeleteUsesNothingElse(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	extra := newDossier(1)
	extra.devices = []userkit.DeviceRecord{newDevice(d.user.ID, 60)}
	extra.sessions = []userkit.Session{newOpenSession(d.user.ID, 60)}
	extra.transactions = []userkit.Transaction{newTransaction(d.user.ID, 60)}
	extra.purchases = []userkit.Purchase{newPurchase(d.user.ID, 60)}
	extra.usage = []userkit.DayUsage{newDayUsage(60)}
	change := extra.creation()
	change.Version, change.Account.Version = d.user.Version, d.user.Version+1
	change.Delete = true
	change.Devices.Update = d.devices
	change.Sessions.Delete = []userkit.SessionID{d.sessions[0].ID}
	change.Purchases.Update = d.purchases
	change.Transactions.Update = d.transactions
	change.Events = []userkit.Event{newEvent(d.user.ID, 60)}
	commit(t, env.store, change)
	requireGone(t, env.store, d, change.Events...)
	requireGone(t, env.store, extra, change.Events...)
	requireDossier(t, env.store, other)
}

func commitCreatesAgain(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	deletion := step(&d.user)
	deletion.Delete = true
	deletion.Events = []userkit.Event{newEvent(d.user.ID, 60)}
	commit(t, env.store, deletion)

	// The same ids and values, so that everything must have been freed; other
	// contents, so that nothing of the old records may show.
	again := newDossier(1)
	again.user.Account, again.user.Name = newAccount(100), "Somebody else"
	again.usage[0].Received = 1
	again.devices, again.sessions = again.devices[:1], again.sessions[1:]
	createAll(t, env.store, again)
	again.events = append(again.events, deletion.Events...)
	requireDossier(t, env.store, again)
	requireDossier(t, env.store, other)
}

// requireConflict demands that a change conflicts.
func requireConflict(t *testing.T, store userkit.Store, change userkit.Change) {
	t.Helper()
	require.ErrorIs(t, outcome(t, store, change), userkit.ErrConflict)
}

// everyChange is a change of the n-th user that writes to every table.
func everyChange(d dossier) userkit.Change {
	user := d.user
	change := step(&user)
	profile := newUser(100)
	profile.ID = d.user.ID
	change.Account, change.Profile = newAccount(100), &profile
	change.Account.Version = change.Version + 1
	device, session, transaction := newDevice(d.user.ID, 60), newSession(d.user.ID, 60), newTransaction(d.user.ID, 60)
	device.ID, session.ID, transaction.ID = d.devices[0].ID, d.sessions[0].ID, d.transactions[0].ID
	change.Devices = userkit.Records[userkit.DeviceRecord, userkit.DeviceID]{
		Insert: []userkit.DeviceRecord{newDevice(d.user.ID, 70)}, Update: []userkit.DeviceRecord{device}, Delete: []userkit.DeviceID{d.devices[1].ID},
	}
	change.Sessions = userkit.Records[userkit.Session, userkit.SessionID]{
		Insert: []userkit.Session{newSession(d.user.ID, 70)}, Update: []userkit.Session{session}, Delete: []userkit.SessionID{d.sessions[1].ID},
	}
	purchase := newPurchase(d.user.ID, 60)
	purchase.ID = d.purchases[0].ID
	change.Purchases = userkit.Records[userkit.Purchase, userkit.PurchaseID]{
		Insert: []userkit.Purchase{newPurchase(d.user.ID, 70)}, Update: []userkit.Purchase{purchase}, Delete: []userkit.PurchaseID{d.purchases[1].ID},
	}
	change.Transactions = userkit.Records[userkit.Transaction, userkit.TransactionID]{
		Insert: []userkit.Transaction{newTransaction(d.user.ID, 70)}, Update: []userkit.Transaction{transaction}, Delete: []userkit.TransactionID{d.transactions[1].ID},
	}
	change.Usage = []userkit.DayUsage{d.usage[0], newDayUsage(70)}
	change.Events = []userkit.Event{newEvent(d.user.ID, 70)}
	return change
}

func commitRefusesVersions(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	for range 3 {
		commit(t, env.store, step(&d.user))
	}
	for _, version := range []int64{1, 3, 5, 1 << 40, -1} {
		change := everyChange(d)
		change.Version, change.Account.Version = version, version+1
		requireConflict(t, env.store, change)
		requireDossier(t, env.store, d)
		requireDossier(t, env.store, other)
	}
	commit(t, env.store, everyChange(d))
}

func commitRefusesGoneUsers(t *testing.T, env env) {
	d, other, never := newDossier(1), newDossier(2), newDossier(3)
	createAll(t, env.store, d, other)
	deletion := step(&d.user)
	deletion.Delete = true
	deletion.Events = []userkit.Event{newEvent(d.user.ID, 80)}
	commit(t, env.store, deletion)

	for _, version := range []int64{1, 2, 3} {
		change := everyChange(d)
		change.Version, change.Account.Version = version, version+1
		requireConflict(t, env.store, change)
		requireGone(t, env.store, d, deletion.Events...)
		change.Delete = true
		requireConflict(t, env.store, change)
		requireGone(t, env.store, d, deletion.Events...)

		change = everyChange(never)
		change.Version, change.Account.Version = version, version+1
		requireConflict(t, env.store, change)
		requireGone(t, env.store, never)
	}
	requireDossier(t, env.store, other)
}

func commitRefusesCreation(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	for range 2 {
		again := newDossier(100)
		again.user.ID = d.user.ID
		change := again.creation()
		for i := range change.Devices.Insert {
			change.Devices.Insert[i].UserID = d.user.ID
		}
		for i := range change.Sessions.Insert {
			change.Sessions.Insert[i].UserID = d.user.ID
		}
		for i := range change.Transactions.Insert {
			change.Transactions.Insert[i].UserID = d.user.ID
		}
		for i := range change.Events {
			change.Events[i].UserID = d.user.ID
		}
		requireConflict(t, env.store, change)
		requireDossier(t, env.store, d)
		requireDossier(t, env.store, other)
		commit(t, env.store, step(&d.user)) // the second round is on version 2
	}
}

func commitRefusesDeletion(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	commit(t, env.store, step(&d.user))
	for _, version := range []int64{1, 3} {
		change := userkit.Change{User: d.user.ID, Version: version, Delete: true, Events: []userkit.Event{newEvent(d.user.ID, 60)}}
		requireConflict(t, env.store, change)
		requireDossier(t, env.store, d)
		requireDossier(t, env.store, other)
	}
}

func commitOutcomesInOrder(t *testing.T, env env) {
	var dossiers []dossier
	for n := range 6 {
		dossiers = append(dossiers, newDossier(n))
	}
	createAll(t, env.store, dossiers...)

	good, late := &dossiers[4], everyChange(dossiers[2])
	late.Version, late.Account.Version = 9, 10
	taken := everyChange(dossiers[1])
	taken.Devices.Insert[0] = newDevice(userID(1), 71)
	taken.Sessions.Insert[0] = newSession(userID(1), 71)
	taken.Transactions.Insert[0] = newTransaction(userID(1), 71)
	taken.Events[0] = newEvent(userID(1), 71)
	taken.Profile.Email = dossiers[0].user.Email
	change := step(&good.user)
	change.Usage = []userkit.DayUsage{newDayUsage(500)}
	fresh, refused := newDossier(300), newDossier(301)
	refused.user.Login = dossiers[3].user.Login
	deletion := step(&dossiers[5].user)
	deletion.Delete = true

	errs := outcomes(t, env.store, fresh.creation(), late, change, taken, refused.creation(), deletion)
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], userkit.ErrConflict)
	require.NoError(t, errs[2])
	requireExists(t, errs[3], userkit.CodeEmailTaken, "email")
	requireExists(t, errs[4], userkit.CodeLoginTaken, "login")
	require.NoError(t, errs[5])

	good.usage = append(good.usage, newDayUsage(500))
	for _, d := range append(slices.Clone(dossiers[:5]), fresh) {
		requireDossier(t, env.store, d)
	}
	requireGone(t, env.store, dossiers[5])
	_, err := env.store.User(t.Context(), refused.user.ID)
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
}

// requireTaken demands that neither a creation nor an edit gets values whose
// field says that they are taken, and that both get those that are free. set
// writes a value to a user.
func requireTaken(t *testing.T, env env, code userkit.Code, field string, set func(user *userkit.User, value string), holder string, taken, free []string) {
	t.Helper()
	owner, editor := newDossier(1), newDossier(2)
	set(&owner.user, holder)
	createAll(t, env.store, owner, editor)
	for _, value := range taken {
		creator := newDossier(3)
		set(&creator.user, value)
		requireExists(t, outcome(t, env.store, creator.creation()), code, field)
		requireGone(t, env.store, newDossier(3))

		change := everyChange(editor)
		set(change.Profile, value)
		requireExists(t, outcome(t, env.store, change), code, field)
		requireDossier(t, env.store, editor)
		requireDossier(t, env.store, owner)
	}
	for i, value := range free {
		creator := newUser(10 + i)
		set(&creator, value)
		create(t, env.store, creator)
		requireDossier(t, env.store, dossier{user: creator})
	}
	requireDossier(t, env.store, owner)
}

func commitUniqueLogin(t *testing.T, env env) {
	requireTaken(t, env, userkit.CodeLoginTaken, "login",
		func(user *userkit.User, value string) { user.Login = value },
		"Jürgen Straße",
		[]string{"Jürgen Straße", "JÜRGEN STRAßE", "jürgen  straße", "Ju\u0308rgen Stra\u00dfe", "ｊürgen straße"},
		[]string{"Jurgen Straße", "Jürgen-Straße", "Jürgen Strasse", "Jürgen Straß"})
}

func commitUniqueEmail(t *testing.T, env env) {
	requireTaken(t, env, userkit.CodeEmailTaken, "email",
		func(user *userkit.User, value string) { user.Email = value },
		"Zoë@Example.org",
		[]string{"Zoë@Example.org", "zoe\u0308@example.org", "ZOË@EXAMPLE.ORG"},
		[]string{"zo@example.org", "zoe@example.org", "zoë@éxample.org"})
}

func commitUniqueLoginEmail(t *testing.T, env env) {
	spellings := []string{"Zoë@Bücher.example", "zoe\u0308@xn--bcher-kva.example", "ZOË@BÜCHER.EXAMPLE", "ｚoë@bücher.example"}
	owner, named, editor := newDossier(1), newDossier(2), newDossier(3)
	owner.user.Email, named.user.Login = "Zoë@Bücher.example", "Bob@Example.org"
	createAll(t, env.store, owner, named, editor)
	refuse := func(code userkit.Code, field string, set func(user *userkit.User)) {
		t.Helper()
		creator := newDossier(4)
		set(&creator.user)
		requireExists(t, outcome(t, env.store, creator.creation()), code, field)
		requireGone(t, env.store, newDossier(4))
		change := everyChange(editor)
		set(change.Profile)
		requireExists(t, outcome(t, env.store, change), code, field)
		requireExists(t, env.store.CommitTogether(t.Context(), []userkit.Change{change}), code, field)
		for _, d := range []dossier{owner, named, editor} {
			requireDossier(t, env.store, d)
		}
	}
	for _, spelling := range spellings {
		refuse(userkit.CodeLoginTaken, "login", func(user *userkit.User) { user.Login = spelling })
		refuse(userkit.CodeLoginTaken, "login", func(user *userkit.User) { user.Login, user.Email = spelling, "free@example.org" })
		refuse(userkit.CodeEmailTaken, "email", func(user *userkit.User) { user.Login, user.Email = spelling, spelling })
	}
	for _, spelling := range []string{"bob@example.org", "BOB@EXAMPLE.ORG", "ｂob@example.org"} {
		refuse(userkit.CodeEmailTaken, "email", func(user *userkit.User) { user.Email = spelling })
		refuse(userkit.CodeLoginTaken, "login", func(user *userkit.User) { user.Login, user.Email = spelling, spelling })
	}
	for i, login := range []string{"zoe@bücher.example", "zoë@bucher.example", "zoë", "zoë@bücher"} {
		user := newUser(10 + i)
		user.Login = login
		create(t, env.store, user)
	}
	holders, err := env.store.FindUsers(t.Context(), "email_holder", []string{"zoë@xn--bcher-kva.example", "bob@example.org", "zoë@xn--bcher-kva", "nobody@example.org"})
	require.NoError(t, err)
	var ids []userkit.UserID
	for _, holder := range holders {
		ids = append(ids, holder.ID)
	}
	require.ElementsMatch(t, []userkit.UserID{owner.user.ID, named.user.ID, newUser(13).ID}, ids)

	// Two changes of one call.
	first, second := newUser(20), newUser(21)
	first.Login, second.Email = "both@example.org", "both@example.org"
	err = env.store.CommitTogether(t.Context(), []userkit.Change{creation(first), creation(second)})
	require.ErrorIs(t, err, userkit.ErrExists)
	errs := outcomes(t, env.store, creation(first), creation(second))
	require.NotEqual(t, errs[0] == nil, errs[1] == nil, "one of them")
	require.ErrorIs(t, cmp.Or(errs...), userkit.ErrExists)
}

func commitFreesLoginEmail(t *testing.T, env env) {
	user := newUser(1)
	user.Login, user.Email = "ada@example.org", "ADA@example.org"
	create(t, env.store, user)
	// edit gives the user a login and an email address, and demands that these and no others
	// of some are taken for a second user.
	edit := func(login, email string, taken ...string) {
		t.Helper()
		change := step(&user)
		user.Login, user.Email, user.Account = login, email, change.Account
		user.Version, change.Profile = change.Version+1, &user
		require.NoError(t, outcome(t, env.store, change))
		for _, name := range []string{"ada@example.org", "x@example.org", "y@example.org"} {
			other := newUser(2)
			other.Login, other.Email = "", name
			err := env.store.CommitTogether(t.Context(), []userkit.Change{creation(other)})
			if slices.Contains(taken, name) {
				requireExists(t, err, userkit.CodeEmailTaken, "email")
				continue
			}
			require.NoError(t, err)
			deletion := step(&other)
			deletion.Delete = true
			require.NoError(t, outcome(t, env.store, deletion))
		}
	}
	edit("x@example.org", "ada@example.org", "ada@example.org", "x@example.org")
	edit("ada@example.org", "x@example.org", "ada@example.org", "x@example.org")
	edit("ada@example.org", "ada@example.org", "ada@example.org")
	edit("ada@example.org", "y@example.org", "ada@example.org", "y@example.org")
	edit("y@example.org", "", "y@example.org")
	edit("ada", "x@example.org", "x@example.org")
	edit("", "")
	edit("x@example.org", "y@example.org", "x@example.org", "y@example.org")
	deletion := step(&user)
	deletion.Delete = true
	require.NoError(t, outcome(t, env.store, deletion))
	next := newUser(3)
	next.Login, next.Email = "y@example.org", "x@example.org"
	create(t, env.store, next)
}

func commitUniqueExtRef(t *testing.T, env env) {
	requireTaken(t, env, userkit.CodeExtRefTaken, "extref",
		func(user *userkit.User, value string) { user.ExtRef = value },
		"Ref-Ä",
		[]string{"Ref-Ä"},
		[]string{"ref-ä", "Ref-A", "REF-Ä", "Ref-A\u0308", "Ref-Ä "})
}

func commitUniqueSkeleton(t *testing.T, env env) {
	requireTaken(t, env, userkit.CodeLoginConfusable, "login",
		func(user *userkit.User, value string) { user.LoginSkeleton = value },
		"paypal",
		[]string{"paypal"},
		[]string{"Paypal", "раураl", "paypal ", ""})
	holder, err := env.store.FindUsers(t.Context(), "login_skeleton", []string{"paypal", "nobody's", "Paypal"})
	require.NoError(t, err)
	require.ElementsMatch(t, []userkit.UserID{newUser(1).ID, newUser(10).ID}, []userkit.UserID{holder[0].ID, holder[1].ID})
	require.Len(t, holder, 2)
}

func commitUniqueSeveral(t *testing.T, env env) {
	owners := [5]userkit.User{newUser(1), newUser(2), newUser(3), newUser(7), newUser(8)}
	owners[4].Login = "eighth@example.org"
	create(t, env.store, owners[:]...)
	values := []struct {
		code  userkit.Code
		field string
		set   func(user *userkit.User)
	}{
		{userkit.CodeLoginTaken, "login", func(user *userkit.User) { user.Login = owners[0].Login }},
		{userkit.CodeEmailTaken, "email", func(user *userkit.User) { user.Email = owners[4].Login }},
		{userkit.CodeEmailTaken, "email", func(user *userkit.User) { user.Email = owners[1].Email }},
		{userkit.CodeExtRefTaken, "extref", func(user *userkit.User) { user.ExtRef = owners[2].ExtRef }},
		{userkit.CodeLoginConfusable, "login", func(user *userkit.User) { user.LoginSkeleton = owners[3].LoginSkeleton }},
	}
	editor := newUser(4)
	create(t, env.store, editor)
	for set := 1; set < 1<<len(values); set++ {
		creator, edited := newUser(5), editor
		first := -1
		for i, value := range values {
			if set&(1<<i) == 0 {
				continue
			}
			value.set(&creator)
			value.set(&edited)
			if first < 0 {
				first = i
			}
		}
		requireExists(t, outcome(t, env.store, creation(creator)), values[first].code, values[first].field)
		before := editor
		change := step(&before)
		change.Profile = &edited
		requireExists(t, outcome(t, env.store, change), values[first].code, values[first].field)
	}
	// In one batch, the others are made.
	creator, other := newUser(5), newUser(6)
	creator.Login, creator.ExtRef = owners[0].Login, owners[2].ExtRef
	errs := outcomes(t, env.store, creation(creator), creation(other))
	requireExists(t, errs[0], userkit.CodeLoginTaken, "login")
	require.NoError(t, errs[1])
}

func commitUniqueEmpty(t *testing.T, env env) {
	var users []userkit.User
	for n := range 3 {
		user := newUser(n)
		user.Login, user.Email, user.ExtRef, user.LoginSkeleton = "", "", "", ""
		users = append(users, user)
	}
	create(t, env.store, users[:2]...)
	create(t, env.store, users[2])
	for _, user := range users {
		requireDossier(t, env.store, dossier{user: user})
	}
}

func commitUniquePerField(t *testing.T, env env) {
	first, second, third := newUser(1), newUser(2), newUser(3)
	first.Login, first.Email, first.ExtRef = "same", "other", "third"
	second.Login, second.Email, second.ExtRef = "other", "third", "same"
	third.Login, third.Email, third.ExtRef = "third", "same", "other"
	create(t, env.store, first, second, third)
	for _, user := range []userkit.User{first, second, third} {
		requireDossier(t, env.store, dossier{user: user})
	}
}

func commitUniqueToken(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	for name, device := range map[string]userkit.DeviceRecord{
		"of another user": newDevice(d.user.ID, 61), "of the same user": newDevice(d.user.ID, 61),
	} {
		device.TokenDigest = other.devices[1].TokenDigest
		if name == "of the same user" {
			device.TokenDigest = d.devices[1].TokenDigest
		}
		change := everyChange(d)
		change.Devices.Insert = []userkit.DeviceRecord{device}
		change.Devices.Delete = nil
		requireCode(t, outcome(t, env.store, change), userkit.ErrExists, userkit.CodeTokenTaken)
		requireDossier(t, env.store, d)
		requireDossier(t, env.store, other)

		change = everyChange(d)
		change.Devices.Update[0].TokenDigest = device.TokenDigest
		change.Devices.Delete = nil
		requireCode(t, outcome(t, env.store, change), userkit.ErrExists, userkit.CodeTokenTaken)
		requireDossier(t, env.store, d)
		requireDossier(t, env.store, other)
	}
}

func commitUniqueIDs(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	for name, insert := range map[string]func(change *userkit.Change){
		"a device of the same user": func(change *userkit.Change) {
			change.Devices.Insert[0].ID = d.devices[0].ID
			change.Devices.Update, change.Devices.Delete = nil, nil
		},
		"a device of another user":  func(change *userkit.Change) { change.Devices.Insert[0].ID = other.devices[0].ID },
		"a session of another user": func(change *userkit.Change) { change.Sessions.Insert[0].ID = other.sessions[0].ID },
		"a session of the same user": func(change *userkit.Change) {
			change.Sessions.Insert[0].ID = d.sessions[0].ID
			change.Sessions.Update, change.Sessions.Delete = nil, nil
		},
		"a transaction of another user": func(change *userkit.Change) {
			change.Transactions.Insert[0].ID = other.transactions[0].ID
		},
		"a transaction of the same user": func(change *userkit.Change) {
			change.Transactions.Insert[0].ID = d.transactions[0].ID
			change.Transactions.Update, change.Transactions.Delete = nil, nil
		},
		"a purchase of another user": func(change *userkit.Change) { change.Purchases.Insert[0].ID = other.purchases[0].ID },
		"a purchase of the same user": func(change *userkit.Change) {
			change.Purchases.Insert[0].ID = d.purchases[0].ID
			change.Purchases.Update, change.Purchases.Delete = nil, nil
		},
		"a message of another user": func(change *userkit.Change) {
			change.Messages.Insert = []userkit.Message{newMessage(d.user.ID, 50)}
			change.Messages.Insert[0].ID = other.messages[0].ID
		},
		"a delivery of another user": func(change *userkit.Change) {
			change.Deliveries.Insert = []userkit.Delivery{newDelivery(d.user.ID, 50)}
			change.Deliveries.Insert[0].ID = other.deliveries[0].ID
		},
		"a connection to another user": func(change *userkit.Change) {
			change.Connections.Insert = []userkit.Connection{newConnection(d.user.ID, 50)}
			change.Connections.Insert[0].ID = other.connections[0].ID
		},
		"an event of another user":  func(change *userkit.Change) { change.Events[0].ID = other.events[0].ID },
		"an event of the same user": func(change *userkit.Change) { change.Events[0].ID = d.events[0].ID },
	} {
		t.Log(name)
		change := everyChange(d)
		insert(&change)
		requireExists(t, outcome(t, env.store, change), userkit.CodeIDTaken, "id")
		requireDossier(t, env.store, d)
		requireDossier(t, env.store, other)
	}
	commit(t, env.store, everyChange(d))
}

// commitTakenWritesNothing: the change before and the change after the one that
// fails are made whole, whichever place it has in the call.
func commitTakenWritesNothing(t *testing.T, env env) {
	const users = 9
	for place := range users {
		var dossiers []dossier
		var changes []userkit.Change
		owner := newUser(100*place + 90)
		create(t, env.store, owner)
		for i := range users {
			d := newDossier(100*place + i)
			if i == place {
				d.user.Email = owner.Email
			}
			dossiers = append(dossiers, d)
			changes = append(changes, d.creation())
		}
		for i, err := range outcomes(t, env.store, changes...) {
			if i == place {
				requireExists(t, err, userkit.CodeEmailTaken, "email")
				requireGone(t, env.store, newDossier(100*place+i))
				continue
			}
			require.NoError(t, err)
			requireDossier(t, env.store, dossiers[i])
		}
		requireDossier(t, env.store, dossier{user: owner})
	}
}

func commitWantedBySeveral(t *testing.T, env env) {
	for round, field := range []struct {
		name string
		code userkit.Code
		set  func(user *userkit.User)
	}{
		{"login", userkit.CodeLoginTaken, func(user *userkit.User) { user.Login = "Wanted" }},
		{"email", userkit.CodeEmailTaken, func(user *userkit.User) { user.Email = "Wanted@example.org" }},
		{"extref", userkit.CodeExtRefTaken, func(user *userkit.User) { user.ExtRef = "Wanted" }},
	} {
		var dossiers []dossier
		var changes []userkit.Change
		for i := range 7 {
			d := newDossier(10*round + i)
			if i%2 == 0 {
				field.set(&d.user)
			}
			dossiers = append(dossiers, d)
			changes = append(changes, d.creation())
		}
		made := 0
		for i, err := range outcomes(t, env.store, changes...) {
			if err == nil {
				made++
				requireDossier(t, env.store, dossiers[i])
				continue
			}
			require.Zero(t, i%2, "a change that wanted another value failed: %v", err)
			requireExists(t, err, field.code, field.name)
			_, err := env.store.User(t.Context(), dossiers[i].user.ID)
			requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
			require.Empty(t, eventsOf(t, env.store, dossiers[i].user.ID))
		}
		require.Equal(t, 4, made, "one of the four that want the value and the three that do not")
	}
}

func commitIDWantedByTwo(t *testing.T, env env) {
	a, b, c := dossier{user: newUser(1)}, dossier{user: newUser(2)}, dossier{user: newUser(3)}
	createAll(t, env.store, a, b, c)
	round := 0
	for name, want := range map[string]struct {
		code   userkit.Code
		insert func(change *userkit.Change, d *dossier)
	}{
		"device": {userkit.CodeIDTaken, func(change *userkit.Change, d *dossier) {
			device := newDevice(d.user.ID, round)
			device.TokenDigest[0] ^= d.user.ID[15] // only the id is the same
			change.Devices.Insert = []userkit.DeviceRecord{device}
			d.devices = append(d.devices, device)
		}},
		"token": {userkit.CodeTokenTaken, func(change *userkit.Change, d *dossier) {
			device := newDevice(d.user.ID, round)
			device.ID[15] ^= d.user.ID[15] << 4 // only the token is the same
			change.Devices.Insert = []userkit.DeviceRecord{device}
			d.devices = append(d.devices, device)
		}},
		"session": {userkit.CodeIDTaken, func(change *userkit.Change, d *dossier) {
			change.Sessions.Insert = []userkit.Session{newSession(d.user.ID, round)}
			d.sessions = append(d.sessions, change.Sessions.Insert...)
		}},
		"transaction": {userkit.CodeIDTaken, func(change *userkit.Change, d *dossier) {
			change.Transactions.Insert = []userkit.Transaction{newTransaction(d.user.ID, round)}
			d.transactions = append(d.transactions, change.Transactions.Insert...)
		}},
		"purchase": {userkit.CodeIDTaken, func(change *userkit.Change, d *dossier) {
			purchase := newPurchase(d.user.ID, round)
			purchase.StableID += d.user.Login // only the id is the same
			change.Purchases.Insert = []userkit.Purchase{purchase}
			d.purchases = append(d.purchases, purchase)
		}},
		"stable id": {userkit.CodePurchaseTaken, func(change *userkit.Change, d *dossier) {
			purchase := newOwnPurchase(d.user.ID, round)
			purchase.ID[15] ^= d.user.ID[15] << 4 // only the stable id is the same
			change.Purchases.Insert = []userkit.Purchase{purchase}
			d.purchases = append(d.purchases, purchase)
		}},
		"event": {userkit.CodeIDTaken, func(change *userkit.Change, d *dossier) {
			change.Events = []userkit.Event{newEvent(d.user.ID, round)}
			d.events = append(d.events, change.Events...)
		}},
	} {
		t.Log(name)
		round++
		nextA, nextB, nextC := a, b, c
		changeA, changeB, changeC := step(&nextA.user), step(&nextB.user), step(&nextC.user)
		want.insert(&changeA, &nextA)
		want.insert(&changeB, &nextB)
		errs := outcomes(t, env.store, changeA, changeC, changeB)
		require.NoError(t, errs[1])
		c = nextC
		switch {
		case errs[0] == nil:
			a = nextA
			requireCode(t, errs[2], userkit.ErrExists, want.code)
		default:
			b = nextB
			requireCode(t, errs[0], userkit.ErrExists, want.code)
			require.NoError(t, errs[2])
		}
		for _, d := range []dossier{a, b, c} {
			requireDossier(t, env.store, d)
		}
	}
}

// edit changes the profile of a user that stands in the store.
func edit(user *userkit.User, change func(user *userkit.User)) userkit.Change {
	change(user)
	edited := step(user)
	profile := *user
	edited.Profile = &profile
	return edited
}

func commitFreesOnChange(t *testing.T, env env) {
	first, second := newUser(1), newUser(2)
	original := first
	create(t, env.store, first, second)
	commit(t, env.store, edit(&first, func(user *userkit.User) {
		user.Login, user.Email, user.ExtRef = "new", "new@example.org", "new"
	}))
	commit(t, env.store, edit(&second, func(user *userkit.User) {
		user.Login, user.Email, user.ExtRef = original.Login, original.Email, original.ExtRef
	}))
	requireDossier(t, env.store, dossier{user: first})
	requireDossier(t, env.store, dossier{user: second})

	// Emptied is freed as well.
	commit(t, env.store, edit(&first, func(user *userkit.User) { user.Login, user.Email, user.ExtRef = "", "", "" }))
	commit(t, env.store, edit(&second, func(user *userkit.User) {
		user.Login, user.Email, user.ExtRef = "NEW", "New@Example.org", "new"
	}))
	requireDossier(t, env.store, dossier{user: first})
	requireDossier(t, env.store, dossier{user: second})

	// The value that second gave up is free, the one that it has is not.
	third := newUser(3)
	third.Login, third.Email, third.ExtRef = original.Login, original.Email, original.ExtRef
	create(t, env.store, third)
	fourth := newUser(4)
	fourth.Login = "new"
	requireExists(t, outcome(t, env.store, creation(fourth)), userkit.CodeLoginTaken, "login")
}

func commitFreesOnDelete(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	deletion := step(&d.user)
	deletion.Delete = true
	commit(t, env.store, deletion)

	heir := newDossier(1) // the ids of the records and all values; another user
	heir.user.ID = userID(9)
	for i := range heir.devices {
		heir.devices[i].UserID, heir.sessions[i].UserID, heir.transactions[i].UserID, heir.events[i].UserID = userID(9), userID(9), userID(9), userID(9)
		heir.purchases[i].UserID, heir.connections[i].UserID = userID(9), userID(9)
		heir.messages[i].UserID, heir.deliveries[i].UserID = userID(9), userID(9)
	}
	createAll(t, env.store, heir)
	requireDossier(t, env.store, heir)
	requireDossier(t, env.store, other)
	_, err := env.store.User(t.Context(), d.user.ID)
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
}

func commitFreesToken(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	rotated, deleted := d.devices[0].TokenDigest, d.devices[1].TokenDigest
	change := step(&d.user)
	d.devices[0].TokenDigest = newDevice(d.user.ID, 60).TokenDigest
	change.Devices.Update = d.devices[:1]
	change.Devices.Delete = []userkit.DeviceID{d.devices[1].ID}
	commit(t, env.store, change)
	d.devices = d.devices[:1]

	change = step(&other.user)
	first, second := newDevice(other.user.ID, 61), newDevice(other.user.ID, 62)
	first.TokenDigest, second.TokenDigest = rotated, deleted
	change.Devices.Insert = []userkit.DeviceRecord{first, second}
	commit(t, env.store, change)
	other.devices = append(other.devices, first, second)
	requireDossier(t, env.store, d)
	requireDossier(t, env.store, other)
}

func commitKeepsOwnValues(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	change := edit(&d.user, func(user *userkit.User) { user.Name = "Only the name" })
	change.Devices.Update = d.devices
	commit(t, env.store, change)
	requireDossier(t, env.store, d)
	// Another spelling of its own values.
	commit(t, env.store, edit(&d.user, func(user *userkit.User) { user.Login, user.Email = "LOGIN-0001", "user.0001@EXAMPLE.org" }))
	requireDossier(t, env.store, d)
	requireDossier(t, env.store, other)
}

func commitThousand(t *testing.T, env env) {
	const users = 1000
	dossiers := make([]dossier, users)
	changes := make([]userkit.Change, users)
	for n := range users {
		dossiers[n] = newDossier(n)
		changes[n] = dossiers[n].creation()
	}
	commit(t, env.store, changes...)
	for n := range users {
		d := &dossiers[n]
		changes[n] = edit(&d.user, func(user *userkit.User) { user.Name = fmt.Sprintf("Edited %d", n) })
		d.user.Account.Balance.Amount += int64(n)
		changes[n].Account.Balance = d.user.Balance
		d.devices[0].Name, d.sessions[0].Sent, d.transactions[0].Note = "edited", int64(n), "edited"
		changes[n].Devices.Update = d.devices[:1]
		changes[n].Sessions.Update = d.sessions[:1]
		changes[n].Transactions.Update = d.transactions[:1]
		changes[n].Usage = d.usage[1:]
		d.usage = []userkit.DayUsage{d.usage[0], doubled(d.usage[1])}
		event := newEvent(d.user.ID, 5000+n)
		changes[n].Events = []userkit.Event{event}
		d.events = append(d.events, event)
	}
	commit(t, env.store, changes...)

	wants := make([]userkit.Want, users)
	for n := range users {
		wants[n] = dossiers[n].everything()
	}
	for n, state := range load(t, env.store, wants...) {
		requireUser(t, dossiers[n].user, state.User)
		requireRecords(t, dossiers[n].devices, state.Devices, recordID)
		requireRecords(t, dossiers[n].sessions, state.Sessions, sessionRecordID)
		requireRecords(t, dossiers[n].transactions, state.Transactions, transactionRecordID)
		requireUsage(t, dossiers[n].usage, state.Usage)
		require.Len(t, state.Events, 3)
	}
	requireDossier(t, env.store, dossiers[0])
	requireDossier(t, env.store, dossiers[users-1])

	for n := range users {
		changes[n] = userkit.Change{User: dossiers[n].user.ID, Version: dossiers[n].user.Version, Delete: n%2 == 0, Account: dossiers[n].user.Account}
		changes[n].Account.Version++
		dossiers[n].user.Version++
	}
	commit(t, env.store, changes...)
	count, err := env.store.CountUsers(t.Context(), userkit.UserSelection{})
	require.NoError(t, err)
	require.EqualValues(t, users/2, count)
	requireGone(t, env.store, dossiers[500])
	requireDossier(t, env.store, dossiers[501])
}

func commitThousandRecords(t *testing.T, env env) {
	const records = 1000
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	change := step(&d.user)
	for n := range records {
		change.Devices.Insert = append(change.Devices.Insert, newDevice(d.user.ID, 5000+n))
		change.Sessions.Insert = append(change.Sessions.Insert, newSession(d.user.ID, 5000+n))
		change.Transactions.Insert = append(change.Transactions.Insert, newTransaction(d.user.ID, 5000+n))
		change.Usage = append(change.Usage, newDayUsage(5000+n))
		change.Events = append(change.Events, newEvent(d.user.ID, 5000+n))
	}
	commit(t, env.store, change)
	d.devices = append(d.devices, change.Devices.Insert...)
	d.sessions = append(d.sessions, change.Sessions.Insert...)
	d.transactions = append(d.transactions, change.Transactions.Insert...)
	d.usage = append(d.usage, change.Usage...)
	d.events = append(d.events, change.Events...)

	state := loadOne(t, env.store, d.everything())
	requireRecords(t, d.devices, state.Devices, recordID)
	requireRecords(t, d.sessions, state.Sessions, sessionRecordID)
	requireRecords(t, d.transactions, state.Transactions, transactionRecordID)
	requireUsage(t, d.usage, state.Usage)
	require.Len(t, state.Events, len(d.events))
	requireEvents(t, d.events, eventsOf(t, env.store, d.user.ID))
	requireDossier(t, env.store, other)
}

// race runs a function in several goroutines that begin at the same moment,
// and gives what each returned.
func race(callers int, run func(caller int) error) []error {
	errs := make([]error, callers)
	start := make(chan struct{})
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			<-start
			errs[caller] = run(caller)
		})
	}
	close(start)
	group.Wait()
	return errs
}

// commitAlone makes one change and gives its outcome or the error of the call.
func commitAlone(t *testing.T, store userkit.Store, change userkit.Change) error {
	errs, err := store.Commit(t.Context(), []userkit.Change{change})
	if err != nil {
		return err
	}
	return errs[0]
}

// requireOneWinner demands that one outcome is nil and gives its index; check is
// called with the others.
func requireOneWinner(t *testing.T, errs []error, check func(err error)) int {
	t.Helper()
	winner := -1
	for i, err := range errs {
		if err == nil {
			require.Equal(t, -1, winner, "two callers won")
			winner = i
			continue
		}
		check(err)
	}
	require.NotEqual(t, -1, winner, "no caller won")
	return winner
}

func commitRace(t *testing.T, env env) {
	const rounds, callers = 60, 4
	handles := []userkit.Store{env.store, env.second(t)}
	d, other := newDossier(1), newDossier(2)
	d.events, d.usage = nil, []userkit.DayUsage{{Day: newDayUsage(1).Day}}
	createAll(t, env.store, d, other)
	for round := range rounds {
		var attempts [callers]dossier
		var changes [callers]userkit.Change
		for caller := range callers {
			attempt := d
			attempt.user.Balance.Amount = int64(round*callers + caller)
			changes[caller] = step(&attempt.user)
			n := 100 + round*callers + caller
			changes[caller].Events = []userkit.Event{newEvent(d.user.ID, n)}
			changes[caller].Usage = []userkit.DayUsage{{Day: d.usage[0].Day, Received: 1}}
			changes[caller].Devices.Insert = []userkit.DeviceRecord{newDevice(d.user.ID, n)}
			changes[caller].Devices.Delete = []userkit.DeviceID{d.devices[1].ID}
			attempt.events = append(slices.Clone(d.events), changes[caller].Events...)
			attempt.usage = []userkit.DayUsage{{Day: d.usage[0].Day, Received: d.usage[0].Received + 1}}
			attempt.devices = []userkit.DeviceRecord{d.devices[0], changes[caller].Devices.Insert[0]}
			attempts[caller] = attempt
		}
		errs := race(callers, func(caller int) error {
			return commitAlone(t, handles[caller%len(handles)], changes[caller])
		})
		d = attempts[requireOneWinner(t, errs, func(err error) { require.ErrorIs(t, err, userkit.ErrConflict) })]
		state := loadOne(t, handles[round%2], userkit.Want{User: d.user.ID, Profile: true, AllDevices: true})
		requireUser(t, d.user, state.User)
		requireRecords(t, d.devices, state.Devices, recordID)
	}
	requireDossier(t, env.store, d)
	requireDossier(t, env.store, other)
}

func commitCreationRace(t *testing.T, env env) {
	const rounds, callers = 25, 4
	handles := []userkit.Store{env.store, env.second(t)}
	for round := range rounds {
		var users [callers]userkit.User
		for caller := range callers {
			users[caller] = newUser(round*callers + caller)
			users[caller].ID = userID(round)
		}
		errs := race(callers, func(caller int) error {
			return commitAlone(t, handles[caller%len(handles)], creation(users[caller]))
		})
		winner := requireOneWinner(t, errs, func(err error) { require.ErrorIs(t, err, userkit.ErrConflict) })
		requireDossier(t, env.store, dossier{user: users[winner]})
	}
}

func commitLoginRace(t *testing.T, env env) {
	const rounds, callers = 25, 4
	handles := []userkit.Store{env.store, env.second(t)}
	for round := range rounds {
		var users [callers]userkit.User
		for caller := range callers {
			users[caller] = newUser(round*callers + caller)
			users[caller].Login = fmt.Sprintf("wanted %d", round)
		}
		errs := race(callers, func(caller int) error {
			return commitAlone(t, handles[caller%len(handles)], creation(users[caller]))
		})
		winner := requireOneWinner(t, errs, func(err error) { requireExists(t, err, userkit.CodeLoginTaken, "login") })
		requireDossier(t, env.store, dossier{user: users[winner]})
	}
}

// commitLoginSwap: two users each want the login of the other. Neither can have
// it while the other has not given it up.
func commitLoginSwap(t *testing.T, env env) {
	const rounds = 15
	handles := []userkit.Store{env.store, env.second(t)}
	users := [2]userkit.User{newUser(1), newUser(2)}
	create(t, env.store, users[:]...)
	for range rounds {
		var changes [2]userkit.Change
		for i := range changes {
			user := users[i]
			changes[i] = edit(&user, func(user *userkit.User) { user.Login = users[1-i].Login })
			changes[i].Events = []userkit.Event{newEvent(user.ID, 1+i)}
		}
		for _, err := range race(2, func(caller int) error { return commitAlone(t, handles[caller], changes[caller]) }) {
			requireExists(t, err, userkit.CodeLoginTaken, "login")
		}
		requireDossier(t, env.store, dossier{user: users[0]})
		requireDossier(t, env.store, dossier{user: users[1]})
	}
}

func commitLoginsRace(t *testing.T, env env) {
	const rounds, callers, logins = 10, 3, 6
	handles := []userkit.Store{env.store, env.second(t)}
	for round := range rounds {
		var created [callers][]userkit.User
		var made [callers][]error
		for _, err := range race(callers, func(caller int) error {
			var changes []userkit.Change
			for i := range logins {
				user := newUser((round*callers+caller)*logins + i)
				wanted := i
				if caller%2 == 1 {
					wanted = logins - 1 - i
				}
				user.Login = fmt.Sprintf("wanted %d in round %d", wanted, round)
				created[caller] = append(created[caller], user)
				changes = append(changes, creation(user))
			}
			var err error
			made[caller], err = handles[caller%len(handles)].Commit(t.Context(), changes)
			return err
		}) {
			require.NoError(t, err)
		}
		holders := map[string]int{}
		for caller := range callers {
			for i, err := range made[caller] {
				if err == nil {
					holders[created[caller][i].Login]++
					requireDossier(t, env.store, dossier{user: created[caller][i]})
					continue
				}
				requireExists(t, err, userkit.CodeLoginTaken, "login")
			}
		}
		require.Len(t, holders, logins)
		for login, count := range holders {
			require.Equal(t, 1, count, login)
		}
	}
}

func commitDeletionRace(t *testing.T, env env) {
	const rounds = 25
	handles := []userkit.Store{env.store, env.second(t)}
	other := newDossier(900)
	createAll(t, env.store, other)
	for round := range rounds {
		d := newDossier(round)
		createAll(t, env.store, d)
		changed := d
		change := step(&changed.user)
		n := 2000 + round
		change.Devices.Insert, change.Sessions.Insert = []userkit.DeviceRecord{newDevice(d.user.ID, n)}, []userkit.Session{newOpenSession(d.user.ID, n)}
		change.Transactions.Insert = []userkit.Transaction{newTransaction(d.user.ID, n)}
		change.Usage, change.Events = []userkit.DayUsage{newDayUsage(n)}, []userkit.Event{newEvent(d.user.ID, n)}
		changed.devices = append(slices.Clone(d.devices), change.Devices.Insert...)
		changed.sessions = append(slices.Clone(d.sessions), change.Sessions.Insert...)
		changed.transactions = append(slices.Clone(d.transactions), change.Transactions.Insert...)
		changed.usage = append(slices.Clone(d.usage), change.Usage...)
		changed.events = append(slices.Clone(d.events), change.Events...)
		deletion := userkit.Change{User: d.user.ID, Version: d.user.Version, Delete: true, Events: []userkit.Event{newEvent(d.user.ID, n+1000)}}
		changes := []userkit.Change{change, deletion}
		errs := race(2, func(caller int) error { return commitAlone(t, handles[(caller+round)%2], changes[caller]) })
		winner := requireOneWinner(t, errs, func(err error) { require.ErrorIs(t, err, userkit.ErrConflict) })
		if winner == 0 {
			requireDossier(t, env.store, changed)
		} else {
			requireGone(t, env.store, changed, deletion.Events...)
		}
	}
	requireDossier(t, env.store, other)
}

func commitCreationDeletionRace(t *testing.T, env env) {
	const rounds = 25
	handles := []userkit.Store{env.store, env.second(t)}
	for round := range rounds {
		d, again := newDossier(round), newDossier(round)
		createAll(t, env.store, d)
		again.user.Name, again.user.Account = "another life", newAccount(500)
		again.devices, again.sessions = again.devices[1:], again.sessions[:1]
		again.transactions, again.usage = again.transactions[:1], again.usage[1:]
		again.events = []userkit.Event{newEvent(d.user.ID, 2000+round)}
		deletion := userkit.Change{User: d.user.ID, Version: d.user.Version, Delete: true, Events: []userkit.Event{newEvent(d.user.ID, 3000+round)}}
		changes := []userkit.Change{again.creation(), deletion}
		errs := race(2, func(caller int) error { return commitAlone(t, handles[(caller+round)%2], changes[caller]) })
		require.NoError(t, errs[1])
		if errs[0] == nil {
			again.events = append(again.events, deletion.Events...)
			requireDossier(t, env.store, again)
			continue
		}
		require.ErrorIs(t, errs[0], userkit.ErrConflict)
		requireGone(t, env.store, d, deletion.Events...)
	}
}

func commitOppositeBatches(t *testing.T, env env) {
	const rounds, users = 12, 6
	handles := []userkit.Store{env.store, env.second(t)}
	for round := range rounds {
		var dossiers [users]dossier
		var batches [2][]userkit.Change
		for i := range users {
			d := newDossier(round*users + i)
			dossiers[i] = d
			user := d.user
			change := step(&user)
			change.Events = []userkit.Event{newEvent(user.ID, 3000+round*users+i)}
			deletion := userkit.Change{User: user.ID, Version: d.user.Version, Delete: true}
			batches[i%2] = append(batches[i%2], change)
			batches[1-i%2] = append([]userkit.Change{deletion}, batches[1-i%2]...)
		}
		createAll(t, env.store, dossiers[:]...)
		var made [2][]error
		for _, err := range race(2, func(caller int) error {
			var err error
			made[caller], err = handles[caller].Commit(t.Context(), batches[caller])
			return err
		}) {
			require.NoError(t, err)
		}
		for i := range users {
			d := dossiers[i]
			var errs []error
			won := -1
			for caller := range batches {
				at := slices.IndexFunc(batches[caller], func(change userkit.Change) bool { return change.User == d.user.ID })
				errs = append(errs, made[caller][at])
				if made[caller][at] == nil {
					won = at
				}
			}
			winner := requireOneWinner(t, errs, func(err error) { require.ErrorIs(t, err, userkit.ErrConflict) })
			change := batches[winner][won]
			if change.Delete {
				requireGone(t, env.store, d)
				continue
			}
			d.user.Version++
			d.events = append(d.events, change.Events...)
			requireDossier(t, env.store, d)
		}
	}
}

// commitManyCallers: callers whose batches overlap in opposite order, so that a
// store that locks rows in the order of the call would lock itself up.
func commitManyCallers(t *testing.T, env env) {
	const users, callers, rounds = 12, 4, 20
	var created []userkit.User
	for n := range users {
		user := newUser(n)
		user.Balance.Amount = 0
		created = append(created, user)
	}
	create(t, env.store, created...)
	handles := []userkit.Store{env.store, env.second(t)}
	var mutex sync.Mutex
	added := make([]int64, users)
	errs := race(callers, func(caller int) error {
		store := handles[caller%len(handles)]
		for round := range rounds {
			var wants []userkit.Want
			for i := range users {
				n := i
				if caller%2 == 1 {
					n = users - 1 - i
				}
				if (n+round)%3 != 0 {
					wants = append(wants, userkit.Want{User: userID(n)})
				}
			}
			states, err := store.Load(t.Context(), wants)
			if err != nil {
				return err
			}
			var changes []userkit.Change
			for _, state := range states {
				user := state.User
				user.Balance.Amount++
				changes = append(changes, step(&user))
			}
			errs, err := store.Commit(t.Context(), changes)
			if err != nil {
				return err
			}
			mutex.Lock()
			for i, err := range errs {
				if err == nil {
					added[slices.IndexFunc(created, func(user userkit.User) bool { return user.ID == changes[i].User })]++
				}
			}
			mutex.Unlock()
		}
		return nil
	})
	for _, err := range errs {
		require.NoError(t, err)
	}
	for n, user := range created {
		require.Positive(t, added[n])
		user.Balance.Amount, user.Version = added[n], 1+added[n]
		requireDossier(t, env.store, dossier{user: user})
	}
}
