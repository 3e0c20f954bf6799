package userkit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Message is a private message to one user.
type Message struct {
	ID     MessageID `json:"id"`
	UserID UserID    `json:"user_id"`

	Subject string            `json:"subject,omitempty"`
	Body    string            `json:"body,omitempty"`
	Format  MessageFormat     `json:"format"`
	Data    map[string]string `json:"data,omitempty"` // for the application; see NewMessage.Data

	Origin MessageOrigin `json:"origin"`
	Key    string        `json:"key,omitempty"` // the idempotency key; unique per user where there is one

	SentAt    time.Time `json:"sent_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: never
	ReadAt    time.Time `json:"read_at,omitzero"`    // zero: unread
}

// Expired reports whether the message has expired at a moment.
func (m Message) Expired(now time.Time) bool {
	return !m.ExpiresAt.IsZero() && !now.Before(m.ExpiresAt)
}

// MessageFormat is how the body of a message is meant to be shown.
type MessageFormat string

// The formats. A program that does not support Markdown shows the body as plain text. One that
// renders it must not pass through any HTML in it.
const (
	MessagePlain    MessageFormat = "plain"
	MessageMarkdown MessageFormat = "markdown"
)

// MessageSource says how a message was sent.
type MessageSource string

// The sources.
const (
	MessageFromActor MessageSource = "actor" // somebody called SendMessage
	MessageFromMail  MessageSource = "mail"  // a mail was received for the user
)

// MessageOrigin says where a message comes from.
type MessageOrigin struct {
	Source MessageSource `json:"source"`
	Actor  Actor         `json:"actor"`         // the caller of SendMessage; for a mail, its receiver
	Mail   MailOrigin    `json:"mail,omitzero"` // only of a mail
}

// MailOrigin describes the mail that became a message. Only DMARC proves anything: the sender of a
// mail chooses all the rest.
type MailOrigin struct {
	// MessageID identifies the mail: a mail with the MessageID of an earlier message to the same
	// user is the same message. It is the mail's Message-ID or, for a mail without one, a digest of
	// the mail. It has 1 to MaxLine characters; the receiver replaces a longer one by a digest.
	MessageID string `json:"message_id"`

	From         string      `json:"from,omitempty"`          // the address of the header From
	FromName     string      `json:"from_name,omitempty"`     // the name beside it
	EnvelopeFrom string      `json:"envelope_from,omitempty"` // the sender that SMTP named; empty for reports
	Marks        []MailMark  `json:"marks,omitempty"`         // without duplicates; none: there is no sign of a program
	DMARC        DMARCResult `json:"dmarc,omitempty"`         // empty: not evaluated
	Truncated    bool        `json:"truncated,omitempty"`     // the mail was cut short; what came of it was kept
}

// IsZero reports whether there was no mail.
func (o MailOrigin) IsZero() bool {
	return o.MessageID == "" && o.From == "" && o.FromName == "" && o.EnvelopeFrom == "" && len(o.Marks) == 0 && o.DMARC == "" && !o.Truncated
}

// MailMark is a sign that a mail was sent by a program.
type MailMark string

// The marks.
const (
	MailAutoSubmitted  MailMark = "auto_submitted"  // RFC 3834
	MailBulk           MailMark = "bulk"            // Precedence is bulk, junk or list
	MailList           MailMark = "list"            // RFC 2919
	MailSuppressed     MailMark = "suppressed"      // X-Auto-Response-Suppress
	MailNullSender     MailMark = "null_sender"     // the envelope names no sender
	MailDeliveryReport MailMark = "delivery_report" // RFC 3464
	MailLoop           MailMark = "loop"            // it has been delivered to this address before
)

// DMARCResult is the result of the DMARC evaluation (RFC 7489) of a mail.
type DMARCResult string

// The results.
const (
	DMARCPass      DMARCResult = "pass"
	DMARCFail      DMARCResult = "fail"
	DMARCNone      DMARCResult = "none"      // the domain publishes no policy
	DMARCTempError DMARCResult = "temperror" // temporary error: it could not be evaluated
	DMARCPermError DMARCResult = "permerror" // the policy cannot be read
)

// NewMessage describes a message to send.
type NewMessage struct {
	Subject string        `json:"subject,omitempty"` // one line, at most MaxLine characters
	Body    string        `json:"body,omitempty"`    // at most MaxMessageBody characters; one of the two is required
	Format  MessageFormat `json:"format,omitempty"`  // empty: MessagePlain

	// Data is passed to the application on the user's devices and follows the rules of
	// Notification.Data. It has at most MaxMessageData bytes, and the key "message_id" is reserved
	// for the id of the message.
	Data map[string]string `json:"data,omitempty"`

	// ExpiresAt is when the message expires: it then no longer counts as unread, and no device is
	// notified of it. It must be in the future, unless the call repeats one that sent the message;
	// zero: never.
	ExpiresAt time.Time `json:"expires_at,omitzero"`

	// Key makes the call safe to repeat: a call with the same key and content returns the message
	// that was sent before. It has at most MaxLine characters and is unique per user; if it is
	// empty, every call sends a message. A key must not begin with "mail:" or "bulk:", which
	// userkit uses for received mails and for bulk actions. A message that retention has deleted no
	// longer holds its key; see WithRetention.
	Key string `json:"key,omitempty"`

	// Mail, if it has a MessageID, says that the message is a received mail. The MessageID replaces
	// the key, and the first mail with it counts, whatever the content of later ones. Invisible characters,
	// which lines such as a subject refuse, are left out of the subject and of the sender's name of
	// a mail, and replaced by U+FFFD in its addresses and its id.
	Mail MailOrigin `json:"mail,omitzero"`
}

// Bounds of messages.
const (
	MaxMessageBody = 100_000                  // characters
	MaxMessageData = MaxNotificationData - 64 // bytes: the rest is for the id of the message
	MaxMarkRead    = 1000                     // messages in one call of MarkRead
)

// messageIDKey is reserved in the data of a message for its id.
const messageIDKey = "message_id"

// mailKey begins the keys of messages that came by mail.
const mailKey = "mail:"

// MessageQuery asks for a page of messages.
type MessageQuery struct {
	MessageFilter
	PageQuery // default order: newest first; any field of MessageFields
}

// MessageFilter says which messages; the zero filter means all of the project.
type MessageFilter struct {
	UserID     UserID `json:"user_id,omitzero"`      // zero: of all users
	OnlyUnread bool   `json:"only_unread,omitempty"` // neither read nor expired

	// Now is the moment of OnlyUnread. Managers set it.
	Now time.Time `json:"-"`
}

// MessageManager sends messages to users and records what they have read.
//
// Calls that name a message return ErrNotFound with CodeMessageNotFound when there is none,
// and calls that name a user ErrNotFound with CodeUserNotFound.
type MessageManager interface {
	// SendMessage adds a message to the user's list of messages. In the same commit it creates a
	// delivery for each device of the user that has a push token and a notifier (see
	// WithNotifiers); DeliverDueMessages then notifies the device.
	//
	// It returns ErrInvalid with CodeRequired, CodeTooLong, CodeBadText, CodeBadFormat,
	// CodeUnknownValue or CodeOutOfRange for an invalid message, and with CodeKeyReused if another
	// message was sent with the key. The status of the user makes no difference.
	SendMessage(ctx context.Context, user UserID, message NewMessage) (Message, error)

	// Message returns one message.
	Message(ctx context.Context, id MessageID) (Message, error)

	// Messages returns a page of messages, including those that have expired unless the query asks
	// for unread ones.
	Messages(ctx context.Context, query MessageQuery) (Page[Message], error)

	// CountMessages returns how many messages a query has on all of its pages together, as they are now.
	// The PageQuery of the query does not matter.
	CountMessages(ctx context.Context, query MessageQuery) (int64, error)

	// CountUnread counts the messages of a user that are neither read nor expired. An
	// unknown user has none.
	CountUnread(ctx context.Context, user UserID) (int64, error)

	// MarkRead marks at most MaxMarkRead messages of a user as read, and returns how many of them
	// were unread. Ids that are not those of messages of the user are ignored.
	MarkRead(ctx context.Context, user UserID, ids ...MessageID) (int, error)

	// Deliveries returns a page of deliveries: those of a message, of a user, or of the whole
	// project.
	Deliveries(ctx context.Context, query DeliveryQuery) (Page[Delivery], error)

	// CountDeliveries returns how many deliveries a query has on all of its pages together, as they are now.
	// The PageQuery of the query does not matter.
	CountDeliveries(ctx context.Context, query DeliveryQuery) (int64, error)

	// DeliverDueMessages notifies the devices whose deliveries are due, through the notifiers of
	// WithNotifiers. Each delivery is leased for a short time, so that many processes can share the
	// work and no device is notified by two at once; the leases of a process that ends expire, and
	// its work is taken over. A device is notified at least once; all notifications of one message
	// have the same CollapseID, so that the device shows only one. A delivery that the push service
	// cannot accept now is retried with a back-off that doubles up to an hour, until the message
	// expires or MaxDeliveryAge has passed. Push services do not wait for one another: one that hangs
	// or has a backlog delays only its own devices. Deliveries for which this process has no notifier
	// are left to others, until they expire. Run calls this method.
	//
	// A push token that its service reports as no longer valid (NotificationGone) is cleared,
	// unless it has been set since. A notifier that reports this for most of the devices that this
	// process has reached through it is taken for misconfigured: nothing is cleared then, and this
	// is logged once an hour.
	DeliverDueMessages(ctx context.Context) (DeliveryReport, error)
}

// MessageFields is the table of the fields of a message that lists sort by.
func MessageFields() []Field[Message] { return append([]Field[Message](nil), messageFields.fields...) }

var messageFields = newFieldTable(
	func(m *Message) [16]byte { return m.ID },
	Order{Field: "sent_at", Descending: true},
	Field[Message]{Name: "id", Kind: KindID, Get: func(m *Message) any { return m.ID.String() }},
	Field[Message]{Name: "user_id", Kind: KindID, Get: func(m *Message) any { return m.UserID.String() }},
	Field[Message]{Name: "source", Kind: KindCode, Get: func(m *Message) any { return string(m.Origin.Source) }},
	Field[Message]{Name: "sent_at", Kind: KindTime, Get: func(m *Message) any { return m.SentAt }},
	Field[Message]{Name: "expires_at", Kind: KindTime, Get: func(m *Message) any { return m.ExpiresAt }},
	Field[Message]{Name: "read_at", Kind: KindTime, Get: func(m *Message) any { return m.ReadAt }},
)

// isZero reports whether nothing of a message is set.
func (n NewMessage) isZero() bool {
	return n.Subject == "" && n.Body == "" && n.Format == "" && len(n.Data) == 0 && n.ExpiresAt.IsZero() && n.Key == "" && n.Mail.IsZero()
}

// normalise checks a message and fills in what it leaves open.
func (n NewMessage) normalise() (NewMessage, error) {
	if n.Format == "" {
		n.Format = MessagePlain
	}
	n.ExpiresAt = storedTime(n.ExpiresAt)
	n.Data = maps.Clone(n.Data)
	if len(n.Data) == 0 {
		n.Data = nil
	}
	if n.Subject == "" && n.Body == "" {
		return n, NewError(CodeRequired, "body", "a message needs a subject or a body")
	}
	if n.Format != MessagePlain && n.Format != MessageMarkdown {
		return n, NewError(CodeUnknownValue, "format", "unknown format of messages %q", clip(string(n.Format)))
	}
	if strings.HasPrefix(n.Key, mailKey) || strings.HasPrefix(n.Key, bulkKey) {
		return n, NewError(CodeBadFormat, "key", "keys that begin with %q or %q are userkit's own", mailKey, bulkKey)
	}
	mail := !n.Mail.IsZero()
	id := n.Mail.MessageID
	if mail {
		if n.Subject, n.Mail = withoutHidden(n.Subject, ""), n.Mail.visible(); n.Subject == "" && n.Body == "" {
			n.Subject = string(utf8.RuneError) // there was one that nobody sees
		}
	}
	if err := firstError(
		checkLine("subject", n.Subject, MaxLine), checkLines("body", n.Body, MaxMessageBody), checkMessageData(n.Data),
		checkTime("expires_at", n.ExpiresAt), checkLine("key", n.Key, MaxLine),
	); err != nil {
		return n, err
	}
	if !mail {
		return n, nil
	}
	if n.Key != "" {
		return n, NewError(CodeBadFormat, "key", "the key of a mail is its message id")
	}
	if id == "" {
		return n, NewError(CodeRequired, "mail.message_id", "a mail needs its message id")
	}
	digest := sha256.Sum256([]byte(id))
	n.Key = mailKey + hex.EncodeToString(digest[:])
	n.Mail.Marks = slices.Clone(n.Mail.Marks)
	return n, n.Mail.check()
}

// visible returns the origin without the invisible characters that lines refuse. Nobody who could
// would correct them: they are left out of the name, and can be seen in an address.
func (o MailOrigin) visible() MailOrigin {
	const seen = string(utf8.RuneError)
	o.FromName = withoutHidden(o.FromName, "")
	o.MessageID, o.From, o.EnvelopeFrom = withoutHidden(o.MessageID, seen), withoutHidden(o.From, seen), withoutHidden(o.EnvelopeFrom, seen)
	return o
}

func (o MailOrigin) check() error {
	for i, mark := range o.Marks {
		switch mark {
		case MailAutoSubmitted, MailBulk, MailList, MailSuppressed, MailNullSender, MailDeliveryReport, MailLoop:
		default:
			return NewError(CodeUnknownValue, "mail.marks", "unknown mark %q", clip(string(mark)))
		}
		if slices.Contains(o.Marks[:i], mark) {
			return NewError(CodeBadFormat, "mail.marks", "the mark %s occurs twice", mark)
		}
	}
	switch o.DMARC {
	case "", DMARCPass, DMARCFail, DMARCNone, DMARCTempError, DMARCPermError:
	default:
		return NewError(CodeUnknownValue, "mail.dmarc", "unknown result of DMARC %q", clip(string(o.DMARC)))
	}
	return firstError(
		checkLine("mail.message_id", o.MessageID, MaxLine), checkLine("mail.from", o.From, MaxLine),
		checkLine("mail.from_name", o.FromName, MaxLine), checkLine("mail.envelope_from", o.EnvelopeFrom, MaxLine),
	)
}

func checkMessageData(data map[string]string) error {
	if _, taken := data[messageIDKey]; taken {
		return NewError(CodeBadFormat, "data", "the key %q is userkit's own", messageIDKey)
	}
	size := 0
	for key, value := range data {
		size += len(key) + len(value)
		if err := checkLines("data", value, MaxMessageData); err != nil {
			return err
		}
	}
	if size > MaxMessageData {
		return NewError(CodeTooLong, "data", "the data exceed the limit of %d bytes, keys included", MaxMessageData)
	}
	return checkNotificationData(data)
}

// inTime returns an error for a message that has expired when it is sent.
func (n NewMessage) inTime(now time.Time) error {
	if !n.ExpiresAt.IsZero() && !now.Before(n.ExpiresAt) {
		return NewError(CodeOutOfRange, "expires_at", "a message must expire after it is sent")
	}
	return nil
}

// send decides on a message under the given id, and on its deliveries.
func (n NewMessage) send(state *State, o origin, id MessageID, notifiers notifiers) (Message, Change, error) {
	for _, sent := range state.Messages {
		if n.Key == "" || sent.Key != n.Key {
			continue
		}
		if n.Mail.IsZero() && !n.made(&sent) {
			return Message{}, Change{}, NewError(CodeKeyReused, "key", "the key belongs to message %s, which has other content", sent.ID)
		}
		return sent, Change{}, nil
	}
	if err := n.inTime(o.now); err != nil { // one that was sent before may have expired since
		return Message{}, Change{}, err
	}
	if len(notifiers) > 0 && state.User.Devices > 0 && !state.complete.devices {
		return Message{}, Change{}, needMore{Want{AllDevices: true}}
	}
	message := Message{
		ID: id, UserID: state.User.ID, Subject: n.Subject, Body: n.Body, Format: n.Format, Data: maps.Clone(n.Data),
		Origin: MessageOrigin{Source: MessageFromActor, Actor: o.actor}, Key: n.Key,
		SentAt: o.now, ExpiresAt: n.ExpiresAt,
	}
	if !n.Mail.IsZero() {
		message.Origin.Source, message.Origin.Mail = MessageFromMail, n.Mail
		message.Origin.Mail.Marks = slices.Clone(n.Mail.Marks)
	}
	c := state.change()
	c.Messages.Insert = append(c.Messages.Insert, message)
	for i := range state.Devices {
		if device := &state.Devices[i].Device; device.PushToken != "" && notifiers.of(device.Type) != nil {
			c.Deliveries.Insert = append(c.Deliveries.Insert, newDelivery(&message, device))
		}
	}
	o.record(&c, EventMessageSent, DeviceID{}, "message_id", id.String(), "source", message.Origin.Source)
	return message, c, nil
}

// made reports whether a message is the one that n sends.
func (n NewMessage) made(m *Message) bool {
	return m.Subject == n.Subject && m.Body == n.Body && m.Format == n.Format && maps.Equal(m.Data, n.Data) && m.ExpiresAt.Equal(n.ExpiresAt)
}

// markRead decides which of the messages that are loaded become read.
func markRead(state *State, o origin, ids []MessageID) (int, Change, error) {
	c := state.change()
	for _, message := range state.Messages {
		if !slices.Contains(ids, message.ID) || !message.ReadAt.IsZero() {
			continue
		}
		message.ReadAt = o.now
		c.Messages.Update = append(c.Messages.Update, message)
	}
	count := len(c.Messages.Update)
	if count == 0 {
		return 0, Change{}, nil
	}
	o.record(&c, EventMessagesRead, DeviceID{}, "messages", count)
	return count, c, nil
}

func (m *manager) SendMessage(ctx context.Context, user UserID, message NewMessage) (_ Message, err error) {
	ctx, call, err := enter(ctx, m, opSendMessage, user)
	if err != nil {
		return Message{}, err
	}
	defer call.leave(ctx, &err)
	if message, err = message.normalise(); err != nil {
		return Message{}, err
	}
	id := NewID[Message]()
	sent, err := change(ctx, m, command{want: m.sendingTo(user, message.Key)}, func(state *State) (Message, Change, error) {
		return message.send(state, call.origin, id, m.notifiers)
	})
	if err == nil {
		m.wakeDelivery()
	}
	return sent, err
}

// sendingTo returns what the decision on a message has to know.
func (m *manager) sendingTo(user UserID, key string) Want {
	want := Want{User: user, AllDevices: len(m.notifiers) > 0}
	if key != "" {
		want.MessageKeys = []string{key}
	}
	return want
}

func (m *manager) Message(ctx context.Context, id MessageID) (_ Message, err error) {
	ctx, call, err := enter(ctx, m, opMessage, id)
	if err != nil {
		return Message{}, err
	}
	defer call.leave(ctx, &err)
	return m.store.Message(ctx, id)
}

func (m *manager) Messages(ctx context.Context, query MessageQuery) (_ Page[Message], err error) {
	ctx, call, err := enterOf(ctx, m, opMessages, &query.UserID)
	if err != nil {
		return Page[Message]{}, err
	}
	defer call.leave(ctx, &err)
	filter := query.MessageFilter
	filter.Now = call.now
	return readPage(query.PageQuery, messageFields, "messages", query.MessageFilter, func(list ListRange) ([]Message, error) {
		return m.store.Messages(ctx, filter, list)
	})
}

func (m *manager) CountMessages(ctx context.Context, query MessageQuery) (_ int64, err error) {
	ctx, call, err := enterOf(ctx, m, opCountMessages, &query.UserID)
	if err != nil {
		return 0, err
	}
	defer call.leave(ctx, &err)
	query.Now = call.now
	return m.store.CountMessages(ctx, query.MessageFilter)
}

func (m *manager) CountUnread(ctx context.Context, user UserID) (_ int64, err error) {
	ctx, call, err := enter(ctx, m, opCountUnread, user)
	if err != nil {
		return 0, err
	}
	defer call.leave(ctx, &err)
	if user.IsZero() {
		return 0, nil
	}
	return m.store.CountMessages(ctx, MessageFilter{UserID: user, OnlyUnread: true, Now: call.now})
}

func (m *manager) MarkRead(ctx context.Context, user UserID, ids ...MessageID) (_ int, err error) {
	ctx, call, err := enter(ctx, m, opMarkRead, user)
	if err != nil {
		return 0, err
	}
	defer call.leave(ctx, &err)
	if len(ids) > MaxMarkRead {
		return 0, NewError(CodeOutOfRange, "ids", "%d messages exceed the limit of %d", len(ids), MaxMarkRead)
	}
	ids = slices.Clone(ids)
	return change(ctx, m, command{want: Want{User: user, Messages: ids}}, func(state *State) (int, Change, error) {
		return markRead(state, call.origin, ids)
	})
}
