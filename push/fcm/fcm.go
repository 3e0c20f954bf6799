package fcm

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/googleapi"
	"github.com/userkit/userkit/internal/pushtext"
	"github.com/userkit/userkit/internal/vendorapi"
)

// Config configures a Notifier. ServiceAccountKey is required; the zero value of each other field
// is its default.
type Config struct {
	// ServiceAccountKey is the content of the service account's JSON key file. Only the type
	// "service_account" is accepted, with an RSA key of 2048 bits or more.
	ServiceAccountKey []byte

	// ProjectID is the id of the Firebase project. Default: the one in the key file.
	ProjectID string

	// HTTPClient makes the requests; its CheckRedirect is not used, as no redirect is
	// followed. Default: a client with a time limit of 20 seconds.
	HTTPClient *http.Client

	// BaseURL is the address of the API. Default: https://fcm.googleapis.com. Each address in a
	// Config is https, or http on this machine (a loopback address or "localhost").
	BaseURL string

	// TokenURLs are the addresses that the key file may name as its token_uri, where
	// signed assertions are sent to. Default: the ones of Google.
	TokenURLs []string

	// Clock returns the current time. It is called by many goroutines at once. Default: time.Now.
	Clock func() time.Time
}

const (
	scope          = "https://www.googleapis.com/auth/firebase.messaging"
	defaultBaseURL = "https://fcm.googleapis.com"
	defaultTimeout = 20 * time.Second
	maxAnswer      = 64 * 1024 // bytes

	maxPayload = 4096                // bytes of notification and data
	maxLife    = 28 * 24 * time.Hour // the longest time that FCM keeps a message

	// quotaPause is the least time to wait after QUOTA_EXCEEDED and other refusals without
	// a Retry-After ("Understand and handle FCM server errors").
	quotaPause = time.Minute
)

// Notifier is the userkit.Notifier of one Firebase project. It is safe for use by many
// goroutines at once.
type Notifier struct {
	url    string
	clock  func() time.Time
	api    *vendorapi.Client
	tokens *googleapi.Tokens
}

var _ userkit.Notifier = (*Notifier)(nil)

// New checks config and returns a Notifier. It makes no request. For an invalid field, which the
// error names, it returns ErrInvalid with CodeInvalidOption.
func New(config Config) (*Notifier, error) {
	n := &Notifier{clock: config.Clock}
	if n.clock == nil {
		n.clock = time.Now
	}
	n.api = vendorapi.NewClient("fcm", config.HTTPClient, defaultTimeout, maxAnswer)
	base := config.BaseURL
	if base == "" {
		base = defaultBaseURL
	}
	if err := vendorapi.CheckURL(base); err != nil {
		return nil, invalidOption("BaseURL", "%s", err)
	}
	allowed := config.TokenURLs
	if len(allowed) == 0 {
		allowed = googleapi.TokenURLs
	}
	for _, text := range allowed {
		if err := vendorapi.CheckURL(text); err != nil {
			return nil, invalidOption("TokenURLs", "%s", err)
		}
	}
	account, err := googleapi.ParseAccount(config.ServiceAccountKey, allowed)
	if err != nil {
		return nil, invalidOption("ServiceAccountKey", "%s", err)
	}
	n.tokens = googleapi.NewTokens("fcm", scope, account, n.api, n.clock)

	project := config.ProjectID
	if project == "" {
		project = account.ProjectID
	}
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != ':' && r != '.'
	}
	if project == "" || len(project) > 128 || strings.ContainsFunc(project, odd) || strings.Trim(project, ".") == "" {
		return nil, invalidOption("ProjectID", "the id of a Firebase project is needed, here or in the key file")
	}
	n.url = strings.TrimRight(base, "/") + "/v1/projects/" + url.PathEscape(project) + "/messages:send"
	return n, nil
}

// String identifies the notifier, without its secrets.
func (n *Notifier) String() string { return "fcm.Notifier" }

// GoString returns String, so that printing a Notifier never shows its key.
func (n *Notifier) GoString() string { return n.String() }

// message is a Message of the API.
type message struct {
	Token        string            `json:"token"`
	Notification *text             `json:"notification,omitempty"`
	Data         map[string]string `json:"data,omitempty"`
	Android      android           `json:"android"`
	APNs         apns              `json:"apns"`
	Webpush      webpush           `json:"webpush"`
}

type text struct {
	Title string `json:"title,omitempty"`
	Body  string `json:"body,omitempty"`
}

type android struct {
	TTL          string               `json:"ttl"`
	Priority     string               `json:"priority"`
	Notification *androidNotification `json:"notification,omitempty"`
}

type androidNotification struct {
	Tag string `json:"tag,omitempty"`
}

type apns struct {
	Headers map[string]string `json:"headers"`
}

type webpush struct {
	Headers      map[string]string `json:"headers"`
	Notification map[string]string `json:"notification,omitempty"`
}

// Notify sends a notification. See the package comment for the meaning of answers. It makes one
// request, another one if FCM does not accept the access token, and about once an hour one for a
// new access token.
func (n *Notifier) Notify(ctx context.Context, notification userkit.Notification) userkit.NotificationResult {
	if err := notification.Check(); err != nil {
		return userkit.Refused(err)
	}
	now := n.clock()
	life := maxLife
	if !notification.ExpiresAt.IsZero() {
		if life = min(notification.ExpiresAt.Sub(now), maxLife); life <= 0 {
			return userkit.Refused(errors.New("fcm: the notification has expired"))
		}
	}
	body, ok := encode(notification, now, life)
	if !ok {
		return userkit.Refused(errors.New("fcm: the notification is too large"))
	}
	for again := false; ; again = true {
		token, failed := n.tokens.Current(ctx)
		if failed != nil {
			return userkit.Later(failed.Err, failed.RetryAt)
		}
		answer, err := n.api.Do(ctx, vendorapi.Request{
			Operation: "send",
			Method:    http.MethodPost,
			URL:       n.url,
			Header:    http.Header{"Content-Type": {"application/json"}},
			Body:      body,
			Bearer:    token,
			Secrets:   []string{notification.PushToken},
		})
		if err != nil {
			return userkit.Later(err, time.Time{})
		}
		if answer.Status == http.StatusUnauthorized && errorCode(answer) == "" {
			n.tokens.Forget(token)
			if !again {
				continue
			}
		}
		return n.result(answer)
	}
}

// encode writes a request for a notification that lives for a time.
func encode(notification userkit.Notification, now time.Time, life time.Duration) ([]byte, bool) {
	seconds := strconv.FormatInt(int64((life+time.Second-1)/time.Second), 10)
	m := message{
		Token:   notification.PushToken,
		Data:    notification.Data,
		Android: android{TTL: seconds + "s", Priority: "HIGH"},
		APNs: apns{Headers: map[string]string{
			"apns-priority": "10", "apns-expiration": strconv.FormatInt(now.Add(life).Unix(), 10),
		}},
		Webpush: webpush{Headers: map[string]string{"TTL": seconds}},
	}
	if id := notification.CollapseID; id != "" {
		m.Android.Notification = &androidNotification{Tag: id}
		m.APNs.Headers["apns-collapse-id"] = id
		m.Webpush.Headers["Topic"] = id
		m.Webpush.Notification = map[string]string{"tag": id}
	}
	put := func(body string) {
		m.Notification = nil
		if notification.Title != "" || body != "" {
			m.Notification = &text{Title: notification.Title, Body: body}
		}
	}
	body, ok := pushtext.Fit(notification.Body, maxPayload, func(body string) int {
		put(body)
		payload, _ := json.Marshal(struct {
			N *text
			D map[string]string
		}{m.Notification, m.Data})
		return len(payload)
	})
	if !ok {
		return nil, false
	}
	if put(body); m.Notification == nil { // data alone is not shown
		m.Android.Notification, m.Webpush.Notification = nil, nil
	}
	encoded, err := json.Marshal(struct {
		Message message `json:"message"`
	}{m})
	return encoded, err == nil
}

// errorCode returns the error code of FCM in a refusal, or "" when it has none.
func errorCode(answer vendorapi.Answer) string {
	parsed := googleapi.ReadError(answer)
	if parsed == nil {
		return ""
	}
	for _, detail := range parsed.Error.Details {
		if detail.Type == "type.googleapis.com/google.firebase.fcm.v1.FcmError" {
			return detail.ErrorCode
		}
	}
	return ""
}

func (n *Notifier) result(answer vendorapi.Answer) userkit.NotificationResult {
	if answer.Status == http.StatusOK {
		var sent struct {
			Name string `json:"name"`
		}
		if json.Unmarshal(answer.Body, &sent) != nil || sent.Name == "" {
			return userkit.Later(errors.New("fcm: send: the answer is not understood"), time.Time{})
		}
		return userkit.Delivered()
	}
	code := errorCode(answer)
	refusal := googleapi.Refused(answer)
	if symbol := googleapi.Symbol(code); symbol != "" {
		refusal = answer.Err(symbol)
	}
	switch {
	case answer.Status == http.StatusNotFound && code == "UNREGISTERED":
		return userkit.Gone(time.Time{}, refusal)
	case answer.Status == http.StatusBadRequest && googleapi.ReadError(answer) != nil,
		answer.Status == http.StatusForbidden && code == "SENDER_ID_MISMATCH":
		return userkit.Refused(refusal)
	}
	retryAt := answer.RetryAt(n.clock())
	if retryAt.IsZero() && answer.Status == http.StatusTooManyRequests {
		retryAt = n.clock().Add(quotaPause).UTC()
	}
	return userkit.Later(refusal, retryAt)
}

func invalidOption(field, format string, args ...any) error {
	return userkit.NewError(userkit.CodeInvalidOption, field, format, args...)
}
