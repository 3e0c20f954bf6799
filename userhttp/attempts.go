package userhttp

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/ratelimit"
)

// AttemptPolicy says how many wrong tokens a client may try. The zero value of each field is its
// default.
type AttemptPolicy struct {
	// Failures is how many attempts of a client may fail at once, from 1 to 10,000; default: 30.
	// Those come back one by one, evenly over Window, which is from 1 second to 24 hours; default: 1
	// minute.
	Failures int
	Window   time.Duration

	// Address returns the address of the client of a request. The default is the address that the
	// request came from (http.Request.RemoteAddr). A host behind a proxy has to read the address
	// from what its own proxy sets, and must not trust a header, such as X-Forwarded-For, that the
	// client can set as well. All clients whose address is not valid count as one, and so do those of
	// one /64 of IPv6.
	Address func(r *http.Request) netip.Addr

	Clock func() time.Time // default: time.Now
}

// Attempts counts the attempts of clients that failed, in this process. Its memory is bounded (about
// 20 MB), however many clients there are, and a flood of clients makes it forget those first that
// have failed least. It may be used by any number of handlers at once. See Attempt.
type Attempts struct {
	policy   AttemptPolicy
	failures *ratelimit.Limiter
	accepted accepted
}

// maxClients is for how many clients failures are counted at the same time.
const maxClients = 100_000

// NewAttempts returns an Attempts without any failures. It returns ErrInvalid with CodeInvalidOption
// for a policy that is out of its bounds.
func NewAttempts(policy AttemptPolicy) (*Attempts, error) {
	if policy.Failures == 0 {
		policy.Failures = 30
	}
	if policy.Failures < 1 || policy.Failures > 10_000 {
		return nil, userkit.NewError(userkit.CodeInvalidOption, "Failures", "%d failures are outside the range 1 to 10000", policy.Failures)
	}
	if policy.Window == 0 {
		policy.Window = time.Minute
	}
	if policy.Window < time.Second || policy.Window > 24*time.Hour {
		return nil, userkit.NewError(userkit.CodeInvalidOption, "Window", "%s is outside the range 1 second to 24 hours", policy.Window)
	}
	if policy.Address == nil {
		policy.Address = func(r *http.Request) netip.Addr { return ratelimit.Address(r.RemoteAddr) }
	}
	if policy.Clock == nil {
		policy.Clock = time.Now
	}
	return &Attempts{policy: policy, failures: ratelimit.New(policy.Failures, policy.Window, maxClients, policy.Clock)}, nil
}

// Attempt calls check, such as Authenticate or ConfirmEmail of a userkit.Manager, with the context
// of the request and the token, and returns its results, unless too many attempts of the client
// have failed: then it returns ErrRefused with CodeTooManyAttempts, which WriteProblem answers with
// the status 429 and Retry-After.
//
//	proof, err := userhttp.Attempt(attempts, r, token, users.Authenticate)
//	if err != nil {
//		userhttp.WriteProblem(w, err)
//		return
//	}
//
// An attempt fails if check returns CodeInvalidToken, if it panics, and if it returns an error
// after the client broke off the request. Attempts that are under way count as failed until they
// have ended. A token that check accepted lately in this process, which are the last 50,000 at least,
// is always checked, so that others with the same address do not lock out a client that has it.
func Attempt[T any](attempts *Attempts, r *http.Request, token string, check func(ctx context.Context, token string) (T, error)) (T, error) {
	client := ratelimit.Network(attempts.policy.Address(r))
	digest := sha256.Sum256([]byte(token))
	known := attempts.accepted.has(digest)
	if !known {
		if until := attempts.failures.Take(client); !until.IsZero() {
			refused := userkit.NewError(userkit.CodeTooManyAttempts, "", "the client has tried too many wrong tokens")
			refused.Until = until
			var none T
			return none, refused
		}
	}
	var result T
	var err error
	returned := false
	defer func() {
		wrong := userkit.ErrorCode(err) == userkit.CodeInvalidToken
		switch {
		case known && wrong: // it was revoked
			attempts.accepted.remove(digest)
			attempts.failures.Take(client)
		case !known && !wrong && returned && !(err != nil && errors.Is(r.Context().Err(), context.Canceled)):
			attempts.failures.Return(client)
		}
	}()
	result, err = check(r.Context(), token)
	returned = true
	if err == nil {
		attempts.accepted.add(digest)
	}
	return result, err
}

// accepted remembers the last tokens that were accepted, by their digests: those in young and, once
// young has been full, those that were in it before.
type accepted struct {
	mutex      sync.Mutex
	young, old map[[sha256.Size]byte]struct{}
}

// maxAccepted is how many tokens are in each of the two generations at most.
const maxAccepted = 50_000

func (a *accepted) has(token [sha256.Size]byte) bool {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	_, young := a.young[token]
	_, old := a.old[token]
	return young || old
}

func (a *accepted) add(token [sha256.Size]byte) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if _, young := a.young[token]; young {
		return
	}
	if a.young == nil || len(a.young) >= maxAccepted {
		a.young, a.old = map[[sha256.Size]byte]struct{}{}, a.young
	}
	a.young[token] = struct{}{}
}

func (a *accepted) remove(token [sha256.Size]byte) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	delete(a.young, token)
	delete(a.old, token)
}
