package mail

import (
	"fmt"
	html "html/template"
	"io"
	"strings"
	text "text/template"
	"time"
	"unicode"

	"golang.org/x/text/language"

	"github.com/userkit/userkit"
)

// Template is the template of mails of one kind in one language. Subject and Text are templates of
// text/template, and HTML is one of html/template. They are executed with a Content.
type Template struct {
	Subject string // one line: line breaks and other control characters become spaces
	Text    string
	HTML    string // empty: the mail has no HTML part
}

// Content is the data that a Template is executed with.
type Content struct {
	Name      string // of the user; may be empty
	Address   string // of the user
	Link      string
	ExpiresAt time.Time // when the link expires, in UTC
}

// standard are the templates that Config.Templates replaces.
var standard = map[userkit.MailKind]map[string]Template{
	userkit.MailActivation: {
		"en": {
			Subject: `Please confirm your email address`,
			Text: `Hello{{with .Name}} {{.}}{{end}},

please confirm that {{.Address}} is your email address. Open this page
and press the button on it:

{{.Link}}

The link is good once, until {{.ExpiresAt.Format "2006-01-02 15:04 MST"}}.

If you do not know what this is about, you need not do anything.
`,
			HTML: `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Please confirm your email address</title></head>
<body>
<p>Hello{{with .Name}} {{.}}{{end}},</p>
<p>please confirm that {{.Address}} is your email address. Open this page and press the button on it:</p>
<p><a href="{{.Link}}">Confirm my email address</a></p>
<p>The link is good once, until {{.ExpiresAt.Format "2006-01-02 15:04 MST"}}.</p>
<p>If you do not know what this is about, you need not do anything.</p>
</body></html>
`,
		},
		"de": {
			Subject: `Bitte bestätigen Sie Ihre E-Mail-Adresse`,
			Text: `Guten Tag{{with .Name}} {{.}}{{end}},

bitte bestätigen Sie, dass {{.Address}} Ihre E-Mail-Adresse ist. Öffnen Sie dazu
diese Seite und drücken Sie die Schaltfläche darauf:

{{.Link}}

Der Link gilt einmal, bis {{.ExpiresAt.Format "02.01.2006 15:04 MST"}}.

Wenn Sie nicht wissen, worum es geht, brauchen Sie nichts zu tun.
`,
			HTML: `<!DOCTYPE html>
<html lang="de"><head><meta charset="utf-8"><title>Bitte bestätigen Sie Ihre E-Mail-Adresse</title></head>
<body>
<p>Guten Tag{{with .Name}} {{.}}{{end}},</p>
<p>bitte bestätigen Sie, dass {{.Address}} Ihre E-Mail-Adresse ist. Öffnen Sie dazu diese Seite und drücken Sie die Schaltfläche darauf:</p>
<p><a href="{{.Link}}">Meine E-Mail-Adresse bestätigen</a></p>
<p>Der Link gilt einmal, bis {{.ExpiresAt.Format "02.01.2006 15:04 MST"}}.</p>
<p>Wenn Sie nicht wissen, worum es geht, brauchen Sie nichts zu tun.</p>
</body></html>
`,
		},
	},
}

// parsed is a Template that was read.
type parsed struct {
	language string
	subject  *text.Template
	text     *text.Template
	html     *html.Template // nil: none
}

// parse reads a template, and runs it once, since most faults come up only then.
func (t Template) parse(tag string) (*parsed, error) {
	p := &parsed{language: tag}
	var err error
	if p.subject, err = text.New("subject").Parse(t.Subject); err != nil {
		return nil, err
	}
	if p.text, err = text.New("text").Parse(t.Text); err != nil {
		return nil, err
	}
	if t.HTML != "" {
		if p.html, err = html.New("html").Parse(t.HTML); err != nil {
			return nil, err
		}
	}
	subject, body, _, err := p.write(Content{Name: "Ada", Address: "ada@example.org", Link: "https://example.org/a", ExpiresAt: time.Unix(0, 0).UTC()})
	switch {
	case err != nil:
		return nil, err
	case subject == "":
		return nil, fmt.Errorf("the subject is empty")
	case strings.TrimSpace(body) == "":
		return nil, fmt.Errorf("the text is empty")
	}
	return p, nil
}

// write makes the parts of a mail.
func (p *parsed) write(content Content) (subject, body, page string, err error) {
	execute := func(template interface{ Execute(io.Writer, any) error }) string {
		var b strings.Builder
		if failed := template.Execute(&b, content); failed != nil && err == nil {
			err = failed
		}
		return b.String()
	}
	subject, body = oneLine(execute(p.subject)), execute(p.text)
	if p.html != nil {
		page = execute(p.html)
	}
	return subject, body, page, err
}

// oneLine makes every control character and line break a space.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s))
}

// shelf holds the templates of one kind in all its languages.
type shelf struct {
	matcher   language.Matcher
	templates []*parsed // in the order of the matcher; the first is the default
}

func newShelf(templates map[string]Template, standardLanguage string) (*shelf, error) {
	tags := make([]string, 0, len(templates))
	for tag := range templates {
		tags = append(tags, tag)
	}
	if _, ok := templates[standardLanguage]; !ok {
		return nil, fmt.Errorf("there is no template in %q, which is the default language", standardLanguage)
	}
	s := &shelf{}
	var known []language.Tag
	sortFirst(tags, standardLanguage)
	for _, tag := range tags {
		parsedTag, err := language.Parse(tag)
		if err != nil {
			return nil, fmt.Errorf("%q is not a language tag of BCP 47", tag)
		}
		p, err := templates[tag].parse(tag)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tag, err)
		}
		known, s.templates = append(known, parsedTag), append(s.templates, p)
	}
	s.matcher = language.NewMatcher(known)
	return s, nil
}

// in returns the template that suits a language best.
func (s *shelf) in(tag string) *parsed {
	wanted, err := language.Parse(tag)
	if tag == "" || err != nil {
		return s.templates[0]
	}
	_, index, _ := s.matcher.Match(wanted)
	return s.templates[index]
}
