package userkit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/userkit/userkit/internal/jsonvalue"
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
	KindSpan    FieldKind = "span"    // Duration
	KindID      FieldKind = "id"      // string, the plain UUID; empty for none
	KindAddress FieldKind = "address" // netip.Addr; none first, then IPv4, then IPv6
	KindJSON    FieldKind = "json"    // Attributes; cannot be sorted by
	KindCodes   FieldKind = "codes"   // []string, several codes at once; cannot be sorted by
)

// Parse reads a value of the kind from its text, as Format writes it. An empty text is read as no
// value, which is "", the zero time or nil attributes; for a bool or a number it is invalid. Parse
// returns ErrInvalid with CodeBadFormat or CodeOutOfRange, without the name of a field.
func (k FieldKind) Parse(text string) (any, error) {
	bad := func(form string) (any, error) {
		return nil, NewError(CodeBadFormat, "", "%q is not %s", clip(text), form)
	}
	switch k {
	case KindText, KindCode:
		return text, nil
	case KindBool:
		switch strings.ToLower(text) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return bad("true or false")
	case KindInteger:
		number, err := strconv.ParseInt(text, 10, 64)
		if errors.Is(err, strconv.ErrRange) {
			return nil, NewError(CodeOutOfRange, "", "%q does not fit into 64 bits", clip(text))
		}
		if err != nil {
			return bad("a whole number")
		}
		return number, nil
	case KindMoney:
		number, currency, ok := strings.Cut(text, " ")
		if !ok {
			return bad("an amount with its currency, such as 12.50 EUR")
		}
		return wrapAny(ParseMoney(number, currency))
	case KindTime:
		if text == "" {
			return time.Time{}, nil
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return bad("a time of RFC 3339, such as 2026-01-02T15:04:05Z")
		}
		t = storedTime(t)
		return t, checkTime("", t)
	case KindSpan:
		return wrapAny(ParseDuration(text))
	case KindID:
		if text == "" {
			return "", nil
		}
		id, err := ParseID[User](text)
		return id.String(), err
	case KindAddress:
		if text == "" {
			return netip.Addr{}, nil
		}
		address, err := netip.ParseAddr(text)
		if err != nil {
			return bad("an IP address")
		}
		return address, nil
	case KindJSON:
		if text == "" {
			return Attributes(nil), nil
		}
		value, err := jsonvalue.Decode([]byte(text))
		if err != nil {
			return nil, jsonFault("", fmt.Sprintf("%q is not a JSON object", clip(text)), err)
		}
		object, ok := jsonvalue.Plain(value).(map[string]any)
		if !ok {
			return bad("a JSON object")
		}
		return Attributes(object), nil
	case KindCodes:
		return strings.Fields(text), nil
	}
	panic("userkit: no such kind of field: " + string(k))
}

// Format returns a value of the kind as a text that Parse reads.
func (k FieldKind) Format(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case bool:
		return strconv.FormatBool(value)
	case int64:
		return strconv.FormatInt(value, 10)
	case Money:
		return value.String()
	case time.Time:
		if value.IsZero() {
			return ""
		}
		return value.UTC().Format(time.RFC3339Nano)
	case Duration:
		return value.String()
	case netip.Addr:
		if !value.IsValid() {
			return ""
		}
		return value.String()
	case Attributes:
		if len(value) == 0 {
			return ""
		}
		return string(jsonvalue.Append(nil, value))
	case []string:
		return strings.Join(value, " ")
	}
	panic(fmt.Sprintf("userkit: a field of kind %s has no value of type %T", k, value))
}

// holds reports whether a value has the type that fields of the kind have.
func (k FieldKind) holds(value any) (ok bool) {
	switch k {
	case KindText, KindCode:
		_, ok = value.(string)
	case KindBool:
		_, ok = value.(bool)
	case KindInteger:
		_, ok = value.(int64)
	case KindMoney:
		_, ok = value.(Money)
	case KindTime:
		_, ok = value.(time.Time)
	case KindSpan:
		_, ok = value.(Duration)
	case KindID:
		text, isText := value.(string)
		_, err := ParseID[User](text)
		ok = isText && (text == "" || err == nil)
	case KindAddress:
		_, ok = value.(netip.Addr)
	case KindJSON:
		_, ok = value.(Attributes)
	case KindCodes:
		_, ok = value.([]string)
	}
	return ok
}

// wrapAny forgets the type of a value.
func wrapAny[T any](value T, err error) (any, error) { return value, err }

// Field describes one field of a record for lists, sort orders, filters, exports, imports and
// consoles. It is a row of a table of fields.
type Field[T any] struct {
	Name   string              `json:"name"`
	Kind   FieldKind           `json:"kind"`
	Values []string            `json:"values,omitempty"` // of an enumeration: all that there are; nil: no enumeration
	Get    func(record *T) any `json:"-"`

	set func(draft *UserDraft, value any) // nil: only use changes it, or the store
}

// Sortable reports whether lists can be sorted by the field.
func (f Field[T]) Sortable() bool { return f.Kind != KindJSON && f.Kind != KindCodes }

// Settable reports whether UserDraft.Set accepts the field.
func (f Field[T]) Settable() bool { return f.set != nil }

// OrderKey is what a record sorts by: a string, an int64, a time.Time or a
// netip.Addr, the same type for all records of a field.
//
// For writers of stores.
type OrderKey any

// Key returns the sort key of a record, by which stores order.
func (f Field[T]) Key(record *T) OrderKey {
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
		return int64(value.(Duration))
	default:
		return value
	}
}

// CompareOrderKeys orders two keys of the same type.
func CompareOrderKeys(a, b OrderKey) int {
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

// ListPosition is a place in a sorted list: the key and the id of a record. Records
// of equal key are ordered by id, so every order is total.
//
// For writers of stores.
type ListPosition struct {
	Key OrderKey
	ID  [16]byte
}

// CompareListPositions orders two positions of the same list, ascending.
//
// For writers of stores.
func CompareListPositions(a, b ListPosition) int {
	return cmp.Or(CompareOrderKeys(a.Key, b.Key), bytes.Compare(a.ID[:], b.ID[:]))
}

// fieldTable is a table of fields with what a page needs in addition.
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

// DeviceFields is the table of the fields of a device.
func DeviceFields() []Field[Device] { return append([]Field[Device](nil), deviceFields.fields...) }

// SessionFields is the table of the fields of a session.
func SessionFields() []Field[Session] { return append([]Field[Session](nil), sessionFields.fields...) }

// PurchaseFields is the table of the fields of a purchase.
func PurchaseFields() []Field[Purchase] {
	return append([]Field[Purchase](nil), purchaseFields.fields...)
}

// SegmentFields is the table of the fields of a segment.
func SegmentFields() []Field[Segment] { return append([]Field[Segment](nil), segmentFields.fields...) }

// TransactionFields is the table of the fields of a transaction that lists sort by.
func TransactionFields() []Field[Transaction] {
	return append([]Field[Transaction](nil), transactionFields.fields...)
}

// DeliveryFields is the table of the fields of a delivery that lists sort by.
func DeliveryFields() []Field[Delivery] {
	return append([]Field[Delivery](nil), deliveryFields.fields...)
}

// ConnectionFields is the table of the fields of a connection that lists sort by.
func ConnectionFields() []Field[Connection] {
	return append([]Field[Connection](nil), connectionFields.fields...)
}

// EventFields is the table of the fields of an event that lists sort by.
func EventFields() []Field[Event] { return append([]Field[Event](nil), eventFields.fields...) }

var segmentFields = newFieldTable(
	func(s *Segment) [16]byte { return s.ID },
	Order{Field: "name"},
	Field[Segment]{Name: "id", Kind: KindID, Get: func(s *Segment) any { return s.ID.String() }},
	Field[Segment]{Name: "name", Kind: KindText, Get: func(s *Segment) any { return s.Name }},
	Field[Segment]{Name: "created_at", Kind: KindTime, Get: func(s *Segment) any { return s.CreatedAt }},
	Field[Segment]{Name: "updated_at", Kind: KindTime, Get: func(s *Segment) any { return s.UpdatedAt }},
)

var purchaseFields = newFieldTable(
	func(p *Purchase) [16]byte { return p.ID },
	Order{Field: "purchased_at", Descending: true},
	Field[Purchase]{Name: "id", Kind: KindID, Get: func(p *Purchase) any { return p.ID.String() }},
	Field[Purchase]{Name: "user_id", Kind: KindID, Get: func(p *Purchase) any { return p.UserID.String() }},
	Field[Purchase]{Name: "store", Kind: KindCode, Get: func(p *Purchase) any { return p.Store }},
	Field[Purchase]{Name: "stable_id", Kind: KindCode, Get: func(p *Purchase) any { return p.StableID }},
	Field[Purchase]{Name: "transaction_id", Kind: KindCode, Get: func(p *Purchase) any { return p.TransactionID }},
	Field[Purchase]{Name: "product_id", Kind: KindCode, Get: func(p *Purchase) any { return p.ProductID }},
	Field[Purchase]{Name: "environment", Kind: KindCode, Get: func(p *Purchase) any { return string(p.Environment) }},
	Field[Purchase]{Name: "purchased_at", Kind: KindTime, Get: func(p *Purchase) any { return p.PurchasedAt }},
	Field[Purchase]{Name: "expires_at", Kind: KindTime, Get: func(p *Purchase) any { return p.ExpiresAt }},
	Field[Purchase]{Name: "trial", Kind: KindBool, Get: func(p *Purchase) any { return p.Trial }},
	Field[Purchase]{Name: "active", Kind: KindBool, Get: func(p *Purchase) any { return p.Active }},
	Field[Purchase]{Name: "reason", Kind: KindCode, Get: func(p *Purchase) any { return string(p.Reason) }},
	Field[Purchase]{Name: "created_at", Kind: KindTime, Get: func(p *Purchase) any { return p.CreatedAt }},
	Field[Purchase]{Name: "verified_at", Kind: KindTime, Get: func(p *Purchase) any { return p.VerifiedAt }},
	Field[Purchase]{Name: "due_at", Kind: KindTime, Get: func(p *Purchase) any { return p.DueAt }},
)

var deviceFields = newFieldTable(
	func(d *Device) [16]byte { return d.ID },
	Order{Field: "registered_at"},
	Field[Device]{Name: "id", Kind: KindID, Get: func(d *Device) any { return d.ID.String() }},
	Field[Device]{Name: "user_id", Kind: KindID, Get: func(d *Device) any { return d.UserID.String() }},
	Field[Device]{Name: "name", Kind: KindText, Get: func(d *Device) any { return d.Name }},
	Field[Device]{Name: "type", Kind: KindCode, Get: func(d *Device) any { return string(d.Type) }},
	Field[Device]{Name: "hardware_id", Kind: KindCode, Get: func(d *Device) any { return d.HardwareID }},
	Field[Device]{Name: "registered_at", Kind: KindTime, Get: func(d *Device) any { return d.RegisteredAt }},
	Field[Device]{Name: "last_seen_at", Kind: KindTime, Get: func(d *Device) any { return d.LastSeenAt }},
)

var sessionFields = newFieldTable(
	func(s *Session) [16]byte { return s.ID },
	Order{Field: "started_at", Descending: true},
	Field[Session]{Name: "id", Kind: KindID, Get: func(s *Session) any { return s.ID.String() }},
	Field[Session]{Name: "user_id", Kind: KindID, Get: func(s *Session) any { return s.UserID.String() }},
	Field[Session]{Name: "device_id", Kind: KindID, Get: func(s *Session) any { return s.DeviceID.String() }},
	Field[Session]{Name: "device_name", Kind: KindText, Get: func(s *Session) any { return s.DeviceName }},
	Field[Session]{Name: "node", Kind: KindCode, Get: func(s *Session) any { return s.Node }},
	Field[Session]{Name: "node_location", Kind: KindText, Get: func(s *Session) any { return s.NodeLocation }},
	Field[Session]{Name: "internal_ip", Kind: KindAddress, Get: func(s *Session) any { return s.InternalIP }},
	Field[Session]{Name: "started_at", Kind: KindTime, Get: func(s *Session) any { return s.StartedAt }},
	Field[Session]{Name: "ended_at", Kind: KindTime, Get: func(s *Session) any { return s.EndedAt }},
	Field[Session]{Name: "end_reason", Kind: KindCode, Get: func(s *Session) any { return string(s.EndReason) }},
	Field[Session]{Name: "received", Kind: KindInteger, Get: func(s *Session) any { return s.Received }},
	Field[Session]{Name: "sent", Kind: KindInteger, Get: func(s *Session) any { return s.Sent }},
)

var transactionFields = newFieldTable(
	func(t *Transaction) [16]byte { return t.ID },
	Order{Field: "at", Descending: true},
	Field[Transaction]{Name: "at", Kind: KindTime, Get: func(t *Transaction) any { return t.At }},
	Field[Transaction]{Name: "sequence", Kind: KindInteger, Get: func(t *Transaction) any { return t.Sequence }},
)

var connectionFields = newFieldTable(
	func(c *Connection) [16]byte { return c.ID },
	Order{Field: "started_at", Descending: true},
	Field[Connection]{Name: "started_at", Kind: KindTime, Get: func(c *Connection) any { return c.StartedAt }},
)

var eventFields = newFieldTable(
	func(e *Event) [16]byte { return e.ID },
	Order{Field: "at", Descending: true},
	Field[Event]{Name: "at", Kind: KindTime, Get: func(e *Event) any { return e.At }},
)
