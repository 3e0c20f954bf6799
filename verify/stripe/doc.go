// Package stripe verifies subscriptions with Stripe Billing. Its Verifier queries the Stripe API
// about a subscription, and reads the events that Stripe sends to a webhook endpoint.
//
// # Set it up
//
// The key: create a restricted key in the Stripe Dashboard under "API keys" that may read
// Subscriptions and Invoices, and nothing else; it is Config.SecretKey. A full secret key works
// too. A key belongs either to live mode or to test mode (a sandbox), and can read only the
// subscriptions of that mode.
//
// The webhook: add an endpoint at an address of the host in the Dashboard under
// "Webhooks", for the events customer.subscription.* and invoice.*. Its signing secret
// ("whsec_…") goes to Config.WebhookSecrets. Pass the requests to ReadNotification, through the
// manager, with the body unchanged, byte by byte. Respond with a status of 2xx if the event was
// accepted; otherwise Stripe sends it again. To roll a secret, add the new one to
// Config.WebhookSecrets; Stripe signs with both until the old one expires.
//
// The purchase: write the user's id (or extref) into the subscription's metadata under
// Config.MetadataKey, in Checkout with subscription_data[metadata][user_id]. It is returned as
// PurchaseFacts.AccountToken, and then no other user can submit the purchase. When Checkout has
// completed, submit the id of the session's subscription.
//
// # How a purchase is identified
//
// Receipt.Token is the id of the subscription, "sub_…". It stays the same through all
// renewals and changes of plan, so it is also the stable id.
//
// # When a subscription is active
//
// By its status (https://docs.stripe.com/billing/subscriptions/overview and the status
// field of https://docs.stripe.com/api/subscriptions/object):
//
//   - active and trialing: good until the end of the period, also when it was cancelled
//     for the end of the period; until cancel_at where that is earlier. Pausing the
//     collection of payments leaves the status as it is, so the subscription stays
//     good; cancel it where the service ends too.
//   - past_due: a payment failed, or an invoice was not paid when it was due, and Stripe
//     is trying again. Stripe's pages keep the service going in this status, and end it
//     with unpaid or canceled, where a subscription goes after the last attempt; but an
//     account can be set up to leave it past_due for ever, while new periods begin. So it
//     is good for Config.PastDueGrace from when the oldest open invoice was due, and
//     never longer than the period; after that it is invalid with ReasonUnpaid.
//   - incomplete: ReasonPending, as the first payment can still be made, for 23 hours.
//   - incomplete_expired: ReasonExpired.
//   - unpaid: ReasonUnpaid.
//   - paused: ReasonPaused; a trial ended and there was no way to pay.
//   - canceled: ReasonUnpaid after failed payments, ReasonRevoked after a disputed one,
//     else ReasonExpired.
//   - anything else is undecided, and so is a subscription that is active after the end
//     of its period: the renewal is late. Access ends by the manager's clock meanwhile.
//
// A refund alone does not end a subscription at Stripe: cancel it where it should.
//
// Since API version 2025-03-31.basil each item of a subscription has a period of its
// own, before that the subscription had one
// (https://docs.stripe.com/changelog/basil/2025-03-31/deprecate-subscription-current-period-start-and-end).
// Both are read, the item's first. Of several items, the facts are about the one that
// lasts longest, and of equal ones about the one that Stripe lists first.
//
// # What an answer means
//
// Only status 404 with the error code resource_missing says that there is no such
// subscription. A 404 without it comes from something else on the way. The answer that
// the subscription is one of live mode, to a key of test mode, is about the
// configuration. These are undecided, as are 400, 401, 402, 403, 409, 429, 5xx, a
// redirect, and an answer that is too long or not understood.
//
// The key of another account gets resource_missing for every subscription, and nothing
// tells that from the truth: a host that moves to another account keeps the Verifier of
// the old one, and gives the new one another Config.Store.
package stripe
