package console

import (
	"embed"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/userkit/userkit"
)

//go:embed *.html
var templateFiles embed.FS

// templates are the templates of the pages by the names of the pages. Each is parsed from a file of
// its own, and from those of the layout and of the parts that pages share.
var templates = parseTemplates()

func parseTemplates() map[string]*template.Template {
	pages := map[string]*template.Template{}
	names, err := fs.Glob(templateFiles, "*.html")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	shared := []string{"layout.html", "parts.html"}
	for _, file := range names {
		name := strings.TrimSuffix(file, path.Ext(file))
		if slices.Contains(shared, file) {
			continue
		}
		files := append(slices.Clone(shared), file)
		if strings.HasPrefix(name, "user_") { // the tabs of a user
			files = append(slices.Clone(shared), "user.html", file)
		}
		pages[name] = template.Must(template.New(name).Funcs(functions).ParseFS(templateFiles, files...))
	}
	return pages
}

// The cookies of the console hold what a person prefers, and nothing of users.
const (
	cookieLanguage = "userkit_console_language"
	cookieTheme    = "userkit_console_theme"
	cookieColumns  = "userkit_console_columns"
	cookieZone     = "userkit_console_zone" // set by console.js
	cookieNotice   = "userkit_console_notice"
)

type viewKey struct{}

// viewOf returns the view of a request, which serve has put into its context.
func viewOf(r *http.Request) *view { return r.Context().Value(viewKey{}).(*view) }

// view holds what every page needs: the person, the language and the zone, and the path of the
// console. Templates call its methods.
type view struct {
	console *console
	request *http.Request
	texts   *catalogue

	Base   string // the path on which the console is mounted, without a slash at its end
	Actor  userkit.Actor
	Zone   *time.Location
	Now    time.Time
	Theme  string // light, dark or empty: as the system
	Title  string
	Notice string // what the last action did

	Connection    userkit.Connection // that the person works in; zero: none
	ConnectedUser userkit.User

	Sent     *sharedFile // the file of the form; nil: none, or a page has taken it
	SentName string

	secret bool // the page shows a secret
	may    map[question]bool
	// columns are those of the table of users; nil: not made yet.
	columns []column
}

func (c *console) newView(r *http.Request, actor userkit.Actor, base string) *view {
	v := &view{console: c, request: r, texts: catalogueFor(r), Base: base, Actor: actor, Zone: c.zone, Now: c.users.Project().Now, may: map[question]bool{}}
	if cookie, err := r.Cookie(cookieZone); err == nil {
		if name, err := url.QueryUnescape(cookie.Value); err == nil && name != "Local" {
			if zone, err := zoneNamed(name); err == nil {
				v.Zone = zone
			}
		}
	}
	if cookie, err := r.Cookie(cookieTheme); err == nil && (cookie.Value == "light" || cookie.Value == "dark") {
		v.Theme = cookie.Value
	}
	if cookie, err := r.Cookie(cookieNotice); err == nil {
		v.Notice, _ = url.QueryUnescape(cookie.Value)
	}
	return v
}

var zones sync.Map // from the name to the *time.Location

// zoneNamed is time.LoadLocation, except that it reads the file of a zone only once.
func zoneNamed(name string) (*time.Location, error) {
	if zone, ok := zones.Load(name); ok {
		return zone.(*time.Location), nil
	}
	zone, err := time.LoadLocation(name)
	if err == nil {
		zones.Store(name, zone)
	}
	return zone, err
}

// cookie sets a cookie of the console. An empty value removes it.
func (v *view) cookie(w http.ResponseWriter, name, value string, age time.Duration) {
	cookie := &http.Cookie{
		Name: name, Value: value, Path: v.Base + "/", MaxAge: int(age.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: v.request.TLS != nil,
	}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, cookie)
}

const aYear = 365 * 24 * time.Hour

// done leads on to another page after an action. That page shows the notice of what was done.
func (v *view) done(w http.ResponseWriter, path, notice string) error {
	if notice != "" {
		v.cookie(w, cookieNotice, url.QueryEscape(notice), time.Minute)
	}
	http.Redirect(w, v.request, v.Base+path, http.StatusSeeOther)
	return nil
}

func (v *view) clearNotice(w http.ResponseWriter) {
	if _, err := v.request.Cookie(cookieNotice); err == nil {
		v.cookie(w, cookieNotice, "", 0)
	}
}

// functions are what templates call beside the methods of view.
var functions = template.FuncMap{
	"join": strings.Join,
	"dict": func(pairs ...any) map[string]any {
		values := map[string]any{}
		for i := 0; i+1 < len(pairs); i += 2 {
			values[pairs[i].(string)] = pairs[i+1]
		}
		return values
	},
	"options": options,
}

// T returns a text of the catalogue.
func (v *view) T(key string, args ...any) string { return v.texts.text(key, args...) }

// N returns a text of the catalogue with a number in it.
func (v *view) N(key string, n any) string { return v.texts.count(key, integer(n)) }

func integer(n any) int64 {
	switch n := n.(type) {
	case int:
		return int64(n)
	case int64:
		return n
	}
	return 0
}

// Number returns a whole number for a person.
func (v *view) Number(n any) string { return v.texts.number(integer(n)) }

// Label returns the name of a field, a status or another word of a table.
func (v *view) Label(identifier any) string {
	switch word := identifier.(type) {
	case string:
		return v.texts.label(word)
	case userkit.Status:
		return v.texts.label(string(word))
	case userkit.Code:
		return v.texts.label(string(word))
	case userkit.EventName:
		return v.texts.label(string(word))
	case userkit.DeviceType:
		return v.texts.label(string(word))
	case userkit.EndReason:
		return v.texts.label(string(word))
	case userkit.PurchaseReason:
		return v.texts.label(string(word))
	case userkit.Environment:
		return v.texts.label(string(word))
	case userkit.TrafficReset:
		return v.texts.label(string(word))
	case userkit.TransactionKind:
		return v.texts.label(string(word))
	case userkit.ActorKind:
		return v.texts.label(string(word))
	case userkit.UserKind:
		return v.texts.label(string(word))
	case userkit.MessageFormat:
		return v.texts.label(string(word))
	case userkit.DeliveryState:
		return v.texts.label(string(word))
	case userkit.BulkAction:
		return v.texts.label(string(word))
	}
	return ""
}

// Language returns the language of the page as the attribute lang has it.
func (v *view) Language() string { return v.texts.tag.String() }

// Direction returns the direction in which the language is written.
func (v *view) Direction() string {
	switch base, _ := v.texts.tag.Base(); base.String() {
	case "ar", "fa", "he", "ur":
		return "rtl"
	}
	return "ltr"
}

// Languages returns the languages that a person can choose.
func (v *view) Languages() []choice {
	var all []choice
	for _, c := range catalogues() {
		all = append(all, choice{Value: c.tag.String(), Text: c.name, Selected: c == v.texts})
	}
	return all
}

// choice is an option of a list to choose from.
type choice struct {
	Value, Text string
	Selected    bool
}

// options returns the options of a list as HTML. It is written in Go because some lists are long, and
// a template takes ten times as long for an option.
func options(choices []choice) template.HTML {
	var all strings.Builder
	for _, c := range choices {
		all.WriteString(`<option value="` + template.HTMLEscapeString(c.Value) + `"`)
		if c.Selected {
			all.WriteString(` selected`)
		}
		all.WriteString(`>` + template.HTMLEscapeString(c.Text) + `</option>`)
	}
	return template.HTML(all.String()) //nolint:gosec // every part is escaped
}

// places are the main pages of the console, in the order in which the navigation shows them.
var places = []struct {
	path, icon, text string
	shown            func(v *view) bool // nil: to everybody
}{
	{"/", "layout-dashboard", "Overview", nil},
	{"/users", "users", "Users", may("users.list")},
	{"/sessions", "activity", "Sessions", may("sessions.list")},
	{"/map", "globe", "Map", may("locations.list")},
	{"/purchases", "shopping-cart", "Purchases", func(v *view) bool { return v.May("purchases.list") && !v.Business() }},
	{"/segments", "tags", "Segments", may("segments.list")},
	{"/messages", "message-square", "Messages", (*view).MayMessages},
	{"/audit", "scroll-text", "Audit", may("activity.list")},
	{"/connections", "plug", "Connections", may("connections.list")},
	{"/import", "file-up", "Import", may("users.import")},
	{"/jobs", "list-checks", "Jobs", nil},
}

// may returns a function that reports whether the person may do an operation.
func may(operation string) func(v *view) bool {
	return func(v *view) bool { return v.May(operation) }
}

// Navigation returns the links to the places that the person may see. Every page has them.
func (v *view) Navigation() template.HTML {
	var links template.HTML
	for _, place := range places {
		if place.shown == nil || place.shown(v) {
			links += v.navigationLink(place.path, place.icon, v.T(place.text)) + "\n"
		}
	}
	return links
}

// PreferencesLink returns the link to what the person prefers.
func (v *view) PreferencesLink() template.HTML {
	return v.navigationLink("/preferences", "settings", v.T("Preferences"))
}

func (v *view) navigationLink(path, icon, text string) template.HTML {
	link := `<a class="nav" href="` + escaped(v.Base+path) + `"`
	if v.In(path) {
		link += ` aria-current="page"`
	}
	return link + `>` + v.Icon(icon) + `<span>` + escaped(text) + `</span></a>`
}

// ConsoleTitle returns the title that the host has set.
func (v *view) ConsoleTitle() string { return v.console.title }

// SignOut returns the address where the host ends the person's session. It is empty if there is none.
func (v *view) SignOut() string { return v.console.signOut }

// Path returns the path of the page below the base.
func (v *view) Path() string { return v.request.URL.Path }

// In reports whether the page is the one at path or below it.
func (v *view) In(path string) bool {
	return v.Path() == path || path != "/" && strings.HasPrefix(v.Path(), path+"/")
}

// Do returns the action whose dialog is open, which is the parameter do.
func (v *view) Do() string { return v.request.FormValue("do") }

// Query returns a parameter of the address.
func (v *view) Query(name string) string { return v.request.URL.Query().Get(name) }

// Here returns the address of the page with some parameters set to other values; an empty
// value takes a parameter out.
func (v *view) Here(pairs ...string) string { return v.at(v.request.URL.Query(), v.Path(), pairs...) }

// at returns the address of a page with its parameters.
func (v *view) at(query url.Values, path string, pairs ...string) string {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			query.Del(pairs[i])
		} else {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	address := v.Base + path
	if encoded := query.Encode(); encoded != "" {
		address += "?" + encoded
	}
	return address
}

// Business reports whether the project has no purchases.
func (v *view) Business() bool { return v.console.users.Project().Kind == userkit.ProjectBusiness }

// ErrorText returns a text that says to a person what went wrong.
func (v *view) ErrorText(err error) string {
	if r, ok := errors.AsType[*refusal](err); ok {
		return v.T(r.text)
	}
	e, ok := errors.AsType[*userkit.Error](err)
	if !ok {
		return v.T("Something went wrong. The host’s log says more.")
	}
	text, ok := errorTexts[e.Code]
	if !ok {
		text = "Something went wrong. The host’s log says more."
		for _, info := range userkit.Codes() {
			if info.Code == e.Code {
				text = strings.ToUpper(info.Meaning[:1]) + info.Meaning[1:] + "."
			}
		}
	}
	said := v.T(text)
	if e.Position > 0 {
		said += " " + v.T("See character %s.", v.Number(e.Position))
	}
	if !e.Until.IsZero() {
		said += " " + v.T("It may be available again at %s.", v.At(e.Until))
	}
	return said
}

// errorTexts are the words for errors whose meaning in the table of codes is for developers.
var errorTexts = map[userkit.Code]string{
	userkit.CodeLoginTaken:           "Another user has this login.",
	userkit.CodeEmailTaken:           "Another user has this email address.",
	userkit.CodeExtRefTaken:          "Another user has this external reference.",
	userkit.CodeIDTaken:              "There is a user with this id.",
	userkit.CodeSegmentNameTaken:     "Another segment has this name.",
	userkit.CodeRequired:             "Please fill this in.",
	userkit.CodeTooLong:              "This is too long.",
	userkit.CodeBadText:              "This holds characters that cannot be kept.",
	userkit.CodeBadFormat:            "This does not have the right form.",
	userkit.CodeOutOfRange:           "This is too large or too small.",
	userkit.CodeUnknownValue:         "This is not one of the known values.",
	userkit.CodeUnknownField:         "There is no such field, or it cannot be used here.",
	userkit.CodeUnknownLicense:       "There is no licence with this name.",
	userkit.CodeInvalidCursor:        "This address is damaged. Please begin again from the list.",
	userkit.CodeCursorMismatch:       "This page belongs to another list. Please begin again from the list.",
	userkit.CodeSpanTooLong:          "The period may have at most 30 days, and must end after it begins.",
	userkit.CodeCurrencyMismatch:     "The balance is in another currency.",
	userkit.CodeKeyReused:            "This was already done, with another amount.",
	userkit.CodeConfirmationMismatch: "This is not the id of the user.",
	userkit.CodeFilterSyntax:         "This is not a filter.",
	userkit.CodeUnknownSegment:       "The filter names a segment that does not exist.",
	userkit.CodeSegmentCycle:         "The rule of the segment refers back to itself.",
	userkit.CodeSegmentIsRule:        "The rule of this segment decides who is in it.",
	userkit.CodeSegmentIsList:        "This segment has no rule.",
	userkit.CodeRevisionMismatch:     "Somebody else has changed this in the meantime.",
	userkit.CodeTooManyConflicts:     "This is being changed by many at once. Please try again.",
	userkit.CodeAudienceChanged:      "The filter finds other users now than in the preview. Please preview it again.",
	userkit.CodeInvalidBulkToken:     "The preview belongs to another action. Please preview it again.",
	userkit.CodeTrafficLimit:         "The traffic limit is reached.",
	userkit.CodeInsufficientBalance:  "The balance is too low for this.",
	userkit.CodeBalanceOverflow:      "The balance would be too large.",
	userkit.CodeNotLastTransaction:   "Another transaction has come after this one. Only the last can be cancelled.",
	userkit.CodeAlreadyCancelled:     "This transaction is already cancelled.",
	userkit.CodeTokenNotSealed:       "Only a digest of this token is kept, so it cannot be shown. Rotate it to get a new one.",
	userkit.CodeSealingKeyMissing:    "The key that sealed this token is not configured.",
	userkit.CodePurchaseInvalid:      "The store rejects the purchase.",
	userkit.CodePurchaseUndecided:    "The store of the purchase does not answer now. Nothing has changed.",
	userkit.CodeUnknownStore:         "The project has no verifier for this store.",
	userkit.CodeSelfConnection:       "You cannot connect to yourself.",
	userkit.CodeNotAdministrator:     "Only an administrator with an id can connect to users.",
	userkit.CodeConnectionsOff:       "Connecting to users is switched off here.",
	userkit.CodeConnectedAlready:     "You are connected to a user. Disconnect first.",
	userkit.CodeNotWhileConnected:    "This may not be done while you are connected to a user.",
	userkit.CodeOtherUser:            "You are connected to another user. Disconnect first.",
	userkit.CodeConnectionEnded:      "The connection has ended.",
	userkit.CodeConnectionNotFound:   "There is no such connection.",
	userkit.CodeNotAllowed:           "You may not do this.",
	userkit.CodeUserRequired:         "You may see this of some users only. Please open the user.",
	userkit.CodeBusinessProject:      "A business project has no purchases.",
	userkit.CodeNoMailer:             "No mail can be sent: the program that mounts the console has no mailer.",
	userkit.CodeAlreadyConfirmed:     "There is nothing to confirm any more: the email address is verified, and the user is active.",
	userkit.CodeTooManyMails:         "This user, or this address, has got as many mails as allowed within an hour.",
	userkit.CodeMailRefused:          "The address accepts no mail. Correct the email address of the user, then send the mail again.",
	userkit.CodeMailNotSent:          "The mail was not sent: the mail server does not take it now. Please try again in a few minutes.",
	userkit.CodeStoreUnavailable:     "The database did not answer. Please check whether the change was made before you try again.",
	userkit.CodeUserNotFound:         "There is no such user. They may have been deleted.",
	userkit.CodeDeviceNotFound:       "There is no such device. It may have been deleted.",
	userkit.CodeSessionNotFound:      "There is no such session.",
	userkit.CodeSegmentNotFound:      "There is no such segment. It may have been deleted.",
	userkit.CodePurchaseNotFound:     "There is no such purchase.",
	userkit.CodeMessageNotFound:      "There is no such message.",
	userkit.CodeTransactionNotFound:  "There is no such transaction.",
}

// form is a form that a person sent, with what is wrong with it. It is shown again with a message
// beside each field that is wrong.
type form struct {
	Values  url.Values
	Errors  map[string]string
	General string // what is wrong with no field in particular
	err     error
}

// rejected returns the form that is shown again after an error. It has the given fields.
func (v *view) rejected(r *http.Request, err error, fields ...string) *form {
	f := &form{Values: r.PostForm, Errors: map[string]string{}, err: err}
	e, ok := errors.AsType[*userkit.Error](err)
	if !ok {
		f.General = v.ErrorText(err)
		return f
	}
	wrong := e.Fields
	if len(wrong) == 0 {
		wrong = []userkit.FieldError{{Field: e.Field, Code: e.Code, Message: e.Message}}
	}
	for _, one := range wrong {
		text := v.ErrorText(&userkit.Error{Code: one.Code, Field: one.Field, Message: one.Message, Position: e.Position, Until: e.Until})
		if slices.Contains(fields, one.Field) {
			f.Errors[one.Field] = text
		} else if f.General == "" {
			f.General = text
		}
	}
	return f
}

// shown reports whether the form can show an error. It can if only what the person typed or asked
// for was refused, so that the rest of the page works.
func shown(err error) bool {
	status := statusOf(err)
	return status == http.StatusUnprocessableEntity || status == http.StatusConflict ||
		slices.Contains([]userkit.Code{userkit.CodePurchaseUndecided, userkit.CodeMailNotSent}, userkit.ErrorCode(err))
}

// Value returns what was typed into a field, or else what was in it.
func (f *form) Value(field, otherwise string) string {
	if f == nil || !f.Values.Has(field) {
		return otherwise
	}
	return f.Values.Get(field)
}

// Checked is Value for a checkbox.
func (f *form) Checked(field string, otherwise bool) bool {
	if f == nil || f.Values == nil {
		return otherwise
	}
	return f.Values.Get(field) != ""
}

// Error returns the message beside a field.
func (f *form) Error(field string) string {
	if f == nil {
		return ""
	}
	return f.Errors[field]
}

// Message returns what is wrong with no field in particular.
func (f *form) Message() string {
	if f == nil {
		return ""
	}
	return f.General
}

// Counts reports whether a page counts, which takes longer the more there is to count. A page is
// first served without counts, and asks for them afterwards.
func (v *view) Counts() bool { return v.Query("count") != "" }

// list holds the address of a table, its order and the pages before and after it.
type list struct {
	*view
	Sort       string
	Descending bool
	Next       userkit.Cursor
	Previous   userkit.Cursor
	First      bool // this is the first page
	looksBack  bool // the address of the page before says that it looks the other way
	standard   string
	Table      template.HTML // empty: there is nothing to show
}

// newList reads the order and the page from the address. If the address has no order, it is that of
// the field standard.
func (v *view) newList(standard string, descending bool) list {
	l := list{view: v, Sort: standard, Descending: descending, standard: standard}
	query := v.request.URL.Query()
	if sort := query.Get("sort"); sort != "" {
		l.Sort, l.Descending = sort, query.Get("desc") != ""
	}
	l.First = query.Get("cursor") == ""
	return l
}

// rowsOfPage are the numbers of rows that a person can choose for a page. The first is the standard:
// little more than a screen shows, since each row costs the browser time at every click.
var rowsOfPage = []int{25, 50, 100, 200}

// rows returns how many rows a page of the list has.
func (l list) rows() int {
	rows, err := strconv.Atoi(l.Query("limit"))
	if err != nil || rows < 1 || rows > 500 {
		return rowsOfPage[0]
	}
	return rows
}

// rowsChoice is a number of rows that a page of the list can have.
type rowsChoice struct {
	Rows    int
	URL     string
	Current bool
}

// RowsChoices returns the numbers of rows that a page can have.
func (l list) RowsChoices() []rowsChoice {
	var choices []rowsChoice
	for i, rows := range rowsOfPage {
		limit := ""
		if i > 0 {
			limit = strconv.Itoa(rows)
		}
		choices = append(choices, rowsChoice{rows, l.Here("limit", limit, "cursor", "", "back", "", "open", "", "do", ""), rows == l.rows()})
	}
	return choices
}

// page returns the PageQuery of the list.
func (l list) page() userkit.PageQuery {
	return userkit.PageQuery{Sort: l.Sort, Descending: l.Descending, Limit: l.rows(), Cursor: userkit.Cursor(l.Query("cursor"))}
}

// beside takes over the cursors of the pages before and after a page.
func (l *list) beside(next, previous userkit.Cursor) {
	l.Next, l.Previous, l.First = next, previous, previous == ""
}

// NextURL returns the address of the next page. It is empty if this is the last.
func (l list) NextURL() string { return l.pageURL(l.Next, "") }

// PreviousURL returns the address of the page before. It is empty if this is the first.
func (l list) PreviousURL() string {
	if l.looksBack {
		return l.pageURL(l.Previous, "1")
	}
	return l.pageURL(l.Previous, "")
}

func (l list) pageURL(cursor userkit.Cursor, back string) string {
	if cursor == "" {
		return ""
	}
	return l.Here("cursor", string(cursor), "back", back, "open", "", "do", "")
}

// FirstURL returns the address of the first page.
func (l list) FirstURL() string { return l.Here("cursor", "", "back", "", "open", "", "do", "") }

// View returns the view itself, for the parts of a page that get it from their caller.
func (v *view) View() *view { return v }
