package memory

import (
	"iter"
	"slices"

	"github.com/userkit/userkit"
)

// kind is how the records of one of userkit.RecordKinds are kept: everything that a
// commit, a load and a deletion do with them. A further kind is a further row of kinds,
// with the indexes of its records.
type kind struct {
	name string
	// edit makes the records that a change inserts and replaces, before the lock is
	// taken; nil: it changes nothing of the kind.
	edit func(change *userkit.Change) edit
	// check says whether the ids and the other unique values of the records that come
	// with these steps are free, when what the steps take away has gone. at is the place
	// of the kind.
	check func(s *Store, steps []step, at int) error
	// load adds to a state the records that a want asks for.
	load func(s *Store, want *userkit.Want, owner *user, own *belongings, state *userkit.State)
	// count returns how many records a user has.
	count func(s *Store, owner *user, own *belongings) int
	// erase takes all records of a user out of the indexes of the project.
	erase func(s *Store, owner *user, own *belongings)
	// outlive means that a change which deletes the user may insert records.
	outlive bool
}

// edit is what a change does to the records of one kind.
type edit interface {
	// adds reports whether there are records that have to belong to somebody.
	adds() bool
	// put makes the changes. owner is nil when it is deleted.
	put(s *Store, owner *user, own *belongings)
}

// kinds are all kinds of record.
var kinds = []kind{
	(&records[userkit.DeviceRecord, userkit.DeviceID, device]{
		name: userkit.RowsDevices, one: "device", made: deviceOf,
		changes: func(c *userkit.Change) (insert, update []userkit.DeviceRecord, gone []userkit.DeviceID) {
			return c.Devices.Insert, c.Devices.Update, c.Devices.Delete
		},
		key:     func(d *device) (userkit.DeviceID, userkit.UserID) { return d.id, d.user },
		get:     func(s *Store, id userkit.DeviceID) *device { return s.devices.byID[id] },
		put:     func(s *Store, own *belongings, next, _ *device) { s.devices.put(own, next) },
		release: func(s *Store, _ *belongings, before *device) { s.devices.release(before) },
		remove: func(s *Store, own *belongings, gone *device) {
			s.devices.remove(gone)
			own.devices.remove(gone)
		},
		forget: func(s *Store, _ *belongings, gone *device) { s.devices.remove(gone) },
		own:    func(d *device, owner *user) { d.owner = owner.profile.number },
		each:   func(own *belongings) iter.Seq[*device] { return own.devices.each },
		count:  func(own *belongings) int { return own.devices.len() },
		unique: []uniqueValue[device]{{
			key:     func(d *device) any { return d.digest },
			holders: func(s *Store, d *device) iter.Seq[*device] { return only(s.devices.byToken[d.digest]) },
			field:   "access_token",
		}, {
			key:     (*device).pushKey,
			holders: func(s *Store, d *device) iter.Seq[*device] { return only(s.devices.byPushToken[d.pushToken]) },
			field:   "push_token",
		}},
		load: loadDevices,
	}).kind(),
	(&records[userkit.Session, userkit.SessionID, session]{
		name: userkit.RowsSessions, one: "session", made: sessionOf,
		changes: func(c *userkit.Change) (insert, update []userkit.Session, gone []userkit.SessionID) {
			return c.Sessions.Insert, c.Sessions.Update, c.Sessions.Delete
		},
		key: func(s *session) (userkit.SessionID, userkit.UserID) { return s.id, s.user },
		get: func(s *Store, id userkit.SessionID) *session { return s.sessions.byID[id] },
		put: func(s *Store, own *belongings, next, _ *session) { s.sessions.put(own, next) },
		remove: func(s *Store, own *belongings, gone *session) {
			s.sessions.remove(gone)
			own.sessions.of(gone.active()).remove(gone)
		},
		forget: func(s *Store, _ *belongings, gone *session) { s.sessions.remove(gone) },
		each: func(own *belongings) iter.Seq[*session] {
			return func(yield func(*session) bool) {
				if own.sessions == nil {
					return
				}
				for _, of := range []bool{true, false} {
					for session := range own.sessions.of(of).each {
						if !yield(session) {
							return
						}
					}
				}
			}
		},
		count: func(own *belongings) int {
			if own.sessions == nil {
				return 0
			}
			return own.sessions.open.len() + own.sessions.ended.len()
		},
		load: loadSessions,
	}).kind(),
	{
		name: userkit.RowsDays,
		edit: func(change *userkit.Change) edit {
			if len(change.Usage) == 0 {
				return nil
			}
			return days(change.Usage)
		},
		check: func(*Store, []step, int) error { return nil },
		load: func(_ *Store, want *userkit.Want, _ *user, own *belongings, state *userkit.State) {
			if from, ok := want.UsageFrom.Get(); ok && own.sessions != nil {
				state.Usage = own.sessions.between(dateOf(from), lastDate)
			}
		},
		count: func(_ *Store, _ *user, own *belongings) int {
			if own.sessions == nil {
				return 0
			}
			return len(own.sessions.days)
		},
		erase: func(*Store, *user, *belongings) {}, // they go with the belongings
	},
	(&records[userkit.Purchase, userkit.PurchaseID, purchase]{
		name: userkit.RowsPurchases, one: "purchase", made: purchaseOf,
		changes: func(c *userkit.Change) (insert, update []userkit.Purchase, gone []userkit.PurchaseID) {
			return c.Purchases.Insert, c.Purchases.Update, c.Purchases.Delete
		},
		key: func(p *purchase) (userkit.PurchaseID, userkit.UserID) { return p.id, p.user },
		get: func(s *Store, id userkit.PurchaseID) *purchase { return s.purchases.byID[id] },
		put: func(s *Store, own *belongings, next, _ *purchase) { s.purchases.put(own, next) },
		remove: func(s *Store, own *belongings, gone *purchase) {
			s.purchases.remove(gone)
			own.purchases.remove(gone)
		},
		forget: func(s *Store, _ *belongings, gone *purchase) { s.purchases.remove(gone) },
		each: func(own *belongings) iter.Seq[*purchase] {
			if own.purchases == nil {
				return nothing[purchase]
			}
			return own.purchases.each
		},
		count: func(own *belongings) int {
			if own.purchases == nil {
				return 0
			}
			return own.purchases.len()
		},
		unique: []uniqueValue[purchase]{{
			key: func(p *purchase) any {
				return struct {
					store    word
					stableID string
				}{p.store, p.stableID}
			},
			holders: func(s *Store, p *purchase) iter.Seq[*purchase] { return s.purchases.with(p.store, p.stableID) },
			field:   "stable_id",
		}},
		load: func(_ *Store, want *userkit.Want, own *belongings, state *userkit.State) {
			if want.Purchases && own.purchases != nil {
				state.Purchases = convertAny(slices.Collect(own.purchases.each), (*purchase).out)
			}
		},
	}).kind(),
	(&records[userkit.Message, userkit.MessageID, message]{
		name: userkit.RowsMessages, one: "message", made: messageOf,
		changes: func(c *userkit.Change) (insert, update []userkit.Message, gone []userkit.MessageID) {
			return c.Messages.Insert, c.Messages.Update, c.Messages.Delete
		},
		key:     func(m *message) (userkit.MessageID, userkit.UserID) { return m.ID, m.UserID },
		get:     func(s *Store, id userkit.MessageID) *message { return s.messages.byID[id] },
		put:     func(s *Store, own *belongings, next, _ *message) { s.messages.put(own, next) },
		release: func(_ *Store, own *belongings, before *message) { own.mailbox.release(before) },
		remove: func(s *Store, own *belongings, gone *message) {
			s.messages.remove(gone)
			own.mailbox.remove(gone)
		},
		forget: func(s *Store, _ *belongings, gone *message) { s.messages.remove(gone) },
		each: func(own *belongings) iter.Seq[*message] {
			if own.mailbox == nil {
				return nothing[message]
			}
			return own.mailbox.byTime.each
		},
		count: func(own *belongings) int {
			if own.mailbox == nil {
				return 0
			}
			return own.mailbox.byTime.len()
		},
		unique: []uniqueValue[message]{{
			key: (*message).key,
			holders: func(s *Store, m *message) iter.Seq[*message] {
				own := s.users.belongings(m.UserID)
				if own == nil || own.mailbox == nil || m.Key == "" {
					return nothing[message]
				}
				return only(own.mailbox.byKey[m.Key])
			},
			field: "key",
		}},
		load: loadMessages,
	}).kind(),
	(&records[userkit.Delivery, userkit.DeliveryID, delivery]{
		name: userkit.RowsDeliveries, one: "delivery", made: deliveryOf,
		changes: func(c *userkit.Change) (insert, update []userkit.Delivery, gone []userkit.DeliveryID) {
			return c.Deliveries.Insert, c.Deliveries.Update, c.Deliveries.Delete
		},
		key: func(d *delivery) (userkit.DeliveryID, userkit.UserID) { return d.id, d.user },
		get: func(s *Store, id userkit.DeliveryID) *delivery { return s.deliveries.byID[id] },
		put: func(s *Store, own *belongings, next, _ *delivery) { s.deliveries.put(own, next) },
		remove: func(s *Store, own *belongings, gone *delivery) {
			s.deliveries.remove(gone)
			own.deliveries.remove(gone)
		},
		forget: func(s *Store, _ *belongings, gone *delivery) { s.deliveries.remove(gone) },
		each: func(own *belongings) iter.Seq[*delivery] {
			if own.deliveries == nil {
				return nothing[delivery]
			}
			return own.deliveries.each
		},
		count: func(own *belongings) int {
			if own.deliveries == nil {
				return 0
			}
			return own.deliveries.len()
		},
		load: loadDeliveries,
	}).kind(),
	(&records[userkit.Transaction, userkit.TransactionID, transaction]{
		name: userkit.RowsTransactions, one: "transaction", made: transactionOf,
		changes: func(c *userkit.Change) (insert, update []userkit.Transaction, gone []userkit.TransactionID) {
			return c.Transactions.Insert, c.Transactions.Update, c.Transactions.Delete
		},
		key: func(t *transaction) (userkit.TransactionID, userkit.UserID) { return t.id, t.user },
		get: func(s *Store, id userkit.TransactionID) *transaction { return s.transactions.get(id) },
		put: func(s *Store, own *belongings, next, before *transaction) { s.transactions.put(own, next, before) },
		release: func(s *Store, own *belongings, before *transaction) {
			delete(s.transactions.byKey, entryKey{own.ledger, before.key})
		},
		remove: func(s *Store, own *belongings, gone *transaction) {
			s.transactions.remove(own.ledger, gone)
			own.ledger.bySequence.remove(gone)
			own.ledger.byTime.remove(gone)
		},
		forget: func(s *Store, own *belongings, gone *transaction) { s.transactions.remove(own.ledger, gone) },
		each: func(own *belongings) iter.Seq[*transaction] {
			if own.ledger == nil {
				return nothing[transaction]
			}
			return own.ledger.bySequence.each
		},
		count: func(own *belongings) int {
			if own.ledger == nil {
				return 0
			}
			return own.ledger.bySequence.len()
		},
		unique: []uniqueValue[transaction]{{
			key: func(t *transaction) any {
				return struct {
					user userkit.UserID
					key  string
				}{t.user, t.key}
			},
			holders: func(s *Store, t *transaction) iter.Seq[*transaction] {
				own := s.users.belongings(t.user)
				if own == nil || own.ledger == nil {
					return nothing[transaction]
				}
				return only(s.transactions.byKey[entryKey{own.ledger, t.key}])
			},
			field: "key",
		}},
		load: loadTransactions,
	}).kind(),
	{
		name: userkit.RowsMemberships,
		edit: func(change *userkit.Change) edit {
			if len(change.AddSegments)+len(change.RemoveSegments) == 0 {
				return nil
			}
			return (*memberships)(change)
		},
		check: func(s *Store, steps []step, at int) error {
			for i := range steps {
				if steps[i].edits[at] == nil {
					continue
				}
				if err := s.segments.check(steps[i].change); err != nil {
					return err
				}
			}
			return nil
		},
		load: func(s *Store, want *userkit.Want, owner *user, _ *belongings, state *userkit.State) {
			if want.Segments {
				state.Segments = s.segments.with(owner.profile.number)
			}
		},
		count: func(s *Store, owner *user, _ *belongings) int { return len(s.segments.with(owner.profile.number)) },
		erase: func(s *Store, owner *user, _ *belongings) { s.segments.remove(owner.profile.number) },
	},
	{
		name: userkit.RowsActivations,
		edit: func(change *userkit.Change) edit {
			if change.Activation.IsZero() {
				return nil
			}
			return (*activation)(change)
		},
		check: func(*Store, []step, int) error { return nil },
		load: func(_ *Store, want *userkit.Want, _ *user, own *belongings, state *userkit.State) {
			if want.Activation && own.activation != nil {
				state.Activation = *own.activation
			}
		},
		count: func(_ *Store, _ *user, own *belongings) int {
			if own.activation == nil {
				return 0
			}
			return 1
		},
		erase: func(*Store, *user, *belongings) {}, // it goes with the belongings
	},
	(&records[userkit.Connection, userkit.ConnectionID, connection]{
		name: userkit.RowsConnections, one: "connection", made: connectionOf,
		changes: func(c *userkit.Change) (insert, update []userkit.Connection, gone []userkit.ConnectionID) {
			return c.Connections.Insert, c.Connections.Update, c.Connections.Delete
		},
		key: func(c *connection) (userkit.ConnectionID, userkit.UserID) { return c.id, c.user },
		get: func(s *Store, id userkit.ConnectionID) *connection { return s.connections.byID[id] },
		put: func(s *Store, own *belongings, next, _ *connection) { s.connections.put(own, next) },
		remove: func(s *Store, own *belongings, gone *connection) {
			s.connections.remove(gone)
			own.connections.remove(gone)
		},
		forget: func(s *Store, _ *belongings, gone *connection) { s.connections.remove(gone) },
		each: func(own *belongings) iter.Seq[*connection] {
			if own.connections == nil {
				return nothing[connection]
			}
			return own.connections.each
		},
		count: func(own *belongings) int {
			if own.connections == nil {
				return 0
			}
			return own.connections.len()
		},
		load: func(s *Store, want *userkit.Want, own *belongings, state *userkit.State) {
			var found []*connection
			for _, id := range want.Connections {
				if connection := s.connections.byID[id]; connection != nil && connection.user == want.User {
					found = append(found, connection)
				}
			}
			state.Connections = convertAny(distinct(found), (*connection).out)
		},
	}).kind(),
	{
		name: userkit.RowsPushMails,
		edit: func(change *userkit.Change) edit {
			if change.PushMail.IsZero() {
				return nil
			}
			return (*pushMail)(change)
		},
		check: func(*Store, []step, int) error { return nil },
		load: func(_ *Store, want *userkit.Want, _ *user, own *belongings, state *userkit.State) {
			if want.PushMail && own.pushMail != nil {
				state.PushMail = *own.pushMail
			}
		},
		count: func(_ *Store, _ *user, own *belongings) int {
			if own.pushMail == nil {
				return 0
			}
			return 1
		},
		erase: func(*Store, *user, *belongings) {}, // it goes with the belongings
	},
	(&records[userkit.Event, userkit.EventID, event]{
		name: userkit.RowsEvents, one: "event", made: eventOf, outlive: true,
		changes: func(c *userkit.Change) (insert, update []userkit.Event, gone []userkit.EventID) {
			return c.Events, nil, nil
		},
		key:    func(e *event) (userkit.EventID, userkit.UserID) { return e.id, e.user },
		get:    func(s *Store, id userkit.EventID) *event { return s.events.get(id) },
		put:    func(s *Store, own *belongings, next, _ *event) { s.events.put(own, next) },
		forget: func(s *Store, _ *belongings, gone *event) { s.events.remove(gone) },
		each:   func(own *belongings) iter.Seq[*event] { return own.events.each },
		count:  func(own *belongings) int { return own.events.len() },
		load:   func(*Store, *userkit.Want, *belongings, *userkit.State) {}, // see Store.load
	}).kind(),
}

// records is a kind whose records have ids: P as userkit has them, T as they are kept.
type records[P any, I ~[16]byte, T any] struct {
	name, one string // the kind, and one of it
	made      func(userkit.UserID, *P) *T
	changes   func(*userkit.Change) (insert, update []P, gone []I)
	key       func(*T) (I, userkit.UserID)
	get       func(s *Store, id I) *T // nil: there is nothing
	// put adds a record, or puts it in the place of the one with its id, before.
	put func(s *Store, own *belongings, next, before *T)
	// release takes back the unique value of a record that is about to be replaced, which
	// put does not; nil: its indexes are ordered by id as well, and put replaces it. All
	// are released before any is given, since two may swap theirs.
	release func(s *Store, own *belongings, before *T)
	// remove takes a record out of all indexes, and forget out of those of the project.
	remove, forget func(s *Store, own *belongings, gone *T)
	// own tells a record whose it is; nil: it knows.
	own     func(record *T, owner *user)
	each    func(own *belongings) iter.Seq[*T]
	count   func(own *belongings) int
	unique  []uniqueValue[T] // beside the id
	load    func(s *Store, want *userkit.Want, own *belongings, state *userkit.State)
	outlive bool
}

// unique is a value of which two records must not have the same.
type uniqueValue[T any] struct {
	key     func(record *T) any // comparable
	holders func(s *Store, record *T) iter.Seq[*T]
	field   string // its name in errors
}

// changed is what a change does to records with ids.
type changed[P any, I ~[16]byte, T any] struct {
	*records[P, I, T]
	insert, update []*T
	gone           []I
}

func (k *records[P, I, T]) kind() kind {
	return kind{
		name: k.name, check: k.check, outlive: k.outlive,
		edit: func(change *userkit.Change) edit {
			insert, update, gone := k.changes(change)
			if len(insert)+len(update)+len(gone) == 0 {
				return nil
			}
			return &changed[P, I, T]{k, madeOf(change.User, insert, k.made), madeOf(change.User, update, k.made), gone}
		},
		load: func(s *Store, want *userkit.Want, _ *user, own *belongings, state *userkit.State) {
			k.load(s, want, own, state)
		},
		count: func(_ *Store, _ *user, own *belongings) int { return k.count(own) },
		erase: func(s *Store, _ *user, own *belongings) {
			for record := range k.each(own) {
				k.forget(s, own, record)
			}
		},
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

// found returns the record with an id if it is there and of the user; else nil. A
// record to replace or to delete that is not found is left out.
func (k *records[P, I, T]) found(s *Store, id I, user userkit.UserID) *T {
	record := k.get(s, id)
	if record == nil {
		return nil
	}
	if _, owner := k.key(record); owner != user {
		return nil
	}
	return record
}

func (k *records[P, I, T]) check(s *Store, steps []step, at int) error {
	var coming []*T
	var replaced map[I]bool
	for i := range steps {
		edited, ok := steps[i].edits[at].(*changed[P, I, T])
		if !ok {
			continue
		}
		if coming == nil {
			coming = slices.Clip(edited.insert)
		} else {
			coming = append(coming, edited.insert...)
		}
		for _, record := range edited.update {
			if id, user := k.key(record); k.found(s, id, user) != nil {
				if replaced == nil {
					replaced = map[I]bool{}
				}
				replaced[id] = true
				coming = append(coming, record)
			}
		}
	}
	if len(coming) == 0 {
		return nil
	}
	var leaving map[I]bool // made when it is asked for the first time
	leaves := func(id I) bool {
		if leaving == nil {
			leaving = k.leaving(s, steps, at)
		}
		return leaving[id]
	}
	for _, record := range coming {
		if id, _ := k.key(record); !replaced[id] && k.get(s, id) != nil && !leaves(id) {
			return userkit.Taken(k.one, "id")
		}
	}
	if repeated(coming, func(record *T) I { id, _ := k.key(record); return id }) {
		return userkit.Taken(k.one, "id")
	}
	for _, unique := range k.unique {
		for _, record := range coming {
			for holder := range unique.holders(s, record) {
				if id, _ := k.key(holder); !replaced[id] && !leaves(id) {
					return userkit.Taken(k.one, unique.field)
				}
			}
		}
		if repeated(coming, unique.key) {
			return userkit.Taken(k.one, unique.field)
		}
	}
	return nil
}

// leaving returns the ids of the records that steps take away.
func (k *records[P, I, T]) leaving(s *Store, steps []step, at int) map[I]bool {
	gone := map[I]bool{}
	for i := range steps {
		user := steps[i].change.User
		if steps[i].change.Delete {
			if own := s.users.belongings(user); own != nil {
				for record := range k.each(own) {
					id, _ := k.key(record)
					gone[id] = true
				}
			}
			continue
		}
		if edited, ok := steps[i].edits[at].(*changed[P, I, T]); ok {
			for _, id := range edited.gone {
				if k.found(s, id, user) != nil {
					gone[id] = true
				}
			}
		}
	}
	return gone
}

func (c *changed[P, I, T]) adds() bool { return c.insert != nil }

// put writes the records: what is deleted first, so that keys are free for what comes.
func (c *changed[P, I, T]) put(s *Store, owner *user, own *belongings) {
	if own == nil {
		return
	}
	for _, id := range c.gone {
		if gone := c.found(s, id, owner.profile.id); gone != nil {
			c.remove(s, own, gone)
		}
	}
	if c.release != nil {
		for _, record := range c.update {
			id, user := c.key(record)
			if before := c.found(s, id, user); before != nil {
				c.release(s, own, before)
			}
		}
	}
	for _, record := range c.update {
		id, user := c.key(record)
		if before := c.found(s, id, user); before != nil {
			c.give(s, owner, own, record, before)
		}
	}
	for _, record := range c.insert {
		c.give(s, owner, own, record, nil)
	}
}

func (c *changed[P, I, T]) give(s *Store, owner *user, own *belongings, record, before *T) {
	if c.own != nil {
		c.own(record, owner)
	}
	c.records.put(s, own, record, before)
}

// only yields a record, unless it is nil.
func only[T any](record *T) iter.Seq[*T] {
	if record == nil {
		return nothing[T]
	}
	return func(yield func(*T) bool) { yield(record) }
}

// nothing yields nothing.
func nothing[T any](func(*T) bool) {}

// days are figures to be added to those of days.
type days []userkit.DayUsage

func (d days) adds() bool { return true }

func (d days) put(_ *Store, _ *user, own *belongings) {
	if own.sessions == nil {
		own.sessions = &history{}
	}
	for _, day := range d {
		own.sessions.use(dayUsage{dateOf(day.Day), day.Received, day.Sent, day.Forgiven})
	}
}

// memberships are what a change does to the lists that the user is in.
type memberships userkit.Change

func (m *memberships) adds() bool { return false }

func (m *memberships) put(s *Store, owner *user, _ *belongings) {
	s.segments.put(owner.profile.number, (*userkit.Change)(m))
}

// activation is what a change does to the activation of a user.
type activation userkit.Change

func (a *activation) adds() bool {
	next, _ := a.Activation.Get()
	return !next.IsZero()
}

func (a *activation) put(_ *Store, _ *user, own *belongings) {
	if own == nil {
		return
	}
	own.activation = nil
	if next, _ := a.Activation.Get(); !next.IsZero() {
		next.SentAt, next.ExpiresAt = microsOf(next.SentAt).time(), microsOf(next.ExpiresAt).time()
		next.CountedFrom = microsOf(next.CountedFrom).time()
		own.activation = &next
	}
}

// pushMail is what a change does to the push mail of a user.
type pushMail userkit.Change

func (p *pushMail) adds() bool {
	next, _ := p.PushMail.Get()
	return !next.IsZero()
}

func (p *pushMail) put(_ *Store, _ *user, own *belongings) {
	if own == nil {
		return
	}
	own.pushMail = nil
	if next, _ := p.PushMail.Get(); !next.IsZero() {
		next.CreatedAt, next.RevokedAt = microsOf(next.CreatedAt).time(), microsOf(next.RevokedAt).time()
		next.CountedFrom = microsOf(next.CountedFrom).time()
		own.pushMail = &next
	}
}
