package userkit

import (
	"context"
	"encoding/json"
	"iter"
	"slices"
	"time"

	"github.com/userkit/userkit/internal/jsonvalue"
)

// Status is the status of a user.
type Status string

// The statuses. A user that is created by sign-up is invited until its first
// log-in; one that an administrator creates is inactive until it is activated.
const (
	// StatusInvited: the user is registered and has never logged in. The first log-in makes it
	// active.
	StatusInvited Status = "invited"
	// StatusInactive: the user was created by an administrator and awaits activation; it may not
	// log in.
	StatusInactive Status = "inactive"
	// StatusActive: the user may log in and use the product.
	StatusActive Status = "active"
	// StatusDisabled: the user is blocked. Its sessions have ended, and its device tokens do not
	// work.
	StatusDisabled Status = "disabled"
)

// UserKind says whether a user is a person or an organisation.
type UserKind string

// The kinds of user.
const (
	UserIndividual  UserKind = "individual"
	UserLegalEntity UserKind = "legal_entity"
)

// Bounds of a user's fields, in characters unless stated otherwise.
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
	MaxAttributeName   = 64        // characters
	MaxAttributesBytes = 64 * 1024 // all entries together, as JSON
)

// Payer contains what an invoice needs. A legal entity must have at least a part of it, unless
// WithOptionalPayer is given; for an individual it is optional.
type Payer struct {
	AccountNumber string `json:"account_number,omitempty"` // payer's account number (UNP, tax id)
	LegalAddress  string `json:"legal_address,omitempty"`
	PostalAddress string `json:"postal_address,omitempty"`
	Bank          string `json:"bank,omitempty"`
	BankAccount   string `json:"bank_account,omitempty"`
}

// Attributes are free-form facts about a user under names that the host chooses. A name begins with
// a letter, of any script, and has at most MaxAttributeName letters, digits, '_' and '-', in
// normalization form C (NFC). A value is one that JSON can represent: nil, bool, int64 (whole
// numbers), float64, string, []any or map[string]any.
type Attributes map[string]any

// UnmarshalJSON reads a JSON object and keeps every digit of its whole numbers. It returns
// ErrInvalid, with CodeBadText for an escaped surrogate without its counterpart.
func (a *Attributes) UnmarshalJSON(data []byte) error {
	value, err := jsonvalue.Decode(data)
	if err != nil {
		return jsonFault("attributes", "the text is not valid JSON", err)
	}
	object, ok := jsonvalue.Numbers(value).(map[string]any)
	if !ok && value != nil {
		return NewError(CodeBadFormat, "attributes", "the attributes are not a JSON object")
	}
	*a = object
	return nil
}

// User is a person or an organisation that uses the host's product.
//
// The profile is edited by people; its revision serves as an ETag for editors. The account changes
// through usage, many times a day; it has its own version, so traffic never makes an
// administrator's edit fail.
type User struct {
	ID UserID `json:"id"`

	// Login, Email and ExtRef are unique in the project: Login by LoginKey, Email by EmailKey, and
	// ExtRef byte by byte. Each may be empty. A Login that is written like an email address is not
	// the email address of another user.
	Login         string `json:"login,omitempty"`
	Name          string `json:"name,omitempty"`
	Email         string `json:"email,omitempty"`
	EmailVerified bool   `json:"email_verified"`
	Phone         string `json:"phone,omitempty"`  // ITU-T E.164: '+' and at most 15 digits; see WithPhoneParser for how it may be written
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

	// LoginSkeleton is what the login looks like; see WithConfusableCheck. It is unique in the
	// project unless it is empty, which it is for logins that were never checked. It is for
	// writers of stores and no part of the JSON form.
	LoginSkeleton string `json:"-"`

	Account // what use changes
}

// Account is the part of a user that changes through usage: money, slots, traffic, validity. Every
// change of anything that belongs to the user increments Version, and a change commits only if
// Version is still the one that it was decided from.
type Account struct {
	Version int64 `json:"version"` // counts from 1

	Balance             Money         `json:"balance"`
	TransactionSequence int64         `json:"transaction_sequence"` // the number of the newest transaction; 0: none
	LastTransaction     TransactionID `json:"last_transaction"`     // the newest that is not cancelled; zero: none

	Devices         int `json:"devices"`          // how many are registered
	OpenSessions    int `json:"open_sessions"`    // how many have not ended
	ActivePurchases int `json:"active_purchases"` // how many are active

	// PurchasesEndAt is when the last of the active purchases stops counting by the clock,
	// including its grace period; if it is zero while there are active purchases, they never stop.
	// See Subscribed.
	PurchasesEndAt time.Time `json:"purchases_end_at,omitzero"`

	Traffic Traffic `json:"traffic"`

	// ExpiresAt is when the user expires; zero: never. ValidFor, if not zero, is a validity that
	// begins with the first session, which sets ExpiresAt and clears ValidFor.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	ValidFor  Duration  `json:"valid_for,omitzero"`

	LastSeenAt time.Time `json:"last_seen_at,omitzero"`
}

// Subscribed reports whether the user has an active purchase at a moment.
func (a Account) Subscribed(now time.Time) bool {
	return a.ActivePurchases > 0 && (a.PurchasesEndAt.IsZero() || now.Before(a.PurchasesEndAt))
}

// NewUser describes a user to create. Every field may be left empty.
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
	ValidFor     Duration               `json:"valid_for,omitzero"`     // starts on first use
	RegisteredAt time.Time              `json:"registered_at,omitzero"` // zero: now; may be earlier for users from another system

	skeleton string // of the login; set by normalise
}

// UserPatch says which fields of a profile to set; the others stay unchanged. A new email address
// is unverified unless EmailVerified is set with it; one that differs only in its spelling (see
// EmailKey) is the same address.
type UserPatch struct {
	// Revision, if not zero, must be that of the profile; otherwise the edit is refused with
	// ErrConflict and CodeRevisionMismatch.
	Revision int64 `json:"revision,omitzero"`

	Login          Optional[string]   `json:"login,omitzero"`
	Name           Optional[string]   `json:"name,omitzero"`
	Email          Optional[string]   `json:"email,omitzero"`
	EmailVerified  Optional[bool]     `json:"email_verified,omitzero"`
	Phone          Optional[string]   `json:"phone,omitzero"`
	ExtRef         Optional[string]   `json:"extref,omitzero"`
	AuthMethod     Optional[string]   `json:"auth_method,omitzero"`
	Kind           Optional[UserKind] `json:"kind,omitzero"`
	Payer          PayerPatch         `json:"payer,omitzero"`
	Description    Optional[string]   `json:"description,omitzero"`
	Country        Optional[string]   `json:"country,omitzero"`
	PreferredMap   Optional[string]   `json:"preferred_map,omitzero"`
	AdditionalInfo Optional[string]   `json:"additional_info,omitzero"`

	// Attributes replaces all attributes. SetAttributes sets single ones and
	// leaves the rest; a nil value removes one. Not both together.
	Attributes    Optional[Attributes] `json:"attributes,omitzero"`
	SetAttributes Attributes           `json:"set_attributes,omitempty"`

	// Setting ExpiresAt or ValidFor to a value clears the other. Zero means no expiration, or no
	// validity that has yet to begin.
	ExpiresAt Optional[time.Time] `json:"expires_at,omitzero"`
	ValidFor  Optional[Duration]  `json:"valid_for,omitzero"`

	// Setting these has the same effect and writes the same events as ActivateUser and
	// DeactivateUser, SetLicense, and SetTrafficLimit without resetting the usage.
	Status       Optional[Status]  `json:"status,omitzero"`
	License      Optional[string]  `json:"license,omitzero"`
	TrafficLimit TrafficLimitPatch `json:"traffic_limit,omitzero"`

	skeleton string // of the login; set by normalise
}

// PayerPatch says which parts of a payer to set; the others stay unchanged.
type PayerPatch struct {
	AccountNumber Optional[string] `json:"account_number,omitzero"`
	LegalAddress  Optional[string] `json:"legal_address,omitzero"`
	PostalAddress Optional[string] `json:"postal_address,omitzero"`
	Bank          Optional[string] `json:"bank,omitzero"`
	BankAccount   Optional[string] `json:"bank_account,omitzero"`
}

// payerPatchFields is a PayerPatch without its methods.
type payerPatchFields PayerPatch

// UnmarshalJSON reads the parts to set; null clears them all.
func (p *PayerPatch) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		none := Set("")
		*p = PayerPatch{none, none, none, none, none}
		return nil
	}
	return json.Unmarshal(data, (*payerPatchFields)(p))
}

// FieldChange is the change of a field by an edit. The data of EventUserUpdated contains these
// under "changes", by the name of the field or of the single attribute.
type FieldChange struct {
	Old any `json:"old"` // in JSON form; null: it had no value
	New any `json:"new"` // null: it has none any more
}

// UserKey identifies a user by a unique value.
type UserKey struct {
	field string
	value string
}

// ByID identifies the user with this id.
func ByID(id UserID) UserKey { return UserKey{"id", id.String()} }

// ByLogin identifies the user with this login, compared by LoginKey.
func ByLogin(login string) UserKey { return UserKey{"login", login} }

// ByEmail identifies the user with this email address, compared by EmailKey.
func ByEmail(email string) UserKey { return UserKey{"email", email} }

// ByExtRef identifies the user with this external reference, compared byte by byte.
func ByExtRef(extref string) UserKey { return UserKey{"extref", extref} }

// Field returns the name of the field: id, login, email or extref.
func (k UserKey) Field() string { return k.field }

// Value returns the value to compare with: the LoginKey of a login, the EmailKey of an email
// address, an id in lower case, or an external reference unchanged.
func (k UserKey) Value() string {
	switch k.field {
	case "login":
		return LoginKey(k.value)
	case "email":
		return EmailKey(k.value)
	case "id":
		return SortKey(k.value)
	}
	return k.value
}

// MarshalJSON writes an object of one member, such as {"login": "ada"}.
func (k UserKey) MarshalJSON() ([]byte, error) {
	if k.field == "" {
		return []byte("null"), nil
	}
	return json.Marshal(map[string]string{k.field: k.value})
}

// UnmarshalJSON reads what MarshalJSON writes. It returns ErrInvalid with
// CodeUnknownField for any other member, and with CodeBadFormat for none or several.
func (k *UserKey) UnmarshalJSON(data []byte) error {
	var read map[string]string
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	*k = UserKey{}
	if read == nil {
		return nil
	}
	if len(read) != 1 {
		return NewError(CodeBadFormat, "key", "a key has exactly one of id, login, email and extref")
	}
	for field, value := range read {
		if !slices.Contains(uniqueFields, field) {
			return NewError(CodeUnknownField, clip(field), "a key is one of id, login, email and extref")
		}
		*k = UserKey{field, value}
	}
	return nil
}

// UserQuery asks for a page of users.
type UserQuery struct {
	UserFilter
	PageQuery // default order: by login; any field of UserFields
}

// UserFilter says which users: those who match all of its parts. The zero filter means all users.
type UserFilter struct {
	WithoutDisabled bool `json:"without_disabled,omitempty"` // leave out disabled users

	// Search is the text of a search box, at most MaxLine characters: a part of the id, login,
	// name, email, phone or extref, compared in folded form (see Fold), in any script. A single
	// character is found only at the beginning of a word, and short terms are not searched for in
	// ids; see Search. Digits with spaces, brackets, dashes, dots or slashes between them also find
	// phones.
	Search string `json:"search,omitempty"`

	Segment SegmentID `json:"segment,omitzero"` // only the members of a segment; zero: all users
	Filter  Filter    `json:"filter,omitzero"`

	// Moment is when derived facts are computed; zero: now, in the project's time zone.
	Moment Moment `json:"-"`
}

// Erasure is the receipt of a deletion. It contains no personal data of the user who was deleted,
// and it is kept as the event user.deleted.
type Erasure struct {
	UserID UserID         `json:"user_id"`
	At     time.Time      `json:"at"`
	Actor  Actor          `json:"actor"`
	Rows   map[string]int `json:"rows"` // what was deleted, by kind of record
}

// UserManager creates, finds, edits and deletes users.
//
// Calls that name a user return ErrNotFound with CodeUserNotFound when there is
// none; calls that set values return ErrInvalid with a code and the field if a value is invalid,
// and then nothing is written.
type UserManager interface {
	ProjectManager

	// CreateUser creates a user. It returns ErrExists with CodeLoginTaken,
	// CodeEmailTaken, CodeExtRefTaken or CodeIDTaken when another user has the
	// value, and with CodeLoginConfusable when the login of another user looks the
	// same (see WithConfusableCheck); and ErrInvalid with CodeUnknownLicense.
	CreateUser(ctx context.Context, user NewUser) (User, error)

	// User returns one user.
	User(ctx context.Context, id UserID) (User, error)

	// FindUser returns the user that a key identifies.
	FindUser(ctx context.Context, key UserKey) (User, error)

	// UpdateUser sets the fields that the patch names. A patch that changes nothing writes nothing
	// and does not increment the revision. It returns the errors of CreateUser for values that are
	// taken, and ErrConflict with CodeRevisionMismatch.
	UpdateUser(ctx context.Context, id UserID, patch UserPatch) (User, error)

	// ActivateUser makes a user active, whatever its status was.
	ActivateUser(ctx context.Context, id UserID) (User, error)

	// DeactivateUser disables a user. Its open sessions end in the same commit,
	// and its device tokens stop working.
	DeactivateUser(ctx context.Context, id UserID) (User, error)

	// RecordLogin records that the user logged in by the named method, of at most MaxLine
	// characters; an empty name keeps the previous method. The first log-in of an invited user
	// makes it active. It returns ErrRefused with CodeUserDisabled or CodeUserInactive. A user who
	// has expired or has used up the traffic limit may log in, to buy more.
	RecordLogin(ctx context.Context, id UserID, authMethod string) (User, error)

	// Access returns what the user may do now, or why it has no access.
	Access(ctx context.Context, id UserID) (Access, error)

	// DeleteUser permanently deletes the user and every record that belongs to it. It returns
	// ErrInvalid with CodeConfirmationMismatch unless confirm is the text of the id. Only the
	// receipt remains.
	DeleteUser(ctx context.Context, id UserID, confirm string) (Erasure, error)

	// UserRecords yields everything that is stored about one user: first the user itself, then the
	// records of each kind of RecordKinds, oldest first. It yields ErrNotFound with
	// CodeUserNotFound if the user does not exist.
	UserRecords(ctx context.Context, user UserID) iter.Seq2[UserRecord, error]

	// Users returns a page of users in the order that the query asks for.
	Users(ctx context.Context, query UserQuery) (Page[User], error)

	// AllUsers yields all users of a query from query.Cursor on, page by page. A user that exists
	// throughout the iteration and keeps its sort key is yielded once.
	AllUsers(ctx context.Context, query UserQuery) iter.Seq2[User, error]

	// UserNames returns the names of at most MaxPageLimit users, as User.DisplayName returns them,
	// for lists of their records. It reads much less than Users does. Unknown users are left out,
	// and so are those whom the caller may not see. It returns ErrInvalid with CodeTooLong for more
	// ids.
	UserNames(ctx context.Context, ids []UserID) (map[UserID]string, error)

	// CountUsers counts the users of a filter.
	CountUsers(ctx context.Context, filter UserFilter) (int64, error)

	// CheckLogins applies the check of WithConfusableCheck to the logins of all users, in order
	// of id, and yields those that look like the login of another user who has passed it.
	// It changes no login. Call it once after the check was added to a project that has users,
	// or after its function was changed: until then new logins are compared only with those
	// that were set since. It may be repeated, and completes a run that was interrupted.
	// It yields ErrInvalid with CodeInvalidOption if the manager has no such check.
	CheckLogins(ctx context.Context) iter.Seq2[ConfusableLogin, error]
}

// changeUser is change for commands that return the user: commands of one batch
// decide on the same attributes, and every caller gets a copy of its own.
func changeUser(ctx context.Context, m *manager, c command, decide func(*State) (User, Change, error)) (User, error) {
	user, err := change(ctx, m, c, decide)
	user.Attributes = user.Attributes.clone()
	return user, err
}

func (m *manager) CreateUser(ctx context.Context, user NewUser) (_ User, err error) {
	ctx, call, err := enter(ctx, m, opCreateUser, user.ID)
	if err != nil {
		return User{}, err
	}
	defer call.leave(ctx, &err)
	fresh := user.ID.IsZero()
	user, err = user.normalise(m, call.actor)
	if err != nil {
		return User{}, err
	}
	scope := scopeOf(ctx)
	return changeUser(ctx, m, command{want: Want{User: user.ID}, creates: true, fresh: fresh}, func(state *State) (User, Change, error) {
		created, change, err := user.create(state, call.origin)
		within := UserSelection{Filter: scope, Moment: m.moment(call.now)}
		if err == nil && !within.selects(&State{User: created}) {
			err = NewError(CodeNotAllowed, "", "the actor may create other users only")
		}
		return created, change, err
	})
}

func (m *manager) User(ctx context.Context, id UserID) (_ User, err error) {
	ctx, call, err := enter(ctx, m, opUser, id)
	if err != nil {
		return User{}, err
	}
	defer call.leave(ctx, &err)
	return m.store.User(ctx, id)
}

func (m *manager) FindUser(ctx context.Context, key UserKey) (_ User, err error) {
	ctx, call, err := enter(ctx, m, opFindUser, noTarget)
	if err != nil {
		return User{}, err
	}
	defer call.leave(ctx, &err)
	find := m.findUser
	switch {
	case key.field == pushMailKey: // whatever the text is, the answer is the same
		find = func(ctx context.Context, key UserKey) (User, error) { return m.findPushMail(ctx, key.value) }
	case key.value == "":
		return User{}, NewError(CodeUserNotFound, key.field, "no user has an empty %s as its key", key.field)
	default:
		if err := checkInput(key.field, key.value); err != nil {
			return User{}, err
		}
	}
	user, err := find(ctx, key)
	if scope := scopeOf(ctx); err == nil && !scope.IsZero() {
		var within bool
		if within, err = m.within(ctx, UserSelection{Filter: scope, Moment: m.moment(call.now)}, user.ID); err == nil && !within {
			err = NewError(CodeUserNotFound, key.field, "no such user that the actor may see")
		}
	}
	if err != nil {
		return User{}, err
	}
	return user, nil
}

// findUser reads the user of a key that was checked.
func (m *manager) findUser(ctx context.Context, key UserKey) (User, error) {
	if key.field == "id" {
		id, err := ParseID[User](key.value)
		if err != nil {
			return User{}, err
		}
		return m.store.User(ctx, id)
	}
	return m.store.FindUser(ctx, key)
}

func (m *manager) UpdateUser(ctx context.Context, id UserID, patch UserPatch) (_ User, err error) {
	ctx, call, err := enter(ctx, m, opUpdateUser, id)
	if err != nil {
		return User{}, err
	}
	defer call.leave(ctx, &err)
	if patch, err = patch.normalise(m); err != nil {
		return User{}, err
	}
	if ctx, err = m.alsoMay(ctx, &call, patch.operations()...); err != nil {
		return User{}, err
	}
	if callerOf(ctx).connection != nil && patch.credentials() {
		if err := m.mayChangeCredentials(); err != nil {
			return User{}, err
		}
	}
	steps := patch.steps(m, call.origin)
	return changeUser(ctx, m, command{want: Want{User: id, Profile: true}}, func(state *State) (User, Change, error) {
		return patch.apply(state, steps)
	})
}

func (m *manager) ActivateUser(ctx context.Context, id UserID) (_ User, err error) {
	ctx, call, err := enter(ctx, m, opActivateUser, id)
	if err != nil {
		return User{}, err
	}
	defer call.leave(ctx, &err)
	return m.setStatus(ctx, call, id, StatusActive)
}

func (m *manager) DeactivateUser(ctx context.Context, id UserID) (_ User, err error) {
	ctx, call, err := enter(ctx, m, opDeactivateUser, id)
	if err != nil {
		return User{}, err
	}
	defer call.leave(ctx, &err)
	return m.setStatus(ctx, call, id, StatusDisabled)
}

// setStatus moves a new status through the corridor.
func (m *manager) setStatus(ctx context.Context, call call, id UserID, status Status) (User, error) {
	want := Want{User: id, Profile: true, OpenSessions: status == StatusDisabled}
	return changeUser(ctx, m, command{want: want}, func(state *State) (User, Change, error) {
		return setStatus(state, call.origin, status)
	})
}

func (m *manager) RecordLogin(ctx context.Context, id UserID, authMethod string) (_ User, err error) {
	ctx, call, err := enter(ctx, m, opRecordLogin, id)
	if err != nil {
		return User{}, err
	}
	defer call.leave(ctx, &err)
	if err := checkLine("auth_method", authMethod, MaxLine); err != nil {
		return User{}, err
	}
	return changeUser(ctx, m, command{want: Want{User: id, Profile: true}}, func(state *State) (User, Change, error) {
		return recordLogin(state, call.origin, authMethod)
	})
}

func (m *manager) Access(ctx context.Context, id UserID) (_ Access, err error) {
	ctx, call, err := enter(ctx, m, opAccess, id)
	if err != nil {
		return Access{}, err
	}
	defer call.leave(ctx, &err)
	user, err := m.store.User(ctx, id)
	if err != nil {
		return Access{}, err
	}
	return user.Access(call.now, m.zone), nil
}

func (m *manager) DeleteUser(ctx context.Context, id UserID, confirm string) (_ Erasure, err error) {
	ctx, call, err := enter(ctx, m, opDeleteUser, id)
	if err != nil {
		return Erasure{}, err
	}
	defer call.leave(ctx, &err)
	if confirm != id.String() {
		return Erasure{}, NewError(CodeConfirmationMismatch, "confirm", "the confirmation is not the id of the user")
	}
	return change(ctx, m, command{want: Want{User: id, RowCounts: true, Purchases: true}}, func(state *State) (Erasure, Change, error) {
		return deleteUser(state, call.origin)
	})
}

func (m *manager) Users(ctx context.Context, query UserQuery) (_ Page[User], err error) {
	ctx, call, err := enter(ctx, m, opUsers, noTarget)
	if err != nil {
		return Page[User]{}, err
	}
	defer call.leave(ctx, &err)
	return m.listUsers(ctx, query)
}

func (m *manager) listUsers(ctx context.Context, query UserQuery) (Page[User], error) {
	selection, err := m.selectUsers(ctx, query.UserFilter)
	if err != nil {
		return Page[User]{}, err
	}
	return readPage(query.PageQuery, userFields, "users", query.UserFilter, func(list ListRange) ([]User, error) {
		return m.store.Users(ctx, selection, list)
	})
}

func (m *manager) AllUsers(ctx context.Context, query UserQuery) iter.Seq2[User, error] {
	return sequence(ctx, m, opAllUsers, noTarget, func(ctx context.Context, _ call) iter.Seq2[User, error] {
		return walk(query.PageQuery, func(page PageQuery) (Page[User], error) {
			query.PageQuery = page
			return m.listUsers(ctx, query)
		})
	})
}

func (m *manager) UserNames(ctx context.Context, ids []UserID) (_ map[UserID]string, err error) {
	ctx, call, err := enter(ctx, m, opUserNames, noTarget)
	if err != nil {
		return nil, err
	}
	defer call.leave(ctx, &err)
	ids = slices.Clone(ids)
	slices.SortFunc(ids, UserID.Compare)
	ids = slices.DeleteFunc(slices.Compact(ids), UserID.IsZero)
	if len(ids) > MaxPageLimit {
		return nil, NewError(CodeTooLong, "ids", "%d users exceed the limit of %d", len(ids), MaxPageLimit)
	}
	selection, err := m.selectUsers(ctx, UserFilter{})
	if err != nil || len(ids) == 0 {
		return map[UserID]string{}, err
	}
	return m.store.UserNames(ctx, selection, ids)
}

func (m *manager) CountUsers(ctx context.Context, filter UserFilter) (_ int64, err error) {
	ctx, call, err := enter(ctx, m, opCountUsers, noTarget)
	if err != nil {
		return 0, err
	}
	defer call.leave(ctx, &err)
	selection, err := m.selectUsers(ctx, filter)
	if err != nil {
		return 0, err
	}
	return m.store.CountUsers(ctx, selection)
}

// operations are what a patch does besides editing the profile.
func (p *UserPatch) operations() (also []*operation) {
	if status, set := p.Status.Get(); set {
		if status == StatusDisabled {
			also = append(also, opDeactivateUser)
		} else {
			also = append(also, opActivateUser)
		}
	}
	if !p.License.IsZero() {
		also = append(also, opSetLicense)
	}
	if p.TrafficLimit != (TrafficLimitPatch{}) {
		also = append(also, opSetTrafficLimit)
	}
	return also
}
