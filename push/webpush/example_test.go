package webpush_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/push/webpush"
)

func Example() {
	key, err := os.ReadFile("webpush.pem") // made once with webpush.NewKey
	if err != nil {
		log.Fatal(err)
	}
	notifier, err := webpush.New(webpush.Config{PrivateKey: key, Contact: "mailto:push@example.org"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("browsers subscribe with", notifier.PublicKey())
	result := notifier.Notify(context.Background(), userkit.Notification{
		PushToken: `what JSON.stringify made of the browser's subscription`,
		Title:     "Hello",
		Body:      "You have mail.",
	})
	fmt.Println(result.Outcome)
}
