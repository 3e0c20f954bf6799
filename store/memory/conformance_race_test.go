//go:build race

package memory_test

import (
	"testing"

	"github.com/userkit/userkit/store/storetest"
)

// The manager's half of the suite is whole: this is where the race detector watches the
// rules.
func TestStore(t *testing.T) { storetest.RunWith(t, openMemory, storetest.Options{Brief: true}) }
