package userkit_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

func ExampleAll() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"VIP", "Beta"} {
		if _, err := users.CreateSegment(ctx, userkit.NewSegment{Name: name}); err != nil {
			panic(err)
		}
	}
	for segment, err := range userkit.All(ctx, users.Segments, userkit.SegmentQuery{}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(segment.Name)
	}
	// Output:
	// Beta
	// VIP
}

func TestAllPagesOfEveryList(t *testing.T) {
	ctx := t.Context()
	users, err := userkit.New(memory.New())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, users.Close(context.Background())) })
	user, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	require.NoError(t, err)
	for range 7 {
		_, err := users.RecordEvent(ctx, user.ID, userkit.NewEvent{Name: "host.event"})
		require.NoError(t, err)
	}
	query := userkit.EventQuery{PageQuery: userkit.PageQuery{Limit: 3}}
	var all []userkit.EventID
	for event, err := range userkit.All(ctx, users.Events, query) {
		require.NoError(t, err)
		all = append(all, event.ID)
	}
	whole, err := users.Events(ctx, userkit.EventQuery{})
	require.NoError(t, err)
	require.Len(t, all, 8)
	for i, event := range whole.Items {
		require.Equal(t, event.ID, all[i])
	}
	require.Empty(t, query.Cursor, "the query of the caller stays")
	sequence := userkit.All(ctx, users.Events, query)
	for range 2 { // a sequence can be ranged over again, and left
		count := 0
		for _, err := range sequence {
			require.NoError(t, err)
			if count++; count == 4 {
				break
			}
		}
		require.Equal(t, 4, count)
	}
	count := 0
	for _, err := range userkit.All(ctx, users.Events, userkit.EventQuery{PageQuery: userkit.PageQuery{Limit: -1}}) {
		requireErrorCode(t, userkit.CodeOutOfRange, err)
		count++
	}
	require.Equal(t, 1, count)
	failing := func(_ context.Context, query userkit.DeviceQuery) (userkit.Page[userkit.Device], error) {
		if query.Cursor == "" {
			require.Equal(t, userkit.MaxPageLimit, query.Limit)
			return userkit.Page[userkit.Device]{Items: make([]userkit.Device, 2), Next: "next"}, nil
		}
		return userkit.Page[userkit.Device]{}, errors.New("down")
	}
	count = 0
	for _, err := range userkit.All(ctx, failing, userkit.DeviceQuery{}) {
		if count++; count == 3 {
			require.ErrorContains(t, err, "down")
		}
	}
	require.Equal(t, 3, count)
	// Every list of Manager can be walked.
	for _, err := range userkit.All(ctx, users.Users, userkit.UserQuery{}) {
		require.NoError(t, err)
	}
	_ = userkit.All(ctx, users.Devices, userkit.DeviceQuery{})
	_ = userkit.All(ctx, users.Sessions, userkit.SessionQuery{})
	_ = userkit.All(ctx, users.Purchases, userkit.PurchaseQuery{})
	_ = userkit.All(ctx, users.Transactions, userkit.TransactionQuery{})
	_ = userkit.All(ctx, users.Messages, userkit.MessageQuery{})
	_ = userkit.All(ctx, users.Connections, userkit.ConnectionQuery{})
	_ = userkit.All(ctx, users.Deliveries, userkit.DeliveryQuery{})
}
