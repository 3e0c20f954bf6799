// Package fcm sends notifications through Firebase Cloud Messaging, by its HTTP v1 API
// (https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages). Its Notifier
// reaches every device whose application registered with FCM: Android, and by way of it
// also Apple's systems and the web.
//
// # Set it up
//
// Make a JSON key for a service account that may send messages in the Firebase project
// (the role "Firebase Cloud Messaging API Admin"). The content of the key file is
// Config.ServiceAccountKey. Device.PushToken is the registration token that the
// application got from FCM.
//
// # What an answer means
//
// Gone is only the error code UNREGISTERED. INVALID_ARGUMENT and SENDER_ID_MISMATCH refuse
// this notification for this device. All else is for later: UNAVAILABLE, INTERNAL and
// QUOTA_EXCEEDED as the documentation says, and what only a better configuration can
// change (401, 403, THIRD_PARTY_AUTH_ERROR), and what is not in the format of the API.
//
// # Shown once
//
// CollapseID becomes the tag of the notification on Android, the apns-collapse-id on
// Apple's systems, and the topic and tag on the web. It does not become FCM's own collapse
// key, of which a device may have only four at a time.
package fcm
