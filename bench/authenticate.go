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
		authenticate := lookUps(callers, func(random *rand.Rand) string { return db.tokens[random.IntN(len(db.tokens))] })
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
` + userColumns + `,
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
	foundUser
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
