package userkit

import "time"

// MessageDelivery is what became of a message on one device.
type MessageDelivery struct {
	DeviceID DeviceID `json:"device_id"`
	// State is NotificationLater while the device is still to be notified.
	State     NotificationOutcome `json:"state"`
	Attempts  int                 `json:"attempts"`
	UpdatedAt time.Time           `json:"updated_at"`        // of the last attempt
	RetryAt   time.Time           `json:"retry_at,omitzero"` // while it is to be notified: not before then
}
