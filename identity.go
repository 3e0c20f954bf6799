package userkit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/language"
	"golang.org/x/text/secure/bidirule"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

// The keys by which users and segments are told apart. They are not what a search compares with
// (see Fold): gmáil.com and gmail.com find one another in a search box, and are two domains all the
// same. A text that an earlier version accepted and that can no longer be written still has a key,
// so that existing records are found.
//
// Each key is the key of itself.

// LoginKey returns the form in which logins compare: that of the profile
// UsernameCaseMapped of PRECIS (RFC 8265), for each of the parts between spaces. Logins that differ
// in accents or in letters that look alike are different. The key of a text that no login may be
// is never that of a login.
//
// For writers of stores.
func LoginKey(login string) string {
	key, err := loginKey(login)
	if err != nil {
		// Full case folding would make a login of it, as of a ligature its letters.
		return lowerCase(login)
	}
	return key
}

// loginKey is LoginKey of a login that the profile allows.
func loginKey(login string) (string, error) {
	parts := strings.Split(login, " ")
	kept := parts[:0]
	for _, part := range parts {
		if part == "" {
			continue
		}
		if isGraphicASCII(part) {
			kept = append(kept, strings.ToLower(part))
			continue
		}
		// RFC 8265 (section 3.3.4) asks for the rules to be applied until nothing
		// changes, and for a refusal where that does not come to an end.
		for range 4 {
			profile := leftToRight
			if bidirule.DirectionString(part) != bidi.LeftToRight {
				profile = precis.UsernameCaseMapped
			}
			next, err := profile.String(part)
			if err != nil {
				return "", err
			}
			if next == part {
				break
			}
			part = next
		}
		kept = append(kept, part)
	}
	return strings.Join(kept, " "), nil
}

// leftToRight is UsernameCaseMapped without the Bidi Rule, which RFC 8265 (section 3.3.2)
// asks of those texts alone that have characters from right to left. The rule as such
// refuses =zoë, too.
var leftToRight = precis.NewIdentifier(precis.FoldWidth, precis.LowerCase(), precis.Norm(norm.NFC))

// EmailKey returns the form in which email addresses compare: the local part in lower
// case, without fullwidth and halfwidth forms, and the domain as it is looked up, in ASCII
// (IDNA by UTS 46, not transitional). Addresses that differ in accents are different, and so
// are those that only folding the case would take for the same: ß and ss, or a ligature and
// its letters. u@bücher.de is the same as u@xn--bcher-kva.de.
//
// For writers of stores.
func EmailKey(email string) string {
	at := strings.LastIndexByte(email, '@')
	if at < 0 {
		return lowerCase(email)
	}
	domain, err := domainKey(email[at+1:])
	if err != nil {
		domain = lowerCase(email[at+1:])
	}
	return lowerCase(width.Fold.String(email[:at])) + "@" + domain
}

// LoginEmailKey returns the EmailKey of a login that is written like an email address, and "" for
// every other login. No other user has it as the EmailKey of an email address: whoever logs in by
// either would be taken for the other.
//
// For writers of stores.
func LoginEmailKey(login string) string {
	if login = LoginKey(login); strings.Contains(login, "@") {
		return EmailKey(login)
	}
	return ""
}

// lowerCase returns a text composed and in lower case, by the rules that hold in all
// languages. A sigma is the same letter wherever in a word it stands.
func lowerCase(text string) string {
	if lower, ok := foldASCII(text); ok {
		return lower
	}
	text = cases.Lower(language.Und, cases.HandleFinalSigma(false)).String(norm.NFC.String(text))
	return norm.NFC.String(strings.ReplaceAll(text, "ς", "σ"))
}

// domains are looked up by the rules of UTS 46, where ß stays ß.
var domains = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.CheckJoiners(true),
	idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// domainKey returns the form of a domain that the domain name system knows. An
// address of a host in brackets is a domain, too (RFC 5321, section 4.1.3).
func domainKey(domain string) (string, error) {
	if strings.HasPrefix(domain, "[") && strings.HasSuffix(domain, "]") && isGraphicASCII(domain) {
		return strings.ToLower(domain), nil
	}
	return domains.ToASCII(domain)
}

// SegmentNameKey returns the form in which the names of segments compare: composed
// (NFC), with its case folded. Names that differ in accents are different.
//
// For writers of stores.
func SegmentNameKey(name string) string { return foldCase(name) }

// emailHolder is the field of Store.FindUsers for who has an email address, be it as the email
// address or as the login.
const emailHolder = "email_holder"

// UniqueValue is a value of a user that no other user has.
//
// For writers of stores.
type UniqueValue struct {
	Taken        string // the field by which Taken returns the error about it
	Field, Value string // the arguments of Store.FindUsers that find its holder
}

// UniqueValues returns the values of the user that no other user has, besides the id, in the order
// in which an error names the first that is taken. Empty values are left out.
//
// For writers of stores.
func (u *User) UniqueValues() []UniqueValue {
	email, loginEmail := EmailKey(u.Email), LoginEmailKey(u.Login)
	if loginEmail == email {
		loginEmail = "" // then the email address is the one that is taken
	}
	return slices.DeleteFunc([]UniqueValue{
		{"login", "login", LoginKey(u.Login)},
		{"login_email", emailHolder, loginEmail},
		{"email", "email", email},
		{"email_login", emailHolder, email},
		{"extref", "extref", u.ExtRef},
		{skeletonField, skeletonField, u.LoginSkeleton},
	}, func(unique UniqueValue) bool { return unique.Value == "" })
}

// foldCase returns a text composed and with its case folded.
func foldCase(text string) string {
	if folded, ok := foldASCII(text); ok {
		return folded
	}
	for range 4 { // see Fold
		next := norm.NFC.String(cases.Fold().String(norm.NFC.String(text)))
		if next == text {
			break
		}
		text = next
	}
	return text
}

// isGraphicASCII reports whether a text is of characters of ASCII that can be seen.
func isGraphicASCII(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] >= utf8.RuneSelf-1 {
			return false
		}
	}
	return true
}

// The most bytes of the parts of an email address by RFC 5321, sections 4.5.3.1.1
// and 4.5.3.1.2.
const (
	maxEmailLocal  = 64
	maxEmailDomain = 255
)

// checkEmailParts checks the parts of an address that is one.
func checkEmailParts(email string) error {
	at := strings.LastIndexByte(email, '@')
	if at > maxEmailLocal {
		return NewError(CodeTooLong, "email", "%d bytes before the @ exceed the limit of %d", at, maxEmailLocal)
	}
	if length := len(email) - at - 1; length > maxEmailDomain {
		return NewError(CodeTooLong, "email", "%d bytes after the @ exceed the limit of %d", length, maxEmailDomain)
	}
	domain, err := domainKey(email[at+1:])
	if err != nil {
		return NewError(CodeBadFormat, "email", "%q is not a domain", clip(email[at+1:]))
	}
	if len(domain) > maxEmailDomain {
		return NewError(CodeTooLong, "email", "%d bytes after the @, in ASCII, exceed the limit of %d", len(domain), maxEmailDomain)
	}
	return nil
}

// checkKey checks that a key fits an index.
func checkKey(field, key string) error {
	if len(key) > SortKeyBytes {
		return NewError(CodeTooLong, field, "%d bytes of the form that is compared exceed the limit of %d", len(key), SortKeyBytes)
	}
	return nil
}

// skeletonField is the field of User.LoginSkeleton.
const skeletonField = "login_skeleton"

// maxSkeletonText is how many bytes of a login are looked at; no new login is as long.
const maxSkeletonText = 4 * MaxLogin

// loginSkeleton returns what a login looks like according to the function of WithConfusableCheck,
// and "" without that option. The function is the host's: it may panic, and return what no index
// holds.
func (o *options) loginSkeleton(login string) (skeleton string, err error) {
	if o.skeleton == nil || login == "" || len(login) > maxSkeletonText {
		return "", nil
	}
	defer func() {
		if reason := recover(); reason != nil {
			err = NewError(CodeBadFormat, "login", "%q cannot be checked: the check panicked", clip(login))
		}
	}()
	// People see the login as it is written, in which I is l, and others write it in small
	// letters, in which m is rn. A skeleton may have capital letters, such as the O that 0 looks
	// like.
	skeleton = strings.Join(strings.Fields(width.Fold.String(login)), " ")
	for range 4 {
		next := foldCase(o.skeleton(skeleton))
		if next == skeleton {
			break
		}
		skeleton = next
	}
	if len(skeleton) > SortKeyBytes || !utf8.ValidString(skeleton) || strings.Contains(skeleton, "\x00") {
		digest := sha256.Sum256([]byte(skeleton))
		skeleton = hex.EncodeToString(digest[:])
	}
	return skeleton, nil
}

// ConfusableLogin is a user whose login looks like that of another user.
type ConfusableLogin struct {
	UserID      UserID `json:"user_id"`
	Login       string `json:"login"`
	HolderID    UserID `json:"holder_id"` // the other user
	HolderLogin string `json:"holder_login"`
}

func (m *manager) CheckLogins(ctx context.Context) iter.Seq2[ConfusableLogin, error] {
	return sequence(ctx, m, opCheckLogins, noTarget, func(ctx context.Context, _ call) iter.Seq2[ConfusableLogin, error] {
		return func(yield func(ConfusableLogin, error) bool) {
			if m.skeleton == nil {
				yield(ConfusableLogin{}, invalidOption("WithConfusableCheck", "the manager has no check of logins"))
				return
			}
			query := UserQuery{PageQuery: PageQuery{Sort: "id", Limit: 500}}
			for {
				page, err := m.listUsers(ctx, query)
				var confusable []ConfusableLogin
				if err == nil {
					confusable, err = m.checkLogins(ctx, page.Items)
				}
				if err != nil {
					yield(ConfusableLogin{}, err)
					return
				}
				for _, found := range confusable {
					if !yield(found, nil) {
						return
					}
				}
				if query.Cursor = page.Next; query.Cursor == "" {
					return
				}
			}
		}
	})
}

// checkLogins keeps what the logins of some users look like, and returns those that look
// like the login of another user.
func (m *manager) checkLogins(ctx context.Context, users []User) (confusable []ConfusableLogin, err error) {
	var unchecked []User
	for _, user := range users {
		skeleton, err := m.loginSkeleton(user.Login)
		if err != nil {
			return nil, err
		}
		if skeleton != user.LoginSkeleton {
			user.LoginSkeleton = skeleton
			unchecked = append(unchecked, user)
		}
	}
	for len(unchecked) > 0 {
		refused, err := m.keepSkeletons(ctx, unchecked, true)
		if err != nil || len(refused) == 0 {
			return confusable, err
		}
		skeletons := make([]string, len(refused))
		for i, user := range refused {
			skeletons[i] = user.LoginSkeleton
		}
		holders, err := m.store.FindUsers(ctx, skeletonField, skeletons)
		if err != nil {
			return nil, err
		}
		// What logins looked like by another function is in nobody's way.
		outdated, current := slices.Clone(refused), map[string]User{}
		for _, holder := range holders {
			skeleton, err := m.loginSkeleton(holder.Login)
			switch {
			case err != nil:
				return nil, err
			case skeleton == holder.LoginSkeleton:
				current[skeleton] = holder
			default:
				holder.LoginSkeleton = skeleton
				outdated = append(outdated, holder)
			}
		}
		if _, err := m.keepSkeletons(ctx, outdated, false); err != nil {
			return nil, err
		}
		unchecked = nil
		for _, user := range refused {
			if holder, ok := current[user.LoginSkeleton]; !ok {
				unchecked = append(unchecked, user)
			} else if holder.ID != user.ID { // else another process has checked it meanwhile
				confusable = append(confusable, ConfusableLogin{user.ID, user.Login, holder.ID, holder.Login})
			}
		}
	}
	return confusable, nil
}

// keepSkeletons keeps the skeletons of users, or else removes what is kept instead of them. It
// returns the users whose skeleton another one has.
func (m *manager) keepSkeletons(ctx context.Context, users []User, keep bool) (refused []User, err error) {
	commands := make([]*command, len(users))
	for i, user := range users {
		commands[i] = keepSkeleton(user, keep)
	}
	if err := m.pipeline.do(ctx, commands...); err != nil {
		return nil, err
	}
	for i, c := range commands {
		switch {
		case c.err == nil, ErrorCode(c.err) == CodeUserNotFound: // deleted meanwhile
		case ErrorCode(c.err) == CodeLoginConfusable:
			refused = append(refused, users[i])
		default:
			return nil, c.err
		}
	}
	return refused, nil
}

// keepSkeleton keeps the skeleton of a user, or else removes what is kept instead of it, as long as
// the user has the login of the skeleton. It is not an edit of the profile and has no event, so it
// can be repeated.
func keepSkeleton(user User, keep bool) *command {
	return &command{want: Want{User: user.ID, Profile: true}, decide: func(state *State) (Change, error) {
		if state.User.Login != user.Login || state.User.LoginSkeleton == user.LoginSkeleton {
			return Change{}, nil
		}
		profile := state.User
		profile.LoginSkeleton = ""
		if keep {
			profile.LoginSkeleton = user.LoginSkeleton
		}
		c := state.change()
		c.Profile = &profile
		return c, nil
	}}
}
