package console

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// eventsPage is a list of events: of one user, or those of the project.
type eventsPage struct {
	*userPage // nil: of the project
	List      list
	Events    []userkit.Event
	People    map[userkit.UserID]userkit.User
	From, To  string
	What      string
	Hour      bool // only the last hour
	Fault     string
	By        string
}

// EventNames are the names to search for: userkit's own.
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
	if err := p.fill(c, v, r, query, &status); err != nil {
		return err
	}
	return v.render(w, status, "user_activity", p)
}

// fill reads the events of a query in the period that the address says.
func (p *eventsPage) fill(c *console, v *view, r *http.Request, query userkit.EventQuery, status *int) error {
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
			p.Events = found.Items
			p.List.beside(found.Next, found.Previous)
			return nil
		}
	}
	if code := userkit.ErrorCode(err); statusOf(err) == http.StatusUnprocessableEntity && code != userkit.CodeInvalidCursor && code != userkit.CodeCursorMismatch {
		p.Fault, *status = v.ErrorText(err), http.StatusUnprocessableEntity
		return nil
	}
	return err
}

// maxScanned is how many events one page of a search by actor looks at.
const maxScanned = 2000

// showAudit shows what was done in the project: by whom, to whom, when.
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
	var err error
	switch {
	case p.Fault != "":
	case p.By == "":
		err = p.fill(c, v, r, query, &status)
	default:
		err = p.search(c, v, r, query, &status)
	}
	if err != nil {
		return err
	}
	var ids []userkit.UserID
	for _, event := range p.Events {
		ids = append(ids, event.UserID, event.Actor.OnBehalfOf)
	}
	if p.People, err = c.people(r, ids); err != nil {
		return err
	}
	return v.render(w, status, "audit", auditView{v, p})
}

// search reads the events of a query by the actors whose name, id or kind has a text in it.
// No index knows them, so it looks through the events until a page is full or maxScanned
// are seen, and the address of the page before says that it looks the other way.
func (p *eventsPage) search(c *console, v *view, r *http.Request, query userkit.EventQuery, status *int) error {
	p.List.looksBack = true
	backwards := v.Query("back") != ""
	query.Limit = 500
	wanted := userkit.Fold(p.By)
	var found []userkit.Event
	var next, previous userkit.Cursor
	for scanned := 0; ; {
		if err := p.fill(c, v, r, query, status); err != nil {
			return err
		}
		var some []userkit.Event
		for _, event := range p.Events {
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
		scanned += len(p.Events)
		if query.Cursor == "" || len(found) >= userkit.DefaultPageLimit || scanned >= maxScanned {
			break
		}
	}
	p.Events = found
	p.List.beside(next, previous)
	return nil
}

// auditView is the page of the project's events.
type auditView struct {
	*view
	Page eventsPage
}

// findUserID finds a user by what a person types: the id, the login, the email address or
// the external reference.
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
