package storetest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// preview previews a bulk action that is right.
func (d *desk) preview(t *testing.T, request userkit.BulkRequest) userkit.BulkPreview {
	t.Helper()
	preview, err := d.PreviewBulk(t.Context(), request)
	require.NoError(t, err)
	return preview
}

// execute previews and executes a bulk action.
func (d *desk) execute(t *testing.T, request userkit.BulkRequest) userkit.BulkResult {
	t.Helper()
	result, err := d.ExecuteBulk(t.Context(), request, d.preview(t, request).Token, nil)
	require.NoError(t, err)
	return result
}

// masses signs up many users at once and gives their ids in order. The n-th has
// the login mass-n.
func (d *desk) masses(t *testing.T, count int) []userkit.UserID {
	t.Helper()
	var ids []userkit.UserID
	for first := 0; first < count; first += userkit.MaxImport {
		var records []userkit.UserImport
		for n := first; n < min(first+userkit.MaxImport, count); n++ {
			login := fmt.Sprintf("mass-%05d", n)
			record := userkit.UserImport{Key: userkit.ByLogin(login)}
			record.Draft.Create.Status = userkit.StatusActive
			records = append(records, record)
		}
		outcomes, err := d.ImportUsers(t.Context(), userkit.ImportOptions{}, records)
		require.NoError(t, err)
		for _, outcome := range outcomes {
			require.NoError(t, outcome.Err)
			ids = append(ids, outcome.UserID)
		}
	}
	return ids
}

// everyMass takes the users of masses.
func everyMass() userkit.UserFilter {
	return userkit.UserFilter{Filter: userkit.StartsWith("login", "mass-")}
}

// cutStore is a store whose connection is cut in its second commit and stays so:
// of the changes of that commit, a part is made.
type cutStore struct {
	userkit.Store
	part    int // of two
	commits atomic.Int64
}

func (c *cutStore) Commit(ctx context.Context, changes []userkit.Change) ([]error, error) {
	switch c.commits.Add(1) {
	case 1:
		return c.Store.Commit(ctx, changes)
	case 2:
		if _, err := c.Store.Commit(ctx, changes[:c.part*len(changes)/2]); err != nil {
			return nil, err
		}
	}
	return nil, errCut()
}

// eventCounts counts the events of a name by user.
func (d *desk) eventCounts(t *testing.T, name userkit.EventName) map[userkit.UserID]int {
	t.Helper()
	counts := map[userkit.UserID]int{}
	for _, event := range everyItem(t, userkit.PageQuery{Limit: userkit.MaxPageLimit}, func(page userkit.PageQuery) (userkit.Page[userkit.Event], error) {
		return d.Events(t.Context(), userkit.EventQuery{EventFilter: userkit.EventFilter{Name: name}, PageQuery: page})
	}) {
		counts[event.UserID]++
	}
	return counts
}

func bulkGroups() []group {
	return []group{
		{"PreviewBulk", previewCases()},
		{"ExecuteBulk", executeCases()},
		{"ExecuteBulk resumed", resumeCases()},
	}
}

func previewCases() []testCase {
	return []testCase{
		{"counts the users and changes nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "bob")
			before := d.picture(t, users["ada"].ID)
			request := userkit.BulkRequest{Action: userkit.BulkDelete}
			require.EqualValues(t, 2, d.preview(t, request).Users)
			request.Users.Search = "ada"
			preview := d.preview(t, request)
			require.EqualValues(t, 1, preview.Users)
			require.NotEmpty(t, preview.Token)
			request.Users.Search = "nobody"
			require.Zero(t, d.preview(t, request).Users)
			require.Equal(t, before, d.picture(t, users["ada"].ID))
		}},
		{"refuses requests that are wrong, as does the execution", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada")
			list, rule := d.list(t, "list"), d.rule(t, "rule", `name pr`)
			token := d.preview(t, userkit.BulkRequest{Action: userkit.BulkActivate}).Token
			before := d.picture(t, users["ada"].ID)
			many := make([]userkit.SegmentID, userkit.MaxSegmentsPerCall+1)
			for _, wrong := range []struct {
				request userkit.BulkRequest
				kind    error
				code    userkit.Code
				field   string
			}{
				{userkit.BulkRequest{}, userkit.ErrInvalid, userkit.CodeUnknownValue, "action"},
				{userkit.BulkRequest{Action: "explode"}, userkit.ErrInvalid, userkit.CodeUnknownValue, "action"},
				{userkit.BulkRequest{Action: userkit.BulkAddToSegments}, userkit.ErrInvalid, userkit.CodeRequired, "segments"},
				{userkit.BulkRequest{Action: userkit.BulkRemoveFromSegment}, userkit.ErrInvalid, userkit.CodeRequired, "segments"},
				{userkit.BulkRequest{Action: userkit.BulkDelete, Segments: []userkit.SegmentID{list.ID}}, userkit.ErrInvalid, userkit.CodeUnknownField, "segments"},
				{userkit.BulkRequest{Action: userkit.BulkAddToSegments, Segments: []userkit.SegmentID{list.ID, rule.ID}}, userkit.ErrInvalid, userkit.CodeSegmentIsRule, "segments"},
				{userkit.BulkRequest{Action: userkit.BulkRemoveFromSegment, Segments: []userkit.SegmentID{rule.ID}}, userkit.ErrInvalid, userkit.CodeSegmentIsRule, "segments"},
				{userkit.BulkRequest{Action: userkit.BulkAddToSegments, Segments: []userkit.SegmentID{segmentID(7)}}, userkit.ErrNotFound, userkit.CodeSegmentNotFound, "segments"},
				{userkit.BulkRequest{Action: userkit.BulkAddToSegments, Segments: many}, userkit.ErrInvalid, userkit.CodeTooLong, "segments"},
				{userkit.BulkRequest{Action: userkit.BulkSendMessage}, userkit.ErrInvalid, userkit.CodeRequired, "body"},
				{userkit.BulkRequest{Action: userkit.BulkSendMessage, Message: userkit.NewMessage{Body: "x", ExpiresAt: base}}, userkit.ErrInvalid, userkit.CodeOutOfRange, "expires_at"},
				{userkit.BulkRequest{Action: userkit.BulkSendMessage, Message: userkit.NewMessage{Body: "x", Key: "bulk:1"}}, userkit.ErrInvalid, userkit.CodeBadFormat, "key"},
				{userkit.BulkRequest{Action: userkit.BulkSendMessage, Message: userkit.NewMessage{Body: "x", Mail: userkit.MailOrigin{MessageID: "1"}}}, userkit.ErrInvalid, userkit.CodeUnknownField, "mail"},
				{userkit.BulkRequest{Action: userkit.BulkSendMessage, Message: userkit.NewMessage{Body: "x"}, Segments: []userkit.SegmentID{list.ID}}, userkit.ErrInvalid, userkit.CodeUnknownField, "segments"},
				{userkit.BulkRequest{Action: userkit.BulkDelete, Message: userkit.NewMessage{Data: map[string]string{"a": "b"}}}, userkit.ErrInvalid, userkit.CodeUnknownField, "message"},
				{userkit.BulkRequest{Action: userkit.BulkActivate, Days: 3}, userkit.ErrInvalid, userkit.CodeUnknownField, "days"},
				{userkit.BulkRequest{Action: userkit.BulkAddDays}, userkit.ErrInvalid, userkit.CodeRequired, "days"},
				{userkit.BulkRequest{Action: userkit.BulkAddDays, Days: -3}, userkit.ErrInvalid, userkit.CodeOutOfRange, "days"},
				{userkit.BulkRequest{Action: userkit.BulkAddDays, Days: userkit.MaxBulkDays + 1}, userkit.ErrInvalid, userkit.CodeOutOfRange, "days"},
				{userkit.BulkRequest{Action: userkit.BulkSetLicense}, userkit.ErrInvalid, userkit.CodeRequired, "license"},
				{userkit.BulkRequest{Action: userkit.BulkSetLicense, License: userkit.Set("gold")}, userkit.ErrInvalid, userkit.CodeUnknownLicense, "license"},
				{userkit.BulkRequest{Action: userkit.BulkSetTrafficLimit}, userkit.ErrInvalid, userkit.CodeRequired, "traffic_limit"},
				{userkit.BulkRequest{Action: userkit.BulkSetTrafficLimit, TrafficLimit: userkit.Set(userkit.TrafficLimit{Bytes: -1})}, userkit.ErrInvalid, userkit.CodeOutOfRange, "traffic_limit.bytes"},
				{userkit.BulkRequest{Action: userkit.BulkActivate, Users: userkit.UserFilter{Filter: userkit.Equal("none", 1)}}, userkit.ErrInvalid, userkit.CodeUnknownField, "filter"},
			} {
				_, err := d.PreviewBulk(t.Context(), wrong.request)
				requireField(t, err, wrong.kind, wrong.code, wrong.field)
				_, err = d.ExecuteBulk(t.Context(), wrong.request, token, nil)
				require.ErrorIs(t, err, wrong.kind, "%+v", wrong.request)
			}
			require.Equal(t, before, d.picture(t, users["ada"].ID))
		}},
	}
}

func executeCases() []testCase {
	return []testCase{
		{"adds days to what is left, to now, and to what has not begun", func(t *testing.T, env env) {
			zone, err := time.LoadLocation("Europe/Berlin")
			require.NoError(t, err)
			d := env.desk(t, userkit.WithTimeZone(zone))
			users := d.people(t, "left", "over", "waits", "ever")
			set := func(name string, patch userkit.UserPatch) {
				_, err := d.UpdateUser(t.Context(), users[name].ID, patch)
				require.NoError(t, err)
			}
			summer := time.Date(base.Year(), 3, 20, 12, 0, 0, 0, zone)
			set("left", userkit.UserPatch{ExpiresAt: userkit.Set(summer)})
			set("over", userkit.UserPatch{ExpiresAt: userkit.Set(base.Add(-time.Hour))})
			set("waits", userkit.UserPatch{ValidFor: userkit.Set(userkit.Duration(time.Hour))})
			result := d.execute(t, userkit.BulkRequest{Action: userkit.BulkAddDays, Days: 30})
			require.Equal(t, userkit.BulkResult{Changed: 3, Unchanged: 1}, result)
			require.True(t, summer.AddDate(0, 0, 30).Equal(d.user(t, users["left"].ID).ExpiresAt), "noon stays noon")
			require.True(t, base.In(zone).AddDate(0, 0, 30).Equal(d.user(t, users["over"].ID).ExpiresAt))
			require.Equal(t, userkit.Duration(721*time.Hour), d.user(t, users["waits"].ID).ValidFor)
			require.True(t, d.user(t, users["ever"].ID).ExpiresAt.IsZero())
		}},
		{"sets licenses and limits, and lets use count from zero, as the single calls do", func(t *testing.T, env env) {
			d := env.desk(t, patient, userkit.WithLicenses(userkit.License{Name: "gold", Devices: 2}))
			users := d.people(t, "ada", "bob")
			session := d.connect(t, users["ada"].ID, userkit.DeviceID{})
			d.clock.Advance(time.Minute)
			d.report(t, session.ID, 700, 0)
			require.Equal(t, userkit.BulkResult{Changed: 2}, d.execute(t, userkit.BulkRequest{Action: userkit.BulkSetLicense, License: userkit.Set("gold")}))
			require.Equal(t, userkit.BulkResult{Unchanged: 2}, d.execute(t, userkit.BulkRequest{Action: userkit.BulkSetLicense, License: userkit.Set("gold")}))
			require.Equal(t, "gold", d.user(t, users["bob"].ID).License)
			reset := userkit.BulkRequest{Action: userkit.BulkResetUsage}
			token := d.preview(t, reset).Token
			resetting := func() userkit.BulkResult {
				result, err := d.ExecuteBulk(t.Context(), reset, token, nil)
				require.NoError(t, err)
				return result
			}
			require.Equal(t, userkit.BulkResult{Changed: 1, Unchanged: 1}, resetting())
			require.Zero(t, d.user(t, users["ada"].ID).Traffic.Used)
			d.report(t, session.ID, 1000, 0)
			require.Equal(t, userkit.BulkResult{Unchanged: 2}, resetting(), "once with one preview")
			limit := userkit.TrafficLimit{Bytes: 300, Reset: userkit.ResetMonthly}
			require.Equal(t, userkit.BulkResult{Changed: 2}, d.execute(t, userkit.BulkRequest{Action: userkit.BulkSetTrafficLimit, TrafficLimit: userkit.Set(limit)}))
			limit.AnchorDay = 1
			ada := d.user(t, users["ada"].ID)
			require.Equal(t, []any{limit, int64(300)}, []any{ada.Traffic.Limit, ada.Traffic.Used})
			require.Equal(t, userkit.EndedTrafficLimit, d.session(t, session.ID).EndReason)
			require.Equal(t, userkit.BulkResult{Unchanged: 2}, d.execute(t, userkit.BulkRequest{Action: userkit.BulkSetTrafficLimit, TrafficLimit: userkit.Set(limit)}))
		}},
		{"does to each user what the single call does, with its event", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "adam", "bob")
			session := d.connect(t, users["ada"].ID, userkit.DeviceID{})
			_, err := d.DeactivateUser(t.Context(), users["adam"].ID)
			require.NoError(t, err)
			list, other := d.list(t, "list", users["adam"]), d.list(t, "other")
			beside := d.picture(t, users["bob"].ID)
			d.clock.Advance(time.Hour)
			execute := func(request userkit.BulkRequest) userkit.BulkResult {
				t.Helper()
				request.Users = userkit.UserFilter{Filter: filterOf(`login sw "ada"`)} // a search for hexadecimal digits finds ids too
				var steps []userkit.BulkProgress
				result, err := d.ExecuteBulk(userkit.WithActor(t.Context(), administrator), request, d.preview(t, request).Token, func(progress userkit.BulkProgress) error {
					steps = append(steps, progress)
					return nil
				})
				require.NoError(t, err)
				require.Len(t, steps, 2)
				require.EqualValues(t, 2, steps[0].Users)
				require.Zero(t, steps[0].Done)
				require.EqualValues(t, 2, steps[1].Done)
				require.Equal(t, beside, d.picture(t, users["bob"].ID))
				return result
			}
			events := func(request userkit.BulkRequest, want userkit.BulkResult, ada, adam []userkit.EventName) {
				t.Helper()
				var adams []userkit.Event
				adas := d.eventsDuring(t, users["ada"].ID, func() {
					adams = d.eventsDuring(t, users["adam"].ID, func() { require.Equal(t, want, execute(request)) })
				})
				require.Equal(t, ada, eventNames(adas))
				require.Equal(t, adam, eventNames(adams))
				for _, event := range append(adas, adams...) {
					require.Equal(t, administrator, event.Actor)
					require.Equal(t, base.Add(time.Hour), event.At)
				}
			}
			none := []userkit.EventName{}
			events(userkit.BulkRequest{Action: userkit.BulkDeactivate}, userkit.BulkResult{Changed: 1, Unchanged: 1}, []userkit.EventName{userkit.EventUserDeactivated}, none)
			require.Equal(t, userkit.EndedUserDisabled, d.session(t, session.ID).EndReason)
			require.Equal(t, userkit.StatusDisabled, d.user(t, users["ada"].ID).Status)
			events(userkit.BulkRequest{Action: userkit.BulkActivate}, userkit.BulkResult{Changed: 2}, []userkit.EventName{userkit.EventUserActivated}, []userkit.EventName{userkit.EventUserActivated})
			events(userkit.BulkRequest{Action: userkit.BulkAddToSegments, Segments: []userkit.SegmentID{list.ID}}, userkit.BulkResult{Changed: 1, Unchanged: 1},
				[]userkit.EventName{userkit.EventSegmentsAdded}, none)
			events(userkit.BulkRequest{Action: userkit.BulkAddToSegments, Segments: []userkit.SegmentID{other.ID, list.ID}}, userkit.BulkResult{Changed: 2},
				[]userkit.EventName{userkit.EventSegmentsAdded}, []userkit.EventName{userkit.EventSegmentsAdded})
			events(userkit.BulkRequest{Action: userkit.BulkRemoveFromSegment, Segments: []userkit.SegmentID{list.ID}}, userkit.BulkResult{Changed: 2},
				[]userkit.EventName{userkit.EventSegmentRemoved}, []userkit.EventName{userkit.EventSegmentRemoved})
			d.requireMembers(t, list.ID)
			d.requireMembers(t, other.ID, "ada", "adam")

			require.Equal(t, userkit.BulkResult{Changed: 2}, execute(userkit.BulkRequest{Action: userkit.BulkDelete}))
			d.requireUsers(t, userkit.UserFilter{}, "bob")
			d.requireMembers(t, other.ID)
		}},
		{"deletes every record of each user", func(t *testing.T, env env) {
			d := env.desk(t)
			list := d.list(t, "list")
			var gone []dossier
			for range 3 {
				user := d.household(t)
				d.join(t, user.ID, list)
				p := d.picture(t, user.ID)
				gone = append(gone, dossier{user: user, sessions: p.Sessions, segments: []userkit.SegmentID{list.ID}})
			}
			stays := d.household(t)
			before := d.picture(t, stays.ID)
			request := userkit.BulkRequest{Action: userkit.BulkDelete, Users: userkit.UserFilter{Segment: list.ID}}
			require.Equal(t, userkit.BulkResult{Changed: 3}, d.execute(t, request))
			for _, gone := range gone {
				left := eventsOf(t, env.store, gone.user.ID)
				require.Equal(t, []userkit.EventName{userkit.EventUserDeleted}, eventNames(left))
				requireGone(t, env.store, gone, left...)
				require.Zero(t, loadOne(t, env.store, userkit.Want{User: gone.user.ID, RowCounts: true}).RowCounts[userkit.RowsMemberships])
			}
			require.Equal(t, before, d.picture(t, stays.ID))
			require.Zero(t, d.preview(t, request).Users)
		}},
		{"is refused when other users meet the filter, and changes nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "bob")
			request := userkit.BulkRequest{Action: userkit.BulkDeactivate, Users: userkit.UserFilter{Filter: userkit.NotEqual("name", "other")}}
			rename := func(name, to string) {
				_, err := d.UpdateUser(t.Context(), users[name].ID, userkit.UserPatch{Name: userkit.Set(to)})
				require.NoError(t, err)
			}
			token := d.preview(t, request).Token
			refused := func() {
				t.Helper()
				_, err := d.ExecuteBulk(t.Context(), request, token, func(userkit.BulkProgress) error {
					return errors.New("the action has begun")
				})
				requireField(t, err, userkit.ErrConflict, userkit.CodeAudienceChanged, "token")
				require.Empty(t, d.eventCounts(t, userkit.EventUserDeactivated))
			}
			rename("bob", "other") // one fewer
			refused()
			newcomer := d.signUp(t) // as many, but others
			refused()
			rename("bob", "bob") // one more
			refused()
			_, err := d.DeleteUser(t.Context(), newcomer.ID, newcomer.ID.String())
			require.NoError(t, err)
			rename("ada", "changed, but not so that it counts")
			require.Equal(t, userkit.BulkResult{Changed: 2}, func() userkit.BulkResult {
				result, err := d.ExecuteBulk(t.Context(), request, token, nil)
				require.NoError(t, err)
				return result
			}())
			empty := userkit.BulkRequest{Action: userkit.BulkDelete, Users: userkit.UserFilter{Search: "nobody at all"}}
			require.Zero(t, d.execute(t, empty))
		}},
		{"refuses tokens of other requests and damaged ones", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "bob")
			list, other := d.list(t, "list"), d.list(t, "other")
			before := d.picture(t, users["ada"].ID)
			request := userkit.BulkRequest{Action: userkit.BulkAddToSegments, Segments: []userkit.SegmentID{list.ID}, Users: userkit.UserFilter{Filter: filterOf(`name pr`)}}
			token := d.preview(t, request).Token
			refused := func(request userkit.BulkRequest, token userkit.BulkToken) {
				t.Helper()
				_, err := d.ExecuteBulk(t.Context(), request, token, func(userkit.BulkProgress) error { return errors.New("the action has begun") })
				requireField(t, err, userkit.ErrInvalid, userkit.CodeInvalidBulkToken, "token")
			}
			for _, change := range []func(request *userkit.BulkRequest){
				func(request *userkit.BulkRequest) { request.Action = userkit.BulkRemoveFromSegment },
				func(request *userkit.BulkRequest) { request.Action, request.Segments = userkit.BulkDelete, nil },
				func(request *userkit.BulkRequest) { request.Segments = []userkit.SegmentID{other.ID} },
				func(request *userkit.BulkRequest) { request.Segments = []userkit.SegmentID{list.ID, other.ID} },
				func(request *userkit.BulkRequest) { request.Users.Filter = filterOf(`login pr`) },
				func(request *userkit.BulkRequest) { request.Users.Search = "ada" },
				func(request *userkit.BulkRequest) { request.Users.WithoutDisabled = true },
				func(request *userkit.BulkRequest) { request.Users.Segment = d.rule(t, "rule", `name eq "nobody"`).ID },
			} {
				wrong := request
				change(&wrong)
				refused(wrong, token)
			}
			refused(request, "")
			damaged := damage(string(token))
			for at := 0; at < len(damaged); at += 7 {
				if data, err := base64.RawURLEncoding.DecodeString(damaged[at]); err == nil && len(data) == 0 {
					continue
				}
				refused(request, userkit.BulkToken(damaged[at]))
			}
			require.Equal(t, before, d.picture(t, users["ada"].ID))
		}},
		{"skips users who do not meet the filter any more, and who are gone", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "adam", "adar", "adas")
			request := userkit.BulkRequest{Action: userkit.BulkDeactivate, Users: userkit.UserFilter{Filter: userkit.StartsWith("name", "ada")}}
			result, err := d.ExecuteBulk(t.Context(), request, d.preview(t, request).Token, func(progress userkit.BulkProgress) error {
				if progress.Done > 0 {
					return nil
				}
				_, err := d.UpdateUser(t.Context(), users["adam"].ID, userkit.UserPatch{Name: userkit.Set("other")})
				require.NoError(t, err)
				_, err = d.DeleteUser(t.Context(), users["adar"].ID, users["adar"].ID.String())
				require.NoError(t, err)
				_, err = d.DeactivateUser(t.Context(), users["adas"].ID)
				require.NoError(t, err)
				return nil
			})
			require.NoError(t, err)
			require.Equal(t, userkit.BulkResult{Changed: 1, Unchanged: 1, Skipped: 2}, result)
			require.Equal(t, userkit.StatusActive, d.user(t, users["adam"].ID).Status)
			require.Equal(t, userkit.StatusDisabled, d.user(t, users["ada"].ID).Status)
		}},
		{"counts users whom it cannot change, and goes on", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "bob")
			list := d.list(t, "list")
			request := userkit.BulkRequest{Action: userkit.BulkAddToSegments, Segments: []userkit.SegmentID{list.ID}}
			result, err := d.ExecuteBulk(t.Context(), request, d.preview(t, request).Token, func(progress userkit.BulkProgress) error {
				if progress.Done == 0 {
					return d.DeleteSegment(t.Context(), list.ID)
				}
				return nil
			})
			require.NoError(t, err)
			require.EqualValues(t, 2, result.Failed)
			require.Len(t, result.Failures, 2)
			for _, failure := range result.Failures {
				require.Contains(t, []userkit.UserID{users["ada"].ID, users["bob"].ID}, failure.UserID)
				requireCode(t, failure.Err, userkit.ErrNotFound, userkit.CodeSegmentNotFound)
			}
			require.Empty(t, d.eventCounts(t, userkit.EventSegmentsAdded))
		}},
		{"of thousands takes each once, and tells how far it is", func(t *testing.T, env env) {
			d := env.desk(t)
			ids := d.masses(t, 1300)
			d.signUp(t)
			list := d.list(t, "list")
			request := userkit.BulkRequest{Action: userkit.BulkAddToSegments, Segments: []userkit.SegmentID{list.ID}, Users: everyMass()}
			var done []int64
			result, err := d.ExecuteBulk(t.Context(), request, d.preview(t, request).Token, func(progress userkit.BulkProgress) error {
				require.EqualValues(t, len(ids), progress.Users)
				done = append(done, progress.Done)
				return nil
			})
			require.NoError(t, err)
			require.Equal(t, userkit.BulkResult{Changed: 1300}, result)
			require.True(t, slices.IsSorted(done))
			require.Zero(t, done[0])
			require.EqualValues(t, len(ids), done[len(done)-1])
			require.Greater(t, len(done), 3)
			require.Equal(t, ids, members(t, env.store, list.ID))
			counts := d.eventCounts(t, userkit.EventSegmentsAdded)
			require.Len(t, counts, len(ids))
			for _, count := range counts {
				require.Equal(t, 1, count)
			}
		}},
	}
}

func resumeCases() []testCase {
	stopped := errors.New("stopped by the test")
	const users = 700
	// finish resumes an action from its last token and demands that all users are
	// dealt with once, as by one run.
	finish := func(t *testing.T, d *desk, ids []userkit.UserID, request userkit.BulkRequest, token userkit.BulkToken) {
		t.Helper()
		require.NotEmpty(t, token)
		result, err := d.ExecuteBulk(t.Context(), request, token, nil)
		require.NoError(t, err)
		require.Zero(t, result.Failed)
		counts := d.eventCounts(t, map[userkit.BulkAction]userkit.EventName{
			userkit.BulkDeactivate: userkit.EventUserDeactivated, userkit.BulkDelete: userkit.EventUserDeleted, userkit.BulkAddToSegments: userkit.EventSegmentsAdded,
		}[request.Action])
		require.Len(t, counts, len(ids))
		for _, id := range ids {
			require.Equal(t, 1, counts[id], "of user %s", id)
		}
	}
	return []testCase{
		{"ends like one run when progress stopped it", func(t *testing.T, env env) {
			d := env.desk(t)
			ids := d.masses(t, users)
			request := userkit.BulkRequest{Action: userkit.BulkDeactivate, Users: everyMass()}
			request.Users.WithoutDisabled = true // those who are done leave the filter
			var token userkit.BulkToken
			result, err := d.ExecuteBulk(t.Context(), request, d.preview(t, request).Token, func(progress userkit.BulkProgress) error {
				token = progress.Token
				if progress.Done > 0 {
					return stopped
				}
				return nil
			})
			require.ErrorIs(t, err, stopped)
			require.Positive(t, result.Changed)
			require.Less(t, result.Changed, int64(users))
			require.Len(t, d.eventCounts(t, userkit.EventUserDeactivated), int(result.Changed))
			finish(t, d, ids, request, token)
		}},
		{"ends like one run when the context ended in the middle of a chunk", func(t *testing.T, env env) {
			broken, faults, sound := env.faulty(t)
			ids := sound.masses(t, users)
			request := userkit.BulkRequest{Action: userkit.BulkDelete, Users: everyMass()}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var token userkit.BulkToken
			faults.plan(func(call int, _ userkit.Change) fault {
				if call == 2 {
					cancel()
				}
				return noFault
			}, nil)
			_, err := broken.ExecuteBulk(ctx, request, sound.preview(t, request).Token, func(progress userkit.BulkProgress) error {
				token = progress.Token
				return nil
			})
			require.ErrorIs(t, err, context.Canceled)
			faults.heal()
			require.NoError(t, broken.Close(context.Background())) // waits for what is under way
			finish(t, sound, ids, request, token)
			count, err := sound.CountUsers(t.Context(), everyMass())
			require.NoError(t, err)
			require.Zero(t, count)
		}},
		{"ends like one run when the store failed in the middle of a chunk", func(t *testing.T, env env) {
			sound := env.desk(t)
			for n, half := range []int{0, 1, 2} {
				ids := sound.masses(t, users)
				list := sound.list(t, fmt.Sprint("list ", n))
				broken := sound.beside(t, &cutStore{Store: env.store, part: half})
				request := userkit.BulkRequest{Action: userkit.BulkAddToSegments, Segments: []userkit.SegmentID{list.ID}, Users: everyMass()}
				var token userkit.BulkToken
				_, err := broken.ExecuteBulk(t.Context(), request, sound.preview(t, request).Token, func(progress userkit.BulkProgress) error {
					token = progress.Token
					return nil
				})
				require.ErrorIs(t, err, userkit.ErrUnavailable)
				require.NoError(t, broken.Close(context.Background()))
				finish(t, sound, ids, request, token)
				require.Equal(t, ids, members(t, env.store, list.ID))
				require.Equal(t, userkit.BulkResult{Changed: users}, sound.execute(t, userkit.BulkRequest{Action: userkit.BulkDelete, Users: everyMass()}))
				require.Empty(t, members(t, env.store, list.ID))
			}
		}},
		{"sends each user one message, whoever resumes it after a failure", func(t *testing.T, env env) {
			notified := userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{"": &pushService{}})
			sound := env.desk(t, notified)
			ids := sound.masses(t, users)
			d := sound.register(t, ids[users-1], userkit.NewDevice{PushToken: "phone"})
			request := userkit.BulkRequest{Action: userkit.BulkSendMessage, Users: everyMass(), Message: userkit.NewMessage{
				Subject: "Maintenance", Body: "On *Sunday*", Format: userkit.MessageMarkdown, Data: map[string]string{"a": "b"},
				ExpiresAt: sound.clock.Now().Add(time.Hour),
			}}
			sent := 0
			received := func(each int) {
				t.Helper()
				counts := sound.eventCounts(t, userkit.EventMessageSent)
				require.Len(t, counts, users)
				for _, id := range ids {
					require.Equal(t, each, counts[id])
				}
				sent = each
				all, _ := messageLists(t, sound, ids[users-1])
				require.Len(t, all, each)
				for _, message := range all {
					require.Equal(t, request.Message.Subject, message.Subject)
					require.Equal(t, request.Message.Data, message.Data)
					require.Equal(t, d.ID, sound.delivery(t, message.ID).DeviceID)
				}
			}
			for half := range 3 {
				preview := sound.preview(t, request).Token
				token := preview
				broken := sound.beside(t, &cutStore{Store: env.store, part: half}, notified)
				_, err := broken.ExecuteBulk(t.Context(), request, preview, func(progress userkit.BulkProgress) error {
					token = progress.Token
					return nil
				})
				require.ErrorIs(t, err, userkit.ErrUnavailable)
				require.NoError(t, broken.Close(context.Background()))
				_, err = sound.ExecuteBulk(t.Context(), request, token, nil)
				require.NoError(t, err)
				received(sent + 1)
				result, err := sound.ExecuteBulk(t.Context(), request, preview, nil) // the button was pressed twice
				require.NoError(t, err)
				require.Equal(t, userkit.BulkResult{Unchanged: users}, result)
			}
			received(3)

			// A key holds for all previews, and only for what it sent.
			request.Message.Key = "maintenance"
			require.Equal(t, userkit.BulkResult{Changed: users}, sound.execute(t, request))
			require.Equal(t, userkit.BulkResult{Unchanged: users}, sound.execute(t, request))
			received(4)
			request.Message.Body = "On Monday"
			result := sound.execute(t, request)
			require.EqualValues(t, users, result.Failed)
			require.Equal(t, userkit.CodeKeyReused, userkit.ErrorCode(result.Failures[0].Err))
		}},
		{"is refused when others joined those who are left", func(t *testing.T, env env) {
			d := env.desk(t)
			d.masses(t, users)
			request := userkit.BulkRequest{Action: userkit.BulkDeactivate, Users: userkit.UserFilter{}}
			var token userkit.BulkToken
			_, err := d.ExecuteBulk(t.Context(), request, d.preview(t, request).Token, func(progress userkit.BulkProgress) error {
				token = progress.Token
				if progress.Done > 0 {
					return stopped
				}
				return nil
			})
			require.ErrorIs(t, err, stopped)
			before := len(d.eventCounts(t, userkit.EventUserDeactivated))
			newcomer := d.signUp(t) // whose id comes after theirs
			_, err = d.ExecuteBulk(t.Context(), request, token, nil)
			requireCode(t, err, userkit.ErrConflict, userkit.CodeAudienceChanged)
			require.Len(t, d.eventCounts(t, userkit.EventUserDeactivated), before)
			_, err = d.DeleteUser(t.Context(), newcomer.ID, newcomer.ID.String())
			require.NoError(t, err)
			result, err := d.ExecuteBulk(t.Context(), request, token, nil)
			require.NoError(t, err)
			require.EqualValues(t, users-before, result.Changed)
		}},
		{"adds days once for each user, from every token of a preview and in a second execution", func(t *testing.T, env env) {
			sound := env.desk(t)
			ids := sound.masses(t, users)
			until := base.AddDate(0, 0, 10)
			for _, id := range ids {
				_, err := sound.UpdateUser(t.Context(), id, userkit.UserPatch{ExpiresAt: userkit.Set(until)})
				require.NoError(t, err)
			}
			for _, half := range []int{0, 1, 2} {
				request := userkit.BulkRequest{Action: userkit.BulkAddDays, Days: 30, Users: everyMass()}
				tokens := []userkit.BulkToken{sound.preview(t, request).Token}
				broken := sound.beside(t, &cutStore{Store: env.store, part: half})
				progress := func(progress userkit.BulkProgress) error {
					tokens = append(tokens, progress.Token)
					return t.Context().Err()
				}
				_, err := broken.ExecuteBulk(t.Context(), request, tokens[0], progress)
				require.ErrorIs(t, err, userkit.ErrUnavailable)
				require.NoError(t, broken.Close(context.Background()))
				for _, token := range slices.Backward(slices.Clone(tokens)) {
					_, err := sound.ExecuteBulk(t.Context(), request, token, progress)
					require.NoError(t, err)
				}
				result, err := sound.ExecuteBulk(t.Context(), request, tokens[0], nil)
				require.NoError(t, err)
				require.Equal(t, userkit.BulkResult{Unchanged: users}, result)
				until = until.AddDate(0, 0, 30)
				count, err := sound.CountUsers(t.Context(), userkit.UserFilter{Filter: userkit.AllOf(userkit.StartsWith("login", "mass-"), userkit.Equal("expires_at", until))})
				require.NoError(t, err)
				require.EqualValues(t, users, count)
			}
		}},
		{"does nothing twice whose marks retention has deleted", func(t *testing.T, env env) {
			day := userkit.Duration(userkit.MinRetention)
			d := env.desk(t, userkit.WithRetention(userkit.RetentionRule{Kind: userkit.RowsEvents, Keep: day}, userkit.RetentionRule{Kind: userkit.RowsMessages, Keep: day}))
			user := d.signUp(t, func(user *userkit.NewUser) { user.Login = "mass-1" })
			_, err := d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{ExpiresAt: userkit.Set(base.AddDate(1, 0, 0))})
			require.NoError(t, err)
			requests := []userkit.BulkRequest{
				{Action: userkit.BulkAddDays, Days: 30, Users: everyMass()},
				{Action: userkit.BulkSendMessage, Message: userkit.NewMessage{Body: "Hello"}, Users: everyMass()},
			}
			var tokens []userkit.BulkToken
			for _, request := range requests {
				tokens = append(tokens, d.preview(t, request).Token)
			}
			for i, request := range requests {
				result, err := d.ExecuteBulk(t.Context(), request, tokens[i], nil)
				require.NoError(t, err)
				require.EqualValues(t, 1, result.Changed)
			}
			d.clock.Advance(userkit.MinRetention - time.Second)
			for i, request := range requests {
				_, err := d.ApplyRetention(t.Context())
				require.NoError(t, err)
				result, err := d.ExecuteBulk(t.Context(), request, tokens[i], nil)
				require.NoError(t, err)
				require.EqualValues(t, 1, result.Unchanged)
			}
			d.clock.Advance(2 * time.Second)
			_, err = d.ApplyRetention(t.Context())
			require.NoError(t, err)
			for i, request := range requests {
				_, err := d.ExecuteBulk(t.Context(), request, tokens[i], nil)
				requireCode(t, err, userkit.ErrInvalid, userkit.CodeInvalidBulkToken)
			}
			got, err := d.User(t.Context(), user.ID)
			require.NoError(t, err)
			require.Equal(t, base.AddDate(1, 0, 30), got.ExpiresAt)
		}},
		{"may be repeated from every token, which then changes nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			d.masses(t, users)
			list := d.list(t, "list")
			request := userkit.BulkRequest{Action: userkit.BulkAddToSegments, Segments: []userkit.SegmentID{list.ID}, Users: everyMass()}
			tokens := []userkit.BulkToken{d.preview(t, request).Token}
			_, err := d.ExecuteBulk(t.Context(), request, tokens[0], func(progress userkit.BulkProgress) error {
				tokens = append(tokens, progress.Token)
				return nil
			})
			require.NoError(t, err)
			for _, token := range tokens {
				result, err := d.ExecuteBulk(t.Context(), request, token, nil)
				require.NoError(t, err)
				require.Zero(t, result.Changed+result.Failed+result.Skipped)
			}
			require.Len(t, d.eventCounts(t, userkit.EventSegmentsAdded), users)
		}},
	}
}
