package memory

import "slices"

// table keeps records that are replaced all the time under numbers that stay.
// To replace one takes a store to memory, where a tree takes a search, and a
// snapshot costs the same for any size: after it, a page is copied before its
// first change.
type table[T any] struct {
	view[T]
	era  uint64 // counts the snapshots
	made uint64 // the era of the slice of pages
	next uint32
	free []uint32
}

// view is a table to read from.
type view[T any] struct {
	pages []*tablePage[T]
}

const tablePageSize = 256

type tablePage[T any] struct {
	era  uint64
	rows [tablePageSize]*T
}

// get returns a record, or nil.
func (v view[T]) get(number uint32) *T {
	return v.pages[number/tablePageSize].rows[number%tablePageSize]
}

// each yields all records in no order.
func (v view[T]) each(yield func(*T) bool) {
	for _, page := range v.pages {
		for _, row := range page.rows {
			if row != nil && !yield(row) {
				return
			}
		}
	}
}

// changed yields the numbers whose record is not the one of an earlier view,
// with the record of now; nil: it was removed.
func (v view[T]) changed(since view[T]) func(yield func(uint32, *T) bool) {
	return func(yield func(uint32, *T) bool) {
		for at, page := range v.pages {
			before := &tablePage[T]{}
			if at < len(since.pages) {
				before = since.pages[at]
			}
			if page == before {
				continue
			}
			for i, row := range page.rows {
				if row != before.rows[i] && !yield(uint32(at*tablePageSize+i), row) {
					return
				}
			}
		}
	}
}

// add returns a number that is free.
func (t *table[T]) add() uint32 {
	if last := len(t.free) - 1; last >= 0 {
		number := t.free[last]
		t.free = t.free[:last]
		return number
	}
	number := t.next
	t.next++
	if number%tablePageSize == 0 {
		t.pages = append(t.pages, &tablePage[T]{era: t.era})
	}
	return number
}

// put replaces a record.
func (t *table[T]) put(number uint32, row *T) {
	page := t.pages[number/tablePageSize]
	if page.era != t.era {
		if t.made != t.era {
			t.pages, t.made = slices.Clone(t.pages), t.era
		}
		page = &tablePage[T]{era: t.era, rows: page.rows}
		t.pages[number/tablePageSize] = page
	}
	page.rows[number%tablePageSize] = row
}

// remove frees a number.
func (t *table[T]) remove(number uint32) {
	t.put(number, nil)
	t.free = append(t.free, number)
}

// snapshot returns the table as it is now and stays. The store's lock must be
// held for writing.
func (t *table[T]) snapshot() view[T] {
	t.era++
	return t.view
}

// read returns a snapshot, or the table itself, to be read under the store's
// lock.
func (t *table[T]) read(snapshot bool) view[T] {
	if snapshot {
		return t.snapshot()
	}
	return t.view
}
