package console

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/charmap"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
	"github.com/userkit/userkit/userio"
)

// hidden returns the value of a hidden input of a page.
func (a answer) hidden(name string) string {
	a.t.Helper()
	found := regexp.MustCompile(`name="` + regexp.QuoteMeta(name) + `" value="([^"]*)"`).FindStringSubmatch(a.body)
	require.NotNil(a.t, found, "no input "+name)
	return html.UnescapeString(found[1])
}

func TestUsersAreSearchedFilteredAndSorted(t *testing.T) {
	s := newSite(t)
	ada := s.user("ada")
	s.user("bob")
	_, err := s.users.DeactivateUser(t.Context(), ada.ID)
	require.NoError(t, err)

	a := s.get("/users").says(200, "Ada bob", `hx-get="/admin/users?count=1"`)
	s.get("/users?count=1").says(200, "Ada bob", `hx-morph-skip>1<`)
	s.get("/users?do=bulk").says(200, "For the 1 user of the list.")
	require.NotContains(t, a.body, "Ada ada", "disabled users do not appear by default")
	s.get("/users?all=1&count=1").says(200, "Ada ada", "Ada bob", `hx-morph-skip>2<`)
	require.NotContains(t, s.get("/users?all=1&q=bob").ok(), "Ada ada")
	require.NotContains(t, s.get("/users?all=1&filter=login+eq+%22ada%22").ok(), "Ada bob")

	up, down := s.get("/users?all=1&sort=name").ok(), s.get("/users?all=1&sort=name&desc=1").ok()
	require.Less(t, strings.Index(up, "Ada ada"), strings.Index(up, "Ada bob"))
	require.Less(t, strings.Index(down, "Ada bob"), strings.Index(down, "Ada ada"))
	require.Contains(t, up, `aria-sort="ascending"`)

	first := s.get("/users?all=1&sort=login&limit=1").says(200, "Ada ada", "Next page", `href="/admin/users?all=1&limit=50&sort=login" aria-label="Rows: 50"`)
	require.Contains(t, s.get("/users?all=1&sort=login&limit=1").body, `name="limit" value="1"`, "a search keeps it")
	require.NotContains(t, first.body, "Ada bob")
	next := regexp.MustCompile(`rel="next" href="/admin([^"]*)"`).FindStringSubmatch(first.body)
	require.NotNil(t, next)
	second := s.get(html.UnescapeString(next[1])).says(200, "Ada bob", "First page", "Previous page")
	previous := regexp.MustCompile(`rel="prev" href="/admin([^"]*)"`).FindStringSubmatch(second.body)
	require.NotNil(t, previous)
	back := s.get(html.UnescapeString(previous[1])).says(200, "Ada ada", "Next page")
	require.NotContains(t, back.body, "Previous page")
	require.NotContains(t, back.body, "First page", "it is the first page")
	s.get("/users?cursor=damaged").says(422, "damaged")
	s.get("/users?sort=unknown").says(422)
}

func TestAFilterIsBuiltShownAsChipsAndSaved(t *testing.T) {
	s := newSite(t)
	s.user("ada")
	s.get("/users/filter?field=login&operator=co&value=ad\"a").leads(`/users?filter=login+co+%22ad%5C%22a%22`)
	s.get("/users/filter?filter=login+pr&field=devices&operator=ge&value=2").leads(`/users?filter=login+pr+and+devices+ge+2`)
	s.get("/users/filter?filter=login+pr&join=or&attribute=seats&operator=gt&value=3").leads(`/users?filter=login+pr+or+attributes.seats+gt+3`)
	s.get("/users/filter?field=traffic_limit&operator=ge&value=1.5+GB").leads(`/users?filter=traffic_limit+ge+1500000000`)
	s.get("/users/filter?field=registered_at&operator=lt&value=2026-03-01").leads(`/users?filter=registered_at+lt+%222026-03-01T00%3A00%3A00Z%22`)

	a := s.get("/users?filter=login+pr+and+country+eq+%22GB%22").says(200, `<code dir="ltr">login pr</code>`, `country eq "GB"`)
	require.Contains(t, html.UnescapeString(a.body), `href="/admin/users?filter=country+eq+%22GB%22"`, "a chip can be taken away")

	fault := s.get("/users?filter=login+pr+and+colour+eq+%22x%22").says(422, "There is no such field", "character 14")
	require.Contains(t, fault.body, "<mark>c</mark>olour", "the error points at the character")

	s.post("/users/segment", "list", "filter=country+eq+%22GB%22", "name", "British")
	found, err := s.users.Segments(t.Context(), userkit.SegmentQuery{})
	require.NoError(t, err)
	require.Equal(t, `country eq "GB"`, found.Items[0].Rule.String())
	s.post("/users/segment", "list", "filter=country+eq+%22GB%22", "name", "british", "do", "save").says(422, "Another segment has this name.")
	s.post("/users/segment", "list", "", "name", "all", "do", "save").says(422, "Set a filter first")
}

func TestColumnsAreChosenOrderedAndRemembered(t *testing.T) {
	s := newSite(t)
	s.user("ada")
	s.post("/users/columns", "list", "q=ada", "column", "extref", "column", "phone", "position-extref", "2", "position-phone", "1", "attributes", "plan, bad name;").leads("/users?q=ada")
	body := s.get("/users").ok()
	require.Less(t, strings.Index(body, ">Phone<"), strings.Index(body, ">External reference<"))
	require.Contains(t, body, "gold")
	require.NotContains(t, body, ">Licence</a></th>")
	s.post("/users/columns", "standard", "1").leads("/users")
	require.Contains(t, s.get("/users").ok(), ">Licence</a></th>")
}

func TestAUserIsCreatedAndWhatWasTypedStays(t *testing.T) {
	s := newSite(t)
	s.user("ada")
	s.post("/users", "login", "ada", "name", "Second <b>", "email", "new@example.org", "status", "inactive", "kind", "individual").
		says(422, "Another user has this login.", `value="Second <b>"`, `value="new@example.org"`)
	s.post("/users", "login", "eve", "expires_at", "nonsense").says(422, "right form")
	s.post("/users", "login", "eve", "user", "nonsense").says(422, "right form")

	// A form that is sent twice makes one user; one that was refused can be sent again.
	id := s.get("/users/new").says(200).hidden("user")
	require.Equal(t, id, s.post("/users", "user", id, "login", "ada", "name", "Nameless").says(422, "Another user has this login.").hidden("user"))
	for range 2 {
		s.post("/users", "user", id, "name", "Nameless").leads("/users/" + id)
	}
	nameless, err := s.users.CountUsers(t.Context(), userkit.UserFilter{Search: "Nameless"})
	require.NoError(t, err)
	require.EqualValues(t, 1, nameless)
	// Who goes back and fills the form in anew makes another user.
	s.post("/users", "user", id, "login", "anew", "name", "Anew").says(303)
	anew, err := s.users.FindUser(t.Context(), userkit.ByLogin("anew"))
	require.NoError(t, err)
	require.NotEqual(t, id, anew.ID.String())
	a := s.post("/users", "login", "eve", "name", "Eve", "license", "Solo", "country", "FR", "status", "active", "kind", "legal_entity", "bank", "Example Bank", "valid_for", "30")
	require.Equal(t, 303, a.status)
	eve, err := s.users.FindUser(t.Context(), userkit.ByLogin("eve"))
	require.NoError(t, err)
	require.Equal(t, "/admin/users/"+eve.ID.String(), a.header.Get("Location"))
	require.Equal(t, []any{"Eve", "Solo", "FR", userkit.StatusActive, userkit.UserLegalEntity, "Example Bank", "720h"},
		[]any{eve.Name, eve.License, eve.Country, eve.Status, eve.Kind, eve.Payer.Bank, eve.ValidFor.String()})
	s.get("/users/"+eve.ID.String()).says(200, "The user is created.")
	require.NotContains(t, s.get("/users/"+eve.ID.String()).ok(), "The user is created.", "a notice is shown once")
	events, err := s.users.Events(t.Context(), userkit.EventQuery{EventFilter: userkit.EventFilter{UserID: eve.ID}})
	require.NoError(t, err)
	require.Equal(t, administrator, events.Items[0].Actor)
}

// edit returns the form of a card as a browser would send it, with some values changed.
func (s *site) edit(id userkit.UserID, group string, changes ...string) []string {
	s.t.Helper()
	a := s.get("/users/" + id.String() + "?do=" + group)
	a.ok()
	pairs := []string{"do", group, "revision", a.hidden("revision")}
	for _, field := range fieldsOf(group) {
		was := a.hidden("was." + field.Name)
		now := was
		for i := 0; i < len(changes); i += 2 {
			if changes[i] == field.Name {
				now = changes[i+1]
			}
		}
		pairs = append(pairs, "was."+field.Name, was, field.Name, now)
	}
	return pairs
}

func TestAUserIsEditedInPlace(t *testing.T) {
	s := newSite(t)
	user := s.user("ada")
	of := "/users/" + user.ID.String()
	s.post(of+"/edit", s.edit(user.ID, "profile", "name", "Ada Lovelace", "description", "line\r\ntwo", "country", "FR", "license", "Solo", "extref", "X-1", "expires_at", "2026-04-01T10:00")...).leads(of)
	now, err := s.users.User(t.Context(), user.ID)
	require.NoError(t, err)
	require.Equal(t, []string{"Ada Lovelace", "line\ntwo", "FR", "Solo", "X-1", "2026-04-01T10:00:00Z", "ada@example.org"},
		[]string{now.Name, now.Description, now.Country, now.License, now.ExtRef, now.ExpiresAt.Format("2006-01-02T15:04:05Z"), now.Email})
	s.post(of+"/edit", s.edit(user.ID, "profile", "email", "not an address", "name", "kept")...).says(422, `value="not an address"`, `value="kept"`, `id="error-email"`)
	s.post(of+"/edit", s.edit(user.ID, "billing", "bank", "B", "kind", "legal_entity")...).leads(of)
	s.post(of+"/edit", s.edit(user.ID, "profile", "expires_at", "", "valid_for", "1.5")...).leads(of)
	s.get(of+"?do=profile").says(200, `name="valid_for" type="text" value="36h"`)
	s.post(of+"/edit", s.edit(user.ID, "profile", "valid_for", "30")...).leads(of)
	s.get(of+"?do=profile").says(200, `name="valid_for" type="text" value="30"`)
	require.Contains(t, s.get("/users/new").ok(), `name="valid_for" type="text" value=""`)
	s.post(of+"/edit", "do", "access").says(400)
}

func TestTwoEditorsMeetFieldByField(t *testing.T) {
	s := newSite(t)
	user := s.user("ada")
	of := "/users/" + user.ID.String()
	mine := s.edit(user.ID, "profile", "name", "Mine", "description", "also mine")
	other := s.edit(user.ID, "profile", "name", "Theirs")
	apart := s.edit(user.ID, "profile", "phone", "+375291234567")
	s.post(of+"/edit", other...).leads(of)
	s.post(of+"/edit", apart...).leads(of) // another field: nothing to ask
	a := s.post(of+"/edit", mine...).says(412, "Somebody else has changed this", "Theirs", "Mine", `value="Mine"`)
	now, err := s.users.User(t.Context(), user.ID)
	require.NoError(t, err)
	require.Equal(t, "Theirs", now.Name)
	require.Empty(t, now.Description)
	require.Equal(t, "+375291234567", now.Phone)
	require.Equal(t, "Theirs", a.hidden("was.name"), "saving again keeps mine")
	again := []string{"do", "profile", "revision", a.hidden("revision")}
	for _, field := range fieldsOf("profile") {
		value := a.hidden("was." + field.Name)
		again = append(again, "was."+field.Name, value)
		switch field.Name {
		case "name":
			value = "Mine"
		case "description":
			value = "also mine"
		}
		again = append(again, field.Name, value)
	}
	s.post(of+"/edit", again...).leads(of)
	now, err = s.users.User(t.Context(), user.ID)
	require.NoError(t, err)
	require.Equal(t, []string{"Mine", "also mine", "+375291234567"}, []string{now.Name, now.Description, now.Phone})
}

func TestAttributesAreEdited(t *testing.T) {
	s := newSite(t)
	user := s.user("ada")
	of := "/users/" + user.ID.String()
	a := s.get(of+"?do=attributes").says(200, `value="gold"`, `value="5"`)
	s.post(of+"/attributes", "revision", a.hidden("revision"), "attribute-name", "plan", "attribute-value", "silver", "attribute-name", "n", "attribute-value", "12345678901234567",
		"attribute-name", "list", "attribute-value", `["a", 1]`, "attribute-name", "text", "attribute-value", `"5"`, "attribute-name", "", "attribute-value", "lost").leads(of)
	now, err := s.users.User(t.Context(), user.ID)
	require.NoError(t, err)
	require.Equal(t, userkit.Attributes{"plan": "silver", "n": int64(12345678901234567), "list": []any{"a", int64(1)}, "text": "5"}, now.Attributes)
	s.get(of+"?do=attributes").says(200, `value=""5""`)

	// What a person leaves as it is stays what it is, null too.
	_, err = s.users.UpdateUser(t.Context(), user.ID, userkit.UserPatch{Attributes: userkit.Set(userkit.Attributes{"none": nil, "n": 5})})
	require.NoError(t, err)
	a = s.get(of+"?do=attributes").says(200, `value="none"`)
	s.post(of+"/attributes", "revision", a.hidden("revision"), "attribute-name", "none", "attribute-value", "", "attribute-name", "n", "attribute-value", "6").leads(of)
	now, err = s.users.User(t.Context(), user.ID)
	require.NoError(t, err)
	require.Equal(t, userkit.Attributes{"none": nil, "n": int64(6)}, now.Attributes)
	s.post(of+"/attributes", "do", "attributes", "revision", "1", "attribute-name", "n", "attribute-value", "x").says(412, "Somebody else")
	s.post(of+"/attributes", "do", "attributes", "revision", "4", "attribute-name", "bad name!", "attribute-value", "x").says(422, `value="bad name!"`)
}

// postman is a mailer that does what it is told to.
type postman struct {
	mails []userkit.Mail
	err   error
}

func (p *postman) SendMail(_ context.Context, mail userkit.Mail) error {
	if p.err == nil {
		p.mails = append(p.mails, mail)
	}
	return p.err
}

func TestActivationMail(t *testing.T) {
	const button = "Send activation mail"
	post := &postman{}
	forbidden := ""
	s := newSiteOf(t, []userkit.Option{
		userkit.WithVerifiers(verifier{}),
		userkit.WithActivation(userkit.ActivationPolicy{Mailer: post, Link: "https://example.org/confirm#{token}", MailsPerHour: 3}),
		allows(func(operation userkit.Operation) bool { return operation.Name != forbidden }),
	})
	user := s.user("ada")
	of := "/users/" + user.ID.String()
	s.get(of).says(200, "Not verified", button)
	s.post(of + "/send-activation").leads(of)
	s.get(of).says(200, "The activation mail is sent.", button)
	require.Len(t, post.mails, 1)
	require.Equal(t, "ada@example.org", post.mails[0].Address)

	post.err = userkit.NewError(userkit.CodeMailRefused, "", "no such box")
	s.post(of+"/send-activation").says(422, "The address accepts no mail. Correct the email address of the user, then send the mail again.", button)
	post.err = errors.New("the server is away")
	s.post(of+"/send-activation").says(503, "Please try again in a few minutes.", button)
	s.post(of+"/send-activation").says(422, "as many mails as allowed within an hour. It may be available again at 2026-03-05 13:30", button)
	post.err = nil
	s.now = s.now.Add(time.Hour)
	s.post(of + "/send-activation").leads(of)
	require.Len(t, post.mails, 2)
	for _, mail := range post.mails { // the link is the user's alone
		_, token, _ := strings.Cut(mail.Link, "#")
		require.NotContains(t, s.get(of).ok()+s.get(of+"/activity").ok(), token)
	}

	forbidden = "users.send_activation"
	require.NotContains(t, s.get(of).says(200, "Not verified").body, button)
	require.Equal(t, http.StatusForbidden, s.post(of+"/send-activation").status)
	forbidden = ""
	s.post(of + "/deactivate").leads(of)
	require.NotContains(t, s.get(of).ok(), button)
	s.post(of+"/send-activation").says(422, "An administrator has deactivated the user.")
	s.post(of + "/activate").leads(of)

	_, token, _ := strings.Cut(post.mails[1].Link, "#")
	_, err := s.users.ConfirmEmail(t.Context(), token)
	require.NoError(t, err)
	body := s.get(of).says(200, "Verified").body
	require.NotContains(t, body, "Not verified")
	require.NotContains(t, body, button)
	s.post(of+"/send-activation").says(422, "There is nothing to confirm any more")

	nameless, err := s.users.CreateUser(t.Context(), userkit.NewUser{Login: "nameless"})
	require.NoError(t, err)
	require.NotContains(t, s.get("/users/"+nameless.ID.String()).says(200, "No email address.").body, button)

	// A host that sends no mails is offered none, and one without a domain no addresses.
	s = newSite(t)
	user = s.user("ada")
	of = "/users/" + user.ID.String()
	body = s.get(of).says(200, "Not verified").body
	require.NotContains(t, body, button)
	require.NotContains(t, body, "Push mail")
	s.post(of+"/send-activation").says(422, "the program that mounts the console has no mailer")
}

func TestTheOverviewHasTheTrafficOfAll(t *testing.T) {
	forbidden := ""
	s := newSiteOf(t, []userkit.Option{userkit.WithVerifiers(verifier{}), allows(func(operation userkit.Operation) bool { return operation.Name != forbidden })})
	s.get("/").says(200, "No traffic in the last 14 days.")
	s.full()
	emmy := s.user("emmy")
	session, err := s.users.StartSession(t.Context(), userkit.NewSession{UserID: emmy.ID, Node: "ams-2"})
	require.NoError(t, err)
	_, err = s.users.ReportUsage(t.Context(), []userkit.UsageReport{{SessionID: session.ID, Received: 2_000_000, Sent: 750_000}})
	require.NoError(t, err)
	s.now = s.now.Add(overviewAge)
	body := s.get("/").says(200, "Traffic per day", "3.5 MB", "1 MB", "2026-03-05").body
	require.Contains(t, html.UnescapeString(body), `"received":[0,0,0,0,0,0,0,0,0,0,0,0,0,3500000]`)
	s.now = s.now.AddDate(0, 0, overviewDays)
	s.get("/").says(200, "No traffic in the last 14 days.")
	forbidden = "sessions.traffic"
	s.now = s.now.Add(overviewAge)
	require.NotContains(t, s.get("/").ok(), "traffic")
}

func TestPushMail(t *testing.T) {
	s := newSiteOf(t, []userkit.Option{userkit.WithVerifiers(verifier{}), userkit.WithPushMail(userkit.PushMailPolicy{Domain: "push.example.org"})})
	user, _, _, _, _ := s.full()
	of := "/users/" + user.ID.String()
	s.get(of).says(200, "No address.", "Generate an address")
	s.post(of + "/push-mail").leads(of)
	first, err := s.users.PushMail(t.Context(), user.ID)
	require.NoError(t, err)
	body := s.get(of).says(200, "The address is new.", `data-copy="`+first.Address+`"`).body
	require.NotContains(t, body, of+`/push-mail"`, "an address that is in use is not replaced without a question")
	require.NotContains(t, body, of+`/revoke-push-mail"`)
	s.get(of+"?do=renew-push-mail").says(200, "Replace the address?", first.Address, of+`/push-mail"`)
	s.get(of+"?do=revoke-push-mail").says(200, "Revoke the address?", first.Address, of+`/revoke-push-mail"`)
	s.post(of + "/push-mail").leads(of)
	second, err := s.users.PushMail(t.Context(), user.ID)
	require.NoError(t, err)
	require.NotEqual(t, first.Address, second.Address)
	s.post(of + "/revoke-push-mail").leads(of)
	s.get(of).says(200, "The address is revoked.", "No address.")
	require.NotContains(t, s.get(of+"?do=revoke-push-mail").ok(), "<dialog")
}

func TestStatusLimitAndDeletion(t *testing.T) {
	s := newSite(t)
	user, _, _, _, _ := s.full()
	of := "/users/" + user.ID.String()
	s.post(of + "/deactivate").leads(of)
	s.get(of).says(200, "The user is deactivated.", "Disabled", "An administrator has deactivated the user.")
	s.post(of + "/activate").leads(of)

	s.post(of+"/limit", "do", "limit", "traffic_limit", "much", "traffic_reset", "daily").says(422, `value="much"`, `id="error-traffic_limit"`)
	s.post(of+"/limit", "do", "limit", "traffic_limit", "1.5 MB", "traffic_reset", "monthly", "traffic_anchor_day", "15").leads(of)
	now, err := s.users.User(t.Context(), user.ID)
	require.NoError(t, err)
	require.Equal(t, userkit.TrafficLimit{Bytes: 1_500_000, Reset: userkit.ResetMonthly, AnchorDay: 15}, now.Traffic.Limit)
	s.get(of).says(200, "Traffic limit", "It ends by itself at", "2026-03-15 00:00")
	s.get(of+"?at=2026-03-16T00:00").says(200, "Has access")
	s.post(of+"/limit", "traffic_limit", "1.5 MB", "traffic_reset", "daily", "reset", "1").leads(of)
	s.get(of).says(200, "Has access")
	s.post(of+"/limit", "unlimited", "1", "traffic_reset", "daily").leads(of)
	s.get(of).says(200, "Unlimited")

	archive := s.get(of + "/archive.zip")
	require.Equal(t, `attachment; filename="user-`+user.ID.String()+`.zip"`, archive.header.Get("Content-Disposition"))
	files, err := zip.NewReader(bytes.NewReader([]byte(archive.ok())), int64(len(archive.body)))
	require.NoError(t, err)
	require.Len(t, files.File, len(userkit.RecordKinds())+1)

	s.post(of+"/delete", "do", "delete", "confirm", "yes").says(422, "This is not the id of the user.", `value="yes"`)
	s.post(of+"/delete", "do", "delete", "confirm", user.ID.String()).says(200, "Receipt", "Alex Morgan")
	s.get(of).says(404, "There is no such user.")
}

func TestDevices(t *testing.T) {
	s := newSite(t)
	user, device, _, _, _ := s.full()
	of := "/users/" + user.ID.String() + "/devices"
	s.get(of).says(200, "1 of 2 slots used", "····"+device.TokenHint)

	shown := s.post(of+"/reveal", "do", "reveal", "target", device.ID.String()).says(200, device.AccessToken)
	require.Equal(t, "no-store", shown.header.Get("Cache-Control"))
	require.Empty(t, shown.header.Get("Content-Encoding"))
	require.Equal(t, "false", shown.header.Get("Hx-Push-Url"), "the address of an action is no page")
	require.NotContains(t, s.get(of).ok(), device.AccessToken)
	s.get(of + "/reveal").leads("/users/" + user.ID.String() + "/devices")

	s.header.Set("Accept-Encoding", "gzip")
	require.Empty(t, s.post(of+"/rotate", "target", device.ID.String()).header.Get("Content-Encoding"), "a page with a secret is not compressed")
	require.Equal(t, "gzip", s.get(of).header.Get("Content-Encoding"))
	s.header.Del("Accept-Encoding")
	_, err := s.users.Authenticate(t.Context(), device.AccessToken)
	require.ErrorIs(t, err, userkit.ErrForbidden)

	s.post(of+"/edit", "target", device.ID.String(), "name", "Tablet", "type", "ios").leads(of)
	s.get(of).says(200, "Tablet", "iOS")
	s.post(of+"/edit", "do", "edit", "target", device.ID.String(), "name", strings.Repeat("x", 300), "type", "ios").says(422, "This is too long.")
	s.post(of+"/register", "do", "register", "name", "second", "type", "linux").says(200, "This is shown once.")
	s.post(of+"/register", "do", "register", "name", "third", "type", "linux").says(422, "The license allows no more devices.", `value="third"`)
	_, err = s.users.ReportLocation(t.Context(), device.ID, userkit.Location{Latitude: 52.5, Longitude: 13.4})
	require.NoError(t, err)
	s.get(of+"?do=withdraw&target="+device.ID.String()).says(200, "agreed to", "Withdraw the consent to keep its location?")
	s.post(of+"/withdraw", "do", "withdraw", "target", device.ID.String()).leads(of)
	require.NotContains(t, s.get(of).says(200, "not agreed to").body, "do=withdraw")
	withdrawn, err := s.users.Device(t.Context(), device.ID)
	require.NoError(t, err)
	require.Zero(t, withdrawn.Location, "it is deleted as well")
	s.post(of+"/delete", "target", device.ID.String()).leads(of)
	require.NotContains(t, s.get(of).ok(), "Tablet")
}

func TestSessions(t *testing.T) {
	s := newSite(t)
	user, device, session, _, _ := s.full()
	of := "/users/" + user.ID.String() + "/sessions"
	s.get(of).says(200, "fra-1", "Frankfurt", "10.0.0.7", "1.5 MB", "250 kB", "phone")
	s.get(of+"?from=2026-01-01&to=2026-03-06").says(422, "at most 30 days")
	s.get(of + "?from=nonsense").says(422)
	s.get(of+"?device="+device.ID.String()+"&sort=received&desc=1").says(200, "fra-1")
	s.get("/sessions").says(200, "Ada ada", "fra-1", `hx-trigger="every 5s"`)
	s.post(of+"/end", "target", session.ID.String()).leads(of)
	s.get(of).says(200, "The session has ended.")
	s.get("/sessions").says(200, "No user is connected now.")
	s.get("/sessions?from=2026-03-05&to=2026-03-05").says(200, "Ada ada")
	s.get("/sessions?from=2026-01-05&to=2026-03-05").says(422, "at most 30 days")

	s.get("/users/"+user.ID.String()+"/traffic").says(200, "<traffic-plot", "1.5 MB", `"received":[`)
	s.get("/users/"+user.ID.String()+"/traffic?from=2026-03-05&to=2026-03-01").says(422, "must end after it begins")
	s.get("/users/" + user.ID.String() + "/traffic?from=x").says(422)
}

func TestPurchases(t *testing.T) {
	s := newSite(t)
	user, _, _, purchase, _ := s.full()
	of := "/users/" + user.ID.String() + "/purchases"
	s.get(of).says(200, "vpn.month", "T-order-ada", "Active")
	s.get(of+"?do=raw&target="+purchase.ID.String()).says(200, `"said"`)
	s.post(of+"/deactivate", "target", purchase.ID.String()).leads(of)
	s.get(of).says(200, "The purchase is deactivated.", "Deactivated")
	s.post(of+"/activate", "target", purchase.ID.String()).leads(of)
	s.get("/purchases").says(200, "Ada ada", "vpn.month")

	waiting, err := s.users.SubmitPurchase(t.Context(), user.ID, userkit.Receipt{Store: "shop", Token: "undecided-1"})
	require.NoError(t, err)
	s.post(of+"/activate", "do", "activate-purchase", "target", waiting.ID.String()).says(503, "The store of the purchase does not answer now.")
	s.get("/").says(200, "1 purchase is undecided")
}

func TestABusinessProjectHasNoPurchases(t *testing.T) {
	s := newSiteOf(t, []userkit.Option{userkit.WithProjectKind(userkit.ProjectBusiness)})
	user := s.user("ada")
	require.NotContains(t, s.get("/users/"+user.ID.String()).ok(), "Purchases")
	s.get("/purchases").says(422, "A business project has no purchases.")
}

func TestBalance(t *testing.T) {
	s := newSite(t)
	user, _, _, _, _ := s.full()
	of := "/users/" + user.ID.String() + "/balance"
	s.get(of).says(200, `id="balance">12.50 EUR<`, "first")
	key := s.get(of + "?do=refill").hidden("key")
	for range 2 { // a form that is sent twice counts once
		s.post(of+"/refill", "key", key, "amount", "10,00", "note", "by hand", "reference", "R-1").leads(of)
	}
	s.get(of).says(200, `id="balance">22.50 EUR<`, "by hand", "R-1", "The balance is refilled.")
	s.post(of+"/refill", "do", "refill", "key", "k9", "amount", "ten", "note", "kept").says(422, `value="ten"`, `value="kept"`, `id="error-amount"`)
	s.post(of+"/refill", "do", "refill", "key", key, "amount", "11").says(422, "This was already done, with another amount.")
	s.post(of+"/charge", "do", "charge", "key", "k2", "amount", "100").says(422, "The balance is too low for this.")
	s.post(of+"/charge", "key", "k3", "amount", "2.50").leads(of)

	now, err := s.users.User(t.Context(), user.ID)
	require.NoError(t, err)
	s.get(of+"?do=cancel&target="+now.LastTransaction.String()).says(200, "Cancel the last transaction?", "2.50 EUR")
	s.post(of+"/cancel", "do", "cancel", "target", user.LastTransaction.String()).says(422, "Only the last can be cancelled.")
	s.post(of+"/cancel", "target", now.LastTransaction.String()).leads(of)
	s.get(of).says(200, `id="balance">22.50 EUR<`)
	require.NotContains(t, s.get(of).ok(), "2.50 EUR</s>")
	s.get(of+"?cancelled=1").says(200, "2.50 EUR</s>", "Cancelled")
}

func TestSegmentsOfAUser(t *testing.T) {
	s := newSite(t)
	user, _, _, _, segment := s.full()
	other, err := s.users.CreateSegment(t.Context(), userkit.NewSegment{Name: "Other"})
	require.NoError(t, err)
	third, err := s.users.CreateSegment(t.Context(), userkit.NewSegment{Name: "Third"})
	require.NoError(t, err)
	of := "/users/" + user.ID.String() + "/segments"
	s.get(of).says(200, "VIP ada", "Other", "Third")
	s.post(of+"/add", "segment", other.ID.String(), "segment", third.ID.String()).leads(of)
	s.get(of+"?find=brand+new").says(200, "Create", `value="brand new"`)
	s.post(of+"/add", "create", "brand new").leads(of)
	in, err := s.users.UserSegments(t.Context(), user.ID)
	require.NoError(t, err)
	require.Len(t, in, 4)
	s.post(of+"/remove", "target", segment.ID.String()).leads(of)
	s.post(of+"/add").says(422, "Select a segment first.")
	require.NotContains(t, s.get(of+"?find=other").ok(), "and add", "there is one of this name")
}

func TestSegments(t *testing.T) {
	s := newSite(t)
	s.user("ada")
	s.user("bob")
	s.post("/segments", "do", "create", "name", "x", "rule", "login eqq").says(422, "This is not a filter.", "login eqq", `value="x"`)
	s.post("/segments", "do", "create", "name", "", "rule", "").says(422, "Please fill this in.")
	built := s.post("/segments", "do", "create", "name", "British", "rule", "", "field", "country", "operator", "eq", "value", "gb", "add", "1").says(200, `value="British"`, `country eq "GB"</textarea>`)
	require.NotContains(t, built.body, `value="gb"`, "the next condition begins empty")
	s.post("/segments", "do", "create", "name", "British", "rule", `country eq "gb"`, "field", "login", "operator", "sw", "value", "a", "join", "or").says(200, `country eq "GB" or login sw "a"</textarea>`)
	s.post("/segments", "do", "create", "name", "British", "rule", "nonsense", "field", "login", "operator", "pr", "add", "1").says(422, "(nonsense) and login pr</textarea>", "This is not a filter.")
	none, err := s.users.CountSegments(t.Context(), userkit.SegmentQuery{})
	require.NoError(t, err)
	require.Zero(t, none, "nothing is saved before the person says so")
	s.post("/segments", "do", "create", "name", "British", "rule", `country eq "GB"`)
	found, err := s.users.Segments(t.Context(), userkit.SegmentQuery{})
	require.NoError(t, err)
	of := "/segments/" + found.Items[0].ID.String()
	s.get(of).says(200, "The segment is created.", "2 users", `country eq "GB"`, "Ada bob")
	require.NotContains(t, s.get("/segments?q=brit").says(200, "British").body, `">2</a>`)
	s.get("/segments?q=brit&count=1").says(200, "British", `/users?all=1&segment=`+found.Items[0].ID.String()+`">2</a>`)
	s.get("/users?segment="+found.Items[0].ID.String()).says(200, "Ada bob", "British")
	s.post(of+"/edit", "do", "edit", "revision", "1", "name", "UK", "rule", `country eq "GB"`, "field", "login", "operator", "eq", "value", "ada", "join", "and", "add", "1").says(200, `value="UK"`, `country eq "GB" and login eq "ada"</textarea>`)
	s.post(of+"/edit", "revision", "1", "name", "UK", "rule", `country eq "GB" and login eq "ada"`).leads(of)
	s.post(of+"/edit", "do", "edit", "revision", "1", "name", "UK2").says(412, "Somebody else has changed this")
	s.post(of + "/freeze").leads(of)
	s.get(of).says(200, "The segment is now a list of 1 user.")
	s.post(of + "/delete").leads("/segments")
	s.get(of).says(404, "There is no such segment.")
}

func TestActivityAndAudit(t *testing.T) {
	s := newSite(t)
	user, _, _, _, _ := s.full()
	of := "/users/" + user.ID.String()
	s.post(of + "/deactivate").leads(of)
	s.get(of+"/activity").says(200, "The last hour", "User: deactivated", "Alex Morgan")
	require.NotContains(t, s.get(of+"/activity?name=user.deactivated&from=2026-03-01&to=2026-03-06").ok(), "<b>Device: registered</b>")
	s.get(of+"/activity?from=2026-03-06&to=2026-03-01").says(422, "must end after it begins")
	s.get("/audit").says(200, "Ada ada", "User: deactivated")
	require.NotContains(t, s.get("/audit?actor=morgan").ok(), "<b>Device: registered</b>")
	s.get("/audit?actor=morgan&target=ada").says(200, "<b>User: deactivated</b>")
	only := s.get("/audit?actor_kind=administrator&actor_id=alex").says(200, "<b>User: deactivated</b>")
	require.NotContains(t, only.body, "<b>Device: registered</b>", "a click on an actor shows what it did")
	s.get("/audit?target=nobody").says(422, "There is no such user.")
}

func TestBulkActionIsBoundToWhatWasPreviewed(t *testing.T) {
	s := newSite(t)
	ada := s.user("ada")
	s.user("bob")
	a := s.get("/bulk?action=deactivate&filter=country+eq+%22GB%22").says(200, "2 users", "Ada bob")
	token := a.hidden("token")
	s.user("eve")
	s.post("/bulk", "action", "deactivate", "filter", `country eq "GB"`, "token", token).says(409, "other users now", "3 users")
	token = s.get("/bulk?action=deactivate&filter=country+eq+%22GB%22").hidden("token")
	done := s.post("/bulk", "action", "deactivate", "filter", `country eq "GB"`, "token", token)
	require.Equal(t, http.StatusSeeOther, done.status, alert(done.body))
	job := strings.TrimPrefix(done.header.Get("Location"), "/admin")
	body := s.ended(job)
	require.Contains(t, body, "<b>3</b>")
	s.get("/jobs").says(200, "Deactivate", "Done")

	s.get("/bulk?action=delete&all=1&user="+ada.ID.String()).says(200, "1 user", "type the number of users: 1")
	token = s.get("/bulk?action=delete&all=1&user=" + ada.ID.String()).hidden("token")
	s.post("/bulk", "action", "delete", "user", ada.ID.String(), "token", token, "expected", "1", "confirm", "2").says(422, "This is not the number of users.")
	done = s.post("/bulk", "action", "delete", "user", ada.ID.String(), "token", token, "expected", "1", "confirm", "1")
	s.ended(strings.TrimPrefix(done.header.Get("Location"), "/admin"))
	s.get("/users/" + ada.ID.String()).says(404)
	s.get("/bulk?action=explode").says(422)
}

func TestBulkActionsOnTimeTrafficAndLicence(t *testing.T) {
	s := newSite(t)
	ada := s.user("ada")
	s.get("/users?do=bulk").says(200, "Add days", "Set traffic limit", "Reset the traffic used", "Set licence", "Duo")
	expires := start.AddDate(0, 0, 10)
	_, err := s.users.UpdateUser(t.Context(), ada.ID, userkit.UserPatch{ExpiresAt: userkit.Set(expires)})
	require.NoError(t, err)
	user := func() userkit.User {
		found, err := s.users.User(t.Context(), ada.ID)
		require.NoError(t, err)
		return found
	}
	do := func(inputs ...string) {
		query := url.Values{"user": {ada.ID.String()}}
		for i := 0; i < len(inputs); i += 2 {
			query.Set(inputs[i], inputs[i+1])
		}
		preview := s.get("/bulk?" + query.Encode())
		form := append(inputs, "user", ada.ID.String(), "token", preview.hidden("token"))
		for range 2 { // a person sends the form twice
			done := s.post("/bulk", form...)
			require.Equal(t, http.StatusSeeOther, done.status, alert(done.body))
			s.ended(strings.TrimPrefix(done.header.Get("Location"), "/admin"))
		}
	}
	s.get("/bulk?action=add_days&days=x&user=" + ada.ID.String()).says(422)
	s.get("/bulk?action=add_days&days=30&user="+ada.ID.String()).says(200, "30 days")
	do("action", "add_days", "days", "30")
	require.WithinDuration(t, expires.AddDate(0, 0, 30), user().ExpiresAt, 2*time.Hour) // of summer time
	s.get("/bulk?action=set_traffic_limit&traffic_limit=much&traffic_reset=daily&user=" + ada.ID.String()).says(422)
	do("action", "set_traffic_limit", "traffic_limit", "5 GB", "traffic_reset", "weekly")
	require.Equal(t, userkit.TrafficLimit{Bytes: 5_000_000_000, Reset: userkit.ResetWeekly}, user().Traffic.Limit)
	do("action", "set_license", "license", "Duo")
	require.Equal(t, "Duo", user().License)
	do("action", "reset_usage")
	require.Zero(t, user().Traffic.Used)
}

// ended returns the page of a job once it has ended.
func (s *site) ended(path string) string {
	s.t.Helper()
	for {
		if body := s.get(path).ok(); !strings.Contains(body, "<progress") {
			return body
		}
	}
}

func TestExport(t *testing.T) {
	s := newSite(t)
	s.user("ada")
	s.user("bob")
	a := s.get("/users/export?format=csv&q=bob")
	require.Equal(t, "text/csv; charset=utf-8; header=present", a.header.Get("Content-Type"))
	require.Regexp(t, `^attachment; filename="users-[0-9]{8}-[0-9]{6}\.csv"$`, a.header.Get("Content-Disposition"))
	require.Regexp(t, `^id,login,name,email,status,license,country,devices,balance,last_seen_at,registered_at\r\n`, a.ok())
	require.Contains(t, a.body, "bob@example.org")
	require.NotContains(t, a.body, "ada@example.org")
	require.Equal(t, 3, strings.Count(s.get("/users/export?format=ndjson").ok()+"\n", "\n"))
	require.True(t, strings.HasPrefix(s.get("/users/export?format=xlsx").ok(), "PK"))
	s.get("/users/export?format=exe").says(422)
	s.get("/users/export?format=csv&filter=nonsense").says(422)
}

func TestImportIsMappedTriedAndRun(t *testing.T) {
	s := newSite(t)
	s.user("ada")
	file := "login,Full name,E-mail,color\r\nada,Ada L.,ada@example.org,red\r\nnew,New One,new@example.org,blue\r\nbad,Bad,not an address,=1+1\r\n"
	a := s.upload("../../evil\".csv", file)
	require.Equal(t, http.StatusSeeOther, a.status, alert(a.body))
	path := strings.TrimPrefix(a.header.Get("Location"), "/admin")
	page := s.get(path).says(200, "Full name", "Ada L.", "color", "Guessed from the name that other programs use.")
	require.Contains(t, html.UnescapeString(page.body), `evil".csv`)
	mapping := []string{"mode", "upsert", "key", "login", "field-0", "login", "field-1", "name", "field-2", "email", "field-3", "attributes.color"}
	dry := s.post(path, mapping...)
	require.Equal(t, http.StatusSeeOther, dry.status, alert(dry.body))
	body := s.ended(strings.TrimPrefix(dry.header.Get("Location"), "/admin"))
	require.Contains(t, body, "This was a dry run: nothing has been written.")
	require.Contains(t, body, "<dt>Name</dt><dd><del><bdi>Ada ada</bdi></del> <span aria-hidden=\"true\">→</span><span class=\"sr\">becomes</span> <ins><bdi>Ada L.</bdi></ins></dd>")
	require.Contains(t, body, "<dt>Name</dt><dd><ins><bdi>New One</bdi></ins></dd>", "of a new user, the fields")
	require.Contains(t, body, "<dt>color</dt><dd><ins><bdi>blue</bdi></ins></dd>")
	n, err := s.users.CountUsers(t.Context(), userkit.UserFilter{})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)

	run := s.post(path, append(mapping, "run", "1")...)
	job := strings.TrimPrefix(run.header.Get("Location"), "/admin")
	body = s.ended(job)
	require.Contains(t, body, "Rejected rows, to mend and import again")
	rejects := s.get(job + "/rejected.csv").ok()
	require.True(t, strings.HasPrefix(rejects, "\uFEFFlogin,Full name,E-mail,color,rejected_because\r\n"), rejects)
	found, err := s.users.FindUser(t.Context(), userkit.ByLogin("new"))
	require.NoError(t, err)
	require.Equal(t, []any{"New One", "blue"}, []any{found.Name, found.Attributes["color"]})

	// A file in another encoding is read again once a person has said which it is.
	old, err := charmap.Windows1251.NewEncoder().String("login,name\r\nold,Ирина\r\n")
	require.NoError(t, err)
	upload := s.upload("old.csv", old)
	require.Equal(t, http.StatusSeeOther, upload.status, alert(upload.body))
	path1251 := strings.TrimPrefix(upload.header.Get("Location"), "/admin")
	require.NotContains(t, s.get(path1251).ok(), "Ирина")
	s.get(path1251+"?encoding=windows-1251").says(200, "Ирина", `name="encoding" value="windows-1251"`)
	s.get(path1251 + "?encoding=nonsense").says(422)
	s.ended(strings.TrimPrefix(s.post(path1251, "encoding", "windows-1251", "mode", "create", "key", "login", "field-0", "login", "field-1", "name", "run", "1").header.Get("Location"), "/admin"))
	found, err = s.users.FindUser(t.Context(), userkit.ByLogin("old"))
	require.NoError(t, err)
	require.Equal(t, "Ирина", found.Name)

	s.post(path, "mode", "upsert", "field-0", "-", "field-1", "name", "field-2", "-", "field-3", "-").says(422, "No column identifies the user.")
	s.upload("empty.csv", "").says(422)
	s.post("/import").says(422, "Choose a file first.")
	s.get("/import/unknown").says(404)
}

func TestADryRunShowsWhatWouldChange(t *testing.T) {
	var hidden bool
	s := newSiteOf(t, []userkit.Option{userkit.WithVerifiers(verifier{}), allows(func(operation userkit.Operation) bool { return !hidden || operation.Name != "users.get" })})
	ada := s.user("ada")
	var file strings.Builder
	file.WriteString("login,name,expires_at,password,description\nada,نور,2031-05-06,hunter2," + strings.Repeat("long", 400) + "\n")
	for i := range userio.MaxChanges + 1 {
		fmt.Fprintf(&file, "user%d,<b>%d</b>,,,\n", i, i)
	}
	path := strings.TrimPrefix(s.upload("users.csv", file.String()).header.Get("Location"), "/admin")
	dry := s.post(path, "mode", "upsert", "field-0", "login", "field-1", "name", "field-2", "expires_at", "field-3", "attributes.secret", "field-4", "description")
	job := strings.TrimPrefix(dry.header.Get("Location"), "/admin")
	body := s.ended(job)
	require.Contains(t, body, ada.Name)
	require.Contains(t, body, "<ins><bdi>نور</bdi></ins>")
	require.Contains(t, body, "2031")
	require.Contains(t, body, `href="/admin/users/`+ada.ID.String())
	require.Contains(t, body, "<dt>secret</dt><dd class=\"muted\">not shown, since it looks like a password</dd>")
	require.NotContains(t, body, "hunter2")
	require.Contains(t, body, "long…")
	require.NotContains(t, body, strings.Repeat("long", 126))
	require.Contains(t, body, "&lt;b&gt;0&lt;/b&gt;")
	require.Contains(t, body, "2 more rows would change users; they are not listed.")
	n, err := s.users.CountUsers(t.Context(), userkit.UserFilter{})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)

	hidden = true
	body = s.get(job).ok()
	require.Contains(t, body, "You may not see this user.")
	require.NotContains(t, body, ada.Name)
	require.NotContains(t, body, "نور")
}

func TestSearchOfEverything(t *testing.T) {
	s := newSite(t)
	s.full()
	s.get("/find?q=ADA").says(200, "Ada ada", "VIP ada")
	s.get("/find?q=audit").says(200, `href="/admin/audit"`)
	s.get("/find?q=zzz").says(200, "Nothing was found.")
}

func TestPreferencesAreRemembered(t *testing.T) {
	s := newSite(t)
	s.post("/preferences", "language", "ru", "theme", "dark").leads("/preferences")
	s.get("/preferences").says(200, `lang="ru"`, `data-theme="dark"`)
	s.post("/preferences", "language", "../../etc", "theme", `"><script>`).leads("/preferences")
	s.get("/preferences").says(200, `lang="en"`)
}

// pushService is a push service that knows no push token but "good", and does not take "refused".
type pushService struct{}

func (pushService) Notify(_ context.Context, n userkit.Notification) userkit.NotificationResult {
	switch n.PushToken {
	case "good":
		return userkit.Delivered()
	case "refused":
		return userkit.Refused(errors.New("not of this application"))
	}
	return userkit.Gone(time.Time{}, nil)
}

// newPostOffice is a site whose messages go through a push service, with a user who has two
// devices.
func newPostOffice(t *testing.T) (*site, userkit.User) {
	t.Helper()
	s := newSiteOf(t, []userkit.Option{userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{"": pushService{}})})
	user := s.user("ada")
	for _, token := range []string{"good", "uninstalled"} {
		_, err := s.users.RegisterDevice(t.Context(), user.ID, userkit.NewDevice{Name: token + " phone", PushToken: token})
		require.NoError(t, err)
	}
	return s, user
}

func TestMessagesOfAUser(t *testing.T) {
	s, user := newPostOffice(t)
	of := "/users/" + user.ID.String() + "/messages"
	s.get(of).says(200, "No messages.", `id="unread">0<`)
	key := s.get(of+"?do=write").says(200, "Write a message").hidden("key")
	s.post(of+"/send", "do", "write", "key", key, "subject", " ", "format", "plain").says(422, `id="error-body"`)
	s.post(of+"/send", "do", "write", "key", key, "subject", "Kept", "body", "Text", "expires_at", "2020-01-01T00:00").says(422, `value="Kept"`, `id="error-expires_at"`)
	for range 2 { // a form that is sent twice sends once
		s.post(of+"/send", "key", key, "subject", "Maintenance", "body", "On **Sunday**\r\n<script>alert(1)</script>", "format", "markdown").leads(of)
	}
	s.get(of).says(200, "The message is sent.", "Maintenance", `id="unread">1<`, "Alex Morgan")
	sent, err := s.users.Messages(t.Context(), userkit.MessageQuery{})
	require.NoError(t, err)
	require.Len(t, sent.Items, 1)
	require.Equal(t, "On **Sunday**\n<script>alert(1)</script>", sent.Items[0].Body)
	require.Equal(t, userkit.MessageMarkdown, sent.Items[0].Format)

	open := of + "?do=message&target=" + sent.Items[0].ID.String()
	s.get(open).says(200, "On **Sunday**", "good phone", "Waiting")
	require.NotContains(t, s.get(open).ok(), "<script>alert")
	_, err = s.users.DeliverDueMessages(t.Context())
	require.NoError(t, err)
	s.get(open).says(200, "Delivered", "uninstalled phone", "Gone")
	other := s.user("bob")
	s.get("/users/"+other.ID.String()+"/messages?do=message&target="+sent.Items[0].ID.String()).says(404, "There is no such message.")
	s.get(of+"?do=message&target=x").says(404, "There is no such message.")

	require.NotContains(t, s.get(of).ok(), of+`/read"`, "no message is read without a question")
	s.get(of+"?do=read&target="+sent.Items[0].ID.String()).says(200, "Mark this message as read?", "Maintenance", of+`/read"`)
	s.get(of + "?do=read&target=nothing").says(404)
	s.post(of+"/read", "target", sent.Items[0].ID.String()).leads(of)
	require.NotContains(t, s.get(of+"?do=read&target="+sent.Items[0].ID.String()).ok(), "<dialog")
	s.get(of+"?unread=1").says(200, "No messages.", `id="unread">0<`)
	s.get("/messages").says(200, "Devices that were not notified", "Gone", "Ada ada")
}

func TestMessagesToMany(t *testing.T) {
	s, _ := newPostOffice(t)
	s.user("bob")
	off := s.user("off")
	_, err := s.users.DeactivateUser(t.Context(), off.ID)
	require.NoError(t, err)
	segment, err := s.users.CreateSegment(t.Context(), userkit.NewSegment{Name: "Ada alone", Rule: userkit.Equal("login", "ada")})
	require.NoError(t, err)
	s.get("/messages").says(200, "Write to many users", "Ada alone", "No delivery has failed.")
	s.post("/messages", "segment", segment.ID.String(), "body", " ").says(422, `" selected>Ada alone`, `id="error-body"`)
	s.post("/messages", "subject", "a", "body", "b").says(200, "This goes to 2 users.")
	s.post("/messages", "all", "true", "subject", "a", "body", "b").says(200, "This goes to 3 users.")
	s.post("/messages", "q", "bob", "subject", "a", "body", "b").says(200, "This goes to 1 user", `name="q" value="bob"`)

	written := []string{"segment", segment.ID.String(), "subject", "Offer", "body", "Only **now**", "format", "markdown"}
	token := s.post("/messages", written...).says(200, "This goes to 1 user", "Only **now**").hidden("token")
	for range 2 { // the button is pressed twice
		done := s.post("/messages/send", append(written, "token", token)...)
		require.Equal(t, http.StatusSeeOther, done.status, alert(done.body))
		s.ended(strings.TrimPrefix(done.header.Get("Location"), "/admin"))
	}
	sent, err := s.users.Messages(t.Context(), userkit.MessageQuery{})
	require.NoError(t, err)
	require.Len(t, sent.Items, 1)
	require.Equal(t, "Only **now**", sent.Items[0].Body)

	// Others meet the conditions by the time the button is pressed.
	written = []string{"subject", "All", "body", "All"}
	token = s.post("/messages", written...).hidden("token")
	s.user("late")
	s.post("/messages/send", append(written, "token", token)...).says(409, "This goes to 3 users.")

	// From the list of users.
	s.get("/users?do=bulk").says(200, "Send message")
	answer := s.get("/bulk?action=send_message&q=bob")
	answer.leads("/messages?q=bob")
}

// wrongBooks is a store in which the transactions of a user add up to one cent more than there is.
type wrongBooks struct {
	userkit.Store
	of userkit.UserID
}

func (w *wrongBooks) Ledgers(ctx context.Context, after userkit.UserID, limit int) ([]userkit.Ledger, error) {
	ledgers, err := w.Store.Ledgers(ctx, after, limit)
	for i := range ledgers {
		if ledgers[i].UserID == w.of {
			ledgers[i].Sum++
		}
	}
	return ledgers, err
}

func TestAllBalancesAreChecked(t *testing.T) {
	store := &wrongBooks{Store: memory.New()}
	s := newSiteOn(t, store, []userkit.Option{userkit.WithVerifiers(verifier{})})
	user, _, _, _, _ := s.full()
	s.user("bob")
	check := func() string {
		s.get("/").says(200, "Check all balances")
		begun := s.post("/balances/verify")
		require.Equal(t, http.StatusSeeOther, begun.status, alert(begun.body))
		return s.ended(strings.TrimPrefix(begun.header.Get("Location"), "/admin"))
	}
	require.Contains(t, check(), "Every balance is the sum of its transactions.")
	store.of = user.ID
	body := check()
	require.Contains(t, body, "1 balance differs from the sum of its transactions.")
	require.Contains(t, body, `href="/admin/users/`+user.ID.String()+`/balance"`)
	require.Contains(t, body, "12.50 EUR")
	require.Contains(t, body, "12.51 EUR")
	s.get("/jobs").says(200, "Check of all balances", "Done")
}

func TestTheOverviewSaysWhatNeedsAttention(t *testing.T) {
	s := newSiteOf(t, []userkit.Option{userkit.WithVerifiers(verifier{}), userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{"": pushService{}})})
	s.get("/").says(200, "Nothing needs your attention.")
	user, device, _, _, _ := s.full()
	for _, token := range []string{"refused", "uninstalled"} { // of which the first could be mended
		_, err := s.users.UpdateDevice(t.Context(), device.ID, userkit.DevicePatch{PushToken: userkit.Set(token)})
		require.NoError(t, err)
		_, err = s.users.SendMessage(t.Context(), user.ID, userkit.NewMessage{Body: "To a device that is not told of it."})
		require.NoError(t, err)
		_, err = s.users.DeliverDueMessages(t.Context())
		require.NoError(t, err)
	}
	_, err := s.users.CreateUser(t.Context(), userkit.NewUser{Login: "waits", Status: userkit.StatusInactive})
	require.NoError(t, err)
	_, err = s.users.UpdateUser(t.Context(), s.user("late").ID, userkit.UserPatch{ExpiresAt: userkit.Set(start.Add(time.Hour))})
	require.NoError(t, err)
	s.now = s.now.Add(40 * time.Minute)
	s.get("/").says(200, "1 message did not reach a device in the last 24 hours", "1 session is open but has not reported for long.",
		"1 user waits for activation", "1 active user expires within a week")
	s.now = s.now.Add(24 * time.Hour)
	body := s.get("/").says(200, "1 active user has expired").body
	require.NotContains(t, body, "did not reach a device")
}

func TestDetailsShowEveryFieldThatHasAValue(t *testing.T) {
	s := newSite(t)
	user := s.user("ada")
	s.post("/users/"+user.ID.String()+"/edit", s.edit(user.ID, "billing", "kind", "legal_entity", "bank", "Example Bank", "postal_address", "PO box 7")...)
	s.post("/users/"+user.ID.String()+"/edit", s.edit(user.ID, "profile", "phone", "+375291234567", "extref", "CRM-1", "description", "Buys for all.", "additional_info", "Call after six.", "preferred_map", "osm")...)
	body := html.UnescapeString(s.get("/users?open=" + user.ID.String()).ok())
	user, err := s.users.User(t.Context(), user.ID)
	require.NoError(t, err)
	labels, fields := &view{texts: catalogues()[0]}, 0
	for _, field := range userkit.UserFields() {
		if value := reflect.ValueOf(field.Get(&user)); value.IsValid() && !value.IsZero() {
			require.Contains(t, body, "<dt>"+labels.Label(field.Name)+"</dt>", field.Name)
			fields++
		}
	}
	require.Greater(t, fields, 20)
	require.Contains(t, body, "Call after six.")
	require.NotContains(t, s.get("/users").ok(), "Call after six.")
}

func TestPicturesOfUsers(t *testing.T) {
	s := newSite(t)
	user := s.user("ada")
	body := s.get("/users/" + user.ID.String()).ok()
	require.Contains(t, body, "<span>AA</span>", "the initials")
	require.NotContains(t, body, "gravatar")
	s = newSiteOf(t, nil, WithGravatar())
	user = s.user("ada")
	require.Contains(t, s.get("/users/"+user.ID.String()).ok(), `<img src="`+html.EscapeString(user.GravatarURL(64)))
}

func TestActiveSessionsAreOnTop(t *testing.T) {
	s := newSite(t)
	user, device, _, _, _ := s.full() // its session goes on
	s.now = s.now.Add(time.Minute)
	later, err := s.users.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, DeviceID: device.ID, Node: "ams-2"})
	require.NoError(t, err)
	_, err = s.users.EndSession(t.Context(), later.ID, userkit.UsageReport{})
	require.NoError(t, err)
	of := "/users/" + user.ID.String() + "/sessions"
	body := s.get(of).ok()
	require.Less(t, strings.Index(body, "fra-1"), strings.Index(body, "ams-2"), "one that goes on is before one that began after it")
	body = s.get(of + "?mixed=1").ok()
	require.Less(t, strings.Index(body, "ams-2"), strings.Index(body, "fra-1"))
	for _, sort := range []string{"started_at", "ended_at", "device_name", "node", "node_location", "internal_ip", "received", "sent"} {
		s.get(of+"?sort="+sort).says(200, `aria-sort="ascending"`, "fra-1", "ams-2")
		s.get(of+"?desc=1&sort="+sort).says(200, `aria-sort="descending"`)
	}
}

func TestBulkActionsOnSegments(t *testing.T) {
	s := newSite(t)
	s.user("ada")
	s.user("bob")
	segment, err := s.users.CreateSegment(t.Context(), userkit.NewSegment{Name: "VIP"})
	require.NoError(t, err)
	members := func() int64 {
		n, err := s.users.CountUsers(t.Context(), userkit.UserFilter{Segment: segment.ID})
		require.NoError(t, err)
		return n
	}
	for _, step := range []struct {
		action string
		leaves int64
	}{{"add_to_segments", 2}, {"remove_from_segment", 0}} {
		query := "action=" + step.action + "&to=" + segment.ID.String() + "&filter=" + url.QueryEscape(`country eq "GB"`)
		preview := s.get("/bulk?"+query).says(200, "2 users", "VIP")
		done := s.post("/bulk", "action", step.action, "to", segment.ID.String(), "filter", `country eq "GB"`, "token", preview.hidden("token"))
		require.Equal(t, http.StatusSeeOther, done.status, alert(done.body))
		s.ended(strings.TrimPrefix(done.header.Get("Location"), "/admin"))
		require.Equal(t, step.leaves, members(), step.action)
	}
}

func TestAFileOfAnotherProgramIsRead(t *testing.T) {
	s := newSite(t)
	s.get("/import").says(200, append(userio.Presets(), "It comes from")...)
	file := "Record ID,First Name,Last Name,Email\r\n77,Grace,Hopper,grace@example.org\r\n"
	path := strings.TrimPrefix(s.upload("hubspot.csv", file).header.Get("Location"), "/admin")
	page := s.get(path+"?preset=hubspot").says(200, "Grace")
	run := []string{"preset", "hubspot", "mode", "create", "key", "extref", "run", "1"}
	for i := range 4 {
		name := fmt.Sprintf("field-%d", i)
		chosen := regexp.MustCompile(`(?s)<select[^>]* name="` + name + `".*?</select>`).FindString(page.body)
		run = append(run, name, regexp.MustCompile(`value="([^"]*)" selected`).FindStringSubmatch(chosen)[1])
	}
	s.ended(strings.TrimPrefix(s.post(path, run...).header.Get("Location"), "/admin"))
	grace, err := s.users.FindUser(t.Context(), userkit.ByExtRef("77"))
	require.NoError(t, err)
	require.Equal(t, []string{"Grace Hopper", "grace@example.org"}, []string{grace.Name, grace.Email})
}

func TestJobsAreStopped(t *testing.T) {
	s := newSite(t)
	held, stopped := make(chan struct{}), &job{Kind: "bulk", Title: "long", Actor: administrator}
	c := newConsole(s.users, WithActor(func(*http.Request) (userkit.Actor, error) { return administrator, nil }), WithPath("/admin"))
	s.handler = http.HandlerFunc(c.serve)
	require.NoError(t, c.jobs.start(t.Context(), stopped, func(ctx context.Context, j *job) error {
		j.progress(30, 100)
		close(held)
		<-ctx.Done()
		return ctx.Err()
	}))
	<-held
	s.get("/jobs").says(200, "long", "30 %")
	of := "/jobs/" + stopped.ID
	shown := s.get(of).says(200, `<progress max="100" value="30"`, of+"?do=stop").body
	require.NotContains(t, shown, of+"/stop", "it is asked for first")
	s.get(of+"?do=stop").says(200, "<dialog open", "Stop this job?", "long", `action="/admin`+of+`/stop"`)
	require.True(t, stopped.State().Running(), "nobody has confirmed it")
	s.post(of + "/stop").leads(of)
	require.Contains(t, s.ended(of), "The job was stopped. What was done stays done.")
	require.NotContains(t, s.get(of+"?do=stop").ok(), "<dialog", "there is nothing to stop any more")
}

// panicking is a logger of the host's that panics.
type panicking struct{ slog.Handler }

func (panicking) Handle(context.Context, slog.Record) error { panic("no log") }

// TestAJobMayFail runs jobs that panic or end their goroutine. The person and the log are told, even
// by a logger that panics in its turn.
func TestAJobMayFail(t *testing.T) {
	s := newSite(t)
	for name, does := range disasters {
		var log bytes.Buffer
		text := slog.NewTextHandler(&log, nil)
		for _, handler := range []slog.Handler{text, panicking{text}} {
			failing := &job{Kind: "bulk", Title: "failing", Actor: administrator}
			c := newConsole(s.users, WithActor(func(*http.Request) (userkit.Actor, error) { return administrator, nil }), WithPath("/admin"), WithLogger(slog.New(handler)))
			s.handler = http.HandlerFunc(c.serve)
			require.NoError(t, c.jobs.start(t.Context(), failing, func(context.Context, *job) error { does(); return nil }))
			require.Contains(t, s.ended("/jobs/"+failing.ID), "The host’s log says more.", name)
		}
		require.Equal(t, 1, strings.Count(log.String(), "a job failed"), name)
	}
}

// TestTheAuditOfAnActorGoesBack reads the audit of one of two actors to its end, and back
// to its beginning: each way has every event of the actor, newest first, and none of the other.
func TestTheAuditOfAnActorGoesBack(t *testing.T) {
	s := newSite(t)
	user := s.user("ada")
	const events = 2600
	for i := range events {
		actor := userkit.Actor{Kind: userkit.ActorNode, ID: "fra-1"}
		if i%20 == 0 {
			actor = userkit.Actor{Kind: userkit.ActorNode, ID: "ams-2"}
		}
		_, err := s.users.RecordEvent(userkit.WithActor(t.Context(), actor), user.ID, userkit.NewEvent{Name: "app.opened", Data: map[string]any{"number": fmt.Sprintf("n%04d", i)}})
		require.NoError(t, err)
	}
	var wanted []string
	for i := events - 20; i >= 0; i -= 20 {
		wanted = append(wanted, fmt.Sprintf("n%04d", i))
	}
	number := regexp.MustCompile(`title="[^"]*(n[0-9]{4})`)
	numbers := func(body string) (all []string) {
		for _, found := range number.FindAllStringSubmatch(body, -1) {
			all = append(all, found[1])
		}
		return all
	}
	// walk follows the links of a kind, from a page on.
	walk := func(body, kind string) (last string, pages [][]string) {
		for {
			pages = append(pages, numbers(body))
			link := regexp.MustCompile(`rel="` + kind + `" href="/admin([^"]*)"`).FindStringSubmatch(body)
			if link == nil {
				return body, pages
			}
			body = s.get(html.UnescapeString(link[1])).ok()
		}
	}
	first := s.get("/audit?actor=AMS").ok()
	require.NotContains(t, first, `rel="prev"`)
	last, forth := walk(first, "next")
	require.Greater(t, len(forth), 2)
	require.Equal(t, wanted, slices.Concat(forth...))
	again, back := walk(last, "prev")
	slices.Reverse(back)
	require.Equal(t, wanted, slices.Concat(back...))
	require.NotContains(t, again, "First page")
	require.NotContains(t, last, "fra-1")
}
