//go:build !race

package postgres_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// verifiedAt is when the processes verify, by their clocks. All purchases of stock
// are due by then.
var verifiedAt = dueFrom.AddDate(0, 0, 1)

// grace is the default of WithPurchaseGrace.
const grace = 24 * time.Hour

func init() { tasks["verify"] = order.verify }

// verify verifies until nothing is left to it, and returns what it did.
func (o order) verify() (any, error) {
	ctx := context.Background()
	store, err := postgres.Open(ctx, o.DSN, postgres.WithPoolSize(8))
	if err != nil {
		return nil, err
	}
	defer store.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	manager, err := userkit.New(store, userkit.WithVerificationRate(10_000), userkit.WithVerifiers(&customer{o, client}),
		userkit.WithClock(func() time.Time { return o.Now }))
	if err != nil {
		return nil, err
	}
	defer manager.Close(context.Background())
	var total userkit.VerificationReport
	for {
		report, err := manager.VerifyDuePurchases(ctx)
		if err != nil || report == (userkit.VerificationReport{}) {
			return total, err
		}
		total.Verified += report.Verified
		total.Ended += report.Ended
		total.Undecided += report.Undecided
	}
}

// customer is the verifier of a process. It asks the shop, and for once waits longer
// than it is given: how long an answer is held back must decide nothing.
type customer struct {
	order  order
	client *http.Client
}

func (c *customer) Store() string { return "apple" }

func (c *customer) Verify(_ context.Context, receipt userkit.Receipt) userkit.Verdict {
	answer, err := c.client.PostForm(c.order.Server, url.Values{"process": {c.order.Process}, "token": {receipt.Token}})
	if err != nil {
		return userkit.Undecided(err, time.Time{})
	}
	_, err = io.Copy(io.Discard, answer.Body) // so that the connection is used again
	_ = answer.Body.Close()
	if err != nil || answer.StatusCode != http.StatusOK {
		return userkit.Undecided(fmt.Errorf("%s, %w", answer.Status, err), time.Time{})
	}
	return userkit.Valid(renewed(receipt.Token))
}

// renewed is what the shop says of a purchase.
func renewed(token string) userkit.PurchaseFacts {
	return userkit.PurchaseFacts{
		StableID: token, TransactionID: "renewed " + token, ProductID: "pro",
		PurchasedAt: verifiedAt, ExpiresAt: verifiedAt.AddDate(0, 1, 0),
	}
}

// shop is the store that all processes ask, a server of the test.
type shop struct {
	address string

	// hold gives what a process's question waits for, the nth of the process,
	// before it is answered.
	hold func(process string, nth int) <-chan struct{}

	mu    sync.Mutex
	asked map[string][]string // the tokens, by the process
}

// openShop opens a shop that closes with the test.
func openShop(t *testing.T, hold func(process string, nth int) <-chan struct{}) *shop {
	t.Helper()
	s := &shop{hold: hold, asked: map[string][]string{}}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		process, token := request.PostFormValue("process"), request.PostFormValue("token")
		s.mu.Lock()
		s.asked[process] = append(s.asked[process], token)
		nth := len(s.asked[process])
		s.mu.Unlock()
		select {
		case <-s.hold(process, nth):
		case <-request.Context().Done(): // the process has ended
		}
	}))
	t.Cleanup(server.Close)
	s.address = server.URL
	return s
}

// questions returns the tokens that a process has asked about.
func (s *shop) questions(process string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked[process])
}

// times counts how often the processes have asked about each token.
func (s *shop) times() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	times := map[string]int{}
	for _, tokens := range s.asked {
		for _, token := range tokens {
			times[token]++
		}
	}
	return times
}

// stock fills a store with users who have one purchase each. All are due; the n-th
// has the token and the stable id n.
func stock(t *testing.T, dsn string, count int) {
	t.Helper()
	store, err := postgres.Open(t.Context(), dsn)
	require.NoError(t, err)
	defer store.Close()
	for from := 0; from < count; from += 500 {
		var changes []userkit.Change
		for n := from; n < min(from+500, count); n++ {
			user := userkit.User{ID: userkit.NewID[userkit.User](), Login: fmt.Sprint("login", n), Status: userkit.StatusActive, Kind: userkit.UserIndividual}
			purchase := newPurchase(user.ID, n)
			purchase.Token = purchase.StableID
			user.RegisteredAt, user.UpdatedAt = purchase.CreatedAt, purchase.CreatedAt
			user.Account = userkit.Account{
				Version: 1, Balance: userkit.Money{Currency: "EUR"}, ActivePurchases: 1, PurchasesEndAt: purchase.EndsAt(grace),
			}
			change := userkit.Change{User: user.ID, Profile: &user, Account: user.Account}
			change.Purchases.Insert = []userkit.Purchase{purchase}
			changes = append(changes, change)
		}
		outcomes, err := store.Commit(t.Context(), changes)
		require.NoError(t, err)
		for _, outcome := range outcomes {
			require.NoError(t, outcome)
		}
	}
}

// purchasesOf lists the purchases of a store, by their tokens.
func purchasesOf(t *testing.T, store userkit.Store, count int) map[string]userkit.Purchase {
	t.Helper()
	listed, err := store.Purchases(t.Context(), userkit.PurchaseFilter{}, userkit.ListRange{Order: userkit.Order{Field: "purchased_at"}, Limit: count + 1})
	require.NoError(t, err)
	purchases := map[string]userkit.Purchase{}
	for _, purchase := range listed {
		purchases[purchase.Token] = purchase
	}
	require.Len(t, listed, count)
	require.Len(t, purchases, count)
	return purchases
}

// requireVerified demands that every purchase was verified, by one change of its user,
// and that none is due. at gives when those were verified that were not at verifiedAt.
func requireVerified(t *testing.T, store userkit.Store, count int, at map[string]time.Time) {
	t.Helper()
	purchases := purchasesOf(t, store, count)
	byUser := map[userkit.UserID]userkit.Purchase{}
	for n := range count {
		token := strconv.Itoa(n)
		purchase, facts := purchases[token], renewed(token)
		now, late := at[token]
		if !late {
			now = verifiedAt
		}
		byUser[purchase.UserID] = purchase
		// Without require, whose many calls take longer than all the rest.
		if !purchase.Active || purchase.Reason != "" || purchase.TransactionID != facts.TransactionID || !purchase.ExpiresAt.Equal(facts.ExpiresAt) ||
			!purchase.VerifiedAt.Equal(now) || !purchase.LeasedUntil.IsZero() || !purchase.DueAt.After(now.Add(time.Hour)) {
			t.Fatalf("the purchase %s was not verified at %s: %+v", token, now, purchase)
		}
	}
	users, err := store.Users(t.Context(), userkit.UserSelection{Moment: userkit.Moment{At: verifiedAt}},
		userkit.ListRange{Order: userkit.Order{Field: "registered_at"}, Limit: count + 1})
	require.NoError(t, err)
	require.Len(t, users, count)
	for _, user := range users {
		purchase, has := byUser[user.ID]
		if !has || user.ActivePurchases != 1 || !user.PurchasesEndAt.Equal(purchase.EndsAt(grace)) || user.Version != 2 {
			t.Fatalf("the account does not tell its one active purchase after one change: %+v", user)
		}
	}
	leased, err := store.LeasePurchases(t.Context(), []string{"apple"}, verifiedAt.Add(time.Hour), verifiedAt.Add(2*time.Hour), 1)
	require.NoError(t, err)
	require.Empty(t, leased)
}

// Two processes share the purchases that are due, many times as many as one leases at once:
// the store is asked about each of them once, and both take part.
func TestTwoProcessesVerifyEveryDuePurchaseOnce(t *testing.T) {
	const count = 2_000
	dsn := migrated.Create(t)
	stock(t, dsn, count)
	// The first of each waits for the other, or one might do all before the other
	// has started.
	together := newMeeting(2)
	shop := openShop(t, func(_ string, nth int) <-chan struct{} {
		if nth == 1 {
			together.arrive()
		}
		return together.all
	})
	one := start(t, order{Task: "verify", Process: "one", DSN: dsn, Server: shop.address, Now: verifiedAt})
	two := start(t, order{Task: "verify", Process: "two", DSN: dsn, Server: shop.address, Now: verifiedAt})
	await(t, nil, one, two)

	times := shop.times()
	require.Len(t, times, count)
	for token, times := range times {
		if times != 1 {
			t.Fatalf("the store was asked %d times about %s", times, token)
		}
	}
	require.NotZero(t, one.report.Verified)
	require.NotZero(t, two.report.Verified)
	require.Equal(t, userkit.VerificationReport{Verified: len(shop.questions("one"))}, one.report)
	require.Equal(t, userkit.VerificationReport{Verified: len(shop.questions("two"))}, two.report)
	require.Equal(t, count, one.report.Verified+two.report.Verified)
	requireVerified(t, openStore(t, dsn), count, nil)
}

// Of two processes one is killed half-way. The other finishes without what the killed
// one has leased; that is verified once its lease is over, and nothing else is again.
func TestAfterTheLeaseTheWorkOfAKilledProcessIsDone(t *testing.T) {
	const (
		count   = 2000
		half    = 500 // of the share of each
		workers = 8   // in a process at once
	)
	dsn := migrated.Create(t)
	stock(t, dsn, count)
	together := newMeeting(3) // with this test, which knows whom to kill then
	killed, never := make(chan struct{}), make(chan struct{})
	var victim *process
	shop := openShop(t, func(process string, nth int) <-chan struct{} {
		if nth == 1 && process != "heir" {
			together.arrive()
		}
		if nth < half || process == "heir" {
			return together.all
		}
		if process == "survivor" {
			return killed // or nothing might be left for the victim
		}
		if nth == half {
			if err := victim.cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			close(killed)
		}
		return never
	})
	victim = start(t, order{Task: "verify", Process: "victim", DSN: dsn, Server: shop.address, Now: verifiedAt})
	survivor := start(t, order{Task: "verify", Process: "survivor", DSN: dsn, Server: shop.address, Now: verifiedAt})
	together.arrive()
	await(t, victim, victim, survivor)
	select {
	case <-killed:
		require.Error(t, victim.err)
	default:
		t.Fatal("the victim ended before it was killed: ", victim.err)
	}
	awaitDisconnected(t, dsn)

	// Everything is verified or still the victim's.
	store := openStore(t, dsn)
	late := map[string]time.Time{}
	past := verifiedAt.Add(3 * time.Minute) // the lease is two minutes
	for token, purchase := range purchasesOf(t, store, count) {
		switch {
		case purchase.VerifiedAt.Equal(verifiedAt) && purchase.LeasedUntil.IsZero() && purchase.DueAt.After(verifiedAt):
		case purchase.VerifiedAt.Before(verifiedAt) && purchase.LeasedUntil.After(verifiedAt) && purchase.LeasedUntil.Before(past):
			late[token] = past
		default:
			t.Fatalf("neither verified nor leased: %+v", purchase)
		}
	}
	require.NotEmpty(t, late, "the last question of the victim was not answered")
	require.Equal(t, userkit.VerificationReport{Verified: len(shop.questions("survivor"))}, survivor.report)
	leased, err := store.LeasePurchases(t.Context(), []string{"apple"}, verifiedAt, past, count)
	require.NoError(t, err)
	require.Empty(t, leased, "before the lease is over, its work is nobody else's")

	heir := start(t, order{Task: "verify", Process: "heir", DSN: dsn, Server: shop.address, Now: past})
	await(t, nil, heir)
	require.Equal(t, userkit.VerificationReport{Verified: len(late)}, heir.report)
	require.ElementsMatch(t, slices.Collect(maps.Keys(late)), shop.questions("heir"))
	requireVerified(t, store, count, late)

	// Only what the victim had in work when it was killed was asked about twice.
	times := shop.times()
	require.Len(t, times, count)
	twice := 0
	for token, times := range times {
		if times == 1 {
			continue
		}
		twice++
		require.Equal(t, 2, times, token)
		require.Contains(t, shop.questions("victim"), token)
		require.Contains(t, late, token)
	}
	require.LessOrEqual(t, twice, workers)
}

// awaitDisconnected waits until the server has noticed that all processes are gone,
// and has ended what a killed one had it do.
func awaitDisconnected(t *testing.T, dsn string) {
	t.Helper()
	db := openDB(t, dsn)
	defer db.Close()
	db.SetMaxOpenConns(1) // else it would wait for itself
	require.Eventually(t, func() bool {
		var others int
		err := db.DB.QueryRow(`SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`).Scan(&others)
		return err == nil && others == 0
	}, time.Minute, time.Millisecond)
}
