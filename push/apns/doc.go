// Package apns sends notifications through the Apple Push Notification service, with
// authentication tokens, over HTTP/2
// (https://developer.apple.com/documentation/usernotifications).
//
// # Set it up
//
// Make a key for the Apple Push Notifications service in the developer account. It comes as
// a .p8 file with a key id of 10 characters; the team id stands in the account's
// membership. Config.Topic is the bundle id of the application. Device.PushToken is the
// device token that the application got, in hexadecimal digits.
//
// Applications that run from Xcode get their tokens from the sandbox: give them a Notifier
// of their own, with Config.Sandbox.
//
// # What an answer means
//
// Gone is only the status 410, with the time that Apple gives: a device that registered
// its token again since is not gone. Refused is what Apple says not to repeat:
// BadDeviceToken, DeviceTokenNotForTopic, Forbidden, PayloadTooLarge, and other faults of one
// notification. All else is for later: 429, 500, 503, faults of the connection, and what only
// a better configuration can change.
package apns
