package userkit

import (
	"time"
)

// AccessReason says why access is refused. The values are codes, so an error and an Access that
// refuse for the same reason have the same code.
type AccessReason = Code

// Access says what a user, or one of its devices, may do at a moment. It is computed from the
// stored facts and the time, and needs no background job to be correct.
type Access struct {
	// Allowed reports whether there is no reason against access.
	Allowed bool `json:"allowed"`

	// Reasons are all reasons against access: CodeUserDisabled, CodeUserInactive,
	// CodeUserExpired, CodeTrafficLimit, CodeNoDeviceSlot (asked for a device
	// beyond the number that the license allows).
	Reasons []AccessReason `json:"reasons,omitempty"`

	// Until is when this answer changes by the clock alone: while access is allowed, the user's
	// expiration; if the traffic limit is the only reason against it, the next reset. Zero: the
	// answer does not change with time.
	Until time.Time `json:"until,omitzero"`

	// NextReset is when the traffic period ends; zero for a user without a limit
	// and for a limit that is never reset.
	NextReset time.Time `json:"next_reset,omitzero"`
}

// Access returns what the user may do at a moment, computed in the given time zone of the project.
func (u User) Access(now time.Time, zone *time.Location) Access {
	var access Access
	switch u.Status {
	case StatusDisabled:
		access.Reasons = append(access.Reasons, CodeUserDisabled)
	case StatusInactive:
		access.Reasons = append(access.Reasons, CodeUserInactive)
	}
	if u.expired(now) {
		access.Reasons = append(access.Reasons, CodeUserExpired)
	}
	if u.Traffic.Limit.Bytes > 0 {
		access.NextReset = u.Traffic.NextReset(now, zone)
	}
	trafficUsedUp := u.Traffic.usedUp(now, zone)
	if trafficUsedUp {
		access.Reasons = append(access.Reasons, CodeTrafficLimit)
	}
	access.Allowed = len(access.Reasons) == 0
	switch {
	case access.Allowed:
		access.Until = u.ExpiresAt
	case trafficUsedUp && len(access.Reasons) == 1:
		access.Until = access.NextReset
	}
	return access
}

// withoutSlot adds the reason that the device has no slot.
func (a Access) withoutSlot() Access {
	a.Allowed = false
	a.Reasons = append(a.Reasons, CodeNoDeviceSlot)
	a.Until = time.Time{}
	return a
}

// refusal returns the first reason as an error, or nil when access is allowed.
func (a Access) refusal() error {
	if a.Allowed {
		return nil
	}
	err := NewError(a.Reasons[0], "", "access refused")
	err.Until = a.Until
	return err
}

// expired reports whether the user's time is over.
func (a Account) expired(now time.Time) bool {
	return !a.ExpiresAt.IsZero() && !now.Before(a.ExpiresAt)
}
