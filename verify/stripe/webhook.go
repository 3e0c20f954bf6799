package stripe

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// maxSignatureHeader bounds the Stripe-Signature header; Stripe's own has two or three
// signatures of 67 bytes.
const maxSignatureHeader = 4096 // bytes

// ReadNotification checks and reads an event that Stripe sent to a webhook endpoint
// (https://docs.stripe.com/webhooks). Each v1 signature in the Stripe-Signature header
// is compared with that of each of Config.WebhookSecrets; one match is enough. The time
// that was signed must be within Config.Tolerance of the clock.
//
// ID is the id of the event. An event about a subscription or about an invoice of one
// names the subscription, whatever its type: also types that did not exist when this
// was written. Every other event is about no purchase. So is one of the other mode (a
// live endpoint of Stripe Connect gets events of test mode too,
// https://docs.stripe.com/connect/webhooks), and one of a connected account: the key
// cannot ask about them.
//
// It makes no request. It returns ErrForbidden with CodeInvalidSignature for a request that is not
// signed with one of the secrets within the tolerance, and ErrInvalid with CodeBadFormat for a body
// that is not an event.
func (v *Verifier) ReadNotification(_ context.Context, notification userkit.StoreNotification) (userkit.NotificationContent, error) {
	if len(notification.Body) > userkit.MaxStoreNotification {
		return userkit.NotificationContent{}, badEvent("the body is longer than %d bytes", userkit.MaxStoreNotification)
	}
	header, err := signatureHeader(notification.Header)
	if err != nil {
		return userkit.NotificationContent{}, badSignature(err)
	}
	if err := v.checkSignature(header, notification.Body); err != nil {
		return userkit.NotificationContent{}, badSignature(err)
	}
	return v.readEvent(notification.Body)
}

func badEvent(format string, args ...any) error {
	return userkit.NewError(userkit.CodeBadFormat, "notification", format, args...)
}

func badSignature(cause error) error {
	return userkit.NewError(userkit.CodeInvalidSignature, "notification", "not signed by Stripe for this endpoint").Because(cause)
}

// signatureHeader finds the one Stripe-Signature header, however it is capitalized: a
// host may have the headers from something else than net/http.
func signatureHeader(header map[string][]string) (string, error) {
	var found []string
	for name, values := range header {
		if strings.EqualFold(name, "Stripe-Signature") {
			found = append(found, values...)
		}
	}
	if len(found) != 1 {
		return "", errors.New("there is not exactly one Stripe-Signature header")
	}
	return found[0], nil
}

// signature is what a Stripe-Signature header says.
type signature struct {
	signedAt string // in seconds since 1970, as it was signed
	at       time.Time
	v1       [][]byte // the signatures of the scheme v1
}

var errSignatureForm = errors.New("the Stripe-Signature header has an unknown form")

// parseSignature reads a Stripe-Signature header: "t=…,v1=…,v1=…,v0=…". Signatures of
// other schemes do not count, so that nobody can have a weaker one checked.
func parseSignature(header string) (signature, error) {
	var parsed signature
	if len(header) > maxSignatureHeader {
		return signature{}, errSignatureForm
	}
	for element := range strings.SplitSeq(header, ",") {
		name, value, found := strings.Cut(element, "=")
		if !found {
			return signature{}, errSignatureForm
		}
		switch name {
		case "t":
			seconds, err := strconv.ParseUint(value, 10, 40)
			if err != nil || parsed.signedAt != "" {
				return signature{}, errSignatureForm
			}
			parsed.signedAt, parsed.at = value, time.Unix(int64(seconds), 0)
		case "v1":
			if digest, err := hex.DecodeString(value); err == nil && len(digest) == sha256.Size {
				parsed.v1 = append(parsed.v1, digest)
			}
		}
	}
	if parsed.signedAt == "" {
		return signature{}, errSignatureForm
	}
	return parsed, nil
}

// checkSignature tells whether Stripe signed this body, and lately.
func (v *Verifier) checkSignature(header string, body []byte) error {
	parsed, err := parseSignature(header)
	if err != nil {
		return err
	}
	matches := false
	for _, secret := range v.secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(parsed.signedAt + "."))
		mac.Write(body)
		expected := mac.Sum(nil)
		for _, shown := range parsed.v1 {
			if hmac.Equal(expected, shown) {
				matches = true
			}
		}
	}
	if !matches {
		return errors.New("no signature is right")
	}
	if v.clock().Sub(parsed.at).Abs() > v.tolerance {
		return errors.New("the signature is not of this time")
	}
	return nil
}

// event is what is read of an Event (https://docs.stripe.com/api/events/object).
type event struct {
	ID       string `json:"id"`
	Object   string `json:"object"`
	Livemode *bool  `json:"livemode"`
	Account  string `json:"account"` // the connected account that it happened in
	Data     struct {
		Object json.RawMessage `json:"object"`
	} `json:"data"`
}

// eventInvoice is what is read of the invoice of an event. Events come in the version
// of the endpoint, and before 2025-03-31.basil an invoice named its subscription itself
// (https://docs.stripe.com/changelog/basil/2025-03-31/adds-new-parent-field-to-invoicing-objects).
type eventInvoice struct {
	Parent struct {
		SubscriptionDetails struct {
			Subscription reference `json:"subscription"`
		} `json:"subscription_details"`
	} `json:"parent"`
	Subscription reference `json:"subscription"`
}

// readEvent reads an event whose signature is right.
func (v *Verifier) readEvent(body []byte) (userkit.NotificationContent, error) {
	var read event
	if json.Unmarshal(body, &read) != nil || read.ID == "" || plain(read.ID) != read.ID {
		return userkit.NotificationContent{}, badEvent("the body is not an event of Stripe")
	}
	content := userkit.NotificationContent{ID: read.ID, Receipt: userkit.Receipt{Store: v.store}}
	if read.Object != "event" { // one of API v2, which are about other things
		return content, nil
	}
	if read.Livemode == nil {
		return userkit.NotificationContent{}, badEvent("the event is of no mode")
	}
	if *read.Livemode != v.live || read.Account != "" {
		return content, nil
	}
	id, err := subscriptionOf(read.Data.Object)
	if err != nil {
		return userkit.NotificationContent{}, err
	}
	content.StableID, content.Receipt.Token = id, id
	return content, nil
}

// subscriptionOf returns the id of the subscription that the object of an event is, or
// belongs to; empty where there is none.
func subscriptionOf(object json.RawMessage) (string, error) {
	var kind struct {
		Object string `json:"object"`
	}
	if json.Unmarshal(object, &kind) != nil {
		return "", badEvent("the event has no object")
	}
	var id string
	switch kind.Object {
	case "subscription":
		var shown struct {
			ID string `json:"id"`
		}
		if json.Unmarshal(object, &shown) != nil || shown.ID == "" {
			return "", badEvent("the event has a subscription that cannot be read")
		}
		id = shown.ID
	case "invoice":
		var shown eventInvoice
		if json.Unmarshal(object, &shown) != nil {
			return "", badEvent("the event has an invoice that cannot be read")
		}
		id = string(shown.Parent.SubscriptionDetails.Subscription)
		if id == "" {
			id = string(shown.Subscription)
		}
	}
	if id != "" && !subscriptionPattern.MatchString(id) {
		return "", badEvent("the event names a subscription by no id of one")
	}
	return id, nil
}
