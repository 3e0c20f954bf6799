package storetest

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func storeDeviceGroups() []group {
	return []group{
		{"Device", []testCase{
			{"gives a device with every field", deviceEveryField},
			{"does not find an unknown device", deviceUnknown},
		}},
		{"DeviceByToken", []testCase{
			{"gives the device, its user and its rank by the time of registration, then id", deviceByToken},
			{"ranks anew when devices come, go and change", deviceRankFollows},
			{"does not find an unknown digest", deviceByUnknownToken},
		}},
		{"DeviceByPushToken", []testCase{
			{"gives the one device with a push token, of whichever user", deviceByPushToken},
		}},
		{"Devices", []testCase{
			{"of an empty store is empty", devicesEmpty},
			{"sorts by every field, both ways", devicesOrder},
			{"pages by every field, both ways", devicesPages},
			{"follows changes of every field", devicesOrderAfterChange},
			{"sorts and pages the devices of one user", devicesOfUser},
			{"leaves out the devices of disabled users when only active ones are asked for", devicesOnlyActive},
			{"follows a change of the user's status", devicesOnlyActiveAfterChange},
		}},
		storeLocationGroup(),
		{"SealedDevices", []testCase{
			{"gives the devices with a sealed token in order of id, page by page", sealedDevices},
			{"follows changes of the sealed token", sealedDevicesAfterChange},
		}},
	}
}

func deviceEveryField(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	for _, record := range slices.Concat(d.devices, other.devices) {
		device, err := env.store.Device(t.Context(), record.ID)
		require.NoError(t, err)
		require.Equal(t, record.Device, device)
		require.Empty(t, device.AccessToken)
	}
}

func deviceUnknown(t *testing.T, env env) {
	_, err := env.store.Device(t.Context(), deviceID(1))
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeDeviceNotFound)
	createAll(t, env.store, newDossier(1))
	for _, id := range []userkit.DeviceID{deviceID(1), {}, userkit.DeviceID(userID(1)), userkit.DeviceID(sessionID(2))} {
		_, err := env.store.Device(t.Context(), id)
		requireCode(t, err, userkit.ErrNotFound, userkit.CodeDeviceNotFound)
	}
}

// requireRanks demands that the tokens of a user's devices, given in their
// order, lead to them, to the user, and to ranks from 0 on.
func requireRanks(t *testing.T, store userkit.Store, user userkit.User, devices ...userkit.DeviceRecord) {
	t.Helper()
	for want, record := range devices {
		device, owner, rank, err := store.DeviceByToken(t.Context(), record.TokenDigest)
		require.NoError(t, err)
		require.Equal(t, record.Device, device)
		requireUser(t, user, owner)
		require.Equal(t, want, rank, "the rank of device %s", record.ID)
	}
}

func deviceByToken(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	// Order of ids: 10 to 14; order of registration: 12, then 10, 11, 14 in one
	// microsecond, then 13.
	d.devices = nil
	for n, registered := range []time.Time{at(0), at(0), at(-1), at(0).Add(time.Microsecond), at(0)} {
		device := newDevice(d.user.ID, 10+n)
		device.RegisteredAt = registered
		device.LastSeenAt = at(100 - n)
		d.devices = append(d.devices, device)
	}
	other.devices[0].RegisteredAt, other.devices[1].RegisteredAt = at(0), at(-2)
	other.user.Status = userkit.StatusDisabled
	slices.Reverse(d.devices)
	createAll(t, env.store, d, other)
	slices.Reverse(d.devices)
	requireRanks(t, env.store, d.user, d.devices[2], d.devices[0], d.devices[1], d.devices[4], d.devices[3])
	requireRanks(t, env.store, other.user, other.devices[1], other.devices[0])
}

func deviceRankFollows(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	d.devices = []userkit.DeviceRecord{newDevice(d.user.ID, 10), newDevice(d.user.ID, 11), newDevice(d.user.ID, 12)}
	createAll(t, env.store, d, other)
	first, second, third := d.devices[0], d.devices[1], d.devices[2]
	requireRanks(t, env.store, d.user, first, second, third)

	change := step(&d.user)
	change.Devices.Delete = []userkit.DeviceID{first.ID}
	commit(t, env.store, change)
	requireRanks(t, env.store, d.user, second, third)

	change = edit(&d.user, func(user *userkit.User) { user.License = "another" })
	second.RegisteredAt = at(1_000_000)
	change.Devices.Update = []userkit.DeviceRecord{second}
	commit(t, env.store, change)
	requireRanks(t, env.store, d.user, third, second)

	change = step(&d.user)
	early := newDevice(d.user.ID, 20)
	early.RegisteredAt = at(-1_000_000)
	change.Devices.Insert = []userkit.DeviceRecord{early}
	commit(t, env.store, change)
	requireRanks(t, env.store, d.user, early, third, second)
	requireRanks(t, env.store, other.user, other.devices...)
}

func deviceByUnknownToken(t *testing.T, env env) {
	unknown := func(digest userkit.TokenDigest) {
		t.Helper()
		_, _, _, err := env.store.DeviceByToken(t.Context(), digest)
		requireCode(t, err, userkit.ErrNotFound, userkit.CodeDeviceNotFound)
	}
	d := newDossier(1)
	unknown(d.devices[0].TokenDigest)
	createAll(t, env.store, d)
	unknown(userkit.TokenDigest{})
	unknown(sha256.Sum256([]byte("never seen")))
	near := d.devices[0].TokenDigest
	near[31] ^= 1
	unknown(near)
	near = d.devices[0].TokenDigest
	near[0] ^= 1
	unknown(near)
}

// hardDevice makes a device for lists: with fields that are hard to sort, many
// of them equal. variant gives the same device other values.
func hardDevice(owner userkit.UserID, n, variant int) userkit.DeviceRecord {
	v := n + 5*variant
	types := []userkit.DeviceType{userkit.DeviceIOS, userkit.DeviceAndroid, userkit.DeviceWeb, userkit.DeviceOther, userkit.DeviceIOS}
	times := []time.Time{at(0), at(1), at(-1), at(0), time.Unix(0, 0).UTC(), base.Add(time.Microsecond), at(40_000_000)}
	device := newDevice(owner, n)
	device.Name = pick(hardTexts, v, 5)
	device.Type = pick(types, v, 2)
	device.HardwareID = pick(hardCodes, v, 3)
	if device.HardwareID != "" {
		device.HardwareID += fmt.Sprint(n)
	}
	device.RegisteredAt = pick(times, v, 3)
	device.LastSeenAt = pick(append([]time.Time{{}}, times...), v, 3)
	return device
}

const (
	listOwners  = 4
	listRecords = 16
)

// ownersOfLists creates the users to whom the records of lists belong; the
// last one is disabled.
func ownersOfLists(t *testing.T, store userkit.Store) []userkit.User {
	t.Helper()
	var owners []userkit.User
	for n := range listOwners {
		owners = append(owners, newUser(n))
	}
	owners[listOwners-1].Status = userkit.StatusDisabled
	create(t, store, owners...)
	return owners
}

// deviceRecords creates devices that are hard to sort, of several users.
func deviceRecords(t *testing.T, store userkit.Store, owners []userkit.User) []userkit.DeviceRecord {
	t.Helper()
	records := make([]userkit.DeviceRecord, listRecords)
	for _, n := range shuffled(listRecords) {
		owner := &owners[n%listOwners]
		records[n] = hardDevice(owner.ID, n, 0)
		change := step(owner)
		change.Devices.Insert = records[n : n+1]
		commit(t, store, change)
	}
	return records
}

func listingOfDevices(t *testing.T, store userkit.Store, filter userkit.DeviceFilter, records []userkit.DeviceRecord) listing[userkit.Device] {
	var devices []userkit.Device
	for _, record := range records {
		devices = append(devices, record.Device)
	}
	return listing[userkit.Device]{
		fields:  userkit.DeviceFields(),
		id:      deviceRecordID,
		records: devices,
		list: func(list userkit.ListRange) ([]userkit.Device, error) {
			return store.Devices(t.Context(), filter, list)
		},
		equal: func(t *testing.T, want, got []userkit.Device) {
			t.Helper()
			requireList(t, want, got, deviceRecordID)
		},
	}
}

func devicesEmpty(t *testing.T, env env) {
	listingOfDevices(t, env.store, userkit.DeviceFilter{}, nil).requireOrder(t)
	create(t, env.store, newUser(1))
	listingOfDevices(t, env.store, userkit.DeviceFilter{}, nil).requireOrder(t)
	for _, user := range []userkit.UserID{userID(1), userID(2)} {
		listingOfDevices(t, env.store, userkit.DeviceFilter{UserID: user}, nil).requireOrder(t)
		listingOfDevices(t, env.store, userkit.DeviceFilter{UserID: user, WithoutDisabled: true}, nil).requireOrder(t)
	}
}

func devicesOrder(t *testing.T, env env) {
	records := deviceRecords(t, env.store, ownersOfLists(t, env.store))
	listingOfDevices(t, env.store, userkit.DeviceFilter{}, records).requireOrder(t)
}

func devicesPages(t *testing.T, env env) {
	records := deviceRecords(t, env.store, ownersOfLists(t, env.store))
	listingOfDevices(t, env.store, userkit.DeviceFilter{}, records).requirePages(t)
}

func devicesOrderAfterChange(t *testing.T, env env) {
	owners := ownersOfLists(t, env.store)
	records := deviceRecords(t, env.store, owners)
	var left []userkit.DeviceRecord
	for _, n := range shuffled(listRecords) {
		change := step(&owners[n%listOwners])
		if n%5 == 0 {
			change.Devices.Delete = []userkit.DeviceID{records[n].ID}
		} else {
			change.Devices.Update = []userkit.DeviceRecord{hardDevice(records[n].UserID, n, 1)}
			left = append(left, change.Devices.Update...)
		}
		commit(t, env.store, change)
	}
	listingOfDevices(t, env.store, userkit.DeviceFilter{}, left).requireOrder(t)
}

// belonging returns the records that a condition takes.
func belonging[T any](records []T, takes func(record T) bool) []T {
	var taken []T
	for _, record := range records {
		if takes(record) {
			taken = append(taken, record)
		}
	}
	return taken
}

func devicesOfUser(t *testing.T, env env) {
	owners := ownersOfLists(t, env.store)
	records := deviceRecords(t, env.store, owners)
	for _, owner := range owners {
		listing := listingOfDevices(t, env.store, userkit.DeviceFilter{UserID: owner.ID},
			belonging(records, func(record userkit.DeviceRecord) bool { return record.UserID == owner.ID }))
		require.NotEmpty(t, listing.records)
		listing.requireOrder(t)
		listing.requirePages(t)
	}
}

func devicesOnlyActive(t *testing.T, env env) {
	owners := ownersOfLists(t, env.store)
	records := deviceRecords(t, env.store, owners)
	disabled := owners[listOwners-1]
	listing := listingOfDevices(t, env.store, userkit.DeviceFilter{WithoutDisabled: true},
		belonging(records, func(record userkit.DeviceRecord) bool { return record.UserID != disabled.ID }))
	listing.requireOrder(t)
	listing.requirePages(t)
	listingOfDevices(t, env.store, userkit.DeviceFilter{UserID: disabled.ID, WithoutDisabled: true}, nil).requireOrder(t)
	listingOfDevices(t, env.store, userkit.DeviceFilter{UserID: owners[0].ID, WithoutDisabled: true},
		belonging(records, func(record userkit.DeviceRecord) bool { return record.UserID == owners[0].ID })).requireOrder(t)
}

func devicesOnlyActiveAfterChange(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	for _, status := range []userkit.Status{
		userkit.StatusDisabled, userkit.StatusInvited, userkit.StatusDisabled, userkit.StatusInactive, userkit.StatusActive,
	} {
		commit(t, env.store, edit(&d.user, func(user *userkit.User) { user.Status = status }))
		mine, both := d.devices, slices.Concat(d.devices, other.devices)
		listingOfDevices(t, env.store, userkit.DeviceFilter{}, both).requireOrder(t)
		if status == userkit.StatusDisabled {
			mine, both = nil, other.devices
		}
		listingOfDevices(t, env.store, userkit.DeviceFilter{WithoutDisabled: true}, both).requireOrder(t)
		listingOfDevices(t, env.store, userkit.DeviceFilter{UserID: d.user.ID, WithoutDisabled: true}, mine).requireOrder(t)
	}
}

// requireSealed demands the sealed devices, in order of id, at several page sizes.
func requireSealed(t *testing.T, store userkit.Store, want []userkit.DeviceRecord) {
	t.Helper()
	want = sortedByID(want, recordID)
	for _, limit := range []int{1, 2, 3, max(1, len(want)), len(want) + 1} {
		var walked []userkit.DeviceRecord
		var after userkit.DeviceID
		for {
			page, err := store.SealedDevices(t.Context(), after, limit)
			require.NoError(t, err)
			require.LessOrEqual(t, len(page), limit)
			walked = append(walked, page...)
			require.LessOrEqual(t, len(walked), len(want), "devices come twice")
			if len(page) < limit {
				break
			}
			after = page[len(page)-1].ID
		}
		requireList(t, want, walked, recordID, "%d a page", limit)
	}
}

func sealedDevices(t *testing.T, env env) {
	requireSealed(t, env.store, nil)
	owners := ownersOfLists(t, env.store)
	var sealed []userkit.DeviceRecord
	for _, n := range shuffled(listRecords) {
		device := newDevice(owners[n%listOwners].ID, 2*n)
		if n%3 == 1 {
			device.SealedToken = nil
		} else {
			sealed = append(sealed, device)
		}
		change := step(&owners[n%listOwners])
		change.Devices.Insert = []userkit.DeviceRecord{device}
		commit(t, env.store, change)
	}
	requireSealed(t, env.store, sealed)

	// After ids that no device has, and after the last one.
	sealed = sortedByID(sealed, recordID)
	for after, want := range map[userkit.DeviceID][]userkit.DeviceRecord{
		deviceID(2*2 + 1):            belonging(sealed, func(device userkit.DeviceRecord) bool { return device.ID.Compare(deviceID(5)) > 0 }),
		sealed[len(sealed)-1].ID:     {},
		{0xff, 0xff, 0xff, 0xff, 15}: {},
	} {
		got, err := env.store.SealedDevices(t.Context(), after, whole)
		require.NoError(t, err)
		require.Equal(t, want, append([]userkit.DeviceRecord{}, got...))
	}
}

func sealedDevicesAfterChange(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	d.devices[0].SealedToken = nil
	createAll(t, env.store, d, other)
	requireSealed(t, env.store, append(slices.Clone(other.devices), d.devices[1]))

	change := step(&d.user)
	d.devices[0].SealedToken, d.devices[1].SealedToken = []byte{0}, nil
	change.Devices.Update = d.devices
	commit(t, env.store, change)
	requireSealed(t, env.store, append(slices.Clone(other.devices), d.devices[0]))

	change = step(&d.user)
	d.devices[0].SealedToken = []byte("sealed again")
	change.Devices.Update = d.devices[:1]
	commit(t, env.store, change)
	requireSealed(t, env.store, append(slices.Clone(other.devices), d.devices[0]))

	change = step(&d.user)
	change.Devices.Delete = []userkit.DeviceID{d.devices[0].ID}
	deletion := step(&other.user)
	deletion.Delete = true
	commit(t, env.store, change, deletion)
	requireSealed(t, env.store, nil)
}

func deviceByPushToken(t *testing.T, env env) {
	ctx := t.Context()
	ada, bob := newDossier(0), newDossier(1)
	long := strings.Repeat("ü", userkit.MaxPushToken)
	for _, d := range []dossier{ada, bob} {
		for i := range d.devices {
			d.devices[i].PushToken, d.devices[i].PushTokenSetAt = "", time.Time{}
		}
	}
	ada.devices[0].PushToken, bob.devices[1].PushToken = "ada's", long
	createAll(t, env.store, ada, bob)
	requireHolder := func(token string, holder userkit.DeviceID) {
		t.Helper()
		found, err := env.store.DeviceByPushToken(ctx, token)
		if holder.IsZero() {
			requireCode(t, err, userkit.ErrNotFound, userkit.CodeDeviceNotFound)
			return
		}
		require.NoError(t, err)
		require.Equal(t, holder, found.ID)
		require.Equal(t, token, found.PushToken)
	}
	requireHolder("ada's", ada.devices[0].ID)
	requireHolder(long, bob.devices[1].ID)
	requireHolder("Ada's", userkit.DeviceID{})
	sets := func(d *dossier, at int, token string) userkit.Change {
		record := d.devices[at]
		record.PushToken = token
		change := step(&userkit.User{ID: d.user.ID, Account: d.user.Account})
		change.Devices.Update = []userkit.DeviceRecord{record}
		return change
	}

	// A token that another device has, of the user or of another, is taken.
	for _, change := range []userkit.Change{sets(&ada, 1, "ada's"), sets(&bob, 0, "ada's"), sets(&ada, 0, long)} {
		requireExists(t, outcome(t, env.store, change), userkit.CodePushTokenTaken, "push_token")
		inserted := newDevice(change.User, 70)
		inserted.PushToken = change.Devices.Update[0].PushToken
		change.Devices = userkit.Records[userkit.DeviceRecord, userkit.DeviceID]{Insert: []userkit.DeviceRecord{inserted}}
		requireExists(t, outcome(t, env.store, change), userkit.CodePushTokenTaken, "push_token")
	}
	requireDossier(t, env.store, ada)
	requireDossier(t, env.store, bob)

	// Of two changes that set it, one is made.
	outcomes, err := env.store.Commit(ctx, []userkit.Change{sets(&ada, 1, "wanted"), sets(&bob, 0, "wanted")})
	require.NoError(t, err)
	winner, loser := &ada, &bob
	if outcomes[0] != nil {
		winner, loser = &bob, &ada
		slices.Reverse(outcomes)
	}
	require.NoError(t, outcomes[0])
	requireExists(t, outcomes[1], userkit.CodePushTokenTaken, "push_token")
	at := map[*dossier]int{&ada: 1, &bob: 0}
	requireHolder("wanted", winner.devices[at[winner]].ID)
	winner.user.Version++

	// It is free once it is set no more, or its device is gone.
	commit(t, env.store, sets(winner, at[winner], ""))
	winner.user.Version++
	requireHolder("wanted", userkit.DeviceID{})
	commit(t, env.store, sets(loser, at[loser], "wanted"))
	loser.user.Version++
	requireHolder("wanted", loser.devices[at[loser]].ID)
	change := sets(&ada, 1, "ada's")
	change.Devices.Delete = []userkit.DeviceID{ada.devices[0].ID}
	commit(t, env.store, change)
	ada.user.Version++
	requireHolder("ada's", ada.devices[1].ID)
	change = step(&userkit.User{ID: ada.user.ID, Account: ada.user.Account})
	change.Delete, change.Events = true, []userkit.Event{newEvent(ada.user.ID, 77)}
	commit(t, env.store, change)
	requireHolder("ada's", userkit.DeviceID{})
	commit(t, env.store, sets(&bob, 0, "ada's"))
	requireHolder("ada's", bob.devices[0].ID)
}
