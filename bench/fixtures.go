package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/userkit/userkit"
)

// Both sides work on the same users. Their ids and logins follow from their
// numbers, which count from 0, so that a script of pgbench can name them too.

// userIDPrefix is the text of a user's id without the last 12 digits, which are
// the number in hexadecimal.
const userIDPrefix = "00000000-0000-7000-8000-"

func userID(number int) userkit.UserID {
	id := userkit.UserID{6: 0x70, 8: 0x80}
	binary.BigEndian.PutUint32(id[12:], uint32(number))
	return id
}

// loginOf returns the login of a user; logins sort by the numbers.
func loginOf(number int) string { return fmt.Sprintf("user%08d", number) }

const currency = "EUR"

// entry returns a refill with a key of its own.
func entry(key int64) userkit.Entry {
	return userkit.Entry{Amount: userkit.Money{Amount: 100, Currency: currency}, Key: strconv.FormatInt(key, 10)}
}

// preparing is how many callers make the fixtures.
const preparing = 512

// plainUser returns a user whose fields all follow from the login.
func plainUser(number int) userkit.NewUser {
	return userkit.NewUser{
		ID: userID(number), Login: loginOf(number), Name: "User " + strconv.Itoa(number), Status: userkit.StatusActive,
		Email: loginOf(number) + "@example.com", Country: "DE", Currency: currency,
		TrafficLimit: userkit.Set(userkit.TrafficLimit{Bytes: 1 << 50, Reset: userkit.ResetDaily}),
	}
}

// createUsers creates users through the manager.
func createUsers(ctx context.Context, manager userkit.Manager, users int, user func(number int) userkit.NewUser) error {
	return each(ctx, users, func(number int) error {
		_, err := manager.CreateUser(ctx, user(number))
		return err
	})
}

// each calls make for the numbers below count, many at the same time.
func each(ctx context.Context, count int, make func(number int) error) error {
	var next atomic.Int64
	var group sync.WaitGroup
	var fault fault
	for range min(preparing, count) {
		group.Go(func() {
			for !fault.stopped() {
				number := int(next.Add(1)) - 1
				if number >= count {
					return
				}
				if err := cmp.Or(ctx.Err(), make(number)); err != nil {
					fault.set(err)
				}
			}
		})
	}
	group.Wait()
	return fault.err
}
