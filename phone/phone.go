// Package phone reads telephone numbers as people write them, by the numbering plans of
// all countries: with or without the country code, with the prefixes that are dialled at home or
// abroad, and with any signs between the digits.
//
//	parser, err := phone.Parser("BY")
//	…
//	users, err := userkit.New(store, userkit.WithPhoneParser(parser))
//
// It is a separate package because the numbering plans, which are those of Google's libphonenumber
// in github.com/nyaruka/phonenumbers, add some megabytes to a program, change several times a year,
// and depend on protocol buffers. A host that accepts only numbers with their country codes does
// not need it.
package phone

import (
	"errors"
	"fmt"

	"github.com/nyaruka/phonenumbers"

	"github.com/userkit/userkit"
)

// Parser returns a parser of numbers that were written in a region, a country by its
// ISO 3166-1 alpha-2 code such as BY: (29) 123-45-67 and 8 029 123-45-67 are +375291234567
// there. Numbers with a country code may be of any country. With an empty region every
// number needs its country code. The parser refuses numbers that are too short or too long for the
// numbering plan, and numbers with an extension, which E.164 cannot represent. It does not check
// whether a number is assigned. Parser returns an error for a region whose numbering plan is not
// known.
func Parser(region string) (userkit.PhoneParser, error) {
	if region != "" && !phonenumbers.GetSupportedRegions()[region] {
		return nil, fmt.Errorf("phone: no region %q", region)
	}
	return func(text string) (string, error) {
		number, err := phonenumbers.Parse(text, region)
		switch {
		case errors.Is(err, phonenumbers.ErrInvalidCountryCode) && region == "":
			return "", errors.New("it has no country code, such as +375")
		case errors.Is(err, phonenumbers.ErrInvalidCountryCode):
			return "", errors.New("no country has its country code")
		case errors.Is(err, phonenumbers.ErrTooShortNSN):
			return "", errors.New("it is too short")
		case err != nil:
			return "", errors.New("it is not written like one")
		case number.GetExtension() != "":
			return "", errors.New("it has an extension")
		}
		switch phonenumbers.IsPossibleNumberWithReason(number) {
		case phonenumbers.IS_POSSIBLE:
			return phonenumbers.Format(number, phonenumbers.E164), nil
		case phonenumbers.TOO_SHORT, phonenumbers.IS_POSSIBLE_LOCAL_ONLY:
			return "", errors.New("it is too short for its country")
		case phonenumbers.TOO_LONG:
			return "", errors.New("it is too long for its country")
		default:
			return "", errors.New("its country has no numbers of this length")
		}
	}, nil
}
