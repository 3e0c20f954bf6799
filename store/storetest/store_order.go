package storetest

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// The values that fixtures of lists take their fields from. What makes a text
// hard to sort is in them: empty texts, equal ones, case, accents in both their
// forms, letters that fold into two, digits, and scripts beyond 16 bits.
var (
	hardTexts = []string{
		"", "Zebra", "zebra", "", "äpfel", "Apfel", "A\u0308PFEL", "Straße", "STRASSE", "strassf",
		"Жук", "жуки", "日本", "🙂", "９", "10", "9", "_", " a", "a b", "a-b", "ab",
	}
	hardCodes = []string{"", "B", "a", "", "_", "Z", "ä", "~", "10", "9", "B", "🙂", "日本", "b", "-", "a-b", "ab"}
	hardSizes = []int64{0, 1, -1, 1 << 62, -1 << 62, 7, 7, 1 << 31, -1 << 31, 10}
)

// pick takes the n-th value of a circle. Different factors give records
// different combinations.
func pick[T any](values []T, n, factor int) T {
	return values[(n*factor+factor)%len(values)]
}

// uniqueText makes texts that are hard to sort and unique in folded form.
func uniqueText(n int) string {
	texts := []string{"Zebra", "äpfel", "APFEM", "Straße", "strassf", "Жук", "жуки", "日本", "🙂", "９0", "10", "91", "_", "a b", "a-b", "ab"}
	return texts[n%len(texts)] + strings.Repeat("x", n/len(texts))
}

// listing is a list method with the records that it must list.
type listing[T any] struct {
	fields  []userkit.Field[T]
	id      func(*T) [16]byte
	records []T
	list    func(list userkit.ListRange) ([]T, error)
	// equal demands that two lists are equal in every field.
	equal func(t *testing.T, want, got []T)
}

// position is the place of a record in a list by the field.
func (l listing[T]) position(field userkit.Field[T], record *T) userkit.ListPosition {
	return userkit.ListPosition{Key: field.Key(record), ID: l.id(record)}
}

// sorted returns the records in the order that the contract asks for.
func (l listing[T]) sorted(field userkit.Field[T], descending bool) []T {
	return ordered(l.records, field, descending, l.id)
}

// requireOrder lists by every sortable field, both ways, and demands the order
// that Field.Key and CompareListPositions give.
func (l listing[T]) requireOrder(t *testing.T) {
	t.Helper()
	l.each(func(field userkit.Field[T], descending bool) {
		order := userkit.Order{Field: field.Name, Descending: descending}
		got, err := l.list(userkit.ListRange{Order: order, Limit: len(l.records) + 1})
		require.NoError(t, err, "by %v", order)
		want := l.sorted(field, descending)
		requireIDs(t, want, got, l.id, "by %v", order)
		l.equal(t, want, got)
	})
}

// requirePages walks the list by every sortable field, both ways, with pages of
// several sizes, and demands that each walk gives every record once, in order,
// and that a list goes on after a position that no record has.
func (l listing[T]) requirePages(t *testing.T) {
	t.Helper()
	size := len(l.records)
	l.each(func(field userkit.Field[T], descending bool) {
		order := userkit.Order{Field: field.Name, Descending: descending}
		want := l.sorted(field, descending)
		for _, limit := range []int{1, 2, 3, size, size + 1} {
			l.requireWalk(t, order, limit, want)
		}
		for i := range want {
			place := l.position(field, &want[i])
			place.ID[15] ^= 1 // beside the record: a record that was there and is gone
			rest := want[i+1:]
			if order := userkit.CompareListPositions(l.position(field, &want[i]), place); (order > 0) != descending {
				rest = want[i:]
			}
			got, err := l.list(userkit.ListRange{Order: order, After: &place, Limit: size + 1})
			require.NoError(t, err, "by %v", order)
			requireIDs(t, rest, got, l.id, "by %v after a place without a record", order)
		}
	})
}

// requireWalk walks the list page by page and demands that it gives these
// records, in order.
func (l listing[T]) requireWalk(t *testing.T, order userkit.Order, limit int, want []T) {
	t.Helper()
	field := l.fields[slices.IndexFunc(l.fields, func(field userkit.Field[T]) bool { return field.Name == order.Field })]
	var walked []T
	var after *userkit.ListPosition
	for {
		page, err := l.list(userkit.ListRange{Order: order, After: after, Limit: limit})
		require.NoError(t, err, "by %v, %d a page", order, limit)
		require.LessOrEqual(t, len(page), limit, "by %v", order)
		walked = append(walked, page...)
		require.LessOrEqual(t, len(walked), len(want), "by %v, %d a page: too many records", order, limit)
		if len(page) < limit {
			break
		}
		last := l.position(field, &page[len(page)-1])
		after = &last
	}
	requireIDs(t, want, walked, l.id, "by %v, %d a page", order, limit)
}

// requireWalks walks the list by some fields, both ways.
func (l listing[T]) requireWalks(t *testing.T, limit int, fields ...string) {
	t.Helper()
	for _, name := range fields {
		field := l.fields[slices.IndexFunc(l.fields, func(field userkit.Field[T]) bool { return field.Name == name })]
		for _, descending := range []bool{false, true} {
			l.requireWalk(t, userkit.Order{Field: name, Descending: descending}, limit, l.sorted(field, descending))
		}
	}
}

// each calls a function for every sortable field and direction.
func (l listing[T]) each(check func(field userkit.Field[T], descending bool)) {
	for _, field := range l.fields {
		if field.Sortable() {
			check(field, false)
			check(field, true)
		}
	}
}
