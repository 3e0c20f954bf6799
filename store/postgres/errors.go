package postgres

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"reflect"
	"strings"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/userkit/userkit"
)

// serverError is what the server says of a statement that failed.
type serverError struct {
	state      string // SQLSTATE
	constraint string // the constraint or unique index that was violated
	table      string
	column     string
}

// readServerError finds the server's error in err. pgdriver's type is known;
// others, such as *pgconn.PgError, are known by their method SQLState and by the
// names of their fields, so that pgx need not be part of every program.
func readServerError(err error) (serverError, bool) {
	if found, ok := errors.AsType[pgdriver.Error](err); ok {
		return serverError{
			state: found.Field('C'), constraint: found.Field('n'), table: found.Field('t'), column: found.Field('c'),
		}, true
	}
	var found interface {
		error
		SQLState() string
	}
	if !errors.As(err, &found) {
		return serverError{}, false
	}
	value := reflect.Indirect(reflect.ValueOf(found))
	field := func(name string) string {
		if value.Kind() == reflect.Struct {
			if field := value.FieldByName(name); field.IsValid() && field.Kind() == reflect.String {
				return field.String()
			}
		}
		return ""
	}
	return serverError{
		state: found.SQLState(), constraint: field("ConstraintName"), table: field("TableName"), column: field("ColumnName"),
	}, true
}

// taken says which code and field a violated constraint stands for. No code
// means that the user exists, whose version therefore is not the one that was
// asked for.
var taken = map[string]meaning{
	"users_pkey":                {},
	"users_login_key":           {userkit.CodeLoginTaken, "login"},
	"users_email_key":           {userkit.CodeEmailTaken, "email"},
	"users_extref_key":          {userkit.CodeExtRefTaken, "extref"},
	"accounts_pkey":             {},
	"devices_pkey":              {userkit.CodeIDTaken, "id"},
	"devices_token_key":         {userkit.CodeTokenTaken, "access_token"},
	"devices_hardware_key":      {userkit.CodeIDTaken, "hardware_id"},
	"sessions_pkey":             {userkit.CodeIDTaken, "id"},
	"purchases_pkey":            {userkit.CodeIDTaken, "id"},
	"purchases_stable_key":      {userkit.CodePurchaseTaken, "stable_id"},
	"purchases_user_key":        {userkit.CodePurchaseTaken, "stable_id"},
	"transactions_pkey":         {userkit.CodeIDTaken, "id"},
	"transactions_sequence_key": {userkit.CodeIDTaken, "sequence"},
	"transactions_key_key":      {userkit.CodeIDTaken, "key"},
	"events_pkey":               {userkit.CodeIDTaken, "id"},
	"segments_pkey":             {userkit.CodeIDTaken, "id"},
	"segments_name_key":         {userkit.CodeSegmentNameTaken, "name"},
}

// meaning is what a violated constraint says to a caller.
type meaning struct {
	code  userkit.Code
	field string
}

// errContended marks an error after which the same transaction, begun anew, may
// go through: a deadlock or a serialization failure.
var errContended = errors.New("postgres: contended")

// translate turns an error of the database into one of userkit: the one place
// that knows what SQLSTATEs and constraints mean. An error that says nothing of
// the arguments is ErrUnavailable with CodeStoreUnavailable, its cause inside,
// since then nobody knows whether the statement took effect.
func translate(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*userkit.Error](err); ok || errors.Is(err, userkit.ErrConflict) {
		return err
	}
	if ended := contextError(ctx, err); ended != nil {
		return ended
	}
	if errors.Is(err, sql.ErrTxDone) {
		return userkit.NewError(userkit.CodeClosed, "", "the transaction has ended").Because(err)
	}
	server, ok := readServerError(err)
	if !ok {
		return unavailable("the connection failed", err)
	}
	switch server.state {
	case "23505": // unique_violation
		found, ok := constraintMeaning(server.constraint)
		if ok && found.code == "" {
			return userkit.ErrConflict
		}
		if ok {
			return userkit.NewError(found.code, found.field, "the value is taken").Because(err)
		}
	case "23503": // foreign_key_violation
		switch withoutShard(server.constraint) {
		case "memberships_segment_fkey":
			return userkit.NewError(userkit.CodeSegmentNotFound, "", "a segment is not there").Because(err)
		case "memberships_user_fkey":
			// A member was deleted since the statement began; it will not meet the
			// user again.
			return contended("a user is gone", err)
		}
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return contended("transactions got into each other's way", err)
	case "42P01", "42703", "3F000": // undefined table, column, schema
		return userkit.NewError(userkit.CodeSchemaOutdated, "", "the database lacks a part of the schema; see Migrate").Because(err)
	case "23502": // not_null_violation
		if strings.HasPrefix(server.table, "events") && server.column == "position" {
			return userkit.NewError(userkit.CodeSchemaOutdated, "", "the project is not in the database; see Migrate").Because(err)
		}
	case "42501", "42704", "25006": // insufficient_privilege, undefined_object, read_only_sql_transaction
		return userkit.NewError(userkit.CodeStoreRefused, "", "the server refuses the statement").Because(err)
	case "22021", "22P05": // character_not_in_repertoire, untranslatable_character
		return userkit.NewError(userkit.CodeBadText, "", "PostgreSQL cannot keep a character of the text").Because(err)
	case "54000": // program_limit_exceeded: a key too large for its index
		return userkit.NewError(userkit.CodeTooLong, "", "a value is too long for its index").Because(err)
	}
	if strings.HasPrefix(server.state, "22") { // data_exception
		return userkit.NewError(userkit.CodeOutOfRange, "", "PostgreSQL cannot keep a value").Because(err)
	}
	return unavailable("the server refused or broke off the statement", err)
}

func contended(what string, cause error) error {
	return userkit.NewError(userkit.CodeTooManyConflicts, "", "%s", what).Because(errors.Join(errContended, cause))
}

func unavailable(what string, cause error) error {
	return userkit.NewError(userkit.CodeStoreUnavailable, "", "%s", what).Because(cause)
}

// contextError gives the context's error when err comes from its end. pgdriver
// reports a deadline as a timeout of the network.
func contextError(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	deadline, bounded := ctx.Deadline()
	if timeout, ok := errors.AsType[net.Error](err); bounded && ok && timeout.Timeout() && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// constraintMeaning looks a unique constraint up.
func constraintMeaning(constraint string) (meaning, bool) {
	found, ok := taken[withoutShard(constraint)]
	return found, ok
}

// withoutShard gives the name of a constraint. On a distributed PostgreSQL the
// constraint of a shard has the number of the shard after its name.
func withoutShard(constraint string) string {
	name := strings.TrimRight(constraint, "0123456789")
	if name == constraint {
		return constraint
	}
	return strings.TrimSuffix(name, "_")
}

// singular reports whether an error is about one change of a batch, so that the
// others need not share its fate. Contention is a conflict of whole transactions.
func singular(err error) bool {
	if errors.Is(err, errContended) {
		return false
	}
	return errors.Is(err, userkit.ErrExists) || errors.Is(err, userkit.ErrInvalid) ||
		errors.Is(err, userkit.ErrNotFound) || errors.Is(err, userkit.ErrConflict)
}
