package postgres

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"reflect"
	"regexp"
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
	message    string
}

// readServerError finds the server's error in err. pgdriver's type is known;
// others, such as *pgconn.PgError, are known by their method SQLState and by the
// names of their fields, so that pgx need not be part of every program.
func readServerError(err error) (serverError, bool) {
	if found, ok := errors.AsType[pgdriver.Error](err); ok {
		return serverError{
			state: found.Field('C'), constraint: found.Field('n'), table: found.Field('t'), column: found.Field('c'),
			message: found.Field('M'),
		}.completed(), true
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
		message: field("Message"),
	}.completed(), true
}

// violations are the messages, and nothing beside them, of errors whose fields may
// be missing, with the states that they have. A detail is never read, since it
// holds what users wrote, and the message has to match from end to end, since
// others name indexes too, such as one of a damaged index.
var violations = []struct {
	state   string
	message *regexp.Regexp // its groups are called as the fields are
}{
	{"23505", regexp.MustCompile(`^duplicate key value violates unique constraint "(?P<constraint>[^"]+)"$`)},
	{"23503", regexp.MustCompile(`^insert or update on table "(?P<table>[^"]+)" violates foreign key constraint "(?P<constraint>[^"]+)"$`)},
	{"23503", regexp.MustCompile(`^update or delete on table "[^"]+" violates foreign key constraint "(?P<constraint>[^"]+)" on table "(?P<table>[^"]+)"$`)},
	{"23502", regexp.MustCompile(`^null value in column "(?P<column>[^"]+)" of relation "(?P<table>[^"]+)" violates not-null constraint$`)},
	{"40001", regexp.MustCompile(`^could not serialize access due to .+$`)},
	{"40P01", regexp.MustCompile(`^(?:deadlock detected|canceling the transaction since it was involved in a distributed deadlock)$`)},
	{"54000", regexp.MustCompile(`^index row size [0-9]+ exceeds .+ for index "[^"]+"$`)},
}

// internalError is the state of an error that has none of its own.
const internalError = "XX000"

// completed returns the error with what its message says instead of its fields.
// A distributed PostgreSQL passes the error of a worker on without the names of
// what was violated; they stand in the message alone, with the number of the shard
// at their ends. Where the rows went to the worker by COPY, the state is lost as
// well. What the fields do say stays.
func (e serverError) completed() serverError {
	if e.constraint != "" || e.column != "" {
		return e
	}
	for _, violation := range violations {
		if e.state != internalError && e.state != violation.state {
			continue
		}
		found := violation.message.FindStringSubmatch(e.message)
		if found == nil {
			continue
		}
		e.state = violation.state
		for i, name := range violation.message.SubexpNames() {
			switch name {
			case "constraint":
				e.constraint = found[i]
			case "table":
				e.table = found[i]
			case "column":
				e.column = found[i]
			}
		}
		return e
	}
	return e
}

// taken says which value of which record a violated constraint stands for. No record
// means that the user exists, whose version therefore is not the one that was asked for.
var taken = map[string]unique{
	"users_pkey":                {},
	"users_login_key":           {"user", "login"},
	"users_email_key":           {"user", "email"},
	"users_extref_key":          {"user", "extref"},
	"email_holders_pkey":        {"user", "email_login"},
	"users_login_skeleton_key":  {"user", "login_skeleton"},
	"accounts_pkey":             {},
	"devices_pkey":              {"device", "id"},
	"devices_token_key":         {"device", "access_token"},
	"devices_push_token_key":    {"device", "push_token"},
	"devices_hardware_key":      {"device", "hardware_id"},
	"sessions_pkey":             {"session", "id"},
	"purchases_pkey":            {"purchase", "id"},
	"purchases_stable_key":      {"purchase", "stable_id"},
	"connections_pkey":          {"connection", "id"},
	"messages_pkey":             {"message", "id"},
	"messages_key_key":          {"message", "key"},
	"deliveries_pkey":           {"delivery", "id"},
	"transactions_pkey":         {"transaction", "id"},
	"transactions_sequence_key": {"transaction", "sequence"},
	"transactions_key_key":      {"transaction", "key"},
	"events_pkey":               {"event", "id"},
	"segments_pkey":             {"segment", "id"},
	"segments_name_key":         {"segment", "name"},
}

// unique is a value that no two records share.
type unique struct{ record, field string }

// silent is a cause that the text of its error leaves out: what the server says of a
// statement is in SQL, and nothing for whoever gave a wrong argument.
type silent struct {
	error
	said string // by the error itself
}

func (s silent) Error() string { return s.said }
func (s silent) Unwrap() error { return s.error }

// refused returns an error about the arguments, with its cause inside.
func refused(code userkit.Code, words string, cause error) error {
	return userkit.NewError(code, "", "%s", words).Because(silent{cause, words})
}

// errContended marks an error after which the same transaction, begun anew, may
// go through: a deadlock or a serialization failure.
var errContended = errors.New("postgres: contended")

// errUnplaced marks an error after which nothing has happened, since an event has no
// place in the feed of the project.
var errUnplaced = errors.New("postgres: no place in the feed")

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
		if ok && found == (unique{}) {
			return userkit.ErrConflict
		}
		if ok {
			e := userkit.Taken(found.record, found.field)
			return e.Because(silent{err, e.Message})
		}
	case "23503": // foreign_key_violation
		switch withoutShard(server.constraint) {
		case "memberships_segment_fkey":
			return refused(userkit.CodeSegmentNotFound, "a segment is not there", err)
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
			return userkit.NewError(userkit.CodeSchemaOutdated, "", "the project is not in the database, or came there from another cluster; see Migrate").
				Because(errors.Join(errUnplaced, err))
		}
	case "42501", "42704", readOnlyTransaction: // insufficient_privilege, undefined_object
		return userkit.NewError(userkit.CodeStoreRefused, "", "the server refuses the statement").Because(err)
	case "22021", "22P05": // character_not_in_repertoire, untranslatable_character
		return refused(userkit.CodeBadText, "PostgreSQL cannot keep a character of the text", err)
	case "54000": // program_limit_exceeded: a key too large for its index
		return refused(userkit.CodeTooLong, "a value is too long for its index", err)
	}
	if strings.HasPrefix(server.state, "22") { // data_exception
		return refused(userkit.CodeOutOfRange, "PostgreSQL cannot keep a value", err)
	}
	return unavailable("the server refused or broke off the statement", err)
}

func contended(what string, cause error) error {
	return refused(userkit.CodeTooManyConflicts, what, errors.Join(errContended, cause))
}

func unavailable(what string, cause error) error {
	return userkit.NewError(userkit.CodeStoreUnavailable, "", "%s", what).Because(cause)
}

// contextError returns the context's error when err comes from its end. pgdriver
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
func constraintMeaning(constraint string) (unique, bool) {
	found, ok := taken[withoutShard(constraint)]
	return found, ok
}

// withoutShard returns the name of a constraint. On a distributed PostgreSQL the
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
