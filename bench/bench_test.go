package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var linePattern = regexp.MustCompile(`^bench [a-z0-9-]+ ours=\d+/s theirs=\d+/s ratio=\d+\.\d\d( goal=(\d+\.\d\d|\d+/s)( MISSED)?)?$`)

// Every measurement runs and prints its line. How fast is not looked at.
func TestEveryMeasurementRuns(t *testing.T) {
	var out bytes.Buffer
	c := config{
		rounds: 1, duration: 200 * time.Millisecond, users: mostNodes * reportsPerCall, sessions: mostNodes * reportsPerCall,
		threads: 2, profiles: t.TempDir(),
	}
	require.NoError(t, run(t.Context(), c, &out))

	var names []string
	for line := range strings.Lines(out.String()) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		require.Regexp(t, linePattern, line)
		require.NotContains(t, line, "theirs=0/s")
		require.NotContains(t, line, "ours=0/s")
		names = append(names, strings.Fields(line)[1])
	}
	var wanted []string
	for _, m := range measurements {
		wanted = append(wanted, m.name)
	}
	require.Equal(t, wanted, names)
}

func TestBadArgumentsAreErrors(t *testing.T) {
	good := config{rounds: 1, duration: time.Second, users: 8000, sessions: 8000, threads: 1}
	for name, spoil := range map[string]func(*config){
		"unknown measurement": func(c *config) { c.only = "nothing" },
		"no rounds":           func(c *config) { c.rounds = 0 },
		"no duration":         func(c *config) { c.duration = 0 },
		"no threads":          func(c *config) { c.threads = 0 },
		"too few sessions":    func(c *config) { c.sessions = 10 },
		"fewer users":         func(c *config) { c.users = 10 },
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			spoil(&c)
			require.Error(t, run(t.Context(), c, &bytes.Buffer{}))
		})
	}
}

func TestLines(t *testing.T) {
	for wanted, got := range map[string]string{
		"bench refill-64 ours=41000/s theirs=17800/s ratio=2.30 goal=2.00":                goal{ratio: 2}.line("refill-64", 41000, 17800),
		"bench refill-64 ours=17800/s theirs=17800/s ratio=1.00 goal=2.00 MISSED":         goal{ratio: 2}.line("refill-64", 17800, 17800),
		"bench memory-get ours=2000000/s theirs=4000000/s ratio=0.50 goal=1000000/s":      goal{rate: 1e6}.line("memory-get", 2e6, 4e6),
		"bench memory-get ours=900000/s theirs=900000/s ratio=1.00 goal=1000000/s MISSED": goal{rate: 1e6}.line("memory-get", 9e5, 9e5),
		"bench usage-1000-tx ours=10/s theirs=20/s ratio=0.50":                            goal{}.line("usage-1000-tx", 10, 20),
	} {
		require.Equal(t, wanted, got)
		require.Regexp(t, linePattern, got)
	}
}

func TestRatesOfPgbenchAreFound(t *testing.T) {
	rate, err := parseRate([]byte("number of failed transactions: 0 (0.000%)\nlatency average = 1 ms\ntps = 17812.5 (without initial connection time)\n"))
	require.NoError(t, err)
	require.Equal(t, 17812.5, rate)

	_, err = parseRate([]byte("number of failed transactions: 3 (0.100%)\ntps = 17812.5 (without initial connection time)\n"))
	require.Error(t, err)
	_, err = parseRate([]byte("pgbench: error"))
	require.Error(t, err)
}
