package examples_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
	"github.com/userkit/userkit/verify/stripe"
)

// withPurchases shows a manager that takes purchases.
func withPurchases(store userkit.Store, secretKey, webhookSecret, stripeURL string) (userkit.Manager, error) {
	stripeVerifier, err := stripe.New(stripe.Config{SecretKey: secretKey, WebhookSecrets: []string{webhookSecret}, BaseURL: stripeURL})
	if err != nil {
		return nil, err
	}
	return userkit.New(store, userkit.WithVerifiers(stripeVerifier))
}

// submit shows a purchase on its way in.
func submit(ctx context.Context, users userkit.Manager, ada userkit.User, token string) error {
	purchase, err := users.SubmitPurchase(ctx, ada.ID, userkit.Receipt{Store: "stripe", Token: token})
	if err != nil {
		return err // purchase_invalid: Stripe says no; purchase_taken: it is another user's
	}
	if !purchase.Active {
		fmt.Println("Stripe does not answer; userkit asks again by itself")
	}
	return nil
}

// webhook shows the notifications of a store on their way in.
func webhook(users userkit.Manager) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, userkit.MaxStoreNotification))
		if err == nil {
			err = users.HandleStoreNotification(r.Context(), "stripe", userkit.StoreNotification{Header: r.Header, Body: body})
		}
		switch {
		case errors.Is(err, userkit.ErrUnavailable):
			http.Error(w, "later, please", http.StatusServiceUnavailable) // and Stripe sends it again
		case err != nil:
			http.Error(w, "no", http.StatusBadRequest)
		}
	}
}

// A subscription at Stripe, which is here a server that knows one: submitted,
// cancelled, and told by a webhook.
func Example_purchases() {
	ctx := context.Background()
	status, ends := "active", time.Now().Add(20*24*time.Hour)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"id": "sub_1", "object": "subscription", "status": %q, "livemode": true, "created": %d, "ended_at": null,
			"latest_invoice": "in_1", "metadata": {}, "items": {"object": "list", "data": [{"current_period_start": %d,
			"current_period_end": %d, "price": {"id": "price_1", "product": "prod_vpn"}}]}}`,
			status, ends.Add(-720*time.Hour).Unix(), ends.Add(-720*time.Hour).Unix(), ends.Unix())
	}))
	defer server.Close()

	users, err := withPurchases(memory.New(), "rk_live_ofTheDashboard", "whsec_ofTheEndpoint", server.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	if err := submit(ctx, users, ada, "sub_1"); err != nil {
		log.Fatal(err)
	}
	ada, err = users.User(ctx, ada.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("subscribed:", ada.Subscribed(time.Now()))

	status = "canceled"
	body := `{"id": "evt_1", "object": "event", "livemode": true, "type": "customer.subscription.deleted",
		"data": {"object": {"id": "sub_1", "object": "subscription"}}}`
	at := fmt.Sprint(time.Now().Unix())
	mac := hmac.New(sha256.New, []byte("whsec_ofTheEndpoint"))
	mac.Write([]byte(at + "." + body))
	request := httptest.NewRequest(http.MethodPost, "/webhooks/stripe", strings.NewReader(body))
	request.Header.Set("Stripe-Signature", "t="+at+",v1="+hex.EncodeToString(mac.Sum(nil)))
	answer := httptest.NewRecorder()
	webhook(users)(answer, request)
	fmt.Println("webhook:", answer.Code)
	ada, err = users.User(ctx, ada.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("subscribed:", ada.Subscribed(time.Now()))
	// Output:
	// subscribed: true
	// webhook: 200
	// subscribed: false
}
