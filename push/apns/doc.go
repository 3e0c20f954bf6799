// Package apns sends notifications through the Apple Push Notification service, with
// authentication tokens, over HTTP/2
// (https://developer.apple.com/documentation/usernotifications).
//
// # Set it up
//
// Create a key for the Apple Push Notifications service in the developer account. It is a .p8 file
// with a key id of 10 characters; the team id is shown in the membership details of the account.
// Config.Topic is the bundle id of the application. Device.PushToken is the device token that the
// application received, in hexadecimal digits.
//
// Applications that run from Xcode get their tokens from the sandbox: use a separate Notifier with
// Config.Sandbox for them.
//
// # What an answer means
//
// Only the status 410 means gone, as of the time that Apple reports: a device that has registered
// its token again since then is not gone. Errors that Apple documents as not to be retried mean
// refused: BadDeviceToken, DeviceTokenNotForTopic, Forbidden, PayloadTooLarge, and other errors of
// one notification. Every other answer means later: 429, 500, 503, errors of the connection, and
// errors that only a change of the configuration can correct.
package apns
