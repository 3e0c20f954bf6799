package pushmail_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit/pushmail"
)

// The author and the text that are shown are those that the signature is of: a header that
// the verifier of signatures would read on in proves nothing.
func TestSignatureIsOfTheHeaderThatIsRead(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	dns := resolver(func(domain string) ([]string, error) {
		switch domain {
		case "_dmarc.example.com":
			return []string{"v=DMARC1; p=reject"}, nil
		case "k._domainkey.example.com":
			return []string{"v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)}, nil
		}
		return nil, errNoRecord
	})
	var out bytes.Buffer
	require.NoError(t, dkim.Sign(&out, strings.NewReader(letter), &dkim.SignOptions{Domain: "example.com", Selector: "k", Signer: private, HeaderKeys: []string{"From", "Subject"}}))
	signed := out.String()
	const forged = "From: The boss <boss@example.com>\r\n"
	for name, mail := range map[string]string{
		"a line that is no field": forged + "Pay the attached bill at once\r\n" + signed,
		"too long to be read":     forged + strings.Repeat("X-Pad: "+strings.Repeat("a", 900)+"\r\n", 300) + signed,
		"a name with a space":     forged + "From : x\r\n" + signed,
		"a line of a mailbox":     "From x y\r\n" + signed,
		"a carriage return":       forged + "\r\r\n" + signed,
		"two subjects":            "Subject: Pay the bill\r\n" + signed,
		"too many fields":         strings.Repeat("X: y\r\n", 2000) + signed,
		"too long a signature":    strings.Replace(signed, "h=", "h="+strings.Repeat("a:", 4000), 1),
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(c *pushmail.Config) { c.CheckDMARC, c.Resolver = true, dns })
			require.NoError(t, s.send(t, "bob@example.com", mail, s.address))
			require.Equal(t, 1, s.keeper.count())
			for _, kept := range s.keeper.kept {
				require.Equal(t, pushmail.DMARCFail, kept.DMARC)
			}
		})
	}
}

// hostileResolver does what code of the host's may do.
type hostileResolver struct {
	resolver
	do func(ctx context.Context, name string) error
}

func (r hostileResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if err := r.do(ctx, name); err != nil {
		return nil, err
	}
	return r.resolver.LookupTXT(ctx, name)
}

func (r hostileResolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	return []*net.MX{nil}, r.do(ctx, name)
}

func TestResolverMayPanic(t *testing.T) {
	record := func(domain string) ([]string, error) {
		switch domain {
		case "_dmarc.example.com":
			return []string{"v=DMARC1; p=reject"}, nil
		case "example.com":
			return []string{"v=spf1 mx -all"}, nil
		}
		return nil, errNoRecord
	}
	const signature = "DKIM-Signature: v=1; a=ed25519-sha256; d=example.com; s=k; h=from; bh=AAAA; b=AAAA\r\n"
	mail := signature + signature + letter
	for name, do := range map[string]func(context.Context, string) error{
		"panics for a key": func(_ context.Context, name string) error {
			if strings.Contains(name, "_domainkey") {
				panic("no keys")
			}
			return nil
		},
		"panics":        func(context.Context, string) error { panic("no names") },
		"a wrapped one": func(context.Context, string) error { return fmt.Errorf("asking: %w", &net.DNSError{IsTemporary: true}) },
		"its own":       func(context.Context, string) error { return errors.New("out of sockets") },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(c *pushmail.Config) {
				c.CheckDMARC, c.CheckSPF, c.Resolver = true, true, hostileResolver{record, do}
			})
			require.NoError(t, s.send(t, "bob@example.com", mail, s.address))
			require.Equal(t, 1, s.keeper.count())
			for _, kept := range s.keeper.kept {
				require.Equal(t, pushmail.DMARCTempError, kept.DMARC)
			}
		})
	}
}
