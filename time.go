package userkit

import "time"

// latest returns the later of two moments.
func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// earliest returns the earlier of two moments.
func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// storedTime returns t in UTC at the precision that stores keep.
func storedTime(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// checkTime checks that a time is one that JSON and every store can keep.
func checkTime(field string, t time.Time) error {
	if year := t.Year(); !t.IsZero() && (year < 1 || year > 9999) {
		return NewError(CodeOutOfRange, field, "the year %d is outside the range 1 to 9999", year)
	}
	return nil
}
