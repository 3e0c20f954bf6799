package userkit

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"strings"
	"time"
)

// PushMail is the private mail address of a user: a mail to it becomes a message to the user
// (see the package pushmail). A user has at most one address; a new one replaces the one before,
// which no longer receives mails.
type PushMail struct {
	Address   string    `json:"address,omitempty"`   // empty: revoked
	CreatedAt time.Time `json:"created_at"`          // when the newest address was generated
	RevokedAt time.Time `json:"revoked_at,omitzero"` // zero: not revoked

	// Generated is the number of addresses generated for the user since CountedFrom.
	Generated   int       `json:"generated"`
	CountedFrom time.Time `json:"counted_from"`
}

// IsZero reports whether the user never had a push mail address.
func (p PushMail) IsZero() bool { return p == PushMail{} }

// PushMailPolicy says how the push mail addresses of users are generated. Domain is required; the
// zero value of each other field is its default.
type PushMailPolicy struct {
	// Domain is what comes after the "@", such as "push.example.org": a domain in ASCII whose mails
	// are delivered to a receiver of this project. Addresses keep the domain that they were
	// generated with.
	Domain string

	AddressesPerDay int // for one user, from 1 to 1,000; default: 20
}

func (p PushMailPolicy) normalise() (PushMailPolicy, error) {
	const name = "WithPushMail"
	p.Domain = strings.ToLower(p.Domain)
	if len(p.Domain) > 190 || !isDomain(p.Domain) {
		return p, invalidOption(name, "%q is not a domain in ASCII", clip(p.Domain))
	}
	if p.AddressesPerDay == 0 {
		p.AddressesPerDay = 20
	}
	if p.AddressesPerDay < 1 || p.AddressesPerDay > 1000 {
		return p, invalidOption(name, "%d addresses per day is outside the range 1 to 1000", p.AddressesPerDay)
	}
	return p, nil
}

// isDomain reports whether a text is the name of a host, in lower case.
func isDomain(text string) bool {
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

// PushMailManager keeps the private mail addresses of users. Calls about a user who does not
// exist return ErrNotFound with CodeUserNotFound.
type PushMailManager interface {
	// GeneratePushMail generates a new push mail address for the user, which contains 128 random
	// bits so that nobody can guess it. The address before it, if any, becomes invalid.
	//
	// It returns ErrInvalid with CodeNoPushMail for a manager without a domain (see
	// WithPushMail), and ErrRefused with CodeUserDisabled, or with CodeTooManyAddresses if
	// PushMailPolicy.AddressesPerDay addresses have been generated for the user.
	GeneratePushMail(ctx context.Context, user UserID) (PushMail, error)

	// RevokePushMail revokes the user's push mail address for good. It does nothing if there is
	// none.
	RevokePushMail(ctx context.Context, user UserID) (PushMail, error)

	// PushMail returns the user's push mail address. Its Address is empty if the user has none.
	PushMail(ctx context.Context, user UserID) (PushMail, error)
}

// pushMailPart is how many characters of a push mail address come before the "@": the id of the
// user and 16 random bytes. The id says with whose address the rest is compared, so that no index
// of addresses is needed.
const pushMailPart = 52

// pushMailEncoding is in lower case, since mail servers may change the case of an address.
var pushMailEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newPushMail makes an address for a user.
func newPushMail(user UserID, domain string) string {
	var secret [len(UserID{}) + 16]byte
	copy(secret[:], user[:])
	rand.Read(secret[len(user):])
	return pushMailEncoding.EncodeToString(secret[:]) + "@" + domain
}

// pushMailUser returns the user whom an address names, in the form in which it is kept. For a text
// that is not a push mail address the user is zero, which no user has as its id.
func pushMailUser(address string) (UserID, string) {
	if len(address) > MaxLine {
		return UserID{}, ""
	}
	address = asciiLower(address)
	part, _, found := strings.Cut(address, "@")
	if !found || len(part) != pushMailPart {
		return UserID{}, address
	}
	secret, err := pushMailEncoding.DecodeString(part)
	if err != nil {
		return UserID{}, address
	}
	return UserID(secret[:len(UserID{})]), address
}

func asciiLower(text string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
}

// ByPushMail identifies the user with this push mail address. Only FindUser accepts it.
func ByPushMail(address string) UserKey { return UserKey{pushMailKey, address} }

const pushMailKey = "push_mail"

// addressWindow is the time in which addresses are counted.
const addressWindow = 24 * time.Hour

// generate decides on a new address.
func (p PushMailPolicy) generate(state *State, o origin, address string) (PushMail, Change, error) {
	if state.User.Status == StatusDisabled {
		return PushMail{}, Change{}, state.User.Status.refusal()
	}
	next := PushMail{Address: address, CreatedAt: o.now, Generated: 1, CountedFrom: o.now}
	// A clock that went back begins a new count.
	if last := state.PushMail; !last.IsZero() && !o.now.Before(last.CountedFrom) && o.now.Sub(last.CountedFrom) < addressWindow {
		if last.Generated >= p.AddressesPerDay {
			refused := NewError(CodeTooManyAddresses, "", "the user has been given %d addresses since %s", last.Generated, last.CountedFrom.Format(time.RFC3339))
			refused.Until = last.CountedFrom.Add(addressWindow)
			return PushMail{}, Change{}, refused
		}
		next.Generated, next.CountedFrom = last.Generated+1, last.CountedFrom
	}
	c := state.change()
	c.PushMail = Set(next)
	o.record(&c, EventPushMailGenerated, DeviceID{}, "replaced", state.PushMail.Address != "")
	return next, c, nil
}

// revokePushMail decides that an address is no longer valid.
func revokePushMail(state *State, o origin) (PushMail, Change, error) {
	next := state.PushMail
	if next.Address == "" {
		return next, Change{}, nil
	}
	next.Address, next.RevokedAt = "", o.now
	c := state.change()
	c.PushMail = Set(next)
	o.record(&c, EventPushMailRevoked, DeviceID{})
	return next, c, nil
}

func (m *manager) GeneratePushMail(ctx context.Context, id UserID) (_ PushMail, err error) {
	ctx, call, err := enter(ctx, m, opGeneratePushMail, id)
	if err != nil {
		return PushMail{}, err
	}
	defer call.leave(ctx, &err)
	if m.pushMail.Domain == "" {
		return PushMail{}, NewError(CodeNoPushMail, "", "the manager has no domain for push mail")
	}
	address := newPushMail(id, m.pushMail.Domain)
	want := Want{User: id, Profile: true, PushMail: true}
	return change(ctx, m, command{want: want}, func(state *State) (PushMail, Change, error) {
		return m.pushMail.generate(state, call.origin, address)
	})
}

func (m *manager) RevokePushMail(ctx context.Context, id UserID) (_ PushMail, err error) {
	ctx, call, err := enter(ctx, m, opRevokePushMail, id)
	if err != nil {
		return PushMail{}, err
	}
	defer call.leave(ctx, &err)
	return change(ctx, m, command{want: Want{User: id, PushMail: true}}, func(state *State) (PushMail, Change, error) {
		return revokePushMail(state, call.origin)
	})
}

func (m *manager) PushMail(ctx context.Context, id UserID) (_ PushMail, err error) {
	ctx, call, err := enter(ctx, m, opPushMail, id)
	if err != nil {
		return PushMail{}, err
	}
	defer call.leave(ctx, &err)
	states, err := m.store.Load(ctx, []Want{{User: id, PushMail: true}})
	if err != nil {
		return PushMail{}, err
	}
	if !states[0].Exists {
		return PushMail{}, NewError(CodeUserNotFound, "", "no user %s", id)
	}
	return states[0].PushMail, nil
}

// findPushMail reads the user of a push mail address. Whatever is wrong with the address, it costs
// one search and returns the same error.
func (m *manager) findPushMail(ctx context.Context, address string) (User, error) {
	id, address := pushMailUser(address)
	states, err := m.store.Load(ctx, []Want{{User: id, PushMail: true}})
	if err != nil {
		return User{}, err
	}
	kept := states[0].PushMail.Address
	if kept == "" || subtle.ConstantTimeCompare([]byte(kept), []byte(address)) != 1 {
		return User{}, errNoPushMail()
	}
	user, err := m.store.User(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return User{}, errNoPushMail()
	}
	return user, err
}

func errNoPushMail() error {
	return NewError(CodeUserNotFound, pushMailKey, "no user has this push mail address")
}
