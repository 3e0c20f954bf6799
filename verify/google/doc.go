// Package google verifies purchases with Google Play. Its Verifier queries the Google Play
// Developer API about subscriptions (purchases.subscriptionsv2) and one-time products
// (purchases.products, purchases.productsv2), acknowledges them, and reads Google's real-time
// developer notifications.
//
// # Set it up
//
// The API: create a service account in a Google Cloud project that has the Google
// Play Android Developer API enabled, make a JSON key for it, and invite its email
// address in the Play Console under "Users and permissions" with the rights "View
// financial data" and "Manage orders and subscriptions". Until these rights take effect, which can
// take a day, Google answers 401 or 403, and every verdict is undecided. The content of the key
// file is Config.ServiceAccountKey.
//
// The notifications: create a Pub/Sub topic, let
// google-play-developer-notifications@system.gserviceaccount.com publish to it, and
// name it in the Play Console under "Monetization setup". Give the topic a push
// subscription to an address of the host, with authentication enabled and without
// payload unwrapping. The service account and the audience chosen there are
// Config.PushServiceAccount and Config.PushAudience. Pass the requests to ReadNotification, through
// the manager. Respond with a status of 2xx if the notification was accepted; otherwise Pub/Sub
// sends it again.
//
// The app: pass the user's id to the purchase flow with setObfuscatedAccountId; it is returned as
// PurchaseFacts.AccountToken, and then no other user can submit the purchase.
//
// # How a purchase is identified
//
// Receipt.Token is the purchase token. A host that knows the kind of the purchase may prefix it
// with "subscription:" or "product:", which saves a request. Without a prefix the Verifier tries
// both: with a Receipt.ProductID the one-time product first, and otherwise the subscription first.
// PurchaseFacts.Token contains the result for the next time.
//
// A purchase token stays the same through renewals, grace period, hold and pause. An
// upgrade, a downgrade and a new sign-up give a new one, which links the one before:
// that is in PurchaseFacts.Supersedes. The token is a secret, and the stable id is its digest; see
// StableID.
//
// # When a subscription is active
//
// By the state and by the clock: SUBSCRIPTION_STATE_ACTIVE, IN_GRACE_PERIOD and
// CANCELED until the expiryTime of the line item; every other state is not. Google
// extends expiryTime during a grace period. A renewal that is late, or tried again
// silently, leaves a subscription ACTIVE after its expiryTime, for up to two days
// (https://developer.android.com/google/play/billing/lifecycle/subscriptions). That is undecided:
// access ends by the manager's clock, and the purchase is verified again rather than ended.
//
// Several line items, as in a subscription with add-ons, are one purchase, which is active
// until the last of them ends; PurchaseFacts.Items contains each with its own expiration (see
// userkit.Purchase.ActiveProducts). ProductID and TransactionID are those of one line item: active
// ones come first, then the one that Receipt.ProductID names, then the one that lasts longest.
//
// A paused subscription is verified again at its autoResumeTime. If the customer resumes earlier,
// this becomes known by a notification from Google, or when the app submits the purchase again.
//
// # What an answer means
//
// 400, 404 and 410 in the API's own error format are invalid: Google knows no such purchase, or
// deleted it 60 days after its end. The same statuses in another format come from an intermediary,
// and applicationNotFound is an error of the configuration; these are undecided, as are 401, 403,
// 429, 5xx, a redirect, and an answer that is too long or not understood.
package google
