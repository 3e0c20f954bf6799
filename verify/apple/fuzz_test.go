package apple_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/apple"
)

// fuzzVerifier makes a verifier whose App Store answers what answer says.
func fuzzVerifier(s *signer, answer func(*http.Request) *http.Response) *apple.Verifier {
	config := configOf(s, s.leaf.key)
	config.AllowSandbox = true
	config.HTTPClient = &http.Client{Transport: roundTrip(func(request *http.Request) (*http.Response, error) {
		response := answer(request)
		response.Request = request
		return response, nil
	})}
	return must(apple.New(config))
}

func response(status int, retryAfter string, body []byte) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {retryAfter}}, Body: io.NopCloser(bytes.NewReader(body))}
}

// FuzzReceipt: whatever a client shows, nothing panics, and nothing is valid that
// the store does not know.
func FuzzReceipt(f *testing.F) {
	s := newSigner()
	good := s.sign(bought())
	for _, seed := range []string{"", boughtID, "..", "a.b.c", good, good[:len(good)/2], newSigner().sign(renewed())} {
		f.Add(seed)
	}
	missing := []byte(apiError(4040010, "Transaction id not found.").body)
	verifier := fuzzVerifier(s, func(*http.Request) *http.Response { return response(404, "", missing) })
	f.Fuzz(func(t *testing.T, token string) {
		verdict := verifier.Verify(t.Context(), userkit.Receipt{Store: "apple", Token: token})
		require.NotEqual(t, userkit.VerdictValid, verdict.Outcome)
		require.Zero(t, verdict.Facts)
	})
}

// FuzzSignedPayload: the same for payloads that Apple has signed, as a receipt, as
// an answer, as renewal information and as a notification.
func FuzzSignedPayload(f *testing.F) {
	s := newSigner()
	for _, seed := range []any{bought(), renewed(), renewal(), notice("TEST", nil), nil, []int{}, "text",
		with(bought(), object{"signedDate": 1e18, "purchaseDate": -1e15}), with(bought(), object{"signedDate": json.RawMessage("1772366399999.4567")})} {
		f.Add(must(json.Marshal(seed)))
	}
	f.Add([]byte(`{"signedDate":1e999}`))
	var signed string
	verifier := fuzzVerifier(s, func(request *http.Request) *http.Response {
		if strings.Contains(request.URL.Path, "transactions") {
			return response(200, "", must(json.Marshal(object{"signedTransactionInfo": signed})))
		}
		item := object{"status": 4, "originalTransactionId": firstID, "signedTransactionInfo": signed, "signedRenewalInfo": signed}
		return response(200, "", must(json.Marshal(object{
			"environment": "Production", "bundleId": bundleID, "appAppleId": appID,
			"data": []object{{"lastTransactions": []object{item, item}}},
		})))
	})
	x5c := chain(s.leaf, s.intermediate, s.root)
	f.Fuzz(func(t *testing.T, payload []byte) {
		signed = signParts(object{"alg": "ES256", "x5c": x5c}, payload, s.leaf.key)
		for _, token := range []string{signed, boughtID, renewedID} {
			verdict := verifier.Verify(t.Context(), userkit.Receipt{Store: "apple", Token: token})
			checkVerdict(t, verdict, token)
			if verdict.Outcome == userkit.VerdictValid {
				require.NotEmpty(t, verdict.Facts.TransactionID)
				require.False(t, verdict.Facts.At.IsZero())
				_, err := verdict.Facts.ExpiresAt.MarshalJSON()
				require.NoError(t, err)
			}
		}
		for _, body := range [][]byte{notification(signed).Body, notification(s.sign(notice("REFUND", object{"signedTransactionInfo": signed}))).Body} {
			_, err := verifier.ReadNotification(t.Context(), userkit.StoreNotification{Body: body})
			requireKnownRefusal(t, err)
		}
	})
}

// FuzzNotification: bodies that are not signed at all.
func FuzzNotification(f *testing.F) {
	s := newSigner()
	f.Add(notification(s.sign(notice("TEST", nil))).Body)
	f.Add(notification(newSigner().sign(notice("TEST", nil))).Body)
	f.Add([]byte(`{"signedPayload":"a.b.c"}`))
	f.Add([]byte(`{"signedPayload":`))
	f.Add([]byte("null"))
	verifier := fuzzVerifier(s, func(*http.Request) *http.Response { return response(500, "", nil) })
	f.Fuzz(func(t *testing.T, body []byte) {
		content, err := verifier.ReadNotification(t.Context(), userkit.StoreNotification{Body: body})
		requireKnownRefusal(t, err)
		if err == nil {
			require.NotEmpty(t, content.ID)
		}
	})
}

func requireKnownRefusal(t *testing.T, err error) {
	if err != nil {
		require.Contains(t, []userkit.Code{userkit.CodeBadFormat, userkit.CodeInvalidSignature}, userkit.ErrorCode(err))
	}
}

// FuzzAnswer: whatever the network answers, nothing panics, and nothing is valid
// without a signature.
func FuzzAnswer(f *testing.F) {
	s := newSigner()
	status := object{"environment": "Production", "bundleId": bundleID, "appAppleId": appID, "data": []object{{"lastTransactions": []object{
		{"status": 1, "originalTransactionId": firstID, "signedTransactionInfo": newSigner().sign(renewed())},
	}}}}
	f.Add(200, "", must(json.Marshal(status)))
	f.Add(200, "", []byte(`{"signedTransactionInfo":"a.b.c"}`))
	f.Add(404, "", []byte(`{"errorCode":4040010,"errorMessage":"Transaction id not found."}`))
	f.Add(429, "1772366460000", []byte(`{"errorCode":4290000}`))
	f.Add(503, "120", []byte(nil))
	f.Add(503, "Sun, 01 Mar 2026 12:05:00 GMT", []byte("<html>"))
	var answer func() *http.Response
	verifier := fuzzVerifier(s, func(*http.Request) *http.Response { return answer() })
	signed := s.sign(renewed())
	f.Fuzz(func(t *testing.T, status int, retryAfter string, body []byte) {
		answer = func() *http.Response { return response(status, retryAfter, body) }
		for _, token := range []string{firstID, signed} {
			verdict := verifier.Verify(t.Context(), userkit.Receipt{Store: "apple", Token: token})
			require.NotEqual(t, userkit.VerdictValid, verdict.Outcome)
			require.Zero(t, verdict.Facts)
			if !verdict.RetryAt.IsZero() {
				require.True(t, verdict.RetryAt.After(now) && !verdict.RetryAt.After(now.AddDate(0, 0, 1)))
			}
		}
	})
}
