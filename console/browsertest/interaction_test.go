package browsertest

import (
	"context"
	"net/url"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit/console/browsertest/example"
)

// interact does something in the page so many times, and returns how many milliseconds each took
// from the event to the frame that shows what comes of it.
const interact = `(async (act, state, times) => {
	const took = [];
	for (let n = 0; n < times; n++) {
		const before = state();
		const changed = new Promise((resolve) => new MutationObserver((_, observer) => {
			if (state() === before) return;
			observer.disconnect();
			requestAnimationFrame(() => setTimeout(() => resolve(performance.now()))); // when it is painted
		}).observe(document, { subtree: true, childList: true, attributes: true, characterData: true }));
		const began = performance.now();
		act(n);
		took.push(await changed - began);
	}
	return took;
})`

// BenchmarkInteractions measures what a person waits for, in the example with 5,000 users in
// memory: the medians in milliseconds. The search includes the 200 ms that it waits for more to be
// typed.
func BenchmarkInteractions(b *testing.B) {
	link, end, err := example.Start(context.WithoutCancel(b.Context()), "../..", b.TempDir())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, end()) })
	address, err := url.Parse(link)
	require.NoError(b, err)
	page := newTab(b, address.Scheme+"://"+address.Host)
	page.run(chromedp.Navigate(link), visible(".brand")) // the page of the sign-in leads on
	page.until(loaded)
	users := evaluate[string](page, `document.querySelector('nav a[href$="/users"]').href`)
	page.run(chromedp.Navigate(users), visible("tr[data-row]"))
	user := evaluate[string](page, `document.querySelector("a[data-open]").href`)

	const firstRow = `document.querySelector("tr[data-row] a[data-open]")?.href`
	for _, interaction := range []struct{ name, page, act, state string }{
		{"details", users, `document.querySelector("tr[data-row] a.plus").click()`, `document.querySelector("tr.details") !== null`},
		{"next-page", users, `document.querySelector("a[rel=next]").click()`, firstRow},
		{"sort", users, `document.querySelector('th a[href*="sort=name"]').click()`, firstRow},
		{"search", users, `const search = document.getElementById("search"); search.value = n % 2 ? "an" : "ma"; search.dispatchEvent(new Event("input", { bubbles: true }))`, `document.getElementById("list")`},
		{"tab", user, `document.querySelectorAll(".tabs a")[(n + 1) % 8].click()`, `document.querySelector(".tabs a[aria-current]").href`},
	} {
		b.Run(interaction.name, func(b *testing.B) {
			page.run(chromedp.Navigate(interaction.page))
			page.until(loaded)
			var took []float64
			for b.Loop() {
				took = append(took, evaluate[[]float64](page, interact+`((n) => { `+interaction.act+` }, () => `+interaction.state+`, 30)`, chromedp.EvalAwaitPromise)...)
			}
			slices.Sort(took)
			b.ReportMetric(0, "ns/op") // it has thirty interactions and the frames between them
			b.ReportMetric(took[len(took)/2], "ms")
			b.ReportMetric(took[len(took)*9/10], "ms-9-of-10")
		})
	}
}
