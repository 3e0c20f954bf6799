package webpush

import (
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The values of RFC 8291, section 5 and appendix A.
const (
	vectorPlaintext     = "V2hlbiBJIGdyb3cgdXAsIEkgd2FudCB0byBiZSBhIHdhdGVybWVsb24"
	vectorServerPrivate = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
	vectorServerPublic  = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"
	vectorAgentPublic   = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
	vectorSecret        = "BTBZMqHH6r4Tts7J_aSIgg"
	vectorSalt          = "DGv6ra1nlYgDCS1FRnbzlw"
	vectorBody          = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)

func bytesOf(t testing.TB, text string) []byte {
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	require.NoError(t, err)
	return decoded
}

func subscriptionJSON(endpoint, key, secret string) string {
	encoded, _ := json.Marshal(map[string]any{"endpoint": endpoint, "expirationTime": nil, "keys": map[string]string{"p256dh": key, "auth": secret}})
	return string(encoded)
}

func TestEncryptionIsThatOfRFC8291AppendixA(t *testing.T) {
	s, err := parseSubscription(subscriptionJSON("https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV", vectorAgentPublic, vectorSecret))
	require.NoError(t, err)
	once, err := ecdh.P256().NewPrivateKey(bytesOf(t, vectorServerPrivate))
	require.NoError(t, err)
	require.Equal(t, vectorServerPublic, base64.RawURLEncoding.EncodeToString(once.PublicKey().Bytes()))
	body, err := s.encrypt(bytesOf(t, vectorPlaintext), once, bytesOf(t, vectorSalt))
	require.NoError(t, err)
	require.Equal(t, vectorBody, base64.RawURLEncoding.EncodeToString(body))
}

func TestLongestMessageFillsTheBody(t *testing.T) {
	s, err := parseSubscription(subscriptionJSON("https://push.example.net/a", vectorAgentPublic, vectorSecret))
	require.NoError(t, err)
	once, err := ecdh.P256().NewPrivateKey(bytesOf(t, vectorServerPrivate))
	require.NoError(t, err)
	body, err := s.encrypt(make([]byte, maxPlaintext), once, bytesOf(t, vectorSalt))
	require.NoError(t, err)
	require.Len(t, body, 4096)
	_, err = s.encrypt(make([]byte, maxPlaintext+1), once, bytesOf(t, vectorSalt))
	require.Error(t, err)
}

func TestSubscriptions(t *testing.T) {
	s, err := parseSubscription(subscriptionJSON("https://Push.Example.net:443/a?token=b", vectorAgentPublic+"=", vectorSecret+"=="))
	require.NoError(t, err)
	require.Equal(t, "https://push.example.net", s.origin)
	require.Equal(t, "push.example.net", s.host)
	s, err = parseSubscription(subscriptionJSON("https://[::1]:8443/a", vectorAgentPublic, vectorSecret))
	require.NoError(t, err)
	require.Equal(t, "https://[::1]:8443", s.origin)

	offCurve := bytesOf(t, vectorAgentPublic)
	offCurve[64] ^= 1
	for name, text := range map[string]string{
		"no JSON":               "fcm-token",
		"empty":                 "{}",
		"http":                  subscriptionJSON("http://push.example.net/a", vectorAgentPublic, vectorSecret),
		"a user":                subscriptionJSON("https://a:b@push.example.net/a", vectorAgentPublic, vectorSecret),
		"no host":               subscriptionJSON("https:///a", vectorAgentPublic, vectorSecret),
		"a short secret":        subscriptionJSON("https://push.example.net/a", vectorAgentPublic, "AAAA"),
		"no key":                subscriptionJSON("https://push.example.net/a", "", vectorSecret),
		"a point off the curve": subscriptionJSON("https://push.example.net/a", base64.RawURLEncoding.EncodeToString(offCurve), vectorSecret),
	} {
		_, err := parseSubscription(text)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "push.example.net")
	}
}

func FuzzParseSubscription(f *testing.F) {
	f.Add(subscriptionJSON("https://push.example.net/a", vectorAgentPublic, vectorSecret))
	f.Add(`{"endpoint":"https://[::1%25a]/","keys":{"p256dh":"","auth":""}}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSubscription(text)
		if err != nil {
			return
		}
		if !strings.HasPrefix(s.origin, "https://") || s.host == "" || s.key == nil || len(s.secret) != secretSize {
			t.Errorf("%q gives %+v", text, s)
		}
	})
}
