package google_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/google"
)

func TestAssertion(t *testing.T) {
	p := newPlay(t)
	p.verifier(t).Verify(t.Context(), receipt(purchaseToken))

	form, err := url.ParseQuery(p.bodyOf(tokenRoute))
	require.NoError(t, err)
	require.Equal(t, "urn:ietf:params:oauth:grant-type:jwt-bearer", form.Get("grant_type"))
	token, err := jwt.Parse(form.Get("assertion"), func(*jwt.Token) (any, error) { return &signingKey().PublicKey, nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(p.clock))
	require.NoError(t, err)
	require.Equal(t, "key-1", token.Header["kid"])
	require.Equal(t, "JWT", token.Header["typ"])
	issued := start.Add(-30 * time.Second).Unix()
	require.Equal(t, jwt.MapClaims{
		"iss": accountEmail, "scope": "https://www.googleapis.com/auth/androidpublisher", "aud": p.URL + "/token",
		"iat": float64(issued), "exp": float64(issued + 3600),
	}, token.Claims)
}

func TestAccessTokenIsKeptUntilShortlyBeforeItsEnd(t *testing.T) {
	p := newPlay(t)
	v := p.verifier(t)
	verify := func() { v.Verify(t.Context(), receipt("subscription:"+purchaseToken)) }
	verify()
	p.advance(3599*time.Second - time.Minute - time.Second)
	verify()
	require.Equal(t, 1, p.count(tokenRoute))
	p.advance(time.Second)
	verify()
	require.Equal(t, 2, p.count(tokenRoute))

	short := newPlay(t)
	short.answer(tokenRoute, 200, `{"access_token":"`+accessToken+`","expires_in":20,"token_type":"bearer"}`)
	v = short.verifier(t)
	verify()
	short.advance(9 * time.Second)
	verify()
	require.Equal(t, 1, short.count(tokenRoute))
	short.advance(time.Second)
	verify()
	require.Equal(t, 2, short.count(tokenRoute))
}

func TestOneRefreshForAll(t *testing.T) {
	p := newPlay(t)
	p.answer(subscriptionRoute, 200, subscription("ACTIVE", soon, ""))
	const callers = 20
	arrived := make(chan struct{})
	p.handle(tokenRoute, func(*http.Request) reply {
		<-arrived // all callers are under way
		return reply{status: 200, body: `{"access_token":"` + accessToken + `","expires_in":3599,"token_type":"Bearer"}`}
	})
	v := p.verifier(t)
	var begun, ended sync.WaitGroup
	begun.Add(callers)
	for range callers {
		ended.Go(func() {
			begun.Done()
			require.Equal(t, userkit.VerdictValid, v.Verify(t.Context(), receipt(purchaseToken)).Outcome)
		})
	}
	begun.Wait()
	close(arrived)
	ended.Wait()
	require.Equal(t, 1, p.count(tokenRoute))
}

func TestAccessTokenThatIsNotTakenIsReplacedOnce(t *testing.T) {
	p := newPlay(t)
	granted := 0
	p.handle(tokenRoute, func(*http.Request) reply {
		granted++
		token := accessToken
		if granted == 1 {
			token = "revoked"
		}
		return reply{status: 200, body: `{"access_token":"` + token + `","expires_in":3599,"token_type":"Bearer"}`}
	})
	p.answer(subscriptionRoute, 200, subscription("ACTIVE", soon, ""))
	v := p.verifier(t)
	require.Equal(t, userkit.VerdictValid, v.Verify(t.Context(), receipt(purchaseToken)).Outcome)
	require.Equal(t, 2, p.count(tokenRoute))

	p.answer(subscriptionRoute, 401, apiError(401, "UNAUTHENTICATED", "permissionDenied"))
	require.Equal(t, userkit.VerdictUndecided, v.Verify(t.Context(), receipt(purchaseToken)).Outcome)
	require.Equal(t, 4, p.count(subscriptionRoute), "two requests that were refused, one that was taken before, one with the revoked token")
}

// holding is a transport that holds the first request with the token "revoked" until
// it is released.
type holding struct {
	once           sync.Once
	held, released chan struct{}
}

func (h *holding) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Header.Get("Authorization") == "Bearer revoked" {
		h.once.Do(func() {
			close(h.held)
			<-h.released
		})
	}
	return http.DefaultTransport.RoundTrip(request)
}

func TestAccessTokenThatWasReplacedIsNotReplacedAgain(t *testing.T) {
	p := newPlay(t)
	p.answer(tokenRoute, 200, `{"access_token":"revoked","expires_in":3599,"token_type":"Bearer"}`)
	p.answer(subscriptionRoute, 200, subscription("ACTIVE", soon, ""))
	transport := &holding{held: make(chan struct{}), released: make(chan struct{})}
	config := p.config()
	config.HTTPClient = &http.Client{Transport: transport}
	v, err := google.New(config)
	require.NoError(t, err)

	var slow sync.WaitGroup
	slow.Go(func() {
		require.Equal(t, userkit.VerdictValid, v.Verify(t.Context(), receipt(purchaseToken)).Outcome)
	})
	<-transport.held
	p.answer(tokenRoute, 200, `{"access_token":"`+accessToken+`","expires_in":3599,"token_type":"Bearer"}`)
	p.advance(time.Hour)
	require.Equal(t, userkit.VerdictValid, v.Verify(t.Context(), receipt(purchaseToken)).Outcome)
	close(transport.released)
	slow.Wait()
	require.Equal(t, 2, p.count(tokenRoute))
}

func TestCallerWhoGivesUpIsNobodyElsesFailure(t *testing.T) {
	p := newPlay(t)
	ctx, cancel := context.WithCancel(t.Context())
	p.handle(tokenRoute, func(r *http.Request) reply {
		cancel()
		<-r.Context().Done()
		return reply{status: 200}
	})
	v := p.verifier(t)
	verdict := v.Verify(ctx, receipt(purchaseToken))
	require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
	require.ErrorIs(t, verdict.Err, context.Canceled)

	p.answer(tokenRoute, 200, `{"access_token":"`+accessToken+`","expires_in":3599,"token_type":"Bearer"}`)
	require.Equal(t, userkit.VerdictInvalid, v.Verify(t.Context(), receipt(purchaseToken)).Outcome)
}

func TestRefusedAccessTokens(t *testing.T) {
	tests := []struct {
		name   string
		answer reply
		pause  time.Duration
	}{
		{"invalid grant", reply{status: 400, body: `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`}, 10 * time.Second},
		{"unknown account", reply{status: 401, body: `{"error":"invalid_client"}`}, 10 * time.Second},
		{"busy", reply{status: 429, body: ``, header: map[string]string{"Retry-After": "30"}}, 30 * time.Second},
		{"down", reply{status: 503, body: `<html>`, header: map[string]string{"Retry-After": "86400"}}, 10 * time.Minute},
		{"broken", reply{status: 500, body: apiError(500, "INTERNAL", "x")}, 10 * time.Second},
		{"nothing", reply{status: 200, body: ``}, 10 * time.Second},
		{"no token", reply{status: 200, body: `{"expires_in":3599,"token_type":"Bearer"}`}, 10 * time.Second},
		{"no end", reply{status: 200, body: `{"access_token":"a","token_type":"Bearer"}`}, 10 * time.Second},
		{"another type", reply{status: 200, body: `{"access_token":"a","expires_in":3599,"token_type":"MAC"}`}, 10 * time.Second},
		{"a line break", reply{status: 200, body: `{"access_token":"a\r\nX: y","expires_in":3599,"token_type":"Bearer"}`}, 10 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t)
			p.handle(tokenRoute, func(*http.Request) reply { return test.answer })
			v := p.verifier(t)
			verdict := v.Verify(t.Context(), receipt(purchaseToken))
			require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
			require.False(t, verdict.RetryAt.Before(start.Add(test.pause)))
			keepsSecrets(t, verdict.Err)

			p.advance(test.pause - time.Second)
			require.Equal(t, verdict, v.Verify(t.Context(), receipt(purchaseToken)))
			require.Equal(t, 1, p.count(tokenRoute), "a refusal is not asked for again at once")
			require.Empty(t, p.asked())

			p.advance(time.Second)
			p.answer(tokenRoute, 200, `{"access_token":"`+accessToken+`","expires_in":3599,"token_type":"Bearer"}`)
			require.Equal(t, userkit.VerdictInvalid, v.Verify(t.Context(), receipt(purchaseToken)).Outcome)
		})
	}
}

func TestConfig(t *testing.T) {
	p := newPlay(t)
	good := p.config()
	key := func(change func(map[string]string)) []byte {
		var content map[string]string
		require.NoError(t, json.Unmarshal(good.ServiceAccountKey, &content))
		change(content)
		changed, err := json.Marshal(content)
		require.NoError(t, err)
		return changed
	}
	private := func(blockType string, der []byte, err error) func(map[string]string) {
		require.NoError(t, err)
		return func(content map[string]string) {
			content["private_key"] = string(pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der}))
		}
	}
	elliptic, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ellipticDER, ellipticErr := x509.MarshalPKCS8PrivateKey(elliptic)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	shortDER, shortErr := x509.MarshalPKCS8PrivateKey(short)

	tests := []struct {
		field  string
		change func(*google.Config)
	}{
		{"Store", func(c *google.Config) { c.Store = "Google" }},
		{"Store", func(c *google.Config) { c.Store = strings.Repeat("g", 33) }},
		{"PackageName", func(c *google.Config) { c.PackageName = "" }},
		{"PackageName", func(c *google.Config) { c.PackageName = "example" }},
		{"PackageName", func(c *google.Config) { c.PackageName = "com.example/app" }},
		{"PackageName", func(c *google.Config) { c.PackageName = ".." }},
		{"BaseURL", func(c *google.Config) { c.BaseURL = "http://example.org" }},
		{"BaseURL", func(c *google.Config) { c.BaseURL = "https://user:secret@example.org" }},
		{"BaseURL", func(c *google.Config) { c.BaseURL = "https://example.org?x=y" }},
		{"BaseURL", func(c *google.Config) { c.BaseURL = "://" }},
		{"BaseURL", func(c *google.Config) { c.BaseURL = "ftp://localhost" }},
		{"KeysURL", func(c *google.Config) { c.KeysURL = "http://192.0.2.1/certs" }},
		{"TokenURLs", func(c *google.Config) { c.TokenURLs = []string{""} }},
		{"TokenURLs", func(c *google.Config) { c.TokenURLs = append(c.TokenURLs, "http://example.org/token") }},
		{"PushAudience", func(c *google.Config) { c.PushAudience = "" }},
		{"PushServiceAccount", func(c *google.Config) { c.PushServiceAccount = "" }},
		{"ServiceAccountKey", func(c *google.Config) { c.ServiceAccountKey = nil }},
		{"ServiceAccountKey", func(c *google.Config) { c.ServiceAccountKey = []byte("{") }},
		{"ServiceAccountKey", func(c *google.Config) { c.TokenURLs = nil }}, // the key file names the test's server
		{"ServiceAccountKey", func(c *google.Config) {
			c.ServiceAccountKey = key(func(m map[string]string) { m["token_uri"] = p.URL + "/token/" })
		}},
		{"ServiceAccountKey", func(c *google.Config) {
			c.ServiceAccountKey = key(func(m map[string]string) { delete(m, "token_uri") })
		}},
		{"ServiceAccountKey", func(c *google.Config) {
			c.ServiceAccountKey = key(func(m map[string]string) { m["type"] = "authorized_user" })
		}},
		{"ServiceAccountKey", func(c *google.Config) {
			c.ServiceAccountKey = key(func(m map[string]string) { m["client_email"] = "" })
		}},
		{"ServiceAccountKey", func(c *google.Config) {
			c.ServiceAccountKey = key(func(m map[string]string) { m["private_key"] = "secret" })
		}},
		{"ServiceAccountKey", func(c *google.Config) {
			c.ServiceAccountKey = key(private("PRIVATE KEY", []byte("secret"), nil))
		}},
		{"ServiceAccountKey", func(c *google.Config) {
			c.ServiceAccountKey = key(private("PRIVATE KEY", ellipticDER, ellipticErr))
		}},
		{"ServiceAccountKey", func(c *google.Config) {
			c.ServiceAccountKey = key(private("PRIVATE KEY", shortDER, shortErr))
		}},
	}
	for i, test := range tests {
		config := good
		test.change(&config)
		v, err := google.New(config)
		require.Nil(t, v)
		require.ErrorIs(t, err, userkit.ErrInvalid, "%d", i)
		require.Equal(t, userkit.CodeInvalidOption, userkit.ErrorCode(err))
		require.Contains(t, err.Error(), "("+test.field+")")
		require.NotContains(t, err.Error(), "secret")
	}

	older := good
	older.ServiceAccountKey = key(private("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(signingKey()), nil))
	older.PushAudience, older.PushServiceAccount = "", ""
	_, err = google.New(older)
	require.NoError(t, err)

	standard, err := google.New(google.Config{
		PackageName:       packageName,
		ServiceAccountKey: keyFile(signingKey(), "https://oauth2.googleapis.com/token"),
	})
	require.NoError(t, err)
	require.Equal(t, "google", standard.Store())
	require.Equal(t, "google.Verifier(com.example.app)", fmt.Sprintf("%v", standard))
	require.Equal(t, "google.Verifier(com.example.app)", fmt.Sprintf("%#v", standard))
}

func TestStableID(t *testing.T) {
	require.Equal(t, "3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0", google.StableID("token"))
}
