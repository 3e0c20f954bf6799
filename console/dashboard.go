package console

import (
	"context"
	"fmt"
	"html/template"
	"net/http"
	"sync"
	"time"

	"github.com/userkit/userkit"
)

// overview is what the first page shows to a person. It is made anew once a minute at most.
type overview struct {
	At            time.Time
	Total         int64
	ByStatus      []statusCount
	Online        int64
	Registrations []dayCount // oldest first
	Refills       map[string]userkit.Money
	Charges       map[string]userkit.Money
	Cancelled     int
	Partial       bool     // more money moved than was added up
	Traffic       *traffic // nil: the person may not see it
	Attention     []attention
}

type statusCount struct {
	Status userkit.Status
	Count  int64
}

type dayCount struct {
	Day   userkit.Day
	Count int64
}

// attention is something that a person should look at.
type attention struct {
	Text   string // with a number in it
	Count  int64
	Filter string // of users; empty: see Path
	Path   string
	Tone   string
}

// overviews keeps the overview of each person for a minute. Each person may see other users, so
// nobody is shown the overview of somebody else.
type overviews struct {
	mutex sync.Mutex
	all   map[overviewKey]*lastOverview
}

// lastOverview is the overview that was made last for a person. A request that makes it anew holds
// an element in turn meanwhile, so that a person who opens several pages costs one overview, and
// nobody waits for the overview of another person.
type lastOverview struct {
	turn chan struct{}
	made *overview
}

func (o *overviews) of(key overviewKey) *lastOverview {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	last, known := o.all[key]
	if !known {
		if o.all == nil || len(o.all) >= maxOverviews {
			o.all = map[overviewKey]*lastOverview{}
		}
		last = &lastOverview{turn: make(chan struct{}, 1)}
		o.all[key] = last
	}
	return last
}

type overviewKey struct {
	kind       userkit.ActorKind
	actor      string
	connection userkit.ConnectionID
}

const (
	overviewAge      = time.Minute
	maxOverviews     = 100
	overviewDays     = 14
	maxMoneyScanned  = 10_000
	staleAfterSilent = 15 * time.Minute // the default of WithStaleAfter
)

func (c *console) showOverview(v *view, w http.ResponseWriter, r *http.Request) error {
	v.Title = v.T("Overview")
	var o *overview
	if v.May("users.count") {
		var err error
		if o, err = c.overviewNow(r.Context(), v); err != nil {
			return err
		}
	}
	return v.render(w, http.StatusOK, "overview", struct {
		*view
		Overview *overview
	}{v, o})
}

func (c *console) overviewNow(ctx context.Context, v *view) (*overview, error) {
	now, key := v.Now, overviewKey{kind: v.Actor.Kind, actor: v.Actor.ID}
	if connection, connected := userkit.ConnectionOf(ctx); connected {
		key.connection = connection.ID
	}
	last := c.overviews.of(key)
	select {
	case last.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-last.turn }()
	if made := last.made; made != nil && now.Sub(made.At) < overviewAge && !now.Before(made.At) {
		return made, nil
	}
	o := &overview{At: now, Refills: map[string]userkit.Money{}, Charges: map[string]userkit.Money{}}
	count := func(filter userkit.Filter) (n int64, err error) {
		return c.users.CountUsers(ctx, userkit.UserFilter{Filter: filter})
	}
	var err error
	for _, status := range []userkit.Status{userkit.StatusActive, userkit.StatusInvited, userkit.StatusInactive, userkit.StatusDisabled} {
		n, err := count(userkit.Equal("status", string(status)))
		if err != nil {
			return nil, err
		}
		o.ByStatus = append(o.ByStatus, statusCount{status, n})
		o.Total += n
	}
	if o.Online, err = count(userkit.Greater("open_sessions", 0)); err != nil {
		return nil, err
	}
	today := userkit.DayOf(now, c.zone)
	for i := overviewDays - 1; i >= 0; i-- {
		day := today.AddDays(-i)
		n, err := count(userkit.AllOf(userkit.GreaterOrEqual("registered_at", day.Start(c.zone)), userkit.Less("registered_at", day.AddDays(1).Start(c.zone))))
		if err != nil {
			return nil, err
		}
		o.Registrations = append(o.Registrations, dayCount{day, n})
	}
	if v.May("balance.transactions") {
		if err := c.addMoney(ctx, o, now); err != nil {
			return nil, err
		}
	}
	if v.May("sessions.traffic") {
		usage, err := c.users.Traffic(ctx, userkit.UserID{}, today.AddDays(1-overviewDays), today)
		if err != nil {
			return nil, err
		}
		traffic, err := newTraffic(usage, today.AddDays(1-overviewDays), today)
		if err != nil {
			return nil, err
		}
		o.Traffic = &traffic
	}
	if err := c.addAttention(ctx, v, o, count); err != nil {
		return nil, err
	}
	last.made = o
	return o, nil
}

// addMoney adds up the refills and the charges of the last thirty days.
func (c *console) addMoney(ctx context.Context, o *overview, now time.Time) error {
	query := userkit.TransactionQuery{PageQuery: userkit.PageQuery{Limit: userkit.MaxPageLimit}}
	query.From, query.IncludeCancelled = now.AddDate(0, 0, -30), true
	for scanned := 0; ; {
		found, err := c.users.Transactions(ctx, query)
		if err != nil {
			return err
		}
		for _, transaction := range found.Items {
			sums := o.Refills
			if transaction.Kind == userkit.TransactionCharge {
				sums = o.Charges
			}
			if transaction.Cancelled() {
				o.Cancelled++
				continue
			}
			currency := transaction.Amount.Currency
			sum, ok := sums[currency]
			if !ok {
				sum.Currency = currency
			}
			if sums[currency], err = sum.Add(transaction.Amount); err != nil {
				return err
			}
		}
		scanned += len(found.Items)
		if query.Cursor = found.Next; found.Next == "" {
			return nil
		}
		if scanned >= maxMoneyScanned {
			o.Partial = true
			return nil
		}
	}
}

// watchedUsers are the users that a person should look at.
var watchedUsers = []struct {
	text, tone string
	filter     func(now time.Time) userkit.Filter
}{
	{"%s users wait for activation", "warn", func(time.Time) userkit.Filter {
		return userkit.Equal("status", string(userkit.StatusInactive))
	}},
	{"%s users have used up their traffic", "warn", func(time.Time) userkit.Filter {
		return userkit.AllOf(userkit.Equal("access", string(userkit.CodeTrafficLimit)), userkit.Equal("status", string(userkit.StatusActive)))
	}},
	{"%s active users have expired", "bad", func(time.Time) userkit.Filter {
		return userkit.AllOf(userkit.Equal("access", string(userkit.CodeUserExpired)), userkit.Equal("status", string(userkit.StatusActive)))
	}},
	{"%s active users expire within a week", "warn", func(now time.Time) userkit.Filter {
		return userkit.AllOf(userkit.Greater("expires_at", now), userkit.Less("expires_at", now.AddDate(0, 0, 7)), userkit.Equal("status", string(userkit.StatusActive)))
	}},
}

// These texts say what else a person should look at.
const (
	silentSessions     = "%s sessions are open but have not reported for long. Does a process run Manager.Run?"
	undecidedPurchases = "%s purchases are undecided: their stores have not answered"
	failedDeliveries   = "%s messages did not reach a device in the last 24 hours"
)

// addAttention finds what a person should look at.
func (c *console) addAttention(ctx context.Context, v *view, o *overview, count func(userkit.Filter) (int64, error)) error {
	now := v.Now
	for _, watched := range watchedUsers {
		filter := watched.filter(now)
		n, err := count(filter)
		if err != nil {
			return err
		}
		if n > 0 {
			o.Attention = append(o.Attention, attention{Text: watched.text, Count: n, Filter: filter.String(), Tone: watched.tone})
		}
	}
	if v.May("sessions.list") {
		if err := c.addSilent(ctx, o, now); err != nil {
			return err
		}
	}
	if v.May("messages.deliveries") {
		if err := c.addFailedDeliveries(ctx, o, now); err != nil {
			return err
		}
	}
	if v.May("purchases.list") && !v.Business() {
		return c.addUndecided(ctx, o)
	}
	return nil
}

// addFailedDeliveries counts the newest messages of which a device was not notified. An application
// that was uninstalled does not count, since nobody can do anything about it.
func (c *console) addFailedDeliveries(ctx context.Context, o *overview, now time.Time) error {
	newest := userkit.DeliveryQuery{
		DeliveryFilter: userkit.DeliveryFilter{OnlyFailed: true},
		PageQuery:      userkit.PageQuery{Limit: userkit.MaxPageLimit, Sort: "created_at", Descending: true},
	}
	deliveries, err := c.users.Deliveries(ctx, newest)
	if err != nil {
		return err
	}
	var failed int64
	for _, delivery := range deliveries.Items {
		if delivery.State != userkit.DeliveryGone && now.Sub(delivery.CreatedAt) < 24*time.Hour {
			failed++
		}
	}
	if failed > 0 {
		o.Attention = append(o.Attention, attention{Text: failedDeliveries, Count: failed, Path: "/messages", Tone: "warn"})
	}
	return nil
}

// addSilent counts the sessions that should have been closed.
func (c *console) addSilent(ctx context.Context, o *overview, now time.Time) error {
	active := userkit.SessionQuery{PageQuery: userkit.PageQuery{Limit: userkit.MaxPageLimit, Sort: "started_at"}}
	active.State = userkit.SessionsActive
	sessions, err := c.users.Sessions(ctx, active)
	if err != nil {
		return err
	}
	var silent int64
	for _, session := range sessions.Items {
		if now.Sub(session.ReportedAt) > 2*staleAfterSilent {
			silent++
		}
	}
	if silent > 0 {
		o.Attention = append(o.Attention, attention{Text: silentSessions, Count: silent, Path: "/sessions", Tone: "bad"})
	}
	return nil
}

// addUndecided counts the purchases of which a store has said nothing yet, which come first in the
// order of verified_at.
func (c *console) addUndecided(ctx context.Context, o *overview) error {
	purchases, err := c.users.Purchases(ctx, userkit.PurchaseQuery{PageQuery: userkit.PageQuery{Limit: 200, Sort: "verified_at"}})
	if err != nil {
		return err
	}
	var undecided int64
	for _, purchase := range purchases.Items {
		if purchase.Reason == userkit.ReasonUndecided {
			undecided++
		}
	}
	if undecided > 0 {
		o.Attention = append(o.Attention, attention{Text: undecidedPurchases, Count: undecided, Path: "/purchases?all=1&sort=verified_at", Tone: "warn"})
	}
	return nil
}

// UsersURL returns the address of the list of users. It is empty if the person may not see one.
func (v *view) UsersURL(pairs ...string) string {
	if !v.May("users.list") {
		return ""
	}
	return v.at(map[string][]string{}, "/users", pairs...)
}

// AttentionURL returns the address of what an attention is about.
func (v *view) AttentionURL(a attention) string {
	if a.Filter != "" {
		return v.UsersURL("filter", a.Filter, "all", "1")
	}
	return v.Base + a.Path
}

// StatusURL returns the address of the users of a status.
func (v *view) StatusURL(status userkit.Status) string {
	return v.UsersURL("filter", userkit.Equal("status", string(status)).String(), "all", "1")
}

// OnlineURL returns the address of the users who are connected.
func (v *view) OnlineURL() string {
	return v.UsersURL("filter", userkit.Greater("open_sessions", 0).String())
}

// BarChart draws numbers per day as an SVG, which needs no JavaScript.
func (v *view) BarChart(days []dayCount) template.HTML {
	const width, height, foot = 700, 140, 2
	var most int64 = 1
	for _, day := range days {
		most = max(most, day.Count)
	}
	drawing := fmt.Sprintf(`<svg class="chart" viewBox="0 0 %d %d" role="img" aria-label="%s" preserveAspectRatio="none">`, width, height+foot, template.HTMLEscapeString(v.T("New users per day")))
	step := float64(width) / float64(max(1, len(days)))
	for i, day := range days {
		tall := float64(height-14) * float64(day.Count) / float64(most)
		drawing += fmt.Sprintf(`<g><title>%s</title><rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="3"/></g>`,
			template.HTMLEscapeString(day.Day.String()+": "+v.Number(day.Count)), float64(i)*step+step*.14, float64(height)-max(tall, 1.5), step*.72, max(tall, 1.5))
	}
	drawing += `</svg>`
	if len(days) > 0 {
		drawing += `<p class="chart-foot"><span>` + days[0].Day.String() + `</span><span>` + days[len(days)-1].Day.String() + `</span></p>`
	}
	return template.HTML(drawing) //nolint:gosec // every part is a number or escaped
}
