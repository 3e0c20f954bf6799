package storetest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func storeFilterGroups() []group {
	return []group{
		{"Filter", []testCase{
			{"compares texts by their whole folded form", filterTexts},
			{"compares codes byte by byte", filterCodes},
			{"compares flags, whole numbers and spans", filterNumbers},
			{"compares money in its currency, and whole numbers with every balance", filterMoney},
			{"compares times, where there are any", filterTimes},
			{"compares ids and their parts", filterIDs},
			{"compares attributes with what they are", filterAttributes},
			{"compares texts among attributes in folded form", filterAttributeTexts},
			{"compares access as it is at the moment", filterAccess},
			{"knows who is subscribed at the moment", filterSubscribed},
			{"compares the traffic of the period of the moment, in its zone", filterTrafficUsed},
			{"knows the members of lists", filterSegments},
			{"joins conditions by and, or and not", filterJoins},
			{"follows changes of users", filterAfterChange},
			{"takes all of its parts together", filterParts},
			{"finds users by several ids", filterSeveralIDs},
			{"takes as much as a filter may hold", filterBounds},
		}},
		{"Search", []testCase{
			{"finds parts of the six fields in folded form", searchParts},
			{"finds short terms in every script, and single characters where words begin", searchShort},
			{"finds what people write in other ways, and keys whole", searchSpellings},
			{"takes signs as they are", searchSigns},
			{"follows changes of users", searchAfterChange},
		}},
		{"UserIDs", []testCase{
			{"lists ids in order, after one of them, up to a limit", userIDs},
		}},
		{"UserNames", []testCase{
			{"names those users of a selection whose ids are given", userNames},
		}},
		{"FindUsers", []testCase{
			{"finds users by each field", findUsers},
		}},
	}
}

// figure is a user of an audience: its name, and what sets it apart.
type figure struct {
	name string
	set  func(user *userkit.User)
}

// audience is users of whom a filter takes some. Expectations know them by name.
type audience struct {
	store   userkit.Store
	moment  userkit.Moment
	names   []string // in the order of the users' ids
	users   []userkit.User
	members map[userkit.SegmentID][]string
}

// newAudience creates the users of an audience.
func newAudience(t *testing.T, store userkit.Store, figures ...figure) *audience {
	t.Helper()
	c := &audience{store: store, moment: userkit.Moment{At: base}, members: map[userkit.SegmentID][]string{}}
	for n, figure := range figures {
		user := newUser(n + 1)
		figure.set(&user)
		c.names, c.users = append(c.names, figure.name), append(c.users, user)
	}
	for _, n := range shuffled(len(c.users)) {
		create(t, store, c.users[n])
	}
	return c
}

// textFigures are users who are named by the texts that they have.
func textFigures(set func(user *userkit.User, text string), texts ...string) []figure {
	var figures []figure
	for _, text := range texts {
		figures = append(figures, figure{text, func(user *userkit.User) { set(user, text) }})
	}
	return figures
}

func (c *audience) is(n int, names []string) bool { return slices.Contains(names, c.names[n]) }

// requireMeet demands that exactly the named users meet a condition, that
// exactly the others meet its opposite, and that Filter.Meets says so too.
func (c *audience) requireMeet(t *testing.T, condition userkit.Filter, names ...string) {
	t.Helper()
	condition = filterOf(condition.String())
	for n := range c.users {
		member := func(segment userkit.SegmentID) bool { return c.is(n, c.members[segment]) }
		require.Equal(t, c.is(n, names), condition.Meets(&c.users[n], c.moment, member), "Meets of %q, %s", c.names[n], condition)
	}
	c.requireTake(t, userkit.UserSelection{Filter: condition}, names...)
	c.requireIDs(t, userkit.UserSelection{Filter: filterOf(userkit.Not(condition).String())}, c.others(names))
}

// requireTake demands that a filter takes exactly the named users, in every
// method that has one.
func (c *audience) requireTake(t *testing.T, filter userkit.UserSelection, names ...string) {
	t.Helper()
	filter.Moment = c.moment
	for _, name := range names {
		require.Contains(t, c.names, name, "the expectation of %s", about(filter))
	}
	var got []string
	users, err := c.store.Users(t.Context(), filter, userkit.ListRange{Order: userkit.Order{Field: "id"}, Limit: whole})
	require.NoError(t, err, about(filter))
	for _, user := range users {
		got = append(got, c.nameOf(user.ID))
	}
	require.Equal(t, c.inOrder(names), got, "Users of %s", about(filter))
	count, err := c.store.CountUsers(t.Context(), filter)
	require.NoError(t, err, about(filter))
	require.EqualValues(t, len(got), count, "CountUsers of %s", about(filter))
	c.requireIDs(t, filter, names)
}

// requireIDs demands that UserIDs lists exactly the named users.
func (c *audience) requireIDs(t *testing.T, filter userkit.UserSelection, names []string) {
	t.Helper()
	filter.Moment = c.moment
	ids, err := c.store.UserIDs(t.Context(), filter, userkit.UserID{}, whole)
	require.NoError(t, err, about(filter))
	var got []string
	for _, id := range ids {
		got = append(got, c.nameOf(id))
	}
	require.Equal(t, c.inOrder(names), got, "UserIDs of %s", about(filter))
}

// inOrder returns names in the order of the users' ids; nil for none.
func (c *audience) inOrder(names []string) []string {
	var sorted []string
	for n, name := range c.names {
		if c.is(n, names) {
			sorted = append(sorted, name)
		}
	}
	return sorted
}

// others returns the names that are not among those given.
func (c *audience) others(names []string) (others []string) {
	for n, name := range c.names {
		if !c.is(n, names) {
			others = append(others, name)
		}
	}
	return others
}

func (c *audience) nameOf(id userkit.UserID) string {
	n := slices.IndexFunc(c.users, func(user userkit.User) bool { return user.ID == id })
	if n < 0 {
		return "a stranger"
	}
	return c.names[n]
}

// about tells what a selection says.
func about(filter userkit.UserSelection) string {
	return fmt.Sprintf("only active %t, search %+v, segment %s, filter %s, at %s in %v",
		filter.WithoutDisabled, filter.Search, filter.Segment, filter.Filter, filter.Moment.At, filter.Moment.Zone)
}

// expectation is a condition in the text form of filters and the users who meet
// it.
type expectation struct {
	condition string
	names     []string
}

func (c *audience) requireAll(t *testing.T, expectations []expectation) {
	t.Helper()
	for _, expectation := range expectations {
		c.requireMeet(t, filterOf(expectation.condition), expectation.names...)
	}
}

func filterTexts(t *testing.T, env env) {
	hangul := "\u1112\u1161\u11ab\u1100\u116e\u11a8" // 한국 in its letters
	texts := []string{
		"", "Straße", "STRASSE", "strasse", "Ärger", "A\u0308RGER", "arger", "ΟΔΥΣΣΕΥΣ", "Οδυσσεύς", "İzmir", "izmir", "ızmir",
		"Ёжик", "ЕЖИК", "กา", "กี", "กี่", "की", "कि", "🙂", "🙂🙃", "👨‍👩‍👧", "Ｆｕｌｌ　ｗｉｄｔｈ", "full width", "ﬁn²", "한국", hangul, "日本",
	}
	streets, anger, odysseus := texts[1:4], texts[4:7], texts[7:9]
	pictures, korea := []string{"🙂", "🙂🙃", "👨‍👩‍👧"}, []string{"한국", hangul}
	c := newAudience(t, env.store, textFigures(func(user *userkit.User, text string) {
		user.Description = text
		user.AdditionalInfo = "before " + text
		user.Name = text + " after"
	}, texts...)...)
	c.requireAll(t, []expectation{
		{`description eq "STRASSE"`, streets},
		{`description eq "straße"`, streets},
		{`description eq "stra"`, nil},
		{`description sw "STRAß"`, streets},
		{`description ew "ẞE"`, streets},
		{`description co "aß"`, streets},
		{`additional_info ew "STRAßE"`, streets},
		{`name sw "straSSe "`, streets},
		{`description eq "ärger"`, anger},
		{"description eq \"a\u0308rger\"", anger},
		{`description co "RGE"`, anger},
		{`description co "r\u0301ge"`, anger},
		{`description eq "οδυσσευσ"`, odysseus},
		{`description eq "ΟΔΎΣΣΕΎΣ"`, odysseus},
		{`description ew "ς"`, odysseus},
		{`description ew "Σ"`, odysseus},
		{`name co "σ AFTER"`, odysseus},
		{`description sw "οδύσ"`, odysseus},
		{`description eq "IZMIR"`, []string{"İzmir", "izmir", "ızmir"}},
		{`description eq "ızmır"`, []string{"İzmir", "izmir", "ızmir"}},
		{`description ew "ZMİR"`, []string{"İzmir", "izmir", "ızmir"}},
		{`description eq "ежик"`, []string{"Ёжик", "ЕЖИК"}},
		{`description co "Ё"`, []string{"Ёжик", "ЕЖИК"}},
		{`description eq "กี"`, []string{"กี"}},
		{`description sw "กี"`, []string{"กี", "กี่"}},
		{`description sw "ก"`, []string{"กา", "กี", "กี่"}},
		{"description ew \"\u0e35\"", []string{"กี"}},
		{"description co \"\u0e48\"", []string{"กี่"}},
		{`description eq "कि"`, []string{"कि"}},
		{`description sw "क"`, []string{"की", "कि"}},
		{`description eq "🙂"`, []string{"🙂"}},
		{`description sw "🙂"`, []string{"🙂", "🙂🙃"}},
		{`description ew "\ud83d\ude43"`, []string{"🙂🙃"}},
		{`description co "👩"`, []string{"👨‍👩‍👧"}},
		{`description eq "FULL WIDTH"`, []string{"Ｆｕｌｌ　ｗｉｄｔｈ", "full width"}},
		{`description co "Ｌ　Ｗ"`, []string{"Ｆｕｌｌ　ｗｉｄｔｈ", "full width"}},
		{`description eq "FIN2"`, []string{"ﬁn²"}},
		{`description eq "한국"`, korea},
		{`description eq "` + hangul + `"`, korea},
		{`description sw "하"`, nil},
		{`description ew "本"`, []string{"日本"}},
		{`description pr`, texts[1:]},
		{`description eq ""`, []string{""}},
		{`description eq null`, []string{""}},
		{`description ne ""`, texts[1:]},
		{`description ne "strasse"`, slices.Concat(texts[:1], texts[4:])},
		{`description gt "日"`, slices.Concat(pictures, korea, []string{"日本"})},
		{`description ge "日本"`, slices.Concat(pictures, korea, []string{"日本"})},
		{`description gt "日本"`, slices.Concat(pictures, korea)},
		{`description lt "b"`, anger},
		{`description le "ARGER"`, anger},
		{`description lt "Ärger"`, nil},
		{`description ge "strasse" and description le "Straße"`, streets},
		{`description lt "STRASSE"`, slices.Concat(anger, []string{"Ｆｕｌｌ　ｗｉｄｔｈ", "full width", "ﬁn²", "İzmir", "izmir", "ızmir"})},
		{`description gt "z" and description lt "а"`, odysseus},
	})
}

func filterLongTexts(t *testing.T, env env) {
	// As long as a name may be, in runes of three and four bytes.
	same, wide := strings.Repeat("日本", 100), strings.Repeat("🙂", 200)
	cut := userkit.SortKey(same)
	require.Less(t, len(cut), len(same))
	texts := []string{same + "y", same + "z", same, cut, wide + "y", wide + "Z", wide, "ab"}
	c := newAudience(t, env.store, textFigures(func(user *userkit.User, text string) {
		user.Name, user.License, user.Description, user.AdditionalInfo = text, text, text, text
		user.Attributes = userkit.Attributes{"text": text}
	}, texts...)...)
	for _, field := range []string{"name", "license", "description", "additional_info", "attributes.text"} {
		c.requireMeet(t, userkit.Equal(field, same+"Y"), same+"y")
		c.requireMeet(t, userkit.Equal(field, same), same)
		c.requireMeet(t, userkit.Equal(field, cut), cut)
		c.requireMeet(t, userkit.Equal(field, same+"x"))
		c.requireMeet(t, userkit.NotEqual(field, wide+"Y"), slices.Concat(texts[:4], texts[5:])...)
		c.requireMeet(t, userkit.StartsWith(field, same), same+"y", same+"z", same)
		c.requireMeet(t, userkit.StartsWith(field, wide+"z"), wide+"Z")
		c.requireMeet(t, userkit.EndsWith(field, "本y"), same+"y")
		c.requireMeet(t, userkit.EndsWith(field, wide), wide)
		c.requireMeet(t, userkit.Contains(field, "🙂Z"), wide+"Z")
		c.requireMeet(t, userkit.Greater(field, same+"y"), same+"z", wide+"y", wide+"Z", wide)
		c.requireMeet(t, userkit.GreaterOrEqual(field, wide+"y"), wide+"y", wide+"Z")
		c.requireMeet(t, userkit.Less(field, same+"z"), same+"y", same, cut, "ab")
		c.requireMeet(t, userkit.LessOrEqual(field, same), same, cut, "ab")
		c.requireMeet(t, userkit.Less(field, wide), same+"y", same+"z", same, cut, "ab")
	}
}

func filterCodes(t *testing.T, env env) {
	codes := []string{"", "oidc", "OIDC", "Oidc", "é", "e\u0301", "~", "日本", "oidc "}
	statuses := []userkit.Status{
		userkit.StatusActive, userkit.StatusInvited, userkit.StatusInactive, userkit.StatusDisabled, userkit.StatusActive,
		userkit.StatusActive, userkit.StatusActive, userkit.StatusActive, userkit.StatusActive,
	}
	n := 0
	c := newAudience(t, env.store, textFigures(func(user *userkit.User, code string) {
		user.AuthMethod, user.Status = code, statuses[n]
		user.Country = pick([]string{"", "DE", "BY"}, n, 1)
		user.Phone = pick([]string{"", "+12025550123", "+4930555"}, n, 1)
		n++
	}, codes...)...)
	c.requireAll(t, []expectation{
		{`auth_method eq "oidc"`, []string{"oidc"}},
		{`auth_method eq "OIDC"`, []string{"OIDC"}},
		{`auth_method ne "oidc"`, slices.Concat(codes[:1], codes[2:])},
		{`auth_method eq "é"`, []string{"é"}},
		{"auth_method eq \"e\u0301\"", []string{"e\u0301"}},
		{"auth_method ew \"\u0301\"", []string{"e\u0301"}},
		{`auth_method co "idc"`, []string{"oidc", "Oidc", "oidc "}},
		{`auth_method sw "O"`, []string{"OIDC", "Oidc"}},
		{`auth_method ew " "`, []string{"oidc "}},
		{`auth_method sw "日"`, []string{"日本"}},
		{`auth_method gt "Z"`, []string{"oidc", "é", "e\u0301", "~", "日本", "oidc "}},
		{`auth_method gt "~"`, []string{"é", "日本"}},
		{`auth_method ge "~"`, []string{"é", "日本", "~"}},
		{`auth_method lt "a"`, []string{"OIDC", "Oidc"}},
		{`auth_method le "OIDC"`, []string{"OIDC"}},
		{`auth_method pr`, codes[1:]},
		{`auth_method eq ""`, []string{""}},
		{`auth_method eq null`, []string{""}},
		{`status eq "disabled"`, []string{"Oidc"}},
		{`status ne "active"`, []string{"oidc", "OIDC", "Oidc"}},
		{`status sw "in"`, []string{"oidc", "OIDC"}},
		{`status co "act"`, slices.Concat(codes[:1], []string{"OIDC"}, codes[4:])},
		{`status gt "disabled" and status le "invited"`, []string{"oidc", "OIDC"}},
		{`country eq "de"`, []string{"", "Oidc", "~"}},
		{`country pr`, []string{"", "Oidc", "~", "oidc", "é", "日本"}},
		{`country eq null`, []string{"OIDC", "e\u0301", "oidc "}},
		{`phone sw "+1"`, []string{"", "Oidc", "~"}},
		{`phone ew "555"`, []string{"oidc", "é", "日本"}},
		{`phone co "555"`, []string{"", "Oidc", "~", "oidc", "é", "日本"}},
	})
}

func filterHostileTexts(t *testing.T, env env) {
	texts := []string{
		"100%", "100 percent", "100x", "a_b", "axb", `c\d`, `cd`, `c\\d`, "it's", "its", `say "hi"`, "say hi", "%", "_", `\`,
		"x'; DROP TABLE users; --", "[a-z]", "a*", "?", "$1", "{}", "(", "^", "|", "%s", "??", ":name", `\%`, `\_`, "E'\\\\'",
	}
	c := newAudience(t, env.store, textFigures(func(user *userkit.User, text string) {
		user.Login, user.Name, user.ExtRef, user.Description, user.AuthMethod, user.License = text, text, text, text, text, text
		user.Attributes = userkit.Attributes{"text": text, "list": []any{"other", text}, "in": map[string]any{"side": text}}
	}, texts...)...)
	for _, field := range []string{"login", "name", "extref", "description", "auth_method", "license", "attributes.text", "attributes.list", "attributes.in.side"} {
		for _, text := range texts {
			c.requireMeet(t, userkit.Equal(field, text), text)
		}
		c.requireMeet(t, userkit.Contains(field, "%"), "100%", "%", "%s", `\%`)
		c.requireMeet(t, userkit.StartsWith(field, "%"), "%", "%s")
		c.requireMeet(t, userkit.EndsWith(field, "0%"), "100%")
		c.requireMeet(t, userkit.Contains(field, "_"), "a_b", "_", `\_`)
		c.requireMeet(t, userkit.StartsWith(field, "a_"), "a_b")
		c.requireMeet(t, userkit.EndsWith(field, "_b"), "a_b")
		c.requireMeet(t, userkit.Contains(field, `\`), `c\d`, `c\\d`, `\`, `\%`, `\_`, `E'\\'`)
		c.requireMeet(t, userkit.StartsWith(field, `c\`), `c\d`, `c\\d`)
		c.requireMeet(t, userkit.EndsWith(field, `\`), `\`)
		c.requireMeet(t, userkit.Contains(field, `\\`), `c\\d`, `E'\\'`)
		c.requireMeet(t, userkit.Contains(field, `'`), "it's", "x'; DROP TABLE users; --", `E'\\'`)
		c.requireMeet(t, userkit.Contains(field, `"`), `say "hi"`)
		c.requireMeet(t, userkit.StartsWith(field, "?"), "?", "??")
		c.requireMeet(t, userkit.Contains(field, "["), "[a-z]")
		c.requireMeet(t, userkit.Contains(field, "*"), "a*")
		c.requireMeet(t, userkit.Contains(field, "(.*)"))
	}
}

func filterNumbers(t *testing.T, env env) {
	const big = 1 << 53
	set := func(limit int64, devices int, verified bool, span userkit.Duration) func(user *userkit.User) {
		return func(user *userkit.User) {
			user.Traffic.Limit.Bytes, user.Devices, user.EmailVerified, user.ValidFor = limit, devices, verified, span
		}
	}
	c := newAudience(t, env.store,
		figure{"none", set(0, 0, false, 0)},
		figure{"one", set(1, 1, true, 1)},
		figure{"two", set(2, 2, true, userkit.Duration(2*time.Hour))},
		figure{"big", set(big, 100_000, false, userkit.Duration(720*time.Hour))},
		figure{"bigger", set(big+1, 3, true, userkit.Duration(720*time.Hour+1))},
		figure{"most", set(math.MaxInt64, math.MaxInt32, false, math.MaxInt64)},
	)
	all := c.names
	c.requireAll(t, []expectation{
		{`email_verified eq true`, []string{"one", "two", "bigger"}},
		{`email_verified ne true`, []string{"none", "big", "most"}},
		{`email_verified pr`, all},
		{`traffic_limit eq 0`, []string{"none"}},
		{`traffic_limit ne 1`, []string{"none", "two", "big", "bigger", "most"}},
		{`traffic_limit gt 9007199254740992`, []string{"bigger", "most"}},
		{`traffic_limit ge 9007199254740993`, []string{"bigger", "most"}},
		{`traffic_limit eq 9007199254740993`, []string{"bigger"}},
		{`traffic_limit lt 9007199254740993`, []string{"none", "one", "two", "big"}},
		{`traffic_limit le 9007199254740992`, []string{"none", "one", "two", "big"}},
		{`traffic_limit ge 9223372036854775807`, []string{"most"}},
		{`traffic_limit gt 9223372036854775807`, nil},
		{`traffic_limit lt -9223372036854775808`, nil},
		{`traffic_limit ge -9223372036854775808`, all},
		{`traffic_limit pr`, all},
		{`devices gt 2`, []string{"big", "bigger", "most"}},
		{`devices le 1`, []string{"none", "one"}},
		{`devices eq 100000`, []string{"big"}},
		{`devices lt 4294967296`, all},
		{`devices eq 4294967295`, nil},
		{`devices gt -4294967296`, all},
		{`valid_for eq "0s"`, []string{"none"}},
		{`valid_for eq "120m"`, []string{"two"}},
		{`valid_for gt "0s"`, []string{"one", "two", "big", "bigger", "most"}},
		{`valid_for le "720h"`, []string{"none", "one", "two", "big"}},
		{`valid_for gt "720h"`, []string{"bigger", "most"}},
		{`valid_for ge "720h0m0.000000001s"`, []string{"bigger", "most"}},
		{`valid_for lt "-1ns"`, nil},
		{`valid_for pr`, all},
	})
}

func filterMoney(t *testing.T, env env) {
	set := func(amount int64, currency string) func(user *userkit.User) {
		return func(user *userkit.User) { user.Balance = userkit.Money{Amount: amount, Currency: currency} }
	}
	c := newAudience(t, env.store,
		figure{"nothing", set(0, "EUR")},
		figure{"euro", set(1250, "EUR")},
		figure{"dollar", set(1250, "USD")},
		figure{"yen", set(1250, "JPY")},
		figure{"debt", set(-1, "EUR")},
		figure{"most", set(math.MaxInt64, "EUR")},
		figure{"least", set(math.MinInt64, "USD")},
	)
	c.requireAll(t, []expectation{
		{`balance eq "12.50 EUR"`, []string{"euro"}},
		{`balance eq "1250 JPY"`, []string{"yen"}},
		{`balance eq 1250`, []string{"euro", "dollar", "yen"}},
		{`balance ne "12.50 EUR"`, []string{"nothing", "dollar", "yen", "debt", "most", "least"}},
		{`balance ne 1250`, []string{"nothing", "debt", "most", "least"}},
		{`balance gt "0.00 EUR"`, []string{"euro", "most"}},
		{`balance gt 0`, []string{"euro", "dollar", "yen", "most"}},
		{`balance lt "0.00 EUR"`, []string{"debt"}},
		{`balance lt "0.00 USD"`, []string{"least"}},
		{`balance lt 0`, []string{"debt", "least"}},
		{`balance ge "12.50 USD"`, []string{"dollar"}},
		{`balance le "12.49 USD"`, []string{"least"}},
		{`balance ge 9223372036854775807`, []string{"most"}},
		{`balance le -9223372036854775808`, []string{"least"}},
		{`balance gt "0.000 BHD"`, nil},
		{`balance pr`, c.names},
		{`currency eq "EUR"`, []string{"nothing", "euro", "debt", "most"}},
		{`currency gt "EUR"`, []string{"dollar", "yen", "least"}},
	})
	c.requireMeet(t, userkit.GreaterOrEqual("balance", euro(1250)), "euro", "most")
	c.requireMeet(t, userkit.LessOrEqual("balance", 0), "nothing", "debt", "least")
}

func filterTimes(t *testing.T, env env) {
	set := func(moment time.Time) func(user *userkit.User) {
		return func(user *userkit.User) { user.LastSeenAt, user.ExpiresAt = moment, moment }
	}
	day := time.Date(2026, time.March, 14, 0, 0, 0, 0, time.UTC)
	c := newAudience(t, env.store,
		figure{"never", set(time.Time{})},
		figure{"first", set(time.Time{}.Add(time.Microsecond))},
		figure{"before 1970", set(time.Date(1969, time.December, 31, 23, 59, 59, 999_999_000, time.UTC))},
		figure{"day", set(day)},
		figure{"just before", set(base.Add(-time.Microsecond))},
		figure{"base", set(base)},
		figure{"just after", set(base.Add(time.Microsecond))},
		figure{"last", set(time.Date(9999, time.December, 31, 23, 59, 59, 999_999_000, time.UTC))},
	)
	for _, field := range []string{"last_seen_at", "expires_at"} {
		for _, want := range []expectation{
			{`eq "2026-03-14T15:09:26.535897Z"`, []string{"base"}},
			{`eq "2026-03-14T16:09:26.535897+01:00"`, []string{"base"}},
			{`eq "2026-03-14"`, []string{"day"}},
			{`ne "2026-03-14"`, []string{"never", "first", "before 1970", "just before", "base", "just after", "last"}},
			{`gt "2026-03-14T15:09:26.535897Z"`, []string{"just after", "last"}},
			{`ge "2026-03-14T15:09:26.535897Z"`, []string{"base", "just after", "last"}},
			{`lt "2026-03-14T15:09:26.535897Z"`, []string{"first", "before 1970", "day", "just before"}},
			{`le "2026-03-14T15:09:26.535897Z"`, []string{"first", "before 1970", "day", "just before", "base"}},
			{`lt "1970-01-01"`, []string{"first", "before 1970"}},
			{`gt "0001-01-01T00:00:00.000001Z"`, []string{"before 1970", "day", "just before", "base", "just after", "last"}},
			{`ge "9999-12-31T23:59:59.999999Z"`, []string{"last"}},
			{`gt "9999-12-31T23:59:59.999999Z"`, nil},
			{`pr`, c.names[1:]},
			{`eq null`, []string{"never"}},
			{`ne null`, c.names[1:]},
			{`eq ""`, []string{"never"}},
		} {
			c.requireMeet(t, filterOf(field+" "+want.condition), want.names...)
		}
		c.requireMeet(t, userkit.Equal(field, base.In(germany)), "base")
		c.requireMeet(t, userkit.Equal(field, time.Time{}), "never")
	}
}

func filterIDs(t *testing.T, env env) {
	ids := []string{
		"00000000-0000-7000-8000-000000000001", "01000000-0000-7000-8000-0000000000ff", "7fffffff-ffff-7fff-bfff-ffffffffffff",
		"80000000-0000-7000-8000-000000000000", "abcdef01-2345-7789-8bcd-ef0123456789", "ffffffff-ffff-ffff-ffff-ffffffffffff",
	}
	c := newAudience(t, env.store, textFigures(func(user *userkit.User, text string) {
		user.ID, _ = userkit.ParseID[userkit.User](text)
	}, ids...)...)
	c.requireAll(t, []expectation{
		{`id eq "abcdef01-2345-7789-8bcd-ef0123456789"`, ids[4:5]},
		{`id eq "ABCDEF01-2345-7789-8BCD-EF0123456789"`, ids[4:5]},
		{`id ne "00000000-0000-7000-8000-000000000001"`, ids[1:]},
		{`id sw "ABCDEF"`, ids[4:5]},
		{`id sw "0"`, ids[:2]},
		{`id ew "FF"`, []string{ids[1], ids[2], ids[5]}},
		{`id co "-7000-"`, []string{ids[0], ids[1], ids[3]}},
		{`id co "7000_"`, nil},
		{`id gt "7fffffff-ffff-7fff-bfff-ffffffffffff"`, ids[3:]},
		{`id ge "7fffffff-ffff-7fff-bfff-ffffffffffff"`, ids[2:]},
		{`id lt "80000000-0000-7000-8000-000000000000"`, ids[:3]},
		{`id le "80000000-0000-7000-8000-000000000000"`, ids[:4]},
		{`id pr`, ids},
		{`id eq ""`, nil},
		{`id eq "abcdef01-2345-7789-8bcd-ef0123456780"`, nil},
	})
	c.requireMeet(t, userkit.Equal("id", c.users[2].ID), ids[2])
}

// attributeFigures are users whose attribute v is of every type and shape.
func attributeFigures() []figure {
	has := func(name string, attributes userkit.Attributes) figure {
		return figure{name, func(user *userkit.User) { user.Attributes = attributes }}
	}
	v := func(name string, value any) figure { return has(name, userkit.Attributes{"v": value}) }
	return []figure{
		has("nothing", nil),
		has("other", userkit.Attributes{"w": "gold"}),
		has("capital", userkit.Attributes{"V": "gold"}),
		has("another script", userkit.Attributes{"должность": "Gold", "Größe": int64(5), "कुंजी": true}),
		v("null", nil), v("empty text", ""), v("accent", "\u0301"), v("empty list", []any{}), v("empty object", map[string]any{}),
		v("list of null", []any{nil}), v("false", false), v("true", true),
		v("zero", int64(0)), v("one", int64(1)), v("half", 0.5), v("negative", -2.5), v("text of one", "1"), v("text of true", "true"),
		v("gold", "Gold"), v("golden", "GÖLDEN"), v("list of texts", []any{"silver", "GOLD"}),
		v("mixed list", []any{int64(1), "gold", true, 0.5}), v("list in list", []any{[]any{"gold", int64(1), true}}),
		v("list of objects", []any{map[string]any{"w": "gold"}}),
		v("object", map[string]any{"gold": int64(1), "v": "gold", "odd name.x": "gold"}),
		v("deep", map[string]any{"w": map[string]any{"x": "gold"}}), v("deep list", map[string]any{"w": []any{"gold", int64(1)}}),
		v("deep null", map[string]any{"w": nil}),
		v("two objects", []any{map[string]any{"w": "gold", "n": int64(1)}, nil, map[string]any{"w": "silver", "n": int64(2), "внутри": map[string]any{"字": "gold"}}}),
		v("one object", map[string]any{"w": "gold", "n": int64(2)}),
		v("objects in a list in a list", []any{[]any{map[string]any{"w": "gold"}}}),
	}
}

func filterAttributes(t *testing.T, env env) {
	c := newAudience(t, env.store, attributeFigures()...)
	with := func(names ...string) []string { return names }
	without := func(names ...string) []string { return c.others(names) }
	absent := with("nothing", "other", "capital", "another script", "null", "empty text", "accent", "empty list", "empty object")
	c.requireAll(t, []expectation{
		{`attributes pr`, without("nothing")},
		{`attributes.v pr`, without(absent...)},
		{`attributes.v eq null`, absent},
		{`attributes.v eq ""`, absent},
		{`attributes.v ne null`, without(absent...)},
		{`attributes.none pr`, nil},
		{`attributes.none ne "gold"`, c.names},
		{`attributes.v eq "gold"`, with("gold", "list of texts", "mixed list")},
		{`attributes.v ne "GOLD"`, without("gold", "list of texts", "mixed list")},
		{`attributes.v sw "GOL"`, with("gold", "golden", "list of texts", "mixed list")},
		{`attributes.v co "öl"`, with("gold", "golden", "list of texts", "mixed list")},
		{`attributes.v ew "EN"`, with("golden")},
		{`attributes.v gt "golden"`, with("list of texts", "text of true")},
		{`attributes.v ge "golden"`, with("golden", "list of texts", "text of true")},
		{`attributes.v lt "gold"`, with("text of one")},
		{`attributes.v le "gold"`, with("text of one", "gold", "list of texts", "mixed list")},
		{`attributes.v eq true`, with("true", "mixed list")},
		{`attributes.v ne true`, without("true", "mixed list")},
		{`attributes.v eq false`, with("false")},
		{`attributes.v eq "true"`, with("text of true")},
		{`attributes.v eq 1`, with("one", "mixed list")},
		{`attributes.v eq 1.0`, with("one", "mixed list")},
		{`attributes.v eq 10e-1`, with("one", "mixed list")},
		{`attributes.v eq "1"`, with("text of one")},
		{`attributes.v ne 1`, without("one", "mixed list")},
		{`attributes.v eq 0`, with("zero")},
		{`attributes.v eq 0.5`, with("half", "mixed list")},
		{`attributes.v gt 0`, with("one", "half", "mixed list")},
		{`attributes.v ge 0`, with("zero", "one", "half", "mixed list")},
		{`attributes.v lt 0`, with("negative")},
		{`attributes.v le 0.5`, with("zero", "half", "negative", "mixed list")},
		{`attributes.v lt 1 and attributes.v gt 0.5`, with("mixed list")}, // by different elements
		{`attributes.v.gold eq 1`, with("object")},
		{`attributes.v.a.b.c.d.e eq "gold"`, nil}, // beyond what an index is asked for
		{`attributes.v.gold pr`, with("object")},
		{`attributes.v.v eq "GOLD"`, with("object")},
		{`attributes.v.w pr`, with("deep", "deep list", "list of objects", "two objects", "one object")},
		{`attributes.v.w eq null`, without("deep", "deep list", "list of objects", "two objects", "one object")},
		{`attributes.v.w eq "gold"`, with("deep list", "list of objects", "two objects", "one object")},
		{`attributes.v.w ne "gold"`, without("deep list", "list of objects", "two objects", "one object")},
		{`attributes.v.w sw "SIL"`, with("two objects")},
		{`attributes.v.n gt 1`, with("two objects", "one object")},
		{`attributes.v.внутри.字 eq "gold"`, with("two objects")},
		{`attributes.v[w eq "gold"]`, with("deep list", "list of objects", "two objects", "one object")},
		{`not (attributes.v[w eq "gold"])`, without("deep list", "list of objects", "two objects", "one object")},
		{`attributes.v[w eq "gold" and n eq 2]`, with("one object")},
		{`attributes.v[w eq "GOLD" and n lt 2]`, with("two objects")},
		{`attributes.v[n eq 2 and внутри.字 eq "gold"]`, with("two objects")},
		{`attributes.v.внутри[字 co "ol"]`, with("two objects")},
		{`attributes.v[w ne "gold"]`, with("empty object", "object", "deep", "deep null", "two objects")},
		{`attributes.v[not (w eq "gold" or n pr)]`, with("empty object", "object", "deep", "deep null")},
		{`attributes.v[w eq null]`, with("empty object", "object", "deep null")},
		{`attributes.v[w eq "gold"] and not (attributes.v[n pr])`, with("deep list", "list of objects")},
		{`attributes.none[w pr or w eq null]`, nil},
		{`attributes.v.w.x.y[z eq null]`, nil},
		{`attributes.v.w eq 1`, with("deep list")},
		{`attributes.v[w eq 1]`, with("deep list")},
		{`attributes.v.w.x eq "GOLD"`, with("deep")},
		{`attributes.v.w.x ne "gold"`, without("deep")},
		{`attributes.v.w.x eq null`, without("deep")},
		{`attributes.v.w.x.y pr`, nil},
		{`attributes.V eq "gold"`, with("capital")},
		{`attributes.должность eq "GOLD" and attributes.Größe gt 4 and attributes.कुंजी eq true`, with("another script")},
		{`attributes.Должность pr or attributes.größe pr`, nil},
		{`attributes[v eq "gold" and not (v eq 1)]`, with("gold", "list of texts")},
		{`attributes.v[w pr or gold pr]`, with("deep", "deep list", "object", "list of objects", "two objects", "one object")},
		{`Attributes.w EQ "GOLD" or attributes.v eq false`, with("other", "false")},
	})
}

func filterAttributeNumbers(t *testing.T, env env) {
	numbers := map[string]any{
		"least": int64(math.MinInt64), "-2^53-1": int64(-1<<53 - 1), "-2^53": int64(-1 << 53), "-1.5": -1.5, "-1": int64(-1), "0": int64(0),
		"1e-7": 1e-7, "0.1": 0.1, "0.3": 0.3, "0.1+0.2": math.Nextafter(0.3, 1), "1": int64(1), "2^53-1": int64(1<<53 - 1), "2^53": int64(1 << 53), "2^53+1": int64(1<<53 + 1),
		"most": int64(math.MaxInt64), "1e20": 1e20, "1e300": 1e300, "-1e300": -1e300,
	}
	// In their order.
	names := []string{
		"-1e300", "least", "-2^53-1", "-2^53", "-1.5", "-1", "0", "1e-7", "0.1", "0.3", "0.1+0.2", "1",
		"2^53-1", "2^53", "2^53+1", "most", "1e20", "1e300",
	}
	require.Len(t, names, len(numbers))
	c := newAudience(t, env.store, textFigures(func(user *userkit.User, name string) {
		user.Attributes = userkit.Attributes{"n": numbers[name], "list": []any{"text", numbers[name]}, "in": map[string]any{"n": numbers[name]}}
	}, names...)...)
	for at, name := range names {
		for _, field := range []string{"attributes.n", "attributes.list", "attributes.in.n"} {
			for operator, want := range map[userkit.Operator][]string{
				userkit.OpEqual: names[at : at+1], userkit.OpGreater: names[at+1:], userkit.OpGreaterOrEqual: names[at:],
				userkit.OpLess: names[:at], userkit.OpLessOrEqual: names[:at+1],
			} {
				if whole, ok := numbers[name].(int64); ok {
					c.requireMeet(t, comparison(operator, field, whole), want...)
				} else {
					c.requireMeet(t, comparison(operator, field, numbers[name].(float64)), want...)
				}
			}
		}
	}
}

// comparison compares a field by an operator that takes values of any type.
func comparison[V userkit.FilterValue](operator userkit.Operator, field string, value V) userkit.Filter {
	switch operator {
	case userkit.OpEqual:
		return userkit.Equal(field, value)
	case userkit.OpNotEqual:
		return userkit.NotEqual(field, value)
	case userkit.OpGreater:
		return userkit.Greater(field, value)
	case userkit.OpGreaterOrEqual:
		return userkit.GreaterOrEqual(field, value)
	case userkit.OpLess:
		return userkit.Less(field, value)
	case userkit.OpLessOrEqual:
		return userkit.LessOrEqual(field, value)
	}
	panic("not an operator of all types: " + string(operator))
}

func filterAttributeTexts(t *testing.T, env env) {
	texts := []string{"Straße", "STRASSE", "Ёжик", "กี", "กี่", "Οδυσσεύς", "İzmir", "ﬁn²", "🙂", "100%", "1000", "a_b", "axb", `"quoted"`, `\`}
	c := newAudience(t, env.store, textFigures(func(user *userkit.User, text string) {
		user.Attributes = userkit.Attributes{"a-1": text, "list": []any{nil, text, int64(7)}, "in": map[string]any{"side": []any{text}}}
	}, texts...)...)
	for _, field := range []string{"attributes.a-1", "attributes.list", "attributes.in.side"} {
		for _, want := range []expectation{
			{`eq "strasse"`, texts[:2]},
			{`eq "ЕЖИК"`, []string{"Ёжик"}},
			{`sw "กี"`, []string{"กี", "กี่"}},
			{`eq "กี"`, []string{"กี"}},
			{`ew "Σ"`, []string{"Οδυσσεύς"}},
			{`eq "izmir"`, []string{"İzmir"}},
			{`eq "FIN2"`, []string{"ﬁn²"}},
			{`co "🙂"`, []string{"🙂"}},
			{`sw "100%"`, []string{"100%"}},
			{`co "_"`, []string{"a_b"}},
			{`sw "\""`, []string{`"quoted"`}},
			{`co "\\"`, []string{`\`}},
			{`gt "strasse"`, []string{"Ёжик", "กี", "กี่", "Οδυσσεύς", "🙂"}},
			{`lt "a"`, []string{"100%", "1000", `"quoted"`, `\`}},
		} {
			c.requireMeet(t, filterOf(field+" "+want.condition), want.names...)
		}
	}
}

func filterAccess(t *testing.T, env env) {
	set := func(status userkit.Status, expires time.Time, used int64) func(user *userkit.User) {
		return func(user *userkit.User) {
			user.Status, user.ExpiresAt = status, expires
			user.Traffic = userkit.Traffic{
				Limit: userkit.TrafficLimit{Bytes: 100, Reset: userkit.ResetDaily}, Used: used, Period: userkit.DayOf(base, time.UTC),
			}
		}
	}
	c := newAudience(t, env.store,
		figure{"active", set(userkit.StatusActive, time.Time{}, 99)},
		figure{"invited", set(userkit.StatusInvited, at(1), 0)},
		figure{"inactive", set(userkit.StatusInactive, time.Time{}, 0)},
		figure{"disabled", set(userkit.StatusDisabled, time.Time{}, 0)},
		figure{"ends", set(userkit.StatusActive, base, 0)},
		figure{"used up", set(userkit.StatusActive, time.Time{}, 100)},
		figure{"unlimited", func(user *userkit.User) {
			set(userkit.StatusActive, time.Time{}, 1000)(user)
			user.Traffic.Limit.Bytes = 0
		}},
		figure{"all", set(userkit.StatusDisabled, base, 101)},
	)
	for _, moment := range []struct {
		at           time.Time
		allowed      []string
		expired      []string
		trafficLimit []string
	}{
		{base.Add(-time.Microsecond), []string{"active", "invited", "ends", "unlimited"}, nil, []string{"used up", "all"}},
		{base, []string{"active", "invited", "unlimited"}, []string{"ends", "all"}, []string{"used up", "all"}},
		{at(1), []string{"active", "unlimited"}, []string{"ends", "all", "invited"}, []string{"used up", "all"}},
		{at(86_400), []string{"active", "unlimited", "used up"}, []string{"ends", "all", "invited"}, nil},
	} {
		c.moment.At = moment.at
		c.requireAll(t, []expectation{
			{`access eq "allowed"`, moment.allowed},
			{`access eq "user_expired"`, moment.expired},
			{`access eq "traffic_limit"`, moment.trafficLimit},
			{`access eq "user_disabled"`, []string{"disabled", "all"}},
			{`access eq "user_inactive"`, []string{"inactive"}},
			{`access pr`, c.names},
			{`access ne "allowed"`, c.others(moment.allowed)},
			{`not (access eq "user_expired") and access eq "user_disabled"`, c.others(slices.Concat(moment.expired, c.others([]string{"disabled", "all"})))},
		})
	}
}

func filterSubscribed(t *testing.T, env env) {
	set := func(active int, ends time.Time) func(user *userkit.User) {
		return func(user *userkit.User) { user.ActivePurchases, user.PurchasesEndAt = active, ends }
	}
	c := newAudience(t, env.store,
		figure{"never bought", set(0, time.Time{})},
		figure{"for ever", set(1, time.Time{})},
		figure{"ends", set(2, base)},
		figure{"ends later", set(1, at(1))},
		figure{"ended by the store", set(0, at(1))},
		figure{"long ago", set(3, at(-1_000_000))},
	)
	for _, moment := range []struct {
		at         time.Time
		subscribed []string
	}{
		{base.Add(-time.Microsecond), []string{"for ever", "ends", "ends later"}},
		{base, []string{"for ever", "ends later"}},
		{at(1), []string{"for ever"}},
	} {
		c.moment.At = moment.at
		c.requireAll(t, []expectation{
			{`subscribed eq true`, moment.subscribed},
			{`subscribed ne false`, moment.subscribed},
			{`subscribed eq false`, c.others(moment.subscribed)},
			{`not (subscribed eq true)`, c.others(moment.subscribed)},
			{`subscribed eq true and active_purchases gt 1`, belonging(moment.subscribed, func(name string) bool { return name == "ends" })},
		})
	}
	c.requireAll(t, []expectation{
		{`purchases_end_at eq "` + base.Format(time.RFC3339Nano) + `"`, []string{"ends"}},
		{`purchases_end_at pr`, []string{"ends", "ends later", "ended by the store", "long ago"}},
	})
}

func filterTrafficUsed(t *testing.T, env env) {
	set := func(reset userkit.TrafficReset, anchor int, period userkit.Day, used int64) func(user *userkit.User) {
		return func(user *userkit.User) {
			user.Traffic = userkit.Traffic{
				Limit: userkit.TrafficLimit{Bytes: 7, Reset: reset, AnchorDay: anchor}, Used: used, Period: period,
			}
			user.Status, user.ExpiresAt = userkit.StatusActive, time.Time{}
		}
	}
	day := func(month time.Month, day int) userkit.Day { return userkit.Day{Year: 2026, Month: month, Day: day} }
	c := newAudience(t, env.store,
		figure{"daily", set(userkit.ResetDaily, 0, day(1, 31), 7)},
		figure{"weekly", set(userkit.ResetWeekly, 0, day(1, 26), 7)}, // a Monday
		figure{"monthly on 1", set(userkit.ResetMonthly, 1, day(1, 1), 7)},
		figure{"monthly on 30", set(userkit.ResetMonthly, 30, day(1, 30), 7)},
		figure{"monthly on 31", set(userkit.ResetMonthly, 31, day(1, 31), 7)},
		figure{"never", set(userkit.ResetNever, 0, userkit.Day{}, 7)},
		figure{"unused", set(userkit.ResetDaily, 0, userkit.Day{}, 0)},
		figure{"by a clock ahead", set(userkit.ResetDaily, 0, day(2, 10), 7)},
		figure{"spring", set(userkit.ResetDaily, 0, day(3, 29), 7)},
		figure{"autumn", set(userkit.ResetDaily, 0, day(10, 25), 7)},
		figure{"April", set(userkit.ResetMonthly, 31, day(4, 30), 7)},
		figure{"a year ago", set(userkit.ResetMonthly, 15, userkit.Day{Year: 2025, Month: 12, Day: 15}, 7)},
	)
	later := []string{"spring", "autumn", "April", "by a clock ahead", "never"}
	moment := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339, text)
		require.NoError(t, err)
		return at.UTC()
	}
	cairo := location("Africa/Cairo") // whose summer time begins at midnight
	for _, want := range []struct {
		at    string
		zone  *time.Location
		names []string
	}{
		{"2026-01-14T23:59:59.999999Z", time.UTC, slices.Concat([]string{"daily", "weekly", "monthly on 1", "monthly on 30", "monthly on 31", "a year ago"}, later)},
		{"2026-01-15T00:00:00Z", time.UTC, slices.Concat([]string{"daily", "weekly", "monthly on 1", "monthly on 30", "monthly on 31"}, later)},
		{"2026-01-31T23:59:59.999999Z", time.UTC, slices.Concat([]string{"daily", "weekly", "monthly on 1", "monthly on 30", "monthly on 31"}, later)},
		{"2026-01-31T22:59:59.999999Z", germany, slices.Concat([]string{"daily", "weekly", "monthly on 1", "monthly on 30", "monthly on 31"}, later)},
		{"2026-01-31T23:00:00Z", germany, slices.Concat([]string{"weekly", "monthly on 30", "monthly on 31"}, later)},
		{"2026-02-01T00:00:00Z", nil, slices.Concat([]string{"weekly", "monthly on 30", "monthly on 31"}, later)},
		{"2026-02-01T23:59:59Z", time.UTC, slices.Concat([]string{"weekly", "monthly on 30", "monthly on 31"}, later)},
		{"2026-02-02T00:00:00Z", time.UTC, slices.Concat([]string{"monthly on 30", "monthly on 31"}, later)},
		{"2026-02-27T23:59:59Z", time.UTC, []string{"monthly on 30", "monthly on 31", "never", "spring", "autumn", "April"}},
		{"2026-02-28T00:00:00Z", time.UTC, []string{"never", "spring", "autumn", "April"}},
		{"2026-03-29T21:59:59Z", germany, []string{"never", "spring", "autumn", "April"}}, // a day of 23 hours
		{"2026-03-29T22:00:00Z", germany, []string{"never", "autumn", "April"}},
		{"2026-03-29T23:59:59Z", time.UTC, []string{"never", "spring", "autumn", "April"}},
		{"2026-05-30T20:59:59Z", cairo, []string{"never", "autumn", "April"}},
		{"2026-05-30T21:00:00Z", cairo, []string{"never", "autumn"}},
		{"2026-10-25T22:59:59Z", germany, []string{"never", "autumn"}}, // a day of 25 hours
		{"2026-10-25T23:00:00Z", germany, []string{"never"}},
		{"2027-06-01T00:00:00Z", time.UTC, []string{"never"}},
	} {
		c.moment = userkit.Moment{At: moment(want.at), Zone: want.zone}
		c.requireAll(t, []expectation{
			{`traffic_used eq 7`, want.names},
			{`traffic_used gt 0`, want.names},
			{`traffic_used eq 0`, c.others(want.names)},
			{`traffic_used le 6`, c.others(want.names)},
			{`traffic_used pr`, c.names},
			{`access eq "traffic_limit"`, want.names},
			{`access eq "allowed"`, c.others(want.names)},
		})
	}
}

func filterSegments(t *testing.T, env env) {
	c := newAudience(t, env.store, textFigures(func(user *userkit.User, text string) { user.Name = text }, "ada", "bob", "cyd", "dan")...)
	first, second, empty := segmentID(1), segmentID(2), segmentID(3)
	for n := 1; n <= 3; n++ {
		commitSegment(t, env.store, segmentCreation(newList(n)))
	}
	join := func(n int, segments ...userkit.SegmentID) {
		change := step(&c.users[n])
		change.AddSegments = segments
		commit(t, env.store, change)
		for _, segment := range segments {
			c.members[segment] = append(c.members[segment], c.names[n])
		}
	}
	join(0, first)
	join(1, first, second)
	join(3, second)
	in := userkit.InSegment
	c.requireMeet(t, in(first), "ada", "bob")
	c.requireMeet(t, in(second), "bob", "dan")
	c.requireMeet(t, in(empty))
	c.requireMeet(t, in(segmentID(9)))
	c.requireMeet(t, userkit.NotEqual("segment", first), "cyd", "dan")
	c.requireMeet(t, userkit.AllOf(in(first), in(second)), "bob")
	c.requireMeet(t, userkit.AnyOf(in(first), in(second)), "ada", "bob", "dan")
	c.requireMeet(t, userkit.AllOf(in(second), userkit.Not(in(first))), "dan")
	c.requireMeet(t, userkit.AllOf(in(second), userkit.Equal("name", "BOB")), "bob")
	c.requireMeet(t, userkit.AnyOf(userkit.Not(in(second)), userkit.Equal("name", "dan")), "ada", "cyd", "dan")

	c.requireTake(t, userkit.UserSelection{Segment: first}, "ada", "bob")
	c.requireTake(t, userkit.UserSelection{Segment: empty})
	c.requireTake(t, userkit.UserSelection{Segment: segmentID(9)})
	c.requireTake(t, userkit.UserSelection{Segment: first, Filter: filterOf(in(second).String())}, "bob")
	c.requireTake(t, userkit.UserSelection{Segment: first, Search: userkit.ParseSearch("bob")}, "bob")
}

func filterJoins(t *testing.T, env env) {
	set := func(devices, sessions int) func(user *userkit.User) {
		return func(user *userkit.User) { user.Devices, user.OpenSessions = devices, sessions }
	}
	c := newAudience(t, env.store, figure{"00", set(0, 0)}, figure{"01", set(0, 1)}, figure{"10", set(1, 0)}, figure{"11", set(1, 1)})
	c.requireAll(t, []expectation{
		{`devices eq 1 and open_sessions eq 1`, []string{"11"}},
		{`devices eq 1 or open_sessions eq 1`, []string{"01", "10", "11"}},
		{`not (devices eq 1) and not (open_sessions eq 1)`, []string{"00"}},
		{`not (devices eq 1 and open_sessions eq 1)`, []string{"00", "01", "10"}},
		{`not (not (devices eq 1))`, []string{"10", "11"}},
		{`devices eq 0 or devices eq 1 and open_sessions eq 1`, []string{"00", "01", "11"}},
		{`(devices eq 0 or devices eq 1) and open_sessions eq 1`, []string{"01", "11"}},
		{`devices eq 0 and open_sessions eq 0 or devices eq 1 and open_sessions eq 1`, []string{"00", "11"}},
		{`devices eq 0 and (open_sessions eq 0 or devices eq 1) and not (open_sessions eq 1)`, []string{"00"}},
		{`devices eq 0 and devices eq 1`, nil},
		{`devices eq 0 or devices ne 0`, c.names},
	})
	c.requireMeet(t, userkit.Filter{}, c.names...)
	c.requireMeet(t, userkit.AnyOf())
	c.requireMeet(t, userkit.AllOf(), c.names...)
	c.requireMeet(t, userkit.AnyOf(userkit.Equal("devices", 0), userkit.Filter{}), c.names...)
}

// valueFilter compares a field with a value that the field of a user has.
func valueFilter(operator userkit.Operator, field string, value any) userkit.Filter {
	switch value := value.(type) {
	case string:
		return comparison(operator, field, value)
	case bool:
		return comparison(operator, field, value)
	case int64:
		return comparison(operator, field, value)
	case float64:
		return comparison(operator, field, value)
	case time.Time:
		return comparison(operator, field, value)
	case userkit.Duration:
		return comparison(operator, field, value)
	case userkit.Money:
		return comparison(operator, field, value)
	}
	panic(fmt.Sprintf("no filter compares %s with a %T", field, value))
}

func filterEveryField(t *testing.T, env env) {
	var figures []figure
	for n := range 8 {
		figures = append(figures, figure{fmt.Sprint(n), func(user *userkit.User) { *user = hardUser(n+1, 0) }})
	}
	c := newAudience(t, env.store, figures...)
	for _, field := range userkit.UserFields() {
		var conditions []userkit.Filter
		if field.Kind == userkit.KindJSON {
			conditions = append(conditions, userkit.Equal("attributes.text", "VALUE 3"), userkit.Equal("attributes.Number", int64(9_007_199_254_740_995)))
		} else {
			for n := range 4 {
				value := field.Get(&c.users[2*n])
				conditions = append(conditions, valueFilter(userkit.OpEqual, field.Name, value))
				if text, _ := value.(string); text == "" && field.Kind != userkit.KindTime || field.Kind == userkit.KindBool {
					continue
				}
				conditions = append(conditions, valueFilter(userkit.OpGreater, field.Name, value), valueFilter(userkit.OpLessOrEqual, field.Name, value))
			}
		}
		for _, condition := range append(conditions, userkit.Present(field.Name)) {
			condition, err := userkit.ParseFilter(condition.String())
			if err != nil { // an order needs a value, and some users have none
				requireCode(t, err, userkit.ErrInvalid, userkit.CodeRequired)
				continue
			}
			var names []string
			for n := range c.users {
				if condition.Meets(&c.users[n], c.moment, nil) {
					names = append(names, c.names[n])
				}
			}
			c.requireMeet(t, condition, names...)
		}
	}
}

func filterAfterChange(t *testing.T, env env) {
	c := newAudience(t, env.store, textFigures(func(user *userkit.User, text string) {
		user.Description, user.Attributes, user.Devices = text, userkit.Attributes{"plan": text}, 0
	}, "ada", "bob", "cyd")...)
	change := edit(&c.users[0], func(user *userkit.User) {
		user.Description, user.Attributes, user.Devices = "Grün", userkit.Attributes{"plan": "GRÜN"}, 7
	})
	commit(t, env.store, change)
	for _, field := range []string{"description", "attributes.plan"} {
		c.requireMeet(t, userkit.Equal(field, "grun"), "ada")
		c.requireMeet(t, userkit.Equal(field, "ada"))
		c.requireMeet(t, userkit.Contains(field, "b"), "bob")
	}
	c.requireMeet(t, userkit.Greater("devices", 0), "ada")

	// The account alone.
	c.users[1].Devices = 9
	commit(t, env.store, step(&c.users[1]))
	c.requireMeet(t, userkit.Greater("devices", 7), "bob")
	c.requireMeet(t, userkit.Equal("description", "bob"), "bob")

	deletion := step(&c.users[1])
	deletion.Delete = true
	commit(t, env.store, deletion)
	c.names, c.users = slices.Delete(c.names, 1, 2), slices.Delete(c.users, 1, 2)
	c.requireMeet(t, userkit.Greater("devices", 7))
	c.requireMeet(t, userkit.Filter{}, "ada", "cyd")
}

func filterParts(t *testing.T, env env) {
	figures := textFigures(func(user *userkit.User, text string) { user.Name = text }, "one more", "two more", "three more", "four")
	for n := range figures {
		name := figures[n].name
		figures[n].set = func(user *userkit.User) {
			user.Name, user.Devices = name, n
			user.Status = pick([]userkit.Status{userkit.StatusActive, userkit.StatusDisabled, userkit.StatusInvited}, n+2, 1)
		}
	}
	c := newAudience(t, env.store, figures...)
	require.Equal(t, userkit.StatusDisabled, c.users[1].Status)
	condition := filterOf(`devices ge 1`)
	c.requireTake(t, userkit.UserSelection{}, c.names...)
	c.requireTake(t, userkit.UserSelection{WithoutDisabled: true}, "one more", "three more", "four")
	c.requireTake(t, userkit.UserSelection{Search: userkit.ParseSearch("MORE")}, "one more", "two more", "three more")
	c.requireTake(t, userkit.UserSelection{WithoutDisabled: true, Search: userkit.ParseSearch("more")}, "one more", "three more")
	c.requireTake(t, userkit.UserSelection{Search: userkit.ParseSearch("more"), Filter: condition}, "two more", "three more")
	c.requireTake(t, userkit.UserSelection{WithoutDisabled: true, Search: userkit.ParseSearch("more"), Filter: condition}, "three more")
	c.requireTake(t, userkit.UserSelection{WithoutDisabled: true, Search: userkit.ParseSearch("two"), Filter: condition})
}

// filterSeveralIDs looks for users by several ids at once.
func filterSeveralIDs(t *testing.T, env env) {
	c := newAudience(t, env.store, textFigures(func(user *userkit.User, text string) { user.Name = text }, "ada", "bob", "cyd")...)
	by := func(n int) userkit.Filter { return userkit.Equal("id", c.users[n].ID) }
	unknown := userkit.Equal("id", userkit.NewID[userkit.User]())
	named := userkit.Equal("name", "cyd")
	c.requireMeet(t, userkit.AnyOf(by(0), by(2)), "ada", "cyd")
	c.requireMeet(t, userkit.AnyOf(by(2), unknown, by(0), by(2)), "ada", "cyd")
	c.requireMeet(t, userkit.AnyOf(unknown, unknown))
	c.requireMeet(t, userkit.AnyOf(by(0), named, by(1)), "ada", "bob", "cyd")
	c.requireMeet(t, userkit.AllOf(userkit.AnyOf(by(0), by(2)), named), "cyd")
	c.requireMeet(t, userkit.Not(userkit.AnyOf(by(0), by(2))), "bob")
	c.requireMeet(t, userkit.AnyOf(by(1), userkit.Not(userkit.AnyOf(by(0), by(1)))), "bob", "cyd")
	c.requireTake(t, userkit.UserSelection{Filter: userkit.AnyOf(by(0), by(1)), Search: userkit.ParseSearch("bo")}, "bob")
}

func filterBounds(t *testing.T, env env) {
	c := newAudience(t, env.store, textFigures(func(user *userkit.User, text string) { user.Name = text }, "ada", "bob")...)
	var many []userkit.Filter
	for n := range userkit.MaxFilterComparisons - 1 {
		many = append(many, userkit.Equal("name", fmt.Sprint("nobody ", n)))
	}
	c.requireTake(t, userkit.UserSelection{Filter: filterOf(userkit.AnyOf(append(many, userkit.Equal("name", "ADA"))...).String())}, "ada")
	deep := userkit.Equal("name", "bob")
	for n := range userkit.MaxFilterDepth - 2 {
		deep = userkit.Not(deep)
		if n%3 == 0 {
			deep = userkit.AllOf(userkit.Present("name"), userkit.AnyOf(deep, userkit.Equal("name", "nobody")))
		}
		if _, err := userkit.ParseFilter(deep.String()); err != nil {
			break
		}
		name := c.names[n%2]
		c.requireTake(t, userkit.UserSelection{Filter: filterOf(deep.String())}, name)
	}
	text := strings.Repeat("x", userkit.MaxFilterBytes-len(`description eq ""`))
	c.requireTake(t, userkit.UserSelection{Filter: filterOf(userkit.Equal("description", text).String())})
}

// searchAudience is users of whom each has a word in one field.
func searchAudience(t *testing.T, store userkit.Store) *audience {
	t.Helper()
	blank := func(set func(user *userkit.User)) func(user *userkit.User) {
		return func(user *userkit.User) {
			*user = bare(user)
			set(user)
		}
	}
	id, err := userkit.ParseID[userkit.User]("0fedcba9-8765-7432-9876-0123456789ab")
	require.NoError(t, err)
	return newAudience(t, store,
		figure{"login", blank(func(user *userkit.User) { user.Login = "xx-Äpfel-1" })},
		figure{"name", blank(func(user *userkit.User) { user.Name = "Der große ÄPFELWEIN" })},
		figure{"email", blank(func(user *userkit.User) { user.Email = "Apfel@Example.org" })},
		figure{"phone", blank(func(user *userkit.User) { user.Phone = "+375291777333" })},
		figure{"extref", blank(func(user *userkit.User) { user.ExtRef = "APFEL/9%_x" })},
		figure{"elsewhere", blank(func(user *userkit.User) {
			user.Description, user.AdditionalInfo, user.License, user.AuthMethod = "apfel", "apfel", "apfel", "apfel"
			user.Attributes = userkit.Attributes{"apfel": "apfel"}
		})},
		figure{"Thai", blank(func(user *userkit.User) { user.Name = "สวัสดีกรุงเทพ" })},
		figure{"Russian", blank(func(user *userkit.User) { user.Name, user.Login = "Пётр Ёжик", "ёж" })},
		figure{"Japanese", blank(func(user *userkit.User) { user.Name = "東京日本語" })},
		figure{"emoji", blank(func(user *userkit.User) { user.Name = "🙂 and 🙃" })},
		figure{"id", blank(func(user *userkit.User) { user.ID = id })},
		figure{"nothing", blank(func(*userkit.User) {})},
	).sorted()
}

// sorted brings users with ids of their own into the order of ids.
func (c *audience) sorted() *audience {
	names := map[userkit.UserID]string{}
	for n, user := range c.users {
		names[user.ID] = c.names[n]
	}
	c.users = sortedByID(c.users, userRecordID)
	for n, user := range c.users {
		c.names[n] = names[user.ID]
	}
	return c
}

// requireSearch demands what a term finds, and that searchMeets says so too.
func (c *audience) requireSearch(t *testing.T, term string, names ...string) {
	t.Helper()
	for n := range c.users {
		require.Equal(t, c.is(n, names), searchMeets(&c.users[n], userkit.ParseSearch(term)), "%q of %q", c.names[n], term)
	}
	c.requireTake(t, userkit.UserSelection{Search: userkit.ParseSearch(term)}, names...)
}

// searchMeets says whether a search finds a user, by the words of its contract.
func searchMeets(user *userkit.User, search userkit.Search) bool {
	texts := []string{user.Login, user.Name, user.Email, user.Phone, user.ExtRef}
	if !search.Short() {
		texts = append(texts, user.ID.String())
	}
	if search.Digits != "" && strings.Contains(user.Phone, search.Digits) {
		return true
	}
	return slices.ContainsFunc(texts, func(text string) bool {
		text = userkit.Fold(text)
		if utf8.RuneCountInString(search.Term) != 1 {
			return strings.Contains(text, search.Term)
		}
		// One character is found where a word begins.
		before, found := ' ', false
		for _, r := range text {
			within := unicode.IsLetter(before) || unicode.IsDigit(before) || unicode.IsMark(before)
			found = found || string(r) == search.Term && (!within || unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul))
			before = r
		}
		return found
	})
}

func searchParts(t *testing.T, env env) {
	c := searchAudience(t, env.store)
	for _, term := range []string{"apfel", "ÄPFEL", "A\u0308pf", "pfel", "  apfel\t", "ａｐｆｅｌ"} {
		c.requireSearch(t, term, "login", "name", "email", "extref")
	}
	for term, name := range map[string]string{
		"XX-APF": "login", "pfel-1": "login", "GROSSE": "name", "oße äpf": "name", "apfel@EXAMPLE": "email", "example.org": "email", "177733": "phone", "+37529": "phone",
		"apfel/9": "extref", "ПЕТР": "Russian", "ежик": "Russian", "日本語": "Japanese", "京日本": "Japanese", "ดีกร": "Thai",
		"0fedcba9": "id", "0FEDCBA9-8765-7432-9876-0123456789AB": "id", "7432-9876": "id", "456789ab": "id",
	} {
		c.requireSearch(t, term, name)
	}
	c.requireSearch(t, "and 🙃", "emoji")
	for _, term := range []string{"apfelbaum", "xx-apfel-1der", "apfel@example.orgapfel", "0fedcba9-8765-7432-9876-0123456789abc", "fedcba98765", strings.Repeat("ab", 100)} {
		c.requireSearch(t, term)
	}
	for _, term := range []string{"", "   ", "\u0301"} {
		c.requireSearch(t, term, c.names...)
	}
}

func searchShort(t *testing.T, env env) {
	c := searchAudience(t, env.store)
	for term, names := range map[string][]string{
		"ap": {"login", "name", "email", "extref"}, "ÄP": {"login", "name", "email", "extref"}, "pf": {"login", "name", "email", "extref"}, "l-1": {"login"}, "a": {"login", "name", "email", "extref", "emoji"}, "f": nil, "xx": {"login"}, "xx-": {"login"}, "X": {"login", "extref"}, "de": {"name"}, "DER": {"name"},
		"+3": {"phone"}, "0f": nil, "89-87": nil, "ё": {"Russian"}, "ПЁ": {"Russian"}, "ЕЖ": {"Russian"}, "東京": {"Japanese"}, "日本": {"Japanese"}, "本": {"Japanese"}, "สวั": {"Thai"}, "ส": {"Thai"}, "ว": nil,
		"🙂": {"emoji"}, "🙃": {"emoji"}, "🙂 a": {"emoji"}, "ap/": nil, "l/9": {"extref"},
	} {
		c.requireSearch(t, term, names...)
	}
}

func searchSpellings(t *testing.T, env env) {
	named := func(name string) figure {
		return figure{name, func(user *userkit.User) { *user = bare(user); user.Name = name }}
	}
	known := func(extRef string) figure {
		return figure{extRef, func(user *userkit.User) { *user = bare(user); user.ExtRef = extRef }}
	}
	c := newAudience(t, env.store, named("王小明"), named("홍길동"), named("Łukasz"), named("Đức"), named("Søren"), named("Æsir"), named("O'Brien"), named("O’Brien"),
		named("Xu"), named("Лавлейс"), named("Anne–Marie"), known("42"), known("A1-B2-C3"), known("12/34"), known("X-1"), known("7"), known("#"),
		figure{"phone", func(user *userkit.User) { *user = bare(user); user.Phone = "+375291234567" }})
	for term, names := range map[string][]string{
		"小明": {"王小明"}, "王": {"王小明"}, "王小明": {"王小明"}, "明小": nil, "길동": {"홍길동"}, "42": {"42"}, "4": {"42"}, "2": nil, "7": {"7"}, "#": {"#"},
		"lukasz": {"Łukasz"}, "łUKASZ": {"Łukasz"}, "duc": {"Đức"}, "đức": {"Đức"}, "soren": {"Søren"}, "aesir": {"Æsir"}, "ÆSIR": {"Æsir"},
		"O'Brien": {"O'Brien", "O’Brien"}, "o’brien": {"O'Brien", "O’Brien"}, "O\u02bcBrien": {"O'Brien", "O’Brien"}, "obrien": nil, "o'b": {"O'Brien", "O’Brien"},
		"xu": {"Xu"}, "x": {"Xu", "X-1"}, "ле": {"Лавлейс"}, "йс": {"Лавлейс"}, "йл": nil, "anne-marie": {"Anne–Marie"}, "\u200bXu\ufeff": {"Xu"},
		"a1-b2-c3": {"A1-B2-C3"}, "A1-B2": {"A1-B2-C3"}, "a1-c3": nil, "12/34": {"12/34"}, "12-34": {"phone"}, "x-1": {"X-1"}, "-": nil,
		"+375 29 123-45-67": {"phone"}, "(29) 123-45-67": {"phone"}, "29 123": {"phone"}, "45-67": {"phone"}, "45-68": nil, "+29 123": nil, "29 123 x": nil,
	} {
		if term == "12/34" {
			names = append(names, "phone") // 1234 is a part of it
		}
		c.requireSearch(t, term, names...)
	}
	// The manager knows which number it is.
	for search, names := range map[string][]string{"8 029 123-45-67": {"phone"}, "(8)": {"phone"}} {
		parsed := userkit.ParseSearch(search)
		parsed.Number = "+375291234567"
		c.requireTake(t, userkit.UserSelection{Search: parsed}, names...)
		parsed.Number = "+375291234568"
		c.requireTake(t, userkit.UserSelection{Search: parsed})
	}
	// What an index of short parts serves in filters, too.
	c.requireMeet(t, userkit.Contains("name", "ле"), "Лавлейс")
	c.requireMeet(t, userkit.Contains("name", "л"), "Лавлейс")
	c.requireMeet(t, userkit.Equal("extref", "x-1"), "X-1")
	c.requireMeet(t, userkit.Equal("extref", "7"), "7")
	c.requireMeet(t, userkit.EndsWith("extref", "-1"), "X-1")
	c.requireMeet(t, userkit.Contains("phone", "12"), "phone")
	c.requireMeet(t, userkit.Contains("extref", " 4"))
}

// bare is a user without anything to search for.
func bare(user *userkit.User) userkit.User {
	return userkit.User{
		ID: user.ID, Status: userkit.StatusActive, Kind: userkit.UserIndividual, RegisteredAt: user.RegisteredAt, UpdatedAt: user.UpdatedAt,
		Revision: 1, Account: user.Account,
	}
}

func searchSigns(t *testing.T, env env) {
	names := []string{"%", "_", `\`, "'", "%%", "__x", `\\`, "100% now", "1000 now", "abc_d", "abcxd", `abc\d`, "it's abc'", "$1 abc", "?", "--", "a_b", "axb", `"abc"`, "[abc]", "(abc"}
	c := newAudience(t, env.store, textFigures(func(user *userkit.User, text string) {
		user.Login, user.Email, user.ExtRef, user.Phone = "", "", "", ""
		user.Name = text
	}, names...)...)
	for term, names := range map[string][]string{
		"%": {"%", "%%"}, "%%": {"%%"}, "%%%": nil, "_": {"_", "__x"}, "__": {"__x"}, `\`: {`\`, `\\`}, `\\`: {`\\`}, "'": {"'"}, "?": {"?"}, "--": {"--"}, "----": nil,
		"100%": {"100% now"}, "100_": nil, "abc_": {"abc_d"}, `abc\`: {`abc\d`}, "abc'": {"it's abc'"}, "1 abc": {"$1 abc"}, "a_b": {"a_b"}, "a%": nil,
		`"abc"`: {`"abc"`}, "[abc]": {"[abc]"}, "(abc": {"(abc"}, "abc%d": nil, "abc": {"abc_d", "abcxd", `abc\d`, "it's abc'", "$1 abc", `"abc"`, "[abc]", "(abc"},
	} {
		c.requireSearch(t, term, names...)
	}
}

func searchAfterChange(t *testing.T, env env) {
	c := searchAudience(t, env.store)
	n := slices.Index(c.names, "name")
	commit(t, env.store, edit(&c.users[n], func(user *userkit.User) { user.Name, user.Email = "Birne", "birne@apfel.example" }))
	c.requireSearch(t, "pfel", "login", "name", "email", "extref")
	c.requireSearch(t, "pfelw")
	c.requireSearch(t, "BIR", "name")
	c.requireSearch(t, "de")
	deletion := step(&c.users[n])
	deletion.Delete = true
	commit(t, env.store, deletion)
	c.names, c.users = slices.Delete(c.names, n, n+1), slices.Delete(c.users, n, n+1)
	c.requireSearch(t, "bir")
	c.requireSearch(t, "apfel", "login", "email", "extref")
}

func userIDs(t *testing.T, env env) {
	ctx, filter := t.Context(), userkit.UserSelection{Moment: userkit.Moment{At: base}}
	got, err := env.store.UserIDs(ctx, filter, userkit.UserID{}, 10)
	require.NoError(t, err)
	require.Empty(t, got)

	var users []userkit.User
	var even []userkit.UserID
	for n := range 25 {
		user := newUser(n)
		user.Devices = n % 2
		users = append(users, user)
		if n%2 == 0 {
			even = append(even, user.ID)
		}
	}
	for _, n := range shuffled(len(users)) {
		create(t, env.store, users[n])
	}
	filter.Filter = filterOf(`devices eq 0`)
	for _, limit := range []int{1, 2, 5, 12, 13, 14, 1000} {
		var walked []userkit.UserID
		after := userkit.UserID{}
		for {
			ids, err := env.store.UserIDs(ctx, filter, after, limit)
			require.NoError(t, err)
			require.LessOrEqual(t, len(ids), limit)
			walked = append(walked, ids...)
			if len(ids) < limit {
				break
			}
			after = ids[len(ids)-1]
		}
		require.Equal(t, even, walked, "%d at a time", limit)
	}
	for after, want := range map[userkit.UserID][]userkit.UserID{
		userID(1): even[1:3], userID(2): even[2:4], userID(100): {}, {0xff}: {}, {1}: even[:2],
	} {
		got, err := env.store.UserIDs(ctx, filter, after, 2)
		require.NoError(t, err)
		require.Equal(t, want, append([]userkit.UserID{}, got...), "after %s", after)
	}
}

func userNames(t *testing.T, env env) {
	ctx, all := t.Context(), userkit.UserSelection{Moment: userkit.Moment{At: base}}
	want := map[userkit.UserID]string{}
	var users []userkit.User
	var ids []userkit.UserID
	for n := range 40 {
		user := newUser(n)
		user.Devices = n % 2
		for i, name := range []*string{&user.Name, &user.Login, &user.Email, &user.Phone, &user.ExtRef} {
			if i < n%6 { // so that each of them is the first that is not empty
				*name = ""
			}
		}
		users = append(users, user)
		ids = append(ids, user.ID)
		want[user.ID] = user.DisplayName()
	}
	require.Contains(t, want, users[5].ID)
	require.Equal(t, users[5].ID.String(), want[users[5].ID])
	create(t, env.store, users...)
	unknown := userID(1000)
	for _, some := range [][]userkit.UserID{ids[:1], ids[3:5], ids, append(slices.Clone(ids), unknown)} {
		got, err := env.store.UserNames(ctx, all, some)
		require.NoError(t, err)
		for _, id := range some {
			require.Equal(t, want[id], got[id])
		}
		require.NotContains(t, got, unknown)
		require.LessOrEqual(t, len(got), len(some))
	}
	got, err := env.store.UserNames(ctx, all, []userkit.UserID{unknown})
	require.NoError(t, err)
	require.Empty(t, got)

	// A selection may look at the account, and at segments.
	list := newList(1)
	createSegments(t, env.store, list)
	for n := 1; n < len(users); n += 2 {
		commit(t, env.store, joined(&users[n], list.ID))
	}
	byAccount, inList, byFilter := all, all, all
	byAccount.Filter, inList.Segment, byFilter.Filter = filterOf(`devices gt 0`), list.ID, userkit.InSegment(list.ID)
	for _, odd := range []userkit.UserSelection{byAccount, inList, byFilter} {
		for _, some := range [][]userkit.UserID{ids[:2], ids} {
			got, err := env.store.UserNames(ctx, odd, some)
			require.NoError(t, err)
			require.Len(t, got, len(some)/2)
			require.NotContains(t, got, ids[0])
			require.Equal(t, want[ids[1]], got[ids[1]])
		}
	}
}

func findUsers(t *testing.T, env env) {
	var users []userkit.User
	for n := range 5 {
		users = append(users, newUser(n))
	}
	users[0].Login, users[0].Email = "Jürgen Straße", "Jürgen@Example.org"
	users[1].ExtRef, users[2].ExtRef = "ref", "Ref"
	users[4].Login, users[4].Email, users[4].ExtRef = "", "", ""
	create(t, env.store, users...)
	find := func(field string, values ...string) []userkit.User {
		t.Helper()
		found, err := env.store.FindUsers(t.Context(), field, values)
		require.NoError(t, err)
		return found
	}
	want := func(found []userkit.User, numbers ...int) {
		t.Helper()
		require.Len(t, found, len(numbers))
		found = sortedByID(found, userRecordID)
		for i, n := range numbers {
			requireUser(t, users[n], found[i])
		}
	}
	want(find("login", userkit.ByLogin("JÜRGEN STRAßE").Value()), 0)
	want(find("login", userkit.ByLogin(users[3].Login).Value(), "jürgen straße", "nobody", "jürgen straße", "jurgen strasse", "jürgen%", "%"), 0, 3)
	want(find("email", userkit.ByEmail("JÜRGEN@example.org").Value(), userkit.ByEmail(users[1].Email).Value(), "x"), 0, 1)
	want(find("extref", "ref"), 1)
	want(find("extref", "REF", "Ref", users[3].ExtRef, "ref", "ref"), 1, 2, 3)
	want(find("id", users[4].ID.String(), users[2].ID.String(), userID(900).String(), users[4].ID.String()), 2, 4)
	want(find("login", userkit.ByLogin(users[3].Email).Value(), users[2].ExtRef))
	want(find("email", userkit.ByEmail(users[3].Login).Value()))
	want(find("extref", users[3].Login))
	for _, field := range []string{"id", "login", "email", "extref"} {
		want(find(field))
		require.Empty(t, find(field, userID(900).String()))
	}

	found := find("id", users[0].ID.String())
	scribbleAttributes(found[0].Attributes)
	want(find("id", users[0].ID.String()), 0)
}

func findUsersMany(t *testing.T, env env) {
	var changes []userkit.Change
	var users []userkit.User
	for n := range userkit.MaxImport + 100 {
		users = append(users, newUser(n))
		changes = append(changes, creation(users[n]))
	}
	commit(t, env.store, changes...)
	values := map[string][]string{}
	for _, user := range users[100:] {
		for _, key := range []userkit.UserKey{
			userkit.ByID(user.ID), userkit.ByLogin(user.Login), userkit.ByEmail(user.Email), userkit.ByExtRef(user.ExtRef),
		} {
			values[key.Field()] = append(values[key.Field()], key.Value())
		}
	}
	for field, values := range values {
		require.Len(t, values, userkit.MaxImport)
		found, err := env.store.FindUsers(t.Context(), field, values)
		require.NoError(t, err)
		requireIDs(t, users[100:], sortedByID(found, userRecordID), userRecordID, field)
	}
}
