package storetest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func storeUserGroups() []group {
	return []group{
		{"User", []testCase{
			{"gives a user with every field", userEveryField},
			{"does not find an unknown user", userUnknown},
		}},
		{"FindUser", []testCase{
			{"finds by login and email address by their keys", findUserFolded},
			{"finds by external reference byte by byte", findUserExtRef},
			{"finds a value in its own field only", findUserOwnField},
			{"finds nobody by an empty value", findUserEmpty},
			{"finds a user by its new values and no more by its old ones", findUserAfterChange},
		}},
		{"Users", []testCase{
			{"of an empty store is empty", usersEmpty},
			{"sorts by every field, both ways", usersOrder},
			{"follows changes of every field", usersOrderAfterChange},
			{"leaves out deleted users", usersOrderAfterDelete},
			{"follows a change of the status", usersOnlyActiveAfterChange},
		}},
		{"CountUsers", []testCase{
			{"counts all users and those who are not disabled", countUsers},
		}},
	}
}

func userEveryField(t *testing.T, env env) {
	create(t, env.store, newUser(1), newUser(2))
	for n := 1; n <= 2; n++ {
		user, err := env.store.User(t.Context(), userID(n))
		require.NoError(t, err)
		requireUser(t, newUser(n), user)
	}
}

func userUnknown(t *testing.T, env env) {
	_, err := env.store.User(t.Context(), userID(1))
	requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
	createAll(t, env.store, newDossier(1))
	for _, id := range []userkit.UserID{userID(2), {}, userkit.UserID(deviceID(2))} {
		_, err := env.store.User(t.Context(), id)
		requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
	}
}

// requireFound demands that a key finds a user; the zero user means nobody.
func requireFound(t *testing.T, store userkit.Store, key userkit.UserKey, want userkit.User) {
	t.Helper()
	got, err := store.FindUser(t.Context(), key)
	if want.ID.IsZero() {
		requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
		return
	}
	require.NoError(t, err, "%s %q", key.Field(), key.Value())
	requireUser(t, want, got)
}

func findUserFolded(t *testing.T, env env) {
	first, second := newUser(1), newUser(2)
	first.Login, first.Email = "Jürgen Straße", "Jürgen@Example.org"
	second.Login, second.Email = "ЁЖИК", "ёжик@example.org"
	create(t, env.store, first, second)
	for _, login := range []string{"Jürgen Straße", "JÜRGEN STRAßE", "ju\u0308rgen straße"} {
		requireFound(t, env.store, userkit.ByLogin(login), first)
	}
	for _, email := range []string{"Jürgen@Example.org", "JÜRGEN@EXAMPLE.ORG", "ju\u0308rgen@example.org"} {
		requireFound(t, env.store, userkit.ByEmail(email), first)
	}
	requireFound(t, env.store, userkit.ByLogin("ёжик"), second)
	requireFound(t, env.store, userkit.ByEmail("ЁЖИК@EXAMPLE.ORG"), second)
	for _, login := range []string{"Jürgen", "jurgen strasse", "jürgen%", "%", "jürgen_straße", "Jürgen Straße'"} {
		requireFound(t, env.store, userkit.ByLogin(login), userkit.User{})
	}
	requireFound(t, env.store, userkit.ByEmail("jurgen@example.org"), userkit.User{})
}

func findUserExtRef(t *testing.T, env env) {
	first, second := newUser(1), newUser(2)
	first.ExtRef, second.ExtRef = "Ref-ä", "REF-Ä"
	create(t, env.store, first, second)
	requireFound(t, env.store, userkit.ByExtRef("Ref-ä"), first)
	requireFound(t, env.store, userkit.ByExtRef("REF-Ä"), second)
	for _, extref := range []string{"ref-ä", "ref-a", "Ref-a\u0308", "Ref-", "%"} {
		requireFound(t, env.store, userkit.ByExtRef(extref), userkit.User{})
	}
}

func findUserOwnField(t *testing.T, env env) {
	user := newUser(1)
	create(t, env.store, user, newUser(2))
	requireFound(t, env.store, userkit.ByLogin(user.Email), userkit.User{})
	requireFound(t, env.store, userkit.ByLogin(user.ExtRef), userkit.User{})
	requireFound(t, env.store, userkit.ByEmail(user.Login), userkit.User{})
	requireFound(t, env.store, userkit.ByExtRef(user.Login), userkit.User{})
	requireFound(t, env.store, userkit.ByExtRef(user.Email), userkit.User{})
	requireFound(t, env.store, userkit.ByLogin(user.Name), userkit.User{})
}

func findUserEmpty(t *testing.T, env env) {
	user := newUser(1)
	user.Login, user.Email, user.ExtRef = "", "", ""
	create(t, env.store, user)
	requireFound(t, env.store, userkit.ByLogin(""), userkit.User{})
	requireFound(t, env.store, userkit.ByEmail(""), userkit.User{})
	requireFound(t, env.store, userkit.ByExtRef(""), userkit.User{})
}

func findUserAfterChange(t *testing.T, env env) {
	user, other := newUser(1), newUser(2)
	old := user
	create(t, env.store, user, other)
	commit(t, env.store, edit(&user, func(user *userkit.User) {
		user.Login, user.Email, user.ExtRef = "renamed", "renamed@example.org", "renamed"
	}))
	requireFound(t, env.store, userkit.ByLogin(old.Login), userkit.User{})
	requireFound(t, env.store, userkit.ByEmail(old.Email), userkit.User{})
	requireFound(t, env.store, userkit.ByExtRef(old.ExtRef), userkit.User{})
	requireDossier(t, env.store, dossier{user: user})
	requireDossier(t, env.store, dossier{user: other})

	deletion := step(&user)
	deletion.Delete = true
	commit(t, env.store, deletion)
	requireGone(t, env.store, dossier{user: user})
	requireDossier(t, env.store, dossier{user: other})
}

// hardUser makes a user for lists: with fields that are hard to sort, many of
// them equal. variant gives the same user other values.
func hardUser(n, variant int) userkit.User {
	v := n + 5*variant
	statuses := []userkit.Status{userkit.StatusActive, userkit.StatusInvited, userkit.StatusInactive, userkit.StatusDisabled}
	times := []time.Time{{}, at(0), at(1), at(-1), at(0), time.Unix(0, 0).UTC(), base.Add(time.Microsecond), at(40_000_000), {}}
	user := newUser(n)
	user.Login = uniqueText(n + 16*variant)
	user.Email = uniqueText(n*7+16*variant) + "@example.org"
	if n%5 == 1 {
		user.Login, user.Email = "", ""
	}
	user.Name = pick(hardTexts, v, 5)
	user.EmailVerified = pick([]bool{true, false, false}, v, 1)
	user.Phone = pick([]string{"", "+4930123", "+49301", "+375291234567"}, v, 3)
	user.Status = pick(statuses, v, 3)
	user.License = pick(hardTexts, v, 7)
	user.AuthMethod = pick(hardCodes, v, 3)
	user.ExtRef = pick([]string{"Ref", "ref", "REF", "réf", ""}, n, 1)
	if user.ExtRef != "" {
		user.ExtRef += strings.Repeat("!", n/5) + strings.Repeat("?", variant)
	}
	user.Kind = pick([]userkit.UserKind{userkit.UserIndividual, userkit.UserLegalEntity, userkit.UserIndividual}, v, 2)
	user.Payer = userkit.Payer{
		AccountNumber: pick(hardTexts, v, 9), LegalAddress: pick(hardTexts, v, 3), PostalAddress: pick(hardTexts, v, 13),
		Bank: pick(hardTexts, v, 15), BankAccount: pick(hardTexts, v, 17),
	}
	user.Description = pick(hardTexts, v, 19)
	user.Country = pick([]string{"", "DE", "BY", "DE"}, v, 1)
	user.PreferredMap = pick(hardTexts, v, 21)
	user.AdditionalInfo = pick(hardTexts, v, 1)
	user.RegisteredAt = pick(times[1:8], v, 3)
	user.UpdatedAt = pick(times[1:8], v, 2)
	user.Revision = 1 + int64(v%4)
	user.Balance = userkit.Money{Amount: pick(hardSizes, v, 3), Currency: pick([]string{"EUR", "JPY"}, v, 1)}
	user.Devices = pick([]int{0, 3, 1, 100_000, 3}, v, 2)
	user.OpenSessions = pick([]int{0, 0, 2, 1}, v, 3)
	user.ActivePurchases = pick([]int{0, 1, 0, 2}, v, 1)
	user.Traffic.Limit = userkit.TrafficLimit{
		Reset:     pick([]userkit.TrafficReset{userkit.ResetDaily, userkit.ResetMonthly, userkit.ResetNever, userkit.ResetMonthly}, v, 1),
		AnchorDay: pick([]int{0, 31, 0, 1}, v, 1),
	}
	user.Traffic.Limit.Bytes = pick([]int64{0, 1 << 62, 5, 5, 1}, v, 3)
	user.ExpiresAt = pick(times, v, 4)
	user.ValidFor = pick([]userkit.Duration{0, 1, userkit.Duration(time.Hour), userkit.Duration(90 * 24 * time.Hour), 0}, v, 3)
	user.LastSeenAt = pick(times, v, 2)
	user.PurchasesEndAt = pick(times, v, 4)
	return user
}

// shuffled returns numbers from 0 in an order that is not theirs, so that the
// order of insertion is not the order of ids.
func shuffled(count int) []int {
	numbers := make([]int, 0, count)
	for i := 0; len(numbers) < count; i += 5 {
		if n := (i + i/count) % count; !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// userListing creates users that are hard to sort and gives the list of those
// that the filter takes.
func userListing(t *testing.T, store userkit.Store, filter userkit.UserSelection) listing[userkit.User] {
	t.Helper()
	const users = 16
	all := make([]userkit.User, users)
	for _, n := range shuffled(users) {
		all[n] = hardUser(n, 0)
		create(t, store, all[n])
	}
	return listingOfUsers(t, store, filter, all)
}

func listingOfUsers(t *testing.T, store userkit.Store, filter userkit.UserSelection, users []userkit.User) listing[userkit.User] {
	return listing[userkit.User]{
		fields:  userkit.UserFields(),
		id:      userRecordID,
		records: users,
		list: func(list userkit.ListRange) ([]userkit.User, error) {
			return store.Users(t.Context(), filter, list)
		},
		equal: func(t *testing.T, want, got []userkit.User) {
			t.Helper()
			require.Len(t, got, len(want))
			for i := range want {
				requireUser(t, want[i], got[i])
			}
		},
	}
}

func usersEmpty(t *testing.T, env env) {
	for _, field := range userkit.UserFields() {
		if !field.Sortable() {
			continue
		}
		for _, descending := range []bool{false, true} {
			order := userkit.Order{Field: field.Name, Descending: descending}
			users, err := env.store.Users(t.Context(), userkit.UserSelection{}, userkit.ListRange{Order: order, Limit: 10})
			require.NoError(t, err, "by %v", order)
			require.Empty(t, users)
		}
	}
}

func usersOrder(t *testing.T, env env) {
	userListing(t, env.store, userkit.UserSelection{}).requireOrder(t)
}

func usersPages(t *testing.T, env env) {
	userListing(t, env.store, userkit.UserSelection{}).requirePages(t)
}

func usersOrderAfterChange(t *testing.T, env env) {
	listing := userListing(t, env.store, userkit.UserSelection{})
	for _, n := range shuffled(len(listing.records)) {
		user := &listing.records[n]
		changed := hardUser(n, 1)
		changed.Version = user.Version
		*user = changed
		change := step(user)
		change.Profile = user
		commit(t, env.store, change)
	}
	listing.requireOrder(t)

	// The account alone.
	for _, n := range shuffled(len(listing.records)) {
		user := &listing.records[n]
		version := user.Version
		user.Account = hardUser(n, 2).Account
		user.Version = version
		commit(t, env.store, step(user))
	}
	listing.requireOrder(t)
}

func usersOrderAfterDelete(t *testing.T, env env) {
	listing := userListing(t, env.store, userkit.UserSelection{})
	var left []userkit.User
	for n, user := range listing.records {
		if n%3 != 0 {
			left = append(left, user)
			continue
		}
		change := step(&user)
		change.Delete = true
		commit(t, env.store, change)
	}
	listing.records = left
	listing.requireOrder(t)
}

func usersLongTexts(t *testing.T, env env) {
	same := strings.Repeat("ab", 300)
	texts := []string{
		same + "z", same + "a", same, strings.ToUpper(same) + "0",
		same[:userkit.SortKeyBytes], same[:userkit.SortKeyBytes-1], same[:userkit.SortKeyBytes-1] + "c",
		// Runes of four bytes, none of which may be cut in two.
		"x" + strings.Repeat("🙂", 500), "x" + strings.Repeat("🙂", 127), "x" + strings.Repeat("🙂", 128),
		strings.Repeat("ß", 300), strings.Repeat("s", 600),
		strings.Repeat("🙂", userkit.MaxAdditionalInfo),
	}
	var users []userkit.User
	for n, text := range texts {
		user := newUser(n)
		user.Description, user.AdditionalInfo = text, text
		users = append(users, user)
	}
	slices.Reverse(users)
	create(t, env.store, users...)
	listing := listingOfUsers(t, env.store, userkit.UserSelection{}, users)
	listing.fields = slices.DeleteFunc(listing.fields, func(field userkit.Field[userkit.User]) bool {
		return field.Name != "description" && field.Name != "additional_info"
	})
	listing.requireOrder(t)
	listing.requirePages(t)
}

func usersOnlyActive(t *testing.T, env env) {
	filter := userkit.UserSelection{WithoutDisabled: true}
	listing := userListing(t, env.store, filter)
	all := len(listing.records)
	listing.records = slices.DeleteFunc(listing.records, func(user userkit.User) bool { return user.Status == userkit.StatusDisabled })
	require.Less(t, len(listing.records), all)
	listing.requireOrder(t)
	listing.requirePages(t)
}

func usersOnlyActiveAfterChange(t *testing.T, env env) {
	user, other := newUser(1), newUser(2)
	create(t, env.store, user, other)
	for _, status := range []userkit.Status{
		userkit.StatusDisabled, userkit.StatusInvited, userkit.StatusDisabled, userkit.StatusInactive, userkit.StatusActive,
	} {
		commit(t, env.store, edit(&user, func(user *userkit.User) { user.Status = status }))
		want := []userkit.User{user, other}
		if status == userkit.StatusDisabled {
			want = want[1:]
		}
		listingOfUsers(t, env.store, userkit.UserSelection{WithoutDisabled: true}, want).requireOrder(t)
		listingOfUsers(t, env.store, userkit.UserSelection{}, []userkit.User{user, other}).requireOrder(t)
		requireUserCount(t, env.store, userkit.UserSelection{WithoutDisabled: true}, len(want))
	}
}

func requireUserCount(t *testing.T, store userkit.Store, filter userkit.UserSelection, want int) {
	t.Helper()
	count, err := store.CountUsers(t.Context(), filter)
	require.NoError(t, err)
	require.EqualValues(t, want, count, "%+v", filter)
}

func countUsers(t *testing.T, env env) {
	all, active := userkit.UserSelection{}, userkit.UserSelection{WithoutDisabled: true}
	requireUserCount(t, env.store, all, 0)
	requireUserCount(t, env.store, active, 0)
	var users []userkit.User
	for n := range 10 {
		user := newUser(n)
		if n%4 == 0 {
			user.Status = userkit.StatusDisabled
		}
		users = append(users, user)
	}
	create(t, env.store, users...)
	requireUserCount(t, env.store, all, 10)
	requireUserCount(t, env.store, active, 7)

	for _, n := range []int{0, 1} { // one that is disabled, one that is not
		change := step(&users[n])
		change.Delete = true
		commit(t, env.store, change)
	}
	requireUserCount(t, env.store, all, 8)
	requireUserCount(t, env.store, active, 6)

	// Neither a refused creation nor a conflict counts.
	duplicate := newUser(20)
	duplicate.Login = users[2].Login
	require.Error(t, outcome(t, env.store, creation(duplicate)))
	require.Error(t, outcome(t, env.store, creation(users[3])))
	requireUserCount(t, env.store, all, 8)
	for n := range 5 {
		create(t, env.store, newUser(100+n))
		requireUserCount(t, env.store, all, 9+n)
	}
	requireUserCount(t, env.store, active, 11)
}
