package apple

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/userkit/userkit"
)

// notificationData is what a notification is about, in any of its four forms.
type notificationData struct {
	subject
	SignedTransactionInfo string `json:"signedTransactionInfo"`
	SignedRenewalInfo     string `json:"signedRenewalInfo"`
	ExternalPurchaseID    string `json:"externalPurchaseId"`
}

// notificationPayload is a responseBodyV2DecodedPayload.
type notificationPayload struct {
	Type string `json:"notificationType"`
	UUID string `json:"notificationUUID"`

	// One of these is there.
	Data                  *notificationData `json:"data"`
	Summary               *notificationData `json:"summary"`
	AppData               *notificationData `json:"appData"`
	ExternalPurchaseToken *notificationData `json:"externalPurchaseToken"`
}

// ReadNotification checks and reads an App Store Server Notification of version 2.
// The notification's signature, bundle id, app id and environment are checked, and
// those of the transaction in it. Every notification about a purchase means that it
// is to be verified again, whatever its type: also types that did not exist when
// this was written. ID is the notificationUUID. A
// CONSUMPTION_REQUEST asks the host before Apple decides on a refund (RefundRequest). Tests, summaries and notifications
// about the app itself are about no purchase.
//
// It makes no request, and returns ErrForbidden with CodeInvalidSignature for what
// Apple did not sign, or not for this app and these environments, and ErrInvalid
// with CodeBadFormat for what is no notification of version 2. Its work is bounded,
// whatever is sent, and it returns the error of a context that is over.
func (v *Verifier) ReadNotification(ctx context.Context, notification userkit.StoreNotification) (userkit.NotificationContent, error) {
	if len(notification.Body) > userkit.MaxStoreNotification {
		return userkit.NotificationContent{}, badNotification("is too long")
	}
	var body struct {
		SignedPayload string `json:"signedPayload"`
	}
	if json.Unmarshal(notification.Body, &body) != nil || body.SignedPayload == "" {
		return userkit.NotificationContent{}, badNotification("is no notification of version 2")
	}
	raw, err := v.trust.open(ctx, body.SignedPayload)
	if err != nil {
		return userkit.NotificationContent{}, notFromApple(err)
	}
	var payload notificationPayload
	if json.Unmarshal(raw, &payload) != nil || payload.Type == "" || payload.UUID == "" || len(payload.UUID) > 128 {
		return userkit.NotificationContent{}, badNotification("has a payload of an unknown form")
	}

	about := payload.Data
	switch {
	case about != nil:
	case payload.Summary != nil:
		about = payload.Summary
	case payload.AppData != nil:
		about = payload.AppData
	case payload.ExternalPurchaseToken != nil:
		about = payload.ExternalPurchaseToken
		about.Environment = "Production"
		if strings.HasPrefix(about.ExternalPurchaseID, "SANDBOX") {
			about.Environment = "Sandbox"
		}
	default:
		return userkit.NotificationContent{}, badNotification("is about nothing that is known")
	}
	environment, err := v.check(about.subject)
	if err != nil {
		return userkit.NotificationContent{}, notFromApple(err)
	}

	content := userkit.NotificationContent{
		ID: payload.UUID, Receipt: userkit.Receipt{Store: v.name},
	}
	if payload.Type == "CONSUMPTION_REQUEST" {
		content.RefundRequest = &userkit.RefundRequest{}
	}
	switch {
	case about.SignedTransactionInfo != "":
		shown, err := v.openAnswer(ctx, about.SignedTransactionInfo, environment)
		if errors.Is(err, errNoTransaction) {
			return userkit.NotificationContent{}, badNotification("has a transaction of an unknown form")
		}
		if err != nil {
			return userkit.NotificationContent{}, notFromApple(err)
		}
		content.StableID = shown.OriginalTransactionID
		content.Receipt.ProductID = shown.ProductID
		content.Receipt.Token = shown.TransactionID
		if shown.Type == autoRenewable {
			content.Receipt.Token = shown.OriginalTransactionID
		}
	case about.SignedRenewalInfo != "":
		renewal, err := v.openRenewal(ctx, about.SignedRenewalInfo, environment)
		if err != nil {
			return userkit.NotificationContent{}, notFromApple(err)
		}
		content.StableID = renewal.OriginalTransactionID
		content.Receipt.Token = renewal.OriginalTransactionID
	}
	return content, nil
}

func badNotification(text string) error {
	return userkit.NewError(userkit.CodeBadFormat, "notification", "the body %s", text)
}

func notFromApple(cause error) error {
	if errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return userkit.NewError(userkit.CodeInvalidSignature, "notification", "not of the App Store for this app").Because(cause)
}
