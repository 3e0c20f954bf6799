package memory

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/userkit/userkit"
)

// devices holds the devices of all users and their indexes. The devices of one
// user are among its belongings.
type devices struct {
	byID           map[userkit.DeviceID]*device
	byToken        map[userkit.TokenDigest]*device
	byPushToken    map[string]*device
	byRegistration set[device, byRegistration]
	sealed         set[device, byDeviceID] // those with a sealed token
	byPlace        set[device, byPlace]    // those with a location
}

// device is a userkit.DeviceRecord as it is kept.
type device struct {
	id           userkit.DeviceID
	registeredAt micros
	owner        uint32 // the number of the user
	user         userkit.UserID
	tokenHint    string
	name         string
	kind         word
	hardwareID   string
	pushToken    string
	pushTokenSet micros
	lastSeenAt   micros
	location     *location // nil: none
	consentAt    micros
	forgottenAt  micros // the location
	digest       userkit.TokenDigest
	sealed       []byte
}

type location struct {
	latitude, longitude, accuracy float64
	at                            micros
	place                         int64
}

type byDeviceID struct{}

func (byDeviceID) compare(a, b *device) int { return compareIDs(&a.id, &b.id) }

type byRegistration struct{}

func (byRegistration) compare(a, b *device) int {
	if c := cmp.Compare(a.registeredAt, b.registeredAt); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

type byPlace struct{}

func (byPlace) compare(a, b *device) int {
	if c := cmp.Compare(a.location.place, b.location.place); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

// located reports whether lists of locations have the device.
func (d *device) located() bool { return d.location != nil && d.location.at != none }

func deviceOf(user userkit.UserID, from *userkit.DeviceRecord) *device {
	d := &device{
		id:           from.ID,
		user:         user,
		tokenHint:    from.TokenHint,
		name:         from.Name,
		kind:         wordOf(from.Type),
		hardwareID:   from.HardwareID,
		pushToken:    from.PushToken,
		pushTokenSet: microsOf(from.PushTokenSetAt),
		registeredAt: microsOf(from.RegisteredAt),
		lastSeenAt:   microsOf(from.LastSeenAt),
		consentAt:    microsOf(from.LocationConsentAt),
		forgottenAt:  microsOf(from.LocationForgottenAt),
		digest:       from.TokenDigest,
	}
	if from.Location != (userkit.Location{}) {
		at := from.Location
		d.location = &location{at.Latitude, at.Longitude, at.Accuracy, microsOf(at.At), at.Place()}
	}
	if len(from.SealedToken) > 0 {
		d.sealed = slices.Clone(from.SealedToken)
	}
	return d
}

func (d *device) fill(to *userkit.Device) {
	*to = userkit.Device{
		ID:           d.id,
		UserID:       d.user,
		TokenHint:    d.tokenHint,
		Name:         d.name,
		Type:         userkit.DeviceType(d.kind.Value()),
		HardwareID:   d.hardwareID,
		PushToken:    d.pushToken,
		RegisteredAt: d.registeredAt.time(),
		LastSeenAt:   d.lastSeenAt.time(),

		LocationConsentAt:   d.consentAt.time(),
		LocationForgottenAt: d.forgottenAt.time(),
		PushTokenSetAt:      d.pushTokenSet.time(),
	}
	if at := d.location; at != nil {
		to.Location = userkit.Location{
			Latitude:  at.latitude,
			Longitude: at.longitude,
			Accuracy:  at.accuracy,
			At:        at.at.time(),
		}
	}
}

func (d *device) out() (to userkit.Device) {
	d.fill(&to)
	return to
}

func (d *device) record() (to userkit.DeviceRecord) {
	d.fill(&to.Device)
	to.TokenDigest = d.digest
	to.SealedToken = slices.Clone(d.sealed)
	return to
}

// pushKey is what no other device has: the push token or, where there is none, the id.
func (d *device) pushKey() any {
	if d.pushToken == "" {
		return d.id
	}
	return d.pushToken
}

// put adds a device, or puts it in the place of the one with its id, whose tokens are
// released.
func (d *devices) put(own *belongings, next *device) {
	if before := d.byID[next.id]; before != nil {
		if before.registeredAt != next.registeredAt {
			d.byRegistration.remove(before)
			own.devices.remove(before)
		}
		if before.sealed != nil && next.sealed == nil {
			d.sealed.remove(before)
		}
		if before.located() && (!next.located() || next.location.place != before.location.place) {
			d.byPlace.remove(before)
		}
	}
	d.byID[next.id] = next
	d.byToken[next.digest] = next
	if next.pushToken != "" {
		d.byPushToken[next.pushToken] = next
	}
	d.byRegistration.put(next)
	own.devices.put(next)
	if next.sealed != nil {
		d.sealed.put(next)
	}
	if next.located() {
		d.byPlace.put(next)
	}
}

// remove takes a device out of the indexes of the project.
func (d *devices) remove(gone *device) {
	delete(d.byID, gone.id)
	d.release(gone)
	d.byRegistration.remove(gone)
	if gone.sealed != nil {
		d.sealed.remove(gone)
	}
	if gone.located() {
		d.byPlace.remove(gone)
	}
}

// release takes back the tokens of a device.
func (d *devices) release(from *device) {
	delete(d.byToken, from.digest)
	delete(d.byPushToken, from.pushToken)
}

// Device returns one device.
func (s *Store) Device(ctx context.Context, id userkit.DeviceID) (userkit.Device, error) {
	if err := s.ready(ctx); err != nil {
		return userkit.Device{}, err
	}
	s.mu.RLock()
	found := s.devices.byID[id]
	s.mu.RUnlock()
	if found == nil {
		return userkit.Device{}, userkit.NewError(userkit.CodeDeviceNotFound, "", "no device %s", id)
	}
	return found.out(), nil
}

// DeviceByToken returns the device with this token digest, its user, and how
// many of the user's devices were registered before it.
func (s *Store) DeviceByToken(ctx context.Context, digest userkit.TokenDigest) (userkit.Device, userkit.User, int, error) {
	if err := s.ready(ctx); err != nil {
		return userkit.Device{}, userkit.User{}, 0, err
	}
	s.mu.RLock()
	found := s.devices.byToken[digest]
	if found == nil {
		s.mu.RUnlock()
		return userkit.Device{}, userkit.User{}, 0, userkit.NewError(userkit.CodeDeviceNotFound, "", "no device with this token")
	}
	owner := s.users.table.get(found.owner)
	rank := owner.own.devices.rank(found)
	s.mu.RUnlock()
	return found.out(), owner.out(), rank, nil
}

// DeviceByPushToken returns the device with this push token.
func (s *Store) DeviceByPushToken(ctx context.Context, token string) (userkit.Device, error) {
	if err := s.ready(ctx); err != nil {
		return userkit.Device{}, err
	}
	s.mu.RLock()
	found := s.devices.byPushToken[token]
	s.mu.RUnlock()
	if found == nil {
		return userkit.Device{}, userkit.NewError(userkit.CodeDeviceNotFound, "", "no device with this push token")
	}
	return found.out(), nil
}

var deviceFields = fieldsByName(userkit.DeviceFields())

// Devices lists devices by any sortable field of userkit.DeviceFields. The order
// registered_at has an index.
func (s *Store) Devices(ctx context.Context, filter userkit.DeviceFilter, list userkit.ListRange) ([]userkit.Device, error) {
	return deviceQuery.page(ctx, s, list, s.openDevices(filter, list))
}

// CountDevices counts the devices of a filter.
func (s *Store) CountDevices(ctx context.Context, filter userkit.DeviceFilter) (int64, error) {
	return count(ctx, s, s.openDevices(filter, userkit.ListRange{}))
}

var deviceQuery = query[device, userkit.Device]{
	fields: deviceFields,
	id:     func(d *device) [16]byte { return d.id },
	fill:   (*device).fill,
	out:    (*device).out,
}

// openDevices returns what opens the devices of a filter for a list.
func (s *Store) openDevices(filter userkit.DeviceFilter, list userkit.ListRange) func(snapshot bool) source[device] {
	return func(snapshot bool) source[device] {
		from := source[device]{}
		if filter.WithoutDisabled {
			table := s.users.table.read(snapshot)
			from.match = func(d *device) bool { return table.get(d.owner).profile.status != wordDisabled }
		}
		devices := s.devices.byRegistration.view(snapshot && filter.UserID.IsZero())
		if !filter.UserID.IsZero() {
			devices = set[device, byRegistration]{}
			if own := s.users.belongings(filter.UserID); own != nil {
				devices = own.devices.view(snapshot)
			}
		}
		if list.Order.Field != "registered_at" {
			from.all = devices.each
			return from
		}
		var part span[device]
		if list.After != nil {
			part.after = &device{registeredAt: microsOf(list.After.Key.(time.Time)), id: list.After.ID}
		}
		from.rows = devices.cursor(part, list.Order.Descending).next
		return from
	}
}

var locationFields = fieldsByName(userkit.LocationFields())

// Locations lists the devices that have a location by its place. Those of the project
// have an index.
func (s *Store) Locations(ctx context.Context, filter userkit.LocationFilter, list userkit.ListRange) ([]userkit.Device, error) {
	query := deviceQuery
	query.fields = locationFields
	box, bounded := filter.Box.Get()
	places := []userkit.PlaceRange{{First: 0, Last: math.MaxInt64 - 1}}
	if bounded {
		places = box.Places()
	}
	return query.page(ctx, s, list, func(snapshot bool) source[device] {
		from := source[device]{match: func(d *device) bool {
			if !d.located() || !bounded {
				return d.located()
			}
			return box.Contains(userkit.Location{Latitude: d.location.latitude, Longitude: d.location.longitude})
		}}
		if !filter.UserID.IsZero() {
			devices := set[device, byRegistration]{}
			if own := s.users.belongings(filter.UserID); own != nil {
				devices = own.devices.view(snapshot)
			}
			from.all = devices.each
			return from
		}
		devices := s.devices.byPlace.view(snapshot)
		from.rows = alongPlaces(&devices, places, list)
		return from
	})
}

// alongPlaces returns what goes through the devices of ranges of places in the order of a
// list, after its position.
func alongPlaces(devices *set[device, byPlace], places []userkit.PlaceRange, list userkit.ListRange) func() *device {
	at := func(place int64, id userkit.DeviceID) *device {
		return &device{id: id, location: &location{place: place}}
	}
	places = slices.Clone(places)
	if list.Order.Descending {
		slices.Reverse(places)
	}
	var row func() *device
	return func() *device {
		for {
			if row != nil {
				if next := row(); next != nil {
					return next
				}
			}
			if len(places) == 0 {
				return nil
			}
			part := span[device]{low: at(places[0].First, userkit.DeviceID{}), high: at(places[0].Last+1, userkit.DeviceID{})}
			places = places[1:]
			if list.After != nil {
				part.after = at(list.After.Key.(int64), list.After.ID)
			}
			row = devices.cursor(part, list.Order.Descending).next
		}
	}
}

// SealedDevices lists, in order of id, devices after the given id whose sealed
// token is not empty.
func (s *Store) SealedDevices(ctx context.Context, after userkit.DeviceID, limit int) ([]userkit.DeviceRecord, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	sealed := s.devices.sealed.snapshot()
	s.mu.Unlock()
	found := []userkit.DeviceRecord{}
	walk := sealed.cursor(span[device]{after: &device{id: after}}, false)
	for len(found) < limit {
		next := walk.next()
		if next == nil {
			break
		}
		found = append(found, next.record())
	}
	return found, nil
}
