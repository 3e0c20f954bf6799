package apns_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/pushtest"
	"github.com/userkit/userkit/push/apns"
)

const pushToken = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"

var (
	start = time.Date(2026, time.March, 10, 12, 0, 0, 0, time.UTC)

	signingKey = sync.OnceValue(func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return key
	})
)

// service is APNs as Apple's documentation describes it: HTTP/2, a token of the last hour,
// a device in the path.
type service struct {
	*httptest.Server

	mutex    sync.Mutex
	now      time.Time
	protocol int
	requests []*http.Request
	payloads []string
	tokens   []string        // that were taken, in order
	claims   jwt.MapClaims   // of the last token
	kid      any             // of the last token
	stale    map[string]bool // tokens that count as expired
	status   int             // of the next answers; 0: success
	answer   string
	header   http.Header
}

func newService(t testing.TB) *service {
	s := &service{now: start, stale: map[string]bool{}, header: http.Header{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *service) clock() time.Time {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.now
}

func (s *service) advance(by time.Duration) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.now = s.now.Add(by)
}

func (s *service) serve(w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	body, _ := io.ReadAll(r.Body)
	s.protocol = r.ProtoMajor
	s.requests = append(s.requests, r)
	s.payloads = append(s.payloads, string(body))
	w.Header().Set("apns-id", "8b4dd3f1-7d0a-4b2c-9f5c-0b6f3f3c3f3c")
	refuse := func(status int, reason string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"reason":%q}`, reason)
	}
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	claims := jwt.MapClaims{}
	token, err := jwt.ParseWithClaims(bearer, claims, func(*jwt.Token) (any, error) { return &signingKey().PublicKey, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithTimeFunc(func() time.Time { return s.now }))
	if err != nil {
		refuse(403, "InvalidProviderToken")
		return
	}
	if issued, err := claims.GetIssuedAt(); err != nil || s.stale[bearer] || s.now.Sub(issued.Time) > time.Hour {
		refuse(403, "ExpiredProviderToken")
		return
	}
	s.tokens = append(s.tokens, bearer)
	s.claims, s.kid = claims, token.Header["kid"]
	maps.Copy(w.Header(), s.header)
	switch {
	case r.Method != http.MethodPost:
		refuse(405, "MethodNotAllowed")
	case r.URL.Path != "/3/device/"+pushToken:
		refuse(404, "BadPath")
	case r.Header.Get("apns-topic") != "org.example.app":
		refuse(400, "MissingTopic")
	case len(body) > 4096:
		refuse(413, "PayloadTooLarge")
	case s.status != 0:
		w.WriteHeader(s.status)
		fmt.Fprint(w, s.answer)
	}
}

func keyFile(key any) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (s *service) config() apns.Config {
	return apns.Config{
		PrivateKey: keyFile(signingKey()), KeyID: "ABC123DEFG", TeamID: "DEF123GHIJ", Topic: "org.example.app",
		BaseURL: s.URL, HTTPClient: s.Client(), Clock: s.clock,
	}
}

func (s *service) notifier(t testing.TB) *apns.Notifier {
	n, err := apns.New(s.config())
	require.NoError(t, err)
	return n
}

var full = userkit.Notification{
	PushToken: strings.ToUpper(pushToken), Title: "Hello", Body: "You have mail", Data: map[string]string{"message_id": "17"},
	CollapseID: "AZq1-_", ExpiresAt: start.Add(time.Hour),
}

func TestRequest(t *testing.T) {
	s := newService(t)
	require.Equal(t, userkit.Delivered(), s.notifier(t).Notify(t.Context(), full))
	require.Equal(t, 2, s.protocol)
	require.Equal(t, jwt.MapClaims{"iss": "DEF123GHIJ", "iat": float64(start.Unix())}, s.claims)
	require.Equal(t, "ABC123DEFG", s.kid)
	header := s.requests[0].Header
	require.Equal(t, "alert", header.Get("apns-push-type"))
	require.Equal(t, "10", header.Get("apns-priority"))
	require.Equal(t, "AZq1-_", header.Get("apns-collapse-id"))
	require.Equal(t, fmt.Sprint(start.Add(time.Hour).Unix()), header.Get("apns-expiration"))
	require.JSONEq(t, `{"aps":{"alert":{"title":"Hello","body":"You have mail"},"sound":"default"},"message_id":"17"}`, s.payloads[0])
}

func TestDataAloneIsABackgroundNotification(t *testing.T) {
	s := newService(t)
	data := userkit.Notification{PushToken: pushToken, Data: map[string]string{"message_id": "17"}}
	require.Equal(t, userkit.Delivered(), s.notifier(t).Notify(t.Context(), data))
	header := s.requests[0].Header
	require.Equal(t, "background", header.Get("apns-push-type"))
	require.Equal(t, "5", header.Get("apns-priority"))
	require.NotContains(t, header, "Apns-Collapse-Id")
	require.NotContains(t, header, "Apns-Expiration")
	require.JSONEq(t, `{"aps":{"content-available":1},"message_id":"17"}`, s.payloads[0])
}

func TestLongBodyIsCut(t *testing.T) {
	s := newService(t)
	long := full
	long.Body = strings.Repeat("\"", 20_000)
	require.Equal(t, userkit.Delivered(), s.notifier(t).Notify(t.Context(), long))
	require.True(t, json.Valid([]byte(s.payloads[0])))
	require.Greater(t, len(s.payloads[0]), 4000)
}

func TestTokenIsKeptFor40Minutes(t *testing.T) {
	s := newService(t)
	n := s.notifier(t)
	notify := func() {
		require.Equal(t, userkit.Delivered(), n.Notify(t.Context(), userkit.Notification{PushToken: pushToken, Title: "a"}))
	}
	notify()
	s.advance(40*time.Minute - time.Second)
	notify()
	require.Equal(t, s.tokens[0], s.tokens[1])
	s.advance(time.Second)
	notify()
	require.NotEqual(t, s.tokens[0], s.tokens[2])
	s.advance(-time.Hour) // the clock was wrong
	notify()
	require.NotEqual(t, s.tokens[2], s.tokens[3])
}

func TestExpiredTokenIsReplacedEvery20Minutes(t *testing.T) {
	s := newService(t)
	n := s.notifier(t)
	note := userkit.Notification{PushToken: pushToken, Title: "a"}
	require.Equal(t, userkit.Delivered(), n.Notify(t.Context(), note))
	s.stale[s.tokens[0]] = true
	result := n.Notify(t.Context(), note)
	require.Equal(t, userkit.NotificationLater, result.Outcome)
	require.EqualError(t, result.Err, "apns: send: status 403 ExpiredProviderToken")
	require.Len(t, s.requests, 2)
	s.advance(20 * time.Minute)
	require.Equal(t, userkit.Delivered(), n.Notify(t.Context(), note))
	require.Len(t, s.requests, 4)
}

func TestAnswers(t *testing.T) {
	hour := start.Add(-time.Hour)
	for name, test := range map[string]struct {
		status  int
		body    string
		outcome userkit.NotificationOutcome
		since   time.Time
		text    string
	}{
		"unregistered":           {410, fmt.Sprintf(`{"reason":"Unregistered","timestamp":%d}`, hour.UnixMilli()), userkit.NotificationGone, hour, "410 Unregistered"},
		"expired":                {410, `{"reason":"ExpiredToken"}`, userkit.NotificationGone, time.Time{}, "410 ExpiredToken"},
		"gone in the future":     {410, fmt.Sprintf(`{"reason":"Unregistered","timestamp":%d}`, start.Add(time.Hour).UnixMilli()), userkit.NotificationGone, time.Time{}, "410 Unregistered"},
		"410 of a proxy":         {410, `gone`, userkit.NotificationLater, time.Time{}, "410"},
		"bad device token":       {400, `{"reason":"BadDeviceToken"}`, userkit.NotificationRefused, time.Time{}, "400 BadDeviceToken"},
		"another topic":          {400, `{"reason":"DeviceTokenNotForTopic"}`, userkit.NotificationRefused, time.Time{}, "400 DeviceTokenNotForTopic"},
		"a topic that is wrong":  {400, `{"reason":"TopicDisallowed"}`, userkit.NotificationLater, time.Time{}, "400 TopicDisallowed"},
		"a connection that idle": {400, `{"reason":"IdleTimeout"}`, userkit.NotificationLater, time.Time{}, "400 IdleTimeout"},
		"too large":              {413, `{"reason":"PayloadTooLarge"}`, userkit.NotificationRefused, time.Time{}, "413 PayloadTooLarge"},
		"forbidden":              {403, `{"reason":"Forbidden"}`, userkit.NotificationRefused, time.Time{}, "403 Forbidden"},
		"a key that is wrong":    {403, `{"reason":"InvalidProviderToken"}`, userkit.NotificationLater, time.Time{}, "403 InvalidProviderToken"},
		"too many":               {429, `{"reason":"TooManyRequests"}`, userkit.NotificationLater, time.Time{}, "429 TooManyRequests"},
		"too many tokens":        {429, `{"reason":"TooManyProviderTokenUpdates"}`, userkit.NotificationLater, time.Time{}, "429 TooManyProviderTokenUpdates"},
		"internal":               {500, `{"reason":"InternalServerError"}`, userkit.NotificationLater, time.Time{}, "500 InternalServerError"},
		"shutdown":               {503, `{"reason":"Shutdown"}`, userkit.NotificationLater, time.Time{}, "503 Shutdown"},
		"400 of a proxy":         {400, `<html>`, userkit.NotificationLater, time.Time{}, "400"},
		"a reason that is data":  {400, `{"reason":"` + pushToken + `"}`, userkit.NotificationRefused, time.Time{}, "400"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			s.status, s.answer = test.status, test.body
			result := s.notifier(t).Notify(t.Context(), full)
			require.Equal(t, test.outcome, result.Outcome)
			require.Equal(t, test.since, result.GoneSince)
			require.Zero(t, result.RetryAt)
			require.EqualError(t, result.Err, "apns: send: status "+test.text)
			require.Len(t, s.requests, 1)
		})
	}
	s := newService(t)
	s.status, s.answer = 503, `{"reason":"ServiceUnavailable"}`
	s.header.Set("Retry-After", "60")
	require.Equal(t, start.Add(time.Minute), s.notifier(t).Notify(t.Context(), full).RetryAt)
}

func TestWhatIsRefusedWithoutARequest(t *testing.T) {
	s := newService(t)
	n := s.notifier(t)
	for name, notification := range map[string]userkit.Notification{
		"no device":        {Title: "a"},
		"no device token":  {PushToken: "../../x", Title: "a"},
		"a long token":     {PushToken: strings.Repeat("00", 201), Title: "a"},
		"expired":          {PushToken: pushToken, Title: "a", ExpiresAt: start},
		"a reserved key":   {PushToken: pushToken, Data: map[string]string{"aps": "1"}},
		"data that grows":  {PushToken: pushToken, Data: map[string]string{"a": strings.Repeat("\x01", 2047)}},
		"a line in the id": {PushToken: pushToken, Title: "a", CollapseID: "a\nb"},
	} {
		result := n.Notify(t.Context(), notification)
		require.Equal(t, userkit.NotificationRefused, result.Outcome, name)
		require.Error(t, result.Err)
	}
	require.Empty(t, s.requests)
}

func TestServiceThatDoesNotAnswer(t *testing.T) {
	s := newService(t)
	n := s.notifier(t)
	s.Close()
	result := n.Notify(t.Context(), full)
	require.Equal(t, userkit.NotificationLater, result.Outcome)
	require.NotContains(t, result.Err.Error(), pushToken)
	require.NotContains(t, result.Err.Error(), strings.ToUpper(pushToken))

	s = newService(t)
	n = s.notifier(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, n.Notify(ctx, full).Err, context.Canceled)
}

func TestConfig(t *testing.T) {
	s := newService(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for field, change := range map[string]func(*apns.Config){
		"PrivateKey": func(c *apns.Config) { c.PrivateKey = keyFile(other) },
		"KeyID":      func(c *apns.Config) { c.KeyID = "" },
		"TeamID":     func(c *apns.Config) { c.TeamID = "a b" },
		"Topic":      func(c *apns.Config) { c.Topic = "a\r\nb" },
		"BaseURL":    func(c *apns.Config) { c.BaseURL = "http://push.example.org" },
	} {
		config := s.config()
		change(&config)
		_, err := apns.New(config)
		var invalid *userkit.Error
		require.ErrorAs(t, err, &invalid, field)
		require.Equal(t, userkit.CodeInvalidOption, invalid.Code)
		require.Equal(t, field, invalid.Field)
	}
	n := s.notifier(t)
	require.Equal(t, "apns.Notifier(org.example.app) apns.Notifier(org.example.app)", fmt.Sprintf("%v %#v", n, n))
}

func FuzzAnswers(f *testing.F) {
	s := newService(f)
	pushtest.Fuzz(f, start, pushToken, "", func(t *testing.T, client *http.Client) userkit.NotificationResult {
		config := s.config()
		config.HTTPClient = client
		n, err := apns.New(config)
		require.NoError(t, err)
		return n.Notify(t.Context(), full)
	})
}
