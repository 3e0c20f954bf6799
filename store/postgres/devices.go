package postgres

import (
	"context"

	"github.com/userkit/userkit"
)

var deviceReads = deviceColumns.reads("d")

// selectDevices begins a statement over the devices of the project; a condition
// may follow.
func (s *Store) selectDevices() *statement {
	q := &statement{}
	q.add("SELECT "+deviceReads+"\nFROM ? AS d\nWHERE d.project = ?", s.table("devices"), quoted(s.project))
	return q
}

// Device implements userkit.Store.
func (s *Store) Device(ctx context.Context, id userkit.DeviceID) (userkit.Device, error) {
	q := s.selectDevices()
	q.add(" AND d.id = ?", quotedID(id))
	record, err := selectOne(ctx, s, q, userkit.CodeDeviceNotFound, deviceColumns.targets)
	return record.Device, err
}

// owned is a device with its user and its rank among the user's devices.
type owned struct {
	device userkit.DeviceRecord
	user   userkit.User
	rank   int
}

// DeviceByToken implements userkit.Store.
func (s *Store) DeviceByToken(ctx context.Context, digest userkit.TokenDigest) (userkit.Device, userkit.User, int, error) {
	q := &statement{}
	q.add("SELECT "+deviceReads+", "+userReads+`,
(SELECT count(*) FROM ? AS o WHERE o.project = ? AND o.user_id = d.user_id AND (o.registered_at, o.id) < (d.registered_at, d.id))
FROM ? AS d`, s.table("devices"), quoted(s.project), s.table("devices"))
	q.lookUp(s, "users", "u", "u.id = d.user_id")
	q.lookUp(s, "accounts", "a", "a.user_id = d.user_id")
	q.add("\nWHERE d.project = ? AND d.token_digest = ?", quoted(s.project), bytesParameter(digest[:]))
	found, err := selectOne(ctx, s, q, userkit.CodeDeviceNotFound, func(to []any, o *owned) []any {
		return append(userTargets(deviceColumns.targets(to, &o.device), &o.user), (*count)(&o.rank))
	})
	return found.device.Device, found.user, found.rank, err
}

// devicesOf returns the devices of records.
func devicesOf(records []userkit.DeviceRecord, err error) ([]userkit.Device, error) {
	if err != nil {
		return nil, err
	}
	devices := make([]userkit.Device, len(records))
	for i, record := range records {
		devices[i] = record.Device
	}
	return devices, nil
}

// DeviceByPushToken implements userkit.Store. Push tokens of one digest are as one for the unique
// index, which has no room for a token, and so they are for whoever looks for the holder.
func (s *Store) DeviceByPushToken(ctx context.Context, token string) (userkit.Device, error) {
	q := s.selectDevices()
	q.add(" AND d.push_token <> '' AND md5(d.push_token) = md5(?)", quoted(token))
	record, err := selectOne(ctx, s, q, userkit.CodeDeviceNotFound, deviceColumns.targets)
	return record.Device, err
}

// Devices implements userkit.Store.
func (s *Store) Devices(ctx context.Context, filter userkit.DeviceFilter, list userkit.ListRange) ([]userkit.Device, error) {
	return devicesOf(readList(ctx, s, s.devices, filter, list, deviceColumns.targets))
}

// CountDevices implements userkit.Store.
func (s *Store) CountDevices(ctx context.Context, filter userkit.DeviceFilter) (int64, error) {
	return countList(ctx, s, s.devices, filter)
}

// devices is the listing of Devices.
func (s *Store) devices(filter userkit.DeviceFilter, list userkit.ListRange) (*statement, error) {
	q := s.selectDevices()
	q.within("d", filter.UserID, deviceSortings, list, "registered_at")
	if filter.WithoutDisabled {
		q.add(" AND EXISTS (SELECT FROM ? AS u WHERE u.project = d.project AND u.id = d.user_id AND "+notDisabled+" OFFSET 0)", // one user at a time
			s.table("users"), quoted(string(userkit.StatusDisabled)))
	}
	return q, q.page(list, deviceSortings, "d.id")
}

// Locations implements userkit.Store. In a box, a page is composed of the first records of each
// range of places that covers the box.
func (s *Store) Locations(ctx context.Context, filter userkit.LocationFilter, list userkit.ListRange) ([]userkit.Device, error) {
	q := &statement{}
	box, bounded := filter.Box.Get()
	field, err := sortingOf(list, locationSortings)
	if err != nil {
		return nil, err
	}
	within := func() error {
		if bounded {
			q.add(" AND d.latitude BETWEEN ? AND ? AND (", quotedReal(box.South), quotedReal(box.North))
			for i, part := range box.Meridians() {
				if i > 0 {
					q.add(" OR ")
				}
				q.add("d.longitude BETWEEN ? AND ?", quotedReal(part.West), quotedReal(part.East))
			}
			q.add(")")
		}
		return q.after(list, field, field.expression, "d.id")
	}
	switch {
	case !filter.UserID.IsZero():
		// An order that no index has, so that the devices of the user are what is looked at.
		field = byInteger("coalesce(d.place, 0)")
		q = s.selectDevices()
		q.add(" AND d.user_id = ? AND d.located_at IS NOT NULL", quotedID(filter.UserID))
		err = within()
	case !bounded:
		q = s.selectDevices()
		q.through(locationSortings, list, "place")
		err = within()
	default:
		q.add("SELECT " + deviceReads + "\nFROM (VALUES ")
		for i, places := range box.Places() {
			if i > 0 {
				q.add(", ")
			}
			q.add("(?::bigint, ?::bigint)", places.First, places.Last)
		}
		q.add(") AS r(first, last)\nCROSS JOIN LATERAL (SELECT * FROM ? AS d WHERE d.project = ? AND d.place BETWEEN r.first AND r.last",
			s.table("devices"), quoted(s.project))
		err = within()
		q.order(list, field.expression, "d.id")
		q.add(") AS d")
	}
	if err != nil {
		return nil, err
	}
	q.order(list, field.expression, "d.id")
	return devicesOf(selectRecords(ctx, s, q, deviceColumns.targets))
}

// SealedDevices implements userkit.Store.
func (s *Store) SealedDevices(ctx context.Context, after userkit.DeviceID, limit int) ([]userkit.DeviceRecord, error) {
	q := s.selectDevices()
	q.add(" AND d.sealed_token IS NOT NULL AND d.id > ?\nORDER BY d.id\nLIMIT ?", quotedID(after), limit)
	return selectRecords(ctx, s, q, deviceColumns.targets)
}
