package userkit

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// accountStore is a store of accounts, transactions and event ids, and of
// nothing else: enough for the corridor. Hooks run inside Load and Commit.
type accountStore struct {
	Store // every other method panics

	mu           sync.Mutex
	accounts     map[UserID]Account
	transactions map[UserID]map[string]Transaction
	events       map[EventID]bool

	beforeLoad   func(wants []Want) error
	beforeCommit func(changes []Change) error
	afterCommit  func(changes []Change) error
	refuse       func(change Change) error
}

func newAccountStore(users ...UserID) *accountStore {
	s := &accountStore{accounts: map[UserID]Account{}, transactions: map[UserID]map[string]Transaction{}, events: map[EventID]bool{}}
	for _, user := range users {
		s.accounts[user] = Account{Version: 1, Balance: Money{Currency: "EUR"}}
		s.transactions[user] = map[string]Transaction{}
	}
	return s
}

func (s *accountStore) Load(_ context.Context, wants []Want) ([]State, error) {
	if s.beforeLoad != nil {
		if err := s.beforeLoad(wants); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	states := make([]State, len(wants))
	for i, want := range wants {
		account, exists := s.accounts[want.User]
		states[i] = State{Exists: exists, User: User{ID: want.User, Account: account}}
		for _, key := range want.TransactionKeys {
			if made, found := s.transactions[want.User][key]; found && indexID(states[i].Transactions, made.ID, transactionID) < 0 {
				states[i].Transactions = append(states[i].Transactions, made)
			}
		}
		for _, event := range want.Events {
			if s.events[event] {
				states[i].Events = append(states[i].Events, event)
			}
		}
	}
	return states, nil
}

func (s *accountStore) Commit(_ context.Context, changes []Change) ([]error, error) {
	if s.beforeCommit != nil {
		if err := s.beforeCommit(changes); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	outcomes := make([]error, len(changes))
	for i, change := range changes {
		if s.refuse != nil {
			if outcomes[i] = s.refuse(change); outcomes[i] != nil {
				continue
			}
		}
		if s.accounts[change.User].Version != change.Version {
			outcomes[i] = ErrConflict
			continue
		}
		for _, made := range change.Transactions.Insert {
			if _, used := s.transactions[change.User][made.Key]; used {
				outcomes[i] = NewError(CodeIDTaken, "key", "in use")
			}
		}
		if outcomes[i] != nil {
			continue
		}
		s.accounts[change.User] = change.Account
		for _, made := range change.Transactions.Insert {
			s.transactions[change.User][made.Key] = made
		}
		for _, event := range change.Events {
			s.events[event.ID] = true
		}
	}
	s.mu.Unlock()
	if s.afterCommit != nil {
		if err := s.afterCommit(changes); err != nil {
			return nil, err
		}
	}
	return outcomes, nil
}

func testManager(t *testing.T, store Store, opts ...Option) Manager {
	t.Helper()
	m, err := New(store, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close(context.Background())) })
	return m
}

func euros(cents int64, key string) Entry {
	return Entry{Amount: Money{cents, "EUR"}, Key: key}
}

// gate lets a test hold commands inside the store and learn that they are there.
type gate struct {
	arrived chan int
	open    chan struct{}
}

func newGate() *gate { return &gate{arrived: make(chan int, 100), open: make(chan struct{})} }

func (g *gate) pass(n int) {
	g.arrived <- n
	<-g.open
}

func TestCommandsThatWaitGoTogether(t *testing.T) {
	users := make([]UserID, 50)
	for i := range users {
		users[i] = NewID[User]()
	}
	store := newAccountStore(users...)
	g := newGate()
	var sizes []int
	var held atomic.Int32
	store.beforeCommit = func(changes []Change) error {
		store.mu.Lock()
		sizes = append(sizes, len(changes))
		store.mu.Unlock()
		if held.Add(1) <= lanes {
			g.pass(len(changes))
		}
		return nil
	}
	m := testManager(t, store)
	var group sync.WaitGroup
	refill := func(user UserID, key string) {
		group.Go(func() {
			_, err := m.Refill(context.Background(), user, euros(5, key))
			require.NoError(t, err)
		})
	}
	for lane := range lanes { // every lane is under way with one command
		refill(users[lane], "first")
		<-g.arrived
	}
	for _, user := range users[lanes:] {
		refill(user, "second")
	}
	p := m.(*manager).pipeline
	waiting(t, p, len(users))
	close(g.open)
	group.Wait()
	require.Less(t, len(sizes), lanes+5, "those that waited went in few batches: %v", sizes)
}

// waiting waits until so many commands are in the corridor.
func waiting(t *testing.T, p *pipeline, count int) {
	t.Helper()
	require.Eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.pending == count
	}, 10*time.Second, time.Millisecond)
}

func TestOneUserIsInOneBatchAtATime(t *testing.T) {
	user := NewID[User]()
	store := newAccountStore(user)
	var inside, most atomic.Int32
	enter := func() {
		if now := inside.Add(1); now > most.Load() {
			most.Store(now)
		}
	}
	store.beforeLoad = func([]Want) error { enter(); return nil }
	store.afterCommit = func([]Change) error { inside.Add(-1); return nil }
	m := testManager(t, store)
	var group sync.WaitGroup
	for i := range 200 {
		group.Go(func() {
			_, err := m.Refill(context.Background(), user, euros(1, strconv.Itoa(i)))
			require.NoError(t, err)
		})
	}
	group.Wait()
	require.EqualValues(t, 1, most.Load())
	require.EqualValues(t, 200, store.accounts[user].Balance.Amount)
	require.Len(t, store.transactions[user], 200)
}

func TestOneFailingCommandFailsAlone(t *testing.T) {
	user, other := NewID[User](), NewID[User]()
	store := newAccountStore(user, other)
	m := testManager(t, store)
	var group sync.WaitGroup
	for i := range 40 {
		group.Go(func() {
			_, err := m.Refill(context.Background(), []UserID{user, other}[i%2], euros(10, strconv.Itoa(i)))
			require.NoError(t, err)
		})
		group.Go(func() {
			_, err := m.Charge(context.Background(), user, euros(1_000_000, "much"+strconv.Itoa(i)))
			require.Equal(t, CodeInsufficientBalance, ErrorCode(err))
		})
		group.Go(func() {
			_, err := m.Refill(context.Background(), NewID[User](), euros(1, "nobody"))
			require.Equal(t, CodeUserNotFound, ErrorCode(err))
		})
	}
	group.Wait()
	require.EqualValues(t, 200, store.accounts[user].Balance.Amount)
}

func TestConflictDecidesAnew(t *testing.T) {
	user := NewID[User]()
	store := newAccountStore(user)
	meddled := 0
	store.beforeCommit = func([]Change) error {
		if meddled < 3 { // another process changes the user between load and commit
			meddled++
			account := store.accounts[user]
			account.Version++
			account.Balance.Amount += 100
			store.accounts[user] = account
		}
		return nil
	}
	m := testManager(t, store)
	made, err := m.Refill(context.Background(), user, euros(5, "a"))
	require.NoError(t, err)
	require.EqualValues(t, 305, made.Balance.Amount)
	require.EqualValues(t, 305, store.accounts[user].Balance.Amount)
}

func TestEndlessConflictsEndInAnError(t *testing.T) {
	user := NewID[User]()
	store := newAccountStore(user)
	store.refuse = func(Change) error { return ErrConflict }
	p := newPipeline(store, 0, 100)
	c := &command{want: Want{User: user}, conflicts: maxConflicts, decide: func(state *State) (Change, error) { return state.change(), nil }}
	require.NoError(t, p.do(context.Background(), c))
	require.ErrorIs(t, c.err, ErrConflict)
	require.Equal(t, CodeTooManyConflicts, ErrorCode(c.err))
}

func TestLostAcknowledgementCountsOnce(t *testing.T) {
	user := NewID[User]()
	store := newAccountStore(user)
	lost := 0
	store.afterCommit = func([]Change) error {
		if lost < 2 {
			lost++
			return errors.New("connection cut")
		}
		return nil
	}
	m := testManager(t, store)
	// A plain error is not known to be passing: the caller hears of it, and its retry counts once.
	_, err := m.Refill(context.Background(), user, euros(5, "a"))
	require.ErrorIs(t, err, ErrUnavailable)
	made, err := m.Refill(context.Background(), user, euros(5, "a"))
	require.NoError(t, err)
	require.EqualValues(t, 5, made.Balance.Amount)
	require.EqualValues(t, 5, store.accounts[user].Balance.Amount)

	// An unavailable store is tried again by the corridor, which finds its event.
	store.afterCommit = func([]Change) error {
		if lost < 4 {
			lost++
			return NewError(CodeStoreUnavailable, "", "connection cut")
		}
		return nil
	}
	event, err := m.RecordEvent(context.Background(), user, NewEvent{Name: "example.seen"})
	require.NoError(t, err)
	require.True(t, store.events[event.ID])
	require.Len(t, store.events, 2, "one refill, one event of the host's")
	require.EqualValues(t, 3, store.accounts[user].Version)
}

func TestAnswerThatRestsOnAFailedCommitIsNotGiven(t *testing.T) {
	// In one batch, a charge takes the money and a second one is refused for it.
	// When the commit does not happen, both are decided anew.
	user := NewID[User]()
	store := newAccountStore(user)
	account := store.accounts[user]
	account.Balance.Amount = 10
	store.accounts[user] = account
	p := newPipeline(store, 1, 100)
	first := true
	store.beforeCommit = func([]Change) error {
		if first { // the money of the first charge turns out to be enough for both
			first = false
			account := store.accounts[user]
			account.Version++
			account.Balance.Amount = 20
			store.accounts[user] = account
		}
		return nil
	}
	charge := func(key string) *command {
		o := origin{now: time.Now(), actor: Actor{Kind: ActorSystem}, event: NewID[Event]()}
		return &command{want: Want{User: user, TransactionKeys: []string{key}}, decide: func(state *State) (Change, error) {
			_, c, err := euros(10, key).book(state, o, NewID[Transaction](), TransactionCharge, 0)
			return c, err
		}}
	}
	a, b := charge("a"), charge("b")
	require.NoError(t, p.do(context.Background(), a, b))
	require.NoError(t, a.err)
	require.NoError(t, b.err, "decided anew, the second charge fits")
	require.Zero(t, store.accounts[user].Balance.Amount)
}

func TestUniqueValueStopsOnlyItsOwnCommand(t *testing.T) {
	user := NewID[User]()
	store := newAccountStore(user)
	taken := NewError(CodeLoginTaken, "login", "taken")
	bad := NewID[Event]()
	store.refuse = func(change Change) error {
		for _, event := range change.Events {
			if event.ID == bad {
				return taken
			}
		}
		return nil
	}
	p := newPipeline(store, 1, 100)
	var commands []*command
	for i := range 5 {
		id := NewID[Event]()
		if i == 2 {
			id = bad
		}
		commands = append(commands, &command{want: Want{User: user}, decide: func(state *State) (Change, error) {
			c := state.change()
			c.Account.Balance.Amount++
			c.Events = []Event{{ID: id, UserID: user}}
			return c, nil
		}})
	}
	require.NoError(t, p.do(context.Background(), commands...))
	for i, c := range commands {
		if i == 2 {
			require.ErrorIs(t, c.err, ErrExists)
		} else {
			require.NoError(t, c.err)
		}
	}
	require.EqualValues(t, 4, store.accounts[user].Balance.Amount)
}

func TestLaterEditDoesNotHideAnEditThatIsRefused(t *testing.T) {
	// Two edits of one user wait together. The first takes a login that another
	// user has; the second takes a free one, and must not carry the first through.
	user := NewID[User]()
	store := newAccountStore(user)
	taken := NewError(CodeLoginTaken, "login", "taken")
	store.refuse = func(change Change) error {
		if change.Profile != nil && change.Profile.Login == "taken" {
			return taken
		}
		return nil
	}
	p := newPipeline(store, 1, 100)
	var commands []*command
	for _, login := range []string{"taken", "free"} {
		o := testOrigin(noon)
		commands = append(commands, &command{want: Want{User: user, Profile: true}, decide: func(state *State) (Change, error) {
			_, c, err := UserPatch{Login: Set(login)}.edit(state, o, nil)
			return c, err
		}})
	}
	require.NoError(t, p.do(context.Background(), commands...))
	require.ErrorIs(t, commands[0].err, ErrExists)
	require.NoError(t, commands[1].err)
}

func TestCommandMayAskToKnowMore(t *testing.T) {
	user := NewID[User]()
	store := newAccountStore(user)
	p := newPipeline(store, 1, 100)
	add := func(state *State) (Change, error) {
		c := state.change()
		c.Account.Balance.Amount++
		return c, nil
	}
	asked := 0
	asks := func(state *State) (Change, error) {
		if !state.complete.devices {
			asked++
			return Change{}, needMore{Want{AllDevices: true}}
		}
		return add(state)
	}
	commands := []*command{
		{want: Want{User: user}, decide: add}, {want: Want{User: user}, decide: asks}, {want: Want{User: user}, decide: add},
	}
	require.NoError(t, p.do(context.Background(), commands...))
	require.Equal(t, 1, asked)
	require.EqualValues(t, 3, store.accounts[user].Balance.Amount)
}

func TestCancelledWhileWaitingReturnsAtOnce(t *testing.T) {
	user := NewID[User]()
	store := newAccountStore(user)
	g := newGate()
	var once sync.Once
	store.beforeCommit = func([]Change) error {
		once.Do(func() { g.pass(1) })
		return nil
	}
	m := testManager(t, store)
	var group sync.WaitGroup
	group.Go(func() {
		_, err := m.Refill(context.Background(), user, euros(1, "under way"))
		require.NoError(t, err)
	})
	<-g.arrived

	ctx, cancel := context.WithCancelCause(context.Background())
	var waited sync.WaitGroup
	waited.Go(func() {
		_, err := m.Refill(ctx, user, euros(10, "waits"))
		require.ErrorIs(t, err, context.Canceled)
	})
	waiting(t, m.(*manager).pipeline, 2)
	cancel(nil)
	waited.Wait() // although the store is still held
	close(g.open)
	group.Wait()

	_, err := m.Refill(ctx, user, euros(10, "late"))
	require.ErrorIs(t, err, context.Canceled, "an ended context does not enter")
	_, err = m.Refill(context.Background(), user, euros(2, "after"))
	require.NoError(t, err)
	require.EqualValues(t, 3, store.accounts[user].Balance.Amount, "the one that was given up was not done")
}

func TestCloseWaitsAndRefuses(t *testing.T) {
	user := NewID[User]()
	store := newAccountStore(user)
	g := newGate()
	store.beforeCommit = func([]Change) error { g.pass(1); return nil }
	m, err := New(store)
	require.NoError(t, err)
	done := make(chan error)
	go func() {
		_, err := m.Refill(context.Background(), user, euros(1, "a"))
		done <- err
	}()
	<-g.arrived
	closed := make(chan error)
	go func() { closed <- m.Close(context.Background()) }()
	require.Eventually(t, func() bool {
		_, err := m.Refill(context.Background(), NewID[User](), euros(1, "b"))
		return ErrorCode(err) == CodeClosed
	}, 10*time.Second, time.Millisecond)
	select {
	case err := <-closed:
		require.Fail(t, "closed with a change under way", "%v", err)
	default:
	}
	close(g.open)
	require.NoError(t, <-done)
	require.NoError(t, <-closed)
	require.NoError(t, m.Close(context.Background()))
}

func TestCloseIsBounded(t *testing.T) {
	user := NewID[User]()
	store := newAccountStore(user)
	g := newGate()
	store.beforeCommit = func([]Change) error { g.pass(1); return nil }
	m, err := New(store)
	require.NoError(t, err)
	done := make(chan error)
	go func() {
		_, err := m.Refill(context.Background(), user, euros(1, "a"))
		done <- err
	}()
	<-g.arrived
	over, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, m.Close(over), context.Canceled, "the store hangs, and the caller does not")
	close(g.open)
	require.NoError(t, <-done, "what was under way comes to its own end")
	require.NoError(t, m.Close(context.Background()))
	require.NoError(t, m.Close(over), "there is nothing to wait for")
}

func TestRunEndsAfterClose(t *testing.T) {
	m, err := New(newAccountStore())
	require.NoError(t, err)
	ended := make(chan error)
	go func() { ended <- m.Run(context.Background()) }()
	p := m.(*manager).pipeline
	require.Eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.pending > 0
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, m.Close(context.Background()))
	require.Equal(t, CodeClosed, ErrorCode(<-ended))
	require.Equal(t, CodeClosed, ErrorCode(m.Run(context.Background())))
}

func TestNewRefusesNilOptions(t *testing.T) {
	for _, opts := range [][]Option{{nil}, {WithBalanceFloor(0), nil}} {
		_, err := New(newAccountStore(), opts...)
		require.Equal(t, CodeInvalidOption, ErrorCode(err))
	}
}

func TestQueuesAreForgotten(t *testing.T) {
	store := newAccountStore()
	m := testManager(t, store)
	for range 100 {
		_, err := m.Refill(context.Background(), NewID[User](), euros(1, "a"))
		require.ErrorIs(t, err, ErrNotFound)
	}
	p := m.(*manager).pipeline
	require.Eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.queues) == 0 && len(p.ready) == 0 && p.running == 0
	}, 10*time.Second, time.Millisecond)
}

func TestStormOfFaultsAndConflictsLosesNothing(t *testing.T) {
	users := []UserID{NewID[User](), NewID[User](), NewID[User]()}
	store := newAccountStore(users...)
	flaky := func() error {
		if rand.IntN(20) == 0 {
			return NewError(CodeStoreUnavailable, "", "now and then")
		}
		return nil
	}
	store.beforeLoad = func([]Want) error { return flaky() }
	store.beforeCommit = func([]Change) error { return flaky() }
	store.afterCommit = func([]Change) error { return flaky() }
	managers := []Manager{testManager(t, store), testManager(t, store)}
	var acknowledged [3]atomic.Int64
	var group sync.WaitGroup
	for caller := range 40 {
		group.Go(func() {
			for i := range 25 {
				number := (caller + i) % len(users)
				entry := euros(1, NewID[Transaction]().String())
				for {
					_, err := managers[caller%2].Refill(context.Background(), users[number], entry)
					if err == nil {
						break
					}
					require.ErrorIs(t, err, ErrUnavailable)
				}
				acknowledged[number].Add(1)
			}
		})
	}
	group.Wait()
	for i, user := range users {
		require.Equal(t, acknowledged[i].Load(), store.accounts[user].Balance.Amount)
		require.Equal(t, acknowledged[i].Load(), store.accounts[user].TransactionSequence)
	}
}

// hangingStore is a store that never answers.
type hangingStore struct{ *accountStore }

func (s hangingStore) Load(ctx context.Context, _ []Want) ([]State, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A store that hangs holds a change up for the time of the option, per attempt.
func TestChangesAreBounded(t *testing.T) {
	p := newPipeline(hangingStore{newAccountStore()}, 1, 0)
	p.timeout = time.Millisecond
	c := &command{want: Want{User: NewID[User]()}, decide: func(*State) (Change, error) { return Change{}, nil }}
	require.NoError(t, p.do(context.Background(), c))
	require.ErrorIs(t, c.err, ErrUnavailable)
}

// A store is code of the host's: a panic there, or an end of the goroutine, on a lane of
// the corridor costs the command and nothing else, and nobody waits.
func TestLanesOutliveWhatTheStoreDoes(t *testing.T) {
	for name, does := range map[string]func(){
		"panics":             func() { panic("the store is broken") },
		"ends the goroutine": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			for _, where := range []string{"load", "commit", "after the commit"} {
				user := NewID[User]()
				store := newAccountStore(user)
				switch where {
				case "load":
					store.beforeLoad = func([]Want) error { does(); return nil }
				case "commit":
					store.beforeCommit = func([]Change) error { does(); return nil }
				default:
					store.afterCommit = func([]Change) error { does(); return nil }
				}
				var log bytes.Buffer
				m, err := New(store, WithLogger(slog.New(slog.NewTextHandler(&log, nil))), WithAccountCache(0))
				require.NoError(t, err)
				_, err = m.Refill(context.Background(), user, euros(1, "a"))
				if where == "after the commit" && name == "panics" {
					require.NoError(t, err, "the change has happened, which the event tells")
				} else {
					require.Equal(t, CodeStoreUnavailable, ErrorCode(err), where)
				}
				store.beforeLoad, store.beforeCommit, store.afterCommit = nil, nil, nil
				_, err = m.Refill(context.Background(), user, euros(1, "a"))
				require.NoError(t, err, where)
				require.EqualValues(t, 1, store.accounts[user].Balance.Amount, where)
				require.NoError(t, m.Close(context.Background()), "nothing is left under way")
				require.Contains(t, log.String(), "panicked")
				require.NotZero(t, m.(*manager).pipeline.panics.Load())
			}
		})
	}
}

// What the host has plugged in may panic or end the goroutine in a duty as well: the duty has failed
// then, and is done again.
func TestDutiesOutliveWhatTheHostDoes(t *testing.T) {
	m := testManager(t, newAccountStore()).(*manager)
	for name, does := range map[string]func(){"panics": func() { panic("the host is broken") }, "ends the goroutine": runtime.Goexit} {
		err := m.attempt(t.Context(), duty{do: func(*manager, context.Context) error { does(); return nil }})
		require.Error(t, err, name)
	}
	require.NoError(t, m.attempt(t.Context(), duty{do: func(*manager, context.Context) error { return nil }}))
}

// What a store returns in another number than was asked for is a fault of the store.
func TestStoresThatMiscountAreFaulty(t *testing.T) {
	m := testManager(t, miscounting{newAccountStore()}, WithAccountCache(0))
	_, err := m.Refill(context.Background(), NewID[User](), euros(1, "a"))
	require.Equal(t, CodeStoreUnavailable, ErrorCode(err))
}

type miscounting struct{ *accountStore }

func (miscounting) Load(context.Context, []Want) ([]State, error) { return nil, nil }

type brokenHandler struct{ slog.Handler }

func (brokenHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (brokenHandler) Handle(context.Context, slog.Record) error { panic("the log is full") }

// A panic of the host's logger ends nothing either, also where it would tell of one.
func TestLoggersMayPanic(t *testing.T) {
	user := NewID[User]()
	store := newAccountStore(user)
	store.beforeLoad = func([]Want) error { panic("the store is broken") }
	m := testManager(t, store, WithLogger(slog.New(brokenHandler{slog.DiscardHandler})), WithAccountCache(0))
	_, err := m.Refill(context.Background(), user, euros(1, "a"))
	require.Equal(t, CodeStoreUnavailable, ErrorCode(err))
}
