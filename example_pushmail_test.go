package userkit_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// A user gets a private mail address, and the receiver of mails finds the user by it.
func ExamplePushMailManager() {
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
	found, err := manager.FindUser(ctx, userkit.ByPushMail(pushMail.Address))
	fmt.Println(found.Login, err)

	if _, err := manager.RevokePushMail(ctx, user.ID); err != nil {
		log.Fatal(err)
	}
	_, err = manager.FindUser(ctx, userkit.ByPushMail(pushMail.Address))
	fmt.Println(errors.Is(err, userkit.ErrNotFound))

	// Output:
	// ada <nil>
	// true
}
