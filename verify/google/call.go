package google

import (
	"encoding/json"

	"github.com/userkit/userkit/verify/internal/storeapi"
)

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

// readAPIError reads the body of a refusal. It returns nil when the body is not an error
// of the API, such as a page of a proxy.
func readAPIError(a storeapi.Answer) *apiError {
	var parsed apiError
	if json.Unmarshal(a.Body, &parsed) != nil || parsed.Error == nil || parsed.Error.Code != a.Status {
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

// refused returns an error that tells of an answer that refuses a request.
func refused(a storeapi.Answer) error {
	var details []string
	if parsed := readAPIError(a); parsed != nil {
		details = append(details, symbol(parsed.Error.Status))
		if len(parsed.Error.Errors) > 0 {
			details = append(details, symbol(parsed.Error.Errors[0].Reason))
		}
	}
	return a.Err(details...)
}

// symbol returns text when it can only be a name from a list, and "" when it may hold
// data.
func symbol(text string) string {
	if len(text) > 60 || !consistsOf(text, func(c byte) bool { return isLetterOrDigit(c) || c == '_' }) {
		return ""
	}
	return text
}
