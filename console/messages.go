package console

import (
	"cmp"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"github.com/userkit/userkit"
)

// userMessagesPage is the tab of a user's messages.
type userMessagesPage struct {
	*userPage
	List       list
	Unread     int64
	OnlyUnread bool
	Key        string // makes the form send once, however often it is sent
	Formats    []choice

	Message    userkit.Message // of the open dialog
	Deliveries []userkit.Delivery
	Devices    map[userkit.DeviceID]userkit.Device
}

// DeviceName returns the name of a device of the user, or its id if it has been deleted.
func (p userMessagesPage) DeviceName(id userkit.DeviceID) string {
	device := p.Devices[id]
	switch {
	case device.Name != "":
		return device.Name
	case !device.ID.IsZero():
		return p.Label(device.Type)
	}
	return id.String()
}

func (c *console) showUserMessages(v *view, w http.ResponseWriter, r *http.Request) error {
	return c.showUserMessagesPage(v, w, r, http.StatusOK, nil)
}

func (c *console) showUserMessagesPage(v *view, w http.ResponseWriter, r *http.Request, status int, refused *form) error {
	base, err := c.loadUser(v, r, "messages")
	if err != nil {
		return err
	}
	base.Form = refused
	p := userMessagesPage{userPage: base, List: v.newList("sent_at", true), OnlyUnread: v.Query("unread") != "", Formats: v.messageFormats(refused)}
	p.Key = refused.Value("key", newMessageKey())
	query := userkit.MessageQuery{PageQuery: p.List.page()}
	query.UserID, query.OnlyUnread = base.User.ID, p.OnlyUnread
	found, err := c.users.Messages(r.Context(), query)
	if err != nil {
		return err
	}
	p.List.beside(found.Next, found.Previous)
	p.fill(found.Items)
	if base.Can("messages.count_unread") {
		if p.Unread, err = c.users.CountUnread(r.Context(), base.User.ID); err != nil {
			return err
		}
	}
	if v.Do() == "message" || v.Do() == "read" {
		if err := c.openMessage(r, &p); err != nil {
			return err
		}
	}
	return v.render(w, status, "user_messages", p)
}

// fill makes the table of messages.
func (p *userMessagesPage) fill(messages []userkit.Message) {
	type message = userkit.Message
	v, l := p.view, p.List
	p.List.Table = table[message]{label: v.T("Messages"), columns: []tableColumn[message]{
		{l.sorted("sent_at", v.T("Sent")), "", func(m *message) template.HTML { return v.Time(m.SentAt) }},
		{plain(v.T("Message")), "wrap", func(m *message) template.HTML {
			subject := `<b>` + brief(cmp.Or(m.Subject, v.T("Without a subject"))) + `</b>`
			if !p.Can("messages.get") {
				return subject
			}
			return `<a data-open href="` + escaped(p.Dialog("message", m.ID.String())) + `">` + subject + `</a>`
		}},
		{plain(v.T("Sender")), "", func(m *message) template.HTML { return v.sender(m) }},
		{l.sorted("read_at", v.T("Read")), "", func(m *message) template.HTML {
			if m.ReadAt.IsZero() {
				return badge("plain", v.T("Unread"))
			}
			return v.Time(m.ReadAt)
		}},
		{l.sorted("expires_at", v.T("Expires")), "", func(m *message) template.HTML { return v.Time(m.ExpiresAt) }},
		{hidden(v.T("Actions")), "number", func(m *message) template.HTML {
			if !m.ReadAt.IsZero() || !p.Can("messages.mark_read") {
				return ""
			}
			return v.action("check", v.T("Mark as read"), m.Subject, p.Dialog("read", m.ID.String()))
		}},
	}}.of(messages)
}

// sender returns who wrote a message.
func (v *view) sender(m *userkit.Message) template.HTML {
	if m.Origin.Source != userkit.MessageFromMail {
		return v.By(m.Origin.Actor)
	}
	return escaped(v.T("Mail")) + " " + isolated(cmp.Or(m.Origin.Mail.FromName, m.Origin.Mail.From))
}

// openMessage reads the message of the dialog. If the dialog shows it, openMessage also reads what
// became of its deliveries to devices.
func (c *console) openMessage(r *http.Request, p *userMessagesPage) error {
	id, err := userkit.ParseID[userkit.Message](p.Target)
	if err != nil {
		return errNoMessage()
	}
	if p.Message, err = c.users.Message(r.Context(), id); err != nil {
		return err
	}
	if p.Message.UserID != p.User.ID {
		return errNoMessage()
	}
	if p.Do() == "read" || !p.Can("messages.deliveries") {
		return nil
	}
	deliveries, err := c.users.Deliveries(r.Context(), userkit.DeliveryQuery{
		DeliveryFilter: userkit.DeliveryFilter{UserID: p.User.ID, MessageID: id}, PageQuery: userkit.PageQuery{Limit: 100},
	})
	if err != nil {
		return err
	}
	p.Deliveries = deliveries.Items
	if len(p.Deliveries) == 0 || !p.Can("devices.list") {
		return nil
	}
	devices, err := c.users.Devices(r.Context(), userkit.DeviceQuery{
		DeviceFilter: userkit.DeviceFilter{UserID: p.User.ID}, PageQuery: userkit.PageQuery{Limit: userkit.MaxPageLimit},
	})
	p.Devices = map[userkit.DeviceID]userkit.Device{}
	for _, device := range devices.Items {
		p.Devices[device.ID] = device
	}
	return err
}

func errNoMessage() error {
	return userkit.NewError(userkit.CodeMessageNotFound, "message", "no message of the user")
}

// newMessageKey returns a new key for a form that sends a message.
func newMessageKey() string { return "console-" + userkit.NewID[userkit.Message]().String() }

// messageFormats returns the formats to choose from.
func (v *view) messageFormats(f *form) []choice {
	var all []choice
	for _, format := range []userkit.MessageFormat{userkit.MessagePlain, userkit.MessageMarkdown} {
		all = append(all, choice{string(format), v.Label(format), f.Value("format", "") == string(format)})
	}
	return all
}

// messageFields are the fields of the form of a message.
var messageFields = []string{"subject", "body", "format", "expires_at"}

// readMessage reads the form of a message. The body stays as it was typed, except for the ends of
// lines.
func (v *view) readMessage(form url.Values) (userkit.NewMessage, error) {
	message := userkit.NewMessage{
		Subject: strings.TrimSpace(form.Get("subject")), Body: strings.ReplaceAll(form.Get("body"), "\r\n", "\n"),
		Format: userkit.MessageFormat(form.Get("format")), Key: form.Get("key"),
	}
	if strings.TrimSpace(message.Body) == "" {
		message.Body = ""
	}
	var err error
	if text := form.Get("expires_at"); text != "" {
		message.ExpiresAt, err = v.parseTime("expires_at", text)
	}
	return message, err
}

func (c *console) sendMessage(v *view, w http.ResponseWriter, r *http.Request) error {
	message, err := v.readMessage(r.PostForm)
	if err == nil {
		_, err = c.users.SendMessage(r.Context(), userOf(r), message)
	}
	if err != nil {
		if !shown(err) {
			return err
		}
		return c.showUserMessagesPage(v, w, r, statusOf(err), v.rejected(r, err, messageFields...))
	}
	return v.done(w, "/users/"+userOf(r).String()+"/messages", v.T("The message is sent."))
}

func (c *console) markRead(v *view, w http.ResponseWriter, r *http.Request) error {
	id, err := userkit.ParseID[userkit.Message](r.PostForm.Get("target"))
	if err != nil {
		return errNoMessage()
	}
	if _, err := c.users.MarkRead(r.Context(), userOf(r), id); err != nil {
		return err
	}
	return v.done(w, "/users/"+userOf(r).String()+"/messages", v.T("The message is marked as read."))
}

// messagesPage is the page on which a person writes to many users, and sees which devices were not
// notified.
type messagesPage struct {
	*view
	Form     *form
	Segments []choice   // to whom
	Inputs   url.Values // the users of a list, who take the place of a segment
	Filter   string     // of these, as text
	Formats  []choice

	Previewed bool
	Preview   userkit.BulkPreview
	Message   userkit.NewMessage

	List list // of the devices that were not told
}

// MaySend reports whether the person may write to many.
func (v *view) MaySend() bool {
	return v.May("messages.send") && v.May("users.preview_bulk") && v.May("users.execute_bulk")
}

// MayMessages reports whether the person may see the page of messages.
func (v *view) MayMessages() bool { return v.MaySend() || v.May("messages.deliveries") }

// audience are the parameters that say which users of a list are meant.
var audience = []string{"q", "filter", "user"}

func (c *console) showMessages(v *view, w http.ResponseWriter, r *http.Request) error {
	return c.showMessagesPage(v, w, r, http.StatusOK, &messagesPage{})
}

func (c *console) showMessagesPage(v *view, w http.ResponseWriter, r *http.Request, status int, p *messagesPage) error {
	if !v.MayMessages() {
		return v.require("messages.deliveries")
	}
	v.Title = v.T("Messages")
	p.view, p.List, p.Formats, p.Inputs = v, v.newList("created_at", true), v.messageFormats(p.Form), url.Values{}
	if err := r.ParseForm(); err != nil {
		return &refusal{http.StatusBadRequest, "The form cannot be read."}
	}
	offers := func() (segments userkit.Page[userkit.Segment], err error) { return segments, nil }
	if v.MaySend() {
		for _, name := range audience {
			if values := r.Form[name]; len(values) > 0 && values[0] != "" {
				p.Inputs[name] = values
			}
		}
		if len(p.Inputs) > 0 {
			for _, name := range []string{"segment", "all"} {
				if value := r.Form.Get(name); value != "" {
					p.Inputs.Set(name, value)
				}
			}
			request, fault := v.bulkRequest(p.Inputs)
			if fault != nil {
				return &refusal{http.StatusUnprocessableEntity, "This is not a filter."}
			}
			p.Filter = strings.TrimSpace(request.Users.Search + " " + request.Users.Filter.String())
		} else if v.May("segments.list") {
			offers = meanwhile(r.Context(), func() (userkit.Page[userkit.Segment], error) {
				return c.users.Segments(r.Context(), userkit.SegmentQuery{PageQuery: userkit.PageQuery{Limit: userkit.MaxPageLimit}})
			})
		}
	}
	var unread error
	if v.May("messages.deliveries") {
		unread = p.readDeliveries(c, r)
	}
	segments, err := offers()
	if err := cmp.Or(unread, err); err != nil {
		return err
	}
	for _, segment := range segments.Items {
		id := segment.ID.String()
		p.Segments = append(p.Segments, choice{id, segment.Name, r.Form.Get("segment") == id})
	}
	return v.render(w, status, "messages", p)
}

// readDeliveries reads the deliveries that failed, with the names of their users.
func (p *messagesPage) readDeliveries(c *console, r *http.Request) error {
	found, err := c.users.Deliveries(r.Context(), userkit.DeliveryQuery{
		DeliveryFilter: userkit.DeliveryFilter{OnlyFailed: true}, PageQuery: p.List.page(),
	})
	if err != nil {
		return err
	}
	p.List.beside(found.Next, found.Previous)
	people, err := namesIn(c, r, found.Items, func(d *userkit.Delivery) userkit.UserID { return d.UserID })
	if err == nil {
		p.fill(found.Items, people)
	}
	return err
}

// fill makes the table of the devices that were not notified.
func (p *messagesPage) fill(deliveries []userkit.Delivery, people names) {
	type delivery = userkit.Delivery
	v, l := p.view, p.List
	p.List.Table = table[delivery]{label: v.T("Devices that were not notified"), columns: []tableColumn[delivery]{
		{l.sorted("created_at", v.T("Sent")), "", func(d *delivery) template.HTML { return v.Time(d.CreatedAt) }},
		{plain(v.T("User")), "", func(d *delivery) template.HTML {
			return v.UserLink(d.UserID, "messages?do=message&target="+d.MessageID.String(), people.of(d.UserID))
		}},
		{plain(v.T("Device")), "mono", func(d *delivery) template.HTML { return escaped(d.DeviceID.String()) }},
		{l.sorted("state", v.T("State")), "", func(d *delivery) template.HTML { return v.Badge(d.State) }},
		{l.sorted("attempts", v.T("Attempts")), "number", func(d *delivery) template.HTML { return escaped(v.Number(d.Attempts)) }},
		{l.sorted("attempted_at", v.T("Last attempt")), "", func(d *delivery) template.HTML { return v.Time(d.AttemptedAt) }},
		{plain(v.T("Reason")), "", func(d *delivery) template.HTML { return isolated(d.Detail) }},
	}}.of(deliveries)
}

// readMessageToMany reads the form of a message to many.
func (v *view) readMessageToMany(form url.Values) (userkit.BulkRequest, error) {
	form.Set("action", string(userkit.BulkSendMessage))
	request, fault := v.bulkRequest(form)
	if fault != nil {
		return request, &refusal{http.StatusUnprocessableEntity, "This is not a filter."}
	}
	var err error
	request.Message, err = v.readMessage(form)
	return request, err
}

// previewMessage shows to how many users a message would go.
func (c *console) previewMessage(v *view, w http.ResponseWriter, r *http.Request) error {
	return c.previewMessageAgain(v, w, r, http.StatusOK, "")
}

func (c *console) previewMessageAgain(v *view, w http.ResponseWriter, r *http.Request, status int, general string) error {
	if err := v.costly(); err != nil {
		return err
	}
	p := &messagesPage{Form: &form{Values: r.PostForm, General: general}, Previewed: true}
	request, err := v.readMessageToMany(r.PostForm)
	if err == nil {
		p.Message = request.Message
		p.Preview, err = c.users.PreviewBulk(r.Context(), request)
	}
	if err != nil {
		if !shown(err) {
			return err
		}
		p.Form, p.Previewed, status = v.rejected(r, err, messageFields...), false, statusOf(err)
	}
	return c.showMessagesPage(v, w, r, status, p)
}

// sendToMany starts a job that sends the message that was previewed.
func (c *console) sendToMany(v *view, w http.ResponseWriter, r *http.Request) error {
	request, err := v.readMessageToMany(r.PostForm)
	if err != nil {
		return err
	}
	if err := v.require("messages.send"); err != nil {
		return err
	}
	token := userkit.BulkToken(r.PostForm.Get("token"))
	again, err := c.users.PreviewBulk(r.Context(), request)
	if err != nil {
		return err
	}
	if !again.Token.SameUsers(token) {
		return c.previewMessageAgain(v, w, r, http.StatusConflict, v.T(errorTexts[userkit.CodeAudienceChanged]))
	}
	return c.startBulk(v, w, r, request, token)
}
