package google

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/userkit/userkit"
)

const (
	maxBearer  = 16 * 1024        // bytes of a push's token
	pushLeeway = 30 * time.Second // how far clocks may disagree
)

// ReadNotification reads a real-time developer notification as Pub/Sub pushes it
// (https://developer.android.com/google/play/billing/rtdn-reference). It only identifies the
// purchase that is to be verified again: the other content of the notification is not trusted.
//
// The bearer token of the push is checked as in
// https://docs.cloud.google.com/pubsub/docs/authenticate-push-subscriptions: signed by
// Google with RS256, in time, for Config.PushAudience and by
// Config.PushServiceAccount. ErrForbidden with CodeInvalidSignature is returned if it is not, if
// Config names no push subscription, or if the notification is about another application;
// ErrInvalid with CodeBadFormat if the body cannot be parsed; and ErrUnavailable with
// CodePurchaseUndecided if Google's keys cannot be fetched.
//
// The ID is Pub/Sub's messageId, which is the same if the message is sent again. A test
// notification, and one of an unknown kind, has no Receipt.
func (v *Verifier) ReadNotification(ctx context.Context, notification userkit.StoreNotification) (userkit.NotificationContent, error) {
	if v.push == nil {
		return userkit.NotificationContent{}, forged("no push subscription is configured")
	}
	if err := v.push.check(ctx, notification.Header); err != nil {
		return userkit.NotificationContent{}, err
	}
	return v.readPush(notification.Body)
}

func forged(format string, args ...any) error {
	return userkit.NewError(userkit.CodeInvalidSignature, "notification", format, args...)
}

func unreadable(format string, args ...any) error {
	return userkit.NewError(userkit.CodeBadFormat, "notification", format, args...)
}

// pushCheck knows the pushes of one subscription.
type pushCheck struct {
	audience string
	email    string
	keys     *keySet
	clock    func() time.Time
}

// pushClaims are the claims of a push's token.
type pushClaims struct {
	jwt.RegisteredClaims
	Email         string `json:"email"`
	EmailVerified bool   `json:"email_verified"`
}

// check verifies the token in the header of a push.
func (p *pushCheck) check(ctx context.Context, header map[string][]string) error {
	bearer, ok := bearerToken(header)
	if !ok {
		return forged("the push has no bearer token")
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}),
		jwt.WithAudience(p.audience),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(pushLeeway),
		jwt.WithTimeFunc(p.clock),
	)
	var claims pushClaims
	var unavailableKeys error
	_, err := parser.ParseWithClaims(bearer, &claims, func(token *jwt.Token) (any, error) {
		id, _ := token.Header["kid"].(string)
		if _, critical := token.Header["crit"]; critical || id == "" {
			return nil, errUnknownKey
		}
		key, err := p.keys.key(ctx, id)
		if err != nil {
			if !errors.Is(err, errUnknownKey) {
				unavailableKeys = err
			}
			return nil, err
		}
		return key, nil
	})
	switch {
	case unavailableKeys != nil:
		return userkit.NewError(userkit.CodePurchaseUndecided, "", "Google's keys cannot be had now").Because(unavailableKeys)
	case errors.Is(err, jwt.ErrTokenExpired):
		return forged("the push's token is expired")
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return forged("the push's token is for another audience")
	case err != nil:
		return forged("the push's token is not valid")
	}
	if claims.Issuer != "https://accounts.google.com" && claims.Issuer != "accounts.google.com" {
		return forged("the push's token has another issuer")
	}
	if claims.Email != p.email || !claims.EmailVerified {
		return forged("the push's token is of another account")
	}
	return nil
}

// bearerToken finds the one token of a request.
func bearerToken(header map[string][]string) (string, bool) {
	var values []string
	for name, all := range header {
		if strings.EqualFold(name, "Authorization") {
			values = append(values, all...)
		}
	}
	if len(values) != 1 || len(values[0]) > maxBearer {
		return "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

// pushBody is what Pub/Sub posts.
type pushBody struct {
	Message struct {
		Data           string `json:"data"`
		MessageID      string `json:"messageId"`
		MessageIDAlias string `json:"message_id"`
	} `json:"message"`
}

// developerNotification is the content of a message. One of the pointers is set.
type developerNotification struct {
	PackageName  string `json:"packageName"`
	Subscription *struct {
		PurchaseToken string `json:"purchaseToken"`
	} `json:"subscriptionNotification"`
	OneTimeProduct *struct {
		PurchaseToken string `json:"purchaseToken"`
		SKU           string `json:"sku"`
	} `json:"oneTimeProductNotification"`
	VoidedPurchase *struct {
		PurchaseToken string `json:"purchaseToken"`
	} `json:"voidedPurchaseNotification"`

	// RefundReview asks the developer, within 24 hours, about a chargeback.
	RefundReview *struct {
		Token     string `json:"pendingRefundToken"`
		OrderID   string `json:"orderId"`
		AccountID string `json:"obfuscatedAccountId"`
	} `json:"pendingRefundReviewNotification"`
}

// readPush reads the body of a push whose token was checked.
func (v *Verifier) readPush(body []byte) (userkit.NotificationContent, error) {
	none := userkit.NotificationContent{}
	if len(body) > userkit.MaxStoreNotification {
		return none, unreadable("longer than %d bytes", userkit.MaxStoreNotification)
	}
	var push pushBody
	if json.Unmarshal(body, &push) != nil {
		return none, unreadable("not a push of Pub/Sub")
	}
	content := userkit.NotificationContent{ID: push.Message.MessageID}
	if content.ID == "" {
		content.ID = push.Message.MessageIDAlias
	}
	if content.ID == "" || len(content.ID) > userkit.MaxPurchaseID {
		return none, unreadable("no id of the message")
	}
	data, err := base64.StdEncoding.DecodeString(push.Message.Data)
	if err != nil {
		return none, unreadable("the data are not in base64")
	}
	var message developerNotification
	if json.Unmarshal(data, &message) != nil {
		return none, unreadable("the data are not a notification")
	}
	if message.PackageName == "" {
		return none, unreadable("no name of a package")
	}
	if message.PackageName != v.packageName {
		return none, forged("the notification is about another application")
	}

	var names []tokenName
	if message.Subscription != nil {
		names = append(names, tokenName{kindSubscription, message.Subscription.PurchaseToken})
	}
	if message.OneTimeProduct != nil {
		names = append(names, tokenName{kindProductV2, message.OneTimeProduct.PurchaseToken})
		content.Receipt.ProductID = productHint(message.OneTimeProduct.SKU)
	}
	if message.VoidedPurchase != nil {
		names = append(names, tokenName{kindUnknown, message.VoidedPurchase.PurchaseToken})
	}
	if review := message.RefundReview; review != nil {
		if len(names) > 0 || len(review.Token) > userkit.MaxReceipt || len(review.OrderID) > userkit.MaxPurchaseID || len(review.AccountID) > userkit.MaxPurchaseID {
			return none, unreadable("not about one refund")
		}
		content.Receipt.Store = v.store
		content.RefundRequest = &userkit.RefundRequest{TransactionID: review.OrderID, AccountToken: review.AccountID, Reply: review.Token}
	}
	if len(names) == 0 {
		return content, nil
	}
	name, ok := parseToken(names[0].String())
	if len(names) > 1 || !ok || name != names[0] {
		return none, unreadable("not about one purchase")
	}
	content.StableID = StableID(name.token)
	content.Receipt.Store = v.store
	content.Receipt.Token = name.String()
	return content, nil
}
