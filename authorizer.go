package userkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/userkit/userkit/internal/hostcall"
)

// TargetKind is the kind of the target of a call.
type TargetKind string

// The kinds of target.
const (
	TargetProject    TargetKind = "project" // the whole project, or a part of it that only the call determines
	TargetUser       TargetKind = "user"
	TargetDevice     TargetKind = "device"
	TargetSession    TargetKind = "session"
	TargetPurchase   TargetKind = "purchase"
	TargetMessage    TargetKind = "message"
	TargetSegment    TargetKind = "segment"
	TargetConnection TargetKind = "connection"
)

// Operation describes one of the methods of a Manager for authorization.
type Operation struct {
	Name    string     `json:"name"`    // role and verb, such as "users.create"
	Target  TargetKind `json:"target"`  // what it is about
	Changes bool       `json:"changes"` // whether it changes records
	// Narrowed reports whether the operation is about many users and is narrowed by a scope in the
	// same way as by a filter: it is about the users who match it. An operation about one user is
	// refused if the user does not match the scope; any other operation is refused for an actor who
	// has a scope.
	Narrowed bool `json:"narrowed"`
}

// Operations lists all operations in the order of their names, for hosts that write tables of
// permissions.
func Operations() []Operation {
	list := make([]Operation, len(operations))
	for i, op := range operations {
		list[i] = op.described()
	}
	slices.SortFunc(list, func(a, b Operation) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// described returns what hosts are told of the operation.
func (op *operation) described() Operation {
	return Operation{Name: op.name, Target: op.target, Changes: op.changes, Narrowed: op.narrowed}
}

// operationNamed returns the operation with a name, or nil if there is none.
func operationNamed(name string) *operation {
	if at := slices.IndexFunc(operations, func(op *operation) bool { return op.name == name }); at >= 0 {
		return operations[at]
	}
	return nil
}

// AuthorizationRequest is what an Authorizer is asked: may this actor do this?
type AuthorizationRequest struct {
	Actor     Actor // as it will be recorded: OnBehalfOf is set while the actor is connected to a user
	Operation Operation
	ID        string // of the target; empty: the whole project, or something that is yet to be created
	// UserID is the user whom the call is about: the target itself, or the owner of the device,
	// session, purchase, message or connection that is the target. Zero: no user, several users, or
	// a target that does not exist.
	UserID UserID
}

// Authorization is the answer of an Authorizer. The zero Authorization refuses.
type Authorization struct {
	Allowed bool
	// Scope restricts the users for whom the operation is allowed to those who match it. The zero
	// Filter means all users. A list of users contains only those who match both Scope and the
	// filter of the call.
	//
	// A list of other records, such as Devices, has to name one of the users, or it is refused with
	// CodeUserRequired. It is not narrowed: the few records of a scope would have to be searched
	// for among those of everybody, at a cost that the actor would choose. Walk the users instead,
	// and list what belongs to each.
	//
	// Scope is about a user as the call finds it: a new user has to match it, but a change may take
	// a user out of it, as the activation of one does from a scope of inactive users.
	Scope Filter
}

// Authorizer says what an actor may do. A manager asks it before every call, reads
// included; see WithAuthorizer. It is called by many goroutines at once.
//
// It fails closed: if it returns an error or an invalid scope, panics, or does not answer within
// five seconds, the call ends with ErrUnavailable and CodeAuthorizerFailed. Calls of the manager
// with the context that the authorizer receives are not authorized, so that it may look up users.
type Authorizer interface {
	// Authorize says whether the actor may do the operation, and for which users.
	Authorize(ctx context.Context, request AuthorizationRequest) (Authorization, error)
}

// AuthorizerFunc is a function that is an Authorizer.
type AuthorizerFunc func(ctx context.Context, request AuthorizationRequest) (Authorization, error)

// Authorize calls the function.
func (f AuthorizerFunc) Authorize(ctx context.Context, request AuthorizationRequest) (Authorization, error) {
	return f(ctx, request)
}

// allowAll allows everything.
type allowAll struct{}

func (allowAll) Authorize(context.Context, AuthorizationRequest) (Authorization, error) {
	return Authorization{Allowed: true}, nil
}

// AllowAll returns the authorizer that allows everything: the default, which costs
// nothing.
func AllowAll() Authorizer { return allowAll{} }

// WithAuthorizer sets the authorizer, which decides what an actor may do. The default is AllowAll.
// The background duties of Run are not authorized. A refused call returns ErrForbidden with
// CodeNotAllowed and is recorded as EventAccessRefused of the user whom the call was about, or
// otherwise of the project. Each process records at most ten refusals a minute for one actor and a
// hundred in total; the next event contains the number of those that were left out.
func WithAuthorizer(authorizer Authorizer) Option {
	return func(o *options) error {
		switch authorizer.(type) {
		case nil:
			return invalidOption("WithAuthorizer", "nil")
		case allowAll:
			authorizer = nil
		}
		o.authorizer = authorizer
		return nil
	}
}

// Role says what actors with the role may do.
type Role struct {
	// Operations are names of operations, such as "users.update". "users.*" means all operations of
	// that group, "users.read" those of the group that only read, "*" all operations, and "read"
	// all that only read. "users.list" means "users.names" too: a list of users has their names.
	Operations []string `json:"operations"`
	// Scope selects the users for whom the operations are allowed; the zero Filter means all users.
	Scope Filter `json:"scope,omitzero"`
	// Self allows the operations only for the user who is the actor, by its id.
	Self bool `json:"self,omitempty"`
}

// roleAuthorizer is the authorizer of NewRoles.
type roleAuthorizer struct {
	allowed map[string]map[string]bool // role, operation
	roles   map[string]Role
	rolesOf func(ctx context.Context, actor Actor) []string
}

// NewRoles returns an authorizer that uses a table of roles: an actor may do what one of its roles
// allows, for the users in the scope of that role. rolesOf returns the roles of an actor; a role
// that is not in the table allows nothing. NewRoles returns ErrInvalid with CodeInvalidOption for
// an operation that does not exist and for a scope that is not a valid filter.
func NewRoles(table map[string]Role, rolesOf func(ctx context.Context, actor Actor) []string) (Authorizer, error) {
	if rolesOf == nil {
		return nil, invalidOption("NewRoles", "the function that returns the roles of an actor is nil")
	}
	r := &roleAuthorizer{allowed: map[string]map[string]bool{}, roles: maps.Clone(table), rolesOf: rolesOf}
	for name, role := range table {
		allowed := map[string]bool{}
		for _, pattern := range role.Operations {
			found := false
			for _, op := range operations {
				if op.matches(pattern) {
					allowed[op.name], found = true, true
				}
			}
			if !found {
				return nil, invalidOption("NewRoles", "role %q: unknown operation %q", clip(name), clip(pattern))
			}
		}
		if _, err := role.Scope.check(); err != nil {
			return nil, invalidOption("NewRoles", "role %q: its scope is not a valid filter", clip(name)).Because(err)
		}
		r.allowed[name] = allowed
	}
	return r, nil
}

// matches reports whether a pattern of a Role names the operation.
func (op *operation) matches(pattern string) bool {
	group, _, _ := strings.Cut(op.name, ".")
	switch pattern {
	case op.name, "*", group + ".*":
		return true
	case "read", group + ".read":
		return !op.changes
	case opUsers.name:
		return op == opUserNames
	}
	return false
}

func (r *roleAuthorizer) Authorize(ctx context.Context, request AuthorizationRequest) (Authorization, error) {
	var scopes []Filter
	for _, name := range r.rolesOf(ctx, request.Actor) {
		if !r.allowed[name][request.Operation.Name] {
			continue
		}
		role := r.roles[name]
		scope := role.Scope
		if role.Self {
			self, err := ParseID[User](request.Actor.ID)
			if err != nil || request.Actor.Kind != ActorUser {
				continue // zero means no user, which is never the actor itself
			}
			scope = AllOf(scope, Equal("id", self))
		}
		if scope.IsZero() {
			return Authorization{Allowed: true}, nil
		}
		scopes = append(scopes, scope)
	}
	return Authorization{Allowed: len(scopes) > 0, Scope: AnyOf(scopes...)}, nil
}

// AuthorizationManager reports what the actor of a context may do, according to the connection of
// the context, if any, and to the authorizer. The operation's own rules, which a call applies
// afterwards, are not checked.
//
// The operation is one of Operations, or ChangeCredentials. id is the id of the target, as text: of
// a user for "users.update", of a device for "devices.delete". If the operation can be about the
// whole project, such as listing the sessions of all users, an empty id asks about that. If the
// operation is always about one record, an empty id asks whether there may be any record for which
// it is allowed.
//
// An unknown operation or an invalid id returns ErrInvalid with CodeUnknownValue.
type AuthorizationManager interface {
	// Allows reports whether the actor may do an operation. It is meant for code that offers the
	// operation, such as a page; nothing is recorded.
	Allows(ctx context.Context, operation, id string) (bool, error)

	// Authorize returns the error with which an operation would be refused, nil if it would
	// not be, and records the refusal as the call does. It is meant for code that has work to do
	// before the call, such as reading a file.
	Authorize(ctx context.Context, operation, id string) error
}

func (m *manager) Allows(ctx context.Context, operation, id string) (bool, error) {
	err := m.ask(ctx, operation, id, m.mayCall)
	if errors.Is(err, ErrForbidden) {
		return false, nil
	}
	return err == nil, err
}

func (m *manager) Authorize(ctx context.Context, operation, id string) error {
	return m.ask(ctx, operation, id, m.admit)
}

// ask reports whether a call is allowed, using a function that the door uses too.
func (m *manager) ask(ctx context.Context, name, id string, may func(context.Context, *call, *connected) (context.Context, error)) error {
	credentials := name == ChangeCredentials
	if credentials {
		name = opUpdateUser.name
	}
	c := call{manager: m, operation: operationNamed(name), asked: true}
	if c.operation == nil {
		return NewError(CodeUnknownValue, "operation", "unknown operation %q", clip(name))
	}
	if id != "" {
		target, err := ParseID[User](id)
		if err != nil || c.operation.target == TargetProject {
			return NewError(CodeUnknownValue, "id", "%q is not the id of a %s", clip(id), c.operation.target)
		}
		c.target = target
	}
	from := callerOf(ctx)
	c.actor, c.now = from.actor, m.now()
	if err := c.actor.validate(); err != nil {
		return err
	}
	if from.trusted {
		return nil
	}
	if own := from.connection; own != nil && c.operation.ofProject && c.target == ([16]byte{}) {
		c.target = own.UserID // as in enterOf
	}
	_, err := may(ctx, &c, from.connection)
	if err == nil && credentials && from.connection != nil {
		err = m.mayChangeCredentials()
	}
	return unavailableOrNil(err)
}

// mayChangeCredentials returns the error for a change, made while connected, of what a user signs
// in with.
func (m *manager) mayChangeCredentials() error {
	if m.connections.allowed[ChangeCredentials] {
		return nil
	}
	return NewError(CodeNotWhileConnected, "", "what a user signs in with cannot be changed while connected")
}

// inGeneral reports whether the question is about an operation on one record, without naming the
// record.
func (c *call) inGeneral() bool {
	op := c.operation
	return c.asked && c.target == ([16]byte{}) && !op.ofProject && op.target != TargetProject && op.target != TargetSegment
}

func unavailableOrNil(err error) error {
	if err == nil {
		return nil
	}
	return unavailable(err)
}

// owner returns the user whom a call is about, or zero if it is not about a user.
func (m *manager) owner(ctx context.Context, c *call) (user UserID, err error) {
	switch id := c.target; {
	case id == ([16]byte{}):
	case c.operation.target == TargetUser:
		return UserID(id), nil
	case c.operation.target == TargetDevice:
		var device Device
		device, err = m.store.Device(ctx, DeviceID(id))
		user = device.UserID
	case c.operation.target == TargetSession:
		var session Session
		session, err = m.store.Session(ctx, SessionID(id))
		user = session.UserID
	case c.operation.target == TargetPurchase:
		var purchase Purchase
		purchase, err = m.store.Purchase(ctx, PurchaseID(id))
		user = purchase.UserID
	case c.operation.target == TargetConnection:
		var connection Connection
		connection, err = m.store.Connection(ctx, ConnectionID(id))
		user = connection.UserID
	case c.operation.target == TargetMessage:
		var message Message
		message, err = m.store.Message(ctx, MessageID(id))
		user = message.UserID
	}
	if errors.Is(err, ErrNotFound) {
		err = nil // the call itself says so, if it may
	}
	return user, err
}

// authorize checks whether a call is allowed, and returns the context with the scope that narrows
// it.
func (m *manager) authorize(ctx context.Context, c *call, user UserID) (context.Context, error) {
	op := c.operation
	request := AuthorizationRequest{Actor: c.actor, UserID: user, Operation: op.described()}
	if c.target != ([16]byte{}) {
		request.ID = UserID(c.target).String()
	}
	answer, err := m.askAuthorizer(ctx, request)
	if err != nil {
		return ctx, err
	}
	if !answer.Allowed {
		return ctx, NewError(CodeNotAllowed, "", "the actor may not do %s", op.name)
	}
	if answer.Scope.IsZero() {
		return ctx, nil
	}
	scope, err := m.resolveFilter(ctx, UserFilter{Filter: answer.Scope, Moment: Moment{At: c.now}})
	if errors.Is(err, ErrInvalid) || errors.Is(err, ErrNotFound) {
		err = NewError(CodeAuthorizerFailed, "", "the authorizer returned a scope that is not a valid filter").Because(err)
	}
	if err != nil {
		return ctx, err
	}
	switch {
	case op.narrowed || op == opCreateUser:
		return context.WithValue(ctx, scopeKey{}, AllOf(scopeOf(ctx), scope.Filter)), nil
	case c.inGeneral():
		return ctx, nil
	case c.target == ([16]byte{}) && op.ofProject:
		return ctx, NewError(CodeUserRequired, "user_id", "the actor may do %s only for some users; name one of them", op.name)
	case c.target == ([16]byte{}) || op.target == TargetProject || op.target == TargetSegment:
		return ctx, NewError(CodeNotAllowed, "", "the actor may do %s only for some users, and this call is about no user", op.name)
	}
	within := false
	if !user.IsZero() { // a missing record is refused like a record of another user
		within, err = m.within(ctx, scope, user)
	}
	if err == nil && !within {
		err = NewError(CodeNotAllowed, "", "the actor may not do %s for this user", op.name)
	}
	return ctx, err
}

// scopeKey is the key of the scope that the door gives a context.
type scopeKey struct{}

// scopeOf returns the filter that narrows a call to the users whom its actor may see. The zero
// Filter means all users.
func scopeOf(ctx context.Context) Filter {
	scope, _ := ctx.Value(scopeKey{}).(Filter)
	return scope
}

// within reports whether a user is among those of a selection.
func (m *manager) within(ctx context.Context, selection UserSelection, user UserID) (bool, error) {
	states, err := m.store.Load(ctx, []Want{{User: user, Profile: true, Segments: true}})
	if err != nil {
		return false, err
	}
	state := &states[0]
	return state.Exists && selection.selects(state), nil
}

// selects reports whether the user of a state is among those of the selection.
func (s UserSelection) selects(state *State) bool {
	member := func(id SegmentID) bool { return slices.Contains(state.Segments, id) }
	match := MatchUsers(s, readUser(s.Moment, member))
	return match == nil || match(&state.User)
}

// The bounds of asking a host's authorizer.
const (
	// authorizerTimeout is how long it has for an answer.
	authorizerTimeout = 5 * time.Second
	// maxAuthorizing is how many questions may be open at once. Questions that hang are abandoned,
	// and count until they end.
	maxAuthorizing = 4096
)

// askAuthorizer asks the host's authorizer, which may panic, hang or fail.
func (m *manager) askAuthorizer(ctx context.Context, request AuthorizationRequest) (Authorization, error) {
	within, cancel := context.WithTimeout(withCaller(ctx, caller{actor: request.Actor, trusted: true}), authorizerTimeout)
	defer cancel()
	select {
	case m.authorizing <- struct{}{}:
	case <-within.Done():
		return Authorization{}, noAnswer(ctx)
	}
	type answer struct {
		Authorization
		err error
	}
	a := hostcall.Ask(within, func() (a answer) {
		defer func() { <-m.authorizing }()
		a.Authorization, a.err = m.authorizer.Authorize(within, request)
		return a
	}, func(err error) answer { return answer{err: err} })
	switch {
	case a.err == nil:
		return a.Authorization, nil
	case within.Err() != nil:
		return Authorization{}, noAnswer(ctx)
	}
	m.logger.WarnContext(ctx, "userkit: the authorizer failed", "operation", request.Operation.Name, "error", a.err)
	return Authorization{}, NewError(CodeAuthorizerFailed, "", "the authorizer failed")
}

// noAnswer is the error of a question that was not answered in time.
func noAnswer(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return NewError(CodeAuthorizerFailed, "", "the authorizer did not answer within %s", authorizerTimeout)
}

// refusalPace bounds how many refusals this process records.
type refusalPace struct {
	mu      sync.Mutex
	from    time.Time // of the minute that is counted
	all     int
	actors  map[actorID]int
	skipped int // since the last that was recorded
}

// actorID tells actors apart.
type actorID struct {
	kind ActorKind
	id   string
}

const (
	refusalWindow      = time.Minute
	refusalsOfAnActor  = 10
	refusalsInAMinute  = 100
	skippedRefusalName = "left_out"
)

// take reports whether a refusal is to be recorded, and returns how many before it were not.
func (p *refusalPace) take(actor Actor, now time.Time) (skipped int, record bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.actors == nil || now.Before(p.from) || now.Sub(p.from) >= refusalWindow {
		p.from, p.all, p.actors = now, 0, map[actorID]int{}
	}
	of := actorID{actor.Kind, actor.ID}
	if p.all >= refusalsInAMinute || p.actors[of] >= refusalsOfAnActor {
		p.skipped++
		return 0, false
	}
	p.all++
	p.actors[of]++
	skipped, p.skipped = p.skipped, 0
	return skipped, true
}

// recordRefusal records that a call was refused. The refusal stands whether or not that
// succeeds.
func (m *manager) recordRefusal(ctx context.Context, c *call, refusal *Error) {
	skipped, record := m.refusals.take(c.actor, c.now)
	if !record {
		return
	}
	data := []any{"operation", c.operation.name, "code", refusal.Code}
	if c.target != ([16]byte{}) && c.operation.target != TargetUser {
		data = append(data, string(c.operation.target), UserID(c.target).String())
	}
	if skipped > 0 {
		data = append(data, skippedRefusalName, skipped)
	}
	event := Event{ID: NewID[Event](), Name: EventAccessRefused, Actor: c.actor, At: c.now, Data: eventData(data)}
	err := error(NewError(CodeUserNotFound, "", "no user"))
	if !c.user.IsZero() {
		event.UserID = c.user
		_, err = change(ctx, m, command{want: Want{User: c.user}}, func(state *State) (Event, Change, error) {
			change := state.change()
			change.Events = append(change.Events, event)
			return event, change, nil
		})
	}
	if ErrorCode(err) == CodeUserNotFound {
		event.UserID = UserID{}
		err = m.tell(ctx, event)
	}
	if err != nil {
		m.logger.WarnContext(ctx, "userkit: a refusal could not be recorded", "operation", c.operation.name,
			"actor", cmp.Or(c.actor.ID, string(c.actor.Kind)), "error", fmt.Sprint(err))
	}
}
