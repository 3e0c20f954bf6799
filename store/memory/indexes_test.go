//go:build !race

package memory

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// One goroutine writes here, so the race detector has nothing to see.

// writer makes random changes of everything that a user has, from a few values,
// so that records move in their indexes and meet values that are taken.
type writer struct {
	random   *rand.Rand
	users    []userkit.User
	segments []userkit.SegmentID
	count    int
}

func (w *writer) device() userkit.DeviceRecord {
	record := userkit.DeviceRecord{Device: userkit.Device{
		ID:           userkit.NewID[userkit.Device](),
		Type:         userkit.DeviceIOS,
		RegisteredAt: minute(w.random.IntN(10)),
	}}
	record.TokenDigest[0], record.TokenDigest[1] = byte(w.count), byte(w.count>>8)
	if w.random.IntN(2) == 0 {
		record.SealedToken = []byte{1}
	}
	return record
}

func (w *writer) session() userkit.Session {
	session := userkit.Session{
		ID:         userkit.NewID[userkit.Session](),
		StartedAt:  minute(w.random.IntN(10)),
		ReportedAt: minute(w.random.IntN(10)),
	}
	if w.random.IntN(2) == 0 {
		session.EndedAt = minute(20)
	}
	return session
}

func (w *writer) purchase() userkit.Purchase {
	purchase := userkit.Purchase{
		ID:           userkit.NewID[userkit.Purchase](),
		Store:        []string{"apple", "google"}[w.random.IntN(2)],
		StableID:     fmt.Sprint(w.random.IntN(200)),
		PurchasedAt:  minute(w.random.IntN(10)),
		FamilyShared: w.random.IntN(4) == 0,
	}
	if w.random.IntN(2) == 0 {
		purchase.DueAt = minute(w.random.IntN(10))
	}
	return purchase
}

func (w *writer) transaction() userkit.Transaction {
	return userkit.Transaction{
		ID:       userkit.NewID[userkit.Transaction](),
		Sequence: int64(w.count),
		Kind:     userkit.TransactionRefill,
		Amount:   userkit.Money{Amount: 1, Currency: "EUR"},
		Balance:  userkit.Money{Amount: 1, Currency: "EUR"},
		Key:      fmt.Sprint(w.random.IntN(1000)),
		At:       minute(w.random.IntN(10)),
	}
}

// vary writes to a change what happens to records of one kind.
func vary[T any, I comparable](w *writer, records *userkit.Records[T, I], held []T, id func(T) I, fresh func() T, keep func(next *T, before T)) {
	for _, record := range held {
		switch w.random.IntN(6) {
		case 0:
			records.Delete = append(records.Delete, id(record))
		case 1, 2:
			next := fresh()
			keep(&next, record)
			records.Update = append(records.Update, next)
		}
	}
	for range w.random.IntN(3) {
		w.count++
		records.Insert = append(records.Insert, fresh())
	}
}

func (w *writer) change(t *testing.T, s *Store) userkit.Change {
	w.count++
	n := w.random.IntN(len(w.users))
	user := w.users[n]
	events := []userkit.Event{{ID: userkit.NewID[userkit.Event](), At: minute(w.random.IntN(10)), Name: "happened"}}
	states, err := s.Load(context.Background(), []userkit.Want{{User: user.ID, AllDevices: true, OpenSessions: true, Purchases: true, Profile: true}})
	require.NoError(t, err)
	state := states[0]
	if !state.Exists {
		change := creationOf(user)
		change.Events = events
		return change
	}
	change := userkit.Change{User: user.ID, Version: state.User.Version, Account: state.User.Account, Events: events}
	change.Account.Version++
	if w.random.IntN(20) == 0 {
		change.Delete = true
		return change
	}
	if w.random.IntN(2) == 0 {
		other := newUser(w.random.IntN(len(w.users)))
		profile := state.User
		switch w.random.IntN(5) {
		case 0:
			profile.Login, profile.Status = other.Login, userkit.StatusDisabled
		case 1:
			profile.Name = other.Name
		case 2:
			profile.Email, profile.Status = other.Email, userkit.StatusActive
		case 3:
			profile.ExtRef = ""
		case 4:
			profile.RegisteredAt, profile.ExtRef = other.RegisteredAt, other.ExtRef
		}
		change.Profile = &profile
	}
	for _, id := range w.segments {
		switch w.random.IntN(5) {
		case 0:
			change.AddSegments = append(change.AddSegments, id)
		case 1:
			change.RemoveSegments = append(change.RemoveSegments, id)
		}
	}
	vary(w, &change.Devices, state.Devices, func(d userkit.DeviceRecord) userkit.DeviceID { return d.ID }, w.device,
		func(next *userkit.DeviceRecord, before userkit.DeviceRecord) {
			next.ID = before.ID
			if w.random.IntN(2) == 0 {
				next.TokenDigest = before.TokenDigest
			}
		})
	vary(w, &change.Sessions, state.Sessions, func(s userkit.Session) userkit.SessionID { return s.ID }, w.session,
		func(next *userkit.Session, before userkit.Session) { next.ID = before.ID })
	if w.random.IntN(3) == 0 {
		vary(w, &change.Purchases, state.Purchases, func(p userkit.Purchase) userkit.PurchaseID { return p.ID }, w.purchase,
			func(next *userkit.Purchase, before userkit.Purchase) {
				next.ID = before.ID
				if w.random.IntN(2) == 0 {
					next.StableID, next.Store, next.FamilyShared = before.StableID, before.Store, before.FamilyShared
				}
			})
	}
	page, err := s.Transactions(context.Background(), userkit.TransactionFilter{UserID: user.ID},
		userkit.ListRange{Order: userkit.Order{Field: "at", Descending: true}, Limit: 3})
	require.NoError(t, err)
	vary(w, &change.Transactions, page, func(t userkit.Transaction) userkit.TransactionID { return t.ID }, w.transaction,
		func(next *userkit.Transaction, before userkit.Transaction) { next.ID = before.ID })
	return change
}

// changeTogether makes random changes of a few users, all or none, and reports
// whether they were made.
func (w *writer) changeTogether(t *testing.T, s *Store) bool {
	var changes []userkit.Change
	for range 3 {
		next := w.change(t, s)
		if !slices.ContainsFunc(changes, func(c userkit.Change) bool { return c.User == next.User }) {
			changes = append(changes, next)
		}
	}
	before := s.events.commits
	if err := s.CommitTogether(context.Background(), changes); err != nil {
		require.Equal(t, before, s.events.commits)
		return false
	}
	require.Equal(t, before+int64(len(changes)), s.events.commits)
	return true
}

// changeSegment makes a random change of one of the segments, some of which are
// there.
func (w *writer) changeSegment(t *testing.T, s *Store) error {
	id := w.segments[w.random.IntN(len(w.segments))]
	found, err := s.FindSegments(context.Background(), []userkit.SegmentID{id}, nil)
	require.NoError(t, err)
	change := userkit.SegmentChange{ID: id, Event: userkit.Event{ID: userkit.NewID[userkit.Event](), At: noon}}
	change.Segment = userkit.Segment{Name: fmt.Sprint("Name ", w.random.IntN(2*len(w.segments))), Revision: 1}
	if len(found) > 0 {
		change.Was = found[0].Revision
		change.Segment.Revision = found[0].Revision + 1
		change.Delete = w.random.IntN(3) == 0
	}
	if w.random.IntN(2) == 0 {
		change.Members = userkit.Set(userkit.UserSelection{WithoutDisabled: true, Moment: userkit.Moment{At: noon}})
	}
	_, err = s.CommitSegment(context.Background(), change)
	return err
}

// After any changes, whether they are made or refused, every index holds what
// is there and nothing else.
func TestIndexesStayClean(t *testing.T) {
	s := New()
	w := &writer{random: rand.New(rand.NewPCG(3, 4))}
	for n := range 30 {
		w.users = append(w.users, newUser(n))
	}
	for range 3 {
		w.segments = append(w.segments, userkit.NewID[userkit.Segment]())
	}
	made, refused, missing, leases, together := 0, 0, 0, 0, 0
	for turn := range 4000 {
		if turn%5 == 0 {
			if err := w.changeSegment(t, s); err != nil {
				require.Equal(t, userkit.CodeSegmentNameTaken, userkit.ErrorCode(err))
			}
		}
		if turn%7 == 0 {
			now := minute(w.random.IntN(10))
			leased, err := s.LeasePurchases(context.Background(), []string{"google", "apple"}, now, now.Add(3*time.Minute), 5)
			require.NoError(t, err)
			leases += len(leased)
		}
		if turn%11 == 0 {
			if w.changeTogether(t, s) {
				together++
			}
		}
		before := s.events.commits
		outcomes, err := s.Commit(context.Background(), []userkit.Change{w.change(t, s)})
		require.NoError(t, err)
		if outcomes[0] == nil {
			made++
			require.Equal(t, before+1, s.events.commits)
		} else {
			require.Equal(t, before, s.events.commits)
			if userkit.ErrorCode(outcomes[0]) == userkit.CodeSegmentNotFound {
				missing++
			} else {
				refused++
				require.ErrorIs(t, outcomes[0], userkit.ErrExists)
			}
		}
		if turn%50 == 0 {
			requireIndexes(t, s)
		}
	}
	requireIndexes(t, s)
	require.Greater(t, made, 1000)
	require.Greater(t, refused, 100)
	require.Greater(t, missing, 100)
	require.Greater(t, leases, 100)
	require.Greater(t, together, 10)

	// In the end all are deleted, and nothing is left but what their deletion wrote.
	for _, user := range w.users {
		if found, err := s.User(context.Background(), user.ID); err == nil {
			commitAll(t, s, userkit.Change{User: user.ID, Version: found.Version, Delete: true, Events: []userkit.Event{
				{ID: userkit.NewID[userkit.Event](), Name: userkit.EventUserDeleted},
			}})
		}
	}
	requireIndexes(t, s)
	require.Zero(t, s.users.byID.len())
	require.Empty(t, s.devices.byID)
	require.Empty(t, s.sessions.byID)
	require.Empty(t, s.purchases.byID)
	require.Zero(t, s.transactions.byID.len())
	require.Len(t, s.users.erased, len(w.users))
	deletions := 0
	for event := range s.events.byID.each {
		if !event.user.IsZero() {
			deletions++
		}
	}
	require.Equal(t, len(w.users), deletions)
	for _, segment := range s.segments.byID {
		require.Zero(t, segment.members.Len())
	}
	require.Len(t, s.users.table.free, int(s.users.table.next))
}
