package pgtest_test

import (
	"context"
	"database/sql"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/userkit/userkit/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var prepared atomic.Int32

var template = pgtest.NewTemplate(func(ctx context.Context, dsn string) error {
	prepared.Add(1)
	db := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(dsn)))
	defer db.Close()
	_, err := db.ExecContext(ctx, "CREATE TABLE notes (text text)")
	return err
})

func open(t *testing.T, dsn string) *sql.DB {
	db := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(dsn)))
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestEveryTestGetsACopyOfTheTemplate(t *testing.T) {
	first, second := open(t, template.Create(t)), open(t, template.Create(t))
	_, err := first.Exec("INSERT INTO notes VALUES ('first')")
	require.NoError(t, err)
	var count int
	require.NoError(t, second.QueryRow("SELECT count(*) FROM notes").Scan(&count))
	require.Zero(t, count)
	require.EqualValues(t, 1, prepared.Load())
}

func TestADatabaseIsDroppedWithItsTest(t *testing.T) {
	var dsn string
	t.Run("inner", func(t *testing.T) {
		dsn = template.Create(t)
		require.NoError(t, open(t, dsn).Ping())
	})
	require.Error(t, open(t, dsn).Ping())
}

func TestAKilledServerComesBackWithWhatItAcknowledged(t *testing.T) {
	server := pgtest.Start(t)
	db := open(t, template.CreateOn(t, server.DSN()))
	_, err := db.Exec("INSERT INTO notes VALUES ('kept')")
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, server.Kill())
		require.Error(t, db.Ping())
		require.NoError(t, server.Restart())
		var text string
		require.Eventually(t, func() bool {
			return db.QueryRow("SELECT text FROM notes").Scan(&text) == nil
		}, time.Minute, time.Millisecond)
		require.Equal(t, "kept", text)
	}
}
