package userkit_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// silent is a mailer that sends nothing.
type silent struct{}

func (silent) SendMail(context.Context, userkit.Mail) error { return nil }

func TestWithActivation(t *testing.T) {
	for _, link := range []string{
		"https://example.org/confirm#{token}", "https://example.org/confirm?token={token}&x=1", "https://example.org/{token}",
		"http://localhost:8080/#{token}", "http://127.0.0.1/#{token}", "http://[::1]:1/#{token}",
	} {
		_, err := userkit.New(memory.New(), userkit.WithActivation(userkit.ActivationPolicy{Mailer: silent{}, Link: link}))
		require.NoError(t, err, link)
	}
	good := userkit.ActivationPolicy{Mailer: silent{}, Link: "https://example.org/#{token}", ValidFor: 30 * 24 * time.Hour, MailsPerHour: 100}
	_, err := userkit.New(memory.New(), userkit.WithActivation(good))
	require.NoError(t, err)
	for name, change := range map[string]func(*userkit.ActivationPolicy){
		"no mailer":        func(p *userkit.ActivationPolicy) { p.Mailer = nil },
		"no link":          func(p *userkit.ActivationPolicy) { p.Link = "" },
		"no token":         func(p *userkit.ActivationPolicy) { p.Link = "https://example.org/" },
		"two tokens":       func(p *userkit.ActivationPolicy) { p.Link = "https://example.org/{token}{token}" },
		"no page":          func(p *userkit.ActivationPolicy) { p.Link = "confirm#{token}" },
		"a token as host":  func(p *userkit.ActivationPolicy) { p.Link = "https://{token}.example.org/" },
		"a user":           func(p *userkit.ActivationPolicy) { p.Link = "https://a:{token}@example.org/" },
		"http":             func(p *userkit.ActivationPolicy) { p.Link = "http://example.org/#{token}" },
		"another scheme":   func(p *userkit.ActivationPolicy) { p.Link = "javascript://localhost/{token}" },
		"a short validity": func(p *userkit.ActivationPolicy) { p.ValidFor = time.Minute - 1 },
		"a long validity":  func(p *userkit.ActivationPolicy) { p.ValidFor = 30*24*time.Hour + 1 },
		"no mails":         func(p *userkit.ActivationPolicy) { p.MailsPerHour = -1 },
		"many mails":       func(p *userkit.ActivationPolicy) { p.MailsPerHour = 101 },
	} {
		bad := good
		change(&bad)
		_, err := userkit.New(memory.New(), userkit.WithActivation(bad))
		require.Equal(t, userkit.CodeInvalidOption, userkit.ErrorCode(err), name)
	}
}
