package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

func median(n int, f func()) time.Duration {
	f()
	var all []time.Duration
	for range n {
		t := time.Now()
		f()
		all = append(all, time.Since(t))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func TestZZMeasure(t *testing.T) {
	dsn := os.Getenv("ZZDSN")
	if dsn == "" {
		return
	}
	ctx := context.Background()
	store, err := postgres.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	moment := userkit.Moment{At: time.Now()}
	db := openDB(t, dsn)
	hand := func(q string) func() {
		return func() {
			rows, err := db.DB.QueryContext(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			cols, _ := rows.Columns()
			vals := make([]sql.RawBytes, len(cols))
			ptr := make([]any, len(cols))
			for i := range vals {
				ptr[i] = &vals[i]
			}
			for rows.Next() {
				if err := rows.Scan(ptr...); err != nil {
					t.Fatal(err)
				}
				n++
			}
			if rows.Err() != nil {
				t.Fatal(rows.Err())
			}
		}
	}
	list := func(f userkit.UserFilter, field string, desc bool, after *userkit.Position, limit int) func() {
		f.Moment = moment
		return func() {
			_, err := store.Users(ctx, f, userkit.List{Order: userkit.Order{Field: field, Descending: desc}, After: after, Limit: limit})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	parse := func(s string) userkit.UserFilter {
		f, err := userkit.ParseFilter(s)
		if err != nil {
			t.Fatal(err)
		}
		return userkit.UserFilter{Filter: f}
	}
	cols := "u.id,u.registered_at,u.updated_at,u.revision,u.email_verified,u.login,u.name,u.email,u.phone,u.extref,u.auth_method,u.status,u.license,u.kind,u.payer_account_number,u.legal_address,u.postal_address,u.bank,u.bank_account,u.description,u.country,u.preferred_map,u.additional_info,u.attributes, a.version,a.balance,a.transaction_sequence,a.devices,a.open_sessions,a.active_purchases,a.traffic_limit,a.traffic_used,a.valid_for,a.expires_at,a.last_seen_at,a.traffic_period,a.traffic_anchor_day,a.traffic_reset,a.currency,a.last_transaction"
	from := " from userkit.users u join userkit.accounts a on a.project=u.project and a.user_id=u.id where u.project='default' "
	show := func(name string, f func()) { fmt.Printf("%-50s %v\n", name, median(15, f)) }
	mid := &userkit.Position{Key: "m", ID: userkit.UserID{1}}
	show("login first", list(userkit.UserFilter{}, "login", false, nil, 51))
	show("login first hand", hand("select "+cols+from+"order by u.login_key, u.id limit 51"))
	show("login first active", list(userkit.UserFilter{OnlyActive: true}, "login", false, nil, 51))
	show("login mid", list(userkit.UserFilter{}, "login", false, mid, 51))
	show("login mid hand", hand("select "+cols+from+"and (u.login_key,u.id) > ('m','01000000-0000-0000-0000-000000000000') order by u.login_key, u.id limit 51"))
	show("name mid desc", list(userkit.UserFilter{}, "name", true, mid, 51))
	show("email mid", list(userkit.UserFilter{}, "email", false, mid, 51))
	show("registered mid", list(userkit.UserFilter{}, "registered_at", false, &userkit.Position{Key: time.Now().AddDate(0, 0, -50)}, 51))
	show("id mid 1001", list(userkit.UserFilter{}, "id", false, &userkit.Position{Key: "00080000-0000-0000-0000-000000000000", ID: userkit.UserID{0, 8}}, 1001))
	show("id mid 1001 hand", hand("select "+cols+from+"and u.id > '00080000-0000-0000-0000-000000000000' order by u.id limit 1001"))
	show("login mid 1001", list(userkit.UserFilter{}, "login", false, mid, 1001))
	show("country first", list(userkit.UserFilter{}, "country", false, nil, 51))
	show("country first hand", hand("select "+cols+" from (select id, country from userkit.users u where project='default' order by country, id limit 51) p join userkit.users u on u.project='default' and u.id=p.id join userkit.accounts a on a.project=u.project and a.user_id=u.id order by p.country, p.id"))
	show("balance first", list(userkit.UserFilter{}, "balance", false, nil, 51))
	for _, term := range []string{"lazo", "lazomu", "zozu", "abc", "example", "crm", "z", "zo", "qx", "zzzzz"} {
		show("search "+term+" by login", list(userkit.UserFilter{Search: term}, "login", false, nil, 51))
		show("search "+term+" by country", list(userkit.UserFilter{Search: term}, "country", false, nil, 51))
		if len(term) > 2 {
			show("   hand", hand("select "+cols+from+"and u.search like '%"+term+"%' order by u.login_key, u.id limit 51"))
		}
	}
	for _, text := range []string{`attributes.plan eq "platinum"`, `attributes.plan eq "gold"`, `country eq "DE"`, `country eq "XX"`, `name co "lazomu"`, `name sw "lazo"`, `balance gt 990 and attributes.seats eq 3`, `access eq "allowed"`, `traffic_used gt 1400`} {
		show(text, list(parse(text), "login", false, nil, 51))
		f := parse(text)
		f.Moment = moment
		n := int64(0)
		show("   count", func() { n, _ = store.CountUsers(ctx, f) })
		fmt.Println("   ", n)
	}
	if os.Getenv("ZZEXPORT") != "" {
		for _, field := range []string{"id", "login"} {
			t0 := time.Now()
			n := 0
			var after *userkit.Position
			get, _ := userkit.UserField(field)
			for {
				users, err := store.Users(ctx, userkit.UserFilter{Moment: moment}, userkit.List{Order: userkit.Order{Field: field}, After: after, Limit: 1001})
				if err != nil {
					t.Fatal(err)
				}
				n += len(users)
				if len(users) < 1001 {
					break
				}
				after = &userkit.Position{Key: get.Key(&users[1000]), ID: users[1000].ID}
			}
			fmt.Println("export by", field, n, time.Since(t0))
		}
	}
}
