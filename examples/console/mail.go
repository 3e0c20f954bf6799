package main

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"sync"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/userhttp"
)

// printer is a mailer that prints mails where the example was started, and sends nothing. A host
// uses the mailer of the package mail, or its own.
type printer struct {
	mutex sync.Mutex
	out   io.Writer
}

func (p *printer) SendMail(_ context.Context, mail userkit.Mail) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	_, err := fmt.Fprintf(p.out, "This mail is only printed, since this is an example:\n\n  To: %s <%s>\n  Please confirm your address until %s:\n  %s\n\n",
		mail.Name, mail.Address, mail.ExpiresAt.Format("2 January 15:04"), mail.Link)
	return err
}

// confirmPage is the page to which the link of an activation mail leads. Only its button confirms the
// address, because programs that check the links in mails open them as well.
var confirmPage = template.Must(template.New("").Parse(`<!DOCTYPE html><html lang="en"><title>Example VPN</title>
<h1>Example VPN</h1>{{with .Said}}<p>{{.}}</p>{{else}}<form method="post"><input type="hidden" name="token" value="{{.Token}}"><button>Confirm my email address</button></form>{{end}}
`))

// confirm serves the page to which the link of an activation mail leads.
func confirm(users userkit.ActivationManager, attempts *userhttp.Attempts) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Referrer-Policy", "no-referrer") // the address has a secret in it
		page := struct{ Token, Said string }{Token: r.FormValue("token")}
		if r.Method == http.MethodPost {
			user, err := userhttp.Attempt(attempts, r, page.Token, users.ConfirmEmail)
			switch {
			case err == nil:
				page.Said = user.Email + " is confirmed."
			case userkit.ErrorCode(err) == userkit.CodeTooManyAttempts:
				userhttp.WriteProblem(w, err)
				return
			case errors.Is(err, userkit.ErrForbidden), errors.Is(err, userkit.ErrRefused):
				w.WriteHeader(http.StatusForbidden)
				page.Said = "This link does not work: it has been used, is too old, or a later mail has another one."
			default:
				http.Error(w, "This did not work. Please try again.", http.StatusServiceUnavailable)
				return
			}
		}
		_ = confirmPage.Execute(w, page) // whoever asked has gone
	}
}
