package apple_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
	"github.com/userkit/userkit/verify/apple"
)

// demanding is a verifier with both demands of proof.
func demanding(config *apple.Config) { config.RequireSigned, config.RequireAccountToken = true, true }

func TestBareIDIsNoProofWhereSignaturesAreDemanded(t *testing.T) {
	w := testWorld(t)
	w.production.sell(with(renewed(), object{"transactionId": firstID}), renewed())
	w.production.subscribe([]string{firstID}, w.production.item(1, renewed(), renewal()))
	v := w.verifier(t, demanding)

	for _, id := range []string{firstID, renewedID} {
		verdict := verify(t, v, id)
		require.Equal(t, userkit.VerdictInvalid, verdict.Outcome)
		require.Equal(t, userkit.ReasonForged, verdict.Reason)
		_, decided := v.CheckReceipt(t.Context(), userkit.Receipt{Store: "apple", Token: id})
		require.True(t, decided, "it costs no turn at the App Store")
	}
	require.Empty(t, w.production.paths())

	verdict := verify(t, v, w.sign(renewed()))
	require.Equal(t, userkit.VerdictValid, verdict.Outcome)
	require.True(t, verdict.Facts.OnlyNamed)
	again := v.Verify(t.Context(), userkit.Receipt{Store: "apple", Token: verdict.Facts.Token, Kept: true})
	require.Equal(t, userkit.VerdictValid, again.Outcome, "what the verifier asked to be given the next time")
}

func TestPurchaseIsOnlyForTheUserWhomItNamesWhereThatIsDemanded(t *testing.T) {
	w := testWorld(t)
	w.production.sell(with(renewed(), object{"transactionId": firstID}), renewed())
	w.production.subscribe([]string{firstID}, w.production.item(1, renewed(), renewal()))
	store := memory.New()
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	users, err := userkit.New(store, userkit.WithVerifiers(w.verifier(t, demanding)))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, users.Close(t.Context())) })
	thief, err := users.CreateUser(t.Context(), userkit.NewUser{Login: "thief"})
	require.NoError(t, err)
	owner, err := users.CreateUser(t.Context(), userkit.NewUser{Login: "owner"})
	require.NoError(t, err)

	submit := func(user userkit.User, token string) error {
		_, err := users.SubmitPurchase(t.Context(), user.ID, userkit.Receipt{Store: "apple", Token: token})
		return err
	}
	refused := func(err error, reason userkit.PurchaseReason) {
		require.ErrorIs(t, err, userkit.ErrRefused)
		var told *userkit.Error
		require.ErrorAs(t, err, &told)
		require.Equal(t, reason, told.Reason)
	}
	refused(submit(owner, renewedID), userkit.ReasonForged)
	refused(submit(owner, w.sign(renewed())), userkit.ReasonAccount) // the token names nobody yet

	ref := userkit.Set(account)
	_, err = users.UpdateUser(t.Context(), owner.ID, userkit.UserPatch{ExtRef: ref})
	require.NoError(t, err)
	refused(submit(thief, w.sign(renewed())), userkit.ReasonAccount)
	require.NoError(t, submit(owner, w.sign(renewed())))

	bought, err := users.Purchases(t.Context(), userkit.PurchaseQuery{PurchaseFilter: userkit.PurchaseFilter{UserID: owner.ID}})
	require.NoError(t, err)
	require.Len(t, bought.Items, 1)

	// Later on it is verified by its id, and stays whatever becomes of the extref.
	ref = userkit.Set("another")
	_, err = users.UpdateUser(t.Context(), owner.ID, userkit.UserPatch{ExtRef: ref})
	require.NoError(t, err)
	after, err := users.ActivatePurchase(t.Context(), bought.Items[0].ID)
	require.NoError(t, err)
	require.True(t, after.Active)
}
