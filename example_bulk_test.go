package userkit_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// A bulk action does what its preview said, or nothing.
func ExampleBulkManager() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
	for _, login := range []string{"trial-1", "trial-2", "ada"} {
		if _, err := users.CreateUser(ctx, userkit.NewUser{Login: login}); err != nil {
			log.Fatal(err)
		}
	}

	request := userkit.BulkRequest{
		Action: userkit.BulkDeactivate,
		Users:  userkit.UserFilter{Filter: userkit.StartsWith("login", "trial-")},
	}
	preview, err := users.PreviewBulk(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("would deactivate:", preview.Users)

	// Before somebody presses the button, one more user comes.
	if _, err := users.CreateUser(ctx, userkit.NewUser{Login: "trial-3"}); err != nil {
		log.Fatal(err)
	}
	_, err = users.ExecuteBulk(ctx, request, preview.Token, nil)
	fmt.Println("refused:", userkit.ErrorCode(err))

	preview, err = users.PreviewBulk(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	token := preview.Token // a host that must finish what it begins keeps the newest one
	result, err := users.ExecuteBulk(ctx, request, token, func(progress userkit.BulkProgress) error {
		token = progress.Token
		fmt.Printf("%d of %d\n", progress.Done, progress.Users)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("deactivated:", result.Changed)

	// The token of an action that is done has nothing left to do.
	result, err = users.ExecuteBulk(ctx, request, token, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("again:", result.Changed)
	// Output:
	// would deactivate: 2
	// refused: audience_changed
	// 0 of 3
	// 3 of 3
	// deactivated: 3
	// again: 0
}

// A message goes to everybody in a segment, once, however often the execution is repeated.
func ExampleBulkAction_sendMessage() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	trial, err := users.CreateSegment(ctx, userkit.NewSegment{Name: "Trial", Rule: userkit.StartsWith("login", "trial-")})
	if err != nil {
		log.Fatal(err)
	}
	for _, login := range []string{"trial-1", "trial-2", "ada"} {
		if _, err := users.CreateUser(ctx, userkit.NewUser{Login: login}); err != nil {
			log.Fatal(err)
		}
	}
	request := userkit.BulkRequest{
		Action:  userkit.BulkSendMessage,
		Users:   userkit.UserFilter{Segment: trial.ID},
		Message: userkit.NewMessage{Subject: "Your trial", Body: "It ends on **Sunday**.", Format: userkit.MessageMarkdown},
	}
	preview, err := users.PreviewBulk(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	for range 2 { // somebody pressed the button twice
		result, err := users.ExecuteBulk(ctx, request, preview.Token, nil)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("sent:", result.Changed, "had it:", result.Unchanged)
	}
	// Output:
	// sent: 2 had it: 0
	// sent: 0 had it: 2
}

// Everybody whose time ends gets a month more. However often one preview is executed, nobody gets
// it twice.
func ExampleBulkAction_addDays() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
	ends := time.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC)
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada", ExpiresAt: ends})
	if err != nil {
		log.Fatal(err)
	}

	request := userkit.BulkRequest{Action: userkit.BulkAddDays, Days: 30}
	preview, err := users.PreviewBulk(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		result, err := users.ExecuteBulk(ctx, request, preview.Token, nil)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("changed:", result.Changed)
	}
	ada, err = users.User(ctx, ada.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ada.ExpiresAt.Format(time.DateOnly))
	// Output:
	// changed: 1
	// changed: 0
	// 2100-01-31
}
