package userkit

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Notification is what one device is to show.
type Notification struct {
	// PushToken names the device to its push service, as Device.PushToken: an FCM
	// registration token, an APNs device token, or a Web Push subscription as JSON. It is
	// a secret: it appears in no error, event or log.
	PushToken string

	Title string // one line, at most MaxLine characters; may be empty
	Body  string // plain text, at most MaxNotificationBody characters; cut to what the push service takes

	// Data goes to the application on the device. Keys are 1 to 64 characters of a-z, 0-9
	// and '_'; those that push services use themselves are refused: "aps", "from", "gcm",
	// "message_type", and what begins with "google". All of it takes at most
	// MaxNotificationData bytes, keys included.
	Data map[string]string

	// CollapseID says which notifications are the same: the device shows the newest of
	// them only, so that one that is sent twice is seen once. 1 to MaxCollapseID
	// characters of A-Z, a-z, 0-9, '-' and '_'; empty: it is like no other.
	CollapseID string

	// ExpiresAt is when showing it makes no sense any more. Push services keep it for a
	// device that is not reachable until then, or for as long as they keep anything. Zero:
	// for as long as they do.
	ExpiresAt time.Time
}

// Bounds of notifications. Every push service accepts notifications within these bounds.
const (
	MaxCollapseID       = 32     // characters: the longest topic of Web Push
	MaxNotificationData = 2048   // bytes: half of what a push service takes
	MaxNotificationBody = 20_000 // characters
)

// Check returns an error, ErrInvalid, unless the notification is within its bounds.
// Notifiers refuse one that is not.
func (n Notification) Check() error {
	if n.PushToken == "" {
		return NewError(CodeRequired, "push_token", "a notification goes to a device")
	}
	return firstError(
		checkLine("push_token", n.PushToken, MaxPushToken), checkInput("title", n.Title),
		checkLines("body", n.Body, MaxNotificationBody),
		checkNotificationData(n.Data), checkCollapseID(n.CollapseID),
	)
}

func checkCollapseID(id string) error {
	if len(id) > MaxCollapseID {
		return NewError(CodeTooLong, "collapse_id", "at most %d characters", MaxCollapseID)
	}
	for _, c := range []byte(id) {
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return NewError(CodeBadFormat, "collapse_id", "only A-Z, a-z, 0-9, '-' and '_'")
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
		return NewError(CodeTooLong, "data", "at most %d bytes, keys included", MaxNotificationData)
	}
	return nil
}

// NotificationOutcome is one of the things that can come of a notification.
type NotificationOutcome string

// The outcomes.
const (
	// NotificationDelivered: the push service has it, and sees to the rest.
	NotificationDelivered NotificationOutcome = "delivered"
	// NotificationGone: the push service says that the push token is good no more, for any
	// notification. Only this clears the push token of a device.
	NotificationGone NotificationOutcome = "gone"
	// NotificationRefused: the push service will not take this notification for this
	// device, now or later, and says nothing about others.
	NotificationRefused NotificationOutcome = "refused"
	// NotificationLater: it may work another time: the service is unreachable or has too much
	// to do, or the configuration has to be corrected.
	NotificationLater NotificationOutcome = "later"
)

// NotificationResult is what came of a notification.
type NotificationResult struct {
	Outcome NotificationOutcome

	// GoneSince goes with NotificationGone: as of when the service knows that the push
	// token is good no more. A token that the device has registered again since is good.
	// Zero: not known.
	GoneSince time.Time

	// RetryAt is when NotificationLater may be tried again, as the service said; zero:
	// the manager's own back-off.
	RetryAt time.Time

	// Err is what went wrong, for the log; never with a secret in it. May be nil.
	Err error
}

// Delivered returns the result of a notification that the push service has taken.
func Delivered() NotificationResult {
	return NotificationResult{Outcome: NotificationDelivered}
}

// Gone returns the result for a push token that is good no more. since may be zero.
func Gone(since time.Time, err error) NotificationResult {
	return NotificationResult{Outcome: NotificationGone, GoneSince: since, Err: err}
}

// Refused returns the result of a notification that the push service never takes.
func Refused(err error) NotificationResult {
	return NotificationResult{Outcome: NotificationRefused, Err: err}
}

// Later returns the result of a notification that may work another time. retryAt may be
// zero.
func Later(err error, retryAt time.Time) NotificationResult {
	return NotificationResult{Outcome: NotificationLater, Err: err, RetryAt: retryAt}
}

// Notifier sends notifications through one push service. The packages push/fcm, push/apns
// and push/webpush are notifiers; a host adds its own. It is called by many goroutines at
// once, never inside of a change, and gives up when the context ends, with
// NotificationLater.
type Notifier interface {
	// Notify hands a notification to the push service. To do so twice does no harm where
	// it has a CollapseID.
	Notify(ctx context.Context, notification Notification) NotificationResult
}
