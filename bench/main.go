// Command bench measures userkit side by side with what a developer would write
// instead: pgbench and pgx on the same PostgreSQL server, a plain map and a
// sorted slice in memory. It starts a throw-away server by itself.
//
//	go run . -only refill -rounds 5 -duration 10s
//
// Each measurement is a line
//
//	bench refill-64 ours=41000/s theirs=17800/s ratio=2.30 goal=2.00
//
// with the median of the rounds of each side. A goal is a ratio, or a rate of
// ours where it ends in /s, or a ratio with a time that a piece of our work may take
// on top, such as 0.67+5ms; a line without a goal is for information, and a goal
// that is not reached is marked MISSED at the end of its line. A side that got
// nothing done has the word idle for its rate, and there is no ratio. Where memory has a
// goal, it has a line of its own, with the most that the resident memory of this
// process grew by while our side worked:
//
//	bench import-csv-memory grew=21MiB goal=64MiB
//
// Where it matters what the work costs the server, two lines tell the bytes of
// write-ahead log and the time of the processor for one piece of it:
//
//	bench refill-64-log ours=1500B theirs=1700B ratio=0.88
//	bench refill-64-processor ours=60us theirs=150us ratio=0.40
//
// Only errors make the exit code differ from 0.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// config is what the command line says.
type config struct {
	only     string
	rounds   int
	duration time.Duration // of one round of one side
	warmUp   time.Duration // of each side, before the first round
	users    int           // in the database, and in the memory store
	sessions int           // open sessions, one per user; reports go round all of them
	reports  int           // how many sessions a call of usage reports is about
	projects int           // small ones, which tables held when they were analyzed
	people   []int         // how many people the audience measurements look at, ascending; the second counts where one does
	imported int           // people in a file to import
	threads  int           // of pgbench, at most
	clients  int           // of pgbench, at most
	durable  bool          // the server keeps what it acknowledges when the machine dies
	profiles string        // a folder; empty: no profiles
}

func main() {
	c := config{people: []int{10_000, 1_000_000}, projects: 150, reports: 1000, durable: true}
	flag.StringVar(&c.only, "only", "", "measure only what begins with this `prefix`, such as refill or refill-64")
	flag.IntVar(&c.rounds, "rounds", 3, "rounds of each side; the median counts")
	flag.DurationVar(&c.duration, "duration", 5*time.Second, "how long a round of one side takes; of page and search, a fifth of that")
	flag.DurationVar(&c.warmUp, "warm-up", time.Second, "how long each side runs before its first round; likewise")
	flag.IntVar(&c.users, "users", 100_000, "users in the database and in the memory store")
	flag.IntVar(&c.sessions, "sessions", 20_000, "open sessions that usage reports are about, 8000 at least, and at most as many as users")
	flag.IntVar(&c.imported, "import-users", 200_000, "users that import-csv imports")
	many := flag.Bool("many", false, "page through and search 10,000,000 users as well, which takes some 40 GB of disk")
	flag.IntVar(&c.people[1], "people", c.people[1], "people whom the page, search and console measurements look at")
	flag.IntVar(&c.threads, "pgbench-threads", 4, "threads of pgbench, at most")
	flag.IntVar(&c.clients, "pgbench-clients", mostClients, "clients of pgbench, at most; the number that gets most done counts")
	flag.StringVar(&c.profiles, "cpuprofile", "", "write a CPU profile of each round of our side into this `folder`")
	flag.Parse()
	if *many {
		c.people = append(c.people, 10_000_000)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, c, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// goal is what a measurement should reach; zero values are no goal.
type goal struct {
	ratio float64       // ours to theirs
	slack time.Duration // how much longer than at that ratio one piece of our work may take
	rate  float64       // of ours, per second
}

// measurement is one line of the result.
type measurement struct {
	name   string
	goal   goal
	memory int64 // how far our side may make the resident memory grow, in bytes; 0: no matter
	cost   bool  // what both sides cost the server is told too
	brief  bool  // rounds are short: what is done is short and always the same
	whole  bool  // a round does its work once, however long that takes
	// open makes the two sides ready. It may be expensive.
	open func(ctx context.Context, b *bench) (sides, error)
}

// sides are what is compared.
type sides struct {
	ours, theirs side // theirs is nil where there is nothing to compare with
}

// side works for about so long and returns how much it did per second.
type side func(ctx context.Context, span time.Duration) (float64, error)

// briefly is how much shorter than others the rounds of brief measurements are.
const briefly = 5

// mostMemory is the goal for the memory that an import or export needs.
const mostMemory = 64 << 20

// measurements are all that can be measured, in the order in which it is done.
// The number that ends the name of a measurement of the hot paths is the number
// of callers at the same time, for usage the number of reports in a call; of
// others, the number of users.
func (c config) measurements() []measurement {
	usage := fmt.Sprintf("usage-%d", c.reports)
	return slices.Concat([]measurement{
		{name: "refill-1", cost: true, goal: goal{ratio: 0.6}, open: refillsOfManyUsers(1)},
		{name: "refill-8", goal: goal{ratio: 1}, open: refillsOfManyUsers(8)},
		{name: "refill-64", cost: true, goal: goal{ratio: 2}, open: refillsOfManyUsers(64)},
		{name: "refill-512", cost: true, goal: goal{ratio: 2}, open: refillsOfManyUsers(512)},
		{name: "hot-64", goal: goal{ratio: 10}, open: refillsOfOneUser(64)},
		{name: "refill-pgx-1", goal: goal{ratio: 1}, open: refillsByHand(1)},
		{name: "refill-pgx-8", goal: goal{ratio: 1}, open: refillsByHand(8)},
		{name: "refill-pgx-64", cost: true, goal: goal{ratio: 2}, open: refillsByHand(64)},
		{name: "authenticate-1", goal: goal{ratio: 1}, open: authentications(1)},
		{name: "authenticate-8", goal: goal{ratio: 1}, open: authentications(8)},
		{name: "authenticate-64", goal: goal{ratio: 1}, open: authentications(64)},
		{name: "find-user-1", goal: goal{ratio: 1}, open: findings(1)},
		{name: "find-user-8", goal: goal{ratio: 1}, open: findings(8)},
		{name: "find-user-64", goal: goal{ratio: 1}, open: findings(64)},
		{name: usage, cost: true, goal: goal{ratio: 10}, open: usageReports(1, updateEach)},
		{name: usage + "-tx", open: usageReports(1, updateInTransaction)},
		{name: usage + "-pipelined", cost: true, open: usageReports(1, updateInBatch)},
		{name: usage + "-nodes-8", open: usageReports(mostNodes, updateEach)},
		{name: "register-64", cost: true, goal: goal{ratio: 1.5}, open: registrations(64)},
		{name: "statistics-" + usage, goal: goal{ratio: 0.5}, open: growing(grownReports)},
		{name: "statistics-edits-64", goal: goal{ratio: 0.5}, open: growing(grownEdits)},
	}, pageMeasurements(c.people), searchMeasurements(c.people[1:]), consoleMeasurements(c.people[1]), []measurement{
		{name: "export-csv", goal: goal{ratio: 0.3}, memory: mostMemory, whole: true, open: csvExports("id", "u.id")},
		{name: "export-csv-login", whole: true, open: csvExports("login", "u.login_key, u.id")},
		{name: "export-xlsx", memory: mostMemory, whole: true, open: xlsxExports},
		{name: "import-csv", goal: goal{ratio: 0.3}, memory: mostMemory, whole: true, open: csvImports},
		{name: "memory-get", goal: goal{rate: 1_000_000}, open: memoryGets},
		{name: "memory-refill", goal: goal{rate: 200_000}, open: memoryRefills},
		{name: "memory-list", open: memoryLists},
		{name: "memory-filter", goal: goal{ratio: 2}, open: memoryFilters},
	})
}
