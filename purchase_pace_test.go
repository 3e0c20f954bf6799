package userkit

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStoresAreAskedAtTheirPace(t *testing.T) {
	p := newPace(1.0 / 3600)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	user := UserID{15: 1}
	require.NoError(t, p.wait(t.Context(), "shop", turn{share: submissions}, user))
	require.NoError(t, p.wait(t.Context(), "shop", turn{share: submissions}, user))
	require.NoError(t, p.wait(t.Context(), "another shop", turn{share: submissions}, user))
	require.ErrorIs(t, p.wait(ended, "shop", turn{share: submissions}, user), context.Canceled)
	// The other shares are not used up.
	require.NoError(t, p.wait(t.Context(), "shop", turn{share: dueWork}, user))
	require.NoError(t, p.wait(t.Context(), "shop", turn{share: notifications}, user))
}

// Whose turn does not come in time is told so, and keeps nobody's turn.
func TestTurnsAreNotWaitedForForLong(t *testing.T) {
	p := newPace(1.0 / 3600)
	user := UserID{15: 1}
	require.NoError(t, p.wait(t.Context(), "shop", turn{dueWork, time.Hour}, user))
	require.NoError(t, p.wait(t.Context(), "shop", turn{dueWork, time.Hour}, user))
	for range 100 {
		require.ErrorIs(t, p.wait(t.Context(), "shop", turn{dueWork, time.Nanosecond}, user), errPatience)
	}
	require.Greater(t, p.at("shop").shares[dueWork].limiter.Tokens(), -0.5, "the next turn is as near as before")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, p.wait(ended, "shop", turn{dueWork, time.Hour}, user), context.Canceled)
}

func TestWhoGivesUpKeepsNoTurn(t *testing.T) {
	s := newTurnstile(1.0/3600, 1)
	require.NoError(t, s.wait(t.Context(), nil))
	for range 500 {
		impatient, cancel := context.WithCancel(t.Context())
		time.AfterFunc(0, cancel)
		require.ErrorIs(t, s.wait(impatient, nil), context.Canceled)
	}
	require.Greater(t, s.limiter.Tokens(), -0.5, "the next turn is as near as before")
}

func TestOneUserHasAShareOfTheTurns(t *testing.T) {
	c := newPace(1.0 / 3600).at("shop")
	one := c.user(UserID{15: 1})
	for range userBurst {
		require.NoError(t, one.wait(t.Context(), nil))
	}
	require.Less(t, one.limiter.Tokens(), 1.0)
	require.Same(t, one, c.user(UserID{15: 1}))
	require.InDelta(t, userBurst, c.user(UserID{15: 2}).limiter.Tokens(), 0.01)
	for n := range 2 * maxUsers {
		c.user(UserID{14: byte(n), 13: byte(n >> 8), 12: 1})
	}
	require.LessOrEqual(t, len(c.users), maxUsers+1)
	require.Same(t, one, c.user(UserID{15: 1}), "who has used up a share is not forgotten")
}
