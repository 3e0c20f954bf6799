package apple

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/vendorapi"
)

// maxAnswer bounds the body of an answer, in bytes. A subscription takes some 10
// KiB of it, and a customer has few.
const maxAnswer = 4 << 20

// The error codes ("Error codes", App Store Server API) by which the App Store says
// that there is no such purchase. Those named *_RETRYABLE, all about the request
// or the app, and unknown ones say nothing about the purchase.
var notFoundCodes = map[int64]bool{
	4000006: true, // invalid transaction id
	4000008: true, // invalid original transaction id
	4000048: true, // the id is that of the app's download
	4040001: true, // account not found
	4040005: true, // original transaction id not found
	4040010: true, // transaction id not found
}

var errOtherAnswer = errors.New("apple: the answer is about another transaction")

// refusalError is an answer other than 200.
type refusalError struct {
	status   int
	code     int64
	notFound bool
	retryAt  time.Time
}

func (e *refusalError) Error() string {
	text := fmt.Sprintf("apple: the App Store answered with status %d", e.status)
	if e.code != 0 {
		text += fmt.Sprintf(", error code %d", e.code)
	}
	if e.status == http.StatusUnauthorized {
		text += ": check the key, its id, the issuer and the bundle id"
	}
	return text
}

// askTransaction gets a transaction ("Get Transaction Info").
func (v *Verifier) askTransaction(ctx context.Context, environment userkit.Environment, id string) (*transaction, error) {
	var answer struct {
		SignedTransactionInfo string `json:"signedTransactionInfo"`
	}
	if err := v.get(ctx, environment, "transaction", "/inApps/v1/transactions/", id, &answer); err != nil {
		return nil, err
	}
	latest, err := v.openAnswer(ctx, answer.SignedTransactionInfo, environment)
	if err == nil && latest.TransactionID != id {
		return nil, errOtherAnswer
	}
	return latest, err
}

// subscriptionGroup is a SubscriptionGroupIdentifierItem.
type subscriptionGroup struct {
	LastTransactions []lastTransaction `json:"lastTransactions"`
}

// lastTransaction is a LastTransactionsItem.
type lastTransaction struct {
	Status                int    `json:"status"`
	OriginalTransactionID string `json:"originalTransactionId"`
	SignedTransactionInfo string `json:"signedTransactionInfo"`
	SignedRenewalInfo     string `json:"signedRenewalInfo"`
}

// statuses gets all subscriptions of the customer who has a transaction ("Get All
// Subscription Statuses").
func (v *Verifier) statuses(ctx context.Context, environment userkit.Environment, id string) ([]subscriptionGroup, error) {
	var answer struct {
		subject
		Data []subscriptionGroup `json:"data"`
	}
	if err := v.get(ctx, environment, "subscriptions", "/inApps/v1/subscriptions/", id, &answer); err != nil {
		return nil, err
	}
	of, err := v.check(answer.subject)
	if err == nil && of != environment {
		err = errWrongEnvironment
	}
	return answer.Data, err
}

// subject is what an unsigned answer or a notification is about.
type subject struct {
	Environment string `json:"environment"`
	AppAppleID  int64  `json:"appAppleId"`
	BundleID    string `json:"bundleId"`
}

// check returns the environment of a subject, or errWrongApp or
// errWrongEnvironment. The app id exists in production only.
func (v *Verifier) check(about subject) (userkit.Environment, error) {
	if about.BundleID != v.bundleID {
		return "", errWrongApp
	}
	environment, err := v.environmentOf(about.Environment)
	if err != nil {
		return "", err
	}
	absent := about.AppAppleID == 0 || v.appID == 0
	if about.AppAppleID != v.appID && (environment == userkit.Production || !absent) {
		return "", errWrongApp
	}
	return environment, nil
}

// get sends a request and decodes the answer. Its errors name neither the
// transaction nor the token.
func (v *Verifier) get(ctx context.Context, environment userkit.Environment, operation, path, id string, answer any) error {
	token, err := v.token()
	if err != nil {
		return errors.New("apple: the token could not be signed")
	}
	answered, err := v.api.Do(ctx, vendorapi.Request{
		Operation: operation,
		Method:    http.MethodGet,
		URL:       v.baseURLs[environment] + path + url.PathEscape(id),
		Bearer:    token,
		Secrets:   []string{id},
	})
	if err != nil {
		return err
	}
	if answered.Status != http.StatusOK {
		return v.refusal(answered)
	}
	if json.Unmarshal(answered.Body, answer) != nil {
		return fmt.Errorf("apple: %s: the answer cannot be read", operation)
	}
	return nil
}

// token signs a token for one request ("Generating JSON Web Tokens for API
// requests").
func (v *Verifier) token() (string, error) {
	now := v.clock()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": v.issuerID,
		"iat": now.Unix(),
		"exp": now.Add(v.lifetime).Unix(),
		"aud": "appstoreconnect-v1",
		"bid": v.bundleID,
	})
	token.Header["kid"] = v.keyID
	return token.SignedString(v.privateKey)
}

// refusal reads an answer other than 200. Not found is only what says so by its
// status and its code: a 404 without a code comes from something that is not the
// API.
func (v *Verifier) refusal(answered vendorapi.Answer) error {
	var answer struct {
		ErrorCode int64 `json:"errorCode"`
	}
	if json.Unmarshal(answered.Body, &answer) != nil {
		answer.ErrorCode = 0
	}
	return &refusalError{
		status:   answered.Status,
		code:     answer.ErrorCode,
		notFound: notFoundCodes[answer.ErrorCode] && answer.ErrorCode/10_000 == int64(answered.Status),
		retryAt:  answered.RetryAt(v.clock()),
	}
}
