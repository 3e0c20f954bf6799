package google_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/google"
)

func TestAcknowledge(t *testing.T) {
	tests := []struct {
		name   string
		lookup string
		body   string
		shown  userkit.Receipt
		want   string
	}{
		{"subscription", subscriptionRoute, subscription("ACTIVE", soon, ""), receipt(purchaseToken), acknowledgeSubRoute},
		{"product", productRoute, `{"purchaseState":0}`, userkit.Receipt{Token: purchaseToken, ProductID: "coins"}, acknowledgeProRoute},
		{"product, second version", productV2Route, productV2("PURCHASED", ""), receipt("product:" + purchaseToken), acknowledgeProRoute},
	}
	for _, test := range tests {
		for _, status := range []int{200, 204} {
			t.Run(test.name, func(t *testing.T) {
				p := newPlay(t)
				p.answer(test.lookup, 200, test.body)
				p.answer(test.want, status, "")
				v := p.verifier(t)
				verdict := v.Verify(t.Context(), test.shown)
				require.Equal(t, userkit.VerdictValid, verdict.Outcome)
				before := len(p.asked())

				require.NoError(t, v.Acknowledge(t.Context(), test.shown, verdict.Facts))
				require.NoError(t, v.Acknowledge(t.Context(), test.shown, verdict.Facts))
				require.Equal(t, []string{test.want, test.want}, p.asked()[before:])
				require.Equal(t, "{}", p.bodyOf(test.want))

				// With nothing but the receipt it is looked up first.
				require.NoError(t, v.Acknowledge(t.Context(), userkit.Receipt{Token: test.shown.Token, ProductID: test.shown.ProductID}, userkit.PurchaseFacts{}))
				require.Equal(t, 3, p.count(test.want))

				// The kind is known from what was kept.
				facts := verdict.Facts
				facts.Token = ""
				require.NoError(t, v.Acknowledge(t.Context(), receipt(purchaseToken), facts))
				require.Equal(t, 4, p.count(test.want))
			})
		}
	}
}

// A subscription that was bought again in the Play Store says nothing of whose it is, so
// the acknowledgement says it, as the one that had expired did.
func TestAcknowledgeWhatWasBoughtOutsideOfTheApp(t *testing.T) {
	p := newPlay(t)
	p.answer(subscriptionRoute, 200, subscription("ACTIVE", soon, `,"outOfAppPurchaseContext":{"expiredPurchaseToken":"older-token",`+
		`"expiredExternalAccountIdentifiers":{"obfuscatedExternalAccountId":"account","obfuscatedExternalProfileId":"profile"}}`))
	p.answer(acknowledgeSubRoute, 200, "")
	v := p.verifier(t)
	verdict := v.Verify(t.Context(), receipt(purchaseToken))
	require.Equal(t, userkit.VerdictValid, verdict.Outcome)
	for _, facts := range []userkit.PurchaseFacts{verdict.Facts, {}} { // as it was kept, and looked up first
		require.NoError(t, v.Acknowledge(t.Context(), receipt(purchaseToken), facts))
		require.JSONEq(t, `{"externalAccountIds":{"obfuscatedAccountId":"account","obfuscatedProfileId":"profile"}}`, p.bodyOf(acknowledgeSubRoute))
	}
}

func TestAcknowledgedAlready(t *testing.T) {
	p := newPlay(t)
	v := p.verifier(t)
	for _, raw := range []string{`{"acknowledgementState":"ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED"}`, `{"acknowledgementState":1}`} {
		facts := userkit.PurchaseFacts{StableID: google.StableID(purchaseToken), Raw: json.RawMessage(raw)}
		require.NoError(t, v.Acknowledge(t.Context(), receipt(purchaseToken), facts))
	}
	require.Empty(t, p.asked())

	p.answer(acknowledgeProRoute, 204, "")
	another := userkit.PurchaseFacts{StableID: google.StableID("another"), ProductID: "coins", Raw: json.RawMessage(`{"acknowledgementState":1}`)}
	require.NoError(t, v.Acknowledge(t.Context(), receipt("product:"+purchaseToken), another))
	require.Equal(t, 1, p.count(acknowledgeProRoute), "what was kept is about another token")
}

func TestRefusedAcknowledgement(t *testing.T) {
	active := subscription("ACTIVE", soon, "")
	done := strings.Replace(active, "STATE_PENDING", "STATE_ACKNOWLEDGED", 1)
	tests := []struct {
		name   string
		status int
		now    reply // what the purchase is by then
		ok     bool
	}{
		{"done by another", 400, reply{status: 200, body: done}, true},
		{"done, conflict", 409, reply{status: 200, body: done}, true},
		{"still to be done", 400, reply{status: 200, body: active}, false},
		{"over", 400, reply{status: 200, body: subscription("EXPIRED", past, "")}, true},
		{"replaced", 400, reply{status: 200, body: subscription("EXPIRED", past, `,"canceledStateContext":{"replacementCancellation":{}}`)}, true},
		{"not paid yet", 400, reply{status: 200, body: subscription("PENDING", "", "")}, false},
		{"gone", 410, reply{status: 410, body: apiError(410, "", "purchaseTokenNoLongerValid")}, true},
		{"not found", 404, reply{status: 404, body: apiError(404, "", "purchaseTokenNotFound")}, true},
		{"unknown", 404, reply{status: 503}, false},
		{"another's page", 404, reply{status: 404, body: "<html>"}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t)
			p.handle(subscriptionRoute, func(*http.Request) reply { return test.now })
			p.answer(acknowledgeSubRoute, test.status, apiError(test.status, "", "x"))
			err := p.verifier(t).Acknowledge(t.Context(), receipt("subscription:"+purchaseToken), userkit.PurchaseFacts{ProductID: "monthly"})
			if test.ok {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, userkit.ErrUnavailable)
			keepsSecrets(t, err)
		})
	}
}

func TestAcknowledgeLater(t *testing.T) {
	for _, status := range []int{302, 401, 403, 429, 500, 503} {
		p := newPlay(t)
		p.answer(acknowledgeSubRoute, status, apiError(status, "", "x"), "Retry-After", "60")
		err := p.verifier(t).Acknowledge(t.Context(), receipt("subscription:"+purchaseToken), userkit.PurchaseFacts{ProductID: "monthly"})
		var e *userkit.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, userkit.CodePurchaseUndecided, e.Code)
		require.Equal(t, start.Add(time.Minute), e.Until)
		require.Zero(t, p.count(subscriptionRoute))
		keepsSecrets(t, err)
	}
}

func TestAcknowledgeWhatCannotBe(t *testing.T) {
	p := newPlay(t)
	v := p.verifier(t)
	require.ErrorIs(t, v.Acknowledge(t.Context(), receipt("no token"), userkit.PurchaseFacts{}), userkit.ErrInvalid)
	require.NoError(t, v.Acknowledge(t.Context(), receipt(purchaseToken), userkit.PurchaseFacts{}), "Google knows no such purchase")

	p.answer(subscriptionRoute, 200, `{"subscriptionState":"SUBSCRIPTION_STATE_PENDING"}`)
	require.ErrorIs(t, v.Acknowledge(t.Context(), receipt(purchaseToken), userkit.PurchaseFacts{}), userkit.ErrUnavailable)

	p.answer(tokenRoute, 503, "")
	p.advance(2 * time.Hour)
	require.ErrorIs(t, v.Acknowledge(t.Context(), receipt("product:"+purchaseToken), userkit.PurchaseFacts{ProductID: "coins"}), userkit.ErrUnavailable)
}
