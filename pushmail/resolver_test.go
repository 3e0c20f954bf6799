package pushmail

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// stuckResolver ends the context of its caller and then does not come back.
type stuckResolver struct {
	Resolver
	cancel  context.CancelFunc
	release chan struct{}
	texts   []string
}

func (r stuckResolver) LookupTXT(context.Context, string) ([]string, error) {
	if r.cancel != nil {
		r.cancel()
		<-r.release
	}
	return r.texts, nil
}

func TestNobodyWaitsForAResolverThatHangs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	defer close(release)
	_, err := guardedResolver{stuckResolver{cancel: cancel, release: release}}.LookupTXT(ctx, "example.com")
	var told *net.DNSError
	require.ErrorAs(t, err, &told)
	require.True(t, told.Temporary())
}

func TestTheRecordOfAKeyIsBounded(t *testing.T) {
	r := guardedResolver{stuckResolver{texts: []string{strings.Repeat("x", maxKeyText+1)}}}
	_, err := r.LookupTXT(t.Context(), "k._domainkey.example.com")
	require.Error(t, err)
	texts, err := r.LookupTXT(t.Context(), "example.com")
	require.NoError(t, err)
	require.Len(t, texts, 1)
}
