package userkit_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// Roles as a table: whoever looks after the German users sees and edits those.
func ExampleNewRoles() {
	roles, err := userkit.NewRoles(map[string]userkit.Role{
		"owner":      {Operations: []string{"*"}},
		"support-de": {Operations: []string{"users.read", "users.update"}, Scope: userkit.Equal("country", "DE")},
	}, func(_ context.Context, actor userkit.Actor) []string {
		if actor.Kind == userkit.ActorSystem {
			return []string{"owner"} // the program itself
		}
		return []string{"support-de"} // of the host's own staff, by actor.ID
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	users, err := userkit.New(memory.New(), userkit.WithAuthorizer(roles))
	if err != nil {
		log.Fatal(err)
	}
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada", Country: "GB"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := users.CreateUser(ctx, userkit.NewUser{Login: "emmy", Country: "DE"}); err != nil {
		log.Fatal(err)
	}

	support := userkit.WithActor(ctx, userkit.Actor{Kind: userkit.ActorAdministrator, ID: "staff-7"})
	page, err := users.Users(support, userkit.UserQuery{})
	if err != nil {
		log.Fatal(err)
	}
	for _, user := range page.Items {
		fmt.Println(user.Login)
	}
	_, err = users.UpdateUser(support, ada.ID, userkit.UserPatch{Name: userkit.Set("Ada")})
	fmt.Println(errors.Is(err, userkit.ErrForbidden), userkit.ErrorCode(err))
	// Output:
	// emmy
	// true not_allowed
}
