//go:build !race

package memory

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

type number struct{ key, value int }

type byNumber struct{}

func (byNumber) compare(a, b *number) int { return cmp.Compare(a.key, b.key) }

type numbers = set[number, byNumber]

func contents(all numbers) []number {
	found := []number{}
	for each := range all.each {
		found = append(found, *each)
	}
	return found
}

// expected is what a part of a sorted list should be.
func expected(all []number, part span[number], descending bool) []number {
	kept := []number{}
	for _, each := range all {
		if part.low != nil && each.key < part.low.key || part.high != nil && each.key >= part.high.key {
			continue
		}
		if part.after != nil && (!descending && each.key <= part.after.key || descending && each.key >= part.after.key) {
			continue
		}
		kept = append(kept, each)
	}
	if descending {
		slices.Reverse(kept)
	}
	return kept
}

func walk(next func() *number) []number {
	found := []number{}
	for row := next(); row != nil; row = next() {
		found = append(found, *row)
	}
	return found
}

// A set does what a sorted list does, at sizes that are slices and sizes that
// are trees, and a snapshot stays what it was whatever happens to the set.
func TestSetAgainstModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, keys := range []int{3, 40, 300, 2000} {
		var all numbers
		model := []number{}
		type frozen struct {
			set   numbers
			model []number
		}
		var snapshots []frozen
		bound := func() *number {
			if random.IntN(3) == 0 {
				return nil
			}
			return &number{key: random.IntN(keys+2) - 1}
		}
		for turn := range 20 * keys {
			key := random.IntN(keys)
			if grows := turn%(4*keys) < 3*keys; grows && random.IntN(4) == 0 && len(model) > 0 {
				key = model[len(model)-1].key + 1 // in order, as most records come
			}
			at, found := slices.BinarySearchFunc(model, key, func(n number, key int) int { return cmp.Compare(n.key, key) })
			if random.IntN(4*keys) < turn%(4*keys) {
				all.remove(&number{key: key})
				if found {
					model = slices.Delete(slices.Clone(model), at, at+1)
				}
			} else {
				all.put(&number{key, turn})
				model = slices.Clone(model)
				if found {
					model[at].value = turn
				} else {
					model = slices.Insert(model, at, number{key, turn})
				}
			}
			if turn%keys == 0 {
				snapshots = append(snapshots, frozen{all.snapshot(), model})
			}
			if turn%(1+keys/10) != 0 {
				continue
			}
			require.Equal(t, len(model), all.len())
			require.True(t, slices.Equal(model, contents(all)))
			probe := random.IntN(keys)
			at, found = slices.BinarySearchFunc(model, probe, func(n number, key int) int { return cmp.Compare(n.key, key) })
			require.Equal(t, at, all.rank(&number{key: probe}))
			if got := all.get(&number{key: probe}); found {
				require.Equal(t, model[at], *got)
			} else {
				require.Nil(t, got)
			}
			part := span[number]{after: bound(), low: bound(), high: bound()}
			for _, descending := range []bool{false, true} {
				require.True(t, slices.Equal(expected(model, part, descending), walk(all.cursor(part, descending).next)),
					"after %v low %v high %v descending %v", part.after, part.low, part.high, descending)
			}
		}
		for _, each := range snapshots {
			require.True(t, slices.Equal(each.model, contents(each.set)))
		}
	}
}

func TestMergedIsOneOrder(t *testing.T) {
	for _, sizes := range [][2]int{{0, 0}, {0, 5}, {5, 0}, {3, 700}, {700, 600}} {
		var left, right numbers
		model := []number{}
		for i := range sizes[0] {
			left.put(&number{key: 2 * i})
			model = append(model, number{key: 2 * i})
		}
		for i := range sizes[1] {
			right.put(&number{key: 3*2*i + 1})
			model = append(model, number{key: 3*2*i + 1})
		}
		slices.SortFunc(model, func(a, b number) int { return cmp.Compare(a.key, b.key) })
		part := span[number]{low: &number{key: 3}, high: &number{key: 1000}}
		for _, descending := range []bool{false, true} {
			both := merge(left.cursor(part, descending), right.cursor(part, descending), descending)
			require.Equal(t, expected(model, part, descending), walk(both.next))
			require.Nil(t, both.next())
		}
	}
}

func TestTableSnapshotStays(t *testing.T) {
	var live table[number]
	var taken []uint32
	for i := range 3 * tablePageSize {
		taken = append(taken, live.add())
		live.put(taken[i], &number{key: i})
	}
	before := live.snapshot()
	live.put(taken[5], &number{key: -5})
	live.remove(taken[600])
	again := live.snapshot()
	require.Equal(t, taken[600], live.add(), "a number that was freed is given again")
	live.put(taken[600], &number{key: -600})
	live.put(taken[5], &number{key: -55})
	for range tablePageSize {
		live.put(live.add(), &number{key: -1})
	}

	rows := 0
	for row := range before.each {
		require.Equal(t, rows, row.key)
		rows++
	}
	require.Equal(t, 3*tablePageSize, rows)
	require.Equal(t, -5, again.get(taken[5]).key)
	require.Nil(t, again.get(taken[600]))
	require.Equal(t, -55, live.get(taken[5]).key)
	require.Equal(t, -600, live.get(taken[600]).key)
}
