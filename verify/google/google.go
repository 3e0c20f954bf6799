package google

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/googleapi"
	"github.com/userkit/userkit/internal/vendorapi"
)

// Config says how to reach Google and what to accept. PackageName and
// ServiceAccountKey are required; the zero value of each other field is its default.
type Config struct {
	// Store is the verifier's name, 1 to 32 characters of a-z, 0-9, '_' and '-'.
	// Default: "google". It is stored with every purchase and must not change. Hosts with several
	// applications need a Verifier with a different name for each.
	Store string

	// PackageName is the application's, such as "com.example.app".
	PackageName string

	// ServiceAccountKey is the content of the service account's JSON key file. Only the type
	// "service_account" is accepted, with an RSA key of 2048 bits or more.
	ServiceAccountKey []byte

	// PushAudience and PushServiceAccount are what the push subscription was
	// configured with: the audience, which is by default the address of the endpoint, and the email
	// address of the service account that signs. Set both or neither: without them every
	// notification is refused.
	PushAudience       string
	PushServiceAccount string

	// HTTPClient makes the requests; its CheckRedirect is not used, as no redirect is
	// followed. Default: a client with a time limit of 20 seconds.
	HTTPClient *http.Client

	// BaseURL is the address of the API. Default: https://androidpublisher.googleapis.com.
	// Each address in a Config is https, or http on this machine (a loopback address
	// or "localhost").
	BaseURL string

	// TokenURLs are the addresses that the key file may name as its token_uri, where
	// signed assertions are sent to. Default: the ones of Google.
	TokenURLs []string

	// KeysURL is the address of the keys that sign pushes, a JSON Web Key Set (RFC
	// 7517). Default: https://www.googleapis.com/oauth2/v3/certs.
	KeysURL string

	// Clock returns the current time. It is called by many goroutines at once. Default: time.Now.
	Clock func() time.Time
}

const (
	scope          = "https://www.googleapis.com/auth/androidpublisher"
	defaultBaseURL = "https://androidpublisher.googleapis.com"
	defaultKeysURL = "https://www.googleapis.com/oauth2/v3/certs"
	defaultTimeout = 20 * time.Second
	maxAnswer      = 256 * 1024 // bytes
)

// Verifier is the userkit.Verifier, Acknowledger and NotificationReader of one
// application on Google Play. It is safe for use by many goroutines at once.
type Verifier struct {
	store       string
	packageName string
	baseURL     string
	clock       func() time.Time
	api         *vendorapi.Client
	tokens      *googleapi.Tokens
	push        *pushCheck // nil: every notification is refused
}

var (
	_ userkit.Verifier           = (*Verifier)(nil)
	_ userkit.Acknowledger       = (*Verifier)(nil)
	_ userkit.ReceiptChecker     = (*Verifier)(nil)
	_ userkit.NotificationReader = (*Verifier)(nil)
)

// New checks config and returns a Verifier. It makes no request. It returns
// ErrInvalid with CodeInvalidOption, naming the field.
func New(config Config) (*Verifier, error) {
	v := &Verifier{store: config.Store, packageName: config.PackageName, clock: config.Clock}
	if v.store == "" {
		v.store = "google"
	}
	if len(v.store) > 32 || !consistsOf(v.store, isStoreCharacter) {
		return nil, invalidOption("Store", "1 to 32 characters of a-z, 0-9, '_' and '-' are needed")
	}
	if len(v.packageName) > 255 || !strings.Contains(v.packageName, ".") || !consistsOf(v.packageName, isNameCharacter) ||
		onlyDots(v.packageName) {
		return nil, invalidOption("PackageName", "%q is not the name of a package", clip(v.packageName))
	}
	if v.clock == nil {
		v.clock = time.Now
	}
	v.api = vendorapi.NewClient("google", config.HTTPClient, defaultTimeout, maxAnswer)

	var err error
	if v.baseURL, err = checkURL("BaseURL", config.BaseURL, defaultBaseURL); err != nil {
		return nil, err
	}
	v.baseURL = strings.TrimRight(v.baseURL, "/")
	allowed := config.TokenURLs
	if len(allowed) == 0 {
		allowed = googleapi.TokenURLs
	}
	for _, text := range allowed {
		if _, err := checkURL("TokenURLs", text, ""); err != nil {
			return nil, err
		}
	}
	account, err := googleapi.ParseAccount(config.ServiceAccountKey, allowed)
	if err != nil {
		return nil, invalidOption("ServiceAccountKey", "%s", err)
	}
	v.tokens = googleapi.NewTokens("google", scope, account, v.api, v.clock)

	keysURL, err := checkURL("KeysURL", config.KeysURL, defaultKeysURL)
	if err != nil {
		return nil, err
	}
	switch {
	case config.PushAudience != "" && config.PushServiceAccount != "":
		v.push = &pushCheck{
			audience: config.PushAudience,
			email:    config.PushServiceAccount,
			keys:     newKeySet(keysURL, v.api, v.clock),
			clock:    v.clock,
		}
	case config.PushAudience != "":
		return nil, invalidOption("PushServiceAccount", "needed with PushAudience")
	case config.PushServiceAccount != "":
		return nil, invalidOption("PushAudience", "needed with PushServiceAccount")
	}
	return v, nil
}

// Store returns the name of the verifier.
func (v *Verifier) Store() string { return v.store }

// String identifies the verifier, without its secrets.
func (v *Verifier) String() string { return "google.Verifier(" + v.packageName + ")" }

// GoString returns String, so that printing a Verifier never shows its key.
func (v *Verifier) GoString() string { return v.String() }

// Verify queries Google about the current state of a purchase; see the package comment for what is
// valid, invalid and undecided. It makes one request, or two if the kind of the purchase is not
// known, and about once an hour one for a new access token.
//
// The facts of a purchase that Google knows: StableID is the digest of the purchase
// token. TransactionID is the order id, empty where there was no order, as with a
// promotion. PurchasedAt of a subscription is its beginning: Google does not say when
// it was renewed. ExpiresAt is empty for one-time products, and for a subscription
// that is not paid yet. At is the time of Google's server, and zero when that is more than
// a day from the clock. Raw is the answer without
// tokens and without the profile of "Subscribe with Google".
func (v *Verifier) Verify(ctx context.Context, receipt userkit.Receipt) userkit.Verdict {
	name, ok := parseToken(receipt.Token)
	if !ok {
		return userkit.Invalid(userkit.ReasonNotFound, userkit.PurchaseFacts{})
	}
	return v.find(ctx, name, receipt.ProductID).verdict
}

// CheckReceipt returns the verdict on a receipt that cannot be one of this store, by its
// form. It makes no request.
func (v *Verifier) CheckReceipt(_ context.Context, receipt userkit.Receipt) (userkit.Verdict, bool) {
	_, ok := parseToken(receipt.Token)
	if ok {
		return userkit.Verdict{}, false
	}
	return userkit.Invalid(userkit.ReasonNotFound, userkit.PurchaseFacts{}), true
}

// StableID returns the stable id of the purchase with this purchase token: the SHA-256 of the token
// in 64 hexadecimal digits. Ids are shown in lists, events and exports, where the token itself
// would be a leak. Since the token is long and random, it cannot be derived from its digest.
func StableID(purchaseToken string) string {
	digest := sha256.Sum256([]byte(purchaseToken))
	return hex.EncodeToString(digest[:])
}

// kind says which part of the API knows a purchase.
type kind string

const (
	kindUnknown      kind = ""
	kindSubscription kind = "subscription" // purchases.subscriptionsv2
	kindProduct      kind = "product"      // purchases.products, or productsv2 where the product is not known
	kindProductV2    kind = "productv2"    // purchases.productsv2
)

// tokenName is a purchase token with what is known of it.
type tokenName struct {
	kind  kind
	token string
}

// String is the form that parseToken reads.
func (n tokenName) String() string {
	if n.kind == kindUnknown {
		return n.token
	}
	return string(n.kind) + ":" + n.token
}

// maxToken bounds purchase tokens. Google's page on in-app purchases speaks of tokens
// of up to 1950 characters.
const maxToken = 4096

// parseToken reads a Receipt.Token. Google's tokens are made of the characters that
// need no escape in a path; another text is none of them, and is kept away from the
// paths of requests.
func parseToken(text string) (tokenName, bool) {
	name := tokenName{token: text}
	if prefix, rest, found := strings.Cut(text, ":"); found {
		name = tokenName{kind: kind(prefix), token: rest}
		switch name.kind {
		case kindSubscription, kindProduct, kindProductV2:
		default:
			return tokenName{}, false
		}
	}
	if len(name.token) > maxToken || !consistsOf(name.token, isTokenCharacter) || onlyDots(name.token) {
		return tokenName{}, false
	}
	return name, true
}

// productHint is a client's product id, or empty when it cannot be one.
func productHint(text string) string {
	if len(text) > 255 || !consistsOf(text, isNameCharacter) || onlyDots(text) {
		return ""
	}
	return text
}

func isLetterOrDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func isTokenCharacter(c byte) bool { return isLetterOrDigit(c) || strings.IndexByte("._~-", c) >= 0 }

func isNameCharacter(c byte) bool { return isLetterOrDigit(c) || c == '.' || c == '_' || c == '-' }

func isStoreCharacter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// consistsOf reports whether text is not empty and each of its bytes is allowed.
func consistsOf(text string, allowed func(byte) bool) bool {
	for i := range len(text) {
		if !allowed(text[i]) {
			return false
		}
	}
	return text != ""
}

// onlyDots finds what would climb in a path.
func onlyDots(text string) bool { return strings.Trim(text, ".") == "" }

func invalidOption(field, format string, args ...any) error {
	return userkit.NewError(userkit.CodeInvalidOption, field, format, args...)
}

// clip shortens a value that goes into an error message.
func clip(text string) string {
	const most = 60
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

// checkURL returns the URL in a field of Config, or its default, when credentials may
// be sent there.
func checkURL(field, text, standard string) (string, error) {
	if text == "" {
		text = standard
	}
	if err := vendorapi.CheckURL(text); err != nil {
		return "", invalidOption(field, "%s", err)
	}
	return text, nil
}
