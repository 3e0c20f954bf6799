package stripe_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/stripe"
)

// A host gives the verifier to its manager. Here it is asked directly, with a server
// in the place of Stripe.
func ExampleNew() {
	renewsAt := time.Now().Add(20 * 24 * time.Hour)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{
			"id": "sub_1MowQVLkdIwHu7ixeRlqHVzs", "object": "subscription", "status": "active",
			"livemode": true, "created": 1679609767, "latest_invoice": "in_1MowQWLkdIwHu7ixuzkSPfKd",
			"metadata": {"user_id": "01930f6e-7a2b-7cc1-8f6e-0d3c5b2a9e41"},
			"items": {"object": "list", "data": [{
				"current_period_start": %d, "current_period_end": %d,
				"price": {"id": "price_1MowQULkdIwHu7ixraBm864M", "product": "prod_Na6dGcTsmU0I4R"}
			}]}
		}`, renewsAt.Add(-30*24*time.Hour).Unix(), renewsAt.Unix())
	}))
	defer server.Close()

	verifier, err := stripe.New(stripe.Config{
		SecretKey:      "rk_live_fromTheDashboard",
		WebhookSecrets: []string{"whsec_ofTheEndpoint"},
		BaseURL:        server.URL, // left out: Stripe itself
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	verdict := verifier.Verify(context.Background(), userkit.Receipt{
		Store: verifier.Store(),
		Token: "sub_1MowQVLkdIwHu7ixeRlqHVzs",
	})
	fmt.Println(verdict.Outcome)
	fmt.Println(verdict.Facts.ProductID, verdict.Facts.Environment)
	fmt.Println(verdict.Facts.AccountToken)
	fmt.Println(verdict.Facts.ExpiresAt.Equal(renewsAt.Truncate(time.Second)))
	// Output:
	// valid
	// prod_Na6dGcTsmU0I4R production
	// 01930f6e-7a2b-7cc1-8f6e-0d3c5b2a9e41
	// true
}

// A host passes header and body of the request as they came.
func ExampleVerifier_ReadNotification() {
	verifier, err := stripe.New(stripe.Config{
		SecretKey:      "rk_live_fromTheDashboard",
		WebhookSecrets: []string{"whsec_ofTheEndpoint"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	// What Stripe would send.
	body := `{"id": "evt_1NG8Du2eZvKYlo2CUI79vXWy", "object": "event", "type": "invoice.paid", "livemode": true,
		"data": {"object": {"object": "invoice", "parent": {"subscription_details": {"subscription": "sub_1MowQVLkdIwHu7ixeRlqHVzs"}}}}}`
	signedAt := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte("whsec_ofTheEndpoint"))
	mac.Write([]byte(signedAt + "." + body))
	header := http.Header{}
	header.Set("Stripe-Signature", "t="+signedAt+",v1="+hex.EncodeToString(mac.Sum(nil)))

	content, err := verifier.ReadNotification(context.Background(), userkit.StoreNotification{Header: header, Body: []byte(body)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(content.ID)
	fmt.Println("verify again:", content.Receipt.Token)
	// Output:
	// evt_1NG8Du2eZvKYlo2CUI79vXWy
	// verify again: sub_1MowQVLkdIwHu7ixeRlqHVzs
}
