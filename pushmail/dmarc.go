package pushmail

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"

	"blitiri.com.ar/go/spf"
	"github.com/emersion/go-msgauth/dkim"
	"github.com/emersion/go-msgauth/dmarc"
	"golang.org/x/net/publicsuffix"
)

// DMARC is what the domain of a mail's author says of it (RFC 7489), by its signatures and,
// with Config.CheckSPF, by the address that it was sent from.
type DMARC string

// Resolver finds the records of DNS; a *net.Resolver does.
type Resolver interface {
	// LookupTXT returns the texts of a name.
	LookupTXT(ctx context.Context, name string) ([]string, error)
	// LookupMX returns the mail servers of a domain.
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	// LookupIPAddr returns the addresses of a host.
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
	// LookupAddr returns the names of an address.
	LookupAddr(ctx context.Context, address string) (names []string, err error)
}

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

// checkDMARC holds the signatures of a mail, and where it was sent from, against its author.
func (s *session) checkDMARC(ctx context.Context, raw []byte, author string) DMARC {
	lookup := func(name string) ([]string, error) { return s.server.config.Resolver.LookupTXT(ctx, name) }
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
	signed := checkSignatures(raw, domain, record, lookup)
	if signed == DMARCPass || !s.server.config.CheckSPF {
		return signed
	}
	if sent := s.checkSPF(ctx, domain, record); sent != DMARCFail {
		return sent
	}
	return signed
}

// checkSignatures verifies the signatures of a mail and holds them against the domain of its
// author.
func checkSignatures(raw []byte, domain string, record *dmarc.Record, lookup func(string) ([]string, error)) DMARC {
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

// checkSPF asks whether the client may send for the domain of the envelope's sender, where
// that is the author's. Of a mail without a sender it is the name that the client gave
// itself (RFC 7208, section 2.4).
func (s *session) checkSPF(ctx context.Context, domain string, record *dmarc.Record) DMARC {
	sender := s.from
	if sender == "" {
		sender = "postmaster@" + s.conn.Hostname()
	}
	at := strings.LastIndexByte(sender, '@')
	if !aligned(sender[at+1:], domain, record.SPFAlignment == dmarc.AlignmentStrict) {
		return DMARCFail // what costs no question
	}
	host, _, err := net.SplitHostPort(s.conn.Conn().RemoteAddr().String())
	if err != nil {
		return DMARCFail
	}
	result, _ := spf.CheckHostWithSender(net.ParseIP(host), s.conn.Hostname(), sender, spf.WithContext(ctx), spf.WithResolver(s.server.config.Resolver))
	switch result {
	case spf.Pass:
		return DMARCPass
	case spf.TempError:
		return DMARCTempError
	}
	return DMARCFail
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
