package storetest

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func countGroups() []group {
	return []group{{"Counts", []testCase{
		{"are of as many records as every list has, for every filter", countsMatchLists},
		{"refuse the filters that their lists refuse", countsRefuse},
	}}}
}

// countedQueries returns queries of every list of Manager that comes in pages: first one of
// all that countedWorld has, then others that take some of it.
func countedQueries() map[string][]any {
	one := userID(1)
	return map[string][]any{
		"Users": {
			userkit.UserQuery{},
			userkit.UserQuery{UserFilter: userkit.UserFilter{WithoutDisabled: true}},
			userkit.UserQuery{UserFilter: userkit.UserFilter{Search: "login-0002"}},
		},
		"Devices": {
			userkit.DeviceQuery{},
			userkit.DeviceQuery{DeviceFilter: userkit.DeviceFilter{UserID: one}},
			userkit.DeviceQuery{DeviceFilter: userkit.DeviceFilter{WithoutDisabled: true}, PageQuery: userkit.PageQuery{Sort: "name", Descending: true}},
		},
		"Sessions": {
			userkit.SessionQuery{},
			userkit.SessionQuery{SessionFilter: userkit.SessionFilter{UserID: one}},
			userkit.SessionQuery{SessionFilter: userkit.SessionFilter{UserID: one, State: userkit.SessionsActive}},
			userkit.SessionQuery{SessionFilter: userkit.SessionFilter{State: userkit.SessionsActive}, Mixed: true},
			userkit.SessionQuery{SessionFilter: userkit.SessionFilter{State: userkit.SessionsEnded}, PageQuery: userkit.PageQuery{Sort: "ended_at"}},
			userkit.SessionQuery{SessionFilter: userkit.SessionFilter{DeviceID: deviceID(5)}},
			userkit.SessionQuery{SessionFilter: userkit.SessionFilter{Node: "node-4"}},
			userkit.SessionQuery{SessionFilter: userkit.SessionFilter{InternalIP: newSession(one, 3).InternalIP}},
			userkit.SessionQuery{SessionFilter: userkit.SessionFilter{From: at(7002), To: at(7006)}},
			userkit.SessionQuery{SessionFilter: userkit.SessionFilter{Overlaps: true, From: at(8004), To: at(8005)}},
			userkit.SessionQuery{SessionFilter: userkit.SessionFilter{Overlaps: true, From: at(8004), To: at(8005), State: userkit.SessionsEnded}},
			userkit.SessionQuery{SessionFilter: userkit.SessionFilter{Overlaps: true, From: at(7004), To: at(7004), Node: "node-4"}},
			userkit.SessionQuery{SessionFilter: userkit.SessionFilter{Overlaps: true, From: at(8004), UserID: one}},
			userkit.SessionQuery{SessionFilter: userkit.SessionFilter{ClosedAfter: at(8504)}},
			userkit.SessionQuery{SessionFilter: userkit.SessionFilter{ClosedUntil: at(8504)}},
		},
		"Purchases": {
			userkit.PurchaseQuery{},
			userkit.PurchaseQuery{PurchaseFilter: userkit.PurchaseFilter{UserID: one}},
			userkit.PurchaseQuery{PurchaseFilter: userkit.PurchaseFilter{Store: "store-1"}, PageQuery: userkit.PageQuery{Sort: "product_id"}},
			userkit.PurchaseQuery{PurchaseFilter: userkit.PurchaseFilter{OnlyActive: true}},
		},
		"Transactions": {
			userkit.TransactionQuery{TransactionFilter: userkit.TransactionFilter{IncludeCancelled: true}},
			userkit.TransactionQuery{},
			userkit.TransactionQuery{TransactionFilter: userkit.TransactionFilter{UserID: one}},
			userkit.TransactionQuery{TransactionFilter: userkit.TransactionFilter{UserID: one, IncludeCancelled: true}},
			userkit.TransactionQuery{TransactionFilter: userkit.TransactionFilter{From: at(11002), To: at(11006)}},
			userkit.TransactionQuery{TransactionFilter: userkit.TransactionFilter{UserID: one, From: at(11003)}},
		},
		"Messages": {
			userkit.MessageQuery{},
			userkit.MessageQuery{MessageFilter: userkit.MessageFilter{UserID: one}},
			userkit.MessageQuery{MessageFilter: userkit.MessageFilter{OnlyUnread: true}},
			userkit.MessageQuery{MessageFilter: userkit.MessageFilter{UserID: one, OnlyUnread: true}},
		},
		"Deliveries": {
			userkit.DeliveryQuery{},
			userkit.DeliveryQuery{DeliveryFilter: userkit.DeliveryFilter{UserID: one}},
			userkit.DeliveryQuery{DeliveryFilter: userkit.DeliveryFilter{UserID: one, OnlyFailed: true}},
			userkit.DeliveryQuery{DeliveryFilter: userkit.DeliveryFilter{MessageID: messageID(30003)}},
			userkit.DeliveryQuery{DeliveryFilter: userkit.DeliveryFilter{MessageID: messageID(30003), OnlyFailed: true}},
			userkit.DeliveryQuery{DeliveryFilter: userkit.DeliveryFilter{OnlyFailed: true}},
		},
		"Segments": {
			userkit.SegmentQuery{},
			userkit.SegmentQuery{SegmentFilter: userkit.SegmentFilter{Kind: userkit.SegmentList}},
			userkit.SegmentQuery{SegmentFilter: userkit.SegmentFilter{Kind: userkit.SegmentRule}},
			userkit.SegmentQuery{SegmentFilter: userkit.SegmentFilter{Search: " grösse 0003 "}},
			userkit.SegmentQuery{RefersTo: segmentID(3)},
		},
		"Connections": {
			userkit.ConnectionQuery{},
			userkit.ConnectionQuery{ConnectionFilter: userkit.ConnectionFilter{UserID: one}},
			userkit.ConnectionQuery{ConnectionFilter: userkit.ConnectionFilter{ActorID: newConnection(one, 3).Actor.ID}},
			userkit.ConnectionQuery{ConnectionFilter: userkit.ConnectionFilter{OpenAt: at(24400)}},
		},
		"Events": {
			userkit.EventQuery{},
			userkit.EventQuery{EventFilter: userkit.EventFilter{UserID: one}},
			userkit.EventQuery{EventFilter: userkit.EventFilter{DeviceID: deviceID(3)}},
			userkit.EventQuery{EventFilter: userkit.EventFilter{Name: userkit.EventSegmentUpdated}},
			userkit.EventQuery{EventFilter: userkit.EventFilter{ActorID: newEvent(one, 3).Actor.ID, ActorKind: userkit.ActorAdministrator}},
			userkit.EventQuery{EventFilter: userkit.EventFilter{Naming: userID(14004)}},
			userkit.EventQuery{EventFilter: userkit.EventFilter{From: at(13002), To: at(13006)}},
			userkit.EventQuery{EventFilter: userkit.EventFilter{UserID: one, From: at(13003)}},
		},
	}
}

// countedWorld fills a store with records of every list, which differ in whatever the
// filters of countedQueries ask for.
func countedWorld(t *testing.T, store userkit.Store) {
	t.Helper()
	dossiers := make([]dossier, 5)
	for i := range dossiers {
		dossiers[i] = newDossier(i)
	}
	dossiers[2].user.Status = userkit.StatusDisabled
	dossiers[3].purchases[1].Active = false
	open := &dossiers[4].connections[0]
	open.EndedAt, open.EndedBy = time.Time{}, userkit.Actor{}
	createAll(t, store, dossiers...)
	for n := 1; n < 5; n++ {
		segment := newSegment(n)
		if n == 1 {
			segment = newList(n)
		}
		_, err := store.CommitSegment(t.Context(), userkit.SegmentChange{ID: segment.ID, Segment: segment, Event: newSegmentEvent(500 + n)})
		require.NoError(t, err)
	}
}

// methodOf returns a method of a manager as a function of one argument, a query: it is
// called with the query, or with the filter of it where it takes no more.
func methodOf(t *testing.T, manager userkit.Manager, name string) (call func(query reflect.Value) (reflect.Value, error)) {
	t.Helper()
	method := reflect.ValueOf(manager).MethodByName(name)
	require.True(t, method.IsValid(), "there is no method %s", name)
	return func(query reflect.Value) (reflect.Value, error) {
		if takes := method.Type().In(1); takes != query.Type() {
			query = query.FieldByName(takes.Name())
		}
		results := method.Call([]reflect.Value{reflect.ValueOf(t.Context()), query})
		err, _ := reflect.TypeAssert[error](results[1])
		return results[0], err
	}
}

// countsMatchLists goes through every list of Manager, so that a new one needs a count.
func countsMatchLists(t *testing.T, env env) {
	countedWorld(t, env.store)
	d := env.desk(t)
	d.clock.Set(at(100_000)) // after all that is in the store
	queries := countedQueries()
	lists := 0
	for method := range reflect.TypeFor[userkit.Manager]().Methods() {
		if method.Type.NumOut() != 2 || !strings.HasPrefix(method.Type.Out(0).Name(), "Page[") {
			continue
		}
		lists++
		list, count := methodOf(t, d.Manager, method.Name), methodOf(t, d.Manager, "Count"+method.Name)
		require.Greater(t, len(queries[method.Name]), 1, "%s has no queries here", method.Name)
		var all int64
		for i, given := range queries[method.Name] {
			query := reflect.New(reflect.TypeOf(given)).Elem()
			query.Set(reflect.ValueOf(given))
			query.FieldByName("Limit").SetInt(3)
			listed := int64(0)
			for {
				page, err := list(query)
				require.NoError(t, err, "%s %+v", method.Name, given)
				listed += int64(page.FieldByName("Items").Len())
				next := page.FieldByName("Next").String()
				if next == "" {
					break
				}
				query.FieldByName("Cursor").SetString(next)
			}
			// The cursor of the last page stays in the query, where it changes nothing.
			counted, err := count(query)
			require.NoError(t, err, "Count%s %+v", method.Name, given)
			require.Equal(t, listed, counted.Int(), "Count%s %+v", method.Name, given)
			if i == 0 {
				all = listed
				continue
			}
			require.Positive(t, listed, "%s %+v", method.Name, given)
			require.Less(t, listed, all, "%s %+v", method.Name, given)
		}
	}
	require.Len(t, queries, lists)
}

func countsRefuse(t *testing.T, env env) {
	d := env.desk(t)
	for name, query := range map[string]any{
		"Sessions":    userkit.SessionQuery{SessionFilter: userkit.SessionFilter{State: "none"}},
		"Segments":    userkit.SegmentQuery{SegmentFilter: userkit.SegmentFilter{Kind: "none"}},
		"Connections": userkit.ConnectionQuery{ConnectionFilter: userkit.ConnectionFilter{ActorID: "two\nlines"}},
		"Events":      userkit.EventQuery{EventFilter: userkit.EventFilter{ActorKind: "none"}},
		"Users":       userkit.UserQuery{UserFilter: userkit.UserFilter{Filter: userkit.Equal("no_such_field", 1)}},
	} {
		_, refused := methodOf(t, d.Manager, name)(reflect.ValueOf(query))
		require.ErrorIs(t, refused, userkit.ErrInvalid, name)
		_, err := methodOf(t, d.Manager, "Count"+name)(reflect.ValueOf(query))
		require.Equal(t, refused, err, name)
	}
	business := env.desk(t, userkit.WithProjectKind(userkit.ProjectBusiness))
	_, err := business.CountPurchases(t.Context(), userkit.PurchaseQuery{})
	requireCode(t, err, userkit.ErrRefused, userkit.CodeBusinessProject)
}
