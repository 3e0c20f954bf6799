package userkit

import (
	"encoding/base64"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// keysOfEveryKind has a key of every kind of field that lists sort by.
var keysOfEveryKind = map[FieldKind]Key{
	KindText: "jürgen", KindCode: "active", KindID: NewID[User]().String(), KindInteger: int64(-7), KindMoney: int64(1) << 62,
	KindBool: int64(1), KindSpan: int64(time.Hour), KindTime: time.Date(2026, 5, 1, 12, 0, 0, 123456000, time.UTC),
	KindAddress: netip.MustParseAddr("2001:db8::1"),
}

func TestCursorRoundTrip(t *testing.T) {
	for kind, key := range keysOfEveryKind {
		position := &Position{Key: key, ID: NewID[User]()}
		part, after, began, err := decodeCursor(encodeCursor(42, 1, position, noon), 42, kind, 2)
		require.NoError(t, err, kind)
		require.Equal(t, 1, part)
		require.Equal(t, noon, began)
		require.Equal(t, position, after, kind)
	}
	zero := &Position{Key: time.Time{}, ID: NewID[User]()}
	_, after, _, err := decodeCursor(encodeCursor(42, 0, zero, time.Time{}), 42, KindTime, 1)
	require.NoError(t, err)
	require.Equal(t, zero, after, "the zero time stays the zero time")
	none := &Position{Key: netip.Addr{}, ID: NewID[User]()}
	_, after, _, err = decodeCursor(encodeCursor(42, 0, none, time.Time{}), 42, KindAddress, 1)
	require.NoError(t, err)
	require.Equal(t, none, after, "no address stays no address")
}

func TestDamagedCursorIsRefused(t *testing.T) {
	cursor := encodeCursor(42, 0, &Position{Key: "ada", ID: NewID[User]()}, time.Time{})
	data, err := base64.RawURLEncoding.DecodeString(string(cursor))
	require.NoError(t, err)
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			_, _, _, err := decodeCursor(Cursor(base64.RawURLEncoding.EncodeToString(data)), 42, KindText, 1)
			require.Equal(t, CodeInvalidCursor, ErrorCode(err), "bit %d of byte %d", bit, i)
			data[i] ^= 1 << bit
		}
	}
	for end := 1; end < len(cursor); end++ {
		_, _, _, err := decodeCursor(cursor[:end], 42, KindText, 1)
		require.Equal(t, CodeInvalidCursor, ErrorCode(err))
	}
	_, _, _, err = decodeCursor(cursor+"=", 42, KindText, 1)
	require.Equal(t, CodeInvalidCursor, ErrorCode(err))
}

func TestForeignCursorIsRefused(t *testing.T) {
	cursor := encodeCursor(42, 0, &Position{Key: "ada", ID: NewID[User]()}, time.Time{})
	_, _, _, err := decodeCursor(cursor, 43, KindText, 1)
	require.Equal(t, CodeCursorMismatch, ErrorCode(err))
	_, _, _, err = decodeCursor(cursor, 42, KindTime, 1)
	require.Equal(t, CodeInvalidCursor, ErrorCode(err), "a key of another kind")
	_, _, _, err = decodeCursor(encodeCursor(42, 1, nil, time.Time{}), 42, KindText, 1)
	require.Equal(t, CodeInvalidCursor, ErrorCode(err), "a part that the list does not have")
}

func FuzzCursor(f *testing.F) {
	f.Add("", byte(0))
	for kind, key := range keysOfEveryKind {
		f.Add(string(encodeCursor(42, 0, &Position{Key: key, ID: NewID[User]()}, noon)), keyTag(kind))
	}
	kinds := []FieldKind{KindText, KindCode, KindBool, KindInteger, KindMoney, KindTime, KindSpan, KindID, KindAddress}
	f.Fuzz(func(t *testing.T, text string, number byte) {
		kind := kinds[int(number)%len(kinds)]
		part, after, began, err := decodeCursor(Cursor(text), 42, kind, 2)
		if err != nil {
			if code := ErrorCode(err); code != CodeInvalidCursor && code != CodeCursorMismatch {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		if text != "" && encodeCursor(42, part, after, began) != Cursor(text) {
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

func TestPageThroughParts(t *testing.T) {
	// Two parts of three and four records; every limit gives all seven in order.
	parts := [][]int64{{1, 2, 3}, {1, 5, 6, 7}}
	table := newFieldTable(func(n *int64) [16]byte { return [16]byte{15: byte(*n)} }, Order{Field: "n"},
		Field[int64]{Name: "n", Kind: KindInteger, Get: func(n *int64) any { return *n }})
	read := func(numbers []int64) part[int64] {
		return func(list List, _ time.Time) ([]int64, error) {
			found := []int64{}
			for _, n := range numbers {
				if (list.After == nil || n > list.After.Key.(int64)) && len(found) < list.Limit {
					found = append(found, n)
				}
			}
			return found, nil
		}
	}
	for limit := 1; limit <= 8; limit++ {
		var all []int64
		query := PageQuery{Limit: limit}
		for {
			page, err := readParts(query, table, "numbers", nil, noon, read(parts[0]), read(parts[1]))
			require.NoError(t, err)
			require.LessOrEqual(t, len(page.Items), limit)
			all = append(all, page.Items...)
			if page.Next == "" {
				break
			}
			require.Len(t, page.Items, limit, "only the last page is short")
			query.Cursor = page.Next
		}
		require.Equal(t, []int64{1, 2, 3, 1, 5, 6, 7}, all, "limit %d", limit)
	}
	for _, limit := range []int{-1, MaxPageLimit + 1} {
		_, err := readParts(PageQuery{Limit: limit}, table, "numbers", nil, time.Time{}, read(parts[0]))
		require.Equal(t, CodeOutOfRange, ErrorCode(err))
	}
	_, err := readParts(PageQuery{Sort: "nonsense"}, table, "numbers", nil, time.Time{}, read(parts[0]))
	require.Equal(t, CodeUnknownField, ErrorCode(err))
}
