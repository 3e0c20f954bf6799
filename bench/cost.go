package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// cost is what a piece of work costs the server: how fast it is depends on the machine,
// and on how busy that is; how much log it writes does not.
type cost struct {
	log       float64       // bytes of write-ahead log
	processor time.Duration // of all processes of the server
}

// costMeter reads the counters of a server.
type costMeter struct {
	server     *server
	postmaster int
}

// newCostMeter returns nil where the system does not tell what a process has used.
func newCostMeter(ctx context.Context, s *server) (*costMeter, error) {
	if runtime.GOOS != "linux" {
		return nil, nil
	}
	var file string
	if err := s.pool.QueryRow(ctx, "SELECT pg_read_file('postmaster.pid')").Scan(&file); err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(file, "\n")
	postmaster, err := strconv.Atoi(strings.TrimSpace(first))
	return &costMeter{s, postmaster}, err
}

func (m *costMeter) read(ctx context.Context) (cost, error) {
	var read cost
	if err := m.server.pool.QueryRow(ctx, "SELECT (pg_current_wal_insert_lsn() - '0/0')::float8").Scan(&read.log); err != nil {
		return read, err
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return read, err
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		// See proc_pid_stat(5). The name in parentheses may hold anything.
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(fields) < 15 {
			return read, fmt.Errorf("%s is %q", path, text)
		}
		number := func(field int) int { // as the manual counts them
			value, fault := strconv.Atoi(string(fields[field-3]))
			err = errors.Join(err, fault)
			return value
		}
		ticks := 0
		switch {
		case path == fmt.Sprintf("/proc/%d/stat", m.postmaster):
			ticks = number(14) + number(15) + number(16) + number(17) // those of children that have ended are the last two
		case number(4) == m.postmaster:
			ticks = number(14) + number(15)
		}
		if err != nil {
			return read, err
		}
		read.processor += time.Duration(ticks) * (time.Second / 100) // USER_HZ, on all platforms that Go runs on
	}
	return read, nil
}

// watchCost has a side add to costs what one piece of its work costs the server.
func (m *costMeter) watch(one side, costs *[]cost) side {
	if m == nil {
		return one
	}
	return func(ctx context.Context, span time.Duration) (float64, error) {
		before, err := m.read(ctx)
		if err != nil {
			return 0, err
		}
		began := time.Now()
		rate, err := one(ctx, span)
		if err != nil {
			return rate, err
		}
		done := rate * time.Since(began).Seconds()
		after, err := m.read(ctx)
		if done > 0 {
			*costs = append(*costs, cost{
				log:       (after.log - before.log) / done,
				processor: time.Duration(float64(after.processor-before.processor) / done),
			})
		}
		return rate, err
	}
}

// costLines returns the lines about what a piece of work costs the server.
func costLines(name string, ours, theirs []cost) []string {
	if len(ours) == 0 || len(theirs) == 0 {
		return []string{"# the system does not tell the cost of " + name}
	}
	logs := func(costs []cost) float64 {
		return medianOf(costs, func(c cost) float64 { return c.log })
	}
	processors := func(costs []cost) float64 {
		return medianOf(costs, func(c cost) float64 { return float64(c.processor) / float64(time.Microsecond) })
	}
	return []string{
		costLine(name+"-log", "B", logs(ours), logs(theirs)),
		costLine(name+"-processor", "us", processors(ours), processors(theirs)),
	}
}

func costLine(name, unit string, ours, theirs float64) string {
	text := fmt.Sprintf("bench %s ours=%.0f%s theirs=%.0f%s", name, ours, unit, theirs, unit)
	if theirs > 0 {
		text += fmt.Sprintf(" ratio=%.2f", ours/theirs)
	}
	return text
}

func medianOf(costs []cost, of func(cost) float64) float64 {
	values := make([]float64, len(costs))
	for i, c := range costs {
		values[i] = of(c)
	}
	return median(values)
}
