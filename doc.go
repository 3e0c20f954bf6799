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
// New returns a Manager, which is the sum of its roles. Each role stands in the file of its
// entity, with the contract of every call, and has an example below:
//
//   - UserManager: users, their profiles and their status
//   - ActivationManager: mails by which users confirm their email addresses
//   - PushMailManager: private email addresses whose mails become messages
//   - DeviceManager: devices, their slots and their access tokens
//   - LocationManager: where devices are
//   - SessionManager: sessions, traffic and its limits
//   - PurchaseManager: what users bought from stores
//   - BalanceManager: balances and their ledgers
//   - MessageManager: messages to users and their deliveries
//   - SegmentManager: groups of users, as lists or as rules
//   - BulkManager: one action for many users
//   - ImportManager: users from other systems
//   - ActivityManager: who did what, and the feed of it
//   - RetentionManager: how long records are kept
//   - ConnectionManager: administrators who act on behalf of users
//   - AuthorizationManager: who may do what
//
// # Stores
//
// A Store keeps the records of one project. store/memory keeps them in the process, and
// store/postgres in PostgreSQL. A store decides nothing: the rules are here, and are the
// same on all of them.
//
// A host that uses one of these two needs nothing whose comment ends with "For writers of
// stores." Whoever writes another store begins with Store and with the package
// store/storetest, which says whether the store is right. The other names for stores are:
//
//   - what is loaded and committed: Want, State, Change, Records, SegmentChange, and the
//     records that hosts see in another form: DeviceRecord, TokenDigest, Ledger
//   - how a list is asked for: List, Order, Position, ComparePositions, Key, CompareKeys
//   - what a filter means: Expression, which is a Comparison with its Operator, an
//     AndExpression, OrExpression, NotExpression or ElementExpression; MatchUsers and
//     FieldReader
//   - how texts are compared and searched: SortKey, LoginKey, EmailKey, SegmentNameKey,
//     Search, SearchText, SearchParts
//   - the feed and retention: FeedPosition, FeedEvent, Expiry
//   - what all stores answer alike: Taken
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
