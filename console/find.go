package console

import (
	"net/http"
	"strings"

	"github.com/userkit/userkit"
)

// findPage is what a search of everything finds.
type findPage struct {
	*view
	Search   string
	Users    []userkit.User
	Segments []userkit.Segment
	Pages    []foundPage
}

type foundPage struct{ Icon, Text, URL string }

// find searches users, segments and pages.
func (c *console) find(v *view, w http.ResponseWriter, r *http.Request) error {
	v.Title = v.T("Search")
	p := findPage{view: v, Search: strings.TrimSpace(v.Query("q"))}
	for _, page := range []struct{ icon, text, path, operation string }{
		{"layout-dashboard", "Overview", "/", ""}, {"users", "Users", "/users", "users.list"},
		{"user-plus", "Create user", "/users/new", "users.create"}, {"upload", "Import users", "/import", "users.import"},
		{"activity", "Sessions", "/sessions", "sessions.list"}, {"shopping-cart", "Purchases", "/purchases", "purchases.list"},
		{"tags", "Segments", "/segments", "segments.list"}, {"plus", "Create segment", "/segments?do=create", "segments.create"},
		{"globe", "Map", "/map", "locations.list"}, {"scroll-text", "Audit", "/audit", "activity.list"}, {"plug", "Connections", "/connections", "connections.list"}, {"list-checks", "Jobs", "/jobs", ""}, {"settings", "Preferences", "/preferences", ""},
	} {
		path, _, _ := strings.Cut(page.path, "?")
		if route := c.operations["GET "+path]; route != "" && !v.May(route) || page.operation != "" && !v.May(page.operation) || page.path == "/purchases" && v.Business() {
			continue
		}
		if text := v.T(page.text); p.Search == "" || strings.Contains(userkit.Fold(text), userkit.Fold(p.Search)) {
			p.Pages = append(p.Pages, foundPage{page.icon, text, v.Base + page.path})
		}
	}
	if p.Search != "" {
		if v.May("users.list") && v.May("users.get") {
			users, err := c.users.Users(r.Context(), userkit.UserQuery{UserFilter: userkit.UserFilter{Search: p.Search}, PageQuery: userkit.PageQuery{Limit: 10}})
			if err != nil && !shown(err) {
				return err
			}
			p.Users = users.Items
		}
		if v.May("segments.list") && v.May("segments.get") {
			segments, err := c.users.Segments(r.Context(), userkit.SegmentQuery{SegmentFilter: userkit.SegmentFilter{Search: p.Search}, PageQuery: userkit.PageQuery{Limit: 5}})
			if err != nil && !shown(err) {
				return err
			}
			p.Segments = segments.Items
		}
	}
	return v.render(w, http.StatusOK, "find", p)
}

func (c *console) showPreferences(v *view, w http.ResponseWriter, _ *http.Request) error {
	v.Title = v.T("Preferences")
	return v.render(w, http.StatusOK, "preferences", struct{ *view }{v})
}

func (c *console) setPreferences(v *view, w http.ResponseWriter, r *http.Request) error {
	language := ""
	for _, known := range catalogues() {
		if known.tag.String() == r.PostForm.Get("language") {
			language = known.tag.String()
			v.texts = known
		}
	}
	v.cookie(w, cookieLanguage, language, aYear)
	theme := r.PostForm.Get("theme")
	if theme != "light" && theme != "dark" {
		theme = ""
	}
	v.cookie(w, cookieTheme, theme, aYear)
	return v.done(w, "/preferences", v.T("Saved."))
}
