package vendorapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit/internal/vendorapi"
)

var now = time.Date(2026, time.March, 10, 12, 0, 0, 0, time.UTC)

// transport answers requests without a network.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func respond(status int, header http.Header, body io.Reader) transport {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(body)}, nil
	}
}

func newClient(trip transport) *vendorapi.Client {
	return vendorapi.NewClient("shop", &http.Client{Transport: trip}, time.Hour, 10)
}

var request = vendorapi.Request{
	Operation: "purchase",
	Method:    http.MethodPost,
	URL:       "https://shop.example.org/purchases/purchase-17",
	Header:    http.Header{"Content-Type": {"application/json"}},
	Body:      []byte("the body"),
	Bearer:    "the bearer",
	Secrets:   []string{"purchase-17", ""},
}

func TestRequestIsSentAsItIsDescribed(t *testing.T) {
	answer, err := newClient(func(r *http.Request) (*http.Response, error) {
		require.Equal(t, http.MethodPost, r.Method)
		require.Equal(t, request.URL, r.URL.String())
		require.Equal(t, http.Header{
			"Accept":        {"application/json"},
			"Authorization": {"Bearer the bearer"},
			"Content-Type":  {"application/json"},
			"User-Agent":    {"userkit-shop"},
		}, r.Header)
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Equal(t, "the body", string(body))
		return respond(http.StatusTeapot, http.Header{"X": {"y"}}, strings.NewReader("0123456789"))(r)
	}).Do(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, http.StatusTeapot, answer.Status)
	require.Equal(t, "y", answer.Header.Get("X"))
	require.Equal(t, "0123456789", string(answer.Body))
	require.Equal(t, http.Header{"Content-Type": {"application/json"}}, request.Header, "the caller's header stays as it was")
	require.EqualError(t, answer.Err("", "short", "", "stout"), "shop: purchase: status 418 short stout")
	require.EqualError(t, answer.Err(), "shop: purchase: status 418")
}

func TestRequestWithoutATokenHasNoAuthorization(t *testing.T) {
	_, err := newClient(func(r *http.Request) (*http.Response, error) {
		require.NotContains(t, r.Header, "Authorization")
		return respond(http.StatusOK, nil, http.NoBody)(r)
	}).Do(t.Context(), vendorapi.Request{Operation: "keys", Method: http.MethodGet, URL: "https://shop.example.org"})
	require.NoError(t, err)
}

// endless is a body that never ends.
type endless struct{}

func (endless) Read(buffer []byte) (int, error) { return len(buffer), nil }

func TestAnswerThatIsTooLong(t *testing.T) {
	t.Run("is an error", func(t *testing.T) {
		_, err := newClient(respond(http.StatusOK, nil, endless{})).Do(t.Context(), request)
		require.EqualError(t, err, "shop: purchase: the answer is longer than 10 bytes")
	})
	t.Run("still says when to try again when it is a refusal", func(t *testing.T) {
		answer, err := newClient(respond(http.StatusServiceUnavailable, http.Header{"Retry-After": {"60"}}, endless{})).Do(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, http.StatusServiceUnavailable, answer.Status)
		require.Empty(t, answer.Body)
		require.Equal(t, now.Add(time.Minute), answer.RetryAt(now))
	})
}

func TestRedirectIsAnAnswer(t *testing.T) {
	client := &http.Client{
		Transport:     respond(http.StatusTemporaryRedirect, http.Header{"Location": {"https://elsewhere.example.org"}}, http.NoBody),
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("asked") },
	}
	answer, err := vendorapi.NewClient("shop", client, time.Hour, 10).Do(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, http.StatusTemporaryRedirect, answer.Status)
	require.EqualError(t, client.CheckRedirect(nil, nil), "asked", "the caller's client stays as it was")
}

// late is the error of a connection that was given up.
type late struct{}

func (late) Error() string   { return "purchase-17 took too long" }
func (late) Timeout() bool   { return true }
func (late) Temporary() bool { return true }

func TestErrorsHoldNoSecrets(t *testing.T) {
	for name, test := range map[string]struct {
		cause error
		text  string
		is    error
	}{
		"a refused connection":        {errors.New("connection refused"), "connection refused", nil},
		"the URL":                     {errors.New("cannot reach " + request.URL), "no answer that can be read", nil},
		"the body":                    {errors.New("cannot send the body"), "no answer that can be read", nil},
		"the token":                   {errors.New("bad header: Bearer the bearer"), "no answer that can be read", nil},
		"a secret":                    {errors.New("cannot find purchase-17"), "no answer that can be read", nil},
		"a timeout":                   {late{}, "no answer in time", nil},
		"a context that was canceled": {fmt.Errorf("purchase-17: %w", context.Canceled), "context canceled", context.Canceled},
		"a context that is over":      {fmt.Errorf("purchase-17: %w", context.DeadlineExceeded), "context deadline exceeded", context.DeadlineExceeded},
		"an answer that is cut off":   {fmt.Errorf("purchase-17: %w", io.ErrUnexpectedEOF), "unexpected EOF", io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			for _, trip := range []transport{
				func(*http.Request) (*http.Response, error) { return nil, test.cause },
				respond(http.StatusOK, nil, failing{test.cause}),
			} {
				_, err := newClient(trip).Do(t.Context(), request)
				require.EqualError(t, err, "shop: purchase: "+test.text)
				require.NotErrorIs(t, err, late{})
				if test.is != nil {
					require.ErrorIs(t, err, test.is)
				}
			}
		})
	}
	t.Run("a URL that cannot be read", func(t *testing.T) {
		broken := request
		broken.URL = "https://%zz/purchase-17"
		_, err := newClient(nil).Do(t.Context(), broken)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "purchase-17")
	})
}

// failing is a body that cannot be read.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestRetryAt(t *testing.T) {
	milliseconds := func(at time.Time) string { return fmt.Sprint(at.UnixMilli()) }
	for header, want := range map[string]time.Time{
		"":                                      {},
		"soon":                                  {},
		"1.5":                                   {},
		"0":                                     {},
		"-120":                                  {},
		"-9223372036854775808":                  {},
		"120":                                   now.Add(2 * time.Minute),
		"31536000":                              now.Add(24 * time.Hour),
		"99999999999":                           now.Add(24 * time.Hour),
		milliseconds(now.Add(90 * time.Second)): now.Add(90 * time.Second),
		milliseconds(now.Add(-time.Hour)):       {},
		milliseconds(now.AddDate(10, 0, 0)):     now.Add(24 * time.Hour),
		"9223372036854775807":                   now.Add(24 * time.Hour),
		"92233720368547758070":                  {},
		now.Add(time.Minute).Format(http.TimeFormat):  now.Add(time.Minute),
		now.Format(http.TimeFormat):                   {},
		now.AddDate(70, 0, 0).Format(http.TimeFormat): now.Add(24 * time.Hour),
	} {
		answer, err := newClient(respond(429, http.Header{"Retry-After": {header}}, http.NoBody)).Do(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, want, answer.RetryAt(now), "%q", header)
	}
}

func TestDate(t *testing.T) {
	for header, want := range map[string]time.Time{
		"":                          {},
		"now":                       {},
		now.Format(http.TimeFormat): now,
		now.Add(-time.Hour).Format(http.TimeFormat):           now.Add(-time.Hour),
		now.Add(24 * time.Hour).Format(http.TimeFormat):       now.Add(24 * time.Hour),
		now.Add(25 * time.Hour).Format(http.TimeFormat):       {},
		now.Add(-25 * time.Hour).Format(http.TimeFormat):      {},
		now.AddDate(1, 0, 0).Format("02 Jan 2006 15:04:05"):   {},
		now.Add(2 * time.Minute).Format(time.RFC850):          now.Add(2 * time.Minute),
		now.Add(3 * time.Minute).Format(time.ANSIC):           now.Add(3 * time.Minute),
		now.AddDate(100, 0, 0).UTC().Format(http.TimeFormat):  {},
		now.AddDate(-100, 0, 0).UTC().Format(http.TimeFormat): {},
	} {
		answer, err := newClient(respond(200, http.Header{"Date": {header}}, http.NoBody)).Do(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, want, answer.Date(now), "%q", header)
	}
}

func TestTimeoutOfAClientThatWasNotGiven(t *testing.T) {
	standard := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = standard })
	http.DefaultTransport = transport(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done() // for ever, unless the client sets a limit
		return nil, r.Context().Err()
	})
	_, err := vendorapi.NewClient("shop", nil, time.Millisecond, 10).Do(context.Background(), request)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestCheckURL(t *testing.T) {
	for _, good := range []string{
		"https://shop.example.org", "https://shop.example.org:8443/api/", "https://10.0.0.7",
		"http://localhost", "http://localhost:8080/api", "http://127.0.0.1:1", "http://127.8.9.10", "http://[::1]:1",
	} {
		require.NoError(t, vendorapi.CheckURL(good), good)
	}
	for _, bad := range []string{
		"", "shop.example.org", "https://", "https:/shop", "https://%zz", "https://a:b@shop.example.org", "https://a@shop.example.org",
		"https://shop.example.org?a=b", "https://shop.example.org/#a", "http://shop.example.org", "http://10.0.0.7",
		"http://localhost.example.org", "http://127.0.0.1.example.org", "http://0.0.0.0", "ftp://localhost", "//shop.example.org",
	} {
		err := vendorapi.CheckURL(bad)
		require.Error(t, err, bad)
		if bad != "" {
			require.NotContains(t, err.Error(), bad)
		}
	}
}
