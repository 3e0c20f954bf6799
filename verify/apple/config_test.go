package apple_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/apple"
)

func TestWrongConfigurationsAreRefusedByField(t *testing.T) {
	w := testWorld(t)
	p384 := pemKey(must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)))
	for name, test := range map[string]struct {
		field  string
		change func(*apple.Config)
	}{
		"no bundle id":                {"BundleID", func(c *apple.Config) { c.BundleID = "" }},
		"a bundle id with a line end": {"BundleID", func(c *apple.Config) { c.BundleID = "org.example.app\n" }},
		"no key id":                   {"KeyID", func(c *apple.Config) { c.KeyID = "" }},
		"no issuer":                   {"IssuerID", func(c *apple.Config) { c.IssuerID = "" }},
		"no app id in production":     {"AppID", func(c *apple.Config) { c.AppID = 0 }},
		"a negative app id":           {"AppID", func(c *apple.Config) { c.AppID = -1 }},
		"no key":                      {"PrivateKey", func(c *apple.Config) { c.PrivateKey = nil }},
		"a key that is none":          {"PrivateKey", func(c *apple.Config) { c.PrivateKey = []byte("key") }},
		"a key of another curve":      {"PrivateKey", func(c *apple.Config) { c.PrivateKey = p384 }},
		"a certificate as key": {"PrivateKey", func(c *apple.Config) {
			c.PrivateKey = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.root.Raw})
		}},
		"a short life":                       {"TokenLifetime", func(c *apple.Config) { c.TokenLifetime = time.Second }},
		"a long life":                        {"TokenLifetime", func(c *apple.Config) { c.TokenLifetime = time.Hour + 1 }},
		"a negative life":                    {"TokenLifetime", func(c *apple.Config) { c.TokenLifetime = -time.Minute }},
		"an unknown environment":             {"Environment", func(c *apple.Config) { c.Environment = "Sandbox" }},
		"a nil root":                         {"Roots", func(c *apple.Config) { c.Roots = []*x509.Certificate{nil} }},
		"a root that was never parsed":       {"Roots", func(c *apple.Config) { c.Roots = []*x509.Certificate{{}} }},
		"a name in capitals":                 {"Store", func(c *apple.Config) { c.Store = "Apple" }},
		"a name that is too long":            {"Store", func(c *apple.Config) { c.Store = "a-name-of-more-than-32-characters" }},
		"plain http":                         {"ProductionURL", func(c *apple.Config) { c.ProductionURL = "http://api.storekit.apple.com" }},
		"plain http to a name like this one": {"SandboxURL", func(c *apple.Config) { c.SandboxURL = "http://localhost.example.org" }},
		"no URL":                             {"SandboxURL", func(c *apple.Config) { c.SandboxURL = "api.storekit.apple.com" }},
		"a broken URL":                       {"SandboxURL", func(c *apple.Config) { c.SandboxURL = "https://%zz" }},
		"a URL with a password":              {"SandboxURL", func(c *apple.Config) { c.SandboxURL = "https://a:b@example.org" }},
		"a URL with a query":                 {"ProductionURL", func(c *apple.Config) { c.ProductionURL = "https://example.org/?a=b" }},
	} {
		t.Run(name, func(t *testing.T) {
			config := w.config()
			test.change(&config)
			verifier, err := apple.New(config)
			require.Nil(t, verifier)
			require.ErrorIs(t, err, userkit.ErrInvalid)
			var wrong *userkit.Error
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, userkit.CodeInvalidOption, wrong.Code)
			require.Equal(t, test.field, wrong.Field)
		})
	}
}

func TestDefaults(t *testing.T) {
	w := testWorld(t)
	seen := []string{}
	client := &http.Client{Transport: roundTrip(func(request *http.Request) (*http.Response, error) {
		seen = append(seen, request.URL.String())
		answer := apiError(4040010, "Transaction id not found.")
		recorder := &http.Response{StatusCode: answer.status, Header: answer.header, Body: http.NoBody}
		return recorder, nil
	})}
	config := apple.Config{BundleID: bundleID, AppID: appID, KeyID: keyID, IssuerID: issuerID, PrivateKey: pemKey(w.key), HTTPClient: client}
	verifier, err := apple.New(config)
	require.NoError(t, err)
	require.Equal(t, "apple", verifier.Store())
	verify(t, verifier, boughtID)

	config.Environment, config.Store = userkit.Sandbox, "apple-tv"
	verifier, err = apple.New(config)
	require.NoError(t, err)
	require.Equal(t, "apple-tv", verifier.Store())
	verify(t, verifier, boughtID)
	require.Equal(t, []string{
		"https://api.storekit.apple.com/inApps/v1/transactions/" + boughtID,
		"https://api.storekit-sandbox.apple.com/inApps/v1/transactions/" + boughtID,
	}, seen)
}
