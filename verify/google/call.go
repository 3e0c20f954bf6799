package google

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxAnswer     = 256 * 1024 // bytes of a response
	maxRetryAfter = 24 * time.Hour
	userAgent     = "userkit-verify-google"
)

// caller makes bounded requests whose errors carry no secrets.
type caller struct {
	client *http.Client
	clock  func() time.Time
}

func newCaller(client *http.Client, clock func() time.Time) *caller {
	if client == nil {
		client = &http.Client{Timeout: defaultTimeout}
	}
	own := *client
	// A followed redirect would carry the access token, or a signed assertion, on.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &caller{client: &own, clock: clock}
}

// request is one request; operation names it in errors.
type request struct {
	operation   string
	method      string
	url         string
	contentType string
	body        []byte
	bearer      string
	secrets     []string // what must not be in an error, beside bearer and body
}

// answer is a response that arrived whole.
type answer struct {
	operation string
	status    int
	header    http.Header
	body      []byte
}

// do makes a request. The error tells what happened without the address, which holds
// the purchase token, and wraps nothing but the context's errors.
func (c *caller) do(ctx context.Context, r request) (answer, error) {
	httpRequest, err := http.NewRequestWithContext(ctx, r.method, r.url, bytes.NewReader(r.body))
	if err != nil {
		return answer{}, r.failed(err)
	}
	httpRequest.Header.Set("User-Agent", userAgent)
	httpRequest.Header.Set("Accept", "application/json")
	if r.contentType != "" {
		httpRequest.Header.Set("Content-Type", r.contentType)
	}
	if r.bearer != "" {
		httpRequest.Header.Set("Authorization", "Bearer "+r.bearer)
	}
	response, err := c.client.Do(httpRequest)
	if err != nil {
		return answer{}, r.failed(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return answer{}, r.failed(err)
	}
	if len(body) > maxAnswer {
		return answer{}, fmt.Errorf("google: %s: the answer is longer than %d bytes", r.operation, maxAnswer)
	}
	return answer{operation: r.operation, status: response.StatusCode, header: response.Header, body: body}, nil
}

// failed turns an error of net/http into one that may be logged.
func (r request) failed(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return fmt.Errorf("google: %s: %w", r.operation, known)
		}
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return fmt.Errorf("google: %s: no answer in time", r.operation)
	}
	text := err.Error()
	for _, secret := range append([]string{r.bearer, string(r.body), r.url}, r.secrets...) {
		if secret != "" && strings.Contains(text, secret) {
			text = "no answer that can be read"
		}
	}
	return fmt.Errorf("google: %s: %s", r.operation, text)
}

// apiError is the error format of Google's APIs. Its message is not read: it may
// repeat what was asked for.
type apiError struct {
	Error *struct {
		Code   int    `json:"code"`
		Status string `json:"status"`
		Errors []struct {
			Reason   string `json:"reason"`
			Location string `json:"location"`
		} `json:"errors"`
	} `json:"error"`
}

// apiError reads the body of a refusal; nil when it is not the API that speaks.
func (a answer) apiError() *apiError {
	var parsed apiError
	if json.Unmarshal(a.body, &parsed) != nil || parsed.Error == nil || parsed.Error.Code != a.status {
		return nil
	}
	return &parsed
}

// has reports whether one of the listed errors has this reason.
func (e *apiError) has(reason string) bool {
	for _, listed := range e.Error.Errors {
		if listed.Reason == reason {
			return true
		}
	}
	return false
}

// err tells of an answer that is not the one hoped for.
func (a answer) err() error {
	text := strconv.Itoa(a.status)
	if refused := a.apiError(); refused != nil {
		if symbol(refused.Error.Status) {
			text += " " + refused.Error.Status
		}
		if len(refused.Error.Errors) > 0 && symbol(refused.Error.Errors[0].Reason) {
			text += " " + refused.Error.Errors[0].Reason
		}
	}
	return fmt.Errorf("google: %s: status %s", a.operation, text)
}

// symbol reports whether text can only be a name from a list, no data.
func symbol(text string) bool {
	return len(text) <= 60 && consistsOf(text, func(c byte) bool { return isLetterOrDigit(c) || c == '_' })
}

// retryAt reads Retry-After, in seconds or as a date (RFC 9110, section 10.2.3); zero
// when there is none or it is over. Longer than a day counts as a day.
func (a answer) retryAt(now time.Time) time.Time {
	value := a.header.Get("Retry-After")
	if value == "" {
		return time.Time{}
	}
	var at time.Time
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		at = now.Add(time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second)
	} else if at, err = http.ParseTime(value); err != nil {
		return time.Time{}
	}
	if latest := now.Add(maxRetryAfter); at.After(latest) {
		at = latest
	}
	if !at.After(now) {
		return time.Time{}
	}
	return at.UTC()
}

// date is the time of the server that answered; zero when it did not say.
func (a answer) date() time.Time {
	at, err := http.ParseTime(a.header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}
