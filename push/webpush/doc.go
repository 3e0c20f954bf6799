// Package webpush sends notifications to browsers, by Web Push: RFC 8030 (the protocol), RFC
// 8291 and RFC 8188 (the encryption) and RFC 8292 (VAPID, who sends).
//
// # Set it up
//
// Make a key pair once, with NewKey, and keep it: subscriptions hold for one key only.
// Config.PrivateKey is the key, Config.Contact a mailto or https address where the
// operators of push services can reach the host. Browsers get the public key, which
// Notifier.PublicKey returns, as the applicationServerKey of PushManager.subscribe. What
// JSON.stringify makes of the subscription that they get is Device.PushToken.
//
// The address of a push service comes from the browser, and thus from anybody. So only the
// push services in Config.Hosts are asked, which by default are those of the browsers.
//
// # What the browser gets
//
// The event "push" of the service worker has JSON in its data:
//
//	{"title": "Hello", "body": "You have mail.", "tag": "AZq1", "data": {"message_id": "17"}}
//
// A service worker that gives the tag to showNotification shows one notification for
// each tag. What is empty is left out.
//
// # What an answer means
//
// Each status of 2xx is delivered. 404 and 410 are gone: the subscription has ended. 400 and 413
// refuse this notification. All else is for later: 429 and 5xx, and 401 and 403, where the key is not
// the one that the browser subscribed with or the push service wants other claims.
package webpush
