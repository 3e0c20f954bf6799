package fcm_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/push/fcm"
)

func Example() {
	key, err := os.ReadFile("service-account.json")
	if err != nil {
		log.Fatal(err)
	}
	notifier, err := fcm.New(fcm.Config{ServiceAccountKey: key})
	if err != nil {
		log.Fatal(err)
	}
	result := notifier.Notify(context.Background(), userkit.Notification{
		PushToken: "the token that the application got from FCM",
		Title:     "Hello",
		Body:      "You have mail.",
	})
	fmt.Println(result.Outcome)
}
