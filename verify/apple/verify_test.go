package apple_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/apple"
)

func TestSubscriptionByAnyReceipt(t *testing.T) {
	first := with(renewed(), object{"transactionId": firstID, "expiresDate": milliseconds(now.AddDate(0, 0, -10))})
	for name, test := range map[string]struct {
		receipt func(*world) string
		paths   []string
	}{
		"the original id": {
			func(*world) string { return firstID },
			[]string{"/inApps/v1/transactions/" + firstID, "/inApps/v1/subscriptions/" + firstID},
		},
		"the id of a renewal": {
			func(*world) string { return renewedID },
			[]string{"/inApps/v1/transactions/" + renewedID, "/inApps/v1/subscriptions/" + firstID},
		},
		"the first transaction, signed": {
			func(w *world) string { return w.sign(first) },
			[]string{"/inApps/v1/subscriptions/" + firstID},
		},
		"a renewal, signed": {
			func(w *world) string { return w.sign(renewed()) },
			[]string{"/inApps/v1/subscriptions/" + firstID},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := testWorld(t)
			w.production.sell(first, renewed())
			w.production.subscribe([]string{firstID}, w.production.item(1, renewed(), renewal()))

			verdict := verify(t, w.verifier(t, nil), test.receipt(w))
			require.Equal(t, userkit.VerdictValid, verdict.Outcome)
			require.Equal(t, test.paths, w.production.paths())
			facts := verdict.Facts
			var raw struct {
				Status               int
				Transaction, Renewal object
			}
			require.NoError(t, json.Unmarshal(facts.Raw, &raw))
			require.Equal(t, 1, raw.Status)
			require.Equal(t, "USD", raw.Transaction["currency"])
			require.EqualValues(t, 9990, raw.Renewal["renewalPrice"])
			facts.Raw = nil
			require.Equal(t, userkit.PurchaseFacts{
				StableID:      firstID,
				TransactionID: renewedID,
				ProductID:     "org.example.app.pro.monthly",
				Environment:   userkit.Production,
				PurchasedAt:   now.AddDate(0, 0, -10),
				ExpiresAt:     now.AddDate(0, 0, 20),
				AccountToken:  account,
				Token:         firstID,
				At:            now, // the renewal information was signed last
			}, facts)

			// What to verify it with the next time gives the same.
			again := verify(t, w.verifier(t, nil), facts.Token)
			again.Facts.Raw = nil
			require.Equal(t, facts, again.Facts)
		})
	}
}

func TestStatusesOfASubscription(t *testing.T) {
	grace := object{"gracePeriodExpiresDate": milliseconds(now.AddDate(0, 0, 6)), "isInBillingRetryPeriod": true}
	past := object{"expiresDate": milliseconds(now.AddDate(0, 0, -10))}
	for name, test := range map[string]struct {
		status              int
		transaction, change object // of the transaction and of the renewal information
		outcome             userkit.VerdictOutcome
		reason              userkit.PurchaseReason
		expires             time.Time
	}{
		"active":                        {1, nil, nil, userkit.VerdictValid, "", now.AddDate(0, 0, 20)},
		"active though its time is up":  {1, past, nil, userkit.VerdictValid, "", now.AddDate(0, 0, -10)},
		"expired":                       {2, past, nil, userkit.VerdictInvalid, userkit.ReasonExpired, now.AddDate(0, 0, -10)},
		"billing retry":                 {3, past, nil, userkit.VerdictInvalid, userkit.ReasonUnpaid, now.AddDate(0, 0, -10)},
		"billing retry, grace is over":  {3, past, grace, userkit.VerdictInvalid, userkit.ReasonUnpaid, now.AddDate(0, 0, -10)},
		"grace period":                  {4, past, grace, userkit.VerdictValid, "", now.AddDate(0, 0, 6)},
		"grace period to the last":      {4, past, object{"gracePeriodExpiresDate": milliseconds(now) + 1}, userkit.VerdictValid, "", now.Add(time.Millisecond)},
		"grace period that has ended":   {4, past, object{"gracePeriodExpiresDate": milliseconds(now)}, userkit.VerdictInvalid, userkit.ReasonUnpaid, now},
		"grace period without a date":   {4, past, nil, userkit.VerdictValid, "", now.AddDate(0, 0, -10)},
		"revoked":                       {5, nil, nil, userkit.VerdictInvalid, userkit.ReasonRevoked, now.AddDate(0, 0, 20)},
		"refunded":                      {5, object{"revocationDate": milliseconds(now.Add(-time.Hour)), "revocationReason": 1}, nil, userkit.VerdictInvalid, userkit.ReasonRevoked, now.Add(-time.Hour)},
		"taken back from the family":    {5, object{"revocationDate": milliseconds(now.Add(-time.Hour)), "revocationType": "FAMILY_REVOKE", "inAppOwnershipType": "FAMILY_SHARED"}, nil, userkit.VerdictInvalid, userkit.ReasonRevoked, now.Add(-time.Hour)},
		"refunded in part":              {5, object{"revocationDate": milliseconds(now.Add(-time.Hour)), "revocationType": "REFUND_PRORATED", "revocationPercentage": 50000}, nil, userkit.VerdictInvalid, userkit.ReasonRevoked, now.Add(-time.Hour)},
		"refunded, whatever the status": {1, object{"revocationDate": milliseconds(now.Add(-time.Hour))}, nil, userkit.VerdictInvalid, userkit.ReasonRevoked, now.Add(-time.Hour)},
		"refunded after it had expired": {2, object{"expiresDate": milliseconds(now.Add(-2 * time.Hour)), "revocationDate": milliseconds(now.Add(-time.Hour))}, nil, userkit.VerdictInvalid, userkit.ReasonRevoked, now.Add(-2 * time.Hour)},
		"upgraded":                      {2, object{"isUpgraded": true}, nil, userkit.VerdictInvalid, userkit.ReasonSuperseded, now.AddDate(0, 0, 20)},
		"upgraded, called active":       {1, object{"isUpgraded": true}, nil, userkit.VerdictInvalid, userkit.ReasonSuperseded, now.AddDate(0, 0, 20)},
		"a status of the future":        {6, nil, nil, userkit.VerdictUndecided, "", time.Time{}},
		"no status":                     {0, nil, nil, userkit.VerdictUndecided, "", time.Time{}},
		"no end":                        {1, object{"expiresDate": nil}, nil, userkit.VerdictUndecided, "", time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			w := testWorld(t)
			latest := with(renewed(), test.transaction)
			w.production.sell(latest)
			w.production.subscribe([]string{firstID}, w.production.item(test.status, latest, with(renewal(), test.change)))
			verdict := verify(t, w.verifier(t, nil), renewedID)
			require.Equal(t, test.outcome, verdict.Outcome)
			require.Equal(t, test.reason, verdict.Reason)
			require.Equal(t, test.expires, verdict.Facts.ExpiresAt)
			if test.outcome == userkit.VerdictInvalid {
				require.Equal(t, firstID, verdict.Facts.StableID)
				require.Equal(t, now, verdict.Facts.At)
			}
		})
	}
}

func TestTrialIsTheOfferFreeTrialAndNothingElse(t *testing.T) {
	for name, test := range map[string]struct {
		change object
		trial  bool
	}{
		"an introductory free trial":  {object{"offerType": 1, "offerDiscountType": "FREE_TRIAL", "offerPeriod": "P1W"}, true},
		"a free code":                 {object{"offerType": 3, "offerDiscountType": "FREE_TRIAL"}, true},
		"an introductory price":       {object{"offerType": 1, "offerDiscountType": "PAY_AS_YOU_GO"}, false},
		"an introductory prepayment":  {object{"offerType": 1, "offerDiscountType": "PAY_UP_FRONT"}, false},
		"an offer of an unknown kind": {object{"offerType": 1}, false},
		"free of charge":              {object{"price": 0}, false},
		"no offer":                    {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := testWorld(t)
			latest := with(renewed(), test.change)
			w.production.sell(latest)
			// The next period's offer says nothing about this one.
			w.production.subscribe([]string{firstID}, w.production.item(1, latest, with(renewal(), object{"offerDiscountType": "FREE_TRIAL"})))
			verdict := verify(t, w.verifier(t, nil), renewedID)
			require.Equal(t, userkit.VerdictValid, verdict.Outcome)
			require.Equal(t, test.trial, verdict.Facts.Trial)
		})
	}
}

func TestUpgradeSupersedesTheOtherSubscriptionOfTheGroup(t *testing.T) {
	w := testWorld(t)
	other := func(id string, change object) object {
		return with(renewed(), object{"transactionId": id, "originalTransactionId": id, "isUpgraded": true}, change)
	}
	broken := w.production.item(2, other("5", nil), nil)
	broken["signedTransactionInfo"] = newSigner().sign(other("5", nil))
	mislabelled := w.production.item(2, other("6", nil), nil)
	mislabelled["originalTransactionId"] = "66"
	w.production.sell(renewed(), other("2", nil))
	w.production.subscribe([]string{firstID, "2"},
		w.production.item(2, other("2", nil), nil),
		w.production.item(1, renewed(), renewal()),
		w.production.item(1, other("3", object{"isUpgraded": nil}), nil),
		w.production.item(2, other("4", object{"inAppOwnershipType": "FAMILY_SHARED"}), nil),
		broken, mislabelled)

	verdict := verify(t, w.verifier(t, nil), renewedID)
	require.Equal(t, userkit.VerdictValid, verdict.Outcome)
	require.Equal(t, []string{"2"}, verdict.Facts.Supersedes)

	replaced := verify(t, w.verifier(t, nil), "2")
	require.Equal(t, userkit.ReasonSuperseded, replaced.Reason)
	require.Equal(t, "2", replaced.Facts.StableID)
	require.Empty(t, replaced.Facts.Supersedes)
}

func TestSubscriptionWithoutAStatusIsJudgedByItsTransaction(t *testing.T) {
	for name, test := range map[string]struct {
		change  object
		outcome userkit.VerdictOutcome
		reason  userkit.PurchaseReason
	}{
		"upgraded": {object{"isUpgraded": true}, userkit.VerdictInvalid, userkit.ReasonSuperseded},
		"refunded": {object{"revocationDate": milliseconds(now)}, userkit.VerdictInvalid, userkit.ReasonRevoked},
		"expired":  {object{"expiresDate": milliseconds(now)}, userkit.VerdictInvalid, userkit.ReasonExpired},
		"running":  {nil, userkit.VerdictUndecided, ""},
		"endless":  {object{"expiresDate": nil}, userkit.VerdictUndecided, ""},
	} {
		for kind, receipt := range map[string]func(w *world) string{
			"by id":  func(*world) string { return renewedID },
			"signed": func(w *world) string { return w.sign(renewed()) },
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				w := testWorld(t)
				w.production.sell(with(renewed(), test.change))
				w.production.subscribe([]string{firstID}) // of another customer's making: no item
				verdict := verify(t, w.verifier(t, nil), receipt(w))
				require.Equal(t, test.outcome, verdict.Outcome)
				require.Equal(t, test.reason, verdict.Reason)
			})
		}
	}
}

func TestOneTimePurchases(t *testing.T) {
	season := func(_ string, purchasedAt time.Time) time.Time { return purchasedAt.AddDate(0, 3, 0) }
	pass := object{"type": "Non-Renewing Subscription", "productId": "org.example.app.season"}
	recent := object{"purchaseDate": milliseconds(now.AddDate(0, -1, 0))}
	for name, test := range map[string]struct {
		change  object
		end     func(string, time.Time) time.Time
		outcome userkit.VerdictOutcome
		reason  userkit.PurchaseReason
		expires time.Time
	}{
		"a non-consumable":                       {nil, season, userkit.VerdictValid, "", time.Time{}},
		"a consumable":                           {object{"type": "Consumable", "quantity": 3}, nil, userkit.VerdictValid, "", time.Time{}},
		"refunded":                               {object{"revocationDate": milliseconds(now.AddDate(0, -2, 0)), "revocationReason": 0}, nil, userkit.VerdictInvalid, userkit.ReasonRevoked, now.AddDate(0, -2, 0)},
		"a non-renewing subscription":            {pass, nil, userkit.VerdictValid, "", time.Time{}},
		"a non-renewing subscription that runs":  {with(pass, recent), season, userkit.VerdictValid, "", now.AddDate(0, 2, 0)},
		"a non-renewing subscription that ended": {pass, season, userkit.VerdictInvalid, userkit.ReasonExpired, now.AddDate(-1, 3, 0)},
		"a non-renewing one that was refunded":   {with(pass, recent, object{"revocationDate": milliseconds(now)}), season, userkit.VerdictInvalid, userkit.ReasonRevoked, now},
		"a type of the future":                   {object{"type": "Timeshare"}, nil, userkit.VerdictUndecided, "", time.Time{}},
		"no type":                                {object{"type": nil}, nil, userkit.VerdictUndecided, "", time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			w := testWorld(t)
			w.production.sell(with(bought(), test.change))
			verifier := w.verifier(t, func(config *apple.Config) { config.NonRenewing = test.end })
			for _, receipt := range []string{boughtID, w.sign(bought())} {
				verdict := verify(t, verifier, receipt)
				require.Equal(t, test.outcome, verdict.Outcome)
				require.Equal(t, test.reason, verdict.Reason)
				require.Equal(t, test.expires, verdict.Facts.ExpiresAt)
				if test.outcome != userkit.VerdictUndecided {
					require.Equal(t, boughtID, verdict.Facts.Token)
				}
			}
			require.NotContains(t, strings.Join(w.production.paths(), " "), "subscriptions")
		})
	}
}

func TestWhatIsShownIsNotBelieved(t *testing.T) {
	w := testWorld(t)
	// Signed when it was good; refunded since.
	w.production.sell(with(bought(), object{"revocationDate": milliseconds(now)}))
	require.Equal(t, userkit.ReasonRevoked, verify(t, w.verifier(t, nil), w.sign(bought())).Reason)

	expired := with(renewed(), object{"expiresDate": milliseconds(now.AddDate(0, 0, -1))})
	w.production.sell(expired)
	w.production.subscribe([]string{firstID}, w.production.item(2, expired, renewal()))
	require.Equal(t, userkit.ReasonExpired, verify(t, w.verifier(t, nil), w.sign(renewed())).Reason)
}

func TestFamilySharing(t *testing.T) {
	w := testWorld(t)
	for ownership, shared := range map[string]bool{"FAMILY_SHARED": true, "PURCHASED": false, "ASSIGNED": false} {
		w.production.sell(with(bought(), object{"inAppOwnershipType": ownership}))
		verdict := verify(t, w.verifier(t, nil), boughtID)
		require.Equal(t, userkit.VerdictValid, verdict.Outcome)
		require.Equal(t, shared, verdict.Facts.FamilyShared, ownership)
		require.Empty(t, verdict.Facts.AccountToken)
	}
}

func TestSandbox(t *testing.T) {
	tested := with(bought(), object{"environment": "Sandbox"})
	t.Run("is asked about what production does not know, when allowed", func(t *testing.T) {
		w := testWorld(t)
		w.sandbox.sell(tested)
		verdict := verify(t, w.verifier(t, allowSandbox), boughtID)
		require.Equal(t, userkit.VerdictValid, verdict.Outcome)
		require.Equal(t, userkit.Sandbox, verdict.Facts.Environment)
		require.Len(t, w.production.paths(), 1)
		require.Len(t, w.sandbox.paths(), 1)
	})
	t.Run("is not asked otherwise", func(t *testing.T) {
		w := testWorld(t)
		w.sandbox.sell(tested)
		require.Equal(t, userkit.ReasonNotFound, verify(t, w.verifier(t, nil), boughtID).Reason)
		require.Empty(t, w.sandbox.paths())
	})
	t.Run("is not asked about what production knows", func(t *testing.T) {
		w := testWorld(t)
		w.production.sell(bought())
		w.sandbox.sell(tested)
		require.Equal(t, userkit.Production, verify(t, w.verifier(t, allowSandbox), boughtID).Facts.Environment)
		require.Empty(t, w.sandbox.paths())
	})
	t.Run("is not asked while production does not say", func(t *testing.T) {
		w := testWorld(t)
		w.sandbox.sell(tested)
		w.production.reply("/inApps/v1/transactions/"+boughtID, apiError(5000001, "An unknown error occurred. Please try again."))
		require.Equal(t, userkit.VerdictUndecided, verify(t, w.verifier(t, allowSandbox), boughtID).Outcome)
		require.Empty(t, w.sandbox.paths())
	})
	t.Run("does not know it either", func(t *testing.T) {
		w := testWorld(t)
		verdict := verify(t, w.verifier(t, allowSandbox), boughtID)
		require.Equal(t, userkit.Invalid(userkit.ReasonNotFound, userkit.PurchaseFacts{}), verdict)
		require.Len(t, w.sandbox.paths(), 1)
	})
	t.Run("that refuses to answer leaves it undecided", func(t *testing.T) {
		w := testWorld(t)
		w.sandbox.key = &newSigner().leaf.key.PublicKey
		require.Equal(t, userkit.VerdictUndecided, verify(t, w.verifier(t, allowSandbox), boughtID).Outcome)
	})
	t.Run("is asked where production does not know the app yet", func(t *testing.T) {
		w := testWorld(t)
		unauthenticated := reply{status: 401, body: "Unauthenticated\n\nRequest ID: 6SDC.0.0\n"}
		w.production.reply("/inApps/v1/transactions/"+boughtID, unauthenticated)
		verdict := verify(t, w.verifier(t, allowSandbox), boughtID)
		require.Equal(t, userkit.VerdictUndecided, verdict.Outcome, "a wrong key is no reason to call it unknown")
		require.ErrorContains(t, verdict.Err, "401")
		require.Len(t, w.sandbox.paths(), 1)
		w.sandbox.sell(tested)
		verdict = verify(t, w.verifier(t, allowSandbox), boughtID)
		require.Equal(t, userkit.VerdictValid, verdict.Outcome)
		require.Equal(t, userkit.Sandbox, verdict.Facts.Environment)
		require.Equal(t, userkit.VerdictUndecided, verify(t, w.verifier(t, nil), boughtID).Outcome)
	})
	t.Run("is asked at once about a receipt of it", func(t *testing.T) {
		w := testWorld(t)
		w.sandbox.sell(tested)
		require.Equal(t, userkit.VerdictValid, verify(t, w.verifier(t, allowSandbox), w.sign(tested)).Outcome)
		require.Empty(t, w.production.paths())
	})
	t.Run("alone has no app id", func(t *testing.T) {
		w := testWorld(t)
		latest := with(renewed(), object{"environment": "Sandbox"})
		w.sandbox.sell(latest)
		w.sandbox.subscribe([]string{firstID}, w.sandbox.item(1, latest, with(renewal(), object{"environment": "Sandbox"})))
		require.Equal(t, userkit.VerdictValid, verify(t, w.verifier(t, onlySandbox), renewedID).Outcome)
		require.Empty(t, w.production.paths())
	})
}

func TestTransactionThatAppleHasJustSignedIsNotCalledUnknown(t *testing.T) {
	w := testWorld(t)
	for name, test := range map[string]struct {
		signedAt time.Time
		outcome  userkit.VerdictOutcome
	}{
		"now":           {now, userkit.VerdictUndecided},
		"yesterday":     {now.AddDate(0, 0, -1), userkit.VerdictUndecided},
		"two days ago":  {now.AddDate(0, 0, -2), userkit.VerdictInvalid},
		"last month":    {now.AddDate(0, -1, 0), userkit.VerdictInvalid},
		"by a fast one": {now.Add(time.Minute), userkit.VerdictUndecided},
	} {
		for _, payload := range []object{bought(), renewed()} {
			t.Run(name+", "+payload["type"].(string), func(t *testing.T) {
				signed := w.sign(with(payload, object{"signedDate": milliseconds(test.signedAt)}))
				require.Equal(t, test.outcome, verify(t, w.verifier(t, nil), signed).Outcome)
			})
		}
	}
}

func TestRefusalsInTheThreeOutcomes(t *testing.T) {
	text := func(status int, body string) reply { return reply{status: status, body: body} }
	for name, test := range map[string]struct {
		answer  reply
		outcome userkit.VerdictOutcome
		says    string
	}{
		"4000006 invalid transaction id":          {apiError(4000006, "Invalid transaction id."), userkit.VerdictInvalid, ""},
		"4000008 invalid original transaction id": {apiError(4000008, "Invalid original transaction id."), userkit.VerdictInvalid, ""},
		"4000048 the id of a download":            {apiError(4000048, "App transactions aren't supported."), userkit.VerdictInvalid, ""},
		"4040001 account not found":               {apiError(4040001, "Account not found."), userkit.VerdictInvalid, ""},
		"4040005 original id not found":           {apiError(4040005, "Original transaction id not found."), userkit.VerdictInvalid, ""},
		"4040010 transaction id not found":        {apiError(4040010, "Transaction id not found."), userkit.VerdictInvalid, ""},

		"4000000 general bad request":          {apiError(4000000, "Bad request."), userkit.VerdictUndecided, "4000000"},
		"4000002 invalid app identifier":       {apiError(4000002, "Invalid request app identifier."), userkit.VerdictUndecided, "4000002"},
		"4000031 invalid status":               {apiError(4000031, "Invalid request."), userkit.VerdictUndecided, "4000031"},
		"4000047 type not supported":           {apiError(4000047, "Not supported."), userkit.VerdictUndecided, "4000047"},
		"400 of an unknown code":               {apiError(4009999, "A new error."), userkit.VerdictUndecided, "4009999"},
		"400 without a code":                   {text(400, ""), userkit.VerdictUndecided, "status 400"},
		"401":                                  {text(401, "Unauthenticated\n\nRequest ID: 6SDC.0.0\n"), userkit.VerdictUndecided, "check the key"},
		"403":                                  {text(403, "<html>Forbidden</html>"), userkit.VerdictUndecided, "status 403"},
		"4040002 account not found, retryable": {apiError(4040002, "Account not found. Please try again."), userkit.VerdictUndecided, "4040002"},
		"4040003 app not found":                {apiError(4040003, "App not found."), userkit.VerdictUndecided, "4040003"},
		"4040004 app not found, retryable":     {apiError(4040004, "App not found. Please try again."), userkit.VerdictUndecided, "4040004"},
		"4040006 original id, retryable":       {apiError(4040006, "Please try again."), userkit.VerdictUndecided, "4040006"},
		"404 of an unknown code":               {apiError(4049999, "A new error."), userkit.VerdictUndecided, "4049999"},
		"404 without a code":                   {text(404, ""), userkit.VerdictUndecided, "status 404"},
		"404 of something before the API":      {text(404, "<html>Not Found</html>"), userkit.VerdictUndecided, "status 404"},
		"404 with a list":                      {text(404, "[4040010]"), userkit.VerdictUndecided, "status 404"},
		"a code that is not of the status":     {text(500, `{"errorCode":4040010}`), userkit.VerdictUndecided, "status 500"},
		"a code that is a text":                {text(404, `{"errorCode":"4040010"}`), userkit.VerdictUndecided, "status 404"},
		"4290000 rate limit":                   {apiError(4290000, "Rate limit exceeded."), userkit.VerdictUndecided, "4290000"},
		"5000000 general internal":             {apiError(5000000, "An unknown error occurred."), userkit.VerdictUndecided, "5000000"},
		"5000001 general internal, retryable":  {apiError(5000001, "Please try again."), userkit.VerdictUndecided, "5000001"},
		"502":                                  {text(502, "<html>Bad Gateway</html>"), userkit.VerdictUndecided, "status 502"},
		"503":                                  {text(503, ""), userkit.VerdictUndecided, "status 503"},
		"204":                                  {text(204, ""), userkit.VerdictUndecided, "status 204"},
		"304":                                  {text(304, ""), userkit.VerdictUndecided, "status 304"},

		"200 without a body":               {text(200, ""), userkit.VerdictUndecided, "cannot be read"},
		"200 with a page":                  {text(200, "<html>Welcome to the Wi-Fi</html>"), userkit.VerdictUndecided, "cannot be read"},
		"200 with a list":                  {text(200, "[]"), userkit.VerdictUndecided, "cannot be read"},
		"200 with nothing in it":           {text(200, "{}"), userkit.VerdictUndecided, "not signed"},
		"200 with null":                    {text(200, "null"), userkit.VerdictUndecided, "not signed"},
		"200 with a number as transaction": {text(200, `{"signedTransactionInfo":7}`), userkit.VerdictUndecided, "cannot be read"},
		"200 without end":                  {text(200, strings.Repeat(" ", 5<<20)), userkit.VerdictUndecided, "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			w := testWorld(t)
			w.production.reply("/inApps/v1/transactions/"+boughtID, test.answer)
			verdict := verify(t, w.verifier(t, nil), boughtID)
			require.Equal(t, test.outcome, verdict.Outcome)
			if test.outcome == userkit.VerdictInvalid {
				require.Equal(t, userkit.ReasonNotFound, verdict.Reason)
				require.Zero(t, verdict.Facts)
				return
			}
			require.ErrorContains(t, verdict.Err, test.says)
			require.Zero(t, verdict.RetryAt)

			// The same while the status of a subscription is asked for.
			w.production.sell(renewed())
			w.production.reply("/inApps/v1/subscriptions/"+firstID, test.answer)
			require.Equal(t, userkit.VerdictUndecided, verify(t, w.verifier(t, nil), renewedID).Outcome)
			require.Equal(t, userkit.VerdictUndecided, verify(t, w.verifier(t, nil), w.sign(renewed())).Outcome)
		})
	}
}

func TestTransactionThatIsKnownAndItsSubscriptionIsNotIsUndecided(t *testing.T) {
	w := testWorld(t)
	w.production.sell(renewed())
	w.production.reply("/inApps/v1/subscriptions/"+firstID, apiError(4040010, "Transaction id not found."))
	require.Equal(t, userkit.VerdictUndecided, verify(t, w.verifier(t, allowSandbox), renewedID).Outcome)
	require.Empty(t, w.sandbox.paths())
}

func TestRetryAfter(t *testing.T) {
	for name, test := range map[string]struct {
		header string
		at     time.Time
	}{
		"UNIX milliseconds":             {strconv.FormatInt(milliseconds(now.Add(90*time.Second)), 10), now.Add(90 * time.Second)},
		"UNIX milliseconds long gone":   {strconv.FormatInt(milliseconds(now.Add(-time.Hour)), 10), time.Time{}},
		"UNIX milliseconds in years":    {strconv.FormatInt(milliseconds(now.AddDate(10, 0, 0)), 10), now.AddDate(0, 0, 1)},
		"the largest number":            {"9223372036854775807", now.AddDate(0, 0, 1)},
		"a number beyond all":           {"92233720368547758070", time.Time{}},
		"seconds, by a proxy":           {"120", now.Add(2 * time.Minute)},
		"seconds for a year":            {"31536000", now.AddDate(0, 0, 1)},
		"no seconds":                    {"0", time.Time{}},
		"seconds back":                  {"-120", time.Time{}},
		"a date, by a proxy":            {"Sun, 01 Mar 2026 12:05:00 GMT", now.Add(5 * time.Minute)},
		"a date long gone":              {"Fri, 31 Dec 1999 23:59:59 GMT", time.Time{}},
		"a word":                        {"later", time.Time{}},
		"nothing":                       {"", time.Time{}},
		"a fraction, which it has none": {"1772366460000.5", time.Time{}},
	} {
		for _, status := range []int{429, 503, 500} {
			t.Run(fmt.Sprint(name, ", ", status), func(t *testing.T) {
				w := testWorld(t)
				w.production.reply("/inApps/v1/transactions/"+boughtID, reply{status: status, header: http.Header{"Retry-After": {test.header}}})
				verdict := verify(t, w.verifier(t, nil), boughtID)
				require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
				require.True(t, test.at.Equal(verdict.RetryAt), "%s", verdict.RetryAt)
			})
		}
	}
}

func TestRateLimitInTheMiddle(t *testing.T) {
	w := testWorld(t)
	w.production.sell(renewed())
	w.production.subscribe([]string{firstID}, w.production.item(1, renewed(), renewal()))
	w.production.limit = 1
	verdict := verify(t, w.verifier(t, nil), renewedID)
	require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
	require.Equal(t, now.Add(20*time.Minute), verdict.RetryAt)
	require.Len(t, w.production.paths(), 2)
}

func TestAnswersThatAreNotAboutThePurchaseAreUndecided(t *testing.T) {
	forged := newSigner()
	signedBy := func(s *signer, payload object) reply {
		return answer(object{"signedTransactionInfo": s.sign(payload)})
	}
	w := testWorld(t)
	verifier := w.verifier(t, allowSandbox)
	for name, given := range map[string]reply{
		"not signed by Apple":    signedBy(forged, bought()),
		"another transaction":    signedBy(w.signer, with(bought(), object{"transactionId": "7"})),
		"another app":            signedBy(w.signer, with(bought(), object{"bundleId": "org.example.other"})),
		"another environment":    signedBy(w.signer, with(bought(), object{"environment": "Sandbox"})),
		"an unknown environment": signedBy(w.signer, with(bought(), object{"environment": "Moon"})),
		"no transaction":         signedBy(w.signer, with(bought(), object{"transactionId": nil})),
	} {
		t.Run("transaction: "+name, func(t *testing.T) {
			w.production.reply("/inApps/v1/transactions/"+boughtID, given)
			require.Equal(t, userkit.VerdictUndecided, verify(t, verifier, boughtID).Outcome)
		})
	}

	w.production.sell(renewed())
	for name, change := range map[string]struct{ item, answer object }{
		"not signed by Apple":                 {object{"signedTransactionInfo": forged.sign(renewed())}, nil},
		"no transaction":                      {object{"signedTransactionInfo": nil}, nil},
		"another transaction":                 {object{"signedTransactionInfo": w.sign(with(renewed(), object{"originalTransactionId": "7"}))}, nil},
		"a transaction of another app":        {object{"signedTransactionInfo": w.sign(with(renewed(), object{"bundleId": "org.example.other"}))}, nil},
		"a transaction of the sandbox":        {object{"signedTransactionInfo": w.sign(with(renewed(), object{"environment": "Sandbox"}))}, nil},
		"renewal not signed by Apple":         {object{"signedRenewalInfo": forged.sign(renewal())}, nil},
		"renewal of another transaction":      {object{"signedRenewalInfo": w.sign(with(renewal(), object{"originalTransactionId": "7"}))}, nil},
		"renewal of the sandbox":              {object{"signedRenewalInfo": w.sign(with(renewal(), object{"environment": "Sandbox"}))}, nil},
		"renewal of an unknown environment":   {object{"signedRenewalInfo": w.sign(with(renewal(), object{"environment": "Moon"}))}, nil},
		"renewal that is none":                {object{"signedRenewalInfo": w.sign(with(renewal(), object{"originalTransactionId": nil}))}, nil},
		"a status that is a text":             {object{"status": "1"}, nil},
		"another bundle id in the answer":     {nil, object{"bundleId": "org.example.other"}},
		"another app id in the answer":        {nil, object{"appAppleId": 7}},
		"no app id in the answer":             {nil, object{"appAppleId": nil}},
		"an app id that is none":              {nil, object{"appAppleId": "1234567890"}},
		"another environment in the answer":   {nil, object{"environment": "Sandbox"}},
		"an unknown environment in an answer": {nil, object{"environment": nil}},
	} {
		t.Run("status: "+name, func(t *testing.T) {
			item := with(w.production.item(1, renewed(), renewal()), change.item)
			w.production.subscribe([]string{firstID}, item)
			w.production.extra = change.answer
			require.Equal(t, userkit.VerdictUndecided, verify(t, verifier, renewedID).Outcome)
			require.Equal(t, userkit.VerdictUndecided, verify(t, verifier, w.sign(renewed())).Outcome)
		})
	}
}

func TestRenewalInformationMayBeMissing(t *testing.T) {
	w := testWorld(t)
	w.production.sell(renewed())
	w.production.subscribe([]string{firstID}, w.production.item(1, renewed(), nil))
	verdict := verify(t, w.verifier(t, nil), renewedID)
	require.Equal(t, userkit.VerdictValid, verdict.Outcome)
	require.Equal(t, now.Add(-time.Second), verdict.Facts.At)
}

func TestRawIsLeftOutWhenItIsTooLong(t *testing.T) {
	w := testWorld(t)
	w.production.sell(with(bought(), object{"advancedCommerceInfo": strings.Repeat("x", userkit.MaxPurchaseRaw)}))
	verdict := verify(t, w.verifier(t, nil), boughtID)
	require.Equal(t, userkit.VerdictValid, verdict.Outcome)
	require.Nil(t, verdict.Facts.Raw)
}

func TestRequests(t *testing.T) {
	w := testWorld(t)
	w.production.sell(bought())
	require.Equal(t, userkit.VerdictValid, verify(t, w.verifier(t, func(config *apple.Config) {
		config.ProductionURL += "/"
		config.TokenLifetime = apple.MaxTokenLifetime
	}), boughtID).Outcome)
	header := w.production.requests[0].Header
	require.Equal(t, "userkit-apple", header.Get("User-Agent"))
	require.Equal(t, "application/json", header.Get("Accept"))
	require.Empty(t, w.production.requests[0].URL.RawQuery)
}

func TestWrongKeyIsUndecided(t *testing.T) {
	w := testWorld(t)
	w.production.sell(bought())
	for name, change := range map[string]func(*apple.Config){
		"another key":    func(config *apple.Config) { config.PrivateKey = pemKey(newSigner().leaf.key) },
		"another key id": func(config *apple.Config) { config.KeyID = "OTHER" },
		"another issuer": func(config *apple.Config) { config.IssuerID = "other" },
		"another app":    func(config *apple.Config) { config.BundleID = "org.example.other" },
		"a slow clock":   func(config *apple.Config) { config.Clock = func() time.Time { return now.Add(-time.Hour) } },
		"a fast clock":   func(config *apple.Config) { config.Clock = func() time.Time { return now.Add(time.Hour) } },
	} {
		t.Run(name, func(t *testing.T) {
			verdict := verify(t, w.verifier(t, change), boughtID)
			require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
			require.ErrorContains(t, verdict.Err, "401")
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	w := testWorld(t)
	w.sandbox.sell(bought())
	called := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	t.Cleanup(elsewhere.Close)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
	for _, status := range []int{301, 302, 303, 307, 308} {
		w.production.reply("/inApps/v1/transactions/"+boughtID, reply{status: status, header: http.Header{"Location": {elsewhere.URL}}})
		verdict := verify(t, w.verifier(t, func(config *apple.Config) { config.HTTPClient = client }), boughtID)
		require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
	}
	require.False(t, called)
	require.NotNil(t, client.CheckRedirect, "the host's client stays as it was")
}

// roundTrip is a transport that a test makes up.
type roundTrip func(*http.Request) (*http.Response, error)

func (r roundTrip) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

func TestStoreThatCannotBeReachedIsUndecided(t *testing.T) {
	w := testWorld(t)
	transport := func(trip roundTrip) *apple.Verifier {
		return w.verifier(t, func(config *apple.Config) { config.HTTPClient = &http.Client{Transport: trip} })
	}
	t.Run("nobody listens", func(t *testing.T) {
		w := testWorld(t)
		verifier := w.verifier(t, nil)
		w.production.Close()
		require.Equal(t, userkit.VerdictUndecided, verify(t, verifier, boughtID).Outcome)
		require.Equal(t, userkit.VerdictUndecided, verify(t, verifier, w.sign(bought())).Outcome)
	})
	t.Run("the context has ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		verdict := w.verifier(t, nil).Verify(ctx, userkit.Receipt{Token: boughtID})
		checkVerdict(t, verdict, boughtID)
		require.ErrorIs(t, verdict.Err, context.Canceled)
	})
	t.Run("the context ends while it waits", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		verifier := transport(func(request *http.Request) (*http.Response, error) {
			cancel()
			<-request.Context().Done()
			return nil, request.Context().Err()
		})
		verdict := verifier.Verify(ctx, userkit.Receipt{Token: boughtID})
		require.ErrorIs(t, verdict.Err, context.Canceled)
	})
	t.Run("the body breaks off", func(t *testing.T) {
		verifier := transport(func(*http.Request) (*http.Response, error) {
			body := io.MultiReader(strings.NewReader(`{"signed`), failingReader{})
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(body)}, nil
		})
		require.ErrorIs(t, verify(t, verifier, boughtID).Err, io.ErrUnexpectedEOF)
	})
	t.Run("a transport that tells secrets is not quoted", func(t *testing.T) {
		verifier := transport(func(request *http.Request) (*http.Response, error) {
			return nil, errors.New("cannot send " + request.URL.String() + " with " + request.Header.Get("Authorization"))
		})
		require.Equal(t, userkit.VerdictUndecided, verify(t, verifier, boughtID).Outcome)
	})
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestManyAtOnce(t *testing.T) {
	w := testWorld(t)
	w.production.sell(bought(), renewed())
	w.production.subscribe([]string{firstID}, w.production.item(1, renewed(), renewal()))
	verifier := w.verifier(t, nil)
	outcomes := make(chan userkit.VerdictOutcome, 16)
	var group sync.WaitGroup
	for range cap(outcomes) / 2 {
		for _, token := range []string{boughtID, renewedID} {
			group.Go(func() { outcomes <- verifier.Verify(t.Context(), userkit.Receipt{Token: token}).Outcome })
		}
	}
	group.Wait()
	for range cap(outcomes) {
		require.Equal(t, userkit.VerdictValid, <-outcomes)
	}
}
