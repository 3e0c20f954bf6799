package console

import (
	"net/http"
	"strings"

	"github.com/userkit/userkit"
)

// userSegmentsPage is the tab of the segments that a user is in.
type userSegmentsPage struct {
	*userPage
	Member  []userkit.Segment
	Search  string
	Found   []userkit.Segment // lists that the user is not in
	More    bool
	Segment userkit.Segment // of the open dialog
}

func (c *console) showUserSegments(v *view, w http.ResponseWriter, r *http.Request) error {
	return c.showUserSegmentsPage(v, w, r, http.StatusOK, nil)
}

func (c *console) showUserSegmentsPage(v *view, w http.ResponseWriter, r *http.Request, status int, refused *form) error {
	base, err := c.loadUser(v, r, "segments")
	if err != nil {
		return err
	}
	base.Form = refused
	p := userSegmentsPage{userPage: base, Search: strings.TrimSpace(r.FormValue("find"))}
	if p.Member, err = c.users.UserSegments(r.Context(), base.User.ID); err != nil {
		return err
	}
	member := map[userkit.SegmentID]bool{}
	for _, segment := range p.Member {
		member[segment.ID] = true
		if segment.ID.String() == base.Target {
			p.Segment = segment
		}
	}
	if !v.May("segments.list") {
		return v.render(w, status, "user_segments", p)
	}
	lists, err := c.users.Segments(r.Context(), userkit.SegmentQuery{
		SegmentFilter: userkit.SegmentFilter{Search: p.Search, Kind: userkit.SegmentList}, PageQuery: userkit.PageQuery{Limit: 100},
	})
	if err != nil && userkit.ErrorCode(err) != userkit.CodeTooLong {
		return err
	}
	p.More = lists.Next != ""
	for _, segment := range lists.Items {
		if !member[segment.ID] {
			p.Found = append(p.Found, segment)
		}
	}
	return v.render(w, status, "user_segments", p)
}

// CanCreate reports whether a segment of the name that was searched for can be created.
func (p userSegmentsPage) CanCreate() bool {
	if p.Search == "" || !p.May("segments.create") {
		return false
	}
	for _, segment := range append(p.Found, p.Member...) {
		if userkit.SegmentNameKey(segment.Name) == userkit.SegmentNameKey(p.Search) {
			return false
		}
	}
	return true
}

// addToSegments adds the user to the segments that are ticked. It first creates a segment if the
// person has asked for it.
func (c *console) addToSegments(v *view, w http.ResponseWriter, r *http.Request) error {
	var ids []userkit.SegmentID
	for _, text := range r.PostForm["segment"] {
		id, err := userkit.ParseID[userkit.Segment](text)
		if err != nil {
			return userkit.NewError(userkit.CodeSegmentNotFound, "segment", "no id")
		}
		ids = append(ids, id)
	}
	var err error
	if name := strings.TrimSpace(r.PostForm.Get("create")); name != "" {
		if err = v.require("segments.create"); err != nil {
			return err
		}
		var segment userkit.Segment
		if segment, err = c.users.CreateSegment(r.Context(), userkit.NewSegment{Name: name}); err == nil {
			ids = append(ids, segment.ID)
		}
	}
	if err == nil && len(ids) == 0 {
		err = &refusal{http.StatusUnprocessableEntity, "Select a segment first."}
	}
	if err == nil {
		err = c.users.AddToSegments(r.Context(), userOf(r), ids...)
	}
	if err != nil {
		if !shown(err) {
			return err
		}
		return c.showUserSegmentsPage(v, w, r, statusOf(err), v.rejected(r, err))
	}
	return v.done(w, "/users/"+userOf(r).String()+"/segments", v.N("Added to %s segments.", len(ids)))
}

func (c *console) removeFromSegment(v *view, w http.ResponseWriter, r *http.Request) error {
	id, err := userkit.ParseID[userkit.Segment](r.PostForm.Get("target"))
	if err != nil {
		return userkit.NewError(userkit.CodeSegmentNotFound, "segment", "no id")
	}
	if err := c.users.RemoveFromSegment(r.Context(), userOf(r), id); err != nil {
		if !shown(err) {
			return err
		}
		return c.showUserSegmentsPage(v, w, r, statusOf(err), v.rejected(r, err))
	}
	return v.done(w, "/users/"+userOf(r).String()+"/segments", v.T("Removed from the segment."))
}
