package userkit

import (
	"strings"
	"time"
)

// UserFields is the table of the stored fields of a user, in the order in which
// a console shows them. Lists sort by them, filters compare them, exports write
// them and imports read those that are Settable.
func UserFields() []Field[User] { return append([]Field[User](nil), userFields.fields...) }

// UserField returns the field of UserFields with a name, and reports whether there is one.
func UserField(name string) (Field[User], bool) {
	field, ok := userFields.byName[name]
	return field, ok
}

var userFields = newFieldTable(
	func(u *User) [16]byte { return u.ID },
	Order{Field: "login"},
	Field[User]{Name: "id", Kind: KindID, Get: func(u *User) any { return u.ID.String() }, set: setID},
	Field[User]{Name: "login", Kind: KindText, Get: func(u *User) any { return u.Login },
		set: setter(func(n *NewUser) *string { return &n.Login }, func(p *UserPatch) *Optional[string] { return &p.Login })},
	Field[User]{Name: "name", Kind: KindText, Get: func(u *User) any { return u.Name },
		set: setter(func(n *NewUser) *string { return &n.Name }, func(p *UserPatch) *Optional[string] { return &p.Name })},
	Field[User]{Name: "email", Kind: KindText, Get: func(u *User) any { return u.Email },
		set: setter(func(n *NewUser) *string { return &n.Email }, func(p *UserPatch) *Optional[string] { return &p.Email })},
	Field[User]{Name: "email_verified", Kind: KindBool, Get: func(u *User) any { return u.EmailVerified },
		set: setter(func(n *NewUser) *bool { return &n.EmailVerified }, func(p *UserPatch) *Optional[bool] { return &p.EmailVerified })},
	Field[User]{Name: "phone", Kind: KindCode, Get: func(u *User) any { return u.Phone },
		set: setter(func(n *NewUser) *string { return &n.Phone }, func(p *UserPatch) *Optional[string] { return &p.Phone })},
	Field[User]{Name: "status", Kind: KindCode, Get: func(u *User) any { return string(u.Status) },
		Values: []string{string(StatusInvited), string(StatusInactive), string(StatusActive), string(StatusDisabled)},
		set: func(d *UserDraft, value any) {
			d.Create.Status = Status(value.(string))
			d.Update.Status = Set(d.Create.Status)
		}},
	Field[User]{Name: "license", Kind: KindText, Get: func(u *User) any { return u.License },
		set: setter(func(n *NewUser) *string { return &n.License }, func(p *UserPatch) *Optional[string] { return &p.License })},
	Field[User]{Name: "auth_method", Kind: KindCode, Get: func(u *User) any { return u.AuthMethod },
		set: setter(func(n *NewUser) *string { return &n.AuthMethod }, func(p *UserPatch) *Optional[string] { return &p.AuthMethod })},
	Field[User]{Name: "extref", Kind: KindText, Get: func(u *User) any { return u.ExtRef },
		set: setter(func(n *NewUser) *string { return &n.ExtRef }, func(p *UserPatch) *Optional[string] { return &p.ExtRef })},
	Field[User]{Name: "description", Kind: KindText, Get: func(u *User) any { return u.Description },
		set: setter(func(n *NewUser) *string { return &n.Description }, func(p *UserPatch) *Optional[string] { return &p.Description })},
	Field[User]{Name: "country", Kind: KindCode, Get: func(u *User) any { return u.Country },
		set: setter(func(n *NewUser) *string { return &n.Country }, func(p *UserPatch) *Optional[string] { return &p.Country })},
	Field[User]{Name: "registered_at", Kind: KindTime, Get: func(u *User) any { return u.RegisteredAt },
		set: func(d *UserDraft, value any) { d.Create.RegisteredAt = value.(time.Time) }},
	Field[User]{Name: "updated_at", Kind: KindTime, Get: func(u *User) any { return u.UpdatedAt }},
	Field[User]{Name: "last_seen_at", Kind: KindTime, Get: func(u *User) any { return u.LastSeenAt }},
	Field[User]{Name: "expires_at", Kind: KindTime, Get: func(u *User) any { return u.ExpiresAt },
		set: setter(func(n *NewUser) *time.Time { return &n.ExpiresAt }, func(p *UserPatch) *Optional[time.Time] { return &p.ExpiresAt })},
	Field[User]{Name: "valid_for", Kind: KindSpan, Get: func(u *User) any { return u.ValidFor },
		set: setter(func(n *NewUser) *Duration { return &n.ValidFor }, func(p *UserPatch) *Optional[Duration] { return &p.ValidFor })},
	Field[User]{Name: "balance", Kind: KindMoney, Get: func(u *User) any { return u.Balance }},
	Field[User]{Name: "currency", Kind: KindCode, Get: func(u *User) any { return u.Balance.Currency },
		set: func(d *UserDraft, value any) { d.Create.Currency = value.(string) }},
	Field[User]{Name: "devices", Kind: KindInteger, Get: func(u *User) any { return int64(u.Devices) }},
	Field[User]{Name: "open_sessions", Kind: KindInteger, Get: func(u *User) any { return int64(u.OpenSessions) }},
	Field[User]{Name: "active_purchases", Kind: KindInteger, Get: func(u *User) any { return int64(u.ActivePurchases) }},
	Field[User]{Name: "purchases_end_at", Kind: KindTime, Get: func(u *User) any { return u.PurchasesEndAt }},
	Field[User]{Name: "traffic_limit", Kind: KindInteger, Get: func(u *User) any { return u.Traffic.Limit.Bytes },
		set: limitSetter(func(l *TrafficLimit) *int64 { return &l.Bytes }, func(p *TrafficLimitPatch) *Optional[int64] { return &p.Bytes })},
	Field[User]{Name: "traffic_reset", Kind: KindCode, Get: func(u *User) any { return string(u.Traffic.Limit.Reset) },
		Values: []string{string(ResetDaily), string(ResetWeekly), string(ResetMonthly), string(ResetNever)},
		set: func(d *UserDraft, value any) {
			limitSetter(func(l *TrafficLimit) *TrafficReset { return &l.Reset },
				func(p *TrafficLimitPatch) *Optional[TrafficReset] { return &p.Reset })(d, TrafficReset(value.(string)))
		}},
	Field[User]{Name: "traffic_anchor_day", Kind: KindInteger, Get: func(u *User) any { return int64(u.Traffic.Limit.AnchorDay) },
		set: func(d *UserDraft, value any) {
			limitSetter(func(l *TrafficLimit) *int { return &l.AnchorDay },
				func(p *TrafficLimitPatch) *Optional[int] { return &p.AnchorDay })(d, int(value.(int64)))
		}},
	Field[User]{Name: "preferred_map", Kind: KindText, Get: func(u *User) any { return u.PreferredMap },
		set: setter(func(n *NewUser) *string { return &n.PreferredMap }, func(p *UserPatch) *Optional[string] { return &p.PreferredMap })},
	Field[User]{Name: "additional_info", Kind: KindText, Get: func(u *User) any { return u.AdditionalInfo },
		set: setter(func(n *NewUser) *string { return &n.AdditionalInfo }, func(p *UserPatch) *Optional[string] { return &p.AdditionalInfo })},
	Field[User]{Name: "kind", Kind: KindCode, Get: func(u *User) any { return string(u.Kind) },
		Values: []string{string(UserIndividual), string(UserLegalEntity)},
		set: func(d *UserDraft, value any) {
			d.Create.Kind = UserKind(value.(string))
			d.Update.Kind = Set(d.Create.Kind)
		}},
	Field[User]{Name: "payer_account_number", Kind: KindText, Get: func(u *User) any { return u.Payer.AccountNumber },
		set: setter(func(n *NewUser) *string { return &n.Payer.AccountNumber }, func(p *UserPatch) *Optional[string] { return &p.Payer.AccountNumber })},
	Field[User]{Name: "legal_address", Kind: KindText, Get: func(u *User) any { return u.Payer.LegalAddress },
		set: setter(func(n *NewUser) *string { return &n.Payer.LegalAddress }, func(p *UserPatch) *Optional[string] { return &p.Payer.LegalAddress })},
	Field[User]{Name: "postal_address", Kind: KindText, Get: func(u *User) any { return u.Payer.PostalAddress },
		set: setter(func(n *NewUser) *string { return &n.Payer.PostalAddress }, func(p *UserPatch) *Optional[string] { return &p.Payer.PostalAddress })},
	Field[User]{Name: "bank", Kind: KindText, Get: func(u *User) any { return u.Payer.Bank },
		set: setter(func(n *NewUser) *string { return &n.Payer.Bank }, func(p *UserPatch) *Optional[string] { return &p.Payer.Bank })},
	Field[User]{Name: "bank_account", Kind: KindText, Get: func(u *User) any { return u.Payer.BankAccount },
		set: setter(func(n *NewUser) *string { return &n.Payer.BankAccount }, func(p *UserPatch) *Optional[string] { return &p.Payer.BankAccount })},
	Field[User]{Name: "attributes", Kind: KindJSON, Get: func(u *User) any { return u.Attributes },
		set: setter(func(n *NewUser) *Attributes { return &n.Attributes }, func(p *UserPatch) *Optional[Attributes] { return &p.Attributes })},
	Field[User]{Name: "revision", Kind: KindInteger, Get: func(u *User) any { return u.Revision }},
)

// AccessAllowed is the value of the derived field access of a user against whose access there is no
// reason.
const AccessAllowed = "allowed"

// Moment is the time and the zone for which derived facts are computed.
type Moment struct {
	At   time.Time      `json:"at,omitzero"`
	Zone *time.Location `json:"-"` // nil: UTC

	// Business reports whether the project is a ProjectBusiness, in which no user is subscribed.
	// The manager sets it.
	Business bool `json:"business,omitempty"`
}

// DerivedField is a fact about a user that is derived from the stored facts and the time. Filters
// can compare it and exports can write it, but lists cannot be sorted by it, since it changes while
// they are read.
type DerivedField struct {
	Name   string                              `json:"name"`
	Kind   FieldKind                           `json:"kind"`
	Values []string                            `json:"values,omitempty"` // of an enumeration: all that there are
	Get    func(user *User, moment Moment) any `json:"-"`
}

// DerivedUserFields returns the table of the derived fields of a user:
//
//   - access: AccessAllowed, or every reason against it (see Access.Reasons),
//   - subscribed: whether the user has an active purchase (see Account.Subscribed),
//   - traffic_used: the bytes used in the current period of the traffic limit, which for a daily
//     limit is today.
func DerivedUserFields() []DerivedField { return append([]DerivedField(nil), derivedUserFields...) }

var derivedUserFields = []DerivedField{
	{Name: "access", Kind: KindCodes,
		Values: []string{AccessAllowed, string(CodeUserDisabled), string(CodeUserInactive), string(CodeUserExpired), string(CodeTrafficLimit)},
		Get:    func(u *User, moment Moment) any { return u.accessCodes(moment) }},
	{Name: "subscribed", Kind: KindBool, Get: func(u *User, moment Moment) any { return !moment.Business && u.Subscribed(moment.At) }},
	{Name: "traffic_used", Kind: KindInteger,
		Get: func(u *User, moment Moment) any { return u.Traffic.UsedIn(moment.At, moment.zone()) }},
}

func (m Moment) zone() *time.Location {
	if m.Zone == nil {
		return time.UTC
	}
	return m.Zone
}

func (u *User) accessCodes(moment Moment) []string {
	access := u.Access(moment.At, moment.zone())
	if access.Allowed {
		return []string{AccessAllowed}
	}
	codes := make([]string, len(access.Reasons))
	for i, reason := range access.Reasons {
		codes[i] = string(reason)
	}
	return codes
}

// UserDraft is a user as described by the fields of a record, such as a row of a file: Create is
// used if the user does not exist, and Update if it does. Set sets a field in both.
type UserDraft struct {
	Create NewUser   `json:"create"`
	Update UserPatch `json:"update"`
}

// Set sets a field of UserFields, or a single attribute named attributes.<name>,
// to a value of the type that Field.Get returns; for an attribute, any value that JSON can
// represent, and nil removes it. It returns ErrInvalid with CodeUnknownField for a field that is
// not Settable and CodeBadFormat for a value of another type. Whether the value is valid is checked
// when the draft is used.
//
// The fields id, registered_at and currency are used only when a user is created.
func (d *UserDraft) Set(field string, value any) error {
	if name, ok := strings.CutPrefix(field, attributePrefix); ok {
		if !attributeName(name) {
			return NewError(CodeBadFormat, field, "%q cannot be the name of an attribute", clip(name))
		}
		d.setAttribute(name, value)
		return nil
	}
	known, ok := userFields.byName[field]
	if !ok || known.set == nil {
		return NewError(CodeUnknownField, field, "%q cannot be set", clip(field))
	}
	if !known.Kind.holds(value) {
		return NewError(CodeBadFormat, field, "%T is not the value of a field of kind %s", value, known.Kind)
	}
	known.set(d, value)
	return nil
}

const attributePrefix = "attributes."

func (d *UserDraft) setAttribute(name string, value any) {
	if value != nil {
		if d.Create.Attributes == nil {
			d.Create.Attributes = Attributes{}
		}
		d.Create.Attributes[name] = value
	} else {
		delete(d.Create.Attributes, name)
	}
	if d.Update.SetAttributes == nil {
		d.Update.SetAttributes = Attributes{}
	}
	d.Update.SetAttributes[name] = value
}

// setter makes the set of a field from its places in a new user and in a patch.
func setter[T any](create func(*NewUser) *T, update func(*UserPatch) *Optional[T]) func(*UserDraft, any) {
	return func(d *UserDraft, value any) {
		*create(&d.Create) = value.(T)
		*update(&d.Update) = Set(value.(T))
	}
}

// limitSetter is setter for a part of the traffic limit.
func limitSetter[T any](create func(*TrafficLimit) *T, update func(*TrafficLimitPatch) *Optional[T]) func(*UserDraft, any) {
	return func(d *UserDraft, value any) {
		limit, _ := d.Create.TrafficLimit.Get()
		*create(&limit) = value.(T)
		d.Create.TrafficLimit = Set(limit)
		*update(&d.Update.TrafficLimit) = Set(value.(T))
	}
}

func setID(d *UserDraft, value any) {
	d.Create.ID = UserID{}
	if text := value.(string); text != "" {
		d.Create.ID, _ = ParseID[User](text) // an invalid id stays zero: see UserDraft.Set
	}
}
