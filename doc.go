// Package userkit gives a host application its user management: users and their
// status, devices and licenses, sessions and traffic limits, a balance with a
// ledger, and a record of who did what. It is a library, not a server: the host
// imports it, gives it a store, and calls it from its own code.
//
//	users, err := userkit.New(memory.New())
//	if err != nil {
//		return err
//	}
//	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada", Email: "ada@example.org"})
//	if err != nil {
//		return err
//	}
//	phone, err := users.RegisterDevice(ctx, ada.ID, userkit.NewDevice{Name: "phone"})
//	if err != nil {
//		return err
//	}
//	fmt.Println("give this to the phone:", phone.AccessToken)
//
// New returns a Manager, the sum of the roles UserManager, DeviceManager,
// SessionManager, BalanceManager and ActivityManager. Each role stands in the
// file of its entity, with the contract of every call, and has an example below.
//
// # Stores
//
// A Store keeps the records of one project. store/memory keeps them in the
// process, store/postgres in PostgreSQL; the package store/storetest says whether
// a store of your own is right. A store decides nothing: the rules are here, and
// are the same on all of them.
//
// # What holds everywhere
//
//   - A change happens whole or not at all, and is durable when the call returns.
//     The event that tells of it is written with it.
//   - Limits hold under any concurrency and across processes: of two callers that
//     race for the last device slot or the last money, one wins.
//   - A call that is repeated with the same key counts once, also when the first
//     answer was lost.
//   - Errors wrap one of a few kinds (ErrNotFound, ErrExists, ErrInvalid,
//     ErrConflict, ErrRefused, ErrForbidden, ErrUnavailable) and carry a stable
//     Code; see Error and Codes.
//   - Times are UTC to the microsecond and come from the manager's clock; amounts
//     are int64 in minor units; traffic is in bytes.
//   - Values that the host passes in and gets back are its own to change.
//
// Who acts is in the context: see WithActor.
package userkit
