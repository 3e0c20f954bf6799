package userkit

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestKeysTellLookalikesApart(t *testing.T) {
	for _, pair := range [][2]string{
		{"victim@gmail.com", "victim@gmáil.com"}, {"u@bücher.de", "u@bucher.de"}, {"mike@example.org", "mıke@example.org"},
		{"josé@example.org", "jose@example.org"}, {"u@straße.de", "u@strasse.de"},
		{"strauß@example.org", "strauss@example.org"}, {"ﬁn@example.org", "fin@example.org"}, {"ſam@example.org", "sam@example.org"},
		{"İpek@example.org", "ipek@example.org"},
	} {
		require.NotEqual(t, EmailKey(pair[0]), EmailKey(pair[1]))
	}
	for _, pair := range [][2]string{{"Сергей", "Сергеи"}, {"суп", "сўп"}, {"ñu", "nu"}, {"елка", "ёлка"}, {"x²", "x2"}} {
		require.NotEqual(t, LoginKey(pair[0]), LoginKey(pair[1]))
		require.NotEqual(t, SegmentNameKey(pair[0]), SegmentNameKey(pair[1]))
	}
}

func TestKeysOfOneValue(t *testing.T) {
	for _, group := range [][]string{
		{"u@xn--bcher-kva.de", "u@bücher.de", "U@BÜCHER.de", "u@bu\u0308cher.de", "u@XN--BCHER-KVA.de"},
		{"ada@example.org", "Ada@Example.ORG", "ada@ｅxample.org"},
		{"josé@example.org", "JOSE\u0301@example.org"},
		{"strauß@example.org", "STRAUẞ@example.org"}, {"νίκοσ@example.org", "ΝΊΚΟΣ@example.org", "νίκος@example.org"},
		{"ada@[127.0.0.1]", "ADA@[127.0.0.1]"},
	} {
		for _, email := range group {
			require.Equal(t, group[0], EmailKey(email), "%q", email)
			require.NoError(t, checkEmail(email), "%q", email)
		}
	}
	for _, group := range [][]string{
		{"ada", "ADA", "ａｄａ"}, {"сергей", "СЕРГЕЙ", "Серге\u0438\u0306"}, {"ada lowe", "Ada  Lowe"}, {"ada@example.org", "Ada@Example.org"},
	} {
		for _, login := range group {
			require.Equal(t, group[0], LoginKey(login), "%q", login)
			require.NoError(t, checkLogin(login), "%q", login)
		}
	}
	require.Equal(t, SegmentNameKey("Straße"), SegmentNameKey("STRASSE"))
	require.Equal(t, SegmentNameKey("café"), SegmentNameKey("CAFE\u0301"))
}

func TestPartsOfEmailAddressesHaveTheirLengths(t *testing.T) {
	require.NoError(t, checkEmail(strings.Repeat("a", 64)+"@example.org"))
	label := strings.Repeat("b", 63)
	require.NoError(t, checkEmail("a@"+label+"."+label+"."+label+".org"))
	for email, code := range map[string]Code{
		strings.Repeat("a", 65) + "@example.org": CodeTooLong,
		"a@" + label + "b.org":                   CodeBadFormat,
		"a@ex_ample.org":                         CodeBadFormat,
		"a@-example.org":                         CodeBadFormat,
		"a@xn--0.org":                            CodeBadFormat,
		"vic\u200btim@gmail.com":                 CodeBadText,
	} {
		err := checkEmail(email)
		require.ErrorIs(t, err, ErrInvalid, "%q", email)
		var coded *Error
		require.ErrorAs(t, err, &coded)
		require.Equal(t, code, coded.Code, "%q", email)
	}
}

func TestInvisibleLogins(t *testing.T) {
	for _, login := range []string{"ada\u200b", "a\u00adda", "\ufeffada", "\u202eada", "\u200b", "\u3164", "ada\u2028", "ﬁn", "ada\U000E0041"} {
		require.ErrorIs(t, checkLogin(login), ErrInvalid, "%+q", login)
	}
}

// Whoever looks a login up that nobody may have finds none of those that people have.
func TestKeysOfRefusedLogins(t *testing.T) {
	require.Equal(t, "ﬁ@x.de", LoginKey("ﬁ@x.de"))
	require.Equal(t, EmailKey("ﬁ@x.de"), LoginEmailKey("ﬁ@x.de"))
	for char := rune(0); char <= unicode.MaxRune; char++ {
		if !unicode.IsGraphic(char) && !unicode.Is(unicode.Cf, char) {
			continue
		}
		for _, login := range []string{string(char) + "a", "a" + string(char) + "a", "Aς" + string(char)} {
			if _, err := loginKey(login); err == nil {
				continue
			}
			key := LoginKey(login)
			if _, err := loginKey(key); err == nil {
				t.Fatalf("%+q is refused, and its key %+q is that of a login", login, key)
			}
		}
	}
}

func FuzzIdentityKeys(f *testing.F) {
	for _, seed := range []string{"", "Ada", "Straße@Straße.de", "ΣΟΦΌΣ", "u@xn--bcher-kva.de", "İ@İ.de", "a b", "@", "ａ＠ｂ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return
		}
		for name, key := range map[string]func(string) string{"login": LoginKey, "email": EmailKey, "segment": SegmentNameKey} {
			once := key(text)
			if again := key(once); again != once {
				t.Fatalf("the %s key of %+q is %+q, and that of the key %+q", name, text, once, again)
			}
		}
		// Whoever logs in by an email address is nobody else, however the address is spelled.
		login := LoginKey(text)
		if as := LoginEmailKey(text); as != "" && (as != LoginEmailKey(login) || as != EmailKey(as)) {
			t.Fatalf("as an email address, the login %+q is %+q, and its key %+q", text, as, LoginEmailKey(login))
		}
	})
}

func TestHiddenCharactersAreRefusedInLines(t *testing.T) {
	for _, text := range []string{
		"ada\u200b", "a\u00adda", "\ufeffada", "\u202eada", "\u200b", "\u3164", "a\u200da", "a\u200ca", "ada\u2028", "\u2029", "\uffa0",
		"a\ufe0f", "ada\U000E0061", "\u034fada", "\u2060", "\u180e", "\u115f", "आ\u200b", "😀\u200b", "ن\u200d\u200dا", "\u2064", "\u061cada",
		"渡\U000E0100\U000E0101", "\U0001F3F4a\U000E0067",
	} {
		require.Equal(t, CodeBadText, ErrorCode(checkLine("name", text, MaxLine)), "%+q", text)
		require.Equal(t, CodeBadText, ErrorCode(checkEmail(text+"@example.org")), "%+q", text)
	}
	for _, text := range []string{
		"👩\u200d👩\u200d👧\u200d👦 🇧🇾", "👩🏽\u200d⚕️", "❤️", "1️⃣", "🏴\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F", "🏳️\u200d🌈",
		"می\u200cخواهم", "क्\u200dष", "ශ්\u200dරී", "渡辺\U000E0100", "ᠠ\u180b", "e\u0301", "한국", "a\u00a0b", "\U0001F9D1\u200d\U0001F4BB", "x\u00a9\ufe0f",
	} {
		require.NoError(t, checkLine("name", text, MaxLine), "%+q", text)
	}
}

func TestAnotherSpellingOfAnAddressStaysVerified(t *testing.T) {
	for email, verified := range map[string]bool{
		"ADA@Bücher.DE": true, "ada@xn--bcher-kva.de": true, "ada@bucher.de": false, "ada@example.org": false, "": false,
	} {
		user := User{Email: "ada@bücher.de", EmailVerified: true}
		_, err := UserPatch{Email: Set(email)}.put(&user)
		require.NoError(t, err)
		require.Equal(t, verified, user.EmailVerified, email)
	}
}

// Signs at the ends of a login are no matter of direction, where nothing runs from right
// to left.
func TestLoginsMayBeginAndEndWithSigns(t *testing.T) {
	for login, key := range map[string]string{
		"=zoë": "=zoë", "ZOË=": "zoë=", "+Zoe\u0308": "+zoë", "~é": "~é", "$сергей": "$сергей", "<zoë>": "<zoë>", "＝zoë": "=zoë", "=zoe": "=zoe", "אדה": "אדה",
	} {
		require.NoError(t, checkLogin(login), login)
		require.Equal(t, key, LoginKey(login), login)
		require.Equal(t, key, LoginKey(key), login)
	}
	for _, login := range []string{"=אדה=", "a\u05d0", "אa", "zoë☃"} {
		require.Equal(t, CodeBadFormat, ErrorCode(firstError(checkLogin(login))), "%q", login)
	}
}

// What newer rules refuse is accepted where it stays as it is.
func TestPatchesMayRepeatWhatIsThere(t *testing.T) {
	m := &manager{options: defaultOptions()}
	state := &State{Exists: true, User: User{Status: StatusActive, Kind: UserIndividual, Login: "a\u00adda", Name: "Ada\u2028L", Email: "vic\u200btim@gmail.com", Phone: "(29) 123"}}
	same := UserPatch{Login: Set(state.User.Login), Name: Set(state.User.Name), Email: Set(state.User.Email), Phone: Set(state.User.Phone), Country: Set("by")}
	patch, err := same.normalise(m)
	require.NoError(t, err)
	user, _, err := patch.edit(state, origin{}, patch.refused(m))
	require.NoError(t, err)
	require.Equal(t, "BY", user.Country)
	require.Equal(t, state.User.Phone, user.Phone)
	for field, wrong := range map[string]UserPatch{
		"login": {Login: Set("a\u00adda2"), Name: same.Name}, "name": {Name: Set("Ada\u2028M")}, "email": {Email: Set("Vic\u200btim@gmail.com"), Phone: same.Phone}, "phone": {Phone: Set("(29) 124"), Login: same.Login},
	} {
		patch, err := wrong.normalise(m)
		if err == nil {
			_, _, err = patch.edit(state, origin{}, patch.refused(m))
		}
		e, ok := err.(*Error) //nolint:errorlint // as it is returned
		require.True(t, ok, field)
		require.ErrorIs(t, err, ErrInvalid)
		require.Equal(t, field, e.Field)
		require.Empty(t, e.Fields, field)
	}
	_, err = UserPatch{Login: Set("ada"), Country: Set("XX")}.normalise(m)
	require.Equal(t, CodeUnknownValue, ErrorCode(err))
}
