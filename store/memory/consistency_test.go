package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

var noon = time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC)

func minute(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }

// commitAll makes changes, all of which must succeed.
func commitAll(t *testing.T, s *Store, changes ...userkit.Change) {
	t.Helper()
	outcomes, err := s.Commit(context.Background(), changes)
	require.NoError(t, err)
	for _, outcome := range outcomes {
		require.NoError(t, outcome)
	}
}

func newUser(n int) userkit.User {
	return userkit.User{
		ID:           userkit.NewID[userkit.User](),
		Login:        fmt.Sprintf("Login %d", n),
		Name:         fmt.Sprintf("Name %d", n/2),
		Email:        fmt.Sprintf("%d@Example.org", n),
		ExtRef:       fmt.Sprintf("ref-%d", n),
		Status:       userkit.StatusActive,
		Attributes:   userkit.Attributes{"plan": "basic"},
		RegisteredAt: minute(n / 3),
		Account:      userkit.Account{Version: 1, Balance: userkit.Money{Currency: "EUR"}},
	}
}

func creationOf(user userkit.User) userkit.Change {
	return userkit.Change{User: user.ID, Account: user.Account, Profile: &user}
}

// requireIndexes demands that every index holds exactly the records of now.
func requireIndexes(t *testing.T, s *Store) {
	t.Helper()
	profiles := map[*profile]bool{}
	withExtRef := map[*profile]bool{}
	devices, sealed := map[*device]bool{}, map[*device]bool{}
	open, ended := map[*session]bool{}, map[*session]bool{}
	purchases, due := map[*purchase]bool{}, map[*purchase]bool{}
	transactions := map[*transaction]bool{}
	events := map[*event]bool{}
	disabled := 0
	segments := map[*segment]bool{}

	owners := map[userkit.UserID]*belongings{}
	for id, number := range s.users.numbers {
		user := s.users.table.get(number)
		require.Equal(t, id, user.profile.id)
		require.Equal(t, number, user.profile.number)
		profiles[user.profile] = true
		if user.profile.extRef.length > 0 {
			withExtRef[user.profile] = true
		}
		if user.profile.status == wordDisabled {
			disabled++
		}
		owners[id] = user.own
	}
	rows := 0
	for range s.users.table.each {
		rows++
	}
	require.Equal(t, len(profiles), rows)
	require.EqualValues(t, disabled, s.users.disabled)
	for id, own := range s.users.erased {
		require.NotContains(t, owners, id)
		require.Zero(t, own.devices.len())
		require.Nil(t, own.sessions)
		require.Nil(t, own.purchases)
		require.Nil(t, own.ledger)
		owners[id] = own
	}
	for id, own := range owners {
		if own == nil {
			continue
		}
		for device := range own.devices.each {
			require.Equal(t, id, device.user)
			require.Equal(t, s.users.numbers[id], device.owner)
			devices[device] = true
			if device.sealed != nil {
				sealed[device] = true
			}
		}
		for event := range own.events.each {
			require.Equal(t, id, event.user)
			events[event] = true
		}
		if own.sessions != nil {
			for session := range own.sessions.open.each {
				require.Equal(t, id, session.user)
				open[session] = true
			}
			for session := range own.sessions.ended.each {
				require.Equal(t, id, session.user)
				ended[session] = true
			}
		}
		if own.purchases != nil {
			for purchase := range own.purchases.each {
				require.Equal(t, id, purchase.user)
				purchases[purchase] = true
				if purchase.dueAt != none {
					due[purchase] = true
				}
			}
		}
		if own.ledger != nil {
			lines := map[*transaction]bool{}
			for line := range own.ledger.bySequence.each {
				require.Equal(t, id, line.user)
				require.Same(t, line, s.transactions.byKey[entryKey{own.ledger, line.key}])
				lines[line], transactions[line] = true, true
			}
			requireSame(t, lines, own.ledger.byTime)
		}
	}

	for event := range s.events.byID.each {
		if event.user.IsZero() { // which is of no user
			events[event] = true
		}
	}
	for id, segment := range s.segments.byID {
		require.Equal(t, id, segment.id)
		require.Same(t, segment, s.segments.byName[userkit.SegmentNameKey(segment.name)])
		segments[segment] = true
		for number := range segment.members.Scan {
			require.NotNil(t, s.users.table.get(number), "a member that is not there any more")
		}
	}
	requireSame(t, segments, s.segments.byKey)
	require.Len(t, s.segments.byName, len(segments))

	requireSame(t, profiles, s.users.byID)
	requireSame(t, profiles, s.users.byLogin)
	requireSame(t, profiles, s.users.byName)
	requireSame(t, profiles, s.users.byEmail)
	requireSame(t, profiles, s.users.byRegistration)
	requireSame(t, withExtRef, s.users.byExtRef)
	requireSame(t, devices, s.devices.byRegistration)
	requireSame(t, sealed, s.devices.sealed)
	require.Len(t, s.devices.byID, len(devices))
	require.Len(t, s.devices.byToken, len(devices))
	for device := range devices {
		require.Same(t, device, s.devices.byID[device.id])
		require.Same(t, device, s.devices.byToken[device.digest])
	}
	requireSame(t, open, s.sessions.open)
	requireSame(t, open, s.sessions.silent)
	requireSame(t, ended, s.sessions.ended)
	require.Len(t, s.sessions.byID, len(open)+len(ended))
	for session := range open {
		require.Same(t, session, s.sessions.byID[session.id])
	}
	for session := range ended {
		require.Same(t, session, s.sessions.byID[session.id])
	}
	require.Len(t, s.purchases.byID, len(purchases))
	for purchase := range purchases {
		require.Same(t, purchase, s.purchases.byID[purchase.id])
	}
	requireSame(t, purchases, s.purchases.byTime)
	requireSame(t, purchases, s.purchases.byStable)
	requireSame(t, due, s.purchases.due)
	var last *purchase
	for purchase := range s.purchases.byStable.each {
		if last != nil && last.store == purchase.store && last.stableID == purchase.stableID {
			require.Fail(t, "two purchases of one stable id", "two purchases have the stable id %q", purchase.stableID)
		}
		last = purchase
	}
	requireSame(t, transactions, s.transactions.byID)
	requireSame(t, transactions, s.transactions.byTime)
	require.Len(t, s.transactions.byKey, len(transactions))
	requireSame(t, events, s.events.byID)
	requireSame(t, events, s.events.byTime)
	requireSame(t, events, s.events.feed)
	requireNamed(t, s.events.naming, events, (*event).named)
	requireNamed(t, s.transactions.naming, transactions, (*transaction).named)
}

// requireNamed demands that records are found by the users of whom they are not, and
// whom they name, and none by others.
func requireNamed[T any, O order[T]](t *testing.T, got map[userkit.UserID]*set[T, O], all map[*T]bool, named func(*T, func(userkit.UserID) bool)) {
	t.Helper()
	want := map[userkit.UserID]map[*T]bool{}
	for record := range all {
		named(record, func(user userkit.UserID) bool {
			if want[user] == nil {
				want[user] = map[*T]bool{}
			}
			want[user][record] = true
			return true
		})
	}
	require.Len(t, got, len(want))
	for user, records := range want {
		requireSame(t, records, *got[user])
	}
}

// requireSame demands that a set is in order and holds exactly these records.
func requireSame[T any, O order[T]](t *testing.T, want map[*T]bool, got set[T, O]) {
	t.Helper()
	var o O
	var last *T
	count := 0
	for record := range got.each {
		require.True(t, want[record], "%T holds a record that is not there any more", got)
		require.True(t, last == nil || o.compare(last, record) < 0, "%T is out of order", got)
		last = record
		count++
	}
	require.Equal(t, len(want), count, "%T", got)
	require.Equal(t, count, got.len(), "%T", got)
}

// A count of few records is made beside other readers; one of many is of one moment, and
// writers go on while it runs.
func TestCountsKeepNobodyWaiting(t *testing.T) {
	s := New()
	few := newUser(0)
	commitAll(t, s, creationOf(few))
	s.mu.RLock()
	unread, err := s.CountMessages(t.Context(), userkit.MessageFilter{UserID: few.ID, OnlyUnread: true})
	s.mu.RUnlock()
	require.NoError(t, err)
	require.Zero(t, unread)

	for n := range 3 * lockedRows {
		commitAll(t, s, creationOf(newUser(n+1)))
	}
	looked := 0
	counted, err := count(t.Context(), s, func(snapshot bool) source[user] {
		return source[user]{all: s.users.table.read(snapshot).each, match: func(*user) bool {
			if looked++; looked == 2*lockedRows {
				commitAll(t, s, creationOf(newUser(3*lockedRows+1)))
			}
			return true
		}}
	})
	require.NoError(t, err)
	require.EqualValues(t, 3*lockedRows+1, counted)
}

// A list that looks at all records is of the moment at which it began, and
// writers go on while it runs.
func TestLongListIsOfOneMoment(t *testing.T) {
	s := New()
	var users []userkit.User
	for n := range 3 * lockedRows {
		user := newUser(n)
		user.Balance.Amount = int64(n % 100)
		users = append(users, user)
		commitAll(t, s, creationOf(user))
	}
	created := len(users)
	for name, field := range map[string]string{"without an index": "balance", "with an index": "registered_at"} {
		t.Run(name, func(t *testing.T) {
			list := userkit.ListRange{Order: userkit.Order{Field: field}, Limit: len(users)}
			want, err := s.Users(context.Background(), userkit.UserSelection{}, list)
			require.NoError(t, err)

			query := query[user, userkit.User]{
				fields: userFields,
				id:     func(u *user) [16]byte { return u.profile.id },
				fill:   (*user).fillPlain,
			}
			looked := 0
			writeOnce := func(*user) bool {
				// A writer that had to wait for the list would wait for ever. In the
				// first records of an index the lock is held for reading, so this
				// begins when a page would be complete.
				if looked++; looked == 2*lockedRows+1 {
					for _, user := range users[:500] {
						commitAll(t, s, changeBalance(t, s, user.ID, -5))
					}
					gone, err := s.User(context.Background(), users[600].ID)
					require.NoError(t, err)
					commitAll(t, s,
						userkit.Change{User: gone.ID, Version: gone.Version, Delete: true},
						creationOf(newUser(created)))
					created++
				}
				return true
			}
			rows, err := query.run(context.Background(), s, list, func(snapshot bool) source[user] {
				if field == "balance" {
					return source[user]{all: s.users.table.read(snapshot).each, match: writeOnce}
				}
				rows := profiles(&s.users.byRegistration, s.users.table.read(snapshot), snapshot, list, nil)
				return source[user]{rows: rows, match: writeOnce}
			})
			require.NoError(t, err)
			require.Equal(t, want, convert(rows, (*user).out))

			now, err := s.Users(context.Background(), userkit.UserSelection{}, list)
			require.NoError(t, err)
			require.NotEqual(t, want, now)
			// The next run begins with the same users again.
			recreated := users[600]
			commitAll(t, s, creationOf(recreated))
		})
	}
}

func changeBalance(t *testing.T, s *Store, id userkit.UserID, by int64) userkit.Change {
	t.Helper()
	user, err := s.User(context.Background(), id)
	require.NoError(t, err)
	change := userkit.Change{User: id, Version: user.Version, Account: user.Account}
	change.Account.Version++
	change.Account.Balance.Amount += by
	return change
}

// Readers of every kind beside writers: the race detector looks on, and a ledger
// is always of one moment.
func TestReadersBesideWriters(t *testing.T) {
	const users, rounds = 20, 100
	s := New()
	var ids []userkit.UserID
	segment := userkit.NewID[userkit.Segment]()
	for n := range users {
		user := newUser(n)
		ids = append(ids, user.ID)
		commitAll(t, s, creationOf(user))
	}
	// Writers take users out of the segment and put them back.
	freeze := func(revision int64) error {
		_, err := s.CommitSegment(context.Background(), userkit.SegmentChange{
			ID: segment, Was: revision - 1, Segment: userkit.Segment{Name: "All", Revision: revision},
			Members: userkit.Set(userkit.UserSelection{Search: userkit.ParseSearch("login"), Moment: userkit.Moment{At: noon}}),
			Event:   userkit.Event{ID: userkit.NewID[userkit.Event]()},
		})
		return err
	}
	require.NoError(t, freeze(1))
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for ctx.Err() == nil {
				ledgers, err := s.Ledgers(context.Background(), userkit.UserID{}, users)
				if err != nil || len(ledgers) != users {
					t.Errorf("%d ledgers, %v", len(ledgers), err)
					return
				}
				for _, ledger := range ledgers {
					if ledger.Sum != ledger.Account.Balance.Amount || ledger.MaxSequence != ledger.Account.TransactionSequence || ledger.Broken != 0 {
						t.Errorf("a ledger of two moments: %+v", ledger)
						return
					}
				}
				for _, field := range []string{"balance", "login"} {
					list := userkit.ListRange{Order: userkit.Order{Field: field}, Limit: users}
					if found, err := s.Users(context.Background(), userkit.UserSelection{WithoutDisabled: true}, list); err != nil || len(found) != users {
						t.Errorf("%d users by %s, %v", len(found), field, err)
						return
					}
				}
				filter := userkit.UserSelection{Segment: segment, Search: userkit.ParseSearch("n"), Filter: userkit.Equal("status", userkit.StatusActive)}
				if count, err := s.CountUsers(context.Background(), filter); err != nil || count > users {
					t.Errorf("%d users in the segment, %v", count, err)
					return
				}
				for _, field := range []string{"at", "sequence"} {
					for _, user := range []userkit.UserID{{}, ids[0]} {
						list := userkit.ListRange{Order: userkit.Order{Field: field}, Limit: 10}
						if _, err := s.Transactions(context.Background(), userkit.TransactionFilter{UserID: user}, list); err != nil {
							t.Error(err)
							return
						}
					}
				}
			}
		})
	}
	for writer := range 2 {
		writers.Go(func() {
			for round := range rounds {
				if writer == 0 {
					if err := freeze(int64(round + 2)); err != nil {
						t.Error(err)
						return
					}
				}
				for n := writer; n < users; n += 2 {
					user, err := s.User(context.Background(), ids[n])
					if err != nil {
						t.Error(err)
						return
					}
					change := userkit.Change{User: user.ID, Version: user.Version, Account: user.Account}
					change.Account.Version++
					change.Account.TransactionSequence++
					change.Account.Balance.Amount++
					change.RemoveSegments = []userkit.SegmentID{segment}
					if round%2 == 1 {
						change.AddSegments, change.RemoveSegments = change.RemoveSegments, nil
					}
					change.Transactions.Insert = []userkit.Transaction{{
						ID:       userkit.NewID[userkit.Transaction](),
						Sequence: change.Account.TransactionSequence,
						Kind:     userkit.TransactionRefill,
						Amount:   userkit.Money{Amount: 1, Currency: "EUR"},
						Balance:  change.Account.Balance,
						Key:      fmt.Sprint(round),
						At:       minute(round),
					}}
					outcomes, err := s.Commit(context.Background(), []userkit.Change{change})
					if err != nil || outcomes[0] != nil {
						t.Error(err, outcomes)
						return
					}
				}
			}
		})
	}
	writers.Wait()
	stop()
	readers.Wait()
	requireIndexes(t, s)
	count, err := s.CountUsers(context.Background(), userkit.UserSelection{Segment: segment})
	require.NoError(t, err)
	require.EqualValues(t, users, count, "the last round put everybody back")
}

// What goes in and what comes out is the caller's own.
func TestCopies(t *testing.T) {
	s := New()
	user := newUser(1)
	user.Attributes = userkit.Attributes{"list": []any{"a", map[string]any{"b": []any{"c"}}}}
	device := userkit.DeviceRecord{Device: userkit.Device{ID: userkit.NewID[userkit.Device]()}, SealedToken: []byte("sealed")}
	event := userkit.Event{ID: userkit.NewID[userkit.Event](), Data: []byte(`{"a":1}`)}
	change := creationOf(user)
	change.Devices.Insert = []userkit.DeviceRecord{device}
	change.Events = []userkit.Event{event}
	commitAll(t, s, change)

	spoil := func(attributes userkit.Attributes, sealed, data []byte) {
		attributes["list"].([]any)[1].(map[string]any)["b"].([]any)[0] = "spoilt"
		attributes["list"].([]any)[0] = "spoilt"
		attributes["more"] = true
		copy(sealed, "spoilt")
		copy(data, "spoilt!")
	}
	spoil(user.Attributes, device.SealedToken, event.Data)
	for range 2 {
		states, err := s.Load(context.Background(), []userkit.Want{{User: user.ID, Profile: true, AllDevices: true}})
		require.NoError(t, err)
		events, err := s.Events(context.Background(), userkit.EventFilter{}, userkit.ListRange{Order: userkit.Order{Field: "at"}, Limit: 1})
		require.NoError(t, err)
		attributes, sealed, data := states[0].User.Attributes, states[0].Devices[0].SealedToken, events[0].Data
		require.Equal(t, userkit.Attributes{"list": []any{"a", map[string]any{"b": []any{"c"}}}}, attributes)
		require.Equal(t, "sealed", string(sealed))
		require.JSONEq(t, `{"a":1}`, string(data))
		spoil(attributes, sealed, data)
	}
}

// Texts and keys that are the same are the same memory, and none of it is the
// caller's, whose text may be a piece of something large.
func TestProfileTexts(t *testing.T) {
	for _, login := range []string{"", "ada", "Ada", "Łódź"} {
		from := userkit.User{Login: login, Name: "Ada Löwe", Email: "ADA@example.org", ExtRef: "CRM/1", Phone: "+375291234567"}
		p := profileOf(userkit.UserID{1}, &from)
		require.Equal(t, []string{login, "Ada Löwe", "ADA@example.org", "CRM/1"}, []string{p.text(p.login), p.text(p.name), p.text(p.email), p.text(p.extRef)})
		require.Equal(t, []string{userkit.SortKey(login), "ada lowe", "ada@example.org", "crm/1"},
			[]string{p.loginKey, p.nameKey, p.emailKey, p.extRefKey})
		require.Equal(t, userkit.SortKey(login)+"\nada lowe\nada@example.org\ncrm/1\n+375291234567", p.texts[:p.searched])
	}
}

func TestDates(t *testing.T) {
	days := []userkit.Day{{}, {Year: 1, Month: 1, Day: 1}, {Year: 1999, Month: 12, Day: 31}, {Year: 2000, Month: 1, Day: 1},
		{Year: 2024, Month: 2, Day: 29}, {Year: 2024, Month: 3, Day: 1}, {Year: 9999, Month: 12, Day: 31}}
	var numbers []date
	for _, day := range days {
		require.Equal(t, day, dateOf(day).day())
		numbers = append(numbers, dateOf(day))
	}
	require.True(t, slices.IsSorted(numbers))
	require.Equal(t, time.Time{}, none.time())
	require.Less(t, numbers[len(numbers)-1], lastDate)
}
