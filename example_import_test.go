package userkit_test

import (
	"context"
	"fmt"
	"log"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// Records from elsewhere become users. The package userio reads them from files.
func ExampleImportManager() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())

	records := make([]userkit.UserImport, 2)
	for i, row := range [][]string{
		{"crm-1", "Ada Lovelace", "ada@example.org"},
		{"crm-2", "Zoë", "no address"},
	} {
		records[i].Key = userkit.ByExtRef(row[0])
		for column, field := range []string{"extref", "name", "email"} {
			if err := records[i].Draft.Set(field, row[column]); err != nil {
				log.Fatal(err)
			}
		}
	}
	for _, options := range []userkit.ImportOptions{{DryRun: true}, {}, {}} { // it may be repeated
		outcomes, err := users.ImportUsers(ctx, options, records)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(outcomes[0].Action, outcomes[1].Action, userkit.ErrorCode(outcomes[1].Err))
	}
	ada, err := users.FindUser(ctx, userkit.ByExtRef("crm-1"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ada.Name)
	// Output:
	// created failed bad_format
	// created failed bad_format
	// unchanged failed bad_format
	// Ada Lovelace
}
