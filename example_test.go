package userkit_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync/atomic"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// A user, a device, and the device's token: the shortest program that does
// something real.
func ExampleManager() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()

	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada", Email: "ada@example.org"})
	if err != nil {
		log.Fatal(err)
	}
	phone, err := users.RegisterDevice(ctx, ada.ID, userkit.NewDevice{Name: "phone", Type: userkit.DeviceAndroid})
	if err != nil {
		log.Fatal(err)
	}
	proof, err := users.Authenticate(ctx, phone.AccessToken)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("the %s of %s, access allowed: %t\n", proof.Device.Name, proof.User.Login, proof.Access.Allowed)
	// Output: the phone of ada, access allowed: true
}

// Create, edit, find and list users.
func ExampleUserManager() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()

	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada", Name: "Ada Lovelace", Email: "ada@example.org"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := users.CreateUser(ctx, userkit.NewUser{Login: "zoe", Name: "Zoë"}); err != nil {
		log.Fatal(err)
	}

	// A patch sets what it names. With the revision that an editor saw, the edit
	// is refused when somebody else was faster.
	seen := ada.Revision
	ada, err = users.UpdateUser(ctx, ada.ID, userkit.UserPatch{Name: userkit.Set("Countess Ada"), Revision: seen})
	if err != nil {
		log.Fatal(err)
	}
	_, err = users.UpdateUser(ctx, ada.ID, userkit.UserPatch{Name: userkit.Set("Ada L."), Revision: seen})
	fmt.Println("second editor:", userkit.ErrorCode(err))

	// Logins and email addresses are found however they are written.
	found, err := users.FindUser(ctx, userkit.ByEmail("ADA@Example.org"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("found:", found.Name)

	if _, err := users.DeactivateUser(ctx, found.ID); err != nil {
		log.Fatal(err)
	}
	query := userkit.UserQuery{PageQuery: userkit.PageQuery{Sort: "name", Descending: true}}
	for user, err := range users.AllUsers(ctx, query) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%-12s  %s\n", user.Name, user.Status)
	}
	active, err := users.CountUsers(ctx, userkit.UserFilter{OnlyActive: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("not disabled:", active)
	// Output:
	// second editor: revision_mismatch
	// found: Countess Ada
	// Zoë           invited
	// Countess Ada  disabled
	// not disabled: 1
}

// A license bounds how many devices a user has.
func ExampleDeviceManager() {
	ctx := context.Background()
	users, err := userkit.New(memory.New(),
		userkit.WithLicenses(userkit.License{Name: "Solo", Devices: 1}, userkit.License{Name: "Duo", Devices: 2}),
		userkit.WithDefaultLicense("Solo"),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	if err != nil {
		log.Fatal(err)
	}

	phone, err := users.RegisterDevice(ctx, ada.ID, userkit.NewDevice{Name: "phone", HardwareID: "A1"})
	if err != nil {
		log.Fatal(err)
	}
	_, err = users.RegisterDevice(ctx, ada.ID, userkit.NewDevice{Name: "laptop", HardwareID: "B2"})
	fmt.Println("laptop:", userkit.ErrorCode(err))

	// The same machine comes back into its own slot, with a new token.
	again, err := users.RegisterDevice(ctx, ada.ID, userkit.NewDevice{Name: "phone", HardwareID: "A1"})
	if err != nil {
		log.Fatal(err)
	}
	_, err = users.Authenticate(ctx, phone.AccessToken)
	fmt.Println("same device:", again.ID == phone.ID, "old token:", userkit.ErrorCode(err))

	if _, err := users.SetLicense(ctx, ada.ID, "Duo"); err != nil {
		log.Fatal(err)
	}
	if _, err := users.RegisterDevice(ctx, ada.ID, userkit.NewDevice{Name: "laptop", HardwareID: "B2"}); err != nil {
		log.Fatal(err)
	}
	devices, err := users.Devices(ctx, userkit.DeviceQuery{DeviceFilter: userkit.DeviceFilter{UserID: ada.ID}})
	if err != nil {
		log.Fatal(err)
	}
	for _, device := range devices.Items {
		fmt.Println("has:", device.Name)
	}
	// Output:
	// laptop: device_limit
	// same device: true old token: invalid_token
	// has: phone
	// has: laptop
}

// A node reports cumulative counters; the daily limit ends the session.
func ExampleSessionManager() {
	ctx := context.Background()
	noon := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	var passed atomic.Int64 // nanoseconds since noon; the clock is read by many goroutines
	users, err := userkit.New(memory.New(),
		userkit.WithClock(func() time.Time { return noon.Add(time.Duration(passed.Load())) }),
		userkit.WithDefaultTrafficLimit(userkit.TrafficLimit{Bytes: 1000, Reset: userkit.ResetDaily}),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	if err != nil {
		log.Fatal(err)
	}

	session, err := users.StartSession(ctx, userkit.NewSession{UserID: ada.ID, Node: "fra-1"})
	if err != nil {
		log.Fatal(err)
	}
	passed.Store(int64(3 * time.Minute))
	reading := userkit.UsageReport{SessionID: session.ID, Received: 300, Sent: 100, At: noon.Add(1 * time.Minute)}
	later := userkit.UsageReport{SessionID: session.ID, Received: 900, Sent: 200, At: noon.Add(2 * time.Minute)}
	results, err := users.ReportUsage(ctx, []userkit.UsageReport{reading, reading, later, reading})
	if err != nil {
		log.Fatal(err)
	}
	for _, result := range results {
		fmt.Println(result.Outcome, result.Received+result.Sent, "bytes")
	}

	session, err = users.Session(ctx, session.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("active:", session.Active(), "end reason:", session.EndReason)

	_, err = users.StartSession(ctx, userkit.NewSession{UserID: ada.ID, Node: "fra-1"})
	if refusal, ok := errors.AsType[*userkit.Error](err); ok {
		fmt.Println("again:", refusal.Code, "until", refusal.Until.Format(time.DateTime))
	}
	// Output:
	// counted 400 bytes
	// repeated 0 bytes
	// counted 700 bytes
	// late 0 bytes
	// active: false end reason: traffic_limit
	// again: traffic_limit until 2026-03-03 00:00:00
}

// Money moves in minor units, under keys that make every call safe to repeat.
func ExampleBalanceManager() {
	ctx := context.Background()
	users, err := userkit.New(memory.New(), userkit.WithCurrency("EUR"))
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()
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

// Every change records who made it; a feed follows the changes.
func ExampleActivityManager() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()

	olga := userkit.Actor{Kind: userkit.ActorAdministrator, ID: "olga"}
	ada, err := users.CreateUser(userkit.WithActor(ctx, olga), userkit.NewUser{Login: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	event := userkit.NewEvent{Name: "tariff.chosen", Data: map[string]any{"tariff": "yearly"}}
	if _, err := users.RecordEvent(ctx, ada.ID, event); err != nil {
		log.Fatal(err)
	}

	var cursor userkit.FeedCursor // a host keeps it where it keeps its own work
	for event, err := range users.Feed(ctx, cursor) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Name, "by", event.Actor.Kind)
		cursor = event.Cursor
	}

	if _, err := users.ActivateUser(ctx, ada.ID); err != nil {
		log.Fatal(err)
	}
	for event, err := range users.Feed(ctx, cursor) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("since then:", event.Name)
	}
	// Output:
	// user.created by administrator
	// tariff.chosen by system
	// since then: user.activated
}

// Match the kind of an error with errors.Is; its exact reason is the code.
func ExampleError() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close()
	if _, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"}); err != nil {
		log.Fatal(err)
	}

	_, err = users.CreateUser(ctx, userkit.NewUser{Login: "Ada"})
	if errors.Is(err, userkit.ErrExists) {
		fmt.Println("somebody has that already")
	}
	if e, ok := errors.AsType[*userkit.Error](err); ok {
		fmt.Println("code:", e.Code, "field:", e.Field)
	}
	// Output:
	// somebody has that already
	// code: login_taken field: login
}
