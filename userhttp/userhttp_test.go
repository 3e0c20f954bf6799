package userhttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
	"github.com/userkit/userkit/userhttp"
)

func TestStatusOfEveryCode(t *testing.T) {
	for _, info := range userkit.Codes() {
		status := userhttp.Status(fmt.Errorf("around: %w", userkit.NewError(info.Code, "", "")))
		require.NotEqual(t, http.StatusInternalServerError, status, info.Code)
		require.GreaterOrEqual(t, status, 400, info.Code)
	}
	for status, err := range map[int]error{
		200: nil, 400: userkit.ErrInvalid, 401: userkit.NewError(userkit.CodeInvalidToken, "", ""), 403: userkit.ErrForbidden, 404: userkit.ErrNotFound,
		409: userkit.ErrExists, 412: userkit.NewError(userkit.CodeRevisionMismatch, "", ""), 422: userkit.ErrRefused, 503: userkit.ErrUnavailable,
		504: context.DeadlineExceeded, 500: errors.New("odd"),
	} {
		require.Equal(t, status, userhttp.Status(err))
	}
}

func TestProblem(t *testing.T) {
	manager, err := userkit.New(memory.New())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, manager.Close(context.Background())) })
	_, err = manager.CreateUser(t.Context(), userkit.NewUser{Login: " ada", Email: "ada", Country: "XX"})
	answer := httptest.NewRecorder()
	userhttp.WriteProblem(answer, err)
	require.Equal(t, 400, answer.Code)
	require.Equal(t, "application/problem+json", answer.Header().Get("Content-Type"))
	var problem userhttp.Problem
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &problem))
	require.Equal(t, userkit.CodeBadFormat, problem.Code)
	require.Equal(t, "login", problem.Field)
	var fields []string
	for _, field := range problem.Fields {
		fields = append(fields, field.Field)
	}
	require.Equal(t, []string{"login", "email", "country"}, fields, "all wrong fields at once")

	limit := userkit.NewError(userkit.CodeTrafficLimit, "", "used up")
	limit.Until = time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)
	answer = httptest.NewRecorder()
	userhttp.WriteProblem(answer, limit)
	require.Equal(t, "Sun, 29 Mar 2026 00:00:00 GMT", answer.Header().Get("Retry-After"))

	for _, secret := range []error{errors.New("password=1"), userkit.NewError(userkit.CodeStoreUnavailable, "", "password=1").Because(errors.New("password=1"))} {
		answer = httptest.NewRecorder()
		userhttp.WriteProblem(answer, secret)
		require.NotContains(t, answer.Body.String(), "password")
	}
}

func request(header, value string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if value != "" {
		r.Header.Set(header, value)
	}
	return r
}

func TestEntityTags(t *testing.T) {
	for tag, revision := range map[string]int64{"": 0, "*": 0, userhttp.ETag(7): 7, ` "7" `: 7} {
		read, err := userhttp.IfMatch(request("If-Match", tag))
		require.NoError(t, err, tag)
		require.Equal(t, revision, read, tag)
	}
	for tag, code := range map[string]userkit.Code{
		`W/"7"`: userkit.CodeRevisionMismatch, `7`: userkit.CodeRevisionMismatch, `"x"`: userkit.CodeRevisionMismatch, `"07"`: userkit.CodeRevisionMismatch,
		`"0"`: userkit.CodeRevisionMismatch, `"1", "2"`: userkit.CodeBadFormat,
	} {
		_, err := userhttp.IfMatch(request("If-Match", tag))
		require.Equal(t, code, userkit.ErrorCode(err), tag)
	}
	for tag, same := range map[string]bool{"": false, `"7"`: true, `W/"7"`: true, `"6", "7"`: true, `"6"`: false, "*": true} {
		answer := httptest.NewRecorder()
		require.Equal(t, same, userhttp.NotModified(answer, request("If-None-Match", tag), 7), tag)
		require.Equal(t, `"7"`, answer.Header().Get("ETag"))
		require.Equal(t, same, answer.Code == http.StatusNotModified, tag)
	}
}

func TestIdempotencyKey(t *testing.T) {
	for header, key := range map[string]string{`"8e03978e"`: "8e03978e", `8e03978e`: "8e03978e", `"a \"b\" \\"`: `a "b" \`} {
		read, err := userhttp.IdempotencyKey(request("Idempotency-Key", header))
		require.NoError(t, err)
		require.Equal(t, key, read)
	}
	for header, code := range map[string]userkit.Code{
		"": userkit.CodeRequired, `""`: userkit.CodeBadFormat, `"a`: userkit.CodeBadFormat, "ключ": userkit.CodeBadFormat, strings.Repeat("k", 257): userkit.CodeTooLong,
	} {
		_, err := userhttp.IdempotencyKey(request("Idempotency-Key", header))
		require.Equal(t, code, userkit.ErrorCode(err), header)
	}
}

func TestQueriesInURLs(t *testing.T) {
	values := func(text string) url.Values {
		values, err := url.ParseQuery(text)
		require.NoError(t, err)
		return values
	}
	segment := userkit.NewID[userkit.Segment]()
	users, err := userhttp.ParseUserQuery(values(`without_disabled=on&search=ada&segment=` + segment.String() + `&filter=country+eq+"BY"&sort=name&descending=true&limit=20&cursor=`))
	require.NoError(t, err)
	require.Equal(t, userkit.PageQuery{Sort: "name", Descending: true, Limit: 20}, users.PageQuery)
	require.True(t, users.WithoutDisabled)
	require.Equal(t, segment, users.Segment)
	require.Equal(t, `country eq "BY"`, users.Filter.String())
	again, err := userhttp.ParseUserQuery(userhttp.Values(users))
	require.NoError(t, err)
	require.Equal(t, users, again)

	user := userkit.NewID[userkit.User]()
	sessions, err := userhttp.ParseSessionQuery(values("user_id=" + user.String() + "&state=active&mixed=1&from=2026-03-29T00:00:00%2B02:00"))
	require.NoError(t, err)
	require.Equal(t, userkit.SessionQuery{Mixed: true, SessionFilter: userkit.SessionFilter{
		UserID: user, State: userkit.SessionsActive, From: time.Date(2026, 3, 28, 22, 0, 0, 0, time.UTC),
	}}, sessions)
	devices, err := userhttp.ParseDeviceQuery(values("user_id=" + user.String()))
	require.NoError(t, err)
	require.Equal(t, user, devices.UserID)
	transactions, err := userhttp.ParseTransactionQuery(values("include_cancelled=true"))
	require.NoError(t, err)
	require.True(t, transactions.IncludeCancelled)
	purchases, err := userhttp.ParsePurchaseQuery(values("store=apple"))
	require.NoError(t, err)
	require.Equal(t, "apple", purchases.Store)
	segments, err := userhttp.ParseSegmentQuery(values("kind=rule"))
	require.NoError(t, err)
	require.Equal(t, userkit.SegmentRule, segments.Kind)
	events, err := userhttp.ParseEventQuery(values("name=user.created"))
	require.NoError(t, err)
	require.Equal(t, userkit.EventUserCreated, events.Name)

	_, err = userhttp.ParseSessionQuery(values("user_id=ada&limit=many&mixed=perhaps&from=today&nonsense=1&state=active&state=ended"))
	wrong := userkit.AsError(err)
	require.ErrorIs(t, wrong, userkit.ErrInvalid)
	codes := map[string]userkit.Code{}
	for _, field := range wrong.Fields {
		codes[field.Field] = field.Code
	}
	require.Equal(t, map[string]userkit.Code{
		"user_id": userkit.CodeBadFormat, "limit": userkit.CodeBadFormat, "mixed": userkit.CodeBadFormat, "from": userkit.CodeBadFormat,
		"nonsense": userkit.CodeUnknownField, "state": userkit.CodeBadFormat,
	}, codes)
	_, err = userhttp.ParseUserQuery(values("filter=country+eq"))
	require.Equal(t, userkit.CodeFilterSyntax, userkit.ErrorCode(err))
}

func TestReadJSON(t *testing.T) {
	var user userkit.NewUser
	read := func(body string) error {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		return userhttp.ReadJSON(httptest.NewRecorder(), r, 200, &user)
	}
	require.NoError(t, read(`{"login":"ada","attributes":{"n":9007199254740993}}`))
	require.Equal(t, userkit.Attributes{"n": int64(9007199254740993)}, user.Attributes)
	for body, code := range map[string]userkit.Code{
		`{"login":`: userkit.CodeBadFormat, `{"login":5}`: userkit.CodeBadFormat, `{"logn":"ada"}`: userkit.CodeUnknownField, `{} {}`: userkit.CodeBadFormat,
		`{"name":"` + strings.Repeat("x", 200) + `"}`: userkit.CodeTooLong, `{"valid_for":5}`: userkit.CodeBadFormat, ``: userkit.CodeBadFormat,
	} {
		err := read(body)
		require.Equal(t, code, userkit.ErrorCode(err), "%s: %v", body, err)
	}
}

// TestEveryQueryIsRead looks for a function for each query of package userkit, and reads
// and writes one with a value in every parameter.
func TestEveryQueryIsRead(t *testing.T) {
	read := map[string]func(url.Values) (url.Values, error){
		"UserQuery": again(userhttp.ParseUserQuery), "DeviceQuery": again(userhttp.ParseDeviceQuery), "SessionQuery": again(userhttp.ParseSessionQuery),
		"TransactionQuery": again(userhttp.ParseTransactionQuery), "PurchaseQuery": again(userhttp.ParsePurchaseQuery), "SegmentQuery": again(userhttp.ParseSegmentQuery),
		"EventQuery": again(userhttp.ParseEventQuery), "MessageQuery": again(userhttp.ParseMessageQuery), "ConnectionQuery": again(userhttp.ParseConnectionQuery),
		"LocationQuery": again(userhttp.ParseLocationQuery), "DeliveryQuery": again(userhttp.ParseDeliveryQuery),
	}
	manager := reflect.TypeFor[userkit.Manager]()
	queries := 0
	for method := range manager.Methods() {
		for query := range method.Type.Ins() {
			if !strings.HasSuffix(query.Name(), "Query") {
				continue
			}
			queries++
			require.Contains(t, read, query.Name(), "%s has no function", query.Name())
			values := url.Values{}
			parameters(query, values)
			require.Greater(t, len(values), 3, query.Name())
			written, err := read[query.Name()](values)
			require.NoError(t, err, query.Name())
			require.Equal(t, values, written, query.Name())
		}
	}
	require.Greater(t, queries, 10)
}

// again reads a query and writes it.
func again[Q userhttp.Query](read func(url.Values) (Q, error)) func(url.Values) (url.Values, error) {
	return func(values url.Values) (url.Values, error) {
		query, err := read(values)
		return userhttp.Values(query), err
	}
}

// parameters puts a value into every parameter of a query.
func parameters(query reflect.Type, into url.Values) {
	for field := range query.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous:
			parameters(field.Type, into)
		case name == "" || name == "-":
		case field.Type == reflect.TypeFor[time.Time]():
			into.Set(name, "2026-03-28T22:00:00Z")
		case field.Type == reflect.TypeFor[userkit.Filter]():
			into.Set(name, `country eq "BY"`)
		case field.Type == reflect.TypeFor[userkit.Optional[userkit.BoundingBox]]():
			into.Set(name, "23.2,51.3,32.8,56.2")
		case field.Type.Kind() == reflect.Array:
			into.Set(name, "0195a1b2-0000-7000-8000-000000000001")
		case field.Type.Kind() == reflect.Bool:
			into.Set(name, "true")
		case field.Type.Kind() == reflect.Int:
			into.Set(name, "20")
		case strings.Contains(field.Type.String(), "netip"):
			into.Set(name, "10.0.0.7")
		default:
			into.Set(name, "text")
		}
	}
}
