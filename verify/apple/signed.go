package apple

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/userkit/userkit"
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

// The bounds of what is read before a signature is known to be good: whoever sends a
// payload chooses its certificates, and what their keys cost. Apple's certificates take
// some 1,100 bytes each.
const (
	maxSignedHeader = 16 * 1024 // bytes, of the first part of a JWS
	maxCertificate  = 4 * 1024  // bytes, in DER
)

// maxClockSkew is how far the signing date may lie outside of the validity of a
// certificate, as in Apple's own libraries.
const maxClockSkew = time.Minute

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
// Server API), a forgedError, or the error of a context that is over. The work is
// bounded: three signatures of ECDSA and one pass over the text.
func (t trust) open(ctx context.Context, signed string) (json.RawMessage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if header, _, _ := strings.Cut(signed, "."); len(signed) > userkit.MaxStoreNotification || len(header) > maxSignedHeader {
		return nil, forgedError("it is longer than the App Store makes it")
	}
	var payload signedPayload
	_, err := jwsParser.ParseWithClaims(signed, &payload, func(token *jwt.Token) (any, error) {
		if _, critical := token.Header["crit"]; critical {
			return nil, forgedError("its header needs an extension")
		}
		if payload.signedDate.IsZero() {
			return nil, forgedError("it has no signing date")
		}
		return t.key(ctx, token.Header["x5c"], payload.signedDate.Time)
	})
	if err == nil {
		return payload.raw, nil
	}
	if over := ctx.Err(); over != nil {
		return nil, over
	}
	if forged, ok := errors.AsType[forgedError](err); ok {
		return nil, forged
	}
	if errors.Is(err, jwt.ErrTokenMalformed) {
		return nil, forgedError("it is not a JWS")
	}
	return nil, forgedError("the signature is not ES256, or not of this payload")
}

// key returns the key of the first of three certificates, after checking the chain
// as of the given time. With roots of the host's own, the third certificate is
// counted and read and otherwise means nothing. No signature is verified before all
// keys are known to be small.
func (t trust) key(ctx context.Context, x5c any, at time.Time) (*ecdsa.PublicKey, error) {
	encoded, _ := x5c.([]any)
	if len(encoded) != 3 {
		return nil, forgedError("it has not exactly three certificates")
	}
	var chain [3]*x509.Certificate
	for i := range encoded {
		text, _ := encoded[i].(string)
		if len(text) > base64.StdEncoding.EncodedLen(maxCertificate) {
			return nil, forgedError("a certificate is longer than one of the App Store")
		}
		der, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil {
			return nil, forgedError("a certificate is not base64")
		}
		if chain[i], err = x509.ParseCertificate(der); err != nil {
			return nil, forgedError("a certificate cannot be read")
		}
	}
	leaf, intermediate, root := chain[0], chain[1], chain[2]
	key, err := ecdsaKey(leaf)
	if err == nil {
		_, err = ecdsaKey(intermediate)
	}
	if err != nil {
		return nil, err
	}
	if key.Curve != elliptic.P256() {
		return nil, forgedError("the key is not P-256")
	}
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

	if err := ctx.Err(); err != nil {
		return nil, err
	}
	options := x509.VerifyOptions{
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
		CurrentTime:   withinSkew(at, leaf, intermediate),
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
	return key, nil
}

// ecdsaKey returns the key of a certificate when it is one of the curves of the App
// Store, and the certificate is signed with such a key: any other may be as large as its
// sender likes.
func ecdsaKey(certificate *x509.Certificate) (*ecdsa.PublicKey, error) {
	key, ok := certificate.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
		return nil, forgedError("a key is neither P-256 nor P-384")
	}
	switch certificate.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
		return key, nil
	}
	return nil, forgedError("a certificate is not signed with ECDSA")
}

// withinSkew returns the time at which certificates are checked: that of the signature,
// or where it lies up to maxClockSkew outside of their validity, the nearest time within.
func withinSkew(at time.Time, certificates ...*x509.Certificate) time.Time {
	checked := at
	for _, certificate := range certificates {
		if checked.Before(certificate.NotBefore) {
			checked = certificate.NotBefore
		}
	}
	for _, certificate := range certificates {
		if checked.After(certificate.NotAfter) {
			checked = certificate.NotAfter
		}
	}
	if checked.Sub(at).Abs() > maxClockSkew {
		return at
	}
	return checked
}

func hasExtension(certificate *x509.Certificate, id asn1.ObjectIdentifier) bool {
	for _, extension := range certificate.Extensions {
		if extension.Id.Equal(id) {
			return true
		}
	}
	return false
}
