package userkit_test

import (
	"context"
	"fmt"
	"log"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// Create, edit, find and list users.
func ExampleUserManager() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())

	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada", Name: "Ada Lovelace", Email: "ada@example.org"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := users.CreateUser(ctx, userkit.NewUser{Login: "zoe", Name: "Zoë"}); err != nil {
		log.Fatal(err)
	}

	// A patch sets what it names. With the revision that an editor saw, the edit
	// is refused when somebody else was faster.
	seen := ada.Revision
	ada, err = users.UpdateUser(ctx, ada.ID, userkit.UserPatch{Name: userkit.Set("Countess Ada"), Revision: seen})
	if err != nil {
		log.Fatal(err)
	}
	_, err = users.UpdateUser(ctx, ada.ID, userkit.UserPatch{Name: userkit.Set("Ada L."), Revision: seen})
	fmt.Println("second editor:", userkit.ErrorCode(err))

	// Logins and email addresses are found however they are written.
	found, err := users.FindUser(ctx, userkit.ByEmail("ADA@Example.org"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("found:", found.Name)

	if _, err := users.DeactivateUser(ctx, found.ID); err != nil {
		log.Fatal(err)
	}
	query := userkit.UserQuery{PageQuery: userkit.PageQuery{Sort: "name", Descending: true}}
	for user, err := range users.AllUsers(ctx, query) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%-12s  %s\n", user.Name, user.Status)
	}
	active, err := users.CountUsers(ctx, userkit.UserFilter{WithoutDisabled: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("not disabled:", active)
	// Output:
	// second editor: revision_mismatch
	// found: Countess Ada
	// Zoë           invited
	// Countess Ada  disabled
	// not disabled: 1
}
