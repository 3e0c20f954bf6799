package userkit_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A code that nothing returns is a promise that nobody keeps.
func TestEveryCodeIsReturnedSomewhere(t *testing.T) {
	e := parseRoot(t)
	elsewhere := usedBy(t, "store/memory", "store/postgres", "userio", "userhttp", "mail", "verify", "push", "pushmail", "phone")
	codes := 0
	for name := range e.constants {
		if strings.HasPrefix(name, "Code") {
			codes++
			require.True(t, e.used[name] || elsewhere[name], "nothing returns %s", name)
		}
	}
	require.Greater(t, codes, 50)
}

// The page of the package names every role, and every paragraph of names for stores those
// that say they are.
func TestPackagePageNamesTheRoles(t *testing.T) {
	e := parseRoot(t)
	roles := 0
	for _, name := range e.uses["Manager"] {
		if strings.HasSuffix(name, "Manager") && name != "Manager" {
			roles++
			require.Contains(t, e.page, "  - "+name+": ", "the page of the package")
		}
	}
	require.Greater(t, roles, 9)
}
