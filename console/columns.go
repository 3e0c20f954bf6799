package console

import (
	"cmp"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// standardColumns are the columns of the table of users until a person chooses others.
// The column person is the picture, the name and the login or email address in one.
var standardColumns = []string{"status", "license", "country", "devices", "balance", "last_seen_at", "registered_at"}

// maxColumns is how many columns a person can choose.
const maxColumns = 60

// column is what the console knows about a column of the table of users: it comes from
// the tables of fields, so a new field needs nothing here.
type column struct {
	Name     string
	Label    string
	Kind     userkit.FieldKind
	Values   []string
	Sortable bool
	get      func(*userkit.User) any
}

// columnsOf are all columns that a table of users can have.
func (v *view) columnsOf() []column {
	var all []column
	for _, field := range userkit.UserFields() {
		all = append(all, column{field.Name, v.Label(field.Name), field.Kind, field.Values, field.Sortable(), field.Get})
	}
	moment := userkit.Moment{At: v.Now, Zone: v.console.zone}
	for _, field := range userkit.DerivedUserFields() {
		all = append(all, column{field.Name, v.Label(field.Name), field.Kind, field.Values, false,
			func(u *userkit.User) any { return field.Get(u, moment) }})
	}
	return all
}

// columnNamed returns one column; attributes.<name> is the column of an attribute.
func (v *view) columnNamed(name string) (column, bool) {
	if attribute, ok := strings.CutPrefix(name, "attributes."); ok && attribute != "" && len(attribute) <= 64 {
		return column{Name: name, Label: attribute, Kind: userkit.KindJSON,
			get: func(u *userkit.User) any { return u.Attributes[attribute] }}, true
	}
	all := v.columnsOf()
	if at := slices.IndexFunc(all, func(c column) bool { return c.Name == name }); at >= 0 {
		return all[at], true
	}
	return column{}, false
}

// chosenColumns are those that the person has chosen, in their order.
func (v *view) chosenColumns() []column {
	names := standardColumns
	if cookie, err := v.request.Cookie(cookieColumns); err == nil {
		if text, err := url.QueryUnescape(cookie.Value); err == nil && text != "" {
			names = strings.Split(text, ",")
		}
	}
	var chosen []column
	for _, name := range names[:min(len(names), maxColumns)] {
		if c, ok := v.columnNamed(name); ok && !slices.ContainsFunc(chosen, func(has column) bool { return has.Name == c.Name }) {
			chosen = append(chosen, c)
		}
	}
	return chosen
}

// columnChoice is a row of the dialog in which columns are chosen.
type columnChoice struct {
	Name, Label string
	Chosen      bool
	Position    int
}

// ColumnChoices are the chosen columns in their order, and then the others.
func (v *view) ColumnChoices() []columnChoice {
	var all []columnChoice
	chosen := v.chosenColumns()
	for i, c := range chosen {
		all = append(all, columnChoice{c.Name, c.Label, true, i + 1})
	}
	for _, c := range v.columnsOf() {
		if !slices.ContainsFunc(chosen, func(has column) bool { return has.Name == c.Name }) {
			all = append(all, columnChoice{c.Name, c.Label, false, len(all) + 1})
		}
	}
	return all
}

// setColumns remembers the columns that a person has chosen.
func (c *console) setColumns(v *view, w http.ResponseWriter, r *http.Request) error {
	type place struct {
		name     string
		position int
	}
	var places []place
	for i, name := range r.PostForm["column"] {
		position, err := strconv.Atoi(r.PostForm.Get("position-" + name))
		if err != nil {
			position = i
		}
		places = append(places, place{name, position})
	}
	slices.SortStableFunc(places, func(a, b place) int { return cmp.Compare(a.position, b.position) })
	var names []string
	for _, p := range places {
		if _, ok := v.columnNamed(p.name); ok && len(names) < maxColumns {
			names = append(names, p.name)
		}
	}
	for name := range strings.FieldsFuncSeq(r.PostForm.Get("attributes"), func(r rune) bool { return r == ',' || r == ' ' }) {
		if _, ok := v.columnNamed("attributes." + name); ok && len(names) < maxColumns && !strings.ContainsAny(name, ";=\"") {
			names = append(names, "attributes."+name)
		}
	}
	if r.PostForm.Has("standard") {
		names = nil
	}
	v.cookie(w, cookieColumns, url.QueryEscape(strings.Join(names, ",")), aYear)
	return v.done(w, "/users"+v.back(r), "")
}

// back returns the parameters of the list that a form was on, as "?…"; it never leads elsewhere.
func (v *view) back(r *http.Request) string {
	query, err := url.ParseQuery(r.PostForm.Get("list"))
	if err != nil || len(query) == 0 {
		return ""
	}
	query.Del("do")
	return "?" + query.Encode()
}

// cell is what stands in a table.
type cell struct {
	Name    string
	Text    string
	HTML    template.HTML // in the place of the text; empty: the text
	Numeric bool
}

// Shown returns the cell as HTML.
func (c cell) Shown() template.HTML {
	if c.HTML != "" {
		return c.HTML
	}
	return isolated(c.Text)
}

// cellOf returns what a column shows of a user.
func (v *view) cellOf(c column, user *userkit.User) cell { return v.cellFor(c, c.get(user)) }

// cellFor returns how a value of a column is shown.
func (v *view) cellFor(c column, value any) cell {
	shown := cell{Name: c.Name}
	switch value := value.(type) {
	case nil:
	case time.Time:
		shown.HTML = v.Ago(value)
	case bool:
		shown.Text = v.T("No")
		if value {
			shown.Text = v.T("Yes")
		}
	case userkit.Money:
		shown.Text, shown.Numeric = v.Money(value), true
	case int64:
		shown.Numeric = true
		switch {
		case c.Name == "traffic_limit" && value == 0:
			shown.Text = "∞"
		case c.Name == "traffic_limit" || c.Name == "traffic_used":
			shown.HTML = v.Size(value)
		case c.Name == "traffic_anchor_day" && value == 0:
		default:
			shown.Text = v.Number(value)
		}
	case userkit.Duration:
		if value > 0 {
			shown.Text = v.Span(time.Duration(value))
		}
	case []string:
		for _, word := range value {
			shown.HTML += v.Badge(word) + " "
		}
	case userkit.Attributes:
		if len(value) > 0 {
			shown.Text = v.Compact([]byte(c.Kind.Format(value)))
		}
	case string:
		switch {
		case c.Name == "country" && value != "":
			shown.Text = v.Country(value)
		case c.Name == "status":
			shown.HTML = v.Badge(value)
		case len(c.Values) > 0 && value != "":
			shown.Text = v.Label(value)
		default:
			shown.Text = value
		}
	default:
		shown.Text = userkit.FormatAttribute(value)
	}
	return shown
}
