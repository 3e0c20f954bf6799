package postgres_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// lastMail keeps the link of the last mail.
type lastMail struct{ link string }

func (m *lastMail) SendMail(_ context.Context, mail userkit.Mail) error {
	m.link = mail.Link
	return nil
}

// Whoever tries tokens and addresses learns nothing from the answers: whether one was never made,
// was revoked or is that of a user who has gone, the error is the same, and the database is asked
// the same. A text that cannot be one costs no more.
func TestWrongSecretsAreAnsweredAlike(t *testing.T) {
	ctx := context.Background()
	hook := &recorder{}
	store, err := postgres.New(openDB(t, migrated.Create(t)).WithQueryHook(hook))
	require.NoError(t, err)
	mail := &lastMail{}
	manager, err := userkit.New(store,
		userkit.WithActivation(userkit.ActivationPolicy{Mailer: mail, Link: "https://example.org/#{token}"}),
		userkit.WithPushMail(userkit.PushMailPolicy{Domain: "push.example.org"}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, manager.Close(context.Background())) })

	activation := func(user userkit.UserID) string {
		require.NoError(t, manager.SendActivation(ctx, user, ""))
		_, token, _ := strings.Cut(mail.link, "#")
		return token
	}
	accessToken := func(user userkit.UserID) string {
		device, err := manager.RegisterDevice(ctx, user, userkit.NewDevice{HardwareID: "phone"}) // a second one revokes the first
		require.NoError(t, err)
		return device.AccessToken
	}
	address := func(user userkit.UserID) string {
		pushMail, err := manager.GeneratePushMail(ctx, user)
		require.NoError(t, err)
		return pushMail.Address
	}
	for name, secret := range map[string]struct {
		generate func(userkit.UserID) string
		try      func(string) error
		status   userkit.Status
		prefix   int // of the text, which is the same for all
	}{
		"activation tokens": {activation, func(token string) error { _, err := manager.ConfirmEmail(ctx, token); return err }, userkit.StatusInactive, 4},
		"access tokens":     {accessToken, func(token string) error { _, err := manager.Authenticate(ctx, token); return err }, userkit.StatusActive, 4},
		"push addresses":    {address, func(address string) error { _, err := manager.FindUser(ctx, userkit.ByPushMail(address)); return err }, userkit.StatusActive, 0},
	} {
		t.Run(name, func(t *testing.T) {
			create := func(login string) userkit.User {
				login = strings.ReplaceAll(name, " ", "-") + "-" + login
				user, err := manager.CreateUser(ctx, userkit.NewUser{Login: login, Email: login + "@example.org", Status: secret.status})
				require.NoError(t, err)
				return user
			}
			ada, gone := create("ada"), create("gone")
			revoked, ofGone := secret.generate(ada.ID), secret.generate(gone.ID)
			current := secret.generate(ada.ID)
			_, err := manager.DeleteUser(ctx, gone.ID, gone.ID.String())
			require.NoError(t, err)
			altered := []byte(current) // in a part that says nothing about the user
			at := len(strings.TrimSuffix(current, "@push.example.org")) - 5
			altered[at] = map[bool]byte{true: 'b', false: 'a'}[altered[at] == 'a']

			ask := func(text string) (string, []string) {
				hook.take()
				err := secret.try(text)
				require.Error(t, err)
				kinds := []string{}
				for _, statement := range hook.take() {
					verb, _, _ := strings.Cut(strings.TrimSpace(statement), " ")
					kinds = append(kinds, verb)
				}
				return err.Error(), kinds
			}
			words, work := ask(string(altered))
			require.NotEmpty(t, work)
			for kind, text := range map[string]string{"revoked": revoked, "of a user who has gone": ofGone} {
				said, done := ask(text)
				require.Equal(t, words, said, kind)
				require.Equal(t, work, done, kind)
			}
			for _, text := range []string{
				"", current[:secret.prefix], current + "a", current[1:], "x" + current, strings.Repeat("x", 1_000_000), "\x00\xff",
				strings.Repeat("@", 60), current[:secret.prefix] + strings.Repeat("!", len(current)-secret.prefix),
			} {
				said, done := ask(text)
				require.Equal(t, words, said)
				require.LessOrEqual(t, len(done), len(work))
				require.Empty(t, slices.DeleteFunc(done, func(verb string) bool { return slices.Contains(work, verb) }))
			}
			require.NoError(t, secret.try(current))
		})
	}
}
