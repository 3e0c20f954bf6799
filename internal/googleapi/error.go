// Package googleapi is what the callers of Google's APIs share: access tokens of a service
// account, by signed assertions (RFC 7523) as in
// https://developers.google.com/identity/protocols/oauth2/service-account, and the
// format of errors.
package googleapi

import (
	"encoding/json"
	"strings"

	"github.com/userkit/userkit/internal/vendorapi"
)

// APIError is the error format of Google's APIs. Its message is not read: it may
// repeat what was asked for.
type APIError struct {
	Error *struct {
		Code   int    `json:"code"`
		Status string `json:"status"`
		Errors []struct {
			Reason   string `json:"reason"`
			Location string `json:"location"`
		} `json:"errors"`
		Details []struct {
			Type      string `json:"@type"`
			ErrorCode string `json:"errorCode"` // of a FcmError
		} `json:"details"`
	} `json:"error"`
}

// ReadError reads the body of a refusal. It returns nil when the body is not an error
// of the API, such as a page of a proxy.
func ReadError(a vendorapi.Answer) *APIError {
	var parsed APIError
	if json.Unmarshal(a.Body, &parsed) != nil || parsed.Error == nil || parsed.Error.Code != a.Status {
		return nil
	}
	return &parsed
}

// Has reports whether one of the listed errors has this reason.
func (e *APIError) Has(reason string) bool {
	for _, listed := range e.Error.Errors {
		if listed.Reason == reason {
			return true
		}
	}
	return false
}

// Refused returns an error that tells of an answer that refuses a request.
func Refused(a vendorapi.Answer) error {
	var details []string
	if parsed := ReadError(a); parsed != nil {
		details = append(details, Symbol(parsed.Error.Status))
		if len(parsed.Error.Errors) > 0 {
			details = append(details, Symbol(parsed.Error.Errors[0].Reason))
		}
	}
	return a.Err(details...)
}

// Symbol returns text when it can only be a name from a list, and "" when it may hold
// data.
func Symbol(text string) string {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_'
	}
	if len(text) > 60 || strings.ContainsFunc(text, odd) {
		return ""
	}
	return text
}
