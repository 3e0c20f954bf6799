package userkit

import (
	"context"
	"iter"
	"time"
)

// Status is where a user stands in its life.
type Status string

// The statuses. A user that is created by sign-up is invited until its first
// log-in; one that an administrator creates is inactive until it is activated.
const (
	// StatusInvited: registered, never logged in. The first log-in makes it active.
	StatusInvited Status = "invited"
	// StatusInactive: created by an administrator, waits for activation; may not log in.
	StatusInactive Status = "inactive"
	// StatusActive: in use.
	StatusActive Status = "active"
	// StatusDisabled: blocked. It may use nothing: its sessions have ended and
	// its device tokens do not work.
	StatusDisabled Status = "disabled"
)

// UserKind says whether a user is a person or an organisation.
type UserKind string

// The kinds of user.
const (
	UserIndividual  UserKind = "individual"
	UserLegalEntity UserKind = "legal_entity"
)

// Bounds of a user's fields, in characters where nothing else is said.
const (
	MaxLogin           = 128
	MaxName            = 256
	MaxEmail           = 254 // bytes, RFC 5321 section 4.5.3.1.3 less the angle brackets
	MaxExtRef          = 256
	MaxDescription     = 2000
	MaxAdditionalInfo  = 8000
	MaxLine            = 256       // every other text of one line
	MaxAddress         = 500       // a postal or legal address
	MaxAttributes      = 100       // entries
	MaxAttributesBytes = 64 * 1024 // all entries together, as JSON
)

// Payer holds what an invoice needs. A legal entity has it; an individual may.
type Payer struct {
	AccountNumber string `json:"account_number,omitempty"` // payer's account number (UNP, tax id)
	LegalAddress  string `json:"legal_address,omitempty"`
	PostalAddress string `json:"postal_address,omitempty"`
	Bank          string `json:"bank,omitempty"`
	BankAccount   string `json:"bank_account,omitempty"`
}

// Attributes are free-form facts about a user under names that the host
// chooses. A name begins with a letter and has at most 64 letters, digits, '_'
// and '-' (ASCII). A value is what JSON can say: nil, bool, int64 (whole
// numbers), float64, string, []any or map[string]any.
type Attributes map[string]any

// User is a person or an organisation that uses the host's product.
//
// The profile is what people edit; it has a revision, which is the ETag that an
// editor sees. The account is what use changes, many times a day; it has a
// version of its own, so traffic never makes an administrator's edit fail.
type User struct {
	ID UserID `json:"id"`

	// Who it is. Login and Email are unique in the project in their folded form
	// (see Fold), ExtRef byte by byte; each may be empty.
	Login         string `json:"login,omitempty"`
	Name          string `json:"name,omitempty"`
	Email         string `json:"email,omitempty"`
	EmailVerified bool   `json:"email_verified"`
	Phone         string `json:"phone,omitempty"`  // ITU-T E.164: '+' and at most 15 digits
	ExtRef        string `json:"extref,omitempty"` // the id in the host's own system
	AuthMethod    string `json:"auth_method,omitempty"`

	Status  Status `json:"status"`
	License string `json:"license,omitempty"` // the name of one of the project's licenses; empty: no limits

	Kind           UserKind   `json:"kind"`
	Payer          Payer      `json:"payer,omitzero"`
	Description    string     `json:"description,omitempty"`
	Country        string     `json:"country,omitempty"` // ISO 3166-1 alpha-2
	PreferredMap   string     `json:"preferred_map,omitempty"`
	AdditionalInfo string     `json:"additional_info,omitempty"`
	Attributes     Attributes `json:"attributes,omitempty"`

	RegisteredAt time.Time `json:"registered_at"`
	UpdatedAt    time.Time `json:"updated_at"` // the last edit of the profile
	Revision     int64     `json:"revision"`   // of the profile; counts from 1

	Account // what use changes
}

// Account is the part of a user that use changes: money, slots, traffic,
// validity. Every change of anything that belongs to the user raises Version,
// and a command commits only on the version that it was decided from.
type Account struct {
	Version int64 `json:"version"` // counts from 1

	Balance             Money         `json:"balance"`
	TransactionSequence int64         `json:"transaction_sequence"` // the number of the newest transaction; 0: none
	LastTransaction     TransactionID `json:"last_transaction"`     // the newest that is not cancelled; zero: none

	Devices      int `json:"devices"`       // how many are registered
	OpenSessions int `json:"open_sessions"` // how many have not ended

	Traffic Traffic `json:"traffic"`

	// ExpiresAt is when the user's time is over; zero: never. ValidFor, when not
	// zero, is a time that begins with the first session: that sets ExpiresAt
	// and clears ValidFor.
	ExpiresAt time.Time     `json:"expires_at,omitzero"`
	ValidFor  time.Duration `json:"valid_for,omitzero"`

	LastSeenAt time.Time `json:"last_seen_at,omitzero"`
}

// NewUser is what a user is created from. Every field may be left empty.
type NewUser struct {
	ID            UserID `json:"id,omitzero"` // zero: a new one
	Login         string `json:"login,omitempty"`
	Name          string `json:"name,omitempty"`
	Email         string `json:"email,omitempty"`
	EmailVerified bool   `json:"email_verified,omitempty"`
	Phone         string `json:"phone,omitempty"`
	ExtRef        string `json:"extref,omitempty"`
	AuthMethod    string `json:"auth_method,omitempty"`

	// Status: empty means StatusInactive when an administrator creates the user
	// (see Actor), else StatusInvited.
	Status  Status `json:"status,omitempty"`
	License string `json:"license,omitempty"` // empty: the project's default license

	Kind           UserKind   `json:"kind,omitempty"` // empty: UserIndividual
	Payer          Payer      `json:"payer,omitzero"`
	Description    string     `json:"description,omitempty"`
	Country        string     `json:"country,omitempty"`
	PreferredMap   string     `json:"preferred_map,omitempty"`
	AdditionalInfo string     `json:"additional_info,omitempty"`
	Attributes     Attributes `json:"attributes,omitempty"`

	Currency     string                 `json:"currency,omitempty"`     // of the balance; empty: the project's
	TrafficLimit Optional[TrafficLimit] `json:"traffic_limit,omitzero"` // not set: the project's default
	ExpiresAt    time.Time              `json:"expires_at,omitzero"`    // not together with ValidFor
	ValidFor     time.Duration          `json:"valid_for,omitzero"`     // starts on first use
	RegisteredAt time.Time              `json:"registered_at,omitzero"` // zero: now; earlier for users that are taken over
}

// UserPatch says which fields of a profile to set; what is not set stays. A new
// email address is unverified unless EmailVerified is set with it.
type UserPatch struct {
	// Revision, when not zero, must be the profile's, else the edit is refused
	// with ErrConflict and CodeRevisionMismatch.
	Revision int64 `json:"revision,omitzero"`

	Login          Optional[string]   `json:"login,omitzero"`
	Name           Optional[string]   `json:"name,omitzero"`
	Email          Optional[string]   `json:"email,omitzero"`
	EmailVerified  Optional[bool]     `json:"email_verified,omitzero"`
	Phone          Optional[string]   `json:"phone,omitzero"`
	ExtRef         Optional[string]   `json:"extref,omitzero"`
	AuthMethod     Optional[string]   `json:"auth_method,omitzero"`
	Kind           Optional[UserKind] `json:"kind,omitzero"`
	Payer          Optional[Payer]    `json:"payer,omitzero"`
	Description    Optional[string]   `json:"description,omitzero"`
	Country        Optional[string]   `json:"country,omitzero"`
	PreferredMap   Optional[string]   `json:"preferred_map,omitzero"`
	AdditionalInfo Optional[string]   `json:"additional_info,omitzero"`

	// Attributes replaces all attributes. SetAttributes sets single ones and
	// leaves the rest; a nil value removes one. Not both together.
	Attributes    Optional[Attributes] `json:"attributes,omitzero"`
	SetAttributes Attributes           `json:"set_attributes,omitempty"`

	// ExpiresAt and ValidFor: setting one clears the other; zero means no end.
	ExpiresAt Optional[time.Time]     `json:"expires_at,omitzero"`
	ValidFor  Optional[time.Duration] `json:"valid_for,omitzero"`
}

// UserKey names a user by a unique value of its own.
type UserKey struct {
	field string
	value string
}

// ByLogin names the user with this login, compared in folded form.
func ByLogin(login string) UserKey { return UserKey{"login", login} }

// ByEmail names the user with this email address, compared in folded form.
func ByEmail(email string) UserKey { return UserKey{"email", email} }

// ByExtRef names the user with this external reference, compared byte by byte.
func ByExtRef(extref string) UserKey { return UserKey{"extref", extref} }

// Field is the name of the field: login, email or extref.
func (k UserKey) Field() string { return k.field }

// Value is the value to compare with: SortKey of a login or an email address,
// an external reference as it is.
func (k UserKey) Value() string {
	if k.field == "extref" {
		return k.value
	}
	return SortKey(k.value)
}

// UserQuery asks for a page of users.
type UserQuery struct {
	UserFilter
	PageQuery // default order: by login; any field of UserFields
}

// UserFilter says which users; the zero filter means all.
type UserFilter struct {
	OnlyActive bool // leave out disabled users
}

// Erasure is the receipt of a deletion. It holds no personal data of the user
// who was deleted, and it stays in the books as the event user.deleted.
type Erasure struct {
	UserID UserID         `json:"user_id"`
	At     time.Time      `json:"at"`
	Actor  Actor          `json:"actor"`
	Rows   map[string]int `json:"rows"` // what was deleted, by kind of record
}

// UserManager creates, finds, edits and deletes users.
//
// Calls that name a user return ErrNotFound with CodeUserNotFound when there is
// none; calls that take values return ErrInvalid with a code and the field when
// one is wrong, and then nothing is written.
type UserManager interface {
	// CreateUser creates a user. It returns ErrExists with CodeLoginTaken,
	// CodeEmailTaken, CodeExtRefTaken or CodeIDTaken when another user has the
	// value, and ErrInvalid with CodeUnknownLicense.
	CreateUser(ctx context.Context, user NewUser) (User, error)

	// User returns one user.
	User(ctx context.Context, id UserID) (User, error)

	// FindUser returns the user with a unique value of its own.
	FindUser(ctx context.Context, key UserKey) (User, error)

	// UpdateUser sets the fields that the patch names. A patch that changes
	// nothing writes nothing and raises no revision. It returns what CreateUser
	// returns for values that are taken, and ErrConflict with
	// CodeRevisionMismatch.
	UpdateUser(ctx context.Context, id UserID, patch UserPatch) (User, error)

	// ActivateUser makes a user active, whatever it was.
	ActivateUser(ctx context.Context, id UserID) (User, error)

	// DeactivateUser disables a user. Its open sessions end in the same commit,
	// and its device tokens stop working.
	DeactivateUser(ctx context.Context, id UserID) (User, error)

	// RecordLogin records that the user logged in, by the named method of at
	// most MaxLine characters; empty keeps the method. The first log-in of an
	// invited user makes it active. It returns ErrRefused with CodeUserDisabled
	// or CodeUserInactive. A user whose time is over or whose traffic is used up
	// may log in, to buy more.
	RecordLogin(ctx context.Context, id UserID, authMethod string) (User, error)

	// Access says what the user may do now and why not.
	Access(ctx context.Context, id UserID) (Access, error)

	// DeleteUser deletes the user with every record that belongs to it, for
	// good. confirm must be the text of the id, else ErrInvalid with
	// CodeConfirmationMismatch. What stays is the receipt.
	DeleteUser(ctx context.Context, id UserID, confirm string) (Erasure, error)

	// Users returns a page of users in the order that the query asks for.
	Users(ctx context.Context, query UserQuery) (Page[User], error)

	// AllUsers walks all users of a query, from query.Cursor on, page by page. A
	// user that stays through the walk and keeps its sort key is seen once.
	AllUsers(ctx context.Context, query UserQuery) iter.Seq2[User, error]

	// CountUsers counts the users of a filter.
	CountUsers(ctx context.Context, filter UserFilter) (int64, error)
}
