package userkit_test

import (
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
