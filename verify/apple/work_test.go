package apple_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// largeIntermediate is a certificate of a stranger with an RSA key of so many bits. The
// key is no key of anybody's: what counts is what a signature of it would cost.
func largeIntermediate(bits int) *x509.Certificate {
	stranger := newSigner()
	modulus := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	modulus.Add(modulus, big.NewInt(1))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Worldwide Developer Relations"},
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, ExtraExtensions: []pkix.Extension{{Id: intermediateMark, Value: []byte{0x05, 0x00}}},
	}
	key := &rsa.PublicKey{N: modulus, E: 1<<31 - 1}
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, stranger.root.Certificate, key, stranger.root.key))))
}

func TestWorkDoesNotDependOnWhatASenderChooses(t *testing.T) {
	w := testWorld(t)
	verifier := w.verifier(t, nil)
	leaf := base64.StdEncoding.EncodeToString(w.leaf.Raw)
	root := base64.StdEncoding.EncodeToString(w.root.Raw)
	large := base64.StdEncoding.EncodeToString(largeIntermediate(540_000).Raw)
	small := base64.StdEncoding.EncodeToString(largeIntermediate(4096).Raw)
	payload := must(json.Marshal(bought()))
	for name, test := range map[string]struct {
		x5c  []string
		want string
	}{
		"an RSA key of 540,000 bits": {[]string{leaf, large, root}, "longer"},
		"an RSA key as a leaf":       {[]string{small, leaf, root}, "neither P-256 nor P-384"},
		"an RSA key that is small":   {[]string{leaf, small, root}, "neither P-256 nor P-384"},
		"a certificate with a tail":  {[]string{leaf, base64.StdEncoding.EncodeToString(make([]byte, 5000)), root}, "longer"},
		"a certificate that is huge": {[]string{leaf, strings.Repeat("A", 60_000), root}, "longer"},
	} {
		t.Run(name, func(t *testing.T) {
			signed := signParts(object{"alg": "ES256", "x5c": test.x5c}, payload, w.leaf.key)
			if len(signed) <= userkit.MaxReceipt {
				verdict := verifier.Verify(t.Context(), userkit.Receipt{Store: "apple", Token: signed})
				require.Equal(t, userkit.ReasonForged, verdict.Reason)
				require.ErrorContains(t, verdict.Err, test.want)
			}
			_, err := verifier.ReadNotification(t.Context(), userkit.StoreNotification{Body: must(json.Marshal(object{"signedPayload": signed}))})
			require.Equal(t, userkit.CodeInvalidSignature, userkit.ErrorCode(err))
		})
	}
}

func TestContextThatIsOverEndsTheWork(t *testing.T) {
	w := testWorld(t)
	verifier := w.verifier(t, nil)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	verdict := verifier.Verify(over, userkit.Receipt{Store: "apple", Token: w.sign(bought())})
	require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
	require.ErrorIs(t, verdict.Err, context.Canceled)
	_, err := verifier.ReadNotification(over, userkit.StoreNotification{Body: must(json.Marshal(object{"signedPayload": w.sign(bought())}))})
	require.ErrorIs(t, err, context.Canceled)
}

func TestClocksOfTheAppStoreMayDisagreeByAMinute(t *testing.T) {
	for skew, good := range map[time.Duration]bool{time.Minute: true, -time.Minute: true, 61 * time.Second: false, -61 * time.Second: false} {
		w := testWorld(t)
		options := certificateOptions{name: "Leaf", mark: leafMark, leaf: true, from: now, to: now.AddDate(0, 1, 0)}
		signedAt := options.from.Add(skew)
		if skew > 0 {
			signedAt = options.to.Add(skew)
		}
		w.signer.leaf = issue(w.intermediate, options)
		shown := with(bought(), object{"signedDate": milliseconds(signedAt)})
		w.production.sell(shown)
		verdict := w.verifier(t, nil).Verify(t.Context(), userkit.Receipt{Store: "apple", Token: w.sign(shown)})
		require.Equal(t, good, verdict.Reason != userkit.ReasonForged, skew)
	}
}

func TestReceiptThatDecidesByItselfIsNoQuestion(t *testing.T) {
	w := testWorld(t)
	verifier := w.verifier(t, nil)
	for token, reason := range map[string]userkit.PurchaseReason{
		"no receipt at all": userkit.ReasonForged,
		w.sign(with(bought(), object{"bundleId": "org.example.other"})):    userkit.ReasonWrongApp,
		w.sign(with(bought(), object{"environment": "Sandbox"})):           userkit.ReasonEnvironment,
		signParts(object{"alg": "ES256"}, []byte("{}"), w.signer.leaf.key): userkit.ReasonForged,
	} {
		verdict, decided := verifier.CheckReceipt(t.Context(), userkit.Receipt{Store: "apple", Token: token})
		require.True(t, decided)
		require.Equal(t, reason, verdict.Reason)
	}
	for _, token := range []string{"430001900000001", w.sign(bought())} {
		_, decided := verifier.CheckReceipt(t.Context(), userkit.Receipt{Store: "apple", Token: token})
		require.False(t, decided)
	}
}
