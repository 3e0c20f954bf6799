package userkit_test

import (
	"context"
	"fmt"
	"log"
	"time"

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

// consoleNotifier is a push service that prints: a host uses push/fcm, push/apns and
// push/webpush.
type consoleNotifier struct{}

func (consoleNotifier) Notify(_ context.Context, n userkit.Notification) userkit.NotificationResult {
	if n.PushToken == "uninstalled" {
		return userkit.Gone(time.Time{}, nil)
	}
	fmt.Printf("to %s: %s\n", n.PushToken, n.Title)
	return userkit.Delivered()
}

// A message is told to each device of the user that has a push token. Run does it all the
// time; here it is done once.
func ExampleWithNotifiers() {
	ctx := context.Background()
	users, err := userkit.New(memory.New(), userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{
		userkit.DeviceIOS:     consoleNotifier{},
		userkit.DeviceAndroid: consoleNotifier{},
	}))
	if err != nil {
		log.Fatal(err)
	}
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada", Status: userkit.StatusActive})
	if err != nil {
		log.Fatal(err)
	}
	for _, device := range []userkit.NewDevice{
		{Name: "phone", Type: userkit.DeviceIOS, PushToken: "ada's phone"},
		{Name: "tablet", Type: userkit.DeviceAndroid, PushToken: "uninstalled"},
	} {
		if _, err := users.RegisterDevice(ctx, ada.ID, device); err != nil {
			log.Fatal(err)
		}
	}
	if _, err := users.SendMessage(ctx, ada.ID, userkit.NewMessage{Subject: "Maintenance", Body: "The service rests on Sunday."}); err != nil {
		log.Fatal(err)
	}
	report, err := users.DeliverDueMessages(ctx)
	if err != nil {
		log.Fatal(err)
	}
	failed, err := users.Deliveries(ctx, userkit.DeliveryQuery{DeliveryFilter: userkit.DeliveryFilter{OnlyFailed: true}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("delivered:", report.Delivered)
	for _, delivery := range failed.Items {
		device, err := users.Device(ctx, delivery.DeviceID)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s, push token %q\n", device.Name, delivery.State, device.PushToken)
	}
	// Output:
	// to ada's phone: Maintenance
	// delivered: 1
	// tablet: gone, push token ""
}
