package userkit

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGravatarURL(t *testing.T) {
	const ada = "b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72" // printf ada@example.com | sha256sum
	user := User{Email: "Ada@Example.com"}
	require.Equal(t, User{Email: "ada@example.com"}.GravatarURL(80), user.GravatarURL(80))
	require.Equal(t, "https://gravatar.com/avatar/"+ada+"?d=404&s=80", user.GravatarURL(80))
	require.Contains(t, user.GravatarURL(0), "s=1")
	require.Contains(t, user.GravatarURL(9999), "s=2048")
	require.Empty(t, User{}.GravatarURL(80))
}

func TestInitials(t *testing.T) {
	for name, want := range map[string]string{
		"Ada Lovelace": "AL", "ada king lovelace": "AL", "Ada": "A", "": "?", "  ": "?", "élan vital": "ÉV",
		"e\u0301lan": "E\u0301", "王 小明": "王小", "ǆungla": "ǅ", "(Ada) [Lovelace]": "AL", "42": "4",
	} {
		require.Equal(t, want, User{Name: name}.Initials(), name)
	}
	require.Equal(t, "B", User{Name: "!", Login: "bob.smith"}.Initials())
	require.Equal(t, "C", User{Email: "carol@example.com"}.Initials())
}
