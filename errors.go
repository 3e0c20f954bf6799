package userkit

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// The kinds of failure. Every error that userkit itself makes wraps exactly one of them. Match them
// with errors.Is, and read the details with errors.As into an *Error.
var (
	// ErrNotFound means that no such record exists in this project.
	ErrNotFound = errors.New("not found")
	// ErrExists means that a unique value is taken; Error.Field names it.
	ErrExists = errors.New("already exists")
	// ErrInvalid means that an argument is wrong; nothing was written.
	ErrInvalid = errors.New("invalid")
	// ErrConflict means that the record changed since the caller read it, or
	// that it kept changing under a command until its retries were used up.
	ErrConflict = errors.New("conflict")
	// ErrRefused means that a rule does not allow the call; Error.Code names the rule.
	ErrRefused = errors.New("refused")
	// ErrForbidden means that the caller may not do this.
	ErrForbidden = errors.New("forbidden")
	// ErrUnavailable means that the store did not answer, or that the manager
	// or the store is closed. A change may or may not have happened: repeat it
	// with the same key.
	ErrUnavailable = errors.New("unavailable")
)

// Code names the exact reason of an error. Codes are stable: codes may be added, but are never
// renamed.
type Code string

// The codes. Codes lists them with their kinds and meanings.
const (
	CodeUserNotFound        Code = "user_not_found"
	CodeDeviceNotFound      Code = "device_not_found"
	CodeSessionNotFound     Code = "session_not_found"
	CodeTransactionNotFound Code = "transaction_not_found"
	CodeSegmentNotFound     Code = "segment_not_found"
	CodePurchaseNotFound    Code = "purchase_not_found"
	CodeConnectionNotFound  Code = "connection_not_found"
	CodeMessageNotFound     Code = "message_not_found"

	CodeLoginTaken      Code = "login_taken"
	CodeEmailTaken      Code = "email_taken"
	CodeExtRefTaken     Code = "extref_taken"
	CodeLoginConfusable Code = "login_confusable"
	CodeIDTaken         Code = "id_taken"
	CodeTokenTaken      Code = "token_taken"
	CodePushTokenTaken  Code = "push_token_taken"

	CodeSegmentNameTaken Code = "segment_name_taken"
	CodePurchaseTaken    Code = "purchase_taken"

	CodeRequired             Code = "required"
	CodeTooLong              Code = "too_long"
	CodeBadText              Code = "bad_text"
	CodeBadFormat            Code = "bad_format"
	CodeOutOfRange           Code = "out_of_range"
	CodeUnknownValue         Code = "unknown_value"
	CodeUnknownField         Code = "unknown_field"
	CodeUnknownLicense       Code = "unknown_license"
	CodeInvalidCursor        Code = "invalid_cursor"
	CodeCursorMismatch       Code = "cursor_mismatch"
	CodeSpanTooLong          Code = "span_too_long"
	CodeCurrencyMismatch     Code = "currency_mismatch"
	CodeKeyReused            Code = "key_reused"
	CodeConfirmationMismatch Code = "confirmation_mismatch"
	CodeReservedName         Code = "reserved_name"
	CodeInvalidOption        Code = "invalid_option"
	CodeFilterSyntax         Code = "filter_syntax"
	CodeUnknownSegment       Code = "unknown_segment"
	CodeSegmentCycle         Code = "segment_cycle"
	CodeSegmentIsRule        Code = "segment_is_rule"
	CodeSegmentIsList        Code = "segment_is_list"
	CodeSegmentInUse         Code = "segment_in_use"
	CodeIDMismatch           Code = "id_mismatch"
	CodeInvalidBulkToken     Code = "invalid_bulk_token"
	CodeUnknownStore         Code = "unknown_store"
	CodeNoMailer             Code = "no_mailer"
	CodeNoPushMail           Code = "no_push_mail"

	CodeRevisionMismatch Code = "revision_mismatch"
	CodeTooManyConflicts Code = "too_many_conflicts"
	CodeAudienceChanged  Code = "audience_changed"
	CodeCursorExpired    Code = "cursor_expired"

	CodeUserDisabled        Code = "user_disabled"
	CodeUserInactive        Code = "user_inactive"
	CodeUserExpired         Code = "user_expired"
	CodeDeviceLimit         Code = "device_limit"
	CodeNoLocationConsent   Code = "no_location_consent"
	CodeNoDeviceSlot        Code = "no_device_slot"
	CodeSessionLimit        Code = "session_limit"
	CodeTrafficLimit        Code = "traffic_limit"
	CodeOtherNode           Code = "other_node"
	CodeInsufficientBalance Code = "insufficient_balance"
	CodeBalanceOverflow     Code = "balance_overflow"
	CodeNotLastTransaction  Code = "not_last_transaction"
	CodeAlreadyCancelled    Code = "already_cancelled"
	CodeTokenNotSealed      Code = "token_not_sealed"
	CodeSealingKeyMissing   Code = "sealing_key_missing"
	CodePurchaseInvalid     Code = "purchase_invalid"
	CodePurchaseDeactivated Code = "purchase_deactivated"
	CodeBusinessProject     Code = "business_project"
	CodeMailRefused         Code = "mail_refused"
	CodeAlreadyConfirmed    Code = "already_confirmed"
	CodeTooManyMails        Code = "too_many_mails"
	CodeTooManyAddresses    Code = "too_many_addresses"
	CodeActivationExpired   Code = "activation_expired"
	CodeTooManyAttempts     Code = "too_many_attempts"

	CodeInvalidToken     Code = "invalid_token"
	CodeInvalidSignature Code = "invalid_signature"
	CodeNotAllowed       Code = "not_allowed"
	CodeUserRequired     Code = "user_required"

	CodeNotAdministrator  Code = "not_administrator"
	CodeSelfConnection    Code = "self_connection"
	CodeConnectedAlready  Code = "connected_already"
	CodeConnectionsOff    Code = "connections_off"
	CodeConnectionEnded   Code = "connection_ended"
	CodeNotYourConnection Code = "not_your_connection"
	CodeNotConnected      Code = "not_connected"
	CodeNotWhileConnected Code = "not_while_connected"
	CodeOtherUser         Code = "other_user"

	CodeClosed            Code = "closed"
	CodeStoreUnavailable  Code = "store_unavailable"
	CodePurchaseUndecided Code = "purchase_undecided"
	CodeMailNotSent       Code = "mail_not_sent"
	CodeAuthorizerFailed  Code = "authorizer_failed"
	CodeSchemaOutdated    Code = "schema_outdated"
	CodeStoreRefused      Code = "store_refused"
)

// CodeInfo is a row of the table of codes.
type CodeInfo struct {
	Code    Code   `json:"code"`
	Kind    error  `json:"-"` // one of the sentinels of this package
	Meaning string `json:"meaning"`
}

// codeTable is the one place that says which kind a code belongs to.
var codeTable = []CodeInfo{
	{CodeUserNotFound, ErrNotFound, "the project has no such user"},
	{CodeDeviceNotFound, ErrNotFound, "the project has no such device, or the device belongs to another user"},
	{CodeSessionNotFound, ErrNotFound, "the project has no such session"},
	{CodeTransactionNotFound, ErrNotFound, "the user has no such transaction"},
	{CodeSegmentNotFound, ErrNotFound, "the project has no such segment"},
	{CodePurchaseNotFound, ErrNotFound, "the project has no such purchase"},
	{CodeConnectionNotFound, ErrNotFound, "the project has no such connection"},
	{CodeMessageNotFound, ErrNotFound, "the project has no such message"},

	{CodeLoginTaken, ErrExists, "another user has this login; logins are compared without regard to case"},
	{CodeEmailTaken, ErrExists, "another user has this email address; addresses are compared without regard to case"},
	{CodeExtRefTaken, ErrExists, "another user has this external reference"},
	{CodeLoginConfusable, ErrExists, "the login of another user looks the same; see WithConfusableCheck"},
	{CodeIDTaken, ErrExists, "a record with this id already exists"},
	{CodeTokenTaken, ErrExists, "a device with this access token already exists"},
	{CodePushTokenTaken, ErrExists, "another device has this push token; stores return it, and a Manager moves the token"},
	{CodePurchaseTaken, ErrExists, "another user has this purchase"},
	{CodeSegmentNameTaken, ErrExists, "another segment has this name; names are compared without regard to case"},

	{CodeRequired, ErrInvalid, "a value is required"},
	{CodeTooLong, ErrInvalid, "the value is too long"},
	{CodeBadText, ErrInvalid, "the text is not valid UTF-8, or it contains a control character"},
	{CodeBadFormat, ErrInvalid, "the value does not have the form that the field needs"},
	{CodeOutOfRange, ErrInvalid, "the value is outside its bounds"},
	{CodeUnknownValue, ErrInvalid, "the value is not one of the known ones"},
	{CodeUnknownField, ErrInvalid, "the field does not exist, or it cannot be used for this"},
	{CodeUnknownLicense, ErrInvalid, "the project has no license of this name"},
	{CodeInvalidCursor, ErrInvalid, "the cursor is damaged"},
	{CodeCursorMismatch, ErrInvalid, "the cursor belongs to another query"},
	{CodeSpanTooLong, ErrInvalid, "the time span is longer than allowed, or ends before it begins"},
	{CodeCurrencyMismatch, ErrInvalid, "the currency of the amount is not that of the balance"},
	{CodeKeyReused, ErrInvalid, "the idempotency key was used with other content"},
	{CodeConfirmationMismatch, ErrInvalid, "the confirmation is not the id of the user"},
	{CodeReservedName, ErrInvalid, "the name is one of userkit's own event names"},
	{CodeInvalidOption, ErrInvalid, "an option given to New is wrong"},
	{CodeFilterSyntax, ErrInvalid, "the text is not a valid filter; Error.Position is the character at fault"},
	{CodeUnknownSegment, ErrInvalid, "a filter names a segment that the project does not have"},
	{CodeSegmentCycle, ErrInvalid, "the rule of a segment leads back to the segment"},
	{CodeSegmentIsRule, ErrInvalid, "the members of a rule segment follow from its rule"},
	{CodeSegmentIsList, ErrInvalid, "the segment has no rule"},
	{CodeSegmentInUse, ErrRefused, "the rules of other segments name the segment"},
	{CodeIDMismatch, ErrInvalid, "the record names one user by its key and another by its id"},
	{CodeUnknownStore, ErrInvalid, "the project has no verifier of this name, or the verifier does not support this"},
	{CodeNoMailer, ErrInvalid, "the manager has no mailer; see WithActivation"},
	{CodeNoPushMail, ErrInvalid, "the manager has no domain for push mail; see WithPushMail"},
	{CodeInvalidBulkToken, ErrInvalid, "the token is damaged or too old, or belongs to another bulk action"},

	{CodeRevisionMismatch, ErrConflict, "the profile has been edited since it was read"},
	{CodeTooManyConflicts, ErrConflict, "the user kept changing until the retries were used up"},
	{CodeAudienceChanged, ErrConflict, "the filter no longer matches the users of the bulk action's preview"},

	{CodeCursorExpired, ErrConflict, "events after the cursor are no longer kept; see WithRetention"},

	{CodeUserDisabled, ErrRefused, "the user is disabled"},
	{CodeUserInactive, ErrRefused, "the user has not been activated"},
	{CodeUserExpired, ErrRefused, "the user's validity has expired"},
	{CodeDeviceLimit, ErrRefused, "the license allows no more devices"},
	{CodeNoLocationConsent, ErrRefused, "the device has not consented to having its location kept"},
	{CodeNoDeviceSlot, ErrRefused, "the device is not among the number of devices that the license allows"},
	{CodeSessionLimit, ErrRefused, "no more sessions may run at the same time"},
	{CodeTrafficLimit, ErrRefused, "the traffic limit is reached; Error.Until is the next reset"},
	{CodeOtherNode, ErrRefused, "the session runs on a node other than the one that reports; see WithNodePolicy"},
	{CodeInsufficientBalance, ErrRefused, "the charge would take the balance below its floor"},
	{CodeBalanceOverflow, ErrRefused, "the balance would no longer fit into an int64"},
	{CodeNotLastTransaction, ErrRefused, "only the last transaction can be cancelled, and this one is not the last"},
	{CodeAlreadyCancelled, ErrRefused, "the transaction is already cancelled"},
	{CodeTokenNotSealed, ErrRefused, "only a digest of the access token was kept, so it cannot be revealed"},
	{CodeSealingKeyMissing, ErrRefused, "the key that sealed this access token is not configured"},
	{CodePurchaseInvalid, ErrRefused, "the store does not accept the purchase; Error.Reason says why"},
	{CodePurchaseDeactivated, ErrRefused, "an administrator has deactivated the purchase"},
	{CodeBusinessProject, ErrRefused, "a business project has no purchases"},
	{CodeMailRefused, ErrRefused, "the address does not accept mail"},
	{CodeAlreadyConfirmed, ErrRefused, "the email address is already confirmed, and the user is active"},
	{CodeTooManyMails, ErrRefused, "the user or the address has been sent as many mails as allowed; Error.Until is when the next may be sent"},
	{CodeTooManyAddresses, ErrRefused, "the user has been given as many push mail addresses as allowed; Error.Until is when the next may be generated"},
	{CodeActivationExpired, ErrRefused, "the activation has expired; a new mail has to be sent"},
	{CodeTooManyAttempts, ErrRefused, "the client has tried too many wrong tokens; Error.Until is when it may try another one"},

	{CodeInvalidToken, ErrForbidden, "the access token or the activation token is unknown"},
	{CodeInvalidSignature, ErrForbidden, "a notification is not signed by the store that it claims to be from"},
	{CodeNotAllowed, ErrForbidden, "the actor may not do this; see WithAuthorizer"},
	{CodeUserRequired, ErrForbidden, "the actor may see only some users, so a list has to name one of them; see Authorization.Scope"},
	{CodeNotAdministrator, ErrForbidden, "only an administrator with an id can connect to users"},
	{CodeSelfConnection, ErrForbidden, "an administrator cannot connect to their own user"},
	{CodeConnectedAlready, ErrForbidden, "the actor is already connected to a user, and cannot connect to another one or to the same one again"},
	{CodeConnectionsOff, ErrForbidden, "the manager does not allow connections to users; see WithConnections"},
	{CodeConnectionEnded, ErrForbidden, "the connection has been ended or has expired, or its user has been deleted"},
	{CodeNotYourConnection, ErrForbidden, "the connection belongs to another administrator"},
	{CodeNotConnected, ErrForbidden, "the actor acts on behalf of a user without a connection; see Resume"},
	{CodeNotWhileConnected, ErrForbidden, "the call is not allowed while connected to a user"},
	{CodeOtherUser, ErrForbidden, "the call is about a user other than the one that the connection is to"},

	{CodeClosed, ErrUnavailable, "the manager or the store is closed"},
	{CodePurchaseUndecided, ErrUnavailable, "the store of the purchase gives no answer now; Error.Until, if it is set, is when to ask again"},
	{CodeStoreUnavailable, ErrUnavailable, "the store did not answer; whether the change happened is unknown"},
	{CodeMailNotSent, ErrUnavailable, "the mail could not be sent now"},
	{CodeAuthorizerFailed, ErrUnavailable, "the authorizer failed or did not answer; nothing happened"},
	{CodeSchemaOutdated, ErrUnavailable, "the database does not have the schema that this version needs"},
	{CodeStoreRefused, ErrUnavailable, "the database refused the statement, because rights are missing or it is read-only; nothing happened"},
}

var codeKinds = func() map[Code]error {
	kinds := make(map[Code]error, len(codeTable))
	for _, info := range codeTable {
		kinds[info.Code] = info.Kind
	}
	return kinds
}()

// Codes lists every code with its kind and its meaning, for hosts that map codes to statuses or to
// their own texts.
func Codes() []CodeInfo {
	return append([]CodeInfo(nil), codeTable...)
}

// Error is the one error type of userkit. It wraps its Kind (a sentinel of this
// package) and, where there is one, its cause.
//
// Its JSON form contains everything except the cause, which is for the log, and has the kind as a
// name: not_found, exists, invalid, conflict, refused, forbidden or unavailable.
type Error struct {
	Kind    error  `json:"-"`                 // one of the sentinels; in JSON, its name
	Code    Code   `json:"code,omitempty"`    // the exact reason
	Field   string `json:"field,omitempty"`   // the field or argument at fault, by its name in the table of fields; may be empty
	Message string `json:"message,omitempty"` // for developers, in English, without secrets

	// Position is the character at fault in a text that was parsed, such as a
	// filter, counted from 1. Zero: not about a place.
	Position int `json:"position,omitzero"`

	// Reason is why a purchase is not valid, with CodePurchaseInvalid; otherwise empty.
	Reason PurchaseReason `json:"reason,omitempty"`

	// Until is the time at which the same call may succeed, such as the next
	// reset of a traffic limit. Zero when time alone will not help.
	Until time.Time `json:"until,omitzero"`

	// Fields are all invalid fields of the call, the field of the error itself first, if there are
	// several; otherwise nil.
	Fields []FieldError `json:"fields,omitempty"`

	Cause error `json:"-"` // the error below this one; may be nil
}

// FieldError describes one invalid field of a call.
type FieldError struct {
	Field   string `json:"field"`
	Code    Code   `json:"code"`
	Message string `json:"message,omitempty"`
}

// NewError returns an Error with the kind that belongs to code. Stores use it;
// an unknown code is a programming error and panics.
func NewError(code Code, field, format string, args ...any) *Error {
	kind, ok := codeKinds[code]
	if !ok {
		panic("userkit: unknown code " + string(code))
	}
	return &Error{Kind: kind, Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}

// uniqueValues are the values that no two records share, other than ids, with the code and
// the message of an error about a second one.
var uniqueValues = []struct {
	record, field string
	code          Code
	message       string
}{
	{"user", "login", CodeLoginTaken, "another user has this login"},
	{"user", "login_email", CodeLoginTaken, "another user has this login as their email address"},
	{"user", "email", CodeEmailTaken, "another user has this email address"},
	{"user", "email_login", CodeEmailTaken, "another user has this email address as their login"},
	{"user", "extref", CodeExtRefTaken, "another user has this external reference"},
	{"user", "login_skeleton", CodeLoginConfusable, "the login of another user looks the same"},
	{"device", "access_token", CodeTokenTaken, "another device has this access token"},
	{"device", "push_token", CodePushTokenTaken, "another device has this push token"},
	{"device", "hardware_id", CodeIDTaken, "another device of the user has this hardware id"},
	{"message", "key", CodeIDTaken, "another message of the user has this key"},
	{"purchase", "stable_id", CodePurchaseTaken, "another purchase has this stable id"},
	{"segment", "name", CodeSegmentNameTaken, "another segment has this name"},
	{"transaction", "key", CodeIDTaken, "another transaction of the user has this key"},
	{"transaction", "sequence", CodeIDTaken, "another transaction of the user has this sequence"},
}

// derivedFields are fields that nobody sets, with those that they follow from.
var derivedFields = map[string]string{skeletonField: "login", "login_email": "login", "email_login": "email"}

// Taken returns the error for a record, such as "user", of which a field, such as "login", has a
// value that belongs to another record. Its kind is ErrExists. All stores return this error. The
// field is "login_email" for a login that another user has as their email address, and
// "email_login" for an email address that another user has as their login; the error names what
// was set.
//
// For writers of stores.
func Taken(record, field string) *Error {
	for _, value := range uniqueValues {
		if value.record == record && value.field == field {
			if set, derived := derivedFields[field]; derived {
				field = set
			}
			return NewError(value.code, field, "%s", value.message)
		}
	}
	return NewError(CodeIDTaken, field, "another %s has this %s", record, field)
}

// Because sets the cause of e and returns e.
func (e *Error) Because(cause error) *Error {
	e.Cause = cause
	return e
}

// Error returns kind, code, field and message in one line.
func (e *Error) Error() string {
	text := "userkit: " + cmp.Or(string(e.Code), "error")
	if e.Field != "" {
		text += " (" + e.Field + ")"
	}
	if e.Position > 0 {
		text += " at character " + strconv.Itoa(e.Position)
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Cause != nil && e.Cause.Error() != e.Message {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap makes errors.Is find the kind and the cause.
func (e *Error) Unwrap() []error {
	var below []error
	for _, err := range []error{e.Kind, e.Cause} {
		if err != nil {
			below = append(below, err)
		}
	}
	return below
}

// ErrorCode returns the code of err, or "" if it has none.
func ErrorCode(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// kindNames are the names of the kinds in JSON.
var kindNames = []struct {
	kind error
	name string
}{
	{ErrNotFound, "not_found"}, {ErrExists, "exists"}, {ErrInvalid, "invalid"}, {ErrConflict, "conflict"},
	{ErrRefused, "refused"}, {ErrForbidden, "forbidden"}, {ErrUnavailable, "unavailable"},
}

// plainError is an Error without its methods.
type plainError Error

// MarshalJSON writes the error without its cause.
func (e *Error) MarshalJSON() ([]byte, error) {
	written := struct {
		Kind string `json:"kind,omitempty"`
		*plainError
	}{plainError: (*plainError)(e)}
	for _, known := range kindNames {
		if errors.Is(e.Kind, known.kind) {
			written.Kind = known.name
		}
	}
	return json.Marshal(written)
}

// UnmarshalJSON reads what MarshalJSON of this or another version has written: an error with an
// unknown code keeps its kind.
func (e *Error) UnmarshalJSON(data []byte) error {
	read := struct {
		Kind string `json:"kind"`
		*plainError
	}{plainError: &plainError{}}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	*e = Error(*read.plainError)
	for _, known := range kindNames {
		if read.Kind == known.name {
			e.Kind = known.kind
		}
	}
	if kind, known := codeKinds[e.Code]; known {
		e.Kind = kind
	}
	return nil
}

// AsError returns the Error that err is or wraps. For any other error it returns an Error that has
// only the message, so that it can be written as JSON. For nil it returns nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Message: err.Error(), Cause: err}
}

// orNil returns the error, or nil where there is none.
func (e *Error) orNil() error {
	if e == nil {
		return nil
	}
	return e
}
