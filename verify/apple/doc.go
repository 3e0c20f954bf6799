// Package apple verifies purchases of the App Store: auto-renewable
// subscriptions, non-renewing ones, and one-time products. It asks the App Store
// Server API, checks the signature of everything that Apple signs, and reads App
// Store Server Notifications of version 2.
//
// # Setting it up
//
//   - In App Store Connect, under Users and Access, Integrations, In-App Purchase,
//     generate a key. Its file, AuthKey_….p8, can be downloaded once and is Config.PrivateKey;
//     Config.KeyID is shown beside it and Config.IssuerID above the list.
//   - Config.BundleID and Config.AppID (the "Apple ID" of the app, a number) are
//     on the App Information page of the app.
//   - For notifications, enter the address of the host under App Information, App Store Server
//     Notifications, version 2, and pass the requests to Manager.HandleStoreNotification. Respond
//     with status 200 if it returns nil, and otherwise with 500, so that Apple sends the
//     notification again, after 1, 12, 24, 48 and 72 hours.
//   - App Review buys in the sandbox with the build that goes to production. To
//     let it pass, set Config.AllowSandbox and userkit.WithSandboxPurchases.
//
// # What the client sends
//
// Receipt.Token is a signed transaction (jwsRepresentation of StoreKit 2) or the
// id of a transaction. The signed transaction is better: it names its environment, saves a request,
// and is not rejected while the App Store Server API does not know it yet. Its content is never
// trusted: the current answer of the App Store decides. App receipts of the older kind
// (verifyReceipt) are not supported; extract the transaction id from them.
//
// If a client sets appAccountToken to the id of the user when it buys, userkit can refuse the
// purchase when another user submits it.
//
// # What is checked
//
// A signed payload counts when it is a JWS with the algorithm ES256 and exactly
// three certificates, which lead to a trusted root (the Apple Root CA - G3, known by
// its fingerprint, or else one of Config.Roots), the first and second carry the
// extensions of the App Store, all were valid at the date of the signature, and the
// signature is that of the first; then when the bundle id, the app id and the
// environment are the configured ones.
// Revocation of certificates is not checked online.
package apple
