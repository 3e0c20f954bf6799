package google_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/google"
)

// A subscription is verified and acknowledged. The server stands for Google's; against
// the real one, PackageName and ServiceAccountKey, the content of the JSON key file,
// are all that is needed.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", "Tue, 10 Mar 2026 12:00:00 GMT")
		switch {
		case r.URL.Path == "/token":
			fmt.Fprint(w, `{"access_token":"ya29.example","expires_in":3599,"token_type":"Bearer"}`)
		case strings.HasSuffix(r.URL.Path, ":acknowledge"):
			fmt.Println("acknowledged")
		default:
			fmt.Fprint(w, `{
				"kind": "androidpublisher#subscriptionPurchaseV2",
				"startTime": "2026-03-10T11:59:00Z",
				"subscriptionState": "SUBSCRIPTION_STATE_ACTIVE",
				"acknowledgementState": "ACKNOWLEDGEMENT_STATE_PENDING",
				"externalAccountIdentifiers": {"obfuscatedExternalAccountId": "0195810e-7c00-7000-8000-000000000007"},
				"lineItems": [{
					"productId": "monthly",
					"expiryTime": "2026-03-17T12:00:00Z",
					"latestSuccessfulOrderId": "GPA.3333-4137-0319-36762",
					"offerPhase": {"freeTrial": {}}
				}]
			}`)
		}
	}))
	defer server.Close()

	verifier, err := google.New(google.Config{
		PackageName:       "com.example.app",
		ServiceAccountKey: keyFile(signingKey(), server.URL+"/token"),
		BaseURL:           server.URL,
		TokenURLs:         []string{server.URL + "/token"},
		Clock:             func() time.Time { return time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	receipt := userkit.Receipt{Store: "google", Token: "kgbocjpfaeklmndiohbgcmaf.AO-J1OzExample"}
	verdict := verifier.Verify(context.Background(), receipt)
	fmt.Println(verdict.Outcome, verdict.Facts.ProductID, "until", verdict.Facts.ExpiresAt, "trial:", verdict.Facts.Trial)
	fmt.Println("for", verdict.Facts.AccountToken)
	if err := verifier.Acknowledge(context.Background(), receipt, verdict.Facts); err != nil {
		fmt.Println(err)
	}
	// Output:
	// valid monthly until 2026-03-17 12:00:00 +0000 UTC trial: true
	// for 0195810e-7c00-7000-8000-000000000007
	// acknowledged
}

// The host's endpoint for the pushes of Pub/Sub hands them to the verifier; with a
// manager they go to HandleStoreNotification instead, which verifies the purchase
// again.
func ExampleVerifier_ReadNotification() {
	verifier, err := google.New(google.Config{
		PackageName:        "com.example.app",
		ServiceAccountKey:  keyFile(signingKey(), "https://oauth2.googleapis.com/token"),
		PushAudience:       "https://example.org/play",
		PushServiceAccount: "push@example.iam.gserviceaccount.com",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = verifier.ReadNotification(context.Background(), userkit.StoreNotification{
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   []byte(`{"message":{"data":"e30=","messageId":"136969346945"}}`),
	})
	fmt.Println(err)
	// Output:
	// userkit: invalid_signature (notification): the push has no bearer token
}
