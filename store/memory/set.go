package memory

import (
	"slices"

	"github.com/tidwall/btree"
)

// order is a total order of records. Records that compare as equal are the same
// record, perhaps at different times.
type order[T any] interface {
	compare(a, b *T) int
}

// set is an ordered set of records, which are never changed once they are in. A
// small set is a sorted slice, since most users have a handful of records and a
// tree costs memory and cache misses; a large one is a B-tree.
//
// A snapshot costs the same for any size. It needs the store's lock for writing,
// because it tells the tree to copy what it changes from then on; a slice is
// always copied before it changes, except for appending to it, which a shorter
// snapshot cannot see.
type set[T any, O order[T]] struct {
	small []*T
	tree  *btree.BTreeG[*T]
}

// smallSet is the number of records up to which a set is a slice.
const smallSet = 256

func (s *set[T, O]) len() int {
	if s.tree != nil {
		return s.tree.Len()
	}
	return len(s.small)
}

// put adds a record, or puts it in the place of the one that compares as equal.
func (s *set[T, O]) put(record *T) {
	var o O
	if s.tree != nil {
		// Most records arrive in order: ids and times grow. Load appends
		// without a search, several times faster than Set.
		if last, ok := s.tree.Max(); !ok || o.compare(last, record) < 0 {
			s.tree.Load(record)
		} else {
			s.tree.Set(record)
		}
		return
	}
	count := len(s.small)
	if count == smallSet {
		s.tree = btree.NewBTreeGOptions(func(a, b *T) bool { return o.compare(a, b) < 0 }, btree.Options{NoLocks: true})
		for _, each := range s.small {
			s.tree.Load(each)
		}
		s.small = nil
		s.put(record)
		return
	}
	if count == 0 || o.compare(s.small[count-1], record) < 0 {
		s.small = append(s.small, record)
		return
	}
	at, found := slices.BinarySearchFunc(s.small, record, o.compare)
	if found {
		s.small = slices.Clone(s.small)
		s.small[at] = record
		return
	}
	grown := make([]*T, count+1, count+1+count/4)
	copy(grown, s.small[:at])
	grown[at] = record
	copy(grown[at+1:], s.small[at:])
	s.small = grown
}

// remove takes out the record that compares as equal.
func (s *set[T, O]) remove(record *T) {
	if s.tree != nil {
		s.tree.Delete(record)
		return
	}
	var o O
	at, found := slices.BinarySearchFunc(s.small, record, o.compare)
	if !found {
		return
	}
	if len(s.small) == 1 {
		s.small = nil
		return
	}
	shrunk := make([]*T, 0, len(s.small)-1)
	s.small = append(append(shrunk, s.small[:at]...), s.small[at+1:]...)
}

// get returns the record that compares as equal, or nil.
func (s *set[T, O]) get(record *T) *T {
	if s.tree != nil {
		found, _ := s.tree.Get(record)
		return found
	}
	var o O
	if at, found := slices.BinarySearchFunc(s.small, record, o.compare); found {
		return s.small[at]
	}
	return nil
}

// last returns the last record, or nil.
func (s *set[T, O]) last() *T {
	if s.tree != nil {
		last, _ := s.tree.Max()
		return last
	}
	if len(s.small) == 0 {
		return nil
	}
	return s.small[len(s.small)-1]
}

// from returns the first record that is not before a bound, or nil.
func (s *set[T, O]) from(bound *T) (first *T) {
	if s.tree != nil {
		s.tree.Ascend(bound, func(record *T) bool {
			first = record
			return false
		})
		return first
	}
	var o O
	if at, _ := slices.BinarySearchFunc(s.small, bound, o.compare); at < len(s.small) {
		return s.small[at]
	}
	return nil
}

// rank returns how many records come before this one.
func (s *set[T, O]) rank(record *T) int {
	var o O
	if s.tree == nil {
		at, _ := slices.BinarySearchFunc(s.small, record, o.compare)
		return at
	}
	low, high := 0, s.tree.Len()
	for low < high {
		middle := (low + high) / 2
		if at, _ := s.tree.GetAt(middle); o.compare(at, record) < 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// snapshot returns the set as it is now and stays. The store's lock must be held
// for writing.
func (s *set[T, O]) snapshot() set[T, O] {
	if s.tree == nil {
		return *s
	}
	return set[T, O]{tree: s.tree.Copy()}
}

// view returns a snapshot, or the set itself, to be read under the store's lock.
func (s *set[T, O]) view(snapshot bool) set[T, O] {
	if snapshot {
		return s.snapshot()
	}
	return *s
}

// each yields all records in order.
func (s set[T, O]) each(yield func(*T) bool) {
	if s.tree != nil {
		s.tree.Scan(yield)
		return
	}
	for _, record := range s.small {
		if !yield(record) {
			return
		}
	}
}

// span is a part of an ordered set. The bounds need only have what the order
// compares; nil means no bound.
type span[T any] struct {
	after *T // the place where a list goes on, in its direction; excluded
	low   *T // included
	high  *T // excluded
}

// cursor walks a part of a set in one direction.
type cursor[T any, O order[T]] struct {
	small      []*T
	at         int
	iterator   btree.IterG[*T]
	descending bool
	head       *T // in a tree, the record that comes next
	stop       *T // the bound at the far end
}

// cursor returns a cursor over a part of the set. It is valid as long as the set
// does not change.
func (s set[T, O]) cursor(part span[T], descending bool) *cursor[T, O] {
	var o O
	c := &cursor[T, O]{small: s.small, descending: descending}
	if descending {
		c.stop = part.low
		from := part.high
		if part.after != nil && (from == nil || o.compare(part.after, from) < 0) {
			from = part.after
		}
		c.seekBefore(s, from)
		return c
	}
	c.stop = part.high
	from, excluded := part.low, false
	if part.after != nil && (from == nil || o.compare(part.after, from) >= 0) {
		from, excluded = part.after, true
	}
	c.seekFrom(s, from, excluded)
	return c
}

// seekFrom finds the first record that is not before a bound.
func (c *cursor[T, O]) seekFrom(s set[T, O], bound *T, excluded bool) {
	var o O
	if s.tree == nil {
		if bound != nil {
			at, found := slices.BinarySearchFunc(s.small, bound, o.compare)
			if found && excluded {
				at++
			}
			c.at = at
		}
		return
	}
	c.iterator.Init(s.tree, false)
	ok := false
	if bound == nil {
		ok = c.iterator.First()
	} else if ok = c.iterator.Seek(bound); ok && excluded && o.compare(c.iterator.Item(), bound) == 0 {
		ok = c.iterator.Next()
	}
	if ok {
		c.head = c.iterator.Item()
	}
}

// seekBefore finds the last record that is before a bound.
func (c *cursor[T, O]) seekBefore(s set[T, O], bound *T) {
	var o O
	if s.tree == nil {
		c.at = len(s.small) - 1
		if bound != nil {
			at, _ := slices.BinarySearchFunc(s.small, bound, o.compare)
			c.at = at - 1
		}
		return
	}
	c.iterator.Init(s.tree, false)
	ok := false
	if bound == nil || !c.iterator.Seek(bound) {
		ok = c.iterator.Last()
	} else {
		ok = c.iterator.Prev()
	}
	if ok {
		c.head = c.iterator.Item()
	}
}

// next returns the next record, or nil at the end.
func (c *cursor[T, O]) next() *T {
	var o O
	record := c.head
	if record == nil {
		if c.at < 0 || c.at >= len(c.small) {
			return nil
		}
		record = c.small[c.at]
	}
	switch {
	case c.descending && c.stop != nil && o.compare(record, c.stop) < 0,
		!c.descending && c.stop != nil && o.compare(record, c.stop) >= 0:
		return nil
	case c.head == nil && c.descending:
		c.at--
	case c.head == nil:
		c.at++
	case c.descending && c.iterator.Prev(), !c.descending && c.iterator.Next():
		c.head = c.iterator.Item()
	default:
		c.head = nil
	}
	return record
}

// merged walks two sets of one order as if they were one.
type merged[T any, O order[T]] struct {
	left, right         *cursor[T, O]
	leftHead, rightHead *T
	descending          bool
}

func merge[T any, O order[T]](left, right *cursor[T, O], descending bool) *merged[T, O] {
	return &merged[T, O]{
		left: left, leftHead: left.next(),
		right: right, rightHead: right.next(),
		descending: descending,
	}
}

func (m *merged[T, O]) next() *T {
	var o O
	left := m.rightHead == nil
	if !left && m.leftHead != nil {
		left = o.compare(m.leftHead, m.rightHead) < 0 != m.descending
	}
	if left {
		record := m.leftHead
		if record != nil {
			m.leftHead = m.left.next()
		}
		return record
	}
	record := m.rightHead
	m.rightHead = m.right.next()
	return record
}
