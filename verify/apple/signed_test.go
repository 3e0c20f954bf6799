package apple_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/apple"
)

func TestSignedTransactionOfTheAppStoreIsTaken(t *testing.T) {
	w := testWorld(t)
	w.production.sell(bought())
	verdict := verify(t, w.verifier(t, nil), w.sign(bought()))
	require.Equal(t, userkit.VerdictValid, verdict.Outcome)
	require.Equal(t, boughtID, verdict.Facts.StableID)
}

func TestRootsOfTheHostCountWhateverTheThirdCertificateSays(t *testing.T) {
	w := testWorld(t)
	w.production.sell(bought())
	other := issue(nil, certificateOptions{name: "Some Root"})
	signed := signParts(object{"alg": "ES256", "x5c": chain(w.leaf, w.intermediate, other)}, must(json.Marshal(bought())), w.leaf.key)
	require.Equal(t, userkit.VerdictValid, verify(t, w.verifier(t, nil), signed).Outcome)

	// Apple's own root counts no more when the host has given others.
	verifier := w.verifier(t, func(config *apple.Config) { config.Roots = []*x509.Certificate{other.Certificate} })
	require.Equal(t, userkit.ReasonForged, verify(t, verifier, signed).Reason)
	both := w.verifier(t, func(config *apple.Config) {
		config.Roots = []*x509.Certificate{other.Certificate, w.root.Certificate}
	})
	require.Equal(t, userkit.VerdictValid, verify(t, both, signed).Outcome)
}

func TestCertificatesCountAtTheSigningDate(t *testing.T) {
	w := testWorld(t)
	w.production.sell(bought())
	// The leaf has expired since it signed.
	w.leaf = issue(w.intermediate, certificateOptions{
		name: "Old Leaf", mark: leafMark, leaf: true, from: now.AddDate(0, -6, 0), to: now.AddDate(0, 0, -1),
	})
	old := with(bought(), object{"signedDate": milliseconds(now.AddDate(0, 0, -2))})
	signed := w.sign(old)
	verifier := w.verifier(t, nil)
	require.Equal(t, userkit.ReasonForged, verify(t, verifier, w.sign(bought())).Reason)
	w.signer.leaf = issue(w.intermediate, certificateOptions{name: "New Leaf", mark: leafMark, leaf: true})
	require.Equal(t, userkit.VerdictValid, verify(t, verifier, signed).Outcome)
}

func TestForgedDataIsInvalidWithoutARequest(t *testing.T) {
	w := testWorld(t)
	w.production.sell(bought())
	payload := must(json.Marshal(bought()))
	good := w.sign(bought())
	parts := strings.Split(good, ".")

	// chained signs by the first of the certificates.
	chained := func(certificates ...*certificate) string {
		return signParts(object{"alg": "ES256", "x5c": chain(certificates...)}, payload, certificates[0].key)
	}
	headed := func(header object) string { return signParts(header, payload, w.leaf.key) }
	x5c := chain(w.leaf, w.intermediate, w.root)
	leaf := func(issuer *certificate, options certificateOptions) *certificate {
		options.name, options.leaf = "Leaf", true
		return issue(issuer, options)
	}
	expired := certificateOptions{mark: leafMark, from: now.AddDate(-2, 0, 0), to: now.AddDate(0, 0, -1)}
	future := certificateOptions{mark: leafMark, from: now.AddDate(0, 0, 1), to: now.AddDate(2, 0, 0)}

	expiredIntermediate := issue(w.root, certificateOptions{
		name: "Expired", mark: intermediateMark, from: now.AddDate(-2, 0, 0), to: now.AddDate(0, 0, -1),
	})
	unmarkedIntermediate := issue(w.root, certificateOptions{name: "Unmarked"})
	leafAsIssuer := leaf(w.intermediate, certificateOptions{mark: intermediateMark})
	stranger := newSigner()

	alg := func(name string, method jwt.SigningMethod, key any) string {
		token := jwt.New(method)
		token.Header["x5c"], token.Header["alg"] = x5c, name
		text := segment(must(json.Marshal(token.Header))) + "." + segment(payload)
		return text + "." + segment(must(method.Sign(text, key)))
	}
	// The key of Apple's leaf, by another algorithm than ES256.
	es384 := func() string {
		text := segment(must(json.Marshal(object{"alg": "ES384", "x5c": x5c}))) + "." + segment(payload)
		digest := sha512.Sum384([]byte(text))
		r, s, err := ecdsa.Sign(rand.Reader, w.leaf.key, digest[:])
		require.NoError(t, err)
		signature := make([]byte, 96)
		r.FillBytes(signature[:48])
		s.FillBytes(signature[48:])
		return text + "." + segment(signature)
	}
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	p384Leaf := leaf(w.intermediate, certificateOptions{mark: leafMark, curve: elliptic.P384()})

	tampered := segment(must(json.Marshal(with(bought(), object{"productId": "org.example.app.gold"}))))
	damaged := func(part int, with string) string {
		copied := append([]string(nil), parts...)
		copied[part] = with + copied[part][len(with):]
		return strings.Join(copied, ".")
	}
	encoded := func(third string) string {
		return headed(object{"alg": "ES256", "x5c": []string{x5c[0], x5c[1], third}})
	}

	for name, signed := range map[string]string{
		"an empty receipt":                       "",
		"no receipt at all":                      "a receipt, please",
		"dots only":                              "..",
		"two parts":                              parts[0] + "." + parts[1],
		"four parts":                             good + ".e30",
		"too long":                               w.sign(with(bought(), object{"note": strings.Repeat("A", userkit.MaxReceipt)})),
		"a JWS in JSON":                          `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"a damaged header":                       damaged(0, "%%%%"),
		"a damaged payload":                      damaged(1, "%%%%"),
		"a damaged signature":                    damaged(2, "%%%%"),
		"padding":                                good + "==",
		"another payload":                        parts[0] + "." + tampered + "." + parts[2],
		"a signature cut short":                  good[:len(good)-4],
		"no signature":                           parts[0] + "." + parts[1] + ".",
		"another's signature":                    parts[0] + "." + parts[1] + "." + strings.Split(stranger.sign(bought()), ".")[2],
		"the key of another, with Apple's chain": signParts(object{"alg": "ES256", "x5c": x5c}, payload, stranger.leaf.key),
		"no algorithm":                           headed(object{"x5c": x5c}),
		"algorithm none":                         segment(must(json.Marshal(object{"alg": "none", "x5c": x5c}))) + "." + parts[1] + ".",
		"algorithm none, signed":                 headed(object{"alg": "none", "x5c": x5c}),
		"algorithm None":                         headed(object{"alg": "None", "x5c": x5c}),
		"algorithm ES384 in name":                headed(object{"alg": "ES384", "x5c": x5c}),
		"ES384 with the right key":               es384(),
		"ES384":                                  alg("ES384", jwt.SigningMethodES384, p384),
		"RS256":                                  alg("RS256", jwt.SigningMethodRS256, rsaKey),
		"HS256 with the certificate as its secret":  alg("HS256", jwt.SigningMethodHS256, w.leaf.Raw),
		"a number as the algorithm":                 headed(object{"alg": 256, "x5c": x5c}),
		"a critical extension":                      headed(object{"alg": "ES256", "x5c": x5c, "crit": []string{"exp"}}),
		"no certificates":                           headed(object{"alg": "ES256"}),
		"a text instead of certificates":            headed(object{"alg": "ES256", "x5c": x5c[0]}),
		"numbers instead of certificates":           headed(object{"alg": "ES256", "x5c": []int{1, 2, 3}}),
		"an empty list of certificates":             headed(object{"alg": "ES256", "x5c": []string{}}),
		"one certificate":                           chained(w.leaf),
		"two certificates":                          chained(w.leaf, w.intermediate),
		"four certificates":                         chained(w.leaf, w.intermediate, w.root, w.root),
		"wrong order: root before intermediate":     chained(w.leaf, w.root, w.intermediate),
		"wrong order: root first":                   signParts(object{"alg": "ES256", "x5c": chain(w.root, w.intermediate, w.leaf)}, payload, w.leaf.key),
		"wrong order: intermediate first":           signParts(object{"alg": "ES256", "x5c": chain(w.intermediate, w.leaf, w.root)}, payload, w.leaf.key),
		"the leaf three times":                      chained(w.leaf, w.leaf, w.leaf),
		"a leaf without the mark":                   chained(leaf(w.intermediate, certificateOptions{}), w.intermediate, w.root),
		"a leaf with the mark of the intermediate":  chained(leafAsIssuer, w.intermediate, w.root),
		"an intermediate without the mark":          chained(leaf(unmarkedIntermediate, certificateOptions{mark: leafMark}), unmarkedIntermediate, w.root),
		"a leaf that the root has issued":           chained(leaf(w.root, certificateOptions{mark: leafMark}), w.intermediate, w.root),
		"a leaf that a leaf has issued":             chained(leaf(leafAsIssuer, certificateOptions{mark: leafMark}), leafAsIssuer, w.root),
		"an expired leaf":                           chained(leaf(w.intermediate, expired), w.intermediate, w.root),
		"a leaf of the future":                      chained(leaf(w.intermediate, future), w.intermediate, w.root),
		"an expired intermediate":                   chained(leaf(expiredIntermediate, certificateOptions{mark: leafMark}), expiredIntermediate, w.root),
		"a leaf with a P-384 key":                   signParts(object{"alg": "ES256", "x5c": chain(p384Leaf, w.intermediate, w.root)}, payload, w.leaf.key),
		"another root with the same name":           stranger.sign(bought()),
		"another chain with Apple's root after it":  chained(stranger.leaf, stranger.intermediate, w.root),
		"another leaf under Apple's certificates":   chained(stranger.leaf, w.intermediate, w.root),
		"a certificate in damaged base64":           encoded("%" + x5c[2][1:]),
		"a certificate in base64 of URLs":           encoded(strings.TrimRight(base64.URLEncoding.EncodeToString([]byte{0xfb, 0xff, 0xfe, 1}), "=")),
		"a certificate that is none":                encoded(base64.StdEncoding.EncodeToString([]byte("certificate"))),
		"a certificate cut short":                   encoded(base64.StdEncoding.EncodeToString(w.root.Raw[:300])),
		"no signing date":                           w.sign(with(bought(), object{"signedDate": nil})),
		"a text as the signing date":                w.sign(with(bought(), object{"signedDate": "1698148900000"})),
		"a signing date beyond all time":            w.sign(with(bought(), object{"signedDate": 1e300})),
		"a signing date before the certificates":    w.sign(with(bought(), object{"signedDate": 0})),
		"a payload that is null":                    w.sign(nil),
		"a payload that is a list":                  w.sign([]any{bought()}),
		"a payload that is no JSON":                 signParts(object{"alg": "ES256", "x5c": x5c}, []byte("{"), w.leaf.key),
		"a header that is null":                     segment([]byte("null")) + "." + parts[1] + "." + parts[2],
		"a receipt of the kind before signed ones":  base64.StdEncoding.EncodeToString(w.root.Raw),
		"an id with a path in it":                   "../subscriptions/430001800000001",
		"an id with a space":                        " 430001800000001",
		"an id longer than any":                     strings.Repeat("4", 65),
		"a signed transaction with a space after":   good + " ",
		"a signed transaction with a line after it": good + "\n.",
	} {
		t.Run(name, func(t *testing.T) {
			verdict := verify(t, w.verifier(t, allowSandbox), signed)
			require.Equal(t, userkit.VerdictInvalid, verdict.Outcome)
			require.Equal(t, userkit.ReasonForged, verdict.Reason)
			require.Zero(t, verdict.Facts)
			require.Error(t, verdict.Err)
		})
	}
	require.Empty(t, w.production.paths())
	require.Empty(t, w.sandbox.paths())
}

func TestRootThatOnlyClaimsToBeApples(t *testing.T) {
	w := testWorld(t)
	w.production.sell(bought())
	apples := w.verifier(t, func(config *apple.Config) { config.Roots = nil })
	for name, verifier := range map[string]*apple.Verifier{
		"against the fingerprint":        apples,
		"against the roots of the host":  w.verifier(t, nil),
		"in the sandbox, too":            w.verifier(t, func(c *apple.Config) { onlySandbox(c); c.Roots = nil }),
		"with the sandbox allowed":       w.verifier(t, func(c *apple.Config) { c.AllowSandbox, c.Roots = true, nil }),
		"with an empty list is Apple's ": w.verifier(t, func(c *apple.Config) { c.Roots = []*x509.Certificate{} }),
	} {
		t.Run(name, func(t *testing.T) {
			forger := newSigner() // its root has the name of Apple's
			require.Equal(t, userkit.ReasonForged, verify(t, verifier, forger.sign(bought())).Reason)
			_, err := verifier.ReadNotification(t.Context(), notification(forger.sign(notice("DID_RENEW", object{}))))
			require.ErrorIs(t, err, userkit.ErrForbidden)
		})
	}
	// By default, an answer over the network is held to the same root.
	require.Equal(t, userkit.VerdictUndecided, verify(t, apples, boughtID).Outcome)
}

func TestSignedDataOfAnotherAppOrEnvironment(t *testing.T) {
	w := testWorld(t)
	production, both := w.verifier(t, nil), w.verifier(t, allowSandbox)
	sandbox := w.verifier(t, onlySandbox)
	for name, test := range map[string]struct {
		verifier *apple.Verifier
		change   object
		reason   userkit.PurchaseReason
	}{
		"another bundle id":               {production, object{"bundleId": "org.example.other"}, userkit.ReasonWrongApp},
		"a bundle id in other letters":    {production, object{"bundleId": "org.example.App"}, userkit.ReasonWrongApp},
		"no bundle id":                    {production, object{"bundleId": nil}, userkit.ReasonWrongApp},
		"another app before its world":    {production, object{"bundleId": "org.example.other", "environment": "Sandbox"}, userkit.ReasonWrongApp},
		"the sandbox in production":       {production, object{"environment": "Sandbox"}, userkit.ReasonEnvironment},
		"Xcode in production":             {production, object{"environment": "Xcode"}, userkit.ReasonEnvironment},
		"local testing in production":     {production, object{"environment": "LocalTesting"}, userkit.ReasonEnvironment},
		"Xcode with the sandbox":          {both, object{"environment": "Xcode"}, userkit.ReasonEnvironment},
		"local testing with the sandbox":  {both, object{"environment": "LocalTesting"}, userkit.ReasonEnvironment},
		"an unknown environment":          {both, object{"environment": "production"}, userkit.ReasonEnvironment},
		"no environment":                  {both, object{"environment": nil}, userkit.ReasonEnvironment},
		"production in the sandbox":       {sandbox, object{}, userkit.ReasonEnvironment},
		"an app transaction":              {production, object{"transactionId": nil, "originalTransactionId": nil}, userkit.ReasonNotFound},
		"renewal information":             {production, object{"transactionId": nil}, userkit.ReasonNotFound},
		"an id that leads somewhere else": {production, object{"transactionId": "1/../2"}, userkit.ReasonNotFound},
		"a date that is none":             {production, object{"purchaseDate": "yesterday"}, userkit.ReasonNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			verdict := verify(t, test.verifier, w.sign(with(bought(), test.change)))
			require.Equal(t, userkit.VerdictInvalid, verdict.Outcome)
			require.Equal(t, test.reason, verdict.Reason)
			require.Zero(t, verdict.Facts)
		})
	}
	require.Empty(t, w.production.paths())
	require.Empty(t, w.sandbox.paths())
}

func TestDataOfADevelopersMachineCountsInTheSandboxUnderTheHostsRoots(t *testing.T) {
	w := testWorld(t)
	for _, environment := range []string{"Xcode", "LocalTesting"} {
		local := with(bought(), object{"environment": environment})
		w.sandbox.sell(local)
		verdict := verify(t, w.verifier(t, onlySandbox), w.sign(local))
		require.Equal(t, userkit.VerdictValid, verdict.Outcome)
		require.Equal(t, userkit.Sandbox, verdict.Facts.Environment)
	}
	require.Empty(t, w.production.paths())
}

func TestDatesMayHaveFractionsOfAMillisecond(t *testing.T) {
	w := testWorld(t)
	fraction := json.RawMessage("1772366399999.4567")
	w.production.sell(with(bought(), object{"purchaseDate": fraction, "signedDate": json.RawMessage("1.7723663999995e12")}))
	facts := verify(t, w.verifier(t, nil), boughtID).Facts
	require.Equal(t, time.Date(2026, 3, 1, 11, 59, 59, 999_457_000, time.UTC), facts.PurchasedAt)
	require.Equal(t, time.Date(2026, 3, 1, 11, 59, 59, 999_500_000, time.UTC), facts.At)
	require.Equal(t, time.UTC, facts.At.Location())
}
