package userkit

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"hash/fnv"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// The bounds of a page.
const (
	DefaultPageLimit = 50
	MaxPageLimit     = 1000
)

// Cursor is a place in a list, opaque; empty: the beginning. It belongs to the
// query that it came from, whose limit alone may change.
type Cursor string

// PageQuery says which page of a list and in which order.
type PageQuery struct {
	Sort       string `json:"sort,omitempty"`       // a field by its name; empty: the list's default order
	Descending bool   `json:"descending,omitempty"` // only with Sort
	Limit      int    `json:"limit,omitempty"`      // 1 to MaxPageLimit; 0: DefaultPageLimit
	Cursor     Cursor `json:"cursor,omitempty"`     // Page.Next of the page before; empty: the first page
}

// page gives the part of a query that all queries have.
func (q *PageQuery) page() *PageQuery { return q }

// All returns the records of a list, all of its pages one after another, from a call of a
// Manager and its query:
//
//	for device, err := range userkit.All(ctx, users.Devices, userkit.DeviceQuery{}) { … }
//
// Limit is how many are read at once; 0 means MaxPageLimit. A cursor says where to begin.
// After an error, which is the last item, there are no more. Records that are created or
// changed meanwhile may be missed or come with what they were; none that stays as it is
// comes twice or is left out. Of users, AllUsers is faster.
func All[Q, T any, P interface {
	*Q
	page() *PageQuery
}](ctx context.Context, list func(context.Context, Q) (Page[T], error), query Q) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		query := query
		page := P(&query).page()
		if page.Limit == 0 {
			page.Limit = MaxPageLimit
		}
		for {
			found, err := list(ctx, query)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range found.Items {
				if !yield(item, nil) {
					return
				}
			}
			if found.Next == "" {
				return
			}
			page.Cursor = found.Next
		}
	}
}

// Page is a part of a list.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  Cursor `json:"next,omitempty"` // empty: this is the last page
}

// Order is a sort order: a field of the table of fields, then the id, both in
// the same direction.
type Order struct {
	Field      string
	Descending bool
}

// List is what a store gets asked for: records in an order, those after a
// position, at most so many.
type List struct {
	Order Order
	After *Position // nil: from the beginning
	Limit int       // at least 1
}

// order checks the sort field and fills in the default.
func (t *fieldTable[T]) orderOf(query PageQuery) (Order, error) {
	if query.Sort == "" {
		return t.order, nil
	}
	field, ok := t.byName[query.Sort]
	if !ok || !field.Sortable() {
		return Order{}, NewError(CodeUnknownField, "sort", "cannot sort by %q", clip(query.Sort))
	}
	return Order{Field: query.Sort, Descending: query.Descending}, nil
}

func pageLimit(limit int) (int, error) {
	if limit == 0 {
		return DefaultPageLimit, nil
	}
	if limit < 1 || limit > MaxPageLimit {
		return 0, NewError(CodeOutOfRange, "limit", "%d is not from 1 to %d", limit, MaxPageLimit)
	}
	return limit, nil
}

// part is one of the parts of a list that are read one after another; a plain list
// has one. Each part is ordered in the same way. began is when the first page was
// read.
type part[T any] func(list List, began time.Time) ([]T, error)

// readPage reads one page of a plain list. what names the list in its cursors, and
// filter is what a cursor is bound to.
func readPage[T any](query PageQuery, table *fieldTable[T], what string, filter any, read func(List) ([]T, error)) (Page[T], error) {
	return readParts(query, table, what, filter, time.Time{}, func(list List, _ time.Time) ([]T, error) { return read(list) })
}

// readParts reads one page through the parts of a list.
func readParts[T any](query PageQuery, table *fieldTable[T], what string, filter any, now time.Time, parts ...part[T]) (Page[T], error) {
	order, err := table.orderOf(query)
	if err != nil {
		return Page[T]{}, err
	}
	limit, err := pageLimit(query.Limit)
	if err != nil {
		return Page[T]{}, err
	}
	field := table.byName[order.Field]
	binding := bindCursor(what, order, filter)
	at, after, began, err := decodeCursor(query.Cursor, binding, field.Kind, len(parts))
	if err != nil {
		return Page[T]{}, err
	}
	if query.Cursor == "" {
		began = now
	}

	page := Page[T]{Items: []T{}}
	for ; at < len(parts); at++ {
		items, err := parts[at](List{Order: order, After: after, Limit: limit - len(page.Items) + 1}, began)
		if err != nil {
			return Page[T]{}, err
		}
		after = nil
		page.Items = append(page.Items, items...)
		if len(page.Items) > limit {
			page.Items = page.Items[:limit]
			// The last item that fits may be of an earlier part than the one
			// that did not: then this part begins from its beginning.
			if kept := len(items) - 1; kept > 0 {
				last := &page.Items[limit-1]
				after = &Position{Key: field.Key(last), ID: table.id(last)}
			}
			page.Next = encodeCursor(binding, at, after, began)
			break
		}
	}
	return page, nil
}

// mergeLists gives the first records of two lists in one order, each record once.
func mergeLists[T any](table *fieldTable[T], list List, one, other []T) []T {
	field := table.byName[list.Order.Field]
	all := slices.Concat(one, other)
	compare := func(a, b T) int {
		order := ComparePositions(Position{Key: field.Key(&a), ID: table.id(&a)}, Position{Key: field.Key(&b), ID: table.id(&b)})
		if list.Order.Descending {
			return -order
		}
		return order
	}
	slices.SortStableFunc(all, compare)
	all = slices.CompactFunc(all, func(a, b T) bool { return table.id(&a) == table.id(&b) })
	return all[:min(len(all), list.Limit)]
}

// walk reads a list page by page, from the query's cursor on.
func walk[T any](query PageQuery, read func(PageQuery) (Page[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		query := query
		if query.Limit == 0 {
			query.Limit = MaxPageLimit
		}
		for {
			page, err := read(query)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			query.Cursor = page.Next
		}
	}
}

// bindCursor gives a number that tells queries apart.
func bindCursor(what string, order Order, filter any) uint64 {
	text, err := json.Marshal([]any{what, order, filter})
	if err != nil {
		panic("userkit: a filter that JSON cannot write: " + err.Error())
	}
	hash := fnv.New64a()
	hash.Write(text)
	return hash.Sum64()
}

// A cursor is version, binding, part, when the list began (of a list with more parts
// than one), kind of key, key, id, and a checksum that finds damage (it is no protection against forgery, which gains nothing: a
// cursor says only where to go on).
const (
	cursorVersion = 1

	keyNone    = 0 // the beginning of the part
	keyString  = 's'
	keyInteger = 'i'
	keyTime    = 't'
	keyAddress = 'a'
)

func encodeCursor(binding uint64, part int, after *Position, began time.Time) Cursor {
	data := []byte{cursorVersion}
	data = binary.BigEndian.AppendUint64(data, binding)
	data = append(data, byte(part))
	if !began.IsZero() {
		data = binary.BigEndian.AppendUint64(data, uint64(began.UnixMicro()))
	}
	if after == nil {
		data = append(data, keyNone)
	} else {
		switch key := after.Key.(type) {
		case string:
			data = append(append(data, keyString), key...)
		case int64:
			data = binary.BigEndian.AppendUint64(append(data, keyInteger), uint64(key))
		case time.Time:
			data = binary.BigEndian.AppendUint64(append(data, keyTime), uint64(key.UnixMicro()))
		case netip.Addr:
			data = append(append(data, keyAddress), key.AsSlice()...)
		}
		data = append(data, after.ID[:]...)
	}
	return Cursor(sumText(data))
}

// sumText gives data with a checksum that finds damage, as text for URLs.
func sumText(data []byte) string {
	data = binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
	return base64.RawURLEncoding.EncodeToString(data)
}

// unsumText gives the data of a text that sumText made, and whether it did.
func unsumText(text string) ([]byte, bool) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(data) < 4 || strings.ContainsAny(text, "\r\n") { // which base64 skips
		return nil, false
	}
	body, sum := data[:len(data)-4], binary.BigEndian.Uint32(data[len(data)-4:])
	return body, crc32.ChecksumIEEE(body) == sum
}

func decodeCursor(cursor Cursor, binding uint64, kind FieldKind, parts int) (part int, after *Position, began time.Time, err error) {
	if cursor == "" {
		return 0, nil, time.Time{}, nil
	}
	damaged := NewError(CodeInvalidCursor, "cursor", "the cursor is damaged")
	head := 1 + 8 + 1 + 1
	if parts > 1 {
		head += 8
	}
	body, intact := unsumText(string(cursor))
	if !intact || len(body) < head || body[0] != cursorVersion {
		return 0, nil, time.Time{}, damaged
	}
	if binary.BigEndian.Uint64(body[1:]) != binding {
		return 0, nil, time.Time{}, NewError(CodeCursorMismatch, "cursor", "the cursor belongs to another query")
	}
	part = int(body[9])
	if part >= parts {
		return 0, nil, time.Time{}, damaged
	}
	if parts > 1 {
		began = microTime(int64(binary.BigEndian.Uint64(body[10:])))
		if year := began.Year(); began.IsZero() || year < 1 || year > 9999 {
			return 0, nil, time.Time{}, damaged
		}
	}
	tag, rest := body[head-1], body[head:]
	if tag == keyNone {
		if len(rest) != 0 || part == 0 {
			return 0, nil, time.Time{}, damaged
		}
		return part, nil, began, nil
	}
	if len(rest) < 16 || tag != keyTag(kind) {
		return 0, nil, time.Time{}, damaged
	}
	after = &Position{ID: [16]byte(rest[len(rest)-16:])}
	value := rest[:len(rest)-16]
	switch tag {
	case keyString:
		after.Key = string(value)
		if checkLines("cursor", string(value), len(value)) != nil {
			return 0, nil, time.Time{}, damaged
		}
		if kind == KindID && len(value) > 0 {
			if _, err := ParseID[User](string(value)); err != nil {
				return 0, nil, time.Time{}, damaged
			}
		}
	case keyInteger, keyTime:
		if len(value) != 8 {
			return 0, nil, time.Time{}, damaged
		}
		number := int64(binary.BigEndian.Uint64(value))
		after.Key = number
		if tag == keyTime {
			at := microTime(number)
			if year := at.Year(); year < 1 || year > 9999 {
				return 0, nil, time.Time{}, damaged
			}
			after.Key = at
		}
	case keyAddress:
		address, ok := netip.AddrFromSlice(value)
		if !ok && len(value) != 0 {
			return 0, nil, time.Time{}, damaged
		}
		after.Key = address
	}
	return part, after, began, nil
}

// keyTag gives the tag that keys of a kind have in a cursor.
func keyTag(kind FieldKind) byte {
	switch kind {
	case KindText, KindCode, KindID:
		return keyString
	case KindTime:
		return keyTime
	case KindAddress:
		return keyAddress
	default:
		return keyInteger
	}
}

// microTime gives the time of a number of microseconds, and the zero time for
// the number that the zero time has.
func microTime(micros int64) time.Time {
	return time.UnixMicro(micros).UTC()
}
