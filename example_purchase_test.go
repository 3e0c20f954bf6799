package userkit_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// voucherShop is a store of the host's own: it sells vouchers, whose codes it
// knows with the days that they are good for.
type voucherShop map[string]int

func (voucherShop) Store() string { return "vouchers" }

func (shop voucherShop) Verify(_ context.Context, receipt userkit.Receipt) userkit.Verdict {
	days, known := shop[receipt.Token]
	if !known {
		return userkit.Invalid(userkit.ReasonNotFound, userkit.PurchaseFacts{})
	}
	sold := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return userkit.Valid(userkit.PurchaseFacts{
		StableID: receipt.Token, ProductID: "voucher", PurchasedAt: sold, ExpiresAt: sold.AddDate(0, 0, days),
	})
}

// A store of the host's own, beside or instead of verify/apple, verify/google and
// verify/stripe.
func ExampleVerifier() {
	ctx := context.Background()
	now := time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)
	users, err := userkit.New(memory.New(),
		userkit.WithVerifiers(voucherShop{"SPRING-2026": 30}),
		userkit.WithClock(func() time.Time { return now }))
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	zoe, err := users.CreateUser(ctx, userkit.NewUser{Login: "zoe"})
	if err != nil {
		log.Fatal(err)
	}

	voucher := userkit.Receipt{Store: "vouchers", Token: "SPRING-2026"}
	purchase, err := users.SubmitPurchase(ctx, ada.ID, voucher)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("active:", purchase.Active, "until", purchase.ExpiresAt.Format(time.DateOnly))
	_, err = users.SubmitPurchase(ctx, zoe.ID, voucher)
	fmt.Println("shown by another user:", userkit.ErrorCode(err))
	_, err = users.SubmitPurchase(ctx, zoe.ID, userkit.Receipt{Store: "vouchers", Token: "SUMMER-2026"})
	fmt.Println("made up:", userkit.ErrorCode(err))

	subscribers := userkit.UserFilter{Filter: userkit.Equal("subscribed", true)}
	count, err := users.CountUsers(ctx, subscribers)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("subscribers now:", count)
	now = now.AddDate(0, 1, 0)
	count, err = users.CountUsers(ctx, subscribers)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("a month later:", count)
	// Output:
	// active: true until 2026-03-31
	// shown by another user: purchase_taken
	// made up: purchase_invalid
	// subscribers now: 1
	// a month later: 0
}
