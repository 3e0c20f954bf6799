// Quickstart tells two days at a small VPN service that keeps its users with
// userkit: a sign-up, devices, sessions with their traffic, segments of users,
// money, a purchase, and an end. It keeps them in memory; examples/transfer works with
// files and PostgreSQL.
//
// Read run from top to bottom: each chapter is one function that makes a few
// calls of userkit and prints what came of them.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, memory.New()); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run tells the story on any store that has no users yet, and leaves it open.
func run(ctx context.Context, out io.Writer, store userkit.Store) error {
	s := &story{out: bufio.NewWriter(out)}
	s.clock.set(monday(8, 0))

	var err error
	s.users, err = userkit.New(store,
		userkit.WithClock(s.clock.now), // so that two days pass in a moment; a real service leaves this out
		userkit.WithCurrency("EUR"),
		userkit.WithVerifiers(&s.shop),
		userkit.WithLicenses(userkit.License{Name: "Duo", Devices: 2}),
		userkit.WithDefaultTrafficLimit(userkit.TrafficLimit{Bytes: 10 * gigabyte, Reset: userkit.ResetDaily}),
	)
	if err != nil {
		return err
	}

	fmt.Fprintln(s.out, "A small VPN service on userkit")
	for _, chapter := range []func(context.Context) error{
		s.signUp,
		s.registerDevices,
		s.logIn,
		s.authenticate,
		s.countTraffic,
		s.moreCustomers,
		s.findCustomers,
		s.makeSegments,
		s.reachLimit,
		s.askRule,
		s.nextDay,
		s.askRuleAgain,
		s.money,
		s.subscribe,
		s.closeTrials,
		s.deactivate,
		s.lookBack,
	} {
		if err = chapter(ctx); err != nil {
			break
		}
	}
	return errors.Join(err, s.users.Close(context.Background()), s.out.Flush())
}

// story is what the chapters pass on to one another.
type story struct {
	shop  shop
	users userkit.Manager
	clock clock
	out   *bufio.Writer // keeps its first error until Flush
	count int           // of chapters so far

	ada                userkit.User
	phone, laptop      userkit.Device
	testers, lockedOut userkit.Segment
}

func (s *story) signUp(ctx context.Context) (err error) {
	s.chapter(monday(8, 0), "Ada signs up")
	s.ada, err = s.users.CreateUser(ctx, userkit.NewUser{
		Login:   "ada",
		Name:    "Ada Lovelace",
		Email:   "ada@example.org",
		Country: "GB",
		License: "Duo",

		Attributes: userkit.Attributes{"plan": "pro"}, // whatever the service wants to know of a user
	})
	if err != nil {
		return err
	}
	s.say("login", "%s <%s>", s.ada.Login, s.ada.Email)
	s.say("status", "%s", s.ada.Status)
	s.say("license", "%s, for two devices", s.ada.License)
	s.say("traffic", "%s a day", size(s.ada.Traffic.Limit.Bytes))
	s.say("balance", "%s", s.ada.Balance)
	s.say("plan", "%s", s.ada.Attributes["plan"])

	// The same login in other letters is the same login.
	_, err = s.users.CreateUser(ctx, userkit.NewUser{Login: "ADA"})
	return s.refused("as ADA", userkit.CodeLoginTaken, err)
}

func (s *story) registerDevices(ctx context.Context) (err error) {
	s.chapter(monday(8, 5), "She registers her devices; the license has room for two")
	ctx = by(ctx, userkit.ActorUser, s.ada.ID.String()) // what a change is recorded with
	s.phone, err = s.users.RegisterDevice(ctx, s.ada.ID, userkit.NewDevice{Name: "phone", Type: userkit.DeviceAndroid})
	if err != nil {
		return err
	}
	s.say("phone", "registered; its access token is shown this once")

	s.laptop, err = s.users.RegisterDevice(ctx, s.ada.ID, userkit.NewDevice{Name: "laptop", Type: userkit.DeviceLinux})
	if err != nil {
		return err
	}
	s.say("laptop", "registered")

	_, err = s.users.RegisterDevice(ctx, s.ada.ID, userkit.NewDevice{Name: "tablet", Type: userkit.DeviceIOS})
	return s.refused("tablet", userkit.CodeDeviceLimit, err)
}

func (s *story) logIn(ctx context.Context) (err error) {
	s.chapter(monday(8, 10), "She logs in for the first time")
	before := s.ada.Status
	s.ada, err = s.users.RecordLogin(by(ctx, userkit.ActorUser, s.ada.ID.String()), s.ada.ID, "password")
	if err != nil {
		return err
	}
	s.say("status", "%s, was %s", s.ada.Status, before)
	return nil
}

func (s *story) authenticate(ctx context.Context) error {
	s.chapter(monday(8, 15), "Her phone shows its access token to a node")
	proof, err := s.users.Authenticate(ctx, s.phone.AccessToken)
	if err != nil {
		return err
	}
	s.say("its own", "this is the %s of %s, access %s", proof.Device.Name, proof.User.Login, allowed(proof.Access))

	_, err = s.users.Authenticate(ctx, "a token that somebody made up")
	return s.refused("made up", userkit.CodeInvalidToken, err)
}

func (s *story) countTraffic(ctx context.Context) error {
	s.chapter(monday(8, 15), "Two nodes report what she uses; nothing counts twice")
	frankfurt, err := s.connect(ctx, s.phone, "fra-1", "Frankfurt", "10.8.0.2")
	if err != nil {
		return err
	}
	amsterdam, err := s.connect(ctx, s.laptop, "ams-1", "Amsterdam", "10.9.0.2")
	if err != nil {
		return err
	}

	// A node reports what its counters say, not what was added since. So it may
	// report again when an answer got lost, and reports may overtake each other.
	first := userkit.UsageReport{SessionID: frankfurt.ID, Received: 1_200 * megabyte, Sent: 300 * megabyte, At: monday(9, 0)}
	reports := []struct {
		sent    time.Time
		node    string
		reading userkit.UsageReport
	}{
		{monday(9, 0), "fra-1", first},
		{monday(9, 1), "fra-1", first},
		{monday(9, 30), "ams-1", userkit.UsageReport{SessionID: amsterdam.ID, Received: 2_000 * megabyte, Sent: 500 * megabyte, At: monday(9, 30)}},
		{monday(9, 31), "ams-1", userkit.UsageReport{SessionID: amsterdam.ID, Received: 900 * megabyte, Sent: 200 * megabyte, At: monday(8, 45)}},
		{monday(10, 0), "fra-1", userkit.UsageReport{SessionID: frankfurt.ID, Received: 1_400 * megabyte, Sent: 400 * megabyte, At: monday(10, 0)}},
		{monday(10, 1), "fra-1", first},
	}
	s.row("at", "node", "counter", "read at", "outcome", "counts", "used today")
	for _, report := range reports {
		s.clock.set(report.sent)
		if _, err := s.report(ctx, report.node, report.reading); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) reachLimit(ctx context.Context) error {
	s.chapter(monday(14, 0), "Ada reaches the daily limit: her sessions end")
	open, err := s.users.Sessions(ctx, userkit.SessionQuery{
		SessionFilter: userkit.SessionFilter{DeviceID: s.phone.ID, State: userkit.SessionsActive},
	})
	if err != nil {
		return err
	}
	if len(open.Items) != 1 {
		return fmt.Errorf("the phone has %d open sessions, not one", len(open.Items))
	}
	s.row("at", "node", "counter", "read at", "outcome", "counts", "used today")
	result, err := s.report(ctx, "fra-1", userkit.UsageReport{
		SessionID: open.Items[0].ID, Received: 6_000 * megabyte, Sent: 1_500 * megabyte, At: monday(14, 0),
	})
	if err != nil {
		return err
	}
	if !result.Ended {
		return errors.New("the session goes on beyond the limit")
	}
	s.say("reset", "the next one is on %s", moment(result.NextReset))

	sessions, err := s.users.Sessions(ctx, userkit.SessionQuery{
		SessionFilter: userkit.SessionFilter{UserID: s.ada.ID},
		PageQuery:     userkit.PageQuery{Sort: "node"},
	})
	if err != nil {
		return err
	}
	for _, session := range sessions.Items {
		s.say(session.Node, "%-6s  started %s, ended %s (%s), used %s", session.DeviceName,
			hour(session.StartedAt), hour(session.EndedAt), session.EndReason, size(session.Received+session.Sent))
	}

	_, err = s.connect(ctx, s.laptop, "ams-1", "Amsterdam", "10.9.0.2")
	return s.refused("new one", userkit.CodeTrafficLimit, err)
}

func (s *story) nextDay(ctx context.Context) error {
	s.chapter(tuesday(8, 0), "The next day Ada is back; no job had to run for it")
	access, err := s.users.Access(ctx, s.ada.ID)
	if err != nil {
		return err
	}
	s.say("access", "%s", allowed(access))
	session, err := s.connect(ctx, s.laptop, "ams-1", "Amsterdam", "10.9.0.3")
	if err != nil {
		return err
	}
	if _, err := s.connect(ctx, s.phone, "waw-1", "Warsaw", "10.7.0.2"); err != nil {
		return err
	}
	s.clock.set(tuesday(9, 0))
	s.row("at", "node", "counter", "read at", "outcome", "counts", "used today")
	_, err = s.report(ctx, "ams-1", userkit.UsageReport{
		SessionID: session.ID, Received: 350 * megabyte, Sent: 50 * megabyte, At: tuesday(9, 0),
	})
	if err != nil {
		return err
	}

	days, err := s.users.Traffic(ctx, s.ada.ID, userkit.DayOf(monday(0, 0), time.UTC), userkit.DayOf(tuesday(0, 0), time.UTC))
	if err != nil {
		return err
	}
	for _, day := range days {
		s.say(day.Day.String(), "%s received, %s sent", size(day.Received), size(day.Sent))
	}
	return nil
}

func (s *story) money(ctx context.Context) error {
	s.chapter(tuesday(10, 0), "Olga keeps the books")
	ctx = by(ctx, userkit.ActorAdministrator, "olga")

	// The key makes the call safe to repeat: here the first answer got lost.
	payment := userkit.Entry{Amount: euros(20), Key: "payment-1001", Note: "bank transfer"}
	paid, err := s.users.Refill(ctx, s.ada.ID, payment)
	if err != nil {
		return err
	}
	s.say("refill", "%s, the balance is %s", paid.Amount, paid.Balance)
	again, err := s.users.Refill(ctx, s.ada.ID, payment)
	if err != nil {
		return err
	}
	if again.ID != paid.ID {
		return errors.New("the repeated refill made another transaction")
	}
	s.say("repeated", "the same transaction, the balance is %s", again.Balance)

	s.clock.set(tuesday(10, 1))
	charged, err := s.users.Charge(ctx, s.ada.ID, userkit.Entry{Amount: euros(8), Key: "tariff-2026-03", Note: "March"})
	if err != nil {
		return err
	}
	s.say("charge", "%s, the balance is %s", charged.Amount, charged.Balance)

	s.clock.set(tuesday(10, 2))
	mistake, err := s.users.Charge(ctx, s.ada.ID, userkit.Entry{Amount: euros(8), Key: "tariff-2026-3", Note: "March, by mistake"})
	if err != nil {
		return err
	}
	s.say("mistake", "%s, the balance is %s", mistake.Amount, mistake.Balance)
	if _, err := s.users.CancelLast(ctx, s.ada.ID, mistake.ID); err != nil {
		return err
	}
	ada, err := s.users.User(ctx, s.ada.ID)
	if err != nil {
		return err
	}
	s.say("cancelled", "the balance is %s", ada.Balance)

	s.say("a router", "costs %s", euros(50))
	_, err = s.users.Charge(ctx, s.ada.ID, userkit.Entry{Amount: euros(50), Key: "router-17", Note: "a router"})
	if err = s.refused("charge", userkit.CodeInsufficientBalance, err); err != nil {
		return err
	}

	books, err := s.users.Transactions(ctx, userkit.TransactionQuery{
		TransactionFilter: userkit.TransactionFilter{UserID: s.ada.ID, IncludeCancelled: true},
	})
	if err != nil {
		return err
	}
	for _, transaction := range slices.Backward(books.Items) {
		state := ""
		if transaction.Cancelled() {
			state = "  (cancelled by " + transaction.CancelledBy.ID + ")"
		}
		s.say(fmt.Sprintf("book no. %d", transaction.Sequence), "%-6s  %9s  %s%s",
			transaction.Kind, transaction.Amount, transaction.Note, state)
	}
	return nil
}

func (s *story) deactivate(ctx context.Context) error {
	s.chapter(tuesday(11, 0), "Olga deactivates Ada: everything stops at once")
	before, err := s.users.User(ctx, s.ada.ID)
	if err != nil {
		return err
	}
	after, err := s.users.DeactivateUser(by(ctx, userkit.ActorAdministrator, "olga"), s.ada.ID)
	if err != nil {
		return err
	}
	s.say("status", "%s, was %s", after.Status, before.Status)
	s.say("sessions", "%d open, were %d", after.OpenSessions, before.OpenSessions)

	_, err = s.users.Authenticate(ctx, s.phone.AccessToken)
	if err = s.refused("token", userkit.CodeUserDisabled, err); err != nil {
		return err
	}
	_, err = s.connect(ctx, s.phone, "waw-1", "Warsaw", "10.7.0.2")
	return s.refused("session", userkit.CodeUserDisabled, err)
}

func (s *story) lookBack(ctx context.Context) error {
	s.chapter(tuesday(12, 0), "What happened to Ada, and who did it")
	events, err := s.users.Events(ctx, userkit.EventQuery{EventFilter: userkit.EventFilter{UserID: s.ada.ID}})
	if err != nil {
		return err
	}
	for _, event := range slices.Backward(events.Items) {
		who := string(event.Actor.Kind)
		switch event.Actor.ID {
		case "": // the host itself
		case s.ada.ID.String():
			who += " ada"
		default:
			who += " " + event.Actor.ID
		}
		fmt.Fprintf(s.out, "    %s  %-19s  %s\n", event.At.Format("Mon 15:04"), event.Name, who)
	}

	s.chapter(tuesday(12, 0), "The books add up")
	for mismatch, err := range s.users.VerifyBalances(ctx) {
		if err != nil {
			return err
		}
		return fmt.Errorf("the balance of user %s does not add up: %s", mismatch.UserID, mismatch.Reason)
	}
	s.say("balances", "every one is the sum of its transactions")
	return nil
}

// connect starts a session of one of Ada's devices, as the node does.
func (s *story) connect(ctx context.Context, device userkit.Device, node, place, address string) (userkit.Session, error) {
	internal, err := netip.ParseAddr(address)
	if err != nil {
		return userkit.Session{}, err
	}
	ctx = by(ctx, userkit.ActorNode, node)
	return s.users.StartSession(ctx, userkit.NewSession{
		UserID: s.ada.ID, DeviceID: device.ID, Node: node, NodeLocation: place, InternalIP: internal,
	})
}

// report reports one reading, as the node does, and prints what became of it. A
// real node reports all its sessions in one call.
func (s *story) report(ctx context.Context, node string, reading userkit.UsageReport) (userkit.UsageResult, error) {
	ctx = by(ctx, userkit.ActorNode, node)
	results, err := s.users.ReportUsage(ctx, []userkit.UsageReport{reading})
	if err != nil {
		return userkit.UsageResult{}, err
	}
	result := results[0]
	if result.Err != nil {
		return userkit.UsageResult{}, result.Err
	}
	ada, err := s.users.User(ctx, s.ada.ID)
	if err != nil {
		return userkit.UsageResult{}, err
	}
	now := s.clock.now()
	s.row(hour(now), node, size(reading.Received+reading.Sent), hour(reading.At), string(result.Outcome),
		size(result.Received+result.Sent), size(ada.Traffic.UsedIn(now, time.UTC)))
	return result, nil
}
