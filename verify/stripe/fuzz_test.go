package stripe_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/stripe"
)

// FuzzSignatureHeader: no header is taken whose signature was not made with the secret.
func FuzzSignatureHeader(f *testing.F) {
	body := eventBody(f, "customer.subscription.updated", subscriptionObject("active", nil), nil)
	at := unix(now)
	right := v1(secret, at, body)
	for _, header := range []string{
		"", "t=", ",", "=", "t=" + at, "t=" + at + ",v1=" + right, "v1=" + right + ",t=" + at,
		"t=" + at + ",v1=" + right[:63] + ",v0=" + right, "t=" + at + ",t=1,v1=" + right, "t=999999999999,v1=" + right,
		"t=" + at + ",v1=00,v1=" + right + ",v1=", "t=-1,v1=zz", "t=" + at + ",v1=" + strings.ToUpper(right),
	} {
		f.Add(header)
	}
	verifier := reader(f, nil)
	f.Fuzz(func(t *testing.T, header string) {
		content, err := verifier.ReadNotification(t.Context(), notification(header, body))
		if err != nil {
			require.Equal(t, userkit.CodeInvalidSignature, userkit.ErrorCode(err))
			require.Zero(t, content)
			return
		}
		require.Contains(t, strings.ToLower(header), "v1="+right)
		require.Contains(t, header, "t="+at)
		require.Equal(t, subID, content.StableID)
	})
}

// FuzzEvent: no signed body panics, and what is read of one can be kept and asked for.
func FuzzEvent(f *testing.F) {
	for _, body := range []string{
		"", "null", "{}", "[]", `"evt"`, `{"id":"evt_1"}`, `{"id":"evt_1","object":"event"}`,
		eventBody(f, "customer.subscription.updated", subscriptionObject("active", nil), nil),
		eventBody(f, "invoice.paid", object{"object": "invoice", "subscription": subID}, nil),
		eventBody(f, "invoice.paid", object{"object": "invoice", "subscription": object{"id": subID}}, nil),
		eventBody(f, "invoice.paid", object{"object": "invoice", "parent": object{"subscription_details": object{"subscription": subID}}}, nil),
		eventBody(f, "customer.created", object{"object": "customer"}, object{"account": "acct_1"}),
		eventBody(f, "customer.subscription.updated", object{"object": "subscription", "id": "sub_1/.."}, nil),
		`{"id":"evt_1","object":"event","livemode":false,"data":{"object":{"object":"subscription","id":{}}}}`,
		`{"id":"evt_\u0000","object":"v2.core.event"}`, strings.Repeat("[", 20_000),
	} {
		f.Add([]byte(body))
	}
	verifier := reader(f, nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		content, err := verifier.ReadNotification(t.Context(), signed(string(body)))
		if err != nil {
			require.Equal(t, userkit.CodeBadFormat, userkit.ErrorCode(err))
			require.Zero(t, content)
			return
		}
		require.NotEmpty(t, content.ID)
		require.Equal(t, content.StableID, content.Receipt.Token)
		if content.StableID != "" {
			require.Regexp(t, "^sub_[A-Za-z0-9]+$", content.StableID)
		}
	})
}

// FuzzSubscription: no answer of the server panics, and only what says so in full is
// valid or invalid.
func FuzzSubscription(f *testing.F) {
	for _, status := range []string{"active", "trialing", "past_due", "canceled", "incomplete", "incomplete_expired", "unpaid", "paused", ""} {
		f.Add(http.StatusOK, "1", []byte(mustJSON(f, subscriptionObject(status, nil))))
	}
	f.Add(http.StatusOK, "", []byte(mustJSON(f, subscriptionObject("active", object{
		"items": items(object{"current_period_end": nil, "price": nil}), "current_period_end": now.Add(day).Unix(), "latest_invoice": object{"id": "in_1"},
	}))))
	f.Add(http.StatusNotFound, "", []byte(mustJSON(f, apiError("invalid_request_error", "resource_missing", "No such subscription"))))
	f.Add(http.StatusTooManyRequests, "99999999999999999999", []byte("{}"))
	f.Add(http.StatusServiceUnavailable, now.Add(time.Hour).Format(http.TimeFormat), []byte("null"))
	f.Add(http.StatusOK, "-1", []byte(`{"object":"list","data":[{"id":"in_1","created":1}],"has_more":true}`))
	f.Fuzz(func(t *testing.T, status int, retryAfter string, body []byte) {
		verifier, err := stripe.New(stripe.Config{SecretKey: testKey, Clock: clock, HTTPClient: &http.Client{
			Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				return &http.Response{
					StatusCode: status, Header: http.Header{"Retry-After": {retryAfter}, "Date": {retryAfter}},
					Body: io.NopCloser(strings.NewReader(string(body))),
				}, nil
			}),
		}})
		require.NoError(t, err)
		verdict := verifier.Verify(t.Context(), userkit.Receipt{Token: subID})
		switch verdict.Outcome {
		case userkit.VerdictValid:
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, subID, verdict.Facts.StableID)
			require.True(t, verdict.Facts.ExpiresAt.After(now))
		case userkit.VerdictInvalid:
			require.NotEmpty(t, verdict.Reason)
			require.Contains(t, []int{http.StatusOK, http.StatusNotFound}, status)
			require.Equal(t, status == http.StatusOK, verdict.Facts.StableID != "")
		case userkit.VerdictUndecided:
			require.Error(t, verdict.Err)
			require.NotContains(t, verdict.Err.Error(), subID)
			if !verdict.RetryAt.IsZero() {
				require.True(t, verdict.RetryAt.After(now) && !verdict.RetryAt.After(now.Add(day)))
			}
		default:
			t.Fatalf("outcome %q", verdict.Outcome)
		}
		_, err = json.Marshal(verdict.Facts)
		require.NoError(t, err)
	})
}
