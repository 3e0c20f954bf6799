package userkit

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// An access token is "ukd_" and 32 random bytes in base64url without padding:
// the prefix lets secret scanners find leaked ones.
const (
	tokenPrefix = "ukd_"
	tokenBytes  = 32
)

// newToken makes an access token from 256 bits of randomness.
func newToken() string {
	var secret [tokenBytes]byte
	rand.Read(secret[:]) // never fails: crypto/rand ends the program instead
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
}

// digestToken returns the digest of a token, and false for a text that is not a token.
func digestToken(token string) (TokenDigest, bool) {
	secret, found := strings.CutPrefix(token, tokenPrefix)
	if !found || len(secret) != base64.RawURLEncoding.EncodedLen(tokenBytes) {
		return TokenDigest{}, false
	}
	return sha256.Sum256([]byte(token)), true
}

// tokenHint returns the part of a token that lists show.
func tokenHint(token string) string { return token[len(token)-4:] }

// sealer encrypts access tokens. A sealed token is the key's id, the nonce and
// the ciphertext; the device's id is bound to it, so a sealed token that was
// moved to another device does not open.
type sealer struct {
	keys []sealingKey // the first seals
}

type sealingKey struct {
	id   [4]byte // the beginning of the key's SHA-256
	aead cipher.AEAD
}

func newSealer(keys [][]byte) (*sealer, error) {
	s := &sealer{}
	for _, key := range keys {
		if len(key) != 32 {
			return nil, invalidOption("WithSealingKeys", "a key has %d bytes instead of 32", len(key))
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, invalidOption("WithSealingKeys", "the key cannot be used").Because(err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, invalidOption("WithSealingKeys", "the key cannot be used").Because(err)
		}
		sum := sha256.Sum256(key)
		s.keys = append(s.keys, sealingKey{id: [4]byte(sum[:4]), aead: aead})
	}
	return s, nil
}

// seal encrypts a token under the first key; nil without keys.
func (s *sealer) seal(device DeviceID, token string) []byte {
	if s == nil || len(s.keys) == 0 {
		return nil
	}
	key := s.keys[0]
	nonce := make([]byte, key.aead.NonceSize())
	rand.Read(nonce)
	sealed := append(key.id[:len(key.id):len(key.id)], nonce...)
	return key.aead.Seal(sealed, nonce, []byte(token), device[:])
}

// open decrypts what seal made.
func (s *sealer) open(device DeviceID, sealed []byte) (string, error) {
	if len(sealed) == 0 {
		return "", NewError(CodeTokenNotSealed, "", "the token was kept as a digest only")
	}
	if s != nil {
		for _, key := range s.keys {
			body, found := strings.CutPrefix(string(sealed), string(key.id[:]))
			if !found || len(body) < key.aead.NonceSize() {
				continue
			}
			nonce, text := body[:key.aead.NonceSize()], body[key.aead.NonceSize():]
			token, err := key.aead.Open(nil, []byte(nonce), []byte(text), device[:])
			if err == nil {
				return string(token), nil
			}
		}
	}
	return "", NewError(CodeSealingKeyMissing, "", "no configured key opens the token")
}

// current reports whether the first key sealed it.
func (s *sealer) current(sealed []byte) bool {
	return s != nil && len(s.keys) > 0 && strings.HasPrefix(string(sealed), string(s.keys[0].id[:]))
}
