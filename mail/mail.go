package mail

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	netmail "net/mail"
	"slices"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/userkit/userkit"
)

// TLS says how the connection to the server is protected.
type TLS string

// The ways to protect the connection.
const (
	StartTLS    TLS = "starttls" // the connection begins unencrypted and must switch to TLS before anything else
	ImplicitTLS TLS = "implicit" // the connection uses TLS from the beginning (RFC 8314)
	NoTLS       TLS = "none"     // only for a server on this machine
)

// Config configures the server and the sender of mails. Host and From are required; the zero value
// of each other field is its default.
type Config struct {
	Host string // of the server, without port
	Port int    // default: 587 for StartTLS, 465 for ImplicitTLS, 25 for NoTLS

	TLS       TLS         // default: StartTLS
	TLSConfig *tls.Config // default: the system's roots and TLS 1.2 or newer

	// Username and Password are for SMTP AUTH: SCRAM-SHA-256, PLAIN or LOGIN, the first that the
	// server supports. Set both or neither.
	Username string
	Password string

	From    string // "Example <users@example.org>", or the address alone; bounces go there too
	ReplyTo string // as From; default: none

	// Hello is the name with which this host greets the server. Default: the domain of From.
	Hello string

	Timeout time.Duration // for one mail in total; default: 30 seconds

	DKIM *DKIM // default: mails are not signed here

	// Templates replaces the templates of the package, and adds to them, by kind and
	// language.
	Templates map[userkit.MailKind]map[string]Template

	// Language is the language of mails for users of unknown language. Default: "en".
	Language string

	// Clock returns the current time. It is called by many goroutines at once. Default: time.Now.
	Clock func() time.Time
}

// DKIM says how mails are signed.
type DKIM struct {
	Domain     string // of the signature, usually that of From
	Selector   string // under which the public key is in the DNS: SELECTOR._domainkey.DOMAIN
	PrivateKey []byte // an RSA key of 1024 bits or more (2048 are better) or an Ed25519 key, in PEM
}

const (
	defaultTimeout = 30 * time.Second
	maxLanguage    = 64 // characters
)

// Mailer is the userkit.Mailer of one server. It is safe for use by many goroutines at once.
type Mailer struct {
	host    string
	options []gomail.Option
	from    *netmail.Address
	replyTo *netmail.Address // nil: none
	domain  string           // of From
	timeout time.Duration
	tls     *tls.Config // nil: the connection does not begin with TLS
	shelves map[userkit.MailKind]*shelf
	clock   func() time.Time
}

var _ userkit.Mailer = (*Mailer)(nil)

// New checks config and returns a Mailer. It makes no connection. For an invalid field, which the
// error names, it returns ErrInvalid with CodeInvalidOption.
func New(config Config) (*Mailer, error) {
	m := &Mailer{host: config.Host, timeout: config.Timeout, clock: config.Clock, shelves: map[userkit.MailKind]*shelf{}}
	if m.clock == nil {
		m.clock = time.Now
	}
	if m.timeout == 0 {
		m.timeout = defaultTimeout
	}
	if m.timeout < 0 {
		return nil, invalidOption("Timeout", "%s is negative", m.timeout)
	}
	if m.host == "" || strings.ContainsFunc(m.host, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '/' }) {
		return nil, invalidOption("Host", "the name of a server is needed")
	}
	if err := m.setAddresses(config); err != nil {
		return nil, err
	}
	if err := m.setConnection(config); err != nil {
		return nil, err
	}
	if err := m.setTemplates(config); err != nil {
		return nil, err
	}
	if _, err := m.client(); err != nil {
		return nil, invalidOption("", "%s", err)
	}
	return m, nil
}

func (m *Mailer) setAddresses(config Config) error {
	var err error
	if m.from, err = parseAddress(config.From); err != nil {
		return invalidOption("From", "%s", err)
	}
	m.domain = m.from.Address[strings.LastIndexByte(m.from.Address, '@')+1:]
	if config.ReplyTo != "" {
		if m.replyTo, err = parseAddress(config.ReplyTo); err != nil {
			return invalidOption("ReplyTo", "%s", err)
		}
	}
	hello := config.Hello
	if hello == "" {
		hello = m.domain
	}
	if strings.ContainsFunc(hello, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return invalidOption("Hello", "a name in ASCII without spaces is needed")
	}
	m.options = append(m.options, gomail.WithHELO(hello), gomail.WithTimeout(m.timeout), gomail.WithoutNoop())
	return nil
}

func (m *Mailer) setConnection(config Config) error {
	secure := config.TLSConfig.Clone()
	if secure == nil {
		secure = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if secure.ServerName == "" {
		secure.ServerName = m.host
	}
	port := config.Port
	switch config.TLS {
	case "", StartTLS:
		m.options = append(m.options, gomail.WithTLSPolicy(gomail.TLSMandatory), gomail.WithTLSConfig(secure))
		port = orDefault(port, 587)
	case ImplicitTLS:
		m.tls = secure
		m.options = append(m.options, gomail.WithSSL(), gomail.WithTLSConfig(secure))
		port = orDefault(port, 465)
	case NoTLS:
		if m.host != "localhost" && !net.ParseIP(m.host).IsLoopback() {
			return invalidOption("TLS", "none is allowed for this machine only")
		}
		m.options = append(m.options, gomail.WithTLSPolicy(gomail.NoTLS))
		port = orDefault(port, 25)
	default:
		return invalidOption("TLS", "is not one of starttls, implicit and none")
	}
	if port < 1 || port > 65535 {
		return invalidOption("Port", "%d is not a port", port)
	}
	m.options = append(m.options, gomail.WithPort(port))
	switch {
	case config.Username != "" && config.Password != "":
		m.options = append(m.options, gomail.WithUsername(config.Username), gomail.WithPassword(config.Password),
			gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin))
	case config.Username != "":
		return invalidOption("Password", "needed with Username")
	case config.Password != "":
		return invalidOption("Username", "needed with Password")
	}
	if config.DKIM == nil {
		return nil
	}
	var key crypto.Signer
	key, err := gomail.PrivKeyFromPEM(config.DKIM.PrivateKey)
	if err != nil {
		return invalidOption("DKIM", "the private key is not an RSA or Ed25519 key in PEM")
	}
	m.options = append(m.options, gomail.WithAlwaysDKIMSign(gomail.NewDKIMSigner(config.DKIM.Domain, config.DKIM.Selector, key)))
	if _, err := m.client(); err != nil {
		return invalidOption("DKIM", "%s", err)
	}
	return nil
}

func (m *Mailer) setTemplates(config Config) error {
	preferred := config.Language
	if preferred == "" {
		preferred = "en"
	}
	for kind := range config.Templates {
		if _, ok := standard[kind]; !ok {
			return invalidOption("Templates", "unknown kind of mail %q", kind)
		}
	}
	for kind, templates := range standard {
		all := maps.Clone(templates)
		maps.Copy(all, config.Templates[kind])
		s, err := newShelf(all, preferred)
		if err != nil {
			return invalidOption("Templates", "%s: %s", kind, err)
		}
		m.shelves[kind] = s
	}
	return nil
}

// String identifies the mailer, without its secrets.
func (m *Mailer) String() string { return "mail.Mailer(" + m.host + ")" }

// GoString returns String, so that printing a Mailer never shows its password.
func (m *Mailer) GoString() string { return m.String() }

// client returns a client for one mail.
func (m *Mailer) client(more ...gomail.Option) (*gomail.Client, error) {
	return gomail.NewClient(m.host, append(slices.Clone(m.options), more...)...)
}

// SendMail sends a mail. It returns nil when the server has accepted it.
func (m *Mailer) SendMail(ctx context.Context, mail userkit.Mail) error {
	message, err := m.message(mail)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	client, err := m.client(gomail.WithDialContextFunc(m.dial(ctx)))
	if err != nil {
		return notSent("the client could not be made")
	}
	err = client.DialAndSendWithContext(ctx, message)
	if err == nil || message.IsDelivered() { // what fails after the server took it changes nothing
		return nil
	}
	if ended := ctx.Err(); ended != nil {
		return notSent("no answer in time").Because(ended)
	}
	failed, ok := errors.AsType[*gomail.SendError](err)
	if !ok {
		return notSent("%s", describe(err))
	}
	status := fmt.Sprint(failed.ErrorCode())
	if enhanced := failed.EnhancedStatusCode(); enhanced != "" {
		status += " " + enhanced
	}
	switch failed.Reason {
	case gomail.ErrSMTPRcptTo, gomail.ErrSMTPDataClose:
		if code := failed.ErrorCode(); code >= 500 && code < 600 {
			return userkit.NewError(userkit.CodeMailRefused, "", "the server refused it with status %s", status)
		}
	}
	return notSent("%s (status %s)", failed.Reason, status)
}

// dial returns the function that connects. The connection ends with the context.
func (m *Mailer) dial(ctx context.Context) gomail.DialContextFunc {
	return func(dialing context.Context, network, address string) (net.Conn, error) {
		var dialer net.Dialer
		connection, err := dialer.DialContext(dialing, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = connection.Close() })
		if m.tls == nil {
			return connection, nil
		}
		secured := tls.Client(connection, m.tls)
		if err := secured.HandshakeContext(dialing); err != nil {
			return nil, err
		}
		return secured, nil
	}
}

// message writes a mail.
func (m *Mailer) message(mail userkit.Mail) (*gomail.Msg, error) {
	to, err := netmail.ParseAddress(mail.Address)
	if err != nil || to.Name != "" || to.Address != mail.Address || hasControl(mail.Address) {
		return nil, userkit.NewError(userkit.CodeMailRefused, "", "this is not an email address")
	}
	s := m.shelves[mail.Kind]
	if s == nil {
		return nil, userkit.NewError(userkit.CodeUnknownValue, "kind", "there is no template for this kind of mail")
	}
	wanted := mail.Language
	if len(wanted) > maxLanguage {
		wanted = ""
	}
	template := s.in(wanted)
	name := oneLine(mail.Name)
	subject, body, page, err := template.write(Content{Name: name, Address: to.Address, Link: mail.Link, ExpiresAt: mail.ExpiresAt.UTC()})
	if err != nil {
		return nil, notSent("the template failed")
	}
	message := gomail.NewMsg()
	message.FromMailAddress(m.from)
	message.EnvelopeFromMailAddress(m.from)
	message.ToMailAddress(&netmail.Address{Name: name, Address: to.Address})
	if m.replyTo != nil {
		message.ReplyToMailAddress(m.replyTo)
	}
	message.Subject(subject)
	message.SetDateWithValue(m.clock())
	message.SetMessageIDWithValue(strings.ToLower(rand.Text()) + "@" + m.domain)
	message.SetGenHeader("Auto-Submitted", "auto-generated")
	message.SetGenHeader("Content-Language", template.language)
	message.SetBodyString(gomail.TypeTextPlain, body)
	if page != "" {
		message.AddAlternativeString(gomail.TypeTextHTML, page)
	}
	return message, nil
}

// parseAddress reads an address of the configuration.
func parseAddress(text string) (*netmail.Address, error) {
	address, err := netmail.ParseAddress(text)
	if err != nil || hasControl(text) || hasControl(address.Name) || hasControl(address.Address) {
		return nil, errors.New("this is not an email address")
	}
	return address, nil
}

func hasControl(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// describe tells of a connection that failed, without what a server said.
func describe(err error) string {
	if wrong, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the certificate of the server is not good: " + wrong.Err.Error()
	}
	if failed, ok := errors.AsType[*net.OpError](err); ok {
		return "the server cannot be reached: " + failed.Err.Error()
	}
	return "the server does not take the connection; TLS, the credentials or the name may be wrong"
}

func notSent(format string, args ...any) *userkit.Error {
	return userkit.NewError(userkit.CodeMailNotSent, "", format, args...)
}

func orDefault(value, standard int) int {
	if value == 0 {
		return standard
	}
	return value
}

// sortFirst sorts, with one value before all others.
func sortFirst(values []string, first string) {
	slices.SortFunc(values, func(a, b string) int {
		switch {
		case a == b:
			return 0
		case a == first:
			return -1
		case b == first:
			return 1
		}
		return strings.Compare(a, b)
	})
}

func invalidOption(field, format string, args ...any) error {
	return userkit.NewError(userkit.CodeInvalidOption, field, format, args...)
}
