package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// list creates a segment that is a list.
func (d *desk) list(t *testing.T, name string, members ...userkit.User) userkit.Segment {
	t.Helper()
	segment, err := d.CreateSegment(t.Context(), userkit.NewSegment{Name: name})
	require.NoError(t, err)
	for _, member := range members {
		d.join(t, member.ID, segment)
	}
	return segment
}

// rule creates a segment that is a rule.
func (d *desk) rule(t *testing.T, name, filter string) userkit.Segment {
	t.Helper()
	segment, err := d.CreateSegment(t.Context(), userkit.NewSegment{Name: name, Rule: filterOf(filter)})
	require.NoError(t, err)
	return segment
}

// join adds a user to lists.
func (d *desk) join(t *testing.T, user userkit.UserID, segments ...userkit.Segment) {
	t.Helper()
	require.NoError(t, d.AddToSegments(t.Context(), user, segmentIDs(segments)...))
}

func segmentIDs(segments []userkit.Segment) []userkit.SegmentID {
	ids := []userkit.SegmentID{}
	for _, segment := range segments {
		ids = append(ids, segment.ID)
	}
	return ids
}

// people signs up a user for every name. The name is the login.
func (d *desk) people(t *testing.T, names ...string) map[string]userkit.User {
	t.Helper()
	users := map[string]userkit.User{}
	for _, name := range names {
		users[name] = d.signUp(t, func(user *userkit.NewUser) {
			user.Login, user.Name, user.Email = name, name, ""
		})
	}
	return users
}

// requireUsers demands that exactly the users with these logins, in this order,
// meet a filter, by every method that takes one.
func (d *desk) requireUsers(t *testing.T, filter userkit.UserFilter, logins ...string) {
	t.Helper()
	query := userkit.UserQuery{UserFilter: filter}
	got := []string{}
	for _, user := range everyItem(t, userkit.PageQuery{Limit: 2}, func(page userkit.PageQuery) (userkit.Page[userkit.User], error) {
		query.PageQuery = page
		return d.Users(t.Context(), query)
	}) {
		got = append(got, user.Login)
	}
	require.Equal(t, append([]string{}, logins...), got, "%+v", filter)
	walked := []string{}
	for _, user := range take(t, d.AllUsers(t.Context(), userkit.UserQuery{UserFilter: filter}), whole) {
		walked = append(walked, user.Login)
	}
	require.Equal(t, got, walked, "%+v", filter)
	count, err := d.CountUsers(t.Context(), filter)
	require.NoError(t, err)
	require.EqualValues(t, len(got), count, "%+v", filter)
}

// requireMembers demands that the users with these logins are in a segment.
func (d *desk) requireMembers(t *testing.T, segment userkit.SegmentID, logins ...string) {
	t.Helper()
	d.requireUsers(t, userkit.UserFilter{Segment: segment}, logins...)
	d.requireUsers(t, userkit.UserFilter{Filter: userkit.InSegment(segment)}, logins...)
}

// requireFilterRefused demands that a filter is refused by every method that
// takes one.
func (d *desk) requireFilterRefused(t *testing.T, filter userkit.UserFilter, kind error, code userkit.Code, field string) {
	t.Helper()
	ctx := t.Context()
	_, err := d.Users(ctx, userkit.UserQuery{UserFilter: filter})
	requireField(t, err, kind, code, field)
	_, err = d.CountUsers(ctx, filter)
	requireField(t, err, kind, code, field)
	_, err = d.PreviewBulk(ctx, userkit.BulkRequest{Action: userkit.BulkActivate, Users: filter})
	requireField(t, err, kind, code, field)
	yielded := 0
	for _, err := range d.AllUsers(ctx, userkit.UserQuery{UserFilter: filter}) {
		yielded++
		requireField(t, err, kind, code, field)
	}
	require.Equal(t, 1, yielded)
}

// segments lists all segments by name.
func (d *desk) segments(t *testing.T) []userkit.Segment {
	t.Helper()
	return everyItem(t, userkit.PageQuery{Limit: 3}, func(page userkit.PageQuery) (userkit.Page[userkit.Segment], error) {
		return d.Segments(t.Context(), userkit.SegmentQuery{PageQuery: page})
	})
}

// requireUserSegments demands that a user is in the segments of these names, in
// this order.
func (d *desk) requireUserSegments(t *testing.T, user userkit.UserID, names ...string) {
	t.Helper()
	segments, err := d.UserSegments(t.Context(), user)
	require.NoError(t, err)
	got := []string{}
	for _, segment := range segments {
		got = append(got, segment.Name)
		stored, err := d.Segment(t.Context(), segment.ID)
		require.NoError(t, err)
		require.Equal(t, stored, segment)
	}
	require.Equal(t, append([]string{}, names...), got)
}

// segmentEvents lists the events of segments, the oldest first.
func (d *desk) segmentEvents(t *testing.T) []userkit.Event {
	t.Helper()
	events := everyItem(t, userkit.PageQuery{}, func(page userkit.PageQuery) (userkit.Page[userkit.Event], error) {
		return d.Events(t.Context(), userkit.EventQuery{PageQuery: page})
	})
	slices.Reverse(events)
	return slices.DeleteFunc(events, func(event userkit.Event) bool { return !strings.HasPrefix(string(event.Name), "segment.") })
}

// requireSegmentEvents demands the names of the events of segments.
func (d *desk) requireSegmentEvents(t *testing.T, names ...userkit.EventName) []userkit.Event {
	t.Helper()
	events := d.segmentEvents(t)
	require.Equal(t, names, eventNames(events))
	for _, event := range events {
		require.True(t, event.UserID.IsZero())
	}
	return events
}

func segmentGroups() []group {
	return []group{
		{"CreateSegment", createSegmentCases()},
		{"UpdateSegment", updateSegmentCases()},
		{"DeleteSegment", deleteSegmentCases()},
		{"Segments", segmentListCases()},
		{"Rules", ruleCases()},
		{"UserSegments", userSegmentCases()},
		{"AddToSegments", membershipCases()},
		{"FreezeSegment", freezeCases()},
		{"Filters", filterCases()},
		{"Segments under way", segmentRaceCases()},
	}
}

func createSegmentCases() []testCase {
	return []testCase{
		{"creates a list and a rule, and tells of both", func(t *testing.T, env env) {
			d := env.desk(t)
			ctx := userkit.WithActor(t.Context(), administrator)
			id := userkit.NewID[userkit.Segment]()
			list, err := d.CreateSegment(ctx, userkit.NewSegment{ID: id, Name: "Große Kunden"})
			require.NoError(t, err)
			require.Equal(t, userkit.Segment{ID: id, Name: "Große Kunden", CreatedAt: base, UpdatedAt: base, Revision: 1}, list)
			require.False(t, list.IsRule())
			rule, err := d.CreateSegment(ctx, userkit.NewSegment{Name: "Active", Rule: filterOf(`status eq "active"`)})
			require.NoError(t, err)
			require.False(t, rule.ID.IsZero())
			require.True(t, rule.IsRule())
			for _, want := range []userkit.Segment{list, rule} {
				got, err := d.Segment(t.Context(), want.ID)
				require.NoError(t, err)
				require.Equal(t, want, got)
			}
			require.Equal(t, []userkit.Segment{rule, list}, d.segments(t))
			for _, event := range d.requireSegmentEvents(t, userkit.EventSegmentCreated, userkit.EventSegmentCreated) {
				require.Equal(t, administrator, event.Actor)
				require.Equal(t, base, event.At)
				require.True(t, json.Valid(event.Data))
			}
			fed := 0
			for event, err := range d.Feed(t.Context(), "") {
				require.NoError(t, err)
				require.Equal(t, userkit.EventSegmentCreated, event.Name)
				fed++
			}
			require.LessOrEqual(t, fed, 2)
		}},
		{"refuses what is wrong and writes nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			taken := d.list(t, "Große Kunden")
			own := userkit.NewID[userkit.Segment]()
			for name, wrong := range map[string]struct {
				segment userkit.NewSegment
				kind    error
				code    userkit.Code
				field   string
			}{
				"no name":             {userkit.NewSegment{}, userkit.ErrInvalid, userkit.CodeRequired, "name"},
				"a long name":         {userkit.NewSegment{Name: strings.Repeat("é", userkit.MaxSegmentName+1)}, userkit.ErrInvalid, userkit.CodeTooLong, "name"},
				"a control character": {userkit.NewSegment{Name: "a\nb"}, userkit.ErrInvalid, userkit.CodeBadText, "name"},
				"nothing but accents": {userkit.NewSegment{Name: "\u0301"}, userkit.ErrInvalid, userkit.CodeBadFormat, "name"},
				"a taken name":        {userkit.NewSegment{Name: "GROSSE KUNDEN"}, userkit.ErrExists, userkit.CodeSegmentNameTaken, "name"},
				"a taken id":          {userkit.NewSegment{ID: taken.ID, Name: "new"}, userkit.ErrExists, userkit.CodeIDTaken, "id"},
				"an unknown field":    {userkit.NewSegment{Name: "new", Rule: userkit.Equal("shoe_size", 42)}, userkit.ErrInvalid, userkit.CodeUnknownField, "filter"},
				"a wrong value":       {userkit.NewSegment{Name: "new", Rule: userkit.Equal("devices", "many")}, userkit.ErrInvalid, userkit.CodeBadFormat, "filter"},
				"an unknown segment":  {userkit.NewSegment{Name: "new", Rule: userkit.Equal("segment", "nobody")}, userkit.ErrInvalid, userkit.CodeUnknownSegment, "filter"},
				"an unknown id":       {userkit.NewSegment{Name: "new", Rule: userkit.Not(userkit.InSegment(segmentID(1)))}, userkit.ErrInvalid, userkit.CodeUnknownSegment, "filter"},
				"itself":              {userkit.NewSegment{ID: own, Name: "new", Rule: userkit.AnyOf(userkit.Present("name"), userkit.InSegment(own))}, userkit.ErrInvalid, userkit.CodeSegmentCycle, "filter"},
			} {
				t.Run(name, func(t *testing.T) {
					_, err := d.CreateSegment(t.Context(), wrong.segment)
					requireField(t, err, wrong.kind, wrong.code, wrong.field)
				})
			}
			require.Equal(t, []userkit.Segment{taken}, d.segments(t))
			d.requireSegmentEvents(t, userkit.EventSegmentCreated)
		}},
	}
}

func updateSegmentCases() []testCase {
	return []testCase{
		{"renames a segment and sets another rule", func(t *testing.T, env env) {
			d := env.desk(t)
			d.people(t, "ada", "bob")
			segment, other := d.rule(t, "First", `login eq "ada"`), d.list(t, "Other")
			d.requireMembers(t, segment.ID, "ada")
			d.clock.Advance(time.Minute)
			renamed, err := d.UpdateSegment(t.Context(), segment.ID, userkit.SegmentPatch{Revision: 1, Name: userkit.Set("Second")})
			require.NoError(t, err)
			segment.Name, segment.Revision, segment.UpdatedAt = "Second", 2, base.Add(time.Minute)
			require.Equal(t, segment, renamed)
			d.requireMembers(t, segment.ID, "ada")
			ruled, err := d.UpdateSegment(t.Context(), segment.ID, userkit.SegmentPatch{Rule: userkit.Set(filterOf(`login eq "bob"`))})
			require.NoError(t, err)
			segment.Rule, segment.Revision = filterOf(`login eq "bob"`), 3
			require.Equal(t, segment, ruled)
			d.requireMembers(t, segment.ID, "bob")
			require.Equal(t, []userkit.Segment{other, segment}, d.segments(t))
			d.requireSegmentEvents(t, userkit.EventSegmentCreated, userkit.EventSegmentCreated, userkit.EventSegmentUpdated, userkit.EventSegmentUpdated)
		}},
		{"writes nothing when nothing changes", func(t *testing.T, env env) {
			d := env.desk(t)
			list := d.list(t, "List")
			rule := d.rule(t, "Rule", `segment eq "list"`)
			d.clock.Advance(time.Minute)
			for _, patch := range []userkit.SegmentPatch{
				{}, {Revision: 1}, {Name: userkit.Set("Rule")}, {Rule: userkit.Set(rule.Rule)}, {Rule: userkit.Set(filterOf(`segment eq "LIST"`))},
			} {
				same, err := d.UpdateSegment(t.Context(), rule.ID, patch)
				require.NoError(t, err)
				require.Equal(t, rule, same)
			}
			require.Equal(t, []userkit.Segment{list, rule}, d.segments(t))
			d.requireSegmentEvents(t, userkit.EventSegmentCreated, userkit.EventSegmentCreated)
		}},
		{"refuses what is wrong and writes nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			list, rule := d.list(t, "List"), d.rule(t, "Rule", `name pr`)
			name := func(name string) userkit.SegmentPatch { return userkit.SegmentPatch{Name: userkit.Set(name)} }
			as := func(filter userkit.Filter) userkit.SegmentPatch {
				return userkit.SegmentPatch{Rule: userkit.Set(filter)}
			}
			for _, wrong := range []struct {
				segment userkit.Segment
				patch   userkit.SegmentPatch
				kind    error
				code    userkit.Code
			}{
				{list, name(""), userkit.ErrInvalid, userkit.CodeRequired},
				{list, name("rule"), userkit.ErrExists, userkit.CodeSegmentNameTaken},
				{list, name(strings.Repeat("x", userkit.MaxSegmentName+1)), userkit.ErrInvalid, userkit.CodeTooLong},
				{list, as(rule.Rule), userkit.ErrInvalid, userkit.CodeSegmentIsList},
				{rule, as(userkit.Filter{}), userkit.ErrInvalid, userkit.CodeSegmentIsList},
				{rule, as(userkit.Equal("none", "x")), userkit.ErrInvalid, userkit.CodeUnknownField},
				{rule, as(userkit.Equal("segment", "none")), userkit.ErrInvalid, userkit.CodeUnknownSegment},
				{rule, as(userkit.InSegment(rule.ID)), userkit.ErrInvalid, userkit.CodeSegmentCycle},
				{rule, userkit.SegmentPatch{Revision: 2, Name: userkit.Set("New")}, userkit.ErrConflict, userkit.CodeRevisionMismatch},
				{newList(7), name("New"), userkit.ErrNotFound, userkit.CodeSegmentNotFound},
			} {
				_, err := d.UpdateSegment(t.Context(), wrong.segment.ID, wrong.patch)
				requireCode(t, err, wrong.kind, wrong.code)
			}
			require.Equal(t, []userkit.Segment{list, rule}, d.segments(t))
			d.requireSegmentEvents(t, userkit.EventSegmentCreated, userkit.EventSegmentCreated)
		}},
		{"refuses rules that lead back to themselves, directly or through others", func(t *testing.T, env env) {
			d := env.desk(t)
			d.people(t, "ada", "bob")
			list := d.list(t, "list")
			a := d.rule(t, "a", `login eq "ada"`)
			b := d.rule(t, "b", `segment eq "a" or segment eq "list"`)
			c := d.rule(t, "c", `not (segment eq "b")`)
			d.rule(t, "diamond", `segment eq "a" and segment eq "b" and not (segment eq "c")`)
			for _, rule := range []userkit.Filter{
				userkit.InSegment(a.ID), filterOf(`segment eq "A"`), userkit.InSegment(b.ID), filterOf(`name pr and not (segment eq "c")`),
				userkit.Not(userkit.InSegment(c.ID)), filterOf(`segment eq "diamond"`), filterOf(`segment ne "b"`),
			} {
				_, err := d.UpdateSegment(t.Context(), a.ID, userkit.SegmentPatch{Rule: userkit.Set(rule)})
				requireField(t, err, userkit.ErrInvalid, userkit.CodeSegmentCycle, "filter")
			}
			d.requireMembers(t, c.ID, "bob")
			_, err := d.UpdateSegment(t.Context(), a.ID, userkit.SegmentPatch{Rule: userkit.Set(filterOf(`segment eq "list"`))})
			require.NoError(t, err)
			d.requireMembers(t, c.ID, "ada", "bob")
			d.join(t, d.user(t, take(t, d.AllUsers(t.Context(), userkit.UserQuery{}), 1)[0].ID).ID, list)
			d.requireMembers(t, c.ID, "bob")
		}},
		{"refuses rules that lead back to themselves when they were stored at once", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada")
			a, b := newSegment(1), newSegment(2)
			a.Rule, b.Rule = filterOf(userkit.InSegment(b.ID).String()), filterOf(userkit.Not(userkit.InSegment(a.ID)).String())
			createSegments(t, env.store, a, b)
			for _, id := range []userkit.SegmentID{a.ID, b.ID} {
				d.requireFilterRefused(t, userkit.UserFilter{Segment: id}, userkit.ErrInvalid, userkit.CodeSegmentCycle, "filter")
				_, _, err := d.FreezeSegment(t.Context(), id)
				requireCode(t, err, userkit.ErrInvalid, userkit.CodeSegmentCycle)
			}
			d.requireUserSegments(t, users["ada"].ID)
			_, err := d.UpdateSegment(t.Context(), a.ID, userkit.SegmentPatch{Rule: userkit.Set(filterOf(`name pr`))})
			require.NoError(t, err)
			d.requireMembers(t, b.ID)
			d.requireUserSegments(t, users["ada"].ID, a.Name)
		}},
	}
}

func deleteSegmentCases() []testCase {
	return []testCase{
		{"deletes a list and leaves its members", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "bob")
			gone, stays := d.list(t, "gone", users["ada"], users["bob"]), d.list(t, "stays", users["bob"])
			before := d.picture(t, users["ada"].ID)
			require.NoError(t, d.DeleteSegment(t.Context(), gone.ID))
			require.Equal(t, []userkit.Segment{gone}, before.Segments)
			before.Segments = []userkit.Segment{}
			require.Equal(t, before, d.picture(t, users["ada"].ID))
			d.requireMembers(t, stays.ID, "bob")
			d.requireUserSegments(t, users["bob"].ID, "stays")
			require.Equal(t, []userkit.Segment{stays}, d.segments(t))
			_, err := d.Segment(t.Context(), gone.ID)
			requireCode(t, err, userkit.ErrNotFound, userkit.CodeSegmentNotFound)
			requireCode(t, d.DeleteSegment(t.Context(), gone.ID), userkit.ErrNotFound, userkit.CodeSegmentNotFound)
			d.requireFilterRefused(t, userkit.UserFilter{Segment: gone.ID}, userkit.ErrNotFound, userkit.CodeSegmentNotFound, "segment")
			d.requireSegmentEvents(t, userkit.EventSegmentCreated, userkit.EventSegmentCreated, userkit.EventSegmentDeleted)

			again := d.list(t, "GONE")
			d.requireMembers(t, again.ID)
		}},
		{"makes rules that name it refused wherever they are used", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "bob")
			gone := d.list(t, "gone", users["ada"])
			rule := d.rule(t, "rule", `segment eq "gone" or login eq "bob"`)
			second := d.rule(t, "second", `not (segment eq "rule")`)
			good := d.rule(t, "good", `name pr`)
			d.requireMembers(t, rule.ID, "ada", "bob")
			_, err := env.store.CommitSegment(t.Context(), userkit.SegmentChange{ID: gone.ID, Was: gone.Revision, Delete: true}) // past the rules
			require.NoError(t, err)
			for _, id := range []userkit.SegmentID{rule.ID, second.ID} {
				d.requireFilterRefused(t, userkit.UserFilter{Segment: id}, userkit.ErrInvalid, userkit.CodeUnknownSegment, "filter")
				d.requireFilterRefused(t, userkit.UserFilter{Filter: userkit.Not(userkit.InSegment(id))}, userkit.ErrInvalid, userkit.CodeUnknownSegment, "filter")
				_, _, err := d.FreezeSegment(t.Context(), id)
				requireCode(t, err, userkit.ErrInvalid, userkit.CodeUnknownSegment)
				_, err = d.CreateSegment(t.Context(), userkit.NewSegment{Name: "third", Rule: userkit.InSegment(id)})
				requireCode(t, err, userkit.ErrInvalid, userkit.CodeUnknownSegment)
			}
			d.requireUserSegments(t, users["bob"].ID, "good")
			d.requireMembers(t, good.ID, "ada", "bob")
			d.list(t, "gone", users["ada"]) // another segment of the same name
			d.requireFilterRefused(t, userkit.UserFilter{Segment: rule.ID}, userkit.ErrInvalid, userkit.CodeUnknownSegment, "filter")

			_, err = d.UpdateSegment(t.Context(), rule.ID, userkit.SegmentPatch{Name: userkit.Set("still renamed")})
			require.NoError(t, err)
			_, err = d.UpdateSegment(t.Context(), rule.ID, userkit.SegmentPatch{Rule: userkit.Set(filterOf(`login eq "bob"`))})
			require.NoError(t, err)
			d.requireMembers(t, rule.ID, "bob")
			d.requireMembers(t, second.ID, "ada")
		}},
		{"and an edit are refused while rules depend on it, which are named", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada")
			list := d.list(t, "list", users["ada"])
			first := d.rule(t, "first", `segment eq "list"`)
			second := d.rule(t, "second", `not (segment eq "first")`)
			refers := func(id userkit.SegmentID, search string) (names []string) {
				for _, rule := range everyItem(t, userkit.PageQuery{Limit: 1, Sort: "name", Descending: true}, func(page userkit.PageQuery) (userkit.Page[userkit.Segment], error) {
					return d.Segments(t.Context(), userkit.SegmentQuery{SegmentFilter: userkit.SegmentFilter{Search: search}, RefersTo: id, PageQuery: page})
				}) {
					names = append(names, rule.Name)
				}
				return names
			}
			d.rule(t, "third", `segment ne "list" or attributes.segment eq "`+first.ID.String()+`"`)
			require.Equal(t, []string{"third", "first"}, refers(list.ID, ""))
			require.Equal(t, []string{"first"}, refers(list.ID, "irst"))
			require.Equal(t, []string{"second"}, refers(first.ID, ""))
			require.Empty(t, refers(second.ID, ""))

			for id, names := range map[userkit.SegmentID][]string{list.ID: {`"first"`, `"third"`}, first.ID: {`"second"`}} {
				err := d.DeleteSegment(t.Context(), id)
				requireCode(t, err, userkit.ErrRefused, userkit.CodeSegmentInUse)
				for _, name := range names {
					require.ErrorContains(t, err, name)
				}
			}

			// A rule may be as large as a filter, and those that name it often enough may not.
			var parts []userkit.Filter
			for n := range userkit.MaxFilterComparisons {
				parts = append(parts, userkit.Equal("devices", n))
			}
			var often []userkit.Filter
			for range 20 {
				often = append(often, userkit.InSegment(first.ID))
			}
			many, err := d.CreateSegment(t.Context(), userkit.NewSegment{Name: "many", Rule: userkit.AnyOf(often...)})
			require.NoError(t, err)
			d.requireUserSegments(t, users["ada"].ID, "first", "list", "many")
			_, err = d.UpdateSegment(t.Context(), first.ID, userkit.SegmentPatch{Rule: userkit.Set(userkit.AnyOf(parts...))})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeSegmentInUse)
			require.ErrorContains(t, err, `"many"`)
			require.NotContains(t, err.Error(), "second")
			d.requireUserSegments(t, users["ada"].ID, "first", "list", "many")

			for _, id := range []userkit.SegmentID{many.ID, second.ID, first.ID} { // in an order that leaves none behind
				require.NoError(t, d.DeleteSegment(t.Context(), id))
			}
		}},
	}
}

func segmentListCases() []testCase {
	return []testCase{
		{"are listed by name, found by a part of it, and by kind", func(t *testing.T, env env) {
			d := env.desk(t)
			names := []string{"Äpfel", "apfelbaum", "Birne", "Жук", "zebra"}
			for n := range names {
				if n%2 == 0 {
					d.list(t, names[n])
				} else {
					d.rule(t, names[n], `name pr`)
				}
			}
			find := func(filter userkit.SegmentFilter) []string {
				found := []string{}
				for _, segment := range everyItem(t, userkit.PageQuery{Limit: 1}, func(page userkit.PageQuery) (userkit.Page[userkit.Segment], error) {
					return d.Segments(t.Context(), userkit.SegmentQuery{SegmentFilter: filter, PageQuery: page})
				}) {
					found = append(found, segment.Name)
				}
				return found
			}
			require.Equal(t, []string{"Äpfel", "apfelbaum", "Birne", "zebra", "Жук"}, find(userkit.SegmentFilter{}))
			require.Equal(t, []string{"Äpfel", "apfelbaum"}, find(userkit.SegmentFilter{Search: "APF"}))
			require.Equal(t, []string{"apfelbaum"}, find(userkit.SegmentFilter{Search: "pfelb", Kind: userkit.SegmentRule}))
			require.Equal(t, []string{}, find(userkit.SegmentFilter{Search: "pfelb", Kind: userkit.SegmentList}))
			require.Equal(t, []string{"apfelbaum", "Жук"}, find(userkit.SegmentFilter{Kind: userkit.SegmentRule}))
			require.Equal(t, []string{}, find(userkit.SegmentFilter{Search: "%"}))
		}},
		{"have cursors that belong to their query", func(t *testing.T, env env) {
			d := env.desk(t)
			for n := range 4 {
				d.list(t, fmt.Sprint("list ", n))
			}
			query := userkit.SegmentQuery{SegmentFilter: userkit.SegmentFilter{Search: "list"}, PageQuery: userkit.PageQuery{Limit: 2}}
			page, err := d.Segments(t.Context(), query)
			require.NoError(t, err)
			require.Len(t, page.Items, 2)
			query.Cursor = page.Next
			for _, change := range []func(query *userkit.SegmentQuery){
				func(query *userkit.SegmentQuery) { query.Search = "lis" },
				func(query *userkit.SegmentQuery) { query.Kind = userkit.SegmentList },
				func(query *userkit.SegmentQuery) { query.Sort = "created_at" },
				func(query *userkit.SegmentQuery) { query.Sort, query.Descending = "name", true },
			} {
				other := query
				change(&other)
				_, err := d.Segments(t.Context(), other)
				requireField(t, err, userkit.ErrInvalid, userkit.CodeCursorMismatch, "cursor")
			}
			query.Limit = 1
			next, err := d.Segments(t.Context(), query)
			require.NoError(t, err)
			require.Equal(t, "list 2", next.Items[0].Name)
		}},
		{"refuse a kind and a sort order that there is not", func(t *testing.T, env env) {
			d := env.desk(t)
			_, err := d.Segments(t.Context(), userkit.SegmentQuery{SegmentFilter: userkit.SegmentFilter{Kind: "mixed"}})
			requireField(t, err, userkit.ErrInvalid, userkit.CodeUnknownValue, "kind")
			_, err = d.Segments(t.Context(), userkit.SegmentQuery{PageQuery: userkit.PageQuery{Sort: "members"}})
			requireField(t, err, userkit.ErrInvalid, userkit.CodeUnknownField, "sort")
			_, err = d.Segments(t.Context(), userkit.SegmentQuery{SegmentFilter: userkit.SegmentFilter{Search: strings.Repeat("x", userkit.MaxLine+1)}})
			requireField(t, err, userkit.ErrInvalid, userkit.CodeTooLong, "search")
		}},
	}
}

func ruleCases() []testCase {
	return []testCase{
		{"have the users who meet them at the moment", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "bob", "cyd")
			rich := d.rule(t, "rich", `balance ge "1.00 EUR"`)
			late := d.rule(t, "late", `access eq "user_expired"`)
			d.requireMembers(t, rich.ID)
			d.refill(t, users["bob"].ID, 100, "key")
			d.requireMembers(t, rich.ID, "bob")
			_, err := d.UpdateUser(t.Context(), users["cyd"].ID, userkit.UserPatch{ExpiresAt: userkit.Set(base.Add(time.Hour))})
			require.NoError(t, err)
			d.requireMembers(t, late.ID)
			d.clock.Advance(time.Hour)
			d.requireMembers(t, late.ID, "cyd")
			d.requireUsers(t, userkit.UserFilter{Segment: late.ID, Moment: userkit.Moment{At: base}})
			_, err = d.DeactivateUser(t.Context(), users["bob"].ID)
			require.NoError(t, err)
			d.requireMembers(t, rich.ID, "bob")
			d.requireUsers(t, userkit.UserFilter{Segment: rich.ID, WithoutDisabled: true})
		}},
		{"may name lists and rules, by name and by id, and their opposites", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "bob", "cyd", "dan")
			list := d.list(t, "Große Liste", users["ada"], users["bob"])
			b := d.rule(t, "b", `login sw "b" or login sw "c"`)
			both := d.rule(t, "both", `segment eq "GROSSE LISTE" and segment eq "`+b.ID.String()+`"`)
			none := d.rule(t, "none", `not (segment eq "große liste" or segment eq "b")`)
			ne := d.rule(t, "ne", `segment ne "b" and segment ne "both"`)
			d.requireMembers(t, both.ID, "bob")
			d.requireMembers(t, none.ID, "dan")
			d.requireMembers(t, ne.ID, "ada", "dan")
			d.requireUsers(t, userkit.UserFilter{Segment: both.ID, Filter: filterOf(`not (segment eq "none")`), Search: "bob"}, "bob")
			d.requireUsers(t, userkit.UserFilter{Segment: list.ID, Filter: userkit.NotEqual("segment", both.ID)}, "ada")
			d.requireUsers(t, userkit.UserFilter{Filter: filterOf(`segment eq "Große Liste"`)}, "ada", "bob")

			// The rule holds ids, so names may change and change hands.
			require.NotContains(t, both.Rule.String(), "GROSSE")
			_, err := d.UpdateSegment(t.Context(), list.ID, userkit.SegmentPatch{Name: userkit.Set("renamed")})
			require.NoError(t, err)
			d.list(t, "Große Liste", users["dan"])
			d.requireMembers(t, both.ID, "bob")
			d.requireMembers(t, none.ID, "dan")
			d.requireUsers(t, userkit.UserFilter{Filter: filterOf(`segment eq "große liste"`)}, "dan")
		}},
		{"may name one another through many steps", func(t *testing.T, env env) {
			d := env.desk(t)
			d.people(t, "ada", "bob")
			last := d.rule(t, "0", `login eq "ada"`)
			for n := range 10 {
				last = d.rule(t, fmt.Sprint(n+1), userkit.Not(userkit.InSegment(last.ID)).String())
			}
			d.requireMembers(t, last.ID, "ada")
		}},
		{"have no members who are added or removed", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada")
			rule, list := d.rule(t, "rule", `login eq "nobody"`), d.list(t, "list")
			before := d.picture(t, users["ada"].ID)
			requireCode(t, d.AddToSegments(t.Context(), users["ada"].ID, list.ID, rule.ID), userkit.ErrInvalid, userkit.CodeSegmentIsRule)
			requireCode(t, d.RemoveFromSegment(t.Context(), users["ada"].ID, rule.ID), userkit.ErrInvalid, userkit.CodeSegmentIsRule)
			require.Equal(t, before, d.picture(t, users["ada"].ID))
		}},
	}
}

func userSegmentCases() []testCase {
	return []testCase{
		{"are the lists and rules of a user, by name", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "bob")
			d.requireUserSegments(t, users["ada"].ID)
			d.list(t, "zebra", users["ada"])
			d.list(t, "Äpfel", users["ada"], users["bob"])
			d.rule(t, "birne", `login eq "ADA"`)
			d.rule(t, "Others", `login ne "ada"`)
			d.rule(t, "Zebras", `segment eq "zebra"`)
			d.requireUserSegments(t, users["ada"].ID, "Äpfel", "birne", "zebra", "Zebras")
			d.requireUserSegments(t, users["bob"].ID, "Äpfel", "Others")
			_, err := d.UpdateUser(t.Context(), users["bob"].ID, userkit.UserPatch{Login: userkit.Set("robert")})
			require.NoError(t, err)
			_, err = d.UpdateUser(t.Context(), users["ada"].ID, userkit.UserPatch{Login: userkit.Set("grace")})
			require.NoError(t, err)
			d.requireUserSegments(t, users["ada"].ID, "Äpfel", "Others", "zebra", "Zebras")
			_, err = d.UserSegments(t.Context(), userID(9))
			requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
		}},
		{"go by the project's time zone", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithTimeZone(germany))
			d.clock.Set(time.Date(2026, time.January, 31, 22, 30, 0, 0, time.UTC))
			user := d.signUp(t, withLimit(100, userkit.ResetDaily, 0))
			d.use(t, user.ID, 60)
			rule := d.rule(t, "used", `traffic_used gt 0`)
			d.requireMembers(t, rule.ID, user.Login)
			d.requireUserSegments(t, user.ID, "used")
			d.clock.Advance(30 * time.Minute) // midnight there
			d.requireMembers(t, rule.ID)
			d.requireUserSegments(t, user.ID)
			d.requireUsers(t, userkit.UserFilter{Segment: rule.ID, Moment: userkit.Moment{At: d.clock.Now(), Zone: time.UTC}}, user.Login)
		}},
	}
}

// use lets a user receive bytes now.
func (d *desk) use(t *testing.T, user userkit.UserID, bytes int64) {
	t.Helper()
	session := d.connect(t, user, userkit.DeviceID{})
	d.report(t, session.ID, bytes, 0)
	_, err := d.EndSession(t.Context(), session.ID, userkit.UsageReport{})
	require.NoError(t, err)
}

func membershipCases() []testCase {
	return []testCase{
		{"adds a user to several lists and removes it from one, once each", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "bob")
			ada := users["ada"]
			a, b, c := d.list(t, "a"), d.list(t, "b"), d.list(t, "c", users["bob"])
			ctx := userkit.WithActor(t.Context(), administrator)
			beside := d.picture(t, users["bob"].ID)
			events := d.eventsDuring(t, ada.ID, func() {
				require.NoError(t, d.AddToSegments(ctx, ada.ID, a.ID, b.ID, a.ID))
				require.NoError(t, d.AddToSegments(ctx, ada.ID, b.ID, a.ID))
				require.NoError(t, d.AddToSegments(ctx, ada.ID, b.ID, c.ID))
			})
			require.Equal(t, []userkit.EventName{userkit.EventSegmentsAdded, userkit.EventSegmentsAdded}, eventNames(events))
			require.Equal(t, administrator, events[0].Actor)
			require.JSONEq(t, fmt.Sprintf(`{"segments":[%q,%q]}`, a.ID, b.ID), string(events[0].Data))
			require.JSONEq(t, fmt.Sprintf(`{"segments":[%q]}`, c.ID), string(events[1].Data))
			d.requireUserSegments(t, ada.ID, "a", "b", "c")
			d.requireMembers(t, c.ID, "ada", "bob")

			events = d.eventsDuring(t, ada.ID, func() {
				require.NoError(t, d.RemoveFromSegment(ctx, ada.ID, b.ID))
				require.NoError(t, d.RemoveFromSegment(ctx, ada.ID, b.ID))
			})
			require.Equal(t, []userkit.EventName{userkit.EventSegmentRemoved}, eventNames(events))
			require.Equal(t, administrator, events[0].Actor)
			d.requireUserSegments(t, ada.ID, "a", "c")
			require.Equal(t, beside, d.picture(t, users["bob"].ID))
			require.Equal(t, ada.Revision, d.user(t, ada.ID).Revision, "the profile is as it was")
			for _, segment := range d.segments(t) {
				require.EqualValues(t, 1, segment.Revision, "members do not change a segment")
			}
			d.requireSegmentEvents(t, userkit.EventSegmentCreated, userkit.EventSegmentCreated, userkit.EventSegmentCreated)
		}},
		{"refuses what is not there, whole", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada")
			list := d.list(t, "list")
			before := d.picture(t, users["ada"].ID)
			requireCode(t, d.AddToSegments(t.Context(), users["ada"].ID, list.ID, segmentID(7)), userkit.ErrNotFound, userkit.CodeSegmentNotFound)
			requireCode(t, d.RemoveFromSegment(t.Context(), users["ada"].ID, segmentID(7)), userkit.ErrNotFound, userkit.CodeSegmentNotFound)
			requireCode(t, d.AddToSegments(t.Context(), userID(7), list.ID), userkit.ErrNotFound, userkit.CodeUserNotFound)
			requireCode(t, d.RemoveFromSegment(t.Context(), userID(7), list.ID), userkit.ErrNotFound, userkit.CodeUserNotFound)
			require.Equal(t, before, d.picture(t, users["ada"].ID))
		}},
		{"takes as many lists as the bound says", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada")
			var lists []userkit.Segment
			for n := range userkit.MaxSegmentsPerCall + 1 {
				lists = append(lists, d.list(t, fmt.Sprint("list ", n)))
			}
			err := d.AddToSegments(t.Context(), users["ada"].ID, segmentIDs(lists)...)
			requireField(t, err, userkit.ErrInvalid, userkit.CodeTooLong, "segments")
			d.join(t, users["ada"].ID, lists[1:]...)
			segments, err := d.UserSegments(t.Context(), users["ada"].ID)
			require.NoError(t, err)
			require.Len(t, segments, userkit.MaxSegmentsPerCall)
		}},
		{"memberships go with their user, and are counted in the receipt", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "bob")
			a, b := d.list(t, "a", users["ada"], users["bob"]), d.list(t, "b", users["ada"])
			receipt, err := d.DeleteUser(t.Context(), users["ada"].ID, users["ada"].ID.String())
			require.NoError(t, err)
			require.Equal(t, 2, receipt.Rows[userkit.RowsMemberships])
			d.requireMembers(t, a.ID, "bob")
			d.requireMembers(t, b.ID)
			requireGone(t, env.store, dossier{user: users["ada"], segments: []userkit.SegmentID{a.ID, b.ID}}, eventsOf(t, env.store, users["ada"].ID)...)
		}},
	}
}

func freezeCases() []testCase {
	return []testCase{
		{"turns a rule into a list of those who meet it", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "adam", "bob", "cyd")
			list := d.list(t, "list", users["bob"])
			inner := d.rule(t, "inner", `login sw "ada"`)
			rule := d.rule(t, "rule", `segment eq "inner" or segment eq "list"`)
			outer := d.rule(t, "outer", `not (segment eq "rule")`)
			d.clock.Advance(time.Minute)
			frozen, count, err := d.FreezeSegment(userkit.WithActor(t.Context(), administrator), rule.ID)
			require.NoError(t, err)
			require.EqualValues(t, 3, count)
			rule.Rule, rule.Revision, rule.UpdatedAt = userkit.Filter{}, 2, base.Add(time.Minute)
			require.Equal(t, rule, frozen)
			require.Equal(t, []userkit.Segment{inner, list, outer, rule}, d.segments(t))
			d.requireMembers(t, rule.ID, "ada", "adam", "bob")
			d.requireMembers(t, outer.ID, "cyd")
			d.requireUserSegments(t, users["adam"].ID, "inner", "rule")
			events := d.requireSegmentEvents(t, userkit.EventSegmentCreated, userkit.EventSegmentCreated, userkit.EventSegmentCreated, userkit.EventSegmentCreated, userkit.EventSegmentFrozen)
			require.Equal(t, administrator, events[4].Actor)

			// From now on it is a list like any other.
			_, err = d.UpdateUser(t.Context(), users["ada"].ID, userkit.UserPatch{Login: userkit.Set("grace")})
			require.NoError(t, err)
			d.requireMembers(t, inner.ID, "adam")
			require.NoError(t, d.RemoveFromSegment(t.Context(), users["bob"].ID, rule.ID))
			d.join(t, users["cyd"].ID, frozen)
			d.requireMembers(t, rule.ID, "adam", "cyd", "grace")
			d.requireMembers(t, outer.ID, "bob")
			_, _, err = d.FreezeSegment(t.Context(), rule.ID)
			requireCode(t, err, userkit.ErrInvalid, userkit.CodeSegmentIsList)
			_, err = d.UpdateSegment(t.Context(), rule.ID, userkit.SegmentPatch{Rule: userkit.Set(inner.Rule)})
			requireCode(t, err, userkit.ErrInvalid, userkit.CodeSegmentIsList)
			_, _, err = d.FreezeSegment(t.Context(), segmentID(7))
			requireCode(t, err, userkit.ErrNotFound, userkit.CodeSegmentNotFound)
		}},
		{"goes by the moment and the project's time zone", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithTimeZone(germany))
			d.clock.Set(time.Date(2026, time.March, 29, 21, 30, 0, 0, time.UTC))
			user := d.signUp(t, withLimit(100, userkit.ResetDaily, 0))
			d.use(t, user.ID, 100)
			before, after := d.rule(t, "before", `access eq "traffic_limit"`), d.rule(t, "after", `access eq "traffic_limit"`)
			_, count, err := d.FreezeSegment(t.Context(), before.ID)
			require.NoError(t, err)
			require.EqualValues(t, 1, count)
			d.clock.Advance(30 * time.Minute) // midnight there
			_, count, err = d.FreezeSegment(t.Context(), after.ID)
			require.NoError(t, err)
			require.Zero(t, count)
			d.requireMembers(t, before.ID, user.Login)
			d.requireMembers(t, after.ID)
		}},
	}
}

func filterCases() []testCase {
	return []testCase{
		{"that are wrong are refused wherever they are used", func(t *testing.T, env env) {
			d := env.desk(t)
			d.people(t, "ada")
			for _, wrong := range []struct {
				filter userkit.UserFilter
				kind   error
				code   userkit.Code
				field  string
			}{
				{userkit.UserFilter{Filter: userkit.Equal("nothing", 1)}, userkit.ErrInvalid, userkit.CodeUnknownField, "filter"},
				{userkit.UserFilter{Filter: userkit.Equal("devices", 1.5)}, userkit.ErrInvalid, userkit.CodeBadFormat, "filter"},
				{userkit.UserFilter{Filter: userkit.Greater("name", "")}, userkit.ErrInvalid, userkit.CodeRequired, "filter"},
				{userkit.UserFilter{Filter: userkit.Contains("devices", "1")}, userkit.ErrInvalid, userkit.CodeUnknownValue, "filter"},
				{userkit.UserFilter{Filter: userkit.Equal("segment", "nobody")}, userkit.ErrInvalid, userkit.CodeUnknownSegment, "filter"},
				{userkit.UserFilter{Filter: userkit.InSegment(segmentID(7))}, userkit.ErrInvalid, userkit.CodeUnknownSegment, "filter"},
				{userkit.UserFilter{Segment: segmentID(7)}, userkit.ErrNotFound, userkit.CodeSegmentNotFound, "segment"},
				{userkit.UserFilter{Search: strings.Repeat("x", userkit.MaxLine+1)}, userkit.ErrInvalid, userkit.CodeTooLong, "search"},
				{userkit.UserFilter{Search: "a\x00"}, userkit.ErrInvalid, userkit.CodeBadText, "search"},
			} {
				d.requireFilterRefused(t, wrong.filter, wrong.kind, wrong.code, wrong.field)
			}
		}},
		{"that are typed mean what their texts mean", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "bob", "cyd")
			d.refill(t, users["bob"].ID, 1250, "key")
			d.register(t, users["cyd"].ID, userkit.NewDevice{})
			_, err := d.UpdateUser(t.Context(), users["ada"].ID, userkit.UserPatch{
				Country: userkit.Set("de"), ExpiresAt: userkit.Set(base.Add(time.Hour)), SetAttributes: userkit.Attributes{"plan": "Gold", "seats": 5},
			})
			require.NoError(t, err)
			type plan string
			for _, want := range []struct {
				filter userkit.Filter
				logins []string
			}{
				{userkit.Equal("status", userkit.StatusActive), []string{"ada", "bob", "cyd"}},
				{userkit.Equal("attributes.plan", plan("GOLD")), []string{"ada"}},
				{userkit.GreaterOrEqual("attributes.seats", 5), []string{"ada"}},
				{userkit.Equal("attributes.seats", 5.0), []string{"ada"}},
				{userkit.Equal("balance", euro(1250)), []string{"bob"}},
				{userkit.Greater("devices", 0), []string{"cyd"}},
				{userkit.Equal("country", "de"), []string{"ada"}},
				{userkit.LessOrEqual("expires_at", base.Add(time.Hour).In(germany)), []string{"ada"}},
				{userkit.Equal("id", users["bob"].ID), []string{"bob"}},
				{userkit.AllOf(userkit.NotEqual("login", "ADA"), userkit.Not(userkit.StartsWith("login", "b"))), []string{"cyd"}},
				{userkit.AnyOf(), nil},
				{userkit.AllOf(), []string{"ada", "bob", "cyd"}},
			} {
				d.requireUsers(t, userkit.UserFilter{Filter: want.filter}, want.logins...)
				d.requireUsers(t, userkit.UserFilter{Filter: filterOf(want.filter.String())}, want.logins...)
			}
		}},
		{"bind the cursors of their pages", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "adam", "adar", "adas", "adat")
			list := d.list(t, "list")
			for _, user := range users {
				d.join(t, user.ID, list)
			}
			query := userkit.UserQuery{
				UserFilter: userkit.UserFilter{Search: "ada", Filter: filterOf(`login pr`), Segment: list.ID}, PageQuery: userkit.PageQuery{Limit: 2},
			}
			page, err := d.Users(t.Context(), query)
			require.NoError(t, err)
			query.Cursor = page.Next
			for name, change := range map[string]func(query *userkit.UserQuery){
				"another filter":  func(query *userkit.UserQuery) { query.Filter = filterOf(`name pr`) },
				"no filter":       func(query *userkit.UserQuery) { query.Filter = userkit.Filter{} },
				"another search":  func(query *userkit.UserQuery) { query.Search = "adar" },
				"another segment": func(query *userkit.UserQuery) { query.Segment = d.list(t, "another").ID },
				"no segment":      func(query *userkit.UserQuery) { query.Segment = userkit.SegmentID{} },
				"only active":     func(query *userkit.UserQuery) { query.WithoutDisabled = true },
				"another order":   func(query *userkit.UserQuery) { query.Sort = "name" },
			} {
				other := query
				change(&other)
				_, err := d.Users(t.Context(), other)
				requireField(t, err, userkit.ErrInvalid, userkit.CodeCursorMismatch, "cursor")
				for _, err := range d.AllUsers(t.Context(), other) {
					requireCode(t, err, userkit.ErrInvalid, userkit.CodeCursorMismatch)
					break
				}
				_ = name
			}
			d.clock.Advance(time.Hour) // the moment goes on while a list is read
			query.Limit = 10
			next, err := d.Users(t.Context(), query)
			require.NoError(t, err)
			require.Len(t, next.Items, 3)
			require.Equal(t, "adar", next.Items[0].Login)
		}},
	}
}

// requireNoMembership demands that nothing is left of a user's memberships.
func requireNoMembership(t *testing.T, env env, user userkit.UserID, segment userkit.SegmentID) {
	t.Helper()
	requireMembers(t, env.store, segment, false, user)
	state := loadOne(t, env.store, userkit.Want{User: user, Segments: true, RowCounts: true})
	require.NotContains(t, state.Segments, segment)
	require.Equal(t, len(state.Segments), state.RowCounts[userkit.RowsMemberships])
}

func segmentRaceCases() []testCase {
	const rounds = 8
	return []testCase{
		{"AddToSegments against DeleteSegment leaves no membership, and hinders nothing else", func(t *testing.T, env env) {
			d, e := env.pair(t)
			for round := range rounds {
				user := d.signUp(t)
				list, stays := d.list(t, fmt.Sprint("gone ", round)), d.list(t, fmt.Sprint("stays ", round))
				answers := together(13, func(i int) (bool, error) {
					m := []*desk{d, e}[i%2]
					switch {
					case i == 4:
						return true, m.DeleteSegment(t.Context(), list.ID)
					case i%3 == 0:
						return insist(func() (bool, error) {
							_, err := m.Refill(t.Context(), user.ID, userkit.Entry{Amount: euro(1), Key: fmt.Sprint("key ", i)})
							return true, err
						})
					case i == 7:
						return insist(func() (bool, error) { return true, m.AddToSegments(t.Context(), user.ID, stays.ID) })
					}
					return insist(func() (bool, error) { return false, m.AddToSegments(t.Context(), user.ID, list.ID) })
				})
				for _, answer := range answers {
					if answer.err != nil {
						require.False(t, answer.value, "%v", answer.err)
						requireCode(t, answer.err, userkit.ErrNotFound, userkit.CodeSegmentNotFound)
					}
				}
				requireNoMembership(t, env, user.ID, list.ID)
				d.requireMembers(t, stays.ID, user.Login)
				require.EqualValues(t, 5, d.user(t, user.ID).Balance.Amount)
			}
		}},
		{"AddToSegments against DeleteUser leaves no membership", func(t *testing.T, env env) {
			d, e := env.pair(t)
			list := d.list(t, "list")
			for range rounds {
				user := d.signUp(t)
				for _, answer := range together(6, func(i int) (bool, error) {
					m := []*desk{d, e}[i%2]
					return insist(func() (bool, error) {
						if i == 2 {
							_, err := m.DeleteUser(t.Context(), user.ID, user.ID.String())
							return true, err
						}
						return false, m.AddToSegments(t.Context(), user.ID, list.ID)
					})
				}) {
					if answer.err != nil {
						require.False(t, answer.value, "%v", answer.err)
						requireCode(t, answer.err, userkit.ErrNotFound, userkit.CodeUserNotFound)
					}
				}
				requireNoMembership(t, env, user.ID, list.ID)
			}
			d.requireMembers(t, list.ID)
		}},
		{"AddToSegments of many callers are all kept", func(t *testing.T, env env) {
			d, e := env.pair(t)
			user := d.signUp(t)
			var lists []userkit.Segment
			for n := range 12 {
				lists = append(lists, d.list(t, fmt.Sprintf("list %02d", n)))
			}
			events := d.eventsDuring(t, user.ID, func() {
				for _, answer := range together(2*len(lists), func(i int) (bool, error) {
					m := []*desk{d, e}[i%2]
					return insist(func() (bool, error) {
						return true, m.AddToSegments(t.Context(), user.ID, lists[i/2].ID)
					})
				}) {
					require.NoError(t, answer.err)
				}
			})
			require.Len(t, events, len(lists), "each membership is told once")
			segments, err := d.UserSegments(t.Context(), user.ID)
			require.NoError(t, err)
			require.Equal(t, lists, segments)
		}},
		{"UpdateSegment of many callers loses no edit", func(t *testing.T, env env) {
			d, e := env.pair(t)
			rule := d.rule(t, "rule", `name pr`)
			answers := together(6, func(i int) (userkit.Segment, error) {
				m := []*desk{d, e}[i%2]
				return insist(func() (userkit.Segment, error) {
					return m.UpdateSegment(t.Context(), rule.ID, userkit.SegmentPatch{Name: userkit.Set(fmt.Sprint("by ", i))})
				})
			})
			values(t, answers)
			segment, err := d.Segment(t.Context(), rule.ID)
			require.NoError(t, err)
			require.EqualValues(t, 7, segment.Revision)
			require.Len(t, d.segmentEvents(t), 7)
		}},
	}
}
