package google

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func TestReceiptThatDecidesByItselfIsNoQuestion(t *testing.T) {
	verifier := &Verifier{}
	verdict, decided := verifier.CheckReceipt(t.Context(), userkit.Receipt{Token: "a/b"})
	require.True(t, decided)
	require.Equal(t, userkit.ReasonNotFound, verdict.Reason)
	_, decided = verifier.CheckReceipt(t.Context(), userkit.Receipt{Token: "opaque-token.AO-J1Oz"})
	require.False(t, decided)
}
