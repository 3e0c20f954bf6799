package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// postbox is a mailer that keeps what it gets.
type postbox struct {
	mutex  sync.Mutex
	mails  []userkit.Mail
	failed error  // of the next mails; nil: they are taken
	during func() // runs while a mail is sent; may be nil
}

func (p *postbox) SendMail(_ context.Context, mail userkit.Mail) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.during != nil {
		p.during()
	}
	p.mails = append(p.mails, mail)
	return p.failed
}

// token is the token of the newest mail.
func (p *postbox) token(t *testing.T) string {
	t.Helper()
	p.mutex.Lock()
	defer p.mutex.Unlock()
	require.NotEmpty(t, p.mails)
	token, found := strings.CutPrefix(p.mails[len(p.mails)-1].Link, "https://example.org/confirm#")
	require.True(t, found)
	return token
}

func withPostbox(p *postbox) userkit.Option {
	return userkit.WithActivation(userkit.ActivationPolicy{Mailer: p, Link: "https://example.org/confirm#{token}"})
}

func activationGroups() []group {
	return []group{
		{"SendActivation", []testCase{
			{"sends a mail with a link", sendActivation},
			{"keeps no token", activationKeepsNoToken},
			{"says that the mail failed, and can be repeated", activationFails},
			{"limits the mails of a user", activationLimitsUser},
			{"limits the mails to an address", activationLimitsAddress},
			{"goes to the address that the user has by then", activationMovedAddress},
			{"refuses where there is nothing to confirm", activationRefused},
		}},
		{"ConfirmEmail", []testCase{
			{"verifies the address and activates the user, once", confirmEmail},
			{"takes only the newest token", confirmNewest},
			{"takes no token for another address", confirmOtherAddress},
			{"tells nothing to one who guesses", confirmGuesses},
			{"takes no token that is too old", confirmLate},
			{"lets exactly one of several callers have a token", confirmRace},
			{"is decided before another mail, another address, or after it", confirmBesideOthers},
			{"forgets what a deleted user was sent", confirmDeleted},
		}},
	}
}

// invite creates a user that waits for activation.
func (d *desk) invite(t *testing.T) userkit.User {
	t.Helper()
	return d.signUp(t, withStatus(userkit.StatusInactive))
}

func sendActivation(t *testing.T, env env) {
	box := &postbox{}
	d := env.desk(t, withPostbox(box))
	user := d.invite(t)
	ctx := userkit.WithActor(t.Context(), administrator)
	require.NoError(t, d.SendActivation(ctx, user.ID, "de"))
	require.Len(t, box.mails, 1)
	link := box.mails[0].Link
	require.Regexp(t, `^https://example\.org/confirm#uka_[A-Za-z0-9_-]{64}$`, link)
	require.Equal(t, userkit.Mail{
		Kind: userkit.MailActivation, Address: user.Email, Name: user.Name, Language: "de", Link: link, ExpiresAt: base.Add(48 * time.Hour),
	}, box.mails[0])
	events := eventsOf(t, env.store, user.ID)
	last := events[len(events)-1]
	require.Equal(t, userkit.EventActivationRequested, last.Name)
	require.Equal(t, administrator, last.Actor)
	require.NotContains(t, string(last.Data), box.token(t))
	got, err := d.User(ctx, user.ID)
	require.NoError(t, err)
	require.Equal(t, userkit.StatusInactive, got.Status)
	require.False(t, got.EmailVerified)
	require.Equal(t, user.Revision, got.Revision, "no editor of the profile is in its way")
}

func activationKeepsNoToken(t *testing.T, env env) {
	box := &postbox{}
	d := env.desk(t, withPostbox(box))
	user := d.invite(t)
	require.NoError(t, d.SendActivation(t.Context(), user.ID, ""))
	kinds := map[string]int{}
	for record, err := range d.UserRecords(t.Context(), user.ID) {
		require.NoError(t, err)
		kinds[record.Kind]++
		if activation, ok := record.Value.(userkit.Activation); ok {
			require.NotZero(t, activation.TokenDigest)
			require.Equal(t, user.Email, activation.Email)
		}
	}
	require.Equal(t, 1, kinds[userkit.RowsActivations])
}

func activationFails(t *testing.T, env env) {
	box := &postbox{failed: userkit.NewError(userkit.CodeMailRefused, "", "no such address")}
	d := env.desk(t, withPostbox(box))
	user := d.invite(t)
	requireCode(t, d.SendActivation(t.Context(), user.ID, ""), userkit.ErrRefused, userkit.CodeMailRefused)
	box.failed = errors.New("the network is down")
	requireCode(t, d.SendActivation(t.Context(), user.ID, ""), userkit.ErrUnavailable, userkit.CodeMailNotSent)
	box.failed, box.during = nil, func() { panic("the mailer is broken") }
	requireCode(t, d.SendActivation(t.Context(), user.ID, ""), userkit.ErrUnavailable, userkit.CodeMailNotSent)
	// A mail that was said to have failed may have arrived all the same: its token counts.
	_, err := d.ConfirmEmail(t.Context(), box.token(t))
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeInvalidToken) // the third replaced it
	box.during = nil
	require.NoError(t, d.SendActivation(t.Context(), user.ID, ""))
	_, err = d.ConfirmEmail(t.Context(), box.token(t))
	require.NoError(t, err)
}

func activationLimitsUser(t *testing.T, env env) {
	box := &postbox{}
	d := env.desk(t, withPostbox(box))
	user := d.invite(t)
	for range 5 {
		require.NoError(t, d.SendActivation(t.Context(), user.ID, ""))
		d.clock.Advance(time.Minute)
	}
	newest := box.token(t)
	// Another process knows of them as well.
	other := d.beside(t, env.second(t), withPostbox(box))
	for _, desk := range []*desk{d, other} {
		err := desk.SendActivation(t.Context(), user.ID, "")
		requireCode(t, err, userkit.ErrRefused, userkit.CodeTooManyMails)
		refused, _ := errors.AsType[*userkit.Error](err)
		require.Equal(t, base.Add(time.Hour), refused.Until)
	}
	require.Len(t, box.mails, 5)
	d.clock.Set(base.Add(time.Hour))
	require.NoError(t, other.SendActivation(t.Context(), user.ID, ""))
	_, err := d.ConfirmEmail(t.Context(), newest)
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeInvalidToken)
}

func activationLimitsAddress(t *testing.T, env env) {
	box := &postbox{}
	d := env.desk(t, withPostbox(box))
	address := "Victim@example.com"
	for range 5 { // one user after another has the address
		user := d.signUp(t, withStatus(userkit.StatusInactive), func(user *userkit.NewUser) { user.Email = address })
		require.NoError(t, d.SendActivation(t.Context(), user.ID, ""))
		_, err := d.DeleteUser(t.Context(), user.ID, user.ID.String())
		require.NoError(t, err)
		address = strings.ToLower(address)
	}
	user := d.signUp(t, withStatus(userkit.StatusInactive), func(user *userkit.NewUser) { user.Email = address })
	err := d.SendActivation(t.Context(), user.ID, "")
	requireCode(t, err, userkit.ErrRefused, userkit.CodeTooManyMails)
	require.Len(t, box.mails, 5)
	d.clock.Advance(time.Hour)
	require.NoError(t, d.SendActivation(t.Context(), user.ID, ""))
}

// meddling is a store that changes a user between its profile is read and its change decided.
type meddling struct {
	userkit.Store
	loads  atomic.Int64
	meddle func()
}

func (m *meddling) Load(ctx context.Context, wants []userkit.Want) ([]userkit.State, error) {
	if wants[0].Activation && m.loads.Add(1) == 2 {
		m.meddle()
	}
	return m.Store.Load(ctx, wants)
}

func activationMovedAddress(t *testing.T, env env) {
	box := &postbox{}
	d := env.desk(t)
	user := d.invite(t)
	store := &meddling{Store: env.store, meddle: func() {
		_, err := d.UpdateUser(context.Background(), user.ID, userkit.UserPatch{Email: userkit.Set("new@example.com")})
		require.NoError(t, err)
	}}
	require.NoError(t, d.beside(t, store, withPostbox(box)).SendActivation(t.Context(), user.ID, ""))
	require.Len(t, box.mails, 1)
	require.Equal(t, "new@example.com", box.mails[0].Address)
}

func activationRefused(t *testing.T, env env) {
	box := &postbox{}
	d := env.desk(t, withPostbox(box))
	verified := d.signUp(t, func(user *userkit.NewUser) { user.EmailVerified = true })
	requireCode(t, d.SendActivation(t.Context(), verified.ID, ""), userkit.ErrRefused, userkit.CodeAlreadyConfirmed)
	disabled := d.signUp(t, withStatus(userkit.StatusDisabled))
	requireCode(t, d.SendActivation(t.Context(), disabled.ID, ""), userkit.ErrRefused, userkit.CodeUserDisabled)
	nameless := d.signUp(t, func(user *userkit.NewUser) { user.Email = "" })
	requireCode(t, d.SendActivation(t.Context(), nameless.ID, ""), userkit.ErrInvalid, userkit.CodeRequired)
	requireCode(t, d.SendActivation(t.Context(), userkit.NewID[userkit.User](), ""), userkit.ErrNotFound, userkit.CodeUserNotFound)
	requireCode(t, env.desk(t).SendActivation(t.Context(), d.invite(t).ID, ""), userkit.ErrInvalid, userkit.CodeNoMailer)
	require.Empty(t, box.mails)
}

func confirmEmail(t *testing.T, env env) {
	for _, status := range []userkit.Status{userkit.StatusInactive, userkit.StatusInvited, userkit.StatusActive} {
		box := &postbox{}
		d := env.desk(t, withPostbox(box))
		d.names.Add(int64(100 * len(status))) // the desks share a store
		user := d.signUp(t, withStatus(status))
		require.NoError(t, d.SendActivation(t.Context(), user.ID, ""))
		confirmed, err := d.ConfirmEmail(t.Context(), box.token(t))
		require.NoError(t, err)
		require.Equal(t, user.ID, confirmed.ID)
		require.True(t, confirmed.EmailVerified)
		require.Equal(t, userkit.StatusActive, confirmed.Status)
		require.Equal(t, user.Revision+1, confirmed.Revision)
		got, err := d.User(t.Context(), user.ID)
		require.NoError(t, err)
		requireUser(t, confirmed, got)
		_, err = d.ConfirmEmail(t.Context(), box.token(t))
		requireCode(t, err, userkit.ErrForbidden, userkit.CodeInvalidToken)
		require.Zero(t, loadOne(t, env.store, userkit.Want{User: user.ID, Activation: true}).Activation)
		// Another address has to be confirmed again.
		changed, err := d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{Email: userkit.Set(string(status) + "@example.com")})
		require.NoError(t, err)
		require.False(t, changed.EmailVerified)
		require.Equal(t, userkit.StatusActive, changed.Status)
		require.NoError(t, d.SendActivation(t.Context(), user.ID, ""))
		confirmed, err = d.ConfirmEmail(t.Context(), box.token(t))
		require.NoError(t, err)
		require.True(t, confirmed.EmailVerified)
	}
}

func confirmNewest(t *testing.T, env env) {
	box := &postbox{}
	d := env.desk(t, withPostbox(box))
	user := d.invite(t)
	require.NoError(t, d.SendActivation(t.Context(), user.ID, ""))
	first := box.token(t)
	require.NoError(t, d.SendActivation(t.Context(), user.ID, ""))
	require.NotEqual(t, first, box.token(t))
	_, err := d.ConfirmEmail(t.Context(), first)
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeInvalidToken)
	_, err = d.ConfirmEmail(t.Context(), box.token(t))
	require.NoError(t, err)
}

func confirmOtherAddress(t *testing.T, env env) {
	box := &postbox{}
	d := env.desk(t, withPostbox(box))
	user := d.invite(t)
	require.NoError(t, d.SendActivation(t.Context(), user.ID, ""))
	_, err := d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{Email: userkit.Set("other@example.com")})
	require.NoError(t, err)
	_, err = d.ConfirmEmail(t.Context(), box.token(t))
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeInvalidToken)
	got, err := d.User(t.Context(), user.ID)
	require.NoError(t, err)
	require.False(t, got.EmailVerified)
}

func confirmGuesses(t *testing.T, env env) {
	box := &postbox{}
	d := env.desk(t, withPostbox(box))
	user, bare := d.invite(t), d.invite(t)
	require.NoError(t, d.SendActivation(t.Context(), user.ID, ""))
	token := box.token(t)
	_, err := d.ConfirmEmail(t.Context(), "")
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeInvalidToken)
	words := err.Error()
	flipped := []byte(token)
	flipped[len(flipped)-2] ^= 1
	for _, guess := range []string{
		token + "a", token[1:], strings.ToUpper(token), string(flipped), "uka_" + strings.Repeat("A", 64), "uka_" + strings.Repeat("=", 64),
		strings.Replace(token, token[4:20], "AAAAAAAAAAAAAAAA", 1), "ukd_" + token[4:], "\x00", strings.Repeat("a", 1_000_000),
	} {
		_, err := d.ConfirmEmail(t.Context(), guess)
		require.EqualError(t, err, words)
	}
	got, err := d.User(t.Context(), bare.ID)
	require.NoError(t, err)
	require.Equal(t, userkit.StatusInactive, got.Status)
	_, err = d.ConfirmEmail(t.Context(), token)
	require.NoError(t, err)
}

func confirmLate(t *testing.T, env env) {
	box := &postbox{}
	d := env.desk(t, withPostbox(box))
	user := d.invite(t)
	require.NoError(t, d.SendActivation(t.Context(), user.ID, ""))
	d.clock.Set(base.Add(48 * time.Hour))
	_, err := d.ConfirmEmail(t.Context(), box.token(t))
	requireCode(t, err, userkit.ErrRefused, userkit.CodeActivationExpired)
	d.clock.Set(base.Add(48*time.Hour - time.Microsecond))
	_, err = d.DeactivateUser(t.Context(), user.ID)
	require.NoError(t, err)
	_, err = d.ConfirmEmail(t.Context(), box.token(t))
	requireCode(t, err, userkit.ErrRefused, userkit.CodeUserDisabled)
	_, err = d.ActivateUser(t.Context(), user.ID)
	require.NoError(t, err)
	_, err = d.ConfirmEmail(t.Context(), box.token(t))
	require.NoError(t, err)
}

func confirmRace(t *testing.T, env env) {
	box := &postbox{}
	d := env.desk(t, withPostbox(box))
	other := d.beside(t, env.second(t), withPostbox(box))
	user := d.invite(t)
	require.NoError(t, d.SendActivation(t.Context(), user.ID, ""))
	token := box.token(t)
	const callers = 8
	outcomes := make(chan error, callers)
	for i := range callers {
		go func() {
			desk := d
			if i%2 == 0 {
				desk = other
			}
			_, err := desk.ConfirmEmail(context.Background(), token)
			outcomes <- err
		}()
	}
	confirmed := 0
	for range callers {
		if err := <-outcomes; err == nil {
			confirmed++
		} else {
			requireCode(t, err, userkit.ErrForbidden, userkit.CodeInvalidToken)
		}
	}
	require.Equal(t, 1, confirmed)
}

// While a link is used, another process sends the next one or changes the address: whichever is
// first, no address counts as verified that nobody has confirmed, and no token is left over that a
// confirmation has made useless.
func confirmBesideOthers(t *testing.T, env env) {
	box := &postbox{}
	d := env.desk(t, withPostbox(box))
	other := d.beside(t, env.second(t), withPostbox(box))
	for round := range 8 {
		user := d.invite(t)
		require.NoError(t, d.SendActivation(t.Context(), user.ID, ""))
		token := box.token(t)
		moved := fmt.Sprintf("moved-%d@example.com", round)
		beside := make(chan error, 1)
		go func() {
			ctx := context.Background()
			if round%2 == 0 {
				beside <- other.SendActivation(ctx, user.ID, "")
				return
			}
			_, err := other.UpdateUser(ctx, user.ID, userkit.UserPatch{Email: userkit.Set(moved)})
			beside <- err
		}()
		_, confirmed := d.ConfirmEmail(t.Context(), token)
		second := <-beside
		if confirmed != nil {
			requireCode(t, confirmed, userkit.ErrForbidden, userkit.CodeInvalidToken)
			require.NoError(t, second)
		}
		got, err := d.User(t.Context(), user.ID)
		require.NoError(t, err)
		left := loadOne(t, env.store, userkit.Want{User: user.ID, Activation: true}).Activation
		switch {
		case round%2 == 0 && second != nil:
			requireCode(t, second, userkit.ErrRefused, userkit.CodeAlreadyConfirmed)
			fallthrough
		case round%2 == 0 && confirmed == nil:
			require.True(t, got.EmailVerified)
			require.Zero(t, left)
		case round%2 == 0:
			require.False(t, got.EmailVerified)
			require.Equal(t, user.Email, left.Email)
		default:
			require.Equal(t, moved, got.Email)
			require.False(t, got.EmailVerified, "nobody has confirmed that address")
			require.Equal(t, confirmed == nil, got.Status == userkit.StatusActive)
		}
	}
}

func confirmDeleted(t *testing.T, env env) {
	box := &postbox{}
	d := env.desk(t, withPostbox(box))
	user := d.invite(t)
	require.NoError(t, d.SendActivation(t.Context(), user.ID, ""))
	receipt, err := d.DeleteUser(t.Context(), user.ID, user.ID.String())
	require.NoError(t, err)
	require.Equal(t, 1, receipt.Rows[userkit.RowsActivations])
	_, err = d.ConfirmEmail(t.Context(), box.token(t))
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeInvalidToken)
}
