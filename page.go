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

// Cursor is an opaque place in a list; empty: the beginning. It is valid only for the query that
// returned it, of which only the limit may change.
type Cursor string

// PageQuery says which page of a list and in which order.
type PageQuery struct {
	Sort       string `json:"sort,omitempty"`       // a field by its name; empty: the list's default order
	Descending bool   `json:"descending,omitempty"` // only with Sort
	Limit      int    `json:"limit,omitempty"`      // 1 to MaxPageLimit; 0: DefaultPageLimit
	Cursor     Cursor `json:"cursor,omitempty"`     // Page.Next or Page.Previous of another page; empty: the first page
}

// page returns the part of a query that all queries have.
func (q *PageQuery) page() *PageQuery { return q }

// All returns an iterator over all records of a list, page by page. It takes a method of a Manager
// and its query:
//
//	for device, err := range userkit.All(ctx, users.Devices, userkit.DeviceQuery{}) { … }
//
// Limit is the number of records read at once; 0 means MaxPageLimit. The iteration begins at the
// cursor, if there is one. An error is yielded last and ends the iteration. Records that are
// created or changed during the iteration may be missed, or be yielded as they were before; a
// record that does not change is yielded exactly once. For users, AllUsers is faster.
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

// Page is a page of a list.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  Cursor `json:"next,omitempty"` // empty: this is the last page
	// Previous leads to the page before, in the same order; empty: this is the first page.
	// If all records before have been deleted meanwhile, it leads to the first page.
	Previous Cursor `json:"previous,omitempty"`
}

// Order is a sort order: a field of the table of fields, then the id, both in
// the same direction.
//
// For writers of stores.
type Order struct {
	Field      string
	Descending bool
}

// ListRange says which records a store returns: at most Limit records, in an order, after a position.
//
// For writers of stores.
type ListRange struct {
	Order Order
	After *ListPosition // nil: from the beginning
	Limit int           // at least 1
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
		return 0, NewError(CodeOutOfRange, "limit", "%d is outside the range 1 to %d", limit, MaxPageLimit)
	}
	return limit, nil
}

// part is one of the parts of a list that are read one after another; a plain list
// has one. Each part is ordered in the same way. began is when the first page was
// read.
type part[T any] func(list ListRange, began time.Time) ([]T, error)

// readPage reads one page of a plain list. what names the list in its cursors, and
// filter is what a cursor is bound to.
func readPage[T any](query PageQuery, table *fieldTable[T], what string, filter any, read func(ListRange) ([]T, error)) (Page[T], error) {
	return readParts(query, table, what, filter, time.Time{}, func(list ListRange, _ time.Time) ([]T, error) { return read(list) })
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
	from, err := decodeCursor(query.Cursor, binding, field.Kind, len(parts))
	if err != nil {
		return Page[T]{}, err
	}
	if query.Cursor == "" {
		from.began = now
	}

	// The page before is read from its last record to its first, and then turned round.
	step, end := 1, len(parts)
	if from.backward {
		step, end = -1, -1
		order.Descending = !order.Descending
	}
	items, of := []T{}, []int{} // the records, and of which part each is
	for at, after := from.part, from.after; at != end && len(items) <= limit; at += step {
		found, err := parts[at](ListRange{Order: order, After: after, Limit: limit - len(items) + 1}, from.began)
		if err != nil {
			return Page[T]{}, err
		}
		items = append(items, found...)
		for range found {
			of = append(of, at)
		}
		after = nil
	}
	more := len(items) > limit
	if more {
		items, of = items[:limit], of[:limit]
	}
	if from.backward {
		if len(items) == 0 { // all that was before has gone
			query.Cursor = ""
			return readParts(query, table, what, filter, now, parts...)
		}
		slices.Reverse(items)
		slices.Reverse(of)
	}

	beside := func(i int, backward bool) Cursor {
		after := &ListPosition{Key: field.Key(&items[i]), ID: table.id(&items[i])}
		return encodeCursor(binding, place{part: of[i], after: after, backward: backward, began: from.began}, len(parts))
	}
	page := Page[T]{Items: items}
	last := len(items) - 1
	if more || from.backward {
		page.Next = beside(last, false)
	}
	switch {
	case from.backward && !more, query.Cursor == "":
	case last < 0: // everything is before the end of the list
		end := place{part: len(parts) - 1, backward: true, began: from.began}
		page.Previous = encodeCursor(binding, end, len(parts))
	default:
		page.Previous = beside(0, true)
	}
	return page, nil
}

// mergeLists returns the first records of two lists in one order, each record once.
func mergeLists[T any](table *fieldTable[T], list ListRange, one, other []T) []T {
	field := table.byName[list.Order.Field]
	all := slices.Concat(one, other)
	compare := func(a, b T) int {
		order := CompareListPositions(ListPosition{Key: field.Key(&a), ID: table.id(&a)}, ListPosition{Key: field.Key(&b), ID: table.id(&b)})
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

// bindCursor returns a number by which queries are told apart.
func bindCursor(what string, order Order, filter any) uint64 {
	text, err := json.Marshal([]any{what, order, filter})
	if err != nil {
		panic("userkit: a filter that JSON cannot write: " + err.Error())
	}
	hash := fnv.New64a()
	hash.Write(text)
	return hash.Sum64()
}

// place is a place in a list, as a cursor says it: behind a position of a part, or before
// it.
type place struct {
	part     int
	after    *ListPosition // nil: behind the last record of the part, which is only for backward
	backward bool          // what is before the position, instead of what is behind it
	began    time.Time     // when the list began; zero: it has one part
}

// A cursor is version, binding, part, direction, when the list began (of a list with more
// parts than one), kind of key, key, id, and a checksum that finds damage (it is no
// protection against forgery, which gains nothing: a cursor says only where to go on).
const (
	cursorVersion = 2

	keyNone    = 0 // the end of the part
	keyString  = 's'
	keyInteger = 'i'
	keyTime    = 't'
	keyAddress = 'a'
)

func encodeCursor(binding uint64, at place, parts int) Cursor {
	data := []byte{cursorVersion}
	data = binary.BigEndian.AppendUint64(data, binding)
	data = append(data, byte(at.part), 0)
	if at.backward {
		data[len(data)-1] = 1
	}
	if parts > 1 {
		data = binary.BigEndian.AppendUint64(data, uint64(at.began.UnixMicro()))
	}
	if at.after == nil {
		data = append(data, keyNone)
	} else {
		switch key := at.after.Key.(type) {
		case string:
			data = append(append(data, keyString), key...)
		case int64:
			data = binary.BigEndian.AppendUint64(append(data, keyInteger), uint64(key))
		case time.Time:
			data = binary.BigEndian.AppendUint64(append(data, keyTime), uint64(key.UnixMicro()))
		case netip.Addr:
			data = append(append(data, keyAddress), key.AsSlice()...)
		}
		data = append(data, at.after.ID[:]...)
	}
	return Cursor(sumText(data))
}

// sumText returns data with a checksum that finds damage, as text for URLs.
func sumText(data []byte) string {
	data = binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
	return base64.RawURLEncoding.EncodeToString(data)
}

// unsumText returns the data of a text that sumText made, and whether it did.
func unsumText(text string) ([]byte, bool) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(data) < 4 || strings.ContainsAny(text, "\r\n") { // which base64 skips
		return nil, false
	}
	body, sum := data[:len(data)-4], binary.BigEndian.Uint32(data[len(data)-4:])
	return body, crc32.ChecksumIEEE(body) == sum
}

func decodeCursor(cursor Cursor, binding uint64, kind FieldKind, parts int) (at place, err error) {
	if cursor == "" {
		return place{}, nil
	}
	damaged := NewError(CodeInvalidCursor, "cursor", "the cursor is damaged")
	head := 1 + 8 + 1 + 1 + 1
	if parts > 1 {
		head += 8
	}
	body, intact := unsumText(string(cursor))
	if !intact || len(body) < head || body[0] != cursorVersion {
		return place{}, damaged
	}
	if binary.BigEndian.Uint64(body[1:]) != binding {
		return place{}, NewError(CodeCursorMismatch, "cursor", "the cursor belongs to another query")
	}
	at.part, at.backward = int(body[9]), body[10] == 1
	if at.part >= parts || body[10] > 1 {
		return place{}, damaged
	}
	if parts > 1 {
		at.began = microTime(int64(binary.BigEndian.Uint64(body[11:])))
		if year := at.began.Year(); at.began.IsZero() || year < 1 || year > 9999 {
			return place{}, damaged
		}
	}
	tag, rest := body[head-1], body[head:]
	if tag == keyNone {
		if len(rest) != 0 || !at.backward {
			return place{}, damaged
		}
		return at, nil
	}
	if len(rest) < 16 || tag != keyTag(kind) {
		return place{}, damaged
	}
	after := &ListPosition{ID: [16]byte(rest[len(rest)-16:])}
	value := rest[:len(rest)-16]
	switch tag {
	case keyString:
		after.Key = string(value)
		if checkLines("cursor", string(value), len(value)) != nil {
			return place{}, damaged
		}
		if kind == KindID && len(value) > 0 {
			if _, err := ParseID[User](string(value)); err != nil {
				return place{}, damaged
			}
		}
	case keyInteger, keyTime:
		if len(value) != 8 {
			return place{}, damaged
		}
		number := int64(binary.BigEndian.Uint64(value))
		after.Key = number
		if tag == keyTime {
			moment := microTime(number)
			if year := moment.Year(); year < 1 || year > 9999 {
				return place{}, damaged
			}
			after.Key = moment
		}
	case keyAddress:
		address, ok := netip.AddrFromSlice(value)
		if !ok && len(value) != 0 {
			return place{}, damaged
		}
		after.Key = address
	}
	at.after = after
	return at, nil
}

// keyTag returns the tag that keys of a kind have in a cursor.
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

// microTime returns the time of a number of microseconds, and the zero time for
// the number that the zero time has.
func microTime(micros int64) time.Time {
	return time.UnixMicro(micros).UTC()
}
