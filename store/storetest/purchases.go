package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// shop is a store that says what a case sets: it verifies, hears that purchases
// were granted, and sends notifications.
type shop struct {
	name string

	mutex         sync.Mutex
	verdicts      map[string]userkit.Verdict // by the receipt's token
	down          *userkit.Verdict           // what it says of everything; nil: it is up
	ending        func()                     // runs in every verification; may be nil
	asked         map[string]int             // how often, by the receipt's token
	granted       map[string]int             // how often it heard of it, by the receipt's token
	deaf          error                      // what Acknowledge returns
	notifications map[string]userkit.NotificationContent
	unreadable    map[string]error
}

// shopName is the store of the cases that need one only.
const shopName = "example-shop"

func newShop() *shop {
	return &shop{
		name: shopName, verdicts: map[string]userkit.Verdict{}, asked: map[string]int{}, granted: map[string]int{},
		notifications: map[string]userkit.NotificationContent{}, unreadable: map[string]error{},
	}
}

func (s *shop) Store() string { return s.name }

func (s *shop) Verify(_ context.Context, receipt userkit.Receipt) userkit.Verdict {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.asked[receipt.Token]++
	if s.ending != nil {
		s.ending()
	}
	if s.down != nil {
		return *s.down
	}
	if verdict, ok := s.verdicts[receipt.Token]; ok {
		return verdict
	}
	return userkit.Invalid(userkit.ReasonNotFound, userkit.PurchaseFacts{})
}

func (s *shop) Acknowledge(_ context.Context, receipt userkit.Receipt, facts userkit.PurchaseFacts) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if facts.StableID == "" || receipt.Store != s.name {
		return errors.New("nothing that was granted")
	}
	s.granted[receipt.Token]++
	return s.deaf
}

func (s *shop) ReadNotification(_ context.Context, notification userkit.StoreNotification) (userkit.NotificationContent, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.notifications[string(notification.Body)], s.unreadable[string(notification.Body)]
}

// says sets what the shop says of a receipt.
func (s *shop) says(token string, verdict userkit.Verdict) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.verdicts[token] = verdict
}

// closes makes the shop unreachable until it opens; it may say when to come back.
func (s *shop) closes(retryAt time.Time) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	verdict := userkit.Undecided(errors.New("nobody is there"), retryAt)
	s.down = &verdict
}

func (s *shop) opens() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.down = nil
}

// hears sets what the shop answers when it hears that a purchase was granted.
func (s *shop) hears(err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.deaf = err
}

// sends sets what a notification is about.
func (s *shop) sends(body string, content userkit.NotificationContent, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.notifications[body], s.unreadable[body] = content, err
}

// counts returns how often the shop was asked about a receipt, and how often it
// heard that it was granted.
func (s *shop) counts(token string) (asked, granted int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.asked[token], s.granted[token]
}

// allAsked returns how often the shop was asked about every receipt.
func (s *shop) allAsked() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	asked := 0
	for _, times := range s.asked {
		asked += times
	}
	return asked
}

// verifierOnly is a verifier that can do nothing more.
type verifierOnly struct{ userkit.Verifier }

// atOnce lets a shop be asked as fast as can be.
var atOnce = userkit.WithVerificationRate(10_000)

// withShop returns a manager whose purchases a shop verifies.
func (e env) withShop(t *testing.T, options ...userkit.Option) (*desk, *shop) {
	t.Helper()
	s := newShop()
	return e.desk(t, slices.Concat([]userkit.Option{userkit.WithVerifiers(s), atOnce}, options)...), s
}

// keepsForHolder shows a purchase again that only the user whom its store names may have,
// and that names nobody: by the user who has had it since before, and by another.
func keepsForHolder(t *testing.T, env env, policy userkit.PurchasePolicy) {
	d, s := env.withShop(t, userkit.WithPurchasePolicy(policy))
	user, other := d.signUp(t), d.signUp(t)
	facts := d.monthly("1000")
	s.says("1000", userkit.Valid(facts))
	bought := d.submit(t, user.ID, "1000")
	facts.OnlyNamed = true
	s.says("1000", userkit.Valid(facts))
	require.Equal(t, bought.ID, d.submit(t, user.ID, "1000").ID)
	_, err := d.SubmitPurchase(t.Context(), other.ID, receiptOf("1000"))
	requireInvalid(t, err, userkit.ReasonAccount)
	d.requireSubscribed(t, user.ID, true)
	d.requireSubscribed(t, other.ID, false)
}

const month = 30 * 24 * time.Hour

// monthly returns the facts of a subscription that was bought now, for a month.
func (d *desk) monthly(stableID string) userkit.PurchaseFacts {
	now := d.clock.Now()
	return userkit.PurchaseFacts{
		StableID: stableID, TransactionID: stableID + "-1", ProductID: "pro.monthly", Environment: userkit.Production,
		PurchasedAt: now, ExpiresAt: now.Add(month), At: now, Raw: json.RawMessage(`{"bought":"` + stableID + `"}`),
	}
}

// receiptOf is the receipt of a purchase in the shop.
func receiptOf(token string) userkit.Receipt { return userkit.Receipt{Store: shopName, Token: token} }

// submit submits a receipt, which must be taken.
func (d *desk) submit(t *testing.T, user userkit.UserID, token string) userkit.Purchase {
	t.Helper()
	purchase, err := d.SubmitPurchase(t.Context(), user, receiptOf(token))
	require.NoError(t, err)
	return purchase
}

// buy makes a user buy a monthly subscription under a stable id; its receipt is
// named like it.
func (d *desk) buy(t *testing.T, s *shop, user userkit.UserID, stableID string) userkit.Purchase {
	t.Helper()
	s.says(stableID, userkit.Valid(d.monthly(stableID)))
	purchase := d.submit(t, user, stableID)
	require.True(t, purchase.Active)
	return purchase
}

// purchase reads a purchase.
func (d *desk) purchase(t *testing.T, id userkit.PurchaseID) userkit.Purchase {
	t.Helper()
	purchase, err := d.Purchase(t.Context(), id)
	require.NoError(t, err)
	return purchase
}

// verifyDue verifies what is due.
func (d *desk) verifyDue(t *testing.T) userkit.VerificationReport {
	t.Helper()
	report, err := d.VerifyDuePurchases(t.Context())
	require.NoError(t, err)
	return report
}

// notify hands in a notification, which must be taken.
func (d *desk) notify(t *testing.T, body string) {
	t.Helper()
	require.NoError(t, d.HandleStoreNotification(t.Context(), shopName, userkit.StoreNotification{Body: []byte(body)}))
}

// requireSubscribed demands whether a user has an active purchase now, by the
// account and by the filter, and that the account counts the active purchases.
func (d *desk) requireSubscribed(t *testing.T, id userkit.UserID, subscribed bool) {
	t.Helper()
	user := d.user(t, id)
	require.Equal(t, subscribed, user.Subscribed(d.clock.Now()), "%+v", user.Account)
	filter := filterOf(fmt.Sprintf(`id eq "%s" and subscribed eq true`, id))
	page, err := d.Users(t.Context(), userkit.UserQuery{UserFilter: userkit.UserFilter{Filter: filter}})
	require.NoError(t, err)
	require.Equal(t, subscribed, len(page.Items) == 1)
	active := 0
	for _, purchase := range d.purchases(t, id) {
		if purchase.Active {
			active++
		}
	}
	require.Equal(t, active, user.ActivePurchases)
}

// requireInvalid demands that the shop's word was passed on.
func requireInvalid(t *testing.T, err error, reason userkit.PurchaseReason) {
	t.Helper()
	requireField(t, err, userkit.ErrRefused, userkit.CodePurchaseInvalid, "")
	e, ok := errors.AsType[*userkit.Error](err)
	require.True(t, ok)
	require.Equal(t, reason, e.Reason)
}

// between demands that a time is not before one and not after another.
func between(t *testing.T, moment, from, to time.Time) {
	t.Helper()
	require.False(t, moment.Before(from) || moment.After(to), "%s is not from %s to %s", moment, from, to)
}

func purchaseGroups() []group {
	return []group{
		{"SubmitPurchase", submitCases()},
		{"SubmitPurchase of what is another's", ownerCases()},
		{"SubmitPurchase while the store does not say", waitingCases()},
		{"PurchaseTransfer", transferCases()},
		{"Purchases by the clock", purchaseClockCases()},
		{"VerifyDuePurchases", verifyDueCases()},
		{"VerifyDuePurchases of many processes", verifyManyCases()},
		{"ActivatePurchase and DeactivatePurchase", activatePurchaseCases()},
		{"Acknowledge", acknowledgeCases()},
		{"HandleStoreNotification", notificationCases()},
		{"Calls about purchases in any order", anyOrderCases()},
		{"Purchases", purchaseListCases()},
	}
}

func submitCases() []testCase {
	return []testCase{
		{"keeps everything that the store says", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user, other := d.signUp(t), d.signUp(t)
			beside := d.picture(t, other.ID)
			facts := d.monthly("1000")
			facts.PurchasedAt, facts.At, facts.Trial, facts.Token = at(-100), at(-5), true, "the next token"
			s.says("receipt", userkit.Valid(facts))
			d.clock.Advance(time.Minute)
			now := d.clock.Now()
			var purchase userkit.Purchase
			events := d.eventsDuring(t, user.ID, func() { purchase = d.submit(t, user.ID, "receipt") })
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseSubmitted}, eventNames(events))
			require.False(t, purchase.ID.IsZero())
			between(t, purchase.DueAt, now.Add(21*time.Hour), now.Add(24*time.Hour))
			require.Equal(t, canonicalPurchases(t, []userkit.Purchase{{
				ID: purchase.ID, UserID: user.ID, Store: shopName, StableID: "1000", TransactionID: "1000-1", ProductID: "pro.monthly",
				Environment: userkit.Production, PurchasedAt: at(-100), ExpiresAt: facts.ExpiresAt, Trial: true, Active: true, Raw: facts.Raw,
				CreatedAt: now, UpdatedAt: now, FactsAt: at(-5), VerifiedAt: now, DueAt: purchase.DueAt, Token: "the next token", Acknowledged: true,
			}}), canonicalPurchases(t, []userkit.Purchase{purchase}))
			requirePurchases(t, []userkit.Purchase{purchase}, []userkit.Purchase{d.purchase(t, purchase.ID)})
			requirePurchases(t, []userkit.Purchase{purchase}, d.purchases(t, user.ID))

			account := d.user(t, user.ID).Account
			require.Equal(t, 1, account.ActivePurchases)
			require.Equal(t, facts.ExpiresAt.Add(24*time.Hour), account.PurchasesEndAt)
			d.requireSubscribed(t, user.ID, true)
			require.Equal(t, beside, d.picture(t, other.ID))
		}},
		{"keeps a purchase for ever that has no expiration, and takes the store's silence for production and now", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			s.says("receipt", userkit.Valid(userkit.PurchaseFacts{StableID: "once"}))
			purchase := d.submit(t, user.ID, "receipt")
			require.Equal(t, userkit.Production, purchase.Environment)
			require.Equal(t, base, purchase.FactsAt)
			require.True(t, purchase.ExpiresAt.IsZero())
			require.Empty(t, purchase.Raw)
			require.Equal(t, "receipt", purchase.Token)
			require.True(t, d.user(t, user.ID).PurchasesEndAt.IsZero())
			d.clock.Advance(10 * 365 * 24 * time.Hour)
			d.requireSubscribed(t, user.ID, true)
		}},
		{"refuses what the store says is not good, with the reason, and keeps nothing", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			before := d.picture(t, user.ID)
			for n, reason := range []userkit.PurchaseReason{
				userkit.ReasonNotFound, userkit.ReasonForged, userkit.ReasonWrongApp, userkit.ReasonExpired, userkit.ReasonRevoked,
				userkit.ReasonPending, userkit.ReasonPaused, userkit.ReasonUnpaid, userkit.ReasonSuperseded, "sold out",
			} {
				facts := userkit.PurchaseFacts{}
				if n%2 == 0 {
					facts = d.monthly("1000")
				}
				s.says("receipt", userkit.Invalid(reason, facts))
				purchase, err := d.SubmitPurchase(t.Context(), user.ID, receiptOf("receipt"))
				requireInvalid(t, err, reason)
				require.Zero(t, purchase)
			}
			require.Equal(t, before, d.picture(t, user.ID))
		}},
		{"ends the active purchase that the store says is not good", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			first, second := d.buy(t, s, user.ID, "1000"), d.buy(t, s, user.ID, "2000")
			d.clock.Advance(time.Minute)
			facts := d.monthly("1000")
			facts.TransactionID = "1000-2"
			s.says("another receipt", userkit.Invalid(userkit.ReasonRevoked, facts))
			events := d.eventsDuring(t, user.ID, func() {
				_, err := d.SubmitPurchase(t.Context(), user.ID, receiptOf("another receipt"))
				requireInvalid(t, err, userkit.ReasonRevoked)
			})
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseDeactivated}, eventNames(events))
			ended := d.purchase(t, first.ID)
			require.False(t, ended.Active)
			require.Equal(t, userkit.ReasonRevoked, ended.Reason)
			require.Equal(t, "1000-2", ended.TransactionID)
			require.True(t, ended.DueAt.IsZero())
			require.True(t, d.purchase(t, second.ID).Active)
			d.requireSubscribed(t, user.ID, true)
		}},
		{"makes a purchase active again that had ended", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			d.clock.Advance(time.Minute)
			s.says("1000", userkit.Invalid(userkit.ReasonExpired, d.monthly("1000")))
			_, err := d.SubmitPurchase(t.Context(), user.ID, receiptOf("1000"))
			requireInvalid(t, err, userkit.ReasonExpired)
			d.requireSubscribed(t, user.ID, false)
			d.clock.Advance(time.Minute)
			s.says("1000", userkit.Valid(d.monthly("1000")))
			var again userkit.Purchase
			events := d.eventsDuring(t, user.ID, func() { again = d.submit(t, user.ID, "1000") })
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseActivated}, eventNames(events))
			require.Equal(t, bought.ID, again.ID)
			require.True(t, again.Active)
			require.Empty(t, again.Reason)
			d.requireSubscribed(t, user.ID, true)
		}},
		{"of a known receipt again makes no second purchase and no event", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			d.clock.Advance(time.Hour)
			events := d.eventsDuring(t, user.ID, func() {
				again := d.submit(t, user.ID, "1000")
				require.Equal(t, bought.ID, again.ID)
				require.Equal(t, d.clock.Now(), again.VerifiedAt)
				require.Equal(t, bought.UpdatedAt, again.UpdatedAt)
				between(t, again.DueAt, d.clock.Now().Add(21*time.Hour), d.clock.Now().Add(24*time.Hour))
			})
			require.Empty(t, events)
			require.Len(t, d.purchases(t, user.ID), 1)
		}},
		{"of a renewal changes the transaction and keeps the row", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			d.clock.Advance(month)
			renewed := d.monthly("1000")
			renewed.TransactionID, renewed.ProductID, renewed.Token = "1000-2", "pro.yearly", "later token"
			s.says("renewal", userkit.Valid(renewed))
			var purchase userkit.Purchase
			events := d.eventsDuring(t, user.ID, func() { purchase = d.submit(t, user.ID, "renewal") })
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseUpdated}, eventNames(events))
			require.Equal(t, bought.ID, purchase.ID)
			require.Equal(t, "1000", purchase.StableID)
			require.Equal(t, "1000-2", purchase.TransactionID)
			require.Equal(t, "pro.yearly", purchase.ProductID)
			require.Equal(t, "later token", purchase.Token)
			require.Equal(t, renewed.ExpiresAt, purchase.ExpiresAt)
			require.Equal(t, bought.CreatedAt, purchase.CreatedAt)
			require.Equal(t, renewed.ExpiresAt.Add(24*time.Hour), d.user(t, user.ID).PurchasesEndAt)
			requirePurchases(t, []userkit.Purchase{purchase}, d.purchases(t, user.ID))
		}},
		{"of older facts overwrites nothing", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			old := d.monthly("1000")
			d.clock.Advance(time.Hour)
			bought := d.buy(t, s, user.ID, "1000")
			for name, verdict := range map[string]userkit.Verdict{
				"good":     userkit.Valid(old),
				"not good": userkit.Invalid(userkit.ReasonRevoked, old),
			} {
				verdict.Facts.TransactionID, verdict.Facts.ExpiresAt, verdict.Facts.Token = "older", at(1), "older token"
				verdict.Facts.At = bought.FactsAt.Add(-time.Microsecond)
				s.says("older", verdict)
				events := d.eventsDuring(t, user.ID, func() { _, _ = d.SubmitPurchase(t.Context(), user.ID, receiptOf("older")) })
				require.Empty(t, events, name)
				after := d.purchase(t, bought.ID)
				after.DueAt, after.VerifiedAt = bought.DueAt, bought.VerifiedAt
				requirePurchases(t, []userkit.Purchase{bought}, []userkit.Purchase{after})
			}
			d.requireSubscribed(t, user.ID, true)

			// Facts of the same moment are no older ones.
			same := d.monthly("1000")
			same.At, same.TransactionID = bought.FactsAt, "the same moment"
			s.says("same", userkit.Valid(same))
			require.Equal(t, "the same moment", d.submit(t, user.ID, "same").TransactionID)

			// What ended since is not brought back by what was true before.
			d.clock.Advance(time.Hour)
			s.says("same", userkit.Invalid(userkit.ReasonRevoked, d.monthly("1000")))
			_, err := d.SubmitPurchase(t.Context(), user.ID, receiptOf("same"))
			requireInvalid(t, err, userkit.ReasonRevoked)
			s.says("same", userkit.Valid(same))
			_, err = d.SubmitPurchase(t.Context(), user.ID, receiptOf("same"))
			requireInvalid(t, err, userkit.ReasonRevoked)
			require.Equal(t, userkit.ReasonRevoked, d.purchase(t, bought.ID).Reason)
			d.requireSubscribed(t, user.ID, false)
		}},
		{"refuses every wrong receipt with its code and field, and asks nobody", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			before := d.picture(t, user.ID)
			for name, wrong := range map[string]struct {
				receipt userkit.Receipt
				code    userkit.Code
				field   string
			}{
				"no store":         {userkit.Receipt{Token: "receipt"}, userkit.CodeUnknownStore, "store"},
				"an unknown store": {userkit.Receipt{Store: "apple", Token: "receipt"}, userkit.CodeUnknownStore, "store"},
				"no token":         {userkit.Receipt{Store: shopName}, userkit.CodeRequired, "token"},
				"a long token":     {receiptOf(strings.Repeat("x", userkit.MaxReceipt+1)), userkit.CodeTooLong, "token"},
				"a long token of many bytes": {
					receiptOf(strings.Repeat("é", userkit.MaxReceipt/2+1)), userkit.CodeTooLong, "token",
				},
				"a token with a NUL":       {receiptOf("a\x00"), userkit.CodeBadText, "token"},
				"a token of invalid UTF-8": {receiptOf("a\xff"), userkit.CodeBadText, "token"},
				"a long product": {
					userkit.Receipt{Store: shopName, Token: "receipt", ProductID: strings.Repeat("é", userkit.MaxPurchaseID+1)}, userkit.CodeTooLong, "product_id",
				},
				"a product with a line break": {userkit.Receipt{Store: shopName, Token: "receipt", ProductID: "a\nb"}, userkit.CodeBadText, "product_id"},
			} {
				t.Run(name, func(t *testing.T) {
					_, err := d.SubmitPurchase(t.Context(), user.ID, wrong.receipt)
					requireField(t, err, userkit.ErrInvalid, wrong.code, wrong.field)
				})
			}
			_, err := d.SubmitPurchase(t.Context(), userkit.NewID[userkit.User](), receiptOf("receipt"))
			requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
			require.Equal(t, before, d.picture(t, user.ID))
			require.Zero(t, s.allAsked())
		}},
		{"keeps a bounded number of receipts that wait", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			down := userkit.Undecided(errors.New("down"), time.Time{})
			for i := range userkit.MaxWaitingReceipts {
				s.says(fmt.Sprint("receipt ", i), down)
				d.submit(t, user.ID, fmt.Sprint("receipt ", i))
			}
			s.says("one more", down)
			_, err := d.SubmitPurchase(t.Context(), user.ID, receiptOf("one more"))
			require.ErrorIs(t, err, userkit.ErrUnavailable)
			require.Equal(t, userkit.CodePurchaseUndecided, userkit.ErrorCode(err))
			// A receipt that waits already may be shown again.
			d.submit(t, user.ID, "receipt 0")
		}},
		{"takes what a verifier must not return for undecided", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			change := func(set func(facts *userkit.PurchaseFacts)) userkit.Verdict {
				facts := d.monthly("2000")
				set(&facts)
				return userkit.Valid(facts)
			}
			long := strings.Repeat("x", userkit.MaxPurchaseID+1)
			for name, verdict := range map[string]userkit.Verdict{
				"nothing":                      {},
				"another outcome":              {Outcome: "perhaps", Facts: d.monthly("2000")},
				"no stable id":                 userkit.Valid(userkit.PurchaseFacts{}),
				"no reason":                    userkit.Invalid("", userkit.PurchaseFacts{}),
				"a long stable id":             change(func(facts *userkit.PurchaseFacts) { facts.StableID = long }),
				"a long transaction id":        change(func(facts *userkit.PurchaseFacts) { facts.TransactionID = long }),
				"a long product id":            change(func(facts *userkit.PurchaseFacts) { facts.ProductID = long }),
				"a stable id with NUL":         change(func(facts *userkit.PurchaseFacts) { facts.StableID = "a\x00" }),
				"another environment":          change(func(facts *userkit.PurchaseFacts) { facts.Environment = "moon" }),
				"a time beyond":                change(func(facts *userkit.PurchaseFacts) { facts.ExpiresAt = time.Date(20_000, 1, 1, 0, 0, 0, 0, time.UTC) }),
				"a long token":                 change(func(facts *userkit.PurchaseFacts) { facts.Token = strings.Repeat("x", userkit.MaxReceipt+1) }),
				"an item of a long product id": change(func(facts *userkit.PurchaseFacts) { facts.Items = []userkit.PurchaseItem{{ProductID: long}} }),
				"an item that ends beyond time": change(func(facts *userkit.PurchaseFacts) {
					facts.Items = []userkit.PurchaseItem{{ExpiresAt: time.Date(20_000, 1, 1, 0, 0, 0, 0, time.UTC)}}
				}),
				"too many items": change(func(facts *userkit.PurchaseFacts) {
					facts.Items = make([]userkit.PurchaseItem, userkit.MaxPurchaseItems+1)
				}),
				"a long id of what it has replaced": change(func(facts *userkit.PurchaseFacts) { facts.Supersedes = []string{long} }),
				"too many that it has replaced": change(func(facts *userkit.PurchaseFacts) {
					facts.Supersedes = make([]string, userkit.MaxSuperseded+1)
				}),
				"a moment beyond to ask at": {Outcome: userkit.VerdictValid, Facts: d.monthly("2000"), AskAt: time.Date(20_000, 1, 1, 0, 0, 0, 0, time.UTC)},
				"raw data that is none":     change(func(facts *userkit.PurchaseFacts) { facts.Raw = json.RawMessage(`{"a":`) }),
				"long raw data": change(func(facts *userkit.PurchaseFacts) {
					facts.Raw = json.RawMessage(`"` + strings.Repeat("x", userkit.MaxPurchaseRaw) + `"`)
				}),
			} {
				t.Run(name, func(t *testing.T) {
					s.says(name, verdict)
					purchase := d.submit(t, d.signUp(t).ID, name)
					require.False(t, purchase.Active)
					require.Equal(t, userkit.ReasonUndecided, purchase.Reason)
				})
			}
			requirePurchases(t, []userkit.Purchase{bought}, []userkit.Purchase{d.purchase(t, bought.ID)})
		}},
		{"keeps facts as long as they may be", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			facts := d.monthly(longest(userkit.MaxPurchaseID, "a"))
			facts.TransactionID, facts.ProductID = longest(userkit.MaxPurchaseID, "b"), longest(userkit.MaxPurchaseID, "c")
			facts.Token = strings.Repeat("x", userkit.MaxReceipt)
			facts.Raw = json.RawMessage(`"` + strings.Repeat("x", userkit.MaxPurchaseRaw-2) + `"`)
			token := strings.Repeat("y", userkit.MaxReceipt)
			s.says(token, userkit.Valid(facts))
			purchase := d.submit(t, user.ID, token)
			require.Equal(t, facts.StableID, purchase.StableID)
			require.Equal(t, facts.Raw, purchase.Raw)
			requirePurchases(t, []userkit.Purchase{purchase}, d.purchases(t, user.ID))
		}},
		{"refuses what nobody paid for, unless the project takes it", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			facts := d.monthly("1000")
			facts.Environment = userkit.Sandbox
			s.says("receipt", userkit.Valid(facts))
			_, err := d.SubmitPurchase(t.Context(), user.ID, receiptOf("receipt"))
			requireInvalid(t, err, userkit.ReasonEnvironment)
			require.Empty(t, d.purchases(t, user.ID))

			test := d.beside(t, env.store, userkit.WithVerifiers(s), atOnce, userkit.WithSandboxPurchases())
			purchase := test.submit(t, user.ID, "receipt")
			require.True(t, purchase.Active)
			require.Equal(t, userkit.Sandbox, purchase.Environment)

			// A project that stops to take them ends those that it has.
			d.clock.Advance(25 * time.Hour)
			require.Equal(t, userkit.VerificationReport{Ended: 1}, d.verifyDue(t))
			require.Equal(t, userkit.ReasonEnvironment, d.purchase(t, purchase.ID).Reason)
		}},
		{"ends the purchases that a new one has replaced", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user, other := d.signUp(t), d.signUp(t)
			old, kept, theirs := d.buy(t, s, user.ID, "1000"), d.buy(t, s, user.ID, "2000"), d.buy(t, s, other.ID, "3000")
			upgrade := d.monthly("4000")
			upgrade.Supersedes = []string{"1000", "3000", "no such", "4000"}
			s.says("upgrade", userkit.Valid(upgrade))
			var purchase userkit.Purchase
			events := d.eventsDuring(t, user.ID, func() { purchase = d.submit(t, user.ID, "upgrade") })
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseSubmitted}, eventNames(events))
			require.Contains(t, string(events[0].Data), old.ID.String())
			require.True(t, purchase.Active)
			superseded := d.purchase(t, old.ID)
			require.False(t, superseded.Active)
			require.Equal(t, userkit.ReasonSuperseded, superseded.Reason)
			require.True(t, superseded.DueAt.IsZero())
			require.True(t, d.purchase(t, kept.ID).Active)
			require.True(t, d.purchase(t, theirs.ID).Active, "the purchase of another user is not this one's to end")
			d.requireSubscribed(t, user.ID, true)
			require.Equal(t, 2, d.user(t, user.ID).ActivePurchases)
		}},
		{"leaves one of a chain of replacements active, in whatever order they come", func(t *testing.T, env env) {
			chain := []string{"oldest", "middle", "newest"}
			for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
				s := newShop()
				d := openDesk(t, env.store, &manualClock{now: base}, nil, userkit.WithVerifiers(s), atOnce)
				user, err := d.CreateUser(t.Context(), userkit.NewUser{Login: fmt.Sprint("user", order)})
				require.NoError(t, err)
				stableID := func(i int) string { return fmt.Sprint(chain[i], order) }
				for i := range chain {
					facts := d.monthly(stableID(i))
					if i > 0 {
						facts.Supersedes = []string{stableID(i - 1)}
					}
					s.says(stableID(i), userkit.Valid(facts))
				}
				shown := map[int]bool{}
				for _, i := range order {
					_, err := d.SubmitPurchase(t.Context(), user.ID, receiptOf(stableID(i)))
					shown[i] = true
					if shown[i+1] || shown[2] && shown[1] && i == 0 {
						requireInvalid(t, err, userkit.ReasonSuperseded)
					} else {
						require.NoError(t, err)
					}
				}
				for _, purchase := range d.purchases(t, user.ID) {
					require.Equal(t, purchase.StableID == stableID(2), purchase.Active, "%v: %s", order, purchase.StableID)
					if !purchase.Active {
						require.Equal(t, userkit.ReasonSuperseded, purchase.Reason)
						require.True(t, purchase.DueAt.IsZero())
						_, err := d.ActivatePurchase(t.Context(), purchase.ID)
						requireInvalid(t, err, userkit.ReasonSuperseded)
					}
				}
				require.Equal(t, 1, d.user(t, user.ID).ActivePurchases)
				d.requireSubscribed(t, user.ID, true)

				// When the newest is refunded, what it had replaced may be shown again.
				refunded := d.monthly(stableID(2))
				refunded.At = refunded.At.Add(time.Minute)
				s.says(stableID(2), userkit.Invalid(userkit.ReasonRevoked, refunded))
				_, err = d.SubmitPurchase(t.Context(), user.ID, receiptOf(stableID(2)))
				requireInvalid(t, err, userkit.ReasonRevoked)
				d.requireSubscribed(t, user.ID, false)
				d.submit(t, user.ID, stableID(1))
				d.requireSubscribed(t, user.ID, true)
			}
		}},
		{"learns of a chain from the one in between, also when that is over", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			oldest := d.buy(t, s, user.ID, "1000")
			newest := d.monthly("3000")
			newest.Supersedes = []string{"2000"}
			s.says("3000", userkit.Valid(newest))
			d.submit(t, user.ID, "3000")
			require.True(t, d.purchase(t, oldest.ID).Active)
			middle := d.monthly("2000")
			middle.Supersedes = []string{"1000"}
			s.says("2000", userkit.Invalid(userkit.ReasonSuperseded, middle))
			events := d.eventsDuring(t, user.ID, func() {
				_, err := d.SubmitPurchase(t.Context(), user.ID, receiptOf("2000"))
				requireInvalid(t, err, userkit.ReasonSuperseded)
			})
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseDeactivated}, eventNames(events))
			require.Equal(t, userkit.ReasonSuperseded, d.purchase(t, oldest.ID).Reason)
			require.Len(t, d.purchases(t, user.ID), 2)
			require.Equal(t, 1, d.user(t, user.ID).ActivePurchases)
		}},
		{"takes what was bought after a replacement for no part of it", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			upgrade := d.monthly("2000")
			upgrade.Supersedes = []string{"1000"}
			s.says("2000", userkit.Valid(upgrade))
			d.submit(t, user.ID, "2000")
			d.clock.Advance(time.Hour)
			again := d.buy(t, s, user.ID, "1000")
			require.True(t, again.Active)
			require.Equal(t, 2, d.user(t, user.ID).ActivePurchases)
		}},
		{"keeps the items of a purchase, which end one by one", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			now := d.clock.Now()
			facts := d.monthly("1000")
			facts.ProductID = "base"
			facts.Items = []userkit.PurchaseItem{
				{ProductID: "base", ExpiresAt: now.Add(10 * time.Hour)}, {ProductID: "addon", ExpiresAt: facts.ExpiresAt, Trial: true},
				{ProductID: "yet to begin"}, {ProductID: "gone", ExpiresAt: now.Add(-30 * time.Hour)},
			}
			s.says("1000", userkit.Valid(facts))
			bought := d.submit(t, user.ID, "1000")
			require.Equal(t, facts.Items, bought.Items)
			requirePurchases(t, []userkit.Purchase{bought}, d.purchases(t, user.ID))
			require.Equal(t, []string{"base", "addon"}, bought.ActiveProducts(now, 24*time.Hour))
			require.Equal(t, []string{"addon"}, bought.ActiveProducts(now.Add(10*time.Hour), 0))
			require.Empty(t, bought.ActiveProducts(facts.ExpiresAt, 0))
			between(t, bought.DueAt, facts.Items[0].ExpiresAt.Add(time.Minute), facts.Items[0].ExpiresAt.Add(2*time.Minute))

			// A renewal of one item is news.
			facts.At, facts.Items = bought.DueAt, []userkit.PurchaseItem{{ProductID: "base", ExpiresAt: facts.ExpiresAt}, facts.Items[1]}
			s.says("1000", userkit.Valid(facts))
			events := d.eventsDuring(t, user.ID, func() {
				require.Equal(t, userkit.VerificationReport{Verified: 1}, d.goesOnDue(t, bought.ID))
			})
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseUpdated}, eventNames(events))
			require.Equal(t, facts.Items, d.purchase(t, bought.ID).Items)
			plain := d.buy(t, s, user.ID, "2000")
			require.Equal(t, []string{"pro.monthly"}, plain.ActiveProducts(d.clock.Now(), 0))
		}},
		{"many times at once makes one purchase", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			e := d.beside(t, env.second(t), userkit.WithVerifiers(s), atOnce)
			user := d.signUp(t)
			s.says("receipt", userkit.Valid(d.monthly("1000")))
			purchases := values(t, together(8, func(i int) (userkit.Purchase, error) {
				return []*desk{d, e}[i%2].SubmitPurchase(t.Context(), user.ID, receiptOf("receipt"))
			}))
			for _, purchase := range purchases {
				require.Equal(t, purchases[0].ID, purchase.ID)
			}
			require.Len(t, d.purchases(t, user.ID), 1)
			d.requireSubscribed(t, user.ID, true)
			require.Equal(t, []userkit.EventName{userkit.EventUserCreated, userkit.EventPurchaseSubmitted}, eventNames(d.events(t, user.ID)))
		}},
		{"refuses what cannot be a receipt without a turn at the store", func(t *testing.T, env env) {
			s := pickyShop{newShop()}
			// At this rate the turns of a test would take days.
			d := env.desk(t, userkit.WithVerifiers(s), userkit.WithVerificationRate(0.01))
			user, other := d.signUp(t), d.signUp(t)
			for n := range 200 {
				_, err := d.SubmitPurchase(t.Context(), user.ID, receiptOf(fmt.Sprint("malformed ", n)))
				requireInvalid(t, err, userkit.ReasonForged)
			}
			require.Zero(t, s.allAsked())
			d.buy(t, s.shop, user.ID, "1000")
			d.buy(t, s.shop, other.ID, "2000")
		}},
		{"whose caller leaves while the store is asked keeps nothing", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			before := d.picture(t, user.ID)
			ctx, cancel := context.WithCancel(t.Context())
			s.ending = cancel
			s.says("receipt", userkit.Valid(d.monthly("1000")))
			_, err := d.SubmitPurchase(ctx, user.ID, receiptOf("receipt"))
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, before, d.picture(t, user.ID))
		}},
		{"brings times and raw data into the form in which they are stored", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			facts := d.monthly("1000")
			moment := time.Date(2026, time.July, 1, 23, 30, 15, 123_456_789, germany)
			want := time.Date(2026, time.July, 1, 21, 30, 15, 123_456_000, time.UTC)
			d.clock.Set(want.Add(time.Minute)) // facts from the future would count as of now
			facts.PurchasedAt, facts.ExpiresAt, facts.At = moment, moment.Add(month), moment.Add(time.Second)
			facts.Raw = json.RawMessage(" {\n \"big\": 9007199254740993 } ")
			s.says("receipt", userkit.Valid(facts))
			purchase := d.submit(t, user.ID, "receipt")
			require.Equal(t, want, purchase.PurchasedAt)
			require.Equal(t, want.Add(month), purchase.ExpiresAt)
			require.Equal(t, want.Add(time.Second), purchase.FactsAt)
			require.JSONEq(t, `{"big":9007199254740993}`, string(purchase.Raw))
			requirePurchases(t, []userkit.Purchase{purchase}, d.purchases(t, user.ID))
		}},
		{"and all other changes are refused by a manager that was closed", func(t *testing.T, env env) {
			d, s := env.withShop(t, userkit.WithPurchasePolicy(userkit.PurchaseTransfer))
			user, other := d.signUp(t), d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			s.sends("renewed", userkit.NotificationContent{StableID: "1000", Receipt: receiptOf("1000")}, nil)
			d.clock.Advance(24 * time.Hour)
			require.NoError(t, d.Close(context.Background()))
			sound := d.beside(t, env.store)
			before := sound.picture(t, user.ID)
			ctx := t.Context()
			for name, change := range map[string]func() error{
				"SubmitPurchase": func() error { _, err := d.SubmitPurchase(ctx, user.ID, receiptOf("1000")); return err },
				"SubmitPurchase of another's": func() error {
					_, err := d.SubmitPurchase(ctx, other.ID, receiptOf("1000"))
					return err
				},
				"ActivatePurchase":   func() error { _, err := d.ActivatePurchase(ctx, bought.ID); return err },
				"DeactivatePurchase": func() error { _, err := d.DeactivatePurchase(ctx, bought.ID); return err },
				"HandleStoreNotification": func() error {
					return d.HandleStoreNotification(ctx, shopName, userkit.StoreNotification{Body: []byte("renewed")})
				},
			} {
				requireCode(t, change(), userkit.ErrUnavailable, userkit.CodeClosed)
				require.Equal(t, before, sound.picture(t, user.ID), name)
			}
			_, err := d.VerifyDuePurchases(ctx)
			requireCode(t, err, userkit.ErrUnavailable, userkit.CodeClosed)
			require.Equal(t, bought.VerifiedAt, sound.purchase(t, bought.ID).VerifiedAt)
		}},
		{"tells the receipt nowhere", func(t *testing.T, env env) {
			const secret, next = "the-secret-of-the-receipt", "the-next-secret"
			var logged strings.Builder
			d, s := env.withShop(t, userkit.WithLogger(slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))))
			user := d.signUp(t)
			var said []string
			say := func(value any, err error) {
				text, failed := json.Marshal(value)
				require.NoError(t, failed)
				said = append(said, string(text), fmt.Sprintf("%v %+v", err, err))
			}
			submit := func() {
				purchase, err := d.SubmitPurchase(t.Context(), user.ID, receiptOf(secret))
				say(purchase, err)
			}
			s.says(secret, userkit.Invalid(userkit.ReasonForged, userkit.PurchaseFacts{}))
			submit()
			s.closes(time.Time{})
			submit()
			s.opens()
			facts := d.monthly("1000")
			facts.Token = next
			s.says(secret, userkit.Valid(facts))
			s.says(next, userkit.Valid(facts))
			s.hears(errors.New("deaf"))
			submit()
			for _, wrong := range []userkit.Receipt{
				{Store: "unknown", Token: secret}, receiptOf(secret + "\x00"), receiptOf(secret + strings.Repeat("x", userkit.MaxReceipt)),
			} {
				_, err := d.SubmitPurchase(t.Context(), user.ID, wrong)
				say(nil, err)
			}
			bought := d.purchases(t, user.ID)[0]
			require.Equal(t, next, bought.Token)
			other := d.signUp(t)
			_, err := d.SubmitPurchase(t.Context(), other.ID, receiptOf(secret))
			say(nil, err)
			after, err := d.DeactivatePurchase(t.Context(), bought.ID)
			say(after, err)
			s.closes(time.Time{})
			_, err = d.ActivatePurchase(t.Context(), bought.ID)
			say(nil, err)
			page, err := d.Purchases(t.Context(), userkit.PurchaseQuery{})
			say(page, err)
			for record, err := range d.UserRecords(t.Context(), user.ID) {
				say(record, err)
			}
			say(d.events(t, user.ID), nil)
			for _, text := range append(said, logged.String()) {
				require.NotContains(t, text, secret)
				require.NotContains(t, text, next)
			}
			require.NotEmpty(t, logged.String())
		}},
	}
}

// businessCalls returns every call of purchases.
func businessCalls(ctx context.Context, d *desk, user userkit.UserID) map[string]error {
	calls := map[string]error{}
	_, calls["SubmitPurchase"] = d.SubmitPurchase(ctx, user, receiptOf("receipt"))
	_, calls["Purchase"] = d.Purchase(ctx, userkit.NewID[userkit.Purchase]())
	_, calls["Purchases"] = d.Purchases(ctx, userkit.PurchaseQuery{})
	_, calls["ActivatePurchase"] = d.ActivatePurchase(ctx, userkit.NewID[userkit.Purchase]())
	_, calls["DeactivatePurchase"] = d.DeactivatePurchase(ctx, userkit.NewID[userkit.Purchase]())
	_, calls["VerifyDuePurchases"] = d.VerifyDuePurchases(ctx)
	calls["HandleStoreNotification"] = d.HandleStoreNotification(ctx, shopName, userkit.StoreNotification{Body: []byte("renewed")})
	return calls
}

func ownerCases() []testCase {
	return []testCase{
		{"is refused, and changes neither user", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			owner, thief := d.signUp(t), d.signUp(t)
			d.buy(t, s, owner.ID, "1000")
			renewed := d.monthly("1000")
			renewed.TransactionID = "1000-2"
			s.says("renewal", userkit.Valid(renewed))
			before, beside := d.picture(t, owner.ID), d.picture(t, thief.ID)
			for _, token := range []string{"1000", "renewal"} {
				_, err := d.SubmitPurchase(t.Context(), thief.ID, receiptOf(token))
				requirePurchaseTaken(t, err)
			}
			require.Equal(t, before, d.picture(t, owner.ID))
			require.Equal(t, beside, d.picture(t, thief.ID))
			d.requireSubscribed(t, thief.ID, false)
		}},
		{"is refused also when it has ended, and free when the user is deleted", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			owner, heir := d.signUp(t), d.signUp(t)
			bought := d.buy(t, s, owner.ID, "1000")
			d.clock.Advance(60 * 24 * time.Hour)
			s.says("1000", userkit.Invalid(userkit.ReasonExpired, userkit.PurchaseFacts{}))
			d.verifyDue(t)
			s.says("1000", userkit.Valid(d.monthly("1000")))
			_, err := d.SubmitPurchase(t.Context(), heir.ID, receiptOf("1000"))
			requirePurchaseTaken(t, err)
			_, err = d.DeleteUser(t.Context(), owner.ID, owner.ID.String())
			require.NoError(t, err)
			_, err = d.Purchase(t.Context(), bought.ID)
			requireCode(t, err, userkit.ErrNotFound, userkit.CodePurchaseNotFound)
			d.submit(t, heir.ID, "1000")
			d.requireSubscribed(t, heir.ID, true)
		}},
		{"is the same stable id in one store only", func(t *testing.T, env env) {
			first, second := newShop(), newShop()
			second.name = "other-shop"
			d := env.desk(t, userkit.WithVerifiers(first, second), atOnce)
			a, b := d.signUp(t), d.signUp(t)
			d.buy(t, first, a.ID, "1000")
			second.says("receipt", userkit.Valid(d.monthly("1000")))
			purchase, err := d.SubmitPurchase(t.Context(), b.ID, userkit.Receipt{Store: "other-shop", Token: "receipt"})
			require.NoError(t, err)
			require.Equal(t, "other-shop", purchase.Store)
			d.requireSubscribed(t, b.ID, true)
		}},
		{"activates one account, also when a family shares it", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			var family []userkit.User
			for n := range 3 { // each has a stable id of their own
				shared := d.monthly(fmt.Sprint("member ", n))
				shared.FamilyShared = n > 0
				s.says(fmt.Sprint("receipt ", n), userkit.Valid(shared))
				user := d.signUp(t)
				family = append(family, user)
				purchase := d.submit(t, user.ID, fmt.Sprint("receipt ", n))
				require.Equal(t, n > 0, purchase.FamilyShared)
				require.Equal(t, purchase.ID, d.submit(t, user.ID, fmt.Sprint("receipt ", n)).ID)
			}
			stranger := d.signUp(t)
			for n := range family {
				_, err := d.SubmitPurchase(t.Context(), stranger.ID, receiptOf(fmt.Sprint("receipt ", n)))
				requirePurchaseTaken(t, err)
			}
			d.requireSubscribed(t, stranger.ID, false)
			for _, user := range family {
				d.requireSubscribed(t, user.ID, true)
				require.Len(t, d.purchases(t, user.ID), 1)
			}
		}},
		{"is told by the account that it was made for", func(t *testing.T, env env) {
			first, s := env.withShop(t)
			for _, policy := range []userkit.PurchasePolicy{userkit.PurchaseRefuse, userkit.PurchaseTransfer} {
				d := first.beside(t, env.store, userkit.WithVerifiers(s), atOnce, userkit.WithPurchasePolicy(policy))
				withRef := func(ref string) func(*userkit.NewUser) { return func(user *userkit.NewUser) { user.ExtRef = ref } }
				name := string(policy)
				user, other := d.signUp(t, withRef("crm/mine/"+name)), d.signUp(t, withRef("crm/theirs/"+name))
				plain := d.signUp(t)
				for n, of := range []struct {
					user  userkit.User
					token string
					taken bool
				}{
					{user, "", true},
					{user, user.ID.String(), true},
					{user, strings.ToUpper(user.ID.String()), true},
					{user, "crm/mine/" + name, true},
					{user, other.ID.String(), false},
					{user, userkit.NewID[userkit.User]().String(), true}, // nobody's
					{user, userkit.UserID{}.String(), true},
					{user, "crm/theirs/" + name, false},
					{user, "crm/nobody's", true},
					{user, "CRM/MINE/" + name, true}, // nobody's, byte by byte
					{plain, "crm/nobody's", true},
					{plain, "", true},
				} {
					t.Logf("%d: %q", n, of.token)
					receipt := fmt.Sprint(name, " receipt ", n)
					facts := d.monthly(receipt)
					facts.AccountToken = of.token
					s.says(receipt, userkit.Valid(facts))
					purchase, err := d.SubmitPurchase(t.Context(), of.user.ID, receiptOf(receipt))
					if of.taken {
						require.NoError(t, err)
						require.True(t, purchase.Active)
						continue
					}
					requireInvalid(t, err, userkit.ReasonAccount)
				}
				d.requireSubscribed(t, other.ID, false)
			}
		}},
		{"goes to the one that the store names, whatever the policy", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			first, second := d.signUp(t), d.signUp(t)
			bought := d.buy(t, s, first.ID, "1000")
			d.clock.Advance(time.Hour)
			renewed := d.monthly("1000")
			renewed.AccountToken, renewed.At = strings.ToUpper(second.ID.String()), d.clock.Now()
			s.says("renewal", userkit.Valid(renewed))
			_, err := d.SubmitPurchase(t.Context(), first.ID, receiptOf("renewal"))
			requireInvalid(t, err, userkit.ReasonAccount)
			purchase := d.submit(t, second.ID, "renewal")
			require.Equal(t, second.ID, purchase.UserID)
			d.requireSubscribed(t, first.ID, false)
			d.requireSubscribed(t, second.ID, true)
			_, err = d.Purchase(t.Context(), bought.ID)
			requireCode(t, err, userkit.ErrNotFound, userkit.CodePurchaseNotFound)
		}},
		{"is told by a UUID in any form", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			const ref = "550e8400-e29b-41d4-a716-446655440000"
			user := d.signUp(t, func(user *userkit.NewUser) { user.ExtRef = ref })
			other := d.signUp(t)
			for n, token := range []string{ref, strings.ToUpper(ref), strings.ReplaceAll(ref, "-", "")} {
				receipt := fmt.Sprint("receipt ", n)
				facts := d.monthly(receipt)
				facts.AccountToken = token
				s.says(receipt, userkit.Valid(facts))
				_, err := d.SubmitPurchase(t.Context(), other.ID, receiptOf(receipt))
				requireInvalid(t, err, userkit.ReasonAccount)
				require.True(t, d.submit(t, user.ID, receipt).Active)
			}
		}},
		{"stays when the extref that it was bought with is another's now", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t, func(user *userkit.NewUser) { user.ExtRef = "customer 7" })
			facts := d.monthly("1000")
			facts.AccountToken, facts.Raw = "customer 7", json.RawMessage(`{"account":"customer 7"}`)
			s.says("1000", userkit.Valid(facts))
			bought := d.submit(t, user.ID, "1000")
			_, err := d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{ExtRef: userkit.Set("customer 8")})
			require.NoError(t, err)
			require.Equal(t, userkit.VerificationReport{Verified: 1}, d.goesOnDue(t, bought.ID))
			d.signUp(t, func(user *userkit.NewUser) { user.ExtRef = "customer 7" })
			require.Equal(t, userkit.VerificationReport{Verified: 1}, d.goesOnDue(t, bought.ID))
			require.True(t, d.submit(t, user.ID, "1000").Active, "who shows it again")
			d.requireSubscribed(t, user.ID, true)
		}},
		{"stays with who has it when only the one whom the store names may have it", func(t *testing.T, env env) {
			keepsForHolder(t, env, userkit.PurchaseRefuse)
		}},
		{"moves to nobody whom the store does not name when only that one may have it", func(t *testing.T, env env) {
			keepsForHolder(t, env, userkit.PurchaseTransfer)
		}},
		{"has one owner when many show it at once", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			e := d.beside(t, env.second(t), userkit.WithVerifiers(s), atOnce)
			var users []userkit.User
			for range 6 {
				users = append(users, d.signUp(t))
			}
			s.says("receipt", userkit.Valid(d.monthly("1000")))
			answers := together(len(users), func(i int) (userkit.Purchase, error) {
				return []*desk{d, e}[i%2].SubmitPurchase(t.Context(), users[i].ID, receiptOf("receipt"))
			})
			got := succeeded(t, answers, userkit.ErrExists, userkit.CodePurchaseTaken)
			require.Len(t, got, 1)
			for _, user := range users {
				d.requireSubscribed(t, user.ID, user.ID == got[0].UserID)
			}
		}},
		{"is no question in a business project, which refuses everything", func(t *testing.T, env env) {
			s := newShop()
			d := env.desk(t, userkit.WithVerifiers(s), atOnce, userkit.WithProjectKind(userkit.ProjectBusiness))
			user := d.signUp(t)
			before := d.picture(t, user.ID)
			s.says("receipt", userkit.Valid(d.monthly("1000")))
			for name, err := range businessCalls(t.Context(), d, user.ID) {
				require.ErrorIs(t, err, userkit.ErrRefused, name)
				require.Equal(t, userkit.CodeBusinessProject, userkit.ErrorCode(err), name)
			}
			require.Equal(t, before, d.picture(t, user.ID))
			require.Zero(t, s.allAsked())
			for _, err := range d.UserRecords(t.Context(), user.ID) {
				require.NoError(t, err)
			}

			// What was bought before the project became one subscribes nobody.
			public := d.beside(t, env.store, userkit.WithVerifiers(s), atOnce)
			s.says("before", userkit.Valid(public.monthly("1001")))
			public.submit(t, user.ID, "before")
			public.requireSubscribed(t, user.ID, true)
			for text, want := range map[string]int64{"subscribed eq true": 0, "subscribed eq false": 1, "not (subscribed eq true)": 1} {
				count, err := d.CountUsers(t.Context(), userkit.UserFilter{Filter: filterOf(text)})
				require.NoError(t, err)
				require.Equal(t, want, count, text)
			}
			require.False(t, userkit.DerivedUserFields()[slices.IndexFunc(userkit.DerivedUserFields(), func(field userkit.DerivedField) bool { return field.Name == "subscribed" })].
				Get(new(d.user(t, user.ID)), d.Project().Moment()).(bool))
		}},
	}
}

func waitingCases() []testCase {
	wait := func(t *testing.T, d *desk, s *shop, user userkit.UserID, token string) userkit.Purchase {
		t.Helper()
		s.closes(time.Time{})
		defer s.opens()
		waiting := d.submit(t, user, token)
		require.False(t, waiting.Active)
		require.Equal(t, userkit.ReasonUndecided, waiting.Reason)
		return waiting
	}
	return []testCase{
		{"keeps the receipt, which becomes the purchase by itself", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			s.closes(time.Time{})
			var waiting userkit.Purchase
			events := d.eventsDuring(t, user.ID, func() {
				var err error
				waiting, err = d.SubmitPurchase(t.Context(), user.ID, userkit.Receipt{Store: shopName, Token: "receipt", ProductID: "pro"})
				require.NoError(t, err)
			})
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseSubmitted}, eventNames(events))
			require.False(t, waiting.Active)
			require.Equal(t, userkit.ReasonUndecided, waiting.Reason)
			require.Equal(t, "pro", waiting.ProductID)
			require.NotEmpty(t, waiting.StableID)
			require.True(t, waiting.VerifiedAt.IsZero())
			between(t, waiting.DueAt, base.Add(45*time.Second), base.Add(time.Minute))
			d.requireSubscribed(t, user.ID, false)

			s.opens()
			s.says("receipt", userkit.Valid(d.monthly("1000")))
			require.Equal(t, userkit.VerificationReport{}, d.verifyDue(t))
			d.clock.Advance(time.Minute)
			events = d.eventsDuring(t, user.ID, func() {
				require.Equal(t, userkit.VerificationReport{Verified: 1}, d.verifyDue(t))
			})
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseActivated}, eventNames(events))
			purchase := d.purchase(t, waiting.ID)
			require.True(t, purchase.Active)
			require.Empty(t, purchase.Reason)
			require.Equal(t, "1000", purchase.StableID)
			require.Equal(t, d.clock.Now(), purchase.VerifiedAt)
			require.Zero(t, purchase.Undecided)
			require.True(t, purchase.Acknowledged)
			d.requireSubscribed(t, user.ID, true)
			require.Equal(t, purchase.ID, d.submit(t, user.ID, "receipt").ID)
			require.Len(t, d.purchases(t, user.ID), 1)
		}},
		{"is submitted again before the store says: one waits, and becomes the purchase", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			first := wait(t, d, s, user.ID, "receipt")
			require.Equal(t, first.ID, wait(t, d, s, user.ID, "receipt").ID)
			require.NotEqual(t, first.ID, wait(t, d, s, user.ID, "another").ID)
			require.Len(t, d.purchases(t, user.ID), 2)
			s.says("receipt", userkit.Valid(d.monthly("1000")))
			purchase := d.submit(t, user.ID, "receipt")
			require.Equal(t, first.ID, purchase.ID)
			require.True(t, purchase.Active)
		}},
		{"ends with the reason when the store says that it is not good", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			waiting := wait(t, d, s, user.ID, "receipt")
			s.says("receipt", userkit.Invalid(userkit.ReasonExpired, userkit.PurchaseFacts{}))
			d.clock.Advance(time.Minute)
			require.Equal(t, userkit.VerificationReport{Ended: 1}, d.verifyDue(t))
			ended := d.purchase(t, waiting.ID)
			require.False(t, ended.Active)
			require.Equal(t, userkit.ReasonExpired, ended.Reason)
			require.True(t, ended.DueAt.IsZero())
		}},
		{"is asked about for two weeks when the store does not know it, and then given up", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			waiting := wait(t, d, s, user.ID, "receipt")
			asked := 0
			for ; !d.purchase(t, waiting.ID).DueAt.IsZero(); asked++ {
				require.Less(t, asked, 200)
				d.goesOnDue(t, waiting.ID)
				require.Equal(t, userkit.ReasonNotFound, d.purchase(t, waiting.ID).Reason)
			}
			between(t, d.clock.Now(), base.Add(14*24*time.Hour), base.Add(14*24*time.Hour+6*time.Hour))
			d.requireSubscribed(t, user.ID, false)
		}},
		{"leaves an active purchase as it is, also for its own receipt", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			d.clock.Advance(time.Hour)
			s.closes(time.Time{})
			again := d.submit(t, user.ID, "1000")
			require.Equal(t, bought.ID, again.ID, "the receipt of a purchase that is known")
			require.True(t, again.Active)
			require.Len(t, d.purchases(t, user.ID), 1)
			waiting := d.submit(t, user.ID, "renewal")
			require.NotEqual(t, bought.ID, waiting.ID)
			require.True(t, d.purchase(t, bought.ID).Active)
			d.requireSubscribed(t, user.ID, true)
		}},
		{"merges with a purchase that is known", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			waiting := wait(t, d, s, user.ID, "renewal")
			d.clock.Advance(time.Hour)
			renewed := d.monthly("1000")
			renewed.TransactionID = "1000-2"
			s.says("renewal", userkit.Valid(renewed))
			require.Equal(t, userkit.VerificationReport{Verified: 1}, d.verifyDue(t))
			_, err := d.Purchase(t.Context(), waiting.ID)
			requireCode(t, err, userkit.ErrNotFound, userkit.CodePurchaseNotFound)
			merged := d.purchase(t, bought.ID)
			require.Equal(t, "1000-2", merged.TransactionID)
			require.Equal(t, renewed.ExpiresAt, merged.ExpiresAt)
			requirePurchases(t, []userkit.Purchase{merged}, d.purchases(t, user.ID))
			d.requireSubscribed(t, user.ID, true)
		}},
		{"merges with a purchase that an administrator took away, which stays away", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user := d.signUp(t)
			bought := d.buy(t, s, user.ID, "1000")
			_, err := d.DeactivatePurchase(t.Context(), bought.ID)
			require.NoError(t, err)
			wait(t, d, s, user.ID, "renewal")
			d.clock.Advance(time.Hour)
			s.says("renewal", userkit.Valid(d.monthly("1000")))
			d.verifyDue(t)
			purchases := d.purchases(t, user.ID)
			require.Len(t, purchases, 1)
			require.Equal(t, bought.ID, purchases[0].ID)
			require.Equal(t, userkit.ReasonDeactivated, purchases[0].Reason)
			d.requireSubscribed(t, user.ID, false)
		}},
		{"turns out to be the purchase of another, and stays without effect", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			owner, user := d.signUp(t), d.signUp(t)
			d.buy(t, s, owner.ID, "1000")
			waiting := wait(t, d, s, user.ID, "renewal")
			d.clock.Advance(time.Hour)
			s.says("renewal", userkit.Valid(d.monthly("1000")))
			before := d.picture(t, owner.ID)
			d.verifyDue(t)
			taken := d.purchase(t, waiting.ID)
			require.False(t, taken.Active)
			require.Equal(t, userkit.ReasonTaken, taken.Reason)
			require.True(t, taken.DueAt.IsZero())
			require.Equal(t, before, d.picture(t, owner.ID))
			d.requireSubscribed(t, user.ID, false)
			d.clock.Advance(month)
			before = d.picture(t, user.ID)
			_, err := d.SubmitPurchase(t.Context(), user.ID, receiptOf("renewal"))
			requirePurchaseTaken(t, err)
			require.Equal(t, before, d.picture(t, user.ID))
		}},
		{"of two users who show one receipt is for the first", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			first, second := d.signUp(t), d.signUp(t)
			wait(t, d, s, first.ID, "receipt")
			s.closes(time.Time{})
			_, err := d.SubmitPurchase(t.Context(), second.ID, receiptOf("receipt"))
			requirePurchaseTaken(t, err)
			s.opens()
			s.says("receipt", userkit.Valid(d.monthly("1000")))
			d.clock.Advance(time.Minute)
			d.verifyDue(t)
			d.requireSubscribed(t, first.ID, true)
			require.Empty(t, d.purchases(t, second.ID))
		}},
		{"refuses by the account, or for the sandbox, when the store says so later", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user, other := d.signUp(t), d.signUp(t)
			theirs, unpaid := wait(t, d, s, user.ID, "theirs"), wait(t, d, s, user.ID, "unpaid")
			d.clock.Advance(time.Minute)
			facts := d.monthly("1000")
			facts.AccountToken = other.ID.String()
			s.says("theirs", userkit.Valid(facts))
			facts = d.monthly("2000")
			facts.Environment = userkit.Sandbox
			s.says("unpaid", userkit.Valid(facts))
			require.Equal(t, userkit.VerificationReport{Ended: 2}, d.verifyDue(t))
			require.Equal(t, userkit.ReasonAccount, d.purchase(t, theirs.ID).Reason)
			require.Equal(t, userkit.ReasonEnvironment, d.purchase(t, unpaid.ID).Reason)
			d.requireSubscribed(t, user.ID, false)

			// It is still the other's to show.
			s.says("theirs", userkit.Valid(func() userkit.PurchaseFacts {
				facts := d.monthly("1000")
				facts.AccountToken = other.ID.String()
				return facts
			}()))
			require.True(t, d.submit(t, other.ID, "theirs").Active)
		}},
	}
}

// cutTogether is a store whose changes of several users fail.
type cutTogether struct {
	userkit.Store
	happens bool // they are made, and the answer is lost
}

func (c *cutTogether) CommitTogether(ctx context.Context, changes []userkit.Change) error {
	if c.happens {
		if err := c.Store.CommitTogether(ctx, changes); err != nil {
			return err
		}
	}
	return errCut()
}

func transferCases() []testCase {
	transfer := userkit.WithPurchasePolicy(userkit.PurchaseTransfer)
	return []testCase{
		{"gives the purchase to the user who shows it, and takes it from the one who had it", func(t *testing.T, env env) {
			d, s := env.withShop(t, transfer)
			old, next, other := d.signUp(t), d.signUp(t), d.signUp(t)
			bought, kept := d.buy(t, s, old.ID, "1000"), d.buy(t, s, old.ID, "2000")
			beside := d.picture(t, other.ID)
			d.clock.Advance(time.Minute)
			var moved userkit.Purchase
			var lost []userkit.Event
			given := d.eventsDuring(t, next.ID, func() {
				lost = d.eventsDuring(t, old.ID, func() { moved = d.submit(t, next.ID, "1000") })
			})
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseSubmitted}, eventNames(given))
			require.Equal(t, []userkit.EventName{userkit.EventPurchaseTransferred}, eventNames(lost))
			require.Contains(t, string(lost[0].Data), next.ID.String())
			require.Contains(t, string(lost[0].Data), bought.ID.String())
			require.Equal(t, next.ID, moved.UserID)
			require.Equal(t, "1000", moved.StableID)
			require.True(t, moved.Active)
			_, err := d.Purchase(t.Context(), bought.ID)
			requireCode(t, err, userkit.ErrNotFound, userkit.CodePurchaseNotFound)
			requirePurchases(t, []userkit.Purchase{kept}, d.purchases(t, old.ID))
			requirePurchases(t, []userkit.Purchase{moved}, d.purchases(t, next.ID))
			d.requireSubscribed(t, next.ID, true)
			d.requireSubscribed(t, old.ID, true)
			require.Equal(t, 1, d.user(t, old.ID).ActivePurchases)
			require.Equal(t, beside, d.picture(t, other.ID))

			back := d.submit(t, old.ID, "1000")
			require.Equal(t, old.ID, back.UserID)
			d.requireSubscribed(t, next.ID, false)
			require.Equal(t, 2, d.user(t, old.ID).ActivePurchases)
		}},
		{"leaves all else of both users as it is", func(t *testing.T, env env) {
			d, s := env.withShop(t, transfer)
			users := []userkit.User{d.household(t), d.household(t)}
			d.buy(t, s, users[0].ID, "1000")
			for n := range 6 {
				var before [2]picture
				for i, user := range users {
					d.refill(t, user.ID, 5, fmt.Sprint("before ", n)) // so that the manager remembers the accounts
					before[i] = d.picture(t, user.ID)
				}
				d.submit(t, users[1-n%2].ID, "1000")
				for i, user := range users {
					after := d.picture(t, user.ID)
					require.Equal(t, before[i].Devices, after.Devices)
					require.Equal(t, before[i].Sessions, after.Sessions)
					require.Equal(t, before[i].Transactions, after.Transactions)
					require.Equal(t, before[i].Usage, after.Usage)
					require.Equal(t, before[i].User.Balance, after.User.Balance)
					d.refill(t, user.ID, 7, fmt.Sprint("after ", n))
					d.requireLedger(t, user.ID)
					d.requireSubscribed(t, user.ID, i == 1-n%2)
				}
			}
		}},
		{"changes both users or none", func(t *testing.T, env env) {
			d, s := env.withShop(t, transfer)
			cut := &cutTogether{Store: env.store}
			broken := d.beside(t, cut, userkit.WithVerifiers(s), atOnce, transfer)
			old, next := d.signUp(t), d.signUp(t)
			d.buy(t, s, old.ID, "1000")
			before, beside := d.picture(t, old.ID), d.picture(t, next.ID)
			_, err := broken.SubmitPurchase(t.Context(), next.ID, receiptOf("1000"))
			requireCode(t, err, userkit.ErrUnavailable, userkit.CodeStoreUnavailable)
			require.Equal(t, before, d.picture(t, old.ID))
			require.Equal(t, beside, d.picture(t, next.ID))

			// Where the answer is lost, the manager finds out by itself.
			cut.happens = true
			purchase, err := broken.SubmitPurchase(t.Context(), next.ID, receiptOf("1000"))
			require.NoError(t, err)
			d.requireSubscribed(t, next.ID, true)
			d.requireSubscribed(t, old.ID, false)
			requirePurchases(t, []userkit.Purchase{purchase}, d.purchases(t, next.ID))
		}},
		{"ends with one owner when many show it at once", func(t *testing.T, env env) {
			d, s := env.withShop(t, transfer)
			e := d.beside(t, env.second(t), userkit.WithVerifiers(s), atOnce, transfer)
			users := []userkit.User{d.signUp(t)}
			d.buy(t, s, users[0].ID, "1000")
			for range 5 {
				users = append(users, d.signUp(t))
			}
			for range 5 {
				values(t, together(len(users), func(i int) (userkit.Purchase, error) {
					return []*desk{d, e}[i%2].SubmitPurchase(t.Context(), users[i].ID, receiptOf("1000"))
				}))
				found, err := env.store.FindPurchases(t.Context(), shopName, "1000")
				require.NoError(t, err)
				require.Len(t, found, 1)
				for _, user := range users {
					d.requireSubscribed(t, user.ID, user.ID == found[0].UserID)
				}
			}
		}},
		{"of two purchases in opposite directions ends with one owner of each", func(t *testing.T, env env) {
			d, s := env.withShop(t, transfer)
			a, b := d.signUp(t), d.signUp(t)
			d.buy(t, s, a.ID, "1000")
			d.buy(t, s, b.ID, "2000")
			values(t, together(2, func(i int) (userkit.Purchase, error) {
				return d.SubmitPurchase(t.Context(), []userkit.UserID{b.ID, a.ID}[i], receiptOf([]string{"1000", "2000"}[i]))
			}))
			require.Equal(t, "2000", d.purchases(t, a.ID)[0].StableID)
			require.Equal(t, "1000", d.purchases(t, b.ID)[0].StableID)
			d.requireSubscribed(t, a.ID, true)
			d.requireSubscribed(t, b.ID, true)
		}},
		{"happens only when the store says that the purchase is good", func(t *testing.T, env env) {
			d, s := env.withShop(t, transfer)
			old, next := d.signUp(t), d.signUp(t)
			d.buy(t, s, old.ID, "1000")
			before := d.picture(t, old.ID)
			s.says("1000", userkit.Invalid(userkit.ReasonExpired, d.monthly("1000")))
			_, err := d.SubmitPurchase(t.Context(), next.ID, receiptOf("1000"))
			requireInvalid(t, err, userkit.ReasonExpired)
			facts := d.monthly("1000")
			facts.AccountToken = old.ID.String()
			s.says("1000", userkit.Valid(facts))
			_, err = d.SubmitPurchase(t.Context(), next.ID, receiptOf("1000"))
			requireInvalid(t, err, userkit.ReasonAccount)
			require.Empty(t, d.purchases(t, next.ID))
			require.Equal(t, before, d.picture(t, old.ID))
		}},
		{"does not bring back what an administrator took away", func(t *testing.T, env env) {
			d, s := env.withShop(t, transfer)
			old, next := d.signUp(t), d.signUp(t)
			bought := d.buy(t, s, old.ID, "1000")
			_, err := d.DeactivatePurchase(t.Context(), bought.ID)
			require.NoError(t, err)
			before := d.picture(t, old.ID)
			_, err = d.SubmitPurchase(t.Context(), next.ID, receiptOf("1000"))
			requireCode(t, err, userkit.ErrRefused, userkit.CodePurchaseDeactivated)
			require.Equal(t, before, d.picture(t, old.ID))
			require.Empty(t, d.purchases(t, next.ID))
		}},
		{"takes nothing from those with whom the owner shares it", func(t *testing.T, env env) {
			d, s := env.withShop(t, transfer)
			child, owner, next := d.signUp(t), d.signUp(t), d.signUp(t)
			shared := d.monthly("1001")
			shared.FamilyShared = true
			s.says("shared", userkit.Valid(shared))
			d.submit(t, child.ID, "shared")
			d.buy(t, s, owner.ID, "1000")
			require.Equal(t, next.ID, d.submit(t, next.ID, "1000").UserID)
			d.requireSubscribed(t, child.ID, true)
			d.requireSubscribed(t, next.ID, true)
			d.requireSubscribed(t, owner.ID, false)
			// What is shared moves as what was bought does.
			require.Equal(t, owner.ID, d.submit(t, owner.ID, "shared").UserID)
			d.requireSubscribed(t, child.ID, false)
		}},
		{"does not move a receipt that waits", func(t *testing.T, env env) {
			d, s := env.withShop(t, transfer)
			first, second := d.signUp(t), d.signUp(t)
			s.closes(time.Time{})
			waiting := d.submit(t, first.ID, "receipt")
			_, err := d.SubmitPurchase(t.Context(), second.ID, receiptOf("receipt"))
			requirePurchaseTaken(t, err)
			requirePurchases(t, []userkit.Purchase{waiting}, d.purchases(t, first.ID))
			require.Empty(t, d.purchases(t, second.ID))
			s.opens()
			s.says("receipt", userkit.Valid(d.monthly("1000")))
			d.submit(t, second.ID, "receipt")
			d.clock.Advance(time.Minute)
			d.verifyDue(t)
			d.requireSubscribed(t, first.ID, false)
			d.requireSubscribed(t, second.ID, true)
		}},
		{"moves what had waited, and was found to be another's, when it is shown again", func(t *testing.T, env env) {
			d, s := env.withShop(t, transfer)
			old, next := d.signUp(t), d.signUp(t)
			d.buy(t, s, old.ID, "1000")
			s.closes(time.Time{})
			waiting := d.submit(t, next.ID, "renewal")
			s.opens()
			s.says("renewal", userkit.Valid(d.monthly("1000")))
			d.clock.Advance(time.Minute)
			d.verifyDue(t)
			require.Equal(t, userkit.ReasonTaken, d.purchase(t, waiting.ID).Reason)
			d.requireSubscribed(t, old.ID, true)
			moved := d.submit(t, next.ID, "renewal")
			require.True(t, moved.Active)
			requirePurchases(t, []userkit.Purchase{moved}, d.purchases(t, next.ID))
			require.Empty(t, d.purchases(t, old.ID))
			d.requireSubscribed(t, next.ID, true)
			d.requireSubscribed(t, old.ID, false)
		}},
		{"moves a renewal that the new owner shows first", func(t *testing.T, env env) {
			d, s := env.withShop(t, transfer)
			old, next := d.signUp(t), d.signUp(t)
			d.buy(t, s, old.ID, "1000")
			d.clock.Advance(month)
			renewed := d.monthly("1000")
			renewed.TransactionID = "1000-2"
			s.says("renewal", userkit.Valid(renewed))
			moved := d.submit(t, next.ID, "renewal")
			require.Equal(t, "1000-2", moved.TransactionID)
			require.Equal(t, renewed.ExpiresAt.Add(24*time.Hour), d.user(t, next.ID).PurchasesEndAt)
			require.True(t, d.user(t, old.ID).PurchasesEndAt.IsZero())
		}},
	}
}

func purchaseListCases() []testCase {
	return []testCase{
		{"are listed, the newest first, by any field, page by page", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			first, second := d.signUp(t), d.signUp(t)
			var all []userkit.Purchase
			for n := range 7 {
				user := []userkit.User{first, second}[n%2]
				all = append(all, d.buy(t, s, user.ID, fmt.Sprint(1000+n*7%5, n)))
				d.clock.Advance(time.Hour)
			}
			s.says(all[3].Token, userkit.Invalid(userkit.ReasonRevoked, userkit.PurchaseFacts{}))
			_, err := d.ActivatePurchase(t.Context(), all[3].ID)
			requireInvalid(t, err, userkit.ReasonRevoked)
			all[3] = d.purchase(t, all[3].ID)
			read := func(query userkit.PurchaseQuery) []userkit.Purchase {
				return everyItem(t, query.PageQuery, func(page userkit.PageQuery) (userkit.Page[userkit.Purchase], error) {
					query.PageQuery = page
					return d.Purchases(t.Context(), query)
				})
			}
			newest := slices.Clone(all)
			slices.Reverse(newest)
			requirePurchaseList(t, newest, read(userkit.PurchaseQuery{PageQuery: userkit.PageQuery{Limit: 2}}))
			for _, field := range userkit.PurchaseFields() {
				query := userkit.PurchaseQuery{PageQuery: userkit.PageQuery{Sort: field.Name, Limit: 3}}
				requirePurchaseList(t, ordered(all, field, false, purchaseRecordID), read(query))
			}
			for _, filter := range []userkit.PurchaseFilter{
				{UserID: first.ID}, {Store: shopName}, {Store: "none"}, {OnlyActive: true}, {UserID: second.ID, OnlyActive: true},
			} {
				requirePurchaseList(t, belonging(newest, takesPurchase(filter)), read(userkit.PurchaseQuery{PurchaseFilter: filter}))
			}
			_, err = d.Purchases(t.Context(), userkit.PurchaseQuery{PageQuery: userkit.PageQuery{Sort: "token"}})
			requireCode(t, err, userkit.ErrInvalid, userkit.CodeUnknownField)
			_, err = d.Purchase(t.Context(), userkit.NewID[userkit.Purchase]())
			requireCode(t, err, userkit.ErrNotFound, userkit.CodePurchaseNotFound)
		}},
		{"of a user are among its records and go with it", func(t *testing.T, env env) {
			d, s := env.withShop(t)
			user, other := d.signUp(t), d.signUp(t)
			var want []userkit.Purchase
			for n := range 3 {
				want = append(want, d.buy(t, s, user.ID, fmt.Sprint("mine ", n)))
				d.buy(t, s, other.ID, fmt.Sprint("theirs ", n))
				d.clock.Advance(time.Minute)
			}
			beside := d.picture(t, other.ID)
			var got []userkit.Purchase
			for record, err := range d.UserRecords(t.Context(), user.ID) {
				require.NoError(t, err)
				if record.Kind == userkit.RowsPurchases {
					got = append(got, record.Value.(userkit.Purchase))
				}
			}
			requirePurchaseList(t, want, got)
			receipt, err := d.DeleteUser(t.Context(), user.ID, user.ID.String())
			require.NoError(t, err)
			require.Equal(t, 3, receipt.Rows[userkit.RowsPurchases])
			for _, purchase := range want {
				_, err := d.Purchase(t.Context(), purchase.ID)
				requireCode(t, err, userkit.ErrNotFound, userkit.CodePurchaseNotFound)
			}
			require.Equal(t, beside, d.picture(t, other.ID))
			asked := s.allAsked()
			d.clock.Advance(25 * time.Hour)
			require.Equal(t, userkit.VerificationReport{Verified: 3}, d.verifyDue(t))
			require.Equal(t, asked+3, s.allAsked())
		}},
	}
}
