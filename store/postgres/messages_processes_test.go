//go:build !race

package postgres_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// segmentVariable is the environment variable that says how many users get the message.
const segmentVariable = "USERKIT_TEST_SEGMENT"

// sentAt is when the processes send and deliver, by their clocks.
var sentAt = time.Date(2026, time.March, 2, 8, 0, 0, 0, time.UTC)

func init() { tasks["send"], tasks["deliver"] = order.send, order.deliver }

// messenger returns the manager of a process that sends or delivers.
func (o order) messenger(ctx context.Context) (userkit.Manager, func() error, error) {
	store, err := postgres.Open(ctx, o.DSN, postgres.WithPoolSize(8))
	if err != nil {
		return nil, nil, err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 20}}
	manager, err := userkit.New(store, userkit.WithClock(func() time.Time { return o.Now }),
		userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{"": &pusher{o, client}}))
	return manager, store.Close, err
}

// send sends the message of the order to its users, and tells where it stands before each
// chunk.
func (o order) send() (any, error) {
	ctx := context.Background()
	manager, closeStore, err := o.messenger(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = closeStore() }() // the process ends
	defer manager.Close(ctx)
	return manager.ExecuteBulk(ctx, o.Request, o.Token, func(progress userkit.BulkProgress) error {
		return o.tell(http.DefaultClient, "/progress", url.Values{"token": {string(progress.Token)}})
	})
}

// deliver delivers until the test's server says that nothing comes any more.
func (o order) deliver() (any, error) {
	ctx := context.Background()
	manager, closeStore, err := o.messenger(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = closeStore() }()
	defer manager.Close(ctx)
	for {
		// What is committed before the question is found after it.
		last := o.tell(http.DefaultClient, "/more", nil) != nil
		for {
			report, err := manager.DeliverDueMessages(ctx)
			if err != nil {
				return nil, err
			}
			if report == (userkit.DeliveryReport{}) {
				break
			}
		}
		if last {
			return struct{}{}, nil
		}
	}
}

// tell posts to the test's server, and returns an error unless that is content.
func (o order) tell(client *http.Client, path string, form url.Values) error {
	if form == nil {
		form = url.Values{}
	}
	form.Set("process", o.Process)
	answer, err := client.PostForm(o.Server+path, form)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body) // so that the connection is used again
	_ = answer.Body.Close()
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", answer.Status)
	}
	return err
}

// pusher is the notifier of a process.
type pusher struct {
	order  order
	client *http.Client
}

func (p *pusher) Notify(_ context.Context, n userkit.Notification) userkit.NotificationResult {
	if err := p.order.tell(p.client, "/notify", url.Values{"token": {n.PushToken}, "collapse": {n.CollapseID}}); err != nil {
		return userkit.Later(err, time.Time{})
	}
	return userkit.Delivered()
}

// post is the push service of the devices, and where the processes tell how far they are. It
// decides which process is killed when.
type post struct {
	address string

	mu       sync.Mutex
	devices  map[string]map[string]int // how often each was told, by push token and collapse id
	notified map[string]int            // by process
	progress map[string]int            // by process
	token    userkit.BulkToken         // the newest
	moved    chan struct{}             // closed when there is news for those that deliver
	finished bool                      // nothing is sent any more

	doomed map[string]func() // what kills each, called once
	after  int               // notifications that a deliverer has before
	freed  chan struct{}     // closed when no deliverer is doomed any more
}

func openPost(t *testing.T) *post {
	p := &post{
		devices: map[string]map[string]int{}, notified: map[string]int{}, progress: map[string]int{}, moved: make(chan struct{}),
		doomed: map[string]func(){}, freed: make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/notify", p.notify)
	mux.HandleFunc("/progress", p.note)
	mux.HandleFunc("/more", p.more)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.address = server.URL
	return p
}

// notify tells a device. The answers to a process that is to be killed are held back from
// some number on: these devices were told, and nobody knows.
func (p *post) notify(_ http.ResponseWriter, r *http.Request) {
	process, token := r.PostFormValue("process"), r.PostFormValue("token")
	p.mu.Lock()
	if p.devices[token] == nil {
		p.devices[token] = map[string]int{}
	}
	p.devices[token][r.PostFormValue("collapse")]++
	p.notified[process]++
	kill, doomed := p.doomed[process]
	held := doomed && p.notified[process] >= p.after
	if held && p.notified[process] == p.after {
		kill()
	}
	freed := p.freed
	p.mu.Unlock()
	switch {
	case held:
		<-r.Context().Done() // the process has ended
	case !doomed:
		select {
		case <-freed: // or nothing might be left for the doomed
		case <-r.Context().Done():
		}
	}
}

// note keeps where a sender stands. The first chunks of one that is to be killed are sent; it
// is killed in the next.
func (p *post) note(_ http.ResponseWriter, r *http.Request) {
	process := r.PostFormValue("process")
	p.mu.Lock()
	p.token = userkit.BulkToken(r.PostFormValue("token"))
	p.progress[process]++
	p.news()
	kill, doomed := p.doomed[process]
	number := p.progress[process]
	p.mu.Unlock()
	switch {
	case doomed && number == chunksBeforeKill:
		kill()
	case doomed && number > chunksBeforeKill:
		<-r.Context().Done()
	}
}

// more waits until there is more to deliver, and refuses when there is nothing any more.
func (p *post) more(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	moved, finished := p.moved, p.finished
	p.mu.Unlock()
	if !finished {
		select {
		case <-moved:
		case <-r.Context().Done():
		}
		p.mu.Lock()
		finished = p.finished
		p.mu.Unlock()
	}
	if finished {
		w.WriteHeader(http.StatusGone)
	}
}

// news wakes those that wait for more. p.mu is held.
func (p *post) news() {
	close(p.moved)
	p.moved = make(chan struct{})
}

func (p *post) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished = true
	p.news()
}

// chunksBeforeKill is in which chunk of its own a sender is killed.
const chunksBeforeKill = 2

// audience fills a store with users of whom nine in ten are in a segment, by a rule. Each has
// a device, and one in ten has two. It returns how many users and devices are in the segment.
func audience(t *testing.T, store userkit.Store, count int) (users, devices int) {
	t.Helper()
	for from := 0; from < count; from += 1000 {
		var changes []userkit.Change
		for n := from; n < min(from+1000, count); n++ {
			user := userkit.User{
				ID: userkit.NewID[userkit.User](), Login: fmt.Sprint("login", n), Status: userkit.StatusActive, Kind: userkit.UserIndividual, Country: "GB",
				RegisteredAt: sentAt.Add(-time.Hour), UpdatedAt: sentAt.Add(-time.Hour),
				Account: userkit.Account{Version: 1, Balance: userkit.Money{Currency: "EUR"}, Devices: 1},
			}
			if n%10 == 5 {
				user.Country = "FR"
			}
			if n%10 == 7 {
				user.Devices = 2
			}
			change := userkit.Change{User: user.ID, Profile: &user}
			for k := range user.Devices {
				device := userkit.DeviceRecord{Device: userkit.Device{
					ID: userkit.NewID[userkit.Device](), UserID: user.ID, Type: userkit.DeviceAndroid, RegisteredAt: user.RegisteredAt, LastSeenAt: user.RegisteredAt,
					PushToken: fmt.Sprintf("%s-%d-%d", user.Country, n, k), PushTokenSetAt: user.RegisteredAt,
				}}
				copy(device.TokenDigest[:], device.PushToken)
				change.Devices.Insert = append(change.Devices.Insert, device)
			}
			if user.Country == "GB" {
				users, devices = users+1, devices+user.Devices
			}
			change.Account = user.Account
			changes = append(changes, change)
		}
		outcomes, err := store.Commit(t.Context(), changes)
		require.NoError(t, err)
		for _, outcome := range outcomes {
			require.NoError(t, outcome)
		}
	}
	return users, devices
}

// A segment gets a message while the processes that send and deliver it are killed, one after
// another: each user has it once, nobody else has it, and each device is told at least once
// and shows one.
func TestSegmentGetsAMessageOnceWhileProcessesAreKilled(t *testing.T) {
	const senders, deliverers = 3, 3 // that are killed
	count := 1_500
	if text := os.Getenv(segmentVariable); text != "" {
		asked, err := strconv.Atoi(text)
		require.NoError(t, err)
		count = max(asked*10/9, count)
	}
	began := time.Now()
	dsn := migrated.Create(t)
	store := openStore(t, dsn)
	users, devices := audience(t, store, count)
	manager, err := userkit.New(store, userkit.WithClock(func() time.Time { return sentAt }))
	require.NoError(t, err)
	defer manager.Close(context.Background())
	rule, err := userkit.ParseFilter(`country eq "GB"`)
	require.NoError(t, err)
	segment, err := manager.CreateSegment(t.Context(), userkit.NewSegment{Name: "Britain", Rule: rule})
	require.NoError(t, err)
	request := userkit.BulkRequest{
		Action: userkit.BulkSendMessage, Users: userkit.UserFilter{Segment: segment.ID}, Message: userkit.NewMessage{Subject: "Maintenance"},
	}
	preview, err := manager.PreviewBulk(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, int64(users), preview.Users)

	post := openPost(t)
	post.token, post.after = preview.Token, 100
	newOrder := func(task, name string) order {
		post.mu.Lock()
		defer post.mu.Unlock()
		return order{Task: task, Process: name, DSN: dsn, Server: post.address, Now: sentAt, Request: request, Token: post.token}
	}
	db := postgres.DatabaseOf(store)
	messages := func() (all int) {
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM userkit.messages").Scan(&all); err != nil {
			t.Error(err)
		}
		return all
	}

	// Those that are killed come first; the answers to the others wait for their end.
	survivor := start(t, newOrder("deliver", "survivor"))
	var deliverersKilled sync.WaitGroup
	for n := range deliverers {
		name := fmt.Sprint("deliverer ", n)
		deliverersKilled.Add(1)
		var p *process
		ready := make(chan struct{})
		post.mu.Lock()
		post.doomed[name] = func() {
			<-ready
			if err := p.cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			deliverersKilled.Done()
		}
		post.mu.Unlock()
		p = start(t, newOrder("deliver", name))
		close(ready)
	}
	go func() {
		deliverersKilled.Wait()
		close(post.freed)
	}()
	for n := range senders {
		name := fmt.Sprint("sender ", n)
		var p *process
		ready := make(chan struct{})
		post.mu.Lock()
		post.doomed[name] = func() {
			<-ready
			before := messages()
			go func() { // when it has begun with the chunk that it asked for
				for t.Context().Err() == nil && messages() == before {
				}
				if err := p.cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}()
		}
		post.mu.Unlock()
		p = start(t, newOrder("send", name))
		close(ready)
		<-p.ended
		require.ErrorContains(t, p.err, "killed", "it was killed before it was done")
	}
	last := start(t, newOrder("send", "last sender"))
	await(t, nil, last)
	post.finish()
	await(t, nil, survivor)
	require.Equal(t, users, messages())
	sent := time.Since(began)

	// What the killed ones had in work is free when their leases are over.
	waiting := func() (all int) {
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM userkit.deliveries WHERE state = 'waiting'").Scan(&all))
		return all
	}
	left := waiting()
	require.NotZero(t, left, "the killed processes had something in work")
	now := sentAt
	for n := 0; waiting() > 0; n++ {
		require.Less(t, n, 20)
		now = now.Add(3 * time.Minute) // a lease is two minutes
		heir := newOrder("deliver", fmt.Sprint("heir ", n))
		heir.Now = now
		await(t, nil, start(t, heir))
	}

	var all, owners, outside int
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*), count(DISTINCT user_id),
		(SELECT count(*) FROM userkit.messages AS m JOIN userkit.users AS u ON u.id = m.user_id WHERE u.country <> 'GB') FROM userkit.messages`).Scan(&all, &owners, &outside))
	require.Equal(t, []int{users, users, 0}, []int{all, owners, outside})
	var delivered int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM userkit.deliveries WHERE state = 'delivered'").Scan(&delivered))
	require.Equal(t, devices, delivered)
	post.mu.Lock()
	defer post.mu.Unlock()
	require.Len(t, post.devices, devices)
	again := 0
	for token, told := range post.devices {
		if len(told) != 1 {
			t.Fatalf("the device %s shows %d notifications", token, len(told))
		}
		for _, times := range told {
			if times > 1 {
				again++
			}
		}
	}
	require.NotZero(t, again, "what was told and not known was told again")
	t.Logf("%d users, %d devices: sent in %s, %d deliveries left by killed processes, %d devices told more than once, %s in all",
		users, devices, sent.Round(time.Second), left, again, time.Since(began).Round(time.Second))
}
