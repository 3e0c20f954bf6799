// Mail sends a user a mail to confirm the email address, and receives mail for the user's
// private address. The mail servers and people at the other ends are fakes on this machine.
//
// Usage:
//
//	mail
//
// Each chapter is one function that makes a few calls of userkit; docs/reach.md explains
// them. What is a fake is called one, and stands in a file of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/mail"
	"github.com/userkit/userkit/pushmail"
	"github.com/userkit/userkit/store/memory"
	"github.com/userkit/userkit/userhttp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mail:", err)
		os.Exit(1)
	}
}

// story is what the chapters share.
type story struct {
	out     io.Writer
	mailbox *fakeMailbox
	users   userkit.Manager
	ada     userkit.User

	attempts *userhttp.Attempts // of clients at the page
}

// run tells the story.
func run(ctx context.Context, out io.Writer) (err error) {
	s := &story{out: out}
	if s.attempts, err = userhttp.NewAttempts(userhttp.AttemptPolicy{}); err != nil {
		return err
	}
	if s.mailbox, err = startFakeMailbox(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.mailbox.close()) }()
	pages, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}

	s.users, err = s.manager(pages.Addr().String())
	if err != nil {
		return errors.Join(err, pages.Close())
	}
	defer func() { err = errors.Join(err, s.users.Close(context.Background())) }()

	site := &http.Server{Handler: s.pages(), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- site.Serve(pages) }()
	defer func() {
		err = errors.Join(err, site.Close())
		if failed := <-ended; !errors.Is(failed, http.ErrServerClosed) {
			err = errors.Join(err, failed)
		}
	}()
	for _, chapter := range []func(context.Context) error{s.activation, s.pushMail} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}

// manager is the host's, with a mailer and a domain for push mail.
func (s *story) manager(site string) (userkit.Manager, error) {
	mailer, err := mail.New(mail.Config{
		Host: "127.0.0.1", Port: s.mailbox.port, TLS: mail.NoTLS, // a fake on this machine; a host has TLS and a password
		From: "Example <users@example.org>",
	})
	if err != nil {
		return nil, err
	}
	return userkit.New(memory.New(),
		userkit.WithActivation(userkit.ActivationPolicy{
			Mailer: mailer,
			Link:   "http://" + site + "/confirm#{token}", // https anywhere but on this machine
		}),
		userkit.WithPushMail(userkit.PushMailPolicy{Domain: "push.example.org"}),
	)
}

// confirmPage has the button. Its script moves the token from behind the "#" into the form.
var confirmPage = template.Must(template.New("").Parse(`<!DOCTYPE html>
<title>Confirm your address</title>
<form method="post"><input type="hidden" name="token"><button>Confirm</button></form>
<script>document.forms[0].token.value = location.hash.slice(1)</script>
`))

// pages are those of the host.
func (s *story) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /confirm", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = confirmPage.Execute(w, nil) // a reader who has gone needs no page
	})
	mux.HandleFunc("POST /confirm", func(w http.ResponseWriter, r *http.Request) {
		user, err := userhttp.Attempt(s.attempts, r, r.PostFormValue("token"), s.users.ConfirmEmail)
		switch {
		case err == nil:
			fmt.Fprintf(w, "Welcome, %s.\n", user.Name)
		case userkit.ErrorCode(err) == userkit.CodeTooManyAttempts:
			userhttp.WriteProblem(w, err)
		case errors.Is(err, userkit.ErrForbidden), errors.Is(err, userkit.ErrRefused):
			http.Error(w, "This link has been used, or it is too old.", http.StatusForbidden)
		default: // the link is as good as before
			http.Error(w, "This did not work. Please try again.", http.StatusServiceUnavailable)
		}
	})
	return mux
}

func (s *story) activation(ctx context.Context) (err error) {
	fmt.Fprintln(s.out, "1. Mail: Ada confirms her email address")
	s.ada, err = s.users.CreateUser(ctx, userkit.NewUser{Login: "ada", Name: "Ada", Email: "ada@example.com", Status: userkit.StatusInactive})
	if err != nil {
		return err
	}
	if err := s.users.SendActivation(ctx, s.ada.ID, "en"); err != nil {
		return err
	}
	received, link := s.mailbox.last()
	fmt.Fprintf(s.out, "   a fake mailbox got: %s, to %s\n", received.subject, received.to)

	// Programs that scan mails open the links in them. A GET shows the page and no more.
	if _, err := fakeScanner(ctx, link); err != nil {
		return err
	}
	if s.ada, err = s.users.User(ctx, s.ada.ID); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "   a fake scanner opened the link: %s, verified: %t\n", s.ada.Status, s.ada.EmailVerified)

	for range 2 {
		said, err := fakeReader(ctx, link)
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "   a fake reader pressed the button: %s\n", said)
	}
	if s.ada, err = s.users.User(ctx, s.ada.ID); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "   Ada: %s, verified: %t\n", s.ada.Status, s.ada.EmailVerified)
	return nil
}

func (s *story) pushMail(ctx context.Context) (err error) {
	fmt.Fprintln(s.out, "\n2. Push mail: a mail becomes a message")
	receiver, err := pushmail.NewServer(pushmail.Config{
		Users:    s.users,
		Deliver:  pushmail.ToMessages(s.users),
		Hostname: "push.example.org",
	})
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0") // port 25 of the host that the MX record names
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- receiver.Serve(listener) }()
	defer func() { err = errors.Join(err, receiver.Shutdown(context.Background()), <-ended) }()

	pushMail, err := s.users.GeneratePushMail(ctx, s.ada.ID)
	if err != nil {
		return err
	}
	boiler := fakeBoiler{server: listener.Addr().String()}
	for range 2 { // the boiler did not hear the first answer
		fmt.Fprintf(s.out, "   a fake boiler sends a mail: %s\n", boiler.send(pushMail.Address))
	}
	inbox, err := s.users.Messages(ctx, userkit.MessageQuery{MessageFilter: userkit.MessageFilter{UserID: s.ada.ID}})
	if err != nil {
		return err
	}
	for _, message := range inbox.Items {
		fmt.Fprintf(s.out, "   in Ada's inbox: %s – %s\n", message.Subject, message.Body)
	}

	if _, err := s.users.RevokePushMail(ctx, s.ada.ID); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "   to the revoked address: %s\n", boiler.send(pushMail.Address))
	fmt.Fprintf(s.out, "   to one that never was: %s\n", boiler.send("nobody@push.example.org"))
	return nil
}
