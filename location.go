package userkit

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"slices"
	"time"
)

// Location is the place of a device, in WGS 84 coordinates, and when it was measured. The zero
// Location means "none".
type Location struct {
	Latitude  float64   `json:"latitude"`  // degrees north, -90 to 90
	Longitude float64   `json:"longitude"` // degrees east, -180 to 180
	Accuracy  float64   `json:"accuracy"`  // the radius in metres, at most MaxAccuracy; 0: not known
	At        time.Time `json:"at"`        // when it was measured
}

// MaxAccuracy is the largest radius of a location, in metres.
const MaxAccuracy = 1e8

// BoundingBox is a part of the earth between two parallels and two meridians, its edges
// included, in degrees as in Location. As in RFC 7946, section 5.2, a box whose West is greater
// than its East crosses the antimeridian, where the longitudes 180 and -180 are the same. In JSON
// it is the array [west, south, east, north].
type BoundingBox struct {
	West, South, East, North float64
}

// MarshalJSON writes the box as in RFC 7946.
func (b BoundingBox) MarshalJSON() ([]byte, error) {
	return json.Marshal([4]float64{b.West, b.South, b.East, b.North})
}

// UnmarshalJSON reads a box as in RFC 7946, without heights.
func (b *BoundingBox) UnmarshalJSON(data []byte) error {
	var edges []float64
	if err := json.Unmarshal(data, &edges); err != nil {
		return err
	}
	if len(edges) != 4 {
		return NewError(CodeBadFormat, "bbox", "a box has four numbers, not %d", len(edges))
	}
	*b = BoundingBox{edges[0], edges[1], edges[2], edges[3]}
	return nil
}

// LocationQuery asks for a page of devices that have a location.
type LocationQuery struct {
	LocationFilter
	PageQuery // one order only, in which neighbours are mostly near each other
}

// LocationFilter says which devices that have a location; the zero filter means all of the
// project.
type LocationFilter struct {
	UserID UserID                `json:"user_id,omitzero"` // zero: of all users
	Box    Optional[BoundingBox] `json:"bbox,omitzero"`    // where they are; not set: anywhere
}

// GeoJSONType is the media type of GeoJSON (RFC 7946, section 12).
const GeoJSONType = "application/geo+json"

// FeatureCollection is a page of devices with their last location. Its JSON is a
// FeatureCollection of GeoJSON (RFC 7946, section 3.3).
type FeatureCollection struct {
	Type     string                `json:"type"`           // "FeatureCollection"
	Box      Optional[BoundingBox] `json:"bbox,omitzero"`  // the smallest box around the features; not set: there are none
	Features []Feature             `json:"features"`       // never nil
	Next     Cursor                `json:"next,omitempty"` // empty: this is the last page
}

// Feature is a device at its last location, a Feature of GeoJSON.
type Feature struct {
	Type       string            `json:"type"` // "Feature"
	ID         DeviceID          `json:"id"`
	Geometry   Point             `json:"geometry"`
	Properties FeatureProperties `json:"properties"`
}

// Point is a Point of GeoJSON.
type Point struct {
	Type        string     `json:"type"`        // "Point"
	Coordinates [2]float64 `json:"coordinates"` // longitude, latitude
}

// FeatureProperties are the properties of a device on a map.
type FeatureProperties struct {
	UserID   UserID     `json:"user_id"`
	Name     string     `json:"name,omitempty"`
	Type     DeviceType `json:"type"`
	Accuracy float64    `json:"accuracy"` // see Location
	At       time.Time  `json:"at"`
}

// LocationManager keeps the last location of each device that has consented to it.
//
// A device consents by NewDevice.LocationConsent or DevicePatch.LocationConsent, and the event of
// that call records the actor. Only the newest location of each device is kept. There is no history
// of locations, and reports write no events.
type LocationManager interface {
	// ReportLocation sets the location of a device and returns the device. A location without a
	// time, or with a time in the future, is taken as measured now. A location that was measured
	// before the known one, unless that is in the future, or not after Device.LocationForgottenAt, changes nothing. One that was
	// measured before the device first consented is kept, since an application that has just got
	// the consent may send the last location that it knows.
	//
	// It returns ErrNotFound with CodeDeviceNotFound, ErrRefused with CodeNoLocationConsent if the
	// device has not consented, ErrRefused with CodeUserDisabled or CodeUserInactive, and
	// ErrInvalid with CodeOutOfRange.
	ReportLocation(ctx context.Context, device DeviceID, location Location) (Device, error)

	// Locations returns the devices that have a location, of a user or of the project, as
	// GeoJSON. It returns ErrInvalid with CodeOutOfRange for a box with an edge beyond the bounds
	// of Location, or whose South is greater than its North.
	Locations(ctx context.Context, query LocationQuery) (FeatureCollection, error)

	// ForgetLocations deletes the locations of all devices of a user, and returns their number.
	// Devices that have consented may report new ones, but none that they measured before; see
	// Device.LocationForgottenAt. DevicePatch.LocationConsent withdraws the consent of a device,
	// which deletes its location as well.
	ForgetLocations(ctx context.Context, user UserID) (int, error)
}

// LocationFields is the table of the one field that lists of locations sort by. For
// writers of stores.
func LocationFields() []Field[Device] { return append([]Field[Device](nil), locationFields.fields...) }

var locationFields = newFieldTable(
	func(d *Device) [16]byte { return d.ID },
	Order{Field: "place"},
	Field[Device]{Name: "place", Kind: KindInteger, Get: func(d *Device) any { return d.Location.Place() }},
)

// placeBits is how many bits of a place are of the latitude, and of the longitude: a step is
// less than 2 cm at the equator.
const placeBits = 31

// Place returns the number of the location on a Z-order curve over the earth, on which a box is a
// few ranges of numbers; see BoundingBox.Places.
//
// For writers of stores.
func (l Location) Place() int64 {
	return spread(step(l.Longitude, 180)) | spread(step(l.Latitude, 90))<<1
}

// step returns the number of the step from -most to most that an angle is in.
func step(angle, most float64) int64 {
	const steps = 1 << placeBits
	return min(max(int64((angle+most)/(2*most)*steps), 0), steps-1)
}

// spread puts a zero before each of the lower 31 bits.
func spread(x int64) int64 {
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x | x<<4) & 0x0f0f0f0f0f0f0f0f
	x = (x | x<<2) & 0x3333333333333333
	return (x | x<<1) & 0x5555555555555555
}

// Meridians are the longitudes from West to East, both included.
//
// For writers of stores.
type Meridians struct{ West, East float64 }

// Meridians returns the longitudes of the box, in several parts if the box crosses or touches the
// antimeridian.
//
// For writers of stores.
func (b BoundingBox) Meridians() []Meridians {
	parts := []Meridians{{b.West, b.East}}
	if b.West > b.East {
		parts = []Meridians{{-180, b.East}, {b.West, 180}}
	}
	if parts[0].West == -180 && parts[len(parts)-1].East != 180 {
		parts = append(parts, Meridians{180, 180})
	}
	if parts[len(parts)-1].East == 180 && parts[0].West != -180 {
		parts = append([]Meridians{{-180, -180}}, parts...)
	}
	return parts
}

// Contains reports whether a location is in the box.
func (b BoundingBox) Contains(l Location) bool {
	return b.South <= l.Latitude && l.Latitude <= b.North &&
		slices.ContainsFunc(b.Meridians(), func(part Meridians) bool { return part.West <= l.Longitude && l.Longitude <= part.East })
}

// MaxPlaceRanges is the maximum number of ranges that BoundingBox.Places returns.
const MaxPlaceRanges = 32

// PlaceRange are the places (see Location.Place) from First to Last, both included.
type PlaceRange struct{ First, Last int64 }

// Places returns ranges that contain the places of all locations in the box, and of others nearby.
// The ranges are sorted and do not overlap; there is at least one, and at most MaxPlaceRanges.
//
// For writers of stores.
func (b BoundingBox) Places() []PlaceRange {
	type window struct{ west, east, south, north int64 }
	var windows []window
	for _, part := range b.Meridians() {
		windows = append(windows, window{step(part.West, 180), step(part.East, 180), step(b.South, 90), step(b.North, 90)})
	}
	// A cell is a square of the curve: 2^size steps wide, and so many times four places long.
	// Cells that the box covers in part are split until there would be too many.
	type cell struct{ x, y int64 }
	partly, size := []cell{{}}, placeBits
	var ranges []PlaceRange
	keep := func(c cell, size int) {
		first := spread(c.x) | spread(c.y)<<1
		ranges = append(ranges, PlaceRange{first, first + 1<<(2*size) - 1})
	}
	for size > 0 {
		half := int64(1) << (size - 1)
		var smaller, whole []cell
		for _, c := range partly {
			for _, part := range []cell{{c.x, c.y}, {c.x + half, c.y}, {c.x, c.y + half}, {c.x + half, c.y + half}} {
				inside, touched := false, false
				for _, w := range windows {
					east, north := part.x+half-1, part.y+half-1
					touched = touched || part.x <= w.east && east >= w.west && part.y <= w.north && north >= w.south
					inside = inside || part.x >= w.west && east <= w.east && part.y >= w.south && north <= w.north
				}
				switch {
				case inside:
					whole = append(whole, part)
				case touched:
					smaller = append(smaller, part)
				}
			}
		}
		if len(ranges)+len(smaller)+len(whole) > MaxPlaceRanges {
			break
		}
		size--
		for _, c := range whole {
			keep(c, size)
		}
		partly = smaller
	}
	for _, c := range partly {
		keep(c, size)
	}
	slices.SortFunc(ranges, func(a, b PlaceRange) int { return cmp.Compare(a.First, b.First) })
	joined := ranges[:1]
	for _, next := range ranges[1:] {
		if last := &joined[len(joined)-1]; next.First == last.Last+1 {
			last.Last = next.Last
		} else {
			joined = append(joined, next)
		}
	}
	return joined
}

func (b BoundingBox) check() error {
	inside := func(x, most float64) bool { return x >= -most && x <= most } // false for NaN
	if !inside(b.West, 180) || !inside(b.East, 180) || !inside(b.South, 90) || !inside(b.North, 90) || b.South > b.North {
		return NewError(CodeOutOfRange, "bbox", "from %g, %g to %g, %g is not an area on earth", b.South, b.West, b.North, b.East)
	}
	return nil
}

// normalise checks a location and fills in what it leaves open.
func (l Location) normalise(now time.Time) (Location, error) {
	inside := func(x, most float64) bool { return x >= -most && x <= most }
	if !inside(l.Latitude, 90) || !inside(l.Longitude, 180) || !(l.Accuracy >= 0 && l.Accuracy <= MaxAccuracy) {
		return l, NewError(CodeOutOfRange, "location", "%g, %g within %g m is not a place on earth", l.Latitude, l.Longitude, l.Accuracy)
	}
	if err := checkTime("location.at", l.At); err != nil {
		return l, err
	}
	if l.At = storedTime(l.At); l.At.IsZero() || l.At.After(now) {
		l.At = now
	}
	return l, nil
}

// report decides on the location that a device reports.
func (l Location) report(state *State, record DeviceRecord, o origin) (Device, Change, error) {
	if err := state.User.Status.refusal(); err != nil {
		return Device{}, Change{}, err
	}
	if record.LocationConsentAt.IsZero() {
		return Device{}, Change{}, NewError(CodeNoLocationConsent, "", "device %s has not agreed that its location is kept", record.ID)
	}
	// A known time that is yet to come was given by a process whose clock is ahead, or was.
	newer := l.At.After(record.Location.At) || record.Location.At.After(o.now)
	if !newer || !l.At.After(record.LocationForgottenAt) {
		return record.Device, Change{}, nil
	}
	c := state.change()
	record.Location = l
	c.Devices.Update = append(c.Devices.Update, record)
	return record.Device, c, nil
}

// agree sets whether the device agrees that its location is kept, and reports whether that
// is new.
func (d *Device) agree(now time.Time, agrees bool) bool {
	if agrees != d.LocationConsentAt.IsZero() {
		return false
	}
	if !agrees {
		d.LocationConsentAt = time.Time{}
		d.forgetLocation(now)
		return true
	}
	d.LocationConsentAt = now
	if !d.LocationForgottenAt.IsZero() { // a position that was measured after this has no consent
		d.forgetLocation(now)
	}
	return true
}

// forgetLocation deletes the location, and makes sure that no earlier one is kept afterwards.
func (d *Device) forgetLocation(now time.Time) {
	d.Location, d.LocationForgottenAt = Location{}, latest(d.LocationForgottenAt, now)
}

// forgetLocations decides the deletion of the locations of all devices, which must be loaded.
func forgetLocations(state *State, o origin) (int, Change, error) {
	if len(state.Devices) == 0 {
		return 0, Change{}, nil
	}
	c := state.change()
	count := 0
	for _, record := range state.Devices {
		if record.Location != (Location{}) {
			count++
		}
		record.forgetLocation(o.now)
		c.Devices.Update = append(c.Devices.Update, record)
	}
	if count > 0 {
		o.record(&c, EventLocationsForgotten, DeviceID{}, "devices", count)
	}
	return count, c, nil
}

// featuresOf makes a page of GeoJSON of one of devices.
func featuresOf(page Page[Device]) FeatureCollection {
	collection := FeatureCollection{Type: "FeatureCollection", Features: make([]Feature, len(page.Items)), Next: page.Next}
	for i, device := range page.Items {
		at := device.Location
		collection.Features[i] = Feature{
			Type: "Feature", ID: device.ID,
			Geometry:   Point{Type: "Point", Coordinates: [2]float64{at.Longitude, at.Latitude}},
			Properties: FeatureProperties{UserID: device.UserID, Name: device.Name, Type: device.Type, Accuracy: at.Accuracy, At: at.At},
		}
	}
	if len(page.Items) > 0 {
		collection.Box = Set(boxAround(collection.Features))
	}
	return collection
}

// boxAround returns the smallest box around features, of which there is one at least: the one
// that leaves out the widest gap between their meridians.
func boxAround(features []Feature) BoundingBox {
	box := BoundingBox{South: math.Inf(1), North: math.Inf(-1)}
	longitudes := make([]float64, len(features))
	for i, feature := range features {
		longitudes[i] = feature.Geometry.Coordinates[0]
		box.South, box.North = min(box.South, feature.Geometry.Coordinates[1]), max(box.North, feature.Geometry.Coordinates[1])
	}
	slices.Sort(longitudes)
	last := len(longitudes) - 1
	box.West, box.East = longitudes[0], longitudes[last]
	widest := 360 - (box.East - box.West)
	for i, west := range longitudes[:last] {
		if gap := longitudes[i+1] - west; gap > widest {
			widest, box.West, box.East = gap, longitudes[i+1], west
		}
	}
	return box
}

func (m *manager) ReportLocation(ctx context.Context, device DeviceID, location Location) (_ Device, err error) {
	ctx, call, err := enter(ctx, m, opReportLocation, device)
	if err != nil {
		return Device{}, err
	}
	defer call.leave(ctx, &err)
	if location, err = location.normalise(call.now); err != nil {
		return Device{}, err
	}
	return changeDevice(ctx, m, call.origin, device, Want{Profile: true}, location.report)
}

func (m *manager) Locations(ctx context.Context, query LocationQuery) (_ FeatureCollection, err error) {
	ctx, call, err := enterOf(ctx, m, opLocations, &query.UserID)
	if err != nil {
		return FeatureCollection{}, err
	}
	defer call.leave(ctx, &err)
	if query.Sort != "" {
		return FeatureCollection{}, NewError(CodeUnknownField, "sort", "locations have only one order")
	}
	if box, set := query.Box.Get(); set {
		if err := box.check(); err != nil {
			return FeatureCollection{}, err
		}
	}
	page, err := readPage(query.PageQuery, locationFields, "locations", query.LocationFilter, func(list ListRange) ([]Device, error) {
		return m.store.Locations(ctx, query.LocationFilter, list)
	})
	if err != nil {
		return FeatureCollection{}, err
	}
	return featuresOf(page), nil
}

func (m *manager) ForgetLocations(ctx context.Context, user UserID) (_ int, err error) {
	ctx, call, err := enter(ctx, m, opForgetLocations, user)
	if err != nil {
		return 0, err
	}
	defer call.leave(ctx, &err)
	return change(ctx, m, command{want: Want{User: user, AllDevices: true}}, func(state *State) (int, Change, error) {
		return forgetLocations(state, call.origin)
	})
}
