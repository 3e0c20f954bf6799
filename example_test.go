package userkit_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
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
	defer users.Close(context.Background())

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
	defer users.Close(context.Background())

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
	defer users.Close(context.Background())
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
	defer users.Close(context.Background())
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
	defer users.Close(context.Background())
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
	defer users.Close(context.Background())

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

// A filter is a text that an administrator writes, or that a link carries.
func ExampleParseFilter() {
	filter, err := userkit.ParseFilter(`Country EQ "GB" and (attributes.plan sw "pro" or balance ge "20 EUR")`)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(filter)

	_, err = userkit.ParseFilter(`country eq "GB" and plan eq "pro"`)
	if wrong, ok := errors.AsType[*userkit.Error](err); ok {
		fmt.Printf("%s at character %d: %s\n", wrong.Code, wrong.Position, wrong.Message)
	}
	// Output:
	// country eq "GB" and (attributes.plan sw "pro" or balance ge "20.00 EUR")
	// unknown_field at character 21: no field "plan"
}

// A list with a search, a filter and an order.
func ExampleUserQuery() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
	for _, user := range []userkit.NewUser{
		{Login: "ada", Name: "Ada Lovelace", Country: "GB", Attributes: userkit.Attributes{"plan": "pro", "seats": 3}},
		{Login: "chloe", Name: "Chloé Lovell", Country: "FR", Attributes: userkit.Attributes{"plan": "pro", "seats": 12}},
		{Login: "love.ivan", Name: "Ivan", Country: "BY", Attributes: userkit.Attributes{"plan": "free"}},
		{Login: "zoe", Name: "Zoë", Country: "GB", Attributes: userkit.Attributes{"plan": "pro"}},
	} {
		if _, err := users.CreateUser(ctx, user); err != nil {
			log.Fatal(err)
		}
	}

	page, err := users.Users(ctx, userkit.UserQuery{
		UserFilter: userkit.UserFilter{
			Search: "LOVE",
			Filter: userkit.AnyOf(
				userkit.Greater("attributes.seats", 10),
				userkit.Not(userkit.Equal("attributes.plan", "pro")),
			),
		},
		PageQuery: userkit.PageQuery{Sort: "name", Descending: true},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, user := range page.Items {
		fmt.Println(user.Name, user.Attributes["plan"])
	}
	// Output:
	// Ivan free
	// Chloé Lovell pro
}

// A list has the members that it is given; the members of a rule are those who
// meet it at the moment somebody asks.
func ExampleSegmentManager() {
	ctx := context.Background()
	noon := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	var passed atomic.Int64 // nanoseconds since noon; the clock is read by many goroutines
	users, err := userkit.New(memory.New(),
		userkit.WithClock(func() time.Time { return noon.Add(time.Duration(passed.Load())) }),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada", ExpiresAt: noon.Add(time.Hour)})
	if err != nil {
		log.Fatal(err)
	}

	testers, err := users.CreateSegment(ctx, userkit.NewSegment{Name: "Testers"})
	if err != nil {
		log.Fatal(err)
	}
	if err := users.AddToSegments(ctx, ada.ID, testers.ID); err != nil {
		log.Fatal(err)
	}
	rule, err := userkit.ParseFilter(`access eq "user_expired" and segment eq "testers"`)
	if err != nil {
		log.Fatal(err)
	}
	lapsed, err := users.CreateSegment(ctx, userkit.NewSegment{Name: "Lapsed testers", Rule: rule})
	if err != nil {
		log.Fatal(err)
	}

	for range 2 {
		members, err := users.CountUsers(ctx, userkit.UserFilter{Segment: lapsed.ID})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("lapsed:", members)
		passed.Store(int64(time.Hour)) // nothing else happens in between
	}
	segments, err := users.UserSegments(ctx, ada.ID)
	if err != nil {
		log.Fatal(err)
	}
	for _, segment := range segments {
		fmt.Println("ada is in:", segment.Name)
	}
	// Output:
	// lapsed: 0
	// lapsed: 1
	// ada is in: Lapsed testers
	// ada is in: Testers
}

// A bulk action does what its preview said, or nothing.
func ExampleBulkManager() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
	for _, login := range []string{"trial-1", "trial-2", "ada"} {
		if _, err := users.CreateUser(ctx, userkit.NewUser{Login: login}); err != nil {
			log.Fatal(err)
		}
	}

	request := userkit.BulkRequest{
		Action: userkit.BulkDeactivate,
		Users:  userkit.UserFilter{Filter: userkit.StartsWith("login", "trial-")},
	}
	preview, err := users.PreviewBulk(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("would deactivate:", preview.Users)

	// Before somebody presses the button, one more user comes.
	if _, err := users.CreateUser(ctx, userkit.NewUser{Login: "trial-3"}); err != nil {
		log.Fatal(err)
	}
	_, err = users.ExecuteBulk(ctx, request, preview.Token, nil)
	fmt.Println("refused:", userkit.ErrorCode(err))

	preview, err = users.PreviewBulk(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	token := preview.Token // a host that must finish what it begins keeps the newest one
	result, err := users.ExecuteBulk(ctx, request, token, func(progress userkit.BulkProgress) error {
		token = progress.Token
		fmt.Printf("%d of %d\n", progress.Done, progress.Users)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("deactivated:", result.Changed)

	// The token of an action that is done has nothing left to do.
	result, err = users.ExecuteBulk(ctx, request, token, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("again:", result.Changed)
	// Output:
	// would deactivate: 2
	// refused: audience_changed
	// 0 of 3
	// 3 of 3
	// deactivated: 3
	// again: 0
}

// Records from elsewhere become users. The package userio reads them from files.
func ExampleImportManager() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())

	records := make([]userkit.UserImport, 2)
	for i, row := range [][]string{
		{"crm-1", "Ada Lovelace", "ada@example.org"},
		{"crm-2", "Zoë", "no address"},
	} {
		records[i].Key = userkit.ByExtRef(row[0])
		for column, field := range []string{"extref", "name", "email"} {
			if err := records[i].Draft.Set(field, row[column]); err != nil {
				log.Fatal(err)
			}
		}
	}
	for _, options := range []userkit.ImportOptions{{DryRun: true}, {}, {}} { // it may be repeated
		outcomes, err := users.ImportUsers(ctx, options, records)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(outcomes[0].Action, outcomes[1].Action, userkit.ErrorCode(outcomes[1].Err))
	}
	ada, err := users.FindUser(ctx, userkit.ByExtRef("crm-1"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ada.Name)
	// Output:
	// created failed bad_format
	// created failed bad_format
	// unchanged failed bad_format
	// Ada Lovelace
}

// Match the kind of an error with errors.Is; its exact reason is the code.
func ExampleError() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
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

// printer is a mailer that prints what a real one, such as that of the package mail, sends.
type printer struct{ links chan string }

func (p printer) SendMail(_ context.Context, mail userkit.Mail) error {
	fmt.Println("to", mail.Address)
	p.links <- mail.Link
	return nil
}

// A user gets a mail, opens the page that its link leads to, and presses the button there.
func ExampleActivationManager() {
	ctx := context.Background()
	mailer := printer{links: make(chan string, 1)}
	manager, err := userkit.New(memory.New(), userkit.WithActivation(userkit.ActivationPolicy{
		Mailer: mailer,
		Link:   "https://example.org/confirm#{token}",
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer manager.Close(ctx)
	user, err := manager.CreateUser(ctx, userkit.NewUser{Email: "ada@example.com", Status: userkit.StatusInactive})
	if err != nil {
		log.Fatal(err)
	}
	if err := manager.SendActivation(ctx, user.ID, "en"); err != nil {
		log.Fatal(err)
	}

	// The page reads what comes after the "#", and its button sends it in a POST.
	_, token, _ := strings.Cut(<-mailer.links, "#")
	user, err = manager.ConfirmEmail(ctx, token)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(user.Status, user.EmailVerified)

	// Output:
	// to ada@example.com
	// active true
}
