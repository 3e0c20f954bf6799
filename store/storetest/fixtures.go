package storetest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// deadline bounds how long a case waits for something that a store may do a
// moment later. It is long, since only a store that is wrong uses it up.
const deadline = time.Minute

// outOfTime reports whether the test binary is about to run out of its time. A case
// that waits for something that others may hold up gives up only then, with a
// message instead of a panic.
func outOfTime(t *testing.T) bool {
	end, ok := t.Deadline()
	return ok && time.Until(end) <= 10*time.Second
}

// base is the moment that fixtures count from. It has microseconds, and no two
// of its parts are alike.
var base = time.Date(2026, time.March, 14, 15, 9, 26, 535_897_000, time.UTC)

// at returns the moment that many seconds after base.
func at(seconds int) time.Time { return base.Add(time.Duration(seconds) * time.Second) }

// idOf makes the n-th id of a kind of record: a UUIDv7, the same in every run.
// Ids of one kind increase with n, and no two kinds share an id.
func idOf[T any](n int) userkit.ID[T] {
	var id userkit.ID[T]
	milliseconds := uint64(base.UnixMilli()) + uint64(n)
	for i := range 6 {
		id[i] = byte(milliseconds >> (8 * (5 - i)))
	}
	kind := fnv.New64a()
	fmt.Fprintf(kind, "%T", id)
	copy(id[6:], kind.Sum(nil))
	id[6] = 0x70 | id[6]&0x0f
	id[8] = 0x80 | id[8]&0x3f
	id[14], id[15] = byte(n>>8), byte(n)
	return id
}

func userID(n int) userkit.UserID               { return idOf[userkit.User](n) }
func deviceID(n int) userkit.DeviceID           { return idOf[userkit.Device](n) }
func sessionID(n int) userkit.SessionID         { return idOf[userkit.Session](n) }
func transactionID(n int) userkit.TransactionID { return idOf[userkit.Transaction](n) }
func eventID(n int) userkit.EventID             { return idOf[userkit.Event](n) }
func segmentID(n int) userkit.SegmentID         { return idOf[userkit.Segment](n) }
func deliveryID(n int) userkit.DeliveryID       { return idOf[userkit.Delivery](n) }
func connectionID(n int) userkit.ConnectionID   { return idOf[userkit.Connection](n) }
func messageID(n int) userkit.MessageID         { return idOf[userkit.Message](n) }
func purchaseID(n int) userkit.PurchaseID       { return idOf[userkit.Purchase](n) }

// newUser makes the n-th user, as it is stored at version 1. No field is zero
// and no two users share the value of a text.
func newUser(n int) userkit.User {
	return userkit.User{
		ID:            userID(n),
		Login:         fmt.Sprintf("Login-%04d", n),
		Name:          fmt.Sprintf("Ada Löwe %04d", n),
		Email:         fmt.Sprintf("User.%04d@Example.org", n),
		EmailVerified: true,
		Phone:         fmt.Sprintf("+4930%07d", n),
		ExtRef:        fmt.Sprintf("CRM/%04d", n),
		AuthMethod:    fmt.Sprintf("oidc-%d", n),
		Status:        userkit.StatusActive,
		License:       fmt.Sprintf("Family %d", n),
		Kind:          userkit.UserLegalEntity,
		Payer: userkit.Payer{
			AccountNumber: fmt.Sprintf("UNP%09d", n),
			LegalAddress:  fmt.Sprintf("%d Main Street\nMinsk", n),
			PostalAddress: fmt.Sprintf("P.O. Box %d\r\nMinsk", n),
			Bank:          fmt.Sprintf("Bank №%d", n),
			BankAccount:   fmt.Sprintf("BY%026d", n),
		},
		Description:    fmt.Sprintf("Customer %d, the one with the \"quotes\" and 100%%", n),
		Country:        "BY",
		PreferredMap:   fmt.Sprintf("osm-%d", n),
		AdditionalInfo: fmt.Sprintf("Line one of %d\nline two\tafter a tab; it's \\ said", n),
		Attributes: userkit.Attributes{
			"Number":  int64(n) + 9_007_199_254_740_993,
			"ratio":   float64(n) + 0.25,
			"flag":    true,
			"nothing": nil,
			"text":    fmt.Sprintf("value %d", n),
			"list":    []any{int64(1), "two", false, nil, []any{}, map[string]any{"deep": []any{int64(n)}}},
			"map":     map[string]any{"a": map[string]any{"b": fmt.Sprintf("c%d", n)}, "empty": map[string]any{}},
		},
		RegisteredAt:  at(n),
		UpdatedAt:     at(1000 + n),
		Revision:      int64(3 + n),
		LoginSkeleton: fmt.Sprintf("skeleton %04d", n),
		Account:       newAccount(n),
	}
}

// newAccount makes the n-th account at version 1.
func newAccount(n int) userkit.Account {
	return userkit.Account{
		Version:             1,
		Balance:             userkit.Money{Amount: int64(1000 + n), Currency: "EUR"},
		TransactionSequence: int64(20 + n),
		LastTransaction:     transactionID(500 + n),
		Devices:             2 + n,
		OpenSessions:        1 + n,
		ActivePurchases:     3 + n,
		PurchasesEndAt:      at(3500 + n),
		Traffic: userkit.Traffic{
			Limit:  userkit.TrafficLimit{Bytes: int64(5_000_000_000 + n), Reset: userkit.ResetMonthly, AnchorDay: 1 + n%31},
			Used:   int64(4_000_000_000 + n),
			Period: userkit.DayOf(at(86400*n), time.UTC),
		},
		ExpiresAt:  at(2000 + n),
		ValidFor:   userkit.Duration(time.Duration(n+1)*time.Hour + 7),
		LastSeenAt: at(3000 + n),
	}
}

// newDevice makes the n-th device. AccessToken is empty, as in every store.
func newDevice(owner userkit.UserID, n int) userkit.DeviceRecord {
	return userkit.DeviceRecord{
		Device: userkit.Device{
			ID:           deviceID(n),
			UserID:       owner,
			TokenHint:    fmt.Sprintf("h%03d", n%1000),
			Name:         fmt.Sprintf("Ada's phone %d", n),
			Type:         userkit.DeviceIOS,
			HardwareID:   fmt.Sprintf("hw-%04d", n),
			PushToken:    fmt.Sprintf("push:%04d", n),
			RegisteredAt: at(4000 + n),
			LastSeenAt:   at(5000 + n),

			PushTokenSetAt: at(4500 + n),

			Location: userkit.Location{
				Latitude:  53.9 + float64(n)/1024,
				Longitude: -27.566667 - float64(n)/1024,
				Accuracy:  12.5 + float64(n),
				At:        at(6000 + n),
			},
			LocationConsentAt:   at(5500 + n),
			LocationForgottenAt: at(5400 + n),
		},
		TokenDigest: sha256.Sum256(fmt.Appendf(nil, "token %d", n)),
		SealedToken: fmt.Appendf([]byte{0, 255, 1}, "sealed %d", n),
	}
}

// newSession makes the n-th session, which has ended.
func newSession(owner userkit.UserID, n int) userkit.Session {
	return userkit.Session{
		ID:           sessionID(n),
		UserID:       owner,
		DeviceID:     deviceID(n),
		DeviceName:   fmt.Sprintf("Ada's phone %d", n),
		Node:         fmt.Sprintf("node-%d", n),
		NodeLocation: fmt.Sprintf("Zürich %d", n),
		InternalIP:   netip.AddrFrom4([4]byte{10, 8, byte(n >> 8), byte(n)}),
		StartedAt:    at(7000 + n),
		EndedAt:      at(8000 + n),
		EndReason:    userkit.EndedStale,
		ClosedAt:     at(8500 + n),
		Received:     int64(10_000_000_000 + n),
		Sent:         int64(20_000_000_000 + n),
		Counter:      userkit.Counter{Received: int64(30_000_000_000 + n), Sent: int64(40_000_000_000 + n), At: at(9000 + n)},
		Aside:        userkit.Counter{Received: int64(50_000_000_000 + n), Sent: int64(60_000_000_000 + n), At: at(8000 + n)},
		ReportedAt:   at(10000 + n),
		OtherNode:    fmt.Sprintf("node-%d", n+1),
		OtherCounter: userkit.Counter{Received: int64(70_000_000_000 + n), Sent: int64(80_000_000_000 + n), At: at(7500 + n)},
	}
}

// newOpenSession makes the n-th session, which has not ended.
func newOpenSession(owner userkit.UserID, n int) userkit.Session {
	session := newSession(owner, n)
	session.EndedAt, session.EndReason, session.ClosedAt = time.Time{}, "", time.Time{}
	return session
}

// newTransaction makes the n-th transaction, which is cancelled. Its sequence
// is n+1.
func newTransaction(owner userkit.UserID, n int) userkit.Transaction {
	return userkit.Transaction{
		ID:          transactionID(n),
		UserID:      owner,
		Sequence:    int64(n + 1),
		Kind:        userkit.TransactionCharge,
		Amount:      userkit.Money{Amount: int64(100 + n), Currency: "EUR"},
		Balance:     userkit.Money{Amount: int64(2000 + n), Currency: "EUR"},
		Key:         fmt.Sprintf("Key %d", n),
		Note:        fmt.Sprintf("Note %d\nof two lines", n),
		Reference:   fmt.Sprintf("INV-%d", n),
		Actor:       newActor(n),
		At:          at(11000 + n),
		Previous:    transactionID(10000 + n),
		CancelledAt: at(12000 + n),
		CancelledBy: newActor(1000 + n),
	}
}

// newCountingTransaction makes the n-th transaction, which is not cancelled.
func newCountingTransaction(owner userkit.UserID, n int) userkit.Transaction {
	transaction := newTransaction(owner, n)
	transaction.CancelledAt, transaction.CancelledBy = time.Time{}, userkit.Actor{}
	return transaction
}

// newActor makes the n-th actor.
func newActor(n int) userkit.Actor {
	return userkit.Actor{
		Kind:       userkit.ActorAdministrator,
		ID:         fmt.Sprintf("admin-%d", n),
		Name:       fmt.Sprintf("Grace %d", n),
		OnBehalfOf: userID(20000 + n),
	}
}

// newConnection makes the n-th connection. No field is zero.
func newConnection(owner userkit.UserID, n int) userkit.Connection {
	return userkit.Connection{
		ID: connectionID(n), UserID: owner, Actor: newActor(6000 + n), Reason: fmt.Sprintf("Reason %d: ?$1'\"", n),
		StartedAt: at(24000 + n), ExpiresAt: at(25000 + n), EndedAt: at(24500 + n), EndedBy: newActor(7000 + n),
	}
}

// newPurchase makes the n-th purchase, which is shared in a family.
func newPurchase(owner userkit.UserID, n int) userkit.Purchase {
	return userkit.Purchase{
		ID:            purchaseID(n),
		UserID:        owner,
		Store:         fmt.Sprintf("store-%d", n%3),
		StableID:      fmt.Sprintf("Stable-%04d", n),
		TransactionID: fmt.Sprintf("Transaction-%04d", n),
		ProductID:     fmt.Sprintf("com.example.product.%d", n),
		Environment:   userkit.Sandbox,
		PurchasedAt:   at(16000 + n),
		ExpiresAt:     at(17000 + n),
		Trial:         true,
		FamilyShared:  true,
		Active:        true,
		Reason:        userkit.PurchaseReason(fmt.Sprintf("reason-%d", n)),
		Raw:           fmt.Appendf(nil, `{"n":%d,"list":[1,"two",null,{"x":9007199254740993}],"text":"it's \"said\" & <done>"}`, n),
		CreatedAt:     at(18000 + n),
		UpdatedAt:     at(19000 + n),
		FactsAt:       at(20000 + n),
		VerifiedAt:    at(21000 + n),
		DueAt:         at(22000 + n),
		Token:         fmt.Sprintf("Secret token %d: ?$1'\"", n),
		LeasedUntil:   at(23000 + n),
		Undecided:     n + 1,
		Acknowledged:  true,
		Items: []userkit.PurchaseItem{
			{ProductID: fmt.Sprintf("com.example.product.%d", n), ExpiresAt: at(17000 + n)}, {ProductID: "it's \"said\" & <done>", Trial: true},
		},
		Supersedes: []string{fmt.Sprintf("Older-%04d", n), "x"},
	}
}

// newMessage makes the n-th message. No field is zero.
func newMessage(owner userkit.UserID, n int) userkit.Message {
	return userkit.Message{
		ID:      messageID(n),
		UserID:  owner,
		Subject: fmt.Sprintf("Größe %d: ?$1'\"", n),
		Body:    fmt.Sprintf("Line %d\n\tand <another> & \\ more", n),
		Format:  userkit.MessageMarkdown,
		Data:    map[string]string{"n": fmt.Sprint(n), "text": "it's \"said\" & <done>"},
		Origin: userkit.MessageOrigin{
			Source: userkit.MessageFromMail,
			Actor:  newActor(n),
			Mail: userkit.MailOrigin{
				MessageID: fmt.Sprintf("<%d@example.org>", n), From: "ada@example.org", FromName: "Ada Löwe", EnvelopeFrom: "bounce@example.org",
				Marks: []userkit.MailMark{userkit.MailBulk, userkit.MailLoop}, DMARC: userkit.DMARCPass, Truncated: true,
			},
		},
		Key:       fmt.Sprintf("Key %d", n),
		SentAt:    at(24000 + n),
		ExpiresAt: at(25000 + n),
		ReadAt:    at(26000 + n),
	}
}

// newPlainMessage makes the n-th message, which is unread and has no key.
func newPlainMessage(owner userkit.UserID, n int) userkit.Message {
	message := newMessage(owner, n)
	return userkit.Message{
		ID: message.ID, UserID: owner, Body: message.Body, Format: userkit.MessagePlain,
		Origin: userkit.MessageOrigin{Source: userkit.MessageFromActor, Actor: message.Origin.Actor}, SentAt: message.SentAt,
	}
}

// newDelivery makes the n-th delivery, which waits. No field is zero.
func newDelivery(owner userkit.UserID, n int) userkit.Delivery {
	return userkit.Delivery{
		ID: deliveryID(n), UserID: owner, MessageID: messageID(30000 + n), DeviceID: deviceID(31000 + n),
		DeviceType: userkit.DeviceWeb, State: userkit.DeliveryWaiting, Attempts: n + 1, Detail: fmt.Sprintf("the service is “busy”, %d", n),
		CreatedAt: at(27000 + n), AttemptedAt: at(28000 + n), DueAt: at(29000 + n), LeasedUntil: at(29500 + n),
	}
}

// newFailedDelivery makes the n-th delivery, which has failed.
func newFailedDelivery(owner userkit.UserID, n int) userkit.Delivery {
	delivery := newDelivery(owner, n)
	delivery.State, delivery.DueAt, delivery.LeasedUntil = userkit.DeliveryRefused, time.Time{}, time.Time{}
	return delivery
}

// newOwnPurchase makes the n-th purchase, which is the user's own and not due.
func newOwnPurchase(owner userkit.UserID, n int) userkit.Purchase {
	purchase := newPurchase(owner, n)
	purchase.FamilyShared, purchase.Trial, purchase.Acknowledged = false, false, false
	purchase.Reason, purchase.Environment = "", userkit.Production
	purchase.DueAt, purchase.LeasedUntil, purchase.Undecided = time.Time{}, time.Time{}, 0
	return purchase
}

// newDayUsage makes the use of the n-th day.
func newDayUsage(n int) userkit.DayUsage {
	return userkit.DayUsage{
		Day:      userkit.DayOf(base, time.UTC).AddDays(n),
		Received: int64(50_000_000_000 + n),
		Sent:     int64(60_000_000_000 + n),
		Forgiven: int64(70_000_000_000 + n),
	}
}

// newEvent makes the n-th event. Cursor is empty, as in every store.
func newEvent(owner userkit.UserID, n int) userkit.Event {
	return userkit.Event{
		ID:       eventID(n),
		UserID:   owner,
		DeviceID: deviceID(n),
		Name:     userkit.EventName(fmt.Sprintf("host.event-%d", n)),
		Actor:    newActor(2000 + n),
		At:       at(13000 + n),
		Mentions: []userkit.UserID{userID(14000 + n)},
		Data:     fmt.Appendf(nil, `{"n":%d,"list":[1,"two",null,{"x":9007199254740993}],"text":"it's \"said\" & <done>"}`, n),
	}
}

// newSegment makes the n-th segment, which is a rule at revision 1.
func newSegment(n int) userkit.Segment {
	return userkit.Segment{
		ID:        segmentID(n),
		Name:      fmt.Sprintf("Größe %04d", n),
		Rule:      filterOf(fmt.Sprintf(`attributes.seats gt %d and not (name co "it's \"%d\"" or segment eq "%s")`, n, n, segmentID(n+1))),
		CreatedAt: at(14000 + n),
		UpdatedAt: at(15000 + n),
		Revision:  1,
	}
}

// newList makes the n-th segment, which is a list.
func newList(n int) userkit.Segment {
	segment := newSegment(n)
	segment.Rule = userkit.Filter{}
	return segment
}

// newSegmentEvent makes the n-th event, which is of no user.
func newSegmentEvent(n int) userkit.Event {
	event := newEvent(userkit.UserID{}, n)
	event.Name = userkit.EventSegmentUpdated
	return event
}

// filterOf reads a filter that is right.
func filterOf(text string) userkit.Filter {
	filter, err := userkit.ParseFilter(text)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", text, err))
	}
	return filter
}

// dossier is a user with everything that belongs to it. Records are in the
// order of their ids, usage in the order of days. The segments that it is in are
// created beforehand, since they belong to nobody.
type dossier struct {
	user         userkit.User
	devices      []userkit.DeviceRecord
	sessions     []userkit.Session
	purchases    []userkit.Purchase
	messages     []userkit.Message
	deliveries   []userkit.Delivery
	transactions []userkit.Transaction
	usage        []userkit.DayUsage
	events       []userkit.Event
	segments     []userkit.SegmentID
	activation   userkit.Activation // zero: none
	connections  []userkit.Connection
	pushMail     userkit.PushMail // zero: none
}

// newDossier makes the n-th user (n below 1000) with two records of each kind:
// an active and an ended session, a shared and an own purchase, a counting and a
// cancelled transaction.
func newDossier(n int) dossier {
	user, first, second := newUser(n), 2*n, 2*n+1
	return dossier{
		user:         user,
		devices:      []userkit.DeviceRecord{newDevice(user.ID, first), newDevice(user.ID, second)},
		sessions:     []userkit.Session{newOpenSession(user.ID, first), newSession(user.ID, second)},
		purchases:    []userkit.Purchase{newPurchase(user.ID, first), newOwnPurchase(user.ID, second)},
		messages:     []userkit.Message{newMessage(user.ID, first), newPlainMessage(user.ID, second)},
		deliveries:   []userkit.Delivery{newDelivery(user.ID, first), newFailedDelivery(user.ID, second)},
		transactions: []userkit.Transaction{newTransaction(user.ID, first), newCountingTransaction(user.ID, second)},
		usage:        []userkit.DayUsage{newDayUsage(first), newDayUsage(second)},
		events:       []userkit.Event{newEvent(user.ID, first), newEvent(user.ID, second)},
		activation:   newActivation(n),
		connections:  []userkit.Connection{newConnection(user.ID, first), newConnection(user.ID, second)},
		pushMail:     newPushMail(n),
	}
}

// creation is the change that creates the user with everything that belongs to it.
func (d dossier) creation() userkit.Change {
	change := creation(d.user)
	change.Devices.Insert = d.devices
	change.Sessions.Insert = d.sessions
	change.Purchases.Insert = d.purchases
	change.Messages.Insert = d.messages
	change.Deliveries.Insert = d.deliveries
	change.Transactions.Insert = d.transactions
	change.Usage = d.usage
	change.Events = d.events
	change.AddSegments = d.segments
	change.Connections.Insert = d.connections
	if !d.activation.IsZero() {
		change.Activation = userkit.Set(d.activation)
	}
	if !d.pushMail.IsZero() {
		change.PushMail = userkit.Set(d.pushMail)
	}
	return change
}

// activations is how many activations the dossier holds.
func (d dossier) activations() int {
	if d.activation.IsZero() {
		return 0
	}
	return 1
}

// pushMails is how many push mails the dossier holds.
func (d dossier) pushMails() int {
	if d.pushMail.IsZero() {
		return 0
	}
	return 1
}

// newPushMail makes the n-th push mail. No field is zero.
func newPushMail(n int) userkit.PushMail {
	return userkit.PushMail{
		Address: fmt.Sprintf("secret%d@push.example.org", n), CreatedAt: at(6100 + n), RevokedAt: at(6200 + n), Generated: 1 + n, CountedFrom: at(6000 + n),
	}
}

// newActivation makes the n-th activation. No field is zero.
func newActivation(n int) userkit.Activation {
	return userkit.Activation{
		Email: fmt.Sprintf("User.%04d@Example.org", n), TokenDigest: sha256.Sum256(fmt.Appendf(nil, "activation %d", n)),
		SentAt: at(6000 + n), ExpiresAt: at(7000 + n), Mails: 1 + n, CountedFrom: at(5900 + n),
	}
}

// creation is the change that creates a user alone.
func creation(user userkit.User) userkit.Change {
	profile, account := user, user.Account
	account.Version = 1
	// What stands there says nothing: a store that reads it fails the suite.
	profile.Account = userkit.Account{Version: 77, Balance: userkit.Money{Amount: -1, Currency: "XTS"}, Devices: 77}
	return userkit.Change{User: user.ID, Account: account, Profile: &profile}
}

// step begins a change of a user: it raises the version of user and gives the
// change with its account.
func step(user *userkit.User) userkit.Change {
	change := userkit.Change{User: user.ID, Version: user.Version}
	user.Version++
	change.Account = user.Account
	return change
}

// create creates users with nothing that belongs to them.
func create(t *testing.T, store userkit.Store, users ...userkit.User) {
	t.Helper()
	changes := make([]userkit.Change, len(users))
	for i, user := range users {
		changes[i] = creation(user)
	}
	commit(t, store, changes...)
}

// createAll creates users with everything that belongs to them.
func createAll(t *testing.T, store userkit.Store, dossiers ...dossier) {
	t.Helper()
	changes := make([]userkit.Change, len(dossiers))
	for i, d := range dossiers {
		changes[i] = d.creation()
	}
	commit(t, store, changes...)
}

// commit makes changes in one call; each must succeed.
func commit(t *testing.T, store userkit.Store, changes ...userkit.Change) {
	t.Helper()
	for i, err := range outcomes(t, store, changes...) {
		require.NoErrorf(t, err, "change %d of %d", i, len(changes))
	}
}

// outcomes makes changes in one call and gives the outcome of each.
func outcomes(t *testing.T, store userkit.Store, changes ...userkit.Change) []error {
	t.Helper()
	errs, err := store.Commit(t.Context(), changes)
	require.NoError(t, err)
	require.Len(t, errs, len(changes))
	return errs
}

// outcome makes one change and gives its outcome.
func outcome(t *testing.T, store userkit.Store, change userkit.Change) error {
	t.Helper()
	return outcomes(t, store, change)[0]
}

// load loads the states of several users.
func load(t *testing.T, store userkit.Store, wants ...userkit.Want) []userkit.State {
	t.Helper()
	states, err := store.Load(t.Context(), wants)
	require.NoError(t, err)
	require.Len(t, states, len(wants))
	return states
}

// loadOne loads the state of one user.
func loadOne(t *testing.T, store userkit.Store, want userkit.Want) userkit.State {
	t.Helper()
	return load(t, store, want)[0]
}

// requireCode demands an error of this kind with this code.
func requireCode(t *testing.T, err error, kind error, code userkit.Code) {
	t.Helper()
	require.ErrorIs(t, err, kind)
	require.Equal(t, code, userkit.ErrorCode(err), "%v", err)
}

// requireExists demands ErrExists with this code and field.
func requireExists(t *testing.T, err error, code userkit.Code, field string) {
	t.Helper()
	requireCode(t, err, userkit.ErrExists, code)
	found, ok := errors.AsType[*userkit.Error](err)
	require.True(t, ok)
	require.Equal(t, field, found.Field)
	words := map[string]string{"email": "email address", "extref": "external reference"}[field]
	if words == "" {
		words = strings.ReplaceAll(field, "_", " ")
	}
	said := "another [a-z ]* has this " + words + "( as their [a-z ]*)?"
	if code == userkit.CodeLoginConfusable {
		said = "the login of another user looks the same"
	}
	// The words are the same on every store, and nothing of what a database says.
	require.Regexp(t, "^userkit: "+string(code)+" \\("+field+"\\): "+said+"$", err.Error())
}

// everything is the widest want of a user. It asks for the sessions,
// transactions and events of a dossier by their ids.
func (d dossier) everything() userkit.Want {
	want := userkit.Want{
		User: d.user.ID, Profile: true, AllDevices: true, OpenSessions: true,
		UsageFrom: userkit.Set(userkit.Day{Year: 1, Month: time.January, Day: 1}), Purchases: true, Segments: true, Activation: true, PushMail: true, RowCounts: true,
	}
	for _, session := range d.sessions {
		want.Sessions = append(want.Sessions, session.ID)
	}
	for _, message := range d.messages {
		want.Messages = append(want.Messages, message.ID)
	}
	for _, delivery := range d.deliveries {
		want.Deliveries = append(want.Deliveries, delivery.ID)
	}
	for _, transaction := range d.transactions {
		want.Transactions = append(want.Transactions, transaction.ID)
	}
	for _, connection := range d.connections {
		want.Connections = append(want.Connections, connection.ID)
	}
	for _, event := range d.events {
		want.Events = append(want.Events, event.ID)
	}
	return want
}

// rowCounts is how many records of each kind the dossier holds.
func (d dossier) rowCounts() map[string]int {
	return map[string]int{
		userkit.RowsDevices:      len(d.devices),
		userkit.RowsSessions:     len(d.sessions),
		userkit.RowsDays:         len(d.usage),
		userkit.RowsPurchases:    len(d.purchases),
		userkit.RowsMessages:     len(d.messages),
		userkit.RowsDeliveries:   len(d.deliveries),
		userkit.RowsTransactions: len(d.transactions),
		userkit.RowsEvents:       len(d.events),
		userkit.RowsMemberships:  len(d.segments),
		userkit.RowsActivations:  d.activations(),
		userkit.RowsConnections:  len(d.connections),
		userkit.RowsPushMails:    d.pushMails(),
	}
}

// whole is how many records a list is asked for that must hold them all.
const whole = 10_000

// requireDossier reads everything about a user in every way that the interface
// has and demands that every field of every record is as given, and that there
// is nothing else. Of a rowStore it reads in one way, but for the keys of the user.
func requireDossier(t *testing.T, store userkit.Store, want dossier) {
	t.Helper()
	ctx := t.Context()

	state := loadOne(t, store, want.everything())
	require.True(t, state.Exists)
	requireUser(t, want.user, state.User)
	requireRecords(t, want.devices, state.Devices, recordID)
	requireRecords(t, want.sessions, state.Sessions, sessionRecordID)
	requirePurchases(t, want.purchases, state.Purchases)
	requireRecords(t, want.messages, state.Messages, messageRecordID)
	requireRecords(t, want.deliveries, state.Deliveries, deliveryRecordID)
	requireRecords(t, want.transactions, state.Transactions, transactionRecordID)
	requireUsage(t, want.usage, state.Usage)
	require.Equal(t, want.activation, state.Activation)
	requireRecords(t, want.connections, state.Connections, connectionRecordID)
	require.Equal(t, want.pushMail, state.PushMail)
	requireRowCounts(t, want.rowCounts(), state.RowCounts)
	require.Len(t, state.Events, len(want.events))
	requireEvents(t, want.events, eventsOf(t, store, want.user.ID))
	requireSegmentIDs(t, want.segments, state.Segments)
	for _, segment := range want.segments {
		requireMembers(t, store, segment, true, want.user.ID)
	}
	for _, key := range []userkit.UserKey{
		userkit.ByLogin(want.user.Login), userkit.ByEmail(want.user.Email), userkit.ByExtRef(want.user.ExtRef),
	} {
		if key.Value() == "" {
			continue
		}
		got, err := store.FindUser(ctx, key)
		require.NoError(t, err, key.Field())
		requireUser(t, want.user, got)
	}
	if _, rows := store.(rowStore); rows {
		return
	}

	deliveries, err := store.Deliveries(ctx, userkit.DeliveryFilter{UserID: want.user.ID}, userkit.ListRange{Order: userkit.Order{Field: "created_at"}, Limit: whole})
	require.NoError(t, err)
	requireRecords(t, want.deliveries, deliveries, deliveryRecordID)
	connections, err := store.Connections(ctx, userkit.ConnectionFilter{UserID: want.user.ID}, userkit.ListRange{Order: userkit.Order{Field: "started_at"}, Limit: whole})
	require.NoError(t, err)
	requireRecords(t, want.connections, connections, connectionRecordID)

	narrow := loadOne(t, store, userkit.Want{User: want.user.ID})
	requireUser(t, userkit.User{ID: want.user.ID, Account: want.user.Account}, narrow.User)
	got, err := store.User(ctx, want.user.ID)
	require.NoError(t, err)
	requireUser(t, want.user, got)
	users, err := store.Users(ctx, userkit.UserSelection{}, userkit.ListRange{Order: userkit.Order{Field: "id"}, Limit: whole})
	require.NoError(t, err)
	index := slices.IndexFunc(users, func(user userkit.User) bool { return user.ID == want.user.ID })
	require.NotEqual(t, -1, index, "the list of users lacks the user")
	requireUser(t, want.user, users[index])

	devices, err := store.Devices(ctx, userkit.DeviceFilter{UserID: want.user.ID}, userkit.ListRange{Order: userkit.Order{Field: "id"}, Limit: whole})
	require.NoError(t, err)
	require.Len(t, devices, len(want.devices))
	sealed, err := store.SealedDevices(ctx, userkit.DeviceID{}, whole)
	require.NoError(t, err)
	for i, record := range want.devices {
		require.Equal(t, record.Device, devices[i])
		device, err := store.Device(ctx, record.ID)
		require.NoError(t, err)
		require.Equal(t, record.Device, device)
		device, owner, _, err := store.DeviceByToken(ctx, record.TokenDigest)
		require.NoError(t, err)
		require.Equal(t, record.Device, device)
		requireUser(t, want.user, owner)
		at := slices.IndexFunc(sealed, func(other userkit.DeviceRecord) bool { return other.ID == record.ID })
		require.Equal(t, len(record.SealedToken) > 0, at >= 0, "the list of sealed devices")
		if at >= 0 {
			require.Equal(t, record, sealed[at])
		}
	}

	sessions, err := store.Sessions(ctx, userkit.SessionFilter{UserID: want.user.ID}, userkit.ListRange{Order: userkit.Order{Field: "id"}, Limit: whole})
	require.NoError(t, err)
	requireRecords(t, want.sessions, sessions, sessionRecordID)
	for _, record := range want.sessions {
		session, err := store.Session(ctx, record.ID)
		require.NoError(t, err)
		require.Equal(t, record, session)
	}
	usage, err := store.Usage(ctx, want.user.ID, userkit.Day{Year: 1, Month: time.January, Day: 1}, userkit.Day{Year: 9999, Month: time.December, Day: 31})
	require.NoError(t, err)
	requireUsage(t, want.usage, usage)

	purchases, err := store.Purchases(ctx, userkit.PurchaseFilter{UserID: want.user.ID}, userkit.ListRange{Order: userkit.Order{Field: "id"}, Limit: whole})
	require.NoError(t, err)
	requirePurchases(t, want.purchases, purchases)
	for _, record := range want.purchases {
		purchase, err := store.Purchase(ctx, record.ID)
		require.NoError(t, err)
		requirePurchases(t, []userkit.Purchase{record}, []userkit.Purchase{purchase})
		found, err := store.FindPurchases(ctx, record.Store, record.StableID)
		require.NoError(t, err)
		requirePurchases(t, []userkit.Purchase{record}, belonging(found, func(purchase userkit.Purchase) bool { return purchase.UserID == want.user.ID }))
	}

	messages, err := store.Messages(ctx, userkit.MessageFilter{UserID: want.user.ID}, userkit.ListRange{Order: userkit.Order{Field: "id"}, Limit: whole})
	require.NoError(t, err)
	requireRecords(t, want.messages, messages, messageRecordID)
	unread := belonging(want.messages, func(message userkit.Message) bool { return message.ReadAt.IsZero() && !message.Expired(base) })
	count, err := store.CountMessages(ctx, userkit.MessageFilter{UserID: want.user.ID, OnlyUnread: true, Now: base})
	require.NoError(t, err)
	require.EqualValues(t, len(unread), count)
	for _, record := range want.messages {
		message, err := store.Message(ctx, record.ID)
		require.NoError(t, err)
		require.Equal(t, record, message)
		byKey := loadOne(t, store, userkit.Want{User: want.user.ID, MessageKeys: []string{record.Key + "no such", record.Key}}).Messages
		if record.Key == "" {
			require.Empty(t, byKey)
		} else {
			require.Equal(t, []userkit.Message{record}, byKey)
		}
	}

	transactions, err := store.Transactions(ctx, userkit.TransactionFilter{UserID: want.user.ID, IncludeCancelled: true}, userkit.ListRange{Order: userkit.Order{Field: "sequence"}, Limit: whole})
	require.NoError(t, err)
	requireRecords(t, want.transactions, transactions, transactionRecordID)
	ledgers, err := store.Ledgers(ctx, userkit.UserID{}, whole)
	require.NoError(t, err)
	at := slices.IndexFunc(ledgers, func(ledger userkit.Ledger) bool { return ledger.UserID == want.user.ID })
	require.NotEqual(t, -1, at, "the ledgers lack the user")
	require.Equal(t, want.user.Account, ledgers[at].Account)
	require.EqualValues(t, len(want.transactions), ledgers[at].Count)
}

// requireGone demands that nothing of what the dossier holds can be read, and
// that events of the user are exactly those given.
func requireGone(t *testing.T, store userkit.Store, gone dossier, left ...userkit.Event) {
	t.Helper()
	ctx := t.Context()
	require.Equal(t, userkit.State{}, withoutEmpty(loadOne(t, store, userkit.Want{
		User: gone.user.ID, Profile: true, AllDevices: true, OpenSessions: true, Purchases: true, Segments: true,
	})))
	for _, segment := range gone.segments {
		requireMembers(t, store, segment, false, gone.user.ID)
	}

	_, err := store.User(ctx, gone.user.ID)
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
	for _, key := range []userkit.UserKey{
		userkit.ByLogin(gone.user.Login), userkit.ByEmail(gone.user.Email), userkit.ByExtRef(gone.user.ExtRef),
	} {
		_, err := store.FindUser(ctx, key)
		requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
	}
	for _, device := range gone.devices {
		_, err := store.Device(ctx, device.ID)
		requireCode(t, err, userkit.ErrNotFound, userkit.CodeDeviceNotFound)
		_, _, _, err = store.DeviceByToken(ctx, device.TokenDigest)
		requireCode(t, err, userkit.ErrNotFound, userkit.CodeDeviceNotFound)
	}
	var ids []userkit.SessionID
	for _, session := range gone.sessions {
		_, err := store.Session(ctx, session.ID)
		requireCode(t, err, userkit.ErrNotFound, userkit.CodeSessionNotFound)
		ids = append(ids, session.ID)
	}
	owners, err := store.SessionOwners(ctx, ids)
	require.NoError(t, err)
	require.Empty(t, owners)

	for _, purchase := range gone.purchases {
		_, err := store.Purchase(ctx, purchase.ID)
		requireCode(t, err, userkit.ErrNotFound, userkit.CodePurchaseNotFound)
		found, err := store.FindPurchases(ctx, purchase.Store, purchase.StableID)
		require.NoError(t, err)
		for _, purchase := range found {
			require.NotEqual(t, gone.user.ID, purchase.UserID)
		}
	}

	order := func(field string) userkit.ListRange {
		return userkit.ListRange{Order: userkit.Order{Field: field}, Limit: whole}
	}
	users, err := store.Users(ctx, userkit.UserSelection{}, order("id"))
	require.NoError(t, err)
	for _, user := range users {
		require.NotEqual(t, gone.user.ID, user.ID)
	}
	devices, err := store.Devices(ctx, userkit.DeviceFilter{UserID: gone.user.ID}, order("id"))
	require.NoError(t, err)
	require.Empty(t, devices)
	sessions, err := store.Sessions(ctx, userkit.SessionFilter{UserID: gone.user.ID}, order("id"))
	require.NoError(t, err)
	require.Empty(t, sessions)
	stale, err := store.StaleSessions(ctx, at(1_000_000), whole)
	require.NoError(t, err)
	for _, session := range stale {
		require.NotEqual(t, gone.user.ID, session.UserID)
	}
	sealed, err := store.SealedDevices(ctx, userkit.DeviceID{}, whole)
	require.NoError(t, err)
	for _, device := range sealed {
		require.NotEqual(t, gone.user.ID, device.UserID)
	}
	purchases, err := store.Purchases(ctx, userkit.PurchaseFilter{UserID: gone.user.ID}, order("id"))
	require.NoError(t, err)
	require.Empty(t, purchases)
	messages, err := store.Messages(ctx, userkit.MessageFilter{UserID: gone.user.ID}, order("id"))
	require.NoError(t, err)
	require.Empty(t, messages)
	for _, message := range gone.messages {
		_, err := store.Message(ctx, message.ID)
		requireCode(t, err, userkit.ErrNotFound, userkit.CodeMessageNotFound)
	}
	transactions, err := store.Transactions(ctx, userkit.TransactionFilter{UserID: gone.user.ID, IncludeCancelled: true}, order("sequence"))
	require.NoError(t, err)
	require.Empty(t, transactions)
	usage, err := store.Usage(ctx, gone.user.ID, userkit.Day{Year: 1, Month: time.January, Day: 1}, userkit.Day{Year: 9999, Month: time.December, Day: 31})
	require.NoError(t, err)
	require.Empty(t, usage)
	ledgers, err := store.Ledgers(ctx, userkit.UserID{}, whole)
	require.NoError(t, err)
	for _, ledger := range ledgers {
		require.NotEqual(t, gone.user.ID, ledger.UserID)
	}
	requireEvents(t, left, eventsOf(t, store, gone.user.ID))
}

// withoutEmpty makes a state without records comparable with the zero state.
func withoutEmpty(state userkit.State) userkit.State {
	if len(state.Devices) == 0 {
		state.Devices = nil
	}
	if len(state.Sessions) == 0 {
		state.Sessions = nil
	}
	if len(state.Purchases) == 0 {
		state.Purchases = nil
	}
	if len(state.Messages) == 0 {
		state.Messages = nil
	}
	if len(state.Transactions) == 0 {
		state.Transactions = nil
	}
	if len(state.Usage) == 0 {
		state.Usage = nil
	}
	if len(state.Events) == 0 {
		state.Events = nil
	}
	if len(state.Segments) == 0 {
		state.Segments = nil
	}
	if len(state.RowCounts) == 0 {
		state.RowCounts = nil
	}
	return state
}

// eventsOf lists the events of a user in the order of time.
func eventsOf(t *testing.T, store userkit.Store, user userkit.UserID) []userkit.Event {
	t.Helper()
	events, err := store.Events(t.Context(), userkit.EventFilter{UserID: user}, userkit.ListRange{Order: userkit.Order{Field: "at"}, Limit: whole})
	require.NoError(t, err)
	return events
}

// requireUser demands that two users are equal in every field. Attributes that
// are empty and attributes that are nil say the same.
func requireUser(t *testing.T, want, got userkit.User) {
	t.Helper()
	if len(want.Attributes) == 0 {
		want.Attributes = nil
	}
	if len(got.Attributes) == 0 {
		got.Attributes = nil
	}
	require.Equal(t, want, got)
}

// requireEvents demands that two lists of events are equal. Data is compared as
// JSON, since its spacing and key order may change in storage.
func requireEvents(t *testing.T, want, got []userkit.Event) {
	t.Helper()
	requireList(t, canonicalEvents(t, want), canonicalEvents(t, got), eventRecordID)
}

// canonicalEvents writes the data of events in one form; none is nil.
func canonicalEvents(t *testing.T, events []userkit.Event) []userkit.Event {
	t.Helper()
	canonical := []userkit.Event{}
	for _, event := range events {
		if len(event.Data) == 0 {
			event.Data = nil
		} else {
			event.Data = canonicalJSON(t, event.Data)
		}
		canonical = append(canonical, event)
	}
	return canonical
}

// canonicalJSON writes JSON in one form.
func canonicalJSON(t *testing.T, text []byte) []byte {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // numbers beyond 53 bits must not lose digits
	var value any
	require.NoError(t, decoder.Decode(&value), "%q", text)
	canonical, err := json.Marshal(value)
	require.NoError(t, err)
	return canonical
}

// canonicalPurchases writes the raw data of purchases in one form.
func canonicalPurchases(t *testing.T, purchases []userkit.Purchase) []userkit.Purchase {
	t.Helper()
	canonical := []userkit.Purchase{}
	for _, purchase := range purchases {
		if len(purchase.Raw) == 0 {
			purchase.Raw = nil
		} else {
			purchase.Raw = canonicalJSON(t, purchase.Raw)
		}
		canonical = append(canonical, purchase)
	}
	return canonical
}

// requirePurchases demands that two sets of purchases are equal, whatever their
// order. Raw is compared as JSON, like the data of events.
func requirePurchases(t *testing.T, want, got []userkit.Purchase) {
	t.Helper()
	requireRecords(t, canonicalPurchases(t, want), canonicalPurchases(t, got), purchaseRecordID)
}

// requirePurchaseList is requirePurchases of lists in the same order.
func requirePurchaseList(t *testing.T, want, got []userkit.Purchase) {
	t.Helper()
	requireList(t, canonicalPurchases(t, want), canonicalPurchases(t, got), purchaseRecordID)
}

// requireUsage demands that two lists of days are equal, in the same order.
func requireUsage(t *testing.T, want, got []userkit.DayUsage) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i], got[i])
	}
}

// requireSegmentIDs demands that two sets of segments are equal, whatever their
// order, and that none is in them twice.
func requireSegmentIDs(t *testing.T, want, got []userkit.SegmentID) {
	t.Helper()
	require.ElementsMatch(t, want, got)
}

// requireMembers demands that each of the users is a member of a segment, or
// that none is.
func requireMembers(t *testing.T, store userkit.Store, segment userkit.SegmentID, member bool, users ...userkit.UserID) {
	t.Helper()
	members, err := store.UserIDs(t.Context(), userkit.UserSelection{Segment: segment, Moment: userkit.Moment{At: base}}, userkit.UserID{}, whole)
	require.NoError(t, err)
	for _, user := range users {
		require.Equal(t, member, slices.Contains(members, user), "user %s in segment %s", user, segment)
	}
}

// requireRowCounts demands that two counts are equal. A kind that is left out counts 0.
func requireRowCounts(t *testing.T, want, got map[string]int) {
	t.Helper()
	for _, kind := range []string{
		userkit.RowsDevices, userkit.RowsSessions, userkit.RowsDays, userkit.RowsPurchases, userkit.RowsTransactions, userkit.RowsEvents,
		userkit.RowsMemberships, userkit.RowsActivations, userkit.RowsPushMails, userkit.RowsMessages, userkit.RowsConnections, userkit.RowsDeliveries,
	} {
		require.Equal(t, want[kind], got[kind], kind)
	}
}

// requireRecords demands that two sets of records are equal, whatever their order.
func requireRecords[T any](t *testing.T, want, got []T, id func(*T) [16]byte) {
	t.Helper()
	requireList(t, sortedByID(want, id), sortedByID(got, id), id)
}

// requireList demands that two lists of records are equal, in the same order. It
// compares record by record: what differs between long lists would be neither
// quick to find nor pleasant to read.
func requireList[T any](t *testing.T, want, got []T, id func(*T) [16]byte, message ...any) {
	t.Helper()
	requireIDs(t, want, got, id, message...)
	for i := range want {
		require.Equal(t, want[i], got[i], message...)
	}
}

// requireIDs demands that two lists are of the same records, in the same order,
// and tells where they part.
func requireIDs[T any](t *testing.T, want, got []T, id func(*T) [16]byte, message ...any) {
	t.Helper()
	for i := range max(len(want), len(got)) {
		if i < len(want) && i < len(got) && id(&want[i]) == id(&got[i]) {
			continue
		}
		const around = 5
		part := func(records []T) []string {
			return idsOf(records[min(max(i-1, 0), len(records)):min(i+around, len(records))], id)
		}
		t.Logf("the lists, of %d and of %d records, part at the %d. record", len(want), len(got), i+1)
		require.Equal(t, part(want), part(got), message...)
		return
	}
}

// sortedByID returns a copy in the order of ids.
func sortedByID[T any](records []T, id func(*T) [16]byte) []T {
	sorted := append([]T{}, records...)
	slices.SortFunc(sorted, func(a, b T) int {
		x, y := id(&a), id(&b)
		return cmp.Compare(string(x[:]), string(y[:]))
	})
	return sorted
}

// idsOf returns the ids of records as text, which a failure shows readably.
func idsOf[T any](records []T, id func(*T) [16]byte) []string {
	ids := []string{}
	for i := range records {
		ids = append(ids, userkit.ID[T](id(&records[i])).String())
	}
	return ids
}

func userRecordID(user *userkit.User) [16]byte                      { return user.ID }
func recordID(device *userkit.DeviceRecord) [16]byte                { return device.ID }
func deviceRecordID(device *userkit.Device) [16]byte                { return device.ID }
func sessionRecordID(session *userkit.Session) [16]byte             { return session.ID }
func transactionRecordID(transaction *userkit.Transaction) [16]byte { return transaction.ID }
func connectionRecordID(connection *userkit.Connection) [16]byte    { return connection.ID }
func eventRecordID(event *userkit.Event) [16]byte                   { return event.ID }
func purchaseRecordID(purchase *userkit.Purchase) [16]byte          { return purchase.ID }
func messageRecordID(message *userkit.Message) [16]byte             { return message.ID }
func deliveryRecordID(delivery *userkit.Delivery) [16]byte          { return delivery.ID }
func segmentRecordID(segment *userkit.Segment) [16]byte             { return segment.ID }
