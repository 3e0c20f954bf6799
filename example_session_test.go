package userkit_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync/atomic"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// A node reports cumulative counters; the daily limit ends the session.
func ExampleSessionManager() {
	ctx := context.Background()
	noon := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	var passed atomic.Int64 // nanoseconds since noon; the clock is read by many goroutines
	users, err := userkit.New(memory.New(),
		userkit.WithClock(func() time.Time { return noon.Add(time.Duration(passed.Load())) }),
		userkit.WithDefaultTrafficLimit(userkit.TrafficLimit{Bytes: 1000, Reset: userkit.ResetDaily}),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	if err != nil {
		log.Fatal(err)
	}

	session, err := users.StartSession(ctx, userkit.NewSession{UserID: ada.ID, Node: "fra-1"})
	if err != nil {
		log.Fatal(err)
	}
	passed.Store(int64(3 * time.Minute))
	reading := userkit.UsageReport{SessionID: session.ID, Received: 300, Sent: 100, At: noon.Add(1 * time.Minute)}
	later := userkit.UsageReport{SessionID: session.ID, Received: 900, Sent: 200, At: noon.Add(2 * time.Minute)}
	results, err := users.ReportUsage(ctx, []userkit.UsageReport{reading, reading, later, reading})
	if err != nil {
		log.Fatal(err)
	}
	for _, result := range results {
		fmt.Println(result.Outcome, result.Received+result.Sent, "bytes")
	}

	session, err = users.Session(ctx, session.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("active:", session.Active(), "end reason:", session.EndReason)

	_, err = users.StartSession(ctx, userkit.NewSession{UserID: ada.ID, Node: "fra-1"})
	if refusal, ok := errors.AsType[*userkit.Error](err); ok {
		fmt.Println("again:", refusal.Code, "until", refusal.Until.Format(time.DateTime))
	}
	// Output:
	// counted 400 bytes
	// repeated 0 bytes
	// counted 700 bytes
	// late 0 bytes
	// active: false end reason: traffic_limit
	// again: traffic_limit until 2026-03-03 00:00:00
}

// A node that restarts has lost its sessions: they end by one call. A report of a node
// that a session does not run on is refused.
func ExampleSessionManager_EndSessions() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	session, err := users.StartSession(ctx, userkit.NewSession{UserID: ada.ID, Node: "fra-1"})
	if err != nil {
		log.Fatal(err)
	}

	results, err := users.ReportUsage(ctx, []userkit.UsageReport{{SessionID: session.ID, Node: "ams-1", Received: 5000}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(results[0].Outcome, userkit.ErrorCode(results[0].Err))

	restart := userkit.NodeRestart{Node: "fra-1", At: time.Now()} // kept for a call that has to be repeated
	for more := true; more; {
		ended, err := users.EndSessions(ctx, restart)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("ended:", ended.Ended)
		more = ended.More
	}
	// Output:
	// rejected other_node
	// ended: 1
}
