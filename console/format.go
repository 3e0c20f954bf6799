package console

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"html/template"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/userkit/userkit"
)

// At returns a time in the person's zone.
func (v *view) At(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(v.Zone).Format("2006-01-02 15:04")
}

// Exact returns a time to the second with its zone, for the text that appears on hover.
func (v *view) Exact(t time.Time) string {
	text := t.In(v.Zone).AppendFormat(make([]byte, 0, 64), "2006-01-02 15:04:05 -07:00")
	return string(t.UTC().AppendFormat(append(text, " · "...), time.RFC3339Nano))
}

// Time returns a time as an element that is short, and exact on hover.
func (v *view) Time(t time.Time) template.HTML {
	if t.IsZero() {
		return ""
	}
	return v.timeElement(t, v.At(t))
}

// Ago returns as an element how long ago a time was, or how far ahead it is. The exact time is shown
// on hover.
func (v *view) Ago(t time.Time) template.HTML {
	if t.IsZero() {
		return ""
	}
	return v.timeElement(t, v.ago(t))
}

func (v *view) timeElement(t time.Time, text string) template.HTML {
	return `<time datetime="` + escaped(t.UTC().Format(time.RFC3339)) + `" title="` + escaped(v.Exact(t)) + `">` + escaped(text) + `</time>`
}

func (v *view) ago(t time.Time) string {
	span := v.Now.Sub(t)
	future := span < 0
	span = span.Abs()
	var text string
	switch {
	case span < time.Minute:
		return v.T("just now")
	case span < time.Hour:
		text = v.N("%s minutes", int64(span/time.Minute))
	case span < 24*time.Hour:
		text = v.N("%s hours", int64(span/time.Hour))
	case span < 60*24*time.Hour:
		text = v.N("%s days", int64(span/(24*time.Hour)))
	default:
		return t.In(v.Zone).Format("2006-01-02")
	}
	if future {
		return v.T("in %s", text)
	}
	return v.T("%s ago", text)
}

// Lasted returns how long something took.
func (v *view) Lasted(from, to time.Time) string {
	if to.IsZero() {
		to = v.Now
	}
	return v.Span(to.Sub(from))
}

// Span returns a length of time in its two largest units.
func (v *view) Span(span time.Duration) string {
	span = max(span, 0)
	switch {
	case span < time.Minute:
		return v.N("%s seconds", int64(span/time.Second))
	case span < time.Hour:
		return v.N("%s minutes", int64(span/time.Minute))
	case span < 24*time.Hour:
		return fmt.Sprintf("%d:%02d", span/time.Hour, span%time.Hour/time.Minute) + " " + v.T("h")
	}
	return v.N("%s days", int64(span/(24*time.Hour)))
}

var byteUnits = []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}

// Bytes returns a size in a unit that can be read.
func (v *view) Bytes(n any) string { return readable(integer(n)) }

func readable(n int64) string {
	value, unit := float64(n), 0
	for value >= 999.5 && unit < len(byteUnits)-1 {
		value /= 1000
		unit++
	}
	if unit == 0 || value >= 99.95 {
		return fmt.Sprintf("%.0f %s", value, byteUnits[unit])
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0") + " " + byteUnits[unit]
}

// Size returns a size as an element that is readable, and exact on hover.
func (v *view) Size(n any) template.HTML {
	return `<span title="` + escaped(v.N("%s bytes", n)) + `">` + escaped(v.Bytes(n)) + `</span>`
}

// Percent returns which part of a whole something is, in percent from 0 to 100.
func (v *view) Percent(part, whole int64) int {
	if whole <= 0 {
		return 0
	}
	return int(min(100, max(0, float64(part)*100/float64(whole))))
}

// Money returns an amount as the person's language writes it.
func (v *view) Money(m userkit.Money) string {
	number, currency, _ := strings.Cut(m.String(), " ")
	unsigned, negative := strings.CutPrefix(number, "-")
	whole, fraction, _ := strings.Cut(unsigned, ".")
	units, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return m.String() // minor units of no known currency, beyond 63 bits
	}
	text := v.Number(units)
	if fraction != "" {
		text += v.texts.decimal + fraction
	}
	if negative {
		text = "−" + text
	}
	return strings.TrimSpace(text + " " + currency)
}

// Country returns the name of a country in the person's language.
func (v *view) Country(code string) string {
	region, err := language.ParseRegion(code)
	if err != nil {
		return code
	}
	if name := display.Regions(v.texts.tag).Name(region); name != "" {
		return name
	}
	return code
}

var countryCodes = sync.OnceValue(func() []string {
	var codes []string
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			code := string([]rune{a, b})
			if region, err := language.ParseRegion(code); err == nil && region.IsCountry() && region.Canonicalize().String() == code {
				codes = append(codes, code)
			}
		}
	}
	return codes
})

// Countries returns the countries in the order of their names in the person's language.
func (v *view) Countries(selected string) []choice {
	names := display.Regions(v.texts.tag)
	var all []choice
	for _, code := range countryCodes() {
		if name := names.Name(language.MustParseRegion(code)); name != "" {
			all = append(all, choice{code, name, code == selected})
		}
	}
	if !slices.ContainsFunc(all, func(c choice) bool { return c.Value == selected }) && selected != "" {
		all = append(all, choice{selected, selected, true})
	}
	slices.SortFunc(all, func(a, b choice) int { return strings.Compare(userkit.SortKey(a.Text), userkit.SortKey(b.Text)) })
	return all
}

// Icon returns an icon. Its shapes are part of the page, since a browser takes half as long again to
// show a table whose rows refer to shapes in another file.
func (v *view) Icon(name string) template.HTML {
	return `<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">` + icons()[name] + `</svg>`
}

// DeviceIcon returns the icon of a type of device.
func (v *view) DeviceIcon(kind userkit.DeviceType) template.HTML {
	icon := map[userkit.DeviceType]string{
		userkit.DeviceAndroid: "smartphone", userkit.DeviceIOS: "tablet", userkit.DeviceMacOS: "laptop",
		userkit.DeviceWindows: "monitor", userkit.DeviceLinux: "server", userkit.DeviceRouter: "router", userkit.DeviceWeb: "globe",
	}[kind]
	if icon == "" {
		icon = "settings"
	}
	return v.Icon(icon)
}

// Avatar returns the picture of a user, or the initials on one of eight colours.
func (v *view) Avatar(user userkit.User) template.HTML {
	hash := fnv.New32a()
	_, _ = hash.Write(user.ID[:]) // never fails
	var picture template.HTML
	if v.console.gravatar {
		picture = `<img src="` + escaped(user.GravatarURL(64)) + `" alt="" loading="lazy" width="28" height="28">`
	}
	return `<span class="avatar tone-` + escaped(strconv.Itoa(int(hash.Sum32()%8))) + `" aria-hidden="true">` + picture +
		`<span>` + escaped(user.Initials()) + `</span></span>`
}

// Person returns a user as an element with the picture, the name and the address below it. With link,
// the name is a link to the user if the person may follow it.
func (v *view) Person(user userkit.User, link bool) template.HTML {
	name := isolated(user.DisplayName())
	if link {
		name = v.UserLink(user.ID, "", user.DisplayName())
	}
	return `<span class="person">` + v.Avatar(user) + `<span><b>` + name + `</b><small>` + isolated(cmp.Or(user.Email, user.Login, user.Phone)) + `</small></span></span>`
}

// UserLink returns a link to a tab of a user, or the name alone where the person may not follow it.
func (v *view) UserLink(id userkit.UserID, tab, name string) template.HTML {
	address := v.UserURL(id, tab)
	if address == "" {
		return isolated(name)
	}
	return `<a data-open href="` + escaped(address) + `">` + isolated(name) + `</a>`
}

// Badge returns a word of a table as a badge of its tone.
func (v *view) Badge(word any) template.HTML { return badge(v.Tone(word), v.Label(word)) }

// Tone returns the tone of a status: good, warn, bad or plain.
func (v *view) Tone(word any) string {
	switch fmt.Sprint(word) {
	case "active", "allowed", "refill", "production", "created", "delivered":
		return "good"
	case "invited", "inactive", "user_inactive", "traffic_limit", "undecided", "pending", "paused", "unpaid", "sandbox", "updated", "stale", "waiting":
		return "warn"
	case "disabled", "user_disabled", "user_expired", "charge", "expired", "revoked", "forged", "no_device_slot", "failed", "deactivated", "gone", "refused":
		return "bad"
	}
	return "plain"
}

// JSON returns a JSON value over several lines.
func (v *view) JSON(raw json.RawMessage) string {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return string(raw)
	}
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return string(raw)
	}
	return string(text)
}

// Compact returns a JSON value on one line, for a table.
func (v *view) Compact(raw json.RawMessage) string {
	text := strings.Join(strings.Fields(string(raw)), " ")
	if runes := []rune(text); len(runes) > 160 {
		return string(runes[:160]) + "…"
	}
	return text
}

// Who returns the name of an actor.
func (v *view) Who(actor userkit.Actor) string {
	switch {
	case actor.Name != "":
		return actor.Name
	case actor.ID != "":
		return actor.ID
	case actor.Kind == "":
		return v.Label(string(userkit.ActorSystem))
	}
	return v.Label(actor.Kind)
}

// By returns the name of an actor as an element, which also says if the actor acted on behalf of the
// user.
func (v *view) By(actor userkit.Actor) template.HTML {
	name := isolated(v.Who(actor))
	if actor.OnBehalfOf.IsZero() {
		return name
	}
	return name + " " + muted(escaped(v.T("on behalf of the user")))
}

// reasons are texts that say what an access reason means and how access can be restored.
var reasons = map[userkit.AccessReason]string{
	userkit.CodeUserDisabled: "An administrator has deactivated the user. Activate the user to restore access.",
	userkit.CodeUserInactive: "The user was created by an administrator and waits for activation.",
	userkit.CodeUserExpired:  "The user has expired. A later expiry date restores access.",
	userkit.CodeTrafficLimit: "The traffic of this period is used up. A higher limit or a reset restores access.",
	userkit.CodeNoDeviceSlot: "The device is beyond the number that the licence allows.",
}

// Reason returns what an access reason means.
func (v *view) Reason(reason userkit.AccessReason) string { return v.T(reasons[reason]) }
