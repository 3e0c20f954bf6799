package userkit_test

import (
	"context"
	"fmt"
	"log"
	"sync/atomic"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// A list has the members that it is given; the members of a rule are those who
// meet it at the moment somebody asks.
func ExampleSegmentManager() {
	ctx := context.Background()
	noon := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	var passed atomic.Int64 // nanoseconds since noon; the clock is read by many goroutines
	users, err := userkit.New(memory.New(),
		userkit.WithClock(func() time.Time { return noon.Add(time.Duration(passed.Load())) }),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada", ExpiresAt: noon.Add(time.Hour)})
	if err != nil {
		log.Fatal(err)
	}

	testers, err := users.CreateSegment(ctx, userkit.NewSegment{Name: "Testers"})
	if err != nil {
		log.Fatal(err)
	}
	if err := users.AddToSegments(ctx, ada.ID, testers.ID); err != nil {
		log.Fatal(err)
	}
	rule, err := userkit.ParseFilter(`access eq "user_expired" and segment eq "testers"`)
	if err != nil {
		log.Fatal(err)
	}
	lapsed, err := users.CreateSegment(ctx, userkit.NewSegment{Name: "Lapsed testers", Rule: rule})
	if err != nil {
		log.Fatal(err)
	}

	for range 2 {
		members, err := users.CountUsers(ctx, userkit.UserFilter{Segment: lapsed.ID})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("lapsed:", members)
		passed.Store(int64(time.Hour)) // nothing else happens in between
	}
	segments, err := users.UserSegments(ctx, ada.ID)
	if err != nil {
		log.Fatal(err)
	}
	for _, segment := range segments {
		fmt.Println("ada is in:", segment.Name)
	}
	// Output:
	// lapsed: 0
	// lapsed: 1
	// ada is in: Lapsed testers
	// ada is in: Testers
}
