package apns_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/push/apns"
)

func Example() {
	key, err := os.ReadFile("AuthKey_ABC123DEFG.p8")
	if err != nil {
		log.Fatal(err)
	}
	notifier, err := apns.New(apns.Config{
		PrivateKey: key, KeyID: "ABC123DEFG", TeamID: "DEF123GHIJ", Topic: "org.example.app",
	})
	if err != nil {
		log.Fatal(err)
	}
	result := notifier.Notify(context.Background(), userkit.Notification{
		PushToken: "the device token that the application got, in hexadecimal digits",
		Title:     "Hello",
		Body:      "You have mail.",
	})
	fmt.Println(result.Outcome)
}
