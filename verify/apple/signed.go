package apple

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// appleRootG3 is the SHA-256 fingerprint of the DER form of the certificate
// "Apple Root CA - G3" (apple.com/certificateauthority).
var appleRootG3 = [sha256.Size]byte{
	0x63, 0x34, 0x3a, 0xbf, 0xb8, 0x9a, 0x6a, 0x03, 0xeb, 0xb5, 0x7e, 0x9b, 0x3f, 0x5f, 0xa7, 0xbe,
	0x7c, 0x4f, 0x5c, 0x75, 0x6f, 0x30, 0x17, 0xb3, 0xa8, 0xc4, 0x88, 0xc3, 0x65, 0x3e, 0x91, 0x79,
}

// The extensions by which Apple marks the certificates of the App Store
// (JWSDecodedHeader, App Store Server API, and section 4.11.10 of the Certificate
// Practice Statement Worldwide Developer Relations). Other certificates of Apple,
// such as those of developers, end in the same root.
var (
	leafMark         = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 11, 1}
	intermediateMark = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 2, 1}
)

// forgedError says why a payload is not taken for one of Apple. Its text is fixed:
// nothing of the payload gets into a log.
type forgedError string

func (e forgedError) Error() string { return "apple: not signed by the App Store: " + string(e) }

// trust are the roots that chains may end in; none: appleRootG3.
type trust []*x509.Certificate

// signedPayload is the payload of a JWS before its signature is known to be good.
type signedPayload struct {
	raw        json.RawMessage
	signedDate date

	jwt.RegisteredClaims // none of which the App Store uses
}

// UnmarshalJSON keeps the payload as it is and reads the date of the signature.
func (p *signedPayload) UnmarshalJSON(data []byte) error {
	var dated struct {
		SignedDate date `json:"signedDate"`
	}
	if err := json.Unmarshal(data, &dated); err != nil {
		return err
	}
	p.raw, p.signedDate = slices.Clone(data), dated.SignedDate
	return nil
}

var jwsParser = jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())

// open returns the payload of a JWS of the App Store (JWSDecodedHeader, App Store
// Server API), or a forgedError.
func (t trust) open(signed string) (json.RawMessage, error) {
	var payload signedPayload
	_, err := jwsParser.ParseWithClaims(signed, &payload, func(token *jwt.Token) (any, error) {
		if _, critical := token.Header["crit"]; critical {
			return nil, forgedError("its header needs an extension")
		}
		if payload.signedDate.IsZero() {
			return nil, forgedError("it has no signing date")
		}
		return t.key(token.Header["x5c"], payload.signedDate.Time)
	})
	if err == nil {
		return payload.raw, nil
	}
	if forged, ok := errors.AsType[forgedError](err); ok {
		return nil, forged
	}
	if errors.Is(err, jwt.ErrTokenMalformed) {
		return nil, forgedError("it is no JWS")
	}
	return nil, forgedError("the signature is not ES256, or not of this payload")
}

// key returns the key of the first of three certificates, after checking the chain
// as of the given time. With roots of the host's own, the third certificate is
// counted and read and otherwise means nothing.
func (t trust) key(x5c any, at time.Time) (*ecdsa.PublicKey, error) {
	encoded, _ := x5c.([]any)
	if len(encoded) != 3 {
		return nil, forgedError("it has not exactly three certificates")
	}
	var chain [3]*x509.Certificate
	for i := range encoded {
		text, _ := encoded[i].(string)
		der, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil {
			return nil, forgedError("a certificate is not base64")
		}
		if chain[i], err = x509.ParseCertificate(der); err != nil {
			return nil, forgedError("a certificate cannot be read")
		}
	}
	leaf, intermediate, root := chain[0], chain[1], chain[2]
	roots := t
	if len(roots) == 0 {
		if sha256.Sum256(root.Raw) != appleRootG3 {
			return nil, forgedError("the root is not Apple's")
		}
		roots = trust{root}
	}
	if !hasExtension(leaf, leafMark) || !hasExtension(intermediate, intermediateMark) {
		return nil, forgedError("a certificate is not one of the App Store")
	}

	options := x509.VerifyOptions{
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	for _, root := range roots {
		options.Roots.AddCert(root)
	}
	options.Intermediates.AddCert(intermediate)
	found, err := leaf.Verify(options)
	if err != nil {
		if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
			return nil, forgedError("a certificate was not valid at the signing date")
		}
		return nil, forgedError("the certificates are no chain to a trusted root")
	}
	// A leaf that the root has issued itself would be a shorter chain.
	whole := func(path []*x509.Certificate) bool { return len(path) == 3 && path[1].Equal(intermediate) }
	if !slices.ContainsFunc(found, whole) {
		return nil, forgedError("the second certificate has not issued the first")
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, forgedError("the key is not P-256")
	}
	return key, nil
}

func hasExtension(certificate *x509.Certificate, id asn1.ObjectIdentifier) bool {
	for _, extension := range certificate.Extensions {
		if extension.Id.Equal(id) {
			return true
		}
	}
	return false
}
