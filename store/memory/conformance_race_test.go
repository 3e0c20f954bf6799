//go:build race

package memory_test

import (
	"testing"

	"github.com/userkit/userkit/store/storetest"
)

// This is where the race detector watches the rules, by the manager's half of the suite.
func TestStore(t *testing.T) { storetest.RunWith(t, openMemory, storetest.Options{Brief: true}) }
