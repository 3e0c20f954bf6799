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
	db     *database // nil until a measurement needs it
	memory *memory   // nil until a measurement needs it
}

// run measures and writes the lines to out.
func run(ctx context.Context, c config, out io.Writer) (err error) {
	chosen := slices.DeleteFunc(slices.Clone(measurements), func(m measurement) bool { return !strings.HasPrefix(m.name, c.only) })
	switch {
	case len(chosen) == 0:
		return fmt.Errorf("nothing to measure begins with %q", c.only)
	case c.rounds < 1 || c.duration <= 0 || c.threads < 1:
		return errors.New("rounds, duration and threads must be positive")
	case c.sessions < mostNodes*reportsPerCall || c.users < c.sessions:
		return fmt.Errorf("there must be at least %d sessions, and as many users", mostNodes*reportsPerCall)
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
		known := b.db
		sides, err := m.open(ctx, b)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if known == nil && b.db != nil {
			fmt.Fprintf(out, "# %s; %d users, %d open sessions\n", b.db.description, c.users, c.sessions)
		}
		ours, theirs, err := b.measure(ctx, m.name, sides)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		fmt.Fprintln(out, m.goal.line(m.name, ours, theirs))
	}
	return nil
}

func (b *bench) close() error {
	if b.db == nil {
		return nil
	}
	return b.db.close()
}

// measure runs both sides in turn and gives the median of each.
func (b *bench) measure(ctx context.Context, name string, sides sides) (ours, theirs float64, err error) {
	if b.db != nil {
		if err := b.db.checkpoint(ctx); err != nil {
			return 0, 0, err
		}
	}
	profiled := func(round int) side {
		return func(ctx context.Context, span time.Duration) (rate float64, err error) {
			end, err := b.profile(fmt.Sprintf("%s-%d", name, round))
			if err != nil {
				return 0, err
			}
			defer func() { err = errors.Join(err, end()) }()
			return sides.ours(ctx, span)
		}
	}
	if b.warmUp > 0 {
		for _, one := range []side{sides.ours, sides.theirs} {
			if _, err := one(ctx, b.warmUp); err != nil {
				return 0, 0, err
			}
		}
	}
	var ourRates, theirRates []float64
	for round := range b.rounds {
		turns := []func() error{
			func() error { return measureOnce(ctx, profiled(round), b.duration, &ourRates) },
			func() error { return measureOnce(ctx, sides.theirs, b.duration, &theirRates) },
		}
		if round%2 == 1 { // neither side is always the one that finds the disk and the caches warm
			slices.Reverse(turns)
		}
		for _, turn := range turns {
			if err := turn(); err != nil {
				return 0, 0, err
			}
		}
	}
	return median(ourRates), median(theirRates), nil
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

// line gives the line of a measurement.
func (g goal) line(name string, ours, theirs float64) string {
	ratio := ours / theirs
	text := fmt.Sprintf("bench %s ours=%.0f/s theirs=%.0f/s ratio=%.2f", name, ours, theirs, ratio)
	reached := true
	switch {
	case g.ratio > 0:
		text += fmt.Sprintf(" goal=%.2f", g.ratio)
		reached = ratio >= g.ratio
	case g.rate > 0:
		text += fmt.Sprintf(" goal=%.0f/s", g.rate)
		reached = ours >= g.rate
	}
	if !reached {
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
// they did per second. Every call that was begun counts, and so does its time.
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
			for calls := 0; !fault.stopped() && (most == 0 || calls < most/callers); calls++ {
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
