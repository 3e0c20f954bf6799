package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/userkit/userkit"
)

// chapter begins a numbered chapter at a time of its own.
func (s *story) chapter(at time.Time, title string) {
	s.clock.set(at)
	s.count++
	fmt.Fprintf(s.out, "\n%2d. %s  %s\n", s.count, at.Format("Mon 15:04"), title)
}

// say prints one line of a chapter.
func (s *story) say(label, format string, args ...any) {
	fmt.Fprintf(s.out, "    %-10s  %s\n", label, fmt.Sprintf(format, args...))
}

// row prints one line of a table of reports.
func (s *story) row(at, node, counter, read, outcome, counts, used string) {
	fmt.Fprintf(s.out, "    %-5s  %-5s  %8s  %-8s  %-9s  %8s  %10s\n", at, node, counter, read, outcome, counts, used)
}

// refused prints that userkit refused a call, and until when. The story waits
// for this very code; any other outcome is a failure.
func (s *story) refused(label string, code userkit.Code, err error) error {
	refusal, ok := errors.AsType[*userkit.Error](err)
	switch {
	case err == nil:
		return fmt.Errorf("%s: waited for the error %s, and there was none", label, code)
	case !ok || refusal.Code != code:
		return fmt.Errorf("%s: waited for the error %s: %w", label, code, err)
	case refusal.Until.IsZero():
		s.say(label, "refused: %s", code)
	default:
		s.say(label, "refused until %s: %s", moment(refusal.Until), code)
	}
	return nil
}

const (
	megabyte = 1_000_000
	gigabyte = 1_000 * megabyte
)

// size writes a number of bytes for people.
func size(n int64) string {
	if n >= gigabyte {
		return fmt.Sprintf("%.1f GB", float64(n)/gigabyte)
	}
	return fmt.Sprintf("%d MB", n/megabyte)
}

// by returns a context whose changes are recorded as made by this actor.
func by(ctx context.Context, kind userkit.ActorKind, id string) context.Context {
	return userkit.WithActor(ctx, userkit.Actor{Kind: kind, ID: id})
}

func euros(whole int64) userkit.Money { return userkit.Money{Amount: whole * 100, Currency: "EUR"} }

func monday(hour, minute int) time.Time {
	return time.Date(2026, time.March, 2, hour, minute, 0, 0, time.UTC)
}

func tuesday(hour, minute int) time.Time { return monday(hour, minute).AddDate(0, 0, 1) }

func hour(t time.Time) string { return t.Format("15:04") }

func moment(t time.Time) string { return t.Format("Monday 2 January at 15:04 MST") }

func allowed(access userkit.Access) string {
	if access.Allowed {
		return "allowed"
	}
	return fmt.Sprintf("refused: %v", access.Reasons)
}

// clock is the story's own time.
type clock struct{ nanoseconds atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(0, c.nanoseconds.Load()).UTC() }

func (c *clock) set(t time.Time) { c.nanoseconds.Store(t.UnixNano()) }
