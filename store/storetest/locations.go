package storetest

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func storeLocationGroup() group {
	return group{"Locations", []testCase{
		{"of boxes, users and pages, both ways, are those that the contract says", storeLocations},
		{"follow devices that move, are forgotten and deleted", storeLocationsFollow},
	}}
}

// locations returns what a store has to list.
func locations(devices []userkit.DeviceRecord, filter userkit.LocationFilter, list userkit.ListRange) []userkit.DeviceID {
	box, bounded := filter.Box.Get()
	position := func(d userkit.DeviceRecord) userkit.ListPosition {
		return userkit.ListPosition{Key: d.Location.Place(), ID: d.ID}
	}
	var found []userkit.DeviceRecord
	for _, device := range devices {
		after := list.After == nil
		if !after {
			order := userkit.CompareListPositions(position(device), *list.After)
			after = order > 0 && !list.Order.Descending || order < 0 && list.Order.Descending
		}
		if after && !device.Location.At.IsZero() && (filter.UserID.IsZero() || device.UserID == filter.UserID) && (!bounded || box.Contains(device.Location)) {
			found = append(found, device)
		}
	}
	slices.SortFunc(found, func(a, b userkit.DeviceRecord) int {
		if list.Order.Descending {
			a, b = b, a
		}
		return userkit.CompareListPositions(position(a), position(b))
	})
	ids := []userkit.DeviceID{}
	for _, device := range found[:min(len(found), list.Limit)] {
		ids = append(ids, device.ID)
	}
	return ids
}

func requireLocations(t *testing.T, store userkit.Store, devices []userkit.DeviceRecord, filter userkit.LocationFilter, list userkit.ListRange) {
	t.Helper()
	listed, err := store.Locations(t.Context(), filter, list)
	require.NoError(t, err)
	ids := []userkit.DeviceID{}
	for _, device := range listed {
		ids = append(ids, device.ID)
		at := slices.IndexFunc(devices, func(d userkit.DeviceRecord) bool { return d.ID == device.ID })
		require.Equal(t, devices[at].Device, device)
	}
	require.Equal(t, locations(devices, filter, list), ids, "%+v %+v", filter, list)
}

func storeLocations(t *testing.T, env env) {
	random := rand.New(rand.NewPCG(12, 7))
	// Many lie on edges: of the map, of boxes and of one another.
	degrees := func(most float64) float64 {
		if random.IntN(3) > 0 {
			return most * float64(random.IntN(5)-2) / 2
		}
		return most * (2*random.Float64() - 1)
	}
	one, other := newDossier(1), newDossier(2)
	var devices []userkit.DeviceRecord
	for _, d := range []*dossier{&one, &other} {
		d.devices = nil
		for n := range 30 {
			device := newDevice(d.user.ID, 100+2*n+len(devices)%2)
			device.ID = userkit.NewID[userkit.Device]()
			device.TokenDigest[0], device.TokenDigest[1] = byte(n), byte(len(devices))
			device.PushToken = device.ID.String()
			device.Location.Latitude, device.Location.Longitude = degrees(90), degrees(180)
			if n%10 == 0 {
				device.Location = userkit.Location{}
			}
			d.devices = append(d.devices, device)
			devices = append(devices, device)
		}
	}
	createAll(t, env.store, one, other)
	for range 40 {
		var filter userkit.LocationFilter
		if random.IntN(5) > 0 {
			box := userkit.BoundingBox{West: degrees(180), South: degrees(90), East: degrees(180), North: degrees(90)}
			box.South, box.North = min(box.South, box.North), max(box.South, box.North)
			filter.Box = userkit.Set(box)
		}
		if random.IntN(4) == 0 {
			filter.UserID = one.user.ID
		}
		list := userkit.ListRange{Order: userkit.Order{Field: "place", Descending: random.IntN(2) == 0}, Limit: 1 + random.IntN(20)}
		if random.IntN(2) == 0 {
			from := devices[random.IntN(len(devices))]
			list.After = &userkit.ListPosition{Key: from.Location.Place(), ID: from.ID}
		}
		requireLocations(t, env.store, devices, filter, list)
	}
	_, err := env.store.Locations(t.Context(), userkit.LocationFilter{}, userkit.ListRange{Order: userkit.Order{Field: "name"}, Limit: 1})
	requireCode(t, err, userkit.ErrInvalid, userkit.CodeUnknownField)
}

func storeLocationsFollow(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	list := userkit.ListRange{Order: userkit.Order{Field: "place"}, Limit: 10}
	filters := []userkit.LocationFilter{{}, {UserID: d.user.ID}, {Box: userkit.Set(userkit.BoundingBox{West: -180, South: -90, East: 180, North: 90})}}
	check := func() {
		t.Helper()
		for _, filter := range filters {
			requireLocations(t, env.store, slices.Concat(d.devices, other.devices), filter, list)
		}
	}
	check()
	for _, location := range []userkit.Location{
		{Latitude: -1, Longitude: 179, At: at(1)}, {}, {Latitude: 1, Longitude: -179, At: at(2)},
		{Latitude: 1, Longitude: -179, Accuracy: 5, At: at(3)},
	} {
		change := step(&d.user)
		d.devices[0].Location = location
		change.Devices.Update = []userkit.DeviceRecord{d.devices[0]}
		commit(t, env.store, change)
		check()
	}
	change := step(&d.user)
	change.Devices.Delete = []userkit.DeviceID{d.devices[0].ID}
	d.devices = d.devices[1:]
	commit(t, env.store, change)
	check()
	change = step(&d.user)
	change.Delete = true
	d.devices = nil
	commit(t, env.store, change)
	check()
}

func locationGroups() []group {
	return []group{{"ReportLocation", []testCase{
		{"keeps the newest location of a device that agreed, without an event", locationReported},
		{"refuses who has not agreed, who may not and what is no place, and writes nothing", locationRefused},
		{"keeps nothing from before locations were forgotten or consent was withdrawn", locationsFromBefore},
		{"is GeoJSON of a user and of a box, page by page", locationsAreGeoJSON},
		{"is undone by ForgetLocations, by withdrawing, by a deletion, and is in the archive", locationsForgotten},
	}}}
}

var berlin = userkit.Location{Latitude: 52.52, Longitude: 13.405, Accuracy: 20, At: at(-60)}

func (d *desk) locate(t *testing.T, id userkit.DeviceID, location userkit.Location) userkit.Device {
	t.Helper()
	device, err := d.ReportLocation(t.Context(), id, location)
	require.NoError(t, err)
	reread, err := d.Device(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, reread, device)
	return device
}

func locationReported(t *testing.T, env env) {
	d := env.desk(t)
	user := d.signUp(t)
	device := d.register(t, user.ID, userkit.NewDevice{LocationConsent: true})
	require.Equal(t, base, device.LocationConsentAt)
	require.Empty(t, d.eventsDuring(t, user.ID, func() {
		require.Equal(t, berlin, d.locate(t, device.ID, berlin).Location)
		older := userkit.Location{Latitude: 1, At: at(-61)}
		require.Equal(t, berlin, d.locate(t, device.ID, older).Location)
		for _, when := range []time.Time{{}, d.clock.Now().Add(time.Hour)} {
			d.clock.Advance(time.Second)
			moved := userkit.Location{Latitude: -90, Longitude: 180, At: when}
			want := moved
			want.At = d.clock.Now()
			require.Equal(t, want, d.locate(t, device.ID, moved).Location)
		}
	}))
	// What a process reported whose clock was ahead does not stand for years.
	now := d.clock.Now()
	d.clock.Advance(3 * 365 * 24 * time.Hour)
	require.Equal(t, d.clock.Now(), d.locate(t, device.ID, userkit.Location{}).Location.At)
	d.clock.Set(now.Add(time.Second))
	moved := userkit.Location{Latitude: 1, Longitude: 2, At: now.Add(time.Second)}
	require.Equal(t, moved, d.locate(t, device.ID, moved).Location)
	events := d.eventsDuring(t, user.ID, func() {
		withdrawn, err := d.UpdateDevice(t.Context(), device.ID, userkit.DevicePatch{LocationConsent: userkit.Set(false)})
		require.NoError(t, err)
		require.Zero(t, withdrawn.Location)
		require.Zero(t, withdrawn.LocationConsentAt)
	})
	require.Len(t, events, 1)
	require.JSONEq(t, `{"fields": ["location_consent"], "location_consent": false}`, string(events[0].Data))
}

func locationRefused(t *testing.T, env env) {
	d := env.desk(t)
	user := d.signUp(t)
	agreed := d.register(t, user.ID, userkit.NewDevice{LocationConsent: true, HardwareID: "phone"})
	silent := d.register(t, user.ID, userkit.NewDevice{})
	before := d.picture(t, user.ID)
	_, err := d.ReportLocation(t.Context(), silent.ID, berlin)
	requireCode(t, err, userkit.ErrRefused, userkit.CodeNoLocationConsent)
	_, err = d.ReportLocation(t.Context(), userkit.NewID[userkit.Device](), berlin)
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeDeviceNotFound)
	for _, nowhere := range []userkit.Location{
		{Latitude: 91}, {Latitude: math.NaN()}, {Latitude: math.Inf(-1)}, {Longitude: 180.1}, {Longitude: math.NaN()}, {Longitude: math.Inf(1)},
		{Accuracy: -1}, {Accuracy: math.NaN()}, {Accuracy: math.Inf(1)},
	} {
		_, err = d.ReportLocation(t.Context(), agreed.ID, nowhere)
		requireField(t, err, userkit.ErrInvalid, userkit.CodeOutOfRange, "location")
	}
	for _, box := range []userkit.BoundingBox{{West: math.NaN()}, {North: math.Inf(1)}, {East: 181}, {South: math.NaN()}} {
		_, err = d.Locations(t.Context(), userkit.LocationQuery{LocationFilter: userkit.LocationFilter{Box: userkit.Set(box)}})
		requireField(t, err, userkit.ErrInvalid, userkit.CodeOutOfRange, "bbox")
	}
	_, err = d.Locations(t.Context(), userkit.LocationQuery{LocationFilter: userkit.LocationFilter{Box: userkit.Set(userkit.BoundingBox{South: 1})}})
	requireField(t, err, userkit.ErrInvalid, userkit.CodeOutOfRange, "bbox")
	_, err = d.Locations(t.Context(), userkit.LocationQuery{PageQuery: userkit.PageQuery{Sort: "place"}})
	requireField(t, err, userkit.ErrInvalid, userkit.CodeUnknownField, "sort")
	_, err = d.ForgetLocations(t.Context(), userkit.NewID[userkit.User]())
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
	require.Equal(t, before, d.picture(t, user.ID))

	_, err = d.DeactivateUser(t.Context(), user.ID)
	require.NoError(t, err)
	_, err = d.ReportLocation(t.Context(), agreed.ID, berlin)
	requireCode(t, err, userkit.ErrRefused, userkit.CodeUserDisabled)
	_, err = d.ActivateUser(t.Context(), user.ID)
	require.NoError(t, err)
	d.locate(t, agreed.ID, berlin)
	again := d.register(t, user.ID, userkit.NewDevice{HardwareID: "phone"})
	require.Zero(t, again.Location, "whoever registers again has not agreed")
	_, err = d.ReportLocation(t.Context(), again.ID, berlin)
	requireCode(t, err, userkit.ErrRefused, userkit.CodeNoLocationConsent)
}

// A device measures where it is, and reports it later: what it measured before it was to be
// forgotten stays forgotten.
func locationsFromBefore(t *testing.T, env env) {
	d := env.desk(t)
	ways := []struct {
		name   string
		forget func(device userkit.Device) error
	}{
		{"ForgetLocations", func(device userkit.Device) error {
			_, err := d.ForgetLocations(t.Context(), device.UserID)
			return err
		}},
		{"withdrawing", func(device userkit.Device) error {
			_, err := d.UpdateDevice(t.Context(), device.ID, userkit.DevicePatch{LocationConsent: userkit.Set(false)})
			return err
		}},
		{"registering again", func(device userkit.Device) error {
			_, err := d.RegisterDevice(t.Context(), device.UserID, userkit.NewDevice{HardwareID: device.HardwareID})
			return err
		}},
	}
	for _, way := range ways {
		for _, reported := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, reported before: %t", way.name, reported), func(t *testing.T) {
				user := d.signUp(t)
				device := d.register(t, user.ID, userkit.NewDevice{LocationConsent: true, HardwareID: "phone"})
				require.Zero(t, device.LocationForgottenAt)
				if reported {
					d.locate(t, device.ID, berlin)
				}
				measured := func() userkit.Location {
					d.clock.Advance(time.Second)
					return userkit.Location{Latitude: 1, Longitude: 2, At: d.clock.Now()}
				}
				late := []userkit.Location{berlin, measured()}
				d.clock.Advance(time.Second)
				require.NoError(t, way.forget(device))
				forgotten := d.clock.Now()
				device, err := d.Device(t.Context(), device.ID)
				require.NoError(t, err)
				require.Equal(t, forgotten, device.LocationForgottenAt)
				if device.LocationConsentAt.IsZero() {
					late = append(late, measured()) // nobody agreed to this one
					d.clock.Advance(time.Second)
					device, err = d.UpdateDevice(t.Context(), device.ID, userkit.DevicePatch{LocationConsent: userkit.Set(true)})
					require.NoError(t, err)
				}
				late = append(late, userkit.Location{Latitude: 3, At: device.LocationForgottenAt})
				for _, location := range late {
					require.Equal(t, device, d.locate(t, device.ID, location))
				}
				next := measured()
				require.Equal(t, next, d.locate(t, device.ID, next).Location)
			})
		}
	}
	t.Run("a clock that goes back", func(t *testing.T) {
		user := d.signUp(t)
		device := d.register(t, user.ID, userkit.NewDevice{LocationConsent: true})
		var marks []time.Time
		for range 2 {
			_, err := d.ForgetLocations(t.Context(), user.ID)
			require.NoError(t, err)
			read, err := d.Device(t.Context(), device.ID)
			require.NoError(t, err)
			marks = append(marks, read.LocationForgottenAt)
			d.clock.Advance(-time.Minute)
		}
		require.Equal(t, marks[0], marks[1])
	})
}

func locationsAreGeoJSON(t *testing.T, env env) {
	d := env.desk(t)
	user, other := d.signUp(t), d.signUp(t)
	device := d.register(t, user.ID, userkit.NewDevice{Name: "Ada's phone", Type: userkit.DeviceIOS, LocationConsent: true})
	d.locate(t, device.ID, berlin)
	d.register(t, user.ID, userkit.NewDevice{LocationConsent: true})
	for _, longitude := range []float64{179, -179, 180} {
		fiji := d.register(t, other.ID, userkit.NewDevice{LocationConsent: true})
		d.locate(t, fiji.ID, userkit.Location{Latitude: -17, Longitude: longitude})
	}
	collection, err := d.Locations(t.Context(), userkit.LocationQuery{LocationFilter: userkit.LocationFilter{UserID: user.ID}})
	require.NoError(t, err)
	written, err := json.Marshal(collection)
	require.NoError(t, err)
	require.JSONEq(t, `{"type": "FeatureCollection", "bbox": [13.405, 52.52, 13.405, 52.52], "features": [{
		"type": "Feature", "id": "`+device.ID.String()+`", "geometry": {"type": "Point", "coordinates": [13.405, 52.52]},
		"properties": {"user_id": "`+user.ID.String()+`", "name": "Ada's phone", "type": "ios", "accuracy": 20, "at": "`+berlin.At.Format(time.RFC3339Nano)+`"}}]}`, string(written))
	var reread userkit.FeatureCollection
	require.NoError(t, json.Unmarshal(written, &reread))
	require.Equal(t, collection, reread)

	query := userkit.LocationQuery{
		LocationFilter: userkit.LocationFilter{Box: userkit.Set(userkit.BoundingBox{West: 178, South: -20, East: -178, North: 20})},
		PageQuery:      userkit.PageQuery{Limit: 2},
	}
	first, err := d.Locations(t.Context(), query)
	require.NoError(t, err)
	require.Len(t, first.Features, 2)
	query.Cursor = first.Next
	second, err := d.Locations(t.Context(), query)
	require.NoError(t, err)
	require.Len(t, second.Features, 1)
	require.Empty(t, second.Next)
	for _, feature := range slices.Concat(first.Features, second.Features) {
		require.Equal(t, other.ID, feature.Properties.UserID)
	}
	query.Box = userkit.Set(userkit.BoundingBox{West: -178, South: -20, East: 178, North: 20})
	_, err = d.Locations(t.Context(), query)
	requireCode(t, err, userkit.ErrInvalid, userkit.CodeCursorMismatch)
	query.Cursor = ""
	empty, err := d.Locations(t.Context(), query)
	require.NoError(t, err)
	written, err = json.Marshal(empty)
	require.NoError(t, err)
	require.JSONEq(t, `{"type": "FeatureCollection", "features": []}`, string(written))
}

func locationsForgotten(t *testing.T, env env) {
	d := env.desk(t)
	user, other := d.signUp(t), d.signUp(t)
	var devices []userkit.Device
	for range 3 {
		devices = append(devices, d.register(t, user.ID, userkit.NewDevice{LocationConsent: true}))
	}
	beside := d.register(t, other.ID, userkit.NewDevice{LocationConsent: true})
	for _, id := range []userkit.DeviceID{devices[0].ID, devices[1].ID, beside.ID} {
		d.locate(t, id, berlin)
	}
	archived := 0
	for record, err := range d.UserRecords(t.Context(), user.ID) {
		require.NoError(t, err)
		if device, ok := record.Value.(userkit.Device); ok && device.Location == berlin {
			archived++
		}
	}
	require.Equal(t, 2, archived)

	events := d.eventsDuring(t, user.ID, func() {
		for _, want := range []int{2, 0} {
			forgotten, err := d.ForgetLocations(t.Context(), user.ID)
			require.NoError(t, err)
			require.Equal(t, want, forgotten)
		}
	})
	require.Len(t, events, 1)
	require.Equal(t, userkit.EventLocationsForgotten, events[0].Name)
	require.JSONEq(t, `{"devices": 2}`, string(events[0].Data))
	left, err := d.Locations(t.Context(), userkit.LocationQuery{})
	require.NoError(t, err)
	require.Len(t, left.Features, 1)
	require.Equal(t, beside.ID, left.Features[0].ID)
	require.Zero(t, d.locate(t, devices[0].ID, berlin).Location, "it is from before")
	d.clock.Advance(time.Second)
	back := berlin
	back.At = d.clock.Now()
	require.Equal(t, back, d.locate(t, devices[0].ID, back).Location, "the device still agrees")

	_, err = d.DeleteUser(t.Context(), other.ID, other.ID.String())
	require.NoError(t, err)
	left, err = d.Locations(t.Context(), userkit.LocationQuery{})
	require.NoError(t, err)
	require.Len(t, left.Features, 1)
	require.Equal(t, devices[0].ID, left.Features[0].ID)
}
