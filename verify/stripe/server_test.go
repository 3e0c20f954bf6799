package stripe_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/stripe"
)

const (
	testKey = "rk_test_51PgafQB7WZ01zgkW"
	liveKey = "rk_live_51PgafQB7WZ01zgkW"
	subID   = "sub_1Pgc6rB7WZ01zgkWNy0Cn5nw"
)

// now is when every test takes place.
var now = time.Date(2026, 11, 10, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

const day = 24 * time.Hour

type object = map[string]any

// subscriptionObject is a monthly subscription that was renewed ten days ago, as
// Stripe writes it since 2025-03-31.basil; change replaces and adds fields.
func subscriptionObject(status string, change object) object {
	written := object{
		"id": subID, "object": "subscription", "application": nil, "application_fee_percent": nil,
		"automatic_tax":        object{"disabled_reason": nil, "enabled": false, "liability": nil},
		"billing_cycle_anchor": now.Add(-100 * day).Unix(), "billing_mode": object{"type": "flexible"},
		"billing_thresholds": nil, "cancel_at": nil, "cancel_at_period_end": false, "canceled_at": nil,
		"cancellation_details": object{"comment": nil, "feedback": nil, "reason": nil},
		"collection_method":    "charge_automatically", "created": now.Add(-100 * day).Unix(), "currency": "eur",
		"customer": "cus_QXg1o8vcGmoR32", "days_until_due": nil, "default_payment_method": "pm_1PgaB7WZ01zgkW",
		"description": nil, "discounts": []any{}, "ended_at": nil,
		"items": object{
			"object": "list", "has_more": false, "total_count": 1, "url": "/v1/subscription_items?subscription=" + subID,
			"data": []any{itemObject("prod_QXg1hqf4jFNsqG", now.Add(-10*day), now.Add(20*day))},
		},
		"latest_invoice": "in_1PgcB7WZ01zgkWlatest", "livemode": false, "metadata": object{"user_id": "customer-17"},
		"pause_collection": nil, "pending_setup_intent": nil, "pending_update": nil, "schedule": nil,
		"start_date": now.Add(-100 * day).Unix(), "status": status, "test_clock": nil, "trial_end": nil, "trial_start": nil,
	}
	maps.Copy(written, change)
	return written
}

func itemObject(product string, begin, end time.Time) object {
	return object{
		"id": "si_QXhVnC2h0Jczwc", "object": "subscription_item", "created": now.Add(-100 * day).Unix(), "quantity": 1,
		"current_period_start": begin.Unix(), "current_period_end": end.Unix(), "metadata": object{},
		"plan": object{"id": "price_1PgafmB7WZ01zgkW6dKueIc5", "object": "plan", "product": product},
		"price": object{
			"id": "price_1PgafmB7WZ01zgkW6dKueIc5", "object": "price", "product": product, "currency": "eur",
			"unit_amount": 990, "recurring": object{"interval": "month", "interval_count": 1},
		},
		"subscription": subID, "tax_rates": []any{},
	}
}

func items(data ...any) object {
	return object{"object": "list", "has_more": false, "data": data, "url": "/v1/subscription_items"}
}

func invoiceObject(id string, created time.Time, due any) object {
	return object{
		"id": id, "object": "invoice", "created": created.Unix(), "due_date": due, "status": "open", "livemode": false,
		"hosted_invoice_url": "https://invoice.stripe.com/i/" + id,
	}
}

// apiError is an error body of the API (https://docs.stripe.com/api/errors).
func apiError(kind, code, message string) object {
	written := object{"type": kind, "message": message, "request_log_url": "https://dashboard.stripe.com/logs/req_1"}
	if code != "" {
		written["code"] = code
		written["doc_url"] = "https://docs.stripe.com/error-codes#" + code
	}
	return object{"error": written}
}

// api is a Stripe with one account. Its fields are set before the requests.
type api struct {
	*httptest.Server
	key           string
	subscriptions map[string]any // by id
	invoices      []object       // the open ones, the newest first

	// override answers a path, without its query, in place of all the rest.
	override map[string]http.HandlerFunc

	mutex    sync.Mutex
	requests []*http.Request
}

// newAPI starts a Stripe that knows one subscription.
func newAPI(t testing.TB, shown object) *api {
	server := &api{key: testKey, subscriptions: map[string]any{subID: shown}, override: map[string]http.HandlerFunc{}}
	server.Server = httptest.NewServer(server)
	t.Cleanup(server.Close)
	return server
}

// verifier returns a Verifier that asks this server.
func (a *api) verifier(t testing.TB, change func(*stripe.Config)) *stripe.Verifier {
	config := stripe.Config{SecretKey: a.key, BaseURL: a.URL, HTTPClient: a.Client(), Clock: clock}
	if change != nil {
		change(&config)
	}
	verifier, err := stripe.New(config)
	require.NoError(t, err)
	return verifier
}

// verify asks about the subscription.
func (a *api) verify(t testing.TB) userkit.Verdict {
	return a.verifier(t, nil).Verify(t.Context(), userkit.Receipt{Store: "stripe", Token: subID})
}

// answers makes a path answer always the same.
func (a *api) answers(path string, status int, header http.Header, body any) {
	a.override[path] = func(w http.ResponseWriter, _ *http.Request) {
		maps.Copy(w.Header(), header)
		respond(w, status, body)
	}
}

// asked are the targets of the requests that were made.
func (a *api) asked() []string {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	var targets []string
	for _, r := range a.requests {
		targets = append(targets, r.URL.RequestURI())
	}
	return targets
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mutex.Lock()
	a.requests = append(a.requests, r.Clone(r.Context()))
	a.mutex.Unlock()

	w.Header().Set("Date", now.Add(2*time.Second).Format(http.TimeFormat))
	w.Header().Set("Request-Id", "req_8UdeTZYgGLX7lb")
	w.Header().Set("Stripe-Version", r.Header.Get("Stripe-Version"))
	if handler := a.override[r.URL.Path]; handler != nil {
		handler(w, r)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+a.key {
		respond(w, http.StatusUnauthorized, apiError("invalid_request_error", "", "Invalid API Key provided: rk_test_*********zgkW"))
		return
	}
	id, isSubscription := strings.CutPrefix(r.URL.Path, "/v1/subscriptions/")
	switch {
	case r.Method == http.MethodGet && isSubscription && a.subscriptions[id] != nil:
		respond(w, http.StatusOK, a.subscriptions[id])
	case r.Method == http.MethodGet && isSubscription:
		body := apiError("invalid_request_error", "resource_missing", "No such subscription: '"+id+"'")
		body["error"].(object)["param"] = "id"
		respond(w, http.StatusNotFound, body)
	case r.Method == http.MethodGet && r.URL.Path == "/v1/invoices":
		a.listInvoices(w, r.URL.Query())
	default:
		respond(w, http.StatusNotFound, apiError("invalid_request_error", "",
			fmt.Sprintf("Unrecognized request URL (%s: %s).", r.Method, r.URL.Path)))
	}
}

// listInvoices answers one page (https://docs.stripe.com/api/pagination).
func (a *api) listInvoices(w http.ResponseWriter, query url.Values) {
	listed := []object{}
	if query.Get("subscription") == subID && query.Get("status") == "open" {
		listed = a.invoices
	}
	if after := query.Get("starting_after"); after != "" {
		for i, invoice := range listed {
			if invoice["id"] == after {
				listed = listed[i+1:]
				break
			}
		}
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil {
		respond(w, http.StatusBadRequest, apiError("invalid_request_error", "parameter_invalid_integer", "Invalid integer: limit"))
		return
	}
	page := listed[:min(limit, len(listed))]
	respond(w, http.StatusOK, object{
		"object": "list", "url": "/v1/invoices", "has_more": len(listed) > len(page), "data": page,
	})
}

func respond(w http.ResponseWriter, status int, body any) {
	text, isText := body.(string)
	if !isText {
		w.Header().Set("Content-Type", "application/json")
		written, err := json.MarshalIndent(body, "", "  ")
		if err != nil {
			panic(err)
		}
		text = string(written)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}
