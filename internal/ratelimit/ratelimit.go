// Package ratelimit bounds how often something is done for each of many keys that strangers may
// choose, such as their addresses, within bounded memory.
package ratelimit

import (
	"container/heap"
	"crypto/sha256"
	"sync"
	"time"
)

// Limiter allows each key a number of uses at once. Used ones come back one by one, evenly over a
// window of time. Its methods may be called from any goroutine.
//
// It remembers only a number of keys. When there are more, it forgets the one that would have all
// of its uses back first. So a stranger with many keys cannot make it forget a key that has few
// uses left, unless by using up as many of each of those keys; and no key is refused for what
// others did.
type Limiter struct {
	each time.Duration // the time in which one use comes back
	full time.Duration // the time in which all of them do
	most int           // keys
	now  func() time.Time

	mutex sync.Mutex
	// passed is the time that has passed, which, unlike the clock, never goes back: a clock that is
	// put back must not make uses that are yet to come back wait for it.
	passed time.Duration
	last   time.Time // of the clock
	keys   map[digest]*count
	order  order
}

// digest stands for a key, which may be of any length.
type digest [sha256.Size]byte

// count is what is known of a key that has not all of its uses.
type count struct {
	key  digest
	full time.Duration // when it has all of them back, in passed time
	at   int           // its place in the order
}

// New returns a limiter of the given uses, at least 1, in a window, by a clock. It remembers the
// given number of keys, at least 1.
func New(uses int, window time.Duration, keys int, now func() time.Time) *Limiter {
	each := max(window/time.Duration(uses), 1)
	return &Limiter{each: each, full: each * time.Duration(uses), most: keys, now: now, keys: map[digest]*count{}}
}

// Take takes a use of a key, and returns the zero time. If none is left, it returns when the next
// one comes back.
func (l *Limiter) Take(key string) (until time.Time) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	now := l.advance()
	name := digest(sha256.Sum256([]byte(key)))
	known, ok := l.keys[name]
	if !ok {
		if len(l.order) >= l.most {
			l.forget(l.order[0])
		}
		known = &count{key: name, full: l.passed}
		l.keys[name] = known
		heap.Push(&l.order, known)
	}
	if wait := known.full + l.each - l.passed - l.full; wait > 0 {
		return now.Add(wait)
	}
	known.full += l.each
	heap.Fix(&l.order, known.at)
	return time.Time{}
}

// Return gives a use back that was taken of a key.
func (l *Limiter) Return(key string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.advance()
	if known, ok := l.keys[sha256.Sum256([]byte(key))]; ok {
		if known.full -= l.each; known.full <= l.passed {
			l.forget(known)
			return
		}
		heap.Fix(&l.order, known.at)
	}
}

// advance reads the clock, and forgets the keys that have all of their uses back.
func (l *Limiter) advance() time.Time {
	now := l.now()
	if !l.last.IsZero() {
		l.passed += max(0, now.Sub(l.last))
	}
	l.last = now
	for len(l.order) > 0 && l.order[0].full <= l.passed {
		l.forget(l.order[0])
	}
	return now
}

func (l *Limiter) forget(known *count) {
	heap.Remove(&l.order, known.at)
	delete(l.keys, known.key)
}

// order is a heap with the key on top that has all of its uses back first.
type order []*count

func (o order) Len() int           { return len(o) }
func (o order) Less(i, j int) bool { return o[i].full < o[j].full }

func (o order) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].at, o[j].at = i, j
}

func (o *order) Push(known any) {
	added := known.(*count)
	added.at = len(*o)
	*o = append(*o, added)
}

func (o *order) Pop() any {
	last := (*o)[len(*o)-1]
	(*o)[len(*o)-1] = nil
	*o = (*o)[:len(*o)-1]
	return last
}
