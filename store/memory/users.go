package memory

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// users holds the users and their indexes. Use changes an account many times a
// day, and no index depends on it: so the indexes hold profiles, and the table
// holds, under the number of the user, its profile and account of now.
type users struct {
	numbers map[userkit.UserID]uint32
	table   table[user]

	byID           set[profile, byUserID]
	byLogin        set[profile, byLogin]
	byName         set[profile, byName]
	byEmail        set[profile, byEmail]
	byRegistration set[profile, byUserRegistration]
	byExtRef       set[profile, byExtRef] // without the empty ones

	disabled int64 // how many are

	// erased holds what is recorded of users who are gone: the events that their
	// deletion wrote.
	erased map[userkit.UserID]*belongings
}

// user is a user at one version.
type user struct {
	profile *profile
	own     *belongings // nil: none
	account account
}

// profile is a profile at one revision, with the keys that it sorts by.
type profile struct {
	id            userkit.UserID
	number        uint32 // in the table
	emailVerified bool

	loginKey, nameKey, emailKey  string // the same memory as the text where that is folded already
	login, name, email, extRef   string
	status, kind                 word
	license, authMethod, country word
	registeredAt, updatedAt      micros
	revision                     int64
	attributes                   []attribute
	details                      *details // nil: all empty
}

// details are the fields that few users have.
type details struct {
	phone, description, preferredMap, additionalInfo string
	payer                                            userkit.Payer
}

// account is a userkit.Account in a third of its size.
type account struct {
	version      int64
	balance      int64
	currency     word
	sequence     int64
	last         userkit.TransactionID
	devices      int32
	openSessions int32
	limit        int64
	reset        word
	anchorDay    int32
	period       date
	used         int64
	expiresAt    micros
	validFor     time.Duration
	lastSeenAt   micros
}

type byUserID struct{}

func (byUserID) compare(a, b *profile) int { return compareIDs(&a.id, &b.id) }

type byLogin struct{}

func (byLogin) compare(a, b *profile) int {
	if c := strings.Compare(a.loginKey, b.loginKey); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

type byName struct{}

func (byName) compare(a, b *profile) int {
	if c := strings.Compare(a.nameKey, b.nameKey); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

type byEmail struct{}

func (byEmail) compare(a, b *profile) int {
	if c := strings.Compare(a.emailKey, b.emailKey); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

type byExtRef struct{}

func (byExtRef) compare(a, b *profile) int {
	if c := strings.Compare(a.extRef, b.extRef); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

type byUserRegistration struct{}

func (byUserRegistration) compare(a, b *profile) int {
	if c := cmp.Compare(a.registeredAt, b.registeredAt); c != 0 {
		return c
	}
	return compareIDs(&a.id, &b.id)
}

var wordDisabled = wordOf(userkit.StatusDisabled)

func profileOf(id userkit.UserID, from *userkit.User) *profile {
	p := &profile{
		id:            id,
		emailVerified: from.EmailVerified,
		status:        wordOf(from.Status),
		kind:          wordOf(from.Kind),
		license:       wordOf(from.License),
		authMethod:    wordOf(from.AuthMethod),
		country:       wordOf(from.Country),
		registeredAt:  microsOf(from.RegisteredAt),
		updatedAt:     microsOf(from.UpdatedAt),
		revision:      from.Revision,
		attributes:    attributesOf(from.Attributes),
	}
	p.keepTexts(from)
	kept := details{
		phone:          from.Phone,
		description:    from.Description,
		preferredMap:   from.PreferredMap,
		additionalInfo: from.AdditionalInfo,
		payer:          from.Payer,
	}
	if kept != (details{}) {
		p.details = &kept
	}
	return p
}

// keepTexts puts the texts and keys that every user has into one piece of
// memory: many small ones cost more, and a text cut out of a host's large input
// would keep all of it alive.
func (p *profile) keepTexts(from *userkit.User) {
	texts := [...]string{
		from.Login, userkit.SortKey(from.Login),
		from.Name, userkit.SortKey(from.Name),
		from.Email, userkit.SortKey(from.Email),
	}
	var all strings.Builder
	size := len(from.ExtRef)
	for i, text := range texts {
		if i%2 == 0 || text != texts[i-1] {
			size += len(text)
		}
	}
	all.Grow(size)
	for i, text := range texts {
		if i%2 == 0 || text != texts[i-1] {
			all.WriteString(text)
		}
	}
	all.WriteString(from.ExtRef)
	rest := all.String()
	take := func(length int) (text string) {
		text, rest = rest[:length], rest[length:]
		return text
	}
	for i := 0; i < len(texts); i += 2 {
		text := take(len(texts[i]))
		key := text
		if texts[i+1] != texts[i] {
			key = take(len(texts[i+1]))
		}
		texts[i], texts[i+1] = text, key
	}
	p.login, p.loginKey = texts[0], texts[1]
	p.name, p.nameKey = texts[2], texts[3]
	p.email, p.emailKey = texts[4], texts[5]
	p.extRef = rest
}

func accountOf(from *userkit.Account) account {
	return account{
		version:      from.Version,
		balance:      from.Balance.Amount,
		currency:     wordOf(from.Balance.Currency),
		sequence:     from.TransactionSequence,
		last:         from.LastTransaction,
		devices:      int32(from.Devices),
		openSessions: int32(from.OpenSessions),
		limit:        from.Traffic.Limit.Bytes,
		reset:        wordOf(from.Traffic.Limit.Reset),
		anchorDay:    int32(from.Traffic.Limit.AnchorDay),
		period:       dateOf(from.Traffic.Period),
		used:         from.Traffic.Used,
		expiresAt:    microsOf(from.ExpiresAt),
		validFor:     from.ValidFor,
		lastSeenAt:   microsOf(from.LastSeenAt),
	}
}

func (a *account) fill(to *userkit.Account) {
	*to = userkit.Account{
		Version:             a.version,
		Balance:             userkit.Money{Amount: a.balance, Currency: a.currency.Value()},
		TransactionSequence: a.sequence,
		LastTransaction:     a.last,
		Devices:             int(a.devices),
		OpenSessions:        int(a.openSessions),
		Traffic: userkit.Traffic{
			Limit: userkit.TrafficLimit{
				Bytes:     a.limit,
				Reset:     userkit.TrafficReset(a.reset.Value()),
				AnchorDay: int(a.anchorDay),
			},
			Used:   a.used,
			Period: a.period.day(),
		},
		ExpiresAt:  a.expiresAt.time(),
		ValidFor:   a.validFor,
		LastSeenAt: a.lastSeenAt.time(),
	}
}

// fillPlain writes everything but the attributes, which no list sorts by.
func (u *user) fillPlain(to *userkit.User) {
	p := u.profile
	to.ID = p.id
	to.Login, to.Name, to.Email, to.ExtRef = p.login, p.name, p.email, p.extRef
	to.EmailVerified = p.emailVerified
	to.Status = userkit.Status(p.status.Value())
	to.Kind = userkit.UserKind(p.kind.Value())
	to.License = p.license.Value()
	to.AuthMethod = p.authMethod.Value()
	to.Country = p.country.Value()
	to.RegisteredAt, to.UpdatedAt = p.registeredAt.time(), p.updatedAt.time()
	to.Revision = p.revision
	rest := p.details
	if rest == nil {
		rest = &details{}
	}
	to.Phone, to.Description, to.PreferredMap = rest.phone, rest.description, rest.preferredMap
	to.AdditionalInfo, to.Payer = rest.additionalInfo, rest.payer
	u.account.fill(&to.Account)
}

func (u *user) out() (to userkit.User) {
	u.fillPlain(&to)
	to.Attributes = attributesFrom(u.profile.attributes)
	return to
}

// get returns the user, or nil.
func (u *users) get(id userkit.UserID) *user {
	if number, ok := u.numbers[id]; ok {
		return u.table.get(number)
	}
	return nil
}

// belongings returns what belongs to a user, also to one who is gone; nil: nothing.
func (u *users) belongings(id userkit.UserID) *belongings {
	if found := u.get(id); found != nil {
		return found.own
	}
	return u.erased[id]
}

// first returns the user of the first profile from a place in an index on for
// which same holds, or nil.
func first[O order[profile]](u *users, index *set[profile, O], from *profile, same func(*profile) bool) *user {
	if found := index.from(from); found != nil && same(found) {
		return u.table.get(found.number)
	}
	return nil
}

// find returns the user with a unique value of its own, or nil.
func (u *users) find(field, value string) *user {
	if value == "" {
		return nil
	}
	switch field {
	case "login":
		return first(u, &u.byLogin, &profile{loginKey: value}, func(p *profile) bool { return p.loginKey == value })
	case "email":
		return first(u, &u.byEmail, &profile{emailKey: value}, func(p *profile) bool { return p.emailKey == value })
	case "extref":
		return first(u, &u.byExtRef, &profile{extRef: value}, func(p *profile) bool { return p.extRef == value })
	default:
		return nil
	}
}

// check says whether the unique values of a profile are free. before is the
// profile that it replaces, or nil.
func (u *users) check(next, before *profile) error {
	if before == nil {
		before = &profile{}
	}
	taken := func(field, value, held string) bool {
		return value != held && u.find(field, value) != nil
	}
	switch {
	case taken("login", next.loginKey, before.loginKey):
		return userkit.NewError(userkit.CodeLoginTaken, "login", "another user has this login")
	case taken("email", next.emailKey, before.emailKey):
		return userkit.NewError(userkit.CodeEmailTaken, "email", "another user has this email address")
	case taken("extref", next.extRef, before.extRef):
		return userkit.NewError(userkit.CodeExtRefTaken, "extref", "another user has this external reference")
	}
	return nil
}

// put replaces a profile in the indexes; before is nil for a new user.
func (u *users) put(next, before *profile) {
	if before != nil {
		// Where the key stays, put takes the place of the old profile.
		if before.loginKey != next.loginKey {
			u.byLogin.remove(before)
		}
		if before.nameKey != next.nameKey {
			u.byName.remove(before)
		}
		if before.emailKey != next.emailKey {
			u.byEmail.remove(before)
		}
		if before.registeredAt != next.registeredAt {
			u.byRegistration.remove(before)
		}
		if before.extRef != next.extRef && before.extRef != "" {
			u.byExtRef.remove(before)
		}
		if before.status == wordDisabled {
			u.disabled--
		}
	}
	u.byID.put(next)
	u.byLogin.put(next)
	u.byName.put(next)
	u.byEmail.put(next)
	u.byRegistration.put(next)
	if next.extRef != "" {
		u.byExtRef.put(next)
	}
	if next.status == wordDisabled {
		u.disabled++
	}
}

// remove takes a user out of the indexes.
func (u *users) remove(gone *profile) {
	u.byID.remove(gone)
	u.byLogin.remove(gone)
	u.byName.remove(gone)
	u.byEmail.remove(gone)
	u.byRegistration.remove(gone)
	if gone.extRef != "" {
		u.byExtRef.remove(gone)
	}
	if gone.status == wordDisabled {
		u.disabled--
	}
	delete(u.numbers, gone.id)
	u.table.remove(gone.number)
}

// User returns one user.
func (s *Store) User(ctx context.Context, id userkit.UserID) (userkit.User, error) {
	if err := s.ready(ctx); err != nil {
		return userkit.User{}, err
	}
	s.mu.RLock()
	found := s.users.get(id)
	s.mu.RUnlock()
	if found == nil {
		return userkit.User{}, userkit.NewError(userkit.CodeUserNotFound, "", "no user %s", id)
	}
	return found.out(), nil
}

// FindUser returns the user whose field key.Field has the value key.Value. An
// empty value is nobody's.
func (s *Store) FindUser(ctx context.Context, key userkit.UserKey) (userkit.User, error) {
	if err := s.ready(ctx); err != nil {
		return userkit.User{}, err
	}
	s.mu.RLock()
	found := s.users.find(key.Field(), key.Value())
	s.mu.RUnlock()
	if found == nil {
		return userkit.User{}, userkit.NewError(userkit.CodeUserNotFound, "", "no user with this %s", key.Field())
	}
	return found.out(), nil
}

var userFields = fieldsByName(userkit.UserFields())

// Users lists users by any sortable field of userkit.UserFields. The orders id,
// login, name, email and registered_at have an index.
func (s *Store) Users(ctx context.Context, filter userkit.UserFilter, list userkit.List) ([]userkit.User, error) {
	query := query[user, userkit.User]{
		fields: userFields,
		id:     func(u *user) [16]byte { return u.profile.id },
		fill:   (*user).fillPlain,
	}
	rows, err := query.run(ctx, s, list, func(snapshot bool) source[user] {
		from := source[user]{}
		if filter.OnlyActive {
			from.match = func(u *user) bool { return u.profile.status != wordDisabled }
		}
		after := list.After
		switch list.Order.Field {
		case "id":
			from.rows = profiles(s, &s.users.byID, snapshot, list, func(p *profile) { p.id = after.ID })
		case "login":
			from.rows = profiles(s, &s.users.byLogin, snapshot, list, func(p *profile) {
				p.loginKey, p.id = after.Key.(string), after.ID
			})
		case "name":
			from.rows = profiles(s, &s.users.byName, snapshot, list, func(p *profile) {
				p.nameKey, p.id = after.Key.(string), after.ID
			})
		case "email":
			from.rows = profiles(s, &s.users.byEmail, snapshot, list, func(p *profile) {
				p.emailKey, p.id = after.Key.(string), after.ID
			})
		case "registered_at":
			from.rows = profiles(s, &s.users.byRegistration, snapshot, list, func(p *profile) {
				p.registeredAt, p.id = microsOf(after.Key.(time.Time)), after.ID
			})
		default:
			from.all = s.users.table.read(snapshot).each
		}
		return from
	})
	if err != nil {
		return nil, err
	}
	return convert(rows, (*user).out), nil
}

// profiles walks an index of profiles and gives the users of the same moment.
// mark writes the place after which the list goes on.
func profiles[O order[profile]](s *Store, index *set[profile, O], snapshot bool, list userkit.List, mark func(*profile)) func() *user {
	var part span[profile]
	if list.After != nil {
		part.after = &profile{}
		mark(part.after)
	}
	table := s.users.table.read(snapshot)
	walk := index.view(snapshot).cursor(part, list.Order.Descending)
	return func() *user {
		if next := walk.next(); next != nil {
			return table.get(next.number)
		}
		return nil
	}
}

// CountUsers counts the users of a filter. It looks at none of them.
func (s *Store) CountUsers(ctx context.Context, filter userkit.UserFilter) (int64, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	count := int64(len(s.users.numbers))
	if filter.OnlyActive {
		count -= s.users.disabled
	}
	return count, nil
}
