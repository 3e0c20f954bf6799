package console

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// userPage is what every tab of a user shows.
type userPage struct {
	*view
	User       userkit.User
	Access     userkit.Access
	Tab        string
	Form       *form
	Target     string // what the open dialog is about: the parameter target
	Subscribed bool
	License    userkit.License
	Used       int64 // bytes in the current period of the traffic limit
}

// Can reports whether the person may do an operation to this user.
func (p *userPage) Can(operation string) bool { return p.view.May(operation, p.User.ID) }

// URL returns an address below that of the user.
func (p *userPage) URL(parts ...string) string {
	return p.Base + "/users/" + p.User.ID.String() + strings.Join(append([]string{""}, parts...), "/")
}

// tab is a tab of a user's page.
type tab struct {
	Name, Text, Operation string
	Count                 int
}

// Tabs returns the tabs that the person may see.
func (p *userPage) Tabs() []tab {
	counts := map[string]int{"devices": p.User.Devices, "sessions": p.User.OpenSessions, "purchases": p.User.ActivePurchases}
	var all []tab
	for _, t := range userTabs {
		if p.Can(t.Operation) && (t.Name != "purchases" || !p.Business()) {
			all = append(all, tab{t.Name, p.T(t.Text), t.Operation, counts[t.Name]})
		}
	}
	return all
}

// userTabs are all tabs of a user.
var userTabs = []tab{
	{"", "General", "users.get", 0},
	{"devices", "Devices", "devices.list", 0},
	{"map", "Map", "locations.list", 0},
	{"sessions", "Sessions", "sessions.list", 0},
	{"traffic", "Traffic", "sessions.traffic", 0},
	{"purchases", "Purchases", "purchases.list", 0},
	{"balance", "Balance", "balance.transactions", 0},
	{"segments", "Segments", "segments.of_user", 0},
	{"messages", "Messages", "messages.list", 0},
	{"activity", "Activity", "activity.list", 0},
}

// UserURL returns the address of a tab of a user for a list of users. The tab may have a query. The
// address is empty if the person may see that tab of no user.
func (v *view) UserURL(id userkit.UserID, to string) string {
	name, _, _ := strings.Cut(to, "?")
	at := slices.IndexFunc(userTabs, func(t tab) bool { return t.Name == name })
	if !v.May("users.get") || !v.May(userTabs[at].Operation) {
		return ""
	}
	if to != "" {
		to = "/" + to
	}
	return v.Base + "/users/" + id.String() + to
}

// loadUser reads the user of the address, and what all tabs of a user show.
func (c *console) loadUser(v *view, r *http.Request, tab string) (*userPage, error) {
	id, err := userkit.ParseID[userkit.User](r.PathValue("user"))
	if err != nil {
		return nil, userkit.NewError(userkit.CodeUserNotFound, "user", "no id")
	}
	user, err := c.users.User(r.Context(), id)
	if err != nil {
		return nil, err
	}
	v.Title = user.DisplayName()
	p := &userPage{
		view: v, User: user, Tab: tab, Target: r.FormValue("target"),
		Access: user.Access(v.Now, c.zone), Subscribed: user.Subscribed(v.Now) && c.users.Project().Kind != userkit.ProjectBusiness, Used: user.Traffic.UsedIn(v.Now, c.zone),
	}
	if user.License != "" && v.May("devices.licenses") {
		licenses, err := c.users.Licenses(r.Context())
		if err != nil {
			return nil, err
		}
		for _, license := range licenses {
			if license.Name == user.License {
				p.License = license
			}
		}
	}
	return p, nil
}

// generalPage is the first tab.
type generalPage struct {
	*userPage
	Licenses  []choice
	Asked     *askedAccess
	Groups    []factGroup
	Inputs    []input
	Attrs     []attributeInput
	Conflicts []conflict
	PushMail  userkit.PushMail
}

// askedAccess is the effective access at another moment.
type askedAccess struct {
	At     time.Time
	Access userkit.Access
	Error  string
}

// factGroup is a card of fields that are edited together.
type factGroup struct {
	Name, Title string
	Facts       []fact
}

// input is a field of a form.
type input struct {
	Name, Label, Type, Value, Error, Hint, Placeholder string
	Choices                                            []choice
	Checked, Wide, Required                            bool
	Maximum, Rows                                      int
}

// attributeInput is a row of the form of attributes.
type attributeInput struct{ Name, Value, Error string }

// conflict is a field that two people have changed at once.
type conflict struct{ Label, Was, Theirs, Yours string }

// groupOf returns the card in which a field is edited. It is empty if the field has an action of its
// own, or if only use changes it. A new field that can be set is in the profile.
func groupOf(field userkit.Field[userkit.User]) string {
	switch field.Name {
	case "id", "registered_at", "currency", "status", "traffic_limit", "traffic_reset", "traffic_anchor_day":
		return ""
	case "attributes":
		return "attributes"
	case "payer_account_number", "legal_address", "postal_address", "bank", "bank_account", "kind":
		return "billing"
	}
	if !field.Settable() {
		return ""
	}
	return "profile"
}

// fieldsOf returns the fields of a card.
func fieldsOf(group string) []userkit.Field[userkit.User] {
	return slices.DeleteFunc(userkit.UserFields(), func(f userkit.Field[userkit.User]) bool { return groupOf(f) != group })
}

// CanEdit reports whether the person may change a field of a card.
func (p *userPage) CanEdit(group string) bool {
	return p.Can("users.update") && len(p.editable(group)) > 0
}

// editable returns the fields of a card that the person may change.
func (p *userPage) editable(group string) []userkit.Field[userkit.User] {
	return slices.DeleteFunc(fieldsOf(group), func(f userkit.Field[userkit.User]) bool {
		return f.Name == "license" && !p.Can("devices.set_license") ||
			slices.Contains(userkit.CredentialFields(), f.Name) && !p.Can(userkit.ChangeCredentials)
	})
}

// maxima are how many characters the fields may have.
var maxima = map[string]int{
	"login": userkit.MaxLogin, "name": userkit.MaxName, "email": userkit.MaxEmail, "extref": userkit.MaxExtRef,
	"description": userkit.MaxDescription, "additional_info": userkit.MaxAdditionalInfo,
	"legal_address": userkit.MaxAddress, "postal_address": userkit.MaxAddress,
}

// isLong reports whether a field holds more than a line, and needs the whole width.
func isLong(field string) bool { return maxima[field] > userkit.MaxLine }

// inputOf returns the input of a field.
func (v *view) inputOf(field userkit.Field[userkit.User], value string, f *form, licenses []choice) input {
	value = f.Value(field.Name, value)
	in := input{Name: field.Name, Label: v.Label(field.Name), Type: "text", Value: value, Error: f.Error(field.Name), Maximum: maxima[field.Name]}
	switch {
	case field.Name == "license":
		in.Type, in.Choices = "select", append([]choice{{"", v.T("None: no limits"), value == ""}}, mark(licenses, value)...)
	case field.Name == "country":
		in.Type, in.Choices = "select", append([]choice{{"", "—", value == ""}}, v.Countries(value)...)
	case field.Values != nil:
		in.Type = "select"
		for _, word := range field.Values {
			in.Choices = append(in.Choices, choice{word, v.Label(word), word == value})
		}
	case field.Kind == userkit.KindBool:
		in.Type, in.Checked = "checkbox", f.Checked(field.Name, value == "true")
	case field.Kind == userkit.KindTime:
		in.Type = "datetime-local"
	case field.Kind == userkit.KindSpan:
		in.Hint = v.T("Days from the first session, such as 30.")
	case field.Name == "email":
		in.Type = "email"
	case field.Name == "phone":
		in.Type, in.Placeholder = "tel", "+375291234567"
	case isLong(field.Name):
		in.Type, in.Wide, in.Rows = "textarea", true, 2
	}
	return in
}

func mark(choices []choice, value string) []choice {
	marked := slices.Clone(choices)
	found := value == ""
	for i := range marked {
		marked[i].Selected = marked[i].Value == value
		found = found || marked[i].Selected
	}
	if !found {
		marked = append(marked, choice{value, value, true})
	}
	return marked
}

// licenseChoices returns the licences of the project.
func (c *console) licenseChoices(v *view, r *http.Request) ([]choice, error) {
	if !v.May("devices.licenses") {
		return nil, nil
	}
	licenses, err := c.users.Licenses(r.Context())
	if err != nil {
		return nil, err
	}
	var all []choice
	for _, license := range licenses {
		text := license.Name + " · " + v.T("any number of devices")
		if license.Devices > 0 {
			text = license.Name + " · " + v.N("%s devices", license.Devices)
		}
		all = append(all, choice{Value: license.Name, Text: text})
	}
	return all, nil
}

func (c *console) showUser(v *view, w http.ResponseWriter, r *http.Request) error {
	return c.showGeneral(v, w, r, http.StatusOK, nil, nil)
}

func (c *console) showGeneral(v *view, w http.ResponseWriter, r *http.Request, status int, refused *form, conflicts []conflict) error {
	base, err := c.loadUser(v, r, "")
	if err != nil {
		return err
	}
	base.Form = refused
	p := generalPage{userPage: base, Conflicts: conflicts}
	if p.Licenses, err = c.licenseChoices(v, r); err != nil {
		return err
	}
	if p.Can("users.push_mail") {
		if p.PushMail, err = c.users.PushMail(r.Context(), base.User.ID); err != nil {
			return err
		}
	}
	for _, group := range []factGroup{{Name: "profile", Title: v.T("Profile")}, {Name: "billing", Title: v.T("Billing")}} {
		for _, field := range fieldsOf(group.Name) {
			column, _ := v.columnNamed(field.Name)
			shown := fact{field.Name, v.valueOf(column, &base.User), isLong(field.Name)}
			if field.Name == "license" && base.User.License == "" {
				shown.Shown = escaped(v.T("None: no limits"))
			}
			group.Facts = append(group.Facts, shown)
		}
		p.Groups = append(p.Groups, group)
	}
	switch v.Do() {
	case "profile", "billing":
		for _, field := range p.editable(v.Do()) {
			p.Inputs = append(p.Inputs, v.inputOf(field, v.fieldText(field, &base.User), refused, p.Licenses))
		}
	case "attributes":
		p.Attrs = attributeInputs(base.User.Attributes, refused)
	}
	if text := r.URL.Query().Get("at"); text != "" {
		at, err := v.parseTime("at", text)
		p.Asked = &askedAccess{At: at, Access: base.User.Access(at, c.zone)}
		if err != nil {
			p.Asked = &askedAccess{Error: v.ErrorText(err)}
		}
	}
	return v.render(w, status, "user_general", p)
}

// Was returns the value that a field had when the form was made. It tells later which fields the
// person has changed.
func (p generalPage) Was(name string) string {
	if p.Form != nil && p.Form.Values.Has("was."+name) && p.Conflicts == nil {
		return p.Form.Values.Get("was." + name)
	}
	if field, ok := userkit.UserField(name); ok {
		return p.fieldText(field, &p.User)
	}
	return ""
}

// Revision returns the revision of the profile that the form was made from.
func (p generalPage) Revision() string {
	if p.Form != nil && p.Form.Values.Has("revision") && p.Conflicts == nil {
		return p.Form.Values.Get("revision")
	}
	return strconv.FormatInt(p.User.Revision, 10)
}

// SendsActivation reports whether an activation mail would have an effect and the person may send it.
func (p generalPage) SendsActivation() bool {
	return p.console.users.Project().ActivationMail && p.User.Email != "" && p.User.Status != userkit.StatusDisabled &&
		!(p.User.EmailVerified && p.User.Status == userkit.StatusActive) && p.Can("users.send_activation")
}

// ShowsPushMail reports whether the user has an address for push mail, or can get one.
func (p generalPage) ShowsPushMail() bool {
	return p.Can("users.push_mail") && (p.PushMail.Address != "" || p.TakesPushMail())
}

// TakesPushMail reports whether addresses for push mail can be made.
func (p generalPage) TakesPushMail() bool { return p.console.users.Project().PushMail }

// AttributeNames returns the names of the attributes in their order.
func (p generalPage) AttributeNames() []string {
	var names []string
	for name := range p.User.Attributes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// AttributeText returns an attribute as a text.
func (p generalPage) AttributeText(name string) string {
	return userkit.FormatAttribute(p.User.Attributes[name])
}

// emptyAttributes is how many empty rows the form of attributes has.
const emptyAttributes = 3

func attributeInputs(attributes userkit.Attributes, refused *form) []attributeInput {
	var inputs []attributeInput
	if refused != nil && refused.Values.Has("attribute-name") {
		names, values := refused.Values["attribute-name"], refused.Values["attribute-value"]
		for i, name := range names {
			in := attributeInput{Name: name}
			if i < len(values) {
				in.Value = values[i]
			}
			inputs = append(inputs, in)
		}
		return inputs
	}
	var names []string
	for name := range attributes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		inputs = append(inputs, attributeInput{Name: name, Value: userkit.FormatAttribute(attributes[name])})
	}
	for range emptyAttributes {
		inputs = append(inputs, attributeInput{})
	}
	return inputs
}

// editUser changes the fields of one card. Fields that another person has changed since the form
// was made are shown one by one, and the others are saved.
func (c *console) editUser(v *view, w http.ResponseWriter, r *http.Request) error {
	group := r.PostForm.Get("do")
	if group != "profile" && group != "billing" {
		return &refusal{http.StatusBadRequest, "The form could not be read."}
	}
	id := userOf(r)
	var names []string
	var draft userkit.UserDraft
	var changed []userkit.Field[userkit.User]
	var faults []error
	for _, field := range fieldsOf(group) {
		names = append(names, field.Name)
		text := r.PostForm.Get(field.Name)
		if normal(text) == normal(r.PostForm.Get("was."+field.Name)) {
			continue
		}
		value, err := v.parseField(field, text)
		if err == nil {
			err = draft.Set(field.Name, value)
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		changed = append(changed, field)
	}
	refuse := func(err error, conflicts []conflict) error {
		f := v.rejected(r, err, names...)
		for _, fault := range faults {
			if e, ok := errors.AsType[*userkit.Error](fault); ok {
				f.Errors[e.Field] = v.ErrorText(fault)
			}
		}
		return c.showGeneral(v, w, r, statusOf(err), f, conflicts)
	}
	if len(faults) > 0 {
		return refuse(faults[0], nil)
	}
	revision, err := strconv.ParseInt(r.PostForm.Get("revision"), 10, 64)
	if err != nil {
		return &refusal{http.StatusBadRequest, "The form could not be read."}
	}
	for range 3 {
		draft.Update.Revision = revision
		_, err = c.users.UpdateUser(r.Context(), id, draft.Update)
		if userkit.ErrorCode(err) != userkit.CodeRevisionMismatch {
			break
		}
		user, readErr := c.users.User(r.Context(), id)
		if readErr != nil {
			return readErr
		}
		var conflicts []conflict
		for _, field := range changed {
			was, theirs := r.PostForm.Get("was."+field.Name), v.fieldText(field, &user)
			if normal(was) != normal(theirs) && normal(theirs) != normal(r.PostForm.Get(field.Name)) {
				conflicts = append(conflicts, conflict{v.Label(field.Name), was, theirs, r.PostForm.Get(field.Name)})
			}
		}
		if len(conflicts) > 0 {
			return refuse(err, conflicts)
		}
		revision = user.Revision
	}
	if err != nil {
		if !shown(err) {
			return err
		}
		return refuse(err, nil)
	}
	return v.done(w, "/users/"+id.String(), v.T("Saved."))
}

func normal(text string) string {
	return strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
}

// editAttributes replaces the attributes of a user.
func (c *console) editAttributes(v *view, w http.ResponseWriter, r *http.Request) error {
	names, values := r.PostForm["attribute-name"], r.PostForm["attribute-value"]
	revision, err := strconv.ParseInt(r.PostForm.Get("revision"), 10, 64)
	if err != nil {
		return &refusal{http.StatusBadRequest, "The form could not be read."}
	}
	user, err := c.users.User(r.Context(), userOf(r))
	if err != nil {
		return err
	}
	attributes := userkit.Attributes{}
	for i, name := range names {
		name = strings.TrimSpace(name)
		if name == "" || i >= len(values) {
			continue
		}
		attributes[name] = userkit.ParseAttribute(values[i])
		// What stands as it was is what it was: null looks like an empty text.
		if was, ok := user.Attributes[name]; ok && userkit.FormatAttribute(was) == values[i] {
			attributes[name] = was
		}
	}
	_, err = c.users.UpdateUser(r.Context(), userOf(r), userkit.UserPatch{Revision: revision, Attributes: userkit.Set(attributes)})
	if err != nil {
		if !shown(err) {
			return err
		}
		return c.showGeneral(v, w, r, statusOf(err), v.rejected(r, err), nil)
	}
	return v.done(w, "/users/"+userOf(r).String(), v.T("Saved."))
}

// actOnUser returns a page that acts on a user when a button is pressed, and then leads back to the
// page of the user.
func (c *console) actOnUser(done string, act func(r *http.Request, id userkit.UserID) error) page {
	return func(v *view, w http.ResponseWriter, r *http.Request) error {
		if err := act(r, userOf(r)); err != nil {
			if !shown(err) {
				return err
			}
			return c.showGeneral(v, w, r, statusOf(err), v.rejected(r, err), nil)
		}
		return v.done(w, "/users/"+userOf(r).String(), v.T(done))
	}
}

// setTrafficLimit sets the traffic limit that was typed into its dialog.
func (c *console) setTrafficLimit(v *view, w http.ResponseWriter, r *http.Request) error {
	form := r.PostForm
	limit := userkit.TrafficLimit{Reset: userkit.TrafficReset(form.Get("traffic_reset"))}
	var err error
	if form.Get("unlimited") == "" {
		bytes, ok := parseSize(form.Get("traffic_limit"))
		if !ok || bytes <= 0 {
			err = userkit.NewError(userkit.CodeBadFormat, "traffic_limit", "no size")
		}
		limit.Bytes = bytes
	}
	if text := strings.TrimSpace(form.Get("traffic_anchor_day")); text != "" && limit.Reset == userkit.ResetMonthly && err == nil {
		if limit.AnchorDay, err = strconv.Atoi(text); err != nil {
			err = userkit.NewError(userkit.CodeBadFormat, "traffic_anchor_day", "no day")
		}
	}
	if err == nil {
		_, err = c.users.SetTrafficLimit(r.Context(), userOf(r), limit, form.Get("reset") != "")
	}
	if err != nil {
		if !shown(err) {
			return err
		}
		return c.showGeneral(v, w, r, statusOf(err), v.rejected(r, err, "traffic_limit", "traffic_reset", "traffic_anchor_day"), nil)
	}
	return v.done(w, "/users/"+userOf(r).String(), v.T("The traffic limit is set."))
}

// ResetChoices returns the strategies of resetting traffic.
func (p generalPage) ResetChoices() []choice {
	field, _ := userkit.UserField("traffic_reset")
	current := p.Form.Value("traffic_reset", string(p.User.Traffic.Limit.Reset))
	var all []choice
	for _, word := range field.Values {
		all = append(all, choice{word, p.Label(word), word == current})
	}
	return all
}

// LimitText returns the traffic limit as a person edits it.
func (p generalPage) LimitText() string {
	bytes := p.User.Traffic.Limit.Bytes
	if bytes == 0 {
		return ""
	}
	if text := readable(bytes); text != "" {
		if again, ok := parseSize(text); ok && again == bytes {
			return text
		}
	}
	return strconv.FormatInt(bytes, 10)
}

// deleteUser deletes a user after the person has typed the id of the user, and shows the receipt.
func (c *console) deleteUser(v *view, w http.ResponseWriter, r *http.Request) error {
	erasure, err := c.users.DeleteUser(r.Context(), userOf(r), strings.TrimSpace(r.PostForm.Get("confirm")))
	if err != nil {
		if !shown(err) {
			return err
		}
		f := v.rejected(r, err)
		if userkit.ErrorCode(err) == userkit.CodeConfirmationMismatch {
			f.General, f.Errors["confirm"] = "", v.ErrorText(err)
		}
		return c.showGeneral(v, w, r, statusOf(err), f, nil)
	}
	v.Title = v.T("The user is deleted")
	return v.render(w, http.StatusOK, "erasure", struct {
		*view
		Erasure userkit.Erasure
		Kinds   []string
	}{v, erasure, userkit.RecordKinds()})
}

// createPage is the form of a new user.
type createPage struct {
	*view
	ID       string // of the user to be: makes the form count once, however often it is sent
	Form     *form
	Inputs   []input
	Billing  []input
	Statuses []choice
}

func (c *console) newUser(v *view, w http.ResponseWriter, r *http.Request) error {
	return c.showNewUser(v, w, r, http.StatusOK, nil)
}

func (c *console) showNewUser(v *view, w http.ResponseWriter, r *http.Request, status int, refused *form) error {
	licenses, err := c.licenseChoices(v, r)
	if err != nil {
		return err
	}
	v.Title = v.T("Create user")
	p := createPage{view: v, Form: refused}
	p.ID = refused.Value("user", userkit.NewID[userkit.User]().String())
	var empty userkit.User
	empty.Kind = userkit.UserIndividual
	for _, field := range fieldsOf("profile") {
		in := v.inputOf(field, v.fieldText(field, &empty), refused, licenses)
		if field.Name == "license" {
			in.Choices[0].Text = v.T("The project’s default")
		}
		p.Inputs = append(p.Inputs, in)
	}
	for _, field := range fieldsOf("billing") {
		p.Billing = append(p.Billing, v.inputOf(field, v.fieldText(field, &empty), refused, licenses))
	}
	for _, status := range []userkit.Status{userkit.StatusInactive, userkit.StatusActive, userkit.StatusInvited} {
		p.Statuses = append(p.Statuses, choice{string(status), v.Label(status), refused.Value("status", "inactive") == string(status)})
	}
	return v.render(w, status, "create", p)
}

func (c *console) createUser(v *view, w http.ResponseWriter, r *http.Request) error {
	var draft userkit.UserDraft
	names := []string{"status"}
	var fault error
	for _, field := range append(fieldsOf("profile"), fieldsOf("billing")...) {
		names = append(names, field.Name)
		text := r.PostForm.Get(field.Name)
		if strings.TrimSpace(text) == "" || fault != nil {
			continue
		}
		var value any
		if value, fault = v.parseField(field, text); fault == nil {
			fault = draft.Set(field.Name, value)
		}
	}
	var user userkit.User
	err := fault
	if err == nil {
		draft.Create.Status = userkit.Status(r.PostForm.Get("status"))
		if id := r.PostForm.Get("user"); id != "" {
			draft.Create.ID, err = userkit.ParseID[userkit.User](id)
		}
	}
	if err == nil {
		user, err = c.users.CreateUser(r.Context(), draft.Create)
		if errors.Is(err, userkit.ErrExists) && !draft.Create.ID.IsZero() {
			// A form that is sent twice, as by a double click, makes one user. One that was
			// filled in anew since, as after going back, makes another.
			if made, findErr := c.users.User(r.Context(), draft.Create.ID); findErr == nil {
				if user, err = made, nil; !madeOf(made, &draft) {
					draft.Create.ID = userkit.NewID[userkit.User]()
					user, err = c.users.CreateUser(r.Context(), draft.Create)
				}
			}
		}
	}
	if err != nil {
		if !shown(err) {
			return err
		}
		return c.showNewUser(v, w, r, statusOf(err), v.rejected(r, err, names...))
	}
	return v.done(w, "/users/"+user.ID.String(), v.T("The user is created."))
}

// madeOf reports whether a user was made from a draft, which is so if everything that tells people
// apart is the same in both.
func madeOf(user userkit.User, draft *userkit.UserDraft) bool {
	said := draft.Create
	same := func(kept, text string) bool { return strings.EqualFold(kept, strings.TrimSpace(text)) }
	return same(user.Login, said.Login) && same(user.Email, said.Email) && same(user.ExtRef, said.ExtRef) && same(user.Name, said.Name)
}

// Dialog returns the address of the tab with a dialog open.
func (p *userPage) Dialog(do, target string) string {
	values := p.request.URL.Query()
	values.Set("do", do)
	if target != "" {
		values.Set("target", target)
	}
	return p.URL(p.Tab) + "?" + values.Encode()
}

// Close returns the address of the tab without a dialog.
func (p *userPage) Close() string {
	values := url.Values{}
	for name, value := range p.request.URL.Query() {
		if name != "do" && name != "target" {
			values[name] = value
		}
	}
	address := p.Base + "/users/" + p.User.ID.String()
	if p.Tab != "" {
		address += "/" + p.Tab
	}
	if encoded := values.Encode(); encoded != "" {
		address += "?" + encoded
	}
	return address
}
