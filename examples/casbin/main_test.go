package main

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// What the program prints is what its policies say: the auditor sees all and edits none,
// support sees a part and edits a part of that, and a stranger sees nothing.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, `noor:
  sees ada and may not edit it: not_allowed
  sees emmy and may not edit it: not_allowed
  sees sofya and may not edit it: not_allowed
emil:
  sees and edits emmy
  sees sofya and may not edit it: not_allowed
mallory:
  sees no list of users: not_allowed
`, out.String())
}

// managerOf returns a manager with policies, a German and a British user.
func managerOf(t *testing.T, policies string) (users userkit.Manager, change func(string) error, german, british userkit.UserID) {
	t.Helper()
	enforcer, err := newEnforcer("p, owner, everybody, *, any\ng, system:, owner\n" + policies)
	require.NoError(t, err)
	authorizer, err := NewAuthorizer(enforcer)
	require.NoError(t, err)
	users, err = userkit.New(memory.New(), userkit.WithAuthorizer(authorizer))
	require.NoError(t, err)
	t.Cleanup(func() { users.Close(context.Background()) })
	emmy, err := users.CreateUser(t.Context(), userkit.NewUser{Login: "emmy", Country: "DE"})
	require.NoError(t, err)
	ada, err := users.CreateUser(t.Context(), userkit.NewUser{Login: "ada", Country: "GB"})
	require.NoError(t, err)
	return users, func(filter string) error {
		_, err := enforcer.AddPolicy("support", filter, "*", "any")
		return err
	}, emmy.ID, ada.ID
}

func asEmil(ctx context.Context) context.Context {
	return userkit.WithActor(ctx, userkit.Actor{Kind: userkit.ActorAdministrator, ID: "emil"})
}

// A list has those for whom it is allowed and no others, on every page and in the count.
func TestListsAreScoped(t *testing.T) {
	users, _, _, british := managerOf(t, `
p, support, "country eq ""DE""", users.*, read
g, administrator:emil, support
`)
	for _, login := range []string{"hilbert", "klein", "noether"} {
		_, err := users.CreateUser(t.Context(), userkit.NewUser{Login: login, Country: "DE"})
		require.NoError(t, err)
	}
	emil := asEmil(t.Context())
	var seen []string
	for user, err := range userkit.All(emil, users.Users, userkit.UserQuery{PageQuery: userkit.PageQuery{Sort: "login", Limit: 2}}) {
		require.NoError(t, err)
		seen = append(seen, user.Login)
	}
	require.Equal(t, []string{"emmy", "hilbert", "klein", "noether"}, seen)
	count, err := users.CountUsers(emil, userkit.UserFilter{})
	require.NoError(t, err)
	require.EqualValues(t, 4, count)
	// The filter of the call narrows the scope and cannot widen it.
	page, err := users.Users(emil, userkit.UserQuery{UserFilter: userkit.UserFilter{Filter: userkit.Equal("country", "GB")}})
	require.NoError(t, err)
	require.Empty(t, page.Items)
	_, err = users.User(emil, british)
	require.ErrorIs(t, err, userkit.ErrForbidden)
}

// An id alone is nobody: a user with the id of an administrator, or with the name of a role,
// is a stranger.
func TestActorsOfOtherKindsAreStrangers(t *testing.T) {
	users, _, german, _ := managerOf(t, "p, support, everybody, *, any\ng, administrator:emil, support\n")
	_, err := users.User(asEmil(t.Context()), german)
	require.NoError(t, err)
	for _, actor := range []userkit.Actor{
		{Kind: userkit.ActorUser, ID: "emil"},
		{Kind: userkit.ActorAdministrator, ID: "support"},
		{Kind: userkit.ActorAdministrator, ID: "administrator:emil"},
		{Kind: userkit.ActorAdministrator},
	} {
		_, err := users.User(userkit.WithActor(t.Context(), actor), german)
		require.ErrorIs(t, err, userkit.ErrForbidden, "%+v", actor)
	}
}

// A policy holds from the call after it. One whose filter is none allows nothing, and so
// does one without a filter.
func TestPoliciesThatChange(t *testing.T) {
	users, add, german, british := managerOf(t, "g, administrator:emil, support\n")
	emil := asEmil(t.Context())
	_, err := users.User(emil, german)
	require.ErrorIs(t, err, userkit.ErrForbidden)

	require.NoError(t, add(`country eq "DE"`))
	_, err = users.User(emil, german)
	require.NoError(t, err)
	_, err = users.User(emil, british)
	require.ErrorIs(t, err, userkit.ErrForbidden)

	require.NoError(t, add(`country equals "GB"`))
	_, err = users.User(emil, british)
	require.Equal(t, userkit.CodeAuthorizerFailed, userkit.ErrorCode(err))
	_, err = users.User(t.Context(), british)
	require.NoError(t, err, "others go on")

	for _, filter := range []string{`country equals "GB"`, ""} {
		enforcer, err := newEnforcer("")
		require.NoError(t, err)
		_, err = enforcer.AddPolicy("support", filter, "*", "any")
		require.NoError(t, err)
		_, err = NewAuthorizer(enforcer)
		require.Error(t, err, filter)
	}
}

// Whom the policies let somebody list is called by name.
func TestWhoListsUsersSeesTheirNames(t *testing.T) {
	users, _, _, _ := managerOf(t, policyText)
	called, err := users.CreateUser(t.Context(), userkit.NewUser{Login: "sofya", Country: "RU", Attributes: userkit.Attributes{"callback": true}})
	require.NoError(t, err)
	names, err := users.UserNames(asEmil(t.Context()), []userkit.UserID{called.ID})
	require.NoError(t, err)
	require.Equal(t, map[userkit.UserID]string{called.ID: "sofya"}, names)
}
