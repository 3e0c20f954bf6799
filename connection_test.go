package userkit_test

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

var staff = userkit.Actor{Kind: userkit.ActorAdministrator, ID: "staff-7", Name: "Grace"}

// connecting is a manager with two users, to one of whom the staff is connected.
type connecting struct {
	userkit.Manager
	store     userkit.Store
	ada, emmy userkit.User
	at        context.Context
	id        userkit.ConnectionID
}

func connect(t *testing.T, options ...userkit.Option) connecting {
	t.Helper()
	c := connecting{store: memory.New()}
	var err error
	c.Manager, err = userkit.New(c.store, options...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close(context.Background())) })
	c.ada, err = c.CreateUser(t.Context(), userkit.NewUser{Login: "ada", Email: "ada@example.org"})
	require.NoError(t, err)
	c.emmy, err = c.CreateUser(t.Context(), userkit.NewUser{Login: "emmy"})
	require.NoError(t, err)
	ctx := userkit.WithActor(t.Context(), staff)
	connection, err := c.Connect(ctx, c.ada.ID, userkit.ConnectOptions{Reason: "ticket 7"})
	require.NoError(t, err)
	c.id = connection.ID
	c.at, err = c.Resume(ctx, connection.ID)
	require.NoError(t, err)
	return c
}

func requireErrorCode(t *testing.T, code userkit.Code, err error) {
	t.Helper()
	require.Equal(t, code, userkit.ErrorCode(err), "%v", err)
}

func TestWhoMayConnect(t *testing.T) {
	c := connect(t)
	as := func(kind userkit.ActorKind, id string) context.Context {
		return userkit.WithActor(t.Context(), userkit.Actor{Kind: kind, ID: id})
	}
	reason := userkit.ConnectOptions{Reason: "ticket"}
	for name, refused := range map[string]struct {
		ctx     context.Context
		options userkit.ConnectOptions
		code    userkit.Code
	}{
		"no administrator":     {as(userkit.ActorUser, c.emmy.ID.String()), reason, userkit.CodeNotAdministrator},
		"the system":           {t.Context(), reason, userkit.CodeNotAdministrator},
		"without an id":        {as(userkit.ActorAdministrator, ""), reason, userkit.CodeNotAdministrator},
		"oneself":              {as(userkit.ActorAdministrator, c.ada.ID.String()), reason, userkit.CodeSelfConnection},
		"oneself by email":     {as(userkit.ActorAdministrator, "Ada@Example.org"), reason, userkit.CodeSelfConnection},
		"no reason":            {as(userkit.ActorAdministrator, "a"), userkit.ConnectOptions{Reason: " "}, userkit.CodeRequired},
		"too long":             {as(userkit.ActorAdministrator, "a"), userkit.ConnectOptions{Reason: "r", Duration: userkit.Duration(8*time.Hour + 1)}, userkit.CodeOutOfRange},
		"for less than a time": {as(userkit.ActorAdministrator, "a"), userkit.ConnectOptions{Reason: "r", Duration: -1}, userkit.CodeOutOfRange},
		"from a connection":    {c.at, reason, userkit.CodeConnectedAlready},
	} {
		_, err := c.Connect(refused.ctx, c.ada.ID, refused.options)
		requireErrorCode(t, refused.code, err)
		t.Log(name)
	}
	_, err := c.Connect(as(userkit.ActorAdministrator, "a"), userkit.NewID[userkit.User](), reason)
	requireErrorCode(t, userkit.CodeUserNotFound, err)
	_, err = c.Resume(c.at, c.id)
	requireErrorCode(t, userkit.CodeConnectedAlready, err)
	_, err = c.Resume(as(userkit.ActorAdministrator, "other"), c.id)
	requireErrorCode(t, userkit.CodeNotYourConnection, err)
	_, err = c.Resume(as(userkit.ActorAdministrator, "other"), userkit.NewID[userkit.Connection]())
	requireErrorCode(t, userkit.CodeConnectionNotFound, err)
	long, err := c.Connect(as(userkit.ActorAdministrator, "a"), c.ada.ID, userkit.ConnectOptions{Reason: "r", Duration: userkit.Duration(8 * time.Hour)})
	require.NoError(t, err)
	require.Equal(t, 8*time.Hour, long.ExpiresAt.Sub(long.StartedAt))
}

func TestOnBehalfOfIsNobodysWord(t *testing.T) {
	c := connect(t)
	said := staff
	said.OnBehalfOf = c.ada.ID
	_, err := c.UpdateUser(userkit.WithActor(t.Context(), said), c.ada.ID, userkit.UserPatch{Name: userkit.Set("Ada")})
	requireErrorCode(t, userkit.CodeNotConnected, err)
	said.OnBehalfOf = userkit.NewID[userkit.User]()
	_, err = c.User(userkit.WithActor(t.Context(), said), c.ada.ID)
	requireErrorCode(t, userkit.CodeNotConnected, err)
	_, err = c.User(userkit.WithActor(c.at, said), c.ada.ID)
	requireErrorCode(t, userkit.CodeNotConnected, err)

	require.Equal(t, c.ada.ID, userkit.ActorFrom(c.at).OnBehalfOf)
	connection, connected := userkit.ConnectionOf(c.at)
	require.True(t, connected)
	kept, err := c.Connections(userkit.WithActor(t.Context(), staff), userkit.ConnectionQuery{})
	require.NoError(t, err)
	require.Equal(t, kept.Items, []userkit.Connection{connection})
	_, connected = userkit.ConnectionOf(t.Context())
	require.False(t, connected)

	// The same actor again does not leave the connection, and another one has none.
	_, err = c.User(userkit.WithActor(c.at, staff), c.emmy.ID)
	requireErrorCode(t, userkit.CodeOtherUser, err)
	_, err = c.User(userkit.WithActor(c.at, userkit.Actor{Kind: userkit.ActorAdministrator, ID: "other"}), c.ada.ID)
	requireErrorCode(t, userkit.CodeNotYourConnection, err)

	// A connection of one project is none of another.
	elsewhere := connect(t)
	_, err = elsewhere.User(c.at, elsewhere.ada.ID)
	requireErrorCode(t, userkit.CodeConnectionEnded, err)
}

// No method does anything about another user, whatever the policy names.
func TestNoMethodLeavesTheConnection(t *testing.T) {
	var all []string
	for _, op := range userkit.Operations() {
		if _, err := userkit.New(memory.New(), userkit.WithConnections(userkit.ConnectionPolicy{Operations: []string{op.Name}})); err == nil {
			all = append(all, op.Name)
		}
	}
	require.Subset(t, all, userkit.ConnectedOperations())
	c := connect(t, userkit.WithConnections(userkit.ConnectionPolicy{Operations: all}))
	device, err := c.RegisterDevice(t.Context(), c.emmy.ID, userkit.NewDevice{})
	require.NoError(t, err)
	session, err := c.StartSession(t.Context(), userkit.NewSession{UserID: c.emmy.ID, Node: "n"})
	require.NoError(t, err)
	other := map[reflect.Type]any{
		reflect.TypeFor[userkit.UserID](): c.emmy.ID, reflect.TypeFor[userkit.DeviceID](): device.ID, reflect.TypeFor[userkit.SessionID](): session.ID,
	}
	names := userkit.OperationMethods()
	for _, method := range managerMethods() {
		function := reflect.ValueOf(c.Manager).MethodByName(method.Name)
		kind := function.Type()
		arguments := []reflect.Value{reflect.ValueOf(c.at)}
		named := false
		for i := 1; i < kind.NumIn(); i++ {
			if kind.IsVariadic() && i == kind.NumIn()-1 {
				break
			}
			argument := reflect.New(kind.In(i)).Elem()
			if value, ok := other[argument.Type()]; ok {
				argument.Set(reflect.ValueOf(value))
				named = true
			} else if argument.Kind() == reflect.Struct {
				if field := argument.FieldByName("UserID"); field.IsValid() {
					field.Set(reflect.ValueOf(c.emmy.ID))
					named = true
				}
			}
			arguments = append(arguments, argument)
		}
		results := function.Call(arguments)
		last := results[len(results)-1]
		if last.Kind() == reflect.Func {
			for _, value := range last.Seq2() {
				last = value
			}
		}
		err, _ := reflect.TypeAssert[error](last)
		name := names[method.Name]
		switch {
		case !slices.Contains(all, name) && name != "connections.disconnect" && name != "connections.connect" && name != "connections.resume":
			requireErrorCode(t, userkit.CodeNotWhileConnected, err)
		case named:
			require.ErrorIs(t, err, userkit.ErrForbidden, method.Name)
		}
	}
	events, err := c.Events(t.Context(), userkit.EventQuery{EventFilter: userkit.EventFilter{UserID: c.emmy.ID}})
	require.NoError(t, err)
	for _, event := range events.Items {
		if event.Name != userkit.EventAccessRefused {
			require.Zero(t, event.Actor.OnBehalfOf)
		}
	}
	page, err := c.Users(c.at, userkit.UserQuery{})
	require.NoError(t, err)
	require.Len(t, page.Items, 1)
	count, err := c.CountUsers(c.at, userkit.UserFilter{})
	require.NoError(t, err)
	require.EqualValues(t, 1, count)
	for user, err := range c.AllUsers(c.at, userkit.UserQuery{}) {
		require.NoError(t, err)
		require.Equal(t, c.ada.ID, user.ID)
	}
	called, err := c.UserNames(c.at, []userkit.UserID{c.ada.ID, c.emmy.ID})
	require.NoError(t, err)
	require.Equal(t, map[userkit.UserID]string{c.ada.ID: c.ada.DisplayName()}, called)
	_, err = c.FindUser(c.at, userkit.ByLogin("emmy"))
	requireErrorCode(t, userkit.CodeUserNotFound, err)
	_, err = c.FindUser(c.at, userkit.ByLogin("ada"))
	require.NoError(t, err)
	for _, list := range []func() ([]userkit.Device, error){func() ([]userkit.Device, error) {
		page, err := c.Devices(c.at, userkit.DeviceQuery{})
		return page.Items, err
	}} {
		items, err := list()
		require.NoError(t, err)
		require.Empty(t, items) // the only device is emmy's
	}
	sessions, err := c.Sessions(c.at, userkit.SessionQuery{})
	require.NoError(t, err)
	require.Empty(t, sessions.Items)
	mine, err := c.Events(c.at, userkit.EventQuery{})
	require.NoError(t, err)
	require.NotEmpty(t, mine.Items)
	for _, event := range mine.Items {
		require.Equal(t, c.ada.ID, event.UserID)
	}
}

func TestCredentialsAreNotChangedWhileConnected(t *testing.T) {
	c := connect(t)
	for name, patch := range map[string]userkit.UserPatch{
		"login": {Login: userkit.Set("lovelace")}, "email": {Email: userkit.Set("x@example.org")}, "verified": {EmailVerified: userkit.Set(true)},
		"phone": {Phone: userkit.Set("+441632960000")}, "extref": {ExtRef: userkit.Set("x")}, "auth": {AuthMethod: userkit.Set("sms")},
	} {
		_, err := c.UpdateUser(c.at, c.ada.ID, patch)
		requireErrorCode(t, userkit.CodeNotWhileConnected, err)
		t.Log(name)
	}
	_, err := c.DeleteUser(c.at, c.ada.ID, c.ada.ID.String())
	requireErrorCode(t, userkit.CodeNotWhileConnected, err)
	_, err = c.RegisterDevice(c.at, c.ada.ID, userkit.NewDevice{})
	requireErrorCode(t, userkit.CodeNotWhileConnected, err)
	_, err = c.UpdateUser(c.at, c.ada.ID, userkit.UserPatch{Name: userkit.Set("Ada"), Status: userkit.Set(userkit.StatusDisabled)})
	require.NoError(t, err)

	narrow := connect(t, userkit.WithConnections(userkit.ConnectionPolicy{Operations: []string{"users.get", "users.update"}}))
	_, err = narrow.UpdateUser(narrow.at, narrow.ada.ID, userkit.UserPatch{Status: userkit.Set(userkit.StatusDisabled)})
	requireErrorCode(t, userkit.CodeNotWhileConnected, err)
	_, err = narrow.Access(narrow.at, narrow.ada.ID)
	requireErrorCode(t, userkit.CodeNotWhileConnected, err)
	wide := connect(t, userkit.WithConnections(userkit.ConnectionPolicy{Operations: []string{"users.update", userkit.ChangeCredentials}}))
	_, err = wide.UpdateUser(wide.at, wide.ada.ID, userkit.UserPatch{Email: userkit.Set("x@example.org")})
	require.NoError(t, err)
}

func TestConnectionPolicies(t *testing.T) {
	for _, policy := range []userkit.ConnectionPolicy{
		{MaxDuration: 9 * time.Hour}, {Duration: time.Hour, MaxDuration: time.Minute}, {Duration: -1},
		{Operations: []string{"users.import"}}, {Operations: []string{"users.nothing"}},
	} {
		_, err := userkit.New(memory.New(), userkit.WithConnections(policy))
		requireErrorCode(t, userkit.CodeInvalidOption, err)
	}
	c := connect(t)
	off, err := userkit.New(c.store, userkit.WithConnections(userkit.ConnectionPolicy{Off: true}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, off.Close(context.Background())) })
	ctx := userkit.WithActor(t.Context(), staff)
	_, err = off.Connect(ctx, c.ada.ID, userkit.ConnectOptions{Reason: "r"})
	requireErrorCode(t, userkit.CodeConnectionsOff, err)
	_, err = off.Resume(ctx, c.id)
	requireErrorCode(t, userkit.CodeConnectionsOff, err)
	_, err = off.User(c.at, c.ada.ID)
	requireErrorCode(t, userkit.CodeConnectionsOff, err)
	_, err = off.Disconnect(ctx, c.id)
	require.NoError(t, err)

	same, err := userkit.New(c.store, userkit.WithConnections(userkit.ConnectionPolicy{
		Duration: time.Minute,
		SamePerson: func(actor userkit.Actor, user userkit.User) bool {
			return strings.HasSuffix(actor.ID, "7") && user.Login == "ada"
		},
	}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, same.Close(context.Background())) })
	_, err = same.Connect(ctx, c.ada.ID, userkit.ConnectOptions{Reason: "r"})
	requireErrorCode(t, userkit.CodeSelfConnection, err)
	short, err := same.Connect(ctx, c.emmy.ID, userkit.ConnectOptions{Reason: "r"})
	require.NoError(t, err)
	require.Equal(t, time.Minute, short.ExpiresAt.Sub(short.StartedAt))

	broken, err := userkit.New(c.store, userkit.WithLogger(slog.New(slog.DiscardHandler)), userkit.WithConnections(userkit.ConnectionPolicy{
		SamePerson: func(userkit.Actor, userkit.User) bool { panic("no staff") },
	}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, broken.Close(context.Background())) })
	_, err = broken.Connect(ctx, c.emmy.ID, userkit.ConnectOptions{Reason: "r"})
	requireErrorCode(t, userkit.CodeAuthorizerFailed, err)
}

// What a user signs in with is what CredentialFields says: those fields of the table, and
// no others, are refused while connected.
func TestCredentialFields(t *testing.T) {
	c := connect(t)
	allowed, err := c.Allows(c.at, userkit.ChangeCredentials, c.ada.ID.String())
	require.NoError(t, err)
	require.False(t, allowed)
	allowed, err = c.Allows(userkit.WithActor(t.Context(), staff), userkit.ChangeCredentials, c.ada.ID.String())
	require.NoError(t, err)
	require.True(t, allowed)
	named := map[string]bool{}
	for _, field := range userkit.UserFields() {
		if !field.Settable() {
			continue
		}
		var draft userkit.UserDraft
		require.NoError(t, draft.Set(field.Name, field.Get(&c.ada)), field.Name)
		_, err := c.UpdateUser(c.at, c.ada.ID, draft.Update)
		refused := userkit.ErrorCode(err) == userkit.CodeNotWhileConnected
		require.Equal(t, slices.Contains(userkit.CredentialFields(), field.Name), refused, field.Name)
		named[field.Name] = true
	}
	for _, name := range userkit.CredentialFields() {
		require.True(t, named[name] || name == "email_verified", name)
	}
}

// Rights are those that both the authorizer and the policy give.
func TestRightsWhileConnectedAreAnIntersection(t *testing.T) {
	var asked userkit.AuthorizationRequest
	c := connect(t, userkit.WithAuthorizer(userkit.AuthorizerFunc(func(_ context.Context, request userkit.AuthorizationRequest) (userkit.Authorization, error) {
		asked = request
		return userkit.Authorization{Allowed: request.Operation.Name != "users.access"}, nil
	})))
	_, err := c.Access(c.at, c.ada.ID)
	requireErrorCode(t, userkit.CodeNotAllowed, err)
	require.Equal(t, c.ada.ID, asked.Actor.OnBehalfOf)
	for operation, want := range map[string]bool{"users.access": false, "users.get": true, "users.delete": false} {
		allowed, err := c.Allows(c.at, operation, c.ada.ID.String())
		require.NoError(t, err)
		require.Equal(t, want, allowed, operation)
	}
	allowed, err := c.Allows(c.at, "users.get", c.emmy.ID.String())
	require.NoError(t, err)
	require.False(t, allowed)
}
