package userkit

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Notification is a notification to show on one device.
type Notification struct {
	// PushToken identifies the device to its push service, like Device.PushToken: an FCM
	// registration token, an APNs device token, or a Web Push subscription as JSON. It is
	// a secret: it appears in no error, event or log.
	PushToken string

	Title string // one line, at most MaxLine characters; may be empty
	Body  string // plain text, at most MaxNotificationBody characters; cut to the limit of the push service

	// Data is passed to the application on the device. Keys are 1 to 64 characters of a-z, 0-9 and
	// '_'. Keys that push services use themselves are refused: "aps", "from", "gcm",
	// "message_type", and keys that begin with "google". Data has at most MaxNotificationData bytes
	// in total, including the keys.
	Data map[string]string

	// CollapseID identifies notifications that are the same: the device shows only the newest of
	// them, so that one that is sent twice is seen once. It has 1 to MaxCollapseID characters of
	// A-Z, a-z, 0-9, '-' and '_'; empty: the notification is the same as no other.
	CollapseID string

	// ExpiresAt is when the notification expires. If the device is not reachable, push services
	// keep the notification until then, or as long as they keep any. Zero: as long as they keep
	// any.
	ExpiresAt time.Time
}

// Bounds of notifications. Every push service accepts notifications within these bounds.
const (
	MaxCollapseID       = 32     // characters: the longest topic of Web Push
	MaxNotificationData = 2048   // bytes: half of what a push service takes
	MaxNotificationBody = 20_000 // characters
)

// Check returns ErrInvalid if the notification is not within its bounds. Notifiers refuse such a
// notification.
func (n Notification) Check() error {
	if n.PushToken == "" {
		return NewError(CodeRequired, "push_token", "a notification needs the push token of a device")
	}
	return firstError(
		checkLine("push_token", n.PushToken, MaxPushToken), checkInput("title", n.Title),
		checkLines("body", n.Body, MaxNotificationBody),
		checkNotificationData(n.Data), checkCollapseID(n.CollapseID),
	)
}

func checkCollapseID(id string) error {
	if len(id) > MaxCollapseID {
		return NewError(CodeTooLong, "collapse_id", "the id exceeds the limit of %d characters", MaxCollapseID)
	}
	for _, c := range []byte(id) {
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return NewError(CodeBadFormat, "collapse_id", "the id has characters other than A-Z, a-z, 0-9, '-' and '_'")
		}
	}
	return nil
}

func checkNotificationData(data map[string]string) error {
	size := 0
	for key, value := range data {
		size += len(key) + len(value)
		odd := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' }
		if key == "" || len(key) > 64 || strings.ContainsFunc(key, odd) {
			return NewError(CodeBadFormat, "data", "a key has 1 to 64 characters of a-z, 0-9 and '_'")
		}
		if slices.Contains([]string{"aps", "from", "gcm", "message_type"}, key) || strings.HasPrefix(key, "google") {
			return NewError(CodeBadFormat, "data", "push services use the key %q themselves", key)
		}
		if !utf8.ValidString(value) {
			return NewError(CodeBadText, "data", "the value of %q is not valid UTF-8", key)
		}
	}
	if size > MaxNotificationData {
		return NewError(CodeTooLong, "data", "the data exceed the limit of %d bytes, keys included", MaxNotificationData)
	}
	return nil
}

// NotificationOutcome is the outcome of sending a notification.
type NotificationOutcome string

// The outcomes.
const (
	// NotificationDelivered means that the push service has accepted the notification.
	NotificationDelivered NotificationOutcome = "delivered"
	// NotificationGone means that, according to the push service, the push token is no longer valid
	// for any notification. Only this outcome clears the push token of a device.
	NotificationGone NotificationOutcome = "gone"
	// NotificationRefused means that the push service will never accept this notification for this
	// device. It says nothing about other notifications.
	NotificationRefused NotificationOutcome = "refused"
	// NotificationLater means that sending may succeed later: the service is unreachable or
	// overloaded, or the configuration has to be corrected.
	NotificationLater NotificationOutcome = "later"
)

// NotificationResult is the result of sending a notification.
type NotificationResult struct {
	Outcome NotificationOutcome

	// GoneSince is, with NotificationGone, the time since which the push token is invalid according
	// to the service. A token that has been set again since then is kept. Zero: not known.
	GoneSince time.Time

	// RetryAt is when NotificationLater may be tried again, as the service said; zero:
	// the manager's own back-off.
	RetryAt time.Time

	// Err is the error, for the log; it must not contain a secret. It may be nil.
	Err error
}

// Delivered returns the result for a notification that the push service has accepted.
func Delivered() NotificationResult {
	return NotificationResult{Outcome: NotificationDelivered}
}

// Gone returns the result for a push token that is no longer valid. since may be zero.
func Gone(since time.Time, err error) NotificationResult {
	return NotificationResult{Outcome: NotificationGone, GoneSince: since, Err: err}
}

// Refused returns the result for a notification that the push service will never accept.
func Refused(err error) NotificationResult {
	return NotificationResult{Outcome: NotificationRefused, Err: err}
}

// Later returns the result for a notification that may succeed later. retryAt may be zero.
func Later(err error, retryAt time.Time) NotificationResult {
	return NotificationResult{Outcome: NotificationLater, Err: err, RetryAt: retryAt}
}

// Notifier sends notifications through one push service. The packages push/fcm, push/apns and
// push/webpush implement notifiers; a host may implement others. It is called by many goroutines at
// once, never inside a change, and must return NotificationLater when the context ends.
type Notifier interface {
	// Notify sends a notification to the push service. A notification with a CollapseID may be sent
	// twice without harm.
	Notify(ctx context.Context, notification Notification) NotificationResult
}
