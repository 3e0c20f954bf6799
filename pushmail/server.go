package pushmail

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/ratelimit"
)

// Users finds the user of a push mail address. A userkit.Manager implements it.
type Users interface {
	// FindUser returns the user of a key, and ErrNotFound if there is none.
	FindUser(ctx context.Context, key userkit.UserKey) (userkit.User, error)
}

// Delivery is one mail to one user.
type Delivery struct {
	User         userkit.User
	EnvelopeFrom string // the sender of the envelope; may be empty
	DMARC        DMARC  // empty: not evaluated
	Mail         Mail   // its Key distinguishes it from other mails to the user
}

// Deliver stores a mail for its user. It returns nil only when the mail has been stored durably, or
// if a mail with the same Key was stored for the same user before, because a sender that did not
// receive the answer sends the mail again. After any error the sender is told that the mail was not
// accepted, and to send it again later or, for ErrInvalid and ErrRefused, never.
type Deliver func(ctx context.Context, delivery Delivery) error

// AttachmentPolicy says what happens to the attachments of a mail.
type AttachmentPolicy string

// The policies of attachments. The content of attachments is never kept.
const (
	AttachmentsListed  AttachmentPolicy = "listed"  // their names are listed in the message; the default
	AttachmentsDropped AttachmentPolicy = "dropped" // they are not mentioned
	AttachmentsRefused AttachmentPolicy = "refused" // a mail that has one is refused
)

// Config configures a Server. Users, Deliver and Hostname are required; the zero
// value of each other field is its default.
type Config struct {
	Users    Users
	Deliver  Deliver
	Hostname string // of this server, for its greeting

	LMTP       bool        // speak LMTP, behind a mail server of the host, instead of SMTP
	TLS        *tls.Config // offers STARTTLS; nil: no TLS
	RequireTLS bool        // accepts no mail without TLS

	Limits      Limits
	Attachments AttachmentPolicy
	Recipients  int // of one mail, up to 1,000; default: 20

	// PerAddress and PerSender are the maximum numbers of mails per hour to one address and from
	// one sender, which is the network of the client in SMTP, and the sender of the envelope in
	// LMTP. Attempts to send to unknown addresses are counted as well. Each process counts by
	// itself. Defaults: 60 and 300.
	PerAddress, PerSender int

	// Connections and PerNetwork are the maximum numbers of simultaneous connections, of all
	// clients and of the network of one client; further clients are told to try again later. In
	// LMTP, where the client is a mail server of the host, PerNetwork is not used. Each connection
	// may hold a mail of Limits.Bytes in memory. One connection lasts at most ten times Timeout
	// and has at most 1,000 commands; in SMTP, it ends when 20 senders and recipients have been
	// refused. Defaults: 100 and 10.
	Connections, PerNetwork int

	// TakeReplies delivers automatic replies and reports about other mails. By default these are
	// accepted but not delivered. No mail is ever answered by a mail.
	TakeReplies bool

	// CheckDMARC verifies the signatures of a mail (DKIM) and evaluates the policy of the domain of
	// its author (DMARC); RequireDMARC refuses mails that do not pass.
	CheckDMARC, RequireDMARC bool
	// CheckSPF lets mails also pass DMARC by SPF (RFC 7208): the domain of the envelope's sender
	// must be that of the author, and must list the address of the client as one that may send for
	// it. It is meant for a server that clients connect to directly, and thus not for LMTP.
	CheckSPF bool
	// Resolver looks up DNS records; nil: the resolver of the system.
	Resolver Resolver

	// Timeout is how long the server waits for one command or one mail, for a client to take an
	// answer, and for each call of Users and Deliver, even one that ignores its context. Default: 1
	// minute.
	Timeout time.Duration
	Logger  *slog.Logger // nil: slog.Default()
	Clock   func() time.Time
}

// maxPaced is how many addresses, and how many senders, mails are counted for at the same time.
const maxPaced = 100_000

// Server receives mails and delivers them. Its methods may be called from any goroutine.
type Server struct {
	config    Config
	smtp      *smtp.Server
	addresses *ratelimit.Limiter
	senders   *ratelimit.Limiter
	crowd     crowd

	mutex     sync.Mutex
	ended     bool // shut down or closed
	closed    bool
	listeners []net.Listener
	sessions  map[*session]bool
}

// NewServer returns a server, which accepts mails once Serve is called.
func NewServer(config Config) (*Server, error) {
	switch {
	case config.Users == nil:
		return nil, errors.New("pushmail: no users")
	case config.Deliver == nil:
		return nil, errors.New("pushmail: nothing to deliver to")
	case config.Hostname == "" || strings.ContainsAny(config.Hostname, " \r\n"):
		return nil, errors.New("pushmail: no host name")
	case config.RequireTLS && config.TLS == nil:
		return nil, errors.New("pushmail: TLS is required and not configured")
	case config.CheckSPF && config.LMTP:
		return nil, errors.New("pushmail: with LMTP the client is a mail server of the host's, of which SPF says nothing")
	}
	switch config.Attachments {
	case "":
		config.Attachments = AttachmentsListed
	case AttachmentsListed, AttachmentsDropped, AttachmentsRefused:
	default:
		return nil, errors.New("pushmail: unknown policy of attachments")
	}
	config.Limits = config.Limits.normalise()
	set := func(value *int, otherwise int) {
		if *value <= 0 {
			*value = otherwise
		}
	}
	set(&config.Recipients, 20)
	config.Recipients = min(config.Recipients, 1000)
	set(&config.PerAddress, 60)
	set(&config.PerSender, 300)
	set(&config.Connections, 100)
	set(&config.PerNetwork, 10)
	if config.Timeout <= 0 {
		config.Timeout = time.Minute
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.Resolver == nil {
		config.Resolver = net.DefaultResolver
	}
	config.Resolver = guardedResolver{config.Resolver}
	s := &Server{
		config: config, sessions: map[*session]bool{},
		addresses: ratelimit.New(config.PerAddress, time.Hour, maxPaced, config.Clock),
		senders:   ratelimit.New(config.PerSender, time.Hour, maxPaced, config.Clock),
		crowd:     crowd{most: config.Connections, perNetwork: config.PerNetwork, networks: map[string]int{}},
	}
	if config.LMTP {
		s.crowd.perNetwork = 0
	}
	s.smtp = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return s.begin(c)
	}))
	s.smtp.Domain, s.smtp.LMTP, s.smtp.TLSConfig = config.Hostname, config.LMTP, config.TLS
	s.smtp.MaxMessageBytes, s.smtp.MaxRecipients = int64(config.Limits.Bytes), config.Recipients
	s.smtp.MaxLineLength = 64 << 10
	s.smtp.ReadTimeout, s.smtp.WriteTimeout = config.Timeout, config.Timeout
	s.smtp.EnableSMTPUTF8 = true
	s.smtp.ErrorLog = slog.NewLogLogger(config.Logger.Handler(), slog.LevelWarn)
	return s, nil
}

// Serve accepts mails on a listener until the server is shut down or closed; it then closes the
// listener and returns nil. If the server has been closed already, it does so at once. The listener
// must have no TLS of its own; see Config.TLS.
func (s *Server) Serve(listener net.Listener) error {
	s.mutex.Lock()
	if s.ended {
		s.mutex.Unlock()
		_ = listener.Close()
		return nil
	}
	s.listeners = append(s.listeners, listener)
	s.mutex.Unlock()
	if err := s.smtp.Serve(guardedListener{listener, s}); !errors.Is(err, smtp.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown accepts no further mails and waits until those in progress have been answered.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.end(func() error { return s.smtp.Shutdown(ctx) })
}

// Close closes all connections at once, also those that a Shutdown waits for or has given up. Senders
// that have not received an answer send their mails again.
func (s *Server) Close() error {
	err := s.end(s.smtp.Close)
	s.mutex.Lock()
	again := s.closed
	s.closed = true
	sessions := slices.Collect(maps.Keys(s.sessions))
	s.mutex.Unlock()
	if again {
		return smtp.ErrServerClosed
	}
	for _, session := range sessions { // after a Shutdown, the SMTP server closes nothing more
		_ = session.conn.Close() // which logs out
	}
	if errors.Is(err, smtp.ErrServerClosed) {
		return nil
	}
	return err
}

// begin begins the session of a connection that has greeted. One that was silent until the server
// was closed gets none.
func (s *Server) begin(conn *smtp.Conn) (smtp.Session, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.closed {
		_ = conn.Conn().Close()
		return nil, errLater
	}
	session := &session{server: s, conn: conn}
	s.sessions[session] = true
	return session, nil
}

// end ends the server, once. The SMTP server does not know of listeners whose Serve has only
// begun; these see that it has ended when they are closed.
func (s *Server) end(how func() error) error {
	s.mutex.Lock()
	if s.ended {
		s.mutex.Unlock()
		return smtp.ErrServerClosed
	}
	s.ended = true
	listeners := s.listeners
	s.mutex.Unlock()
	defer func() {
		for _, listener := range listeners {
			_ = listener.Close() // most are closed by now
		}
	}()
	return how()
}

// session is one connection.
type session struct {
	server     *Server
	conn       *smtp.Conn
	from       string
	recipients []recipient
	refused    int // senders and recipients
}

type recipient struct {
	address string
	user    userkit.User
}

// The answers of the server. Whatever is wrong with an address, the answer is the same.
var (
	errNoMailbox = &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such address here"}
	errNoSender  = &smtp.SMTPError{Code: 553, EnhancedCode: smtp.EnhancedCode{5, 1, 7}, Message: "The sender is not an address"}
	errTooMany   = &smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "Too many mails, try again later"}
	errLater     = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "The mail could not be kept, try again later"}
	errRefused   = &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "The mail is refused"}
	errLoop      = &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 4, 6}, Message: "The mail goes in circles"}
	errDMARC     = &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 26}, Message: "The author of the mail is not proven"}
	errDMARCTemp = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 26}, Message: "The author of the mail cannot be proven now"}
	errAttached  = &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 1}, Message: "Attachments are not taken"}
	errNoTLS     = &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Must issue a STARTTLS command first"}
)

func (s *session) Reset() { s.from, s.recipients = "", nil }
func (s *session) Logout() error {
	s.server.mutex.Lock()
	defer s.server.mutex.Unlock()
	delete(s.server.sessions, s)
	return nil
}

// sender is whom mails are counted for.
func (s *session) sender() string {
	if s.server.config.LMTP {
		return strings.ToLower(s.from)
	}
	return network(s.conn.Conn().RemoteAddr())
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if _, secure := s.conn.TLSConnectionState(); s.server.config.RequireTLS && !secure {
		return s.refuse(errNoTLS)
	}
	s.from, s.recipients = from, nil
	if from != "" {
		s.from = address(from)
		if s.from == "" {
			return s.refuse(errNoSender)
		}
	}
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if !s.server.senders.Take(s.sender()).IsZero() {
		return s.refuse(errTooMany)
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.server.config.Timeout)
	defer cancel()
	user, err := askHost(ctx, func() (userkit.User, error) { return s.server.config.Users.FindUser(ctx, userkit.ByPushMail(to)) })
	switch {
	case errors.Is(err, userkit.ErrNotFound), errors.Is(err, userkit.ErrInvalid), err == nil && user.Status == userkit.StatusDisabled:
		return s.refuse(errNoMailbox)
	case err != nil:
		s.server.config.Logger.Error("pushmail: an address cannot be looked up", "error", err)
		return s.refuse(errLater)
	case !s.server.addresses.Take(user.ID.String()).IsZero():
		return s.refuse(errTooMany)
	}
	s.recipients = append(s.recipients, recipient{to, user})
	return nil
}

// Data answers for all recipients at once, as SMTP has it: the mail is taken when it is kept
// for each of them. When it is not, the sender sends again, and those who have it get no
// second one.
func (s *session) Data(r io.Reader) error {
	mail, raw, err := s.read(r)
	if err != nil {
		return err
	}
	var failed error
	for _, to := range s.recipients {
		if err := s.deliver(to, mail, raw); err != nil && (failed == nil || isLater(err)) {
			failed = err
		}
	}
	return failed
}

// LMTPData answers for each recipient.
func (s *session) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	mail, raw, err := s.read(r)
	if err != nil {
		return err
	}
	for _, to := range s.recipients {
		status.SetStatus(to.address, s.deliver(to, mail, raw))
	}
	return nil
}

func isLater(err error) bool {
	var answer *smtp.SMTPError
	return errors.As(err, &answer) && answer.Temporary()
}

// read reads a mail whole and then what it says.
func (s *session) read(r io.Reader) (Delivery, []byte, error) {
	config := &s.server.config
	raw, err := io.ReadAll(io.LimitReader(r, int64(config.Limits.Bytes)+1))
	if err != nil { // cut off before its end was said: nobody was told that it is taken
		return Delivery{}, nil, err
	}
	mail, err := Parse(raw, config.Limits)
	if err != nil {
		return Delivery{}, nil, smtp.ErrDataTooLarge
	}
	if s.from == "" {
		mail.Marks = order(append(mail.Marks, MarkBounce))
	}
	delivery := Delivery{EnvelopeFrom: s.from, Mail: mail}
	switch {
	case slices.Contains(mail.Marks, MarkLoop):
		return delivery, nil, errLoop
	case config.Attachments == AttachmentsRefused && len(mail.Attachments) > 0:
		return delivery, nil, errAttached
	}
	if config.Attachments == AttachmentsDropped {
		delivery.Mail.Attachments = nil
	}
	if config.CheckDMARC || config.RequireDMARC {
		ctx, cancel := context.WithTimeout(context.Background(), config.Timeout)
		defer cancel()
		delivery.DMARC = s.checkDMARC(ctx, raw, mail.From.Email)
		if config.RequireDMARC && delivery.DMARC == DMARCTempError {
			return delivery, nil, errDMARCTemp
		}
		if config.RequireDMARC && delivery.DMARC != DMARCPass {
			return delivery, nil, errDMARC
		}
	}
	return delivery, raw, nil
}

// deliver hands a mail over for one recipient. It returns nil only when the mail is kept, or
// is one that makes no message.
func (s *session) deliver(to recipient, delivery Delivery, raw []byte) error {
	config := &s.server.config
	header, _, _ := readHeader(raw)
	// The server in front of an LMTP server may have added one of its own.
	if times := delivered(header, to.address); times > 1 || times == 1 && !config.LMTP {
		return errLoop
	}
	marked := func(mark Mark) bool { return slices.Contains(delivery.Mail.Marks, mark) }
	if !config.TakeReplies && (marked(MarkReply) || marked(MarkReport) || marked(MarkBounce)) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), config.Timeout)
	defer cancel()
	delivery.User = to.user
	_, err := askHost(ctx, func() (struct{}, error) { return struct{}{}, config.Deliver(ctx, delivery) })
	switch {
	case err == nil:
		return nil
	case errors.Is(err, userkit.ErrNotFound): // deleted since
		return errNoMailbox
	case errors.Is(err, userkit.ErrInvalid), errors.Is(err, userkit.ErrRefused):
		config.Logger.Warn("pushmail: a mail was refused", "error", err)
		return errRefused
	}
	config.Logger.Error("pushmail: a mail could not be kept", "error", err)
	return errLater
}

var _ smtp.LMTPSession = (*session)(nil)
