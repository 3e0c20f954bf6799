package userkit

import (
	"time"
)

// AccessReason says why access is refused. The values are codes, so an error
// and an Access that refuse for the same reason say the same.
type AccessReason = Code

// Access is what a user, or one of its devices, may do at one moment. It is
// computed from the stored facts and the time; no background job has to run for
// it to be right.
type Access struct {
	// Allowed means that there is no reason against it.
	Allowed bool `json:"allowed"`

	// Reasons against it, all of them: CodeUserDisabled, CodeUserInactive,
	// CodeUserExpired, CodeTrafficLimit, CodeNoDeviceSlot (asked for a device
	// beyond the number that the license allows).
	Reasons []AccessReason `json:"reasons,omitempty"`

	// Until is when this answer ends by the clock alone: while allowed, the end
	// of the user's time; when only the traffic limit speaks against it, the
	// next reset. Zero: it does not end by itself.
	Until time.Time `json:"until,omitzero"`

	// NextReset is when the traffic period ends; zero for a user without a limit
	// and for a limit that is never reset.
	NextReset time.Time `json:"next_reset,omitzero"`
}

// Access computes what the user may do at a moment, in the project's time zone.
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
