package userkit

import (
	"errors"
	"maps"
	"net/mail"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/userkit/userkit/internal/jsonvalue"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

// create decides the creation of a user.
func (n NewUser) create(state *State, o origin) (User, Change, error) {
	if state.Exists {
		return User{}, Change{}, Taken("user", "id")
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

// user returns a user with those values that the request has.
func (n NewUser) user() User {
	limit, _ := n.TrafficLimit.Get()
	return User{
		ID: n.ID, Login: n.Login, Name: n.Name, Email: n.Email, EmailVerified: n.EmailVerified, Phone: n.Phone,
		ExtRef: n.ExtRef, AuthMethod: n.AuthMethod, Status: n.Status, License: n.License, Kind: n.Kind, Payer: n.Payer,
		Description: n.Description, Country: n.Country, PreferredMap: n.PreferredMap, AdditionalInfo: n.AdditionalInfo,
		Attributes: n.Attributes, RegisteredAt: n.RegisteredAt, LoginSkeleton: n.skeleton,
		Account: Account{
			Balance: Money{Currency: n.Currency}, Traffic: Traffic{Limit: limit}, ExpiresAt: n.ExpiresAt, ValidFor: n.ValidFor,
		},
	}
}

// steps returns the decisions that make up the edit, each of which has its own event.
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

// apply decides an edit of several steps, each on the state after the steps before it. Together
// they make one revision.
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

// edit decides on the fields of the patch that have no call of their own.
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

// valuesOf returns the fields of a new user that have a value, as changesOf would tell them.
func valuesOf(user *User) map[string]FieldChange {
	changes := changesOf(&User{}, user)
	for name, change := range changes {
		changes[name] = FieldChange{New: change.New}
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

// orNull returns nil for the value of a field that has none.
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
	if put(p.Login, &user.Login) {
		note(true, "login")
		user.LoginSkeleton = p.skeleton
	}
	note(put(p.Name, &user.Name), "name")
	if before := user.Email; put(p.Email, &user.Email) {
		note(true, "email")
		// Another spelling of the same address is not another address.
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

// attributes returns the attributes after the patch.
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

// refusal returns why a user of this status may neither log in nor use anything.
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
		// The name of a user who deletes itself must not remain in the records.
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
	skeleton, skeletonErr := m.loginSkeleton(n.Login)
	n.skeleton = skeleton
	user := n.user()
	return n, firstError(
		user.check(), skeletonErr, phoneErr, m.checkPayer(User{}, user), checkVerified(n.EmailVerified, n.Email), licenseErr, attributesErr, currencyErr, limitErr,
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
			return p, NewError(CodeBadFormat, "set_attributes", "set_attributes cannot be given together with attributes")
		}
	}
	if len(p.SetAttributes) > 0 {
		p.SetAttributes, attributesErr = p.SetAttributes.normalise()
	}
	if attributesErr != nil {
		return p, attributesErr
	}
	// The values of the patch are checked on a user whose other values are valid.
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
	login, _ := p.Login.Get()
	p.skeleton, err = m.loginSkeleton(login)
	return p, err
}

// refused returns what is wrong with those values of a normalised patch that a user may
// nevertheless have, since rules have become stricter: the edit decides. Each error is of one
// field.
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

// unless returns the refusals of a patch that are not about values that the user already has.
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
		return NewError(CodeBadFormat, "login", "the login begins or ends with a space")
	}
	key, err := loginKey(login)
	if login != "" && Fold(login) == "" {
		return NewError(CodeBadFormat, "login", "the login consists of nothing but accents")
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
		return NewError(CodeTooLong, "email", "%d bytes exceed the limit of %d", len(email), MaxEmail)
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
	return NewError(CodeRequired, "payer", "a legal entity needs a payer; see WithOptionalPayer")
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
	return NewError(CodeUnknownValue, "status", "unknown status %q", clip(string(status)))
}

func checkKind(kind UserKind) error {
	switch kind {
	case UserIndividual, UserLegalEntity:
		return nil
	}
	return NewError(CodeUnknownValue, "kind", "unknown kind of user %q", clip(string(kind)))
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
		return NewError(CodeOutOfRange, "valid_for", "%s is outside the range 0 to %s", span, maxValidFor)
	}
	if span != 0 && !expires.IsZero() {
		return NewError(CodeBadFormat, "valid_for", "valid_for cannot be given together with expires_at")
	}
	return checkTime("expires_at", expires)
}

// maxValidFor bounds a validity to a hundred years.
const maxValidFor = Duration(100 * 365 * 24 * time.Hour)

func (p Payer) check() error {
	return firstError(
		checkLine("payer_account_number", p.AccountNumber, MaxLine), checkLines("legal_address", p.LegalAddress, MaxAddress),
		checkLines("postal_address", p.PostalAddress, MaxAddress), checkLine("bank", p.Bank, MaxLine),
		checkLine("bank_account", p.BankAccount, MaxLine),
	)
}

// normalise checks attributes and returns them as JSON would read them back.
func (a Attributes) normalise() (Attributes, error) {
	if len(a) == 0 {
		return nil, nil
	}
	if len(a) > MaxAttributes {
		return nil, NewError(CodeTooLong, "attributes", "%d entries exceed the limit of %d", len(a), MaxAttributes)
	}
	for name := range a {
		if !attributeName(name) {
			return nil, NewError(CodeBadFormat, "attributes", "%q cannot be the name of an attribute", clip(name))
		}
	}
	normal, err := normalJSON("attributes", map[string]any(a), MaxAttributesBytes)
	if err != nil {
		return nil, err
	}
	return normal.(map[string]any), nil
}

// attributeName reports whether an attribute may have the name; see Attributes.
func attributeName(name string) bool {
	for i, r := range name {
		if !nameCharacter(r) || i == 0 && !unicode.IsLetter(r) {
			return false
		}
	}
	return name != "" && utf8.RuneCountInString(name) <= MaxAttributeName && norm.NFC.IsNormalString(name)
}

// nameCharacter reports whether a name of an attribute may contain a character.
func nameCharacter(r rune) bool {
	if r < utf8.RuneSelf {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-'
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd) && !ignorable(r)
}

// clone copies attributes so that the copy shares nothing with them.
func (a Attributes) clone() Attributes {
	if a == nil {
		return nil
	}
	return jsonvalue.Clone(map[string]any(a)).(map[string]any)
}
