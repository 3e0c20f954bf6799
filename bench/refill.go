package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/userkit/userkit"
)

// A refill of ours is m.Refill: it checks the idempotency key, the currency and
// the bounds of the balance, and writes account, transaction and event in one
// commit.
//
// Against it stands one prepared statement that pgbench runs, at the number of
// clients that suits it best: it updates the account and inserts the transaction and the
// event, with the same columns, keys and indexes. It checks nothing; its ids ascend, as
// ours do, and cost it least.

// refillScript returns the statement for pgbench; user is an expression of
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

// refillsByHand measures against the transaction that a careful developer writes with
// pgx: lock the account, look for the key, insert the transaction, update the account,
// insert the event, commit. Every statement is prepared once per connection, and every
// caller has a connection.
func refillsByHand(callers int) func(context.Context, *bench) (sides, error) {
	return func(ctx context.Context, b *bench) (sides, error) {
		all, err := refillsOfManyUsers(callers)(ctx, b)
		if err != nil {
			return sides{}, err
		}
		all.theirs = func(ctx context.Context, span time.Duration) (float64, error) {
			return drive(ctx, callers, span, 0, func(int) job {
				return func(random *rand.Rand) (int, error) {
					return 1, b.db.refillByHand(ctx, userID(random.IntN(b.users)), entry(b.db.keys.Add(1)))
				}
			})
		}
		return all, nil
	}
}

// The statements of the refill by hand.
const (
	lockAccount = `SELECT balance, currency, transaction_sequence, last_transaction FROM ` + theirSchema + `.accounts
		WHERE project = $1 AND user_id = $2 FOR UPDATE`
	findKey           = "SELECT id FROM " + theirSchema + ".transactions WHERE project = $1 AND user_id = $2 AND key = $3"
	insertTransaction = "INSERT INTO " + theirSchema + `.transactions (project, id, user_id, sequence, amount, balance, at, previous,
		kind, currency, balance_currency, key, note, reference, actor_kind, actor_id, actor_name)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'refill', $9, $9, $10, '', '', 'system', '', '')`
	updateAccount = "UPDATE " + theirSchema + `.accounts SET version = version + 1, balance = $3, transaction_sequence = $4,
		last_transaction = $5 WHERE project = $1 AND user_id = $2`
	insertRefilled = "INSERT INTO " + theirSchema + `.events (project, id, user_id, position, at, name, actor_kind, actor_id, actor_name, data)
		VALUES ($1, $2, $3, pg_current_xact_id()::text::bigint, $4, 'balance.refilled', 'system', '', '', $5)`
)

func (db *database) refillByHand(ctx context.Context, user userkit.UserID, entry userkit.Entry) error {
	now := time.Now()
	id, event := [16]byte(userkit.NewID[userkit.Transaction]()), [16]byte(userkit.NewID[userkit.Event]())
	return pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		var balance, sequence int64
		var currency string
		var last *[16]byte
		if err := tx.QueryRow(ctx, lockAccount, project, [16]byte(user)).Scan(&balance, &currency, &sequence, &last); err != nil {
			return err
		}
		if currency != entry.Amount.Currency || balance > math.MaxInt64-entry.Amount.Amount {
			return errors.New("the account does not take the amount")
		}
		var known [16]byte
		if err := tx.QueryRow(ctx, findKey, project, [16]byte(user), entry.Key).Scan(&known); !errors.Is(err, pgx.ErrNoRows) {
			return cmp.Or(err, errors.New("the key has been used"))
		}
		balance, sequence = balance+entry.Amount.Amount, sequence+1
		_, err := tx.Exec(ctx, insertTransaction, project, id, [16]byte(user), sequence, entry.Amount.Amount, balance, now, last, currency, entry.Key)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, updateAccount, project, [16]byte(user), balance, sequence, id); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, insertRefilled, project, event, [16]byte(user), now, map[string]any{
			"transaction": userkit.TransactionID(id), "amount": entry.Amount.Amount, "balance": balance, "currency": currency,
		})
		return err
	})
}
