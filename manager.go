package userkit

import (
	"context"
)

// Manager is all of userkit behind one interface. New returns it.
//
// Methods may be added in a minor version. A host that fakes a part of it in its
// tests depends on the role that it uses (UserManager, DeviceManager, …).
//
// Every method may be called by many goroutines at once, and many processes may
// work on one project. A method whose context ends returns the context's error
// at once; a change that was under way has then happened whole or not at all,
// and the same call repeated with the same key or id tells.
type Manager interface {
	UserManager
	DeviceManager
	SessionManager
	BalanceManager
	ActivityManager

	// WithStore returns a manager with the same options that works on another
	// store, without waiting for a batch. With a store that is bound to the
	// host's own transaction, every change becomes part of that transaction. It
	// needs no Close.
	WithStore(store Store) Manager

	// Run does the standing duties (closing stale sessions) until the context
	// ends, and returns its error. Many processes may run it.
	Run(ctx context.Context) error

	// Close waits for the changes under way and refuses further ones with
	// ErrUnavailable and CodeClosed. It does not close the store. It is safe to
	// call more than once.
	Close() error
}
