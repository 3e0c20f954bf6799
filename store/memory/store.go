// Package memory keeps a project's records in the memory of one process: the
// store for a host that needs no database, for examples and for tests. What it
// keeps ends with the process.
//
// Records are immutable; an update puts a new one in the place of the old one.
// One lock guards the indexes. Writers hold it for a few microseconds per
// change; everything else of a commit is made before. A page in the order of an
// index is read under the lock for reading. A list that has to look at many
// records (a filter that leaves most of them out, an order that no index has)
// takes a snapshot, which costs the same for any size, and reads on without the
// lock, so it neither waits for writers nor makes them wait. Deleting a user is
// one step under the lock, however many records it has.
//
// A filter goes by an index where a part of it, without which no user meets it, is
// one that an index answers: an id, a login, name, email or external reference or
// the beginning of one, a segment, a search that is too short for parts. Any other
// filter is matched against all users. Their texts are kept in folded form, so
// matching folds nothing and takes no memory.
//
// The ordered indexes are B-trees of github.com/tidwall/btree. With a million
// records under UUIDv7 keys it was compared with github.com/google/btree and
// github.com/hashicorp/go-memdb. A record that comes in order, as most do, costs
// it 24 ns, and google/btree 120 ns. A write at a random place with a snapshot
// after every thousandth costs it 1.8 µs, google/btree 2.6 µs, and go-memdb, which
// copies the path to the root for every transaction, more than 10 µs. A page of 50
// records from a random place takes 1.6 µs, 2.4 µs and 5.3 µs. To find one record
// by its id takes 0.9 to 2.5 µs in the three and 0.13 µs in a Go map: so lookups of
// one record are maps, accounts are replaced in a table and not in trees, and the
// few records of one user are a sorted slice until they are many.
package memory

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/userkit/userkit"
)

// Store is a userkit.Store in memory. Make one with New.
type Store struct {
	mu     sync.RWMutex
	closed atomic.Bool
	feed   [16]byte          // see userkit.FeedPosition
	duties map[string]micros // until when they are leased

	users        users
	segments     segments
	devices      devices
	sessions     sessions
	purchases    purchases
	messages     messages
	deliveries   deliveries
	transactions transactions
	connections  connections
	events       events
}

var _ userkit.Store = (*Store)(nil)

// New returns an empty store. Many stores in one process have nothing to do with
// one another.
func New() *Store {
	return &Store{
		feed:   userkit.NewID[Store](),
		duties: map[string]micros{},
		users: users{
			numbers: make(map[userkit.UserID]uint32),
			logins:  make(map[string]uint32),
			emails:  make(map[string]uint32),
			erased:  make(map[userkit.UserID]*belongings),
		},
		segments: segments{
			byID:   make(map[userkit.SegmentID]*segment),
			byName: make(map[string]*segment),
		},
		devices: devices{
			byID:    make(map[userkit.DeviceID]*device),
			byToken: make(map[userkit.TokenDigest]*device), byPushToken: make(map[string][]*device),
		},
		sessions: sessions{
			byID:      make(map[userkit.SessionID]*session),
			byNode:    make(map[word]*runs),
			byAddress: make(map[netip.Addr]*set[session, byStart]),
		},
		purchases: purchases{
			byID: make(map[userkit.PurchaseID]*purchase),
		},
		connections: connections{
			byID: make(map[userkit.ConnectionID]*connection),
		},
		messages: messages{
			byID: make(map[userkit.MessageID]*message),
		},
		deliveries: deliveries{
			byID:      make(map[userkit.DeliveryID]*delivery),
			byMessage: make(map[userkit.MessageID]*set[delivery, byDeliveryTime]),
		},
		transactions: transactions{
			byKey:  make(map[entryKey]*transaction),
			naming: make(map[userkit.UserID]*set[transaction, byTransactionID]),
		},
		events: events{naming: make(map[userkit.UserID]*set[event, byTime])},
	}
}

// Close ends the store: every later call returns ErrUnavailable with CodeClosed.
// It never fails, and may be called more than once.
func (s *Store) Close() error {
	// Waiting for the lock lets a commit that has begun come to its end.
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed.Store(true)
	return nil
}

// ready says whether a call may go on.
func (s *Store) ready(ctx context.Context) error {
	if s.closed.Load() {
		return userkit.NewError(userkit.CodeClosed, "", "the store is closed")
	}
	return ctx.Err()
}

// belongings are the records of one user. They are read and changed under the
// store's lock.
type belongings struct {
	devices     set[device, byRegistration]
	events      set[event, byTime]
	sessions    *history                            // nil: none
	purchases   *set[purchase, byPurchaseTime]      // nil: none
	ledger      *ledger                             // nil: none
	connections *set[connection, byConnectionStart] // nil: none
	mailbox     *mailbox                            // nil: none
	deliveries  *set[delivery, byDeliveryTime]      // nil: none

	activation *userkit.Activation // nil: none; never changed, only replaced
	pushMail   *userkit.PushMail   // the same
}
