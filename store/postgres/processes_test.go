package postgres_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// orderVariable is the environment variable that makes the test binary a process that
// does a task, as its order says, and runs no tests.
const orderVariable = "USERKIT_TEST_ORDER"

// order is what a process is to do.
type order struct {
	Task    string    // one of tasks
	Process string    // its name, which it tells with every question
	DSN     string    // of the database
	Server  string    // the address of the test's server
	Now     time.Time // its clock stands still, so no lease ends because a machine is slow

	Request userkit.BulkRequest `json:",omitzero"` // of the task "send"
	Token   userkit.BulkToken   `json:",omitempty"`
}

// tasks are what a process can do; each returns what it did, for the test.
var tasks = map[string]func(order) (any, error){}

// obey is the main function of such a process. It gives the exit code.
func obey(text string) int {
	// The end of the input is the end of the test's process, even of a killed one.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(2)
	}()
	var given order
	var done any
	err := json.Unmarshal([]byte(text), &given)
	if err == nil {
		done, err = tasks[given.Task](given)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(done)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, given.Process+":", err)
		return 1
	}
	return 0
}

// meeting is where several wait for each other.
type meeting struct {
	mu      sync.Mutex
	missing int
	all     chan struct{} // closed when none is missing
}

func newMeeting(parties int) *meeting {
	return &meeting{missing: parties, all: make(chan struct{})}
}

func (m *meeting) arrive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.missing--; m.missing == 0 {
		close(m.all)
	}
}

// process is a process that the test has started.
type process struct {
	name   string
	cmd    *exec.Cmd
	report userkit.VerificationReport
	err    error
	ended  chan struct{} // closed when report and err are there
}

// start starts a process that ends with the test.
func start(t *testing.T, given order) *process {
	t.Helper()
	text, err := json.Marshal(given)
	require.NoError(t, err)
	var output, complaints bytes.Buffer
	p := &process{name: given.Process, cmd: exec.Command(os.Args[0]), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), orderVariable+"="+string(text))
	p.cmd.Stdout, p.cmd.Stderr = &output, &complaints
	_, err = p.cmd.StdinPipe() // open as long as this process lives
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
		if p.err == nil {
			p.err = json.Unmarshal(output.Bytes(), &p.report)
		}
		if p.err != nil {
			p.err = fmt.Errorf("%s: %w\n%s", p.name, p.err, complaints.String())
		}
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // fails when it has ended
		<-p.ended
	})
	return p
}

// await waits until processes have ended, and demands that they succeed, all but the
// doomed ones. It does not wait for one that waits for another that has failed.
func await(t *testing.T, doomed *process, processes ...*process) {
	t.Helper()
	ended := make(chan *process, len(processes))
	for _, p := range processes {
		go func() {
			<-p.ended
			ended <- p
		}()
	}
	for range processes {
		if p := <-ended; p != doomed {
			require.NoError(t, p.err)
		}
	}
}
