package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func storeContractGroups() []group {
	return []group{
		{"Copies", []testCase{
			{"leave the store as it is when what went in is changed", copiesIn},
			{"leave the store as it is when what came out is changed", copiesOut},
			{"of a state leave the store as it is", copiesOfState},
		}},
		{"Values", []testCase{
			{"of time come out in UTC, to the microsecond", inEveryWay(valuesOfTime)},
			{"of time may be from the first to the last year of the calendar", inEveryWay(valuesOfTimeExtremes)},
			{"of numbers reach to the edges of int64", inEveryWay(valuesOfNumbers)},
			{"of text may be as long as the bounds allow, in runes of four bytes", inEveryWay(valuesOfLongText)},
			{"of text mean nothing to the store", inEveryWay(valuesOfHostileText)},
			{"of ids may be any UUID", inEveryWay(valuesOfIDs)},
			{"of addresses may be of both families", inEveryWay(valuesOfAddresses)},
			{"of attributes keep their types", inEveryWay(valuesOfAttributes)},
		}},
		{"Handles", []testCase{
			{"see what each of them commits", handlesSeeEachOther},
			{"keep one another's values unique", handlesKeepUnique},
			{"may be used by many goroutines at once", handlesShared},
		}},
		{"Context", []testCase{
			{"that was cancelled before ends every call with its error", contextCancelled},
			{"that is cancelled on the way leaves a change whole or undone", contextCutShort},
		}},
		{"Close", []testCase{
			{"makes every method answer that the store is closed", closeEndsEverything},
			{"may be called again", closeTwice},
			{"of one handle leaves the others", closeOneHandle},
		}},
	}
}

// scribble writes over everything that slices, maps and pointers of a dossier
// and of a change lead to.
func (d *dossier) scribble() {
	scribbleAttributes(d.user.Attributes)
	for i := range d.devices {
		scribbleBytes(d.devices[i].SealedToken)
		d.devices[i] = userkit.DeviceRecord{Device: userkit.Device{Name: "scribbled"}}
	}
	for i := range d.sessions {
		d.sessions[i] = userkit.Session{Node: "scribbled"}
	}
	for i := range d.purchases {
		scribbleBytes(d.purchases[i].Raw)
		clear(d.purchases[i].Items)
		clear(d.purchases[i].Supersedes)
		d.purchases[i] = userkit.Purchase{Store: "scribbled"}
	}
	for i := range d.transactions {
		d.transactions[i] = userkit.Transaction{Note: "scribbled"}
	}
	for i := range d.usage {
		d.usage[i] = userkit.DayUsage{Received: -1}
	}
	for i := range d.events {
		scribbleBytes(d.events[i].Data)
		d.events[i] = userkit.Event{Name: "scribbled"}
	}
}

func scribbleBytes(data []byte) {
	for i := range data {
		data[i] = '7'
	}
}

func scribbleAttributes(attributes userkit.Attributes) {
	scribbleValue(map[string]any(attributes))
	if attributes != nil {
		attributes["scribbled"] = true
	}
}

func scribbleValue(value any) {
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			scribbleValue(inner)
			value[name] = "scribbled"
		}
	case []any:
		for i, inner := range value {
			scribbleValue(inner)
			value[i] = "scribbled"
		}
	}
}

func copiesIn(t *testing.T, env env) {
	d := newDossier(1)
	change := d.creation()
	changes := []userkit.Change{change}
	commit(t, env.store, changes...)
	change.Profile.Name = "scribbled"
	changes[0] = userkit.Change{}
	d.scribble()
	requireDossier(t, env.store, newDossier(1))

	// Replaced by what is written over afterwards.
	d, next := newDossier(1), newDossier(100)
	next.user.ID = d.user.ID
	change = step(&d.user)
	change.Profile = &next.user
	for i := range next.devices {
		next.devices[i].ID, next.devices[i].UserID = d.devices[i].ID, d.user.ID
		next.sessions[i].ID, next.sessions[i].UserID = d.sessions[i].ID, d.user.ID
		next.purchases[i].ID, next.purchases[i].UserID = d.purchases[i].ID, d.user.ID
		next.transactions[i].ID, next.transactions[i].UserID = d.transactions[i].ID, d.user.ID
		next.events[i].UserID = d.user.ID
	}
	change.Devices.Update, change.Sessions.Update, change.Transactions.Update = next.devices, next.sessions, next.transactions
	change.Purchases.Update, change.Events = next.purchases, next.events
	want := newDossier(1)
	want.user = newUser(100)
	want.user.ID, want.user.Account = d.user.ID, d.user.Account
	want.devices, want.sessions, want.transactions = slices.Clone(next.devices), slices.Clone(next.sessions), slices.Clone(next.transactions)
	for i := range want.devices {
		want.devices[i].SealedToken = slices.Clone(want.devices[i].SealedToken)
	}
	want.purchases = slices.Clone(next.purchases)
	for i := range want.purchases {
		want.purchases[i].Raw = slices.Clone(want.purchases[i].Raw)
		want.purchases[i].Items, want.purchases[i].Supersedes = slices.Clone(want.purchases[i].Items), slices.Clone(want.purchases[i].Supersedes)
	}
	for _, event := range next.events {
		event.Data = slices.Clone(event.Data)
		want.events = append(want.events, event)
	}
	commit(t, env.store, change)
	next.scribble()
	next.user.Name = "scribbled"
	requireDossier(t, env.store, want)
}

func copiesOut(t *testing.T, env env) {
	ctx, d := t.Context(), newDossier(1)
	createAll(t, env.store, d, newDossier(2))
	list := func(field string) userkit.ListRange {
		return userkit.ListRange{Order: userkit.Order{Field: field}, Limit: 10}
	}

	user, err := env.store.User(ctx, d.user.ID)
	require.NoError(t, err)
	scribbleAttributes(user.Attributes)
	user, err = env.store.FindUser(ctx, userkit.ByLogin(d.user.Login))
	require.NoError(t, err)
	scribbleAttributes(user.Attributes)
	users, err := env.store.Users(ctx, userkit.UserSelection{}, list("login"))
	require.NoError(t, err)
	for i := range users {
		scribbleAttributes(users[i].Attributes)
		users[i] = userkit.User{Name: "scribbled"}
	}
	_, user, _, err = env.store.DeviceByToken(ctx, d.devices[0].TokenDigest)
	require.NoError(t, err)
	scribbleAttributes(user.Attributes)
	devices, err := env.store.Devices(ctx, userkit.DeviceFilter{}, list("name"))
	require.NoError(t, err)
	sealed, err := env.store.SealedDevices(ctx, userkit.DeviceID{}, 10)
	require.NoError(t, err)
	for i := range devices {
		devices[i] = userkit.Device{Name: "scribbled"}
	}
	sessions, err := env.store.Sessions(ctx, userkit.SessionFilter{}, list("started_at"))
	require.NoError(t, err)
	stale, err := env.store.StaleSessions(ctx, at(1_000_000), 10)
	require.NoError(t, err)
	for i := range stale {
		stale[i] = userkit.Session{Node: "scribbled"}
	}
	owners, err := env.store.SessionOwners(ctx, []userkit.SessionID{d.sessions[0].ID})
	require.NoError(t, err)
	owners[d.sessions[0].ID] = userID(900)
	usage, err := env.store.Usage(ctx, d.user.ID, newDayUsage(-100).Day, newDayUsage(100).Day)
	require.NoError(t, err)
	transactions, err := env.store.Transactions(ctx, userkit.TransactionFilter{}, list("at"))
	require.NoError(t, err)
	ledgers, err := env.store.Ledgers(ctx, userkit.UserID{}, 10)
	require.NoError(t, err)
	for i := range ledgers {
		ledgers[i] = userkit.Ledger{Count: -1}
	}
	events, err := env.store.Events(ctx, userkit.EventFilter{}, list("at"))
	require.NoError(t, err)
	purchases, err := env.store.Purchases(ctx, userkit.PurchaseFilter{}, list("purchased_at"))
	require.NoError(t, err)
	for _, purchase := range d.purchases {
		one, err := env.store.Purchase(ctx, purchase.ID)
		require.NoError(t, err)
		scribbleBytes(one.Raw)
		found, err := env.store.FindPurchases(ctx, purchase.Store, purchase.StableID)
		require.NoError(t, err)
		for i := range found {
			scribbleBytes(found[i].Raw)
			found[i] = userkit.Purchase{Store: "scribbled"}
		}
	}
	out := dossier{devices: sealed, sessions: sessions, purchases: purchases, usage: usage, transactions: transactions, events: events}
	out.scribble()
	for _, event := range feedOf(t, env.store, userkit.FeedPosition{}, 10, 4) {
		scribbleBytes(event.Event.Data)
	}
	requireDossier(t, env.store, newDossier(1))
	requireDossier(t, env.store, newDossier(2))
	for i, event := range feedOf(t, env.store, userkit.FeedPosition{}, 10, 4) {
		requireEvents(t, []userkit.Event{newEvent(event.Event.UserID, 2+i)}, []userkit.Event{event.Event})
	}
}

func copiesOfState(t *testing.T, env env) {
	d := newDossier(1)
	createAll(t, env.store, d, newDossier(2))
	wants := []userkit.Want{d.everything(), newDossier(2).everything()}
	for _, state := range load(t, env.store, wants...) {
		out := dossier{
			user: state.User, devices: state.Devices, sessions: state.Sessions, purchases: state.Purchases, usage: state.Usage, transactions: state.Transactions,
		}
		out.scribble()
		state.RowCounts[userkit.RowsDevices] = 99
		for i := range state.Events {
			state.Events[i] = eventID(900)
		}
	}
	requireDossier(t, env.store, newDossier(1))
	requireDossier(t, env.store, newDossier(2))
	require.Equal(t, []userkit.Want{d.everything(), newDossier(2).everything()}, wants, "the wants are the caller's")
}

func valuesOfTime(t *testing.T, env env) {
	// A microsecond is the smallest part that counts: moments that differ by one
	// stay apart, at both ends of a second.
	second := time.Date(2026, time.October, 25, 0, 30, 0, 0, time.UTC)
	for n, moment := range []time.Time{
		second, second.Add(time.Microsecond), second.Add(999_999 * time.Microsecond), second.Add(-time.Microsecond),
		second.Add(500 * time.Millisecond), second.Add(123_457 * time.Microsecond), time.Unix(0, 0).UTC(), time.Unix(0, 1000).UTC(), time.Unix(-1, 999_999_000).UTC(),
	} {
		d := dossierAt(n, moment)
		createAll(t, env.store, d)
		requireDossier(t, env.store, d)
	}
	user, err := env.store.User(t.Context(), userID(1))
	require.NoError(t, err)
	require.Equal(t, time.UTC, user.RegisteredAt.Location())
	require.Equal(t, second.Add(time.Microsecond), user.RegisteredAt)
}

// dossierAt makes a dossier all of whose times are one moment.
func dossierAt(n int, moment time.Time) dossier {
	d := newDossier(n)
	day := userkit.DayOf(moment, time.UTC)
	d.user.RegisteredAt, d.user.UpdatedAt, d.user.ExpiresAt, d.user.LastSeenAt = moment, moment, moment, moment
	d.user.PurchasesEndAt = moment
	d.user.Traffic.Period = day
	for i := range d.devices {
		d.devices[i].RegisteredAt, d.devices[i].LastSeenAt = moment, moment
		d.devices[i].Location.At, d.devices[i].LocationConsentAt, d.devices[i].LocationForgottenAt = moment, moment, moment
	}
	for i := range d.sessions {
		d.sessions[i].StartedAt, d.sessions[i].Counter.At, d.sessions[i].Aside.At, d.sessions[i].ReportedAt = moment, moment, moment, moment
	}
	d.sessions[1].EndedAt = moment
	for i := range d.purchases {
		purchase := &d.purchases[i]
		purchase.PurchasedAt, purchase.ExpiresAt, purchase.CreatedAt, purchase.UpdatedAt = moment, moment, moment, moment
		purchase.FactsAt, purchase.VerifiedAt, purchase.DueAt, purchase.LeasedUntil = moment, moment, moment, moment
	}
	for i := range d.messages {
		d.messages[i].SentAt = moment
	}
	received := &d.messages[0]
	received.ExpiresAt, received.ReadAt = moment, moment
	for i := range d.deliveries {
		d.deliveries[i].CreatedAt, d.deliveries[i].AttemptedAt, d.deliveries[i].DueAt, d.deliveries[i].LeasedUntil = moment, moment, moment, moment
	}
	for i := range d.transactions {
		d.transactions[i].At = moment
	}
	d.transactions[0].CancelledAt = moment
	d.usage = d.usage[:1]
	d.usage[0].Day = day
	for i := range d.events {
		d.events[i].At = moment
	}
	return d
}

func valuesOfTimeExtremes(t *testing.T, env env) {
	var dossiers []dossier
	for n, moment := range []time.Time{
		time.Date(1, time.January, 2, 0, 0, 0, 1000, time.UTC),
		time.Date(1582, time.October, 10, 12, 0, 0, 0, time.UTC),
		time.Date(1883, time.November, 18, 11, 59, 59, 999_999_000, time.UTC),
		time.Date(1970, time.January, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC), // where PostgreSQL begins to count
		time.Date(2024, time.February, 29, 23, 59, 59, 0, time.UTC),
		time.Date(2038, time.January, 19, 3, 14, 8, 0, time.UTC),
		time.Date(2200, time.July, 1, 1, 2, 3, 4000, time.UTC),
		time.Date(2263, time.January, 1, 0, 0, 0, 0, time.UTC), // beyond an int64 of nanoseconds
		time.Date(9999, time.December, 31, 23, 59, 59, 999_999_000, time.UTC),
	} {
		dossiers = append(dossiers, dossierAt(n, moment))
	}
	createAll(t, env.store, dossiers...)
	var users []userkit.User
	for _, d := range dossiers {
		requireDossier(t, env.store, d)
		users = append(users, d.user)
	}
	listing := listingOfUsers(t, env.store, userkit.UserSelection{}, users)
	listing.fields = belonging(listing.fields, func(field userkit.Field[userkit.User]) bool { return field.Kind == userkit.KindTime })
	listing.requireOrder(t)
	listing.requirePages(t)
}

func valuesOfNumbers(t *testing.T, env env) {
	for n, number := range []int64{math.MaxInt64, math.MinInt64, math.MaxInt64 - 1, math.MinInt64 + 1, 1 << 53, 1<<53 + 1, -1<<53 - 1, 0} {
		d := newDossier(n)
		positive := number
		if positive < 0 {
			positive = -(positive + 1)
		}
		d.user.Balance.Amount = number
		d.user.TransactionSequence, d.user.Revision = positive, positive
		d.user.Traffic.Limit.Bytes, d.user.Traffic.Used = positive, positive
		d.user.Traffic.Limit.AnchorDay = 31
		d.user.ValidFor = userkit.Duration(positive)
		d.user.Devices, d.user.OpenSessions = math.MaxInt32, math.MaxInt32
		for i := range d.sessions {
			d.sessions[i].Received, d.sessions[i].Sent = positive, positive
			d.sessions[i].Counter.Received, d.sessions[i].Counter.Sent = positive, positive
			d.sessions[i].Aside.Received, d.sessions[i].Aside.Sent = positive, positive
		}
		for i := range d.transactions {
			d.transactions[i].Amount.Amount, d.transactions[i].Balance.Amount = positive, number
		}
		d.transactions[0].Sequence, d.transactions[1].Sequence = max(positive-1, 1), max(positive, 2)
		for i := range d.usage {
			d.usage[i].Received, d.usage[i].Sent, d.usage[i].Forgiven = positive, positive, positive
		}
		d.devices[0].Location.Latitude, d.devices[0].Location.Longitude, d.devices[0].Location.Accuracy = 90, -180, math.MaxFloat64
		d.devices[1].Location.Latitude, d.devices[1].Location.Longitude, d.devices[1].Location.Accuracy = -1.0/3, math.SmallestNonzeroFloat64, 0.1
		createAll(t, env.store, d)
		requireDossier(t, env.store, d)
	}
}

// longest makes a text of that many runes of four bytes, all different so that
// no compression makes it short. It ends in tail.
func longest(runes int, tail string) string {
	var text strings.Builder
	for i := range runes - len(tail) {
		text.WriteRune(rune(0x20000 + i*7919%0xA000)) // ideographs, which fold to themselves
	}
	return text.String() + tail
}

func valuesOfLongText(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	user := &d.user
	user.Login, user.Name, user.ExtRef = longest(userkit.MaxLogin, "a"), longest(userkit.MaxName, "a"), longest(userkit.MaxExtRef, "a")
	user.Email = strings.Repeat("é", (userkit.MaxEmail-12)/2) + "@example.org"
	require.LessOrEqual(t, len(user.Email), userkit.MaxEmail)
	line, address := longest(userkit.MaxLine, "a"), longest(userkit.MaxAddress, "a")
	user.AuthMethod, user.License, user.PreferredMap = line, line, line
	user.Payer = userkit.Payer{AccountNumber: line, LegalAddress: address, PostalAddress: address, Bank: line, BankAccount: line}
	user.Description, user.AdditionalInfo = longest(userkit.MaxDescription, "a"), longest(userkit.MaxAdditionalInfo, "a")
	user.Attributes = userkit.Attributes{}
	for i := range userkit.MaxAttributes {
		user.Attributes[strings.Repeat("n", 62)+string(rune('a'+i/26))+string(rune('a'+i%26))] = longest(120, "a")
	}
	for i := range d.devices {
		device := &d.devices[i]
		device.Name, device.PushToken = line, longest(userkit.MaxPushToken, string(rune('a'+i)))
		device.HardwareID = longest(userkit.MaxLine, string(rune('a'+i)))
		device.SealedToken = []byte(longest(1000, "a"))
		d.sessions[i].DeviceName, d.sessions[i].Node, d.sessions[i].NodeLocation = line, line, line
		purchase := &d.purchases[i]
		purchase.Store = strings.Repeat(string(rune('a'+i)), 32)
		purchase.StableID, purchase.TransactionID = longest(userkit.MaxPurchaseID, "a"), longest(userkit.MaxPurchaseID, "a")
		purchase.ProductID, purchase.Reason = longest(userkit.MaxPurchaseID, "a"), userkit.PurchaseReason(line)
		purchase.Token = longest(userkit.MaxReceipt/4, "a")
		raw, err := json.Marshal(longest(userkit.MaxPurchaseRaw/4-1, ""))
		require.NoError(t, err)
		purchase.Raw = raw
		transaction := &d.transactions[i]
		transaction.Key, transaction.Reference, transaction.Note = longest(userkit.MaxLine, string(rune('a'+i))), line, longest(userkit.MaxNote, "a")
		transaction.Actor.ID, transaction.Actor.Name = line, line
		d.events[i].Actor = transaction.Actor
		d.events[i].Name = userkit.EventName(strings.Repeat("n", 64))
		data, err := json.Marshal(longest(userkit.MaxEventData/4-1, ""))
		require.NoError(t, err)
		d.events[i].Data = data
	}
	d.transactions[0].CancelledBy = d.transactions[0].Actor
	createAll(t, env.store, d, other)
	requireDossier(t, env.store, d)
	requireDossier(t, env.store, other)

	state := loadOne(t, env.store, userkit.Want{
		User: d.user.ID, HardwareIDs: []string{d.devices[1].HardwareID}, TransactionKeys: []string{d.transactions[1].Key},
	})
	requireRecords(t, d.devices[1:], state.Devices, recordID)
	requireRecords(t, d.transactions[1:], state.Transactions, transactionRecordID)

	// Texts that differ at their end only are different, and equal ones equal.
	second := newUser(3)
	second.ExtRef = longest(userkit.MaxExtRef, "b")
	create(t, env.store, second)
	taken := newUser(4)
	taken.ExtRef = d.user.ExtRef
	requireExists(t, outcome(t, env.store, creation(taken)), userkit.CodeExtRefTaken, "extref")
	requireFound(t, env.store, userkit.ByExtRef(second.ExtRef), second)
	requireFound(t, env.store, userkit.ByExtRef(longest(userkit.MaxExtRef, "c")), userkit.User{})

	// One rune folds into eighteen, so the folded form is longer than a key.
	wide := newUser(5)
	wide.Login = strings.Repeat("\ufdfa", userkit.MaxLogin)
	create(t, env.store, wide)
	requireFound(t, env.store, userkit.ByLogin(wide.Login), wide)
}

func valuesOfHostileText(t *testing.T, env env) {
	hostile := []string{
		`'; DROP TABLE users; --`, `"quoted" and 'quoted'`, `back\slash \' \n \u0000`, `? ?? ?0 ?1 ?TableAlias ?schema ?!`, `$1 $$ $tag$ $2`,
		`:name @name #name`, `%s %d %% %`, `_ % [a-z] * ? ^$`, `{"json":["text"]}`, `{a,b,"c"}`, `NULL`, `true`, `/* comment */ -- comment`,
		"tab\tnew\r\nline", `<script>&amp;</script>`, "\u200f\u202eright to left\u2066", "\ufeffbom", "e\u0301 and é", "👩‍👩‍👧‍👦 🇧🇾", "\U0010fffd", "\\x00", `\\?\C:\`, "''''", `""""`,
	}
	for n, text := range hostile {
		d, other := newDossier(2*n), newDossier(2*n+1)
		user := &d.user
		user.Login, user.Email, user.ExtRef = text, text, text
		user.Name, user.License, user.AuthMethod, user.Description, user.PreferredMap, user.AdditionalInfo = text, text, text, text, text, text
		user.Payer = userkit.Payer{AccountNumber: text, LegalAddress: text, PostalAddress: text, Bank: text, BankAccount: text}
		user.Attributes = userkit.Attributes{"text": text, "list": []any{text}, "map": map[string]any{text: text}}
		data, err := json.Marshal(map[string]any{text: []any{text}})
		require.NoError(t, err)
		device, session, transaction, event := &d.devices[0], &d.sessions[0], &d.transactions[0], &d.events[0]
		purchase := &d.purchases[1]
		purchase.Store, purchase.StableID, purchase.TransactionID, purchase.ProductID, purchase.Token = text, text, text, text, text
		purchase.Reason, purchase.Raw = userkit.PurchaseReason(text), data
		device.Name, device.HardwareID, device.PushToken, device.TokenHint, device.SealedToken = text, text, text, text, []byte(text)
		session.DeviceName, session.Node, session.NodeLocation = text, text, text
		transaction.Key, transaction.Note, transaction.Reference = text, text, text
		transaction.Actor = userkit.Actor{Kind: userkit.ActorNode, ID: text, Name: text}
		transaction.CancelledBy = transaction.Actor
		event.Actor, event.Data = transaction.Actor, data
		createAll(t, env.store, d, other)
		requireDossier(t, env.store, d)
		requireDossier(t, env.store, other)
		state := loadOne(t, env.store, userkit.Want{User: d.user.ID, HardwareIDs: []string{text}, TransactionKeys: []string{text}})
		requireRecords(t, d.devices[:1], state.Devices, recordID)
		requireRecords(t, d.transactions[:1], state.Transactions, transactionRecordID)

		taken := newUser(900)
		taken.Login = text
		requireExists(t, outcome(t, env.store, creation(taken)), userkit.CodeLoginTaken, "login")
		taken = newUser(900)
		taken.ExtRef = text
		requireExists(t, outcome(t, env.store, creation(taken)), userkit.CodeExtRefTaken, "extref")
		events, err := env.store.Events(t.Context(), userkit.EventFilter{Name: userkit.EventName(text)}, userkit.ListRange{Order: userkit.Order{Field: "at"}, Limit: 1})
		require.NoError(t, err)
		require.Empty(t, events)
	}
}

func valuesOfIDs(t *testing.T, env env) {
	var all, one [16]byte
	for i := range all {
		all[i] = 0xff
	}
	one[15] = 1
	random := [16]byte{0x9b, 0x1d, 0xeb, 0x4d, 0x3b, 0x7d, 0x4b, 0xad, 0x9b, 0xdd, 0x2b, 0x0d, 0x7b, 0x3d, 0xcb, 0x6d}
	var users []userkit.User
	var sessions []userkit.Session
	// One id in every kind of record: each kind has its own.
	for n, id := range [][16]byte{all, one, random} {
		d := newDossier(n)
		d.user.ID = id
		d.user.LastTransaction = id
		d.devices, d.sessions, d.transactions, d.events = d.devices[:1], d.sessions[:1], d.transactions[:1], d.events[:1]
		d.connections = d.connections[:1]
		d.connections[0].ID, d.connections[0].UserID, d.connections[0].Actor.OnBehalfOf = id, id, id
		d.purchases = d.purchases[:1]
		d.purchases[0].ID, d.purchases[0].UserID = id, id
		d.messages = d.messages[:1]
		d.messages[0].ID, d.messages[0].UserID, d.messages[0].Origin.Actor.OnBehalfOf = id, id, id
		d.deliveries = d.deliveries[:1]
		d.deliveries[0].ID, d.deliveries[0].UserID, d.deliveries[0].MessageID, d.deliveries[0].DeviceID = id, id, id, id
		d.devices[0].ID, d.sessions[0].ID, d.transactions[0].ID, d.events[0].ID = id, id, id, id
		d.devices[0].UserID, d.sessions[0].UserID, d.transactions[0].UserID, d.events[0].UserID = id, id, id, id
		d.sessions[0].DeviceID, d.events[0].DeviceID, d.transactions[0].Previous = id, id, id
		d.transactions[0].Actor.OnBehalfOf, d.events[0].Actor.OnBehalfOf = id, id
		createAll(t, env.store, d)
		requireDossier(t, env.store, d)
		users, sessions = append(users, d.user), append(sessions, d.sessions[0])
	}
	listingOfUsers(t, env.store, userkit.UserSelection{}, users).requirePages(t)
	listingOfSessions(t, env.store, userkit.SessionFilter{}, sessions).requirePages(t)
}

func valuesOfAddresses(t *testing.T, env env) {
	d := dossier{user: newUser(1)}
	for n, address := range []string{
		"", "0.0.0.0", "255.255.255.255", "10.8.0.1", "127.0.0.1", "::", "::1", "2001:db8::ff00:42:8329", "fd00::10:8:0:1",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:10.8.0.1", "::10.8.0.1",
	} {
		session := newSession(d.user.ID, n)
		session.InternalIP = netip.Addr{}
		if address != "" {
			session.InternalIP = netip.MustParseAddr(address)
		}
		d.sessions = append(d.sessions, session)
	}
	createAll(t, env.store, d)
	requireDossier(t, env.store, d)
	listing := listingOfSessions(t, env.store, userkit.SessionFilter{}, d.sessions)
	listing.fields = belonging(listing.fields, func(field userkit.Field[userkit.Session]) bool { return field.Kind == userkit.KindAddress })
	require.NotEmpty(t, listing.fields)
	listing.requirePages(t)
}

func valuesOfAttributes(t *testing.T, env env) {
	for n, attributes := range []userkit.Attributes{
		nil,
		{"a": nil},
		{"a": true, "b": false},
		{"a": int64(0), "b": int64(math.MaxInt64), "c": int64(math.MinInt64), "d": int64(1<<53 + 1), "e": int64(-7)},
		{"a": 0.5, "b": -1.25e-7, "c": 0.1, "d": math.SmallestNonzeroFloat64, "e": 1.7976931348623157e308, "f": 1e21 + 1e5},
		{"a": "", "b": "null", "c": "1", "d": "true", "e": " ", "f": "2026-03-14T15:09:26Z"},
		{"a": []any{}, "b": []any{[]any{[]any{}}}, "c": []any{nil, nil}, "d": []any{int64(1), 1.5, "1", true}},
		{"a": map[string]any{}, "b": map[string]any{"": map[string]any{}}, "c": map[string]any{"x": nil, "X": int64(1), "é": "e\u0301"}},
		{"A": "upper", "a": "lower", "a-b": int64(1), "a_b": int64(2), "Z9": int64(3)},
	} {
		d := dossier{user: newUser(n)}
		d.user.Attributes = attributes
		createAll(t, env.store, d)
		requireDossier(t, env.store, d)
	}
}

func handlesSeeEachOther(t *testing.T, env env) {
	second := env.second(t)
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d)
	requireDossier(t, second, d)
	createAll(t, second, other)
	requireDossier(t, env.store, other)

	commit(t, second, edit(&d.user, func(user *userkit.User) { user.Login, user.Status = "renamed", userkit.StatusDisabled }))
	requireDossier(t, env.store, d)
	requireUserCount(t, env.store, userkit.UserSelection{WithoutDisabled: true}, 1)
	late := step(&userkit.User{ID: d.user.ID, Account: userkit.Account{Version: 1}})
	requireConflict(t, env.store, late)

	deletion := step(&other.user)
	deletion.Delete = true
	commit(t, env.store, deletion)
	requireGone(t, second, other)
	requireDossier(t, second, d)
}

func handlesKeepUnique(t *testing.T, env env) {
	second := env.second(t)
	d := newDossier(1)
	createAll(t, env.store, d)
	taken := newUser(2)
	taken.Login = d.user.Login
	requireExists(t, outcome(t, second, creation(taken)), userkit.CodeLoginTaken, "login")
	requireConflict(t, second, creation(d.user))
	change := creation(newUser(2))
	device := newDevice(userID(2), 50)
	device.TokenDigest = d.devices[0].TokenDigest
	change.Devices.Insert = []userkit.DeviceRecord{device}
	requireCode(t, outcome(t, second, change), userkit.ErrExists, userkit.CodeTokenTaken)
	create(t, second, newUser(2))
	requireDossier(t, env.store, d)
}

// handlesShared: writers and readers of everything at once, on two handles. The
// race detector and the final reading say whether that went well.
func handlesShared(t *testing.T, env env) {
	const writers, rounds = 3, 120
	handles := []userkit.Store{env.store, env.second(t)}
	var dossiers [writers]dossier
	for n := range dossiers {
		dossiers[n] = newDossier(n)
	}
	createAll(t, env.store, dossiers[:]...)
	var writing atomic.Int32
	writing.Store(writers)
	write := func(writer int) error {
		defer writing.Add(-1)
		d := &dossiers[writer]
		for round := range rounds {
			change := edit(&d.user, func(user *userkit.User) { user.Description = strings.Repeat("x", round) })
			d.devices[0].Name, d.sessions[0].Sent = strings.Repeat("y", round), int64(round)
			change.Devices.Update, change.Sessions.Update = slices.Clone(d.devices[:1]), slices.Clone(d.sessions[:1])
			event := newEvent(d.user.ID, 1000*(writer+1)+round)
			change.Events = []userkit.Event{event}
			d.events = append(d.events, event)
			if err := commitAlone(t, handles[writer%len(handles)], change); err != nil {
				return err
			}
		}
		return nil
	}
	read := func(reader int) error {
		store := handles[reader%len(handles)]
		for round := 0; round == 0 || writing.Load() > 0; round++ {
			for _, call := range calls(newDossier(round % writers)) {
				if call.writes {
					continue
				}
				if err := call.call(t.Context(), store); err != nil {
					return fmt.Errorf("%s: %w", call.name, err)
				}
			}
		}
		return nil
	}
	for _, err := range race(writers+2, func(caller int) error {
		if caller < writers {
			return write(caller)
		}
		return read(caller)
	}) {
		require.NoError(t, err)
	}
	for _, d := range dossiers {
		requireDossier(t, env.store, d)
	}
}

// call is one call of a method of the store.
type call struct {
	name   string
	writes bool
	call   func(ctx context.Context, store userkit.Store) error
}

// calls returns a call of every method but Close, each of which succeeds while
// the dossier is stored at its first version.
func calls(d dossier) []call {
	list := func(field string) userkit.ListRange {
		return userkit.ListRange{Order: userkit.Order{Field: field}, Limit: 10}
	}
	read := func(name string, run func(ctx context.Context, store userkit.Store) error) call {
		return call{name: name, call: run}
	}
	return []call{
		read("Load", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Load(ctx, []userkit.Want{d.everything()})
			return err
		}),
		{"Commit", true, func(ctx context.Context, store userkit.Store) error {
			user := d.user
			errs, err := store.Commit(ctx, []userkit.Change{step(&user)})
			return errors.Join(append(errs, err)...)
		}},
		read("User", func(ctx context.Context, store userkit.Store) error {
			_, err := store.User(ctx, d.user.ID)
			return err
		}),
		read("FindUser", func(ctx context.Context, store userkit.Store) error {
			_, err := store.FindUser(ctx, userkit.ByLogin(d.user.Login))
			return err
		}),
		read("Users", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Users(ctx, userkit.UserSelection{WithoutDisabled: true}, list("description"))
			return err
		}),
		read("CountUsers", func(ctx context.Context, store userkit.Store) error {
			_, err := store.CountUsers(ctx, userkit.UserSelection{})
			return err
		}),
		read("FindUsers", func(ctx context.Context, store userkit.Store) error {
			_, err := store.FindUsers(ctx, "login", []string{userkit.ByLogin(d.user.Login).Value()})
			return err
		}),
		read("UserIDs", func(ctx context.Context, store userkit.Store) error {
			_, err := store.UserIDs(ctx, userkit.UserSelection{WithoutDisabled: true}, userkit.UserID{}, 10)
			return err
		}),
		read("UserNames", func(ctx context.Context, store userkit.Store) error {
			_, err := store.UserNames(ctx, userkit.UserSelection{}, []userkit.UserID{d.user.ID})
			return err
		}),
		read("CountSegments", func(ctx context.Context, store userkit.Store) error {
			_, err := store.CountSegments(ctx, userkit.SegmentFilter{})
			return err
		}),
		read("Segments", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Segments(ctx, userkit.SegmentFilter{Search: "a"}, list("name"))
			return err
		}),
		read("FindSegments", func(ctx context.Context, store userkit.Store) error {
			_, err := store.FindSegments(ctx, []userkit.SegmentID{segmentID(1)}, []string{"name"})
			return err
		}),
		{"CommitSegment", true, func(ctx context.Context, store userkit.Store) error {
			segment := newList(1)
			segment.ID = userkit.NewID[userkit.Segment]()
			segment.Name = segment.ID.String()
			event := newSegmentEvent(1)
			event.ID = userkit.NewID[userkit.Event]()
			_, err := store.CommitSegment(ctx, userkit.SegmentChange{ID: segment.ID, Segment: segment, Event: event})
			return err
		}},
		{"CommitEvent", true, func(ctx context.Context, store userkit.Store) error {
			event := newSegmentEvent(1)
			event.ID = userkit.NewID[userkit.Event]()
			return store.CommitEvent(ctx, event)
		}},
		read("Device", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Device(ctx, d.devices[0].ID)
			return err
		}),
		read("DeviceByToken", func(ctx context.Context, store userkit.Store) error {
			_, _, _, err := store.DeviceByToken(ctx, d.devices[0].TokenDigest)
			return err
		}),
		read("DeviceByPushToken", func(ctx context.Context, store userkit.Store) error {
			_, err := store.DeviceByPushToken(ctx, d.devices[0].PushToken)
			return err
		}),
		read("CountDevices", func(ctx context.Context, store userkit.Store) error {
			_, err := store.CountDevices(ctx, userkit.DeviceFilter{})
			return err
		}),
		read("Devices", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Devices(ctx, userkit.DeviceFilter{WithoutDisabled: true}, list("name"))
			return err
		}),
		read("SealedDevices", func(ctx context.Context, store userkit.Store) error {
			_, err := store.SealedDevices(ctx, userkit.DeviceID{}, 10)
			return err
		}),
		read("Session", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Session(ctx, d.sessions[0].ID)
			return err
		}),
		read("SessionOwners", func(ctx context.Context, store userkit.Store) error {
			_, err := store.SessionOwners(ctx, []userkit.SessionID{d.sessions[0].ID})
			return err
		}),
		read("CountSessions", func(ctx context.Context, store userkit.Store) error {
			_, err := store.CountSessions(ctx, userkit.SessionFilter{})
			return err
		}),
		read("Sessions", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Sessions(ctx, userkit.SessionFilter{}, list("node"))
			return err
		}),
		read("StaleSessions", func(ctx context.Context, store userkit.Store) error {
			_, err := store.StaleSessions(ctx, at(1_000_000), 10)
			return err
		}),
		read("Usage", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Usage(ctx, d.user.ID, newDayUsage(-100).Day, newDayUsage(100).Day)
			return err
		}),
		{"CommitTogether", true, func(ctx context.Context, store userkit.Store) error {
			user := d.user
			step(&user) // the one of Commit, which comes before
			return store.CommitTogether(ctx, []userkit.Change{step(&user)})
		}},
		read("Purchase", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Purchase(ctx, d.purchases[0].ID)
			return err
		}),
		read("FindPurchases", func(ctx context.Context, store userkit.Store) error {
			_, err := store.FindPurchases(ctx, d.purchases[0].Store, d.purchases[0].StableID)
			return err
		}),
		read("Message", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Message(ctx, d.messages[0].ID)
			return err
		}),
		read("CountMessages", func(ctx context.Context, store userkit.Store) error {
			_, err := store.CountMessages(ctx, userkit.MessageFilter{})
			return err
		}),
		read("Messages", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Messages(ctx, userkit.MessageFilter{OnlyUnread: true, Now: base}, list("source"))
			return err
		}),
		read("CountDeliveries", func(ctx context.Context, store userkit.Store) error {
			_, err := store.CountDeliveries(ctx, userkit.DeliveryFilter{})
			return err
		}),
		read("Deliveries", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Deliveries(ctx, userkit.DeliveryFilter{OnlyFailed: true}, list("state"))
			return err
		}),
		{"LeaseDeliveries", true, func(ctx context.Context, store userkit.Store) error {
			_, err := store.LeaseDeliveries(ctx, []userkit.DeviceType{userkit.DeviceWeb}, at(100_000), at(100_001), 10)
			return err
		}},
		read("CountPurchases", func(ctx context.Context, store userkit.Store) error {
			_, err := store.CountPurchases(ctx, userkit.PurchaseFilter{})
			return err
		}),
		read("Purchases", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Purchases(ctx, userkit.PurchaseFilter{OnlyActive: true}, list("product_id"))
			return err
		}),
		{"LeasePurchases", true, func(ctx context.Context, store userkit.Store) error {
			_, err := store.LeasePurchases(ctx, []string{"store-0", "store-1", "store-2"}, at(100_000), at(100_001), 10)
			return err
		}},
		read("Connection", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Connection(ctx, d.connections[0].ID)
			return err
		}),
		read("CountConnections", func(ctx context.Context, store userkit.Store) error {
			_, err := store.CountConnections(ctx, userkit.ConnectionFilter{})
			return err
		}),
		read("Connections", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Connections(ctx, userkit.ConnectionFilter{ActorID: "a"}, list("started_at"))
			return err
		}),
		read("CountTransactions", func(ctx context.Context, store userkit.Store) error {
			_, err := store.CountTransactions(ctx, userkit.TransactionFilter{})
			return err
		}),
		read("Transactions", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Transactions(ctx, userkit.TransactionFilter{}, list("at"))
			return err
		}),
		read("Ledgers", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Ledgers(ctx, userkit.UserID{}, 10)
			return err
		}),
		read("CountEvents", func(ctx context.Context, store userkit.Store) error {
			_, err := store.CountEvents(ctx, userkit.EventFilter{})
			return err
		}),
		read("Events", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Events(ctx, userkit.EventFilter{}, list("at"))
			return err
		}),
		read("Feed", func(ctx context.Context, store userkit.Store) error {
			_, err := store.Feed(ctx, userkit.FeedPosition{}, 10)
			return err
		}),
	}
}

func contextCancelled(t *testing.T, env env) {
	d := newDossier(1)
	createAll(t, env.store, d)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, call := range calls(d) {
		require.ErrorIs(t, call.call(ctx, env.store), context.Canceled, call.name)
	}
	requireDossier(t, env.store, d)
	for _, call := range calls(d) {
		require.NoError(t, call.call(t.Context(), env.store), call.name)
	}
}

// contextCutShort: whatever a cancellation cuts short has happened whole or not
// at all, and the store goes on.
func contextCutShort(t *testing.T, env env) {
	const rounds = 40
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	for round := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		attempt := d
		change := edit(&attempt.user, func(user *userkit.User) { user.Description = strings.Repeat("x", round+1) })
		device, event := newDevice(d.user.ID, 100+round), newEvent(d.user.ID, 100+round)
		change.Devices.Insert, change.Events = []userkit.DeviceRecord{device}, []userkit.Event{event}
		attempt.devices = append(slices.Clone(d.devices), device)
		attempt.events = append(slices.Clone(d.events), event)
		var errs []error
		race(2, func(caller int) error {
			if caller == 0 {
				cancel()
				return nil
			}
			outcomes, err := env.store.Commit(ctx, []userkit.Change{change})
			errs = append(outcomes, err)
			return nil
		})
		err := errors.Join(errs...)
		if err == nil {
			d = attempt
			requireDossier(t, env.store, d)
			continue
		}
		require.ErrorIs(t, err, context.Canceled)
		// A change on top of what stands there settles which of both it is: what
		// was cut short and has not happened by then conflicts for ever.
		for end := time.Now().Add(deadline); ; {
			require.True(t, time.Now().Before(end), "the user cannot be changed any more")
			if state := loadOne(t, env.store, userkit.Want{User: d.user.ID}); state.User.Version == attempt.user.Version {
				d = attempt
			}
			settled := d.user
			err := outcome(t, env.store, step(&settled))
			if err == nil {
				d.user = settled
				break
			}
			require.ErrorIs(t, err, userkit.ErrConflict)
		}
		requireDossier(t, env.store, d)
	}
	requireDossier(t, env.store, other)
}

func closeEndsEverything(t *testing.T, env env) {
	d := newDossier(1)
	createAll(t, env.store, d)
	require.NoError(t, env.store.Close())
	for _, call := range calls(d) {
		err := call.call(t.Context(), env.store)
		require.ErrorIs(t, err, userkit.ErrUnavailable, call.name)
		require.Equal(t, userkit.CodeClosed, userkit.ErrorCode(err), call.name)
	}
}

func closeTwice(t *testing.T, env env) {
	require.NoError(t, env.store.Close())
	require.NoError(t, env.store.Close())
	for _, err := range race(4, func(int) error { return env.store.Close() }) {
		require.NoError(t, err)
	}
}

func closeOneHandle(t *testing.T, env env) {
	d := newDossier(1)
	createAll(t, env.store, d)
	second := env.second(t)
	if second == env.store {
		return // a store of one handle: the other cases of Close say it all
	}
	require.NoError(t, env.store.Close())
	requireDossier(t, second, d)
	commit(t, second, edit(&d.user, func(user *userkit.User) { user.Name = "after the other is closed" }))
	requireDossier(t, second, d)
	requireCode(t, func() error { _, err := env.store.User(t.Context(), d.user.ID); return err }(), userkit.ErrUnavailable, userkit.CodeClosed)
}
