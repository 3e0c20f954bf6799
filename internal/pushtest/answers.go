// Package pushtest holds what the fuzz tests of the notifiers share.
package pushtest

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// answers is a push service that answers every request alike. It is no server, so that a fuzz
// test tries many answers in a second.
type answers struct {
	status     int
	retryAfter string
	body       string
	tokenPath  string // where access tokens are granted
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	response := &http.Response{StatusCode: a.status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Request: r}
	response.Header.Set("Retry-After", a.retryAfter)
	body := a.body
	if a.tokenPath != "" && r.URL.Path == a.tokenPath {
		response.StatusCode, body = http.StatusOK, `{"access_token": "granted", "expires_in": 3600, "token_type": "Bearer"}`
	}
	response.Body = io.NopCloser(strings.NewReader(body))
	return response, nil
}

// Fuzz gives a notifier answers that no push service has documented. However odd they are, the
// result is one of the four outcomes, delivered only where the service says so, gone only with a
// status that means it, asks for no time that has passed or is more than a day ahead, and shows
// the push token nowhere.
func Fuzz(f *testing.F, now time.Time, pushToken, tokenPath string, notify func(t *testing.T, client *http.Client) userkit.NotificationResult) {
	for _, body := range []string{
		"", "{", "null", "[]", `"` + pushToken + `"`, `{"reason": "Unregistered", "timestamp": 1}`, `{"reason": "BadDeviceToken"}`,
		`{"reason": "Unregistered", "timestamp": 9223372036854775807}`, `{"reason": 5}`, `{"reason": "ExpiredProviderToken"}`, `{"name": "projects/p/messages/1"}`,
		`{"error": {"status": "NOT_FOUND", "details": [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"}]}}`,
		`{"error": {"status": "` + pushToken + `", "message": "` + pushToken + `", "details": [null, 5, {}]}}`,
	} {
		for _, status := range []int{200, 201, 301, 400, 401, 403, 404, 410, 413, 429, 500, 503} {
			f.Add(status, "", body, 0)
		}
	}
	for _, retryAfter := range []string{"60", "-1", "0", "99999999999999999999", "9223372036854775807", "Wed, 21 Oct 2015 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "soon"} {
		f.Add(503, retryAfter, "", 0)
		f.Add(429, retryAfter, "{}", 0)
	}
	for _, size := range []int{16<<10 - 2, 16<<10 - 1, 64<<10 - 2, 64<<10 - 1, 1 << 20} {
		f.Add(200, "", "{}", size)
		f.Add(404, "", "{}", size)
	}
	f.Fuzz(func(t *testing.T, status int, retryAfter, body string, padding int) {
		if status < 200 || status > 599 {
			return // net/http gives no such answer to its caller
		}
		body += strings.Repeat(" ", min(max(padding, 0), 2<<20))
		result := notify(t, &http.Client{Transport: answers{status, retryAfter, body, tokenPath}})
		switch result.Outcome {
		case userkit.NotificationDelivered:
			require.Less(t, status, 300)
			require.NoError(t, result.Err)
		case userkit.NotificationGone:
			require.Contains(t, []int{http.StatusNotFound, http.StatusGone}, status)
			require.Error(t, result.Err)
		case userkit.NotificationRefused, userkit.NotificationLater:
			require.Error(t, result.Err)
		default:
			require.Fail(t, "no outcome", "%q", result.Outcome)
		}
		require.False(t, result.GoneSince.After(now))
		if !result.RetryAt.IsZero() {
			require.True(t, result.RetryAt.After(now), "%s", result.RetryAt)
			require.False(t, result.RetryAt.After(now.Add(24*time.Hour)), "%s", result.RetryAt)
		}
		if result.Err != nil {
			require.NotContains(t, result.Err.Error(), pushToken)
		}
	})
}
