package pushmail

import (
	"context"
	"fmt"
)

// askHost calls code of the host's, which may panic, end its goroutine, or not come back: nobody
// waits for it any longer than the context says.
func askHost[T any](ctx context.Context, ask func() (T, error)) (T, error) {
	type reply struct {
		found T
		err   error
	}
	replies := make(chan reply, 1)
	go func() {
		var answer reply
		returned := false
		defer func() { // also when it ended the goroutine
			if !returned {
				answer = reply{err: fmt.Errorf("pushmail: the host's code panicked: %v", recover())}
			}
			replies <- answer
		}()
		answer.found, answer.err = ask()
		returned = true
	}()
	select {
	case answer := <-replies:
		return answer.found, answer.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
