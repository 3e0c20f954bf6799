package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func storeSegmentGroups() []group {
	return []group{
		{"Segments", []testCase{
			{"of an empty store are none", segmentsEmpty},
			{"sort by every field, both ways", segmentsOrder},
			{"page by every field, both ways", segmentsPages},
			{"are found by a part of the name in folded form, and by kind", segmentsFiltered},
			{"follow changes and deletions", segmentsAfterChange},
		}},
		{"FindSegments", []testCase{
			{"finds segments by ids and by folded names, each once", findSegments},
		}},
		{"CommitSegment", []testCase{
			{"creates a segment with every field", segmentCreates},
			{"sets every field and leaves other segments", segmentSets},
			{"refuses names that are taken in folded form", segmentNameTaken},
			{"refuses an id that is taken", segmentIDTaken},
			{"conflicts at another revision and after the deletion, and writes nothing", segmentConflicts},
			{"deletes a segment and its memberships, and counts them", segmentDeletes},
			{"makes members of the users who meet a filter, in one step, and counts them", segmentFreezes},
			{"writes its event, which is of no user", segmentEvents},
			{"lets one of many callers win", segmentRace},
			{"takes the caller's copies", segmentCopies},
			{"keeps rules and hostile names as they are", segmentValues},
		}},
		{"Memberships", []testCase{
			{"are made and deleted with a change, once", membershipsMade},
			{"are loaded when they are asked for", membershipsLoaded},
			{"stay through every other change", membershipsStay},
			{"in a segment that is not there fail alone", membershipsUnknown},
			{"go with their user", membershipsGone},
			{"are not made by a change that conflicts or is refused", membershipsRefused},
			{"of many users and of many segments are all kept", membershipsMany},
			{"race the deletion of their segment and leave nothing behind", membershipsRace},
		}},
	}
}

// segmentCreation is the change that creates a segment. Its event is the n-th.
func segmentCreation(segment userkit.Segment) userkit.SegmentChange {
	event := newSegmentEvent(0)
	event.ID = userkit.NewID[userkit.Event]()
	return userkit.SegmentChange{ID: segment.ID, Segment: segment, Event: event}
}

// segmentStep begins a change of a segment: it raises the revision of segment
// and gives the change with what the segment becomes by set.
func segmentStep(segment *userkit.Segment, set func(segment *userkit.Segment)) userkit.SegmentChange {
	change := segmentCreation(*segment)
	change.Was = segment.Revision
	segment.Revision++
	set(segment)
	change.Segment = *segment
	return change
}

// segmentDeletion is the change that deletes a segment.
func segmentDeletion(segment userkit.Segment) userkit.SegmentChange {
	change := segmentStep(&segment, func(*userkit.Segment) {})
	change.Segment, change.Delete = userkit.Segment{}, true
	return change
}

// commitSegment makes a change, which must succeed, and gives the number of
// memberships that it made or deleted.
func commitSegment(t *testing.T, store userkit.Store, change userkit.SegmentChange) int64 {
	t.Helper()
	count, err := store.CommitSegment(t.Context(), change)
	require.NoError(t, err)
	return count
}

// createSegments creates segments.
func createSegments(t *testing.T, store userkit.Store, segments ...userkit.Segment) {
	t.Helper()
	for _, segment := range segments {
		require.Zero(t, commitSegment(t, store, segmentCreation(segment)))
	}
}

// joined makes a user a member of lists.
func joined(user *userkit.User, segments ...userkit.SegmentID) userkit.Change {
	change := step(user)
	change.AddSegments = segments
	return change
}

// left deletes memberships of a user.
func left(user *userkit.User, segments ...userkit.SegmentID) userkit.Change {
	change := step(user)
	change.RemoveSegments = segments
	return change
}

// members lists the members of a list.
func members(t *testing.T, store userkit.Store, segment userkit.SegmentID) []userkit.UserID {
	t.Helper()
	ids, err := store.UserIDs(t.Context(), userkit.UserSelection{Segment: segment, Moment: userkit.Moment{At: base}}, userkit.UserID{}, whole)
	require.NoError(t, err)
	return append([]userkit.UserID{}, ids...)
}

// requireSegments demands that the store has exactly these segments, and that
// each is found by its id and by its name.
func requireSegments(t *testing.T, store userkit.Store, want ...userkit.Segment) {
	t.Helper()
	got, err := store.Segments(t.Context(), userkit.SegmentFilter{}, userkit.ListRange{Order: userkit.Order{Field: "id"}, Limit: whole})
	require.NoError(t, err)
	requireRecords(t, want, got, segmentRecordID)
	for _, segment := range want {
		for _, found := range [][]userkit.Segment{
			foundSegments(t, store, []userkit.SegmentID{segment.ID}), foundSegments(t, store, nil, userkit.SegmentNameKey(segment.Name)),
		} {
			require.Equal(t, []userkit.Segment{segment}, found)
		}
	}
}

// foundSegments finds segments and gives them in the order of ids.
func foundSegments(t *testing.T, store userkit.Store, ids []userkit.SegmentID, names ...string) []userkit.Segment {
	t.Helper()
	found, err := store.FindSegments(t.Context(), ids, names)
	require.NoError(t, err)
	return sortedByID(found, segmentRecordID)
}

// hardSegment makes a segment for lists: with fields that are hard to sort.
func hardSegment(n int) userkit.Segment {
	segment := newSegment(n)
	segment.Name = uniqueText(n)
	segment.CreatedAt, segment.UpdatedAt = at(n*7%5), at(n*3%4)
	if n%3 == 0 {
		segment.Rule = userkit.Filter{}
	}
	return segment
}

func segmentListing(t *testing.T, store userkit.Store, filter userkit.SegmentFilter, segments []userkit.Segment) listing[userkit.Segment] {
	return listing[userkit.Segment]{
		fields:  userkit.SegmentFields(),
		id:      segmentRecordID,
		records: segments,
		list: func(list userkit.ListRange) ([]userkit.Segment, error) {
			return store.Segments(t.Context(), filter, list)
		},
		equal: func(t *testing.T, want, got []userkit.Segment) {
			t.Helper()
			requireList(t, want, got, segmentRecordID)
		},
	}
}

// hardSegments creates segments that are hard to sort.
func hardSegments(t *testing.T, store userkit.Store) []userkit.Segment {
	t.Helper()
	segments := make([]userkit.Segment, 18)
	for _, n := range shuffled(len(segments)) {
		segments[n] = hardSegment(n)
		createSegments(t, store, segments[n])
	}
	return segments
}

func segmentsEmpty(t *testing.T, env env) {
	segmentListing(t, env.store, userkit.SegmentFilter{}, nil).requireOrder(t)
	segmentListing(t, env.store, userkit.SegmentFilter{Search: "a", Kind: userkit.SegmentRule}, nil).requireOrder(t)
	require.Empty(t, foundSegments(t, env.store, []userkit.SegmentID{segmentID(1)}, "name"))
	require.Empty(t, foundSegments(t, env.store, nil))
}

func segmentsOrder(t *testing.T, env env) {
	segmentListing(t, env.store, userkit.SegmentFilter{}, hardSegments(t, env.store)).requireOrder(t)
}

func segmentsPages(t *testing.T, env env) {
	segments := hardSegments(t, env.store)
	segmentListing(t, env.store, userkit.SegmentFilter{}, segments).requirePages(t)
	lists := slices.DeleteFunc(segments, userkit.Segment.IsRule)
	require.NotEmpty(t, lists)
	segmentListing(t, env.store, userkit.SegmentFilter{Kind: userkit.SegmentList}, lists).requirePages(t)
}

func segmentsFiltered(t *testing.T, env env) {
	names := []string{"Große Kunden", "grosse fische", "50% off", "500 off", "a_b", "axb", `c\d`, "Ёлка", "กี่", "it's", "日本語"}
	var all []userkit.Segment
	for n, name := range names {
		segment := hardSegment(n)
		segment.Name = name
		all = append(all, segment)
	}
	createSegments(t, env.store, all...)
	for search, want := range map[string][]string{
		"": names, "GROSSE": names[:2], "oße k": names[:1], "kunde": names[:1], "50%": {"50% off"}, "%": {"50% off"}, "_": {"a_b"}, `\`: {`c\d`}, "елка": {"Ёлка"},
		"л": {"Ёлка"}, "กี": {"กี่"}, "'": {"it's"}, "本": {"日本語"}, "off": {"50% off", "500 off"}, "nothing": nil,
	} {
		for _, kind := range []userkit.SegmentKind{"", userkit.SegmentList, userkit.SegmentRule} {
			wanted := slices.DeleteFunc(slices.Clone(all), func(segment userkit.Segment) bool {
				return !slices.Contains(want, segment.Name) || kind == userkit.SegmentList && segment.IsRule() || kind == userkit.SegmentRule && !segment.IsRule()
			})
			t.Logf("%q, %q", search, kind)
			segmentListing(t, env.store, userkit.SegmentFilter{Search: userkit.Fold(search), Kind: kind}, wanted).requireOrder(t)
		}
	}
}

func segmentsAfterChange(t *testing.T, env env) {
	segments := hardSegments(t, env.store)
	for n := range segments {
		commitSegment(t, env.store, segmentStep(&segments[n], func(segment *userkit.Segment) {
			segment.Name, segment.UpdatedAt = uniqueText(n+5)+" again", at(100+n%4)
		}))
	}
	segmentListing(t, env.store, userkit.SegmentFilter{}, segments).requireOrder(t)
	again := belonging(segments, func(segment userkit.Segment) bool { return strings.HasPrefix(userkit.Fold(segment.Name), "strasse") })
	require.NotEmpty(t, again)
	segmentListing(t, env.store, userkit.SegmentFilter{Search: "strasse"}, again).requireOrder(t)
	for n := range 9 {
		commitSegment(t, env.store, segmentDeletion(segments[n]))
	}
	segmentListing(t, env.store, userkit.SegmentFilter{}, segments[9:]).requireOrder(t)
	requireSegments(t, env.store, segments[9:]...)
}

func findSegments(t *testing.T, env env) {
	var segments []userkit.Segment
	for n := range 6 {
		segments = append(segments, newSegment(n))
	}
	segments[2].Name, segments[3].Name = "Große Kunden", "100%"
	createSegments(t, env.store, segments...)
	id := func(numbers ...int) (ids []userkit.SegmentID) {
		for _, n := range numbers {
			ids = append(ids, segmentID(n))
		}
		return ids
	}
	require.Equal(t, segments[1:3], foundSegments(t, env.store, id(2, 1, 2, 77)))
	require.Equal(t, segments[2:4], foundSegments(t, env.store, nil, "grosse kunden", "100%", "grosse kunden", "nobody"))
	require.Equal(t, segments[2:4], foundSegments(t, env.store, id(2), "grosse kunden", "100%"), "one that is found twice comes once")
	require.Equal(t, segments, foundSegments(t, env.store, id(0, 1, 5, 4), "grosse kunden", "100%"))
	require.Empty(t, foundSegments(t, env.store, id(77), "100_", "%", "1000", "grosse", ""))
	require.Empty(t, foundSegments(t, env.store, nil, segments[2].ID.String()))
}

func segmentCreates(t *testing.T, env env) {
	requireSegments(t, env.store)
	createSegments(t, env.store, newSegment(1))
	requireSegments(t, env.store, newSegment(1))
	createSegments(t, env.store, newList(2))
	requireSegments(t, env.store, newSegment(1), newList(2))
	require.Empty(t, members(t, env.store, segmentID(2)))
}

func segmentSets(t *testing.T, env env) {
	segment, list, other := newSegment(1), newList(2), newSegment(3)
	createSegments(t, env.store, segment, list, other)
	for _, set := range []func(segment *userkit.Segment){
		func(segment *userkit.Segment) { segment.Name = "renamed" },
		func(segment *userkit.Segment) { segment.Name = "RENÄMED" }, // the same in folded form
		func(segment *userkit.Segment) { segment.Rule = newSegment(9).Rule },
		func(segment *userkit.Segment) { segment.UpdatedAt = at(99) },
		func(segment *userkit.Segment) { segment.CreatedAt = at(-99) },
		func(segment *userkit.Segment) {
			*segment = userkit.Segment{ID: segment.ID, Name: "all", CreatedAt: at(1), UpdatedAt: at(2), Revision: segment.Revision}
		},
		func(segment *userkit.Segment) { segment.Rule = filterOf(`name pr`) },
	} {
		require.Zero(t, commitSegment(t, env.store, segmentStep(&segment, set)))
		requireSegments(t, env.store, segment, list, other)
	}
	require.Empty(t, foundSegments(t, env.store, nil, "renamed"))
	commitSegment(t, env.store, segmentStep(&list, func(list *userkit.Segment) { list.Name = "RENAMED" }))
	requireSegments(t, env.store, segment, list, other)
}

// requireRefused demands that a change of a segment fails and writes nothing.
func requireRefused(t *testing.T, store userkit.Store, change userkit.SegmentChange, check func(err error)) {
	t.Helper()
	list := userkit.ListRange{Order: userkit.Order{Field: "id"}, Limit: whole}
	before, err := store.Segments(t.Context(), userkit.SegmentFilter{}, list)
	require.NoError(t, err)
	events := len(eventsOf(t, store, userkit.UserID{}))
	_, err = store.CommitSegment(t.Context(), change)
	require.Error(t, err)
	check(err)
	requireSegments(t, store, before...)
	require.Len(t, eventsOf(t, store, userkit.UserID{}), events)
}

func segmentNameTaken(t *testing.T, env env) {
	first, second := newSegment(1), newList(2)
	first.Name = "Große Kunden"
	createSegments(t, env.store, first, second)
	taken := func(err error) { requireExists(t, err, userkit.CodeSegmentNameTaken, "name") }
	for n, name := range []string{"Große Kunden", "GROSSE KUNDEN", "große kunden", "grosse Kunden"} {
		third := newSegment(10 + n)
		third.Name = name
		requireRefused(t, env.store, segmentCreation(third), taken)
		attempt := second
		requireRefused(t, env.store, segmentStep(&attempt, func(segment *userkit.Segment) { segment.Name = name }), taken)
	}
	commitSegment(t, env.store, segmentDeletion(first))
	third := newSegment(3)
	third.Name = "grosse kunden"
	createSegments(t, env.store, third)
	lookalike := newSegment(4)
	lookalike.Name = "gro\u0301sse kunden"
	createSegments(t, env.store, lookalike)
	requireSegments(t, env.store, second, third, lookalike)
}

func segmentIDTaken(t *testing.T, env env) {
	first, again := newSegment(1), newList(2)
	createSegments(t, env.store, first)
	again.ID = first.ID
	requireRefused(t, env.store, segmentCreation(again), func(err error) { requireExists(t, err, userkit.CodeIDTaken, "id") })
}

func segmentConflicts(t *testing.T, env env) {
	user := newUser(1)
	create(t, env.store, user)
	segment, other := newSegment(1), newSegment(2)
	createSegments(t, env.store, segment, other)
	stale := segment
	commitSegment(t, env.store, segmentStep(&segment, func(segment *userkit.Segment) { segment.Name = "second" }))
	conflict := func(err error) { require.ErrorIs(t, err, userkit.ErrConflict) }
	rename := func(segment userkit.Segment) userkit.SegmentChange {
		change := segmentStep(&segment, func(segment *userkit.Segment) { segment.Name, segment.Rule = "late", userkit.Filter{} })
		change.Members = userkit.Set(userkit.UserSelection{Moment: userkit.Moment{At: base}})
		return change
	}
	ahead := segment
	ahead.Revision++
	for _, was := range []userkit.Segment{stale, ahead, newSegment(77)} {
		requireRefused(t, env.store, rename(was), conflict)
		requireRefused(t, env.store, segmentDeletion(was), conflict)
	}
	require.Empty(t, members(t, env.store, segment.ID))
	commitSegment(t, env.store, segmentDeletion(segment))
	requireRefused(t, env.store, rename(segment), conflict)
	requireRefused(t, env.store, segmentDeletion(segment), conflict)
	requireSegments(t, env.store, other)
}

func segmentDeletes(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	gone, stays := newList(1), newList(2)
	createSegments(t, env.store, gone, stays)
	d.segments = []userkit.SegmentID{gone.ID, stays.ID}
	other.segments = []userkit.SegmentID{gone.ID}
	createAll(t, env.store, d, other)
	require.EqualValues(t, 2, commitSegment(t, env.store, segmentDeletion(gone)))
	d.segments, other.segments = d.segments[1:], nil
	requireDossier(t, env.store, d)
	requireDossier(t, env.store, other)
	requireSegments(t, env.store, stays)
	require.Empty(t, members(t, env.store, gone.ID))
	createSegments(t, env.store, gone)
	require.Empty(t, members(t, env.store, gone.ID), "a segment of the same id begins without members")
	require.EqualValues(t, 1, commitSegment(t, env.store, segmentDeletion(stays)))
}

func segmentFreezes(t *testing.T, env env) {
	c := newAudience(t, env.store, textFigures(func(user *userkit.User, text string) { user.Name = text }, "ada", "bob", "cyd", "ADAM")...)
	ids := func(numbers ...int) []userkit.UserID {
		members := []userkit.UserID{}
		for _, n := range numbers {
			members = append(members, c.users[n].ID)
		}
		return members
	}
	moment := userkit.Moment{At: base}
	rule := newSegment(1)
	createSegments(t, env.store, rule, newList(2))
	change := segmentStep(&rule, func(segment *userkit.Segment) { segment.Rule = userkit.Filter{} })
	change.Members = userkit.Set(userkit.UserSelection{Filter: filterOf(`name sw "ada"`), Moment: moment})
	require.EqualValues(t, 2, commitSegment(t, env.store, change))
	require.Equal(t, ids(0, 3), members(t, env.store, rule.ID))
	require.Empty(t, members(t, env.store, segmentID(2)))
	requireSegments(t, env.store, rule, newList(2))

	// Who is a member stays one and is not counted.
	change = segmentStep(&rule, func(*userkit.Segment) {})
	change.Members = userkit.Set(userkit.UserSelection{Filter: filterOf(`name co "b" or name eq "ada"`), Moment: moment})
	require.EqualValues(t, 1, commitSegment(t, env.store, change))
	require.Equal(t, ids(0, 1, 3), members(t, env.store, rule.ID))
	require.Equal(t, []userkit.SegmentID{rule.ID}, loadOne(t, env.store, userkit.Want{User: c.users[1].ID, Segments: true}).Segments)

	// With all parts of a filter, and of members of other lists.
	third := segmentCreation(newList(3))
	third.Members = userkit.Set(userkit.UserSelection{Segment: rule.ID, Search: userkit.ParseSearch("ada"), Filter: filterOf(`name ne "ada"`), Moment: moment})
	require.EqualValues(t, 1, commitSegment(t, env.store, third))
	require.Equal(t, ids(3), members(t, env.store, segmentID(3)))
	fourth := segmentCreation(newList(4))
	fourth.Members = userkit.Set(userkit.UserSelection{
		Filter: filterOf(userkit.AllOf(userkit.Not(userkit.InSegment(rule.ID)), userkit.Greater("traffic_used", -1)).String()), Moment: moment,
	})
	require.EqualValues(t, 1, commitSegment(t, env.store, fourth))
	require.Equal(t, ids(2), members(t, env.store, segmentID(4)))
	all := segmentStep(&rule, func(*userkit.Segment) {})
	all.Members = userkit.Set(userkit.UserSelection{Moment: moment})
	require.EqualValues(t, 1, commitSegment(t, env.store, all))
	require.Equal(t, ids(0, 1, 2, 3), members(t, env.store, rule.ID))

	// The users' versions are as they were.
	commit(t, env.store, step(&c.users[0]), step(&c.users[1]))
}

func segmentEvents(t *testing.T, env env) {
	ctx, user := t.Context(), newDossier(1)
	createAll(t, env.store, user)
	segment := newList(1)
	var want []userkit.Event
	for n, change := range []userkit.SegmentChange{
		segmentCreation(segment),
		segmentStep(&segment, func(segment *userkit.Segment) { segment.Name = "renamed" }),
		segmentDeletion(segment),
	} {
		change.Event = newSegmentEvent(100 + n)
		change.Event.At = at(20_000 + n)
		commitSegment(t, env.store, change)
		want = append(want, change.Event)
	}
	all, err := env.store.Events(ctx, userkit.EventFilter{}, userkit.ListRange{Order: userkit.Order{Field: "at"}, Limit: whole})
	require.NoError(t, err)
	requireEvents(t, slices.Concat(user.events, want), all)
	named, err := env.store.Events(ctx, userkit.EventFilter{Name: userkit.EventSegmentUpdated, From: at(20_001)}, userkit.ListRange{Order: userkit.Order{Field: "at", Descending: true}, Limit: 1})
	require.NoError(t, err)
	requireEvents(t, want[2:], named)
	feed := withoutPositions(feedOf(t, env.store, userkit.FeedPosition{}, whole, len(user.events)+len(want)))
	requireEvents(t, slices.Concat(user.events, want), feed)
	requireEvents(t, user.events, eventsOf(t, env.store, user.user.ID))

	deletion := step(&user.user)
	deletion.Delete = true
	commit(t, env.store, deletion)
	feed = withoutPositions(feedOf(t, env.store, userkit.FeedPosition{}, whole, len(want)))
	requireEvents(t, want, feed)
}

func segmentRace(t *testing.T, env env) {
	handles := []userkit.Store{env.store, env.second(t)}
	const callers = 6
	attempt := func(change func(caller int) userkit.SegmentChange) (won int) {
		won = -1
		for caller, err := range race(callers, func(caller int) error {
			_, err := handles[caller%2].CommitSegment(t.Context(), change(caller))
			return err
		}) {
			if err == nil {
				require.Equal(t, -1, won, "one caller wins")
				won = caller
			}
		}
		require.NotEqual(t, -1, won, "one caller wins")
		return won
	}
	created := func(caller int) userkit.Segment {
		segment := newList(1 + caller)
		segment.Name = segmentID(1).String()
		return segment
	}
	segment := created(attempt(func(caller int) userkit.SegmentChange { return segmentCreation(created(caller)) }))
	requireSegments(t, env.store, segment)
	renamed := func(caller int) (userkit.Segment, userkit.SegmentChange) {
		segment := segment
		change := segmentStep(&segment, func(segment *userkit.Segment) { segment.Name = fmt.Sprint("by ", caller) })
		return segment, change
	}
	winner := attempt(func(caller int) userkit.SegmentChange { _, change := renamed(caller); return change })
	segment, _ = renamed(winner)
	requireSegments(t, env.store, segment)
	attempt(func(int) userkit.SegmentChange { return segmentDeletion(segment) })
	requireSegments(t, env.store)
	require.Len(t, eventsOf(t, env.store, userkit.UserID{}), 3)
}

func segmentCopies(t *testing.T, env env) {
	change := segmentCreation(newSegment(1))
	change.Event = newSegmentEvent(1)
	commitSegment(t, env.store, change)
	scribbleBytes(change.Event.Data)
	events := eventsOf(t, env.store, userkit.UserID{})
	requireEvents(t, []userkit.Event{newSegmentEvent(1)}, events)
	scribbleBytes(events[0].Data)
	requireEvents(t, []userkit.Event{newSegmentEvent(1)}, eventsOf(t, env.store, userkit.UserID{}))

	user := newUser(1)
	create(t, env.store, user)
	createSegments(t, env.store, newList(2))
	ids := []userkit.SegmentID{segmentID(2)}
	commit(t, env.store, joined(&user, ids...))
	ids[0] = segmentID(9)
	want := userkit.Want{User: user.ID, Segments: true}
	state := loadOne(t, env.store, want)
	state.Segments[0] = segmentID(9)
	requireSegmentIDs(t, []userkit.SegmentID{segmentID(2)}, loadOne(t, env.store, want).Segments)
	found := members(t, env.store, segmentID(2))
	found[0] = userID(9)
	require.Equal(t, []userkit.UserID{user.ID}, members(t, env.store, segmentID(2)))
}

func segmentValues(t *testing.T, env env) {
	rules := []string{
		`name eq "it's \"said\" \\ 100% _ $1 ?"`, `attributes.a.b.c eq null and not (status eq "active" or balance gt "-12.50 EUR")`,
		`expires_at lt "2026-03-14T15:09:26.535897Z" or expires_at eq null`, `valid_for gt "1h0m0.000000007s"`, `attributes.n ge 1e+300 or attributes.n lt -0.25`,
		`attributes.n eq 9007199254740993`, `description co "` + strings.Repeat("ß", 3000) + `"`, `segment eq "a name"`, `access eq "user_expired"`, `name eq "Ёж 🙂 กี่ 日本"`,
	}
	var want []userkit.Segment
	for n, rule := range rules {
		segment := newSegment(n)
		segment.Rule = filterOf(rule)
		segment.Name = pick([]string{"x'; DROP TABLE users; --", "%", "_", `\`, `"`, "🙂", "กี่", "$1", "?", strings.Repeat("🙂", userkit.MaxSegmentName)}, n, 1)
		want = append(want, segment)
	}
	createSegments(t, env.store, want...)
	requireSegments(t, env.store, want...)
}

func membershipsMade(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createSegments(t, env.store, newList(1), newList(2), newList(3))
	a, b, c := segmentID(1), segmentID(2), segmentID(3)
	other.segments = []userkit.SegmentID{a, c}
	createAll(t, env.store, d, other)
	check := func(change userkit.Change, want ...userkit.SegmentID) {
		t.Helper()
		commit(t, env.store, change)
		d.segments = want
		requireDossier(t, env.store, d)
		requireDossier(t, env.store, other)
	}
	check(joined(&d.user, a), a)
	check(joined(&d.user, a), a)
	check(joined(&d.user, b, a), a, b)
	check(left(&d.user, a), b)
	check(left(&d.user, a, c), b)
	both := joined(&d.user, c)
	both.RemoveSegments = []userkit.SegmentID{b}
	check(both, c)
	check(left(&d.user, c))
	check(joined(&d.user, a, b, c), a, b, c)
	require.Equal(t, []userkit.UserID{d.user.ID, other.user.ID}, members(t, env.store, a))
	require.Equal(t, []userkit.UserID{d.user.ID}, members(t, env.store, b))
}

func membershipsLoaded(t *testing.T, env env) {
	first, second, third := newDossier(1), newDossier(2), newDossier(3)
	createSegments(t, env.store, newList(1), newList(2))
	first.segments, second.segments = []userkit.SegmentID{segmentID(1), segmentID(2)}, []userkit.SegmentID{segmentID(2)}
	createAll(t, env.store, first, second, third)
	states := load(t, env.store, userkit.Want{User: third.user.ID, Segments: true}, userkit.Want{User: first.user.ID, Segments: true},
		userkit.Want{User: second.user.ID}, userkit.Want{User: userID(9), Segments: true}, second.everything())
	require.Empty(t, states[0].Segments)
	requireSegmentIDs(t, first.segments, states[1].Segments)
	require.Empty(t, states[2].Segments, "nobody asked for them")
	require.Equal(t, userkit.State{}, withoutEmpty(states[3]))
	requireSegmentIDs(t, second.segments, states[4].Segments)
}

func membershipsStay(t *testing.T, env env) {
	d := newDossier(1)
	createSegments(t, env.store, newList(1), newList(2))
	d.segments = []userkit.SegmentID{segmentID(1)}
	createAll(t, env.store, d)
	commit(t, env.store, step(&d.user))
	requireDossier(t, env.store, d)
	commit(t, env.store, edit(&d.user, func(user *userkit.User) {
		next := newUser(50)
		next.ID, next.Account = user.ID, user.Account
		*user = next
	}))
	requireDossier(t, env.store, d)
	change := step(&d.user)
	change.Devices.Delete = []userkit.DeviceID{d.devices[0].ID}
	change.Events = []userkit.Event{newEvent(d.user.ID, 90)}
	commit(t, env.store, change)
	d.devices, d.events = d.devices[1:], append(d.events, change.Events...)
	requireDossier(t, env.store, d)
	segment := newList(1)
	commitSegment(t, env.store, segmentStep(&segment, func(segment *userkit.Segment) { segment.Name = "renamed" }))
	commitSegment(t, env.store, segmentDeletion(newList(2)))
	requireDossier(t, env.store, d)
}

func membershipsUnknown(t *testing.T, env env) {
	good, bad, other := newDossier(1), newDossier(2), newDossier(3)
	createSegments(t, env.store, newList(1))
	createAll(t, env.store, good, bad, other)
	missing := func(err error) { requireCode(t, err, userkit.ErrNotFound, userkit.CodeSegmentNotFound) }
	attempt := bad.user
	change := edit(&attempt, func(user *userkit.User) { user.Name, user.Login = "lost", "lost" })
	change.AddSegments = []userkit.SegmentID{segmentID(1), segmentID(7)}
	change.Events = []userkit.Event{newEvent(bad.user.ID, 90)}
	fresh := newUser(4)
	creating := creation(fresh)
	creating.AddSegments = []userkit.SegmentID{segmentID(7)}
	errs := outcomes(t, env.store, joined(&good.user, segmentID(1)), change, creating, step(&other.user))
	require.NoError(t, errs[0])
	missing(errs[1])
	missing(errs[2])
	require.NoError(t, errs[3])
	good.segments = []userkit.SegmentID{segmentID(1)}
	for _, d := range []dossier{good, bad, other} {
		requireDossier(t, env.store, d)
	}
	requireGone(t, env.store, dossier{user: fresh})

	commitSegment(t, env.store, segmentDeletion(newList(1)))
	attempt = bad.user
	missing(outcome(t, env.store, joined(&attempt, segmentID(1))))
	good.segments = nil
	requireDossier(t, env.store, good)
	requireDossier(t, env.store, bad)
}

func membershipsGone(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createSegments(t, env.store, newList(1), newList(2))
	d.segments, other.segments = []userkit.SegmentID{segmentID(1), segmentID(2)}, []userkit.SegmentID{segmentID(2)}
	createAll(t, env.store, d, other)
	require.Equal(t, 2, loadOne(t, env.store, userkit.Want{User: d.user.ID, RowCounts: true}).RowCounts[userkit.RowsMemberships])
	deletion := step(&d.user)
	deletion.Delete = true
	deletion.AddSegments = []userkit.SegmentID{segmentID(1)} // not used by a deletion
	commit(t, env.store, deletion)
	requireGone(t, env.store, d)
	requireDossier(t, env.store, other)
	require.Empty(t, members(t, env.store, segmentID(1)))
	requireSegments(t, env.store, newList(1), newList(2))
	again := dossier{user: newUser(1)}
	createAll(t, env.store, again)
	requireDossier(t, env.store, again)
	require.Zero(t, commitSegment(t, env.store, segmentDeletion(newList(1))))
}

func membershipsRefused(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createSegments(t, env.store, newList(1), newList(2))
	d.segments = []userkit.SegmentID{segmentID(2)}
	createAll(t, env.store, d, other)
	stale := d.user
	commit(t, env.store, step(&d.user))
	late := joined(&stale, segmentID(1))
	late.RemoveSegments = []userkit.SegmentID{segmentID(2)}
	require.ErrorIs(t, outcome(t, env.store, late), userkit.ErrConflict)
	requireDossier(t, env.store, d)
	attempt := d.user
	taken := edit(&attempt, func(user *userkit.User) { user.Login = other.user.Login })
	taken.AddSegments, taken.RemoveSegments = []userkit.SegmentID{segmentID(1)}, []userkit.SegmentID{segmentID(2)}
	requireExists(t, outcome(t, env.store, taken), userkit.CodeLoginTaken, "login")
	requireDossier(t, env.store, d)
	nobody := newUser(9)
	require.ErrorIs(t, outcome(t, env.store, joined(&nobody, segmentID(1))), userkit.ErrConflict)
	require.Empty(t, members(t, env.store, segmentID(1)))
}

func membershipsMany(t *testing.T, env env) {
	const users, segments = 300, 20
	var lists []userkit.SegmentID
	for n := range segments {
		createSegments(t, env.store, newList(n))
		lists = append(lists, segmentID(n))
	}
	var changes []userkit.Change
	want := map[userkit.SegmentID][]userkit.UserID{}
	for n := range users {
		change := creation(newUser(n))
		for at, list := range lists {
			if n%(at+1) == 0 {
				change.AddSegments = append(change.AddSegments, list)
				want[list] = append(want[list], userID(n))
			}
		}
		changes = append(changes, change)
	}
	commit(t, env.store, changes...)
	for _, list := range lists {
		require.Equal(t, want[list], members(t, env.store, list))
	}
	requireSegmentIDs(t, lists, loadOne(t, env.store, userkit.Want{User: userID(0), Segments: true}).Segments)
	require.EqualValues(t, users, commitSegment(t, env.store, segmentDeletion(newList(0))))
}

// membershipsRace: whichever of both comes first, no user is in a segment that
// is gone.
func membershipsRace(t *testing.T, env env) {
	other := env.second(t)
	const rounds, joiners = 15, 4
	for round := range rounds {
		list := newList(round)
		createSegments(t, env.store, list)
		var users []userkit.User
		for n := range joiners {
			users = append(users, newUser(round*joiners+n))
		}
		create(t, env.store, users...)
		var outcomes [joiners]error
		for _, err := range race(joiners+1, func(caller int) error {
			if caller == joiners {
				_, err := other.CommitSegment(context.WithoutCancel(t.Context()), segmentDeletion(list))
				return err
			}
			errs, err := env.store.Commit(t.Context(), []userkit.Change{joined(&users[caller], list.ID)})
			if err == nil {
				outcomes[caller] = errs[0]
			}
			return err
		}) {
			require.NoError(t, err)
		}
		require.Empty(t, members(t, env.store, list.ID))
		for n, err := range outcomes {
			if err != nil {
				requireCode(t, err, userkit.ErrNotFound, userkit.CodeSegmentNotFound)
			}
			state := loadOne(t, env.store, userkit.Want{User: users[n].ID, Segments: true, RowCounts: true})
			require.Empty(t, state.Segments)
			require.Zero(t, state.RowCounts[userkit.RowsMemberships])
		}
	}
}
