package console

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/number"

	"github.com/userkit/userkit"
)

//go:embed texts/*.json
var textFiles embed.FS

// catalogue holds the texts of one language. The key of a text is the text in English,
// so that templates can be read; English itself has forms of its own only for numbers.
type catalogue struct {
	tag     language.Tag
	name    string // of the language, in itself
	texts   map[string]string
	plurals map[string]map[string]string // by the English plural: zero, one, two, few, many, other
	printer *message.Printer
	small   [100]string // the first numbers, of which pages are full
	decimal string      // what stands between a whole number and its fraction
}

// catalogueFile is a catalogue as the files of the folder texts have it.
type catalogueFile struct {
	Name    string                       `json:"name"`
	Texts   map[string]string            `json:"texts"`
	Plurals map[string]map[string]string `json:"plurals"`
}

// catalogues returns the catalogues of all languages, that of English first.
var catalogues = sync.OnceValue(func() []*catalogue {
	entries, err := textFiles.ReadDir("texts")
	if err != nil {
		panic(err) // they are in the program
	}
	var all []*catalogue
	for _, entry := range entries {
		content, err := textFiles.ReadFile("texts/" + entry.Name())
		if err != nil {
			panic(err)
		}
		var file catalogueFile
		if err := json.Unmarshal(content, &file); err != nil {
			panic(fmt.Errorf("texts/%s: %w", entry.Name(), err))
		}
		tag := language.MustParse(strings.TrimSuffix(entry.Name(), path.Ext(entry.Name())))
		printer := message.NewPrinter(tag)
		made := &catalogue{
			tag: tag, name: file.Name, texts: file.Texts, plurals: file.Plurals, printer: printer,
			decimal: strings.Trim(printer.Sprint(number.Decimal(0.5)), "05"),
		}
		for n := range made.small {
			made.small[n] = printer.Sprint(number.Decimal(n))
		}
		all = append(all, made)
	}
	slices.SortStableFunc(all, func(a, b *catalogue) int {
		return strings.Compare(strings.Replace(a.tag.String(), "en", "", 1), strings.Replace(b.tag.String(), "en", "", 1))
	})
	return all
})

var matcher = sync.OnceValue(func() language.Matcher {
	var tags []language.Tag
	for _, c := range catalogues() {
		tags = append(tags, c.tag)
	}
	return language.NewMatcher(tags)
})

// catalogueFor returns the catalogue of the language that a person chose, or else of one that the
// browser asks for.
func catalogueFor(r *http.Request) *catalogue {
	chosen := ""
	if cookie, err := r.Cookie(cookieLanguage); err == nil {
		chosen = cookie.Value
	}
	_, index := language.MatchStrings(matcher(), chosen, r.Header.Get("Accept-Language"))
	return catalogues()[index]
}

// text returns a text with its arguments filled in. It is in English if the catalogue does not have
// it.
func (c *catalogue) text(key string, args ...any) string {
	text, ok := c.texts[key]
	if !ok {
		text = key
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

var pluralNames = map[plural.Form]string{
	plural.Zero: "zero", plural.One: "one", plural.Two: "two", plural.Few: "few", plural.Many: "many", plural.Other: "other",
}

// count returns a text with a number in it, such as "%s users", in the form that the number needs.
func (c *catalogue) count(key string, n int64) string {
	digits := min(max(n, -n), 1<<31-1)
	form := pluralNames[plural.Cardinal.MatchPlural(c.tag, int(digits), 0, 0, 0, 0)]
	text, ok := c.plurals[key][form]
	if !ok {
		if text, ok = c.plurals[key]["other"]; !ok {
			text = key
		}
	}
	return fmt.Sprintf(text, c.number(n))
}

// number returns a whole number with its thousands separated.
func (c *catalogue) number(n int64) string {
	if n >= 0 && n < int64(len(c.small)) {
		return c.small[n]
	}
	return c.printer.Sprint(number.Decimal(n))
}

// label returns the name of a field, a status or another word of a table, which is known by
// its identifier: registered_at is "Registered".
func (c *catalogue) label(identifier string) string { return c.text(englishLabel(identifier)) }

// labels are the words whose English is not the identifier with spaces: those of the
// fields of users, and the others.
var labels = func() map[string]string {
	all := map[string]string{
		"android": "Android", "ios": "iOS", "macos": "macOS", "windows": "Windows", "linux": "Linux",
		"user_disabled": "Disabled", "user_inactive": "Not activated", "user_expired": "Expired", "no_device_slot": "No device slot",
		"ip": "IP", "started_at": "Started", "ended_at": "Ended", "internal_ip": "Internal IP",
		"purchased_at": "Purchased", "created_at": "Created", "verified_at": "Verified", "due_at": "Verified again",
		"set_license": "Set licence", "reset_usage": "Reset the traffic used", "set_traffic_limit": "Set traffic limit",
	}
	for _, field := range userkit.UserFields() {
		all[field.Name] = field.Label()
	}
	for _, field := range userkit.DerivedUserFields() {
		all[field.Name] = field.Label()
	}
	return all
}()

var identifierWords = strings.NewReplacer("_", " ", ".", ": ")

// englishLabel returns the English of an identifier. One that nobody has named is shown with
// spaces, so that a new field needs nothing here.
func englishLabel(identifier string) string {
	if label, ok := labels[identifier]; ok {
		return label
	}
	if name, ok := strings.CutPrefix(identifier, "attributes."); ok {
		return name
	}
	words := identifierWords.Replace(identifier)
	if words == "" {
		return ""
	}
	return strings.ToUpper(words[:1]) + words[1:]
}
