package console

import (
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/userkit/userkit"
)

// segmentsPage is the table of segments.
type segmentsPage struct {
	*view
	List    list
	Search  string
	Form    *form
	Created userkit.Segment // which the form is to make: an empty one
}

type segmentRow struct {
	userkit.Segment
	Users int64
}

// NewURL is the address of the form of a new segment; empty: the person may create none.
func (p segmentsPage) NewURL() string {
	if !p.May("segments.create") {
		return ""
	}
	return p.Here("do", "create")
}

func (c *console) showSegments(v *view, w http.ResponseWriter, r *http.Request) error {
	return c.showSegmentsPage(v, w, r, http.StatusOK, nil)
}

func (c *console) showSegmentsPage(v *view, w http.ResponseWriter, r *http.Request, status int, refused *form) error {
	v.Title = v.T("Segments")
	p := segmentsPage{view: v, List: v.newList("name", false), Search: strings.TrimSpace(v.Query("q")), Form: refused}
	found, err := c.users.Segments(r.Context(), userkit.SegmentQuery{
		SegmentFilter: userkit.SegmentFilter{Search: p.Search, Kind: userkit.SegmentKind(v.Query("kind"))}, PageQuery: p.List.page(),
	})
	if err != nil {
		return err
	}
	p.List.beside(found.Next, found.Previous)
	var rows []segmentRow
	for _, segment := range found.Items {
		row := segmentRow{Segment: segment, Users: -1}
		if v.May("users.count") && v.Counts() {
			if n, err := c.users.CountUsers(r.Context(), userkit.UserFilter{Segment: segment.ID}); err == nil {
				row.Users = n // a rule that names a deleted segment has no number
			}
		}
		rows = append(rows, row)
	}
	p.fill(rows)
	return v.render(w, status, "segments", p)
}

// fill makes the table of segments.
func (p *segmentsPage) fill(rows []segmentRow) {
	v, l := p.view, p.List
	users := plain(v.T("Users"))
	if v.May("users.count") && !v.Counts() {
		users.Text += ` <noscript><a href="` + escaped(v.Here("count", "1")) + `">` + escaped(v.T("Count")) + `</a></noscript>`
	}
	p.List.Table = table[segmentRow]{label: v.Title, columns: []tableColumn[segmentRow]{
		{l.sorted("name", v.T("Name")), "", func(s *segmentRow) template.HTML {
			return v.segmentLink(&s.Segment, v.May("segments.get"))
		}},
		{plain(v.T("Kind")), "", func(s *segmentRow) template.HTML {
			if !s.IsRule() {
				return badge("plain", v.T("List"))
			}
			return badge("plain", v.T("Rule")) + ` <code class="muted" dir="ltr">` + escaped(s.Rule.String()) + `</code>`
		}},
		{users, "number", func(s *segmentRow) template.HTML {
			switch {
			case s.Users < 0:
				return ""
			case !v.May("users.list"):
				return escaped(v.Number(s.Users))
			}
			return `<a href="` + escaped(v.UsersURL("segment", s.ID.String(), "all", "1")) + `">` + escaped(v.Number(s.Users)) + `</a>`
		}},
		{l.sorted("created_at", v.T("Created")), "", func(s *segmentRow) template.HTML { return v.Time(s.CreatedAt) }},
		{l.sorted("updated_at", v.T("Updated")), "", func(s *segmentRow) template.HTML { return v.Ago(s.UpdatedAt) }},
	}}.of(rows)
}

// segmentLink returns the name of a segment, as a link to it if the person may follow it.
func (v *view) segmentLink(segment *userkit.Segment, link bool) template.HTML {
	name := `<b>` + isolated(segment.Name) + `</b>`
	if !link {
		return name
	}
	return `<a data-open href="` + escaped(v.Base+"/segments/"+segment.ID.String()) + `">` + name + `</a>`
}

func (c *console) createSegment(v *view, w http.ResponseWriter, r *http.Request) error {
	if f, status := v.builtRule(r); f != nil {
		return c.showSegmentsPage(v, w, r, status, f)
	}
	var segment userkit.Segment
	rule, err := userkit.ParseFilter(strings.TrimSpace(r.PostForm.Get("rule")))
	if err == nil {
		segment, err = c.users.CreateSegment(r.Context(), userkit.NewSegment{Name: strings.TrimSpace(r.PostForm.Get("name")), Rule: rule})
	}
	if err != nil {
		if !shown(err) {
			return err
		}
		return c.showSegmentsPage(v, w, r, statusOf(err), v.rejectedRule(r, err))
	}
	return v.done(w, "/segments/"+segment.ID.String(), v.T("The segment is created."))
}

// builtRule returns the form of a segment to go on with, and the status of the page that shows it, if
// the person has built another condition of its rule. It returns nil if the form is to be saved. A condition with a value is meant, even if the form was
// sent by another button or a key.
func (v *view) builtRule(r *http.Request) (f *form, status int) {
	if r.PostForm.Get("add") == "" && r.PostForm.Get("value") == "" {
		return nil, 0
	}
	v.addCondition("rule", r.PostForm)
	if _, err := userkit.ParseFilter(r.PostForm.Get("rule")); err != nil {
		return v.rejectedRule(r, err), statusOf(err)
	}
	return &form{Values: r.PostForm}, http.StatusOK
}

// rejectedRule is rejected for a form with a rule, whose errors name the field filter.
func (v *view) rejectedRule(r *http.Request, err error) *form {
	f := v.rejected(r, err, "name", "rule", "filter")
	if text, ok := f.Errors["filter"]; ok {
		f.Errors["rule"] = text
	}
	return f
}

// segmentPage is one segment.
type segmentPage struct {
	*view
	Segment userkit.Segment
	Users   int64
	Sample  template.HTML // the table of the first users of the segment
	Fault   string
	Form    *form
}

func (c *console) showSegment(v *view, w http.ResponseWriter, r *http.Request) error {
	return c.showSegmentPage(v, w, r, http.StatusOK, nil)
}

func segmentOf(r *http.Request) (userkit.SegmentID, error) {
	id, err := userkit.ParseID[userkit.Segment](r.PathValue("segment"))
	if err != nil {
		return id, userkit.NewError(userkit.CodeSegmentNotFound, "segment", "no id")
	}
	return id, nil
}

func (c *console) showSegmentPage(v *view, w http.ResponseWriter, r *http.Request, status int, refused *form) error {
	id, err := segmentOf(r)
	if err != nil {
		return err
	}
	p := segmentPage{view: v, Form: refused}
	if p.Segment, err = c.users.Segment(r.Context(), id); err != nil {
		return err
	}
	v.Title = p.Segment.Name
	filter := userkit.UserFilter{Segment: id}
	p.Users = -1
	if v.May("users.count") {
		p.Users, err = c.users.CountUsers(r.Context(), filter)
	}
	if err == nil && v.May("users.list") {
		var users userkit.Page[userkit.User]
		users, err = c.users.Users(r.Context(), userkit.UserQuery{UserFilter: filter, PageQuery: userkit.PageQuery{Limit: 10}})
		p.Sample = table[userkit.User]{label: v.T("Users"), columns: []tableColumn[userkit.User]{
			{plain(v.T("User")), "", func(u *userkit.User) template.HTML { return v.Person(*u, true) }},
			{plain(v.Label("status")), "", func(u *userkit.User) template.HTML { return v.Badge(u.Status) }},
			{plain(v.Label("last_seen_at")), "", func(u *userkit.User) template.HTML { return v.Ago(u.LastSeenAt) }},
		}}.of(users.Items)
	}
	if err != nil {
		if !shown(err) {
			return err
		}
		p.Fault = v.ErrorText(err) // a rule that names a segment that was deleted
	}
	return v.render(w, status, "segment", p)
}

func (c *console) editSegment(v *view, w http.ResponseWriter, r *http.Request) error {
	id, err := segmentOf(r)
	if err != nil {
		return err
	}
	if f, status := v.builtRule(r); f != nil {
		return c.showSegmentPage(v, w, r, status, f)
	}
	patch := userkit.SegmentPatch{Name: userkit.Set(strings.TrimSpace(r.PostForm.Get("name")))}
	if patch.Revision, err = strconv.ParseInt(r.PostForm.Get("revision"), 10, 64); err != nil {
		return &refusal{http.StatusBadRequest, "The form could not be read."}
	}
	if r.PostForm.Has("rule") {
		var rule userkit.Filter
		if rule, err = userkit.ParseFilter(strings.TrimSpace(r.PostForm.Get("rule"))); err == nil {
			patch.Rule = userkit.Set(rule)
		}
	}
	if err == nil {
		_, err = c.users.UpdateSegment(r.Context(), id, patch)
	}
	if err != nil {
		if !shown(err) {
			return err
		}
		return c.showSegmentPage(v, w, r, statusOf(err), v.rejectedRule(r, err))
	}
	return v.done(w, "/segments/"+id.String(), v.T("Saved."))
}

func (c *console) freezeSegment(v *view, w http.ResponseWriter, r *http.Request) error {
	id, err := segmentOf(r)
	if err != nil {
		return err
	}
	if err := v.costly(); err != nil {
		return err
	}
	_, members, err := c.users.FreezeSegment(r.Context(), id)
	if err != nil {
		if !shown(err) {
			return err
		}
		return c.showSegmentPage(v, w, r, statusOf(err), v.rejected(r, err))
	}
	return v.done(w, "/segments/"+id.String(), v.N("The segment is now a list of %s users.", members))
}

func (c *console) deleteSegment(v *view, w http.ResponseWriter, r *http.Request) error {
	id, err := segmentOf(r)
	if err != nil {
		return err
	}
	if err := c.users.DeleteSegment(r.Context(), id); err != nil {
		return err
	}
	return v.done(w, "/segments", v.T("The segment is deleted."))
}
