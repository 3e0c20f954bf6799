package userkit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// DeviceType is the platform of a device.
type DeviceType string

// The types of device.
const (
	DeviceAndroid DeviceType = "android"
	DeviceIOS     DeviceType = "ios"
	DeviceMacOS   DeviceType = "macos"
	DeviceWindows DeviceType = "windows"
	DeviceLinux   DeviceType = "linux"
	DeviceRouter  DeviceType = "router"
	DeviceWeb     DeviceType = "web"
	DeviceOther   DeviceType = "other"
)

var deviceTypes = []DeviceType{
	DeviceAndroid, DeviceIOS, DeviceMacOS, DeviceWindows, DeviceLinux, DeviceRouter, DeviceWeb, DeviceOther,
}

// Device is one of a user's machines. It takes one of the slots of the user's license, and
// authenticates with an access token.
type Device struct {
	ID     DeviceID `json:"id"`
	UserID UserID   `json:"user_id"`

	// AccessToken is the device's secret. It is set only in the results of RegisterDevice and
	// RotateToken. In all other results it is empty, and TokenHint, its last four characters,
	// distinguishes tokens.
	AccessToken string `json:"access_token,omitempty"`
	TokenHint   string `json:"token_hint"`

	Name       string     `json:"name,omitempty"`
	Type       DeviceType `json:"type"`
	HardwareID string     `json:"hardware_id,omitempty"` // unique among the user's devices; see HardwareIDKey
	PushToken  string     `json:"push_token,omitempty"`  // belongs to one device at a time: the last one for which it was set

	// PushTokenSetAt is when RegisterDevice or UpdateDevice last set the push token of the device,
	// even to the same value. Each time is later than those before it, also where the clock of a
	// process is behind. Zero: the device has none.
	PushTokenSetAt time.Time `json:"push_token_set_at,omitzero"`

	RegisteredAt time.Time `json:"registered_at"`
	LastSeenAt   time.Time `json:"last_seen_at,omitzero"`

	// Location is the last location that was reported by ReportLocation; zero: none. It is kept
	// only while LocationConsentAt, the time at which the device consented, is set.
	Location          Location  `json:"location,omitzero"`
	LocationConsentAt time.Time `json:"location_consent_at,omitzero"`

	// LocationForgottenAt is up to when measured locations are not kept, whenever they are
	// reported: ForgetLocations was called then, or the consent withdrawn, or given again
	// after either. Zero: neither has happened.
	LocationForgottenAt time.Time `json:"location_forgotten_at,omitzero"`
}

// NewDevice describes a device to register.
type NewDevice struct {
	Name       string     `json:"name,omitempty"`        // at most MaxLine characters
	Type       DeviceType `json:"type,omitempty"`        // empty: DeviceOther
	HardwareID string     `json:"hardware_id,omitempty"` // at most MaxLine characters
	PushToken  string     `json:"push_token,omitempty"`  // at most MaxPushToken characters

	// LocationConsent says that the person who uses the device has consented to its location being
	// kept; see LocationManager.
	LocationConsent bool `json:"location_consent,omitempty"`
}

// MaxPushToken is the length of a push token, in characters.
const MaxPushToken = 4096

// DevicePatch says which fields of a device to set; the others stay unchanged.
type DevicePatch struct {
	Name      Optional[string]     `json:"name,omitzero"`
	Type      Optional[DeviceType] `json:"type,omitzero"`
	PushToken Optional[string]     `json:"push_token,omitzero"`

	// LocationConsent says whether the device's location may be kept (see LocationManager); false
	// deletes the current location.
	LocationConsent Optional[bool] `json:"location_consent,omitzero"`
}

// License is a named set of limits.
type License struct {
	Name    string `json:"name"`
	Devices int    `json:"devices"` // how many devices a user may have; 0: unlimited
}

// DevicePolicy says what happens when a device is registered and no slot is free.
type DevicePolicy string

// The device policies. A replaced device is deleted, with its sessions ended,
// in the commit that registers the new one.
const (
	DeviceRefuse        DevicePolicy = "refuse"
	DeviceReplaceOldest DevicePolicy = "replace_oldest" // the one registered first
	DeviceReplaceIdlest DevicePolicy = "replace_idlest" // the one seen longest ago
)

// TokenDigest is the SHA-256 of an access token, which a store keeps in its place. A token
// has 256 bits of randomness, so the digest needs neither salt nor stretching.
//
// For writers of stores.
type TokenDigest [sha256.Size]byte

// DeviceRecord is a device as a store keeps it.
//
// For writers of stores.
type DeviceRecord struct {
	Device      // AccessToken is empty
	TokenDigest TokenDigest
	// SealedToken is the token encrypted with one of the sealing keys; empty if there was none.
	SealedToken []byte
}

// Authentication identifies the device and the user of an access token.
type Authentication struct {
	Device Device `json:"device"`
	User   User   `json:"user"`
	Access Access `json:"access"` // of this device: includes whether it has a slot
}

// DeviceQuery asks for a page of devices.
type DeviceQuery struct {
	DeviceFilter
	PageQuery // default order: by registered_at; any field of DeviceFields
}

// DeviceFilter says which devices; the zero filter means all of the project.
type DeviceFilter struct {
	UserID          UserID `json:"user_id,omitzero"`           // zero: of all users
	WithoutDisabled bool   `json:"without_disabled,omitempty"` // leave out the devices of disabled users
}

// RotateOption is an option of RotateToken.
type RotateOption string

// KeepSessions leaves the open sessions of the device as they are.
const KeepSessions RotateOption = "keep_sessions"

// DeviceManager registers devices, authenticates them by their tokens, and sets the licenses of
// users.
//
// Calls that name a device return ErrNotFound with CodeDeviceNotFound when
// there is none, and calls that name a user ErrNotFound with CodeUserNotFound.
type DeviceManager interface {
	// RegisterDevice registers a device of the user and returns it with its access token.
	//
	// If one of the user's devices has the hardware id already, that device is registered again and
	// keeps its slot and its id: its other fields are set by the call, and it gets a new token,
	// which replaces the old one.
	//
	// When the license has no free slot, the project's device policy decides;
	// with DeviceRefuse, the call returns ErrRefused with CodeDeviceLimit. For a disabled or
	// inactive user it returns ErrRefused with CodeUserDisabled or CodeUserInactive. The limit
	// holds under any concurrency and across processes.
	RegisterDevice(ctx context.Context, user UserID, device NewDevice) (Device, error)

	// Authenticate returns the device with this access token and its user. It returns the same
	// error, ErrForbidden with CodeInvalidToken, for an unknown token and for a text that is not a
	// token, and ErrRefused with CodeUserDisabled or CodeUserInactive for the token of a disabled
	// or inactive user. Otherwise the device is authenticated, and Access says whether it may use
	// anything: a user who has expired can still authenticate, to buy more.
	//
	// It records when the device and the user were last seen, at most once in the interval of
	// WithLastSeenInterval; a failure to record that is not returned.
	//
	// It does not limit attempts: nobody guesses 256 bits, and an attempt costs one search at most.
	// userhttp.Attempt bounds the attempts of each client that fail.
	Authenticate(ctx context.Context, token string) (Authentication, error)

	// Device returns one device.
	Device(ctx context.Context, id DeviceID) (Device, error)

	// Devices returns a page of devices in the order that the query asks for.
	Devices(ctx context.Context, query DeviceQuery) (Page[Device], error)

	// CountDevices returns how many devices a query has on all of its pages together, as they are now.
	// The PageQuery of the query does not matter.
	CountDevices(ctx context.Context, query DeviceQuery) (int64, error)

	// UpdateDevice sets the fields that the patch names. Setting the same push token again confirms
	// that it is valid now; see Device.PushTokenSetAt.
	UpdateDevice(ctx context.Context, id DeviceID, patch DevicePatch) (Device, error)

	// DeleteDevice deletes a device. In the same commit its slot becomes free, its token stops
	// working and its open sessions end; its past sessions stay in the history under its name. It
	// returns the device as it was.
	DeleteDevice(ctx context.Context, id DeviceID) (Device, error)

	// RotateToken replaces the access token of a device by a new one; the old one stops working.
	// The open sessions of the device, which began with the old token, end in the same commit,
	// unless KeepSessions is given.
	RotateToken(ctx context.Context, id DeviceID, options ...RotateOption) (Device, error)

	// RevealToken returns the access token of a device, for an administrator to read out, and
	// records the actor. It returns ErrRefused with CodeTokenNotSealed if no sealing key was
	// configured when the token was made, and with CodeSealingKeyMissing if that key is no longer
	// configured.
	RevealToken(ctx context.Context, id DeviceID) (string, error)

	// ResealTokens seals with the first key of WithSealingKeys every token that was sealed with
	// another one, and returns their number. Afterwards the other keys can be removed from the
	// configuration. It is safe to run again after an interruption.
	ResealTokens(ctx context.Context) (int, error)

	// SetLicense changes a user's license; an empty name means no limits. It
	// returns ErrInvalid with CodeUnknownLicense. A lower limit deletes no device: the devices
	// registered first keep their slots, and the others have none until a slot becomes free.
	SetLicense(ctx context.Context, user UserID, name string) (User, error)

	// Licenses returns the project's licenses in the order of WithLicenses.
	Licenses(ctx context.Context) ([]License, error)
}

// register decides the registration of a device under the given id and token.
func (n NewDevice) register(state *State, o origin, id DeviceID, token string, sealed *sealer, slots int, policy DevicePolicy) (Device, Change, error) {
	if err := state.User.Status.refusal(); err != nil {
		return Device{}, Change{}, err
	}
	c := state.change()
	var agreed any // nil, which the event leaves out, or what the device says
	if n.LocationConsent {
		agreed = true
	}
	if at := slices.IndexFunc(state.Devices, func(d DeviceRecord) bool { return n.HardwareID != "" && HardwareIDKey(d.HardwareID) == n.HardwareID }); at >= 0 {
		record := state.Devices[at]
		record.Name, record.Type = n.Name, n.Type
		record.setPushToken(n.PushToken, o.now)
		if record.agree(o.now, n.LocationConsent) {
			agreed = n.LocationConsent
		}
		// Its sessions began with the token that now stops working, and would hold the
		// place of those that it begins with the new one.
		if c.Account.OpenSessions > 0 && !state.complete.openSessions {
			return Device{}, Change{}, needMore{Want{OpenSessions: true}}
		}
		ended := state.endSessions(&c, o.now, EndedReplaced, func(session Session) bool { return session.DeviceID == record.ID })
		c.Devices.Update = append(c.Devices.Update, record.withToken(token, sealed))
		o.record(&c, EventDeviceRegistered, record.ID, "name", n.Name, "again", true, "ended_sessions", ended, "location_consent", agreed)
		return record.shown(token), c, nil
	}

	var replaced []DeviceID
	if slots > 0 && c.Account.Devices >= slots {
		if policy == DeviceRefuse {
			return Device{}, Change{}, NewError(CodeDeviceLimit, "", "the user has %d devices, and the license allows %d", c.Account.Devices, slots)
		}
		if !state.complete.devices || !state.complete.openSessions {
			return Device{}, Change{}, needMore{Want{AllDevices: true, OpenSessions: true}}
		}
		for _, old := range state.devicesBy(policy)[:c.Account.Devices-slots+1] {
			state.deleteDevice(&c, o.now, old.ID)
			replaced = append(replaced, old.ID)
		}
	}
	record := DeviceRecord{Device: Device{
		ID: id, UserID: state.User.ID, Name: n.Name, Type: n.Type, HardwareID: n.HardwareID, RegisteredAt: o.now,
	}}
	record.setPushToken(n.PushToken, o.now)
	record.agree(o.now, n.LocationConsent)
	c.Devices.Insert = append(c.Devices.Insert, record.withToken(token, sealed))
	c.Account.Devices++
	o.record(&c, EventDeviceRegistered, id, "name", n.Name, "replaced", replaced, "location_consent", agreed)
	return record.shown(token), c, nil
}

// setPushToken gives the device a push token, or none.
func (d *Device) setPushToken(token string, now time.Time) {
	before := d.PushTokenSetAt
	d.PushToken, d.PushTokenSetAt = token, time.Time{}
	if token != "" {
		d.PushTokenSetAt = setAfter(now, before)
	}
}

// setAfter returns the time of the clock at which something was set or, if the clock is not past the
// time at which it was set before, the next time after that which a store can keep.
func setAfter(now, before time.Time) time.Time {
	if now.After(before) {
		return now
	}
	return before.Add(time.Microsecond)
}

// withToken returns the record with what a store keeps of a new token.
func (d DeviceRecord) withToken(token string, sealed *sealer) DeviceRecord {
	d.TokenDigest, _ = digestToken(token)
	d.TokenHint = tokenHint(token)
	d.SealedToken = sealed.seal(d.ID, token)
	return d
}

// shown returns the device with its token, for the one who registered it.
func (d DeviceRecord) shown(token string) Device {
	device := d.Device
	device.AccessToken, device.TokenHint = token, tokenHint(token)
	return device
}

// devicesBy orders the user's devices, which must all be loaded, with those first that a policy
// replaces first.
func (s *State) devicesBy(policy DevicePolicy) []DeviceRecord {
	return slices.SortedFunc(slices.Values(s.Devices), func(a, b DeviceRecord) int {
		idle := 0
		if policy == DeviceReplaceIdlest {
			idle = a.lastActive().Compare(b.lastActive())
		}
		return cmp.Or(idle, a.RegisteredAt.Compare(b.RegisteredAt), a.ID.Compare(b.ID))
	})
}

// lastActive is when the device was last seen, or registered if it never was.
func (d Device) lastActive() time.Time {
	if d.LastSeenAt.Before(d.RegisteredAt) {
		return d.RegisteredAt
	}
	return d.LastSeenAt
}

// deleteDevice makes a device's deletion part of a change; the open sessions
// must be loaded.
func (s *State) deleteDevice(c *Change, now time.Time, id DeviceID) (ended []SessionID) {
	c.Devices.Delete = append(c.Devices.Delete, id)
	c.Account.Devices--
	return s.endSessions(c, now, EndedDeviceDeleted, func(session Session) bool { return session.DeviceID == id })
}

// device returns a device that the command asked for.
func (s *State) device(id DeviceID) (DeviceRecord, error) {
	if at := indexID(s.Devices, id, deviceRecordID); at >= 0 && !id.IsZero() {
		return s.Devices[at], nil
	}
	return DeviceRecord{}, NewError(CodeDeviceNotFound, "", "no device %s", id)
}

// hasSlot reports whether a device is among the first that a license with so
// many slots allows. All devices must be loaded when the user has more.
func (s *State) hasSlot(id DeviceID, slots int) bool {
	if slots == 0 || s.User.Devices <= slots {
		return true
	}
	first := s.devicesBy(DeviceReplaceOldest)
	return slices.ContainsFunc(first[:min(slots, len(first))], func(d DeviceRecord) bool { return d.ID == id })
}

// normalise checks a new device and fills in what it leaves open.
func (n NewDevice) normalise() (NewDevice, error) {
	if n.Type == "" {
		n.Type = DeviceOther
	}
	n.HardwareID = HardwareIDKey(n.HardwareID)
	return n, firstError(
		checkLine("name", n.Name, MaxLine), checkDeviceType(n.Type), checkLine("hardware_id", n.HardwareID, MaxLine),
		checkLine("push_token", n.PushToken, MaxPushToken),
	)
}

// HardwareIDKey returns the form in which hardware ids are compared and kept: a MAC address of 6 or
// 8 bytes with separators becomes 00:1a:2b:3c:4d:5e, and a UUID becomes lower case. Any other id is
// compared byte by byte.
func HardwareIDKey(id string) string {
	if len(id) == 36 {
		if parsed, err := uuid.Parse(id); err == nil {
			return parsed.String()
		}
	}
	if address, ok := parseMAC(id); ok {
		return address.String()
	}
	return id
}

// parseMAC reads a MAC address with separators: without any it could as well be a
// serial number.
func parseMAC(id string) (net.HardwareAddr, bool) {
	address, err := net.ParseMAC(id)
	return address, err == nil && len(address) <= 8 && strings.ContainsAny(id, ":-.")
}

// hardwareSpellings lists the forms in which a hardware id may have been kept before
// HardwareIDKey: those that systems write.
func hardwareSpellings(key string) []string {
	spellings := []string{key}
	if address, ok := parseMAC(key); ok {
		digits, groups := hex.EncodeToString(address), []string(nil)
		for at := 0; at < len(digits); at += 4 {
			groups = append(groups, digits[at:at+4])
		}
		spellings = append(spellings, strings.ReplaceAll(key, ":", "-"), strings.Join(groups, "."))
	} else if HardwareIDKey(strings.ToUpper(key)) != key {
		return spellings
	}
	for _, spelling := range spellings {
		if upper := strings.ToUpper(spelling); upper != spelling {
			spellings = append(spellings, upper)
		}
	}
	return spellings
}

func checkDeviceType(kind DeviceType) error {
	if slices.Contains(deviceTypes, kind) {
		return nil
	}
	return NewError(CodeUnknownValue, "type", "unknown type of device %q", clip(string(kind)))
}

// license returns one of the project's licenses; the empty name is one without limits.
func (m *manager) license(name string) (License, error) {
	if name == "" {
		return License{}, nil
	}
	for _, license := range m.licenses {
		if license.Name == name {
			return license, nil
		}
	}
	return License{}, NewError(CodeUnknownLicense, "license", "the project has no license %q", clip(name))
}

// slots returns how many devices a user may have; 0 means any number. A license
// that the configuration no longer has takes no slot away.
func (m *manager) slots(user User) int {
	license, _ := m.license(user.License)
	return license.Devices
}

func (m *manager) RegisterDevice(ctx context.Context, user UserID, device NewDevice) (_ Device, err error) {
	ctx, call, err := enter(ctx, m, opRegisterDevice, user)
	if err != nil {
		return Device{}, err
	}
	defer call.leave(ctx, &err)
	if device, err = device.normalise(); err != nil {
		return Device{}, err
	}
	want := Want{User: user, Profile: true}
	if device.HardwareID != "" {
		want.HardwareIDs = hardwareSpellings(device.HardwareID)
	}
	id, token := NewID[Device](), newToken()
	return m.movingPushToken(ctx, call.origin, device.PushToken, func() (Device, error) {
		return change(ctx, m, command{want: want}, func(state *State) (Device, Change, error) {
			license, err := m.license(state.User.License)
			if err != nil {
				return Device{}, Change{}, err
			}
			return device.register(state, call.origin, id, token, m.sealer, license.Devices, m.devicePolicy)
		})
	})
}

// maxPushTokenMoves is how often a call takes a push token from another device. Of several calls
// that set it at the same moment one succeeds each time.
const maxPushTokenMoves = 20

// movingPushToken makes a call that sets the push token of a device. A push token names one
// installation of an app, and messages of one user must not appear on the screen of another, so
// the store keeps it for one device only. If that is another device, of whichever user, the token
// is cleared there and the call is made again; a call that is refused for another reason takes
// nothing.
func (m *manager) movingPushToken(ctx context.Context, o origin, token string, call func() (Device, error)) (Device, error) {
	for moves := 0; ; moves++ {
		device, err := call()
		if ErrorCode(err) != CodePushTokenTaken {
			return device, err
		}
		if moves == maxPushTokenMoves {
			return Device{}, NewError(CodeTooManyConflicts, "push_token", "the push token was set for other devices %d times meanwhile", moves).Because(err)
		}
		if moves > 0 {
			select {
			case <-ctx.Done():
				return Device{}, ctx.Err()
			case <-time.After(jitter(time.Millisecond << min(moves, 4))):
			}
		}
		if err := m.clearPushToken(ctx, o, token); err != nil {
			return Device{}, err
		}
	}
}

// clearPushToken clears a push token of the device that has it. A caller who is connected to a
// user also clears it for another user, who learns nothing more than that.
func (m *manager) clearPushToken(ctx context.Context, o origin, token string) error {
	holder, err := m.store.DeviceByPushToken(ctx, token)
	if err == nil {
		from := callerOf(ctx)
		from.connection = nil
		_, err = changeDevice(withCaller(ctx, from), m, o.again(), holder.ID, Want{}, func(state *State, record DeviceRecord, o origin) (Device, Change, error) {
			if record.PushToken != holder.PushToken { // it has another one by now
				return record.Device, Change{}, nil
			}
			record.setPushToken("", o.now)
			c := state.change()
			c.Devices.Update = append(c.Devices.Update, record)
			o.record(&c, EventPushTokenMoved, record.ID)
			return record.Device, c, nil
		})
	}
	if ErrorCode(err) == CodeDeviceNotFound { // none has it any more
		return nil
	}
	return err
}

func (m *manager) Authenticate(ctx context.Context, token string) (_ Authentication, err error) {
	ctx, call, err := enter(ctx, m, opAuthenticate, noTarget)
	if err != nil {
		return Authentication{}, err
	}
	defer call.leave(ctx, &err)
	unknown := NewError(CodeInvalidToken, "", "the access token is unknown")
	digest, ok := digestToken(token)
	if !ok {
		return Authentication{}, unknown
	}
	device, user, rank, err := m.store.DeviceByToken(ctx, digest)
	if errors.Is(err, ErrNotFound) {
		return Authentication{}, unknown
	}
	if err != nil {
		return Authentication{}, err
	}
	if err := user.Status.refusal(); err != nil {
		return Authentication{}, err
	}
	now := call.now
	if now.Sub(device.LastSeenAt) >= m.lastSeenInterval {
		if err := m.seen(ctx, user.ID, device.ID, now); err != nil {
			m.logger.WarnContext(ctx, "userkit: recording when a device was seen failed", "device", device.ID.String(), "error", err)
		} else {
			device.LastSeenAt, user.LastSeenAt = latest(device.LastSeenAt, now), latest(user.LastSeenAt, now)
		}
	}
	access := user.Access(now, m.zone)
	if slots := m.slots(user); slots > 0 && rank >= slots {
		access = access.withoutSlot()
	}
	return Authentication{Device: device, User: user, Access: access}, nil
}

// seen records when a device was last seen. It is an observation and not a change, so it has no
// event.
func (m *manager) seen(ctx context.Context, user UserID, device DeviceID, now time.Time) error {
	want := Want{User: user, Devices: []DeviceID{device}}
	_, err := change(ctx, m, command{want: want}, func(state *State) (struct{}, Change, error) {
		record, err := state.device(device)
		if err != nil || !record.LastSeenAt.Before(now) {
			return struct{}{}, Change{}, err
		}
		c := state.change()
		record.LastSeenAt = latest(record.LastSeenAt, now)
		c.Devices.Update = append(c.Devices.Update, record)
		if c.Account.LastSeenAt.Before(now) {
			c.Account.LastSeenAt = latest(c.Account.LastSeenAt, now)
		}
		return struct{}{}, c, nil
	})
	return err
}

func (m *manager) Device(ctx context.Context, id DeviceID) (_ Device, err error) {
	ctx, call, err := enter(ctx, m, opDevice, id)
	if err != nil {
		return Device{}, err
	}
	defer call.leave(ctx, &err)
	return m.store.Device(ctx, id)
}

func (m *manager) Devices(ctx context.Context, query DeviceQuery) (_ Page[Device], err error) {
	ctx, call, err := enterOf(ctx, m, opDevices, &query.UserID)
	if err != nil {
		return Page[Device]{}, err
	}
	defer call.leave(ctx, &err)
	return readPage(query.PageQuery, deviceFields, "devices", query.DeviceFilter, func(list ListRange) ([]Device, error) {
		return m.store.Devices(ctx, query.DeviceFilter, list)
	})
}

func (m *manager) CountDevices(ctx context.Context, query DeviceQuery) (_ int64, err error) {
	ctx, call, err := enterOf(ctx, m, opCountDevices, &query.UserID)
	if err != nil {
		return 0, err
	}
	defer call.leave(ctx, &err)
	return m.store.CountDevices(ctx, query.DeviceFilter)
}

// changeDevice moves a command about a device, which its decision gets, through
// the corridor.
func changeDevice[R any](ctx context.Context, m *manager, o origin, id DeviceID, want Want, decide func(*State, DeviceRecord, origin) (R, Change, error)) (R, error) {
	var none R
	device, err := m.store.Device(ctx, id)
	if err != nil {
		return none, err
	}
	want.User, want.Devices = device.UserID, []DeviceID{id}
	result, err := change(ctx, m, command{want: want}, func(state *State) (R, Change, error) {
		record, err := state.device(id)
		if err != nil {
			return none, Change{}, err
		}
		return decide(state, record, o)
	})
	if ErrorCode(err) == CodeUserNotFound { // deleted meanwhile, the device with it
		err = NewError(CodeDeviceNotFound, "", "no device %s", id)
	}
	return result, err
}

func (m *manager) UpdateDevice(ctx context.Context, id DeviceID, patch DevicePatch) (_ Device, err error) {
	ctx, call, err := enter(ctx, m, opUpdateDevice, id)
	if err != nil {
		return Device{}, err
	}
	defer call.leave(ctx, &err)
	name, _ := patch.Name.Get()
	push, _ := patch.PushToken.Get()
	kind, kindSet := patch.Type.Get()
	if !kindSet {
		kind = DeviceOther
	}
	if err := firstError(checkLine("name", name, MaxLine), checkDeviceType(kind), checkLine("push_token", push, MaxPushToken)); err != nil {
		return Device{}, err
	}
	return m.movingPushToken(ctx, call.origin, push, func() (Device, error) {
		return changeDevice(ctx, m, call.origin, id, Want{}, func(state *State, record DeviceRecord, o origin) (Device, Change, error) {
			var fields []string
			if put(patch.Name, &record.Name) {
				fields = append(fields, "name")
			}
			if put(patch.Type, &record.Type) {
				fields = append(fields, "type")
			}
			before := record.PushTokenSetAt
			if token, set := patch.PushToken.Get(); set {
				if token != record.PushToken {
					fields = append(fields, "push_token")
				}
				record.setPushToken(token, o.now)
			}
			var consent any // nil, which the event leaves out, or what it became
			if agrees, set := patch.LocationConsent.Get(); set && record.agree(o.now, agrees) {
				fields = append(fields, "location_consent")
				consent = agrees
			}
			if len(fields) == 0 && record.PushTokenSetAt.Equal(before) {
				return record.Device, Change{}, nil
			}
			c := state.change()
			c.Devices.Update = append(c.Devices.Update, record)
			if len(fields) > 0 { // that a push token is still valid needs no event
				o.record(&c, EventDeviceUpdated, id, "fields", fields, "location_consent", consent)
			}
			return record.Device, c, nil
		})
	})
}

func (m *manager) DeleteDevice(ctx context.Context, id DeviceID) (_ Device, err error) {
	ctx, call, err := enter(ctx, m, opDeleteDevice, id)
	if err != nil {
		return Device{}, err
	}
	defer call.leave(ctx, &err)
	return changeDevice(ctx, m, call.origin, id, Want{OpenSessions: true}, func(state *State, record DeviceRecord, o origin) (Device, Change, error) {
		c := state.change()
		ended := state.deleteDevice(&c, o.now, id)
		o.record(&c, EventDeviceDeleted, id, "name", record.Name, "ended_sessions", ended)
		return record.Device, c, nil
	})
}

func (m *manager) RotateToken(ctx context.Context, id DeviceID, options ...RotateOption) (_ Device, err error) {
	ctx, call, err := enter(ctx, m, opRotateToken, id)
	if err != nil {
		return Device{}, err
	}
	defer call.leave(ctx, &err)
	for _, option := range options {
		if option != KeepSessions {
			return Device{}, NewError(CodeUnknownValue, "options", "unknown option %q of RotateToken", clip(string(option)))
		}
	}
	token := newToken()
	return changeDevice(ctx, m, call.origin, id, Want{OpenSessions: len(options) == 0}, func(state *State, record DeviceRecord, o origin) (Device, Change, error) {
		c := state.change()
		var ended []SessionID
		if len(options) == 0 {
			ended = state.endSessions(&c, o.now, EndedTokenRotated, func(session Session) bool { return session.DeviceID == id })
		}
		c.Devices.Update = append(c.Devices.Update, record.withToken(token, m.sealer))
		o.record(&c, EventTokenRotated, id, "ended_sessions", ended)
		return record.shown(token), c, nil
	})
}

func (m *manager) RevealToken(ctx context.Context, id DeviceID) (_ string, err error) {
	ctx, call, err := enter(ctx, m, opRevealToken, id)
	if err != nil {
		return "", err
	}
	defer call.leave(ctx, &err)
	return changeDevice(ctx, m, call.origin, id, Want{}, func(state *State, record DeviceRecord, o origin) (string, Change, error) {
		token, err := m.sealer.open(id, record.SealedToken)
		if err != nil {
			return "", Change{}, err
		}
		c := state.change()
		o.record(&c, EventTokenRevealed, id)
		return token, c, nil
	})
}

func (m *manager) ResealTokens(ctx context.Context) (_ int, err error) {
	ctx, call, err := enter(ctx, m, opResealTokens, noTarget)
	if err != nil {
		return 0, err
	}
	defer call.leave(ctx, &err)
	if m.sealer == nil || len(m.sealer.keys) == 0 {
		return 0, NewError(CodeSealingKeyMissing, "", "no sealing key is configured")
	}
	const pageSize = 500
	resealed := 0
	var after DeviceID
	for {
		records, err := m.store.SealedDevices(ctx, after, pageSize)
		if err != nil {
			return resealed, err
		}
		for _, record := range records {
			after = record.ID
			if m.sealer.current(record.SealedToken) {
				continue
			}
			done, err := changeDevice(ctx, m, call.again(), record.ID, Want{}, m.reseal)
			if err != nil && !errors.Is(err, ErrNotFound) { // a device may go meanwhile
				return resealed, err
			}
			if done {
				resealed++
			}
		}
		if len(records) < pageSize {
			return resealed, nil
		}
	}
}

// reseal decides the sealing of a token under the first key.
func (m *manager) reseal(state *State, record DeviceRecord, o origin) (bool, Change, error) {
	if len(record.SealedToken) == 0 || m.sealer.current(record.SealedToken) {
		return false, Change{}, nil
	}
	token, err := m.sealer.open(record.ID, record.SealedToken)
	if err != nil {
		return false, Change{}, err
	}
	c := state.change()
	record.SealedToken = m.sealer.seal(record.ID, token)
	c.Devices.Update = append(c.Devices.Update, record)
	o.record(&c, EventTokenResealed, record.ID)
	return true, c, nil
}

func (m *manager) SetLicense(ctx context.Context, user UserID, name string) (_ User, err error) {
	ctx, call, err := enter(ctx, m, opSetLicense, user)
	if err != nil {
		return User{}, err
	}
	defer call.leave(ctx, &err)
	if _, err := m.license(name); err != nil {
		return User{}, err
	}
	return changeUser(ctx, m, command{want: Want{User: user, Profile: true}}, func(state *State) (User, Change, error) {
		return setLicense(state, call.origin, name)
	})
}

// setLicense decides a license.
func setLicense(state *State, o origin, name string) (User, Change, error) {
	user := state.User
	old := user.License
	if old == name {
		return user, Change{}, nil
	}
	c := state.change()
	user.License = name
	user.touch(&c, o)
	o.record(&c, EventLicenseSet, DeviceID{}, "license", name, "before", old)
	return user, c, nil
}

func (m *manager) Licenses(ctx context.Context) (_ []License, err error) {
	ctx, call, err := enter(ctx, m, opLicenses, noTarget)
	if err != nil {
		return nil, err
	}
	defer call.leave(ctx, &err)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return append([]License{}, m.licenses...), nil
}
