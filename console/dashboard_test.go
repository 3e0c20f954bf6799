package console

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// slowTraffic is a manager that answers one person what all users used only when it is let.
type slowTraffic struct {
	userkit.Manager
	asked, let chan struct{}
}

func (s slowTraffic) Traffic(ctx context.Context, user userkit.UserID, from, to userkit.Day) ([]userkit.DayUsage, error) {
	if userkit.ActorFrom(ctx).ID == "slow" {
		s.asked <- struct{}{}
		<-s.let
	}
	return s.Manager.Traffic(ctx, user, from, to)
}

// TestNobodyWaitsForTheOverviewOfAnother opens the overview of two people, of whom one
// waits for the store, and that of this one a second time.
func TestNobodyWaitsForTheOverviewOfAnother(t *testing.T) {
	s := newSite(t)
	users := slowTraffic{s.users, make(chan struct{}), make(chan struct{})}
	c := newConsole(users, WithActor(func(r *http.Request) (userkit.Actor, error) {
		return userkit.Actor{Kind: userkit.ActorAdministrator, ID: r.Header.Get("Person")}, nil
	}))
	mux := http.NewServeMux()
	mux.Handle("/admin/", http.HandlerFunc(c.serve))
	open := func(ctx context.Context, person string) int {
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/admin/", nil)
		r.Header.Set("Person", person)
		recorder := httptest.NewRecorder()
		mux.ServeHTTP(recorder, r)
		return recorder.Code
	}
	opened := make(chan int)
	go func() { opened <- open(t.Context(), "slow") }()
	<-users.asked
	require.Equal(t, http.StatusOK, open(t.Context(), "quick"))

	// A second page of the same person waits for the first, and no longer than somebody looks.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	open(ctx, "slow")

	close(users.let)
	require.Equal(t, http.StatusOK, <-opened)
	require.Equal(t, http.StatusOK, open(t.Context(), "slow"), "it is not asked for again within a minute")
}
