package fcm_test

import (
	"context"
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
	"github.com/userkit/userkit/push/fcm"
)

const pushToken = "bk3RNwTe3H0:CI2k_HHwgIpoDKCIZvvDMExUdFQ3P1-example"

var (
	start = time.Date(2026, time.March, 10, 12, 0, 0, 0, time.UTC)

	signingKey = sync.OnceValue(func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return key
	})
)

// service is a server with Google's token endpoint and FCM's API as their documentation
// describes them.
type service struct {
	*httptest.Server

	mutex    sync.Mutex
	granted  int      // access tokens
	valid    string   // the access token that the API takes; empty: the newest
	messages []string // bodies of requests, in order
	paths    []string
	status   int // of the next answers; 0: success
	answer   string
	header   http.Header
	scope    string // of the last assertion
}

func newService(t testing.TB) *service {
	s := &service{header: http.Header{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *service) serve(w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	if r.URL.Path == "/token" {
		claims := jwt.MapClaims{}
		_, err := jwt.ParseWithClaims(r.PostFormValue("assertion"), claims,
			func(*jwt.Token) (any, error) { return &signingKey().PublicKey, nil },
			jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(func() time.Time { return start }), jwt.WithAudience(s.URL+"/token"))
		if err != nil || r.PostFormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"invalid_grant"}`)
			return
		}
		s.scope, _ = claims["scope"].(string)
		s.granted++
		fmt.Fprintf(w, `{"access_token":"access-%d","expires_in":3599,"token_type":"Bearer"}`, s.granted)
		return
	}
	valid := s.valid
	if valid == "" {
		valid = fmt.Sprintf("access-%d", s.granted)
	}
	if r.Header.Get("Authorization") != "Bearer "+valid {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, refusal(401, "UNAUTHENTICATED", ""))
		return
	}
	body, _ := io.ReadAll(r.Body)
	s.messages = append(s.messages, string(body))
	s.paths = append(s.paths, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type"))
	maps.Copy(w.Header(), s.header)
	if s.status != 0 {
		w.WriteHeader(s.status)
		fmt.Fprint(w, s.answer)
		return
	}
	fmt.Fprint(w, `{"name":"projects/example/messages/0:1500415314455276%31bd1c9631bd1c96"}`)
}

// refusal is an error of the API; code is the one of FCM, or empty.
func refusal(status int, name, code string) string {
	details := ""
	if code != "" {
		details = `,"details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[]},
			{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"` + code + `"}]`
	}
	return fmt.Sprintf(`{"error":{"code":%d,"message":"about %s","status":%q%s}}`, status, pushToken, name, details)
}

// keyFile is the key file of the service's account.
func (s *service) keyFile() []byte {
	key, err := x509.MarshalPKCS8PrivateKey(signingKey())
	if err != nil {
		panic(err)
	}
	file, _ := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "example", "private_key_id": "key-1",
		"private_key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		"client_email": "push@example.iam.gserviceaccount.com", "token_uri": s.URL + "/token",
	})
	return file
}

func (s *service) config() fcm.Config {
	return fcm.Config{
		ServiceAccountKey: s.keyFile(), BaseURL: s.URL, TokenURLs: []string{s.URL + "/token"}, HTTPClient: s.Client(),
		Clock: func() time.Time { return start },
	}
}

func (s *service) notifier(t testing.TB) *fcm.Notifier {
	n, err := fcm.New(s.config())
	require.NoError(t, err)
	return n
}

var full = userkit.Notification{
	PushToken: pushToken, Title: "Hello", Body: "You have mail", Data: map[string]string{"message_id": "17"},
	CollapseID: "AZq1-_", ExpiresAt: start.Add(90*time.Second + time.Millisecond),
}

func TestMessage(t *testing.T) {
	s := newService(t)
	result := s.notifier(t).Notify(t.Context(), full)
	require.Equal(t, userkit.Delivered(), result)
	require.Equal(t, "https://www.googleapis.com/auth/firebase.messaging", s.scope)
	require.Equal(t, []string{"POST /v1/projects/example/messages:send application/json"}, s.paths)
	require.JSONEq(t, `{"message":{
		"token":"`+pushToken+`",
		"notification":{"title":"Hello","body":"You have mail"},
		"data":{"message_id":"17"},
		"android":{"ttl":"91s","priority":"HIGH","notification":{"tag":"AZq1-_"}},
		"apns":{"headers":{"apns-priority":"10","apns-expiration":"1773144090","apns-collapse-id":"AZq1-_"}},
		"webpush":{"headers":{"TTL":"91","Topic":"AZq1-_"},"notification":{"tag":"AZq1-_"}}
	}}`, s.messages[0])
	require.Equal(t, start.Add(90*time.Second).Unix(), int64(1773144090))
}

func TestDataAloneIsNotShown(t *testing.T) {
	s := newService(t)
	data := full
	data.Title, data.Body, data.ExpiresAt = "", "", time.Time{}
	require.Equal(t, userkit.NotificationDelivered, s.notifier(t).Notify(t.Context(), data).Outcome)
	require.JSONEq(t, `{"message":{
		"token":"`+pushToken+`", "data":{"message_id":"17"},
		"android":{"ttl":"2419200s","priority":"HIGH"},
		"apns":{"headers":{"apns-priority":"10","apns-expiration":"1775563200","apns-collapse-id":"AZq1-_"}},
		"webpush":{"headers":{"TTL":"2419200","Topic":"AZq1-_"}}
	}}`, s.messages[0])
}

func TestLongBodyIsCut(t *testing.T) {
	s := newService(t)
	long := full
	long.Body = strings.Repeat("ä", 20_000)
	require.Equal(t, userkit.NotificationDelivered, s.notifier(t).Notify(t.Context(), long).Outcome)
	var sent struct {
		Message struct{ Notification struct{ Body string } }
	}
	require.NoError(t, json.Unmarshal([]byte(s.messages[0]), &sent))
	require.True(t, strings.HasSuffix(sent.Message.Notification.Body, "ä…"))
	require.Less(t, len(sent.Message.Notification.Body), 4096)
	require.Greater(t, len(sent.Message.Notification.Body), 3900)
}

func TestAnswers(t *testing.T) {
	minute := start.Add(time.Minute)
	for name, test := range map[string]struct {
		status     int
		body       string
		retryAfter string
		outcome    userkit.NotificationOutcome
		retryAt    time.Time
		text       string
	}{
		"unregistered":             {404, refusal(404, "NOT_FOUND", "UNREGISTERED"), "", userkit.NotificationGone, time.Time{}, "fcm: send: status 404 UNREGISTERED"},
		"no such project":          {404, refusal(404, "NOT_FOUND", ""), "", userkit.NotificationLater, time.Time{}, "fcm: send: status 404 NOT_FOUND"},
		"404 of a proxy":           {404, `<html>UNREGISTERED`, "", userkit.NotificationLater, time.Time{}, "fcm: send: status 404"},
		"UNREGISTERED without 404": {400, refusal(400, "INVALID_ARGUMENT", "UNREGISTERED"), "", userkit.NotificationRefused, time.Time{}, "fcm: send: status 400 UNREGISTERED"},
		"invalid argument":         {400, refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"), "", userkit.NotificationRefused, time.Time{}, "fcm: send: status 400 INVALID_ARGUMENT"},
		"too large":                {400, refusal(400, "INVALID_ARGUMENT", ""), "", userkit.NotificationRefused, time.Time{}, "fcm: send: status 400 INVALID_ARGUMENT"},
		"400 of a proxy":           {400, `bad request`, "", userkit.NotificationLater, time.Time{}, "fcm: send: status 400"},
		"another sender":           {403, refusal(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"), "", userkit.NotificationRefused, time.Time{}, "fcm: send: status 403 SENDER_ID_MISMATCH"},
		"no permission":            {403, refusal(403, "PERMISSION_DENIED", ""), "", userkit.NotificationLater, time.Time{}, "fcm: send: status 403 PERMISSION_DENIED"},
		"APNs certificate":         {401, refusal(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"), "", userkit.NotificationLater, time.Time{}, "fcm: send: status 401 THIRD_PARTY_AUTH_ERROR"},
		"quota":                    {429, refusal(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), "", userkit.NotificationLater, minute, "fcm: send: status 429 QUOTA_EXCEEDED"},
		"quota with a time":        {429, refusal(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), "120", userkit.NotificationLater, start.Add(2 * time.Minute), "fcm: send: status 429 QUOTA_EXCEEDED"},
		"unavailable":              {503, refusal(503, "UNAVAILABLE", "UNAVAILABLE"), "30", userkit.NotificationLater, start.Add(30 * time.Second), "fcm: send: status 503 UNAVAILABLE"},
		"internal":                 {500, refusal(500, "INTERNAL", "INTERNAL"), "", userkit.NotificationLater, time.Time{}, "fcm: send: status 500 INTERNAL"},
		"redirect":                 {307, ``, "", userkit.NotificationLater, time.Time{}, "fcm: send: status 307"},
		"not understood":           {200, `{}`, "", userkit.NotificationLater, time.Time{}, "fcm: send: the answer is not understood"},
		"too long":                 {200, strings.Repeat(" ", 64*1024+1), "", userkit.NotificationLater, time.Time{}, "fcm: send: the answer is longer than 65536 bytes"},
		"a code that holds data":   {400, refusal(400, "INVALID_ARGUMENT", pushToken), "", userkit.NotificationRefused, time.Time{}, "fcm: send: status 400 INVALID_ARGUMENT"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			s.status, s.answer = test.status, test.body
			if test.retryAfter != "" {
				s.header.Set("Retry-After", test.retryAfter)
			}
			result := s.notifier(t).Notify(t.Context(), full)
			require.Equal(t, test.outcome, result.Outcome)
			require.Equal(t, test.retryAt, result.RetryAt)
			require.Zero(t, result.GoneSince)
			require.EqualError(t, result.Err, test.text)
			require.Len(t, s.messages, 1)
			require.Equal(t, 1, s.granted)
		})
	}
}

func TestAccessTokenThatIsNotTakenIsReplacedOnce(t *testing.T) {
	s := newService(t)
	n := s.notifier(t)
	require.Equal(t, userkit.Delivered(), n.Notify(t.Context(), full))
	s.valid = "access-2" // the first was revoked
	require.Equal(t, userkit.Delivered(), n.Notify(t.Context(), full))
	require.Equal(t, 2, s.granted)
	s.valid = "none"
	result := n.Notify(t.Context(), full)
	require.Equal(t, userkit.NotificationLater, result.Outcome)
	require.EqualError(t, result.Err, "fcm: send: status 401 UNAUTHENTICATED")
	require.Equal(t, 3, s.granted)
}

func TestWhatIsRefusedWithoutARequest(t *testing.T) {
	s := newService(t)
	n := s.notifier(t)
	change := func(f func(*userkit.Notification)) userkit.Notification {
		changed := full
		f(&changed)
		return changed
	}
	for name, notification := range map[string]userkit.Notification{
		"no device":       change(func(n *userkit.Notification) { n.PushToken = "" }),
		"expired":         change(func(n *userkit.Notification) { n.ExpiresAt = start }),
		"a reserved key":  change(func(n *userkit.Notification) { n.Data = map[string]string{"google.x": "1"} }),
		"a collapse id":   change(func(n *userkit.Notification) { n.CollapseID = "a b" }),
		"a title of code": change(func(n *userkit.Notification) { n.Title = "a\r\nb" }),
		"much data":       change(func(n *userkit.Notification) { n.Data = map[string]string{"a": strings.Repeat("\x01", 2047)} }),
	} {
		result := n.Notify(t.Context(), notification)
		require.Equal(t, userkit.NotificationRefused, result.Outcome, name)
		require.Error(t, result.Err)
	}
	require.Zero(t, s.granted)
}

func TestServiceThatDoesNotAnswer(t *testing.T) {
	s := newService(t)
	n := s.notifier(t)
	s.Close()
	result := n.Notify(t.Context(), full)
	require.Equal(t, userkit.NotificationLater, result.Outcome)
	require.NotContains(t, result.Err.Error(), s.URL)

	s = newService(t)
	n = s.notifier(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	result = n.Notify(ctx, full)
	require.Equal(t, userkit.NotificationLater, result.Outcome)
	require.ErrorIs(t, result.Err, context.Canceled)
}

func TestConfig(t *testing.T) {
	s := newService(t)
	for field, change := range map[string]func(*fcm.Config){
		"ServiceAccountKey": func(c *fcm.Config) { c.ServiceAccountKey = []byte(`{}`) },
		"BaseURL":           func(c *fcm.Config) { c.BaseURL = "http://fcm.example.org" },
		"TokenURLs":         func(c *fcm.Config) { c.TokenURLs = []string{"http://token.example.org"} },
		"ProjectID":         func(c *fcm.Config) { c.ProjectID = "../other" },
	} {
		config := s.config()
		change(&config)
		_, err := fcm.New(config)
		var invalid *userkit.Error
		require.ErrorAs(t, err, &invalid, field)
		require.Equal(t, userkit.CodeInvalidOption, invalid.Code)
		require.Equal(t, field, invalid.Field)
	}
	n, err := fcm.New(s.config())
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", n, n, n), "PRIVATE")
}

func FuzzAnswers(f *testing.F) {
	s := newService(f)
	pushtest.Fuzz(f, start, pushToken, "/token", func(t *testing.T, client *http.Client) userkit.NotificationResult {
		config := s.config()
		config.HTTPClient = client
		n, err := fcm.New(config)
		require.NoError(t, err)
		return n.Notify(t.Context(), full)
	})
}
