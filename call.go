package userkit

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"
)

// operation is one method of Manager, as the door knows it.
type operation struct {
	name      string     // role and verb, such as "users.create"
	method    string     // of Manager
	target    TargetKind // what the call is about
	changes   bool       // whether it changes records, and so writes an event
	narrowed  bool       // is about the users who match a filter, which is combined with the scope
	ofProject bool       // can be about all users as well as about one
	connected connectedRule
}

// operations holds every operation, one for each method of Manager that does
// something. A test fails when a method has none.
var operations []*operation

// reads and writes add an operation to the table.

func reads(name, method string, target TargetKind) *operation {
	return define(operation{name: name, method: method, target: target})
}

func writes(name, method string, target TargetKind) *operation {
	return define(operation{name: name, method: method, target: target, changes: true})
}

func define(op operation) *operation {
	operations = append(operations, &op)
	return &op
}

// narrow marks an operation whose filter is combined with the scope: its users are found with
// selectUsers, which combines them, or checked with within.
func (op *operation) narrow() *operation {
	op.narrowed = true
	return op
}

// orProject marks an operation that lists what belongs to a user, or to all users.
func (op *operation) orProject() *operation {
	op.ofProject = true
	return op
}

// whileConnected marks an operation that is allowed while connected, and whenNamed one that is
// allowed if the policy names it.
func (op *operation) whileConnected() *operation {
	op.connected = connectedByDefault
	return op
}

func (op *operation) whenNamed() *operation {
	op.connected = connectedWhenNamed
	return op
}

// The table of operations.
var (
	opCreateUser       = writes("users.create", "CreateUser", TargetUser)
	opUser             = reads("users.get", "User", TargetUser).whileConnected()
	opFindUser         = reads("users.find", "FindUser", TargetProject).narrow().whileConnected()
	opUpdateUser       = writes("users.update", "UpdateUser", TargetUser).whileConnected()
	opActivateUser     = writes("users.activate", "ActivateUser", TargetUser).whileConnected()
	opDeactivateUser   = writes("users.deactivate", "DeactivateUser", TargetUser).whileConnected()
	opRecordLogin      = writes("users.record_login", "RecordLogin", TargetUser).whenNamed()
	opAccess           = reads("users.access", "Access", TargetUser).whileConnected()
	opDeleteUser       = writes("users.delete", "DeleteUser", TargetUser).whenNamed()
	opUsers            = reads("users.list", "Users", TargetProject).narrow().whileConnected()
	opUserNames        = reads("users.names", "UserNames", TargetProject).narrow().whileConnected()
	opAllUsers         = reads("users.walk", "AllUsers", TargetProject).narrow().whileConnected()
	opCountUsers       = reads("users.count", "CountUsers", TargetProject).narrow().whileConnected()
	opCheckLogins      = writes("users.check_logins", "CheckLogins", TargetProject)
	opSendActivation   = writes("users.send_activation", "SendActivation", TargetUser).whileConnected()
	opConfirmEmail     = writes("users.confirm_email", "ConfirmEmail", TargetProject)
	opUserRecords      = reads("users.records", "UserRecords", TargetUser).whileConnected()
	opImportUsers      = writes("users.import", "ImportUsers", TargetProject)
	opPreviewBulk      = reads("users.preview_bulk", "PreviewBulk", TargetProject).narrow()
	opExecuteBulk      = writes("users.execute_bulk", "ExecuteBulk", TargetProject).narrow()
	opGeneratePushMail = writes("users.generate_push_mail", "GeneratePushMail", TargetUser).whenNamed()
	opRevokePushMail   = writes("users.revoke_push_mail", "RevokePushMail", TargetUser).whenNamed()
	opPushMail         = reads("users.push_mail", "PushMail", TargetUser).whileConnected()

	opRegisterDevice = writes("devices.register", "RegisterDevice", TargetUser).whenNamed()
	opAuthenticate   = writes("devices.authenticate", "Authenticate", TargetProject)
	opDevice         = reads("devices.get", "Device", TargetDevice).whileConnected()
	opDevices        = reads("devices.list", "Devices", TargetUser).orProject().whileConnected()
	opCountDevices   = reads("devices.count", "CountDevices", TargetUser).orProject().whileConnected()
	opUpdateDevice   = writes("devices.update", "UpdateDevice", TargetDevice).whileConnected()
	opDeleteDevice   = writes("devices.delete", "DeleteDevice", TargetDevice).whileConnected()
	opRotateToken    = writes("devices.rotate_token", "RotateToken", TargetDevice).whenNamed()
	opRevealToken    = writes("devices.reveal_token", "RevealToken", TargetDevice).whenNamed()
	opResealTokens   = writes("devices.reseal_tokens", "ResealTokens", TargetProject)
	opSetLicense     = writes("devices.set_license", "SetLicense", TargetUser).whileConnected()
	opLicenses       = reads("devices.licenses", "Licenses", TargetProject).whileConnected()

	opReportLocation  = writes("locations.report", "ReportLocation", TargetDevice).whenNamed()
	opLocations       = reads("locations.list", "Locations", TargetUser).orProject().whileConnected()
	opForgetLocations = writes("locations.forget", "ForgetLocations", TargetUser).whileConnected()

	opStartSession       = writes("sessions.start", "StartSession", TargetUser).whenNamed()
	opReportUsage        = writes("sessions.report_usage", "ReportUsage", TargetProject)
	opEndSession         = writes("sessions.end", "EndSession", TargetSession).whileConnected()
	opEndSessions        = writes("sessions.end_on_node", "EndSessions", TargetProject)
	opCloseStaleSessions = writes("sessions.close_stale", "CloseStaleSessions", TargetProject)
	opSession            = reads("sessions.get", "Session", TargetSession).whileConnected()
	opSessions           = reads("sessions.list", "Sessions", TargetUser).orProject().whileConnected()
	opCountSessions      = reads("sessions.count", "CountSessions", TargetUser).orProject().whileConnected()
	opSetTrafficLimit    = writes("sessions.set_traffic_limit", "SetTrafficLimit", TargetUser).whileConnected()
	opTraffic            = reads("sessions.traffic", "Traffic", TargetUser).orProject().whileConnected()

	opSubmitPurchase          = writes("purchases.submit", "SubmitPurchase", TargetUser).whenNamed()
	opPurchase                = reads("purchases.get", "Purchase", TargetPurchase).whileConnected()
	opPurchases               = reads("purchases.list", "Purchases", TargetUser).orProject().whileConnected()
	opCountPurchases          = reads("purchases.count", "CountPurchases", TargetUser).orProject().whileConnected()
	opActivatePurchase        = writes("purchases.activate", "ActivatePurchase", TargetPurchase).whileConnected()
	opDeactivatePurchase      = writes("purchases.deactivate", "DeactivatePurchase", TargetPurchase).whileConnected()
	opVerifyDuePurchases      = writes("purchases.verify_due", "VerifyDuePurchases", TargetProject)
	opHandleStoreNotification = writes("purchases.handle_notification", "HandleStoreNotification", TargetProject)

	opSendMessage     = writes("messages.send", "SendMessage", TargetUser)
	opMessage         = reads("messages.get", "Message", TargetMessage).whileConnected()
	opMessages        = reads("messages.list", "Messages", TargetUser).orProject().whileConnected()
	opCountMessages   = reads("messages.count", "CountMessages", TargetUser).orProject().whileConnected()
	opCountUnread     = reads("messages.count_unread", "CountUnread", TargetUser).whileConnected()
	opMarkRead        = writes("messages.mark_read", "MarkRead", TargetUser).whileConnected()
	opDeliveries      = reads("messages.deliveries", "Deliveries", TargetUser).orProject().whileConnected()
	opCountDeliveries = reads("messages.count_deliveries", "CountDeliveries", TargetUser).orProject().whileConnected()
	opDeliverDue      = writes("messages.deliver_due", "DeliverDueMessages", TargetProject)

	opRefill            = writes("balance.refill", "Refill", TargetUser).whileConnected()
	opCharge            = writes("balance.charge", "Charge", TargetUser).whileConnected()
	opCancelLast        = writes("balance.cancel_last", "CancelLast", TargetUser).whileConnected()
	opTransactions      = reads("balance.transactions", "Transactions", TargetUser).orProject().whileConnected()
	opCountTransactions = reads("balance.count_transactions", "CountTransactions", TargetUser).orProject().whileConnected()
	opVerifyBalances    = reads("balance.verify", "VerifyBalances", TargetProject)

	opCreateSegment     = writes("segments.create", "CreateSegment", TargetSegment)
	opSegment           = reads("segments.get", "Segment", TargetSegment).whileConnected()
	opUpdateSegment     = writes("segments.update", "UpdateSegment", TargetSegment)
	opDeleteSegment     = writes("segments.delete", "DeleteSegment", TargetSegment)
	opFreezeSegment     = writes("segments.freeze", "FreezeSegment", TargetSegment)
	opSegments          = reads("segments.list", "Segments", TargetProject).whileConnected()
	opCountSegments     = reads("segments.count", "CountSegments", TargetProject).whileConnected()
	opUserSegments      = reads("segments.of_user", "UserSegments", TargetUser).whileConnected()
	opAddToSegments     = writes("segments.add_user", "AddToSegments", TargetUser).whileConnected()
	opRemoveFromSegment = writes("segments.remove_user", "RemoveFromSegment", TargetUser).whileConnected()

	opConnect          = writes("connections.connect", "Connect", TargetUser)
	opResume           = reads("connections.resume", "Resume", TargetConnection)
	opDisconnect       = writes("connections.disconnect", "Disconnect", TargetConnection).whileConnected()
	opConnections      = reads("connections.list", "Connections", TargetUser).orProject().whenNamed()
	opCountConnections = reads("connections.count", "CountConnections", TargetUser).orProject().whenNamed()

	opPreviewRetention = reads("retention.preview", "PreviewRetention", TargetProject)
	opApplyRetention   = writes("retention.apply", "ApplyRetention", TargetProject)

	opRecordEvent = writes("activity.record", "RecordEvent", TargetUser).whileConnected()
	opEvents      = reads("activity.list", "Events", TargetUser).orProject().whileConnected()
	opCountEvents = reads("activity.count", "CountEvents", TargetUser).orProject().whileConnected()
	opFeed        = reads("activity.feed", "Feed", TargetProject)
)

// call is one call of a method of Manager that has come through the door.
type call struct {
	origin
	manager   *manager
	operation *operation
	target    [16]byte  // the id of what the call is about; zero: unknown, or all of the project
	user      UserID    // whom it is about, once the authorizer or the connection is asked
	asked     bool      // the question is only whether such a call is allowed
	began     time.Time // only while calls are logged
}

// origin is what a decision knows about its call: when it was made, by whom, and the id of the
// event that it will write.
type origin struct {
	now   time.Time
	actor Actor
	event EventID // zero for an operation that changes nothing
}

// again returns the origin of a further event of the same call.
func (o origin) again() origin {
	o.event = NewID[Event]()
	return o
}

// record adds the event of a call to a change. data is key, value, key, value …
func (o origin) record(c *Change, name EventName, device DeviceID, data ...any) {
	c.Events = append(c.Events, Event{
		ID: o.event, UserID: c.User, DeviceID: device, Name: name, Actor: o.actor, At: o.now, Data: eventData(data),
	})
}

// noTarget is the target of a call about all of the project.
var noTarget UserID

// enter is the door: every method of Manager begins with it, and with nothing else, and leaves
// through call.leave. It gets the operation, the actor and the target, and returns the context and
// what the call may know. Whatever holds for all calls is done here and in leave, so that no method
// can bypass it.
//
// Methods do not call one another: code that two of them share is a function behind the door, so
// that one call of the host passes the door once.
func enter[T any](ctx context.Context, m *manager, op *operation, target ID[T]) (context.Context, call, error) {
	c := call{manager: m, operation: op, target: target}
	from := callerOf(ctx)
	c.actor = from.actor
	if err := c.actor.validate(); err != nil {
		return ctx, call{}, err
	}
	c.now = m.now()
	if op.changes {
		c.event = NewID[Event]()
	}
	if m.logger.Enabled(ctx, slog.LevelDebug) {
		c.began = time.Now()
	}
	if from.trusted || m.authorizer == nil && from.connection == nil && c.actor.OnBehalfOf.IsZero() {
		return ctx, c, nil
	}
	inner, err := m.admit(ctx, &c, from.connection)
	if err != nil {
		c.leave(ctx, &err)
		return ctx, call{}, err
	}
	return inner, c, nil
}

// enterOf is the door of a method that lists records of one user or of all users. While the caller
// is connected to a user, it lists the records of that user only.
func enterOf(ctx context.Context, m *manager, op *operation, user *UserID) (context.Context, call, error) {
	if own := callerOf(ctx).connection; own != nil && user.IsZero() {
		*user = own.UserID
	}
	return enter(ctx, m, op, *user)
}

// admit checks whether a call is allowed, and records a refusal.
func (m *manager) admit(ctx context.Context, c *call, own *connected) (context.Context, error) {
	inner, err := m.mayCall(ctx, c, own)
	if refusal, ok := errors.AsType[*Error](err); ok && errors.Is(refusal, ErrForbidden) {
		m.recordRefusal(ctx, c, refusal)
	}
	return inner, err
}

// mayCall asks the connection that a call is made in, if any, and the authorizer whether the call
// is allowed.
func (m *manager) mayCall(ctx context.Context, c *call, own *connected) (context.Context, error) {
	if own == nil && m.authorizer == nil && c.actor.OnBehalfOf.IsZero() {
		return ctx, nil
	}
	user, err := m.owner(ctx, c)
	if err != nil {
		return ctx, err
	}
	c.user = user
	if own == nil && !c.actor.OnBehalfOf.IsZero() || own != nil && c.actor.OnBehalfOf != own.UserID {
		return ctx, NewError(CodeNotConnected, "actor.on_behalf_of", "the actor is not connected to the user; see Resume")
	}
	if own != nil {
		if ctx, err = m.admitConnected(ctx, c, own, user); err != nil {
			return ctx, err
		}
	}
	if m.authorizer == nil {
		return ctx, nil
	}
	return m.authorize(ctx, c, user)
}

// alsoMay checks whether a call may also do what other operations do, for the user of the call or,
// if it is narrowed, for the users who match all the scopes.
func (m *manager) alsoMay(ctx context.Context, c *call, also ...*operation) (context.Context, error) {
	from := callerOf(ctx)
	if from.trusted || m.authorizer == nil && from.connection == nil {
		return ctx, nil
	}
	for _, op := range also {
		other := *op
		other.narrowed = c.operation.narrowed
		part := *c
		part.operation = &other
		var err error
		if ctx, err = m.admit(ctx, &part, from.connection); err != nil {
			return ctx, err
		}
	}
	return ctx, nil
}

// leave ends a call with its error, which becomes one of userkit's own if a store
// failed in a way that it did not name.
func (c call) leave(ctx context.Context, err *error) {
	if *err != nil {
		*err = unavailable(*err)
	}
	if c.began.IsZero() {
		return
	}
	attributes := []slog.Attr{
		slog.String("operation", c.operation.name), slog.String("actor", string(c.actor.Kind)), slog.String("actor_id", c.actor.ID),
		slog.Duration("took", time.Since(c.began)),
	}
	if c.target != ([16]byte{}) {
		attributes = append(attributes, slog.String(string(c.operation.target), UserID(c.target).String()))
	}
	if *err != nil {
		attributes = append(attributes, slog.String("code", string(ErrorCode(*err))))
	}
	c.manager.logger.LogAttrs(ctx, slog.LevelDebug, "userkit: call", attributes...)
}

// sequence is the door of a method that returns a sequence: a call begins when
// somebody ranges over it, and ends when they stop.
func sequence[V, T any](ctx context.Context, m *manager, op *operation, target ID[T], values func(context.Context, call) iter.Seq2[V, error]) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		var none V
		ctx, c, err := enter(ctx, m, op, target)
		if err != nil {
			yield(none, err)
			return
		}
		defer c.leave(ctx, &err)
		for value, failed := range values(ctx, c) {
			if failed != nil {
				err = unavailable(failed)
				yield(none, err)
				return
			}
			if !yield(value, nil) {
				return
			}
		}
	}
}
