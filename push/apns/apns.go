package apns

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/pushtext"
	"github.com/userkit/userkit/internal/vendorapi"
)

// The addresses of APNs ("Sending notification requests to APNs").
const (
	ProductionURL = "https://api.push.apple.com"
	SandboxURL    = "https://api.sandbox.push.apple.com"
)

// Config configures the Notifier of an application. PrivateKey, KeyID, TeamID and Topic
// are required.
type Config struct {
	PrivateKey []byte // the .p8 file: a P-256 key in PEM
	KeyID      string // of the private key
	TeamID     string // of the developer account
	Topic      string // the bundle id of the application, such as "org.example.app"

	// Sandbox says that the devices are registered with Apple's sandbox.
	Sandbox bool

	// HTTPClient makes the requests, by HTTP/2; its CheckRedirect is not used, as no
	// redirect is followed. Default: a client with a time limit of 20 seconds.
	HTTPClient *http.Client

	// BaseURL is the address of APNs: https, or http to this machine. Default: ProductionURL or
	// SandboxURL.
	BaseURL string

	// Clock returns the current time. It is called by many goroutines at once. Default: time.Now.
	Clock func() time.Time
}

const (
	defaultTimeout = 20 * time.Second
	maxAnswer      = 16 * 1024 // bytes
	maxPayload     = 4096      // bytes
	maxToken       = 200       // bytes of a device token; Apple calls its length variable

	// Apple refuses tokens older than an hour, and new ones more often than every 20
	// minutes ("Establishing a token-based connection to APNs").
	tokenLife  = 40 * time.Minute
	tokenPause = 20 * time.Minute
)

// Notifier is the userkit.Notifier of one application. It is safe for use by many
// goroutines at once.
type Notifier struct {
	baseURL string
	topic   string
	clock   func() time.Time
	api     *vendorapi.Client

	key           *ecdsa.PrivateKey
	keyID, teamID string

	mutex    sync.Mutex
	token    string
	signedAt time.Time
}

var _ userkit.Notifier = (*Notifier)(nil)

// New checks config and returns a Notifier. It makes no request. For an invalid field, which the
// error names, it returns ErrInvalid with CodeInvalidOption.
func New(config Config) (*Notifier, error) {
	n := &Notifier{topic: config.Topic, keyID: config.KeyID, teamID: config.TeamID, clock: config.Clock}
	for _, option := range []struct{ field, value string }{{"KeyID", n.keyID}, {"TeamID", n.teamID}, {"Topic", n.topic}} {
		odd := func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
		}
		if option.value == "" || len(option.value) > 255 || strings.ContainsFunc(option.value, odd) {
			return nil, invalidOption(option.field, "is missing, too long, or has other characters than a-z, A-Z, 0-9, '-', '.' and '_'")
		}
	}
	key, err := jwt.ParseECPrivateKeyFromPEM(config.PrivateKey)
	if err != nil || key.Curve != elliptic.P256() {
		return nil, invalidOption("PrivateKey", "is no P-256 key in PEM")
	}
	n.key = key
	if n.baseURL = config.BaseURL; n.baseURL == "" {
		n.baseURL = ProductionURL
		if config.Sandbox {
			n.baseURL = SandboxURL
		}
	}
	if err := vendorapi.CheckURL(n.baseURL); err != nil {
		return nil, invalidOption("BaseURL", "%s", err)
	}
	n.baseURL = strings.TrimRight(n.baseURL, "/")
	if n.clock == nil {
		n.clock = time.Now
	}
	n.api = vendorapi.NewClient("apns", config.HTTPClient, defaultTimeout, maxAnswer)
	return n, nil
}

// String identifies the notifier, without its secrets.
func (n *Notifier) String() string { return "apns.Notifier(" + n.topic + ")" }

// GoString returns String, so that printing a Notifier never shows its key.
func (n *Notifier) GoString() string { return n.String() }

// Notify sends a notification. It makes one request, or two if APNs considers the authentication
// token too old. See the package comment for the meaning of answers.
func (n *Notifier) Notify(ctx context.Context, notification userkit.Notification) userkit.NotificationResult {
	if err := notification.Check(); err != nil {
		return userkit.Refused(err)
	}
	device, err := hex.DecodeString(notification.PushToken)
	if err != nil || len(device) > maxToken {
		return userkit.Refused(errors.New("apns: the push token is not a device token"))
	}
	now := n.clock()
	if !notification.ExpiresAt.IsZero() && !notification.ExpiresAt.After(now) {
		return userkit.Refused(errors.New("apns: the notification has expired"))
	}
	body, shown, ok := encode(notification)
	if !ok {
		return userkit.Refused(errors.New("apns: the notification is too large"))
	}
	header := http.Header{
		"Content-Type":   {"application/json"},
		"Apns-Topic":     {n.topic},
		"Apns-Push-Type": {"alert"},
		"Apns-Priority":  {"10"},
	}
	if !shown {
		header.Set("Apns-Push-Type", "background")
		header.Set("Apns-Priority", "5") // Apple wants no other for it
	}
	if notification.CollapseID != "" {
		header.Set("Apns-Collapse-Id", notification.CollapseID)
	}
	if !notification.ExpiresAt.IsZero() {
		header.Set("Apns-Expiration", strconv.FormatInt(notification.ExpiresAt.Unix(), 10))
	}
	for again := false; ; again = true {
		token, err := n.current()
		if err != nil {
			return userkit.Later(err, time.Time{})
		}
		answer, err := n.api.Do(ctx, vendorapi.Request{
			Operation: "send",
			Method:    http.MethodPost,
			URL:       n.baseURL + "/3/device/" + hex.EncodeToString(device),
			Header:    header,
			Body:      body,
			Bearer:    token,
			Secrets:   []string{notification.PushToken, hex.EncodeToString(device)},
		})
		if err != nil {
			return userkit.Later(err, time.Time{})
		}
		r := readRefusal(answer)
		if r.Reason == "ExpiredProviderToken" && n.forget(token) && !again {
			continue
		}
		return n.result(answer, r)
	}
}

// encode writes the payload. shown is false when there is nothing to show, only data.
func encode(notification userkit.Notification) (payload []byte, shown, ok bool) {
	content := map[string]any{}
	for key, value := range notification.Data {
		content[key] = value
	}
	write := func(body string) []byte {
		alert := map[string]string{}
		if notification.Title != "" {
			alert["title"] = notification.Title
		}
		if body != "" {
			alert["body"] = body
		}
		content["aps"] = map[string]any{"alert": alert, "sound": "default"}
		if shown = len(alert) > 0; !shown {
			content["aps"] = map[string]any{"content-available": 1}
		}
		encoded, _ := json.Marshal(content)
		return encoded
	}
	body, ok := pushtext.Fit(notification.Body, maxPayload, func(body string) int { return len(write(body)) })
	return write(body), shown, ok
}

// refusal is the body of an answer other than 200 ("Handling notification responses from
// APNs").
type refusal struct {
	Reason    string `json:"reason"`
	Timestamp int64  `json:"timestamp"` // of the status 410: milliseconds since 1970
}

// readRefusal returns the zero refusal for what is none.
func readRefusal(answer vendorapi.Answer) refusal {
	var r refusal
	if answer.Status == http.StatusOK || json.Unmarshal(answer.Body, &r) != nil {
		return refusal{}
	}
	return r
}

// forLater are the reasons of status 400 that say nothing about the notification: they are
// about the connection or the configuration.
var forLater = map[string]bool{
	"BadTopic": true, "TopicDisallowed": true, "MissingTopic": true, "IdleTimeout": true, "InvalidPushType": true,
}

func (n *Notifier) result(answer vendorapi.Answer, r refusal) userkit.NotificationResult {
	if answer.Status == http.StatusOK {
		return userkit.Delivered()
	}
	refused := answer.Err(symbol(r.Reason))
	switch {
	case r.Reason == "": // not from APNs
	case answer.Status == http.StatusGone:
		var since time.Time
		if now := n.clock(); r.Timestamp > 0 && r.Timestamp <= now.UnixMilli() {
			since = time.UnixMilli(r.Timestamp).UTC()
		}
		return userkit.Gone(since, refused)
	case answer.Status == http.StatusBadRequest && !forLater[r.Reason],
		answer.Status == http.StatusRequestEntityTooLarge,
		answer.Status == http.StatusForbidden && r.Reason == "Forbidden":
		return userkit.Refused(refused)
	}
	return userkit.Later(refused, answer.RetryAt(n.clock()))
}

// current returns the authentication token, signing a new one where there is none.
func (n *Notifier) current() (string, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	now := n.clock()
	if age := now.Sub(n.signedAt); n.token != "" && age >= 0 && age < tokenLife {
		return n.token, nil
	}
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": n.teamID, "iat": now.Unix()})
	token.Header["kid"] = n.keyID
	signed, err := token.SignedString(n.key)
	if err != nil {
		return "", errors.New("apns: the authentication token cannot be signed")
	}
	n.token, n.signedAt = signed, now
	return signed, nil
}

// forget drops a token that APNs finds too old, and reports whether there is or may be
// another one: Apple takes no new token more often than every 20 minutes.
func (n *Notifier) forget(token string) bool {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.token != token {
		return true
	}
	if age := n.clock().Sub(n.signedAt); age >= 0 && age < tokenPause {
		return false
	}
	n.token = ""
	return true
}

// symbol returns text when it can only be a name from a list.
func symbol(text string) string {
	odd := func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }
	if len(text) > 60 || strings.ContainsFunc(text, odd) {
		return ""
	}
	return text
}

func invalidOption(field, format string, args ...any) error {
	return userkit.NewError(userkit.CodeInvalidOption, field, format, args...)
}
