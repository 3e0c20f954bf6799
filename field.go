package userkit

import (
	"bytes"
	"cmp"
	"net/netip"
	"strings"
	"time"
)

// FieldKind says what the values of a field are and how they compare.
type FieldKind string

// The kinds of field, with the type that Field.Get returns.
const (
	KindText    FieldKind = "text"    // string; compares by SortKey
	KindCode    FieldKind = "code"    // string from a list or of the host's making; compares byte by byte
	KindBool    FieldKind = "bool"    // bool; false before true
	KindInteger FieldKind = "integer" // int64
	KindMoney   FieldKind = "money"   // Money; compares by the amount
	KindTime    FieldKind = "time"    // time.Time; the zero time, which means none, comes first
	KindSpan    FieldKind = "span"    // time.Duration
	KindID      FieldKind = "id"      // string, the plain UUID; empty for none
	KindAddress FieldKind = "address" // netip.Addr; none first, then IPv4, then IPv6
	KindJSON    FieldKind = "json"    // Attributes; cannot be sorted by
)

// Field is a row of a table of fields: what lists, sort orders, filters,
// exports and consoles know about one field of a record.
type Field[T any] struct {
	Name string
	Kind FieldKind
	Get  func(record *T) any
}

// Sortable reports whether lists can be sorted by the field.
func (f Field[T]) Sortable() bool { return f.Kind != KindJSON }

// Key is what a record sorts by: a string, an int64, a time.Time or a
// netip.Addr, the same type for all records of a field.
type Key any

// Key gives the sort key of a record: both stores order by it.
func (f Field[T]) Key(record *T) Key {
	value := f.Get(record)
	switch f.Kind {
	case KindText:
		return SortKey(value.(string))
	case KindBool:
		if value.(bool) {
			return int64(1)
		}
		return int64(0)
	case KindMoney:
		return value.(Money).Amount
	case KindSpan:
		return int64(value.(time.Duration))
	default:
		return value
	}
}

// CompareKeys orders two keys of the same type.
func CompareKeys(a, b Key) int {
	switch a := a.(type) {
	case string:
		return strings.Compare(a, b.(string))
	case int64:
		return cmp.Compare(a, b.(int64))
	case time.Time:
		return a.Compare(b.(time.Time))
	case netip.Addr:
		return a.Compare(b.(netip.Addr))
	default:
		panic("userkit: a key of no known type")
	}
}

// Position is a place in a sorted list: the key and the id of a record. Records
// of equal key are ordered by id, so every order is total.
type Position struct {
	Key Key
	ID  [16]byte
}

// ComparePositions orders two positions of the same list, ascending.
func ComparePositions(a, b Position) int {
	return cmp.Or(CompareKeys(a.Key, b.Key), bytes.Compare(a.ID[:], b.ID[:]))
}

// fieldTable is a table of fields with what a page needs beside it.
type fieldTable[T any] struct {
	fields []Field[T]
	byName map[string]Field[T]
	id     func(*T) [16]byte
	order  Order // the default
}

func newFieldTable[T any](id func(*T) [16]byte, order Order, fields ...Field[T]) *fieldTable[T] {
	byName := make(map[string]Field[T], len(fields))
	for _, field := range fields {
		byName[field.Name] = field
	}
	return &fieldTable[T]{fields: fields, byName: byName, id: id, order: order}
}

// UserFields is the table of the fields of a user, in the order in which a
// console shows them.
func UserFields() []Field[User] { return append([]Field[User](nil), userFields.fields...) }

// DeviceFields is the table of the fields of a device.
func DeviceFields() []Field[Device] { return append([]Field[Device](nil), deviceFields.fields...) }

// SessionFields is the table of the fields of a session.
func SessionFields() []Field[Session] { return append([]Field[Session](nil), sessionFields.fields...) }

// TransactionFields is the table of the fields of a transaction that lists sort by.
func TransactionFields() []Field[Transaction] {
	return append([]Field[Transaction](nil), transactionFields.fields...)
}

// EventFields is the table of the fields of an event that lists sort by.
func EventFields() []Field[Event] { return append([]Field[Event](nil), eventFields.fields...) }

var userFields = newFieldTable(
	func(u *User) [16]byte { return u.ID },
	Order{Field: "login"},
	Field[User]{"id", KindID, func(u *User) any { return u.ID.text() }},
	Field[User]{"login", KindText, func(u *User) any { return u.Login }},
	Field[User]{"name", KindText, func(u *User) any { return u.Name }},
	Field[User]{"email", KindText, func(u *User) any { return u.Email }},
	Field[User]{"email_verified", KindBool, func(u *User) any { return u.EmailVerified }},
	Field[User]{"phone", KindCode, func(u *User) any { return u.Phone }},
	Field[User]{"status", KindCode, func(u *User) any { return string(u.Status) }},
	Field[User]{"license", KindText, func(u *User) any { return u.License }},
	Field[User]{"auth_method", KindCode, func(u *User) any { return u.AuthMethod }},
	Field[User]{"extref", KindText, func(u *User) any { return u.ExtRef }},
	Field[User]{"description", KindText, func(u *User) any { return u.Description }},
	Field[User]{"country", KindCode, func(u *User) any { return u.Country }},
	Field[User]{"registered_at", KindTime, func(u *User) any { return u.RegisteredAt }},
	Field[User]{"updated_at", KindTime, func(u *User) any { return u.UpdatedAt }},
	Field[User]{"last_seen_at", KindTime, func(u *User) any { return u.LastSeenAt }},
	Field[User]{"expires_at", KindTime, func(u *User) any { return u.ExpiresAt }},
	Field[User]{"valid_for", KindSpan, func(u *User) any { return u.ValidFor }},
	Field[User]{"balance", KindMoney, func(u *User) any { return u.Balance }},
	Field[User]{"devices", KindInteger, func(u *User) any { return int64(u.Devices) }},
	Field[User]{"open_sessions", KindInteger, func(u *User) any { return int64(u.OpenSessions) }},
	Field[User]{"traffic_limit", KindInteger, func(u *User) any { return u.Traffic.Limit.Bytes }},
	Field[User]{"preferred_map", KindText, func(u *User) any { return u.PreferredMap }},
	Field[User]{"additional_info", KindText, func(u *User) any { return u.AdditionalInfo }},
	Field[User]{"kind", KindCode, func(u *User) any { return string(u.Kind) }},
	Field[User]{"payer_account_number", KindText, func(u *User) any { return u.Payer.AccountNumber }},
	Field[User]{"legal_address", KindText, func(u *User) any { return u.Payer.LegalAddress }},
	Field[User]{"postal_address", KindText, func(u *User) any { return u.Payer.PostalAddress }},
	Field[User]{"bank", KindText, func(u *User) any { return u.Payer.Bank }},
	Field[User]{"bank_account", KindText, func(u *User) any { return u.Payer.BankAccount }},
	Field[User]{"attributes", KindJSON, func(u *User) any { return u.Attributes }},
	Field[User]{"revision", KindInteger, func(u *User) any { return u.Revision }},
)

var deviceFields = newFieldTable(
	func(d *Device) [16]byte { return d.ID },
	Order{Field: "registered_at"},
	Field[Device]{"id", KindID, func(d *Device) any { return d.ID.text() }},
	Field[Device]{"user_id", KindID, func(d *Device) any { return d.UserID.text() }},
	Field[Device]{"name", KindText, func(d *Device) any { return d.Name }},
	Field[Device]{"type", KindCode, func(d *Device) any { return string(d.Type) }},
	Field[Device]{"hardware_id", KindCode, func(d *Device) any { return d.HardwareID }},
	Field[Device]{"registered_at", KindTime, func(d *Device) any { return d.RegisteredAt }},
	Field[Device]{"last_seen_at", KindTime, func(d *Device) any { return d.LastSeenAt }},
)

var sessionFields = newFieldTable(
	func(s *Session) [16]byte { return s.ID },
	Order{Field: "started_at", Descending: true},
	Field[Session]{"id", KindID, func(s *Session) any { return s.ID.text() }},
	Field[Session]{"user_id", KindID, func(s *Session) any { return s.UserID.text() }},
	Field[Session]{"device_id", KindID, func(s *Session) any { return s.DeviceID.text() }},
	Field[Session]{"device_name", KindText, func(s *Session) any { return s.DeviceName }},
	Field[Session]{"node", KindCode, func(s *Session) any { return s.Node }},
	Field[Session]{"node_location", KindText, func(s *Session) any { return s.NodeLocation }},
	Field[Session]{"internal_ip", KindAddress, func(s *Session) any { return s.InternalIP }},
	Field[Session]{"started_at", KindTime, func(s *Session) any { return s.StartedAt }},
	Field[Session]{"ended_at", KindTime, func(s *Session) any { return s.EndedAt }},
	Field[Session]{"end_reason", KindCode, func(s *Session) any { return string(s.EndReason) }},
	Field[Session]{"received", KindInteger, func(s *Session) any { return s.Received }},
	Field[Session]{"sent", KindInteger, func(s *Session) any { return s.Sent }},
)

var transactionFields = newFieldTable(
	func(t *Transaction) [16]byte { return t.ID },
	Order{Field: "at", Descending: true},
	Field[Transaction]{"at", KindTime, func(t *Transaction) any { return t.At }},
	Field[Transaction]{"sequence", KindInteger, func(t *Transaction) any { return t.Sequence }},
)

var eventFields = newFieldTable(
	func(e *Event) [16]byte { return e.ID },
	Order{Field: "at", Descending: true},
	Field[Event]{"at", KindTime, func(e *Event) any { return e.At }},
)

// text gives the plain UUID, and "" for the zero id.
func (id ID[T]) text() string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}
