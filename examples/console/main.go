// Console shows the web console on the users of a small VPN service that does not exist:
// five thousand people in many scripts, their devices, sessions, purchases and money, and
// a server that goes on reporting traffic.
//
// Usage:
//
//	console                    # on the in-memory store
//	console -dsn postgres://…  # on PostgreSQL, in a project of its own that stays
//
// It prints an address that signs in once, and listens on this machine only. What the people did in
// the last month is made up while the console already shows them; when it is complete, a line says so.
package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/console"
	"github.com/userkit/userkit/store/memory"
	"github.com/userkit/userkit/store/postgres"
	"github.com/userkit/userkit/userhttp"
)

func main() {
	dsn := flag.String("dsn", "", "the PostgreSQL database to work in, as a URL; empty: in memory")
	project := flag.String("project", "console-example", "the project in that database")
	address := flag.String("listen", "127.0.0.1:8060", "the loopback address to listen on; port 0: any free one")
	people := flag.Int("users", 5000, "how many users there are")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *dsn, *project, *address, *people); err != nil {
		fmt.Fprintln(os.Stderr, "console:", err)
		os.Exit(1)
	}
}

// run serves the console until the context ends.
func run(ctx context.Context, out io.Writer, dsn, project, address string, people int) error {
	listener, err := listen(ctx, address)
	if err != nil {
		return err
	}
	store, err := open(ctx, dsn, project)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	options := []userkit.Option{
		userkit.WithLicenses(
			userkit.License{Name: "Solo", Devices: 1}, userkit.License{Name: "Duo", Devices: 2},
			userkit.License{Name: "Family", Devices: 6}, userkit.License{Name: "Office"},
		),
		userkit.WithDefaultLicense("Duo"),
		userkit.WithSealingKeys([]byte("an example's key of 32 bytes.....")[:32]), // a host keeps a random one secret
		userkit.WithVerifiers(shop{userkit.DayOf(time.Now(), time.UTC)}),
		userkit.WithVerificationRate(10_000), // this shop is in the program and never busy
		userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{"": phones{}}),
		userkit.WithSandboxPurchases(),
		userkit.WithActivation(userkit.ActivationPolicy{Mailer: &printer{out: out}, Link: "http://" + listener.Addr().String() + "/confirm?token={token}"}),
	}
	users, err := userkit.New(store, options...)
	if err != nil {
		return errors.Join(err, store.Close(), listener.Close())
	}
	clock := &clock{}
	past, err := userkit.New(store, append(options, userkit.WithClock(clock.now))...)
	if err != nil {
		return errors.Join(err, users.Close(context.WithoutCancel(ctx)), store.Close(), listener.Close())
	}
	serveErr := serve(ctx, out, users, history{past, clock}, listener, people)
	return errors.Join(serveErr, past.Close(context.WithoutCancel(ctx)), users.Close(context.WithoutCancel(ctx)), store.Close())
}

func open(ctx context.Context, dsn, project string) (userkit.Store, error) {
	if dsn == "" {
		return memory.New(), nil
	}
	store, err := postgres.Open(ctx, dsn, postgres.WithProject(project))
	if err != nil {
		return nil, err
	}
	if err := store.Migrate(ctx); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

func serve(ctx context.Context, out io.Writer, users userkit.Manager, past history, listener net.Listener, people int) error {
	var ids []userkit.UserID // of the users who have no history yet
	there, err := users.CountUsers(ctx, userkit.UserFilter{})
	if err == nil && there == 0 {
		ids, err = past.createUsers(ctx, people)
	}
	var attempts *userhttp.Attempts
	if err == nil {
		attempts, err = userhttp.NewAttempts(userhttp.AttemptPolicy{})
	}
	if err != nil {
		return errors.Join(err, listener.Close())
	}

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var duties sync.WaitGroup
	defer duties.Wait()
	defer stop()

	door := newDoor()
	mux := http.NewServeMux()
	mux.Handle("/admin/", console.New(users, console.WithActor(door.actor), console.WithTitle("Example VPN"), console.WithLogger(slog.Default())))
	mux.HandleFunc("GET /sign-in", door.signIn)
	mux.HandleFunc("GET /confirm", confirm(users, attempts))
	mux.Handle("POST /confirm", http.NewCrossOriginProtection().Handler(confirm(users, attempts)))
	mux.Handle("/{$}", http.RedirectHandler("/admin/", http.StatusSeeOther))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() }) // the example ends
	fmt.Fprintf(out, "The console, for one sign-in:\n\n  http://%s/sign-in?token=%s\n\n", listener.Addr(), door.token)
	duties.Go(func() {
		if err := past.tell(ctx, ids); err != nil {
			if ctx.Err() == nil {
				slog.Error("what the people did could not be made up", "error", err)
			}
			return
		}
		fmt.Fprintln(out, "The demo data is complete.")
		reports := node{users: users, counters: map[userkit.SessionID]int64{}}
		reports.report(ctx)                      // before Run finds sessions that have been silent for long
		duties.Go(func() { _ = users.Run(ctx) }) // ends with the context
		reports.run(ctx)
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// listen listens on a loopback address and refuses any other.
func listen(ctx context.Context, address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%s is not a loopback address; this example is for one machine", address)
	}
	return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
}

// door lets a person into the example, with a link that works once and gives a cookie. A host has a
// sign-in of its own instead.
type door struct {
	token  string
	cookie string
	used   atomic.Bool
}

func newDoor() *door { return &door{token: rand.Text(), cookie: rand.Text()} }

const doorCookie = "console_example"

func (d *door) signIn(w http.ResponseWriter, r *http.Request) {
	right := subtle.ConstantTimeCompare([]byte(r.FormValue("token")), []byte(d.token)) == 1
	if !right || !d.used.CompareAndSwap(false, true) {
		http.Error(w, "This link has been used, or it is not whole. Start the example again for a new one.", http.StatusForbidden)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: doorCookie, Value: d.cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// Not a redirect: a strict cookie does not go along with one that another program's link began.
	fmt.Fprint(w, `<!DOCTYPE html><meta http-equiv="refresh" content="0; url=/admin/"><p><a href="/admin/">Go on</a>`)
}

func (d *door) actor(r *http.Request) (userkit.Actor, error) {
	cookie, err := r.Cookie(doorCookie)
	if err != nil || subtle.ConstantTimeCompare([]byte(cookie.Value), []byte(d.cookie)) != 1 {
		return userkit.Actor{}, errors.New("not signed in")
	}
	return userkit.Actor{Kind: userkit.ActorAdministrator, ID: "alex", Name: "Alex Morgan"}, nil
}

// clock is the clock of the history, which stands still where it is set.
type clock struct {
	mutex sync.Mutex
	at    time.Time
}

func (c *clock) now() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.at
}

func (c *clock) set(at time.Time) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.at = at
}

// shop is a store of purchases of the example's own. It says that every receipt is good for a month
// or a year, except for those that begin with "waits", about which it never says anything.
type shop struct{ today userkit.Day }

func (shop) Store() string { return "example_shop" }

func (s shop) Verify(_ context.Context, receipt userkit.Receipt) userkit.Verdict {
	if strings.HasPrefix(receipt.Token, "waits") {
		return userkit.Undecided(errors.New("the shop is closed"), time.Time{})
	}
	number, err := strconv.Atoi(strings.TrimPrefix(receipt.Token, "order-"))
	if err != nil {
		return userkit.Invalid(userkit.ReasonNotFound, userkit.PurchaseFacts{})
	}
	bought := s.today.AddDays(-1 - number*7%26).Start(time.UTC).Add(time.Duration(number*137%1440) * time.Minute)
	expires := bought.AddDate(0, 1, 0)
	if receipt.ProductID == "vpn.year" {
		expires = bought.AddDate(1, 0, 0)
	}
	return userkit.Valid(userkit.PurchaseFacts{
		StableID: receipt.Token, TransactionID: "T-" + receipt.Token, ProductID: receipt.ProductID,
		Environment: userkit.Production, PurchasedAt: bought, ExpiresAt: expires,
		Trial: number%28 == 0,
		Raw:   []byte(`{"shop":"example","receipt":"` + receipt.Token + `","price":{"amount":499,"currency":"EUR"}}`),
	})
}

// phones is a push service that does not exist. It knows no application that is gone.
type phones struct{}

func (phones) Notify(_ context.Context, n userkit.Notification) userkit.NotificationResult {
	if strings.HasPrefix(n.PushToken, "uninstalled") {
		return userkit.Gone(time.Time{}, errors.New("the application is gone"))
	}
	return userkit.Delivered()
}
