package google_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/google"
)

// canned is a transport without a network: tokens are granted, keys are the given
// ones, and each question about a purchase gets the given answer.
type canned struct {
	status int
	body   []byte
	header string // of Retry-After, Cache-Control and Date
	keys   []byte
}

// fuzzKeyFile is made once, for speed.
var fuzzKeyFile = sync.OnceValue(func() []byte { return keyFile(signingKey(), "https://oauth2.googleapis.com/token") })

func (c *canned) RoundTrip(request *http.Request) (*http.Response, error) {
	status, body := c.status, c.body
	switch {
	case strings.HasSuffix(request.URL.Path, "/token"):
		status, body = 200, []byte(`{"access_token":"a","expires_in":3599,"token_type":"Bearer"}`)
	case strings.HasSuffix(request.URL.Path, "/certs"):
		status, body = 200, c.keys
	}
	header := http.Header{"Retry-After": {c.header}, "Cache-Control": {c.header}, "Date": {c.header}}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(body)), Request: request}, nil
}

func (c *canned) verifier(t testing.TB) *google.Verifier {
	v, err := google.New(google.Config{
		PackageName:        packageName,
		ServiceAccountKey:  fuzzKeyFile(),
		PushAudience:       pushAudience,
		PushServiceAccount: pushAccount,
		HTTPClient:         &http.Client{Transport: c},
		KeysURL:            "https://localhost/certs",
		Clock:              func() time.Time { return start },
	})
	require.NoError(t, err)
	return v
}

// FuzzNotification reads bodies behind a good token.
func FuzzNotification(f *testing.F) {
	f.Add(pushBody("1", renewed))
	f.Add(pushBody("1", developerNotification(`,"testNotification":{"version":"1.0"}`)))
	f.Add(pushBody("1", developerNotification(`,"voidedPurchaseNotification":{"purchaseToken":"a","productType":2}`)))
	f.Add(pushBody("1", developerNotification(`,"oneTimeProductNotification":{"purchaseToken":"a","sku":"b"}`)))
	f.Add([]byte(`{"message":{"data":"bnVsbA==","message_id":"1"}}`))
	f.Add([]byte(`{"message":null}`))
	server := &canned{keys: []byte(keySetOf("push-1", &pushKey().PublicKey))}
	v := server.verifier(f)
	header := http.Header{"Authorization": {"Bearer " + pushToken(f, start, nil)}}
	f.Fuzz(func(t *testing.T, body []byte) {
		content, err := v.ReadNotification(t.Context(), userkit.StoreNotification{Header: header, Body: body})
		if err != nil {
			code := userkit.ErrorCode(err)
			require.True(t, code == userkit.CodeBadFormat || code == userkit.CodeInvalidSignature, "%v", err)
			require.Empty(t, content)
			return
		}
		require.NotEmpty(t, content.ID)
		require.Equal(t, content.StableID == "", content.Receipt.Token == "")
		require.NotContains(t, content.Receipt.Token, "/")
	})
}

// FuzzPushToken reads tokens that nobody signed.
func FuzzPushToken(f *testing.F) {
	good := pushToken(f, start, nil)
	parts := strings.Split(good, ".")
	f.Add(parts[0] + "." + parts[1] + ".AAAA")
	f.Add("eyJhbGciOiJub25lIiwia2lkIjoicHVzaC0xIn0." + parts[1] + ".")
	f.Add("eyJhbGciOjd9.e30.e30")
	f.Add("...")
	f.Add("")
	server := &canned{keys: []byte(keySetOf("push-1", &pushKey().PublicKey))}
	v := server.verifier(f)
	body := pushBody("1", renewed)
	f.Fuzz(func(t *testing.T, token string) {
		if token == good {
			return
		}
		_, err := v.ReadNotification(t.Context(), push(token, body))
		require.ErrorIs(t, err, userkit.ErrForbidden)
	})
}

// FuzzKeys reads key sets.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(keySetOf("push-1", &pushKey().PublicKey)), "max-age=3600")
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"push-1","n":"AQAB","e":"AQAB"}]}`), "max-age=-1, max-age=")
	f.Add([]byte(`{"keys":[null]}`), "")
	token := pushToken(f, start, nil)
	body := pushBody("1", renewed)
	f.Fuzz(func(t *testing.T, keys []byte, header string) {
		server := &canned{keys: keys, header: header}
		_, err := server.verifier(t).ReadNotification(t.Context(), push(token, body))
		if err != nil {
			require.True(t, userkit.ErrorCode(err) == userkit.CodePurchaseUndecided || userkit.ErrorCode(err) == userkit.CodeInvalidSignature)
		}
	})
}

// FuzzAnswer reads answers of the API.
func FuzzAnswer(f *testing.F) {
	for kind := range uint8(4) {
		f.Add(kind, 200, []byte(subscription("ACTIVE", soon, `,"linkedPurchaseToken":"b","testPurchase":{}`)), "")
		f.Add(kind, 200, []byte(productV2("PURCHASED", "")), "Tue, 10 Mar 2026 12:05:00 GMT")
		f.Add(kind, 200, []byte(`{"purchaseState":0,"purchaseTimeMillis":"1767960000123"}`), "")
		f.Add(kind, 404, []byte(apiError(404, "NOT_FOUND", "purchaseTokenNotFound")), "")
		f.Add(kind, 429, []byte(apiError(429, "RESOURCE_EXHAUSTED", "quotaExceeded")), "120")
		f.Add(kind, 410, []byte(`{"error":{"code":410,"errors":[{}]}}`), "-1")
	}
	server := &canned{}
	v := server.verifier(f)
	prefixes := []string{"", "subscription:", "product:", "productv2:"}
	f.Fuzz(func(t *testing.T, kind uint8, status int, body []byte, header string) {
		if status < 200 || status > 599 {
			return
		}
		server.status, server.body, server.header = status, body, header
		shown := userkit.Receipt{Token: prefixes[kind%4] + purchaseToken, ProductID: "coins"}
		verdict := v.Verify(t.Context(), shown)
		switch verdict.Outcome {
		case userkit.VerdictValid:
			require.Equal(t, 200, status)
			require.NotEmpty(t, verdict.Facts.ProductID)
			require.True(t, verdict.Facts.ExpiresAt.IsZero() || verdict.Facts.ExpiresAt.After(start))
		case userkit.VerdictInvalid:
			require.NotEmpty(t, verdict.Reason)
		case userkit.VerdictUndecided:
			require.Error(t, verdict.Err)
			require.NotContains(t, verdict.Err.Error(), purchaseToken)
			require.Empty(t, verdict.Facts)
		default:
			t.Fatalf("outcome %q", verdict.Outcome)
		}
		require.NotContains(t, string(verdict.Facts.Raw), purchaseToken)
		_, err := json.Marshal(verdict.Facts)
		require.NoError(t, err)
		if err := v.Acknowledge(t.Context(), shown, verdict.Facts); err != nil {
			require.ErrorIs(t, err, userkit.ErrUnavailable)
			require.NotContains(t, err.Error(), purchaseToken)
		}
	})
}

// FuzzReceipt asks with what clients send.
func FuzzReceipt(f *testing.F) {
	f.Add(purchaseToken, "coins")
	f.Add("subscription:"+purchaseToken, "")
	f.Add("product:..", "../..")
	f.Add("a%2f..?x#y", "\x00")
	server := &canned{status: 404, body: []byte(apiError(404, "NOT_FOUND", "purchaseTokenNotFound"))}
	v := server.verifier(f)
	f.Fuzz(func(t *testing.T, token, product string) {
		verdict := v.Verify(t.Context(), userkit.Receipt{Token: token, ProductID: product})
		require.Equal(t, userkit.Invalid(userkit.ReasonNotFound, userkit.PurchaseFacts{}), verdict)
	})
}

// FuzzServiceAccountKey reads key files.
func FuzzServiceAccountKey(f *testing.F) {
	f.Add(keyFile(signingKey(), "https://oauth2.googleapis.com/token"))
	f.Add([]byte(`{"type":"service_account","client_email":"a","token_uri":"https://oauth2.googleapis.com/token","private_key":"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		if _, err := google.New(google.Config{PackageName: packageName, ServiceAccountKey: content}); err != nil {
			require.Equal(t, userkit.CodeInvalidOption, userkit.ErrorCode(err))
		}
	})
}
