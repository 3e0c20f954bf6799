package stripe

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"

	"github.com/userkit/userkit/internal/vendorapi"
)

// get makes a request. Its errors hold neither the key nor the id.
func (v *Verifier) get(ctx context.Context, operation, path, id string) (vendorapi.Answer, error) {
	return v.api.Do(ctx, vendorapi.Request{
		Operation: operation,
		Method:    http.MethodGet,
		URL:       v.baseURL + path,
		Header:    http.Header{"Stripe-Version": {v.apiVersion}},
		Bearer:    v.secretKey,
		Secrets:   []string{id},
	})
}

// refusal is what is read of an error of the API
// (https://docs.stripe.com/api/errors). The message repeats what was asked for and a
// part of the key, so it goes into no error.
type refusal struct {
	Type    string `json:"type"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// readRefusal reads the error in an answer. It is empty when the answer is not one of the
// API, such as a page of a proxy.
func readRefusal(a vendorapi.Answer) refusal {
	var body struct {
		Error refusal `json:"error"`
	}
	if json.Unmarshal(a.Body, &body) != nil {
		return refusal{}
	}
	return body.Error
}

// symbolPattern matches what can only be a name from a list, and is no data.
var symbolPattern = regexp.MustCompile(`^[a-z_]{1,60}$`)

// refused returns an error that tells of an answer that refuses a request.
func refused(a vendorapi.Answer) error {
	read := readRefusal(a)
	var details []string
	for _, symbol := range []string{read.Type, read.Code} {
		if symbolPattern.MatchString(symbol) {
			details = append(details, symbol)
		}
	}
	return a.Err(details...)
}
