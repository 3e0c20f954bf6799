package google_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit/verify/google"
)

const (
	packageName   = "com.example.app"
	accountEmail  = "play@example.iam.gserviceaccount.com"
	pushAccount   = "push@example.iam.gserviceaccount.com"
	pushAudience  = "https://example.org/play"
	purchaseToken = "kgbocjpfaeklmndiohbgcmaf.AO-J1OzExampleExampleExample_Example-Example"
	accessToken   = "ya29.c.access-token-of-the-test"
)

// start is the time of the tests' clock when they begin.
var start = time.Date(2026, time.March, 10, 12, 0, 0, 0, time.UTC)

// signingKey and pushKey are made once: keys are slow to make.
var (
	signingKey = sync.OnceValue(newKey)
	pushKey    = sync.OnceValue(newKey)
	strangeKey = sync.OnceValue(newKey)
)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// reply is what a handler of play answers.
type reply struct {
	status int
	header map[string]string
	body   string
}

// play is a server with Google's token endpoint, API and keys.
type play struct {
	*httptest.Server

	mutex    sync.Mutex
	now      time.Time
	routes   map[string]func(*http.Request) reply // by method and path
	requests []string                             // method and path, in order
	counts   map[string]int
	bodies   map[string]string
}

const (
	tokenRoute = "POST /token"
	keysRoute  = "GET /certs"

	applicationPath     = "/androidpublisher/v3/applications/" + packageName + "/purchases/"
	subscriptionRoute   = "GET " + applicationPath + "subscriptionsv2/tokens/" + purchaseToken
	productV2Route      = "GET " + applicationPath + "productsv2/tokens/" + purchaseToken
	productRoute        = "GET " + applicationPath + "products/coins/tokens/" + purchaseToken
	acknowledgeSubRoute = "POST " + applicationPath + "subscriptions/monthly/tokens/" + purchaseToken + ":acknowledge"
	acknowledgeProRoute = "POST " + applicationPath + "products/coins/tokens/" + purchaseToken + ":acknowledge"
)

// newPlay starts a server that grants tokens, publishes pushKey and knows no purchase.
func newPlay(t testing.TB) *play {
	p := &play{now: start, routes: map[string]func(*http.Request) reply{}, counts: map[string]int{}, bodies: map[string]string{}}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	p.answer(tokenRoute, 200, `{"access_token":"`+accessToken+`","expires_in":3599,"token_type":"Bearer"}`)
	p.answer(keysRoute, 200, keySetOf("push-1", &pushKey().PublicKey))
	return p
}

func (p *play) serve(w http.ResponseWriter, r *http.Request) {
	route := r.Method + " " + r.URL.EscapedPath()
	body, _ := io.ReadAll(r.Body)
	p.mutex.Lock()
	p.requests = append(p.requests, route)
	p.counts[route]++
	p.bodies[route] = string(body)
	handler := p.routes[route]
	w.Header().Set("Date", p.now.Format(http.TimeFormat))
	p.mutex.Unlock()

	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	answer := reply{status: 404, body: apiError(404, "NOT_FOUND", "purchaseTokenNotFound")}
	if strings.Contains(route, "/androidpublisher/") && r.Header.Get("Authorization") != "Bearer "+accessToken {
		answer = reply{status: 401, body: apiError(401, "UNAUTHENTICATED", "authError")}
	} else if handler != nil {
		answer = handler(r)
	}
	for name, value := range answer.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(answer.status)
	_, _ = io.WriteString(w, answer.body)
}

func (p *play) handle(route string, handler func(*http.Request) reply) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.routes[route] = handler
}

func (p *play) answer(route string, status int, body string, header ...string) {
	answer := reply{status: status, body: body, header: map[string]string{}}
	for i := 0; i+1 < len(header); i += 2 {
		answer.header[header[i]] = header[i+1]
	}
	p.handle(route, func(*http.Request) reply { return answer })
}

// clock is the verifier's; advance moves it.
func (p *play) clock() time.Time {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.now
}

func (p *play) advance(by time.Duration) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.now = p.now.Add(by)
}

func (p *play) count(route string) int {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.counts[route]
}

// asked returns the requests to the API, without those for access tokens.
func (p *play) asked() []string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	var routes []string
	for _, route := range p.requests {
		if route != tokenRoute {
			routes = append(routes, route)
		}
	}
	return routes
}

func (p *play) bodyOf(route string) string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.bodies[route]
}

func (p *play) config() google.Config {
	return google.Config{
		PackageName:        packageName,
		ServiceAccountKey:  keyFile(signingKey(), p.URL+"/token"),
		PushAudience:       pushAudience,
		PushServiceAccount: pushAccount,
		HTTPClient:         p.Client(),
		BaseURL:            p.URL,
		TokenURLs:          []string{p.URL + "/token"},
		KeysURL:            p.URL + "/certs",
		Clock:              p.clock,
	}
}

func (p *play) verifier(t testing.TB) *google.Verifier {
	v, err := google.New(p.config())
	require.NoError(t, err)
	return v
}

// keyFile writes a service account's key file.
func keyFile(key *rsa.PrivateKey, tokenURL string) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	content, err := json.Marshal(map[string]string{
		"type":           "service_account",
		"project_id":     "example",
		"private_key_id": "key-1",
		"private_key":    string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email":   accountEmail,
		"client_id":      "1",
		"auth_uri":       "https://accounts.google.com/o/oauth2/auth",
		"token_uri":      tokenURL,
	})
	if err != nil {
		panic(err)
	}
	return content
}

// apiError is a body in the error format of Google's APIs, as purchases.* sends it.
func apiError(code int, status, reason string) string {
	return fmt.Sprintf(`{"error":{"code":%d,"message":"A message about %s.","errors":[{"message":"A message.",`+
		`"domain":"androidpublisher","reason":%q,"location":"token","locationType":"parameter"}],"status":%q}}`,
		code, purchaseToken, reason, status)
}

func keySetOf(id string, key *rsa.PublicKey) string {
	return fmt.Sprintf(`{"keys":[{"kty":"EC","kid":"other","crv":"P-256"},`+
		`{"kty":"RSA","alg":"RS256","use":"sig","kid":%q,"n":%q,"e":%q}]}`, id,
		base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()))
}

// pushToken signs the token of a push; change may edit its claims.
func pushToken(t testing.TB, now time.Time, change func(jwt.MapClaims)) string {
	claims := pushClaims(now)
	if change != nil {
		change(claims)
	}
	return signed(t, jwt.SigningMethodRS256, "push-1", claims, pushKey())
}

func pushClaims(now time.Time) jwt.MapClaims {
	return jwt.MapClaims{
		"aud": pushAudience, "azp": "1", "email": pushAccount, "email_verified": true,
		"exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "iss": "https://accounts.google.com", "sub": "1",
	}
}

func signed(t testing.TB, method jwt.SigningMethod, id string, claims jwt.Claims, key any) string {
	token := jwt.NewWithClaims(method, claims)
	if id != "" {
		token.Header["kid"] = id
	}
	text, err := token.SignedString(key)
	require.NoError(t, err)
	return text
}

// pushBody wraps a notification as Pub/Sub does.
func pushBody(id, notification string) []byte {
	return fmt.Appendf(nil, `{"message":{"attributes":{"key":"value"},"data":%q,"messageId":%q,"message_id":%q,`+
		`"publishTime":"2026-03-10T12:00:00.000Z"},"subscription":"projects/example/subscriptions/play"}`,
		base64.StdEncoding.EncodeToString([]byte(notification)), id, id)
}
