package userio_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
	"github.com/userkit/userkit/userio"
)

// An export looks at its users when and where the manager does.
func TestExportAndCountAgree(t *testing.T) {
	zone, err := time.LoadLocation("Asia/Tokyo")
	require.NoError(t, err)
	now := time.Date(2001, 2, 3, 20, 0, 0, 0, time.UTC) // the fourth in Tokyo
	manager, err := userkit.New(memory.New(), userkit.WithClock(func() time.Time { return now }), userkit.WithTimeZone(zone))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, manager.Close(context.Background())) })
	_, err = manager.CreateUser(t.Context(), userkit.NewUser{Login: "ada", Status: userkit.StatusActive, ExpiresAt: now.Add(time.Hour)})
	require.NoError(t, err)

	for _, filter := range []userkit.Filter{userkit.Equal("access", userkit.AccessAllowed), userkit.Equal("access", "user_expired")} {
		query := userkit.UserQuery{UserFilter: userkit.UserFilter{Filter: filter}}
		count, err := manager.CountUsers(t.Context(), query.UserFilter)
		require.NoError(t, err)
		var file strings.Builder
		report, err := userio.Export(t.Context(), manager, &file, userio.ExportOptions{Query: query, Columns: []string{"login", "access"}})
		require.NoError(t, err)
		require.Equal(t, count, report.Rows, filter)
		if count > 0 {
			require.Equal(t, "login,access\r\nada,allowed\r\n", file.String())
		}
	}
	require.Equal(t, userkit.Moment{At: now, Zone: zone}, manager.Project().Moment())
}
