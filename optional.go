package userkit

import "encoding/json"

// Optional is a value that a patch may set. The zero Optional sets nothing. In JSON, a field that
// is present sets the value, so a PATCH body decodes directly into a patch; with the option
// omitzero, a value that is not set is omitted.
type Optional[T any] struct {
	value T
	set   bool
}

// Set returns an Optional that sets value.
func Set[T any](value T) Optional[T] { return Optional[T]{value: value, set: true} }

// Get returns the value and reports whether it is set.
func (o Optional[T]) Get() (T, bool) { return o.value, o.set }

// IsZero reports whether no value is set.
func (o Optional[T]) IsZero() bool { return !o.set }

// MarshalJSON writes the value, or null when nothing is set.
func (o Optional[T]) MarshalJSON() ([]byte, error) {
	if !o.set {
		return []byte("null"), nil
	}
	return json.Marshal(o.value)
}

// UnmarshalJSON sets the value; null sets the zero value.
func (o *Optional[T]) UnmarshalJSON(data []byte) error {
	var value T
	if err := json.Unmarshal(data, &value); err != nil {
		return err
	}
	*o = Set(value)
	return nil
}

// put writes the value, where there is one, to target, and reports whether that
// changed it.
func put[T comparable](o Optional[T], target *T) bool {
	if !o.set || o.value == *target {
		return false
	}
	*target = o.value
	return true
}
