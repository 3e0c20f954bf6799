package google

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/userkit/userkit/internal/googleapi"
	"github.com/userkit/userkit/internal/vendorapi"
)

const (
	maxKeys       = 32 // in a key set
	maxKeyBits    = 8192
	minKeyBits    = 2048
	minKeysLife   = 5 * time.Minute
	maxKeysLife   = 24 * time.Hour
	keysLife      = time.Hour // when the server does not say
	minKeysPeriod = time.Minute
)

// errUnknownKey means that the keys are known, and that this is none of them.
var errUnknownKey = errors.New("unknown key")

// keySet keeps Google's public keys. They are fetched when they are wanted and old,
// or when a key is asked for that is not among them; at most once a minute, and by
// one caller at a time, so that forged key ids cause no flood.
type keySet struct {
	url   string
	api   *vendorapi.Client
	clock func() time.Time
	turn  chan struct{} // filled by the one that fetches

	mutex      sync.Mutex
	keys       map[string]*rsa.PublicKey
	freshUntil time.Time
	triedAt    time.Time // the last fetch; zero: none
	failed     error     // of the last fetch
}

func newKeySet(url string, api *vendorapi.Client, clock func() time.Time) *keySet {
	return &keySet{url: url, api: api, clock: clock, turn: make(chan struct{}, 1)}
}

// key returns the key with this id. It returns errUnknownKey, or another error when the
// keys cannot be had now.
func (s *keySet) key(ctx context.Context, id string) (*rsa.PublicKey, error) {
	if key, err := s.known(id); key != nil || err != nil {
		return key, err
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("google: keys: %w", ctx.Err())
	}
	if key, err := s.known(id); key != nil || err != nil {
		return key, err
	}
	keys, life, err := s.fetch(ctx)

	s.mutex.Lock()
	defer s.mutex.Unlock()
	if err != nil {
		if ctx.Err() == nil { // else it was the caller who gave up
			s.triedAt, s.failed = s.clock(), err
		}
		return nil, err
	}
	now := s.clock()
	s.keys, s.freshUntil, s.triedAt, s.failed = keys, now.Add(life), now, nil
	if key := keys[id]; key != nil {
		return key, nil
	}
	return nil, errUnknownKey
}

// known returns what is to be had without a request; nothing at all when it takes one.
func (s *keySet) known(id string) (*rsa.PublicKey, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	now := s.clock()
	fresh := now.Before(s.freshUntil)
	if key := s.keys[id]; fresh && key != nil {
		return key, nil
	}
	if s.triedAt.IsZero() || now.Sub(s.triedAt) >= minKeysPeriod {
		return nil, nil
	}
	if s.failed != nil {
		return nil, s.failed
	}
	return nil, errUnknownKey
}

func (s *keySet) fetch(ctx context.Context) (map[string]*rsa.PublicKey, time.Duration, error) {
	a, err := s.api.Do(ctx, vendorapi.Request{Operation: "keys", Method: http.MethodGet, URL: s.url})
	if err != nil {
		return nil, 0, err
	}
	if a.Status != http.StatusOK {
		return nil, 0, googleapi.Refused(a)
	}
	keys, err := parseKeys(a.Body)
	if err != nil {
		return nil, 0, err
	}
	return keys, cacheLife(a.Header), nil
}

// parseKeys reads a JSON Web Key Set and keeps the RSA keys that may sign with RS256.
func parseKeys(body []byte) (map[string]*rsa.PublicKey, error) {
	var set struct {
		Keys []struct {
			Type      string `json:"kty"`
			ID        string `json:"kid"`
			Use       string `json:"use"`
			Algorithm string `json:"alg"`
			Modulus   string `json:"n"`
			Exponent  string `json:"e"`
		} `json:"keys"`
	}
	if json.Unmarshal(body, &set) != nil {
		return nil, errors.New("google: keys: not a key set")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("google: keys: more than %d", maxKeys)
	}
	keys := make(map[string]*rsa.PublicKey, len(set.Keys))
	for _, listed := range set.Keys {
		if listed.Type != "RSA" || listed.ID == "" || listed.Use != "" && listed.Use != "sig" ||
			listed.Algorithm != "" && listed.Algorithm != "RS256" {
			continue
		}
		if key := parseKey(listed.Modulus, listed.Exponent); key != nil {
			keys[listed.ID] = key
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("google: keys: none that can be used")
	}
	return keys, nil
}

// parseKey reads the numbers of a key; nil for one that nobody should trust.
func parseKey(modulus, exponent string) *rsa.PublicKey {
	n, err := base64.RawURLEncoding.DecodeString(modulus)
	if err != nil || len(n) > maxKeyBits/8 {
		return nil
	}
	e, err := base64.RawURLEncoding.DecodeString(exponent)
	if err != nil || len(e) > 4 {
		return nil
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n)}
	power := new(big.Int).SetBytes(e).Int64()
	if key.N.BitLen() < minKeyBits || power < 3 || power%2 == 0 || power > 1<<31-1 {
		return nil
	}
	key.E = int(power)
	return key
}

// cacheLife returns how long an answer may be kept, by its Cache-Control and Age (RFC
// 9111), within bounds.
func cacheLife(header http.Header) time.Duration {
	for directive := range strings.SplitSeq(header.Get("Cache-Control"), ",") {
		value, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(directive)), "max-age=")
		if !ok {
			continue
		}
		seconds, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			break
		}
		if age, err := strconv.ParseInt(header.Get("Age"), 10, 32); err == nil {
			seconds -= age
		}
		return min(max(time.Duration(seconds)*time.Second, minKeysLife), maxKeysLife)
	}
	return keysLife
}
