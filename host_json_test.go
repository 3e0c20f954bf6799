package userkit_test

import (
	"encoding"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// hostTypes returns every type of userkit that a host can hold in its hands: those that
// can be reached from the methods of Manager, and those of options and tables.
func hostTypes() map[reflect.Type]bool {
	reached := map[reflect.Type]bool{}
	var reach func(of reflect.Type)
	reach = func(of reflect.Type) {
		if reached[of] {
			return
		}
		reached[of] = true
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Chan:
			reach(of.Elem())
		case reflect.Map:
			reach(of.Key())
			reach(of.Elem())
		case reflect.Func:
			for in := range of.Ins() {
				reach(in)
			}
			for out := range of.Outs() {
				reach(out)
			}
		case reflect.Interface:
			if of == reflect.TypeFor[userkit.Manager]() { // what others ask for, such as Store, is no data
				for method := range of.Methods() {
					reach(method.Type)
				}
			}
		case reflect.Struct:
			if ofUserkit(of) {
				for field := range of.Fields() {
					if field.IsExported() && field.Tag.Get("json") != "-" {
						reach(field.Type)
					}
				}
			}
		}
	}
	reach(reflect.TypeFor[userkit.Manager]())
	for _, other := range []reflect.Type{
		reflect.TypeFor[userkit.SessionLimits](), reflect.TypeFor[userkit.License](), reflect.TypeFor[userkit.CodeInfo](),
		reflect.TypeFor[userkit.Field[userkit.User]](), reflect.TypeFor[userkit.DerivedField](), reflect.TypeFor[userkit.Receipt](),
		reflect.TypeFor[userkit.Error](), reflect.TypeFor[userkit.UserImport](), reflect.TypeFor[userkit.Moment](),
	} {
		reach(other)
	}
	return reached
}

func ofUserkit(of reflect.Type) bool {
	return of.PkgPath() == "github.com/userkit/userkit"
}

func TestTypesOfHostsHaveNamesInJSON(t *testing.T) {
	snake := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	structs := 0
	for of := range hostTypes() {
		if of.Kind() != reflect.Struct || !ofUserkit(of) || of.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
			continue
		}
		structs++
		for field := range of.Fields() {
			tag, tagged := field.Tag.Lookup("json")
			name, _, _ := strings.Cut(tag, ",")
			switch {
			case !field.IsExported(), tag == "-":
			case field.Anonymous && !tagged:
				require.Equal(t, reflect.Struct, field.Type.Kind(), "%s.%s", of, field.Name)
			default:
				require.Regexp(t, snake, name, "%s.%s", of, field.Name)
				require.NotEqual(t, reflect.TypeFor[time.Duration](), field.Type, "%s.%s: JSON has it as nanoseconds", of, field.Name)
				require.NotEqual(t, reflect.TypeFor[error](), field.Type, "%s.%s: JSON has it as {}", of, field.Name)
			}
		}
	}
	require.Greater(t, structs, 40, "the walk has found the types")
}

// nestedNames are the fields of the table that stand inside of others in JSON.
var nestedNames = map[string]string{
	"currency": "balance.currency", "traffic_limit": "traffic.limit.bytes", "traffic_reset": "traffic.limit.reset",
	"traffic_anchor_day": "traffic.limit.anchor_day", "payer_account_number": "payer.account_number",
	"legal_address": "payer.legal_address", "postal_address": "payer.postal_address", "bank": "payer.bank", "bank_account": "payer.bank_account",
}

func TestTablesOfFieldsHaveTheNamesOfJSON(t *testing.T) {
	names := func(of reflect.Type) map[string]bool {
		found := map[string]bool{}
		var walk func(of reflect.Type, prefix string)
		walk = func(of reflect.Type, prefix string) {
			for field := range of.Fields() {
				name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
				if field.Anonymous {
					walk(field.Type, prefix)
					continue
				}
				found[prefix+name] = true
				if field.Type.Kind() == reflect.Struct && ofUserkit(field.Type) {
					walk(field.Type, prefix+name+".")
				}
			}
		}
		walk(of, "")
		return found
	}
	check := func(of reflect.Type, fields []string) {
		known := names(of)
		for _, field := range fields {
			if path, nested := nestedNames[field]; nested {
				field = path
			}
			require.True(t, known[field], "%s of %s", field, of)
		}
	}
	check(reflect.TypeFor[userkit.User](), fieldNames(userkit.UserFields()))
	check(reflect.TypeFor[userkit.Device](), fieldNames(userkit.DeviceFields()))
	check(reflect.TypeFor[userkit.Session](), fieldNames(userkit.SessionFields()))
	check(reflect.TypeFor[userkit.Segment](), fieldNames(userkit.SegmentFields()))
	check(reflect.TypeFor[userkit.Purchase](), fieldNames(userkit.PurchaseFields()))
}

func fieldNames[T any](fields []userkit.Field[T]) (names []string) {
	for _, field := range fields {
		names = append(names, field.Name)
	}
	return names
}

// fromJSON reads a value as the body of a request.
func fromJSON[T any](t *testing.T, text string) T {
	t.Helper()
	var value T
	require.NoError(t, json.Unmarshal([]byte(text), &value))
	return value
}

func TestJSONKeepsWholeNumbers(t *testing.T) {
	const text = `{"attributes":{"id":9007199254740993,"deep":{"list":[9007199254740993,-9223372036854775808,0.5,1e3]}}}`
	want := userkit.Attributes{"id": int64(9007199254740993), "deep": map[string]any{"list": []any{int64(9007199254740993), int64(-9223372036854775808), 0.5, int64(1000)}}}
	require.Equal(t, want, fromJSON[userkit.NewUser](t, text).Attributes)
	require.Equal(t, want, fromJSON[userkit.User](t, text).Attributes)
	patch := fromJSON[userkit.UserPatch](t, text)
	require.Equal(t, userkit.Set(want), patch.Attributes)
	patch = fromJSON[userkit.UserPatch](t, `{"set_attributes":{"id":9007199254740993,"gone":null}}`)
	require.Equal(t, userkit.Attributes{"id": int64(9007199254740993), "gone": nil}, patch.SetAttributes)

	event := fromJSON[userkit.NewEvent](t, `{"name":"host.seen","data":{"id":9007199254740993}}`)
	written, err := json.Marshal(event)
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"host.seen","data":{"id":9007199254740993}}`, string(written))
	require.Contains(t, string(written), "9007199254740993")

	value, err := userkit.KindJSON.Parse(`{"id":9007199254740993}`)
	require.NoError(t, err)
	require.Equal(t, userkit.Attributes{"id": int64(9007199254740993)}, value)
}

func TestDurationSaysItsUnit(t *testing.T) {
	user := fromJSON[userkit.NewUser](t, `{"valid_for":"720h"}`)
	require.Equal(t, userkit.Duration(720*time.Hour), user.ValidFor)
	written, err := json.Marshal(user)
	require.NoError(t, err)
	require.Contains(t, string(written), `"valid_for":"720h"`)
	require.Equal(t, userkit.UserPatch{ValidFor: userkit.Set(userkit.Duration(90 * time.Minute))}, fromJSON[userkit.UserPatch](t, `{"valid_for":"1h30m"}`))
	require.Equal(t, userkit.UserPatch{ValidFor: userkit.Set(userkit.Duration(0))}, fromJSON[userkit.UserPatch](t, `{"valid_for":null}`))
	for _, bare := range []string{`2592000`, `"2592000"`, `1.5`, `"30 days"`, `true`, `{}`} {
		var user userkit.NewUser
		err := json.Unmarshal([]byte(`{"valid_for":`+bare+`}`), &user)
		require.Equal(t, userkit.CodeBadFormat, userkit.ErrorCode(err), "%s: %v", bare, err)
	}
	for text, span := range map[string]time.Duration{
		"0s": 0, "720h": 720 * time.Hour, "1h30m": 90 * time.Minute, "30m": 30 * time.Minute, "10s": 10 * time.Second, "1m10s": 70 * time.Second,
		"10h0m10s": 10*time.Hour + 10*time.Second, "-1h": -time.Hour, "1.5s": 1500 * time.Millisecond, "7ns": 7,
	} {
		require.Equal(t, text, userkit.Duration(span).String())
		read, err := userkit.ParseDuration(text)
		require.NoError(t, err)
		require.Equal(t, userkit.Duration(span), read)
	}
}

func TestNullClears(t *testing.T) {
	patch := fromJSON[userkit.UserPatch](t, `{"payer":null,"traffic_limit":null,"name":null,"expires_at":null,"attributes":null}`)
	none := userkit.Set("")
	require.Equal(t, userkit.UserPatch{
		Payer:        userkit.PayerPatch{AccountNumber: none, LegalAddress: none, PostalAddress: none, Bank: none, BankAccount: none},
		TrafficLimit: userkit.TrafficLimitPatch{Bytes: userkit.Set[int64](0), Reset: userkit.Set(userkit.ResetDaily), AnchorDay: userkit.Set(0)},
		Name:         none, ExpiresAt: userkit.Set(time.Time{}), Attributes: userkit.Set[userkit.Attributes](nil),
	}, patch)
	require.Equal(t, userkit.UserPatch{Payer: userkit.PayerPatch{Bank: userkit.Set("b")}}, fromJSON[userkit.UserPatch](t, `{"payer":{"bank":"b"}}`))
	require.Equal(t, userkit.UserPatch{TrafficLimit: userkit.TrafficLimitPatch{Bytes: userkit.Set[int64](5)}},
		fromJSON[userkit.UserPatch](t, `{"traffic_limit":{"bytes":5}}`))

	// Every part of a patch that can be cleared can be cleared by null.
	for _, of := range []reflect.Type{reflect.TypeFor[userkit.UserPatch](), reflect.TypeFor[userkit.DevicePatch](), reflect.TypeFor[userkit.SegmentPatch]()} {
		for field := range of.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name == "revision" || name == "set_attributes" || !field.IsExported() {
				continue
			}
			value := reflect.New(of)
			require.NoError(t, json.Unmarshal([]byte(`{"`+name+`":null}`), value.Interface()))
			require.False(t, value.Elem().FieldByIndex(field.Index).IsZero(), "%s of %s", name, of)
		}
	}
}

func TestErrorsInJSON(t *testing.T) {
	limit := userkit.NewError(userkit.CodeTrafficLimit, "bytes", "used up")
	limit.Until = time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)
	written, err := json.Marshal(limit.Because(io.EOF))
	require.NoError(t, err)
	require.JSONEq(t, `{"kind":"refused","code":"traffic_limit","field":"bytes","message":"used up","until":"2026-03-29T00:00:00Z"}`, string(written))
	read := fromJSON[userkit.Error](t, string(written))
	require.ErrorIs(t, &read, userkit.ErrRefused)
	require.NotErrorIs(t, &read, io.EOF)
	require.Equal(t, limit.Until, read.Until)

	later := fromJSON[userkit.Error](t, `{"kind":"conflict","code":"of_a_later_version"}`)
	require.ErrorIs(t, &later, userkit.ErrConflict)
	require.Equal(t, "userkit: of_a_later_version", later.Error())

	id := userkit.NewID[userkit.User]()
	session := userkit.NewID[userkit.Session]()
	for name, value := range map[string]any{
		`{"user_id":"` + id.String() + `","error":{"kind":"refused","code":"traffic_limit","field":"bytes","message":"used up","until":"2026-03-29T00:00:00Z"}}`:                      &userkit.BulkFailure{UserID: id, Err: limit},
		`{"user_id":"` + id.String() + `","action":"failed","error":{"kind":"refused","code":"traffic_limit","field":"bytes","message":"used up","until":"2026-03-29T00:00:00Z"}}`:    &userkit.ImportOutcome{UserID: id, Action: userkit.ImportFailed, Err: limit},
		`{"session_id":"` + session.String() + `","outcome":"rejected","received":0,"sent":0,"ended":false,"error":{"kind":"not_found","code":"session_not_found","message":"none"}}`: &userkit.UsageResult{SessionID: session, Outcome: userkit.UsageRejected, Err: userkit.NewError(userkit.CodeSessionNotFound, "", "none")},
		`{"session_id":"` + session.String() + `","outcome":"counted","received":1,"sent":2,"ended":false}`:                                                                           &userkit.UsageResult{SessionID: session, Outcome: userkit.UsageCounted, Received: 1, Sent: 2},
	} {
		written, err := json.Marshal(value)
		require.NoError(t, err)
		require.JSONEq(t, name, string(written))
		again := reflect.New(reflect.TypeOf(value).Elem())
		require.NoError(t, json.Unmarshal(written, again.Interface()))
		rewritten, err := json.Marshal(again.Interface())
		require.NoError(t, err)
		require.JSONEq(t, name, string(rewritten))
	}
	result, err := json.Marshal(userkit.BulkResult{Failed: 1, Failures: []userkit.BulkFailure{{UserID: id, Err: errors.New("odd")}}})
	require.NoError(t, err)
	require.Contains(t, string(result), `"error":{"message":"odd"}`)
	require.NoError(t, fromJSON[userkit.UsageResult](t, `{"outcome":"counted"}`).Err)
}

func TestUserKeyInJSON(t *testing.T) {
	record := fromJSON[userkit.UserImport](t, `{"key":{"login":"ada"},"draft":{"create":{"login":"ada"},"update":{"name":"Ada"}}}`)
	require.Equal(t, userkit.ByLogin("ada"), record.Key)
	written, err := json.Marshal(record.Key)
	require.NoError(t, err)
	require.JSONEq(t, `{"login":"ada"}`, string(written))
	for text, code := range map[string]userkit.Code{
		`{}`: userkit.CodeBadFormat, `{"login":"a","email":"b"}`: userkit.CodeBadFormat, `{"name":"ada"}`: userkit.CodeUnknownField,
	} {
		require.Equal(t, code, userkit.ErrorCode(json.Unmarshal([]byte(text), new(userkit.UserKey))), text)
	}
}

func TestQueriesInJSON(t *testing.T) {
	query := fromJSON[userkit.UserQuery](t, `{"search":"ada","filter":"country eq \"BY\"","sort":"name","descending":true,"limit":10}`)
	require.Equal(t, "ada", query.Search)
	require.Equal(t, `country eq "BY"`, query.Filter.String())
	require.Equal(t, userkit.PageQuery{Sort: "name", Descending: true, Limit: 10}, query.PageQuery)
}
