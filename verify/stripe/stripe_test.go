package stripe_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/stripe"
)

func TestEveryStatusHasItsVerdict(t *testing.T) {
	ended := now.Add(-2 * day)
	over := func(reason string) object {
		return object{"ended_at": ended.Unix(), "canceled_at": ended.Unix(), "cancellation_details": object{"reason": reason}}
	}
	for _, test := range []struct {
		name    string
		status  string
		change  object
		outcome userkit.VerdictOutcome
		reason  userkit.PurchaseReason
		expires time.Time
		trial   bool
	}{
		{name: "active", status: "active", outcome: userkit.VerdictValid, expires: now.Add(20 * day)},
		{name: "active, cancelled for the end of the period", status: "active",
			change:  object{"cancel_at_period_end": true, "cancel_at": now.Add(20 * day).Unix(), "canceled_at": now.Add(-day).Unix()},
			outcome: userkit.VerdictValid, expires: now.Add(20 * day)},
		{name: "active, cancelled for a day before the end of the period", status: "active",
			change: object{"cancel_at": now.Add(5 * day).Unix()}, outcome: userkit.VerdictValid, expires: now.Add(5 * day)},
		{name: "active, cancelled for a day after the end of the period", status: "active",
			change: object{"cancel_at": now.Add(50 * day).Unix()}, outcome: userkit.VerdictValid, expires: now.Add(20 * day)},
		{name: "active with paused collection", status: "active",
			change:  object{"pause_collection": object{"behavior": "void", "resumes_at": nil}},
			outcome: userkit.VerdictValid, expires: now.Add(20 * day)},
		{name: "active after its period", status: "active",
			change:  object{"items": items(itemObject("prod_1", now.Add(-30*day), now))},
			outcome: userkit.VerdictUndecided},
		{name: "trialing", status: "trialing", outcome: userkit.VerdictValid, expires: now.Add(20 * day), trial: true},
		{name: "trialing, cancelled for its end", status: "trialing", change: object{"cancel_at_period_end": true},
			outcome: userkit.VerdictValid, expires: now.Add(20 * day), trial: true},
		{name: "incomplete", status: "incomplete", outcome: userkit.VerdictInvalid, reason: userkit.ReasonPending, expires: now.Add(20 * day)},
		{name: "incomplete and expired", status: "incomplete_expired", change: object{"ended_at": ended.Unix()},
			outcome: userkit.VerdictInvalid, reason: userkit.ReasonExpired, expires: ended},
		{name: "unpaid", status: "unpaid", outcome: userkit.VerdictInvalid, reason: userkit.ReasonUnpaid, expires: now.Add(20 * day)},
		{name: "paused", status: "paused", outcome: userkit.VerdictInvalid, reason: userkit.ReasonPaused, expires: now.Add(20 * day)},
		{name: "canceled on request", status: "canceled", change: over("cancellation_requested"),
			outcome: userkit.VerdictInvalid, reason: userkit.ReasonExpired, expires: ended},
		{name: "canceled after failed payments", status: "canceled", change: over("payment_failed"),
			outcome: userkit.VerdictInvalid, reason: userkit.ReasonUnpaid, expires: ended},
		{name: "canceled after a disputed payment", status: "canceled", change: over("payment_disputed"),
			outcome: userkit.VerdictInvalid, reason: userkit.ReasonRevoked, expires: ended},
		{name: "canceled for a reason that is not known", status: "canceled", change: over("some_new_reason"),
			outcome: userkit.VerdictInvalid, reason: userkit.ReasonExpired, expires: ended},
		{name: "a status that is not known", status: "hibernating", outcome: userkit.VerdictUndecided},
		{name: "no status", status: "", outcome: userkit.VerdictUndecided},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := newAPI(t, subscriptionObject(test.status, test.change))
			verdict := server.verify(t)
			require.Equal(t, test.outcome, verdict.Outcome, "%v", verdict.Err)
			require.Equal(t, test.reason, verdict.Reason)
			require.Len(t, server.asked(), 1)
			if test.outcome == userkit.VerdictUndecided {
				require.Error(t, verdict.Err)
				require.Zero(t, verdict.Facts)
				return
			}
			require.NoError(t, verdict.Err)
			require.Equal(t, subID, verdict.Facts.StableID)
			require.Equal(t, test.expires, verdict.Facts.ExpiresAt)
			require.Equal(t, test.trial, verdict.Facts.Trial)
		})
	}
}

func TestTheFactsAreThoseOfTheSubscription(t *testing.T) {
	server := newAPI(t, subscriptionObject("active", nil))
	facts := server.verify(t).Facts
	require.JSONEq(t, mustJSON(t, server.subscriptions[subID]), string(facts.Raw))
	require.NotContains(t, string(facts.Raw), "\n")
	facts.Raw = nil
	require.Equal(t, userkit.PurchaseFacts{
		StableID:      subID,
		TransactionID: "in_1PgcB7WZ01zgkWlatest",
		ProductID:     "prod_QXg1hqf4jFNsqG",
		Environment:   userkit.Sandbox,
		PurchasedAt:   now.Add(-10 * day),
		ExpiresAt:     now.Add(20 * day),
		AccountToken:  "customer-17",
		At:            now.Add(2 * time.Second),
	}, facts)
}

func TestTheFactsOfOtherShapes(t *testing.T) {
	older := func(change object) object {
		item := itemObject("prod_1", now, now)
		delete(item, "current_period_start")
		delete(item, "current_period_end")
		shape := object{
			"items":                items(item),
			"current_period_start": now.Add(-3 * day).Unix(), "current_period_end": now.Add(4 * day).Unix(),
		}
		maps.Copy(shape, change)
		return shape
	}
	priceOnly := itemObject("", now.Add(-day), now.Add(day))
	priceOnly["price"].(object)["product"] = nil
	priceOnly["plan"].(object)["product"] = nil
	planOnly := itemObject("prod_plan", now.Add(-day), now.Add(day))
	delete(planOnly, "price")
	unstarted := itemObject("prod_1", now, now.Add(day))
	delete(unstarted, "current_period_start")

	for _, test := range []struct {
		name   string
		change object
		check  func(*testing.T, userkit.PurchaseFacts)
	}{
		{"the period is on the subscription before basil", older(nil), func(t *testing.T, facts userkit.PurchaseFacts) {
			require.Equal(t, now.Add(-3*day), facts.PurchasedAt)
			require.Equal(t, now.Add(4*day), facts.ExpiresAt)
			require.Equal(t, "prod_1", facts.ProductID)
		}},
		{"the items come before the older place", object{"current_period_end": now.Add(99 * day).Unix()}, func(t *testing.T, facts userkit.PurchaseFacts) {
			require.Equal(t, now.Add(20*day), facts.ExpiresAt)
		}},
		{"a subscription of before basil without its items", older(object{"items": nil}), func(t *testing.T, facts userkit.PurchaseFacts) {
			require.Equal(t, now.Add(4*day), facts.ExpiresAt)
			require.Empty(t, facts.ProductID)
		}},
		{"of several items the one that lasts longest", object{"items": items(
			itemObject("prod_month", now.Add(-day), now.Add(29*day)),
			itemObject("prod_year", now.Add(-2*day), now.Add(363*day)),
			itemObject("prod_week", now.Add(-3*day), now.Add(4*day)),
		)}, func(t *testing.T, facts userkit.PurchaseFacts) {
			require.Equal(t, "prod_year", facts.ProductID)
			require.Equal(t, now.Add(-2*day), facts.PurchasedAt)
			require.Equal(t, now.Add(363*day), facts.ExpiresAt)
		}},
		{"of equal items the first", object{"items": items(
			itemObject("prod_plan", now.Add(-day), now.Add(29*day)), itemObject("prod_extra", now.Add(-day), now.Add(29*day)),
		)}, func(t *testing.T, facts userkit.PurchaseFacts) {
			require.Equal(t, "prod_plan", facts.ProductID)
		}},
		{"an expanded invoice", object{"latest_invoice": object{"id": "in_expanded", "object": "invoice"}}, func(t *testing.T, facts userkit.PurchaseFacts) {
			require.Equal(t, "in_expanded", facts.TransactionID)
		}},
		{"no invoice", object{"latest_invoice": nil}, func(t *testing.T, facts userkit.PurchaseFacts) {
			require.Empty(t, facts.TransactionID)
		}},
		{"a price without a product", object{"items": items(priceOnly)}, func(t *testing.T, facts userkit.PurchaseFacts) {
			require.Equal(t, "price_1PgafmB7WZ01zgkW6dKueIc5", facts.ProductID)
		}},
		{"a plan of before prices", object{"items": items(planOnly)}, func(t *testing.T, facts userkit.PurchaseFacts) {
			require.Equal(t, "prod_plan", facts.ProductID)
		}},
		{"a period with no beginning", object{"items": items(unstarted)}, func(t *testing.T, facts userkit.PurchaseFacts) {
			require.Equal(t, now.Add(-100*day), facts.PurchasedAt)
		}},
		{"live mode", object{"livemode": true}, func(t *testing.T, facts userkit.PurchaseFacts) {
			require.Equal(t, userkit.Production, facts.Environment)
		}},
		{"no metadata", object{"metadata": nil}, func(t *testing.T, facts userkit.PurchaseFacts) {
			require.Empty(t, facts.AccountToken)
		}},
		{"metadata that is no name", object{"metadata": object{"user_id": "a\nb"}}, func(t *testing.T, facts userkit.PurchaseFacts) {
			require.Empty(t, facts.AccountToken)
		}},
		{"more than the raw data may hold", object{"description": strings.Repeat("x", userkit.MaxPurchaseRaw)}, func(t *testing.T, facts userkit.PurchaseFacts) {
			require.NotContains(t, string(facts.Raw), "xxx")
			require.Contains(t, string(facts.Raw), `"status":"active"`)
			require.Contains(t, string(facts.Raw), fmt.Sprintf(`"current_period_end":%d`, now.Add(20*day).Unix()))
		}},
		{"a text that a database cannot keep", object{"description": "\x00"}, func(t *testing.T, facts userkit.PurchaseFacts) {
			require.True(t, json.Valid(facts.Raw))
			require.NotContains(t, string(facts.Raw), `\u0000`)
		}},
		{"such a text in the metadata", object{"metadata": object{"note": "\x00"}}, func(t *testing.T, facts userkit.PurchaseFacts) {
			require.Empty(t, facts.Raw)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			verdict := newAPI(t, subscriptionObject("active", test.change)).verify(t)
			require.Equal(t, userkit.VerdictValid, verdict.Outcome, "%v", verdict.Err)
			require.LessOrEqual(t, len(verdict.Facts.Raw), userkit.MaxPurchaseRaw)
			test.check(t, verdict.Facts)
		})
	}
}

func TestTheMetadataKeyIsConfigurable(t *testing.T) {
	server := newAPI(t, subscriptionObject("active", object{"metadata": object{"user_id": "a", "account": "b"}}))
	verifier := server.verifier(t, func(c *stripe.Config) { c.MetadataKey = "account" })
	require.Equal(t, "b", verifier.Verify(t.Context(), userkit.Receipt{Token: subID}).Facts.AccountToken)
}

func TestPastDueIsGoodForTheGrace(t *testing.T) {
	for _, test := range []struct {
		name     string
		invoices []object
		change   object
		grace    time.Duration
		reason   userkit.PurchaseReason // empty: valid
		expires  time.Time
		pages    int
	}{
		{name: "the first days after the renewal", pages: 1,
			invoices: []object{invoiceObject("in_1", now.Add(-3*day), nil)}, expires: now.Add(11 * day)},
		{name: "the last moment of the grace", pages: 1,
			invoices: []object{invoiceObject("in_1", now.Add(-14*day+time.Second), nil)}, expires: now.Add(time.Second)},
		{name: "after the grace", pages: 1,
			invoices: []object{invoiceObject("in_1", now.Add(-14*day), nil)}, reason: userkit.ReasonUnpaid, expires: now},
		{name: "a new period does not start the grace again", pages: 1,
			invoices: []object{invoiceObject("in_2", now.Add(-day), nil), invoiceObject("in_1", now.Add(-31*day), nil)},
			reason:   userkit.ReasonUnpaid, expires: now.Add(-17 * day)},
		{name: "an invoice that was sent counts from when it was due", pages: 1,
			invoices: []object{invoiceObject("in_1", now.Add(-33*day), now.Add(-3*day).Unix())}, expires: now.Add(11 * day)},
		{name: "never longer than the period", pages: 1, change: object{"items": items(itemObject("prod_1", now.Add(-3*day), now.Add(4*day)))},
			invoices: []object{invoiceObject("in_1", now.Add(-3*day), nil)}, expires: now.Add(4 * day)},
		{name: "never longer than until it is cancelled", pages: 1, change: object{"cancel_at": now.Add(day).Unix()},
			invoices: []object{invoiceObject("in_1", now.Add(-3*day), nil)}, expires: now.Add(day)},
		{name: "without an open invoice it counts from the renewal", pages: 1, expires: now.Add(4 * day)},
		{name: "another grace", pages: 1, grace: 5 * day,
			invoices: []object{invoiceObject("in_1", now.Add(-3*day), nil)}, expires: now.Add(2 * day)},
		{name: "no grace", pages: 0, grace: -1, reason: userkit.ReasonUnpaid, expires: now.Add(20 * day)},
		{name: "many invoices of short periods", pages: 2, grace: 22 * day, invoices: daily(50),
			reason: userkit.ReasonUnpaid, expires: now.Add(-18 * day)},
		{name: "many invoices, no more of them than needed", pages: 1, grace: 10 * day, invoices: daily(50),
			reason: userkit.ReasonUnpaid, expires: now.Add(-10 * day)},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := newAPI(t, subscriptionObject("past_due", test.change))
			server.invoices = test.invoices
			verdict := server.verifier(t, func(c *stripe.Config) { c.PastDueGrace = test.grace }).
				Verify(t.Context(), userkit.Receipt{Token: subID})
			outcome := userkit.VerdictValid
			if test.reason != "" {
				outcome = userkit.VerdictInvalid
			}
			require.Equal(t, outcome, verdict.Outcome, "%v", verdict.Err)
			require.Equal(t, test.reason, verdict.Reason)
			require.Equal(t, test.expires, verdict.Facts.ExpiresAt)
			require.Equal(t, subID, verdict.Facts.StableID)
			require.Len(t, server.asked(), 1+test.pages)
		})
	}

	t.Run("after its period it is undecided", func(t *testing.T) {
		server := newAPI(t, subscriptionObject("past_due", object{"items": items(itemObject("prod_1", now.Add(-8*day), now.Add(-day)))}))
		server.invoices = []object{invoiceObject("in_1", now.Add(-8*day), nil)}
		require.Equal(t, userkit.VerdictUndecided, server.verify(t).Outcome)
	})
	t.Run("the invoices are read no further than a bound", func(t *testing.T) {
		server := newAPI(t, subscriptionObject("past_due", nil))
		server.answers("/v1/invoices", http.StatusOK, nil, object{
			"object": "list", "has_more": true, "data": []any{invoiceObject("in_1", now, nil)},
		})
		require.Equal(t, userkit.VerdictValid, server.verify(t).Outcome)
		require.Len(t, server.asked(), 1+20)
	})
	t.Run("a refused list is undecided", func(t *testing.T) {
		server := newAPI(t, subscriptionObject("past_due", nil))
		server.answers("/v1/invoices", http.StatusTooManyRequests, http.Header{"Retry-After": {"7"}}, apiError("invalid_request_error", "rate_limit", "x"))
		verdict := server.verify(t)
		require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
		require.Equal(t, now.Add(7*time.Second), verdict.RetryAt)
		require.EqualError(t, verdict.Err, "stripe: invoices: status 429 invalid_request_error rate_limit")
	})
	t.Run("a list that does not arrive is undecided", func(t *testing.T) {
		server := newAPI(t, subscriptionObject("past_due", nil))
		server.override["/v1/invoices"] = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		verdict := server.verify(t)
		require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
		require.ErrorContains(t, verdict.Err, "stripe: invoices: ")
		require.NotContains(t, verdict.Err.Error(), subID)
	})
	for name, body := range map[string]any{
		"empty": "", "no object": "[]", "no list": object{},
		"an invoice without time":   object{"object": "list", "data": []any{object{"id": "in_1"}}},
		"an invoice without id":     object{"object": "list", "data": []any{object{"created": 1}}},
		"a time that is none":       object{"object": "list", "data": []any{object{"id": "in_1", "created": "yesterday"}}},
		"more invoices after none":  object{"object": "list", "data": []any{}, "has_more": true},
		"a list that is too long":   object{"object": "list", "data": []any{}, "url": strings.Repeat("x", 1<<20)},
		"invoices that are no list": object{"object": "list", "data": object{}},
	} {
		t.Run("a damaged list is undecided: "+name, func(t *testing.T) {
			server := newAPI(t, subscriptionObject("past_due", nil))
			server.answers("/v1/invoices", http.StatusOK, nil, body)
			verdict := server.verify(t)
			require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
			require.Error(t, verdict.Err)
		})
	}
}

// daily are open invoices, one of each day.
func daily(count int) []object {
	var listed []object
	for i := range count {
		listed = append(listed, invoiceObject(fmt.Sprintf("in_%d", i), now.Add(-time.Duration(i+1)*day), nil))
	}
	return listed
}

func TestARequestIsAsStripeWantsIt(t *testing.T) {
	server := newAPI(t, subscriptionObject("past_due", nil))
	server.verify(t)
	require.Equal(t, []string{
		"/v1/subscriptions/" + subID,
		"/v1/invoices?limit=20&status=open&subscription=" + subID,
	}, server.asked())
	for _, r := range server.requests {
		require.Equal(t, http.MethodGet, r.Method)
		require.Equal(t, "Bearer "+testKey, r.Header.Get("Authorization"))
		require.Equal(t, stripe.DefaultAPIVersion, r.Header.Get("Stripe-Version"))
		require.Equal(t, "userkit-stripe", r.Header.Get("User-Agent"))
		require.Equal(t, "application/json", r.Header.Get("Accept"))
	}

	server = newAPI(t, subscriptionObject("active", nil))
	server.verifier(t, func(c *stripe.Config) {
		c.APIVersion = "2025-02-24.acacia"
		c.BaseURL += "/"
	}).Verify(t.Context(), userkit.Receipt{Token: subID})
	require.Equal(t, []string{"/v1/subscriptions/" + subID}, server.asked())
	require.Equal(t, "2025-02-24.acacia", server.requests[0].Header.Get("Stripe-Version"))
}

func TestATokenThatIsNoSubscriptionIsInvalidWithoutARequest(t *testing.T) {
	server := newAPI(t, subscriptionObject("active", nil))
	for _, token := range []string{
		"", "sub_", "sub", subID + " ", " " + subID, subID + "\n", "sub_sched_1Pgc6rB7WZ01zgkW", "in_1Pgc6rB7WZ01zgkW", "SUB_1",
		"sub_../charges", "sub_1/items", "sub_1?expand[]=customer", "sub_1%2F", "sub_é", "sub_" + strings.Repeat("1", 252), "sub_1\x00",
		strings.Repeat("s", userkit.MaxReceipt),
	} {
		verdict := server.verifier(t, nil).Verify(t.Context(), userkit.Receipt{Token: token})
		require.Equal(t, userkit.Invalid(userkit.ReasonNotFound, userkit.PurchaseFacts{}), verdict, "%.40q", token)
	}
	require.Empty(t, server.asked())
}

func TestWhatStripeRefuses(t *testing.T) {
	missing := "No such subscription: '" + subID + "'"
	similar := func(exists, key string) object {
		return apiError("invalid_request_error", "resource_missing", fmt.Sprintf(
			"%s; a similar object exists in %s mode, but a %s mode key was used to make this request.", missing, exists, key))
	}
	undecided := userkit.VerdictUndecided
	for _, test := range []struct {
		name    string
		key     string
		status  int
		header  http.Header
		body    any
		outcome userkit.VerdictOutcome
		reason  userkit.PurchaseReason
		retryAt time.Time
		err     string
	}{
		{name: "no such subscription", status: 404, body: apiError("invalid_request_error", "resource_missing", missing),
			outcome: userkit.VerdictInvalid, reason: userkit.ReasonNotFound},
		{name: "a test subscription for a live key", key: liveKey, status: 404, body: similar("test", "live"),
			outcome: userkit.VerdictInvalid, reason: userkit.ReasonEnvironment},
		{name: "a live subscription for a test key", status: 404, body: similar("live", "test"), outcome: undecided,
			err: "stripe: the subscription is one of live mode, and the key is of test mode"},
		{name: "no such address", status: 404, body: apiError("invalid_request_error", "", "Unrecognized request URL"), outcome: undecided,
			err: "stripe: subscription: status 404 invalid_request_error"},
		{name: "not found by something on the way", status: 404, body: "<html>not found</html>", outcome: undecided,
			err: "stripe: subscription: status 404"},
		{name: "the code with another status", status: 400, body: apiError("invalid_request_error", "resource_missing", missing), outcome: undecided,
			err: "stripe: subscription: status 400 invalid_request_error resource_missing"},
		{name: "a bad request", status: 400, body: apiError("invalid_request_error", "parameter_unknown", "Received unknown parameter: x"),
			outcome: undecided, err: "stripe: subscription: status 400 invalid_request_error parameter_unknown"},
		{name: "a wrong key", status: 401, body: apiError("invalid_request_error", "", "Invalid API Key provided: "+testKey), outcome: undecided,
			err: "stripe: subscription: status 401 invalid_request_error"},
		{name: "a failed request", status: 402, body: apiError("card_error", "card_declined", "x"), outcome: undecided,
			err: "stripe: subscription: status 402 card_error card_declined"},
		{name: "a key that may not", status: 403, body: apiError("invalid_request_error", "", "The provided key '"+testKey+"' does not have the required permissions"),
			outcome: undecided, err: "stripe: subscription: status 403 invalid_request_error"},
		{name: "a conflict", status: 409, body: apiError("invalid_request_error", "lock_timeout", "x"), outcome: undecided,
			err: "stripe: subscription: status 409 invalid_request_error lock_timeout"},
		{name: "a dependency that failed", status: 424, body: "", outcome: undecided, err: "stripe: subscription: status 424"},
		{name: "the rate limit", status: 429, body: apiError("invalid_request_error", "rate_limit", "Request rate limit exceeded."),
			header: http.Header{"Stripe-Rate-Limited-Reason": {"global-rate"}}, outcome: undecided,
			err: "stripe: subscription: status 429 invalid_request_error rate_limit"},
		{name: "the rate limit with a time", status: 429, header: http.Header{"Retry-After": {"30"}}, body: apiError("invalid_request_error", "rate_limit", "x"),
			outcome: undecided, retryAt: now.Add(30 * time.Second), err: "stripe: subscription: status 429 invalid_request_error rate_limit"},
		{name: "an error of Stripe", status: 500, body: apiError("api_error", "", "x"), outcome: undecided, err: "stripe: subscription: status 500 api_error"},
		{name: "a gateway", status: 502, body: "<html>" + testKey + "</html>", outcome: undecided, err: "stripe: subscription: status 502"},
		{name: "maintenance until a date", status: 503, header: http.Header{"Retry-After": {now.Add(time.Hour).Format(http.TimeFormat)}}, body: "",
			outcome: undecided, retryAt: now.Add(time.Hour), err: "stripe: subscription: status 503"},
		{name: "a time that is over", status: 503, header: http.Header{"Retry-After": {now.Add(-time.Hour).Format(http.TimeFormat)}}, outcome: undecided, body: "",
			err: "stripe: subscription: status 503"},
		{name: "a time far away", status: 503, header: http.Header{"Retry-After": {"99999999999"}}, outcome: undecided, retryAt: now.Add(day), body: "",
			err: "stripe: subscription: status 503"},
		{name: "a date far away", status: 503, header: http.Header{"Retry-After": {now.Add(999 * day).Format(http.TimeFormat)}}, outcome: undecided, retryAt: now.Add(day), body: "",
			err: "stripe: subscription: status 503"},
		{name: "a time of no sense", status: 503, header: http.Header{"Retry-After": {"-9223372036854775808"}}, outcome: undecided, body: "",
			err: "stripe: subscription: status 503"},
		{name: "a timeout of a gateway", status: 504, body: "", outcome: undecided, err: "stripe: subscription: status 504"},
		{name: "codes that are no codes", status: 500, body: apiError(testKey, subID, "x"), outcome: undecided, err: "stripe: subscription: status 500"},
		{name: "another success", status: 204, body: "", outcome: undecided, err: "stripe: subscription: status 204"},
		{name: "a redirect", status: 302, header: http.Header{"Location": {"/v1/subscriptions/sub_other"}}, body: "", outcome: undecided,
			err: "stripe: subscription: status 302"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := newAPI(t, nil)
			if test.key != "" {
				server.key = test.key
			}
			server.answers("/v1/subscriptions/"+subID, test.status, test.header, test.body)
			verdict := server.verify(t)
			require.Equal(t, test.outcome, verdict.Outcome, "%v", verdict.Err)
			require.Equal(t, test.reason, verdict.Reason)
			require.Equal(t, test.retryAt, verdict.RetryAt)
			require.Zero(t, verdict.Facts)
			require.Len(t, server.asked(), 1)
			if test.err == "" {
				require.NoError(t, verdict.Err)
			} else {
				require.EqualError(t, verdict.Err, test.err)
			}
		})
	}

	t.Run("what it does not know", func(t *testing.T) {
		verdict := newAPI(t, nil).verifier(t, nil).Verify(t.Context(), userkit.Receipt{Token: "sub_other"})
		require.Equal(t, userkit.Invalid(userkit.ReasonNotFound, userkit.PurchaseFacts{}), verdict)
	})
	t.Run("the wrong key", func(t *testing.T) {
		server := newAPI(t, subscriptionObject("active", nil))
		verifier := server.verifier(t, func(c *stripe.Config) { c.SecretKey = "sk_test_other" })
		require.Equal(t, userkit.VerdictUndecided, verifier.Verify(t.Context(), userkit.Receipt{Token: subID}).Outcome)
	})
}

func TestAnAnswerThatIsNotUnderstoodIsUndecided(t *testing.T) {
	without := func(name string) object {
		shown := subscriptionObject("active", nil)
		delete(shown, name)
		return shown
	}
	for name, body := range map[string]any{
		"empty":                          "",
		"no JSON":                        "<html></html>",
		"cut off":                        `{"id":"` + subID + `","object":"subscription"`,
		"no object":                      `"` + subID + `"`,
		"null":                           "null",
		"two values":                     mustJSON(t, subscriptionObject("active", nil)) + "{}",
		"no UTF-8":                       strings.Replace(mustJSON(t, subscriptionObject("active", nil)), "customer-17", "\xff", 1),
		"too long":                       subscriptionObject("active", object{"description": strings.Repeat("x", 1<<20)}),
		"another subscription":           subscriptionObject("active", object{"id": "sub_other"}),
		"another kind of object":         subscriptionObject("active", object{"object": "subscription_schedule"}),
		"no id":                          without("id"),
		"no mode":                        without("livemode"),
		"no time":                        without("created"),
		"no period":                      without("items"),
		"a period of text":               subscriptionObject("active", object{"items": items(object{"current_period_end": "soon"})}),
		"a period beyond all years":      subscriptionObject("active", object{"items": items(object{"current_period_end": 253_402_300_800})}),
		"a period before 1970":           subscriptionObject("active", object{"items": items(object{"current_period_end": -1})}),
		"a fractional period":            subscriptionObject("active", object{"items": items(object{"current_period_end": 1.5})}),
		"items that are none":            subscriptionObject("active", object{"items": "none"}),
		"an invoice that is a number":    subscriptionObject("active", object{"latest_invoice": 1}),
		"an invoice with a broken name":  subscriptionObject("active", object{"latest_invoice": "in_\x00"}),
		"a product with a broken name":   subscriptionObject("active", object{"items": items(itemObject("prod\n1", now, now.Add(day)))}),
		"a product with an endless name": subscriptionObject("active", object{"items": items(itemObject(strings.Repeat("p", 513), now, now.Add(day)))}),
		"metadata of another type":       subscriptionObject("active", object{"metadata": object{"user_id": 1}}),
	} {
		t.Run(name, func(t *testing.T) {
			server := newAPI(t, nil)
			server.answers("/v1/subscriptions/"+subID, http.StatusOK, nil, body)
			verdict := server.verify(t)
			require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
			require.Error(t, verdict.Err)
			require.Zero(t, verdict.Facts)
			require.NotContains(t, verdict.Err.Error(), subID)
		})
	}
}

func TestTheTimeOfTheFactsIsStripes(t *testing.T) {
	for name, test := range map[string]struct {
		date string
		at   time.Time
	}{
		"a minute off":       {now.Add(time.Minute).Format(http.TimeFormat), now.Add(time.Minute)},
		"a week off":         {now.Add(7 * day).Format(http.TimeFormat), time.Time{}},
		"a week too late":    {now.Add(-7 * day).Format(http.TimeFormat), time.Time{}},
		"no date":            {"yesterday", time.Time{}},
		"beyond what counts": {"Fri, 31 Dec 9999 23:59:59 GMT", time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			server := newAPI(t, nil)
			server.answers("/v1/subscriptions/"+subID, http.StatusOK, http.Header{"Date": {test.date}}, subscriptionObject("active", nil))
			require.Equal(t, test.at, server.verify(t).Facts.At)
		})
	}
}

// roundTrip is a transport made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAStoreThatCannotBeReachedIsUndecided(t *testing.T) {
	verify := func(ctx context.Context, change func(*stripe.Config)) error {
		config := stripe.Config{SecretKey: testKey, Clock: clock}
		change(&config)
		verifier, err := stripe.New(config)
		require.NoError(t, err)
		verdict := verifier.Verify(ctx, userkit.Receipt{Token: subID})
		require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
		require.Error(t, verdict.Err)
		require.NotContains(t, verdict.Err.Error(), subID)
		require.NotContains(t, verdict.Err.Error(), testKey)
		return verdict.Err
	}

	t.Run("nobody listens", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, listener.Close())
		err = verify(t.Context(), func(c *stripe.Config) { c.BaseURL = "http://" + listener.Addr().String() })
		require.ErrorContains(t, err, "stripe: subscription: ")
	})
	t.Run("the context has ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		server := newAPI(t, nil)
		err := verify(ctx, func(c *stripe.Config) { c.BaseURL = server.URL })
		require.ErrorIs(t, err, context.Canceled)
		require.EqualError(t, err, "stripe: subscription: context canceled")
	})
	t.Run("the context ends while it waits", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		}))
		defer server.Close()
		require.ErrorIs(t, verify(ctx, func(c *stripe.Config) { c.BaseURL = server.URL }), context.Canceled)
	})
	t.Run("a time limit", func(t *testing.T) {
		err := verify(t.Context(), func(c *stripe.Config) {
			c.HTTPClient = &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				return nil, &net.DNSError{Err: "asked for " + subID, IsTimeout: true}
			})}
		})
		require.EqualError(t, err, "stripe: subscription: no answer in time")
	})
	for name, told := range map[string]func(*http.Request) string{
		"the address": func(r *http.Request) string { return r.URL.String() },
		"the key":     func(r *http.Request) string { return r.Header.Get("Authorization") },
	} {
		t.Run("a transport that tells "+name, func(t *testing.T) {
			err := verify(t.Context(), func(c *stripe.Config) {
				c.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					return nil, errors.New("not possible: " + told(r))
				})}
			})
			require.EqualError(t, err, "stripe: subscription: no answer that can be read")
		})
	}
	t.Run("an answer without end", func(t *testing.T) {
		server := newAPI(t, nil)
		server.answers("/v1/subscriptions/"+subID, http.StatusOK, nil, strings.Repeat(" ", 1<<20+1))
		err := verify(t.Context(), func(c *stripe.Config) { c.BaseURL = server.URL })
		require.EqualError(t, err, "stripe: subscription: the answer is longer than 1048576 bytes")
	})
	t.Run("an answer that is cut off", func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
		}))
		defer server.Close()
		require.EqualError(t, verify(t.Context(), func(c *stripe.Config) { c.BaseURL = server.URL }), "stripe: subscription: unexpected EOF")
	})
}

func TestARedirectIsNotFollowed(t *testing.T) {
	elsewhere := newAPI(t, subscriptionObject("active", nil))
	server := newAPI(t, nil)
	server.override["/v1/subscriptions/"+subID] = http.RedirectHandler(elsewhere.URL+"/v1/subscriptions/"+subID, http.StatusTemporaryRedirect).ServeHTTP
	client := server.Client()
	verifier := server.verifier(t, func(c *stripe.Config) { c.HTTPClient = client })
	require.Equal(t, userkit.VerdictUndecided, verifier.Verify(t.Context(), userkit.Receipt{Token: subID}).Outcome)
	require.Empty(t, elsewhere.asked())
	require.Nil(t, client.CheckRedirect, "the host's client stays as it was")
}

func TestNewChecksItsConfig(t *testing.T) {
	for _, test := range []struct {
		name   string
		field  string
		change func(*stripe.Config)
	}{
		{"no key", "SecretKey", func(c *stripe.Config) { c.SecretKey = "" }},
		{"a publishable key", "SecretKey", func(c *stripe.Config) { c.SecretKey = "pk_live_1" }},
		{"the key of an organization", "SecretKey", func(c *stripe.Config) { c.SecretKey = "sk_org_live_1" }},
		{"a key with a line end", "SecretKey", func(c *stripe.Config) { c.SecretKey += "\n" }},
		{"a key without its random part", "SecretKey", func(c *stripe.Config) { c.SecretKey = "sk_live_" }},
		{"a store of another form", "Store", func(c *stripe.Config) { c.Store = "Stripe EU" }},
		{"a store that is too long", "Store", func(c *stripe.Config) { c.Store = strings.Repeat("s", 33) }},
		{"an empty webhook secret", "WebhookSecrets", func(c *stripe.Config) { c.WebhookSecrets = []string{"whsec_1", ""} }},
		{"a key for a webhook secret", "WebhookSecrets", func(c *stripe.Config) { c.WebhookSecrets = []string{testKey} }},
		{"a negative tolerance", "Tolerance", func(c *stripe.Config) { c.Tolerance = -1 }},
		{"a metadata key that is too long", "MetadataKey", func(c *stripe.Config) { c.MetadataKey = strings.Repeat("m", 41) }},
		{"a version of another form", "APIVersion", func(c *stripe.Config) { c.APIVersion = "v1\r\nX: y" }},
		{"an address without TLS", "BaseURL", func(c *stripe.Config) { c.BaseURL = "http://api.stripe.com" }},
		{"an address with a password", "BaseURL", func(c *stripe.Config) { c.BaseURL = "https://a:b@api.stripe.com" }},
		{"an address with a query", "BaseURL", func(c *stripe.Config) { c.BaseURL = "https://api.stripe.com?x=y" }},
		{"an address with a fragment", "BaseURL", func(c *stripe.Config) { c.BaseURL = "https://api.stripe.com#x" }},
		{"no address", "BaseURL", func(c *stripe.Config) { c.BaseURL = "api.stripe.com" }},
		{"a damaged address", "BaseURL", func(c *stripe.Config) { c.BaseURL = "https://%zz" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := stripe.Config{SecretKey: testKey}
			test.change(&config)
			verifier, err := stripe.New(config)
			require.Nil(t, verifier)
			require.ErrorIs(t, err, userkit.ErrInvalid)
			var detailed *userkit.Error
			require.ErrorAs(t, err, &detailed)
			require.Equal(t, userkit.CodeInvalidOption, detailed.Code)
			require.Equal(t, test.field, detailed.Field)
			require.NotContains(t, err.Error(), testKey)
		})
	}

	t.Run("the defaults", func(t *testing.T) {
		verifier, err := stripe.New(stripe.Config{SecretKey: "sk_live_1"})
		require.NoError(t, err)
		require.Equal(t, "stripe", verifier.Store())
	})
	t.Run("a name of its own", func(t *testing.T) {
		verifier, err := stripe.New(stripe.Config{SecretKey: "sk_live_1", Store: "stripe-eu", BaseURL: "http://[::1]:1"})
		require.NoError(t, err)
		require.Equal(t, "stripe-eu", verifier.Store())
	})
}

func TestPrintingAVerifierShowsNoSecret(t *testing.T) {
	verifier, err := stripe.New(stripe.Config{SecretKey: testKey, WebhookSecrets: []string{"whsec_secret"}})
	require.NoError(t, err)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		require.Equal(t, "stripe.Verifier(stripe)", fmt.Sprintf(format, verifier))
	}
}

func mustJSON(t testing.TB, value any) string {
	written, err := json.Marshal(value)
	require.NoError(t, err)
	return string(written)
}
