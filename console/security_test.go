package console

import (
	"compress/gzip"
	"context"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func TestWithoutAnActorNothingIsServed(t *testing.T) {
	s := newSite(t, WithActor(nil))
	require.Equal(t, http.StatusForbidden, s.get("/").status)
	s = newSite(t, WithActor(func(*http.Request) (userkit.Actor, error) { return administrator, errors.New("secret reason") }))
	a := s.get("/users")
	require.Equal(t, http.StatusForbidden, a.status)
	require.NotContains(t, a.body, "secret reason")
	s = newSite(t, WithActor(func(*http.Request) (userkit.Actor, error) { return userkit.Actor{}, nil }))
	require.Equal(t, http.StatusForbidden, s.post("/users").status)
}

func TestPolicyOfEveryAnswer(t *testing.T) {
	s := newSite(t)
	user, device, session, purchase, segment := s.full()
	for _, path := range append(pages(user, device, session, purchase, segment), "/unknown", "/users/not-an-id") {
		header := s.get(path).header
		require.Equal(t, "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			header.Get("Content-Security-Policy"), path)
		require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
		require.Equal(t, "no-store", header.Get("Cache-Control"))
	}
	require.Contains(t, newSite(t, WithGravatar()).get("/").header.Get("Content-Security-Policy"), "https://gravatar.com")
}

// TestPagesKeepToThePolicy looks, in templates and in the HTML that is written in Go, for what the
// policy would stop, and for what would make a script out of a text.
func TestPagesKeepToThePolicy(t *testing.T) {
	forbidden := regexp.MustCompile(`(?i)hx-on|\bjs:|javascript:|\sstyle=|<style|\son[a-z]+=|<script[^>]*>[^<]|hx-trigger="[^"]*\[|hx-vals|hx-vars`)
	for _, pattern := range []string{"*.html", "*.go"} {
		names, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, names)
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			content, err := os.ReadFile(name)
			require.NoError(t, err)
			require.Empty(t, forbidden.FindAllString(string(content), -1), name)
			if pattern == "*.html" {
				require.NotRegexp(t, `https?://`, string(content), name)
			}
		}
	}
}

func TestRequestsOfOtherSitesAreRefused(t *testing.T) {
	s := newSite(t)
	user := s.user("ada")
	of := "/users/" + user.ID.String()
	for _, header := range []http.Header{
		{"Sec-Fetch-Site": {"cross-site"}}, {"Sec-Fetch-Site": {"same-site"}}, {"Origin": {"https://evil.example"}}, {"Origin": {"null"}},
	} {
		s.header = header
		require.Equal(t, http.StatusForbidden, s.post(of+"/deactivate").status, header)
	}
	s.header = http.Header{"Sec-Fetch-Site": {"same-origin"}}
	s.post(of + "/deactivate").leads(of)
	s.header = http.Header{}
	for _, path := range []string{"/deactivate", "/delete", "/devices/rotate", "/balance/refill"} { // a link does nothing
		require.Equal(t, http.StatusSeeOther, s.get(of+path).status, path)
	}
	for _, cookie := range httpCookies(t, s) {
		require.NotEqual(t, http.SameSiteNoneMode, cookie.SameSite)
		require.True(t, cookie.HttpOnly)
		require.Equal(t, "/admin/", cookie.Path)
	}
}

func httpCookies(t *testing.T, s *site) []*http.Cookie {
	t.Helper()
	recorder := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/admin/preferences", strings.NewReader("theme=dark&language=ru"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	s.handler.ServeHTTP(recorder, r)
	cookies := recorder.Result().Cookies()
	require.NotEmpty(t, cookies)
	return cookies
}

// script is a text that would run if it were not escaped, in an element, an attribute, a
// script or an address.
const script = `"><script>alert(1)</script><img src=x onerror=alert(1)>'` + "`"

// hostile is a store of purchases and a push service whose answers are scripts.
type hostile struct{}

func (hostile) Store() string { return "shop" }

func (hostile) Verify(_ context.Context, receipt userkit.Receipt) userkit.Verdict {
	return userkit.Valid(userkit.PurchaseFacts{
		StableID: receipt.Token, TransactionID: script, ProductID: script, Environment: userkit.Production, Raw: []byte(`{"said":"<script>alert(1)</script>"}`),
	})
}

func (hostile) Notify(context.Context, userkit.Notification) userkit.NotificationResult {
	return userkit.Refused(errors.New(script))
}

func TestTextsOfUsersNeverBecomeMarkup(t *testing.T) {
	s := newSiteOf(t, []userkit.Option{userkit.WithVerifiers(hostile{}), userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{"": hostile{}})})
	ctx := userkit.WithActor(t.Context(), userkit.Actor{Kind: userkit.ActorAdministrator, ID: script, Name: script})
	user, err := s.users.CreateUser(ctx, userkit.NewUser{
		Login: "x" + script, Name: script, ExtRef: script, AuthMethod: script, Description: script, AdditionalInfo: script, PreferredMap: script,
		Status: userkit.StatusActive, License: "Duo", Payer: userkit.Payer{AccountNumber: script, LegalAddress: script, PostalAddress: script, Bank: script, BankAccount: script},
		Attributes: userkit.Attributes{"note": script},
	})
	require.NoError(t, err)
	device, err := s.users.RegisterDevice(ctx, user.ID, userkit.NewDevice{Name: script, HardwareID: script, PushToken: script, LocationConsent: true})
	require.NoError(t, err)
	_, err = s.users.ReportLocation(ctx, device.ID, userkit.Location{Latitude: 52.52, Longitude: 13.405, Accuracy: 40_000})
	require.NoError(t, err)
	message, err := s.users.SendMessage(ctx, user.ID, userkit.NewMessage{Subject: script, Body: script})
	require.NoError(t, err)
	_, err = s.users.DeliverDueMessages(ctx)
	require.NoError(t, err)
	_, err = s.users.Connect(ctx, user.ID, userkit.ConnectOptions{Reason: script})
	require.NoError(t, err)
	session, err := s.users.StartSession(ctx, userkit.NewSession{UserID: user.ID, DeviceID: device.ID, Node: script, NodeLocation: script})
	require.NoError(t, err)
	purchase, err := s.users.SubmitPurchase(ctx, user.ID, userkit.Receipt{Store: "shop", Token: script})
	require.NoError(t, err)
	_, err = s.users.Refill(userkit.WithActor(ctx, userkit.Actor{Kind: userkit.ActorUser, ID: script, Name: script}), user.ID,
		userkit.Entry{Amount: userkit.Money{Amount: 100, Currency: "EUR"}, Key: script, Note: script, Reference: script})
	require.NoError(t, err)
	segment, err := s.users.CreateSegment(ctx, userkit.NewSegment{Name: script})
	require.NoError(t, err)
	require.NoError(t, s.users.AddToSegments(ctx, user.ID, segment.ID))
	_, err = s.users.RecordEvent(ctx, user.ID, userkit.NewEvent{Name: "host.event", Data: map[string]any{"text": script}})
	require.NoError(t, err)
	user, err = s.users.User(ctx, user.ID)
	require.NoError(t, err)
	s.post("/users/columns", "column", "description", "column", "extref", "column", "attributes", "attributes", "note")

	encoded := url.QueryEscape(script)
	paths := append(pages(user, device, session, purchase, segment),
		"/users?q="+encoded, "/users?filter="+encoded, "/users?sort="+encoded, "/users?segment="+encoded, "/users?open="+encoded, "/users?do="+encoded, "/find?q="+encoded,
		"/users/"+user.ID.String()+"/sessions?from="+encoded, "/users/"+user.ID.String()+"/traffic?from="+encoded, "/audit?actor="+encoded+"&name="+encoded, "/audit?target="+encoded,
		"/users/"+user.ID.String()+"/segments?find="+encoded, "/segments?q="+encoded, "/import?preset="+encoded, "/"+encoded, "/users/"+encoded,
		"/users/filter?field=login&operator=eq&value="+encoded, "/users/"+user.ID.String()+"/messages?do=message&target="+message.ID.String())
	answers := map[string]answer{}
	for _, path := range paths {
		answers[path] = s.get(path)
	}
	uploaded := s.upload(script+".csv", "login,"+strings.ReplaceAll(script, `"`, "")+"\r\n"+strings.ReplaceAll(script, `"`, "")+",1\r\n")
	require.Equal(t, http.StatusSeeOther, uploaded.status, alert(uploaded.body))
	answers["mapping"] = s.get(strings.TrimPrefix(uploaded.header.Get("Location"), "/admin"))
	answers["create"] = s.post("/users", "login", script, "name", script, "email", script, "phone", script, "country", script, "license", script)
	answers["edit"] = s.post("/users/"+user.ID.String()+"/edit", "do", "profile", "revision", "1", "email", script, "name", script)
	answers["refill"] = s.post("/users/"+user.ID.String()+"/balance/refill", "do", "refill", "amount", script, "note", script, "key", script)
	answers["target"] = s.post("/users/"+user.ID.String()+"/devices/rotate", "target", script)
	s.cookies[cookieNotice], s.cookies[cookieColumns], s.cookies[cookieZone], s.cookies[cookieTheme] = encoded, encoded, encoded, encoded
	answers["cookies"] = s.get("/users")
	for path, a := range answers {
		require.NotContains(t, a.body, "<script>alert", path)
		require.NotContains(t, a.body, "<img src=x", path)
		require.NotRegexp(t, `(?i)href="javascript:`, a.body, path)
		require.NotEqual(t, http.StatusInternalServerError, a.status, path)
	}
	of := "/users/" + user.ID.String()
	for _, path := range []string{ // where it is shown as what it is
		of, of + "/devices", of + "/map", of + "/sessions", of + "/purchases", of + "/balance", of + "/segments", of + "/messages", of + "/activity?all=1",
		"/users", "/map", "/sessions", "/purchases?all=1", "/segments", "/messages", "/connections?all=1", "/audit",
	} {
		require.Contains(t, html.UnescapeString(answers[path].body), script, path)
	}
}

func TestRecordsOfOtherUsersAreNotFound(t *testing.T) {
	s := newSite(t)
	_, device, session, purchase, _ := s.full()
	eve := s.user("eve")
	of := "/users/" + eve.ID.String()
	for path, target := range map[string]string{
		"/devices/rotate": device.ID.String(), "/devices/reveal": device.ID.String(), "/devices/delete": device.ID.String(), "/devices/edit": device.ID.String(),
		"/sessions/end": session.ID.String(), "/purchases/activate": purchase.ID.String(), "/purchases/deactivate": purchase.ID.String(),
	} {
		require.Equal(t, http.StatusNotFound, s.post(of+path, "target", target, "name", "stolen", "type", "ios").status, path)
		require.Equal(t, http.StatusNotFound, s.post(of+path, "target", "../"+target).status, path)
	}
	require.Equal(t, http.StatusNotFound, s.get(of+"/devices?do=reveal&target="+device.ID.String()).status)
	_, err := s.users.Authenticate(t.Context(), device.AccessToken)
	require.NoError(t, err)
	for _, path := range []string{"/users/%2e%2e/jobs", "/../etc/passwd", "/assets/../console.go", "/assets/x/../../texts/en.json", "/users/" + strings.Repeat("a", 5000)} {
		require.NotEqual(t, http.StatusOK, s.do(httptest.NewRequest(http.MethodGet, "http://host/admin"+path, nil)).status, path)
	}
}

// refusals are what was attempted and refused since a moment.
func (s *site) refusals(since time.Time) []userkit.Event {
	s.t.Helper()
	found, err := s.users.Events(s.t.Context(), userkit.EventQuery{EventFilter: userkit.EventFilter{Name: userkit.EventAccessRefused, From: since}})
	require.NoError(s.t, err)
	return found.Items
}

// allows is an authorizer that allows what a function says.
func allows(may func(operation userkit.Operation) bool) userkit.Option {
	return userkit.WithAuthorizer(userkit.AuthorizerFunc(func(_ context.Context, request userkit.AuthorizationRequest) (userkit.Authorization, error) {
		return userkit.Authorization{Allowed: request.Actor.Kind == userkit.ActorSystem || may(request.Operation)}, nil
	}))
}

func TestWhatMayNotBeDoneIsNeitherOfferedNorDone(t *testing.T) {
	s := newSiteOf(t, []userkit.Option{userkit.WithVerifiers(verifier{}), allows(func(operation userkit.Operation) bool {
		return !operation.Changes && operation.Name != "users.records" && operation.Name != "users.walk"
	})})
	user, device, session, purchase, segment := s.full()
	for _, path := range pages(user, device, session, purchase, segment) {
		a := s.get(path)
		if strings.HasPrefix(path, "/bulk") || strings.HasPrefix(path, "/import") || path == "/users/new" {
			require.Equal(t, http.StatusForbidden, a.status, path)
			continue
		}
		body := a.ok()
		for _, found := range regexp.MustCompile(`<form[^>]*method="post"[^>]*>`).FindAllString(body, -1) {
			require.Regexp(t, `action="/admin/(preferences|users/columns|balances/verify)"`, found, path)
		}
	}
	refusals := func() int { return len(s.refusals(start)) }
	require.Equal(t, 4, refusals(), "showing a page attempts nothing")
	s.now = s.now.Add(time.Hour)
	of := "/users/" + user.ID.String()
	for _, path := range []string{
		"/users", "/bulk", "/import", "/users/segment", "/segments", of + "/edit", of + "/attributes", of + "/activate", of + "/deactivate", of + "/limit", of + "/delete",
		of + "/devices/register", of + "/devices/edit", of + "/devices/rotate", of + "/devices/reveal", of + "/devices/delete", of + "/sessions/end", of + "/purchases/activate",
		of + "/purchases/deactivate", of + "/balance/refill", of + "/balance/charge", of + "/balance/cancel", of + "/segments/add", of + "/segments/remove",
		"/segments/" + segment.ID.String() + "/edit", "/segments/" + segment.ID.String() + "/freeze", "/segments/" + segment.ID.String() + "/delete",
	} {
		s.post(path).says(http.StatusForbidden, "You may not do this.")
	}
	require.Equal(t, 14, refusals(), "an attempt is recorded, ten times a minute")
	require.Equal(t, http.StatusForbidden, s.get(of+"/archive.zip").status)
	require.Equal(t, http.StatusForbidden, s.get("/users/export?format=csv").status)
}

// TestWhoSeesSomeUsersOnlySeesNothingOfOthers looks at the console as somebody who may do
// everything for the users of one country, after somebody who may do it for all.
func TestWhoSeesSomeUsersOnlySeesNothingOfOthers(t *testing.T) {
	actor := administrator
	roles, err := userkit.NewRoles(map[string]userkit.Role{
		"all": {Operations: []string{"*"}}, "german": {Operations: []string{"*"}, Scope: userkit.Equal("country", "DE")},
	}, func(_ context.Context, actor userkit.Actor) []string {
		if actor.ID == "german" {
			return []string{"german"}
		}
		return []string{"all"}
	})
	require.NoError(t, err)
	s := newSiteOf(t, []userkit.Option{userkit.WithVerifiers(verifier{}), userkit.WithAuthorizer(roles)},
		WithActor(func(*http.Request) (userkit.Actor, error) { return actor, nil }))
	user, device, session, purchase, segment := s.full()
	emmy, err := s.users.CreateUser(t.Context(), userkit.NewUser{Login: "emmy", Name: "Emmy Noether", Country: "DE", Status: userkit.StatusActive})
	require.NoError(t, err)
	require.Contains(t, s.get("/").ok(), "<b>2</b>")
	actor.ID = "german"
	body := s.get("/").ok()
	require.NotContains(t, body, "<b>2</b>")
	require.NotContains(t, body, `href="/admin/sessions"`, "the sessions of all users are not offered")
	require.Contains(t, body, `href="/admin/users"`)
	for _, path := range pages(user, device, session, purchase, segment) {
		a := s.get(path)
		require.NotContains(t, a.body, user.Email, path)
		if strings.Contains(path, user.ID.String()) && strings.HasPrefix(path, "/users/") {
			require.Equal(t, http.StatusForbidden, a.status, path)
		}
	}
	s.get("/users/"+emmy.ID.String()).says(http.StatusOK, "Emmy Noether")
	s.post("/users/" + emmy.ID.String() + "/deactivate").leads("/users/" + emmy.ID.String())
	s.post("/users/"+user.ID.String()+"/deactivate").says(http.StatusForbidden, "You may not do this.")
}

// refusedBy returns the operation without which a page cannot be shown.
func refusedBy(c *console, pattern, operation string) string {
	if operation == "users.get" && strings.Contains(pattern, "/users/{user}") {
		return operation // every tab shows the user
	}
	if needs := map[string]string{"devices.get": "/devices", "sessions.get": "/sessions", "purchases.get": "/purchases", "users.find": "/audit", "users.activate": "/bulk", "users.delete": "/bulk"}; needs[operation] != "" && strings.Contains(pattern, needs[operation]) {
		return operation // the dialog, or the search, that the address asks for
	}
	return c.operations[pattern]
}

func TestOversizedBodiesAreRefused(t *testing.T) {
	s := newSite(t, WithMaxUpload(1000))
	user := s.user("ada")
	require.Equal(t, http.StatusRequestEntityTooLarge, s.post("/users/"+user.ID.String()+"/edit", "name", strings.Repeat("x", 2<<20)).status)
	require.Equal(t, http.StatusRequestEntityTooLarge, s.upload("large.csv", "login\r\n"+strings.Repeat("x", 3<<20)).status)
	require.Equal(t, http.StatusRequestEntityTooLarge, s.post("/preferences", "theme", strings.Repeat("x", 2<<20)).status)
}

func TestJobsAndFilesOfOthersAreNotFound(t *testing.T) {
	actor := administrator
	s := newSite(t, WithActor(func(*http.Request) (userkit.Actor, error) { return actor, nil }))
	s.user("ada")
	path := strings.TrimPrefix(s.upload("a.csv", "login\r\nnew\r\n").header.Get("Location"), "/admin")
	s.get(path).ok()
	job := strings.TrimPrefix(s.post(path, "mode", "upsert", "field-0", "login").header.Get("Location"), "/admin")
	s.ended(job)
	actor = userkit.Actor{Kind: userkit.ActorAdministrator, ID: "mallory"}
	for _, address := range []string{path, job, job + "/rejected.csv"} {
		require.Equal(t, http.StatusNotFound, s.get(address).status, address)
	}
	require.Equal(t, http.StatusNotFound, s.post(path).status)
	require.Equal(t, http.StatusNotFound, s.post(job+"/stop").status)
}

func TestCostlyCallsAreLimited(t *testing.T) {
	s := newSite(t)
	for range costlyCalls {
		s.get("/users/export?format=csv").ok()
	}
	a := s.get("/users/export?format=csv").says(http.StatusTooManyRequests, "Please wait a minute.")
	require.Equal(t, "60", a.header.Get("Retry-After"))
	s.get("/users").ok()
	s.now = s.now.Add(time.Minute)
	s.get("/users/export?format=csv").ok()
}

func TestTheConsoleKnowsWhereItIsMounted(t *testing.T) {
	s := newSite(t)
	handler := New(s.users, WithActor(func(*http.Request) (userkit.Actor, error) { return administrator, nil }))
	fixed := New(s.users, WithActor(func(*http.Request) (userkit.Actor, error) { return administrator, nil }), WithPath("/a/b/"))
	for pattern, test := range map[string]struct {
		handler       http.Handler
		address, base string
	}{
		"/":                      {handler, "/users", ""},
		"/deep/down/":            {handler, "/deep/down/users", "/deep/down"},
		"example.org/c/":         {handler, "/c/users", "/c"},
		"GET /c/{project}/":      {handler, "/c/acme/users", "/c/acme"},
		"/c/{project}/{rest...}": {handler, "/c/acme/users", "/c/acme"},
		"/stripped/":             {http.StripPrefix("/stripped", handler), "/stripped/users", "/stripped"},
		"/a/b/{anything...}":     {fixed, "/a/b/users", "/a/b"},
	} {
		mux := http.NewServeMux()
		mux.Handle(pattern, test.handler)
		recorder := httptest.NewRecorder()
		mux.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "http://example.org"+test.address, nil))
		require.Equal(t, http.StatusOK, recorder.Code, pattern)
		require.Contains(t, recorder.Body.String(), `href="`+test.base+`/segments"`, pattern)
	}
}

func TestAssets(t *testing.T) {
	s := newSite(t)
	user, _, _, _, _ := s.full()
	s.header.Set("Accept-Encoding", "br, gzip")
	for _, page := range []string{"/", "/users", "/map", "/users/" + user.ID.String()} {
		first := s.get(page)
		require.Equal(t, "gzip", first.header.Get("Content-Encoding"))
		loaded := map[string]int{page: len(first.body)}
		for _, found := range regexp.MustCompile(`(?:src|href)="/admin(/assets/[^"#]+)`).FindAllStringSubmatch(unzipped(t, first.body), -1) {
			a := s.get(found[1])
			require.Equal(t, http.StatusOK, a.status, found[1])
			require.Equal(t, "public, max-age=31536000, immutable", a.header.Get("Cache-Control"))
			require.Equal(t, "gzip", a.header.Get("Content-Encoding"))
			require.NotEmpty(t, a.header.Get("Content-Type"))
			loaded[found[1]] = len(a.body)
		}
		require.GreaterOrEqual(t, len(loaded), 7)
		total := 0
		for _, size := range loaded {
			total += size
		}
		t.Logf("a first visit of %s loads %d kB", page, total/1000)
		require.Less(t, total, 150*1000, "all that a first visit of %s loads: %v", page, loaded)
	}
	s.header.Del("Accept-Encoding")
	require.Equal(t, http.StatusNotFound, s.get("/assets/x/unknown.js").status)
	require.Equal(t, "no-store", s.get("/assets/old/console.js").header.Get("Cache-Control"))
	for _, licence := range []string{"htmx.LICENSE", "uplot.LICENSE", "lucide.LICENSE"} {
		require.NotNil(t, assets()[licence])
	}
}

func unzipped(t *testing.T, body string) string {
	t.Helper()
	reader, err := gzip.NewReader(strings.NewReader(body))
	require.NoError(t, err)
	content, err := io.ReadAll(reader)
	require.NoError(t, err)
	return string(content)
}
