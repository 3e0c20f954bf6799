//go:build unix

package pgtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// cluster is a PostgreSQL data directory and the server that runs on it.
type cluster struct {
	binaries  string
	libraries string // where the programs find their shared libraries; "" leaves it to the system
	directory string
	port      int
	user      *syscall.Credential // nil: the user that runs the tests

	server *exec.Cmd
	exited chan struct{} // closed when the server is gone
	// lifeline keeps the watchdog waiting. It closes with this process, however
	// that ends, and then the watchdog ends the server and removes its files.
	lifeline io.Closer
	watchdog *exec.Cmd
}

// newCluster makes a data directory and starts a server on it. A durable one
// writes through to the disk; others are made for speed.
func newCluster(durable bool) (_ *cluster, err error) {
	first, err := pristine.get()
	if err != nil {
		return nil, err
	}
	c, err := newDirectory()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.remove()
		}
	}()
	copying := c.command("cp", "-R", first.data(), c.data())
	if output, err := copying.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cp: %w: %s", err, output)
	}
	// Another process may take the port between its choice and its use.
	for range 5 {
		if c.port, err = freePort(); err != nil {
			return nil, err
		}
		if err = c.configure(durable); err != nil {
			return nil, err
		}
		if err = c.start(); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// pristine has a data directory on which no server has run. All others of this process are
// copies of it, since initdb takes twenty times as long as a copy.
var pristine pristineCluster

type pristineCluster struct {
	mu   sync.Mutex
	made *cluster
}

func (p *pristineCluster) get() (*cluster, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made != nil {
		return p.made, nil
	}
	c, err := newDirectory()
	if err != nil {
		return nil, err
	}
	if err := c.initialise(); err != nil {
		c.remove()
		return nil, err
	}
	p.made = c
	return c, nil
}

// remove removes the directory, if there is one.
func (p *pristineCluster) remove() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made != nil {
		p.made.remove()
		p.made = nil
	}
}

// newDirectory makes the directory of a cluster, with a watchdog and without data.
func newDirectory() (_ *cluster, err error) {
	c := &cluster{}
	if c.binaries, c.libraries, err = findBinaries(os.Getenv(BinariesEnvironment)); err != nil {
		return nil, err
	}
	if c.user, err = serverUser(); err != nil {
		return nil, err
	}
	if c.directory, err = os.MkdirTemp("", "userkit-pgtest-"); err != nil {
		return nil, err
	}
	if err := c.startWatchdog(); err != nil {
		c.remove()
		return nil, err
	}
	if c.user != nil {
		if err := os.Chown(c.directory, int(c.user.Uid), int(c.user.Gid)); err != nil {
			c.remove()
			return nil, err
		}
	}
	return c, nil
}

// findBinaries returns the directory of initdb and postgres: the chosen one if
// any, else that of the PATH, else the newest of those where packages install
// them. A chosen directory may have its shared libraries beside it.
func findBinaries(chosen string) (binaries, libraries string, err error) {
	if chosen != "" {
		if !filepath.IsAbs(chosen) {
			return "", "", fmt.Errorf("%s is %q, which is not an absolute path", BinariesEnvironment, chosen)
		}
		if !isFile(filepath.Join(chosen, "initdb")) || !isFile(filepath.Join(chosen, "postgres")) {
			return "", "", fmt.Errorf("%s is %q, where initdb and postgres are not", BinariesEnvironment, chosen)
		}
		beside := filepath.Join(filepath.Dir(filepath.Clean(chosen)), "lib")
		if info, err := os.Stat(beside); err == nil && info.IsDir() {
			libraries = beside
		}
		return chosen, libraries, nil
	}
	var places []string
	if initdb, err := exec.LookPath("initdb"); err == nil {
		if resolved, err := filepath.EvalSymlinks(initdb); err == nil {
			places = append(places, filepath.Dir(resolved))
		}
		places = append(places, filepath.Dir(initdb))
	}
	var packaged []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql@*/bin"} {
		found, _ := filepath.Glob(pattern) // fails only on a bad pattern
		packaged = append(packaged, found...)
	}
	slices.SortStableFunc(packaged, func(a, b string) int { return versionOf(b) - versionOf(a) })
	places = append(places, packaged...)
	for _, place := range places {
		if isFile(filepath.Join(place, "initdb")) && isFile(filepath.Join(place, "postgres")) {
			return place, "", nil
		}
	}
	return "", "", fmt.Errorf("no initdb and postgres in the PATH or in %v; install PostgreSQL or set %s or %s", []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin"}, Environment, BinariesEnvironment)
}

// versionOf returns the number in a path such as /usr/lib/postgresql/15/bin.
func versionOf(path string) int {
	digits := strings.FieldsFunc(path, func(r rune) bool { return r < '0' || r > '9' })
	if len(digits) == 0 {
		return 0
	}
	number, err := strconv.Atoi(digits[len(digits)-1])
	if err != nil {
		return 0
	}
	return number
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// serverUser returns who runs the server: PostgreSQL refuses to run as root.
func serverUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(found.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(found.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("running as root, and there is neither a user postgres nor nobody to run the server")
}

// freePort returns a port of the loopback interface that nobody listens on.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func (c *cluster) data() string { return filepath.Join(c.directory, "data") }

func (c *cluster) dsn() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", c.port)
}

// program makes a command of one of the server's programs.
func (c *cluster) program(name string, args ...string) *exec.Cmd {
	return c.command(filepath.Join(c.binaries, name), args...)
}

// command makes a command that runs as the server's user and keeps its
// distance from signals to the tests' process group, such as Ctrl-C.
func (c *cluster) command(path string, args ...string) *exec.Cmd {
	command := exec.Command(path, args...)
	command.Dir = c.directory
	command.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	if c.libraries != "" {
		command.Env = append(command.Env, "LD_LIBRARY_PATH="+c.libraries)
	}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.user}
	return command
}

// initialise makes the data directory. Where the server knows ICU, the default
// collation is a linguistic one, so that a comparison that leans on the
// database's collation shows. Where the system knows C.UTF-8, all letters are
// letters, as in databases of hosts.
func (c *cluster) initialise() error {
	args := []string{"-D", c.data(), "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"}
	letters := append(slices.Clone(args), "--lc-ctype=C.UTF-8")
	linguistic := append(slices.Clone(letters), "--locale-provider=icu", "--icu-locale=en-US")
	for _, wanted := range [][]string{linguistic, letters} {
		if c.program("initdb", wanted...).Run() == nil {
			return nil
		}
		if err := os.RemoveAll(c.data()); err != nil {
			return err
		}
	}
	if output, err := c.program("initdb", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, output)
	}
	return nil
}

// configure writes the server's settings. The time zone is an odd one, so that
// a time that leans on the server's zone shows.
func (c *cluster) configure(durable bool) error {
	settings := fmt.Sprintf(`
listen_addresses = '127.0.0.1'
port = %d
unix_socket_directories = ''
max_connections = 200
shared_buffers = '128MB'
timezone = 'Asia/Kathmandu'
log_min_messages = warning
log_timezone = 'UTC'
`, c.port)
	if !durable {
		// Without the server's own upkeep, nothing that a test has not done itself
		// gathers statistics behind its back, holds the feed back, or keeps old
		// versions of rows alive.
		settings += "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_wal_size = '4GB'\nautovacuum = off\n"
	}
	path := filepath.Join(c.data(), "postgresql.auto.conf")
	return os.WriteFile(path, []byte(settings), 0o600)
}

// start starts the server and waits until it takes connections.
func (c *cluster) start() error {
	logPath := filepath.Join(c.directory, "log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the server has a handle of its own
	server := c.program("postgres", "-D", c.data())
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = server.Wait() // how it ended is in the log
		close(exited)
	}()
	c.server, c.exited = server, exited

	deadline := time.Now().Add(patience)
	for {
		if err = execute(c.dsn(), "SELECT 1"); err == nil {
			return nil
		}
		select {
		case <-exited:
			text, _ := os.ReadFile(logPath)
			return fmt.Errorf("the server did not start: %s", tail(text))
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server takes no connections: %w", err)
		}
	}
}

// tail returns the end of a log.
func tail(text []byte) []byte {
	const most = 2000
	if len(text) <= most {
		return text
	}
	return text[len(text)-most:]
}

// kill ends all processes of the server at once. The server's process is the
// leader of a group, and each of its children of a session of its own, so the
// children are asked of the process table before the leader dies.
func (c *cluster) kill() error {
	leader := c.server.Process.Pid
	if err := syscall.Kill(leader, syscall.SIGSTOP); err != nil { // no new children from here on
		return err
	}
	children, err := childrenOf(leader)
	if err != nil {
		return err
	}
	if err := syscall.Kill(leader, syscall.SIGKILL); err != nil {
		return err
	}
	for _, child := range children {
		if err := syscall.Kill(child, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	select {
	case <-c.exited:
	case <-time.After(patience):
		return errors.New("the server survives SIGKILL")
	}
	deadline := time.Now().Add(patience)
	for {
		running, err := anyRuns(children)
		if err != nil || !running {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("a process of the server survives SIGKILL")
		}
		time.Sleep(time.Millisecond)
	}
}

// process is a row of the process table.
type process struct {
	pid, parent int
	state       byte // as ps shows it; 'Z' has ended
}

// processes reads the process table, from /proc where there is one.
func processes() ([]process, error) {
	var table []process
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // fails only on a bad pattern
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		// pid (name) state parent …, where the name may hold anything.
		var row process
		name := bytes.LastIndexByte(text, ')')
		if _, err := fmt.Sscan(string(text), &row.pid); err != nil || name < 0 {
			continue
		}
		var state string
		if _, err := fmt.Sscan(string(text[name+1:]), &state, &row.parent); err == nil {
			row.state = state[0]
			table = append(table, row)
		}
	}
	if len(table) > 0 {
		return table, nil
	}
	text, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,stat=").Output()
	if err != nil {
		return nil, fmt.Errorf("ps: %w", err)
	}
	for line := range bytes.Lines(text) {
		var row process
		var state string
		if _, err := fmt.Sscan(string(line), &row.pid, &row.parent, &state); err == nil {
			row.state = state[0]
			table = append(table, row)
		}
	}
	return table, nil
}

// childrenOf lists the processes that a process has started.
func childrenOf(parent int) ([]int, error) {
	table, err := processes()
	if err != nil {
		return nil, err
	}
	var children []int
	for _, row := range table {
		if row.parent == parent {
			children = append(children, row.pid)
		}
	}
	return children, nil
}

// anyRuns reports whether any of some processes has not ended.
func anyRuns(pids []int) (bool, error) {
	table, err := processes()
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(table, func(row process) bool {
		return row.state != 'Z' && slices.Contains(pids, row.pid)
	}), nil
}

// startWatchdog starts a shell that waits for the end of this process, even if
// it is killed, and then ends the server and removes its files.
func (c *cluster) startWatchdog() error {
	const script = `
cat >/dev/null
if read -r pid <"$1/data/postmaster.pid" 2>/dev/null; then kill -QUIT "$pid" 2>/dev/null; fi
for i in 1 2 3 4 5 6 7 8 9 10; do
  rm -rf "$1" 2>/dev/null
  if [ ! -e "$1" ]; then exit 0; fi
  sleep 1
done`
	watchdog := exec.Command("/bin/sh", "-c", script, "sh", c.directory)
	watchdog.Dir = os.TempDir()
	watchdog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	lifeline, err := watchdog.StdinPipe()
	if err != nil {
		return err
	}
	if err := watchdog.Start(); err != nil {
		return err
	}
	c.lifeline, c.watchdog = lifeline, watchdog
	return nil
}

// remove ends the server and removes its files. It is called once.
func (c *cluster) remove() {
	if c.server != nil {
		_ = c.server.Process.Signal(syscall.SIGQUIT) // fails when the server is gone
		select {
		case <-c.exited:
		case <-time.After(patience):
			_ = c.server.Process.Kill()
		}
	}
	if c.lifeline == nil {
		_ = os.RemoveAll(c.directory)
		return
	}
	_ = c.lifeline.Close()
	_ = c.watchdog.Wait()
}
