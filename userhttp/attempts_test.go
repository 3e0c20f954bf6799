package userhttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/userhttp"
)

// gate counts the attempts of clients at a check that accepts one token.
type gate struct {
	attempts *userhttp.Attempts
	now      time.Time
	token    string
	checked  int
}

func newGate(t *testing.T, policy userhttp.AttemptPolicy) *gate {
	t.Helper()
	g := &gate{now: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC), token: "right"}
	policy.Clock = func() time.Time { return g.now }
	var err error
	g.attempts, err = userhttp.NewAttempts(policy)
	require.NoError(t, err)
	return g
}

func (g *gate) check(_ context.Context, token string) (string, error) {
	g.checked++
	switch token {
	case g.token:
		return "welcome", nil
	case "disabled":
		return "", userkit.NewError(userkit.CodeUserDisabled, "", "disabled")
	case "away":
		return "", userkit.NewError(userkit.CodeStoreUnavailable, "", "away")
	}
	return "", userkit.NewError(userkit.CodeInvalidToken, "", "unknown")
}

func (g *gate) try(client, token string) error {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = client
	_, err := userhttp.Attempt(g.attempts, r, token, g.check)
	return err
}

func TestAttemptsThatFailAreBounded(t *testing.T) {
	g := newGate(t, userhttp.AttemptPolicy{Failures: 3})
	const client, other = "192.0.2.1:1000", "192.0.2.2:1000"
	for _, token := range []string{"right", "disabled", "away"} {
		for range 10 { // those are no failures of the client's
			require.NotEqual(t, userkit.CodeTooManyAttempts, userkit.ErrorCode(g.try(client, token)))
		}
	}
	for range 3 {
		require.Equal(t, userkit.CodeInvalidToken, userkit.ErrorCode(g.try(client, "wrong")))
	}
	g.checked = 0
	err := g.try("192.0.2.1:2000", "another")
	require.ErrorIs(t, err, userkit.ErrRefused)
	require.Equal(t, userkit.CodeTooManyAttempts, userkit.ErrorCode(err))
	require.Equal(t, g.now.Add(20*time.Second), userkit.AsError(err).Until)
	require.Zero(t, g.checked)

	answer := httptest.NewRecorder()
	userhttp.WriteProblem(answer, err)
	require.Equal(t, http.StatusTooManyRequests, answer.Code)
	require.Equal(t, "Mon, 02 Mar 2026 12:00:20 GMT", answer.Header().Get("Retry-After"))
	var problem userhttp.Problem
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &problem))
	require.Equal(t, userkit.CodeTooManyAttempts, problem.Code)

	require.Equal(t, userkit.CodeInvalidToken, userkit.ErrorCode(g.try(other, "wrong")), "others are not refused")
	g.now = g.now.Add(20 * time.Second)
	require.Equal(t, userkit.CodeInvalidToken, userkit.ErrorCode(g.try(client, "wrong")))
	require.Equal(t, userkit.CodeTooManyAttempts, userkit.ErrorCode(g.try(client, "wrong")))
}

// A client that has a right token is not locked out by another one with its address, and a token
// that was right and is revoked counts like any other.
func TestRightTokenIsNotLockedOut(t *testing.T) {
	g := newGate(t, userhttp.AttemptPolicy{Failures: 2})
	const client = "192.0.2.1:1000"
	require.NoError(t, g.try(client, "right"))
	for range 2 {
		require.Equal(t, userkit.CodeInvalidToken, userkit.ErrorCode(g.try(client, "wrong")))
	}
	require.Equal(t, userkit.CodeTooManyAttempts, userkit.ErrorCode(g.try(client, "wrong")))
	for range 10 {
		require.NoError(t, g.try(client, "right"))
	}
	g.token = "another"
	require.Equal(t, userkit.CodeInvalidToken, userkit.ErrorCode(g.try(client, "right")))
	require.Equal(t, userkit.CodeTooManyAttempts, userkit.ErrorCode(g.try(client, "right")))
}

func TestClientsOfAttempts(t *testing.T) {
	g := newGate(t, userhttp.AttemptPolicy{Failures: 1})
	locked := func(address string) bool {
		t.Helper()
		return userkit.ErrorCode(g.try(address, "wrong")) == userkit.CodeTooManyAttempts
	}
	require.False(t, locked("[2001:db8:1:2::1]:80"))
	require.True(t, locked("[2001:db8:1:2:ffff::2]:80"), "one /64 is one client")
	require.False(t, locked("[2001:db8:1:3::1]:80"))
	require.False(t, locked("192.0.2.1:80"))
	require.True(t, locked("[::ffff:192.0.2.1]:80"), "one address, however it is written")
	require.False(t, locked("@"))
	require.True(t, locked(""), "clients without an address are one")

	// What a client says of itself changes nothing, unless the host asks for it.
	header := func(r *http.Request) netip.Addr {
		address, _ := netip.ParseAddr(r.Header.Get("X-Real-Ip"))
		return address
	}
	for _, proxied := range []bool{false, true} {
		policy := userhttp.AttemptPolicy{Failures: 1}
		if proxied {
			policy.Address = header
		}
		g := newGate(t, policy)
		refused := 0
		for i := range 10 {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("X-Forwarded-For", "192.0.2."+strconv.Itoa(i))
			r.Header.Set("X-Real-Ip", "192.0.2."+strconv.Itoa(i))
			_, err := userhttp.Attempt(g.attempts, r, "wrong", g.check)
			if userkit.ErrorCode(err) == userkit.CodeTooManyAttempts {
				refused++
			}
		}
		require.Equal(t, map[bool]int{false: 9, true: 0}[proxied], refused)
	}
}

// Attempts at the same time count before they end: as many as may fail, and no more, are checked.
func TestAttemptsAtOnce(t *testing.T) {
	g := newGate(t, userhttp.AttemptPolicy{Failures: 5})
	release, started, ended := make(chan struct{}), make(chan struct{}, 100), make(chan userkit.Code, 100)
	for i := range 100 {
		go func() {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			_, err := userhttp.Attempt(g.attempts, r, strconv.Itoa(i), func(context.Context, string) (int, error) {
				started <- struct{}{}
				<-release
				return 0, userkit.NewError(userkit.CodeInvalidToken, "", "unknown")
			})
			ended <- userkit.ErrorCode(err)
		}()
	}
	for range 95 {
		require.Equal(t, userkit.CodeTooManyAttempts, <-ended)
	}
	close(release)
	for range 5 {
		require.Equal(t, userkit.CodeInvalidToken, <-ended)
	}
	require.Len(t, started, 5)
}

// Whoever breaks off, or makes the check panic, has tried nevertheless.
func TestAttemptsThatDoNotEndWell(t *testing.T) {
	for name, attempt := range map[string]func(a *userhttp.Attempts, r *http.Request) (int, error){
		"the client breaks off": func(a *userhttp.Attempts, r *http.Request) (int, error) {
			ctx, cancel := context.WithCancel(r.Context())
			return userhttp.Attempt(a, r.WithContext(ctx), "wrong", func(ctx context.Context, _ string) (int, error) {
				cancel()
				return 0, ctx.Err()
			})
		},
		"the check panics": func(a *userhttp.Attempts, r *http.Request) (_ int, err error) {
			defer func() {
				if recover() != nil {
					err = errors.New("panic")
				}
			}()
			return userhttp.Attempt(a, r, "wrong", func(context.Context, string) (int, error) { panic("host") })
		},
	} {
		g := newGate(t, userhttp.AttemptPolicy{Failures: 2})
		for range 2 {
			_, err := attempt(g.attempts, httptest.NewRequest(http.MethodGet, "/", nil))
			require.Error(t, err, name)
			require.NotEqual(t, userkit.CodeTooManyAttempts, userkit.ErrorCode(err), name)
		}
		_, err := attempt(g.attempts, httptest.NewRequest(http.MethodGet, "/", nil))
		require.Equal(t, userkit.CodeTooManyAttempts, userkit.ErrorCode(err), name)
	}
}

func TestAttemptPolicyHasBounds(t *testing.T) {
	for name, policy := range map[string]userhttp.AttemptPolicy{
		"negative failures": {Failures: -1}, "many failures": {Failures: 10_001},
		"a negative window": {Window: -time.Second}, "a short window": {Window: time.Millisecond}, "a long window": {Window: 25 * time.Hour},
	} {
		_, err := userhttp.NewAttempts(policy)
		require.Equal(t, userkit.CodeInvalidOption, userkit.ErrorCode(err), name)
	}
	for _, policy := range []userhttp.AttemptPolicy{{}, {Failures: 10_000, Window: time.Second}, {Failures: 1, Window: 24 * time.Hour}} {
		_, err := userhttp.NewAttempts(policy)
		require.NoError(t, err)
	}
}

// Retry-After, which has whole seconds, is never before the time at which the client may try again.
func TestRetryAfterIsNotTooEarly(t *testing.T) {
	err := userkit.NewError(userkit.CodeTooManyAttempts, "", "")
	for nanoseconds, second := range map[int]string{0: "00", 1: "01", 999_999_999: "01"} {
		err.Until = time.Date(2026, 3, 2, 12, 0, 0, nanoseconds, time.UTC)
		answer := httptest.NewRecorder()
		userhttp.WriteProblem(answer, err)
		require.Equal(t, "Mon, 02 Mar 2026 12:00:"+second+" GMT", answer.Header().Get("Retry-After"))
	}
}
