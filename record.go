package userkit

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"
)

// The kinds of record that belong to a user, which State.RowCounts and
// Erasure.Rows count and RecordKinds lists.
const (
	RowsDevices      = "devices"
	RowsSessions     = "sessions"
	RowsDays         = "usage_days"
	RowsPurchases    = "purchases"
	RowsMessages     = "messages"
	RowsDeliveries   = "deliveries"
	RowsTransactions = "transactions"
	RowsMemberships  = "memberships"
	RowsActivations  = "activations"
	RowsConnections  = "connections"
	RowsPushMails    = "push_mails"
	RowsEvents       = "events"
)

// RecordUser is the kind of the user itself.
const RecordUser = "user"

// UserRecord is one record of a user, of any kind.
type UserRecord struct {
	Kind  string `json:"kind"`  // RecordUser or one of the kinds of RecordKinds
	Value any    `json:"value"` // a User, Device, Session, DayUsage, Purchase, Transaction, Segment, Activation, PushMail, Connection, Message, Delivery or Event
}

// RecordKinds returns the kinds of record that belong to a user, in the order in
// which UserRecords yields them. They are the keys of Erasure.Rows. UserRecords also yields the
// events of others that name the user (EventFilter.Naming).
func RecordKinds() []string {
	kinds := make([]string, len(recordKinds))
	for i := range recordKinds {
		kinds[i] = recordKinds[i].name
	}
	return kinds
}

// recordKind is one kind of record that belongs to a user: its name, and its part in
// everything that goes over all kinds. Where State, Change and Want have fields for a
// kind, only its row in recordKinds and its own rules name them.
type recordKind struct {
	name string
	// wants adds to a want what another asks for, and asks reports whether a want asks for records
	// that do not follow from the account.
	wants func(w, other *Want)
	asks  func(w *Want) bool
	// clone copies the records of a state, and apply applies a change to them.
	clone func(s *State)
	apply func(s *State, change *Change)
	// merge adds to a change what a later one does.
	merge func(c, next *Change)
	// expires says from when the age of a record counts for retention, and kept why
	// retention deletes no record of the kind. One of the two is set.
	expires, kept string
	// read yields the records that a store has of a user, oldest first.
	read func(ctx context.Context, store Store, user UserID) iter.Seq2[any, error]
}

// recordKinds are all kinds of record, in the order of RecordKinds.
var recordKinds = []recordKind{
	recordsOf(RowsDevices, deviceRecordID,
		func(c *Change) *Records[DeviceRecord, DeviceID] { return &c.Devices },
		func(s *State) *[]DeviceRecord { return &s.Devices },
		recordKind{
			kept: "they are in use, and end by DeleteDevice",
			wants: func(w, other *Want) {
				w.Devices = append(w.Devices, other.Devices...)
				w.HardwareIDs = append(w.HardwareIDs, other.HardwareIDs...)
				w.AllDevices = w.AllDevices || other.AllDevices
			},
			asks: func(w *Want) bool { return w.AllDevices || len(w.Devices)+len(w.HardwareIDs) > 0 },
			read: func(ctx context.Context, store Store, user UserID) iter.Seq2[any, error] {
				return walkList(deviceFields, "registered_at", func(list ListRange) ([]Device, error) {
					return store.Devices(ctx, DeviceFilter{UserID: user}, list)
				})
			},
		}),
	recordsOf(RowsSessions, sessionID,
		func(c *Change) *Records[Session, SessionID] { return &c.Sessions },
		func(s *State) *[]Session { return &s.Sessions },
		recordKind{
			expires: "when its end was recorded",
			wants: func(w, other *Want) {
				w.Sessions = append(w.Sessions, other.Sessions...)
				w.OpenSessions = w.OpenSessions || other.OpenSessions
			},
			asks: func(w *Want) bool { return w.OpenSessions || len(w.Sessions) > 0 },
			read: func(ctx context.Context, store Store, user UserID) iter.Seq2[any, error] {
				return walkList(sessionFields, "started_at", func(list ListRange) ([]Session, error) {
					return store.Sessions(ctx, SessionFilter{UserID: user}, list)
				})
			},
		}),
	{
		name:    RowsDays,
		expires: "when the day is over",
		wants: func(w, other *Want) {
			if from, ok := other.UsageFrom.Get(); ok {
				if mine, ok := w.UsageFrom.Get(); !ok || from.Compare(mine) < 0 {
					w.UsageFrom = other.UsageFrom
				}
			}
		},
		asks:  func(w *Want) bool { return !w.UsageFrom.IsZero() },
		clone: func(s *State) { s.Usage = slices.Clone(s.Usage) },
		apply: func(s *State, change *Change) { s.Usage = addAllUsage(s.Usage, change.Usage) },
		merge: func(c, next *Change) { c.Usage = addAllUsage(c.Usage, next.Usage) },
		read: func(ctx context.Context, store Store, user UserID) iter.Seq2[any, error] {
			return each(func() ([]DayUsage, error) {
				return store.Usage(ctx, user, Day{Year: 1, Month: time.January, Day: 1}, Day{Year: 9999, Month: time.December, Day: 31})
			})
		},
	},
	recordsOf(RowsPurchases, purchaseID,
		func(c *Change) *Records[Purchase, PurchaseID] { return &c.Purchases },
		func(s *State) *[]Purchase { return &s.Purchases },
		recordKind{
			kept:  "they say what a user may use, and to whom they belong",
			wants: func(w, other *Want) { w.Purchases = w.Purchases || other.Purchases },
			asks:  func(w *Want) bool { return w.Purchases },
			read: func(ctx context.Context, store Store, user UserID) iter.Seq2[any, error] {
				return walkList(purchaseFields, "created_at", func(list ListRange) ([]Purchase, error) {
					return store.Purchases(ctx, PurchaseFilter{UserID: user}, list)
				})
			},
		}),
	recordsOf(RowsMessages, messageID,
		func(c *Change) *Records[Message, MessageID] { return &c.Messages },
		func(s *State) *[]Message { return &s.Messages },
		recordKind{
			expires: "when it was sent",
			wants: func(w, other *Want) {
				w.Messages = append(w.Messages, other.Messages...)
				w.MessageKeys = append(w.MessageKeys, other.MessageKeys...)
			},
			asks: func(w *Want) bool { return len(w.Messages)+len(w.MessageKeys) > 0 },
			read: func(ctx context.Context, store Store, user UserID) iter.Seq2[any, error] {
				return walkList(messageFields, "sent_at", func(list ListRange) ([]Message, error) {
					return store.Messages(ctx, MessageFilter{UserID: user}, list)
				})
			},
		}),
	recordsOf(RowsDeliveries, deliveryID,
		func(c *Change) *Records[Delivery, DeliveryID] { return &c.Deliveries },
		func(s *State) *[]Delivery { return &s.Deliveries },
		recordKind{
			expires: "when its message was sent",
			wants:   func(w, other *Want) { w.Deliveries = append(w.Deliveries, other.Deliveries...) },
			asks:    func(w *Want) bool { return len(w.Deliveries) > 0 },
			read: func(ctx context.Context, store Store, user UserID) iter.Seq2[any, error] {
				return walkList(deliveryFields, "created_at", func(list ListRange) ([]Delivery, error) {
					return store.Deliveries(ctx, DeliveryFilter{UserID: user}, list)
				})
			},
		}),
	recordsOf(RowsTransactions, transactionID,
		func(c *Change) *Records[Transaction, TransactionID] { return &c.Transactions },
		func(s *State) *[]Transaction { return &s.Transactions },
		recordKind{
			kept: "they are money",
			wants: func(w, other *Want) {
				w.Transactions = append(w.Transactions, other.Transactions...)
				w.TransactionKeys = append(w.TransactionKeys, other.TransactionKeys...)
			},
			// The commit reports a key that is in use.
			asks: func(w *Want) bool { return len(w.Transactions) > 0 },
			read: func(ctx context.Context, store Store, user UserID) iter.Seq2[any, error] {
				return walkList(transactionFields, "sequence", func(list ListRange) ([]Transaction, error) {
					return store.Transactions(ctx, TransactionFilter{UserID: user, IncludeCancelled: true}, list)
				})
			},
		}),
	{
		name:  RowsMemberships,
		kept:  "they are in use, and end by RemoveFromSegment",
		wants: func(w, other *Want) { w.Segments = w.Segments || other.Segments },
		asks:  func(w *Want) bool { return w.Segments },
		clone: func(s *State) { s.Segments = slices.Clone(s.Segments) },
		apply: func(s *State, change *Change) { s.Segments, _ = mergeSegments(s.Segments, nil, change) },
		merge: func(c, next *Change) {
			c.AddSegments, c.RemoveSegments = mergeSegments(c.AddSegments, c.RemoveSegments, next)
		},
		read: func(ctx context.Context, store Store, user UserID) iter.Seq2[any, error] {
			return each(func() ([]Segment, error) {
				states, err := store.Load(ctx, []Want{{User: user, Segments: true}})
				if err != nil || len(states[0].Segments) == 0 {
					return nil, err
				}
				lists, err := store.FindSegments(ctx, states[0].Segments, nil)
				slices.SortFunc(lists, func(a, b Segment) int { return a.ID.Compare(b.ID) })
				return lists, err
			})
		},
	},
	{
		name:    RowsActivations,
		expires: "when it expired",
		wants:   func(w, other *Want) { w.Activation = w.Activation || other.Activation },
		asks:    func(w *Want) bool { return w.Activation },
		clone:   func(*State) {},
		apply: func(s *State, change *Change) {
			if activation, set := change.Activation.Get(); set {
				s.Activation = activation
			}
		},
		merge: func(c, next *Change) {
			if !next.Activation.IsZero() {
				c.Activation = next.Activation
			}
		},
		read: func(ctx context.Context, store Store, user UserID) iter.Seq2[any, error] {
			return each(func() ([]Activation, error) {
				states, err := store.Load(ctx, []Want{{User: user, Activation: true}})
				if err != nil || states[0].Activation.IsZero() {
					return nil, err
				}
				return []Activation{states[0].Activation}, nil
			})
		},
	},
	recordsOf(RowsConnections, connectionID,
		func(c *Change) *Records[Connection, ConnectionID] { return &c.Connections },
		func(s *State) *[]Connection { return &s.Connections },
		recordKind{
			expires: "when it was over",
			wants:   func(w, other *Want) { w.Connections = append(w.Connections, other.Connections...) },
			asks:    func(w *Want) bool { return len(w.Connections) > 0 },
			read: func(ctx context.Context, store Store, user UserID) iter.Seq2[any, error] {
				return walkList(connectionFields, "started_at", func(list ListRange) ([]Connection, error) {
					return store.Connections(ctx, ConnectionFilter{UserID: user}, list)
				})
			},
		}),
	{
		name:  RowsPushMails,
		kept:  "they are in use, and end by RevokePushMail",
		wants: func(w, other *Want) { w.PushMail = w.PushMail || other.PushMail },
		asks:  func(w *Want) bool { return w.PushMail },
		clone: func(*State) {},
		apply: func(s *State, change *Change) {
			if pushMail, set := change.PushMail.Get(); set {
				s.PushMail = pushMail
			}
		},
		merge: func(c, next *Change) {
			if !next.PushMail.IsZero() {
				c.PushMail = next.PushMail
			}
		},
		read: func(ctx context.Context, store Store, user UserID) iter.Seq2[any, error] {
			return each(func() ([]PushMail, error) {
				states, err := store.Load(ctx, []Want{{User: user, PushMail: true}})
				if err != nil || states[0].PushMail.IsZero() {
					return nil, err
				}
				return []PushMail{states[0].PushMail}, nil
			})
		},
	},
	{
		// A state holds no events but the ids of those that a want names.
		name:    RowsEvents,
		expires: "when it happened",
		wants: func(w, other *Want) {
			w.Events = append(w.Events, other.Events...)
			w.Marks = append(slices.Clip(w.Marks), other.Marks...)
		},
		asks:  func(w *Want) bool { return len(w.Events)+len(w.Marks) > 0 },
		clone: func(*State) {},
		apply: func(*State, *Change) {},
		merge: func(c, next *Change) { c.Events = append(c.Events, next.Events...) },
		read: func(ctx context.Context, store Store, user UserID) iter.Seq2[any, error] {
			events := func(filter EventFilter) iter.Seq2[any, error] {
				return walkList(eventFields, "at", func(list ListRange) ([]Event, error) { return store.Events(ctx, filter, list) })
			}
			return inOrder(events(EventFilter{UserID: user}), events(EventFilter{Naming: user}), func(a, b any) int {
				one, other := a.(Event), b.(Event)
				return cmp.Or(one.At.Compare(other.At), one.ID.Compare(other.ID))
			})
		},
	},
}

// recordsOf completes a kind whose changes are Records.
func recordsOf[T any, I comparable](name string, id func(*T) I, changes func(*Change) *Records[T, I], loaded func(*State) *[]T, kind recordKind) recordKind {
	kind.name = name
	kind.clone = func(s *State) { *loaded(s) = slices.Clone(*loaded(s)) }
	kind.apply = func(s *State, change *Change) { *loaded(s) = changes(change).apply(*loaded(s), id) }
	kind.merge = func(c, next *Change) { changes(c).merge(changes(next), id) }
	return kind
}

// Records are records to insert, to replace completely and to delete. Each id appears only once.
//
// For writers of stores.
type Records[T any, I comparable] struct {
	Insert []T
	Update []T
	Delete []I
}

// Empty reports whether there are no records.
func (r *Records[T, I]) Empty() bool {
	return len(r.Insert) == 0 && len(r.Update) == 0 && len(r.Delete) == 0
}

// merge adds what comes after r.
func (r *Records[T, I]) merge(next *Records[T, I], id func(*T) I) {
	r.Insert = append(r.Insert, next.Insert...)
	for _, record := range next.Update {
		switch at := indexID(r.Insert, id(&record), id); {
		case at >= 0:
			r.Insert[at] = record
		default:
			if at := indexID(r.Update, id(&record), id); at >= 0 {
				r.Update[at] = record
			} else {
				r.Update = append(r.Update, record)
			}
		}
	}
	for _, gone := range next.Delete {
		if at := indexID(r.Insert, gone, id); at >= 0 {
			r.Insert = slices.Delete(r.Insert, at, at+1)
			continue
		}
		if at := indexID(r.Update, gone, id); at >= 0 {
			r.Update = slices.Delete(r.Update, at, at+1)
		}
		r.Delete = append(r.Delete, gone)
	}
}

// apply makes the changes to records that are loaded.
func (r *Records[T, I]) apply(records []T, id func(*T) I) []T {
	records = append(records, r.Insert...)
	for _, record := range r.Update {
		if at := indexID(records, id(&record), id); at >= 0 {
			records[at] = record
		} else {
			records = append(records, record)
		}
	}
	for _, gone := range r.Delete {
		if at := indexID(records, gone, id); at >= 0 {
			records = slices.Delete(records, at, at+1)
		}
	}
	return records
}

func indexID[T any, I comparable](records []T, wanted I, id func(*T) I) int {
	return slices.IndexFunc(records, func(record T) bool { return id(&record) == wanted })
}

func deviceRecordID(d *DeviceRecord) DeviceID    { return d.ID }
func sessionID(s *Session) SessionID             { return s.ID }
func purchaseID(p *Purchase) PurchaseID          { return p.ID }
func connectionID(c *Connection) ConnectionID    { return c.ID }
func messageID(m *Message) MessageID             { return m.ID }
func deliveryID(d *Delivery) DeliveryID          { return d.ID }
func transactionID(t *Transaction) TransactionID { return t.ID }

// each yields what one read returns.
func each[T any](read func() ([]T, error)) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		items, err := read()
		if err != nil {
			yield(nil, err)
			return
		}
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
	}
}

// inOrder yields what two sequences in the same order yield, in that order, up to an
// error of either.
func inOrder(a, b iter.Seq2[any, error], compare func(a, b any) int) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		next, stop := iter.Pull2(b)
		defer stop()
		second, failed, more := next()
		for first, err := range a {
			for more && (failed != nil || err == nil && compare(second, first) < 0) {
				if !yield(second, failed) || failed != nil {
					return
				}
				second, failed, more = next()
			}
			if !yield(first, err) {
				return
			}
		}
		for ; more; second, failed, more = next() {
			if !yield(second, failed) {
				return
			}
		}
	}
}

// walkList yields a list of a store in the order of a field, page by page.
func walkList[T any](table *fieldTable[T], order string, read func(ListRange) ([]T, error)) iter.Seq2[any, error] {
	field := table.byName[order]
	return func(yield func(any, error) bool) {
		list := ListRange{Order: Order{Field: order}, Limit: MaxPageLimit}
		for {
			items, err := read(list)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if len(items) < list.Limit {
				return
			}
			last := &items[len(items)-1]
			list.After = &ListPosition{Key: field.Key(last), ID: table.id(last)}
		}
	}
}

func (m *manager) UserRecords(ctx context.Context, id UserID) iter.Seq2[UserRecord, error] {
	return sequence(ctx, m, opUserRecords, id, func(ctx context.Context, _ call) iter.Seq2[UserRecord, error] {
		return m.userRecords(ctx, id)
	})
}

func (m *manager) userRecords(ctx context.Context, id UserID) iter.Seq2[UserRecord, error] {
	return func(yield func(UserRecord, error) bool) {
		user, err := m.store.User(ctx, id)
		if err != nil {
			yield(UserRecord{}, err)
			return
		}
		if !yield(UserRecord{RecordUser, user}, nil) {
			return
		}
		for _, kind := range recordKinds {
			for value, err := range kind.read(ctx, m.store, id) {
				if err != nil {
					yield(UserRecord{}, err)
					return
				}
				if !yield(UserRecord{kind.name, value}, nil) {
					return
				}
			}
		}
	}
}
