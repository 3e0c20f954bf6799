package browsertest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// loaded is an expression that is true once htmx has taken over the links and forms of a page.
const loaded = `window.htmx !== undefined && document.querySelector(".brand")._htmx !== undefined`

// customers returns the path of a file with a row that is good and one that is not.
func customers(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "customers.csv")
	require.NoError(t, os.WriteFile(path, []byte("login,Full name,E-mail\nkim,김 지우,kim@example.org\nbad,Bad,not an address\n"), 0o600))
	return path
}

func (s *site) status(t *testing.T, login string) userkit.Status {
	t.Helper()
	user, err := s.users.FindUser(t.Context(), userkit.ByLogin(login))
	require.NoError(t, err)
	return user.Status
}

// connection connects another administrator to Ada.
func (s *site) connection(t *testing.T) userkit.Connection {
	t.Helper()
	ctx := userkit.WithActor(t.Context(), userkit.Actor{Kind: userkit.ActorAdministrator, ID: "kim", Name: "Kim"})
	connection, err := s.users.Connect(ctx, s.ada.ID, userkit.ConnectOptions{Reason: "ticket 8"})
	require.NoError(t, err)
	return connection
}

// TestMessagesMapAndManyByMouse does by mouse what the pages of messages, maps,
// connections, many users and imports are for.
func TestMessagesMapAndManyByMouse(t *testing.T) { everyStore(t, messagesMapAndMany) }

func messagesMapAndMany(t *testing.T, s *site) {
	b := newTab(t, s.server.URL)
	of := "/users/" + s.ada.ID.String()

	// The traffic of all users, drawn and in numbers.
	b.run(chromedp.Navigate(s.url("/")), visible("traffic-plot canvas"))
	b.until(loaded)
	b.run(click("main details summary"), visible("main details table"))
	b.until(`document.querySelector("main details table").innerText.includes("5 MB")`)
	b.hasNoFaults("the traffic of all users")

	// An activation mail is sent, and the next one refused for a while.
	const activation = `form[action$="/send-activation"] button`
	b.run(chromedp.Navigate(s.url(of)), visible(activation))
	b.until(loaded)
	b.sees("Not verified")
	b.run(click(activation))
	b.sees("The activation mail is sent.")
	b.run(click(activation), visible(".message.bad"))
	b.sees("as many mails as allowed within an hour.")
	b.hasNoFaults("a refused activation mail")

	// A message to one user, which is opened and then read.
	b.run(chromedp.Navigate(s.url(of+"/messages")), visible("#unread"))
	b.until(loaded)
	b.run(script(`window.stays = true`), click(`a[data-key="n"]`), visible("dialog:modal #field-subject"))
	b.run(click("dialog button.primary"), visible("dialog:modal .message.bad, dialog:modal .error"))
	b.run(set("#field-subject", "Maintenance"), set("#field-body", "On *Sunday*."), click("dialog button.primary"))
	b.until(`document.getElementById("unread")?.innerText === "2" && document.querySelector("dialog") === null`)
	b.run(click(`a[data-open]`), visible("dialog:modal pre"))
	b.until(`document.querySelector("dialog pre").innerText.includes("On *Sunday*.")`)
	b.run(click("dialog a.close"))
	b.until(`document.querySelector("dialog") === null`)
	b.run(click(`a[href*="do=read"]`), visible("dialog:modal"), click(`dialog form[action$="/messages/read"] button.primary`))
	b.until(`document.getElementById("unread").innerText === "1" && window.stays`)

	// A rule is built condition by condition, and saved only then.
	b.run(click(`nav a[href$="/segments"]`), visible("[data-key=n]"), click("[data-key=n]"), visible("dialog:modal #field-name"), typed("#field-name", "Londoners"))
	b.run(set("#filter-field", "country"), typed("#filter-value", "GB"), click("dialog [name=add]"))
	b.until(`document.querySelector("dialog:modal #field-rule")?.value.includes('country eq "GB"') && document.getElementById("field-name").value === "Londoners"`)
	b.run(set("#filter-field", "login"), set("#filter-operator", "sw"), typed("#filter-value", "a"), pressed(kb.Enter))
	b.until(`document.querySelector("dialog:modal #field-rule")?.value === 'country eq "GB" and login sw "a"'`)
	b.run(click("dialog button.primary"), visible(".crumbs"))
	b.until(`document.querySelector("main code").innerText === 'country eq "GB" and login sw "a"'`)

	// A message to a segment, after its preview.
	b.run(click(`nav a[href$="/messages"]`), visible("#field-segment"))
	b.run(set("#field-segment", s.segment.ID.String()), set("#field-subject", "To all of you"), set("#field-body", "Hello"), click("main button.primary"))
	b.sees("This goes to 5 users.")
	b.run(click(`form[action$="/messages/send"] button`), visible("#job"))
	b.sees("Done")
	unread, err := s.users.CountUnread(t.Context(), s.ada.ID)
	require.NoError(t, err)
	require.EqualValues(t, 2, unread)

	// The map: closer, everything again, from a mark to its user, and forgotten.
	b.run(click(`nav a[href$="/map"]`), visible(".map svg circle"))
	b.run(click(`.map-moves a:first-child`))
	b.until(`location.search.includes("bbox=")`)
	b.run(click(`.map-moves a:last-child`))
	b.until(`!location.search.includes("bbox=") && document.querySelector(".map svg a circle") !== null`)
	b.run(click(`.map svg a circle`), visible(`.tabs a[href$="/map"]`))
	b.until(loaded + ` && location.pathname.endsWith("/devices")`)
	b.run(click(`.tabs a[href$="/map"]`), visible(`a[href*="do=forget"]`), click(`a[href*="do=forget"]`), visible("dialog:modal"), click("dialog button.danger"))
	b.sees("No device has a location here.")

	// A connection of somebody else is ended.
	s.connection(t)
	b.run(chromedp.Navigate(s.url("/connections")), visible("tr[data-row]"))
	b.until(loaded)
	b.run(click(`tr[data-row] a[href*="do=end"]`), visible("dialog:modal"))
	b.hasNoFaults("ending a connection")
	b.run(chromedp.Reload(), visible("dialog:modal")) // wide again, where it is to be clicked
	b.until(loaded)
	b.run(click("dialog button.danger"))
	b.sees("No administrator is connected to a user.")

	// Two users are deactivated, after their preview.
	b.run(click(`nav a[href$="/users"]`), visible("tr[data-row]"))
	b.run(script(`for (const box of [...document.querySelectorAll("tr[data-row]")].filter(row => /user[34]@/.test(row.innerText)).map(row => row.querySelector("input[name=user]"))) box.click()`))
	b.run(click(`button[form="selection"]`), visible("dialog:modal #bulk-action"))
	b.sees("For the 2 users that are ticked.")
	b.run(set("#bulk-action", "deactivate"), click("dialog button.primary"), visible("main button.danger"))
	b.hasNoFaults("the preview of an action for many")
	b.run(click("main button.danger"), visible("#job"))
	b.sees("Done")
	require.Equal(t, userkit.StatusDisabled, s.status(t, "user3"))
	require.Equal(t, userkit.StatusDisabled, s.status(t, "user4"))
	require.Equal(t, userkit.StatusActive, s.status(t, "user0"))

	// A file is mapped, tried, imported, and what was rejected comes back as a file.
	b.run(click(`nav a[href$="/import"]`), visible("#file"))
	b.run(chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{customers(t)}), click("main button.primary"), visible(`select[name="field-0"]`))
	b.hasNoFaults("the mapping of an import")
	b.until(loaded)
	b.run(set("#key", "login"), click("main button.primary"))
	b.sees("This was a dry run: nothing has been written.")
	b.hasNoFaults("the report of a dry run")
	b.run(click(`main a[href*="/import/"]`), visible(`select[name="field-0"]`))
	b.run(set("#key", "login"), click(`button[name=run]`))
	b.sees("Rejected rows, to mend and import again")
	rejected := evaluate[string](b, `fetch(document.querySelector("main a[download]").href).then(r => r.text())`, chromedp.EvalAwaitPromise)
	require.Contains(t, rejected, "login,Full name,E-mail,rejected_because")
	require.Contains(t, rejected, "bad,Bad,not an address,")
	require.NotContains(t, rejected, "kim")
	require.Equal(t, userkit.StatusInactive, s.status(t, "kim"), "it waits for its activation")
}

// TestMessagesMapAndManyByKeyboard does the same by keyboard alone.
func TestMessagesMapAndManyByKeyboard(t *testing.T) {
	s := newSite(t)
	b := newTab(t, s.server.URL)
	of := "/users/" + s.ada.ID.String()
	b.run(chromedp.Navigate(s.url(of)), visible(`form[action$="/send-activation"]`))
	b.until(loaded)
	b.run(focus(`form[action$="/send-activation"] button`), pressed(kb.Enter))
	b.sees("The activation mail is sent.")

	b.run(chromedp.Navigate(s.url(of+"/messages")), visible("#unread"))
	b.until(loaded)
	b.run(pressed("n"), visible("dialog:modal #field-subject"))
	b.until(`document.activeElement.id === "field-subject"`)
	b.run(pressed("Maintenance"), pressed(kb.Tab), pressed("On Sunday"), pressed(kb.Tab))
	b.until(`document.activeElement.id === "field-format" && document.getElementById("field-body").value === "On Sunday"`)
	b.run(focus("dialog button.primary"), pressed(kb.Enter))
	b.until(`document.getElementById("unread")?.innerText === "2" && document.querySelector("dialog") === null`)

	b.run(chromedp.Navigate(s.url("/map")), visible(".map svg a circle"))
	b.until(loaded)
	b.run(focus(".map-moves a:first-child"), pressed(kb.Enter))
	b.until(`location.search.includes("bbox=")`)
	b.run(chromedp.Navigate(s.url("/map")), visible(".map svg a circle"))
	b.until(loaded)
	b.run(script(`document.querySelector(".map svg a").focus()`), pressed(kb.Enter), visible(`.tabs a[href$="/map"]`))

	s.connection(t)
	b.run(chromedp.Navigate(s.url("/connections")), visible("tr[data-row]"))
	b.until(loaded)
	b.run(focus(`tr[data-row] a[href*="do=end"]`), pressed(kb.Enter), visible("dialog:modal"), pressed(kb.Escape))
	b.until(`document.querySelector("dialog") === null && document.querySelector("tr[data-row]") !== null`)
	b.run(focus(`tr[data-row] a[href*="do=end"]`), pressed(kb.Enter), visible("dialog:modal"), focus("dialog button.danger"), pressed(kb.Enter))
	b.sees("No administrator is connected to a user.")

	b.run(chromedp.Navigate(s.url("/users?q=user4")), visible("tr[data-row]"))
	b.until(loaded)
	b.run(pressed("j"), pressed("x"))
	b.until(`document.querySelector("tr.current input[name=user]").checked`)
	b.run(focus(`button[form="selection"]`), pressed(kb.Enter), visible("dialog:modal #bulk-action"))
	b.until(`document.activeElement.id === "bulk-action"`)
	b.run(set("#bulk-action", "deactivate"), focus("dialog button.primary"), pressed(kb.Enter), visible("main button.danger"))
	b.run(focus("main button.danger"), pressed(kb.Enter), visible("#job"))
	b.sees("Done")
	require.Equal(t, userkit.StatusDisabled, s.status(t, "user4"))
}

// TestMessagesMapAndManyWithoutJavaScript does the same where no script runs.
func TestMessagesMapAndManyWithoutJavaScript(t *testing.T) {
	s := newSite(t)
	b := newTab(t, s.server.URL)
	b.run(call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	of := "/users/" + s.ada.ID.String()
	main := func() string {
		body, err := chromedp.Run(b, chromedp.OuterHTML(chromedp.CSS("main")))
		require.NoError(t, err)
		return body
	}
	done := func() { // a person looks again until the job has ended
		for b.run(ready("#job")); strings.Contains(main(), "<progress"); b.run(ready("#job")) {
			b.run(chromedp.Reload())
		}
	}
	b.run(chromedp.Navigate(s.url("/")), click("main details summary"), visible("main details table"))
	require.Contains(t, main(), "5 MB")

	b.run(chromedp.Navigate(s.url(of)), click(`form[action$="/send-activation"] button`), ready(".notice"))
	notice, err := chromedp.Run(b, chromedp.OuterHTML(chromedp.CSS(".notice")))
	require.NoError(t, err)
	require.Contains(t, notice, "The activation mail is sent.")
	b.run(click(`form[action$="/send-activation"] button`), ready(".message.bad"))
	require.Contains(t, main(), "as many mails as allowed within an hour.")

	b.run(chromedp.Navigate(s.url(of+"/messages?do=write")), visible("dialog #field-subject"), typed("#field-subject", "Maintenance"), click("dialog button.primary"), ready(".notice"))
	require.Contains(t, main(), "Maintenance")

	b.run(chromedp.Navigate(s.url("/messages")), ready("#field-segment"), typed("#field-subject", "To all of you"), click("main button.primary"), ready(`form[action$="/messages/send"]`))
	require.Contains(t, main(), "This goes to 5 users.")
	b.run(click(`form[action$="/messages/send"] button`))
	done()
	require.Contains(t, main(), "Done")

	b.run(chromedp.Navigate(s.url("/map")), ready(".map svg"), click(".map-moves a:first-child"), ready(`.map-moves a:last-child`))
	b.run(chromedp.Navigate(s.url(of+"/map?do=forget")), visible("dialog"), click("dialog button.danger"), ready(".empty"))

	s.connection(t)
	b.run(chromedp.Navigate(s.url("/connections")), click(`tr[data-row] a[href*="do=end"]`), visible("dialog"), click("dialog button.danger"), ready(".empty"))

	b.run(chromedp.Navigate(s.url("/users?q=user4")), ready("tr[data-row]"), click("tr[data-row] input[name=user]"), click(`button[form="selection"]`), visible("dialog #bulk-action"))
	b.run(set("#bulk-action", "deactivate"), click("dialog button.primary"), ready("main button.danger"), click("main button.danger"))
	done()
	require.Equal(t, userkit.StatusDisabled, s.status(t, "user4"))

	b.run(chromedp.Navigate(s.url("/import")), ready("#file"), chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{customers(t)}), click("main button.primary"), ready(`select[name="field-0"]`))
	b.run(set("#key", "login"), click("button[name=run]"))
	done()
	require.Contains(t, main(), "Rejected rows, to mend and import again")
	require.Equal(t, userkit.StatusInactive, s.status(t, "kim"), "it waits for its activation")
}

// endless is a manager whose actions for many go on until they are stopped.
type endless struct{ userkit.Manager }

func (endless) ExecuteBulk(ctx context.Context, _ userkit.BulkRequest, _ userkit.BulkToken, _ func(userkit.BulkProgress) error) (userkit.BulkResult, error) {
	<-ctx.Done()
	return userkit.BulkResult{}, ctx.Err()
}

// TestAJobIsStopped stops jobs by mouse, by keyboard and without JavaScript, after a confirmation.
func TestAJobIsStopped(t *testing.T) {
	s := newSiteWith(t, memory.New(), func(users userkit.Manager) userkit.Manager { return endless{users} })
	b := newTab(t, s.server.URL)
	start := func() {
		b.run(chromedp.Navigate(s.url("/bulk?action=deactivate")), ready("main button.danger"), click("main button.danger"), ready("#job progress"))
	}
	const stopped = "The job was stopped. What was done stays done."
	start()
	b.until(loaded)
	b.run(click(`a[href$="?do=stop"]`), visible("dialog:modal"), click(".actions a.button"))
	b.until(`document.querySelector("dialog") === null && document.querySelector("#job progress") !== null`)
	b.run(click(`a[href$="?do=stop"]`), visible("dialog:modal"), click("dialog button.danger"))
	b.sees(stopped)
	b.until(`document.querySelector("dialog") === null && !location.search`)

	start()
	b.until(loaded)
	b.run(focus(`a[href$="?do=stop"]`), pressed(kb.Enter), visible("dialog:modal"))
	b.hasNoFaults("stopping a job")
	b.run(focus("dialog button.danger"), pressed(kb.Enter))
	b.sees(stopped)

	b.run(call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	start()
	b.run(click(`a[href$="?do=stop"]`), visible("dialog"), click("dialog button.danger"), ready("#job [role=alert]"))
	body, err := chromedp.Run(b, chromedp.OuterHTML(chromedp.CSS("main")))
	require.NoError(t, err)
	require.Contains(t, body, stopped)
}
