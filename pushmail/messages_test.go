package pushmail_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/pushmail"
)

func TestMailsBecomeMessages(t *testing.T) {
	var manager userkit.Manager
	s := start(t, func(c *pushmail.Config) {
		manager = c.Users.(userkit.Manager)
		c.Deliver = pushmail.ToMessages(manager)
	})
	alert := "Auto-Submitted: auto-generated\r\n" + letter
	require.NoError(t, s.send(t, "bob@example.com", alert, s.address))
	require.NoError(t, s.send(t, "bob@example.com", alert, s.address))
	require.NoError(t, s.send(t, "bob@example.com", "\r\n\r\n", s.address))
	require.NoError(t, s.send(t, "bob@example.com", "Message-ID: <"+strings.Repeat("a", 600)+"@b>\r\nSubject: "+strings.Repeat("é", 400)+"\r\n\r\na\x1bb", s.address))
	page, err := manager.Messages(t.Context(), userkit.MessageQuery{MessageFilter: userkit.MessageFilter{UserID: s.user.ID}})
	require.NoError(t, err)
	require.Len(t, page.Items, 3)
	for _, message := range page.Items {
		require.Equal(t, userkit.MessageFromMail, message.Origin.Source)
		if message.Subject == "Hello" {
			require.Equal(t, "How are you?", message.Body)
			require.Equal(t, userkit.MailOrigin{
				MessageID: "id:1@example.com", From: "bob@example.com", FromName: "Bob", EnvelopeFrom: "bob@example.com",
				Marks: []userkit.MailMark{userkit.MailAutoSubmitted},
			}, message.Origin.Mail)
		}
	}
}
