package userkit_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func TestNotificationCheck(t *testing.T) {
	good := userkit.Notification{
		PushToken: "token", Title: "Hello", Body: "Two\nlines", CollapseID: strings.Repeat("a", userkit.MaxCollapseID),
		Data: map[string]string{"message_id": strings.Repeat("a", userkit.MaxNotificationData-10)},
	}
	require.NoError(t, good.Check())
	for name, test := range map[string]struct {
		change func(*userkit.Notification)
		code   userkit.Code
	}{
		"no device":             {func(n *userkit.Notification) { n.PushToken = "" }, userkit.CodeRequired},
		"a title of two lines":  {func(n *userkit.Notification) { n.Title = "a\nb" }, userkit.CodeBadText},
		"a body that is long":   {func(n *userkit.Notification) { n.Body = strings.Repeat("ä", userkit.MaxNotificationBody+1) }, userkit.CodeTooLong},
		"a body with NUL":       {func(n *userkit.Notification) { n.Body = "\x00" }, userkit.CodeBadText},
		"a long collapse id":    {func(n *userkit.Notification) { n.CollapseID += "a" }, userkit.CodeTooLong},
		"a bad collapse id":     {func(n *userkit.Notification) { n.CollapseID = "a.b" }, userkit.CodeBadFormat},
		"much data":             {func(n *userkit.Notification) { n.Data = map[string]string{"message_id": good.Data["message_id"] + "a"} }, userkit.CodeTooLong},
		"no key":                {func(n *userkit.Notification) { n.Data = map[string]string{"": "a"} }, userkit.CodeBadFormat},
		"a key in upper case":   {func(n *userkit.Notification) { n.Data = map[string]string{"A": "a"} }, userkit.CodeBadFormat},
		"a key of APNs":         {func(n *userkit.Notification) { n.Data = map[string]string{"aps": "a"} }, userkit.CodeBadFormat},
		"a key of FCM":          {func(n *userkit.Notification) { n.Data = map[string]string{"google_a": "a"} }, userkit.CodeBadFormat},
		"a value without UTF-8": {func(n *userkit.Notification) { n.Data = map[string]string{"a": "\xff"} }, userkit.CodeBadText},
	} {
		bad := good
		test.change(&bad)
		require.Equal(t, test.code, userkit.ErrorCode(bad.Check()), name)
	}
}
