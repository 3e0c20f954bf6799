package examples_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"strings"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
	"github.com/userkit/userkit/userio"
)

// findUsers shows a list with a search, a filter and an order.
func findUsers(ctx context.Context, users userkit.Manager) error {
	filter, err := userkit.ParseFilter(`country eq "GB" and (attributes.plan eq "pro" or devices ge 2)`)
	if err != nil {
		return err // it says what is wrong, at which character
	}
	page, err := users.Users(ctx, userkit.UserQuery{
		UserFilter: userkit.UserFilter{Search: "love", Filter: filter},
		PageQuery:  userkit.PageQuery{Sort: "registered_at", Descending: true, Limit: 50},
	})
	if err != nil {
		return err
	}
	for _, user := range page.Items {
		fmt.Println("found:", user.Name)
	}
	return nil
}

// disableLockedOut shows a segment whose members follow from a rule, an export of
// them, and a bulk action in its two steps.
func disableLockedOut(ctx context.Context, users userkit.Manager, file io.Writer) error {
	rule, err := userkit.ParseFilter(`access eq "traffic_limit" or access eq "user_expired"`)
	if err != nil {
		return err
	}
	lockedOut, err := users.CreateSegment(ctx, userkit.NewSegment{Name: "Locked out", Rule: rule})
	if err != nil {
		return err
	}
	count, err := users.CountUsers(ctx, userkit.UserFilter{Segment: lockedOut.ID})
	if err != nil {
		return err
	}
	fmt.Println("locked out:", count)

	exported, err := userio.Export(ctx, users, file, userio.ExportOptions{
		Format:  userio.XLSX,
		Query:   userkit.UserQuery{UserFilter: userkit.UserFilter{Segment: lockedOut.ID}},
		Columns: []string{"login", "email", "attributes.plan", "access"},
	})
	if err != nil {
		return err
	}
	fmt.Println("exported:", exported.Rows)

	request := userkit.BulkRequest{Action: userkit.BulkDeactivate, Users: userkit.UserFilter{Segment: lockedOut.ID}}
	preview, err := users.PreviewBulk(ctx, request)
	if err != nil {
		return err
	}
	fmt.Println("to disable:", preview.Users) // somebody reads that and agrees
	result, err := users.ExecuteBulk(ctx, request, preview.Token, nil)
	if err != nil {
		return err // audience_changed: by now they are not the same users
	}
	fmt.Println("disabled:", result.Changed, "failed:", result.Failed)
	return nil
}

// importFile shows an import that says first what it would do.
func importFile(ctx context.Context, users userkit.Manager, file io.Reader) error {
	report, err := userio.Import(ctx, users, file, userio.ImportOptions{Key: "login", DryRun: true})
	if err != nil {
		return err
	}
	fmt.Printf("%d new, %d changed, %d rejected\n", report.Created, report.Updated, report.Rejected)
	for _, rejection := range report.Rejections {
		fmt.Println(rejection)
	}
	return nil
}

// What README shows about many users at once.
func Example_audience() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
	for _, user := range []userkit.NewUser{
		{Login: "ada", Name: "Ada Lovelace", Country: "GB", Attributes: userkit.Attributes{"plan": "pro"}},
		{Login: "ben", Name: "Ben Lovell", Country: "GB", Attributes: userkit.Attributes{"plan": "free"}},
		{Login: "eva", Name: "Eva", ExpiresAt: time.Now().Add(-time.Hour)},
	} {
		if _, err := users.CreateUser(ctx, user); err != nil {
			log.Fatal(err)
		}
	}

	if err := findUsers(ctx, users); err != nil {
		log.Fatal(err)
	}
	var workbook bytes.Buffer
	if err := disableLockedOut(ctx, users, &workbook); err != nil {
		log.Fatal(err)
	}
	if err := importFile(ctx, users, &workbook); err != nil {
		log.Fatal(err)
	}
	sheet := "Login;E-mail;Phone number\r\nzoe;zoe@example.org;+44 20 7946 0958\r\nada;ada at example.org;\r\n"
	if err := importFile(ctx, users, strings.NewReader(sheet)); err != nil {
		log.Fatal(err)
	}
	// Output:
	// found: Ada Lovelace
	// locked out: 1
	// exported: 1
	// to disable: 1
	// disabled: 1 failed: 0
	// 0 new, 0 changed, 0 rejected
	// 1 new, 0 changed, 1 rejected
	// row 3, E-mail: userkit: bad_format (email): "ada at example.org" is not an email address
}
