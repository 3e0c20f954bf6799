package userkit_test

import (
	"context"
	"fmt"
	"log"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// Money moves in minor units, under keys that make every call safe to repeat.
func ExampleBalanceManager() {
	ctx := context.Background()
	users, err := userkit.New(memory.New(), userkit.WithCurrency("EUR"))
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	if err != nil {
		log.Fatal(err)
	}

	twenty := userkit.Money{Amount: 2000, Currency: "EUR"}
	for range 2 { // the first answer got lost, so the host asks again
		refill, err := users.Refill(ctx, ada.ID, userkit.Entry{Amount: twenty, Key: "payment-1001"})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("refill:", refill.Amount, "balance:", refill.Balance)
	}

	eight, err := userkit.ParseMoney("8.50", "EUR")
	if err != nil {
		log.Fatal(err)
	}
	charge, err := users.Charge(ctx, ada.ID, userkit.Entry{Amount: eight, Key: "tariff-2026-03"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("charge:", charge.Amount, "balance:", charge.Balance)

	_, err = users.Charge(ctx, ada.ID, userkit.Entry{Amount: twenty, Key: "router-17"})
	fmt.Println("too much:", userkit.ErrorCode(err))

	if _, err := users.CancelLast(ctx, ada.ID, charge.ID); err != nil {
		log.Fatal(err)
	}
	ada, err = users.User(ctx, ada.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("cancelled, balance:", ada.Balance)
	// Output:
	// refill: 20.00 EUR balance: 20.00 EUR
	// refill: 20.00 EUR balance: 20.00 EUR
	// charge: 8.50 EUR balance: 11.50 EUR
	// too much: insufficient_balance
	// cancelled, balance: 20.00 EUR
}
