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

	// logins and emails are the numbers of users by userkit.LoginKey and
	// userkit.EmailKey, loginEmails by userkit.LoginEmailKey where that is not their
	// own email address, and skeletons those by what their logins look like, without
	// the empty ones.
	logins, emails, loginEmails, skeletons map[string]uint32

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
	searched      uint32 // how much of texts a search looks at
	emailVerified bool

	loginKey, nameKey, emailKey, extRefKey string // parts of texts
	loginIdentity, emailIdentity           string // userkit.LoginKey and userkit.EmailKey; as a rule loginKey and emailKey
	loginSkeleton                          string // as a rule loginKey
	login, name, email, extRef             part
	texts                                  string // folded, with line breaks between them, and the phone; then those that folding changes
	status, kind                           word
	license, authMethod, country           word
	registeredAt, updatedAt                micros
	revision                               int64
	attributes                             []attribute
	details                                *details // nil: all empty
}

// part is where in the texts of a profile a text is. One that is folded already
// is there once.
type part struct{ at, length uint32 }

// details are the fields that few users have.
type details struct {
	phone, description, preferredMap, additionalInfo string
	payer                                            userkit.Payer
}

// account is a userkit.Account in a third of its size.
type account struct {
	version         int64
	balance         int64
	currency        word
	sequence        int64
	last            userkit.TransactionID
	devices         int32
	openSessions    int32
	activePurchases int32
	purchasesEndAt  micros
	limit           int64
	reset           word
	anchorDay       int32
	period          date
	used            int64
	expiresAt       micros
	validFor        userkit.Duration
	lastSeenAt      micros
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
	if c := strings.Compare(a.extRefKey, b.extRefKey); c != 0 {
		return c
	}
	if c := strings.Compare(a.text(a.extRef), b.text(b.extRef)); c != 0 {
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

// keepTexts puts the texts that every user has, and their folded forms, into one
// piece of memory: many small ones cost more, a text cut out of a host's large
// input would keep all of it alive, and a search looks at one text only.
func (p *profile) keepTexts(from *userkit.User) {
	texts := [...]string{from.Login, from.Name, from.Email, from.ExtRef}
	var folded [len(texts)]string
	size := len(texts) + len(from.Phone)
	for i, text := range texts {
		folded[i] = userkit.Fold(text)
		if size += len(folded[i]); folded[i] != text {
			size += len(text)
		}
	}
	var all strings.Builder
	all.Grow(size)
	var foldedParts, parts [len(texts)]part
	for i, text := range folded {
		foldedParts[i] = part{uint32(all.Len()), uint32(len(text))}
		all.WriteString(text)
		all.WriteByte('\n')
	}
	all.WriteString(from.Phone)
	p.searched = uint32(all.Len())
	parts = foldedParts
	for i, text := range texts {
		if text != folded[i] {
			parts[i] = part{uint32(all.Len()), uint32(len(text))}
			all.WriteString(text)
		}
	}
	p.texts = all.String()
	p.login, p.name, p.email, p.extRef = parts[0], parts[1], parts[2], parts[3]
	key := func(of part) string {
		text := p.text(of)
		if len(text) > userkit.SortKeyBytes {
			text = text[:len(userkit.SortKey(text))]
		}
		return text
	}
	p.loginKey, p.nameKey, p.emailKey, p.extRefKey = key(foldedParts[0]), key(foldedParts[1]), key(foldedParts[2]), key(foldedParts[3])
	p.loginIdentity, p.emailIdentity = userkit.LoginKey(from.Login), userkit.EmailKey(from.Email)
	if p.loginIdentity == p.loginKey {
		p.loginIdentity = p.loginKey
	}
	if p.emailIdentity == p.emailKey {
		p.emailIdentity = p.emailKey
	}
	if p.loginSkeleton = strings.Clone(from.LoginSkeleton); p.loginSkeleton == p.loginKey {
		p.loginSkeleton = p.loginKey
	}
}

// text returns a text of the profile.
func (p *profile) text(of part) string { return p.texts[of.at : of.at+of.length] }

func accountOf(from *userkit.Account) account {
	return account{
		version:         from.Version,
		balance:         from.Balance.Amount,
		currency:        wordOf(from.Balance.Currency),
		sequence:        from.TransactionSequence,
		last:            from.LastTransaction,
		devices:         int32(from.Devices),
		openSessions:    int32(from.OpenSessions),
		activePurchases: int32(from.ActivePurchases),
		purchasesEndAt:  microsOf(from.PurchasesEndAt),
		limit:           from.Traffic.Limit.Bytes,
		reset:           wordOf(from.Traffic.Limit.Reset),
		anchorDay:       int32(from.Traffic.Limit.AnchorDay),
		period:          dateOf(from.Traffic.Period),
		used:            from.Traffic.Used,
		expiresAt:       microsOf(from.ExpiresAt),
		validFor:        from.ValidFor,
		lastSeenAt:      microsOf(from.LastSeenAt),
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
		ActivePurchases:     int(a.activePurchases),
		PurchasesEndAt:      a.purchasesEndAt.time(),
		Traffic:             a.traffic(),
		ExpiresAt:           a.expiresAt.time(),
		ValidFor:            a.validFor,
		LastSeenAt:          a.lastSeenAt.time(),
	}
}

func (a *account) traffic() userkit.Traffic {
	return userkit.Traffic{
		Limit: userkit.TrafficLimit{
			Bytes:     a.limit,
			Reset:     userkit.TrafficReset(a.reset.Value()),
			AnchorDay: int(a.anchorDay),
		},
		Used:   a.used,
		Period: a.period.day(),
	}
}

// fillPlain writes everything but the attributes, which no list sorts by.
func (u *user) fillPlain(to *userkit.User) {
	p := u.profile
	rest := p.more()
	to.ID = p.id
	to.Login, to.Name, to.Email, to.ExtRef = p.text(p.login), p.text(p.name), p.text(p.email), p.text(p.extRef)
	to.EmailVerified = p.emailVerified
	to.Status = userkit.Status(p.status.Value())
	to.Kind = userkit.UserKind(p.kind.Value())
	to.License = p.license.Value()
	to.AuthMethod = p.authMethod.Value()
	to.Country = p.country.Value()
	to.RegisteredAt, to.UpdatedAt = p.registeredAt.time(), p.updatedAt.time()
	to.Revision, to.LoginSkeleton = p.revision, p.loginSkeleton
	to.Phone, to.Description, to.PreferredMap = rest.phone, rest.description, rest.preferredMap
	to.AdditionalInfo, to.Payer = rest.additionalInfo, rest.payer
	u.account.fill(&to.Account)
}

// more returns the fields that few users have.
func (p *profile) more() *details {
	if p.details == nil {
		return &noDetails
	}
	return p.details
}

var noDetails details

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

// numbered returns the user whose number stands under a key, or nil.
func (u *users) numbered(numbers map[string]uint32, key string) *user {
	if number, ok := numbers[key]; ok {
		return u.table.get(number)
	}
	return nil
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
	case "id":
		id, _ := userkit.ParseID[userkit.User](value)
		return u.get(id)
	case "login":
		return u.numbered(u.logins, value)
	case "email":
		return u.numbered(u.emails, value)
	case "email_holder":
		if found := u.numbered(u.emails, value); found != nil {
			return found
		}
		return u.numbered(u.loginEmails, value)
	case "login_skeleton":
		return u.numbered(u.skeletons, value)
	case "extref":
		from := &profile{extRefKey: userkit.SortKey(value), texts: value, extRef: part{0, uint32(len(value))}}
		return first(u, &u.byExtRef, from, func(p *profile) bool { return p.text(p.extRef) == value })
	default:
		return nil
	}
}

// loginEmail returns the userkit.LoginEmailKey of the login where it is not that of the email
// address, or "".
func (p *profile) loginEmail() string {
	if !strings.Contains(p.loginIdentity, "@") || p.loginIdentity == p.emailIdentity {
		return ""
	}
	if key := userkit.LoginEmailKey(p.loginIdentity); key != p.emailIdentity {
		return key
	}
	return ""
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
		if before.text(before.extRef) != next.text(next.extRef) && before.extRef.length > 0 {
			u.byExtRef.remove(before)
		}
		if before.status == wordDisabled {
			u.disabled--
		}
		u.forget(before)
	}
	if next.loginIdentity != "" {
		u.logins[next.loginIdentity] = next.number
	}
	if next.emailIdentity != "" {
		u.emails[next.emailIdentity] = next.number
	}
	if key := next.loginEmail(); key != "" {
		u.loginEmails[key] = next.number
	}
	if next.loginSkeleton != "" {
		u.skeletons[next.loginSkeleton] = next.number
	}
	u.byID.put(next)
	u.byLogin.put(next)
	u.byName.put(next)
	u.byEmail.put(next)
	u.byRegistration.put(next)
	if next.extRef.length > 0 {
		u.byExtRef.put(next)
	}
	if next.status == wordDisabled {
		u.disabled++
	}
}

// forget takes the keys of a profile out of the indexes that hold no profiles.
func (u *users) forget(gone *profile) {
	delete(u.logins, gone.loginIdentity)
	delete(u.emails, gone.emailIdentity)
	delete(u.loginEmails, gone.loginEmail())
	delete(u.skeletons, gone.loginSkeleton)
}

// remove takes a user out of the indexes.
func (u *users) remove(gone *profile) {
	u.forget(gone)
	u.byID.remove(gone)
	u.byLogin.remove(gone)
	u.byName.remove(gone)
	u.byEmail.remove(gone)
	u.byRegistration.remove(gone)
	if gone.extRef.length > 0 {
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

// FindUsers returns the users whose field has one of the values, in no order,
// each once. An empty value is nobody's.
func (s *Store) FindUsers(ctx context.Context, field string, values []string) ([]userkit.User, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	var found []*user
	s.mu.RLock()
	for _, value := range values {
		if user := s.users.find(field, value); user != nil {
			found = append(found, user)
		}
	}
	s.mu.RUnlock()
	return convert(distinct(found), (*user).out), nil
}

var userFields = fieldsByName(userkit.UserFields())

// Users lists users by any sortable field of userkit.UserFields. The orders id,
// login, name, email and registered_at have an index.
func (s *Store) Users(ctx context.Context, selection userkit.UserSelection, list userkit.ListRange) ([]userkit.User, error) {
	rows, err := s.listUsers(ctx, selection, list)
	if err != nil {
		return nil, err
	}
	return convert(rows, (*user).out), nil
}

// UserIDs lists, in order, the ids of the users of a selection after the given id.
func (s *Store) UserIDs(ctx context.Context, selection userkit.UserSelection, after userkit.UserID, limit int) ([]userkit.UserID, error) {
	list := userkit.ListRange{Order: userkit.Order{Field: "id"}, Limit: limit}
	if !after.IsZero() {
		list.After = &userkit.ListPosition{Key: after.String(), ID: after}
	}
	rows, err := s.listUsers(ctx, selection, list)
	if err != nil {
		return nil, err
	}
	return convert(rows, func(u *user) userkit.UserID { return u.profile.id }), nil
}

// UserNames returns what those of some users are called that a selection has.
func (s *Store) UserNames(ctx context.Context, selection userkit.UserSelection, ids []userkit.UserID) (map[userkit.UserID]string, error) {
	wanted := make([]userkit.Filter, len(ids))
	for i, id := range ids {
		wanted[i] = userkit.Equal("id", id)
	}
	selection.Filter = userkit.AllOf(selection.Filter, userkit.AnyOf(wanted...))
	rows, err := s.listUsers(ctx, selection, userkit.ListRange{Order: userkit.Order{Field: "id"}, Limit: len(ids)})
	if err != nil {
		return nil, err
	}
	names := make(map[userkit.UserID]string, len(rows))
	for _, row := range rows {
		var user userkit.User
		row.fillPlain(&user)
		names[user.ID] = user.DisplayName()
	}
	return names, nil
}

func (s *Store) listUsers(ctx context.Context, selection userkit.UserSelection, list userkit.ListRange) ([]*user, error) {
	query := query[user, userkit.User]{
		fields: userFields,
		id:     func(u *user) [16]byte { return u.profile.id },
		fill:   (*user).fillPlain,
	}
	wanted := s.audience(selection)
	return query.run(ctx, s, list, func(snapshot bool) source[user] {
		from := source[user]{match: wanted.match}
		table := s.users.table.read(snapshot)
		wanted.open(snapshot)
		if way, size := wanted.shortest(); way != nil {
			if size == 0 {
				from.rows = func() *user { return nil }
				return from
			}
			from.all, from.size = way.open(table, snapshot), size
			if size <= list.Limit {
				return from // in no order, but no more than a page
			}
		}
		from.rows = s.inOrder(table, snapshot, list)
		if from.rows == nil && from.all == nil {
			from.all = table.each
		}
		return from
	})
}

// inOrder walks the index that has the order of a list; nil: none has it.
func (s *Store) inOrder(table view[user], snapshot bool, list userkit.ListRange) func() *user {
	after := list.After
	switch list.Order.Field {
	case "id":
		return profiles(&s.users.byID, table, snapshot, list, func(p *profile) { p.id = after.ID })
	case "login":
		return profiles(&s.users.byLogin, table, snapshot, list, func(p *profile) {
			p.loginKey, p.id = after.Key.(string), after.ID
		})
	case "name":
		return profiles(&s.users.byName, table, snapshot, list, func(p *profile) {
			p.nameKey, p.id = after.Key.(string), after.ID
		})
	case "email":
		return profiles(&s.users.byEmail, table, snapshot, list, func(p *profile) {
			p.emailKey, p.id = after.Key.(string), after.ID
		})
	case "registered_at":
		return profiles(&s.users.byRegistration, table, snapshot, list, func(p *profile) {
			p.registeredAt, p.id = microsOf(after.Key.(time.Time)), after.ID
		})
	default:
		return nil
	}
}

// profiles walks an index of profiles and gives the users of the table. mark
// writes the place after which the list goes on.
func profiles[O order[profile]](index *set[profile, O], table view[user], snapshot bool, list userkit.ListRange, mark func(*profile)) func() *user {
	var part span[profile]
	if list.After != nil {
		part.after = &profile{}
		mark(part.after)
	}
	return usersOf(index.view(snapshot).cursor(part, list.Order.Descending), table)
}

// usersOf returns the users of the profiles that a cursor walks.
func usersOf[O order[profile]](walk *cursor[profile, O], table view[user]) func() *user {
	return func() *user {
		if next := walk.next(); next != nil {
			return table.get(next.number)
		}
		return nil
	}
}

// CountUsers counts the users of a selection. It examines none of them if the filter is zero or
// contains only WithoutDisabled or only a segment.
func (s *Store) CountUsers(ctx context.Context, selection userkit.UserSelection) (int64, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	if selection.Filter.IsZero() && selection.Search.Term == "" && (selection.Segment.IsZero() || !selection.WithoutDisabled) {
		return s.countAll(selection), nil
	}
	count := int64(0)
	_, err := s.eachUser(ctx, s.audience(selection), func(*user) { count++ })
	return count, err
}

// countAll counts the users of a selection that says no more than WithoutDisabled or a
// segment.
func (s *Store) countAll(selection userkit.UserSelection) int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case !selection.Segment.IsZero():
		return int64(s.segments.membersOf(selection.Segment).Len())
	case selection.WithoutDisabled:
		return int64(len(s.users.numbers)) - s.users.disabled
	default:
		return int64(len(s.users.numbers))
	}
}

// eachUser calls found with every user of a selection, as they are at one moment,
// and returns the users of that moment.
func (s *Store) eachUser(ctx context.Context, wanted *audience, found func(*user)) (view[user], error) {
	s.mu.Lock()
	table := s.users.table.snapshot()
	wanted.open(true)
	all := table.each
	if way, _ := wanted.shortest(); way != nil {
		all = way.open(table, true)
	}
	s.mu.Unlock()
	seen := 0
	for user := range all {
		if seen++; seen%breath == 0 && ctx.Err() != nil {
			return table, ctx.Err()
		}
		if wanted.match == nil || wanted.match(user) {
			found(user)
		}
	}
	return table, nil
}
