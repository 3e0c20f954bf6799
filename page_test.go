package userkit

import (
	"encoding/base64"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// keysOfEveryKind has a key of every kind of field that lists sort by.
var keysOfEveryKind = map[FieldKind]OrderKey{
	KindText: "jürgen", KindCode: "active", KindID: NewID[User]().String(), KindInteger: int64(-7), KindMoney: int64(1) << 62,
	KindBool: int64(1), KindSpan: int64(time.Hour), KindTime: time.Date(2026, 5, 1, 12, 0, 0, 123456000, time.UTC),
	KindAddress: netip.MustParseAddr("2001:db8::1"),
}

func TestCursorRoundTrip(t *testing.T) {
	for kind, key := range keysOfEveryKind {
		for _, backward := range []bool{false, true} {
			want := place{part: 1, after: &ListPosition{Key: key, ID: NewID[User]()}, backward: backward, began: noon}
			at, err := decodeCursor(encodeCursor(42, want, 2), 42, kind, 2)
			require.NoError(t, err, kind)
			require.Equal(t, want, at, kind)
		}
	}
	end := place{part: 1, backward: true, began: noon}
	at, err := decodeCursor(encodeCursor(42, end, 2), 42, KindText, 2)
	require.NoError(t, err)
	require.Equal(t, end, at, "the end of a list")
	zero := place{after: &ListPosition{Key: time.Time{}, ID: NewID[User]()}}
	at, err = decodeCursor(encodeCursor(42, zero, 1), 42, KindTime, 1)
	require.NoError(t, err)
	require.Equal(t, zero, at, "the zero time stays the zero time")
	none := place{after: &ListPosition{Key: netip.Addr{}, ID: NewID[User]()}}
	at, err = decodeCursor(encodeCursor(42, none, 1), 42, KindAddress, 1)
	require.NoError(t, err)
	require.Equal(t, none, at, "no address stays no address")
}

func TestDamagedCursorIsRefused(t *testing.T) {
	cursor := encodeCursor(42, place{after: &ListPosition{Key: "ada", ID: NewID[User]()}}, 1)
	data, err := base64.RawURLEncoding.DecodeString(string(cursor))
	require.NoError(t, err)
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			_, err := decodeCursor(Cursor(base64.RawURLEncoding.EncodeToString(data)), 42, KindText, 1)
			require.Equal(t, CodeInvalidCursor, ErrorCode(err), "bit %d of byte %d", bit, i)
			data[i] ^= 1 << bit
		}
	}
	for end := 1; end < len(cursor); end++ {
		_, err := decodeCursor(cursor[:end], 42, KindText, 1)
		require.Equal(t, CodeInvalidCursor, ErrorCode(err))
	}
	_, err = decodeCursor(cursor+"=", 42, KindText, 1)
	require.Equal(t, CodeInvalidCursor, ErrorCode(err))
}

func TestForeignCursorIsRefused(t *testing.T) {
	cursor := encodeCursor(42, place{after: &ListPosition{Key: "ada", ID: NewID[User]()}}, 1)
	_, err := decodeCursor(cursor, 43, KindText, 1)
	require.Equal(t, CodeCursorMismatch, ErrorCode(err))
	_, err = decodeCursor(cursor, 42, KindTime, 1)
	require.Equal(t, CodeInvalidCursor, ErrorCode(err), "a key of another kind")
	_, err = decodeCursor(encodeCursor(42, place{part: 1, backward: true}, 1), 42, KindText, 1)
	require.Equal(t, CodeInvalidCursor, ErrorCode(err), "a part that the list does not have")
	_, err = decodeCursor(encodeCursor(42, place{}, 1), 42, KindText, 1)
	require.Equal(t, CodeInvalidCursor, ErrorCode(err), "forward from nowhere")
}

func FuzzCursor(f *testing.F) {
	f.Add("", byte(0))
	for kind, key := range keysOfEveryKind {
		f.Add(string(encodeCursor(42, place{after: &ListPosition{Key: key, ID: NewID[User]()}, began: noon}, 2)), keyTag(kind))
	}
	f.Add(string(encodeCursor(42, place{part: 1, backward: true, began: noon}, 2)), byte(0))
	kinds := []FieldKind{KindText, KindCode, KindBool, KindInteger, KindMoney, KindTime, KindSpan, KindID, KindAddress}
	f.Fuzz(func(t *testing.T, text string, number byte) {
		kind := kinds[int(number)%len(kinds)]
		at, err := decodeCursor(Cursor(text), 42, kind, 2)
		if err != nil {
			if code := ErrorCode(err); code != CodeInvalidCursor && code != CodeCursorMismatch {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		if text != "" && encodeCursor(42, at, 2) != Cursor(text) {
			t.Fatalf("%q decodes and encodes to something else", text)
		}
	})
}

func FuzzFeedCursor(f *testing.F) {
	f.Add("")
	f.Add(string(FeedPosition{Commit: 7, Event: NewID[Event]()}.cursor()))
	f.Fuzz(func(t *testing.T, text string) {
		position, err := FeedCursor(text).position()
		if err != nil {
			if ErrorCode(err) != CodeInvalidCursor {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		if text != "" && position.cursor() != FeedCursor(text) {
			t.Fatalf("%q decodes and encodes to something else", text)
		}
	})
}

// numbersTable is a table of fields of numbers, which are their own ids.
func numbersTable() *fieldTable[int64] {
	return newFieldTable(func(n *int64) [16]byte { return [16]byte{15: byte(*n)} }, Order{Field: "n"},
		Field[int64]{Name: "n", Kind: KindInteger, Get: func(n *int64) any { return *n }})
}

// numbersPart is a part of a list of numbers, in either direction.
func numbersPart(numbers *[]int64) part[int64] {
	return func(list ListRange, _ time.Time) ([]int64, error) {
		found := []int64{}
		rising := slices.Sorted(slices.Values(*numbers))
		if list.Order.Descending {
			slices.Reverse(rising)
		}
		for _, n := range rising {
			behind := list.After == nil || n > list.After.Key.(int64) && !list.Order.Descending ||
				n < list.After.Key.(int64) && list.Order.Descending
			if behind && len(found) < list.Limit {
				found = append(found, n)
			}
		}
		return found, nil
	}
}

func TestPageThroughParts(t *testing.T) {
	// Three parts of three, no and four records; every limit gives all seven in order, there
	// and back.
	table := numbersTable()
	for _, query := range []PageQuery{{}, {Sort: "n", Descending: true}} {
		want := []int64{1, 2, 3, 1, 5, 6, 7}
		if query.Descending {
			want = []int64{3, 2, 1, 7, 6, 5, 1}
		}
		for limit := 1; limit <= 8; limit++ {
			query.Limit = limit
			read := func(cursor Cursor) Page[int64] {
				query := query
				query.Cursor = cursor
				page, err := readParts(query, table, "numbers", nil, noon,
					numbersPart(&[]int64{1, 2, 3}), numbersPart(&[]int64{}), numbersPart(&[]int64{1, 5, 6, 7}))
				require.NoError(t, err)
				require.LessOrEqual(t, len(page.Items), limit)
				return page
			}
			pages := []Page[int64]{read("")}
			require.Empty(t, pages[0].Previous, "the first page")
			var all []int64
			for at := 0; ; at++ {
				all = append(all, pages[at].Items...)
				if pages[at].Next == "" {
					break
				}
				require.Len(t, pages[at].Items, limit, "only the last page is short")
				pages = append(pages, read(pages[at].Next))
			}
			require.Equal(t, want, all, "limit %d", limit)
			page := pages[len(pages)-1]
			for at := len(pages) - 2; at >= 0; at-- {
				require.NotEmpty(t, page.Previous)
				page = read(page.Previous)
				require.Equal(t, pages[at], page, "limit %d, page %d from behind", limit, at)
			}
		}
	}
	for _, limit := range []int{-1, MaxPageLimit + 1} {
		_, err := readParts(PageQuery{Limit: limit}, table, "numbers", nil, time.Time{}, numbersPart(&[]int64{}))
		require.Equal(t, CodeOutOfRange, ErrorCode(err))
	}
	_, err := readParts(PageQuery{Sort: "nonsense"}, table, "numbers", nil, time.Time{}, numbersPart(&[]int64{}))
	require.Equal(t, CodeUnknownField, ErrorCode(err))
}

// What comes and goes between the pages neither hides the page before nor ends the list.
func TestPagesBackWhileTheListChanges(t *testing.T) {
	numbers := []int64{10, 20, 30, 40}
	read := func(cursor Cursor) Page[int64] {
		page, err := readPage(PageQuery{Limit: 2, Cursor: cursor}, numbersTable(), "numbers", nil, func(list ListRange) ([]int64, error) {
			return numbersPart(&numbers)(list, time.Time{})
		})
		require.NoError(t, err)
		return page
	}
	first := read("")
	second := read(first.Next)
	require.Equal(t, []int64{30, 40}, second.Items)

	numbers = []int64{1, 2, 10, 20, 30, 40}
	before := read(second.Previous)
	require.Equal(t, []int64{10, 20}, before.Items)
	require.Equal(t, []int64{1, 2}, read(before.Previous).Items, "what came before the first page")
	require.Empty(t, read(before.Previous).Previous)

	numbers = []int64{10, 20}
	gone := read(first.Next)
	require.Empty(t, gone.Items)
	require.Empty(t, gone.Next)
	require.Equal(t, []int64{10, 20}, read(gone.Previous).Items, "an empty page leads back")

	numbers = []int64{30, 40}
	require.Equal(t, []int64{30, 40}, read(second.Previous).Items, "the first page there is")
	require.Empty(t, read(second.Previous).Previous)

	numbers = nil
	require.Equal(t, Page[int64]{Items: []int64{}}, read(second.Previous))
}
