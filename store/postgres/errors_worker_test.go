package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/pgtest"
)

// workerError is an error as the coordinator of a distributed PostgreSQL passes it
// on: no field but the state, the message and the detail.
type workerError struct {
	state, message, detail string
}

// raise has the server raise the error.
func (e workerError) raise(db *sql.DB) error {
	quote := func(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
	_, err := db.Exec(fmt.Sprintf("DO $do$ BEGIN RAISE EXCEPTION USING ERRCODE = %s, MESSAGE = %s, DETAIL = %s; END $do$",
		quote(e.state), quote(e.message), quote(e.detail)))
	return err
}

// Errors of a worker mean what they mean on one server: by the constraint's name
// in the message, with the state of the worker or with that of an internal error,
// over both drivers.
func TestErrorsOfWorkers(t *testing.T) {
	ctx := context.Background()
	dsn := pgtest.NewTemplate(nil).Create(t)
	config, err := pgx.ParseConfig(dsn)
	require.NoError(t, err)
	drivers := map[string]*sql.DB{
		"pgdriver": sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(dsn))),
		"pgx":      stdlib.OpenDB(*config),
	}
	type row struct {
		states  []string
		message string
		code    userkit.Code
		field   string
	}
	unique, foreign, null := []string{"23505", "XX000"}, []string{"23503", "XX000"}, []string{"23502", "XX000"}
	rows := []row{
		{foreign, `insert or update on table "memberships_102099" violates foreign key constraint "memberships_segment_fkey_102099"`, userkit.CodeSegmentNotFound, ""},
		{foreign, `insert or update on table "memberships_102099" violates foreign key constraint "memberships_user_fkey_102099"`, userkit.CodeTooManyConflicts, ""},
		{foreign, `update or delete on table "accounts_102040" violates foreign key constraint "memberships_user_fkey_102099" on table "memberships_102099"`, userkit.CodeTooManyConflicts, ""},
		{null, `null value in column "position" of relation "events_102131" violates not-null constraint`, userkit.CodeSchemaOutdated, ""},
		{[]string{"40P01", "XX000"}, "deadlock detected", userkit.CodeTooManyConflicts, ""},
		{[]string{"40P01", "XX000"}, "canceling the transaction since it was involved in a distributed deadlock", userkit.CodeTooManyConflicts, ""},
		{[]string{"40001", "XX000"}, "could not serialize access due to concurrent update", userkit.CodeTooManyConflicts, ""},
		{[]string{"54000", "XX000"}, `index row size 2712 exceeds btree version 4 maximum 2704 for index "users_by_login_102067"`, userkit.CodeTooLong, ""},

		// What says something else stays what it is.
		{unique, `duplicate key value violates unique constraint "orders_pkey_102067"`, userkit.CodeStoreUnavailable, ""},
		{unique, `fell off the end of index "users_login_key_102067"`, userkit.CodeStoreUnavailable, ""},
		{unique, `while sorting: duplicate key value violates unique constraint "users_login_key_102067"`, userkit.CodeStoreUnavailable, ""},
		{null, `null value in column "name" of relation "users_102067" violates not-null constraint`, userkit.CodeStoreUnavailable, ""},
		{foreign, `insert or update on table "orders" violates foreign key constraint "orders_user_fkey"`, userkit.CodeStoreUnavailable, ""},
		{[]string{"08006", "57P01"}, `duplicate key value violates unique constraint "users_login_key_102067"`, userkit.CodeStoreUnavailable, ""},
	}
	for constraint, value := range taken {
		told := &userkit.Error{} // nothing where the user exists
		if value.record != "" {
			told = userkit.Taken(value.record, value.field)
		}
		for _, shard := range []string{"", "_102067"} {
			rows = append(rows, row{unique, `duplicate key value violates unique constraint "` + constraint + shard + `"`, told.Code, told.Field})
		}
	}
	// What users write must not be taken for a constraint.
	const detail = `Key (project, login_key)=(default, duplicate key value violates unique constraint "users_email_key_102067") already exists.`
	for name, db := range drivers {
		t.Cleanup(func() { _ = db.Close() })
		for _, row := range rows {
			for _, state := range row.states {
				err := translate(ctx, workerError{state, row.message, detail}.raise(db))
				what := fmt.Sprint(name, " ", state, " ", row.message)
				if row.code == "" {
					require.ErrorIs(t, err, userkit.ErrConflict, what)
					continue
				}
				found, ok := errors.AsType[*userkit.Error](err)
				require.True(t, ok, what)
				require.Equal(t, row.code, found.Code, what)
				require.Equal(t, row.field, found.Field, what)
				require.Equal(t, row.code == userkit.CodeTooManyConflicts, errors.Is(err, errContended), what)
			}
		}
	}
}

// Names in the fields count, whatever the message says.
func TestFieldsCountBeforeTheMessage(t *testing.T) {
	err := translate(context.Background(), &pgconn.PgError{
		Code: "23505", ConstraintName: "users_email_key",
		Message: `duplicate key value violates unique constraint "users_login_key"`,
	})
	require.Equal(t, userkit.CodeEmailTaken, userkit.ErrorCode(err))
}
