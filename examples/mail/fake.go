package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	netmail "net/mail"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/emersion/go-smtp"
)

// fakeMailbox is a mail server that takes every mail and hands none on.
type fakeMailbox struct {
	port     int
	server   *smtp.Server
	listener net.Listener
	ended    chan error

	mutex sync.Mutex
	mails []fakeMail
}

// fakeMail is what the mailbox keeps of a mail.
type fakeMail struct{ to, subject, text string }

func startFakeMailbox(ctx context.Context) (*fakeMailbox, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &fakeMailbox{port: listener.Addr().(*net.TCPAddr).Port, listener: listener, ended: make(chan error, 1)}
	f.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &fakeSession{mailbox: f}, nil
	}))
	go func() { f.ended <- f.server.Serve(listener) }()
	return f, nil
}

func (f *fakeMailbox) close() error {
	err := f.server.Shutdown(context.Background())
	_ = f.listener.Close() // the server may not have begun to serve, and closes it otherwise
	return errors.Join(err, <-f.ended)
}

// last returns the last mail, and the link in it.
func (f *fakeMailbox) last() (fakeMail, string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if len(f.mails) == 0 {
		return fakeMail{}, ""
	}
	last := f.mails[len(f.mails)-1]
	return last, regexp.MustCompile(`http://\S+`).FindString(last.text)
}

// fakeSession is one connection to the mailbox.
type fakeSession struct {
	mailbox *fakeMailbox
	to      string
}

func (s *fakeSession) Mail(string, *smtp.MailOptions) error { return nil }

func (s *fakeSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	return nil
}

func (s *fakeSession) Data(r io.Reader) error {
	received, err := netmail.ReadMessage(r)
	if err != nil {
		return err
	}
	_, parameters, err := mime.ParseMediaType(received.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	text, err := multipart.NewReader(received.Body, parameters["boundary"]).NextRawPart() // the HTML comes after it
	if err != nil {
		return err
	}
	body, err := io.ReadAll(quotedprintable.NewReader(text))
	if err != nil {
		return err
	}
	s.mailbox.mutex.Lock()
	defer s.mailbox.mutex.Unlock()
	s.mailbox.mails = append(s.mailbox.mails, fakeMail{s.to, received.Header.Get("Subject"), string(body)})
	return nil
}

func (s *fakeSession) Reset()        {}
func (s *fakeSession) Logout() error { return nil }

// fakeScanner opens a link, as programs do that look for harm in mails.
func fakeScanner(ctx context.Context, link string) (string, error) {
	return fakeBrowser(ctx, http.MethodGet, link, nil)
}

// fakeReader presses the button of the page behind a link. The script of the page puts what
// comes after the "#" into the form.
func fakeReader(ctx context.Context, link string) (string, error) {
	page, token, _ := strings.Cut(link, "#")
	return fakeBrowser(ctx, http.MethodPost, page, url.Values{"token": {token}})
}

func fakeBrowser(ctx context.Context, method, link string, form url.Values) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, link, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(response.Body)
	return string(bytes.TrimSpace(said)), err
}

// fakeBoiler is a machine that sends the same mail again and again.
type fakeBoiler struct{ server string }

// send sends the mail and returns what the server said of it.
func (f fakeBoiler) send(to string) string {
	const text = "From: A fake boiler <boiler@example.com>\r\n" +
		"Message-ID: <alarm-17@example.com>\r\n" +
		"Subject: =?utf-8?Q?Too_hot:_90=C2=B0?=\r\n" +
		"\r\n" +
		"Please look.\r\n"
	client, err := smtp.Dial(f.server)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = client.Close() }() // it has quit where all went well
	err = client.SendMail("boiler@example.com", []string{to}, strings.NewReader(text))
	if refusal, ok := errors.AsType[*smtp.SMTPError](err); ok {
		return fmt.Sprint(refusal.Code, " ", refusal.Message)
	}
	if err != nil {
		return err.Error()
	}
	if err := client.Quit(); err != nil {
		return err.Error()
	}
	return "taken"
}
