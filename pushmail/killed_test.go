package pushmail_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/pgtest"
	"github.com/userkit/userkit/pushmail"
	"github.com/userkit/userkit/store/postgres"
)

// receiverVariable is the environment variable that makes the test binary a process that
// receives mails, as its order says, and runs no tests.
const receiverVariable = "USERKIT_TEST_RECEIVER"

// receiverOrder is what such a process is to do.
type receiverOrder struct {
	DSN    string // of the database
	Server string // of the test, which is told of each mail and may kill the process
}

func TestMain(m *testing.M) {
	if order := os.Getenv(receiverVariable); order != "" {
		if err := receive(order); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	pgtest.Main(m)
}

// databases have the schema.
var databases = pgtest.NewTemplate(func(ctx context.Context, dsn string) error {
	store, err := postgres.Open(ctx, dsn)
	if err != nil {
		return err
	}
	defer store.Close()
	return store.Migrate(ctx)
})

// receive is the main function of such a process. It prints where it listens, and ends with
// its input, which is that of the test's process.
func receive(text string) error {
	var order receiverOrder
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		return err
	}
	ctx := context.Background()
	store, err := postgres.Open(ctx, order.DSN)
	if err != nil {
		return err
	}
	manager, err := userkit.New(store)
	if err != nil {
		return err
	}
	tell := func(where string) error {
		answer, err := http.Get(order.Server + "/" + where)
		if err != nil {
			return err
		}
		return answer.Body.Close()
	}
	keep := pushmail.ToMessages(manager)
	server, err := pushmail.NewServer(pushmail.Config{
		Users: manager, Hostname: "push.example.org",
		Deliver: func(ctx context.Context, delivery pushmail.Delivery) error {
			if err := tell("accepted"); err != nil {
				return err
			}
			if err := keep(ctx, delivery); err != nil {
				return err
			}
			return tell("kept")
		},
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println(listener.Addr())
	return server.Serve(listener)
}

// receiver is a process that receives mails.
type receiver struct {
	cmd *exec.Cmd
	at  string // where it listens
}

func startReceiver(t *testing.T, order receiverOrder) *receiver {
	t.Helper()
	text, err := json.Marshal(order)
	require.NoError(t, err)
	r := &receiver{cmd: exec.Command(os.Args[0])}
	r.cmd.Env = append(os.Environ(), receiverVariable+"="+string(text))
	var complaints bytes.Buffer
	r.cmd.Stderr = &complaints
	_, err = r.cmd.StdinPipe() // open as long as this process lives
	require.NoError(t, err)
	output, err := r.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, r.cmd.Start())
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill() // fails when it has ended
		_ = r.cmd.Wait()
	})
	_, err = fmt.Fscanln(output, &r.at)
	require.NoError(t, err, "%s", &complaints)
	return r
}

// The senders of mails: swaks, which tools/prepare installs, and a client of ours, which is
// there always. They return an error unless the server says that it has taken the mail.
func senders(t *testing.T) map[string]func(at, to, mail string) error {
	all := map[string]func(at, to, mail string) error{
		"go-smtp": func(at, to, mail string) error {
			return (&stand{at: at}).send(t, "bob@example.com", mail, to)
		},
	}
	swaks, err := exec.LookPath("swaks")
	if err != nil {
		t.Log("swaks is not on this machine, so go-smtp is the only sender; tools/prepare installs it")
		return all
	}
	all["swaks"] = func(at, to, mail string) error {
		output, err := exec.CommandContext(t.Context(), swaks, "--server", at, "--helo", "client.example.com", "--from", "bob@example.com", "--to", to,
			"--data", mail, "--suppress-data").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, output)
		}
		if !bytes.Contains(output, []byte("<-  250 2.0.0 OK")) {
			return fmt.Errorf("swaks was told something else:\n%s", output)
		}
		return nil
	}
	return all
}

// The process that receives a mail is killed after it has the whole mail and before it has
// kept it, while it keeps it, or after it has kept it and before it says so. The sender is
// never told that a mail was taken that is not there, and sending it again makes it one.
func TestAKilledReceiverHasNotSaidThatAMailIsTaken(t *testing.T) {
	for name, send := range senders(t) {
		t.Run(name, func(t *testing.T) {
			dsn := databases.Create(t)
			store, err := postgres.Open(t.Context(), dsn)
			require.NoError(t, err)
			defer store.Close()
			manager, err := userkit.New(store, userkit.WithPushMail(userkit.PushMailPolicy{Domain: "push.example.org"}))
			require.NoError(t, err)
			defer manager.Close(context.Background())
			for _, when := range []string{"accepted", "while it is kept", "kept"} {
				t.Run(when, func(t *testing.T) {
					ada, err := manager.CreateUser(t.Context(), userkit.NewUser{Login: "ada " + when})
					require.NoError(t, err)
					pushMail, err := manager.GeneratePushMail(t.Context(), ada.ID)
					require.NoError(t, err)
					kept := func() int {
						page, err := manager.Messages(t.Context(), userkit.MessageQuery{MessageFilter: userkit.MessageFilter{UserID: ada.ID}})
						require.NoError(t, err)
						return len(page.Items)
					}

					var victim atomic.Pointer[receiver]
					var killed atomic.Bool
					server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
						at := strings.TrimPrefix(r.URL.Path, "/")
						kill := func() {
							if err := victim.Load().cmd.Process.Kill(); err != nil {
								t.Error(err)
							}
							killed.Store(true)
						}
						switch {
						case killed.Load():
						case at == when:
							kill()
							<-r.Context().Done() // the process has ended, and goes no further
						case when == "while it is kept" && at == "accepted":
							defer kill() // it goes on, as far as it comes
						}
					}))
					defer server.Close()
					first := startReceiver(t, receiverOrder{DSN: dsn, Server: server.URL})
					victim.Store(first)
					told := send(first.at, pushMail.Address, letter)
					_ = first.cmd.Wait() // that it was killed is no error here
					require.True(t, killed.Load())
					switch when {
					case "accepted":
						require.Error(t, told)
						require.Zero(t, kept())
					case "kept":
						require.Error(t, told)
						require.Equal(t, 1, kept())
					default:
						require.True(t, told != nil || kept() == 1, "the sender was told 250, and the mail is not there")
					}

					heir := startReceiver(t, receiverOrder{DSN: dsn, Server: server.URL})
					require.NoError(t, send(heir.at, pushMail.Address, letter))
					require.Equal(t, 1, kept())
				})
			}
		})
	}
}
