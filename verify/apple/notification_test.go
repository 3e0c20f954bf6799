package apple_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/apple"
)

const noticeID = "002e14d5-51f5-4503-b5a8-c3a1af68eb20"

// notification is what Apple posts.
func notification(signed string) userkit.StoreNotification {
	return userkit.StoreNotification{
		Header: map[string][]string{"Content-Type": {"application/json"}},
		Body:   must(json.Marshal(object{"signedPayload": signed})),
	}
}

// notice is a responseBodyV2DecodedPayload with data.
func notice(kind string, data object) object {
	return object{
		"notificationType": kind,
		"notificationUUID": noticeID,
		"version":          "2.0",
		"signedDate":       milliseconds(now),
		"data":             with(object{"appAppleId": appID, "bundleId": bundleID, "bundleVersion": "1.2.3", "environment": "Production"}, data),
	}
}

func TestNotificationsAboutAPurchaseSayToVerifyItAgain(t *testing.T) {
	w := testWorld(t)
	verifier := w.verifier(t, nil)
	subscription := object{"signedTransactionInfo": w.sign(renewed()), "signedRenewalInfo": w.sign(renewal()), "status": 1}
	for _, kind := range []string{
		"SUBSCRIBED", "DID_CHANGE_RENEWAL_PREF", "DID_CHANGE_RENEWAL_STATUS", "OFFER_REDEEMED", "DID_RENEW", "EXPIRED",
		"DID_FAIL_TO_RENEW", "GRACE_PERIOD_EXPIRED", "PRICE_INCREASE", "REFUND", "REFUND_DECLINED", "CONSUMPTION_REQUEST",
		"RENEWAL_EXTENDED", "REVOKE", "RENEWAL_EXTENSION", "REFUND_REVERSED", "METADATA_UPDATE", "MIGRATION", "PRICE_CHANGE",
		"A_TYPE_OF_THE_FUTURE",
	} {
		t.Run(kind, func(t *testing.T) {
			content, err := verifier.ReadNotification(t.Context(), notification(w.sign(notice(kind, subscription))))
			require.NoError(t, err)
			require.Equal(t, userkit.NotificationContent{
				ID:       noticeID,
				StableID: firstID,
				Receipt:  userkit.Receipt{Store: "apple", Token: firstID, ProductID: "org.example.app.pro.monthly"},

				RefundRequest: content.RefundRequest,
			}, content)
			require.Equal(t, kind == "CONSUMPTION_REQUEST", content.RefundRequest != nil)
		})
	}
	t.Run("a one-time product", func(t *testing.T) {
		restored := with(bought(), object{"transactionId": "430001900000002"})
		data := object{"signedTransactionInfo": w.sign(restored)}
		content, err := verifier.ReadNotification(t.Context(), notification(w.sign(notice("ONE_TIME_CHARGE", data))))
		require.NoError(t, err)
		require.Equal(t, boughtID, content.StableID)
		require.Equal(t, "430001900000002", content.Receipt.Token)
	})
	t.Run("renewal information alone", func(t *testing.T) {
		data := object{"signedRenewalInfo": w.sign(renewal())}
		content, err := verifier.ReadNotification(t.Context(), notification(w.sign(notice("A_TYPE_OF_THE_FUTURE", data))))
		require.NoError(t, err)
		require.Equal(t, firstID, content.StableID)
		require.Equal(t, firstID, content.Receipt.Token)
	})
	require.Empty(t, w.production.paths(), "reading makes no request")
}

func TestNotificationLeadsToItsPurchase(t *testing.T) {
	w := testWorld(t)
	w.production.sell(with(renewed(), object{"transactionId": firstID}), renewed())
	w.production.subscribe([]string{firstID}, w.production.item(1, renewed(), renewal()))
	verifier := w.verifier(t, nil)
	data := object{"signedTransactionInfo": w.sign(renewed())}
	content, err := verifier.ReadNotification(t.Context(), notification(w.sign(notice("DID_RENEW", data))))
	require.NoError(t, err)
	verdict := verifier.Verify(t.Context(), content.Receipt)
	require.Equal(t, userkit.VerdictValid, verdict.Outcome)
	require.Equal(t, content.StableID, verdict.Facts.StableID)
}

func TestNotificationsAboutNoPurchase(t *testing.T) {
	w := testWorld(t)
	about := object{"appAppleId": appID, "bundleId": bundleID, "environment": "Production"}
	without := func(kind, member string, change object) object {
		return with(notice(kind, nil), object{"data": nil, member: with(about, change)})
	}
	for name, payload := range map[string]object{
		"a test":                   notice("TEST", nil),
		"a summary":                without("RENEWAL_EXTENSION", "summary", object{"succeededCount": 5, "failedCount": 2}),
		"the app itself":           without("RESCIND_CONSENT", "appData", object{"signedAppTransactionInfo": "e.e.e"}),
		"an external purchase":     without("EXTERNAL_PURCHASE_TOKEN", "externalPurchaseToken", object{"externalPurchaseId": "b2158121", "environment": nil}),
		"an unknown type, no data": notice("A_TYPE_OF_THE_FUTURE", nil),
	} {
		t.Run(name, func(t *testing.T) {
			content, err := w.verifier(t, nil).ReadNotification(t.Context(), notification(w.sign(payload)))
			require.NoError(t, err)
			require.Equal(t, noticeID, content.ID)
			require.Empty(t, content.Receipt.Token)
			require.Empty(t, content.StableID)
		})
	}
}

func TestNotificationsOfTheSandbox(t *testing.T) {
	w := testWorld(t)
	external := func(id string) object {
		return with(notice("EXTERNAL_PURCHASE_TOKEN", nil), object{"data": nil, "externalPurchaseToken": object{"appAppleId": appID, "bundleId": bundleID, "externalPurchaseId": id}})
	}
	for name, test := range map[string]struct {
		change  func(*apple.Config)
		payload object
		taken   bool
	}{
		"with no app id":                           {allowSandbox, notice("TEST", object{"environment": "Sandbox", "appAppleId": nil}), true},
		"with the app id":                          {allowSandbox, notice("TEST", object{"environment": "Sandbox"}), true},
		"with another app id":                      {allowSandbox, notice("TEST", object{"environment": "Sandbox", "appAppleId": 7}), false},
		"with an app id when none is configured":   {onlySandbox, notice("TEST", object{"environment": "Sandbox"}), true},
		"when it does not count":                   {nil, notice("TEST", object{"environment": "Sandbox"}), false},
		"an external purchase":                     {allowSandbox, external("SANDBOX_b2158121"), true},
		"an external purchase when it counts not":  {nil, external("SANDBOX_b2158121"), false},
		"an external purchase of production there": {onlySandbox, external("b2158121"), false},
		"of production when only the sandbox does": {onlySandbox, notice("TEST", nil), false},
		"Xcode in production":                      {allowSandbox, notice("TEST", object{"environment": "Xcode"}), false},
		"local testing in production":              {allowSandbox, notice("TEST", object{"environment": "LocalTesting"}), false},
		"local testing in the sandbox":             {onlySandbox, notice("TEST", object{"environment": "LocalTesting"}), true},
	} {
		t.Run(name, func(t *testing.T) {
			content, err := w.verifier(t, test.change).ReadNotification(t.Context(), notification(w.sign(test.payload)))
			if test.taken {
				require.NoError(t, err)
				require.Equal(t, noticeID, content.ID)
				return
			}
			requireRefused(t, err, userkit.CodeInvalidSignature)
			require.Zero(t, content)
		})
	}
}

func requireRefused(t *testing.T, err error, code userkit.Code) {
	require.Error(t, err)
	require.Equal(t, code, userkit.ErrorCode(err))
	if code == userkit.CodeInvalidSignature {
		require.ErrorIs(t, err, userkit.ErrForbidden)
	} else {
		require.ErrorIs(t, err, userkit.ErrInvalid)
	}
	require.NotContains(t, err.Error(), "eyJ")
	require.NotContains(t, err.Error(), noticeID)
}

func TestNotificationsThatAreNotOfTheStoreAreRefused(t *testing.T) {
	w := testWorld(t)
	forger := newSigner()
	good := w.sign(notice("TEST", nil))
	parts := strings.Split(good, ".")
	data := func(signed string) string { return w.sign(notice("REFUND", object{"signedTransactionInfo": signed})) }
	for name, signed := range map[string]string{
		"another root":                       forger.sign(notice("TEST", nil)),
		"no JWS":                             "signed, Apple",
		"damaged base64":                     "%" + good[1:],
		"tampered":                           parts[0] + "." + segment(must(json.Marshal(notice("REFUND", nil)))) + "." + parts[2],
		"algorithm none":                     segment([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".",
		"two certificates":                   signParts(object{"alg": "ES256", "x5c": chain(w.leaf, w.intermediate)}, must(json.Marshal(notice("TEST", nil))), w.leaf.key),
		"no signing date":                    w.sign(with(notice("TEST", nil), object{"signedDate": nil})),
		"another bundle id":                  w.sign(notice("TEST", object{"bundleId": "org.example.other"})),
		"no bundle id":                       w.sign(notice("TEST", object{"bundleId": nil})),
		"another app id":                     w.sign(notice("TEST", object{"appAppleId": 7})),
		"no app id":                          w.sign(notice("TEST", object{"appAppleId": nil})),
		"no environment":                     w.sign(notice("TEST", object{"environment": nil})),
		"a forged transaction in it":         data(forger.sign(renewed())),
		"a transaction that is no JWS in it": data("transaction"),
		"a transaction of another app in it": data(w.sign(with(renewed(), object{"bundleId": "org.example.other"}))),
		"a transaction of the sandbox in it": data(w.sign(with(renewed(), object{"environment": "Sandbox"}))),
		"a forged renewal in it":             w.sign(notice("DID_RENEW", object{"signedRenewalInfo": forger.sign(renewal())})),
	} {
		t.Run(name, func(t *testing.T) {
			content, err := w.verifier(t, nil).ReadNotification(t.Context(), notification(signed))
			requireRefused(t, err, userkit.CodeInvalidSignature)
			require.Zero(t, content)
		})
	}
}

func TestNotificationsThatCannotBeReadAreRefused(t *testing.T) {
	w := testWorld(t)
	body := func(payload any) []byte { return notification(w.sign(payload)).Body }
	for name, given := range map[string][]byte{
		"nothing":                       nil,
		"no JSON":                       []byte("notification_type=CANCEL"),
		"null":                          []byte("null"),
		"a list":                        []byte("[]"),
		"version 1":                     []byte(`{"notification_type":"CANCEL","password":"secret","unified_receipt":{}}`),
		"a number as payload":           []byte(`{"signedPayload":1}`),
		"too long":                      []byte(`{"signedPayload":"` + strings.Repeat("e", userkit.MaxStoreNotification) + `"}`),
		"a transaction as payload":      body(bought()),
		"no type":                       body(with(notice("TEST", nil), object{"notificationType": nil})),
		"no id":                         body(with(notice("TEST", nil), object{"notificationUUID": nil})),
		"an id without end":             body(with(notice("TEST", nil), object{"notificationUUID": strings.Repeat("0", 129)})),
		"about nothing":                 body(with(notice("TEST", nil), object{"data": nil})),
		"about something new":           body(with(notice("TEST", nil), object{"data": nil, "news": object{"bundleId": bundleID}})),
		"data that is a list":           body(with(notice("TEST", nil), object{"data": []int{1}})),
		"an app id that is none":        body(notice("TEST", object{"appAppleId": "seven"})),
		"a transaction without its ids": body(notice("REFUND", object{"signedTransactionInfo": w.sign(with(bought(), object{"transactionId": nil}))})),
	} {
		t.Run(name, func(t *testing.T) {
			content, err := w.verifier(t, nil).ReadNotification(t.Context(), userkit.StoreNotification{Body: given})
			requireRefused(t, err, userkit.CodeBadFormat)
			require.Zero(t, content)
		})
	}
}
