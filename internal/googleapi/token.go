package googleapi

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

	"github.com/userkit/userkit/internal/vendorapi"
)

const (
	grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer"

	assertionLife = time.Hour        // the longest that Google takes
	assertionSkew = 30 * time.Second // how far this machine's clock may be ahead

	tokenMargin  = time.Minute // how long before its end an access token is not used any more
	maxTokenLife = 24 * time.Hour

	tokenPause    = 10 * time.Second // without a Retry-After, after a token was refused
	maxTokenPause = 10 * time.Minute
)

// TokenURLs are the token endpoints that Google has written into key files.
var TokenURLs = []string{
	"https://oauth2.googleapis.com/token",
	"https://accounts.google.com/o/oauth2/token",
	"https://www.googleapis.com/oauth2/v4/token",
}

// Account is who this process is to Google.
type Account struct {
	ProjectID string // of the Google Cloud project that the account belongs to; may be empty

	email    string
	keyID    string
	key      *rsa.PrivateKey
	tokenURL string
}

// ParseAccount reads the content of a JSON key file. The file names the endpoint that
// signed assertions are sent to, which must be one of allowed. The errors tell nothing
// of the content.
func ParseAccount(content []byte, allowed []string) (Account, error) {
	var file struct {
		Type         string `json:"type"`
		ProjectID    string `json:"project_id"`
		PrivateKeyID string `json:"private_key_id"`
		PrivateKey   string `json:"private_key"`
		ClientEmail  string `json:"client_email"`
		TokenURI     string `json:"token_uri"`
	}
	if json.Unmarshal(content, &file) != nil {
		return Account{}, errors.New("the content of a JSON key file is needed")
	}
	if file.Type != "service_account" {
		return Account{}, errors.New("the type is not service_account")
	}
	if file.ClientEmail == "" {
		return Account{}, errors.New("client_email is missing")
	}
	if !slices.Contains(allowed, file.TokenURI) {
		return Account{}, errors.New("token_uri is not one of the allowed addresses")
	}
	key, err := parsePrivateKey(file.PrivateKey)
	if err != nil {
		return Account{}, err
	}
	return Account{
		ProjectID: file.ProjectID,
		email:     file.ClientEmail, keyID: file.PrivateKeyID, key: key, tokenURL: file.TokenURI,
	}, nil
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

// Failure is why there is no token: what happened, and when to ask again.
type Failure struct {
	Err     error
	RetryAt time.Time // zero: not known
}

// Tokens keeps the access token of a service account. It is safe for use by many
// goroutines at once.
type Tokens struct {
	name    string
	scope   string
	account Account
	api     *vendorapi.Client
	clock   func() time.Time
	turn    chan struct{} // filled by the one that refreshes

	mutex    sync.Mutex
	token    string
	endsAt   time.Time
	failed   *Failure // the last refresh, until pausedTo
	pausedTo time.Time
}

// NewTokens returns the tokens of an account for one scope. The name begins every error.
func NewTokens(name, scope string, account Account, api *vendorapi.Client, clock func() time.Time) *Tokens {
	return &Tokens{name: name, scope: scope, account: account, api: api, clock: clock, turn: make(chan struct{}, 1)}
}

// Current returns the access token, getting a new one where there is none. One caller
// refreshes, the others wait for it or for the end of their context. A refresh that
// failed is everybody's answer for a while, so that a thousand callers do not ask a
// thousand times.
func (s *Tokens) Current(ctx context.Context) (string, *Failure) {
	if token, failed := s.known(); token != "" || failed != nil {
		return token, failed
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return "", &Failure{Err: fmt.Errorf("%s: access token: %w", s.name, ctx.Err())}
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
		if failed.RetryAt.After(s.pausedTo) {
			s.pausedTo = failed.RetryAt
		}
		if latest := now.Add(maxTokenPause); s.pausedTo.After(latest) {
			s.pausedTo = latest
		}
		if failed.RetryAt.IsZero() {
			failed.RetryAt = s.pausedTo.UTC()
		}
		s.failed = failed
	}
	return "", failed
}

// known returns what is to be had without a request.
func (s *Tokens) known() (string, *Failure) {
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

// Forget drops a token that the API does not take, unless it was replaced already.
func (s *Tokens) Forget(token string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.token == token {
		s.token = ""
	}
}

// refresh exchanges a signed assertion for an access token.
func (s *Tokens) refresh(ctx context.Context) (token string, life time.Duration, failed *Failure) {
	const operation = "access token"
	issued := s.clock().Add(-assertionSkew)
	assertion := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss":   s.account.email,
		"scope": s.scope,
		"aud":   s.account.tokenURL,
		"iat":   issued.Unix(),
		"exp":   issued.Add(assertionLife).Unix(),
	})
	if s.account.keyID != "" {
		assertion.Header["kid"] = s.account.keyID
	}
	signed, err := assertion.SignedString(s.account.key)
	if err != nil {
		return "", 0, &Failure{Err: fmt.Errorf("%s: %s: the assertion cannot be signed", s.name, operation)}
	}
	answer, err := s.api.Do(ctx, vendorapi.Request{
		Operation: operation,
		Method:    http.MethodPost,
		URL:       s.account.tokenURL,
		Header:    http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		Body:      []byte(url.Values{"grant_type": {grantType}, "assertion": {signed}}.Encode()),
		Secrets:   []string{signed},
	})
	if err != nil {
		return "", 0, &Failure{Err: err}
	}
	if answer.Status != http.StatusOK {
		return "", 0, &Failure{Err: tokenError(answer), RetryAt: answer.RetryAt(s.clock())}
	}
	var granted struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in"` // seconds
	}
	if json.Unmarshal(answer.Body, &granted) != nil || granted.ExpiresIn <= 0 ||
		!strings.EqualFold(granted.TokenType, "Bearer") ||
		!isToken(granted.AccessToken) {
		return "", 0, &Failure{Err: fmt.Errorf("%s: %s: the answer is not a token", s.name, operation)}
	}
	life = time.Duration(min(granted.ExpiresIn, int64(maxTokenLife/time.Second))) * time.Second
	return granted.AccessToken, life, nil
}

// tokenError tells of a refused assertion with the error code of RFC 6749, section 5.2.
func tokenError(a vendorapi.Answer) error {
	var body struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(a.Body, &body) == nil && Symbol(body.Error) != "" {
		return a.Err(Symbol(body.Error))
	}
	return Refused(a)
}

// isToken reports whether text can stand in an Authorization header.
func isToken(text string) bool {
	return text != "" && strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }) < 0
}
