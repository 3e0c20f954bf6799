package pushmail

import (
	"context"
	"errors"
	"strings"

	"github.com/userkit/userkit/internal/hostcall"
)

// askHost calls code of the host's, which may panic, end its goroutine, or not come back: nobody
// waits for it any longer than the context says.
func askHost[T any](ctx context.Context, ask func() (T, error)) (T, error) {
	type reply struct {
		found T
		err   error
	}
	answer := hostcall.Ask(ctx, func() (r reply) {
		r.found, r.err = ask()
		return r
	}, func(err error) reply {
		if _, panicked := errors.AsType[*hostcall.PanicError](err); panicked {
			what, _, _ := strings.Cut(err.Error(), "\n") // without the stack, since a mail may tell it
			err = errors.New("pushmail: the host's code failed: " + what)
		}
		return reply{err: err}
	})
	return answer.found, answer.err
}
