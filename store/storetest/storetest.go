// Package storetest says whether an implementation of userkit.Store is right.
//
// A store's own test calls Run with a function that opens a fresh, empty store:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) userkit.Store { return open(t) })
//	}
//
// The suite has two halves. The first speaks to the Store interface alone and
// holds it to its doc comments, line by line. The second runs a manager on the
// store and checks what users of the library see. Every case gets a store of
// its own and runs in parallel with the others, so it can be run alone with
// -run and its failure says what is wrong with no regard to what ran before.
//
// A store passes the suite whole: there is no list of exceptions. RunStore is its
// first half, for a store that has passed whole already, over another driver.
package storetest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// Open opens a fresh, empty store for one case. It registers with t.Cleanup
// whatever ends the store; cases may have closed it before. It may be called by
// several goroutines at once.
type Open func(t *testing.T) userkit.Store

// Options say what more a store can do.
type Options struct {
	// Reopen opens a second handle on the data of a store, as another process
	// would: closing one leaves the other as it is. It registers what ends it
	// with t.Cleanup. Nil means that the data lives in one process only; cases
	// that need two handles then use the store twice.
	Reopen func(t *testing.T, store userkit.Store) userkit.Store

	// Brief leaves out the long cases, which repeat with many
	// records or many variations what others show with few. It is meant for a second
	// run of a store that passes whole: over another driver, or with the race detector,
	// to which a thousand records of one goroutine are as good as two.
	Brief bool

	// Rows says that each record is one row, which every way of reading it looks up, as in
	// a database: no index is kept by hand that a change could forget. What a change has
	// left is then read once by most cases of the store's half, and in every way by
	// those of the kinds of record and of their values.
	Rows bool

	// Groups are the groups of cases that are run, by their names as -run has them. None
	// means all. It is meant for a second run, too.
	Groups []string
}

// Run runs the whole suite.
func Run(t *testing.T, open func(t *testing.T) userkit.Store) {
	RunWith(t, open, Options{})
}

// RunWith runs the whole suite with options.
func RunWith(t *testing.T, open func(t *testing.T) userkit.Store, options Options) {
	RunStore(t, open, options)
	RunManager(t, open, options)
}

// RunStore runs the half of the suite that speaks to the Store interface alone. A
// manager does nothing with a store but call that interface, so this is enough
// where only what is below the store differs.
func RunStore(t *testing.T, open func(t *testing.T) userkit.Store, options Options) {
	t.Run("Store", func(t *testing.T) { runStore(t, open, options) })
}

// RunManager runs the half of the suite that speaks to a Manager on the store.
func RunManager(t *testing.T, open func(t *testing.T) userkit.Store, options Options) {
	t.Run("Manager", func(t *testing.T) { runManager(t, open, options) })
}

// group is a part of the table of contents: what is tested, usually a method,
// and its cases.
type group struct {
	name  string
	cases []testCase
}

// testCase is a sentence that must hold, and the function that checks it on a
// fresh store.
type testCase struct {
	name string
	run  func(t *testing.T, env env)
}

// env is what a case works on.
type env struct {
	store  userkit.Store
	reopen func(t *testing.T, store userkit.Store) userkit.Store
}

// second returns another handle on the data of the store, or the store itself when
// it has one handle only.
func (e env) second(t *testing.T) userkit.Store {
	t.Helper()
	if e.reopen == nil {
		return e.store
	}
	return e.reopen(t, e.store)
}

// rowStore is a store of which Options.Rows is said.
type rowStore struct{ userkit.Store }

// unwrapped returns the store that a rowStore is made of, and any other as it is.
func unwrapped(store userkit.Store) userkit.Store {
	if rows, ok := store.(rowStore); ok {
		return rows.Store
	}
	return store
}

// inEveryWay makes a case read in every way what a change has left, whatever the options
// say.
func inEveryWay(run func(t *testing.T, env env)) func(t *testing.T, env env) {
	return func(t *testing.T, env env) {
		env.store = unwrapped(env.store)
		run(t, env)
	}
}

// runGroups runs every case on a store of its own. Groups of one name run as one.
func runGroups(t *testing.T, open Open, options Options, groups ...group) {
	var merged []group
	for _, each := range groups {
		if i := slices.IndexFunc(merged, func(g group) bool { return g.name == each.name }); i >= 0 {
			merged[i].cases = slices.Concat(merged[i].cases, each.cases)
		} else {
			merged = append(merged, each)
		}
	}
	if len(options.Groups) > 0 {
		merged = slices.DeleteFunc(merged, func(g group) bool { return !slices.Contains(options.Groups, g.name) })
		require.Len(t, merged, len(options.Groups), "a group that there is not: %v", options.Groups)
	}
	for _, group := range merged {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			for _, testCase := range group.cases {
				t.Run(testCase.name, func(t *testing.T) {
					t.Parallel()
					testCase.run(t, env{store: open(t), reopen: options.Reopen})
				})
			}
		})
	}
}

// runStore checks the contract of the Store interface.
func runStore(t *testing.T, open Open, options Options) {
	groups := slices.Concat(
		[]group{storeLoadGroup(), storeCommitGroup(), storeKindsGroup()},
		storeUserGroups(),
		storeFilterGroups(),
		storeSegmentGroups(),
		storeDeviceGroups(),
		storeSessionGroups(),
		storePurchaseGroups(),
		storeDeliveryGroups(),
		storeLedgerGroups(),
		storeEventGroups(),
		storeRetentionGroups(),
		storeContractGroups(),
	)
	if !options.Brief {
		groups = append(groups, storeLongGroups()...)
	}
	if options.Rows {
		openStore, reopen := open, options.Reopen
		open = func(t *testing.T) userkit.Store { return rowStore{openStore(t)} }
		if reopen != nil {
			options.Reopen = func(t *testing.T, store userkit.Store) userkit.Store {
				return rowStore{reopen(t, unwrapped(store))}
			}
		}
	}
	runGroups(t, open, options, groups...)
}
