package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func messageGroups() []group {
	return []group{{"Messages", []testCase{
		{"are sent, listed, counted and read", messagesAreRead},
		{"are one for each key and for each mail", messagesByKey},
		{"refuse what cannot be sent", messagesRefused},
	}}}
}

// messageLists reads the messages of a user, all and the unread ones, newest first.
func messageLists(t *testing.T, d *desk, user userkit.UserID) (all, unread []userkit.Message) {
	t.Helper()
	read := func(filter userkit.MessageFilter) []userkit.Message {
		page, err := d.Messages(t.Context(), userkit.MessageQuery{MessageFilter: filter})
		require.NoError(t, err)
		return page.Items
	}
	all = read(userkit.MessageFilter{UserID: user})
	unread = read(userkit.MessageFilter{UserID: user, OnlyUnread: true})
	count, err := d.CountUnread(t.Context(), user)
	require.NoError(t, err)
	require.EqualValues(t, len(unread), count)
	return all, unread
}

func messagesAreRead(t *testing.T, env env) {
	d := env.desk(t)
	user, other := d.signUp(t), d.signUp(t)
	ctx := userkit.WithActor(t.Context(), administrator)
	first, err := d.SendMessage(ctx, user.ID, userkit.NewMessage{
		Subject: "Maintenance", Body: "On *Sunday*.\nSorry!", Format: userkit.MessageMarkdown,
		Data: map[string]string{"page": "status"}, ExpiresAt: d.clock.Now().Add(time.Hour),
	})
	require.NoError(t, err)
	require.Equal(t, userkit.MessageOrigin{Source: userkit.MessageFromActor, Actor: administrator}, first.Origin)
	second, err := d.SendMessage(ctx, user.ID, userkit.NewMessage{Body: "Hello"})
	require.NoError(t, err)
	require.Equal(t, userkit.MessagePlain, second.Format)
	_, err = d.SendMessage(ctx, other.ID, userkit.NewMessage{Body: "Hello"})
	require.NoError(t, err)

	got, err := d.Message(ctx, first.ID)
	require.NoError(t, err)
	require.Equal(t, first, got)
	all, unread := messageLists(t, d, user.ID)
	require.ElementsMatch(t, []userkit.Message{first, second}, all)
	require.Equal(t, all, unread)

	// Only the user's own are read, and each once.
	count, err := d.MarkRead(ctx, other.ID, second.ID)
	require.NoError(t, err)
	require.Zero(t, count)
	for _, want := range []int{1, 0} {
		count, err = d.MarkRead(ctx, user.ID, second.ID, second.ID)
		require.NoError(t, err)
		require.Equal(t, want, count)
	}
	_, unread = messageLists(t, d, user.ID)
	require.Equal(t, []userkit.Message{first}, unread)
	d.clock.Advance(time.Hour)
	all, unread = messageLists(t, d, user.ID)
	require.Len(t, all, 2)
	require.Empty(t, unread)
	require.Equal(t, []userkit.EventName{userkit.EventMessageSent, userkit.EventMessageSent, userkit.EventMessagesRead},
		eventNames(d.events(t, user.ID))[1:])

	_, err = d.SendMessage(ctx, userkit.NewID[userkit.User](), userkit.NewMessage{Body: "Hello"})
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
	_, err = d.Message(ctx, userkit.NewID[userkit.Message]())
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeMessageNotFound)
	_, err = d.DeleteUser(ctx, user.ID, user.ID.String())
	require.NoError(t, err)
	_, err = d.Message(ctx, first.ID)
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeMessageNotFound)
}

func messagesByKey(t *testing.T, env env) {
	d := env.desk(t)
	user, other := d.signUp(t), d.signUp(t)
	send := func(to userkit.User, message userkit.NewMessage) userkit.Message {
		sent, err := d.SendMessage(t.Context(), to.ID, message)
		require.NoError(t, err)
		return sent
	}
	keyed := userkit.NewMessage{Body: "Hello", Key: "greeting", Data: map[string]string{"a": "b"}}
	first := send(user, keyed)
	require.Equal(t, first, send(user, keyed))
	require.NotEqual(t, first.ID, send(other, keyed).ID)
	keyed.Body = "Goodbye"
	_, err := d.SendMessage(t.Context(), user.ID, keyed)
	requireCode(t, err, userkit.ErrInvalid, userkit.CodeKeyReused)

	// The first result also when the message has expired since; another one is not sent then.
	brief := userkit.NewMessage{Body: "Now", Key: "brief", ExpiresAt: d.clock.Now().Add(time.Minute)}
	expired := send(user, brief)
	d.clock.Advance(time.Hour)
	require.Equal(t, expired, send(user, brief))
	brief.Key = "another"
	_, err = d.SendMessage(t.Context(), user.ID, brief)
	requireCode(t, err, userkit.ErrInvalid, userkit.CodeOutOfRange)

	mail := userkit.NewMessage{Subject: "Re: Hello", Body: "Thanks", Mail: userkit.MailOrigin{
		MessageID: "<1@example.org>", From: "ada@example.org", FromName: "Ada", EnvelopeFrom: "bounce@example.org",
		Marks: []userkit.MailMark{userkit.MailAutoSubmitted, userkit.MailList}, DMARC: userkit.DMARCPass, Truncated: true,
	}}
	received := send(user, mail)
	require.Equal(t, userkit.MessageFromMail, received.Origin.Source)
	require.Equal(t, mail.Mail, received.Origin.Mail)
	again := mail
	again.Body = "Thanks, again"
	require.Equal(t, received, send(user, again))
	require.NotEqual(t, received.ID, send(other, mail).ID)
	all, _ := messageLists(t, d, user.ID)
	require.ElementsMatch(t, []userkit.Message{first, expired, received}, all)
}

func messagesRefused(t *testing.T, env env) {
	d := env.desk(t)
	user := d.signUp(t)
	mail := func(change func(*userkit.MailOrigin)) userkit.NewMessage {
		origin := userkit.MailOrigin{MessageID: "<1@example.org>"}
		change(&origin)
		return userkit.NewMessage{Body: "x", Mail: origin}
	}
	for code, messages := range map[userkit.Code][]userkit.NewMessage{
		userkit.CodeRequired: {{}, mail(func(o *userkit.MailOrigin) { o.MessageID, o.From = "", "a@example.org" })},
		userkit.CodeTooLong: {
			{Subject: longest(userkit.MaxLine+1, "a")}, {Body: longest(userkit.MaxMessageBody+1, "a")},
			{Body: "x", Data: map[string]string{"a": longest(userkit.MaxMessageData, "a")}}, {Body: "x", Key: longest(userkit.MaxLine+1, "a")},
			mail(func(o *userkit.MailOrigin) { o.From = longest(userkit.MaxLine+1, "a") }),
		},
		userkit.CodeBadText: {{Subject: "a\nb"}, {Body: "a\x00b"}, {Body: "x", Data: map[string]string{"a": "\x00"}}},
		userkit.CodeBadFormat: {
			{Body: "x", Data: map[string]string{"message_id": "1"}}, {Body: "x", Data: map[string]string{"aps": "1"}}, {Body: "x", Key: "mail:1"},
			mail(func(o *userkit.MailOrigin) { o.Marks = []userkit.MailMark{userkit.MailList, userkit.MailList} }),
		},
		userkit.CodeUnknownValue: {
			{Body: "x", Format: "html"}, mail(func(o *userkit.MailOrigin) { o.DMARC = "maybe" }),
			mail(func(o *userkit.MailOrigin) { o.Marks = []userkit.MailMark{"odd"} }),
		},
		userkit.CodeOutOfRange: {{Body: "x", ExpiresAt: d.clock.Now()}},
	} {
		for _, message := range messages {
			_, err := d.SendMessage(t.Context(), user.ID, message)
			requireCode(t, err, userkit.ErrInvalid, code)
		}
	}
	_, err := d.MarkRead(t.Context(), user.ID, make([]userkit.MessageID, userkit.MaxMarkRead+1)...)
	requireCode(t, err, userkit.ErrInvalid, userkit.CodeOutOfRange)
	all, _ := messageLists(t, d, user.ID)
	require.Empty(t, all)
}
