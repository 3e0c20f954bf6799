package stripe_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/stripe"
)

const (
	secret      = "whsec_Jc2sAl9mGQkzW1vX"
	otherSecret = "whsec_T0thEr5ecretOfTheRoll"
)

// v1 is the v1 signature of a body (https://docs.stripe.com/webhooks#verify-manually).
func v1(secret string, signedAt, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s", signedAt, body)
	return hex.EncodeToString(mac.Sum(nil))
}

func unix(t time.Time) string { return fmt.Sprint(t.Unix()) }

// signed is a notification with a right signature.
func signed(body string) userkit.StoreNotification {
	return notification("t="+unix(now)+",v1="+v1(secret, unix(now), body), body)
}

func notification(header, body string) userkit.StoreNotification {
	return userkit.StoreNotification{Header: map[string][]string{"Stripe-Signature": {header}}, Body: []byte(body)}
}

// eventBody is an event of test mode about an object.
func eventBody(t testing.TB, kind string, about any, change object) string {
	written := object{
		"id": "evt_1NG8Du2eZvKYlo2CUI79vXWy", "object": "event", "api_version": stripe.DefaultAPIVersion,
		"created": now.Unix(), "data": object{"object": about}, "livemode": false, "pending_webhooks": 1,
		"request": object{"id": nil, "idempotency_key": nil}, "type": kind,
	}
	maps.Copy(written, change)
	return mustJSON(t, written)
}

func reader(t testing.TB, change func(*stripe.Config)) *stripe.Verifier {
	config := stripe.Config{SecretKey: testKey, WebhookSecrets: []string{secret}, Clock: clock}
	if change != nil {
		change(&config)
	}
	verifier, err := stripe.New(config)
	require.NoError(t, err)
	return verifier
}

func requireRefused(t *testing.T, content userkit.NotificationContent, err error, code userkit.Code) {
	t.Helper()
	require.Zero(t, content)
	require.Equal(t, code, userkit.ErrorCode(err), "%v", err)
	var detailed *userkit.Error
	require.ErrorAs(t, err, &detailed)
	require.Equal(t, "notification", detailed.Field)
	require.NotContains(t, err.Error(), "whsec_")
	require.NotContains(t, err.Error(), subID)
}

func TestANotificationNamesItsSubscription(t *testing.T) {
	invoice := func(change object) object {
		written := invoiceObject("in_1", now, nil)
		maps.Copy(written, change)
		return written
	}
	parent := func(of any) object {
		return object{"parent": object{"type": "subscription_details", "quote_details": nil, "subscription_details": object{"subscription": of, "metadata": object{}}}}
	}
	live := object{"livemode": true}
	for _, test := range []struct {
		name  string
		body  string
		about string
	}{
		{"a new subscription", eventBody(t, "customer.subscription.created", subscriptionObject("incomplete", nil), nil), subID},
		{"a changed subscription", eventBody(t, "customer.subscription.updated", subscriptionObject("active", nil), nil), subID},
		{"an ended subscription", eventBody(t, "customer.subscription.deleted", subscriptionObject("canceled", nil), nil), subID},
		{"a type that is not known", eventBody(t, "customer.subscription.hibernated", subscriptionObject("hibernating", nil), nil), subID},
		{"a paid invoice", eventBody(t, "invoice.paid", invoice(parent(subID)), nil), subID},
		{"a failed payment, expanded", eventBody(t, "invoice.payment_failed", invoice(parent(object{"id": subID, "object": "subscription"})), nil), subID},
		{"an invoice to come, which has no id", eventBody(t, "invoice.upcoming", invoice(object{"id": nil, "subscription": subID}), nil), subID},
		{"an invoice of before basil", eventBody(t, "invoice.paid", invoice(object{"subscription": subID}), nil), subID},
		{"an invoice of a quote", eventBody(t, "invoice.paid", invoice(object{"parent": object{"type": "quote_details", "subscription_details": nil}}), nil), ""},
		{"an invoice of nothing", eventBody(t, "invoice.paid", invoice(object{"parent": nil, "subscription": nil}), nil), ""},
		{"a customer", eventBody(t, "customer.updated", object{"id": "cus_1", "object": "customer"}, nil), ""},
		{"a schedule", eventBody(t, "subscription_schedule.updated", object{"id": "sub_sched_1", "object": "subscription_schedule", "subscription": subID}, nil), ""},
		{"a completed checkout", eventBody(t, "checkout.session.completed", object{"id": "cs_1", "object": "checkout.session", "subscription": subID}, nil), ""},
		{"an object without a kind", eventBody(t, "something.new", object{}, nil), ""},
		{"live mode", eventBody(t, "customer.subscription.updated", subscriptionObject("active", live), live), ""},
		{"a connected account", eventBody(t, "customer.subscription.updated", subscriptionObject("active", nil), object{"account": "acct_1"}), ""},
		{"an event of API v2", `{"id":"evt_1NG8Du2eZvKYlo2CUI79vXWy","object":"v2.core.event","type":"v1.billing.meter.no_meter_found","livemode":false}`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			content, err := reader(t, nil).ReadNotification(t.Context(), signed(test.body))
			require.NoError(t, err)
			require.Equal(t, userkit.NotificationContent{
				ID:       "evt_1NG8Du2eZvKYlo2CUI79vXWy",
				StableID: test.about,
				Receipt:  userkit.Receipt{Store: "stripe", Token: test.about},
			}, content)
		})
	}

	t.Run("the mode is that of the key", func(t *testing.T) {
		verifier := reader(t, func(c *stripe.Config) { c.SecretKey, c.Store = liveKey, "stripe-eu" })
		content, err := verifier.ReadNotification(t.Context(), signed(eventBody(t, "customer.subscription.updated", subscriptionObject("active", live), live)))
		require.NoError(t, err)
		require.Equal(t, userkit.Receipt{Store: "stripe-eu", Token: subID}, content.Receipt)

		content, err = verifier.ReadNotification(t.Context(), signed(eventBody(t, "customer.subscription.updated", subscriptionObject("active", nil), nil)))
		require.NoError(t, err)
		require.NotEmpty(t, content.ID)
		require.Empty(t, content.StableID)
	})
}

func TestASignatureIsChecked(t *testing.T) {
	body := eventBody(t, "customer.subscription.updated", subscriptionObject("active", nil), nil)
	at := unix(now)
	right := v1(secret, at, body)
	wrong := v1("whsec_nobody", at, body)

	for _, test := range []struct {
		name    string
		header  string
		secrets []string
	}{
		{"one signature", "t=" + at + ",v1=" + right, nil},
		{"and one of the test scheme", "t=" + at + ",v1=" + right + ",v0=" + wrong, nil},
		{"and one of a scheme to come", "v2=whatever,t=" + at + ",v1=" + right, nil},
		{"in another order", "v1=" + right + ",t=" + at, nil},
		{"in capitals", "t=" + at + ",v1=" + strings.ToUpper(right), nil},
		{"the old secret while one is rolled", "t=" + at + ",v1=" + wrong + ",v1=" + right, nil},
		{"the new secret while one is rolled", "t=" + at + ",v1=" + right + ",v1=" + wrong, nil},
		{"beside one that is damaged", "t=" + at + ",v1=xyz,v1=" + right[:10] + ",v1=" + right, nil},
		{"the second of two secrets", "t=" + at + ",v1=" + right, []string{otherSecret, secret}},
		{"the first of two secrets", "t=" + at + ",v1=" + right, []string{secret, otherSecret}},
	} {
		t.Run("right: "+test.name, func(t *testing.T) {
			verifier := reader(t, func(c *stripe.Config) {
				if test.secrets != nil {
					c.WebhookSecrets = test.secrets
				}
			})
			content, err := verifier.ReadNotification(t.Context(), notification(test.header, body))
			require.NoError(t, err)
			require.Equal(t, subID, content.StableID)
		})
	}

	sha512Mac := hmac.New(sha512.New, []byte(secret))
	fmt.Fprintf(sha512Mac, "%s.%s", at, body)
	for _, test := range []struct {
		name   string
		header string
	}{
		{"empty", ""},
		{"no signature", "t=" + at},
		{"an empty signature", "t=" + at + ",v1="},
		{"no time", "v1=" + right},
		{"an empty time", "t=,v1=" + right},
		{"two times", "t=" + at + ",t=" + at + ",v1=" + right},
		{"a time with a sign", "t=+" + at + ",v1=" + v1(secret, "+"+at, body)},
		{"a time with a zero before it", "t=0" + at + ",v1=" + right},
		{"a time with a space", "t= " + at + ",v1=" + right},
		{"a time that is no number", "t=now,v1=" + v1(secret, "now", body)},
		{"a time that is too long", "t=00" + at + "0,v1=" + v1(secret, "00"+at+"0", body)},
		{"a negative time", "t=-1,v1=" + v1(secret, "-1", body)},
		{"another secret", "t=" + at + ",v1=" + wrong},
		{"another time", "t=" + unix(now.Add(time.Second)) + ",v1=" + right},
		{"another body", "t=" + at + ",v1=" + v1(secret, at, body+" ")},
		{"the body alone", "t=" + at + ",v1=" + hexOf(secret, body)},
		{"the weaker scheme alone", "t=" + at + ",v0=" + right},
		{"another name of the scheme", "t=" + at + ",V1=" + right},
		{"a part of the signature", "t=" + at + ",v1=" + right[:62]},
		{"more than the signature", "t=" + at + ",v1=" + right + "00"},
		{"another digest", "t=" + at + ",v1=" + hex.EncodeToString(sha512Mac.Sum(nil))},
		{"a secret without its prefix", "t=" + at + ",v1=" + v1(strings.TrimPrefix(secret, "whsec_"), at, body)},
		{"an empty secret", "t=" + at + ",v1=" + v1("", at, body)},
		{"no names", at + "," + right},
		{"a comma too many", "t=" + at + ",v1=" + right + ","},
		{"another separator", "t=" + at + ";v1=" + right},
		{"a header without end", "t=" + at + strings.Repeat(",v1="+wrong, 100) + ",v1=" + right},
	} {
		t.Run("wrong: "+test.name, func(t *testing.T) {
			content, err := reader(t, nil).ReadNotification(t.Context(), notification(test.header, body))
			require.ErrorIs(t, err, userkit.ErrForbidden)
			requireRefused(t, content, err, userkit.CodeInvalidSignature)
			require.NotContains(t, err.Error(), right)
		})
	}

	t.Run("no header, and two", func(t *testing.T) {
		for _, header := range []map[string][]string{
			nil, {}, {"Stripe-Signature": nil}, {"Signature": {"t=" + at + ",v1=" + right}},
			{"Stripe-Signature": {"t=" + at + ",v1=" + right, "t=" + at + ",v1=" + right}},
			{"Stripe-Signature": {"t=" + at + ",v1=" + right}, "stripe-signature": {"t=" + at + ",v1=" + right}},
		} {
			content, err := reader(t, nil).ReadNotification(t.Context(), userkit.StoreNotification{Header: header, Body: []byte(body)})
			requireRefused(t, content, err, userkit.CodeInvalidSignature)
		}
	})
	t.Run("a header that was not made canonical", func(t *testing.T) {
		content, err := reader(t, nil).ReadNotification(t.Context(), userkit.StoreNotification{
			Header: map[string][]string{"stripe-signature": {"t=" + at + ",v1=" + right}}, Body: []byte(body),
		})
		require.NoError(t, err)
		require.Equal(t, subID, content.StableID)
	})
	t.Run("without a secret every notification is refused", func(t *testing.T) {
		verifier := reader(t, func(c *stripe.Config) { c.WebhookSecrets = nil })
		for _, header := range []string{"t=" + at + ",v1=" + right, "t=" + at + ",v1=" + v1("", at, body), "t=" + at} {
			content, err := verifier.ReadNotification(t.Context(), notification(header, body))
			requireRefused(t, content, err, userkit.CodeInvalidSignature)
		}
	})
	t.Run("a secret that was rolled out is refused", func(t *testing.T) {
		verifier := reader(t, func(c *stripe.Config) { c.WebhookSecrets = []string{otherSecret} })
		content, err := verifier.ReadNotification(t.Context(), signed(body))
		requireRefused(t, content, err, userkit.CodeInvalidSignature)
	})
	t.Run("one changed byte anywhere is refused", func(t *testing.T) {
		verifier := reader(t, nil)
		for i := range body {
			changed := signed(body)
			changed.Body[i] ^= 1
			content, err := verifier.ReadNotification(t.Context(), changed)
			requireRefused(t, content, err, userkit.CodeInvalidSignature)
		}
	})
	t.Run("the list of secrets is the verifier's own", func(t *testing.T) {
		secrets := []string{secret}
		verifier := reader(t, func(c *stripe.Config) { c.WebhookSecrets = secrets })
		secrets[0] = otherSecret
		_, err := verifier.ReadNotification(t.Context(), signed(body))
		require.NoError(t, err)
	})
}

// hexOf is the digest of a body without its time.
func hexOf(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

func TestASignatureIsGoodForAWhileInBothDirections(t *testing.T) {
	body := eventBody(t, "customer.subscription.updated", subscriptionObject("active", nil), nil)
	for _, test := range []struct {
		off       time.Duration
		tolerance time.Duration
		good      bool
	}{
		{-5 * time.Minute, 0, true},
		{-5*time.Minute - time.Second, 0, false},
		{5 * time.Minute, 0, true},
		{5*time.Minute + time.Second, 0, false},
		{-time.Hour, time.Hour, true},
		{time.Hour + time.Second, time.Hour, false},
		{time.Second, time.Second, true},
		{2 * time.Second, time.Second, false},
		{-2 * time.Second, time.Second, false},
		{-now.Sub(time.Unix(0, 0)), 0, false},
		{time.Unix(999_999_999_999, 0).Sub(now), 0, false},
	} {
		t.Run(fmt.Sprintf("%s of %s", test.off, test.tolerance), func(t *testing.T) {
			at := unix(now.Add(test.off))
			verifier := reader(t, func(c *stripe.Config) { c.Tolerance = test.tolerance })
			content, err := verifier.ReadNotification(t.Context(), notification("t="+at+",v1="+v1(secret, at, body), body))
			if test.good {
				require.NoError(t, err)
				require.Equal(t, subID, content.StableID)
				return
			}
			requireRefused(t, content, err, userkit.CodeInvalidSignature)
		})
	}
}

func TestANotificationThatCannotBeRead(t *testing.T) {
	shown := subscriptionObject("active", nil)
	for name, body := range map[string]string{
		"empty":                        "",
		"no JSON":                      "<html>",
		"null":                         "null",
		"a list":                       "[]",
		"two values":                   eventBody(t, "customer.subscription.updated", shown, nil) + "{}",
		"no id":                        eventBody(t, "customer.subscription.updated", shown, object{"id": ""}),
		"an id of another type":        eventBody(t, "customer.subscription.updated", shown, object{"id": 1}),
		"an id that is no name":        eventBody(t, "customer.subscription.updated", shown, object{"id": "evt_\n"}),
		"an endless id":                eventBody(t, "customer.subscription.updated", shown, object{"id": "evt_" + strings.Repeat("1", 512)}),
		"no mode":                      eventBody(t, "customer.subscription.updated", shown, object{"livemode": nil}),
		"no data":                      eventBody(t, "customer.subscription.updated", shown, object{"data": nil}),
		"no object":                    eventBody(t, "customer.subscription.updated", nil, object{"data": object{}}),
		"an object of text":            eventBody(t, "customer.subscription.updated", subID, nil),
		"a subscription without id":    eventBody(t, "customer.subscription.updated", object{"object": "subscription"}, nil),
		"an id of another object":      eventBody(t, "customer.subscription.updated", object{"object": "subscription", "id": "in_1"}, nil),
		"an id that leaves its path":   eventBody(t, "customer.subscription.updated", object{"object": "subscription", "id": "sub_1/../../charges"}, nil),
		"a subscription with an id 1":  eventBody(t, "customer.subscription.updated", object{"object": "subscription", "id": 1}, nil),
		"an invoice of subscription 1": eventBody(t, "invoice.paid", object{"object": "invoice", "subscription": 1}, nil),
		"an invoice of a schedule":     eventBody(t, "invoice.paid", object{"object": "invoice", "subscription": "sub_sched_1"}, nil),
	} {
		t.Run(name, func(t *testing.T) {
			content, err := reader(t, nil).ReadNotification(t.Context(), signed(body))
			require.ErrorIs(t, err, userkit.ErrInvalid)
			requireRefused(t, content, err, userkit.CodeBadFormat)
		})
	}

	t.Run("too long", func(t *testing.T) {
		body := eventBody(t, "customer.subscription.updated", shown, object{"padding": strings.Repeat("x", userkit.MaxStoreNotification)})
		content, err := reader(t, nil).ReadNotification(t.Context(), signed(body))
		requireRefused(t, content, err, userkit.CodeBadFormat)
	})
	t.Run("just long enough", func(t *testing.T) {
		body := eventBody(t, "customer.subscription.updated", shown, nil)
		body += strings.Repeat(" ", userkit.MaxStoreNotification-len(body))
		content, err := reader(t, nil).ReadNotification(t.Context(), signed(body))
		require.NoError(t, err)
		require.Equal(t, subID, content.StableID)
	})
	t.Run("an unsigned one tells nothing of its body", func(t *testing.T) {
		content, err := reader(t, nil).ReadNotification(t.Context(), notification("t="+unix(now)+",v1="+v1("whsec_x", unix(now), "<"), "<"))
		requireRefused(t, content, err, userkit.CodeInvalidSignature)
	})
}
