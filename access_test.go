package userkit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAccess(t *testing.T) {
	used := Traffic{Limit: TrafficLimit{Bytes: 100, Reset: ResetDaily}, Used: 100, Period: Day{2026, 5, 4}}
	spared := used
	spared.Used = 99
	midnight := time.Date(2026, 5, 5, 0, 0, 0, 0, time.UTC)
	later := noon.Add(48 * time.Hour)
	cases := []struct {
		name string
		user User
		want Access
	}{
		{"an active user", User{Status: StatusActive}, Access{Allowed: true}},
		{"an invited user", User{Status: StatusInvited}, Access{Allowed: true}},
		{"an inactive user", User{Status: StatusInactive}, Access{Reasons: []AccessReason{CodeUserInactive}}},
		{"a disabled user", User{Status: StatusDisabled}, Access{Reasons: []AccessReason{CodeUserDisabled}}},
		{"a user with an end", User{Status: StatusActive, Account: Account{ExpiresAt: later}}, Access{Allowed: true, Until: later}},
		{"a user at its end", User{Status: StatusActive, Account: Account{ExpiresAt: noon}}, Access{Reasons: []AccessReason{CodeUserExpired}}},
		{"a byte left", User{Status: StatusActive, Account: Account{Traffic: spared}}, Access{Allowed: true, NextReset: midnight}},
		{"no byte left", User{Status: StatusActive, Account: Account{Traffic: used}}, Access{Reasons: []AccessReason{CodeTrafficLimit}, Until: midnight, NextReset: midnight}},
		{"everything at once", User{Status: StatusDisabled, Account: Account{Traffic: used, ExpiresAt: noon}},
			Access{Reasons: []AccessReason{CodeUserDisabled, CodeUserExpired, CodeTrafficLimit}, NextReset: midnight}},
		{"a validity that has not begun", User{Status: StatusActive, Account: Account{ValidFor: Duration(time.Hour)}}, Access{Allowed: true}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			access := c.user.Access(noon, time.UTC)
			require.Equal(t, c.want, access)
			if err := access.refusal(); c.want.Allowed {
				require.NoError(t, err)
			} else {
				require.Equal(t, c.want.Reasons[0], ErrorCode(err))
				require.ErrorIs(t, err, ErrRefused)
			}
		})
	}
	without := cases[0].user.Access(noon, time.UTC).withoutSlot()
	require.Equal(t, Access{Reasons: []AccessReason{CodeNoDeviceSlot}}, without)
}
