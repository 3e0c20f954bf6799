package postgres_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// Several devices had one push token. The one for which it was set last keeps it, none is lost,
// and whoever decided on a device as it was before has to decide again.
func TestMigrationLeavesAPushTokenToOneDevice(t *testing.T) {
	dsn := migrateBefore(t, "0028_push_token_holders.sql")
	db := openDB(t, dsn)
	db.SetMaxOpenConns(1)
	user := insertBareUser(t, db)
	other := insertBareUser(t, db)
	alone := insertBareUser(t, db)
	var devices []userkit.DeviceID
	for i, d := range []struct {
		user  userkit.UserID
		token string
		set   any
	}{
		{user, "app", "2026-03-01T12:00:00Z"},
		{other, "app", "2026-03-01T12:00:01Z"},
		{user, "app", nil},
		{user, "own", "2026-03-01T12:00:00Z"},
		{other, "", nil},
		{user, "", nil},
		{alone, "app2", nil},
	} {
		devices = append(devices, userkit.NewID[userkit.Device]())
		_, err := db.Exec(`INSERT INTO userkit.devices SELECT (jsonb_populate_record(NULL::userkit.devices, jsonb_build_object(
'project', 'default', 'id', ?, 'user_id', ?, 'name', 'phone', 'type', 'ios', 'hardware_id', '', 'push_token', ?, 'push_token_set_at', ?::timestamptz,
'latitude', 0, 'longitude', 0, 'accuracy', 0, 'token_digest', sha256(convert_to(?::text, 'UTF8')), 'token_hint', 'hint', 'registered_at', '2026-01-01T00:00:00Z'))).*`, devices[i].String(), d.user.String(), d.token, d.set, i)
		require.NoError(t, err)
	}
	store := openStore(t, dsn)
	require.NoError(t, store.Migrate(t.Context()))
	set := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i, want := range []struct {
		token string
		set   time.Time
	}{{"", time.Time{}}, {"app", set.Add(time.Second)}, {"", time.Time{}}, {"own", set}, {"", time.Time{}}, {"", time.Time{}}, {"app2", time.Time{}}} {
		device, err := store.Device(t.Context(), devices[i])
		require.NoError(t, err)
		require.Equal(t, want.token, device.PushToken, i)
		require.Equal(t, want.set, device.PushTokenSetAt, i)
	}
	for user, version := range map[userkit.UserID]int64{user: 6, other: 5, alone: 5} {
		states, err := store.Load(t.Context(), []userkit.Want{{User: user}})
		require.NoError(t, err)
		require.Equal(t, version, states[0].User.Version)
	}
	var cursor userkit.FeedPosition
	followTo(t, store, &cursor, 2)
	events, err := store.Events(t.Context(), userkit.EventFilter{}, userkit.ListRange{Order: userkit.Order{Field: "at"}, Limit: 10})
	require.NoError(t, err)
	require.Len(t, events, 2)
	for _, event := range events {
		require.Equal(t, userkit.EventPushTokenMoved, event.Name)
		require.Equal(t, user, event.UserID)
	}
	require.ElementsMatch(t, []userkit.DeviceID{devices[0], devices[2]}, []userkit.DeviceID{events[0].DeviceID, events[1].DeviceID})
}
