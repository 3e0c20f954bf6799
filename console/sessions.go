package console

import (
	"html/template"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/userkit/userkit"
)

// sessionsPage is a table of the sessions of one user or of the project.
type sessionsPage struct {
	*userPage // nil: of the project
	List      list
	Devices   []choice
	Fault     string
	Live      bool
	From, To  string
	End       userkit.Session // of the open dialog
	Form      *form
}

// readPeriod reads the parameters from and to. Both are days in the person's zone, and are part of
// the period.
func (v *view) readPeriod() (from, to time.Time, err error) {
	if text := v.Query("from"); text != "" {
		if from, err = v.parseTime("from", text); err != nil {
			return from, to, err
		}
	}
	if text := v.Query("to"); text != "" {
		if to, err = v.parseTime("to", text); err != nil {
			return from, to, err
		}
		if len(text) == len("2006-01-02") {
			to = to.AddDate(0, 0, 1)
		}
	}
	return from, to, nil
}

func (c *console) showUserSessions(v *view, w http.ResponseWriter, r *http.Request) error {
	return c.showUserSessionsPage(v, w, r, http.StatusOK, nil)
}

func (c *console) showUserSessionsPage(v *view, w http.ResponseWriter, r *http.Request, status int, refused *form) error {
	base, err := c.loadUser(v, r, "sessions")
	if err != nil {
		return err
	}
	base.Form = refused
	p := sessionsPage{userPage: base, Form: refused, List: v.newList("started_at", true), From: v.Query("from"), To: v.Query("to")}
	query := userkit.SessionQuery{PageQuery: p.List.page()}
	query.UserID = base.User.ID
	query.Mixed = v.Query("mixed") != ""
	if text := v.Query("device"); text != "" {
		if query.DeviceID, err = userkit.ParseID[userkit.Device](text); err != nil {
			return userkit.NewError(userkit.CodeDeviceNotFound, "device", "no id")
		}
	}
	var devices userkit.Page[userkit.Device]
	if base.Can("devices.list") {
		devices, err = c.users.Devices(r.Context(), userkit.DeviceQuery{DeviceFilter: userkit.DeviceFilter{UserID: base.User.ID}, PageQuery: userkit.PageQuery{Limit: 200}})
		if err != nil {
			return err
		}
	}
	for _, device := range devices.Items {
		name := device.Name
		if name == "" {
			name = v.Label(device.Type) + " …" + device.TokenHint
		}
		p.Devices = append(p.Devices, choice{device.ID.String(), name, device.ID == query.DeviceID})
	}
	found, err := p.read(c, r, query, &status)
	if err != nil {
		return err
	}
	p.fill(v, found, nil)
	if base.Target != "" {
		if p.End, err = c.sessionOf(r, base.User.ID, base.Target); err != nil {
			return err
		}
	}
	return v.render(w, status, "user_sessions", p)
}

// read reads the sessions of a query. A period that is refused is explained on the page.
func (p *sessionsPage) read(c *console, r *http.Request, query userkit.SessionQuery, status *int) ([]userkit.Session, error) {
	var err error
	var found userkit.Page[userkit.Session]
	query.From, query.To, err = p.List.readPeriod()
	if err == nil {
		if found, err = c.users.Sessions(r.Context(), query); err == nil {
			p.List.beside(found.Next, found.Previous)
		}
	}
	if code := userkit.ErrorCode(err); code == userkit.CodeSpanTooLong || code == userkit.CodeBadFormat {
		p.Fault, *status = p.List.ErrorText(err), http.StatusUnprocessableEntity
		return nil, nil
	}
	return found.Items, err
}

// fill makes the table of sessions; people are the users whose sessions they are, for the table of
// the project.
func (p *sessionsPage) fill(v *view, sessions []userkit.Session, people names) {
	type session = userkit.Session
	l, user := p.List, p.userPage
	var columns []tableColumn[session]
	if user == nil {
		columns = append(columns, userColumn(v, people, v.T("User"), "sessions", func(s *session) userkit.UserID { return s.UserID }))
	}
	columns = append(columns, tableColumn[session]{l.sorted("started_at", v.T("Started")), "", func(s *session) template.HTML { return v.Time(s.StartedAt) }})
	if !p.Live {
		columns = append(columns, tableColumn[session]{l.sorted("ended_at", v.T("Ended")), "", func(s *session) template.HTML {
			if s.Active() {
				return badge("good", v.T("Active"))
			}
			return v.Time(s.EndedAt) + " " + muted(escaped(v.Label(s.EndReason)))
		}})
	}
	columns = append(columns, []tableColumn[session]{
		{plain(v.T("Lasted")), "", func(s *session) template.HTML { return escaped(v.Lasted(s.StartedAt, s.EndedAt)) }},
		{l.sorted("device_name", v.T("Device")), "", func(s *session) template.HTML { return isolated(s.DeviceName) }},
		{l.sorted("node", v.T("Server")), "mono", func(s *session) template.HTML { return isolated(s.Node) }},
		{l.sorted("node_location", v.T("Location")), "", func(s *session) template.HTML { return isolated(s.NodeLocation) }},
		{l.sorted("internal_ip", v.T("Internal IP")), "mono", func(s *session) template.HTML {
			if !s.InternalIP.IsValid() {
				return ""
			}
			return escaped(s.InternalIP.String())
		}},
		{l.sorted("received", v.T("Received")), "number", func(s *session) template.HTML { return v.Size(s.Received) }},
		{l.sorted("sent", v.T("Sent")), "number", func(s *session) template.HTML { return v.Size(s.Sent) }},
	}...)
	if user != nil {
		columns = append(columns, tableColumn[session]{hidden(v.T("Actions")), "number", func(s *session) template.HTML {
			if !s.Active() || !v.May("sessions.end", s.ID) {
				return ""
			}
			return v.action("power", v.T("End session"), s.Node, user.Dialog("end", s.ID.String()))
		}})
	}
	p.List.Table = table[session]{label: v.T("Sessions"), columns: columns, id: func(s *session) string { return "session-" + s.ID.String() }}.of(sessions)
}

// sessionOf reads a session of a user. It does not find a session of another user.
func (c *console) sessionOf(r *http.Request, user userkit.UserID, text string) (userkit.Session, error) {
	id, err := userkit.ParseID[userkit.Session](text)
	if err != nil {
		return userkit.Session{}, userkit.NewError(userkit.CodeSessionNotFound, "session", "no id")
	}
	session, err := c.users.Session(r.Context(), id)
	if err == nil && session.UserID != user {
		err = userkit.NewError(userkit.CodeSessionNotFound, "session", "of another user")
	}
	return session, err
}

func (c *console) endSession(v *view, w http.ResponseWriter, r *http.Request) error {
	session, err := c.sessionOf(r, userOf(r), r.PostForm.Get("target"))
	if err != nil {
		return err
	}
	if _, err := c.users.EndSession(r.Context(), session.ID, userkit.UsageReport{}); err != nil {
		if !shown(err) {
			return err
		}
		return c.showUserSessionsPage(v, w, r, statusOf(err), v.rejected(r, err))
	}
	return v.done(w, "/users/"+userOf(r).String()+"/sessions", v.T("The session has ended."))
}

// showSessions shows the active sessions of the project, or all sessions of a period.
func (c *console) showSessions(v *view, w http.ResponseWriter, r *http.Request) error {
	v.Title = v.T("Sessions")
	p := sessionsPage{List: v.newList("started_at", true), From: v.Query("from"), To: v.Query("to")}
	query := userkit.SessionQuery{PageQuery: p.List.page()}
	p.Live = p.From == "" && p.To == ""
	if p.Live {
		query.State = userkit.SessionsActive
	}
	status := http.StatusOK
	found, err := p.read(c, r, query, &status)
	if err != nil {
		return err
	}
	people, err := namesIn(c, r, found, func(s *userkit.Session) userkit.UserID { return s.UserID })
	if err != nil {
		return err
	}
	p.fill(v, found, people)
	return v.render(w, status, "sessions", sessionsView{v, p})
}

// sessionsView is the page of the project's sessions.
type sessionsView struct {
	*view
	Page sessionsPage
}

// names are what users are called, by their ids.
type names map[userkit.UserID]string

// of returns the name of a user. If the user is deleted, or the person may not see the user, it
// returns the id.
func (n names) of(id userkit.UserID) string {
	if name := n[id]; name != "" {
		return name
	}
	return id.String()
}

// namesIn reads the names of the users whose ids some items have.
func namesIn[T any](c *console, r *http.Request, items []T, of ...func(item *T) userkit.UserID) (names, error) {
	return startNames(c, r, items, of...)()
}

// startNames is namesIn for a page that does something else meanwhile. It returns a function that
// waits for the names.
func startNames[T any](c *console, r *http.Request, items []T, of ...func(item *T) userkit.UserID) (wait func() (names, error)) {
	var ids []userkit.UserID
	if viewOf(r).May("users.names") {
		for i := range items {
			for _, id := range of {
				ids = append(ids, id(&items[i]))
			}
		}
	}
	return meanwhile(r.Context(), func() (names, error) {
		all := names{}
		for some := range slices.Chunk(ids, userkit.MaxPageLimit) {
			found, err := c.users.UserNames(r.Context(), some)
			if err != nil {
				return nil, err
			}
			maps.Copy(all, found)
		}
		return all, nil
	})
}
