package google

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/googleapi"
	"github.com/userkit/userkit/internal/vendorapi"
)

// Acknowledge reports to Google that the purchase was granted. Google refunds a purchase that is
// not acknowledged within three days, and a prepaid plan of less than a week within half of its
// time. Acknowledge makes no request if facts.Raw shows that the purchase was acknowledged. It also
// returns nil if there is nothing left to acknowledge, because the purchase is over, was revoked,
// or is no longer known to Google.
//
// It returns ErrInvalid with CodeBadFormat for a token that is not one of Google's, and otherwise
// ErrUnavailable with CodePurchaseUndecided; Error.Until is then when Google may be queried again.
func (v *Verifier) Acknowledge(ctx context.Context, receipt userkit.Receipt, facts userkit.PurchaseFacts) error {
	text := receipt.Token
	if facts.Token != "" {
		text = facts.Token
	}
	name, ok := parseToken(text)
	if !ok {
		return userkit.NewError(userkit.CodeBadFormat, "token", "not a purchase token")
	}
	known := readKept(facts.Raw)
	if known.acknowledged && facts.StableID == StableID(name.token) {
		return nil
	}
	if name.kind == kindUnknown {
		name.kind = known.kind
	}
	product := productHint(facts.ProductID)
	if product == "" {
		product = productHint(receipt.ProductID)
	}
	if name.kind == kindUnknown || product == "" {
		found := v.find(ctx, name, product)
		if done, err := settled(found); done {
			return err
		}
		name, product, known = found.name, productHint(found.verdict.Facts.ProductID), readKept(found.verdict.Facts.Raw)
		if product == "" {
			return unavailable(googleapi.Failure{Err: errNotUnderstood})
		}
	}

	path, body := "products/", []byte("{}")
	if name.kind == kindSubscription {
		path = "subscriptions/"
		if known.before != (accountIdentifiers{}) {
			var err error
			body, err = json.Marshal(acknowledgement{ExternalAccountIDs: externalAccountIDs(known.before)})
			if err != nil {
				return err
			}
		}
	}
	a, failed := v.call(ctx, vendorapi.Request{
		Operation: "purchases." + path[:len(path)-1] + ".acknowledge",
		Method:    http.MethodPost,
		URL:       v.purchaseURL(path + product + "/tokens/" + name.token + ":acknowledge"),
		Header:    http.Header{"Content-Type": {"application/json"}},
		Body:      body,
		Secrets:   []string{name.token},
	})
	if failed != nil {
		return unavailable(*failed)
	}
	refusedAs := googleapi.Failure{Err: googleapi.Refused(a), RetryAt: a.RetryAt(v.clock())}
	switch a.Status {
	case http.StatusOK, http.StatusNoContent:
		return nil
	case http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusGone, http.StatusPreconditionFailed:
		// Acknowledged by another process or by the app, or over in the meantime.
		if done, err := settled(v.find(ctx, name, product)); done {
			return err
		}
	}
	return unavailable(refusedAs)
}

// settled reports whether a purchase needs no acknowledgement, or cannot be judged now.
func settled(found finding) (done bool, err error) {
	switch {
	case found.acknowledged:
		return true, nil
	case found.verdict.Outcome == userkit.VerdictUndecided:
		return true, unavailable(googleapi.Failure{Err: found.verdict.Err, RetryAt: found.verdict.RetryAt})
	case !found.found:
		return true, nil
	case found.verdict.Outcome == userkit.VerdictValid:
		return false, nil
	}
	switch found.verdict.Reason {
	case userkit.ReasonExpired, userkit.ReasonRevoked, userkit.ReasonSuperseded:
		return true, nil
	default: // it may be paid yet
		return false, nil
	}
}

func unavailable(f googleapi.Failure) error {
	e := userkit.NewError(userkit.CodePurchaseUndecided, "", "Google Play gave no answer that decides").Because(f.Err)
	e.Until = f.RetryAt
	return e
}

// acknowledgement is the body of purchases.subscriptions.acknowledge.
type acknowledgement struct {
	ExternalAccountIDs externalAccountIDs `json:"externalAccountIds"`
}

// externalAccountIDs says whose a subscription is that was bought again in the Play Store,
// outside of the app, which had no occasion to say it. They come from the subscription
// that had expired.
type externalAccountIDs struct {
	ObfuscatedAccountID string `json:"obfuscatedAccountId,omitempty"`
	ObfuscatedProfileID string `json:"obfuscatedProfileId,omitempty"`
}

// kept is what PurchaseFacts.Raw says.
type kept struct {
	kind         kind
	acknowledged bool
	before       accountIdentifiers // of the expired subscription that was bought again outside of the app
}

// readKept reads the Raw of earlier facts; what it cannot read is not known.
func readKept(raw json.RawMessage) kept {
	var content struct {
		Kind                 string `json:"kind"`
		AcknowledgementState any    `json:"acknowledgementState"`
		OutOfApp             struct {
			AccountIdentifiers accountIdentifiers `json:"expiredExternalAccountIdentifiers"`
		} `json:"outOfAppPurchaseContext"`
	}
	if json.Unmarshal(raw, &content) != nil {
		return kept{}
	}
	known := kept{acknowledged: content.AcknowledgementState == acknowledged || content.AcknowledgementState == 1.0, before: content.OutOfApp.AccountIdentifiers}
	switch content.Kind {
	case "androidpublisher#subscriptionPurchaseV2":
		known.kind = kindSubscription
	case "androidpublisher#productPurchase":
		known.kind = kindProduct
	case "androidpublisher#productPurchaseV2":
		known.kind = kindProductV2
	}
	return known
}
