package pushmail_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/pushmail"
	"github.com/userkit/userkit/store/memory"
)

// keeper keeps mails, each key of a user once, as a store does.
type keeper struct {
	mutex  sync.Mutex
	kept   map[string]pushmail.Delivery
	before func() error // fails before a mail is kept
	after  func() error // fails after it, so that the acknowledgement is lost
}

func (k *keeper) deliver(_ context.Context, delivery pushmail.Delivery) error {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.before != nil {
		if err := k.before(); err != nil {
			return err
		}
	}
	key := delivery.User.ID.String() + " " + delivery.Mail.Key()
	if _, again := k.kept[key]; !again {
		k.kept[key] = delivery
	}
	if k.after != nil {
		return k.after()
	}
	return nil
}

func (k *keeper) count() int {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return len(k.kept)
}

type stand struct {
	manager userkit.Manager
	server  *pushmail.Server
	keeper  *keeper
	address string // of the user
	user    userkit.User
	at      string // where the server listens
	now     *time.Time
}

// start serves a user's push mail on loopback.
func start(t *testing.T, change func(*pushmail.Config)) *stand {
	t.Helper()
	manager, err := userkit.New(memory.New(), userkit.WithPushMail(userkit.PushMailPolicy{Domain: "push.example.org"}))
	require.NoError(t, err)
	user, err := manager.CreateUser(t.Context(), userkit.NewUser{Login: "ada"})
	require.NoError(t, err)
	generated, err := manager.GeneratePushMail(t.Context(), user.ID)
	require.NoError(t, err)
	now := time.Unix(1e9, 0)
	s := &stand{manager: manager, keeper: &keeper{kept: map[string]pushmail.Delivery{}}, address: generated.Address, user: user, now: &now}
	config := pushmail.Config{
		Users: manager, Deliver: s.keeper.deliver, Hostname: "push.example.org",
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Clock: func() time.Time { return *s.now },
	}
	if change != nil {
		change(&config)
	}
	server, err := pushmail.NewServer(config)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.at, s.server = listener.Addr().String(), server
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		require.NoError(t, <-done)
		require.NoError(t, manager.Close(context.Background()))
	})
	return s
}

func (s *stand) send(t *testing.T, from, mail string, to ...string) error {
	t.Helper()
	client, err := smtp.Dial(s.at)
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	return client.SendMail(from, to, strings.NewReader(mail))
}

// code is that of an answer.
func code(err error) int {
	if answer, ok := errors.AsType[*smtp.SMTPError](err); ok {
		return answer.Code
	}
	return 0
}

const letter = "From: Bob <bob@example.com>\r\nSubject: Hello\r\nMessage-ID: <1@example.com>\r\n\r\nHow are you?\r\n"

func TestAMailIsDeliveredOnce(t *testing.T) {
	s := start(t, nil)
	other, err := s.manager.CreateUser(t.Context(), userkit.NewUser{Login: "grace"})
	require.NoError(t, err)
	beside, err := s.manager.GeneratePushMail(t.Context(), other.ID)
	require.NoError(t, err)
	require.NoError(t, s.send(t, "bob@example.com", letter, s.address))
	require.NoError(t, s.send(t, "bob@example.com", letter, strings.ToUpper(s.address)))
	require.Equal(t, 1, s.keeper.count())
	// The same mail to another user is another message.
	require.NoError(t, s.send(t, "bob@example.com", letter, s.address, beside.Address))
	require.Equal(t, 2, s.keeper.count())
	kept := s.keeper.kept[s.user.ID.String()+" id:1@example.com"]
	require.Equal(t, "Hello", kept.Mail.Subject)
	require.Equal(t, "How are you?", kept.Mail.Text)
	require.Equal(t, "bob@example.com", kept.EnvelopeFrom)
	require.Empty(t, kept.DMARC)
}

func TestAddressesAreNotTold(t *testing.T) {
	s := start(t, nil)
	revoked := s.address
	generated, err := s.manager.GeneratePushMail(t.Context(), s.user.ID)
	require.NoError(t, err)
	var words string
	check := func(address string) {
		err := s.send(t, "bob@example.com", letter, address)
		require.Equal(t, 550, code(err), address)
		if words == "" {
			words = err.Error()
		}
		require.Equal(t, words, err.Error())
	}
	for _, address := range []string{revoked, "nobody@push.example.org", "x" + revoked[1:], generated.Address[:52] + "@example.com"} {
		check(address)
	}
	require.NoError(t, s.send(t, "bob@example.com", letter, generated.Address))
	_, err = s.manager.DeactivateUser(t.Context(), s.user.ID)
	require.NoError(t, err)
	check(generated.Address)
	_, err = s.manager.DeleteUser(t.Context(), s.user.ID, s.user.ID.String())
	require.NoError(t, err)
	check(generated.Address)
}

// TestNothingIsSaidBeforeTheCommit loses a mail before it is kept, and its acknowledgement
// after: in neither case the sender hears 250, and sending again leaves one message.
func TestNothingIsSaidBeforeTheCommit(t *testing.T) {
	lost := errors.New("the process ended")
	for name, fail := range map[string]func(*keeper, func() error){
		"before": func(k *keeper, fail func() error) { k.before = fail },
		"after":  func(k *keeper, fail func() error) { k.after = fail },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, nil)
			failing := true
			fail(s.keeper, func() error {
				if failing {
					return lost
				}
				return nil
			})
			require.Equal(t, 451, code(s.send(t, "bob@example.com", letter, s.address)))
			s.keeper.mutex.Lock()
			failing = false
			s.keeper.mutex.Unlock()
			require.NoError(t, s.send(t, "bob@example.com", letter, s.address))
			require.Equal(t, 1, s.keeper.count())
		})
	}
	t.Run("panic", func(t *testing.T) {
		s := start(t, nil)
		s.keeper.before = func() error { panic("oops") }
		require.Equal(t, 451, code(s.send(t, "bob@example.com", letter, s.address)))
	})
	t.Run("cut off", func(t *testing.T) {
		s := start(t, nil)
		client, err := smtp.Dial(s.at)
		require.NoError(t, err)
		require.NoError(t, client.Mail("bob@example.com", nil))
		require.NoError(t, client.Rcpt(s.address, nil))
		data, err := client.Data()
		require.NoError(t, err)
		_, err = io.WriteString(data, letter)
		require.NoError(t, err)
		require.NoError(t, client.Close())
		require.NoError(t, s.send(t, "bob@example.com", strings.Replace(letter, "<1@", "<2@", 1), s.address))
		require.Equal(t, 1, s.keeper.count())
	})
}

func TestMachinesAndLoops(t *testing.T) {
	s := start(t, nil)
	// Answers that nobody wrote, and reports, are accepted and make no message.
	require.NoError(t, s.send(t, "bob@example.com", "Auto-Submitted: auto-replied\r\n\r\nx\r\n", s.address))
	require.NoError(t, s.send(t, "", "Subject: It failed\r\n\r\nx\r\n", s.address))
	require.Zero(t, s.keeper.count())
	require.Equal(t, 554, code(s.send(t, "bob@example.com", "Delivered-To: "+s.address+"\r\n\r\nx\r\n", s.address)))
	require.Equal(t, 554, code(s.send(t, "bob@example.com", strings.Repeat("Received: x\r\n", 60)+"\r\nx\r\n", s.address)))
	// An alert is what push mail is for.
	require.NoError(t, s.send(t, "bob@example.com", "Auto-Submitted: auto-generated\r\n\r\nx\r\n", s.address))
	require.Equal(t, 1, s.keeper.count())

	taking := start(t, func(c *pushmail.Config) { c.TakeReplies = true })
	require.NoError(t, taking.send(t, "", "Subject: It failed\r\n\r\nx\r\n", taking.address))
	require.Equal(t, 1, taking.keeper.count())
	for _, kept := range taking.keeper.kept {
		require.Equal(t, []pushmail.Mark{pushmail.MarkBounce}, kept.Mail.Marks)
	}
}

func TestBoundsOfTheServer(t *testing.T) {
	s := start(t, func(c *pushmail.Config) {
		c.Limits.Bytes, c.PerAddress, c.PerSender, c.Attachments = 1000, 2, 6, pushmail.AttachmentsRefused
	})
	require.Equal(t, 552, code(s.send(t, "bob@example.com", letter+strings.Repeat("x", 990), s.address)))
	require.Equal(t, 554, code(s.send(t, "bob@example.com", "Content-Type: image/png\r\n\r\nx\r\n", s.address)))
	require.Equal(t, 450, code(s.send(t, "bob@example.com", letter, s.address)))
	// Whoever tries addresses is counted.
	for range 3 {
		require.Equal(t, 550, code(s.send(t, "bob@example.com", letter, "a@push.example.org")))
	}
	require.Equal(t, 450, code(s.send(t, "bob@example.com", letter, "a@push.example.org")))
	*s.now = s.now.Add(time.Hour)
	require.NoError(t, s.send(t, "bob@example.com", letter, s.address))
	require.Equal(t, 1, s.keeper.count())
}

func TestLMTPAnswersForEachRecipient(t *testing.T) {
	s := start(t, func(c *pushmail.Config) { c.LMTP = true })
	other, err := s.manager.CreateUser(t.Context(), userkit.NewUser{Login: "grace"})
	require.NoError(t, err)
	beside, err := s.manager.GeneratePushMail(t.Context(), other.ID)
	require.NoError(t, err)
	first := true
	s.keeper.before = func() error {
		if first {
			first = false
			return errors.New("the store is away")
		}
		return nil
	}
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.at)
	require.NoError(t, err)
	client := smtp.NewClientLMTP(conn)
	defer func() { _ = client.Close() }()
	require.NoError(t, client.Mail("bob@example.com", nil))
	require.NoError(t, client.Rcpt(s.address, nil))
	require.NoError(t, client.Rcpt(beside.Address, nil))
	data, err := client.Data()
	require.NoError(t, err)
	_, err = io.WriteString(data, letter)
	require.NoError(t, err)
	_, err = data.CloseWithLMTPResponse()
	var answers smtp.LMTPDataError
	require.ErrorAs(t, err, &answers)
	require.Len(t, answers, 1)
	require.Equal(t, 451, answers[s.address].Code)
	require.Equal(t, 1, s.keeper.count())
}

// resolver has the records of DNS that are texts, and no others.
type resolver func(domain string) ([]string, error)

func (r resolver) LookupTXT(_ context.Context, name string) ([]string, error) {
	return r(strings.TrimSuffix(name, "."))
}
func (resolver) LookupMX(context.Context, string) ([]*net.MX, error) { return nil, errNoRecord }
func (resolver) LookupIPAddr(context.Context, string) ([]net.IPAddr, error) {
	return nil, errNoRecord
}
func (resolver) LookupAddr(context.Context, string) ([]string, error) { return nil, errNoRecord }

var errNoRecord = &net.DNSError{IsNotFound: true}

// A mail passes without a signature when the domain of its envelope's sender is the author's
// and lists the client.
func TestDMARCPassesBySPF(t *testing.T) {
	records := map[string]string{
		"_dmarc.example.com":        "v=DMARC1; p=reject",
		"example.com":               "v=spf1 ip4:127.0.0.1 -all",
		"mail.example.com":          "v=spf1 ip4:127.0.0.1 -all",
		"elsewhere.example.com":     "v=spf1 ip4:192.0.2.1 -all",
		"soft.example.com":          "v=spf1 ip4:192.0.2.1 ~all",
		"example.net":               "v=spf1 ip4:127.0.0.1 -all",
		"_dmarc.strict.example.net": "v=DMARC1; p=none; aspf=s",
		"strict.example.net":        "v=spf1 +all",
		"sub.strict.example.net":    "v=spf1 +all",
		"circle.example.com":        "v=spf1 include:circle.example.com -all",
	}
	dns := resolver(func(domain string) ([]string, error) {
		if domain == "away.example.com" {
			return nil, &net.DNSError{IsTemporary: true}
		}
		if record, found := records[domain]; found {
			return []string{record}, nil
		}
		return nil, errNoRecord
	})
	from := func(domain string) string { return strings.ReplaceAll(letter, "example.com>", domain+">") }
	for _, test := range []struct {
		name, sender, mail string
		want               pushmail.DMARC
	}{
		{"listed", "bob@example.com", letter, pushmail.DMARCPass},
		{"of the organisation", "bob@mail.example.com", letter, pushmail.DMARCPass},
		{"not listed", "bob@elsewhere.example.com", letter, pushmail.DMARCFail},
		{"not quite listed", "bob@soft.example.com", letter, pushmail.DMARCFail},
		{"no record", "bob@none.example.com", letter, pushmail.DMARCFail},
		{"for ever", "bob@circle.example.com", letter, pushmail.DMARCFail},
		{"another's", "bob@example.net", letter, pushmail.DMARCFail},
		{"strict", "bob@strict.example.net", from("strict.example.net"), pushmail.DMARCPass},
		{"strict, and the organisation only", "bob@sub.strict.example.net", from("strict.example.net"), pushmail.DMARCFail},
		{"no answer", "bob@away.example.com", letter, pushmail.DMARCTempError},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, func(c *pushmail.Config) { c.CheckDMARC, c.CheckSPF, c.Resolver = true, true, dns })
			require.NoError(t, s.send(t, test.sender, test.mail, s.address))
			for _, kept := range s.keeper.kept {
				require.Equal(t, test.want, kept.DMARC)
			}
			require.Equal(t, 1, s.keeper.count())
		})
	}
	t.Run("not asked for", func(t *testing.T) {
		s := start(t, func(c *pushmail.Config) { c.RequireDMARC, c.Resolver = true, dns })
		require.Equal(t, 550, code(s.send(t, "bob@example.com", letter, s.address)))
	})
}

func TestDMARCIsRecordedAndRequired(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	records := map[string]string{
		"_dmarc.example.com":        "v=DMARC1; p=reject",
		"k._domainkey.example.com":  "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public),
		"k._domainkey.example.net":  "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public),
		"_dmarc.strict.example.net": "v=DMARC1; p=none; adkim=s",
		"_dmarc.broken.example.net": "v=DMARC1",
		"_dmarc.example.net":        "v=DMARC1; p=reject",
	}
	several := map[string][]string{
		"_dmarc.two.example.net":  {"v=DMARC1; p=none", "v=DMARC1; p=reject"},
		"_dmarc.same.example.net": {"v=DMARC1; p=none", "v = DMARC1; p=none"},
		"_dmarc.one.example.com":  {"v=spf1 -all", "v=DMARC2; p=none", "v=DMARC1; p=reject", "v=DMARC10; p=none"},
	}
	lookup := resolver(func(domain string) ([]string, error) {
		if domain == "_dmarc.away.example.net" {
			return nil, &net.DNSError{IsTemporary: true}
		}
		if record, found := records[domain]; found {
			return []string{record}, nil
		}
		if all, found := several[domain]; found {
			return all, nil
		}
		return nil, &net.DNSError{IsNotFound: true}
	})
	signed := func(domain, mail string) string {
		var out bytes.Buffer
		require.NoError(t, dkim.Sign(&out, strings.NewReader(mail), &dkim.SignOptions{Domain: domain, Selector: "k", Signer: private}))
		return out.String()
	}
	from := func(domain string) string { return strings.ReplaceAll(letter, "example.com>", domain+">") }
	for _, test := range []struct {
		name, mail string
		want       pushmail.DMARC
		code       int
	}{
		{"signed", signed("example.com", letter), pushmail.DMARCPass, 0},
		{"signed by the organisation", signed("example.com", from("mail.example.com")), pushmail.DMARCPass, 0},
		{"not signed", letter, pushmail.DMARCFail, 550},
		{"changed", strings.Replace(signed("example.com", letter), "How are", "Who are", 1), pushmail.DMARCFail, 550},
		{"signed by another", signed("example.net", letter), pushmail.DMARCFail, 550},
		{"two authors", "From: eve@example.org\r\n" + signed("example.com", letter), pushmail.DMARCFail, 550},
		{"strict", signed("example.net", from("strict.example.net")), pushmail.DMARCFail, 550},
		{"no policy", from("example.org"), pushmail.DMARCNone, 550},
		{"broken policy", from("broken.example.net"), pushmail.DMARCPermError, 550},
		{"no answer", from("away.example.net"), pushmail.DMARCTempError, 451},
		{"two policies", signed("example.net", from("two.example.net")), pushmail.DMARCNone, 550},
		{"one policy twice", signed("example.net", from("same.example.net")), pushmail.DMARCNone, 550},
		{"one policy among other texts", signed("example.com", from("one.example.com")), pushmail.DMARCPass, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, func(c *pushmail.Config) { c.CheckDMARC, c.Resolver = true, lookup })
			require.NoError(t, s.send(t, "bob@example.com", test.mail, s.address))
			for _, kept := range s.keeper.kept {
				require.Equal(t, test.want, kept.DMARC)
			}
			require.Equal(t, 1, s.keeper.count())
			required := start(t, func(c *pushmail.Config) { c.RequireDMARC, c.Resolver = true, lookup })
			require.Equal(t, test.code, code(required.send(t, "bob@example.com", test.mail, required.address)))
		})
	}
}

// certificate returns the settings of a server with a certificate, and of a client that trusts it.
func certificate(t *testing.T) (server, client *tls.Config) {
	authority := httptest.NewTLSServer(nil)
	t.Cleanup(authority.Close)
	client = authority.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	client.ServerName = "example.com"
	return &tls.Config{Certificates: authority.TLS.Certificates, MinVersion: tls.VersionTLS12}, client
}

func TestTLSCanBeRequired(t *testing.T) {
	config, trusted := certificate(t)
	s := start(t, func(c *pushmail.Config) { c.TLS, c.RequireTLS = config, true })
	require.Equal(t, 530, code(s.send(t, "bob@example.com", letter, s.address)))
	client, err := smtp.DialStartTLS(s.at, trusted)
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	require.NoError(t, client.SendMail("bob@example.com", []string{s.address}, strings.NewReader(letter)))
	require.Equal(t, 1, s.keeper.count())
}

func TestNewServerRefuses(t *testing.T) {
	whole := pushmail.Config{
		Users: struct{ pushmail.Users }{}, Deliver: func(context.Context, pushmail.Delivery) error { return nil }, Hostname: "push.example.org",
	}
	for name, change := range map[string]func(*pushmail.Config){
		"no users":        func(c *pushmail.Config) { c.Users = nil },
		"no delivery":     func(c *pushmail.Config) { c.Deliver = nil },
		"no name":         func(c *pushmail.Config) { c.Hostname = "" },
		"TLS without one": func(c *pushmail.Config) { c.RequireTLS = true },
		"SPF behind LMTP": func(c *pushmail.Config) { c.LMTP, c.CheckSPF = true, true },
		"a policy":        func(c *pushmail.Config) { c.Attachments = "eaten" },
	} {
		config := whole
		change(&config)
		_, err := pushmail.NewServer(config)
		require.Error(t, err, name)
	}
	_, err := pushmail.NewServer(whole)
	require.NoError(t, err)
}

// A server that has ended before it was served serves nothing.
func TestServeAfterTheEnd(t *testing.T) {
	for name, end := range map[string]func(*pushmail.Server) error{
		"closed":    (*pushmail.Server).Close,
		"shut down": func(s *pushmail.Server) error { return s.Shutdown(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			server, err := pushmail.NewServer(pushmail.Config{
				Users: struct{ pushmail.Users }{}, Deliver: func(context.Context, pushmail.Delivery) error { return nil }, Hostname: "push.example.org",
			})
			require.NoError(t, err)
			require.NoError(t, end(server))
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			require.NoError(t, server.Serve(listener))
			_, err = net.Dial("tcp", listener.Addr().String())
			require.Error(t, err)
		})
	}
}

// Who is tired of waiting for the mails in progress closes them.
func TestCloseAfterAShutdownThatGaveUp(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := start(t, nil)
	s.keeper.before = func() error {
		close(entered)
		<-release
		return nil
	}
	sent, silent := make(chan error, 1), make(chan struct{})
	idle, err := net.Dial("tcp", s.at)
	require.NoError(t, err)
	defer func() { _ = idle.Close() }()
	_, err = idle.Write([]byte("EHLO idle.example.com\r\n"))
	require.NoError(t, err)
	client, err := smtp.Dial(s.at)
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	go func() { sent <- client.SendMail("bob@example.com", []string{s.address}, strings.NewReader(letter)) }()
	<-entered
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.server.Shutdown(gone), context.Canceled)
	go func() {
		_, _ = io.Copy(io.Discard, idle)
		close(silent)
	}()
	require.NoError(t, s.server.Close())
	require.Error(t, <-sent, "the sender is not told that the mail was kept")
	<-silent
	require.ErrorIs(t, s.server.Close(), smtp.ErrServerClosed)
	close(release)
}
