package google

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/vendorapi"
)

// A product of which nothing is left to refund was refunded, whatever its state.
func TestRefundedQuantityEndsAPurchase(t *testing.T) {
	v := &Verifier{clock: time.Now}
	for left, reason := range map[string]userkit.PurchaseReason{`0`: userkit.ReasonRevoked, `1`: "", `null`: ""} {
		found, err := v.readProduct(tokenName{kindProduct, "token"}, "p", vendorapi.Answer{Body: []byte(`{"purchaseState":0,"refundableQuantity":` + left + `}`)})
		require.NoError(t, err)
		require.Equal(t, reason, found.verdict.Reason, left)
		found, err = v.readProductV2(tokenName{kindProductV2, "token"}, "p", vendorapi.Answer{Body: []byte(
			`{"purchaseStateContext":{"purchaseState":"PURCHASED"},"productLineItem":[{"productId":"q","productOfferDetails":{"refundableQuantity":1}},` +
				`{"productId":"p","productOfferDetails":{"refundableQuantity":` + left + `}}]}`)})
		require.NoError(t, err)
		require.Equal(t, reason, found.verdict.Reason, left)
	}
}
