package userkit

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ActorKind says what kind of caller acts.
type ActorKind string

// The kinds of actor. An empty kind means ActorSystem.
const (
	ActorSystem        ActorKind = "system"        // the host itself
	ActorUser          ActorKind = "user"          // a user, for itself
	ActorAdministrator ActorKind = "administrator" // a person of the host's staff
	ActorNode          ActorKind = "node"          // a server of the host
)

// Actor is the one who makes a call. The host puts it into the context with WithActor, and every
// change is recorded with it.
type Actor struct {
	Kind ActorKind `json:"kind"`
	ID   string    `json:"id,omitempty"`   // in the host's own system, or a user id; at most MaxLine characters
	Name string    `json:"name,omitempty"` // for people to read; at most MaxLine characters
	// OnBehalfOf is the user to whom an administrator is connected; zero: none. Only Resume sets
	// it: a call is refused if it was set in any other way.
	OnBehalfOf UserID `json:"on_behalf_of,omitzero"`
}

// Without returns what remains of an actor after a user has been deleted: the actor without
// anything that names that user.
func (a Actor) Without(user UserID) Actor {
	if a.ID == user.String() {
		a.ID, a.Name = "", ""
	}
	if a.OnBehalfOf == user {
		a.OnBehalfOf = UserID{}
	}
	return a
}

// caller is what a context says about who makes a call.
type caller struct {
	actor      Actor
	connection *connected // nil: none
	trusted    bool       // a duty of the manager's own, or what an authorizer looks up
}

type callerKey struct{}

// callerOf returns the caller of a context; its actor has a kind.
func callerOf(ctx context.Context) caller {
	from, _ := ctx.Value(callerKey{}).(caller)
	if from.actor.Kind == "" {
		from.actor.Kind = ActorSystem
	}
	if from.connection != nil && from.actor.OnBehalfOf.IsZero() {
		from.actor.OnBehalfOf = from.connection.UserID
	}
	return from
}

func withCaller(ctx context.Context, from caller) context.Context {
	return context.WithValue(ctx, callerKey{}, from)
}

// WithActor returns a context in which changes are recorded as made by actor.
func WithActor(ctx context.Context, actor Actor) context.Context {
	from := callerOf(ctx)
	from.actor = actor
	return withCaller(ctx, from)
}

// ActorFrom returns the actor of a context, and ActorSystem when it has none.
func ActorFrom(ctx context.Context) Actor { return callerOf(ctx).actor }

// EventName names what happened.
type EventName string

// The names of userkit's own events. The events of hosts have other names.
const (
	EventUserCreated             EventName = "user.created"
	EventUserUpdated             EventName = "user.updated" // with a FieldChange for each field, the old and the new value
	EventUserActivated           EventName = "user.activated"
	EventUserDeactivated         EventName = "user.deactivated"
	EventUserLoggedIn            EventName = "user.logged_in"
	EventActivationRequested     EventName = "user.activation_requested"
	EventEmailConfirmed          EventName = "user.email_confirmed"
	EventPushMailGenerated       EventName = "user.push_mail_generated"
	EventPushMailRevoked         EventName = "user.push_mail_revoked"
	EventUserDeleted             EventName = "user.deleted"
	EventLicenseSet              EventName = "user.license_set"
	EventDeviceRegistered        EventName = "device.registered"
	EventDeviceUpdated           EventName = "device.updated"
	EventDeviceDeleted           EventName = "device.deleted"
	EventTokenRotated            EventName = "device.token_rotated"
	EventTokenRevealed           EventName = "device.token_revealed"
	EventTokenResealed           EventName = "device.token_resealed"
	EventLocationsForgotten      EventName = "user.locations_forgotten"
	EventSessionStarted          EventName = "session.started"
	EventSessionEnded            EventName = "session.ended"
	EventSessionMoved            EventName = "session.moved"        // to the node that reported
	EventNodeRefused             EventName = "session.node_refused" // a node that is not the session's reported
	EventTrafficReported         EventName = "traffic.reported"
	EventTrafficLimitSet         EventName = "traffic.limit_set"
	EventBalanceRefilled         EventName = "balance.refilled"
	EventBalanceCharged          EventName = "balance.charged"
	EventBalanceCancelled        EventName = "balance.cancelled"
	EventPurchaseSubmitted       EventName = "purchase.submitted"
	EventPurchaseUpdated         EventName = "purchase.updated"
	EventPurchaseActivated       EventName = "purchase.activated"
	EventPurchaseDeactivated     EventName = "purchase.deactivated"
	EventPurchaseTransferred     EventName = "purchase.transferred"
	EventPurchaseRefundRequested EventName = "purchase.refund_requested" // the store asks the host before it decides about a refund
	EventPurchaseWithheld        EventName = "purchase.withheld"         // its user was deleted; another user who submits it does not get it
	EventPurchaseReleased        EventName = "purchase.released"         // it is no longer withheld
	EventPushTokenGone           EventName = "device.push_token_gone"    // its push service said so, and it was cleared
	EventPushTokenMoved          EventName = "device.push_token_moved"   // it was set for another device, and was cleared
	EventMessageSent             EventName = "message.sent"
	EventMessagesRead            EventName = "message.read"
	EventSegmentsAdded           EventName = "user.segments_added"
	EventSegmentRemoved          EventName = "user.segment_removed"
	EventRetentionApplied        EventName = "retention.applied" // of no user, as those below
	EventSegmentCreated          EventName = "segment.created"
	EventSegmentUpdated          EventName = "segment.updated"
	EventSegmentFrozen           EventName = "segment.frozen"
	EventSegmentDeleted          EventName = "segment.deleted"
	EventConnected               EventName = "user.connected"    // an administrator connected to the user
	EventDisconnected            EventName = "user.disconnected" // before the time of the connection was over
	EventAccessRefused           EventName = "access.refused"    // of the user that the call was about, or of none
)

// MaxEventData is the size of an event's data, in bytes of JSON.
const MaxEventData = 16 * 1024

// MaxMentions is the maximum number of other users that an event can mention.
const MaxMentions = 20

// Event is something that happened to a user or that a user did. Events form the activity list, the
// audit trail and the change feed. Every change that userkit makes writes its event in the same
// commit.
type Event struct {
	ID       EventID         `json:"id"`
	UserID   UserID          `json:"user_id"` // zero: an event of the project, of no user
	DeviceID DeviceID        `json:"device_id,omitzero"`
	Name     EventName       `json:"name"`
	Actor    Actor           `json:"actor"`
	At       time.Time       `json:"at"`
	Data     json.RawMessage `json:"data,omitempty"`     // a JSON value; its spacing and key order may change in storage
	Mentions []UserID        `json:"mentions,omitempty"` // other users that Data is about

	// Cursor continues a feed after this event. Only Feed sets it.
	Cursor FeedCursor `json:"cursor,omitempty"`
}

// NewEvent describes an event of the host to record.
type NewEvent struct {
	Name     EventName `json:"name"`               // required; 1 to 64 characters of a-z, 0-9, '.', '_', '-'
	DeviceID DeviceID  `json:"device_id,omitzero"` // zero: none
	At       time.Time `json:"at,omitzero"`        // zero: now
	Data     any       `json:"data,omitempty"`     // anything that encoding/json can write, at most MaxEventData bytes; nil: none

	// Mentions are the other users that Data is about, at most MaxMentions. When one of
	// them is deleted, Data is deleted with it.
	Mentions []UserID `json:"mentions,omitempty"`
}

// newEventFields are a NewEvent without its methods.
type newEventFields NewEvent

// UnmarshalJSON reads an event and keeps its data as written, so that no number loses digits.
func (n *NewEvent) UnmarshalJSON(data []byte) error {
	read := struct {
		newEventFields
		Data json.RawMessage `json:"data"`
	}{}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	*n = NewEvent(read.newEventFields)
	if len(read.Data) > 0 && string(read.Data) != "null" {
		n.Data = read.Data
	}
	return nil
}

// EventQuery asks for a page of events, newest first.
type EventQuery struct {
	EventFilter
	PageQuery // the only order is by at
}

// EventFilter says which events; the zero filter means all of the project.
type EventFilter struct {
	UserID   UserID    `json:"user_id,omitzero"`   // zero: of all users
	DeviceID DeviceID  `json:"device_id,omitzero"` // zero: of all devices
	Name     EventName `json:"name,omitempty"`     // empty: all names
	// ActorKind and ActorID select the events of one actor, or of all actors of a kind or with an
	// id (see Actor); empty: of all.
	ActorKind ActorKind `json:"actor_kind,omitempty"`
	ActorID   string    `json:"actor_id,omitempty"`
	// Naming selects the events of other users, and of no user, that name this user as the actor,
	// as the one on whose behalf the actor acts, or among those mentioned; zero: all.
	Naming UserID    `json:"naming,omitzero"`
	From   time.Time `json:"from,omitzero"` // happened in [From, To); zero: no bound
	To     time.Time `json:"to,omitzero"`
}

// FeedCursor is an opaque place in the change feed; empty: the beginning.
type FeedCursor string

// ActivityManager records events and returns them.
type ActivityManager interface {
	// RecordEvent records an event of the host. It returns ErrInvalid with
	// CodeReservedName for one of userkit's own names, CodeBadFormat and
	// CodeTooLong, and ErrNotFound with CodeUserNotFound.
	RecordEvent(ctx context.Context, user UserID, event NewEvent) (Event, error)

	// Events returns a page of events, newest first.
	Events(ctx context.Context, query EventQuery) (Page[Event], error)

	// CountEvents returns how many events a query has on all of its pages together, as they are now.
	// The PageQuery of the query does not matter.
	CountEvents(ctx context.Context, query EventQuery) (int64, error)

	// Feed yields the events of the project after a cursor, in an order that
	// never changes, and ends when there are no more for now; continue later from the Cursor of the
	// last event. No event is skipped, although changes commit out of order: an event appears only
	// when none can appear before it any more. A host that stores the cursor after its own work
	// sees each event at least once. A cursor before events that retention has deleted (see
	// WithRetention) yields ErrConflict with CodeCursorExpired: the follower must then rebuild its
	// state, and continue from the empty cursor, which begins with the oldest event that is kept. A
	// damaged cursor yields ErrInvalid with CodeInvalidCursor, and a cursor of another store yields
	// ErrInvalid with CodeCursorMismatch.
	Feed(ctx context.Context, after FeedCursor) iter.Seq2[Event, error]

	// Follow yields the events of the feed as Feed does, and then waits for further ones: those of
	// this manager arrive within milliseconds, those of other processes within about a second. It
	// ends with the error of the context or, after Close, with ErrUnavailable and CodeClosed. It
	// calls Feed repeatedly, and is authorized as Feed.
	Follow(ctx context.Context, after FeedCursor) iter.Seq2[Event, error]
}

// EventNames returns the names of userkit's own events, in alphabetical order.
func EventNames() []EventName { return slices.Sorted(maps.Keys(ownEvents)) }

// ownEvents are the names that a host's own events may not have.
var ownEvents = map[EventName]bool{
	EventUserCreated: true, EventUserUpdated: true, EventUserActivated: true, EventUserDeactivated: true,
	EventUserLoggedIn: true, EventUserDeleted: true, EventLicenseSet: true, EventDeviceRegistered: true,
	EventDeviceUpdated: true, EventDeviceDeleted: true, EventTokenRotated: true, EventTokenRevealed: true,
	EventTokenResealed: true, EventSessionStarted: true, EventSessionEnded: true, EventSessionMoved: true, EventNodeRefused: true, EventTrafficReported: true,
	EventTrafficLimitSet: true, EventBalanceRefilled: true, EventBalanceCharged: true, EventBalanceCancelled: true,
	EventSegmentsAdded: true, EventSegmentRemoved: true, EventSegmentCreated: true, EventSegmentUpdated: true,
	EventSegmentFrozen: true, EventSegmentDeleted: true, EventPurchaseSubmitted: true, EventPurchaseUpdated: true,
	EventPurchaseActivated: true, EventPurchaseRefundRequested: true, EventPurchaseDeactivated: true, EventPurchaseTransferred: true,
	EventActivationRequested: true, EventEmailConfirmed: true, EventPushMailGenerated: true, EventPushMailRevoked: true, EventAccessRefused: true,
	EventPurchaseWithheld: true, EventPurchaseReleased: true,
	EventConnected: true, EventDisconnected: true,
	EventMessageSent: true, EventMessagesRead: true, EventLocationsForgotten: true, EventPushTokenGone: true, EventPushTokenMoved: true, EventRetentionApplied: true,
}

// validate checks an actor that the host put into a context.
func (a Actor) validate() error {
	switch a.Kind {
	case ActorSystem, ActorUser, ActorAdministrator, ActorNode:
	default:
		return NewError(CodeUnknownValue, "actor.kind", "unknown kind of actor %q", clip(string(a.Kind)))
	}
	return firstError(checkLine("actor.id", a.ID, MaxLine), checkLine("actor.name", a.Name, MaxLine))
}

// eventData writes key, value, key, value … as a JSON object, without the values that are empty
// lists. It returns nil when nothing is left.
func eventData(pairs []any) json.RawMessage {
	var text []byte
	for i := 0; i+1 < len(pairs); i += 2 {
		before := len(text)
		text = append(text, `,"`...)
		text = append(append(text, pairs[i].(string)...), `":`...)
		switch value := pairs[i+1].(type) {
		case int64:
			text = strconv.AppendInt(text, value, 10)
		case TransactionID:
			text = append(append(append(text, '"'), value.String()...), '"')
		default:
			written, err := json.Marshal(value)
			if err != nil {
				panic("userkit: event data that JSON cannot write: " + err.Error())
			}
			if string(written) == "null" {
				text = text[:before]
				continue
			}
			text = append(text, written...)
		}
	}
	if len(text) == 0 {
		return nil
	}
	text[0] = '{'
	return append(text, '}')
}

// orLeftOut returns a text for eventData, which leaves out an empty one.
func orLeftOut(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// normalise checks a host's own event and returns its data as JSON.
func (n NewEvent) normalise() (json.RawMessage, error) {
	if ownEvents[n.Name] {
		return nil, NewError(CodeReservedName, "name", "%q is an event of userkit", n.Name)
	}
	if len(n.Name) == 0 || len(n.Name) > 64 || strings.Trim(string(n.Name), "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
		return nil, NewError(CodeBadFormat, "name", "%q cannot be the name of an event", clip(string(n.Name)))
	}
	if err := checkTime("at", n.At); err != nil {
		return nil, err
	}
	if len(n.Mentions) > MaxMentions {
		return nil, NewError(CodeTooLong, "mentions", "%d users exceed the limit of %d", len(n.Mentions), MaxMentions)
	}
	if n.Data == nil {
		return nil, nil
	}
	value, err := readJSON("data", n.Data, MaxEventData)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, NewError(CodeBadFormat, "data", "the data are not valid JSON").Because(err)
	}
	return text, nil
}

func (m *manager) RecordEvent(ctx context.Context, user UserID, event NewEvent) (_ Event, err error) {
	ctx, call, err := enter(ctx, m, opRecordEvent, user)
	if err != nil {
		return Event{}, err
	}
	defer call.leave(ctx, &err)
	data, err := event.normalise()
	if err != nil {
		return Event{}, err
	}
	at := call.now
	if !event.At.IsZero() {
		at = storedTime(event.At)
	}
	recorded := Event{ID: call.event, UserID: user, DeviceID: event.DeviceID, Name: event.Name, Actor: call.actor, At: at, Data: data}
	for _, id := range event.Mentions {
		if id != user && !id.IsZero() && !slices.Contains(recorded.Mentions, id) {
			recorded.Mentions = append(recorded.Mentions, id)
		}
	}
	return change(ctx, m, command{want: Want{User: user}}, func(state *State) (Event, Change, error) {
		c := state.change()
		c.Events = append(c.Events, recorded)
		return recorded, c, nil
	})
}

func (m *manager) Events(ctx context.Context, query EventQuery) (_ Page[Event], err error) {
	ctx, call, err := enterOf(ctx, m, opEvents, &query.UserID)
	if err != nil {
		return Page[Event]{}, err
	}
	defer call.leave(ctx, &err)
	if query.Sort != "" {
		return Page[Event]{}, NewError(CodeUnknownField, "sort", "events have only one order")
	}
	filter, err := query.EventFilter.normalise()
	if err != nil {
		return Page[Event]{}, err
	}
	return readPage(query.PageQuery, eventFields, "events", filter, func(list ListRange) ([]Event, error) {
		return m.store.Events(ctx, filter, list)
	})
}

func (m *manager) CountEvents(ctx context.Context, query EventQuery) (_ int64, err error) {
	ctx, call, err := enterOf(ctx, m, opCountEvents, &query.UserID)
	if err != nil {
		return 0, err
	}
	defer call.leave(ctx, &err)
	filter, err := query.EventFilter.normalise()
	if err != nil {
		return 0, err
	}
	return m.store.CountEvents(ctx, filter)
}

func (f EventFilter) normalise() (EventFilter, error) {
	f.From, f.To = storedTime(f.From), storedTime(f.To)
	if f.ActorKind == "" && f.ActorID == "" {
		return f, nil
	}
	return f, Actor{Kind: cmp.Or(f.ActorKind, ActorSystem), ID: f.ActorID}.validate()
}

func (m *manager) Feed(ctx context.Context, after FeedCursor) iter.Seq2[Event, error] {
	return sequence(ctx, m, opFeed, noTarget, func(ctx context.Context, _ call) iter.Seq2[Event, error] {
		return m.feed(ctx, after)
	})
}

func (m *manager) feed(ctx context.Context, after FeedCursor) iter.Seq2[Event, error] {
	const pageSize = 500
	return func(yield func(Event, error) bool) {
		position, err := after.position()
		if err != nil {
			yield(Event{}, err)
			return
		}
		for {
			events, err := m.store.Feed(ctx, position, pageSize)
			if err != nil {
				yield(Event{}, err)
				return
			}
			for _, item := range events {
				position = item.Position
				item.Event.Cursor = position.cursor()
				if !yield(item.Event, nil) {
					return
				}
			}
			if len(events) < pageSize {
				return
			}
		}
	}
}

// A feed cursor is version, feed, commit and event.
const (
	feedCursorVersion = 1
	feedCursorBytes   = 1 + 16 + 8 + 16
)

func (p FeedPosition) cursor() FeedCursor {
	data := append(make([]byte, 0, feedCursorBytes+4), feedCursorVersion)
	data = append(data, p.Feed[:]...)
	data = binary.BigEndian.AppendUint64(data, uint64(p.Commit))
	return FeedCursor(sumText(append(data, p.Event[:]...)))
}

func (c FeedCursor) position() (FeedPosition, error) {
	if c == "" {
		return FeedPosition{}, nil
	}
	data, intact := unsumText(string(c))
	if !intact || len(data) != feedCursorBytes || data[0] != feedCursorVersion {
		return FeedPosition{}, NewError(CodeInvalidCursor, "cursor", "the cursor is damaged")
	}
	return FeedPosition{Feed: [16]byte(data[1:]), Commit: int64(binary.BigEndian.Uint64(data[17:])), Event: EventID(data[25:])}, nil
}
