package userkit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// world says what may go wrong in a history of readings. What a manager cannot tell from
// something else is never together in one: a counter that began anew under a clock that
// was set back looks like a late reading.
type world struct {
	name      string
	jumps     bool  // the clocks of the nodes are set forwards and back
	restarts  bool  // counters begin anew
	bits      int   // of the counters, which wrap each at its own time
	shuffled  bool  // readings arrive in any order, and some never
	nodes     int   // that the session moves between
	unordered bool  // readings without a time
	step      int64 // how many bytes a counter goes on at most between two readings
	exact     bool  // all bytes count that were reported at last
}

var worlds = []world{
	{name: "restarts and any order", restarts: true, bits: 64, shuffled: true, nodes: 1, step: 1 << 40},
	{name: "clocks that jump", jumps: true, bits: 64, nodes: 1, step: 1 << 40, exact: true},
	{name: "clocks that jump, and restarts", jumps: true, restarts: true, bits: 64, nodes: 1, step: 1 << 40},
	{name: "counters that wrap", bits: 32, nodes: 1, step: 1<<31 - 1, exact: true},
	{name: "counters of an unknown width that wrap", bits: 0, nodes: 1, step: 1 << 29},
	{name: "two nodes", bits: 64, nodes: 2, step: 1 << 40, exact: true},
	{name: "readings without a time", bits: 64, nodes: 1, step: 1 << 40, unordered: true, shuffled: true},
	{name: "huge numbers", bits: 64, nodes: 1, step: math.MaxInt64 / 8, shuffled: true},
}

// meter is a node with its counters, and what it has truly carried.
type meter struct {
	name           string
	received, sent int64 // since the counters began
	carried        Counter
	offset         time.Duration // of its clock
}

// TestNoHistoryCountsWhatWasNotCarried plays what nodes may report, and compares what
// counts with what they carried.
func TestNoHistoryCountsWhatWasNotCarried(t *testing.T) {
	for _, world := range worlds {
		t.Run(world.name, func(t *testing.T) {
			for seed := range uint64(150) {
				world.play(t, seed)
			}
		})
	}
}

func FuzzHistory(f *testing.F) {
	for i := range worlds {
		f.Add(uint64(i), uint64(1))
	}
	f.Fuzz(func(t *testing.T, which, seed uint64) { worlds[which%uint64(len(worlds))].play(t, seed) })
}

func (w world) play(t *testing.T, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	session := Session{ID: NewID[Session](), Node: "a", StartedAt: noon, ReportedAt: noon}
	meters := []*meter{{name: "a"}, {name: "b"}}[:w.nodes]
	now := noon
	var pending, sent []UsageReport
	var log []string
	var days Counter
	deliver := func(report UsageReport) {
		if session.Active() && random.IntN(60) == 0 {
			session.end(now, now, EndedByClient)
		}
		log = append(log, fmt.Sprintf("%s: %s %d %d at %s", now.Sub(noon), report.Node, report.Received, report.Sent, report.At.Sub(noon)))
		report, err := report.normalise(now)
		require.NoError(t, err, "seed %d: %s", seed, log)
		before := session
		var c Change
		result, _ := report.countFrom(&session, &c, usage{zone: time.UTC, now: now, nodes: NodeMove}, false)
		log[len(log)-1] += fmt.Sprintf(" → %s %d %d", result.Outcome, result.Received, result.Sent)
		require.True(t, result.Received >= 0 && result.Sent >= 0, "seed %d: %s", seed, log)
		require.Equal(t, addClamped(before.Received, result.Received), session.Received, "seed %d: %s", seed, log)
		require.Equal(t, addClamped(before.Sent, result.Sent), session.Sent, "seed %d: %s", seed, log)
		require.False(t, session.ReportedAt.Before(before.ReportedAt))
		for _, day := range c.Usage {
			days.Received, days.Sent = addClamped(days.Received, day.Received), addClamped(days.Sent, day.Sent)
		}
		require.Equal(t, [2]int64{session.Received, session.Sent}, [2]int64{days.Received, days.Sent}, "seed %d: %s", seed, log)
		var carried Counter
		for _, m := range meters {
			carried.Received, carried.Sent = addClamped(carried.Received, m.carried.Received), addClamped(carried.Sent, m.carried.Sent)
		}
		require.True(t, session.Received <= carried.Received && session.Sent <= carried.Sent,
			"seed %d: %d and %d of %d and %d\n%s", seed, session.Received, session.Sent, carried.Received, carried.Sent, log)
	}
	grow := func(counter, carried *int64) {
		bytes := int64(0)
		if random.IntN(4) > 0 {
			bytes = random.Int64N(w.step)
		}
		*counter, *carried = addClamped(*counter, bytes), addClamped(*carried, bytes)
	}
	read := func(m *meter) UsageReport {
		report := UsageReport{Node: m.name, Received: m.received, Sent: m.sent, CounterBits: w.bits, At: now.Add(m.offset)}
		if w.bits != 64 {
			report.Received, report.Sent = m.received%(1<<32), m.sent%(1<<32)
		}
		if w.unordered {
			report.At = time.Time{}
		}
		return report
	}
	inOrder := false
	for range 20 {
		now = now.Add(time.Second + time.Duration(random.Int64N(int64(3*time.Minute))))
		m := meters[random.IntN(len(meters))]
		if w.jumps && random.IntN(5) == 0 {
			m.offset = time.Duration(random.Int64N(int64(30*time.Hour))) - 10*time.Hour
			m.offset = min(m.offset, 23*time.Hour)
		}
		if w.restarts && random.IntN(6) == 0 {
			m.received, m.sent = 0, 0
		}
		grow(&m.received, &m.carried.Received)
		grow(&m.sent, &m.carried.Sent)
		report := read(m)
		sent = append(sent, report)
		if w.shuffled && random.IntN(3) == 0 { // it waits, or is lost
			if random.IntN(3) > 0 {
				pending = append(pending, report)
			}
			// An old one comes alone. Two in a row would look like a clock that was set back.
			if inOrder && random.IntN(2) == 0 {
				inOrder = false
				deliver(sent[random.IntN(len(sent)-1)])
			}
			continue
		}
		inOrder = true
		deliver(report)
		for len(pending) > 0 && random.IntN(3) > 0 { // what waited comes together
			at := random.IntN(len(pending))
			deliver(pending[at])
			inOrder = false
			pending = append(pending[:at], pending[at+1:]...)
		}
		if random.IntN(3) == 0 { // an answer was lost, and the reading comes again
			again := sent[len(sent)-1]
			if w.shuffled {
				again, inOrder = sent[random.IntN(len(sent))], false
			}
			deliver(again)
		}
	}
	if w.exact {
		for _, m := range meters { // each in turn, as the last word
			now = now.Add(time.Minute)
			deliver(read(m))
		}
		var carried Counter
		for _, m := range meters {
			carried.Received, carried.Sent = carried.Received+m.carried.Received, carried.Sent+m.carried.Sent
		}
		require.Equal(t, [2]int64{carried.Received, carried.Sent}, [2]int64{session.Received, session.Sent}, "seed %d: %s", seed, log)
	}
}
