package ratelimit

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clock is a clock that stands still until it is set.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newClock() *clock { return &clock{time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)} }

func TestUsesComeBackOneByOne(t *testing.T) {
	c := newClock()
	l := New(3, time.Minute, 10, c.now)
	for range 3 {
		require.Zero(t, l.Take("ada"))
	}
	require.Equal(t, c.at.Add(20*time.Second), l.Take("ada"))
	require.Zero(t, l.Take("grace"), "a key has uses of its own")
	c.at = c.at.Add(19 * time.Second)
	require.Equal(t, c.at.Add(time.Second), l.Take("ada"), "being refused costs nothing")
	c.at = c.at.Add(time.Second)
	require.Zero(t, l.Take("ada"))
	require.NotZero(t, l.Take("ada"))
	c.at = c.at.Add(time.Hour)
	for range 3 {
		require.Zero(t, l.Take("ada"))
	}
	require.NotZero(t, l.Take("ada"), "never more than all of them")
}

func TestReturnedUses(t *testing.T) {
	c := newClock()
	l := New(2, time.Minute, 10, c.now)
	for range 10 {
		require.Zero(t, l.Take("ada"))
		l.Return("ada")
	}
	require.Empty(t, l.keys)
	l.Return("ada")
	l.Return("grace")
	for range 2 {
		require.Zero(t, l.Take("ada"))
	}
	require.NotZero(t, l.Take("ada"), "what was never taken is not returned")
	l.Return("ada")
	require.Zero(t, l.Take("ada"))
	require.NotZero(t, l.Take("ada"))
}

// Others, however many they are, neither make a key be refused nor give it its uses back, and what
// is remembered of them is bounded.
func TestManyKeysAreForgottenInTheRightOrder(t *testing.T) {
	c := newClock()
	l := New(3, time.Minute, 100, c.now)
	for range 3 {
		require.Zero(t, l.Take("mallory"))
	}
	for range 2 {
		require.Zero(t, l.Take("ada"))
	}
	for other := range 10_000 {
		require.Zero(t, l.Take(strconv.Itoa(other)))
		require.LessOrEqual(t, len(l.keys), 100)
		require.Len(t, l.order, len(l.keys))
	}
	require.NotZero(t, l.Take("mallory"))
	require.Zero(t, l.Take("ada"))
	require.NotZero(t, l.Take("ada"))
	c.at = c.at.Add(time.Minute)
	require.Zero(t, l.Take("ada"))
	require.Len(t, l.keys, 1, "those who have all of their uses need no memory")
}

// A clock that jumps does no lasting harm: one that is put back takes nothing back, and nobody waits
// until it is where it was.
func TestClockThatJumps(t *testing.T) {
	c := newClock()
	l := New(2, time.Minute, 10, c.now)
	year := 365 * 24 * time.Hour
	c.at = c.at.Add(year)
	for range 2 {
		require.Zero(t, l.Take("ada"))
	}
	c.at = c.at.Add(-year)
	require.Equal(t, c.at.Add(30*time.Second), l.Take("ada"))
	c.at = c.at.Add(30 * time.Second)
	require.Zero(t, l.Take("ada"))
	require.NotZero(t, l.Take("ada"))
}

func TestManyAtOnce(t *testing.T) {
	c := newClock()
	l := New(50, time.Minute, 10, c.now)
	var all sync.WaitGroup
	var mutex sync.Mutex
	taken := 0
	for range 8 {
		all.Go(func() {
			for range 100 {
				if l.Take("ada").IsZero() {
					mutex.Lock()
					taken++
					mutex.Unlock()
				}
			}
		})
	}
	all.Wait()
	require.Equal(t, 50, taken)
}

func TestNetwork(t *testing.T) {
	for address, network := range map[string]string{
		"192.0.2.1:80":              "192.0.2.1",
		"[::ffff:192.0.2.1]:80":     "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80":         "fe80::/64",
		"@":                         "other",
		"":                          "other",
		"example.org:80":            "other",
	} {
		require.Equal(t, network, Network(Address(address)), address)
	}
}
