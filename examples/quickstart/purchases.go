package main

import (
	"context"
	"errors"
	"time"

	"github.com/userkit/userkit"
)

// The chapter about a purchase. The shop is the service's own, a few lines long;
// verify/apple, verify/google and verify/stripe are the big ones.

// shop knows what it sold, while it is open.
type shop struct {
	closed   bool
	refunded bool
	sold     time.Time
}

// Store is the name under which purchases of the shop are kept.
func (s *shop) Store() string { return "shop" }

// Verify says what is true of a purchase now.
func (s *shop) Verify(_ context.Context, receipt userkit.Receipt) userkit.Verdict {
	facts := userkit.PurchaseFacts{
		StableID: "subscription-" + receipt.Token, ProductID: "vpn-monthly", PurchasedAt: s.sold, ExpiresAt: s.sold.AddDate(0, 1, 0),
	}
	switch {
	case s.closed:
		return userkit.Undecided(errors.New("the shop does not answer"), time.Time{})
	case receipt.Token != "4711":
		return userkit.Invalid(userkit.ReasonNotFound, userkit.PurchaseFacts{})
	case s.refunded:
		return userkit.Invalid(userkit.ReasonRevoked, facts)
	}
	return userkit.Valid(facts)
}

func (s *story) subscribe(ctx context.Context) error {
	s.chapter(tuesday(10, 15), "Chloé subscribes in the service's shop")
	s.shop.sold = s.clock.now()
	chloe, err := s.users.FindUser(ctx, userkit.ByLogin("chloe"))
	if err != nil {
		return err
	}
	ben, err := s.users.FindUser(ctx, userkit.ByLogin("ben"))
	if err != nil {
		return err
	}
	receipt := userkit.Receipt{Store: "shop", Token: "4711"}
	purchase, err := s.users.SubmitPurchase(by(ctx, userkit.ActorUser, "chloe"), chloe.ID, receipt)
	if err != nil {
		return err
	}
	s.say("receipt", "%s, active until %s", purchase.ProductID, purchase.ExpiresAt.Format(time.DateOnly))
	_, err = s.users.SubmitPurchase(by(ctx, userkit.ActorUser, "ben"), ben.ID, receipt)
	if err := s.refused("ben too", userkit.CodePurchaseTaken, err); err != nil {
		return err
	}

	// A shop that does not answer is no reason to take anything away.
	staff := by(ctx, userkit.ActorAdministrator, "olga")
	s.shop.closed = true
	_, err = s.users.ActivatePurchase(staff, purchase.ID)
	if userkit.ErrorCode(err) != userkit.CodePurchaseUndecided {
		return err
	}
	s.say("shop down", "nobody knows, so nothing changes")
	if err := s.list(ctx, "subscribed", userkit.UserFilter{Filter: userkit.Equal("subscribed", true)}); err != nil {
		return err
	}
	s.shop.closed, s.shop.refunded = false, true
	_, err = s.users.ActivatePurchase(staff, purchase.ID)
	if err := s.refused("a refund", userkit.CodePurchaseInvalid, err); err != nil {
		return err
	}
	return s.list(ctx, "subscribed", userkit.UserFilter{Filter: userkit.Equal("subscribed", true)})
}
