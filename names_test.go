package userkit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// Whoever logs in by a name that is one user's login and another's email address would be
// taken for the other.
func TestNoLoginIsTheEmailAddressOfAnother(t *testing.T) {
	ctx := t.Context()
	users, err := userkit.New(memory.New())
	require.NoError(t, err)
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada", Email: "ada@example.org"})
	require.NoError(t, err)
	bob, err := users.CreateUser(ctx, userkit.NewUser{Login: "bob@example.org", Email: "bob@example.org"})
	require.NoError(t, err, "one's own")
	mail, err := users.CreateUser(ctx, userkit.NewUser{Login: "mail@example.org"})
	require.NoError(t, err, "nobody's yet")

	for name, user := range map[string]userkit.NewUser{
		"as it is":         {Login: "ada@example.org"},
		"in other letters": {Login: "ADA@Example.org", Email: "other@example.org"},
	} {
		_, err = users.CreateUser(ctx, user)
		require.Equal(t, userkit.CodeLoginTaken, userkit.ErrorCode(err), name)
	}
	_, err = users.CreateUser(ctx, userkit.NewUser{Login: "eve", Email: "Mail@example.org"})
	require.Equal(t, userkit.CodeEmailTaken, userkit.ErrorCode(err))
	_, err = users.UpdateUser(ctx, bob.ID, userkit.UserPatch{Login: userkit.Set("ada@example.org")})
	require.Equal(t, userkit.CodeLoginTaken, userkit.ErrorCode(err))
	_, err = users.UpdateUser(ctx, ada.ID, userkit.UserPatch{Email: userkit.Set("mail@example.org")})
	require.Equal(t, userkit.CodeEmailTaken, userkit.ErrorCode(err))
	_, err = users.UpdateUser(ctx, mail.ID, userkit.UserPatch{Email: userkit.Set("mail@example.org"), Name: userkit.Set("Mail")})
	require.NoError(t, err, "one's own login")
	_, err = users.UpdateUser(ctx, ada.ID, userkit.UserPatch{Login: userkit.Set("ada@example.org")})
	require.NoError(t, err, "one's own email address")

	record := func(login, email string) userkit.UserImport {
		record := userkit.UserImport{Key: userkit.ByLogin(login)}
		require.NoError(t, record.Draft.Set("login", login))
		require.NoError(t, record.Draft.Set("email", email))
		return record
	}
	for _, dry := range []bool{true, false} {
		outcomes, err := users.ImportUsers(ctx, userkit.ImportOptions{DryRun: dry}, []userkit.UserImport{
			record("new", "mail@example.org"), record("bob@example.org", "ada@example.org"),
			record("cyd", "cyd@example.org"), record("first@example.org", "x@example.org"), record("second", "first@example.org"),
		})
		require.NoError(t, err)
		var codes []userkit.Code
		for _, outcome := range outcomes {
			codes = append(codes, userkit.ErrorCode(outcome.Err))
		}
		require.Equal(t, []userkit.Code{userkit.CodeEmailTaken, userkit.CodeEmailTaken, ""}, codes[:3])
		if dry {
			require.Equal(t, []userkit.Code{"", userkit.CodeEmailTaken}, codes[3:], "in their order")
		} else {
			require.Contains(t, [][]userkit.Code{{"", userkit.CodeEmailTaken}, {userkit.CodeLoginTaken, ""}}, codes[3:], "one of the two")
		}
	}
}
