package mail_test

import (
	"log"
	"os"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/mail"
)

func Example() {
	mailer, err := mail.New(mail.Config{
		Host:     "smtp.example.org",
		Username: "users@example.org",
		Password: os.Getenv("SMTP_PASSWORD"),
		From:     "Example <users@example.org>",
		Templates: map[userkit.MailKind]map[string]mail.Template{
			userkit.MailActivation: {
				"fr": {
					Subject: "Veuillez confirmer votre adresse",
					Text:    "Bonjour {{.Name}},\n\nouvrez cette page :\n\n{{.Link}}\n",
				},
			},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = mailer // for the manager
}
