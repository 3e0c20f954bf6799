package userkit_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// Log-ins are kept for a month, other events for a year, ended sessions for three months. Run
// deletes what is older; here it is asked what that would be.
func ExampleRetentionManager() {
	ctx := context.Background()
	now := time.Date(2020, 3, 1, 12, 0, 0, 0, time.UTC)
	day := userkit.Duration(24 * time.Hour)
	users, err := userkit.New(memory.New(),
		userkit.WithClock(func() time.Time { return now }),
		userkit.WithRetention(
			userkit.RetentionRule{Kind: userkit.RowsEvents, Event: userkit.EventUserLoggedIn, Keep: 30 * day},
			userkit.RetentionRule{Kind: userkit.RowsEvents, Keep: 365 * day},
			userkit.RetentionRule{Kind: userkit.RowsSessions, Keep: 90 * day},
		))
	if err != nil {
		log.Fatal(err)
	}
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := users.RecordLogin(ctx, ada.ID, "password"); err != nil {
		log.Fatal(err)
	}

	now = now.AddDate(0, 0, 40)
	preview, err := users.PreviewRetention(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, count := range preview {
		fmt.Println(count.Kind, count.Event, count.Records)
	}
	// Output:
	// sessions  0
	// events user.created 0
	// events user.logged_in 1
}
