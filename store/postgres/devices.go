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
	q := &statement{hot: true}
	q.add("SELECT "+deviceReads+", "+userReads+`,
(SELECT count(*) FROM ? AS o WHERE o.project = d.project AND o.user_id = d.user_id AND (o.registered_at, o.id) < (d.registered_at, d.id))
FROM ? AS d`, s.table("devices"), s.table("devices"))
	q.lookUp(s, "users", "u", "u.id = d.user_id")
	q.lookUp(s, "accounts", "a", "a.user_id = d.user_id")
	q.add("\nWHERE d.project = ? AND d.token_digest = ?", quoted(s.project), bytesParameter(digest[:]))
	found, err := selectOne(ctx, s, q, userkit.CodeDeviceNotFound, func(to []any, o *owned) []any {
		return append(userTargets(deviceColumns.targets(to, &o.device), &o.user), (*count)(&o.rank))
	})
	return found.device.Device, found.user, found.rank, err
}

// Devices implements userkit.Store.
func (s *Store) Devices(ctx context.Context, filter userkit.DeviceFilter, list userkit.List) ([]userkit.Device, error) {
	q := s.selectDevices()
	q.within("d", filter.UserID, deviceSortings, list, "registered_at")
	if filter.OnlyActive {
		q.add(" AND EXISTS (SELECT FROM ? AS u WHERE u.project = d.project AND u.id = d.user_id AND "+notDisabled+")",
			s.table("users"), quoted(string(userkit.StatusDisabled)))
	}
	if err := q.page(list, deviceSortings, "d.id"); err != nil {
		return nil, err
	}
	records, err := selectRecords(ctx, s, q, deviceColumns.targets)
	if err != nil {
		return nil, err
	}
	devices := make([]userkit.Device, len(records))
	for i, record := range records {
		devices[i] = record.Device
	}
	return devices, nil
}

// SealedDevices implements userkit.Store.
func (s *Store) SealedDevices(ctx context.Context, after userkit.DeviceID, limit int) ([]userkit.DeviceRecord, error) {
	q := s.selectDevices()
	q.add(" AND d.sealed_token IS NOT NULL AND d.id > ?\nORDER BY d.id\nLIMIT ?", quotedID(after), limit)
	return selectRecords(ctx, s, q, deviceColumns.targets)
}
