package pushmail

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
)

// maxKeyText is how many bytes of the record of a key are read. A key of RSA of 8,192 bits
// needs a third of it, and what a longer one costs is for a stranger to choose.
const maxKeyText = 4096

// guardedResolver is a Resolver of the host's whose panics are errors and whose answers are
// not waited for any longer than the context says. Its errors are those of DNS, temporary
// ones where the resolver does not say.
type guardedResolver struct{ resolver Resolver }

func (r guardedResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	texts, err := resolve(ctx, name, r.resolver.LookupTXT)
	if strings.Contains(name, "._domainkey.") && slices.ContainsFunc(texts, func(text string) bool { return len(text) > maxKeyText }) {
		return nil, &net.DNSError{Err: "the record of a key is too long", Name: name, IsNotFound: true}
	}
	return texts, err
}

func (r guardedResolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	servers, err := resolve(ctx, name, r.resolver.LookupMX)
	return slices.DeleteFunc(servers, func(server *net.MX) bool { return server == nil }), err
}

func (r guardedResolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	return resolve(ctx, host, r.resolver.LookupIPAddr)
}

func (r guardedResolver) LookupAddr(ctx context.Context, address string) ([]string, error) {
	return resolve(ctx, address, r.resolver.LookupAddr)
}

// resolve asks a resolver.
func resolve[T any](ctx context.Context, name string, ask func(context.Context, string) (T, error)) (T, error) {
	found, err := askHost(ctx, func() (T, error) { return ask(ctx, name) })
	if err == nil {
		return found, nil
	}
	if known, ok := errors.AsType[*net.DNSError](err); ok {
		return found, known
	}
	return found, &net.DNSError{Err: err.Error(), Name: name, IsTemporary: true}
}
