package userio

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/jsonvalue"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// sameHeading reports whether two headings are the same but for case and
// punctuation.
func sameHeading(a, b string) bool {
	return a == b || normalHeading(a) == normalHeading(b) && normalHeading(a) != ""
}

// normalHeading returns the letters and digits of a heading, in small letters and
// without accents.
func normalHeading(heading string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '_', '-', '.', '\t', '\n', '\r', '\u00A0', '\u2010', '\u2011':
			return -1
		}
		return r
	}, userkit.Fold(heading))
}

// fieldNames are the fields by their normal headings, including read-only and derived fields.
var fieldNames = func() map[string]string {
	names := map[string]string{}
	for _, field := range userkit.UserFields() {
		names[normalHeading(field.Name)] = field.Name
	}
	for _, field := range userkit.DerivedUserFields() {
		names[normalHeading(field.Name)] = field.Name
	}
	return names
}()

// The parts of fields, which columns can be besides whole fields.
const (
	partEnabled  = "enabled"  // a truth value: whether the status is active or disabled
	partDisabled = "disabled" // the other way round, or the time since when
	partFirst    = "name.first"
	partMiddle   = "name.middle"
	partLast     = "name.last"
)

// nameParts are the parts of a name in their order.
var nameParts = [...]string{partFirst, partMiddle, partLast}

// partField returns the field of which something is a part, or "" if it is no part.
func partField(part string) string {
	switch part {
	case partEnabled, partDisabled, partState, partUntil, partControl:
		return "status"
	case partFirst, partMiddle, partLast:
		return "name"
	}
	return ""
}

// guesses are the names that other programs use for the fields and their parts, by normal headings.
// None of them ever identifies the user of a row.
var guesses = func() map[string]string {
	fields := map[string]string{}
	for field, headings := range map[string]string{
		"extref":               "внешнийид, кодклиента, номерклиента, kundennummer, kundennr, numéroclient, númerodecliente, externalid, externalref, externalreference, extid, foreignid, customerid, customernumber",
		"login":                "логин, имяпользователя, benutzername, nomdutilisateur, nombredeusuario, username, userlogin, loginname, useraccount",
		"name":                 "фио, имяифамилия, фамилияиимя, полноеимя, vorundnachname, vollständigername, nomcomplet, nombrecompleto, nomecompleto, imięinazwisko, fullname, displayname, customername, contactname",
		"email":                "почта, элпочта, эпочта, электроннаяпочта, имейл, емейл, адресэлектроннойпочты, emailadresse, mailadresse, courriel, adresseemail, correo, correoelectrónico, correoelectronico, adresemail, emailaddress, useremail, mail, mailaddress, primaryemail, workemail",
		"email_verified":       "emailconfirmed, emailisverified, isemailverified, verifiedemail",
		"phone":                "телефон, номертелефона, мобильный, мобильныйтелефон, тел, telefon, telefonnummer, handy, handynummer, mobil, mobiltelefon, rufnummer, téléphone, teléfono, telefono, telefone, numertelefonu, phonenumber, phoneno, telephone, telephonenumber, tel, mobile, mobilephone, mobilenumber, cell, cellphone, msisdn, contactnumber",
		"status":               "userstatus, accountstatus, loginstatus, userstate, accountstate",
		"license":              "licence, licensename, licencename",
		"auth_method":          "authenticationmethod, loginmethod, signinmethod, authprovider",
		"description":          "примечание, примечания, комментарий, комментарии, заметка, заметки, bemerkung, bemerkungen, anmerkung, notiz, notizen, kommentar, remarque, commentaire, nota, notas, observaciones, uwagi, note, notes, comment, comments, remark, remarks",
		"country":              "страна, land, pays, país, paese, kraj, countrycode, countryname, countryiso, isocountry, isocountrycode, countryregion",
		"registered_at":        "датарегистрации, зарегистрирован, создан, датасоздания, erstelltam, angelegtam, registriertam, datedinscription, fechaderegistro, registered, registeredon, registrationdate, registrationtime, dateregistered, createdat, createdon, created, createdate, creationdate, creationtime, datecreated, signupdate, signedupat, joined, joinedat",
		"updated_at":           "updated, updatedon, modified, modifiedat, lastmodified, dateupdated, datemodified",
		"last_seen_at":         "lastseen, lastactive, lastactivity, lastactiveat, lastactivityat",
		"expires_at":           "действителендо, срокдействия, истекает, gültigbis, läuftabam, ablaufdatum, expirele, venceel, ważnydo, expires, expireson, expiry, expirydate, expiration, expirationdate, validuntil, validto",
		"valid_for":            "validity, validityperiod",
		"currency":             "currencycode",
		"traffic_limit":        "trafficlimitbytes, datalimit, trafficquota",
		"kind":                 "userkind, usertype, customertype",
		"payer_account_number": "taxid, taxnumber, vatid, vatnumber, tin, unp",
		"legal_address":        "юридическийадрес, registeredaddress, registeredoffice",
		"postal_address":       "почтовыйадрес, postanschrift, postaladdressline, mailingaddress, address",
		"bank":                 "bankname",
		"bank_account":         "iban, bankaccountnumber",
		"additional_info":      "additionalinformation",

		partEnabled: "enabled, isenabled, userenabled, accountenabled, loginenabled, active, isactive, useractive, accountactive, " +
			"canlogin, cansignin, loginallowed, allowlogin, signinenabled, " +
			"accountnonlocked, isaccountnonlocked, accountnonexpired, isaccountnonexpired, nonlocked, notlocked, notblocked, notdisabled, notsuspended, unblocked",
		partDisabled: "disabled, isdisabled, userdisabled, accountdisabled, logindisabled, disabledat, disabledon, " +
			"blocked, isblocked, userblocked, accountblocked, blockedat, blockedon, loginblocked, " +
			"suspended, issuspended, usersuspended, accountsuspended, suspendedat, suspendedon, " +
			"banned, isbanned, userbanned, bannedat, bannedon, locked, islocked, lockedout, islockedout, userlocked, accountlocked, lockedat, " +
			"deactivated, isdeactivated, deactivatedat, deactivatedon, inactive, isinactive, archived, isarchived, archivedat, " +
			"deleted, isdeleted, deletedat, deletedon, revoked, isrevoked, revokedat, terminated, isterminated, terminatedat, accountdisabledat, " +
			"notactive, isnotactive, nonactive, blocksignin, signinblocked, blockcredential, accountexpired, isaccountexpired, frozen, isfrozen, accountfrozen, " +
			"lockout, nsaccountlock, accountlockout, accountislocked, accountisdisabled, accountisblocked, loginforbidden",
		partUntil: "blockeduntil, banneduntil, lockeduntil, suspendeduntil, disableduntil, banuntil, blockuntil, lockuntil, accountlockeduntil, lockouttill, " +
			"lockoutend, lockoutenddate, lockoutenddateutc, lockoutuntil, lockedoutuntil, lockexpires, lockexpiresat, banexpires, banexpiresat, blockexpiresat",
		partControl: "useraccountcontrol",
		partFirst:   "firstname, givenname, forename, vorname, prenom, imie, имя, fname",
		partMiddle:  "middlename, middlenames, additionalname, отчество",
		partLast:    "lastname, surname, familyname, nachname, nomdefamille, nazwisko, фамилия, lname, sn",
	} {
		if _, ok := userkit.UserField(field); !ok && partField(field) == "" {
			panic(fmt.Sprintf("userio: guesses of %q, which is not a field", field))
		}
		for heading := range strings.SplitSeq(headings, ", ") {
			fields[normalHeading(heading)] = field
		}
	}
	return fields
}()

// foreignIDs are headings of ids of another system, which may become extref.
var foreignIDs = []string{
	"id", "userid", "uid", "uuid", "guid", "localid", "contactid", "customerid", "objectid", "memberid", "personid", "recordid", "accountid", "identityid", "sub",
}

// secretWords are the words in the headings of passwords and other secrets, as normal headings.
var secretWords = []string{
	"password", "passwd", "passphrase", "passcode", "pwd", "passhash", "hashedpass", "encryptedpass", "userpass", "credential", "secret",
	"privatekey", "apikey", "accesskey", "accesstoken", "refreshtoken", "idtoken", "authtoken", "sessiontoken", "resettoken", "remembertoken", "bearertoken",
	"recoverycode", "backupcode", "securityanswer", "totp", "otpseed", "activationkey",
	"apitoken", "usertoken", "devicetoken", "sessionkey", "sessioncookie", "presharedkey", "signingkey", "encryptionkey", "securityquestion",
	"bcrypt", "argon2", "pbkdf2", "unicodepwd", "passkey",
	"passwort", "kennwort", "motdepasse", "contrasena", "palabraclave", "senha", "parola", "wachtwoord", "haslo", "пароль", "密码", "密碼", "パスワード", "비밀번호",
	"salasana", "losenord", "heslo", "jelszo", "adgangskode", "passord", "matkhau", "şifre", "lozinka", "zaporka", "geslo", "лозинка", "парола", "гасло", "slaptazod", "parool",
	"κωδικος", "συνθηματικο", "סיסמה", "סיסמא", "كلمةالمرور", "كلمةالسر", "รหัสผ่าน", "katasandi", "katalaluan", "पासवर्ड", "口令",
}

// secretTokens are words that mean a secret only if they stand alone.
var secretTokens = []string{"pass", "pw", "salt", "hash", "token", "pin", "otp", "psk", "jwt", "pepper"}

// secretHeadings are normal headings that mean a secret only if they are the whole heading.
var secretHeadings = []string{"clave", "ha1", "bearer", "nthash", "lmhash"}

// shortSecrets are those secretWords that are also the beginning or the middle of other words, such
// as haslogged. They mean a secret only at the end of a word.
var shortSecrets = []string{"totp", "haslo", "heslo", "geslo", "senha"}

// measures are the last words of headings that say how many or when, and so contain no secret.
var measures = []string{"count", "balance", "limit", "quota", "usage", "total", "at"}

// innocent are beginnings of words, and pairs of words, that do not mean a secret.
var innocent = regexp.MustCompile(`^secretar|^secretair|^hash tags?$` +
	`|^(?:season|boarding|bus|train|rail|travel|ski|day|week|month|year|annual|gym|guest|visitor|park|parking|museum|city|press|backstage|event|festival|library) pass(?:es)?$` +
	`|^(?:commit|git|block|transaction|tx|file|content|image|document|parent|tree) hash(?:es)?$`)

// isSecret reports whether a heading is one of passwords or of the values that passwords are
// checked with.
func isSecret(heading string) bool {
	if slices.Contains(secretHeadings, normalHeading(heading)) {
		return true
	}
	words := wordsOf(heading)
	if len(words) == 0 || slices.Contains(measures, words[len(words)-1]) {
		return false
	}
	words = slices.DeleteFunc(words, innocent.MatchString)
	for at := 0; at+1 < len(words); at++ {
		if innocent.MatchString(words[at] + " " + words[at+1]) {
			words = slices.Delete(words, at, at+2)
		}
	}
	return slices.ContainsFunc(words, func(word string) bool { return slices.Contains(secretTokens, word) }) ||
		slices.ContainsFunc(secretWords, func(secret string) bool { return speakOf(words, normalHeading(secret)) })
}

// wordsOf returns the folded words of a heading: foo, bar and baz for fooBar_baz2.
func wordsOf(heading string) (words []string) {
	begin, before := -1, ' ' // begin is -1 between words
	add := func(end int) {
		if begin >= 0 {
			words = append(words, normalHeading(heading[begin:end]))
		}
		begin = -1
	}
	for at, r := range heading {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsMark(r):
			add(at)
		case unicode.IsUpper(r) && unicode.IsLower(before):
			add(at)
			begin = at
		case begin < 0:
			begin = at
		}
		before = r
	}
	add(len(heading))
	return words
}

// speakOf reports whether a secret is in one of the words, or consists of several of them, so that
// has_logo does not mean a haslo.
func speakOf(words []string, secret string) bool {
	for at, word := range words {
		if strings.HasSuffix(word, secret) || strings.Contains(word, secret) && !slices.Contains(shortSecrets, secret) {
			return true
		}
		for _, next := range words[at+1:] {
			if len(word) >= len(secret) {
				break
			}
			if word += next; word == secret || word == secret+"s" {
				return true
			}
		}
	}
	return false
}

// withoutSecrets returns a value without the members whose names isSecret reports, and with nil in
// place of the values that isHash reports, at any depth. It also reports whether there were any.
func withoutSecrets(value any) (any, bool) {
	found := false
	switch value := value.(type) {
	case map[string]any:
		for key, member := range value {
			if isSecret(key) {
				delete(value, key)
				found = true
				continue
			}
			kept, some := withoutSecrets(member)
			value[key], found = kept, found || some
		}
	case []any:
		for i, element := range value {
			kept, some := withoutSecrets(element)
			value[i], found = kept, found || some
		}
	case string: // a hash, or JSON inside of a text
		if isHash(value) {
			return nil, true
		}
		if begin := strings.TrimLeft(value, " \t\r\n"); begin == "" || begin[0] != '{' && begin[0] != '[' {
			return value, false
		}
		inner, err := jsonvalue.Decode([]byte(value))
		if err != nil {
			return value, false
		}
		if kept, some := withoutSecrets(inner); some {
			return string(jsonvalue.Append(nil, kept)), true
		}
	}
	return value, found
}

// statusWords are the words that other programs use for a status, as enumeration writes them.
var statusWords = func() map[string]userkit.Status {
	statuses := map[string]userkit.Status{}
	for status, words := range map[userkit.Status]string{
		userkit.StatusActive: "active enabled ok normal confirmed verified true yes password_expired recovery activated unblocked allowed",
		userkit.StatusDisabled: "disabled suspended blocked banned locked locked_out deprovisioned deactivated deleted archived revoked terminated closed " +
			"false no denied removed rejected cancelled canceled frozen barred",
		userkit.StatusInvited:  "invited staged provisioned pending pendingacceptance pending_acceptance pending_activation pending_verification unconfirmed unverified",
		userkit.StatusInactive: "inactive",
	} {
		for word := range strings.FieldsSeq(words) {
			statuses[word] = status
		}
	}
	return statuses
}()

// readStatus reads a status in the words of any program.
func readStatus(text string) (any, error) {
	if status, ok := statusWords[enumeration(text)]; ok {
		return string(status), nil
	}
	if status, ok := foreignStatuses[normalHeading(text)]; ok {
		return string(status), nil
	}
	return nil, userkit.NewError(userkit.CodeUnknownValue, "status", "%q is not one of invited, inactive, active and disabled, nor a word that other programs use for them", clip(text))
}

// readEnabled reads whether a user may log in.
func readEnabled(text string) (any, error) {
	if status, err := readStatus(text); err == nil {
		return status, nil
	}
	enabled, err := truth(text)
	if err != nil {
		return nil, err
	}
	if enabled == true {
		return string(userkit.StatusActive), nil
	}
	return string(userkit.StatusDisabled), nil
}

// readDisabled reads whether a user may not log in: from a truth value, or from the time since
// which this is so.
func (p *plan) readDisabled(c *cell) (any, error) {
	if _, isTime := c.value.(time.Time); isTime {
		return string(userkit.StatusDisabled), nil
	}
	disabled, err := truth(c.text)
	if err == nil && disabled == false {
		return string(userkit.StatusActive), nil
	}
	if err != nil {
		if zeroTime.MatchString(c.text) {
			return string(userkit.StatusActive), nil
		}
		status, _ := readStatus(c.text)
		if _, timeErr := p.time(timeField, c); timeErr != nil && status != string(userkit.StatusDisabled) {
			return nil, err
		}
	}
	return string(userkit.StatusDisabled), nil
}

// stricter returns the status that allows less.
func stricter(a, b string) string {
	order := []string{"", string(userkit.StatusActive), string(userkit.StatusInvited), string(userkit.StatusInactive), string(userkit.StatusDisabled)}
	if slices.Index(order, a) < slices.Index(order, b) {
		return b
	}
	return a
}

// countryNames are the ISO 3166 codes of countries by their folded names.
var countryNames = sync.OnceValue(func() map[string]string {
	names := map[string]string{}
	add := func(name, code string) {
		if name = normalHeading(name); name != "" && names[name] == "" {
			names[name] = code
		}
	}
	for code, list := range map[string]string{
		"US": "USA, U.S., U.S.A., United States of America, America", "GB": "UK, U.K., Great Britain, Britain, England, Scotland, Wales, Northern Ireland",
		"GR": "EL", "RU": "Russian Federation", "KR": "Korea, Republic of Korea, Korea (South), Korea (Republic of)", "KP": "North Korea, Korea (North), Democratic People's Republic of Korea",
		"CZ": "Czech Republic", "TR": "Turkey, Türkiye", "VN": "Viet Nam", "IR": "Iran, Islamic Republic of Iran", "SY": "Syrian Arab Republic", "LA": "Lao People's Democratic Republic",
		"MD": "Republic of Moldova", "MK": "Macedonia, North Macedonia", "BO": "Plurinational State of Bolivia", "VE": "Bolivarian Republic of Venezuela", "TZ": "United Republic of Tanzania",
		"CI": "Ivory Coast, Cote d'Ivoire", "CD": "Democratic Republic of the Congo, DR Congo, DRC", "CG": "Republic of the Congo, Congo", "CV": "Cape Verde", "SZ": "Swaziland",
		"MM": "Burma, Myanmar", "HK": "Hong Kong", "MO": "Macau, Macao", "TW": "Taiwan, Province of China, Republic of China", "CN": "People's Republic of China, PRC", "PS": "Palestine, State of Palestine",
		"NL": "Holland, The Netherlands", "AE": "UAE", "VA": "Vatican, Holy See", "BN": "Brunei Darussalam", "FM": "Federated States of Micronesia", "BY": "Republic of Belarus, Белоруссия",
		"BA": "Bosnia", "LC": "Saint Lucia", "KN": "Saint Kitts and Nevis", "VC": "Saint Vincent and the Grenadines", "TT": "Trinidad and Tobago", "AG": "Antigua and Barbuda", "ST": "Sao Tome and Principe",
	} {
		for name := range strings.SplitSeq(list, ", ") {
			add(name, code)
		}
	}
	var regions []language.Region
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			if region, err := language.ParseRegion(string([]rune{a, b})); err == nil && region.IsCountry() && region.Canonicalize() == region && region.String() == string([]rune{a, b}) {
				regions = append(regions, region)
				add(region.ISO3(), region.String())
			}
		}
	}
	for _, tag := range []language.Tag{
		language.English, language.German, language.French, language.Spanish, language.Italian, language.Portuguese, language.Dutch, language.Polish,
		language.Russian, language.Ukrainian, language.Turkish, language.Chinese, language.Japanese, language.Korean, language.Arabic,
		language.Swedish, language.Danish, language.Norwegian, language.Finnish, language.Czech, language.Hungarian, language.Romanian, language.Greek, language.Hebrew,
	} {
		namer := display.Regions(tag)
		for _, region := range regions {
			add(namer.Name(region), region.String())
		}
	}
	return names
})

// country returns the ISO 3166 code of a country, given its code or its name. It returns any other
// text unchanged, which the check then refuses.
func country(text string) string {
	trimmed := strings.TrimSpace(text)
	code := strings.ToUpper(trimmed)
	if len(code) == 2 && code != "UK" && code != "EL" {
		return code
	}
	if known, ok := countryNames()[normalHeading(trimmed)]; ok {
		return known
	}
	// ISO 3166 writes "Korea, Republic of", and others "Republic of Korea".
	if last, first, ok := strings.Cut(trimmed, ","); ok {
		if known, ok := countryNames()[normalHeading(strings.TrimSpace(first)+" "+last)]; ok {
			return known
		}
		if known, ok := countryNames()[normalHeading(last)]; ok {
			return known
		}
	}
	if rest, ok := strings.CutPrefix(strings.ToLower(trimmed), "the "); ok {
		if known, ok := countryNames()[normalHeading(rest)]; ok {
			return known
		}
	}
	for old, other := range map[string]string{"&": "and", " and ": " & ", "St. ": "Saint ", "Saint ": "St. "} {
		if known, ok := countryNames()[normalHeading(strings.ReplaceAll(trimmed, old, other))]; ok {
			return known
		}
	}
	return code
}

// listed returns the first of several names, in quotes.
func listed(names []string) string {
	const most = 40
	var text strings.Builder
	for i, name := range names {
		if i == most {
			text.WriteString(" and " + strconv.Itoa(len(names)-most) + " more")
			break
		}
		if i > 0 {
			text.WriteString(", ")
		}
		text.WriteString(strconv.Quote(clip(name)))
	}
	return text.String()
}

// knownFields lists the fields that a column can be.
func knownFields() string {
	var names []string
	for _, field := range userkit.UserFields() {
		if field.Settable() {
			names = append(names, field.Name)
		}
	}
	return strings.Join(names, ", ") + " and attributes.<name>"
}
