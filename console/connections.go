package console

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/userkit/userkit"
)

// The connection that a person works in is named by a cookie. It gives no right: the
// manager knows whose connection it is, and when it ends. The cookie stays for longer
// than any connection, so that a page of one that has ended is refused, and not served as
// if there had been none.
const (
	cookieConnection = "userkit_console_connection"
	keptConnection   = 24 * time.Hour
	// connectedField is the field of every form that says in which connection it was made.
	connectedField = "connected"
)

// resume continues the connection that a request is made in, if there is one.
func (v *view) resume(ctx context.Context) (context.Context, error) {
	cookie, err := v.request.Cookie(cookieConnection)
	if err != nil {
		return ctx, nil //nolint:nilerr // there is none
	}
	id, err := userkit.ParseID[userkit.Connection](cookie.Value)
	if err != nil {
		return ctx, userkit.NewError(userkit.CodeConnectionEnded, "", "the cookie names no connection")
	}
	resumed, err := v.console.users.Resume(ctx, id)
	if err != nil {
		return ctx, err
	}
	connection, _ := userkit.ConnectionOf(resumed)
	user, err := v.console.users.User(resumed, connection.UserID)
	if err != nil && !errors.Is(err, userkit.ErrForbidden) {
		return ctx, err
	}
	user.ID = connection.UserID // all that is known of a user who may not be shown
	v.Connection, v.ConnectedUser, v.Actor = connection, user, userkit.ActorFrom(resumed)
	return resumed, nil
}

// over answers a request in a connection that cannot be resumed. Where nothing but the
// connection is wrong, the person goes on without it.
func (v *view) over(w http.ResponseWriter, err error) {
	ended := errors.Is(err, userkit.ErrForbidden) || errors.Is(err, userkit.ErrNotFound)
	switch {
	case ended && v.request.Header.Get("HX-Request") != "" && v.request.Header.Get("HX-Boosted") == "":
		w.Header().Set("HX-Refresh", "true") // a part of a page: the whole page says it
	case ended:
		v.cookie(w, cookieConnection, "", 0)
		err = &refusal{http.StatusForbidden, "The connection to the user has ended. Nothing was done. You continue as yourself."}
	}
	v.fail(w, err)
}

// Connected reports whether the person is connected to a user.
func (v *view) Connected() bool { return !v.Connection.ID.IsZero() }

// SecondsLeft returns for how many seconds the connection can still be used.
func (v *view) SecondsLeft() int {
	return int(max(0, v.Connection.ExpiresAt.Sub(v.Now)+time.Second-1) / time.Second)
}

// sameConnection refuses a form that was made in another connection than the one that it is sent
// in, or in none, because what it does would be recorded wrongly.
func (v *view) sameConnection(r *http.Request) error {
	id := ""
	if v.Connected() {
		id = v.Connection.ID.String()
	}
	if r.PostForm.Get(connectedField) != id {
		return &refusal{http.StatusConflict, "You have connected to a user, or disconnected, since this page was loaded. Nothing was done. Please open the page again."}
	}
	return nil
}

// postForms matches the forms that change something.
var postForms = regexp.MustCompile(`<form[^>]* method="post"[^>]*>`)

// bind notes in every form of a page the connection in which the page was made.
func (v *view) bind(page []byte) []byte {
	if !v.Connected() {
		return page
	}
	return postForms.ReplaceAll(page, []byte(`$0<input type="hidden" name="`+connectedField+`" value="`+v.Connection.ID.String()+`">`))
}

// CanConnect reports whether the person may connect to this user.
func (p *userPage) CanConnect() bool {
	return !p.Connected() && !p.console.users.Project().Connections.Off &&
		p.Actor.Kind == userkit.ActorAdministrator && p.Actor.ID != "" && p.Can("connections.connect")
}

// ConnectionDurations returns the lengths of time for which a person can connect.
func (p *userPage) ConnectionDurations() []choice {
	limits := p.console.users.Project().Connections
	standard, most := time.Duration(limits.Duration), time.Duration(limits.MaxDuration)
	times := slices.DeleteFunc(slices.Clone(connectionDurations), func(d time.Duration) bool { return d > most })
	times = append(times, standard, most)
	slices.Sort(times)
	chosen := p.Form.Value("duration", standard.String())
	var all []choice
	for _, duration := range slices.Compact(times) {
		all = append(all, choice{duration.String(), p.lasting(duration), duration.String() == chosen})
	}
	return all
}

// connectionDurations are the lengths of time that are offered beside those of the policy.
var connectionDurations = []time.Duration{5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour}

// lasting returns a length of time in words.
func (v *view) lasting(duration time.Duration) string {
	switch {
	case duration%time.Hour == 0:
		return v.N("%s hours", int64(duration/time.Hour))
	case duration%time.Minute == 0:
		return v.N("%s minutes", int64(duration/time.Minute))
	}
	return v.N("%s seconds", int64(duration/time.Second))
}

// connect connects the person to a user. From then on every page is about that user.
func (c *console) connect(v *view, w http.ResponseWriter, r *http.Request) error {
	duration, err := time.ParseDuration(r.PostForm.Get("duration"))
	if err != nil {
		err = userkit.NewError(userkit.CodeBadFormat, "duration", "no duration")
	}
	var connection userkit.Connection
	if err == nil {
		connection, err = c.users.Connect(r.Context(), userOf(r), userkit.ConnectOptions{Reason: r.PostForm.Get("reason"), Duration: userkit.Duration(duration)})
	}
	if err != nil {
		if !shown(err) && userkit.ErrorCode(err) != userkit.CodeSelfConnection {
			return err
		}
		return c.showGeneral(v, w, r, statusOf(err), v.rejected(r, err, "reason", "duration"), nil)
	}
	v.cookie(w, cookieConnection, connection.ID.String(), keptConnection)
	return v.done(w, "/users/"+connection.UserID.String(), v.T("You are connected to the user. What you do is recorded as done by you on behalf of the user."))
}

// disconnect ends the connection that the person works in.
func (c *console) disconnect(v *view, w http.ResponseWriter, r *http.Request) error {
	if !v.Connected() {
		return &redirect{"/"}
	}
	// A person who may not end connections may still leave this one.
	_, err := c.users.Disconnect(r.Context(), v.Connection.ID)
	if err != nil && !errors.Is(err, userkit.ErrForbidden) && !errors.Is(err, userkit.ErrNotFound) {
		return err
	}
	v.cookie(w, cookieConnection, "", 0)
	return v.done(w, "/users/"+v.Connection.UserID.String(), v.T("You are disconnected from the user."))
}

// connectionsPage is the table of connections.
type connectionsPage struct {
	*view
	List list
	End  userkit.Connection // of the open dialog
	Form *form
}

func (c *console) showConnections(v *view, w http.ResponseWriter, r *http.Request) error {
	v.Title = v.T("Connections")
	p := connectionsPage{view: v, List: v.newList("", false)}
	query := userkit.ConnectionQuery{PageQuery: p.List.page()}
	if v.Query("all") == "" {
		query.OpenAt = v.Now
	}
	if text := v.Query("user"); text != "" {
		var err error
		if query.UserID, err = userkit.ParseID[userkit.User](text); err != nil {
			return userkit.NewError(userkit.CodeUserNotFound, "user", "no id")
		}
	}
	found, err := c.users.Connections(r.Context(), query)
	if err != nil {
		return err
	}
	p.List.beside(found.Next, found.Previous)
	for _, connection := range found.Items {
		if connection.ID.String() == v.Query("target") {
			p.End = connection
		}
	}
	people, err := namesIn(c, r, found.Items, func(c *userkit.Connection) userkit.UserID { return c.UserID })
	if err != nil {
		return err
	}
	p.fill(found.Items, people)
	return v.render(w, http.StatusOK, "connections", p)
}

// fill makes the table of connections.
func (p *connectionsPage) fill(connections []userkit.Connection, people names) {
	type connection = userkit.Connection
	v := p.view
	p.List.Table = table[connection]{label: v.Title, columns: []tableColumn[connection]{
		userColumn(v, people, v.T("User"), "", func(c *connection) userkit.UserID { return c.UserID }),
		{plain(v.T("By")), "", func(c *connection) template.HTML { return isolated(v.Who(c.Actor)) }},
		{plain(v.T("Reason")), "wrap", func(c *connection) template.HTML { return isolated(c.Reason) }},
		{plain(v.T("Started")), "", func(c *connection) template.HTML { return v.Time(c.StartedAt) }},
		{plain(v.T("Until")), "", func(c *connection) template.HTML { return v.Time(c.ExpiresAt) }},
		{plain(v.T("State")), "", func(c *connection) template.HTML {
			switch {
			case c.Open(v.Now):
				return badge("good", v.T("Open"))
			case c.EndedAt.IsZero():
				return badge("plain", v.T("Over"))
			}
			return badge("plain", v.T("Disconnected")) + " " + muted(v.Time(c.EndedAt)+" · "+isolated(v.Who(c.EndedBy)))
		}},
		{hidden(v.T("Actions")), "number", func(c *connection) template.HTML {
			if !c.Open(v.Now) || !v.May("connections.disconnect", c.ID) {
				return ""
			}
			return v.action("unplug", v.T("End the connection"), people.of(c.UserID), v.Here("do", "end", "target", c.ID.String()))
		}},
	}}.of(connections)
}

// endConnection ends a connection of any administrator.
func (c *console) endConnection(v *view, w http.ResponseWriter, r *http.Request) error {
	id, err := userkit.ParseID[userkit.Connection](r.PostForm.Get("target"))
	if err != nil {
		return userkit.NewError(userkit.CodeConnectionNotFound, "connection", "no id")
	}
	if _, err := c.users.Disconnect(r.Context(), id); err != nil {
		return err
	}
	return v.done(w, "/connections", v.T("The connection has ended."))
}
