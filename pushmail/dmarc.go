package pushmail

import (
	"bytes"
	"errors"
	"strings"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/emersion/go-msgauth/dmarc"
	"golang.org/x/net/publicsuffix"
)

// DMARC is what the domain of a mail's author says of it (RFC 7489), by its signatures alone:
// a domain that is aligned by SPF only does not pass.
type DMARC string

// The results of DMARC.
const (
	DMARCPass      DMARC = "pass"
	DMARCFail      DMARC = "fail"
	DMARCNone      DMARC = "none"      // the domain publishes no policy
	DMARCTempError DMARC = "temperror" // it could not be found out
	DMARCPermError DMARC = "permerror" // the policy cannot be read
)

// maxSignatures is how many signatures of a mail are verified.
const maxSignatures = 5

// checkDMARC verifies the signatures of a mail and holds them against its author.
func checkDMARC(raw []byte, author string, lookup func(string) ([]string, error)) DMARC {
	header, _, _ := readHeader(raw)
	from := header.FieldsByKey("From")
	at := strings.LastIndexByte(author, '@')
	if from.Len() != 1 || at < 0 { // several authors, or none: nobody is proven
		return DMARCFail
	}
	domain := strings.ToLower(strings.TrimSuffix(author[at+1:], "."))
	record, err := lookupPolicy(domain, lookup)
	switch {
	case errors.Is(err, dmarc.ErrNoPolicy):
		return DMARCNone
	case dmarc.IsTempFail(err):
		return DMARCTempError
	case err != nil:
		return DMARCPermError
	}
	verified, err := dkim.VerifyWithOptions(bytes.NewReader(raw), &dkim.VerifyOptions{LookupTXT: lookup, MaxVerifications: maxSignatures})
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) {
		return DMARCFail
	}
	result := DMARCFail
	for _, signature := range verified {
		if !aligned(signature.Domain, domain, record.DKIMAlignment == dmarc.AlignmentStrict) {
			continue
		}
		if signature.Err == nil {
			return DMARCPass
		}
		if dkim.IsTempFail(signature.Err) {
			result = DMARCTempError
		}
	}
	return result
}

// lookupPolicy finds the policy of a domain, or of the organisation that it belongs to.
func lookupPolicy(domain string, lookup func(string) ([]string, error)) (*dmarc.Record, error) {
	options := &dmarc.LookupOptions{LookupTXT: lookup}
	record, err := dmarc.LookupWithOptions(domain, options)
	if errors.Is(err, dmarc.ErrNoPolicy) {
		if organisation := organisationOf(domain); organisation != domain {
			return dmarc.LookupWithOptions(organisation, options)
		}
	}
	return record, err
}

func organisationOf(domain string) string {
	if organisation, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return organisation
	}
	return domain
}

func aligned(signer, author string, strict bool) bool {
	signer = strings.ToLower(strings.TrimSuffix(signer, "."))
	if strict {
		return signer == author
	}
	return organisationOf(signer) == organisationOf(author)
}
