package userkit

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/secure/bidirule"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// The keys by which users and segments are told apart. They are not what a search
// compares with (see Fold): gmáil.com and gmail.com find one another in a search box,
// and are two domains all the same. A key of a text that cannot be written any more,
// since an earlier version took it, is still a key, so that what is there is found.
//
// Each key is the key of itself.

// LoginKey returns the form in which logins compare: that of the profile
// UsernameCaseMapped of PRECIS (RFC 8265), for each of the parts between spaces. Logins that differ
// in accents or in letters that look alike are different.
//
// For writers of stores.
func LoginKey(login string) string {
	key, err := loginKey(login)
	if err != nil {
		return foldCase(login)
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

// EmailKey returns the form in which email addresses compare: the local part with its
// case folded, and the domain as it is looked up, in ASCII (IDNA by UTS 46, not
// transitional). Addresses that differ in accents are different, and u@bücher.de is the same as
// u@xn--bcher-kva.de.
//
// For writers of stores.
func EmailKey(email string) string {
	at := strings.LastIndexByte(email, '@')
	if at < 0 {
		return foldCase(email)
	}
	domain, err := domainKey(email[at+1:])
	if err != nil {
		domain = foldCase(email[at+1:])
	}
	return foldCase(email[:at]) + "@" + domain
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
		return NewError(CodeTooLong, "email", "%d bytes before the @, at most %d", at, maxEmailLocal)
	}
	if length := len(email) - at - 1; length > maxEmailDomain {
		return NewError(CodeTooLong, "email", "%d bytes after the @, at most %d", length, maxEmailDomain)
	}
	domain, err := domainKey(email[at+1:])
	if err != nil {
		return NewError(CodeBadFormat, "email", "%q is not a domain", clip(email[at+1:]))
	}
	if len(domain) > maxEmailDomain {
		return NewError(CodeTooLong, "email", "%d bytes after the @ in ASCII, at most %d", len(domain), maxEmailDomain)
	}
	return nil
}

// checkKey checks that a key fits an index.
func checkKey(field, key string) error {
	if len(key) > SortKeyBytes {
		return NewError(CodeTooLong, field, "%d bytes as it compares, at most %d", len(key), SortKeyBytes)
	}
	return nil
}
