package memory

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/userkit/userkit"
)

// crowd is a store beside what is in it.
type crowd struct {
	store    *Store
	users    []userkit.User
	segments []userkit.SegmentID // the last one is not there
	members  map[userkit.SegmentID]map[userkit.UserID]bool
	moment   userkit.Moment
}

// Texts that fold, in several scripts, and texts that are about as long as a
// key or longer, and differ only where it is cut.
var texts = []string{
	"", "ada", "Ada", "ÀDA", "Ada Lovelace", "Łódź", "STRASSE", "Straße", "李小龍", "अदा", "Ωmega", "ada-1f", "a", "x.y", "Mailer", "logger",
}

var longTexts = []string{
	strings.Repeat("я", 300), strings.Repeat("я", 300) + "Ö", strings.Repeat("я", 300) + "z",
	"a" + strings.Repeat("Я", 255), "a" + strings.Repeat("я", 256), strings.Repeat("b", 512), strings.Repeat("b", 513), strings.Repeat("b", 509) + "😀",
}

func pick[T any](random *rand.Rand, from ...T) T { return from[random.IntN(len(from))] }

// member makes a user whose fields have values from a few.
func member(random *rand.Rand, n int) userkit.User {
	text := func() string {
		if random.IntN(20) == 0 {
			return pick(random, longTexts...)
		}
		return pick(random, texts...)
	}
	unique := func(form string) string {
		return pick(random, fmt.Sprintf(form, n), fmt.Sprintf(form, n)+text(), "")
	}
	minutes := func() time.Time {
		return pick(random, time.Time{}, minute(random.IntN(6)), minute(-60*24*random.IntN(40)))
	}
	user := userkit.User{
		ID:    userkit.NewID[userkit.User](),
		Login: unique("Log-%d-"), Name: text(), Email: unique("Mail%d@"), ExtRef: []string{"CRM-", "crm-", "Crm-", "čRM-"}[n%4] + fmt.Sprint(n/4),
		EmailVerified: random.IntN(2) == 0,
		Phone:         pick(random, "", "+375291234567", fmt.Sprintf("+1202%07d", n)),
		AuthMethod:    pick(random, "", "password", "Password"),
		Status:        pick(random, userkit.StatusInvited, userkit.StatusInactive, userkit.StatusActive, userkit.StatusActive, userkit.StatusDisabled),
		License:       pick(random, "", "Basic", "BASIC", "Größe L"),
		Kind:          pick(random, userkit.UserIndividual, userkit.UserLegalEntity),
		Description:   text(), Country: pick(random, "", "DE", "BY"), PreferredMap: text(), AdditionalInfo: text(),
		RegisteredAt: minute(random.IntN(50)), UpdatedAt: minutes(), Revision: int64(1 + random.IntN(3)),
		Account: userkit.Account{
			Version: 1,
			Balance: userkit.Money{Amount: int64(random.IntN(7) - 3), Currency: pick(random, "EUR", "USD")},
			Devices: random.IntN(3), OpenSessions: random.IntN(3), ActivePurchases: random.IntN(3), PurchasesEndAt: minutes(),
			Traffic: userkit.Traffic{
				Limit: userkit.TrafficLimit{
					Bytes:     pick(random, 0, 0, int64(100)),
					Reset:     pick(random, userkit.ResetDaily, userkit.ResetWeekly, userkit.ResetMonthly, userkit.ResetNever),
					AnchorDay: random.IntN(32),
				},
				Used: pick(random, 0, int64(99), 100),
			},
			ExpiresAt: minutes(), ValidFor: userkit.Duration(pick(random, 0, time.Hour)), LastSeenAt: minutes(),
		},
	}
	if user.Traffic.Limit.Reset != userkit.ResetNever {
		user.Traffic.Period = userkit.DayOf(noon, time.UTC).AddDays(-random.IntN(40))
	}
	if random.IntN(2) == 0 {
		user.Payer = userkit.Payer{AccountNumber: text(), LegalAddress: text(), PostalAddress: text(), Bank: text(), BankAccount: text()}
	}
	if random.IntN(4) != 0 {
		user.Attributes = userkit.Attributes{
			"plan": pick[any](random, nil, text(), true, int64(3), 2.5),
			"tags": []any{text(), int64(random.IntN(3)), false},
			"deep": map[string]any{"plan": text()},
		}
	}
	return user
}

// newCrowd makes a store of users, some of whom changed, went away, or are in
// segments. The last are in both segments, so a page often lies far from the
// beginning.
func newCrowd(t require.TestingT, random *rand.Rand, count int) *crowd {
	c := &crowd{store: New(), members: map[userkit.SegmentID]map[userkit.UserID]bool{}, moment: userkit.Moment{At: noon}}
	for n := range 4 {
		c.segments = append(c.segments, userkit.NewID[userkit.Segment]())
		if n < 3 {
			c.members[c.segments[n]] = map[userkit.UserID]bool{}
			c.commitSegment(t, userkit.SegmentChange{ID: c.segments[n], Segment: userkit.Segment{Name: fmt.Sprint("Segment ", n), Revision: 1}})
		}
	}
	for n := range count {
		user := member(random, n)
		change := creationOf(user)
		for at, one := range []bool{n > count*9/10, random.IntN(2) == 0, random.IntN(max(1, count/5)) == 0} {
			if one {
				change.AddSegments = append(change.AddSegments, c.segments[at])
				c.members[c.segments[at]][user.ID] = true
			}
		}
		c.commit(t, change)
		switch random.IntN(10) {
		case 0:
			c.commit(t, userkit.Change{User: user.ID, Version: 1, Delete: true})
			continue
		case 1:
			changed := member(random, n)
			changed.ID, changed.Version = user.ID, 2
			change := creationOf(changed)
			change.Version, change.RemoveSegments = 1, c.segments[1:2]
			delete(c.members[c.segments[1]], user.ID)
			c.commit(t, change)
			user = changed
		}
		c.users = append(c.users, user)
	}
	return c
}

func (c *crowd) commit(t require.TestingT, change userkit.Change) {
	outcomes, err := c.store.Commit(context.Background(), []userkit.Change{change})
	require.NoError(t, err)
	require.NoError(t, outcomes[0])
}

func (c *crowd) commitSegment(t require.TestingT, change userkit.SegmentChange) int64 {
	change.Event.ID = userkit.NewID[userkit.Event]()
	count, err := c.store.CommitSegment(context.Background(), change)
	require.NoError(t, err)
	return count
}

// partOf draws a part of a text or the text.
func partOf(t *rapid.T, text string) string {
	runes := []rune(text)
	if len(runes) < 2 || rapid.Bool().Draw(t, "whole") {
		return text
	}
	from := rapid.IntRange(0, len(runes)-1).Draw(t, "from")
	return string(runes[from:rapid.IntRange(from+1, len(runes)).Draw(t, "to")])
}

func quoted(text string) string {
	data, _ := json.Marshal(text)
	return string(data)
}

// comparison draws a comparison, mostly with a value that some user has.
func (c *crowd) comparison(t *rapid.T) string {
	user := &userkit.User{Account: userkit.Account{Balance: userkit.Money{Currency: "EUR"}}}
	if len(c.users) > 0 {
		drawn := rapid.SampledFrom(c.users).Draw(t, "user")
		user = &drawn
	}
	operators := []string{"eq", "eq", "eq", "ne", "gt", "ge", "lt", "le", "pr"}
	orders := operators[:len(operators)-1]
	draw := func(operators []string) string { return rapid.SampledFrom(operators).Draw(t, "operator") }
	switch rapid.IntRange(0, 9).Draw(t, "of") {
	case 0:
		return fmt.Sprintf("segment %s %s", draw(operators[:4]), quoted(rapid.SampledFrom(c.segments).Draw(t, "segment").String()))
	case 1:
		access := userkit.DerivedUserFields()[0]
		return fmt.Sprintf("access %s %s", draw(operators[:4]), quoted(rapid.SampledFrom(access.Values).Draw(t, "access")))
	case 2:
		return fmt.Sprintf("traffic_used %s %d", draw(orders), rapid.SampledFrom([]int{0, 99, 100}).Draw(t, "used"))
	case 5:
		return fmt.Sprintf("subscribed %s %v", draw(operators[:4]), rapid.Bool().Draw(t, "subscribed"))
	case 3:
		path := rapid.SampledFrom([]string{"plan", "tags", "deep.plan", "none"}).Draw(t, "path")
		value := rapid.SampledFrom([]string{quoted("ada"), "3", "2.5", "0"}).Draw(t, "value")
		return fmt.Sprintf("attributes.%s %s %s", path, draw(orders), value)
	case 4:
		operators := append(orders, "co", "sw", "ew")
		text := rapid.SampledFrom(longTexts).Draw(t, "long")
		if rapid.Bool().Draw(t, "end") {
			runes := []rune(text)
			text = string(runes[len(runes)-6:])
		}
		return fmt.Sprintf("name %s %s", draw(operators), quoted(text))
	}
	field := rapid.SampledFrom(userkit.UserFields()).Draw(t, "field")
	if rapid.Bool().Draw(t, "unique") {
		field = userFields[rapid.SampledFrom([]string{"id", "login", "name", "email", "extref"}).Draw(t, "key")]
	}
	if field.Kind == userkit.KindJSON {
		return "attributes pr"
	}
	value := field.Get(user)
	text := field.Kind.Format(value)
	switch value := value.(type) {
	case bool:
		return fmt.Sprintf("%s %s %v", field.Name, draw(operators[:4]), value)
	case int64:
		text = fmt.Sprint(value)
	case string:
		operator := draw(append(orders, "co", "sw", "ew"))
		if slices.Contains([]string{"co", "sw", "ew"}, operator) {
			text = partOf(t, text)
		}
		if text == "" && operator != "eq" && operator != "ne" {
			return field.Name + " pr"
		}
		return fmt.Sprintf("%s %s %s", field.Name, operator, quoted(text))
	default:
		text = quoted(text)
	}
	if text == `""` {
		return field.Name + " pr"
	}
	return fmt.Sprintf("%s %s %s", field.Name, draw(orders), text)
}

func (c *crowd) expression(t *rapid.T, depth int) string {
	switch rapid.IntRange(0, 6).Draw(t, "shape") {
	case 0, 1, 2:
		if depth > 0 {
			word := rapid.SampledFrom([]string{" and ", " and ", " or "}).Draw(t, "word")
			return "(" + c.expression(t, depth-1) + word + c.expression(t, depth-1) + ")"
		}
	case 3:
		if depth > 0 {
			return "not (" + c.expression(t, depth-1) + ")"
		}
	}
	return c.comparison(t)
}

func (c *crowd) filter(t *rapid.T) userkit.UserSelection {
	filter := userkit.UserSelection{Moment: c.moment, WithoutDisabled: rapid.Bool().Draw(t, "only active")}
	if rapid.Bool().Draw(t, "filtered") {
		var err error
		filter.Filter, err = userkit.ParseFilter(c.expression(t, 3))
		require.NoError(t, err)
	}
	if rapid.IntRange(0, 3).Draw(t, "in segment") == 0 {
		filter.Segment = rapid.SampledFrom(c.segments).Draw(t, "segment")
	}
	if rapid.Bool().Draw(t, "searched") && len(c.users) > 0 {
		user := rapid.SampledFrom(c.users).Draw(t, "searched for")
		fields := []string{user.ID.String(), user.Login, user.Name, user.Email, user.Phone, user.ExtRef, "a", "lo", "m", "ma", "zz"}
		filter.Search = userkit.ParseSearch(partOf(t, rapid.SampledFrom(fields).Draw(t, "text")))
	}
	return filter
}

// meets says whether a user meets a filter, by the words of its contract.
func (c *crowd) meets(user *userkit.User, filter userkit.UserSelection) bool {
	member := func(id userkit.SegmentID) bool { return c.members[id][user.ID] }
	search := filter.Search
	found := search.In(strings.Join([]string{userkit.Fold(user.Login), userkit.Fold(user.Name), userkit.Fold(user.Email), user.Phone, userkit.Fold(user.ExtRef)}, "\n")) ||
		!search.Short() && search.In(user.ID.String()) || search.InPhone(user.Phone) || search.Term == ""
	return found && !(filter.WithoutDisabled && user.Status == userkit.StatusDisabled) &&
		(filter.Segment.IsZero() || member(filter.Segment)) && filter.Filter.Meets(user, filter.Moment, member)
}

// requireFiltered demands that a random filter gives, in lists, counts and
// segments, the users who meet it one by one.
func (c *crowd) requireFiltered(t *rapid.T) {
	ctx := context.Background()
	filter := c.filter(t)
	t.Logf("%+v %s", filter, filter.Filter)
	var want []userkit.User
	for i := range c.users {
		if c.meets(&c.users[i], filter) {
			want = append(want, c.users[i])
		}
	}

	count, err := c.store.CountUsers(ctx, filter)
	require.NoError(t, err)
	require.EqualValues(t, len(want), count)

	byID := slices.SortedFunc(slices.Values(want), func(a, b userkit.User) int { return a.ID.Compare(b.ID) })
	limit := rapid.SampledFrom([]int{1, 20, 1001, len(c.users) + 1}).Draw(t, "limit")
	var after userkit.UserID
	if len(byID) > 0 && rapid.Bool().Draw(t, "ids after") {
		at := rapid.IntRange(0, len(byID)-1).Draw(t, "id")
		after, byID = byID[at].ID, byID[at+1:]
	}
	ids, err := c.store.UserIDs(ctx, filter, after, limit)
	require.NoError(t, err)
	require.Equal(t, convert(pointers(byID[:min(limit, len(byID))]), func(u *userkit.User) userkit.UserID { return u.ID }), ids)

	var names []string
	for _, field := range userkit.UserFields() {
		if field.Sortable() {
			names = append(names, field.Name)
		}
	}
	names = append(names, "id", "login", "name", "email", "registered_at", "login", "name", "email")
	field := userFields[rapid.SampledFrom(names).Draw(t, "order")]
	list := userkit.ListRange{Order: userkit.Order{Field: field.Name, Descending: rapid.Bool().Draw(t, "descending")}, Limit: limit}
	places := make([]userkit.ListPosition, len(want)) // folding a text in each comparison takes longer than all the rest
	for i := range want {
		places[i] = userkit.ListPosition{Key: field.Key(&want[i]), ID: want[i].ID}
	}
	slices.SortFunc(places, func(a, b userkit.ListPosition) int {
		if list.Order.Descending {
			a, b = b, a
		}
		return userkit.CompareListPositions(a, b)
	})
	if len(places) > 0 && rapid.Bool().Draw(t, "after") {
		at := rapid.IntRange(0, len(places)-1).Draw(t, "place")
		list.After, places = &places[at], places[at+1:]
	}
	got, err := c.store.Users(ctx, filter, list)
	require.NoError(t, err)
	require.Equal(t, idsAt(places[:min(limit, len(places))]), idsOf(got))
}

func idsOf(users []userkit.User) []userkit.UserID {
	return convert(pointers(users), func(u *userkit.User) userkit.UserID { return u.ID })
}

func idsAt(places []userkit.ListPosition) []userkit.UserID {
	return convert(pointers(places), func(place *userkit.ListPosition) userkit.UserID { return place.ID })
}

func pointers[T any](records []T) []*T {
	all := make([]*T, len(records))
	for i := range records {
		all[i] = &records[i]
	}
	return all
}

// A part that an index answers bounds how many users a filter looks at.
func TestFiltersGoByAnIndex(t *testing.T) {
	s := New()
	var last userkit.User
	segment := userkit.NewID[userkit.Segment]()
	(&crowd{store: s}).commitSegment(t, userkit.SegmentChange{ID: segment, Segment: userkit.Segment{Name: "Few"}})
	for n := range 1000 {
		last = newUser(n)
		change := creationOf(last)
		if n%100 == 0 {
			change.AddSegments = []userkit.SegmentID{segment}
		}
		commitAll(t, s, change)
	}
	const all = -1
	for _, each := range []struct {
		filter userkit.Filter
		search string
		most   int
	}{
		{filter: userkit.Equal("id", last.ID.String()), most: 1},
		{filter: userkit.Equal("login", "LOGIN 999"), most: 1},
		{filter: userkit.Equal("email", last.Email), most: 1},
		{filter: userkit.Equal("extref", "REF-999"), most: 1},
		{filter: userkit.Equal("login", "nobody"), most: 0},
		{filter: userkit.Equal("name", "name 7"), most: 2},
		{filter: userkit.StartsWith("email", "99"), most: 11},
		{filter: userkit.InSegment(segment), most: 10},
		{filter: userkit.AllOf(userkit.Present("name"), userkit.AllOf(userkit.InSegment(segment), userkit.Equal("extref", "ref-4"))), most: 1},
		{search: "99", most: all},
		{filter: userkit.InSegment(segment), search: "n", most: 10},
		{search: "name 7", most: all},
		{filter: userkit.Equal("login", ""), most: all},
		{filter: userkit.NotEqual("login", "login 1"), most: all},
		{filter: userkit.Not(userkit.InSegment(segment)), most: all},
		{filter: userkit.AnyOf(userkit.Equal("login", "login 1"), userkit.Present("phone")), most: all},
		{filter: userkit.StartsWith("id", "0"), most: all},
		{filter: userkit.Contains("login", "login 1"), most: all},
	} {
		t.Run(each.search+" "+each.filter.String(), func(t *testing.T) {
			wanted := s.audience(userkit.UserSelection{Filter: each.filter, Search: userkit.ParseSearch(each.search)})
			wanted.open(false)
			way, size := wanted.shortest()
			if each.most == all {
				require.Nil(t, way)
				return
			}
			require.NotNil(t, way)
			require.Equal(t, each.most, size)
		})
	}
}

// Looking at a user takes no memory for the fields that filters are mostly about.
func TestFiltersDoNotAllocate(t *testing.T) {
	s := New()
	user := newUser(1)
	user.Name, user.License, user.Country, user.Phone = "Łódź", "Größe L", "PL", "+375291234567"
	commitAll(t, s, creationOf(user))
	row := s.users.get(user.ID)
	filters := []userkit.UserSelection{{Search: userkit.ParseSearch("abc1")}, {Search: userkit.ParseSearch("nobody")}, {Search: userkit.ParseSearch("lo")}, {WithoutDisabled: true}}
	for _, text := range []string{
		`login co "x"`, `name sw "lo"`, `name eq "ŁÓDŹ"`, `email ew ".org"`, `extref gt "a"`, `status eq "active"`, `country ne "PL"`, `license eq "groesse l"`,
		`phone sw "+375"`, `registered_at gt "2026-01-02"`, `expires_at pr`, `balance ge "1.00 EUR"`, `devices lt 3`, `valid_for eq "1h"`,
		`email_verified eq true`, `traffic_used gt 5`, `attributes.plan eq "basic"`, `segment eq "00000000-0000-7000-8000-000000000000"`,
	} {
		filter, err := userkit.ParseFilter(text)
		require.NoError(t, err)
		filters = append(filters, userkit.UserSelection{Filter: filter, Moment: userkit.Moment{At: noon}})
	}
	for _, filter := range filters {
		t.Run(filter.Search.Term+filter.Filter.String(), func(t *testing.T) {
			wanted := s.audience(filter)
			wanted.open(false)
			require.Zero(t, testing.AllocsPerRun(10, func() { wanted.match(row) }))
		})
	}
}

// The members of a frozen segment are those who meet the filter in the moment in
// which it becomes so, whatever happened while they were looked for.
func TestJoiningIsOfOneMoment(t *testing.T) {
	s := New()
	var users []userkit.User
	for n := range 3 * tablePageSize {
		user := newUser(n)
		user.Balance.Amount = int64(n % 2)
		users = append(users, user)
		commitAll(t, s, creationOf(user))
	}
	rich, err := userkit.ParseFilter("balance gt 0")
	require.NoError(t, err)
	looked, err := s.joining(context.Background(), userkit.UserSelection{Filter: rich})
	require.NoError(t, err)

	// One comes to meet the filter, one does so no more, one goes, and one goes
	// whose number is given to another who does not meet it; one is new.
	poor, late := newUser(len(users)), newUser(len(users)+1)
	late.Balance.Amount = 5
	commitAll(t, s, changeBalance(t, s, users[0].ID, 1), changeBalance(t, s, users[301].ID, -1),
		userkit.Change{User: users[303].ID, Version: 1, Delete: true}, userkit.Change{User: users[305].ID, Version: 1, Delete: true})
	commitAll(t, s, creationOf(poor), creationOf(late), creationOf(newUser(len(users)+2)))

	segment := segmentOf(userkit.NewID[userkit.Segment](), &userkit.Segment{Name: "Rich"})
	segment.members.Insert(s.users.numbers[users[2].ID]) // who is a member already, and stays one
	s.mu.Lock()
	made := s.join(segment, looked)
	s.mu.Unlock()
	want := map[userkit.UserID]bool{users[2].ID: true}
	for row := range s.users.table.each {
		if row.account.balance > 0 {
			want[row.profile.id] = true
		}
	}
	require.EqualValues(t, len(want)-1, made)
	require.Len(t, want, segment.members.Len())
	for number := range segment.members.Scan {
		require.True(t, want[s.users.table.get(number).profile.id])
	}
}

// A list of a segment that takes a snapshot does not see who leaves meanwhile.
func TestSegmentSnapshotStays(t *testing.T) {
	s := New()
	c := &crowd{store: s}
	segment := userkit.NewID[userkit.Segment]()
	c.commitSegment(t, userkit.SegmentChange{ID: segment, Segment: userkit.Segment{Name: "All", Revision: 1}})
	var users []userkit.User
	for n := range 200 {
		users = append(users, newUser(n))
		change := creationOf(users[n])
		change.AddSegments = []userkit.SegmentID{segment}
		commitAll(t, s, change)
	}
	seen := 0
	_, err := s.eachUser(context.Background(), s.audience(userkit.UserSelection{Segment: segment}), func(*user) {
		if seen++; seen == 1 {
			for _, user := range users[100:] {
				commitAll(t, s, userkit.Change{User: user.ID, Version: 1, Delete: true})
			}
		}
	})
	require.NoError(t, err)
	require.Equal(t, 200, seen)
	count, err := s.CountUsers(context.Background(), userkit.UserSelection{Segment: segment})
	require.NoError(t, err)
	require.EqualValues(t, 100, count)
}
