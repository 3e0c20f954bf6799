package userkit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"net/mail"
	"reflect"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"
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

// Payer holds what an invoice needs. A legal entity has it, at least a part of it, unless
// WithOptionalPayer is given; an individual may.
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

// UnmarshalJSON reads a JSON object and keeps every digit of its whole numbers.
func (a *Attributes) UnmarshalJSON(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var read map[string]any
	if err := decoder.Decode(&read); err != nil {
		return err
	}
	normalNumbers(read)
	*a = read
	return nil
}

// User is a person or an organisation that uses the host's product.
//
// The profile is what people edit; it has a revision, which is the ETag that an
// editor sees. The account is what use changes, many times a day; it has a
// version of its own, so traffic never makes an administrator's edit fail.
type User struct {
	ID UserID `json:"id"`

	// Who it is. Login is unique in the project as LoginKey has it, Email as
	// EmailKey has it, ExtRef byte by byte; each may be empty.
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

	Devices         int `json:"devices"`          // how many are registered
	OpenSessions    int `json:"open_sessions"`    // how many have not ended
	ActivePurchases int `json:"active_purchases"` // how many are active

	// PurchasesEndAt is when the last of the active purchases stops counting by the
	// clock, its grace included; zero with active purchases: never. See Subscribed.
	PurchasesEndAt time.Time `json:"purchases_end_at,omitzero"`

	Traffic Traffic `json:"traffic"`

	// ExpiresAt is when the user's time is over; zero: never. ValidFor, when not
	// zero, is a time that begins with the first session: that sets ExpiresAt
	// and clears ValidFor.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	ValidFor  Duration  `json:"valid_for,omitzero"`

	LastSeenAt time.Time `json:"last_seen_at,omitzero"`
}

// Subscribed reports whether the user has an active purchase at a moment.
func (a Account) Subscribed(now time.Time) bool {
	return a.ActivePurchases > 0 && (a.PurchasesEndAt.IsZero() || now.Before(a.PurchasesEndAt))
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
	ValidFor     Duration               `json:"valid_for,omitzero"`     // starts on first use
	RegisteredAt time.Time              `json:"registered_at,omitzero"` // zero: now; earlier for users that are taken over
}

// UserPatch says which fields of a profile to set; what is not set stays. A new
// email address is unverified unless EmailVerified is set with it; one that differs in
// its spelling alone (see EmailKey) is the same address.
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
	Payer          PayerPatch         `json:"payer,omitzero"`
	Description    Optional[string]   `json:"description,omitzero"`
	Country        Optional[string]   `json:"country,omitzero"`
	PreferredMap   Optional[string]   `json:"preferred_map,omitzero"`
	AdditionalInfo Optional[string]   `json:"additional_info,omitzero"`

	// Attributes replaces all attributes. SetAttributes sets single ones and
	// leaves the rest; a nil value removes one. Not both together.
	Attributes    Optional[Attributes] `json:"attributes,omitzero"`
	SetAttributes Attributes           `json:"set_attributes,omitempty"`

	// ExpiresAt and ValidFor: setting one to a value clears the other; zero means
	// no end, and no validity that is still to begin.
	ExpiresAt Optional[time.Time] `json:"expires_at,omitzero"`
	ValidFor  Optional[Duration]  `json:"valid_for,omitzero"`

	// These do what the calls of their own do, with the same events: ActivateUser
	// and DeactivateUser, SetLicense, and SetTrafficLimit, which keeps what was
	// used.
	Status       Optional[Status]  `json:"status,omitzero"`
	License      Optional[string]  `json:"license,omitzero"`
	TrafficLimit TrafficLimitPatch `json:"traffic_limit,omitzero"`
}

// PayerPatch says which parts of a payer to set; what is not set stays.
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

// UserKey names a user by a unique value of its own.
type UserKey struct {
	field string
	value string
}

// ByID names the user with this id.
func ByID(id UserID) UserKey { return UserKey{"id", id.String()} }

// ByLogin names the user with this login, compared by LoginKey.
func ByLogin(login string) UserKey { return UserKey{"login", login} }

// ByEmail names the user with this email address, compared by EmailKey.
func ByEmail(email string) UserKey { return UserKey{"email", email} }

// ByExtRef names the user with this external reference, compared byte by byte.
func ByExtRef(extref string) UserKey { return UserKey{"extref", extref} }

// Field is the name of the field: id, login, email or extref.
func (k UserKey) Field() string { return k.field }

// Value is the value to compare with: LoginKey of a login, EmailKey of an email
// address, an id in lower case, an external reference as it is.
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
		return NewError(CodeBadFormat, "key", "a key has one of id, login, email and extref")
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

// UserFilter says which users: those who meet all of its parts. The zero filter
// means all.
type UserFilter struct {
	WithoutDisabled bool `json:"without_disabled,omitempty"` // leave out disabled users

	// Search is what somebody typed into a search box, at most MaxLine
	// characters: a part of the id, login, name, email, phone or extref, compared
	// in folded form (see Fold), in any script. A single character is found where a
	// word begins, and short terms are not looked for in ids; see Search. Digits with
	// spaces, brackets, dashes, dots or slashes between them find phones as well.
	Search string `json:"search,omitempty"`

	Segment SegmentID `json:"segment,omitzero"` // the members of a segment; zero: whether in one or not
	Filter  Filter    `json:"filter,omitzero"`

	// Moment is when derived facts are looked at; zero: now, in the project's time
	// zone. A store always gets one.
	Moment Moment `json:"-"`

	// Number is set by the manager, for stores: the telephone number that Search is, if
	// any, in the form of ITU-T E.164. See WithPhoneParser.
	Number string `json:"-"`
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
	ProjectManager

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

	// UserRecords yields everything that is stored about one user: first the user
	// itself, then each record of each kind of RecordKinds, oldest first. It
	// yields ErrNotFound with CodeUserNotFound when there is no such user.
	UserRecords(ctx context.Context, user UserID) iter.Seq2[Record, error]

	// Users returns a page of users in the order that the query asks for.
	Users(ctx context.Context, query UserQuery) (Page[User], error)

	// AllUsers walks all users of a query, from query.Cursor on, page by page. A
	// user that stays through the walk and keeps its sort key is seen once.
	AllUsers(ctx context.Context, query UserQuery) iter.Seq2[User, error]

	// CountUsers counts the users of a filter.
	CountUsers(ctx context.Context, filter UserFilter) (int64, error)
}

// create decides the creation of a user.
func (n NewUser) create(state *State, o origin) (User, Change, error) {
	if state.Exists {
		return User{}, Change{}, NewError(CodeIDTaken, "id", "another user has this id")
	}
	user := n.user()
	user.Version, user.Revision, user.UpdatedAt = 1, 1, o.now
	if user.RegisteredAt.IsZero() {
		user.RegisteredAt = o.now
	}
	c := Change{User: user.ID, Profile: &user, Account: user.Account}
	o.record(&c, EventUserCreated, DeviceID{}, "status", user.Status)
	return user, c, nil
}

// user gives the user that is asked for, as far as that is said.
func (n NewUser) user() User {
	limit, _ := n.TrafficLimit.Get()
	return User{
		ID: n.ID, Login: n.Login, Name: n.Name, Email: n.Email, EmailVerified: n.EmailVerified, Phone: n.Phone,
		ExtRef: n.ExtRef, AuthMethod: n.AuthMethod, Status: n.Status, License: n.License, Kind: n.Kind, Payer: n.Payer,
		Description: n.Description, Country: n.Country, PreferredMap: n.PreferredMap, AdditionalInfo: n.AdditionalInfo,
		Attributes: n.Attributes, RegisteredAt: n.RegisteredAt,
		Account: Account{
			Balance: Money{Currency: n.Currency}, Traffic: Traffic{Limit: limit}, ExpiresAt: n.ExpiresAt, ValidFor: n.ValidFor,
		},
	}
}

// steps gives the decisions that make up the edit, each with an event of its own.
func (p UserPatch) steps(m *manager, o origin) []func(*State) (User, Change, error) {
	refused := p.refused(m)
	steps := []func(*State) (User, Change, error){func(state *State) (User, Change, error) {
		user, change, err := p.edit(state, o, refused)
		if err == nil {
			err = m.checkPayer(state.User, user)
		}
		return user, change, err
	}}
	if license, set := p.License.Get(); set {
		o := o.again()
		steps = append(steps, func(state *State) (User, Change, error) { return setLicense(state, o, license) })
	}
	if p.TrafficLimit != (TrafficLimitPatch{}) {
		o := o.again()
		u := usage{zone: m.zone, now: o.now}
		steps = append(steps, func(state *State) (User, Change, error) { return p.TrafficLimit.apply(state, o, u) })
	}
	if status, set := p.Status.Get(); set {
		o := o.again()
		steps = append(steps, func(state *State) (User, Change, error) { return setStatus(state, o, status) })
	}
	return steps
}

// apply decides an edit of several steps, each on what the ones before made of
// the state. Together they are one revision.
func (p UserPatch) apply(state *State, steps []func(*State) (User, Change, error)) (User, Change, error) {
	if p.Revision != 0 && p.Revision != state.User.Revision {
		return User{}, Change{}, NewError(CodeRevisionMismatch, "revision", "the profile is at revision %d, not %d", state.User.Revision, p.Revision)
	}
	if len(steps) == 1 {
		return steps[0](state)
	}
	work := state.clone()
	var total Change
	for _, step := range steps {
		_, c, err := step(&work)
		if err != nil {
			return User{}, Change{}, err
		}
		if !c.writes() {
			continue
		}
		if c.Profile != nil {
			c.Profile.Revision = state.User.Revision + 1
		}
		work.apply(c)
		total.merge(c)
	}
	return work.User, total, nil
}

// edit decides what the patch makes of the fields that have no call of their own.
func (p UserPatch) edit(state *State, o origin, refused []error) (User, Change, error) {
	user := state.User
	if err := p.unless(&user, refused); err != nil {
		return User{}, Change{}, err
	}
	fields, err := p.put(&user)
	if err != nil {
		return User{}, Change{}, err
	}
	if err := checkVerified(user.EmailVerified, user.Email); err != nil {
		return User{}, Change{}, err
	}
	if expires, set := p.ExpiresAt.Get(); set && !expires.IsZero() && user.ValidFor != 0 {
		fields = append(fields, "valid_for")
		user.ValidFor = 0
	}
	if span, set := p.ValidFor.Get(); set && span != 0 && !user.ExpiresAt.IsZero() {
		fields = append(fields, "expires_at")
		user.ExpiresAt = time.Time{}
	}
	if len(fields) == 0 {
		return user, Change{}, nil
	}

	c := state.change()
	c.Account.ExpiresAt, c.Account.ValidFor = user.ExpiresAt, user.ValidFor
	user.touch(&c, o)
	o.record(&c, EventUserUpdated, DeviceID{}, "fields", fields, "changes", changesOf(&state.User, &user))
	return user, c, nil
}

// FieldChange is what an edit made of a field, as EventUserUpdated tells it in its data
// under changes, by the name of the field or of the single attribute.
type FieldChange struct {
	Old any `json:"old"` // as JSON has it; null: it had no value
	New any `json:"new"` // null: it has none any more
}

// changesOf compares the fields that an edit can set. None of them is a secret: tokens are
// kept elsewhere.
func changesOf(before, after *User) map[string]FieldChange {
	changes := map[string]FieldChange{}
	for i := range userFields.fields {
		field := &userFields.fields[i]
		switch {
		case field.set == nil:
		case field.Kind == KindJSON:
			attributeChanges(before.Attributes, after.Attributes, changes)
		default:
			was, is := field.Get(before), field.Get(after)
			if field.Kind.Format(was) != field.Kind.Format(is) {
				changes[field.Name] = FieldChange{orNull(was), orNull(is)}
			}
		}
	}
	return changes
}

func attributeChanges(before, after Attributes, changes map[string]FieldChange) {
	for name, was := range before {
		if is := after[name]; !reflect.DeepEqual(was, is) {
			changes[attributePrefix+name] = FieldChange{was, is}
		}
	}
	for name, is := range after {
		if _, was := before[name]; !was {
			changes[attributePrefix+name] = FieldChange{nil, is}
		}
	}
}

// orNull gives nil for the value of a field that has none.
func orNull(value any) any {
	switch value := value.(type) {
	case time.Time:
		if value.IsZero() {
			return nil
		}
	case string:
		if value == "" {
			return nil
		}
	case Duration:
		if value == 0 {
			return nil
		}
	}
	return value
}

// put sets what the patch names, and returns the fields that this changed.
func (p UserPatch) put(user *User) (fields []string, err error) {
	note := func(changed bool, field string) {
		if changed {
			fields = append(fields, field)
		}
	}
	note(put(p.Login, &user.Login), "login")
	note(put(p.Name, &user.Name), "name")
	if before := user.Email; put(p.Email, &user.Email) {
		note(true, "email")
		// Another spelling of one address is no other address.
		user.EmailVerified = user.EmailVerified && EmailKey(before) == EmailKey(user.Email)
	}
	note(put(p.EmailVerified, &user.EmailVerified), "email_verified")
	note(put(p.Phone, &user.Phone), "phone")
	note(put(p.ExtRef, &user.ExtRef), "extref")
	note(put(p.AuthMethod, &user.AuthMethod), "auth_method")
	note(put(p.Kind, &user.Kind), "kind")
	note(p.Payer.put(&user.Payer), "payer")
	note(put(p.Description, &user.Description), "description")
	note(put(p.Country, &user.Country), "country")
	note(put(p.PreferredMap, &user.PreferredMap), "preferred_map")
	note(put(p.AdditionalInfo, &user.AdditionalInfo), "additional_info")
	attributes, err := p.attributes(user.Attributes)
	if err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(attributes, user.Attributes) && len(attributes)+len(user.Attributes) > 0 {
		note(true, "attributes")
		user.Attributes = attributes
	}
	note(put(p.ExpiresAt, &user.ExpiresAt), "expires_at")
	note(put(p.ValidFor, &user.ValidFor), "valid_for")
	return fields, nil
}

// put sets what the patch names, and reports whether that changed anything.
func (p PayerPatch) put(payer *Payer) bool {
	changed := put(p.AccountNumber, &payer.AccountNumber)
	changed = put(p.LegalAddress, &payer.LegalAddress) || changed
	changed = put(p.PostalAddress, &payer.PostalAddress) || changed
	changed = put(p.Bank, &payer.Bank) || changed
	return put(p.BankAccount, &payer.BankAccount) || changed
}

// attributes gives the attributes after the patch.
func (p UserPatch) attributes(current Attributes) (Attributes, error) {
	if all, set := p.Attributes.Get(); set {
		return all, nil
	}
	if len(p.SetAttributes) == 0 {
		return current, nil
	}
	merged := maps.Clone(current)
	if merged == nil {
		merged = Attributes{}
	}
	for name, value := range p.SetAttributes {
		if value == nil {
			delete(merged, name)
		} else {
			merged[name] = value
		}
	}
	return merged.normalise()
}

// touch makes the profile part of a change, at a new revision.
func (u *User) touch(c *Change, o origin) {
	u.Revision++
	u.UpdatedAt = latest(o.now, u.UpdatedAt)
	u.Account = c.Account
	profile := *u
	c.Profile = &profile
}

// setStatus decides a status. Sessions end where the user may no longer use
// anything.
func setStatus(state *State, o origin, status Status) (User, Change, error) {
	user := state.User
	if user.Status == status {
		return user, Change{}, nil
	}
	c := state.change()
	user.Status = status
	var ended []SessionID
	if status.refusal() != nil {
		if c.Account.OpenSessions > 0 && !state.complete.openSessions {
			return User{}, Change{}, needMore{Want{OpenSessions: true}}
		}
		ended = state.endSessions(&c, o.now, EndedUserDisabled, anySession)
	}
	user.touch(&c, o)
	switch status {
	case StatusActive:
		o.record(&c, EventUserActivated, DeviceID{})
	case StatusDisabled:
		o.record(&c, EventUserDeactivated, DeviceID{}, "ended_sessions", ended)
	default:
		o.record(&c, EventUserUpdated, DeviceID{}, "fields", []string{"status"}, "changes", map[string]FieldChange{"status": {state.User.Status, status}}, "ended_sessions", ended)
	}
	return user, c, nil
}

// recordLogin decides a log-in.
func recordLogin(state *State, o origin, method string) (User, Change, error) {
	user := state.User
	if err := user.Status.refusal(); err != nil {
		return User{}, Change{}, err
	}
	c := state.change()
	c.Account.LastSeenAt = latest(c.Account.LastSeenAt, o.now)
	first := user.Status == StatusInvited
	if first {
		user.Status = StatusActive
	}
	user.Account = c.Account
	if changed := method != "" && put(Set(method), &user.AuthMethod); changed || first {
		user.touch(&c, o)
	}
	o.record(&c, EventUserLoggedIn, DeviceID{}, "auth_method", user.AuthMethod)
	return user, c, nil
}

// refusal is why a user of this status may neither log in nor use anything.
func (s Status) refusal() error {
	switch s {
	case StatusDisabled:
		return NewError(CodeUserDisabled, "", "the user is disabled")
	case StatusInactive:
		return NewError(CodeUserInactive, "", "the user has not been activated")
	}
	return nil
}

// deleteUser decides a deletion.
func deleteUser(state *State, o origin) (Erasure, Change, error) {
	receipt := Erasure{UserID: state.User.ID, At: o.now, Actor: o.actor.Without(state.User.ID), Rows: maps.Clone(state.RowCounts)}
	if o.actor.Kind == ActorUser {
		// A user who deletes itself must not stay in the books under its name.
		receipt.Actor = Actor{Kind: ActorUser}
	}
	o.actor = receipt.Actor
	c := state.change()
	c.Delete = true
	if marks := marksOf(state.Purchases); len(marks) > 0 {
		if slices.ContainsFunc(marks, func(id EventID) bool { return !slices.Contains(state.complete.marks, id) }) {
			return Erasure{}, Change{}, needMore{Want{Marks: marks}}
		}
		state.markWithheld(&c, o)
	}
	o.record(&c, EventUserDeleted, DeviceID{}, "rows", receipt.Rows)
	return receipt, c, nil
}

// normalise checks a new user and fills in what it leaves open.
func (n NewUser) normalise(m *manager, actor Actor) (NewUser, error) {
	if n.ID.IsZero() {
		n.ID = NewID[User]()
	}
	if n.Status == "" {
		n.Status = StatusInvited
		if actor.Kind == ActorAdministrator {
			n.Status = StatusInactive
		}
	}
	if n.Kind == "" {
		n.Kind = UserIndividual
	}
	if n.License == "" {
		n.License = m.defaultLicense
	}
	if n.Currency == "" {
		n.Currency = m.currency
	}
	n.Country = strings.ToUpper(n.Country)
	phone, phoneErr := m.parsePhone(n.Phone)
	n.Phone = phone
	n.RegisteredAt, n.ExpiresAt = storedTime(n.RegisteredAt), storedTime(n.ExpiresAt)
	limit, set := n.TrafficLimit.Get()
	if !set {
		limit = m.trafficLimit
	}
	limit, limitErr := limit.normalise()
	n.TrafficLimit = Set(limit)
	attributes, attributesErr := n.Attributes.normalise()
	n.Attributes = attributes
	_, currencyErr := CurrencyDigits(n.Currency)
	_, licenseErr := m.license(n.License)
	user := n.user()
	return n, firstError(
		user.check(), phoneErr, m.checkPayer(User{}, user), checkVerified(n.EmailVerified, n.Email), licenseErr, attributesErr, currencyErr, limitErr,
		checkTime("registered_at", n.RegisteredAt),
	)
}

// normalise checks the values of a patch.
func (p UserPatch) normalise(m *manager) (UserPatch, error) {
	if country, set := p.Country.Get(); set {
		p.Country = Set(strings.ToUpper(country))
	}
	if phone, set := p.Phone.Get(); set {
		if number, err := m.parsePhone(phone); err == nil {
			p.Phone = Set(number)
		}
	}
	if expires, set := p.ExpiresAt.Get(); set {
		p.ExpiresAt = Set(storedTime(expires))
	}
	var attributesErr error
	if attributes, set := p.Attributes.Get(); set {
		attributes, attributesErr = attributes.normalise()
		p.Attributes = Set(attributes)
		if len(p.SetAttributes) > 0 {
			return p, NewError(CodeBadFormat, "set_attributes", "not together with attributes")
		}
	}
	if len(p.SetAttributes) > 0 {
		p.SetAttributes, attributesErr = p.SetAttributes.normalise()
	}
	if attributesErr != nil {
		return p, attributesErr
	}
	// What the patch sets is checked on a user that is right in all else.
	probe := User{Status: StatusActive, Kind: UserIndividual}
	put(p.Status, &probe.Status)
	_, err := p.put(&probe)
	var licenseErr error
	if license, set := p.License.Get(); set {
		_, licenseErr = m.license(license)
	}
	probe.Login, probe.Name, probe.Email = "", "", ""
	if err := firstError(err, probe.check(), licenseErr); err != nil {
		return p, firstError(append(p.refused(m), err)...)
	}
	return p, nil
}

// refused returns what is wrong with the values of a normalised patch that a user may have
// all the same, since rules have become stricter: the edit decides. Each error is of one field.
func (p UserPatch) refused(m *manager) (errs []error) {
	login, _ := p.Login.Get()
	name, _ := p.Name.Get()
	email, _ := p.Email.Get()
	for _, err := range []error{checkLogin(login), checkLine("name", name, MaxName), checkEmail(email)} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	if phone, _ := p.Phone.Get(); phone != "" && !isE164(phone) {
		if _, err := m.parsePhone(phone); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// unless returns the refusals of a patch that are not about what the user has already.
func (p UserPatch) unless(user *User, refused []error) error {
	set := map[string]Optional[string]{"login": p.Login, "name": p.Name, "email": p.Email, "phone": p.Phone}
	has := map[string]string{"login": user.Login, "name": user.Name, "email": user.Email, "phone": user.Phone}
	return firstError(slices.DeleteFunc(slices.Clone(refused), func(err error) bool {
		e, ok := errors.AsType[*Error](err)
		return ok && set[e.Field] == Set(has[e.Field])
	})...)
}

// check checks the fields that a person fills in, each by itself.
func (u *User) check() error {
	return firstError(
		checkLogin(u.Login), checkLine("name", u.Name, MaxName), checkEmail(u.Email),
		checkLine("extref", u.ExtRef, MaxExtRef), checkLine("auth_method", u.AuthMethod, MaxLine), checkStatus(u.Status),
		checkKind(u.Kind), u.Payer.check(), checkLines("description", u.Description, MaxDescription), checkCountry(u.Country),
		checkLine("preferred_map", u.PreferredMap, MaxLine), checkLines("additional_info", u.AdditionalInfo, MaxAdditionalInfo),
		checkValidity(u.ExpiresAt, u.ValidFor),
	)
}

func checkLogin(login string) error {
	if err := checkLine("login", login, MaxLogin); err != nil {
		return err
	}
	if strings.TrimSpace(login) != login {
		return NewError(CodeBadFormat, "login", "begins or ends with a space")
	}
	key, err := loginKey(login)
	if login != "" && Fold(login) == "" {
		return NewError(CodeBadFormat, "login", "nothing but accents")
	}
	if err != nil {
		return NewError(CodeBadFormat, "login", "%q has characters that no login may have (RFC 8265)", clip(login))
	}
	return checkKey("login", key)
}

// checkEmail checks an address by RFC 5322: the bare address, no display name, no
// quoted local part.
func checkEmail(email string) error {
	if email == "" {
		return nil
	}
	if err := checkLine("email", email, MaxEmail); err != nil {
		return err
	}
	if len(email) > MaxEmail {
		return NewError(CodeTooLong, "email", "%d bytes, at most %d", len(email), MaxEmail)
	}
	parsed, err := mail.ParseAddress(email)
	if err != nil || parsed.Name != "" || parsed.Address != email {
		return NewError(CodeBadFormat, "email", "%q is not an email address", clip(email))
	}
	return firstError(checkEmailParts(email), checkKey("email", EmailKey(email)))
}

// checkPayer checks that a legal entity has a payer, unless it had none before or the
// project does without.
func (m *manager) checkPayer(before, user User) error {
	lacks := func(u User) bool { return u.Kind == UserLegalEntity && u.Payer == (Payer{}) }
	if m.optionalPayer || !lacks(user) || lacks(before) {
		return nil
	}
	return NewError(CodeRequired, "payer", "a legal entity has a payer; see WithOptionalPayer")
}

func checkVerified(verified bool, email string) error {
	if verified && email == "" {
		return NewError(CodeRequired, "email", "there is no address to be verified")
	}
	return nil
}

func checkStatus(status Status) error {
	switch status {
	case StatusInvited, StatusInactive, StatusActive, StatusDisabled:
		return nil
	}
	return NewError(CodeUnknownValue, "status", "%q is no status", clip(string(status)))
}

func checkKind(kind UserKind) error {
	switch kind {
	case UserIndividual, UserLegalEntity:
		return nil
	}
	return NewError(CodeUnknownValue, "kind", "%q is no kind of user", clip(string(kind)))
}

func checkCountry(code string) error {
	if code == "" {
		return nil
	}
	// The library also knows codes that are reserved (they have no number),
	// replaced by others, withdrawn, or assigned by users.
	region, err := language.ParseRegion(code)
	if err != nil || len(code) != 2 || !region.IsCountry() || region.String() != code ||
		region.M49() == 0 || region.Canonicalize() != region || strings.Contains(" AN CS NT SU XK YU ", " "+code+" ") {
		return NewError(CodeUnknownValue, "country", "%q is not a country of ISO 3166-1", clip(code))
	}
	return nil
}

func checkValidity(expires time.Time, span Duration) error {
	if span < 0 || span > maxValidFor {
		return NewError(CodeOutOfRange, "valid_for", "%s is not from 0 to %s", span, maxValidFor)
	}
	if span != 0 && !expires.IsZero() {
		return NewError(CodeBadFormat, "valid_for", "not together with expires_at")
	}
	return checkTime("expires_at", expires)
}

// maxValidFor bounds a validity to a hundred years.
const maxValidFor = Duration(100 * 365 * 24 * time.Hour)

// checkTime checks that a time is one that JSON and every store can keep.
func checkTime(field string, t time.Time) error {
	if year := t.Year(); !t.IsZero() && (year < 1 || year > 9999) {
		return NewError(CodeOutOfRange, field, "the year %d is not from 1 to 9999", year)
	}
	return nil
}

func (p Payer) check() error {
	return firstError(
		checkLine("payer_account_number", p.AccountNumber, MaxLine), checkLines("legal_address", p.LegalAddress, MaxAddress),
		checkLines("postal_address", p.PostalAddress, MaxAddress), checkLine("bank", p.Bank, MaxLine),
		checkLine("bank_account", p.BankAccount, MaxLine),
	)
}

// normalise checks attributes and gives them as JSON would read them back.
func (a Attributes) normalise() (Attributes, error) {
	if len(a) == 0 {
		return nil, nil
	}
	if len(a) > MaxAttributes {
		return nil, NewError(CodeTooLong, "attributes", "%d entries, at most %d", len(a), MaxAttributes)
	}
	for name := range a {
		if !attributeName(name) {
			return nil, NewError(CodeBadFormat, "attributes", "%q is no name for an attribute", clip(name))
		}
	}
	normal, err := normalJSON("attributes", map[string]any(a), MaxAttributesBytes)
	if err != nil {
		return nil, err
	}
	return normal.(map[string]any), nil
}

func attributeName(name string) bool {
	if len(name) == 0 || len(name) > 64 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || !('0' <= c && c <= '9' || c == '_' || c == '-')) {
			return false
		}
	}
	return true
}

// clone copies attributes so that the copy shares nothing with them.
func (a Attributes) clone() Attributes {
	if a == nil {
		return nil
	}
	return cloneValue(map[string]any(a)).(map[string]any)
}

func cloneValue(value any) any {
	switch value := value.(type) {
	case map[string]any:
		copied := make(map[string]any, len(value))
		for key, item := range value {
			copied[key] = cloneValue(item)
		}
		return copied
	case []any:
		copied := make([]any, len(value))
		for i, item := range value {
			copied[i] = cloneValue(item)
		}
		return copied
	}
	return value
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
	wanted := names{user.Login, user.Email}
	holders, err := findNameHolders(ctx, m.store, wanted)
	if err != nil {
		return User{}, err
	}
	scope := scopeOf(ctx)
	return changeUser(ctx, m, command{want: Want{User: user.ID}, creates: true, fresh: fresh}, func(state *State) (User, Change, error) {
		if err := holders.check(user.ID, wanted); err != nil {
			return User{}, Change{}, err
		}
		created, change, err := user.create(state, call.origin)
		if err == nil && !meets(UserFilter{Filter: scope, Moment: m.moment(call.now)}, &State{User: created}) {
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
	if key.value == "" {
		return User{}, NewError(CodeUserNotFound, key.field, "no user has an empty %s as its key", key.field)
	}
	if err := checkInput(key.field, key.value); err != nil {
		return User{}, err
	}
	find := m.findUser
	if key.field == pushMailKey {
		find = func(ctx context.Context, key UserKey) (User, error) { return m.findPushMail(ctx, key.value) }
	}
	user, err := find(ctx, key)
	if scope := scopeOf(ctx); err == nil && !scope.IsZero() {
		var within bool
		if within, err = m.within(ctx, UserFilter{Filter: scope, Moment: m.moment(call.now)}, user.ID); err == nil && !within {
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
	holders, err := findNameHolders(ctx, m.store, patch.names(User{}))
	if err != nil {
		return User{}, err
	}
	steps := patch.steps(m, call.origin)
	return changeUser(ctx, m, command{want: Want{User: id, Profile: true}}, func(state *State) (User, Change, error) {
		wanted := patch.names(state.User)
		after, change, err := patch.apply(state, steps)
		if err == nil {
			err = holders.check(id, wanted)
		}
		return after, change, err
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
	filter, err := m.storeFilter(ctx, query.UserFilter)
	if err != nil {
		return Page[User]{}, err
	}
	return readPage(query.PageQuery, userFields, "users", query.UserFilter, func(list List) ([]User, error) {
		return m.store.Users(ctx, filter, list)
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

func (m *manager) CountUsers(ctx context.Context, filter UserFilter) (_ int64, err error) {
	ctx, call, err := enter(ctx, m, opCountUsers, noTarget)
	if err != nil {
		return 0, err
	}
	defer call.leave(ctx, &err)
	filter, err = m.storeFilter(ctx, filter)
	if err != nil {
		return 0, err
	}
	return m.store.CountUsers(ctx, filter)
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
