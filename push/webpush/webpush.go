package webpush

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/pushtext"
	"github.com/userkit/userkit/internal/vendorapi"
)

// Hosts are the push services of the browsers: those of Chrome and browsers based on it, of
// Firefox, of Safari and of Edge. A name that begins with a dot stands for all of its subdomains.
var Hosts = []string{
	"fcm.googleapis.com", "android.googleapis.com",
	".push.services.mozilla.com",
	".push.apple.com",
	".notify.windows.com",
}

// Config configures a Notifier. PrivateKey and Contact are required.
type Config struct {
	PrivateKey []byte // a P-256 key in PEM, as NewKey makes
	Contact    string // a mailto: or https: address of the operator of the host

	// Hosts are the push services to which requests are made; see the variable Hosts. Default:
	// Hosts.
	Hosts []string

	// HTTPClient makes the requests; its CheckRedirect is not used, as no redirect is
	// followed. Default: a client with a time limit of 20 seconds.
	HTTPClient *http.Client

	// Clock returns the current time. It is called by many goroutines at once. Default: time.Now.
	Clock func() time.Time
}

const (
	defaultTimeout = 20 * time.Second
	maxAnswer      = 16 * 1024           // bytes
	maxLife        = 28 * 24 * time.Hour // push services keep messages for four weeks at most

	// tokenLife is how long the token of a request is valid; RFC 8292 allows 24 hours. Half
	// of it is for clocks that are wrong.
	tokenLife = 12 * time.Hour
)

// Notifier is the userkit.Notifier of browsers. It is safe for use by many goroutines at
// once.
type Notifier struct {
	key     *ecdsa.PrivateKey
	public  string
	contact string
	hosts   []string
	clock   func() time.Time
	api     *vendorapi.Client
}

var _ userkit.Notifier = (*Notifier)(nil)

// NewKey generates a private key and returns it in PEM. Generate one key and keep it: the
// subscriptions of browsers are valid for one key only.
func NewKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// New checks config and returns a Notifier. It makes no request. For an invalid field, which the
// error names, it returns ErrInvalid with CodeInvalidOption.
func New(config Config) (*Notifier, error) {
	n := &Notifier{contact: config.Contact, hosts: config.Hosts, clock: config.Clock}
	key, err := jwt.ParseECPrivateKeyFromPEM(config.PrivateKey)
	if err != nil || key.Curve != elliptic.P256() {
		return nil, invalidOption("PrivateKey", "is no P-256 key in PEM")
	}
	public, err := key.PublicKey.ECDH()
	if err != nil {
		return nil, invalidOption("PrivateKey", "is no P-256 key in PEM")
	}
	n.key, n.public = key, base64.RawURLEncoding.EncodeToString(public.Bytes())

	contact, err := url.Parse(n.contact)
	mail := err == nil && contact.Scheme == "mailto" && strings.Contains(contact.Opaque, "@")
	page := err == nil && contact.Scheme == "https" && contact.Host != ""
	if !mail && !page {
		return nil, invalidOption("Contact", "a mailto: or https: address is needed")
	}
	if len(n.hosts) == 0 {
		n.hosts = Hosts
	}
	n.hosts = slices.Clone(n.hosts)
	for i, host := range n.hosts {
		if strings.Trim(host, ".") == "" || strings.ContainsAny(host, "/:@*") {
			return nil, invalidOption("Hosts", "names of hosts without port are needed")
		}
		n.hosts[i] = strings.ToLower(host)
	}
	if n.clock == nil {
		n.clock = time.Now
	}
	n.api = vendorapi.NewClient("webpush", config.HTTPClient, defaultTimeout, maxAnswer)
	return n, nil
}

// PublicKey returns the applicationServerKey that browsers subscribe with: a point of P-256 in
// base64url.
func (n *Notifier) PublicKey() string { return n.public }

// String identifies the notifier, without its secrets.
func (n *Notifier) String() string { return "webpush.Notifier" }

// GoString returns String, so that printing a Notifier never shows its key.
func (n *Notifier) GoString() string { return n.String() }

// CheckSubscription returns an error unless text is a subscription of one of the push services in
// Config.Hosts. A host may call it before it sets a push token.
func (n *Notifier) CheckSubscription(text string) error {
	_, err := n.subscription(text)
	return err
}

func (n *Notifier) subscription(text string) (subscription, error) {
	s, err := parseSubscription(text)
	if err != nil {
		return subscription{}, err
	}
	known := func(host string) bool {
		return s.host == host || strings.HasPrefix(host, ".") && strings.HasSuffix(s.host, host)
	}
	if !slices.ContainsFunc(n.hosts, known) {
		return subscription{}, errors.New("webpush: the endpoint of the subscription is at none of the push services")
	}
	return s, nil
}

// Notify sends a notification in one request. See the package comment for the meaning of answers.
func (n *Notifier) Notify(ctx context.Context, notification userkit.Notification) userkit.NotificationResult {
	if err := notification.Check(); err != nil {
		return userkit.Refused(err)
	}
	to, err := n.subscription(notification.PushToken)
	if err != nil {
		return userkit.Refused(err)
	}
	now := n.clock()
	life := maxLife
	if !notification.ExpiresAt.IsZero() {
		if life = min(notification.ExpiresAt.Sub(now), maxLife); life <= 0 {
			return userkit.Refused(errors.New("webpush: the notification has expired"))
		}
	}
	plaintext, ok := encode(notification)
	if !ok {
		return userkit.Refused(errors.New("webpush: the notification is too large"))
	}
	once, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return userkit.Later(err, time.Time{})
	}
	salt := make([]byte, saltSize)
	rand.Read(salt)
	body, err := to.encrypt(plaintext, once, salt)
	if err != nil {
		return userkit.Later(errors.New("webpush: the notification cannot be encrypted"), time.Time{})
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"aud": to.origin, "exp": now.Add(tokenLife).Unix(), "sub": n.contact,
	}).SignedString(n.key)
	if err != nil {
		return userkit.Later(errors.New("webpush: the token cannot be signed"), time.Time{})
	}
	header := http.Header{
		"Authorization":    {"vapid t=" + token + ", k=" + n.public},
		"Content-Type":     {"application/octet-stream"},
		"Content-Encoding": {"aes128gcm"},
		"Ttl":              {strconv.FormatInt(int64((life+time.Second-1)/time.Second), 10)},
		"Urgency":          {"high"},
	}
	if notification.CollapseID != "" {
		header.Set("Topic", notification.CollapseID)
	}
	answer, err := n.api.Do(ctx, vendorapi.Request{
		Operation: "send",
		Method:    http.MethodPost,
		URL:       to.endpoint,
		Header:    header,
		Body:      body,
		Secrets:   []string{token, notification.PushToken},
	})
	if err != nil {
		return userkit.Later(err, time.Time{})
	}
	switch {
	case answer.Status >= 200 && answer.Status < 300:
		return userkit.Delivered()
	case answer.Status == http.StatusNotFound || answer.Status == http.StatusGone:
		return userkit.Gone(time.Time{}, answer.Err())
	case answer.Status == http.StatusBadRequest || answer.Status == http.StatusRequestEntityTooLarge:
		return userkit.Refused(answer.Err())
	}
	return userkit.Later(answer.Err(), answer.RetryAt(now))
}

// encode writes what the service worker gets.
func encode(notification userkit.Notification) ([]byte, bool) {
	write := func(body string) []byte {
		encoded, _ := json.Marshal(struct {
			Title string            `json:"title,omitempty"`
			Body  string            `json:"body,omitempty"`
			Tag   string            `json:"tag,omitempty"`
			Data  map[string]string `json:"data,omitempty"`
		}{notification.Title, body, notification.CollapseID, notification.Data})
		return encoded
	}
	body, ok := pushtext.Fit(notification.Body, maxPlaintext, func(body string) int { return len(write(body)) })
	return write(body), ok
}

func invalidOption(field, format string, args ...any) error {
	return userkit.NewError(userkit.CodeInvalidOption, field, format, args...)
}
