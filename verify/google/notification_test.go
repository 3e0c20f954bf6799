package google_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/google"
)

func developerNotification(content string) string {
	return `{"version":"1.0","packageName":"` + packageName + `","eventTimeMillis":"1773144000000"` + content + `}`
}

var renewed = developerNotification(`,"subscriptionNotification":{"version":"1.0","notificationType":2,"purchaseToken":"` +
	purchaseToken + `","subscriptionId":"monthly"}`)

func push(token string, body []byte) userkit.StoreNotification {
	return userkit.StoreNotification{Header: http.Header{"Authorization": {"Bearer " + token}}, Body: body}
}

func TestNotifications(t *testing.T) {
	about := func(name, product string) userkit.NotificationContent {
		return userkit.NotificationContent{
			ID:       "136969346945",
			StableID: google.StableID(purchaseToken),
			Receipt:  userkit.Receipt{Store: "google", Token: name + purchaseToken, ProductID: product},
		}
	}
	tests := []struct {
		name, content string
		want          userkit.NotificationContent
	}{
		{"subscription", renewed, about("subscription:", "")},
		{"subscription of an unknown type", developerNotification(`,"subscriptionNotification":{"notificationType":99,"purchaseToken":"` + purchaseToken + `"}`), about("subscription:", "")},
		{"one-time product", developerNotification(`,"oneTimeProductNotification":{"version":"1.0","notificationType":1,"purchaseToken":"` + purchaseToken + `","sku":"coins"}`), about("productv2:", "coins")},
		{"voided", developerNotification(`,"voidedPurchaseNotification":{"purchaseToken":"` + purchaseToken + `","orderId":"GPA.1","productType":1,"refundType":1}`), about("", "")},
		{"test", developerNotification(`,"testNotification":{"version":"1.0"}`), userkit.NotificationContent{ID: "136969346945"}},
		{"of the future", developerNotification(`,"somethingNewNotification":{"x":1}`), userkit.NotificationContent{ID: "136969346945"}},
		{
			"a refund that waits for the developer",
			developerNotification(`,"pendingRefundReviewNotification":{"version":"1.0","pendingRefundToken":"reply","orderId":"GPA.1","refundReason":7,"obfuscatedAccountId":"user-7"}`),
			userkit.NotificationContent{
				ID: "136969346945", Receipt: userkit.Receipt{Store: "google"},
				RefundRequest: &userkit.RefundRequest{TransactionID: "GPA.1", AccountToken: "user-7", Reply: "reply"},
			},
		},
		{"time as a number", strings.Replace(renewed, `"1773144000000"`, `1773144000000`, 1), about("subscription:", "")},
	}
	p := newPlay(t)
	v := p.verifier(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			content, err := v.ReadNotification(t.Context(), push(pushToken(t, start, nil), pushBody("136969346945", test.content)))
			require.NoError(t, err)
			require.Equal(t, test.want, content)
		})
	}
	require.Equal(t, []string{keysRoute}, p.asked(), "a notification is a trigger: nothing but the keys is asked for")
}

func TestNotificationLeadsToItsPurchase(t *testing.T) {
	p := newPlay(t)
	p.answer(subscriptionRoute, 200, subscription("ACTIVE", soon, ""))
	v := p.verifier(t)
	content, err := v.ReadNotification(t.Context(), push(pushToken(t, start, nil), pushBody("1", renewed)))
	require.NoError(t, err)
	verdict := v.Verify(t.Context(), content.Receipt)
	require.Equal(t, userkit.VerdictValid, verdict.Outcome)
	require.Equal(t, content.StableID, verdict.Facts.StableID)
}

func TestUnreadableNotifications(t *testing.T) {
	encoded := func(data string) string {
		return `{"message":{"messageId":"1","data":"` + base64.StdEncoding.EncodeToString([]byte(data)) + `"}}`
	}
	subscriptionOf := func(token string) string {
		return developerNotification(`,"subscriptionNotification":{"purchaseToken":"` + token + `"}`)
	}
	tests := map[string]string{
		"empty":           ``,
		"null":            `null`,
		"no object":       `[1]`,
		"no message":      `{}`,
		"no id":           `{"message":{"data":"e30="}}`,
		"id too long":     `{"message":{"data":"e30=","messageId":"` + strings.Repeat("1", 600) + `"}}`,
		"no data":         `{"message":{"messageId":"1"}}`,
		"no base64":       `{"message":{"messageId":"1","data":"***"}}`,
		"cut base64":      `{"message":{"messageId":"1","data":"e30"}}`,
		"no JSON":         encoded(`hello`),
		"no package":      encoded(`{}`),
		"no token":        encoded(developerNotification(`,"subscriptionNotification":{}`)),
		"kind in a token": encoded(developerNotification(`,"voidedPurchaseNotification":{"purchaseToken":"product:x"}`)),
		"path in a token": encoded(subscriptionOf("../x")),
		"two purchases":   encoded(developerNotification(`,"subscriptionNotification":{"purchaseToken":"a"},"voidedPurchaseNotification":{"purchaseToken":"b"}`)),
		"too long":        encoded(developerNotification(`,"x":"` + strings.Repeat("x", userkit.MaxStoreNotification) + `"`)),
	}
	v := newPlay(t).verifier(t)
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			content, err := v.ReadNotification(t.Context(), push(pushToken(t, start, nil), []byte(body)))
			require.Empty(t, content)
			require.ErrorIs(t, err, userkit.ErrInvalid)
			require.Equal(t, userkit.CodeBadFormat, userkit.ErrorCode(err))
		})
	}
	t.Run("another application", func(t *testing.T) {
		body := pushBody("1", strings.Replace(renewed, packageName, "com.example.other", 1))
		_, err := v.ReadNotification(t.Context(), push(pushToken(t, start, nil), body))
		require.Equal(t, userkit.CodeInvalidSignature, userkit.ErrorCode(err))
	})
}

func TestForgedPushes(t *testing.T) {
	claims := func(change func(jwt.MapClaims)) string { return pushToken(t, start, change) }
	set := func(name string, value any) string { return claims(func(c jwt.MapClaims) { c[name] = value }) }
	without := func(name string) string { return claims(func(c jwt.MapClaims) { delete(c, name) }) }
	elliptic, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	good := claims(nil)
	parts := strings.Split(good, ".")
	resigned := signed(t, jwt.SigningMethodRS256, "push-1", pushClaims(start.Add(time.Second)), pushKey())
	critical := jwt.NewWithClaims(jwt.SigningMethodRS256, pushClaims(start))
	critical.Header["kid"], critical.Header["crit"] = "push-1", []string{"b64"}
	criticalText, err := critical.SignedString(pushKey())
	require.NoError(t, err)
	public := pushKey().PublicKey.N.Bytes()

	bearer := func(token string) map[string][]string {
		return map[string][]string{"Authorization": {"Bearer " + token}}
	}
	tests := map[string]map[string][]string{
		"no header":            nil,
		"empty header":         {"Authorization": {""}},
		"no token":             {"Authorization": {"Bearer "}},
		"another scheme":       {"Authorization": {"Basic " + good}},
		"two headers":          {"Authorization": {"Bearer " + good, "Bearer " + good}},
		"two spellings":        {"Authorization": {"Bearer " + good}, "authorization": {"Bearer " + good}},
		"no parts":             bearer("x"),
		"damaged base64":       bearer("!" + good),
		"too long":             bearer(good + strings.Repeat("A", 20_000)),
		"wrong key":            bearer(signed(t, jwt.SigningMethodRS256, "push-1", pushClaims(start), strangeKey())),
		"unknown key id":       bearer(signed(t, jwt.SigningMethodRS256, "push-9", pushClaims(start), pushKey())),
		"no key id":            bearer(signed(t, jwt.SigningMethodRS256, "", pushClaims(start), pushKey())),
		"wrong audience":       bearer(set("aud", "https://example.org/other")),
		"no audience":          bearer(without("aud")),
		"expired":              bearer(set("exp", start.Add(-time.Minute).Unix())),
		"no end":               bearer(without("exp")),
		"not yet valid":        bearer(set("nbf", start.Add(time.Minute).Unix())),
		"issued in the future": bearer(set("iat", start.Add(time.Minute).Unix())),
		"wrong issuer":         bearer(set("iss", "https://accounts.example.org")),
		"no issuer":            bearer(without("iss")),
		"wrong account":        bearer(set("email", "other@example.iam.gserviceaccount.com")),
		"no account":           bearer(without("email")),
		"account not verified": bearer(set("email_verified", false)),
		"verified by nobody":   bearer(without("email_verified")),
		"algorithm none":       bearer(signed(t, jwt.SigningMethodNone, "push-1", pushClaims(start), jwt.UnsafeAllowNoneSignatureType)),
		"algorithm RS512":      bearer(signed(t, jwt.SigningMethodRS512, "push-1", pushClaims(start), pushKey())),
		"algorithm PS256":      bearer(signed(t, jwt.SigningMethodPS256, "push-1", pushClaims(start), pushKey())),
		"algorithm ES256":      bearer(signed(t, jwt.SigningMethodES256, "push-1", pushClaims(start), elliptic)),
		"public key as secret": bearer(signed(t, jwt.SigningMethodHS256, "push-1", pushClaims(start), public)),
		"signature cut off":    bearer(parts[0] + "." + parts[1] + "."),
		"other claims":         bearer(parts[0] + "." + strings.Split(resigned, ".")[1] + "." + parts[2]),
		"critical extension":   bearer(criticalText),
	}
	p := newPlay(t)
	v := p.verifier(t)
	for name, header := range tests {
		t.Run(name, func(t *testing.T) {
			content, err := v.ReadNotification(t.Context(), userkit.StoreNotification{Header: header, Body: pushBody("1", renewed)})
			require.Empty(t, content)
			require.ErrorIs(t, err, userkit.ErrForbidden)
			require.Equal(t, userkit.CodeInvalidSignature, userkit.ErrorCode(err))
			keepsSecrets(t, err)
		})
	}
	require.Equal(t, 1, p.count(keysRoute))

	for name, token := range map[string]string{"short issuer": set("iss", "accounts.google.com"), "clock behind": set("exp", start.Add(-29*time.Second).Unix())} {
		_, err := v.ReadNotification(t.Context(), userkit.StoreNotification{
			Header: map[string][]string{"authorization": {"bearer " + token}}, Body: pushBody("1", renewed)})
		require.NoError(t, err, name)
	}
}

func TestNotificationsWithoutAPushSubscription(t *testing.T) {
	p := newPlay(t)
	config := p.config()
	config.PushAudience, config.PushServiceAccount = "", ""
	v, err := google.New(config)
	require.NoError(t, err)
	_, err = v.ReadNotification(t.Context(), push(pushToken(t, start, nil), pushBody("1", renewed)))
	require.Equal(t, userkit.CodeInvalidSignature, userkit.ErrorCode(err))
	require.Empty(t, p.asked())
}

func TestKeysAreFetchedWhenTheyAreNeeded(t *testing.T) {
	p := newPlay(t)
	p.answer(keysRoute, 200, keySetOf("push-1", &pushKey().PublicKey), "Cache-Control", "public, max-age=20000, must-revalidate", "Age", "2000")
	v := p.verifier(t)
	read := func(id string, key *rsa.PrivateKey) error {
		token := signed(t, jwt.SigningMethodRS256, id, pushClaims(p.clock()), key)
		_, err := v.ReadNotification(t.Context(), push(token, pushBody("1", renewed)))
		return err
	}
	require.NoError(t, read("push-1", pushKey()))
	p.advance(17_999 * time.Second)
	require.NoError(t, read("push-1", pushKey()))
	require.Equal(t, 1, p.count(keysRoute))
	p.advance(time.Second)
	require.NoError(t, read("push-1", pushKey()))
	require.Equal(t, 2, p.count(keysRoute))

	// A new key is found at once, but no more than once a minute.
	p.answer(keysRoute, 200, keySetOf("push-2", &strangeKey().PublicKey), "Cache-Control", "max-age=1")
	require.ErrorIs(t, read("push-2", strangeKey()), userkit.ErrForbidden)
	p.advance(time.Minute)
	require.NoError(t, read("push-2", strangeKey()))
	require.ErrorIs(t, read("push-1", pushKey()), userkit.ErrForbidden, "a key that Google has withdrawn")
	require.ErrorIs(t, read("push-3", pushKey()), userkit.ErrForbidden)
	require.Equal(t, 3, p.count(keysRoute))
	p.advance(5*time.Minute - time.Second)
	require.NoError(t, read("push-2", strangeKey()))
	require.Equal(t, 3, p.count(keysRoute), "max-age is not taken below five minutes")

	// Keys that are old and cannot be had are not used.
	p.answer(keysRoute, 503, "")
	p.advance(time.Hour)
	err := read("push-2", strangeKey())
	require.ErrorIs(t, err, userkit.ErrUnavailable)
	require.Equal(t, userkit.CodePurchaseUndecided, userkit.ErrorCode(err))
	require.ErrorIs(t, read("push-2", strangeKey()), userkit.ErrUnavailable)
	require.Equal(t, 4, p.count(keysRoute))
	p.answer(keysRoute, 200, keySetOf("push-2", &strangeKey().PublicKey), "Cache-Control", "max-age=99999999")
	p.advance(time.Minute)
	require.NoError(t, read("push-2", strangeKey()))
	p.advance(24 * time.Hour)
	require.NoError(t, read("push-2", strangeKey()))
	require.Equal(t, 6, p.count(keysRoute), "max-age is not taken beyond a day")
}

func TestKeySetsThatAreNone(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	many := strings.Repeat(`{"kty":"RSA"},`, 40) + `{"kty":"RSA"}`
	one := func(n, e string) string {
		return fmt.Sprintf(`{"keys":[{"kty":"RSA","kid":"push-1","n":%q,"e":%q}]}`, n, e)
	}
	modulus := base64.RawURLEncoding.EncodeToString(pushKey().N.Bytes())
	for name, body := range map[string]string{
		"empty": ``, "no keys": `{}`, "not a set": `{"keys":7}`, "too many": `{"keys":[` + many + `]}`,
		"short key": keySetOf("push-1", &short.PublicKey), "damaged modulus": one("***", "AQAB"), "huge modulus": one(strings.Repeat("AQAB", 500), "AQAB"),
		"damaged exponent": one(modulus, "*"), "even exponent": one(modulus, "AQAA"), "exponent one": one(modulus, "AQ"),
		"no exponent": one(modulus, ""), "huge exponent": one(modulus, "AQAAAAE"), "exponent beyond 31 bits": one(modulus, "_____w"),
		"for encryption": strings.Replace(one(modulus, "AQAB"), `"kty"`, `"use":"enc","kty"`, 1), "another algorithm": strings.Replace(one(modulus, "AQAB"), `"kty"`, `"alg":"RS512","kty"`, 1),
		"too long": `{"keys":[],"x":"` + strings.Repeat("x", 300*1024) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlay(t)
			p.answer(keysRoute, 200, body)
			_, err := p.verifier(t).ReadNotification(t.Context(), push(pushToken(t, start, nil), pushBody("1", renewed)))
			require.ErrorIs(t, err, userkit.ErrUnavailable)
			keepsSecrets(t, err)
		})
	}
}

func TestOneFetchOfKeysForAll(t *testing.T) {
	p := newPlay(t)
	arrived := make(chan struct{})
	p.handle(keysRoute, func(*http.Request) reply {
		<-arrived
		return reply{status: 200, body: keySetOf("push-1", &pushKey().PublicKey)}
	})
	v := p.verifier(t)
	token := pushToken(t, start, nil)
	var begun, ended sync.WaitGroup
	begun.Add(20)
	for range 20 {
		ended.Go(func() {
			begun.Done()
			_, err := v.ReadNotification(t.Context(), push(token, pushBody("1", renewed)))
			require.NoError(t, err)
		})
	}
	begun.Wait()
	close(arrived)
	ended.Wait()
	require.Equal(t, 1, p.count(keysRoute))
}

func TestNotificationWhoseContextEnds(t *testing.T) {
	p := newPlay(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	v := p.verifier(t)
	_, err := v.ReadNotification(ctx, push(pushToken(t, start, nil), pushBody("1", renewed)))
	require.ErrorIs(t, err, userkit.ErrUnavailable)
	_, err = v.ReadNotification(t.Context(), push(pushToken(t, start, nil), pushBody("1", renewed)))
	require.NoError(t, err, "that one caller gave up is nobody else's failure")
}
