// Package userhttp provides what an HTTP API on top of userkit needs: the status and the problem
// details (RFC 9457) of an error, entity tags of revisions, idempotency keys, queries in the
// parameters of a URL, and a bound on the wrong tokens that a client may try.
//
//	query, err := userhttp.ParseUserQuery(r.URL.Query())
//	if err != nil {
//		userhttp.WriteProblem(w, err)
//		return
//	}
package userhttp

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// Status returns the status of a response for an error, and 200 for nil:
//
//   - 400 for ErrInvalid, and 422 for an idempotency key that was used with other content;
//   - 401 for an unknown access token, and 403 for any other ErrForbidden;
//   - 404 for ErrNotFound;
//   - 409 for ErrExists and ErrConflict, and 412 for a revision that does not match;
//   - 422 for ErrRefused: the request is valid, but a rule does not allow it, and 429 for too many
//     attempts (see Attempt);
//   - 503 for ErrUnavailable and a context that ended, 504 for its deadline;
//   - 500 for any other error.
func Status(err error) int {
	switch userkit.ErrorCode(err) {
	case userkit.CodeKeyReused:
		return http.StatusUnprocessableEntity
	case userkit.CodeInvalidToken:
		return http.StatusUnauthorized
	case userkit.CodeRevisionMismatch:
		return http.StatusPreconditionFailed
	case userkit.CodeTooManyAttempts:
		return http.StatusTooManyRequests
	}
	switch {
	case err == nil:
		return http.StatusOK
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	case errors.Is(err, userkit.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, userkit.ErrForbidden):
		return http.StatusForbidden
	case errors.Is(err, userkit.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, userkit.ErrExists), errors.Is(err, userkit.ErrConflict):
		return http.StatusConflict
	case errors.Is(err, userkit.ErrRefused):
		return http.StatusUnprocessableEntity
	case errors.Is(err, userkit.ErrUnavailable), errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// Problem is the body of a response for an error (RFC 9457). A host that adds its own members
// embeds it.
type Problem struct {
	Type     string `json:"type,omitempty"` // a URI; empty: about:blank, as the code identifies the problem
	Title    string `json:"title"`          // the meaning of the code, the same for all errors with it
	Status   int    `json:"status"`
	Detail   string `json:"detail,omitempty"` // of this error, for developers
	Instance string `json:"instance,omitempty"`

	Code     userkit.Code           `json:"code,omitempty"`
	Field    string                 `json:"field,omitempty"`
	Fields   []userkit.FieldError   `json:"fields,omitempty"` // all invalid fields, even if there is only one
	Position int                    `json:"position,omitempty"`
	Reason   userkit.PurchaseReason `json:"reason,omitempty"`
	Until    time.Time              `json:"until,omitzero"`
}

// meanings are the titles of problems.
var meanings = func() map[userkit.Code]string {
	meanings := map[userkit.Code]string{}
	for _, info := range userkit.Codes() {
		meanings[info.Code] = info.Meaning
	}
	return meanings
}()

// NewProblem returns the problem for an error. For an error that is not a userkit.Error, and for a
// store that fails, it contains no details, which are for the log.
func NewProblem(err error) Problem {
	problem := Problem{Status: Status(err)}
	problem.Title = http.StatusText(problem.Status)
	e, ok := errors.AsType[*userkit.Error](err)
	if !ok {
		return problem
	}
	problem.Code, problem.Field, problem.Fields, problem.Position = e.Code, e.Field, e.Fields, e.Position
	problem.Reason, problem.Until = e.Reason, e.Until
	if meaning := meanings[e.Code]; meaning != "" {
		problem.Title = meaning
	}
	if problem.Status < http.StatusInternalServerError {
		problem.Detail = e.Message
	}
	if e.Field != "" && len(e.Fields) == 0 {
		problem.Fields = []userkit.FieldError{{Field: e.Field, Code: e.Code, Message: e.Message}}
	}
	return problem
}

// WriteProblem writes the response for an error, with Retry-After if the call will succeed after
// some time.
func WriteProblem(w http.ResponseWriter, err error) { NewProblem(err).Write(w) }

// Write writes the problem as a response.
func (p Problem) Write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil {
		panic("userhttp: a problem that JSON cannot write: " + err.Error())
	}
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	header.Set("X-Content-Type-Options", "nosniff")
	if !p.Until.IsZero() && header.Get("Retry-After") == "" {
		whole := p.Until.Add(time.Second - 1).Truncate(time.Second) // not before, or it is refused again
		header.Set("Retry-After", whole.UTC().Format(http.TimeFormat))
	}
	if p.Status == http.StatusUnauthorized && header.Get("WWW-Authenticate") == "" {
		header.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // whoever does not read it has gone
}

// ETag returns the entity tag of a revision, of a profile or a segment.
func ETag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

// IfMatch returns the revision that a request wants to change, for UserPatch.Revision and
// SegmentPatch.Revision. It is 0, which means any, for a request without If-Match and for
// "*". It returns ErrConflict with CodeRevisionMismatch for a tag that ETag never returns,
// including weak tags, and ErrInvalid with CodeBadFormat for several tags.
func IfMatch(r *http.Request) (int64, error) {
	tag := strings.TrimSpace(strings.Join(r.Header.Values("If-Match"), ","))
	if tag == "" || tag == "*" {
		return 0, nil
	}
	if strings.Contains(tag, ",") {
		return 0, userkit.NewError(userkit.CodeBadFormat, "If-Match", "more than one entity tag")
	}
	text, opened := strings.CutPrefix(tag, `"`)
	text, closed := strings.CutSuffix(text, `"`)
	revision, err := strconv.ParseInt(text, 10, 64)
	if !opened || !closed || err != nil || revision < 1 || ETag(revision) != tag {
		return 0, userkit.NewError(userkit.CodeRevisionMismatch, "If-Match", "no revision has this entity tag")
	}
	return revision, nil
}

// NotModified sets the ETag of a response. If the client already has this revision according to
// If-None-Match, it responds with 304 and returns true.
func NotModified(w http.ResponseWriter, r *http.Request, revision int64) bool {
	tag := ETag(revision)
	w.Header().Set("ETag", tag)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	for known := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		if known = strings.TrimPrefix(strings.TrimSpace(known), "W/"); known == tag || known == "*" {
			w.WriteHeader(http.StatusNotModified)
			return true
		}
	}
	return false
}

// IdempotencyKey returns the key of a request for Entry.Key, from its header Idempotency-Key: a
// string in quotes, as in the IETF draft, or the bare key. It returns ErrInvalid with CodeRequired
// if there is none, and with CodeBadFormat or CodeTooLong if it is invalid.
func IdempotencyKey(r *http.Request) (string, error) {
	const name = "Idempotency-Key"
	values := r.Header.Values(name)
	if len(values) == 0 || strings.TrimSpace(values[0]) == "" {
		return "", userkit.NewError(userkit.CodeRequired, name, "the request has no %s", name)
	}
	key := strings.TrimSpace(values[0])
	if quoted, ok := strings.CutPrefix(key, `"`); ok {
		inner, closed := strings.CutSuffix(quoted, `"`)
		key = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(inner)
		if !closed {
			key = ""
		}
	}
	if len(values) > 1 || key == "" || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", userkit.NewError(userkit.CodeBadFormat, name, "not one key of printable ASCII")
	}
	if len(key) > userkit.MaxLine {
		return "", userkit.NewError(userkit.CodeTooLong, name, "%d characters exceed the limit of %d", len(key), userkit.MaxLine)
	}
	return key, nil
}

// ReadJSON reads the body of a request, of at most the given number of bytes, into a value. The
// body must be one JSON document without members that the value does not have. ReadJSON returns
// ErrInvalid with CodeTooLong, CodeUnknownField or CodeBadFormat, or the error of a type of
// userkit.
func ReadJSON(w http.ResponseWriter, r *http.Request, most int64, value any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, min(most, math.MaxInt64-1)))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(value)
	if err == nil {
		if _, more := decoder.Token(); more == nil {
			return userkit.NewError(userkit.CodeBadFormat, "", "more than one JSON document")
		}
		return nil
	}
	if _, ok := errors.AsType[*userkit.Error](err); ok {
		return err
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return userkit.NewError(userkit.CodeTooLong, "", "more than %d bytes", tooLarge.Limit)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return userkit.NewError(userkit.CodeBadFormat, wrong.Field, "JSON has %s here", wrong.Value).Because(err)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		if field, quoted := strconv.Unquote(name); quoted == nil {
			name = field
		}
		return userkit.NewError(userkit.CodeUnknownField, name, "there is no such member")
	}
	return userkit.NewError(userkit.CodeBadFormat, "", "the text is not valid JSON").Because(err)
}
