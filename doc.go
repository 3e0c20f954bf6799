// Package userkit provides user management for a host application: users and their status, devices
// and licenses, sessions and traffic limits, a balance with a ledger, and a record of who did what.
// It is a library, not a server: the host imports it, passes it a store, and calls it from its own
// code.
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
// New returns a Manager, which combines these roles. Each role is an interface that documents the
// contract of every call, and has an example below:
//
//   - UserManager: users, their profiles and their status
//   - ActivationManager: mails by which users confirm their email addresses
//   - PushMailManager: private email addresses whose mails become messages
//   - DeviceManager: devices, their slots and their access tokens
//   - LocationManager: the locations of devices
//   - SessionManager: sessions, traffic and its limits
//   - PurchaseManager: purchases of users from stores
//   - BalanceManager: balances and their ledgers
//   - MessageManager: messages to users and their deliveries
//   - SegmentManager: groups of users, as lists or as rules
//   - BulkManager: one action for many users
//   - ImportManager: users from other systems
//   - ActivityManager: the record of who did what, and the change feed
//   - RetentionManager: how long records are kept
//   - ConnectionManager: administrators who act on behalf of users
//   - AuthorizationManager: who may do what
//
// # Stores
//
// A Store keeps the records of one project. store/memory keeps them in the process, and
// store/postgres keeps them in PostgreSQL. A store decides nothing: the rules are in this package,
// and are the same on every store.
//
// A host that uses one of these two needs no name whose comment ends with "For writers of stores."
// The author of another store begins with Store and with the package store/storetest, which tests
// whether the store is correct. The other names for stores are:
//
//   - what is loaded and committed: Want, State, Change, Records, SegmentChange, and the
//     records that hosts see in another form: DeviceRecord, TokenDigest, Ledger
//   - how a list is asked for: ListRange, Order, ListPosition, CompareListPositions, OrderKey, CompareOrderKeys
//   - what a filter means: UserSelection and its Expression, which is a Comparison with its Operator, an
//     AndExpression, OrExpression, NotExpression or ElementExpression; MatchUsers and
//     FieldReader
//   - how texts are compared and searched: SortKey, LoginKey, EmailKey, LoginEmailKey,
//     SegmentNameKey, Search, SearchText, SearchParts
//   - the feed and retention: FeedPosition, FeedEvent, Expiry
//   - errors that are the same on all stores: Taken, and UniqueValue
//
// # General guarantees
//
//   - A change is atomic, and is durable when the call returns. The event that records the change
//     is written with it.
//   - Limits hold under any concurrency and across processes: if two callers race for the last
//     device slot or the last cent, exactly one wins.
//   - A call that is repeated with the same key counts once, even if the first answer was lost.
//   - Errors wrap one of a few kinds (ErrNotFound, ErrExists, ErrInvalid, ErrConflict, ErrRefused,
//     ErrForbidden, ErrUnavailable) and have a stable Code; see Error and Codes.
//   - Times are UTC to the microsecond and come from the manager's clock; amounts
//     are int64 in minor units; traffic is in bytes.
//   - The host may modify the values that it passes in and the values that are returned.
//
// The actor of a call is taken from the context; see WithActor.
package userkit
