package console

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// contentPolicy is the Content-Security-Policy of every answer: what comes from elsewhere,
// and what stands in a page itself, does not run.
func contentPolicy(gravatar bool) string {
	images := "'self'"
	if gravatar {
		images += " https://gravatar.com https://www.gravatar.com https://secure.gravatar.com"
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src " + images +
		"; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}

// May reports whether the person may do an operation: about a user, a device or another
// record, or else about the project or in general. What cannot be found out is not
// offered.
func (v *view) May(operation string, about ...fmt.Stringer) bool {
	id := ""
	if len(about) > 0 {
		id = about[0].String()
	}
	question := operation + " " + id
	if answer, known := v.may[question]; known {
		return answer
	}
	allowed, err := v.console.users.Allows(v.request.Context(), operation, id)
	if err != nil {
		v.console.logger.ErrorContext(v.request.Context(), "console: what may be done is not known", "operation", operation, "error", err)
	}
	v.may[question] = allowed
	return allowed
}

// require returns a refusal unless the person may do an operation in general.
func (v *view) require(operation string) error {
	if operation == "" {
		return nil
	}
	return v.console.users.Authorize(v.request.Context(), operation, "")
}

// costly counts a call that takes much of the host's time, and refuses it when the person
// has made too many of late.
func (v *view) costly() error {
	if v.console.limits.take(string(v.Actor.Kind) + "\x00" + v.Actor.ID) {
		return nil
	}
	return &refusal{http.StatusTooManyRequests, "You have started many large jobs in a short time. Please wait a minute."}
}

// limiter gives every person a number of costly calls, which grows again with the time.
type limiter struct {
	now     func() time.Time
	mutex   sync.Mutex
	persons map[string]allowance
}

type allowance struct {
	left float64
	at   time.Time
}

// The bounds of a limiter.
const (
	costlyBurst     = 20.0
	costlyPerSecond = 20.0 / 60
	maxPersons      = 10_000
)

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, persons: map[string]allowance{}}
}

// take reports whether a person has a call left, and takes it.
func (l *limiter) take(person string) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	now := l.now()
	has, ok := l.persons[person]
	if !ok {
		if len(l.persons) >= maxPersons { // all forget: better than to grow
			clear(l.persons)
		}
		has = allowance{left: costlyBurst, at: now}
	}
	has.left = min(costlyBurst, has.left+max(0, now.Sub(has.at).Seconds())*costlyPerSecond)
	has.at = now
	allowed := has.left >= 1
	if allowed {
		has.left--
	}
	l.persons[person] = has
	return allowed
}
