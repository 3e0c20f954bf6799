package userkit_test

import (
	"context"
	"fmt"
	"log"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// An administrator works as a user: for a reason, for a limited time, on that user alone.
func ExampleConnectionManager() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	if err != nil {
		log.Fatal(err)
	}

	staff := userkit.WithActor(ctx, userkit.Actor{Kind: userkit.ActorAdministrator, ID: "staff-7"})
	connection, err := users.Connect(staff, ada.ID, userkit.ConnectOptions{Reason: "ticket 4711"})
	if err != nil {
		log.Fatal(err)
	}
	// The id stays in the session of the administrator; each request resumes it.
	connected, err := users.Resume(staff, connection.ID)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := users.UpdateUser(connected, ada.ID, userkit.UserPatch{Name: userkit.Set("Ada")}); err != nil {
		log.Fatal(err)
	}
	_, err = users.UpdateUser(connected, ada.ID, userkit.UserPatch{Email: userkit.Set("ada@example.org")})
	fmt.Println(userkit.ErrorCode(err))

	if _, err := users.Disconnect(staff, connection.ID); err != nil {
		log.Fatal(err)
	}
	_, err = users.User(connected, ada.ID)
	fmt.Println(userkit.ErrorCode(err))
	// Output:
	// not_while_connected
	// connection_ended
}
