package mail_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/mail"
)

var start = time.Date(2026, time.March, 10, 12, 0, 0, 0, time.UTC)

// certificate is one for 127.0.0.1, and the pool that trusts it.
var certificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
})

// received is a mail that the server took.
type received struct {
	from string
	to   []string
	data []byte
}

// server is an SMTP server that keeps what it gets.
type server struct {
	port int

	mutex    sync.Mutex
	mails    []received
	logins   int
	clear    int   // sessions that said MAIL without TLS
	rcptErr  error // of the next recipients
	dataErr  error // of the next mails
	hang     chan struct{}
	released sync.Once
}

// session is one connection.
type session struct {
	server *server
	conn   *smtp.Conn
	mail   received
}

func (s *server) NewSession(conn *smtp.Conn) (smtp.Session, error) {
	return &session{server: s, conn: conn}, nil
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != "users" || password != "correct horse" {
			return smtp.ErrAuthFailed
		}
		s.server.mutex.Lock()
		defer s.server.mutex.Unlock()
		s.server.logins++
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.server.mutex.Lock()
	defer s.server.mutex.Unlock()
	if _, encrypted := s.conn.TLSConnectionState(); !encrypted {
		s.server.clear++
	}
	s.mail = received{from: from}
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.server.mutex.Lock()
	hang := s.server.hang
	defer s.server.mutex.Unlock()
	if hang != nil {
		<-hang
	}
	s.mail.to = append(s.mail.to, to)
	return s.server.rcptErr
}

func (s *session) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.server.mutex.Lock()
	defer s.server.mutex.Unlock()
	if s.server.dataErr != nil {
		return s.server.dataErr
	}
	s.mail.data = data
	s.server.mails = append(s.server.mails, s.mail)
	return nil
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }

// newServer starts a server with STARTTLS, or one that speaks TLS or none at all.
func newServer(t testing.TB, way mail.TLS) *server {
	s := &server{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.port = listener.Addr().(*net.TCPAddr).Port
	own, _ := certificate()
	config := &tls.Config{Certificates: []tls.Certificate{own}}
	service := smtp.NewServer(s)
	service.Domain = "127.0.0.1"
	service.ErrorLog = discard{}
	switch way {
	case mail.StartTLS:
		service.TLSConfig = config
	case mail.ImplicitTLS:
		listener = tls.NewListener(listener, config)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = service.Serve(listener) // ends with Close
	}()
	t.Cleanup(func() {
		s.release()
		_ = service.Close()
		listener.Close() // the service may not have begun
		<-done
	})
	return s
}

// release lets sessions that hang go on.
func (s *server) release() {
	s.released.Do(func() {
		if s.hang != nil {
			close(s.hang)
		}
	})
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

func (s *server) config(way mail.TLS) mail.Config {
	_, pool := certificate()
	return mail.Config{
		Host: "127.0.0.1", Port: s.port, TLS: way, TLSConfig: &tls.Config{RootCAs: pool},
		Username: "users", Password: "correct horse", From: "Example Users <users@example.org>", ReplyTo: "help@example.org",
		Clock: func() time.Time { return start },
	}
}

func newMailer(t testing.TB, config mail.Config) *mail.Mailer {
	m, err := mail.New(config)
	require.NoError(t, err)
	return m
}

var activation = userkit.Mail{
	Kind: userkit.MailActivation, Address: "ada@example.net", Name: "Ada Lovelace", Link: "https://example.org/confirm?token=a-b_c&x=1",
	ExpiresAt: start.Add(48 * time.Hour),
}

// opened is a mail that a mail reader has taken apart.
type opened struct {
	*netmail.Message
	text, html string
}

// open takes a mail apart with the standard library.
func open(t testing.TB, data []byte) opened {
	message, err := netmail.ReadMessage(bytes.NewReader(data))
	require.NoError(t, err)
	o := opened{Message: message}
	read := func(kind, encoding string, body io.Reader) {
		if strings.EqualFold(encoding, "quoted-printable") {
			body = quotedprintable.NewReader(body)
		}
		text, err := io.ReadAll(body)
		require.NoError(t, err)
		kind, parameters, err := mime.ParseMediaType(kind)
		require.NoError(t, err)
		require.Equal(t, "utf-8", strings.ToLower(parameters["charset"]))
		switch kind {
		case "text/plain":
			o.text = strings.ReplaceAll(string(text), "\r\n", "\n")
		case "text/html":
			o.html = strings.ReplaceAll(string(text), "\r\n", "\n")
		default:
			t.Errorf("a part is %s", kind)
		}
	}
	kind, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	require.NoError(t, err)
	if kind != "multipart/alternative" {
		read(message.Header.Get("Content-Type"), message.Header.Get("Content-Transfer-Encoding"), message.Body)
		return o
	}
	for parts := multipart.NewReader(message.Body, parameters["boundary"]); ; {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return o
		}
		require.NoError(t, err)
		read(part.Header.Get("Content-Type"), part.Header.Get("Content-Transfer-Encoding"), part)
	}
}

func decoded(t testing.TB, header string) string {
	text, err := new(mime.WordDecoder).DecodeHeader(header)
	require.NoError(t, err)
	return text
}

func TestMailArrives(t *testing.T) {
	for _, way := range []mail.TLS{mail.StartTLS, mail.ImplicitTLS} {
		t.Run(string(way), func(t *testing.T) {
			s := newServer(t, way)
			require.NoError(t, newMailer(t, s.config(way)).SendMail(t.Context(), activation))
			require.Len(t, s.mails, 1)
			require.Equal(t, 1, s.logins)
			require.Zero(t, s.clear)
			require.Equal(t, "users@example.org", s.mails[0].from)
			require.Equal(t, []string{"ada@example.net"}, s.mails[0].to)
			got := open(t, s.mails[0].data)
			require.Equal(t, "Please confirm your email address", decoded(t, got.Header.Get("Subject")))
			require.Equal(t, `"Example Users" <users@example.org>`, got.Header.Get("From"))
			require.Equal(t, `"Ada Lovelace" <ada@example.net>`, got.Header.Get("To"))
			require.Equal(t, `<help@example.org>`, got.Header.Get("Reply-To"))
			require.Equal(t, "auto-generated", got.Header.Get("Auto-Submitted"))
			require.Equal(t, "en", got.Header.Get("Content-Language"))
			date, err := got.Header.Date()
			require.NoError(t, err)
			require.True(t, start.Equal(date))
			require.Regexp(t, `^<[a-z2-7]{26}@example\.org>$`, got.Header.Get("Message-ID"))
			require.Contains(t, got.text, "Hello Ada Lovelace,\n")
			require.Contains(t, got.text, "\n"+activation.Link+"\n")
			require.Contains(t, got.text, "until 2026-03-12 12:00 UTC.")
			require.Contains(t, got.html, `<a href="https://example.org/confirm?token=a-b_c&amp;x=1">`)
		})
	}
}

func TestServerOnThisMachineNeedsNoTLS(t *testing.T) {
	s := newServer(t, mail.NoTLS)
	config := s.config(mail.NoTLS)
	config.Username, config.Password = "", ""
	require.NoError(t, newMailer(t, config).SendMail(t.Context(), activation))
	require.Len(t, s.mails, 1)
}

func TestNothingIsSaidWithoutTLS(t *testing.T) {
	s := newServer(t, mail.NoTLS) // it offers no STARTTLS
	err := newMailer(t, s.config(mail.StartTLS)).SendMail(t.Context(), activation)
	require.Equal(t, userkit.CodeMailNotSent, userkit.ErrorCode(err))
	require.Zero(t, s.logins)
	require.Zero(t, s.clear)
}

func TestCertificateOfAnother(t *testing.T) {
	for _, way := range []mail.TLS{mail.StartTLS, mail.ImplicitTLS} {
		s := newServer(t, way)
		config := s.config(way)
		config.TLSConfig = nil // the system does not know the certificate
		err := newMailer(t, config).SendMail(t.Context(), activation)
		require.Equal(t, userkit.CodeMailNotSent, userkit.ErrorCode(err))
		require.ErrorContains(t, err, "certificate")
		require.Zero(t, s.logins)
	}
}

func TestLanguages(t *testing.T) {
	s := newServer(t, mail.StartTLS)
	config := s.config(mail.StartTLS)
	config.Templates = map[userkit.MailKind]map[string]mail.Template{userkit.MailActivation: {
		"pt-BR": {Subject: "Confirme, {{.Name}}", Text: "Olá {{.Link}}"},
		"en":    {Subject: "Mine", Text: "{{.Link}}"},
	}}
	m := newMailer(t, config)
	for _, test := range []struct{ wanted, got, subject string }{
		{"", "en", "Mine"}, {"en-GB", "en", "Mine"}, {"de", "de", "Bitte bestätigen Sie Ihre E-Mail-Adresse"},
		{"de-AT", "de", "Bitte bestätigen Sie Ihre E-Mail-Adresse"}, {"pt", "pt-BR", "Confirme, Ada Lovelace"},
		{"ja", "en", "Mine"}, {"no language", "en", "Mine"}, {strings.Repeat("a-", 100_000), "en", "Mine"},
	} {
		wanted := activation
		wanted.Language = test.wanted
		require.NoError(t, m.SendMail(t.Context(), wanted))
		got := open(t, s.mails[len(s.mails)-1].data)
		require.Equal(t, test.got, got.Header.Get("Content-Language"))
		require.Equal(t, test.subject, decoded(t, got.Header.Get("Subject")))
		if test.got == "pt-BR" {
			require.Equal(t, "Olá "+activation.Link+"\n", got.text) // lines of mail end
			require.Empty(t, got.html)
		}
	}
	config.Language = "de"
	require.NoError(t, newMailer(t, config).SendMail(t.Context(), activation))
	require.Equal(t, "de", open(t, s.mails[len(s.mails)-1].data).Header.Get("Content-Language"))
}

func TestHeadersCannotBeInjected(t *testing.T) {
	s := newServer(t, mail.StartTLS)
	config := s.config(mail.StartTLS)
	config.Templates = map[userkit.MailKind]map[string]mail.Template{userkit.MailActivation: {
		"en": {Subject: "For {{.Name}}", Text: "{{.Name}} {{.Link}}", HTML: "<p>{{.Name}} <a href=\"{{.Link}}\">a</a></p>"},
	}}
	m := newMailer(t, config)
	for _, evil := range []string{
		"Ada\r\nBcc: eve@example.com", "Ada\nBcc: eve@example.com\n\n<script>", "Ada\rBcc: eve@example.com", "Ada\u2028Bcc: eve@example.com",
		"Ada\x00\x0b\x0c\u0085Bcc: eve@example.com", "\" <eve@example.com>, \"", "Ada =?utf-8?q?=0D=0ABcc:_eve@example.com?=",
		strings.Repeat("Ä", 2000), "\r\n.\r\nMAIL FROM:<eve@example.com>\r\n",
	} {
		bad := activation
		bad.Name, bad.Link = evil, "https://example.org/"+evil
		before := len(s.mails)
		require.NoError(t, m.SendMail(t.Context(), bad), "%q", evil)
		require.Len(t, s.mails, before+1)
		require.Equal(t, []string{"ada@example.net"}, s.mails[before].to)
		got := open(t, s.mails[before].data)
		require.NotContains(t, got.Header, "Bcc", "%q", evil)
		require.Len(t, got.Header["Subject"], 1)
		to, err := netmail.ParseAddressList(got.Header.Get("To"))
		require.NoError(t, err, "%q", evil)
		require.Len(t, to, 1)
		require.Equal(t, "ada@example.net", to[0].Address)
		require.NotContains(t, got.html, "<script>")
		for line := range strings.SplitSeq(string(s.mails[before].data), "\r\n") {
			require.LessOrEqual(t, len(line), 998, "RFC 5322, section 2.1.1")
		}
	}
	before := len(s.mails)
	for _, evil := range []string{
		"ada@example.net\r\nBcc: eve@example.com", "ada@example.net, eve@example.com", "Ada <ada@example.net>", "ada@example.net>\r\nRCPT TO:<eve@example.com>",
		"", "ada", "<ada@example.net>", "\"a\nb\"@example.net", "ada@example.net (comment)",
	} {
		bad := activation
		bad.Address = evil
		require.Equal(t, userkit.CodeMailRefused, userkit.ErrorCode(m.SendMail(t.Context(), bad)), "%q", evil)
	}
	require.Len(t, s.mails, before)
}

func TestWhatComesOfIt(t *testing.T) {
	reply := func(code int, text string) error {
		return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: text + " ada@example.net"}
	}
	for name, test := range map[string]struct {
		rcpt, data error
		password   string
		code       userkit.Code
	}{
		"no such address":        {rcpt: reply(550, "no such user"), code: userkit.CodeMailRefused},
		"grey listing":           {rcpt: reply(450, "later"), code: userkit.CodeMailNotSent},
		"content refused":        {data: reply(554, "spam"), code: userkit.CodeMailRefused},
		"full":                   {data: reply(452, "full"), code: userkit.CodeMailNotSent},
		"credentials of nobody":  {password: "battery staple", code: userkit.CodeMailNotSent},
		"credentials of another": {password: "battery staple\x00", code: userkit.CodeMailNotSent},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, mail.StartTLS)
			s.rcptErr, s.dataErr = test.rcpt, test.data
			config := s.config(mail.StartTLS)
			if test.password != "" {
				config.Password = test.password
			}
			m := newMailer(t, config)
			err := m.SendMail(t.Context(), activation)
			require.Equal(t, test.code, userkit.ErrorCode(err), "%v", err)
			require.NotContains(t, err.Error(), "ada@example.net")
			require.NotContains(t, err.Error(), "battery staple")
			require.NotContains(t, fmt.Sprintf("%v %#v", m, m), config.Password)
			require.Empty(t, s.mails)
		})
	}
	s := newServer(t, mail.StartTLS)
	other := activation
	other.Kind = "other"
	require.Equal(t, userkit.CodeUnknownValue, userkit.ErrorCode(newMailer(t, s.config(mail.StartTLS)).SendMail(t.Context(), other)))
}

func TestServerThatCannotBeReached(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &server{port: listener.Addr().(*net.TCPAddr).Port}
	require.NoError(t, listener.Close())
	err = newMailer(t, s.config(mail.StartTLS)).SendMail(t.Context(), activation)
	require.ErrorIs(t, err, userkit.ErrUnavailable)
	require.ErrorContains(t, err, "refused")
}

func TestMailEndsWithItsContext(t *testing.T) {
	s := newServer(t, mail.StartTLS)
	s.hang = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	m := newMailer(t, s.config(mail.StartTLS))
	go func() { done <- m.SendMail(ctx, activation) }()
	cancel() // wherever the mail is
	err := <-done
	require.Equal(t, userkit.CodeMailNotSent, userkit.ErrorCode(err))
	require.ErrorIs(t, err, context.Canceled)
}

func TestDKIM(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	public, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	rsaPublic, err := x509.MarshalPKIXPublicKey(rsaKey.Public())
	require.NoError(t, err)
	for name, test := range map[string]struct {
		key    any
		record string
	}{
		"RSA":     {rsaKey, "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(rsaPublic)},
		"Ed25519": {edKey, "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)},
	} {
		t.Run(name, func(t *testing.T) {
			der, err := x509.MarshalPKCS8PrivateKey(test.key)
			require.NoError(t, err)
			s := newServer(t, mail.StartTLS)
			config := s.config(mail.StartTLS)
			config.DKIM = &mail.DKIM{Domain: "example.org", Selector: "s1", PrivateKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})}
			named := activation
			named.Name = strings.Repeat("Ädä ", 40)
			require.NoError(t, newMailer(t, config).SendMail(t.Context(), named))
			verify := func(data []byte) error {
				found, err := dkim.VerifyWithOptions(bytes.NewReader(data), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
					require.Equal(t, "s1._domainkey.example.org", name)
					return []string{test.record}, nil
				}})
				require.NoError(t, err)
				require.Len(t, found, 1)
				require.Equal(t, "example.org", found[0].Domain)
				require.Contains(t, strings.ToLower(strings.Join(found[0].HeaderKeys, " ")), "from")
				return found[0].Err
			}
			require.NoError(t, verify(s.mails[0].data))
			require.Error(t, verify(bytes.Replace(s.mails[0].data, []byte("confirm"), []byte("CONFIRM"), 2)))
		})
	}
}

func TestConfig(t *testing.T) {
	s := &server{port: 587}
	templates := func(t mail.Template) map[userkit.MailKind]map[string]mail.Template {
		return map[userkit.MailKind]map[string]mail.Template{userkit.MailActivation: {"en": t}}
	}
	for name, test := range map[string]struct {
		field  string
		change func(*mail.Config)
	}{
		"no host":              {"Host", func(c *mail.Config) { c.Host = "" }},
		"a socket":             {"Host", func(c *mail.Config) { c.Host = "unix:///a" }},
		"no sender":            {"From", func(c *mail.Config) { c.From = "example.org" }},
		"a sender with a line": {"From", func(c *mail.Config) { c.From = "a <a@example.org>\r\nBcc: b@example.org" }},
		"a reply":              {"ReplyTo", func(c *mail.Config) { c.ReplyTo = "b" }},
		"hello":                {"Hello", func(c *mail.Config) { c.Hello = "a b" }},
		"a timeout":            {"Timeout", func(c *mail.Config) { c.Timeout = -1 }},
		"TLS":                  {"TLS", func(c *mail.Config) { c.TLS = "some" }},
		"no TLS elsewhere":     {"TLS", func(c *mail.Config) { c.TLS, c.Host = mail.NoTLS, "mail.example.org" }},
		"a port":               {"Port", func(c *mail.Config) { c.Port = 65536 }},
		"no password":          {"Password", func(c *mail.Config) { c.Password = "" }},
		"no user":              {"Username", func(c *mail.Config) { c.Username = "" }},
		"a DKIM key":           {"DKIM", func(c *mail.Config) { c.DKIM = &mail.DKIM{Domain: "example.org", Selector: "a"} }},
		"a template's fault":   {"Templates", func(c *mail.Config) { c.Templates = templates(mail.Template{Subject: "{{.Nobody}}", Text: "a"}) }},
		"a template's HTML":    {"Templates", func(c *mail.Config) { c.Templates = templates(mail.Template{Subject: "a", Text: "a", HTML: "{{if}}"}) }},
		"no subject":           {"Templates", func(c *mail.Config) { c.Templates = templates(mail.Template{Text: "a"}) }},
		"no text":              {"Templates", func(c *mail.Config) { c.Templates = templates(mail.Template{Subject: "a", HTML: "a"}) }},
		"a kind of mail":       {"Templates", func(c *mail.Config) { c.Templates = map[userkit.MailKind]map[string]mail.Template{"other": nil} }},
		"a language":           {"Templates", func(c *mail.Config) { c.Language = "fr" }},
	} {
		config := s.config(mail.StartTLS)
		test.change(&config)
		_, err := mail.New(config)
		var invalid *userkit.Error
		require.ErrorAs(t, err, &invalid, name)
		require.Equal(t, userkit.CodeInvalidOption, invalid.Code)
		require.Equal(t, test.field, invalid.Field, name)
	}
}
