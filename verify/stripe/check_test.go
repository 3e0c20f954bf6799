package stripe

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func TestReceiptThatDecidesByItselfIsNoQuestion(t *testing.T) {
	verifier := &Verifier{}
	verdict, decided := verifier.CheckReceipt(t.Context(), userkit.Receipt{Token: "sub_sched_1"})
	require.True(t, decided)
	require.Equal(t, userkit.ReasonNotFound, verdict.Reason)
	_, decided = verifier.CheckReceipt(t.Context(), userkit.Receipt{Token: "sub_1MowQVLkdIwHu7ixeRlqHVzs"})
	require.False(t, decided)
}
