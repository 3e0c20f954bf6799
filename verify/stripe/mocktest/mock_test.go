package mocktest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-mock/embedded"
	"github.com/stripe/stripe-mock/server"
	"github.com/stripe/stripe-mock/spec"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/verify/stripe"
)

const (
	key    = "sk_test_123"
	secret = "whsec_mock"
	id     = "sub_1MowQVLkdIwHu7ixeRlqHVzs"
)

// description is the OpenAPI description that stripe-mock brings along.
var description = sync.OnceValues(func() (*spec.Spec, error) {
	return server.LoadSpec(embedded.OpenAPISpec, "")
})

// stub is a stripe-mock that wants the version of its own description. To make it takes
// long, so the tests share one, and each has fixtures of its own.
var stub = sync.OnceValues(func() (*server.StubServer, error) {
	described, err := description()
	if err != nil {
		return nil, err
	}
	return server.NewStubServer(&fixtures, described, true, false)
})

var fixtures spec.Fixtures

// mock is a running stripe-mock.
type mock struct {
	*httptest.Server
	subscription map[string]any // the one that it answers with, whatever the id

	mutex    sync.Mutex
	statuses []int // of the answers
}

func newMock(t *testing.T) *mock {
	handler, err := stub()
	require.NoError(t, err)
	fresh, err := server.LoadFixtures(embedded.OpenAPIFixtures, "")
	require.NoError(t, err)
	fixtures = *fresh

	m := &mock{subscription: fixtures.Resources["subscription"].(map[string]any)}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := httptest.NewRecorder()
		handler.HandleRequest(recorder, r)
		m.mutex.Lock()
		m.statuses = append(m.statuses, recorder.Code)
		m.mutex.Unlock()
		maps.Copy(w.Header(), recorder.Header())
		w.WriteHeader(recorder.Code)
		_, _ = recorder.Body.WriteTo(w)
	}))
	t.Cleanup(m.Close)
	return m
}

// answered are the statuses of the answers since it was called last.
func (m *mock) answered() []int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	statuses := m.statuses
	m.statuses = nil
	return statuses
}

// periodEnd is when the period of the subscription ends.
func (m *mock) periodEnd() time.Time {
	item := m.subscription["items"].(map[string]any)["data"].([]any)[0].(map[string]any)
	return time.Unix(int64(item["current_period_end"].(float64)), 0).UTC()
}

// verifier asks the mock a day before the end of the period.
func (m *mock) verifier(t *testing.T, change func(*stripe.Config)) *stripe.Verifier {
	config := stripe.Config{
		SecretKey:      key,
		WebhookSecrets: []string{secret},
		BaseURL:        m.URL,
		Clock:          func() time.Time { return m.periodEnd().Add(-24 * time.Hour) },
	}
	if change != nil {
		change(&config)
	}
	verifier, err := stripe.New(config)
	require.NoError(t, err)
	return verifier
}

func (m *mock) verify(t *testing.T) userkit.Verdict {
	return m.verifier(t, nil).Verify(t.Context(), userkit.Receipt{Token: id})
}

// enum are the values that the description allows for a field of a schema.
func enum(t *testing.T, schema, field string) []string {
	whole, err := description()
	require.NoError(t, err)
	described := whole.Components.Schemas[schema]
	require.NotNil(t, described)
	require.NotNil(t, described.Properties[field])
	var values []string
	for _, value := range described.Properties[field].Enum {
		if text, ok := value.(string); ok && text != "" {
			values = append(values, text)
		}
	}
	require.NotEmpty(t, values)
	return values
}

func TestTheVersionIsTheOneOfTheDescription(t *testing.T) {
	described, err := description()
	require.NoError(t, err)
	require.Equal(t, described.Info.Version, stripe.DefaultAPIVersion)
}

func TestASubscriptionIsVerified(t *testing.T) {
	m := newMock(t)
	m.subscription["metadata"] = map[string]any{"user_id": "customer-17"}
	m.subscription["latest_invoice"] = "in_1MowQWLkdIwHu7ixuzkSPfKd"
	verdict := m.verify(t)
	require.Equal(t, []int{http.StatusOK}, m.answered())
	require.NoError(t, verdict.Err)
	require.Equal(t, userkit.VerdictValid, verdict.Outcome)
	require.Equal(t, id, verdict.Facts.StableID)
	require.Equal(t, "in_1MowQWLkdIwHu7ixuzkSPfKd", verdict.Facts.TransactionID)
	require.Regexp(t, "^prod_", verdict.Facts.ProductID)
	require.Equal(t, userkit.Sandbox, verdict.Facts.Environment)
	require.Equal(t, m.periodEnd(), verdict.Facts.ExpiresAt)
	require.Equal(t, "customer-17", verdict.Facts.AccountToken)
	require.False(t, verdict.Facts.PurchasedAt.IsZero())
	require.True(t, json.Valid(verdict.Facts.Raw))
}

func TestEveryStatusOfTheDescriptionIsKnown(t *testing.T) {
	m := newMock(t)
	want := map[string]userkit.Verdict{
		"active":             {Outcome: userkit.VerdictValid},
		"trialing":           {Outcome: userkit.VerdictValid},
		"past_due":           {Outcome: userkit.VerdictValid},
		"incomplete":         {Outcome: userkit.VerdictInvalid, Reason: userkit.ReasonPending},
		"incomplete_expired": {Outcome: userkit.VerdictInvalid, Reason: userkit.ReasonExpired},
		"unpaid":             {Outcome: userkit.VerdictInvalid, Reason: userkit.ReasonUnpaid},
		"paused":             {Outcome: userkit.VerdictInvalid, Reason: userkit.ReasonPaused},
		"canceled":           {Outcome: userkit.VerdictInvalid, Reason: userkit.ReasonExpired},
	}
	statuses := enum(t, "subscription", "status")
	require.Len(t, statuses, len(want))
	for _, status := range statuses {
		t.Run(status, func(t *testing.T) {
			m.subscription["status"] = status
			verdict := m.verify(t)
			require.Equal(t, want[status].Outcome, verdict.Outcome, "%v", verdict.Err)
			require.Equal(t, want[status].Reason, verdict.Reason)
			require.Equal(t, status == "trialing", verdict.Facts.Trial)
			answers := []int{http.StatusOK}
			if status == "past_due" {
				answers = append(answers, http.StatusOK) // to the question for the open invoices
			}
			require.Equal(t, answers, m.answered())
		})
	}
}

func TestEveryReasonOfACancellationIsKnown(t *testing.T) {
	m := newMock(t)
	m.subscription["status"] = "canceled"
	want := map[string]userkit.PurchaseReason{
		"cancellation_requested":       userkit.ReasonExpired,
		"canceled_by_retention_policy": userkit.ReasonExpired,
		"payment_disputed":             userkit.ReasonRevoked,
		"payment_failed":               userkit.ReasonUnpaid,
	}
	reasons := enum(t, "cancellation_details", "reason")
	require.Len(t, reasons, len(want))
	for _, reason := range reasons {
		t.Run(reason, func(t *testing.T) {
			m.subscription["cancellation_details"].(map[string]any)["reason"] = reason
			verdict := m.verify(t)
			require.Equal(t, userkit.VerdictInvalid, verdict.Outcome)
			require.Equal(t, want[reason], verdict.Reason)
		})
	}
}

func TestWhatTheMockRefusesIsUndecided(t *testing.T) {
	m := newMock(t)
	for name, test := range map[string]struct {
		status int
		change func(*stripe.Config)
	}{
		"another version": {http.StatusBadRequest, func(c *stripe.Config) { c.APIVersion = "2025-02-24.acacia" }},
		"another key":     {http.StatusUnauthorized, func(c *stripe.Config) { c.SecretKey = "sk_live_123" }},
		"another address": {http.StatusNotFound, func(c *stripe.Config) { c.BaseURL += "/elsewhere" }},
	} {
		t.Run(name, func(t *testing.T) {
			verdict := m.verifier(t, test.change).Verify(t.Context(), userkit.Receipt{Token: id})
			require.Equal(t, []int{test.status}, m.answered())
			require.Equal(t, userkit.VerdictUndecided, verdict.Outcome)
			require.ErrorContains(t, verdict.Err, fmt.Sprint("status ", test.status))
		})
	}
}

func TestEventsOfTheMocksObjectsAreRead(t *testing.T) {
	m := newMock(t)
	verifier := m.verifier(t, nil)
	fetch := func(path string) map[string]any {
		request, err := http.NewRequest(http.MethodGet, m.URL+path, nil)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+key)
		response, err := m.Client().Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		require.Equal(t, http.StatusOK, response.StatusCode)
		var object map[string]any
		require.NoError(t, json.NewDecoder(response.Body).Decode(&object))
		return object
	}
	read := func(about map[string]any) userkit.NotificationContent {
		event := fetch("/v1/events/evt_1NG8Du2eZvKYlo2CUI79vXWy")
		if about != nil {
			event["data"] = map[string]any{"object": about}
		}
		body, err := json.Marshal(event)
		require.NoError(t, err)
		at := fmt.Sprint(m.periodEnd().Add(-24 * time.Hour).Unix())
		mac := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(mac, "%s.%s", at, body)
		content, err := verifier.ReadNotification(t.Context(), userkit.StoreNotification{
			Header: map[string][]string{"Stripe-Signature": {"t=" + at + ",v1=" + hex.EncodeToString(mac.Sum(nil))}},
			Body:   body,
		})
		require.NoError(t, err)
		require.Equal(t, "evt_1NG8Du2eZvKYlo2CUI79vXWy", content.ID)
		return content
	}

	require.Empty(t, read(nil).Receipt.Token, "the mock's own event is about a plan")
	require.Equal(t, id, read(fetch("/v1/subscriptions/"+id)).Receipt.Token)

	invoice := fetch("/v1/invoices/in_1MowQWLkdIwHu7ixuzkSPfKd")
	details := invoice["parent"].(map[string]any)["subscription_details"].(map[string]any)
	require.Contains(t, details, "subscription")
	details["subscription"] = id
	require.Equal(t, id, read(invoice).Receipt.Token)
	details["subscription"] = fetch("/v1/subscriptions/" + id)
	require.Equal(t, id, read(invoice).Receipt.Token)
}
