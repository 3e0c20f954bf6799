package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/console"
)

// The console measurements serve the list pages of the console, compressed as a browser
// gets them. Ours is a page, theirs the call of Manager that reads its rows, so what is
// measured is what the console adds: the names of users, the HTML and its compression. The
// goal is 1.5 times the time of the call, and consoleSlack more. One caller reads each again
// and again.
//
// Of a thousandth of the users there are sessions, purchases, locations, messages and money.

// consoleSlack is what a page may take beyond 1.5 times the time of its call.
const consoleSlack = 5 * time.Millisecond

var consoleGoal = goal{ratio: 0.67, slack: consoleSlack}

// consolePages are the list pages, each with the call that reads its rows.
var consolePages = []struct {
	name, path string
	rows       func(ctx context.Context, s *consoleSite) error
}{
	{"users", "/users", func(ctx context.Context, s *consoleSite) error {
		return some(s.manager.Users(ctx, userkit.UserQuery{UserFilter: userkit.UserFilter{WithoutDisabled: true}, PageQuery: newest("registered_at")}))
	}},
	{"users-by-name", "/users?all=1&sort=name", func(ctx context.Context, s *consoleSite) error {
		return some(s.manager.Users(ctx, userkit.UserQuery{PageQuery: userkit.PageQuery{Sort: "name"}}))
	}},
	{"users-search", "/users?all=1&q=" + rareTerm, func(ctx context.Context, s *consoleSite) error {
		return some(s.manager.Users(ctx, userkit.UserQuery{UserFilter: userkit.UserFilter{Search: rareTerm}, PageQuery: newest("registered_at")}))
	}},
	{"users-filter", "/users?all=1&filter=" + url.QueryEscape(`country eq "BY" and status eq "active"`), func(ctx context.Context, s *consoleSite) error {
		filter := userkit.AllOf(userkit.Equal("country", "BY"), userkit.Equal("status", "active"))
		return some(s.manager.Users(ctx, userkit.UserQuery{UserFilter: userkit.UserFilter{Filter: filter}, PageQuery: newest("registered_at")}))
	}},
	{"sessions", "/sessions", func(ctx context.Context, s *consoleSite) error {
		return some(s.manager.Sessions(ctx, userkit.SessionQuery{SessionFilter: userkit.SessionFilter{State: userkit.SessionsActive}, PageQuery: newest("started_at")}))
	}},
	{"purchases", "/purchases", func(ctx context.Context, s *consoleSite) error {
		return some(s.manager.Purchases(ctx, userkit.PurchaseQuery{PurchaseFilter: userkit.PurchaseFilter{OnlyActive: true}, PageQuery: newest("purchased_at")}))
	}},
	{"segments", "/segments", func(ctx context.Context, s *consoleSite) error {
		return some(s.manager.Segments(ctx, userkit.SegmentQuery{}))
	}},
	{"messages", "/messages", func(ctx context.Context, s *consoleSite) error {
		return some(s.manager.Deliveries(ctx, userkit.DeliveryQuery{DeliveryFilter: userkit.DeliveryFilter{OnlyFailed: true}, PageQuery: newest("created_at")}))
	}},
	{"map", "/map", func(ctx context.Context, s *consoleSite) error {
		_, err := s.manager.Locations(ctx, userkit.LocationQuery{PageQuery: userkit.PageQuery{Limit: devicesOnMap}})
		return err
	}},
	{"connections", "/connections?all=1", func(ctx context.Context, s *consoleSite) error {
		return some(s.manager.Connections(ctx, userkit.ConnectionQuery{}))
	}},
	{"audit", "/audit", func(ctx context.Context, s *consoleSite) error {
		return some(s.manager.Events(ctx, userkit.EventQuery{}))
	}},
}

// devicesOnMap is how many devices the map of the console shows, and reads.
const devicesOnMap = 200

func newest(field string) userkit.PageQuery {
	return userkit.PageQuery{Sort: field, Descending: true}
}

// some requires that there is something on a page.
func some[T any](page userkit.Page[T], err error) error {
	if err == nil && len(page.Items) == 0 {
		err = errors.New("an empty page")
	}
	return err
}

// consoleMeasurements are those of all list pages, and of the first page, which has no rows
// to read.
func consoleMeasurements(people int) (made []measurement) {
	add := func(page string, goal goal, open func(ctx context.Context, s *consoleSite) sides) {
		made = append(made, measurement{
			name: "console-" + page + "-" + shortNumber(people), goal: goal, brief: true,
			open: func(ctx context.Context, b *bench) (sides, error) {
				s, err := b.consoleOf(ctx, people)
				if err != nil {
					return sides{}, err
				}
				return open(ctx, s), nil
			},
		})
	}
	for _, page := range consolePages {
		add(page.name, consoleGoal, func(_ context.Context, s *consoleSite) sides {
			return sides{ours: s.serves(page.path), theirs: repeat(func(ctx context.Context) error { return page.rows(ctx, s) })}
		})
	}
	add("overview", goal{}, func(_ context.Context, s *consoleSite) sides { return sides{ours: s.serves("/")} })
	return made
}

// consoleSite is a console on a store with people.
type consoleSite struct {
	manager userkit.Manager
	handler http.Handler
}

// consoleOf returns the console of so many people, of whom a thousandth do something.
func (b *bench) consoleOf(ctx context.Context, people int) (*consoleSite, error) {
	if b.console != nil {
		return b.console, nil
	}
	crowd, err := b.people(ctx, people)
	if err != nil {
		return nil, err
	}
	manager, err := crowd.audience.manage(crowd.store, userkit.WithVerifiers(bargain{}), userkit.WithVerificationRate(10_000),
		userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{"": deaf{}}))
	if err != nil {
		return nil, err
	}
	if err := occupy(ctx, manager, max(people/1000, 2*pageSize)); err != nil {
		return nil, err
	}
	if err := b.audience.execute(ctx, "VACUUM ANALYZE"); err != nil {
		return nil, err
	}
	administrator := userkit.Actor{Kind: userkit.ActorAdministrator, ID: "alex"}
	handler := console.New(manager, console.WithPath("/admin"), console.WithActor(func(*http.Request) (userkit.Actor, error) { return administrator, nil }))
	b.console = &consoleSite{manager, handler}
	return b.console, nil
}

// occupy lets the first people do something.
func occupy(ctx context.Context, manager userkit.Manager, people int) error {
	for number := range 2 * pageSize {
		segment := userkit.NewSegment{Name: fmt.Sprintf("Segment %d", number)}
		if number%2 == 0 {
			segment.Rule = userkit.Equal("country", tongues[number%len(tongues)].country)
		}
		if _, err := manager.CreateSegment(ctx, segment); err != nil {
			return err
		}
	}
	var active []userkit.UserID
	for number := 0; len(active) < people; number++ {
		if id := userID(number); person(number, people).Status != userkit.StatusDisabled {
			active = append(active, id)
		}
	}
	err := each(ctx, len(active), func(number int) error {
		id := active[number]
		device, err := manager.RegisterDevice(ctx, id, userkit.NewDevice{Name: "phone", Type: userkit.DeviceAndroid, PushToken: id.String(), LocationConsent: true})
		if err != nil {
			return err
		}
		_, err = manager.ReportLocation(ctx, device.ID, userkit.Location{Latitude: float64(number%160 - 80), Longitude: float64(number*7%340 - 170)})
		if err == nil {
			_, err = manager.StartSession(ctx, userkit.NewSession{UserID: id, DeviceID: device.ID, Node: "fra-1", InternalIP: netip.MustParseAddr("10.0.0.1")})
		}
		if err == nil {
			_, err = manager.SubmitPurchase(ctx, id, userkit.Receipt{Store: bargain{}.Store(), Token: id.String()})
		}
		if err == nil {
			_, err = manager.Refill(ctx, id, entry(int64(number)))
		}
		if err == nil {
			_, err = manager.SendMessage(ctx, id, userkit.NewMessage{Body: "Hello"})
		}
		if err == nil && number < 2*pageSize {
			actor := userkit.Actor{Kind: userkit.ActorAdministrator, ID: fmt.Sprintf("colleague-%d", number)}
			_, err = manager.Connect(userkit.WithActor(ctx, actor), id, userkit.ConnectOptions{Reason: "ticket"})
		}
		return err
	})
	for err == nil {
		var report userkit.DeliveryReport
		if report, err = manager.DeliverDueMessages(ctx); report.Refused == 0 {
			break
		}
	}
	return err
}

// serves returns the side that serves a page, as a browser gets it.
func (s *consoleSite) serves(path string) side {
	return repeat(func(ctx context.Context) error {
		request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/admin"+path, nil)
		query := request.URL.Query()
		query.Set("limit", strconv.Itoa(userkit.DefaultPageLimit)) // as the calls, which name none
		request.URL.RawQuery = query.Encode()
		request.Header.Set("Accept-Encoding", "gzip")
		recorder := httptest.NewRecorder()
		s.handler.ServeHTTP(recorder, request)
		if recorder.Code != http.StatusOK {
			return fmt.Errorf("%s: status %d", path, recorder.Code)
		}
		return nil
	})
}

// bargain is a store that says that every receipt is good, for a month.
type bargain struct{}

func (bargain) Store() string { return "bargain" }

func (bargain) Verify(_ context.Context, receipt userkit.Receipt) userkit.Verdict {
	return userkit.Valid(userkit.PurchaseFacts{StableID: receipt.Token, ProductID: "month", Environment: userkit.Production, ExpiresAt: time.Now().AddDate(0, 1, 0)})
}

// deaf is a push service that takes nothing.
type deaf struct{}

func (deaf) Notify(context.Context, userkit.Notification) userkit.NotificationResult {
	return userkit.Refused(errors.New("deaf"))
}
