package storetest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// damage returns texts that are near a cursor and none: every byte flipped in
// several ways, pieces cut off and added, and plain rubbish.
func damage(cursor string) []string {
	damaged := []string{"x", "!", "\x00", "\xff", "null", "0", strings.Repeat("A", 8), strings.Repeat("A", 64), strings.Repeat("A", 100_000), cursor + cursor, "A" + cursor}
	for i := range len(cursor) {
		for _, flip := range []byte{0x01, 0x02, 0x10, 0x20, 0x80} {
			text := []byte(cursor)
			text[i] ^= flip
			damaged = append(damaged, string(text))
		}
		if i > 0 {
			damaged = append(damaged, cursor[:i], cursor[i:])
		}
	}
	return damaged
}

// population makes users that differ in every field, some of them equal in some.
func population(t *testing.T, d *desk) []userkit.User {
	t.Helper()
	names := []string{"", "ada", "Ada", "ÅDA", "Zoë", "zoe", "Ärger", "arger", "żółw", "Ω", "😀", "a b", "a-b", "ab", "10", "9", "İ", "ß", "ss", "_", "~"}
	statuses := []userkit.Status{userkit.StatusActive, userkit.StatusInvited, userkit.StatusActive, userkit.StatusActive}
	licenses := []string{"", noLimit, fiveDevices, twoDevices}
	countries := []string{"", "DE", "BY", "PL"}
	var ids []userkit.UserID
	for i, name := range names {
		d.clock.Advance(time.Second)
		newcomer := userkit.NewUser{
			Login: fmt.Sprintf("%s%d", strings.ReplaceAll(name, "😀", "𠀀"), i%7), Name: name, Status: statuses[i%4],
			License: licenses[i%4], AuthMethod: []string{"", "oidc", "Password"}[i%3], Description: names[len(names)-1-i], Country: countries[i%4],
			PreferredMap: names[(i*5)%len(names)], AdditionalInfo: names[(i*8)%len(names)],
			Payer: userkit.Payer{
				AccountNumber: names[(i*2)%len(names)], LegalAddress: names[(i*4)%len(names)], PostalAddress: names[(i*11)%len(names)],
				Bank: names[(i*13)%len(names)], BankAccount: names[(i*17)%len(names)],
			},
			TrafficLimit: userkit.Set(userkit.TrafficLimit{Bytes: int64(i%5) << 33}),
			RegisteredAt: at(-(i * 37 % 11) * 86_400),
		}
		if i%4 != 0 {
			newcomer.EmailVerified = i%3 == 0
			newcomer.Email, newcomer.ExtRef, newcomer.Phone = fmt.Sprintf("%d.u@Example.com", i*7%19), fmt.Sprint("R", i*5%23), fmt.Sprintf("+1202555%04d", i*31%100)
		}
		if i%3 == 1 {
			newcomer.Kind = userkit.UserLegalEntity
		}
		if i == 12 {
			newcomer.Status = userkit.StatusInactive
		}
		switch i % 5 {
		case 1:
			newcomer.ExpiresAt = at(1_000_000 + i%2)
		case 2:
			newcomer.ValidFor = userkit.Duration(time.Duration(1+i%3) * time.Hour)
		}
		user, err := d.CreateUser(t.Context(), newcomer)
		require.NoError(t, err)
		ids = append(ids, user.ID)
		for n := range i % 3 {
			d.register(t, user.ID, userkit.NewDevice{Name: fmt.Sprint(n)})
		}
		if i%4 == 2 {
			d.connect(t, user.ID, userkit.DeviceID{})
		}
		if i%2 == 0 {
			d.refill(t, user.ID, int64(1+i%6)*50, "key")
		}
		if i%6 == 5 {
			_, err := d.RecordLogin(t.Context(), user.ID, "")
			require.NoError(t, err)
			_, err = d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{SetAttributes: userkit.Attributes{"n": i}})
			require.NoError(t, err)
		}
		if i%4 == 3 {
			_, err := d.DeactivateUser(t.Context(), user.ID)
			require.NoError(t, err)
		}
	}
	var users []userkit.User
	for _, id := range ids {
		users = append(users, d.user(t, id))
	}
	return users
}

// ordered sorts records as a list of them must be sorted. Each key is worked out once:
// folding the texts in every comparison would take longer than most cases.
func ordered[T any](records []T, field userkit.Field[T], descending bool, id func(*T) [16]byte) []T {
	type placed struct {
		position userkit.ListPosition
		record   T
	}
	all := make([]placed, len(records))
	for i, record := range records {
		all[i] = placed{userkit.ListPosition{Key: field.Key(&record), ID: id(&record)}, record}
	}
	slices.SortFunc(all, func(a, b placed) int {
		if descending {
			a, b = b, a
		}
		return userkit.CompareListPositions(a.position, b.position)
	})
	sorted := make([]T, len(all))
	for i := range all {
		sorted[i] = all[i].record
	}
	return sorted
}

// take reads at most so many users of a walk.
func take(t *testing.T, walk iter.Seq2[userkit.User, error], most int) []userkit.User {
	t.Helper()
	users := []userkit.User{}
	for user, err := range walk {
		require.NoError(t, err)
		users = append(users, user)
		if len(users) == most {
			break
		}
	}
	return users
}

func pageGroups() []group {
	return []group{
		{"Users", userListCases()},
		{"AllUsers", walkCases()},
		{"Devices", deviceListCases()},
		{"Cursor", cursorCases()},
	}
}

func userListCases() []testCase {
	return []testCase{
		{"are in the order of their logins by default", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			users := population(t, d)
			login := slices.IndexFunc(userkit.UserFields(), func(field userkit.Field[userkit.User]) bool { return field.Name == "login" })
			page, err := d.Users(t.Context(), userkit.UserQuery{})
			require.NoError(t, err)
			require.Equal(t, ordered(users, userkit.UserFields()[login], false, userRecordID), page.Items)
		}},
		{"a page has 50 by default and 1000 at most, and the last one has no cursor", func(t *testing.T, env env) {
			d := env.desk(t)
			page, err := d.Users(t.Context(), userkit.UserQuery{})
			require.NoError(t, err)
			require.NotNil(t, page.Items)
			require.Empty(t, page.Items)
			require.Empty(t, page.Next)
			for range userkit.DefaultPageLimit {
				d.signUp(t)
			}
			page, err = d.Users(t.Context(), userkit.UserQuery{})
			require.NoError(t, err)
			require.Len(t, page.Items, userkit.DefaultPageLimit)
			require.Empty(t, page.Next, "the last page, though it is full")
			d.signUp(t)
			page, err = d.Users(t.Context(), userkit.UserQuery{})
			require.NoError(t, err)
			require.Len(t, page.Items, userkit.DefaultPageLimit)
			require.NotEmpty(t, page.Next)
			page, err = d.Users(t.Context(), userkit.UserQuery{PageQuery: userkit.PageQuery{Limit: userkit.MaxPageLimit}})
			require.NoError(t, err)
			require.Len(t, page.Items, userkit.DefaultPageLimit+1)
			require.Empty(t, page.Next)
		}},
		{"a wrong limit or sort field is refused, in every list", func(t *testing.T, env env) {
			d := env.desk(t)
			d.household(t)
			for name, list := range map[string]func(page userkit.PageQuery) error{
				"Users": func(page userkit.PageQuery) error {
					_, err := d.Users(t.Context(), userkit.UserQuery{PageQuery: page})
					return err
				},
				"Devices": func(page userkit.PageQuery) error {
					_, err := d.Devices(t.Context(), userkit.DeviceQuery{PageQuery: page})
					return err
				},
				"Sessions": func(page userkit.PageQuery) error {
					_, err := d.Sessions(t.Context(), userkit.SessionQuery{PageQuery: page})
					return err
				},
				"Transactions": func(page userkit.PageQuery) error {
					_, err := d.Transactions(t.Context(), userkit.TransactionQuery{PageQuery: page})
					return err
				},
				"Events": func(page userkit.PageQuery) error {
					_, err := d.Events(t.Context(), userkit.EventQuery{PageQuery: page})
					return err
				},
			} {
				t.Run(name, func(t *testing.T) {
					for _, limit := range []int{-1, userkit.MaxPageLimit + 1} {
						requireField(t, list(userkit.PageQuery{Limit: limit}), userkit.ErrInvalid, userkit.CodeOutOfRange, "limit")
					}
					for _, field := range []string{"no_such_field", "attributes", "login; DROP TABLE users", "Login", "access_token", "token_digest", "\x00"} {
						requireField(t, list(userkit.PageQuery{Sort: field}), userkit.ErrInvalid, userkit.CodeUnknownField, "sort")
					}
				})
			}
		}},
		{"are counted as they are listed", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			users := population(t, d)
			active := 0
			for _, user := range users {
				if user.Status != userkit.StatusDisabled {
					active++
				}
			}
			require.EqualValues(t, len(users), d.countUsers(t))
			count, err := d.CountUsers(t.Context(), userkit.UserFilter{WithoutDisabled: true})
			require.NoError(t, err)
			require.EqualValues(t, active, count)
		}},
	}
}

func walkCases() []testCase {
	return []testCase{
		{"sees every user once, whatever the size of a page", func(t *testing.T, env env) {
			d := env.desk(t, patient)
			users := population(t, d)
			for _, field := range userkit.UserFields() {
				if !field.Sortable() {
					continue
				}
				for _, limit := range []int{1, 4, 0} {
					query := userkit.UserQuery{PageQuery: userkit.PageQuery{Sort: field.Name, Limit: limit}}
					require.Equal(t, ordered(users, field, false, userRecordID), take(t, d.AllUsers(t.Context(), query), -1))
				}
			}
		}},
		{"goes on from a cursor, and ends when the reader stops", func(t *testing.T, env env) {
			d := env.desk(t)
			var users []userkit.User
			for range 10 {
				users = append(users, d.signUp(t))
			}
			page, err := d.Users(t.Context(), userkit.UserQuery{PageQuery: userkit.PageQuery{Limit: 4}})
			require.NoError(t, err)
			query := userkit.UserQuery{PageQuery: userkit.PageQuery{Limit: 3, Cursor: page.Next}}
			require.Equal(t, users[4:], take(t, d.AllUsers(t.Context(), query), -1))
			require.Equal(t, users[4:6], take(t, d.AllUsers(t.Context(), query), 2))
			require.Equal(t, users[4:7], take(t, d.AllUsers(t.Context(), query), 3))
			walk := d.AllUsers(t.Context(), userkit.UserQuery{})
			first := take(t, walk, -1)
			require.Equal(t, first, take(t, walk, -1), "a walk can be walked again")
		}},
		{"sees those that stay once, while others come and go", func(t *testing.T, env env) {
			d := env.desk(t)
			var stay, leave []userkit.User
			for i := range 40 {
				user := d.signUp(t)
				if i%2 == 0 {
					stay = append(stay, user)
				} else {
					leave = append(leave, user)
				}
			}
			seen := map[userkit.UserID]int{}
			n := 0
			for user, err := range d.AllUsers(t.Context(), userkit.UserQuery{PageQuery: userkit.PageQuery{Limit: 3}}) {
				require.NoError(t, err)
				seen[user.ID]++
				if n < len(leave) {
					_, err := d.DeleteUser(t.Context(), leave[n].ID, leave[n].ID.String())
					require.NoError(t, err)
					d.signUp(t, func(newcomer *userkit.NewUser) { newcomer.Login = fmt.Sprintf("user-%04d-between", n) })
					d.signUp(t, func(newcomer *userkit.NewUser) { newcomer.Login = fmt.Sprintf("a-user-before-%d", n) })
				}
				n++
			}
			for _, user := range stay {
				require.Equal(t, 1, seen[user.ID], user.Login)
			}
			for id, times := range seen {
				require.Equal(t, 1, times, id)
			}
		}},
		{"sees those that stay once, while others come and go at the same time", func(t *testing.T, env env) {
			d := env.desk(t)
			e := d.beside(t, env.second(t))
			var stay []userkit.User
			for range 60 {
				stay = append(stay, d.signUp(t))
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan []answer[int], 1)
			go func() {
				done <- together(4, func(i int) (int, error) {
					for n := 0; ; n++ {
						user, err := e.CreateUser(ctx, userkit.NewUser{Login: fmt.Sprintf("user-%04d-%d-%d", n%60, i, n)})
						if err == nil {
							_, err = e.DeleteUser(ctx, user.ID, user.ID.String())
						}
						if err != nil {
							return n, err
						}
					}
				})
			}()
			for range 5 {
				seen := map[userkit.UserID]int{}
				for user, err := range d.AllUsers(t.Context(), userkit.UserQuery{PageQuery: userkit.PageQuery{Limit: 7}}) {
					require.NoError(t, err)
					seen[user.ID]++
					require.Equal(t, 1, seen[user.ID])
				}
				for _, user := range stay {
					require.Equal(t, 1, seen[user.ID])
				}
			}
			stop()
			for _, answer := range <-done {
				require.ErrorIs(t, answer.err, context.Canceled)
			}
		}},
		{"gives the error of a wrong query and ends", func(t *testing.T, env env) {
			d := env.desk(t)
			d.signUp(t)
			for code, page := range map[userkit.Code]userkit.PageQuery{
				userkit.CodeInvalidCursor: {Cursor: "rubbish"},
				userkit.CodeUnknownField:  {Sort: "no_such_field"},
				userkit.CodeOutOfRange:    {Limit: -1},
			} {
				count := 0
				for _, err := range d.AllUsers(t.Context(), userkit.UserQuery{PageQuery: page}) {
					count++
					requireCode(t, err, userkit.ErrInvalid, code)
				}
				require.Equal(t, 1, count)
			}
		}},
		{"gives the error of a context that ends on the way", func(t *testing.T, env env) {
			d := env.desk(t)
			for range 10 {
				d.signUp(t)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var last error
			for _, err := range d.AllUsers(ctx, userkit.UserQuery{PageQuery: userkit.PageQuery{Limit: 2}}) {
				last = err
				cancel()
			}
			require.ErrorIs(t, last, context.Canceled)
		}},
	}
}

func deviceListCases() []testCase {
	return []testCase{
		{"are sorted by every field both ways, whole and in pages of every size", func(t *testing.T, env env) {
			d := env.desk(t)
			var users []userkit.User
			for range 3 {
				users = append(users, d.signUp(t))
			}
			var devices []userkit.Device
			types := []userkit.DeviceType{userkit.DeviceIOS, userkit.DeviceRouter, userkit.DeviceAndroid}
			for i, name := range []string{"", "zoe", "Zoë", "ÅDA", "ada", "", "a b", "ab", "9", "10", "Ω"} {
				if i%3 != 0 {
					d.clock.Advance(time.Minute)
				}
				given := userkit.NewDevice{Name: name, Type: types[i%3]}
				if i%2 == 0 {
					given.HardwareID = fmt.Sprint("HW", i*5%11)
				}
				device := d.register(t, users[i%3].ID, given)
				if i%4 == 1 {
					d.seen(t, device)
				}
				device, err := d.Device(t.Context(), device.ID)
				require.NoError(t, err)
				devices = append(devices, device)
			}
			_, err := d.DeactivateUser(t.Context(), users[2].ID)
			require.NoError(t, err)
			for _, field := range userkit.DeviceFields() {
				for _, descending := range []bool{false, true} {
					for _, filter := range []userkit.DeviceFilter{{}, {WithoutDisabled: true}, {UserID: users[0].ID}, {UserID: users[2].ID}, {UserID: users[2].ID, WithoutDisabled: true}, {UserID: userkit.NewID[userkit.User]()}} {
						want := slices.DeleteFunc(ordered(devices, field, descending, deviceRecordID), func(device userkit.Device) bool {
							return !filter.UserID.IsZero() && device.UserID != filter.UserID || filter.WithoutDisabled && device.UserID == users[2].ID
						})
						for _, limit := range []int{1, 2, 3, 5, 50} {
							got := everyItem(t, userkit.PageQuery{Sort: field.Name, Descending: descending, Limit: limit}, func(page userkit.PageQuery) (userkit.Page[userkit.Device], error) {
								return d.Devices(t.Context(), userkit.DeviceQuery{DeviceFilter: filter, PageQuery: page})
							})
							require.Equal(t, want, got, "by %s, descending %t, pages of %d", field.Name, descending, limit)
						}
					}
				}
			}
		}},
	}
}

// usersSorted demands every order of the users, in pages of every size.
func usersSorted(t *testing.T, env env) {
	d := env.desk(t, patient)
	users := population(t, d)
	for _, field := range userkit.UserFields() {
		if !field.Sortable() {
			continue
		}
		for _, descending := range []bool{false, true} {
			for _, onlyActive := range []bool{false, true} {
				want := ordered(users, field, descending, userRecordID)
				if onlyActive {
					want = slices.DeleteFunc(want, func(user userkit.User) bool { return user.Status == userkit.StatusDisabled })
				}
				limits := []int{2, 7, len(want) - 1, len(want), len(want) + 1}
				if !descending && !onlyActive {
					limits = append(limits, 1)
				}
				for _, limit := range limits {
					got := everyItem(t, userkit.PageQuery{Sort: field.Name, Descending: descending, Limit: limit}, func(page userkit.PageQuery) (userkit.Page[userkit.User], error) {
						return d.Users(t.Context(), userkit.UserQuery{UserFilter: userkit.UserFilter{WithoutDisabled: onlyActive}, PageQuery: page})
					})
					require.Equal(t, idsOf(want, userRecordID), idsOf(got, userRecordID), "by %s, descending %t, pages of %d", field.Name, descending, limit)
					require.Equal(t, want, got)
				}
			}
		}
	}
}

// thousands makes more records of each kind than any page holds, so that what
// goes through all of them has to turn pages.
func thousands(t *testing.T, env env) {
	const count = 2_100
	plain := env.desk(t)
	d := plain.beside(t, env.store, userkit.WithSealingKeys(sealingKey(1)))
	ctx := t.Context()
	users := values(t, together(count, func(i int) (userkit.User, error) {
		return d.CreateUser(ctx, userkit.NewUser{Login: fmt.Sprintf("user-%05d", i), Status: userkit.StatusActive})
	}))
	devices := values(t, together(count, func(i int) (userkit.Device, error) {
		return d.RegisterDevice(ctx, users[i].ID, userkit.NewDevice{})
	}))
	values(t, together(count, func(i int) (userkit.Session, error) {
		return d.StartSession(ctx, userkit.NewSession{UserID: users[i%(count/3)].ID, Node: "node"})
	}))

	require.EqualValues(t, count, d.countUsers(t))
	seen := map[userkit.UserID]bool{}
	for user, err := range d.AllUsers(ctx, userkit.UserQuery{}) {
		require.NoError(t, err)
		require.False(t, seen[user.ID])
		seen[user.ID] = true
	}
	require.Len(t, seen, count)

	followed := d.feed(t, "", 3*count)
	events, err := d.feedOnce(t, "")
	require.NoError(t, err)
	require.Equal(t, followed, canonicalEvents(t, events), "one call goes to the end")

	slices.SortFunc(users, func(a, b userkit.User) int { return a.ID.Compare(b.ID) })
	for _, at := range []int{0, count / 2, count - 1} {
		user := d.user(t, users[at].ID)
		edit := step(&user)
		edit.Account.Balance.Amount = 1
		commit(t, env.store, edit)
	}
	require.Len(t, d.mismatches(t), 3)

	resealer := plain.beside(t, env.store, userkit.WithSealingKeys(sealingKey(2), sealingKey(1)))
	resealed, err := resealer.ResealTokens(ctx)
	require.NoError(t, err)
	require.Equal(t, count, resealed)
	fresh := plain.beside(t, env.store, userkit.WithSealingKeys(sealingKey(2)))
	for _, at := range []int{0, count / 2, count - 1} {
		token, err := fresh.RevealToken(ctx, devices[at].ID)
		require.NoError(t, err)
		require.Equal(t, devices[at].AccessToken, token)
	}

	d.clock.Advance(time.Hour)
	closed, err := d.CloseStaleSessions(ctx)
	require.NoError(t, err)
	require.Equal(t, count, closed)
	page, err := d.Sessions(ctx, userkit.SessionQuery{SessionFilter: userkit.SessionFilter{State: userkit.SessionsActive}})
	require.NoError(t, err)
	require.Empty(t, page.Items)
}

func cursorCases() []testCase {
	return []testCase{
		{"that is damaged is refused: every byte counts", func(t *testing.T, env env) {
			d := env.desk(t)
			for range 5 {
				d.household(t)
			}
			ctx := t.Context()
			for name, list := range map[string]func(cursor userkit.Cursor) (userkit.Cursor, error){
				"Users by login": func(cursor userkit.Cursor) (userkit.Cursor, error) {
					page, err := d.Users(ctx, userkit.UserQuery{PageQuery: userkit.PageQuery{Limit: 2, Cursor: cursor}})
					return page.Next, err
				},
				"Users by id": func(cursor userkit.Cursor) (userkit.Cursor, error) {
					page, err := d.Users(ctx, userkit.UserQuery{PageQuery: userkit.PageQuery{Sort: "id", Limit: 2, Cursor: cursor}})
					return page.Next, err
				},
				"Users by balance": func(cursor userkit.Cursor) (userkit.Cursor, error) {
					page, err := d.Users(ctx, userkit.UserQuery{PageQuery: userkit.PageQuery{Sort: "balance", Limit: 2, Cursor: cursor}})
					return page.Next, err
				},
				"Devices": func(cursor userkit.Cursor) (userkit.Cursor, error) {
					page, err := d.Devices(ctx, userkit.DeviceQuery{PageQuery: userkit.PageQuery{Limit: 2, Cursor: cursor}})
					return page.Next, err
				},
				"Sessions by address": func(cursor userkit.Cursor) (userkit.Cursor, error) {
					page, err := d.Sessions(ctx, userkit.SessionQuery{PageQuery: userkit.PageQuery{Sort: "internal_ip", Limit: 2, Cursor: cursor}})
					return page.Next, err
				},
				"Sessions at the boundary": func(cursor userkit.Cursor) (userkit.Cursor, error) {
					page, err := d.Sessions(ctx, userkit.SessionQuery{PageQuery: userkit.PageQuery{Limit: 5, Cursor: cursor}})
					return page.Next, err
				},
				"Transactions": func(cursor userkit.Cursor) (userkit.Cursor, error) {
					page, err := d.Transactions(ctx, userkit.TransactionQuery{PageQuery: userkit.PageQuery{Limit: 2, Cursor: cursor}})
					return page.Next, err
				},
				"Events": func(cursor userkit.Cursor) (userkit.Cursor, error) {
					page, err := d.Events(ctx, userkit.EventQuery{PageQuery: userkit.PageQuery{Limit: 2, Cursor: cursor}})
					return page.Next, err
				},
			} {
				t.Run(name, func(t *testing.T) {
					cursor, err := list("")
					require.NoError(t, err)
					require.NotEmpty(t, cursor)
					_, err = list(cursor)
					require.NoError(t, err)
					for _, damaged := range damage(string(cursor)) {
						_, err := list(userkit.Cursor(damaged))
						requireField(t, err, userkit.ErrInvalid, userkit.CodeInvalidCursor, "cursor")
					}
				})
			}
		}},
		{"of another query is refused; the limit alone may change", func(t *testing.T, env env) {
			d := env.desk(t)
			var users []userkit.User
			for range 5 {
				users = append(users, d.household(t))
			}
			ctx := t.Context()
			page, err := d.Users(ctx, userkit.UserQuery{PageQuery: userkit.PageQuery{Sort: "name", Limit: 2}})
			require.NoError(t, err)
			cursor := page.Next
			for name, list := range map[string]func() error{
				"another sort": func() error {
					_, err := d.Users(ctx, userkit.UserQuery{PageQuery: userkit.PageQuery{Sort: "login", Limit: 2, Cursor: cursor}})
					return err
				},
				"the default sort": func() error {
					_, err := d.Users(ctx, userkit.UserQuery{PageQuery: userkit.PageQuery{Limit: 2, Cursor: cursor}})
					return err
				},
				"another direction": func() error {
					_, err := d.Users(ctx, userkit.UserQuery{PageQuery: userkit.PageQuery{Sort: "name", Descending: true, Limit: 2, Cursor: cursor}})
					return err
				},
				"another filter": func() error {
					_, err := d.Users(ctx, userkit.UserQuery{UserFilter: userkit.UserFilter{WithoutDisabled: true}, PageQuery: userkit.PageQuery{Sort: "name", Limit: 2, Cursor: cursor}})
					return err
				},
				"another list": func() error {
					_, err := d.Devices(ctx, userkit.DeviceQuery{PageQuery: userkit.PageQuery{Sort: "name", Limit: 2, Cursor: cursor}})
					return err
				},
				"a walk of another query": func() error {
					for _, err := range d.AllUsers(ctx, userkit.UserQuery{PageQuery: userkit.PageQuery{Sort: "email", Cursor: cursor}}) {
						return err
					}
					return nil
				},
			} {
				t.Run(name, func(t *testing.T) {
					requireField(t, list(), userkit.ErrInvalid, userkit.CodeCursorMismatch, "cursor")
				})
			}
			for _, limit := range []int{1, 3, 0} {
				page, err := d.Users(ctx, userkit.UserQuery{PageQuery: userkit.PageQuery{Sort: "name", Limit: limit, Cursor: cursor}})
				require.NoError(t, err)
				require.Equal(t, users[2].ID, page.Items[0].ID)
			}

			events, err := d.Events(ctx, userkit.EventQuery{EventFilter: userkit.EventFilter{UserID: users[0].ID}, PageQuery: userkit.PageQuery{Limit: 2}})
			require.NoError(t, err)
			_, err = d.Events(ctx, userkit.EventQuery{EventFilter: userkit.EventFilter{UserID: users[1].ID}, PageQuery: userkit.PageQuery{Limit: 2, Cursor: events.Next}})
			requireCode(t, err, userkit.ErrInvalid, userkit.CodeCursorMismatch)
			transactions, err := d.Transactions(ctx, userkit.TransactionQuery{TransactionFilter: userkit.TransactionFilter{UserID: users[0].ID}, PageQuery: userkit.PageQuery{Limit: 1}})
			require.NoError(t, err)
			for _, filter := range []userkit.TransactionFilter{{}, {UserID: users[1].ID}, {UserID: users[0].ID, IncludeCancelled: true}, {UserID: users[0].ID, From: base}} {
				_, err = d.Transactions(ctx, userkit.TransactionQuery{TransactionFilter: filter, PageQuery: userkit.PageQuery{Limit: 1, Cursor: transactions.Next}})
				requireCode(t, err, userkit.ErrInvalid, userkit.CodeCursorMismatch)
			}
		}},
		{"goes on where it was, though the record that it points at is gone", func(t *testing.T, env env) {
			d := env.desk(t)
			var users []userkit.User
			for range 9 {
				users = append(users, d.signUp(t))
			}
			page, err := d.Users(t.Context(), userkit.UserQuery{PageQuery: userkit.PageQuery{Limit: 4}})
			require.NoError(t, err)
			for _, gone := range []int{2, 3, 4} {
				_, err := d.DeleteUser(t.Context(), users[gone].ID, users[gone].ID.String())
				require.NoError(t, err)
			}
			page, err = d.Users(t.Context(), userkit.UserQuery{PageQuery: userkit.PageQuery{Limit: 4, Cursor: page.Next}})
			require.NoError(t, err)
			require.Equal(t, users[5:], page.Items)
			require.Empty(t, page.Next)
		}},
		{"works in another manager on the same data", func(t *testing.T, env env) {
			d := env.desk(t)
			var users []userkit.User
			for range 6 {
				users = append(users, d.signUp(t))
			}
			page, err := d.Users(t.Context(), userkit.UserQuery{PageQuery: userkit.PageQuery{Limit: 4}})
			require.NoError(t, err)
			page, err = d.beside(t, env.second(t)).Users(t.Context(), userkit.UserQuery{PageQuery: userkit.PageQuery{Cursor: page.Next}})
			require.NoError(t, err)
			require.Equal(t, users[4:], page.Items)
		}},
	}
}
