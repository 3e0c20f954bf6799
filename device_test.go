package userkit

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// deviceState is an active user with devices registered one hour after another;
// the first was seen last.
func deviceState(count int) *State {
	state := &State{Exists: true, base: 1, User: User{ID: NewID[User](), Status: StatusActive, Account: Account{Version: 1, Devices: count}}}
	state.complete = completeness{devices: true, openSessions: true}
	for i := range count {
		state.Devices = append(state.Devices, DeviceRecord{Device: Device{
			ID: NewID[Device](), UserID: state.User.ID, RegisteredAt: noon.Add(time.Duration(i) * time.Hour), LastSeenAt: noon.Add(time.Duration(100-i) * time.Hour),
		}})
	}
	return state
}

func register(state *State, device NewDevice, slots int, policy DevicePolicy) (Device, Change, error) {
	return device.register(state, testOrigin(noon.Add(1000*time.Hour)), NewID[Device](), newToken(), nil, slots, policy)
}

func TestDevicePolicies(t *testing.T) {
	state := deviceState(3)
	_, _, err := register(state, NewDevice{Name: "new"}, 3, DeviceRefuse)
	require.Equal(t, CodeDeviceLimit, ErrorCode(err))
	_, c, err := register(state, NewDevice{Name: "new"}, 3, DeviceReplaceOldest)
	require.NoError(t, err)
	require.Equal(t, []DeviceID{state.Devices[0].ID}, c.Devices.Delete)
	require.Equal(t, 3, c.Account.Devices)
	_, c, err = register(state, NewDevice{Name: "new"}, 3, DeviceReplaceIdlest)
	require.NoError(t, err)
	require.Equal(t, []DeviceID{state.Devices[2].ID}, c.Devices.Delete)
	_, c, err = register(state, NewDevice{Name: "new"}, 1, DeviceReplaceOldest)
	require.NoError(t, err)
	require.Len(t, c.Devices.Delete, 3, "the license was lowered meanwhile: all make room for the one")
	require.Equal(t, 1, c.Account.Devices)
	_, c, err = register(state, NewDevice{Name: "new"}, 0, DeviceRefuse)
	require.NoError(t, err, "no limit")
	require.Equal(t, 4, c.Account.Devices)
}

func TestReplacedDeviceLosesItsSessions(t *testing.T) {
	state := deviceState(2)
	state.User.OpenSessions = 2
	for _, device := range state.Devices {
		state.Sessions = append(state.Sessions, Session{ID: NewID[Session](), UserID: state.User.ID, DeviceID: device.ID, StartedAt: noon})
	}
	_, c, err := register(state, NewDevice{}, 2, DeviceReplaceOldest)
	require.NoError(t, err)
	require.Len(t, c.Sessions.Update, 1)
	require.Equal(t, state.Sessions[0].ID, c.Sessions.Update[0].ID)
	require.Equal(t, EndedDeviceDeleted, c.Sessions.Update[0].EndReason)
	require.Equal(t, 1, c.Account.OpenSessions)
}

func TestSlotsGoToTheDevicesRegisteredFirst(t *testing.T) {
	state := deviceState(3)
	for i, device := range state.Devices {
		require.Equal(t, i < 2, state.hasSlot(device.ID, 2))
		require.True(t, state.hasSlot(device.ID, 0))
		require.True(t, state.hasSlot(device.ID, 3))
	}
}

func TestSealedTokens(t *testing.T) {
	old, current := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	id, token := NewID[Device](), newToken()
	first, err := newSealer([][]byte{old})
	require.NoError(t, err)
	sealed := first.seal(id, token)
	require.NotContains(t, string(sealed), token)
	both, err := newSealer([][]byte{current, old})
	require.NoError(t, err)
	opened, err := both.open(id, sealed)
	require.NoError(t, err)
	require.Equal(t, token, opened)
	require.False(t, both.current(sealed))
	require.True(t, both.current(both.seal(id, token)))
	_, err = both.open(NewID[Device](), sealed)
	require.Equal(t, CodeSealingKeyMissing, ErrorCode(err), "moved to another device")
	sealed[len(sealed)-1] ^= 1
	_, err = both.open(id, sealed)
	require.Equal(t, CodeSealingKeyMissing, ErrorCode(err), "tampered with")
	_, err = both.open(id, sealed[:9])
	require.Equal(t, CodeSealingKeyMissing, ErrorCode(err), "cut")
	_, err = both.open(id, nil)
	require.Equal(t, CodeTokenNotSealed, ErrorCode(err))
	var none *sealer
	require.Nil(t, none.seal(id, token))
	_, err = newSealer([][]byte{old[:31]})
	require.Equal(t, CodeInvalidOption, ErrorCode(err))
}

func TestTokens(t *testing.T) {
	token := newToken()
	require.Len(t, token, 4+43)
	require.NotEqual(t, token, newToken())
	_, ok := digestToken(token)
	require.True(t, ok)
	for _, bad := range []string{"", "ukd_", token[:46], token + "a", "xyz_" + token[4:], token[4:]} {
		_, ok := digestToken(bad)
		require.False(t, ok, bad)
	}
}

func TestHardwareIDKey(t *testing.T) {
	for key, ids := range map[string][]string{
		"00:1a:2b:3c:4d:5e":                    {"00:1A:2B:3C:4D:5E", "00-1a-2b-3C-4d-5e", "001A.2B3C.4D5E", "00:1a:2b:3c:4d:5e"},
		"02:00:5e:10:00:00:00:01":              {"02-00-5E-10-00-00-00-01"},
		"0fedcba9-8765-7432-9876-0123456789ab": {"0FEDCBA9-8765-7432-9876-0123456789AB"},
		"ABC":                                  {"ABC"}, "abc": {"abc"}, "001A2B3C4D5E": {"001A2B3C4D5E"}, "": {""}, "SN-00-1A": {"SN-00-1A"},
		"{0FEDCBA9-8765-7432-9876-0123456789AB}": {"{0FEDCBA9-8765-7432-9876-0123456789AB}"},
	} {
		for _, id := range ids {
			require.Equal(t, key, HardwareIDKey(id), id)
		}
	}
	require.ElementsMatch(t, []string{
		"00:1a:2b:3c:4d:5e", "00:1A:2B:3C:4D:5E", "00-1a-2b-3c-4d-5e", "00-1A-2B-3C-4D-5E", "001a.2b3c.4d5e", "001A.2B3C.4D5E",
	}, hardwareSpellings("00:1a:2b:3c:4d:5e"))
	require.Equal(t, []string{"abc"}, hardwareSpellings("abc"))
	require.Len(t, hardwareSpellings("0fedcba9-8765-7432-9876-0123456789ab"), 2)
	require.Equal(t, []string{"11111111-1111-1111-1111-111111111111"}, hardwareSpellings("11111111-1111-1111-1111-111111111111"))
}

// A device that an earlier version kept in another spelling is the same one.
func TestDevicesAreFoundInAnySpelling(t *testing.T) {
	for _, kept := range []string{"00-1A-2B-3C-4D-5E", "00:1a:2b:3c:4d:5e"} {
		old := DeviceRecord{Device: Device{ID: NewID[Device](), HardwareID: kept}}
		state := &State{Exists: true, User: User{Status: StatusActive, Account: Account{Devices: 1}}, Devices: []DeviceRecord{old}}
		fresh, err := NewDevice{HardwareID: "001A.2B3C.4D5E"}.normalise()
		require.NoError(t, err)
		device, _, err := fresh.register(state, testOrigin(noon), NewID[Device](), newToken(), nil, 1, DeviceRefuse)
		require.NoError(t, err)
		require.Equal(t, old.ID, device.ID)
	}
}
