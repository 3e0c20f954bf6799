package userkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// notifierFunc is a notifier.
type notifierFunc func(ctx context.Context, n Notification) NotificationResult

func (f notifierFunc) Notify(ctx context.Context, n Notification) NotificationResult {
	return f(ctx, n)
}

func TestNotifiersTellNobodyThePushToken(t *testing.T) {
	const token = "a-secret-push-token"
	for name, notifier := range map[string]notifierFunc{
		"in an error": func(_ context.Context, n Notification) NotificationResult {
			return Refused(fmt.Errorf("no such token: %s, %w", n.PushToken, errors.New(n.PushToken)))
		},
		"in a panic": func(_ context.Context, n Notification) NotificationResult { panic("no such token: " + n.PushToken) },
		"in a long error": func(_ context.Context, n Notification) NotificationResult {
			return Later(errors.New(strings.Repeat("x", 1990)+n.PushToken), time.Time{})
		},
	} {
		result := notify(t.Context(), notifier, Notification{PushToken: token})
		require.Error(t, result.Err, name)
		for part := token; len(part) > 8; part = part[:len(part)-1] {
			require.NotContains(t, result.Err.Error(), part, name)
		}
	}
}

func TestNotifierThatHangsIsGivenUp(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	ctx, cancel := context.WithCancel(t.Context())
	result := notify(ctx, notifierFunc(func(context.Context, Notification) NotificationResult {
		cancel() // the time is over
		<-hold
		return Delivered()
	}), Notification{PushToken: "x"})
	require.Equal(t, NotificationLater, result.Outcome)
	require.ErrorIs(t, result.Err, context.Canceled)
}

func TestDeliveryIDsFollowFromMessageAndDevice(t *testing.T) {
	message, device := Message{ID: NewID[Message]()}, &Device{ID: NewID[Device](), Type: DeviceWeb}
	delivery := newDelivery(&message, device)
	require.Equal(t, delivery, newDelivery(&message, device))
	require.NotEqual(t, delivery.ID, newDelivery(&message, &Device{ID: NewID[Device]()}).ID)
	require.NotEqual(t, delivery.ID, newDelivery(&Message{ID: NewID[Message]()}, device).ID)
	require.Equal(t, message.ID[:6], delivery.ID[:6], "they are in the order of their messages")
	_, err := ParseID[Delivery](delivery.ID.String())
	require.NoError(t, err)
}

func TestDutyIsWoken(t *testing.T) {
	woken := make(chan struct{}, 1)
	woken <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	times := 0
	m := &manager{options: options{logger: slog.New(slog.DiscardHandler)}}
	m.repeat(ctx, duty{
		name:     "a test",
		interval: func(*manager) time.Duration { return 1 << 62 },
		do: func(*manager, context.Context) error {
			if times++; times == 2 {
				cancel()
			}
			return nil
		},
		wake: func(*manager) <-chan struct{} { return woken },
	})
	require.Equal(t, 2, times)
}

func TestWithNotifiersRefusesWhatIsWrong(t *testing.T) {
	works := notifierFunc(func(context.Context, Notification) NotificationResult { return Delivered() })
	for _, notifiers := range []map[DeviceType]Notifier{{DeviceIOS: nil}, {"fridge": works}} {
		o := defaultOptions()
		require.Equal(t, CodeInvalidOption, ErrorCode(WithNotifiers(notifiers)(&o)))
	}
	o := defaultOptions()
	require.NoError(t, WithNotifiers(map[DeviceType]Notifier{DeviceIOS: works, "": works})(&o))
	require.Same(t, o.notifiers[DeviceIOS], o.notifiers.of(DeviceIOS))
	require.Same(t, o.notifiers[""], o.notifiers.of(DeviceWeb))
}

func TestTheDetailOfADeliveryIsOneLineWithoutSecrets(t *testing.T) {
	secret := strings.Repeat("aB3-", 10)
	for said, kept := range map[string]string{
		"":                                                "",
		"apns: send: status 410 Unregistered":             "apns: send: status 410 Unregistered",
		" two\r\n lines\x00\xff of \u202eit\t":            "two lines of it",
		"no such token " + secret + " here":               "no such token … here",
		"no such token: \"" + secret + "\"":               "no such token: …",
		`Post "https://push.example/` + secret + `": EOF`: "Post … EOF",
		"messaging/registration-token-not-registered":     "messaging/registration-token-not-registered",
		"key " + strings.Repeat("0f", 16) + " is unknown": "key … is unknown",
		strings.Repeat("letters", 10):                     "…",
		strings.Repeat("wörter ", 50):                     strings.Repeat("wörter ", 28) + "wör…",
	} {
		require.Equal(t, kept, deliveryDetail(said))
	}
	require.Len(t, []rune(deliveryDetail(strings.Repeat("wörter ", 50))), MaxDeliveryDetail)
}
