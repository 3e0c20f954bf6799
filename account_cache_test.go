package userkit

import (
	"context"
	"reflect"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// countLoads makes a store count the calls of Load.
func countLoads(store *accountStore) *atomic.Int64 {
	var loads atomic.Int64
	store.beforeLoad = func([]Want) error { loads.Add(1); return nil }
	return &loads
}

func TestSecondRefillNeedsNoLoad(t *testing.T) {
	user := NewID[User]()
	store := newAccountStore(user)
	loads := countLoads(store)
	m := testManager(t, store)
	for i := range 10 {
		_, err := m.Refill(context.Background(), user, euros(1, strconv.Itoa(i)))
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, loads.Load())
	require.EqualValues(t, 10, store.accounts[user].Balance.Amount)

	without := testManager(t, store, WithAccountCache(0))
	for i := range 3 {
		_, err := without.Refill(context.Background(), user, euros(1, "without"+strconv.Itoa(i)))
		require.NoError(t, err)
	}
	require.EqualValues(t, 4, loads.Load())
}

func TestRefusalRestsOnTheStore(t *testing.T) {
	user := NewID[User]()
	store := newAccountStore(user)
	one, other := testManager(t, store), testManager(t, store)
	ctx := context.Background()
	_, err := one.Refill(ctx, user, euros(5, "a"))
	require.NoError(t, err)
	_, err = other.Refill(ctx, user, euros(100, "b"))
	require.NoError(t, err)
	// By what the first manager remembers, there are 5 cents.
	made, err := one.Charge(ctx, user, euros(80, "c"))
	require.NoError(t, err)
	require.EqualValues(t, 25, made.Balance.Amount)
	_, err = one.Charge(ctx, user, euros(80, "d"))
	require.Equal(t, CodeInsufficientBalance, ErrorCode(err))
}

func TestChangeFromAnOutdatedAccountIsDecidedAnew(t *testing.T) {
	user := NewID[User]()
	store := newAccountStore(user)
	one, other := testManager(t, store), testManager(t, store)
	ctx := context.Background()
	for i, m := range []Manager{one, other, one, other, other, one} {
		_, err := m.Refill(ctx, user, euros(1, strconv.Itoa(i)))
		require.NoError(t, err)
	}
	require.EqualValues(t, 6, store.accounts[user].Balance.Amount)
	require.EqualValues(t, 6, store.accounts[user].TransactionSequence)
}

func TestRepeatedKeyIsFoundAlthoughNothingWasLoaded(t *testing.T) {
	user := NewID[User]()
	store := newAccountStore(user)
	loads := countLoads(store)
	m := testManager(t, store)
	ctx := context.Background()
	first, err := m.Refill(ctx, user, euros(5, "a"))
	require.NoError(t, err)
	_, err = m.Refill(ctx, user, euros(7, "b"))
	require.NoError(t, err)
	require.EqualValues(t, 1, loads.Load())
	again, err := m.Refill(ctx, user, euros(5, "a"))
	require.NoError(t, err)
	require.Equal(t, first, again)
	_, err = m.Refill(ctx, user, euros(6, "a"))
	require.Equal(t, CodeKeyReused, ErrorCode(err))
	_, err = m.Charge(ctx, user, euros(6, "b"))
	require.Equal(t, CodeKeyReused, ErrorCode(err))
	require.EqualValues(t, 12, store.accounts[user].Balance.Amount)
}

func TestUserWhoIsGoneIsNotRemembered(t *testing.T) {
	user := NewID[User]()
	store := newAccountStore(user)
	m := testManager(t, store)
	ctx := context.Background()
	_, err := m.Refill(ctx, user, euros(5, "a"))
	require.NoError(t, err)
	delete(store.accounts, user) // by another process
	_, err = m.Refill(ctx, user, euros(5, "b"))
	require.Equal(t, CodeUserNotFound, ErrorCode(err))
}

func TestCacheIsBounded(t *testing.T) {
	cache := newAccountCache(3)
	for range 10 {
		cache.put(&Change{User: NewID[User](), Account: Account{Version: 1}})
	}
	require.Len(t, cache.accounts, 3)
	none := newAccountCache(0)
	none.put(&Change{User: NewID[User](), Account: Account{Version: 1}})
	require.Empty(t, none.accounts)
}

// A field of Want that this forgets would be decided from a state without it.
func TestOnlyKeysOfTransactionsRestOnTheAccount(t *testing.T) {
	rests := func(want Want) bool { return (&command{want: want}).restsOnAccount() }
	require.True(t, rests(Want{User: UserID{15: 1}, TransactionKeys: []string{"key"}}))
	for i := range reflect.TypeFor[Want]().NumField() {
		var want Want
		name := reflect.TypeFor[Want]().Field(i).Name
		switch field := reflect.ValueOf(&want).Elem().Field(i); {
		case name == "User" || name == "TransactionKeys":
			continue
		case name == "UsageFrom":
			want.UsageFrom = Set(Day{2026, 1, 1})
		case field.Kind() == reflect.Slice:
			field.Set(reflect.MakeSlice(field.Type(), 1, 1))
		default:
			field.SetBool(true)
		}
		require.False(t, rests(want), name)
	}
}
