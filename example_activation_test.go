package userkit_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// printer is a mailer that prints what a real one, such as that of the package mail, sends.
type printer struct{ links chan string }

func (p printer) SendMail(_ context.Context, mail userkit.Mail) error {
	fmt.Println("to", mail.Address)
	p.links <- mail.Link
	return nil
}

// A user gets a mail, opens the page that its link leads to, and presses the button there.
func ExampleActivationManager() {
	ctx := context.Background()
	mailer := printer{links: make(chan string, 1)}
	manager, err := userkit.New(memory.New(), userkit.WithActivation(userkit.ActivationPolicy{
		Mailer: mailer,
		Link:   "https://example.org/confirm#{token}",
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer manager.Close(ctx)
	user, err := manager.CreateUser(ctx, userkit.NewUser{Email: "ada@example.com", Status: userkit.StatusInactive})
	if err != nil {
		log.Fatal(err)
	}
	if err := manager.SendActivation(ctx, user.ID, "en"); err != nil {
		log.Fatal(err)
	}

	// The page reads what comes after the "#", and its button sends it in a POST.
	_, token, _ := strings.Cut(<-mailer.links, "#")
	user, err = manager.ConfirmEmail(ctx, token)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(user.Status, user.EmailVerified)

	// Output:
	// to ada@example.com
	// active true
}
