package memory

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/userkit/userkit"
)

// audience is a filter of users, made ready. It serves one call, one goroutine
// at a time.
type audience struct {
	store    *Store
	moment   userkit.Moment
	match    func(*user) bool // nil: every user meets the filter
	ways     []way            // all of the filter's parts that an index answers
	segments []roster         // those that the filter names
}

// roster is a segment that a filter names, with its members when the filter was
// opened.
type roster struct {
	id      userkit.SegmentID
	members *members
}

// way finds users by an index: all who meet one part of a filter that no user
// of the filter is without, and perhaps a few more.
type way struct {
	size func() int // the most users that it finds; asked under the store's lock
	// open returns the users of a table. It is called under the store's lock, and
	// what it gives is read under it unless a snapshot was asked for.
	open func(table view[user], snapshot bool) func(yield func(*user) bool)
}

// audience makes a selection ready.
func (s *Store) audience(selection userkit.UserSelection) *audience {
	a := &audience{store: s, moment: selection.Moment}
	if !selection.Segment.IsZero() {
		a.add(a.memberships(selection.Segment))
	}
	a.visit(selection.Filter.Expression(), true)
	search := selection.Search
	if search.Term == "" {
		a.match = userkit.MatchUsers(selection, a.read)
		return a
	}
	selection.Search = userkit.Search{}
	rest, found := userkit.MatchUsers(selection, a.read), searcher(search)
	a.match = found
	if rest != nil {
		a.match = func(u *user) bool { return rest(u) && found(u) }
	}
	return a
}

func (a *audience) add(w way) { a.ways = append(a.ways, w) }

// visit notes the segments that an expression names, and the ways to its users; must says that no
// user meets the filter without meeting the expression.
func (a *audience) visit(expression userkit.Expression, must bool) {
	switch expression := expression.(type) {
	case userkit.AndExpression:
		for _, part := range expression {
			a.visit(part, must)
		}
	case userkit.OrExpression:
		if ids, ok := oneOfIDs(expression); ok {
			if must {
				a.add(a.store.users.several(ids))
			}
			return
		}
		for _, part := range expression {
			a.visit(part, false)
		}
	case userkit.NotExpression:
		a.visit(expression.Of, false)
	case userkit.ElementExpression: // names no segment, and nothing that an index knows
	case userkit.Comparison:
		if expression.Field == "segment" {
			id, _ := userkit.ParseID[userkit.Segment](expression.Value.(string))
			members := a.memberships(id)
			if must && expression.Operator == userkit.OpEqual {
				a.add(members)
			}
		} else if must {
			if way, ok := a.store.users.wayOf(expression); ok {
				a.add(way)
			}
		}
	}
}

// oneOfIDs returns the ids that an expression compares the id with, each once, if that is all it
// does.
func oneOfIDs(expression userkit.OrExpression) (ids []userkit.UserID, ok bool) {
	for _, part := range expression {
		c, ok := part.(userkit.Comparison)
		if !ok || c.Field != "id" || c.Operator != userkit.OpEqual {
			return nil, false
		}
		text, _ := c.Value.(string)
		id, err := userkit.ParseID[userkit.User](text)
		if err != nil {
			return nil, false
		}
		ids = append(ids, id)
	}
	slices.SortFunc(ids, userkit.UserID.Compare)
	return slices.Compact(ids), true
}

// open looks up the members of the segments that the filter names. It is called
// under the store's lock, before match and shortest.
func (a *audience) open(snapshot bool) {
	for i := range a.segments {
		members := a.store.segments.membersOf(a.segments[i].id)
		if snapshot && members != &noMembers {
			members = members.Copy()
		}
		a.segments[i].members = members
	}
}

// shortest returns the way that finds the fewest users, and how many at most;
// nil: there is none.
func (a *audience) shortest() (best *way, size int) {
	for i := range a.ways {
		if next := a.ways[i].size(); best == nil || next < size {
			best, size = &a.ways[i], next
		}
	}
	return best, size
}

// memberships notes a segment that the filter names, and gives the way through
// its members.
func (a *audience) memberships(id userkit.SegmentID) way {
	at := len(a.segments)
	a.segments = append(a.segments, roster{id: id})
	return way{
		size: func() int { return a.segments[at].members.Len() },
		open: func(table view[user], _ bool) func(yield func(*user) bool) {
			members := a.segments[at].members
			return func(yield func(*user) bool) {
				members.Scan(func(number uint32) bool { return yield(table.get(number)) })
			}
		},
	}
}

func (a *audience) member(u *user, id userkit.SegmentID) bool {
	for _, segment := range a.segments {
		if segment.id == id {
			return segment.members.Contains(u.profile.number)
		}
	}
	return false
}

// wayOf returns the way to the users who meet a comparison, if an index has them:
// those with an id, and those whose login, name, email or extref is a text or
// begins with one.
func (u *users) wayOf(c userkit.Comparison) (way, bool) {
	text, _ := c.Value.(string)
	low := userkit.SortKey(text)
	if low == "" || c.Operator != userkit.OpEqual && c.Operator != userkit.OpStartsWith {
		return way{}, false
	}
	if c.Field == "id" {
		id, err := userkit.ParseID[userkit.User](text)
		return u.single(id), err == nil && c.Operator == userkit.OpEqual
	}
	high := low + "\x00"
	if c.Operator == userkit.OpStartsWith {
		high = beyond(low)
	}
	switch c.Field {
	case "login":
		return between(&u.byLogin, &profile{loginKey: low}, &profile{loginKey: high}), true
	case "name":
		return between(&u.byName, &profile{nameKey: low}, &profile{nameKey: high}), true
	case "email":
		return between(&u.byEmail, &profile{emailKey: low}, &profile{emailKey: high}), true
	case "extref":
		return between(&u.byExtRef, &profile{extRefKey: low}, &profile{extRefKey: high}), true
	}
	return way{}, false
}

// beyond returns the first text after all that begin with a folded text, whose
// last byte is one of UTF-8 and so not the largest.
func beyond(prefix string) string {
	last := len(prefix) - 1
	return prefix[:last] + string([]byte{prefix[last] + 1})
}

// single is the way to the user with an id.
func (u *users) single(id userkit.UserID) way { return u.several([]userkit.UserID{id}) }

// several is the way to the users with some ids.
func (u *users) several(ids []userkit.UserID) way {
	return way{
		size: func() (size int) {
			for _, id := range ids {
				if u.get(id) != nil {
					size++
				}
			}
			return size
		},
		open: func(view[user], bool) func(yield func(*user) bool) {
			var found []*user
			for _, id := range ids {
				if user := u.get(id); user != nil {
					found = append(found, user)
				}
			}
			return slices.Values(found)
		},
	}
}

// between is the way to the users from one place in an index to another.
func between[O order[profile]](index *set[profile, O], low, high *profile) way {
	return way{
		size: func() int { return index.rank(high) - index.rank(low) },
		open: func(table view[user], snapshot bool) func(yield func(*user) bool) {
			return drain(usersOf(index.view(snapshot).cursor(span[profile]{low: low, high: high}, false), table))
		},
	}
}

// read says how a filter reads a field of a user.
func (a *audience) read(field string) userkit.FieldReader[user] {
	switch field {
	case "license":
		memo := make(map[word]string) // there are few
		return textReader(func(u *user) string {
			text, ok := memo[u.profile.license]
			if !ok {
				text = userkit.Fold(u.profile.license.Value())
				memo[u.profile.license] = text
			}
			return text
		})
	case "segment":
		return userkit.FieldReader[user]{Member: a.member}
	case "access":
		var scratch userkit.User // what access depends on is filled in
		return userkit.FieldReader[user]{Codes: func(u *user) []string {
			scratch.Status = userkit.Status(u.profile.status.Value())
			scratch.ExpiresAt = u.account.expiresAt.time()
			scratch.Traffic = userkit.Traffic{}
			if u.account.limit != 0 {
				scratch.Traffic = u.account.traffic()
			}
			return accessOf(&scratch, a.moment).([]string)
		}}
	case "subscribed":
		var scratch userkit.User
		return numberReader(func(u *user) int64 {
			scratch.ActivePurchases = int(u.account.activePurchases)
			scratch.PurchasesEndAt = u.account.purchasesEndAt.time()
			return truth(subscribedTo(&scratch, a.moment).(bool))
		})
	case "traffic_used":
		var scratch userkit.User
		return numberReader(func(u *user) int64 {
			scratch.Traffic = u.account.traffic()
			return trafficUsedBy(&scratch, a.moment).(int64)
		})
	}
	reader, ok := userReaders[field]
	if !ok {
		panic("userkit/store/memory: users are not filtered by " + field)
	}
	return reader
}

var (
	accessOf      = derivedField("access")
	subscribedTo  = derivedField("subscribed")
	trafficUsedBy = derivedField("traffic_used")
)

func derivedField(name string) func(*userkit.User, userkit.Moment) any {
	for _, field := range userkit.DerivedUserFields() {
		if field.Name == name {
			return field.Get
		}
	}
	panic("userkit/store/memory: there is no derived field " + name)
}

func textReader(read func(*user) string) userkit.FieldReader[user] {
	return userkit.FieldReader[user]{Text: read}
}

// foldReader reads a text that is folded when it is asked for.
func foldReader(read func(*details) string) userkit.FieldReader[user] {
	return textReader(func(u *user) string { return userkit.Fold(read(u.profile.more())) })
}

// truth is a boolean as filters compare it.
func truth(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

func numberReader(read func(*user) int64) userkit.FieldReader[user] {
	return userkit.FieldReader[user]{Number: read}
}

// userReaders reads the fields that need no more than the user.
var userReaders = map[string]userkit.FieldReader[user]{
	"id":     textReader(func(u *user) string { return u.profile.id.String() }),
	"login":  textReader(func(u *user) string { return u.profile.folded(u.profile.loginKey, u.profile.login) }),
	"name":   textReader(func(u *user) string { return u.profile.folded(u.profile.nameKey, u.profile.name) }),
	"email":  textReader(func(u *user) string { return u.profile.folded(u.profile.emailKey, u.profile.email) }),
	"extref": textReader(func(u *user) string { return u.profile.folded(u.profile.extRefKey, u.profile.extRef) }),

	"phone":         textReader(func(u *user) string { return u.profile.more().phone }),
	"status":        textReader(func(u *user) string { return u.profile.status.Value() }),
	"kind":          textReader(func(u *user) string { return u.profile.kind.Value() }),
	"auth_method":   textReader(func(u *user) string { return u.profile.authMethod.Value() }),
	"country":       textReader(func(u *user) string { return u.profile.country.Value() }),
	"currency":      textReader(func(u *user) string { return u.account.currency.Value() }),
	"traffic_reset": textReader(func(u *user) string { return u.account.reset.Value() }),

	"description":          foldReader(func(d *details) string { return d.description }),
	"preferred_map":        foldReader(func(d *details) string { return d.preferredMap }),
	"additional_info":      foldReader(func(d *details) string { return d.additionalInfo }),
	"payer_account_number": foldReader(func(d *details) string { return d.payer.AccountNumber }),
	"legal_address":        foldReader(func(d *details) string { return d.payer.LegalAddress }),
	"postal_address":       foldReader(func(d *details) string { return d.payer.PostalAddress }),
	"bank":                 foldReader(func(d *details) string { return d.payer.Bank }),
	"bank_account":         foldReader(func(d *details) string { return d.payer.BankAccount }),

	"email_verified":     numberReader(func(u *user) int64 { return truth(u.profile.emailVerified) }),
	"registered_at":      numberReader(func(u *user) int64 { return int64(u.profile.registeredAt) }),
	"updated_at":         numberReader(func(u *user) int64 { return int64(u.profile.updatedAt) }),
	"revision":           numberReader(func(u *user) int64 { return u.profile.revision }),
	"last_seen_at":       numberReader(func(u *user) int64 { return int64(u.account.lastSeenAt) }),
	"expires_at":         numberReader(func(u *user) int64 { return int64(u.account.expiresAt) }),
	"valid_for":          numberReader(func(u *user) int64 { return int64(u.account.validFor) }),
	"balance":            numberReader(func(u *user) int64 { return u.account.balance }),
	"devices":            numberReader(func(u *user) int64 { return int64(u.account.devices) }),
	"open_sessions":      numberReader(func(u *user) int64 { return int64(u.account.openSessions) }),
	"active_purchases":   numberReader(func(u *user) int64 { return int64(u.account.activePurchases) }),
	"purchases_end_at":   numberReader(func(u *user) int64 { return int64(u.account.purchasesEndAt) }),
	"traffic_limit":      numberReader(func(u *user) int64 { return u.account.limit }),
	"traffic_anchor_day": numberReader(func(u *user) int64 { return int64(u.account.anchorDay) }),

	"attributes": {
		Attribute: func(u *user, name string) (any, bool) {
			for _, entry := range u.profile.attributes {
				if entry.name.Value() == name {
					return entry.value, true
				}
			}
			return nil, false
		},
		Any: func(u *user) bool { return len(u.profile.attributes) > 0 },
	},
}

// folded returns the whole folded form of a text of a profile that has this key. A
// key is cut at a rune, so one that was cut lacks less than a rune to the bound.
func (p *profile) folded(key string, text part) string {
	if len(key) <= userkit.SortKeyBytes-utf8.UTFMax {
		return key
	}
	return userkit.Fold(p.text(text))
}

// searcher matches a search in what userkit.SearchText gives of a user, without making
// a text of every id.
func searcher(search userkit.Search) func(*user) bool {
	part := []byte(search.Term)
	id := !search.Short() && strings.Trim(search.Term, "0123456789abcdef-") == ""
	return func(u *user) bool {
		p := u.profile
		return search.In(p.texts[:p.searched]) || id && idHolds(&p.id, part) || search.InPhone(p.more().phone)
	}
}

// idHolds reports whether the text of an id holds a part.
func idHolds(id *userkit.UserID, part []byte) bool {
	var text [36]byte
	hex.Encode(text[:8], id[:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return bytes.Contains(text[:], part)
}
