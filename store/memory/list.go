package memory

import (
	"container/heap"
	"context"
	"math"

	"github.com/userkit/userkit"
)

// query lists records T that come out as P.
type query[T, P any] struct {
	fields map[string]userkit.Field[P]
	id     func(*T) [16]byte
	// fill writes what lists can sort by into a P that is used again and again.
	fill func(row *T, to *P)
	out  func(*T) P
}

// source says where a list finds its records. It is opened under the store's
// lock, once on the live records and, if that does not do, once on a snapshot.
type source[T any] struct {
	rows  func() *T                 // in the order of the list, after its position, from an index that has it; nil at the end
	all   func(yield func(*T) bool) // in any order; nil: only rows are to be read
	size  int                       // the most that all yields, where that is known to be few; 0: perhaps every record
	match func(*T) bool             // nil: all
}

// short reports whether it takes less to sort what all yields than to read rows
// until a page is full, where found of the first lockedRows were records of the
// page.
func (s source[T]) short(limit, found int) bool {
	return s.rows == nil || s.all != nil && (found == 0 || s.size/lockedRows < limit/found)
}

const (
	// A list reads at most this many records under the lock: enough for the
	// largest page of a manager. One that needs more works on a snapshot.
	lockedRows = 1024
	// How many records are looked at between two looks at the context.
	breath = 1024
)

// page returns the records of one page as they come out.
func (q query[T, P]) page(ctx context.Context, s *Store, list userkit.ListRange, open func(snapshot bool) source[T]) ([]P, error) {
	rows, err := q.run(ctx, s, list, open)
	if err != nil {
		return nil, err
	}
	return convert(rows, q.out), nil
}

// run returns the records of one page. Only open is called under the lock, and
// at most lockedRows records of an index are read there.
func (q query[T, P]) run(ctx context.Context, s *Store, list userkit.ListRange, open func(snapshot bool) source[T]) ([]*T, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	field, ok := q.fields[list.Order.Field]
	if !ok || !field.Sortable() {
		return nil, userkit.NewError(userkit.CodeUnknownField, "sort", "cannot sort by %q", list.Order.Field)
	}
	if list.Limit < 1 {
		return nil, nil
	}
	page, done, err := q.glance(ctx, s, list, field, open)
	if done || err != nil {
		return page, err
	}

	s.mu.Lock()
	from := open(true)
	s.mu.Unlock()
	if from.short(list.Limit, len(page)) {
		return q.sort(ctx, list, field, from)
	}
	page = nil
	for seen, row := 1, from.rows(); row != nil; seen, row = seen+1, from.rows() {
		if seen%breath == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if from.match != nil && !from.match(row) {
			continue
		}
		if page = append(page, row); len(page) == list.Limit {
			break
		}
	}
	return page, nil
}

// count returns how many records a list has on all of its pages together, at one moment.
// Like a page, it takes a snapshot only where it has to look at many records.
func count[T any](ctx context.Context, s *Store, open func(snapshot bool) source[T]) (int64, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	s.mu.RLock()
	found, whole, err := open(false).count(ctx, lockedRows)
	s.mu.RUnlock()
	if whole || err != nil {
		return found, err
	}
	s.mu.Lock()
	from := open(true)
	s.mu.Unlock()
	found, _, err = from.count(ctx, math.MaxInt)
	return found, err
}

// count counts the records that match among the first most, and reports whether the source
// has no others.
func (s source[T]) count(ctx context.Context, most int) (found int64, whole bool, err error) {
	all := s.all
	if all == nil {
		all = drain(s.rows)
	}
	seen := 0
	for row := range all {
		if seen == most {
			return found, false, nil
		}
		if seen++; seen%breath == 0 && ctx.Err() != nil {
			return 0, false, ctx.Err()
		}
		if s.match == nil || s.match(row) {
			found++
		}
	}
	return found, true, nil
}

// glance tries to read the page under the lock for reading, and reports whether
// that was enough. If not, the page is what it found.
func (q query[T, P]) glance(ctx context.Context, s *Store, list userkit.ListRange, field userkit.Field[P], open func(snapshot bool) source[T]) (page []*T, done bool, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	from := open(false)
	if from.rows == nil {
		if from.size == 0 || from.size > lockedRows {
			return nil, false, nil
		}
		page, err = q.sort(ctx, list, field, from)
		return page, true, err
	}
	page = make([]*T, 0, min(list.Limit, lockedRows))
	for range lockedRows {
		row := from.rows()
		if row == nil {
			return page, true, nil
		}
		if from.match != nil && !from.match(row) {
			continue
		}
		if page = append(page, row); len(page) == list.Limit {
			return page, true, nil
		}
	}
	return page, false, nil
}

// sort returns the first records of a list in an order that no index has. It
// holds on to a page of them at a time.
func (q query[T, P]) sort(ctx context.Context, list userkit.ListRange, field userkit.Field[P], from source[T]) ([]*T, error) {
	best := &ranking[T]{descending: list.Order.Descending}
	var scratch P
	seen := 0
	for row := range from.all {
		if seen++; seen%breath == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if from.match != nil && !from.match(row) {
			continue
		}
		q.fill(row, &scratch)
		next := ranked[T]{userkit.ListPosition{Key: field.Key(&scratch), ID: q.id(row)}, row}
		switch {
		case list.After != nil && !best.before(*list.After, next.place):
		case len(best.rows) < list.Limit:
			heap.Push(best, next)
		case best.before(next.place, best.rows[0].place):
			best.rows[0] = next
			heap.Fix(best, 0)
		}
	}
	page := make([]*T, len(best.rows))
	for at := len(page) - 1; at >= 0; at-- {
		page[at] = heap.Pop(best).(ranked[T]).row
	}
	return page, nil
}

type ranked[T any] struct {
	place userkit.ListPosition
	row   *T
}

// ranking is a heap with the record on top that comes last in the list.
type ranking[T any] struct {
	rows       []ranked[T]
	descending bool
}

func (r *ranking[T]) before(a, b userkit.ListPosition) bool {
	if r.descending {
		return userkit.CompareListPositions(a, b) > 0
	}
	return userkit.CompareListPositions(a, b) < 0
}

func (r *ranking[T]) Len() int           { return len(r.rows) }
func (r *ranking[T]) Less(i, j int) bool { return r.before(r.rows[j].place, r.rows[i].place) }
func (r *ranking[T]) Swap(i, j int)      { r.rows[i], r.rows[j] = r.rows[j], r.rows[i] }
func (r *ranking[T]) Push(row any)       { r.rows = append(r.rows, row.(ranked[T])) }
func (r *ranking[T]) Pop() any {
	last := len(r.rows) - 1
	row := r.rows[last]
	r.rows = r.rows[:last]
	return row
}

func fieldsByName[P any](fields []userkit.Field[P]) map[string]userkit.Field[P] {
	byName := make(map[string]userkit.Field[P], len(fields))
	for _, field := range fields {
		byName[field.Name] = field
	}
	return byName
}

// convert makes the caller's own records of the store's.
func convert[T, P any](rows []*T, out func(*T) P) []P {
	made := make([]P, len(rows))
	for i, row := range rows {
		made[i] = out(row)
	}
	return made
}

// drain yields what next returns until it returns nil.
func drain[T any](next func() *T) func(yield func(*T) bool) {
	return func(yield func(*T) bool) {
		for row := next(); row != nil && yield(row); row = next() {
		}
	}
}
