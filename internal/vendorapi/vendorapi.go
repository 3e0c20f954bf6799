// Package vendorapi makes requests to the APIs of vendors: of stores, and of push
// services. Each request is bounded in time and size, follows no redirect, and fails
// with an error that may be logged: no error holds an address, a credential or a body.
package vendorapi

import (
	"bytes"
	"context"
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

// Client makes requests to the API of one vendor. It is safe for use by many
// goroutines at once.
type Client struct {
	name      string
	http      http.Client
	maxAnswer int64
}

// NewClient returns a Client. The name, such as "google", begins every error and ends the
// User-Agent. base makes the requests; the Client uses a copy of it
// that follows no redirects, since a redirect would carry credentials to another
// server. When base is nil, each request may take up to timeout. A response of more
// than maxAnswer bytes is an error.
func NewClient(name string, base *http.Client, timeout time.Duration, maxAnswer int64) *Client {
	c := &Client{name: name, maxAnswer: maxAnswer}
	if base != nil {
		c.http = *base
	} else {
		c.http.Timeout = timeout
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// Request is one request to the API.
type Request struct {
	Operation string // names the request in errors, such as "access token"
	Method    string
	URL       string
	Header    http.Header // sent beside User-Agent, Accept and Authorization; may be nil
	Body      []byte
	Bearer    string   // the token in the Authorization header; empty for none
	Secrets   []string // what no error may hold, beside URL, Body and Bearer
}

// Answer is a response that has arrived completely.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte

	name, operation string // of its request
}

// Do makes a request. It returns an error when no complete answer arrived, and wraps no
// other errors than context.Canceled, context.DeadlineExceeded and io.ErrUnexpectedEOF.
// An answer of any status is no error. One with another status than 200 that is too
// long comes without its body, so that its header still says when to try again.
func (c *Client) Do(ctx context.Context, r Request) (Answer, error) {
	request, err := http.NewRequestWithContext(ctx, r.Method, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return Answer{}, c.failed(r, err)
	}
	if r.Header != nil {
		request.Header = r.Header.Clone()
	}
	request.Header.Set("User-Agent", "userkit-"+c.name)
	request.Header.Set("Accept", "application/json")
	if r.Bearer != "" {
		request.Header.Set("Authorization", "Bearer "+r.Bearer)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return Answer{}, c.failed(r, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, c.maxAnswer+1))
	if err != nil {
		return Answer{}, c.failed(r, err)
	}
	if int64(len(body)) > c.maxAnswer {
		if response.StatusCode == http.StatusOK {
			return Answer{}, fmt.Errorf("%s: %s: the answer is longer than %d bytes", c.name, r.Operation, c.maxAnswer)
		}
		body = nil
	}
	return Answer{
		Status: response.StatusCode, Header: response.Header, Body: body,
		name: c.name, operation: r.Operation,
	}, nil
}

// failed turns an error of net/http into one that may be logged.
func (c *Client) failed(r Request, err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	for _, known := range []error{context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s: %s: %w", c.name, r.Operation, known)
		}
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return fmt.Errorf("%s: %s: no answer in time", c.name, r.Operation)
	}
	text := err.Error()
	for _, secret := range append([]string{r.URL, string(r.Body), r.Bearer}, r.Secrets...) {
		if secret != "" && strings.Contains(text, secret) {
			text = "no answer that can be read"
			break
		}
	}
	return fmt.Errorf("%s: %s: %s", c.name, r.Operation, text)
}

// Err returns an error that says which request was answered with which status. The
// details, such as the error code of the API, follow the status; they must hold no
// secrets. Empty details are left out.
func (a Answer) Err(details ...string) error {
	text := strconv.Itoa(a.Status)
	for _, detail := range details {
		if detail != "" {
			text += " " + detail
		}
	}
	return fmt.Errorf("%s: %s: status %s", a.name, a.operation, text)
}

const (
	maxRetryAfter = 24 * time.Hour
	maxClockError = 24 * time.Hour

	// minMilliseconds is the smallest number that is read as a time in milliseconds:
	// a day in 1973. As a number of seconds it would be 3,000 years.
	minMilliseconds = 100_000_000_000
)

// RetryAt returns when the server wants to be asked again, in UTC, or zero when it does
// not say or the time has passed. It reads Retry-After as seconds or as a date (RFC
// 9110, section 10.2.3) and, as the App Store sends it, as milliseconds since 1970. A
// time more than a day ahead counts as a day, so that one wrong date does not end
// the asking for good.
func (a Answer) RetryAt(now time.Time) time.Time {
	text := a.Header.Get("Retry-After")
	at, err := http.ParseTime(text)
	if err != nil {
		number, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil:
			return time.Time{}
		case number >= minMilliseconds:
			at = time.UnixMilli(min(number, 1000*minMilliseconds))
		default:
			at = now.Add(time.Duration(min(max(number, 0), int64(maxRetryAfter/time.Second))) * time.Second)
		}
	}
	if latest := now.Add(maxRetryAfter); at.After(latest) {
		at = latest
	}
	if !at.After(now) {
		return time.Time{}
	}
	return at.UTC()
}

// Date returns the time of the server, in UTC, or zero when it does not say. It returns
// zero also for a time more than a day from now: facts dated in the future would hide
// newer ones.
func (a Answer) Date(now time.Time) time.Time {
	at, err := http.ParseTime(a.Header.Get("Date"))
	if err != nil || now.Sub(at).Abs() > maxClockError {
		return time.Time{}
	}
	return at.UTC()
}

// CheckURL returns an error unless text is a URL that credentials may be sent to: it
// has a host and neither user information nor a query nor a fragment, and its scheme is
// https, or http when the host is this machine. The error does not repeat the URL.
func CheckURL(text string) error {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Host == "" || parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" {
		return errors.New("must be a URL with a host and without user, query and fragment")
	}
	host := parsed.Hostname()
	local := host == "localhost" || net.ParseIP(host).IsLoopback()
	if parsed.Scheme != "https" && (parsed.Scheme != "http" || !local) {
		return errors.New("must be an https URL; http is allowed for this machine only")
	}
	return nil
}
