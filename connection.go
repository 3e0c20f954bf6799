package userkit

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/userkit/userkit/internal/hostcall"
)

// Connection is the right of an administrator to act on behalf of one user, for a reason and for a
// limited time.
type Connection struct {
	ID        ConnectionID `json:"id"`
	UserID    UserID       `json:"user_id"`
	Actor     Actor        `json:"actor"` // the administrator
	Reason    string       `json:"reason"`
	StartedAt time.Time    `json:"started_at"`
	ExpiresAt time.Time    `json:"expires_at"`
	EndedAt   time.Time    `json:"ended_at,omitzero"` // when it was disconnected; zero: not disconnected
	EndedBy   Actor        `json:"ended_by,omitzero"` // who disconnected it
}

// Open reports whether the connection can be used at a moment.
func (c Connection) Open(now time.Time) bool { return c.EndedAt.IsZero() && now.Before(c.ExpiresAt) }

// The bounds of a connection.
const (
	DefaultConnectionDuration = 30 * time.Minute
	MaxConnectionDuration     = 8 * time.Hour
)

// ConnectOptions are the options of Connect.
type ConnectOptions struct {
	Reason   string   `json:"reason"`            // required; at most MaxLine characters
	Duration Duration `json:"duration,omitzero"` // how long, at most; zero: as ConnectionPolicy says
}

func (o ConnectOptions) check() error {
	if strings.TrimSpace(o.Reason) == "" {
		return NewError(CodeRequired, "reason", "a connection needs a reason")
	}
	return checkLine("reason", o.Reason, MaxLine)
}

// ConnectionQuery asks for a page of connections, the newest first.
type ConnectionQuery struct {
	ConnectionFilter
	PageQuery // the only order is by started_at
}

// ConnectionFilter says which connections; the zero filter means all of the project.
type ConnectionFilter struct {
	UserID  UserID `json:"user_id,omitzero"`   // zero: to all users
	ActorID string `json:"actor_id,omitempty"` // empty: of all administrators
	// OpenAt selects the connections that can be used at a moment; zero: also those that are over.
	OpenAt time.Time `json:"open_at,omitzero"`
}

// ChangeCredentials is the name in ConnectionPolicy.Operations for changing what a user signs in
// with: the CredentialFields of UpdateUser.
const ChangeCredentials = "users.change_credentials"

// CredentialFields returns the names of the fields that a user signs in with.
func CredentialFields() []string {
	return []string{"login", "email", "email_verified", "phone", "extref", "auth_method"}
}

// ConnectionPolicy says how administrators may connect to users.
type ConnectionPolicy struct {
	Off         bool          // connecting is not allowed, and open connections end
	Duration    time.Duration // of a connection that does not ask for one; default DefaultConnectionDuration
	MaxDuration time.Duration // of any connection; default and at most MaxConnectionDuration
	// Operations are the operations that are allowed while connected, by the names of Operations
	// and ChangeCredentials; nil: ConnectedOperations. An operation must also be allowed by the
	// authorizer. An operation that is not about a user is refused with ErrInvalid and
	// CodeInvalidOption.
	Operations []string
	// SamePerson reports whether an administrator and a user are the same person, in which case the
	// administrator may not connect. An actor whose ID is the id or the email address of the user
	// is always taken for the same person. If it panics, nobody connects.
	SamePerson func(administrator Actor, user User) bool

	allowed map[string]bool
}

// WithConnections sets how administrators may connect to users.
func WithConnections(policy ConnectionPolicy) Option {
	return func(o *options) error {
		normal, err := policy.normalise()
		if err != nil {
			return err
		}
		o.connections = normal
		return nil
	}
}

// ConnectedOperations lists the operations that are allowed by default while connected to a user:
// all operations on the user except its deletion and those that reveal, make or change what the
// user or its devices sign in with.
func ConnectedOperations() []string {
	var names []string
	for _, op := range operations {
		if op.connected == connectedByDefault {
			names = append(names, op.name)
		}
	}
	slices.Sort(names)
	return names
}

// ConnectionLimits are the limits that ConnectionPolicy sets for connections.
type ConnectionLimits struct {
	Off         bool     `json:"off,omitempty"` // nobody may connect
	Duration    Duration `json:"duration"`      // of a connection that asks for none
	MaxDuration Duration `json:"max_duration"`  // of any connection
}

func (p ConnectionPolicy) limits() ConnectionLimits {
	return ConnectionLimits{Off: p.Off, Duration: Duration(p.Duration), MaxDuration: Duration(p.MaxDuration)}
}

func (p ConnectionPolicy) checkDuration(duration time.Duration) error {
	if duration < time.Second || duration > p.MaxDuration {
		return NewError(CodeOutOfRange, "duration", "%s is outside the range 1 second to %s", duration, p.MaxDuration)
	}
	return nil
}

func (p ConnectionPolicy) normalise() (ConnectionPolicy, error) {
	if p.MaxDuration == 0 {
		p.MaxDuration = MaxConnectionDuration
	}
	if p.Duration == 0 {
		p.Duration = min(DefaultConnectionDuration, p.MaxDuration)
	}
	if p.MaxDuration < time.Second || p.MaxDuration > MaxConnectionDuration || p.Duration < time.Second || p.Duration > p.MaxDuration {
		return p, invalidOption("WithConnections", "a duration of %s and a maximum of %s are not within the range 1 second to %s", p.Duration, p.MaxDuration, MaxConnectionDuration)
	}
	names := p.Operations
	if names == nil {
		names = ConnectedOperations()
	}
	p.allowed = map[string]bool{opDisconnect.name: true}
	for _, name := range names {
		op := operationNamed(name)
		if name != ChangeCredentials && (op == nil || op.connected == neverConnected) {
			return p, invalidOption("WithConnections", "the operation %q is not for administrators who are connected", clip(name))
		}
		p.allowed[name] = true
	}
	p.Operations = nil
	return p, nil
}

// ConnectionManager lets administrators act on behalf of a user, and on that user alone.
//
// While connected, every call about another user returns ErrForbidden with
// CodeOtherUser, reads included; lists of users contain only that user, and lists of other records
// only those of that user. A call that the policy does not allow returns ErrForbidden with
// CodeNotWhileConnected. As soon as the connection has ended, every call in every process returns
// ErrForbidden with CodeConnectionEnded. Changes are recorded as done by the administrator on
// behalf of the user.
type ConnectionManager interface {
	// Connect connects the actor of the context, an administrator with an id, to a user.
	// It returns ErrForbidden with CodeNotAdministrator for any other actor, with
	// CodeConnectedAlready in a context of Resume, with CodeSelfConnection when the
	// administrator is the user, and with CodeConnectionsOff where the policy is Off;
	// ErrInvalid with CodeRequired without a reason and CodeOutOfRange for a time that is
	// longer than the policy allows; ErrUnavailable with CodeAuthorizerFailed when SamePerson
	// panicked.
	Connect(ctx context.Context, user UserID, options ConnectOptions) (Connection, error)

	// Resume returns a context whose calls are made while connected. It returns ErrForbidden with
	// CodeNotYourConnection unless the actor of ctx is the one who connected. Call it for every
	// request of an administrator's session; calls with a context that is kept are refused once the
	// connection has ended. WithActor does not leave the connection; to leave it, use a context
	// that Resume did not return.
	Resume(ctx context.Context, id ConnectionID) (context.Context, error)

	// Disconnect ends a connection, one's own or another's; the authorizer decides who may do that.
	// A connection that has ended stays unchanged.
	Disconnect(ctx context.Context, id ConnectionID) (Connection, error)

	// Connections returns a page of connections, the newest first.
	Connections(ctx context.Context, query ConnectionQuery) (Page[Connection], error)

	// CountConnections returns how many connections a query has on all of its pages together, as they are now.
	// The PageQuery of the query does not matter.
	CountConnections(ctx context.Context, query ConnectionQuery) (int64, error)
}

// ConnectionOf returns the connection of a context that Resume returned, as of that call, and
// reports whether the context has one.
func ConnectionOf(ctx context.Context) (Connection, bool) {
	if own := callerOf(ctx).connection; own != nil {
		return own.Connection, true
	}
	return Connection{}, false
}

// connected is the connection of a caller, as it was when it was resumed.
type connected struct{ Connection }

// connectedRule says whether an operation may be done while connected.
type connectedRule int

const (
	neverConnected connectedRule = iota
	connectedWhenNamed
	connectedByDefault
)

func errConnectionEnded() error {
	return NewError(CodeConnectionEnded, "", "the connection has ended")
}

func errOtherUser() error {
	return NewError(CodeOtherUser, "", "the connection is to another user")
}

// admitConnected checks that a call is allowed while connected, and that it is about the user whom
// the caller is connected to.
func (m *manager) admitConnected(ctx context.Context, c *call, own *connected, user UserID) (context.Context, error) {
	connection, err := m.store.Connection(ctx, own.ID)
	switch {
	case errors.Is(err, ErrNotFound): // its user was deleted, or it is of another project
		return ctx, errConnectionEnded()
	case err != nil:
		return ctx, err
	case m.connections.Off:
		return ctx, errConnectionsOff()
	case !connection.ofActor(c.actor) || connection.UserID != own.UserID:
		return ctx, errNotYours()
	case !connection.Open(c.now):
		return ctx, errConnectionEnded()
	}
	op := c.operation
	switch {
	case op == opConnect || op == opResume:
		return ctx, NewError(CodeConnectedAlready, "", "the actor is already connected to a user")
	case !m.connections.allowed[op.name]:
		return ctx, NewError(CodeNotWhileConnected, "", "%s is not allowed while connected", op.name)
	case op.narrowed:
		return context.WithValue(ctx, scopeKey{}, Equal("id", own.UserID)), nil
	case op.target == TargetProject || op.target == TargetSegment || c.inGeneral():
		return ctx, nil
	case user != own.UserID:
		return ctx, errOtherUser()
	}
	return ctx, nil
}

func errConnectionsOff() error {
	return NewError(CodeConnectionsOff, "", "nobody may connect to users here")
}

func errNotYours() error {
	return NewError(CodeNotYourConnection, "", "the connection belongs to another administrator")
}

// ofActor reports whether the connection was made by the actor.
func (c *Connection) ofActor(actor Actor) bool {
	return c.Actor.Kind == actor.Kind && c.Actor.ID == actor.ID
}

// guard makes sure that a command changes only the user whom the caller is connected to, and that
// its commit does not come after the end of the connection: an end is a change of the same user, so
// that one of the two is decided after the other.
func (own *connected) guard(c *command) error {
	switch subject := c.subject.(type) {
	case nil:
		if c.want.User != own.UserID {
			return errOtherUser()
		}
		c.want.Connections = append(slices.Clip(c.want.Connections), own.ID)
		decide := c.decide
		c.decide = func(state *State) (Change, error) {
			if err := own.check(state); err != nil {
				return Change{}, err
			}
			return decide(state)
		}
		return nil
	case *together:
		subject.connected = own
		return nil
	}
	return errOtherUser()
}

// check returns the error of a state in which the connection has ended.
func (own *connected) check(state *State) error {
	at := slices.IndexFunc(state.Connections, func(c Connection) bool { return c.ID == own.ID })
	if at < 0 || !state.Connections[at].EndedAt.IsZero() {
		return errConnectionEnded()
	}
	return nil
}

// samePerson reports whether an administrator is a user. The host may be asked, and its code may
// panic: then nobody connects.
func (m *manager) samePerson(ctx context.Context, administrator Actor, user User) (same bool, err error) {
	if administrator.ID == user.ID.String() || user.Email != "" && Fold(administrator.ID) == Fold(user.Email) {
		return true, nil
	}
	if m.connections.SamePerson == nil {
		return false, nil
	}
	defer func() {
		if reason := recover(); reason != nil {
			m.logger.ErrorContext(ctx, "userkit: ConnectionPolicy.SamePerson failed", "error", hostcall.Panicked(reason))
			err = NewError(CodeAuthorizerFailed, "", "whether the administrator is the user could not be told")
		}
	}()
	return m.connections.SamePerson(administrator, user), nil
}

func (m *manager) Connect(ctx context.Context, user UserID, options ConnectOptions) (_ Connection, err error) {
	ctx, call, err := enter(ctx, m, opConnect, user)
	if err != nil {
		return Connection{}, err
	}
	defer call.leave(ctx, &err)
	duration := time.Duration(options.Duration)
	if duration == 0 {
		duration = m.connections.Duration
	}
	switch {
	case m.connections.Off:
		return Connection{}, errConnectionsOff()
	case call.actor.Kind != ActorAdministrator || call.actor.ID == "":
		return Connection{}, NewError(CodeNotAdministrator, "actor", "only an administrator with an id can connect to users")
	}
	if err := firstError(options.check(), m.connections.checkDuration(duration)); err != nil {
		return Connection{}, err
	}
	known, err := m.store.User(ctx, user)
	if err != nil {
		return Connection{}, err
	}
	same, err := m.samePerson(ctx, call.actor, known)
	if err != nil {
		return Connection{}, err
	}
	if same {
		return Connection{}, NewError(CodeSelfConnection, "user_id", "an administrator cannot connect to their own user")
	}
	connection := Connection{
		ID: NewID[Connection](), UserID: user, Actor: call.actor, Reason: options.Reason,
		StartedAt: call.now, ExpiresAt: storedTime(call.now.Add(duration)),
	}
	return change(ctx, m, command{want: Want{User: user}}, func(state *State) (Connection, Change, error) {
		c := state.change()
		c.Connections.Insert = []Connection{connection}
		call.record(&c, EventConnected, DeviceID{}, "connection", connection.ID, "reason", connection.Reason, "expires_at", connection.ExpiresAt)
		return connection, c, nil
	})
}

func (m *manager) Resume(outer context.Context, id ConnectionID) (_ context.Context, err error) {
	ctx, call, err := enter(outer, m, opResume, id)
	if err != nil {
		return nil, err
	}
	defer call.leave(ctx, &err)
	connection, err := m.store.Connection(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case m.connections.Off:
		return nil, errConnectionsOff()
	case !connection.ofActor(call.actor):
		return nil, errNotYours()
	case !connection.Open(call.now):
		return nil, errConnectionEnded()
	}
	return withCaller(outer, caller{actor: call.actor, connection: &connected{connection}}), nil
}

func (m *manager) Disconnect(ctx context.Context, id ConnectionID) (_ Connection, err error) {
	ctx, call, err := enter(ctx, m, opDisconnect, id)
	if err != nil {
		return Connection{}, err
	}
	defer call.leave(ctx, &err)
	connection, err := m.store.Connection(ctx, id)
	if err != nil {
		return Connection{}, err
	}
	want := Want{User: connection.UserID, Connections: []ConnectionID{id}}
	return change(ctx, m, command{want: want}, func(state *State) (Connection, Change, error) {
		at := slices.IndexFunc(state.Connections, func(c Connection) bool { return c.ID == id })
		if at < 0 {
			return Connection{}, Change{}, NewError(CodeConnectionNotFound, "", "no connection %s", id)
		}
		connection := state.Connections[at]
		if !connection.Open(call.now) {
			return connection, Change{}, nil
		}
		connection.EndedAt, connection.EndedBy = call.now, call.actor
		c := state.change()
		c.Connections.Update = []Connection{connection}
		call.record(&c, EventDisconnected, DeviceID{}, "connection", id)
		return connection, c, nil
	})
}

func (m *manager) Connections(ctx context.Context, query ConnectionQuery) (_ Page[Connection], err error) {
	ctx, call, err := enterOf(ctx, m, opConnections, &query.UserID)
	if err != nil {
		return Page[Connection]{}, err
	}
	defer call.leave(ctx, &err)
	if query.Sort != "" && query.Sort != "started_at" {
		return Page[Connection]{}, NewError(CodeUnknownField, "sort", "connections have only one order")
	}
	filter, err := query.ConnectionFilter.normalise()
	if err != nil {
		return Page[Connection]{}, err
	}
	return readPage(query.PageQuery, connectionFields, "connections", filter, func(list ListRange) ([]Connection, error) {
		return m.store.Connections(ctx, filter, list)
	})
}

func (m *manager) CountConnections(ctx context.Context, query ConnectionQuery) (_ int64, err error) {
	ctx, call, err := enterOf(ctx, m, opCountConnections, &query.UserID)
	if err != nil {
		return 0, err
	}
	defer call.leave(ctx, &err)
	filter, err := query.ConnectionFilter.normalise()
	if err != nil {
		return 0, err
	}
	return m.store.CountConnections(ctx, filter)
}

func (f ConnectionFilter) normalise() (ConnectionFilter, error) {
	err := firstError(checkLine("actor_id", f.ActorID, MaxLine), checkTime("open_at", f.OpenAt))
	f.OpenAt = storedTime(f.OpenAt)
	return f, err
}

// credentials reports whether a patch changes what a user signs in with.
func (p *UserPatch) credentials() bool {
	return !p.Login.IsZero() || !p.Email.IsZero() || !p.EmailVerified.IsZero() || !p.Phone.IsZero() || !p.ExtRef.IsZero() || !p.AuthMethod.IsZero()
}
