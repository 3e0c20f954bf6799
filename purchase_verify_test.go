package userkit

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStoreThatKnowsNothingAnyMoreIsMisconfigured(t *testing.T) {
	c := &witness{}
	says := func(n byte, unknown bool) { c.note(PurchaseID{15: n}, unknown, noon) }
	for n := range byte(4) {
		says(n, false)
	}
	for n := range byte(2) {
		says(n, true)
	}
	is, _ := c.misconfigured(noon)
	require.False(t, is, "half")
	says(2, true)
	is, alarm := c.misconfigured(noon)
	require.True(t, is)
	require.True(t, alarm)
	is, alarm = c.misconfigured(noon.Add(time.Minute))
	require.True(t, is)
	require.False(t, alarm, "once an hour")
	is, _ = c.misconfigured(noon.Add(answersFor + time.Second))
	require.False(t, is, "a day later nothing of it counts")
	for n := range byte(3) {
		says(n, false)
	}
	is, _ = c.misconfigured(noon)
	require.False(t, is, "the key is right again")
	for n := range 2 * maxAnswers {
		c.note(PurchaseID{14: byte(n), 13: byte(n >> 8)}, false, noon.Add(time.Duration(n)))
	}
	require.LessOrEqual(t, len(c.said), maxAnswers)
}

func TestSpellingsOfAToken(t *testing.T) {
	require.Equal(t, []string{"customer 7"}, spellings("customer 7"))
	require.Equal(t, []string{
		"550E8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000", "550E8400-E29B-41D4-A716-446655440000",
		"550e8400e29b41d4a716446655440000", "550E8400E29B41D4A716446655440000",
	}, spellings("550E8400-e29b-41d4-a716-446655440000"))
}

type endingVerifier struct{ Verifier }

func (endingVerifier) Verify(context.Context, Receipt) Verdict { runtime.Goexit(); return Verdict{} }

// A verifier that ends its goroutine has not said anything, and nobody waits for it.
func TestVerifiersMayEndTheirGoroutine(t *testing.T) {
	verdict := ask(t.Context(), endingVerifier{}, Receipt{})
	require.Equal(t, VerdictUndecided, verdict.Outcome)
}
