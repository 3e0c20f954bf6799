package main

import (
	"bytes"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

var (
	linePattern = regexp.MustCompile(
		`^bench [a-z0-9-]+ ours=(idle|\d+/s)( theirs=(idle|\d+/s)( ratio=\d+\.\d\d)?)?( goal=(\d+\.\d\d(\+5ms)?|\d+/s)( MISSED)?)?$`)
	costLinePattern   = regexp.MustCompile(`^bench [a-z0-9-]+-(log|processor) ours=\d+(B|us) theirs=\d+(B|us)( ratio=\d+\.\d\d)?$`)
	memoryLinePattern = regexp.MustCompile(`^bench [a-z0-9-]+-memory grew=-?\d+MiB goal=64MiB( MISSED)?$`)
)

// Every measurement runs and prints its line. How fast is not looked at.
func TestEveryMeasurementRuns(t *testing.T) {
	const reports = 50
	var out bytes.Buffer
	c := config{
		rounds: 1, duration: 50 * time.Millisecond, users: mostNodes * reports, sessions: mostNodes * reports, reports: reports, projects: 5,
		people: []int{100, 200, 300}, imported: 500, threads: 2, clients: 2, profiles: t.TempDir(),
	}
	require.NoError(t, run(t.Context(), c, &out))

	var names []string
	for line := range strings.Lines(out.String()) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		name := strings.Fields(line)[1]
		names = append(names, name)
		if strings.HasSuffix(name, "-log") || strings.HasSuffix(name, "-processor") {
			require.Regexp(t, costLinePattern, line)
			continue
		}
		if strings.HasSuffix(name, "-memory") {
			require.Regexp(t, memoryLinePattern, line)
			continue
		}
		require.Regexp(t, linePattern, line)
		require.NotContains(t, line, "ours=idle")
	}
	var wanted []string
	for _, m := range c.measurements() {
		wanted = append(wanted, m.name)
		if m.cost && runtime.GOOS == "linux" {
			wanted = append(wanted, m.name+"-log", m.name+"-processor")
		}
		if m.memory > 0 && runtime.GOOS == "linux" {
			wanted = append(wanted, m.name+"-memory")
		}
	}
	require.Equal(t, wanted, names)
}

func TestBadArgumentsAreErrors(t *testing.T) {
	good := config{rounds: 1, duration: time.Second, users: 8000, sessions: 8000, reports: 1000, people: []int{100, 200}, imported: 100, threads: 1, clients: 1}
	for name, spoil := range map[string]func(*config){
		"unknown measurement": func(c *config) { c.only = "nothing" },
		"no rounds":           func(c *config) { c.rounds = 0 },
		"no duration":         func(c *config) { c.duration = 0 },
		"no threads":          func(c *config) { c.threads = 0 },
		"no clients":          func(c *config) { c.clients = 0 },
		"too few sessions":    func(c *config) { c.sessions = 10 },
		"fewer users":         func(c *config) { c.users = 10 },
		"nobody to import":    func(c *config) { c.imported = 0 },
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
		"bench refill-64 ours=41000/s theirs=17800/s ratio=2.30 goal=2.00":                goal{ratio: 2}.line("refill-64", result{ours: 41000, theirs: 17800}),
		"bench refill-64 ours=17800/s theirs=17800/s ratio=1.00 goal=2.00 MISSED":         goal{ratio: 2}.line("refill-64", result{ours: 17800, theirs: 17800}),
		"bench memory-get ours=2000000/s theirs=4000000/s ratio=0.50 goal=1000000/s":      goal{rate: 1e6}.line("memory-get", result{ours: 2e6, theirs: 4e6}),
		"bench memory-get ours=900000/s theirs=900000/s ratio=1.00 goal=1000000/s MISSED": goal{rate: 1e6}.line("memory-get", result{ours: 9e5, theirs: 9e5}),
		"bench usage-1000-tx ours=10/s theirs=20/s ratio=0.50":                            goal{}.line("usage-1000-tx", result{ours: 10, theirs: 20}),
		"bench export-xlsx ours=10/s":                                                     goal{}.line("export-xlsx", result{ours: 10, alone: true}),
		"bench hot-64 ours=10/s theirs=idle goal=10.00":                                   goal{ratio: 10}.line("hot-64", result{ours: 10}),
		"bench hot-64 ours=idle theirs=10/s goal=10.00":                                   goal{ratio: 10}.line("hot-64", result{theirs: 10}),
	} {
		require.Equal(t, wanted, got)
		require.Regexp(t, linePattern, got)
	}
}

func TestMemoryLines(t *testing.T) {
	for wanted, growth := range map[string]int64{
		"bench import-csv-memory grew=21MiB goal=64MiB":        21 << 20,
		"bench import-csv-memory grew=64MiB goal=64MiB":        64 << 20,
		"bench import-csv-memory grew=65MiB goal=64MiB MISSED": 65 << 20,
	} {
		got := memoryLine("import-csv", growth, mostMemory)
		require.Equal(t, wanted, got)
		require.Regexp(t, memoryLinePattern, got)
	}
}

func TestSoManyPeopleHaveTheRareName(t *testing.T) {
	for _, people := range []int{100, 10_000, 100_000} {
		rare := 0
		for number := range people {
			if strings.Contains(userkit.SearchText(new(searchable(person(number, people)))), rareTerm) {
				rare++
			}
		}
		require.Equal(t, rarePeople, rare)
	}
}

// searchable returns what a search looks at in a new user.
func searchable(made userkit.NewUser) userkit.User {
	return userkit.User{ID: made.ID, Login: made.Login, Name: made.Name, Email: made.Email, Phone: made.Phone}
}

func TestNumbersInNamesAreShort(t *testing.T) {
	for number, wanted := range map[int]string{999: "999", 10_000: "10k", 1_500_000: "1500k", 10_000_000: "10m"} {
		require.Equal(t, wanted, shortNumber(number))
	}
}

func TestRatesOfPgbenchAreFound(t *testing.T) {
	rate, err := parseRate([]byte("number of failed transactions: 0 (0.000%)\nlatency average = 1 ms\ntps = 17812.5 (without initial connection time)\n"))
	require.NoError(t, err)
	require.Equal(t, 17812.5, rate)

	_, err = parseRate([]byte("number of failed transactions: 3 (0.100%)\ntps = 17812.5 (without initial connection time)\n"))
	require.Error(t, err)
	rate, err = parseRate([]byte("number of clients: 64\nnumber of transactions actually processed: 0\nnumber of failed transactions: 0 (NaN%)\n"))
	require.NoError(t, err)
	require.Zero(t, rate)

	_, err = parseRate([]byte("pgbench: error"))
	require.Error(t, err)
}
