package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func connectionGroups() []group {
	return []group{{"Connect", []testCase{
		{"lets an administrator work on one user, with both names in every event", connectionWorks},
		{"ends at once, in every process and in the middle of a change", connectionEnds},
		{"is listed by user, administrator and whether it can be used", connectionLists},
	}}}
}

// connectTo connects the administrator to a user and returns the context.
func (d *desk) connectTo(t *testing.T, user userkit.UserID) (context.Context, userkit.Connection) {
	t.Helper()
	ctx := userkit.WithActor(t.Context(), administrator)
	connection, err := d.Connect(ctx, user, userkit.ConnectOptions{Reason: "ticket 7"})
	require.NoError(t, err)
	resumed, err := d.Resume(ctx, connection.ID)
	require.NoError(t, err)
	return resumed, connection
}

func connectionWorks(t *testing.T, env env) {
	d := env.desk(t)
	user, other := d.signUp(t), d.signUp(t)
	device := d.register(t, user.ID, userkit.NewDevice{})
	theirs := d.register(t, other.ID, userkit.NewDevice{})
	ctx, connection := d.connectTo(t, user.ID)
	require.Equal(t, userkit.Connection{
		ID: connection.ID, UserID: user.ID, Actor: administrator, Reason: "ticket 7",
		StartedAt: d.clock.Now(), ExpiresAt: d.clock.Now().Add(30 * time.Minute),
	}, connection)

	both := administrator
	both.OnBehalfOf = user.ID
	events := d.eventsDuring(t, user.ID, func() {
		_, err := d.UpdateUser(ctx, user.ID, userkit.UserPatch{Name: userkit.Set("Edited")})
		require.NoError(t, err)
		_, err = d.UpdateDevice(ctx, device.ID, userkit.DevicePatch{Name: userkit.Set("Edited")})
		require.NoError(t, err)
		_, err = d.Refill(ctx, user.ID, userkit.Entry{Amount: userkit.Money{Amount: 5, Currency: user.Balance.Currency}, Key: "k"})
		require.NoError(t, err)
	})
	require.Len(t, events, 3)
	for _, event := range events {
		require.Equal(t, both, event.Actor)
	}
	page, err := d.Users(ctx, userkit.UserQuery{})
	require.NoError(t, err)
	require.Len(t, page.Items, 1)
	require.Equal(t, user.ID, page.Items[0].ID)
	devices, err := d.Devices(ctx, userkit.DeviceQuery{})
	require.NoError(t, err)
	require.Len(t, devices.Items, 1)
	require.Equal(t, user.ID, devices.Items[0].UserID)
	_, err = d.User(ctx, other.ID)
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeOtherUser)
	_, err = d.UpdateDevice(ctx, theirs.ID, userkit.DevicePatch{Name: userkit.Set("taken over")})
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeOtherUser)
}

func connectionEnds(t *testing.T, env env) {
	d := env.desk(t)
	elsewhere := d.beside(t, env.second(t))
	user := d.signUp(t)
	ctx, connection := d.connectTo(t, user.ID)
	edit := func() error {
		_, err := elsewhere.UpdateUser(ctx, user.ID, userkit.UserPatch{Name: userkit.Set(d.clock.Now().String())})
		return err
	}
	require.NoError(t, edit())
	revoker := userkit.Actor{Kind: userkit.ActorAdministrator, ID: "revoker"}
	ended, err := d.Disconnect(userkit.WithActor(t.Context(), revoker), connection.ID)
	require.NoError(t, err)
	require.Equal(t, d.clock.Now(), ended.EndedAt)
	require.Equal(t, revoker, ended.EndedBy)
	requireCode(t, edit(), userkit.ErrForbidden, userkit.CodeConnectionEnded)
	_, err = elsewhere.User(ctx, user.ID)
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeConnectionEnded)
	_, err = elsewhere.Resume(userkit.WithActor(t.Context(), administrator), connection.ID)
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeConnectionEnded)
	again, err := d.Disconnect(t.Context(), connection.ID)
	require.NoError(t, err)
	require.Equal(t, ended, again)

	// The connection ends between the door and the commit of a change.
	ctx, connection = d.connectTo(t, user.ID)
	late := d.beside(t, &endingStore{Store: env.store, end: func() {
		_, err := d.Disconnect(t.Context(), connection.ID)
		require.NoError(t, err)
	}})
	before := d.user(t, user.ID).Name
	_, err = late.UpdateUser(ctx, user.ID, userkit.UserPatch{Name: userkit.Set("too late")})
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeConnectionEnded)
	require.Equal(t, before, d.user(t, user.ID).Name)

	ctx, _ = d.connectTo(t, user.ID)
	d.clock.Advance(30 * time.Minute)
	_, err = d.User(ctx, user.ID)
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeConnectionEnded)

	ctx, _ = d.connectTo(t, user.ID)
	_, err = d.DeleteUser(t.Context(), user.ID, user.ID.String())
	require.NoError(t, err)
	_, err = d.User(ctx, user.ID)
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeConnectionEnded)
}

// endingStore ends something before its first commit.
type endingStore struct {
	userkit.Store
	once sync.Once
	end  func()
}

func (s *endingStore) Commit(ctx context.Context, changes []userkit.Change) ([]error, error) {
	s.once.Do(s.end)
	return s.Store.Commit(ctx, changes)
}

func connectionLists(t *testing.T, env env) {
	d := env.desk(t)
	one, other := d.signUp(t), d.signUp(t)
	_, first := d.connectTo(t, one.ID)
	d.clock.Advance(20 * time.Minute)
	_, second := d.connectTo(t, other.ID)
	_, third := d.connectTo(t, one.ID)
	third, err := d.Disconnect(t.Context(), third.ID)
	require.NoError(t, err)
	d.clock.Advance(15 * time.Minute)
	for name, list := range map[string]struct {
		filter userkit.ConnectionFilter
		want   []userkit.Connection
	}{
		"all":           {userkit.ConnectionFilter{}, []userkit.Connection{third, second, first}},
		"of a user":     {userkit.ConnectionFilter{UserID: one.ID}, []userkit.Connection{third, first}},
		"open":          {userkit.ConnectionFilter{OpenAt: d.clock.Now()}, []userkit.Connection{second}},
		"of the actor":  {userkit.ConnectionFilter{ActorID: administrator.ID, UserID: other.ID}, []userkit.Connection{second}},
		"of no one":     {userkit.ConnectionFilter{ActorID: "nobody"}, nil},
		"open then":     {userkit.ConnectionFilter{OpenAt: second.StartedAt, UserID: one.ID}, []userkit.Connection{first}},
		"of a stranger": {userkit.ConnectionFilter{UserID: userkit.NewID[userkit.User]()}, nil},
	} {
		var got []userkit.Connection
		query := userkit.ConnectionQuery{ConnectionFilter: list.filter, PageQuery: userkit.PageQuery{Limit: 2}}
		for {
			page, err := d.Connections(t.Context(), query)
			require.NoError(t, err)
			got = append(got, page.Items...)
			if page.Next == "" {
				break
			}
			query.Cursor = page.Next
		}
		require.Equal(t, list.want, got, name)
	}
}
