package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// bench is one run of the program.
type bench struct {
	config
	server   *server      // that runs; nil until a measurement needs it
	db       *database    // on the server; nil until a measurement needs it
	audience *audience    // on the server; nil until a measurement needs it
	console  *consoleSite // of the audience; nil until a measurement needs it
	memory   *memory      // nil until a measurement needs it
}

// run measures and writes the lines to out.
func run(ctx context.Context, c config, out io.Writer) (err error) {
	chosen := slices.DeleteFunc(c.measurements(), func(m measurement) bool { return !strings.HasPrefix(m.name, c.only) })
	switch {
	case len(chosen) == 0:
		return fmt.Errorf("nothing to measure begins with %q", c.only)
	case c.rounds < 1 || c.duration <= 0 || c.reports < 1 || c.threads < 1 || c.clients < 1:
		return errors.New("rounds, duration, reports, threads and clients must be positive")
	case c.imported < 1:
		return errors.New("there must be users to import")
	case c.sessions < mostNodes*c.reports || c.users < c.sessions:
		return fmt.Errorf("there must be at least %d sessions, and as many users", mostNodes*c.reports)
	}
	if c.profiles != "" {
		if err := os.MkdirAll(c.profiles, 0o755); err != nil {
			return err
		}
	}
	b := &bench{config: c}
	defer func() { err = errors.Join(err, b.close()) }()

	fmt.Fprintf(out, "# %s, %d of %d cores, %s; %d rounds of %s after %s of warm-up, each side in turn\n",
		processor(), runtime.GOMAXPROCS(0), runtime.NumCPU(), runtime.Version(), c.rounds, c.duration, c.warmUp)
	for _, m := range chosen {
		known := b.server
		sides, err := m.open(ctx, b)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if b.server != known && b.server != nil {
			fmt.Fprintf(out, "# %s\n", b.server.description)
		}
		result, err := b.measure(ctx, m, sides)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		fmt.Fprintln(out, m.goal.line(m.name, result))
		if m.cost {
			for _, line := range costLines(m.name, result.ourCosts, result.theirCosts) {
				fmt.Fprintln(out, line)
			}
		}
		if m.memory > 0 {
			fmt.Fprintln(out, memoryLine(m.name, result.growth, m.memory))
		}
	}
	return nil
}

// close closes the server with all that is on it.
func (b *bench) close() error {
	closing := b.server
	b.server, b.db, b.audience, b.console = nil, nil, nil, nil
	if closing == nil {
		return nil
	}
	return closing.close()
}

// result is what was measured.
type result struct {
	ours, theirs float64 // per second; the median of the rounds; 0: it got nothing done
	alone        bool    // there is nothing to compare ours with
	growth       int64   // of the resident memory while ours worked, in bytes; the most of the rounds

	ourCosts, theirCosts []cost // for the server, of a piece of work in each round
}

// measure runs both sides in turn.
func (b *bench) measure(ctx context.Context, m measurement, sides sides) (result, error) {
	if b.server != nil {
		if err := b.server.checkpoint(ctx); err != nil {
			return result{}, err
		}
	}
	var growths []int64
	watched := func(round int) side {
		return func(ctx context.Context, span time.Duration) (rate float64, err error) {
			end, err := b.profile(fmt.Sprintf("%s-%d", m.name, round))
			if err != nil {
				return 0, err
			}
			defer func() { err = errors.Join(err, end()) }()
			if m.memory == 0 {
				return sides.ours(ctx, span)
			}
			growth, err := watchMemory()
			if err != nil {
				return 0, err
			}
			rate, err = sides.ours(ctx, span)
			grown, fault := growth()
			growths = append(growths, grown)
			return rate, errors.Join(err, fault)
		}
	}
	span, warmUp := b.duration, b.warmUp
	switch {
	case m.whole:
		warmUp = 0
	case m.brief:
		span, warmUp = span/briefly, warmUp/briefly
	}
	if warmUp > 0 {
		for _, one := range []side{sides.ours, sides.theirs} {
			if one == nil {
				continue
			}
			if _, err := one(ctx, warmUp); err != nil {
				return result{}, err
			}
		}
	}
	var measured result
	ours, theirs := watched, sides.theirs
	if m.cost {
		meter, err := newCostMeter(ctx, b.server)
		if err != nil {
			return result{}, err
		}
		ours = func(round int) side { return meter.watch(watched(round), &measured.ourCosts) }
		theirs = meter.watch(sides.theirs, &measured.theirCosts)
	}
	rounds := b.rounds
	if sides.theirs == nil {
		rounds = 1 // nothing is compared that could be even or uneven
	}
	var ourRates, theirRates []float64
	for round := range rounds {
		turns := []func() error{func() error { return measureOnce(ctx, ours(round), span, &ourRates) }}
		if sides.theirs != nil {
			turns = append(turns, func() error { return measureOnce(ctx, theirs, span, &theirRates) })
		}
		if round%2 == 1 { // neither side is always the one that finds the disk and the caches warm
			slices.Reverse(turns)
		}
		for _, turn := range turns {
			if err := turn(); err != nil {
				return result{}, err
			}
		}
	}
	measured.ours, measured.alone = median(ourRates), sides.theirs == nil
	if sides.theirs != nil {
		measured.theirs = median(theirRates)
	}
	if m.memory > 0 {
		measured.growth = slices.Max(growths)
	}
	return measured, nil
}

func measureOnce(ctx context.Context, one side, span time.Duration, rates *[]float64) error {
	runtime.GC() // what the other side left behind is not this side's to clean up
	rate, err := one(ctx, span)
	*rates = append(*rates, rate)
	return err
}

func median(rates []float64) float64 {
	slices.Sort(rates)
	middle := len(rates) / 2
	if len(rates)%2 == 1 {
		return rates[middle]
	}
	return (rates[middle-1] + rates[middle]) / 2
}

// line returns the line of a measurement. A goal for a ratio says nothing where a
// side was idle.
func (g goal) line(name string, r result) string {
	text := fmt.Sprintf("bench %s ours=%s", name, perSecond(r.ours))
	compared := !r.alone && r.ours > 0 && r.theirs > 0
	if !r.alone {
		text += " theirs=" + perSecond(r.theirs)
	}
	if compared {
		text += fmt.Sprintf(" ratio=%.2f", r.ours/r.theirs)
	}
	reached := true
	switch {
	case g.slack > 0:
		text += fmt.Sprintf(" goal=%.2f+%dms", g.ratio, g.slack.Milliseconds())
		reached = !compared || 1/r.ours <= 1/(r.theirs*g.ratio)+g.slack.Seconds()
	case g.ratio > 0:
		text += fmt.Sprintf(" goal=%.2f", g.ratio)
		reached = !compared || r.ours/r.theirs >= g.ratio
	case g.rate > 0:
		text += fmt.Sprintf(" goal=%.0f/s", g.rate)
		reached = r.ours >= g.rate
	}
	if !reached {
		text += " MISSED"
	}
	return text
}

// perSecond returns the text of a rate.
func perSecond(rate float64) string {
	if rate == 0 {
		return "idle"
	}
	return fmt.Sprintf("%.0f/s", rate)
}

// memoryLine returns the line about the memory of a measurement.
func memoryLine(name string, growth, most int64) string {
	if growth == unknownGrowth {
		return "# the system does not tell the memory of " + name
	}
	text := fmt.Sprintf("bench %s-memory grew=%dMiB goal=%dMiB", name, growth>>20, most>>20)
	if growth > most {
		text += " MISSED"
	}
	return text
}

// profile begins a CPU profile of this process, if profiles are wanted, and
// gives what ends it.
func (b *bench) profile(name string) (end func() error, err error) {
	if b.profiles == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(filepath.Join(b.profiles, name+".prof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

// job is what one caller does again and again; it returns how much it did.
type job func(random *rand.Rand) (int, error)

// fault keeps the first error of several goroutines and tells all to stop.
type fault struct {
	stop atomic.Bool
	once sync.Once
	err  error // to be read when the goroutines are done
}

func (f *fault) set(err error) {
	f.once.Do(func() { f.err = err })
	f.stop.Store(true)
}

func (f *fault) stopped() bool { return f.stop.Load() }

// drive lets so many callers do their jobs until the time is over, or until
// together they have made most calls where most is not 0, and returns how much
// they did per second. Each makes one call at least, however slow the machine is.
// Every call that was begun counts, and so does its time.
func drive(ctx context.Context, callers int, span time.Duration, most int, newJob func(caller int) job) (float64, error) {
	var fault fault
	var done atomic.Int64
	var group sync.WaitGroup
	timer := time.AfterFunc(span, func() { fault.stop.Store(true) })
	defer timer.Stop()

	began := time.Now()
	for caller := range callers {
		work := newJob(caller)
		group.Go(func() {
			random := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
			mine := 0
			for calls := 0; calls == 0 || !fault.stopped() && (most == 0 || calls < most/callers); calls++ {
				did, err := work(random)
				if err != nil {
					fault.set(err)
				}
				mine += did
			}
			done.Add(int64(mine))
		})
	}
	group.Wait()
	took := time.Since(began)
	return float64(done.Load()) / took.Seconds(), cmp.Or(fault.err, ctx.Err())
}

// processor names the processor as far as the system tells.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOOS + "/" + runtime.GOARCH
	}
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOOS + "/" + runtime.GOARCH
}
