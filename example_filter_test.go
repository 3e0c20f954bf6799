package userkit_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// A filter is a text that an administrator writes, or that a link carries.
func ExampleParseFilter() {
	filter, err := userkit.ParseFilter(`Country EQ "GB" and (attributes.plan sw "pro" or balance ge "20 EUR")`)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(filter)

	_, err = userkit.ParseFilter(`country eq "GB" and plan eq "pro"`)
	if wrong, ok := errors.AsType[*userkit.Error](err); ok {
		fmt.Printf("%s at character %d: %s\n", wrong.Code, wrong.Position, wrong.Message)
	}
	// Output:
	// country eq "GB" and (attributes.plan sw "pro" or balance ge "20.00 EUR")
	// unknown_field at character 21: unknown field "plan"
}

// A list with a search, a filter and an order.
func ExampleUserQuery() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
	for _, user := range []userkit.NewUser{
		{Login: "ada", Name: "Ada Lovelace", Country: "GB", Attributes: userkit.Attributes{"plan": "pro", "seats": 3}},
		{Login: "chloe", Name: "Chloé Lovell", Country: "FR", Attributes: userkit.Attributes{"plan": "pro", "seats": 12}},
		{Login: "love.ivan", Name: "Ivan", Country: "BY", Attributes: userkit.Attributes{"plan": "free"}},
		{Login: "zoe", Name: "Zoë", Country: "GB", Attributes: userkit.Attributes{"plan": "pro"}},
	} {
		if _, err := users.CreateUser(ctx, user); err != nil {
			log.Fatal(err)
		}
	}

	page, err := users.Users(ctx, userkit.UserQuery{
		UserFilter: userkit.UserFilter{
			Search: "LOVE",
			Filter: userkit.AnyOf(
				userkit.Greater("attributes.seats", 10),
				userkit.Not(userkit.Equal("attributes.plan", "pro")),
			),
		},
		PageQuery: userkit.PageQuery{Sort: "name", Descending: true},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, user := range page.Items {
		fmt.Println(user.Name, user.Attributes["plan"])
	}
	// Output:
	// Ivan free
	// Chloé Lovell pro
}

// A search box finds parts of any length, in any script and spelling.
func ExampleUserFilter_search() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(ctx)
	for _, user := range []userkit.NewUser{
		{Login: "xm", Name: "王小明", ExtRef: "X-1"}, {Login: "lk", Name: "Łukasz O’Brien", Phone: "+375291234567"},
	} {
		if _, err := users.CreateUser(ctx, user); err != nil {
			log.Fatal(err)
		}
	}
	for _, typed := range []string{"小明", "x-1", "lukasz", "O'Brien", "(29) 123-45-67"} {
		page, err := users.Users(ctx, userkit.UserQuery{UserFilter: userkit.UserFilter{Search: typed}})
		if err != nil {
			log.Fatal(err)
		}
		for _, user := range page.Items {
			fmt.Println(typed, "finds", user.Name)
		}
	}
	// Output:
	// 小明 finds 王小明
	// x-1 finds 王小明
	// lukasz finds Łukasz O’Brien
	// O'Brien finds Łukasz O’Brien
	// (29) 123-45-67 finds Łukasz O’Brien
}
