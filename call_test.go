package userkit_test

import (
	"context"
	"log/slog"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// doorless are the methods of Manager that do nothing with records: each says why.
var doorless = map[string]string{
	"Allows":    "asks what the door would say",
	"Authorize": "asks what the door would say",
	"Follow":    "is Feed again and again",
	"Project":   "tells the options, and asks no store",
	"WithStore": "makes another manager, whose methods have the door",
	"Run":       "does duties, which are methods of their own",
	"Close":     "ends the manager",
}

// managerMethods are the methods of Manager that come through the door.
func managerMethods() []reflect.Method {
	manager := reflect.TypeFor[userkit.Manager]()
	var methods []reflect.Method
	for method := range manager.Methods() {
		if doorless[method.Name] == "" {
			methods = append(methods, method)
		}
	}
	return methods
}

func TestEveryMethodIsAnOperation(t *testing.T) {
	operations := userkit.OperationMethods()
	var methods []string
	for _, method := range managerMethods() {
		methods = append(methods, method.Name)
		require.NotEmpty(t, operations[method.Name], "%s has no row in the table of operations", method.Name)
	}
	names := map[string]string{}
	for method, name := range operations {
		require.Contains(t, methods, method, "the operation %s is of no method", name)
		require.Empty(t, names[name], "two operations are named %s", name)
		names[name] = method
	}
}

// callLog is a slog.Handler that keeps the operations of the calls that are logged.
type callLog struct {
	slog.Handler
	mutex      sync.Mutex
	operations []string
	attributes map[string]string
}

func (l *callLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *callLog) Handle(_ context.Context, record slog.Record) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if record.Message != "userkit: call" {
		return nil
	}
	l.attributes = map[string]string{}
	record.Attrs(func(attribute slog.Attr) bool {
		l.attributes[attribute.Key] = attribute.Value.String()
		return true
	})
	l.operations = append(l.operations, l.attributes["operation"])
	return nil
}

// callWithZeros calls a method with a context and the zero value of every other
// argument, and ranges over the sequence that it returns, if it returns one.
func callWithZeros(ctx context.Context, manager userkit.Manager, method reflect.Method) {
	function := reflect.ValueOf(manager).MethodByName(method.Name)
	kind := function.Type()
	arguments := []reflect.Value{reflect.ValueOf(ctx)}
	for i := 1; i < kind.NumIn(); i++ {
		if !kind.IsVariadic() || i < kind.NumIn()-1 {
			arguments = append(arguments, reflect.Zero(kind.In(i)))
		}
	}
	if result := function.Call(arguments)[0]; result.Kind() == reflect.Func {
		for range result.Seq2() {
			continue
		}
	}
}

func TestEveryMethodComesThroughTheDoorOnce(t *testing.T) {
	operations := userkit.OperationMethods()
	for _, method := range managerMethods() {
		t.Run(method.Name, func(t *testing.T) {
			log := &callLog{}
			manager, err := userkit.New(memory.New(), userkit.WithLogger(slog.New(log)))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, manager.Close(context.Background())) })

			callWithZeros(t.Context(), manager, method)
			require.Equal(t, []string{operations[method.Name]}, log.operations)

			// An actor that is none is refused before anything is done.
			log.operations = nil
			nobody := userkit.WithActor(t.Context(), userkit.Actor{Kind: "nobody"})
			callWithZeros(nobody, manager, method)
			require.Empty(t, log.operations)
		})
	}
}

func TestCallsAreLogged(t *testing.T) {
	log := &callLog{}
	manager, err := userkit.New(memory.New(), userkit.WithLogger(slog.New(log)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, manager.Close(context.Background())) })
	ctx := userkit.WithActor(t.Context(), userkit.Actor{Kind: userkit.ActorAdministrator, ID: "staff-7"})
	user := userkit.NewID[userkit.User]()
	_, err = manager.DeactivateUser(ctx, user)
	require.ErrorIs(t, err, userkit.ErrNotFound)
	require.Equal(t, "users.deactivate", log.attributes["operation"])
	require.Equal(t, "administrator", log.attributes["actor"])
	require.Equal(t, "staff-7", log.attributes["actor_id"])
	require.Equal(t, user.String(), log.attributes["user"])
	require.Equal(t, "user_not_found", log.attributes["code"])
	require.NotEmpty(t, log.attributes["took"])
}

func TestCallsAreNotLoggedAboveDebug(t *testing.T) {
	log := &callLog{}
	manager, err := userkit.New(memory.New(), userkit.WithLogger(slog.New(&levelled{log, slog.LevelInfo})))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, manager.Close(context.Background())) })
	_, err = manager.CreateUser(t.Context(), userkit.NewUser{Login: "ada"})
	require.NoError(t, err)
	require.Empty(t, log.operations)
}

// levelled is a handler that takes records of a level or above.
type levelled struct {
	slog.Handler
	least slog.Level
}

func (l *levelled) Enabled(_ context.Context, level slog.Level) bool { return level >= l.least }

// panickingVerifier panics, as a callback of a host may.
type panickingVerifier struct{}

func (panickingVerifier) Store() string { return "panicking" }

func (panickingVerifier) Verify(context.Context, userkit.Receipt) userkit.Verdict {
	panic("the verifier of the host is broken")
}

// panickingStore panics when somebody looks for stale sessions.
type panickingStore struct {
	userkit.Store
	asked chan struct{}
}

func (s panickingStore) StaleSessions(context.Context, time.Time, int) ([]userkit.Session, error) {
	s.asked <- struct{}{}
	panic("the store is broken")
}

func TestAPanicOfTheHostsCode(t *testing.T) {
	quiet := userkit.WithLogger(slog.New(slog.DiscardHandler))
	t.Run("in a verifier leaves the purchase undecided", func(t *testing.T) {
		manager, err := userkit.New(memory.New(), userkit.WithVerifiers(panickingVerifier{}), quiet)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, manager.Close(context.Background())) })
		user, err := manager.CreateUser(t.Context(), userkit.NewUser{Login: "ada"})
		require.NoError(t, err)
		purchase, err := manager.SubmitPurchase(t.Context(), user.ID, userkit.Receipt{Store: "panicking", Token: "1"})
		require.NoError(t, err)
		require.False(t, purchase.Active)
		require.Equal(t, userkit.ReasonUndecided, purchase.Reason)
	})
	t.Run("in a duty does not end Run", func(t *testing.T) {
		store := panickingStore{memory.New(), make(chan struct{})}
		manager, err := userkit.New(store, userkit.WithStaleAfter(time.Second), quiet)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, manager.Close(context.Background())) })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- manager.Run(ctx) }()
		<-store.asked
		<-store.asked // it is tried again
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}
