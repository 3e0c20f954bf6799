package console

import (
	"errors"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// eventsPage is a list of the events of one user or of the project.
type eventsPage struct {
	*userPage // nil: of the project
	List      list
	From, To  string
	What      string
	Hour      bool // only the last hour
	Fault     string
	By        string
}

// EventNames returns the names of userkit's own events, to search for.
func (v *view) EventNames() []choice {
	var all []choice
	for _, name := range userkit.EventNames() {
		all = append(all, choice{Value: string(name), Text: v.Label(name)})
	}
	return all
}

func (c *console) showActivity(v *view, w http.ResponseWriter, r *http.Request) error {
	base, err := c.loadUser(v, r, "activity")
	if err != nil {
		return err
	}
	p := eventsPage{userPage: base, List: v.newList("", false), From: v.Query("from"), To: v.Query("to"), What: strings.TrimSpace(v.Query("name"))}
	p.Hour = p.From == "" && p.To == "" && p.What == "" && v.Query("all") == ""
	query := userkit.EventQuery{PageQuery: p.List.page()}
	query.UserID = base.User.ID
	status := http.StatusOK
	found, err := p.read(c, v, r, query, &status)
	if err != nil {
		return err
	}
	p.fill(v, found, nil)
	return v.render(w, status, "user_activity", p)
}

// read reads the events of a query in the period that the address says.
func (p *eventsPage) read(c *console, v *view, r *http.Request, query userkit.EventQuery, status *int) ([]userkit.Event, error) {
	from, to, err := v.readPeriod()
	if err == nil && !from.IsZero() && !to.IsZero() && !from.Before(to) {
		err = &refusal{http.StatusUnprocessableEntity, "The period must end after it begins."}
	}
	if err == nil {
		query.From, query.To = from, to
		query.Name = userkit.EventName(p.What)
		if p.Hour {
			query.From = v.Now.Add(-time.Hour)
		}
		var found userkit.Page[userkit.Event]
		if found, err = c.users.Events(r.Context(), query); err == nil {
			p.List.beside(found.Next, found.Previous)
			return found.Items, nil
		}
	}
	if code := userkit.ErrorCode(err); statusOf(err) == http.StatusUnprocessableEntity && code != userkit.CodeInvalidCursor && code != userkit.CodeCursorMismatch {
		p.Fault, *status = v.ErrorText(err), http.StatusUnprocessableEntity
		return nil, nil
	}
	return nil, err
}

// fill makes the table of events; people are the users whom they are about, for the table of the
// project.
func (p *eventsPage) fill(v *view, events []userkit.Event, people names) {
	type event = userkit.Event
	columns := []tableColumn[event]{
		{plain(v.T("When")), "", func(e *event) template.HTML { return v.Time(e.At) }},
		{plain(v.T("What")), "", func(e *event) template.HTML { return `<b>` + escaped(v.Label(e.Name)) + `</b>` }},
	}
	label, by := v.T("Activity"), func(e *event) template.HTML { return v.By(e.Actor) }
	if p.userPage == nil {
		label, by = v.T("Audit"), func(e *event) template.HTML { return v.auditedActor(e.Actor, people) }
		columns = append(columns, userColumn(v, people, v.T("To whom"), "activity?all=1", func(e *event) userkit.UserID { return e.UserID }))
	}
	columns = append(columns, []tableColumn[event]{
		{plain(v.T("By")), "", by},
		{plain(v.T("Data")), "wrap mono muted", func(e *event) template.HTML {
			return brief(v.Compact(e.Data))
		}},
	}...)
	p.List.Table = table[event]{label: label, columns: columns}.of(events)
}

// auditedActor returns an actor as a link to what else the actor has done.
func (v *view) auditedActor(actor userkit.Actor, people names) template.HTML {
	who := isolated(v.Who(actor))
	if actor.ID != "" {
		who = `<a href="` + escaped(v.Here("actor_kind", string(actor.Kind), "actor_id", actor.ID, "cursor", "")) + `">` + who + `</a>`
	}
	switch {
	case !actor.OnBehalfOf.IsZero():
		who += muted(escaped(v.T("on behalf of")) + " " + isolated(people.of(actor.OnBehalfOf)))
	case actor.ID != "":
		who += muted(escaped(v.Label(actor.Kind)))
	}
	return `<span class="actor">` + who + `</span>`
}

// maxScanned is how many events one page of a search by actor looks at.
const maxScanned = 2000

// showAudit shows what was done in the project, by whom, to whom and when.
func (c *console) showAudit(v *view, w http.ResponseWriter, r *http.Request) error {
	v.Title = v.T("Audit")
	p := eventsPage{
		List: v.newList("", false), From: v.Query("from"), To: v.Query("to"),
		What: strings.TrimSpace(v.Query("name")), By: strings.TrimSpace(v.Query("actor")),
	}
	query := userkit.EventQuery{PageQuery: p.List.page()}
	query.ActorKind, query.ActorID = userkit.ActorKind(v.Query("actor_kind")), v.Query("actor_id")
	status := http.StatusOK
	if target := strings.TrimSpace(v.Query("target")); target != "" {
		id, err := c.findUserID(r, target)
		if err != nil && !shown(err) && !errors.Is(err, userkit.ErrNotFound) {
			return err
		}
		if err != nil {
			p.Fault, status = v.ErrorText(err), http.StatusUnprocessableEntity
		}
		query.UserID = id
	}
	var events []userkit.Event
	var err error
	switch {
	case p.Fault != "":
	case p.By == "":
		events, err = p.read(c, v, r, query, &status)
	default:
		events, err = p.search(c, v, r, query, &status)
	}
	if err != nil {
		return err
	}
	people, err := namesIn(c, r, events,
		func(e *userkit.Event) userkit.UserID { return e.UserID },
		func(e *userkit.Event) userkit.UserID { return e.Actor.OnBehalfOf })
	if err != nil {
		return err
	}
	p.fill(v, events, people)
	return v.render(w, status, "audit", auditView{v, p})
}

// search reads the events of a query by the actors whose name, id or kind has a text in it.
// No index knows them, so it looks through the events until a page is full or maxScanned
// are seen, and the address of the page before says that it looks the other way.
func (p *eventsPage) search(c *console, v *view, r *http.Request, query userkit.EventQuery, status *int) ([]userkit.Event, error) {
	p.List.looksBack = true
	backwards := v.Query("back") != ""
	query.Limit = 500
	wanted := userkit.Fold(p.By)
	var found []userkit.Event
	var next, previous userkit.Cursor
	for scanned := 0; ; {
		events, err := p.read(c, v, r, query, status)
		if err != nil {
			return nil, err
		}
		var some []userkit.Event
		for _, event := range events {
			if strings.Contains(userkit.Fold(event.Actor.Name+"\n"+event.Actor.ID+"\n"+string(event.Actor.Kind)), wanted) {
				some = append(some, event)
			}
		}
		if scanned == 0 {
			next, previous = p.List.Next, p.List.Previous
		}
		if backwards {
			found, previous, query.Cursor = append(some, found...), p.List.Previous, p.List.Previous
		} else {
			found, next, query.Cursor = append(found, some...), p.List.Next, p.List.Next
		}
		scanned += len(events)
		if query.Cursor == "" || len(found) >= p.List.rows() || scanned >= maxScanned {
			break
		}
	}
	p.List.beside(next, previous)
	return found, nil
}

// auditView is the page of the project's events.
type auditView struct {
	*view
	Page eventsPage
}

// findUserID finds a user by the id, the login, the email address or the external reference,
// whichever a person has typed.
func (c *console) findUserID(r *http.Request, text string) (userkit.UserID, error) {
	if id, err := userkit.ParseID[userkit.User](text); err == nil {
		return id, nil // also of a user who was deleted
	}
	var last error
	for _, key := range []userkit.UserKey{userkit.ByLogin(text), userkit.ByEmail(text), userkit.ByExtRef(text)} {
		user, err := c.users.FindUser(r.Context(), key)
		if err == nil {
			return user.ID, nil
		}
		last = err
	}
	return userkit.UserID{}, last
}
