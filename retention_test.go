package userkit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A kind of record says from when its age counts, or why it is kept.
func TestEveryKindSaysWhetherItIsKept(t *testing.T) {
	for _, kind := range recordKinds {
		require.NotEqual(t, kind.expires == "", kind.kept == "", "%s: one of expires and kept is to be set", kind.name)
	}
	for _, money := range []string{RowsTransactions, RowsPurchases} {
		require.NotContains(t, RetainableKinds(), money)
	}
}

// What rules look for is never deleted: the marks of notifications and of withheld purchases,
// and what an idempotency key did.
func TestEventsOfMoneyAreKept(t *testing.T) {
	for _, kept := range []EventName{
		EventBalanceRefilled, EventBalanceCharged, EventBalanceCancelled, EventPurchaseSubmitted, EventPurchaseUpdated, EventPurchaseActivated,
		EventPurchaseDeactivated, EventPurchaseTransferred, EventPurchaseWithheld, EventPurchaseReleased,
	} {
		require.False(t, kept.Retainable(), kept)
	}
	require.True(t, EventSessionStarted.Retainable())
}

func TestRetentionRulesAreChecked(t *testing.T) {
	day := Duration(24 * time.Hour)
	for name, rules := range map[string][]RetentionRule{
		"no kind":                  {{Keep: day}},
		"an unknown kind":          {{Kind: "secrets", Keep: day}},
		"a kind that is kept":      {{Kind: RowsTransactions, Keep: 1000 * day}},
		"an event that is kept":    {{Kind: RowsEvents, Event: EventPurchaseWithheld, Keep: day}},
		"a name of another kind":   {{Kind: RowsSessions, Event: EventSessionEnded, Keep: day}},
		"less than a day":          {{Kind: RowsSessions, Keep: day - 1}},
		"nothing":                  {{Kind: RowsSessions}},
		"fewer days than a period": {{Kind: RowsDays, Keep: 61 * day}},
		"two for one":              {{Kind: RowsEvents, Keep: day}, {Kind: RowsEvents, Keep: 2 * day}},
	} {
		var o options
		err := WithRetention(rules...)(&o)
		require.Equal(t, CodeInvalidOption, ErrorCode(err), name)
	}
	var o options
	require.NoError(t, WithRetention(
		RetentionRule{Kind: RowsEvents, Event: "a", Keep: day}, RetentionRule{Kind: RowsEvents, Keep: 2 * day}, RetentionRule{Kind: RowsSessions, Keep: day},
	)(&o))
	require.Equal(t, []RetentionRule{
		{Kind: RowsSessions, Keep: day}, {Kind: RowsEvents, Keep: 2 * day}, {Kind: RowsEvents, Event: "a", Keep: day},
	}, o.retention, "in the order of kinds")
}
