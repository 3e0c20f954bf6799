package userkit_test

import (
	"context"
	"fmt"
	"log"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// Every change records who made it; a feed follows the changes.
func ExampleActivityManager() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())

	olga := userkit.Actor{Kind: userkit.ActorAdministrator, ID: "olga"}
	ada, err := users.CreateUser(userkit.WithActor(ctx, olga), userkit.NewUser{Login: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	event := userkit.NewEvent{Name: "tariff.chosen", Data: map[string]any{"tariff": "yearly"}}
	if _, err := users.RecordEvent(ctx, ada.ID, event); err != nil {
		log.Fatal(err)
	}

	var cursor userkit.FeedCursor // a host keeps it where it keeps its own work
	for event, err := range users.Feed(ctx, cursor) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Name, "by", event.Actor.Kind)
		cursor = event.Cursor
	}

	if _, err := users.ActivateUser(ctx, ada.ID); err != nil {
		log.Fatal(err)
	}
	for event, err := range users.Feed(ctx, cursor) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("since then:", event.Name)
	}
	// Output:
	// user.created by administrator
	// tariff.chosen by system
	// since then: user.activated
}
