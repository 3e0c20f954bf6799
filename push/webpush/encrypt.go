package webpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
)

// The sizes of RFC 8188 and RFC 8291.
const (
	saltSize   = 16
	secretSize = 16   // of the authentication secret
	pointSize  = 65   // of a public key of P-256, uncompressed
	recordSize = 4096 // as in the header; a message is one record
	headerSize = saltSize + 4 + 1 + pointSize

	// maxPlaintext is what fits into a body of 4096 bytes, which every push service takes
	// (RFC 8030, section 7.2), with the delimiter and the authentication tag.
	maxPlaintext = 4096 - headerSize - 1 - 16
)

// subscription is a PushSubscription of a browser.
type subscription struct {
	endpoint string
	origin   string // of the endpoint: scheme and host
	host     string
	key      *ecdh.PublicKey // of the browser
	secret   []byte          // the authentication secret
}

// parseSubscription reads a PushSubscription in JSON. Its errors tell nothing of it.
func parseSubscription(text string) (subscription, error) {
	var parsed struct {
		Endpoint string `json:"endpoint"`
		Keys     struct {
			P256DH string `json:"p256dh"`
			Auth   string `json:"auth"`
		} `json:"keys"`
	}
	if json.Unmarshal([]byte(text), &parsed) != nil {
		return subscription{}, errors.New("webpush: the push token is not a subscription in JSON")
	}
	address, err := url.Parse(parsed.Endpoint)
	if err != nil || address.Scheme != "https" || address.Hostname() == "" || address.User != nil || address.Fragment != "" {
		return subscription{}, errors.New("webpush: the subscription has no https endpoint")
	}
	s := subscription{endpoint: parsed.Endpoint, host: strings.ToLower(address.Hostname())}
	s.origin = "https://" + strings.ToLower(address.Host)
	if address.Port() == "443" { // the origin is without the port of its scheme (RFC 6454)
		s.origin = strings.TrimSuffix(s.origin, ":443")
	}
	point, err := decode(parsed.Keys.P256DH)
	if err == nil {
		s.key, err = ecdh.P256().NewPublicKey(point)
	}
	if err != nil {
		return subscription{}, errors.New("webpush: the key of the subscription is not a point of P-256")
	}
	if s.secret, err = decode(parsed.Keys.Auth); err != nil || len(s.secret) != secretSize {
		return subscription{}, errors.New("webpush: the authentication secret of the subscription has no 16 bytes")
	}
	return s, nil
}

// decode reads base64url with or without padding.
func decode(text string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
}

// encrypt makes the body of a message (RFC 8291, section 4): content coding aes128gcm with
// one record. The key and the salt are used once.
func (s subscription) encrypt(plaintext []byte, once *ecdh.PrivateKey, salt []byte) ([]byte, error) {
	if len(plaintext) > maxPlaintext {
		return nil, errors.New("webpush: the notification is too large")
	}
	shared, err := once.ECDH(s.key)
	if err != nil {
		return nil, err
	}
	info := "WebPush: info\x00" + string(s.key.Bytes()) + string(once.PublicKey().Bytes())
	material, err := hkdf.Key(sha256.New, shared, s.secret, info, sha256.Size)
	if err != nil {
		return nil, err
	}
	contentKey, err := hkdf.Key(sha256.New, material, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Key(sha256.New, material, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(contentKey)
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	body := make([]byte, 0, headerSize+len(plaintext)+1+seal.Overhead())
	body = append(body, salt...)
	body = binary.BigEndian.AppendUint32(body, recordSize)
	body = append(body, pointSize)
	body = append(body, once.PublicKey().Bytes()...)
	record := append(append([]byte(nil), plaintext...), 2) // the delimiter of the last record
	return seal.Seal(body, nonce, record, nil), nil
}
