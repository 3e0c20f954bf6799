package google

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/googleapi"
	"github.com/userkit/userkit/internal/vendorapi"
)

// renewalLag is for how long a subscription that Google calls active may be past its
// expiryTime: a payment is tried again silently for 24 hours, and for up to 48 before
// an account hold
// (https://developer.android.com/google/play/billing/lifecycle/subscriptions).
const renewalLag = 48 * time.Hour

// finding is what the API says of a purchase.
type finding struct {
	verdict      userkit.Verdict
	name         tokenName // with the kind under which it was found
	found        bool      // the API knows the purchase
	acknowledged bool
}

// lookup is one way to ask for a purchase.
type lookup struct {
	kind      kind
	operation string
	path      string // after the application
	read      func(v *Verifier, name tokenName, product string, a vendorapi.Answer) (finding, error)
}

func subscriptionLookup(token string) lookup {
	return lookup{kindSubscription, "purchases.subscriptionsv2.get", "subscriptionsv2/tokens/" + token, (*Verifier).readSubscription}
}

func productV2Lookup(token string) lookup {
	return lookup{kindProductV2, "purchases.productsv2.getproductpurchasev2", "productsv2/tokens/" + token, (*Verifier).readProductV2}
}

// productLookup asks the older resource, which checks that the token is for the
// product (reason purchaseTokenDoesNotMatchProductId).
func productLookup(token, product string) lookup {
	return lookup{kindProduct, "purchases.products.get", "products/" + product + "/tokens/" + token, (*Verifier).readProduct}
}

// lookups returns the ways to ask, in order; the next one is for when the one before
// knows no such purchase.
func lookups(name tokenName, product string) []lookup {
	switch {
	case name.kind == kindSubscription:
		return []lookup{subscriptionLookup(name.token)}
	case name.kind == kindProductV2, name.kind == kindProduct && product == "":
		return []lookup{productV2Lookup(name.token)}
	case name.kind == kindProduct:
		return []lookup{productLookup(name.token, product)}
	case product != "":
		return []lookup{productLookup(name.token, product), subscriptionLookup(name.token)}
	default:
		return []lookup{subscriptionLookup(name.token), productV2Lookup(name.token)}
	}
}

// find asks for a purchase.
func (v *Verifier) find(ctx context.Context, name tokenName, product string) finding {
	product = productHint(product)
	var reasons []userkit.PurchaseReason
	for _, way := range lookups(name, product) {
		a, failed := v.call(ctx, vendorapi.Request{
			Operation: way.operation,
			Method:    http.MethodGet,
			URL:       v.purchaseURL(way.path),
			Secrets:   []string{name.token},
		})
		if failed != nil {
			return finding{verdict: userkit.Busy(failed.Err, failed.RetryAt)}
		}
		if a.Status == http.StatusOK {
			found, err := way.read(v, tokenName{way.kind, name.token}, product, a)
			if err == nil && found.verdict.Outcome == userkit.VerdictValid && found.verdict.Facts.ProductID == "" {
				err = errNotUnderstood
			}
			if err != nil {
				return finding{verdict: userkit.Undecided(fmt.Errorf("google: %s: %w", way.operation, err), time.Time{})}
			}
			return found
		}
		reason, ok := refusal(a)
		if !ok {
			return finding{verdict: userkit.Busy(googleapi.Refused(a), a.RetryAt(v.clock()))}
		}
		reasons = append(reasons, reason)
	}
	return finding{verdict: userkit.Invalid(mostTelling(reasons), userkit.PurchaseFacts{})}
}

func (v *Verifier) purchaseURL(path string) string {
	return v.baseURL + "/androidpublisher/v3/applications/" + v.packageName + "/purchases/" + path
}

// call makes a request with an access token. A token that is not taken, because it
// was revoked or because clocks disagree, is replaced once.
func (v *Verifier) call(ctx context.Context, r vendorapi.Request) (vendorapi.Answer, *googleapi.Failure) {
	for attempt := 1; ; attempt++ {
		token, failed := v.tokens.Current(ctx)
		if failed != nil {
			return vendorapi.Answer{}, failed
		}
		r.Bearer = token
		a, err := v.api.Do(ctx, r)
		if err != nil {
			return vendorapi.Answer{}, &googleapi.Failure{Err: err}
		}
		if a.Status != http.StatusUnauthorized {
			return a, nil
		}
		v.tokens.Forget(token)
		if attempt == 2 {
			return a, nil
		}
	}
}

// refusal says why the API has no such purchase; ok is false when the answer does not
// say that: it is no word of the API's, or it is about the application.
func refusal(a vendorapi.Answer) (reason userkit.PurchaseReason, ok bool) {
	switch a.Status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusGone:
	default:
		return "", false
	}
	parsed := googleapi.ReadError(a)
	if parsed == nil || parsed.Has("applicationNotFound") {
		return "", false
	}
	for _, listed := range parsed.Error.Errors {
		if listed.Location == "packageName" {
			return "", false
		}
	}
	switch {
	case parsed.Has("purchaseTokenDoesNotMatchPackageName"):
		return userkit.ReasonWrongApp, true
	case a.Status == http.StatusGone:
		return userkit.ReasonExpired, true
	default:
		return userkit.ReasonNotFound, true
	}
}

// mostTelling picks the reason that says more than that nothing was found.
func mostTelling(reasons []userkit.PurchaseReason) userkit.PurchaseReason {
	for _, reason := range reasons {
		if reason != userkit.ReasonNotFound {
			return reason
		}
	}
	return userkit.ReasonNotFound
}

// present is set for a JSON object that is there, whatever is in it.
type present = *struct{}

// accountIdentifiers is the ExternalAccountIdentifiers of the API.
type accountIdentifiers struct {
	ObfuscatedAccountID string `json:"obfuscatedExternalAccountId"`
	ObfuscatedProfileID string `json:"obfuscatedExternalProfileId"`
}

// subscriptionPurchase is the SubscriptionPurchaseV2 of
// https://developers.google.com/android-publisher/api-ref/rest/v3/purchases.subscriptionsv2,
// as far as it matters here.
type subscriptionPurchase struct {
	State                string             `json:"subscriptionState"`
	StartTime            string             `json:"startTime"`
	LatestOrderID        string             `json:"latestOrderId"`
	LinkedPurchaseToken  string             `json:"linkedPurchaseToken"`
	AcknowledgementState string             `json:"acknowledgementState"`
	TestPurchase         present            `json:"testPurchase"`
	AccountIdentifiers   accountIdentifiers `json:"externalAccountIdentifiers"`

	CanceledStateContext struct {
		Replacement present `json:"replacementCancellation"`
	} `json:"canceledStateContext"`

	PausedStateContext struct {
		AutoResumeTime string `json:"autoResumeTime"`
	} `json:"pausedStateContext"`

	// OutOfApp is there while a subscription that was bought again in the Play Store,
	// after the old one had expired, is not acknowledged.
	OutOfApp struct {
		AccountIdentifiers accountIdentifiers `json:"expiredExternalAccountIdentifiers"`
		PurchaseToken      string             `json:"expiredPurchaseToken"`
	} `json:"outOfAppPurchaseContext"`

	LineItems []subscriptionLine `json:"lineItems"`
}

// subscriptionLine is a SubscriptionPurchaseLineItem.
type subscriptionLine struct {
	ProductID               string `json:"productId"`
	ExpiryTime              string `json:"expiryTime"`
	LatestSuccessfulOrderID string `json:"latestSuccessfulOrderId"`
	OfferPhase              struct {
		FreeTrial present `json:"freeTrial"`
	} `json:"offerPhase"`

	expiresAt time.Time // of ExpiryTime; zero: none
}

const acknowledged = "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED"

func (v *Verifier) readSubscription(name tokenName, product string, a vendorapi.Answer) (finding, error) {
	var purchase subscriptionPurchase
	if err := json.Unmarshal(a.Body, &purchase); err != nil {
		return finding{}, errNotUnderstood
	}
	for i := range purchase.LineItems {
		var err error
		if purchase.LineItems[i].expiresAt, err = parseTime(purchase.LineItems[i].ExpiryTime); err != nil {
			return finding{}, err
		}
	}
	startedAt, err := parseTime(purchase.StartTime)
	if err != nil {
		return finding{}, err
	}
	now := v.clock()
	line := chooseLine(purchase.LineItems, product, now)
	facts := v.facts(name, a)
	facts.TransactionID = line.LatestSuccessfulOrderID
	if facts.TransactionID == "" {
		facts.TransactionID = purchase.LatestOrderID
	}
	facts.ProductID = line.ProductID
	facts.PurchasedAt = startedAt
	facts.ExpiresAt, facts.Items = lineEnds(purchase.LineItems)
	facts.Trial = line.OfferPhase.FreeTrial != nil
	if purchase.TestPurchase != nil {
		facts.Environment = userkit.Sandbox
	}
	facts.AccountToken = purchase.AccountIdentifiers.ObfuscatedAccountID
	if facts.AccountToken == "" {
		facts.AccountToken = purchase.OutOfApp.AccountIdentifiers.ObfuscatedAccountID
	}
	for _, older := range []string{purchase.LinkedPurchaseToken, purchase.OutOfApp.PurchaseToken} {
		if older != "" && older != name.token {
			facts.Supersedes = append(facts.Supersedes, StableID(older))
		}
	}
	if err := checkLengths(facts); err != nil || len(facts.Items) > userkit.MaxPurchaseItems {
		return finding{}, errNotUnderstood
	}
	verdict, err := subscriptionVerdict(purchase, facts, now)
	if err != nil {
		return finding{}, err
	}
	if verdict.Reason == userkit.ReasonPaused {
		if verdict.AskAt, err = parseTime(purchase.PausedStateContext.AutoResumeTime); err != nil {
			return finding{}, err
		}
	}
	return finding{
		verdict:      verdict,
		name:         name,
		found:        true,
		acknowledged: purchase.AcknowledgementState == acknowledged,
	}, nil
}

// subscriptionVerdict judges by the state and the clock.
func subscriptionVerdict(purchase subscriptionPurchase, facts userkit.PurchaseFacts, now time.Time) (userkit.Verdict, error) {
	replaced := purchase.CanceledStateContext.Replacement != nil
	good := facts.ExpiresAt.After(now)
	state, ok := strings.CutPrefix(purchase.State, "SUBSCRIPTION_STATE_")
	if !ok {
		return userkit.Verdict{}, errNotUnderstood
	}
	switch state {
	case "ACTIVE", "IN_GRACE_PERIOD", "CANCELED":
		switch {
		case state == "CANCELED" && replaced:
			return userkit.Invalid(userkit.ReasonSuperseded, facts), nil
		case facts.ExpiresAt.IsZero():
			return userkit.Verdict{}, errNotUnderstood
		case good:
			return userkit.Valid(facts), nil
		case state != "CANCELED" && now.Before(facts.ExpiresAt.Add(renewalLag)):
			return userkit.Verdict{}, errors.New("the subscription is active, and its renewal is not known yet")
		default:
			return userkit.Invalid(userkit.ReasonExpired, facts), nil
		}
	case "EXPIRED":
		switch {
		case replaced:
			return userkit.Invalid(userkit.ReasonSuperseded, facts), nil
		case good: // ended before its time
			return userkit.Invalid(userkit.ReasonRevoked, facts), nil
		default:
			return userkit.Invalid(userkit.ReasonExpired, facts), nil
		}
	case "PENDING":
		return userkit.Invalid(userkit.ReasonPending, facts), nil
	case "PAUSED":
		return userkit.Invalid(userkit.ReasonPaused, facts), nil
	case "ON_HOLD", "PENDING_PURCHASE_CANCELED":
		return userkit.Invalid(userkit.ReasonUnpaid, facts), nil
	default:
		return userkit.Verdict{}, errNotUnderstood
	}
}

// lineEnds returns when the last of the line items ends, and all of them where there are
// several.
func lineEnds(lines []subscriptionLine) (end time.Time, items []userkit.PurchaseItem) {
	for _, line := range lines {
		if line.expiresAt.After(end) {
			end = line.expiresAt
		}
		if len(lines) > 1 {
			items = append(items, userkit.PurchaseItem{
				ProductID: line.ProductID, ExpiresAt: line.expiresAt, Trial: line.OfferPhase.FreeTrial != nil,
			})
		}
	}
	return end, items
}

// chooseLine picks the line item whose product, order and trial are those of the purchase;
// the zero line when there is none.
func chooseLine(lines []subscriptionLine, product string, now time.Time) subscriptionLine {
	var best subscriptionLine
	for i, line := range lines {
		if i == 0 || betterLine(line, best, product, now) {
			best = line
		}
	}
	return best
}

func betterLine(line, than subscriptionLine, product string, now time.Time) bool {
	if good := line.expiresAt.After(now); good != than.expiresAt.After(now) {
		return good
	}
	if named := line.ProductID == product; named != (than.ProductID == product) {
		return named
	}
	return line.expiresAt.After(than.expiresAt)
}

// productPurchase is the ProductPurchase of
// https://developers.google.com/android-publisher/api-ref/rest/v3/purchases.products.
type productPurchase struct {
	State                *int        `json:"purchaseState"` // 0 purchased, 1 canceled, 2 pending
	PurchaseTimeMillis   json.Number `json:"purchaseTimeMillis"`
	OrderID              string      `json:"orderId"`
	PurchaseType         *int        `json:"purchaseType"` // 0 test, 1 promotion, 2 rewarded; none as a rule
	AcknowledgementState int         `json:"acknowledgementState"`
	ProductID            string      `json:"productId"`
	ObfuscatedAccountID  string      `json:"obfuscatedExternalAccountId"`
	RefundableQuantity   *int        `json:"refundableQuantity"` // 0: all of it was refunded
}

func (v *Verifier) readProduct(name tokenName, product string, a vendorapi.Answer) (finding, error) {
	var purchase productPurchase
	if err := json.Unmarshal(a.Body, &purchase); err != nil || purchase.State == nil {
		return finding{}, errNotUnderstood
	}
	facts := v.facts(name, a)
	facts.TransactionID = purchase.OrderID
	facts.ProductID = purchase.ProductID
	if facts.ProductID == "" {
		facts.ProductID = product
	}
	if text := purchase.PurchaseTimeMillis.String(); text != "" {
		milliseconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || milliseconds < 0 || milliseconds > maxMilliseconds {
			return finding{}, errNotUnderstood
		}
		facts.PurchasedAt = time.UnixMilli(milliseconds).UTC()
	}
	facts.AccountToken = purchase.ObfuscatedAccountID
	if purchase.PurchaseType != nil && *purchase.PurchaseType == 0 {
		facts.Environment = userkit.Sandbox
	}
	if err := checkLengths(facts); err != nil {
		return finding{}, err
	}
	found := finding{name: name, found: true, acknowledged: purchase.AcknowledgementState == 1}
	refunded := purchase.RefundableQuantity != nil && *purchase.RefundableQuantity == 0
	switch *purchase.State {
	case 0:
		if refunded {
			found.verdict = userkit.Invalid(userkit.ReasonRevoked, facts)
			break
		}
		found.verdict = userkit.Valid(facts)
	case 1:
		found.verdict = userkit.Invalid(userkit.ReasonRevoked, facts)
	case 2:
		found.verdict = userkit.Invalid(userkit.ReasonPending, facts)
	default:
		return finding{}, errNotUnderstood
	}
	return found, nil
}

// productPurchaseV2 is the ProductPurchaseV2 of
// https://developers.google.com/android-publisher/api-ref/rest/v3/purchases.productsv2.
type productPurchaseV2 struct {
	StateContext struct {
		State string `json:"purchaseState"`
	} `json:"purchaseStateContext"`
	TestContext            present `json:"testPurchaseContext"`
	OrderID                string  `json:"orderId"`
	PurchaseCompletionTime string  `json:"purchaseCompletionTime"`
	AcknowledgementState   string  `json:"acknowledgementState"`
	ObfuscatedAccountID    string  `json:"obfuscatedExternalAccountId"`
	LineItems              []struct {
		ProductID string `json:"productId"`
		Offer     struct {
			RefundableQuantity *int `json:"refundableQuantity"` // 0: all of it was refunded
		} `json:"productOfferDetails"`
	} `json:"productLineItem"`
}

func (v *Verifier) readProductV2(name tokenName, product string, a vendorapi.Answer) (finding, error) {
	var purchase productPurchaseV2
	if err := json.Unmarshal(a.Body, &purchase); err != nil || len(purchase.LineItems) == 0 {
		return finding{}, errNotUnderstood
	}
	facts := v.facts(name, a)
	facts.TransactionID = purchase.OrderID
	facts.ProductID = purchase.LineItems[0].ProductID
	about := 0
	for i, line := range purchase.LineItems {
		if line.ProductID == product {
			facts.ProductID, about = product, i
		}
	}
	left := purchase.LineItems[about].Offer.RefundableQuantity
	var err error
	if facts.PurchasedAt, err = parseTime(purchase.PurchaseCompletionTime); err != nil {
		return finding{}, err
	}
	facts.AccountToken = purchase.ObfuscatedAccountID
	if purchase.TestContext != nil {
		facts.Environment = userkit.Sandbox
	}
	if err := checkLengths(facts); err != nil {
		return finding{}, err
	}
	found := finding{name: name, found: true, acknowledged: purchase.AcknowledgementState == acknowledged}
	switch purchase.StateContext.State {
	case "PURCHASED":
		if left != nil && *left == 0 {
			found.verdict = userkit.Invalid(userkit.ReasonRevoked, facts)
			break
		}
		found.verdict = userkit.Valid(facts)
	case "CANCELLED":
		found.verdict = userkit.Invalid(userkit.ReasonRevoked, facts)
	case "PENDING":
		found.verdict = userkit.Invalid(userkit.ReasonPending, facts)
	default:
		return finding{}, errNotUnderstood
	}
	return found, nil
}

// facts are those that all purchases have.
func (v *Verifier) facts(name tokenName, a vendorapi.Answer) userkit.PurchaseFacts {
	return userkit.PurchaseFacts{
		StableID:    StableID(name.token),
		Environment: userkit.Production,
		Token:       name.String(),
		At:          a.Date(v.clock()),
		Raw:         withoutSecrets(a.Body, name.token),
	}
}

var errNotUnderstood = errors.New("the answer is not understood")

// maxMilliseconds is the end of the year 9999: later times have no text form.
const maxMilliseconds = 253402300799999

// parseTime reads a timestamp of the API: RFC 3339 with up to nine fractional digits.
// Empty is the zero time.
func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, errNotUnderstood
	}
	at = at.UTC().Truncate(time.Microsecond)
	if at.UnixMilli() < 0 || at.UnixMilli() > maxMilliseconds {
		return time.Time{}, errNotUnderstood
	}
	return at, nil
}

// checkLengths keeps out what no store could keep.
func checkLengths(facts userkit.PurchaseFacts) error {
	texts := []string{facts.TransactionID, facts.ProductID, facts.AccountToken}
	for _, item := range facts.Items {
		texts = append(texts, item.ProductID)
	}
	for _, text := range texts {
		if len(text) > userkit.MaxPurchaseID {
			return errNotUnderstood
		}
	}
	return nil
}

// withoutSecrets returns an answer without its tokens, and without the name and address
// of the person that "Subscribe with Google" adds; nil when it is too long to keep.
func withoutSecrets(body []byte, token string) json.RawMessage {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var content map[string]any
	if decoder.Decode(&content) != nil {
		return nil
	}
	strip(content)
	cleaned, err := json.Marshal(content)
	if err != nil || len(cleaned) > userkit.MaxPurchaseRaw || bytes.Contains(cleaned, []byte(token)) {
		return nil
	}
	return cleaned
}

func strip(value any) {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			if strings.Contains(strings.ToLower(key), "token") || key == "subscribeWithGoogleInfo" {
				delete(value, key)
				continue
			}
			strip(inner)
		}
	case []any:
		for _, inner := range value {
			strip(inner)
		}
	}
}
