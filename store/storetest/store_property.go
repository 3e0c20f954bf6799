package storetest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/userkit/userkit"
)

// The values that random users and random filters are made of. Filters take them
// from users too, so that comparisons hit.
var (
	someTexts = []string{
		"", "Ada", "ADA LÖWE", "ada", "a\u0308da", "Straße", "STRASSE", "Ёжик", "ежиКИ", "Οδυσσεύς", "ΟΔΥΣΣΕΥΣ", "İzmir", "ızmir", "กี่", "กี", "हिन्दी", "日本語", "한국",
		"🙂", "👨‍👩‍👧", "Ｆｕｌｌ　ｗｉｄｔｈ", "ﬁn²", "عربي", "עברית", "100%", "1000", "a_b", "axb", `c\d`, "it's", `"x"`, " a", "10", "9", "--", "ab", "a b",
		strings.Repeat("ab", 300) + "y", strings.Repeat("ab", 300) + "Z", strings.Repeat("🙂", 150),
	}
	someNames    = []string{"plan", "Plan", "seats", "a-1", "not", "eq"}
	someIntegers = []int64{0, 1, -1, 2, 7, 100, 1 << 31, 1<<53 - 1, 1 << 53, 1<<53 + 1, -1<<53 - 1, math.MaxInt64, math.MinInt64}
	someFloats   = []float64{0.5, -0.25, 1.5, 1e-7, 0.1, 1e20, 1e300, -1e300}
	someTimes    = []time.Time{{}, at(0), at(0), at(1), at(-1), base.Add(time.Microsecond), time.Unix(0, 0).UTC(), time.Time{}.Add(time.Microsecond), at(1_000_000)}
	someSpans    = []userkit.Duration{0, 0, 1, userkit.Duration(time.Hour), userkit.Duration(90 * 24 * time.Hour)}
	someMoments  = []userkit.Moment{
		{At: base}, {At: at(1)}, {At: base, Zone: germany}, {At: time.Date(2026, time.March, 29, 22, 0, 0, 0, time.UTC), Zone: germany},
		{At: time.Date(2026, time.March, 31, 23, 59, 59, 999_999_000, time.UTC)}, {At: time.Date(2026, time.February, 28, 23, 0, 0, 0, time.UTC), Zone: germany},
		{At: time.Date(2024, time.February, 29, 1, 0, 0, 0, time.UTC), Zone: location("America/New_York")}, {At: time.Date(2026, time.April, 30, 12, 0, 0, 0, time.UTC)},
	}
)

// anyText returns texts of the list, joined, and of letters of many scripts.
func anyText() *rapid.Generator[string] {
	letters := []rune("aZ09 _%\\'\".-@+ßÄäéıİσςΩжЁกี่หिक日한각가🙂👍ﬃ９²ªاב\u0301\u0307\u3099")
	return rapid.OneOf(
		rapid.SampledFrom(someTexts), rapid.SampledFrom(someTexts),
		rapid.StringOfN(rapid.SampledFrom(letters), 0, 8, -1),
		rapid.Custom(func(t *rapid.T) string {
			return rapid.SampledFrom(someTexts[:36]).Draw(t, "one") + rapid.SampledFrom(someTexts[:36]).Draw(t, "two")
		}),
	)
}

// anyAttribute returns a value of an attribute, as attributes hold them.
func anyAttribute(depth int) *rapid.Generator[any] {
	plain := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Map(rapid.Bool(), asAny), rapid.Map(rapid.SampledFrom(someIntegers), asAny), rapid.Map(rapid.SampledFrom(someFloats), asAny),
		rapid.Map(anyText(), asAny), rapid.Map(anyText(), asAny),
	}
	if depth == 0 {
		return rapid.OneOf(plain...)
	}
	inner := anyAttribute(depth - 1)
	list := rapid.Map(rapid.SliceOfN(inner, 0, 3), func(list []any) any { return append([]any{}, list...) })
	return rapid.OneOf(append(plain, list, list,
		rapid.Map(rapid.MapOfN(rapid.SampledFrom(someNames), inner, 0, 2), asAny))...)
}

func asAny[T any](value T) any { return value }

// anyUser returns a user, of whom several can be stored together when their
// numbers differ.
func anyUser(t *rapid.T, n int) userkit.User {
	text := func(field string) string { return anyText().Draw(t, field) }
	user := userkit.User{
		ID: userID(n), Name: text("name"), EmailVerified: rapid.Bool().Draw(t, "email_verified"),
		Phone:      rapid.SampledFrom([]string{"", "+375291234567", "+12025550123"}).Draw(t, "phone"),
		AuthMethod: text("auth_method"), License: text("license"), Description: text("description"),
		Status: rapid.SampledFrom([]userkit.Status{userkit.StatusActive, userkit.StatusInvited, userkit.StatusInactive, userkit.StatusDisabled}).Draw(t, "status"),
		Kind:   rapid.SampledFrom([]userkit.UserKind{userkit.UserIndividual, userkit.UserLegalEntity}).Draw(t, "kind"),
		Payer: userkit.Payer{
			AccountNumber: text("payer_account_number"), LegalAddress: text("legal_address"), PostalAddress: text("postal_address"),
			Bank: text("bank"), BankAccount: text("bank_account"),
		},
		Country:      rapid.SampledFrom([]string{"", "DE", "BY"}).Draw(t, "country"),
		PreferredMap: text("preferred_map"), AdditionalInfo: text("additional_info"),
		Attributes:   rapid.MapOfN(rapid.SampledFrom(someNames), anyAttribute(2), 0, 4).Draw(t, "attributes"),
		RegisteredAt: rapid.SampledFrom(someTimes[1:]).Draw(t, "registered_at"), UpdatedAt: rapid.SampledFrom(someTimes[1:]).Draw(t, "updated_at"),
		Revision: rapid.Int64Range(1, 4).Draw(t, "revision"),
		Account: userkit.Account{
			Version:   1,
			Balance:   userkit.Money{Amount: rapid.SampledFrom(someIntegers).Draw(t, "balance"), Currency: rapid.SampledFrom([]string{"EUR", "JPY"}).Draw(t, "currency")},
			Devices:   rapid.IntRange(0, 3).Draw(t, "devices"),
			ExpiresAt: rapid.SampledFrom(someTimes).Draw(t, "expires_at"), ValidFor: rapid.SampledFrom(someSpans).Draw(t, "valid_for"),
			LastSeenAt: rapid.SampledFrom(someTimes).Draw(t, "last_seen_at"),
		},
	}
	user.OpenSessions, user.ActivePurchases = rapid.IntRange(0, 2).Draw(t, "open_sessions"), rapid.IntRange(0, 2).Draw(t, "active_purchases")
	user.PurchasesEndAt = rapid.SampledFrom(someTimes).Draw(t, "purchases_end_at")
	// The number makes them unique; it comes last, so that they begin alike.
	for field, unique := range map[string]*string{"login": &user.Login, "email": &user.Email, "extref": &user.ExtRef} {
		if value := text(field); value != "" && len(value) < 100 {
			*unique = fmt.Sprintf("%s#%d", value, n)
		}
	}
	limit := userkit.TrafficLimit{
		Bytes: rapid.SampledFrom([]int64{0, 1, 100, math.MaxInt64}).Draw(t, "traffic_limit"),
		Reset: rapid.SampledFrom([]userkit.TrafficReset{
			userkit.ResetDaily, userkit.ResetWeekly, userkit.ResetMonthly, userkit.ResetMonthly, userkit.ResetNever,
		}).Draw(t, "traffic_reset"),
	}
	if limit.Reset == userkit.ResetMonthly {
		limit.AnchorDay = rapid.SampledFrom([]int{1, 14, 15, 28, 29, 30, 31}).Draw(t, "traffic_anchor_day")
	}
	counted := rapid.SampledFrom(someMoments).Draw(t, "counted at")
	user.Traffic = userkit.Traffic{Limit: limit, Used: rapid.SampledFrom([]int64{0, 1, 99, 100, math.MaxInt64}).Draw(t, "used")}
	user.Traffic.Period = limit.PeriodStart(userkit.DayOf(counted.At, time.UTC).AddDays(rapid.IntRange(-1, 1).Draw(t, "days later")))
	return user
}

// sample is random users in a store.
type sample struct {
	users   []userkit.User
	moment  userkit.Moment
	lists   []userkit.SegmentID
	members map[userkit.SegmentID][]userkit.UserID
}

func (s *sample) member(user userkit.UserID, list userkit.SegmentID) bool {
	return slices.Contains(s.members[list], user)
}

// meets reports whether a user is among those of a selection.
func (s *sample) meets(user *userkit.User, filter userkit.UserSelection) bool {
	member := func(list userkit.SegmentID) bool { return s.member(user.ID, list) }
	means := meaning{user, user.Attributes, filter.Moment, member}
	return !(filter.WithoutDisabled && user.Status == userkit.StatusDisabled) &&
		(filter.Segment.IsZero() || s.member(user.ID, filter.Segment)) &&
		searchMeets(user, filter.Search) &&
		means.holds(filter.Filter.Expression())
}

// part draws a part of a text, in capitals or not.
func part(t *rapid.T, text string) string {
	runes := []rune(text)
	from := rapid.IntRange(0, len(runes)).Draw(t, "from")
	to := rapid.IntRange(from, len(runes)).Draw(t, "to")
	cut := string(runes[from:to])
	switch rapid.IntRange(0, 3).Draw(t, "case") {
	case 0:
		return strings.ToUpper(cut)
	case 1:
		return userkit.Fold(cut)
	}
	return cut
}

var (
	operators = []userkit.Operator{
		userkit.OpEqual, userkit.OpNotEqual, userkit.OpGreater, userkit.OpGreaterOrEqual, userkit.OpLess, userkit.OpLessOrEqual,
	}
	parts = []func(field, part string) userkit.Filter{userkit.Contains, userkit.StartsWith, userkit.EndsWith}
)

// comparison draws a comparison of any field with a value that a user has there,
// or nearly has.
func (s *sample) comparison(t *rapid.T) userkit.Filter {
	user := rapid.SampledFrom(s.users).Draw(t, "like user")
	fields, derived := userkit.UserFields(), userkit.DerivedUserFields()
	n := rapid.IntRange(0, len(fields)+len(derived)+19).Draw(t, "field")
	switch {
	case n < len(fields) && fields[n].Kind != userkit.KindJSON:
		return s.compare(t, fields[n].Name, fields[n].Kind, fields[n].Values, fields[n].Get(&user))
	case n < len(fields):
		return userkit.Present(fields[n].Name)
	case n < len(fields)+len(derived):
		field := derived[n-len(fields)]
		return s.compare(t, field.Name, field.Kind, field.Values, field.Get(&user, s.moment))
	case n < len(fields)+len(derived)+2:
		return valueFilter(rapid.SampledFrom(operators[:2]).Draw(t, "operator"), "segment", rapid.SampledFrom(s.lists).Draw(t, "list").String())
	}
	return s.attribute(t, user.Attributes)
}

// compare draws a comparison of a field of a kind with a value of the kind.
func (s *sample) compare(t *rapid.T, field string, kind userkit.FieldKind, values []string, value any) userkit.Filter {
	if rapid.IntRange(0, 9).Draw(t, "present") == 0 {
		return userkit.Present(field)
	}
	operator := rapid.SampledFrom(operators).Draw(t, "operator")
	switch value := value.(type) {
	case []string: // codes
		return valueFilter(rapid.SampledFrom(operators[:2]).Draw(t, "operator"), field, rapid.SampledFrom(append(values, value...)).Draw(t, "code"))
	case bool:
		return valueFilter(operators[rapid.IntRange(0, 1).Draw(t, "not")], field, value)
	case string:
		return s.compareText(t, field, kind == userkit.KindID || len(values) > 0, value)
	case int64:
		if rapid.IntRange(0, 3).Draw(t, "other") == 0 {
			value = rapid.SampledFrom(someIntegers).Draw(t, "integer")
		}
		return valueFilter(operator, field, value)
	case userkit.Money:
		if rapid.Bool().Draw(t, "of any currency") {
			return valueFilter(operator, field, value.Amount)
		}
		return valueFilter(operator, field, value)
	case time.Time:
		value = value.Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "microseconds")) * time.Microsecond)
		if value.Before(time.Time{}) || value.IsZero() {
			return valueFilter(rapid.SampledFrom(operators[:2]).Draw(t, "operator"), field, time.Time{})
		}
		return valueFilter(operator, field, value)
	case userkit.Duration:
		return valueFilter(operator, field, value+userkit.Duration(rapid.IntRange(-1, 1).Draw(t, "nanoseconds")))
	}
	panic("a value of no known type")
}

// compareText draws a comparison with a text or a part of it. exact means that
// orders and eq take nothing but whole values.
func (s *sample) compareText(t *rapid.T, field string, exact bool, value string) userkit.Filter {
	if !exact && rapid.IntRange(0, 3).Draw(t, "other") == 0 {
		value = anyText().Draw(t, "text")
	}
	if rapid.Bool().Draw(t, "a part") {
		if part := part(t, value); userkit.Fold(part) != "" {
			return rapid.SampledFrom(parts).Draw(t, "where")(field, part)
		}
	}
	if userkit.Fold(value) == "" {
		return valueFilter(rapid.SampledFrom(operators[:2]).Draw(t, "operator"), field, "")
	}
	if !exact && rapid.IntRange(0, 3).Draw(t, "fold") == 0 {
		value = userkit.Fold(value)
	}
	return valueFilter(rapid.SampledFrom(operators).Draw(t, "operator"), field, value)
}

// elementFilter returns the condition that an object at a path meets a filter of attributes,
// or, where that has an element itself, the filter alone.
func elementFilter(path string, inner userkit.Filter) userkit.Filter {
	text := inner.String()
	if strings.Contains(text, "[") {
		return inner
	}
	filter, err := userkit.ParseFilter(path + "[" + strings.ReplaceAll(text, "attributes.", "") + "]")
	if err != nil {
		return inner
	}
	return filter
}

// attribute draws a comparison with an attribute, nested or not, that is there or
// not.
func (s *sample) attribute(t *rapid.T, attributes userkit.Attributes) userkit.Filter {
	path := []string{"attributes"}
	var value any = map[string]any(attributes)
	for {
		if list, ok := value.([]any); ok && len(list) > 0 {
			value = rapid.SampledFrom(list).Draw(t, "of a list")
		}
		object, _ := value.(map[string]any)
		if len(path) > 1 && object != nil && rapid.IntRange(0, 2).Draw(t, "element") == 0 {
			inner := s.attribute(t, object)
			if rapid.Bool().Draw(t, "two") {
				inner = userkit.AllOf(inner, s.attribute(t, object))
			}
			if rapid.IntRange(0, 3).Draw(t, "not") == 0 {
				inner = userkit.Not(inner)
			}
			return elementFilter(strings.Join(path, "."), inner)
		}
		names := slices.Sorted(maps.Keys(object))
		if len(names) == 0 || rapid.IntRange(0, 5).Draw(t, "any name") == 0 {
			names = someNames
		}
		name := rapid.SampledFrom(names).Draw(t, "name")
		path, value = append(path, name), object[name]
		_, isObject := value.(map[string]any)
		_, isList := value.([]any)
		if nested := isObject || isList; !nested && rapid.IntRange(0, 5).Draw(t, "deeper") != 0 || len(path) > 4 {
			break
		}
	}
	field := strings.Join(path, ".")
	if list, _ := value.([]any); len(list) > 0 {
		value = rapid.SampledFrom(list).Draw(t, "element")
	}
	if rapid.IntRange(0, 3).Draw(t, "another type") == 0 {
		value = anyAttribute(0).Draw(t, "value")
	}
	operator := rapid.SampledFrom(operators).Draw(t, "operator")
	switch value := value.(type) {
	case bool:
		return valueFilter(rapid.SampledFrom(operators[:2]).Draw(t, "operator"), field, value)
	case string:
		return s.compareText(t, field, false, value)
	case int64:
		if rapid.IntRange(0, 3).Draw(t, "another number") == 0 {
			return valueFilter(operator, field, rapid.SampledFrom(someFloats).Draw(t, "number"))
		}
		return valueFilter(operator, field, value)
	case float64:
		return valueFilter(operator, field, value)
	}
	if rapid.Bool().Draw(t, "present") {
		return userkit.Present(field)
	}
	return filterOf(field + " " + string(rapid.SampledFrom(operators[:2]).Draw(t, "operator")) + " null")
}

// tree draws a filter of several comparisons.
func (s *sample) tree(t *rapid.T, depth int) userkit.Filter {
	joins := []func(...userkit.Filter) userkit.Filter{
		userkit.AllOf, userkit.AnyOf, func(filters ...userkit.Filter) userkit.Filter { return userkit.Not(filters[0]) },
	}
	kind := rapid.IntRange(0, 5).Draw(t, "join")
	if depth == 0 || kind >= len(joins) {
		return s.comparison(t)
	}
	var inner []userkit.Filter
	for range rapid.IntRange(1, 3).Draw(t, "parts") {
		inner = append(inner, s.tree(t, depth-1))
	}
	return joins[kind](inner...)
}

// filter draws a filter with all of its parts.
func (s *sample) filter(t *rapid.T) userkit.UserSelection {
	drawn := s.tree(t, 3)
	condition, err := userkit.ParseFilter(drawn.String())
	require.NoError(t, err, drawn.String())
	again, err := userkit.ParseFilter(condition.String())
	require.NoError(t, err, condition.String())
	require.Equal(t, condition, again)
	require.Equal(t, condition.String(), again.String())
	filter := userkit.UserSelection{Filter: condition, Moment: s.moment}
	switch rapid.IntRange(0, 11).Draw(t, "further part") {
	case 0:
		filter.WithoutDisabled = true
	case 1:
		filter.Segment = rapid.SampledFrom(s.lists).Draw(t, "list")
	case 2, 3, 4, 5:
		user := rapid.SampledFrom(s.users).Draw(t, "search like user")
		filter.Search = userkit.ParseSearch(part(t, rapid.SampledFrom([]string{user.ID.String(), user.Login, user.Name, user.Email, user.Phone, user.ExtRef}).Draw(t, "search")))
		if rapid.Bool().Draw(t, "search alone") {
			filter.Filter = userkit.Filter{}
		}
	}
	return filter
}

// filterProperty: random filters take the same users, in the same order, as a
// loop over the users that evaluates the filter for each of them. A failure tells the seed with
// which -rapid.seed repeats it.
func filterProperty(t *testing.T, env env) {
	const users, filters = 10, 4
	lists := []userkit.SegmentID{segmentID(1), segmentID(2)}
	createSegments(t, env.store, newList(1), newList(2))
	rapid.Check(t, func(rt *rapid.T) {
		s := &sample{lists: lists, moment: rapid.SampledFrom(someMoments).Draw(rt, "moment"), members: map[userkit.SegmentID][]userkit.UserID{}}
		var changes, deletions []userkit.Change
		for n := range users {
			user := anyUser(rt, n)
			change := creation(user)
			for _, list := range lists {
				if rapid.IntRange(0, 2).Draw(rt, "member") == 0 {
					change.AddSegments = append(change.AddSegments, list)
					s.members[list] = append(s.members[list], user.ID)
				}
			}
			s.users, changes = append(s.users, user), append(changes, change)
			deletion := step(&user)
			deletion.Delete = true
			deletions = append(deletions, deletion)
		}
		commit(t, env.store, changes...)
		defer commit(t, env.store, deletions...)
		for range filters {
			s.requireTaken(rt, env.store, s.filter(rt))
		}
	})
}

// requireTaken demands that every method takes the users who meet a filter.
func (s *sample) requireTaken(t *rapid.T, store userkit.Store, filter userkit.UserSelection) {
	var taken []userkit.User
	for _, user := range s.users {
		if s.meets(&user, filter) {
			taken = append(taken, user)
		}
	}
	count, err := store.CountUsers(t.Context(), filter)
	require.NoError(t, err, about(filter))
	require.EqualValues(t, len(taken), count, "CountUsers of %s", about(filter))
	ids, err := store.UserIDs(t.Context(), filter, userkit.UserID{}, whole)
	require.NoError(t, err, about(filter))
	got := []string{}
	for _, id := range ids {
		got = append(got, id.String())
	}
	require.Equal(t, idsOf(taken, userRecordID), got, "UserIDs of %s", about(filter))

	sortable := slices.DeleteFunc(userkit.UserFields(), func(field userkit.Field[userkit.User]) bool { return !field.Sortable() })
	field := rapid.SampledFrom(sortable).Draw(t, "sort")
	limit := rapid.IntRange(1, 4).Draw(t, "limit")
	for _, descending := range []bool{false, true} {
		order := userkit.Order{Field: field.Name, Descending: descending}
		var walked []userkit.User
		for list := (userkit.ListRange{Order: order, Limit: limit}); ; {
			page, err := store.Users(t.Context(), filter, list)
			require.NoError(t, err, "by %v, %s", order, about(filter))
			walked = append(walked, page...)
			if len(page) < limit {
				break
			}
			require.LessOrEqual(t, len(walked), len(taken), "by %v, %s", order, about(filter))
			last := &page[len(page)-1]
			list.After = &userkit.ListPosition{Key: field.Key(last), ID: last.ID}
		}
		require.Equal(t, idsOf(ordered(taken, field, descending, userRecordID), userRecordID), idsOf(walked, userRecordID), "Users by %v, %s", order, about(filter))
	}
}
