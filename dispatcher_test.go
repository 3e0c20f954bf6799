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

func (c careless) ReadNotification(context.Context, StoreNotification) (NotificationContent, error) {
	c.do()
	return NotificationContent{}, nil
}

func (c careless) Authorize(context.Context, AuthorizationRequest) (Authorization, error) {
	c.do()
	return Authorization{Allowed: true}, nil
}

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
		"a reader of notifications": func(ctx context.Context, host careless) error {
			o := options{logger: slog.New(slog.DiscardHandler)}
			_, err := (&manager{options: o}).readNotification(ctx, host, StoreNotification{})
			return err
		},
		"an authorizer": func(ctx context.Context, host careless) error {
			m := &manager{options: options{logger: slog.New(slog.DiscardHandler), authorizer: host, authorizing: make(chan struct{}, 1)}}
			_, err := m.askAuthorizer(ctx, AuthorizationRequest{})
			return err
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

// bounded notes whether it was given a time to answer in.
type bounded struct {
	careless
	*testing.T
}

func (b bounded) check(ctx context.Context) {
	_, is := ctx.Deadline()
	require.True(b, is)
}

func (b bounded) SendMail(ctx context.Context, _ Mail) error { b.check(ctx); return nil }

func (b bounded) ReadNotification(ctx context.Context, _ StoreNotification) (NotificationContent, error) {
	b.check(ctx)
	return NotificationContent{}, nil
}

func (b bounded) CheckReceipt(ctx context.Context, _ Receipt) (Verdict, bool) {
	b.check(ctx)
	return Verdict{}, true
}

func (b bounded) Authorize(ctx context.Context, _ AuthorizationRequest) (Authorization, error) {
	b.check(ctx)
	return Authorization{}, nil
}

// A caller whose context has no end does not wait without end.
func TestCallsToTheHostHaveATimeOfTheirOwn(t *testing.T) {
	host := bounded{T: t}
	m := &manager{options: options{logger: slog.New(slog.DiscardHandler), authorizer: host, activation: ActivationPolicy{Mailer: host}, authorizing: make(chan struct{}, 1)}}
	ctx := context.Background()
	require.NoError(t, m.sendMail(ctx, Mail{}))
	_, err := m.readNotification(ctx, host, StoreNotification{})
	require.NoError(t, err)
	_, err = m.askAuthorizer(ctx, AuthorizationRequest{})
	require.NoError(t, err)
	_, decided := lookAt(ctx, host, Receipt{})
	require.True(t, decided)
}

// Work waits for nothing longer than its lease allows it to.
func TestWorkEndsWithinItsLease(t *testing.T) {
	now := time.Unix(1e9, 0)
	var waits []time.Duration
	clock := dutyClock{own: func() time.Time { return now.Add(time.Hour) }, ahead: time.Hour}
	d := &dispatcher[string]{timeout: time.Minute, do: func(_ context.Context, _ dutyClock, _ string, patience time.Duration) (bool, error) {
		waits = append(waits, patience)
		return false, nil
	}}
	for _, left := range []time.Duration{3 * time.Minute, 61 * time.Second, time.Minute, time.Second, -time.Hour} {
		d.doOne(t.Context(), &line[string]{}, leased[string]{"work", now.Add(left), clock})
	}
	require.Equal(t, []time.Duration{2 * time.Minute, time.Second}, waits)
}

// A service that does its work slowly keeps no work of another waiting, and what becomes due
// meanwhile is done.
func TestServicesDoNotWaitForOneAnother(t *testing.T) {
	woken, slow := make(chan struct{}, 1), make(chan struct{})
	due := map[string][]string{"slow": {"slow"}, "quick": {"quick 1"}}
	var done []string // of quick
	d := &dispatcher[string]{
		clock:    func(context.Context) (dutyClock, error) { return dutyClock{own: time.Now}, nil },
		services: []string{"slow", "quick"}, lease: time.Hour, timeout: time.Second, workers: 2,
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
	d.do = func(_ context.Context, _ dutyClock, work string, _ time.Duration) (bool, error) {
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
