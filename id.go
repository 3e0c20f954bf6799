package userkit

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"time"

	"github.com/google/uuid"
)

// ID identifies a record of type T. It is a UUIDv7 (RFC 9562, section 5.7), so
// ids sort by the time of their creation, and ids of different kinds of record
// cannot be mixed up. The zero ID means "none".
//
// In a template, {{.DeviceID}} prints nothing for the zero id. A condition must test {{if
// .DeviceID.String}} or {{if .DeviceID.IsZero}}: the id itself is an array, which is always true in
// a template.
type ID[T any] [16]byte

type (
	// UserID identifies a User.
	UserID = ID[User]

	// DeviceID identifies a Device.
	DeviceID = ID[Device]

	// SessionID identifies a Session.
	SessionID = ID[Session]

	// TransactionID identifies a Transaction.
	TransactionID = ID[Transaction]

	// EventID identifies an Event.
	EventID = ID[Event]

	// SegmentID identifies a Segment.
	SegmentID = ID[Segment]

	// ConnectionID identifies a Connection.
	ConnectionID = ID[Connection]

	// PurchaseID identifies a Purchase.
	PurchaseID = ID[Purchase]

	// MessageID identifies a Message.
	MessageID = ID[Message]

	// DeliveryID identifies a Delivery.
	DeliveryID = ID[Delivery]
)

// NewID returns a new id. Ids made by one process increase, also within one
// millisecond.
func NewID[T any]() ID[T] {
	return ID[T](uuid.Must(uuid.NewV7()))
}

// digestID returns an id that is derived from what it is about, so that the same thing always has
// the same id: a UUID of version 8 (RFC 9562 section 5.8).
func digestID[T any](about []byte) ID[T] {
	digest := sha256.Sum256(about)
	id := ID[T](digest[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// ParseID reads the text form of an id. It returns ErrInvalid with
// CodeBadFormat when text is not a UUID in its 36-character form.
func ParseID[T any](text string) (ID[T], error) {
	if len(text) != 36 {
		return ID[T]{}, NewError(CodeBadFormat, "id", "%q is not a UUID", clip(text))
	}
	parsed, err := uuid.Parse(text)
	if err != nil {
		return ID[T]{}, NewError(CodeBadFormat, "id", "%q is not a UUID", clip(text))
	}
	return ID[T](parsed), nil
}

// IsZero reports whether the id is the zero id, which means "none".
func (id ID[T]) IsZero() bool { return id == ID[T]{} }

// String returns the plain UUID, 36 characters, lower case, and "" for the zero id.
func (id ID[T]) String() string {
	if id.IsZero() {
		return ""
	}
	return uuid.UUID(id).String()
}

// Compare orders ids by their bytes, which is by the time of creation.
func (id ID[T]) Compare(other ID[T]) int { return bytes.Compare(id[:], other[:]) }

// Time is the creation time that a UUIDv7 carries, in milliseconds, UTC.
func (id ID[T]) Time() time.Time {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms).UTC()
}

// MarshalText returns the plain UUID, and an empty text for the zero id.
func (id ID[T]) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return []byte{}, nil
	}
	return uuid.UUID(id).MarshalText()
}

// UnmarshalText reads what MarshalText writes.
func (id *ID[T]) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = ID[T]{}
		return nil
	}
	parsed, err := ParseID[T](string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// clip shortens a value that goes into an error message.
func clip(text string) string {
	const most = 60
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

// digestEvent derives the id of an event from what it is about.
func digestEvent(about ...string) EventID {
	return digestID[Event]([]byte(strings.Join(about, "\n")))
}
