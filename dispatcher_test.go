package userkit

import (
	"context"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// careless is code of the host's that does whatever do does, and heeds no context.
type careless struct {
	Verifier
	do func()
}

func (c careless) SendMail(context.Context, Mail) error { c.do(); return nil }

func (c careless) Acknowledge(context.Context, Receipt, PurchaseFacts) error { c.do(); return nil }

func (c careless) CheckReceipt(context.Context, Receipt) (Verdict, bool) {
	c.do()
	return Valid(PurchaseFacts{}), true
}

// Code of the host's that asks a service outside may hang, panic or end its goroutine: whoever waits
// for it goes on, and does not take it to have succeeded.
func TestCarelessHostsAreGivenUp(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	for name, call := range map[string]func(ctx context.Context, host careless) error{
		"a mailer": func(ctx context.Context, host careless) error {
			o := options{logger: slog.New(slog.DiscardHandler), activation: ActivationPolicy{Mailer: host}}
			return (&manager{options: o}).sendMail(ctx, Mail{})
		},
		"an acknowledger": func(ctx context.Context, host careless) error {
			return tell(ctx, host, Receipt{}, PurchaseFacts{})
		},
		"a checker of receipts": func(ctx context.Context, host careless) error {
			verdict, decided := lookAt(ctx, host, Receipt{})
			require.True(t, decided)
			require.Equal(t, VerdictUndecided, verdict.Outcome)
			return verdict.Err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			err := call(ctx, careless{do: func() {
				cancel() // the time is over
				<-hold
			}})
			require.ErrorIs(t, err, context.Canceled)
			require.Error(t, call(t.Context(), careless{do: func() { panic("on fire") }}))
			require.Error(t, call(t.Context(), careless{do: runtime.Goexit}))
			require.NoError(t, tell(t.Context(), careless{do: func() {}}, Receipt{}, PurchaseFacts{}))
		})
	}
}

// A service that does its work slowly keeps no work of another waiting, and what becomes due
// meanwhile is done.
func TestServicesDoNotWaitForOneAnother(t *testing.T) {
	woken, slow := make(chan struct{}, 1), make(chan struct{})
	due := map[string][]string{"slow": {"slow"}, "quick": {"quick 1"}}
	var done []string // of quick
	d := &dispatcher[string]{
		now: time.Now, services: []string{"slow", "quick"}, lease: time.Hour, timeout: time.Second, workers: 2,
		interval: time.Hour, woken: woken,
		take: func(_ context.Context, services []string, _, _ time.Time) (taken []string, err error) {
			for _, service := range services {
				taken = append(taken, due[service]...)
				due[service] = nil
			}
			return taken, nil
		},
		service:  func(work *string) string { return map[bool]string{true: "slow", false: "quick"}[*work == "slow"] },
		panicked: func(context.Context, string, error) { t.Error("nothing panics") },
	}
	again := false
	d.do = func(_ context.Context, work string) (bool, error) {
		switch work {
		case "slow":
			<-slow
		case "quick 2":
			close(slow)
			fallthrough
		default:
			done = append(done, work)
		}
		return false, nil
	}
	take := d.take
	d.take = func(ctx context.Context, services []string, now, until time.Time) ([]string, error) {
		taken, err := take(ctx, services, now, until)
		if len(taken) == 0 && !again { // quick 1 is done, slow is not
			again = true
			due["quick"] = []string{"quick 2"}
			woken <- struct{}{}
		}
		return taken, err
	}
	require.NoError(t, d.run(t.Context()))
	require.Equal(t, []string{"quick 1", "quick 2"}, done)
}
