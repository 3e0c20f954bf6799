package console

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/userkit/userkit/internal/ratelimit"
)

// contentPolicy returns the Content-Security-Policy of every answer. No script runs that comes from
// elsewhere or is written into a page. Pictures may come from the origins images beside the host's own.
func contentPolicy(images []string) string {
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src " + strings.Join(append([]string{"'self'"}, images...), " ") +
		"; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}

// question asks whether a person may do an operation about something, or in general if about is
// empty.
type question struct{ operation, about string }

// May reports whether the person may do an operation on a user, a device or another record, or in
// general if about is empty. It returns false if that cannot be found out.
func (v *view) May(operation string, about ...fmt.Stringer) bool {
	id := ""
	if len(about) > 0 {
		id = about[0].String()
	}
	question := question{operation, id}
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
	if v.console.limits.Take(string(v.Actor.Kind) + "\x00" + v.Actor.ID).IsZero() {
		return nil
	}
	return &refusal{http.StatusTooManyRequests, "You have started many large jobs in a short time. Please wait a minute."}
}

// A person can make costlyCalls costly calls at once, and gets as many again over a minute. So many
// persons are counted as maxPersons.
const (
	costlyCalls = 20
	maxPersons  = 10_000
)

func newCostlyLimits(now func() time.Time) *ratelimit.Limiter {
	return ratelimit.New(costlyCalls, time.Minute, maxPersons, now)
}
