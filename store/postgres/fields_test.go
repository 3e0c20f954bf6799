package postgres

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// requireSortings demands that every field that lists can be sorted by has its
// place, that keys of the field become parameters, and that there are no others.
func requireSortings[T any](t *testing.T, fields []userkit.Field[T], sortings map[string]sorting) {
	t.Helper()
	var none T
	count := 0
	for _, field := range fields {
		if !field.Sortable() {
			require.NotContains(t, sortings, field.Name)
			continue
		}
		count++
		require.Contains(t, sortings, field.Name)
		made, ok := sortings[field.Name].parameter(field.Key(&none))
		require.True(t, ok, field.Name)
		require.NotEmpty(t, made.kind, field.Name)
		_, ok = sortings[field.Name].parameter(struct{}{})
		require.False(t, ok, "%s takes a key of another type", field.Name)
	}
	require.Len(t, sortings, count)
}

func TestEveryFieldHasItsPlace(t *testing.T) {
	requireSortings(t, userkit.UserFields(), userSortings)
	requireSortings(t, userkit.DeviceFields(), deviceSortings)
	requireSortings(t, userkit.SessionFields(), sessionSortings)
	requireSortings(t, userkit.PurchaseFields(), purchaseSortings)
	requireSortings(t, userkit.TransactionFields(), transactionSortings)
	requireSortings(t, userkit.EventFields(), eventSortings)
}

func TestConstraintsOfShardsAreKnown(t *testing.T) {
	found, ok := constraintMeaning("users_login_key_102008")
	require.True(t, ok)
	require.Equal(t, userkit.CodeLoginTaken, found.code)
	_, ok = constraintMeaning("users_login_key_")
	require.False(t, ok)
	_, ok = constraintMeaning("orders_pkey")
	require.False(t, ok)
}
