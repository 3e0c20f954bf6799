package userkit_test

import (
	"context"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

func TestObserversAreToldAfterTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var users userkit.Manager
		var names []userkit.EventName
		store := memory.New()
		users, err := userkit.New(store, userkit.WithObserver(func(seen userkit.Observation) {
			require.Zero(t, seen.Missed)
			for _, event := range seen.Events {
				names = append(names, event.Name)
				if event.Name == userkit.EventUserUpdated { // it is committed, and the manager can be called
					user, err := users.User(context.Background(), event.UserID)
					require.NoError(t, err)
					require.Equal(t, "Ada", user.Name)
				}
				if len(event.Data) > 0 {
					event.Data[0] = 'x' // the observer's own copy
				}
			}
		}))
		require.NoError(t, err)
		user, err := users.CreateUser(t.Context(), userkit.NewUser{Login: "ada"})
		require.NoError(t, err)
		synctest.Wait()
		_, err = users.UpdateUser(t.Context(), user.ID, userkit.UserPatch{Name: userkit.Set("Ada")})
		require.NoError(t, err)
		synctest.Wait()
		_, err = users.CreateUser(t.Context(), userkit.NewUser{Login: "ada"}) // is refused
		require.Error(t, err)
		_, err = users.CreateSegment(t.Context(), userkit.NewSegment{Name: "VIP"})
		require.NoError(t, err)
		synctest.Wait()
		_, err = users.WithStore(store).DeactivateUser(t.Context(), user.ID) // may be rolled back by the host
		require.NoError(t, err)
		_, err = users.DeleteUser(t.Context(), user.ID, user.ID.String())
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, []userkit.EventName{userkit.EventUserCreated, userkit.EventUserUpdated, userkit.EventSegmentCreated, userkit.EventUserDeleted}, names)
		events, err := users.Events(t.Context(), userkit.EventQuery{})
		require.NoError(t, err)
		for _, event := range events.Items {
			require.NotContains(t, string(event.Data), "x\"", "the store keeps its own")
		}
		require.NoError(t, users.Close(t.Context()))
	})
}

// TestObserversMayDoAnything has one that panics, one that ends its goroutine and one that
// hangs beside one that works.
func TestObserversMayDoAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		told, late, calls := 0, userkit.Observation{}, 0
		users, err := userkit.New(memory.New(), userkit.WithLogger(slog.New(slog.DiscardHandler)),
			userkit.WithObserver(func(userkit.Observation) { panic("broken") }),
			userkit.WithObserver(func(userkit.Observation) { runtime.Goexit() }),
			userkit.WithObserver(func(seen userkit.Observation) {
				if calls++; calls == 1 {
					<-release
				} else {
					late = seen
				}
			}),
			userkit.WithObserver(func(seen userkit.Observation) { told += len(seen.Events) }))
		require.NoError(t, err)
		user, err := users.CreateUser(t.Context(), userkit.NewUser{Login: "ada"})
		require.NoError(t, err)
		synctest.Wait()
		const more = userkit.MaxObserved + 7
		var last userkit.Event
		for range more {
			last, err = users.RecordEvent(t.Context(), user.ID, userkit.NewEvent{Name: "host.event"})
			require.NoError(t, err)
		}
		synctest.Wait()
		require.Equal(t, more+1, told)
		close(release)
		synctest.Wait()
		require.Len(t, late.Events, userkit.MaxObserved)
		require.Equal(t, 7, late.Missed)
		require.Equal(t, last.ID, late.Events[userkit.MaxObserved-1].ID, "those that were missed are before the others")
		require.NoError(t, users.Close(t.Context()))
	})
	_, err := userkit.New(memory.New(), userkit.WithObserver(nil))
	requireErrorCode(t, userkit.CodeInvalidOption, err)
}

func TestFollowWaitsForEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		users, err := userkit.New(store)
		require.NoError(t, err)
		other, err := userkit.New(store) // as another process
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		type item struct {
			name userkit.EventName
			at   time.Time
			err  error
		}
		follow := func(ctx context.Context) chan item {
			items := make(chan item, 100)
			go func() {
				defer close(items)
				for event, err := range users.Follow(ctx, "") {
					items <- item{event.Name, time.Now(), err}
				}
			}()
			return items
		}
		user, err := users.CreateUser(t.Context(), userkit.NewUser{Login: "ada"})
		require.NoError(t, err)
		items := follow(ctx)
		require.Equal(t, userkit.EventUserCreated, (<-items).name)
		time.Sleep(time.Hour)
		require.Empty(t, items)
		began := time.Now()
		_, err = users.DeactivateUser(t.Context(), user.ID)
		require.NoError(t, err)
		seen := <-items
		require.Equal(t, userkit.EventUserDeactivated, seen.name)
		require.LessOrEqual(t, seen.at.Sub(began), 10*time.Millisecond)
		_, err = other.ActivateUser(t.Context(), user.ID)
		require.NoError(t, err)
		began = time.Now()
		seen = <-items
		require.Equal(t, userkit.EventUserActivated, seen.name)
		require.LessOrEqual(t, seen.at.Sub(began), time.Second)
		cancel()
		require.ErrorIs(t, (<-items).err, context.Canceled)
		_, more := <-items
		require.False(t, more)

		items = follow(t.Context())
		for range 3 {
			require.NoError(t, (<-items).err)
		}
		require.NoError(t, users.Close(t.Context()))
		requireErrorCode(t, userkit.CodeClosed, (<-items).err)
		for _, err := range other.Follow(t.Context(), "damaged") {
			requireErrorCode(t, userkit.CodeInvalidCursor, err)
		}
		for event, err := range other.Follow(t.Context(), "") {
			require.NoError(t, err)
			require.NotEmpty(t, event.Cursor)
			break // whoever has enough stops
		}
		require.NoError(t, other.Close(t.Context()))
	})
}
