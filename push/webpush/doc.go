// Package webpush sends notifications to browsers, by Web Push: RFC 8030 (the protocol), RFC 8291
// and RFC 8188 (the encryption) and RFC 8292 (VAPID, the identification of the sender).
//
// # Set it up
//
// Generate a key pair once, with NewKey, and keep it: a subscription is valid for one key only.
// Config.PrivateKey is the key, and Config.Contact is a mailto or https address at which the
// operators of push services can reach the host. Pass the public key, which Notifier.PublicKey
// returns, to browsers as the applicationServerKey of PushManager.subscribe. Device.PushToken is
// the subscription that they receive, as returned by JSON.stringify.
//
// The address of a push service comes from the browser and is therefore not trusted. Requests are
// made only to the push services in Config.Hosts, which by default are those of the major browsers.
//
// # What the browser receives
//
// The data of the event "push" of the service worker is JSON:
//
//	{"title": "Hello", "body": "You have mail.", "tag": "AZq1", "data": {"message_id": "17"}}
//
// A service worker that passes the tag to showNotification shows one notification for each tag.
// Empty members are omitted.
//
// # What an answer means
//
// A status of 2xx means delivered. 404 and 410 mean gone: the subscription has ended. 400 and 413
// mean that this notification is refused. Every other answer means later: 429 and 5xx, and also 401
// and 403, which are returned if the key is not the one that the browser subscribed with or if the
// push service requires other claims.
package webpush
