package storetest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func authorizerGroups() []group {
	return []group{{"Authorizer", []testCase{
		{"narrows calls to the users of its scope, and its refusals are events", authorizerScope},
		{"shows and changes nothing outside of the scope, by any method", scopeHoldsEverywhere},
	}}}
}

func authorizerScope(t *testing.T, env env) {
	host := env.desk(t)
	list, err := host.CreateSegment(t.Context(), userkit.NewSegment{Name: "mine"})
	require.NoError(t, err)
	mine, other := host.signUp(t), host.signUp(t)
	device := host.register(t, other.ID, userkit.NewDevice{})
	require.NoError(t, host.AddToSegments(t.Context(), mine.ID, list.ID))
	desk := host.beside(t, env.store, userkit.WithAuthorizer(userkit.AuthorizerFunc(
		func(_ context.Context, request userkit.AuthorizationRequest) (userkit.Authorization, error) {
			return userkit.Authorization{Allowed: request.Operation.Name != "segments.list", Scope: userkit.InSegment(list.ID)}, nil
		})))
	ctx := userkit.WithActor(t.Context(), administrator)

	page, err := desk.Users(ctx, userkit.UserQuery{})
	require.NoError(t, err)
	require.Len(t, page.Items, 1)
	require.Equal(t, mine.ID, page.Items[0].ID)
	_, err = desk.User(ctx, mine.ID)
	require.NoError(t, err)
	_, err = desk.Segments(ctx, userkit.SegmentQuery{})
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeNotAllowed)
	_, err = desk.Devices(ctx, userkit.DeviceQuery{})
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeUserRequired)
	devices, err := desk.Devices(ctx, userkit.DeviceQuery{DeviceFilter: userkit.DeviceFilter{UserID: mine.ID}})
	require.NoError(t, err)
	require.Empty(t, devices.Items)
	_, err = desk.Device(ctx, userkit.NewID[userkit.Device]())
	unknown := err
	_, err = desk.Device(ctx, device.ID)
	require.Equal(t, err, unknown, "whether there is such a device is nobody's business")
	before := len(host.events(t, other.ID))
	_, err = desk.UpdateDevice(ctx, device.ID, userkit.DevicePatch{Name: userkit.Set("taken over")})
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeNotAllowed)
	events := host.events(t, other.ID)
	require.Len(t, events, before+1)
	refused := events[before]
	require.Equal(t, userkit.EventAccessRefused, refused.Name)
	require.Equal(t, administrator, refused.Actor)
	require.JSONEq(t, `{"operation": "devices.update", "code": "not_allowed", "device": "`+device.ID.String()+`"}`, string(refused.Data))
	project, err := host.Events(t.Context(), userkit.EventQuery{EventFilter: userkit.EventFilter{Name: userkit.EventAccessRefused}})
	require.NoError(t, err)
	require.Len(t, project.Items, 5)
	require.Zero(t, project.Items[4].UserID)
}
