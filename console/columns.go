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

// column is what the console knows about a column of the table of users. Columns come from
// the tables of fields, so a new field needs nothing here.
type column struct {
	Name     string
	Label    string
	Kind     userkit.FieldKind
	Values   []string
	Sortable bool
	get      func(*userkit.User) any
}

// columnsOf returns all columns that a table of users can have.
func (v *view) columnsOf() []column {
	if v.columns != nil {
		return v.columns
	}
	var all []column
	for _, field := range userkit.UserFields() {
		all = append(all, column{field.Name, v.Label(field.Name), field.Kind, field.Values, field.Sortable(), field.Get})
	}
	moment := userkit.Moment{At: v.Now, Zone: v.console.zone}
	for _, field := range userkit.DerivedUserFields() {
		all = append(all, column{field.Name, v.Label(field.Name), field.Kind, field.Values, false,
			func(u *userkit.User) any { return field.Get(u, moment) }})
	}
	v.columns = all
	return all
}

// columnNamed returns the column of a name. The name attributes.<name> stands for an attribute.
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

// chosenColumns returns the columns that the person has chosen, in their order.
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

// ColumnChoices returns the chosen columns in their order, followed by the others.
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

// fact is a value of a user under its name.
type fact struct {
	Name  string
	Shown template.HTML // empty: there is none
	Wide  bool          // it needs the whole width
}

// valueOf returns what a column shows of a user. It is empty if the user has no value.
func (v *view) valueOf(c column, user *userkit.User) template.HTML { return v.shown(c, c.get(user)) }

// shown returns how a value of a column is shown. It is empty if there is no value.
func (v *view) shown(c column, value any) template.HTML {
	switch value := value.(type) {
	case time.Time:
		return v.Ago(value)
	case int64:
		if c.isSize() && (value != 0 || c.Name != "traffic_limit") {
			return v.Size(value)
		}
	case []string:
		var badges template.HTML
		for _, word := range value {
			badges += v.Badge(word) + " "
		}
		return badges
	case string:
		if c.Name == "status" {
			return v.Badge(value)
		}
	}
	if text := v.textOf(c, value); text != "" {
		return isolated(text)
	}
	return ""
}

// isSize reports whether the numbers of a column are bytes.
func (c column) isSize() bool { return c.Name == "traffic_limit" || c.Name == "traffic_used" }

// textOf returns a value of a column as text. It is empty if there is no value.
func (v *view) textOf(c column, value any) string {
	switch value := value.(type) {
	case nil:
		return ""
	case bool:
		if value {
			return v.T("Yes")
		}
		return v.T("No")
	case userkit.Money:
		return v.Money(value)
	case int64:
		switch {
		case c.Name == "traffic_limit" && value == 0:
			return "∞"
		case c.Name == "traffic_anchor_day" && value == 0:
			return ""
		}
		return v.Number(value)
	case userkit.Duration:
		if value > 0 {
			return v.Span(time.Duration(value))
		}
		return ""
	case userkit.Attributes:
		if len(value) == 0 {
			return ""
		}
		return v.Compact([]byte(c.Kind.Format(value)))
	case string:
		switch {
		case c.Name == "country" && value != "":
			return v.Country(value)
		case len(c.Values) > 0 && value != "":
			return v.Label(value)
		}
		return value
	}
	return userkit.FormatAttribute(value)
}
