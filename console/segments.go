package console

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/userkit/userkit"
)

// segmentsPage is the table of segments.
type segmentsPage struct {
	*view
	List     list
	Segments []segmentRow
	Search   string
	Form     *form
	Created  userkit.Segment // which the form is to make: an empty one
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
	for _, segment := range found.Items {
		row := segmentRow{Segment: segment, Users: -1}
		if v.May("users.count") && v.Counts() {
			if n, err := c.users.CountUsers(r.Context(), userkit.UserFilter{Segment: segment.ID}); err == nil {
				row.Users = n // a rule that names a deleted segment has no number
			}
		}
		p.Segments = append(p.Segments, row)
	}
	return v.render(w, status, "segments", p)
}

func (c *console) createSegment(v *view, w http.ResponseWriter, r *http.Request) error {
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
	Sample  []userkit.User
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
		p.Sample = users.Items
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
