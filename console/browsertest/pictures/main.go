// Pictures writes the pictures of the console that the documents show: it runs
// examples/console, opens its pages in headless Chromium as a person would, and keeps
// what it sees as docs/console-*.png.
//
// Usage:
//
//	pictures ROOT [NAME ...]   # ROOT is the project's directory; NAME picks some pictures
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"image/png"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/userkit/userkit/console/browsertest/example"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: pictures ROOT [NAME ...]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, root string, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // the example or a page that never comes
	defer cancel()
	directory, err := os.MkdirTemp("", "userkit-pictures-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(directory) //nolint:errcheck // it is temporary
	link, end, err := example.Start(ctx, root, directory)
	if err != nil {
		return err
	}
	err = take(ctx, root, directory, link, names)
	return errors.Join(err, end())
}

// step is something to do in the browser.
type step = chromedp.Action[chromedp.Void]

func click(selector string) step       { return chromedp.Click(chromedp.CSS(selector)) }
func visible(selector string) step     { return chromedp.WaitVisible(chromedp.CSS(selector)) }
func typed(selector, text string) step { return chromedp.SendKeys(chromedp.CSS(selector), text) }

// until waits until an expression is true in the page.
func until(expression string) step {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Poll[bool]("!!("+expression+")")(ctx, t)
		return chromedp.Void{}, err
	}
}

func call[P, R any](command cdp.Command[P, R], params P) step {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, command, params)
		return chromedp.Void{}, err
	}
}

// look is how somebody sees the console.
type look struct {
	width, height int64
	dark, phone   bool
}

var (
	wide       = look{width: 1280, height: 800}
	wideDark   = look{width: 1280, height: 800, dark: true}
	narrow     = look{width: 390, height: 844, phone: true}
	narrowDark = look{width: 390, height: 844, phone: true, dark: true}
)

func (l look) steps() []step {
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	options := []chromedp.EmulateViewportOption{chromedp.EmulateScale(1.5)}
	if l.phone {
		options = append(options, chromedp.EmulateMobile)
	}
	return []step{
		call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}}),
		chromedp.EmulateViewport(l.width, l.height, options...),
	}
}

// picture is one page of the console as somebody sees it.
type picture struct {
	name  string
	look  look
	path  string // below /admin; {user} is one of whom there is something on every page
	steps []step // until there is to see what the picture shows
	after []step // so that the next picture does not suffer from this one
}

// someone is the user of the example of whom there is something on every page.
const someone = "CRM-00057"

func pictures(table string) []picture {
	mapping := []step{chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{table}), click("main button.primary"), visible("select[name=field-0]")}
	connected := []step{typed("#field-reason", "Ticket 4711: no connection on the iPhone"), click("dialog button.primary"), visible(".connected")}
	disconnect := []step{click(".connected button"), until(`document.querySelector(".connected") === null`)}
	rows := []step{visible("tr[data-row]")}
	const filter = "/users?filter=country+eq+%22JP%22+and+attributes.plan+eq+%22gold%22"
	return []picture{
		{name: "users", look: wide, path: "/users", steps: rows},
		{name: "users-dark", look: wideDark, path: "/users", steps: rows},
		{name: "users-narrow", look: narrow, path: "/users", steps: rows},
		{name: "overview", look: wide, path: "/"},
		{name: "overview-dark", look: wideDark, path: "/"},
		{name: "overview-narrow", look: narrowDark, path: "/"},
		{name: "user", look: wide, path: "/users/{user}"},
		{name: "user-dark", look: wideDark, path: "/users/{user}"},
		{name: "user-narrow", look: narrow, path: "/users/{user}"},
		{name: "devices", look: wide, path: "/users/{user}/devices", steps: rows},
		{name: "traffic", look: wideDark, path: "/users/{user}/traffic", steps: []step{visible("traffic-plot canvas")}},
		{name: "sessions", look: wide, path: "/sessions", steps: rows},
		{name: "purchases", look: wide, path: "/purchases?all=1", steps: rows},
		{name: "balance", look: wide, path: "/users/{user}/balance", steps: []step{visible("#balance")}},
		{name: "filter", look: wide, path: filter, steps: append(rows, click(".bar details.menu summary"), visible("#filter-text"))},
		{name: "segments", look: wide, path: "/segments", steps: rows},
		{name: "messages", look: wide, path: "/users/{user}/messages", steps: rows},
		{name: "map", look: wideDark, path: "/map", steps: []step{visible(".map svg")}},
		{name: "map-narrow", look: narrow, path: "/map", steps: []step{visible(".map svg")}},
		{name: "import", look: wide, path: "/import", steps: mapping},
		{name: "connected", look: wide, path: "/users/{user}?do=connect", steps: connected, after: disconnect},
		{name: "audit", look: wide, path: "/audit", steps: rows},
	}
}

// table is the content of a file that another program might have written.
const table = "\ufeffCustomer;Full name;E-mail;Country;Plan;Phone;Valid until\r\n" +
	"CRM-90001;Nnamdi Okafor;nnamdi.okafor@example.org;NG;gold;+2348012345678;2027-03-31\r\n" +
	"CRM-90002;Ελένη Παπαδοπούλου;eleni.p@example.org;GR;silver;+306912345678;2027-01-15\r\n" +
	"CRM-90003;محمد السيد;m.elsayed@example.org;EG;gold;+201012345678;2026-12-31\r\n"

// signIn gives the browser the cookie that the link is good for, and the zone that the
// console would learn from it.
func signIn(tab context.Context, link string) error {
	request, err := http.NewRequestWithContext(tab, http.MethodGet, link, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	cookies := append(answer.Cookies(), &http.Cookie{Name: "userkit_console_zone", Value: "UTC", Path: "/admin/"})
	steps := []step{call(emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "UTC"})}
	for _, cookie := range cookies {
		steps = append(steps, call(network.SetCookie, network.SetCookieParams{Name: cookie.Name, Value: cookie.Value, URL: link, Path: cookie.Path}))
	}
	return chromedp.Do(tab, steps...)
}

func take(ctx context.Context, root, directory, link string, names []string) error {
	address, err := url.Parse(link)
	if err != nil {
		return err
	}
	base := "http://" + address.Host + "/admin"
	file := filepath.Join(directory, "customers.csv")
	if err := os.WriteFile(file, []byte(table), 0o600); err != nil {
		return err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.Flag("hide-scrollbars", true))
	allocator, cancel := chromedp.NewExecAllocator(ctx, options...)
	defer cancel()
	tab, cancel := chromedp.NewContext(allocator)
	defer cancel()
	if err := signIn(tab, link); err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	if err := chromedp.Do(tab, chromedp.Navigate(base+"/users?q="+someone), visible("tr[data-row]")); err != nil {
		return err
	}
	id, err := chromedp.Run(tab, chromedp.Evaluate[string](`document.querySelector("tr[data-row] input[name=user]").value`))
	if err != nil {
		return err
	}
	total := 0
	for _, p := range pictures(file) {
		if len(names) > 0 && !slices.Contains(names, p.name) {
			continue
		}
		path := regexp.MustCompile(`\{user\}`).ReplaceAllString(p.path, id)
		steps := append(p.look.steps(), chromedp.Navigate(base+path), until(`document.readyState === "complete" && window.htmx && document.querySelector(".brand")._htmx`))
		steps = append(steps, p.steps...)
		steps = append(steps, until(`document.fonts.status === "loaded"`))
		if err := chromedp.Do(tab, steps...); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		shot, err := chromedp.Run(tab, chromedp.CaptureScreenshot())
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		size, err := write(filepath.Join(root, "docs", "console-"+p.name+".png"), shot)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		total += size
		fmt.Printf("docs/console-%s.png  %d kB\n", p.name, size/1000)
		if err := chromedp.Do(tab, p.after...); err != nil {
			return fmt.Errorf("after %s: %w", p.name, err)
		}
	}
	fmt.Printf("%d kB\n", total/1000)
	return nil
}

// write writes a picture with few colours, which makes it a third as large.
func write(path string, shot []byte) (size int, err error) {
	whole, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return 0, err
	}
	var small bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&small, fewColours(whole)); err != nil {
		return 0, err
	}
	return small.Len(), os.WriteFile(path, small.Bytes(), 0o644) //nolint:gosec // everybody may see it
}
