package postgres

import (
	"strconv"
	"strings"
	"testing"
	"time"

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
	requireSortings(t, userkit.LocationFields(), locationSortings)
	requireSortings(t, userkit.PurchaseFields(), purchaseSortings)
	requireSortings(t, userkit.TransactionFields(), transactionSortings)
	requireSortings(t, userkit.EventFields(), eventSortings)
	requireSortings(t, userkit.ConnectionFields(), connectionSortings)
	requireSortings(t, userkit.SegmentFields(), segmentSortings)
}

// Every field of users, stored or derived, can be compared in every way that the
// grammar of filters allows.
func TestEveryFieldCanBeCompared(t *testing.T) {
	store := &Store{project: "p", schema: "s"}
	compare := func(name string, kind userkit.FieldKind, values []string) {
		value := map[userkit.FieldKind]string{
			userkit.KindText: "a", userkit.KindCode: "a", userkit.KindMoney: "1.50 EUR", userkit.KindTime: "2026-01-02",
			userkit.KindSpan: "1h", userkit.KindID: userkit.NewID[userkit.User]().String(), userkit.KindJSON: "a",
		}[kind]
		operands := []string{"null", "true", "1", strconv.Quote(value)}
		for _, value := range values {
			operands = append(operands, strconv.Quote(value))
		}
		compiled := map[string]bool{}
		for _, operator := range []string{"pr", "eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"} {
			for _, operand := range operands {
				if operator == "pr" {
					operand = ""
				}
				filter, err := userkit.ParseFilter(name + " " + operator + " " + operand)
				if err != nil {
					continue // no way to compare this field
				}
				compiled[operator] = true
				selected, err := store.selection(userkit.UserSelection{Filter: filter, Moment: userkit.Moment{At: time.Now()}})
				require.NoError(t, err, filter)
				require.Len(t, selected.where.args, strings.Count(selected.where.text.String(), "?"), filter)
			}
		}
		require.True(t, compiled["pr"], name)
		require.True(t, compiled["eq"], name)
	}
	for _, field := range userkit.UserFields() {
		name := field.Name
		if field.Kind == userkit.KindJSON {
			name += ".path.to"
		}
		compare(name, field.Kind, field.Values)
	}
	for _, field := range userkit.DerivedUserFields() {
		compare(field.Name, field.Kind, field.Values)
	}
	_, err := store.selection(userkit.UserSelection{Filter: userkit.Present("unknown")})
	require.Equal(t, userkit.CodeUnknownField, userkit.ErrorCode(err))
}

func TestConstraintsOfShardsAreKnown(t *testing.T) {
	found, ok := constraintMeaning("users_login_key_102008")
	require.True(t, ok)
	require.Equal(t, unique{"user", "login"}, found)
	_, ok = constraintMeaning("users_login_key_")
	require.False(t, ok)
	_, ok = constraintMeaning("orders_pkey")
	require.False(t, ok)
}
