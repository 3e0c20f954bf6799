package userkit_test

import (
	"context"
	"fmt"
	"log"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// A message waits in the user's inbox until it is read. The key makes a repeated call send
// it once.
func ExampleMessageManager() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	if err != nil {
		log.Fatal(err)
	}

	var sent userkit.Message
	for range 2 { // the answer to the first call was lost
		sent, err = users.SendMessage(ctx, ada.ID, userkit.NewMessage{
			Subject: "Maintenance", Body: "The service rests on **Sunday**.", Format: userkit.MessageMarkdown, Key: "maintenance-12",
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	unread, err := users.Messages(ctx, userkit.MessageQuery{MessageFilter: userkit.MessageFilter{UserID: ada.ID, OnlyUnread: true}})
	if err != nil {
		log.Fatal(err)
	}
	for _, message := range unread.Items {
		fmt.Println(message.Subject+":", message.Body)
	}
	if _, err := users.MarkRead(ctx, ada.ID, sent.ID); err != nil {
		log.Fatal(err)
	}
	left, err := users.CountUnread(ctx, ada.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("unread:", left)
	// Output:
	// Maintenance: The service rests on **Sunday**.
	// unread: 0
}
