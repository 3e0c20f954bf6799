// Package google verifies purchases with Google Play. Its Verifier asks the Google
// Play Developer API about subscriptions (purchases.subscriptionsv2) and one-time
// products (purchases.products, purchases.productsv2), acknowledges them, and reads
// Google's real-time developer notifications.
//
// # Set it up
//
// The API: create a service account in a Google Cloud project that has the Google
// Play Android Developer API enabled, make a JSON key for it, and invite its email
// address in the Play Console under "Users and permissions" with the rights "View
// financial data" and "Manage orders and subscriptions". Until Google has spread
// these rights, which can take a day, it answers 401 or 403, and every verdict is
// undecided. The content of the key file is Config.ServiceAccountKey.
//
// The notifications: create a Pub/Sub topic, let
// google-play-developer-notifications@system.gserviceaccount.com publish to it, and
// name it in the Play Console under "Monetization setup". Give the topic a push
// subscription to an address of the host, with authentication enabled and without
// payload unwrapping. The service account and the audience chosen there are
// Config.PushServiceAccount and Config.PushAudience. What arrives at the address goes
// to ReadNotification, through the manager. Answer with a status of 2xx when it was
// taken; Pub/Sub sends it again otherwise.
//
// The app: give the purchase flow the user's id with setObfuscatedAccountId; it comes
// back as PurchaseFacts.AccountToken, and then nobody else can show the purchase.
//
// # What names a purchase
//
// Receipt.Token is the purchase token. A host that knows what it is may write
// "subscription:" or "product:" before it, which saves a request. Without that the
// Verifier finds out: with a Receipt.ProductID it asks for the one-time product
// first, else for the subscription first. What it found is in PurchaseFacts.Token,
// for the next time.
//
// A purchase token stays the same through renewals, grace period, hold and pause. An
// upgrade, a downgrade and a new sign-up give a new one, which links the one before:
// that is in PurchaseFacts.Supersedes. Whoever has the token can ask Google about the
// purchase, so it is a secret, and the stable id is its digest: see StableID.
//
// # When a subscription is active
//
// By the state and by the clock: SUBSCRIPTION_STATE_ACTIVE, IN_GRACE_PERIOD and
// CANCELED until the expiryTime of the line item; every other state is not. Google
// extends expiryTime during a grace period. A renewal that is late, or tried again
// silently, leaves a subscription ACTIVE after its expiryTime, for up to two days
// (https://developer.android.com/google/play/billing/lifecycle/subscriptions). That
// is undecided: access ends by the manager's clock, and the purchase is asked about
// again rather than ended.
//
// Several line items, as in a subscription with add-ons, are one purchase, which is active
// until the last of them ends; PurchaseFacts.Items has each with its own end (see
// userkit.Purchase.ActiveProducts). ProductID and TransactionID are of one: one that is
// active comes before one that is not, then the one that Receipt.ProductID names, then the
// one that lasts longest.
//
// A paused subscription is asked about when its autoResumeTime has come. A customer who
// resumes earlier is known by the notification of Google, or when the app shows the
// purchase again.
//
// # What an answer means
//
// 400, 404 and 410 in the API's own error format are invalid: Google knows no such
// purchase, or forgot it 60 days after its end. The same statuses without that format
// come from something else on the way, and applicationNotFound is about the
// configuration; these are undecided, as are 401, 403, 429, 5xx, a redirect, and an
// answer that is too long or not understood.
package google
