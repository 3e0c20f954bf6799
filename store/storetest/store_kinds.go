package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// storeKindsGroup says for each kind of record what every kind has to hold. A kind that
// kindRows does not know fails.
func storeKindsGroup() group {
	return group{"Kinds", []testCase{{"are inserted, replaced, emptied and deleted, and nothing else changes", inEveryWay(everyKind)}}}
}

// kindRow is what a change can do to the records of a kind: each of the functions does
// it in the change, and in what is expected of the user.
type kindRow struct {
	insert func(d *dossier, change *userkit.Change)
	// replace puts a full record in the place of another, and empty one in which
	// everything that may be empty is. They and remove are nil for a kind whose records
	// stay what they are.
	replace, empty, remove func(d *dossier, change *userkit.Change)
}

var kindRows = map[string]kindRow{
	userkit.RowsDevices: recordsRow(newDevice,
		func(c *userkit.Change) *userkit.Records[userkit.DeviceRecord, userkit.DeviceID] { return &c.Devices },
		func(d *dossier) *[]userkit.DeviceRecord { return &d.devices },
		func(d *userkit.DeviceRecord) (*userkit.DeviceID, *userkit.UserID) { return &d.ID, &d.UserID }),
	userkit.RowsSessions: recordsRow(newSession,
		func(c *userkit.Change) *userkit.Records[userkit.Session, userkit.SessionID] { return &c.Sessions },
		func(d *dossier) *[]userkit.Session { return &d.sessions },
		func(s *userkit.Session) (*userkit.SessionID, *userkit.UserID) { return &s.ID, &s.UserID }),
	userkit.RowsDays: {insert: func(d *dossier, change *userkit.Change) {
		change.Usage = []userkit.DayUsage{newDayUsage(50)}
		d.usage = append(d.usage, change.Usage...)
	}},
	userkit.RowsPurchases: recordsRow(newPurchase,
		func(c *userkit.Change) *userkit.Records[userkit.Purchase, userkit.PurchaseID] { return &c.Purchases },
		func(d *dossier) *[]userkit.Purchase { return &d.purchases },
		func(p *userkit.Purchase) (*userkit.PurchaseID, *userkit.UserID) { return &p.ID, &p.UserID }),
	userkit.RowsMessages: recordsRow(newMessage,
		func(c *userkit.Change) *userkit.Records[userkit.Message, userkit.MessageID] { return &c.Messages },
		func(d *dossier) *[]userkit.Message { return &d.messages },
		func(m *userkit.Message) (*userkit.MessageID, *userkit.UserID) { return &m.ID, &m.UserID }),
	userkit.RowsDeliveries: recordsRow(newDelivery,
		func(c *userkit.Change) *userkit.Records[userkit.Delivery, userkit.DeliveryID] { return &c.Deliveries },
		func(d *dossier) *[]userkit.Delivery { return &d.deliveries },
		func(d *userkit.Delivery) (*userkit.DeliveryID, *userkit.UserID) { return &d.ID, &d.UserID }),
	userkit.RowsTransactions: recordsRow(newTransaction,
		func(c *userkit.Change) *userkit.Records[userkit.Transaction, userkit.TransactionID] {
			return &c.Transactions
		},
		func(d *dossier) *[]userkit.Transaction { return &d.transactions },
		func(t *userkit.Transaction) (*userkit.TransactionID, *userkit.UserID) { return &t.ID, &t.UserID }),
	userkit.RowsMemberships: {
		insert: func(d *dossier, change *userkit.Change) {
			change.AddSegments = []userkit.SegmentID{segmentID(50)}
			d.segments = append(d.segments, change.AddSegments...)
		},
		remove: func(d *dossier, change *userkit.Change) {
			change.RemoveSegments = []userkit.SegmentID{segmentID(50)}
			d.segments = nil
		},
	},
	userkit.RowsActivations: {
		insert:  setActivation(newActivation(50)),
		replace: setActivation(newActivation(60)),
		empty: func(d *dossier, change *userkit.Change) {
			full := newActivation(70)
			setActivation(userkit.Activation{Email: full.Email, TokenDigest: full.TokenDigest, SentAt: full.SentAt, ExpiresAt: full.ExpiresAt, CountedFrom: full.CountedFrom})(d, change)
		},
		remove: setActivation(userkit.Activation{}),
	},
	userkit.RowsConnections: recordsRow(newConnection,
		func(c *userkit.Change) *userkit.Records[userkit.Connection, userkit.ConnectionID] {
			return &c.Connections
		},
		func(d *dossier) *[]userkit.Connection { return &d.connections },
		func(c *userkit.Connection) (*userkit.ConnectionID, *userkit.UserID) { return &c.ID, &c.UserID }),
	userkit.RowsPushMails: {
		insert:  setPushMail(newPushMail(50)),
		replace: setPushMail(newPushMail(60)),
		empty: func(d *dossier, change *userkit.Change) {
			full := newPushMail(70)
			setPushMail(userkit.PushMail{CreatedAt: full.CreatedAt, CountedFrom: full.CountedFrom})(d, change)
		},
		remove: setPushMail(userkit.PushMail{}),
	},
	userkit.RowsEvents: {insert: func(d *dossier, change *userkit.Change) {
		change.Events = []userkit.Event{newEvent(d.user.ID, 50)}
		d.events = append(d.events, change.Events...)
	}},
}

// setActivation gives the user an activation, or none.
func setActivation(activation userkit.Activation) func(d *dossier, change *userkit.Change) {
	return func(d *dossier, change *userkit.Change) {
		d.activation = activation
		change.Activation = userkit.Set(activation)
	}
}

// setPushMail gives the user a push mail, or none.
func setPushMail(pushMail userkit.PushMail) func(d *dossier, change *userkit.Change) {
	return func(d *dossier, change *userkit.Change) {
		d.pushMail = pushMail
		change.PushMail = userkit.Set(pushMail)
	}
}

// recordsRow is the row of a kind whose changes are userkit.Records.
func recordsRow[T any, I comparable](full func(owner userkit.UserID, n int) T,
	changes func(*userkit.Change) *userkit.Records[T, I], of func(*dossier) *[]T, keys func(*T) (*I, *userkit.UserID)) kindRow {
	update := func(d *dossier, change *userkit.Change, record T) {
		id, owner := keys(&record)
		before, _ := keys(&(*of(d))[0])
		*id, *owner = *before, d.user.ID
		(*of(d))[0] = record
		changes(change).Update = []T{record}
	}
	return kindRow{
		insert: func(d *dossier, change *userkit.Change) {
			record := full(d.user.ID, 50)
			*of(d) = append(*of(d), record)
			changes(change).Insert = []T{record}
		},
		replace: func(d *dossier, change *userkit.Change) { update(d, change, full(d.user.ID, 60)) },
		empty: func(d *dossier, change *userkit.Change) {
			empty := emptyDossier(900)
			update(d, change, (*of(&empty))[0])
		},
		remove: func(d *dossier, change *userkit.Change) {
			id, _ := keys(&(*of(d))[0])
			changes(change).Delete = []I{*id}
			*of(d) = (*of(d))[1:]
		},
	}
}

func everyKind(t *testing.T, env env) {
	createSegments(t, env.store, newList(50))
	n := 1
	for _, kind := range userkit.RecordKinds() {
		row, known := kindRows[kind]
		require.True(t, known, "nothing is known of the kind %s", kind)
		d, other := newDossier(n), newDossier(n+1)
		n += 2
		createAll(t, env.store, d, other)
		for _, do := range []struct {
			name   string
			change func(d *dossier, change *userkit.Change)
		}{{"insert", row.insert}, {"replace", row.replace}, {"empty", row.empty}, {"remove", row.remove}} {
			if do.change == nil {
				continue
			}
			t.Log(kind, do.name)
			change := step(&d.user)
			do.change(&d, &change)
			commit(t, env.store, change)
			requireDossier(t, env.store, d)
			requireDossier(t, env.store, other)
		}
		deleted := step(&d.user)
		deleted.Delete = true
		commit(t, env.store, deleted)
		requireGone(t, env.store, d)
		requireDossier(t, env.store, other)
	}
}
