package memory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// openMemory opens a store for a case of the conformance suite.
func openMemory(t *testing.T) userkit.Store {
	store := memory.New()
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// Two records of one user may swap their unique values in one change, and each is found
// by its new one.
func TestUniqueValuesAreSwapped(t *testing.T) {
	ctx := t.Context()
	store := memory.New()
	user := userkit.NewID[userkit.User]()
	devices := make([]userkit.DeviceRecord, 2)
	transactions := make([]userkit.Transaction, 2)
	for i := range 2 {
		devices[i].ID, devices[i].UserID, devices[i].TokenDigest = userkit.NewID[userkit.Device](), user, userkit.TokenDigest{byte(i + 1)}
		transactions[i] = userkit.Transaction{ID: userkit.NewID[userkit.Transaction](), UserID: user, Sequence: int64(i + 1), Key: string(rune('a' + i))}
	}
	commit := func(change userkit.Change) {
		t.Helper()
		change.User, change.Account.Version = user, change.Version+1
		outcomes, err := store.Commit(ctx, []userkit.Change{change})
		require.NoError(t, err)
		require.Equal(t, []error{nil}, outcomes)
	}
	commit(userkit.Change{
		Profile: &userkit.User{ID: user},
		Devices: userkit.Records[userkit.DeviceRecord, userkit.DeviceID]{Insert: devices},
		Transactions: userkit.Records[userkit.Transaction, userkit.TransactionID]{
			Insert: transactions,
		},
	})

	devices[0].TokenDigest, devices[1].TokenDigest = devices[1].TokenDigest, devices[0].TokenDigest
	transactions[0].Key, transactions[1].Key = transactions[1].Key, transactions[0].Key
	commit(userkit.Change{
		Version: 1,
		Devices: userkit.Records[userkit.DeviceRecord, userkit.DeviceID]{Update: devices},
		Transactions: userkit.Records[userkit.Transaction, userkit.TransactionID]{
			Update: transactions,
		},
	})
	for i := range 2 {
		device, _, _, err := store.DeviceByToken(ctx, devices[i].TokenDigest)
		require.NoError(t, err)
		require.Equal(t, devices[i].ID, device.ID)
		states, err := store.Load(ctx, []userkit.Want{{User: user, TransactionKeys: []string{transactions[i].Key}}})
		require.NoError(t, err)
		require.Len(t, states[0].Transactions, 1)
		require.Equal(t, transactions[i].ID, states[0].Transactions[0].ID)
	}
}
