package userkit

import (
	"context"
	"iter"
	"log/slog"
	"time"
)

// operation is one method of Manager, as the door knows it.
type operation struct {
	name    string     // role and verb, such as "users.create"
	method  string     // of Manager
	target  targetKind // what the call is about
	changes bool       // whether it changes records, and so writes an event
}

// targetKind is the kind of thing that a call is about.
type targetKind string

const (
	ofProject  targetKind = "project" // all of it; such a call has no id
	ofUser     targetKind = "user"
	ofDevice   targetKind = "device"
	ofSession  targetKind = "session"
	ofPurchase targetKind = "purchase"
	ofSegment  targetKind = "segment"
)

// operations holds every operation, one for each method of Manager that does
// something. A test fails when a method has none.
var operations []*operation

// reads and writes add an operation to the table.

func reads(name, method string, target targetKind) *operation {
	return define(operation{name: name, method: method, target: target})
}

func writes(name, method string, target targetKind) *operation {
	return define(operation{name: name, method: method, target: target, changes: true})
}

func define(op operation) *operation {
	operations = append(operations, &op)
	return &op
}

// The table of operations.
var (
	opCreateUser     = writes("users.create", "CreateUser", ofUser)
	opUser           = reads("users.get", "User", ofUser)
	opFindUser       = reads("users.find", "FindUser", ofProject)
	opUpdateUser     = writes("users.update", "UpdateUser", ofUser)
	opActivateUser   = writes("users.activate", "ActivateUser", ofUser)
	opDeactivateUser = writes("users.deactivate", "DeactivateUser", ofUser)
	opRecordLogin    = writes("users.record_login", "RecordLogin", ofUser)
	opAccess         = reads("users.access", "Access", ofUser)
	opDeleteUser     = writes("users.delete", "DeleteUser", ofUser)
	opUsers          = reads("users.list", "Users", ofProject)
	opAllUsers       = reads("users.walk", "AllUsers", ofProject)
	opCountUsers     = reads("users.count", "CountUsers", ofProject)
	opSendActivation = writes("users.send_activation", "SendActivation", ofUser)
	opConfirmEmail   = writes("users.confirm_email", "ConfirmEmail", ofProject)
	opUserRecords    = reads("users.records", "UserRecords", ofUser)
	opImportUsers    = writes("users.import", "ImportUsers", ofProject)
	opPreviewBulk    = reads("users.preview_bulk", "PreviewBulk", ofProject)
	opExecuteBulk    = writes("users.execute_bulk", "ExecuteBulk", ofProject)

	opRegisterDevice = writes("devices.register", "RegisterDevice", ofUser)
	opAuthenticate   = writes("devices.authenticate", "Authenticate", ofProject)
	opDevice         = reads("devices.get", "Device", ofDevice)
	opDevices        = reads("devices.list", "Devices", ofUser)
	opUpdateDevice   = writes("devices.update", "UpdateDevice", ofDevice)
	opDeleteDevice   = writes("devices.delete", "DeleteDevice", ofDevice)
	opRotateToken    = writes("devices.rotate_token", "RotateToken", ofDevice)
	opRevealToken    = writes("devices.reveal_token", "RevealToken", ofDevice)
	opResealTokens   = writes("devices.reseal_tokens", "ResealTokens", ofProject)
	opSetLicense     = writes("devices.set_license", "SetLicense", ofUser)
	opLicenses       = reads("devices.licenses", "Licenses", ofProject)

	opStartSession       = writes("sessions.start", "StartSession", ofUser)
	opReportUsage        = writes("sessions.report_usage", "ReportUsage", ofProject)
	opEndSession         = writes("sessions.end", "EndSession", ofSession)
	opCloseStaleSessions = writes("sessions.close_stale", "CloseStaleSessions", ofProject)
	opSession            = reads("sessions.get", "Session", ofSession)
	opSessions           = reads("sessions.list", "Sessions", ofUser)
	opSetTrafficLimit    = writes("sessions.set_traffic_limit", "SetTrafficLimit", ofUser)
	opTraffic            = reads("sessions.traffic", "Traffic", ofUser)

	opSubmitPurchase          = writes("purchases.submit", "SubmitPurchase", ofUser)
	opPurchase                = reads("purchases.get", "Purchase", ofPurchase)
	opPurchases               = reads("purchases.list", "Purchases", ofUser)
	opActivatePurchase        = writes("purchases.activate", "ActivatePurchase", ofPurchase)
	opDeactivatePurchase      = writes("purchases.deactivate", "DeactivatePurchase", ofPurchase)
	opVerifyDuePurchases      = writes("purchases.verify_due", "VerifyDuePurchases", ofProject)
	opHandleStoreNotification = writes("purchases.handle_notification", "HandleStoreNotification", ofProject)

	opRefill         = writes("balance.refill", "Refill", ofUser)
	opCharge         = writes("balance.charge", "Charge", ofUser)
	opCancelLast     = writes("balance.cancel_last", "CancelLast", ofUser)
	opTransactions   = reads("balance.transactions", "Transactions", ofUser)
	opVerifyBalances = reads("balance.verify", "VerifyBalances", ofProject)

	opCreateSegment     = writes("segments.create", "CreateSegment", ofSegment)
	opSegment           = reads("segments.get", "Segment", ofSegment)
	opUpdateSegment     = writes("segments.update", "UpdateSegment", ofSegment)
	opDeleteSegment     = writes("segments.delete", "DeleteSegment", ofSegment)
	opFreezeSegment     = writes("segments.freeze", "FreezeSegment", ofSegment)
	opSegments          = reads("segments.list", "Segments", ofProject)
	opUserSegments      = reads("segments.of_user", "UserSegments", ofUser)
	opAddToSegments     = writes("segments.add_user", "AddToSegments", ofUser)
	opRemoveFromSegment = writes("segments.remove_user", "RemoveFromSegment", ofUser)

	opRecordEvent = writes("activity.record", "RecordEvent", ofUser)
	opEvents      = reads("activity.list", "Events", ofUser)
	opFeed        = reads("activity.feed", "Feed", ofProject)
)

// call is one call of a method of Manager that has come through the door.
type call struct {
	origin
	manager   *manager
	operation *operation
	target    [16]byte  // the id of what the call is about; zero: unknown, or all of the project
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
	c.actor = ActorFrom(ctx)
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
	return ctx, c, nil
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
