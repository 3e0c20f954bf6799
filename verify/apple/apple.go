package apple

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/vendorapi"
)

// The addresses of the App Store Server API (its changelog recommends these since version 1.21; the
// older names below itunes.apple.com still work).
const (
	ProductionURL = "https://api.storekit.apple.com"
	SandboxURL    = "https://api.storekit-sandbox.apple.com"
)

// The bounds of Config.TokenLifetime. The App Store refuses tokens that are valid
// for more than 60 minutes ("Generating JSON Web Tokens for API requests").
const (
	MinTokenLifetime     = time.Minute
	MaxTokenLifetime     = time.Hour
	DefaultTokenLifetime = 5 * time.Minute
)

// defaultTimeout bounds a request when the host brings no http.Client.
const defaultTimeout = 30 * time.Second

// Config configures a Verifier for an app. BundleID, KeyID, IssuerID and PrivateKey are always
// required, and AppID is required in production.
type Config struct {
	// Store is the verifier's name; empty: "apple". A project with two apps needs two verifiers
	// with different names. 1 to 32 characters of a-z, 0-9, '_' and '-'.
	Store string

	BundleID string // of the app, such as "org.example.app"
	AppID    int64  // the app's number in the App Store; may be zero in the sandbox

	KeyID      string // of the private key
	IssuerID   string // of the team in App Store Connect
	PrivateKey []byte // the .p8 file: a P-256 key in PEM

	// TokenLifetime is how long the token of a request is valid, from
	// MinTokenLifetime to MaxTokenLifetime; zero: DefaultTokenLifetime. Each request has its own
	// token.
	TokenLifetime time.Duration

	// Environment is the environment whose purchases are accepted: userkit.Production, which is the
	// default, or userkit.Sandbox. In the sandbox, data of the environments Xcode and LocalTesting
	// is also accepted if it is signed under one of Roots.
	Environment userkit.Environment

	// AllowSandbox makes a verifier in production accept sandbox receipts and notifications, and
	// query the sandbox about a transaction that production does not know, or for which production
	// responds with 401, as it does for an app that is not in the App Store yet.
	AllowSandbox bool

	// Roots are the only certificates that a chain may end in, whatever root a payload contains;
	// empty: the Apple Root CA - G3.
	Roots []*x509.Certificate

	// RequireSigned requires proof of possession: from clients, only transactions that Apple has
	// signed are accepted. A mere transaction id, which appears in mailed receipts, refund forms
	// and logs, is refused with ReasonForged.
	RequireSigned bool

	// RequireAccountToken requires that a purchase names its user: one whose appAccountToken does
	// not identify the user who submits it, or that has none, is refused with ReasonAccount. The
	// app must set it for each purchase to the id of the user, or to an extref that is a UUID. A
	// purchase that is shared with a member of a family has none.
	RequireAccountToken bool

	// NonRenewing returns when a non-renewing subscription ends, because Apple leaves its duration
	// to the app. If it is nil, or returns the zero time, the subscription never ends.
	NonRenewing func(productID string, purchasedAt time.Time) time.Time

	HTTPClient    *http.Client     // nil: one with a timeout of 30 seconds; redirects are never followed
	ProductionURL string           // empty: the constant of this name
	SandboxURL    string           // empty: the constant of this name; https, or http to this machine
	Clock         func() time.Time // nil: time.Now
}

// Verifier verifies purchases with the App Store and reads its notifications. It is safe for use by
// many goroutines at once.
type Verifier struct {
	name         string
	bundleID     string
	appID        int64
	keyID        string
	issuerID     string
	privateKey   *ecdsa.PrivateKey
	lifetime     time.Duration
	environments []userkit.Environment // that count, in the order in which they are asked
	baseURLs     map[userkit.Environment]string
	trust        trust
	nonRenewing  func(string, time.Time) time.Time
	signedOnly   bool // Config.RequireSigned
	namedOnly    bool // Config.RequireAccountToken
	api          *vendorapi.Client
	clock        func() time.Time
}

var (
	_ userkit.Verifier           = (*Verifier)(nil)
	_ userkit.ReceiptChecker     = (*Verifier)(nil)
	_ userkit.NotificationReader = (*Verifier)(nil)
)

// New returns a Verifier. It makes no request. It returns ErrInvalid with
// CodeInvalidOption, naming the field of Config, if one is missing or invalid.
func New(config Config) (*Verifier, error) {
	v := &Verifier{
		name:        config.Store,
		bundleID:    config.BundleID,
		appID:       config.AppID,
		keyID:       config.KeyID,
		issuerID:    config.IssuerID,
		lifetime:    config.TokenLifetime,
		nonRenewing: config.NonRenewing,
		signedOnly:  config.RequireSigned,
		namedOnly:   config.RequireAccountToken,
		clock:       config.Clock,
	}
	if v.name == "" {
		v.name = "apple"
	}
	if !madeOf(v.name, 32, "abcdefghijklmnopqrstuvwxyz0123456789_-") {
		return nil, invalidOption("Store", "is no name of a store")
	}
	for _, option := range []struct{ field, value string }{
		{"BundleID", v.bundleID}, {"KeyID", v.keyID}, {"IssuerID", v.issuerID},
	} {
		if strings.TrimSpace(option.value) != option.value || option.value == "" || len(option.value) > 255 {
			return nil, invalidOption(option.field, "is missing, too long, or has spaces around it")
		}
	}
	switch config.Environment {
	case "", userkit.Production:
		v.environments = []userkit.Environment{userkit.Production}
		if config.AllowSandbox {
			v.environments = append(v.environments, userkit.Sandbox)
		}
		if v.appID == 0 {
			return nil, invalidOption("AppID", "is needed in production")
		}
	case userkit.Sandbox:
		v.environments = []userkit.Environment{userkit.Sandbox}
	default:
		return nil, invalidOption("Environment", "is neither production nor sandbox")
	}
	if v.appID < 0 {
		return nil, invalidOption("AppID", "is negative")
	}

	key, err := jwt.ParseECPrivateKeyFromPEM(config.PrivateKey)
	if err != nil || key.Curve != elliptic.P256() {
		return nil, invalidOption("PrivateKey", "is no P-256 key in PEM")
	}
	v.privateKey = key
	if v.lifetime == 0 {
		v.lifetime = DefaultTokenLifetime
	}
	if v.lifetime < MinTokenLifetime || v.lifetime > MaxTokenLifetime {
		return nil, invalidOption("TokenLifetime", "is outside the range %s to %s", MinTokenLifetime, MaxTokenLifetime)
	}

	for _, root := range config.Roots {
		if root == nil || len(root.Raw) == 0 {
			return nil, invalidOption("Roots", "has an empty certificate")
		}
		v.trust = append(v.trust, root)
	}

	production, err := baseURL("ProductionURL", config.ProductionURL, ProductionURL)
	if err != nil {
		return nil, err
	}
	sandbox, err := baseURL("SandboxURL", config.SandboxURL, SandboxURL)
	if err != nil {
		return nil, err
	}
	v.baseURLs = map[userkit.Environment]string{userkit.Production: production, userkit.Sandbox: sandbox}

	v.api = vendorapi.NewClient("apple", config.HTTPClient, defaultTimeout, maxAnswer)
	if v.clock == nil {
		v.clock = time.Now
	}
	return v, nil
}

// baseURL returns the base URL in a field of Config, or its default, when tokens may be
// sent there.
func baseURL(field, configured, standard string) (string, error) {
	if configured == "" {
		return standard, nil
	}
	if err := vendorapi.CheckURL(configured); err != nil {
		return "", invalidOption(field, "%s", err)
	}
	return strings.TrimRight(configured, "/"), nil
}

func invalidOption(field, format string, args ...any) error {
	return userkit.NewError(userkit.CodeInvalidOption, field, "apple.Config."+field+" "+format, args...)
}

// madeOf reports whether text has 1 to limit bytes, all of them in alphabet.
func madeOf(text string, limit int, alphabet string) bool {
	return text != "" && len(text) <= limit && strings.Trim(text, alphabet) == ""
}

// isID reports whether text can be the id of a transaction. Apple promises a
// string; all ids so far are decimal numbers.
func isID(text string) bool {
	return madeOf(text, 64, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-")
}

// Store returns Config.Store, "apple" by default.
func (v *Verifier) Store() string { return v.name }

// settlingTime is how long after its signature a transaction may be unknown to the
// App Store Server API without being called unknown: customers can hold a genuine
// transaction hours before the API finds it.
const settlingTime = 48 * time.Hour

// Verify queries the App Store about the current state of a purchase. Receipt.Token is a
// transaction id, unless Config.RequireSigned refuses it, or a signed transaction.
//
// A subscription is valid in the statuses active and billing grace period, the
// latter until the grace period ends. A one-time product is valid until it is
// refunded or revoked, a non-renewing subscription also no longer than
// Config.NonRenewing says, and a consumable, which Apple does not track, for ever.
// A purchase that was upgraded is superseded. Facts.StableID is the original
// transaction id; Facts.Token is an id, so that no receipt need be kept.
//
// What is not signed by Apple, or is of another app or environment, is invalid
// without a request. Transactions that neither the environment of the configuration
// nor, when allowed, the sandbox knows are invalid, with ReasonNotFound, but
// undecided for 48 hours after Apple signed one. All other refusals, unreachable
// stores, and answers that are not signed by Apple or are about something else are
// undecided; RetryAt is what the store asked for, at most 24 hours ahead.
func (v *Verifier) Verify(ctx context.Context, receipt userkit.Receipt) userkit.Verdict {
	verdict := v.verifyShown(ctx, receipt)
	verdict.Facts.OnlyNamed = v.namedOnly && verdict.Facts.StableID != ""
	return verdict
}

func (v *Verifier) verifyShown(ctx context.Context, receipt userkit.Receipt) userkit.Verdict {
	if v.bare(receipt) {
		return refusedUnasked(errBare)
	}
	if isID(receipt.Token) {
		return v.verify(ctx, receipt.Token, nil, v.environments)
	}
	shown, err := v.openShown(ctx, receipt.Token)
	if over := ctx.Err(); err != nil && over != nil {
		return userkit.Undecided(fmt.Errorf("apple: receipt: %w", over), time.Time{})
	}
	if err != nil {
		return refusedUnasked(err)
	}
	verdict := v.verify(ctx, shown.TransactionID, shown, []userkit.Environment{shown.environment})
	if verdict.Reason == userkit.ReasonNotFound && v.clock().Before(shown.SignedDate.Add(settlingTime)) {
		return userkit.Undecided(errors.New("apple: the App Store does not know a transaction yet that it signed"), time.Time{})
	}
	return verdict
}

// errBare is why an id alone is refused.
const errBare = forgedError("it is the id of a transaction alone")

// bare reports whether a client shows an id where a signed transaction is demanded. What
// the verifier itself asked to be given the next time is an id.
func (v *Verifier) bare(receipt userkit.Receipt) bool {
	return v.signedOnly && !receipt.Kept && isID(receipt.Token)
}

// CheckReceipt returns the verdict on a receipt that is neither the id of a transaction
// nor signed by Apple for this app and these environments. It makes no request.
func (v *Verifier) CheckReceipt(ctx context.Context, receipt userkit.Receipt) (userkit.Verdict, bool) {
	if v.bare(receipt) {
		return refusedUnasked(errBare), true
	}
	if isID(receipt.Token) {
		return userkit.Verdict{}, false
	}
	_, err := v.openShown(ctx, receipt.Token)
	if err == nil || ctx.Err() != nil {
		return userkit.Verdict{}, false
	}
	return refusedUnasked(err), true
}

// refusedUnasked is the verdict on a receipt that could not be opened.
func refusedUnasked(err error) userkit.Verdict {
	reason := userkit.ReasonForged
	if wrong, ok := errors.AsType[*wrongError](err); ok {
		reason = wrong.reason
	}
	return userkit.Verdict{Outcome: userkit.VerdictInvalid, Reason: reason, Err: err}
}

// openShown opens the signed transaction of a receipt.
func (v *Verifier) openShown(ctx context.Context, signed string) (*transaction, error) {
	if len(signed) > userkit.MaxReceipt {
		return nil, forgedError("it is longer than a receipt can be")
	}
	return v.openTransaction(ctx, signed)
}

// verify asks one environment after the other until one knows the transaction. What
// a receipt has shown is nil when it was an id.
func (v *Verifier) verify(ctx context.Context, id string, shown *transaction, environments []userkit.Environment) userkit.Verdict {
	var unauthorized *refusalError // by an environment that was not the last
	for i, environment := range environments {
		verdict, err := v.ask(ctx, environment, id, shown)
		if refusal, ok := errors.AsType[*refusalError](err); ok {
			if refusal.notFound {
				continue
			}
			if refusal.status == http.StatusUnauthorized && i+1 < len(environments) {
				// Production answers so about an app that is not in the App Store yet,
				// which App Review buys in.
				unauthorized = refusal
				continue
			}
			return userkit.Busy(err, refusal.retryAt)
		}
		if err != nil {
			return userkit.Undecided(err, time.Time{})
		}
		return verdict
	}
	if unauthorized != nil { // which may as well be a wrong key
		return userkit.Busy(unauthorized, unauthorized.retryAt)
	}
	return userkit.Invalid(userkit.ReasonNotFound, userkit.PurchaseFacts{})
}

// ask finds out about a transaction in one environment. What was shown says where
// to ask, and nothing more.
func (v *Verifier) ask(ctx context.Context, environment userkit.Environment, id string, shown *transaction) (userkit.Verdict, error) {
	if shown != nil && shown.Type == autoRenewable {
		verdict, found, err := v.askSubscription(ctx, environment, shown.OriginalTransactionID)
		if found || err != nil {
			return verdict, err
		}
	}
	latest, err := v.askTransaction(ctx, environment, id)
	if err != nil {
		return userkit.Verdict{}, err
	}
	if latest.Type != autoRenewable {
		return v.judgeOneTime(latest)
	}
	if shown == nil {
		verdict, found, err := v.askSubscription(ctx, environment, latest.OriginalTransactionID)
		if refusal, ok := errors.AsType[*refusalError](err); ok && refusal.notFound {
			return userkit.Verdict{}, errors.New("apple: the App Store knows the transaction and not its subscription")
		}
		if found || err != nil {
			return verdict, err
		}
	}
	return v.judgeAlone(latest)
}

// judgeOneTime says what a transaction means that has no status.
func (v *Verifier) judgeOneTime(latest *transaction) (userkit.Verdict, error) {
	facts := latest.facts(nil, 0)
	facts.Token = latest.TransactionID
	switch latest.Type {
	case nonConsumable, consumable:
		facts.ExpiresAt = time.Time{}
	case nonRenewing:
		if v.nonRenewing != nil {
			facts.ExpiresAt = v.nonRenewing(facts.ProductID, facts.PurchasedAt)
		}
	default:
		return userkit.Verdict{}, errors.New("apple: the transaction is of an unknown type")
	}
	if verdict, over := latest.over(facts); over {
		return verdict, nil
	}
	if !facts.ExpiresAt.IsZero() && !v.clock().Before(facts.ExpiresAt) {
		return userkit.Invalid(userkit.ReasonExpired, facts), nil
	}
	return userkit.Valid(facts), nil
}

// judgeAlone says what the transaction of a subscription means that is no longer
// among the statuses of the customer.
func (v *Verifier) judgeAlone(latest *transaction) (userkit.Verdict, error) {
	facts := latest.facts(nil, 0)
	if verdict, over := latest.over(facts); over {
		return verdict, nil
	}
	if !facts.ExpiresAt.IsZero() && !v.clock().Before(facts.ExpiresAt) {
		return userkit.Invalid(userkit.ReasonExpired, facts), nil
	}
	return userkit.Verdict{}, errors.New("apple: the App Store gives no status of the subscription")
}

// The statuses of a subscription ("status", App Store Server API).
const (
	statusActive       = 1
	statusExpired      = 2
	statusBillingRetry = 3
	statusGracePeriod  = 4
	statusRevoked      = 5
)

// askSubscription finds the newest transaction of a subscription and judges it.
func (v *Verifier) askSubscription(ctx context.Context, environment userkit.Environment, originalID string) (userkit.Verdict, bool, error) {
	groups, err := v.statuses(ctx, environment, originalID)
	if err != nil {
		return userkit.Verdict{}, false, err
	}
	for _, group := range groups {
		at := slices.IndexFunc(group.LastTransactions, func(item lastTransaction) bool {
			return item.OriginalTransactionID == originalID
		})
		if at < 0 {
			continue
		}
		item := group.LastTransactions[at]
		latest, err := v.openAnswer(ctx, item.SignedTransactionInfo, environment)
		if err != nil {
			return userkit.Verdict{}, false, err
		}
		var renewal *renewalInfo
		if item.SignedRenewalInfo != "" {
			if renewal, err = v.openRenewal(ctx, item.SignedRenewalInfo, environment); err != nil {
				return userkit.Verdict{}, false, err
			}
		}
		if latest.OriginalTransactionID != originalID || renewal != nil && renewal.OriginalTransactionID != originalID {
			return userkit.Verdict{}, false, errOtherAnswer
		}
		verdict, err := v.judge(item.Status, latest, renewal)
		if verdict.Outcome == userkit.VerdictValid {
			verdict.Facts.Supersedes = v.superseded(ctx, group, latest)
		}
		return verdict, err == nil, err
	}
	return userkit.Verdict{}, false, nil
}

// judge says what the status of a subscription means.
func (v *Verifier) judge(status int, latest *transaction, renewal *renewalInfo) (userkit.Verdict, error) {
	if latest.ExpiresDate.IsZero() {
		return userkit.Verdict{}, errors.New("apple: the subscription has no expiration date")
	}
	facts := latest.facts(renewal, status)
	if verdict, over := latest.over(facts); over {
		return verdict, nil
	}
	switch status {
	case statusActive:
		return userkit.Valid(facts), nil
	case statusGracePeriod:
		if renewal != nil && !renewal.GracePeriodExpiresDate.IsZero() {
			facts.ExpiresAt = renewal.GracePeriodExpiresDate.Time
			if !v.clock().Before(facts.ExpiresAt) {
				return userkit.Invalid(userkit.ReasonUnpaid, facts), nil
			}
		}
		return userkit.Valid(facts), nil
	case statusExpired:
		return userkit.Invalid(userkit.ReasonExpired, facts), nil
	case statusBillingRetry:
		return userkit.Invalid(userkit.ReasonUnpaid, facts), nil
	case statusRevoked:
		return userkit.Invalid(userkit.ReasonRevoked, facts), nil
	}
	return userkit.Verdict{}, errors.New("apple: the status of the subscription is unknown")
}

// maxInGroup bounds how many subscriptions of a group are looked at: each costs three
// signatures, and a customer has as many as the group has had products.
const maxInGroup = 100

// superseded are the other subscriptions of the group from which the customer has
// upgraded. One whose signature does not hold is left out: it is not what was asked
// for.
func (v *Verifier) superseded(ctx context.Context, group subscriptionGroup, latest *transaction) []string {
	var ids []string
	for _, item := range group.LastTransactions[:min(len(group.LastTransactions), maxInGroup)] {
		if item.OriginalTransactionID == latest.OriginalTransactionID {
			continue
		}
		other, err := v.openAnswer(ctx, item.SignedTransactionInfo, latest.environment)
		if err == nil && other.IsUpgraded && other.OwnershipType == latest.OwnershipType &&
			other.OriginalTransactionID == item.OriginalTransactionID && !slices.Contains(ids, other.OriginalTransactionID) {
			ids = append(ids, other.OriginalTransactionID)
		}
	}
	return ids
}
