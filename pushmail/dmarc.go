package pushmail

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strings"

	"blitiri.com.ar/go/spf"
	"github.com/emersion/go-msgauth/dkim"
	"github.com/emersion/go-msgauth/dmarc"
	"golang.org/x/net/publicsuffix"
)

// DMARC is what the domain of a mail's author says of it (RFC 7489), by its signatures and,
// with Config.CheckSPF, by the address that it was sent from.
type DMARC string

// Resolver finds the records of DNS; a *net.Resolver does. An error that is no *net.DNSError, a
// panic, and an answer that does not come in time mean that nothing could be found out.
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

// The bounds of a mail whose author can be proven. To find what each signature is of takes
// the product of the fields of the mail and of those that a signature names.
const (
	maxSignatures = 5 // that are verified
	maxFields     = 1000
	maxSignature  = 4096 // bytes of a signature
)

// checkDMARC holds the signatures of a mail, and where it was sent from, against its author.
func (s *session) checkDMARC(ctx context.Context, raw []byte, author string) DMARC {
	lookup := func(name string) ([]string, error) { return s.server.config.Resolver.LookupTXT(ctx, name) }
	at := strings.LastIndexByte(author, '@')
	if at < 0 || !provable(raw) {
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

// onceFields are fields that a mail has once (RFC 5322, section 3.6, and RFC 2045). Of two,
// one would be signed and the other shown.
var onceFields = []string{"from", "subject", "message-id", "content-type", "content-transfer-encoding"}

// provable reports whether a mail has one author, and a header that all who read it
// understand alike: lines that are fields up to the empty one, within the bounds. What
// readHeader takes for the end of a header, or leaves out, the verifier of signatures reads.
func provable(raw []byte) bool {
	counts := map[string]int{}
	fields, size, length := 0, 0, 0 // length is that of the field
	signature := false
	for len(raw) > 0 {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		line, raw = bytes.TrimSuffix(line, []byte("\r")), rest
		if len(line) == 0 {
			break
		}
		if size += len(line) + len("\r\n"); size > maxHeader || bytes.IndexByte(line, '\r') >= 0 {
			return false
		}
		if line[0] != ' ' && line[0] != '\t' {
			if fields++; fields > maxFields || !isField(line) || bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From ")) {
				return false
			}
			text, _, _ := bytes.Cut(line, []byte(":"))
			name := strings.ToLower(string(bytes.TrimSpace(text)))
			if slices.Contains(onceFields, name) {
				counts[name]++
			}
			signature, length = name == "dkim-signature", 0
		}
		if length += len(line); fields == 0 || signature && length > maxSignature {
			return false
		}
	}
	for _, count := range counts {
		if count > 1 {
			return false
		}
	}
	return counts["from"] == 1
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
	// A sender with two '@' is of one domain here and may be of another one there.
	_, sentFor, _ := strings.Cut(sender, "@")
	if strings.Contains(sentFor, "@") || !aligned(sentFor, domain, record.SPFAlignment == dmarc.AlignmentStrict) {
		return DMARCFail // what costs no question
	}
	host, _, err := net.SplitHostPort(s.conn.Conn().RemoteAddr().String())
	client := net.ParseIP(host)
	if err != nil || client == nil {
		return DMARCFail
	}
	result, _ := spf.CheckHostWithSender(client, s.conn.Hostname(), sender, spf.WithContext(ctx), spf.WithResolver(s.server.config.Resolver))
	switch result {
	case spf.Pass:
		return DMARCPass
	case spf.TempError:
		return DMARCTempError
	}
	return DMARCFail
}

// lookupPolicy finds the policy of a domain, or of the organisation that it belongs to. Where a
// domain has several, none applies, nor does that of the organisation (RFC 7489, section 6.6.3).
func lookupPolicy(domain string, lookup func(string) ([]string, error)) (*dmarc.Record, error) {
	several := false
	options := &dmarc.LookupOptions{LookupTXT: func(name string) ([]string, error) {
		texts, err := lookup(name)
		texts = slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return !isPolicy(text) })
		if several = len(texts) > 1; several {
			return nil, err
		}
		return texts, err
	}}
	record, err := dmarc.LookupWithOptions(domain, options)
	if errors.Is(err, dmarc.ErrNoPolicy) && !several {
		if organisation := organisationOf(domain); organisation != domain {
			return dmarc.LookupWithOptions(organisation, options)
		}
	}
	return record, err
}

// isPolicy reports whether a text begins with the tag of this version of DMARC.
func isPolicy(text string) bool {
	tag, _, _ := strings.Cut(text, ";")
	name, version, _ := strings.Cut(tag, "=")
	return strings.TrimSpace(name) == "v" && strings.TrimSpace(version) == "DMARC1"
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
