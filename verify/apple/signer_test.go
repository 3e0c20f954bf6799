package apple_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// now is the time in all tests.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

var (
	leafMark         = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 11, 1}
	intermediateMark = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 2, 1}
)

// certificate is a certificate with its key.
type certificate struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// certificateOptions are what the certificates of a test differ in.
type certificateOptions struct {
	name     string
	curve    elliptic.Curve
	mark     asn1.ObjectIdentifier
	from, to time.Time
	leaf     bool
}

// issue makes a certificate; a nil issuer makes it a root.
func issue(issuer *certificate, options certificateOptions) *certificate {
	if options.curve == nil {
		options.curve = elliptic.P256()
	}
	if options.from.IsZero() {
		options.from, options.to = now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)
	}
	key := must(ecdsa.GenerateKey(options.curve, rand.Reader))
	template := &x509.Certificate{
		SerialNumber:          must(rand.Int(rand.Reader, big.NewInt(1<<62))),
		Subject:               pkix.Name{CommonName: options.name, Organization: []string{"Apple Inc."}, Country: []string{"US"}},
		NotBefore:             options.from,
		NotAfter:              options.to,
		BasicConstraintsValid: true,
		IsCA:                  !options.leaf,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if options.leaf {
		template.KeyUsage = x509.KeyUsageDigitalSignature
	}
	if options.mark != nil {
		template.ExtraExtensions = []pkix.Extension{{Id: options.mark, Value: []byte{0x05, 0x00}}}
	}
	parent, parentKey := template, key
	if issuer != nil {
		parent, parentKey = issuer.Certificate, issuer.key
	}
	der := must(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey))
	return &certificate{must(x509.ParseCertificate(der)), key}
}

// signer signs as the App Store does.
type signer struct {
	root, intermediate, leaf *certificate
}

func newSigner() *signer {
	s := &signer{root: issue(nil, certificateOptions{name: "Apple Root CA - G3", curve: elliptic.P384()})}
	s.intermediate = issue(s.root, certificateOptions{name: "Worldwide Developer Relations", curve: elliptic.P384(), mark: intermediateMark})
	s.leaf = issue(s.intermediate, certificateOptions{name: "Store Receipt Signing", mark: leafMark, leaf: true})
	return s
}

// chain is the header x5c of some certificates.
func chain(certificates ...*certificate) []string {
	encoded := []string{}
	for _, each := range certificates {
		encoded = append(encoded, base64.StdEncoding.EncodeToString(each.Raw))
	}
	return encoded
}

// object is a JSON object.
type object = map[string]any

// sign signs a payload by the leaf.
func (s *signer) sign(payload any) string {
	header := object{"alg": "ES256", "x5c": chain(s.leaf, s.intermediate, s.root)}
	return signParts(header, must(json.Marshal(payload)), s.leaf.key)
}

// signParts signs any header and payload with a P-256 key, whatever the header says.
func signParts(header object, payload []byte, key *ecdsa.PrivateKey) string {
	text := segment(must(json.Marshal(header))) + "." + segment(payload)
	return text + "." + segment(must(jwt.SigningMethodES256.Sign(text, key)))
}

func segment(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// milliseconds is a date as Apple writes it.
func milliseconds(at time.Time) int64 { return at.UnixMilli() }

// pemKey is a key as App Store Connect gives it out.
func pemKey(key *ecdsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))})
}

// with returns a copy of an object with some members changed, or, by nil, left out.
func with(payload object, changes ...object) object {
	changed := object{}
	for _, each := range append([]object{payload}, changes...) {
		for name, value := range each {
			if changed[name] = value; value == nil {
				delete(changed, name)
			}
		}
	}
	return changed
}
