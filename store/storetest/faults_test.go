package storetest

import (
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// reads are the methods of Store that change nothing. Whoever adds a method decides here.
var reads = []string{
	"Load", "User", "FindUser", "FindUsers", "Users", "CountUsers", "UserIDs", "UserNames", "Segments", "FindSegments",
	"Device", "DeviceByToken", "DeviceByPushToken", "Devices", "Locations", "SealedDevices", "Session",
	"SessionOwners", "Sessions", "StaleSessions", "Usage", "Purchase", "FindPurchases", "Purchases",
	"Connection", "Connections", "Message", "Messages", "Deliveries", "Transactions", "Ledgers",
	"Events", "Feed", "EventNames", "Now", "CountExpired", "Close",
	"CountSegments", "CountDevices", "CountSessions", "CountPurchases", "CountConnections", "CountMessages",
	"CountDeliveries", "CountTransactions", "CountEvents",
}

// TestEveryWriteHasFaults demands that the suite lets each call of a store fail that writes.
func TestEveryWriteHasFaults(t *testing.T) {
	var groups, methods []string
	for _, group := range faultGroups() {
		groups = append(groups, group.name)
	}
	for method := range reflect.TypeFor[userkit.Store]().Methods() {
		methods = append(methods, method.Name)
		if slices.Contains(reads, method.Name) {
			continue
		}
		if group, change := changeFaults[method.Name]; change {
			require.Contains(t, groups, group)
			continue
		}
		require.Contains(t, writeFaults, method.Name, "writeFaults says what becomes of a call that fails")
	}
	require.Len(t, methods, len(reads)+len(changeFaults)+len(writeFaults), "no row is of a method that is gone")
}
