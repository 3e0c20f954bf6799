package webpush_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/pushtest"
	"github.com/userkit/userkit/push/webpush"
)

var start = time.Date(2026, time.March, 10, 12, 0, 0, 0, time.UTC)

// browser is a user agent with a subscription: it decrypts what it gets, step by step as RFC
// 8188, section 2.2, and RFC 8291, section 3.4, say.
type browser struct {
	key    *ecdh.PrivateKey
	secret []byte
}

func newBrowser(t testing.TB) *browser {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	require.NoError(t, err)
	b := &browser{key: key, secret: make([]byte, 16)}
	rand.Read(b.secret)
	return b
}

// subscription is what JSON.stringify makes of the browser's PushSubscription.
func (b *browser) subscription(endpoint string) string {
	encoded, _ := json.Marshal(map[string]any{"endpoint": endpoint, "expirationTime": nil, "keys": map[string]string{
		"p256dh": base64.RawURLEncoding.EncodeToString(b.key.PublicKey().Bytes()),
		"auth":   base64.RawURLEncoding.EncodeToString(b.secret),
	}})
	return string(encoded)
}

func (b *browser) decrypt(t testing.TB, body []byte) []byte {
	require.Greater(t, len(body), 86)
	salt, size, length := body[:16], binary.BigEndian.Uint32(body[16:20]), int(body[20])
	require.Equal(t, 65, length)
	record := body[21+length:]
	require.LessOrEqual(t, len(record), int(size))
	sender, err := ecdh.P256().NewPublicKey(body[21 : 21+length])
	require.NoError(t, err)
	shared, err := b.key.ECDH(sender)
	require.NoError(t, err)
	derive := func(secret, salt []byte, info string, length int) []byte {
		key, err := hkdf.Key(sha256.New, secret, salt, info, length)
		require.NoError(t, err)
		return key
	}
	material := derive(shared, b.secret, "WebPush: info\x00"+string(b.key.PublicKey().Bytes())+string(sender.Bytes()), 32)
	block, err := aes.NewCipher(derive(material, salt, "Content-Encoding: aes128gcm\x00", 16))
	require.NoError(t, err)
	seal, err := cipher.NewGCM(block)
	require.NoError(t, err)
	padded, err := seal.Open(nil, derive(material, salt, "Content-Encoding: nonce\x00", 12), record, nil)
	require.NoError(t, err)
	end := strings.TrimRight(string(padded), "\x00")
	require.True(t, strings.HasSuffix(end, "\x02"), "the last record ends in 2")
	return []byte(end[:len(end)-1])
}

// service is a push service as RFC 8030 describes it.
type service struct {
	*httptest.Server
	requests []*http.Request
	bodies   [][]byte
	status   int
	header   http.Header
}

func newService(t testing.TB) *service {
	s := &service{status: http.StatusCreated, header: http.Header{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.requests, s.bodies = append(s.requests, r), append(s.bodies, body)
		maps.Copy(w.Header(), s.header)
		w.WriteHeader(s.status)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *service) endpoint() string { return s.URL + "/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV?token=a" }

func (s *service) config(t testing.TB) webpush.Config {
	key, err := webpush.NewKey()
	require.NoError(t, err)
	return webpush.Config{
		PrivateKey: key, Contact: "mailto:push@example.org", Hosts: []string{"127.0.0.1"}, HTTPClient: s.Client(),
		Clock: func() time.Time { return start },
	}
}

func (s *service) notifier(t testing.TB) *webpush.Notifier {
	n, err := webpush.New(s.config(t))
	require.NoError(t, err)
	return n
}

func TestBrowserReadsWhatWasSent(t *testing.T) {
	s, b := newService(t), newBrowser(t)
	n := s.notifier(t)
	require.Equal(t, userkit.Delivered(), n.Notify(t.Context(), userkit.Notification{
		PushToken: b.subscription(s.endpoint()), Title: "Hello", Body: "You have mail", Data: map[string]string{"message_id": "17"},
		CollapseID: "AZq1-_", ExpiresAt: start.Add(time.Minute),
	}))
	require.JSONEq(t, `{"title":"Hello","body":"You have mail","tag":"AZq1-_","data":{"message_id":"17"}}`, string(b.decrypt(t, s.bodies[0])))
	r := s.requests[0]
	require.Equal(t, http.MethodPost, r.Method)
	require.Equal(t, "/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV?token=a", r.URL.RequestURI())
	require.Equal(t, "aes128gcm", r.Header.Get("Content-Encoding"))
	require.Equal(t, "60", r.Header.Get("TTL"))
	require.Equal(t, "AZq1-_", r.Header.Get("Topic"))
	require.Equal(t, "high", r.Header.Get("Urgency"))

	// RFC 8292, section 3: the token and the key that verifies it.
	parts := regexp.MustCompile(`^vapid t=([^, ]+), k=([^, ]+)$`).FindStringSubmatch(r.Header.Get("Authorization"))
	require.Len(t, parts, 3)
	require.Equal(t, n.PublicKey(), parts[2])
	point, err := base64.RawURLEncoding.DecodeString(parts[2])
	require.NoError(t, err)
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	require.NoError(t, err)
	claims := jwt.MapClaims{}
	_, err = jwt.ParseWithClaims(parts[1], claims, func(*jwt.Token) (any, error) { return public, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithTimeFunc(func() time.Time { return start }))
	require.NoError(t, err)
	require.Equal(t, jwt.MapClaims{"aud": s.URL, "sub": "mailto:push@example.org", "exp": float64(start.Add(12 * time.Hour).Unix())}, claims)
}

func TestNoTwoMessagesShareAKeyOrASalt(t *testing.T) {
	s, b := newService(t), newBrowser(t)
	n := s.notifier(t)
	for range 2 {
		require.Equal(t, userkit.Delivered(), n.Notify(t.Context(), userkit.Notification{PushToken: b.subscription(s.endpoint()), Title: "a"}))
	}
	require.NotEqual(t, s.bodies[0][:16], s.bodies[1][:16])
	require.NotEqual(t, s.bodies[0][21:86], s.bodies[1][21:86])
	require.Equal(t, "2419200", s.requests[0].Header.Get("TTL"))
	require.NotContains(t, s.requests[0].Header, "Topic")
}

func TestLongBodyIsCut(t *testing.T) {
	s, b := newService(t), newBrowser(t)
	long := userkit.Notification{PushToken: b.subscription(s.endpoint()), Title: "Hello", Body: strings.Repeat("ß", 20_000)}
	require.Equal(t, userkit.Delivered(), s.notifier(t).Notify(t.Context(), long))
	require.LessOrEqual(t, len(s.bodies[0]), 4096)
	var got struct{ Body string }
	require.NoError(t, json.Unmarshal(b.decrypt(t, s.bodies[0]), &got))
	require.True(t, strings.HasSuffix(got.Body, "ß…"))
	require.Greater(t, len(got.Body), 3900)
}

func TestAnswers(t *testing.T) {
	for status, outcome := range map[int]userkit.NotificationOutcome{
		200: userkit.NotificationDelivered, 201: userkit.NotificationDelivered, 202: userkit.NotificationDelivered,
		307: userkit.NotificationLater, 400: userkit.NotificationRefused, 401: userkit.NotificationLater, 403: userkit.NotificationLater,
		404: userkit.NotificationGone, 410: userkit.NotificationGone, 413: userkit.NotificationRefused,
		429: userkit.NotificationLater, 500: userkit.NotificationLater, 502: userkit.NotificationLater, 503: userkit.NotificationLater,
	} {
		s, b := newService(t), newBrowser(t)
		s.status = status
		s.header.Set("Retry-After", "90")
		s.header.Set("Location", s.URL+"/elsewhere")
		result := s.notifier(t).Notify(t.Context(), userkit.Notification{PushToken: b.subscription(s.endpoint()), Title: "a"})
		require.Equal(t, outcome, result.Outcome, status)
		require.Len(t, s.requests, 1)
		if outcome == userkit.NotificationLater {
			require.Equal(t, start.Add(90*time.Second), result.RetryAt)
		}
		if outcome != userkit.NotificationDelivered {
			require.EqualError(t, result.Err, fmt.Sprintf("webpush: send: status %d", status))
		}
	}
}

func TestOnlyKnownPushServicesAreAsked(t *testing.T) {
	s, b := newService(t), newBrowser(t)
	config := s.config(t)
	config.Hosts = nil
	n, err := webpush.New(config)
	require.NoError(t, err)
	for _, endpoint := range []string{
		"https://fcm.googleapis.com/fcm/send/a", "https://updates.push.services.mozilla.com/wpush/v2/a",
		"https://web.push.apple.com/a", "https://wns2-par02p.notify.windows.com/w/?token=a", "https://FCM.googleapis.com:443/fcm/send/a",
	} {
		require.NoError(t, n.CheckSubscription(b.subscription(endpoint)), endpoint)
	}
	for _, endpoint := range []string{
		s.endpoint(), "https://localhost/a", "https://10.0.0.1/a", "https://evil-fcm.googleapis.com.example.org/a",
		"https://evilpush.apple.com/a", "https://push.apple.com/a", "https://fcm.googleapis.com@10.0.0.1/a", "http://fcm.googleapis.com/a",
	} {
		require.Error(t, n.CheckSubscription(b.subscription(endpoint)), endpoint)
		result := n.Notify(t.Context(), userkit.Notification{PushToken: b.subscription(endpoint), Title: "a"})
		require.Equal(t, userkit.NotificationRefused, result.Outcome, endpoint)
	}
	require.Empty(t, s.requests)
}

func TestWhatIsRefusedWithoutARequest(t *testing.T) {
	s, b := newService(t), newBrowser(t)
	n := s.notifier(t)
	to := b.subscription(s.endpoint())
	for name, notification := range map[string]userkit.Notification{
		"no device":       {Title: "a"},
		"expired":         {PushToken: to, Title: "a", ExpiresAt: start},
		"a reserved key":  {PushToken: to, Data: map[string]string{"from": "1"}},
		"data that grows": {PushToken: to, Data: map[string]string{"a": strings.Repeat("\x01", 2047)}},
	} {
		require.Equal(t, userkit.NotificationRefused, n.Notify(t.Context(), notification).Outcome, name)
	}
	require.Empty(t, s.requests)
}

func TestServiceThatDoesNotAnswer(t *testing.T) {
	s, b := newService(t), newBrowser(t)
	n := s.notifier(t)
	note := userkit.Notification{PushToken: b.subscription(s.endpoint()), Title: "a"}
	s.Close()
	result := n.Notify(t.Context(), note)
	require.Equal(t, userkit.NotificationLater, result.Outcome)
	require.NotContains(t, result.Err.Error(), "JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, n.Notify(ctx, note).Err, context.Canceled)
}

func TestConfig(t *testing.T) {
	s := newService(t)
	for field, change := range map[string]func(*webpush.Config){
		"PrivateKey": func(c *webpush.Config) { c.PrivateKey = []byte("key") },
		"Contact":    func(c *webpush.Config) { c.Contact = "push@example.org" },
		"Hosts":      func(c *webpush.Config) { c.Hosts = []string{"https://example.org"} },
	} {
		config := s.config(t)
		change(&config)
		_, err := webpush.New(config)
		var invalid *userkit.Error
		require.ErrorAs(t, err, &invalid, field)
		require.Equal(t, userkit.CodeInvalidOption, invalid.Code)
		require.Equal(t, field, invalid.Field)
	}
	n := s.notifier(t)
	require.Equal(t, "webpush.Notifier webpush.Notifier", fmt.Sprintf("%v %#v", n, n))
}

func FuzzAnswers(f *testing.F) {
	s, b := newService(f), newBrowser(f)
	to := b.subscription(s.endpoint())
	config := s.config(f)
	pushtest.Fuzz(f, start, to, "", func(t *testing.T, client *http.Client) userkit.NotificationResult {
		config.HTTPClient = client
		n, err := webpush.New(config)
		require.NoError(t, err)
		return n.Notify(t.Context(), userkit.Notification{PushToken: to, Title: "Hello"})
	})
}
