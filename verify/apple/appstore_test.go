package apple_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/apple"
)

const (
	bundleID = "org.example.app"
	appID    = 1234567890
	keyID    = "2X9R4HXF34"
	issuerID = "57246542-96fe-1a63-e053-0824d011072a"
	account  = "7e3fb20b-4cdb-47cc-936d-99d65f608138"
)

// reply is an answer that a test sets.
type reply struct {
	status int
	header http.Header
	body   string
}

// apiError is an answer with an error code, as the App Store Server API has it.
func apiError(code int64, message string) reply {
	return reply{
		status: int(code / 10_000),
		header: http.Header{"Content-Type": {"application/json"}},
		body:   string(must(json.Marshal(object{"errorCode": code, "errorMessage": message}))),
	}
}

// appStore is one environment of the App Store Server API.
type appStore struct {
	*httptest.Server
	environment string
	signer      *signer
	key         *ecdsa.PublicKey

	mu           sync.Mutex
	transactions map[string]object   // payloads by transaction id
	statuses     map[string][]object // groups of a StatusResponse by transaction id
	replies      map[string]reply    // instead of the usual answer, by path
	extra        object              // members of StatusResponse that are not the usual ones
	limit        int                 // requests that are still allowed; negative: any number
	requests     []*http.Request
}

func newAppStore(environment string, signer *signer, key *ecdsa.PublicKey) *appStore {
	store := &appStore{
		environment:  environment,
		signer:       signer,
		key:          key,
		transactions: map[string]object{},
		statuses:     map[string][]object{},
		replies:      map[string]reply{},
		limit:        -1,
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /inApps/v1/transactions/{id}", store.guard(store.transaction))
	mux.HandleFunc("GET /inApps/v1/subscriptions/{id}", store.guard(store.subscriptions))
	store.Server = httptest.NewServer(mux)
	return store
}

// guard does what the API does before it looks at a request.
func (s *appStore) guard(next func(id string) reply) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests = append(s.requests, request)
		answer, set := s.replies[request.URL.Path]
		switch {
		case !s.authorized(request):
			answer = reply{status: http.StatusUnauthorized, header: http.Header{"Content-Type": {"text/plain"}}, body: "Unauthenticated\n\nRequest ID: 6SDC.0.0\n"}
		case s.limit == 0:
			answer = apiError(4290000, "Rate limit exceeded.")
			answer.header.Set("Retry-After", strconv.FormatInt(milliseconds(now.Add(20*time.Minute)), 10))
		case set:
		case strings.Trim(request.PathValue("id"), "0123456789") != "":
			answer = apiError(4000006, "Invalid transaction id.")
		default:
			answer = next(request.PathValue("id"))
		}
		s.limit--
		maps.Copy(writer.Header(), answer.header)
		writer.WriteHeader(answer.status)
		_, _ = io.WriteString(writer, answer.body)
	}
}

// authorized checks the token as "Generating JSON Web Tokens for API requests" says.
func (s *appStore) authorized(request *http.Request) bool {
	text, bearer := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer ")
	claims := jwt.MapClaims{}
	token, err := jwt.ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return s.key, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithAudience("appstoreconnect-v1"), jwt.WithIssuer(issuerID),
		jwt.WithIssuedAt(), jwt.WithExpirationRequired(), jwt.WithTimeFunc(func() time.Time { return now }))
	if !bearer || err != nil {
		return false
	}
	issued, _ := claims.GetIssuedAt()
	expires, _ := claims.GetExpirationTime()
	return issued != nil && expires.Sub(issued.Time) <= time.Hour && claims["bid"] == bundleID &&
		token.Header["kid"] == keyID && token.Header["typ"] == "JWT"
}

func (s *appStore) transaction(id string) reply {
	payload, known := s.transactions[id]
	if !known {
		return apiError(4040010, "Transaction id not found.")
	}
	return answer(object{"signedTransactionInfo": s.signer.sign(payload)})
}

func (s *appStore) subscriptions(id string) reply {
	groups, known := s.statuses[id]
	if !known && s.transactions[id] == nil {
		return apiError(4040010, "Transaction id not found.")
	}
	if groups == nil {
		groups = []object{}
	}
	body := object{"environment": s.environment, "bundleId": bundleID, "data": groups}
	if s.environment == "Production" {
		body["appAppleId"] = appID
	}
	return answer(with(body, s.extra))
}

func answer(body object) reply {
	return reply{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: string(must(json.Marshal(body)))}
}

// sell makes the store know transactions.
func (s *appStore) sell(payloads ...object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, payload := range payloads {
		s.transactions[payload["transactionId"].(string)] = payload
	}
}

// item is an entry of the statuses; a nil renewal leaves that out.
func (s *appStore) item(status int, transaction, renewal object) object {
	entry := object{
		"status":                status,
		"originalTransactionId": transaction["originalTransactionId"],
		"signedTransactionInfo": s.signer.sign(transaction),
	}
	if renewal != nil {
		entry["signedRenewalInfo"] = s.signer.sign(renewal)
	}
	return entry
}

// subscribe sets the one group of subscriptions of the customer who has the ids.
func (s *appStore) subscribe(ids []string, items ...object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.statuses[id] = []object{
			{"subscriptionGroupIdentifier": "20800000", "lastTransactions": []object{}},
			{"subscriptionGroupIdentifier": "20849879", "lastTransactions": items},
		}
	}
}

// reply sets what the store answers at a path.
func (s *appStore) reply(path string, answer reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies[path] = answer
}

// paths are the requests so far.
func (s *appStore) paths() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	paths := []string{}
	for _, request := range s.requests {
		paths = append(paths, request.URL.Path)
	}
	return paths
}

// world is an App Store with both environments, and the key of a team.
type world struct {
	*signer
	key                 *ecdsa.PrivateKey
	production, sandbox *appStore
}

// appleSigner is the signer of every world: most of what a small test costs is its keys.
var appleSigner = sync.OnceValue(newSigner)

func newWorld() *world {
	own := *appleSigner() // a test may give it another leaf
	w := &world{signer: &own, key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	w.production = newAppStore("Production", w.signer, &w.key.PublicKey)
	w.sandbox = newAppStore("Sandbox", w.signer, &w.key.PublicKey)
	return w
}

func (w *world) close() {
	w.production.Close()
	w.sandbox.Close()
}

func testWorld(t testing.TB) *world {
	w := newWorld()
	t.Cleanup(w.close)
	return w
}

// configOf is a right configuration for what a signer has signed.
func configOf(s *signer, key *ecdsa.PrivateKey) apple.Config {
	return apple.Config{
		BundleID:   bundleID,
		AppID:      appID,
		KeyID:      keyID,
		IssuerID:   issuerID,
		PrivateKey: pemKey(key),
		Roots:      []*x509.Certificate{s.root.Certificate},
		Clock:      func() time.Time { return now },
	}
}

// config is a right configuration for this App Store.
func (w *world) config() apple.Config {
	config := configOf(w.signer, w.key)
	config.ProductionURL, config.SandboxURL = w.production.URL, w.sandbox.URL
	return config
}

// verifier makes a verifier after change has changed the configuration.
func (w *world) verifier(t testing.TB, change func(*apple.Config)) *apple.Verifier {
	config := w.config()
	if change != nil {
		change(&config)
	}
	verifier, err := apple.New(config)
	require.NoError(t, err)
	return verifier
}

func allowSandbox(config *apple.Config) { config.AllowSandbox = true }

func onlySandbox(config *apple.Config) { config.Environment, config.AppID = userkit.Sandbox, 0 }

// verify verifies a receipt and checks what holds for every verdict: no secret gets
// into an error, and facts stand where they may.
func verify(t testing.TB, verifier *apple.Verifier, token string) userkit.Verdict {
	verdict := verifier.Verify(context.Background(), userkit.Receipt{Store: "apple", Token: token})
	checkVerdict(t, verdict, token)
	return verdict
}

func checkVerdict(t testing.TB, verdict userkit.Verdict, token string) {
	text := fmt.Sprint(verdict.Err)
	for _, secret := range append(strings.Split(token, "."), token, "eyJ", "PRIVATE", keyID, "/inApps/") {
		if len(secret) > 3 {
			require.NotContains(t, text, secret)
		}
	}
	switch verdict.Outcome {
	case userkit.VerdictValid:
		require.NotEmpty(t, verdict.Facts.StableID)
		require.Empty(t, verdict.Reason)
		require.NoError(t, verdict.Err)
	case userkit.VerdictInvalid:
		require.NotEmpty(t, verdict.Reason)
		require.Zero(t, verdict.RetryAt)
	case userkit.VerdictUndecided:
		require.Error(t, verdict.Err)
		require.Zero(t, verdict.Facts)
		require.Empty(t, verdict.Reason)
	default:
		t.Fatalf("no outcome: %q", verdict.Outcome)
	}
	if verdict.Facts.Raw != nil {
		require.True(t, json.Valid(verdict.Facts.Raw))
		require.LessOrEqual(t, len(verdict.Facts.Raw), userkit.MaxPurchaseRaw)
	}
}

// renewed is the second transaction of a subscription that is good for a month.
func renewed() object {
	return object{
		"transactionId": "430001800000002", "originalTransactionId": "430001800000001", "webOrderLineItemId": "430000700000002",
		"bundleId": bundleID, "productId": "org.example.app.pro.monthly", "subscriptionGroupIdentifier": "20849879",
		"purchaseDate": milliseconds(now.AddDate(0, 0, -10)), "originalPurchaseDate": milliseconds(now.AddDate(0, -1, -10)),
		"expiresDate": milliseconds(now.AddDate(0, 0, 20)), "quantity": 1, "type": "Auto-Renewable Subscription",
		"appAccountToken": account, "inAppOwnershipType": "PURCHASED", "signedDate": milliseconds(now.Add(-time.Second)),
		"environment": "Production", "transactionReason": "RENEWAL", "storefront": "USA", "storefrontId": "143441",
		"price": 9990, "currency": "USD", "appTransactionId": "704000000000000001",
	}
}

// renewal is the renewal information of a subscription that goes on.
func renewal() object {
	return object{
		"originalTransactionId": "430001800000001", "productId": "org.example.app.pro.monthly",
		"autoRenewProductId": "org.example.app.pro.monthly", "autoRenewStatus": 1,
		"signedDate": milliseconds(now), "environment": "Production",
		"renewalDate": milliseconds(now.AddDate(0, 0, 20)), "renewalPrice": 9990, "currency": "USD",
	}
}

// bought is a one-time product.
func bought() object {
	return object{
		"transactionId": "430001900000001", "originalTransactionId": "430001900000001",
		"bundleId": bundleID, "productId": "org.example.app.lifetime",
		"purchaseDate": milliseconds(now.AddDate(-1, 0, 0)), "originalPurchaseDate": milliseconds(now.AddDate(-1, 0, 0)),
		"quantity": 1, "type": "Non-Consumable", "inAppOwnershipType": "PURCHASED",
		"signedDate": milliseconds(now), "environment": "Production", "transactionReason": "PURCHASE", "storefront": "DEU",
	}
}

const (
	firstID   = "430001800000001"
	renewedID = "430001800000002"
	boughtID  = "430001900000001"
)
