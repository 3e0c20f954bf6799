// Push tells the devices of users of their messages, through Firebase Cloud Messaging and
// through the Apple Push Notification service. Neither is asked: a fake of each listens on
// this machine, checks what the real one documents, and shows on a fake device what it got.
//
// Usage:
//
//	push
//
// Each chapter is one function that makes a few calls of userkit; docs/reach.md explains
// them. What is a fake is called one, and stands in a file of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/push/apns"
	"github.com/userkit/userkit/push/fcm"
	"github.com/userkit/userkit/store/memory"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "push:", err)
		os.Exit(1)
	}
}

// story is what the chapters share.
type story struct {
	out   io.Writer
	clock clock
	users userkit.Manager
	fcm   *fakeFCM
	apns  *fakeAPNs
}

// run tells the story.
func run(ctx context.Context, out io.Writer) (err error) {
	s := &story{out: out}
	s.clock.set(time.Date(2026, time.March, 2, 8, 0, 0, 0, time.UTC))
	if s.fcm, err = startFakeFCM(ctx, out, s.clock.now); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.fcm.close()) }()
	if s.apns, err = startFakeAPNs(ctx, out, s.clock.now); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.apns.close()) }()

	notifiers, err := s.notifiers()
	if err != nil {
		return err
	}
	s.users, err = userkit.New(memory.New(), userkit.WithNotifiers(notifiers),
		userkit.WithClock(s.clock.now)) // so that waiting takes no time; a host leaves this out
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.users.Close(context.Background())) }()
	for _, chapter := range []func(context.Context) error{s.android, s.uninstalled, s.apple} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}

// notifiers are those of the two services: what a host configures, and beside it where the
// fakes are.
func (s *story) notifiers() (map[userkit.DeviceType]userkit.Notifier, error) {
	android, err := fcm.New(fcm.Config{
		ServiceAccountKey: s.fcm.keyFile, // the JSON file that the Firebase console made

		// A host leaves out these: they are where the fake is.
		BaseURL: s.fcm.url, TokenURLs: []string{s.fcm.url + "/token"}, Clock: s.clock.now,
	})
	if err != nil {
		return nil, err
	}
	apple, err := apns.New(apns.Config{
		PrivateKey: s.apns.keyFile, // the .p8 file of the developer account
		KeyID:      "ABC123DEFG",
		TeamID:     "DEF123GHIJ",
		Topic:      "org.example.app",

		// A host leaves out these, too.
		BaseURL: s.apns.url, HTTPClient: s.apns.client, Clock: s.clock.now,
	})
	if err != nil {
		return nil, err
	}
	return map[userkit.DeviceType]userkit.Notifier{
		userkit.DeviceAndroid: android,
		userkit.DeviceIOS:     apple,
	}, nil
}

func (s *story) android(ctx context.Context) error {
	fmt.Fprintln(s.out, "1. FCM: a message reaches an Android phone")
	ada, err := s.users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	if err != nil {
		return err
	}
	_, err = s.users.RegisterDevice(ctx, ada.ID, userkit.NewDevice{
		Name: "Ada's phone", Type: userkit.DeviceAndroid,
		PushToken: "fake-registration-of-adas-phone", // what the application got from FCM
	})
	if err != nil {
		return err
	}
	message, err := s.users.SendMessage(ctx, ada.ID, userkit.NewMessage{
		Subject: "Maintenance", Body: "The service rests on Sunday.",
		Data: map[string]string{"screen": "status"}, // for the application
		Key:  "maintenance-12",                      // a repeated call sends nothing
	})
	if err != nil {
		return err
	}
	return s.deliver(ctx, message)
}

func (s *story) uninstalled(ctx context.Context) error {
	fmt.Fprintln(s.out, "\n2. FCM: the application was uninstalled, so the push token goes")
	ada, err := s.users.FindUser(ctx, userkit.ByLogin("ada"))
	if err != nil {
		return err
	}
	s.fcm.uninstall("fake-registration-of-adas-phone")
	message, err := s.users.SendMessage(ctx, ada.ID, userkit.NewMessage{Subject: "Are you there?"})
	if err != nil {
		return err
	}
	if err := s.deliver(ctx, message); err != nil {
		return err
	}
	devices, err := s.users.Devices(ctx, userkit.DeviceQuery{DeviceFilter: userkit.DeviceFilter{UserID: ada.ID}})
	if err != nil {
		return err
	}
	for _, device := range devices.Items {
		fmt.Fprintf(s.out, "   %s has a push token: %t\n", device.Name, device.PushToken != "")
	}
	unread, err := s.users.CountUnread(ctx, ada.ID)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "   in her inbox: %d unread\n", unread)
	return nil
}

func (s *story) apple(ctx context.Context) error {
	fmt.Fprintln(s.out, "\n3. APNs: what is told twice is shown once")
	grace, err := s.users.CreateUser(ctx, userkit.NewUser{Login: "grace"})
	if err != nil {
		return err
	}
	_, err = s.users.RegisterDevice(ctx, grace.ID, userkit.NewDevice{
		Name: "Grace's tablet", Type: userkit.DeviceIOS, PushToken: "00fa4e00fa4e00fa4e",
	})
	if err != nil {
		return err
	}
	message, err := s.users.SendMessage(ctx, grace.ID, userkit.NewMessage{Subject: "Your invoice", Body: "It is in your account."})
	if err != nil {
		return err
	}

	s.apns.loseNextAnswer() // it takes the notification, and nobody hears of it
	if err := s.deliver(ctx, message); err != nil {
		return err
	}
	s.clock.set(s.clock.now().Add(time.Minute)) // the first back-off is half a minute
	if err := s.deliver(ctx, message); err != nil {
		return err
	}
	told, shown := s.apns.counts()
	fmt.Fprintf(s.out, "   Grace's fake tablet was told %d times and shows %d\n", told, shown)
	return nil
}

// deliver does once what Manager.Run does all the time, and prints what became of a message.
func (s *story) deliver(ctx context.Context, message userkit.Message) error {
	if _, err := s.users.DeliverDueMessages(ctx); err != nil {
		return err
	}
	deliveries, err := s.users.Deliveries(ctx, userkit.DeliveryQuery{DeliveryFilter: userkit.DeliveryFilter{MessageID: message.ID}})
	if err != nil {
		return err
	}
	for _, delivery := range deliveries.Items {
		fmt.Fprintf(s.out, "   delivery of %q: %s, attempts: %d\n", message.Subject, delivery.State, delivery.Attempts)
	}
	return nil
}

// clock is the story's own time.
type clock struct{ at atomic.Pointer[time.Time] }

func (c *clock) now() time.Time  { return *c.at.Load() }
func (c *clock) set(t time.Time) { c.at.Store(&t) }
