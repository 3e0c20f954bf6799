package userkit_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// Match the kind of an error with errors.Is; its exact reason is the code.
func ExampleError() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
	if _, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"}); err != nil {
		log.Fatal(err)
	}

	_, err = users.CreateUser(ctx, userkit.NewUser{Login: "Ada"})
	if errors.Is(err, userkit.ErrExists) {
		fmt.Println("somebody has that already")
	}
	if e, ok := errors.AsType[*userkit.Error](err); ok {
		fmt.Println("code:", e.Code, "field:", e.Field)
	}
	// Output:
	// somebody has that already
	// code: login_taken field: login
}
