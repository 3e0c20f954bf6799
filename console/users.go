package console

import (
	"errors"
	"fmt"
	"hash/fnv"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// filterFault is a filter that could not be read, with the character at fault.
type filterFault struct {
	Text               string
	Before, At, Behind string
	Message            string
}

// userFilterInputs are the parameters that readUserFilter reads.
var userFilterInputs = []string{"q", "all", "filter", "segment"}

// readUserFilter reads the search, the switch, the segment and the filter from an address or a form.
func (v *view) readUserFilter(query url.Values) (userkit.UserFilter, *filterFault) {
	filter := userkit.UserFilter{
		WithoutDisabled: query.Get("all") == "",
		Search:          strings.TrimSpace(query.Get("q")),
		Moment:          userkit.Moment{At: v.Now, Zone: v.console.zone},
	}
	var fault *filterFault
	if text := query.Get("segment"); text != "" {
		id, err := userkit.ParseID[userkit.Segment](text)
		if err != nil {
			return filter, &filterFault{Text: text, Message: v.ErrorText(userkit.NewError(userkit.CodeSegmentNotFound, "segment", "no id"))}
		}
		filter.Segment = id
	}
	if text := query.Get("filter"); text != "" {
		parsed, err := userkit.ParseFilter(text)
		if err != nil {
			return filter, v.faultOf(text, err)
		}
		filter.Filter = parsed
	}
	return filter, fault
}

// faultOf returns where a filter is wrong.
func (v *view) faultOf(text string, err error) *filterFault {
	fault := &filterFault{Text: text, Message: v.ErrorText(err), Before: text}
	if e, ok := errors.AsType[*userkit.Error](err); ok && e.Position > 0 {
		runes := []rune(text + "␣")
		at := min(e.Position-1, len(runes)-1)
		end := min(at+1, len(runes))
		fault.Before, fault.At, fault.Behind = string(runes[:at]), string(runes[at:end]), strings.TrimSuffix(string(runes[end:]), "␣")
	}
	return fault
}

// chip is a condition of the filter, which can be taken away.
type chip struct{ Text, Without string }

// usersPage is the table of users.
type usersPage struct {
	list
	Count    int64
	Counted  bool
	Search   string
	All      bool
	Segment  userkit.Segment
	Filter   string
	Fault    *filterFault
	Chips    []chip
	Form     *form
	Segments []userkit.Segment
	Licenses []choice
}

// ListQuery returns the parameters of the list, for forms that come back to it.
func (p usersPage) ListQuery() string { return p.list.request.URL.RawQuery }

// CountID is the id of the element that says how many users meet the filter. The count of one filter
// stays in the page while the person goes through the list: it is not made again.
func (p usersPage) CountID() string {
	sum := fnv.New64a()
	for _, name := range userFilterInputs {
		_, _ = fmt.Fprintf(sum, "%q", p.Query(name))
	}
	return "count-" + strconv.FormatUint(sum.Sum64(), 36)
}

// NewUserURL returns the address of the form of a new user. It is empty if the person may not create
// users.
func (v *view) NewUserURL() string {
	if !v.May("users.create") {
		return ""
	}
	return v.Base + "/users/new"
}

func (c *console) listUsers(v *view, w http.ResponseWriter, r *http.Request) error {
	return c.showUsers(v, w, r, http.StatusOK, nil)
}

// showUsers shows the table of users. If refused is not nil, it is a form that is shown again.
func (c *console) showUsers(v *view, w http.ResponseWriter, r *http.Request, status int, refused *form) error {
	ctx, query := r.Context(), r.URL.Query()
	v.Title = v.T("Users")
	p := usersPage{list: v.newList("registered_at", true), Form: refused,
		Search: query.Get("q"), All: query.Get("all") != "", Filter: query.Get("filter")}
	filter, fault := v.readUserFilter(query)
	p.Fault = fault
	if fault == nil {
		p.Chips = v.chipsOf(filter.Filter)
		result, err := c.users.Users(ctx, userkit.UserQuery{UserFilter: filter, PageQuery: p.page()})
		switch {
		case err == nil:
			p.beside(result.Next, result.Previous)
			p.fill(v, result.Items)
			if v.May("users.count") && (v.Counts() || v.Do() == "bulk") {
				if p.Count, err = c.users.CountUsers(ctx, filter); err != nil {
					return err
				}
				p.Counted = true
			}
		case userkit.ErrorCode(err) == userkit.CodeInvalidCursor || userkit.ErrorCode(err) == userkit.CodeCursorMismatch:
			return err
		case shown(err):
			p.Fault = v.faultOf(p.Filter, err)
		default:
			return err
		}
		if !filter.Segment.IsZero() && p.Fault == nil && v.May("segments.get", filter.Segment) {
			if p.Segment, err = c.users.Segment(ctx, filter.Segment); err != nil {
				return err
			}
		}
	}
	if p.Fault != nil && status == http.StatusOK {
		status = http.StatusUnprocessableEntity
	}
	if v.Do() == "bulk" {
		licenses, err := c.licenseChoices(v, r)
		if err != nil {
			return err
		}
		if len(licenses) > 0 {
			p.Licenses = append([]choice{{Text: "—"}}, licenses...)
		}
	}
	if v.Do() == "bulk" && v.May("segments.list") {
		segments, err := c.users.Segments(ctx, userkit.SegmentQuery{SegmentFilter: userkit.SegmentFilter{Kind: userkit.SegmentList}, PageQuery: userkit.PageQuery{Limit: 200}})
		if err != nil {
			return err
		}
		p.Segments = segments.Items
	}
	return v.render(w, status, "users", p)
}

// fill makes the table of users.
func (p *usersPage) fill(v *view, users []userkit.User) {
	open, tick := v.Query("open"), escaped(v.T("Select"))
	isOpen := func(u *userkit.User) bool { return open == u.ID.String() }
	columns := []tableColumn[userkit.User]{
		{head{Text: `<input type="checkbox" data-all="user" aria-label="` + escaped(v.T("Select all on this page")) + `">`}, "narrow", func(u *userkit.User) template.HTML {
			return `<input type="checkbox" name="user" value="` + escaped(u.ID.String()) + `" aria-label="` + tick + ` ` + escaped(u.DisplayName()) + `">`
		}},
		{hidden(v.T("Details")), "narrow", func(u *userkit.User) template.HTML {
			id, icon, expanded := u.ID.String(), "plus", template.HTML("false")
			if isOpen(u) {
				id, icon, expanded = "", "minus", "true"
			}
			return `<a class="plus" href="` + escaped(v.Here("open", id, "do", "")) + `" aria-expanded="` + expanded + `" aria-label="` +
				escaped(v.T("Details of")+" "+u.DisplayName()) + `">` + v.Icon(icon) + `</a>`
		}},
		{p.sorted("name", v.T("User")), "", func(u *userkit.User) template.HTML { return v.Person(*u, true) }},
	}
	for _, column := range v.chosenColumns() {
		shown := tableColumn[userkit.User]{plain(column.Label), "", func(u *userkit.User) template.HTML { return v.valueOf(column, u) }}
		if column.Sortable {
			shown.head = p.sorted(column.Name, column.Label)
		}
		if column.Kind == userkit.KindInteger || column.Kind == userkit.KindMoney {
			shown.class = "number"
		}
		columns = append(columns, shown)
	}
	p.Table = table[userkit.User]{label: v.T("Users"), columns: columns, details: func(u *userkit.User) template.HTML {
		if !isOpen(u) {
			return ""
		}
		return v.factsOf(u)
	}}.of(users)
}

// factsOf returns every field of a user that has a value.
func (v *view) factsOf(user *userkit.User) template.HTML {
	var facts template.HTML
	for _, column := range v.columnsOf() {
		if shown := v.valueOf(column, user); shown != "" {
			div := template.HTML(`<div>`)
			if column.Kind == userkit.KindJSON || isLong(column.Name) {
				div = `<div class="wide">`
			}
			facts += div + `<dt>` + escaped(column.Label) + `</dt><dd>` + shown + `</dd></div>`
		}
	}
	return `<dl class="facts">` + facts + `</dl>`
}

// chipsOf returns the parts of a filter, each with the address of the list without it.
func (v *view) chipsOf(filter userkit.Filter) []chip {
	parts := filter.Parts()
	var chips []chip
	for i, part := range parts {
		var rest []userkit.Filter
		rest = append(rest, parts[:i]...)
		rest = append(rest, parts[i+1:]...)
		chips = append(chips, chip{part.String(), v.Here("filter", userkit.AllOf(rest...).String(), "cursor", "", "open", "", "do", "")})
	}
	return chips
}

// operators are the comparisons that a person can choose, with the words for them.
var operators = []struct{ operator, text string }{
	{"eq", "is"}, {"ne", "is not"}, {"co", "contains"}, {"sw", "begins with"}, {"ew", "ends with"},
	{"pr", "has a value"}, {"gt", "is more than"}, {"ge", "is at least"}, {"lt", "is less than"}, {"le", "is at most"},
}

// Operators returns the comparisons that the filter builder offers.
func (v *view) Operators() []choice {
	var all []choice
	for _, o := range operators {
		all = append(all, choice{Value: o.operator, Text: v.T(o.text)})
	}
	return all
}

// FilterFields returns the fields that the filter builder offers.
func (v *view) FilterFields() []choice {
	var all []choice
	for _, c := range v.columnsOf() {
		if c.Kind != userkit.KindJSON {
			all = append(all, choice{Value: c.Name, Text: c.Label})
		}
	}
	return all
}

// addFilter adds a condition to the filter of the list and goes back to it.
func (c *console) addFilter(v *view, w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	v.addCondition("filter", query)
	query.Del("cursor")
	query.Del("open")
	query.Del("do")
	http.Redirect(w, r, v.Base+"/users?"+query.Encode(), http.StatusSeeOther)
	return nil
}

// addCondition moves the condition that a person has built (the template "condition") into the filter
// of the form, which is in one of its fields.
func (v *view) addCondition(filter string, form url.Values) {
	field, operator, value := form.Get("field"), form.Get("operator"), strings.TrimSpace(form.Get("value"))
	if attribute := strings.TrimSpace(form.Get("attribute")); attribute != "" {
		field = "attributes." + attribute
	}
	condition := field + " " + operator
	if operator != "pr" {
		condition += " " + v.filterValue(field, value)
	}
	text := strings.TrimSpace(form.Get(filter))
	switch {
	case text == "":
		text = condition
	case form.Get("join") == "or":
		text = "(" + text + ") or " + condition
	default:
		text = "(" + text + ") and " + condition
	}
	if filter, err := userkit.ParseFilter(text); err == nil {
		text = filter.String()
	}
	for _, name := range []string{"field", "operator", "value", "attribute", "join"} {
		form.Del(name)
	}
	form.Set(filter, text)
}

// filterValue writes a value as the grammar of filters needs it for a field.
func (v *view) filterValue(field, value string) string {
	column, _ := v.columnNamed(field)
	switch column.Kind {
	case userkit.KindInteger:
		if n, ok := parseSize(value); ok {
			return fmt.Sprint(n)
		}
		return value
	case userkit.KindBool:
		return strings.ToLower(value)
	case userkit.KindTime:
		if t, err := time.ParseInLocation("2006-01-02", value, v.Zone); err == nil {
			value = t.UTC().Format(time.RFC3339)
		}
	case userkit.KindJSON: // an attribute: a number and a truth value are written as they are
		if value == "true" || value == "false" || value == "null" || isNumber(value) {
			return value
		}
	}
	return quote(value)
}

// saveSegment saves the filter of the list as a segment.
func (c *console) saveSegment(v *view, w http.ResponseWriter, r *http.Request) error {
	list, err := url.ParseQuery(r.PostForm.Get("list"))
	if err != nil {
		return &refusal{http.StatusBadRequest, "The form could not be read."}
	}
	text := list.Get("filter")
	if segment := list.Get("segment"); segment != "" {
		condition := "segment eq " + quote(segment)
		if text != "" {
			condition = "(" + text + ") and " + condition
		}
		text = condition
	}
	rule, err := userkit.ParseFilter(text)
	if err == nil && rule.IsZero() {
		err = &refusal{http.StatusUnprocessableEntity, "Set a filter first. The segment is made from it."}
	}
	var segment userkit.Segment
	if err == nil {
		segment, err = c.users.CreateSegment(r.Context(), userkit.NewSegment{Name: strings.TrimSpace(r.PostForm.Get("name")), Rule: rule})
	}
	if err != nil {
		if !shown(err) {
			return err
		}
		list.Set("do", "save")
		r.URL.RawQuery = list.Encode()
		return c.showUsers(v, w, r, statusOf(err), v.rejected(r, err, "name"))
	}
	return v.done(w, "/segments/"+segment.ID.String(), v.T("The segment is saved."))
}
