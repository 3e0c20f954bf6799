package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/userkit/userkit"
)

// A page is 50 users in the order of an indexed field: the first page of all
// users, and the one in their middle. One caller reads it again and again, so
// the server has it at hand, and what is measured is what it takes to get it.
//
// Our side is m.Users. Against it stands keyset SQL, prepared, through the same
// driver, which reads the same columns into a struct. It checks no arguments and
// makes no cursors, and it does not look whether there is a next page.
//
// Then our side stands against itself: page-depth is the page in the middle
// against the first one, and page-growth-first and page-growth-middle are a page
// of many users against that of the fewest.

const pageSize = userkit.DefaultPageLimit

// pageOrders are the fields that lists are ordered by through an index, with the
// columns that the hand-written side orders by.
var pageOrders = []struct{ field, columns string }{
	{"id", "u.id"},
	{"login", "u.login_key, u.id"},
	{"name", "u.name_key, u.id"},
	{"email", "u.email_key, u.id"},
	{"registered_at", "u.registered_at, u.id"},
}

// The goals of pages: at most 1.5 times as long as by hand, the middle at most
// 1.2 times as long as the first, and 1,000,000 users at most 1.5 times as long
// as 10,000.
var (
	pageByHandGoal = goal{ratio: 0.67}
	pageDepthGoal  = goal{ratio: 0.83}
	pageGrowthGoal = goal{ratio: 0.67}
)

// pageMeasurements are those of all orders and numbers of people.
func pageMeasurements(people []int) (made []measurement) {
	add := func(name string, goal goal, open func(ctx context.Context, b *bench) (sides, error)) {
		made = append(made, measurement{name: name, goal: goal, brief: true, open: open})
	}
	for _, order := range pageOrders {
		name := order.field
		if name == "registered_at" {
			name = "registered"
		}
		for at, number := range people {
			ending := name + "-" + shortNumber(number)
			add("page-first-"+ending, pageByHandGoal, pageByHand(number, order.field, order.columns, false))
			add("page-middle-"+ending, pageByHandGoal, pageByHand(number, order.field, order.columns, true))
			add("page-depth-"+ending, pageDepthGoal, pageDepth(number, order.field))
			if at == 0 {
				continue
			}
			growthGoal := pageGrowthGoal
			if at > 1 {
				growthGoal = goal{}
			}
			add("page-growth-first-"+ending, growthGoal, pageGrowth(people[0], number, order.field, false))
			add("page-growth-middle-"+ending, growthGoal, pageGrowth(people[0], number, order.field, true))
		}
	}
	return made
}

// somePage is a page of a crowd.
type somePage struct {
	crowd *crowd
	query userkit.UserQuery
	after place // what the query's cursor stands for
}

// page returns the first page in an order, or the one in the middle.
func (b *bench) page(ctx context.Context, people int, order string, middle bool) (somePage, error) {
	crowd, err := b.people(ctx, people)
	if err != nil {
		return somePage{}, err
	}
	var after place
	if middle {
		if after, err = crowd.middle(ctx, order); err != nil {
			return somePage{}, err
		}
	}
	return somePage{crowd, userkit.UserQuery{PageQuery: userkit.PageQuery{Sort: order, Cursor: after.cursor}}, after}, nil
}

// ours reads the page by our side.
func (p somePage) ours() side {
	return repeat(func(ctx context.Context) error {
		_, err := p.crowd.page(ctx, p.query)
		return err
	})
}

// repeat returns a side with one caller that does the same again and again.
func repeat(once func(ctx context.Context) error) side {
	return func(ctx context.Context, span time.Duration) (float64, error) {
		return drive(ctx, 1, span, 0, func(int) job {
			return func(*rand.Rand) (int, error) { return 1, once(ctx) }
		})
	}
}

func pageByHand(people int, order, columns string, middle bool) func(context.Context, *bench) (sides, error) {
	return func(ctx context.Context, b *bench) (sides, error) {
		page, err := b.page(ctx, people, order, middle)
		if err != nil {
			return sides{}, err
		}
		condition, args := "", []any{}
		switch {
		case middle && order == "id":
			condition, args = "AND u.id > $2", []any{page.after.id.String()}
		case middle:
			condition, args = fmt.Sprintf("AND (%s) > ($2, $3)", columns), []any{page.after.key, page.after.id.String()}
		}
		// The page is cut before the join: in the order of ids the server might
		// otherwise merge both tables, and read the accounts from the first one on.
		theirs, err := page.byHand(ctx, fmt.Sprintf(`SELECT {columns}
FROM (SELECT * FROM {users} AS u WHERE u.project = $1 %s ORDER BY %s LIMIT %d) AS u
JOIN {accounts} AS a ON a.project = u.project AND a.user_id = u.id
ORDER BY %[2]s`, condition, columns, pageSize), args...)
		return sides{ours: page.ours(), theirs: theirs}, err
	}
}

// byHand reads the page by a statement, which has to give the same users.
func (p somePage) byHand(ctx context.Context, text string, args ...any) (side, error) {
	statement, err := p.crowd.handStatement(ctx, text)
	if err != nil {
		return nil, err
	}
	users, err := p.crowd.page(ctx, p.query)
	if err != nil {
		return nil, err
	}
	rows, err := statement.page(ctx, args...)
	if err != nil {
		return nil, err
	}
	if !slices.EqualFunc(users, rows, func(user userkit.User, row handRow) bool { return user.ID.String() == row.ID }) {
		return nil, errors.New("the two sides read different pages")
	}
	return repeat(func(ctx context.Context) error {
		_, err := statement.page(ctx, args...)
		return err
	}), nil
}

func pageDepth(people int, order string) func(context.Context, *bench) (sides, error) {
	return func(ctx context.Context, b *bench) (sides, error) {
		middle, err := b.page(ctx, people, order, true)
		if err != nil {
			return sides{}, err
		}
		first, err := b.page(ctx, people, order, false)
		return sides{ours: middle.ours(), theirs: first.ours()}, err
	}
}

func pageGrowth(few, many int, order string, middle bool) func(context.Context, *bench) (sides, error) {
	return func(ctx context.Context, b *bench) (sides, error) {
		grown, err := b.page(ctx, many, order, middle)
		if err != nil {
			return sides{}, err
		}
		small, err := b.page(ctx, few, order, middle)
		return sides{ours: grown.ours(), theirs: small.ours()}, err
	}
}

// searchMeasurements look for four letters that stand in the names of 100
// people, and read the first page of them by login. Against our search box
// stands SQL by hand over the same column and its trigram index.
func searchMeasurements(people []int) (made []measurement) {
	for _, number := range people {
		made = append(made, measurement{
			name: "search-4-letters-" + shortNumber(number), goal: goal{ratio: 0.67}, brief: true, open: searches(number),
		})
	}
	return made
}

func searches(people int) func(context.Context, *bench) (sides, error) {
	return func(ctx context.Context, b *bench) (sides, error) {
		crowd, err := b.people(ctx, people)
		if err != nil {
			return sides{}, err
		}
		query := userkit.UserQuery{UserFilter: userkit.UserFilter{Search: rareTerm}}
		count, err := crowd.manager.CountUsers(ctx, query.UserFilter)
		if err != nil {
			return sides{}, err
		}
		if count != rarePeople {
			return sides{}, fmt.Errorf("%q matches %d people", rareTerm, count)
		}
		// The matches are found before they are ordered: else the server might
		// read the people in their order and look for matches.
		page := somePage{crowd: crowd, query: query}
		theirs, err := page.byHand(ctx, fmt.Sprintf(`WITH u AS MATERIALIZED (
  SELECT * FROM {users} WHERE project = $1 AND search LIKE $2
)
SELECT {columns} FROM u JOIN {accounts} AS a ON a.project = u.project AND a.user_id = u.id
ORDER BY u.login_key, u.id LIMIT %d`, pageSize), "%"+rareTerm+"%")
		return sides{ours: page.ours(), theirs: theirs}, err
	}
}
