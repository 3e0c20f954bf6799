package pushmail_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/pushmail"
)

// What people and programs write in subjects and names is delivered, whatever one-line texts of
// userkit refuse.
func TestMailsWithOddCharactersBecomeMessages(t *testing.T) {
	var manager userkit.Manager
	s := start(t, func(c *pushmail.Config) {
		manager = c.Users.(userkit.Manager)
		c.Deliver = pushmail.ToMessages(manager)
	})
	for _, odd := range []string{
		"\u200b", "\u200d", "\u200e", "\u200f", "\u202e", "\u2066", "\u2069", "\ufeff", "\u00ad", "\u034f", "\u180e", "\u2028", "\u2029", "\u0085", "\u00a0", "\ufffe", "\U000e0041", "\U0001f468\u200d\U0001f469", "\u3164", "\ue000", "\u0378", "\ufe0f", "\u0300", "\x7f", "\x1b", "\t", "\ufffd",
	} {
		for name, mail := range map[string]string{
			"subject":       "From: a@example.com\r\nSubject: one" + odd + "two\r\n\r\nx\r\n",
			"subject alone": "From: a@example.com\r\nSubject: " + odd + "\r\n\r\n\r\n",
			"only":          "From: a@example.com\r\nSubject: " + odd + "\r\n\r\n" + odd + "\r\n",
			"name":          "From: \"Bob" + odd + "Bobson\" <bob@example.com>\r\n\r\nx " + odd + " y\r\n",
			"address":       "From: bob" + odd + "@example.com\r\n\r\nx " + odd + " y\r\n",
			"id":            "Message-ID: <" + odd + "@example.com>\r\n\r\nx " + odd + " y\r\n",
		} {
			require.NoError(t, s.send(t, "bob@example.com", mail, s.address), "%q in %s", odd, name)
		}
		*s.now = s.now.Add(time.Hour) // or there would be too many
	}
	page, err := manager.Messages(t.Context(), userkit.MessageQuery{MessageFilter: userkit.MessageFilter{UserID: s.user.ID}, PageQuery: userkit.PageQuery{Limit: 200}})
	require.NoError(t, err)
	for _, message := range page.Items {
		require.NotEmpty(t, message.Subject+message.Body)
		for _, line := range []string{message.Subject, message.Origin.Mail.FromName, message.Origin.Mail.From, message.Origin.Mail.MessageID} {
			require.NotContains(t, line, "\u202e", "%q", line)
			require.NotContains(t, line, "\u200b", "%q", line)
		}
	}
	require.Greater(t, len(page.Items), 100)
}
