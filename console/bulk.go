package console

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/userkit/userkit"
)

// Selected returns the ids of the users that are ticked in the list.
func (p usersPage) Selected() []string { return p.request.URL.Query()["user"] }

// ExportURL returns the address of a file with the list as it is shown.
func (p usersPage) ExportURL(format string) string {
	return p.at(p.request.URL.Query(), "/users/export", "format", format, "cursor", "", "open", "", "do", "", "limit", "")
}

// bulkPage is the preview of a bulk action.
type bulkPage struct {
	*view
	Request  userkit.BulkRequest
	Preview  userkit.BulkPreview
	Sample   []userkit.User
	Segment  userkit.Segment
	Filter   string // of the whole request, as text
	Back     string
	Form     *form
	Inputs   url.Values
	Expected string // what is typed to confirm a deletion
}

// bulkOperations are the operations that bulk actions carry out on each user.
var bulkOperations = map[userkit.BulkAction]string{
	userkit.BulkActivate: "users.activate", userkit.BulkDeactivate: "users.deactivate", userkit.BulkDelete: "users.delete",
	userkit.BulkAddToSegments: "segments.add_user", userkit.BulkRemoveFromSegment: "segments.remove_user",
	userkit.BulkSetLicense: "devices.set_license", userkit.BulkSetTrafficLimit: "sessions.set_traffic_limit",
	userkit.BulkResetUsage: "sessions.set_traffic_limit", userkit.BulkAddDays: "users.update",
	userkit.BulkSendMessage: "messages.send",
}

// bulkInputs are the parameters of a bulk action beside those that select the users.
var bulkInputs = []string{"action", "to", "days", "license", "traffic_limit", "traffic_reset"}

// Actions returns the bulk actions that the person may do.
func (p usersPage) Actions() []userkit.BulkAction {
	if !p.May("users.preview_bulk") || !p.May("users.execute_bulk") {
		return nil
	}
	var all []userkit.BulkAction
	for _, action := range []userkit.BulkAction{
		userkit.BulkActivate, userkit.BulkDeactivate, userkit.BulkAddDays, userkit.BulkSetTrafficLimit, userkit.BulkResetUsage, userkit.BulkSetLicense,
		userkit.BulkAddToSegments, userkit.BulkRemoveFromSegment, userkit.BulkSendMessage, userkit.BulkDelete,
	} {
		toSegment := action == userkit.BulkAddToSegments || action == userkit.BulkRemoveFromSegment
		if p.May(bulkOperations[action]) && (!toSegment || len(p.Segments) > 0) {
			all = append(all, action)
		}
	}
	return all
}

// maxTicked is how many users can be ticked, since a filter can have this many comparisons.
const maxTicked = 200

// bulkRequest reads a bulk action from an address or a form.
func (v *view) bulkRequest(query url.Values) (userkit.BulkRequest, *filterFault) {
	request := userkit.BulkRequest{Action: userkit.BulkAction(query.Get("action"))}
	filter, fault := v.readUserFilter(query)
	if ids := query["user"]; len(ids) > 0 && fault == nil {
		var ticked []userkit.Filter
		for _, id := range ids[:min(len(ids), maxTicked)] {
			ticked = append(ticked, userkit.Equal("id", id))
		}
		filter = userkit.UserFilter{Filter: userkit.AnyOf(ticked...)}
	}
	filter.Moment = userkit.Moment{} // of the manager's clock, the same in both steps
	request.Users = filter
	if text := query.Get("to"); text != "" && (request.Action == userkit.BulkAddToSegments || request.Action == userkit.BulkRemoveFromSegment) {
		if id, err := userkit.ParseID[userkit.Segment](text); err == nil {
			request.Segments = []userkit.SegmentID{id}
		}
	}
	switch request.Action {
	case userkit.BulkAddDays:
		days, err := strconv.Atoi(strings.TrimSpace(query.Get("days")))
		if err != nil {
			days = -1 // out of range
		}
		request.Days = days
	case userkit.BulkSetLicense:
		request.License = userkit.Set(query.Get("license"))
	case userkit.BulkSetTrafficLimit:
		bytes, ok := parseSize(query.Get("traffic_limit"))
		if !ok {
			bytes = -1 // out of range
		}
		request.TrafficLimit = userkit.Set(userkit.TrafficLimit{Bytes: bytes, Reset: userkit.TrafficReset(query.Get("traffic_reset"))})
	}
	return request, fault
}

// Detail returns what the action does to each user beyond what its name says.
func (p bulkPage) Detail() string {
	if name, ok := p.Request.License.Get(); ok {
		return cmp.Or(name, "—")
	}
	if limit, ok := p.Request.TrafficLimit.Get(); ok {
		if limit.Bytes == 0 {
			return p.T("Unlimited")
		}
		return p.Bytes(limit.Bytes) + " · " + p.Label(limit.Reset)
	}
	if p.Request.Days > 0 {
		return p.N("%s days", p.Request.Days)
	}
	return ""
}

// ResetChoices returns the strategies of resetting traffic.
func (p usersPage) ResetChoices() []choice {
	field, _ := userkit.UserField("traffic_reset")
	var all []choice
	for _, word := range field.Values {
		all = append(all, choice{Value: word, Text: p.Label(word)})
	}
	return all
}

func (c *console) previewBulk(v *view, w http.ResponseWriter, r *http.Request) error {
	if query := r.URL.Query(); query.Get("action") == string(userkit.BulkSendMessage) { // which has to be written first
		for _, name := range bulkInputs {
			query.Del(name)
		}
		http.Redirect(w, r, v.Base+"/messages?"+query.Encode(), http.StatusSeeOther)
		return nil
	}
	return c.showBulk(v, w, r, r.URL.Query(), http.StatusOK, nil)
}

func (c *console) showBulk(v *view, w http.ResponseWriter, r *http.Request, inputs url.Values, status int, refused *form) error {
	if err := v.costly(); err != nil {
		return err
	}
	v.Title = v.T("Actions for many")
	request, fault := v.bulkRequest(inputs)
	if fault != nil {
		return &refusal{http.StatusUnprocessableEntity, "This is not a filter."}
	}
	p := bulkPage{view: v, Request: request, Form: refused, Inputs: url.Values{}, Filter: request.Users.Filter.String()}
	for _, name := range slices.Concat(userFilterInputs, []string{"user"}, bulkInputs) {
		if values := inputs[name]; len(values) > 0 {
			p.Inputs[name] = values
		}
	}
	back := url.Values{}
	for _, name := range []string{"q", "all", "filter", "segment"} {
		if value := inputs.Get(name); value != "" {
			back.Set(name, value)
		}
	}
	p.Back = v.Base + "/"
	if v.May("users.list") {
		p.Back = v.at(back, "/users")
	}
	var err error
	if p.Preview, err = c.users.PreviewBulk(r.Context(), request); err != nil {
		return err
	}
	if v.May("users.list") {
		sample, err := c.users.Users(r.Context(), userkit.UserQuery{UserFilter: request.Users, PageQuery: userkit.PageQuery{Limit: 10}})
		if err != nil {
			return err
		}
		p.Sample = sample.Items
	}
	if len(request.Segments) > 0 && v.May("segments.get", request.Segments[0]) {
		if p.Segment, err = c.users.Segment(r.Context(), request.Segments[0]); err != nil {
			return err
		}
	}
	p.Expected = v.Number(p.Preview.Users)
	return v.render(w, status, "bulk", p)
}

// executeBulk starts a job that does what was previewed.
func (c *console) executeBulk(v *view, w http.ResponseWriter, r *http.Request) error {
	request, fault := v.bulkRequest(r.PostForm)
	if fault != nil {
		return &refusal{http.StatusUnprocessableEntity, "This is not a filter."}
	}
	if err := v.require(bulkOperations[request.Action]); err != nil {
		return err
	}
	if request.Action == userkit.BulkDelete && r.PostForm.Get("confirm") != r.PostForm.Get("expected") {
		f := &form{Values: r.PostForm, Errors: map[string]string{"confirm": v.T("This is not the number of users.")}}
		return c.showBulk(v, w, r, r.PostForm, http.StatusUnprocessableEntity, f)
	}
	// The users are looked up again before the job starts, so that a preview that is out of date
	// is refused here and not in the job.
	token := userkit.BulkToken(r.PostForm.Get("token"))
	again, err := c.users.PreviewBulk(r.Context(), request)
	if err != nil {
		return err
	}
	if !again.Token.SameUsers(token) {
		f := &form{Values: r.PostForm, General: v.T(errorTexts[userkit.CodeAudienceChanged])}
		return c.showBulk(v, w, r, r.PostForm, http.StatusConflict, f)
	}
	return c.startBulk(v, w, r, request, token)
}

// startBulk starts a job that executes a bulk action.
func (c *console) startBulk(v *view, w http.ResponseWriter, r *http.Request, request userkit.BulkRequest, token userkit.BulkToken) error {
	started := &job{Kind: "bulk", Title: v.Label(request.Action), Actor: v.Actor}
	err := c.jobs.start(r.Context(), started, func(ctx context.Context, j *job) error {
		result, err := c.users.ExecuteBulk(ctx, request, token, func(p userkit.BulkProgress) error {
			j.progress(p.Done, p.Users)
			return ctx.Err()
		})
		j.mutex.Lock()
		j.state.Bulk = result
		j.mutex.Unlock()
		return err
	})
	if err != nil {
		return err
	}
	return v.done(w, "/jobs/"+started.ID, "")
}
