package userkit

import (
	"context"
	"slices"
	"time"
)

// Store keeps the records of one project. It decides nothing: it loads what a command asks for,
// commits changes atomically, and lists records.
//
// Only writers of stores and of tests need this interface; the package store/storetest tests
// implementations. The following holds for every method:
//
//   - Missing records: a read of one record that does not exist returns ErrNotFound with the code
//     of its kind. A list without records is empty, not an error.
//   - Copies: arguments and results belong to the caller; modifying them changes nothing in the
//     store.
//   - Times are passed and returned in UTC, to the microsecond. The zero time means none and is
//     returned as the zero time.
//   - Text compares by SortKey for fields of KindText, otherwise byte by byte, and never by a
//     database's collation.
//   - Order: a list is ordered by the key of the field (see Field.Key), then by
//     id, both descending for a descending order.
//   - After Close every method returns ErrUnavailable with CodeClosed.
//   - If the context is cancelled, the method returns the context's error, wrapped or not, and a
//     change that was interrupted has been made completely or not at all.
//   - Every method may be called by many goroutines at once.
//   - A store that cannot be reached returns ErrUnavailable with
//     CodeStoreUnavailable and the cause.
//
// For writers of stores.
type Store interface {
	// Load returns a state for every want, in the order of the wants. The account is read before
	// the records that depend on it, or at the same moment, so that a change in between makes the
	// commit conflict. No two wants are for the same user.
	Load(ctx context.Context, wants []Want) ([]State, error)

	// Commit makes changes, each atomically and independently of the others, and returns an outcome
	// for each in their order:
	//
	//   - nil: the change is durable,
	//   - ErrConflict: the user's version is not Change.Version, or the user is
	//     gone; nothing of this change was written,
	//   - ErrExists with the code and field of the unique value (login, email,
	//     extref, login_skeleton, whose field is login, access_token, push_token, stable_id of a purchase,
	//     id): nothing of this change was written, and the other changes are not affected. The LoginEmailKey of a user's login and the
	//     EmailKey of another's email address are unique together: see Taken.
	//
	// If an error is returned for the call as a whole, it is unknown which of the changes were
	// made, if any. No two changes are of the same user. If two changes of one call set the same
	// unique value, one of them succeeds; it is not defined which.
	Commit(ctx context.Context, changes []Change) ([]error, error)

	// CommitTogether makes changes of several users, all of them or none. It returns nil, the
	// outcome of the change that failed (see Commit), or an error after which it is unknown whether
	// the changes were made.
	CommitTogether(ctx context.Context, changes []Change) error

	// User returns one user.
	User(ctx context.Context, id UserID) (User, error)
	// FindUser returns the user whose field key.Field has the value key.Value.
	FindUser(ctx context.Context, key UserKey) (User, error)
	// FindUsers returns the users whose field has one of the values, in no order,
	// each once. field is that of a UserKey, and the values are those of UserKey.Value,
	// or field is login_skeleton, and the values are those of User.LoginSkeleton, or field is
	// email_holder, and the values are those that the EmailKey or the LoginEmailKey of a user
	// has; they are at most MaxImport, and none is empty.
	FindUsers(ctx context.Context, field string, values []string) ([]User, error)
	// Users lists users by any sortable field of UserFields. The selection has the meaning that
	// MatchUsers defines. The same holds for the next two methods.
	Users(ctx context.Context, selection UserSelection, list ListRange) ([]User, error)
	// CountUsers counts the users of a selection.
	CountUsers(ctx context.Context, selection UserSelection) (int64, error)
	// UserIDs lists, in order, the ids of the users of a selection after the given id.
	UserIDs(ctx context.Context, selection UserSelection, after UserID, limit int) ([]UserID, error)
	// UserNames returns the User.DisplayName of those of at most MaxPageLimit users, each given
	// once, that a selection has.
	UserNames(ctx context.Context, selection UserSelection, ids []UserID) (map[UserID]string, error)

	// Segments lists segments by any sortable field of SegmentFields. Search of the
	// filter is folded.
	Segments(ctx context.Context, filter SegmentFilter, list ListRange) ([]Segment, error)
	// CountSegments counts the segments of a filter, which is as that of Segments.
	CountSegments(ctx context.Context, filter SegmentFilter) (int64, error)
	// FindSegments returns the segments that have one of the ids or one of the
	// names, as SegmentNameKey has them, in no order, each once.
	FindSegments(ctx context.Context, ids []SegmentID, names []string) ([]Segment, error)
	// CommitSegment makes a change atomically, and returns the number of memberships that it made
	// or deleted. Its errors are ErrConflict when the segment's revision is not Was or the segment
	// is gone, ErrExists with CodeSegmentNameTaken or CodeIDTaken, or one after which it is unknown
	// whether the change was made.
	CommitSegment(ctx context.Context, change SegmentChange) (int64, error)

	// Device returns one device.
	Device(ctx context.Context, id DeviceID) (Device, error)
	// DeviceByToken returns the device with this token digest, with its user and
	// its rank: how many of the user's devices come before it by registered_at,
	// then id. An unknown digest is ErrNotFound with CodeDeviceNotFound.
	DeviceByToken(ctx context.Context, digest TokenDigest) (device Device, user User, rank int, err error)
	// DeviceByPushToken returns the device with a push token, which is not empty.
	DeviceByPushToken(ctx context.Context, token string) (Device, error)
	// Devices lists devices by any sortable field of DeviceFields.
	Devices(ctx context.Context, filter DeviceFilter, list ListRange) ([]Device, error)
	// CountDevices counts the devices of a filter, which is as that of Devices.
	CountDevices(ctx context.Context, filter DeviceFilter) (int64, error)
	// Locations lists the devices that have a location (its At is set) by place (see
	// LocationFields); those of Box, where it is set, are in Box.Places and Box.Contains
	// their location.
	Locations(ctx context.Context, filter LocationFilter, list ListRange) ([]Device, error)
	// SealedDevices lists, in order of id, devices after the given id whose
	// SealedToken is not empty.
	SealedDevices(ctx context.Context, after DeviceID, limit int) ([]DeviceRecord, error)

	// Session returns one session.
	Session(ctx context.Context, id SessionID) (Session, error)
	// SessionOwners returns the users of sessions; unknown sessions are left out.
	SessionOwners(ctx context.Context, ids []SessionID) (map[SessionID]UserID, error)
	// Sessions lists sessions by any sortable field of SessionFields. The times of the
	// filter are used as they are: zero means no bound.
	Sessions(ctx context.Context, filter SessionFilter, list ListRange) ([]Session, error)
	// CountSessions counts the sessions of a filter, which is as that of Sessions.
	CountSessions(ctx context.Context, filter SessionFilter) (int64, error)
	// StaleSessions returns, in no order, at most limit active sessions whose
	// ReportedAt is before the given time.
	StaleSessions(ctx context.Context, before time.Time, limit int) ([]Session, error)
	// Usage lists the use of a user per day, in order, from and to included. An
	// unknown user has none. The zero id stands for all users together, without
	// UsageBefore; sums end at the largest int64. The sums need not be of one moment.
	Usage(ctx context.Context, user UserID, from, to Day) ([]DayUsage, error)

	// Purchase returns one purchase.
	Purchase(ctx context.Context, id PurchaseID) (Purchase, error)
	// FindPurchases returns the purchases with a stable id, of which there is at most one. If there
	// is none, that is not an error.
	FindPurchases(ctx context.Context, store, stableID string) ([]Purchase, error)
	// Purchases lists purchases by any sortable field of PurchaseFields.
	Purchases(ctx context.Context, filter PurchaseFilter, list ListRange) ([]Purchase, error)
	// CountPurchases counts the purchases of a filter, which is as that of Purchases.
	CountPurchases(ctx context.Context, filter PurchaseFilter) (int64, error)
	// LeasePurchases returns, in the order of their stores and DueAt, purchases that are
	// due (DueAt is set and not after now) and not leased (LeasedUntil is not after now),
	// of each of the given stores at most limit, and sets their LeasedUntil to until, in
	// one step: no purchase is returned to two callers. No store is given twice. It raises
	// no version, since a lease decides nothing.
	LeasePurchases(ctx context.Context, stores []string, now, until time.Time, limit int) ([]Purchase, error)

	// Connection returns one connection.
	Connection(ctx context.Context, id ConnectionID) (Connection, error)
	// Connections lists connections by started_at. If OpenAt is set, it lists only those that have
	// not ended and expire after it.
	Connections(ctx context.Context, filter ConnectionFilter, list ListRange) ([]Connection, error)
	// CountConnections counts the connections of a filter, which is as that of Connections.
	CountConnections(ctx context.Context, filter ConnectionFilter) (int64, error)
	// Message returns one message.
	Message(ctx context.Context, id MessageID) (Message, error)
	// Messages lists messages by any sortable field of MessageFields. Now of the filter is
	// set where OnlyUnread is.
	Messages(ctx context.Context, filter MessageFilter, list ListRange) ([]Message, error)
	// CountMessages counts the messages of a filter, which is as that of Messages.
	CountMessages(ctx context.Context, filter MessageFilter) (int64, error)
	// Deliveries lists deliveries by any sortable field of DeliveryFields.
	Deliveries(ctx context.Context, filter DeliveryFilter, list ListRange) ([]Delivery, error)
	// CountDeliveries counts the deliveries of a filter, which is as that of Deliveries.
	CountDeliveries(ctx context.Context, filter DeliveryFilter) (int64, error)
	// LeaseDeliveries does with deliveries what LeasePurchases does with purchases, by the
	// types of their devices.
	LeaseDeliveries(ctx context.Context, devices []DeviceType, now, until time.Time, limit int) ([]Delivery, error)

	// Transactions lists transactions by a field of TransactionFields.
	Transactions(ctx context.Context, filter TransactionFilter, list ListRange) ([]Transaction, error)
	// CountTransactions counts the transactions of a filter, which is as that of Transactions.
	CountTransactions(ctx context.Context, filter TransactionFilter) (int64, error)
	// Ledgers sums up, in order of user id, the ledgers of users after the given
	// id. Each is of one moment.
	Ledgers(ctx context.Context, after UserID, limit int) ([]Ledger, error)

	// Events lists events by a field of EventFields.
	Events(ctx context.Context, filter EventFilter, list ListRange) ([]Event, error)
	// CountEvents counts the events of a filter, which is as that of Events.
	CountEvents(ctx context.Context, filter EventFilter) (int64, error)
	// CommitEvent records an event of no user; its UserID is zero. Its errors are ErrExists with
	// CodeIDTaken, or an error after which it is unknown whether the event was recorded.
	CommitEvent(ctx context.Context, event Event) error
	// Feed lists events after a position in the order of positions, each with its FeedPosition. It
	// lists an event only when no event can appear before it any more. A position whose Feed is set
	// and is not the store's is ErrInvalid with CodeCursorMismatch.
	//
	// A position that is not zero, and after which an event was deleted by DeleteExpired,
	// is ErrConflict with CodeCursorExpired.
	Feed(ctx context.Context, after FeedPosition, limit int) ([]FeedEvent, error)

	// EventNames returns, in order, the Retainable names of the events that are recorded.
	EventNames(ctx context.Context) ([]EventName, error)

	// Now returns the time by the clock of the store, which is independent of WithClock: that of the
	// database server, or of the process if the store is in it.
	Now(ctx context.Context) (time.Time, error)
	// CountExpired counts the records of an expiry.
	CountExpired(ctx context.Context, expiry Expiry) (int64, error)
	// DeleteExpired deletes at most limit of the records of an expiry, in one step, and returns
	// their number. It may skip those of a user that is being changed, and returns 0 only if it
	// finds no others. It increments the versions of the users of all records except days and
	// events. Days are added to UsageBefore, up to the largest int64.
	DeleteExpired(ctx context.Context, expiry Expiry, limit int) (int64, error)
	// LeaseDuty takes a lease on a duty until a moment, and reports whether it did. It does not
	// while another lease on it ends after now.
	LeaseDuty(ctx context.Context, duty string, now, until time.Time) (bool, error)

	// Close ends the store. It is safe to call more than once.
	Close() error
}

// FeedPosition is the place of an event in the feed. Positions of one feed order by
// Commit, then by Event; the zero position is before all.
//
// For writers of stores.
type FeedPosition struct {
	// Feed distinguishes the feeds of different stores. It is a random value, made when the store,
	// or the project in a database, was created. Zero: any feed.
	Feed   [16]byte
	Commit int64 // grows with the commits, as the store counts them
	Event  EventID
}

// FeedEvent is an event with its place in the feed.
//
// For writers of stores.
type FeedEvent struct {
	Event    Event
	Position FeedPosition
}

// Want says which records of one user a command needs. The account is always loaded.
//
// For writers of stores.
type Want struct {
	User    UserID
	Profile bool // the whole user; without it only ID and Account are set

	Devices     []DeviceID // these, where they belong to the user
	HardwareIDs []string   // the devices with these hardware ids; none is empty
	AllDevices  bool

	Sessions     []SessionID // these, where they belong to the user
	OpenSessions bool        // all that have not ended

	Messages    []MessageID // these, where they belong to the user
	MessageKeys []string    // those with these keys; none is empty

	Deliveries []DeliveryID // these, where they belong to the user

	Transactions    []TransactionID // these, where they belong to the user
	TransactionKeys []string        // those with these idempotency keys

	UsageFrom Optional[Day] // the use per day from this day on

	Purchases   bool           // all of the user's
	Activation  bool           // the one that is open
	Connections []ConnectionID // these, where they are to the user
	Segments    bool           // which lists the user is in
	PushMail    bool           // the push mail address

	Events    []EventID // which of these are recorded of the user
	Marks     []EventID // which of these are recorded, whoever's they are
	RowCounts bool      // how many records of each kind the user has
}

// merge returns what either of two wants asks for.
func (w Want) merge(other Want) Want {
	w.Profile = w.Profile || other.Profile
	w.RowCounts = w.RowCounts || other.RowCounts
	for i := range recordKinds {
		recordKinds[i].wants(&w, &other)
	}
	return w
}

// State contains the records of one user at one version that a Want asked for. Records that do not
// exist are omitted; each record appears once, in no order, however often the want named it.
//
// For writers of stores.
type State struct {
	Exists bool // whether there is such a user; when not, only Events and Marks may be set
	User   User // only ID and Account without Want.Profile

	Devices      []DeviceRecord
	Sessions     []Session
	Transactions []Transaction
	Purchases    []Purchase
	Messages     []Message
	Deliveries   []Delivery
	Usage        []DayUsage  // in order of days
	Segments     []SegmentID // the lists that the user is in
	Activation   Activation  // the one that is open; zero: none
	Connections  []Connection
	Events       []EventID // those of Want.Events that are recorded, also of a user who was deleted
	Marks        []EventID // those of Want.Marks that are recorded
	PushMail     PushMail  // zero: none
	RowCounts    map[string]int

	complete completeness
	base     int64 // the version that is being decided from
}

// loadedBy notes which kinds of record a want has loaded completely.
func (s *State) loadedBy(want *Want) {
	s.complete = completeness{devices: want.AllDevices, openSessions: want.OpenSessions, marks: want.Marks, usageFrom: want.UsageFrom}
}

// of makes the state that of a user, to be decided from the version that it has.
func (s *State) of(user UserID) {
	s.User.ID = user
	s.base = s.User.Version
}

// completeness says which kinds of record are loaded whole.
type completeness struct {
	devices      bool // all of the user's
	openSessions bool
	marks        []EventID // that were asked for
	usageFrom    Optional[Day]
}

// apply applies a change to the state, for the commands that follow in the batch. No command
// follows a deletion, and a deletion, which is the only one to ask for RowCounts, follows no other
// command.
func (s *State) apply(change Change) {
	s.Exists = true
	if change.Profile != nil {
		s.User = *change.Profile
	}
	s.User.Account = change.Account
	for i := range recordKinds {
		recordKinds[i].apply(s, &change)
	}
}

// clone copies a state, so that changes can be applied to the copy.
func (s *State) clone() State {
	c := *s
	for i := range recordKinds {
		recordKinds[i].clone(&c)
	}
	return c
}

// change begins a change of this user: the account as it is, to be altered.
func (s *State) change() Change {
	c := Change{User: s.User.ID, Version: s.base, Account: s.User.Account}
	c.Account.Version = s.base + 1
	return c
}

// Change is an atomic change of one user and of the records that belong to it. Every change sets
// the account, with the next version. All records in it belong to this user; others are not
// written.
//
// For writers of stores.
type Change struct {
	User UserID

	// Version is the version that the change was decided from; 0 creates the
	// user, with Profile and Account.
	Version int64
	Account Account // all of it; Account.Version is Version+1

	// Profile is the new profile of the user; nil: the profile is unchanged. Its Account is not
	// used.
	Profile *User

	// Delete deletes the user and every record of it, events included, before
	// Events are written. Nothing else of the change is used then. References to the user in
	// records of others are removed as well: the actors of events and transactions become
	// Actor.Without the user, and an event that mentions it loses Data and the mention. The version
	// of a user who has such a transaction is incremented.
	Delete bool

	Devices      Records[DeviceRecord, DeviceID]
	Sessions     Records[Session, SessionID]
	Transactions Records[Transaction, TransactionID]
	// A stable id of a store is that of one purchase, of one user.
	Purchases Records[Purchase, PurchaseID]
	// A key of a message that is not empty is that of one message of the user.
	Messages   Records[Message, MessageID]
	Deliveries Records[Delivery, DeliveryID]
	Usage      []DayUsage // is added to the days' figures, which stop at the largest int64; a day appears once
	Events     []Event    // to insert

	// AddSegments and RemoveSegments are memberships to make and to delete; no
	// segment is in both. Adding a membership that exists and removing one that does not exist have
	// no effect. If a segment to add does not exist, the outcome is ErrNotFound with
	// CodeSegmentNotFound.
	AddSegments    []SegmentID
	RemoveSegments []SegmentID

	Connections Records[Connection, ConnectionID]

	// Activation, when set, takes the place of the user's activation, of which there is
	// one at most; the zero Activation leaves none.
	Activation Optional[Activation]

	// PushMail, when set, takes the place of the user's push mail, of which there is one at
	// most; the zero PushMail leaves none.
	PushMail Optional[PushMail]
}

// SegmentChange is an atomic change of one segment.
//
// For writers of stores.
type SegmentChange struct {
	ID  SegmentID
	Was int64 // the revision that the change was decided from; 0 creates the segment

	Segment Segment // as it becomes; not used by Delete
	Delete  bool    // delete the segment and its memberships

	// Members, when set, adds the users who match it as members, atomically with the rest of the
	// change. Existing members stay members.
	Members Optional[UserSelection]

	Event Event // of no user: its UserID is zero
}

// writes reports whether there is anything to commit.
func (c Change) writes() bool { return !c.User.IsZero() }

// merge adds what a later change of the same user does.
func (c *Change) merge(next Change) {
	if !c.writes() {
		*c = next
		return
	}
	c.User = next.User
	c.Account = next.Account
	if next.Profile != nil {
		c.Profile = next.Profile
	}
	later := next // here, so that a change that comes alone is not moved to the heap
	for i := range recordKinds {
		recordKinds[i].merge(c, &later)
	}
}

// mergeSegments returns the memberships to insert and to delete after a further change; for each
// segment the last one counts.
func mergeSegments(add, remove []SegmentID, next *Change) (merged, gone []SegmentID) {
	if len(next.AddSegments)+len(next.RemoveSegments) == 0 {
		return add, remove
	}
	without := func(ids, others []SegmentID) []SegmentID {
		return slices.DeleteFunc(slices.Clone(ids), func(id SegmentID) bool { return slices.Contains(others, id) })
	}
	return append(without(add, next.RemoveSegments), next.AddSegments...), append(without(remove, next.AddSegments), next.RemoveSegments...)
}
