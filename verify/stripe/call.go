package stripe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	maxAnswer     = 1024 * 1024 // bytes of a response
	maxRetryAfter = 24 * time.Hour
	userAgent     = "userkit-verify-stripe"
)

// answer is a response that arrived whole; operation names its request in errors.
type answer struct {
	operation string
	status    int
	header    http.Header
	body      []byte
}

// get makes a request. Its errors tell what happened without the key and without the
// id, which the address holds, and wrap nothing but the errors of the context.
func (v *Verifier) get(ctx context.Context, operation, path, id string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.baseURL+path, nil)
	if err != nil {
		return answer{}, v.failed(operation, id, err)
	}
	request.Header.Set("Authorization", "Bearer "+v.secretKey)
	request.Header.Set("Stripe-Version", v.apiVersion)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", userAgent)
	response, err := v.client.Do(request)
	if err != nil {
		return answer{}, v.failed(operation, id, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return answer{}, v.failed(operation, id, err)
	}
	if len(body) > maxAnswer {
		return answer{}, fmt.Errorf("stripe: %s: the answer is longer than %d bytes", operation, maxAnswer)
	}
	return answer{operation: operation, status: response.StatusCode, header: response.Header, body: body}, nil
}

// failed turns an error of net/http into one that may be logged.
func (v *Verifier) failed(operation, id string, err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return fmt.Errorf("stripe: %s: %w", operation, known)
		}
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return fmt.Errorf("stripe: %s: no answer in time", operation)
	}
	text := err.Error()
	if strings.Contains(text, v.secretKey) || strings.Contains(text, id) {
		text = "no answer that can be read"
	}
	return fmt.Errorf("stripe: %s: %s", operation, text)
}

// refusal is what is read of an error of the API
// (https://docs.stripe.com/api/errors). The message repeats what was asked for and a
// part of the key, so it goes into no error.
type refusal struct {
	Type    string `json:"type"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// refusal reads the error in an answer; empty where it is not the API that speaks.
func (a answer) refusal() refusal {
	var body struct {
		Error refusal `json:"error"`
	}
	if json.Unmarshal(a.body, &body) != nil {
		return refusal{}
	}
	return body.Error
}

// symbolPattern is of what can only be a name from a list, no data.
var symbolPattern = regexp.MustCompile(`^[a-z_]{1,60}$`)

// err tells of an answer that is not the one hoped for.
func (a answer) err() error {
	text := strconv.Itoa(a.status)
	refused := a.refusal()
	for _, symbol := range []string{refused.Type, refused.Code} {
		if symbolPattern.MatchString(symbol) {
			text += " " + symbol
		}
	}
	return fmt.Errorf("stripe: %s: status %s", a.operation, text)
}

// retryAt reads Retry-After, in seconds or as a date (RFC 9110, section 10.2.3); zero
// when there is none or it is over. Longer than a day counts as a day.
func (a answer) retryAt(now time.Time) time.Time {
	text := a.header.Get("Retry-After")
	at, err := http.ParseTime(text)
	if err != nil {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds <= 0 {
			return time.Time{}
		}
		at = now.Add(time.Duration(min(seconds, int64(maxRetryAfter/time.Second))) * time.Second)
	}
	if !at.After(now) {
		return time.Time{}
	}
	return earliest(at, now.Add(maxRetryAfter)).UTC()
}

// date is the time of the server. One that is more than a day from the clock is no
// time of Stripe's, and zero: facts dated in the future would hide newer ones.
func (a answer) date(now time.Time) time.Time {
	at, err := http.ParseTime(a.header.Get("Date"))
	if err != nil || now.Sub(at).Abs() > 24*time.Hour {
		return time.Time{}
	}
	return at.UTC()
}
