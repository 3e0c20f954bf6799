package memory_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// million is the size of the project that the benchmarks work on.
const million = 1_000_000

var started = time.Date(2026, time.May, 4, 8, 0, 0, 0, time.UTC)

// plainUser is a user as most are: a login, a name, an email address and one
// attribute.
func plainUser(id userkit.UserID, n int) userkit.User {
	return userkit.User{
		ID:           id,
		Login:        fmt.Sprintf("user%07d", n*7919%million),
		Name:         fmt.Sprintf("Ada Lovelace %d", n),
		Email:        fmt.Sprintf("user%07d@example.org", n*7919%million),
		Status:       userkit.StatusActive,
		Kind:         userkit.UserIndividual,
		Attributes:   userkit.Attributes{"plan": fmt.Sprintf("basic-%d", n%100)},
		RegisteredAt: started.Add(time.Duration(n) * time.Second),
		UpdatedAt:    started.Add(time.Duration(n) * time.Second),
		Revision:     1,
		Account: userkit.Account{
			Version: 1,
			Balance: userkit.Money{Currency: "EUR"},
			Traffic: userkit.Traffic{Limit: userkit.TrafficLimit{Reset: userkit.ResetDaily}},
		},
	}
}

func event(user userkit.UserID, name userkit.EventName, n int) userkit.Event {
	return userkit.Event{
		ID:     userkit.NewID[userkit.Event](),
		UserID: user,
		Name:   name,
		Actor:  userkit.Actor{Kind: userkit.ActorAdministrator, ID: "42", Name: "Grace"},
		At:     started.Add(time.Duration(n) * time.Millisecond),
		Data:   []byte(`{"amount":100,"currency":"EUR"}`),
	}
}

// project is a store with plain users in it.
type project struct {
	store userkit.Store
	ids   []userkit.UserID
}

// newProject makes a project; vary, unless nil, changes its users.
func newProject(tb testing.TB, users int, withEvents bool, vary func(user *userkit.User, n int)) project {
	p := project{memory.New(), make([]userkit.UserID, users)}
	changes := make([]userkit.Change, 0, 1000)
	for n := range p.ids {
		p.ids[n] = userkit.NewID[userkit.User]()
		user := plainUser(p.ids[n], n)
		if vary != nil {
			vary(&user, n)
		}
		change := userkit.Change{User: user.ID, Account: user.Account, Profile: &user}
		if withEvents {
			change.Events = []userkit.Event{event(user.ID, userkit.EventUserCreated, n)}
		}
		if changes = append(changes, change); len(changes) == cap(changes) || n == users-1 {
			p.commit(tb, changes)
			changes = changes[:0]
		}
	}
	return p
}

func (p project) commit(tb testing.TB, changes []userkit.Change) {
	outcomes, err := p.store.Commit(context.Background(), changes)
	for _, outcome := range outcomes {
		if err == nil {
			err = outcome
		}
	}
	if err != nil {
		tb.Fatal(err)
	}
}

var (
	sharedOnce sync.Once
	sharedMany project
)

// shared is the project of the benchmarks that only read, or only add.
func shared(b *testing.B) project {
	sharedOnce.Do(func() { sharedMany = newProject(b, million, true, nil) })
	b.ReportAllocs()
	b.ResetTimer()
	return sharedMany
}

func BenchmarkUser(b *testing.B) {
	p := shared(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := p.store.User(context.Background(), p.ids[rand.IntN(million)]); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkFindUser(b *testing.B) {
	p := shared(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			key := userkit.ByLogin(fmt.Sprintf("user%07d", rand.IntN(million)))
			if _, err := p.store.FindUser(context.Background(), key); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// refill loads an account and commits what a refill makes of it.
func (p project) refill(user userkit.UserID, n int) error {
	ctx := context.Background()
	key := fmt.Sprintf("key-%d", n)
	states, err := p.store.Load(ctx, []userkit.Want{{User: user, TransactionKeys: []string{key}}})
	if err != nil {
		return err
	}
	return p.pay(states[0].User.Account, user, key, n)
}

func (p project) pay(account userkit.Account, user userkit.UserID, key string, n int) error {
	account.Version++
	account.TransactionSequence++
	account.Balance.Amount += 100
	paid := userkit.Transaction{
		ID:       userkit.NewID[userkit.Transaction](),
		UserID:   user,
		Sequence: account.TransactionSequence,
		Kind:     userkit.TransactionRefill,
		Amount:   userkit.Money{Amount: 100, Currency: "EUR"},
		Balance:  account.Balance,
		Key:      key,
		Actor:    userkit.Actor{Kind: userkit.ActorAdministrator, ID: "42", Name: "Grace"},
		At:       started.Add(time.Duration(n) * time.Millisecond),
		Previous: account.LastTransaction,
	}
	account.LastTransaction = paid.ID
	outcomes, err := p.store.Commit(context.Background(), []userkit.Change{{
		User:         user,
		Version:      account.Version - 1,
		Account:      account,
		Transactions: userkit.Records[userkit.Transaction, userkit.TransactionID]{Insert: []userkit.Transaction{paid}},
		Events:       []userkit.Event{event(user, userkit.EventBalanceRefilled, n)},
	}})
	if err != nil {
		return err
	}
	return outcomes[0]
}

// entries numbers the idempotency keys of all benchmarks.
var entries atomic.Int64

// BenchmarkRefill loads and commits refills, each caller on users of its own.
func BenchmarkRefill(b *testing.B) {
	for _, users := range []int{100_000, million} {
		b.Run(fmt.Sprint(users), func(b *testing.B) {
			p := shared(b)
			var callers atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				caller := int(callers.Add(1) - 1)
				for pb.Next() {
					n := int(entries.Add(1))
					user := p.ids[rand.IntN(users/64)*64+caller%64]
					if err := p.refill(user, n); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkCommit is the commit of BenchmarkRefill alone, by one caller.
func BenchmarkCommit(b *testing.B) {
	p := newProject(b, 100_000, true, nil)
	accounts := make([]userkit.Account, len(p.ids))
	for n := range accounts {
		accounts[n] = plainUser(p.ids[n], n).Account
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		at := rand.IntN(len(accounts))
		if err := p.pay(accounts[at], p.ids[at], fmt.Sprintf("key-%d", n), n); err != nil {
			b.Fatal(err)
		}
		accounts[at].Version++
		accounts[at].TransactionSequence++
		n++
	}
}

// BenchmarkManager is what a host sees: whole calls, through the pipeline.
func BenchmarkManager(b *testing.B) {
	p := newProject(b, 100_000, true, nil)
	manager, err := userkit.New(p.store)
	if err != nil {
		b.Fatal(err)
	}
	defer manager.Close(context.Background())
	ctx := context.Background()
	for _, callers := range []int{4, 64, 512} {
		b.Run(fmt.Sprintf("refill/callers=%d", callers), func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					entry := userkit.Entry{Amount: userkit.Money{Amount: 100, Currency: "EUR"}, Key: fmt.Sprint("key-", entries.Add(1))}
					if _, err := manager.Refill(ctx, p.ids[rand.IntN(100_000)], entry); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	b.Run("user", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := manager.User(ctx, p.ids[rand.IntN(100_000)]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// BenchmarkPage reads pages of 50 users from places all over the list.
func BenchmarkPage(b *testing.B) {
	for _, filter := range []userkit.UserSelection{{}, {WithoutDisabled: true}} {
		b.Run(fmt.Sprintf("without_disabled=%v", filter.WithoutDisabled), func(b *testing.B) {
			p := shared(b)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					after := &userkit.ListPosition{Key: fmt.Sprintf("user%07d", rand.IntN(million-1000))}
					list := userkit.ListRange{Order: userkit.Order{Field: "login"}, After: after, Limit: 50}
					users, err := p.store.Users(context.Background(), filter, list)
					if err != nil || len(users) != 50 {
						b.Error(len(users), err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkFilter counts the users of a filter, in the store and in what a host
// would write instead: a loop over a slice of users that folds text when it
// comes by. Names are in several scripts.
func BenchmarkFilter(b *testing.B) {
	names := []string{"Ada Lovelace", "Hélène Lefèvre", "Алесь Новик", "अनिता शर्मा"}
	users := make([]userkit.User, million)
	p := newProject(b, million, false, func(user *userkit.User, n int) {
		user.Name = fmt.Sprint(names[n%len(names)], " ", n)
		users[n] = *user
	})
	for _, each := range []struct {
		name   string
		filter userkit.UserSelection
		naive  func(*userkit.User) bool
	}{
		{
			"name", userkit.UserSelection{Filter: userkit.AllOf(userkit.Contains("name", "LACE 77777"), userkit.Equal("status", userkit.StatusActive))},
			func(u *userkit.User) bool {
				return strings.Contains(userkit.Fold(u.Name), "lace 77777") && u.Status == userkit.StatusActive
			},
		},
		{
			"search", userkit.UserSelection{Search: userkit.ParseSearch("LACE 77777")},
			func(u *userkit.User) bool { return strings.Contains(userkit.SearchText(u), "lace 77777") },
		},
		{
			"search_of_digits", userkit.UserSelection{Search: userkit.ParseSearch("7777777")}, // which ids may hold too
			func(u *userkit.User) bool { return strings.Contains(userkit.SearchText(u), "7777777") },
		},
		{
			"login", userkit.UserSelection{Filter: userkit.Equal("login", "User0077777")},
			func(u *userkit.User) bool { return userkit.Fold(u.Login) == "user0077777" },
		},
	} {
		wanted := int64(0)
		b.Run(each.name+"/naive", func(b *testing.B) {
			for b.Loop() {
				wanted = 0
				for n := range users {
					if each.naive(&users[n]) {
						wanted++
					}
				}
			}
		})
		b.Run(each.name+"/store", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				count, err := p.store.CountUsers(context.Background(), each.filter)
				if err != nil || count != wanted {
					b.Fatal(count, wanted, err)
				}
			}
		})
	}
}

// BenchmarkSort reads a page in an order that has no index: it looks at all.
func BenchmarkSort(b *testing.B) {
	p := shared(b)
	for b.Loop() {
		list := userkit.ListRange{Order: userkit.Order{Field: "balance", Descending: true}, Limit: 50}
		if _, err := p.store.Users(context.Background(), userkit.UserSelection{}, list); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefillBesideSort is BenchmarkRefill while lists in an order without
// an index go on all the time.
func BenchmarkRefillBesideSort(b *testing.B) {
	p := shared(b)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		list := userkit.ListRange{Order: userkit.Order{Field: "balance"}, Limit: 50}
		for ctx.Err() == nil {
			if _, err := p.store.Users(ctx, userkit.UserSelection{}, list); err != nil && ctx.Err() == nil {
				b.Error(err)
				return
			}
		}
	})
	for b.Loop() {
		if err := p.refill(p.ids[rand.IntN(million)], int(entries.Add(1))); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	done.Wait()
}

// BenchmarkMemory measures the bytes that each of a million users takes.
func BenchmarkMemory(b *testing.B) {
	heap := func() uint64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	for _, withEvents := range []bool{false, true} {
		b.Run(fmt.Sprintf("event=%v", withEvents), func(b *testing.B) {
			for b.Loop() {
				before := heap()
				p := newProject(b, million, withEvents, nil)
				after := heap()
				b.ReportMetric((float64(after-before)-16*million)/million, "B/user")
				runtime.KeepAlive(p)
			}
		})
	}
}
