package apple

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/userkit/userkit"
)

// date is a time in UNIX milliseconds, which may have a fraction. It is zero when
// it is absent or null.
type date struct{ time.Time }

var errDate = errors.New("apple: a date is not a number of milliseconds")

// UnmarshalJSON reads years 1 to 9999, to the microsecond.
func (d *date) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	milliseconds, err := strconv.ParseFloat(string(data), 64)
	if err != nil {
		return errDate
	}
	microseconds := math.Round(milliseconds * 1000)
	at := time.UnixMicro(int64(microseconds)).UTC()
	if math.Abs(microseconds) > 1e18 || at.Year() < 1 || at.Year() > 9999 {
		return errDate
	}
	d.Time = at
	return nil
}

// The types of products ("type", App Store Server API).
const (
	autoRenewable = "Auto-Renewable Subscription"
	nonConsumable = "Non-Consumable"
	consumable    = "Consumable"
	nonRenewing   = "Non-Renewing Subscription"
)

// transaction is what is needed of a JWSTransactionDecodedPayload.
type transaction struct {
	TransactionID         string `json:"transactionId"`
	OriginalTransactionID string `json:"originalTransactionId"`
	BundleID              string `json:"bundleId"`
	ProductID             string `json:"productId"`
	Type                  string `json:"type"`
	Environment           string `json:"environment"`
	OwnershipType         string `json:"inAppOwnershipType"`
	OfferDiscountType     string `json:"offerDiscountType"`
	AppAccountToken       string `json:"appAccountToken"`
	IsUpgraded            bool   `json:"isUpgraded"`
	PurchaseDate          date   `json:"purchaseDate"`
	ExpiresDate           date   `json:"expiresDate"`
	RevocationDate        date   `json:"revocationDate"`
	SignedDate            date   `json:"signedDate"`

	raw         json.RawMessage
	environment userkit.Environment
}

// renewalInfo is what is needed of a JWSRenewalInfoDecodedPayload.
type renewalInfo struct {
	OriginalTransactionID  string `json:"originalTransactionId"`
	Environment            string `json:"environment"`
	GracePeriodExpiresDate date   `json:"gracePeriodExpiresDate"`
	SignedDate             date   `json:"signedDate"`

	raw json.RawMessage
}

// wrongError is about a payload that Apple signed, for something else.
type wrongError struct {
	reason userkit.PurchaseReason
	text   string
}

func (e *wrongError) Error() string { return "apple: " + e.text }

var (
	errNoTransaction    = &wrongError{userkit.ReasonNotFound, "the signed data is not a transaction"}
	errWrongApp         = &wrongError{userkit.ReasonWrongApp, "the signed data is of another app"}
	errWrongEnvironment = &wrongError{userkit.ReasonEnvironment, "the signed data is of an environment that does not count"}
)

// environmentOf translates the name of an environment. It returns
// errWrongEnvironment for one that does not count here.
func (v *Verifier) environmentOf(name string) (userkit.Environment, error) {
	var environment userkit.Environment
	switch name {
	case "Production":
		environment = userkit.Production
	case "Sandbox":
		environment = userkit.Sandbox
	case "Xcode", "LocalTesting":
		// Data of a developer's machine proves nothing where the App Store counts.
		if v.environments[0] != userkit.Sandbox {
			return "", errWrongEnvironment
		}
		environment = userkit.Sandbox
	}
	if !slices.Contains(v.environments, environment) {
		return "", errWrongEnvironment
	}
	return environment, nil
}

// openTransaction checks and reads a JWSTransaction. It returns a forgedError,
// one of the wrongErrors, or the error of a context that is over.
func (v *Verifier) openTransaction(ctx context.Context, signed string) (*transaction, error) {
	raw, err := v.trust.open(ctx, signed)
	if err != nil {
		return nil, err
	}
	opened := &transaction{raw: raw}
	if json.Unmarshal(raw, opened) != nil || !isID(opened.TransactionID) || !isID(opened.OriginalTransactionID) {
		return nil, errNoTransaction
	}
	if opened.BundleID != v.bundleID {
		return nil, errWrongApp
	}
	if opened.environment, err = v.environmentOf(opened.Environment); err != nil {
		return nil, err
	}
	return opened, nil
}

// openAnswer checks and reads a JWSTransaction that an environment has answered.
func (v *Verifier) openAnswer(ctx context.Context, signed string, environment userkit.Environment) (*transaction, error) {
	opened, err := v.openTransaction(ctx, signed)
	if err == nil && opened.environment != environment {
		return nil, errWrongEnvironment
	}
	return opened, err
}

// openRenewal checks and reads a JWSRenewalInfo of an environment. It names no app:
// what it belongs to is known by its transaction.
func (v *Verifier) openRenewal(ctx context.Context, signed string, environment userkit.Environment) (*renewalInfo, error) {
	raw, err := v.trust.open(ctx, signed)
	if err != nil {
		return nil, err
	}
	opened := &renewalInfo{raw: raw}
	if json.Unmarshal(raw, opened) != nil || !isID(opened.OriginalTransactionID) {
		return nil, errors.New("apple: the signed data is not renewal information")
	}
	of, err := v.environmentOf(opened.Environment)
	if err == nil && of != environment {
		err = errWrongEnvironment
	}
	return opened, err
}

// facts are what a transaction says, for the next time to be verified by its
// original id.
func (t *transaction) facts(renewal *renewalInfo, status int) userkit.PurchaseFacts {
	facts := userkit.PurchaseFacts{
		StableID:      t.OriginalTransactionID,
		TransactionID: t.TransactionID,
		ProductID:     t.ProductID,
		Environment:   t.environment,
		PurchasedAt:   t.PurchaseDate.Time,
		ExpiresAt:     t.ExpiresDate.Time,
		Trial:         t.OfferDiscountType == "FREE_TRIAL",
		FamilyShared:  t.OwnershipType == "FAMILY_SHARED",
		AccountToken:  t.AppAccountToken,
		Token:         t.OriginalTransactionID,
		At:            t.SignedDate.Time,
	}
	said := struct {
		Status      int             `json:"status,omitempty"`
		Transaction json.RawMessage `json:"transaction"`
		Renewal     json.RawMessage `json:"renewal,omitempty"`
	}{Status: status, Transaction: t.raw}
	if renewal != nil {
		said.Renewal = renewal.raw
		if renewal.SignedDate.After(facts.At) {
			facts.At = renewal.SignedDate.Time
		}
	}
	if raw, err := json.Marshal(said); err == nil && len(raw) <= userkit.MaxPurchaseRaw {
		facts.Raw = raw
	}
	return facts
}

// over is the verdict on a transaction that was refunded, revoked or upgraded,
// whatever its status. A refund of a part ends it too: for a subscription Apple pays
// back the time that is left.
func (t *transaction) over(facts userkit.PurchaseFacts) (userkit.Verdict, bool) {
	if at := t.RevocationDate; !at.IsZero() {
		if facts.ExpiresAt.IsZero() || at.Before(facts.ExpiresAt) {
			facts.ExpiresAt = at.Time
		}
		return userkit.Invalid(userkit.ReasonRevoked, facts), true
	}
	if t.IsUpgraded {
		return userkit.Invalid(userkit.ReasonSuperseded, facts), true
	}
	return userkit.Verdict{}, false
}
