package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// showsNoUser are the reading methods that show no record of a user, beside those that return a
// number or a truth value; each says why. Every other one shows one to whoever may see everybody, so
// that its silence with a scope proves something.
var showsNoUser = map[string]string{
	"Access":           "says what holds, and names nobody",
	"Authorize":        "is an error or none",
	"Follow":           "is Feed without an end",
	"Licenses":         "are of the project",
	"PreviewBulk":      "is a number",
	"PreviewRetention": "are numbers",
	"PushMail":         "shows no address that is revoked",
	"Resume":           "is for the administrator who connected",
	"Segment":          "is of the project",
	"Segments":         "are of the project",
	"Traffic":          "are numbers",
	"UserSegments":     "are of the project",
}

// leavesOut are the methods that take ids of users and leave out those outside of the scope.
var leavesOut = []string{"UserNames"}

// scopeHoldsEverywhere calls every method with whatever names a user outside of the scope of the
// caller, in every place of its arguments, alone and beside a user of the scope.
func scopeHoldsEverywhere(t *testing.T, env env) {
	mine, other := newDossier(1), newDossier(2)
	segment := newList(1)
	mine.segments, other.segments = []userkit.SegmentID{segment.ID}, []userkit.SegmentID{segment.ID}
	_, err := env.store.CommitSegment(t.Context(), userkit.SegmentChange{ID: segment.ID, Segment: segment, Event: newSegmentEvent(1)})
	require.NoError(t, err)
	createAll(t, env.store, mine, other)

	var asked userkit.Operation // the last
	var answer func(userkit.AuthorizationRequest) userkit.Authorization
	desk := env.desk(t, userkit.WithAuthorizer(userkit.AuthorizerFunc(
		func(_ context.Context, request userkit.AuthorizationRequest) (userkit.Authorization, error) {
			asked = request.Operation
			return answer(request), nil
		})))
	w := newScopeWalk(t, mine, other)

	reads := map[string]bool{}
	answer = func(request userkit.AuthorizationRequest) userkit.Authorization {
		return userkit.Authorization{Allowed: !request.Operation.Changes}
	}
	for _, method := range w.methods {
		shown := showsNoUser[method.Name] != "" || isNumber(method.Type.Out(0))
		for _, arguments := range w.lists(method.Type) {
			if shown {
				break
			}
			results, err := w.call(desk.Manager, method, arguments)
			reads[method.Name] = reads[method.Name] || !errors.Is(err, userkit.ErrForbidden)
			shown = w.shows(results) != ""
		}
		require.False(t, reads[method.Name] && !shown, "%s shows nobody anything", method.Name)
	}
	require.Greater(t, len(reads), 15)

	answer = func(userkit.AuthorizationRequest) userkit.Authorization {
		return userkit.Authorization{Allowed: true, Scope: userkit.Equal("login", mine.user.Login)}
	}
	before := loadOne(t, env.store, other.everything())
	for _, manager := range []userkit.Manager{desk.Manager, desk.WithStore(env.store)} {
		for _, method := range w.methods {
			for _, arguments := range w.lists(method.Type) {
				asked = userkit.Operation{}
				results, err := w.call(manager, method, arguments)
				said := fmt.Sprintf("%s%+v: %+v %v", method.Name, arguments.shown(), results, err)
				require.Empty(t, w.shows(results), said)
				if arguments.others && !asked.Narrowed || arguments.named && !slices.Contains(leavesOut, method.Name) {
					require.Error(t, err, said)
					require.NotErrorIs(t, err, userkit.ErrUnavailable, said)
				}
			}
		}
	}
	after := loadOne(t, env.store, other.everything())
	before.RowCounts[userkit.RowsEvents], after.RowCounts[userkit.RowsEvents] = 0, 0 // refusals are events
	before.User.Account.Version, after.User.Account.Version = 0, 0
	require.Equal(t, withoutEmpty(before), withoutEmpty(after))
}

// scopeWalk makes arguments for the methods of a manager, and looks for what belongs to a user in
// what they return.
type scopeWalk struct {
	ctx     context.Context
	methods []reflect.Method
	mine    userkit.UserID
	ids     map[reflect.Type]reflect.Value // of the other user's records and of their segment
	other   dossier
	marks   []string // texts that only the other user's records have
}

func newScopeWalk(t *testing.T, mine, other dossier) *scopeWalk {
	w := &scopeWalk{ctx: userkit.WithActor(t.Context(), administrator), mine: mine.user.ID, other: other, ids: map[reflect.Type]reflect.Value{}}
	for _, id := range []any{
		other.user.ID, other.devices[0].ID, other.sessions[0].ID, other.purchases[0].ID, other.messages[0].ID,
		other.deliveries[0].ID, other.transactions[0].ID, other.events[0].ID, other.connections[0].ID, other.segments[0],
	} {
		w.ids[reflect.TypeOf(id)] = reflect.ValueOf(id)
	}
	own := textsOf(t, mine)
	for text := range textsOf(t, other) {
		if !own[text] && len(text) >= 8 {
			w.marks = append(w.marks, text)
		}
	}
	for method := range reflect.TypeFor[userkit.Manager]().Methods() {
		if !slices.Contains([]string{"Run", "Close", "WithStore", "Project"}, method.Name) { // these show no record
			w.methods = append(w.methods, method)
		}
	}
	return w
}

// textsOf returns the texts in the records of a dossier, times left out.
func textsOf(t *testing.T, d dossier) map[string]bool {
	text, err := json.Marshal([]any{d.user, d.devices, d.sessions, d.purchases, d.messages, d.deliveries, d.transactions, d.events, d.connections, d.pushMail})
	require.NoError(t, err)
	var tree any
	require.NoError(t, json.Unmarshal(text, &tree))
	texts := map[string]bool{}
	var walk func(any)
	walk = func(value any) {
		switch value := value.(type) {
		case string:
			if !strings.HasPrefix(value, "2026-") {
				texts[value] = true
			}
		case []any:
			for _, value := range value {
				walk(value)
			}
		case map[string]any:
			for _, value := range value {
				walk(value)
			}
		}
	}
	walk(tree)
	return texts
}

// argumentList is arguments of a call, after the context.
type argumentList struct {
	values []reflect.Value
	others bool // they do not name the user of the scope
	named  bool // they name the other user or its records, and nobody else
}

// isNumber reports whether a method returns a number or a truth value first.
func isNumber(result reflect.Type) bool {
	return result.Kind() == reflect.Bool || result.Kind() >= reflect.Int && result.Kind() <= reflect.Float64
}

func (l argumentList) shown() (values []any) {
	for _, value := range l.values {
		values = append(values, value.Interface())
	}
	return values
}

// lists returns the arguments to call a method with: ids are zero, or the other user's; ids of
// users also that of the user of the scope.
func (w *scopeWalk) lists(method reflect.Type) (lists []argumentList) {
	for _, user := range []userkit.UserID{{}, w.mine, w.other.user.ID} {
		for _, records := range []bool{false, true} {
			list := argumentList{others: user != w.mine}
			for i := 1; i < method.NumIn(); i++ {
				value := reflect.New(method.In(i)).Elem()
				list.named = w.fill(value, user, records) || list.named
				list.values = append(list.values, value)
			}
			list.named = list.named && list.others
			lists = append(lists, list)
		}
	}
	if method.NumIn() == 2 && method.In(1) == reflect.TypeFor[userkit.UserKey]() {
		for _, key := range []userkit.UserKey{
			userkit.ByID(w.other.user.ID), userkit.ByLogin(w.other.user.Login), userkit.ByEmail(w.other.user.Email),
			userkit.ByExtRef(w.other.user.ExtRef), userkit.ByPushMail(w.other.pushMail.Address),
		} {
			lists = append(lists, argumentList{values: []reflect.Value{reflect.ValueOf(key)}, others: true, named: true})
		}
	}
	return lists
}

// fill sets the ids in a value, and what a method would ask for before anything else. It reports
// whether an id of the other user or of one of its records is among them.
func (w *scopeWalk) fill(value reflect.Value, user userkit.UserID, records bool) (others bool) {
	id, known := w.ids[value.Type()]
	switch {
	case value.Type() == reflect.TypeFor[userkit.UserID]():
		value.Set(reflect.ValueOf(user))
		return user == w.other.user.ID
	case value.Type() == reflect.TypeFor[userkit.SegmentID]():
		if records {
			value.Set(id)
		}
	case known:
		if records {
			value.Set(id)
		}
		return records
	case value.Type() == reflect.TypeFor[userkit.BulkAction]():
		value.Set(reflect.ValueOf(userkit.BulkDeactivate))
	case value.Kind() == reflect.Struct:
		for i := range value.NumField() {
			if value.Type().Field(i).IsExported() {
				others = w.fill(value.Field(i), user, records) || others
			}
		}
	case value.Kind() == reflect.Slice && value.Type().Elem().Kind() != reflect.Uint8:
		value.Set(reflect.MakeSlice(value.Type(), 1, 1))
		others = w.fill(value.Index(0), user, records)
	}
	return others
}

// call calls a method and returns what it shows: the elements of a sequence, and the connection of
// a context.
func (w *scopeWalk) call(manager userkit.Manager, method reflect.Method, arguments argumentList) (results []any, err error) {
	function := reflect.ValueOf(manager).MethodByName(method.Name)
	values := append([]reflect.Value{reflect.ValueOf(w.ctx)}, arguments.values...)
	returned := function.Call
	if method.Type.IsVariadic() {
		returned = function.CallSlice
	}
	for _, result := range returned(values) {
		if result.Kind() == reflect.Func {
			for value, failed := range result.Seq2() {
				if err, _ = reflect.TypeAssert[error](failed); err != nil {
					break
				}
				results = append(results, value.Interface())
			}
			continue
		}
		switch result := result.Interface().(type) {
		case error:
			err = result
		case context.Context:
			connection, _ := userkit.ConnectionOf(result)
			results = append(results, connection)
		default:
			results = append(results, result)
		}
	}
	return results, err
}

// shows returns what of the other user is in results; empty: nothing.
func (w *scopeWalk) shows(results []any) string {
	text := fmt.Sprintf("%+v", results)
	if encoded, err := json.Marshal(results); err == nil {
		text += string(encoded)
	}
	for _, mark := range w.marks {
		if strings.Contains(text, mark) {
			return mark
		}
	}
	return ""
}
