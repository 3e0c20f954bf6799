// Package hostcall calls code of the host, which may panic, end its goroutine, or not come back.
package hostcall

import (
	"context"
	"fmt"
	"runtime/debug"
)

// PanicError is a panic of the host's code, or the end of the goroutine that it ran on.
type PanicError struct{ Err error }

func (e *PanicError) Error() string { return e.Err.Error() }

// Panicked returns the error that stands for what was recovered from a panic.
func Panicked(reason any) error { return fmt.Errorf("panic: %v\n%s", reason, debug.Stack()) }

// Ask calls code of the host on a goroutine of its own, and waits for it as long as the context
// says. If it panics, ends the goroutine or does not return in time, Ask returns what failed makes
// of the error: a *PanicError, or that of the context.
func Ask[T any](ctx context.Context, call func() T, failed func(error) T) T {
	return Start(ctx, call, failed)()
}

// Start is Ask without the waiting: it returns at once, and the function that it returns waits for
// the answer. That function is called once at most.
func Start[T any](ctx context.Context, call func() T, failed func(error) T) (wait func() T) {
	answers := make(chan T, 1)
	go func() {
		var answer T
		returned := false
		defer func() { // also when it ended the goroutine
			if !returned {
				answer = failed(&PanicError{Err: Panicked(recover())})
			}
			answers <- answer
		}()
		answer = call()
		returned = true
	}()
	return func() T {
		select {
		case answer := <-answers:
			return answer
		case <-ctx.Done():
			return failed(ctx.Err())
		}
	}
}
