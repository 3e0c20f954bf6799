package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/userkit/userkit"
	memorystore "github.com/userkit/userkit/store/memory"
)

// The memory measurements compare the manager on the memory store, with all its
// rules, events and indexes, with the least that a program of its own could do:
// see plain.

// memoryCallers is how many goroutines refill in memory at the same time, as
// many requests of a busy host do.
const memoryCallers = 64

// mostRefills bounds the refills of one round in memory, which keeps them all.
const mostRefills = 1_000_000

// memory is what the reading measurements share.
type memory struct {
	manager userkit.Manager
	plain   *plain
	cursors []userkit.Cursor // of every page of users, the first one's included
}

// newMemory makes both sides with their users.
func newMemory(ctx context.Context, users int) (*memory, error) {
	manager, err := userkit.New(memorystore.New())
	if err != nil {
		return nil, err
	}
	if err := createUsers(ctx, manager, users, plainUser); err != nil {
		return nil, err
	}
	m := &memory{manager: manager, plain: newPlain()}
	query := userkit.UserQuery{PageQuery: userkit.PageQuery{Limit: userkit.MaxPageLimit}}
	for user, err := range manager.AllUsers(ctx, query) {
		if err != nil {
			return nil, err
		}
		m.plain.add(user)
	}
	return m, nil
}

// sharedMemory returns what the reading measurements share.
func (b *bench) sharedMemory(ctx context.Context) (*memory, error) {
	if b.memory != nil {
		return b.memory, nil
	}
	m, err := newMemory(ctx, b.users)
	if err != nil {
		return nil, err
	}
	query := userkit.UserQuery{}
	for {
		m.cursors = append(m.cursors, query.Cursor)
		page, err := m.manager.Users(ctx, query)
		if err != nil {
			return nil, err
		}
		if page.Next == "" {
			break
		}
		query.Cursor = page.Next
	}
	b.memory = m
	return m, nil
}

// memoryGets reads random users by id, on all cores.
func memoryGets(ctx context.Context, b *bench) (sides, error) {
	m, err := b.sharedMemory(ctx)
	if err != nil {
		return sides{}, err
	}
	read := func(get func(userkit.UserID) (userkit.User, error)) side {
		return func(ctx context.Context, span time.Duration) (float64, error) {
			return drive(ctx, runtime.GOMAXPROCS(0), span, 0, func(int) job {
				return func(random *rand.Rand) (int, error) {
					id := userID(random.IntN(b.users))
					user, err := get(id)
					if err == nil && user.ID != id {
						err = fmt.Errorf("asked for user %s, got %s", id, user.ID)
					}
					return 1, err
				}
			})
		}
	}
	return sides{
		ours:   read(func(id userkit.UserID) (userkit.User, error) { return m.manager.User(ctx, id) }),
		theirs: read(m.plain.user),
	}, nil
}

// memoryLists reads pages of 50 users by login from random places, on all cores.
func memoryLists(ctx context.Context, b *bench) (sides, error) {
	m, err := b.sharedMemory(ctx)
	if err != nil {
		return sides{}, err
	}
	list := func(page func(random *rand.Rand) (int, error)) side {
		return func(ctx context.Context, span time.Duration) (float64, error) {
			return drive(ctx, runtime.GOMAXPROCS(0), span, 0, func(int) job {
				return func(random *rand.Rand) (int, error) {
					users, err := page(random)
					if err == nil && users == 0 {
						err = errors.New("a page without users")
					}
					return 1, err
				}
			})
		}
	}
	return sides{
		ours: list(func(random *rand.Rand) (int, error) {
			query := userkit.UserQuery{}
			query.Cursor = m.cursors[random.IntN(len(m.cursors))]
			page, err := m.manager.Users(ctx, query)
			return len(page.Items), err
		}),
		theirs: list(func(random *rand.Rand) (int, error) {
			page := random.IntN(len(m.cursors))
			after := ""
			if page > 0 {
				after = loginOf(page*userkit.DefaultPageLimit - 1)
			}
			return len(m.plain.page(after, userkit.DefaultPageLimit)), nil
		}),
	}, nil
}

// memoryRefills refills random users. Every round has stores of its own, so that
// no round pays for the memory of another.
func memoryRefills(_ context.Context, b *bench) (sides, error) {
	b.memory = nil // its memory is not this measurement's
	refill := func(of func(*memory) func(context.Context, userkit.UserID, userkit.Entry) (userkit.Transaction, error)) side {
		return func(ctx context.Context, span time.Duration) (float64, error) {
			m, err := newMemory(ctx, b.users)
			if err != nil {
				return 0, err
			}
			refill := of(m)
			runtime.GC() // m is used no more, so the side that does not refill goes
			var keys atomic.Int64
			return drive(ctx, memoryCallers, span, mostRefills, func(int) job {
				return func(random *rand.Rand) (int, error) {
					_, err := refill(ctx, userID(random.IntN(b.users)), entry(keys.Add(1)))
					return 1, err
				}
			})
		}
	}
	type call = func(context.Context, userkit.UserID, userkit.Entry) (userkit.Transaction, error)
	return sides{
		ours:   refill(func(m *memory) call { return m.manager.Refill }),
		theirs: refill(func(m *memory) call { return m.plain.refill }),
	}, nil
}

// memoryFilters counts the people who meet a filter. A round counts what it looked
// at. Against it stands a loop over a slice of users that folds their names when
// it comes by; it has the folded term at hand.
func memoryFilters(ctx context.Context, b *bench) (sides, error) {
	b.memory = nil // its memory is not this measurement's
	manager, err := userkit.New(memorystore.New())
	if err != nil {
		return sides{}, err
	}
	people := b.config.people[1]
	err = createUsers(ctx, manager, people, func(number int) userkit.NewUser { return person(number, people) })
	if err != nil {
		return sides{}, err
	}
	users := make([]userkit.User, 0, people)
	for user, err := range manager.AllUsers(ctx, userkit.UserQuery{}) {
		if err != nil {
			return sides{}, err
		}
		users = append(users, user)
	}

	// Names in capitals, with accents, in other scripts: "elen" is a part of
	// Helene and of Hélène.
	const term = "elen"
	filter := userkit.AllOf(userkit.Contains("name", term), userkit.Equal("status", userkit.StatusActive))
	ours := func() (int64, error) { return manager.CountUsers(ctx, userkit.UserFilter{Filter: filter}) }
	theirs := func() (int64, error) {
		count := int64(0)
		for i := range users {
			if strings.Contains(userkit.Fold(users[i].Name), term) && users[i].Status == userkit.StatusActive {
				count++
			}
		}
		return count, nil
	}
	wanted, _ := theirs()
	if wanted == 0 {
		return sides{}, fmt.Errorf("no name with %q", term)
	}
	count := func(count func() (int64, error)) side {
		return func(ctx context.Context, span time.Duration) (float64, error) {
			return drive(ctx, 1, span, 0, func(int) job {
				return func(*rand.Rand) (int, error) {
					met, err := count()
					if err == nil && met != wanted {
						err = fmt.Errorf("%d users meet the filter, not %d", met, wanted)
					}
					return people, err
				}
			})
		}
	}
	return sides{ours: count(ours), theirs: count(theirs)}, nil
}

// plain is what a program of its own would keep in memory: maps under one mutex
// and a sorted slice. It holds the same data, and it has no other indexes, no
// conflict checks between processes and no pages with cursors.
type plain struct {
	mu           sync.RWMutex
	users        map[userkit.UserID]userkit.User
	logins       []plainLogin // in order of logins
	keys         map[plainKey]userkit.TransactionID
	transactions map[userkit.UserID][]userkit.Transaction
	events       []userkit.Event
}

type plainLogin struct {
	login string
	id    userkit.UserID
}

type plainKey struct {
	user userkit.UserID
	key  string
}

func newPlain() *plain {
	return &plain{
		users:        map[userkit.UserID]userkit.User{},
		keys:         map[plainKey]userkit.TransactionID{},
		transactions: map[userkit.UserID][]userkit.Transaction{},
	}
}

// add adds a user; users come in order of logins.
func (p *plain) add(user userkit.User) {
	p.users[user.ID] = user
	p.logins = append(p.logins, plainLogin{login: user.Login, id: user.ID})
}

func (p *plain) user(id userkit.UserID) (userkit.User, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	user, found := p.users[id]
	if !found {
		return userkit.User{}, userkit.ErrNotFound
	}
	return user, nil
}

// page returns so many users whose logins come after the given one.
func (p *plain) page(after string, limit int) []userkit.User {
	p.mu.RLock()
	defer p.mu.RUnlock()
	from, found := slices.BinarySearchFunc(p.logins, after, func(at plainLogin, login string) int { return strings.Compare(at.login, login) })
	if found {
		from++
	}
	page := make([]userkit.User, 0, limit)
	for _, at := range p.logins[from:min(from+limit, len(p.logins))] {
		page = append(page, p.users[at.id])
	}
	return page
}

func (p *plain) refill(_ context.Context, id userkit.UserID, entry userkit.Entry) (userkit.Transaction, error) {
	now := time.Now().UTC()
	made := userkit.Transaction{
		ID: userkit.NewID[userkit.Transaction](), UserID: id, Kind: userkit.TransactionRefill,
		Amount: entry.Amount, Key: entry.Key, Actor: userkit.Actor{Kind: userkit.ActorSystem}, At: now,
	}
	event := userkit.Event{
		ID: userkit.NewID[userkit.Event](), UserID: id, Name: userkit.EventBalanceRefilled, Actor: made.Actor, At: now,
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	user, found := p.users[id]
	if !found {
		return userkit.Transaction{}, userkit.ErrNotFound
	}
	if _, used := p.keys[plainKey{id, entry.Key}]; used {
		return userkit.Transaction{}, userkit.ErrExists
	}
	user.Balance.Amount += entry.Amount.Amount
	user.TransactionSequence++
	made.Sequence, made.Balance, made.Previous = user.TransactionSequence, user.Balance, user.LastTransaction
	user.LastTransaction = made.ID
	user.Version++
	event.Data = json.RawMessage(`{"transaction":"` + made.ID.String() + `","balance":` + strconv.FormatInt(made.Balance.Amount, 10) + `}`)

	p.users[id] = user
	p.keys[plainKey{id, entry.Key}] = made.ID
	p.transactions[id] = append(p.transactions[id], made)
	p.events = append(p.events, event)
	return made, nil
}
