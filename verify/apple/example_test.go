package apple_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"log"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/apple"
)

// A verifier for an app, and what it finds out about a subscription. Here the App
// Store is one of the test's own: with Roots and ProductionURL left out, the same
// program asks Apple's.
func ExampleNew() {
	store := newWorld()
	defer store.close()
	store.production.sell(renewed())
	store.production.subscribe([]string{firstID}, store.production.item(1, renewed(), renewal()))

	verifier, err := apple.New(apple.Config{
		BundleID:   "org.example.app",
		AppID:      1234567890,
		KeyID:      "2X9R4HXF34",
		IssuerID:   "57246542-96fe-1a63-e053-0824d011072a",
		PrivateKey: pemKey(store.key), // the file AuthKey_2X9R4HXF34.p8

		Roots:         []*x509.Certificate{store.root.Certificate},
		ProductionURL: store.production.URL,
		Clock:         func() time.Time { return now },
	})
	if err != nil {
		log.Fatal(err)
	}

	// The manager that has this verifier calls this.
	verdict := verifier.Verify(context.Background(), userkit.Receipt{Store: "apple", Token: "430001800000002"})
	fmt.Println(verdict.Outcome, verdict.Facts.ProductID, "until", verdict.Facts.ExpiresAt.Format(time.DateOnly))
	fmt.Println("the subscription", verdict.Facts.StableID)
	// Output:
	// valid org.example.app.pro.monthly until 2026-03-21
	// the subscription 430001800000001
}

// The host gives Apple an address of its own and hands on what is posted there.
func ExampleVerifier_ReadNotification() {
	store := newWorld()
	defer store.close()
	verifier, err := apple.New(store.config())
	if err != nil {
		log.Fatal(err)
	}
	posted := notification(store.sign(notice("DID_RENEW", object{"signedTransactionInfo": store.sign(renewed())})))

	content, err := verifier.ReadNotification(context.Background(), posted)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("verify again:", content.StableID)
	// Output: verify again: 430001800000001
}
