package userkit_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

func TestUserNames(t *testing.T) {
	users, err := userkit.New(memory.New())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, users.Close(t.Context())) })
	ada, err := users.CreateUser(t.Context(), userkit.NewUser{Name: "Ada Lovelace", Login: "ada"})
	require.NoError(t, err)
	bob, err := users.CreateUser(t.Context(), userkit.NewUser{Email: "bob@example.org"})
	require.NoError(t, err)
	ids := []userkit.UserID{bob.ID, {}, ada.ID, bob.ID, userkit.NewID[userkit.User]()}
	names, err := users.UserNames(t.Context(), ids)
	require.NoError(t, err)
	require.Equal(t, map[userkit.UserID]string{ada.ID: "Ada Lovelace", bob.ID: "bob@example.org"}, names)
	require.Equal(t, bob.ID, ids[0], "the ids stay in the order of the caller")

	for _, none := range [][]userkit.UserID{nil, {{}}} {
		names, err = users.UserNames(t.Context(), none)
		require.NoError(t, err)
		require.Empty(t, names)
		require.NotNil(t, names)
	}

	many := make([]userkit.UserID, userkit.MaxPageLimit+1)
	for i := range many {
		many[i] = userkit.NewID[userkit.User]()
	}
	_, err = users.UserNames(t.Context(), many[1:])
	require.NoError(t, err)
	_, err = users.UserNames(t.Context(), many)
	require.ErrorIs(t, err, userkit.ErrInvalid)
	require.Equal(t, userkit.CodeTooLong, userkit.ErrorCode(err))
}

// A role that may list users may see what they are called; another does not.
func TestWhoListsUsersSeesTheirNames(t *testing.T) {
	roles, err := userkit.NewRoles(map[string]userkit.Role{
		"list": {Operations: []string{"users.list"}, Scope: userkit.Equal("country", "DE")}, "read": {Operations: []string{"users.get"}},
	}, func(_ context.Context, actor userkit.Actor) []string { return []string{actor.ID} })
	require.NoError(t, err)
	store := memory.New()
	host, err := userkit.New(store)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close(context.WithoutCancel(t.Context()))) })
	emmy, err := host.CreateUser(t.Context(), userkit.NewUser{Name: "Emmy Noether", Country: "DE"})
	require.NoError(t, err)
	ada, err := host.CreateUser(t.Context(), userkit.NewUser{Name: "Ada Lovelace", Country: "GB"})
	require.NoError(t, err)
	manager := authorizing(t, store, roles)
	as := func(role string) context.Context {
		return userkit.WithActor(t.Context(), userkit.Actor{Kind: userkit.ActorAdministrator, ID: role})
	}
	names, err := manager.UserNames(as("list"), []userkit.UserID{emmy.ID, ada.ID})
	require.NoError(t, err)
	require.Equal(t, map[userkit.UserID]string{emmy.ID: "Emmy Noether"}, names)
	_, err = manager.UserNames(as("read"), []userkit.UserID{emmy.ID})
	require.Equal(t, userkit.CodeNotAllowed, userkit.ErrorCode(err))
}
