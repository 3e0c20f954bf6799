package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	mathrand "math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/userkit/userkit"
)

// A registration gives a random user, whose license has room, a device and an
// access token.
//
// Against m.RegisterDevice stands the transaction that a developer writes by
// hand for the same rule: lock the user, count the devices, insert the device
// and the event, update the counter, commit. Every statement is prepared once
// per connection, and every caller has a connection.

// registrations measures so many callers.
func registrations(callers int) func(context.Context, *bench) (sides, error) {
	return func(ctx context.Context, b *bench) (sides, error) {
		db, err := b.database(ctx)
		if err != nil {
			return sides{}, err
		}
		register := func(one func(ctx context.Context, user userkit.UserID, number int64) error) side {
			return func(ctx context.Context, span time.Duration) (float64, error) {
				return drive(ctx, callers, span, 0, func(int) job {
					return func(random *mathrand.Rand) (int, error) {
						return 1, one(ctx, userID(random.IntN(b.users)), db.keys.Add(1))
					}
				})
			}
		}
		return sides{
			ours: register(func(ctx context.Context, user userkit.UserID, number int64) error {
				_, err := db.manager.RegisterDevice(ctx, user, userkit.NewDevice{
					Name: "Phone", Type: userkit.DeviceAndroid, HardwareID: strconv.FormatInt(number, 10),
				})
				return err
			}),
			theirs: register(db.registerByHand),
		}, nil
	}
}

// The statements of the transaction by hand.
const (
	lockUser     = "SELECT status, license FROM " + theirSchema + ".users WHERE project = $1 AND id = $2 FOR UPDATE"
	countDevices = "SELECT count(*) FROM " + theirSchema + ".devices WHERE project = $1 AND user_id = $2"
	insertDevice = "INSERT INTO " + theirSchema + `.devices (project, id, user_id, registered_at, latitude, longitude, accuracy,
		token_digest, token_hint, name, type, hardware_id, push_token)
		VALUES ($1, $2, $3, $4, 0, 0, 0, $5, $6, $7, $8, $9, '')`
	insertEvent = "INSERT INTO " + theirSchema + `.events (project, id, user_id, position, at, device_id, name, actor_kind, actor_id, actor_name, data)
		VALUES ($1, $2, $3, pg_current_xact_id()::text::bigint, $4, $5, 'device.registered', 'system', '', '', $6)`
	countUp = "UPDATE " + theirSchema + ".accounts SET version = version + 1, devices = devices + 1 WHERE project = $1 AND user_id = $2"
)

var errNoSlot = errors.New("no free slot")

func (db *database) registerByHand(ctx context.Context, user userkit.UserID, number int64) error {
	now := time.Now()
	device, event := [16]byte(userkit.NewID[userkit.Device]()), [16]byte(userkit.NewID[userkit.Event]())
	secret := make([]byte, 32)
	rand.Read(secret)
	token := hex.EncodeToString(secret)
	digest := sha256.Sum256([]byte(token))
	data, err := json.Marshal(map[string]string{"name": "Phone"})
	if err != nil {
		return err
	}
	id := [16]byte(user)
	return pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		var status, license string
		if err := tx.QueryRow(ctx, lockUser, project, id).Scan(&status, &license); err != nil {
			return err
		}
		if status != string(userkit.StatusActive) {
			return errors.New("the user is not active")
		}
		var devices int
		if err := tx.QueryRow(ctx, countDevices, project, id).Scan(&devices); err != nil {
			return err
		}
		if license != roomyLicense || devices >= roomyDevices {
			return errNoSlot
		}
		_, err := tx.Exec(ctx, insertDevice, project, device, id, now, digest[:], token[len(token)-4:], "Phone",
			string(userkit.DeviceAndroid), strconv.FormatInt(number, 10))
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insertEvent, project, event, id, now, device, data); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, countUp, project, id)
		return err
	})
}
