package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/userkit/userkit"
)

// An authentication looks up the user and the device of a random access token, and
// what the user may do now.
//
// Against m.Authenticate stands the query that a developer writes by hand for the same
// rule, with the same joins and columns: the device by the digest of its token, its
// user, the account, and how many devices of the user are older. It is prepared once
// per connection, and every caller has a connection. All devices were seen lately, so
// neither side notes when.

// authentications measures so many callers.
func authentications(callers int) func(context.Context, *bench) (sides, error) {
	return func(ctx context.Context, b *bench) (sides, error) {
		db, err := b.database(ctx)
		if err != nil {
			return sides{}, err
		}
		authenticate := func(one func(ctx context.Context, token string) error) side {
			return func(ctx context.Context, span time.Duration) (float64, error) {
				return drive(ctx, callers, span, 0, func(int) job {
					return func(random *rand.Rand) (int, error) {
						return 1, one(ctx, db.tokens[random.IntN(len(db.tokens))])
					}
				})
			}
		}
		return sides{
			ours: authenticate(func(ctx context.Context, token string) error {
				_, err := db.manager.Authenticate(ctx, token)
				return err
			}),
			theirs: authenticate(db.authenticateByHand),
		}, nil
	}
}

// The statements of the authentication by hand.
const (
	findByToken = `SELECT d.id, d.registered_at, d.last_seen_at, d.located_at, d.latitude, d.longitude, d.accuracy, d.token_hint,
		d.name, d.type, d.hardware_id, d.push_token,
		u.id, u.registered_at, u.updated_at, u.revision, u.email_verified, u.login, u.name, u.email, u.phone, u.extref,
		u.auth_method, u.status, u.license, u.kind, u.payer_account_number, u.legal_address, u.postal_address, u.bank,
		u.bank_account, u.description, u.country, u.preferred_map, u.additional_info, u.attributes,
		a.version, a.balance, a.currency, a.devices, a.open_sessions, a.active_purchases, a.traffic_limit, a.traffic_used,
		a.traffic_period, a.traffic_reset, a.valid_for, a.expires_at, a.last_seen_at, a.purchases_end_at,
		(SELECT count(*) FROM ` + theirSchema + `.devices AS o WHERE o.project = d.project AND o.user_id = d.user_id
			AND (o.registered_at, o.id) < (d.registered_at, d.id))
		FROM ` + theirSchema + ".devices AS d JOIN " + theirSchema + ".users AS u ON u.project = d.project AND u.id = d.user_id JOIN " +
		theirSchema + `.accounts AS a ON a.project = d.project AND a.user_id = d.user_id
		WHERE d.project = $1 AND d.token_digest = $2`
)

// found is what the query by hand returns, in its order.
type found struct {
	Device                                        [16]byte
	Registered                                    time.Time
	Seen, Located                                 *time.Time
	Latitude, Longitude, Accuracy                 float64
	Hint, DeviceName, Type, HardwareID, PushToken string

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

	Older int64
}

func (db *database) authenticateByHand(ctx context.Context, token string) error {
	digest := sha256.Sum256([]byte(token))
	rows, err := db.pool.Query(ctx, findByToken, project, digest[:])
	if err != nil {
		return err
	}
	one, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[found])
	if err != nil {
		return err
	}
	switch {
	case one.Status != string(userkit.StatusActive):
		return errors.New("the user is not active")
	case one.Expires != nil && time.Now().After(*one.Expires):
		return errors.New("the user's time is over")
	case one.TrafficLimit > 0 && one.TrafficUsed >= one.TrafficLimit:
		return errors.New("the traffic is used up")
	case one.License != roomyLicense || one.Older >= roomyDevices:
		return errNoSlot
	}
	return nil
}
