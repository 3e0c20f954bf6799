package userkit_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// callForError calls a method with a context and the zero value of every other
// argument, and returns its error.
func callForError(ctx context.Context, manager userkit.Manager, method string) error {
	function := reflect.ValueOf(manager).MethodByName(method)
	kind := function.Type()
	arguments := []reflect.Value{reflect.ValueOf(ctx)}
	for i := 1; i < kind.NumIn(); i++ {
		if !kind.IsVariadic() || i < kind.NumIn()-1 {
			arguments = append(arguments, reflect.Zero(kind.In(i)))
		}
	}
	results := function.Call(arguments)
	last := results[len(results)-1]
	if last.Kind() == reflect.Func {
		for _, value := range last.Seq2() {
			last = value
		}
	}
	err, _ := reflect.TypeAssert[error](last)
	return err
}

// idText is an id as Allows takes it.
func idText(id userkit.UserID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// TestAllowsAnswersAsTheCallWould calls every method about a user, about another one and
// about all of the project, as somebody who may do everything for one user, as somebody
// who is connected to that user, and as somebody who may only read.
func TestAllowsAnswersAsTheCallWould(t *testing.T) {
	c := connect(t)
	allowedFor := func(reads bool, scope userkit.Filter) userkit.AuthorizerFunc {
		return func(_ context.Context, request userkit.AuthorizationRequest) (userkit.Authorization, error) {
			if request.Operation.Target == userkit.TargetUser && request.ID != idText(request.UserID) {
				return userkit.Authorization{}, errors.New("the id of the target is not that of the user")
			}
			return userkit.Authorization{Allowed: !reads || !request.Operation.Changes, Scope: scope}, nil
		}
	}
	connection, err := userkit.New(c.store)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, connection.Close(context.Background())) })
	quiet := userkit.WithLogger(slog.New(slog.DiscardHandler))
	operations := map[string]userkit.Operation{}
	for _, op := range userkit.Operations() {
		operations[op.Name] = op
	}
	plain := userkit.WithActor(t.Context(), staff)
	for name, who := range map[string]struct {
		manager userkit.Manager
		ctx     context.Context
	}{
		"one user":  {authorizing(t, c.store, allowedFor(false, userkit.Equal("login", "ada")), quiet), plain},
		"reads":     {authorizing(t, c.store, allowedFor(true, userkit.Filter{}), quiet), plain},
		"connected": {connection, c.at},
		"both":      {authorizing(t, c.store, allowedFor(true, userkit.Equal("login", "ada")), quiet), c.at},
	} {
		for method, operation := range userkit.OperationMethods() {
			if method == "DeleteUser" {
				continue // the others need them
			}
			op := operations[operation]
			for _, user := range []userkit.UserID{{}, c.ada.ID, c.emmy.ID} {
				about, ok := argumentsAbout(method, user)
				project := op.Target == userkit.TargetProject || op.Target == userkit.TargetSegment
				if !ok || !project && op.Target != userkit.TargetUser || !project && user.IsZero() && !about.query {
					continue // the call is about another record, or cannot be about all of the project
				}
				err := about.call(who.ctx, who.manager)
				id := ""
				if op.Target == userkit.TargetUser {
					id = idText(user)
				}
				allowed, asked := who.manager.Allows(who.ctx, operation, id)
				require.NoError(t, asked)
				require.Equal(t, !errors.Is(err, userkit.ErrForbidden), allowed, "%s: %s %s: %v", name, operation, id, err)
				refused := who.manager.Authorize(who.ctx, operation, id)
				require.Equal(t, allowed, refused == nil, "%s: %s %s", name, operation, id)
				if !allowed {
					require.Equal(t, userkit.ErrorCode(err), userkit.ErrorCode(refused), "%s: %s %s", name, operation, id)
				}
			}
		}
	}
}

// aboutUser is a call of a method with zeros for everything but the user.
type aboutUser struct {
	call  func(ctx context.Context, manager userkit.Manager) error
	query bool // the user is part of a query, which need not name one
}

// argumentsAbout makes a call about a user, if the method takes one or needs none.
func argumentsAbout(method string, user userkit.UserID) (aboutUser, bool) {
	found, query := user.IsZero(), false
	var ids []reflect.Value
	function, _ := reflect.TypeFor[userkit.Manager]().MethodByName(method)
	for i := 1; i < function.Type.NumIn(); i++ {
		argument := reflect.New(function.Type.In(i)).Elem()
		switch field := argument; {
		case argument.Type() == reflect.TypeFor[userkit.UserID]():
			argument.Set(reflect.ValueOf(user))
			found = true
		case argument.Kind() == reflect.Struct && argument.FieldByName("UserID").IsValid() && argument.FieldByName("UserID").Type() == reflect.TypeFor[userkit.UserID]():
			field = argument.FieldByName("UserID")
			field.Set(reflect.ValueOf(user))
			found, query = true, strings.HasSuffix(argument.Type().Name(), "Query") && argument.Type() != reflect.TypeFor[userkit.MessageQuery]()
		}
		ids = append(ids, argument)
	}
	if function.Type.IsVariadic() {
		ids = ids[:len(ids)-1]
	}
	return aboutUser{query: query, call: func(ctx context.Context, manager userkit.Manager) error {
		results := reflect.ValueOf(manager).MethodByName(method).Call(append([]reflect.Value{reflect.ValueOf(ctx)}, ids...))
		last := results[len(results)-1]
		if last.Kind() == reflect.Func {
			sequence := last
			last = reflect.Value{}
			for _, value := range sequence.Seq2() {
				last = value
			}
		}
		if !last.IsValid() {
			return nil
		}
		err, _ := reflect.TypeAssert[error](last)
		return err
	}}, found
}

func TestRefusalsOfAuthorizeAreRecordedAndThoseOfAllowsAreNot(t *testing.T) {
	store := &recordingStore{}
	manager := authorizing(t, store, userkit.AuthorizerFunc(func(context.Context, userkit.AuthorizationRequest) (userkit.Authorization, error) {
		return userkit.Authorization{}, nil
	}))
	allowed, err := manager.Allows(t.Context(), "users.import", "")
	require.NoError(t, err)
	require.False(t, allowed)
	require.Empty(t, store.events)
	requireErrorCode(t, userkit.CodeNotAllowed, manager.Authorize(t.Context(), "users.import", ""))
	require.Len(t, store.events, 1)
	require.Contains(t, string(store.events[0].Data), "users.import")
	for _, ask := range []struct{ operation, id string }{{"users.nothing", ""}, {"users.get", "no id"}, {"users.list", userkit.NewID[userkit.User]().String()}} {
		requireErrorCode(t, userkit.CodeUnknownValue, manager.Authorize(t.Context(), ask.operation, ask.id))
		_, err := manager.Allows(t.Context(), ask.operation, ask.id)
		requireErrorCode(t, userkit.CodeUnknownValue, err)
	}
}

// recordingStore is a store on which nothing but the recording of an event works.
type recordingStore struct {
	userkit.Store
	events []userkit.Event
}

func (s *recordingStore) CommitEvent(_ context.Context, event userkit.Event) error {
	s.events = append(s.events, event)
	return nil
}

func authorizing(t *testing.T, store userkit.Store, authorizer userkit.Authorizer, options ...userkit.Option) userkit.Manager {
	t.Helper()
	manager, err := userkit.New(store, append(options, userkit.WithAuthorizer(authorizer))...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, manager.Close(context.Background())) })
	return manager
}

func TestNoMethodGoesPastTheAuthorizer(t *testing.T) {
	for method, name := range userkit.OperationMethods() {
		t.Run(method, func(t *testing.T) {
			var asked []userkit.AuthorizationRequest
			refuse := userkit.AuthorizerFunc(func(_ context.Context, request userkit.AuthorizationRequest) (userkit.Authorization, error) {
				asked = append(asked, request)
				return userkit.Authorization{Scope: userkit.Equal("login", "ada")}, nil // a scope alone allows nothing
			})
			store := &recordingStore{}
			actor := userkit.Actor{Kind: userkit.ActorAdministrator, ID: "staff-7"}
			err := callForError(userkit.WithActor(t.Context(), actor), authorizing(t, store, refuse), method)
			require.ErrorIs(t, err, userkit.ErrForbidden)
			require.Equal(t, userkit.CodeNotAllowed, userkit.ErrorCode(err))
			require.Len(t, asked, 1)
			require.Equal(t, name, asked[0].Operation.Name)
			require.Equal(t, actor, asked[0].Actor)
			require.Len(t, store.events, 1)
			require.Equal(t, userkit.EventAccessRefused, store.events[0].Name)
			require.Equal(t, actor, store.events[0].Actor)
			require.JSONEq(t, `{"operation": "`+name+`", "code": "not_allowed"}`, string(store.events[0].Data))
		})
	}
}

// A scope never widens, and what it cannot narrow it forbids: with the scope of nobody
// no operation works on anything.
func TestAScopeIsHeededByEveryMethod(t *testing.T) {
	store := memory.New()
	host, err := userkit.New(store)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close(context.Background())) })
	user, err := host.CreateUser(t.Context(), userkit.NewUser{Login: "ada"})
	require.NoError(t, err)
	nobody := authorizing(t, store, userkit.AuthorizerFunc(func(context.Context, userkit.AuthorizationRequest) (userkit.Authorization, error) {
		return userkit.Authorization{Allowed: true, Scope: userkit.Equal("login", "nobody")}, nil
	}))
	for _, op := range userkit.Operations() {
		method := ""
		for candidate, name := range userkit.OperationMethods() {
			if name == op.Name {
				method = candidate
			}
		}
		if !op.Narrowed {
			require.ErrorIs(t, callForError(t.Context(), nobody, method), userkit.ErrForbidden, op.Name)
		}
	}
	page, err := nobody.Users(t.Context(), userkit.UserQuery{})
	require.NoError(t, err)
	require.Empty(t, page.Items)
	for user, err := range nobody.AllUsers(t.Context(), userkit.UserQuery{}) {
		require.Fail(t, "outside of the scope", "%v %v", user, err)
	}
	count, err := nobody.CountUsers(t.Context(), userkit.UserFilter{})
	require.NoError(t, err)
	require.Zero(t, count)
	names, err := nobody.UserNames(t.Context(), []userkit.UserID{user.ID})
	require.NoError(t, err)
	require.Empty(t, names)
	for _, key := range []userkit.UserKey{userkit.ByLogin("ada"), userkit.ByID(user.ID)} {
		_, err = nobody.FindUser(t.Context(), key)
		require.Equal(t, userkit.CodeUserNotFound, userkit.ErrorCode(err))
	}
	request := userkit.BulkRequest{Action: userkit.BulkDeactivate}
	preview, err := nobody.PreviewBulk(t.Context(), request)
	require.NoError(t, err)
	require.Zero(t, preview.Users)
	all, err := host.PreviewBulk(t.Context(), request)
	require.NoError(t, err)
	_, err = nobody.ExecuteBulk(t.Context(), request, all.Token, nil)
	require.Equal(t, userkit.CodeAudienceChanged, userkit.ErrorCode(err))
	_, err = nobody.User(t.Context(), user.ID)
	require.Equal(t, userkit.CodeNotAllowed, userkit.ErrorCode(err))
	_, err = nobody.CreateUser(t.Context(), userkit.NewUser{Login: "other"})
	require.Equal(t, userkit.CodeNotAllowed, userkit.ErrorCode(err))
	_, err = nobody.CreateUser(t.Context(), userkit.NewUser{Login: "nobody"})
	require.NoError(t, err)
}

func TestAnAuthorizerThatFails(t *testing.T) {
	quiet := userkit.WithLogger(slog.New(slog.DiscardHandler))
	allowed := userkit.Authorization{Allowed: true}
	for name, authorize := range map[string]userkit.AuthorizerFunc{
		"with an error": func(context.Context, userkit.AuthorizationRequest) (userkit.Authorization, error) {
			return allowed, errors.New("the directory is down")
		},
		"with a panic": func(context.Context, userkit.AuthorizationRequest) (userkit.Authorization, error) { panic("broken") },
		"with a scope of a field that is none": func(context.Context, userkit.AuthorizationRequest) (userkit.Authorization, error) {
			return userkit.Authorization{Allowed: true, Scope: userkit.Equal("salary", 1)}, nil
		},
		"with a scope of a segment that is none": func(context.Context, userkit.AuthorizationRequest) (userkit.Authorization, error) {
			return userkit.Authorization{Allowed: true, Scope: userkit.InSegment(userkit.NewID[userkit.Segment]())}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			manager := authorizing(t, memory.New(), authorize, quiet)
			_, err := manager.Users(t.Context(), userkit.UserQuery{})
			require.ErrorIs(t, err, userkit.ErrUnavailable)
			require.Equal(t, userkit.CodeAuthorizerFailed, userkit.ErrorCode(err))
			_, err = manager.Allows(t.Context(), "users.list", "")
			require.Equal(t, userkit.CodeAuthorizerFailed, userkit.ErrorCode(err))
		})
	}
}

func TestAnAuthorizerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hang := userkit.AuthorizerFunc(func(context.Context, userkit.AuthorizationRequest) (userkit.Authorization, error) {
			<-release
			return userkit.Authorization{Allowed: true}, nil
		})
		manager, err := userkit.New(memory.New(), userkit.WithAuthorizer(hang))
		require.NoError(t, err)
		_, err = manager.Licenses(t.Context())
		require.Equal(t, userkit.CodeAuthorizerFailed, userkit.ErrorCode(err))
		gone, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		_, err = manager.Licenses(gone)
		require.ErrorIs(t, err, context.Canceled)
		close(release)
		require.NoError(t, manager.Close(t.Context()))
	})
}

func TestAnAuthorizerMayLookUsersUp(t *testing.T) {
	var manager userkit.Manager
	calls := 0
	manager = authorizing(t, memory.New(), userkit.AuthorizerFunc(func(ctx context.Context, request userkit.AuthorizationRequest) (userkit.Authorization, error) {
		calls++
		_, err := manager.FindUser(ctx, userkit.ByLogin(request.Actor.ID))
		return userkit.Authorization{Allowed: err == nil}, nil
	}))
	_, err := manager.Licenses(userkit.WithActor(t.Context(), userkit.Actor{ID: "ada"}))
	require.Equal(t, userkit.CodeNotAllowed, userkit.ErrorCode(err))
	require.Equal(t, 1, calls)
}

func TestDutiesAreNotAskedAbout(t *testing.T) {
	store := panickingStore{memory.New(), make(chan struct{})}
	quiet := userkit.WithLogger(slog.New(slog.DiscardHandler))
	manager := authorizing(t, store, userkit.AuthorizerFunc(func(context.Context, userkit.AuthorizationRequest) (userkit.Authorization, error) {
		return userkit.Authorization{}, nil
	}), userkit.WithStaleAfter(time.Second), quiet)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- manager.Run(ctx) }()
	<-store.asked
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

func TestRefusalsAreRecordedAtABoundedRate(t *testing.T) {
	store := &recordingStore{}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	manager := authorizing(t, store, userkit.AuthorizerFunc(func(context.Context, userkit.AuthorizationRequest) (userkit.Authorization, error) {
		return userkit.Authorization{}, nil
	}), userkit.WithClock(func() time.Time { return now }))
	refuse := func(actor string) {
		_, err := manager.Licenses(userkit.WithActor(t.Context(), userkit.Actor{ID: actor}))
		require.Equal(t, userkit.CodeNotAllowed, userkit.ErrorCode(err))
	}
	for range 25 {
		refuse("one")
	}
	require.Len(t, store.events, 10)
	refuse("other")
	require.Len(t, store.events, 11)
	require.Contains(t, string(store.events[10].Data), `"left_out":15`)
	for i := range 200 {
		refuse(strings.Repeat("x", i+1))
	}
	require.Len(t, store.events, 100)
	now = now.Add(time.Minute)
	refuse("one")
	require.Len(t, store.events, 101)
}

func TestRoles(t *testing.T) {
	roles := map[string][]string{"root": {"admin"}, "reader": {"audit"}, "german": {"audit-de", "edit-de"}, "both": {"edit-de", "edit-ada"}, "lost": {"no such role"}}
	authorizer, err := userkit.NewRoles(map[string]userkit.Role{
		"admin":    {Operations: []string{"*"}},
		"audit":    {Operations: []string{"read"}},
		"audit-de": {Operations: []string{"users.read", "devices.list"}, Scope: userkit.Equal("country", "DE")},
		"edit-de":  {Operations: []string{"users.update"}, Scope: userkit.Equal("country", "DE")},
		"edit-ada": {Operations: []string{"users.*"}, Scope: userkit.Equal("login", "ada")},
		"self":     {Operations: []string{"users.get"}, Self: true},
	}, func(_ context.Context, actor userkit.Actor) []string {
		if actor.Kind == userkit.ActorUser {
			return []string{"self"}
		}
		return roles[actor.ID]
	})
	require.NoError(t, err)
	store := memory.New()
	host, err := userkit.New(store)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close(context.Background())) })
	ada, err := host.CreateUser(t.Context(), userkit.NewUser{Login: "ada", Country: "GB"})
	require.NoError(t, err)
	emmy, err := host.CreateUser(t.Context(), userkit.NewUser{Login: "emmy", Country: "DE"})
	require.NoError(t, err)
	manager := authorizing(t, store, authorizer)
	for _, check := range []struct {
		actor     string
		operation string
		user      userkit.UserID
		allowed   bool
	}{
		{"root", "users.delete", ada.ID, true},
		{"reader", "users.get", ada.ID, true},
		{"reader", "users.update", ada.ID, false},
		{"reader", "activity.list", userkit.UserID{}, true},
		{"german", "users.get", emmy.ID, true},
		{"german", "users.get", ada.ID, false},
		{"german", "users.get", userkit.NewID[userkit.User](), false},
		{"german", "users.list", userkit.UserID{}, true},
		{"german", "users.update", emmy.ID, true},
		{"german", "users.delete", emmy.ID, false},
		{"german", "sessions.list", emmy.ID, false},
		{"both", "users.update", ada.ID, true},
		{"both", "users.update", emmy.ID, true},
		{"both", "users.delete", emmy.ID, false},
		{"lost", "users.get", ada.ID, false},
		{"nobody", "users.get", ada.ID, false},
	} {
		ctx := userkit.WithActor(t.Context(), userkit.Actor{Kind: userkit.ActorAdministrator, ID: check.actor})
		allowed, err := manager.Allows(ctx, check.operation, idText(check.user))
		require.NoError(t, err)
		require.Equal(t, check.allowed, allowed, "%s %s", check.actor, check.operation)
	}
	self := userkit.WithActor(t.Context(), userkit.Actor{Kind: userkit.ActorUser, ID: ada.ID.String()})
	_, err = manager.User(self, ada.ID)
	require.NoError(t, err)
	_, err = manager.User(self, emmy.ID)
	require.Equal(t, userkit.CodeNotAllowed, userkit.ErrorCode(err))
	_, err = manager.User(userkit.WithActor(t.Context(), userkit.Actor{Kind: userkit.ActorUser, ID: "ada"}), ada.ID)
	require.Equal(t, userkit.CodeNotAllowed, userkit.ErrorCode(err))

	_, err = manager.Allows(t.Context(), "users.nothing", ada.ID.String())
	require.Equal(t, userkit.CodeUnknownValue, userkit.ErrorCode(err))
	for _, role := range []userkit.Role{{Operations: []string{"users.udpate"}}, {Operations: []string{"*"}, Scope: userkit.Equal("salary", 1)}} {
		_, err = userkit.NewRoles(map[string]userkit.Role{"wrong": role}, func(context.Context, userkit.Actor) []string { return nil })
		require.Equal(t, userkit.CodeInvalidOption, userkit.ErrorCode(err))
	}
	_, err = userkit.NewRoles(nil, nil)
	require.Equal(t, userkit.CodeInvalidOption, userkit.ErrorCode(err))
	_, err = userkit.New(store, userkit.WithAuthorizer(nil))
	require.Equal(t, userkit.CodeInvalidOption, userkit.ErrorCode(err))
	_, err = authorizing(t, store, userkit.AllowAll()).User(t.Context(), ada.ID)
	require.NoError(t, err)
}

// A host's own events have none of userkit's names.
func TestTheNamesOfEventsAreReserved(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "activity.go", nil, 0)
	require.NoError(t, err)
	var names []userkit.EventName
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if ok && strings.HasPrefix(spec.Names[0].Name, "Event") && len(spec.Values) == 1 {
			if name, ok := spec.Values[0].(*ast.BasicLit); ok && name.Kind == token.STRING {
				names = append(names, userkit.EventName(strings.Trim(name.Value, `"`)))
			}
		}
		return true
	})
	require.Greater(t, len(names), 30)
	require.True(t, slices.Contains(names, userkit.EventAccessRefused))
	manager, err := userkit.New(memory.New())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, manager.Close(context.Background())) })
	for _, name := range names {
		_, err := manager.RecordEvent(t.Context(), userkit.NewID[userkit.User](), userkit.NewEvent{Name: name})
		require.Equal(t, userkit.CodeReservedName, userkit.ErrorCode(err), name)
	}
}
