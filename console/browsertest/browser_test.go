package browsertest

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/console"
	"github.com/userkit/userkit/internal/pgtest"
	"github.com/userkit/userkit/store/memory"
	"github.com/userkit/userkit/store/postgres"
)

//go:embed testdata/axe.min.js
var axe string

// site is a console on a store, on a loopback address.
type site struct {
	server  *httptest.Server
	users   userkit.Manager
	ada     userkit.User
	device  userkit.Device
	session userkit.Session
	segment userkit.Segment
	message userkit.Message
}

type shop struct{}

func (shop) Store() string { return "shop" }

func (shop) Verify(_ context.Context, receipt userkit.Receipt) userkit.Verdict {
	return userkit.Valid(userkit.PurchaseFacts{StableID: receipt.Token, ProductID: "vpn.month", Environment: userkit.Production, Raw: []byte(`{"a":1}`)})
}

// postman is a mailer that always succeeds.
type postman struct{}

func (postman) SendMail(context.Context, userkit.Mail) error { return nil }

// everyStore runs a test on a site on each of the stores.
func everyStore(t *testing.T, test func(t *testing.T, s *site)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { test(t, newSite(t)) })
	t.Run("postgres", func(t *testing.T) {
		store, err := postgres.Open(t.Context(), databases.Create(t))
		require.NoError(t, err)
		test(t, newSiteOn(t, store))
	})
}

// databases creates the databases of all tests on one server.
var databases = pgtest.NewTemplate(func(ctx context.Context, dsn string) error {
	store, err := postgres.Open(ctx, dsn)
	if err != nil {
		return err
	}
	return errors.Join(store.Migrate(ctx), store.Close())
})

func newSite(t *testing.T) *site {
	t.Helper()
	return newSiteOn(t, memory.New())
}

func newSiteOn(t *testing.T, store userkit.Store) *site {
	t.Helper()
	return newSiteWith(t, store, func(users userkit.Manager) userkit.Manager { return users })
}

// newSiteWith is newSiteOn, except that the console uses the manager that wrap returns.
func newSiteWith(t *testing.T, store userkit.Store, wrap func(userkit.Manager) userkit.Manager) *site {
	t.Helper()
	ctx := t.Context()
	users, err := userkit.New(store, userkit.WithLicenses(userkit.License{Name: "Duo", Devices: 2}), userkit.WithVerifiers(shop{}), userkit.WithSealingKeys(make([]byte, 32)),
		userkit.WithActivation(userkit.ActivationPolicy{Mailer: postman{}, Link: "https://example.org/confirm#{token}", MailsPerHour: 1}))
	require.NoError(t, err)
	s := &site{users: users}
	for i, name := range []string{"Ada Lovelace", "عبد الرحمن إبراهيم", "佐藤 健一", "Hubert Blaine Wolfeschlegelsteinhausenbergerdorff-Montgomery von der Mühlen", "Ірина Їжак"} {
		user, err := users.CreateUser(ctx, userkit.NewUser{
			Login: fmt.Sprintf("user%d", i), Name: name, Email: fmt.Sprintf("user%d@example.org", i), Status: userkit.StatusActive, License: "Duo", Country: "GB",
			Attributes: userkit.Attributes{"plan": "gold"},
		})
		require.NoError(t, err)
		if i == 0 {
			s.ada = user
		}
	}
	s.device, err = users.RegisterDevice(ctx, s.ada.ID, userkit.NewDevice{Name: "phone", Type: userkit.DeviceAndroid, LocationConsent: true})
	require.NoError(t, err)
	_, err = users.ReportLocation(ctx, s.device.ID, userkit.Location{Latitude: 52.52, Longitude: 13.4, Accuracy: 20})
	require.NoError(t, err)
	s.message, err = users.SendMessage(ctx, s.ada.ID, userkit.NewMessage{Subject: "Welcome", Body: "Your first month has begun.", Key: "welcome"})
	require.NoError(t, err)
	s.session, err = users.StartSession(ctx, userkit.NewSession{UserID: s.ada.ID, DeviceID: s.device.ID, Node: "fra-1", NodeLocation: "Frankfurt", InternalIP: netip.MustParseAddr("10.0.0.1")})
	require.NoError(t, err)
	_, err = users.ReportUsage(ctx, []userkit.UsageReport{{SessionID: s.session.ID, Received: 5_000_000, Sent: 1_000_000}})
	require.NoError(t, err)
	_, err = users.SubmitPurchase(ctx, s.ada.ID, userkit.Receipt{Store: "shop", Token: "order"})
	require.NoError(t, err)
	_, err = users.Refill(ctx, s.ada.ID, userkit.Entry{Amount: userkit.Money{Amount: 1000, Currency: "EUR"}, Key: "k"})
	require.NoError(t, err)
	s.segment, err = users.CreateSegment(ctx, userkit.NewSegment{Name: "VIP", Rule: userkit.Equal("country", "GB")})
	require.NoError(t, err)

	mux := http.NewServeMux()
	mux.Handle("/admin/", console.New(wrap(users), console.WithActor(func(*http.Request) (userkit.Actor, error) {
		return userkit.Actor{Kind: userkit.ActorAdministrator, ID: "alex", Name: "Alex Morgan"}, nil
	})))
	s.server = httptest.NewServer(mux)
	t.Cleanup(func() {
		s.server.Close()
		require.NoError(t, errors.Join(users.Close(context.WithoutCancel(ctx)), store.Close()))
	})
	return s
}

func (s *site) url(path string) string { return s.server.URL + "/admin" + path }

// tab is a page of the browser that collects what went wrong in it.
type tab struct {
	context.Context
	t      testing.TB
	mutex  sync.Mutex
	faults []string
}

var browser = sync.OnceValues(func() (context.Context, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1280, 900))
			allocator, _ := chromedp.NewExecAllocator(context.Background(), options...) // ends with the process
			ctx, _ := chromedp.NewContext(allocator)
			return ctx, chromedp.Do(ctx)
		}
	}
	return nil, errors.New("there is no chromium: tools/prepare browser installs it")
})

func TestMain(m *testing.M) {
	pgtest.Main(ending{m})
}

// ending runs the tests and then ends the browser.
type ending struct{ *testing.M }

func (e ending) Run() int {
	defer func() {
		if ctx, err := browser(); err == nil {
			_ = chromedp.Cancel(ctx) // it was told to end
		}
	}()
	return e.M.Run()
}

// newTab opens a tab with cookies of its own for the pages of one server. It tells the console the
// zone of the browser, so that the first page is not loaded a second time.
func newTab(t testing.TB, server string) *tab {
	t.Helper()
	shared, err := browser()
	require.NoError(t, err)
	ctx, cancel := chromedp.NewContext(shared, chromedp.WithNewBrowserContext())
	opened := &tab{Context: ctx, t: t}
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		fault := ""
		switch event := event.(type) {
		case *log.EventEntryAdded:
			if event.Entry.Level == log.EntryLevelError && !strings.Contains(event.Entry.Text, "the server responded with a status of 4") {
				fault = event.Entry.Text
			}
		case *runtime.EventConsoleAPICalled:
			if event.Type == runtime.ConsoleAPICalledTypeError || event.Type == runtime.ConsoleAPICalledTypeWarning {
				fault = fmt.Sprintf("console: %v", event.Args)
			}
		case *runtime.EventExceptionThrown:
			fault = fmt.Sprintf("exception: %v", event.ExceptionDetails)
		case *network.EventRequestWillBeSent:
			if !strings.HasPrefix(event.Request.URL, server) && !strings.HasPrefix(event.Request.URL, "data:") && event.Request.URL != "about:blank" {
				fault = "request to " + event.Request.URL
			}
		}
		if fault != "" {
			opened.mutex.Lock()
			defer opened.mutex.Unlock()
			opened.faults = append(opened.faults, fault)
		}
	}))
	t.Cleanup(func() {
		cancel()
		opened.mutex.Lock()
		defer opened.mutex.Unlock()
		require.Empty(t, opened.faults)
	})
	opened.run(call(emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "UTC"}),
		call(network.SetCookie, network.SetCookieParams{Name: "userkit_console_zone", Value: "UTC", URL: server + "/admin/", Path: "/admin/"}))
	return opened
}

// step is something to do in the browser.
type step = chromedp.Action[chromedp.Void]

func (b *tab) run(steps ...step) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b, steps...))
}

// evaluate returns the value of an expression in the page.
func evaluate[T any](b *tab, expression string, options ...chromedp.EvaluateOption) T {
	b.t.Helper()
	value, err := chromedp.Run(b, chromedp.Evaluate[T](expression, options...))
	require.NoError(b.t, err)
	return value
}

// script runs an expression and ignores its value.
func script(expression string) step {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Evaluate[any](expression)(ctx, t)
		return chromedp.Void{}, err
	}
}

// These are the steps of the tests, each on the element that a CSS selector finds.

func click(selector string) step       { return chromedp.Click(chromedp.CSS(selector)) }
func visible(selector string) step     { return chromedp.WaitVisible(chromedp.CSS(selector)) }
func ready(selector string) step       { return chromedp.WaitReady(chromedp.CSS(selector)) }
func focus(selector string) step       { return chromedp.Focus(chromedp.CSS(selector)) }
func typed(selector, text string) step { return chromedp.SendKeys(chromedp.CSS(selector), text) }
func set(selector, text string) step   { return chromedp.SetValue(chromedp.CSS(selector), text) }

// pressed presses keys as a person does. A character is not typed if a handler of its key prevents
// it, while it is typed after the "keyDown" that KeyEvent sends.
func pressed(keys string, options ...chromedp.KeyOption) step {
	return chromedp.KeyEvent(keys, append(options, func(event *input.DispatchKeyEventParams) {
		if event.Type == kb.KeyDown {
			event.Type = kb.KeyRawDown
		}
	})...)
}

// call sends a command of the protocol.
func call[P, R any](command cdp.Command[P, R], params P) step {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, command, params)
		return chromedp.Void{}, err
	}
}

// sees waits until the page has a text.
func (b *tab) sees(text string) {
	b.t.Helper()
	b.until(`document.body.innerText.includes(` + quoted(text) + `)`)
}

// until waits until an expression is true.
func (b *tab) until(expression string) {
	b.t.Helper()
	_, err := chromedp.Run(b, chromedp.Poll[bool]("!!("+expression+")"))
	require.NoError(b.t, err, expression)
}

func quoted(text string) string {
	encoded, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(encoded)
}

func (s *site) pages() []string {
	of := "/users/" + s.ada.ID.String()
	return []string{
		"/", "/users", "/users?open=" + s.ada.ID.String(), "/users?filter=login+pr+and+country+eq+%22GB%22", "/users?filter=nonsense", "/users?q=zzz", "/users?do=columns",
		"/users?do=bulk", "/users?do=bulk&user=" + s.ada.ID.String(), "/users?do=save&filter=login+pr", "/users/new", "/bulk?action=delete", "/bulk?action=add_days&days=30", "/import", of, of + "?do=profile", of + "?do=billing", of + "?do=attributes", of + "?do=limit",
		of + "?do=deactivate", of + "?do=delete", of + "?do=connect", "/connections", of + "/devices", of + "/devices?do=rotate&target=" + s.device.ID.String(), of + "/devices?do=withdraw&target=" + s.device.ID.String(), of + "/map", of + "/map?do=forget", "/map", of + "/sessions", of + "/traffic", of + "/purchases",
		of + "/balance", of + "/balance?do=refill", of + "/segments", of + "/messages", of + "/messages?do=write", of + "/messages?do=read&target=" + s.message.ID.String(), of + "/messages?do=message&target=" + s.message.ID.String(), of + "/activity", "/sessions", "/messages", "/purchases", "/segments", "/segments?do=create",
		"/segments/" + s.segment.ID.String(), "/segments/" + s.segment.ID.String() + "?do=edit", "/audit", "/jobs", "/preferences", "/find?q=ada", "/unknown",
	}
}

// looks are the ways in which a page is checked, one after another. Dark colours can spoil only the
// contrasts, and everything else is checked on a wide page and on a phone.
var looks = []struct{ name, only string }{
	{"light", `["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]`},
	{"dark", `{type: "rule", values: ["color-contrast", "link-in-text-block"]}`},
	{"phone", `["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]`},
}

// as makes the page look as somebody sees it.
func as(name string) []step {
	scheme, viewport := "light", chromedp.EmulateViewport(1280, 900)
	switch name {
	case "dark":
		scheme = "dark"
	case "phone":
		viewport = chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile)
	}
	return []step{viewport, call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})}
}

// hasNoFaults checks the page that is open in light colours, in dark ones and in the width of a
// phone.
func (b *tab) hasNoFaults(page string) {
	b.t.Helper()
	b.run(script(axe + "; 0"))
	for _, look := range looks {
		b.run(as(look.name)...)
		findings := evaluate[[]string](b, `axe.run(document, {runOnly: `+look.only+`})
			.then(r => r.violations.flatMap(v => v.nodes.map(n => v.id + ": " + n.html.slice(0, 200) + " " + n.failureSummary)))`, chromedp.EvalAwaitPromise)
		require.Empty(b.t, findings, "%s, %s", page, look.name)
		b.fits(page + ", " + look.name)
	}
	b.run(as("light")...)
}

// fits asserts that the page is no wider than the window. The width is not innerWidth, which grows on a phone
// with what does not fit.
func (b *tab) fits(page string) {
	b.t.Helper()
	require.LessOrEqual(b.t, evaluate[int](b, `document.documentElement.scrollWidth`), evaluate[int](b, `document.documentElement.clientWidth`), "%s is wider than the window", page)
}

func TestNoPageHasFaultsOfAccessibilityOrPolicy(t *testing.T) {
	s := newSite(t)
	b := newTab(t, s.server.URL)
	for _, path := range s.pages() {
		b.run(chromedp.Navigate(s.url(path)), ready("main"))
		b.until(`document.querySelector("dialog[data-modal]") === null || document.querySelector("dialog:modal") !== null`)
		b.hasNoFaults(path)
		// An input of the name id hides the id of its form: htmx then takes the form for another one,
		// and replaces it with all that is in it.
		require.True(t, evaluate[bool](b, `[...document.forms].every((form) => typeof form.id === "string")`), path)
	}
}

// TestZone moves the browser to another zone, which the console learns.
func TestZone(t *testing.T) {
	s := newSite(t)
	b := newTab(t, s.server.URL)
	b.run(chromedp.Navigate(s.url("/users/"+s.ada.ID.String())), ready("main"))
	b.run(call(emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Tokyo"}), chromedp.Navigate(s.url("/users")))
	for again := false; !again; { // while the page is loaded again, there may be none to ask
		require.NoError(t, b.Err())
		again, _ = chromedp.Run(b, chromedp.Evaluate[bool](`document.cookie.includes("zone=Asia%2FTokyo") && performance.getEntriesByType("navigation")[0].type === "reload"`))
	}
}

// TestConnected connects to a user and looks at the bar that stays until the end.
func TestConnected(t *testing.T) {
	s := newSite(t)
	b := newTab(t, s.server.URL)
	of := "/users/" + s.ada.ID.String()
	connect := func() {
		b.run(chromedp.Navigate(s.url(of)), ready(".hero"))
		b.until(loaded)
		b.run(click(`a[href$="?do=connect"]`), visible("dialog:modal #field-reason"), typed("#field-reason", "ticket 7"), click("dialog button.primary"), visible(".connected"))
	}
	connect()
	b.until(`document.querySelector(".connected").innerText.includes("user0@example.org")`)
	b.until(`/^29:[0-5][0-9]$/.test(document.querySelector("time-left").textContent)`)
	b.run(script(`window.stays = true`))
	b.run(click(`nav a[href$="/users"]`))
	b.until(`window.stays && document.querySelectorAll("tr[data-row]").length === 1 && document.querySelector(".connected") !== null`)
	require.Equal(t, "pulse", evaluate[string](b, `getComputedStyle(document.querySelector(".connected .pulse")).animationName`))
	b.run(call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}}))
	require.Equal(t, "none", evaluate[string](b, `getComputedStyle(document.querySelector(".connected .pulse")).animationName`))

	// The bar has no faults either.
	b.run(chromedp.Navigate(s.url(of)), visible(".connected"))
	b.hasNoFaults("connected")
	b.until(loaded)
	b.run(click(`.connected button`))
	b.until(`document.querySelector(".connected") === null && document.body.innerText.includes("You are disconnected from the user.")`)

	// A live page learns by itself that somebody has ended the connection.
	connect()
	b.run(click(`nav a[href$="/sessions"]`), visible("#live"))
	_, err := s.users.Disconnect(t.Context(), newest(t, s))
	require.NoError(t, err)
	b.run(visible(".failure h1")) // on a page that is opened meanwhile
	b.sees("The connection to the user has ended.")
	b.until(`document.querySelector(".connected") === null`)

	// So does a page when the time is over.
	connect()
	b.run(script(`document.querySelector("time-left").dataset.seconds = 1`))
	_, err = s.users.Disconnect(t.Context(), newest(t, s))
	require.NoError(t, err)
	b.run(visible(".failure h1"))
	b.sees("The connection to the user has ended.")
}

// newest returns the id of the connection that was made last.
func newest(t *testing.T, s *site) userkit.ConnectionID {
	t.Helper()
	found, err := s.users.Connections(t.Context(), userkit.ConnectionQuery{})
	require.NoError(t, err)
	return found.Items[0].ID
}

func TestMouse(t *testing.T) { everyStore(t, mouse) }

func mouse(t *testing.T, s *site) {
	b := newTab(t, s.server.URL)
	b.run(chromedp.Navigate(s.url("/users")), ready("#search"))
	b.until(loaded)
	b.run(script(`window.stays = true`))

	// Search while typing, without a new page.
	b.run(typed("#search", "lovelace"))
	b.until(`document.querySelectorAll("tr[data-row]").length === 1 && location.search.includes("q=lovelace")`)
	b.until(`window.stays && document.activeElement.id === "search"`)
	b.until(`document.getElementById("count").innerText === "1" && !location.search.includes("count")`)

	// Open the user, edit it in place, and see what is wrong beside the field.
	b.run(click(`a[data-open]`))
	b.sees("At a glance")
	b.run(click(`a[data-key="e"]`), visible("#field-email"),
		set("#field-email", "nonsense@"), set("#field-name", "Ada King"))
	b.run(script(`document.querySelector('form[action$="/edit"]').noValidate = true`))
	b.run(click(`form[action$="/edit"] button.primary`), visible("#error-email"))
	b.until(`document.getElementById("field-name").value === "Ada King"`)
	b.run(set("#field-email", "ada@example.org"), click(`form[action$="/edit"] button.primary`))
	b.sees("Saved.")
	b.until(`document.querySelector("h1").innerText === "Ada King" && window.stays`)

	// A dialog, and the address of an action is not kept.
	b.run(click(`.tabs a[href$="/balance"]`), visible("#balance"))
	b.run(click(`a[href*="do=refill"]`), visible("dialog:modal #field-amount"))
	b.run(typed("#field-amount", "much"), click("dialog button.primary"), visible("#error-amount"))
	b.until(`!location.pathname.endsWith("/refill") && document.querySelector("dialog:modal") !== null`)
	b.run(set("#field-amount", "2.50"), click("dialog button.primary"))
	b.until(`document.getElementById("balance")?.innerText === "12.50 EUR" && document.querySelector("dialog") === null`)

	// The plot comes back with the button Back.
	b.run(click(`.tabs a[href$="/traffic"]`), visible("traffic-plot canvas"))
	b.run(click(`.tabs a[href$="/segments"]`), visible("#segment-find"))
	b.run(script(`history.back()`), visible("traffic-plot canvas"))
	b.until(`window.stays`)

	// A token is shown once.
	b.run(click(`.tabs a[href$="/devices"]`), visible(`a[href*="do=rotate"]`))
	b.run(click(`a[href*="do=rotate"]`), visible("dialog:modal"), click("dialog button.primary"), visible("#token"))
	b.run(click(`dialog a.primary`))
	b.until(`document.querySelector("dialog") === null && document.getElementById("token") === null`)

	// Live sessions end on the page by themselves. A new token has ended those of the device.
	session, err := s.users.StartSession(t.Context(), userkit.NewSession{UserID: s.ada.ID, DeviceID: s.device.ID, Node: "fra-1"})
	require.NoError(t, err)
	b.run(chromedp.Navigate(s.url("/sessions")), visible("tr[data-row]"))
	_, err = s.users.EndSession(t.Context(), session.ID, userkit.UsageReport{})
	require.NoError(t, err)
	b.sees("No user is connected now.")
}

func TestKeyboard(t *testing.T) {
	s := newSite(t)
	b := newTab(t, s.server.URL)
	b.run(chromedp.Navigate(s.url("/")), ready("#find"))
	b.until(loaded)
	ctrlK := func() step { return pressed("k", chromedp.KeyModifiers(kb.ModifierCtrl)) }
	b.run(ctrlK())
	b.until(`document.activeElement.id === "find"`)
	b.run(pressed("vip"), pressed(kb.Enter))
	b.until(`document.querySelector("#found a[href*='/segments/']") !== null`)
	b.run(ctrlK(), pressed("users"), pressed(kb.Enter))
	b.until(`document.querySelector("#found a[href$='/users']") !== null`)
	b.run(focus("#found a[href$='/users']"), pressed(kb.Enter), visible("tr[data-row]"))
	b.run(script(`document.activeElement.blur()`), pressed("/"))
	b.until(`document.activeElement.id === "search"`)
	require.Empty(t, evaluate[string](b, `document.getElementById("search").value`), "the key leads to the field and is not typed into it")
	b.run(script(`document.activeElement.blur()`), pressed("j"), pressed("j"), pressed("k"), pressed("x"))
	b.until(`document.querySelector("tr.current input[name=user]").checked`)
	b.run(focus("tr.current a[data-open]"), pressed(kb.Enter))
	b.sees("At a glance")
	b.run(script(`document.activeElement.blur()`), pressed("e"), visible("#field-name"))
	b.run(chromedp.Navigate(s.url("/users/"+s.ada.ID.String()+"/balance?do=refill")), visible("dialog:modal"))
	b.until(`document.activeElement.id === "field-amount" && document.querySelector(".brand")._htmx !== undefined`)
	b.run(pressed("1.00"), pressed(kb.Enter))
	b.until(`document.getElementById("balance")?.innerText === "11.00 EUR" && document.querySelector("dialog") === null`)
	b.run(script(`document.activeElement.blur()`), pressed("n"), visible("dialog:modal"), pressed(kb.Escape))
	b.until(`document.querySelector("dialog") === null`)
}

// TestLinksOfTablesStayInThePage follows links of a table with the mouse: the page is not loaded
// again, its count is not made again, the address can be shared, and back leads back. A click with
// a key that opens another tab is the browser's.
func TestLinksOfTablesStayInThePage(t *testing.T) {
	s := newSite(t)
	b := newTab(t, s.server.URL)
	b.run(chromedp.Navigate(s.url("/users")), visible("tr[data-row]"))
	b.until(loaded + ` && document.getElementById("count").innerText === "5"`)
	b.run(script(`window.stayed = true`), click(`th a[href*="sort=name"]`))
	b.until(`location.search.includes("sort=name") && document.querySelector("th[aria-sort=ascending]")`)
	b.run(click("tr[data-row] a.plus"), visible("tr.details"))
	require.True(t, evaluate[bool](b, `stayed && location.search.includes("open=") && document.getElementById("count").innerText === "5"`))
	require.Equal(t, 1, evaluate[int](b, `performance.getEntriesByType("resource").filter((entry) => entry.name.includes("count=1")).length`))
	require.True(t, evaluate[bool](b, `(() => {
		const click = new MouseEvent("click", { bubbles: true, cancelable: true, ctrlKey: true });
		document.addEventListener("click", (event) => { window.kept = !event.defaultPrevented; event.preventDefault(); }, { once: true });
		document.querySelector("a[data-open]").dispatchEvent(click);
		return kept;
	})()`))
	b.run(click("tr[data-row] a[data-open]"), visible(".hero"))
	require.True(t, evaluate[bool](b, `stayed && location.pathname.includes("/users/")`))
	b.run(script(`history.back()`))
	b.until(`document.querySelector("tr.details") && location.search.includes("open=")`)
}

// TestTheCurrentRowStays replaces tables after a key has made one of their rows current: a search
// that arrives late, and the live sessions.
func TestTheCurrentRowStays(t *testing.T) {
	s := newSite(t)
	b := newTab(t, s.server.URL)
	replaced := func(request string) {
		b.run(script(`window.swaps = 0; document.addEventListener("htmx:after:swap", () => swaps++, { once: true }); ` + request))
		b.until(`swaps === 1`)
		require.True(t, evaluate[bool](b, `document.querySelectorAll("tr.current").length === 1 && document.activeElement.closest("tr.current") !== null`), request)
	}
	b.run(chromedp.Navigate(s.url("/users")), visible("tr[data-row]"))
	b.until(loaded + ` && document.getElementById("count").innerText === "5"`)
	b.run(pressed("j"), pressed("j"))
	second := `document.querySelector("tr.current a[data-open]").getAttribute("href")`
	before := evaluate[string](b, second)
	replaced(`document.getElementById("search").form.requestSubmit()`)
	require.Equal(t, before, evaluate[string](b, second))
	b.run(pressed("k"))
	require.NotEqual(t, before, evaluate[string](b, second), "the keys go on from the current row")

	// The row whose details are open is another one, unless they were opened since.
	opened := func(row int) string {
		return fmt.Sprintf(`document.querySelectorAll("tr.current").length === 1 && document.querySelectorAll("tr[data-row]")[%d].matches(".current")`, row)
	}
	b.run(click("tr[data-row] a.plus"), visible("tr.details"))
	b.until(opened(0))
	b.run(pressed("j"), pressed("j"), click(`a[href*="do=columns"]`), visible("dialog:modal"))
	require.True(t, evaluate[bool](b, opened(2)))
	b.run(click("dialog a.close"))
	b.until(`document.querySelector("dialog") === null && document.querySelector("tr.details") !== null`)
	require.True(t, evaluate[bool](b, opened(2)))
	b.run(script(`document.querySelectorAll("tr[data-row] a.plus")[3].click()`))
	b.until(opened(3))

	b.run(chromedp.Navigate(s.url("/sessions")), visible("tr[data-row]"))
	b.until(loaded)
	b.run(pressed("j"))
	replaced(`document.getElementById("live").dispatchEvent(new Event("every"))`)
}

func TestWithoutJavaScript(t *testing.T) {
	s := newSite(t)
	b := newTab(t, s.server.URL)
	b.run(call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	text := func() string {
		body, err := chromedp.Run(b, chromedp.OuterHTML(chromedp.CSS("main")))
		require.NoError(t, err)
		return body
	}
	b.run(chromedp.Navigate(s.url("/users")), ready("#search"), typed("#search", "lovelace"+kb.Enter), ready(`a[href*="q=lovelace"]`))
	require.NotContains(t, text(), "佐藤")
	b.run(click("a.plus"), ready("tr.details"))
	b.run(click("a[data-open]"), ready(".hero"), click(`a[href$="?do=limit"]`), visible("dialog #field-traffic_limit"))
	b.run(click(`input[name=unlimited]`), typed("#field-traffic_limit", "5 GB"), click("dialog button.primary"), ready("progress"))
	user, err := s.users.User(t.Context(), s.ada.ID)
	require.NoError(t, err)
	require.EqualValues(t, 5_000_000_000, user.Traffic.Limit.Bytes)
	b.run(click(`a[href$="?do=deactivate"]`), visible("dialog"), click("dialog button.danger"), ready(`form[action$="/activate"]`))
	b.run(click(`a[href$="/traffic"]`), ready("traffic-plot"))
	require.Contains(t, text(), "5 MB", "the table says what the plot would")
}

// TestLongTextsFit looks at texts as long as they may be, without a place to break them: only a table is wider
// than the window, within its card.
func TestLongTextsFit(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	long := func(characters int) string { return strings.Repeat("x", characters) }
	user, err := s.users.CreateUser(ctx, userkit.NewUser{
		Login: long(userkit.MaxLogin), Name: long(userkit.MaxName), Email: long(64) + "@" + long(63) + "." + long(63) + ".example.org", ExtRef: long(userkit.MaxExtRef),
		Status: userkit.StatusActive, Description: long(userkit.MaxDescription), AdditionalInfo: long(userkit.MaxAdditionalInfo), Attributes: userkit.Attributes{long(64): long(200)},
	})
	require.NoError(t, err)
	device, err := s.users.RegisterDevice(ctx, user.ID, userkit.NewDevice{Name: long(userkit.MaxLine), Type: userkit.DeviceRouter})
	require.NoError(t, err)
	_, err = s.users.StartSession(ctx, userkit.NewSession{UserID: user.ID, DeviceID: device.ID, Node: long(userkit.MaxLine), NodeLocation: long(userkit.MaxLine)})
	require.NoError(t, err)
	message, err := s.users.SendMessage(ctx, user.ID, userkit.NewMessage{Subject: long(userkit.MaxLine), Body: long(1000), Data: map[string]string{"page": long(500)}})
	require.NoError(t, err)
	_, err = s.users.Refill(ctx, user.ID, userkit.Entry{Amount: userkit.Money{Amount: 1 << 60, Currency: "EUR"}, Key: "k", Note: long(userkit.MaxNote), Reference: long(userkit.MaxLine)})
	require.NoError(t, err)
	segment, err := s.users.CreateSegment(ctx, userkit.NewSegment{Name: long(userkit.MaxSegmentName), Rule: userkit.Equal("extref", user.ExtRef)})
	require.NoError(t, err)

	b := newTab(t, s.server.URL)
	of := "/users/" + user.ID.String()
	b.run(chromedp.Navigate(s.url(of+"?do=connect")), visible("dialog:modal"), set("#field-reason", long(userkit.MaxLine)), click("dialog button.primary"), visible(".connected"))
	for _, path := range []string{
		"/users?open=" + user.ID.String(), of, of + "?do=profile", of + "?do=attributes", of + "/devices", of + "/devices?do=edit&target=" + device.ID.String(), of + "/sessions", of + "/balance", of + "/segments",
		of + "/messages?do=message&target=" + message.ID.String(), of + "/activity", "/audit", "/segments/" + segment.ID.String(), "/find?q=xxx",
	} {
		b.run(chromedp.Navigate(s.url(path)), ready(".connected"))
		for _, look := range []string{"light", "phone"} {
			b.run(as(look)...)
			b.fits(path + ", " + look)
		}
	}
}
