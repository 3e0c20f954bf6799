package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/userkit/userkit"
)

// A user is found by a login, the users at random.
//
// Against m.FindUser stands the query that a developer writes by hand, with the same
// columns, which is prepared once per connection. Every caller has a connection.

// findings measures so many callers.
func findings(callers int) func(context.Context, *bench) (sides, error) {
	return func(ctx context.Context, b *bench) (sides, error) {
		db, err := b.database(ctx)
		if err != nil {
			return sides{}, err
		}
		find := lookUps(callers, func(random *rand.Rand) string { return loginOf(random.IntN(b.users)) })
		return sides{
			ours: find(func(ctx context.Context, login string) error {
				_, err := db.manager.FindUser(ctx, userkit.ByLogin(login))
				return err
			}),
			theirs: find(db.findByHand),
		}, nil
	}
}

// lookUps returns what makes the side of callers who each look up one key after another.
func lookUps(callers int, key func(random *rand.Rand) string) func(one func(ctx context.Context, key string) error) side {
	return func(one func(ctx context.Context, key string) error) side {
		return func(ctx context.Context, span time.Duration) (float64, error) {
			return drive(ctx, callers, span, 0, func(int) job {
				return func(random *rand.Rand) (int, error) { return 1, one(ctx, key(random)) }
			})
		}
	}
}

const (
	userColumns = `u.id, u.registered_at, u.updated_at, u.revision, u.email_verified, u.login, u.name, u.email, u.phone, u.extref,
		u.auth_method, u.status, u.license, u.kind, u.payer_account_number, u.legal_address, u.postal_address, u.bank,
		u.bank_account, u.description, u.country, u.preferred_map, u.additional_info, u.attributes,
		a.version, a.balance, a.currency, a.devices, a.open_sessions, a.active_purchases, a.traffic_limit, a.traffic_used,
		a.traffic_period, a.traffic_reset, a.valid_for, a.expires_at, a.last_seen_at, a.purchases_end_at`
	findByLogin = "SELECT " + userColumns + " FROM " + theirSchema + ".users AS u JOIN " + theirSchema +
		".accounts AS a ON a.project = u.project AND a.user_id = u.id WHERE u.project = $1 AND u.login_identity = $2"
)

// foundUser is what the query by hand returns of a user, in its order.
type foundUser struct {
	User                                                              [16]byte
	UserRegistered, Updated                                           time.Time
	Revision                                                          int64
	EmailVerified                                                     bool
	Login, Name, Email, Phone, Extref                                 string
	AuthMethod, Status, License, Kind                                 string
	PayerAccountNumber, LegalAddress, PostalAddress, Bank             string
	BankAccount, Description, Country, PreferredMap, AdditionalInfo   string
	Attributes                                                        map[string]any
	Version, Balance                                                  int64
	Currency                                                          string
	Devices, OpenSessions, ActivePurchases, TrafficLimit, TrafficUsed int64
	TrafficPeriod                                                     *time.Time
	TrafficReset                                                      string
	ValidFor                                                          int64
	Expires, UserSeen, PurchasesEnd                                   *time.Time
}

func (db *database) findByHand(ctx context.Context, login string) error {
	rows, err := db.pool.Query(ctx, findByLogin, project, login)
	if err != nil {
		return err
	}
	_, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[foundUser])
	return err
}
