// Package fcm sends notifications through Firebase Cloud Messaging, by its HTTP v1 API
// (https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages). Its Notifier
// reaches every device whose application registered with FCM: Android, and through FCM also Apple's
// systems and the web.
//
// # Set it up
//
// Create a JSON key for a service account that may send messages in the Firebase project
// (the role "Firebase Cloud Messaging API Admin"). The content of the key file is
// Config.ServiceAccountKey. Device.PushToken is the registration token that the application
// received from FCM.
//
// # What an answer means
//
// Only the error code UNREGISTERED means gone. INVALID_ARGUMENT and SENDER_ID_MISMATCH mean that
// this notification is refused for this device. Every other answer means later: UNAVAILABLE,
// INTERNAL and QUOTA_EXCEEDED, as the documentation says, errors that only a change of the
// configuration can correct (401, 403, THIRD_PARTY_AUTH_ERROR), and answers that are not in the
// format of the API.
//
// # Shown once
//
// CollapseID becomes the tag of the notification on Android, the apns-collapse-id on
// Apple's systems, and the topic and tag on the web. It is not used as FCM's own collapse key, of
// which a device may have only four at a time.
package fcm
