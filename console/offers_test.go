//go:build !race

package console

import (
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// The race detector sees next to nothing in a walk through the whole console, and costs ten times
// the time.

// TestNothingThatIsOfferedIsRefused refuses each operation in turn, and looks at what the
// pages link to then.
func TestNothingThatIsOfferedIsRefused(t *testing.T) {
	var refused string
	var mutex sync.Mutex       // a page may ask from two goroutines
	asked := map[string]bool{} // for the page that is served
	s := newSiteOf(t, []userkit.Option{userkit.WithVerifiers(verifier{}), allows(func(operation userkit.Operation) bool {
		mutex.Lock()
		defer mutex.Unlock()
		asked[operation.Name] = true
		return operation.Name != refused
	})})
	user, device, session, purchase, segment := s.full()
	c := newConsole(s.users)
	used := map[string][]string{} // the pages that ask about an operation
	for _, path := range pages(user, device, session, purchase, segment) {
		clear(asked)
		s.now = s.now.Add(2 * time.Minute) // the overview is made anew, and there is time for costly pages
		s.get(path).ok()
		for operation := range asked {
			used[operation] = append(used[operation], path)
		}
	}
	require.Greater(t, len(used), 40)
	links := regexp.MustCompile(`<(a|form)[^>]* (?:href|action)="/admin(/[^"?]*)[^"]*"([^>]*)>`)
	for operation, paths := range used {
		refused = operation
		for _, path := range paths {
			s.now = s.now.Add(2 * time.Minute)
			a := s.get(path)
			if a.status == http.StatusForbidden {
				_, pattern := c.mux.Handler(httptest.NewRequest(http.MethodGet, path, nil))
				require.Contains(t, []string{operation, "users.get"}, refusedBy(c, pattern, operation), "%s is refused as a whole without %s", path, operation)
				continue
			}
			require.Empty(t, s.refusals(s.now), "%s attempts %s", path, operation)
			for _, found := range links.FindAllStringSubmatch(a.ok(), -1) {
				method := http.MethodGet
				if found[1] == "form" && strings.Contains(found[0], `method="post"`) {
					method = http.MethodPost
				}
				_, pattern := c.mux.Handler(httptest.NewRequest(method, html.UnescapeString(found[2]), nil))
				require.NotEqual(t, operation, c.operations[pattern], "%s offers %s", path, found[0])
			}
		}
	}
}
