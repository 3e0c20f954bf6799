package console

import (
	"bytes"
	"context"
	"errors"
	"html"
	"io"
	"log/slog"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// site is a console with users, on the memory store, at a time that stands.
type site struct {
	t       *testing.T
	users   userkit.Manager
	handler http.Handler
	now     time.Time
	cookies map[string]string
	header  http.Header // of each request
}

var administrator = userkit.Actor{Kind: userkit.ActorAdministrator, ID: "alex", Name: "Alex Morgan"}

// verifier is a store that says what the token begins with.
type verifier struct{}

func (verifier) Store() string { return "shop" }

func (verifier) Verify(_ context.Context, receipt userkit.Receipt) userkit.Verdict {
	switch {
	case strings.HasPrefix(receipt.Token, "undecided"):
		return userkit.Undecided(errors.New("closed"), time.Time{})
	case strings.HasPrefix(receipt.Token, "invalid"):
		return userkit.Invalid(userkit.ReasonExpired, userkit.PurchaseFacts{})
	}
	return userkit.Valid(userkit.PurchaseFacts{
		StableID: receipt.Token, TransactionID: "T-" + receipt.Token, ProductID: "vpn.month", Environment: userkit.Production,
		PurchasedAt: start, ExpiresAt: start.AddDate(0, 1, 0), Raw: []byte(`{"said":"<script>alert(1)</script>"}`),
	})
}

var start = time.Date(2026, 3, 5, 12, 30, 0, 0, time.UTC)

func newSite(t *testing.T, options ...Option) *site {
	t.Helper()
	return newSiteOf(t, []userkit.Option{userkit.WithVerifiers(verifier{})}, options...)
}

func newSiteOf(t *testing.T, managerOptions []userkit.Option, options ...Option) *site {
	t.Helper()
	return newSiteOn(t, memory.New(), managerOptions, options...)
}

func newSiteOn(t *testing.T, store userkit.Store, managerOptions []userkit.Option, options ...Option) *site {
	t.Helper()
	s := &site{t: t, now: start, cookies: map[string]string{}, header: http.Header{}}
	users, err := userkit.New(store, append([]userkit.Option{
		userkit.WithClock(func() time.Time { return s.now }),
		userkit.WithLicenses(userkit.License{Name: "Solo", Devices: 1}, userkit.License{Name: "Duo", Devices: 2}),
		userkit.WithSealingKeys(bytes.Repeat([]byte{7}, 32)),
	}, managerOptions...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, errors.Join(users.Close(context.Background()), store.Close())) })
	s.users = users
	var log bytes.Buffer
	t.Cleanup(func() { require.Empty(t, log.String()) })
	handler := New(users, append([]Option{
		WithActor(func(*http.Request) (userkit.Actor, error) { return administrator, nil }),
		WithLogger(slog.New(slog.NewTextHandler(&log, nil))),
	}, options...)...)
	mux := http.NewServeMux()
	mux.Handle("/admin/", handler)
	s.handler = mux
	return s
}

// answer is what came back.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   string
}

func (s *site) do(r *http.Request) answer {
	s.t.Helper()
	maps.Copy(r.Header, s.header)
	for name, value := range s.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	recorder := httptest.NewRecorder()
	s.handler.ServeHTTP(recorder, r)
	for _, cookie := range recorder.Result().Cookies() {
		if cookie.MaxAge < 0 {
			delete(s.cookies, cookie.Name)
		} else {
			s.cookies[cookie.Name] = cookie.Value
		}
	}
	body, err := io.ReadAll(recorder.Result().Body)
	require.NoError(s.t, err)
	return answer{s.t, recorder.Code, recorder.Header(), string(body)}
}

func (s *site) get(path string) answer {
	s.t.Helper()
	return s.do(httptest.NewRequest(http.MethodGet, "/admin"+path, nil))
}

// faulty is a manager whose list of segments does what the host's code should not.
type faulty struct {
	userkit.Manager
	does func()
}

func (f faulty) Segments(context.Context, userkit.SegmentQuery) (userkit.Page[userkit.Segment], error) {
	f.does()
	return userkit.Page[userkit.Segment]{}, nil
}

// disasters are what code of the host may do on a goroutine of the console.
var disasters = map[string]func(){
	"panic": func() { panic("on fire") },
	"end":   runtime.Goexit,
}

// TestWhatIsReadMeanwhileMayPanic opens a page that reads on two goroutines. What goes wrong on the
// one that is not the request's ends the page, and neither the process nor the wait for it.
func TestWhatIsReadMeanwhileMayPanic(t *testing.T) {
	s := newSite(t)
	for name, does := range disasters {
		var log bytes.Buffer
		s.handler = New(faulty{s.users, does}, WithPath("/admin"), WithActor(func(*http.Request) (userkit.Actor, error) { return administrator, nil }),
			WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		s.get("/messages").says(http.StatusInternalServerError, "This did not work", "The host’s log says more.")
		require.Contains(t, log.String(), "path=/messages", name)
		s.get("/users").ok()
	}
}

// TestWhatIsReadMeanwhileMayHang leaves a page while a goroutine of its own hangs.
func TestWhatIsReadMeanwhileMayHang(t *testing.T) {
	s := newSite(t)
	hold := make(chan struct{})
	defer close(hold)
	ctx, leave := context.WithCancel(t.Context())
	s.handler = New(faulty{s.users, func() { leave(); <-hold }}, WithPath("/admin"), WithActor(func(*http.Request) (userkit.Actor, error) { return administrator, nil }))
	s.do(httptest.NewRequestWithContext(ctx, http.MethodGet, "/admin/messages", nil)) // returns
}

// TestWhoLeavesIsNoFault opens a page and goes away before it comes: the log, which newSite
// looks at, says nothing of it.
func TestWhoLeavesIsNoFault(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.do(httptest.NewRequestWithContext(ctx, http.MethodGet, "/admin/sessions", nil))
}

func (s *site) post(path string, pairs ...string) answer {
	s.t.Helper()
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, "/admin"+path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.do(r)
}

// upload sends a file to import.
func (s *site) upload(name, content string) answer {
	s.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", name)
	require.NoError(s.t, err)
	_, err = io.WriteString(part, content)
	require.NoError(s.t, err)
	require.NoError(s.t, form.Close())
	r := httptest.NewRequest(http.MethodPost, "/admin/import", &body)
	r.Header.Set("Content-Type", form.FormDataContentType())
	return s.do(r)
}

// ok requires the status 200 and gives the page.
func (a answer) ok() string {
	a.t.Helper()
	require.Equal(a.t, http.StatusOK, a.status, alert(a.body))
	return a.body
}

// says requires a page with texts in it, as a person reads them.
func (a answer) says(status int, texts ...string) answer {
	a.t.Helper()
	require.Equal(a.t, status, a.status, alert(a.body))
	require.NotContains(a.t, a.body, `focusable="false"></svg>`, "an icon that there is none of")
	for _, text := range texts {
		require.Contains(a.t, html.UnescapeString(a.body), text)
	}
	return a
}

// leads requires a redirect to an address below the base.
func (a answer) leads(path string) {
	a.t.Helper()
	require.Equal(a.t, http.StatusSeeOther, a.status, alert(a.body))
	require.Equal(a.t, "/admin"+path, a.header.Get("Location"))
}

// alert returns the part of a page that tells what is wrong.
func alert(body string) string {
	if at := strings.Index(body, `role="alert"`); at >= 0 {
		return body[at:min(len(body), at+300)]
	}
	return body[:min(len(body), 300)]
}

// user creates a user with everything that belongs to one.
func (s *site) user(login string) userkit.User {
	s.t.Helper()
	ctx := s.t.Context()
	user, err := s.users.CreateUser(ctx, userkit.NewUser{
		Login: login, Name: "Ada " + login, Email: login + "@example.org", Country: "GB", License: "Duo", Status: userkit.StatusActive,
		Attributes: userkit.Attributes{"plan": "gold", "seats": int64(5)},
	})
	require.NoError(s.t, err)
	return user
}

// full gives a user a device, a session, traffic, a purchase, money, a segment and events.
func (s *site) full() (userkit.User, userkit.Device, userkit.Session, userkit.Purchase, userkit.Segment) {
	s.t.Helper()
	ctx := s.t.Context()
	user := s.user("ada")
	device, err := s.users.RegisterDevice(ctx, user.ID, userkit.NewDevice{Name: "phone", Type: userkit.DeviceAndroid, HardwareID: "hw-1", LocationConsent: true})
	require.NoError(s.t, err)
	_, err = s.users.ReportLocation(ctx, device.ID, userkit.Location{Latitude: 52.52, Longitude: 13.405, Accuracy: 40_000})
	require.NoError(s.t, err)
	session, err := s.users.StartSession(ctx, userkit.NewSession{UserID: user.ID, DeviceID: device.ID, Node: "fra-1", NodeLocation: "Frankfurt", InternalIP: netip.MustParseAddr("10.0.0.7")})
	require.NoError(s.t, err)
	_, err = s.users.ReportUsage(ctx, []userkit.UsageReport{{SessionID: session.ID, Received: 1_500_000, Sent: 250_000}})
	require.NoError(s.t, err)
	purchase, err := s.users.SubmitPurchase(ctx, user.ID, userkit.Receipt{Store: "shop", Token: "order-ada"})
	require.NoError(s.t, err)
	_, err = s.users.Refill(ctx, user.ID, userkit.Entry{Amount: userkit.Money{Amount: 1250, Currency: "EUR"}, Key: "k1", Note: "first"})
	require.NoError(s.t, err)
	segment, err := s.users.CreateSegment(ctx, userkit.NewSegment{Name: "VIP ada"})
	require.NoError(s.t, err)
	require.NoError(s.t, s.users.AddToSegments(ctx, user.ID, segment.ID))
	user, err = s.users.User(ctx, user.ID)
	require.NoError(s.t, err)
	return user, device, session, purchase, segment
}

// pages are the addresses of all pages and of their dialogs.
func pages(user userkit.User, device userkit.Device, session userkit.Session, purchase userkit.Purchase, segment userkit.Segment) []string {
	of := "/users/" + user.ID.String()
	return []string{
		"/", "/find?q=ada", "/find", "/preferences", "/jobs", "/users", "/users?open=" + user.ID.String(), "/users?do=columns",
		"/users?do=bulk", "/users?do=save&filter=login+pr", "/users/new", "/bulk?action=activate", "/bulk?action=delete&user=" + user.ID.String(), "/import",
		of, of + "?do=profile", of + "?do=billing", of + "?do=attributes", of + "?do=limit", of + "?do=deactivate", of + "?do=delete", of + "?do=connect", of + "?at=2027-01-01T00:00",
		of + "/devices", of + "/devices?do=register", of + "/devices?do=edit&target=" + device.ID.String(), of + "/devices?do=rotate&target=" + device.ID.String(),
		of + "/devices?do=reveal&target=" + device.ID.String(), of + "/devices?do=delete-device&target=" + device.ID.String(),
		of + "/map", of + "/map?do=forget", of + "/map?bbox=170,-30,-170,-10", "/map", "/map?bbox=-10,40,30,60",
		of + "/sessions", of + "/sessions?do=end&target=" + session.ID.String(), of + "/sessions?mixed=1&from=2026-03-01&to=2026-03-06", of + "/traffic",
		of + "/purchases", of + "/purchases?do=raw&target=" + purchase.ID.String(), of + "/purchases?do=deactivate-purchase&target=" + purchase.ID.String(),
		of + "/purchases?do=activate-purchase&target=" + purchase.ID.String(),
		of + "/balance", of + "/balance?do=refill", of + "/balance?do=charge", of + "/balance?do=cancel&target=" + user.LastTransaction.String(), of + "/balance?cancelled=1",
		of + "/segments", of + "/segments?find=new", of + "/segments?do=remove&target=" + segment.ID.String(), of + "/messages", of + "/messages?unread=1", of + "/messages?do=write", "/messages", "/messages?segment=" + segment.ID.String(), "/messages?q=ada&all=1",
		of + "/activity", of + "/activity?all=1",
		"/sessions", "/sessions?from=2026-03-01&to=2026-03-06", "/purchases", "/purchases?all=1", "/segments", "/segments?do=create",
		"/segments/" + segment.ID.String(), "/segments/" + segment.ID.String() + "?do=edit", "/segments/" + segment.ID.String() + "?do=delete",
		"/connections", "/connections?all=1", "/audit", "/audit?actor=system&name=user.created&from=2026-03-01&to=2026-03-06", "/audit?target=ada",
	}
}

func TestEveryPageIsServed(t *testing.T) {
	s := newSite(t)
	user, device, session, purchase, segment := s.full()
	rule, err := s.users.CreateSegment(t.Context(), userkit.NewSegment{Name: "rule", Rule: userkit.Equal("country", "GB")})
	require.NoError(t, err)
	for _, language := range []string{"en", "ru"} {
		s.cookies[cookieLanguage] = language
		for _, path := range append(pages(user, device, session, purchase, segment), "/segments/"+rule.ID.String()+"?do=freeze") {
			t.Run(language+path, func(t *testing.T) {
				s.t = t
				a := s.get(path)
				body := a.ok()
				require.Contains(t, body, `<html lang="`+language)
				require.Contains(t, a.header.Get("Cache-Control"), "no-store")
				require.NotContains(t, body, "ZgotmplZ")
				require.NotContains(t, body, "<no value>")
				require.NotContains(t, body, "%!")
				if strings.Contains(path, "do=") && !strings.Contains(path, "do=profile") && !strings.Contains(path, "do=billing") && !strings.Contains(path, "do=attributes") {
					require.Equal(t, 1, strings.Count(body, "<dialog"), "the dialog is open")
				}
			})
		}
	}
	s.t = t
}
