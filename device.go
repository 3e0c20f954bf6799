package userkit

import (
	"context"
	"crypto/sha256"
	"time"
)

// DeviceType is what a device runs.
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

// Location is where a device was.
type Location struct {
	Latitude  float64   `json:"latitude"`  // degrees north, -90 to 90 (WGS 84)
	Longitude float64   `json:"longitude"` // degrees east, -180 to 180
	Accuracy  float64   `json:"accuracy"`  // metres, the radius; 0: not known
	At        time.Time `json:"at"`        // when it was measured
}

// Device is one of a user's machines. It takes one of the slots that the user's
// license gives, and it proves who it is with an access token.
type Device struct {
	ID     DeviceID `json:"id"`
	UserID UserID   `json:"user_id"`

	// AccessToken is the device's secret. It is set by RegisterDevice and
	// RotateToken, and only there; everywhere else it is empty and TokenHint, its
	// last four characters, tells tokens apart.
	AccessToken string `json:"access_token,omitempty"`
	TokenHint   string `json:"token_hint"`

	Name       string     `json:"name,omitempty"`
	Type       DeviceType `json:"type"`
	HardwareID string     `json:"hardware_id,omitempty"` // unique among the user's devices, byte by byte
	PushToken  string     `json:"push_token,omitempty"`

	RegisteredAt time.Time `json:"registered_at"`
	LastSeenAt   time.Time `json:"last_seen_at,omitzero"`
	Location     Location  `json:"location,omitzero"`
}

// NewDevice is what a device is registered from.
type NewDevice struct {
	Name       string     `json:"name,omitempty"`        // at most MaxLine characters
	Type       DeviceType `json:"type,omitempty"`        // empty: DeviceOther
	HardwareID string     `json:"hardware_id,omitempty"` // at most MaxLine characters
	PushToken  string     `json:"push_token,omitempty"`  // at most MaxPushToken characters
	Location   Location   `json:"location,omitzero"`
}

// MaxPushToken is the length of a push token, in characters.
const MaxPushToken = 4096

// DevicePatch says which fields of a device to set; what is not set stays.
type DevicePatch struct {
	Name      Optional[string]     `json:"name,omitzero"`
	Type      Optional[DeviceType] `json:"type,omitzero"`
	PushToken Optional[string]     `json:"push_token,omitzero"`
}

// License is a named set of limits. The name usually says what it allows.
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

// TokenDigest is what a store keeps of an access token: its SHA-256. A token
// has 256 bits of randomness, so the digest needs neither salt nor stretching.
type TokenDigest [sha256.Size]byte

// DeviceRecord is a device as a store keeps it.
type DeviceRecord struct {
	Device      // AccessToken is empty
	TokenDigest TokenDigest
	// SealedToken is the token encrypted under one of the sealing keys; empty
	// when there is none.
	SealedToken []byte
}

// Authentication is what an access token proves.
type Authentication struct {
	Device Device
	User   User
	Access Access // of this device: includes whether it has a slot
}

// DeviceQuery asks for a page of devices.
type DeviceQuery struct {
	DeviceFilter
	PageQuery // default order: by registered_at; any field of DeviceFields
}

// DeviceFilter says which devices; the zero filter means all of the project.
type DeviceFilter struct {
	UserID     UserID // zero: of all users
	OnlyActive bool   // leave out the devices of disabled users
}

// DeviceManager registers devices, tells them by their tokens, and gives users
// their licenses.
//
// Calls that name a device return ErrNotFound with CodeDeviceNotFound when
// there is none, and calls that name a user ErrNotFound with CodeUserNotFound.
type DeviceManager interface {
	// RegisterDevice gives the user a device and the device its access token.
	//
	// A hardware id that one of the user's devices has registers into that
	// device's slot: the device keeps its id, gets what the call says and a new
	// token, and the old token stops working.
	//
	// When the license has no free slot, the project's device policy decides;
	// DeviceRefuse returns ErrRefused with CodeDeviceLimit. A disabled or
	// inactive user gets ErrRefused with CodeUserDisabled or CodeUserInactive.
	// This holds under any concurrency and across processes.
	RegisterDevice(ctx context.Context, user UserID, device NewDevice) (Device, error)

	// Authenticate tells whose device has this access token. An unknown token
	// and a text that is no token get the same error, ErrForbidden with
	// CodeInvalidToken. The token of a disabled or inactive user gets ErrRefused
	// with CodeUserDisabled or CodeUserInactive. Otherwise the device is known,
	// and Access says whether it may use anything: a user whose time is over
	// still gets in to buy more.
	//
	// It records when device and user were last seen, at most once in the
	// interval of WithLastSeenInterval; that record is best effort.
	Authenticate(ctx context.Context, token string) (Authentication, error)

	// Device returns one device.
	Device(ctx context.Context, id DeviceID) (Device, error)

	// Devices returns a page of devices in the order that the query asks for.
	Devices(ctx context.Context, query DeviceQuery) (Page[Device], error)

	// UpdateDevice sets the fields that the patch names.
	UpdateDevice(ctx context.Context, id DeviceID, patch DevicePatch) (Device, error)

	// DeleteDevice deletes a device. Its slot is free, its token stops working
	// and its open sessions end in the same commit; its past sessions stay in
	// the history under its name. It returns the device as it was.
	DeleteDevice(ctx context.Context, id DeviceID) (Device, error)

	// RotateToken gives the device a new access token; the old one stops working.
	RotateToken(ctx context.Context, id DeviceID) (Device, error)

	// RevealToken returns the access token of a device, for an administrator to
	// read out, and records who asked. It returns ErrRefused with
	// CodeTokenNotSealed when no sealing key was configured as the token was
	// made, and with CodeSealingKeyMissing when that key is configured no more.
	RevealToken(ctx context.Context, id DeviceID) (string, error)

	// ResealTokens seals every token that an older key of WithSealingKeys sealed
	// under the first key, and returns how many. After it, the older keys can be
	// taken out of the configuration. Safe to run again after an interruption.
	ResealTokens(ctx context.Context) (int, error)

	// SetLicense changes a user's license; an empty name means no limits. It
	// returns ErrInvalid with CodeUnknownLicense. A lower limit deletes no
	// device: those registered first keep their slots, and the others have none
	// until one is free.
	SetLicense(ctx context.Context, user UserID, name string) (User, error)

	// Licenses returns the project's licenses in the order of WithLicenses.
	Licenses(ctx context.Context) ([]License, error)
}
