package pushmail_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/pushmail"
	"github.com/userkit/userkit/store/memory"
)

// A receiver on this machine takes a mail to the address of a user.
func ExampleServer() {
	ctx := context.Background()
	manager, err := userkit.New(memory.New(), userkit.WithPushMail(userkit.PushMailPolicy{Domain: "push.example.org"}))
	if err != nil {
		log.Fatal(err)
	}
	defer manager.Close(ctx)
	user, err := manager.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	pushMail, err := manager.GeneratePushMail(ctx, user.ID)
	if err != nil {
		log.Fatal(err)
	}

	server, err := pushmail.NewServer(pushmail.Config{
		Users:    manager,
		Hostname: "push.example.org",
		Deliver: func(_ context.Context, d pushmail.Delivery) error {
			// A host keeps the mail here, under d.User.ID and d.Mail.Key(), and returns
			// when it is kept.
			fmt.Printf("to %s from %s: %s\n%s\n", d.User.Login, d.Mail.From.Name, d.Mail.Subject, d.Mail.Text)
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()

	mail := "From: Boiler <boiler@example.com>\r\nSubject: =?utf-8?Q?Too_hot:_90=C2=B0?=\r\n\r\nPlease look.\r\n"
	client, err := smtp.Dial(listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	if err := client.SendMail("boiler@example.com", []string{pushMail.Address}, strings.NewReader(mail)); err != nil {
		log.Fatal(err)
	}
	if err := client.Quit(); err != nil {
		log.Fatal(err)
	}
	if err := server.Close(); err != nil {
		log.Fatal(err)
	}
	if err := <-done; err != nil {
		log.Fatal(err)
	}

	// Output:
	// to ada from Boiler: Too hot: 90°
	// Please look.
}
