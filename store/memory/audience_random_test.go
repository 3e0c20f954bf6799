//go:build !race

package memory

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// These are of one goroutine each, in which the race detector sees nothing.

// Whatever index a filter goes by, it gives the users who meet it one by one:
// in a project that is read under the lock, and in one that takes snapshots.
func TestFiltersMeanWhatTheySay(t *testing.T) {
	for _, count := range []int{0, 12, 2 * lockedRows} {
		t.Run(fmt.Sprint(count, " users"), func(t *testing.T) {
			c := newCrowd(t, rand.New(rand.NewPCG(5, uint64(count))), count)
			requireIndexes(t, c.store)
			rapid.Check(t, c.requireFiltered)
		})
	}
}

// The same in small projects of which every check has another.
func TestFiltersOverRandomUsers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		newCrowd(t, rand.New(rand.NewPCG(6, seed)), rapid.IntRange(1, 30).Draw(t, "users")).requireFiltered(t)
	})
}
