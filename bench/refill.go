package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// A refill of ours is m.Refill: it checks the idempotency key, the currency and
// the bounds of the balance, and writes account, transaction and event in one
// commit.
//
// Against it stands one prepared statement that pgbench runs, at the number of
// clients that suits it best: it updates the account and inserts the transaction and the event, with the same columns, keys
// and indexes. It checks nothing; its ids ascend, as ours do, and cost it least.

// refillScript gives the statement for pgbench; user is an expression of
// pgbench for the number of the user.
func refillScript(user string) string {
	return fmt.Sprintf(`\set user %[1]s
WITH account AS (
  UPDATE %[2]s.accounts
  SET version = version + 1, balance = balance + 100, transaction_sequence = transaction_sequence + 1,
      last_transaction = lpad(to_hex(nextval('%[2]s.ids')), 32, '0')::uuid
  WHERE project = '%[3]s' AND user_id = ('%[4]s' || lpad(to_hex(:user::bigint), 12, '0'))::uuid
  RETURNING user_id, balance, currency, transaction_sequence, last_transaction
), booked AS (
  INSERT INTO %[2]s.transactions (project, id, user_id, sequence, amount, balance, at, kind, currency,
      balance_currency, key, note, reference, actor_kind, actor_id, actor_name)
  SELECT '%[3]s', last_transaction, user_id, transaction_sequence, 100, balance, now(), 'refill', currency,
      currency, 's' || transaction_sequence, '', '', 'system', '', ''
  FROM account
)
INSERT INTO %[2]s.events (project, id, user_id, position, at, name, actor_kind, actor_id, actor_name, data)
SELECT '%[3]s', last_transaction, user_id, pg_current_xact_id()::text::bigint, now(), 'balance.refilled', 'system', '', '',
    jsonb_build_object('transaction', last_transaction, 'amount', 100, 'balance', balance, 'currency', currency)
FROM account;
`, user, theirSchema, project, userIDPrefix)
}

// refillsOfManyUsers refills random users.
func refillsOfManyUsers(callers int) func(context.Context, *bench) (sides, error) {
	return func(ctx context.Context, b *bench) (sides, error) {
		return b.refills(ctx, callers, func(random *rand.Rand) int { return random.IntN(b.users) },
			fmt.Sprintf("random(0, %d)", b.users-1))
	}
}

// refillsOfOneUser refills always the same user.
func refillsOfOneUser(callers int) func(context.Context, *bench) (sides, error) {
	return func(ctx context.Context, b *bench) (sides, error) {
		return b.refills(ctx, callers, func(*rand.Rand) int { return 0 }, "0")
	}
}

func (b *bench) refills(ctx context.Context, callers int, user func(*rand.Rand) int, expression string) (sides, error) {
	db, err := b.database(ctx)
	if err != nil {
		return sides{}, err
	}
	ours := func(ctx context.Context, span time.Duration) (float64, error) {
		return drive(ctx, callers, span, 0, func(int) job {
			return func(random *rand.Rand) (int, error) {
				_, err := db.manager.Refill(ctx, userID(user(random)), entry(db.keys.Add(1)))
				return 1, err
			}
		})
	}
	return sides{ours: ours, theirs: db.pgbench.best(refillScript(expression), callers)}, nil
}
