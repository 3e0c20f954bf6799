package userio_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
	"github.com/userkit/userkit/userio"
)

// A file of another program goes in; rows that are wrong stay out.
func ExampleImport() {
	users, err := userkit.New(memory.New())
	if err != nil {
		panic(err)
	}
	file := strings.NewReader("User name;E-mail;Phone number;Balance;Plan\n" +
		"ann;ann@example.com;+375 (29) 123-45-67;12.00 EUR;pro\n" +
		"bob;bob(at)example.com;;;basic\n" +
		"cat;cat@example.com;;;basic\n")

	report, err := userio.Import(context.Background(), users, file, userio.ImportOptions{
		Columns: map[string]string{"User name": "login"}, // which says who a row is about, so it has to be said
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(report.Created, "created,", report.Rejected, "rejected")
	for _, rejection := range report.Rejections {
		fmt.Println(rejection)
	}
	for _, column := range report.Columns {
		fmt.Printf("%s: %s%s\n", column.Heading, column.Field, column.Ignored)
	}
	// Output:
	// 2 created, 1 rejected
	// row 3, E-mail: userkit: bad_format (email): "bob(at)example.com" is not an email address
	// User name: login
	// E-mail: email
	// Phone number: phone
	// Balance: read-only
	// Plan: attributes.Plan
}

// The users of a filter come out, with the columns that are asked for.
func ExampleExport() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		panic(err)
	}
	for _, user := range []userkit.NewUser{
		{Login: "ann", Name: "Ann", Country: "BY", Attributes: userkit.Attributes{"plan": "pro"}},
		{Login: "bob", Name: "=1+1", Country: "BY"},
		{Login: "cat", Name: "Cat", Country: "PL"},
	} {
		if _, err := users.CreateUser(ctx, user); err != nil {
			panic(err)
		}
	}
	filter, err := userkit.ParseFilter(`country eq "BY"`)
	if err != nil {
		panic(err)
	}

	var file strings.Builder
	report, err := userio.Export(ctx, users, &file, userio.ExportOptions{
		Format:  userio.CSV,
		Query:   userkit.UserQuery{UserFilter: userkit.UserFilter{Filter: filter}},
		Columns: []string{"login", "name", "attributes.plan"},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(report.Rows, "users:")
	fmt.Print(strings.ReplaceAll(file.String(), "\r\n", "\n"))
	// Output:
	// 2 users:
	// login,name,attributes.plan
	// ann,Ann,pro
	// bob,'=1+1,
}
