package storetest

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// authenticate demands that a token is good and gives what it proves.
func (d *desk) authenticate(t *testing.T, token string) userkit.Authentication {
	t.Helper()
	proof, err := d.Authenticate(t.Context(), token)
	require.NoError(t, err)
	return proof
}

// seen makes the device be seen now, and waits until that is recorded.
func (d *desk) seen(t *testing.T, device userkit.Device) {
	t.Helper()
	d.authenticate(t, device.AccessToken)
	d.awaitSeen(t, device.ID, d.clock.Now())
}

// awaitSeen waits until a device is recorded as last seen at a moment: the
// record is best effort, so it may be there a moment after Authenticate.
func (d *desk) awaitSeen(t *testing.T, id userkit.DeviceID, when time.Time) {
	t.Helper()
	require.Eventually(t, func() bool {
		device, err := d.Device(t.Context(), id)
		return err == nil && device.LastSeenAt.Equal(when)
	}, deadline, time.Millisecond, "device %s was not recorded as seen at %s", id, when)
}

// slots says which of the devices have a slot.
func (d *desk) slots(t *testing.T, devices []userkit.Device) []bool {
	t.Helper()
	var slots []bool
	for _, device := range devices {
		proof := d.authenticate(t, device.AccessToken)
		require.Equal(t, device.ID, proof.Device.ID)
		slots = append(slots, !slices.Contains(proof.Access.Reasons, userkit.CodeNoDeviceSlot))
	}
	return slots
}

// requireInvalidToken demands that the token is not known.
func (d *desk) requireInvalidToken(t *testing.T, token string) {
	t.Helper()
	_, err := d.Authenticate(t.Context(), token)
	requireCode(t, err, userkit.ErrForbidden, userkit.CodeInvalidToken)
}

func sealingKey(fill byte) []byte { return bytes.Repeat([]byte{fill}, 32) }

func deviceGroups() []group {
	return []group{
		{"RegisterDevice", registerDeviceCases()},
		{"DevicePolicy", devicePolicyCases()},
		{"HardwareID", hardwareIDCases()},
		{"Authenticate", authenticateCases()},
		{"License", licenseCases()},
		{"UpdateDevice", updateDeviceCases()},
		{"DeleteDevice", deleteDeviceCases()},
		{"Token", tokenCases()},
	}
}

func registerDeviceCases() []testCase {
	return []testCase{
		{"keeps every field that it is given and shows the token once", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			given := userkit.NewDevice{
				Name: "Ada's phone", Type: userkit.DeviceAndroid, HardwareID: "hw-1", PushToken: "push-1", LocationConsent: true,
			}
			device := d.register(t, user.ID, given)
			require.True(t, strings.HasPrefix(device.AccessToken, "ukd_"), device.AccessToken)
			require.Len(t, device.AccessToken, 4+43, "256 bits in base64url")
			want := userkit.Device{
				ID: device.ID, UserID: user.ID, AccessToken: device.AccessToken, TokenHint: device.AccessToken[4+43-4:],
				Name: given.Name, Type: given.Type, HardwareID: given.HardwareID, PushToken: given.PushToken,
				RegisteredAt: base, LastSeenAt: device.LastSeenAt, LocationConsentAt: base, PushTokenSetAt: base,
			}
			require.False(t, device.ID.IsZero())
			require.Equal(t, want, device)

			want.AccessToken = ""
			reread, err := d.Device(t.Context(), device.ID)
			require.NoError(t, err)
			require.Equal(t, want, reread)
			require.Equal(t, []userkit.Device{want}, d.devices(t, user.ID))
			require.Equal(t, 1, d.user(t, user.ID).Devices)
			require.Equal(t, want.ID, d.authenticate(t, device.AccessToken).Device.ID)
		}},
		{"takes a device of which nothing is known", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			first, second := d.register(t, user.ID, userkit.NewDevice{}), d.register(t, user.ID, userkit.NewDevice{})
			require.Equal(t, userkit.DeviceOther, first.Type)
			require.NotEqual(t, first.ID, second.ID, "an empty hardware id is no hardware id")
			require.NotEqual(t, first.AccessToken, second.AccessToken)
			require.Equal(t, 2, d.user(t, user.ID).Devices)
		}},
		{"gives as many devices as the license has slots", func(t *testing.T, env env) {
			d := env.desk(t)
			for _, license := range append(testLicenses(), userkit.License{Name: ""}) {
				user := d.signUp(t, withLicense(license.Name))
				slots := license.Devices
				if slots == 0 {
					slots = 8
				}
				for range slots {
					d.register(t, user.ID, userkit.NewDevice{})
				}
				if license.Devices == 0 {
					continue
				}
				before := d.picture(t, user.ID)
				_, err := d.RegisterDevice(t.Context(), user.ID, userkit.NewDevice{})
				requireCode(t, err, userkit.ErrRefused, userkit.CodeDeviceLimit)
				require.Equal(t, before, d.picture(t, user.ID))
			}
		}},
		{"gives a slot that a deleted device left", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, withLicense(oneDevice))
			for range 3 {
				device := d.register(t, user.ID, userkit.NewDevice{})
				_, err := d.RegisterDevice(t.Context(), user.ID, userkit.NewDevice{})
				requireCode(t, err, userkit.ErrRefused, userkit.CodeDeviceLimit)
				_, err = d.DeleteDevice(t.Context(), device.ID)
				require.NoError(t, err)
			}
			require.Zero(t, d.user(t, user.ID).Devices)
		}},
		{"refuses users that may use nothing, and takes those that may", func(t *testing.T, env env) {
			d := env.desk(t)
			for status, code := range map[userkit.Status]userkit.Code{
				userkit.StatusDisabled: userkit.CodeUserDisabled,
				userkit.StatusInactive: userkit.CodeUserInactive,
			} {
				user := d.signUp(t, withStatus(status))
				_, err := d.RegisterDevice(t.Context(), user.ID, userkit.NewDevice{})
				requireCode(t, err, userkit.ErrRefused, code)
				require.Empty(t, d.devices(t, user.ID))
			}
			invited := d.signUp(t, withStatus(userkit.StatusInvited))
			d.register(t, invited.ID, userkit.NewDevice{})
		}},
		{"refuses every wrong value with its code and field, and writes nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			before := d.picture(t, user.ID)
			for name, wrong := range map[string]struct {
				device userkit.NewDevice
				code   userkit.Code
				field  string
			}{
				"a long name":              {userkit.NewDevice{Name: strings.Repeat("é", userkit.MaxLine+1)}, userkit.CodeTooLong, "name"},
				"a name of two lines":      {userkit.NewDevice{Name: "a\nb"}, userkit.CodeBadText, "name"},
				"a name with a NUL":        {userkit.NewDevice{Name: "a\x00"}, userkit.CodeBadText, "name"},
				"a name of invalid UTF-8":  {userkit.NewDevice{Name: "a\xff"}, userkit.CodeBadText, "name"},
				"an unknown type":          {userkit.NewDevice{Type: "toaster"}, userkit.CodeUnknownValue, "type"},
				"a long hardware id":       {userkit.NewDevice{HardwareID: strings.Repeat("é", userkit.MaxLine+1)}, userkit.CodeTooLong, "hardware_id"},
				"a hardware id with a NUL": {userkit.NewDevice{HardwareID: "a\x00"}, userkit.CodeBadText, "hardware_id"},
				"a long push token":        {userkit.NewDevice{PushToken: strings.Repeat("x", userkit.MaxPushToken+1)}, userkit.CodeTooLong, "push_token"},
				"a push token with a NUL":  {userkit.NewDevice{PushToken: "a\x00"}, userkit.CodeBadText, "push_token"},
			} {
				t.Run(name, func(t *testing.T) {
					_, err := d.RegisterDevice(t.Context(), user.ID, wrong.device)
					requireCode(t, err, userkit.ErrInvalid, wrong.code)
					require.True(t, strings.HasPrefix(detail(t, err).Field, wrong.field), "the field is %q", detail(t, err).Field)
				})
			}
			require.Equal(t, before, d.picture(t, user.ID))
			d.register(t, user.ID, userkit.NewDevice{PushToken: strings.Repeat("é", userkit.MaxPushToken), HardwareID: strings.Repeat("😀", userkit.MaxLine)})
		}},
	}
}

func devicePolicyCases() []testCase {
	// full gives a user whose two slots are taken, by devices that were seen in
	// the reverse order of their registration, each with an open session.
	full := func(t *testing.T, d *desk) (userkit.User, []userkit.Device, []userkit.Session) {
		t.Helper()
		user := d.signUp(t, withLicense(twoDevices))
		first := d.register(t, user.ID, userkit.NewDevice{Name: "first"})
		d.clock.Advance(time.Minute)
		second := d.register(t, user.ID, userkit.NewDevice{Name: "second"})
		d.clock.Advance(time.Minute)
		sessions := []userkit.Session{d.connect(t, user.ID, first.ID), d.connect(t, user.ID, second.ID)}
		d.clock.Advance(time.Minute)
		d.seen(t, second)
		d.clock.Advance(time.Minute)
		d.seen(t, first)
		d.clock.Advance(time.Minute)
		return user, []userkit.Device{first, second}, sessions
	}
	replaces := func(policy userkit.DevicePolicy, victim int) func(t *testing.T, env env) {
		return func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithDevicePolicy(policy), userkit.WithLastSeenInterval(0))
			user, devices, sessions := full(t, d)
			other, _, _ := full(t, d)
			beside := d.picture(t, other.ID)
			kept := 1 - victim

			newest := d.register(t, user.ID, userkit.NewDevice{Name: "third"})
			d.requireInvalidToken(t, devices[victim].AccessToken)
			_, err := d.Device(t.Context(), devices[victim].ID)
			requireCode(t, err, userkit.ErrNotFound, userkit.CodeDeviceNotFound)
			require.Equal(t, 2, d.user(t, user.ID).Devices)
			require.Equal(t, []bool{true, true}, d.slots(t, []userkit.Device{devices[kept], newest}))

			ended := d.session(t, sessions[victim].ID)
			require.Equal(t, d.clock.Now(), ended.EndedAt)
			require.Equal(t, userkit.EndedDeviceDeleted, ended.EndReason)
			require.Equal(t, devices[victim].Name, ended.DeviceName)
			require.True(t, d.session(t, sessions[kept].ID).Active())
			require.Equal(t, 1, d.user(t, user.ID).OpenSessions)
			require.Equal(t, beside, d.picture(t, other.ID))
		}
	}
	return []testCase{
		{"refuse is the default", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, withLicense(oneDevice))
			d.register(t, user.ID, userkit.NewDevice{})
			_, err := d.RegisterDevice(t.Context(), user.ID, userkit.NewDevice{})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeDeviceLimit)
		}},
		{"replace-oldest deletes the one registered first, with its sessions ended", replaces(userkit.DeviceReplaceOldest, 0)},
		{"replace-idlest deletes the one seen longest ago, with its sessions ended", replaces(userkit.DeviceReplaceIdlest, 1)},
		{"a device that was registered has a slot, also after the license was lowered", func(t *testing.T, env env) {
			plain := env.desk(t)
			for _, policy := range []userkit.DevicePolicy{userkit.DeviceReplaceOldest, userkit.DeviceReplaceIdlest} {
				t.Run(string(policy), func(t *testing.T) {
					d := plain.beside(t, env.store, userkit.WithDevicePolicy(policy))
					user := d.signUp(t, withLicense(fiveDevices))
					for range 5 {
						d.register(t, user.ID, userkit.NewDevice{})
						d.clock.Advance(time.Second)
					}
					_, err := d.SetLicense(t.Context(), user.ID, twoDevices)
					require.NoError(t, err)
					require.Equal(t, 5, d.user(t, user.ID).Devices)
					newest := d.register(t, user.ID, userkit.NewDevice{})
					require.Equal(t, []bool{true}, d.slots(t, []userkit.Device{newest}))
				})
			}
		}},
		{"nothing is replaced while a slot is free", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithDevicePolicy(userkit.DeviceReplaceOldest))
			user := d.signUp(t, withLicense(twoDevices))
			devices := []userkit.Device{d.register(t, user.ID, userkit.NewDevice{}), d.register(t, user.ID, userkit.NewDevice{})}
			require.Equal(t, []bool{true, true}, d.slots(t, devices))
			require.Len(t, d.devices(t, user.ID), 2)
		}},
	}
}

func hardwareIDCases() []testCase {
	return []testCase{
		{"registers again into its own slot, also when none is free", func(t *testing.T, env env) {
			plain := env.desk(t)
			for _, policy := range []userkit.DevicePolicy{userkit.DeviceRefuse, userkit.DeviceReplaceOldest, userkit.DeviceReplaceIdlest} {
				t.Run(string(policy), func(t *testing.T) {
					d := plain.beside(t, env.store, userkit.WithDevicePolicy(policy))
					user := d.signUp(t, withLicense(twoDevices))
					first := d.register(t, user.ID, userkit.NewDevice{Name: "old name", Type: userkit.DeviceIOS, HardwareID: "hw-1", PushToken: "old push"})
					second := d.register(t, user.ID, userkit.NewDevice{HardwareID: "hw-2"})
					registered := d.clock.Now()
					d.clock.Advance(time.Hour)

					again := d.register(t, user.ID, userkit.NewDevice{
						Name: "new name", Type: userkit.DeviceLinux, HardwareID: "hw-1", PushToken: "new push",
						LocationConsent: true,
					})
					require.Equal(t, userkit.Device{
						ID: first.ID, UserID: user.ID, AccessToken: again.AccessToken, TokenHint: again.AccessToken[len(again.AccessToken)-4:],
						Name: "new name", Type: userkit.DeviceLinux, HardwareID: "hw-1", PushToken: "new push",
						RegisteredAt: registered, LastSeenAt: again.LastSeenAt,
						LocationConsentAt: d.clock.Now(), PushTokenSetAt: d.clock.Now(),
					}, again)
					require.NotEqual(t, first.AccessToken, again.AccessToken)
					d.requireInvalidToken(t, first.AccessToken)
					require.Equal(t, []bool{true, true}, d.slots(t, []userkit.Device{again, second}))
					require.Equal(t, 2, d.user(t, user.ID).Devices)
					require.Len(t, d.devices(t, user.ID), 2)
				})
			}
		}},
		{"is one of the user's own: two users may have the same", func(t *testing.T, env env) {
			d := env.desk(t)
			one, two := d.signUp(t), d.signUp(t)
			first, second := d.register(t, one.ID, userkit.NewDevice{HardwareID: "hw"}), d.register(t, two.ID, userkit.NewDevice{HardwareID: "hw"})
			require.NotEqual(t, first.ID, second.ID)
			require.Equal(t, one.ID, d.authenticate(t, first.AccessToken).User.ID)
			require.Equal(t, two.ID, d.authenticate(t, second.AccessToken).User.ID)
		}},
		{"compares byte by byte", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			for _, hardware := range []string{"hw", "HW", "hẃ", "hw "} {
				d.register(t, user.ID, userkit.NewDevice{HardwareID: hardware})
			}
			require.Equal(t, 4, d.user(t, user.ID).Devices)
		}},
		{"does not help a user that may use nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			device := d.register(t, user.ID, userkit.NewDevice{HardwareID: "hw"})
			_, err := d.DeactivateUser(t.Context(), user.ID)
			require.NoError(t, err)
			_, err = d.RegisterDevice(t.Context(), user.ID, userkit.NewDevice{HardwareID: "hw"})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeUserDisabled)
			_, err = d.ActivateUser(t.Context(), user.ID)
			require.NoError(t, err)
			require.Equal(t, device.ID, d.authenticate(t, device.AccessToken).Device.ID, "the old token is still good")
		}},
		{"of a deleted device is new again", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			device := d.register(t, user.ID, userkit.NewDevice{HardwareID: "hw"})
			_, err := d.DeleteDevice(t.Context(), device.ID)
			require.NoError(t, err)
			again := d.register(t, user.ID, userkit.NewDevice{HardwareID: "hw"})
			require.NotEqual(t, device.ID, again.ID)
			require.Equal(t, 1, d.user(t, user.ID).Devices)
		}},
	}
}

func authenticateCases() []testCase {
	return []testCase{
		{"tells device, user and access", func(t *testing.T, env env) {
			d := env.desk(t)
			user, other := d.signUp(t, withLimit(1000, userkit.ResetDaily, 0)), d.signUp(t)
			device, sibling := d.register(t, user.ID, userkit.NewDevice{Name: "one"}), d.register(t, user.ID, userkit.NewDevice{Name: "two"})
			stranger := d.register(t, other.ID, userkit.NewDevice{Name: "three"})
			for _, each := range []struct {
				device userkit.Device
				user   userkit.User
			}{{device, user}, {sibling, user}, {stranger, other}} {
				proof := d.authenticate(t, each.device.AccessToken)
				want := each.device
				want.AccessToken = ""
				proof.Device.LastSeenAt, want.LastSeenAt = time.Time{}, time.Time{}
				require.Equal(t, want, proof.Device)
				require.Equal(t, each.user.ID, proof.User.ID)
				require.Equal(t, each.user.Login, proof.User.Login)
				require.Equal(t, each.user.Traffic.Limit, proof.User.Traffic.Limit)
				require.Equal(t, proof.User.Access(base, time.UTC), proof.Access)
				require.True(t, proof.Access.Allowed)
			}
		}},
		{"answers an unknown token and a text that is none alike", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			token := d.register(t, user.ID, userkit.NewDevice{}).AccessToken
			other := "A"
			if token[10] == 'A' {
				other = "B"
			}
			_, unknown := d.Authenticate(t.Context(), token[:10]+other+token[11:])
			requireCode(t, unknown, userkit.ErrForbidden, userkit.CodeInvalidToken)
			for _, text := range []string{
				"", "ukd_", token + "A", token[:len(token)-1], " " + token, token + "\n", strings.ToUpper(token), strings.TrimPrefix(token, "ukd_"),
				"ukd_" + strings.Repeat("\x00", 43), "ukd_" + strings.Repeat("\xff", 43), "ukd_" + strings.Repeat("!", 43), strings.Repeat("x", 1_000_000), user.ID.String(),
			} {
				_, err := d.Authenticate(t.Context(), text)
				requireCode(t, err, userkit.ErrForbidden, userkit.CodeInvalidToken)
				require.Equal(t, unknown.Error(), err.Error())
			}
		}},
		{"refuses the token of a user that may use nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			device := d.register(t, user.ID, userkit.NewDevice{})
			_, err := d.DeactivateUser(t.Context(), user.ID)
			require.NoError(t, err)
			_, err = d.Authenticate(t.Context(), device.AccessToken)
			requireCode(t, err, userkit.ErrRefused, userkit.CodeUserDisabled)
		}},
		{"lets in a user whose traffic is used up, and says until when", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, withLimit(10, userkit.ResetDaily, 0))
			device := d.register(t, user.ID, userkit.NewDevice{})
			d.report(t, d.connect(t, user.ID, device.ID).ID, 5, 5)
			proof := d.authenticate(t, device.AccessToken)
			midnight := time.Date(2026, time.March, 15, 0, 0, 0, 0, time.UTC)
			require.Equal(t, userkit.Access{Reasons: []userkit.AccessReason{userkit.CodeTrafficLimit}, Until: midnight, NextReset: midnight}, proof.Access)
		}},
		{"records when device and user were last seen, at most once in the interval", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithLastSeenInterval(10*time.Minute))
			user := d.signUp(t)
			device, sibling := d.register(t, user.ID, userkit.NewDevice{}), d.register(t, user.ID, userkit.NewDevice{})
			untouched, err := d.Device(t.Context(), sibling.ID)
			require.NoError(t, err)
			d.clock.Set(at(3600))
			d.seen(t, device)
			require.Eventually(t, func() bool { return d.user(t, user.ID).LastSeenAt.Equal(at(3600)) }, deadline, time.Millisecond)

			d.clock.Set(at(3600 + 599))
			d.authenticate(t, device.AccessToken)
			d.refill(t, user.ID, 1, "whatever was recorded is there once another change of the user is")
			quiet, err := d.Device(t.Context(), device.ID)
			require.NoError(t, err)
			require.Equal(t, at(3600), quiet.LastSeenAt)
			d.clock.Set(at(3600 + 601))
			d.seen(t, device)
			require.Eventually(t, func() bool { return d.user(t, user.ID).LastSeenAt.Equal(at(3600 + 601)) }, deadline, time.Millisecond)
			after, err := d.Device(t.Context(), sibling.ID)
			require.NoError(t, err)
			require.Equal(t, untouched, after)
			require.EqualValues(t, 1, d.user(t, user.ID).Revision)
		}},
		{"records every time without an interval", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithLastSeenInterval(0))
			user := d.signUp(t)
			device := d.register(t, user.ID, userkit.NewDevice{})
			for range 3 {
				d.clock.Advance(time.Millisecond)
				d.seen(t, device)
			}
		}},
	}
}

func licenseCases() []testCase {
	return []testCase{
		{"the list is in the order of the options, and the caller's own copy", func(t *testing.T, env env) {
			d := env.desk(t)
			for range 2 {
				licenses, err := d.Licenses(t.Context())
				require.NoError(t, err)
				require.Equal(t, testLicenses(), licenses)
				licenses[0].Devices = 1000
			}
		}},
		{"a change is written, alone", func(t *testing.T, env env) {
			d := env.desk(t)
			user, other := d.signUp(t, withLicense(oneDevice)), d.signUp(t, withLicense(oneDevice))
			changed, err := d.SetLicense(t.Context(), user.ID, fiveDevices)
			require.NoError(t, err)
			want := user
			want.License, want.Version, want.Revision, want.UpdatedAt = fiveDevices, changed.Version, changed.Revision, changed.UpdatedAt
			requireUser(t, want, changed)
			requireUser(t, changed, d.user(t, user.ID))
			requireUser(t, other, d.user(t, other.ID))
			changed, err = d.SetLicense(t.Context(), user.ID, "")
			require.NoError(t, err)
			require.Empty(t, changed.License)
		}},
		{"an unknown one is refused; names compare byte by byte", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, withLicense(oneDevice))
			before := d.picture(t, user.ID)
			for _, name := range []string{"no such license", strings.ToUpper(oneDevice), oneDevice + " ", "a\x00", "a\xff"} {
				_, err := d.SetLicense(t.Context(), user.ID, name)
				requireField(t, err, userkit.ErrInvalid, userkit.CodeUnknownLicense, "license")
			}
			require.Equal(t, before, d.picture(t, user.ID))
		}},
		{"a lower limit deletes no device: the first keep their slots", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, withLicense(fiveDevices))
			var devices []userkit.Device
			for range 4 {
				devices = append(devices, d.register(t, user.ID, userkit.NewDevice{}))
				d.clock.Advance(time.Second)
			}
			open := d.connect(t, user.ID, devices[3].ID)
			_, err := d.SetLicense(t.Context(), user.ID, twoDevices)
			require.NoError(t, err)
			require.Len(t, d.devices(t, user.ID), 4)
			require.Equal(t, 4, d.user(t, user.ID).Devices)
			require.Equal(t, []bool{true, true, false, false}, d.slots(t, devices))
			require.True(t, d.session(t, open.ID).Active())

			proof := d.authenticate(t, devices[2].AccessToken)
			require.Equal(t, userkit.Access{Reasons: []userkit.AccessReason{userkit.CodeNoDeviceSlot}}, proof.Access)
			_, err = d.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, DeviceID: devices[2].ID, Node: "node"})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeNoDeviceSlot)
			d.connect(t, user.ID, devices[1].ID)
			_, err = d.RegisterDevice(t.Context(), user.ID, userkit.NewDevice{})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeDeviceLimit)

			_, err = d.DeleteDevice(t.Context(), devices[0].ID)
			require.NoError(t, err)
			require.Equal(t, []bool{true, true, false}, d.slots(t, devices[1:]))
			d.connect(t, user.ID, devices[2].ID)
			_, err = d.RegisterDevice(t.Context(), user.ID, userkit.NewDevice{})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeDeviceLimit)

			_, err = d.SetLicense(t.Context(), user.ID, noLimit)
			require.NoError(t, err)
			require.Equal(t, []bool{true, true, true}, d.slots(t, devices[1:]))
		}},
		{"devices of one moment have their slots in the order of their ids", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			var devices []userkit.Device
			for range 5 {
				devices = append(devices, d.register(t, user.ID, userkit.NewDevice{}))
			}
			slices.SortFunc(devices, func(a, b userkit.Device) int { return a.ID.Compare(b.ID) })
			_, err := d.SetLicense(t.Context(), user.ID, twoDevices)
			require.NoError(t, err)
			require.Equal(t, []bool{true, true, false, false, false}, d.slots(t, devices))
		}},
	}
}

func updateDeviceCases() []testCase {
	return []testCase{
		{"sets each field and leaves all others, and all other devices", func(t *testing.T, env env) {
			edits := []struct {
				field string
				patch userkit.DevicePatch
				apply func(device *userkit.Device)
			}{
				{"Name", userkit.DevicePatch{Name: userkit.Set("renamed")}, func(d *userkit.Device) { d.Name = "renamed" }},
				{"Type", userkit.DevicePatch{Type: userkit.Set(userkit.DeviceRouter)}, func(d *userkit.Device) { d.Type = userkit.DeviceRouter }},
				{"PushToken", userkit.DevicePatch{PushToken: userkit.Set("pushed")}, func(d *userkit.Device) {
					d.PushToken, d.PushTokenSetAt = "pushed", d.PushTokenSetAt.Add(time.Microsecond)
				}},
				{"LocationConsent", userkit.DevicePatch{LocationConsent: userkit.Set(true)}, func(d *userkit.Device) { d.LocationConsentAt = base }},
			}
			require.Len(t, edits, reflect.TypeFor[userkit.DevicePatch]().NumField())
			d := env.desk(t, userkit.WithSealingKeys(sealingKey(1)))
			user, other := d.signUp(t), d.household(t)
			given := userkit.NewDevice{
				Name: "name", Type: userkit.DeviceIOS, PushToken: "push",
			}
			beside := d.picture(t, other.ID)
			for _, edit := range edits {
				t.Run(edit.field, func(t *testing.T) {
					given.HardwareID = "hw of " + edit.field
					device := d.register(t, user.ID, given)
					edited, err := d.UpdateDevice(t.Context(), device.ID, edit.patch)
					require.NoError(t, err)
					want := device
					want.AccessToken = ""
					edit.apply(&want)
					require.Equal(t, want, edited)
					reread, err := d.Device(t.Context(), device.ID)
					require.NoError(t, err)
					require.Equal(t, want, reread)
					require.Equal(t, device.ID, d.authenticate(t, device.AccessToken).Device.ID, "the token stays")
					token, err := d.RevealToken(t.Context(), device.ID)
					require.NoError(t, err)
					require.Equal(t, device.AccessToken, token)
				})
			}
			require.Equal(t, beside, d.picture(t, other.ID))
		}},
		{"refuses wrong values and unknown devices, and writes nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.household(t)
			device := d.devices(t, user.ID)[0]
			before := d.picture(t, user.ID)
			_, err := d.UpdateDevice(t.Context(), device.ID, userkit.DevicePatch{Name: userkit.Set(strings.Repeat("é", userkit.MaxLine+1))})
			requireField(t, err, userkit.ErrInvalid, userkit.CodeTooLong, "name")
			_, err = d.UpdateDevice(t.Context(), device.ID, userkit.DevicePatch{Name: userkit.Set("X"), Type: userkit.Set(userkit.DeviceType("toaster"))})
			requireField(t, err, userkit.ErrInvalid, userkit.CodeUnknownValue, "type")
			_, err = d.UpdateDevice(t.Context(), device.ID, userkit.DevicePatch{Name: userkit.Set("X"), PushToken: userkit.Set("a\x00")})
			requireField(t, err, userkit.ErrInvalid, userkit.CodeBadText, "push_token")
			require.Equal(t, before, d.picture(t, user.ID))

			unknown := userkit.NewID[userkit.Device]()
			for name, call := range map[string]func() error{
				"Device":       func() error { _, err := d.Device(t.Context(), unknown); return err },
				"UpdateDevice": func() error { _, err := d.UpdateDevice(t.Context(), unknown, userkit.DevicePatch{}); return err },
				"DeleteDevice": func() error { _, err := d.DeleteDevice(t.Context(), unknown); return err },
				"RotateToken":  func() error { _, err := d.RotateToken(t.Context(), unknown); return err },
				"RevealToken":  func() error { _, err := d.RevealToken(t.Context(), unknown); return err },
			} {
				t.Run(name, func(t *testing.T) { requireCode(t, call(), userkit.ErrNotFound, userkit.CodeDeviceNotFound) })
			}
		}},
		{"leaves the name in past sessions", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			device := d.register(t, user.ID, userkit.NewDevice{Name: "before"})
			session := d.connect(t, user.ID, device.ID)
			_, err := d.UpdateDevice(t.Context(), device.ID, userkit.DevicePatch{Name: userkit.Set("after")})
			require.NoError(t, err)
			require.Equal(t, "before", d.session(t, session.ID).DeviceName)
			require.Equal(t, "after", d.connect(t, user.ID, device.ID).DeviceName)
		}},
	}
}

func deleteDeviceCases() []testCase {
	return []testCase{
		{"frees the slot, ends the open sessions, keeps the history under its name, and touches nothing else", func(t *testing.T, env env) {
			d := env.desk(t)
			user, other := d.signUp(t, withLicense(twoDevices)), d.household(t)
			device, sibling := d.register(t, user.ID, userkit.NewDevice{Name: "gone", HardwareID: "hw"}), d.register(t, user.ID, userkit.NewDevice{Name: "kept"})
			past := d.connect(t, user.ID, device.ID)
			d.report(t, past.ID, 10, 20)
			past, err := d.EndSession(t.Context(), past.ID, userkit.UsageReport{})
			require.NoError(t, err)
			open, kept, without := d.connect(t, user.ID, device.ID), d.connect(t, user.ID, sibling.ID), d.connect(t, user.ID, userkit.DeviceID{})
			beside := d.picture(t, other.ID)
			d.clock.Advance(time.Minute)

			deleted, err := d.DeleteDevice(t.Context(), device.ID)
			require.NoError(t, err)
			device.AccessToken, deleted.LastSeenAt, device.LastSeenAt = "", time.Time{}, time.Time{}
			require.Equal(t, device, deleted, "it is returned as it was")
			_, err = d.Device(t.Context(), device.ID)
			requireCode(t, err, userkit.ErrNotFound, userkit.CodeDeviceNotFound)
			_, err = d.DeleteDevice(t.Context(), device.ID)
			requireCode(t, err, userkit.ErrNotFound, userkit.CodeDeviceNotFound)

			require.Equal(t, past, d.session(t, past.ID))
			open.EndedAt, open.ClosedAt, open.EndReason = d.clock.Now(), d.clock.Now(), userkit.EndedDeviceDeleted
			require.Equal(t, open, d.session(t, open.ID))
			require.Equal(t, "gone", open.DeviceName)
			require.Equal(t, device.ID, open.DeviceID)
			require.Equal(t, kept, d.session(t, kept.ID))
			require.Equal(t, without, d.session(t, without.ID))
			after := d.user(t, user.ID)
			require.Equal(t, 1, after.Devices)
			require.Equal(t, 2, after.OpenSessions)
			page, err := d.Sessions(t.Context(), userkit.SessionQuery{SessionFilter: userkit.SessionFilter{DeviceID: device.ID}})
			require.NoError(t, err)
			require.Len(t, page.Items, 2, "the history can still be listed by the device")

			require.Equal(t, beside, d.picture(t, other.ID))
			d.register(t, user.ID, userkit.NewDevice{})
		}},
		{"makes its token unknown", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			device, sibling := d.register(t, user.ID, userkit.NewDevice{}), d.register(t, user.ID, userkit.NewDevice{})
			_, err := d.DeleteDevice(t.Context(), device.ID)
			require.NoError(t, err)
			d.requireInvalidToken(t, device.AccessToken)
			d.authenticate(t, sibling.AccessToken)
		}},
	}
}

func tokenCases() []testCase {
	return []testCase{
		{"rotation ends the sessions of the device, unless they are kept", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			device, sibling := d.register(t, user.ID, userkit.NewDevice{}), d.register(t, user.ID, userkit.NewDevice{})
			session, beside := d.connect(t, user.ID, device.ID), d.connect(t, user.ID, sibling.ID)
			_, err := d.RotateToken(t.Context(), device.ID, "slowly")
			requireField(t, err, userkit.ErrInvalid, userkit.CodeUnknownValue, "options")
			_, err = d.RotateToken(t.Context(), device.ID, userkit.KeepSessions)
			require.NoError(t, err)
			require.True(t, d.session(t, session.ID).Active())

			_, err = d.RotateToken(t.Context(), device.ID)
			require.NoError(t, err)
			ended := d.session(t, session.ID)
			require.Equal(t, userkit.EndedTokenRotated, ended.EndReason)
			require.Equal(t, d.clock.Now(), ended.EndedAt)
			require.Equal(t, beside, d.session(t, beside.ID))
			require.Equal(t, 1, d.user(t, user.ID).OpenSessions)
		}},
		{"a device that registers again takes over the place of its session", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithSessionLimits(userkit.SessionLimits{PerUser: 2, PerDevice: 1}))
			user := d.signUp(t)
			device, sibling := d.register(t, user.ID, userkit.NewDevice{HardwareID: "board"}), d.register(t, user.ID, userkit.NewDevice{})
			session, beside := d.connect(t, user.ID, device.ID), d.connect(t, user.ID, sibling.ID)
			again := d.register(t, user.ID, userkit.NewDevice{HardwareID: "board"})
			require.Equal(t, device.ID, again.ID)
			require.Equal(t, userkit.EndedReplaced, d.session(t, session.ID).EndReason)
			require.Equal(t, beside, d.session(t, beside.ID))
			d.connect(t, user.ID, device.ID)
			require.Equal(t, 2, d.user(t, user.ID).OpenSessions)
		}},
		{"rotation gives a new one and ends the old one", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			device, sibling := d.register(t, user.ID, userkit.NewDevice{Name: "name"}), d.register(t, user.ID, userkit.NewDevice{})
			rotated, err := d.RotateToken(t.Context(), device.ID)
			require.NoError(t, err)
			require.NotEqual(t, device.AccessToken, rotated.AccessToken)
			want := device
			want.AccessToken, want.TokenHint = rotated.AccessToken, rotated.AccessToken[len(rotated.AccessToken)-4:]
			require.Equal(t, want, rotated)
			d.requireInvalidToken(t, device.AccessToken)
			require.Equal(t, device.ID, d.authenticate(t, rotated.AccessToken).Device.ID)
			d.authenticate(t, sibling.AccessToken)
			reread, err := d.Device(t.Context(), device.ID)
			require.NoError(t, err)
			require.Empty(t, reread.AccessToken)
			require.Equal(t, want.TokenHint, reread.TokenHint)
		}},
		{"without sealing keys it cannot be revealed, and the try is no secret's loss", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			device := d.register(t, user.ID, userkit.NewDevice{})
			_, err := d.RevealToken(t.Context(), device.ID)
			requireCode(t, err, userkit.ErrRefused, userkit.CodeTokenNotSealed)
			sealed, err := d.store.SealedDevices(t.Context(), userkit.DeviceID{}, 10)
			require.NoError(t, err)
			require.Empty(t, sealed)

			later := d.beside(t, env.store, userkit.WithSealingKeys(sealingKey(1)))
			_, err = later.RevealToken(t.Context(), device.ID)
			requireCode(t, err, userkit.ErrRefused, userkit.CodeTokenNotSealed)
			rotated, err := later.RotateToken(t.Context(), device.ID)
			require.NoError(t, err)
			token, err := later.RevealToken(t.Context(), device.ID)
			require.NoError(t, err)
			require.Equal(t, rotated.AccessToken, token)
		}},
		{"with sealing keys it can be revealed, and who asked is recorded", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithSealingKeys(sealingKey(1)))
			user := d.signUp(t)
			device, sibling := d.register(t, user.ID, userkit.NewDevice{}), d.register(t, user.ID, userkit.NewDevice{})
			var token string
			events := d.eventsDuring(t, user.ID, func() {
				var err error
				token, err = d.RevealToken(userkit.WithActor(t.Context(), administrator), device.ID)
				require.NoError(t, err)
			})
			require.Equal(t, device.AccessToken, token)
			require.Equal(t, []userkit.EventName{userkit.EventTokenRevealed}, eventNames(events))
			require.Equal(t, administrator, events[0].Actor)
			require.Equal(t, device.ID, events[0].DeviceID)
			token, err := d.RevealToken(t.Context(), sibling.ID)
			require.NoError(t, err)
			require.Equal(t, sibling.AccessToken, token)
			d.authenticate(t, device.AccessToken)
		}},
		{"that is new can be revealed, and the one before it no more", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithSealingKeys(sealingKey(1)))
			user := d.signUp(t)
			device := d.register(t, user.ID, userkit.NewDevice{HardwareID: "hw"})
			for _, renew := range []func() userkit.Device{
				func() userkit.Device { return d.register(t, user.ID, userkit.NewDevice{HardwareID: "hw"}) },
				func() userkit.Device {
					rotated, err := d.RotateToken(t.Context(), device.ID)
					require.NoError(t, err)
					return rotated
				},
			} {
				renewed := renew()
				token, err := d.RevealToken(t.Context(), device.ID)
				require.NoError(t, err)
				require.Equal(t, renewed.AccessToken, token)
			}
		}},
		{"is in no event", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithSealingKeys(sealingKey(1)))
			user := d.signUp(t)
			device := d.register(t, user.ID, userkit.NewDevice{HardwareID: "hw"})
			again := d.register(t, user.ID, userkit.NewDevice{HardwareID: "hw"})
			rotated, err := d.RotateToken(t.Context(), device.ID)
			require.NoError(t, err)
			_, err = d.RevealToken(t.Context(), device.ID)
			require.NoError(t, err)
			text := fmt.Sprintf("%+s", d.events(t, user.ID))
			for _, event := range d.events(t, user.ID) {
				text += string(event.Data)
			}
			for _, secret := range []string{device.AccessToken, again.AccessToken, rotated.AccessToken} {
				require.NotContains(t, text, strings.TrimPrefix(secret, "ukd_"))
			}
		}},
		{"opens under the key that sealed it, for as long as that is configured", func(t *testing.T, env env) {
			old := env.desk(t, userkit.WithSealingKeys(sealingKey(1)))
			user := old.signUp(t)
			device := old.register(t, user.ID, userkit.NewDevice{})
			both := old.beside(t, env.store, userkit.WithSealingKeys(sealingKey(2), sealingKey(1)))
			token, err := both.RevealToken(t.Context(), device.ID)
			require.NoError(t, err)
			require.Equal(t, device.AccessToken, token)
			for _, options := range [][]userkit.Option{{userkit.WithSealingKeys(sealingKey(2))}, {}} {
				without := old.beside(t, env.store, options...)
				before := old.picture(t, user.ID)
				_, err = without.RevealToken(t.Context(), device.ID)
				requireCode(t, err, userkit.ErrRefused, userkit.CodeSealingKeyMissing)
				without.authenticate(t, device.AccessToken)
				require.Equal(t, before.Devices[0].TokenHint, old.devices(t, user.ID)[0].TokenHint)
			}
		}},
		{"is sealed again under the first key, once, for every user", func(t *testing.T, env env) {
			plain := env.desk(t)
			never := plain.register(t, plain.signUp(t).ID, userkit.NewDevice{})
			old := plain.beside(t, env.store, userkit.WithSealingKeys(sealingKey(1)))
			both := plain.beside(t, env.second(t), userkit.WithSealingKeys(sealingKey(2), sealingKey(1)))
			fresh := plain.beside(t, env.store, userkit.WithSealingKeys(sealingKey(2)))
			var devices []userkit.Device
			var users []userkit.User
			for range 12 {
				user := old.signUp(t)
				users = append(users, user)
				for range 3 {
					devices = append(devices, old.register(t, user.ID, userkit.NewDevice{}))
				}
			}
			already := both.register(t, users[0].ID, userkit.NewDevice{})

			count, err := both.ResealTokens(t.Context())
			require.NoError(t, err)
			require.Equal(t, len(devices), count)
			for _, device := range append(devices, already) {
				token, err := fresh.RevealToken(t.Context(), device.ID)
				require.NoError(t, err)
				require.Equal(t, device.AccessToken, token)
				_, err = old.RevealToken(t.Context(), device.ID)
				requireCode(t, err, userkit.ErrRefused, userkit.CodeSealingKeyMissing)
			}
			_, err = both.RevealToken(t.Context(), never.ID)
			requireCode(t, err, userkit.ErrRefused, userkit.CodeTokenNotSealed)
			require.Equal(t, devices[0].ID, both.authenticate(t, devices[0].AccessToken).Device.ID)

			count, err = both.ResealTokens(t.Context())
			require.NoError(t, err)
			require.Zero(t, count, "it is safe to run again")
		}},
	}
}
