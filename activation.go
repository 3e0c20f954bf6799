package userkit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/userkit/userkit/internal/hostcall"
)

// Activation is a mail that was sent to a user to confirm its email address. It is kept until the
// address is confirmed. A user has at most one: another mail replaces the one before.
type Activation struct {
	Email       string      `json:"email"` // the address it was sent to; it confirms no other address
	TokenDigest TokenDigest `json:"-"`     // the SHA-256 of the token in the link
	SentAt      time.Time   `json:"sent_at"`
	ExpiresAt   time.Time   `json:"expires_at"`

	// Mails is the number of mails sent to the user since CountedFrom, including this one.
	Mails       int       `json:"mails"`
	CountedFrom time.Time `json:"counted_from"`
}

// IsZero reports whether there is no activation.
func (a Activation) IsZero() bool { return a == Activation{} }

// ActivationPolicy says how the email addresses of users are confirmed. Mailer and Link are
// required; the zero value of each other field is its default.
type ActivationPolicy struct {
	Mailer Mailer

	// Link is the URL of a page of the host, with "{token}" in the place of the token, such as
	// "https://example.org/confirm#{token}". It must use https, or http on this machine.
	//
	// The page shows a button, and only the POST of that button calls ConfirmEmail, because mail
	// scanners open links and must not use them up. A token after a "#" does not appear in the logs
	// of web servers; a script puts it into the form.
	Link string

	ValidFor     time.Duration // how long a link is valid, from 1 minute to 30 days; default: 48 hours
	MailsPerHour int           // for one user, and for one address, from 1 to 100; default: 5
}

// tokenPlace is where the token goes in ActivationPolicy.Link.
const tokenPlace = "{token}"

func (p ActivationPolicy) normalise() (ActivationPolicy, error) {
	const name = "WithActivation"
	if p.Mailer == nil {
		return p, invalidOption(name, "no mailer")
	}
	if strings.Count(p.Link, tokenPlace) != 1 {
		return p, invalidOption(name, "the link must contain %s exactly once", tokenPlace)
	}
	link, err := url.Parse(strings.Replace(p.Link, tokenPlace, "a", 1))
	if err != nil || link.Host == "" || link.User != nil || !strings.Contains(p.Link, "//"+link.Host) {
		return p, invalidOption(name, "the link is not the URL of a page")
	}
	local := link.Hostname() == "localhost" || net.ParseIP(link.Hostname()).IsLoopback()
	if link.Scheme != "https" && (link.Scheme != "http" || !local) {
		return p, invalidOption(name, "the link must be https; http is allowed for this machine only")
	}
	if p.ValidFor == 0 {
		p.ValidFor = 48 * time.Hour
	}
	if p.ValidFor < time.Minute || p.ValidFor > 30*24*time.Hour {
		return p, invalidOption(name, "the validity of links, %s, is outside the range 1 minute to 30 days", p.ValidFor)
	}
	if p.MailsPerHour == 0 {
		p.MailsPerHour = 5
	}
	if p.MailsPerHour < 1 || p.MailsPerHour > 100 {
		return p, invalidOption(name, "%d mails per hour is outside the range 1 to 100", p.MailsPerHour)
	}
	return p, nil
}

// ActivationManager confirms that email addresses belong to their users.
type ActivationManager interface {
	// SendActivation sends a mail with a link to the user's email address (see
	// WithActivation). The link contains a token of 256 random bits, of which only a digest is
	// kept. The token can be used once, within ActivationPolicy.ValidFor, and confirms only the
	// address that the mail was sent to. The token of an earlier mail becomes invalid.
	//
	// language is the language of the mail, as a BCP 47 tag; if it is empty, the mailer uses its
	// default.
	//
	// It returns ErrRefused with CodeAlreadyConfirmed if there is nothing to confirm, with
	// CodeUserDisabled, with CodeTooManyMails if ActivationPolicy.MailsPerHour mails have been sent
	// to the user or to the address (each process counts the mails to an address by itself), and
	// with CodeMailRefused if the address accepts no mail. It returns ErrInvalid with CodeRequired
	// for a user without an email address, and ErrUnavailable with CodeMailNotSent if the mail
	// could not be sent within a minute; the same call may then be repeated.
	//
	// The mail is sent after the token has been stored, outside of any change. A manager in the
	// host's transaction (WithStore) sends it before that transaction commits, so it is better to
	// call SendActivation afterwards.
	SendActivation(ctx context.Context, user UserID, language string) error

	// ConfirmEmail marks the user's email address as verified by the token of a link, and activates
	// a user that is invited or inactive. Call it for a POST, never for a GET (see
	// ActivationPolicy.Link).
	//
	// It returns ErrForbidden with CodeInvalidToken, always with the same message, for a token that
	// is unknown, was used, was replaced by a later one, or belongs to an address that the user no
	// longer has. It returns ErrRefused with CodeActivationExpired for a token that is too old, and
	// with CodeUserDisabled.
	//
	// It does not limit attempts: nobody guesses 256 bits, and an attempt costs one search at most.
	// userhttp.Attempt bounds the attempts of each client that fail.
	ConfirmEmail(ctx context.Context, token string) (User, error)
}

// An activation token is "uka_" and, in base64url without padding, the id of the user and 32 random
// bytes. The id says with whose digest the token is compared, so that no index of digests is
// needed.
const activationPrefix = "uka_"

// newActivationToken makes a token for a user.
func newActivationToken(user UserID) string {
	var secret [len(UserID{}) + tokenBytes]byte
	copy(secret[:], user[:])
	rand.Read(secret[len(user):])
	return activationPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
}

// activationUser returns the user and the digest of a token, and false for a text that is not a token.
func activationUser(token string) (UserID, TokenDigest, bool) {
	text, found := strings.CutPrefix(token, activationPrefix)
	if !found || len(text) != base64.RawURLEncoding.EncodedLen(len(UserID{})+tokenBytes) {
		return UserID{}, TokenDigest{}, false
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return UserID{}, TokenDigest{}, false
	}
	return UserID(secret[:len(UserID{})]), sha256.Sum256([]byte(token)), true
}

func invalidActivation() error {
	return NewError(CodeInvalidToken, "", "no activation has this token")
}

// mailWindow is the time in which mails are counted.
const mailWindow = time.Hour

// request decides on another mail with a token.
func (p ActivationPolicy) request(state *State, o origin, email string, token string) (Activation, Change, error) {
	user := &state.User
	switch {
	case user.Status == StatusDisabled:
		return Activation{}, Change{}, user.Status.refusal()
	case user.Email == "":
		return Activation{}, Change{}, NewError(CodeRequired, "email", "the user has no email address")
	case user.EmailVerified && user.Status == StatusActive:
		return Activation{}, Change{}, NewError(CodeAlreadyConfirmed, "", "there is nothing to confirm")
	case user.Email != email:
		return Activation{}, Change{}, errMoved
	}
	next := Activation{
		Email: email, TokenDigest: sha256.Sum256([]byte(token)), SentAt: o.now, ExpiresAt: storedTime(o.now.Add(p.ValidFor)),
		Mails: 1, CountedFrom: o.now,
	}
	// A clock that went back begins a new count.
	if last := state.Activation; !last.IsZero() && !o.now.Before(last.CountedFrom) && o.now.Sub(last.CountedFrom) < mailWindow {
		if last.Mails >= p.MailsPerHour {
			refused := NewError(CodeTooManyMails, "", "the user has been sent %d mails since %s", last.Mails, last.CountedFrom.Format(time.RFC3339))
			refused.Until = last.CountedFrom.Add(mailWindow)
			return Activation{}, Change{}, refused
		}
		next.Mails, next.CountedFrom = last.Mails+1, last.CountedFrom
	}
	c := state.change()
	c.Activation = Set(next)
	o.record(&c, EventActivationRequested, DeviceID{}, "expires_at", next.ExpiresAt)
	return next, c, nil
}

// confirmEmail decides on a token by its digest.
func confirmEmail(state *State, o origin, digest TokenDigest) (User, Change, error) {
	user, activation := state.User, state.Activation
	if activation.IsZero() || subtle.ConstantTimeCompare(activation.TokenDigest[:], digest[:]) != 1 || activation.Email != user.Email {
		return User{}, Change{}, invalidActivation()
	}
	switch {
	case !o.now.Before(activation.ExpiresAt):
		return User{}, Change{}, NewError(CodeActivationExpired, "", "the activation expired at %s", activation.ExpiresAt.Format(time.RFC3339))
	case user.Status == StatusDisabled:
		return User{}, Change{}, user.Status.refusal()
	}
	c := state.change()
	c.Activation = Set(Activation{})
	activated := user.Status != StatusActive
	user.EmailVerified, user.Status = true, StatusActive
	user.touch(&c, o)
	o.record(&c, EventEmailConfirmed, DeviceID{}, "activated", activated)
	return user, c, nil
}

// maxMailAddresses is for how many addresses a process counts the mails at the same time.
const maxMailAddresses = 100_000

// maxMoves is how often SendActivation begins anew because the address was changed meanwhile.
const maxMoves = 5

func (m *manager) SendActivation(ctx context.Context, id UserID, language string) (err error) {
	ctx, call, err := enter(ctx, m, opSendActivation, id)
	if err != nil {
		return err
	}
	defer call.leave(ctx, &err)
	if m.activation.Mailer == nil {
		return NewError(CodeNoMailer, "", "the manager has no mailer")
	}
	if err := checkLine("language", language, MaxLine); err != nil {
		return err
	}
	for range maxMoves {
		if err = m.sendActivation(ctx, call, id, language); !errors.Is(err, errMoved) {
			return err
		}
		call.origin = call.again()
	}
	return NewError(CodeTooManyConflicts, "email", "the address kept changing")
}

// sendActivation sends one mail to the address that the user has now, outside of any change.
func (m *manager) sendActivation(ctx context.Context, call call, id UserID, language string) error {
	want := Want{User: id, Profile: true, Activation: true}
	states, err := m.store.Load(ctx, []Want{want})
	if err != nil {
		return err
	}
	probe := &states[0]
	if !probe.Exists {
		return NewError(CodeUserNotFound, "", "no user %s", id)
	}
	// A mail that the user may not get does not count against the address.
	probe.of(id)
	user := probe.User
	if _, _, err := m.activation.request(probe, call.origin, user.Email, ""); err != nil {
		return err
	}
	if until := m.mailsTo.Take(Fold(user.Email)); !until.IsZero() {
		refused := NewError(CodeTooManyMails, "email", "the address has been sent as many mails as it may receive")
		refused.Until = until
		return refused
	}
	token := newActivationToken(id)
	activation, err := change(ctx, m, command{want: want}, func(state *State) (Activation, Change, error) {
		return m.activation.request(state, call.origin, user.Email, token)
	})
	if err != nil {
		return err
	}
	return m.sendMail(ctx, Mail{
		Kind: MailActivation, Address: activation.Email, Name: user.Name, Language: language,
		Link: strings.Replace(m.activation.Link, tokenPlace, token, 1), ExpiresAt: activation.ExpiresAt,
	})
}

// mailTimeout is how long a mailer has for one mail.
const mailTimeout = time.Minute

// sendMail hands a mail to the mailer, which is code of the host's.
func (m *manager) sendMail(ctx context.Context, mail Mail) error {
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	err := hostcall.Ask(ctx, func() error { return m.activation.Mailer.SendMail(ctx, mail) }, func(err error) error { return err })
	if _, panicked := errors.AsType[*hostcall.PanicError](err); panicked {
		m.logger.ErrorContext(ctx, "userkit: sending a mail failed", "error", err)
		return NewError(CodeMailNotSent, "", "the mailer panicked")
	}
	switch ErrorCode(err) {
	case CodeMailRefused, CodeMailNotSent:
		return err
	}
	if err != nil {
		return NewError(CodeMailNotSent, "", "the mailer failed").Because(err)
	}
	return nil
}

func (m *manager) ConfirmEmail(ctx context.Context, token string) (_ User, err error) {
	ctx, call, err := enter(ctx, m, opConfirmEmail, noTarget)
	if err != nil {
		return User{}, err
	}
	defer call.leave(ctx, &err)
	id, digest, ok := activationUser(token)
	if !ok {
		return User{}, invalidActivation()
	}
	want := Want{User: id, Profile: true, Activation: true}
	user, err := changeUser(ctx, m, command{want: want}, func(state *State) (User, Change, error) {
		return confirmEmail(state, call.origin, digest)
	})
	if errors.Is(err, ErrNotFound) { // a token must not reveal which users exist
		return User{}, invalidActivation()
	}
	return user, err
}
