package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// pgbench runs scripts on a server with PostgreSQL's own benchmark program, which
// has less work of its own than any client that a host could write.
type pgbench struct {
	program string
	dsn     string
	threads int // at most
	clients int // at most
}

// mostClients is the most connections that pgbench gets: as many as a pool of a
// host would have at most.
const mostClients = 64

// best returns a side that runs a script at the number of clients, up to callers,
// that gets most done, which its first call finds out: more clients than the
// processor has room for make pgbench slower, and would flatter what is compared
// with it.
func (p pgbench) best(text string, callers int) side {
	var fastest side
	return func(ctx context.Context, span time.Duration) (float64, error) {
		if fastest != nil {
			return fastest(ctx, span)
		}
		best := 0.0
		for clients := 1; clients <= min(callers, p.clients); clients *= 2 {
			tried := p.script(text, clients)
			rate, err := tried(ctx, time.Second)
			if err != nil {
				return 0, err
			}
			if fastest == nil || rate > best {
				fastest, best = tried, rate
			}
		}
		return best, nil
	}
}

// script returns a side that runs a script of one statement, prepared once per
// connection, at so many clients.
func (p pgbench) script(text string, clients int) side {
	return func(ctx context.Context, span time.Duration) (rate float64, err error) {
		folder, err := os.MkdirTemp("", "userkit-pgbench-")
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
		file := filepath.Join(folder, "script.sql")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return 0, err
		}
		seconds := int(math.Ceil(span.Seconds()))
		output, err := exec.CommandContext(ctx, p.program,
			"--no-vacuum", "--protocol=prepared", "--file="+file, "--time="+strconv.Itoa(seconds),
			"--client="+strconv.Itoa(clients), "--jobs="+strconv.Itoa(min(clients, p.threads)), p.dsn).CombinedOutput()
		if err != nil {
			return 0, fmt.Errorf("pgbench: %w: %s", err, output)
		}
		return parseRate(output)
	}
}

var (
	ratePattern   = regexp.MustCompile(`(?m)^tps = ([0-9.]+) `)
	idlePattern   = regexp.MustCompile(`(?m)^number of transactions actually processed: 0$`)
	failedPattern = regexp.MustCompile(`(?m)^number of failed transactions: [1-9]`)
)

// parseRate finds the rate in what pgbench prints. It is 0 when pgbench got nothing
// done in its time, as happens to many clients on a busy machine.
func parseRate(output []byte) (float64, error) {
	found := ratePattern.FindSubmatch(output)
	switch {
	case failedPattern.Match(output):
		found = nil
	case found == nil && idlePattern.Match(output):
		return 0, nil
	}
	if found == nil {
		return 0, fmt.Errorf("pgbench did not do its work: %s", output)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}
