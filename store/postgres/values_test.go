package postgres_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/userkit/userkit"
)

// hostRow is a record of a host that refers to users.
type hostRow struct {
	bun.BaseModel `bun:"table:host_rows"`

	UserID userkit.UserID                     `bun:"user_id,type:uuid"`
	Device userkit.DeviceID                   `bun:"device,type:uuid"`
	Key    userkit.UserID                     `bun:"key,type:text"`
	Price  userkit.Money                      `bun:"price,type:text"`
	Day    userkit.Day                        `bun:"day,type:date"`
	Since  userkit.Optional[userkit.Day]      `bun:"since,type:date"`
	Level  userkit.Optional[int64]            `bun:"level,type:bigint"`
	Note   userkit.Optional[string]           `bun:"note,type:text"`
	Seen   userkit.Optional[userkit.DeviceID] `bun:"seen,type:uuid"`
	Valid  userkit.Duration                   `bun:"valid,type:text"`
}

func (r *hostRow) values() []any {
	return []any{r.UserID, r.Device, r.Key, r.Price, r.Day, r.Since, r.Level, r.Note, r.Seen, r.Valid}
}

func (r *hostRow) targets() []any {
	return []any{&r.UserID, &r.Device, &r.Key, &r.Price, &r.Day, &r.Since, &r.Level, &r.Note, &r.Seen, &r.Valid}
}

// TestValuesInColumnsOfTheHost writes and reads the types of values the ways in which
// hosts do.
func TestValuesInColumnsOfTheHost(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	const create = `CREATE TABLE host_rows (user_id uuid, device uuid, key text, price text, day date, since date,
		level bigint, note text, seen uuid, valid text)`
	const insert = "INSERT INTO host_rows VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
	const read = "SELECT user_id, device, key, price, day, since, level, note, seen, valid FROM host_rows"

	config, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	direct, err := pgx.ConnectConfig(ctx, config)
	require.NoError(t, err)
	defer direct.Close(ctx) //nolint:errcheck // the end of the test
	_, err = direct.Exec(ctx, create)
	require.NoError(t, err)
	pool := stdlib.OpenDB(*config)
	defer pool.Close()
	over := bun.NewDB(openDB(t, dsn).DB, pgdialect.New())

	id := userkit.NewID[userkit.User]()
	day := userkit.Day{Year: 2026, Month: time.March, Day: 29}
	for name, row := range map[string]hostRow{
		"nothing": {},
		"all": {
			UserID: id, Device: userkit.NewID[userkit.Device](), Key: id, Price: userkit.Money{Amount: 5, Currency: "BHD"}, Day: day,
			Since: userkit.Set(day), Level: userkit.Set(int64(7)), Note: userkit.Set(""), Seen: userkit.Set(userkit.NewID[userkit.Device]()),
			Valid: userkit.Duration(720 * time.Hour),
		},
	} {
		for way, insertRow := range map[string]func(row *hostRow) error{
			"pgx":          func(row *hostRow) error { _, err := direct.Exec(ctx, insert, row.values()...); return err },
			"database/sql": func(row *hostRow) error { _, err := pool.ExecContext(ctx, insert, row.values()...); return err },
			"bun":          func(row *hostRow) error { _, err := over.NewInsert().Model(row).Exec(ctx); return err },
		} {
			t.Run(name+" by "+way, func(t *testing.T) {
				_, err := direct.Exec(ctx, "DELETE FROM host_rows")
				require.NoError(t, err)
				require.NoError(t, insertRow(&row))

				var got hostRow
				require.NoError(t, direct.QueryRow(ctx, read).Scan(got.targets()...))
				require.Equal(t, row, got, "pgx")
				got = hostRow{}
				require.NoError(t, pool.QueryRowContext(ctx, read).Scan(got.targets()...))
				require.Equal(t, row, got, "database/sql")
				got = hostRow{}
				require.NoError(t, over.NewSelect().Model(&got).Scan(ctx))
				require.Equal(t, row, got, "bun")

				var null sql.Null[userkit.UserID]
				require.NoError(t, pool.QueryRowContext(ctx, "SELECT user_id FROM host_rows").Scan(&null))
				require.Equal(t, row.UserID, null.V)
				require.Equal(t, !row.UserID.IsZero(), null.Valid)
				ids, err := pgx.CollectRows(must(direct.Query(ctx, "SELECT user_id FROM host_rows")), pgx.RowTo[userkit.UserID])
				require.NoError(t, err)
				require.Equal(t, []userkit.UserID{row.UserID}, ids)
			})
		}
	}

	var found int
	require.NoError(t, direct.QueryRow(ctx, "SELECT count(*) FROM unnest($1::uuid[])", []userkit.UserID{id, userkit.NewID[userkit.User]()}).Scan(&found))
	require.Equal(t, 2, found)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
