package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func storePurchaseGroups() []group {
	return []group{
		{"Purchase", []testCase{
			{"gives a purchase with every field", purchaseEveryField},
			{"does not find an unknown purchase", purchaseUnknown},
		}},
		{"FindPurchases", []testCase{
			{"finds the purchases of a stable id in their store, byte by byte", findPurchases},
			{"follows changes", findPurchasesAfterChange},
		}},
		{"Purchases", []testCase{
			{"of an empty store is empty", purchasesEmpty},
			{"sorts by every field, both ways", purchasesOrder},
			{"pages by every field, both ways", purchasesPages},
			{"follows changes of every field", purchasesOrderAfterChange},
			{"takes the purchases that every part of the filter takes", purchasesFilters},
		}},
		{"Commit of purchases", []testCase{
			{"keeps stable ids unique with their store", stableIDsUnique},
			{"keeps stable ids unique, also when a family shares", stableIDsOfFamily},
			{"frees a stable id with its purchase, its change and its user", stableIDsFreed},
			{"lets a purchase keep its stable id", stableIDsKept},
			{"leaves purchases alone that are not the user's, or not there", purchasesOfOthers},
			{"lets exactly one of several callers have a stable id", stableIDsRace},
		}},
		{"CommitTogether", []testCase{
			{"of no changes is done", togetherNothing},
			{"makes everything of every change", togetherEverything},
			{"makes none when a version is another, on either side", togetherConflict},
			{"makes none when a user is gone or exists, on either side", togetherMissing},
			{"makes none when a value is taken, on either side", togetherTaken},
			{"makes none when two of the changes want one value", togetherWantedByTwo},
			{"moves a stable id from one user to another, in either order", togetherMoves},
			{"moves stable ids around a circle of users", togetherCircle},
			{"deletes a user and gives what it had to another", togetherDeletes},
			{"writes the events of every change into the feed", togetherFeed},
			{"that is cut short has made all or none", togetherCutShort},
			{"lets exactly one of several callers move a purchase", togetherRace},
			{"never stops on changes of the same users in opposite orders", togetherOppositeOrders},
		}},
		{"LeasePurchases", []testCase{
			{"gives purchases that are due, in the order of their times", leaseDue},
			{"gives at most as many as asked for, the longest due first", leaseLimit},
			{"gives nothing twice until the lease is over", leaseOver},
			{"changes nothing but the lease, and raises no version", leaseChangesNothingElse},
			{"leaves other stores out", leaseApart},
			{"follows changes", leaseAfterChange},
			{"gives nothing twice to many callers at once", leaseRace},
			{"passes over what others have in work, when that is much", leaseMany},
		}},
	}
}

func purchaseEveryField(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	for _, want := range slices.Concat(d.purchases, other.purchases) {
		purchase, err := env.store.Purchase(t.Context(), want.ID)
		require.NoError(t, err)
		requirePurchases(t, []userkit.Purchase{want}, []userkit.Purchase{purchase})
	}
}

func purchaseUnknown(t *testing.T, env env) {
	_, err := env.store.Purchase(t.Context(), purchaseID(1))
	requireCode(t, err, userkit.ErrNotFound, userkit.CodePurchaseNotFound)
	createAll(t, env.store, newDossier(1))
	for _, id := range []userkit.PurchaseID{purchaseID(1), {}, userkit.PurchaseID(userID(1)), userkit.PurchaseID(sessionID(2))} {
		_, err := env.store.Purchase(t.Context(), id)
		requireCode(t, err, userkit.ErrNotFound, userkit.CodePurchaseNotFound)
	}
}

// requirePurchasesOf demands the purchases with a stable id, in whatever order.
func requirePurchasesOf(t *testing.T, store userkit.Store, name, stableID string, want ...userkit.Purchase) {
	t.Helper()
	got, err := store.FindPurchases(t.Context(), name, stableID)
	require.NoError(t, err)
	requirePurchases(t, want, got)
}

func findPurchases(t *testing.T, env env) {
	d := dossier{user: newUser(1)}
	for n, name := range [][2]string{
		{"apple", "1000"}, {"google", "1000"}, {"apple", "1000 "}, {"apple", "ABC"}, {"apple", "abc"}, {"apple", "äbc"}, {"apple", "%"}, {"apple", "_"},
	} {
		purchase := newOwnPurchase(d.user.ID, n)
		purchase.Store, purchase.StableID = name[0], name[1]
		d.purchases = append(d.purchases, purchase)
	}
	createAll(t, env.store, d, newDossier(100))
	for _, purchase := range d.purchases {
		requirePurchasesOf(t, env.store, purchase.Store, purchase.StableID, purchase)
	}
	for _, name := range [][2]string{{"apple", "100"}, {"stripe", "1000"}, {"google", "abc"}, {"APPLE", "1000"}, {"", ""}, {"apple", ""}, {"", "1000"}} {
		requirePurchasesOf(t, env.store, name[0], name[1])
	}
}

func findPurchasesAfterChange(t *testing.T, env env) {
	d := newDossier(1)
	createAll(t, env.store, d, newDossier(2))
	before := d.purchases[1]
	change := step(&d.user)
	d.purchases[1].StableID = "renamed"
	change.Purchases.Update = d.purchases[1:]
	commit(t, env.store, change)
	requirePurchasesOf(t, env.store, before.Store, before.StableID)
	requirePurchasesOf(t, env.store, before.Store, "renamed", d.purchases[1])

	change = step(&d.user)
	d.purchases[1].Store = "other"
	change.Purchases.Update = d.purchases[1:]
	commit(t, env.store, change)
	requirePurchasesOf(t, env.store, before.Store, "renamed")
	requirePurchasesOf(t, env.store, "other", "renamed", d.purchases[1])

	change = step(&d.user)
	change.Purchases.Delete = []userkit.PurchaseID{before.ID}
	commit(t, env.store, change)
	requirePurchasesOf(t, env.store, "other", "renamed")
	d.purchases = d.purchases[:1]
	requireDossier(t, env.store, d)
}

// hardPurchase makes a purchase for lists: with fields that are hard to sort,
// many of them equal. variant gives the same purchase other values.
func hardPurchase(owner userkit.UserID, n, variant int) userkit.Purchase {
	v := n + 5*variant
	times := []time.Time{{}, at(0), at(1), at(-1), at(0), time.Unix(0, 0).UTC(), base.Add(time.Microsecond), at(40_000_000)}
	purchase := newPurchase(owner, n)
	purchase.Store = pick([]string{"apple", "google", "apple", "a", "stripe", "apple2"}, v, 1)
	purchase.StableID = hardCodes[1+v%2] + pick(hardCodes, v, 3) + fmt.Sprint(n)
	purchase.TransactionID = pick(hardCodes, v, 5)
	purchase.ProductID = pick(hardCodes, v, 7)
	purchase.Environment = pick([]userkit.Environment{userkit.Production, userkit.Sandbox, ""}, v, 1)
	purchase.PurchasedAt, purchase.ExpiresAt = pick(times, v, 3), pick(times, v, 5)
	purchase.Trial, purchase.Active = v%3 == 0, v%4 < 2
	purchase.FamilyShared = false
	purchase.Reason = pick([]userkit.PurchaseReason{"", userkit.ReasonExpired, userkit.ReasonPaused, "", "Zebra"}, v, 2)
	purchase.CreatedAt, purchase.VerifiedAt, purchase.DueAt = pick(times[1:], v, 2), pick(times, v, 7), pick(times, v, 1)
	return purchase
}

// purchaseRecords creates purchases that are hard to sort, of several users.
func purchaseRecords(t *testing.T, store userkit.Store, owners []userkit.User) []userkit.Purchase {
	t.Helper()
	records := make([]userkit.Purchase, listRecords)
	for _, n := range shuffled(listRecords) {
		owner := &owners[n%listOwners]
		records[n] = hardPurchase(owner.ID, n, 0)
		change := step(owner)
		change.Purchases.Insert = records[n : n+1]
		commit(t, store, change)
	}
	return records
}

func listingOfPurchases(t *testing.T, store userkit.Store, filter userkit.PurchaseFilter, records []userkit.Purchase) listing[userkit.Purchase] {
	return listing[userkit.Purchase]{
		fields:  userkit.PurchaseFields(),
		id:      purchaseRecordID,
		records: records,
		list: func(list userkit.ListRange) ([]userkit.Purchase, error) {
			return store.Purchases(t.Context(), filter, list)
		},
		equal: requirePurchaseList,
	}
}

func purchasesEmpty(t *testing.T, env env) {
	listingOfPurchases(t, env.store, userkit.PurchaseFilter{}, nil).requireOrder(t)
	create(t, env.store, newUser(1))
	for _, filter := range purchaseFilters() {
		listingOfPurchases(t, env.store, filter, nil).requireOrder(t)
	}
}

func purchasesOrder(t *testing.T, env env) {
	records := purchaseRecords(t, env.store, ownersOfLists(t, env.store))
	listingOfPurchases(t, env.store, userkit.PurchaseFilter{}, records).requireOrder(t)
}

func purchasesPages(t *testing.T, env env) {
	records := purchaseRecords(t, env.store, ownersOfLists(t, env.store))
	listingOfPurchases(t, env.store, userkit.PurchaseFilter{}, records).requirePages(t)
}

func purchasesOrderAfterChange(t *testing.T, env env) {
	owners := ownersOfLists(t, env.store)
	records := purchaseRecords(t, env.store, owners)
	var left []userkit.Purchase
	for _, n := range shuffled(listRecords) {
		change := step(&owners[n%listOwners])
		if n%5 == 0 {
			change.Purchases.Delete = []userkit.PurchaseID{records[n].ID}
		} else {
			change.Purchases.Update = []userkit.Purchase{hardPurchase(records[n].UserID, n, 1)}
			left = append(left, change.Purchases.Update...)
		}
		commit(t, env.store, change)
	}
	for _, filter := range purchaseFilters() {
		listingOfPurchases(t, env.store, filter, belonging(left, takesPurchase(filter))).requireOrder(t)
	}
}

// takesPurchase is the meaning of a filter.
func takesPurchase(filter userkit.PurchaseFilter) func(purchase userkit.Purchase) bool {
	return func(purchase userkit.Purchase) bool {
		return (filter.UserID.IsZero() || purchase.UserID == filter.UserID) &&
			(filter.Store == "" || purchase.Store == filter.Store) && (!filter.OnlyActive || purchase.Active)
	}
}

// purchaseFilters returns every combination of the parts of a filter.
func purchaseFilters() []userkit.PurchaseFilter {
	var filters []userkit.PurchaseFilter
	for _, user := range []userkit.UserID{{}, userID(1), userID(listOwners - 1), userID(900)} {
		for _, store := range []string{"", "apple", "a", "no such"} {
			for _, active := range []bool{false, true} {
				filters = append(filters, userkit.PurchaseFilter{UserID: user, Store: store, OnlyActive: active})
			}
		}
	}
	return filters
}

func purchasesFilters(t *testing.T, env env) {
	records := purchaseRecords(t, env.store, ownersOfLists(t, env.store))
	for _, filter := range purchaseFilters() {
		listing := listingOfPurchases(t, env.store, filter, belonging(records, takesPurchase(filter)))
		listing.fields = belonging(listing.fields, func(field userkit.Field[userkit.Purchase]) bool {
			return field.Name == "purchased_at" || field.Name == "product_id"
		})
		listing.requireOrder(t)
	}
}

func purchasesFilteredPages(t *testing.T, env env) {
	records := purchaseRecords(t, env.store, ownersOfLists(t, env.store))
	for _, filter := range []userkit.PurchaseFilter{
		{UserID: userID(1)}, {Store: "apple"}, {OnlyActive: true}, {Store: "apple", OnlyActive: true},
	} {
		listing := listingOfPurchases(t, env.store, filter, belonging(records, takesPurchase(filter)))
		require.NotEmpty(t, listing.records)
		require.Less(t, len(listing.records), len(records))
		listing.requirePages(t)
	}
}

func purchasesMany(t *testing.T, env env) {
	var records []userkit.Purchase
	user, other := hasMany(t, env.store, func(change *userkit.Change, n int) {
		purchase := newOwnPurchase(change.User, n)
		purchase.PurchasedAt, purchase.ExpiresAt, purchase.Active = at(spread(n)/3), at(spread(n)/7), n%oneIn == 7
		change.Purchases.Insert = append(change.Purchases.Insert, purchase)
		records = append(records, purchase)
	})
	all := slices.Concat(records, other.purchases)
	active := userkit.PurchaseFilter{OnlyActive: true}
	fields := []string{"purchased_at", "expires_at"}
	listingOfPurchases(t, env.store, userkit.PurchaseFilter{UserID: user.ID}, records).requireWalks(t, perPage, fields...)
	listingOfPurchases(t, env.store, userkit.PurchaseFilter{}, all).requireWalks(t, perPage, fields...)
	listingOfPurchases(t, env.store, active, belonging(all, takesPurchase(active))).requireWalks(t, 2, fields...)
	requirePurchases(t, records, loadOne(t, env.store, userkit.Want{User: user.ID, Purchases: true}).Purchases)
}

// buys is a change of a user who gets a purchase.
func buys(user *userkit.User, purchase userkit.Purchase) userkit.Change {
	change := step(user)
	purchase.UserID = user.ID
	change.Purchases.Insert = []userkit.Purchase{purchase}
	return change
}

// named gives a purchase another store and stable id.
func named(purchase userkit.Purchase, store, stableID string) userkit.Purchase {
	purchase.Store, purchase.StableID = store, stableID
	return purchase
}

func requirePurchaseTaken(t *testing.T, err error) {
	t.Helper()
	requireExists(t, err, userkit.CodePurchaseTaken, "stable_id")
}

func stableIDsUnique(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	taken := d.purchases[1]
	for _, owner := range []dossier{other, d} {
		user := owner.user
		requirePurchaseTaken(t, outcome(t, env.store, buys(&user, named(newOwnPurchase(user.ID, 60), taken.Store, taken.StableID))))
		change := step(&owner.user)
		change.Purchases.Update = []userkit.Purchase{named(owner.purchases[0], taken.Store, taken.StableID)}
		change.Purchases.Update[0].FamilyShared = false
		requirePurchaseTaken(t, outcome(t, env.store, change))
	}
	requireDossier(t, env.store, d)
	requireDossier(t, env.store, other)

	for n, purchase := range []userkit.Purchase{
		named(newOwnPurchase(other.user.ID, 60), taken.Store+"2", taken.StableID),
		named(newOwnPurchase(other.user.ID, 61), taken.Store, taken.StableID+" "),
		named(newOwnPurchase(other.user.ID, 62), taken.Store, "s"+taken.StableID[1:]),
	} {
		commit(t, env.store, buys(&other.user, purchase))
		other.purchases = append(other.purchases, purchase)
		requirePurchasesOf(t, env.store, purchase.Store, purchase.StableID, other.purchases[2+n])
	}
	requireDossier(t, env.store, other)
}

func stableIDsOfFamily(t *testing.T, env env) {
	a, b := newUser(1), newUser(2)
	create(t, env.store, a, b)
	shared := named(newPurchase(a.ID, 1), "apple", "family")
	commit(t, env.store, buys(&a, shared))
	for n, purchase := range []userkit.Purchase{newPurchase(b.ID, 2), newOwnPurchase(b.ID, 3)} {
		user := b
		requirePurchaseTaken(t, outcome(t, env.store, buys(&user, named(purchase, "apple", "family"))))
		user = a
		requirePurchaseTaken(t, outcome(t, env.store, buys(&user, named(newPurchase(a.ID, 4+n), "apple", "family"))))
	}
	requirePurchasesOf(t, env.store, "apple", "family", shared)
}

func stableIDsFreed(t *testing.T, env env) {
	a, b := newUser(1), newUser(2)
	create(t, env.store, a, b)
	purchase := func(n int) userkit.Purchase { return named(newOwnPurchase(userkit.UserID{}, n), "apple", "one") }
	commit(t, env.store, buys(&a, purchase(1)))

	change := step(&a) // by its deletion
	change.Purchases.Delete = []userkit.PurchaseID{purchaseID(1)}
	commit(t, env.store, change)
	commit(t, env.store, buys(&b, purchase(2)))

	change = step(&b) // by another stable id
	change.Purchases.Update = []userkit.Purchase{named(purchase(2), "apple", "two")}
	change.Purchases.Update[0].UserID = b.ID
	commit(t, env.store, change)
	commit(t, env.store, buys(&a, purchase(3)))

	change = buys(&a, purchase(4)) // by its deletion in the same change
	change.Purchases.Delete = []userkit.PurchaseID{purchaseID(3)}
	commit(t, env.store, change)

	change = step(&a) // by the deletion of the user
	change.Delete = true
	commit(t, env.store, change)
	commit(t, env.store, buys(&b, purchase(5)))
	want := purchase(5)
	want.UserID = b.ID
	requirePurchasesOf(t, env.store, "apple", "one", want)
}

func stableIDsKept(t *testing.T, env env) {
	d := newDossier(1)
	createAll(t, env.store, d)
	for round := range 3 {
		for i := range d.purchases {
			d.purchases[i].TransactionID = fmt.Sprint("renewal ", round)
			d.purchases[i].FamilyShared = !d.purchases[i].FamilyShared
		}
		change := step(&d.user)
		change.Purchases.Update = slices.Clone(d.purchases)
		commit(t, env.store, change)
		requireDossier(t, env.store, d)
	}
}

func purchasesOfOthers(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	createAll(t, env.store, d, other)
	theirs, nowhere := newOwnPurchase(d.user.ID, 60), newOwnPurchase(d.user.ID, 61)
	theirs.ID = other.purchases[0].ID
	change := step(&d.user)
	change.Purchases.Update = []userkit.Purchase{theirs, nowhere}
	change.Purchases.Delete = []userkit.PurchaseID{other.purchases[1].ID, purchaseID(900)}
	commit(t, env.store, change)
	requireDossier(t, env.store, d)
	requireDossier(t, env.store, other)
	requirePurchasesOf(t, env.store, nowhere.Store, nowhere.StableID)
}

func stableIDsRace(t *testing.T, env env) {
	const callers = 6
	handles := []userkit.Store{env.store, env.second(t)}
	users := make([]userkit.User, callers)
	for n := range users {
		users[n] = newUser(n)
	}
	create(t, env.store, users...)
	for round := range 10 {
		stableID := fmt.Sprint("wanted ", round)
		var mutex sync.Mutex
		errs := race(callers, func(caller int) error {
			user := users[caller]
			purchase := named(newOwnPurchase(user.ID, round*callers+caller), "apple", stableID)
			err := commitAlone(t, handles[caller%len(handles)], buys(&user, purchase))
			if err == nil {
				mutex.Lock()
				users[caller] = user
				mutex.Unlock()
			}
			return err
		})
		winner := requireOneWinner(t, errs, func(err error) { requirePurchaseTaken(t, err) })
		found, err := env.store.FindPurchases(t.Context(), "apple", stableID)
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.Equal(t, users[winner].ID, found[0].UserID)
	}
}

func togetherNothing(t *testing.T, env env) {
	require.NoError(t, env.store.CommitTogether(t.Context(), nil))
	require.NoError(t, env.store.CommitTogether(t.Context(), []userkit.Change{}))
}

func togetherEverything(t *testing.T, env env) {
	first, second, third := newDossier(1), newDossier(2), newDossier(3)
	require.NoError(t, env.store.CommitTogether(t.Context(), []userkit.Change{first.creation(), second.creation(), third.creation()}))
	for _, d := range []dossier{first, second, third} {
		requireDossier(t, env.store, d)
	}
	changes := []userkit.Change{edit(&first.user, func(user *userkit.User) { user.Name = "renamed" }), buys(&second.user, newOwnPurchase(second.user.ID, 60))}
	changes[0].Purchases.Delete = []userkit.PurchaseID{first.purchases[0].ID}
	changes[0].Usage = []userkit.DayUsage{newDayUsage(60)}
	first.purchases, first.usage = first.purchases[1:], append(first.usage, newDayUsage(60))
	second.purchases = append(second.purchases, newOwnPurchase(second.user.ID, 60))
	require.NoError(t, env.store.CommitTogether(t.Context(), changes))
	for _, d := range []dossier{first, second, third} {
		requireDossier(t, env.store, d)
	}
}

// requireNone makes changes of two dossiers together, in both orders, and demands
// that none is made. It gives the error.
func requireNone(t *testing.T, store userkit.Store, a, b dossier, first, second userkit.Change) error {
	t.Helper()
	var err error
	for _, changes := range [][]userkit.Change{{first, second}, {second, first}} {
		err = store.CommitTogether(t.Context(), changes)
		require.Error(t, err)
		requireDossier(t, store, a)
		requireDossier(t, store, b)
	}
	return err
}

func togetherConflict(t *testing.T, env env) {
	a, b := newDossier(1), newDossier(2)
	createAll(t, env.store, a, b)
	commit(t, env.store, step(&a.user), step(&b.user))
	for _, version := range []int64{1, 3, 100} {
		late, good := everyChange(a), step(&userkit.User{ID: b.user.ID, Account: b.user.Account})
		late.Version, late.Account.Version = version, version+1
		require.ErrorIs(t, requireNone(t, env.store, a, b, late, good), userkit.ErrConflict)
	}
}

func togetherMissing(t *testing.T, env env) {
	a, b, never := newDossier(1), newDossier(2), newDossier(3)
	createAll(t, env.store, a, b)
	require.ErrorIs(t, requireNone(t, env.store, a, b, everyChange(never), everyChange(b)), userkit.ErrConflict)
	require.ErrorIs(t, requireNone(t, env.store, a, b, a.creation(), everyChange(b)), userkit.ErrConflict)
	deletion := step(&never.user)
	deletion.Delete = true
	require.ErrorIs(t, requireNone(t, env.store, a, b, deletion, everyChange(b)), userkit.ErrConflict)
	requireGone(t, env.store, newDossier(3))
}

func togetherTaken(t *testing.T, env env) {
	a, b, other := newDossier(1), newDossier(2), newDossier(3)
	createAll(t, env.store, a, b, other)
	for _, taken := range []struct {
		code  userkit.Code
		field string
		set   func(change *userkit.Change)
	}{
		{userkit.CodePurchaseTaken, "stable_id", func(change *userkit.Change) {
			purchase := newOwnPurchase(change.User, 60)
			change.Purchases.Insert = []userkit.Purchase{named(purchase, other.purchases[1].Store, other.purchases[1].StableID)}
		}},
		{userkit.CodeIDTaken, "id", func(change *userkit.Change) {
			purchase := newOwnPurchase(change.User, 60)
			purchase.ID = other.purchases[0].ID
			change.Purchases.Insert = []userkit.Purchase{purchase}
		}},
		{userkit.CodeLoginTaken, "login", func(change *userkit.Change) {
			profile := newUser(700)
			profile.ID = change.User
			profile.Login = other.user.Login
			change.Profile = &profile
		}},
		{userkit.CodeTokenTaken, "access_token", func(change *userkit.Change) {
			device := newDevice(change.User, 60)
			device.TokenDigest = other.devices[0].TokenDigest
			change.Devices.Insert = []userkit.DeviceRecord{device}
		}},
		{userkit.CodeIDTaken, "id", func(change *userkit.Change) {
			event := newEvent(change.User, 60)
			event.ID = other.events[0].ID
			change.Events = []userkit.Event{event}
		}},
	} {
		first, second := step(&userkit.User{ID: a.user.ID, Account: a.user.Account}), step(&userkit.User{ID: b.user.ID, Account: b.user.Account})
		second.Events = []userkit.Event{newEvent(b.user.ID, 60)}
		taken.set(&first)
		requireExists(t, requireNone(t, env.store, a, b, first, second), taken.code, taken.field)
	}
	requireDossier(t, env.store, other)
}

func togetherWantedByTwo(t *testing.T, env env) {
	a, b := newDossier(1), newDossier(2)
	createAll(t, env.store, a, b)
	for _, wanted := range []struct {
		code  userkit.Code
		field string
		set   func(change *userkit.Change, n int)
	}{
		{userkit.CodePurchaseTaken, "stable_id", func(change *userkit.Change, n int) {
			change.Purchases.Insert = []userkit.Purchase{named(newOwnPurchase(change.User, 60+n), "apple", "wanted")}
		}},
		{userkit.CodeLoginTaken, "login", func(change *userkit.Change, n int) {
			profile := newUser(700 + n)
			profile.ID = change.User
			profile.Login = "wanted"
			change.Profile = &profile
		}},
		{userkit.CodeEmailTaken, "email", func(change *userkit.Change, n int) {
			profile := newUser(700 + n)
			profile.ID = change.User
			profile.Email = "wanted@example.org"
			change.Profile = &profile
		}},
		{userkit.CodeExtRefTaken, "extref", func(change *userkit.Change, n int) {
			profile := newUser(700 + n)
			profile.ID = change.User
			profile.ExtRef = "wanted"
			change.Profile = &profile
		}},
		{userkit.CodeTokenTaken, "access_token", func(change *userkit.Change, n int) {
			device := newDevice(change.User, 60+n)
			device.TokenDigest = newDevice(change.User, 60).TokenDigest
			change.Devices.Insert = []userkit.DeviceRecord{device}
		}},
		{userkit.CodeIDTaken, "id", func(change *userkit.Change, _ int) {
			change.Sessions.Insert = []userkit.Session{newSession(change.User, 60)}
		}},
		{userkit.CodeIDTaken, "id", func(change *userkit.Change, _ int) {
			change.Transactions.Insert = []userkit.Transaction{newTransaction(change.User, 60)}
		}},
		{userkit.CodeIDTaken, "id", func(change *userkit.Change, _ int) {
			change.Events = []userkit.Event{newEvent(change.User, 60)}
		}},
	} {
		first, second := step(&userkit.User{ID: a.user.ID, Account: a.user.Account}), step(&userkit.User{ID: b.user.ID, Account: b.user.Account})
		wanted.set(&first, 0)
		wanted.set(&second, 1)
		requireExists(t, requireNone(t, env.store, a, b, first, second), wanted.code, wanted.field)
	}
	// Nothing of that was kept, and one of them alone may have it.
	commit(t, env.store, buys(&a.user, named(newOwnPurchase(a.user.ID, 60), "apple", "wanted")))
}

// moves returns the changes by which a purchase leaves one user for another, who
// gets it under another id.
func moves(from, to *dossier, purchase userkit.PurchaseID, fresh int) (taken, given userkit.Change) {
	at := slices.IndexFunc(from.purchases, func(p userkit.Purchase) bool { return p.ID == purchase })
	moved := from.purchases[at]
	moved.ID = purchaseID(fresh)
	given = buys(&to.user, moved)
	taken = step(&from.user)
	taken.Purchases.Delete = []userkit.PurchaseID{purchase}
	from.purchases = slices.Delete(slices.Clone(from.purchases), at, at+1)
	to.purchases = append(slices.Clone(to.purchases), given.Purchases.Insert[0])
	return taken, given
}

func togetherMoves(t *testing.T, env env) {
	a, b := newDossier(1), newDossier(2)
	createAll(t, env.store, a, b)
	moving := a.purchases[1].ID
	taken, given := moves(&a, &b, moving, 60)
	require.NoError(t, env.store.CommitTogether(t.Context(), []userkit.Change{taken, given}))
	requireDossier(t, env.store, a)
	requireDossier(t, env.store, b)
	requirePurchasesOf(t, env.store, b.purchases[2].Store, b.purchases[2].StableID, b.purchases[2])
	_, err := env.store.Purchase(t.Context(), moving)
	requireCode(t, err, userkit.ErrNotFound, userkit.CodePurchaseNotFound)

	taken, given = moves(&b, &a, purchaseID(60), 61)
	require.NoError(t, env.store.CommitTogether(t.Context(), []userkit.Change{given, taken}))
	requireDossier(t, env.store, a)
	requireDossier(t, env.store, b)

	// Without the one who loses it, it stays.
	_, given = moves(&a, &b, purchaseID(61), 62)
	requirePurchaseTaken(t, env.store.CommitTogether(t.Context(), []userkit.Change{given}))
}

func togetherCircle(t *testing.T, env env) {
	const users = 4
	var changes []userkit.Change
	dossiers := make([]dossier, users)
	for n := range dossiers {
		dossiers[n] = dossier{user: newUser(n)}
		dossiers[n].purchases = []userkit.Purchase{newOwnPurchase(dossiers[n].user.ID, n)}
	}
	createAll(t, env.store, dossiers...)
	before := slices.Clone(dossiers)
	for n := range dossiers {
		moved := before[(n+1)%users].purchases[0]
		moved.ID, moved.UserID = purchaseID(100+n), dossiers[n].user.ID
		change := buys(&dossiers[n].user, moved)
		change.Purchases.Delete = []userkit.PurchaseID{before[n].purchases[0].ID}
		changes = append(changes, change)
		dossiers[n].purchases = []userkit.Purchase{moved}
	}
	require.NoError(t, env.store.CommitTogether(t.Context(), changes))
	for _, d := range dossiers {
		requireDossier(t, env.store, d)
	}
}

func togetherDeletes(t *testing.T, env env) {
	a, b := newDossier(1), newDossier(2)
	createAll(t, env.store, a, b)
	gone := a
	moved := a.purchases[1]
	moved.ID, moved.UserID = purchaseID(60), b.user.ID
	deletion := step(&a.user)
	deletion.Delete, deletion.Events = true, []userkit.Event{newEvent(a.user.ID, 60)}
	given := buys(&b.user, moved)
	b.purchases = append(b.purchases, moved)
	require.NoError(t, env.store.CommitTogether(t.Context(), []userkit.Change{deletion, given}))
	requireGone(t, env.store, gone, deletion.Events...)
	requireDossier(t, env.store, b)
}

func togetherFeed(t *testing.T, env env) {
	a, b := dossier{user: newUser(1)}, dossier{user: newUser(2)}
	createAll(t, env.store, a, b)
	changes := []userkit.Change{step(&a.user), step(&b.user)}
	a.events, b.events = []userkit.Event{newEvent(a.user.ID, 1)}, []userkit.Event{newEvent(b.user.ID, 2), newEvent(b.user.ID, 3)}
	changes[0].Events, changes[1].Events = a.events, b.events
	require.NoError(t, env.store.CommitTogether(t.Context(), changes))
	requireDossier(t, env.store, a)
	requireDossier(t, env.store, b)
	fed := withoutPositions(feedOf(t, env.store, userkit.FeedPosition{}, whole, 3))
	requireEvents(t, slices.Concat(a.events, b.events), sortedByID(fed, eventRecordID))
}

func togetherCutShort(t *testing.T, env env) {
	const rounds = 30
	a, b := dossier{user: newUser(1)}, dossier{user: newUser(2)}
	a.purchases = []userkit.Purchase{newOwnPurchase(a.user.ID, 0)}
	createAll(t, env.store, a, b)
	for round := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		from, to := a, b
		taken, given := moves(&from, &to, a.purchases[0].ID, 1+round)
		var err error
		race(2, func(caller int) error {
			if caller == 0 {
				cancel()
			} else {
				err = env.store.CommitTogether(ctx, []userkit.Change{taken, given})
			}
			return nil
		})
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
		}
		// A change on top of what stands there settles which of both it is, as for
		// one change that is cut short.
		for end := time.Now().Add(deadline); ; {
			require.True(t, time.Now().Before(end), "the users cannot be changed any more")
			states := load(t, env.store, userkit.Want{User: a.user.ID}, userkit.Want{User: b.user.ID})
			done := states[0].User.Version == from.user.Version
			settledA, settledB := states[0].User, states[1].User
			errs := outcomes(t, env.store, step(&settledA), step(&settledB))
			require.Equal(t, errs[0] == nil, errs[1] == nil, "half of it was made: %v", errs)
			if errs[0] != nil {
				require.ErrorIs(t, errors.Join(errs...), userkit.ErrConflict)
				continue
			}
			if done {
				a, b = to, from // it goes on from the new owner
				settledA, settledB = settledB, settledA
			} else {
				require.Error(t, err)
			}
			a.user.Account, b.user.Account = settledA.Account, settledB.Account
			break
		}
		requireDossier(t, env.store, a)
		requireDossier(t, env.store, b)
	}
}

func togetherRace(t *testing.T, env env) {
	const callers = 5
	handles := []userkit.Store{env.store, env.second(t)}
	owner := dossier{user: newUser(100)}
	owner.purchases = []userkit.Purchase{named(newOwnPurchase(owner.user.ID, 0), "apple", "moving")}
	others := make([]dossier, callers)
	for n := range others {
		others[n] = dossier{user: newUser(n)}
	}
	createAll(t, env.store, append(slices.Clone(others), owner)...)
	for round := range 10 {
		errs := race(callers, func(caller int) error {
			from, to := owner, others[caller]
			taken, given := moves(&from, &to, owner.purchases[0].ID, 1+round*callers+caller)
			changes := []userkit.Change{taken, given}
			if caller%2 == 0 {
				slices.Reverse(changes)
			}
			return handles[caller%len(handles)].CommitTogether(t.Context(), changes)
		})
		winner := requireOneWinner(t, errs, func(err error) {
			if !errors.Is(err, userkit.ErrConflict) {
				requirePurchaseTaken(t, err)
			}
		})
		moves(&owner, &others[winner], owner.purchases[0].ID, 1+round*callers+winner)
		for _, d := range append(slices.Clone(others), owner) {
			requireDossier(t, env.store, d)
		}
		owner, others[winner] = others[winner], owner // from whom it goes on
	}
}

func togetherOppositeOrders(t *testing.T, env env) {
	const callers, rounds = 4, 25
	handles := []userkit.Store{env.store, env.second(t)}
	users := []userkit.User{newUser(1), newUser(2), newUser(3)}
	for n := range users {
		users[n].Balance.Amount = 0
	}
	create(t, env.store, users...)
	var mutex sync.Mutex
	done := 0
	for _, err := range race(callers, func(caller int) error {
		store := handles[caller%len(handles)]
		for range rounds {
			var wants []userkit.Want
			for i := range users {
				wants = append(wants, userkit.Want{User: users[i].ID})
			}
			states, err := store.Load(t.Context(), wants)
			if err != nil {
				return err
			}
			var changes []userkit.Change
			for i := range states {
				states[i].User.Balance.Amount++
				changes = append(changes, step(&states[i].User))
			}
			if caller%2 == 0 {
				slices.Reverse(changes)
			}
			switch err := store.CommitTogether(t.Context(), changes); {
			case err == nil:
				mutex.Lock()
				done++
				mutex.Unlock()
			case !errors.Is(err, userkit.ErrConflict):
				return err
			}
		}
		return nil
	}) {
		require.NoError(t, err)
	}
	require.NotZero(t, done)
	for _, user := range users {
		stored, err := env.store.User(t.Context(), user.ID)
		require.NoError(t, err)
		require.EqualValues(t, done, stored.Balance.Amount)
		require.EqualValues(t, 1+done, stored.Version)
	}
}

// duePurchase makes the n-th purchase, of shopName, which nobody has leased and which is due at
// that many seconds after base.
func duePurchase(owner userkit.UserID, n, seconds int) userkit.Purchase {
	purchase := newOwnPurchase(owner, n)
	purchase.Store, purchase.DueAt = shopName, at(seconds)
	return purchase
}

// lease leases purchases for a minute from the given second on.
func lease(t *testing.T, store userkit.Store, seconds, limit int) []userkit.Purchase {
	t.Helper()
	leased, err := store.LeasePurchases(t.Context(), []string{shopName}, at(seconds), at(seconds+60), limit)
	require.NoError(t, err)
	return leased
}

// requireLeased demands purchases in this order, leased until that second.
func requireLeased(t *testing.T, until int, got []userkit.Purchase, want ...userkit.Purchase) {
	t.Helper()
	want = slices.Clone(want)
	for i := range want {
		want[i].LeasedUntil = at(until)
	}
	requirePurchaseList(t, want, got)
}

func leaseDue(t *testing.T, env env) {
	a, b := dossier{user: newUser(1)}, dossier{user: newUser(2)}
	a.purchases = []userkit.Purchase{
		duePurchase(a.user.ID, 1, 30), duePurchase(a.user.ID, 2, 10), newOwnPurchase(a.user.ID, 3), duePurchase(a.user.ID, 4, 1000),
	}
	b.purchases = []userkit.Purchase{duePurchase(b.user.ID, 5, 20), duePurchase(b.user.ID, 6, -1_000_000)}
	late := duePurchase(b.user.ID, 7, 0)
	late.DueAt = at(30).Add(time.Microsecond)
	b.purchases = append(b.purchases, late)
	require.Empty(t, lease(t, env.store, 30, whole))
	createAll(t, env.store, a, b)
	requireLeased(t, 90, lease(t, env.store, 30, whole), b.purchases[1], a.purchases[1], b.purchases[0], a.purchases[0])
	require.Empty(t, lease(t, env.store, 30, whole))
	requireLeased(t, 91, lease(t, env.store, 31, whole), late)
}

func leaseLimit(t *testing.T, env env) {
	d := dossier{user: newUser(1)}
	for n := range 10 {
		d.purchases = append(d.purchases, duePurchase(d.user.ID, n, -(n*7%10)))
	}
	createAll(t, env.store, d)
	inOrder := slices.Clone(d.purchases)
	slices.SortFunc(inOrder, func(a, b userkit.Purchase) int { return a.DueAt.Compare(b.DueAt) })
	for _, part := range [][2]int{{0, 1}, {1, 4}, {4, 4}, {4, 9}, {9, 10}, {10, 10}} {
		limit := part[1] - part[0]
		if part[1] == 10 {
			limit = 5 // more than there are
		}
		requireLeased(t, 60, lease(t, env.store, 0, limit), inOrder[part[0]:part[1]]...)
	}
}

func leaseApart(t *testing.T, env env) {
	d := dossier{user: newUser(1)}
	for n := range 6 {
		purchase := duePurchase(d.user.ID, n, -n)
		purchase.Store = []string{"a", "b"}[n/3]
		d.purchases = append(d.purchases, purchase)
	}
	createAll(t, env.store, d)
	lease := func(limit int, stores []string, want ...userkit.Purchase) {
		t.Helper()
		leased, err := env.store.LeasePurchases(t.Context(), stores, at(0), at(60), limit)
		require.NoError(t, err)
		requireLeased(t, 60, leased, want...)
	}
	lease(9, nil)
	lease(9, []string{"", "c", "a\x00", "\xff"})
	lease(2, []string{"b", "c"}, d.purchases[5], d.purchases[4])
	lease(2, []string{"b", "a"}, d.purchases[2], d.purchases[1], d.purchases[3])
	lease(2, []string{"a"}, d.purchases[0])
}

func leaseOver(t *testing.T, env env) {
	d := dossier{user: newUser(1)}
	d.purchases = []userkit.Purchase{duePurchase(d.user.ID, 1, 0), duePurchase(d.user.ID, 2, 1)}
	createAll(t, env.store, d)
	requireLeased(t, 70, lease(t, env.store, 10, 1), d.purchases[0])
	requireLeased(t, 71, lease(t, env.store, 11, 5), d.purchases[1])
	require.Empty(t, lease(t, env.store, 69, 5))
	before, err := env.store.LeasePurchases(t.Context(), []string{shopName}, at(70).Add(-time.Microsecond), at(100), 5)
	require.NoError(t, err)
	require.Empty(t, before)
	requireLeased(t, 130, lease(t, env.store, 70, 5), d.purchases[0])
	requireLeased(t, 190, lease(t, env.store, 130, 5), d.purchases...)
}

func leaseChangesNothingElse(t *testing.T, env env) {
	d, other := newDossier(1), newDossier(2)
	d.purchases[0].Store, d.purchases[0].DueAt = shopName, at(0)
	createAll(t, env.store, d, other)
	leased, err := env.store.LeasePurchases(t.Context(), []string{shopName}, at(100_000), at(200_000), 1)
	require.NoError(t, err)
	d.purchases[0].LeasedUntil = at(200_000)
	requirePurchaseList(t, d.purchases[:1], leased)
	requireDossier(t, env.store, d)
	requireDossier(t, env.store, other)

	// What comes out belongs to the caller.
	scribbleBytes(leased[0].Raw)
	requireDossier(t, env.store, d)

	// A change that was decided before the lease may still be made.
	commit(t, env.store, step(&d.user))
	requireDossier(t, env.store, d)
}

func leaseAfterChange(t *testing.T, env env) {
	d := dossier{user: newUser(1)}
	for n := range 5 {
		d.purchases = append(d.purchases, duePurchase(d.user.ID, n, n))
	}
	createAll(t, env.store, d)
	require.Len(t, lease(t, env.store, 10, 3), 3)
	for i := range 3 {
		d.purchases[i].LeasedUntil = at(70)
	}
	change := step(&d.user)
	d.purchases[0].LeasedUntil, d.purchases[0].DueAt = time.Time{}, at(20) // done, and due again
	d.purchases[1].LeasedUntil, d.purchases[1].DueAt = time.Time{}, time.Time{}
	d.purchases[3].DueAt = time.Time{}
	change.Purchases.Update = []userkit.Purchase{d.purchases[0], d.purchases[1], d.purchases[3]}
	change.Purchases.Delete = []userkit.PurchaseID{d.purchases[2].ID}
	commit(t, env.store, change)
	requireLeased(t, 75, lease(t, env.store, 15, 5), d.purchases[4])
	requireLeased(t, 80, lease(t, env.store, 20, 5), d.purchases[0])

	deletion := step(&d.user)
	deletion.Delete = true
	commit(t, env.store, deletion)
	require.Empty(t, lease(t, env.store, 1_000_000, whole))
}

func leaseRace(t *testing.T, env env) {
	const callers, users, each = 6, 10, 30
	handles, stores := []userkit.Store{env.store, env.second(t)}, []string{"a", "b", "c"}
	var want []string
	for u := range users {
		d := dossier{user: newUser(u)}
		for n := range each {
			purchase := duePurchase(d.user.ID, u*each+n, n%7)
			purchase.Store = stores[n%3]
			d.purchases = append(d.purchases, purchase)
		}
		want = append(want, idsOf(d.purchases, purchaseRecordID)...)
		createAll(t, env.store, d)
	}
	var mutex sync.Mutex
	for round := range 2 { // the second time when the leases of the first are over
		var got []string
		for _, err := range race(callers, func(caller int) error {
			store := handles[caller%len(handles)]
			for {
				leased, err := store.LeasePurchases(t.Context(), stores, at(10+60*round), at(70+60*round), 3)
				if err != nil || len(leased) == 0 {
					return err
				}
				mutex.Lock()
				got = append(got, idsOf(leased, purchaseRecordID)...)
				mutex.Unlock()
			}
		}) {
			require.NoError(t, err)
		}
		slices.Sort(got)
		slices.Sort(want)
		require.Equal(t, want, got)
	}
}

func leaseMany(t *testing.T, env env) {
	const some = 50
	user, _ := hasMany(t, env.store, func(change *userkit.Change, n int) {
		change.Purchases.Insert = append(change.Purchases.Insert, duePurchase(change.User, n, spread(n)))
	})
	seen := map[userkit.PurchaseID]bool{}
	last := time.Time{}
	for {
		leased := lease(t, env.store, many, some)
		for _, purchase := range leased {
			require.Equal(t, user.ID, purchase.UserID)
			require.False(t, seen[purchase.ID], "leased twice")
			require.False(t, purchase.DueAt.Before(last), "out of order")
			seen[purchase.ID], last = true, purchase.DueAt
		}
		if len(leased) < some {
			break
		}
	}
	require.Len(t, seen, many)
}
