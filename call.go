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
	name     string     // role and verb, such as "users.create"
	method   string     // of Manager
	target   TargetKind // what the call is about
	changes  bool       // whether it changes records, and so writes an event
	narrowed bool       // is about the users who meet a filter: a scope joins it
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

// narrow marks an operation whose filter a scope joins: its users are found by
// storeFilter, which joins it, or looked at with within.
func (op *operation) narrow() *operation {
	op.narrowed = true
	return op
}

// The table of operations.
var (
	opCreateUser     = writes("users.create", "CreateUser", TargetUser)
	opUser           = reads("users.get", "User", TargetUser)
	opFindUser       = reads("users.find", "FindUser", TargetProject).narrow()
	opUpdateUser     = writes("users.update", "UpdateUser", TargetUser)
	opActivateUser   = writes("users.activate", "ActivateUser", TargetUser)
	opDeactivateUser = writes("users.deactivate", "DeactivateUser", TargetUser)
	opRecordLogin    = writes("users.record_login", "RecordLogin", TargetUser)
	opAccess         = reads("users.access", "Access", TargetUser)
	opDeleteUser     = writes("users.delete", "DeleteUser", TargetUser)
	opUsers          = reads("users.list", "Users", TargetProject).narrow()
	opAllUsers       = reads("users.walk", "AllUsers", TargetProject).narrow()
	opCountUsers     = reads("users.count", "CountUsers", TargetProject).narrow()
	opSendActivation = writes("users.send_activation", "SendActivation", TargetUser)
	opConfirmEmail   = writes("users.confirm_email", "ConfirmEmail", TargetProject)
	opUserRecords    = reads("users.records", "UserRecords", TargetUser)
	opImportUsers    = writes("users.import", "ImportUsers", TargetProject)
	opPreviewBulk    = reads("users.preview_bulk", "PreviewBulk", TargetProject).narrow()
	opExecuteBulk    = writes("users.execute_bulk", "ExecuteBulk", TargetProject).narrow()

	opRegisterDevice = writes("devices.register", "RegisterDevice", TargetUser)
	opAuthenticate   = writes("devices.authenticate", "Authenticate", TargetProject)
	opDevice         = reads("devices.get", "Device", TargetDevice)
	opDevices        = reads("devices.list", "Devices", TargetUser)
	opUpdateDevice   = writes("devices.update", "UpdateDevice", TargetDevice)
	opDeleteDevice   = writes("devices.delete", "DeleteDevice", TargetDevice)
	opRotateToken    = writes("devices.rotate_token", "RotateToken", TargetDevice)
	opRevealToken    = writes("devices.reveal_token", "RevealToken", TargetDevice)
	opResealTokens   = writes("devices.reseal_tokens", "ResealTokens", TargetProject)
	opSetLicense     = writes("devices.set_license", "SetLicense", TargetUser)
	opLicenses       = reads("devices.licenses", "Licenses", TargetProject)

	opStartSession       = writes("sessions.start", "StartSession", TargetUser)
	opReportUsage        = writes("sessions.report_usage", "ReportUsage", TargetProject)
	opEndSession         = writes("sessions.end", "EndSession", TargetSession)
	opCloseStaleSessions = writes("sessions.close_stale", "CloseStaleSessions", TargetProject)
	opSession            = reads("sessions.get", "Session", TargetSession)
	opSessions           = reads("sessions.list", "Sessions", TargetUser)
	opSetTrafficLimit    = writes("sessions.set_traffic_limit", "SetTrafficLimit", TargetUser)
	opTraffic            = reads("sessions.traffic", "Traffic", TargetUser)

	opSubmitPurchase          = writes("purchases.submit", "SubmitPurchase", TargetUser)
	opPurchase                = reads("purchases.get", "Purchase", TargetPurchase)
	opPurchases               = reads("purchases.list", "Purchases", TargetUser)
	opActivatePurchase        = writes("purchases.activate", "ActivatePurchase", TargetPurchase)
	opDeactivatePurchase      = writes("purchases.deactivate", "DeactivatePurchase", TargetPurchase)
	opVerifyDuePurchases      = writes("purchases.verify_due", "VerifyDuePurchases", TargetProject)
	opHandleStoreNotification = writes("purchases.handle_notification", "HandleStoreNotification", TargetProject)

	opRefill         = writes("balance.refill", "Refill", TargetUser)
	opCharge         = writes("balance.charge", "Charge", TargetUser)
	opCancelLast     = writes("balance.cancel_last", "CancelLast", TargetUser)
	opTransactions   = reads("balance.transactions", "Transactions", TargetUser)
	opVerifyBalances = reads("balance.verify", "VerifyBalances", TargetProject)

	opCreateSegment     = writes("segments.create", "CreateSegment", TargetSegment)
	opSegment           = reads("segments.get", "Segment", TargetSegment)
	opUpdateSegment     = writes("segments.update", "UpdateSegment", TargetSegment)
	opDeleteSegment     = writes("segments.delete", "DeleteSegment", TargetSegment)
	opFreezeSegment     = writes("segments.freeze", "FreezeSegment", TargetSegment)
	opSegments          = reads("segments.list", "Segments", TargetProject)
	opUserSegments      = reads("segments.of_user", "UserSegments", TargetUser)
	opAddToSegments     = writes("segments.add_user", "AddToSegments", TargetUser)
	opRemoveFromSegment = writes("segments.remove_user", "RemoveFromSegment", TargetUser)

	opRecordEvent = writes("activity.record", "RecordEvent", TargetUser)
	opEvents      = reads("activity.list", "Events", TargetUser)
	opFeed        = reads("activity.feed", "Feed", TargetProject)
)

// call is one call of a method of Manager that has come through the door.
type call struct {
	origin
	manager   *manager
	operation *operation
	target    [16]byte  // the id of what the call is about; zero: unknown, or all of the project
	asked     bool      // somebody asks whether there may be such a call
	began     time.Time // only while calls are logged
}

// origin is what a decision knows of the call that it belongs to: when it came, who
// makes it, and the id of the event that it will write.
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

// enter is the door: every method of Manager begins with it, and with nothing else,
// and leaves through call.leave. It says what is done, by whom and to whom, and
// returns the context and what the call may know. Whatever holds for all calls stands
// here and in leave, so that no method can go past it.
//
// Methods do not call one another: what two of them share is a function behind the
// door, so that one call of the host comes through the door once.
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
	if m.authorizer == nil || from.trusted {
		return ctx, c, nil
	}
	inner, err := m.admit(ctx, &c)
	if err != nil {
		c.leave(ctx, &err)
		return ctx, call{}, err
	}
	return inner, c, nil
}

// admit asks whether a call may be made, and records where not.
func (m *manager) admit(ctx context.Context, c *call) (context.Context, error) {
	user, err := m.owner(ctx, c)
	if err != nil {
		return ctx, err
	}
	inner, err := m.authorize(ctx, c, user)
	if refusal, ok := errors.AsType[*Error](err); ok && errors.Is(refusal, ErrForbidden) {
		m.recordRefusal(ctx, c, user, refusal)
	}
	return inner, err
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
