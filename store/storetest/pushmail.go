package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// withPushMail gives a manager the domain of push mail.
var withPushMail = userkit.WithPushMail(userkit.PushMailPolicy{Domain: "Push.Example.org", AddressesPerDay: 3})

func pushMailGroups() []group {
	return []group{{"PushMail", []testCase{
		{"finds its user until it is revoked or replaced", pushMailFinds},
		{"is limited, refused and not guessed", pushMailRefuses},
	}}}
}

func pushMailFinds(t *testing.T, env env) {
	d := env.desk(t, withPushMail)
	user, other := d.signUp(t), d.signUp(t)
	none, err := d.PushMail(t.Context(), user.ID)
	require.NoError(t, err)
	require.Zero(t, none)

	first, err := d.GeneratePushMail(userkit.WithActor(t.Context(), administrator), user.ID)
	require.NoError(t, err)
	require.Regexp(t, `^[a-z2-7]{52}@push\.example\.org$`, first.Address)
	require.Equal(t, userkit.PushMail{Address: first.Address, CreatedAt: base, Generated: 1, CountedFrom: base}, first)
	got, err := d.PushMail(t.Context(), user.ID)
	require.NoError(t, err)
	require.Equal(t, first, got)
	beside, err := d.GeneratePushMail(t.Context(), other.ID)
	require.NoError(t, err)
	found, err := d.FindUser(t.Context(), userkit.ByPushMail(strings.ToUpper(first.Address)))
	require.NoError(t, err)
	require.Equal(t, user.ID, found.ID)

	d.clock.Advance(time.Minute)
	second, err := d.GeneratePushMail(t.Context(), user.ID)
	require.NoError(t, err)
	require.NotEqual(t, first.Address, second.Address)
	_, err = d.FindUser(t.Context(), userkit.ByPushMail(first.Address))
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
	gone, err := d.RevokePushMail(t.Context(), user.ID)
	require.NoError(t, err)
	require.Equal(t, userkit.PushMail{CreatedAt: second.CreatedAt, RevokedAt: second.CreatedAt, Generated: 2, CountedFrom: base}, gone)
	again, err := d.RevokePushMail(t.Context(), user.ID)
	require.NoError(t, err)
	require.Equal(t, gone, again)
	_, err = d.FindUser(t.Context(), userkit.ByPushMail(second.Address))
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
	found, err = d.FindUser(t.Context(), userkit.ByPushMail(beside.Address))
	require.NoError(t, err)
	require.Equal(t, other.ID, found.ID)

	var names []userkit.EventName
	for _, event := range eventsOf(t, env.store, user.ID) {
		if strings.HasPrefix(string(event.Name), "user.push_mail") {
			names = append(names, event.Name)
		}
	}
	require.ElementsMatch(t, []userkit.EventName{userkit.EventPushMailGenerated, userkit.EventPushMailGenerated, userkit.EventPushMailRevoked}, names)
}

func pushMailRefuses(t *testing.T, env env) {
	d := env.desk(t, withPushMail)
	user := d.signUp(t)
	var last userkit.PushMail
	for range 3 {
		pushMail, err := d.GeneratePushMail(t.Context(), user.ID)
		require.NoError(t, err)
		last = pushMail
	}
	_, err := d.GeneratePushMail(t.Context(), user.ID)
	requireCode(t, err, userkit.ErrRefused, userkit.CodeTooManyAddresses)
	d.clock.Advance(24 * time.Hour)
	fresh, err := d.GeneratePushMail(t.Context(), user.ID)
	require.NoError(t, err)
	require.Equal(t, 1, fresh.Generated)

	unknown := userkit.NewID[userkit.User]()
	_, err = d.GeneratePushMail(t.Context(), unknown)
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
	_, err = d.PushMail(t.Context(), unknown)
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
	_, err = d.beside(t, env.store).GeneratePushMail(t.Context(), user.ID)
	requireCode(t, err, userkit.ErrInvalid, userkit.CodeNoPushMail)

	// Whatever is wrong with an address, the answer is the same.
	var words string
	for _, address := range []string{
		last.Address, "a" + last.Address[1:], "x", "@", last.Address[:52], fresh.Address + "x", strings.Replace(fresh.Address, "@", "+tag@", 1),
	} {
		_, err := d.FindUser(t.Context(), userkit.ByPushMail(address))
		requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
		if words == "" {
			words = err.Error()
		}
		require.Equal(t, words, err.Error(), address)
	}
	_, err = d.DeactivateUser(t.Context(), user.ID)
	require.NoError(t, err)
	_, err = d.GeneratePushMail(t.Context(), user.ID)
	requireCode(t, err, userkit.ErrRefused, userkit.CodeUserDisabled)
}
