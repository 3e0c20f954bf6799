package google

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/userkit/userkit/verify/internal/storeapi"
)

const (
	scope     = "https://www.googleapis.com/auth/androidpublisher"
	grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer"

	assertionLife = time.Hour        // the longest that Google takes
	assertionSkew = 30 * time.Second // how far this machine's clock may be ahead

	tokenMargin  = time.Minute // how long before its end an access token is not used any more
	maxTokenLife = 24 * time.Hour

	tokenPause    = 10 * time.Second // without a Retry-After, after a token was refused
	maxTokenPause = 10 * time.Minute
)

// serviceAccount is who this process is to Google.
type serviceAccount struct {
	email    string
	keyID    string
	key      *rsa.PrivateKey
	tokenURL string
}

// parseServiceAccount reads the content of a JSON key file. Its errors tell nothing
// of the content.
func parseServiceAccount(content []byte, allowed []string) (serviceAccount, error) {
	const field = "ServiceAccountKey"
	var file struct {
		Type         string `json:"type"`
		PrivateKeyID string `json:"private_key_id"`
		PrivateKey   string `json:"private_key"`
		ClientEmail  string `json:"client_email"`
		TokenURI     string `json:"token_uri"`
	}
	if json.Unmarshal(content, &file) != nil {
		return serviceAccount{}, invalidOption(field, "the content of a JSON key file is needed")
	}
	if file.Type != "service_account" {
		return serviceAccount{}, invalidOption(field, "the type is not service_account")
	}
	if file.ClientEmail == "" {
		return serviceAccount{}, invalidOption(field, "client_email is missing")
	}
	if !slices.Contains(allowed, file.TokenURI) {
		return serviceAccount{}, invalidOption(field, "token_uri is not one of the allowed addresses")
	}
	key, err := parsePrivateKey(file.PrivateKey)
	if err != nil {
		return serviceAccount{}, invalidOption(field, "%s", err)
	}
	return serviceAccount{email: file.ClientEmail, keyID: file.PrivateKeyID, key: key, tokenURL: file.TokenURI}, nil
}

func parsePrivateKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("private_key is not in PEM form")
	}
	var key *rsa.PrivateKey
	if parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		key, _ = parsed.(*rsa.PrivateKey)
	} else if parsed, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		key = parsed
	}
	if key == nil {
		return nil, errors.New("private_key is not an RSA key")
	}
	if key.N.BitLen() < 2048 {
		return nil, errors.New("private_key is shorter than 2048 bits")
	}
	return key, nil
}

// failure is why nothing is decided: what happened, and when to ask again.
type failure struct {
	err     error
	retryAt time.Time // zero: not known
}

// tokenSource keeps the access token of a service account.
type tokenSource struct {
	account serviceAccount
	api     *storeapi.Client
	clock   func() time.Time
	turn    chan struct{} // filled by the one that refreshes

	mutex    sync.Mutex
	token    string
	endsAt   time.Time
	failed   *failure // the last refresh, until pausedTo
	pausedTo time.Time
}

func newTokenSource(account serviceAccount, api *storeapi.Client, clock func() time.Time) *tokenSource {
	return &tokenSource{account: account, api: api, clock: clock, turn: make(chan struct{}, 1)}
}

// current gives the access token, getting a new one where there is none. One caller
// refreshes, the others wait for it or for the end of their context. A refresh that
// failed is everybody's answer for a while, so that a thousand purchases do not ask a
// thousand times.
func (s *tokenSource) current(ctx context.Context) (string, *failure) {
	if token, failed := s.known(); token != "" || failed != nil {
		return token, failed
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return "", &failure{err: fmt.Errorf("google: access token: %w", ctx.Err())}
	}
	if token, failed := s.known(); token != "" || failed != nil {
		return token, failed
	}
	token, life, failed := s.refresh(ctx)

	s.mutex.Lock()
	defer s.mutex.Unlock()
	now := s.clock()
	if failed == nil {
		s.token, s.endsAt = token, now.Add(life-min(tokenMargin, life/2))
		s.failed = nil
		return token, nil
	}
	if ctx.Err() == nil { // else it was the caller who gave up
		s.pausedTo = now.Add(tokenPause)
		if failed.retryAt.After(s.pausedTo) {
			s.pausedTo = failed.retryAt
		}
		if latest := now.Add(maxTokenPause); s.pausedTo.After(latest) {
			s.pausedTo = latest
		}
		if failed.retryAt.IsZero() {
			failed.retryAt = s.pausedTo.UTC()
		}
		s.failed = failed
	}
	return "", failed
}

// known gives what is to be had without a request.
func (s *tokenSource) known() (string, *failure) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	now := s.clock()
	if s.token != "" && now.Before(s.endsAt) {
		return s.token, nil
	}
	if s.failed != nil && now.Before(s.pausedTo) {
		return "", s.failed
	}
	return "", nil
}

// forget drops a token that the API does not take, unless it was replaced already.
func (s *tokenSource) forget(token string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.token == token {
		s.token = ""
	}
}

// refresh exchanges a signed assertion for an access token, as in
// https://developers.google.com/identity/protocols/oauth2/service-account.
func (s *tokenSource) refresh(ctx context.Context) (token string, life time.Duration, failed *failure) {
	const operation = "access token"
	issued := s.clock().Add(-assertionSkew)
	assertion := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss":   s.account.email,
		"scope": scope,
		"aud":   s.account.tokenURL,
		"iat":   issued.Unix(),
		"exp":   issued.Add(assertionLife).Unix(),
	})
	if s.account.keyID != "" {
		assertion.Header["kid"] = s.account.keyID
	}
	signed, err := assertion.SignedString(s.account.key)
	if err != nil {
		return "", 0, &failure{err: fmt.Errorf("google: %s: the assertion cannot be signed", operation)}
	}
	answer, err := s.api.Do(ctx, storeapi.Request{
		Operation: operation,
		Method:    http.MethodPost,
		URL:       s.account.tokenURL,
		Header:    http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		Body:      []byte(url.Values{"grant_type": {grantType}, "assertion": {signed}}.Encode()),
		Secrets:   []string{signed},
	})
	if err != nil {
		return "", 0, &failure{err: err}
	}
	if answer.Status != http.StatusOK {
		return "", 0, &failure{err: tokenError(answer), retryAt: answer.RetryAt(s.clock())}
	}
	var granted struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in"` // seconds
	}
	if json.Unmarshal(answer.Body, &granted) != nil || granted.ExpiresIn <= 0 ||
		!strings.EqualFold(granted.TokenType, "Bearer") ||
		!consistsOf(granted.AccessToken, func(c byte) bool { return c > ' ' && c < 0x7f }) {
		return "", 0, &failure{err: fmt.Errorf("google: %s: the answer is not a token", operation)}
	}
	life = time.Duration(min(granted.ExpiresIn, int64(maxTokenLife/time.Second))) * time.Second
	return granted.AccessToken, life, nil
}

// tokenError tells of a refused assertion with the error code of RFC 6749, section 5.2.
func tokenError(a storeapi.Answer) error {
	var body struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(a.Body, &body) == nil && symbol(body.Error) != "" {
		return a.Err(symbol(body.Error))
	}
	return refused(a)
}
