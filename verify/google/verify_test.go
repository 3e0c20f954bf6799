package google_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/google"
)

const (
	soon  = "2026-04-10T12:00:00.123456789Z"
	later = "2026-05-10T14:00:00+02:00"
	past  = "2026-03-01T12:00:00Z"
)

// subscription is a resource as the API gives it, with more members from extra.
func subscription(state, expiry, extra string) string {
	return fmt.Sprintf(`{"kind":"androidpublisher#subscriptionPurchaseV2","startTime":"2026-01-10T12:00:00.123456789Z",`+
		`"regionCode":"DE","subscriptionState":"SUBSCRIPTION_STATE_%s","latestOrderId":"GPA.1111-2222-3333-44444..2",`+
		`"acknowledgementState":"ACKNOWLEDGEMENT_STATE_PENDING","etag":"e1","lineItems":[{"productId":"monthly",`+
		`"expiryTime":%q,"latestSuccessfulOrderId":"GPA.1111-2222-3333-44444..1","autoRenewingPlan":{"autoRenewEnabled":true},`+
		`"offerDetails":{"basePlanId":"p1m","offerId":"first-month"},"offerPhase":{"basePrice":{}}}]%s}`, state, expiry, extra)
}

func receipt(token string) userkit.Receipt { return userkit.Receipt{Store: "google", Token: token} }

func TestSubscriptionStates(t *testing.T) {
	replaced := `,"canceledStateContext":{"replacementCancellation":{}}`
	tests := []struct {
		name, state, expiry, extra string
		outcome                    userkit.VerdictOutcome
		reason                     userkit.PurchaseReason
	}{
		{"active", "ACTIVE", soon, "", userkit.VerdictValid, ""},
		{"active with nulls", "ACTIVE", soon, `,"canceledStateContext":null,"testPurchase":null,"linkedPurchaseToken":null`, userkit.VerdictValid, ""},
		{"in grace period", "IN_GRACE_PERIOD", soon, "", userkit.VerdictValid, ""},
		{"canceled, still paid for", "CANCELED", soon, `,"canceledStateContext":{"userInitiatedCancellation":{"cancelTime":"2026-03-01T12:00:00Z"}}`, userkit.VerdictValid, ""},
		{"canceled, over", "CANCELED", past, "", userkit.VerdictInvalid, userkit.ReasonExpired},
		{"canceled at this moment", "CANCELED", "2026-03-10T12:00:00Z", "", userkit.VerdictInvalid, userkit.ReasonExpired},
		{"canceled by a replacement", "CANCELED", soon, replaced, userkit.VerdictInvalid, userkit.ReasonSuperseded},
		{"active, renewal is late", "ACTIVE", "2026-03-09T12:00:00Z", "", userkit.VerdictUndecided, ""},
		{"in grace period, extension is late", "IN_GRACE_PERIOD", "2026-03-10T11:59:59Z", "", userkit.VerdictUndecided, ""},
		{"active, renewal does not come", "ACTIVE", "2026-03-08T12:00:00Z", "", userkit.VerdictInvalid, userkit.ReasonExpired},
		{"active without an end", "ACTIVE", "", "", userkit.VerdictUndecided, ""},
		{"pending", "PENDING", "", "", userkit.VerdictInvalid, userkit.ReasonPending},
		{"pending purchase canceled", "PENDING_PURCHASE_CANCELED", "", "", userkit.VerdictInvalid, userkit.ReasonUnpaid},
		{"paused", "PAUSED", past, `,"pausedStateContext":{"autoResumeTime":"2026-04-01T00:00:00Z"}`, userkit.VerdictInvalid, userkit.ReasonPaused},
		{"on hold", "ON_HOLD", past, "", userkit.VerdictInvalid, userkit.ReasonUnpaid},
		{"expired", "EXPIRED", past, "", userkit.VerdictInvalid, userkit.ReasonExpired},
		{"expired by a replacement", "EXPIRED", past, replaced, userkit.VerdictInvalid, userkit.ReasonSuperseded},
		{"revoked", "EXPIRED", soon, "", userkit.VerdictInvalid, userkit.ReasonRevoked},
		{"unspecified", "UNSPECIFIED", soon, "", userkit.VerdictUndecided, ""},
		{"of the future", "FROZEN", soon, "", userkit.VerdictUndecided, ""},
		{"damaged time", "ACTIVE", "tomorrow", "", userkit.VerdictUndecided, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t)
			p.answer(subscriptionRoute, 200, subscription(test.state, test.expiry, test.extra))
			verdict := p.verifier(t).Verify(t.Context(), receipt(purchaseToken))
			require.Equal(t, test.outcome, verdict.Outcome)
			require.Equal(t, test.reason, verdict.Reason)
			if test.outcome == userkit.VerdictUndecided {
				require.Error(t, verdict.Err)
				require.Empty(t, verdict.Facts)
				return
			}
			require.Equal(t, google.StableID(purchaseToken), verdict.Facts.StableID)
			require.Equal(t, "monthly", verdict.Facts.ProductID)
			require.Equal(t, []string{subscriptionRoute}, p.asked())
		})
	}
}

func TestSubscriptionFacts(t *testing.T) {
	p := newPlay(t)
	p.answer(subscriptionRoute, 200, subscription("ACTIVE", soon, `,"linkedPurchaseToken":"older-token","testPurchase":{},`+
		`"externalAccountIdentifiers":{"obfuscatedExternalAccountId":"user-7"},"subscribeWithGoogleInfo":{"emailAddress":"a@example.org"}`))
	verdict := p.verifier(t).Verify(t.Context(), receipt(purchaseToken))
	require.Equal(t, userkit.VerdictValid, verdict.Outcome)

	raw := verdict.Facts.Raw
	verdict.Facts.Raw = nil
	require.Equal(t, userkit.PurchaseFacts{
		StableID:      google.StableID(purchaseToken),
		TransactionID: "GPA.1111-2222-3333-44444..1",
		ProductID:     "monthly",
		Environment:   userkit.Sandbox,
		PurchasedAt:   time.Date(2026, 1, 10, 12, 0, 0, 123456000, time.UTC),
		ExpiresAt:     time.Date(2026, 4, 10, 12, 0, 0, 123456000, time.UTC),
		AccountToken:  "user-7",
		Supersedes:    []string{google.StableID("older-token")},
		Token:         "subscription:" + purchaseToken,
		At:            start,
	}, verdict.Facts)

	var kept map[string]any
	require.NoError(t, json.Unmarshal(raw, &kept))
	require.Equal(t, "e1", kept["etag"])
	require.NotContains(t, kept, "linkedPurchaseToken")
	require.NotContains(t, kept, "subscribeWithGoogleInfo")
	require.NotContains(t, string(raw), "older-token")
}

func TestTrialIsTheFreeTrialPhaseAndNothingElse(t *testing.T) {
	for phase, trial := range map[string]bool{
		`{"freeTrial":{}}`: true, `{"freeTrial":null}`: false, `{"basePrice":{}}`: false, `{"introductoryPrice":{}}`: false,
		`{"prorationPeriod":{"originalOfferPhaseType":"FREE_TRIAL"}}`: false,
	} {
		p := newPlay(t)
		p.answer(subscriptionRoute, 200, strings.Replace(subscription("ACTIVE", soon, ""), `{"basePrice":{}}`, phase, 1))
		verdict := p.verifier(t).Verify(t.Context(), receipt(purchaseToken))
		require.Equal(t, trial, verdict.Facts.Trial, phase)
		require.Equal(t, userkit.Production, verdict.Facts.Environment)
	}
}

func TestSeveralLineItems(t *testing.T) {
	line := func(product, expiry string) string {
		return fmt.Sprintf(`{"productId":%q,"expiryTime":%q,"offerPhase":{"freeTrial":{}}}`, product, expiry)
	}
	tests := []struct {
		name, asked string
		lines       []string
		want        string
	}{
		{"the first of equals", "", []string{line("base", soon), line("addon", soon)}, "base"},
		{"the one that lasts longest", "", []string{line("base", soon), line("addon", later)}, "addon"},
		{"the one that was asked for", "base", []string{line("addon", later), line("base", soon)}, "base"},
		{"an active one before the one asked for", "base", []string{line("base", past), line("addon", soon)}, "addon"},
		{"not one that has yet to begin", "new", []string{`{"productId":"new"}`, line("old", soon)}, "old"},
		{"an unknown one was asked for", "other", []string{line("base", soon)}, "base"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t)
			p.answer(subscriptionRoute, 200, `{"subscriptionState":"SUBSCRIPTION_STATE_ACTIVE","latestOrderId":"GPA.1","lineItems":[`+
				strings.Join(test.lines, ",")+`]}`)
			verdict := p.verifier(t).Verify(t.Context(),
				userkit.Receipt{Token: "subscription:" + purchaseToken, ProductID: test.asked})
			require.Equal(t, userkit.VerdictValid, verdict.Outcome, "%v", verdict.Err)
			require.Equal(t, test.want, verdict.Facts.ProductID)
			require.Equal(t, "GPA.1", verdict.Facts.TransactionID)
			require.True(t, verdict.Facts.Trial)
		})
	}
}

// endOf is the time that a line item ends at.
func endOf(t *testing.T, text string) time.Time {
	t.Helper()
	end, err := time.Parse(time.RFC3339Nano, text)
	require.NoError(t, err)
	return end.UTC().Truncate(time.Microsecond)
}

func TestPurchaseOfSeveralLineItemsLastsAsLongAsTheLastOfThem(t *testing.T) {
	p := newPlay(t)
	p.answer(subscriptionRoute, 200, `{"subscriptionState":"SUBSCRIPTION_STATE_ACTIVE","latestOrderId":"GPA.1","lineItems":[`+
		`{"productId":"base","expiryTime":"`+soon+`"},{"productId":"addon","expiryTime":"`+later+`","offerPhase":{"freeTrial":{}}},`+
		`{"productId":"gone","expiryTime":"`+past+`"},{"productId":"yet to begin"}]}`)
	facts := p.verifier(t).Verify(t.Context(), userkit.Receipt{Token: "subscription:" + purchaseToken, ProductID: "base"}).Facts
	require.Equal(t, "base", facts.ProductID)
	require.False(t, facts.Trial)
	require.Equal(t, endOf(t, later), facts.ExpiresAt)
	require.Equal(t, []userkit.PurchaseItem{
		{ProductID: "base", ExpiresAt: endOf(t, soon)}, {ProductID: "addon", ExpiresAt: endOf(t, later), Trial: true},
		{ProductID: "gone", ExpiresAt: endOf(t, past)}, {ProductID: "yet to begin"},
	}, facts.Items)

	// One that ended does not end the others.
	p.answer(subscriptionRoute, 200, `{"subscriptionState":"SUBSCRIPTION_STATE_CANCELED","lineItems":[`+
		`{"productId":"base","expiryTime":"`+past+`"},{"productId":"addon","expiryTime":"`+soon+`"}]}`)
	require.Equal(t, userkit.VerdictValid, p.verifier(t).Verify(t.Context(), receipt(purchaseToken)).Outcome)

	p.answer(subscriptionRoute, 200, `{"subscriptionState":"SUBSCRIPTION_STATE_ACTIVE","lineItems":[`+
		strings.Repeat(`{"productId":"x","expiryTime":"`+soon+`"},`, userkit.MaxPurchaseItems)+`{"productId":"x"}]}`)
	require.Equal(t, userkit.VerdictUndecided, p.verifier(t).Verify(t.Context(), receipt(purchaseToken)).Outcome)
}

func TestPausedSubscriptionIsAskedAboutWhenItResumes(t *testing.T) {
	for extra, want := range map[string]time.Time{
		`,"pausedStateContext":{"autoResumeTime":"` + later + `"}`: endOf(t, later),
		`,"pausedStateContext":{}`:                                 {}, ``: {},
	} {
		p := newPlay(t)
		p.answer(subscriptionRoute, 200, subscription("PAUSED", past, extra))
		verdict := p.verifier(t).Verify(t.Context(), receipt(purchaseToken))
		require.Equal(t, userkit.ReasonPaused, verdict.Reason)
		require.Equal(t, want, verdict.AskAt)
	}
	p := newPlay(t)
	p.answer(subscriptionRoute, 200, subscription("PAUSED", past, `,"pausedStateContext":{"autoResumeTime":"some day"}`))
	require.Equal(t, userkit.VerdictUndecided, p.verifier(t).Verify(t.Context(), receipt(purchaseToken)).Outcome)
}

func TestSubscriptionThatWasBoughtAgainInThePlayStore(t *testing.T) {
	p := newPlay(t)
	p.answer(subscriptionRoute, 200, subscription("ACTIVE", soon, `,"outOfAppPurchaseContext":{"expiredPurchaseToken":"older-token",`+
		`"expiredExternalAccountIdentifiers":{"obfuscatedExternalAccountId":"user-7"}}`))
	facts := p.verifier(t).Verify(t.Context(), receipt(purchaseToken)).Facts
	require.Equal(t, "user-7", facts.AccountToken)
	require.Equal(t, []string{google.StableID("older-token")}, facts.Supersedes)
	require.NotContains(t, string(facts.Raw), "older-token")
}

func TestPurchaseDoesNotSupersedeItself(t *testing.T) {
	p := newPlay(t)
	p.answer(subscriptionRoute, 200, subscription("ACTIVE", soon, `,"linkedPurchaseToken":"`+purchaseToken+`"`))
	require.Empty(t, p.verifier(t).Verify(t.Context(), receipt(purchaseToken)).Facts.Supersedes)
}

func TestProducts(t *testing.T) {
	product := func(extra string) string {
		return `{"kind":"androidpublisher#productPurchase","purchaseTimeMillis":"1767960000123","orderId":"GPA.5",` +
			`"acknowledgementState":0,"regionCode":"DE","obfuscatedExternalAccountId":"user-7","purchaseToken":"` + purchaseToken + `"` + extra + `}`
	}
	tests := []struct {
		name, body  string
		outcome     userkit.VerdictOutcome
		reason      userkit.PurchaseReason
		environment userkit.Environment
	}{
		{"purchased", product(`,"purchaseState":0`), userkit.VerdictValid, "", userkit.Production},
		{"consumed", product(`,"purchaseState":0,"consumptionState":1`), userkit.VerdictValid, "", userkit.Production},
		{"by a tester", product(`,"purchaseState":0,"purchaseType":0`), userkit.VerdictValid, "", userkit.Sandbox},
		{"with a promotion", product(`,"purchaseState":0,"purchaseType":1`), userkit.VerdictValid, "", userkit.Production},
		{"canceled", product(`,"purchaseState":1`), userkit.VerdictInvalid, userkit.ReasonRevoked, userkit.Production},
		{"pending", product(`,"purchaseState":2`), userkit.VerdictInvalid, userkit.ReasonPending, userkit.Production},
		{"no state", product(``), userkit.VerdictUndecided, "", ""},
		{"unknown state", product(`,"purchaseState":9`), userkit.VerdictUndecided, "", ""},
		{"damaged time", `{"purchaseState":0,"purchaseTimeMillis":"-5"}`, userkit.VerdictUndecided, "", ""},
		{"time beyond all calendars", `{"purchaseState":0,"purchaseTimeMillis":"9223372036854775807"}`, userkit.VerdictUndecided, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t)
			p.answer(productRoute, 200, test.body)
			verdict := p.verifier(t).Verify(t.Context(), userkit.Receipt{Token: purchaseToken, ProductID: "coins"})
			require.Equal(t, test.outcome, verdict.Outcome)
			require.Equal(t, test.reason, verdict.Reason)
			require.Equal(t, test.environment, verdict.Facts.Environment)
			require.Equal(t, []string{productRoute}, p.asked())
			if test.outcome == userkit.VerdictUndecided {
				return
			}
			require.Equal(t, google.StableID(purchaseToken), verdict.Facts.StableID)
			require.Equal(t, "coins", verdict.Facts.ProductID)
			require.Equal(t, "GPA.5", verdict.Facts.TransactionID)
			require.Equal(t, "user-7", verdict.Facts.AccountToken)
			require.Equal(t, "product:"+purchaseToken, verdict.Facts.Token)
			require.Equal(t, time.UnixMilli(1767960000123).UTC(), verdict.Facts.PurchasedAt)
			require.True(t, verdict.Facts.ExpiresAt.IsZero())
			require.NotContains(t, string(verdict.Facts.Raw), purchaseToken)
		})
	}
}

func productV2(state, extra string) string {
	return `{"kind":"androidpublisher#productPurchaseV2","productLineItem":[{"productId":"coins","productOfferDetails":` +
		`{"purchaseOptionId":"o","quantity":1,"offerToken":"secret-offer"}},{"productId":"gems"}],"purchaseStateContext":{"purchaseState":"` +
		state + `"},"orderId":"GPA.6","purchaseCompletionTime":"2026-01-10T12:00:00Z","acknowledgementState":"ACKNOWLEDGEMENT_STATE_PENDING"` + extra + `}`
}

func TestProductsV2(t *testing.T) {
	tests := []struct {
		name, body  string
		outcome     userkit.VerdictOutcome
		reason      userkit.PurchaseReason
		environment userkit.Environment
	}{
		{"purchased", productV2("PURCHASED", ""), userkit.VerdictValid, "", userkit.Production},
		{"by a tester", productV2("PURCHASED", `,"testPurchaseContext":{"fopType":"TEST"}`), userkit.VerdictValid, "", userkit.Sandbox},
		{"canceled", productV2("CANCELLED", ""), userkit.VerdictInvalid, userkit.ReasonRevoked, userkit.Production},
		{"pending", productV2("PENDING", ""), userkit.VerdictInvalid, userkit.ReasonPending, userkit.Production},
		{"unspecified", productV2("PURCHASE_STATE_UNSPECIFIED", ""), userkit.VerdictUndecided, "", ""},
		{"nothing in it", `{}`, userkit.VerdictUndecided, "", ""},
		{"no product", `{"productLineItem":[{}],"purchaseStateContext":{"purchaseState":"PURCHASED"}}`, userkit.VerdictUndecided, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t)
			p.answer(productV2Route, 200, test.body)
			v := p.verifier(t)
			verdict := v.Verify(t.Context(), receipt(purchaseToken))
			require.Equal(t, test.outcome, verdict.Outcome)
			require.Equal(t, test.reason, verdict.Reason)
			require.Equal(t, test.environment, verdict.Facts.Environment)
			require.Equal(t, []string{subscriptionRoute, productV2Route}, p.asked())
			if test.outcome == userkit.VerdictUndecided {
				return
			}
			require.Equal(t, "coins", verdict.Facts.ProductID)
			require.Equal(t, "GPA.6", verdict.Facts.TransactionID)
			require.NotContains(t, string(verdict.Facts.Raw), "secret-offer")

			again := v.Verify(t.Context(), userkit.Receipt{Token: verdict.Facts.Token, ProductID: "gems"})
			require.Equal(t, test.outcome, again.Outcome)
			require.Equal(t, "gems", again.Facts.ProductID)
			require.Equal(t, []string{subscriptionRoute, productV2Route, productV2Route}, p.asked())
		})
	}
}

func TestWhereAPurchaseIsLookedFor(t *testing.T) {
	tests := []struct {
		name  string
		shown userkit.Receipt
		want  []string
	}{
		{"unknown", receipt(purchaseToken), []string{subscriptionRoute, productV2Route}},
		{"with a product", userkit.Receipt{Token: purchaseToken, ProductID: "coins"}, []string{productRoute, subscriptionRoute}},
		{"a product that cannot be", userkit.Receipt{Token: purchaseToken, ProductID: "../coins"}, []string{subscriptionRoute, productV2Route}},
		{"a subscription", receipt("subscription:" + purchaseToken), []string{subscriptionRoute}},
		{"a product by its id", userkit.Receipt{Token: "product:" + purchaseToken, ProductID: "coins"}, []string{productRoute}},
		{"a product", receipt("product:" + purchaseToken), []string{productV2Route}},
		{"no token", receipt(""), nil},
		{"only a kind", receipt("product:"), nil},
		{"an unknown kind", receipt("gift:" + purchaseToken), nil},
		{"two kinds", receipt("product:product:" + purchaseToken), nil},
		{"a path", receipt("../../orders"), nil},
		{"dots", receipt(".."), nil},
		{"an escape", receipt("a%2fb"), nil},
		{"no ASCII", receipt("tökén"), nil},
		{"too long", receipt(strings.Repeat("a", 5000)), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t)
			verdict := p.verifier(t).Verify(t.Context(), test.shown)
			require.Equal(t, userkit.Invalid(userkit.ReasonNotFound, userkit.PurchaseFacts{}), verdict)
			require.Equal(t, test.want, p.asked())
		})
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name    string
		status  int
		body    string
		outcome userkit.VerdictOutcome
		reason  userkit.PurchaseReason
	}{
		{"400 invalid value", 400, apiError(400, "INVALID_ARGUMENT", "invalid"), userkit.VerdictInvalid, userkit.ReasonNotFound},
		{"400 another package", 400, apiError(400, "INVALID_ARGUMENT", "purchaseTokenDoesNotMatchPackageName"), userkit.VerdictInvalid, userkit.ReasonWrongApp},
		{"404 token", 404, apiError(404, "NOT_FOUND", "purchaseTokenNotFound"), userkit.VerdictInvalid, userkit.ReasonNotFound},
		{"404 short format", 404, `{"error":{"code":404,"message":"Not found."}}`, userkit.VerdictInvalid, userkit.ReasonNotFound},
		{"410", 410, apiError(410, "", "purchaseTokenNoLongerValid"), userkit.VerdictInvalid, userkit.ReasonExpired},
		{"404 of no application", 404, apiError(404, "NOT_FOUND", "applicationNotFound"), userkit.VerdictUndecided, ""},
		{"404 about the package", 404, `{"error":{"code":404,"errors":[{"reason":"notFound","location":"packageName"}]}}`, userkit.VerdictUndecided, ""},
		{"404 of a proxy", 404, `<html>not here</html>`, userkit.VerdictUndecided, ""},
		{"404 that says 403", 404, apiError(403, "", "x"), userkit.VerdictUndecided, ""},
		{"400 empty", 400, ``, userkit.VerdictUndecided, ""},
		{"401", 401, apiError(401, "UNAUTHENTICATED", "permissionDenied"), userkit.VerdictUndecided, ""},
		{"403", 403, apiError(403, "PERMISSION_DENIED", "permissionDenied"), userkit.VerdictUndecided, ""},
		{"403 quota", 403, apiError(403, "RESOURCE_EXHAUSTED", "quotaExceeded"), userkit.VerdictUndecided, ""},
		{"408", 408, ``, userkit.VerdictUndecided, ""},
		{"409", 409, apiError(409, "ABORTED", "concurrentUpdate"), userkit.VerdictUndecided, ""},
		{"418", 418, apiError(418, "", ""), userkit.VerdictUndecided, ""},
		{"429", 429, apiError(429, "RESOURCE_EXHAUSTED", "rateLimitExceeded"), userkit.VerdictUndecided, ""},
		{"500", 500, apiError(500, "INTERNAL", "backendError"), userkit.VerdictUndecided, ""},
		{"502", 502, `bad gateway`, userkit.VerdictUndecided, ""},
		{"503", 503, apiError(503, "UNAVAILABLE", "backendError"), userkit.VerdictUndecided, ""},
		{"504", 504, ``, userkit.VerdictUndecided, ""},
		{"204", 204, ``, userkit.VerdictUndecided, ""},
		{"200 empty", 200, ``, userkit.VerdictUndecided, ""},
		{"200 null", 200, `null`, userkit.VerdictUndecided, ""},
		{"200 no object", 200, `[]`, userkit.VerdictUndecided, ""},
		{"200 no state", 200, `{"kind":"androidpublisher#subscriptionPurchaseV2"}`, userkit.VerdictUndecided, ""},
		{"200 other types", 200, `{"subscriptionState":7}`, userkit.VerdictUndecided, ""},
		{"200 too long", 200, subscription("ACTIVE", soon, `,"x":"`+strings.Repeat("x", 300*1024)+`"`), userkit.VerdictUndecided, ""},
		{"200 names too long", 200, subscription("ACTIVE", soon, `,"externalAccountIdentifiers":{"obfuscatedExternalAccountId":"`+strings.Repeat("x", 600)+`"}`), userkit.VerdictUndecided, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t)
			p.answer(subscriptionRoute, test.status, test.body)
			verdict := p.verifier(t).Verify(t.Context(), receipt("subscription:"+purchaseToken))
			require.Equal(t, test.outcome, verdict.Outcome)
			require.Equal(t, test.reason, verdict.Reason)
			require.Empty(t, verdict.Facts)
			if test.outcome == userkit.VerdictUndecided {
				require.Error(t, verdict.Err)
				keepsSecrets(t, verdict.Err)
			}
		})
	}
}

func TestRefusalsOfBothKindsAreOneReason(t *testing.T) {
	p := newPlay(t)
	p.answer(subscriptionRoute, 400, apiError(400, "INVALID_ARGUMENT", "invalid"))
	p.answer(productV2Route, 400, apiError(400, "INVALID_ARGUMENT", "purchaseTokenDoesNotMatchPackageName"))
	require.Equal(t, userkit.ReasonWrongApp, p.verifier(t).Verify(t.Context(), receipt(purchaseToken)).Reason)

	p.answer(productV2Route, 503, ``)
	require.Equal(t, userkit.VerdictUndecided, p.verifier(t).Verify(t.Context(), receipt(purchaseToken)).Outcome)
}

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Time{
		"":                              {},
		"120":                           start.Add(2 * time.Minute),
		"0":                             {},
		"-5":                            {},
		"soon":                          {},
		"99999999999":                   start.Add(24 * time.Hour),
		"Tue, 10 Mar 2026 12:05:00 GMT": start.Add(5 * time.Minute),
		"Tue, 10 Mar 2026 11:05:00 GMT": {},
		"Tue, 10 Mar 2099 12:05:00 GMT": start.Add(24 * time.Hour),
	} {
		for _, status := range []int{403, 429, 503} {
			p := newPlay(t)
			p.answer(subscriptionRoute, status, apiError(status, "", "x"), "Retry-After", value)
			verdict := p.verifier(t).Verify(t.Context(), receipt(purchaseToken))
			require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
			require.Equal(t, want, verdict.RetryAt, value)
		}
	}
}

func TestFactsHaveNoTimeWhenTheServerIsDaysAway(t *testing.T) {
	p := newPlay(t)
	for date, want := range map[string]time.Time{
		start.Add(time.Hour).Format(http.TimeFormat):   start.Add(time.Hour),
		start.AddDate(1, 0, 0).Format(http.TimeFormat): {},
		"yesterday": {},
	} {
		p.answer(subscriptionRoute, 200, subscription("ACTIVE", soon, ""), "Date", date)
		verdict := p.verifier(t).Verify(t.Context(), receipt(purchaseToken))
		require.Equal(t, userkit.VerdictValid, verdict.Outcome)
		require.Equal(t, want, verdict.Facts.At, date)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	other := newPlay(t)
	p := newPlay(t)
	p.answer(subscriptionRoute, 307, ``, "Location", other.URL+strings.TrimPrefix(subscriptionRoute, "GET "))
	verdict := p.verifier(t).Verify(t.Context(), receipt("subscription:"+purchaseToken))
	require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
	require.Empty(t, other.asked())

	p = newPlay(t)
	p.answer(tokenRoute, 307, ``, "Location", other.URL+"/token")
	verdict = p.verifier(t).Verify(t.Context(), receipt(purchaseToken))
	require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
	require.Zero(t, other.count(tokenRoute))
}

func TestUnreachable(t *testing.T) {
	p := newPlay(t)
	v := p.verifier(t)
	p.answer(subscriptionRoute, 200, subscription("ACTIVE", soon, ""))
	require.Equal(t, userkit.VerdictValid, v.Verify(t.Context(), receipt(purchaseToken)).Outcome)
	p.Close()
	verdict := v.Verify(t.Context(), receipt(purchaseToken))
	require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
	keepsSecrets(t, verdict.Err)
}

// refusing is a transport that fails and tells all that it knows.
type refusing struct{ next http.RoundTripper }

func (r refusing) RoundTrip(request *http.Request) (*http.Response, error) {
	if strings.HasSuffix(request.URL.Path, "/token") {
		return r.next.RoundTrip(request)
	}
	return nil, errors.New("cannot send " + request.URL.String() + " with " + request.Header.Get("Authorization"))
}

// late is an error of a connection that was given up.
type late struct{}

func (late) Error() string   { return "GET " + purchaseToken + " took too long" }
func (late) Timeout() bool   { return true }
func (late) Temporary() bool { return true }

// failing is a transport, or a body, that fails.
type failing struct{ err error }

func (f failing) RoundTrip(request *http.Request) (*http.Response, error) {
	if strings.HasSuffix(request.URL.Path, "/certs") {
		return nil, f.err
	}
	return &http.Response{StatusCode: 200, Body: f, Request: request}, nil
}
func (f failing) Read([]byte) (int, error) { return 0, f.err }
func (f failing) Close() error             { return nil }

func TestAnswersThatBreakOff(t *testing.T) {
	p := newPlay(t)
	for _, cause := range []error{late{}, io.ErrUnexpectedEOF} {
		config := p.config()
		config.HTTPClient = &http.Client{Transport: failing{cause}}
		v, err := google.New(config)
		require.NoError(t, err)
		verdict := v.Verify(t.Context(), receipt(purchaseToken))
		require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
		keepsSecrets(t, verdict.Err)
		_, err = v.ReadNotification(t.Context(), push(pushToken(t, start, nil), pushBody("1", renewed)))
		require.ErrorIs(t, err, userkit.ErrUnavailable)
		keepsSecrets(t, err)
	}
}

func TestRawIsLeftOutWhenItIsTooLong(t *testing.T) {
	p := newPlay(t)
	p.answer(subscriptionRoute, 200, subscription("ACTIVE", soon, `,"x":"`+strings.Repeat("x", userkit.MaxPurchaseRaw)+`"`))
	verdict := p.verifier(t).Verify(t.Context(), receipt(purchaseToken))
	require.Equal(t, userkit.VerdictValid, verdict.Outcome)
	require.Nil(t, verdict.Facts.Raw)

	p.answer(subscriptionRoute, 200, subscription("ACTIVE", soon, `,"x":["in `+purchaseToken+` another place"]`))
	verdict = p.verifier(t).Verify(t.Context(), receipt(purchaseToken))
	require.Equal(t, userkit.VerdictValid, verdict.Outcome)
	require.Nil(t, verdict.Facts.Raw)
}

func TestErrorsOfATransportKeepSecrets(t *testing.T) {
	p := newPlay(t)
	config := p.config()
	config.HTTPClient = &http.Client{Transport: refusing{http.DefaultTransport}}
	v, err := google.New(config)
	require.NoError(t, err)
	verdict := v.Verify(t.Context(), receipt(purchaseToken))
	require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
	keepsSecrets(t, verdict.Err)
	keepsSecrets(t, v.Acknowledge(t.Context(), userkit.Receipt{Token: "product:" + purchaseToken, ProductID: "coins"}, userkit.PurchaseFacts{}))
}

func TestContextEnds(t *testing.T) {
	p := newPlay(t)
	ctx, cancel := context.WithCancel(t.Context())
	p.handle(subscriptionRoute, func(r *http.Request) reply {
		cancel()
		<-r.Context().Done()
		return reply{status: 200}
	})
	v := p.verifier(t)
	verdict := v.Verify(ctx, receipt(purchaseToken))
	require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
	require.ErrorIs(t, verdict.Err, context.Canceled)
	keepsSecrets(t, verdict.Err)

	fresh := p.verifier(t)
	verdict = fresh.Verify(ctx, receipt(purchaseToken))
	require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
	p.answer(subscriptionRoute, 200, subscription("ACTIVE", soon, ""))
	require.Equal(t, userkit.VerdictValid, fresh.Verify(t.Context(), receipt(purchaseToken)).Outcome,
		"that one caller gave up is nobody else's failure")
}

func TestRequests(t *testing.T) {
	p := newPlay(t)
	var header http.Header
	p.handle(subscriptionRoute, func(r *http.Request) reply {
		header = r.Header.Clone()
		return reply{status: 200, body: subscription("ACTIVE", soon, "")}
	})
	p.verifier(t).Verify(t.Context(), receipt(purchaseToken))
	require.Equal(t, "Bearer "+accessToken, header.Get("Authorization"))
	require.Equal(t, "userkit-google", header.Get("User-Agent"))
	require.Equal(t, "application/json", header.Get("Accept"))
}

// keepsSecrets looks for secrets in an error.
func keepsSecrets(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	text := fmt.Sprintf("%v %+v %#v", err, err, err)
	for _, secret := range []string{purchaseToken, accessToken, "AO-J1O", "PRIVATE", "Bearer", "eyJ"} {
		require.NotContains(t, text, secret)
	}
}
